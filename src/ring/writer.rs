//! The writer: one at a time, wait-free, without read-modify-write on its way.

use super::config::{place, units_of};
use super::gate::{Room, Stand};
use super::recover::low;
use super::{Batch, Keep, Ring, RingRef, View};
use crate::error::{LeaseError, WriteError};
use crate::lease::layout::bounds;
use crate::lease::{Lease, Role, Trust};
use crate::platform::STRAIGHT;
use crate::platform::memory::{Bytes, Entry, Row, SLOT, Slot, Slots, UNIT};
use crate::platform::run::Run;
use crate::types::Offset;

/// The one writer of a ring. May be moved to another thread or core, or into an interrupt handler.
///
/// Dropping it frees the place for the next one.
///
/// ```
/// # use fabric_mq::lease::SliceLease;
/// # use fabric_mq::ring::{Ring, RingConfig, Writer};
/// # let mut bytes = [0; 4096];
/// let ring: Ring<_> = Ring::format(SliceLease::new(&mut bytes), RingConfig::new(32, 1024))?;
/// let mut writer = Writer::claim(&ring)?;
/// assert!(Writer::claim(&ring).is_err(), "one at a time");
/// assert_eq!(writer.write(b"first")?.value(), 0);
/// assert_eq!(writer.write(b"second")?.value(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Writer<P: RingRef> {
    pub(super) core: Core,
    /// The batch under way. Should it be forgotten rather than dropped, the writer takes it back before anything else.
    pub(super) pending: Option<Pending<P::Lease, P::Keep>>,
    pub(super) ring: P,
}

/// A batch that is not committed.
pub(super) struct Pending<L: Lease, K: Keep> {
    /// Its first offset, and the position behind everything before it.
    pub(super) first: u64,
    pub(super) behind: u32,
    /// Takes it back. Called by this pointer, so that a program without batches need not carry it.
    pub(super) take_back: fn(&Ring<L, K>, &mut Core, u64, u32),
}

/// The writer's private state. What is called on its way takes it by value, or the address of a copy, never its own: so a loop
/// of writes keeps it in registers.
#[derive(Clone, Copy)]
pub(super) struct Core {
    pub(super) slots: Slots,
    bytes: Bytes,
    /// The next record's offset; everything before it is committed or belongs to the batch under way.
    pub(super) next: u64,
    /// The low half of the offset up to which there are slots to use, exclusive.
    pub(super) limit: u32,
    pub(super) position: u32,
    /// The position up to which there are units to use in one piece, exclusive.
    pub(super) edge: u32,
    /// The part of both in which neither ring goes round. It stops at 0 while a batch is under way, which keeps its own stop.
    pub(super) run: Run,
    /// No room before this offset is known to be needed.
    pub(super) head: u64,
}

/// Where a record's payload goes.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) len: u32,
    /// The writer's edge, once the record is taken.
    pub(super) edge: u32,
}

/// A place that simply follows the last record's.
#[derive(Clone, Copy)]
pub(super) struct Follower {
    pub(super) end: u32,
    pub(super) slot: Slot,
    /// The slots behind it.
    pub(super) rest: Row,
}

impl<P: RingRef> Writer<P> {
    /// Takes the writer's place. Walks at most all slots to find the end of the log.
    ///
    /// # Errors
    /// [`WriteError::Claimed`] while there is another writer; [`WriteError::Corrupt`] if the end of the log is damaged;
    /// [`WriteError::Lease`] if the lease has ended; [`WriteError::Sealed`] if the log has, and goes on elsewhere.
    pub fn claim(ring: P) -> Result<Self, WriteError> {
        let inner = ring.ring();
        let core = take_place(inner)?;
        Ok(Self { core, pending: None, ring })
    }

    /// The ring.
    pub fn ring(&self) -> &Ring<P::Lease, P::Keep> {
        self.ring.ring()
    }

    /// The private state beside the ring, so that both can be borrowed.
    #[inline]
    pub(super) fn parts(&mut self) -> (&mut Core, &Ring<P::Lease, P::Keep>) {
        (&mut self.core, self.ring.ring())
    }

    /// The offset that the next record will have.
    #[must_use]
    pub const fn next_offset(&self) -> Offset {
        Offset::new(self.committed())
    }

    /// Writes a record and commits it. Copies `payload` once; does not block or allocate.
    ///
    /// # Errors
    /// [`WriteError::Full`] if a retaining ring has no room until a reader releases some (also counted: see
    /// [`Ring::refused`]); [`WriteError::TooLarge`] if no ring of this size can take it; [`WriteError::Lease`] if the lease
    /// has ended, [`WriteError::Sealed`] if the log has. Nothing is visible of a record that was refused.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "keeps the state in registers, and the length is often known")]
    pub fn write(&mut self, payload: &[u8]) -> Result<Offset, WriteError> {
        self.write_tagged(0, payload)
    }

    /// Writes a record with a byte of the caller's beside it, which a reader sees without touching the payload.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "keeps the state in registers, and the length is often known")]
    pub fn write_tagged(&mut self, tag: u8, payload: &[u8]) -> Result<Offset, WriteError> {
        let ring = self.ring.ring();
        if !STRAIGHT {
            let spot = self.admit(payload.len())?;
            let ring = self.ring.ring();
            self.core.fill_one(ring, spot, payload);
            // The single checked step, as below.
            ring.lease.check()?;
            return self.core.publish(ring, spot, tag);
        }
        let Some(place) = self.core.follower(payload.len(), self.core.run.stop()) else {
            // By value: see `Core`.
            let (core, written) = Self::write_elsewhere(ring, self.core, self.pending.take(), tag, payload);
            self.core = core;
            return written;
        };
        if !self.core.fill_next(ring, payload) {
            let (core, written) = Self::write_large(ring, self.core, tag, payload);
            self.core = core;
            return written;
        }
        // The single checked step: what was under way when the lease ended never becomes visible.
        ring.lease.check()?;
        self.core.publish_next(ring, place, tag, payload.len())
    }

    /// Writes a record that is put together from parts.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_parts(&mut self, tag: u8, parts: &[&[u8]]) -> Result<Offset, WriteError> {
        let spot = self.admit(length(parts))?;
        let ring = self.ring.ring();
        self.core.write_at(ring, spot, tag, parts)
    }

    /// Writes a record that simply follows, and whose copy takes a call. By value: see `Core`.
    #[cold]
    #[inline(never)]
    fn write_large(
        ring: &Ring<P::Lease, P::Keep>,
        mut core: Core,
        tag: u8,
        payload: &[u8],
    ) -> (Core, Result<Offset, WriteError>) {
        let written = core.admit(ring, payload.len(), (core.next, core.position)).and_then(|spot| {
            core.fill_one(ring, spot, payload);
            // The single checked step, as above.
            ring.lease.check()?;
            core.publish(ring, spot, tag)
        });
        (core, written)
    }

    /// Writes a record where it does not simply follow the last one.
    #[cold]
    #[inline(never)]
    fn write_elsewhere(
        ring: &Ring<P::Lease, P::Keep>,
        mut core: Core,
        pending: Option<Pending<P::Lease, P::Keep>>,
        tag: u8,
        payload: &[u8],
    ) -> (Core, Result<Offset, WriteError>) {
        if let Some(Pending { first, behind, take_back }) = pending {
            take_back(ring, &mut core, first, behind);
        }
        let written = core
            .admit(ring, payload.len(), (core.next, core.position))
            .and_then(|spot| core.write_at(ring, spot, tag, &[payload]));
        (core, written)
    }

    /// Starts a batch: its records become visible together, and their commit costs one store.
    pub fn batch(&mut self) -> Batch<'_, P> {
        Batch::new(self)
    }

    /// Notes the end of the log in the ring, so that whoever attaches need not walk to it. Done now and then anyway.
    pub fn note_tail(&self) {
        let ring = self.ring.ring();
        ring.view.note_tail(&ring.lease, self.committed());
    }

    /// Up to which offset everything is committed.
    #[inline]
    const fn committed(&self) -> u64 {
        match &self.pending {
            Some(pending) => pending.first,
            None => self.core.next,
        }
    }

    /// Takes back a batch that was forgotten.
    #[inline]
    pub(super) fn settle(&mut self) {
        let Some(Pending { first, behind, take_back }) = self.pending.take() else { return };
        let (core, ring) = self.parts();
        if STRAIGHT {
            let mut copy = *core;
            take_back(ring, &mut copy, first, behind);
            *core = copy;
        } else {
            take_back(ring, core, first, behind);
        }
    }

    /// Finds the place for a payload of `len` bytes.
    #[inline]
    pub(super) fn admit(&mut self, len: usize) -> Result<Spot, WriteError> {
        self.settle();
        let (core, ring) = self.parts();
        core.admit(ring, len, (core.next, core.position))
    }
}

impl Core {
    /// A writer at the end of the log.
    pub(super) fn at_end<L: Lease, K: Keep>(ring: &Ring<L, K>) -> Result<Self, WriteError> {
        let view = &ring.view;
        ring.refresh_writer();
        let head = view.load_head(&ring.lease);
        let next = view.walk_tail(&ring.lease);
        let position = view.position_at(next, head)?;
        if L::SEALABLE && view.takeover() {
            if view.slot(next).stamp() == View::end_of(next) {
                return Err(WriteError::Sealed);
            }
            // The slot of the next record is nobody's to store in: it may become the log's end at any time.
            view.take_back(&ring.lease, head, next.wrapping_add(1));
        } else {
            view.take_back(&ring.lease, head, next);
        }
        let (slots, bytes) = (view.slots, view.bytes);
        Ok(Self { slots, bytes, next, limit: low(next), position, edge: position, run: Run::NONE, head })
    }

    /// The place of a payload of `len` bytes that simply follows the last one, in a run that stops at `stop`.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "each write asks")]
    pub(super) fn follower(&self, len: usize, stop: usize) -> Option<Follower> {
        let end = Run::end(self.position, units(len), stop)?;
        let (slot, rest) = self.run.first()?;
        Some(Follower { end, slot, rest })
    }

    /// The same, as what is not committed at once keeps it.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "at most 2^24")]
    pub(super) const fn spot(&self, place: Follower, len: usize) -> Spot {
        Spot { start: self.position, end: place.end, len: len as u32, edge: self.edge }
    }

    /// The place of a payload of `len` bytes, when everything up to the offset `committed`, and before the position with it,
    /// is committed.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "at most 2^24")]
    pub(super) fn admit<L: Lease, K: Keep>(
        &mut self,
        ring: &Ring<L, K>,
        len: usize,
        committed: (u64, u32),
    ) -> Result<Spot, WriteError> {
        // Never more than the largest record: see `find`.
        let room = self.edge.wrapping_sub(self.position) as usize;
        if low(self.next) == self.limit || units(len) > room {
            return self.find(ring, len, committed);
        }
        let end = self.position.wrapping_add(units(len) as u32);
        Ok(Spot { start: self.position, end, len: len as u32, edge: self.edge })
    }

    /// Finds the place for a payload that does not simply follow the last one, when everything up to the offset `committed`,
    /// and before the position with it, is committed.
    #[cold]
    #[inline(never)]
    pub(super) fn find<L: Lease, K: Keep>(
        &mut self,
        ring: &Ring<L, K>,
        len: usize,
        committed: (u64, u32),
    ) -> Result<Spot, WriteError> {
        let (bytes, max) = (ring.view.bytes, ring.view.geometry.max_record());
        let Some(len) = u32::try_from(len).ok().filter(|_| len <= max) else {
            return Err(WriteError::TooLarge { len, max });
        };
        let (start, end) = place(self.position, units_of(len), bytes.units());
        let units = end.wrapping_sub(self.position);
        let (room, head) = try_room(ring, *self, units, committed)?;
        self.head = head;
        if !room.has(units) {
            ring.view.note_refusal(&ring.lease);
            return Err(WriteError::Full);
        }
        self.limit = low(self.next).wrapping_add(room.slots);
        // Payloads lie in one piece: what may follow without a look ends with the room, or with the lap, and is not larger
        // than the largest record.
        let behind = room.units.wrapping_sub(units);
        let lap = bytes.units().wrapping_sub(bytes.index(start)).wrapping_sub(units_of(len));
        #[allow(clippy::cast_possible_truncation, reason = "at most 2^21")]
        let largest = (max / UNIT) as u32;
        Ok(Spot { start, end, len, edge: end.wrapping_add(behind.min(lap).min(largest)) })
    }

    /// Copies a payload to the place that simply follows, if that takes no call; answers whether it did.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "the length is often known at the call")]
    #[allow(clippy::cast_possible_truncation, reason = "at most 2^24")]
    #[allow(unsafe_code, reason = "the writer's own room")]
    pub(super) fn fill_next<L: Lease, K: Keep>(&self, ring: &Ring<L, K>, payload: &[u8]) -> bool {
        if Ring::<L, K>::RACY {
            self.bytes.write_racy(self.position, &[payload]);
        } else {
            // SAFETY: as in `fill`; `follower` has found that the record ends within the run, so within its lap.
            if !unsafe { self.run.lap().write_near(self.position, payload) } {
                return false;
            }
            self.run.lap().own_soon(self.position);
        }
        ring.view.clean_bytes(&ring.lease, self.position, payload.len() as u32);
        true
    }

    /// Copies a payload to its place: on small processors, shorter than in parts.
    #[inline]
    #[allow(unsafe_code, reason = "the writer's own room")]
    pub(super) fn fill_one<L: Lease, K: Keep>(&self, ring: &Ring<L, K>, spot: Spot, payload: &[u8]) {
        if Ring::<L, K>::RACY {
            self.bytes.write_racy(spot.start, &[payload]);
        } else {
            // SAFETY: as in `fill`.
            unsafe { self.bytes.write_one(spot.start, payload) };
        }
        ring.view.clean_bytes(&ring.lease, spot.start, spot.len);
    }

    /// Copies a payload in parts to its place.
    #[allow(unsafe_code, reason = "the writer's own room")]
    pub(super) fn fill<L: Lease, K: Keep>(&self, ring: &Ring<L, K>, spot: Spot, parts: &[&[u8]]) {
        if Ring::<L, K>::RACY {
            self.bytes.write_racy(spot.start, parts);
        } else {
            // SAFETY: `place` keeps the record in one piece inside the ring. The room is this writer's: `admit` took it
            // from what no reader needs any more (SYNC(release)), there is one writer (`claim`), and on a lease that is
            // not hostile nobody reads what is not committed.
            unsafe { self.bytes.write(spot.start, parts) };
        }
        ring.view.clean_bytes(&ring.lease, spot.start, spot.len);
    }

    /// Accounts for a record that simply follows, and answers its slot's entry.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "keeps the state in registers")]
    #[allow(clippy::cast_possible_truncation, reason = "at most 2^24")]
    pub(super) const fn follow(&mut self, place: Follower, tag: u8, len: usize) -> Entry {
        let entry = Entry::new(low(self.next), len as u32, self.position, tag);
        self.position = place.end;
        self.next = self.next.wrapping_add(1);
        self.run.go_on(place.rest);
        entry
    }

    /// Accounts for a record wherever it is, and answers its slot's entry.
    #[inline]
    pub(super) fn take(&mut self, spot: Spot, tag: u8) -> Entry {
        let entry = Entry::new(low(self.next), spot.len, spot.start, tag);
        // The run holds for what follows in the room that it was made for.
        let follows = (spot.start, spot.edge) == (self.position, self.edge)
            && Run::end(spot.start, units(spot.len as usize), self.run.stop()).is_some();
        self.next = self.next.wrapping_add(1);
        self.position = spot.end;
        self.edge = spot.edge;
        if !STRAIGHT {
            return entry;
        }
        if follows && let Some((_, rest)) = self.run.first() {
            self.run.go_on(rest);
        } else {
            let (slots, units) = (self.limit.wrapping_sub(low(self.next)), spot.edge.wrapping_sub(spot.end));
            self.run = Run::new(self.slots, self.bytes, (low(self.next), slots), (spot.end, units));
        }
        entry
    }

    /// Where the slot of an offset is.
    #[inline]
    pub(super) fn slot(&self, offset: u64) -> Slot {
        self.slots.at(low(offset))
    }

    /// Writes a record to its place, and commits it.
    #[inline]
    pub(super) fn write_at<L: Lease, K: Keep>(
        &mut self,
        ring: &Ring<L, K>,
        spot: Spot,
        tag: u8,
        parts: &[&[u8]],
    ) -> Result<Offset, WriteError> {
        self.fill(ring, spot, parts);
        // The single checked step: what was under way when the lease ended never becomes visible.
        ring.lease.check()?;
        self.publish(ring, spot, tag)
    }

    /// Commits a record, on a lease that has been checked.
    #[inline]
    pub(super) fn publish<L: Lease, K: Keep>(
        &mut self,
        ring: &Ring<L, K>,
        spot: Spot,
        tag: u8,
    ) -> Result<Offset, WriteError> {
        let offset = self.next;
        if L::SEALABLE && ring.view.takeover() {
            ring.view.commit_or_end(&ring.lease, offset, Some(Entry::new(low(offset), spot.len, spot.start, tag)))?;
            self.take(spot, tag);
            ring.lease.clean(ring.view.slot_at(offset), SLOT);
            return Ok(Offset::new(offset));
        }
        let entry = self.take(spot, tag);
        ring.view.commit(&ring.lease, self.slot(offset), offset, entry);
        ring.complete(Offset::new(offset))
    }

    /// Commits a record that simply follows, on a lease that has been checked.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "keeps the state in registers")]
    #[allow(clippy::cast_possible_truncation, reason = "at most 2^24")]
    pub(super) fn publish_next<L: Lease, K: Keep>(
        &mut self,
        ring: &Ring<L, K>,
        place: Follower,
        tag: u8,
        len: usize,
    ) -> Result<Offset, WriteError> {
        let offset = self.next;
        if L::SEALABLE && ring.view.takeover() {
            ring.view.commit_or_end(
                &ring.lease,
                offset,
                Some(Entry::new(low(offset), len as u32, self.position, tag)),
            )?;
            self.follow(place, tag, len);
            ring.lease.clean(ring.view.slot_at(offset), SLOT);
            return Ok(Offset::new(offset));
        }
        let entry = self.follow(place, tag, len);
        ring.view.commit(&ring.lease, place.slot, offset, entry);
        ring.complete(Offset::new(offset))
    }
}

/// Units of a payload of any length; what takes more than there can be only has to be told from what fits.
#[inline(always)]
#[allow(clippy::inline_always, reason = "two instructions of each write")]
const fn units(len: usize) -> usize {
    len.wrapping_add(UNIT - 1) / UNIT
}

/// The room there is for a record of `units`, and the offset before which nothing is needed.
fn try_room<L: Lease, K: Keep>(
    ring: &Ring<L, K>,
    core: Core,
    units: u32,
    committed: (u64, u32),
) -> Result<(Room, u64), WriteError> {
    ring.lease.check()?;
    let last = u64::MAX.wrapping_sub(u64::from(ring.view.geometry.slots()).wrapping_mul(2));
    if core.next >= last {
        return Err(WriteError::Exhausted);
    }
    let (committed, behind) = committed;
    let stand = Stand { committed, behind: Some(behind), next: core.next, position: core.position };
    let found = if K::OVERWRITE {
        ring.view.overwrite(&ring.lease, core.head, stand, units)
    } else {
        ring.view.look(&ring.lease, core.head, stand)
    };
    Ok(found?)
}

/// Takes the writer's place, and finds where it continues.
pub(super) fn take_place<L: Lease, K: Keep>(ring: &Ring<L, K>) -> Result<Core, WriteError> {
    ring.lease.check()?;
    let block = ring.view.bounds();
    let role = ring.lease.role();
    if matches!(role, Role::Reader | Role::Sealer) {
        return Err(LeaseError::Unsupported.into());
    }
    let succeeded = role == Role::Writer && ring.succeed();
    if !succeeded && !ring.view.claim(&ring.lease, block, bounds::CLAIM, 0, 1) {
        // The answer of memory that could not be reached is none.
        ring.lease.check()?;
        return Err(WriteError::Claimed);
    }
    let core = Core::at_end(ring).inspect_err(|_| ring.view.give_back(&ring.lease, block, bounds::CLAIM, &[1], 0))?;
    // Where it begins is known only if all could be fetched.
    ring.lease.check()?;
    Ok(core)
}

/// Gives the writer's place back.
pub(super) fn give_back<L: Lease, K: Keep>(ring: &Ring<L, K>, next: u64) {
    // Memory that others reach may have another writer by now.
    if L::Trust::EXCLUSIVE || ring.lease.check().is_ok() {
        ring.view.note_tail(&ring.lease, next);
        // SYNC(claim): with the Acquire of the next writer's claim.
        ring.view.discard_bytes(&ring.lease);
        ring.view.give_back(&ring.lease, ring.view.bounds(), bounds::CLAIM, &[1], 0);
    }
}

/// Bytes in all parts together.
#[inline]
pub(super) fn length(parts: &[&[u8]]) -> usize {
    parts.iter().fold(0, |sum: usize, part| sum.saturating_add(part.len()))
}

impl<P: RingRef> Drop for Writer<P> {
    #[inline]
    fn drop(&mut self) {
        give_back(self.ring.ring(), self.committed());
    }
}

impl<P: RingRef> core::fmt::Debug for Writer<P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Writer").field("next", &self.core.next).finish_non_exhaustive()
    }
}
