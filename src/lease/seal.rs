//! The seal: under which epoch a log was ended, where, and in which lease it goes on. `layout` draws its words.
//!
//! Several may write it at once, and each may be stopped for any time between two stores, so no word is ever stored: each
//! is exchanged, from what was found there, for one of a later attempt. An attempt that has closed proves that none has
//! started after it; and one that started before it exchanges nothing more, since all words are of a later one.

use super::layout::seal::{CLOSED, CONTROL, EPOCH, OPEN, WORDS};
use super::superblock::feed;
use crate::platform::atomic::Ordering;
use crate::platform::memory::Block;
use crate::types::{Epoch, LeaseId};

/// What a seal says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Record {
    pub(crate) epoch: Epoch,
    /// The low half of the offset.
    pub(crate) tail: u32,
    pub(crate) successor: LeaseId,
}

/// How writing a seal went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Attempt {
    /// This one is the seal.
    Won,
    /// There is one.
    Closed,
    /// Somebody came in between.
    Overtaken,
    /// There have been too many.
    Exhausted,
    /// The words are no seal's.
    Damaged,
}

/// A word: sixteen bits, and the number of the attempt.
const fn pack(half: u16, number: u16) -> u32 {
    ((number as u32) << 16) | half as u32
}

#[allow(clippy::cast_possible_truncation, reason = "the halves of the word")]
const fn unpack(word: u32) -> (u16, u16) {
    (word as u16, (word >> 16) as u16)
}

#[allow(clippy::cast_possible_truncation, reason = "the lower half")]
fn crc(halves: &[u16]) -> u16 {
    !halves.iter().fold(u32::MAX, |crc, half| feed(crc, u32::from(*half))) as u16
}

/// The number that little-endian halves make up.
fn whole(halves: &[u16]) -> u128 {
    halves.iter().rev().fold(0, |number, half| (number << 16) | u128::from(*half))
}

impl Record {
    fn halves(self) -> [u16; WORDS] {
        let mut halves = [0; WORDS];
        let numbers = [(u128::from(self.epoch.value()), 2), (u128::from(self.tail), 2), (self.successor.value(), 8)];
        let parts = numbers.into_iter().flat_map(|(number, count)| {
            #[allow(clippy::cast_possible_truncation, reason = "sixteen bits at a time")]
            (0..count).map(move |index: u32| (number >> index.wrapping_mul(16)) as u16)
        });
        for (half, part) in halves.iter_mut().zip(parts) {
            *half = part;
        }
        if let Some((last, said)) = halves.split_last_mut() {
            *last = crc(said);
        }
        halves
    }

    /// Reads each word once and checks the copy. `None` until the seal is closed; `Err` if these words are no seal's.
    pub(crate) fn load(block: Block) -> Result<Option<Self>, Attempt> {
        // SYNC(seal): with the last exchange in `write`.
        let (state, number) = unpack(block.word(CONTROL).load(Ordering::Acquire));
        match state {
            CLOSED => {}
            OPEN => return Ok(None),
            0 if number == 0 => return Ok(None),
            _ => return Err(Attempt::Damaged),
        }
        let mut halves = [0; WORDS];
        for (index, half) in halves.iter_mut().enumerate() {
            let (said, by) = unpack(block.word(EPOCH.wrapping_add(index)).load(Ordering::Acquire));
            if by != number {
                return Err(Attempt::Damaged);
            }
            *half = said;
        }
        let [e0, e1, t0, t1, successor @ .., check] = halves;
        let [said @ .., _] = halves;
        if check != crc(&said) {
            return Err(Attempt::Damaged);
        }
        #[allow(clippy::cast_possible_truncation, reason = "as many halves as the numbers have")]
        Ok(Some(Self {
            epoch: Epoch::new(whole(&[e0, e1]) as u32),
            tail: whole(&[t0, t1]) as u32,
            successor: LeaseId::new(whole(&successor)),
        }))
    }

    /// Writes it, if nobody else does at the same time. `exchange` moves a word of the block by compare-and-swap, and answers whether
    /// it did.
    pub(crate) fn write(self, block: Block, mut exchange: impl FnMut(usize, u32, u32) -> bool) -> Attempt {
        let control = block.word(CONTROL);
        let found = control.load(Ordering::Acquire);
        let (state, last) = unpack(found);
        match state {
            CLOSED => return Attempt::Closed,
            OPEN => {}
            0 if last == 0 => {}
            _ => return Attempt::Damaged,
        }
        let Some(number) = last.checked_add(1) else { return Attempt::Exhausted };
        let open = pack(OPEN, number);
        // From here on no earlier attempt closes.
        if !exchange(CONTROL, found, open) {
            return Attempt::Overtaken;
        }
        for (index, half) in self.halves().into_iter().enumerate() {
            let word = EPOCH.wrapping_add(index);
            let before = block.word(word).load(Ordering::Acquire);
            let (_, by) = unpack(before);
            // What a later attempt has written stays.
            if by >= number || !exchange(word, before, pack(half, number)) {
                return Attempt::Overtaken;
            }
        }
        // SYNC(seal): whoever sees it closed sees its words.
        if !exchange(CONTROL, open, pack(CLOSED, number)) {
            return Attempt::Overtaken;
        }
        Attempt::Won
    }
}
