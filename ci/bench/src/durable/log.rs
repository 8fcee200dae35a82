//! What is asked of each implementation.

use std::path::Path;

/// Bytes of a record.
pub const BODY: usize = 256;

/// Whether records must be on the disk before a call of [`Log::append`] returns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// They need not.
    Unsynced,
    /// All of the call.
    Synced,
    /// They need not, but the system must have them: the process is about to be killed. Nothing may be given up.
    Filling,
}

/// A log or queue in a directory. What goes wrong ends the program: nothing of it is measured.
pub trait Log {
    /// Appends records, as one batch if there are several.
    fn append(&mut self, bodies: &[&[u8]]);

    /// Hands at most so many records out, in order, and acknowledges them. Answers how many there were.
    fn take(&mut self, most: usize, each: &mut dyn FnMut(&[u8])) -> usize;

    /// Reads the first record, which stays, and answers how many there are in all, if it knows.
    fn first(&mut self, each: &mut dyn FnMut(&[u8])) -> Option<u64>;
}

/// An implementation.
#[derive(Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    /// The crate, as the lock file names it.
    pub package: Option<&'static str>,
    pub is_floor: bool,
    /// Which workloads it can do.
    pub unsynced: bool,
    pub batches: bool,
    pub synced: bool,
    pub reopened: bool,
    /// It is given so many times fewer records where all would take minutes.
    pub fewer: usize,
    /// Opens what is in a directory, or makes it.
    pub open: fn(&Path, Mode) -> Box<dyn Log>,
}

impl Kind {
    pub const fn new(name: &'static str, package: &'static str, open: fn(&Path, Mode) -> Box<dyn Log>) -> Self {
        Self {
            name,
            package: Some(package),
            is_floor: false,
            unsynced: true,
            batches: true,
            synced: true,
            reopened: true,
            fewer: 1,
            open,
        }
    }
}
