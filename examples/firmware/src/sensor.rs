//! The interrupt: takes a reading and writes it down, every tick.

use crate::handover::Handover;
use crate::reading::Reading;
use crate::station::{Kept, Latest};
use core::sync::atomic::{AtomicU32, Ordering};
use cortex_m_rt::exception;
use fabric_mq::ring::Writer;
use fabric_mq::{Offset, WriteError};

/// What the main loop and the interrupt tell each other about one ring. Each word has one writer, so loads and stores
/// are enough; this processor may have nothing better.
pub struct Feed {
    /// Readings to write in all. Written by the main loop.
    wanted: AtomicU32,
    /// Readings written so far. This and the rest are written by the interrupt.
    written: AtomicU32,
    /// Writes that found no room, and were tried again with the next tick.
    refused: AtomicU32,
    /// Writes that failed in any other way, or got an offset that was not next.
    failed: AtomicU32,
}

pub static KEPT: Feed = Feed::new();
pub static LATEST: Feed = Feed::new();

/// The interrupt's end of both rings.
pub struct Sensor {
    pub kept: Writer<&'static Kept>,
    pub latest: Writer<&'static Latest>,
}

/// From the main loop to the interrupt, once.
static HANDOVER: Handover<Sensor> = Handover::new();

/// Gives the interrupt what it writes to. Called before the first tick.
pub fn hand_over(sensor: Sensor) {
    HANDOVER.give(sensor);
}

#[exception]
fn SysTick() {
    static mut SENSOR: Option<Sensor> = None;

    if SENSOR.is_none() {
        *SENSOR = HANDOVER.take();
    }
    if let Some(Sensor { kept, latest }) = SENSOR {
        let _ =
            KEPT.take_reading(|reading| kept.write(reading)) || LATEST.take_reading(|reading| latest.write(reading));
    }
}

impl Feed {
    const fn new() -> Self {
        Self {
            wanted: AtomicU32::new(0),
            written: AtomicU32::new(0),
            refused: AtomicU32::new(0),
            failed: AtomicU32::new(0),
        }
    }

    /// Asks for `count` more readings.
    pub fn want(&self, count: u32) {
        self.wanted.store(self.wanted.load(Ordering::Relaxed) + count, Ordering::Release);
    }

    pub fn wanted(&self) -> u32 {
        self.wanted.load(Ordering::Relaxed)
    }

    pub fn written(&self) -> u32 {
        self.written.load(Ordering::Acquire)
    }

    pub fn refused(&self) -> u32 {
        self.refused.load(Ordering::Acquire)
    }

    pub fn failed(&self) -> u32 {
        self.failed.load(Ordering::Acquire)
    }

    /// One tick of the interrupt: writes the next reading if one is wanted, and answers whether it was.
    fn take_reading(&self, write: impl FnOnce(&[u8]) -> Result<Offset, WriteError>) -> bool {
        let written = self.written.load(Ordering::Relaxed);
        if written == self.wanted.load(Ordering::Acquire) {
            return false;
        }
        match write(&Reading::nth(written).to_bytes()) {
            Ok(offset) if offset.value() == u64::from(written) => {
                self.written.store(written + 1, Ordering::Release);
            }
            Err(WriteError::Full) => count(&self.refused),
            Ok(_) | Err(_) => count(&self.failed),
        }
        true
    }
}

fn count(word: &AtomicU32) {
    word.store(word.load(Ordering::Relaxed) + 1, Ordering::Release);
}
