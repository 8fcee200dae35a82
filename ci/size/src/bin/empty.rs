//! The firmware that does nothing: what start-up code and vector table cost by themselves.

#![no_std]
#![no_main]

use cortex_m::asm;
use cortex_m_rt::entry;
use panic_halt as _;

#[entry]
fn main() -> ! {
    loop {
        asm::wfi();
    }
}
