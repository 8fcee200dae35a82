//! What can go wrong with records and registries.

use super::layout::{MAX_PARTITIONS, MAX_TOPICS, VERSION};
use crate::error::LeaseError;
use crate::topic::TopicError;
use crate::types::{Epoch, Generation};
use crate::uri::UriError;
use core::fmt;

/// Why bytes are no record of a locator, or a locator no bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RecordError {
    /// The buffer is too small for it.
    Buffer {
        /// Bytes needed.
        needed: usize,
    },
    /// Its checksum does not match.
    Crc,
    /// What it says cannot be, though its checksum matches.
    Field,
    /// It is shorter or longer than it says, or than any record is.
    Length,
    /// It does not begin as records do.
    NotARecord,
    /// It has more partitions than there is room for.
    Partitions {
        /// How many it has.
        found: u32,
        /// How many there is room for.
        max: u32,
    },
    /// A topic cannot be located by what is known of it.
    Topic(TopicError),
    /// One of its names is none.
    Uri(UriError),
    /// It has another version.
    Version {
        /// Which one.
        found: u16,
    },
}

impl core::error::Error for RecordError {}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Buffer { needed } => write!(f, "the record has {needed} bytes: give it a buffer of that size"),
            Self::Crc => f.write_str("the record's checksum does not match: have it published again"),
            Self::Field => f.write_str(
                "the record says what cannot be: whoever wrote it is not to be trusted; have it published again",
            ),
            Self::Length => {
                f.write_str("the record is cut off, or has something behind it: give all of it, and nothing else")
            }
            Self::NotARecord => {
                f.write_str("these bytes are no locator's record: read them from where one was written")
            }
            Self::Partitions { found, max } => {
                write!(f, "the topic has {found} partitions, the locator room for {max}: use a larger Locator")
            }
            Self::Topic(inner) => write!(f, "{inner}"),
            Self::Uri(inner) => write!(f, "{inner}"),
            Self::Version { found } => {
                write!(f, "the record has version {found}, this library reads version {VERSION}: use a newer one")
            }
        }
    }
}

/// Why there is no registry in a lease.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RegistryError {
    /// Somebody is making it and does not come to an end.
    Busy,
    /// Its header is damaged.
    Damaged,
    /// It needs features this version does not know.
    Features {
        /// The feature bits.
        needed: u32,
    },
    /// The lease refuses.
    Lease(LeaseError),
    /// The lease holds none, or its formatting was cut off.
    NotARegistry,
    /// No registry has this shape.
    Shape,
    /// The lease has fewer bytes than the registry.
    TooShort {
        /// Bytes needed.
        needed: usize,
        /// Bytes there.
        found: usize,
    },
    /// The lease does not start on 8 bytes.
    Unaligned,
    /// It has another version.
    Version {
        /// Which one.
        found: u16,
    },
}

impl core::error::Error for RegistryError {}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("somebody is making the registry and does not come to an end: try again"),
            Self::Damaged => f.write_str("the registry's header is damaged: format the lease again"),
            Self::Features { needed } => {
                write!(f, "the registry needs features {needed:#x} that this version does not know: use a newer one")
            }
            Self::Lease(inner) => write!(f, "{inner}"),
            Self::NotARegistry => f.write_str("the lease holds no registry: format it"),
            Self::Shape => write!(
                f,
                "a registry has 1 to {MAX_TOPICS} topics of 1 to {MAX_PARTITIONS} partitions, with 2 to 256 bytes of names, and the target must be able to address it"
            ),
            Self::TooShort { needed, found } => {
                write!(f, "the lease has {found} bytes but the registry {needed}: lease more, or ask for fewer topics")
            }
            Self::Unaligned => f.write_str("the lease does not start at a multiple of 8 bytes: align its memory"),
            Self::Version { found } => {
                write!(f, "the registry has version {found}, this library reads version {VERSION}: use a newer one")
            }
        }
    }
}

impl From<LeaseError> for RegistryError {
    fn from(inner: LeaseError) -> Self {
        Self::Lease(inner)
    }
}

/// Why a topic cannot be located.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ResolveError {
    /// The entry changed all the time while it was read.
    Busy,
    /// An entry is damaged: it may be this topic's.
    Damaged {
        /// Which entry, from 0.
        entry: u32,
    },
    /// The registry's lease has ended.
    Lease(LeaseError),
    /// The topic has no such partition.
    NoSuchPartition {
        /// The one asked for.
        partition: u32,
        /// How many there are.
        partitions: u32,
    },
    /// The topic has more partitions than the answer has room for.
    Partitions {
        /// How many it has.
        found: u32,
        /// How many there is room for.
        max: u32,
    },
    /// The registry has an older record than was seen before: it was put back.
    Stale {
        /// What was seen.
        seen: Generation,
        /// What there is.
        found: Generation,
    },
    /// The topic was never published here, or withdrawn long ago.
    Unknown,
    /// The topic was withdrawn.
    Withdrawn {
        /// The generation in which it was.
        generation: Generation,
    },
}

impl core::error::Error for ResolveError {}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("the registry's entry changed all the time while it was read: try again"),
            Self::Damaged { entry } => write!(
                f,
                "entry {entry} of the registry is damaged, and may be this topic's: discard_damaged, and have it published again"
            ),
            Self::Lease(inner) => write!(f, "the registry: {inner}"),
            Self::NoSuchPartition { partition, partitions } => {
                write!(f, "there is no partition {partition}: the topic has {partitions}, numbered from 0")
            }
            Self::Partitions { found, max } => {
                write!(f, "the topic has {found} partitions, the locator room for {max}: use a larger Locator")
            }
            Self::Stale { seen, found } => write!(
                f,
                "the registry has generation {found} of the topic, but {seen} was seen before: it was put back, and is not to be believed; have the topic published again"
            ),
            Self::Unknown => f.write_str("the registry knows no topic of this address: publish it first"),
            Self::Withdrawn { generation } => {
                write!(f, "the topic was withdrawn in generation {generation}: wait until it is published again")
            }
        }
    }
}

impl From<LeaseError> for ResolveError {
    fn from(inner: LeaseError) -> Self {
        Self::Lease(inner)
    }
}

/// Why a topic was not published or withdrawn. The registry is as it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PublishError {
    /// Somebody who lives, or cannot be proven dead, has the entry.
    Busy,
    /// An entry is damaged: it may be this topic's.
    Damaged {
        /// Which entry, from 0.
        entry: u32,
    },
    /// The generations are used up.
    Exhausted,
    /// The same leases were published under a higher epoch: somebody has taken the topic over.
    Fenced {
        /// The epoch published.
        current: Epoch,
    },
    /// All entries are taken.
    Full {
        /// How many there are.
        limit: u32,
    },
    /// The registry's lease has ended.
    Lease(LeaseError),
    /// The names are longer than the registry's entries have room for.
    Names {
        /// Bytes of the record.
        needed: usize,
        /// Bytes of an entry's.
        max: usize,
    },
    /// The topic has none, or more partitions than the registry's entries.
    Partitions {
        /// How many it has.
        found: u32,
        /// How many an entry has room for.
        max: u32,
    },
    /// The generation is not above the one there is.
    Stale {
        /// The one there is.
        current: Generation,
    },
    /// The topic is not published.
    Unknown,
}

impl core::error::Error for PublishError {}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("somebody else is changing the registry, and is not proven dead: try again"),
            Self::Damaged { entry } => {
                write!(f, "entry {entry} of the registry is damaged, and may be this topic's: discard_damaged first")
            }
            Self::Exhausted => f.write_str("the topic has used up its 2^32 generations: choose another name"),
            Self::Fenced { current } => write!(
                f,
                "the topic's leases are published under epoch {current}: somebody has taken it over, this one is finished"
            ),
            Self::Full { limit } => {
                write!(f, "the registry has room for {limit} topics: make it larger, or withdraw one")
            }
            Self::Lease(inner) => write!(f, "the registry: {inner}"),
            Self::Names { needed, max } => write!(
                f,
                "the record has {needed} bytes, an entry room for {max}: shorten the names, or make the registry with_names"
            ),
            Self::Partitions { found, max } => write!(
                f,
                "the topic has {found} partitions, an entry room for 1 to {max}: make the registry with_partitions"
            ),
            Self::Stale { current } => {
                write!(f, "generation {current} is there already: publish a higher one, or use publish_next")
            }
            Self::Unknown => f.write_str("the registry knows no topic of this address: there is nothing to withdraw"),
        }
    }
}

impl From<LeaseError> for PublishError {
    fn from(inner: LeaseError) -> Self {
        Self::Lease(inner)
    }
}

impl From<ResolveError> for PublishError {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Damaged { entry } => Self::Damaged { entry },
            ResolveError::Lease(inner) => Self::Lease(inner),
            ResolveError::Unknown | ResolveError::Withdrawn { .. } => Self::Unknown,
            ResolveError::Busy
            | ResolveError::NoSuchPartition { .. }
            | ResolveError::Partitions { .. }
            | ResolveError::Stale { .. } => Self::Busy,
        }
    }
}
