//! What can go wrong while consuming.

use crate::error::{Corrupt, JoinError, LeaseError, NameError, ReadError, SeekError};
use crate::offset::OffsetError;
use crate::topic::TopicError;
use core::fmt;

/// Why a consumer cannot go on. What was not handed out stays where it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PollError {
    /// More partitions were assigned than the consumer has places for.
    Assignment {
        /// How many were assigned.
        wanted: usize,
        /// How many places there are.
        max: usize,
    },
    /// Another consumer of the group has the partition.
    Claimed {
        /// Which partition.
        partition: u32,
    },
    /// A record is damaged; the consumer stands before it.
    Corrupt {
        /// In which partition.
        partition: u32,
        /// What is damaged, and at which offset.
        damage: Corrupt,
    },
    /// Not a group's name.
    Group(NameError),
    /// The partition has no place for another group.
    GroupsFull {
        /// Which partition.
        partition: u32,
    },
    /// Records were given up before this group read them. Told once for each loss; the next poll goes on behind it.
    Lagging {
        /// In which partition.
        partition: u32,
        /// How many, exactly.
        lost: u64,
    },
    /// The partition's lease has ended.
    Lease {
        /// Which partition.
        partition: u32,
        /// How.
        error: LeaseError,
    },
    /// The topic has no such partition.
    NoSuchPartition {
        /// The one assigned.
        partition: u32,
        /// How many there are.
        partitions: u32,
    },
    /// The partition is not assigned to this consumer.
    NotAssigned {
        /// Which partition.
        partition: u32,
    },
    /// The record must be copied, and the buffer is too small for it.
    Scratch {
        /// In which partition.
        partition: u32,
        /// Bytes needed.
        needed: usize,
    },
    /// The log of the partition was ended by somebody who goes on with it in another lease, which these topics cannot open:
    /// [`StaticTopics`](crate::topic::StaticTopics), say. All records before that were handed out.
    Sealed {
        /// Which partition.
        partition: u32,
    },
    /// The partition has no such place.
    Seek {
        /// Which partition.
        partition: u32,
        /// Why.
        error: SeekError,
    },
    /// The committed offset cannot be read.
    Store {
        /// Of which partition.
        partition: u32,
        /// Why.
        error: OffsetError,
    },
    /// The topic cannot be used.
    Topic(TopicError),
    /// The partition was taken over twice since records were last released: what was handed out before must be, before the
    /// consumer goes on.
    Unreleased {
        /// Which partition.
        partition: u32,
    },
    /// As many tasks wait for records of the topic as it has places for.
    WakersFull {
        /// How many it has.
        limit: usize,
    },
}

impl PollError {
    pub(crate) const fn join(partition: u32, error: JoinError) -> Self {
        match error {
            JoinError::Claimed => Self::Claimed { partition },
            JoinError::Corrupt(damage) => Self::Corrupt { partition, damage },
            JoinError::Lease(error) => Self::Lease { partition, error },
            JoinError::Name(error) => Self::Group(error),
            JoinError::ReadersFull { .. } => Self::GroupsFull { partition },
            JoinError::Seek(error) => Self::seek(partition, error),
        }
    }

    pub(crate) const fn seek(partition: u32, error: SeekError) -> Self {
        match error {
            SeekError::Corrupt(damage) => Self::Corrupt { partition, damage },
            SeekError::Lease(error) => Self::Lease { partition, error },
            error => Self::Seek { partition, error },
        }
    }

    pub(crate) const fn read(partition: u32, error: ReadError) -> Self {
        match error {
            ReadError::Buffer { needed } => Self::Scratch { partition, needed },
            ReadError::Corrupt(damage) => Self::Corrupt { partition, damage },
            ReadError::Lease(error) => Self::Lease { partition, error },
            ReadError::Sealed => Self::Sealed { partition },
            ReadError::Overrun { lost } => Self::Lagging { partition, lost },
        }
    }
}

impl core::error::Error for PollError {}

impl fmt::Display for PollError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Assignment { wanted, max } => write!(
                f,
                "{wanted} partitions were assigned, the consumer has {max} places: make it with Consumer::with_places, or assign fewer"
            ),
            Self::Claimed { partition } => write!(
                f,
                "another consumer of the group has partition {partition}: drop it, assign another partition, or join another group"
            ),
            Self::Corrupt { partition, damage } => {
                write!(f, "partition {partition} is damaged: {damage}; seek behind it to go on")
            }
            Self::Group(inner) => {
                write!(f, "not a group's name (up to 63 characters, not beginning with a dot): {inner}")
            }
            Self::GroupsFull { partition } => write!(
                f,
                "partition {partition} has no place for another group: close a consumer of a group that is done, or create the topic with more groups"
            ),
            Self::Lagging { partition, lost } => write!(
                f,
                "{lost} records of partition {partition} were given up before this group read them: poll again to go on, poll more often, or give the topic more room"
            ),
            Self::Lease { partition, error } => write!(f, "partition {partition}: {error}"),
            Self::NoSuchPartition { partition, partitions } => write!(
                f,
                "there is no partition {partition}: the topic has {partitions}, numbered from 0; assign those"
            ),
            Self::NotAssigned { partition } => {
                write!(f, "partition {partition} is not assigned to this consumer: assign it first")
            }
            Self::Scratch { partition, needed } => write!(
                f,
                "partition {partition} hands records out by copy, and the next one has {needed} bytes: use poll_into or seek_with and a buffer of that size"
            ),
            Self::Sealed { partition } => write!(
                f,
                "the log of partition {partition} goes on in another lease: open that one (Ring::seal names it), or read through a TopicManager, which does"
            ),
            Self::Seek { partition, error } => write!(f, "partition {partition}: {error}"),
            Self::Store { partition, error } => {
                write!(f, "the committed offset of partition {partition} cannot be read: {error}")
            }
            Self::Topic(inner) => write!(f, "{inner}"),
            Self::Unreleased { partition } => write!(
                f,
                "partition {partition} was taken over twice since records were released: commit what was handed out, then poll again"
            ),
            Self::WakersFull { limit } => write!(
                f,
                "{limit} tasks wait for records of the topic, which is all it has places for: let a task consume more partitions, or create the topic with more groups"
            ),
        }
    }
}

/// Why offsets were not committed. Those of other partitions were.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CommitError {
    /// The group's name is none.
    Group(NameError),
    /// The offset was committed, but the records before it could not be released.
    Release {
        /// Of which partition.
        partition: u32,
        /// Why.
        error: SeekError,
    },
    /// The store refused.
    Store {
        /// The offset of which partition.
        partition: u32,
        /// Why.
        error: OffsetError,
    },
    /// The topic cannot be used.
    Topic(TopicError),
}

impl core::error::Error for CommitError {}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(inner) => {
                write!(f, "not a group's name (up to 63 characters, not beginning with a dot): {inner}")
            }
            Self::Release { partition, error } => {
                write!(f, "the records of partition {partition} could not be released: {error}")
            }
            Self::Store { partition, error } => {
                write!(f, "the offset of partition {partition} was not committed: {error}")
            }
            Self::Topic(inner) => write!(f, "{inner}"),
        }
    }
}
