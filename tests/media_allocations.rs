//! A store of files takes the memory that it says when it is opened, and allocates nothing then. Alone in its program: it has
//! an allocator that counts.
#![cfg(all(feature = "durable", feature = "std", unix, not(loom)))]
#![allow(unsafe_code, reason = "an allocator that counts")]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use fabric_mq::durable::{FileConfig, FileStore, Store};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

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

/// How often, and how many bytes.
fn allocated(work: impl FnOnce()) -> (u64, usize) {
    let before = (COUNT.with(Cell::get), BYTES.with(Cell::get));
    work();
    (COUNT.with(Cell::get) - before.0, BYTES.with(Cell::get) - before.1)
}

#[test]
fn an_open_store_allocates_nothing() {
    let folder = std::env::temp_dir().join(format!("fabric-mq-media-allocations-{}", std::process::id()));
    std::fs::remove_dir_all(&folder).ok();
    // Small files, and as many segments and as much memory as by default.
    let config = FileConfig::new().with_segment_bytes(1 << 16);
    let mut store = None;
    let (count, bytes) = allocated(|| store = Some(FileStore::open(&folder, config).unwrap()));
    assert!(count > 0, "it counts");
    assert!((512 << 10..(512 << 10) + 40_000).contains(&bytes), "{bytes} bytes");
    let mut store = store.unwrap();
    let record = [7; 600];
    let mut into = [0; 600];
    let count = allocated(|| {
        // More segments than open files, made, filled, read, and used again.
        for round in 0..2 {
            for segment in 0..20 {
                store.erase(segment).unwrap();
                for nth in 0..100 {
                    store.program(segment, nth * 600, &record).unwrap();
                    store.read(segment, nth * 600, &mut into).unwrap();
                    store.read((segment + 10) % 20, nth * 600, &mut into).unwrap();
                }
                if (segment + round) % 3 == 0 {
                    store.sync().unwrap();
                }
            }
        }
        store.nonce();
        store.sync().unwrap();
        drop(store);
    });
    assert_eq!(count, (0, 0));
    std::fs::remove_dir_all(&folder).unwrap();
}
