//! The records that a router must remember: those that are not settled.
//!
//! A record without a row is either settled or was not reached yet, and what a group's place holds begins at the first row.
//! So acknowledged records take no room, and a full table means that as many records are unsettled at the same time.

use super::cause::{Cause, Reason};
use super::verdict::FailingState;
use crate::types::Ticks;

#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) partition: u32,
    pub(super) offset: u64,
    pub(super) state: FailingState,
    /// The delivery that is out.
    pub(super) delivery: u64,
    /// The poll that handed it out last: none hands it out twice.
    pub(super) round: u64,
    pub(super) attempts: u32,
    pub(super) first: Ticks,
    pub(super) last: Ticks,
    /// When it may be handed out again.
    pub(super) due: Ticks,
    pub(super) cause: Cause,
    pub(super) reason: Reason,
}

impl Row {
    pub(super) fn new(partition: u32, offset: u64, attempts: u32, state: FailingState) -> Self {
        Self {
            partition,
            offset,
            state,
            delivery: 0,
            round: 0,
            attempts,
            first: Ticks::MAX,
            last: Ticks::ZERO,
            due: Ticks::ZERO,
            cause: Cause::TooManyFailures,
            reason: Reason::default(),
        }
    }

    /// Counts a failure.
    pub(super) fn fail(&mut self, now: Ticks, reason: Reason) {
        self.attempts = self.attempts.saturating_add(1);
        self.first = self.first.min(now);
        self.last = now;
        self.reason = reason;
    }
}

pub(super) struct Table<const T: usize> {
    rows: heapless::Vec<Row, T>,
}

impl<const T: usize> Table<T> {
    pub(super) const fn new() -> Self {
        Self { rows: heapless::Vec::new() }
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter()
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows.is_full()
    }

    pub(super) fn find(&self, partition: u32, offset: u64) -> Option<&Row> {
        self.rows.iter().find(|row| row.partition == partition && row.offset == offset)
    }

    pub(super) fn find_mut(&mut self, partition: u32, offset: u64) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.partition == partition && row.offset == offset)
    }

    /// The row of a record, made if there is none. `None` if there is no room.
    pub(super) fn enter(&mut self, partition: u32, offset: u64, attempts: u32) -> Option<&mut Row> {
        let at = self.rows.iter().position(|row| row.partition == partition && row.offset == offset);
        let at = match at {
            Some(at) => at,
            None => {
                self.rows.push(Row::new(partition, offset, attempts, FailingState::Waiting)).ok()?;
                self.rows.len().checked_sub(1)?
            }
        };
        self.rows.get_mut(at)
    }

    /// Takes a record's row out.
    pub(super) fn remove(&mut self, partition: u32, offset: u64) -> Option<Row> {
        let at = self.rows.iter().position(|row| row.partition == partition && row.offset == offset)?;
        Some(self.rows.swap_remove(at))
    }

    /// Takes all rows of a partition out; answers how many of them were of records that had come.
    pub(super) fn forget(&mut self, partition: u32) -> u64 {
        let mut count = 0_u64;
        self.rows.retain(|row| {
            let goes = row.partition == partition;
            count = count.saturating_add(u64::from(goes && row.state != FailingState::Carried));
            !goes
        });
        count
    }

    /// The first record of a partition that is not settled.
    pub(super) fn floor(&self, partition: u32) -> Option<u64> {
        self.unsettled(partition).map(|row| row.offset).min()
    }

    /// The first record of a partition that may be handed out again at `now`, and was not in this round.
    pub(super) fn next_due(&self, partition: u32, now: Ticks, round: u64) -> Option<u64> {
        let due = |row: &&Row| row.state == FailingState::Waiting && row.due <= now && row.round != round;
        self.unsettled(partition).filter(due).map(|row| row.offset).min()
    }

    /// The first parked record of a partition from `from` on.
    pub(super) fn next_parked(&self, partition: u32, from: u64) -> Option<u64> {
        let parked = |row: &&Row| row.state == FailingState::Parked && row.offset >= from;
        self.unsettled(partition).filter(parked).map(|row| row.offset).min()
    }

    fn unsettled(&self, partition: u32) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.partition == partition && row.state != FailingState::Carried)
    }
}
