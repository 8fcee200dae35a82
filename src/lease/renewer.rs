//! Renewing leases before their time is over.

use super::Pool;
use crate::error::LeaseError;
use crate::types::{LeaseId, Ticks};
use alloc::vec::Vec;
use core::fmt;

/// Renews the leases of a pool, each when a part of its time has gone. Does nothing on its own: whoever has it calls
/// [`poll`](Self::poll), which says when to call it next. `Renewing` does so on a thread.
///
/// A lease that is no longer wanted is [forgotten](Self::forget), and goes back to its pool when its time is over: this is
/// how memory is kept for as long as somebody needs it, and no longer.
///
/// ```
/// use fabric_mq::clock::{Clock, ManualClock};
/// use fabric_mq::lease::{HeapPool, Lease, Pool, Renewer};
/// use fabric_mq::{LeaseError, Ticks};
///
/// let clock = ManualClock::new();
/// let pool = HeapPool::new(&clock);
/// let lease = pool.acquire(1024, Ticks::from_millis(100))?;
/// let mut renewer = Renewer::new(pool.clone());
/// renewer.keep(lease.id(), Ticks::from_millis(100));
/// for _ in 0..10 {
///     let next = renewer.poll(clock.now(), |id, error| panic!("{id}: {error}"));
///     clock.set(next.expect("there is a lease to renew"));
///     pool.sweep();
/// }
/// assert_eq!((clock.now(), lease.check()), (Ticks::from_millis(500), Ok(())));
/// # Ok::<(), LeaseError>(())
/// ```
pub struct Renewer<P> {
    pool: P,
    percent: u8,
    kept: Vec<Kept>,
}

/// A lease to be renewed.
struct Kept {
    id: LeaseId,
    ttl: Ticks,
    /// When to renew it.
    due: Ticks,
    /// When it ends, as far as is known.
    until: Option<Ticks>,
}

/// Whether a lease that answers this may answer otherwise the next time.
const fn may_pass(error: LeaseError) -> bool {
    matches!(error, LeaseError::Disconnected | LeaseError::Io(_) | LeaseError::CapacityExceeded | LeaseError::InUse)
}

impl<P> Renewer<P> {
    /// One that renews each lease when half of its time has gone: so two tries in a row may fail.
    #[must_use]
    pub const fn new(pool: P) -> Self {
        Self { pool, percent: 50, kept: Vec::new() }
    }

    /// The same, but it renews when `percent` of the time has gone: 1 to 99, what is outside is taken for the nearest.
    #[must_use]
    pub fn with_percent(self, percent: u8) -> Self {
        Self { percent: percent.clamp(1, 99), ..self }
    }

    /// Keeps a lease, at each renewal for `ttl` from then. It is renewed at the next [`poll`](Self::poll). Keeping one that
    /// is kept already changes its `ttl`. May allocate.
    pub fn keep(&mut self, id: LeaseId, ttl: Ticks) {
        self.forget(id);
        self.kept.push(Kept { id, ttl, due: Ticks::ZERO, until: None });
    }

    /// Renews a lease no longer. Answers whether it did.
    pub fn forget(&mut self, id: LeaseId) -> bool {
        let before = self.kept.len();
        self.kept.retain(|kept| kept.id != id);
        self.kept.len() != before
    }

    /// How many leases it keeps.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether it keeps none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The pool.
    #[must_use]
    pub const fn pool(&self) -> &P {
        &self.pool
    }
}

impl<P: Pool> Renewer<P> {
    /// Renews what is due at `now`, by the pool's clock; answers when to call it next, or `None` if it keeps nothing.
    ///
    /// `failed` is told of each lease that could not be renewed, and why. One that has ended, or that its pool does not
    /// know, is forgotten; one that could not be reached is tried again, after a quarter of what is left of its time.
    /// Does not allocate; takes as long as the pool's `renew` does for each lease that is due.
    pub fn poll(&mut self, now: Ticks, mut failed: impl FnMut(LeaseId, LeaseError)) -> Option<Ticks> {
        let Self { pool, percent, kept } = self;
        kept.retain_mut(|kept| {
            if kept.due > now {
                return true;
            }
            match pool.renew(kept.id, kept.ttl) {
                Ok(until) => {
                    kept.until = Some(until);
                    kept.due = now.plus(part(kept.ttl, *percent));
                    true
                }
                Err(error) => {
                    let until = *kept.until.get_or_insert_with(|| now.plus(kept.ttl));
                    let left = Ticks::from_millis(until.as_millis().saturating_sub(now.as_millis()));
                    // Behind the end somebody may still have failed to note it: once in a while, then.
                    kept.due = now.plus(part(if left == Ticks::ZERO { kept.ttl } else { left }, 25));
                    failed(kept.id, error);
                    may_pass(error)
                }
            }
        });
        kept.iter().map(|kept| kept.due).min()
    }
}

/// So many percent of a time, at least one tick.
fn part(of: Ticks, percent: u8) -> Ticks {
    let part = u128::from(of.as_millis()).saturating_mul(u128::from(percent)) / 100;
    Ticks::from_millis(u64::try_from(part).unwrap_or(u64::MAX).max(1))
}

impl<P: fmt::Debug> fmt::Debug for Renewer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewer")
            .field("pool", &self.pool)
            .field("percent", &self.percent)
            .field("kept", &self.kept.len())
            .finish_non_exhaustive()
    }
}
