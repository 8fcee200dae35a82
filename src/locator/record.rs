//! Where a topic is: the record of it, made of words and parsed from words, each of which is looked at once.

use super::error::RecordError;
use super::layout::{FIXED, GENERATION, LENGTHS, MAX_PARTITIONS, RECORD_MAGIC, VERSION, name_words, record_bytes};
use crate::lease::Lease;
use crate::lease::superblock::feed;
use crate::name::MAX_TOPIC_NAME;
use crate::partition::{FullPolicy, Hold};
use crate::topic::{TopicConfig, TopicRef};
use crate::types::{Epoch, Generation, LeaseId, Ticks};
use crate::uri::Uri;
use core::fmt;

/// What a pool is, and so who can reach the leases in it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum PoolKind {
    /// This program's memory: a `static`, a slice, the heap; or memory that its cores share.
    #[default]
    Local,
    /// Memory that all processes of a user on a machine can map.
    Shared,
    /// Memory of another machine.
    Remote,
}

/// Where a topic is, and how it is made: its pool, the lease of each of its partitions, their geometry, and its policies.
/// Has room for `P` partitions, in place: 16 bytes each, and 400 more. Does not allocate.
///
/// ```
/// use fabric_mq::clock::ManualClock;
/// use fabric_mq::lease::SlicePool;
/// use fabric_mq::locator::{Locator, PoolKind};
/// use fabric_mq::topic::{StaticRings, StaticTopics, TopicConfig};
/// use fabric_mq::uri::Uri;
///
/// let clock = ManualClock::new();
/// let mut memory = [0; 8192];
/// let pool: SlicePool<'_, 2, _> = SlicePool::new(&mut memory, &clock);
/// let mut rings: StaticRings<_, 1, 2> = StaticRings::new();
/// rings.create(&pool, "events", TopicConfig::new().with_partitions(2).with_slots_and_stride(16, 64).with_groups(1), &clock)?;
/// let topics = StaticTopics::new(&rings, &clock)?;
///
/// let locator: Locator<4> = Locator::of("board", PoolKind::Local, topics.open("events")?)?;
/// assert_eq!(locator.uri().to_string(), "fabric-mq://board/events");
/// assert_eq!((locator.leases().len(), locator.config().slots), (2, 16));
///
/// // It goes to others as bytes, and comes back from them checked.
/// let mut bytes = [0; 128];
/// let len = locator.encode(&mut bytes)?;
/// assert_eq!(Locator::decode(&bytes[..len]), Ok(locator));
/// assert!(Locator::<4>::decode(&bytes[..len - 1]).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct Locator<const P: usize = 64> {
    pool: heapless::String<MAX_TOPIC_NAME>,
    topic: heapless::String<MAX_TOPIC_NAME>,
    pub(super) kind: PoolKind,
    config: TopicConfig,
    pub(super) epoch: Epoch,
    pub(super) generation: Generation,
    pub(super) owner: u32,
    pub(super) leases: heapless::Vec<LeaseId, P>,
}

/// What a record says: a locator, or that there is none any more.
#[derive(Clone, Debug)]
pub(super) struct Found<const P: usize> {
    /// Of a withdrawn topic, its names and its generation count. Has the first `P` leases.
    pub(super) locator: Locator<P>,
    pub(super) withdrawn: bool,
    /// How many leases the record has.
    pub(super) partitions: u32,
}

fn name(text: &str) -> Result<heapless::String<MAX_TOPIC_NAME>, RecordError> {
    heapless::String::try_from(text).map_err(|_| RecordError::Length)
}

impl<const P: usize> Locator<P> {
    /// The locator of a topic, in the pool of this name. Sizes are those of the rings.
    ///
    /// # Errors
    /// [`RecordError::Partitions`] if the topic has more than `P` partitions; [`RecordError::Uri`] if the pool's name is none.
    pub fn of<H: Hold>(pool: &str, kind: PoolKind, topic: TopicRef<'_, H>) -> Result<Self, RecordError> {
        let uri = Uri::new(pool, topic.name()).map_err(RecordError::Uri)?;
        let mut config = *topic.config();
        if let Some(first) = topic.partitions().first() {
            config.slots = first.slots();
            config.capacity = u32::try_from(first.bytes()).unwrap_or(u32::MAX);
        }
        let leases = topic.partitions().iter().map(|partition| partition.lease_id());
        let epoch = topic.partitions().iter().map(|partition| partition.lease().epoch()).max().unwrap_or_default();
        Ok(Self::new(uri, kind, config, leases)?.with_epoch(epoch))
    }

    /// The locator of a topic of this address, in leases one for each partition in order.
    ///
    /// # Errors
    /// [`RecordError::Partitions`] if there are more than `P`, or not as many as the configuration says;
    /// [`RecordError::Topic`] if there can be no such topic.
    pub fn new(
        uri: Uri<'_>,
        kind: PoolKind,
        config: TopicConfig,
        leases: impl IntoIterator<Item = LeaseId>,
    ) -> Result<Self, RecordError> {
        config.partition_bytes().map_err(RecordError::Topic)?;
        let max = u32::try_from(P).unwrap_or(u32::MAX).min(u32::from(MAX_PARTITIONS));
        let mut own = heapless::Vec::new();
        let mut given: u32 = 0;
        for lease in leases.into_iter().take(usize::from(MAX_PARTITIONS).saturating_add(1)) {
            given = given.saturating_add(1);
            // What has no room is told below.
            let _ = own.push(lease);
        }
        if given > max || given != config.partitions {
            return Err(RecordError::Partitions { found: given.max(config.partitions), max: max.min(given) });
        }
        Ok(Self {
            pool: name(uri.pool())?,
            topic: name(uri.topic())?,
            kind,
            config,
            epoch: Epoch::default(),
            generation: Generation::default(),
            owner: 0,
            leases: own,
        })
    }

    /// Sets the generation: for [`Registry::publish`](super::Registry::publish), which refuses one that is not above the last.
    #[must_use]
    pub fn with_generation(self, generation: Generation) -> Self {
        Self { generation, ..self }
    }

    /// Sets the epoch under which the topic's leases are held: the highest of them.
    #[must_use]
    pub fn with_epoch(self, epoch: Epoch) -> Self {
        Self { epoch, ..self }
    }

    /// The topic's address.
    #[must_use]
    pub fn uri(&self) -> Uri<'_> {
        Uri::checked(&self.pool, &self.topic)
    }

    /// What the pool is.
    #[must_use]
    pub const fn kind(&self) -> PoolKind {
        self.kind
    }

    /// What the topic is made of: as many partitions as there are leases.
    #[must_use]
    pub const fn config(&self) -> TopicConfig {
        self.config
    }

    /// The lease of each partition, in the order of their numbers.
    #[must_use]
    pub fn leases(&self) -> &[LeaseId] {
        &self.leases
    }

    /// The lease of a partition.
    #[must_use]
    pub fn lease(&self, partition: u32) -> Option<LeaseId> {
        self.leases.get(usize::try_from(partition).ok()?).copied()
    }

    /// The highest epoch of the leases when this was published.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How often the topic was published, more or less: it rises each time.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// The bytes of its record: at most 324 and 16 for each partition.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        record_bytes(self.pool.len(), self.topic.len(), self.leases.len())
    }

    /// Writes its record to the beginning of a buffer, and answers how many bytes it has.
    ///
    /// # Errors
    /// [`RecordError::Buffer`] if the buffer is too small.
    pub fn encode(&self, to: &mut [u8]) -> Result<usize, RecordError> {
        let needed = self.encoded_len();
        let to = to.get_mut(..needed).ok_or(RecordError::Buffer { needed })?;
        for (to, word) in to.as_chunks_mut::<4>().0.iter_mut().zip(self.words(false)) {
            *to = word.to_le_bytes();
        }
        Ok(needed)
    }

    /// Reads a record: these bytes, all of them, or none.
    ///
    /// # Errors
    /// [`RecordError`] says what is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let (words, rest) = bytes.as_chunks::<4>();
        let mut from = words.iter();
        let found = Found::parse(words.len(), || from.next().map_or(0, |word| u32::from_le_bytes(*word)))?;
        if !rest.is_empty() || from.next().is_some() {
            return Err(RecordError::Length);
        }
        if found.withdrawn {
            return Err(RecordError::Field);
        }
        found.whole()
    }

    /// The record, or that of the withdrawn topic, word by word; from either end.
    pub(super) fn words(&self, withdrawn: bool) -> impl DoubleEndedIterator<Item = u32> + Clone {
        let leases = if withdrawn { &[][..] } else { self.leases.as_slice() };
        let names = [self.pool.as_bytes(), self.topic.as_bytes()];
        let named = names.into_iter().flat_map(|text| (0..name_words(text.len())).map(|index| word_of(text, index)));
        let leased = leases.iter().flat_map(|lease| {
            let id = lease.value();
            [id, id >> 32, id >> 64, id >> 96].map(|part| {
                #[allow(clippy::cast_possible_truncation, reason = "a part of it")]
                let word = part as u32;
                word
            })
        });
        let covered = self.fixed(withdrawn, leases.len()).into_iter().chain(named).chain(leased);
        let crc = !covered.clone().fold(u32::MAX, feed);
        covered.chain([crc])
    }

    /// The words before the names.
    fn fixed(&self, withdrawn: bool, leases: usize) -> [u32; FIXED] {
        let lengths = [self.pool.len(), self.topic.len()].map(|len| u8::try_from(len).unwrap_or(u8::MAX));
        let length = u16::try_from(record_bytes(self.pool.len(), self.topic.len(), leases)).unwrap_or(u16::MAX);
        let mut words = [0; FIXED];
        words[0] = RECORD_MAGIC;
        words[1] = u32::from(VERSION) | (u32::from(length) << 16);
        words[GENERATION] = self.generation.value();
        words[5] = u32::from_le_bytes([0, WITHDRAWN, 0, 0]);
        words[LENGTHS] = u32::from_le_bytes([0, lengths[0], lengths[1], 0]);
        if withdrawn {
            return words;
        }
        let config = &self.config;
        let (full, wait) = match config.full {
            FullPolicy::Reject => (0, 0),
            FullPolicy::DropNewest => (1, 0),
            FullPolicy::DropOldest => (2, 0),
            FullPolicy::Wait { timeout } => (3, timeout.as_millis()),
        };
        words[3] = self.owner;
        words[4] = self.epoch.value();
        words[5] = u32::from_le_bytes([kind_code(self.kind), PUBLISHED, full, u8::from(config.timestamps)]);
        words[LENGTHS] = u32::from_le_bytes([config.groups, lengths[0], lengths[1], 0]);
        words[7] = config.partitions;
        words[8] = config.slots;
        words[9] = config.capacity;
        words[10] = config.max_lag;
        [words[11], words[12]] = halves(wait);
        [words[13], words[14]] = halves(config.ttl.as_millis());
        words
    }
}

/// The codes of the states.
const PUBLISHED: u8 = 1;
const WITHDRAWN: u8 = 2;

#[allow(clippy::cast_possible_truncation, reason = "the halves of the value")]
const fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

const fn whole(low: u32, high: u32) -> u64 {
    ((high as u64) << 32) | low as u64
}

/// The word at `index` of a name as it is stored, zeros behind its end.
pub(super) fn word_of(name: &[u8], index: usize) -> u32 {
    let at = index.saturating_mul(4);
    u32::from_le_bytes(core::array::from_fn(|byte| name.get(at.saturating_add(byte)).copied().unwrap_or(0)))
}

/// Words of a record, each taken once, and counted.
struct Source<F> {
    next: F,
    left: usize,
    crc: u32,
}

impl<F: FnMut() -> u32> Source<F> {
    fn take(&mut self) -> Result<u32, RecordError> {
        self.left = self.left.checked_sub(1).ok_or(RecordError::Length)?;
        let word = (self.next)();
        self.crc = feed(self.crc, word);
        Ok(word)
    }

    /// A name, and whether nothing but zeros stands behind it.
    fn name(&mut self, len: usize) -> Result<([u8; MAX_TOPIC_NAME], bool), RecordError> {
        let mut bytes = [0; MAX_TOPIC_NAME];
        for chunk in bytes.as_chunks_mut::<4>().0.iter_mut().take(name_words(len)) {
            *chunk = self.take()?.to_le_bytes();
        }
        let clean = bytes.iter().skip(len).all(|byte| *byte == 0);
        Ok((bytes, clean))
    }
}

impl<const P: usize> Found<P> {
    /// Reads a record of at most `words` words: each once, as many as the record says it has, which are no more than there are.
    /// The checksum comes last, so that nothing of a damaged record is believed but its lengths, as far as they are possible.
    pub(super) fn parse(words: usize, next: impl FnMut() -> u32) -> Result<Self, RecordError> {
        let mut source = Source { next, left: words, crc: u32::MAX };
        if source.take()? != RECORD_MAGIC {
            return Err(RecordError::NotARecord);
        }
        let [v0, v1, l0, l1] = source.take()?.to_le_bytes();
        let (version, length) = (u16::from_le_bytes([v0, v1]), usize::from(u16::from_le_bytes([l0, l1])));
        if version != VERSION {
            return Err(RecordError::Version { found: version });
        }
        let generation = source.take()?;
        let [owner, epoch, state, lengths] = [source.take()?, source.take()?, source.take()?, source.take()?];
        let [groups, pool, topic, zero] = lengths.to_le_bytes();
        let (pool, topic) = (usize::from(pool), usize::from(topic));
        let mut rest = [0; FIXED - 7];
        for word in &mut rest {
            *word = source.take()?;
        }
        let [partitions, slots, capacity, max_lag, w0, w1, t0, t1, needed] = rest;
        let possible = pool <= MAX_TOPIC_NAME && topic <= MAX_TOPIC_NAME && partitions <= u32::from(MAX_PARTITIONS);
        if !possible || length != record_bytes(pool, topic, partitions as usize) {
            return Err(RecordError::Length);
        }
        let (pool_name, pool_clean) = source.name(pool)?;
        let (topic_name, topic_clean) = source.name(topic)?;
        let mut leases = heapless::Vec::new();
        for _ in 0..partitions {
            let [a, b, c, d] = [source.take()?, source.take()?, source.take()?, source.take()?];
            // Those there is no room for are counted.
            let _ = leases.push(LeaseId::new(u128::from(whole(a, b)) | (u128::from(whole(c, d)) << 64)));
        }
        let crc = !source.crc;
        if source.take()? != crc {
            return Err(RecordError::Crc);
        }
        // The checksum is no proof against somebody who wants to harm: what it covers is checked all the same.
        let text = |bytes: &[u8; MAX_TOPIC_NAME], len| -> Option<heapless::String<MAX_TOPIC_NAME>> {
            let text = core::str::from_utf8(bytes.get(..len)?).ok()?;
            heapless::String::try_from(text).ok()
        };
        let (Some(pool), Some(topic)) = (text(&pool_name, pool), text(&topic_name, topic)) else {
            return Err(RecordError::Field);
        };
        Uri::new(&pool, &topic).map_err(RecordError::Uri)?;
        let [kind, state, full, timestamps] = state.to_le_bytes();
        let config = TopicConfig::new()
            .with_partitions(partitions)
            .with_slots(slots)
            .with_capacity(capacity)
            .with_groups(groups)
            .with_max_lag(max_lag)
            .with_ttl(Ticks::from_millis(whole(t0, t1)))
            .with_timestamps(timestamps == 1);
        let wait = whole(w0, w1);
        let full = match full {
            0 => Some(FullPolicy::Reject),
            1 => Some(FullPolicy::DropNewest),
            2 => Some(FullPolicy::DropOldest),
            3 => Some(FullPolicy::Wait { timeout: Ticks::from_millis(wait) }),
            _ => None,
        };
        let kind = match kind {
            0 => Some(PoolKind::Local),
            1 => Some(PoolKind::Shared),
            2 => Some(PoolKind::Remote),
            _ => None,
        };
        let (Some(full), Some(kind)) = (full, kind) else { return Err(RecordError::Field) };
        let config = config.with_full(full);
        let withdrawn = state == WITHDRAWN;
        let (epoch, generation) = (Epoch::new(epoch), Generation::new(generation));
        let locator = Locator { pool, topic, kind, config, epoch, generation, owner, leases };
        // One form for each record: what was read must be what would be written.
        let same = zero == 0 && needed == 0 && timestamps <= 1 && pool_clean && topic_clean;
        let plain = matches!(full, FullPolicy::Wait { .. }) || wait == 0;
        let sound = if withdrawn {
            let blank = [owner, epoch.value(), slots, capacity, max_lag, partitions, w0, w1, t0, t1];
            blank.iter().all(|word| *word == 0)
                && [kind_code(kind), groups, timestamps] == [0; 3]
                && full == FullPolicy::Reject
        } else {
            state == PUBLISHED && config.partition_bytes().is_ok()
        };
        if same && plain && sound { Ok(Self { locator, withdrawn, partitions }) } else { Err(RecordError::Field) }
    }

    /// The locator, if there was room for all of it.
    pub(super) fn whole(self) -> Result<Locator<P>, RecordError> {
        if self.partitions as usize > P {
            let max = u32::try_from(P).unwrap_or(u32::MAX);
            return Err(RecordError::Partitions { found: self.partitions, max });
        }
        Ok(self.locator)
    }

    /// Whether it is of this topic.
    pub(super) fn is_of(&self, uri: &Uri<'_>) -> bool {
        self.locator.pool == uri.pool() && self.locator.topic == uri.topic()
    }
}

const fn kind_code(kind: PoolKind) -> u8 {
    match kind {
        PoolKind::Local => 0,
        PoolKind::Shared => 1,
        PoolKind::Remote => 2,
    }
}

impl<const P: usize> fmt::Debug for Locator<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locator")
            .field("uri", &format_args!("{}", self.uri()))
            .field("generation", &self.generation)
            .field("epoch", &self.epoch)
            .field("kind", &self.kind)
            .field("config", &self.config)
            .field("leases", &self.leases)
            .finish_non_exhaustive()
    }
}
