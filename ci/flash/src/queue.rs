//! What is asked of each implementation.

use crate::flash::Flash;

/// A queue of records on a flash.
pub trait Queue: Sized {
    const NAME: &'static str;
    /// The most records that are pushed to fill it, and the most that go through it afterwards. Without it, until it is full,
    /// and once round.
    const MOST: usize = usize::MAX;

    /// An empty one.
    fn format(flash: Flash) -> Self;

    /// What a device finds after a reset. Reading starts here.
    fn open(flash: Flash) -> Self;

    /// Stores a record. `false` if it is full.
    fn push(&mut self, body: &[u8]) -> bool;

    /// Reads the oldest record. It stays.
    fn peek(&mut self, into: &mut [u8]) -> Option<usize>;

    /// Reads the oldest record and takes it out.
    fn pop(&mut self, into: &mut [u8]) -> Option<usize>;
}
