//! The seam to the target: the one module that knows about std, the processor's atomics and the model checker.
//!
//! Everything above takes its atomics, locks, clocks and raw memory views from here, so that `--cfg loom` swaps
//! them all at once and no other file needs a `cfg` for a target.

pub(crate) mod bell;
mod block;
pub(crate) mod chain;
pub mod clock;
#[cfg(feature = "durable")]
pub(crate) mod crc;
pub(crate) mod cursor;
#[cfg(all(feature = "durable", feature = "std", unix))]
pub(crate) mod disk;
pub(crate) mod later;
pub(crate) mod lock;
#[cfg_attr(loom, path = "memory_loom.rs")]
pub(crate) mod memory;
#[cfg(all(feature = "durable", feature = "std"))]
pub(crate) mod monitor;
pub(crate) mod pair;
mod racy;
pub(crate) mod run;
pub(crate) mod sleep;
mod slot;
#[cfg(all(feature = "std", unix, target_has_atomic = "64", not(loom)))]
pub(crate) mod unix;

#[cfg(loom)]
pub use memory::LoomMemory;

/// Atomics and fences: the processor's, or the model checker's.
pub(crate) mod atomic {
    #[cfg(not(loom))]
    #[allow(clippy::disallowed_types, reason = "the seam itself")]
    pub(crate) use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};
    #[cfg(loom)]
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};
}

use atomic::{AtomicU32, Ordering};

/// Moves `word` from `from` to `to`, or leaves it and answers `false`.
///
/// This is the only read-modify-write on leased memory. It is used for rare events (a writer or a reader takes its
/// place), and per record only where the log can be ended under a living writer (`Lease::SEALABLE`). Where the processor
/// has no compare-and-swap it masks interrupts.
#[cfg(any(loom, target_has_atomic = "32"))]
pub(crate) fn claim(word: &AtomicU32, from: u32, to: u32) -> bool {
    word.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

/// See the other definition; this one is for processors without compare-and-swap.
#[cfg(not(any(loom, target_has_atomic = "32")))]
pub(crate) fn claim(word: &AtomicU32, from: u32, to: u32) -> bool {
    critical_section::with(|_| {
        let free = word.load(Ordering::Acquire) == from;
        if free {
            word.store(to, Ordering::Release);
        }
        free
    })
}

/// Waits a little, longer the more often it was called in a row: spins first, gives the processor away later.
///
/// `step` is the number of waits so far.
pub(crate) fn relax(step: u32) {
    #[cfg(loom)]
    {
        let _ = step;
        loom::thread::yield_now();
    }
    #[cfg(not(loom))]
    {
        #[cfg(feature = "std")]
        if step >= 1024 {
            std::thread::sleep(core::time::Duration::from_micros(50));
            return;
        } else if step >= 64 {
            std::thread::yield_now();
            return;
        }
        let _ = step;
        core::hint::spin_loop();
    }
}

/// Whether the common case of an operation is laid out straight, beside a general one that is called: on large processors,
/// where an instruction of a record's way costs more than a hundred bytes of code.
pub(crate) const STRAIGHT: bool = cfg!(target_pointer_width = "64");

/// Asks the processor to fetch the cache line `AHEAD` bytes behind `at` for writing. A hint: it changes nothing and may do nothing.
#[cfg(not(loom))]
#[inline(always)]
#[allow(clippy::inline_always, reason = "one instruction")]
#[allow(unsafe_code, reason = "a hint that no intrinsic offers")]
pub(crate) fn prefetch_for_write<const AHEAD: usize>(at: *const u8) {
    let at = at.addr();
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch neither faults nor changes anything, whatever the address; processors that do not know the
    // instruction take it for an empty one.
    unsafe {
        core::arch::asm!("prefetchw [{} + {}]", in(reg) at, const AHEAD, options(nomem, nostack, preserves_flags));
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!("prfm pstl1keep, [{}, #{}]", in(reg) at, const AHEAD, options(nomem, nostack, preserves_flags));
    }
    let _ = at;
}

/// Called on a path that is rarely taken, so that the optimiser lays out the other one straight.
#[cold]
#[inline]
pub(crate) const fn cold() {}
