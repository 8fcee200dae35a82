//! A ring before a journal: memory for what is new, a medium for what must last.

use super::error::{FetchError, StoreError};
use super::journal::{CursorId, Journal};
use super::read::Stored;
use super::retain::Retention;
use super::store::{MediumError, Store};
use crate::error::{JoinError, ReadError, SeekError};
use crate::lease::{Lease, Lend};
use crate::partition::Hold;
use crate::ring::{Reader, Retain, RingRef, Start};
use crate::topic::TopicRef;
use crate::types::{Offset, Ticks};
use core::fmt;

/// The reader that holds what is not in the journal yet.
const PIN: &str = "..spool";
/// The one that reads ahead of it.
const SCOUT: &str = "..scout";

/// When records go from the ring to the journal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SpoolMode {
    /// All of them, each time [`Spool::pump`] is called: what it returned for is stored.
    WriteThrough,
    /// Only those for which the ring has no room: the oldest ones, once more than so many records wait in it. What all
    /// cursors are done with before that never touches the medium.
    Spill {
        /// How many records may stay in the ring.
        keep: u64,
    },
}

/// Rings and the journal behind them, read as one log.
///
/// Whoever produces writes to a ring, from any thread or interrupt handler, and never waits for the medium. The owner of the
/// spool calls [`pump`](Self::pump) now and then, which moves records into the journal, partition by partition, and gives their
/// room in the ring back. Cursors read the journal first and the ring from there on, without noticing where one ends; what they
/// commit is as durable as the records are.
///
/// A full ring refuses records, or makes its writer wait, as its policy says, until `pump` was called; a full journal makes
/// `pump` answer [`StoreError::Full`], and the records wait in the ring.
///
/// Each ring needs two readers' places for the spool. Offsets are the journal's: they go on where they ended when the device
/// starts again with an empty ring.
///
/// ```
/// use fabric_mq::durable::{Journal, JournalConfig, RamStore, Spool, SpoolMode};
/// use fabric_mq::lease::StaticLease;
/// use fabric_mq::ring::{Ring, RingConfig, Writer};
///
/// static MEMORY: StaticLease<2048> = StaticLease::new();
/// let ring: Ring<_> = Ring::format(MEMORY.claim()?, RingConfig::new(32, 512).with_readers(2))?;
/// let mut sensor = Writer::claim(&ring)?;
///
/// let journal: Journal<_, 1, 1> = Journal::format(RamStore::<8192>::flash(8, 1024, 4), JournalConfig::new(7))?;
/// let mut spool = Spool::new(journal, [&ring], SpoolMode::WriteThrough)?;
/// let uplink = spool.join(0, "uplink")?;
///
/// sensor.write(b"21.5 degrees")?;
/// spool.pump()?;
/// sensor.write(b"21.6 degrees")?;
/// let mut buffer = [0; 64];
/// // From the medium, and from the ring.
/// assert_eq!(spool.next(uplink, &mut buffer)?.map(|r| r.body()), Some(&b"21.5 degrees"[..]));
/// assert_eq!(spool.next(uplink, &mut buffer)?.map(|r| r.body()), Some(&b"21.6 degrees"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Spool<R: RingRef, S, const P: usize = 4, const C: usize = 4> {
    journal: Journal<S, P, C>,
    lanes: heapless::Vec<Lane<R>, P>,
    /// Where each cursor reads next, and what it has committed of records that are in the ring alone.
    places: [Option<Standing>; C],
    mode: SpoolMode,
}

/// One partition's ring.
struct Lane<R: RingRef> {
    /// Stands at the first record that is not stored, and holds it.
    pin: Reader<R>,
    scout: Reader<R>,
    /// What is added to an offset of the ring to make it one of the journal.
    base: u64,
}

#[derive(Clone, Copy)]
struct Standing {
    partition: u8,
    next: u64,
    committed: u64,
}

impl<R: RingRef<Keep = Retain>> Lane<R>
where
    <R::Lease as Lease>::Trust: Lend,
{
    /// Lets go of what is on the medium: everything before `next`, an offset of the journal.
    fn stored(&mut self, next: u64) {
        let to = Offset::new(next.wrapping_sub(self.base));
        for reader in [&mut self.pin, &mut self.scout] {
            if reader.next_offset() < to {
                reader.pass_to(to);
            }
        }
    }
}

/// Why a spool cannot be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SpoolError {
    /// A ring has no place for it.
    Join(JoinError),
    /// The topic drops its oldest records when it is full.
    Overwrites,
    /// Not one ring for each of the journal's partitions.
    Partitions {
        /// How many rings there are.
        rings: usize,
        /// How many partitions.
        partitions: usize,
    },
}

impl core::error::Error for SpoolError {}

impl From<JoinError> for SpoolError {
    fn from(inner: JoinError) -> Self {
        Self::Join(inner)
    }
}

impl fmt::Display for SpoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join(inner) => write!(f, "the spool's place in a ring: {inner}"),
            Self::Overwrites => f.write_str(
                "the topic drops its oldest records, and a spool has to hold them: choose another full policy",
            ),
            Self::Partitions { rings, partitions } => {
                write!(f, "{rings} rings for {partitions} partitions of the journal: give one for each")
            }
        }
    }
}

/// Why records do not go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PumpError {
    /// The ring cannot be read.
    Ring(ReadError),
    /// The journal does not take them. They stay in the ring.
    Store(StoreError),
}

impl core::error::Error for PumpError {}

impl From<ReadError> for PumpError {
    fn from(inner: ReadError) -> Self {
        Self::Ring(inner)
    }
}

impl From<StoreError> for PumpError {
    fn from(inner: StoreError) -> Self {
        Self::Store(inner)
    }
}

impl fmt::Display for PumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring(inner) => write!(f, "the spool's ring: {inner}"),
            Self::Store(inner) => write!(f, "the spool's journal: {inner}"),
        }
    }
}

/// Why a record cannot be read from a spool.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SpoolReadError {
    /// It is in the journal, and that cannot give it.
    Fetch(FetchError),
    /// It is in the ring, and that cannot give it.
    Ring(ReadError),
}

impl core::error::Error for SpoolReadError {}

impl From<FetchError> for SpoolReadError {
    fn from(inner: FetchError) -> Self {
        Self::Fetch(inner)
    }
}

impl From<ReadError> for SpoolReadError {
    fn from(inner: ReadError) -> Self {
        Self::Ring(inner)
    }
}

impl fmt::Display for SpoolReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetch(inner) => write!(f, "{inner}"),
            Self::Ring(inner) => write!(f, "{inner}"),
        }
    }
}

impl<R, S, const P: usize, const C: usize> Spool<R, S, P, C>
where
    R: RingRef<Keep = Retain>,
    <R::Lease as Lease>::Trust: Lend,
    S: Store,
{
    /// Puts rings before the partitions of a journal, the first ring before partition 0 and so on. What is in a ring, from
    /// where a spool before this one parked, is not in the journal yet.
    ///
    /// # Errors
    /// [`SpoolError`]: a ring has no two readers' places left, or there is not one ring for each partition.
    pub fn new(
        journal: Journal<S, P, C>,
        rings: impl IntoIterator<Item = R>,
        mode: SpoolMode,
    ) -> Result<Self, SpoolError> {
        let partitions = journal.partitions();
        let mut lanes: heapless::Vec<Lane<R>, P> = heapless::Vec::new();
        let mut rings = rings.into_iter();
        while lanes.len() < partitions {
            let Some(ring) = rings.next() else {
                return Err(SpoolError::Partitions { rings: lanes.len(), partitions });
            };
            let pin = Reader::join(ring.clone(), PIN, Start::Resume)?;
            let scout = Reader::join(ring, SCOUT, Start::Earliest)?;
            #[allow(clippy::cast_possible_truncation, reason = "at most 255 partitions")]
            let next = journal.state.next(lanes.len() as u8);
            let base = next.wrapping_sub(pin.next_offset().value());
            if lanes.push(Lane { pin, scout, base }).is_err() {
                break;
            }
        }
        let more = rings.count();
        if more != 0 {
            return Err(SpoolError::Partitions { rings: partitions.saturating_add(more), partitions });
        }
        let mut places = [None; C];
        for (place, cursor) in places.iter_mut().zip(&journal.state.cursors) {
            *place = cursor.map(|cursor| Standing {
                partition: cursor.partition,
                next: cursor.committed,
                committed: cursor.committed,
            });
        }
        Ok(Self { journal, lanes, places, mode })
    }

    /// Puts the partitions of a topic before those of a journal.
    ///
    /// ```
    /// # #[cfg(feature = "std")]
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use fabric_mq::durable::{Journal, JournalConfig, RamStore, Spool, SpoolMode};
    /// use fabric_mq::producer::Producer;
    /// use fabric_mq::topic::{TopicConfig, TopicManager};
    ///
    /// let topics = TopicManager::new();
    /// let topic = topics.create("events", TopicConfig::new().with_partitions(2))?;
    /// let store = RamStore::<16384>::flash(16, 1024, 4);
    /// let journal: Journal<_, 2, 2> = Journal::open_or_format(store, JournalConfig::new(7).with_partitions(2))?;
    /// let mut spool = Spool::of_topic(journal, topic.view(), SpoolMode::WriteThrough)?;
    ///
    /// Producer::new("events").send(&topics, b"hello")?;
    /// spool.pump()?;
    /// let cursor = spool.join(0, "my-group")?;
    /// let mut buffer = [0; 64];
    /// let stored = spool.next(cursor, &mut buffer)?.ok_or("it was sent to partition 0")?;
    /// assert_eq!(stored.message(0)?.payload(), b"hello");
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "std"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// As [`new`](Self::new); [`SpoolError::Overwrites`] for a topic that drops its oldest records: the spool has to be able to
    /// hold them.
    pub fn of_topic<H: Hold<Retain = R>>(
        journal: Journal<S, P, C>,
        topic: TopicRef<'_, H>,
        mode: SpoolMode,
    ) -> Result<Self, SpoolError> {
        let partitions = topic.partitions();
        if partitions.iter().any(|partition| partition.retained().is_none()) {
            return Err(SpoolError::Overwrites);
        }
        Self::new(journal, partitions.iter().filter_map(|partition| partition.retained().cloned()), mode)
    }

    /// The journal.
    pub const fn journal(&self) -> &Journal<S, P, C> {
        &self.journal
    }

    /// Moves records into the journal as the mode says, and waits until they are on the medium. Answers how many.
    ///
    /// # Errors
    /// [`PumpError::Store`] with [`StoreError::Full`] if the journal has no room: the records stay in the ring, and go on when
    /// cursors have committed, or the journal was trimmed. The other partitions' were moved.
    pub fn pump(&mut self) -> Result<usize, PumpError> {
        self.pump_to(match self.mode {
            SpoolMode::WriteThrough => 0,
            SpoolMode::Spill { keep } => keep,
        })
    }

    /// Moves everything into the journal, whatever the mode: before a planned stop.
    ///
    /// # Errors
    /// As [`pump`](Self::pump).
    pub fn flush(&mut self) -> Result<usize, PumpError> {
        self.pump_to(0)
    }

    fn pump_to(&mut self, keep: u64) -> Result<usize, PumpError> {
        let mut moved = 0_usize;
        let mut refused = None;
        for number in 0..self.lanes.len() {
            #[allow(clippy::cast_possible_truncation, reason = "at most 255 partitions")]
            let partition = number as u8;
            match self.pump_lane(partition, keep) {
                Ok(count) => moved = moved.saturating_add(count),
                Err(PumpError::Store(StoreError::Full)) => refused = Some(StoreError::Full),
                Err(other) => {
                    // What was moved before is not moved again, unless it is lost.
                    let _ = self.settle();
                    return Err(other);
                }
            }
        }
        let committed = self.commit_stored();
        let settled = self.settle();
        committed.and(settled)?;
        refused.map_or(Ok(moved), |error| Err(error.into()))
    }

    /// Waits until what was moved is on the medium, and lets go of it in the rings.
    fn settle(&mut self) -> Result<(), StoreError> {
        self.journal.sync()?;
        for (lane, span) in self.lanes.iter_mut().zip(&self.journal.state.partitions) {
            lane.stored(span.next);
        }
        Ok(())
    }

    fn pump_lane(&mut self, partition: u8, keep: u64) -> Result<usize, PumpError> {
        self.pass_done(partition)?;
        let mut moved = 0_usize;
        let next = self.journal.state.next(partition);
        let Some(lane) = self.lanes.get_mut(usize::from(partition)) else { return Ok(0) };
        // The pin stays where it is until they are on the medium.
        let at = Offset::new(next.wrapping_sub(lane.base));
        // Looked up once: what is written meanwhile is for the next time.
        let mut waiting = lane.pin.ring().tail().value().saturating_sub(at.value());
        if waiting > keep {
            lane.scout.pass_to(at);
        }
        while waiting > keep {
            waiting = waiting.wrapping_sub(1);
            let Some(record) = lane.scout.next()? else { break };
            self.journal.append(partition, record.tag(), &[record.payload()])?;
            moved = moved.saturating_add(1);
        }
        Ok(moved)
    }

    /// Lets go of records in the ring that all cursors of the partition are done with: they need never be stored.
    fn pass_done(&mut self, partition: u8) -> Result<(), PumpError> {
        let cursors = self.places.iter().flatten().filter(|place| place.partition == partition);
        let Some(slowest) = cursors.map(|place| place.committed).min() else { return Ok(()) };
        let stored = self.journal.state.next(partition);
        if slowest <= stored {
            return Ok(());
        }
        self.journal.skip_to(partition, Offset::new(slowest))?;
        if let Some(lane) = self.lanes.get_mut(usize::from(partition)) {
            lane.pin.pass_to(Offset::new(slowest.wrapping_sub(lane.base)));
        }
        Ok(())
    }

    /// Commits in the journal what was committed of records that were in the ring alone, as far as they are stored now.
    fn commit_stored(&mut self) -> Result<(), StoreError> {
        for slot in 0..C {
            let Some(Some(place)) = self.places.get(slot).copied() else { continue };
            let Some(cursor) = self.journal.cursor_in(slot) else { continue };
            let stored = self.journal.state.next(place.partition);
            let known = self.journal.committed(cursor).map_or(0, Offset::value);
            let to = place.committed.min(stored);
            if to > known {
                self.journal.commit(cursor, Offset::new(to))?;
            }
        }
        Ok(())
    }

    /// Makes a cursor at the oldest record of a partition, or answers the one of that name.
    ///
    /// # Errors
    /// As [`Journal::join`].
    pub fn join(&mut self, partition: u8, name: &str) -> Result<CursorId, StoreError> {
        let cursor = self.journal.join(partition, name)?;
        if let Some(place @ None) = self.places.get_mut(cursor.slot()) {
            let committed = self.journal.committed(cursor).map_or(0, Offset::value);
            *place = Some(Standing { partition, next: committed, committed });
        }
        Ok(cursor)
    }

    /// The cursor of a partition that has a name.
    pub fn find(&self, partition: u8, name: &str) -> Option<CursorId> {
        self.journal.find(partition, name)
    }

    /// Removes a cursor: nothing is kept for it any more.
    ///
    /// # Errors
    /// As [`Journal::leave`].
    pub fn leave(&mut self, cursor: CursorId) -> Result<(), StoreError> {
        self.journal.leave(cursor)?;
        if let Some(place) = self.places.get_mut(cursor.slot()) {
            *place = None;
        }
        Ok(())
    }

    /// Reads a cursor's next record into `buffer`, from the journal or from the ring; `None` if there is none yet. One from the
    /// ring is not stored yet, and may be gone after a power cut.
    ///
    /// # Errors
    /// [`SpoolReadError`]; the cursor stays where it is.
    pub fn next<'b>(&mut self, cursor: CursorId, buffer: &'b mut [u8]) -> Result<Option<Stored<'b>>, SpoolReadError> {
        let Some(Some(place)) = self.places.get_mut(cursor.slot()) else {
            return Err(FetchError::NoSuchCursor.into());
        };
        if place.next < self.journal.state.next(place.partition) {
            if self.journal.position(cursor) != Some(Offset::new(place.next)) {
                self.journal.seek(cursor, Offset::new(place.next))?;
            }
            let read = self.journal.next(cursor, buffer);
            // Also behind what was trimmed.
            if let Some(at) = self.journal.position(cursor) {
                place.next = at.value();
            }
            return Ok(read?);
        }
        let Some(lane) = self.lanes.get_mut(usize::from(place.partition)) else {
            return Err(FetchError::NoSuchCursor.into());
        };
        let at = Offset::new(place.next.wrapping_sub(lane.base));
        if lane.scout.next_offset() != at {
            match lane.scout.seek(at) {
                Ok(()) => {}
                // The cursor stands at the end, and the ring's writer has not come so far.
                Err(SeekError::Beyond { .. }) => return Ok(None),
                Err(SeekError::Lease(error)) => return Err(ReadError::Lease(error).into()),
                Err(_) => return Err(FetchError::Trimmed { lost: 0 }.into()),
            }
        }
        let Some(copied) = lane.scout.copy_next(buffer)? else { return Ok(None) };
        let offset = Offset::new(place.next);
        place.next = place.next.wrapping_add(1);
        Ok(Some(Stored::new(offset, copied.tag(), buffer.get(..copied.len()).unwrap_or_default())))
    }

    /// Notes that a cursor is done with everything before `offset`. That is on the medium as soon as the records are: at once
    /// if they are in the journal, else when [`pump`](Self::pump) puts them there.
    ///
    /// # Errors
    /// [`StoreError::OutOfRange`] for an offset before the committed one, or behind what was read; as [`Journal::commit`]
    /// otherwise.
    pub fn commit(&mut self, cursor: CursorId, offset: Offset) -> Result<(), StoreError> {
        let Some(Some(place)) = self.places.get_mut(cursor.slot()) else { return Err(StoreError::NoSuchCursor) };
        let to = offset.value();
        if to < place.committed || to > place.next {
            let (from, to) = (Offset::new(place.committed), Offset::new(place.next));
            return Err(StoreError::OutOfRange { from, to });
        }
        let stored = self.journal.state.next(place.partition).min(to);
        if self.journal.committed(cursor).is_some_and(|known| known.value() < stored) {
            self.journal.commit(cursor, Offset::new(stored))?;
        }
        place.committed = to;
        Ok(())
    }

    /// How many records a cursor has before it, in the journal and in the ring.
    pub fn lag(&self, cursor: CursorId) -> Option<u64> {
        let place = self.places.get(cursor.slot()).copied().flatten()?;
        let lane = self.lanes.get(usize::from(place.partition))?;
        let tail = lane.pin.ring().tail().value().wrapping_add(lane.base);
        Some(tail.saturating_sub(place.next))
    }

    /// How many records of a partition are in its ring alone: what a power cut would take.
    pub fn at_risk(&self, partition: u8) -> Option<u64> {
        self.lanes.get(usize::from(partition)).map(|lane| lane.pin.lag())
    }

    /// Gives up the records of a partition before `offset`: see [`Journal::trim`].
    ///
    /// # Errors
    /// As [`Journal::trim`].
    pub fn trim(&mut self, partition: u8, offset: Offset) -> Result<(), StoreError> {
        self.journal.trim(partition, offset)
    }

    /// Gives up what the rules do not keep: see [`Journal::retain`]. What is in the rings alone is not concerned.
    ///
    /// # Errors
    /// As [`Journal::retain`].
    pub fn retain(&mut self, rules: Retention, now: Ticks) -> Result<u64, StoreError> {
        self.journal.retain(rules, now)
    }

    /// Moves everything into the journal and closes it; the rings keep the spool's places.
    ///
    /// # Errors
    /// As [`pump`](Self::pump), [`Journal::close`].
    pub fn close(mut self) -> Result<S, PumpError> {
        self.flush()?;
        for lane in self.lanes {
            lane.pin.park();
        }
        Ok(self.journal.close()?)
    }

    /// Gives the journal back, and leaves in the rings what is there.
    pub fn into_journal(self) -> Journal<S, P, C> {
        for lane in self.lanes {
            lane.pin.park();
        }
        self.journal
    }
}

impl From<MediumError> for PumpError {
    fn from(inner: MediumError) -> Self {
        Self::Store(StoreError::Medium(inner))
    }
}

impl<R: RingRef, S, const P: usize, const C: usize> fmt::Debug for Spool<R, S, P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool").field("journal", &self.journal).field("mode", &self.mode).finish_non_exhaustive()
    }
}
