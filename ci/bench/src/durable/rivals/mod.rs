//! The others. A file each; its line in `KINDS`.

mod commitlog;
mod fjall;
mod okaywal;
mod queue_file;
mod redb;
mod table;
mod walrus;
mod yaque;

use crate::log::Kind;

pub use walrus::VARIABLE;

/// The one that there are targets beside.
pub const COMMITLOG: &str = commitlog::KIND.name;

pub const KINDS: [Kind; 7] =
    [commitlog::KIND, yaque::KIND, queue_file::KIND, okaywal::KIND, fjall::KIND, redb::KIND, walrus::KIND];
