//! A weather station: an interrupt takes a reading every tick, the main loop has them when it gets round to it.
//!
//! SysTick plays the sensor. It writes a year of hourly readings as records into a ring in static memory, without a lock
//! and without masking interrupts. The main loop reads them, compares each with the table the sensor played from, and
//! accounts for every record that did not reach it. Four passes over the year:
//!
//! | pass | ring | main loop | must be seen |
//! |---|---|---|---|
//! | kept | retain | sleeps now and then | nothing lost; the refused writes are counted and were tried again |
//! | quick | overwrite | keeps up | nothing lost |
//! | slow | overwrite | sleeps now and then | what is missing is exactly what was reported lost |
//! | raced | overwrite | is interrupted faster than it can read | the same, with records overwritten while they are copied |
//!
//! The machine stops with status 0 if all of that held, else with 1 and the reason.

#![no_std]
#![no_main]

#[allow(dead_code, reason = "each program uses a part of it")]
mod failure;
mod handover;
mod machine;
mod reading;
mod sensor;
mod station;

use cortex_m_rt::entry;
use station::{Kept, Latest};

#[entry]
fn main() -> ! {
    // The start-up code hands these out as `&'static mut`: what an interrupt borrows must never go away.
    static mut KEPT: Option<Kept> = None;
    static mut LATEST: Option<Latest> = None;

    machine::end(machine::tick().and_then(|mut tick| station::run(&mut tick, KEPT, LATEST)))
}
