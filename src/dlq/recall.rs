//! After a restart: which records are dead letters already.
//!
//! A letter is written before its record is released. A consumer that dies in between, or while an earlier record was not
//! settled, finds the record in the source again. So everything between the group's place and the end of the source, as
//! they stood when the router came, is looked up in the queue before it is handed out. A few letters are noted at a time,
//! those that come first; when the last of them was passed, the queue is looked through again.

use super::control::fingerprint;
use super::error::DlqError;
use super::graves::{Graves, Look};
use super::letter::DeadLetter;
use crate::lease::{Lease, Lend};
use crate::message::MessageRef;
use crate::partition::Hold;
use crate::topic::Topics;
use crate::types::{LeaseId, Offset};

/// Letters noted at a time.
const NOTED: usize = 8;

/// What is known about the records of one partition that were there when the router came.
#[derive(Debug, Default)]
pub(super) struct Recall {
    /// Offsets of dead records, in rising order, and their fingerprints.
    noted: heapless::Vec<(u64, u32), NOTED>,
    /// Below this one, all are noted.
    until: u64,
    /// There can be none from here on.
    end: u64,
    lease: LeaseId,
}

impl Recall {
    /// Nothing is known about the records from `next` to `end`.
    pub(super) fn new(next: u64, end: u64, lease: LeaseId) -> Self {
        Self { noted: heapless::Vec::new(), until: next, end, lease }
    }

    /// The source partition's lease.
    pub(super) const fn lease(&self) -> LeaseId {
        self.lease
    }

    /// Sees to it that it is known whether `next` is dead. Looks through the letters of one partition, if need be.
    pub(super) fn prepare<S: Topics>(
        &mut self,
        graves: &Graves<'_, S>,
        partition: u32,
        next: u64,
    ) -> Result<(), DlqError>
    where
        <<S::Hold as Hold>::Lease as Lease>::Trust: Lend,
    {
        if next >= self.end || next < self.until {
            return Ok(());
        }
        self.noted.clear();
        let mut until = self.end;
        let wanted = |letter: &DeadLetter<'_>| {
            letter.source_partition() == partition
                && letter.source_lease() == self.lease
                && letter.group() == graves.group()
                && (next..self.end).contains(&letter.source_offset().value())
        };
        let grave = graves.partition(partition)?;
        let mut look = Look::at(grave)?;
        let number = grave.number();
        while let Some(found) = look.next(|offset, record| {
            let (tag, bytes) = record?;
            let letter = DeadLetter::of(number, offset, tag, bytes, graves.topic()).ok()?;
            wanted(&letter).then(|| (letter.source_offset().value(), letter.fingerprint()))
        })? {
            let Some(found) = found.filter(|(offset, _)| *offset < until) else { continue };
            if self.noted.contains(&found) {
                continue;
            }
            let at = self.noted.iter().position(|noted| *noted > found).unwrap_or(self.noted.len());
            if self.noted.is_full() {
                // The last one is left for the next time.
                let last = if at == NOTED { Some(found) } else { self.noted.pop() };
                until = last.map_or(until, |(offset, _)| offset);
            }
            // All of one offset are noted, or none.
            self.noted.retain(|(offset, _)| *offset < until);
            if found.0 < until {
                let _ = self.noted.insert(at.min(self.noted.len()), found);
            }
        }
        self.until = until.max(next.saturating_add(1));
        Ok(())
    }

    /// Whether a record, with this tag and these bytes, is a dead letter.
    pub(super) fn knows(&self, offset: u64, tag: u8, bytes: &[u8]) -> bool {
        let mut letters = self.noted.iter().filter(|(noted, _)| *noted == offset).peekable();
        if letters.peek().is_none() {
            return false;
        }
        let message = MessageRef::parse(0, Offset::new(offset), tag, bytes).ok();
        let (tag, envelope, payload) = message.map_or((tag, &[][..], bytes), |message| message.split());
        let own = fingerprint(tag, envelope, payload);
        letters.any(|(_, letter)| *letter == own)
    }
}
