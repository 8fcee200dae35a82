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
//! the writer is told [`WriteError::Full`](crate::WriteError::Full). Readers read in place. [`Overwrite`]: the writer
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
pub use shared::SharedWriter;
pub use task::{AsyncReader, Ready};
pub use wait::Deadline;
pub use writer::Writer;

use crate::lease::layout::{BOUNDS_AT, HINTS_AT, bounds, hints};
use crate::lease::{Lease, Trust};
use crate::platform::lock::Turn;
use crate::platform::memory::{BLOCK, Block, Blocks, Bytes, Slots};
use crate::types::{Epoch, Offset};
use config::Geometry;
use core::marker::PhantomData;

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
}

impl<L: Lease, K: Keep> Ring<L, K> {
    /// Whether payload bytes may change while they are read: then all copies go through atomics.
    pub(crate) const RACY: bool = K::OVERWRITE || L::Trust::HOSTILE;

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
        self.lease.invalidate(BOUNDS_AT, BLOCK);
        // SYNC(head)
        Offset::new(self.view.bounds().cursor(bounds::HEAD).load())
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
        self.view.hints().cursor(hints::REFUSED).load()
    }

    /// The largest payload that a record can have, in bytes: half of the ring's.
    #[must_use]
    pub const fn max_record(&self) -> usize {
        self.view.geometry.max_record()
    }

    /// How many records fit at the same time, if their bytes do.
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
        let block = self.view.bounds();
        let word = block.word(bounds::EPOCH);
        Epoch::new(word.load(crate::platform::atomic::Ordering::Acquire))
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
