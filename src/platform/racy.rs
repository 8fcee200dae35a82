//! Copies that race with other copies of the same bytes: word by word, through relaxed atomics.

use super::atomic::{AtomicUsize, Ordering};

const WORD: usize = size_of::<usize>();

/// Stores `parts`, one behind the other, from the first of `words` on; zeros behind them in the last word that they reach.
#[inline(always)]
#[allow(clippy::inline_always, reason = "how many parts there are is known at the call")]
pub(super) fn store(words: &[AtomicUsize], parts: &[&[u8]]) {
    match parts {
        [one] => store_one(words, one),
        parts => store_parts(words, parts),
    }
}

#[inline(never)]
fn store_parts(words: &[AtomicUsize], parts: &[&[u8]]) {
    let mut words = words;
    // The bytes of a word that the parts so far have begun, and how many.
    let (mut begun, mut filled) = (0_usize, 0_usize);
    for part in parts {
        let (whole, rest) = part.as_chunks::<WORD>();
        let (now, later) = words.split_at_checked(whole.len()).unwrap_or((words, &[]));
        words = later;
        if filled == 0 {
            for (whole, word) in whole.iter().zip(now) {
                word.store(usize::from_le_bytes(*whole), Ordering::Relaxed);
            }
        } else {
            // Each word of the part ends one word of the record and begins the next.
            let (up, down) = shifts(filled);
            for (whole, word) in whole.iter().zip(now) {
                let whole = usize::from_le_bytes(*whole);
                word.store(begun | (whole << up), Ordering::Relaxed);
                begun = whole >> down;
            }
        }
        if rest.is_empty() {
            continue;
        }
        let last = match part.last_chunk::<WORD>() {
            Some(end) => usize::from_le_bytes(*end) >> shifts(rest.len()).1,
            None => short(rest),
        };
        let (up, down) = shifts(filled);
        begun |= last << up;
        filled = filled.wrapping_add(rest.len());
        if filled >= WORD {
            if let Some((word, later)) = words.split_first() {
                word.store(begun, Ordering::Relaxed);
                words = later;
            }
            // `up` is not 0 here, since `rest` is shorter than a word.
            begun = last >> down;
            filled = filled.wrapping_sub(WORD);
        }
    }
    if let (true, Some(word)) = (filled != 0, words.first()) {
        word.store(begun, Ordering::Relaxed);
    }
}

/// By how many bits something moves up behind `filled` bytes of a word, and what does not fit there moves down. With none
/// filled nothing moves, in either direction.
#[inline]
const fn shifts(filled: usize) -> (u32, u32) {
    #[allow(clippy::cast_possible_truncation, reason = "less than a word")]
    let up = (filled as u32).wrapping_mul(8);
    (up, usize::BITS.wrapping_sub(up) & usize::BITS.wrapping_sub(1))
}

/// The word that fewer bytes than a word's begin.
#[inline]
fn short(bytes: &[u8]) -> usize {
    bytes.iter().rev().fold(0, |word, byte| (word << 8) | usize::from(*byte))
}

/// Stores `from` from the first of `words` on, and zeros behind it in the last word that it reaches.
#[inline]
pub(super) fn store_one(words: &[AtomicUsize], from: &[u8]) {
    let (whole, rest) = from.as_chunks::<WORD>();
    let (words, last) = words.split_at_checked(whole.len()).unwrap_or((words, &[]));
    for (whole, word) in whole.iter().zip(words) {
        word.store(usize::from_le_bytes(*whole), Ordering::Relaxed);
    }
    if let (false, Some(word)) = (rest.is_empty(), last.first()) {
        word.store(short(rest), Ordering::Relaxed);
    }
}

/// Loads the bytes of `words`, from the first one on.
#[inline]
pub(super) fn load(words: &[AtomicUsize], to: &mut [u8]) {
    let (whole, rest) = to.as_chunks_mut::<WORD>();
    let (words, last) = words.split_at_checked(whole.len()).unwrap_or((words, &[]));
    for (to, word) in whole.iter_mut().zip(words) {
        *to = word.load(Ordering::Relaxed).to_le_bytes();
    }
    if let (false, Some(word)) = (rest.is_empty(), last.first()) {
        for (to, from) in rest.iter_mut().zip(word.load(Ordering::Relaxed).to_le_bytes()) {
            *to = from;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "test arithmetic")]
    #![allow(clippy::std_instead_of_alloc, reason = "tests have std in every tier")]
    use super::*;
    use std::vec::Vec;

    /// All ways to cut up to four parts of up to two words and a byte, so that each meets each place in a word.
    #[test]
    fn parts_follow_each_other_whatever_their_lengths() {
        const MOST: usize = 2 * WORD + 1;
        let bytes: Vec<u8> = (1..=4 * MOST as u8).collect();
        let words: [AtomicUsize; 4 * MOST / WORD + 1] = core::array::from_fn(|_| AtomicUsize::new(0));
        for lengths in 0..(MOST + 1).pow(3) {
            let lengths =
                [lengths % (MOST + 1), lengths / (MOST + 1) % (MOST + 1), lengths / (MOST + 1).pow(2), lengths % 3];
            let mut rest = &bytes[..];
            let parts = lengths.map(|len| rest.split_off(..len).unwrap());
            let total: usize = lengths.iter().sum();
            for word in &words {
                word.store(usize::MAX, Ordering::Relaxed);
            }
            store(&words[..total.div_ceil(WORD)], &parts);
            let found: Vec<u8> = words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
            let end = total.next_multiple_of(WORD);
            assert_eq!(found[..total], bytes[..total], "{lengths:?}");
            assert!(found[total..end].iter().all(|byte| *byte == 0), "{lengths:?}");
            assert!(found[end..].iter().all(|byte| *byte == 0xff), "{lengths:?}");
            let mut back = std::vec![0; total];
            load(&words[..total.div_ceil(WORD)], &mut back);
            assert_eq!(back, bytes[..total], "{lengths:?}");
        }
    }
}
