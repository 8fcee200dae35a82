//! A weather station that loses its power, and no reading: a year of them goes through a ring into NOR flash.
//!
//! SysTick plays the sensor, as in the other programs: it writes each reading into a ring in a `static`, and never waits. The
//! main loop owns a spool: it moves the readings from the ring into a journal on flash, eight at a time, and when enough of
//! them lie there an uplink takes them, and commits.
//!
//! The flash is emulated, in a part of the RAM that a reset leaves alone. It enforces what such a chip demands, and again and
//! again it tears a word, or a segment, and resets the machine there and then: that is what a power cut does to both. The
//! ring is gone then. The station opens the journal, senses again what was in the ring alone, and goes on.
//!
//! What must be seen: after every cut the journal holds each reading that was said to be stored; the uplink gets all readings
//! of the year in order, those again which it had not committed; no word is programmed twice, and the segments wear evenly.
//! The machine stops with status 0 if all of that held, else with 1 and the reason.
//!
//! | module | |
//! |---|---|
//! | `kept` | the RAM that survives: the chip's cells, and what the laboratory notes to hold the station to its word |
//! | `nor` | the chip: its contract, and how a cut leaves it |
//! | `power` | when the power goes |
//! | `gauge` | the interrupt |
//! | `keeper` | the main loop |
//! | `image` | the chip's bytes, handed to the host |
//! | `stack` | how deep it gets |
//! | `text`, `failure` | a few letters; what can go wrong |

#![no_std]
#![no_main]

mod failure;
mod gauge;
mod image;
mod keeper;
mod kept;
mod nor;
mod power;
mod reading;
mod stack;
mod text;

use cortex_m::Peripherals;
use cortex_m_rt::{ExceptionFrame, entry, exception};
use cortex_m_semihosting::{debug, hprintln};
use failure::Failure;
use keeper::Room;
use panic_semihosting as _;

#[entry]
fn main() -> ! {
    // The start-up code hands this out as `&'static mut`: what an interrupt borrows must never go away.
    static mut ROOM: Room = Room::new();

    stack::paint();
    let status = match Peripherals::take().ok_or(Failure::Peripherals) {
        Ok(mut machine) => keeper::run(&mut machine.SYST, ROOM),
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
