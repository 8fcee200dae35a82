//! The journal: what is written, and where.

use super::error::{Extent, OpenError, StoreError};
use super::frame::{Head, Kind, Place, frame_bytes, step};
use super::layout::{CURSOR_BYTES, MAX_BODY};
use super::media::{Begin, Media, Spot};
use super::read::Mark;
use super::recover::{Recovery, Weak};
use super::state::{Change, MAX_CHANGE, Moved, REFRESH, State, header_bytes, padded};
use super::store::{Geometry, MAX_WRITE_UNIT, MediumError, Store};
use crate::name::{MAX_NAME, Name};
use crate::types::Offset;
use core::fmt;

/// Segments that records leave free, so that commits are stored however full the journal is.
pub(super) const RESERVE: u32 = 2;
/// The most segments: what the steps between them in a header can count.
const MAX_SEGMENTS: u32 = 1 << 16;
/// The number from which on numbers begin anew with the next journal on a medium.
const LAST_BEFORE: u32 = 1 << 31;
/// The fewest segments: the reserve, one that is written, one that is read.
const LEAST_SEGMENTS: u32 = 4;

/// A log of records on a medium, for at most `P` partitions and `C` cursors.
///
/// One owner writes and reads it. Records go to the end of a partition and are read by *cursors*, each of which has a name
/// and remembers on the medium how far it has got; what all cursors of a partition have committed is given up when its room
/// is needed. Without a cursor nothing is given up until it is [trimmed](Self::trim).
///
/// What a call has answered `Ok` to is on the medium once [`sync`](Self::sync) has, and on flash at once. It takes no heap; in
/// place it takes 16 bytes a partition and about 130 a cursor. On a Cortex-M opening, with one partition and one cursor, takes up
/// to 4 KiB of stack, and any other call up to 3 KiB.
///
/// ```
/// use fabric_mq::durable::{Journal, JournalConfig, RamStore};
///
/// let mut journal: Journal<_, 1, 1> = Journal::format(RamStore::<4096>::flash(8, 512, 4), JournalConfig::new(7))?;
/// let reader = journal.join(0, "uplink")?;
/// journal.append(0, 0, &[b"21.5 degrees"])?;
/// journal.sync()?;
///
/// // Power is lost, and comes back.
/// let store = journal.into_store();
/// let mut journal: Journal<_, 1, 1> = Journal::open(store)?;
/// let reader = journal.find(0, "uplink").ok_or("the cursor is still there")?;
/// let mut buffer = [0; 64];
/// let record = journal.next(reader, &mut buffer)?.ok_or("so is the record")?;
/// assert_eq!(record.body(), b"21.5 degrees");
/// let done = record.offset().value() + 1;
/// journal.commit(reader, done.into())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Journal<S, const P: usize = 4, const C: usize = 4> {
    pub(super) media: Media<S>,
    pub(super) state: State<P, C>,
    /// Where each cursor reads.
    pub(super) marks: [Option<Mark>; C],
    pub(super) tail: Tail,
    /// The oldest segment with records that are needed, and its number.
    pub(super) head: (u32, u32),
    /// The last segment with records, its number, and where it ends if it is not the tail; the tail if there is none.
    pub(super) data: Data,
    pub(super) stand: Stand,
    pub(super) weak: Option<Weak>,
    /// What the last frame before an unclean stop has moved, which may not last either.
    pub(super) moved: Option<Moved>,
    pub(super) recovery: Recovery,
    pub(super) stats: JournalStats,
}

/// The segment that is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    pub(super) segment: u32,
    pub(super) number: u32,
    /// Where the next frame goes.
    pub(super) at: u32,
    /// The CRC of its header.
    pub(super) anchor: u32,
    /// Whether everything before the next frame is on the medium.
    pub(super) synced: bool,
    /// The highest number of a segment that was ever begun, be it that its begin was cut.
    pub(super) highest: u32,
    /// Whether nothing was found behind its header when the journal was opened: power may have gone while that was written.
    pub(super) vain: bool,
}

/// The last segment with records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Data {
    pub(super) segment: u32,
    pub(super) end: u32,
}

/// A segment with its header.
#[derive(Debug)]
pub(super) struct Begun<const P: usize, const C: usize> {
    pub(super) segment: u32,
    pub(super) begin: Begin,
    pub(super) spot: Spot,
    pub(super) state: State<P, C>,
}

/// Whether the journal can be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stand {
    /// It is.
    Going,
    /// Opened, and not written yet.
    Opened {
        /// It was closed before.
        clean: bool,
    },
    /// Until it is salvaged it is not.
    Damaged(Extent),
    /// Not any more: what is on the medium is not known.
    Failed,
}

/// What a journal has done since it was opened, and how it stands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct JournalStats {
    /// Records appended.
    pub records: u64,
    /// Bytes of their bodies.
    pub body_bytes: u64,
    /// Bytes programmed: frames, steps, headers.
    pub programmed: u64,
    /// Segments erased.
    pub erased: u64,
    /// Segments begun in the journal's life: divided by their count, how often each was erased.
    pub segment_number: u32,
    /// Segments that can be begun for records, besides the reserve.
    pub free_segments: u32,
}

/// How a journal is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub struct JournalConfig {
    id: u64,
    partitions: usize,
}

impl JournalConfig {
    /// A journal of one partition. `id` tells this journal from every other one: take a random number, or the device's.
    pub const fn new(id: u64) -> Self {
        Self { id, partitions: 1 }
    }

    /// With so many partitions, 1 to 255.
    pub const fn with_partitions(self, partitions: usize) -> Self {
        Self { partitions, ..self }
    }
}

/// A cursor of a journal.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct CursorId(u8);

impl CursorId {
    pub(super) const fn slot(self) -> usize {
        self.0 as usize
    }
}

impl<S: Store, const P: usize, const C: usize> Journal<S, P, C> {
    /// Makes a journal on a medium. Whatever was on it is gone: each segment that passes for one of a journal is erased. If power
    /// goes meanwhile, the journal that was there may still be, or there is none, or the new one is.
    ///
    /// # Errors
    /// [`OpenError`] if the medium cannot hold a journal of this shape, or fails.
    pub fn format(store: S, config: JournalConfig) -> Result<Self, OpenError> {
        let mut media = Media { geometry: store.geometry(), store, id: config.id, missed: false };
        check::<P, C>(media.geometry)?;
        if config.partitions == 0 || config.partitions > P {
            return Err(OpenError::Partitions { wanted: config.partitions, max: P });
        }
        let state =
            State::empty(config.partitions).ok_or(OpenError::Partitions { wanted: config.partitions, max: P })?;
        let mut newest = None;
        for segment in 0..media.geometry.segments {
            newest = newest.max(media.label(segment)?.map(|number| (number, segment)));
        }
        // In front of what was there, which is erased only then: should power go meanwhile, either of both is found, and not
        // the other one as it was a while ago.
        let (number, segment) = match newest {
            Some((number, segment)) if number < LAST_BEFORE => (number.wrapping_add(1), media.behind(segment)),
            _ => (1, 0),
        };
        if number == 1 {
            media.wipe(None)?;
        }
        media.store.erase(segment)?;
        let begin = Begin { number, unclean: false, end: 0, back: 0, head: 0 };
        let spot = media.begin(segment, begin, &state)?;
        media.store.sync()?;
        if number != 1 {
            media.wipe(Some(segment))?;
        }
        let stats = JournalStats { programmed: u64::from(spot.at), erased: 1, ..JournalStats::default() };
        Ok(Self {
            media,
            state,
            marks: [None; C],
            tail: Tail {
                segment,
                number,
                at: spot.at,
                anchor: spot.anchor,
                synced: true,
                highest: number,
                vain: false,
            },
            head: (segment, number),
            data: Data { segment, end: spot.at },
            stand: Stand::Going,
            weak: None,
            moved: None,
            recovery: Recovery::default(),
            stats,
        })
    }

    /// Opens the journal on a medium, or makes one if there is none.
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`format`](Self::format); [`OpenError::Foreign`] if there is a journal of another number, and
    /// [`OpenError::Partitions`] if it has another number of partitions.
    pub fn open_or_format(store: S, config: JournalConfig) -> Result<Self, OpenError> {
        let mut store = store;
        // Looked for first: whoever fails to open must not be taken for empty.
        match Journal::<&mut S, P, C>::open(&mut store) {
            Err(OpenError::None) => return Self::format(store, config),
            Err(other) => return Err(other),
            Ok(found) if found.id() != config.id => return Err(OpenError::Foreign { id: found.id() }),
            Ok(found) if found.partitions() != config.partitions => {
                return Err(OpenError::Partitions { wanted: found.partitions(), max: config.partitions });
            }
            Ok(_) => {}
        }
        Self::open(store)
    }

    /// What was found when the journal was opened.
    pub const fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// The journal's number.
    pub const fn id(&self) -> u64 {
        self.media.id
    }

    /// How many partitions it has.
    pub fn partitions(&self) -> usize {
        self.state.partitions.len()
    }

    /// The oldest offset of a partition, and that of its next record.
    pub fn span(&self, partition: u8) -> Option<(Offset, Offset)> {
        self.state.span(partition).map(|span| (Offset::new(span.head), Offset::new(span.next)))
    }

    /// What it has done, and how it stands.
    pub fn stats(&self) -> JournalStats {
        let free_segments = self.spared(self.tail.segment).saturating_sub(RESERVE);
        JournalStats { segment_number: self.tail.number, free_segments, ..self.stats }
    }

    /// The largest body of a record.
    pub fn max_body(&self) -> usize {
        // With room for the header of these tables when they are full, and for its copy behind an unclean stop.
        let header = header_bytes(
            self.state.partitions.len(),
            C.saturating_mul(CURSOR_BYTES.saturating_add(padded(MAX_NAME))),
            self.media.align() as usize,
        );
        let over = 8_usize.wrapping_add(REFRESH).wrapping_add(4).wrapping_add(self.media.align() as usize);
        (self.media.geometry.segment_bytes as usize).saturating_sub(header).saturating_sub(over).min(MAX_BODY)
    }

    /// Appends a record of a body in parts to a partition, with a byte of the caller's beside it. It is stored once
    /// [`sync`](Self::sync) answered; on flash it is when this returns.
    ///
    /// # Errors
    /// [`StoreError::Full`] if there is no room but what is kept back for commits: nothing was written;
    /// [`StoreError::TooLarge`]; [`StoreError::Medium`] if the medium failed: whether the record is there is not known until the
    /// journal is opened again.
    pub fn append(&mut self, partition: u8, tag: u8, parts: &[&[u8]]) -> Result<Offset, StoreError> {
        let len = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        let offset = self.admit(partition, len)?;
        let head = Head { kind: Kind::Data, after_sync: false, more: false, tag, partition, len };
        self.put(head, parts, offset, true)?;
        self.appended(partition, len);
        Ok(Offset::new(offset))
    }

    /// Appends records, one body each, all or none of them: a power cut leaves all of them or none.
    ///
    /// # Errors
    /// As [`append`](Self::append); all of them together must fit one segment.
    pub fn append_batch(&mut self, partition: u8, tag: u8, bodies: &[&[u8]]) -> Result<Offset, StoreError> {
        let mut total = 0_usize;
        for body in bodies {
            self.admit(partition, body.len())?;
            // No head is longer than 8 bytes.
            total = total.saturating_add(frame_bytes(true, body.len(), self.media.align()) as usize);
        }
        let max = self.max_body();
        if total > max {
            return Err(StoreError::TooLarge { len: total, max });
        }
        let first = self.admit(partition, 0)?;
        self.ready(true)?;
        self.room(total as u32, true)?;
        let last = bodies.len().wrapping_sub(1);
        for (index, body) in bodies.iter().enumerate() {
            let offset = first.wrapping_add(index as u64);
            let more = index != last;
            let head = Head { kind: Kind::Data, after_sync: false, more, tag, partition, len: body.len() };
            self.put(head, &[body], offset, true)?;
        }
        for body in bodies {
            self.appended(partition, body.len());
        }
        Ok(Offset::new(first))
    }

    /// Waits until everything so far is on the medium.
    ///
    /// # Errors
    /// [`StoreError::Medium`]: what was not synced before may be stored or not; open the journal again to know.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        if self.stand == Stand::Failed {
            return Err(StoreError::Medium(MediumError::Poisoned));
        }
        if !self.tail.synced {
            let done = self.media.store.sync();
            self.watched(done)?;
            self.tail.synced = true;
        }
        Ok(())
    }

    /// Makes a cursor at the oldest record of a partition, or answers the one of that name. Stored like a record.
    ///
    /// # Errors
    /// [`StoreError::Cursors`] if there are as many as there can be; as [`append`](Self::append) otherwise.
    pub fn join(&mut self, partition: u8, name: &str) -> Result<CursorId, StoreError> {
        if let Some(known) = self.find(partition, name) {
            return Ok(known);
        }
        let span = self.state.span(partition).ok_or_else(|| self.no_such(partition))?;
        let name = Name::new(name).map_err(StoreError::Name)?;
        let free = self.state.cursors.iter().position(Option::is_none).and_then(|slot| u8::try_from(slot).ok());
        let slot = free.ok_or(StoreError::Cursors { max: C })?;
        self.change(Change::Join { slot, partition, committed: span.head, name })?;
        if let Some(mark) = self.marks.get_mut(usize::from(slot)) {
            *mark = None;
        }
        Ok(CursorId(slot))
    }

    /// The cursor of a partition that has a name.
    pub fn find(&self, partition: u8, name: &str) -> Option<CursorId> {
        let is = |cursor: &super::state::Progress| {
            cursor.partition == partition && cursor.name.as_bytes() == name.as_bytes()
        };
        let slot = self.state.cursors.iter().position(|cursor| cursor.as_ref().is_some_and(is))?;
        u8::try_from(slot).ok().map(CursorId)
    }

    /// Removes a cursor: nothing is kept for it any more.
    ///
    /// # Errors
    /// [`StoreError::NoSuchCursor`]; [`StoreError::Medium`].
    pub fn leave(&mut self, cursor: CursorId) -> Result<(), StoreError> {
        self.state.cursor(cursor.slot()).ok_or(StoreError::NoSuchCursor)?;
        self.change(Change::Leave { slot: cursor.0 })?;
        if let Some(mark) = self.marks.get_mut(cursor.slot()) {
            *mark = None;
        }
        Ok(())
    }

    /// The cursor in a slot.
    pub(super) fn cursor_in(&self, slot: usize) -> Option<CursorId> {
        self.state.cursor(slot)?;
        u8::try_from(slot).ok().map(CursorId)
    }

    /// The first offset that a cursor is not done with.
    pub fn committed(&self, cursor: CursorId) -> Option<Offset> {
        self.state.cursor(cursor.slot()).map(|cursor| Offset::new(cursor.committed))
    }

    /// Notes that a cursor is done with everything before `offset`. Stored like a record; there is always room. One more
    /// record than before takes one write unit.
    ///
    /// # Errors
    /// [`StoreError::OutOfRange`] for an offset before the committed one, or behind the end; [`StoreError::NoSuchCursor`];
    /// [`StoreError::Medium`].
    pub fn commit(&mut self, cursor: CursorId, offset: Offset) -> Result<(), StoreError> {
        let progress = self.state.cursor(cursor.slot()).ok_or(StoreError::NoSuchCursor)?;
        let (offset, next) = (offset.value(), self.state.next(progress.partition));
        if offset < progress.committed || offset > next {
            return Err(StoreError::OutOfRange { from: Offset::new(progress.committed), to: Offset::new(next) });
        }
        match offset.wrapping_sub(progress.committed) {
            0 => Ok(()),
            1 => self.step(cursor.slot()),
            _ => self.change(Change::Commit { slot: cursor.0, committed: offset }),
        }
    }

    /// Sets a cursor's committed offset, back if need be, as far as there are records.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn reset(&mut self, cursor: CursorId, offset: Offset) -> Result<(), StoreError> {
        let progress = self.state.cursor(cursor.slot()).ok_or(StoreError::NoSuchCursor)?;
        let span = self.state.span(progress.partition).ok_or(StoreError::NoSuchCursor)?;
        if offset.value() < span.head || offset.value() > span.next {
            return Err(StoreError::OutOfRange { from: Offset::new(span.head), to: Offset::new(span.next) });
        }
        if offset.value() != progress.committed {
            self.change(Change::Commit { slot: cursor.0, committed: offset.value() })?;
        }
        self.forget_mark(cursor.slot());
        Ok(())
    }

    /// Gives up the records of a partition before `offset`, for retention by count, bytes or age. Cursors that are not that
    /// far go on there, and are told how many they lost.
    ///
    /// # Errors
    /// [`StoreError::OutOfRange`]; [`StoreError::NoSuchPartition`]; [`StoreError::Medium`].
    pub fn trim(&mut self, partition: u8, offset: Offset) -> Result<(), StoreError> {
        let span = self.state.span(partition).ok_or_else(|| self.no_such(partition))?;
        if offset.value() > span.next {
            return Err(StoreError::OutOfRange { from: Offset::new(span.head), to: Offset::new(span.next) });
        }
        if offset.value() > span.head {
            self.change(Change::Trim { partition, head: offset.value() })?;
        }
        Ok(())
    }

    /// Lets a partition go on at `offset`, as if the records before it had been there and were given up: they were dealt with
    /// before they were stored. Stored like a record.
    ///
    /// # Errors
    /// [`StoreError::OutOfRange`] for an offset before the end; as [`append`](Self::append) otherwise.
    pub fn skip_to(&mut self, partition: u8, offset: Offset) -> Result<(), StoreError> {
        let span = self.state.span(partition).ok_or_else(|| self.no_such(partition))?;
        if offset.value() < span.next {
            return Err(StoreError::OutOfRange { from: Offset::new(span.next), to: Offset::new(u64::MAX) });
        }
        if offset.value() > span.next {
            self.change(Change::Skip { partition, from: span.next, to: offset.value() })?;
        }
        Ok(())
    }

    /// Closes the journal, so that opening it finds nothing under way, and gives the store back.
    ///
    /// # Errors
    /// [`StoreError`]; the journal can be opened all the same, as behind a power cut.
    pub fn close(mut self) -> Result<S, StoreError> {
        if self.stand == Stand::Going {
            self.sync()?;
            self.change(Change::Close { tables: self.state.crc() })?;
            self.sync()?;
        }
        Ok(self.media.store)
    }

    /// Gives the store back as it is.
    pub fn into_store(self) -> S {
        self.media.store
    }

    /// The store.
    pub const fn store(&self) -> &S {
        &self.media.store
    }

    fn no_such(&self, partition: u8) -> StoreError {
        StoreError::NoSuchPartition { partition, partitions: self.state.partitions.len() }
    }

    pub(super) fn forget_mark(&mut self, slot: usize) {
        if let Some(mark) = self.marks.get_mut(slot) {
            *mark = None;
        }
    }

    /// Whether a record of `len` bytes can be appended, ever; the offset it will have.
    fn admit(&self, partition: u8, len: usize) -> Result<u64, StoreError> {
        let span = self.state.span(partition).ok_or_else(|| self.no_such(partition))?;
        let max = self.max_body();
        if len > max {
            return Err(StoreError::TooLarge { len, max });
        }
        if span.next == u64::MAX {
            return Err(StoreError::Exhausted);
        }
        Ok(span.next)
    }

    fn appended(&mut self, partition: u8, len: usize) {
        self.state.appended(partition, 1);
        self.data = Data { segment: self.tail.segment, end: self.tail.at };
        // The segment of the copy is now kept for as long as the record's own.
        self.weak = None;
        self.stats.records = self.stats.records.wrapping_add(1);
        self.stats.body_bytes = self.stats.body_bytes.wrapping_add(len as u64);
    }

    /// Stores a change, and does it.
    pub(super) fn change(&mut self, change: Change) -> Result<(), StoreError> {
        let (body, len) = change.encode();
        let body = body.get(..len).unwrap_or_default();
        self.put(Head::change(len), &[body], 0, false)?;
        // It was checked before it was written.
        self.state.apply(change);
        Ok(())
    }

    /// Stores that a cursor is done with one more record.
    fn step(&mut self, slot: usize) -> Result<(), StoreError> {
        self.ready(false)?;
        self.room(self.media.align(), false)?;
        let place = self.place();
        let Some(progress) = self.state.cursor(slot) else { return Err(StoreError::NoSuchCursor) };
        let seed = place.seed();
        let word = step(seed, slot, progress.committed);
        if !self.is_plain(seed, slot, word) {
            #[allow(clippy::cast_possible_truncation, reason = "at most 255 cursors")]
            let slot = slot as u8;
            return self.change(Change::Commit { slot, committed: progress.committed.wrapping_add(1) });
        }
        let done = self.media.step(self.tail.segment, place.at, word);
        self.watched(done)?;
        let bytes = self.media.align();
        self.tail.at = place.at.wrapping_add(bytes);
        self.tail.synced = !self.media.geometry.rewritable;
        self.stats.programmed = self.stats.programmed.wrapping_add(u64::from(bytes));
        self.state.stepped(slot);
        Ok(())
    }

    /// Whether a step's word can be taken for nothing else.
    fn is_plain(&self, seed: u32, slot: usize, word: u32) -> bool {
        let others = self.state.cursors.iter().enumerate().filter(|(other, _)| *other != slot);
        let mut others =
            others.filter_map(|(other, cursor)| cursor.as_ref().map(|cursor| step(seed, other, cursor.committed)));
        !matches!(word, 0 | u32::MAX) && !Head::is_first(word) && !others.any(|other| other == word)
    }

    /// Where the next frame goes.
    pub(super) const fn place(&self) -> Place {
        Place { id: self.media.id, number: self.tail.number, at: self.tail.at, anchor: self.tail.anchor }
    }

    /// Writes a frame, in the next segment if this one has no room.
    fn put(&mut self, head: Head, parts: &[&[u8]], offset: u64, record: bool) -> Result<(), StoreError> {
        self.ready(record)?;
        // Should the narrow head be what a cursor's step would be here, the wide one is not.
        self.room(frame_bytes(true, head.len, self.media.align()), record)?;
        self.write(head, parts, offset)
    }

    /// Writes a frame where there is room for it.
    pub(super) fn write(&mut self, head: Head, parts: &[&[u8]], offset: u64) -> Result<(), StoreError> {
        let place = self.place();
        let head = Head { after_sync: self.tail.synced, ..head };
        let mut words = head.words(false);
        let [first, _] = words;
        let mut steps = self.state.cursors.iter().enumerate();
        let seed = place.seed();
        let wide = steps
            .any(|(slot, cursor)| cursor.as_ref().is_some_and(|cursor| step(seed, slot, cursor.committed) == first));
        if wide {
            words = head.words(true);
        }
        let done = self.media.append(self.tail.segment, (place.at, seed), (head.kind, words), parts, offset);
        let end = self.watched(done)?;
        self.stats.programmed = self.stats.programmed.wrapping_add(u64::from(end.wrapping_sub(place.at)));
        self.tail.at = end;
        // What flash has programmed is stored.
        self.tail.synced = !self.media.geometry.rewritable;
        Ok(())
    }

    /// A medium that failed is not written any more: what is on it is not known.
    pub(super) fn watched<T>(&mut self, done: Result<T, MediumError>) -> Result<T, StoreError> {
        done.map_err(|error| {
            self.stand = Stand::Failed;
            StoreError::Medium(error)
        })
    }
}

impl<S, const P: usize, const C: usize> fmt::Debug for Journal<S, P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("id", &self.media.id)
            .field("state", &self.state)
            .field("tail", &self.tail)
            .field("head", &self.head)
            .field("stand", &self.stand)
            .finish_non_exhaustive()
    }
}

/// Whether a medium of this shape can hold a journal of these tables.
pub(super) fn check<const P: usize, const C: usize>(geometry: Geometry) -> Result<(), OpenError> {
    const {
        assert!(P >= 1 && P <= 255, "a journal has 1 to 255 partitions");
        assert!(C <= 255, "a journal has at most 255 cursors");
    }
    let Geometry { segments, segment_bytes, write_unit, .. } = geometry;
    let align = write_unit.max(4);
    if !write_unit.is_power_of_two() || write_unit > MAX_WRITE_UNIT || segment_bytes & align.wrapping_sub(1) != 0 {
        return Err(OpenError::WriteUnit { unit: write_unit });
    }
    if !(LEAST_SEGMENTS..=MAX_SEGMENTS).contains(&segments) {
        return Err(OpenError::Segments { segments });
    }
    // A header of full tables must leave room for the longest change and for a record of as many bytes.
    let header =
        header_bytes(P, C.saturating_mul(CURSOR_BYTES.saturating_add(padded(MAX_NAME))), align as usize) as u32;
    let least = header.saturating_add(frame_bytes(true, MAX_CHANGE, align).saturating_mul(2));
    if segment_bytes < least {
        return Err(OpenError::SegmentBytes { bytes: segment_bytes, least });
    }
    Ok(())
}
