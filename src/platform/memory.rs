//! Raw views of leased memory: where control blocks and slots lie, and the payload bytes.
//!
//! Views are cheap copies without a lifetime. Whoever makes one (the ring) keeps the lease alive for as long as any
//! view of it is in use; this is the invariant "**kept**" that the proofs below name. All other people's writes to the
//! same bytes go through atomics or follow the pinning protocol of `ring`.

#![allow(unsafe_code, reason = "raw views of leased memory")]

use super::atomic::AtomicUsize;
use super::block::FIXED;
pub(crate) use super::block::{BLOCK, Block, Blocks};
pub(crate) use super::slot::{Entry, Extent, MAX_LEN, Row, SLOT, Slot, Slots};
use super::{prefetch_for_write, racy};
use core::ptr::NonNull;

/// Bytes of a unit: payload positions count these.
pub(crate) const UNIT: usize = 8;

/// Bytes ahead of a record from which on the writer asks for cache lines: four lines, which measured best.
const OWN_AHEAD: usize = 256;

/// Bytes of a cache line, or of a part of one.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const LINE: usize = 64;

/// Bytes whose lines the writer asks for at once: few enough to still be near when it comes to the last one.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const OWN_AT_ONCE: usize = 4096;

/// The bytes of a lease.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    base: NonNull<u8>,
    len: usize,
}

impl Memory {
    /// # Safety
    /// `base` is aligned to 8 bytes and valid for reads and writes of `len` bytes for as long as this view or any made
    /// from it is used ("kept"), and everybody else who touches the bytes does so by atomics or by the ring's protocol.
    pub(crate) unsafe fn new(base: NonNull<u8>, len: usize) -> Self {
        debug_assert!(base.as_ptr().align_offset(UNIT) == 0);
        Self { base, len }
    }

    pub(crate) fn len(self) -> usize {
        self.len
    }

    /// The address of `len` bytes at `at`, if they lie in the lease and start on a unit.
    fn range(self, at: usize, len: usize) -> Option<NonNull<u8>> {
        if at.checked_add(len)? > self.len || !at.is_multiple_of(UNIT) {
            return None;
        }
        // SAFETY: `at` is at most `len`, so the address stays inside the allocation of `base`.
        Some(unsafe { self.base.add(at) })
    }

    /// The control blocks at the lease's start, `places` of them readers'.
    pub(crate) fn blocks(self, places: u8) -> Option<Blocks> {
        let places = u32::from(places);
        let base = self.range(0, BLOCK.wrapping_mul(FIXED.wrapping_add(places) as usize))?;
        // SAFETY: the range lies in the lease, and is aligned to 8 bytes.
        Some(unsafe { Blocks::new(base.cast(), places) })
    }

    /// The control block at byte `at`.
    pub(crate) fn block(self, at: usize) -> Option<Block> {
        let words = self.range(at, BLOCK)?.cast();
        // SAFETY: the range lies in the lease, and is aligned to 8 bytes.
        Some(unsafe { Block::new(words) })
    }

    /// The `1 << log2` slots at byte `at`.
    pub(crate) fn slots(self, at: usize, log2: u8) -> Option<Slots> {
        let count = 1_u32.checked_shl(u32::from(log2))?;
        let base = self.range(at, SLOT.checked_mul(count as usize)?)?;
        // SAFETY: as above.
        Some(unsafe { Slots::new(base.cast(), count.wrapping_sub(1)) })
    }

    /// The `1 << log2` payload units at byte `at`.
    pub(crate) fn bytes(self, at: usize, log2: u8) -> Option<Bytes> {
        let count = 1_u32.checked_shl(u32::from(log2))?;
        let len = UNIT.checked_mul(count as usize)?;
        let base = self.range(at, len)?;
        Some(Bytes { base, mask: count.wrapping_sub(1), len: u32::try_from(len).ok()? })
    }
}

/// The ring of payload units, addressed by position.
#[derive(Clone, Copy)]
pub(crate) struct Bytes {
    base: NonNull<u8>,
    mask: u32,
    /// All bytes: at most 2^31.
    len: u32,
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
    #[inline]
    pub(crate) fn index(self, position: u32) -> u32 {
        position & self.mask
    }

    /// Whether `len` bytes from `position` on lie in one piece.
    #[inline]
    pub(crate) fn holds(self, position: u32, len: u32) -> bool {
        // All units together are addressable (`Memory::bytes`); the length may be anything.
        let start = (self.index(position) as usize).wrapping_mul(UNIT);
        start.saturating_add(len as usize) <= (self.units() as usize).wrapping_mul(UNIT)
    }

    /// The same for a length that a slot can tell of: no sum of the two overflows an address, so it takes less.
    #[inline]
    pub(crate) fn spans(self, position: u32, len: u32) -> bool {
        debug_assert!(len <= MAX_LEN);
        let start = (self.index(position) as usize).wrapping_mul(UNIT);
        start.wrapping_add(len as usize) <= self.len as usize
    }

    #[inline]
    fn start(self, position: u32) -> NonNull<u8> {
        // SAFETY: the masked index is less than `units`, all of which lie in the lease (`Memory::bytes`).
        unsafe { self.base.add((self.index(position) as usize).wrapping_mul(UNIT)) }
    }

    /// See [`Lap::own_soon`].
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "one instruction")]
    pub(crate) fn own_soon(self, position: u32) {
        prefetch_for_write::<OWN_AHEAD>(self.start(position).as_ptr());
    }

    /// The lap that `position` lies in.
    #[inline]
    pub(crate) fn lap(self, position: u32) -> Lap {
        Lap { origin: self.start(position).as_ptr().wrapping_sub((position as usize).wrapping_mul(UNIT)) }
    }

    /// Copies `from` to `position` by ordinary stores.
    ///
    /// # Safety
    /// `holds(position, from.len())`, and nobody else touches those bytes until they are committed.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "the length is often known at the call")]
    #[cfg(not(all(target_arch = "arm", target_has_atomic = "32")))]
    pub(crate) unsafe fn write_one(self, position: u32, from: &[u8]) {
        // SAFETY: source and target are valid for `from.len()` bytes (`holds`) and cannot overlap, since no reference to
        // bytes that nobody else touches can exist.
        unsafe { copy::<true>(from.as_ptr(), self.start(position).as_ptr(), from.len()) };
    }

    /// The same for microcontrollers that load words from any address: word by word in a few instructions, where the
    /// compiler's own routine takes 340 bytes of flash and is no faster on records of their sizes.
    ///
    /// # Safety
    /// As above.
    #[inline]
    #[cfg(all(target_arch = "arm", target_has_atomic = "32"))]
    pub(crate) unsafe fn write_one(self, position: u32, from: &[u8]) {
        // Relaxed stores, since the compiler turns plain ones back into a call of its routine.
        racy::store_one(self.words(position, from.len()), from);
    }

    /// Copies `parts`, one behind the other, to `position` by ordinary stores.
    ///
    /// # Safety
    /// `holds(position, length of all parts)`, and nobody else touches those bytes until they are committed.
    #[inline]
    pub(crate) unsafe fn write(self, position: u32, parts: &[&[u8]]) {
        let mut to = self.start(position);
        for part in parts {
            // SAFETY: source and target are valid for the part's length (`holds`) and cannot overlap, since no reference
            // to bytes that nobody else touches can exist.
            unsafe { copy::<true>(part.as_ptr(), to.as_ptr(), part.len()) };
            // SAFETY: the end of the part is inside the record, or its end.
            to = unsafe { to.add(part.len()) };
        }
    }

    /// Copies the bytes at `position` to `to` by ordinary loads.
    ///
    /// # Safety
    /// `holds(position, to.len())`, and nobody writes those bytes meanwhile.
    #[inline]
    pub(crate) unsafe fn read(self, position: u32, to: &mut [u8]) {
        let from = self.start(position);
        // SAFETY: both are valid for `to.len()` bytes (`holds`); `to` is exclusive, so they cannot overlap.
        unsafe { copy::<false>(from.as_ptr(), to.as_mut_ptr(), to.len()) };
    }

    /// The bytes at `position`, in place.
    ///
    /// # Safety
    /// `holds(position, len)`, and nobody writes those bytes for as long as `'a`.
    #[inline]
    pub(crate) unsafe fn slice<'a>(self, position: u32, len: u32) -> &'a [u8] {
        // SAFETY: valid and unwritten by the caller's promise; alignment of bytes is 1.
        unsafe { core::slice::from_raw_parts(self.start(position).as_ptr(), len as usize) }
    }

    /// The bytes at `position`, in place, to be written.
    ///
    /// # Safety
    /// `holds(position, len)`, and nobody else touches those bytes for as long as `'a`.
    #[inline]
    pub(crate) unsafe fn slice_mut<'a>(self, position: u32, len: u32) -> &'a mut [u8] {
        // SAFETY: valid and untouched by the caller's promise; alignment of bytes is 1.
        unsafe { core::slice::from_raw_parts_mut(self.start(position).as_ptr(), len as usize) }
    }

    /// The words of the record at `position`; `None` past `len` bytes or the ring's end.
    #[inline]
    fn words(&self, position: u32, len: usize) -> &[AtomicUsize] {
        debug_assert!(self.holds(position, u32::try_from(len).unwrap_or(u32::MAX)));
        // A record owns whole units, so its last word is its own even when it is not full.
        let count = len.div_ceil(size_of::<usize>());
        // SAFETY: the words lie in the ring, because the record does (checked by each caller with `holds`) and the ring's
        // length is a multiple of a word; a unit's start is aligned for a word; atomics may be shared.
        unsafe { core::slice::from_raw_parts(self.start(position).as_ptr().cast(), count) }
    }

    /// Copies `parts`, one behind the other, to `position` word by word through relaxed atomics, so that racing readers
    /// are harmless.
    ///
    /// Copies nothing where the record would not fit.
    pub(crate) fn write_racy(self, position: u32, parts: &[&[u8]]) {
        let total = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        if u32::try_from(total).is_ok_and(|len| self.holds(position, len)) {
            racy::store(self.words(position, total), parts);
        }
    }

    /// Copies the bytes at `position` to `to` word by word through relaxed atomics. What a racing writer does meanwhile
    /// shows as bytes of either age; the caller finds out whether that happened.
    ///
    /// Copies nothing where the record would not lie in the ring.
    pub(crate) fn read_racy(self, position: u32, to: &mut [u8]) {
        if u32::try_from(to.len()).is_ok_and(|len| self.holds(position, len)) {
            racy::load(self.words(position, to.len()), to);
        }
    }
}

/// Once round the ring of payload units: there, the address of a position takes no more than an addition.
#[derive(Clone, Copy)]
pub(crate) struct Lap {
    /// Where position 0 would be; of most laps, nowhere in the lease.
    origin: *mut u8,
}

// SAFETY: views are addresses; what they do with them is governed by `kept` and by the ring's protocol, not by threads.
unsafe impl Send for Lap {}
// SAFETY: as above.
unsafe impl Sync for Lap {}

impl Lap {
    /// None: there is no position in it.
    pub(crate) const NONE: Self = Self { origin: core::ptr::null_mut() };

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "one instruction")]
    const fn start(self, position: u32) -> *mut u8 {
        self.origin.wrapping_add((position as usize).wrapping_mul(UNIT))
    }

    /// Asks for a cache line some way behind `position`, for writing, ahead of time: the lines of a ring that goes round
    /// were last in the readers' caches, and fetching each one only when it is written is what a writer waits for most.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "one instruction")]
    pub(crate) fn own_soon(self, position: u32) {
        // At the ring's end this asks for what lies behind it, a few lines a lap: cheaper than to go round.
        prefetch_for_write::<OWN_AHEAD>(self.start(position));
    }

    /// Copies `from` to `position` by ordinary stores, if that takes no call; answers whether it did.
    ///
    /// # Safety
    /// The position is one of this lap, the ring `holds(position, from.len())`, and nobody else touches those bytes until
    /// they are committed.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "the length is often known at the call")]
    pub(crate) unsafe fn write_near(self, position: u32, from: &[u8]) -> bool {
        // SAFETY: source and target are valid for `from.len()` bytes (`holds`) and cannot overlap, since no reference to
        // bytes that nobody else touches can exist.
        unsafe { copy_near::<true>(from.as_ptr(), self.start(position), from.len()) }
    }

    /// The bytes at `position`, in place.
    ///
    /// # Safety
    /// The position is one of this lap, or its end and `len` is 0; the ring `holds(position, len)`, and nobody writes those
    /// bytes for as long as `'a`.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "one instruction")]
    pub(crate) unsafe fn slice<'a>(self, position: u32, len: usize) -> &'a [u8] {
        let start = self.start(position);
        // SAFETY: in the lease, so nowhere near 0. Said for the optimiser, which would ask.
        unsafe { core::hint::assert_unchecked(!start.is_null()) };
        // SAFETY: valid and unwritten by the caller's promise; alignment of bytes is 1.
        unsafe { core::slice::from_raw_parts(start, len) }
    }
}

/// Copies `len` bytes, up to 256, in place by moves of 16 bytes, the last ones overlapping: a call of `memcpy` costs more than
/// such a copy. Copies nothing of more, and answers `false`.
///
/// `INTO` the ring: its cache lines were last in the readers' caches or, as the ring goes round, in no near one. Of a large
/// record all are asked for at once, ahead of the copy: a writer that fetches each only when it stores to it waits for little
/// else. What is more, these come in while the commit of the record before still waits for its own line, which a reader that
/// polls holds on to.
///
/// # Safety
/// Both are valid for `len` bytes and do not overlap.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
#[allow(clippy::inline_always, reason = "the length is often known at the call")]
#[allow(clippy::multiple_unsafe_ops_per_block, reason = "one copy in moves")]
unsafe fn copy_near<const INTO: bool>(from: *const u8, to: *mut u8, len: usize) -> bool {
    /// # Safety
    /// Both are valid for `N` bytes at `at`.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a few moves")]
    unsafe fn moves<const N: usize>(from: *const u8, to: *mut u8, at: usize) {
        // SAFETY: valid by the caller's promise; an array of bytes has no alignment.
        unsafe { to.add(at).cast::<[u8; N]>().write_unaligned(from.add(at).cast::<[u8; N]>().read_unaligned()) };
    }
    // SAFETY: every move lies within `len` bytes of both, as the condition before it says.
    unsafe {
        if len <= 64 {
            if len > 32 {
                moves::<32>(from, to, 0);
                moves::<32>(from, to, len.wrapping_sub(32));
            } else if len >= 16 {
                moves::<16>(from, to, 0);
                moves::<16>(from, to, len.wrapping_sub(16));
            } else if len >= 8 {
                moves::<8>(from, to, 0);
                moves::<8>(from, to, len.wrapping_sub(8));
            } else if len >= 4 {
                moves::<4>(from, to, 0);
                moves::<4>(from, to, len.wrapping_sub(4));
            } else {
                for at in 0..len {
                    moves::<1>(from, to, at);
                }
            }
        } else if len <= 256 {
            // Records of up to two lines find them here: the records before asked for them.
            if INTO && len > 128 {
                let last = len.wrapping_sub(1);
                for at in [0, LINE, LINE * 2, last.min(LINE * 3), last] {
                    prefetch_for_write::<0>(to.wrapping_add(at));
                }
            }
            moves::<64>(from, to, 0);
            if len > 128 {
                moves::<64>(from, to, 64);
                if len > 192 {
                    moves::<64>(from, to, 128);
                }
            }
            moves::<64>(from, to, len.wrapping_sub(64));
        } else {
            return false;
        }
    }
    true
}

/// Copies `len` bytes.
///
/// # Safety
/// Both are valid for `len` bytes and do not overlap.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
#[allow(clippy::inline_always, reason = "the length is often known at the call")]
unsafe fn copy<const INTO: bool>(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    if unsafe { copy_near::<INTO>(from, to, len) } {
        return;
    }
    if INTO {
        // SAFETY: the caller's promise.
        unsafe { copy_into(from, to, len) };
    } else {
        // SAFETY: the caller's promise.
        unsafe { core::ptr::copy_nonoverlapping(from, to, len) };
    }
}

/// Copies a record of many cache lines into the ring.
///
/// # Safety
/// Both are valid for `len` bytes and do not overlap.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[cold]
#[inline(never)]
#[allow(clippy::multiple_unsafe_ops_per_block, reason = "one copy in pieces")]
unsafe fn copy_into(from: *const u8, to: *mut u8, len: usize) {
    let mut at = 0;
    while at < len {
        let piece = len.wrapping_sub(at).min(OWN_AT_ONCE);
        let mut line = 0;
        while line < piece {
            prefetch_for_write::<0>(to.wrapping_add(at.wrapping_add(line)));
            line = line.wrapping_add(LINE);
        }
        // SAFETY: `at + piece` is at most `len`, for which both are valid; they do not overlap.
        unsafe { core::ptr::copy_nonoverlapping(from.add(at), to.add(at), piece) };
        at = at.wrapping_add(piece);
    }
}

/// Copies `len` bytes; on small processors by the compiler's own routine, which is the shortest code.
///
/// # Safety
/// Both are valid for `len` bytes and do not overlap.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[inline]
unsafe fn copy<const INTO: bool>(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { core::ptr::copy_nonoverlapping(from, to, len) };
}

/// Copies `len` bytes and answers `true`: these processors have no moves to copy by in place.
///
/// # Safety
/// Both are valid for `len` bytes and do not overlap.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[inline]
unsafe fn copy_near<const INTO: bool>(from: *const u8, to: *mut u8, len: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe { copy::<INTO>(from, to, len) };
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "test arithmetic")]
    #![allow(clippy::std_instead_of_alloc, reason = "tests have std in every tier")]
    use super::super::slot::CHECK;
    use super::*;
    use std::{vec, vec::Vec};

    #[repr(align(128))]
    struct Buffer([u8; 1024]);

    fn bytes(buffer: &mut Buffer) -> Bytes {
        let base = NonNull::new(buffer.0.as_mut_ptr()).unwrap();
        // SAFETY: the buffer outlives the view in each test, and nobody else touches it.
        unsafe { Memory::new(base, 1024) }.bytes(0, 7).unwrap()
    }

    #[test]
    fn every_length_is_copied_exactly_both_ways() {
        for len in 0..=600 {
            let from: Vec<u8> = (0..len).map(|i| (i * 7 + len) as u8 | 1).collect();
            let mut buffer = Buffer([0; 1024]);
            let view = bytes(&mut buffer);
            // SAFETY: 8 + 600 bytes lie in 1,024, and the test is alone.
            unsafe { view.write(1, &[&from[..len / 3], &from[len / 3..]]) };
            let mut back = vec![0; len];
            // SAFETY: as above.
            unsafe { view.read(1, &mut back) };
            let mut racy = vec![0; len];
            view.read_racy(1, &mut racy);
            assert_eq!((&back, &racy), (&from, &from));
            assert!(buffer.0[..8].iter().chain(&buffer.0[8 + len..]).all(|b| *b == 0), "{len}");
            let mut buffer = Buffer([0; 1024]);
            let view = bytes(&mut buffer);
            view.write_racy(1, &[&from[..len / 3], &[], &from[len / 3..]]);
            let mut whole = Buffer([0; 1024]);
            racy::store_one(bytes(&mut whole).words(1, len), &from);
            assert_eq!(whole.0, buffer.0);
            assert_eq!(&buffer.0[8..8 + len], &from[..]);
            assert!(buffer.0[..8].iter().chain(&buffer.0[8 + len.next_multiple_of(8)..]).all(|b| *b == 0));
        }
    }

    #[test]
    fn one_damaged_byte_never_leaves_a_sound_slot() {
        let mut buffer = Buffer([0; 1024]);
        let base = NonNull::new(buffer.0.as_mut_ptr()).unwrap();
        // SAFETY: the buffer outlives the view; it is touched by others only between uses of the view.
        let slots = unsafe { Memory::new(base, 1024) }.slots(0, 6).unwrap();
        assert!(!slots.at(0).load().is_sound(), "blank memory is no record");
        let entry = Entry::new(0xdead_beef, 77, 0x1234_5678, 0xab);
        assert_eq!(
            (entry.stamp(), entry.len(), entry.position(), entry.extent().tag()),
            (0xdead_beef, 77, 0x1234_5678, 0xab)
        );
        slots.at(0).store(entry);
        assert!(slots.at(0).load() == entry && entry.is_sound());
        assert!(entry.lies_at(0x1234_5678) && !entry.lies_at(0x1234_5679) && !entry.lies_at(0));
        // The bytes that the format promises, on every target.
        assert_eq!(buffer.0[..12], [0xef, 0xbe, 0xad, 0xde, 77, 0, 0, 0xab, 0x78, 0x56, 0x34, 0x12]);
        assert_eq!(buffer.0[12..16], (0xdead_beef ^ 0xab00_004d ^ 0x1234_5678 ^ CHECK).to_le_bytes());
        for byte in 0..SLOT {
            for flip in 1..=255 {
                buffer.0[byte] ^= flip;
                assert!(!slots.at(0).load().is_sound(), "byte {byte}, flip {flip:#x}");
                // Nor at the place that the damage seems to tell of.
                let damaged = slots.at(0).load();
                assert!(!damaged.lies_at(0x1234_5678) && !damaged.lies_at(damaged.position()));
                // Nor at one that makes up for it.
                let off = u32::from(flip) << (byte % 4 * 8);
                assert!(!damaged.lies_at(0x1234_5678 ^ off), "byte {byte}, flip {flip:#x}");
                buffer.0[byte] ^= flip;
            }
        }
    }

    #[test]
    fn a_run_of_slots_ends_with_the_ring() {
        let mut buffer = Buffer([0; 1024]);
        let base = NonNull::new(buffer.0.as_mut_ptr()).unwrap();
        // SAFETY: the buffer outlives the view.
        let slots = unsafe { Memory::new(base, 1024) }.slots(0, 4).unwrap();
        for at in 0..16 {
            slots.at(at).store(Entry::new(at, 0, 0, 0));
        }
        let stamps = |offset, count| slots.run(offset, count).map(Slot::stamp).collect::<Vec<_>>();
        assert_eq!(stamps(3, 4), [3, 4, 5, 6]);
        assert_eq!(stamps(16 + 13, 9), [13, 14, 15]);
        assert_eq!(stamps(u32::MAX, u32::MAX), [15]);
        assert!(stamps(5, 0).is_empty());
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_run_ends_before_either_ring_goes_round_and_before_positions_wrap() {
        use super::super::run::Run;
        let mut buffer = Buffer([0; 1024]);
        let base = NonNull::new(buffer.0.as_mut_ptr()).unwrap();
        // SAFETY: the buffer outlives the view.
        let memory = unsafe { Memory::new(base, 1024) };
        let (slots, bytes) = (memory.slots(0, 4).unwrap(), memory.bytes(256, 6).unwrap());
        for at in 0..16 {
            slots.at(at).store(Entry::new(at, 0, 0, 0));
        }
        let stamps = |mut run: Run| {
            let mut stamps = Vec::new();
            while let Some((slot, rest)) = run.first() {
                stamps.push(slot.stamp());
                run.go_on(rest);
            }
            stamps
        };
        assert_eq!(stamps(Run::new(slots, bytes, (16 + 3, 4), (0, 0))), [3, 4, 5, 6]);
        assert_eq!(stamps(Run::new(slots, bytes, (u32::MAX - 2, 9), (0, 0))), [13, 14, 15]);
        assert_eq!(stamps(Run::waiting(slots, 15)), [15]);
        assert!(stamps(Run::NONE).is_empty() && Run::end(0, 0, Run::NONE.stop()).is_none());
        for lap in [0, 64, u32::MAX - 63] {
            for index in 0..64 {
                let position = lap + index;
                for units in [0, 1, 7, 64, u32::MAX] {
                    let run = Run::new(slots, bytes, (0, 1), (position, units));
                    // All that lies in the lap and in the room, but for what would end where positions come round to 0.
                    let most = units.min(64 - index).min(u32::MAX - 1 - position.min(u32::MAX - 1)) as usize;
                    let ends = (0..200).map_while(|units| Run::end(position, units, run.stop())).collect::<Vec<_>>();
                    let fits = if position == u32::MAX { 0 } else { most + 1 };
                    assert_eq!(ends.len(), fits, "{units} units from {position} on");
                    assert!(ends.iter().zip(0..).all(|(end, units)| *end == position + units));
                    assert_eq!(run.lap().start(position), bytes.start(position).as_ptr());
                }
            }
        }
        let mut run = Run::new(slots, bytes, (0, 9), (0, 9));
        assert_eq!((run.stop_at(0), Run::end(0, 0, run.stop())), (10, None));
        run.close();
        assert!(run.first().is_none());
    }

    #[test]
    fn views_outside_the_lease_do_not_exist() {
        let mut buffer = Buffer([0; 1024]);
        let base = NonNull::new(buffer.0.as_mut_ptr()).unwrap();
        // SAFETY: the buffer outlives the view.
        let memory = unsafe { Memory::new(base, 1024) };
        assert!(memory.block(1024 - 128).is_some() && memory.block(1024 - 120).is_none());
        assert!(memory.slots(0, 6).is_some() && memory.slots(8, 6).is_none() && memory.slots(4, 2).is_none());
        assert!(memory.bytes(0, 7).is_some() && memory.bytes(0, 8).is_none() && memory.bytes(0, 32).is_none());
        assert!(memory.block(usize::MAX - 7).is_none());
        assert!(memory.blocks(5).is_some() && memory.blocks(6).is_none());
    }
}
