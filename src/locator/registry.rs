//! The registry: making one, finding one, and asking it.

use super::error::{RegistryError, ResolveError};
use super::layout::sequence;
use super::record::{Found, Locator};
use super::table::{RegistryConfig, Table, Trouble};
use crate::lease::{Lease, Trust};
use crate::uri::Uri;
use core::fmt;

/// A table of topics in a lease. Can be shared by reference between threads; others make one of their own lease of the same
/// bytes. What is promised stands in the [module](crate::locator).
pub struct Registry<L: Lease> {
    pub(super) table: Table,
    pub(super) lease: L,
}

/// How often a search is started again because the registry was rearranged meanwhile.
pub(super) const SEARCHES: u32 = 16;

/// An entry that was found: its number, its `current`, and what it says.
pub(super) type Hit<const P: usize> = (u32, u32, Found<P>);

impl<L: Lease> Registry<L> {
    /// Makes an empty registry of a lease. What was in it is lost.
    ///
    /// # Errors
    /// [`RegistryError::Shape`] if there can be no such registry; [`RegistryError::TooShort`];
    /// [`RegistryError::Lease`] if the lease has ended, or is a reader's.
    pub fn format(lease: L, config: RegistryConfig) -> Result<Self, RegistryError> {
        Ok(Self { table: Table::format(&lease, &config)?, lease })
    }

    /// Opens the registry in a lease, whatever bytes are in it. On an [`Exclusive`](crate::lease::Exclusive) lease, where
    /// nobody else can be, the claims of publishers that died are taken away; on the others, nothing is changed.
    ///
    /// # Errors
    /// [`RegistryError`] if the bytes are no registry of this version, or its header is damaged. The lease is dropped then.
    pub fn attach(lease: L) -> Result<Self, RegistryError> {
        let table = Table::open(&lease)?;
        if L::Trust::EXCLUSIVE {
            table.clear_claims();
        }
        Ok(Self { table, lease })
    }

    /// The lease underneath.
    #[must_use]
    pub const fn lease(&self) -> &L {
        &self.lease
    }

    /// Takes the lease back. What is in it stays.
    #[must_use]
    pub fn into_lease(self) -> L {
        self.lease
    }

    /// What it was made with.
    #[must_use]
    pub const fn config(&self) -> RegistryConfig {
        let shape = &self.table.shape;
        RegistryConfig { topics: shape.topics, partitions: shape.partitions, names: shape.names }
    }

    /// Where a topic is. Neither waits nor allocates.
    ///
    /// # Errors
    /// [`ResolveError::Unknown`] if it was never published, [`ResolveError::Withdrawn`] if it is not any more;
    /// [`ResolveError::NoSuchPartition`] if the address names a partition that it has not; [`ResolveError::Partitions`] if it
    /// has more than `P`; [`ResolveError::Damaged`] if its record is damaged, or it is not found and some other record is;
    /// [`ResolveError::Busy`] if the registry was changed all the time; [`ResolveError::Lease`].
    pub fn resolve<const P: usize>(&self, uri: &Uri<'_>) -> Result<Locator<P>, ResolveError> {
        let Some((_, _, found)) = self.find::<P>(uri)? else { return Err(ResolveError::Unknown) };
        let partitions = found.partitions;
        let locator = published(found)?;
        match uri.partition() {
            Some(partition) if partition >= partitions => Err(ResolveError::NoSuchPartition { partition, partitions }),
            _ => Ok(locator),
        }
    }

    /// All topics that are published, in no order. Those that cannot be read are errors in their places.
    pub fn locators<const P: usize>(&self) -> impl Iterator<Item = Result<Locator<P>, ResolveError>> + '_ {
        (0..self.table.shape.topics).filter_map(|entry| match self.table.read(&self.lease, entry) {
            Ok(Some((_, found))) if !found.withdrawn => Some(published(found)),
            Ok(_) => None,
            Err(trouble) => Some(Err(told(trouble, entry))),
        })
    }

    /// Whether the lease by which a locator was published is proven to be gone: its publisher died, or gave it up. May ask the
    /// operating system. What cannot be proven is not answered with yes.
    #[must_use]
    pub fn is_orphaned<const P: usize>(&self, locator: &Locator<P>) -> bool {
        locator.owner != 0 && self.lease.is_gone(locator.owner)
    }

    /// The entry of a topic, also of a withdrawn one; `None` if there is none and no entry is damaged that might be it.
    pub(super) fn find<const P: usize>(&self, uri: &Uri<'_>) -> Result<Option<Hit<P>>, ResolveError> {
        self.lease.check()?;
        for _ in 0..SEARCHES {
            let mut trouble = None;
            for entry in 0..self.table.shape.topics {
                let current = self.table.current(&self.lease, entry);
                if !self.table.is_named(&self.lease, entry, current, uri) {
                    continue;
                }
                match self.table.read(&self.lease, entry) {
                    Ok(Some((current, found))) if found.is_of(uri) => return Ok(Some((entry, current, found))),
                    // It became another one's meanwhile.
                    Ok(_) => {}
                    Err(error) => trouble = trouble.or_else(|| Some(told(error, entry))),
                }
            }
            if let Some(error) = trouble {
                return Err(error);
            }
            // No name is its own: is one of them damaged, or was it rearranged meanwhile?
            let mut missed = false;
            for entry in 0..self.table.shape.topics {
                if sequence(self.table.current(&self.lease, entry)) == Some(0) {
                    continue;
                }
                match self.table.read::<_, 0>(&self.lease, entry) {
                    Ok(Some((_, found))) => missed |= found.is_of(uri),
                    Ok(None) => {}
                    Err(error) => return Err(told(error, entry)),
                }
            }
            if !missed {
                return Ok(None);
            }
        }
        Err(ResolveError::Busy)
    }
}

/// The locator, unless it was withdrawn or is too large.
pub(super) fn published<const P: usize>(found: Found<P>) -> Result<Locator<P>, ResolveError> {
    if found.withdrawn {
        return Err(ResolveError::Withdrawn { generation: found.locator.generation });
    }
    let partitions = found.partitions;
    let max = u32::try_from(P).unwrap_or(u32::MAX);
    found.whole().map_err(|_| ResolveError::Partitions { found: partitions, max })
}

pub(super) const fn told(trouble: Trouble, entry: u32) -> ResolveError {
    match trouble {
        Trouble::Busy => ResolveError::Busy,
        Trouble::Damaged => ResolveError::Damaged { entry },
    }
}

impl<L: Lease> fmt::Debug for Registry<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("config", &self.config()).finish_non_exhaustive()
    }
}
