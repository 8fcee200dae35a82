//! Ending a log under a writer that may still live, and going on in another lease.
//!
//! The slot of the next offset decides. Its stamp is exchanged by compare-and-swap, either by the writer for the record's
//! or by the sealer for the end's (`SYNC(commit)`; `layout` has the words). So there is no moment in which a record is in
//! the log for one party and behind its end for another, whatever is stopped where: a writer that loses finds the end in
//! the slot, at its very next commit and at each one after that; readers stop there as they stop at every stamp that is
//! not the one they look for, so the records before it cost them nothing more than without a seal. No clock and no
//! fence takes part.
//!
//! What else a writer may do late does not matter to the old log: it copies into room that nobody needs, stores the rest
//! of a slot whose stamp is not its own, notes a tail that is not above the end (it only knows of records that it has
//! committed), and raises the head to where every reader has come. The new log is in another lease.

use super::join::{name_of, put_name, widen};
use super::recover::low;
use super::{Keep, Reader, Ring, RingConfig, RingRef, Start, View, WORD};
use crate::error::{Check, Corrupt, JoinError, ReadError, SealError, WriteError};
use crate::lease::layout::{BOUNDS_AT, END, NEEDED, SUPERBLOCK_AT, TAKEOVER, bounds, reader};
use crate::lease::seal::{Attempt, Record};
use crate::lease::{Lease, Role};
use crate::name::Name;
use crate::platform::atomic::Ordering;
use crate::platform::memory::{BLOCK, Block, Entry, SLOT};
use crate::platform::relax;
use crate::types::{Epoch, LeaseId, Offset, Ticks};

/// Commits of a writer that is not fenced that the sealer runs after.
const TURNS: u32 = 1 << 12;
/// Attempts at the seal while others make theirs.
const ATTEMPTS: u32 = 64;

/// Where a log was ended, and where it goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Seal {
    /// The epoch under which it was ended.
    pub epoch: Epoch,
    /// The first offset that is not in this lease: the first one of the successor.
    pub tail: Offset,
    /// The lease in which it goes on.
    pub successor: LeaseId,
}

impl View {
    /// Whether the log can be ended under a living writer: the superblock says so, which does not change. Asked only where
    /// the lease allows it.
    #[inline]
    pub(super) fn takeover(&self) -> bool {
        let block = self.control.fixed::<{ SUPERBLOCK_AT / BLOCK }>();
        block.word(NEEDED).load(Ordering::Relaxed) & TAKEOVER != 0
    }

    /// The stamp that ends the log before `offset`.
    #[inline]
    pub(super) const fn end_of(offset: u64) -> u32 {
        low(offset) ^ END
    }

    /// Whether a stamp says that the log ends before `offset`.
    #[inline]
    pub(super) fn is_end(&self, offset: u64, stamp: u32) -> bool {
        self.takeover() && stamp == Self::end_of(offset)
    }

    /// Commits the record of an offset, whose slot the entry goes to if it is not there already; unless the log was ended.
    pub(super) fn commit_or_end<L: Lease>(
        &self,
        lease: &L,
        offset: u64,
        entry: Option<Entry>,
    ) -> Result<(), WriteError> {
        if let Some(entry) = entry {
            self.slot(offset).fill(entry);
            lease.clean(self.slot_at(offset).wrapping_add(WORD), SLOT - WORD);
            lease.fence();
        }
        if self.exchange(lease, offset, self.stale(offset), low(offset)) { Ok(()) } else { Err(self.refusal(offset)) }
    }

    /// Moves the stamp of an offset's slot from `from` to `to`, or leaves it and answers `false`.
    #[inline]
    fn exchange<L: Lease>(&self, lease: &L, offset: u64, from: u32, to: u32) -> bool {
        // SYNC(commit)
        let moved = lease.compare_exchange(self.slot_at(offset), from, to);
        moved.unwrap_or_else(|| self.slot(offset).exchange(from, to))
    }

    #[cold]
    fn refusal(&self, offset: u64) -> WriteError {
        if self.slot(offset).stamp() == Self::end_of(offset) {
            WriteError::Sealed
        } else {
            WriteError::Corrupt(Corrupt::new(Check::Stamp, offset))
        }
    }
}

impl<L: Lease, K: Keep> Ring<L, K> {
    /// Where this log was ended and where it goes on; `None` while it does here. O(1).
    ///
    /// # Errors
    /// [`Corrupt`] if the seal is damaged.
    pub fn seal(&self) -> Result<Option<Seal>, Corrupt> {
        if !L::SEALABLE || !self.view.takeover() {
            return Ok(None);
        }
        self.lease.invalidate(SUPERBLOCK_AT, BLOCK);
        let found = Record::load(self.view.control.fixed::<{ SUPERBLOCK_AT / BLOCK }>());
        let Some(record) = found.map_err(|_| Corrupt::new(Check::Seal, 0))? else { return Ok(None) };
        let Record { epoch, tail, successor } = record;
        // The end is at most the ring's length above the head.
        let tail = widen(tail, self.head().value().saturating_add(u64::from(self.slots())));
        self.lease.invalidate(self.view.slot_at(tail), SLOT);
        // The slots say where the log ends; a seal that says something else is damaged, or forged.
        if self.view.slot(tail).stamp() != View::end_of(tail) {
            return Err(Corrupt::new(Check::Seal, tail));
        }
        Ok(Some(Seal { epoch, tail: Offset::new(tail), successor }))
    }

    /// The shape of this ring: what a successor of the same shape is made with.
    #[must_use]
    pub fn shape(&self) -> RingConfig {
        let geometry = &self.view.geometry;
        let bytes = u32::try_from(geometry.bytes()).unwrap_or(u32::MAX);
        let shape = RingConfig::new(geometry.slots(), bytes)
            .with_readers(geometry.readers)
            .with_max_lag(geometry.max_lag)
            .with_number(geometry.number);
        if self.can_be_ended() { shape.with_takeover() } else { shape }
    }

    /// Whether it was made [`with_takeover`](RingConfig::with_takeover).
    pub(crate) fn can_be_ended(&self) -> bool {
        L::SEALABLE && self.view.takeover()
    }

    /// Ends this log, whatever its writer does or has yet to do, and goes on with it in another lease, which is formatted:
    /// its first offset is the next one. Registered readers have a place there, parked at that offset, so that nothing is
    /// reclaimed before they come ([`Reader::cross`]); a reader whose name is registered here only while this runs may
    /// miss that, and is told so when it crosses.
    ///
    /// The writer is told [`WriteError::Sealed`] at its next record, if its lease does not tell it sooner. Fence it first:
    /// a writer that goes on writing is run after for a while only.
    ///
    /// Of several that do this at the same time one succeeds. It may be cut off anywhere: until the seal is closed readers
    /// just find no more records, and whoever does it again completes it. Walks at most all slots; does not allocate.
    ///
    /// ```
    /// # #[cfg(all(feature = "std", unix))] {
    /// use fabric_mq::clock::MachineClock;
    /// use fabric_mq::lease::{Lease, Pool, SharedPool};
    /// use fabric_mq::ring::{Reader, Ring, RingConfig, Start, Writer};
    /// use fabric_mq::{ReadError, Ticks, WriteError};
    ///
    /// # let path = std::env::temp_dir().join(format!("fabric-mq-seal-{}", std::process::id()));
    /// let pool = SharedPool::open(&path, MachineClock::new())?;
    /// let (shape, hour) = (RingConfig::new(64, 4096).with_takeover(), Ticks::from_millis(3_600_000));
    /// let bytes = shape.lease_bytes()?;
    /// let old: Ring<_> = Ring::format(pool.acquire(bytes, hour)?, shape)?;
    /// let mut writer = Writer::claim(&old)?;
    /// let mut reader = Reader::join(&old, "main", Start::Earliest)?;
    /// writer.write(b"one")?;
    ///
    /// // Another process, to which the writer seems lost.
    /// let sealer: Ring<_> = Ring::attach(pool.supersede(old.lease().id(), hour)?)?;
    /// let lease = pool.acquire_behind(sealer.lease(), bytes, hour)?;
    /// let new: Ring<_> = sealer.take_over(lease, shape, Ticks::ZERO)?;
    /// Writer::claim(&new)?.write(b"two")?;
    ///
    /// // The writer was only slow.
    /// assert!(writer.write(b"late").is_err());
    /// // The reader reads on.
    /// let mut buffer = [0; 8];
    /// assert_eq!(reader.copy_next(&mut buffer)?.map(|record| record.offset().value()), Some(0));
    /// assert_eq!(reader.copy_next(&mut buffer), Err(ReadError::Sealed));
    /// let seal = old.seal()?.expect("it is sealed");
    /// let next: Ring<_> = Ring::attach(pool.join(seal.successor)?)?;
    /// let mut reader = reader.cross(&next)?;
    /// assert_eq!(reader.copy_next(&mut buffer)?.map(|record| record.offset().value()), Some(1));
    /// # drop((writer, reader));
    /// # std::fs::remove_dir_all(&path)?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SealError::Sealed`] if somebody else was sooner: attach to the lease that it names. [`SealError::Unsupported`] if
    /// the ring was not made for it; [`SealError::Epoch`] if the new lease's epoch is lower than this one's;
    /// [`SealError::Config`] or [`SealError::ReadersFull`] if the new lease or shape does not do; [`SealError::Lease`] if
    /// this lease is a reader's, or a newer one is doing the same; [`SealError::Busy`], [`SealError::Corrupt`].
    pub fn take_over<M: Lease>(&self, lease: M, config: RingConfig, now: Ticks) -> Result<Ring<M, K>, SealError> {
        if !L::SEALABLE || !self.view.takeover() {
            return Err(SealError::Unsupported);
        }
        if self.lease.role() == Role::Reader {
            return Err(SealError::Lease(crate::error::LeaseError::Unsupported));
        }
        let epoch = self.lease.epoch();
        if lease.epoch() < epoch {
            return Err(SealError::Epoch { lease: lease.epoch(), needed: epoch });
        }
        // What can be refused is refused before the log is ended.
        let (_, plan) = config.check()?;
        if plan.end > lease.len() {
            return Err(crate::error::ConfigError::LeaseTooSmall { needed: plan.end, found: lease.len() }.into());
        }
        if self.readers().count() > usize::from(config.readers) {
            return Err(SealError::ReadersFull { limit: u32::from(config.readers) });
        }
        if let Some(Seal { successor, .. }) = self.seal()? {
            return Err(SealError::Sealed { successor });
        }
        self.raise_epoch(epoch)?;
        let tail = self.end_log()?;
        let next: Ring<M, K> = Ring::format_from::<true>(lease, config, now, tail)?;
        self.carry(&next, tail)?;
        let record = Record { epoch, tail: low(tail), successor: next.lease().id() };
        for attempt in 0..ATTEMPTS {
            self.raise_epoch(epoch)?;
            let block = self.view.control.fixed::<{ SUPERBLOCK_AT / BLOCK }>();
            self.lease.invalidate(SUPERBLOCK_AT, BLOCK);
            let exchange = |word, old, new| self.view.claim(&self.lease, block, word, old, new);
            match record.write(block, exchange) {
                Attempt::Won => return Ok(next),
                Attempt::Closed => break,
                Attempt::Overtaken => relax(attempt.wrapping_mul(16)),
                Attempt::Exhausted => return Err(SealError::Busy),
                Attempt::Damaged => return Err(Corrupt::new(Check::Seal, 0).into()),
            }
        }
        match self.seal()? {
            Some(Seal { successor, .. }) => Err(SealError::Sealed { successor }),
            None => Err(SealError::Busy),
        }
    }

    /// Notes in the ring that somebody of this epoch ends it; refuses whoever comes with a lower one.
    fn raise_epoch(&self, to: Epoch) -> Result<(), SealError> {
        self.lease.check()?;
        let block = self.view.bounds();
        let word = block.word(bounds::EPOCH);
        // Another turn only if somebody else raises it in the same moment.
        for _ in 0..TURNS {
            self.lease.invalidate(BOUNDS_AT, BLOCK);
            let found = word.load(Ordering::Acquire);
            if found > to.value() {
                return Err(SealError::Lease(crate::error::LeaseError::Fenced));
            }
            if found == to.value() {
                return Ok(());
            }
            if self.view.claim(&self.lease, block, bounds::EPOCH, found, to.value()) {
                return Ok(());
            }
        }
        Err(SealError::Busy)
    }

    /// Ends the log behind the last record; answers where that is. If it is ended already, that is where.
    fn end_log(&self) -> Result<u64, SealError> {
        let mut odd = None;
        for _ in 0..TURNS {
            let tail = self.view.walk_tail(&self.lease);
            let slot = self.view.slot(tail);
            let stamp = slot.stamp();
            if stamp == View::end_of(tail) {
                return Ok(tail);
            }
            if stamp == self.view.stale(tail) {
                odd = None;
                if self.view.exchange(&self.lease, tail, stamp, View::end_of(tail)) {
                    self.lease.clean(self.view.slot_at(tail), WORD);
                    self.lease.fence();
                }
            } else if stamp != low(tail) {
                // Damage; or an overwriting writer has come around since.
                odd = Some(Corrupt::new(Check::Stamp, tail));
            }
        }
        Err(odd.map_or(SealError::Busy, SealError::Corrupt))
    }

    /// Registers the readers of this ring in the next one, parked at its first record.
    fn carry<M: Lease>(&self, next: &Ring<M, K>, tail: u64) -> Result<(), SealError> {
        let limit = u32::from(next.view.geometry.readers);
        let mut free = next.view.control.places();
        for block in self.view.control.places() {
            self.lease.invalidate(self.view.control.distance(block), BLOCK);
            // SYNC(join)
            if !matches!(block.word(reader::STATE).load(Ordering::Acquire), reader::PARKED | reader::CLAIMED) {
                continue;
            }
            let Some(name) = name_of(block) else { continue };
            let place = free.next().ok_or(SealError::ReadersFull { limit })?;
            put_name(place, name.as_str().as_bytes());
            next.view.place_reader(&next.lease, place, tail);
            place.word(reader::STATE).store(reader::PARKED, Ordering::Release);
            next.lease.clean(next.view.control.distance(place), BLOCK);
        }
        // Whoever finds the seal finds them.
        next.lease.complete()?;
        Ok(())
    }
}

impl<L: Lease, K: Keep> Ring<L, K> {
    /// There are no records for a reader behind the last one here, to which it has come.
    #[cold]
    #[inline(never)]
    pub(super) fn at_end(&self, block: Block, next: u64) -> Result<(), ReadError> {
        self.tell(block, next);
        if self.seal()?.is_some() {
            return Err(ReadError::Sealed);
        }
        // Where it goes on is about to be said.
        self.lease.check()?;
        Ok(())
    }
}

impl<P: RingRef> Reader<P> {
    /// What a visit of `count` records that was broken off answers.
    #[cold]
    #[inline(never)]
    pub(super) fn broken_off(&self, by: Corrupt, count: usize) -> Result<usize, ReadError> {
        if by.check() != Check::Stamp || !self.view.is_end(self.next, self.entry()?.stamp()) {
            return Err(by.into());
        }
        if count == 0 { self.ring().at_end(self.block, self.next).map(|()| 0) } else { Ok(count) }
    }

    /// Joins the ring in which this log goes on, under the same name and at the same offset: behind
    /// [`ReadError::Sealed`]. This reader keeps its place here until it is dropped.
    ///
    /// # Errors
    /// As [`join`](Self::join). [`JoinError::Seek`] if the next offset is not there: because this reader has not come to
    /// the end of its ring; or because it has crossed before, or joined while the log was ended, and others have gone on
    /// since. Then join by [`Start::Resume`].
    pub fn cross<Q: RingRef>(&self, to: Q) -> Result<Reader<Q>, JoinError> {
        Reader::join(to, self.name()?.as_str(), Start::At(self.next_offset()))
    }

    /// The name of its place.
    pub(crate) fn name(&self) -> Result<Name, Corrupt> {
        name_of(self.block).ok_or_else(|| Corrupt::new(Check::Progress, self.next))
    }
}
