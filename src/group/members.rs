//! The members of a group, as anybody sees them, and how far the group is behind.

use super::place::{Card, PlaceWord};
use crate::lease::Lease;
use crate::name::Name;
use crate::offset::OffsetError;
use crate::offset::area::Group;
use crate::partition::Hold;
use crate::topic::TopicRef;
use crate::types::{Epoch, Ticks};

/// A member, as anybody sees it. It may have died since.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct MemberInfo {
    /// The number of its place.
    pub place: u32,
    /// How often the place was taken.
    pub incarnation: Epoch,
    /// Its name, if its membership is static.
    pub name: Option<Name>,
    /// For how long it may be silent.
    pub session: Ticks,
}

impl<L: Lease> Group<L> {
    /// The members at present.
    pub fn members(&self) -> impl Iterator<Item = MemberInfo> + '_ {
        (0..self.places()).filter_map(|place| {
            let line = self.place(place)?;
            let word = PlaceWord::load(&line);
            if !word.is_held() {
                return None;
            }
            let card = Card::load(&line, word);
            Some(MemberInfo {
                place,
                incarnation: Epoch::new(word.incarnation()),
                name: card.and_then(|card| card.name),
                session: card.map_or_else(|| self.session(), |card| Ticks::from_millis(card.session.into())),
            })
        })
    }

    /// Records of one partition of its topic that the group has not committed: all there are if it never did. Walks the slots
    /// that their writer has not noted yet.
    ///
    /// # Errors
    /// As [`committed`](Self::committed); [`OffsetError::Foreign`] if the topic has another name.
    pub fn lag_in<H: Hold>(&self, topic: TopicRef<'_, H>, partition: u32) -> Result<u64, OffsetError> {
        if topic.name() != self.topic() {
            return Err(OffsetError::Foreign);
        }
        let partitions = topic.partition_count();
        let log = topic.partition(partition).ok_or(OffsetError::NoSuchPartition { partition, partitions })?;
        // What is gone cannot be caught up with.
        let from = self.committed(partition)?.unwrap_or_default().max(log.head());
        Ok(log.tail().value().saturating_sub(from.value()))
    }

    /// The same of all partitions together.
    ///
    /// # Errors
    /// As [`lag_in`](Self::lag_in).
    pub fn lag<H: Hold>(&self, topic: TopicRef<'_, H>) -> Result<u64, OffsetError> {
        (0..self.partitions()).try_fold(0_u64, |sum, partition| Ok(sum.saturating_add(self.lag_in(topic, partition)?)))
    }
}
