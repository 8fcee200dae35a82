//! The control area of a group, in a lease: who its members are, who owns which partition, and what was committed.

use super::claim::ClaimWord;
use super::layout::{HEADER, MAGIC, MAX_PLACES, Plan, VERSION, partition, place, superblock};
use super::{OffsetError, cell};
use crate::error::{LeaseError, NameError};
use crate::lease::superblock::feed;
use crate::lease::{Lease, Role, Trust};
use crate::name::{self, MAX_NAME, MAX_TOPIC_NAME, Name};
use crate::platform::atomic::{Ordering, fence};
use crate::platform::claim;
use crate::platform::memory::{BLOCK, Block, Memory};
use crate::ring::memory_of;
use crate::topic::MAX_PARTITIONS;
use crate::types::{Epoch, LeaseId, Offset, Ticks};
use core::fmt;

/// The shortest and the longest session: below, three looks do not fit in; above, milliseconds have more than 31 bits.
const SESSIONS: core::ops::RangeInclusive<u64> = 4..=0x7fff_ffff;

/// What a group's control area is made of.
///
/// ```
/// use fabric_mq::group::GroupConfig;
///
/// let config = GroupConfig::new("billing", "events", 4).with_places(8);
/// assert_eq!(config.lease_bytes(), Ok(256 + 128 * 8 + 128 * 4));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct GroupConfig<'n> {
    /// The group's name: 1 to 63 characters `A-Z a-z 0-9 . _ -`, not beginning with a dot.
    pub group: &'n str,
    /// The topic it reads: as topics are named.
    pub topic: &'n str,
    /// How many partitions that has, 1 to [`MAX_PARTITIONS`]; 128 bytes each.
    pub partitions: u32,
    /// How many members there can be at a time, 1 to 127; 128 bytes each. Default 16.
    pub places: u32,
    /// For how long a member may be silent that does not say otherwise: 4 ms to 24 days. Default 30 s.
    pub session: Ticks,
}

impl<'n> GroupConfig<'n> {
    /// The defaults.
    #[must_use]
    pub const fn new(group: &'n str, topic: &'n str, partitions: u32) -> Self {
        Self { group, topic, partitions, places: 16, session: DEFAULT_SESSION }
    }

    /// Sets how many members there can be.
    #[must_use]
    pub const fn with_places(self, places: u32) -> Self {
        Self { places, ..self }
    }

    /// Sets for how long a member may be silent.
    #[must_use]
    pub const fn with_session(self, session: Ticks) -> Self {
        Self { session, ..self }
    }

    /// How many bytes a lease needs for it.
    ///
    /// # Errors
    /// [`GroupError`] if something is out of range.
    pub fn lease_bytes(&self) -> Result<usize, GroupError> {
        self.check().map(|(_, plan)| plan.end)
    }

    fn check(&self) -> Result<(Shape, Plan), GroupError> {
        let group = crate::partition::group_name(self.group).map_err(GroupError::Group)?;
        name::check(self.topic.as_bytes(), MAX_TOPIC_NAME).map_err(GroupError::Topic)?;
        let session = self.session.as_millis();
        let shape = Shape { places: self.places, partitions: self.partitions, session, group, topic: text(self.topic) };
        let plan = shape.plan().ok_or(GroupError::Config)?;
        Ok((shape, plan))
    }
}

/// How long a member may be silent by default.
pub(crate) const DEFAULT_SESSION: Ticks = Ticks::from_millis(30_000);

fn text(name: &str) -> heapless::String<MAX_TOPIC_NAME> {
    heapless::String::try_from(name).unwrap_or_default()
}

/// Why a lease cannot hold, or does not hold, a group's control area.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum GroupError {
    /// A number is out of range.
    Config,
    /// The superblock is damaged.
    Corrupt,
    /// It needs features this version does not know.
    Features {
        /// The feature bits.
        needed: u32,
    },
    /// It was formatted under a higher epoch than the lease has.
    Fenced {
        /// The lease's.
        lease: Epoch,
        /// The area's.
        area: Epoch,
    },
    /// Not a group's name.
    Group(NameError),
    /// The lease refuses.
    Lease(LeaseError),
    /// The bytes are no group's control area, or its formatting was cut off.
    NotAGroup,
    /// The lease is too short.
    TooShort {
        /// Bytes needed.
        needed: usize,
        /// Bytes there.
        found: usize,
    },
    /// Not a topic's name.
    Topic(NameError),
    /// The lease does not start on 8 bytes.
    Unaligned,
    /// It has another format version.
    Version {
        /// Found.
        found: u16,
        /// Known to this library.
        known: u16,
    },
}

impl core::error::Error for GroupError {}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => write!(
                f,
                "a group has 1 to {MAX_PLACES} places, 1 to {MAX_PARTITIONS} partitions and sessions of {} to {} ms, and the target must be able to address them",
                SESSIONS.start(),
                SESSIONS.end()
            ),
            Self::Corrupt => {
                f.write_str("the group's superblock is damaged: format the lease again, and commit where the group was")
            }
            Self::Features { needed } => {
                write!(f, "the group needs features {needed:#x} that this version does not know: use a newer one")
            }
            Self::Fenced { lease, area } => write!(
                f,
                "the group was formatted under epoch {area}, newer than the lease's {lease}: this lease is out of date, acquire a newer one"
            ),
            Self::Group(inner) => {
                write!(f, "not a group's name (up to 63 characters, not beginning with a dot): {inner}")
            }
            Self::Lease(inner) => write!(f, "{inner}"),
            Self::NotAGroup => f.write_str("the lease holds no group: format it, or wait for whoever is doing that"),
            Self::TooShort { needed, found } => {
                write!(
                    f,
                    "the lease has {found} bytes but the group needs {needed}: lease more, or ask for fewer places"
                )
            }
            Self::Topic(inner) => write!(f, "not a topic's name: {inner}"),
            Self::Unaligned => f.write_str("the lease does not start at a multiple of 8 bytes: align its memory"),
            Self::Version { found, known } => {
                write!(f, "the group has format version {found}, this library reads version {known}: use a newer one")
            }
        }
    }
}

/// What the superblock says.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Shape {
    places: u32,
    partitions: u32,
    session: u64,
    group: Name,
    topic: heapless::String<MAX_TOPIC_NAME>,
}

impl Shape {
    fn plan(&self) -> Option<Plan> {
        let fits = (1..=MAX_PLACES).contains(&self.places)
            && (1..=MAX_PARTITIONS).contains(&self.partitions)
            && SESSIONS.contains(&self.session);
        if fits { Plan::new(self.places, self.partitions) } else { None }
    }

    /// The words of the superblock.
    fn encode(&self, epoch: Epoch, id: LeaseId) -> [u32; superblock::WORDS] {
        let mut bytes = [0; HEADER as usize];
        let mut at = bytes.as_mut_slice();
        let lens = [self.group.as_str().len(), self.topic.len()];
        let [group, topic] = lens.map(|len| u16::try_from(len).unwrap_or(0).to_le_bytes());
        for part in [
            MAGIC.as_slice(),
            &VERSION.to_le_bytes(),
            &HEADER.to_le_bytes(),
            &[0; 4],
            &self.places.to_le_bytes(),
            &self.partitions.to_le_bytes(),
            &u32::try_from(self.session).unwrap_or(0).to_le_bytes(),
            &epoch.value().to_le_bytes(),
            &id.value().to_le_bytes(),
            &group,
            &topic,
        ] {
            put(&mut at, part);
        }
        for (from, name) in [(superblock::GROUP, self.group.as_str()), (superblock::TOPIC, self.topic.as_str())] {
            put(&mut bytes.get_mut(from.wrapping_mul(4)..).unwrap_or_default(), name.as_bytes());
        }
        let mut words = [0; superblock::WORDS];
        for (word, four) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*four);
        }
        let crc = crc(&words);
        if let Some(word) = words.get_mut(superblock::CRC) {
            *word = crc;
        }
        words
    }

    /// Checks the words of a superblock; answers the epoch too.
    fn decode(words: &[u32; superblock::WORDS]) -> Result<(Self, Epoch), GroupError> {
        let mut bytes = [0; HEADER as usize];
        for (four, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *four = word.to_le_bytes();
        }
        if !bytes.starts_with(&MAGIC) {
            return Err(GroupError::NotAGroup);
        }
        let [_, _, version, needed, places, partitions, session, epoch, _, _, _, _, lens, ..] = *words;
        let [v0, v1, h0, h1] = version.to_le_bytes();
        let version = u16::from_le_bytes([v0, v1]);
        if version != VERSION {
            return Err(GroupError::Version { found: version, known: VERSION });
        }
        if words.get(superblock::CRC) != Some(&crc(words)) || u16::from_le_bytes([h0, h1]) != HEADER {
            return Err(GroupError::Corrupt);
        }
        if needed != 0 {
            return Err(GroupError::Features { needed });
        }
        // The CRC is no proof against somebody who wants to harm: everything is checked all the same.
        let [g0, g1, t0, t1] = lens.to_le_bytes();
        let named = |from: usize, room: usize, len: [u8; 2]| {
            let bytes = bytes.get(from.wrapping_mul(4)..)?.get(..room)?.get(..usize::from(u16::from_le_bytes(len)))?;
            core::str::from_utf8(bytes).ok()
        };
        let group =
            named(superblock::GROUP, MAX_NAME, [g0, g1]).and_then(|name| crate::partition::group_name(name).ok());
        let topic = named(superblock::TOPIC, MAX_TOPIC_NAME, [t0, t1])
            .filter(|name| name::check(name.as_bytes(), MAX_TOPIC_NAME).is_ok());
        let (Some(group), Some(topic)) = (group, topic) else { return Err(GroupError::Corrupt) };
        let shape = Self { places, partitions, session: u64::from(session), group, topic: text(topic) };
        Ok((shape, Epoch::new(epoch)))
    }
}

/// Copies `from` to the start of `to`, and moves `to` behind it.
fn put(to: &mut &mut [u8], from: &[u8]) {
    if let Some((here, rest)) = core::mem::take(to).split_at_mut_checked(from.len()) {
        here.copy_from_slice(from);
        *to = rest;
    }
}

/// The CRC-32C of all words of a superblock but the one that holds it.
fn crc(words: &[u32; superblock::WORDS]) -> u32 {
    let others = words.iter().enumerate().filter(|(index, _)| *index != superblock::CRC);
    !others.fold(u32::MAX, |crc, (_, word)| feed(crc, *word))
}

/// A 128-byte block of the area, with the hooks of its lease.
pub(crate) struct Line<'a, L> {
    lease: &'a L,
    at: usize,
    block: Block,
}

impl<L: Lease> Line<'_, L> {
    /// The byte of the lease that a word begins at.
    const fn byte(&self, index: usize) -> usize {
        self.at.wrapping_add(index.wrapping_mul(4))
    }

    pub(crate) fn load(&self, index: usize) -> u32 {
        self.lease.invalidate(self.byte(index), 4);
        // SYNC(group): with `swap` and `store`.
        self.block.word(index).load(Ordering::Acquire)
    }

    /// Brings some words here together, to be loaded by [`peek`](Self::peek): they may be of different moments.
    pub(crate) fn fetch(&self, from: usize, count: usize) {
        self.lease.fetch(self.byte(from), count.wrapping_mul(4));
    }

    pub(crate) fn peek(&self, index: usize) -> u32 {
        // SYNC(group), as `load`.
        self.block.word(index).load(Ordering::Acquire)
    }

    /// Stores a word that is checked by whoever loads it.
    pub(crate) fn store(&self, index: usize, word: u32) {
        // SYNC(group): with `load`.
        self.block.word(index).store(word, Ordering::Release);
        self.lease.clean(self.byte(index), 4);
        self.lease.fence();
    }

    /// Whether all that was loaded so far came from the memory: asked before something is answered that no `swap` confirms.
    pub(crate) fn reached(&self) -> Result<(), LeaseError> {
        self.lease.reached()
    }

    /// Puts `to` where `from` stands, if the lease still holds; answers whether `from` stood there.
    pub(crate) fn swap(&self, index: usize, from: u32, to: u32) -> Result<bool, LeaseError> {
        self.lease.check()?;
        let at = self.byte(index);
        if let Some(done) = self.lease.compare_exchange(at, from, to) {
            // An answer that got lost says nothing: it may have been done.
            return self.lease.reached().map(|()| done).map_err(|_| LeaseError::Indeterminate);
        }
        // SYNC(group): Release, so that whoever loads this word, or swaps it, sees what came before it.
        let done = claim(self.block.word(index), from, to);
        self.lease.clean(at, 4);
        self.lease.fence();
        Ok(done)
    }
}

/// A group's control area in a lease: its members' places, and for each partition who owns it and what was committed.
///
/// One party formats the lease, any number attach to it: in one process by sharing this value, in others through leases
/// of the same bytes (`SharedPool`). A [`Member`](crate::group::Member) of the group works on it.
///
/// The area belongs to its lease: when that ends, every member is told. Dropping this value drops the lease, which for some
/// pools gives its bytes back: [`detach`](Self::detach) leaves them.
///
/// ```
/// use fabric_mq::group::{Group, GroupConfig};
/// use fabric_mq::lease::SliceLease;
///
/// let mut bytes = [0; 4096];
/// let config = GroupConfig::new("billing", "events", 4);
/// drop(Group::format(SliceLease::new(&mut bytes), config)?);
///
/// let group = Group::attach(SliceLease::new(&mut bytes))?;
/// assert_eq!((group.name(), group.topic(), group.partitions()), ("billing", "events", 4));
/// assert_eq!(group.committed(0)?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Group<L: Lease> {
    memory: Memory,
    shape: Shape,
    plan: Plan,
    lease: L,
}

impl<L: Lease> Group<L> {
    /// Makes an empty control area of the lease. What was in it is lost. Does not allocate or block; walks all bytes once.
    ///
    /// Nobody else may format the same bytes at the same time; those who attach meanwhile are told
    /// [`GroupError::NotAGroup`].
    ///
    /// # Errors
    /// [`GroupError`] if the shape is impossible or larger than the lease, or the lease is a reader's.
    pub fn format(lease: L, config: GroupConfig<'_>) -> Result<Self, GroupError> {
        let (shape, plan) = config.check()?;
        if lease.role() == Role::Reader || !lease.is_mapped() {
            return Err(GroupError::Lease(LeaseError::Unsupported));
        }
        lease.check().map_err(GroupError::Lease)?;
        if plan.end > lease.len() {
            return Err(GroupError::TooShort { needed: plan.end, found: lease.len() });
        }
        let memory = memory_of(&lease).ok_or(GroupError::Unaligned)?;
        let words = shape.encode(lease.epoch(), lease.id());
        let group = Self { memory, shape, plan, lease };
        let block = |at| memory.block(at).ok_or(GroupError::Config);
        let first = block(0)?;
        // Whatever is stored below is not seen with the old magic.
        first.word(0).store(0, Ordering::Release);
        fence(Ordering::Release);
        group.lease.clean(0, BLOCK);
        group.lease.fence();
        for at in (0..plan.end).step_by(BLOCK) {
            let block = block(at)?;
            for index in 0..BLOCK / 4 {
                block.word(index).store(0, Ordering::Relaxed);
            }
        }
        let (head, rest) = words.split_at(BLOCK / 4);
        let second = block(BLOCK)?;
        for (index, word) in rest.iter().enumerate() {
            second.word(index).store(*word, Ordering::Relaxed);
        }
        for (index, word) in head.iter().enumerate().skip(2) {
            first.word(index).store(*word, Ordering::Relaxed);
        }
        group.lease.clean(0, plan.end);
        group.lease.fence();
        for (index, word) in head.iter().enumerate().take(2) {
            // SYNC(group format): with `attach`.
            first.word(index).store(*word, Ordering::Release);
        }
        group.lease.clean(0, BLOCK);
        group.lease.complete().map_err(GroupError::Lease)?;
        Ok(group)
    }

    /// Opens the control area in a lease, whatever bytes are in it. Does not allocate or block.
    ///
    /// On an [`Exclusive`](crate::lease::Exclusive) lease nobody can be a member yet, so all places are free afterwards, and
    /// so is every partition; committed offsets and epochs stay. On the other levels nothing is changed.
    ///
    /// # Errors
    /// [`GroupError`] if the bytes are no control area of this format, if it is damaged, or formatted under a newer epoch
    /// than the lease has. The lease is dropped then: [`try_attach`](Self::try_attach) keeps it.
    pub fn attach(lease: L) -> Result<Self, GroupError> {
        Self::try_attach(lease).map_err(|(_, error)| error)
    }

    /// The same, but a lease that cannot be opened comes back.
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    pub fn try_attach(lease: L) -> Result<Self, (L, GroupError)> {
        match Self::open(&lease) {
            Ok((memory, shape, plan)) => {
                let group = Self { memory, shape, plan, lease };
                if <L::Trust as Trust>::EXCLUSIVE {
                    group.free_places();
                }
                Ok(group)
            }
            Err(error) => Err((lease, error)),
        }
    }

    fn open(lease: &L) -> Result<(Memory, Shape, Plan), GroupError> {
        if !lease.is_mapped() {
            return Err(GroupError::Lease(LeaseError::Unsupported));
        }
        lease.check().map_err(GroupError::Lease)?;
        let memory = memory_of(lease).ok_or(GroupError::Unaligned)?;
        if memory.len() < usize::from(HEADER) {
            return Err(GroupError::TooShort { needed: HEADER.into(), found: memory.len() });
        }
        lease.invalidate(0, HEADER.into());
        let mut words = [0; superblock::WORDS];
        let (head, rest) = words.split_at_mut(BLOCK / 4);
        for (at, half) in [(0, head), (BLOCK, rest)] {
            let block = memory.block(at).ok_or(GroupError::Config)?;
            for (index, word) in half.iter_mut().enumerate() {
                // SYNC(group format). Each word is read once, and the copy is checked.
                *word = block.word(index).load(Ordering::Acquire);
            }
        }
        lease.reached().map_err(GroupError::Lease)?;
        let (shape, area) = Shape::decode(&words)?;
        let plan = shape.plan().ok_or(GroupError::Corrupt)?;
        if plan.end > memory.len() {
            return Err(GroupError::TooShort { needed: plan.end, found: memory.len() });
        }
        if area > lease.epoch() {
            return Err(GroupError::Fenced { lease: lease.epoch(), area });
        }
        Ok((memory, shape, plan))
    }

    fn free_places(&self) {
        for number in 0..self.places() {
            if let Some(line) = self.place(number) {
                line.store(place::PLACE, line.load(place::PLACE) & !1);
            }
        }
    }

    /// The group's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shape.group.as_str()
    }

    /// The topic it reads.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.shape.topic.as_str()
    }

    /// How many partitions that has.
    #[must_use]
    pub const fn partitions(&self) -> u32 {
        self.shape.partitions
    }

    /// How many members there can be at a time.
    #[must_use]
    pub const fn places(&self) -> u32 {
        self.shape.places
    }

    /// For how long a member may be silent that does not say otherwise.
    #[must_use]
    pub const fn session(&self) -> Ticks {
        Ticks::from_millis(self.shape.session)
    }

    /// The lease.
    #[must_use]
    pub const fn lease(&self) -> &L {
        &self.lease
    }

    /// Takes the lease back. What is in it stays.
    #[must_use]
    pub fn into_lease(self) -> L {
        self.lease
    }

    /// Gives the lease up, but not what is in it: see [`Lease::detach`].
    pub fn detach(self) -> LeaseId {
        self.lease.detach()
    }

    /// Who owns a partition, under which epoch, and what was committed. Anybody may ask, at any time.
    ///
    /// # Errors
    /// [`OffsetError::NoSuchPartition`]; [`OffsetError::Corrupt`] if the committed offset is damaged;
    /// [`OffsetError::Unavailable`] if commits come faster than they can be read.
    pub fn claim_of(&self, partition: u32) -> Result<ClaimInfo, OffsetError> {
        let line = self.partition(partition)?;
        let (word, committed) = cell::observe(&line)?;
        Ok(ClaimInfo { partition, epoch: word.epoch(), place: word.owner(), committed })
    }

    /// The committed offset of a partition, if there is one.
    ///
    /// # Errors
    /// As [`claim_of`](Self::claim_of).
    pub fn committed(&self, partition: u32) -> Result<Option<Offset>, OffsetError> {
        self.claim_of(partition).map(|claim| claim.committed)
    }

    /// The block of a member's place.
    pub(crate) fn place(&self, number: u32) -> Option<Line<'_, L>> {
        if number >= self.places() {
            return None;
        }
        self.line((number as usize).checked_mul(BLOCK)?.checked_add(HEADER.into())?)
    }

    /// The block of a partition.
    pub(crate) fn partition(&self, number: u32) -> Result<Line<'_, L>, OffsetError> {
        let at = (number as usize).checked_mul(BLOCK).and_then(|at| at.checked_add(self.plan.partitions_at));
        let line = at.filter(|_| number < self.partitions()).and_then(|at| self.line(at));
        line.ok_or_else(|| OffsetError::NoSuchPartition { partition: number, partitions: self.partitions() })
    }

    fn line(&self, at: usize) -> Option<Line<'_, L>> {
        Some(Line { lease: &self.lease, at, block: self.memory.block(at)? })
    }

    /// The claim of a partition at present.
    pub(crate) fn claim_word(&self, number: u32) -> Result<ClaimWord, OffsetError> {
        Ok(ClaimWord::new(self.partition(number)?.load(partition::CLAIM)))
    }
}

impl<L: Lease> fmt::Debug for Group<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("name", &self.name())
            .field("topic", &self.topic())
            .field("partitions", &self.partitions())
            .field("places", &self.places())
            .finish_non_exhaustive()
    }
}

/// A partition of a group, as anybody sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ClaimInfo {
    /// Which partition.
    pub partition: u32,
    /// How often it was taken.
    pub epoch: Epoch,
    /// The place of the member that took it last and has not given it back. The member may have lapsed since.
    pub place: Option<u32>,
    /// The committed offset.
    pub committed: Option<Offset>,
}

mod sealed {
    pub trait Sealed {}
}

/// A way to hold a group: by reference, or by `Arc`.
pub trait GroupRef: sealed::Sealed + Clone {
    /// The group's lease.
    type Lease: Lease;
    /// The group.
    fn group(&self) -> &Group<Self::Lease>;
}

impl<L: Lease> sealed::Sealed for &Group<L> {}
impl<L: Lease> GroupRef for &Group<L> {
    type Lease = L;
    fn group(&self) -> &Group<L> {
        self
    }
}

#[cfg(feature = "alloc")]
impl<L: Lease> sealed::Sealed for alloc::sync::Arc<Group<L>> {}
#[cfg(feature = "alloc")]
impl<L: Lease> GroupRef for alloc::sync::Arc<Group<L>> {
    type Lease = L;
    fn group(&self) -> &Group<L> {
        self
    }
}
