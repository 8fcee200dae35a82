//! Bells: who waits for a record is woken by who committed it, and who commits pays a fence and a load if nobody waits.
//!
//! A bell is two words. `waiting` has a bit for each thing that somebody waits for (a partition; in a lease, one bit for the
//! ring); `rings` counts.
//!
//! - Who waits: notes `rings`, sets its bits in `waiting`, fences, **looks** for a record once more, and sleeps unless `rings`
//!   has changed.
//! - Who rings: has committed, fences, loads `waiting`. If a bit of its own is set, it clears it, **then** counts `rings` up,
//!   then wakes the sleepers and the tasks of that bit.
//!
//! No wake-up is lost:
//! - `SYNC(bell)`: of the two fences (both sequentially consistent) one comes first. If it is the waiter's, the ringer sees the
//!   bit; if it is the ringer's, the waiter's look sees the record.
//! - A bit that is cleared may be one which a second waiter has just set. Whoever clears it counts up afterwards and wakes: the
//!   second waiter has noted `rings` before that, so it does not sleep, or is woken. If it noted the new count, it set its bit
//!   after the old one was cleared (the count hands that on), and the bit stays.
//! - A ringer that finds its bit cleared by another one leaves the rest to that one: a waiter who has set the bit anew before
//!   this ringer's fence would have been seen.
//!
//! A waiter that dies leaves its bit: that costs one ring. Whoever spoils the words of a lease can keep waiters asleep until
//! they look by themselves, and nothing else.

use super::atomic::{AtomicU32, Ordering, fence};
use super::lock::Lock;
use super::sleep::{self, Scope};
use core::task::Waker;

/// All bits.
pub(crate) const ALL: u32 = u32::MAX;

/// The bit of a partition. Beyond 32 partitions some share one, and wake each other for nothing.
#[inline]
pub(crate) const fn bit(number: u32) -> u32 {
    1_u32.wrapping_shl(number)
}

#[cfg(any(loom, target_has_atomic = "32"))]
mod words {
    use super::{AtomicU32, Ordering};

    pub(super) fn set(word: &AtomicU32, bits: u32) {
        word.fetch_or(bits, Ordering::AcqRel);
    }

    /// Answers those that were set.
    pub(super) fn clear(word: &AtomicU32, bits: u32) -> u32 {
        word.fetch_and(!bits, Ordering::AcqRel) & bits
    }

    pub(super) fn count_up(word: &AtomicU32) {
        word.fetch_add(1, Ordering::AcqRel);
    }
}

/// For processors without compare-and-swap.
#[cfg(not(any(loom, target_has_atomic = "32")))]
mod words {
    use super::{AtomicU32, Ordering};

    fn change(word: &AtomicU32, f: impl FnOnce(u32) -> u32) -> u32 {
        critical_section::with(|_| {
            let old = word.load(Ordering::Acquire);
            word.store(f(old), Ordering::Release);
            old
        })
    }

    pub(super) fn set(word: &AtomicU32, bits: u32) {
        change(word, |old| old | bits);
    }

    /// Answers those that were set.
    pub(super) fn clear(word: &AtomicU32, bits: u32) -> u32 {
        change(word, |old| old & !bits) & bits
    }

    pub(super) fn count_up(word: &AtomicU32) {
        change(word, |old| old.wrapping_add(1));
    }
}

/// The words of a bell, wherever they are.
#[derive(Clone, Copy)]
pub(crate) struct Words<'a> {
    rings: &'a AtomicU32,
    waiting: &'a AtomicU32,
    scope: Scope,
}

impl<'a> Words<'a> {
    #[inline]
    pub(crate) const fn new(rings: &'a AtomicU32, waiting: &'a AtomicU32, scope: Scope) -> Self {
        Self { rings, waiting, scope }
    }

    /// Announces somebody who waits for `bits`, and answers the rings so far: what [`sleep`](Self::sleep) must be told. Between
    /// the two, the caller looks once more at what it waits for.
    pub(crate) fn listen(self, bits: u32) -> u32 {
        let seen = self.rings.load(Ordering::Acquire);
        words::set(self.waiting, bits);
        // SYNC(bell): with the fence in `is_wanted`, or the caller's before `is_set`.
        fence(Ordering::SeqCst);
        seen
    }

    /// Sleeps until one of `bits` is rung, or for some other reason; at most `limit_ms`. `step` counts the sleeps of one wait.
    pub(crate) fn sleep(self, seen: u32, bits: u32, limit_ms: u64, step: u32) {
        sleep::sleep(self.rings, seen, bits, self.scope, limit_ms, step);
    }

    /// Whether somebody waits who may have missed what was committed before, for whatever.
    #[inline]
    pub(crate) fn is_wanted(self) -> bool {
        // SYNC(bell): with the fence in `listen`.
        fence(Ordering::SeqCst);
        self.is_set()
    }

    /// The same behind a fence of the caller's.
    #[inline]
    pub(crate) fn is_set(self) -> bool {
        self.waiting.load(Ordering::Relaxed) != 0
    }

    /// Wakes those who wait for `bits`; answers which of them were waited for. Behind a fence, as `is_set`.
    #[cold]
    #[inline(never)]
    pub(crate) fn answer(self, bits: u32) -> u32 {
        if self.waiting.load(Ordering::Relaxed) & bits == 0 {
            // They wait for something else.
            return 0;
        }
        let found = words::clear(self.waiting, bits);
        if found != 0 {
            words::count_up(self.rings);
            sleep::wake(self.rings, found, self.scope);
        }
        found
    }
}

/// A place for one task that waits.
pub(crate) struct Seat(Lock<Task>);

enum Task {
    /// Nobody's.
    Free,
    /// Somebody's, who does not wait at present.
    Kept,
    /// Somebody's, who waits for these bits.
    Waits(u32, Waker),
}

impl Seat {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self(Lock::new(Task::Free))
    }
    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self(Lock::new(Task::Free))
    }

    /// Takes the seat if it is free: then `task` is in it, and gone from where it was.
    fn take(&self, task: &mut Option<Task>) -> bool {
        self.0.with(|held| match (&*held, task.take()) {
            (Task::Free, Some(new)) => {
                *held = new;
                true
            }
            (_, kept) => {
                *task = kept;
                false
            }
        })
    }

    /// Puts another state there. What was there is dropped outside the lock: a waker is code of somebody else's.
    fn put(&self, task: Task) {
        drop(self.0.with(|held| core::mem::replace(held, task)));
    }

    /// Whether exactly this is there already.
    fn has(&self, bits: u32, waker: &Waker) -> bool {
        self.0.with(|held| matches!(held, Task::Waits(other, held) if *other == bits && held.will_wake(waker)))
    }

    /// Takes the waker of a task that waits for one of `bits`.
    fn rouse(&self, bits: u32) -> Option<Waker> {
        self.0.with(|held| match core::mem::replace(held, Task::Kept) {
            Task::Waits(wanted, waker) if wanted & bits != 0 => Some(waker),
            other => {
                *held = other;
                None
            }
        })
    }
}

/// A bell of this process and its seats, borrowed.
#[derive(Clone, Copy)]
pub(crate) struct BellRef<'a> {
    own: &'a Own,
    seats: &'a [Seat],
}

impl<'a> BellRef<'a> {
    const fn words(self) -> Words<'a> {
        self.own.words()
    }

    /// How many tasks can wait.
    pub(crate) const fn limit(self) -> usize {
        self.seats.len()
    }

    /// Wakes whoever waits for `bits`. One fence and one load if nobody does.
    #[inline]
    pub(crate) fn ring(self, bits: u32) {
        if self.words().is_wanted() {
            self.answer(bits);
        }
    }

    #[cold]
    #[inline(never)]
    fn answer(self, bits: u32) {
        let found = self.words().answer(bits);
        if found != 0 {
            // One at a time, and woken outside the lock.
            for waker in self.seats.iter().filter_map(|seat| seat.rouse(found)) {
                waker.wake();
            }
        }
    }

    /// Has `waker` woken when one of `bits` is rung, from a seat that is kept in `ticket` until it is
    /// [left](Self::leave). Answers whether there was a seat. The caller looks at what it waits for afterwards.
    pub(crate) fn register(self, ticket: &mut Option<usize>, bits: u32, waker: &Waker) -> bool {
        if let Some(seat) = ticket.and_then(|at| self.seats.get(at)) {
            if !seat.has(bits, waker) {
                seat.put(Task::Waits(bits, waker.clone()));
            }
        } else {
            let mut task = Some(Task::Waits(bits, waker.clone()));
            *ticket = self.seats.iter().position(|seat| seat.take(&mut task));
            if ticket.is_none() {
                return false;
            }
        }
        // The seat first, so that whoever sees the bit finds the waker.
        let _ = self.words().listen(bits);
        true
    }

    /// Leaves the seat.
    pub(crate) fn leave(self, ticket: &mut Option<usize>) {
        if let Some(seat) = ticket.take().and_then(|at| self.seats.get(at)) {
            seat.put(Task::Free);
        }
    }
}

/// The words of a bell of this process.
pub(crate) struct Own {
    rings: AtomicU32,
    waiting: AtomicU32,
}

impl Own {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self { rings: AtomicU32::new(0), waiting: AtomicU32::new(0) }
    }
    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self { rings: AtomicU32::new(0), waiting: AtomicU32::new(0) }
    }

    #[inline]
    const fn words(&self) -> Words<'_> {
        Words::new(&self.rings, &self.waiting, Scope::Process)
    }

    #[inline]
    pub(crate) const fn with<'a>(&'a self, seats: &'a [Seat]) -> BellRef<'a> {
        BellRef { own: self, seats }
    }
}

/// The bell of a topic, with its seats.
pub(crate) struct Desk {
    own: Own,
    seats: Seats,
}

enum Seats {
    Few([Seat; FEW]),
    #[cfg(feature = "alloc")]
    Many(alloc::boxed::Box<[Seat]>),
}

/// Seats where there is no allocator.
const FEW: usize = 4;

impl Desk {
    /// With a few seats, in place.
    pub(crate) fn small() -> Self {
        Self { own: Own::new(), seats: Seats::Few(core::array::from_fn(|_| Seat::new())) }
    }

    /// With so many seats.
    #[cfg(feature = "alloc")]
    pub(crate) fn with_seats(count: usize) -> Self {
        Self { own: Own::new(), seats: Seats::Many((0..count).map(|_| Seat::new()).collect()) }
    }

    pub(crate) const fn words(&self) -> Words<'_> {
        self.own.words()
    }

    /// Wakes whoever waits for `bits`. One fence and one load if nobody does.
    #[inline]
    pub(crate) fn ring(&self, bits: u32) {
        if self.own.words().is_wanted() {
            self.answer(bits);
        }
    }

    #[cold]
    #[inline(never)]
    fn answer(&self, bits: u32) {
        self.get().answer(bits);
    }

    pub(crate) fn get(&self) -> BellRef<'_> {
        self.own.with(match &self.seats {
            Seats::Few(seats) => seats,
            #[cfg(feature = "alloc")]
            Seats::Many(seats) => seats,
        })
    }
}

/// Wakes tasks of this process or program that wait for records of a ring: at most `N` at the same time. Lies beside the ring,
/// in a `static` perhaps. Whoever has written rings it; an interrupt handler may.
///
/// See [`AsyncReader`](crate::ring::AsyncReader). To ring takes one fence and one load while nobody waits. With interrupt
/// handlers on a processor that has compare-and-swap, enable the feature `critical-section`.
///
/// ```
/// use fabric_mq::ring::Bell;
/// static BELL: Bell<2> = Bell::new();
/// BELL.ring();
/// ```
pub struct Bell<const N: usize = 1> {
    words: Own,
    seats: [Seat; N],
}

impl<const N: usize> Bell<N> {
    /// A bell that nobody listens to.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self { words: Own::new(), seats: [const { Seat::new() }; N] }
    }

    /// A bell that nobody listens to.
    #[cfg(loom)]
    #[must_use]
    pub fn new() -> Self {
        Self { words: Own::new(), seats: core::array::from_fn(|_| Seat::new()) }
    }

    /// Wakes all tasks that wait. Called behind a write or a commit: what was committed before is seen by every task that is
    /// not woken. Does not allocate or block; runs the wakers.
    #[inline]
    pub fn ring(&self) {
        self.get().ring(ALL);
    }

    #[inline]
    pub(crate) const fn get(&self) -> BellRef<'_> {
        self.words.with(&self.seats)
    }
}

impl<const N: usize> Default for Bell<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> core::fmt::Debug for Bell<N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Bell").field("tasks", &N).finish_non_exhaustive()
    }
}
