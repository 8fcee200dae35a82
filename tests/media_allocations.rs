//! A store of files takes the memory that it says when it is opened, and allocates nothing then. Alone in its program: it has
//! an allocator that counts.
#![cfg(all(feature = "durable", feature = "std", unix, not(loom)))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "common/counting.rs"]
mod counting;
#[path = "common/folder.rs"]
mod folder;

use counting::allocated;
use fabric_mq::durable::{FileConfig, FileStore, Store};
use folder::Folder;

#[test]
fn an_open_store_allocates_nothing() {
    let folder = Folder::new("media-allocations");
    // Small files, and as many segments and as much memory as by default.
    let config = FileConfig::new().with_segment_bytes(1 << 16);
    let mut store = None;
    let (count, bytes) = allocated(|| store = Some(FileStore::open(&folder.0, config).unwrap()));
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
}
