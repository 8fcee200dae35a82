//! `memory` for the model checker: the same views over words, bytes and shadows that the checker watches.

#![allow(unsafe_code, reason = "raw views of leased memory")]

use super::atomic::{AtomicU32, AtomicUsize};
pub(crate) use super::block::{BLOCK, Block, Blocks};
use super::racy;
pub(crate) use super::slot::{Entry, Extent, MAX_LEN, Row, SLOT, Slot, Slots};
use super::{block, slot};
use alloc::vec::Vec;
#[allow(clippy::disallowed_types, reason = "the bytes of a lease")]
use core::cell::UnsafeCell;
use core::ptr::NonNull;
use loom::cell;

/// Bytes of a unit: payload positions count these.
pub(crate) const UNIT: usize = 8;

const _: () = assert!(size_of::<usize>() == UNIT, "a racing copy's word is a unit here");

/// What a lease's `base` points to when the crate is compiled for the model checker.
///
/// Control words and slots are the checker's atomics. The payload exists twice: as plain bytes, each unit with a shadow
/// that notes every access and makes the checker report those that nothing orders; and as atomic words, for the copies
/// that may race. A ring uses one of the two throughout.
///
/// A record that is lent is noted when it is lent. Whoever uses it later than that says so by [`touch`](Self::touch).
pub struct LoomMemory {
    blocks: Vec<block::Words>,
    slots: Vec<slot::Words>,
    #[allow(clippy::disallowed_types, reason = "the bytes of a lease")]
    bytes: Vec<UnsafeCell<[u8; UNIT]>>,
    shadows: Vec<cell::UnsafeCell<()>>,
    words: Vec<AtomicUsize>,
}

// SAFETY: the plain bytes are reached only together with their shadows, which the checker stops at the first race.
unsafe impl Send for LoomMemory {}
// SAFETY: as above.
unsafe impl Sync for LoomMemory {}

fn words<const N: usize>(bytes: &[u8]) -> [AtomicU32; N] {
    let mut words = bytes.as_chunks::<4>().0.iter();
    core::array::from_fn(|_| AtomicU32::new(words.next().map_or(0, |word| u32::from_le_bytes(*word))))
}

impl LoomMemory {
    /// Memory that holds `image`, whose slots begin at byte `slots_at` and whose payload begins at byte `bytes_at`.
    /// What exceeds whole blocks, slots and units is left out.
    #[must_use]
    pub fn new(image: &[u8], slots_at: usize, bytes_at: usize) -> Self {
        let (control, rest) = image.split_at_checked(slots_at).unwrap_or_default();
        let (slots, payload) = rest.split_at_checked(bytes_at.saturating_sub(slots_at)).unwrap_or_default();
        let units = payload.as_chunks::<UNIT>().0;
        Self {
            blocks: control.as_chunks::<BLOCK>().0.iter().map(|block| words(block)).collect(),
            slots: slots.as_chunks::<SLOT>().0.iter().map(|slot| words(slot)).collect(),
            #[allow(clippy::disallowed_types, reason = "the bytes of a lease")]
            bytes: units.iter().map(|unit| UnsafeCell::new(*unit)).collect(),
            shadows: units.iter().map(|_| cell::UnsafeCell::new(())).collect(),
            words: units.iter().map(|unit| AtomicUsize::new(usize::from_le_bytes(*unit))).collect(),
        }
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let (blocks, slots) = (self.blocks.len().wrapping_mul(BLOCK), self.slots.len().wrapping_mul(SLOT));
        blocks.wrapping_add(slots).wrapping_add(self.bytes.len().wrapping_mul(UNIT))
    }

    /// Notes that bytes which were lent are read now.
    ///
    /// # Panics
    /// If they do not lie here.
    pub fn touch(&self, lent: &[u8]) {
        let base = self.bytes.as_ptr() as usize;
        let at = (lent.as_ptr() as usize).wrapping_sub(base);
        assert!(at.wrapping_add(lent.len()) <= self.bytes.len().wrapping_mul(UNIT), "lent from here");
        for shadow in self.shadows.iter().skip(at / UNIT).take(lent.len().div_ceil(UNIT)) {
            shadow.with(|_| ());
        }
    }

    /// Notes that bytes which were reserved are written now.
    ///
    /// # Panics
    /// If they do not lie here.
    pub fn touch_mut(&self, reserved: &mut [u8]) {
        let base = self.bytes.as_ptr() as usize;
        let at = (reserved.as_ptr() as usize).wrapping_sub(base);
        assert!(at.wrapping_add(reserved.len()) <= self.bytes.len().wrapping_mul(UNIT), "reserved here");
        for shadow in self.shadows.iter().skip(at / UNIT).take(reserved.len().div_ceil(UNIT)) {
            shadow.with_mut(|_| ());
        }
    }
}

impl core::fmt::Debug for LoomMemory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("LoomMemory").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

/// The bytes of a lease.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    base: NonNull<LoomMemory>,
    len: usize,
}

impl Memory {
    /// # Safety
    /// `base` points to a [`LoomMemory`] of at least `len` bytes, for as long as this view or any made from it is used
    /// ("kept").
    pub(crate) unsafe fn new(base: NonNull<u8>, len: usize) -> Self {
        Self { base: base.cast(), len }
    }

    pub(crate) fn len(self) -> usize {
        self.len
    }

    fn inner(&self) -> &LoomMemory {
        // SAFETY: valid by the promise of `new`; only shared references to it exist.
        unsafe { self.base.as_ref() }
    }

    /// The control blocks at the lease's start, `places` of them readers'.
    pub(crate) fn blocks(self, places: u8) -> Option<Blocks> {
        let places = u32::from(places);
        let blocks = self.inner().blocks.get(..block::FIXED.wrapping_add(places) as usize)?;
        // SAFETY: the slice is that long.
        Some(unsafe { Blocks::new(NonNull::from(blocks).cast(), places) })
    }

    /// The control block at byte `at`.
    pub(crate) fn block(self, at: usize) -> Option<Block> {
        let words = self.inner().blocks.get(at / BLOCK)?;
        // SAFETY: "kept", from `new`.
        at.is_multiple_of(BLOCK).then_some(unsafe { Block::new(NonNull::from(words)) })
    }

    /// The `1 << log2` slots at byte `at`.
    pub(crate) fn slots(self, at: usize, log2: u8) -> Option<Slots> {
        let count = 1_u32.checked_shl(u32::from(log2))?;
        let slots = &self.inner().slots;
        let fits = at == self.inner().blocks.len().checked_mul(BLOCK)? && slots.len() == count as usize;
        // SAFETY: there are `count` slots.
        fits.then_some(unsafe { Slots::new(NonNull::from(slots.as_slice()).cast(), count.wrapping_sub(1)) })
    }

    /// The `1 << log2` payload units at byte `at`.
    pub(crate) fn bytes(self, at: usize, log2: u8) -> Option<Bytes> {
        let count = 1_u32.checked_shl(u32::from(log2))?;
        let size = UNIT.checked_mul(count as usize)?;
        let fits = at.checked_add(size)? == self.inner().bytes() && self.inner().bytes.len() == count as usize;
        fits.then_some(Bytes { memory: self.base, mask: count.wrapping_sub(1) })
    }
}

/// The ring of payload units, addressed by position.
#[derive(Clone, Copy)]
pub(crate) struct Bytes {
    memory: NonNull<LoomMemory>,
    mask: u32,
}

// SAFETY: views are addresses; what they do with them is governed by `kept` and by the ring's protocol, not by threads.
unsafe impl Send for Bytes {}
// SAFETY: as above.
unsafe impl Sync for Bytes {}
// SAFETY: as above.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Bytes {
    pub(crate) fn units(self) -> u32 {
        self.mask.wrapping_add(1)
    }

    /// The index of a position in the ring.
    pub(crate) fn index(self, position: u32) -> u32 {
        position & self.mask
    }

    /// Whether `len` bytes from `position` on lie in one piece.
    pub(crate) fn holds(self, position: u32, len: u32) -> bool {
        let start = u64::from(self.index(position)).wrapping_mul(UNIT as u64);
        start.wrapping_add(u64::from(len)) <= u64::from(self.units()).wrapping_mul(UNIT as u64)
    }

    pub(crate) fn spans(self, position: u32, len: u32) -> bool {
        self.holds(position, len)
    }

    fn inner(&self) -> &LoomMemory {
        // SAFETY: "kept", from `Memory::new`.
        unsafe { self.memory.as_ref() }
    }

    /// The bytes of `len` from `position` on, with the ring's end checked, which the callers promise to keep to.
    fn range(&self, position: u32, len: usize) -> *mut u8 {
        assert!(self.holds(position, u32::try_from(len).unwrap_or(u32::MAX)), "inside the ring");
        // From the address of them all: the range may be of many units.
        let base = self.inner().bytes.as_ptr().cast::<u8>().cast_mut();
        // SAFETY: the offset lies in the ring (`holds`).
        unsafe { base.add((self.index(position) as usize).wrapping_mul(UNIT)) }
    }

    /// A hint to the processor: nothing to model.
    pub(crate) fn own_soon(self, _position: u32) {}

    /// The lap that `position` lies in.
    pub(crate) fn lap(self, _position: u32) -> Lap {
        Lap { bytes: Some(self) }
    }

    /// # Safety
    /// As [`write`](Self::write).
    pub(crate) unsafe fn write_one(self, position: u32, from: &[u8]) {
        // SAFETY: the caller's promise.
        unsafe { self.write(position, &[from]) };
    }

    /// Copies `parts`, one behind the other, to `position` by ordinary stores.
    ///
    /// # Safety
    /// `holds(position, length of all parts)`, and nobody else touches those bytes until they are committed.
    pub(crate) unsafe fn write(self, position: u32, parts: &[&[u8]]) {
        let whole = parts.concat();
        // SAFETY: the caller's promise.
        let to = unsafe { self.slice_mut(position, u32::try_from(whole.len()).unwrap_or(u32::MAX)) };
        to.copy_from_slice(&whole);
    }

    /// Copies the bytes at `position` to `to` by ordinary loads.
    ///
    /// # Safety
    /// `holds(position, to.len())`, and nobody writes those bytes meanwhile.
    pub(crate) unsafe fn read(self, position: u32, to: &mut [u8]) {
        // SAFETY: the caller's promise.
        to.copy_from_slice(unsafe { self.slice(position, u32::try_from(to.len()).unwrap_or(u32::MAX)) });
    }

    /// The bytes at `position`, in place.
    ///
    /// # Safety
    /// `holds(position, len)`, and nobody writes those bytes for as long as `'a`.
    pub(crate) unsafe fn slice<'a>(self, position: u32, len: u32) -> &'a [u8] {
        let at = self.range(position, len as usize);
        // SAFETY: in the ring; the checker reports a writer that nothing keeps away.
        let bytes = unsafe { core::slice::from_raw_parts(at, len as usize) };
        self.inner().touch(bytes);
        bytes
    }

    /// The bytes at `position`, in place, to be written.
    ///
    /// # Safety
    /// `holds(position, len)`, and nobody else touches those bytes for as long as `'a`.
    pub(crate) unsafe fn slice_mut<'a>(self, position: u32, len: u32) -> &'a mut [u8] {
        let at = self.range(position, len as usize);
        // SAFETY: in the ring, in cells; the checker reports others whom nothing keeps away.
        let bytes = unsafe { core::slice::from_raw_parts_mut(at, len as usize) };
        self.inner().touch_mut(bytes);
        bytes
    }

    fn words(&self, position: u32, len: usize) -> &[AtomicUsize] {
        let words = self.inner().words.get(self.index(position) as usize..).unwrap_or_default();
        words.get(..len.div_ceil(UNIT)).unwrap_or_default()
    }

    /// Copies `parts`, one behind the other, to `position` word by word through relaxed atomics.
    ///
    /// Copies nothing where the record would not fit.
    pub(crate) fn write_racy(self, position: u32, parts: &[&[u8]]) {
        let total = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        if u32::try_from(total).is_ok_and(|len| self.holds(position, len)) {
            racy::store(self.words(position, total), parts);
        }
    }

    /// Copies the bytes at `position` to `to` word by word through relaxed atomics.
    ///
    /// Copies nothing where the record would not lie in the ring.
    pub(crate) fn read_racy(self, position: u32, to: &mut [u8]) {
        if u32::try_from(to.len()).is_ok_and(|len| self.holds(position, len)) {
            racy::load(self.words(position, to.len()), to);
        }
    }
}

/// Once round the ring of payload units.
#[derive(Clone, Copy)]
pub(crate) struct Lap {
    bytes: Option<Bytes>,
}

impl Lap {
    /// None: there is no position in it.
    pub(crate) const NONE: Self = Self { bytes: None };

    fn bytes(self) -> Bytes {
        #[allow(clippy::expect_used, reason = "the model checker is told")]
        self.bytes.expect("a lap of the ring")
    }

    /// A hint to the processor: nothing to model.
    pub(crate) fn own_soon(self, _position: u32) {}

    /// # Safety
    /// As [`Bytes::write`].
    pub(crate) unsafe fn write_near(self, position: u32, from: &[u8]) -> bool {
        // SAFETY: the caller's promise.
        unsafe { self.bytes().write_one(position, from) };
        true
    }

    /// # Safety
    /// As [`Bytes::slice`].
    pub(crate) unsafe fn slice<'a>(self, position: u32, len: usize) -> &'a [u8] {
        // SAFETY: the caller's promise.
        unsafe { self.bytes().slice(position, u32::try_from(len).unwrap_or(u32::MAX)) }
    }
}
