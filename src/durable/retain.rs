//! Retention: giving up what nobody has to read any more, by count, by room and by age.

use super::error::StoreError;
use super::frame::{Kind, Place};
use super::journal::{Begun, Journal};
use super::media::Word;
use super::read::Mark;
use super::store::{MediumError, Store};
use crate::message::layout::{TIMESTAMP, TIMESTAMP_LEN};
use crate::types::{Offset, Ticks};

/// How much of a journal is kept, whether or not cursors have read it. Without any rule, everything that a cursor has not
/// committed is.
///
/// What is given up for room or age is given up by whole segments, so a little more than asked for is kept.
///
/// ```
/// use fabric_mq::Ticks;
/// use fabric_mq::durable::Retention;
///
/// const WEEK: Retention = Retention::new().with_age(Ticks::from_millis(7 * 24 * 3_600_000)).with_segments(48);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[must_use]
pub struct Retention {
    records: Option<u64>,
    segments: Option<u32>,
    age: Option<Ticks>,
}

impl Retention {
    /// Everything.
    pub const fn new() -> Self {
        Self { records: None, segments: None, age: None }
    }

    /// At most so many records of each partition.
    pub const fn with_records(self, records: u64) -> Self {
        Self { records: Some(records), ..self }
    }

    /// At most so many segments with records, 1 at least: that many times their size, in bytes.
    pub const fn with_segments(self, segments: u32) -> Self {
        Self { segments: Some(segments), ..self }
    }

    /// Records for so long after they were sent. It goes by the time that producers have put into them; a segment without
    /// such a record behind it is kept.
    pub const fn with_age(self, age: Ticks) -> Self {
        Self { age: Some(age), ..self }
    }
}

impl<S: Store, const P: usize, const C: usize> Journal<S, P, C> {
    /// Gives up what the rules do not keep, at the time `now` of the clock that the producers' times are of. Answers how many
    /// records that were. Cursors that have not read them are told how many they lost. Call it now and then; it reads a header
    /// or two, and a record if age is a rule.
    ///
    /// # Errors
    /// As [`trim`](Self::trim).
    pub fn retain(&mut self, rules: Retention, now: Ticks) -> Result<u64, StoreError> {
        let heads =
            |journal: &Self| journal.state.partitions.iter().fold(0_u64, |sum, span| sum.wrapping_add(span.head));
        let before = heads(self);
        if let Some(records) = rules.records {
            #[allow(clippy::cast_possible_truncation, reason = "at most 255 partitions")]
            for partition in 0..self.state.partitions.len() as u8 {
                let from = self.state.next(partition).saturating_sub(records);
                self.trim(partition, Offset::new(from))?;
            }
        }
        while rules.segments.is_some() || rules.age.is_some() {
            self.release()?;
            let (segment, number) = self.head;
            if segment == self.data.segment {
                break;
            }
            let Some(behind) = self.successor(segment, number)? else { break };
            let used = self.media.steps(segment, self.data.segment).saturating_add(1);
            let is_over = rules.segments.is_some_and(|most| used > most.max(1));
            if !is_over && !self.is_old(&behind, rules.age, now)? {
                break;
            }
            #[allow(clippy::cast_possible_truncation, reason = "at most 255 partitions")]
            for partition in 0..self.state.partitions.len() as u8 {
                self.trim(partition, Offset::new(behind.state.next(partition)))?;
            }
        }
        Ok(heads(self).wrapping_sub(before))
    }

    /// Whether everything before a segment is older than `age`: its first record with a time is.
    fn is_old(&mut self, begun: &Begun<P, C>, age: Option<Ticks>, now: Ticks) -> Result<bool, MediumError> {
        let Some(age) = age else { return Ok(false) };
        let sent = self.first_time(begun)?;
        Ok(sent.is_some_and(|sent| sent.plus(age) <= now))
    }

    /// The time of the first record of a segment that has one.
    fn first_time(&mut self, begun: &Begun<P, C>) -> Result<Option<Ticks>, MediumError> {
        let mut mark = Mark::first(begun, 0);
        let limit = self.limit(&mut mark)?;
        let mut nexts = begun.state.nexts();
        loop {
            match self.media.look(mark.segment, mark.at, limit)? {
                Word::Frame(frame) if frame.head.kind == Kind::Data => {
                    let Some(next) = nexts.get_mut(usize::from(frame.head.partition)) else { return Ok(None) };
                    if frame.head.tag & TIMESTAMP != 0 {
                        let mut stamp = [0; TIMESTAMP_LEN];
                        let place = Place { id: self.media.id, number: mark.number, at: mark.at, anchor: mark.anchor };
                        let read = self.media.read_body(mark.segment, place, frame, *next, [&mut stamp, &mut []])?;
                        let sent = Ticks::from_millis(u64::from_le_bytes(stamp));
                        // What is damaged, or follows a gap, is kept: nobody knows how old it is.
                        return Ok((read && frame.head.len >= TIMESTAMP_LEN).then_some(sent));
                    }
                    *next = next.wrapping_add(1);
                    mark.at = frame.end;
                }
                Word::Frame(frame) => mark.at = frame.end,
                Word::Other(_) => mark.at = mark.at.saturating_add(self.media.align()),
                Word::Blank | Word::Unreadable => return Ok(None),
            }
        }
    }
}
