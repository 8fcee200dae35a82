//! Files as a medium: segment files of one size in a directory of their own.
//!
//! ```text
//!   directory, 0700         files, 0600
//!   +-- lock                whoever has the store open has an exclusive lock on it
//!   +-- 00000000.seg        segment 0: never longer or shorter than a segment
//!   +-- 00000001.seg
//!   +-- 00000002.new        a segment that is being made, or that nobody finished making
//! ```
//! A segment is made when it is erased for the first time: as `.new`, filled with zeros and synced; then it is renamed, and
//! the directory is synced. So a `.seg` has all its blocks, whenever the power goes: writing to it takes no room and changes
//! no metadata that would have to be synced too. A disk that is full is met there, before anything is written to the
//! segment.
//!
//! # What an earlier process left in the system's memory
//! A process can die with bytes written and not synced. The next one reads them, though they are not on the medium; and if
//! a sync has failed, the system may even take them for stored. So nothing is answered from a file that might be so before
//! it was synced again and read from the medium. Which ones those are is noted in `lock`: 16 numbers (u32, little-endian),
//! the segments that are being written to, counted from 1; 0 for none. It is written before such a file is, never synced
//! (when the power goes, so does what it is about), and cleared by a store that is dropped with everything synced. Where it
//! is not what it should be, all files are taken for such.

mod calls;
mod config;
mod disk;
mod handles;
mod marks;
mod name;
mod store;
mod system;
mod window;

pub use config::FileConfig;
pub use disk::Disk;
pub use store::{FileStore, PendingFiles};
pub use system::{SystemDisk, SystemFile};
