//! What copying and framing cost, without checks, waiting or error handling: a reference, no queue to use.

mod bytes;
mod slots;

use crate::registry::Rows;

pub fn register<const N: usize>(rows: &mut Rows) {
    slots::register::<N>(rows);
    bytes::register::<N>(rows);
}

/// A word that shares its cache line, and the one fetched along with it, with nobody.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Apart<T>(T);
