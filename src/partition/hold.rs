//! How a partition holds its ring.

use crate::lease::Lease;
use crate::ring::{Overwrite, Retain, Ring, RingRef};
use core::fmt;
use core::marker::PhantomData;

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// How the rings of partitions are held: [`Borrowed`] from a table, or `Counted` (feature `alloc`).
pub trait Hold: sealed::Sealed {
    /// The rings' leases.
    type Lease: Lease;
    /// A ring that retains.
    type Retain: RingRef<Lease = Self::Lease, Keep = Retain>;
    /// A ring that overwrites.
    type Overwrite: RingRef<Lease = Self::Lease, Keep = Overwrite>;
}

/// Rings lie in a table that outlives their partitions.
pub struct Borrowed<'m, L>(PhantomData<&'m L>);

impl<L> sealed::Sealed for Borrowed<'_, L> {}
impl<'m, L: Lease> Hold for Borrowed<'m, L> {
    type Lease = L;
    type Retain = &'m Ring<L, Retain>;
    type Overwrite = &'m Ring<L, Overwrite>;
}

impl<L> fmt::Debug for Borrowed<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Borrowed")
    }
}

/// A ring, of whichever kind its topic asked for.
pub(crate) enum AnyRing<L: Lease> {
    Retain(Ring<L, Retain>),
    Overwrite(Ring<L, Overwrite>),
}

impl<L: Lease> AnyRing<L> {
    /// Gives the ring up, but not what is in it.
    pub(crate) fn detach(self) {
        match self {
            Self::Retain(ring) => ring.into_lease().detach(),
            Self::Overwrite(ring) => ring.into_lease().detach(),
        };
    }
}
