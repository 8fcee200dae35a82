//! What stands before the payload of a dead letter, byte by byte.
//!
//! A dead letter is the source record, its envelope (timestamp, key, headers, producer block) as it was, byte for byte, and
//! behind that the *control record* and the payload. It is not one more header, because a record may have as many headers
//! as there can be; what cannot be made a dead letter would fail for ever. All numbers are little-endian.
//!
//! ```text
//!      +---------------------+-------------------+-----------------------------+
//!      | envelope, as it was | control record    | payload, as it was          |
//!      +---------------------+-------------------+-----------------------------+
//!
//! control record
//!   0  +------------------------------+------------+-----------+------------+----------+
//!      | magic 89 44 4c 51            | version 1  | cause     | flags      | tag      |
//!   8  +--------------+------------+--+---------+--+-----------+------------+----------+
//!      | length u16   | topic u8   | group u8   | reason u8    | 0          | redrives |
//!  16  +--------------+------------+------------+--------------+------------+----------+
//!      | source partition u32                   | attempts u32                         |
//!  24  +----------------------------------------+--------------------------------------+
//!      | source offset u64                                                             |
//!  32  +-------------------------------------------------------------------------------+
//!      | the source partition's lease id u128                                          |
//!  48  +-------------------------------------------------------------------------------+
//!      | first failure, ms u64                                                         |
//!  56  +-------------------------------------------------------------------------------+
//!      | last failure, ms u64                                                          |
//!  64  +-------------------------------------------------------------------------------+
//!      | became a dead letter, ms u64                                                  |
//!  72  +----------------------------------------+--------------------------------------+
//!      | CRC-32C u32                            |  76: topic, group and reason, texts
//!      +----------------------------------------+-------------------------
//! ```
//!
//! - *cause*: the code of a [`Cause`]. Another code is an error, not a letter.
//! - *flags*: bit 0: the source record's envelope did not parse. Then the letter has none, the payload is the whole record,
//!   and *tag* is the byte that stood beside it. Otherwise both are 0, as are all other bits.
//! - *length*: bytes of the control record, the three texts included: `76 + topic + group + reason`.
//! - *redrives*, a u16 at 14: how often the record had been sent back before.
//! - *attempts*: how often it failed.
//! - *CRC*: over bytes 0 to 71, then each of the three texts; each stretch is filled up with zeros to a multiple of 4. Their
//!   lengths are in the first one, so nothing can move from one text to the next.

use super::cause::{Cause, MAX_REASON};
use super::error::LetterError;
use crate::lease::superblock::feed;
use crate::name::{self, MAX_NAME, MAX_TOPIC_NAME};
use crate::types::{LeaseId, Offset, Ticks};
use core::str;

const MAGIC: [u8; 4] = [0x89, b'D', b'L', b'Q'];
const VERSION: u8 = 1;
/// The flag of a damaged envelope.
const DAMAGED: u8 = 1;

const CAUSE_AT: usize = MAGIC.len() + 1;
const FLAGS_AT: usize = CAUSE_AT + 1;
const TAG_AT: usize = FLAGS_AT + 1;
const LENGTH_AT: usize = TAG_AT + 1;
const TEXTS_AT: usize = LENGTH_AT + 2;
const ZERO_AT: usize = TEXTS_AT + 3;
const REDRIVES_AT: usize = ZERO_AT + 1;
const PARTITION_AT: usize = REDRIVES_AT + 2;
const ATTEMPTS_AT: usize = PARTITION_AT + 4;
const OFFSET_AT: usize = ATTEMPTS_AT + 4;
const LEASE_AT: usize = OFFSET_AT + 8;
const FIRST_AT: usize = LEASE_AT + 16;
const LAST_AT: usize = FIRST_AT + 8;
const DIED_AT: usize = LAST_AT + 8;
const CRC_AT: usize = DIED_AT + 8;
/// Bytes before the texts.
pub(super) const FIXED: usize = CRC_AT + 4;
/// The longest control record.
pub const MAX_CONTROL: usize = FIXED + MAX_TOPIC_NAME + MAX_NAME + MAX_REASON;

const _: () = assert!(REDRIVES_AT == 14 && LEASE_AT == 32 && FIXED == 76 && MAX_CONTROL < u16::MAX as usize);
// Their lengths are bytes.
const _: () = assert!(MAX_TOPIC_NAME <= 255);
const _: () = assert!(MAX_NAME <= 255);
const _: () = assert!(MAX_REASON <= 255);

/// The texts of a control record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Texts<'a> {
    pub(super) topic: &'a str,
    pub(super) group: &'a str,
    pub(super) reason: &'a str,
}

/// The rest of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Control {
    pub(super) cause: Cause,
    /// The source record's tag, if its envelope did not parse.
    pub(super) damaged: Option<u8>,
    pub(super) redrives: u16,
    pub(super) partition: u32,
    pub(super) attempts: u32,
    pub(super) offset: Offset,
    pub(super) lease: LeaseId,
    pub(super) first: Ticks,
    pub(super) last: Ticks,
    pub(super) died: Ticks,
}

impl Control {
    /// The bytes before the texts.
    pub(super) fn encode(&self, texts: Texts<'_>) -> [u8; FIXED] {
        let mut bytes = [0; FIXED];
        let parts = [texts.topic.as_bytes(), texts.group.as_bytes(), texts.reason.as_bytes()];
        let lens = parts.map(|part| u8::try_from(part.len()).unwrap_or(u8::MAX));
        let length = lens.iter().fold(FIXED as u16, |sum, len| sum.saturating_add(u16::from(*len)));
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, MAGIC.len(), &[VERSION, self.cause.code()]);
        if let Some(tag) = self.damaged {
            put(&mut bytes, FLAGS_AT, &[DAMAGED, tag]);
        }
        put(&mut bytes, LENGTH_AT, &length.to_le_bytes());
        put(&mut bytes, TEXTS_AT, &lens);
        put(&mut bytes, REDRIVES_AT, &self.redrives.to_le_bytes());
        put(&mut bytes, PARTITION_AT, &self.partition.to_le_bytes());
        put(&mut bytes, ATTEMPTS_AT, &self.attempts.to_le_bytes());
        put(&mut bytes, OFFSET_AT, &self.offset.value().to_le_bytes());
        put(&mut bytes, LEASE_AT, &self.lease.value().to_le_bytes());
        put(&mut bytes, FIRST_AT, &self.first.as_millis().to_le_bytes());
        put(&mut bytes, LAST_AT, &self.last.as_millis().to_le_bytes());
        put(&mut bytes, DIED_AT, &self.died.as_millis().to_le_bytes());
        let (covered, _) = bytes.split_at(CRC_AT);
        let [topic, group, reason] = parts;
        let crc = crc(&[covered, topic, group, reason]);
        put(&mut bytes, CRC_AT, &crc.to_le_bytes());
        bytes
    }

    /// How long the texts behind the fixed part are.
    pub(super) fn text_lengths(fixed: &[u8; FIXED]) -> [u8; 3] {
        field(fixed, TEXTS_AT)
    }

    /// Checks the payload of a letter, which may be anything: its control record with the texts, and what comes behind.
    pub(super) fn parse(payload: &[u8]) -> Result<(Self, Texts<'_>, &[u8]), LetterError> {
        let fixed = payload.first_chunk::<FIXED>().ok_or(LetterError::NotALetter)?;
        if !fixed.starts_with(&MAGIC) {
            return Err(LetterError::NotALetter);
        }
        let [version] = field(fixed, MAGIC.len());
        if version != VERSION {
            return Err(LetterError::Version { found: version, known: VERSION });
        }
        let (control, rest) = payload
            .split_at_checked(usize::from(u16::from_le_bytes(field(fixed, LENGTH_AT))))
            .ok_or(LetterError::Length)?;
        let texts = control.get(FIXED..).ok_or(LetterError::Length)?;
        let [topic, group, reason] = Self::text_lengths(fixed);
        let cut = |bytes, len| split(bytes, len).ok_or(LetterError::Length);
        let (topic, texts) = cut(texts, topic)?;
        let (group, texts) = cut(texts, group)?;
        let (reason, texts) = cut(texts, reason)?;
        if !texts.is_empty() {
            return Err(LetterError::Length);
        }
        let (covered, _) = fixed.split_at(CRC_AT);
        if crc(&[covered, topic, group, reason]) != u32::from_le_bytes(field(fixed, CRC_AT)) {
            return Err(LetterError::Checksum);
        }
        // What follows was written like this: a checksum that holds is no reason to believe that whoever wrote it was we.
        let [code] = field(fixed, CAUSE_AT);
        let cause = Cause::of_code(code).ok_or(LetterError::Cause { found: code })?;
        let damaged = match (field(fixed, FLAGS_AT), field(fixed, TAG_AT), field(fixed, ZERO_AT)) {
            ([DAMAGED], [tag], [0]) => Some(tag),
            ([0], [0], [0]) => None,
            _ => return Err(LetterError::Flags),
        };
        let texts = Texts {
            topic: named(topic, MAX_TOPIC_NAME)?,
            group: named(group, MAX_NAME)?,
            reason: str::from_utf8(reason).map_err(|_| LetterError::Text)?,
        };
        let control = Self {
            cause,
            damaged,
            redrives: u16::from_le_bytes(field(fixed, REDRIVES_AT)),
            partition: u32::from_le_bytes(field(fixed, PARTITION_AT)),
            attempts: u32::from_le_bytes(field(fixed, ATTEMPTS_AT)),
            offset: Offset::new(u64::from_le_bytes(field(fixed, OFFSET_AT))),
            lease: LeaseId::new(u128::from_le_bytes(field(fixed, LEASE_AT))),
            first: Ticks::from_millis(u64::from_le_bytes(field(fixed, FIRST_AT))),
            last: Ticks::from_millis(u64::from_le_bytes(field(fixed, LAST_AT))),
            died: Ticks::from_millis(u64::from_le_bytes(field(fixed, DIED_AT))),
        };
        Ok((control, texts, rest))
    }
}

/// A number that tells records apart: over the tag, the envelope and the payload.
pub(super) fn fingerprint(tag: u8, envelope: &[u8], payload: &[u8]) -> u32 {
    crc(&[&[tag], envelope, payload])
}

/// The CRC-32C of stretches of bytes, each filled up with zeros to a multiple of 4.
pub(super) fn crc(parts: &[&[u8]]) -> u32 {
    let crc = parts.iter().fold(u32::MAX, |crc, part| {
        let (words, rest) = part.as_chunks::<4>();
        let crc = words.iter().fold(crc, |crc, word| feed(crc, u32::from_le_bytes(*word)));
        let mut last = [0; 4];
        put(&mut last, 0, rest);
        if rest.is_empty() { crc } else { feed(crc, u32::from_le_bytes(last)) }
    });
    !crc
}

/// Writes `from` at `at`, where there is room for it.
pub(super) fn put(bytes: &mut [u8], at: usize, from: &[u8]) {
    for (to, from) in bytes.iter_mut().skip(at).zip(from) {
        *to = *from;
    }
}

/// The bytes at `at`; zeros where there are none.
pub(super) fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

fn split(bytes: &[u8], len: u8) -> Option<(&[u8], &[u8])> {
    bytes.split_at_checked(usize::from(len))
}

fn named(bytes: &[u8], max: usize) -> Result<&str, LetterError> {
    name::check(bytes, max).map_err(|_| LetterError::Text)?;
    str::from_utf8(bytes).map_err(|_| LetterError::Text)
}

#[cfg(test)]
#[allow(clippy::std_instead_of_alloc, reason = "without the feature there is no other")]
mod tests {
    use super::*;
    use std::vec::Vec;

    const CONTROL: Control = Control {
        cause: Cause::Rejected,
        damaged: None,
        redrives: 0x0201,
        partition: 0x0605_0403,
        attempts: 0x0a09_0807,
        offset: Offset::new(0x1211_100f_0e0d_0c0b),
        lease: LeaseId::new(0x2221_201f_1e1d_1c1b_1a19_1817_1615_1413),
        first: Ticks::from_millis(0x2a29_2827_2625_2423),
        last: Ticks::from_millis(0x3231_302f_2e2d_2c2b),
        died: Ticks::from_millis(0x3a39_3837_3635_3433),
    };
    const TEXTS: Texts<'_> = Texts { topic: "t", group: "gr", reason: "why" };

    fn whole(control: &Control, texts: Texts<'_>) -> Vec<u8> {
        let fixed = control.encode(texts);
        [&fixed[..], texts.topic.as_bytes(), texts.group.as_bytes(), texts.reason.as_bytes(), b"payload"].concat()
    }

    /// Version 1. If this fails, letters in the field become unreadable: raise the version instead.
    #[test]
    fn the_bytes_are_these() {
        let bytes = whole(&CONTROL, TEXTS);
        let mut expected: Vec<u8> =
            std::vec![0x89, b'D', b'L', b'Q', 1, 2, 0, 0, 82, 0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
        expected.extend(0x0b..=0x3a_u8);
        assert_eq!(bytes[..72], expected);
        assert_eq!(bytes[76..], *b"tgrwhypayload");
        let (found, texts, payload) = Control::parse(&bytes).unwrap();
        assert_eq!((found, payload), (CONTROL, &b"payload"[..]));
        assert_eq!((texts.topic, texts.group, texts.reason), ("t", "gr", "why"));
        let damaged = Control { damaged: Some(0xff), ..CONTROL };
        assert_eq!(Control::parse(&whole(&damaged, TEXTS)).unwrap().0, damaged);
        // The checksum is the one that other tools know as CRC-32C.
        assert_eq!(crc(&[b"12345678"]), 0x6087_809a);
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_noticed() {
        let bytes = whole(&CONTROL, TEXTS);
        for bit in 0..82 * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(Control::parse(&changed).is_err(), "bit {bit}");
        }
        for end in 0..82 {
            assert!(Control::parse(&bytes[..end]).is_err(), "{end} bytes");
        }
    }

    /// Whoever writes to the topic can make the checksum right.
    #[test]
    fn what_is_sealed_but_wrong_is_refused() {
        let sealed = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = whole(&CONTROL, TEXTS);
            change(&mut bytes);
            let sum = crc(&[&bytes[..72], &bytes[76..77], &bytes[77..79], &bytes[79..82]]);
            bytes[72..76].copy_from_slice(&sum.to_le_bytes());
            Control::parse(&bytes).map(drop).unwrap_err()
        };
        assert_eq!(sealed(&|bytes| bytes[5] = 9), LetterError::Cause { found: 9 });
        assert_eq!(sealed(&|bytes| bytes[4] = 2), LetterError::Version { found: 2, known: 1 });
        assert_eq!(sealed(&|bytes| bytes[6] = 2), LetterError::Flags);
        assert_eq!(sealed(&|bytes| bytes[7] = 1), LetterError::Flags);
        assert_eq!(sealed(&|bytes| bytes[13] = 1), LetterError::Flags);
        assert_eq!(sealed(&|bytes| bytes[76] = b'/'), LetterError::Text);
        assert_eq!(sealed(&|bytes| bytes[79] = 0xff), LetterError::Text);
        assert_eq!(sealed(&|bytes| bytes[8] = 81), LetterError::Length);
        assert_eq!(sealed(&|bytes| bytes[8] = 0), LetterError::Length);
        assert_eq!(sealed(&|bytes| bytes[12] = 2), LetterError::Length);
    }
}
