//! The RAM that survives a reset.
//!
//! It plays two parts: the cells of a chip of flash, and the notes of a laboratory that watches the station from outside. The
//! station itself reads none of the notes before the journal has told it what is stored; they are there to hold it to that.

use core::sync::atomic::{AtomicU32, Ordering};

include!(concat!(env!("OUT_DIR"), "/chip.rs"));

/// Words of the chip.
pub const WORDS: usize = SEGMENTS * SEGMENT_BYTES / 4;

/// Everything that survives. Any bits are valid for it: when the power comes for the first time they are whatever they are.
#[repr(C)]
pub struct Kept {
    /// [`BEGUN`] once the rest was set up.
    begun: AtomicU32,
    /// Resets so far.
    pub resets: Word,
    /// The cut that the last reset was: 0 none, 1 in a program, 2 in an erasure; and where.
    pub cut: Word,
    pub cut_at: Word,
    /// Readings that the sensor has taken: the hour behind the last one. Written by the interrupt while the sensor runs.
    pub sensed: Word,
    /// The offset behind the last record that the station said was stored.
    pub stored: Word,
    /// The offset behind the last record that the uplink has got.
    pub received: Word,
    /// The offset that the uplink was told it has committed.
    pub committed: Word,
    /// Readings that were lost with the ring, and sensed again.
    pub sensed_again: Word,
    /// Records that the uplink got more than once.
    pub received_again: Word,
    /// Readings for which the ring had no room; they were tried again.
    pub refused: Word,
    /// Words programmed, and promises to the chip that were broken.
    pub programmed: Word,
    pub violations: Word,
    /// The most bytes of the stack that were in use.
    pub stack: Word,
    /// How often each segment was erased.
    pub erased: [Word; SEGMENTS],
    /// A bit for each word of the chip: whether it may not be programmed.
    used: [Word; WORDS.div_ceil(32)],
    /// What the chip holds.
    pub cells: [Word; WORDS],
}

/// One number. It has one writer at a time, so loads and stores are enough; this processor may have nothing better.
#[repr(transparent)]
pub struct Word(AtomicU32);

const BEGUN: u32 = 0x5ea7_71e1;

const _: () =
    assert!(size_of::<Kept>() <= KEPT_BYTES, "the chip and the notes do not fit the RAM that is kept for them");

// SAFETY: the memory map names the first byte of a part of the RAM, aligned, as large as was just asserted, which is nobody
// else's. The type consists of atomic integers: any bits are one, and they may be shared.
unsafe extern "C" {
    #[link_name = "_kept"]
    safe static KEPT: Kept;
}

/// When the power comes: what survived, the reset counted; or everything set up, the chip erased, if it is the first time.
pub fn power_on() -> &'static Kept {
    let kept = &KEPT;
    if kept.begun.load(Ordering::Relaxed) == BEGUN {
        kept.resets.add(1);
        return kept;
    }
    let numbers = [
        &kept.resets,
        &kept.cut,
        &kept.cut_at,
        &kept.sensed,
        &kept.stored,
        &kept.received,
        &kept.committed,
        &kept.sensed_again,
        &kept.received_again,
        &kept.refused,
        &kept.programmed,
        &kept.violations,
        &kept.stack,
    ];
    for number in numbers.into_iter().chain(&kept.erased).chain(&kept.used) {
        number.set(0);
    }
    for cell in &kept.cells {
        cell.set(u32::MAX);
    }
    kept.begun.store(BEGUN, Ordering::Relaxed);
    kept
}

impl Kept {
    /// Whether a word of the chip may not be programmed.
    pub fn is_used(&self, word: usize) -> bool {
        self.used[word / 32].get() >> (word % 32) & 1 != 0
    }

    /// Says whether a word of the chip may not be programmed.
    pub fn set_used(&self, word: usize, used: bool) {
        let bits = &self.used[word / 32];
        let bit = 1 << (word % 32);
        bits.set(if used { bits.get() | bit } else { bits.get() & !bit });
    }
}

impl Word {
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    pub fn set(&self, value: u32) {
        self.0.store(value, Ordering::Release);
    }

    pub fn add(&self, count: u32) {
        self.set(self.get() + count);
    }
}
