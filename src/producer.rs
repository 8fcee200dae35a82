//! Producers: who sends.

#[cfg(feature = "postcard")]
mod typed;

#[cfg(feature = "postcard")]
pub use typed::TypedError;

use crate::error::{Corrupt, LeaseError, WriteError};
use crate::message::layout::{STAMPED_AND_KEYED, TIMESTAMP, before_key};
use crate::message::{MessageError, Record};
use crate::partition::{AppendError, Hold, Outcome, Partition};
use crate::platform::bell::Desk;
use crate::topic::{TopicError, TopicRef, Topics, partition_of};
use crate::types::{Offset, Ticks};
use core::fmt;

/// Sends to one topic. Cheap: make one for each thread.
///
/// It finds its topic at the first send and keeps it, so later sends look nothing up. No send allocates; none blocks but
/// under [`FullPolicy::Wait`](crate::partition::FullPolicy::Wait). Every send wakes the consumers that wait for records of the
/// partition: that takes a fence and a load if none does, and runs the wakers of those that are tasks.
///
/// ```
/// # #[cfg(feature = "std")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use fabric_mq::producer::Producer;
/// use fabric_mq::topic::{TopicConfig, TopicManager, partition_of};
///
/// let topics = TopicManager::new();
/// topics.create("events", TopicConfig::default())?;
/// let mut producer = Producer::new("events");
/// assert_eq!(producer.send(&topics, b"to partition 0")?.partition, 0);
/// assert_eq!(producer.send(&topics, b"to partition 1")?.partition, 1);
/// let receipt = producer.send_keyed(&topics, b"sensor-7", b"always together")?;
/// assert_eq!(receipt.partition, partition_of(b"sensor-7", 4));
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "std"))]
/// # fn main() {}
/// ```
pub struct Producer<N, S: Topics> {
    name: N,
    handle: Option<S::Handle>,
    next: u32,
}

/// Where a record went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SendReceipt {
    /// The partition.
    pub partition: u32,
    /// What became of it there.
    pub outcome: Outcome,
}

impl SendReceipt {
    /// The record's number in the partition, unless the partition dropped it.
    #[must_use]
    pub const fn offset(&self) -> Option<Offset> {
        self.outcome.offset()
    }
}

impl<N: AsRef<str>, S: Topics> Producer<N, S> {
    /// A producer for the topic of this name, which need not exist yet. The kind of topics follows from the first send.
    #[must_use]
    pub const fn new(topic: N) -> Self {
        Self { name: topic, handle: None, next: 0 }
    }

    /// The topic's name.
    pub fn topic(&self) -> &str {
        self.name.as_ref()
    }

    /// Sends a payload to the partitions in turn.
    ///
    /// # Errors
    /// [`SendError::Full`] or [`SendError::TimedOut`] as the topic's policy says; [`SendError::TooLarge`];
    /// [`SendError::Topic`] if the topic is unknown or was deleted; [`SendError::Lease`] if the partition's lease has
    /// ended; [`SendError::ReadOnly`] if the topic was opened to be read; [`SendError::TakenOver`] if somebody else has taken the
    /// partition over; [`SendError::Corrupt`]. Nothing was sent then, and the next send goes to the next partition.
    pub fn send(&mut self, topics: &S, payload: &[u8]) -> Result<SendReceipt, SendError> {
        self.with_topic(topics, |topic, next| {
            let number = turn(next, topic);
            let (partition, timestamps) = pick(topic, number)?;
            let (true, Some(writer)) = (timestamps, partition.retaining()) else {
                return deliver(topics, topic.bell(), partition, timestamps, &Record::new(payload), None);
            };
            // What is sent most often, in the fewest steps.
            let time = topics.now();
            match writer.write_parts(TIMESTAMP, &[&time.as_millis().to_le_bytes(), payload]) {
                Ok(offset) => {
                    partition.announce(topic.bell());
                    Ok(SendReceipt { partition: number, outcome: Outcome::Stored(offset) })
                }
                Err(error) => hold_up(topics, topic.bell(), partition, &Record::new(payload), time, error),
            }
        })
    }

    /// Sends a payload with a key: the same key, the same partition, in order. The key travels with it.
    ///
    /// # Errors
    /// As [`send`](Self::send); [`SendError::Message`] if the key is too long.
    pub fn send_keyed(&mut self, topics: &S, key: &[u8], payload: &[u8]) -> Result<SendReceipt, SendError> {
        self.with_topic(topics, |topic, _| {
            let number = partition_of(key, topic.partition_count());
            let (partition, timestamps) = pick(topic, number)?;
            let (true, Some(writer)) = (timestamps, partition.retaining()) else {
                return deliver(topics, topic.bell(), partition, timestamps, &Record::new(payload).with_key(key), None);
            };
            // As above.
            let time = topics.now();
            let before = before_key(time, key).ok_or(SendError::Message(MessageError::Key { len: key.len() }))?;
            match writer.write_parts(STAMPED_AND_KEYED, &[&before, key, payload]) {
                Ok(offset) => {
                    partition.announce(topic.bell());
                    Ok(SendReceipt { partition: number, outcome: Outcome::Stored(offset) })
                }
                Err(error) => {
                    hold_up(topics, topic.bell(), partition, &Record::new(payload).with_key(key), time, error)
                }
            }
        })
    }

    /// Sends a payload to a partition.
    ///
    /// # Errors
    /// As [`send`](Self::send); [`SendError::NoSuchPartition`].
    #[inline]
    pub fn send_to(&mut self, topics: &S, partition: u32, payload: &[u8]) -> Result<SendReceipt, SendError> {
        self.send_record_to(topics, partition, Record::new(payload))
    }

    /// Sends a record: by its key if it has one, else to the partitions in turn.
    ///
    /// # Errors
    /// As [`send`](Self::send); [`SendError::Message`] if the record is not sound.
    pub fn send_record(&mut self, topics: &S, record: Record<'_>) -> Result<SendReceipt, SendError> {
        self.with_topic(topics, |topic, next| {
            let number = choose(next, &record, topic);
            let (partition, timestamps) = pick(topic, number)?;
            deliver(topics, topic.bell(), partition, timestamps, &record, None)
        })
    }

    /// Sends a record to a partition, whatever its key.
    ///
    /// # Errors
    /// As [`send_record`](Self::send_record); [`SendError::NoSuchPartition`].
    pub fn send_record_to(&mut self, topics: &S, partition: u32, record: Record<'_>) -> Result<SendReceipt, SendError> {
        self.with_topic(topics, |topic, _| {
            let (partition, timestamps) = pick(topic, partition)?;
            deliver(topics, topic.bell(), partition, timestamps, &record, None)
        })
    }

    /// Sends payloads or records one after the other, and answers how many. Those without a time of their own all get the
    /// time now. Other producers' records may come between them.
    ///
    /// # Errors
    /// [`BatchError`] says how many were sent before the first that was not. Records that the partition dropped (see
    /// [`FullPolicy::DropNewest`](crate::partition::FullPolicy::DropNewest)) count as sent.
    pub fn send_batch<'r, R: Into<Record<'r>>>(
        &mut self,
        topics: &S,
        records: impl IntoIterator<Item = R>,
    ) -> Result<usize, BatchError> {
        let now = Some(topics.now());
        let mut sent: usize = 0;
        let done = self.with_topic(topics, |topic, next| {
            for record in records {
                let record = record.into();
                let number = choose(next, &record, topic);
                let (partition, timestamps) = pick(topic, number)?;
                deliver(topics, topic.bell(), partition, timestamps, &record, now)?;
                sent = sent.saturating_add(1);
            }
            Ok(())
        });
        done.map(|()| sent).map_err(|error| BatchError { sent, error })
    }

    /// Runs `f` on the topic, kept or looked up, and on the number of the partition whose turn it is.
    #[inline]
    fn with_topic<R>(
        &mut self,
        topics: &S,
        f: impl FnOnce(TopicRef<'_, S::Hold>, &mut u32) -> Result<R, SendError>,
    ) -> Result<R, SendError> {
        let name = self.name.as_ref();
        let handle = match &self.handle {
            Some(kept) => kept,
            None => self.handle.insert(topics.find(name).map_err(SendError::Topic)?),
        };
        match topics.topic(handle, name) {
            Ok(topic) => f(topic, &mut self.next),
            Err(error) => {
                // Told once; the next send looks for a topic of this name again.
                self.handle = None;
                Err(SendError::Topic(error))
            }
        }
    }
}

/// The partition of a record.
fn choose<H: Hold>(next: &mut u32, record: &Record<'_>, topic: TopicRef<'_, H>) -> u32 {
    record.key().map_or_else(|| turn(next, topic), |key| partition_of(key, topic.partition_count()))
}

/// The partition whose turn it is.
#[inline]
fn turn<H: Hold>(next: &mut u32, topic: TopicRef<'_, H>) -> u32 {
    let number = if topic.partition(*next).is_some() { *next } else { 0 };
    *next = number.wrapping_add(1);
    number
}

/// A partition by its number, and whether its records get the time.
#[inline]
fn pick<H: Hold>(topic: TopicRef<'_, H>, number: u32) -> Result<(&Partition<H>, bool), SendError> {
    match topic.partition(number) {
        Some(partition) => Ok((partition, topic.config().timestamps)),
        None => Err(SendError::NoSuchPartition { partition: number, partitions: topic.partition_count() }),
    }
}

/// Appends a record, and wakes who waits for it by `bell`. With `timestamps`, one without a time of its own gets the time `now`,
/// or the time it is now.
fn deliver<S: Topics>(
    topics: &S,
    bell: &Desk,
    partition: &Partition<S::Hold>,
    timestamps: bool,
    record: &Record<'_>,
    now: Option<Ticks>,
) -> Result<SendReceipt, SendError> {
    let time = match record.timestamp() {
        None if timestamps => Some(now.unwrap_or_else(|| topics.now())),
        own => own,
    };
    settle(bell, partition, record.with_parts(time, |tag, parts| partition.append(tag, parts, || topics.now())))
}

/// Goes on with a record that could not be appended at once.
#[cold]
#[inline(never)]
fn hold_up<S: Topics>(
    topics: &S,
    bell: &Desk,
    partition: &Partition<S::Hold>,
    record: &Record<'_>,
    time: Ticks,
    error: WriteError,
) -> Result<SendReceipt, SendError> {
    if partition.is_taken_over(error) && partition.goes_on() {
        // By this process, perhaps.
        let append = |tag, parts: &[&[u8]]| partition.append(tag, parts, || topics.now());
        return settle(bell, partition, record.with_parts(Some(time), append));
    }
    if error != WriteError::Full {
        return Err(refusal(partition, AppendError::Write(error)));
    }
    let when_full = |tag, parts: &[&[u8]]| partition.append_when_full(tag, parts, || topics.now());
    settle(bell, partition, record.with_parts(Some(time), when_full))
}

fn settle<H: Hold>(
    bell: &Desk,
    partition: &Partition<H>,
    outcome: Result<Result<Outcome, AppendError>, MessageError>,
) -> Result<SendReceipt, SendError> {
    if let Ok(Ok(Outcome::Stored(_))) = outcome {
        partition.announce(bell);
    }
    match outcome {
        Ok(Ok(outcome)) => Ok(SendReceipt { partition: partition.number(), outcome }),
        Ok(Err(error)) => Err(refusal(partition, error)),
        Err(error) => Err(SendError::Message(error)),
    }
}

/// Why a record was not sent, in a producer's words.
#[cold]
pub(crate) fn refusal<H: Hold>(partition: &Partition<H>, error: AppendError) -> SendError {
    let (log, partition) = (partition, partition.number());
    match error {
        AppendError::ReadOnly if log.had_writer() => SendError::TakenOver { partition },
        AppendError::Write(by) if log.is_taken_over(by) => SendError::TakenOver { partition },
        AppendError::ReadOnly => SendError::ReadOnly { partition },
        AppendError::TimedOut => SendError::TimedOut { partition },
        AppendError::Write(WriteError::Full) => SendError::Full { partition },
        AppendError::Write(WriteError::TooLarge { len, max }) => SendError::TooLarge { partition, len, max },
        AppendError::Write(WriteError::Corrupt(damage)) => SendError::Corrupt { partition, damage },
        AppendError::Write(WriteError::Lease(error)) => SendError::Lease { partition, error },
        AppendError::Write(WriteError::Sealed) => SendError::TakenOver { partition },
        AppendError::Write(WriteError::Indeterminate { offset }) => SendError::Indeterminate { partition, offset },
        AppendError::Write(WriteError::Exhausted | WriteError::Claimed) => SendError::Exhausted { partition },
    }
}

impl<N: AsRef<str>, S: Topics> fmt::Debug for Producer<N, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("topic", &self.topic()).field("next", &self.next).finish_non_exhaustive()
    }
}

/// Why a record was not sent. Nothing of it is in the partition, but for what is `Indeterminate`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SendError {
    /// The partition is damaged.
    Corrupt {
        /// Which partition.
        partition: u32,
        /// What is damaged.
        damage: Corrupt,
    },
    /// The partition's offsets are used up.
    Exhausted {
        /// Which partition.
        partition: u32,
    },
    /// The partition has no room.
    Full {
        /// Which partition.
        partition: u32,
    },
    /// A producer before it does not get on: it is in the partition once that one does, and never if the partition's log is
    /// ended before.
    Indeterminate {
        /// Which partition.
        partition: u32,
        /// The offset that it has then.
        offset: Offset,
    },
    /// The partition's lease has ended.
    Lease {
        /// Which partition.
        partition: u32,
        /// How.
        error: LeaseError,
    },
    /// The record is not sound.
    Message(MessageError),
    /// The topic has no such partition.
    NoSuchPartition {
        /// The one asked for.
        partition: u32,
        /// How many there are.
        partitions: u32,
    },
    /// The topic was opened to be read: somebody else writes to it.
    ReadOnly {
        /// Which partition.
        partition: u32,
    },
    /// Somebody else has taken the partition over, and goes on with it in another lease: what was sent before is in its log, this
    /// is not.
    TakenOver {
        /// Which partition.
        partition: u32,
    },
    /// There was no room for as long as the policy waits.
    TimedOut {
        /// Which partition.
        partition: u32,
    },
    /// The record does not fit into the partition.
    TooLarge {
        /// Which partition.
        partition: u32,
        /// Bytes it has, with its envelope.
        len: usize,
        /// Bytes possible.
        max: usize,
    },
    /// The topic cannot be used.
    Topic(TopicError),
}

impl core::error::Error for SendError {}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt { partition, damage } => {
                write!(f, "partition {partition} is damaged: {damage}; send to another one, and make the topic anew")
            }
            Self::Exhausted { partition } => {
                write!(f, "partition {partition} has used up its offsets: make the topic anew")
            }
            Self::Full { partition } => write!(
                f,
                "partition {partition} is full: let its consumers go on, give the topic more capacity or slots, or choose another full policy"
            ),
            Self::Indeterminate { partition, offset } => write!(
                f,
                "partition {partition}: a producer before this record does not commit; look later whether offset {offset} is there before sending it again"
            ),
            Self::Lease { partition, error } => write!(f, "partition {partition}: {error}"),
            Self::Message(inner) => write!(f, "{inner}"),
            Self::NoSuchPartition { partition, partitions } => {
                write!(f, "there is no partition {partition}: the topic has {partitions}, numbered from 0")
            }
            Self::ReadOnly { partition } => write!(
                f,
                "partition {partition} was opened to be read: send where its writer is, or take the writer's place over (TopicManager::promote) once that one is gone"
            ),
            Self::TakenOver { partition } => write!(
                f,
                "partition {partition} was taken over: somebody else goes on with it; stop sending, and read on, or take it over in turn (TopicManager::take_over)"
            ),
            Self::TimedOut { partition } => write!(
                f,
                "partition {partition} was full for as long as its policy waits: let its consumers go on, or wait longer"
            ),
            Self::TooLarge { partition, len, max } => write!(
                f,
                "the record has {len} bytes, partition {partition} takes {max}: split it, or give the topic a capacity of twice its size"
            ),
            Self::Topic(inner) => write!(f, "{inner}"),
        }
    }
}

/// How far a batch came, and why not further.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct BatchError {
    /// Records sent: those before the one that was refused.
    pub sent: usize,
    /// Why the next one was not.
    pub error: SendError,
}

impl core::error::Error for BatchError {}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} records of the batch: {}", self.sent, self.error)
    }
}
