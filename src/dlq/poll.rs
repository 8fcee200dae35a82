//! Handing records out.

use super::cause::{Cause, Reason};
use super::error::DlqError;
use super::graves::Graves;
use super::redriven::Redriven;
use super::router::{Desk, DlqRouter, OnFailure, Place, read, tick};
use super::verdict::{Delivery, FailingState, Polled, Receipt, Settled, Verdict};
use crate::consumer::{PollError, Way};
use crate::lease::{Lease, Lend};
use crate::message::MessageRef;
use crate::partition::Hold;
use crate::topic::Topics;
use crate::types::{Offset, Ticks};

/// What is said about a record whose consumer never came back.
const NO_ANSWER: &str = "its consumer ended without an answer";

/// What one look at the next new record came to.
enum New {
    /// It was handed out.
    Handed,
    /// There is none.
    None,
    /// It was settled without being handed out.
    Passed,
}

/// What a new record is.
enum Kind {
    Answered(Option<Verdict>),
    Damaged,
    Doomed,
    Expired,
    Foreign,
    Known,
}

impl<N: AsRef<str>, S: Topics, const P: usize, const T: usize> DlqRouter<N, S, P, T>
where
    <<S::Hold as Hold>::Lease as Lease>::Trust: Lend,
{
    /// Hands out up to `max` records, where they lie, and settles each by the verdict before the next one of its partition is
    /// handed out. Partitions take turns; in each, what failed before and is due comes first, and no record comes twice in
    /// one poll. Records that are parked are tried again before anything else. Does not allocate or block, as long as
    /// `visit` does not.
    ///
    /// A record whose `visit` panics has failed: that is counted by the next poll.
    ///
    /// # Errors
    /// [`DlqError`], if nothing could be done at all; whatever else holds something up is [`Polled::held`]. Topics are
    /// looked for by the first poll: [`DlqError::Topic`], [`DlqError::NotMarked`], [`DlqError::OfDeadLetters`],
    /// [`DlqError::Overwrites`], [`DlqError::Source`] if another consumer of the group has a partition.
    pub fn poll_with(
        &mut self,
        topics: &S,
        max: usize,
        mut visit: impl FnMut(Delivery<'_>) -> Verdict,
    ) -> Result<Polled, DlqError> {
        self.rounds(topics, max, &mut |delivery| Some(visit(delivery)))
    }

    /// Hands out up to `max` records that stay out until they are [settled](Self::settle). With [`OnFailure::Block`] one of
    /// each partition is out at a time; with [`OnFailure::SkipAside`] as many as the table has rows.
    ///
    /// # Errors
    /// As [`poll_with`](Self::poll_with).
    pub fn take_with(
        &mut self,
        topics: &S,
        max: usize,
        mut visit: impl FnMut(Delivery<'_>),
    ) -> Result<Polled, DlqError> {
        self.rounds(topics, max, &mut |delivery| {
            visit(delivery);
            None
        })
    }

    fn rounds(
        &mut self,
        topics: &S,
        max: usize,
        visit: &mut impl FnMut(Delivery<'_>) -> Option<Verdict>,
    ) -> Result<Polled, DlqError> {
        self.ready(topics)?;
        let Self { places, desk, source, dead, topic, group, turn, .. } = self;
        let Some(source) = source else { return Ok(Polled::default()) };
        let way = Way { topics, handle: source, name: topic.as_ref() };
        let graves = Graves::new(topics, dead.as_ref(), topic.as_ref(), (*group)?)?;
        let mut polled = Polled::default();
        desk.round = desk.round.wrapping_add(1);
        for place in places.iter_mut() {
            place.answer(desk, &graves, &mut polled)?;
            place.drain(desk, &graves, &mut polled);
        }
        let Some(quantum) = max.checked_div(places.len()).map(|share| share.max(1)) else { return Ok(polled) };
        let first = if *turn < places.len() { *turn } else { 0 };
        *turn = first.wrapping_add(1);
        loop {
            let before = polled.handed;
            let mut crossed = false;
            let (late, early) = places.split_at_mut_checked(first).unwrap_or_default();
            for place in early.iter_mut().chain(late) {
                let quota = quantum.min(max.saturating_sub(polled.handed));
                let turned = place.turn(desk, &graves, quota, visit, &mut polled);
                let turned = match turned {
                    Err(DlqError::Source(PollError::Sealed { .. })) if Way::<S>::SEALABLE => {
                        place.cross(desk, &way).map(|did| crossed |= did).map_err(DlqError::Source)
                    }
                    turned => turned,
                };
                if let Err(error) = turned {
                    polled.hold(error);
                }
                // Each loss is told, by a poll that has nothing else to tell.
                if place.lost != 0 && polled.held.is_none() {
                    let (partition, lost) = (place.partition, core::mem::take(&mut place.lost));
                    polled.hold(DlqError::Source(PollError::Lagging { partition, lost }));
                }
            }
            if (polled.handed == before && !crossed) || polled.handed >= max {
                break;
            }
        }
        // Asked at the end: a row may have become free meanwhile.
        let waits = |place: &Place<S::Hold>| {
            !place.is_blocked(desk)
                && place.is_crowded_out(desk)
                && place.cursor.as_ref().is_some_and(|cursor| cursor.tail().value() > place.next)
        };
        if polled.handed < max && places.iter().any(waits) {
            polled.hold(DlqError::TableFull { limit: T });
        }
        match polled.held {
            // Nothing was done, and the source is to blame.
            Some(error @ (DlqError::Source(_) | DlqError::Letters(_))) if polled.handed == 0 && polled.dead == 0 => {
                Err(error)
            }
            _ => Ok(polled),
        }
    }
}

impl<const T: usize> Desk<T> {
    fn receipt(&mut self, partition: u32, offset: u64) -> Receipt {
        self.delivery = self.delivery.wrapping_add(1);
        Receipt { partition, offset: Offset::new(offset), delivery: self.delivery }
    }
}

impl<H: Hold> Place<H>
where
    <H::Lease as Lease>::Trust: Lend,
{
    /// Counts the failure of a record that was handed out to somebody who never answered.
    fn answer<S: Topics<Hold = H>, const T: usize>(
        &mut self,
        desk: &mut Desk<T>,
        graves: &Graves<'_, S>,
        polled: &mut Polled,
    ) -> Result<(), DlqError> {
        let Some((offset, attempts)) = self.unanswered else { return Ok(()) };
        let before = desk.round;
        // It may come again in this poll.
        desk.round = 0;
        let settled = self.settle(desk, graves, offset, attempts, Verdict::Nack(Reason::new(NO_ANSWER)));
        desk.round = before;
        note(settled?, polled);
        self.unanswered = None;
        self.release(desk);
        Ok(())
    }

    /// Tries again to write the letters of parked records.
    fn drain<S: Topics<Hold = H>, const T: usize>(
        &mut self,
        desk: &mut Desk<T>,
        graves: &Graves<'_, S>,
        polled: &mut Polled,
    ) {
        let mut from = 0;
        while let Some(offset) = desk.table.next_parked(self.partition, from) {
            from = offset.saturating_add(1);
            match self.bury(desk, graves, offset) {
                Ok(_) => polled.dead = polled.dead.saturating_add(1),
                Err(error) => {
                    polled.hold(error);
                    if matches!(error, DlqError::DlqFull { .. }) {
                        // The letters of a partition go to one place: no room for one, none for the next.
                        return;
                    }
                }
            }
        }
    }

    /// Hands out up to `quota` records: those that failed and are due, then new ones.
    fn turn<S: Topics<Hold = H>, const T: usize>(
        &mut self,
        desk: &mut Desk<T>,
        graves: &Graves<'_, S>,
        quota: usize,
        visit: &mut impl FnMut(Delivery<'_>) -> Option<Verdict>,
        polled: &mut Polled,
    ) -> Result<(), DlqError> {
        let end = polled.handed.saturating_add(quota);
        while polled.handed < end
            && let Some(offset) = desk.table.next_due(self.partition, graves.now(), desk.round)
        {
            self.hand_out_again(desk, graves, offset, visit, polled)?;
        }
        while polled.handed < end {
            if self.is_blocked(desk) || self.is_crowded_out(desk) {
                break;
            }
            match self.hand_out_next(desk, graves, visit, polled)? {
                New::None => break,
                New::Handed | New::Passed => {}
            }
        }
        Ok(())
    }

    /// Whether it stops at a record that is not settled.
    fn is_blocked<const T: usize>(&self, desk: &Desk<T>) -> bool {
        desk.settings.on_failure == OnFailure::Block && desk.table.floor(self.partition).is_some()
    }

    /// Whether there is no row for the next record, should it fail.
    fn is_crowded_out<const T: usize>(&self, desk: &Desk<T>) -> bool {
        desk.table.is_full() && desk.table.find(self.partition, self.next).is_none()
    }

    fn hand_out_again<S: Topics<Hold = H>, const T: usize>(
        &mut self,
        desk: &mut Desk<T>,
        graves: &Graves<'_, S>,
        offset: u64,
        visit: &mut impl FnMut(Delivery<'_>) -> Option<Verdict>,
        polled: &mut Polled,
    ) -> Result<(), DlqError> {
        let (partition, ttl, now) = (self.partition, desk.settings.ttl, graves.now());
        let receipt = desk.receipt(partition, offset);
        let Some(row) = desk.table.find_mut(partition, offset) else { return Ok(()) };
        row.round = desk.round;
        let attempts = row.attempts;
        let Self { cursor, unanswered, .. } = self;
        let kind = read(cursor, partition, offset, |tag, bytes| {
            let Ok(message) = MessageRef::parse(partition, Offset::new(offset), tag, bytes) else {
                return Kind::Damaged;
            };
            if is_expired(&message, ttl, now) {
                return Kind::Expired;
            }
            *unanswered = Some((offset, attempts));
            tick(&mut desk.counters.handed);
            Kind::Answered(visit(Delivery { message, attempt: attempts.saturating_add(1), receipt }))
        });
        self.unanswered = None;
        let Some(kind) = kind? else { return Ok(()) };
        self.conclude(desk, graves, kind, (receipt, attempts), polled).map(drop)
    }

    fn hand_out_next<S: Topics<Hold = H>, const T: usize>(
        &mut self,
        desk: &mut Desk<T>,
        graves: &Graves<'_, S>,
        visit: &mut impl FnMut(Delivery<'_>) -> Option<Verdict>,
        polled: &mut Polled,
    ) -> Result<New, DlqError> {
        let (partition, offset) = (self.partition, self.next);
        self.recall.prepare(graves, partition, offset)?;
        let (settings, now) = (desk.settings, graves.now());
        let carried = desk.table.find(partition, offset).map(|row| row.attempts);
        let mut attempts = carried.unwrap_or(0);
        let receipt = desk.receipt(partition, offset);
        let Self { cursor, next, recall, unanswered, .. } = self;
        let kind = read(cursor, partition, offset, |tag, bytes| {
            *next = offset.saturating_add(1);
            tick(&mut desk.counters.consumed);
            if recall.knows(offset, tag, bytes) {
                return Kind::Known;
            }
            let Ok(message) = MessageRef::parse(partition, Offset::new(offset), tag, bytes) else {
                return Kind::Damaged;
            };
            let mark = Redriven::of(&message);
            if mark.is_some_and(|mark| mark.group != graves.group()) {
                return Kind::Foreign;
            }
            if is_expired(&message, settings.ttl, now) {
                return Kind::Expired;
            }
            if carried.is_some_and(|carried| carried >= settings.limit) {
                return Kind::Doomed;
            }
            attempts = attempts.max(mark.map_or(0, |mark| mark.attempts));
            *unanswered = Some((offset, attempts));
            tick(&mut desk.counters.handed);
            Kind::Answered(visit(Delivery { message, attempt: attempts.saturating_add(1), receipt }))
        });
        self.unanswered = None;
        let Some(kind) = kind? else { return Ok(New::None) };
        self.conclude(desk, graves, kind, (receipt, attempts), polled)
    }

    /// Does what has to be done with a record that was looked at.
    fn conclude<S: Topics<Hold = H>, const T: usize>(
        &mut self,
        desk: &mut Desk<T>,
        graves: &Graves<'_, S>,
        kind: Kind,
        (receipt, attempts): (Receipt, u32),
        polled: &mut Polled,
    ) -> Result<New, DlqError> {
        let (partition, offset) = (self.partition, receipt.offset.value());
        let answer = match kind {
            Kind::Answered(answer) => answer,
            Kind::Damaged => return self.doom(desk, graves, offset, Cause::Damaged, polled),
            Kind::Doomed => return self.doom(desk, graves, offset, Cause::TooManyFailures, polled),
            Kind::Expired => return self.doom(desk, graves, offset, Cause::Expired, polled),
            Kind::Foreign | Kind::Known => {
                desk.table.remove(partition, offset);
                let counters = &mut desk.counters;
                let (sum, part) = match kind {
                    Kind::Known => (&mut counters.dead, &mut counters.recalled),
                    _ => (&mut counters.acked, &mut counters.foreign),
                };
                tick(sum);
                tick(part);
                self.release(desk);
                return Ok(New::Passed);
            }
        };
        polled.handed = polled.handed.saturating_add(1);
        if let Some(verdict) = answer {
            note(self.settle(desk, graves, offset, attempts, verdict)?, polled);
            return Ok(New::Handed);
        }
        let round = desk.round;
        // There is room: it was looked for before.
        let row = desk.table.enter(partition, offset, attempts).ok_or(DlqError::TableFull { limit: T })?;
        row.state = FailingState::Out;
        row.attempts = row.attempts.max(attempts);
        row.delivery = receipt.delivery;
        row.round = round;
        Ok(New::Handed)
    }

    /// Makes a dead letter of a record without handing it out.
    fn doom<S: Topics<Hold = H>, const T: usize>(
        &mut self,
        desk: &mut Desk<T>,
        graves: &Graves<'_, S>,
        offset: u64,
        cause: Cause,
        polled: &mut Polled,
    ) -> Result<New, DlqError> {
        let row = desk.table.enter(self.partition, offset, 0).ok_or(DlqError::TableFull { limit: T })?;
        row.state = FailingState::Parked;
        row.cause = cause;
        match self.bury(desk, graves, offset) {
            Ok(_) => polled.dead = polled.dead.saturating_add(1),
            Err(error) => polled.hold(error),
        }
        Ok(New::Passed)
    }
}

fn note(settled: Settled, polled: &mut Polled) {
    match settled {
        Settled::Dead { .. } => polled.dead = polled.dead.saturating_add(1),
        Settled::Parked(error) => polled.hold(error),
        Settled::Acked | Settled::Deferred | Settled::Retry { .. } => {}
    }
}

fn is_expired(message: &MessageRef<'_>, ttl: Ticks, now: Ticks) -> bool {
    message.timestamp().is_some_and(|sent| sent.plus(ttl) < now)
}
