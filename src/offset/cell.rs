//! The committed offset of a partition: two copies, of which the claim's word says which one is in use.
//!
//! `layout` says why nobody who has lost the claim can harm the copy in use.

use super::OffsetError;
use super::area::Line;
use super::claim::{ClaimWord, LAST_EPOCH};
use super::layout::partition::{CLAIM, COPIES, DIGITS, TURN};
use crate::lease::Lease;
use crate::types::Offset;

/// Words of a copy: the digits, and their check.
type Copied = [u32; DIGITS + 1];

/// How often a word is tried again that somebody else has changed meanwhile. Others can do so once each for every commit
/// that they began and lost the claim in.
const TRIES: u32 = 1024;

/// The check of an offset that there is: the CRC-8 of its bytes, which finds any damage within one of them.
fn check_of(digits: [u8; DIGITS]) -> u8 {
    let crc = digits
        .iter()
        .fold(0_u8, |crc, digit| (0..8).fold(crc ^ digit, |crc, _| (crc << 1) ^ (0x07 & (crc >> 7).wrapping_neg())));
    crc ^ 0xa5
}

/// The digits and their check of an offset, or of none.
fn encode(offset: Option<Offset>) -> [u8; DIGITS + 1] {
    let [a, b, c, d, e, f, g, h] = offset.map_or([0; DIGITS], |offset| offset.value().to_le_bytes());
    let check = if offset.is_some() { check_of([a, b, c, d, e, f, g, h]) } else { 0 };
    [a, b, c, d, e, f, g, h, check]
}

/// What a copy says that was written under `epoch` or an earlier one.
fn decode(words: Copied, epoch: u32) -> Result<Option<Offset>, OffsetError> {
    let [first, ..] = words;
    let tag = first >> 8;
    if tag > epoch || words.iter().any(|word| word >> 8 != tag) {
        return Err(OffsetError::Corrupt);
    }
    let [a, b, c, d, e, f, g, h, check] = words.map(|word| {
        let [digit, ..] = word.to_le_bytes();
        digit
    });
    let digits = [a, b, c, d, e, f, g, h];
    match check {
        0 if digits == [0; DIGITS] => Ok(None),
        _ if check == check_of(digits) => Ok(Some(Offset::new(u64::from_le_bytes(digits)))),
        _ => Err(OffsetError::Corrupt),
    }
}

fn words_of<L: Lease>(line: &Line<'_, L>, copy: usize) -> Copied {
    let base = COPIES.get(copy).copied().unwrap_or_default();
    line.fetch(base, DIGITS + 1);
    let mut index = base;
    [(); DIGITS + 1].map(|()| {
        let word = line.peek(index);
        index = index.wrapping_add(1);
        word
    })
}

/// The committed offset, for the owner: nobody else changes the copy in use.
pub(crate) fn read<L: Lease>(line: &Line<'_, L>, word: ClaimWord) -> Result<Option<Offset>, OffsetError> {
    decode(words_of(line, word.copy()), word.epoch().value())
}

/// The claim and the committed offset, for anybody: as they stood at some moment of this call.
pub(crate) fn observe<L: Lease>(line: &Line<'_, L>) -> Result<(ClaimWord, Option<Offset>), OffsetError> {
    for _ in 0..TRIES {
        let turn = line.load(TURN);
        let word = ClaimWord::new(line.load(CLAIM));
        let committed = read(line, word);
        // A copy is touched only behind a change of `turn` (SYNC(group): whoever sees the copy's new word sees that too),
        // and the copy in use only after the claim's word has changed.
        let same = line.load(TURN) == turn && line.load(CLAIM) == word.raw();
        line.reached()?;
        if same {
            return committed.map(|committed| (word, committed));
        }
    }
    Err(OffsetError::Unavailable)
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Written {
    /// It is published; the claim's word is this one now.
    Published(ClaimWord),
    /// The claim is another's.
    Stale,
}

/// Commits an offset under the claim `mine`: to the copy that is not in use, which is published by the claim's word alone.
pub(crate) fn write<L: Lease>(
    line: &Line<'_, L>,
    mine: ClaimWord,
    offset: Option<Offset>,
) -> Result<Written, OffsetError> {
    let epoch = mine.epoch().value();
    debug_assert!(epoch <= LAST_EPOCH);
    take_turn(line)?;
    let spare = mine.published();
    let base = COPIES.get(spare.copy()).copied().unwrap_or_default();
    for (index, digit) in (base..).zip(encode(offset)) {
        if !put(line, index, (epoch << 8) | u32::from(digit))? {
            return match ClaimWord::new(line.load(CLAIM)) {
                // A word from an epoch that is still to come, and nobody has taken over: it is damaged.
                now if now == mine => Err(OffsetError::Corrupt),
                _ => Ok(Written::Stale),
            };
        }
    }
    // The check of the claim and the publication are this one instruction.
    Ok(if line.swap(CLAIM, mine.raw(), spare.raw())? { Written::Published(spare) } else { Written::Stale })
}

/// Changes `turn`. By an own swap, behind the last publication: whoever sees the new word then also sees that.
fn take_turn<L: Lease>(line: &Line<'_, L>) -> Result<(), OffsetError> {
    for _ in 0..TRIES {
        let turn = line.load(TURN);
        if line.swap(TURN, turn, turn.wrapping_add(1))? {
            return Ok(());
        }
    }
    Err(OffsetError::Unavailable)
}

/// Brings a word of a copy to `wanted`, unless a later epoch has written it.
fn put<L: Lease>(line: &Line<'_, L>, index: usize, wanted: u32) -> Result<bool, OffsetError> {
    for _ in 0..TRIES {
        let now = line.load(index);
        if now >> 8 > wanted >> 8 {
            return Ok(false);
        }
        // A word of this epoch is this owner's own: no earlier one can change it any more.
        if now == wanted || line.swap(index, now, wanted)? {
            return Ok(true);
        }
    }
    Err(OffsetError::Unavailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(offset: Option<Offset>, tag: u32) -> Copied {
        encode(offset).map(|digit| (tag << 8) | u32::from(digit))
    }

    #[test]
    fn every_offset_comes_back() {
        for value in [0, 1, 0xff, 0x100, 0x0102_0304_0506_0708, u64::MAX] {
            let offset = Some(Offset::new(value));
            assert_eq!(decode(words(offset, 7), 7), Ok(offset));
            assert_eq!(decode(words(offset, 7), 9), Ok(offset));
            assert_eq!(decode(words(offset, 8), 7), Err(OffsetError::Corrupt), "from the future");
        }
        assert_eq!(decode(words(None, 3), 3), Ok(None));
        assert_eq!(decode([0; 9], 0), Ok(None), "as formatted");
    }

    #[test]
    fn no_damage_of_one_byte_is_taken_for_an_offset() {
        for value in [1, 0xff, 0x0102_0304_0506_0708, u64::MAX] {
            let sound = words(Some(Offset::new(value)), 0x0001_0203);
            for (index, byte) in (0..sound.len()).flat_map(|index| (0..4).map(move |byte| (index, byte))) {
                for flip in 1..=255_u32 {
                    let mut damaged = sound;
                    if let Some(word) = damaged.get_mut(index) {
                        *word ^= flip << (8 * byte);
                    }
                    assert_eq!(decode(damaged, LAST_EPOCH), Err(OffsetError::Corrupt), "{index} {byte} {flip:#x}");
                }
            }
        }
    }
}
