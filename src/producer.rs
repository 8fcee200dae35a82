//! Producers: who sends.

use crate::error::{Corrupt, LeaseError, WriteError};
use crate::message::{MessageError, Record};
use crate::partition::{AppendError, Outcome, Partition};
use crate::topic::{TopicError, TopicRef, Topics, partition_of};
use crate::types::Offset;
use core::fmt;

/// Sends to one topic. Cheap: make one for each thread.
///
/// It finds its topic at the first send and keeps it, so later sends look nothing up. No send allocates; none blocks but
/// under [`FullPolicy::Wait`](crate::partition::FullPolicy::Wait).
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
    /// ended; [`SendError::Corrupt`]. Nothing was sent then, and the next send goes to the next partition.
    #[inline]
    pub fn send(&mut self, topics: &S, payload: &[u8]) -> Result<SendReceipt, SendError> {
        self.send_record(topics, Record::new(payload))
    }

    /// Sends a payload with a key: the same key, the same partition, in order. The key travels with it.
    ///
    /// # Errors
    /// As [`send`](Self::send); [`SendError::Message`] if the key is too long.
    #[inline]
    pub fn send_keyed(&mut self, topics: &S, key: &[u8], payload: &[u8]) -> Result<SendReceipt, SendError> {
        self.send_record(topics, Record::new(payload).with_key(key))
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
    #[inline]
    pub fn send_record(&mut self, topics: &S, record: Record<'_>) -> Result<SendReceipt, SendError> {
        self.with_topic(topics, |topic, next| {
            let number = choose(next, &record, topic.partition_count());
            deliver(topics, topic, number, record)
        })
    }

    /// Sends a record to a partition, whatever its key.
    ///
    /// # Errors
    /// As [`send_record`](Self::send_record); [`SendError::NoSuchPartition`].
    pub fn send_record_to(&mut self, topics: &S, partition: u32, record: Record<'_>) -> Result<SendReceipt, SendError> {
        self.with_topic(topics, |topic, _| deliver(topics, topic, partition, record))
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
        let now = topics.now();
        let mut sent: usize = 0;
        let done = self.with_topic(topics, |topic, next| {
            for record in records {
                let record = record.into();
                let number = choose(next, &record, topic.partition_count());
                let stamped = match record.timestamp() {
                    None if topic.config().timestamps => record.with_timestamp(now),
                    _ => record,
                };
                deliver(topics, topic, number, stamped)?;
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
#[inline]
fn choose(next: &mut u32, record: &Record<'_>, partitions: u32) -> u32 {
    if let Some(key) = record.key() {
        return partition_of(key, partitions);
    }
    let number = if *next < partitions { *next } else { 0 };
    *next = number.wrapping_add(1);
    number
}

#[inline]
fn deliver<S: Topics>(
    topics: &S,
    topic: TopicRef<'_, S::Hold>,
    number: u32,
    record: Record<'_>,
) -> Result<SendReceipt, SendError> {
    let partitions = topic.partition_count();
    let partition = topic.partition(number).ok_or(SendError::NoSuchPartition { partition: number, partitions })?;
    let stamped = match record.timestamp() {
        None if topic.config().timestamps => record.with_timestamp(topics.now()),
        _ => record,
    };
    let outcome =
        stamped.with_parts(|tag, parts| partition.append(tag, parts, || topics.now())).map_err(SendError::Message)?;
    match outcome {
        Ok(outcome) => Ok(SendReceipt { partition: number, outcome }),
        Err(error) => Err(refusal(partition, error)),
    }
}

#[cold]
fn refusal<H: crate::partition::Hold>(partition: &Partition<H>, error: AppendError) -> SendError {
    let partition = partition.number();
    match error {
        AppendError::TimedOut => SendError::TimedOut { partition },
        AppendError::Write(WriteError::Full) => SendError::Full { partition },
        AppendError::Write(WriteError::TooLarge { len, max }) => SendError::TooLarge { partition, len, max },
        AppendError::Write(WriteError::Corrupt(damage)) => SendError::Corrupt { partition, damage },
        AppendError::Write(WriteError::Lease(error)) => SendError::Lease { partition, error },
        AppendError::Write(WriteError::Exhausted | WriteError::Claimed) => SendError::Exhausted { partition },
    }
}

impl<N: AsRef<str>, S: Topics> fmt::Debug for Producer<N, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("topic", &self.topic()).field("next", &self.next).finish_non_exhaustive()
    }
}

/// Why a record was not sent. Nothing of it is in the partition.
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
            Self::Lease { partition, error } => write!(f, "partition {partition}: {error}"),
            Self::Message(inner) => write!(f, "{inner}"),
            Self::NoSuchPartition { partition, partitions } => {
                write!(f, "there is no partition {partition}: the topic has {partitions}, numbered from 0")
            }
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
