//! Rings held by reference count.

use super::hold::{AnyRing, Hold, sealed};
use super::{FullPolicy, Log, Partition};
use crate::error::WriteError;
use crate::lease::Lease;
use crate::platform::later::Later;
use crate::ring::{Keep, Overwrite, Retain, Ring};
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
        Ok(Self { number, full, log })
    }

    /// Leaves the ring's writer's place to somebody else. Allocates.
    pub(crate) fn read(ring: AnyRing<L>, number: u32, full: FullPolicy) -> Self {
        let log = match ring {
            AnyRing::Retain(ring) => Log::ReadRetain { ring: Arc::new(ring), writer: Later::new() },
            AnyRing::Overwrite(ring) => Log::ReadOverwrite { ring: Arc::new(ring), writer: Later::new() },
        };
        Self { number, full, log }
    }

    /// Takes the writer's place where it was left to somebody else, with that one's ring as its present holder has it.
    /// Answers `false`, and gives it back, if somebody else in this process was faster. Allocates.
    pub(crate) fn promote(&self, by: Self) -> bool {
        match (&self.log, by.log) {
            (Log::ReadRetain { writer: place, .. }, Log::Retain { writer, .. }) => place.put(writer),
            (Log::ReadOverwrite { writer: place, .. }, Log::Overwrite { writer, .. }) => place.put(writer),
            _ => false,
        }
    }

    /// Gives the ring up, but not what is in it, if nobody else holds it.
    pub(crate) fn detach(self) {
        let lease = match self.log {
            Log::Retain { ring, writer } => {
                drop(writer);
                lease_of(ring)
            }
            Log::Overwrite { ring, writer } => {
                drop(writer);
                lease_of(ring)
            }
            Log::ReadRetain { ring, .. } => lease_of(ring),
            Log::ReadOverwrite { ring, .. } => lease_of(ring),
        };
        if let Some(lease) = lease {
            lease.detach();
        }
    }
}

fn lease_of<L: Lease, K: Keep>(ring: Arc<Ring<L, K>>) -> Option<L> {
    Arc::into_inner(ring).map(Ring::into_lease)
}
