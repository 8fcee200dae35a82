//! fabric-mq, in memory of the heap that is leased as a server would lease it, so that each record also pays for asking
//! whether the lease still holds.

use fabric_mq::clock::SystemClock;
use fabric_mq::lease::{HeapLease, HeapPool, Lease, Lend, Pool};
use fabric_mq::ring::{Reader, Retain, Ring, RingConfig, RingRef, SharedWriter, Start, Writer};
use fabric_mq::{Ticks, WriteError};

use crate::messages::{Messages, Sum};
use crate::queue::{Inlet, Outlet, Queue};
use crate::registry::{Kind, Rows};
use crate::results::{OURS, OURS_ARRAYS, OURS_ARRAYS_DRAINED, OURS_DRAINED, OURS_IN_BATCHES};

pub fn register<const N: usize>(rows: &mut Rows) {
    rows.pipe::<N, OneByOne>(OURS, Kind::Ours);
    rows.pipe::<N, Arrays>(OURS_ARRAYS, Kind::Ours);
    rows.pipe::<N, Drained>(OURS_DRAINED, Kind::Ours);
    rows.pipe::<N, DrainedArrays>(OURS_ARRAYS_DRAINED, Kind::Ours);
    rows.pipe_batches::<N, Drained>(OURS_IN_BATCHES, Kind::Ours);
    rows.broadcast::<N, OneByOne>(OURS, Kind::Ours);
    rows.broadcast::<N, Drained>(OURS_DRAINED, Kind::Ours);
    rows.broadcast::<N, DrainedArrays>(OURS_ARRAYS_DRAINED, Kind::Ours);
    rows.broadcast_batches::<N, Drained>(OURS_IN_BATCHES, Kind::Ours);
    rows.funnel::<N, Shared<false>>(OURS, Kind::Ours);
    rows.funnel::<N, Shared<true>>(OURS_DRAINED, Kind::Ours);
}

/// Read by `Reader::next`.
type OneByOne = Fabric<false, false>;
/// The same, with messages of a length that the compiler knows.
type Arrays = Fabric<false, true>;
/// Read by `Reader::for_each`.
type Drained = Fabric<true, false>;
/// Both.
type DrainedArrays = Fabric<true, true>;

/// A ring with one writer and as many readers as the workload has.
struct Fabric<const DRAINED: bool, const ARRAYS: bool> {
    ring: Ring<HeapLease>,
}

fn ring<const N: usize>(messages: usize, readers: usize) -> Ring<HeapLease> {
    let config = RingConfig::new(messages as u32, (messages * N) as u32).with_readers(readers as u8);
    let bytes = config.lease_bytes().expect("powers of two in range");
    let lease = HeapPool::new(SystemClock::new()).acquire(bytes, Ticks::MAX).expect("the heap has room");
    Ring::format(lease, config).expect("the lease is as large as the ring wants")
}

/// A reader, by the call it is read with.
pub struct Taker<P: RingRef, const DRAINED: bool>(pub Reader<P>);

fn readers<const DRAINED: bool, const C: usize>(ring: &Ring<HeapLease>) -> [Taker<&Ring<HeapLease>, DRAINED>; C] {
    std::array::from_fn(|which| {
        let name = ["first", "second"][which];
        Taker(Reader::join(ring, name, Start::Earliest).expect("the ring has a place for each reader"))
    })
}

impl<const N: usize, const C: usize, const DRAINED: bool, const ARRAYS: bool> Queue<N, 1, C>
    for Fabric<DRAINED, ARRAYS>
{
    type Inlet<'a> = Putter<&'a Ring<HeapLease>, ARRAYS>;
    type Outlet<'a> = Taker<&'a Ring<HeapLease>, DRAINED>;

    fn with_capacity(messages: usize) -> Self {
        Self { ring: ring::<N>(messages, C) }
    }

    fn split(&mut self) -> ([Self::Inlet<'_>; 1], [Self::Outlet<'_>; C]) {
        let writer = Writer::claim(&self.ring).expect("nobody else writes");
        ([Putter(writer)], readers(&self.ring))
    }
}

/// A writer, by what the compiler knows of its messages.
pub struct Putter<P: RingRef, const ARRAYS: bool>(pub Writer<P>);

impl<const N: usize, const ARRAYS: bool, P: RingRef> Inlet<N> for Putter<P, ARRAYS>
where
    Writer<P>: Send,
{
    #[inline(always)]
    fn try_send(&mut self, messages: &Messages<'_, N>, index: usize) -> bool {
        let sent = if ARRAYS { self.0.write(messages.fixed(index)) } else { self.0.write(messages.bytes(index)) };
        match sent {
            Ok(_) => true,
            Err(WriteError::Full) => false,
            Err(error) => panic!("{error}"),
        }
    }

    #[inline(always)]
    fn try_send_batch(&mut self, messages: &Messages<'_, N>, first: usize, most: usize) -> usize {
        let mut batch = self.0.batch();
        for index in first..first + most {
            match batch.write(messages.bytes(index)) {
                Ok(_) => {}
                Err(WriteError::Full) => break,
                Err(error) => panic!("{error}"),
            }
        }
        batch.publish().expect("the lease never ends")
    }
}

impl<const DRAINED: bool, P: RingRef<Keep = Retain>> Outlet for Taker<P, DRAINED>
where
    <P::Lease as Lease>::Trust: Lend,
    Reader<P>: Send,
{
    #[inline(always)]
    fn try_take(&mut self, sum: &mut Sum) -> usize {
        if DRAINED {
            return self.0.for_each(usize::MAX, |record| sum.see(record.payload())).expect("nothing is damaged");
        }
        match self.0.next().expect("nothing is damaged") {
            Some(record) => {
                sum.see(record.payload());
                1
            }
            None => 0,
        }
    }

    #[inline(always)]
    fn turn(&mut self) {
        self.0.release();
    }
}

/// A ring with a writer that producers share.
struct Shared<const DRAINED: bool> {
    writer: SharedWriter<std::sync::Arc<Ring<HeapLease>>>,
}

impl<const N: usize, const P: usize, const DRAINED: bool> Queue<N, P, 1> for Shared<DRAINED> {
    type Inlet<'a> = &'a SharedWriter<std::sync::Arc<Ring<HeapLease>>>;
    type Outlet<'a> = Taker<&'a Ring<HeapLease>, DRAINED>;

    fn with_capacity(messages: usize) -> Self {
        let ring = std::sync::Arc::new(ring::<N>(messages, 1));
        Self { writer: SharedWriter::claim(ring).expect("nobody else writes") }
    }

    fn split(&mut self) -> ([Self::Inlet<'_>; P], [Self::Outlet<'_>; 1]) {
        let writer = &self.writer;
        ([writer; P], readers(writer.ring()))
    }
}

impl<const N: usize> Inlet<N> for &'_ SharedWriter<std::sync::Arc<Ring<HeapLease>>> {
    #[inline(always)]
    fn try_send(&mut self, messages: &Messages<'_, N>, index: usize) -> bool {
        match self.write(messages.bytes(index)) {
            Ok(_) => true,
            Err(WriteError::Full) => false,
            Err(error) => panic!("{error}"),
        }
    }
}
