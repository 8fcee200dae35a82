//! An allocator that counts, in the place of the program's own.

#![allow(unsafe_code, reason = "an allocator that counts")]
#![allow(dead_code, reason = "each test file uses a part of this")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's, and a count of what each thread asks it for.
struct Counting;

std::thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does it all.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        BYTES.with(|bytes| bytes.set(bytes.get() + layout.size()));
        // SAFETY: passed on as it came.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `work` allocates, on this thread.
pub(crate) fn allocations(work: impl FnOnce()) -> u64 {
    allocated(work).0
}

/// How often, and how many bytes.
pub(crate) fn allocated(work: impl FnOnce()) -> (u64, usize) {
    let before = (COUNT.with(Cell::get), BYTES.with(Cell::get));
    work();
    (COUNT.with(Cell::get) - before.0, BYTES.with(Cell::get) - before.1)
}
