//! Time, injected: monotonic ticks of one millisecond.

use super::cursor::Counter;
use crate::types::Ticks;

/// A source of monotonic time.
///
/// Nothing in this crate asks the operating system for the time on its own: whoever needs time takes a `Clock`. Tests
/// and simulations pass a [`ManualClock`], firmware one that its tick interrupt drives, servers `SystemClock`.
pub trait Clock {
    /// The time now. Never smaller than an earlier answer.
    fn now(&self) -> Ticks;
}

impl<C: Clock + ?Sized> Clock for &C {
    fn now(&self) -> Ticks {
        (**self).now()
    }
}

#[cfg(feature = "alloc")]
impl<C: Clock + ?Sized> Clock for alloc::sync::Arc<C> {
    fn now(&self) -> Ticks {
        (**self).now()
    }
}

/// A clock that stands still until it is moved: by a test, or by a tick interrupt.
///
/// One party moves it, any number read it. Needs no 64-bit atomics and no compare-and-swap; can live in a `static`.
///
/// ```
/// use fabric_mq::clock::{Clock, ManualClock};
/// use fabric_mq::Ticks;
///
/// static CLOCK: ManualClock = ManualClock::new();
/// CLOCK.advance(Ticks::from_millis(5));
/// assert_eq!(CLOCK.now(), Ticks::from_millis(5));
/// ```
pub struct ManualClock {
    now: Counter,
}

impl ManualClock {
    /// A clock at zero.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self { now: Counter::new() }
    }

    /// A clock at zero.
    #[cfg(loom)]
    #[must_use]
    pub fn new() -> Self {
        Self { now: Counter::new() }
    }

    /// Moves the clock forward by `step`.
    pub fn advance(&self, step: Ticks) {
        self.set(Ticks::from_millis(self.now().as_millis().saturating_add(step.as_millis())));
    }

    /// Sets the clock. A time before the present one is ignored: the clock never goes back.
    pub fn set(&self, now: Ticks) {
        if now > self.now() {
            self.now.store(now.as_millis());
        }
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("ManualClock").field(&self.now()).finish()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Ticks {
        Ticks::from_millis(self.now.load())
    }
}

/// The operating system's monotonic clock, counted from the Unix epoch as it stood when the clock was made.
///
/// The calendar is read once, so the clock never goes back when somebody sets the calendar; it drifts from the
/// calendar as much as the machine's monotonic clock does.
#[cfg(feature = "std")]
#[derive(Clone, Debug)]
pub struct SystemClock {
    start: std::time::Instant,
    epoch_ms: u64,
}

#[cfg(feature = "std")]
impl SystemClock {
    /// Starts a clock at the calendar's time.
    #[must_use]
    pub fn new() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self { start: std::time::Instant::now(), epoch_ms: u64::try_from(since.as_millis()).unwrap_or(0) }
    }
}

#[cfg(feature = "std")]
impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(feature = "std")]
impl Clock for SystemClock {
    fn now(&self) -> Ticks {
        let gone = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ticks::from_millis(self.epoch_ms.saturating_add(gone))
    }
}

/// Milliseconds since the machine started, which all its processes agree on: leases that processes share go by it.
///
/// On Linux it goes on while the machine is suspended (`CLOCK_BOOTTIME`), so a lease also ends in a laptop that sleeps;
/// elsewhere it may stand still then (`CLOCK_MONOTONIC`).
///
/// ```
/// use fabric_mq::clock::{Clock, MachineClock};
/// assert!(MachineClock::new().now() <= MachineClock::new().now());
/// ```
#[cfg(all(feature = "std", unix, target_has_atomic = "64", not(loom)))]
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct MachineClock;

#[cfg(all(feature = "std", unix, target_has_atomic = "64", not(loom)))]
impl MachineClock {
    /// The machine's clock. There is one.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

#[cfg(all(feature = "std", unix, target_has_atomic = "64", not(loom)))]
impl Clock for MachineClock {
    fn now(&self) -> Ticks {
        Ticks::from_millis(super::unix::machine_ms())
    }
}
