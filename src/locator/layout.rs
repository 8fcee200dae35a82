//! A locator's record and a registry of them, byte by byte. Version 1.
//!
//! All numbers are little-endian, and all is made of 32-bit words. The format is fixed and written by hand, so that it is the
//! same in every tier and on every target without a feature, can be checked word by word as it is read, and has one form
//! for each record.
//!
//! ## Record
//! ```text
//!   0        4         6         8            12       16       20     21      22     23           24
//!   +--------+---------+---------+------------+--------+--------+------+-------+------+------------+
//!   | magic  | version | length  | generation | owner  | epoch  | kind | state | full | timestamps |
//!   | 4      | u16 = 1 | u16     | u32        | u32    | u32    | u8   | u8    | u8   | u8         |
//!   +--------+---------+---------+------------+--------+--------+------+-------+------+------------+
//!   24       25            26             27     28           32       36       40        44        52       60      64
//!   +--------+-------------+--------------+------+------------+--------+--------+---------+---------+--------+-------+
//!   | groups | length of   | length of    | zero | partitions | slots  | bytes  | max lag | wait    | ttl    | needed|
//!   | u8     | pool's name | topic's name | u8   | u32 = n    | u32    | u32    | u32     | u64, ms | u64, ms| 0     |
//!   +--------+-------------+--------------+------+------------+--------+--------+---------+---------+--------+-------+
//!   64           64+a          64+a+b                           64+a+b+16n    68+a+b+16n
//!   +------------+-------------+--------------------------------+---------------+
//!   | pool's     | topic's     | n lease ids, in the order of   | CRC-32C of    |
//!   | name, zeros| name, zeros | the partitions, u128           | all before    |
//!   +------------+-------------+--------------------------------+---------------+
//! ```
//! `magic` is `89 46 4D 52`. `length` is that of the whole record, and a multiple of 4, as `a` and `b` are: names end in zeros.
//! `owner` is the token of the lease by which the record was published, 0 if it has none. `epoch` is the highest of the
//! partitions' leases. `kind` of the pool: 0 local, 1 shared, 2 remote. `state`: 1 published, 2 withdrawn; of a withdrawn
//! one all but magic, version, length, generation, state and names is zero. `full`: 0 reject, 1 drop the newest, 2 drop the
//! oldest (the rings overwrite), 3 wait, at most for `wait`, which is 0 else. `needed` lists features a reader must know;
//! this version knows none.
//!
//! ## Registry
//! ```text
//!          0         128         256                              256+E
//!          +---------+-----------+----------+----------+----------+---------- - -
//!          | header  | directory | entry 0: | slot 0   | slot 1   | entry 1:
//!          |         |           | control  |          |          | control
//!          +---------+-----------+----------+----------+----------+---------- - -
//! written  once, by  who has the  who has the entry's claim
//! by       format    directory's claim
//! ```
//! An entry has E = 128 + 2 S bytes, a slot S, a multiple of 128.
//!
//! ## Header (offset 0, immutable after formatting)
//! ```text
//!   0        8         10        12        16       20           22       24      28       32        48     60        64
//!   +--------+---------+---------+---------+--------+------------+--------+-------+--------+---------+------+---------+
//!   | magic  | version | header  | needed  | topics | partitions | names  | S     | epoch  | lease id| zero | CRC-32C |
//!   | 8      | u16 = 1 | u16=256 | u32 = 0 | u32    | u16        | u16    | u32   | u32    | u128    |      | of 0-60 |
//!   +--------+---------+---------+---------+--------+------------+--------+-------+--------+---------+------+---------+
//! ```
//! `magic` is `89 46 4D 54 0D 0A 1A 0A`; its first word is stored last. `names` is how many bytes the two names of a record may have together.
//!
//! ## Directory (offset 128)
//! ```text
//!   0        4        8         12     128
//!   +--------+--------+---------+------+
//!   | claim  | floor  | ~floor  | zero |
//!   +--------+--------+---------+------+
//! ```
//! `claim` is held by whoever gives an entry to a topic that had none: the token of its lease, 1 if it has none, else 0. So no
//! topic has two entries. `floor` rises to the generation of a withdrawn topic whose entry is used again: a topic
//! without an entry begins above it, and no generation comes twice. If the two words disagree, the higher one counts.
//!
//! ## Entry's control block
//! ```text
//!   0        4         8      128
//!   +--------+---------+------+
//!   | claim  | current | zero |
//!   +--------+---------+------+
//! ```
//! `claim` as above, of whoever changes the entry. `current` is a sequence of 24 bits, and above it a byte that makes the four
//! add up by exclusive or to `5A`. 0: the entry is empty. Else slot `sequence mod 2` holds the entry's record, behind a word
//! that is `current` again.
//!
//! ## Half-written and damaged
//! A publisher writes the slot that is **not** current, and commits it by one store: `current`. So whatever store it died at,
//! `current` names a slot that was written as a whole, with the record before or the new one. What is half-written is in the
//! other slot, which nobody looks at. A current slot whose words do not check is therefore always damage, and an error: the
//! other slot, which may well hold the record before, is never a second choice.

/// First bytes of a record.
pub(super) const RECORD_MAGIC: u32 = u32::from_le_bytes([0x89, b'F', b'M', b'R']);
/// First bytes of a registry.
pub(super) const MAGIC: [u32; 2] =
    [u32::from_le_bytes([0x89, b'F', b'M', b'T']), u32::from_le_bytes([0x0d, 0x0a, 0x1a, 0x0a])];
/// Both formats.
pub(super) const VERSION: u16 = 1;

/// Words of a record before its names.
pub(super) const FIXED: usize = 16;
/// The word of a record with its generation, and that with the lengths of its names.
pub(super) const GENERATION: usize = 2;
pub(super) const LENGTHS: usize = 6;

/// The most partitions that a record can have.
pub(super) const MAX_PARTITIONS: u16 = 1024;
/// The most topics of a registry.
pub(super) const MAX_TOPICS: u32 = 4096;
/// The most bytes of both names, and the least that make sense.
pub(super) const NAMES: core::ops::RangeInclusive<u16> = 2..=256;

/// Bytes before the entries.
pub(super) const HEADER: u16 = 256;
pub(super) const DIRECTORY_AT: usize = 128;

/// Words of the header behind the magic.
pub(super) mod header {
    pub(in crate::locator) const VERSION: usize = 2;
    pub(in crate::locator) const TOPICS: usize = 4;
    pub(in crate::locator) const LIMITS: usize = 5;
    pub(in crate::locator) const SLOT: usize = 6;
    pub(in crate::locator) const EPOCH: usize = 7;
    pub(in crate::locator) const LEASE: usize = 8;
    pub(in crate::locator) const CRC: usize = 15;
}

/// Words of the directory.
pub(super) mod directory {
    pub(in crate::locator) const FLOOR: usize = 1;
    pub(in crate::locator) const GUARD: usize = 2;
}

/// The word of a control block, or of the directory, that says who changes it.
pub(super) const CLAIM: usize = 0;
/// The word of a control block that says which slot counts.
pub(super) const CURRENT: usize = 1;

/// What the bytes of `current` add up to: blank memory does not, nor does any damage within one byte.
const SUM: u8 = 0x5a;
/// The largest sequence.
const LAST: u32 = 0x00ff_ffff;

/// A sequence as it is stored.
pub(super) const fn code(sequence: u32) -> u32 {
    let [a, b, c, _] = sequence.to_le_bytes();
    u32::from_le_bytes([a, b, c, SUM ^ a ^ b ^ c])
}

/// The sequence that is stored so.
pub(super) fn sequence(stored: u32) -> Option<u32> {
    let sequence = stored & LAST;
    (code(sequence) == stored).then_some(sequence)
}

/// The sequence behind another one: in the other slot, and never 0.
pub(super) const fn behind(sequence: u32) -> u32 {
    if sequence >= LAST { 2 } else { sequence.wrapping_add(1) }
}

/// Words that a name of this length takes.
pub(super) const fn name_words(len: usize) -> usize {
    len.div_ceil(4)
}

/// Bytes of a record.
pub(super) const fn record_bytes(pool: usize, topic: usize, partitions: usize) -> usize {
    let words = FIXED.wrapping_add(name_words(pool)).wrapping_add(name_words(topic)).wrapping_add(1);
    words.saturating_add(partitions.saturating_mul(4)).saturating_mul(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_damaged_byte_of_a_sequence_goes_unseen() {
        for number in [0, 1, 2, 0xff, 0x100, 0x1234, LAST - 1, LAST] {
            assert_eq!(sequence(code(number)), Some(number));
            for byte in 0..4 {
                for flip in 1..=255_u32 {
                    assert_eq!(sequence(code(number) ^ (flip << (8 * byte))), None, "{number:x} {byte} {flip:x}");
                }
            }
        }
        assert_eq!((sequence(0), sequence(u32::MAX)), (None, None), "blank memory is no sequence");
    }

    #[test]
    fn the_next_sequence_is_in_the_other_slot() {
        for number in [1, 2, LAST - 1, LAST] {
            let next = behind(number);
            assert!(next != 0 && next % 2 != number % 2 && next <= LAST);
        }
        assert_eq!(behind(0), 1);
    }
}
