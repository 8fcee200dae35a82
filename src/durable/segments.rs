//! Segments: which one is begun next, and which are given up.

use super::error::StoreError;
use super::frame::Head;
use super::journal::{Begun, Data, Journal, RESERVE, Stand, Tail};
use super::media::{Begin, Found};
use super::read::NOWHERE;
use super::recover::Weak;
use super::state::Change;
use super::store::{MediumError, Store};

impl<S: Store, const P: usize, const C: usize> Journal<S, P, C> {
    /// Makes sure that the journal may be written.
    ///
    /// For a record that finds no room, nothing is begun: what can be read stays as it is.
    pub(super) fn ready(&mut self, record: bool) -> Result<(), StoreError> {
        match self.stand {
            Stand::Going => Ok(()),
            Stand::Failed => Err(StoreError::Medium(MediumError::Poisoned)),
            Stand::Damaged(at) => Err(StoreError::Damaged { at }),
            Stand::Opened { clean } => {
                // Only now, so that a device that starts again and again without writing wears nothing. Flash that looks
                // blank may have been programmed a little when power went: nothing is written where an earlier run was
                // about to, however it ended.
                if !clean || !self.media.geometry.rewritable {
                    self.advance(record, !clean)?;
                }
                self.stand = Stand::Going;
                Ok(())
            }
        }
    }

    /// Makes sure that the tail has room for `bytes`.
    pub(super) fn room(&mut self, bytes: u32, record: bool) -> Result<(), StoreError> {
        let left = self.media.geometry.segment_bytes.saturating_sub(self.tail.at);
        if bytes > left {
            return self.advance(record, false);
        }
        if record && self.tail.segment != self.data.segment && self.spared(self.tail.segment) < RESERVE {
            // The tail is one of the reserve: a record would keep it.
            let done = self.release();
            self.watched(done)?;
            if self.spared(self.tail.segment) < RESERVE {
                return Err(StoreError::Full);
            }
        }
        Ok(())
    }

    /// Segments that would be left if this one had records.
    pub(super) const fn spared(&self, segment: u32) -> u32 {
        self.media.geometry.segments.wrapping_sub(self.media.steps(self.head.0, segment)).wrapping_sub(1)
    }

    /// Begins the next segment.
    pub(super) fn advance(&mut self, record: bool, unclean: bool) -> Result<(), StoreError> {
        // What may not last must not be what a segment is given up for, until the next header says it too.
        let moved = self.moved.map(|moved| self.state.swap_head(moved));
        let done = self.release();
        if let Some(moved) = moved {
            self.state.swap_head(moved);
        }
        self.watched(done)?;
        let next = self.next_free();
        let again = self.tail.vain && self.is_last_resort(next)?;
        let segment = if again { self.tail.segment } else { next };
        if (!again && self.free_segments() == 0) || (record && !self.will_spare(segment)?) {
            return Err(StoreError::Full);
        }
        let number = self.tail.highest.checked_add(1).ok_or(StoreError::Exhausted)?;
        // What is given up with the segment must be known to be given up.
        self.sync()?;
        let done = self.media.store.erase(segment);
        if done == Err(MediumError::NoSpace) {
            // Nothing was done: it may be tried again.
            return Err(StoreError::Medium(MediumError::NoSpace));
        }
        self.watched(done)?;
        for mark in self.marks.iter_mut().flatten().filter(|mark| mark.segment == segment) {
            // It has read all there was, and has to look for what follows.
            mark.number = NOWHERE;
        }
        let back = self.media.steps(self.data.segment, segment);
        let head = self.media.steps(self.head.0, segment);
        #[allow(clippy::cast_possible_truncation, reason = "there are at most 2^16 segments")]
        let begin = Begin { number, unclean, end: self.data.end, back: back as u16, head: head as u16 };
        let done = self.media.begin(segment, begin, &self.state);
        let spot = self.watched(done)?;
        self.stats.erased = self.stats.erased.wrapping_add(1);
        self.stats.programmed = self.stats.programmed.wrapping_add(u64::from(spot.at));
        let synced = !self.media.geometry.rewritable;
        self.tail = Tail { segment, number, at: spot.at, anchor: spot.anchor, synced, highest: number, vain: false };
        if self.data.segment == segment {
            self.data.end = spot.at;
        }
        if self.head.0 == segment {
            self.head.1 = number;
        }
        self.moved = None;
        self.let_go();
        self.refresh()
    }

    /// Whether there is room for records in a segment, once it is begun.
    fn will_spare(&mut self, segment: u32) -> Result<bool, StoreError> {
        let (head, data, weak) = (self.head, self.data, self.weak);
        if self.moved.is_some() {
            let done = self.release();
            self.watched(done)?;
        }
        // With nothing needed it is let go, once the segment is begun.
        let spares = self.spared(segment) >= RESERVE || self.needs_nothing();
        (self.head, self.data, self.weak) = (head, data, weak);
        Ok(spares)
    }

    /// Whether a segment must stay while nothing is written behind the tail's header, which may be weak then: it is all there
    /// is if the header fades. With two such headers in a row, the first of them stays too, so that there never are three.
    fn is_last_resort(&mut self, segment: u32) -> Result<bool, StoreError> {
        let same = self.same_before();
        Ok(self.watched(same)?.is_some_and(|same| same.segment == segment || same.vain))
    }

    /// Copies the last record before an unclean stop, whose last bits may not last.
    fn refresh(&mut self) -> Result<(), StoreError> {
        let Some(weak) = self.weak else { return Ok(()) };
        if self.state.span(weak.partition).is_some_and(|span| weak.offset < span.head) {
            self.weak = None;
            return Ok(());
        }
        let change = Change::Refresh { tag: weak.tag, partition: weak.partition, offset: weak.offset };
        let (body, len) = change.encode();
        let head = Head { after_sync: self.tail.synced, ..Head::change(len.wrapping_add(weak.len)) };
        let place = self.place();
        let from = weak.source(&mut self.media);
        let Some(from) = self.watched(from)? else {
            self.weak = self.without_copy(weak)?;
            // If it is gone too, that is told when it is read.
            return if self.weak.is_some() { self.refresh() } else { Ok(()) };
        };
        let done = self.media.copy(self.tail.segment, place, head, body.get(..len).unwrap_or_default(), from);
        let (end, holds) = self.watched(done)?;
        self.stats.programmed = self.stats.programmed.wrapping_add(u64::from(end.wrapping_sub(place.at)));
        self.tail.at = end;
        self.tail.synced = !self.media.geometry.rewritable;
        if !holds {
            // Nothing may follow a copy that does not verify.
            self.weak = self.without_copy(weak)?;
            return self.advance(false, true);
        }
        self.weak = Some(Weak { copy: Some((self.tail.segment, place)), ..weak });
        Ok(())
    }

    /// The record itself, where its copy did not last: the power that went while it was copied may have weakened that alone.
    fn without_copy(&mut self, weak: Weak) -> Result<Option<Weak>, StoreError> {
        if weak.copy.is_none() || weak.origin.is_some() {
            return Ok(weak.copy.and(Some(Weak { copy: None, ..weak })));
        }
        let last = self.last_record();
        let last = self.watched(last)?;
        Ok(last.filter(|last| (last.partition, last.offset) == (weak.partition, weak.offset)))
    }

    /// Moves the head past segments that nobody needs.
    pub(super) fn release(&mut self) -> Result<(), MediumError> {
        while self.head.0 != self.data.segment {
            let (segment, number) = self.head;
            let steps = self.halved(None)?;
            let far = if steps > 1 { self.begun(self.nth(steps))? } else { None };
            // The one behind, if what was read on the way is damaged.
            let behind = match far.filter(|far| {
                (number..=self.tail.number).contains(&far.begin.number) && self.state.is_past(&far.state.nexts())
            }) {
                Some(far) => Some(far),
                None => self.successor(segment, number)?,
            };
            let Some(behind) = behind else { break };
            if !self.state.is_past(&behind.state.nexts()) {
                break;
            }
            self.head = (behind.segment, behind.begin.number);
        }
        self.let_go();
        Ok(())
    }

    /// Whether all records in the last segment with any are given up, and all before it.
    fn needs_nothing(&self) -> bool {
        self.head.0 == self.data.segment && self.state.partitions.iter().all(|span| span.head == span.next)
    }

    /// Moves the head to the tail if none of the records before it is needed.
    fn let_go(&mut self) {
        let tail = self.tail;
        if tail.segment != self.data.segment && self.needs_nothing() {
            self.head = (tail.segment, tail.number);
            self.data = Data { segment: tail.segment, end: tail.at };
            self.weak = None;
        }
    }

    /// The segment that follows another one in the log.
    pub(super) fn successor(&mut self, segment: u32, number: u32) -> Result<Option<Begun<P, C>>, MediumError> {
        let mut at = segment;
        // Segments that only ever held changes may have been used again, or be torn.
        loop {
            at = self.media.behind(at);
            if at == segment {
                return Ok(None);
            }
            if let Found::Header { id, begin, spot, state } = self.media.header(at, number.wrapping_add(1))?
                && id == self.media.id
                && begin.number > number
            {
                return Ok(Some(Begun { segment: at, begin, spot, state }));
            }
        }
    }

    /// Segments that can be begun.
    fn free_segments(&self) -> u32 {
        let used = self.media.steps(self.head.0, self.data.segment).wrapping_add(1);
        let tail = u32::from(self.tail.segment != self.data.segment);
        self.media.geometry.segments.saturating_sub(used).saturating_sub(tail)
    }

    /// The one that is begun next, if there is one: the one behind the tail, or, at the end of the reserve, the one before.
    const fn next_free(&self) -> u32 {
        let behind = self.media.behind(self.tail.segment);
        if behind == self.head.0 { self.media.before(self.tail.segment) } else { behind }
    }
}
