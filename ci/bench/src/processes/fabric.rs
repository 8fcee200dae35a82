//! fabric-mq: a ring in a lease of a shared pool in the machine's memory. The writer's process holds the lease, the
//! reader's joins it.

use std::sync::Arc;

use fabric_mq::clock::MachineClock;
use fabric_mq::lease::{Cooperative, SharedLease, SharedPool, Trust, Untrusted};
use fabric_mq::ring::{Reader, Ring, RingConfig, Start, Writer};
use fabric_mq::{Name, Ticks};

use super::{Link, Meeting};
use crate::fabric::{Putter, Taker};
use crate::messages::Sum;
use crate::queue::{BATCH, Outlet};
use crate::registry::{Kind, Rows};
use crate::results::{OURS, OURS_DRAINED, OURS_IN_BATCHES};

pub fn register<const N: usize>(rows: &mut Rows) {
    rows.processes::<N, OneByOne>();
    rows.processes::<N, Drained>();
    rows.processes_batches::<N, InBatches>();
    rows.processes::<N, Copied>();
    rows.processes_batches::<N, CopiedInBatches>();
}

type Held<T> = Arc<Ring<SharedLease<T>>>;

fn pool(meeting: &Meeting) -> SharedPool<MachineClock> {
    SharedPool::open(meeting.path().join("pool"), MachineClock::new()).expect("a directory in memory")
}

fn trusting(meeting: &Meeting) -> SharedPool<MachineClock, Cooperative> {
    // SAFETY: the directory lies in one that is new, and only this program's two processes map files of it, by this library.
    unsafe { pool(meeting).cooperative() }
}

fn name(lane: usize) -> Name {
    Name::new(["there", "back"][lane]).expect("a good name")
}

fn writer<const N: usize, T: Trust>(
    pool: &SharedPool<MachineClock, T>,
    lane: usize,
    messages: usize,
) -> Putter<Held<T>, false> {
    let config = RingConfig::new(messages as u32, (messages * N) as u32).with_readers(1);
    let bytes = config.lease_bytes().expect("powers of two in range");
    let lease = pool.acquire_named(&name(lane), bytes, Ticks::MAX).expect("there is room in memory");
    let ring = Ring::format(lease, config).expect("the lease is as large as the ring wants");
    Putter(Writer::claim(Arc::new(ring)).expect("nobody else writes"))
}

fn reader<T: Trust>(pool: &SharedPool<MachineClock, T>, lane: usize) -> Reader<Held<T>> {
    let lease = pool.join_named(&name(lane)).expect("the writer's process has made it");
    let ring = Ring::attach(lease).expect("the writer's process has formatted it");
    Reader::join(Arc::new(ring), "main", Start::Earliest).expect("the ring has a place for a reader")
}

/// Processes that trust each other: records are read in place.
macro_rules! trusting {
    ($link:ident, $name:expr, $drained:literal) => {
        struct $link;

        impl<const N: usize> Link<N> for $link {
            const NAME: &'static str = $name;
            const KIND: Kind = Kind::Ours;
            type Inlet = Putter<Held<Cooperative>, false>;
            type Outlet = Taker<Held<Cooperative>, $drained>;

            fn inlet(meeting: &mut Meeting, lane: usize, messages: usize) -> Self::Inlet {
                writer::<N, _>(&trusting(meeting), lane, messages)
            }

            fn outlet(meeting: &mut Meeting, lane: usize, _: usize) -> Self::Outlet {
                Taker(reader(&trusting(meeting), lane))
            }
        }
    };
}

trusting!(OneByOne, OURS, false);
trusting!(Drained, OURS_DRAINED, true);
trusting!(InBatches, OURS_IN_BATCHES, true);

/// Processes that do not: every byte goes through atomics, and records are copied out.
macro_rules! doubting {
    ($link:ident, $name:expr) => {
        struct $link;

        impl<const N: usize> Link<N> for $link {
            const NAME: &'static str = $name;
            const KIND: Kind = Kind::Ours;
            type Inlet = Putter<Held<Untrusted>, false>;
            type Outlet = Copier<N>;

            fn inlet(meeting: &mut Meeting, lane: usize, messages: usize) -> Self::Inlet {
                writer::<N, _>(&pool(meeting), lane, messages)
            }

            fn outlet(meeting: &mut Meeting, lane: usize, _: usize) -> Self::Outlet {
                Copier { reader: reader(&pool(meeting), lane), buffer: Box::new([0; N]) }
            }
        }
    };
}

doubting!(Copied, "fabric-mq, untrusted");
doubting!(CopiedInBatches, "fabric-mq, untrusted, batches");

/// A reader that copies out.
struct Copier<const N: usize> {
    reader: Reader<Held<Untrusted>>,
    buffer: Box<[u8; N]>,
}

impl<const N: usize> Outlet for Copier<N> {
    #[inline(always)]
    fn try_take(&mut self, sum: &mut Sum) -> usize {
        match self.reader.copy_next(self.buffer.as_mut_slice()).expect("nothing is damaged") {
            Some(record) => {
                sum.see(&self.buffer[..record.len()]);
                1
            }
            None => 0,
        }
    }

    #[inline(always)]
    fn try_take_batch(&mut self, sum: &mut Sum) -> usize {
        (0..BATCH).take_while(|_| self.try_take(sum) == 1).count()
    }

    #[inline(always)]
    fn turn(&mut self) {
        self.reader.release();
    }
}
