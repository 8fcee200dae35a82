//! The machine: its tick, and how a program ends.

use crate::failure::Failure;
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m::{Peripherals, asm};
use cortex_m_rt::{ExceptionFrame, exception};
use cortex_m_semihosting::{debug, hprintln};
use panic_semihosting as _;

/// The timer of the tick. It can be had once.
pub fn tick() -> Result<SYST, Failure> {
    Peripherals::take().map(|parts| parts.SYST).ok_or(Failure::Peripherals)
}

/// Starts the tick: an interrupt each time that so many processor cycles have gone by.
pub fn start(tick: &mut SYST, cycles: u32) {
    tick.disable_counter();
    tick.set_clock_source(SystClkSource::Core);
    tick.set_reload(cycles - 1);
    tick.clear_current();
    tick.enable_interrupt();
    tick.enable_counter();
}

/// Stops the machine: with status 0 if all went well, else with 1 and the reason.
pub fn end(outcome: Result<(), Failure>) -> ! {
    match outcome {
        Ok(()) => {
            hprintln!("ok");
            debug::exit(debug::EXIT_SUCCESS);
        }
        Err(failure) => {
            hprintln!("FAILED: {}", failure);
            debug::exit(debug::EXIT_FAILURE);
        }
    }
    loop {
        asm::wfi();
    }
}

/// Without this a fault would spin until somebody pulls the plug.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    panic!("{frame:?}");
}
