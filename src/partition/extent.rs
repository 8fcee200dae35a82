//! The leases that a partition's log lies in, one behind the other.
//!
//! A log that was sealed goes on in another lease. The layer above opens that one, since it knows where leases come from;
//! here it is kept, behind those before it, for as long as they last: for the cursors that are still on their way, and for
//! those that come later and have not read all of the older ones. Writers write to the last one.

use super::{AppendError, Hold, Log, Partition};
use crate::error::{Corrupt, LeaseError, WriteError};
use crate::lease::Lease;
use crate::name::Name;
use crate::ring::{RingRef, Seal};
use crate::types::{LeaseId, Offset};
use core::fmt;

/// One lease of a partition's log.
pub struct Extent<H: Hold>(Rings<H>);

/// Its ring.
pub(crate) enum Rings<H: Hold> {
    Retain(H::Retain),
    Overwrite(H::Overwrite),
}

impl<H: Hold> Extent<H> {
    pub(super) fn of(log: &Log<H>) -> Self {
        match log {
            Log::Retain { ring, .. } | Log::ReadRetain { ring, .. } => Self(Rings::Retain(ring.clone())),
            Log::Overwrite { ring, .. } | Log::ReadOverwrite { ring, .. } => Self(Rings::Overwrite(ring.clone())),
        }
    }

    pub(super) const fn rings(&self) -> &Rings<H> {
        &self.0
    }

    /// Where its log was ended, and where it goes on.
    pub(crate) fn seal(&self) -> Result<Option<Seal>, Corrupt> {
        match &self.0 {
            Rings::Retain(ring) => ring.ring().seal(),
            Rings::Overwrite(ring) => ring.ring().seal(),
        }
    }

    /// Records of it that a group has not released, if it has been here.
    pub(crate) fn lag(&self, group: &Name) -> u64 {
        match &self.0 {
            Rings::Retain(ring) => lag(ring, group),
            Rings::Overwrite(ring) => lag(ring, group),
        }
    }
}

impl<H: Hold> fmt::Debug for Extent<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Extent")
    }
}

fn lag<P: RingRef>(ring: &P, group: &Name) -> u64 {
    let ring = ring.ring();
    ring.readers().find(|reader| reader.name == *group).map_or(0, |place| place.lag)
}

/// Whether what is in a lease is gone, or about to go. (What was fenced waits for those who read.)
fn is_over(lease: &impl Lease) -> bool {
    !matches!(lease.check(), Ok(()) | Err(LeaseError::Fenced))
}

impl<H: Hold> Log<H> {
    pub(super) fn lease_id(&self) -> LeaseId {
        on!(self, ring => ring.ring().lease().id())
    }

    pub(super) fn is_over(&self) -> bool {
        on!(self, ring => is_over(ring.ring().lease()))
    }

    fn seal(&self) -> Result<Option<Seal>, Corrupt> {
        on!(self, ring => ring.ring().seal())
    }

    /// Whether the writer's place was taken here, whatever has become of it.
    fn has_writer(&self) -> bool {
        match self {
            Self::Retain { .. } | Self::Overwrite { .. } => true,
            Self::ReadRetain { writer, .. } => writer.get().is_some(),
            Self::ReadOverwrite { writer, .. } => writer.get().is_some(),
        }
    }

    pub(super) fn is_writable(&self) -> bool {
        let fenced = |lease: &H::Lease| lease.check() == Err(LeaseError::Fenced);
        let writer_is_fenced = match self {
            Self::Retain { ring, .. } => fenced(ring.ring().lease()),
            Self::Overwrite { ring, .. } => fenced(ring.ring().lease()),
            Self::ReadRetain { writer, .. } => writer.get().is_some_and(|writer| fenced(writer.ring().lease())),
            Self::ReadOverwrite { writer, .. } => writer.get().is_some_and(|writer| fenced(writer.ring().lease())),
        };
        let can_be_ended = on!(self, ring => ring.ring().can_be_ended());
        self.has_writer() && !(can_be_ended && (writer_is_fenced || matches!(self.seal(), Ok(Some(_)))))
    }

    pub(super) fn write(&self, tag: u8, parts: &[&[u8]]) -> Result<Offset, AppendError> {
        Ok(match self {
            Self::Retain { writer, .. } => writer.write_parts(tag, parts)?,
            Self::Overwrite { writer, .. } => writer.write_parts(tag, parts)?,
            Self::ReadRetain { writer, .. } => writer.get().ok_or(AppendError::ReadOnly)?.write_parts(tag, parts)?,
            Self::ReadOverwrite { writer, .. } => writer.get().ok_or(AppendError::ReadOnly)?.write_parts(tag, parts)?,
        })
    }

    /// Whether there is nothing of a group's to read here any more: it has been here, and has released all. `None` if it has
    /// not been here.
    fn left_by(&self, group: &Name) -> Option<u64> {
        on!(self, ring => ring.ring().readers().find(|reader| reader.name == *group).map(|place| place.lag))
    }
}

impl<H: Hold> Partition<H> {
    const SEALABLE: bool = <H::Lease as Lease>::SEALABLE;

    /// Runs `f` on the last lease that is known here.
    #[inline]
    pub(super) fn with_last<R>(&self, f: impl FnOnce(&Log<H>) -> R) -> R {
        if !Self::SEALABLE {
            return f(&self.log);
        }
        match self.onward.with_last(f) {
            Ok(done) => done,
            Err(f) => f(&self.log),
        }
    }

    /// Runs `f` on the oldest lease that has not ended.
    pub(super) fn with_oldest<R>(&self, f: impl Fn(&Log<H>) -> R) -> R {
        if Self::SEALABLE
            && self.log.is_over()
            && let Some(done) = self.onward.find_map(|log| (!log.is_over()).then(|| f(log)))
        {
            return done;
        }
        f(&self.log)
    }

    /// The name of the lease that its newest records lie in, as far as is known here: the same as
    /// [`lease_id`](Self::lease_id) unless its log was ended there and goes on elsewhere.
    #[must_use]
    pub fn last_lease_id(&self) -> LeaseId {
        self.with_last(Log::lease_id)
    }

    /// The oldest lease that has not ended.
    pub(crate) fn oldest(&self) -> Extent<H> {
        self.with_oldest(Extent::of)
    }

    /// Its name.
    pub(crate) fn oldest_id(&self) -> LeaseId {
        self.with_oldest(Log::lease_id)
    }

    /// Where the log was ended in the last lease that is known here, and where it goes on.
    pub(crate) fn seal(&self) -> Result<Option<Seal>, Corrupt> {
        if Self::SEALABLE { self.with_last(Log::seal) } else { Ok(None) }
    }

    /// Records that a group had not released in leases that have ended before the oldest one that has not.
    pub(crate) fn lost_behind(&self, group: &Name) -> u64 {
        if !self.goes_on() || !self.log.is_over() {
            return 0;
        }
        let mut lost = self.log.left_by(group).unwrap_or(0);
        let _: Option<()> = self.onward.find_map(|log| {
            if !log.is_over() {
                return Some(());
            }
            lost = lost.saturating_add(log.left_by(group).unwrap_or(0));
            None
        });
        lost
    }

    /// Whether its log can be ended under a living writer.
    pub(crate) fn can_be_ended(&self) -> bool {
        on!(&self.log, ring => ring.ring().can_be_ended())
    }

    /// Whether somebody else goes on with what was written here.
    pub(crate) fn is_taken_over(&self, by: WriteError) -> bool {
        // The lease's end comes first, the seal behind it.
        matches!(by, WriteError::Sealed | WriteError::Lease(LeaseError::Fenced)) && self.can_be_ended()
    }

    /// Whether the writer's place was ever taken here.
    pub(crate) fn had_writer(&self) -> bool {
        self.log.has_writer() || self.onward.find_map(|log| log.has_writer().then_some(())).is_some()
    }

    /// Whether a record that the writer of the first lease cannot write can be written elsewhere.
    #[cold]
    pub(crate) fn goes_on(&self) -> bool {
        Self::SEALABLE && self.onward.with_last(|_| ()).is_ok()
    }

    /// Records that a group has not released; all there are if it was never here. Walks the readers' places and the slots
    /// not noted yet.
    pub(crate) fn lag(&self, group: &Name) -> u64 {
        let tail = self.tail().value();
        let lag_in = |log: &Log<H>| {
            let whole = on!(log, ring => ring.ring().tail().value());
            match log.left_by(group) {
                // It has read all of this one. Its place further on says how far it is.
                Some(0) if matches!(log.seal(), Ok(Some(_))) => None,
                Some(lag) => Some(tail.saturating_sub(whole.saturating_sub(lag))),
                None => Some(tail.saturating_sub(on!(log, ring => ring.ring().head().value()))),
            }
        };
        let first = if self.goes_on() && self.log.is_over() { None } else { lag_in(&self.log) };
        first.or_else(|| self.onward.find_map(|log| if log.is_over() { None } else { lag_in(log) })).unwrap_or(0)
    }
}
