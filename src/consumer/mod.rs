//! Consumers: who reads, as a member of a group.
//!
//! A group has a place in each partition: it holds the records from there on, also while nobody of the group is there.
//! A consumer takes the places of the partitions it was assigned when it first needs them, and keeps them until it is
//! dropped; two consumers of one group cannot have the same partition at the same time. Consumers of different groups do
//! not know of each other.
//!
//! # Waiting
//! Polls do not wait. A thread sleeps in [`Consumer::wait_until`] or `poll_until` until a producer sends to one of the assigned
//! partitions; an `async` task awaits [`Consumer::ready`] or `next_batch`, on any executor. Producers of the topic wake both by
//! themselves, since whoever sends to a topic does so through the same [`Topics`].
//!
//! # What can be lost, what comes twice
//! What a poll hands out is *released*, so that its room can be used again, by the next poll ([`ReleaseOn::Poll`], the
//! default) or by the next commit ([`ReleaseOn::Commit`]). Whoever takes the group's place afterwards begins at the first
//! record that is not released: nothing is skipped, what was handed out and not released comes again.
//!
//! Where partitions overwrite ([`FullPolicy::DropOldest`](crate::partition::FullPolicy::DropOldest)) a group that is too
//! slow loses records. The consumer counts them exactly, and says so ([`PollError::Lagging`]) before it hands out what
//! comes behind the gap.
//!
//! # Where a log goes on elsewhere
//! A partition that was taken over from its writer (see [`topic`](crate::topic)) goes on in another lease. A consumer that has read
//! all of one goes on in the next by itself, at the next offset; a poll ends at the seam, the next one is behind it. What was
//! handed out before and is not released stays held in the lease before, so that it comes again if nobody commits it. That can be
//! one lease: behind two seams with nothing released the consumer is told [`PollError::Unreleased`] until it commits.
//! Offsets, commits and [`lag`](Consumer::lag) count across the seam, and seeking goes to whatever lease has the place, as long as
//! that is there. A group that came to an old lease only after it was sealed has no place in the next one; if records there were
//! given up before it came, it is told how many ([`PollError::Lagging`]).
//!
//! ```
//! # #[cfg(feature = "std")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use fabric_mq::consumer::{Consumer, Otherwise, SeekPolicy};
//! use fabric_mq::offset::MemOffsetStore;
//! use fabric_mq::producer::Producer;
//! use fabric_mq::topic::{TopicConfig, TopicManager};
//!
//! let topics = TopicManager::new();
//! topics.create("events", TopicConfig::default())?;
//! Producer::new("events").send(&topics, b"hello")?;
//!
//! let mut store = MemOffsetStore::new();
//! let mut consumer = Consumer::new("events", "my-group");
//! consumer.assign(&[0, 1, 2, 3]);
//! consumer.seek(&topics, &store, SeekPolicy::Committed { otherwise: Otherwise::Earliest })?;
//! for message in consumer.poll(&topics, 100)? {
//!     assert_eq!(message.payload(), b"hello");
//! }
//! consumer.commit(&topics, &mut store)?;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "std"))]
//! # fn main() {}
//! ```

mod error;
#[cfg(feature = "alloc")]
mod owned;
mod poll;
mod seam;
mod seek;
mod wait;
#[cfg(feature = "alloc")]
mod wait_owned;

pub use error::{CommitError, PollError};
pub use seek::{Otherwise, SeekPolicy};
pub use wait::Ready;
#[cfg(feature = "alloc")]
pub use wait_owned::NextBatch;

use crate::name::Name;
use crate::offset::OffsetStore;
use crate::partition::{Cursor, Hold, group_name};
use crate::topic::{TopicError, Topics};
use crate::types::{Offset, Ticks};
use core::fmt;
pub(crate) use seam::Way;

/// When records that were handed out are released.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum ReleaseOn {
    /// By [`Consumer::commit`]. A group that does not commit holds everything, until its partitions are full.
    Commit,
    /// By the next poll.
    #[default]
    Poll,
}

/// Reads some partitions of one topic for a group. Has places for `P` partitions, in place.
pub struct Consumer<N, S: Topics, const P: usize = 16> {
    topic: N,
    group: Result<Name, PollError>,
    handle: Option<S::Handle>,
    places: heapless::Vec<Place<S::Hold>, P>,
    /// How many partitions were assigned, if there are not that many places.
    excess: Option<usize>,
    /// Which place the next poll starts with.
    turn: usize,
    release_on: ReleaseOn,
    fail_on_loss: bool,
    /// Whether every assigned partition's place is taken.
    settled: bool,
    /// After how long a sleep it looks by itself.
    recheck: Ticks,
    /// Whether there may be something to tell: `pending`, or a place's loss.
    news: bool,
    /// Whether a place may have read all of its lease, and the log goes on in another one.
    seam: bool,
    /// What stopped a poll that had something to hand out: for the next one to tell.
    pending: Option<PollError>,
}

struct Place<H: Hold> {
    partition: u32,
    paused: bool,
    cursor: Option<Cursor<H>>,
    /// Records lost in all.
    lost: u64,
    /// Those of them that were not told yet.
    untold: u64,
}

impl<N: AsRef<str>, S: Topics> Consumer<N, S> {
    /// A consumer with places for 16 partitions. Names are checked, and the topic looked for, when it first reads; the
    /// kind of topics follows from that.
    ///
    /// A group's name has 1 to 63 characters `A-Z a-z 0-9 . _ -`, and does not begin with a dot.
    #[must_use]
    pub fn new(topic: N, group: &str) -> Self {
        Self::with_places(topic, group)
    }
}

impl<N: AsRef<str>, S: Topics, const P: usize> Consumer<N, S, P> {
    /// A consumer with places for `P` partitions: about 260 bytes each on a 64-bit target.
    #[must_use]
    pub fn with_places(topic: N, group: &str) -> Self {
        Self {
            topic,
            group: group_name(group).map_err(PollError::Group),
            handle: None,
            places: heapless::Vec::new(),
            excess: None,
            turn: 0,
            release_on: ReleaseOn::Poll,
            fail_on_loss: true,
            settled: false,
            recheck: wait::RECHECK,
            news: false,
            seam: false,
            pending: None,
        }
    }

    /// Sets when records are released.
    #[must_use]
    pub fn with_release_on(mut self, release_on: ReleaseOn) -> Self {
        self.release_on = release_on;
        self
    }

    /// Sets whether a poll says so when records were lost. If not, they are only counted ([`lost`](Self::lost)).
    #[must_use]
    pub fn with_fail_on_loss(mut self, fail_on_loss: bool) -> Self {
        self.fail_on_loss = fail_on_loss;
        self
    }

    /// Sets after how long a sleep [`wait_until`](Self::wait_until) looks by itself, as if woken: for leases that end, and clocks
    /// that are set forward. In milliseconds of real time, 1 at least. Default: 100 ms.
    #[must_use]
    pub fn with_recheck(mut self, recheck: Ticks) -> Self {
        self.recheck = recheck.max(Ticks::from_millis(1));
        self
    }

    /// The topic's name.
    pub fn topic(&self) -> &str {
        self.topic.as_ref()
    }

    /// Says which partitions to read, instead of those before. Places in partitions that stay are kept; in those that go
    /// they are given up, so that another member of the group can take them, and still hold the group's records.
    ///
    /// More partitions than there are places are told at the next call that reads ([`PollError::Assignment`]).
    pub fn assign(&mut self, partitions: &[u32]) {
        self.places.retain_mut(|place| {
            let stays = partitions.contains(&place.partition);
            if !stays {
                place.park();
            }
            stays
        });
        self.excess = None;
        self.settled = false;
        for &partition in partitions {
            if self.places.iter().any(|place| place.partition == partition) {
                continue;
            }
            let place = Place { partition, paused: false, cursor: None, lost: 0, untold: 0 };
            if self.places.push(place).is_err() {
                self.excess = Some(partitions.len());
            }
        }
    }

    /// Takes the group's place in one more partition; if it cannot be had, nothing is changed.
    pub(crate) fn add(&mut self, topics: &S, partition: u32) -> Result<(), PollError> {
        if self.places.iter().any(|place| place.partition == partition) {
            return Ok(());
        }
        let group = self.group?;
        if self.places.is_full() {
            return Err(PollError::Assignment { wanted: P.saturating_add(1), max: P });
        }
        self.find(topics).map_err(PollError::Topic)?;
        let Some(handle) = &self.handle else { return Ok(()) };
        let (cursor, lost) = Way { topics, handle, name: self.topic.as_ref() }.join(partition, &group)?;
        self.news |= lost != 0;
        // There is room: it was looked for.
        let _ = self.places.push(Place { partition, paused: false, cursor: Some(cursor), lost, untold: lost });
        Ok(())
    }

    /// Gives one partition up. The group's place stays there, at `offset` if that is given and not released yet.
    pub(crate) fn remove(&mut self, partition: u32, offset: Option<Offset>) {
        self.places.retain_mut(|place| {
            let goes = place.partition == partition;
            if goes {
                if let (Some(cursor), Some(offset)) = (&mut place.cursor, offset) {
                    // If that is gone, the place stays where it was, which is behind it or before it, but never lost.
                    let sought = cursor.seek(offset);
                    if sought.is_err() && offset <= cursor.position() {
                        // What is behind it in the lease before, if that is still held.
                        let _ = cursor.release_to(offset);
                    }
                }
                place.park();
            }
            !goes
        });
    }

    /// The partitions it was assigned.
    pub fn assignment(&self) -> impl Iterator<Item = u32> {
        self.places.iter().map(|place| place.partition)
    }

    /// Leaves a partition out of polls until [`resume`](Self::resume). Answers whether it is assigned.
    pub fn pause(&mut self, partition: u32) -> bool {
        self.set_paused(partition, true)
    }

    /// Takes a partition into polls again. Answers whether it is assigned.
    pub fn resume(&mut self, partition: u32) -> bool {
        self.set_paused(partition, false)
    }

    fn set_paused(&mut self, partition: u32, paused: bool) -> bool {
        let place = self.places.iter_mut().find(|place| place.partition == partition);
        place.map(|place| place.paused = paused).is_some()
    }

    /// The offset that comes next in a partition, if the consumer has its place there.
    #[must_use]
    pub fn position(&self, partition: u32) -> Option<Offset> {
        self.places.iter().find(|place| place.partition == partition)?.cursor.as_ref().map(Cursor::position)
    }

    /// Records given up before this consumer read them, in all its partitions.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.places.iter().fold(0, |sum, place| place.lost.saturating_add(sum))
    }

    /// The same of one partition.
    #[must_use]
    pub fn lost_in(&self, partition: u32) -> u64 {
        self.places.iter().find(|place| place.partition == partition).map_or(0, |place| place.lost)
    }

    /// Records that were not handed out yet, in all its partitions, paused ones too. Walks the slots that their writers have
    /// not noted yet.
    ///
    /// # Errors
    /// As [`seek`](Self::seek): places are taken if they were not.
    pub fn lag(&mut self, topics: &S) -> Result<u64, PollError> {
        self.ready_places(topics)?;
        let Some(handle) = &self.handle else { return Ok(0) };
        let way = Way { topics, handle, name: self.topic.as_ref() };
        self.places.iter().try_fold(0_u64, |sum, place| {
            let Some(cursor) = &place.cursor else { return Ok(sum) };
            Ok(sum.saturating_add(lag(&way, place.partition, cursor)?))
        })
    }

    /// Records of one assigned partition that were not handed out yet. Takes no place: where the consumer has none yet, those
    /// count that its group has not released, or all there are if the group was never there. Does not allocate or block.
    ///
    /// ```
    /// # #[cfg(feature = "std")]
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use fabric_mq::consumer::Consumer;
    /// # use fabric_mq::producer::Producer;
    /// # use fabric_mq::topic::{TopicConfig, TopicManager};
    /// # let topics = TopicManager::new();
    /// # topics.create("events", TopicConfig::new().with_partitions(2))?;
    /// let mut consumer = Consumer::new("events", "my-group");
    /// consumer.assign(&[0, 1]);
    /// let mut producer = Producer::new("events");
    /// producer.send_batch(&topics, [b"a", b"b", b"c"])?;
    /// assert_eq!((consumer.lag_in(&topics, 0)?, consumer.lag_in(&topics, 1)?), (2, 1));
    /// consumer.poll(&topics, 2)?;
    /// assert_eq!((consumer.lag_in(&topics, 0)?, consumer.lag_in(&topics, 1)?), (1, 0));
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "std"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// [`PollError::NotAssigned`], [`PollError::NoSuchPartition`]; [`PollError::Topic`] if the topic is unknown or was
    /// deleted; [`PollError::Group`].
    pub fn lag_in(&self, topics: &S, partition: u32) -> Result<u64, PollError> {
        let group = self.group.as_ref().map_err(|error| *error)?;
        let place = self.places.iter().find(|place| place.partition == partition);
        let place = place.ok_or(PollError::NotAssigned { partition })?;
        let name = self.topic.as_ref();
        let found;
        let handle = match &self.handle {
            Some(kept) => kept,
            None => {
                found = topics.find(name).map_err(PollError::Topic)?;
                &found
            }
        };
        let topic = topics.topic(handle, name).map_err(PollError::Topic)?;
        if let Some(cursor) = &place.cursor {
            return lag(&Way { topics, handle, name }, partition, cursor);
        }
        if Way::<S>::SEALABLE {
            Way { topics, handle, name }.follow(partition)?;
        }
        let partitions = topic.partition_count();
        let log = topic.partition(partition).ok_or(PollError::NoSuchPartition { partition, partitions })?;
        Ok(log.lag(group))
    }

    /// Notes in `store` how far each partition was handed out. Does not allocate, as far as the store does not.
    ///
    /// # Errors
    /// [`CommitError::Store`] if the store refuses, because it is further already for example. The other partitions are
    /// committed all the same; the first error is answered.
    pub fn commit<O: OffsetStore + ?Sized>(&mut self, topics: &S, store: &mut O) -> Result<(), CommitError> {
        let group = match self.group {
            Ok(group) => group,
            Err(PollError::Group(error)) => return Err(CommitError::Group(error)),
            Err(_) => return Ok(()),
        };
        self.find(topics).map_err(CommitError::Topic)?;
        let mut outcome = Ok(());
        for place in &mut self.places {
            let partition = place.partition;
            let Some(cursor) = &mut place.cursor else { continue };
            let mut done = store
                .commit(group.as_str(), self.topic.as_ref(), partition, cursor.position())
                .map_err(|error| CommitError::Store { partition, error });
            if done.is_ok() && self.release_on == ReleaseOn::Commit {
                done = cursor.release().map_err(|error| CommitError::Release { partition, error: error.into() });
            }
            outcome = outcome.and(done);
        }
        outcome
    }

    /// Gives up the group's places in the assigned partitions: nothing is held for the group any more. Merely dropping
    /// the consumer keeps them.
    ///
    /// # Errors
    /// [`PollError::Topic`] if the topic is unknown or deleted; [`PollError::Claimed`] if another consumer of the group
    /// has a partition.
    pub fn close(mut self, topics: &S) -> Result<(), PollError> {
        let group = self.group?;
        self.find(topics).map_err(PollError::Topic)?;
        let Some(handle) = &self.handle else { return Ok(()) };
        let topic = topics.topic(handle, self.topic.as_ref()).map_err(PollError::Topic)?;
        for place in &mut self.places {
            if Way::<S>::SEALABLE {
                // It has places in all leases of the log.
                Way { topics, handle, name: self.topic.as_ref() }.follow(place.partition)?;
            }
            // A cursor that is dropped leaves its place; where there is none, the place may be parked.
            if (place.cursor.take().is_none() || Way::<S>::SEALABLE)
                && let Some(partition) = topic.partition(place.partition)
            {
                partition.forget(&group).map_err(|error| PollError::join(place.partition, error))?;
            }
        }
        Ok(())
    }

    /// Looks for the topic, or looks whether it is still there.
    fn find(&mut self, topics: &S) -> Result<(), TopicError> {
        let name = self.topic.as_ref();
        match &self.handle {
            Some(handle) if topics.topic(handle, name).is_ok() => Ok(()),
            Some(_) => {
                // Told once. The next call looks for a topic of this name again, and takes places there.
                self.handle = None;
                self.settled = false;
                for place in &mut self.places {
                    place.cursor = None;
                }
                Err(TopicError::Deleted)
            }
            None => {
                self.handle = Some(topics.find(name)?);
                Ok(())
            }
        }
    }

    /// Sees to it that every assigned partition's place is taken.
    #[inline]
    fn ready_places(&mut self, topics: &S) -> Result<(), PollError> {
        match &self.handle {
            Some(handle) if self.settled && topics.topic(handle, self.topic.as_ref()).is_ok() => Ok(()),
            _ => self.make_ready(topics),
        }
    }

    #[cold]
    #[inline(never)]
    fn make_ready(&mut self, topics: &S) -> Result<(), PollError> {
        let group = self.group?;
        if let Some(wanted) = self.excess {
            return Err(PollError::Assignment { wanted, max: P });
        }
        self.find(topics).map_err(PollError::Topic)?;
        let Some(handle) = &self.handle else { return Ok(()) };
        let way = Way { topics, handle, name: self.topic.as_ref() };
        for place in self.places.iter_mut().filter(|place| place.cursor.is_none()) {
            let (cursor, lost) = way.join(place.partition, &group)?;
            place.cursor = Some(cursor);
            place.lose(lost);
            self.news |= lost != 0;
        }
        self.settled = true;
        Ok(())
    }
}

/// Records from where a cursor is to the end of the log.
fn lag<S: Topics>(way: &Way<'_, S>, partition: u32, cursor: &Cursor<S::Hold>) -> Result<u64, PollError> {
    let tail = if Way::<S>::SEALABLE { way.tail(partition)? } else { cursor.tail() };
    Ok(tail.value().saturating_sub(cursor.position().value()))
}

impl<H: Hold> Place<H> {
    fn park(&mut self) {
        if let Some(cursor) = self.cursor.take() {
            cursor.park();
        }
    }

    /// Notes a loss.
    fn lose(&mut self, lost: u64) {
        self.lost = self.lost.saturating_add(lost);
        self.untold = self.untold.saturating_add(lost);
    }
}

impl<H: Hold> Drop for Place<H> {
    fn drop(&mut self) {
        // The group keeps its place.
        self.park();
    }
}

impl<N: AsRef<str>, S: Topics, const P: usize> fmt::Debug for Consumer<N, S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let positions = self.places.iter().map(|place| (place.partition, place.cursor.as_ref().map(Cursor::position)));
        f.debug_struct("Consumer")
            .field("topic", &self.topic())
            .field("group", &self.group)
            .field("positions", &heapless::Vec::<_, P>::from_iter(positions))
            .finish_non_exhaustive()
    }
}
