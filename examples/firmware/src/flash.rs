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
//! | `machine`, `handover` | the tick, and how the program ends; from the main loop to the interrupt |
//! | `text`, `failure` | a few letters; what can go wrong |

#![no_std]
#![no_main]

#[allow(dead_code, reason = "each program uses a part of it")]
mod failure;
mod gauge;
mod handover;
mod image;
mod keeper;
mod kept;
mod machine;
mod nor;
mod power;
mod reading;
mod stack;
mod text;

use cortex_m_rt::entry;
use keeper::Room;

#[entry]
fn main() -> ! {
    // The start-up code hands this out as `&'static mut`: what an interrupt borrows must never go away.
    static mut ROOM: Room = Room::new();

    stack::paint();
    machine::end(machine::tick().and_then(|mut tick| keeper::run(&mut tick, ROOM)))
}
