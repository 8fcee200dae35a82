//! The interrupt: takes a reading and writes it into the ring, every tick, from the hour on that it is told.

use crate::handover::Handover;
use crate::kept::Kept;
use crate::reading::{READINGS, Reading};
use core::sync::atomic::{AtomicU32, Ordering};
use cortex_m_rt::exception;
use fabric_mq::WriteError;
use fabric_mq::lease::StaticGrant;
use fabric_mq::ring::{Ring, Writer};

/// The interrupt's end of the ring.
pub struct Gauge {
    pub writer: Writer<&'static Ring<StaticGrant>>,
    /// The first hour it takes: the ring's offset 0.
    pub first: u32,
    pub kept: &'static Kept,
}

/// From the main loop to the interrupt, once.
static HANDOVER: Handover<Gauge> = Handover::new();
/// Writes that failed in any other way than for want of room, or got an offset that was not next. Written by the interrupt.
static FAILED: AtomicU32 = AtomicU32::new(0);

/// Gives the interrupt what it writes to. Called before the first tick.
pub fn hand_over(gauge: Gauge) {
    HANDOVER.give(gauge);
}

pub fn failed() -> u32 {
    FAILED.load(Ordering::Acquire)
}

#[exception]
fn SysTick() {
    static mut GAUGE: Option<Gauge> = None;

    if GAUGE.is_none() {
        *GAUGE = HANDOVER.take();
    }
    if let Some(gauge) = GAUGE {
        gauge.take_reading();
    }
}

impl Gauge {
    fn take_reading(&mut self) {
        let hour = self.kept.sensed.get();
        if hour == READINGS {
            return;
        }
        match self.writer.write(&Reading::nth(hour).to_bytes()) {
            Ok(offset) if offset.value() == u64::from(hour - self.first) => self.kept.sensed.set(hour + 1),
            // The same one again, with the next tick.
            Err(WriteError::Full) => self.kept.refused.add(1),
            Ok(_) | Err(_) => FAILED.store(FAILED.load(Ordering::Relaxed) + 1, Ordering::Release),
        }
    }
}
