//! Where groups have got to: stores of committed offsets.
//!
//! A committed offset is that of the first record a group has not dealt with. It does not keep the record; that is what
//! a group's place in the partition does (see [`crate::consumer`]).
//!
//! [`StaticOffsetStore`] and `MemOffsetStore` keep the offsets of one process, and believe whoever commits.
//! [`LeasedOffsets`] keeps them in a lease that processes can share, and takes a commit only from the party that owns the
//! partition at that moment: see [`crate::group`].

pub(crate) mod area;
mod cell;
pub(crate) mod claim;
pub(crate) mod layout;
mod leased;
#[cfg(feature = "alloc")]
mod memory;

pub use leased::LeasedOffsets;

#[cfg(feature = "alloc")]
pub use memory::MemOffsetStore;

use crate::error::LeaseError;
use crate::name::{MAX_NAME, MAX_TOPIC_NAME};
use crate::types::{Epoch, Offset};
use core::fmt;

/// Keeps the committed offset of each group in each partition.
pub trait OffsetStore {
    /// Notes that `group` has dealt with everything before `offset`. A lower offset than the one there is is refused.
    ///
    /// # Errors
    /// [`OffsetError::Behind`] if the store is further already, [`OffsetError::Full`] if it has no room.
    fn commit(&mut self, group: &str, topic: &str, partition: u32, offset: Offset) -> Result<(), OffsetError>;

    /// The committed offset, if there is one.
    ///
    /// # Errors
    /// [`OffsetError::Unavailable`] if a store on a medium cannot be read.
    fn committed(&self, group: &str, topic: &str, partition: u32) -> Result<Option<Offset>, OffsetError>;

    /// Sets the committed offset, back if need be; with `None` forgets it.
    ///
    /// # Errors
    /// [`OffsetError::Full`] if the store has no room.
    fn reset(&mut self, group: &str, topic: &str, partition: u32, offset: Option<Offset>) -> Result<(), OffsetError>;
}

/// Why an offset cannot be committed or read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum OffsetError {
    /// The store is further already.
    Behind {
        /// Where it is.
        committed: Offset,
    },
    /// The committed offset is damaged.
    Corrupt,
    /// The partition was taken over as often as its epochs can count.
    Exhausted,
    /// The store is another group's, or another topic's.
    Foreign,
    /// No room for another partition.
    Full {
        /// How many it has room for.
        limit: usize,
    },
    /// The lease that the store lies in refuses.
    Lease(LeaseError),
    /// A name is too long for the store.
    Name,
    /// The group has no such partition.
    NoSuchPartition {
        /// The one asked for.
        partition: u32,
        /// How many there are.
        partitions: u32,
    },
    /// The partition was not taken by this member, or was given up or lost before.
    NotClaimed {
        /// Which partition.
        partition: u32,
    },
    /// Somebody has taken the partition over: what this member commits does not count any more.
    Stale {
        /// The epoch under which this member had it.
        claimed: Epoch,
        /// The epoch it has now.
        current: Epoch,
    },
    /// The medium cannot be reached.
    Unavailable,
}

impl core::error::Error for OffsetError {}

impl fmt::Display for OffsetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind { committed } => {
                write!(f, "the store has offset {committed} already: reset it if the group is to go back")
            }
            Self::Corrupt => {
                f.write_str("the committed offset is damaged: reset it to where the group is known to have been")
            }
            Self::Exhausted => f.write_str(
                "the partition was taken over 2^24 times: format the group anew, and reset the offsets to those of the old one",
            ),
            Self::Foreign => f.write_str("the store is of another group or topic: use the one of this group and topic"),
            Self::Full { limit } => write!(f, "the store has room for {limit} partitions: make it larger"),
            Self::Lease(inner) => write!(f, "the store's lease: {inner}"),
            Self::Name => {
                write!(f, "group names have at most {MAX_NAME} bytes, topic names {MAX_TOPIC_NAME}: shorten it")
            }
            Self::NoSuchPartition { partition, partitions } => {
                write!(f, "there is no partition {partition}: the group has {partitions}, numbered from 0")
            }
            Self::NotClaimed { partition } => write!(
                f,
                "partition {partition} is not this member's: commit only between the events Assigned and Revoked or Lost"
            ),
            Self::Stale { claimed, current } => write!(
                f,
                "the partition was taken over: it was this member's under epoch {claimed}, and is at epoch {current} now; stop, its new owner goes on from the last commit that succeeded"
            ),
            Self::Unavailable => f.write_str("the store's medium cannot be reached: try again"),
        }
    }
}

impl From<LeaseError> for OffsetError {
    fn from(inner: LeaseError) -> Self {
        Self::Lease(inner)
    }
}

/// A store in place, for `N` partitions of all groups and topics together. No allocator; 216 bytes each.
///
/// ```
/// use fabric_mq::offset::{OffsetStore, StaticOffsetStore};
/// use fabric_mq::Offset;
///
/// let mut store: StaticOffsetStore<2> = StaticOffsetStore::new();
/// store.commit("group", "events", 0, Offset::new(7))?;
/// assert!(store.commit("group", "events", 0, Offset::new(6)).is_err());
/// assert_eq!(store.committed("group", "events", 0)?, Some(Offset::new(7)));
/// # Ok::<(), fabric_mq::offset::OffsetError>(())
/// ```
pub struct StaticOffsetStore<const N: usize> {
    rows: heapless::Vec<Row, N>,
}

struct Row {
    group: heapless::String<MAX_NAME>,
    topic: heapless::String<MAX_TOPIC_NAME>,
    partition: u32,
    offset: Offset,
}

impl Row {
    fn is(&self, group: &str, topic: &str, partition: u32) -> bool {
        self.partition == partition && self.group == group && self.topic == topic
    }
}

impl<const N: usize> StaticOffsetStore<N> {
    /// An empty store.
    #[must_use]
    pub const fn new() -> Self {
        Self { rows: heapless::Vec::new() }
    }

    fn put(&mut self, group: &str, topic: &str, partition: u32, offset: Offset) -> Result<(), OffsetError> {
        if let Some(row) = self.rows.iter_mut().find(|row| row.is(group, topic, partition)) {
            row.offset = offset;
            return Ok(());
        }
        let group = heapless::String::try_from(group).map_err(|_| OffsetError::Name)?;
        let topic = heapless::String::try_from(topic).map_err(|_| OffsetError::Name)?;
        self.rows.push(Row { group, topic, partition, offset }).map_err(|_| OffsetError::Full { limit: N })
    }
}

impl<const N: usize> OffsetStore for StaticOffsetStore<N> {
    fn commit(&mut self, group: &str, topic: &str, partition: u32, offset: Offset) -> Result<(), OffsetError> {
        match self.committed(group, topic, partition)? {
            Some(committed) if committed > offset => Err(OffsetError::Behind { committed }),
            _ => self.put(group, topic, partition, offset),
        }
    }

    fn committed(&self, group: &str, topic: &str, partition: u32) -> Result<Option<Offset>, OffsetError> {
        Ok(self.rows.iter().find(|row| row.is(group, topic, partition)).map(|row| row.offset))
    }

    fn reset(&mut self, group: &str, topic: &str, partition: u32, offset: Option<Offset>) -> Result<(), OffsetError> {
        match offset {
            Some(offset) => self.put(group, topic, partition, offset),
            None => {
                self.rows.retain(|row| !row.is(group, topic, partition));
                Ok(())
            }
        }
    }
}

impl<const N: usize> Default for StaticOffsetStore<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> fmt::Debug for StaticOffsetStore<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows.iter().map(|row| (&row.group, &row.topic, row.partition, row.offset));
        f.debug_list().entries(rows).finish()
    }
}
