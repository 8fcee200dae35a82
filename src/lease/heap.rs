//! Leases on heap memory: the server's default.

#![allow(unsafe_code, reason = "leases promise that their bytes are valid")]

use super::pool::{Pool, Record};
use super::term::{End, Term};
use super::{Exclusive, Lease};
use crate::error::LeaseError;
use crate::platform::clock::Clock;
use crate::platform::lock::Lock;
use crate::platform::memory::BLOCK;
use crate::types::{Epoch, LeaseId, Ticks};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ptr::NonNull;

/// 128 bytes, aligned so that no two leases share a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(128))]
struct Chunk([u8; BLOCK]);

/// The bytes of a lease. Reached through the pointer alone from the moment they are made: no reference to them exists.
pub(super) struct Piece {
    base: NonNull<u8>,
    chunks: usize,
    term: Term,
}

// SAFETY: the bytes belong to one holder at a time (`Record::held`); the term is an atomic.
unsafe impl Send for Piece {}
// SAFETY: as above.
unsafe impl Sync for Piece {}

impl Piece {
    pub(super) fn new(min_bytes: usize) -> Result<Self, LeaseError> {
        let chunks = min_bytes.div_ceil(BLOCK).max(1);
        let mut memory = Vec::new();
        memory.try_reserve_exact(chunks).map_err(|_| LeaseError::CapacityExceeded)?;
        memory.resize(chunks, Chunk([0; BLOCK]));
        let chunks = memory.len();
        let base = NonNull::from(alloc::boxed::Box::leak(memory.into_boxed_slice())).cast();
        Ok(Self { base, chunks, term: Term::new() })
    }

    pub(super) const fn base(&self) -> NonNull<u8> {
        self.base
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let slice = core::ptr::slice_from_raw_parts_mut(self.base.as_ptr().cast::<Chunk>(), self.chunks);
        // SAFETY: made by `Box::leak` in `new`, of this many chunks, and freed here alone.
        drop(unsafe { alloc::boxed::Box::from_raw(slice) });
    }
}

#[derive(Default)]
struct Table {
    pieces: BTreeMap<u128, (Record, Arc<Piece>)>,
    next_id: u128,
    bytes: usize,
}

/// A pool over the heap, with a limit. Clones are the same pool.
///
/// ```
/// use fabric_mq::clock::ManualClock;
/// use fabric_mq::lease::{HeapPool, Lease, Pool};
/// use fabric_mq::{LeaseError, Ticks};
///
/// let clock = ManualClock::new();
/// let pool = HeapPool::new(&clock).with_limit(1 << 20);
/// let lease = pool.acquire(4096, Ticks::MAX)?;
/// assert_eq!(lease.len(), 4096);
/// assert_eq!(pool.acquire(1 << 20, Ticks::MAX).unwrap_err(), LeaseError::CapacityExceeded);
/// # Ok::<(), LeaseError>(())
/// ```
#[derive(Clone)]
pub struct HeapPool<C> {
    // Shared with each lease, so that a lease does not name the clock's type.
    table: Arc<Lock<Table>>,
    clock: C,
    limit: usize,
}

impl<C: Clock> HeapPool<C> {
    /// A pool without a limit of its own.
    #[must_use]
    pub fn new(clock: C) -> Self {
        Self { table: Arc::new(Lock::new(Table::default())), clock, limit: usize::MAX }
    }
}

impl<C> HeapPool<C> {
    /// The same pool, but through this value at most `bytes` are leased at a time.
    #[must_use]
    pub fn with_limit(self, bytes: usize) -> Self {
        Self { limit: bytes, ..self }
    }

    /// Bytes leased at present.
    #[must_use]
    pub fn leased_bytes(&self) -> usize {
        self.table.with(|table| table.bytes)
    }

    /// The clock that the leases go by.
    #[must_use]
    pub const fn clock(&self) -> &C {
        &self.clock
    }

    fn lease(&self, record: Record, piece: &Arc<Piece>) -> HeapLease {
        HeapLease { table: Arc::clone(&self.table), piece: Arc::clone(piece), record }
    }
}

impl Table {
    fn find(&mut self, id: LeaseId) -> Result<&mut (Record, Arc<Piece>), LeaseError> {
        self.pieces.get_mut(&id.value()).ok_or(LeaseError::Unknown)
    }

    fn remove(&mut self, id: u128) {
        if let Some((_, piece)) = self.pieces.remove(&id) {
            self.bytes = self.bytes.saturating_sub(piece.chunks.saturating_mul(BLOCK));
        }
    }

    /// Records what has ended and frees what nobody holds.
    fn collect(&mut self, now: Ticks) -> usize {
        let mut ended: usize = 0;
        let mut free = Vec::new();
        for (id, (record, piece)) in &self.pieces {
            ended = ended.saturating_add(usize::from(record.settle(&piece.term, now)));
            if record.is_over(&piece.term, now) {
                free.push(*id);
            }
        }
        for id in free {
            self.remove(id);
        }
        ended
    }
}

impl<C: Clock> Pool for HeapPool<C> {
    type Lease = HeapLease;

    fn acquire(&self, min_bytes: usize, ttl: Ticks) -> Result<HeapLease, LeaseError> {
        let now = self.clock.now();
        let bytes = min_bytes.max(1).checked_next_multiple_of(BLOCK).ok_or(LeaseError::CapacityExceeded)?;
        // Reserve the bytes before making them, so that two callers cannot exceed the limit together.
        self.table.with(|table| {
            table.collect(now);
            let total = table.bytes.checked_add(bytes).filter(|total| *total <= self.limit);
            table.bytes = total.ok_or(LeaseError::CapacityExceeded)?;
            Ok(())
        })?;
        let piece = Piece::new(bytes).inspect_err(|_| {
            self.table.with(|table| table.bytes = table.bytes.saturating_sub(bytes));
        })?;
        let piece = Arc::new(piece);
        let record = self.table.with(|table| {
            table.next_id = table.next_id.wrapping_add(1);
            let id = LeaseId::new(table.next_id);
            let record = Record { id, epoch: Epoch::new(1), deadline: now.plus(ttl), held: true };
            table.pieces.insert(id.value(), (record, Arc::clone(&piece)));
            record
        });
        Ok(self.lease(record, &piece))
    }

    fn attach(&self, id: LeaseId) -> Result<HeapLease, LeaseError> {
        let now = self.clock.now();
        self.table.with(|table| {
            let (record, piece) = table.find(id)?;
            record.attach(&piece.term, now)?;
            Ok(self.lease(*record, piece))
        })
    }

    fn renew(&self, id: LeaseId, ttl: Ticks) -> Result<Ticks, LeaseError> {
        let now = self.clock.now();
        self.table.with(|table| {
            let (record, piece) = table.find(id)?;
            record.renew(&piece.term, now, ttl)
        })
    }

    fn revoke(&self, id: LeaseId) -> Result<(), LeaseError> {
        let now = self.clock.now();
        self.table.with(|table| {
            table.find(id)?.1.term.end(End::Revoked);
            table.collect(now);
            Ok(())
        })
    }

    fn fence(&self, id: LeaseId) -> Result<Epoch, LeaseError> {
        let now = self.clock.now();
        self.table.with(|table| {
            let (record, piece) = table.find(id)?;
            record.fence(&piece.term, now)
        })
    }

    fn sweep(&self) -> usize {
        let now = self.clock.now();
        self.table.with(|table| table.collect(now))
    }
}

impl<C> fmt::Debug for HeapPool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeapPool").field("leased_bytes", &self.leased_bytes()).finish_non_exhaustive()
    }
}

/// A lease from a [`HeapPool`]. Dropping it frees its bytes.
pub struct HeapLease {
    table: Arc<Lock<Table>>,
    piece: Arc<Piece>,
    record: Record,
}

impl HeapLease {
    /// Leaves the lease in the pool, with what is in it, to be attached to by its id until its time is over.
    #[must_use]
    pub fn detach(self) -> LeaseId {
        let id = self.record.id;
        self.table.with(|table| {
            if let Ok((record, _)) = table.find(id) {
                record.held = false;
            }
        });
        // Its `Arc`s go as usual; only the removal in `drop` is skipped, by forgetting that there was a holder.
        let mut lease = self;
        lease.record.held = false;
        id
    }
}

// SAFETY: the bytes are a heap allocation aligned to 128 that lives as long as `piece`; `Record::held` keeps everybody
// else away from them for as long as this value lives.
unsafe impl Lease for HeapLease {
    type Trust = Exclusive;

    fn base(&self) -> NonNull<u8> {
        self.piece.base()
    }
    fn len(&self) -> usize {
        self.piece.chunks.saturating_mul(BLOCK)
    }
    fn id(&self) -> LeaseId {
        self.record.id
    }
    fn epoch(&self) -> Epoch {
        self.record.epoch
    }
    #[inline]
    fn check(&self) -> Result<(), LeaseError> {
        self.piece.term.check()
    }
    fn detach(self) -> LeaseId {
        // The method of its own, for which the trait need not be in scope.
        Self::detach(self)
    }
    fn expires_at(&self) -> Ticks {
        self.table.with(|table| table.find(self.record.id).map_or(Ticks::ZERO, |(record, _)| record.deadline))
    }
}

impl Drop for HeapLease {
    fn drop(&mut self) {
        if !self.record.held {
            return;
        }
        self.table.with(|table| match table.find(self.record.id) {
            // Fenced so that somebody else can take over: what is in it waits for them.
            Ok((record, piece)) if piece.term.check() == Err(LeaseError::Fenced) => record.held = false,
            _ => table.remove(self.record.id.value()),
        });
    }
}

impl fmt::Debug for HeapLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeapLease").field("record", &self.record).field("len", &self.len()).finish_non_exhaustive()
    }
}
