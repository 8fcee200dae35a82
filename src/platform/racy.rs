//! Copies that race with other copies of the same bytes: word by word, through relaxed atomics.

use super::atomic::{AtomicUsize, Ordering};

const WORD: usize = size_of::<usize>();

/// Stores `parts`, one behind the other, from the first of `words` on; zeros behind them in the last word that they reach.
pub(super) fn store(words: &[AtomicUsize], parts: &[&[u8]]) {
    let mut words = words.iter();
    // Bytes of a word that the parts so far have not filled.
    let (mut bytes, mut filled) = ([0; WORD], 0);
    for part in parts {
        let mut rest = *part;
        if filled == 0 {
            let (whole, tail) = rest.as_chunks::<WORD>();
            for (whole, word) in whole.iter().zip(words.by_ref()) {
                word.store(usize::from_le_bytes(*whole), Ordering::Relaxed);
            }
            rest = tail;
        }
        for byte in rest {
            if let Some(place) = bytes.get_mut(filled) {
                *place = *byte;
            }
            filled = filled.wrapping_add(1);
            if filled == WORD {
                if let Some(word) = words.next() {
                    word.store(usize::from_le_bytes(bytes), Ordering::Relaxed);
                }
                (bytes, filled) = ([0; WORD], 0);
            }
        }
    }
    if let (true, Some(word)) = (filled != 0, words.next()) {
        word.store(usize::from_le_bytes(bytes), Ordering::Relaxed);
    }
}

/// Stores `from` from the first of `words` on, and zeros behind it in the last word that it reaches.
#[inline]
#[cfg(any(all(test, not(loom)), all(target_arch = "arm", target_has_atomic = "32")))]
pub(super) fn store_one(words: &[AtomicUsize], from: &[u8]) {
    let mut words = words.iter();
    let (whole, rest) = from.as_chunks::<WORD>();
    for (whole, word) in whole.iter().zip(words.by_ref()) {
        word.store(usize::from_le_bytes(*whole), Ordering::Relaxed);
    }
    if let (false, Some(word)) = (rest.is_empty(), words.next()) {
        let last = rest.iter().rev().fold(0, |word, byte| (word << 8) | usize::from(*byte));
        word.store(last, Ordering::Relaxed);
    }
}

/// Loads the bytes of `words`, from the first one on.
pub(super) fn load(words: &[AtomicUsize], to: &mut [u8]) {
    let mut words = words.iter();
    let (whole, rest) = to.as_chunks_mut::<WORD>();
    for (to, word) in whole.iter_mut().zip(words.by_ref()) {
        *to = word.load(Ordering::Relaxed).to_le_bytes();
    }
    if let Some(word) = words.next() {
        let bytes = word.load(Ordering::Relaxed).to_le_bytes();
        for (to, from) in rest.iter_mut().zip(bytes) {
            *to = from;
        }
    }
}
