//! Many records, one commit.

use super::recover::low;
use super::writer::{Core, Pending, length};
use super::{Keep, Ring, RingRef, WORD, Writer};
use crate::error::WriteError;
use crate::lease::{Lease, Trust};
use crate::platform::STRAIGHT;
use crate::platform::memory::{Entry, SLOT, Slot, Slots};
use crate::platform::run::Run;
use crate::types::Offset;

/// Records that become visible together.
///
/// The stamps of all records but the first are stored as they are written; the first one's is held back until
/// [`publish`](Self::publish), and hides the others. Dropping a batch takes it back: nothing of it is ever seen.
///
/// ```
/// # use fabric_mq::lease::SliceLease;
/// # use fabric_mq::ring::{Reader, Ring, RingConfig, Start, Writer};
/// # let mut bytes = [0; 4096];
/// # let ring: Ring<_> = Ring::format(SliceLease::new(&mut bytes), RingConfig::new(32, 1024))?;
/// let mut writer = Writer::claim(&ring)?;
/// let mut reader = Reader::join(&ring, "main", Start::Earliest)?;
/// let mut batch = writer.batch();
/// batch.write(b"one")?;
/// batch.write(b"two")?;
/// assert!(reader.next()?.is_none());
/// assert_eq!(batch.publish()?, 2);
/// assert_eq!(reader.next()?.map(|r| r.payload()), Some(&b"one"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a batch that is not published is taken back"]
pub struct Batch<'w, P: RingRef> {
    writer: &'w mut Writer<P>,
    /// Where the writer's run stops. The writer's own is 0 meanwhile: should this batch be forgotten rather than dropped, the
    /// writer notices when it looks for room.
    stop: usize,
    first: u64,
    behind: u32,
}

impl<'w, P: RingRef> Batch<'w, P> {
    #[inline]
    pub(super) fn new(writer: &'w mut Writer<P>) -> Self {
        writer.settle();
        let core = &mut writer.core;
        let (stop, first, behind) = (core.run.stop_at(0), core.next, core.position);
        writer.pending = Some(Pending { first, behind, take_back });
        Self { writer, stop, first, behind }
    }

    /// Adds a record.
    ///
    /// # Errors
    /// As [`Writer::write`]. The records before it stay in the batch.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "keeps the state in registers, and the length is often known")]
    pub fn write(&mut self, payload: &[u8]) -> Result<Offset, WriteError> {
        self.write_tagged(0, payload)
    }

    /// Adds a record with a byte of the caller's beside it.
    ///
    /// # Errors
    /// As [`Writer::write`].
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "keeps the state in registers, and the length is often known")]
    pub fn write_tagged(&mut self, tag: u8, payload: &[u8]) -> Result<Offset, WriteError> {
        let (core, ring) = self.writer.parts();
        if !STRAIGHT {
            return write_at(ring, core, (self.first, self.behind), tag, &[payload]);
        }
        let place = core.follower(payload.len(), self.stop);
        let place = place.filter(|_| core.fill_next(ring, payload));
        let Some(place) = place else {
            let mut state = *core;
            state.run.stop_at(self.stop);
            // By value: see `Core`.
            let (state, written) = Self::write_elsewhere(ring, state, (self.first, self.behind), tag, &[payload]);
            *core = state;
            self.stop = core.run.stop_at(0);
            return written;
        };
        let offset = core.next;
        let entry = core.follow(place, tag, payload.len());
        Ok(add(core.slots, ring, place.slot, (offset, self.first), entry))
    }

    /// Adds a record that is put together from parts.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn write_parts(&mut self, tag: u8, parts: &[&[u8]]) -> Result<Offset, WriteError> {
        let (core, ring) = self.writer.parts();
        core.run.stop_at(self.stop);
        let written = write_at(ring, core, (self.first, self.behind), tag, parts);
        self.stop = core.run.stop_at(0);
        written
    }

    /// Adds a record where it does not simply follow the last one.
    #[cold]
    #[inline(never)]
    fn write_elsewhere(
        ring: &Ring<P::Lease, P::Keep>,
        mut core: Core,
        committed: (u64, u32),
        tag: u8,
        parts: &[&[u8]],
    ) -> (Core, Result<Offset, WriteError>) {
        let written = write_at(ring, &mut core, committed, tag, parts);
        (core, written)
    }

    /// How many records it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        #[allow(clippy::cast_possible_truncation, reason = "at most 2^28")]
        let len = self.writer.core.next.wrapping_sub(self.first) as usize;
        len
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Commits all records at once, and answers how many they are.
    ///
    /// # Errors
    /// [`WriteError::Lease`] if the lease has ended, [`WriteError::Sealed`] if the log has: nothing of the batch is visible.
    pub fn publish(mut self) -> Result<usize, WriteError> {
        let len = self.len();
        let (core, ring) = self.writer.parts();
        // The single checked step.
        ring.lease.check()?;
        if len != 0 {
            ring.lease.fence();
            if <P::Lease as Lease>::SEALABLE && ring.view.takeover() {
                ring.view.commit_or_end(&ring.lease, self.first, None)?;
            } else {
                core.slot(self.first).commit(low(self.first));
            }
            ring.lease.clean(ring.view.slot_at(self.first), WORD);
            ring.view.note_tail(&ring.lease, core.next);
            let known = ring.lease.complete();
            // Nothing is left to be taken back.
            self.first = core.next;
            known?;
        }
        Ok(len)
    }
}

/// Adds a record to a batch before which everything up to the offset `committed`, and before the position with it, is
/// committed.
#[inline]
fn write_at<L: Lease, K: Keep>(
    ring: &Ring<L, K>,
    core: &mut Core,
    committed: (u64, u32),
    tag: u8,
    parts: &[&[u8]],
) -> Result<Offset, WriteError> {
    let spot = core.admit(ring, length(parts), committed)?;
    core.fill(ring, spot, parts);
    let (offset, slot) = (core.next, core.slot(core.next));
    let entry = core.take(spot, tag);
    Ok(add(core.slots, ring, slot, (offset, committed.0), entry))
}

/// Writes the slot of a record; the first one's does not show yet.
#[inline(always)]
#[allow(clippy::inline_always, reason = "keeps the state in registers")]
fn add<L: Lease, K: Keep>(
    slots: Slots,
    ring: &Ring<L, K>,
    slot: Slot,
    (offset, first): (u64, u64),
    entry: Entry,
) -> Offset {
    if offset == first {
        crate::platform::cold();
        if L::SEALABLE && ring.view.takeover() {
            // Its commit word may become the log's end at any time, and is only ever exchanged.
            slot.fill(entry);
            ring.lease.clean(ring.view.slot_at(offset).wrapping_add(WORD), SLOT - WORD);
            return Offset::new(offset);
        } else {
            slot.store_as(entry, slots.stale(low(offset)));
        }
    } else {
        slot.store(entry);
    }
    ring.lease.clean(ring.view.slot_at(offset), SLOT);
    Offset::new(offset)
}

impl<P: RingRef> Drop for Batch<'_, P> {
    #[inline]
    fn drop(&mut self) {
        if self.is_empty() {
            self.writer.core.run.stop_at(self.stop);
            self.writer.pending = None;
        } else {
            self.writer.settle();
        }
    }
}

/// Takes back the stamps of what was not published, the last one first: at no time does a reader that comes to the first
/// one find a run behind it.
#[cold]
#[inline(never)]
fn take_back<L: Lease, K: Keep>(ring: &Ring<L, K>, core: &mut Core, first: u64, behind: u32) {
    // Memory that others reach may have another writer by now; the missing stamp of the first record hides the rest.
    let ours = L::Trust::EXCLUSIVE || ring.lease.check().is_ok();
    let mut at = core.next;
    // Where the log can be ended, the first one's was never stored, and is not ours to store.
    let last = first.wrapping_add(u64::from(L::SEALABLE && ring.view.takeover()));
    while ours && at > last {
        at = at.wrapping_sub(1);
        core.slot(at).commit(ring.view.stale(at));
        ring.lease.clean(ring.view.slot_at(at), WORD);
    }
    // What was learnt about room holds from where the batch ended, so whoever goes on from here looks first.
    (core.next, core.position, core.edge, core.limit, core.run) = (first, behind, behind, low(first), Run::NONE);
}

impl<P: RingRef> core::fmt::Debug for Batch<'_, P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Batch").field("first", &self.first).field("len", &self.len()).finish_non_exhaustive()
    }
}
