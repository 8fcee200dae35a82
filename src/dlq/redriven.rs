//! The mark of a record that was sent back: a header, byte by byte.
//!
//! ```text
//!   0  +-----------+-----------+--------------------+--------------------------------------+
//!      | version 1 | group u8  | redrives u16       | attempts u32                         |
//!   8  +-----------+-----------+--------------------+--------------------------------------+
//!      | first source offset u64                                                            |
//!  16  +----------------------------------------+--------------------------------------+
//!      | first source partition u32             | CRC-32C u32                          |
//!  24  +----------------------------------------+--------------------------------------+
//!      | group, text
//!      +--------------
//! ```
//!
//! *First source*: where the record was before it was ever sent back. *Attempts*: failures that count on; 0 if they were
//! reset. *CRC*: over bytes 0 to 19 and the group, each filled up with zeros to a multiple of 4.

use super::control::{crc, field, put};
use crate::message::MessageRef;
use crate::name::{self, MAX_NAME};
use crate::types::Offset;
use core::str;

/// The name of the header that marks a record which was sent back from a dead letter queue.
pub const REDRIVEN: &str = "dlq-redriven";

const VERSION: u8 = 1;
const CRC_AT: usize = 20;
const FIXED: usize = CRC_AT + 4;
/// The longest mark.
pub(super) const MAX_MARK: usize = FIXED + MAX_NAME;

/// What the header of a redriven record says. The group, the first source and the number of redrives together are its
/// *deduplication key*: two records with the same key are copies that an interrupted redrive has made of one letter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Redriven<'a> {
    /// The group whose record it is. The routers of other groups pass over it.
    pub group: &'a str,
    /// The partition that it came from first.
    pub partition: u32,
    /// Its offset there.
    pub offset: Offset,
    /// How often it was sent back, this time included.
    pub redrives: u16,
    /// Failures from before that count on.
    pub attempts: u32,
}

impl<'a> Redriven<'a> {
    /// The mark of a message, if it has one that is sound.
    #[must_use]
    pub fn of(message: &MessageRef<'a>) -> Option<Self> {
        Self::parse(message.header(REDRIVEN)?)
    }

    fn parse(value: &'a [u8]) -> Option<Self> {
        let (fixed, group) = value.split_first_chunk::<FIXED>()?;
        let [version, len]: [u8; 2] = field(fixed, 0);
        let (covered, _) = fixed.split_at(CRC_AT);
        if version != VERSION
            || usize::from(len) != group.len()
            || crc(&[covered, group]) != u32::from_le_bytes(field(fixed, CRC_AT))
        {
            return None;
        }
        name::check(group, MAX_NAME).ok()?;
        Some(Self {
            group: str::from_utf8(group).ok()?,
            redrives: u16::from_le_bytes(field(fixed, 2)),
            attempts: u32::from_le_bytes(field(fixed, 4)),
            offset: Offset::new(u64::from_le_bytes(field(fixed, 8))),
            partition: u32::from_le_bytes(field(fixed, 16)),
        })
    }

    /// The value of the header.
    pub(super) fn encode(&self) -> heapless::Vec<u8, MAX_MARK> {
        let group = self.group.as_bytes();
        let mut fixed = [0; FIXED];
        put(&mut fixed, 0, &[VERSION, u8::try_from(group.len()).unwrap_or(u8::MAX)]);
        put(&mut fixed, 2, &self.redrives.to_le_bytes());
        put(&mut fixed, 4, &self.attempts.to_le_bytes());
        put(&mut fixed, 8, &self.offset.value().to_le_bytes());
        put(&mut fixed, 16, &self.partition.to_le_bytes());
        let (covered, _) = fixed.split_at(CRC_AT);
        let sum = crc(&[covered, group]);
        put(&mut fixed, CRC_AT, &sum.to_le_bytes());
        fixed.into_iter().chain(group.iter().copied()).take(MAX_MARK).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_these_and_any_other_are_no_mark() {
        let mark = Redriven {
            group: "billing",
            partition: 0x1413_1211,
            offset: Offset::new(0x100f_0e0d_0c0b_0a09),
            redrives: 0x0403,
            attempts: 0x0807_0605,
        };
        let bytes = mark.encode();
        assert_eq!(bytes[..20], [1, 7, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]);
        assert_eq!(bytes[24..], *b"billing");
        assert_eq!(Redriven::parse(&bytes), Some(mark));
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Redriven::parse(&changed), None, "bit {bit}");
        }
        for end in 0..bytes.len() {
            assert_eq!(Redriven::parse(&bytes[..end]), None, "{end} bytes");
        }
    }
}
