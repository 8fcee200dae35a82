//! Frames: their head, their place, their check. See `layout`.

use super::layout::{GATHER, MAX_BODY, SLOT_SPREAD, SPREAD, remapped};
use crate::platform::crc::crc32c;

/// What a frame holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// A record.
    Data,
    /// A change of what is not a record.
    Change,
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) after_sync: bool,
    pub(super) more: bool,
    pub(super) tag: u8,
    pub(super) partition: u8,
    /// Bytes of the body.
    pub(super) len: usize,
}

const WIDE: u32 = 1 << 4;
/// What the checks of the two words start from.
const FIRST: u8 = 0xff;
const SECOND: u8 = 0xa5;

#[allow(clippy::cast_possible_truncation, reason = "parts of words, masked")]
impl Head {
    /// A change of `len` bytes.
    pub(super) const fn change(len: usize) -> Self {
        Self { kind: Kind::Change, after_sync: false, more: false, tag: 0, partition: 0, len }
    }

    /// Whether it takes the second word.
    const fn needs_wide(self) -> bool {
        self.tag > 15 || self.partition > 7 || self.len > 4095
    }

    /// Its words; the second one is there if the first says so.
    pub(super) const fn words(self, wide: bool) -> [u32; 2] {
        let kind = match self.kind {
            Kind::Data => 1,
            Kind::Change => 2,
        };
        let (tag, partition, len) = (self.tag as u32, self.partition as u32, self.len as u32);
        let wide = wide || self.needs_wide();
        let first = kind
            | ((self.after_sync as u32) << 2)
            | ((self.more as u32) << 3)
            | if wide { WIDE } else { 0 }
            | ((tag & 15) << 5)
            | ((partition & 7) << 9)
            | ((len & 0xfff) << 12);
        let second = if wide { (tag >> 4) | ((partition >> 3) << 4) | ((len >> 12) << 9) } else { 0 };
        [checked(FIRST, first), if wide { checked(SECOND, second) } else { 0 }]
    }

    /// Whether a first word says that there is a second one.
    pub(super) const fn is_wide(first: u32) -> bool {
        first & WIDE != 0
    }

    /// Whether a word is the first one of a head.
    pub(super) const fn is_first(word: u32) -> bool {
        matches!(word & 3, 1 | 2) && checked(FIRST, word & LOW) == word
    }

    /// Reads the words; `second` is only looked at if the first one says that it is there.
    pub(super) const fn parse(first: u32, second: u32) -> Option<Self> {
        if !Self::is_first(first) {
            return None;
        }
        let second = if !Self::is_wide(first) {
            0
        } else if checked(SECOND, second & LOW) == second && second & LOW < 1 << 21 {
            second & LOW
        } else {
            return None;
        };
        Some(Self {
            kind: if first & 3 == 1 { Kind::Data } else { Kind::Change },
            after_sync: first & 4 != 0,
            more: first & 8 != 0,
            tag: (((first >> 5) & 15) | ((second & 15) << 4)) as u8,
            partition: (((first >> 9) & 7) | (((second >> 4) & 31) << 3)) as u8,
            len: (((first >> 12) & 0xfff) | ((second >> 9) << 12)) as usize,
        })
    }
}

/// The bits of a word that its check covers.
const LOW: u32 = 0x00ff_ffff;

/// Bytes of a frame's head.
pub(super) const fn head_bytes(wide: bool) -> u32 {
    if wide { 8 } else { 4 }
}

/// Bytes of a whole frame, a multiple of `align`.
#[allow(clippy::cast_possible_truncation, reason = "the length has 24 bits, the unit at most 9")]
pub(super) const fn frame_bytes(wide: bool, len: usize, align: u32) -> u32 {
    let bytes = head_bytes(wide).wrapping_add(len as u32).wrapping_add(4);
    bytes.wrapping_add(align.wrapping_sub(1)) & !align.wrapping_sub(1)
}

const _: () = assert!(MAX_BODY + 1024 < u32::MAX as usize);

/// A word of 24 bits with its check: a CRC-8 with the polynomial x^8 + x^2 + x + 1, which finds any three wrong bits in up to
/// 119 (Koopman and Chakravarty, "Cyclic redundancy code polynomial selection for embedded networks", 2004).
#[allow(clippy::cast_possible_truncation, reason = "the bytes of a word")]
const fn checked(start: u8, bits: u32) -> u32 {
    let bytes = [bits as u8, (bits >> 8) as u8, (bits >> 16) as u8];
    let mut crc = start;
    let mut at = 0;
    while at < bytes.len() {
        #[allow(clippy::indexing_slicing, reason = "below 3, and nibbles")]
        {
            crc ^= bytes[at];
            crc = (crc << 4) ^ CHECKS[(crc >> 4) as usize];
            crc = (crc << 4) ^ CHECKS[(crc >> 4) as usize];
        }
        at = at.wrapping_add(1);
    }
    bits | ((crc as u32) << 24)
}

/// What each nibble leaves behind.
const CHECKS: [u8; 16] = {
    let mut table = [0; 16];
    let mut nibble = 0_u8;
    while nibble < 16 {
        let mut rest = nibble << 4;
        let mut bit = 0;
        while bit < 4 {
            rest = (rest << 1) ^ (0x07 & (rest >> 7).wrapping_neg());
            bit += 1;
        }
        #[allow(clippy::indexing_slicing, reason = "below 16")]
        {
            table[nibble as usize] = rest;
        }
        nibble += 1;
    }
    table
};

/// Where a frame lies: what its CRC covers besides its own bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Place {
    pub(super) id: u64,
    pub(super) number: u32,
    pub(super) at: u32,
    /// The CRC of the segment's header.
    pub(super) anchor: u32,
}

impl Place {
    /// The CRC so far, before the frame's own bytes.
    pub(super) fn seed(self) -> u32 {
        let [i0, i1, i2, i3, i4, i5, i6, i7] = self.id.to_le_bytes();
        let [n0, n1, n2, n3] = self.number.to_le_bytes();
        let [a0, a1, a2, a3] = self.at.to_le_bytes();
        let [c0, c1, c2, c3] = self.anchor.to_le_bytes();
        crc32c(0, &[i0, i1, i2, i3, i4, i5, i6, i7, n0, n1, n2, n3, a0, a1, a2, a3, c0, c1, c2, c3])
    }
}

/// The word that says, at the place of that seed, that the cursor in `slot`, done with everything before `committed`, is done
/// with one more.
pub(super) const fn step(seed: u32, slot: usize, committed: u64) -> u32 {
    seed ^ spread(committed) ^ slot_spread(slot)
}

/// From what offset the cursor in `slot` steps, if `word` at the place of that seed says that it does: the low half.
pub(super) const fn stepped(seed: u32, word: u32, slot: usize) -> u32 {
    (word ^ seed ^ slot_spread(slot)).wrapping_mul(GATHER)
}

#[allow(clippy::cast_possible_truncation, reason = "few cursors")]
const fn slot_spread(slot: usize) -> u32 {
    (slot as u32).wrapping_add(1).wrapping_mul(SLOT_SPREAD)
}

#[allow(clippy::cast_possible_truncation, reason = "the low half is meant")]
const fn spread(offset: u64) -> u32 {
    (offset as u32).wrapping_mul(SPREAD)
}

/// The check of a frame whose bytes, behind its seed, have the CRC `crc`.
pub(super) const fn trailer(crc: u32, kind: Kind, offset: u64) -> u32 {
    remapped(match kind {
        Kind::Data => crc ^ spread(offset),
        Kind::Change => crc,
    })
}

/// Which offset a record of that check has: its low half. Right for all but two in 2^32.
pub(super) const fn offset_of(trailer: u32, crc: u32) -> u32 {
    (trailer ^ crc).wrapping_mul(GATHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> impl Iterator<Item = Head> {
        let lens = [0, 1, 63, 64, 4095, 4096, 70_000, MAX_BODY];
        lens.into_iter().flat_map(|len| {
            [(0, 0), (15, 7), (16, 0), (255, 255), (3, 8)].into_iter().flat_map(move |(tag, partition)| {
                [(Kind::Data, false, false), (Kind::Data, true, true), (Kind::Change, true, false)]
                    .map(|(kind, after_sync, more)| Head { kind, after_sync, more, tag, partition, len })
            })
        })
    }

    #[test]
    fn heads_are_what_they_were() {
        for head in some() {
            for wide in [false, true] {
                let [first, second] = head.words(wide);
                assert_eq!(Head::parse(first, second), Some(head));
                assert_eq!(Head::is_wide(first), wide || head.needs_wide());
                // Bits of a word that is not there do not count.
                assert_eq!(Head::parse(first, !second), if Head::is_wide(first) { None } else { Some(head) });
            }
        }
        assert_eq!(Head::parse(0, 0), None);
        assert_eq!(Head::parse(u32::MAX, u32::MAX), None);
    }

    #[test]
    fn any_three_wrong_bits_of_a_head_are_found() {
        for head in some().step_by(7) {
            let [first, second] = head.words(false);
            for a in 0..32 {
                for b in 0..=a {
                    for c in 0..=b {
                        // The same bit twice is none.
                        let mask = 1_u32 << a ^ 1 << b ^ 1 << c;
                        assert!(!Head::is_first(first ^ mask), "{mask:#x}");
                        if Head::is_wide(first) {
                            assert_eq!(Head::parse(first, second ^ mask), None, "{mask:#x}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn checks_tell_offsets_and_places_apart() {
        let place = Place { id: 7, number: 3, at: 128, anchor: 0xdead_beef };
        for other in [
            Place { id: 8, ..place },
            Place { number: 4, ..place },
            Place { at: 132, ..place },
            Place { anchor: 0, ..place },
        ] {
            assert_ne!(place.seed(), other.seed());
        }
        for offset in [0, 1, 77, u64::from(u32::MAX), 1 << 40 | 5] {
            let said = trailer(0x1234_5678, Kind::Data, offset);
            assert_eq!(offset_of(said, 0x1234_5678), offset as u32);
            assert_eq!(stepped(place.seed(), step(place.seed(), 3, offset), 3), offset as u32);
        }
        assert_eq!(trailer(0, Kind::Change, 9), 1);
        assert_eq!(trailer(u32::MAX, Kind::Change, 9), u32::MAX - 1);
    }

    #[test]
    fn frames_end_with_their_check_in_the_last_unit() {
        for (wide, len, align, bytes) in
            [(false, 0, 4, 8), (false, 1, 4, 12), (true, 64, 4, 76), (false, 64, 32, 96), (false, 56, 64, 64)]
        {
            assert_eq!(frame_bytes(wide, len, align), bytes);
        }
    }
}
