//! Looking at a journal without touching it: what lies where in each segment, what is verified, and what is damaged.
//!
//! An [`Inspector`] opens a journal as [`Journal::open`] does, and then walks segment by segment over all frames that are there,
//! whoever has committed what. It never programs or erases, so its store need not be able to; nothing allocates.
//!
//! ```
//! use fabric_mq::durable::inspect::{Inspector, Item, Role};
//! use fabric_mq::durable::{Journal, JournalConfig, RamStore};
//!
//! let mut journal: Journal<_, 1, 1> = Journal::format(RamStore::<4096>::flash(8, 512, 4), JournalConfig::new(7))?;
//! journal.append(0, 3, &[b"21.5 degrees"])?;
//!
//! let mut inspector: Inspector<_, 1, 1> = Inspector::open(journal.into_store())?;
//! assert_eq!(inspector.segment(0)?.role, Role::Tail);
//! assert_eq!(inspector.segment(1)?.role, Role::Blank);
//! let mut bodies = 0;
//! inspector.walk(0, &mut [0; 64], |item| {
//!     if let Item::Record { offset, tag, body, .. } = item {
//!         assert_eq!((offset.value(), tag, body), (0, 3, Some(&b"21.5 degrees"[..])));
//!         bodies += 1;
//!     }
//! })?;
//! assert_eq!(bodies, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::error::{Extent, OpenError};
use super::frame::{Kind, Place, offset_of, stepped, trailer};
use super::journal::{Begun, Journal};
use super::layout::{LABEL_BYTES, MAGIC, UNCLEAN, VERSION};
use super::media::{Found, Framed, Word, label};
use super::read::Mark;
use super::state::{Change, MAX_CHANGE, State};
use super::store::{Geometry, MAX_WRITE_UNIT, MediumError, Store};
use crate::types::Offset;

/// What the first 8 bytes of a segment say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Label {
    /// It was begun by this version, as the segment of that number.
    Number(u32),
    /// By another version of the format.
    Version(u8),
    /// Neither.
    None,
}

impl Label {
    /// Of the segment at this place of a medium, whose first bytes are these. It takes no store: so an image whose shape is
    /// not known can be asked where its segments are.
    #[must_use]
    pub fn of(segment: u32, bytes: [u8; 8]) -> Self {
        let [n0, n1, n2, n3, said @ ..] = bytes;
        let (number, said) = (u32::from_le_bytes([n0, n1, n2, n3]), u32::from_le_bytes(said));
        if label(VERSION, segment, number) == said {
            return Self::Number(number);
        }
        (0..=u8::MAX).find(|version| label(*version, segment, number) == said).map_or(Self::None, Self::Version)
    }
}

/// The write unit that the first bytes of a segment name, if they are those of a header of this version.
#[must_use]
pub fn write_unit(start: [u8; 16]) -> Option<u32> {
    let [_, _, _, _, _, _, _, _, m0, m1, m2, version, unit, ..] = start;
    let unit = 1_u32.checked_shl(u32::from(unit & !UNCLEAN)).filter(|unit| *unit <= MAX_WRITE_UNIT);
    unit.filter(|_| [m0, m1, m2] == MAGIC && version == VERSION)
}

/// What a segment is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Role {
    /// It was never begun, or was erased since.
    Blank,
    /// What it holds is not needed any more; it will be begun again.
    Free,
    /// It holds records that are needed, or lies between such.
    Live,
    /// The one that is written.
    Tail,
    /// It is needed, and its header does not verify or cannot be read.
    Damaged,
    /// It was begun, and its header does not verify; it is not needed.
    Torn,
    /// It is another journal's.
    Foreign {
        /// That journal's number.
        id: u64,
    },
    /// It was begun by another version of the format.
    Version {
        /// Which.
        found: u8,
    },
}

/// A segment, as its header has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Segment {
    /// What it is for.
    pub role: Role,
    /// Its number, if its label says one: they rise by one each time a segment is begun.
    pub number: Option<u32>,
    /// Whether it was begun behind an unclean stop.
    pub unclean: bool,
    /// Where its first frame starts; 0 without a header.
    pub from: u32,
    /// Where its frames end, as the journal knows; `None` if nobody says.
    pub to: Option<u32>,
}

/// What lies in a segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Item<'b> {
    /// A record that verifies.
    Record {
        /// Where its frame is.
        at: Extent,
        /// Its partition.
        partition: u8,
        /// The byte beside it.
        tag: u8,
        /// Its offset.
        offset: Offset,
        /// How long it is.
        len: usize,
        /// Its bytes, if the buffer takes them.
        body: Option<&'b [u8]>,
    },
    /// A change that verifies: what is not a record.
    Change {
        /// Where its frame is.
        at: Extent,
        /// What it does.
        kind: ChangeKind,
    },
    /// What was stored and does not verify, up to the next frame that does.
    Damage {
        /// Where.
        at: Extent,
    },
    /// What a power cut left unfinished at the end of the tail.
    Torn {
        /// Where.
        at: Extent,
    },
}

/// Which change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ChangeKind {
    /// A cursor is done with one more record, in one write unit.
    Step,
    /// A cursor is done with some records.
    Commit,
    /// A cursor was made.
    Join,
    /// A cursor was removed.
    Leave,
    /// Records were given up.
    Trim,
    /// The journal was closed.
    Close,
    /// The last record before an unclean stop, once more.
    Refresh,
    /// These offsets were dealt with before they were stored.
    Skip {
        /// The partition.
        partition: u8,
        /// The first one.
        from: Offset,
        /// The one behind the last one.
        to: Offset,
    },
    /// Damage was salvaged, and took these offsets.
    Gap {
        /// The partition.
        partition: u8,
        /// The first one.
        from: Offset,
        /// The one behind the last one.
        to: Offset,
    },
}

impl From<Change> for ChangeKind {
    fn from(change: Change) -> Self {
        match change {
            Change::Commit { .. } => Self::Commit,
            Change::Join { .. } => Self::Join,
            Change::Leave { .. } => Self::Leave,
            Change::Trim { .. } => Self::Trim,
            Change::Close { .. } => Self::Close,
            Change::Refresh { .. } => Self::Refresh,
            Change::Gap { partition, from, to } => {
                Self::Gap { partition, from: Offset::new(from), to: Offset::new(to) }
            }
            Change::Skip { partition, from, to } => {
                Self::Skip { partition, from: Offset::new(from), to: Offset::new(to) }
            }
        }
    }
}

/// A journal that is only looked at.
#[derive(Debug)]
pub struct Inspector<S, const P: usize = 4, const C: usize = 4> {
    journal: Journal<S, P, C>,
}

impl<S: Store, const P: usize, const C: usize> Inspector<S, P, C> {
    /// Opens the journal on a medium. Nothing is written, now or later.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open(store: S) -> Result<Self, OpenError> {
        Ok(Self { journal: Journal::open(store)? })
    }

    /// The journal: its partitions, cursors, and what was found when it was opened.
    pub const fn journal(&self) -> &Journal<S, P, C> {
        &self.journal
    }

    /// The cursors: their partitions, names, and the offsets they have committed.
    pub fn cursors(&self) -> impl Iterator<Item = (u8, &str, Offset)> {
        let cursors = self.journal.state.cursors.iter().flatten();
        cursors.map(|cursor| (cursor.partition, cursor.name.as_str(), Offset::new(cursor.committed)))
    }

    /// The shape of the medium.
    pub const fn geometry(&self) -> Geometry {
        self.journal.media.geometry
    }

    /// Gives the store back.
    pub fn into_store(self) -> S {
        self.journal.into_store()
    }

    /// Whether a segment lies between the oldest one that is needed and the one that is written.
    fn is_needed(&self, segment: u32) -> bool {
        let Journal { media, head, data, tail, .. } = &self.journal;
        segment == tail.segment || media.steps(head.0, segment) <= media.steps(head.0, data.segment)
    }

    /// What a segment is, by its header.
    ///
    /// # Errors
    /// [`MediumError`] if the medium fails; [`MediumError::OutOfBounds`] if there is no such segment.
    pub fn segment(&mut self, segment: u32) -> Result<Segment, MediumError> {
        let mut start = [0; LABEL_BYTES];
        let readable = self.journal.media.get(segment, 0, &mut start)?;
        let is_needed = self.is_needed(segment);
        let said = if readable { Label::of(segment, start) } else { Label::None };
        let number = if let Label::Number(number) = said { Some(number) } else { None };
        let none = Segment { role: Role::Blank, number, unclean: false, from: 0, to: None };
        let expected =
            if segment == self.journal.tail.segment { self.journal.tail.number } else { number.unwrap_or(0) };
        let (id, begin, spot) = match self.journal.media.header::<P, C>(segment, expected)? {
            Found::Header { id, begin, spot, .. } => (id, begin, spot),
            _ => {
                let is_blank = readable && (start == [0xff; LABEL_BYTES] || start == [0; LABEL_BYTES]);
                let role = match said {
                    Label::Version(found) => Role::Version { found },
                    _ if is_needed => Role::Damaged,
                    _ if is_blank => Role::Blank,
                    _ => Role::Torn,
                };
                return Ok(Segment { role, ..none });
            }
        };
        let role = if id != self.journal.media.id {
            Role::Foreign { id }
        } else if segment == self.journal.tail.segment {
            Role::Tail
        } else if is_needed {
            Role::Live
        } else {
            Role::Free
        };
        let mut found = Segment { role, number: Some(begin.number), unclean: begin.unclean, from: spot.at, to: None };
        if matches!(role, Role::Live | Role::Tail) {
            let mut mark =
                Mark { segment, number: begin.number, at: spot.at, anchor: spot.anchor, offset: 0, end: None };
            let end = self.journal.limit(&mut mark)?;
            // A segment without records ends where it starts, as far as the next one knows.
            found.to = Some(end).filter(|end| *end != spot.at || role == Role::Tail);
        }
        Ok(found)
    }

    /// Goes over what lies in a segment that is live or the tail, and verifies it; `buffer` takes the bodies of records.
    /// Others hold nothing that matters: nothing is told of them.
    ///
    /// # Errors
    /// As [`segment`](Self::segment).
    pub fn walk(&mut self, segment: u32, buffer: &mut [u8], mut each: impl FnMut(Item<'_>)) -> Result<(), MediumError> {
        let Segment { role, to, .. } = self.segment(segment)?;
        let bytes = self.geometry().segment_bytes;
        if role == Role::Damaged {
            each(Item::Damage { at: Extent { segment, from: 0, to: bytes } });
        }
        if !matches!(role, Role::Live | Role::Tail) {
            return Ok(());
        }
        let journal = &mut self.journal;
        let expected = if role == Role::Tail { journal.tail.number } else { 0 };
        let Found::Header { begin, spot, state, .. } = journal.media.header::<P, C>(segment, expected)? else {
            return Ok(());
        };
        let begun = Begun { segment, begin, spot, state };
        self.walk_frames(&begun, to, buffer, &mut each)?;
        let Journal { recovery, .. } = &self.journal;
        if role == Role::Tail {
            if let Some(at) = recovery.torn {
                each(Item::Torn { at });
            }
            for at in recovery.damage.into_iter().filter(|at| at.segment == segment) {
                each(Item::Damage { at });
            }
        }
        Ok(())
    }

    fn walk_frames(
        &mut self,
        begun: &Begun<P, C>,
        to: Option<u32>,
        buffer: &mut [u8],
        each: &mut impl FnMut(Item<'_>),
    ) -> Result<(), MediumError> {
        let segment = begun.segment;
        let limit = to.unwrap_or_else(|| self.geometry().segment_bytes);
        let id = self.journal.media.id;
        let mut place = Place { id, number: begun.begin.number, at: begun.spot.at, anchor: begun.spot.anchor };
        let mut state = begun.state.clone();
        // How many records damage may have taken so far.
        let mut lost = 0;
        while place.at < limit {
            let from = place.at;
            let passed = match self.journal.media.look(segment, from, limit)? {
                Word::Frame(frame) if frame.head.kind == Kind::Data => {
                    self.record(segment, place, frame, (&mut state, lost), buffer, each)?
                }
                Word::Frame(frame) => self.change(segment, place, frame, &mut state, each)?,
                Word::Other(word) => self.step(segment, place, word, (&mut state, lost), each),
                Word::Blank | Word::Unreadable => None,
            };
            if let Some(end) = passed {
                place.at = end;
                continue;
            }
            if to.is_none() {
                // Nobody says that there was more.
                return Ok(());
            }
            let next = from.saturating_add(self.journal.media.align());
            place.at = self.verified_behind(place, segment, next, limit, &state)?.unwrap_or(limit);
            each(Item::Damage { at: Extent { segment, from, to: place.at } });
            // No frame is smaller than its head and its CRC, no step than a word.
            lost = (place.at.wrapping_sub(from) / 4).saturating_add(lost);
        }
        Ok(())
    }

    /// The first frame at or behind `next` that verifies, when the one at `place` does not.
    fn verified_behind(
        &mut self,
        place: Place,
        segment: u32,
        next: u32,
        limit: u32,
        state: &State<P, C>,
    ) -> Result<Option<u32>, MediumError> {
        let media = &mut self.journal.media;
        let mut at = next;
        while at < limit {
            let most = at.saturating_sub(place.at) / 4;
            let place = Place { at, ..place };
            let word = media.look(segment, at, limit)?;
            if let Word::Other(word) = word
                && near_step(state, place, word, most).is_some()
            {
                return Ok(Some(at));
            }
            if let Word::Frame(frame) = word
                && let Some((crc, said)) = media.sums(segment, place, frame)?
            {
                let low = offset_of(said, crc);
                let fits = match frame.head.kind {
                    Kind::Change => trailer(crc, Kind::Change, 0) == said,
                    #[allow(clippy::cast_possible_truncation, reason = "the low half is meant")]
                    Kind::Data => {
                        state.span(frame.head.partition).is_some_and(|span| low.wrapping_sub(span.next as u32) <= most)
                    }
                };
                if fits {
                    return Ok(Some(at));
                }
            }
            at = at.saturating_add(media.align());
        }
        Ok(None)
    }

    fn record(
        &mut self,
        segment: u32,
        place: Place,
        frame: Framed,
        (state, lost): (&mut State<P, C>, u32),
        buffer: &mut [u8],
        each: &mut impl FnMut(Item<'_>),
    ) -> Result<Option<u32>, MediumError> {
        let partition = frame.head.partition;
        let Some((crc, said)) = self.journal.media.sums(segment, place, frame)? else { return Ok(None) };
        let next = state.next(partition);
        #[allow(clippy::cast_possible_truncation, reason = "the low half is meant")]
        let ahead = offset_of(said, crc).wrapping_sub(next as u32);
        let next = next.wrapping_add(u64::from(ahead));
        if state.span(partition).is_none() || ahead > lost || trailer(crc, Kind::Data, next) != said {
            return Ok(None);
        }
        let len = frame.head.len;
        let body = match buffer.get_mut(..len) {
            Some(into) => {
                let read = self.journal.media.read_body(segment, place, frame, next, [&mut *into, &mut []])?;
                Some(&*into).filter(|_| read)
            }
            None => None,
        };
        let at = Extent { segment, from: place.at, to: frame.end };
        each(Item::Record { at, partition, tag: frame.head.tag, offset: Offset::new(next), len, body });
        state.appended(partition, u64::from(ahead).wrapping_add(1));
        Ok(Some(frame.end))
    }

    fn change(
        &mut self,
        segment: u32,
        place: Place,
        frame: Framed,
        state: &mut State<P, C>,
        each: &mut impl FnMut(Item<'_>),
    ) -> Result<Option<u32>, MediumError> {
        let mut body = [0; MAX_CHANGE];
        if !self.journal.media.read_body(segment, place, frame, 0, [&mut body, &mut []])? {
            return Ok(None);
        }
        let body = body.get(..frame.head.len.min(MAX_CHANGE)).unwrap_or_default();
        let Some(change) = Change::parse(body) else { return Ok(None) };
        state.apply(change);
        each(Item::Change { at: Extent { segment, from: place.at, to: frame.end }, kind: change.into() });
        Ok(Some(frame.end))
    }

    fn step(
        &self,
        segment: u32,
        place: Place,
        word: u32,
        (state, lost): (&mut State<P, C>, u32),
        each: &mut impl FnMut(Item<'_>),
    ) -> Option<u32> {
        let (slot, committed) = near_step(state, place, word, lost)?;
        state.apply(Change::Commit { slot, committed });
        let to = place.at.saturating_add(self.journal.media.align());
        each(Item::Change { at: Extent { segment, from: place.at, to }, kind: ChangeKind::Step });
        Some(to)
    }
}

/// Which cursor a word steps, if it is one that damage took no more than `most` steps of, and to which offset.
fn near_step<const P: usize, const C: usize>(
    state: &State<P, C>,
    place: Place,
    word: u32,
    most: u32,
) -> Option<(u8, u64)> {
    let mut cursors = state.cursors.iter().enumerate();
    cursors.find_map(|(slot, cursor)| {
        let committed = cursor.as_ref()?.committed;
        #[allow(clippy::cast_possible_truncation, reason = "the low half is meant")]
        let ahead = stepped(place.seed(), word, slot).wrapping_sub(committed as u32);
        let to = committed.checked_add(u64::from(ahead))?.checked_add(1)?;
        Some((u8::try_from(slot).ok()?, to)).filter(|_| ahead <= most)
    })
}
