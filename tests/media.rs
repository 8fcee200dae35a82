//! The media by themselves: flash and files, and the emulations of both that the journal is tested on.

#![cfg(all(feature = "durable", not(loom)))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "tests"
)]

mod common;
#[path = "common/flash.rs"]
mod flash;
#[path = "media/nor.rs"]
mod nor;

#[cfg(all(feature = "std", unix))]
#[path = "common/disk.rs"]
mod disk;
#[cfg(all(feature = "std", unix))]
#[path = "media/disk.rs"]
mod disk_emulation;
#[cfg(all(feature = "std", unix))]
#[path = "media/faults.rs"]
mod faults;
#[cfg(all(feature = "std", unix))]
#[path = "media/files.rs"]
mod files;
#[cfg(all(feature = "std", unix))]
#[path = "common/folder.rs"]
mod folder;
