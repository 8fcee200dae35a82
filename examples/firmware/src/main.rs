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

mod reading;
mod sensor;
mod station;

use cortex_m::Peripherals;
use cortex_m_rt::{ExceptionFrame, entry, exception};
use cortex_m_semihosting::{debug, hprintln};
use panic_semihosting as _;
use station::{Failure, Kept, Latest};

#[entry]
fn main() -> ! {
    // The start-up code hands these out as `&'static mut`: what an interrupt borrows must never go away.
    static mut KEPT: Option<Kept> = None;
    static mut LATEST: Option<Latest> = None;

    let status = match Peripherals::take().ok_or(Failure::Peripherals) {
        Ok(mut machine) => station::run(&mut machine.SYST, KEPT, LATEST),
        Err(failure) => Err(failure),
    };
    match status {
        Ok(()) => debug::exit(debug::EXIT_SUCCESS),
        Err(failure) => {
            hprintln!("FAILED: {}", failure);
            debug::exit(debug::EXIT_FAILURE);
        }
    }
    loop {
        cortex_m::asm::wfi();
    }
}

/// Without this a fault would spin until somebody pulls the plug.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    panic!("{frame:?}");
}
