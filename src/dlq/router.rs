//! The router: a member of a group that settles records one by one.

use super::cause::Cause;
use super::error::DlqError;
use super::graves::{self, Graves};
use super::recall::Recall;
use super::table::Table;
use super::verdict::{Counters, Failing, FailingState, Receipt, Settled, Verdict};
use crate::consumer::{PollError, Way};
use crate::lease::{Lease, Lend};
use crate::name::Name;
use crate::partition::{Cursor, Hold, group_name};
use crate::topic::Topics;
use crate::types::{Offset, Ticks};
use core::fmt;

/// What a partition does while one of its records fails.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum OnFailure {
    /// It stops there until the record is settled, so that records are settled strictly in order; while the dead letter queue
    /// is full, until it has room. Other partitions go on.
    #[default]
    Block,
    /// It goes on behind it, as long as the table has room. A record that fails comes again in between, so it is overtaken,
    /// also by records of the same key.
    SkipAside,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) limit: u32,
    pub(super) on_failure: OnFailure,
    pub(super) retry_delay: Ticks,
    pub(super) ttl: Ticks,
}

/// Reads partitions of one topic for a group, and moves records that cannot be processed to the topic's dead letter queue.
///
/// It has places for `P` partitions and a table of `T` records that are not settled, about 260 and 220 bytes each, in place.
/// It takes the group's places as a [`Consumer`](crate::consumer::Consumer) of the group does, so a partition has one of
/// either. Nothing here allocates, but `poll` (feature `alloc`); nothing blocks. See [the module](super) for what is promised.
pub struct DlqRouter<N, S: Topics, const P: usize = 16, const T: usize = 32> {
    pub(super) topic: N,
    pub(super) group: Result<Name, DlqError>,
    pub(super) source: Option<S::Handle>,
    pub(super) dead: Option<S::Handle>,
    pub(super) places: heapless::Vec<Place<S::Hold>, P>,
    pub(super) desk: Desk<T>,
    /// How many partitions were assigned, if there are not that many places.
    excess: Option<usize>,
    /// Which place the next poll starts with.
    pub(super) turn: usize,
    settled: bool,
}

/// What a router knows and counts, beside its places.
pub(super) struct Desk<const T: usize> {
    pub(super) settings: Settings,
    pub(super) table: Table<T>,
    pub(super) counters: Counters,
    pub(super) delivery: u64,
    pub(super) round: u64,
}

pub(super) struct Place<H: Hold> {
    pub(super) partition: u32,
    pub(super) cursor: Option<Cursor<H>>,
    /// The first record that was not taken yet.
    pub(super) next: u64,
    pub(super) recall: Recall,
    /// Records of leases that are gone, which nobody was told of yet.
    pub(super) lost: u64,
    /// A record that was handed out to somebody who never came back with an answer, and failures from before.
    pub(super) unanswered: Option<(u64, u32)>,
}

impl<N: AsRef<str>, S: Topics> DlqRouter<N, S> {
    /// A router with places for 16 partitions and a table of 32 records. Names are checked, and topics looked for, when it
    /// first polls.
    #[must_use]
    pub fn new(topic: N, group: &str) -> Self {
        Self::with_places(topic, group)
    }
}

impl<N: AsRef<str>, S: Topics, const P: usize, const T: usize> DlqRouter<N, S, P, T> {
    /// A router with places for `P` partitions and a table of `T` records, at least 1. With [`OnFailure::Block`] a record
    /// for each partition is enough.
    #[must_use]
    pub fn with_places(topic: N, group: &str) -> Self {
        const { assert!(T > 0, "a router needs room for a record that fails") }
        let settings = Settings { limit: 5, on_failure: OnFailure::Block, retry_delay: Ticks::ZERO, ttl: Ticks::MAX };
        Self {
            topic,
            group: group_name(group).map_err(DlqError::Group),
            source: None,
            dead: None,
            places: heapless::Vec::new(),
            desk: Desk { settings, table: Table::new(), counters: Counters::default(), delivery: 0, round: 0 },
            excess: None,
            turn: 0,
            settled: false,
        }
    }

    /// Sets after how many failures a record is a dead letter, at least 1. Default 5.
    #[must_use]
    pub fn with_limit(mut self, failures: u32) -> Self {
        self.desk.settings.limit = failures.max(1);
        self
    }

    /// Sets what a partition does while one of its records fails. Default: [`OnFailure::Block`].
    #[must_use]
    pub fn with_on_failure(mut self, on_failure: OnFailure) -> Self {
        self.desk.settings.on_failure = on_failure;
        self
    }

    /// Sets how long a record that failed waits for its next try. Default: until the next poll.
    #[must_use]
    pub fn with_retry_delay(mut self, delay: Ticks) -> Self {
        self.desk.settings.retry_delay = delay;
        self
    }

    /// Sets how old a record may be, by its timestamp, when it is handed out: an older one is a dead letter, with
    /// [`Cause::Expired`]. Records without a timestamp do not expire. Default: for ever.
    #[must_use]
    pub fn with_time_to_live(mut self, age: Ticks) -> Self {
        self.desk.settings.ttl = age;
        self
    }

    /// The topic's name.
    pub fn topic(&self) -> &str {
        self.topic.as_ref()
    }

    /// Says which partitions to read, instead of those before. In those that go, records that are not settled are left to
    /// whoever takes the group's place next, and their counts are forgotten: see [`failing`](Self::failing).
    ///
    /// More partitions than there are places are told by the next poll ([`PollError::Assignment`]).
    pub fn assign(&mut self, partitions: &[u32]) {
        let Self { places, desk, .. } = self;
        places.retain_mut(|place| {
            let stays = partitions.contains(&place.partition);
            if !stays {
                place.give_back(desk);
            }
            stays
        });
        self.excess = None;
        self.settled = false;
        for &partition in partitions {
            if self.places.iter().any(|place| place.partition == partition) {
                continue;
            }
            let place =
                Place { partition, cursor: None, next: 0, recall: Recall::default(), lost: 0, unanswered: None };
            if self.places.push(place).is_err() {
                self.excess = Some(partitions.len());
            }
        }
    }

    /// The partitions it was assigned.
    pub fn assignment(&self) -> impl Iterator<Item = u32> {
        self.places.iter().map(|place| place.partition)
    }

    /// The first record of a partition that is not settled, if the router has its place there: everything before it is, and
    /// was released. This is what to commit to an [`OffsetStore`](crate::offset::OffsetStore), if there is one.
    #[must_use]
    pub fn floor(&self, partition: u32) -> Option<Offset> {
        let place = self.places.iter().find(|place| place.partition == partition)?;
        place.cursor.is_some().then(|| Offset::new(place.floor(&self.desk.table)))
    }

    /// The first record of a partition that was not taken yet, if the router has its place there.
    #[must_use]
    pub fn position(&self, partition: u32) -> Option<Offset> {
        let place = self.places.iter().find(|place| place.partition == partition)?;
        place.cursor.is_some().then(|| Offset::new(place.next))
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut counters = self.desk.counters;
        for row in self.desk.table.rows() {
            match row.state {
                FailingState::Carried => {}
                FailingState::Parked => tick(&mut counters.parked),
                FailingState::Out | FailingState::Waiting => tick(&mut counters.pending),
            }
        }
        for place in &self.places {
            counters.pending = counters.pending.saturating_add(u64::from(place.is_unlisted(&self.desk.table)));
        }
        counters
    }

    /// The records that failed, or are out, or are parked, in no order. A router keeps its counts in itself: whoever wants
    /// them to survive it keeps these, and [carries them over](Self::carry).
    pub fn failing(&self) -> impl Iterator<Item = Failing<'_>> {
        self.desk.table.rows().map(|row| Failing {
            partition: row.partition,
            offset: Offset::new(row.offset),
            attempts: row.attempts,
            state: row.state,
            reason: row.reason.as_str(),
        })
    }

    /// Says how often a record that has not come yet failed before a restart. It takes a row of the table until it is
    /// settled. If that is as often as is allowed, it is a dead letter when it comes, and is not handed out: so a record that
    /// kills its consumer is one after as many deliveries, if each is counted where the consumer's death does not reach.
    ///
    /// ```
    /// # #[cfg(feature = "std")]
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use fabric_mq::Offset;
    /// use fabric_mq::dlq::{DlqRouter, Verdict};
    /// # use fabric_mq::producer::Producer;
    /// # use fabric_mq::topic::{TopicConfig, TopicManager};
    /// # let topics = TopicManager::new();
    /// # topics.create("orders", TopicConfig::new().with_partitions(1))?;
    /// # topics.create("orders.dlq", TopicConfig::new().with_partitions(1).with_dead_letters(true))?;
    /// # Producer::new("orders").send(&topics, b"poison")?;
    /// let mut router = DlqRouter::new("orders", "billing");
    /// router.assign(&[0]);
    /// router.carry(0, Offset::new(0), 5)?;
    /// let polled = router.poll_with(&topics, 10, |_| Verdict::Ack)?;
    /// assert_eq!((polled.handed, polled.dead), (0, 1));
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "std"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// [`DlqError::TableFull`]; [`DlqError::Stale`] if the record has come already.
    pub fn carry(&mut self, partition: u32, offset: Offset, attempts: u32) -> Result<(), DlqError> {
        let taken = |place: &Place<S::Hold>| place.partition == partition && place.next > offset.value();
        if self.places.iter().any(taken) {
            return Err(DlqError::Stale);
        }
        let row = self.desk.table.enter(partition, offset.value(), attempts).ok_or(DlqError::TableFull { limit: T })?;
        row.state = FailingState::Carried;
        row.attempts = attempts;
        Ok(())
    }

    /// Looks that the topics are still there; answers the name of the group.
    pub(super) fn find(&mut self, topics: &S) -> Result<(), DlqError> {
        let name = self.topic.as_ref();
        if let Some(handle) = &self.source
            && let Err(error) = topics.topic(handle, name)
        {
            // Told once. The next call looks for a topic of this name again, and takes places there.
            self.source = None;
            self.settled = false;
            for place in &mut self.places {
                place.cursor = None;
                place.give_back(&mut self.desk);
            }
            return Err(error.into());
        }
        let grave = graves::name_of(name)?;
        if let Some(handle) = &self.dead
            && topics.topic(handle, &grave).is_err()
        {
            // Letters are held up until there is one again.
            self.dead = topics.find(&grave).ok().filter(|handle| graves::check(topics, handle, &grave).is_ok());
        }
        if self.source.is_none() {
            let source = topics.find(name)?;
            let topic = topics.topic(&source, name)?;
            if topic.config().dead_letters {
                return Err(DlqError::OfDeadLetters);
            }
            if topic.config().full.overwrites() {
                return Err(DlqError::Overwrites);
            }
            self.source = Some(source);
        }
        if self.dead.is_none() {
            let dead = topics.find(&grave)?;
            graves::check(topics, &dead, &grave)?;
            self.dead = Some(dead);
        }
        Ok(())
    }

    /// Sees to it that every assigned partition's place is taken.
    pub(super) fn ready(&mut self, topics: &S) -> Result<(), DlqError> {
        let group = self.group?;
        if let Some(wanted) = self.excess {
            return Err(DlqError::Source(PollError::Assignment { wanted, max: P }));
        }
        let started = self.settled;
        match self.find(topics) {
            // A queue that is gone holds its letters up, and nothing else.
            Err(DlqError::Topic(_) | DlqError::NotMarked) if started && self.source.is_some() => {}
            other => other?,
        }
        if self.settled {
            return Ok(());
        }
        let (Some(source), Some(dead)) = (&self.source, &self.dead) else { return Ok(()) };
        let name = self.topic.as_ref();
        graves::hold(topics, dead, &graves::name_of(name)?)?;
        for place in self.places.iter_mut().filter(|place| place.cursor.is_none()) {
            let number = place.partition;
            let way = Way { topics, handle: source, name };
            let (cursor, lost) = way.join(number, &group).map_err(DlqError::Source)?;
            place.lost = lost;
            place.stand_at(&cursor);
            place.cursor = Some(cursor);
        }
        self.settled = true;
        Ok(())
    }
}

impl<N: AsRef<str>, S: Topics, const P: usize, const T: usize> DlqRouter<N, S, P, T>
where
    <<S::Hold as Hold>::Lease as Lease>::Trust: Lend,
{
    /// Says what became of a record that was handed out by [`take_with`](Self::take_with) or `poll`.
    ///
    /// A record that is to be a dead letter and cannot be written to the queue is [`Settled::Parked`]: it needs nothing more
    /// from the caller, each poll tries again.
    ///
    /// # Errors
    /// [`DlqError::Stale`] if the receipt is not that of a delivery that is out: nothing is changed. [`DlqError::Topic`] if
    /// the source is gone.
    pub fn settle(&mut self, topics: &S, receipt: Receipt, verdict: Verdict) -> Result<Settled, DlqError> {
        self.ready(topics)?;
        let Self { places, desk, dead, topic, group, .. } = self;
        let graves = Graves::new(topics, dead.as_ref(), topic.as_ref(), (*group)?)?;
        let Receipt { partition, offset, delivery } = receipt;
        let row = desk.table.find(partition, offset.value());
        if row.is_none_or(|row| row.state != FailingState::Out || row.delivery != delivery) {
            return Err(DlqError::Stale);
        }
        let place = places.iter_mut().find(|place| place.partition == partition).ok_or(DlqError::Stale)?;
        let settled = place.settle(desk, &graves, offset.value(), 0, verdict)?;
        Ok(settled)
    }

    /// Gives up a record that failed or is parked, and that nobody wants to have: it counts as acknowledged, and goes nowhere.
    /// Answers whether there was one. This is the way out for whoever has strict order and a queue that stays full.
    ///
    /// # Errors
    /// [`DlqError::Topic`] if the source is gone.
    pub fn give_up(&mut self, topics: &S, partition: u32, offset: Offset) -> Result<bool, DlqError> {
        self.ready(topics)?;
        let Self { places, desk, .. } = self;
        let row = desk.table.find(partition, offset.value());
        let known = row.is_some_and(|row| row.state != FailingState::Carried);
        let Some(place) = places.iter_mut().find(|place| place.partition == partition).filter(|_| known) else {
            return Ok(false);
        };
        desk.table.remove(partition, offset.value());
        tick(&mut desk.counters.acked);
        tick(&mut desk.counters.given_up);
        place.release(desk);
        Ok(true)
    }
}

impl<H: Hold> Place<H> {
    /// Goes on where a place in a lease begins.
    fn stand_at(&mut self, cursor: &Cursor<H>) {
        self.next = cursor.position().value();
        self.recall = Recall::new(self.next, cursor.tail().value(), cursor.lease_id());
    }

    /// Goes on in the next lease, if the log goes on in one and all records of this one are settled: what failed is read
    /// again here until then. Answers whether it did.
    #[cold]
    pub(super) fn cross<S: Topics<Hold = H>, const T: usize>(
        &mut self,
        desk: &Desk<T>,
        way: &Way<'_, S>,
    ) -> Result<bool, PollError> {
        let Some(mut cursor) = self.cursor.take() else { return Ok(false) };
        let is_settled = self.floor(&desk.table) >= self.next;
        let crossed = if is_settled { way.cross(self.partition, &mut cursor) } else { Ok(None) };
        if let Ok(Some(missing)) = crossed {
            self.lost = self.lost.saturating_add(missing);
            self.stand_at(&cursor);
        }
        self.cursor = Some(cursor);
        crossed.map(|crossed| crossed.is_some())
    }

    /// The first record that is not settled.
    pub(super) fn floor<const T: usize>(&self, table: &Table<T>) -> u64 {
        let unanswered = self.unanswered.map_or(u64::MAX, |(offset, _)| offset);
        table.floor(self.partition).unwrap_or(self.next).min(unanswered)
    }

    /// Whether there is a record without an answer that has no row yet.
    fn is_unlisted<const T: usize>(&self, table: &Table<T>) -> bool {
        let listed = |offset| table.find(self.partition, offset).is_some_and(|row| row.state != FailingState::Carried);
        self.unanswered.is_some_and(|(offset, _)| !listed(offset))
    }

    /// Releases what is settled.
    pub(super) fn release<const T: usize>(&mut self, desk: &Desk<T>) {
        let floor = self.floor(&desk.table);
        if let Some(cursor) = &mut self.cursor {
            // A lease that has ended is told when something is read or written; until then what is held does not matter.
            let _ = cursor.release_to(Offset::new(floor));
        }
    }

    /// Leaves what is not settled to whoever comes next.
    fn give_back<const T: usize>(&mut self, desk: &mut Desk<T>) {
        let unlisted = self.is_unlisted(&desk.table);
        self.unanswered = None;
        let count = desk.table.forget(self.partition).saturating_add(u64::from(unlisted));
        desk.counters.consumed = desk.counters.consumed.saturating_sub(count);
    }
}

impl<H: Hold> Drop for Place<H> {
    fn drop(&mut self) {
        // The group keeps its place, and what is not settled in it.
        if let Some(cursor) = self.cursor.take() {
            cursor.park();
        }
    }
}

impl<H: Hold> Place<H>
where
    <H::Lease as Lease>::Trust: Lend,
{
    /// Carries a verdict out, on a record that has a row or can be given one. `attempts` are failures from before.
    pub(super) fn settle<S: Topics<Hold = H>, const T: usize>(
        &mut self,
        desk: &mut Desk<T>,
        graves: &Graves<'_, S>,
        offset: u64,
        attempts: u32,
        verdict: Verdict,
    ) -> Result<Settled, DlqError> {
        let partition = self.partition;
        let Settings { limit, retry_delay, .. } = desk.settings;
        if verdict == Verdict::Ack {
            desk.table.remove(partition, offset);
            tick(&mut desk.counters.acked);
            self.release(desk);
            return Ok(Settled::Acked);
        }
        let now = graves.now();
        let row = desk.table.enter(partition, offset, attempts).ok_or(DlqError::TableFull { limit: T })?;
        row.state = FailingState::Waiting;
        row.attempts = row.attempts.max(attempts);
        let (reason, cause) = match verdict {
            Verdict::Defer(delay) => {
                row.due = now.plus(delay);
                row.round = desk.round;
                tick(&mut desk.counters.deferred);
                return Ok(Settled::Deferred);
            }
            Verdict::Nack(reason) => (reason, None),
            Verdict::Reject(cause, reason) => (reason, Some(cause)),
            Verdict::Ack => return Ok(Settled::Acked),
        };
        row.fail(now, reason);
        tick(&mut desk.counters.failures);
        let worn_out = row.attempts >= limit;
        let cause = cause.or_else(|| worn_out.then_some(Cause::TooManyFailures));
        let Some(cause) = cause else {
            row.due = now.plus(retry_delay);
            row.round = desk.round;
            return Ok(Settled::Retry { attempts: row.attempts });
        };
        row.cause = cause;
        row.state = FailingState::Parked;
        Ok(match self.bury(desk, graves, offset) {
            Ok((partition, offset)) => Settled::Dead { partition, offset },
            Err(error) => Settled::Parked(error),
        })
    }

    /// Writes the letter of a record that is parked, and settles it. The order is: first the letter, then the release.
    pub(super) fn bury<S: Topics<Hold = H>, const T: usize>(
        &mut self,
        desk: &mut Desk<T>,
        graves: &Graves<'_, S>,
        offset: u64,
    ) -> Result<(u32, Offset), DlqError> {
        let Some(row) = desk.table.find(self.partition, offset) else { return Err(DlqError::Stale) };
        let lease = self.recall.lease();
        let written =
            read(&mut self.cursor, self.partition, offset, |tag, bytes| graves.write(row, lease, tag, bytes))?;
        // What a group's place holds is there.
        let grave = written.ok_or(DlqError::Stale)??;
        desk.table.remove(self.partition, offset);
        tick(&mut desk.counters.dead);
        self.release(desk);
        Ok(grave)
    }
}

/// Reads the record at `offset` as it is.
pub(super) fn read<H: Hold, R>(
    cursor: &mut Option<Cursor<H>>,
    partition: u32,
    offset: u64,
    visit: impl FnOnce(u8, &[u8]) -> R,
) -> Result<Option<R>, DlqError>
where
    <H::Lease as Lease>::Trust: Lend,
{
    let Some(cursor) = cursor else { return Ok(None) };
    if cursor.position().value() != offset {
        let moved = cursor.look(Offset::new(offset));
        moved.map_err(|error| DlqError::Source(PollError::seek(partition, error)))?;
    }
    cursor.read_raw(visit).map_err(|error| DlqError::Source(PollError::read(partition, error)))
}

/// Counts one.
pub(super) const fn tick(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

impl<N: AsRef<str>, S: Topics, const P: usize, const T: usize> fmt::Debug for DlqRouter<N, S, P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DlqRouter")
            .field("topic", &self.topic())
            .field("group", &self.group)
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}
