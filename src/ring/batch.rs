//! Many records, one commit.

use super::recover::low;
use super::writer::{Core, Pending, Spot, length};
use super::{Keep, Ring, RingRef, WORD, Writer};
use crate::error::WriteError;
use crate::lease::{Lease, Trust};
use crate::platform::STRAIGHT;
use crate::platform::memory::SLOT;
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
    /// How many slots there are to use. The writer has none meanwhile: should this batch be forgotten rather than dropped,
    /// the writer notices when it looks for some.
    left: u32,
    first: u64,
    behind: u32,
}

impl<'w, P: RingRef> Batch<'w, P> {
    #[inline]
    pub(super) fn new(writer: &'w mut Writer<P>) -> Self {
        writer.settle();
        let core = &mut writer.core;
        let (left, first, behind) = (core::mem::replace(&mut core.left, 0), core.next, core.position);
        writer.pending = Some(Pending { first, behind, take_back });
        Self { writer, left, first, behind }
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
        if !STRAIGHT || !core.fits(payload.len(), self.left) {
            return self.write_elsewhere(tag, payload);
        }
        let spot = core.spot(payload.len());
        self.left = self.left.wrapping_sub(1);
        core.fill_one(ring, spot, payload);
        Ok(add(core, ring, spot, tag, self.first))
    }

    /// Adds a record that is put together from parts.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn write_parts(&mut self, tag: u8, parts: &[&[u8]]) -> Result<Offset, WriteError> {
        let (core, ring) = self.writer.parts();
        let len = length(parts);
        let spot = if core.fits(len, self.left) {
            core.spot(len)
        } else {
            core.left = self.left;
            let found = core.find(ring, len, (self.first, self.behind));
            self.left = core::mem::replace(&mut core.left, 0);
            found?
        };
        core.fill(ring, spot, parts);
        core.edge = spot.edge;
        self.left = self.left.wrapping_sub(1);
        Ok(add(core, ring, spot, tag, self.first))
    }

    /// Adds a record where it does not simply follow the last one.
    #[cold]
    #[inline(never)]
    fn write_elsewhere(&mut self, tag: u8, payload: &[u8]) -> Result<Offset, WriteError> {
        self.write_parts(tag, &[payload])
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
                ring.view.commit_or_end(self.first, None)?;
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

/// Writes the slot of a record; the first one's does not show yet.
#[inline(always)]
#[allow(clippy::inline_always, reason = "keeps the state in registers")]
fn add<L: Lease, K: Keep>(core: &mut Core, ring: &Ring<L, K>, spot: Spot, tag: u8, first: u64) -> Offset {
    let offset = core.next;
    let entry = core.take(spot, tag);
    let slot = core.slot(offset);
    if offset == first {
        crate::platform::cold();
        if L::SEALABLE && ring.view.takeover() {
            // Its commit word may become the log's end at any time, and is only ever exchanged.
            slot.fill(entry);
        } else {
            slot.store_as(entry, core.slots.stale(low(offset)));
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
            self.writer.core.left = self.left;
            self.writer.pending = None;
        } else {
            take_back(self.writer);
        }
    }
}

/// Takes back the stamps of what was not published, the last one first: at no time does a reader that comes to the first
/// one find a run behind it.
#[cold]
#[inline(never)]
fn take_back<P: RingRef>(writer: &mut Writer<P>) {
    let Some(Pending { first, behind, .. }) = writer.pending.take() else { return };
    let (core, ring) = writer.parts();
    // Memory that others reach may have another writer by now; the missing stamp of the first record hides the rest.
    let ours = <P::Lease as Lease>::Trust::EXCLUSIVE || ring.lease.check().is_ok();
    let mut at = core.next;
    // Where the log can be ended, the first one's was never stored, and is not ours to store.
    let last = first.wrapping_add(u64::from(<P::Lease as Lease>::SEALABLE && ring.view.takeover()));
    while ours && at > last {
        at = at.wrapping_sub(1);
        core.slot(at).commit(ring.view.stale(at));
        ring.lease.clean(ring.view.slot_at(at), WORD);
    }
    // What was learnt about room holds from where the batch ended, so whoever goes on from here looks first.
    (core.next, core.position, core.edge, core.left) = (first, behind, behind, 0);
}

impl<P: RingRef> core::fmt::Debug for Batch<'_, P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Batch").field("first", &self.first).field("len", &self.len()).finish_non_exhaustive()
    }
}
