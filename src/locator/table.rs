//! A registry's shape, its header, and the words of its entries.

use super::error::RegistryError;
use super::layout::{
    CLAIM, CURRENT, DIRECTORY_AT, HEADER, LENGTHS, MAGIC, MAX_PARTITIONS, MAX_TOPICS, NAMES, VERSION, behind, code,
    directory, header, name_words, record_bytes, sequence,
};
use super::record::{Found, Locator, word_of};
use crate::error::LeaseError;
use crate::lease::superblock::feed;
use crate::lease::{Lease, Role};
use crate::platform::atomic::{Ordering, fence};
use crate::platform::memory::{BLOCK, Block, Memory};
use crate::platform::relax;
use crate::ring::memory_of;
use crate::types::Generation;
use crate::uri::Uri;

/// The shape of a registry.
///
/// ```
/// use fabric_mq::locator::RegistryConfig;
///
/// // For a microcontroller.
/// const SMALL: RegistryConfig = RegistryConfig::new().with_topics(4).with_partitions(2).with_names(32);
/// assert_eq!(SMALL.lease_bytes(), Ok(2816));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RegistryConfig {
    /// How many topics have room at the same time, 1 to 4096. Default 64.
    pub topics: u32,
    /// How many partitions each may have, 1 to 1024. Default 16.
    pub partitions: u16,
    /// How many bytes the names of its pool and of the topic may have together, 2 to 256. Default 256, which is enough.
    pub names: u16,
}

impl RegistryConfig {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self { topics: 64, partitions: 16, names: 256 }
    }

    /// Sets how many topics have room.
    #[must_use]
    pub const fn with_topics(self, topics: u32) -> Self {
        Self { topics, ..self }
    }

    /// Sets how many partitions each may have.
    #[must_use]
    pub const fn with_partitions(self, partitions: u16) -> Self {
        Self { partitions, ..self }
    }

    /// Sets how many bytes the names of the pool and of the topic may have together.
    #[must_use]
    pub const fn with_names(self, bytes: u16) -> Self {
        Self { names: bytes, ..self }
    }

    /// How many bytes the registry's lease needs.
    ///
    /// # Errors
    /// [`RegistryError::Shape`] if there can be no such registry.
    pub const fn lease_bytes(&self) -> Result<usize, RegistryError> {
        match self.shape() {
            Some(shape) => Ok(shape.end()),
            None => Err(RegistryError::Shape),
        }
    }

    /// The shape, if it is possible.
    pub(super) const fn shape(&self) -> Option<Shape> {
        let Self { topics, partitions, names } = *self;
        let few = topics != 0 && topics <= MAX_TOPICS && partitions != 0 && partitions <= MAX_PARTITIONS;
        if !few || names < *NAMES.start() || names > *NAMES.end() {
            return None;
        }
        // A name ends in up to three zeros; the record stands behind a word.
        let record = record_bytes(names as usize, 6, partitions as usize).wrapping_add(4);
        let slot = record.wrapping_add(BLOCK - 1) & !(BLOCK - 1);
        #[allow(clippy::cast_possible_truncation, reason = "less than 2^16")]
        let shape = Shape { topics, partitions, names, slot: slot as u32 };
        // Room for all of it in an address: 4096 topics of 34 KiB.
        if (topics as u64).wrapping_mul(shape.entry() as u64).wrapping_add(HEADER as u64) > i32::MAX as u64 {
            return None;
        }
        Some(shape)
    }
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// A checked shape.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Shape {
    pub(super) topics: u32,
    pub(super) partitions: u16,
    pub(super) names: u16,
    slot: u32,
}

impl Shape {
    const fn entry(&self) -> usize {
        (self.slot as usize).wrapping_mul(2).wrapping_add(BLOCK)
    }

    pub(super) const fn end(&self) -> usize {
        (self.topics as usize).wrapping_mul(self.entry()).wrapping_add(HEADER as usize)
    }

    /// Words of a record.
    pub(super) const fn record_words(&self) -> usize {
        (self.slot as usize / 4).wrapping_sub(1)
    }
}

/// What reading an entry came to, if not a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Trouble {
    /// It changed all the time.
    Busy,
    Damaged,
}

/// How often an entry is read again that changed meanwhile.
const TURNS: u32 = 64;

/// The words of a registry. Whoever has this owns the lease ("kept").
#[derive(Clone, Copy)]
pub(super) struct Table {
    memory: Memory,
    pub(super) shape: Shape,
}

impl Table {
    /// Makes an empty registry of a lease. What was in it is lost.
    pub(super) fn format<L: Lease>(lease: &L, config: &RegistryConfig) -> Result<Self, RegistryError> {
        let shape = config.shape().ok_or(RegistryError::Shape)?;
        lease.check()?;
        if lease.role() == Role::Reader || !lease.is_mapped() {
            return Err(RegistryError::Lease(LeaseError::Unsupported));
        }
        if shape.end() > lease.len() {
            return Err(RegistryError::TooShort { needed: shape.end(), found: lease.len() });
        }
        let memory = memory_of(lease).ok_or(RegistryError::Unaligned)?;
        let table = Self { memory, shape };
        table.put(0, 0, 0);
        table.put(0, 1, 0);
        // Whatever is stored below is not seen with the old magic.
        fence(Ordering::Release);
        lease.clean(0, BLOCK);
        for at in (0..shape.end()).step_by(BLOCK) {
            for index in 0..BLOCK / 4 {
                table.put(at, index, 0);
            }
        }
        table.put(DIRECTORY_AT, directory::GUARD, u32::MAX);
        for entry in 0..shape.topics {
            table.put(table.entry_at(entry), CURRENT, code(0));
        }
        table.put(0, header::VERSION, u32::from(VERSION) | (u32::from(HEADER) << 16));
        table.put(0, header::TOPICS, shape.topics);
        table.put(0, header::LIMITS, u32::from(shape.partitions) | (u32::from(shape.names) << 16));
        table.put(0, header::SLOT, shape.slot);
        table.put(0, header::EPOCH, lease.epoch().value());
        for (index, word) in lease.id().value().to_le_bytes().as_chunks::<4>().0.iter().enumerate() {
            table.put(0, header::LEASE.wrapping_add(index), u32::from_le_bytes(*word));
        }
        let said = (header::VERSION..header::CRC).map(|index| table.get(0, index));
        table.put(0, header::CRC, !MAGIC.into_iter().chain(said).fold(u32::MAX, feed));
        lease.clean(DIRECTORY_AT, shape.end().wrapping_sub(DIRECTORY_AT));
        // SYNC(registry): with `open`.
        for (index, word) in MAGIC.into_iter().enumerate().rev() {
            table.with(0, |block| block.word(index).store(word, Ordering::Release));
        }
        lease.clean(0, BLOCK);
        Ok(table)
    }

    /// Finds the registry in a lease, whatever bytes are in it.
    pub(super) fn open<L: Lease>(lease: &L) -> Result<Self, RegistryError> {
        lease.check()?;
        if !lease.is_mapped() {
            return Err(RegistryError::Lease(LeaseError::Unsupported));
        }
        lease.invalidate(0, BLOCK);
        let memory = memory_of(lease).ok_or(RegistryError::Unaligned)?;
        let short = |needed| RegistryError::TooShort { needed, found: lease.len() };
        let block = memory.block(0).ok_or_else(|| short(usize::from(HEADER)))?;
        let mut words = [0; header::CRC + 1];
        for (index, word) in words.iter_mut().enumerate() {
            // SYNC(registry)
            *word = block.word(index).load(Ordering::Acquire);
        }
        let [said @ .., crc] = words;
        let [m0, m1, version, needed, topics, limits, slot, ..] = said;
        if [m0, m1] != MAGIC {
            return Err(RegistryError::NotARegistry);
        }
        let [v0, v1, h0, h1] = version.to_le_bytes();
        if u16::from_le_bytes([v0, v1]) != VERSION {
            return Err(RegistryError::Version { found: u16::from_le_bytes([v0, v1]) });
        }
        if crc != !said.into_iter().fold(u32::MAX, feed) {
            return Err(RegistryError::Damaged);
        }
        if needed != 0 {
            return Err(RegistryError::Features { needed });
        }
        // The checksum is no proof against somebody who wants to harm: the shape is checked all the same.
        let [p0, p1, n0, n1] = limits.to_le_bytes();
        let (partitions, names) = (u16::from_le_bytes([p0, p1]), u16::from_le_bytes([n0, n1]));
        let shape = RegistryConfig { topics, partitions, names }.shape();
        let shape = shape.filter(|shape| shape.slot == slot && u16::from_le_bytes([h0, h1]) == HEADER);
        let shape = shape.ok_or(RegistryError::Damaged)?;
        if shape.end() > memory.len() {
            return Err(short(shape.end()));
        }
        Ok(Self { memory, shape })
    }

    /// The block at a multiple of its size. Every one that is asked for lies in the lease, since the shape does.
    pub(super) fn with<R: Default>(&self, at: usize, act: impl FnOnce(&Block) -> R) -> R {
        self.memory.block(at).map(|block| act(&block)).unwrap_or_default()
    }

    fn get(&self, at: usize, index: usize) -> u32 {
        self.with(at, |block| block.word(index).load(Ordering::Relaxed))
    }

    pub(super) fn put(&self, at: usize, index: usize, word: u32) {
        self.with(at, |block| block.word(index).store(word, Ordering::Relaxed));
    }

    /// Where an entry's control block lies.
    pub(super) fn entry_at(&self, entry: u32) -> usize {
        usize::from(HEADER).wrapping_add((entry as usize).wrapping_mul(self.shape.entry()))
    }

    /// Where the slot of a sequence lies.
    fn slot_at(&self, entry: u32, sequence: u32) -> usize {
        let slot = if sequence & 1 == 0 { 0 } else { self.shape.slot as usize };
        self.entry_at(entry).wrapping_add(BLOCK).wrapping_add(slot)
    }

    /// A word of a slot.
    fn word(&self, slot: usize, index: usize) -> u32 {
        let at = slot.wrapping_add((index / (BLOCK / 4)).wrapping_mul(BLOCK));
        // SYNC(locator slot): with `write`.
        self.with(at, |block| block.word(index).load(Ordering::Acquire))
    }

    /// The word of an entry that says which slot counts.
    pub(super) fn current<L: Lease>(&self, lease: &L, entry: u32) -> u32 {
        let at = self.entry_at(entry);
        lease.invalidate(at, BLOCK);
        // SYNC(locator commit): with `write`.
        self.with(at, |block| block.word(CURRENT).load(Ordering::Acquire))
    }

    /// The generation that an entry tells of, not checked.
    pub(super) fn hint(&self, entry: u32, current: u32) -> Option<Generation> {
        let slot = self.slot_at(entry, sequence(current)?);
        Some(Generation::new(self.word(slot, super::layout::GENERATION.wrapping_add(1))))
    }

    /// Whether an entry seems to be of a topic. Only a damaged one, or one that changes, seems to be what it is not.
    pub(super) fn is_named<L: Lease>(&self, lease: &L, entry: u32, current: u32, uri: &Uri<'_>) -> bool {
        let Some(sequence) = sequence(current) else { return false };
        let slot = self.slot_at(entry, sequence);
        lease.invalidate(slot, self.shape.slot as usize);
        let (pool, topic) = (uri.pool().as_bytes(), uri.topic().as_bytes());
        let [_, pool_len, topic_len, _] = self.word(slot, LENGTHS.wrapping_add(1)).to_le_bytes();
        let pool_words = name_words(pool.len());
        let names_at = super::layout::FIXED.wrapping_add(1);
        let same = |name: &[u8], at: usize| {
            (0..name_words(name.len())).all(|index| self.word(slot, at.wrapping_add(index)) == word_of(name, index))
        };
        (usize::from(pool_len), usize::from(topic_len)) == (pool.len(), topic.len())
            && same(pool, names_at)
            && same(topic, names_at.wrapping_add(pool_words))
    }

    /// What an entry says: its `current` and its record, checked; `None` if it is empty. Reads it again, but not for ever, if it
    /// changes meanwhile.
    pub(super) fn read<L: Lease, const P: usize>(
        &self,
        lease: &L,
        entry: u32,
    ) -> Result<Option<(u32, Found<P>)>, Trouble> {
        for step in 0..TURNS {
            let current = self.current(lease, entry);
            // One store stores it: it is never half of two.
            let number = sequence(current).ok_or(Trouble::Damaged)?;
            if number == 0 {
                return Ok(None);
            }
            let slot = self.slot_at(entry, number);
            lease.invalidate(slot, self.shape.slot as usize);
            let bound = self.word(slot, 0) == current;
            let mut index = 0;
            let found = Found::parse(self.shape.record_words(), || {
                index = usize::wrapping_add(index, 1);
                self.word(slot, index)
            });
            // SYNC(locator slot): if any of those words is of another sequence already, so is `current`.
            if self.current(lease, entry) != current {
                relax(step);
                continue;
            }
            // Nobody writes to the slot that is current: what does not check is damage.
            return match found {
                Ok(found) if bound => Ok(Some((current, found))),
                _ => Err(Trouble::Damaged),
            };
        }
        Err(Trouble::Busy)
    }

    /// Puts a record in place of the one that an entry has, whose `current` this is. The caller has the entry's claim.
    pub(super) fn write<L: Lease, const P: usize>(
        &self,
        lease: &L,
        entry: u32,
        current: u32,
        locator: &Locator<P>,
        withdrawn: bool,
    ) -> Result<(), LeaseError> {
        let number = behind(sequence(current).unwrap_or(0));
        let slot = self.slot_at(entry, number);
        let words = locator.words(withdrawn);
        let behind = words.clone().count().saturating_add(1);
        // From the last word to the first, as a reader takes them from the first to the last: whoever has seen one of these
        // sees all behind it.
        for (index, word) in (0..behind).rev().zip(words.rev().chain([code(number)])) {
            let at = slot.wrapping_add((index / (BLOCK / 4)).wrapping_mul(BLOCK));
            // SYNC(locator slot): the commit before, whoever made it, is seen by whoever sees this.
            self.with(at, |block| block.word(index).store(word, Ordering::Release));
        }
        lease.clean(slot, self.shape.slot as usize);
        // The single checked step: what was under way when the lease ended never becomes visible.
        lease.check()?;
        self.commit(lease, entry, number);
        Ok(())
    }

    /// Makes a slot count: the one of a sequence, or none if that is 0.
    pub(super) fn commit<L: Lease>(&self, lease: &L, entry: u32, number: u32) {
        let at = self.entry_at(entry);
        // SYNC(locator commit): with `current`.
        self.with(at, |block| block.word(CURRENT).store(code(number), Ordering::Release));
        lease.clean(at, BLOCK);
    }

    /// The generation above which a topic begins that has no entry.
    pub(super) fn floor<L: Lease>(&self, lease: &L) -> Generation {
        lease.invalidate(DIRECTORY_AT, BLOCK);
        // Whoever raised it may have died between the two.
        Generation::new(self.get(DIRECTORY_AT, directory::FLOOR).max(!self.get(DIRECTORY_AT, directory::GUARD)))
    }

    /// Raises it. The caller has the directory's claim.
    pub(super) fn raise_floor<L: Lease>(&self, lease: &L, to: Generation) {
        let to = self.floor(lease).max(to).value();
        self.put(DIRECTORY_AT, directory::FLOOR, to);
        self.with(DIRECTORY_AT, |block| block.word(directory::GUARD).store(!to, Ordering::Release));
        lease.clean(DIRECTORY_AT, BLOCK);
    }

    /// The generations that an entry's two slots tell of, as far as they check: whichever is the higher.
    pub(super) fn highest(&self, entry: u32) -> Generation {
        [0, 1].into_iter().fold(Generation::default(), |highest, parity| {
            let slot = self.slot_at(entry, parity);
            let mut index = 0;
            let found: Result<Found<0>, _> = Found::parse(self.shape.record_words(), || {
                index = usize::wrapping_add(index, 1);
                self.word(slot, index)
            });
            found.map_or(highest, |found| highest.max(found.locator.generation))
        })
    }

    /// Takes away the claims of those who died, where nobody else can be there.
    pub(super) fn clear_claims(&self) {
        self.put(DIRECTORY_AT, CLAIM, 0);
        for entry in 0..self.shape.topics {
            self.put(self.entry_at(entry), CLAIM, 0);
        }
    }
}
