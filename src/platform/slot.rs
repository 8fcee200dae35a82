//! Slots: what they hold, and the order in which it is stored. "Kept": see `memory`.

#![allow(unsafe_code, reason = "raw views of leased memory")]

use super::atomic::{AtomicU32, Ordering};
use core::ptr::NonNull;

/// Bytes of a slot.
pub(crate) const SLOT: usize = 16;

/// The words of a slot.
pub(super) type Words = [AtomicU32; SLOT / 4];

/// What the four words of a sound slot add up to (by exclusive or). Not zero, so that blank memory is not sound.
pub(crate) const CHECK: u32 = 0x5afb_ca11;

/// The longest record that a slot can tell of.
pub(crate) const MAX_LEN: u32 = (1 << 24) - 1;

/// What a slot says of its record, in the words it is stored in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    stamp: u32,
    /// Length and tag.
    extent: u32,
    position: u32,
    check: u32,
}

#[allow(clippy::cast_possible_truncation, reason = "the parts of a word")]
impl Entry {
    /// The entry of a record; `len` is at most [`MAX_LEN`].
    #[inline]
    pub(crate) const fn new(stamp: u32, len: u32, position: u32, tag: u8) -> Self {
        let extent = len | ((tag as u32) << 24);
        Self { stamp, extent, position, check: stamp ^ extent ^ position ^ CHECK }
    }

    /// Low half of the record's offset: the commit word.
    #[inline]
    pub(crate) const fn stamp(self) -> u32 {
        self.stamp
    }

    /// Payload bytes.
    #[inline]
    pub(crate) const fn len(self) -> u32 {
        self.extent & MAX_LEN
    }

    /// Where the payload starts, in units since the log began, modulo 2^32.
    #[inline]
    pub(crate) const fn position(self) -> u32 {
        self.position
    }

    /// The record's tag, of the layer above.
    #[inline]
    pub(crate) const fn tag(self) -> u8 {
        (self.extent >> 24) as u8
    }

    /// Whether nothing within one of the four words is damaged.
    #[inline]
    pub(crate) const fn is_sound(self) -> bool {
        self.stamp ^ self.extent ^ self.position ^ self.check == CHECK
    }
}

/// The ring of slots, addressed by offset.
#[derive(Clone, Copy)]
pub(crate) struct Slots {
    base: NonNull<Words>,
    mask: u32,
}

impl Slots {
    /// # Safety
    /// `mask + 1` slots, a power of two, lie at `base`, aligned, and are only touched by atomics for as long as this view
    /// or any made from it is used ("kept").
    pub(super) const unsafe fn new(base: NonNull<Words>, mask: u32) -> Self {
        Self { base, mask }
    }

    pub(crate) fn count(self) -> u32 {
        self.mask.wrapping_add(1)
    }

    #[inline]
    pub(crate) fn at(self, offset: u32) -> Slot {
        let index = (offset & self.mask) as usize;
        // SAFETY: the masked index is less than `count`, and `count` slots lie in the lease (`new`).
        Slot { words: unsafe { self.base.add(index) } }
    }
}

/// One slot: four words on every target.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    words: NonNull<Words>,
}

impl Slot {
    #[inline]
    fn words(&self) -> &Words {
        // SAFETY: the slot lies in the lease, is aligned, and only touched by atomics (`Slots::new`, kept).
        unsafe { self.words.as_ref() }
    }

    /// The commit word: which offset the slot holds, Acquire.
    #[inline]
    pub(crate) fn stamp(self) -> u32 {
        let [stamp, ..] = self.words();
        // SYNC(commit): with `store`.
        stamp.load(Ordering::Acquire)
    }

    /// The commit word and the rest.
    #[inline]
    pub(crate) fn load(self) -> Entry {
        let [stamp, extent, position, check] = self.words();
        // SYNC(commit): with `store`.
        let stamp = stamp.load(Ordering::Acquire);
        Entry {
            stamp,
            extent: extent.load(Ordering::Relaxed),
            position: position.load(Ordering::Relaxed),
            check: check.load(Ordering::Relaxed),
        }
    }

    /// Writes the entry, its commit word last.
    #[inline]
    pub(crate) fn store(self, entry: Entry) {
        self.store_as(entry, entry.stamp());
    }

    /// Writes the entry with another commit word than its own: to be committed later by `commit`.
    #[inline]
    pub(crate) fn store_as(self, entry: Entry, stamp: u32) {
        let [first, extent, position, check] = self.words();
        extent.store(entry.extent, Ordering::Relaxed);
        position.store(entry.position, Ordering::Relaxed);
        check.store(entry.check, Ordering::Relaxed);
        // SYNC(commit): everything written before is seen by whoever sees the stamp.
        first.store(stamp, Ordering::Release);
    }

    /// Rewrites the commit word. One party writes the slot.
    #[inline]
    pub(crate) fn commit(self, stamp: u32) {
        let [first, ..] = self.words();
        // SYNC(commit)
        first.store(stamp, Ordering::Release);
    }
}

// SAFETY: views are addresses; what they do with them is governed by `kept` and by the ring's protocol, not by threads.
unsafe impl Send for Slots {}
// SAFETY: as above.
unsafe impl Sync for Slots {}
// SAFETY: as above.
unsafe impl Send for Slot {}
// SAFETY: as above.
unsafe impl Sync for Slot {}
