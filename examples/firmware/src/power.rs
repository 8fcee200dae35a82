//! When the power goes.

/// A power cut, counted from the start of the machine.
#[derive(Clone, Copy)]
pub enum Cut {
    /// While this word is programmed; 0 is the first one.
    Program(u32),
    /// While this segment is erased; 0 is the first one.
    Erase(u32),
}

use Cut::{Erase, Program};

/// One cut for each start of the machine; after the last one the power stays. The first words after a cut are those of a
/// recovery: the header of a new segment (20 words), then the copy of the last record; the first erasure makes room for them.
pub const PLAN: [Cut; 32] = [
    // The header of the chip's first segment: there is no journal yet. Then the cursor that joins it.
    Program(1),
    Program(21),
    // In the middle of the stream; then three times in the recovery from that.
    Program(1_203),
    Erase(0),
    Program(0),
    Program(7),
    // The last word of the header, and the copy.
    Program(2_477),
    Program(19),
    Program(20),
    Program(22),
    Program(25),
    // Erasures, and the recoveries from them.
    Erase(3),
    Erase(0),
    Erase(1),
    Program(3),
    Erase(2),
    // Anywhere.
    Program(2_811),
    Program(5_022),
    Program(1_604),
    Program(3_070),
    Program(27),
    Program(2_508),
    Program(31),
    Program(3_999),
    Program(4_750),
    Program(118),
    Program(119),
    Program(2_340),
    Erase(9),
    Program(0),
    Program(4_221),
    Program(3_333),
];

/// A small generator of numbers for torn bits (xorshift), the same at each run.
pub struct Dice(u32);

impl Dice {
    pub fn new(seed: u32) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9) | 1)
    }

    pub fn roll(&mut self) -> u32 {
        for _ in 0..3 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 17;
            self.0 ^= self.0 << 5;
        }
        self.0
    }
}
