//! Taking letters out of one partition of a queue.
//!
//! A partition is a log: what is taken out of it is what lies before the keeper's place. To take letters out from behind
//! others, those others are written once more at the end, byte for byte, before they are given up. So nothing is lost
//! whenever that ends, and a letter may be there twice for a moment; whoever finds the first letter again further on has
//! found such a moment, and gives the first one up.

use super::control::{MAX_CONTROL, fingerprint};
use super::error::{DlqError, LetterError};
use super::graves::{append, keep};
use super::letter::DeadLetter;
use crate::consumer::PollError;
use crate::lease::{Lease, Lend};
use crate::partition::{Cursor, Hold, Partition};
use crate::topic::TopicRef;
use crate::types::Offset;

/// What happens to a letter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    /// It is taken out.
    Gone,
    /// It stays in the queue.
    Kept,
}

/// A walk through the letters that were there when it began.
pub(super) struct Sweep<H: Hold> {
    /// There until it is dropped.
    cursor: Option<Cursor<H>>,
    partition: u32,
    end: u64,
}

/// The first letter of a partition, to be found again.
struct First {
    control: heapless::Vec<u8, MAX_CONTROL>,
    fingerprint: u32,
}

impl<H: Hold> Sweep<H>
where
    <H::Lease as Lease>::Trust: Lend,
{
    /// Takes the keeper's place. Looks through all letters once, to find the last that `wanted` answers yes to: what is behind
    /// it is not touched.
    pub(super) fn begin(
        partition: &Partition<H>,
        topic: &str,
        mut wanted: impl FnMut(Result<DeadLetter<'_>, LetterError>) -> bool,
    ) -> Result<Self, DlqError> {
        let number = partition.number();
        let mut sweep = Self { cursor: Some(keep(partition)?), partition: number, end: 0 };
        let (start, tail) = (sweep.position(), sweep.cursor.as_ref().map_or(0, |cursor| cursor.tail().value()));
        let mut first: Option<First> = None;
        let mut twice = false;
        let last = sweep.walk(tail, |offset, tag, bytes| {
            let letter = DeadLetter::of(number, offset, tag, bytes, topic);
            if let Ok(letter) = letter {
                match &first {
                    None if offset == start => {
                        let control = heapless::Vec::from_slice(letter.control_bytes()).unwrap_or_default();
                        first = Some(First { control, fingerprint: fingerprint(tag, bytes, &[]) });
                    }
                    Some(first) if first.control == letter.control_bytes() => {
                        twice |= first.fingerprint == fingerprint(tag, bytes, &[]);
                    }
                    _ => {}
                }
            }
            wanted(letter)
        })?;
        sweep.end = last.map_or(start, |offset| offset.saturating_add(1));
        let start = if twice { start.saturating_add(1) } else { start };
        sweep.end = sweep.end.max(start);
        sweep.release_to(start)?;
        sweep.look(start)?;
        Ok(sweep)
    }

    /// Walks up to `tail`; answers the last offset that `visit` answered yes to.
    fn walk(&mut self, tail: u64, mut visit: impl FnMut(u64, u8, &[u8]) -> bool) -> Result<Option<u64>, DlqError> {
        let mut last = None;
        while self.position() < tail {
            let offset = self.position();
            match self.read(|tag, bytes| visit(offset, tag, bytes)) {
                Ok(Some(true)) => last = Some(offset),
                Ok(Some(false)) => {}
                Ok(None) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(last)
    }

    /// Where it is.
    pub(super) fn position(&self) -> u64 {
        self.cursor.as_ref().map_or(0, |cursor| cursor.position().value())
    }

    /// Deals with the next letter as `decide` says; answers what it said, or `None` at the end. A letter that `decide` has no
    /// answer for, and one that cannot be kept, is where it was.
    pub(super) fn step<E>(
        &mut self,
        queue: TopicRef<'_, H>,
        partition: &Partition<H>,
        decide: impl FnOnce(u64, u8, &[u8]) -> Result<Fate, E>,
    ) -> Result<Option<Result<Fate, E>>, DlqError> {
        let offset = self.position();
        if offset >= self.end {
            return Ok(None);
        }
        let outcome = self.read(|tag, bytes| match decide(offset, tag, bytes) {
            // First it is written, then given up.
            Ok(Fate::Kept) => append(queue, partition, tag, &[bytes]).map(|_| Ok(Fate::Kept)),
            other => Ok(other),
        })?;
        match outcome {
            Some(Ok(Ok(fate))) => {
                self.release_to(offset.saturating_add(1))?;
                Ok(Some(Ok(fate)))
            }
            Some(Ok(Err(stopped))) => {
                self.look(offset)?;
                Ok(Some(Err(stopped)))
            }
            Some(Err(error)) => {
                self.look(offset)?;
                Err(error)
            }
            None => Ok(None),
        }
    }

    fn read<R>(&mut self, visit: impl FnOnce(u8, &[u8]) -> R) -> Result<Option<R>, DlqError> {
        let partition = self.partition;
        let Some(cursor) = &mut self.cursor else { return Ok(None) };
        cursor.read_raw(visit).map_err(|error| DlqError::Letters(PollError::read(partition, error)))
    }

    fn look(&mut self, at: u64) -> Result<(), DlqError> {
        let partition = self.partition;
        let Some(cursor) = &mut self.cursor else { return Ok(()) };
        let moved = cursor.look(Offset::new(at));
        moved.map_err(|error| DlqError::Letters(PollError::seek(partition, error)))
    }

    fn release_to(&mut self, to: u64) -> Result<(), DlqError> {
        let partition = self.partition;
        let Some(cursor) = &mut self.cursor else { return Ok(()) };
        let released = cursor.release_to(Offset::new(to));
        released.map_err(|error| DlqError::Letters(PollError::Lease { partition, error }))
    }
}

impl<H: Hold> Drop for Sweep<H> {
    fn drop(&mut self) {
        // The keeper keeps its place; what was not dealt with stays in the queue.
        if let Some(cursor) = self.cursor.take() {
            cursor.park();
        }
    }
}
