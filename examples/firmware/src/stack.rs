//! How deep the stack gets: what was painted before and is not any more.

use crate::failure::Failure;
use core::ptr;

const PAINT: u32 = 0x5ac4_ba5e;
/// Words below the painter's own frame that it leaves out: its callees'.
const MARGIN: usize = 64;

// SAFETY: symbols of the start-up code's linker script: the lowest word of the stack, behind all statics, and the one behind
// its highest. Their addresses alone are used.
unsafe extern "C" {
    safe static mut _stack_end: u32;
    safe static mut _stack_start: u32;
}

/// Paints all of the stack that is not in use. Called once, early.
#[inline(never)]
pub fn paint() {
    let here = 0_u32;
    let lowest = &raw mut _stack_end;
    let count = (ptr::from_ref(&here).addr() - lowest.addr()) / size_of::<u32>();
    for index in 0..count.saturating_sub(MARGIN) {
        // SAFETY: between the lowest word of the stack and this frame nothing is in use; an interrupt that comes now takes
        // far less than the margin, and is done with it when it returns.
        unsafe { lowest.add(index).write_volatile(PAINT) };
    }
}

/// Bytes of the stack that were in use at some time since it was painted, and all there are; or an error if there were
/// not enough.
pub fn used() -> Result<(u32, u32), Failure> {
    let lowest = &raw mut _stack_end;
    let words = ((&raw mut _stack_start).addr() - lowest.addr()) / size_of::<u32>();
    // SAFETY: within the stack, and the painted part is not written behind the compiler's back.
    let clean = (0..words).take_while(|index| unsafe { lowest.add(*index).read_volatile() } == PAINT).count();
    if clean == 0 {
        return Err(Failure::Stack);
    }
    Ok((((words - clean) * size_of::<u32>()) as u32, (words * size_of::<u32>()) as u32))
}
