//! Topics on the heap, made and deleted at any time.
//!
//! Names are users' words, so they are keys of a tree: a hash table's worst case would be at the mercy of whoever
//! chooses them, and without an operating system there is nothing to seed it with. The tree is looked at only when a
//! producer or consumer meets its topic for the first time; after that they hold the topic itself.

use super::{TopicConfig, TopicError, TopicManager, TopicRef, Topics, attach_ring, format_ring, sealed};
use crate::error::SealError;
use crate::lease::{Lease, Pool};
use crate::name::{self, MAX_TOPIC_NAME};
use crate::partition::{AnyRing, Counted, Extent, Partition, PartitionStats};
use crate::platform::atomic::{AtomicU32, Ordering};
use crate::platform::bell::{ALL, Desk};
use crate::platform::clock::Clock;
use crate::platform::lock::Lock;
use crate::ring::{Keep, Ring};
use crate::types::{LeaseId, Ticks};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// Leases of one log that are followed at once: more are somebody else's doing, who takes over again and again.
const EXTENTS: u32 = 1024;

/// Tasks that can wait for records of a topic at the same time, at most.
const MOST_TASKS: usize = 1024;

/// A topic of a `TopicManager`. It stays usable, if only to say that it was deleted, for as long as anybody holds it.
pub struct Topic<L: Lease> {
    name: Box<str>,
    config: TopicConfig,
    partitions: Vec<Partition<Counted<L>>>,
    /// Wakes consumers that wait, and the tasks among them: one in each partition for each group, but see `MOST_TASKS`.
    bell: Desk,
    /// 1 once it was deleted.
    deleted: AtomicU32,
    /// Its manager's mark.
    home: Arc<()>,
}

impl<L: Lease> Topic<L> {
    /// The topic, borrowed.
    #[must_use]
    pub fn view(&self) -> TopicRef<'_, Counted<L>> {
        TopicRef { name: &self.name, config: &self.config, partitions: &self.partitions, bell: &self.bell }
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
        self.open_in(name, config, leases, |number, id| self.succeed(&config, number, id))
    }

    /// Opens a topic that somebody else writes, to be read: the leases of the pool are [joined](Pool::join), and the
    /// writers' places are left alone. Consumers work on it as on any other topic, in groups that all who read it share;
    /// sending is refused ([`SendError::ReadOnly`](crate::producer::SendError::ReadOnly)) until [`promote`](Self::promote).
    /// The leases are given one for each partition in order; of the configuration the policies and the number of partitions
    /// count.
    ///
    /// Allocates. Walks nothing.
    ///
    /// ```
    /// # #[cfg(all(feature = "std", unix))]
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use fabric_mq::clock::MachineClock;
    /// use fabric_mq::consumer::Consumer;
    /// use fabric_mq::lease::SharedPool;
    /// use fabric_mq::producer::Producer;
    /// use fabric_mq::topic::{TopicConfig, TopicManager};
    ///
    /// # let path = std::env::temp_dir().join(format!("fabric-mq-join-{}", std::process::id()));
    /// let clock = MachineClock::new();
    /// let config = TopicConfig::new().with_partitions(1);
    ///
    /// // The process that writes.
    /// let topics = TopicManager::with_pool(SharedPool::open(&path, clock)?, clock);
    /// let lease = topics.create("events", config)?.partitions()[0].lease_id();
    /// Producer::new("events").send(&topics, b"hello")?;
    ///
    /// // Another one, which was told the lease: by a registry, say (see `locator`).
    /// let other = TopicManager::with_pool(SharedPool::open(&path, clock)?, clock);
    /// other.join("events", config, &[lease])?;
    /// let mut consumer = Consumer::new("events", "my-group");
    /// consumer.assign(&[0]);
    /// assert_eq!(consumer.poll(&other, 10)?[0].payload(), b"hello");
    /// assert!(Producer::new("events").send(&other, b"from here").is_err());
    /// # std::fs::remove_dir_all(&path)?;
    /// # Ok(())
    /// # }
    /// # #[cfg(not(all(feature = "std", unix)))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// As [`attach`](Self::attach); [`TopicError::Lease`] with [`LeaseError::Unsupported`](crate::LeaseError::Unsupported) if
    /// leases of this pool cannot be joined.
    pub fn join(
        &self,
        name: &str,
        config: TopicConfig,
        leases: &[LeaseId],
    ) -> Result<TopicHandle<P::Lease>, TopicError> {
        self.open_in(name, config, leases, |number, id| self.open_to_read(&config, number, id))
    }

    /// Joins a lease, and leaves the writer's place of the partition in it to somebody else.
    fn open_to_read(
        &self,
        config: &TopicConfig,
        number: u32,
        id: LeaseId,
    ) -> Result<Partition<Counted<P::Lease>>, TopicError> {
        let lease = self.shared.pool.join(id).map_err(|error| TopicError::Lease { partition: number, error })?;
        Ok(Partition::read(attach_ring(lease, config, number)?, number, config.full))
    }

    /// Takes the writers' places of a topic that was opened to be read, once whoever had them is gone: the pool proves that
    /// (a shared one by the kernel's locks), and hands the leases on under a higher epoch. Consumers read on meanwhile, and
    /// from here on records can be sent. What is writable already stays so.
    ///
    /// Allocates. Walks at most all slots of each partition. A topic that was promoted takes a few more steps a record than one
    /// that was created or attached to.
    ///
    /// # Errors
    /// [`TopicError::Lease`] with [`LeaseError::InUse`](crate::LeaseError::InUse) while a writer lives;
    /// [`TopicError::Attach`], [`TopicError::Writer`]; [`TopicError::Unknown`]. No place is taken then.
    pub fn promote(&self, name: &str) -> Result<(), TopicError> {
        let topic = self.open(name)?;
        for partition in topic.partitions() {
            self.follow(&topic, partition)?;
        }
        let mut taken = Vec::new();
        let to_read = || topic.partitions().iter().filter(|partition| !partition.is_writable());
        for partition in to_read() {
            let number = partition.number();
            match self.succeed(&topic.config, number, partition.last_lease_id()) {
                Ok(with_writer) => taken.push((partition, with_writer)),
                Err(error) => {
                    taken.into_iter().for_each(|(_, with_writer)| with_writer.detach());
                    return Err(error);
                }
            }
        }
        for (partition, with_writer) in taken {
            // Nobody was faster: the lease has one holder at a time.
            partition.promote(with_writer);
        }
        Ok(())
    }

    /// Takes a topic over from writers of which nobody knows whether they live: stopped, or cut off. Each partition's log is ended
    /// behind its last record, and goes on in a lease of its own from the pool, for the topic's [`ttl`](TopicConfig::ttl) (see
    /// [`Ring::take_over`](crate::ring::Ring::take_over)); from here on records can be sent. What the old writer was told `Ok` for
    /// is in the log; it is told [`SendError::TakenOver`](crate::producer::SendError::TakenOver) from then on, and what it still
    /// stores is read by nobody. Consumers, here and in other processes, go on in the new lease behind the last record of the old
    /// one, which stays for them until `keep` from now. What is writable already stays so.
    ///
    /// The topic was [joined](Self::join), or was this process's until another one took it over; it was made
    /// [`with_takeover`](TopicConfig::with_takeover). Where the writer is proven to be dead, [`promote`](Self::promote) costs
    /// nothing of this. Whoever comes to the topic later joins it by the old leases as long as they are there, so that its groups
    /// go on where they were; then by the new ones ([`Partition::last_lease_id`]).
    ///
    /// Allocates. Walks at most all slots of each partition. May be cut off anywhere, and done again by anybody.
    ///
    /// ```
    /// # #[cfg(all(feature = "std", unix))]
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use fabric_mq::Ticks;
    /// use fabric_mq::clock::MachineClock;
    /// use fabric_mq::consumer::Consumer;
    /// use fabric_mq::lease::SharedPool;
    /// use fabric_mq::producer::{Producer, SendError};
    /// use fabric_mq::topic::{TopicConfig, TopicManager};
    ///
    /// # let path = std::env::temp_dir().join(format!("fabric-mq-take-over-{}", std::process::id()));
    /// let clock = MachineClock::new();
    /// let config = TopicConfig::new().with_partitions(1).with_takeover();
    ///
    /// // A process that writes, and gets stuck.
    /// let topics = TopicManager::with_pool(SharedPool::open(&path, clock)?, clock);
    /// let lease = topics.create("events", config)?.partitions()[0].lease_id();
    /// let mut stuck = Producer::new("events");
    /// stuck.send(&topics, b"one")?;
    ///
    /// // Another one goes on.
    /// let other = TopicManager::with_pool(SharedPool::open(&path, clock)?, clock);
    /// other.join("events", config, &[lease])?;
    /// other.take_over("events", Ticks::from_millis(3_600_000))?;
    /// Producer::new("events").send(&other, b"two")?;
    ///
    /// // The first one was only slow. It is told, and its consumers read on.
    /// assert_eq!(stuck.send(&topics, b"late"), Err(SendError::TakenOver { partition: 0 }));
    /// let mut consumer = Consumer::new("events", "my-group");
    /// consumer.assign(&[0]);
    /// let mut offsets = Vec::new();
    /// while offsets.len() < 2 {
    ///     offsets.extend(consumer.poll(&other, 10)?.iter().map(|message| message.offset().value()));
    /// }
    /// assert_eq!(offsets, [0, 1]);
    /// # std::fs::remove_dir_all(&path)?;
    /// # Ok(())
    /// # }
    /// # #[cfg(not(all(feature = "std", unix)))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// [`TopicError::Unknown`]; [`TopicError::TakeOver`] with [`SealError::Unsupported`](crate::SealError::Unsupported) if the
    /// topic was not made for it, with [`SealError::Lease`](crate::SealError::Lease) if somebody else does the same at the same
    /// time and was later; [`TopicError::Lease`] if the old lease cannot be reached, or a new one cannot be had. Partitions before
    /// the one that it names have been taken over, that one and those behind it have not: do it again.
    pub fn take_over(&self, name: &str, keep: Ticks) -> Result<(), TopicError> {
        let topic = self.open(name)?;
        let done = topic.partitions().iter().try_for_each(|partition| self.take_over_log(&topic, partition, keep));
        // Consumers that sleep have somewhere to go.
        topic.bell.ring(ALL);
        done
    }

    fn take_over_log(
        &self,
        topic: &Topic<P::Lease>,
        partition: &Partition<Counted<P::Lease>>,
        keep: Ticks,
    ) -> Result<(), TopicError> {
        let number = partition.number();
        for _ in 0..EXTENTS {
            self.follow(topic, partition)?;
            if partition.is_writable() {
                return Ok(());
            }
            if !partition.can_be_ended() {
                return Err(TopicError::TakeOver { partition: number, error: SealError::Unsupported });
            }
            let last = partition.last_lease_id();
            let old = self.shared.pool.supersede(last, keep);
            let old = old.map_err(|error| TopicError::Lease { partition: number, error })?;
            let next = match attach_ring(old, &topic.config, number)? {
                AnyRing::Retain(ring) => self.end_log(topic, number, &ring)?.map(AnyRing::Retain),
                AnyRing::Overwrite(ring) => self.end_log(topic, number, &ring)?.map(AnyRing::Overwrite),
            };
            let Some(next) = next else { continue };
            let next = Partition::own(next, number, topic.config.full).map_err(|(lease, error)| {
                // The log goes on there: what is in it stays.
                lease.map(Lease::detach);
                TopicError::Writer { partition: number, error }
            })?;
            // A consumer may have found it first, to read.
            if let Err(next) = partition.go_on(last, next, self.shared.clock.now()) {
                partition.promote(*next);
            }
            return Ok(());
        }
        Err(TopicError::TakeOver { partition: number, error: SealError::Busy })
    }

    /// Ends the log in a lease that was superseded; answers the ring in which it goes on, or `None` if somebody else was sooner.
    fn end_log<K: Keep>(
        &self,
        topic: &Topic<P::Lease>,
        number: u32,
        ring: &Ring<P::Lease, K>,
    ) -> Result<Option<Ring<P::Lease, K>>, TopicError> {
        let shape = ring.shape();
        let lease = self.shared.pool.acquire_behind(ring.lease(), shape.lease_bytes()?, topic.config.ttl);
        let lease = lease.map_err(|error| TopicError::Lease { partition: number, error })?;
        match ring.take_over(lease, shape, self.shared.clock.now()) {
            Ok(next) => {
                ring.wake_readers();
                Ok(Some(next))
            }
            Err(SealError::Sealed { .. }) => Ok(None),
            Err(error) => Err(TopicError::TakeOver { partition: number, error }),
        }
    }

    /// Opens the leases in which a partition's log goes on, as far as that is said.
    fn follow(&self, topic: &Topic<P::Lease>, partition: &Partition<Counted<P::Lease>>) -> Result<(), TopicError> {
        let number = partition.number();
        for _ in 0..EXTENTS {
            let seal =
                partition.seal().map_err(|damage| TopicError::Attach { partition: number, error: damage.into() })?;
            let Some(seal) = seal else { return Ok(()) };
            self.open_extent(topic, partition, seal.successor)?;
        }
        Ok(())
    }

    /// Opens one of them.
    fn open_extent(
        &self,
        topic: &Topic<P::Lease>,
        partition: &Partition<Counted<P::Lease>>,
        id: LeaseId,
    ) -> Result<Extent<Counted<P::Lease>>, TopicError> {
        if let Some(known) = partition.extent(id) {
            return Ok(known);
        }
        let number = partition.number();
        let last = partition.last_lease_id();
        let next = matches!(partition.seal(), Ok(Some(seal)) if seal.successor == id);
        let opened = self.open_to_read(&topic.config, number, id)?;
        let extent = opened.as_extent();
        if next {
            // Somebody else in this process may have been faster: then that one's is as good.
            drop(partition.go_on(last, opened, self.shared.clock.now()));
        }
        Ok(extent)
    }

    /// Gives a topic up, but not what is in it: its leases are left in the pool, to be [attached](Self::attach) to, here or
    /// elsewhere, until their time is over; those of a topic that was opened to be read are just let go. Answers them, in the
    /// order of the partitions.
    ///
    /// # Errors
    /// [`TopicError::Unknown`]; [`TopicError::InUse`] while a producer, a consumer or a handle holds it: nothing is changed then.
    pub fn detach(&self, name: &str) -> Result<Vec<LeaseId>, TopicError> {
        let mut topic = self.shared.topics.with(|topics| {
            let (name, TopicHandle(topic)) = topics.remove_entry(name).ok_or(TopicError::Unknown)?;
            Arc::try_unwrap(topic).map_err(|held| {
                topics.insert(name, TopicHandle(held));
                TopicError::InUse
            })
        })?;
        let partitions = core::mem::take(&mut topic.partitions);
        let leases = partitions.iter().map(Partition::last_lease_id).collect();
        partitions.into_iter().for_each(Partition::detach);
        Ok(leases)
    }

    /// Enters a topic of which `open` opens the partitions. If one cannot be opened, those before it are given up again.
    fn open_in(
        &self,
        name: &str,
        config: TopicConfig,
        leases: &[LeaseId],
        open: impl Fn(u32, LeaseId) -> Result<Partition<Counted<P::Lease>>, TopicError>,
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
        let opened = (0_u32..).zip(leases).try_for_each(|(number, id)| {
            partitions.push(open(number, *id)?);
            Ok(())
        });
        let done = opened.and_then(|()| self.enter(name, config, &mut partitions));
        if done.is_err() {
            partitions.into_iter().for_each(Partition::detach);
        }
        done
    }

    /// Becomes the holder of a lease, and takes the writer's place of the partition in it.
    fn succeed(
        &self,
        config: &TopicConfig,
        number: u32,
        id: LeaseId,
    ) -> Result<Partition<Counted<P::Lease>>, TopicError> {
        let lease = self.shared.pool.attach(id).map_err(|error| TopicError::Lease { partition: number, error })?;
        let ring = attach_ring(lease, config, number)?;
        Partition::own(ring, number, config.full).map_err(|(lease, error)| {
            if let Some(lease) = lease {
                lease.detach();
            }
            TopicError::Writer { partition: number, error }
        })
    }

    /// The topic of this name.
    ///
    /// # Errors
    /// [`TopicError::Unknown`] if there is none.
    pub fn open(&self, name: &str) -> Result<TopicHandle<P::Lease>, TopicError> {
        self.shared.topics.with(|topics| topics.get(name).cloned()).ok_or(TopicError::Unknown)
    }

    /// Deletes a topic: its memory is taken back from the pool's view at once, and freed when nobody uses it any more.
    /// Producers and consumers are told at their next call, and consumers that wait are woken to be told. Of a topic that was
    /// opened to be read, what others write stays as it is.
    ///
    /// # Errors
    /// [`TopicError::Unknown`] if there is none of this name.
    pub fn delete(&self, name: &str) -> Result<(), TopicError> {
        let topic = self.shared.topics.with(|topics| topics.remove(name)).ok_or(TopicError::Unknown)?;
        topic.0.deleted.store(1, Ordering::Relaxed);
        for partition in topic.partitions() {
            if partition.is_writable() {
                // A lease that the pool no longer knows has ended anyway.
                partition.for_each_lease(|lease| {
                    let _ = self.shared.pool.revoke(lease);
                });
            }
        }
        topic.bell.ring(ALL);
        Ok(())
    }

    /// The names of the topics, in order. Allocates.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.shared.topics.with(|topics| topics.keys().map(|name| String::from(&**name)).collect())
    }

    /// Keeps a topic's memory for another [`ttl`](TopicConfig::ttl) from now, and answers when the first of its leases
    /// ends. Of logs that were taken over that is where they go on; what is behind stays for as long as was said then.
    ///
    /// # Errors
    /// [`TopicError::Lease`] if a lease has ended: what was in it is gone.
    pub fn renew(&self, name: &str) -> Result<Ticks, TopicError> {
        let topic = self.open(name)?;
        topic.partitions().iter().try_fold(Ticks::MAX, |first, partition| {
            let end = self.shared.pool.renew(partition.last_lease_id(), topic.config.ttl);
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
        let tasks = partitions.len().saturating_mul(config.groups.into()).min(MOST_TASKS);
        let bell = Desk::with_seats(tasks);
        self.shared.topics.with(|topics| {
            if topics.contains_key(name) {
                return Err(TopicError::Exists);
            }
            let deleted = AtomicU32::new(0);
            let partitions = core::mem::take(partitions);
            let topic = Topic { name: name.into(), config, partitions, bell, deleted, home };
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

    fn extent(&self, handle: &Self::Handle, partition: u32, lease: LeaseId) -> Result<Extent<Self::Hold>, TopicError> {
        let Some(log) = handle.0.view().partition(partition) else {
            return Err(TopicError::Partitions { wanted: partition, max: handle.0.view().partition_count() });
        };
        self.open_extent(&handle.0, log, lease)
    }

    fn reopen(&self, handle: &Self::Handle, partition: u32, lease: LeaseId) -> Result<Extent<Self::Hold>, TopicError> {
        Ok(self.open_to_read(handle.0.config(), partition, lease)?.as_extent())
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
