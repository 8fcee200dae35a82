//! The word that says who owns a partition: one number, so that to look and to act are one instruction.

use super::OffsetError;
use crate::types::{Epoch, Offset};

/// Bits below the epoch: the owner's, and that of the copy.
const EPOCH_SHIFT: u32 = 8;
/// The last epoch.
pub(crate) const LAST_EPOCH: u32 = u32::MAX >> EPOCH_SHIFT;
const OWNERS: u32 = 0x7f;

/// Who owns a partition, under which epoch, and which copy of the committed offset is in use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ClaimWord(u32);

impl ClaimWord {
    pub(crate) const fn new(word: u32) -> Self {
        Self(word)
    }

    pub(crate) const fn raw(self) -> u32 {
        self.0
    }

    pub(crate) const fn epoch(self) -> Epoch {
        Epoch::new(self.0 >> EPOCH_SHIFT)
    }

    /// The owner's place.
    pub(crate) const fn owner(self) -> Option<u32> {
        ((self.0 >> 1) & OWNERS).checked_sub(1)
    }

    /// The copy in use, 0 or 1.
    pub(crate) const fn copy(self) -> usize {
        (self.0 & 1) as usize
    }

    /// The same with the other copy in use.
    pub(crate) const fn published(self) -> Self {
        Self(self.0 ^ 1)
    }

    /// The same without an owner.
    pub(crate) const fn given_back(self) -> Self {
        Self(self.0 & !(OWNERS << 1))
    }

    /// The next epoch, with this owner or none.
    pub(crate) fn next(self, owner: Option<u32>) -> Result<Self, OffsetError> {
        let epoch = self.epoch().value();
        if epoch >= LAST_EPOCH {
            return Err(OffsetError::Exhausted);
        }
        let owner = owner.map_or(0, |place| place.wrapping_add(1) & OWNERS);
        Ok(Self((epoch.wrapping_add(1) << EPOCH_SHIFT) | (owner << 1) | (self.0 & 1)))
    }
}

/// A partition that was taken: what goes with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Claim {
    /// Which partition.
    pub partition: u32,
    /// The epoch it was taken under. Nobody has had it before, and nobody will have it again.
    pub epoch: Epoch,
    /// Where the group has got to. If it is damaged, the partition is owned all the same, but nothing is committed until
    /// whoever knows where the group was says so ([`OffsetStore::reset`](super::OffsetStore::reset)).
    pub committed: Result<Option<Offset>, OffsetError>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_touch_each_other() {
        for epoch in [0, 1, 0x12_3456, LAST_EPOCH - 1] {
            for owner in [None, Some(0), Some(1), Some(126)] {
                for copy in [0, 1] {
                    let word = ClaimWord::new((epoch << 8) | copy).next(owner).unwrap();
                    assert_eq!((word.epoch().value(), word.owner(), word.copy()), (epoch + 1, owner, copy as usize));
                    let other = word.published();
                    assert_eq!((other.epoch(), other.owner(), other.copy()), (word.epoch(), owner, 1 - copy as usize));
                    let free = word.given_back();
                    assert_eq!((free.epoch(), free.owner(), free.copy()), (word.epoch(), None, copy as usize));
                    assert_eq!(ClaimWord::new(word.raw()), word);
                }
            }
        }
        assert_eq!(ClaimWord::new(u32::MAX).next(Some(3)), Err(OffsetError::Exhausted), "epochs never come round");
    }
}
