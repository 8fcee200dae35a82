//! The same firmware with a journal on flash in it: 32-byte records are appended, read back and committed.
//!
//! Everything a device needs is counted: opening what a power cut left, formatting what is blank, joining, appending, reading,
//! committing; and the driver, which is the least there can be. What is written comes from, and what is read goes to, where the
//! compiler cannot follow.

#![no_std]
#![no_main]

use core::hint::black_box;
use cortex_m::{asm, singleton};
use cortex_m_rt::entry;
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use fabric_mq::durable::{Journal, JournalConfig, NorStore, OpenError};
use panic_halt as _;

const BYTES: usize = 16 * 1024;

static RECORD: [u8; 32] = [0x5a; 32];

/// A flash in memory.
struct Chip(&'static mut [u8]);

impl ErrorType for Chip {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Chip {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        let from = self.0.get(offset as usize..).and_then(|cells| cells.get(..bytes.len()));
        bytes.copy_from_slice(from.ok_or(NorFlashErrorKind::OutOfBounds)?);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.0.len()
    }
}

impl NorFlash for Chip {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 1024;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        self.0.get_mut(from as usize..to as usize).ok_or(NorFlashErrorKind::OutOfBounds)?.fill(0xff);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        let to = self.0.get_mut(offset as usize..).and_then(|cells| cells.get_mut(..bytes.len()));
        to.ok_or(NorFlashErrorKind::OutOfBounds)?.copy_from_slice(bytes);
        Ok(())
    }
}

#[entry]
fn main() -> ! {
    let Some(cells) = singleton!(: [u8; BYTES] = [0; BYTES]) else { halt() };
    let Ok(mut store) = NorStore::whole(Chip(black_box(&mut cells[..]))) else { halt() };
    let blank = match Journal::<_, 1, 1>::open(&mut store) {
        Ok(_) => false,
        Err(OpenError::None) => true,
        Err(_) => halt(),
    };
    let config = JournalConfig::new(1);
    let opened = if blank { Journal::<_, 1, 1>::format(&mut store, config) } else { Journal::open(&mut store) };
    let Ok(mut journal) = opened else { halt() };
    let Ok(cursor) = journal.join(0, "main") else { halt() };
    loop {
        let record: &[u8; 32] = black_box(&RECORD);
        if journal.append(0, 0, &[record]).is_err() || journal.sync().is_err() {
            halt()
        }
        let mut buffer = [0; 32];
        let done = match journal.next(cursor, &mut buffer) {
            Ok(Some(record)) => record.offset().value(),
            Ok(None) => continue,
            Err(_) => halt(),
        };
        black_box(&buffer);
        if journal.commit(cursor, (done + 1).into()).is_err() {
            halt()
        }
    }
}

/// What a device does that cannot go on.
fn halt() -> ! {
    loop {
        asm::wfi();
    }
}
