//! Many records, one commit.

use super::recover::low;
use super::writer::{Core, Spot, length};
use super::{RingRef, Writer};
use crate::error::WriteError;
use crate::lease::{Lease, Trust};
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
    /// A copy of the writer's state, where the optimiser can keep it in registers.
    core: Core,
    first: u64,
}

impl<'w, P: RingRef> Batch<'w, P> {
    pub(super) fn new(writer: &'w mut Writer<P>) -> Self {
        let core = writer.core;
        // Should this batch be forgotten rather than dropped, the writer looks for room before anything else, and takes back
        // what was left behind.
        writer.core = core.without_room();
        Self { first: core.next, core, writer }
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
        let ring = self.writer.ring();
        let spot = self.core.admit(ring, payload.len(), (self.first, self.writer.core.position));
        self.learn();
        let spot = spot?;
        let ring = self.writer.ring();
        self.core.fill_one(ring, spot, payload);
        Ok(self.add(spot, tag))
    }

    /// Adds a record that is put together from parts.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn write_parts(&mut self, tag: u8, parts: &[&[u8]]) -> Result<Offset, WriteError> {
        let ring = self.writer.ring();
        let spot = self.core.admit(ring, length(parts), (self.first, self.writer.core.position));
        self.learn();
        let spot = spot?;
        let ring = self.writer.ring();
        self.core.fill(ring, spot, parts);
        Ok(self.add(spot, tag))
    }

    /// Tells the writer how far the head has come, should this batch be forgotten.
    #[inline]
    const fn learn(&mut self) {
        self.writer.core.head = self.core.head;
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "keeps the state in registers")]
    fn add(&mut self, spot: Spot, tag: u8) -> Offset {
        let offset = self.core.next;
        let entry = self.core.take(spot, tag);
        let slot = self.core.slot(offset);
        if offset == self.first {
            slot.store_as(entry, self.writer.ring().view.stale(offset));
        } else {
            slot.store(entry);
        }
        let ring = self.writer.ring();
        ring.lease.clean(ring.view.slot_at(offset), SLOT);
        Offset::new(offset)
    }

    /// How many records it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        #[allow(clippy::cast_possible_truncation, reason = "at most 2^28")]
        let len = self.core.next.wrapping_sub(self.first) as usize;
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
    /// [`WriteError::Lease`] if the lease has ended: nothing of the batch is visible.
    pub fn publish(mut self) -> Result<usize, WriteError> {
        let ring = self.writer.ring();
        // The single checked step.
        ring.lease.check()?;
        let len = self.len();
        if len != 0 {
            self.core.slot(self.first).commit(low(self.first));
            ring.lease.clean(ring.view.slot_at(self.first), SLOT);
            ring.view.note_tail(&ring.lease, self.core.next);
        }
        self.first = self.core.next;
        Ok(len)
    }
}

impl<P: RingRef> Drop for Batch<'_, P> {
    #[inline]
    fn drop(&mut self) {
        if self.core.next == self.first {
            self.writer.core = self.core;
        } else {
            take_back(self.writer, self.core, self.first);
        }
    }
}

/// Takes back the stamps of what was not published, the last one first: at no time does a reader that comes to the first
/// one find a run behind it.
#[cold]
#[inline(never)]
fn take_back<P: RingRef>(writer: &mut Writer<P>, core: Core, first: u64) {
    let ring = writer.ring();
    // Memory that others reach may have another writer by now; the missing stamp of the first record hides the rest.
    let ours = <P::Lease as Lease>::Trust::EXCLUSIVE || ring.lease.check().is_ok();
    let mut at = core.next;
    while ours && at > first {
        at = at.wrapping_sub(1);
        core.slot(at).commit(ring.view.stale(at));
        ring.lease.clean(ring.view.slot_at(at), SLOT);
    }
    // What was learnt about room holds from where the batch ended; from where it began there is to be looked again.
    writer.core.head = core.head;
}

impl<P: RingRef> core::fmt::Debug for Batch<'_, P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Batch").field("first", &self.first).field("len", &self.len()).finish_non_exhaustive()
    }
}
