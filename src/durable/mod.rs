//! Records that survive a power cut: a journal on NOR flash, in files, or on any other medium.
//!
//! A [`Journal`] appends records to partitions and lets named cursors read them and note how far they have got. It lies on a
//! [`Store`]: segments that are erased as a whole and programmed once. One format serves both flash and files, so what a
//! device wrote opens on a server; `layout` documents it byte by byte.
//!
//! There are three of them:
//! - [`NorStore`]: a range of NOR flash, by any driver that implements `embedded_storage::nor_flash::NorFlash`. Each unit is
//!   programmed once between two erasures, so flash with error correction will do.
//! - `FileStore` (with `std`, on Unix): files of one size in a directory.
//! - [`RamStore`]: memory, for tests and for images of flash.
//!
//! Threads share a journal by `SharedJournal` (with `std`); [`inspect`] looks at one without changing it.
//!
//! # What is promised
//! - What was appended, or committed, before [`Journal::sync`] returned is there after a power cut, at any moment, in order.
//!   On flash that holds as soon as the call returns.
//! - What was under way is there as a whole or not at all; a batch too.
//! - Opening finds the end without resuming from anything torn, and can itself be cut, again and again.
//! - Damage is told from a torn tail, with its exact extent; it is never taken for an empty log, and nothing is written to a
//!   damaged journal until [`Journal::salvage`] is called.
//! - Commits, and so the freeing of room, never fail for want of room. Segments are used in turn, so they wear evenly.
//! - Nothing allocates; all loops are bounded by the size of the medium.

mod error;
#[cfg(all(feature = "durable", feature = "std", unix))]
mod files;
mod frame;
pub mod inspect;
mod journal;
mod layout;
mod media;
mod nor;
mod ram;
mod read;
mod recover;
mod retain;
mod segments;
#[cfg(all(feature = "durable", feature = "std"))]
mod shared;
mod spool;
mod state;
mod store;

pub use error::{Extent, FetchError, OpenError, StoreError};
#[cfg(all(feature = "durable", feature = "std", unix))]
pub use files::{Disk, FileConfig, FileStore, PendingFiles, SystemDisk, SystemFile};
pub use journal::{CursorId, Journal, JournalConfig, JournalStats};
pub use nor::NorStore;
pub use ram::RamStore;
pub use read::Stored;
pub use recover::Recovery;
pub use retain::Retention;
#[cfg(all(feature = "durable", feature = "std"))]
pub use shared::{Appended, FlushPolicy, Level, SharedJournal, SharedStats};
pub use spool::{PumpError, Spool, SpoolError, SpoolMode, SpoolReadError};
pub use store::{Geometry, MAX_WRITE_UNIT, MediumError, SplitSync, Store};
