//! Partitions: a ring, its number in the topic, and what it does when it is full.
//!
//! Many producers may append at the same time; each group of consumers reads at its own pace. Nothing here allocates
//! once a partition exists.
//!
//! A partition that was taken over lies in several leases, one behind the other: [`Extent`]s. Offsets go on across the seam.

/// Runs an expression on the ring, whatever kind it is.
macro_rules! on {
    ($log:expr, $ring:ident => $body:expr) => {
        match $log {
            $crate::partition::Log::Retain { ring: $ring, .. }
            | $crate::partition::Log::ReadRetain { ring: $ring, .. } => $body,
            $crate::partition::Log::Overwrite { ring: $ring, .. }
            | $crate::partition::Log::ReadOverwrite { ring: $ring, .. } => $body,
        }
    };
}

/// The same for the two readers of a cursor.
macro_rules! each {
    ($cursor:expr, $pair:ident => $body:expr) => {
        match $cursor {
            $crate::partition::Cursor::Retain($pair) => $body,
            $crate::partition::Cursor::Overwrite($pair) => $body,
        }
    };
}

#[cfg(feature = "alloc")]
mod counted;
mod cursor;
mod extent;
mod hold;
mod policy;
#[cfg(feature = "alloc")]
mod raw;

#[cfg(feature = "alloc")]
pub use counted::Counted;
pub(crate) use cursor::{CrossError, Cursor, Next, group_name};
pub use extent::Extent;
pub(crate) use hold::AnyRing;
pub use hold::{Borrowed, Hold};
pub use policy::{FullPolicy, Outcome};

use crate::error::WriteError;
use crate::lease::{Lease, Trust};
use crate::platform::bell::{Desk, bit};
use crate::platform::chain::Chain;
use crate::platform::later::Later;
use crate::platform::relax;
use crate::ring::{Keep, Ring, RingRef, SharedWriter};
use crate::types::{LeaseId, Offset, Ticks};
use core::fmt;

/// A numbered log, with the writer's place taken or, where somebody else writes, without.
pub struct Partition<H: Hold> {
    number: u32,
    full: FullPolicy,
    log: Log<H>,
    /// The leases in which the log goes on.
    onward: Chain<Log<H>>,
}

pub(crate) enum Log<H: Hold> {
    Retain {
        ring: H::Retain,
        writer: SharedWriter<H::Retain>,
    },
    Overwrite {
        ring: H::Overwrite,
        writer: SharedWriter<H::Overwrite>,
    },
    /// Somebody else writes. Once its place was taken over, the writer has a ring of its own on the same bytes: the lease that
    /// says so is not the one which is read by.
    ReadRetain {
        ring: H::Retain,
        writer: Later<SharedWriter<H::Retain>>,
    },
    ReadOverwrite {
        ring: H::Overwrite,
        writer: Later<SharedWriter<H::Overwrite>>,
    },
}

impl<H: Hold> Log<H> {
    fn retain(ring: H::Retain) -> Result<Self, WriteError> {
        Ok(Self::Retain { writer: SharedWriter::claim(ring.clone())?, ring })
    }

    fn overwrite(ring: H::Overwrite) -> Result<Self, WriteError> {
        Ok(Self::Overwrite { writer: SharedWriter::claim(ring.clone())?, ring })
    }
}

/// Why a record was not appended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum AppendError {
    /// The writer's place is not taken here.
    ReadOnly,
    TimedOut,
    Write(WriteError),
}

impl From<WriteError> for AppendError {
    #[inline]
    fn from(error: WriteError) -> Self {
        Self::Write(error)
    }
}

impl<'m, L: Lease> Partition<Borrowed<'m, L>> {
    /// Takes the writer's place of a ring in a table.
    pub(crate) fn borrow(ring: &'m AnyRing<L>, number: u32, full: FullPolicy) -> Result<Self, WriteError> {
        let log = match ring {
            AnyRing::Retain(ring) => Log::retain(ring)?,
            AnyRing::Overwrite(ring) => Log::overwrite(ring)?,
        };
        Ok(Self { number, full, log, onward: Chain::new() })
    }

    /// Leaves the writer's place of a ring in a table to somebody else.
    pub(crate) fn borrow_to_read(ring: &'m AnyRing<L>, number: u32, full: FullPolicy) -> Self {
        let log = match ring {
            AnyRing::Retain(ring) => Log::ReadRetain { ring, writer: Later::new() },
            AnyRing::Overwrite(ring) => Log::ReadOverwrite { ring, writer: Later::new() },
        };
        Self { number, full, log, onward: Chain::new() }
    }
}

impl<H: Hold> Partition<H> {
    /// Its number in the topic.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// The oldest offset there is.
    #[must_use]
    pub fn head(&self) -> Offset {
        self.with_oldest(|log| on!(log, ring => ring.ring().head()))
    }

    /// The offset that the next record will have.
    #[must_use]
    pub fn tail(&self) -> Offset {
        self.with_last(|log| on!(log, ring => ring.ring().tail()))
    }

    /// Whether the writer's place is taken here, so that records can be sent; not if somebody else has ended the log, and goes
    /// on with it elsewhere.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.with_last(Log::is_writable)
    }

    /// How many records fit at the same time, if their bytes do.
    #[must_use]
    pub fn slots(&self) -> u32 {
        on!(&self.log, ring => ring.ring().slots())
    }

    /// How many bytes of records, with their envelopes, fit at the same time.
    #[must_use]
    pub fn bytes(&self) -> usize {
        on!(&self.log, ring => ring.ring().bytes())
    }

    /// The largest record it takes, in bytes with its envelope.
    #[must_use]
    pub fn max_record(&self) -> usize {
        on!(&self.log, ring => ring.ring().max_record())
    }

    /// The lease that it lies in; the first one that was known here, if its log was ended there.
    #[must_use]
    pub fn lease(&self) -> &H::Lease {
        on!(&self.log, ring => ring.ring().lease())
    }

    /// The name of that lease in its pool.
    #[must_use]
    pub fn lease_id(&self) -> LeaseId {
        self.lease().id()
    }

    /// How it stands. Walks the readers' places and the slots not noted yet.
    #[must_use]
    pub fn stats(&self) -> PartitionStats {
        let stats = self.with_last(|log| on!(log, ring => stats(self.number, ring.ring())));
        PartitionStats { head: self.head(), ..stats }
    }

    /// Appends a record. Waits only if the policy says so.
    pub(crate) fn append(&self, tag: u8, parts: &[&[u8]], now: impl Fn() -> Ticks) -> Result<Outcome, AppendError> {
        match self.write(tag, parts) {
            Ok(offset) => Ok(Outcome::Stored(offset)),
            Err(AppendError::Write(WriteError::Full)) => self.append_when_full(tag, parts, now),
            Err(error) => Err(error),
        }
    }

    /// The writer, if nothing is overwritten and its place was taken from the beginning: for those who know how many parts their
    /// records have, and how long some are.
    #[inline]
    pub(crate) const fn retaining(&self) -> Option<&SharedWriter<H::Retain>> {
        match &self.log {
            Log::Retain { writer, .. } => Some(writer),
            _ => None,
        }
    }

    /// The ring, if nothing is overwritten.
    pub(crate) const fn retained(&self) -> Option<&H::Retain> {
        match &self.log {
            Log::Retain { ring, .. } | Log::ReadRetain { ring, .. } => Some(ring),
            Log::Overwrite { .. } | Log::ReadOverwrite { .. } => None,
        }
    }

    /// Appends a record, whatever the policy is: a full partition refuses it.
    #[inline(never)]
    pub(crate) fn write(&self, tag: u8, parts: &[&[u8]]) -> Result<Offset, AppendError> {
        self.with_last(|log| log.write(tag, parts))
    }

    /// Wakes who waits for records of this partition, behind one that was committed; `bell` is its topic's. A fence and a load or
    /// two if nobody does.
    #[inline]
    pub(crate) fn announce(&self, bell: &Desk) {
        bell.ring(bit(self.number));
        // Memory of one holder has no readers elsewhere: whoever reads a partition here is a consumer of its topic.
        if !<H::Lease as Lease>::Trust::EXCLUSIVE {
            self.with_last(|log| on!(log, ring => ring.ring().wake_readers_fenced()));
        }
    }

    /// Goes on with a record that there was no room for, as the policy says.
    #[cold]
    pub(crate) fn append_when_full(
        &self,
        tag: u8,
        parts: &[&[u8]],
        now: impl Fn() -> Ticks,
    ) -> Result<Outcome, AppendError> {
        let timeout = match self.full {
            FullPolicy::DropNewest => return Ok(Outcome::Dropped),
            FullPolicy::Wait { timeout } => timeout,
            // An overwriting ring is full while a producer a whole lap behind is at work, or for a reader within max_lag.
            FullPolicy::DropOldest | FullPolicy::Reject => return Err(AppendError::Write(WriteError::Full)),
        };
        let deadline = now().plus(timeout);
        let mut step = 0_u32;
        while now() < deadline {
            relax(step);
            step = step.saturating_add(1);
            match self.write(tag, parts) {
                Ok(offset) => return Ok(Outcome::Stored(offset)),
                Err(AppendError::Write(WriteError::Full)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(AppendError::TimedOut)
    }
}

impl<H: Hold> fmt::Debug for Partition<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition").field("full", &self.full).field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// How a partition stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PartitionStats {
    /// Its number in the topic.
    pub number: u32,
    /// The oldest offset there is.
    pub head: Offset,
    /// The offset that the next record will have.
    pub tail: Offset,
    /// Payload bytes that fit at the same time.
    pub bytes: usize,
    /// Writes that found no room: records dropped or rejected, and tries while waiting.
    pub refused: u64,
    /// Groups that have a place here, reading or parked.
    pub groups: usize,
}

fn stats<L: Lease, K: Keep>(number: u32, ring: &Ring<L, K>) -> PartitionStats {
    PartitionStats {
        number,
        head: ring.head(),
        tail: ring.tail(),
        bytes: ring.bytes(),
        refused: ring.refused(),
        groups: ring.readers().filter(|reader| !cursor::is_reading(reader.name.as_str())).count(),
    }
}
