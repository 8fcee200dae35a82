//! Sleeping until a word changes: by the system's futex where there is one, else by looking at it again and again.

use super::atomic::AtomicU32;

/// Who may sleep on a word, and wake others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scope {
    /// Threads of this process.
    Process,
    /// Processes of this machine, too.
    Machine,
}

/// Sleeps for at most `limit_ms`, unless `word` is not `seen` any more, until somebody wakes this `word` with a bit of `bits`
/// (not 0); or for no reason. Without a futex it sleeps for at most a millisecond, and the shorter the fewer sleeps of this
/// wait (`step`) came before; without an operating system it spins once.
pub(crate) fn sleep(word: &AtomicU32, seen: u32, bits: u32, scope: Scope, limit_ms: u64, step: u32) {
    imp::sleep(word, seen, bits, scope, limit_ms, step);
}

/// Wakes all who sleep on `word` with a bit of `bits` (not 0). The word was changed before.
pub(crate) fn wake(word: &AtomicU32, bits: u32, scope: Scope) {
    imp::wake(word, bits, scope);
}

#[cfg(all(feature = "std", any(target_os = "linux", target_os = "android"), not(any(loom, miri))))]
mod imp {
    use super::{AtomicU32, Scope};
    use core::num::NonZeroU32;
    use rustix::io::Errno;
    use rustix::thread::futex::{self, Flags, Timespec};
    use rustix::time::{ClockId, clock_gettime};

    /// Longer than any machine is up: without a limit.
    const EVER_MS: u64 = 1 << 42;

    const fn flags(scope: Scope) -> Flags {
        match scope {
            Scope::Process => Flags::PRIVATE,
            Scope::Machine => Flags::empty(),
        }
    }

    /// When `ms` milliseconds are over, by the clock that the kernel takes for such sleeps.
    fn end(ms: u64) -> Option<Timespec> {
        let now = clock_gettime(ClockId::Monotonic);
        let nanos = now.tv_nsec.saturating_add(i64::try_from(ms % 1000).ok()?.saturating_mul(1_000_000));
        let seconds = i64::try_from(ms / 1000).ok()?.saturating_add(nanos / 1_000_000_000);
        Some(Timespec { tv_sec: now.tv_sec.saturating_add(seconds), tv_nsec: nanos % 1_000_000_000 })
    }

    pub(super) fn sleep(word: &AtomicU32, seen: u32, bits: u32, scope: Scope, limit_ms: u64, step: u32) {
        let end = if limit_ms < EVER_MS { end(limit_ms) } else { None };
        let bits = NonZeroU32::new(bits).unwrap_or(NonZeroU32::MAX);
        match futex::wait_bitset(word, flags(scope), seen, end.as_ref(), bits) {
            // It was another word already; a signal came; time is over.
            Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => {}
            // A sandbox without futexes, say.
            Err(_) => super::nap(limit_ms, step),
        }
    }

    pub(super) fn wake(word: &AtomicU32, bits: u32, scope: Scope) {
        let bits = NonZeroU32::new(bits).unwrap_or(NonZeroU32::MAX);
        // Where that cannot be, `sleep` does not rely on it. (The most that the kernel takes: it counts in an `int`.)
        let _ = futex::wake_bitset(word, flags(scope), u32::MAX >> 1, bits);
    }
}

#[cfg(all(not(loom), any(miri, not(all(feature = "std", any(target_os = "linux", target_os = "android"))))))]
mod imp {
    use super::{AtomicU32, Scope};
    use crate::platform::atomic::Ordering;

    pub(super) fn sleep(word: &AtomicU32, seen: u32, _bits: u32, _scope: Scope, limit_ms: u64, step: u32) {
        if word.load(Ordering::Acquire) == seen {
            super::nap(limit_ms, step);
        }
    }

    pub(super) fn wake(_word: &AtomicU32, _bits: u32, _scope: Scope) {}
}

/// What stands in for a sleep that somebody ends: a short one.
#[cfg(all(feature = "std", not(loom)))]
fn nap(limit_ms: u64, step: u32) {
    let micros = 50_u64.wrapping_shl(step.min(5)).min(1000).min(limit_ms.saturating_mul(1000));
    std::thread::sleep(core::time::Duration::from_micros(micros));
}

#[cfg(all(not(feature = "std"), not(loom)))]
fn nap(_limit_ms: u64, step: u32) {
    super::relax(step);
}

/// The model checker's: one place for all sleepers, who look for themselves whether they were meant. Time never ends a sleep,
/// so that a wake-up that is lost is a deadlock, which the checker reports.
#[cfg(loom)]
mod imp {
    use super::{AtomicU32, Scope};
    use crate::platform::atomic::Ordering;
    use loom::sync::{Condvar, Mutex};

    loom::lazy_static! {
        static ref QUEUE: Mutex<()> = Mutex::new(());
        static ref WAKES: Condvar = Condvar::new();
    }

    pub(super) fn sleep(word: &AtomicU32, seen: u32, _bits: u32, _scope: Scope, _limit_ms: u64, _step: u32) {
        let guard = QUEUE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // As the kernel does it: the word is compared under the lock that whoever wakes takes too, after the change.
        if word.load(Ordering::Acquire) == seen {
            drop(WAKES.wait(guard));
        }
    }

    pub(super) fn wake(_word: &AtomicU32, _bits: u32, _scope: Scope) {
        let _guard = QUEUE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        WAKES.notify_all();
    }
}
