//! Why a topic cannot be had.

use super::config::MAX_GROUPS;
use crate::error::{AttachError, ConfigError, LeaseError, NameError, SealError, WriteError};
use core::fmt;

/// Why a topic cannot be made, found or used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TopicError {
    /// A lease holds no ring that can be used.
    Attach {
        /// Of which partition.
        partition: u32,
        /// Why.
        error: AttachError,
    },
    /// No partition can have the size asked for.
    Config(ConfigError),
    /// A topic of dead letters must reject when it is full, and it was to do something else.
    DeadLetters,
    /// It was deleted since it was used last.
    Deleted,
    /// There is one of this name.
    Exists,
    /// The number of groups is out of range.
    Groups {
        /// How many were asked for.
        wanted: u8,
    },
    /// Memory for a partition cannot be leased, or not any longer.
    Lease {
        /// Which partition.
        partition: u32,
        /// Why.
        error: LeaseError,
    },
    /// There are more leases than partitions.
    Leases {
        /// How many leases were given.
        given: u32,
        /// How many partitions were asked for.
        partitions: u32,
    },
    /// It is still held: by a producer, a consumer or a handle.
    InUse,
    /// `max_lag` is set, but nothing is overwritten.
    MaxLag,
    /// Not a topic's name.
    Name(NameError),
    /// A topic of dead letters was to be one that can be taken over.
    NoTakeover,
    /// The number of partitions is out of range.
    Partitions {
        /// How many were asked for.
        wanted: u32,
        /// How many are possible.
        max: u32,
    },
    /// The log of a partition cannot be taken over.
    TakeOver {
        /// Which partition.
        partition: u32,
        /// Why.
        error: SealError,
    },
    /// The table of topics is full.
    TopicsFull {
        /// How many it has.
        limit: usize,
    },
    /// There is none of this name.
    Unknown,
    /// The writer's place of a partition cannot be had.
    Writer {
        /// Which partition.
        partition: u32,
        /// Why.
        error: WriteError,
    },
    /// A lease holds another partition.
    WrongPartition {
        /// The one looked for.
        wanted: u32,
        /// The one in the lease.
        found: u32,
    },
}

impl core::error::Error for TopicError {}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attach { partition, error } => write!(f, "partition {partition}: {error}"),
            Self::Config(inner) => write!(f, "no partition can have this size: {inner}"),
            Self::DeadLetters => f.write_str(
                "a topic of dead letters rejects when it is full, so that none is lost or waited for: choose FullPolicy::Reject",
            ),
            Self::Deleted => f.write_str("the topic was deleted: stop using it, or create it again and try again"),
            Self::Exists => f.write_str("there is a topic of this name: open it, or delete it first"),
            Self::Groups { wanted } => write!(f, "a topic has places for 1 to {MAX_GROUPS} groups, not for {wanted}"),
            Self::Lease { partition, error } => write!(f, "memory of partition {partition}: {error}"),
            Self::Leases { given, partitions } => write!(
                f,
                "{given} leases were given for {partitions} partitions: ask for as many partitions as the topic has, and give one lease for each"
            ),
            Self::InUse => f.write_str(
                "the topic is held by a producer, a consumer or a handle: drop those first, then detach it",
            ),
            Self::MaxLag => f.write_str(
                "max_lag is for topics that drop their oldest records: choose FullPolicy::DropOldest, or leave it at 0",
            ),
            Self::Name(inner) => write!(f, "not a topic's name: {inner}"),
            Self::NoTakeover => f.write_str(
                "a topic of dead letters cannot be made with takeover: leave it out, and let its holder's death decide (TopicManager::promote)",
            ),
            Self::Partitions { wanted, max } => write!(f, "a topic has 1 to {max} partitions here, not {wanted}"),
            Self::TakeOver { partition, error } => write!(f, "partition {partition} cannot be taken over: {error}"),
            Self::TopicsFull { limit } => {
                write!(f, "the table has room for {limit} topics: make it larger, or delete one")
            }
            Self::Unknown => f.write_str("there is no topic of this name: create it first"),
            Self::Writer { partition, error } => write!(f, "partition {partition}: {error}"),
            Self::WrongPartition { wanted, found } => write!(
                f,
                "the lease for partition {wanted} holds partition {found}: give the leases in the order of the partitions"
            ),
        }
    }
}

impl From<ConfigError> for TopicError {
    fn from(inner: ConfigError) -> Self {
        Self::Config(inner)
    }
}

impl From<NameError> for TopicError {
    fn from(inner: NameError) -> Self {
        Self::Name(inner)
    }
}
