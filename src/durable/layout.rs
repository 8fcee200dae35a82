//! The media format, byte by byte. Version 1; the same on flash and in files. All numbers are little-endian.
//!
//! A journal is a ring of segments. Each starts with a header that tells everything which is not a record as it was when
//! the segment was begun; records and changes follow it, one frame behind the other. So the newest segment alone says how
//! things stand, and a segment is used again as soon as its records are not needed any more: nothing is copied forward.
//!
//! # Segment header
//! ```text
//!      0        4        8     11 12 13 14 15 16                24       28   30   32
//!   0  | number | label  | fmq |v |u |P |C  | id              | end    |back|head|
//!   32 | head              | next              | ... 16 bytes a partition
//!      |s|n|part| committed         | name ...  | ... each cursor
//!      | zeros  | CRC    |
//! ```
//! | at | bytes | field |
//! |--:|--:|---|
//! | 0 | 4 | *number*: rises with each segment that is begun, from 1 on a blank medium, and from where it is when another journal takes this one's place; never reused |
//! | 4 | 4 | *label*: CRC-32C of `fmq segment`, the version (u8), the segment's place in the medium (u32) and the number, remapped. These eight bytes are enough to find the newest segment, and of any version to come they will say which it is |
//! | 8 | 3 | `fmq` |
//! | 11 | 1 | *version*: 1 |
//! | 12 | 1 | *unit*: the binary logarithm of the write unit; and 0x80 if the segment was begun behind an unclean stop |
//! | 13 | 1 | *P*: partitions |
//! | 14 | 1 | *C*: cursors |
//! | 15 | 1 | zero |
//! | 16 | 8 | *id* of the journal |
//! | 24 | 4 | *end*: where the last segment before this one that has records ends. What lies behind it was never stored |
//! | 28 | 2 | *back*: how many segments that one lies before this one in the ring; 0 if there is none |
//! | 30 | 2 | *head*: how many segments the oldest one that is needed lies before this one |
//! | 32 | 16 P | per partition: *head* u64, the oldest offset that may be read; *next* u64, that of the next record |
//! | | 12 + n, C times | per cursor: *slot* u8, length of its name u8, *partition* u8, zero u8, *committed* u64, the name, filled up with zeros to a multiple of 4 |
//! | | 8 | on media that are written without an erasure only: a number that is never the same twice |
//! | | | zeros up to the write unit |
//! | | 4 | *CRC*: CRC-32C of everything before it, of the segment's place in the medium (u32), and of the number again (u32), remapped. (A number that is followed by its own CRC leaves nothing in a CRC of both) |
//!
//! # Frame
//! ```text
//!     | head u32 | (wide u32) | body ... | zeros | CRC u32 |
//! ```
//! A frame starts and ends at a multiple of the write unit (of 4, if that is smaller); its CRC is in its last four bytes, so
//! it is what is programmed last.
//!
//! | bits of the head | |
//! |---|---|
//! | 0 to 1 | *kind*: 1 a record, 2 a change; 0 and 3 never occur, so blank and zeroed media are no frames |
//! | 2 | *after sync*: everything before this frame was on the medium before this frame was |
//! | 3 | *more*: the frame counts only together with the next one |
//! | 4 | *wide*: the second word is there |
//! | 5 to 8 | low bits of the record's tag |
//! | 9 to 11 | low bits of the partition |
//! | 12 to 23 | low bits of the body's length |
//! | 24 to 31 | *check*: a CRC-8 (polynomial 0x07, starting from 0xff) of the other 24 bits |
//!
//! The wide word: bits 0 to 3 the tag's high bits, 4 to 8 the partition's, 9 to 20 the length's, 24 to 31 its check (starting
//! from 0xa5); the rest zero. The checks find any three wrong bits of a word, which is enough to step from frame to frame; what
//! is handed out is verified by the CRC.
//!
//! *CRC*: CRC-32C of the journal's id (u64), the segment's number (u32), the frame's place in the segment (u32), the CRC
//! of the segment's header, and then of the frame's own bytes up to its CRC; remapped;
//! and for records exclusive-or'ed with the record's offset (its low 32 bits times 0x9e3779b1). So what an earlier
//! lap, another journal, another place, or a forged frame within a record holds does not verify.
//!
//! *Remapped*: 0 and 0xffffffff become 1 and 0xfffffffe.
//!
//! # Step
//! One write unit, for the most frequent change: the cursor in slot *s* is done with one more record. Its first word (zeros
//! behind it, if the unit is larger) is the CRC of a frame without bytes of its own at that place, exclusive-or'ed
//! with *committed* before the step (its low 32 bits times 0x9e3779b1) and with *(s + 1)* times 0x85ebca6b. It is written
//! only if it does not pass for a head, nor for the step of another cursor; else the change is written as a frame.
//!
//! # Changes
//! The first byte of the body says which:
//!
//! | | bytes of the body behind it |
//! |---|---|
//! | 1 commit | slot u8, zero u16, committed u64 |
//! | 2 join | slot u8, partition u8, zero u8, committed u64, name |
//! | 3 leave | slot u8 |
//! | 4 trim | zero u8, partition u8, zero u8, head u64 |
//! | 5 close | zeros (3), CRC-32C of the tables as a header would have them: the journal was closed, nothing is under way |
//! | 6 refresh | tag u8, partition u8, zero u8, offset u64, body of the record: a second copy of the last record before an unclean stop |
//! | 7 gap | zero u8, partition u8, zero u8, from u64, to u64: offsets that damage took |
//! | 8 skip | zero u8, partition u8, zero u8, from u64, to u64: offsets whose records were dealt with before they were stored; all cursors go on at *to* |
//!
//! # What a cut leaves
//! | cut while | found | done |
//! |---|---|---|
//! | a segment is erased | no label, or an old one | it is not the newest; erased again before it is used |
//! | a header is written | no label, or a header that does not verify, and no frame behind it | as above; the segment before is the newest |
//! | the same, in a file, where the label is written last | in one sector of 512 bytes: no label; in several: as above | as above. A label without its header in the same sector is damage |
//! | a frame is written | a head that does not check, or a CRC that does not verify, and no later frame that is *after sync* | the log ends before it. Nothing more is written to this segment: the next one is begun, and its *end* says where this one ends |
//! | a frame is complete, but its last unit is weak | it verifies | the last record is copied into the next segment (refresh) before anything depends on it |
//! | the last frame is a commit, complete and weak | it verifies | no segment is given up for it until the next header says it too |
//! | a header is complete and weak, nothing is behind it | it verifies | the segment before says the same: that one stays until a frame is behind this header or a later one, and with two such headers in a row the second is begun again |
//! | another journal takes the place of this one | the old one, of which the oldest segment may be gone; once the new header is complete, the new one | the new one is begun in front of the old one, which is erased then, the oldest segment first |
//! | a frame in the middle of several that count together | frames with *more*, the last one missing | the log ends before the first of them |
//!
//! A frame that does not verify and has a later frame *after sync* behind it was stored once: that is damage, and is never
//! taken for the end of the log.

/// The format's number.
pub(super) const VERSION: u8 = 1;
/// What a header says it is.
pub(super) const MAGIC: [u8; 3] = *b"fmq";
/// What a label is the CRC of, before the numbers.
pub(super) const LABEL: &[u8] = b"fmq segment";

/// Bytes of a header before its tables.
pub(super) const FIXED: usize = 32;
/// Bytes of the label.
pub(super) const LABEL_BYTES: usize = 8;
/// Bytes of a partition in a header.
pub(super) const PARTITION_BYTES: usize = 16;
/// Bytes of a cursor in a header, without its name.
pub(super) const CURSOR_BYTES: usize = 12;
/// Bytes of the number that is never the same twice.
pub(super) const NONCE_BYTES: usize = 8;
/// Bytes of a CRC.
pub(super) const CRC_BYTES: usize = 4;

/// A header's flag: begun behind an unclean stop.
pub(super) const UNCLEAN: u8 = 0x80;

/// The factor that spreads an offset over the bits of a CRC, and the one that undoes it.
pub(super) const SPREAD: u32 = 0x9e37_79b1;
/// The factor that tells cursors apart.
pub(super) const SLOT_SPREAD: u32 = 0x85eb_ca6b;
/// The inverse of `SPREAD`, modulo 2^32.
pub(super) const GATHER: u32 = inverse(SPREAD);

/// The longest body: what the length's 24 bits can say.
pub(super) const MAX_BODY: usize = (1 << 24) - 1;

/// By Newton's iteration, which doubles the right bits each time.
const fn inverse(odd: u32) -> u32 {
    let mut x = odd;
    let mut round = 0;
    while round < 5 {
        x = x.wrapping_mul(2_u32.wrapping_sub(odd.wrapping_mul(x)));
        round = 1_u32.wrapping_add(round);
    }
    x
}

const _: () = assert!(SPREAD.wrapping_mul(GATHER) == 1);

/// Neither blank nor zeroed media can hold this.
pub(super) const fn remapped(crc: u32) -> u32 {
    match crc {
        0 => 1,
        u32::MAX => u32::MAX - 1,
        other => other,
    }
}
