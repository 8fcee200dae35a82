//! A chip of NOR flash in the RAM that survives: what it demands, and what a power cut leaves of it.
//!
//! It takes whole words at aligned addresses, each once between two erasures of its segment, also with the bits that an
//! erasure leaves. Anything else is refused, and counted.

use crate::kept::{Kept, SEGMENT_BYTES, WORDS};
use crate::power::{Cut, Dice, PLAN};
use cortex_m::interrupt;
use cortex_m::peripheral::SCB;
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

/// Bytes of what is programmed at a time.
const UNIT: usize = 4;
const SEGMENT_WORDS: usize = SEGMENT_BYTES / UNIT;

/// What a cut met, as [`Kept::cut`] has it.
pub const IN_PROGRAM: u32 = 1;
pub const IN_ERASE: u32 = 2;

/// The chip.
pub struct EmulatedFlash {
    kept: &'static Kept,
    /// Words programmed and segments erased since the machine was started.
    programs: u32,
    erases: u32,
    cut: Option<Cut>,
}

impl EmulatedFlash {
    pub fn new(kept: &'static Kept) -> Self {
        let cut = PLAN.get(kept.resets.get() as usize).copied();
        Self { kept, programs: 0, erases: 0, cut }
    }

    fn refuse(&self, error: NorFlashErrorKind) -> NorFlashErrorKind {
        self.kept.violations.add(1);
        error
    }

    /// Programs one word, or loses the power over it.
    fn program(&mut self, word: usize, value: u32) -> Result<(), NorFlashErrorKind> {
        if self.kept.is_used(word) {
            return Err(self.refuse(NorFlashErrorKind::Other));
        }
        self.kept.set_used(word, true);
        let cell = &self.kept.cells[word];
        if matches!(self.cut, Some(Cut::Program(at)) if at == self.programs) {
            let resets = self.kept.resets.get();
            let mut dice = Dice::new(resets);
            // The bits that are not programmed any more: half of them, a quarter, three quarters; or none, and only
            // nobody was told that the word was complete.
            let spared = match resets % 4 {
                0 => dice.roll(),
                1 => dice.roll() & dice.roll(),
                2 => dice.roll() | dice.roll(),
                _ => 0,
            };
            cell.set(cell.get() & (value | spared));
            self.lose_power(IN_PROGRAM, word);
        }
        cell.set(cell.get() & value);
        self.programs += 1;
        self.kept.programmed.add(1);
        Ok(())
    }

    /// Erases one segment, or loses the power over it.
    fn erase_segment(&mut self, segment: usize) {
        let first = segment * SEGMENT_WORDS;
        self.kept.erased[segment].add(1);
        if matches!(self.cut, Some(Cut::Erase(at)) if at == self.erases) {
            let mut dice = Dice::new(self.kept.resets.get());
            let done = dice.roll() as usize % SEGMENT_WORDS;
            for word in first..first + SEGMENT_WORDS {
                // Blank before the place that the erasure has come to, half erased there, as it was behind it; and nowhere
                // fit to be programmed.
                let cell = &self.kept.cells[word];
                match word - first {
                    at if at < done => cell.set(u32::MAX),
                    at if at == done => cell.set(cell.get() | dice.roll()),
                    _ => {}
                }
                self.kept.set_used(word, true);
            }
            self.lose_power(IN_ERASE, first + done);
        }
        for word in first..first + SEGMENT_WORDS {
            self.kept.cells[word].set(u32::MAX);
            self.kept.set_used(word, false);
        }
        self.erases += 1;
    }

    /// Nothing runs any more, not even the interrupt; what is not in the RAM that survives is gone.
    fn lose_power(&self, what: u32, word: usize) -> ! {
        interrupt::disable();
        self.kept.cut.set(what);
        self.kept.cut_at.set((word * UNIT) as u32);
        SCB::sys_reset()
    }
}

impl ErrorType for EmulatedFlash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for EmulatedFlash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        check_read(self, offset, bytes.len()).map_err(|error| self.refuse(error))?;
        for (at, byte) in (offset as usize..).zip(bytes) {
            *byte = self.kept.cells[at / UNIT].get().to_le_bytes()[at % UNIT];
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        WORDS * UNIT
    }
}

impl NorFlash for EmulatedFlash {
    const WRITE_SIZE: usize = UNIT;
    const ERASE_SIZE: usize = SEGMENT_BYTES;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        check_erase(self, from, to).map_err(|error| self.refuse(error))?;
        for segment in from as usize / SEGMENT_BYTES..to as usize / SEGMENT_BYTES {
            self.erase_segment(segment);
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        check_write(self, offset, bytes.len()).map_err(|error| self.refuse(error))?;
        let (units, _) = bytes.as_chunks::<UNIT>();
        for (word, unit) in (offset as usize / UNIT..).zip(units) {
            self.program(word, u32::from_le_bytes(*unit))?;
        }
        Ok(())
    }
}
