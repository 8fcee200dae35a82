//! The one loop that waits, for every implementation: try again 256 times, then give the core away between tries.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::messages::{Messages, Sum};
use crate::queue::{BATCH, Inlet, Outlet};

const SPINS: u32 = 256;

/// A queue that hands nothing over for this long has lost a message; better told than waited for.
const STUCK: Duration = Duration::from_secs(30);

/// Waiting between fruitless tries, from the last success on. Its address is never taken, so that it lives in registers and
/// a success costs nothing.
struct Pause {
    tries: u32,
    since: Option<Instant>,
}

impl Pause {
    fn new() -> Self {
        Self { tries: 0, since: None }
    }

    #[inline(always)]
    fn reset(&mut self) {
        self.tries = 0;
    }

    #[inline(always)]
    fn wait(&mut self) {
        self.tries = self.tries.saturating_add(1);
        if self.tries <= SPINS {
            std::hint::spin_loop();
        } else {
            self.since = give_way(self.tries, self.since);
        }
    }
}

/// Yields, and answers since when there was a reason to.
#[cold]
#[inline(never)]
fn give_way(tries: u32, since: Option<Instant>) -> Option<Instant> {
    std::thread::yield_now();
    if tries == SPINS + 1 {
        return Some(Instant::now());
    }
    if tries.is_multiple_of(1024) {
        let stuck = since.is_some_and(|since| since.elapsed() > STUCK);
        assert!(!stuck, "nothing moved for {STUCK:?}");
    }
    since
}

/// Sends the messages `first .. first + count`.
#[inline(always)]
pub fn send<const N: usize, const BATCHED: bool>(
    inlet: &mut impl Inlet<N>,
    messages: &Messages<'_, N>,
    first: usize,
    count: usize,
) {
    let mut pause = Pause::new();
    let end = first + count;
    let mut index = first;
    while index < end {
        let sent = if BATCHED {
            inlet.try_send_batch(messages, index, (end - index).min(BATCH))
        } else {
            usize::from(inlet.try_send(messages, index))
        };
        if sent == 0 {
            pause.wait();
        } else {
            pause.reset();
            index += sent;
        }
    }
}

/// Takes `count` messages.
#[inline(always)]
pub fn take<const BATCHED: bool>(outlet: &mut impl Outlet, sum: &mut Sum, count: usize) {
    let mut pause = Pause::new();
    // A copy that nobody else has the address of can be kept in registers, whatever atomics the peer uses.
    let mut local = *sum;
    let mut taken = 0;
    while taken < count {
        let more = if BATCHED { outlet.try_take_batch(&mut local) } else { outlet.try_take(&mut local) };
        if more == 0 {
            pause.wait();
        } else {
            pause.reset();
            taken += more;
        }
    }
    *sum = local;
    assert_eq!(taken, count, "more came out than went in");
}

/// Takes what waits, and waits for it; answers how many messages that were.
#[cfg(target_os = "linux")]
#[inline(always)]
pub fn take_some(outlet: &mut impl Outlet, sum: &mut Sum) -> usize {
    let mut pause = Pause::new();
    loop {
        let taken = outlet.try_take(sum);
        if taken > 0 {
            return taken;
        }
        pause.wait();
    }
}

/// Lets all threads of a round start together. They spin, as waking up would take longer than the round's first
/// messages; they give way, as there may be fewer cores than threads.
pub struct Gate {
    missing: AtomicUsize,
}

impl Gate {
    pub fn new(threads: usize) -> Self {
        Self { missing: AtomicUsize::new(threads) }
    }

    pub fn pass(&self) {
        self.missing.fetch_sub(1, Ordering::AcqRel);
        let mut tries = 0_u32;
        while self.missing.load(Ordering::Acquire) != 0 {
            tries += 1;
            if tries.is_multiple_of(SPINS) {
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
    }
}
