//! Pools: who hands leases out, renews them, and takes them back.

#![allow(unsafe_code, reason = "leases promise that their bytes are valid")]

use super::term::{End, Term};
use super::{Exclusive, Lease};
use crate::error::LeaseError;
use crate::platform::clock::Clock;
use crate::platform::lock::Lock;
use crate::platform::memory::BLOCK;
use crate::types::{Epoch, LeaseId, Ticks};
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

/// Hands out leases on some memory.
///
/// A lease that its holder drops goes back at once. One whose holder *detaches* from it stays in the pool until its time
/// is over, so that whoever comes next can [`attach`](Self::attach) to what is in it: this is how a log survives its
/// holder. Nothing here blocks; a heap pool allocates in `acquire`, and one that processes share in every call.
pub trait Pool {
    /// What it hands out.
    type Lease: Lease;

    /// Leases at least `min_bytes` zeroed bytes until `ttl` from now, unless renewed.
    ///
    /// # Errors
    /// [`LeaseError::CapacityExceeded`] if there is no room.
    fn acquire(&self, min_bytes: usize, ttl: Ticks) -> Result<Self::Lease, LeaseError>;

    /// Takes over a lease that its holder detached from, under the next higher epoch.
    ///
    /// # Errors
    /// [`LeaseError::Unknown`] if there is none of this id, [`LeaseError::InUse`] while its holder lives,
    /// [`LeaseError::Expired`] or [`LeaseError::Revoked`] if it has ended.
    fn attach(&self, id: LeaseId) -> Result<Self::Lease, LeaseError>;

    /// Reaches a lease that somebody else holds, or held, to read what is in it: its [`role`](Lease::role) is
    /// [`Reader`](super::Role::Reader). The holder may change meanwhile.
    ///
    /// # Errors
    /// [`LeaseError::Unsupported`] if leases of this pool have one holder and nobody else;
    /// [`LeaseError::Unknown`] if there is none of this id, or the way in which it has ended.
    fn join(&self, id: LeaseId) -> Result<Self::Lease, LeaseError> {
        let _ = id;
        Err(LeaseError::Unsupported)
    }

    /// Moves the end of a lease to `ttl` from now, and answers when that is. Never moves it forward in time.
    ///
    /// # Errors
    /// [`LeaseError::Unknown`], or the way in which the lease has ended: it cannot be brought back.
    fn renew(&self, id: LeaseId, ttl: Ticks) -> Result<Ticks, LeaseError>;

    /// Takes a lease back, from its holder too, who is told [`LeaseError::Revoked`] at its next record. The bytes are free
    /// again once there is no holder.
    ///
    /// # Errors
    /// [`LeaseError::Unknown`] if there is none of this id.
    fn revoke(&self, id: LeaseId) -> Result<(), LeaseError>;

    /// Ends a holder's right to write, because somebody else is to take over, and answers the epoch of whoever attaches
    /// next. The old holder is told [`LeaseError::Fenced`]; it must be gone before anybody can attach, and what is in the
    /// lease waits for that, until its time is over.
    ///
    /// # Errors
    /// [`LeaseError::Unknown`] if there is none of this id, or the way in which it has ended.
    fn fence(&self, id: LeaseId) -> Result<Epoch, LeaseError>;

    /// Ends the right to write of a lease's holder, whether it lives or not, and reaches the lease under the next higher epoch,
    /// to end the log in it: its [`role`](Lease::role) is [`Sealer`](super::Role::Sealer). What is in it stays until `keep` from
    /// now, or until its own time is over if that is later.
    ///
    /// # Errors
    /// [`LeaseError::Unsupported`] if logs in this pool cannot be ended for a successor ([`Lease::SEALABLE`]); as
    /// [`join`](Self::join), but a lease that has expired does.
    fn supersede(&self, id: LeaseId, keep: Ticks) -> Result<Self::Lease, LeaseError> {
        let _ = (id, keep);
        Err(LeaseError::Unsupported)
    }

    /// [`acquire`](Self::acquire) for a log that was begun in another lease: under that one's epoch, so that epochs do not go
    /// back.
    ///
    /// # Errors
    /// As `acquire`; [`LeaseError::Unsupported`] as [`supersede`](Self::supersede).
    fn acquire_behind(&self, old: &Self::Lease, min_bytes: usize, ttl: Ticks) -> Result<Self::Lease, LeaseError> {
        let _ = (old, min_bytes, ttl);
        Err(LeaseError::Unsupported)
    }

    /// Records the end of every lease whose time is over, and answers how many those were. To be called regularly, at
    /// least as often as the shortest lease should be exact.
    fn sweep(&self) -> usize;
}

/// What a pool knows about one lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) id: LeaseId,
    pub(super) epoch: Epoch,
    pub(super) deadline: Ticks,
    pub(super) held: bool,
}

impl Record {
    /// Notes that the time is over, if it is.
    pub(super) fn settle(&self, term: &Term, now: Ticks) -> bool {
        if term.check().is_ok() && now >= self.deadline {
            term.end(End::Expired);
            return true;
        }
        false
    }

    /// Whether nobody holds the lease and nobody can come to hold it.
    pub(super) fn is_over(&self, term: &Term, now: Ticks) -> bool {
        let open = match term.check() {
            Ok(()) => true,
            // Waits for whoever is to take over, but not for ever.
            Err(LeaseError::Fenced) => now < self.deadline,
            Err(_) => false,
        };
        !self.held && !open
    }

    pub(super) fn renew(&mut self, term: &Term, now: Ticks, ttl: Ticks) -> Result<Ticks, LeaseError> {
        self.settle(term, now);
        term.check()?;
        self.deadline = self.deadline.max(now.plus(ttl));
        Ok(self.deadline)
    }

    /// Makes ready for the next holder.
    pub(super) fn attach(&mut self, term: &Term, now: Ticks) -> Result<Epoch, LeaseError> {
        self.settle(term, now);
        if self.held {
            return Err(LeaseError::InUse);
        }
        match term.check() {
            // A fenced lease was fenced for this: the next holder starts a new term.
            Ok(()) => {}
            Err(LeaseError::Fenced) if now < self.deadline => {}
            Err(LeaseError::Fenced) => return Err(LeaseError::Expired),
            Err(end) => return Err(end),
        }
        self.epoch = Epoch::new(self.epoch.value().checked_add(1).ok_or(LeaseError::Fenced)?);
        term.restart();
        self.held = true;
        Ok(self.epoch)
    }

    pub(super) fn fence(&self, term: &Term, now: Ticks) -> Result<Epoch, LeaseError> {
        self.settle(term, now);
        match term.check() {
            Ok(()) | Err(LeaseError::Fenced) => {}
            Err(end) => return Err(end),
        }
        term.end(End::Fenced);
        Ok(Epoch::new(self.epoch.value().saturating_add(1)))
    }
}

/// A pool over memory that the caller lends, with room for `N` leases. No allocator.
///
/// Leases are cut from the slice first-fit, at multiples of 128 bytes.
///
/// ```
/// use fabric_mq::clock::ManualClock;
/// use fabric_mq::lease::{Lease, Pool, SlicePool};
/// use fabric_mq::{LeaseError, Ticks};
///
/// let mut bytes = [0; 8192];
/// let clock = ManualClock::new();
/// let pool: SlicePool<'_, 4, _> = SlicePool::new(&mut bytes, &clock);
/// let lease = (&pool).acquire(1000, Ticks::from_millis(50))?;
/// clock.advance(Ticks::from_millis(50));
/// assert_eq!((&pool).sweep(), 1);
/// assert_eq!(lease.check(), Err(LeaseError::Expired));
/// # Ok::<(), LeaseError>(())
/// ```
pub struct SlicePool<'m, const N: usize, C> {
    base: NonNull<u8>,
    blocks: usize,
    terms: [Term; N],
    table: Lock<Table<N>>,
    clock: C,
    _memory: PhantomData<&'m mut [u8]>,
}

struct Table<const N: usize> {
    /// Block where each lease starts, how many blocks it has, and its record; `None` where the place is free.
    places: [Option<(usize, usize, Record)>; N],
    next_id: u128,
}

// SAFETY: the bytes are reached only through leases, each over blocks of its own; the table is behind a lock.
unsafe impl<const N: usize, C: Send> Send for SlicePool<'_, N, C> {}
// SAFETY: as above.
unsafe impl<const N: usize, C: Sync> Sync for SlicePool<'_, N, C> {}

impl<'m, const N: usize, C: Clock> SlicePool<'m, N, C> {
    /// A pool over `bytes`. Up to 127 bytes at the start and at the end are left out to align the leases.
    #[must_use]
    pub fn new(bytes: &'m mut [u8], clock: C) -> Self {
        let skip = bytes.as_ptr().align_offset(BLOCK).min(bytes.len());
        let bytes = bytes.get_mut(skip..).unwrap_or_default();
        let blocks = bytes.len() / BLOCK;
        Self {
            base: NonNull::from(bytes).cast(),
            blocks,
            terms: core::array::from_fn(|_| Term::new()),
            table: Lock::new(Table { places: [None; N], next_id: 1 }),
            clock,
            _memory: PhantomData,
        }
    }
}

impl<const N: usize, C> SlicePool<'_, N, C> {
    /// The place of a lease and its term.
    fn find<'t>(&self, table: &'t mut Table<N>, id: LeaseId) -> Result<(&'t mut Record, &Term, usize), LeaseError> {
        table
            .places
            .iter_mut()
            .zip(&self.terms)
            .enumerate()
            .find_map(|(index, (place, term))| match place {
                Some((_, _, record)) if record.id == id => Some((record, term, index)),
                _ => None,
            })
            .ok_or(LeaseError::Unknown)
    }

    /// The first run of `wanted` free blocks.
    fn gap(&self, table: &Table<N>, wanted: usize) -> Option<usize> {
        let mut at: usize = 0;
        loop {
            let end = at.checked_add(wanted)?;
            if end > self.blocks {
                return None;
            }
            // Of the leases in the way, jump behind the one that ends last; each jump passes at least one lease.
            let behind = table
                .places
                .iter()
                .flatten()
                .filter(|(start, len, _)| *start < end && start.saturating_add(*len) > at)
                .map(|(start, len, _)| start.saturating_add(*len))
                .max();
            match behind {
                Some(next) => at = next,
                None => return Some(at),
            }
        }
    }
}

/// Free places whose holder is gone and whose time is over.
fn collect<const N: usize>(table: &mut Table<N>, terms: &[Term; N], now: Ticks) -> usize {
    let mut ended: usize = 0;
    for (place, term) in table.places.iter_mut().zip(terms) {
        if let Some((_, _, record)) = place {
            ended = ended.saturating_add(usize::from(record.settle(term, now)));
            if record.is_over(term, now) {
                *place = None;
            }
        }
    }
    ended
}

impl<'p, const N: usize, C: Clock> Pool for &'p SlicePool<'_, N, C> {
    type Lease = SlicePoolLease<'p, N, C>;

    fn acquire(&self, min_bytes: usize, ttl: Ticks) -> Result<Self::Lease, LeaseError> {
        let pool: &'p SlicePool<'_, N, C> = self;
        let now = pool.clock.now();
        let wanted = min_bytes.div_ceil(BLOCK).max(1);
        let (slot, start, record) = pool.table.with(|table| {
            collect(table, &pool.terms, now);
            let start = pool.gap(table, wanted).ok_or(LeaseError::CapacityExceeded)?;
            let id = LeaseId::new(table.next_id);
            let (slot, (place, term)) = table
                .places
                .iter_mut()
                .zip(&pool.terms)
                .enumerate()
                .find(|(_, (place, _))| place.is_none())
                .ok_or(LeaseError::CapacityExceeded)?;
            let record = Record { id, epoch: Epoch::new(1), deadline: now.plus(ttl), held: true };
            term.restart();
            *place = Some((start, wanted, record));
            table.next_id = table.next_id.wrapping_add(1);
            Ok((slot, start, record))
        })?;
        let lease = SlicePoolLease::new(pool, slot, start, wanted, record);
        // SAFETY: the blocks are this lease's alone since they stand in the table, and lie in the slice (`gap`).
        unsafe { lease.base.write_bytes(0, lease.len) };
        Ok(lease)
    }

    fn attach(&self, id: LeaseId) -> Result<Self::Lease, LeaseError> {
        let pool: &'p SlicePool<'_, N, C> = self;
        let now = pool.clock.now();
        pool.table.with(|table| {
            let (record, term, slot) = pool.find(table, id)?;
            record.attach(term, now)?;
            let record = *record;
            let Some(Some((start, len, _))) = table.places.get(slot) else { return Err(LeaseError::Unknown) };
            Ok(SlicePoolLease::new(pool, slot, *start, *len, record))
        })
    }

    fn renew(&self, id: LeaseId, ttl: Ticks) -> Result<Ticks, LeaseError> {
        let now = self.clock.now();
        self.table.with(|table| {
            let (record, term, _) = self.find(table, id)?;
            record.renew(term, now, ttl)
        })
    }

    fn revoke(&self, id: LeaseId) -> Result<(), LeaseError> {
        let now = self.clock.now();
        self.table.with(|table| {
            self.find(table, id)?.1.end(End::Revoked);
            collect(table, &self.terms, now);
            Ok(())
        })
    }

    fn fence(&self, id: LeaseId) -> Result<Epoch, LeaseError> {
        let now = self.clock.now();
        self.table.with(|table| {
            let (record, term, _) = self.find(table, id)?;
            record.fence(term, now)
        })
    }

    fn sweep(&self) -> usize {
        let now = self.clock.now();
        self.table.with(|table| collect(table, &self.terms, now))
    }
}

impl<const N: usize, C> fmt::Debug for SlicePool<'_, N, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let leases = self.table.with(|table| table.places.iter().flatten().count());
        f.debug_struct("SlicePool").field("blocks", &self.blocks).field("leases", &leases).finish_non_exhaustive()
    }
}

/// A lease from a [`SlicePool`]. Dropping it gives its bytes back.
pub struct SlicePoolLease<'p, const N: usize, C> {
    pool: &'p SlicePool<'p, N, C>,
    term: &'p Term,
    slot: usize,
    base: NonNull<u8>,
    len: usize,
    record: Record,
}

impl<'p, const N: usize, C> SlicePoolLease<'p, N, C> {
    fn new(pool: &'p SlicePool<'_, N, C>, slot: usize, start: usize, blocks: usize, record: Record) -> Self {
        #[allow(clippy::indexing_slicing, reason = "the slot comes from enumerating an array of the same length")]
        let term = &pool.terms[slot];
        // SAFETY: `gap` placed the lease inside the pool's `blocks`.
        let base = unsafe { pool.base.add(start.wrapping_mul(BLOCK)) };
        Self { pool, term, slot, base, len: blocks.wrapping_mul(BLOCK), record }
    }

    /// Leaves the lease in the pool, with what is in it, to be attached to by its id until its time is over.
    pub fn detach(self) -> LeaseId {
        self.pool.table.with(|table| {
            if let Some(Some((_, _, record))) = table.places.get_mut(self.slot) {
                record.held = false;
            }
        });
        let id = self.record.id;
        core::mem::forget(self);
        id
    }
}

// SAFETY: the bytes are this lease's blocks alone, inside the slice that the pool borrows for longer.
unsafe impl<const N: usize, C> Lease for SlicePoolLease<'_, N, C> {
    type Trust = Exclusive;

    fn base(&self) -> NonNull<u8> {
        self.base
    }
    fn len(&self) -> usize {
        self.len
    }
    fn id(&self) -> LeaseId {
        self.record.id
    }
    fn epoch(&self) -> Epoch {
        self.record.epoch
    }
    #[inline]
    fn check(&self) -> Result<(), LeaseError> {
        self.term.check()
    }
    fn detach(self) -> LeaseId {
        // The method of its own, for which the trait need not be in scope.
        Self::detach(self)
    }
    fn expires_at(&self) -> Ticks {
        self.pool.table.with(|table| match table.places.get(self.slot) {
            Some(Some((_, _, record))) => record.deadline,
            _ => Ticks::ZERO,
        })
    }
}

// SAFETY: its bytes are its own; all else is shared through the pool's lock.
unsafe impl<const N: usize, C: Sync> Send for SlicePoolLease<'_, N, C> {}
// SAFETY: as above.
unsafe impl<const N: usize, C: Sync> Sync for SlicePoolLease<'_, N, C> {}

impl<const N: usize, C> Drop for SlicePoolLease<'_, N, C> {
    fn drop(&mut self) {
        self.pool.table.with(|table| match table.places.get_mut(self.slot) {
            // Fenced so that somebody else can take over: what is in it waits for them.
            Some(Some((_, _, record))) if self.term.check() == Err(LeaseError::Fenced) => record.held = false,
            Some(place) => *place = None,
            None => {}
        });
    }
}

impl<const N: usize, C> fmt::Debug for SlicePoolLease<'_, N, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlicePoolLease").field("record", &self.record).field("len", &self.len).finish_non_exhaustive()
    }
}
