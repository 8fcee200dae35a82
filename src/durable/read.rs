//! How cursors read: from frame to frame, and by offset.

use super::error::{Extent, FetchError};
use super::frame::{Kind, Place, offset_of, stepped, trailer};
use super::journal::{Begun, CursorId, Journal, Stand};
use super::layout::{FIXED, PARTITION_BYTES};
use super::media::{Found, Framed, STRETCH, Source, Word};
use super::state::{Change, REFRESH};
use super::store::{MediumError, Store};
use crate::error::Corrupt;
use crate::message::MessageRef;
use crate::types::Offset;
use core::cmp::Ordering;

/// Where a cursor reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) segment: u32,
    pub(super) number: u32,
    pub(super) at: u32,
    /// The CRC of the segment's header.
    pub(super) anchor: u32,
    /// The offset of the next record of the cursor's partition.
    pub(super) offset: u64,
    /// Where the segment ends, once it is known to.
    pub(super) end: Option<u32>,
}

/// The number of no segment: a mark's, when its segment is gone.
pub(super) const NOWHERE: u32 = 0;

/// A record of a journal, in the reader's buffer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stored<'b> {
    offset: Offset,
    tag: u8,
    body: &'b [u8],
}

impl<'b> Stored<'b> {
    pub(super) const fn new(offset: Offset, tag: u8, body: &'b [u8]) -> Self {
        Self { offset, tag, body }
    }

    /// Its offset in its partition.
    #[must_use]
    pub const fn offset(&self) -> Offset {
        self.offset
    }

    /// The message that a producer made of it, in partition `partition` of its topic.
    ///
    /// # Errors
    /// [`Corrupt`] if it is none: whoever appended it wrote something else.
    pub fn message(&self, partition: u32) -> Result<MessageRef<'b>, Corrupt> {
        MessageRef::parse(partition, self.offset, self.tag, self.body)
    }

    /// The byte beside it.
    #[must_use]
    pub const fn tag(&self) -> u8 {
        self.tag
    }

    /// Its bytes.
    #[must_use]
    pub const fn body(&self) -> &'b [u8] {
        self.body
    }
}

/// Where reading goes on.
enum Step {
    /// At a record of the partition.
    Record(Framed),
    /// The mark has moved.
    Moved,
}

impl<S: Store, const P: usize, const C: usize> Journal<S, P, C> {
    /// Reads a cursor's next record into `buffer`; `None` if there is none yet. What was read and not committed is read again
    /// when the journal is opened anew.
    ///
    /// # Errors
    /// [`FetchError`]: the cursor stays where it is, but for [`FetchError::Trimmed`].
    pub fn next<'b>(&mut self, cursor: CursorId, buffer: &'b mut [u8]) -> Result<Option<Stored<'b>>, FetchError> {
        let progress = self.state.cursor(cursor.slot()).ok_or(FetchError::NoSuchCursor)?;
        let partition = progress.partition;
        let span = self.state.span(partition).ok_or(FetchError::NoSuchCursor)?;
        let known = self.marks.get(cursor.slot()).copied().flatten();
        let stands = known.map_or(progress.committed, |mark| mark.offset);
        if stands < span.head {
            let mark = self.locate(partition, span.head)?;
            self.put_mark(cursor, mark);
            return Err(FetchError::Trimmed { lost: span.head.wrapping_sub(stands) });
        }
        if stands >= span.next {
            return match self.stand {
                // What follows is not known: that is not the same as nothing.
                Stand::Damaged(at) => Err(FetchError::Damaged { at, offset: Offset::new(stands) }),
                _ => Ok(None),
            };
        }
        let mut mark = match known {
            Some(mark) if mark.number != NOWHERE => mark,
            _ => self.locate(partition, stands)?,
        };
        let frame = loop {
            match self.advance_mark(&mut mark, partition) {
                Ok(Step::Record(frame)) => break frame,
                Ok(Step::Moved) => self.put_mark(cursor, mark),
                Err(error @ FetchError::Damaged { .. }) => {
                    return self.next_copy(cursor, &mark, partition, buffer, error);
                }
                Err(error) => return Err(error),
            }
        };
        let len = frame.head.len;
        let Some(body) = buffer.get_mut(..len) else { return Err(FetchError::BufferTooSmall { len }) };
        let place = self.place_of(&mark);
        if !self.media.read_body(mark.segment, place, frame, mark.offset, [body, &mut []])? {
            let error = self.damaged(&mark)?;
            return self.next_copy(cursor, &mark, partition, buffer, error);
        }
        let offset = Offset::new(mark.offset);
        mark = Mark { at: frame.end, offset: mark.offset.wrapping_add(1), ..mark };
        self.put_mark(cursor, mark);
        Ok(Some(Stored { offset, tag: frame.head.tag, body: buffer.get(..len).unwrap_or_default() }))
    }

    /// The offset of the record that a cursor reads next.
    pub fn position(&self, cursor: CursorId) -> Option<Offset> {
        let progress = self.state.cursor(cursor.slot())?;
        let mark = self.marks.get(cursor.slot()).copied().flatten();
        Some(Offset::new(mark.map_or(progress.committed, |mark| mark.offset)))
    }

    /// Lets a cursor read on from `offset`. What it has committed stays.
    ///
    /// # Errors
    /// [`FetchError::Trimmed`] for an offset before the oldest one; [`FetchError::Damaged`] if the way there is.
    pub fn seek(&mut self, cursor: CursorId, offset: Offset) -> Result<(), FetchError> {
        let progress = self.state.cursor(cursor.slot()).ok_or(FetchError::NoSuchCursor)?;
        let span = self.state.span(progress.partition).ok_or(FetchError::NoSuchCursor)?;
        if offset.value() < span.head {
            return Err(FetchError::Trimmed { lost: span.head.wrapping_sub(offset.value()) });
        }
        let mark = self.locate(progress.partition, offset.value().min(span.next))?;
        self.put_mark(cursor, mark);
        Ok(())
    }

    /// Lets a cursor that met damage read on behind it. Answers how many records it lost.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn skip_damage(&mut self, cursor: CursorId) -> Result<u64, FetchError> {
        let progress = self.state.cursor(cursor.slot()).ok_or(FetchError::NoSuchCursor)?;
        let partition = progress.partition;
        let next = self.state.next(partition);
        let known = self.marks.get(cursor.slot()).copied().flatten();
        let stood = known.map_or(progress.committed, |mark| mark.offset);
        let near = match known {
            Some(mark) if mark.number != NOWHERE => Some(mark),
            _ => self.approach(partition, stood)?,
        };
        let Some(mut mark) = near else {
            // The oldest segment has no header any more.
            let Some(begun) = self.successor(self.head.0, self.head.1)? else {
                return Err(FetchError::Damaged { at: self.whole(self.head.0), offset: Offset::new(stood) });
            };
            let mark = Mark::first(&begun, partition);
            self.put_mark(cursor, mark);
            return Ok(mark.offset.saturating_sub(stood));
        };
        let limit = self.limit(&mut mark)?;
        let step = self.media.align();
        let mut from = mark.at.saturating_add(step);
        while let Some((at, frame, low)) = self.verified_from(self.place_of(&mark), mark.segment, from, limit)? {
            let behind = u64::from(low.wrapping_sub(stood as u32));
            if frame.head.kind == Kind::Data && frame.head.partition == partition && stood.saturating_add(behind) < next
            {
                let offset = stood.saturating_add(behind);
                self.put_mark(cursor, Mark { at, offset, ..mark });
                return Ok(behind);
            }
            from = frame.end;
        }
        let Some(begun) = self.successor(mark.segment, mark.number)? else {
            // Nothing is left of this partition.
            self.put_mark(cursor, Mark { at: limit, offset: next, ..mark });
            return Ok(next.saturating_sub(stood));
        };
        let mark = Mark::first(&begun, partition);
        self.put_mark(cursor, mark);
        Ok(mark.offset.saturating_sub(stood))
    }

    /// As near to an offset as one gets without passing damage by; `None` if the segment where the way starts has no header.
    fn approach(&mut self, partition: u8, offset: u64) -> Result<Option<Mark>, FetchError> {
        let mut mark = match self.segment_of(partition, offset) {
            Ok(mark) => mark,
            Err(FetchError::Damaged { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        while mark.offset < offset {
            match self.advance_mark(&mut mark, partition) {
                Ok(Step::Record(frame)) => mark = Mark { at: frame.end, offset: mark.offset.wrapping_add(1), ..mark },
                Ok(Step::Moved) => {}
                Err(FetchError::Damaged { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(Some(mark))
    }

    const fn whole(&self, segment: u32) -> Extent {
        Extent { segment, from: 0, to: self.media.geometry.segment_bytes }
    }

    fn put_mark(&mut self, cursor: CursorId, mark: Mark) {
        if let Some(place) = self.marks.get_mut(cursor.slot()) {
            *place = Some(mark);
        }
    }

    /// Where what the mark is at lies.
    const fn place_of(&self, mark: &Mark) -> Place {
        Place { id: self.media.id, number: mark.number, at: mark.at, anchor: mark.anchor }
    }

    /// Where the mark's segment ends.
    pub(super) fn limit(&mut self, mark: &mut Mark) -> Result<u32, MediumError> {
        if mark.number == self.tail.number {
            return Ok(self.tail.at);
        }
        if let Some(end) = mark.end {
            return Ok(end);
        }
        let end = match self.successor(mark.segment, mark.number)? {
            Some(begun) => match self.media.steps(mark.segment, begun.segment).cmp(&u32::from(begun.begin.back)) {
                // Behind a segment without records, the next one speaks of an earlier one.
                Ordering::Less => mark.at,
                Ordering::Equal => begun.begin.end,
                // It speaks of one in between, whose header is damaged: nobody says where this one ends.
                Ordering::Greater => self.media.geometry.segment_bytes,
            },
            None => self.media.geometry.segment_bytes,
        };
        mark.end = Some(end);
        Ok(end)
    }

    /// Looks at the next frame.
    fn advance_mark(&mut self, mark: &mut Mark, partition: u8) -> Result<Step, FetchError> {
        let limit = self.limit(mark)?;
        if mark.at >= limit {
            let behind = match mark.number {
                number if number == self.tail.number => None,
                number => self.successor(mark.segment, number)?,
            };
            let Some(begun) = behind else { return Err(self.damaged(mark)?) };
            let first = Mark::first(&begun, partition);
            if first.offset != mark.offset {
                return Err(self.damaged(mark)?);
            }
            *mark = first;
            return Ok(Step::Moved);
        }
        match self.media.look(mark.segment, mark.at, limit)? {
            Word::Frame(frame) if frame.head.kind == Kind::Data => {
                if frame.head.partition == partition {
                    return Ok(Step::Record(frame));
                }
                *mark = Mark { at: frame.end, ..*mark };
            }
            Word::Frame(frame) => {
                let mut body = [0; 20];
                if frame.head.len == body.len() {
                    let place = self.place_of(mark);
                    let read = self.media.read_body(mark.segment, place, frame, 0, [&mut body, &mut []])?;
                    if let (true, Some(Change::Gap { partition: of, to, .. } | Change::Skip { partition: of, to, .. })) =
                        (read, Change::parse(&body))
                        && of == partition
                    {
                        mark.offset = mark.offset.max(to);
                    }
                }
                *mark = Mark { at: frame.end, ..*mark };
            }
            Word::Other(word) if self.passes_for_step(mark, word) => {
                mark.at = mark.at.wrapping_add(self.media.align());
            }
            _ => {
                // The next segment may vouch that none of the partition's records are left in this one.
                let behind = match mark.number {
                    number if number == self.tail.number => None,
                    number => self.successor(mark.segment, number)?,
                };
                match behind.map(|begun| Mark::first(&begun, partition)) {
                    Some(first) if first.offset == mark.offset => *mark = first,
                    _ => return Err(self.damaged(mark)?),
                }
            }
        }
        Ok(Step::Moved)
    }

    /// Whether a word can be the step of a cursor from where it is, or from a little further.
    pub(super) fn is_step_from_here(&self, place: Place, word: u32) -> bool {
        let seed = place.seed();
        self.state.is_near_step(|slot| stepped(seed, word, slot))
    }

    /// Whether a word can be the step of a cursor from some earlier offset.
    fn passes_for_step(&self, mark: &Mark, word: u32) -> bool {
        let seed = self.place_of(mark).seed();
        let units = self.media.units();
        let most = u64::from(units).saturating_mul(u64::from(self.media.geometry.segments));
        let mut cursors = self.state.cursors.iter().enumerate();
        cursors.any(|(slot, cursor)| {
            let committed = cursor.as_ref().map_or_else(|| u64::from(u32::MAX), |cursor| cursor.committed);
            // It stepped from before where it is now; of a cursor that left, nothing is known.
            let behind = u64::from((committed as u32).wrapping_sub(stepped(seed, word, slot)));
            cursor.is_none() || (behind != 0 && behind <= committed.min(most))
        })
    }

    /// The error for what the mark is at, with as much of the segment as is damaged.
    fn damaged(&mut self, mark: &Mark) -> Result<FetchError, MediumError> {
        let mut mark = *mark;
        let limit = self.limit(&mut mark)?;
        let from = mark.at.saturating_add(self.media.align());
        let to = self.verified_from(self.place_of(&mark), mark.segment, from, limit)?.map_or(limit, |(at, ..)| at);
        let at = Extent { segment: mark.segment, from: mark.at, to };
        Ok(FetchError::Damaged { at, offset: Offset::new(mark.offset) })
    }

    /// The first frame at or behind `from` that verifies, and the low half of a record's offset. Only tells what is damaged,
    /// and lets a reader pass it if it asks to; nothing is ever written on from what this finds.
    pub(super) fn verified_from(
        &mut self,
        place: Place,
        segment: u32,
        from: u32,
        limit: u32,
    ) -> Result<Option<(u32, Framed, u32)>, MediumError> {
        let mut at = from;
        while at < limit {
            if self.media.is_blank(segment, at, limit)? {
                at = at.saturating_add(STRETCH);
                continue;
            }
            if let Word::Frame(frame) = self.media.look(segment, at, limit)?
                && let Some((crc, said)) = self.media.sums(segment, Place { at, ..place }, frame)?
            {
                let low = offset_of(said, crc);
                let fits = match frame.head.kind {
                    Kind::Data => self.is_near(frame, low),
                    Kind::Change => trailer(crc, Kind::Change, 0) == said,
                };
                if fits {
                    return Ok(Some((at, frame, low)));
                }
            }
            at = at.saturating_add(self.media.align());
        }
        Ok(None)
    }

    /// Whether there may be a record of that offset.
    fn is_near(&self, frame: Framed, low: u32) -> bool {
        let Some(span) = self.state.span(frame.head.partition) else { return false };
        let units = self.media.units();
        let most = span.next.wrapping_sub(span.head).saturating_add(u64::from(units));
        u64::from(low.wrapping_sub(span.head as u32)) <= most
    }

    /// Reads the copy of a record that cannot be read where it lies, if there is one: it was the last one before an unclean
    /// stop. `error` says what is wrong with it.
    fn next_copy<'b>(
        &mut self,
        cursor: CursorId,
        mark: &Mark,
        partition: u8,
        buffer: &'b mut [u8],
        error: FetchError,
    ) -> Result<Option<Stored<'b>>, FetchError> {
        let Some((source, tag)) = self.copy_of(mark, partition)? else { return Err(error) };
        let Some(behind) = self.successor(mark.segment, mark.number)? else { return Err(error) };
        let len = source.frame.head.len.wrapping_sub(REFRESH);
        let Some(body) = buffer.get_mut(..len) else { return Err(FetchError::BufferTooSmall { len }) };
        let mut front = [0; REFRESH];
        if !self.media.read_body(source.segment, source.place, source.frame, 0, [&mut front, body])? {
            return Err(error);
        }
        self.put_mark(cursor, Mark::first(&behind, partition));
        Ok(Some(Stored { offset: Offset::new(mark.offset), tag, body: buffer.get(..len).unwrap_or_default() }))
    }

    /// Where the copy of the record at the mark lies, and its tag. Only the last record of a segment has one: at the start of
    /// the next segments, up to the first one that has records.
    fn copy_of(&mut self, mark: &Mark, partition: u8) -> Result<Option<(Source, u8)>, MediumError> {
        let (mut segment, mut number) = (mark.segment, mark.number);
        while number != self.tail.number
            && let Some(begun) = self.successor(segment, number)?
        {
            if begun.state.next(partition) != mark.offset.wrapping_add(1) {
                break;
            }
            (segment, number) = (begun.segment, begun.begin.number);
            let place = Place { id: self.media.id, number, at: begun.spot.at, anchor: begun.spot.anchor };
            if let Word::Frame(frame) = self.media.look(segment, place.at, self.media.geometry.segment_bytes)?
                && frame.head.kind == Kind::Change
                && frame.head.len >= REFRESH
            {
                let mut front = [0; REFRESH];
                let read = self.media.read_body(segment, place, frame, 0, [&mut front, &mut []])?;
                if let (true, Some(Change::Refresh { tag, partition: of, offset })) = (read, Change::parse(&front))
                    && (of, offset) == (partition, mark.offset)
                {
                    return Ok(Some((Source { segment, place, frame, offset: 0, front: REFRESH }, tag)));
                }
            }
        }
        Ok(None)
    }

    /// Finds the record of an offset, or the end of the log.
    fn locate(&mut self, partition: u8, offset: u64) -> Result<Mark, FetchError> {
        let mut mark = self.segment_of(partition, offset)?;
        while mark.offset < offset {
            if let Step::Record(frame) = self.advance_mark(&mut mark, partition)? {
                mark = Mark { at: frame.end, offset: mark.offset.wrapping_add(1), ..mark };
            }
        }
        Ok(mark)
    }

    /// The start of the segment that has the record of an offset.
    fn segment_of(&mut self, partition: u8, offset: u64) -> Result<Mark, FetchError> {
        let low = self.halved(Some((partition, offset)))?;
        let segment = self.nth(low);
        if let Some(begun) = self.begun(segment)?
            && begun.state.next(partition) <= offset
        {
            return Ok(Mark::first(&begun, partition));
        }
        // What was read on the way is damaged: one by one from the oldest, which the tail's header vouches for.
        let Some(mut last) = self.begun(self.head.0)? else {
            let at = self.whole(self.head.0);
            return Err(FetchError::Damaged { at, offset: Offset::new(offset) });
        };
        while let Some(begun) = self.successor(last.segment, last.begin.number)? {
            if begun.state.next(partition) > offset || begun.begin.number > self.tail.number {
                break;
            }
            last = begun;
        }
        Ok(Mark::first(&last, partition))
    }

    /// The last segment, in steps behind the head, that begins with the record of an offset of a partition, or before it; or,
    /// for all partitions, with what is the oldest one now. By halving, on eight bytes a segment. They are not verified: what
    /// they lead to is.
    pub(super) fn halved(&mut self, of: Option<(u8, u64)>) -> Result<u32, MediumError> {
        let count = self.media.steps(self.head.0, self.data.segment).wrapping_add(1);
        let (mut low, mut high) = (0_u32, count);
        // In steps that double, first: what is looked for is most often near the oldest.
        let mut step = 1;
        while high.wrapping_sub(low) > 1 {
            let ahead = if high == count { step } else { high.wrapping_sub(low) / 2 };
            let middle = low.wrapping_add(ahead).min(high.wrapping_sub(1));
            if self.is_behind(middle, of)? {
                high = middle;
            } else {
                low = middle;
                step = middle;
            }
        }
        Ok(low)
    }

    /// Whether a segment, so many steps behind the head, begins behind these offsets.
    fn is_behind(&mut self, steps: u32, of: Option<(u8, u64)>) -> Result<bool, MediumError> {
        let mut at = (FIXED as u32).wrapping_add(8);
        for index in 0..self.state.partitions.len() {
            #[allow(clippy::cast_possible_truncation, reason = "at most 255 partitions")]
            let partition = index as u8;
            let bound = match of {
                Some((wanted, offset)) => (wanted == partition).then_some(offset),
                None => self.state.span(partition).map(|span| span.head),
            };
            if let Some(bound) = bound
                && self.start(steps, at)? > bound
            {
                return Ok(true);
            }
            at = at.wrapping_add(PARTITION_BYTES as u32);
        }
        Ok(false)
    }

    /// The segment so many steps behind the head.
    pub(super) const fn nth(&self, steps: u32) -> u32 {
        let at = self.head.0.wrapping_add(steps);
        if at >= self.media.geometry.segments { at.wrapping_sub(self.media.geometry.segments) } else { at }
    }

    /// What a segment's header says of its first offset.
    fn start(&mut self, steps: u32, at: u32) -> Result<u64, MediumError> {
        let mut bytes = [0; 8];
        let readable = self.media.get(self.nth(steps), at, &mut bytes)?;
        Ok(if readable { u64::from_le_bytes(bytes) } else { u64::MAX })
    }

    /// A segment's header.
    pub(super) fn begun(&mut self, segment: u32) -> Result<Option<Begun<P, C>>, MediumError> {
        let expected = if segment == self.head.0 { self.head.1 } else { self.tail.number };
        Ok(match self.media.header(segment, expected)? {
            Found::Header { id, begin, spot, state } if id == self.media.id => {
                Some(Begun { segment, begin, spot, state })
            }
            _ => None,
        })
    }
}

impl Mark {
    /// Before the first frame of a segment.
    pub(super) fn first<const P: usize, const C: usize>(begun: &Begun<P, C>, partition: u8) -> Self {
        Self {
            segment: begun.segment,
            number: begun.begin.number,
            at: begun.spot.at,
            anchor: begun.spot.anchor,
            offset: begun.state.next(partition),
            end: None,
        }
    }
}
