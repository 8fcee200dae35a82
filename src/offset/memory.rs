//! A store on the heap.

use super::{OffsetError, OffsetStore};
use crate::platform::lock::Lock;
use crate::types::Offset;
use alloc::collections::BTreeMap;
use alloc::string::String;
use core::fmt;

/// Committed offsets of one group in one topic, by partition.
type Partitions = BTreeMap<u32, Offset>;

/// A store on the heap. Threads share it by reference: `&MemOffsetStore` is a store too.
///
/// Committing to a partition for the first time allocates; later commits do not.
///
/// ```
/// use fabric_mq::offset::{MemOffsetStore, OffsetStore};
/// use fabric_mq::Offset;
///
/// let store = MemOffsetStore::new();
/// (&store).commit("group", "events", 0, Offset::new(7))?;
/// assert_eq!(store.committed("group", "events", 0)?, Some(Offset::new(7)));
/// # Ok::<(), fabric_mq::offset::OffsetError>(())
/// ```
pub struct MemOffsetStore {
    // Groups, then topics: looked up by borrowed names.
    groups: Lock<BTreeMap<String, BTreeMap<String, Partitions>>>,
}

impl MemOffsetStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self { groups: Lock::new(BTreeMap::new()) }
    }

    fn with<R>(&self, group: &str, topic: &str, change: impl FnOnce(&mut Partitions) -> R) -> R {
        self.groups.with(|groups| {
            if let Some(partitions) = groups.get_mut(group).and_then(|topics| topics.get_mut(topic)) {
                return change(partitions);
            }
            change(groups.entry(group.into()).or_default().entry(topic.into()).or_default())
        })
    }
}

impl Default for MemOffsetStore {
    fn default() -> Self {
        Self::new()
    }
}

impl OffsetStore for &MemOffsetStore {
    fn commit(&mut self, group: &str, topic: &str, partition: u32, offset: Offset) -> Result<(), OffsetError> {
        self.with(group, topic, |partitions| {
            let committed = partitions.entry(partition).or_insert(offset);
            if *committed > offset {
                return Err(OffsetError::Behind { committed: *committed });
            }
            *committed = offset;
            Ok(())
        })
    }

    fn committed(&self, group: &str, topic: &str, partition: u32) -> Result<Option<Offset>, OffsetError> {
        Ok(self.groups.with(|groups| groups.get(group)?.get(topic)?.get(&partition).copied()))
    }

    fn reset(&mut self, group: &str, topic: &str, partition: u32, offset: Option<Offset>) -> Result<(), OffsetError> {
        self.with(group, topic, |partitions| match offset {
            Some(offset) => partitions.insert(partition, offset),
            None => partitions.remove(&partition),
        });
        Ok(())
    }
}

impl OffsetStore for MemOffsetStore {
    fn commit(&mut self, group: &str, topic: &str, partition: u32, offset: Offset) -> Result<(), OffsetError> {
        (&*self).commit(group, topic, partition, offset)
    }

    fn committed(&self, group: &str, topic: &str, partition: u32) -> Result<Option<Offset>, OffsetError> {
        (&self).committed(group, topic, partition)
    }

    fn reset(&mut self, group: &str, topic: &str, partition: u32, offset: Option<Offset>) -> Result<(), OffsetError> {
        (&*self).reset(group, topic, partition, offset)
    }
}

impl fmt::Debug for MemOffsetStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.groups.with(|groups| fmt::Debug::fmt(groups, f))
    }
}
