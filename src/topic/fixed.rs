//! Topics without an allocator.

use super::{TopicConfig, TopicError, TopicRef, Topics, attach_ring, format_ring, sealed};
use crate::error::{LeaseError, WriteError};
use crate::lease::{Lease, Pool};
use crate::name::{self, MAX_TOPIC_NAME};
use crate::partition::{AnyRing, Borrowed, Extent, FullPolicy, Partition};
use crate::platform::bell::Desk;
use crate::platform::clock::Clock;
use crate::types::{LeaseId, Ticks};
use core::fmt;

/// A table of at most `T` topics of at most `P` partitions each, over leases `L`.
///
/// Topics are declared here first; [`StaticTopics::new`] then takes the writers' places and lends the table for as long
/// as it works. Nothing allocates or blocks.
///
/// ```
/// use fabric_mq::clock::ManualClock;
/// use fabric_mq::consumer::{Consumer, SeekPolicy};
/// use fabric_mq::lease::SlicePool;
/// use fabric_mq::producer::Producer;
/// use fabric_mq::topic::{StaticRings, StaticTopics, TopicConfig};
///
/// let clock = ManualClock::new();
/// let mut memory = [0; 8192];
/// let pool: SlicePool<'_, 2, _> = SlicePool::new(&mut memory, &clock);
///
/// let mut rings: StaticRings<_, 1, 2> = StaticRings::new();
/// let config = TopicConfig::new().with_partitions(2).with_slots_and_stride(16, 64).with_groups(1);
/// rings.create(&pool, "events", config, &clock)?;
/// let topics = StaticTopics::new(&rings, &clock)?;
///
/// let mut producer = Producer::new("events");
/// producer.send(&topics, b"hello")?;
/// producer.send(&topics, b"world")?;
///
/// let mut consumer = Consumer::new("events", "my-group");
/// consumer.assign(&[0, 1]);
/// let mut bytes = 0;
/// assert_eq!(consumer.poll_with(&topics, 100, |message| bytes += message.payload().len())?, 2);
/// assert_eq!(bytes, 10);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct StaticRings<L: Lease, const T: usize, const P: usize> {
    topics: heapless::Vec<Entry<L, P>, T>,
}

struct Entry<L: Lease, const P: usize> {
    name: heapless::String<MAX_TOPIC_NAME>,
    config: TopicConfig,
    rings: heapless::Vec<AnyRing<L>, P>,
}

impl<L: Lease, const T: usize, const P: usize> StaticRings<L, T, P> {
    /// An empty table.
    #[must_use]
    pub const fn new() -> Self {
        Self { topics: heapless::Vec::new() }
    }

    /// Declares a topic, with memory from a pool.
    ///
    /// # Errors
    /// [`TopicError`]; nothing stays leased then.
    pub fn create(
        &mut self,
        pool: impl Pool<Lease = L>,
        name: &str,
        config: TopicConfig,
        clock: impl Clock,
    ) -> Result<(), TopicError> {
        let bytes = config.partition_bytes()?;
        let now = clock.now();
        let make = |number| {
            let lease =
                pool.acquire(bytes, config.ttl).map_err(|error| TopicError::Lease { partition: number, error })?;
            format_ring(lease, &config, number, now)
        };
        self.add(name, config, make, drop)
    }

    /// Declares a topic in leases of the caller's, one for each partition; what is in them is lost.
    ///
    /// # Errors
    /// [`TopicError`]; [`TopicError::Partitions`] if there are fewer leases than partitions.
    pub fn create_in(
        &mut self,
        leases: impl IntoIterator<Item = L>,
        name: &str,
        config: TopicConfig,
        clock: impl Clock,
    ) -> Result<(), TopicError> {
        let now = clock.now();
        let make = |lease, number| format_ring(lease, &config, number, now);
        self.add_leases(&mut leases.into_iter(), name, config, make, drop)
    }

    /// Finds a topic in leases, one for each partition in order: after a reset, say. Of the configuration the policies
    /// and the number of partitions count; sizes are those of the rings.
    ///
    /// # Errors
    /// [`TopicError`]; [`TopicError::Attach`] if a lease does not hold the partition. Nothing is lost then: of leases of a pool
    /// it is detached ([`Lease::detach`]), so that they can be attached to again by their ids.
    pub fn attach_in(
        &mut self,
        leases: impl IntoIterator<Item = L>,
        name: &str,
        config: TopicConfig,
    ) -> Result<(), TopicError> {
        let mut leases = leases.into_iter();
        let make = |lease, number| attach_ring(lease, &config, number);
        self.add_leases(&mut leases, name, config, make, AnyRing::detach).inspect_err(|_| {
            for lease in leases.take(P) {
                lease.detach();
            }
        })
    }

    /// Removes a topic and gives its leases back.
    ///
    /// # Errors
    /// [`TopicError::Unknown`] if there is none of this name.
    pub fn delete(&mut self, name: &str) -> Result<(), TopicError> {
        let at = self.topics.iter().position(|entry| entry.name == name).ok_or(TopicError::Unknown)?;
        drop(self.topics.swap_remove(at));
        Ok(())
    }

    /// The names of the topics.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.topics.iter().map(|entry| entry.name.as_str())
    }

    fn add_leases(
        &mut self,
        leases: &mut impl Iterator<Item = L>,
        name: &str,
        config: TopicConfig,
        make: impl Fn(L, u32) -> Result<AnyRing<L>, TopicError>,
        undo: impl Fn(AnyRing<L>),
    ) -> Result<(), TopicError> {
        let make = |number| {
            let lease = leases.next().ok_or(TopicError::Partitions { wanted: config.partitions, max: number })?;
            make(lease, number)
        };
        self.add(name, config, make, undo)
    }

    /// Enters a topic whose rings `make` makes; if one cannot be made, `undo` gets those before it.
    fn add(
        &mut self,
        name: &str,
        config: TopicConfig,
        mut make: impl FnMut(u32) -> Result<AnyRing<L>, TopicError>,
        undo: impl Fn(AnyRing<L>),
    ) -> Result<(), TopicError> {
        name::check(name.as_bytes(), MAX_TOPIC_NAME)?;
        config.ring(0)?;
        if self.names().any(|other| other == name) {
            return Err(TopicError::Exists);
        }
        if self.topics.is_full() {
            return Err(TopicError::TopicsFull { limit: T });
        }
        let too_many =
            || TopicError::Partitions { wanted: config.partitions, max: u32::try_from(P).unwrap_or(u32::MAX) };
        if usize::try_from(config.partitions).map_or(true, |partitions| partitions > P) {
            return Err(too_many());
        }
        let name = heapless::String::try_from(name).map_err(|_| TopicError::TopicsFull { limit: T })?;
        let mut rings = heapless::Vec::new();
        let made = (0..config.partitions).try_for_each(|number| rings.push(make(number)?).map_err(|_| too_many()));
        if let Err(error) = made {
            rings.into_iter().for_each(undo);
            return Err(error);
        }
        self.topics.push(Entry { name, config, rings }).map_err(|_| TopicError::TopicsFull { limit: T })
    }
}

impl<L: Lease, const T: usize, const P: usize> Default for StaticRings<L, T, P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<L: Lease, const T: usize, const P: usize> fmt::Debug for StaticRings<L, T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// The topics of a [`StaticRings`] at work. Can be shared by threads, cores and interrupt handlers.
pub struct StaticTopics<'m, L: Lease, C, const T: usize, const P: usize> {
    topics: heapless::Vec<Working<'m, L, P>, T>,
    clock: C,
}

struct Working<'m, L: Lease, const P: usize> {
    name: &'m str,
    config: &'m TopicConfig,
    partitions: heapless::Vec<Partition<Borrowed<'m, L>>, P>,
    bell: Desk,
}

/// What a producer keeps of a static topic: its place in the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StaticHandle(usize);

impl<'m, L: Lease, C, const T: usize, const P: usize> StaticTopics<'m, L, C, T, P> {
    /// Takes the writers' places of all topics in the table. Walks at most all slots of each partition.
    ///
    /// # Errors
    /// [`TopicError::Writer`] if one cannot be had: another `StaticTopics` works on the table, or its end is damaged.
    pub fn new(rings: &'m StaticRings<L, T, P>, clock: C) -> Result<Self, TopicError> {
        Self::over(rings, clock, Partition::borrow)
    }

    /// Leaves the writers' places of all topics in the table to somebody else, who shares their leases: another core, another
    /// process. Consumers work on them; sending is refused ([`SendError::ReadOnly`](crate::producer::SendError::ReadOnly)).
    /// Whoever is to write later makes a [`new`](Self::new) one of the same table then; consumers go on with either.
    ///
    /// # Errors
    /// None at present: the table has room for what is in the table.
    pub fn reading(rings: &'m StaticRings<L, T, P>, clock: C) -> Result<Self, TopicError> {
        Self::over(rings, clock, |ring, number, full| Ok(Partition::borrow_to_read(ring, number, full)))
    }

    fn over(
        rings: &'m StaticRings<L, T, P>,
        clock: C,
        open: impl Fn(&'m AnyRing<L>, u32, FullPolicy) -> Result<Partition<Borrowed<'m, L>>, WriteError>,
    ) -> Result<Self, TopicError> {
        let mut topics = heapless::Vec::new();
        for entry in &rings.topics {
            let mut partitions = heapless::Vec::new();
            for (number, ring) in (0_u32..).zip(&entry.rings) {
                let writer = |error| TopicError::Writer { partition: number, error };
                let partition = open(ring, number, entry.config.full).map_err(writer)?;
                partitions.push(partition).map_err(|_| TopicError::TopicsFull { limit: P })?;
            }
            let working = Working { name: &entry.name, config: &entry.config, partitions, bell: Desk::small() };
            topics.push(working).map_err(|_| TopicError::TopicsFull { limit: T })?;
        }
        Ok(Self { topics, clock })
    }

    /// The names of the topics.
    pub fn names(&self) -> impl Iterator<Item = &'m str> {
        self.topics.iter().map(|topic| topic.name)
    }

    /// The topic of this name.
    ///
    /// # Errors
    /// [`TopicError::Unknown`] if there is none.
    pub fn open(&self, name: &str) -> Result<TopicRef<'_, Borrowed<'m, L>>, TopicError> {
        self.topics.iter().find(|topic| topic.name == name).map(Working::view).ok_or(TopicError::Unknown)
    }

    /// The clock.
    pub const fn clock(&self) -> &C {
        &self.clock
    }
}

impl<'m, L: Lease, const P: usize> Working<'m, L, P> {
    fn view(&self) -> TopicRef<'_, Borrowed<'m, L>> {
        TopicRef { name: self.name, config: self.config, partitions: &self.partitions, bell: &self.bell }
    }
}

impl<L: Lease, C, const T: usize, const P: usize> sealed::Sealed for StaticTopics<'_, L, C, T, P> {}
impl<'m, L: Lease, C: Clock, const T: usize, const P: usize> Topics for StaticTopics<'m, L, C, T, P> {
    type Hold = Borrowed<'m, L>;
    type Handle = StaticHandle;

    fn find(&self, name: &str) -> Result<StaticHandle, TopicError> {
        self.topics.iter().position(|topic| topic.name == name).map(StaticHandle).ok_or(TopicError::Unknown)
    }

    fn topic<'t>(&'t self, handle: &'t StaticHandle, name: &str) -> Result<TopicRef<'t, Borrowed<'m, L>>, TopicError> {
        // The handle may come from another table.
        self.topics.get(handle.0).filter(|topic| topic.name == name).map(Working::view).ok_or(TopicError::Deleted)
    }

    /// There is no pool to open the next lease from: consumers are told that the log goes on elsewhere.
    fn extent(&self, _: &StaticHandle, partition: u32, _: LeaseId) -> Result<Extent<Borrowed<'m, L>>, TopicError> {
        Err(TopicError::Lease { partition, error: LeaseError::Unsupported })
    }

    /// As `extent`.
    fn reopen(&self, _: &StaticHandle, partition: u32, _: LeaseId) -> Result<Extent<Borrowed<'m, L>>, TopicError> {
        Err(TopicError::Lease { partition, error: LeaseError::Unsupported })
    }

    fn now(&self) -> Ticks {
        self.clock.now()
    }
}

impl<L: Lease, C, const T: usize, const P: usize> fmt::Debug for StaticTopics<'_, L, C, T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}
