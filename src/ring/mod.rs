//! A slot-indexed byte log with one writer per word.
//!
//! A ring lies in a lease: control blocks, `N` slots of 16 bytes, and a ring of payload bytes (the bytes of it all are
//! drawn in `lease::layout`). The record with offset `o` has slot `o mod N`, which says where its payload lies. The
//! slot's stamp, stored last, is the commit: readers go by stamps and share no counter with the writer in the hot path.
//!
//! - **[`Writer`]**: one. `reserve` / `commit` in place, `write` by copy, `batch` for many at once.
//! - **[`SharedWriter`]**: the same place in the ring shared by many producers; they commit out of order.
//! - **[`Reader`]**: up to 64, each by a name, each in its own time. Reading takes nothing out; a reader's progress says
//!   what it still needs.
//!
//! # What a full ring does
//! The type says so. [`Retain`]: the room of a record is used again only when every reader has released it; until then
//! the writer is told [`WriteError::Full`]. Readers read in place. [`Overwrite`]: the writer
//! never waits; a reader that is too slow is told exactly how many records it lost. Readers copy out.
//!
//! # What can be lost
//! A record whose `write` or `commit` returned `Ok` is in the log; one that was under way when its writer died is not,
//! and nothing of it is seen. A ring that nobody reads keeps its records (`Retain`: for ever, `Overwrite`: until their
//! room is needed).
//!
//! # Waiting
//! Nothing that writes wakes anybody: whoever has readers that sleep rings behind what it has written, once for as many records
//! as it likes.
//!
//! - A thread, in the writer's process or in another one: [`Reader::wait_next`], [`Writer::wake_readers`].
//! - An `async` task, on any executor: [`AsyncReader`], and a [`Bell`] that the writer rings.
//!
//! # When a writer neither dies nor goes on
//! A writer that is only stopped cannot be told from a slow one, and may store a record at any time later. Where the lease
//! allows it and the ring was made for it ([`RingConfig::with_takeover`]), somebody else can **seal** the log:
//! [`Ring::take_over`] ends it behind the last committed record, and goes on in another lease at the next offset. Whatever
//! the old writer does afterwards is refused to it, and seen by nobody; what it was told `Ok` for is in the log. Readers
//! read up to the seal and [`cross`](Reader::cross).
//!
//! # Costs
//! No call allocates. `write`, `next` and `copy_next` are wait-free but for copying the payload; every 1/8 of the ring or
//! so, `write` also looks at the readers' progress (at most 64 words). `seek` is O(1). Joining and attaching walk at most
//! `N` slots.
//!
//! ```
//! use fabric_mq::lease::SliceLease;
//! use fabric_mq::ring::{Reader, Ring, RingConfig, Start, Writer};
//!
//! let mut bytes = [0; 4096];
//! let ring: Ring<_> = Ring::format(SliceLease::new(&mut bytes), RingConfig::new(32, 1024))?;
//! let mut writer = Writer::claim(&ring)?;
//! let mut reader = Reader::join(&ring, "main", Start::Earliest)?;
//!
//! let offset = writer.write(b"hello")?;
//! let record = reader.next()?.expect("one was written");
//! assert_eq!((record.offset(), record.payload()), (offset, &b"hello"[..]));
//! assert!(reader.next()?.is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batch;
mod config;
mod copy_reader;
mod format;
mod gate;
mod grant;
mod join;
mod reader;
mod record;
mod recover;
mod seal;
mod shared;
mod task;
mod wait;
mod writer;

pub use crate::platform::bell::Bell;
pub(crate) use format::memory_of;

pub use batch::Batch;
pub use config::{Keep, Overwrite, Retain, RingConfig};
pub use grant::Grant;
pub use join::{ReaderInfo, Start};
pub use reader::Reader;
pub use record::{Copied, RecordRef};
pub use seal::Seal;
pub use shared::SharedWriter;
pub use task::{AsyncReader, Ready};
pub use wait::Deadline;
pub use writer::Writer;

use crate::error::WriteError;
use crate::lease::layout::{BOUNDS_AT, HINTS_AT, bounds, hints};
use crate::lease::{Lease, Trust};
use crate::platform::atomic::Ordering;
use crate::platform::claim;
use crate::platform::lock::Turn;
use crate::platform::memory::{BLOCK, Block, Blocks, Bytes, Entry, SLOT, Slot, Slots, UNIT};
use crate::types::{Epoch, Offset};
use config::{Geometry, units_of};
use core::marker::PhantomData;

/// Bytes of a word.
const WORD: usize = 4;

/// A formatted lease: the place where a writer and its readers meet.
///
/// It can be shared between threads; writers and readers borrow it, or hold it by `Arc`.
pub struct Ring<L: Lease, K: Keep = Retain> {
    view: View,
    /// Serialises joining and leaving, which are rare.
    registry: Turn,
    lease: L,
    keep: PhantomData<K>,
}

/// Where everything is, in cheap copies. The ring that made it keeps the lease alive.
#[derive(Clone, Copy)]
pub(crate) struct View {
    pub(crate) control: Blocks,
    pub(crate) slots: Slots,
    pub(crate) bytes: Bytes,
    pub(crate) geometry: Geometry,
}

impl View {
    #[inline]
    pub(crate) fn bounds(&self) -> Block {
        self.control.fixed::<{ BOUNDS_AT / BLOCK }>()
    }

    #[inline]
    pub(crate) fn hints(&self) -> Block {
        self.control.fixed::<{ HINTS_AT / BLOCK }>()
    }

    /// The head as it stands in the memory.
    #[inline]
    pub(crate) fn load_head<L: Lease>(&self, lease: &L) -> u64 {
        lease.invalidate_counter(BOUNDS_AT.wrapping_add(bounds::HEAD * WORD));
        self.bounds().cursor(bounds::HEAD).load()
    }

    /// The epoch as it stands in the memory.
    #[inline]
    pub(crate) fn load_epoch<L: Lease>(&self, lease: &L) -> Epoch {
        lease.invalidate(BOUNDS_AT.wrapping_add(bounds::EPOCH * WORD), WORD);
        Epoch::new(self.bounds().word(bounds::EPOCH).load(Ordering::Acquire))
    }

    /// Makes a word of a control block visible.
    #[inline]
    pub(crate) fn clean_word<L: Lease>(&self, lease: &L, block: Block, word: usize) {
        lease.clean(self.word_at(block, word), WORD);
    }

    /// Forgets the cached copy of a word of a control block.
    #[inline]
    pub(crate) fn refresh_word<L: Lease>(&self, lease: &L, block: Block, word: usize) {
        lease.invalidate(self.word_at(block, word), WORD);
    }

    /// Where a word of a control block lies in the lease.
    #[inline]
    pub(crate) fn word_at(&self, block: Block, word: usize) -> usize {
        self.control.distance(block).wrapping_add(word.wrapping_mul(WORD))
    }

    /// Makes a payload visible, and all of the last unit that it reaches.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "nothing, on most leases")]
    pub(crate) fn clean_bytes<L: Lease>(&self, lease: &L, position: u32, len: u32) {
        lease.clean(self.byte_at(position), (units_of(len) as usize).wrapping_mul(UNIT));
    }

    /// Takes care that nothing of payloads that were given up becomes visible when somebody else writes.
    #[inline]
    pub(crate) fn discard_bytes<L: Lease>(&self, lease: &L) {
        lease.discard(self.geometry.bytes_at(), self.geometry.bytes());
    }

    /// Commits the record whose payload is written: its stamp is stored when all the rest is visible.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "three stores and one, on most leases")]
    pub(crate) fn commit<L: Lease>(&self, lease: &L, slot: Slot, offset: u64, entry: Entry) {
        let at = self.slot_at(offset);
        slot.fill(entry);
        lease.clean(at.wrapping_add(WORD), SLOT - WORD);
        lease.fence();
        slot.commit(entry.stamp());
        lease.clean(at, WORD);
    }

    /// Moves a word by which a place is taken from `old` to `new`, or leaves it and answers `false`.
    #[inline]
    pub(crate) fn claim<L: Lease>(&self, lease: &L, block: Block, word: usize, old: u32, new: u32) -> bool {
        match lease.compare_exchange(self.word_at(block, word), old, new) {
            Some(moved) => moved,
            None => {
                self.refresh_word(lease, block, word);
                let moved = claim(block.word(word), old, new);
                if moved {
                    self.clean_word(lease, block, word);
                    lease.fence();
                }
                moved
            }
        }
    }

    /// Gives back a place that this party has taken: its word is one of `old`, and becomes `new`.
    #[inline]
    pub(crate) fn give_back<L: Lease>(&self, lease: &L, block: Block, word: usize, old: &[u32], new: u32) {
        let at = self.word_at(block, word);
        lease.fence();
        for old in old {
            match lease.compare_exchange(at, *old, new) {
                Some(true) => return,
                Some(false) => {}
                None => {
                    block.word(word).store(new, Ordering::Release);
                    self.clean_word(lease, block, word);
                    lease.fence();
                    return;
                }
            }
        }
    }
}

impl<L: Lease, K: Keep> Ring<L, K> {
    /// Whether payload bytes may change while they are read: then all copies go through atomics.
    pub(crate) const RACY: bool = K::OVERWRITE || L::Trust::HOSTILE;

    /// Waits until a record that was committed is visible to all, and answers its offset.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "nothing, on most leases")]
    fn complete(&self, offset: Offset) -> Result<Offset, WriteError> {
        self.lease.complete()?;
        Ok(offset)
    }

    /// Fetches what a writer goes by without asking again, and nobody else stores at present: all slots, and what was refused.
    #[inline]
    fn refresh_writer(&self) {
        self.lease.invalidate_counter(HINTS_AT.wrapping_add(hints::REFUSED * WORD));
        let (at, end) = (self.view.geometry.slots_at(), self.view.geometry.bytes_at());
        self.lease.fetch(at, end.wrapping_sub(at));
    }

    /// The lease underneath.
    #[must_use]
    pub const fn lease(&self) -> &L {
        &self.lease
    }

    /// Takes the lease back. What is in it stays.
    #[must_use]
    pub fn into_lease(self) -> L {
        self.lease
    }

    /// The oldest offset that a reader may ask for.
    #[must_use]
    pub fn head(&self) -> Offset {
        // SYNC(head)
        Offset::new(self.view.load_head(&self.lease))
    }

    /// The offset that the next record will have. Walks the slots that were committed since the writer last noted where
    /// it was: a few, at most all.
    #[must_use]
    pub fn tail(&self) -> Offset {
        Offset::new(self.view.walk_tail(&self.lease))
    }

    /// Records that a write found no room for, since the ring was formatted.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.lease.invalidate_counter(HINTS_AT.wrapping_add(hints::REFUSED * WORD));
        self.view.hints().cursor(hints::REFUSED).load()
    }

    /// The largest payload that a record can have, in bytes: half of the ring's.
    #[must_use]
    pub const fn max_record(&self) -> usize {
        self.view.geometry.max_record()
    }

    /// How many records fit at the same time, if their bytes do; one less if its log can be ended (see
    /// [`RingConfig::takeover`]).
    #[must_use]
    pub const fn slots(&self) -> u32 {
        self.view.geometry.slots()
    }

    /// How many payload bytes fit at the same time.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.view.geometry.bytes()
    }

    /// The partition number it was formatted with.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.view.geometry.number
    }

    /// The highest epoch that ever wrote here.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.view.load_epoch(&self.lease)
    }
}

impl<L: Lease + core::fmt::Debug, K: Keep> core::fmt::Debug for Ring<L, K> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Ring")
            .field("lease", &self.lease)
            .field("slots", &self.slots())
            .field("bytes", &self.bytes())
            .field("head", &self.head())
            .field("tail", &self.tail())
            .finish_non_exhaustive()
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A way to hold a ring: by reference, or by `Arc`.
pub trait RingRef: sealed::Sealed + Clone {
    /// The ring's lease.
    type Lease: Lease;
    /// What the ring keeps.
    type Keep: Keep;
    /// The ring.
    fn ring(&self) -> &Ring<Self::Lease, Self::Keep>;
}

impl<L: Lease, K: Keep> sealed::Sealed for &Ring<L, K> {}
impl<L: Lease, K: Keep> RingRef for &Ring<L, K> {
    type Lease = L;
    type Keep = K;
    #[inline]
    fn ring(&self) -> &Ring<L, K> {
        self
    }
}

#[cfg(feature = "alloc")]
impl<L: Lease, K: Keep> sealed::Sealed for alloc::sync::Arc<Ring<L, K>> {}
#[cfg(feature = "alloc")]
impl<L: Lease, K: Keep> RingRef for alloc::sync::Arc<Ring<L, K>> {
    type Lease = L;
    type Keep = K;
    #[inline]
    fn ring(&self) -> &Ring<L, K> {
        self
    }
}
