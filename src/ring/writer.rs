//! The writer: one at a time, wait-free, without read-modify-write on its way.

use super::config::{place, units_of};
use super::gate::{Room, Stand};
use super::recover::low;
use super::{Batch, Keep, Ring, RingRef};
use crate::error::WriteError;
use crate::lease::layout::{BOUNDS_AT, bounds};
use crate::lease::{Lease, Trust};
use crate::platform::atomic::Ordering;
use crate::platform::claim;
use crate::platform::memory::{BLOCK, Bytes, Entry, SLOT, Slot, Slots};
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
    ring: P,
}

/// The writer's private state: small and without an address taken on the fast path, so that a loop keeps it in registers.
#[derive(Clone, Copy)]
pub(super) struct Core {
    slots: Slots,
    bytes: Bytes,
    /// The largest record, in bytes.
    max: usize,
    /// The next record's offset; everything before it is committed or belongs to the batch under way.
    pub(super) next: u64,
    /// The offset up to which there are slots to use, exclusive.
    until: u64,
    pub(super) position: u32,
    /// The position up to which there are units to use, exclusive.
    limit: u32,
    /// No room before this offset is known to be needed.
    pub(super) head: u64,
}

/// Where a record's payload goes.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) len: u32,
}

impl<P: RingRef> Writer<P> {
    /// Takes the writer's place. Walks at most all slots to find the end of the log.
    ///
    /// # Errors
    /// [`WriteError::Claimed`] while there is another writer; [`WriteError::Corrupt`] if the end of the log is damaged;
    /// [`WriteError::Lease`] if the lease has ended.
    pub fn claim(ring: P) -> Result<Self, WriteError> {
        let inner = ring.ring();
        let core = take_place(inner)?;
        Ok(Self { core, ring })
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
        Offset::new(self.core.next)
    }

    /// Writes a record and commits it. Copies `payload` once; does not block or allocate.
    ///
    /// # Errors
    /// [`WriteError::Full`] if a retaining ring has no room until a reader releases some (also counted: see
    /// [`Ring::refused`]); [`WriteError::TooLarge`] if no ring of this size can take it; [`WriteError::Lease`] if the lease
    /// has ended. Nothing is visible of a record that was refused.
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
        let spot = self.core.admit(ring, payload.len(), self.core.end())?;
        self.core.fill_one(ring, spot, payload);
        // The single checked step: what was under way when the lease ended never becomes visible.
        ring.lease.check()?;
        Ok(self.core.publish(ring, spot, tag))
    }

    /// Writes a record that is put together from parts.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_parts(&mut self, tag: u8, parts: &[&[u8]]) -> Result<Offset, WriteError> {
        let ring = self.ring.ring();
        let spot = self.core.admit(ring, length(parts), self.core.end())?;
        self.core.fill(ring, spot, parts);
        // The single checked step, as above.
        ring.lease.check()?;
        Ok(self.core.publish(ring, spot, tag))
    }

    /// Starts a batch: its records become visible together, and their commit costs one store.
    pub fn batch(&mut self) -> Batch<'_, P> {
        Batch::new(self)
    }

    /// Notes the end of the log in the ring, so that whoever attaches need not walk to it. Done now and then anyway.
    pub fn note_tail(&self) {
        let ring = self.ring.ring();
        ring.view.note_tail(&ring.lease, self.core.next);
    }
}

/// Units ahead of a record from which on the writer asks for cache lines: four lines, which measured best.
pub(super) const OWN_AHEAD: u32 = 32;

impl Core {
    /// A writer at the end of the log.
    pub(super) fn at_end<L: Lease, K: Keep>(ring: &Ring<L, K>) -> Result<Self, WriteError> {
        let view = &ring.view;
        let head = view.bounds().cursor(bounds::HEAD).load();
        let next = view.walk_tail(&ring.lease);
        let position = view.position_at(next, head)?;
        view.take_back(&ring.lease, head, next);
        let max = view.geometry.max_record();
        Ok(Self { slots: view.slots, bytes: view.bytes, max, next, until: next, position, limit: position, head })
    }

    /// The same with no room: whoever goes on from here looks first.
    pub(super) const fn without_room(self) -> Self {
        Self { until: self.next, limit: self.position, ..self }
    }

    /// Up to where everything is committed: the offset, and the position behind it.
    #[inline]
    pub(super) const fn end(&self) -> (u64, u32) {
        (self.next, self.position)
    }

    /// Finds the place for a payload of `len` bytes, when everything up to `committed` is committed.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "keeps the state in registers")]
    pub(super) fn admit<L: Lease, K: Keep>(
        &mut self,
        ring: &Ring<L, K>,
        len: usize,
        committed: (u64, u32),
    ) -> Result<Spot, WriteError> {
        if len > self.max {
            return Err(WriteError::TooLarge { len, max: self.max });
        }
        #[allow(clippy::cast_possible_truncation, reason = "at most 2^30")]
        let len = len as u32;
        let (start, end) = place(self.position, units_of(len), self.bytes.units());
        let units = end.wrapping_sub(self.position);
        let fits = units <= self.limit.wrapping_sub(self.position);
        if !fits || self.next >= self.until {
            crate::platform::cold();
            let (room, head) = find_room(ring, *self, units, committed);
            self.head = head;
            let room = room?;
            self.until = self.next.wrapping_add(u64::from(room.slots));
            self.limit = self.position.wrapping_add(room.units);
        }
        Ok(Spot { start, end, len })
    }

    /// Copies a payload to its place.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "the length is often known at the call")]
    #[allow(unsafe_code, reason = "the writer's own room")]
    pub(super) fn fill_one<L: Lease, K: Keep>(&self, ring: &Ring<L, K>, spot: Spot, payload: &[u8]) {
        if Ring::<L, K>::RACY {
            self.bytes.write_racy(spot.start, &[payload]);
        } else {
            // SAFETY: as in `fill`.
            unsafe { self.bytes.write_one(spot.start, payload) };
            self.bytes.own_soon(spot.start.wrapping_add(OWN_AHEAD));
        }
        ring.lease.clean(ring.view.byte_at(spot.start), spot.len as usize);
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
        ring.lease.clean(ring.view.byte_at(spot.start), spot.len as usize);
    }

    /// Accounts for a record, and answers its slot's entry.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "keeps the state in registers")]
    pub(super) fn take(&mut self, spot: Spot, tag: u8) -> Entry {
        self.position = spot.end;
        let entry = Entry::new(low(self.next), spot.len, spot.start, tag);
        self.next = self.next.wrapping_add(1);
        entry
    }

    /// Where the slot of an offset is.
    #[inline]
    pub(super) fn slot(&self, offset: u64) -> Slot {
        self.slots.at(low(offset))
    }

    /// Commits a record.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "keeps the state in registers")]
    pub(super) fn publish<L: Lease, K: Keep>(&mut self, ring: &Ring<L, K>, spot: Spot, tag: u8) -> Offset {
        let offset = self.next;
        let entry = self.take(spot, tag);
        self.slot(offset).store(entry);
        ring.lease.clean(ring.view.slot_at(offset), SLOT);
        Offset::new(offset)
    }
}

/// Looks for room for a record of `units`; answers what there is and the offset before which nothing is needed.
#[cold]
#[inline(never)]
fn find_room<L: Lease, K: Keep>(
    ring: &Ring<L, K>,
    core: Core,
    units: u32,
    committed: (u64, u32),
) -> (Result<Room, WriteError>, u64) {
    match try_room(ring, core, units, committed) {
        Ok((room, head)) if room.has(units) => (Ok(room), head),
        Ok((_, head)) => {
            ring.view.note_refusal(&ring.lease);
            (Err(WriteError::Full), head)
        }
        Err(error) => (Err(error), core.head),
    }
}

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
    if committed == core.next {
        // A batch that was forgotten rather than dropped has left stamps behind its first record.
        let mut at = committed.wrapping_add(1);
        while core.slot(at).stamp() == low(at) {
            core.slot(at).commit(ring.view.stale(at));
            ring.lease.clean(ring.view.slot_at(at), SLOT);
            at = at.wrapping_add(1);
        }
    }
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
    let word = block.word(bounds::CLAIM);
    ring.lease.invalidate(BOUNDS_AT, BLOCK);
    if !claim(word, 0, 1) {
        return Err(WriteError::Claimed);
    }
    ring.lease.clean(BOUNDS_AT, BLOCK);
    Core::at_end(ring).inspect_err(|_| {
        word.store(0, Ordering::Release);
        ring.lease.clean(BOUNDS_AT, BLOCK);
    })
}

/// Gives the writer's place back.
pub(super) fn give_back<L: Lease, K: Keep>(ring: &Ring<L, K>, next: u64) {
    // Memory that others reach may have another writer by now.
    if L::Trust::EXCLUSIVE || ring.lease.check().is_ok() {
        ring.view.note_tail(&ring.lease, next);
        // SYNC(claim): with the Acquire of the next writer's claim.
        ring.view.bounds().word(bounds::CLAIM).store(0, Ordering::Release);
        ring.lease.clean(BOUNDS_AT, BLOCK);
    }
}

/// Bytes in all parts together.
#[inline]
pub(super) fn length(parts: &[&[u8]]) -> usize {
    parts.iter().fold(0, |sum: usize, part| sum.saturating_add(part.len()))
}

impl<P: RingRef> Drop for Writer<P> {
    fn drop(&mut self) {
        give_back(self.ring.ring(), self.core.next);
    }
}

impl<P: RingRef> core::fmt::Debug for Writer<P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Writer").field("next", &self.core.next).field("until", &self.core.until).finish_non_exhaustive()
    }
}
