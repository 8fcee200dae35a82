//! Topics: named sets of partitions.
//!
//! Two tiers with the same use. `TopicManager` (feature `alloc`) makes and deletes topics at any time, from any thread.
//! Without an allocator, [`StaticRings`] is a table that topics are declared in, and [`StaticTopics`] works on it.
//! Producers and consumers take either: what they need is the trait [`Topics`].
//!
//! # Who writes, and who comes next
//! One process holds the leases of a topic and writes; others may join them and read. When the writer's death is proven, one of
//! these takes its place (`TopicManager::promote`). A writer that is only stopped, or cut off, cannot be told from a slow one:
//! its topic is *taken over* (`TopicManager::take_over`), if it was made [`with_takeover`](TopicConfig::with_takeover). Each
//! partition's log is sealed behind its last committed record, and goes on in another lease at the next offset. Nothing that was
//! answered for is lost, and no offset has two records.
//!
//! A topic follows: it opens the next lease where a seal names it. A consumer that has read to the end of one goes on in the
//! next; groups have their places there, and hold nothing back but what they have not released. The old writer's producers are told
//! `SendError::TakenOver`, its consumers read on like all others. A topic is joined by the oldest leases that are still there: whoever
//! joins it by a later one passes over what its groups have not read in those before.
//!
//! [`StaticTopics`] cannot follow, as they have no pool to open leases from: their consumers read to the seal and are told
//! `PollError::Sealed`, and the table is made anew over the leases that the seals name. Topics of
//! dead letters cannot be made with takeover. A `DlqRouter` crosses when all it was handed before the seam is settled.

mod config;
mod error;
mod fixed;
#[cfg(feature = "alloc")]
mod manager;
#[cfg(all(feature = "alloc", not(feature = "std")))]
mod manager_plain;
#[cfg(feature = "std")]
mod manager_system;
mod route;

pub use config::{MAX_GROUPS, MAX_PARTITIONS, TopicConfig};
pub use error::TopicError;
pub use fixed::{StaticHandle, StaticRings, StaticTopics};
#[cfg(feature = "alloc")]
pub use manager::{Topic, TopicHandle};
#[cfg(all(feature = "alloc", not(feature = "std")))]
pub use manager_plain::TopicManager;
#[cfg(feature = "std")]
pub use manager_system::TopicManager;
pub use route::partition_of;

use crate::error::AttachError;
use crate::lease::Lease;
use crate::partition::{AnyRing, Extent, Hold, Partition, PartitionStats};
use crate::platform::bell::Desk;
use crate::ring::Ring;
use crate::types::{LeaseId, Ticks};
use core::fmt;

/// What producers and consumers need of a set of topics. Sealed: [`StaticTopics`] and `TopicManager` have it.
pub trait Topics: sealed::Sealed {
    /// How partitions are held.
    type Hold: Hold;
    /// What a producer keeps of a topic it has found, so that it need not look for it again.
    type Handle: Clone + fmt::Debug + Unpin;

    /// Looks for a topic.
    ///
    /// # Errors
    /// [`TopicError::Unknown`] if there is none of this name.
    fn find(&self, name: &str) -> Result<Self::Handle, TopicError>;

    /// The topic behind a handle found under `name`, if it is still there.
    ///
    /// # Errors
    /// [`TopicError::Deleted`] if it is not: look again.
    fn topic<'t>(&'t self, handle: &'t Self::Handle, name: &str) -> Result<TopicRef<'t, Self::Hold>, TopicError>;

    /// The lease of this name, in which the log of a partition goes on, opened to be read.
    ///
    /// # Errors
    /// [`TopicError::Lease`] if it cannot be: with [`LeaseError::Unsupported`](crate::LeaseError::Unsupported), where topics have
    /// no pool to join leases of. [`TopicError::Attach`] or [`TopicError::WrongPartition`] if it is not the partition's.
    fn extent(&self, handle: &Self::Handle, partition: u32, lease: LeaseId) -> Result<Extent<Self::Hold>, TopicError>;

    /// The same of a lease that is open here already, by its holder: to be read beside that one.
    ///
    /// # Errors
    /// As [`extent`](Self::extent).
    fn reopen(&self, handle: &Self::Handle, partition: u32, lease: LeaseId) -> Result<Extent<Self::Hold>, TopicError>;

    /// The time, by the clock of the topics.
    fn now(&self) -> Ticks;
}

mod sealed {
    pub trait Sealed {}
}

/// A topic, borrowed.
pub struct TopicRef<'t, H: Hold> {
    name: &'t str,
    config: &'t TopicConfig,
    partitions: &'t [Partition<H>],
    /// Wakes consumers that wait, each partition by a bit.
    bell: &'t Desk,
}

impl<H: Hold> Clone for TopicRef<'_, H> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<H: Hold> Copy for TopicRef<'_, H> {}

impl<'t, H: Hold> TopicRef<'t, H> {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'t str {
        self.name
    }

    /// What it was made of.
    #[must_use]
    pub const fn config(&self) -> &'t TopicConfig {
        self.config
    }

    /// Its partitions, in the order of their numbers.
    #[must_use]
    pub const fn partitions(&self) -> &'t [Partition<H>] {
        self.partitions
    }

    /// How its partitions stand.
    pub fn stats(&self) -> impl Iterator<Item = PartitionStats> + use<'t, H> {
        self.partitions.iter().map(Partition::stats)
    }

    /// A partition.
    pub(crate) fn partition(&self, number: u32) -> Option<&'t Partition<H>> {
        self.partitions.get(usize::try_from(number).ok()?)
    }

    /// The bell that is rung for its partitions.
    pub(crate) const fn bell(&self) -> &'t Desk {
        self.bell
    }

    /// How many partitions it has.
    #[must_use]
    pub fn partition_count(&self) -> u32 {
        u32::try_from(self.partitions.len()).unwrap_or(u32::MAX)
    }
}

impl<H: Hold> fmt::Debug for TopicRef<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicRef")
            .field("name", &self.name)
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

/// Makes an empty partition of a lease.
fn format_ring<L: Lease>(lease: L, config: &TopicConfig, number: u32, now: Ticks) -> Result<AnyRing<L>, TopicError> {
    let ring = config.ring(number)?;
    Ok(if config.full.overwrites() {
        AnyRing::Overwrite(Ring::format_at(lease, ring, now)?)
    } else {
        AnyRing::Retain(Ring::format_at(lease, ring, now)?)
    })
}

/// Opens the partition that is in a lease. One that is not in there stays where it is.
fn attach_ring<L: Lease>(lease: L, config: &TopicConfig, number: u32) -> Result<AnyRing<L>, TopicError> {
    let failed = |(lease, error): (L, AttachError)| {
        lease.detach();
        TopicError::Attach { partition: number, error }
    };
    let (ring, found) = if config.full.overwrites() {
        let ring = Ring::try_attach(lease).map_err(failed)?;
        let found = ring.number();
        (AnyRing::Overwrite(ring), found)
    } else {
        let ring = Ring::try_attach(lease).map_err(failed)?;
        let found = ring.number();
        (AnyRing::Retain(ring), found)
    };
    if found != number {
        ring.detach();
        return Err(TopicError::WrongPartition { wanted: number, found });
    }
    Ok(ring)
}
