//! Rings held by reference count.

use super::hold::{AnyRing, Hold, sealed};
use super::{Extent, FullPolicy, Log, Partition};
use crate::error::WriteError;
use crate::lease::Lease;
use crate::platform::chain::Chain;
use crate::platform::later::Later;
use crate::ring::{Keep, Overwrite, Retain, Ring, RingRef, SharedWriter};
use crate::types::{LeaseId, Ticks};
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::marker::PhantomData;

/// Rings live for as long as anybody holds them.
pub struct Counted<L>(PhantomData<fn() -> L>);

impl<L> sealed::Sealed for Counted<L> {}
impl<L: Lease> Hold for Counted<L> {
    type Lease = L;
    type Retain = Arc<Ring<L, Retain>>;
    type Overwrite = Arc<Ring<L, Overwrite>>;
}

impl<L> fmt::Debug for Counted<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counted")
    }
}

impl<L: Lease> Partition<Counted<L>> {
    /// Takes the ring's writer's place, or hands the lease back. Allocates.
    pub(crate) fn own(ring: AnyRing<L>, number: u32, full: FullPolicy) -> Result<Self, (Option<L>, WriteError)> {
        let log = match ring {
            AnyRing::Retain(ring) => {
                let ring = Arc::new(ring);
                Log::retain(Arc::clone(&ring)).map_err(|error| (lease_of(ring), error))?
            }
            AnyRing::Overwrite(ring) => {
                let ring = Arc::new(ring);
                Log::overwrite(Arc::clone(&ring)).map_err(|error| (lease_of(ring), error))?
            }
        };
        Ok(Self { number, full, log, onward: Chain::new() })
    }

    /// Leaves the ring's writer's place to somebody else. Allocates.
    pub(crate) fn read(ring: AnyRing<L>, number: u32, full: FullPolicy) -> Self {
        let log = match ring {
            AnyRing::Retain(ring) => Log::ReadRetain { ring: Arc::new(ring), writer: Later::new() },
            AnyRing::Overwrite(ring) => Log::ReadOverwrite { ring: Arc::new(ring), writer: Later::new() },
        };
        Self { number, full, log, onward: Chain::new() }
    }

    /// Takes the writer's place where it was left to somebody else, in the last lease that is known here, with that one's ring as
    /// its present holder has it. Answers `false`, and gives it back, if somebody else in this process was faster, or that was the
    /// holder of the lease before. Allocates.
    pub(crate) fn promote(&self, by: Self) -> bool {
        let id = by.log.lease_id();
        self.with_last(|log| {
            if log.lease_id() != id {
                return false;
            }
            match (log, by.log) {
                (Log::ReadRetain { writer: place, .. }, Log::Retain { writer, .. }) => place.put(writer),
                (Log::ReadOverwrite { writer: place, .. }, Log::Overwrite { writer, .. }) => place.put(writer),
                _ => false,
            }
        })
    }

    /// Goes on in the lease behind `last`, with the writer's place there or without; unless somebody in this process was
    /// faster: then it comes back. Leases between the first and the last whose time is over are given up. Allocates.
    pub(crate) fn go_on(&self, last: LeaseId, by: Self, now: Ticks) -> Result<(), Box<Self>> {
        let Self { number, full, log, onward } = by;
        let first = self.log.lease_id();
        let follows = |log: Option<&Log<_>>| log.map_or(first, Log::lease_id) == last;
        self.onward
            .push(log, follows, |log| !log.is_over() && log.expires_at() > now)
            .map_err(|log| Box::new(Self { number, full, log, onward }))
    }

    /// The lease of this name, if it is known here.
    pub(crate) fn extent(&self, id: LeaseId) -> Option<Extent<Counted<L>>> {
        let of = |log: &Log<Counted<L>>| (log.lease_id() == id).then(|| Extent::of(log));
        of(&self.log).or_else(|| self.onward.find_map(of))
    }

    /// Names the leases that are known here.
    pub(crate) fn for_each_lease(&self, mut f: impl FnMut(LeaseId)) {
        f(self.log.lease_id());
        let _: Option<()> = self.onward.find_map(|log| {
            f(log.lease_id());
            None
        });
    }

    /// Its only lease, to be handed out.
    pub(crate) fn as_extent(&self) -> Extent<Counted<L>> {
        Extent::of(&self.log)
    }

    /// Gives the ring up, but not what is in it, if nobody else holds it.
    pub(crate) fn detach(self) {
        self.onward.into_values().for_each(Log::detach);
        self.log.detach();
    }
}

impl<L: Lease> Log<Counted<L>> {
    fn expires_at(&self) -> Ticks {
        on!(self, ring => ring.ring().lease().expires_at())
    }

    fn detach(self) {
        let lease = match self {
            Self::Retain { ring, writer } => {
                drop(writer);
                lease_of(ring)
            }
            Self::Overwrite { ring, writer } => {
                drop(writer);
                lease_of(ring)
            }
            Self::ReadRetain { ring, writer } => {
                // Its holder's lease.
                writer.into_inner().map(SharedWriter::into_ring).and_then(lease_of).map(Lease::detach);
                lease_of(ring)
            }
            Self::ReadOverwrite { ring, writer } => {
                writer.into_inner().map(SharedWriter::into_ring).and_then(lease_of).map(Lease::detach);
                lease_of(ring)
            }
        };
        if let Some(lease) = lease {
            lease.detach();
        }
    }
}

fn lease_of<L: Lease, K: Keep>(ring: Arc<Ring<L, K>>) -> Option<L> {
    Arc::into_inner(ring).map(Ring::into_lease)
}
