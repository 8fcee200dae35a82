//! Rings held by reference count.

use super::hold::{AnyRing, Hold, sealed};
use super::{FullPolicy, Log, Partition};
use crate::error::WriteError;
use crate::lease::Lease;
use crate::ring::{Overwrite, Retain, Ring};
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
    /// Takes the ring's writer's place. Allocates.
    pub(crate) fn own(ring: AnyRing<L>, number: u32, full: FullPolicy) -> Result<Self, WriteError> {
        let log = match ring {
            AnyRing::Retain(ring) => Log::retain(Arc::new(ring))?,
            AnyRing::Overwrite(ring) => Log::overwrite(Arc::new(ring))?,
        };
        Ok(Self { number, full, log })
    }
}
