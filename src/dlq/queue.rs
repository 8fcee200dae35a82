//! The dead letter queue of a topic, as whoever looks after it sees it.

use super::cause::Cause;
use super::error::{DlqError, LetterError};
use super::graves::{self, Look, TopicName, first_letter, keep};
use super::letter::DeadLetter;
use super::redrive::{Redrive, RedriveOptions};
use super::sweep::{Fate, Sweep};
use crate::consumer::PollError;
use crate::lease::{Lease, Lend};
use crate::name::Name;
use crate::partition::{Hold, Partition};
use crate::topic::{TopicRef, Topics};
use crate::types::{Offset, Ticks};
use core::fmt;

/// The dead letter queue of one topic: counts, browses, purges and redrives its letters. Keeps nothing but names.
///
/// One tool at a time takes letters out of a partition (purging, redriving): a second one is told
/// [`PollError::Claimed`]. Counting and browsing, and routers, are not in the way.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    source: TopicName,
    name: TopicName,
}

/// A place in a queue: where to browse on.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct LetterAt {
    partition: u32,
    offset: Offset,
}

impl LetterAt {
    /// The first letter of all.
    pub const START: Self = Self::new(0, Offset::new(0));

    /// A letter by its partition and number in the queue.
    #[must_use]
    pub const fn new(partition: u32, offset: Offset) -> Self {
        Self { partition, offset }
    }

    /// Which partition of the queue.
    #[must_use]
    pub const fn partition(&self) -> u32 {
        self.partition
    }

    /// The number there.
    #[must_use]
    pub const fn offset(&self) -> Offset {
        self.offset
    }
}

/// What a look at letters came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Browsed {
    /// Letters shown.
    pub letters: usize,
    /// Records passed over that are no letters.
    pub malformed: usize,
    /// Why the first of them is none.
    pub first_malformed: Option<(LetterAt, LetterError)>,
    /// Where the next look goes on; `None` behind the last letter.
    pub next: Option<LetterAt>,
}

/// Letters by cause.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Causes {
    counts: [u64; Cause::ALL.len()],
    /// Records that are no letters.
    pub malformed: u64,
}

impl Causes {
    /// How many letters have this cause.
    #[must_use]
    pub fn of(&self, cause: Cause) -> u64 {
        Cause::ALL.into_iter().zip(self.counts).find(|(other, _)| *other == cause).map_or(0, |(_, count)| count)
    }

    /// How many letters there are.
    #[must_use]
    pub fn letters(&self) -> u64 {
        self.counts.into_iter().fold(0, u64::saturating_add)
    }

    /// Counts a letter.
    fn add(&mut self, cause: Cause) {
        for (other, count) in Cause::ALL.into_iter().zip(&mut self.counts) {
            *count = count.saturating_add(u64::from(other == cause));
        }
    }
}

impl DeadLetters {
    /// The dead letter queue of the topic of this name: the topic with `.dlq` behind it.
    ///
    /// # Errors
    /// [`DlqError::Name`] if the name is none, or too long for that.
    pub fn of(topic: &str) -> Result<Self, DlqError> {
        let name = graves::name_of(topic)?;
        let mut source = TopicName::new();
        // Shorter than the other one.
        let _ = source.push_str(topic);
        Ok(Self { source, name })
    }

    /// The source's name.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The queue's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Records in the queue, those included that are no letters. Takes O(partitions): walks the readers' places of each, and
    /// the slots not noted yet. Does not allocate or block.
    ///
    /// # Errors
    /// [`DlqError::Topic`], [`DlqError::NotMarked`].
    pub fn count<S: Topics>(&self, topics: &S) -> Result<u64, DlqError> {
        let keeper = Name::new(graves::KEEPER)?;
        self.with(topics, |queue| {
            let counts = queue.partitions().iter().map(|partition| partition.lag(&keeper));
            Ok(counts.fold(0, u64::saturating_add))
        })
    }

    /// Runs `f` on the queue's topic.
    pub(super) fn with<S: Topics, R>(
        &self,
        topics: &S,
        f: impl FnOnce(TopicRef<'_, S::Hold>) -> Result<R, DlqError>,
    ) -> Result<R, DlqError> {
        let handle = topics.find(&self.name)?;
        graves::check(topics, &handle, &self.name)?;
        f(topics.topic(&handle, &self.name)?)
    }

    /// Shows up to `max` letters to `visit`, where they lie, from a place on, in the order of partitions; nothing is taken out.
    /// Records that are no letters are passed over, and counted. Takes one reader's place of a partition at a time. Does not
    /// allocate or block.
    ///
    /// ```
    /// # #[cfg(feature = "std")]
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use fabric_mq::dlq::{DeadLetters, LetterAt};
    /// # use fabric_mq::topic::{TopicConfig, TopicManager};
    /// # let topics = TopicManager::new();
    /// # topics.create("orders.dlq", TopicConfig::new().with_dead_letters(true))?;
    /// let queue = DeadLetters::of("orders")?;
    /// let mut at = Some(LetterAt::START);
    /// while let Some(from) = at {
    ///     at = queue.browse_with(&topics, from, 100, |letter| println!("{letter:?}"))?.next;
    /// }
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "std"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// [`DlqError::Topic`], [`DlqError::NotMarked`]; [`DlqError::Letters`] if no reader's place is free, or the lease has
    /// ended.
    pub fn browse_with<S: Topics>(
        &self,
        topics: &S,
        from: LetterAt,
        max: usize,
        mut visit: impl FnMut(&DeadLetter<'_>),
    ) -> Result<Browsed, DlqError>
    where
        <<S::Hold as Hold>::Lease as Lease>::Trust: Lend,
    {
        let mut browsed = Browsed { letters: 0, malformed: 0, first_malformed: None, next: None };
        self.with(topics, |queue| {
            for partition in queue.partitions().iter().filter(|partition| partition.number() >= from.partition) {
                let number = partition.number();
                let mut look = Look::at(partition)?;
                look.skip_to(first_letter(partition)?)?;
                if number == from.partition {
                    look.skip_to(from.offset.value())?;
                }
                while browsed.letters < max {
                    let seen = look.next(|offset, record| {
                        let (tag, bytes) = record.ok_or((offset, LetterError::NotALetter))?;
                        let letter = DeadLetter::of(number, offset, tag, bytes, &self.source);
                        letter.map(|letter| visit(&letter)).map_err(|error| (offset, error))
                    })?;
                    match seen {
                        None => break,
                        Some(Ok(())) => browsed.letters = browsed.letters.saturating_add(1),
                        Some(Err((offset, error))) => {
                            browsed.malformed = browsed.malformed.saturating_add(1);
                            let at = LetterAt::new(number, Offset::new(offset));
                            browsed.first_malformed.get_or_insert((at, error));
                        }
                    }
                }
                if browsed.letters >= max && look.position() < look.end() {
                    browsed.next = Some(LetterAt::new(number, Offset::new(look.position())));
                    return Ok(());
                }
            }
            Ok(())
        })?;
        Ok(browsed)
    }

    /// Counts the letters of each cause. Looks at all letters; else as [`browse_with`](Self::browse_with).
    ///
    /// # Errors
    /// As [`browse_with`](Self::browse_with).
    pub fn causes<S: Topics>(&self, topics: &S) -> Result<Causes, DlqError>
    where
        <<S::Hold as Hold>::Lease as Lease>::Trust: Lend,
    {
        let mut causes = Causes::default();
        let browsed = self.browse_with(topics, LetterAt::START, usize::MAX, |letter| causes.add(letter.cause()))?;
        causes.malformed = browsed.malformed as u64;
        Ok(causes)
    }

    /// Sends the letters that `wanted` answers yes to back to the source, as fast as [`RedriveOptions`] say. Nothing is done
    /// before the first [`Redrive::step`]. For one letter, ask for its place:
    /// `|letter| letter.offset() == offset && letter.partition() == partition`. `wanted` is asked more than once about a letter,
    /// and must say the same each time.
    ///
    /// ```
    /// # #[cfg(feature = "std")]
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use fabric_mq::clock::Clock;
    /// use fabric_mq::dlq::{Cause, DeadLetters, RedriveOptions, RedriveState};
    /// # use fabric_mq::topic::{TopicConfig, TopicManager};
    /// # let topics = TopicManager::new();
    /// # topics.create("orders", TopicConfig::new())?;
    /// # topics.create("orders.dlq", TopicConfig::new().with_dead_letters(true))?;
    /// let queue = DeadLetters::of("orders")?;
    /// let options = RedriveOptions::new().with_rate(100);
    /// let mut redrive = queue.redrive::<TopicManager, _>(options, |letter| letter.cause() == Cause::TooManyFailures);
    /// while redrive.step(&topics, topics.clock().now())?.state == RedriveState::Running {
    ///     std::thread::sleep(std::time::Duration::from_millis(10));
    /// }
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "std"))]
    /// # fn main() {}
    /// ```
    pub fn redrive<S: Topics, F>(&self, options: RedriveOptions, wanted: F) -> Redrive<S, F>
    where
        F: FnMut(&DeadLetter<'_>) -> bool,
    {
        Redrive::new(self.clone(), options, wanted)
    }

    /// The same for all letters.
    pub fn redrive_all<S: Topics>(&self, options: RedriveOptions) -> Redrive<S, fn(&DeadLetter<'_>) -> bool> {
        Redrive::new(self.clone(), options, |_| true)
    }

    /// Takes everything out of the queue that is there now, letters or not; answers how many. Takes O(partitions).
    ///
    /// # Errors
    /// [`DlqError::Topic`], [`DlqError::NotMarked`]; [`DlqError::Letters`] if another tool is at work: the partitions before
    /// that have been purged.
    pub fn purge_all<S: Topics>(&self, topics: &S) -> Result<u64, DlqError> {
        self.with(topics, |queue| {
            let mut partitions = queue.partitions().iter();
            partitions.try_fold(0_u64, |sum, partition| Ok(sum.saturating_add(purge_to(partition, u64::MAX)?)))
        })
    }

    /// Takes everything out of one partition of the queue that lies before a place; answers how many. Takes O(1).
    ///
    /// # Errors
    /// As [`purge_all`](Self::purge_all); [`DlqError::Letters`] with [`PollError::NoSuchPartition`].
    pub fn purge_before<S: Topics>(&self, topics: &S, place: LetterAt) -> Result<u64, DlqError> {
        self.with(topics, |queue| {
            let (number, partitions) = (place.partition, queue.partition_count());
            let missing = DlqError::Letters(PollError::NoSuchPartition { partition: number, partitions });
            purge_to(queue.partition(number).ok_or(missing)?, place.offset.value())
        })
    }

    /// Takes the letters out of the queue that became letters before `time`; answers how many. Takes time in proportion to the
    /// letters there are. Letters that stay before others that go are written once more, so there must be room for them.
    ///
    /// # Errors
    /// As [`purge_all`](Self::purge_all); [`DlqError::DlqFull`] if there is no room for one that stays: nothing is lost.
    pub fn purge_older_than<S: Topics>(&self, topics: &S, time: Ticks) -> Result<u64, DlqError>
    where
        <<S::Hold as Hold>::Lease as Lease>::Trust: Lend,
    {
        self.purge_where(topics, |letter| letter.died_at() < time)
    }

    /// Takes the letters out of the queue that `unwanted` answers yes to; answers how many. As
    /// [`purge_older_than`](Self::purge_older_than). `unwanted` is asked more than once about a letter, and must say the same
    /// each time.
    ///
    /// # Errors
    /// As [`purge_older_than`](Self::purge_older_than).
    pub fn purge_where<S: Topics>(
        &self,
        topics: &S,
        mut unwanted: impl FnMut(&DeadLetter<'_>) -> bool,
    ) -> Result<u64, DlqError>
    where
        <<S::Hold as Hold>::Lease as Lease>::Trust: Lend,
    {
        self.with(topics, |queue| {
            let mut purged = 0_u64;
            for partition in queue.partitions() {
                let number = partition.number();
                let mut sweep =
                    Sweep::begin(partition, &self.source, |letter| letter.is_ok_and(|letter| unwanted(&letter)))?;
                loop {
                    let step = sweep.step(queue, partition, |offset, tag, bytes| {
                        let letter = DeadLetter::of(number, offset, tag, bytes, &self.source);
                        let goes = letter.is_ok_and(|letter| unwanted(&letter));
                        Ok::<_, LetterError>(if goes { Fate::Gone } else { Fate::Kept })
                    });
                    match step {
                        Ok(Some(Ok(Fate::Gone))) => purged = purged.saturating_add(1),
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(error) => return Err(error),
                    }
                }
            }
            Ok(purged)
        })
    }
}

/// Takes everything out of a partition that lies before `to`.
fn purge_to<H: Hold>(partition: &Partition<H>, to: u64) -> Result<u64, DlqError> {
    let number = partition.number();
    let mut cursor = keep(partition)?;
    let (start, tail) = (cursor.position().value(), cursor.tail().value());
    let to = to.min(tail).max(start);
    let released = cursor.release_to(Offset::new(to));
    cursor.park();
    released.map_err(|error| DlqError::Letters(PollError::Lease { partition: number, error }))?;
    Ok(to.saturating_sub(start))
}

impl fmt::Display for LetterAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.partition, self.offset)
    }
}
