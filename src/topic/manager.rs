//! Topics on the heap, made and deleted at any time.
//!
//! Names are users' words, so they are keys of a tree: a hash table's worst case would be at the mercy of whoever
//! chooses them, and without an operating system there is nothing to seed it with. The tree is looked at only when a
//! producer or consumer meets its topic for the first time; after that they hold the topic itself.

use super::{TopicConfig, TopicError, TopicManager, TopicRef, Topics, attach_ring, format_ring, sealed};
use crate::lease::{Lease, Pool};
use crate::name::{self, MAX_TOPIC_NAME};
use crate::partition::{Counted, Partition, PartitionStats};
use crate::platform::atomic::{AtomicU32, Ordering};
use crate::platform::clock::Clock;
use crate::platform::lock::Lock;
use crate::types::{LeaseId, Ticks};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// A topic of a `TopicManager`. It stays usable, if only to say that it was deleted, for as long as anybody holds it.
pub struct Topic<L: Lease> {
    name: Box<str>,
    config: TopicConfig,
    partitions: Vec<Partition<Counted<L>>>,
    /// 1 once it was deleted.
    deleted: AtomicU32,
    /// Its manager's mark.
    home: Arc<()>,
}

impl<L: Lease> Topic<L> {
    /// The topic, borrowed.
    #[must_use]
    pub fn view(&self) -> TopicRef<'_, Counted<L>> {
        TopicRef { name: &self.name, config: &self.config, partitions: &self.partitions }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it was made of.
    #[must_use]
    pub const fn config(&self) -> &TopicConfig {
        &self.config
    }

    /// Its partitions, in the order of their numbers.
    #[must_use]
    pub fn partitions(&self) -> &[Partition<Counted<L>>] {
        &self.partitions
    }

    /// How its partitions stand. Allocates.
    #[must_use]
    pub fn stats(&self) -> Vec<PartitionStats> {
        self.view().stats().collect()
    }

    /// Whether it was deleted.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        // Relaxed: whoever must not miss it is stopped by the revoked lease.
        self.deleted.load(Ordering::Relaxed) != 0
    }
}

impl<L: Lease> fmt::Debug for Topic<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.view(), f)
    }
}

/// A topic, counted.
pub struct TopicHandle<L: Lease>(Arc<Topic<L>>);

impl<L: Lease> Clone for TopicHandle<L> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<L: Lease> fmt::Debug for TopicHandle<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<L: Lease> core::ops::Deref for TopicHandle<L> {
    type Target = Topic<L>;

    fn deref(&self) -> &Topic<L> {
        &self.0
    }
}

/// The insides of a manager.
pub(super) struct Shared<P: Pool, C> {
    topics: Lock<BTreeMap<Box<str>, TopicHandle<P::Lease>>>,
    mark: Arc<()>,
    pool: P,
    clock: C,
}

impl<P: Pool, C> Shared<P, C> {
    pub(super) fn new(pool: P, clock: C) -> Self {
        Self { topics: Lock::new(BTreeMap::new()), mark: Arc::new(()), pool, clock }
    }
}

impl<P: Pool, C: Clock> TopicManager<P, C> {
    /// A manager whose topics lie in leases of `pool`, and go by `clock`.
    #[must_use]
    pub fn with_pool(pool: P, clock: C) -> Self {
        Self { shared: Shared::new(pool, clock) }
    }

    /// Makes a topic. Leases memory for each partition, and walks its slots once.
    ///
    /// # Errors
    /// [`TopicError::Exists`], [`TopicError::Name`], what is wrong with the configuration, or [`TopicError::Lease`] if
    /// the pool has no room; then nothing stays leased.
    pub fn create(&self, name: &str, config: TopicConfig) -> Result<TopicHandle<P::Lease>, TopicError> {
        self.vacant(name, &config)?;
        let bytes = config.partition_bytes()?;
        let now = self.shared.clock.now();
        let partition = |number| {
            let lease = self.shared.pool.acquire(bytes, config.ttl);
            let lease = lease.map_err(|error| TopicError::Lease { partition: number, error })?;
            let ring = format_ring(lease, &config, number, now)?;
            Partition::own(ring, number, config.full)
                .map_err(|(_, error)| TopicError::Writer { partition: number, error })
        };
        // Outside the lock, as it takes long.
        let mut partitions = (0..config.partitions).map(partition).collect::<Result<Vec<_>, TopicError>>()?;
        self.enter(name, config, &mut partitions)
    }

    /// Takes a topic over that lies in leases of the pool whose holder detached from them, one for each partition in
    /// order. Of the configuration the policies and the number of partitions count; sizes are those of the rings.
    ///
    /// # Errors
    /// As [`create`](Self::create); [`TopicError::Attach`] if a lease does not hold the partition,
    /// [`TopicError::Partitions`] if there are fewer leases than partitions, and [`TopicError::Leases`] if there are more.
    /// Nothing is lost then: all leases are in the pool as they were, but for their epochs, to be attached to rightly.
    pub fn attach(
        &self,
        name: &str,
        config: TopicConfig,
        leases: &[LeaseId],
    ) -> Result<TopicHandle<P::Lease>, TopicError> {
        self.vacant(name, &config)?;
        let given = u32::try_from(leases.len()).unwrap_or(u32::MAX);
        if given < config.partitions {
            return Err(TopicError::Partitions { wanted: config.partitions, max: given });
        }
        if given > config.partitions {
            return Err(TopicError::Leases { given, partitions: config.partitions });
        }
        let mut partitions = Vec::new();
        let done =
            self.take_over(&config, leases, &mut partitions).and_then(|()| self.enter(name, config, &mut partitions));
        if done.is_err() {
            partitions.into_iter().for_each(Partition::detach);
        }
        done
    }

    /// Opens the partitions in leases, up to the first one that cannot be opened.
    fn take_over(
        &self,
        config: &TopicConfig,
        leases: &[LeaseId],
        partitions: &mut Vec<Partition<Counted<P::Lease>>>,
    ) -> Result<(), TopicError> {
        for (number, id) in (0_u32..).zip(leases) {
            let lease = self.shared.pool.attach(*id).map_err(|error| TopicError::Lease { partition: number, error })?;
            let ring = attach_ring(lease, config, number)?;
            partitions.push(Partition::own(ring, number, config.full).map_err(|(lease, error)| {
                if let Some(lease) = lease {
                    lease.detach();
                }
                TopicError::Writer { partition: number, error }
            })?);
        }
        Ok(())
    }

    /// The topic of this name.
    ///
    /// # Errors
    /// [`TopicError::Unknown`] if there is none.
    pub fn open(&self, name: &str) -> Result<TopicHandle<P::Lease>, TopicError> {
        self.shared.topics.with(|topics| topics.get(name).cloned()).ok_or(TopicError::Unknown)
    }

    /// Deletes a topic: its memory is taken back from the pool's view at once, and freed when nobody uses it any more.
    /// Producers and consumers are told at their next call.
    ///
    /// # Errors
    /// [`TopicError::Unknown`] if there is none of this name.
    pub fn delete(&self, name: &str) -> Result<(), TopicError> {
        let topic = self.shared.topics.with(|topics| topics.remove(name)).ok_or(TopicError::Unknown)?;
        topic.0.deleted.store(1, Ordering::Relaxed);
        for partition in topic.partitions() {
            // A lease that the pool no longer knows has ended anyway.
            let _ = self.shared.pool.revoke(partition.lease_id());
        }
        Ok(())
    }

    /// The names of the topics, in order. Allocates.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.shared.topics.with(|topics| topics.keys().map(|name| String::from(&**name)).collect())
    }

    /// Keeps a topic's memory for another [`ttl`](TopicConfig::ttl) from now, and answers when the first of its leases
    /// ends.
    ///
    /// # Errors
    /// [`TopicError::Lease`] if a lease has ended: what was in it is gone.
    pub fn renew(&self, name: &str) -> Result<Ticks, TopicError> {
        let topic = self.open(name)?;
        topic.partitions().iter().try_fold(Ticks::MAX, |first, partition| {
            let end = self.shared.pool.renew(partition.lease_id(), topic.config.ttl);
            let end = end.map_err(|error| TopicError::Lease { partition: partition.number(), error })?;
            Ok(first.min(end))
        })
    }

    /// The pool that memory comes from.
    #[must_use]
    pub const fn pool(&self) -> &P {
        &self.shared.pool
    }

    /// The clock.
    #[must_use]
    pub const fn clock(&self) -> &C {
        &self.shared.clock
    }

    fn vacant(&self, name: &str, config: &TopicConfig) -> Result<(), TopicError> {
        name::check(name.as_bytes(), MAX_TOPIC_NAME)?;
        config.ring(0)?;
        if self.shared.topics.with(|topics| topics.contains_key(name)) { Err(TopicError::Exists) } else { Ok(()) }
    }

    /// Enters a topic if nobody was faster; if so, its partitions stay in `partitions`.
    fn enter(
        &self,
        name: &str,
        config: TopicConfig,
        partitions: &mut Vec<Partition<Counted<P::Lease>>>,
    ) -> Result<TopicHandle<P::Lease>, TopicError> {
        let home = Arc::clone(&self.shared.mark);
        self.shared.topics.with(|topics| {
            if topics.contains_key(name) {
                return Err(TopicError::Exists);
            }
            let deleted = AtomicU32::new(0);
            let topic = Topic { name: name.into(), config, partitions: core::mem::take(partitions), deleted, home };
            let topic = TopicHandle(Arc::new(topic));
            topics.insert(name.into(), topic.clone());
            Ok(topic)
        })
    }
}

impl<P: Pool, C> sealed::Sealed for TopicManager<P, C> {}
impl<P: Pool, C: Clock> Topics for TopicManager<P, C> {
    type Hold = Counted<P::Lease>;
    type Handle = TopicHandle<P::Lease>;

    fn find(&self, name: &str) -> Result<Self::Handle, TopicError> {
        self.open(name)
    }

    #[inline]
    fn topic<'t>(&'t self, handle: &'t Self::Handle, _: &str) -> Result<TopicRef<'t, Self::Hold>, TopicError> {
        if handle.is_deleted() || !Arc::ptr_eq(&handle.0.home, &self.shared.mark) {
            return Err(TopicError::Deleted);
        }
        Ok(handle.0.view())
    }

    #[inline]
    fn now(&self) -> Ticks {
        self.shared.clock.now()
    }
}

impl<P: Pool, C> fmt::Debug for TopicManager<P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.topics.with(|topics| f.debug_set().entries(topics.keys()).finish())
    }
}
