//! Views of the control blocks of a lease. "Kept": see `memory`.

#![allow(unsafe_code, reason = "raw views of leased memory")]

use super::atomic::AtomicU32;
use super::cursor::Cursor;
use core::ptr::NonNull;

/// Bytes of a control block: words of different writers never share one.
pub(crate) const BLOCK: usize = 128;

/// The words of a control block.
pub(super) type Words = [AtomicU32; BLOCK / 4];

/// Control blocks that every ring has.
pub(super) const FIXED: u32 = 3;

/// The control blocks of a ring, from the start of its lease on: the fixed ones, and one per place of a reader.
#[derive(Clone, Copy)]
pub(crate) struct Blocks {
    base: NonNull<Words>,
    places: u32,
}

impl Blocks {
    /// # Safety
    /// [`FIXED`] blocks and `places` more lie at `base`, aligned, for as long as this view or any made from it is used
    /// ("kept").
    pub(super) const unsafe fn new(base: NonNull<Words>, places: u32) -> Self {
        Self { base, places }
    }

    /// One of the blocks that every ring has.
    #[inline]
    pub(crate) fn fixed<const INDEX: usize>(self) -> Block {
        const { assert!(INDEX < FIXED as usize) };
        // SAFETY: there are `FIXED` blocks and more (`new`).
        Block { words: unsafe { self.base.add(INDEX) } }
    }

    /// Bytes from the first block to this one.
    #[inline]
    pub(crate) fn distance(self, block: Block) -> usize {
        let apart = (block.words.as_ptr() as usize).wrapping_sub(self.base.as_ptr() as usize);
        // The model checker's words are larger than those in a lease.
        #[allow(clippy::arithmetic_side_effects, reason = "a block has bytes")]
        (apart / size_of::<Words>()).wrapping_mul(BLOCK)
    }

    /// All blocks.
    #[inline]
    pub(crate) fn all(self) -> impl Iterator<Item = Block> {
        self.from(0)
    }

    /// The blocks of the readers' places.
    #[inline]
    pub(crate) fn places(self) -> impl Iterator<Item = Block> {
        self.from(FIXED)
    }

    #[inline]
    fn from(self, first: u32) -> impl Iterator<Item = Block> {
        (first..FIXED.wrapping_add(self.places)).map(move |index| {
            // SAFETY: `FIXED` blocks and `places` more lie in the lease (`new`).
            Block { words: unsafe { self.base.add(index as usize) } }
        })
    }
}

/// A control block: 32 words.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    words: NonNull<Words>,
}

impl Block {
    /// # Safety
    /// The block lies at `words`, aligned, for as long as this view is used ("kept").
    pub(super) const unsafe fn new(words: NonNull<Words>) -> Self {
        Self { words }
    }

    /// The word with this number; numbers past the block's end wrap around inside it.
    #[inline]
    pub(crate) fn word(&self, index: usize) -> &AtomicU32 {
        #[allow(clippy::indexing_slicing, reason = "masked by the array's length, a power of two")]
        &self.words()[index & (BLOCK / 4).wrapping_sub(1)]
    }

    /// The counter whose words start at `index`, a multiple of four.
    #[inline]
    pub(crate) fn cursor(&self, index: usize) -> Cursor<'_> {
        let (counters, _) = self.words().as_chunks::<4>();
        #[allow(clippy::indexing_slicing, reason = "masked by the number of counters, a power of two")]
        Cursor::new(&counters[(index / 4) & (BLOCK / 16).wrapping_sub(1)])
    }

    #[inline]
    fn words(&self) -> &[AtomicU32; BLOCK / 4] {
        // SAFETY: the block lies in the lease and is aligned (`new`); atomics may be shared with anybody
        // who uses atomics (kept).
        unsafe { self.words.as_ref() }
    }
}

// SAFETY: views are addresses; what they do with them is governed by `kept` and by the ring's protocol, not by threads.
unsafe impl Send for Blocks {}
// SAFETY: as above.
unsafe impl Sync for Blocks {}
// SAFETY: as above.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}
