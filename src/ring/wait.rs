//! Waiting for records: a thread that sleeps until there is one, and whoever wakes it.
//!
//! Writing and reading know nothing of this: a writer whose readers sleep calls [`Writer::wake_readers`] after what it has
//! written, once for as many records as it likes. The bell that it rings lies in the ring's lease, so sleepers may be in other
//! processes. A sleeper never relies on it alone: it looks for itself at every [recheck](Deadline::with_recheck), so that
//! writers that do not ring, or have died, cost time, and nothing else. Where the system has no futex (elsewhere than on
//! Linux) a sleeper looks every millisecond at least; without an operating system it spins.

use super::{Reader, RecordRef, Retain, Ring, RingRef, SharedWriter, View, Writer};
use crate::error::ReadError;
use crate::lease::layout::{BELL_AT, BELL_BYTES, SUPERBLOCK_AT, bell};
use crate::lease::{Lease, Lend, Trust};
use crate::platform::bell::{Bell, Words};
use crate::platform::clock::Clock;
use crate::platform::memory::{BLOCK, Block};
use crate::platform::sleep::Scope;
use crate::ring::{Copied, Keep};
use crate::types::Ticks;

/// How long a sleeper that nobody wakes sleeps before it looks by itself, if nothing else was said.
pub(crate) const RECHECK: Ticks = Ticks::from_millis(10);
/// The one bit of the bell in a lease.
const HERE: u32 = 1;

/// Until when to wait, and by what clock.
///
/// ```
/// use fabric_mq::Ticks;
/// use fabric_mq::clock::ManualClock;
/// use fabric_mq::lease::SliceLease;
/// use fabric_mq::ring::{Deadline, Reader, Ring, RingConfig, Start, Writer};
///
/// let clock = ManualClock::new();
/// let mut bytes = [0; 4096];
/// let ring: Ring<_> = Ring::format(SliceLease::new(&mut bytes), RingConfig::new(32, 1024))?;
/// let mut reader = Reader::join(&ring, "main", Start::Earliest)?;
/// // A deadline that is now: a look, and no sleep.
/// assert!(reader.wait_next(&Deadline::at(&clock, Ticks::ZERO))?.is_none());
///
/// let mut writer = Writer::claim(&ring)?;
/// writer.write(b"hello")?;
/// writer.wake_readers();
/// let record = reader.wait_next(&Deadline::after(&clock, Ticks::from_millis(100)))?;
/// assert_eq!(record.expect("one was written").payload(), b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Deadline<C> {
    clock: C,
    at: Ticks,
    recheck: Ticks,
}

impl<C: Clock> Deadline<C> {
    /// At this time of the clock's. [`Ticks::MAX`] is never.
    #[must_use]
    pub const fn at(clock: C, at: Ticks) -> Self {
        Self { clock, at, recheck: RECHECK }
    }

    /// So long from now. A time past [`Ticks::MAX`] is never.
    #[must_use]
    pub fn after(clock: C, timeout: Ticks) -> Self {
        let at = clock.now().plus(timeout);
        Self::at(clock, at)
    }

    /// Sets after how long a sleep one looks for oneself, as if woken: for writers that do not ring, leases that end, and clocks
    /// that are set forward. In milliseconds of real time, whatever the clock is; 1 at least. Default: 10 ms.
    #[must_use]
    pub fn with_recheck(self, recheck: Ticks) -> Self {
        Self { recheck: recheck.max(Ticks::from_millis(1)), ..self }
    }

    /// How long to sleep at most now, in milliseconds; `None` when it is over.
    pub(crate) fn nap(&self) -> Option<u64> {
        let left = self.at.as_millis().checked_sub(self.clock.now().as_millis()).filter(|left| *left != 0)?;
        Some(left.min(self.recheck.as_millis()))
    }
}

impl View {
    fn superblock(&self) -> Block {
        self.control.fixed::<{ SUPERBLOCK_AT / BLOCK }>()
    }

    /// Runs `f` on the bell in the lease.
    fn with_bell<L: Lease, R>(&self, f: impl FnOnce(Words<'_>) -> R) -> R {
        let scope = if L::Trust::EXCLUSIVE { Scope::Process } else { Scope::Machine };
        let block = self.superblock();
        f(Words::new(block.word(bell::RINGS), block.word(bell::WAITING), scope))
    }
}

impl<L: Lease, K: Keep> Ring<L, K> {
    /// Wakes the readers that sleep in [`Reader::wait`] and its like, in all processes. Called behind a write or a commit: who
    /// is not woken sees what was committed before. One fence and one load if nobody sleeps; anybody may do it at any time.
    #[inline]
    pub fn wake_readers(&self) {
        self.lease.invalidate(BELL_AT, BELL_BYTES);
        if self.view.with_bell::<L, _>(|bell| bell.is_wanted()) {
            self.answer();
        }
    }

    /// The same behind a fence of the caller's, made after the commit.
    #[inline]
    pub(crate) fn wake_readers_fenced(&self) {
        self.lease.invalidate(BELL_AT, BELL_BYTES);
        if self.view.with_bell::<L, _>(|bell| bell.is_set()) {
            self.answer();
        }
    }

    #[cold]
    #[inline(never)]
    fn answer(&self) {
        self.view.with_bell::<L, _>(|bell| bell.answer(HERE));
        self.lease.clean(BELL_AT, BELL_BYTES);
    }

    fn listen(&self) -> u32 {
        self.lease.invalidate(BELL_AT, BELL_BYTES);
        let seen = self.view.with_bell::<L, _>(|bell| bell.listen(HERE));
        self.lease.clean(BELL_AT, BELL_BYTES);
        seen
    }

    fn sleep(&self, seen: u32, limit_ms: u64, step: u32) {
        self.view.with_bell::<L, _>(|bell| bell.sleep(seen, HERE, limit_ms, step));
    }

    /// Sleeps until somebody [wakes the readers](Self::wake_readers) of this ring, from whatever process, or until it is time to
    /// [recheck](Deadline::with_recheck), or the deadline; then rings `bell`, so that the tasks of this program that wait for
    /// records of the ring look for them. Called again and again by a thread that is spared for it, while the
    /// writers are in other processes: they do not know of tasks here. Blocks; does not allocate.
    ///
    /// ```
    /// # #[cfg(feature = "std")]
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use fabric_mq::Ticks;
    /// use fabric_mq::clock::SystemClock;
    /// use fabric_mq::ring::{Bell, Deadline};
    /// # use fabric_mq::lease::SliceLease;
    /// # use fabric_mq::ring::{Ring, RingConfig};
    /// use std::sync::atomic::{AtomicBool, Ordering};
    ///
    /// static BELL: Bell<4> = Bell::new();
    /// static DONE: AtomicBool = AtomicBool::new(false);
    /// # let mut bytes = [0; 4096];
    /// # let ring: Ring<_> = Ring::format(SliceLease::new(&mut bytes), RingConfig::new(32, 1024))?;
    /// let clock = SystemClock::new();
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         while !DONE.load(Ordering::Relaxed) {
    ///             ring.relay(&BELL, &Deadline::after(&clock, Ticks::from_millis(1000)));
    ///         }
    ///     });
    ///     // Tasks wait with `AsyncReader::new(reader, &BELL)`; and at the end:
    ///     DONE.store(true, Ordering::Relaxed);
    ///     ring.wake_readers();
    /// });
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "std"))]
    /// # fn main() {}
    /// ```
    pub fn relay<const N: usize, C: Clock>(&self, bell: &Bell<N>, deadline: &Deadline<C>) {
        let seen = self.listen();
        // For what was committed while nobody listened.
        bell.ring();
        if let Some(limit) = deadline.nap() {
            self.sleep(seen, limit, 0);
            bell.ring();
        }
    }
}

impl<P: RingRef> Writer<P> {
    /// Wakes the readers that sleep: see [`Ring::wake_readers`]. Nothing that writes does it by itself.
    #[inline]
    pub fn wake_readers(&self) {
        self.ring().wake_readers();
    }
}

impl<P: RingRef> SharedWriter<P> {
    /// Wakes the readers that sleep: see [`Ring::wake_readers`]. Nothing that writes does it by itself.
    #[inline]
    pub fn wake_readers(&self) {
        self.ring().wake_readers();
    }
}

impl<P: RingRef> Reader<P> {
    /// Whether there is something to read, or to be told of: a record, an overrun, damage. If not, the writer is told that
    /// everything handed out so far is done with, so that it can never wait for a reader that waits for it. Does not block.
    ///
    /// # Errors
    /// [`ReadError::Lease`] if there is no further record and the lease has ended.
    pub fn is_ready(&mut self) -> Result<bool, ReadError> {
        let stamp = self.entry()?.stamp();
        if stamp != self.view.stale(self.next) {
            // A log that is being ended has something to tell when it is said where it goes on.
            let ended = <P::Lease as Lease>::SEALABLE && self.view.is_end(self.next, stamp);
            if !ended || self.ring().seal().map_or(true, |seal| seal.is_some()) {
                return Ok(true);
            }
        }
        self.ring().lease().check()?;
        self.release();
        Ok(false)
    }

    /// Sleeps until there is something to read, or the deadline; answers whether there is. May be used on every ring and
    /// lease, while the writer is in any thread or process that calls [`wake_readers`](Ring::wake_readers); without that, a
    /// record is found at the next [recheck](Deadline::with_recheck). Blocks; does not allocate.
    ///
    /// # Errors
    /// [`ReadError::Lease`] if there is no further record and the lease has ended: found out at the latest at the next recheck.
    pub fn wait<C: Clock>(&mut self, deadline: &Deadline<C>) -> Result<bool, ReadError> {
        let mut step = 0_u32;
        loop {
            if self.is_ready()? {
                return Ok(true);
            }
            if deadline.nap().is_none() {
                return Ok(false);
            }
            let seen = self.ring().listen();
            if self.is_ready()? {
                return Ok(true);
            }
            let Some(limit) = deadline.nap() else { return Ok(false) };
            self.ring().sleep(seen, limit, step);
            step = step.saturating_add(1);
        }
    }

    /// [Waits](Self::wait) for the next record and copies it to `buffer`; `None` if there was none until the deadline.
    ///
    /// # Errors
    /// As [`copy_next`](Self::copy_next).
    pub fn wait_copy_next<C: Clock>(
        &mut self,
        buffer: &mut [u8],
        deadline: &Deadline<C>,
    ) -> Result<Option<Copied>, ReadError> {
        if self.wait(deadline)? { self.copy_next(buffer) } else { Ok(None) }
    }
}

impl<P> Reader<P>
where
    P: RingRef<Keep = Retain>,
    <P::Lease as Lease>::Trust: Lend,
{
    /// [Waits](Self::wait) for the next record and lends it in place; `None` if there was none until the deadline.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn wait_next<C: Clock>(&mut self, deadline: &Deadline<C>) -> Result<Option<RecordRef<'_>>, ReadError> {
        if self.wait(deadline)? { self.next() } else { Ok(None) }
    }
}
