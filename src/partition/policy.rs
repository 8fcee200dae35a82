//! What a full partition does.

use crate::types::{Offset, Ticks};

/// What a partition does with a record that it has no room for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum FullPolicy {
    /// The new record is dropped, and counted; the sender sees it in its receipt.
    DropNewest,
    /// The oldest records give way, an eighth of the slots or of the bytes at a time; groups that had not read them are told how many they lost.
    DropOldest,
    /// The sender is told.
    #[default]
    Reject,
    /// The sender waits until there is room, at most this long, by the clock of the topics. With `std` it gives the
    /// processor away meanwhile, and looks again after 50 microseconds at the latest; without, it spins, so that somebody else
    /// (a core, an interrupt) must make room. Readers wake nobody when they make room: it would cost each of them something
    /// with each record.
    Wait {
        /// How long, from the beginning of the send.
        timeout: Ticks,
    },
}

impl FullPolicy {
    pub(crate) const fn overwrites(self) -> bool {
        matches!(self, Self::DropOldest)
    }
}

/// What became of a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// The partition was full, and its policy is [`FullPolicy::DropNewest`].
    Dropped,
    /// It is in the partition, under this number.
    Stored(Offset),
}

impl Outcome {
    /// The record's number, unless it was dropped.
    #[must_use]
    pub const fn offset(self) -> Option<Offset> {
        match self {
            Self::Dropped => None,
            Self::Stored(offset) => Some(offset),
        }
    }
}
