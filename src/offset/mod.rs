//! Where groups have got to: stores of committed offsets.
//!
//! A committed offset is that of the first record a group has not dealt with. It does not keep the record; that is what
//! a group's place in the partition does (see [`crate::consumer`]).

#[cfg(feature = "alloc")]
mod memory;

#[cfg(feature = "alloc")]
pub use memory::MemOffsetStore;

use crate::name::{MAX_NAME, MAX_TOPIC_NAME};
use crate::types::Offset;
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
    /// No room for another partition.
    Full {
        /// How many it has room for.
        limit: usize,
    },
    /// A name is too long for the store.
    Name,
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
            Self::Full { limit } => write!(f, "the store has room for {limit} partitions: make it larger"),
            Self::Name => {
                write!(f, "group names have at most {MAX_NAME} bytes, topic names {MAX_TOPIC_NAME}: shorten it")
            }
            Self::Unavailable => f.write_str("the store's medium cannot be reached: try again"),
        }
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
