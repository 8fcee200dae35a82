//! Partitions: a ring, its number in the topic, and what it does when it is full.
//!
//! Many producers may append at the same time; each group of consumers reads at its own pace. Nothing here allocates
//! once a partition exists.

/// Runs an expression on the ring and the writer, whatever kind they are.
macro_rules! on {
    ($log:expr, $ring:ident, $writer:ident => $body:expr) => {
        match $log {
            $crate::partition::Log::Retain { ring: $ring, writer: $writer } => $body,
            $crate::partition::Log::Overwrite { ring: $ring, writer: $writer } => $body,
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
mod hold;
mod policy;
#[cfg(feature = "alloc")]
mod raw;

#[cfg(feature = "alloc")]
pub use counted::Counted;
pub(crate) use cursor::{Cursor, Next, group_name};
pub(crate) use hold::AnyRing;
pub use hold::{Borrowed, Hold};
pub use policy::{FullPolicy, Outcome};

use crate::error::WriteError;
use crate::lease::Lease;
use crate::platform::relax;
use crate::ring::{Keep, Ring, RingRef, SharedWriter};
use crate::types::{LeaseId, Offset, Ticks};
use core::fmt;

/// A numbered log with the writer's place taken.
pub struct Partition<H: Hold> {
    number: u32,
    full: FullPolicy,
    log: Log<H>,
}

pub(crate) enum Log<H: Hold> {
    Retain { ring: H::Retain, writer: SharedWriter<H::Retain> },
    Overwrite { ring: H::Overwrite, writer: SharedWriter<H::Overwrite> },
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
    TimedOut,
    Write(WriteError),
}

impl<'m, L: Lease> Partition<Borrowed<'m, L>> {
    /// Takes the writer's place of a ring in a table.
    pub(crate) fn borrow(ring: &'m AnyRing<L>, number: u32, full: FullPolicy) -> Result<Self, WriteError> {
        let log = match ring {
            AnyRing::Retain(ring) => Log::retain(ring)?,
            AnyRing::Overwrite(ring) => Log::overwrite(ring)?,
        };
        Ok(Self { number, full, log })
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
        on!(&self.log, ring, _writer => ring.ring().head())
    }

    /// The offset that the next record will have.
    #[must_use]
    pub fn tail(&self) -> Offset {
        on!(&self.log, ring, _writer => ring.ring().tail())
    }

    /// The largest record it takes, in bytes with its envelope.
    #[must_use]
    pub fn max_record(&self) -> usize {
        on!(&self.log, ring, _writer => ring.ring().max_record())
    }

    /// The lease that it lies in.
    #[must_use]
    pub fn lease(&self) -> &H::Lease {
        on!(&self.log, ring, _writer => ring.ring().lease())
    }

    /// The name of that lease in its pool.
    #[must_use]
    pub fn lease_id(&self) -> LeaseId {
        self.lease().id()
    }

    /// How it stands. Walks the readers' places and the slots not noted yet.
    #[must_use]
    pub fn stats(&self) -> PartitionStats {
        on!(&self.log, ring, _writer => stats(self.number, ring.ring()))
    }

    /// Appends a record. Waits only if the policy says so.
    pub(crate) fn append(&self, tag: u8, parts: &[&[u8]], now: impl Fn() -> Ticks) -> Result<Outcome, AppendError> {
        match self.write(tag, parts) {
            Ok(offset) => Ok(Outcome::Stored(offset)),
            Err(WriteError::Full) => self.append_when_full(tag, parts, now),
            Err(error) => Err(AppendError::Write(error)),
        }
    }

    /// The writer, if nothing is overwritten: for those who know how many parts their records have, and how long some are.
    #[inline]
    pub(crate) const fn retaining(&self) -> Option<&SharedWriter<H::Retain>> {
        match &self.log {
            Log::Retain { writer, .. } => Some(writer),
            Log::Overwrite { .. } => None,
        }
    }

    #[inline(never)]
    fn write(&self, tag: u8, parts: &[&[u8]]) -> Result<Offset, WriteError> {
        on!(&self.log, _ring, writer => writer.write_parts(tag, parts))
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
                Err(WriteError::Full) => {}
                Err(error) => return Err(AppendError::Write(error)),
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
