//! Slots: what they hold, and the order in which it is stored. "Kept": see `memory`.

#![allow(unsafe_code, reason = "raw views of leased memory")]

use super::atomic::{AtomicU32, Ordering};
use super::claim;
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
    extent: Extent,
    position: u32,
    check: u32,
}

impl Entry {
    /// The entry of a record; `len` is at most [`MAX_LEN`].
    #[inline]
    pub(crate) const fn new(stamp: u32, len: u32, position: u32, tag: u8) -> Self {
        let extent = len | ((tag as u32) << 24);
        Self { stamp, extent: Extent(extent), position, check: stamp ^ extent ^ position ^ CHECK }
    }

    /// Low half of the record's offset: the commit word.
    #[inline]
    pub(crate) const fn stamp(self) -> u32 {
        self.stamp
    }

    /// The record's length and tag.
    #[inline]
    pub(crate) const fn extent(self) -> Extent {
        self.extent
    }

    /// Payload bytes.
    #[inline]
    pub(crate) const fn len(self) -> u32 {
        self.extent.len()
    }

    /// Where the payload starts, in units since the log began, modulo 2^32.
    #[inline]
    pub(crate) const fn position(self) -> u32 {
        self.position
    }

    /// Whether that holds, and the payload lies where it is expected.
    ///
    /// Asked so that the optimiser does not see the two positions to be equal: a reader goes to the one it expects, which
    /// does not depend on anything loaded here, so the processor fetches the payload while the slot is still on its way. And the
    /// stored position is asked too: to the check alone, a damaged stamp and a place as far off would make up for each other.
    #[inline]
    pub(crate) const fn lies_at(self, expected: u32) -> bool {
        let rest = self.stamp ^ self.extent.0 ^ self.check;
        rest ^ expected == CHECK && rest ^ self.position == CHECK
    }

    /// Whether nothing within one of the four words is damaged.
    #[inline]
    pub(crate) const fn is_sound(self) -> bool {
        self.stamp ^ self.extent.0 ^ self.position ^ self.check == CHECK
    }
}

/// Length and tag of a record, in the word they are stored in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent(u32);

#[allow(clippy::cast_possible_truncation, reason = "the parts of a word")]
impl Extent {
    /// Payload bytes.
    #[inline]
    pub(crate) const fn len(self) -> u32 {
        self.0 & MAX_LEN
    }

    /// The record's tag, of the layer above.
    #[inline]
    pub(crate) const fn tag(self) -> u8 {
        (self.0 >> 24) as u8
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

    /// The stamp that the slot of `offset` holds while `offset` is not committed: the one of a lap before.
    #[inline]
    pub(crate) fn stale(self, offset: u32) -> u32 {
        offset.wrapping_sub(self.count())
    }

    #[inline]
    pub(crate) fn at(self, offset: u32) -> Slot {
        let index = (offset & self.mask) as usize;
        // SAFETY: the masked index is less than `count`, and `count` slots lie in the lease (`new`).
        Slot { words: unsafe { self.base.add(index) } }
    }

    /// The slots from `offset` on, up to `count` of them, but not beyond the last one: how a reader of many comes to each
    /// next one by one addition.
    #[inline]
    pub(crate) fn run(&self, offset: u32, count: u32) -> impl Iterator<Item = Slot> + '_ {
        let index = offset & self.mask;
        let count = count.min(self.count().wrapping_sub(index));
        // SAFETY: the masked index is less than the number of slots, all of which lie in the lease (`new`).
        let first = unsafe { self.base.add(index as usize) };
        // SAFETY: `index + count` is at most the number of slots; they are aligned, and only touched by atomics (`new`, kept).
        let words = unsafe { core::slice::from_raw_parts(first.as_ptr(), count as usize) };
        words.iter().map(|words| Slot { words: NonNull::from(words) })
    }

    /// The slots from `offset` on, up to `count` of them, but not beyond the last one.
    #[inline]
    pub(crate) fn row(self, offset: u32, count: u32) -> Row {
        let index = offset & self.mask;
        let count = count.min(self.count().wrapping_sub(index));
        // SAFETY: the masked index is less than the number of slots, all of which lie in the lease (`new`).
        let next = unsafe { self.base.add(index as usize) };
        // SAFETY: `index + count` is at most the number of slots, so this is the end of them all or before.
        let end = unsafe { next.add(count as usize) };
        Row { next, end }
    }
}

/// Slots side by side, taken one after the other: how who goes from record to record comes to each next slot by one
/// comparison and one addition.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    next: NonNull<Words>,
    end: NonNull<Words>,
}

impl Row {
    /// No slots.
    pub(crate) const EMPTY: Self = Self { next: NonNull::dangling(), end: NonNull::dangling() };

    /// The first slot, and the row behind it.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "two instructions of each record")]
    pub(crate) fn split_first(self) -> Option<(Slot, Self)> {
        if self.next == self.end {
            return None;
        }
        // SAFETY: `next` is before `end`, and both are addresses of slots in the lease, or the end of them all
        // (`Slots::row`).
        let behind = unsafe { self.next.add(1) };
        Some((Slot { words: self.next }, Self { next: behind, end: self.end }))
    }

    /// Goes on to `rest`, of this same row: one store, where the row is in memory.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "an instruction of each record")]
    pub(crate) const fn go_on(&mut self, rest: Self) {
        self.next = rest.next;
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
            extent: Extent(extent.load(Ordering::Relaxed)),
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
        self.fill(entry);
        self.commit(stamp);
    }

    /// Writes all of the entry but its commit word.
    #[inline]
    pub(crate) fn fill(self, entry: Entry) {
        let [_, extent, position, check] = self.words();
        extent.store(entry.extent.0, Ordering::Relaxed);
        position.store(entry.position, Ordering::Relaxed);
        check.store(entry.check, Ordering::Relaxed);
    }

    /// Moves the commit word from `from` to `stamp`, or leaves it and answers `false`: where several may.
    #[inline]
    pub(crate) fn exchange(self, from: u32, stamp: u32) -> bool {
        let [first, ..] = self.words();
        // SYNC(commit): releases as `store` does.
        claim(first, from, stamp)
    }

    /// Rewrites the commit word. One party writes the slot.
    #[inline]
    pub(crate) fn commit(self, stamp: u32) {
        let [first, ..] = self.words();
        // SYNC(commit): everything written before is seen by whoever sees the stamp.
        first.store(stamp, Ordering::Release);
    }
}

// SAFETY: views are addresses; what they do with them is governed by `kept` and by the ring's protocol, not by threads.
unsafe impl Send for Slots {}
// SAFETY: as above.
unsafe impl Sync for Slots {}
// SAFETY: as above.
unsafe impl Send for Row {}
// SAFETY: as above.
unsafe impl Sync for Row {}
// SAFETY: as above.
unsafe impl Send for Slot {}
// SAFETY: as above.
unsafe impl Sync for Slot {}
