//! The superblock: what a lease holds and in what shape. Parsed once, by consuming raw words into checked ones.

use super::layout::{self, MAGIC, MAX_READERS, Plan, SLOTS_LOG2, UNITS_LOG2, VERSION};
use crate::error::AttachError;
use crate::platform::atomic::Ordering;
use crate::platform::memory::Block;
use crate::types::{Epoch, LeaseId, Ticks};

/// The word that holds the CRC of those before it.
const CRC: usize = 15;

/// The magic as words.
const MAGIC_WORDS: [u32; 2] = {
    let [a, b, c, d, e, f, g, h] = MAGIC;
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
};

/// Bytes of the header.
const HEADER: u16 = 128;

/// A checked superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Superblock {
    pub(crate) needed: u32,
    pub(crate) keep: u8,
    pub(crate) slots_log2: u8,
    pub(crate) units_log2: u8,
    pub(crate) readers: u8,
    pub(crate) max_lag: u32,
    pub(crate) epoch: Epoch,
    pub(crate) number: u32,
    pub(crate) lease: LeaseId,
    pub(crate) formatted_at: Ticks,
}

/// Feeds the four little-endian bytes of `word` to a CRC-32C (Castagnoli), bit by bit: that is done to 60 bytes once per
/// attach, where a table would cost more than it saves.
pub(crate) const fn feed(mut crc: u32, word: u32) -> u32 {
    // Bits go in from the lowest one on, so all four bytes can go in at once.
    crc ^= word;
    let mut bits = 32_u32;
    while bits != 0 {
        crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        bits = bits.wrapping_sub(1);
    }
    crc
}

/// The CRC's register behind the magic.
const FED_MAGIC: u32 = feed(feed(u32::MAX, MAGIC_WORDS[0]), MAGIC_WORDS[1]);

#[allow(clippy::cast_possible_truncation, reason = "the halves of the value")]
const fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

const fn whole([low, high]: [u32; 2]) -> u64 {
    ((high as u64) << 32) | low as u64
}

impl Superblock {
    pub(crate) fn plan(&self) -> Option<Plan> {
        Plan::new(self.slots_log2, self.units_log2, self.readers)
    }

    /// Writes all but the magic to a block of zeros; with that, the lease becomes a ring.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "where the shape is known the words are, and their sum")]
    pub(crate) fn store(&self, block: Block) {
        let put = |index, word| block.word(index).store(word, Ordering::Relaxed);
        let lease = self.lease.value();
        #[allow(clippy::cast_possible_truncation, reason = "the halves of the value")]
        let ([l0, l1], [l2, l3]) = (halves(lease as u64), halves((lease >> 64) as u64));
        let [t0, t1] = halves(self.formatted_at.as_millis());
        put(2, u32::from(VERSION) | (u32::from(HEADER) << 16));
        if self.needed != 0 {
            put(layout::NEEDED, self.needed);
        }
        put(4, u32::from_le_bytes([self.keep, self.slots_log2, self.units_log2, self.readers]));
        put(5, self.max_lag);
        put(6, self.epoch.value());
        put(7, self.number);
        put(8, l0);
        put(9, l1);
        put(10, l2);
        put(11, l3);
        put(12, t0);
        put(13, t1);
        put(CRC, !(2..CRC).fold(FED_MAGIC, |crc, index| feed(crc, block.word(index).load(Ordering::Relaxed))));
    }

    /// Puts the magic before what was stored and is visible.
    pub(crate) fn store_magic(block: Block) {
        let [m0, m1] = MAGIC_WORDS;
        // SYNC(format): with `load`.
        block.word(0).store(m0, Ordering::Release);
        block.word(1).store(m1, Ordering::Release);
    }

    /// Takes the magic away: the lease is no ring until formatting is done.
    pub(crate) fn clear_magic(block: Block) {
        block.word(0).store(0, Ordering::Release);
    }

    /// Reads each word once and checks the copy. `known` are the features that the caller knows.
    pub(crate) fn load(block: Block, known: u32) -> Result<Self, AttachError> {
        let mut words = [0; CRC + 1];
        for (index, word) in words.iter_mut().enumerate() {
            // SYNC(format)
            *word = block.word(index).load(Ordering::Acquire);
        }
        let [said @ .., crc] = words;
        let [m0, m1, version, needed, shape, max_lag, epoch, number, l0, l1, l2, l3, t0, t1, _] = said;
        if [m0, m1] != MAGIC_WORDS {
            return Err(AttachError::NotARing);
        }
        let [v0, v1, h0, h1] = version.to_le_bytes();
        let version = u16::from_le_bytes([v0, v1]);
        if version != VERSION {
            return Err(AttachError::Version { found: version, known: VERSION });
        }
        if crc != !said.into_iter().fold(u32::MAX, feed) {
            return Err(AttachError::Corrupt(crate::error::Corrupt::new(crate::error::Check::SuperblockCrc, 0)));
        }
        if needed & !known != 0 {
            return Err(AttachError::Features { needed });
        }
        let [keep, slots_log2, units_log2, readers] = shape.to_le_bytes();
        let lease = (u128::from(whole([l2, l3])) << 64) | u128::from(whole([l0, l1]));
        let found = Self {
            needed,
            keep,
            slots_log2,
            units_log2,
            readers,
            max_lag,
            epoch: Epoch::new(epoch),
            number,
            lease: LeaseId::new(lease),
            formatted_at: Ticks::from_millis(whole([t0, t1])),
        };
        // The CRC is no proof against somebody who wants to harm: the shape is checked all the same.
        let fits = SLOTS_LOG2.contains(&slots_log2)
            && UNITS_LOG2.contains(&units_log2)
            && (1..=MAX_READERS).contains(&readers)
            && keep <= 1
            && u16::from_le_bytes([h0, h1]) == HEADER;
        if fits {
            Ok(found)
        } else {
            Err(AttachError::Corrupt(crate::error::Corrupt::new(crate::error::Check::Geometry, 0)))
        }
    }
}

const _: () = assert!(layout::BOUNDS_AT >= (CRC + 1) * 4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_matches_the_published_check_value() {
        // RFC 3720 B.4: 32 bytes of zeros, of ones, rising, and falling.
        let words = |byte: fn(u8) -> u8| -> [u32; 8] {
            core::array::from_fn(|word| u32::from_le_bytes(core::array::from_fn(|at| byte((word * 4 + at) as u8))))
        };
        let crc32c = |byte| !words(byte).into_iter().fold(u32::MAX, feed);
        assert_eq!(crc32c(|_| 0), 0x8a91_36aa);
        assert_eq!(crc32c(|_| 0xff), 0x62a8_ab43);
        assert_eq!(crc32c(|at| at), 0x46dd_794e);
        assert_eq!(crc32c(|at| 31 - at), 0x113f_db5c);
    }
}
