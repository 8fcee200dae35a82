//! A shared lease's files, byte by byte. Version 1.
//!
//! A lease of the id `0123...cdef` is two files in its pool's directory and one for each reader, all of mode 0600 and with
//! one name each. All numbers are little-endian.
//!
//! ```text
//! 0123...cdef.lease          the record and the bytes; who reads holds a shared lock on it
//! 0123...cdef.hold           empty; the holder has an exclusive lock on it
//! 0123...cdef.0badcafe.read  empty; the reader of this token has an exclusive lock on it
//!
//!          0                  256       384       512                         512+B
//!          +------------------+---------+---------+--------- - - - -----------+
//!  .lease  | identity         | term    | holder  | B bytes: what is leased   |
//!          +------------------+---------+---------+--------- - - - -----------+
//! written  once, by           anybody,  the       holder, and readers
//! by       who acquires       by CAS    holder    in their places
//! ```
//! Locks are the kernel's (`flock`), and are given back when their process dies. So whoever can lock `.hold` knows that
//! there is no holder, whoever can lock `.lease` too, exclusively, that there is nobody, and whoever can lock a `.read`,
//! that this reader is dead. A reader's token has the first bit clear and is not 0. The holder's, if it reads, is its epoch
//! with the first bit set.
//!
//! ## Identity (offset 0): does not change
//! ```text
//!   0        8         10        12        16               32       40        48
//!   +--------+---------+---------+---------+----------------+--------+---------+
//!   | magic  | version | header  | needed  | lease id       | B      | made at |
//!   | 8      | u16 = 1 | u16=512 | u32 = 0 | u128           | u64    | u64, ms |
//!   +--------+---------+---------+---------+----------------+--------+---------+
//!   48                64        68        72                136       140     256
//!   +-----------------+---------+---------+-----------------+---------+-------+
//!   | boot            | length  | zero    | name            | CRC-32C | zero  |
//!   | u128            | of name | u32     | 64 bytes        | of 0-136|       |
//!   +-----------------+---------+---------+-----------------+---------+-------+
//! ```
//! `magic` is `89 46 4D 4C 0D 0A 1A 0A` and is stored last: before, the lease is being made, or whoever made it died.
//! `made at` counts from the machine's start, as `deadline` does; `boot` says which start (0: unknown). A lease of another
//! start is over. Without a name, `length` is 0.
//!
//! ## Term (offset 256): changed by compare-and-swap alone
//! ```text
//!   0        1        2          4          8        9                  16     128
//!   +--------+--------+----------+----------+--------+------------------+------+
//!   | state  | check  | renewals | epoch    | check  | deadline         | zero |
//!   | u8     | u8     | u16      | u32      | u8     | u56, ms          |      |
//!   +--------+--------+----------+----------+--------+------------------+------+
//! ```
//! Two words of 64 bits. In the first, a user's one load finds all there is to know:
//!
//! | state | code | the holder | readers | comes from |
//! |---|---|---|---|---|
//! | live | `55` | writes | read | acquiring, attaching |
//! | detached | `66` | is gone, on purpose | read | live |
//! | fenced | `33` | must go | read | live, detached, expired |
//! | expired | `99` | must go | are told | live, detached |
//! | revoked | `CC` | must go | are told | live, detached, fenced |
//! | released | `AA` | is gone | are told | live |
//!
//! Any two codes differ in four bits or more. A new holder puts `epoch` one higher, with `live`, in the same swap: a word
//! that has the holder's epoch and `live` is the holder's right to write. Whoever supersedes a holder, to end the log in
//! the lease, puts it one higher with `fenced`: that word is its right to do so. `renewals` counts on at each renewal, so that
//! whoever is about to record an expiry, and was overtaken by a renewal, fails to. The latest deadline there is means
//! never. Each `check` makes the eight bytes of its word add up by exclusive or to `5A`.
//!
//! ## Holder (offset 384): for people to read
//! ```text
//!   0          4          8                16         20     128
//!   +----------+----------+----------------+----------+------+
//!   | epoch    | process  | started        | CRC-32C  | zero |
//!   | u32      | u32      | u64            | of 0-16  |      |
//!   +----------+----------+----------------+----------+------+
//! ```
//! `started` is the kernel's figure (field 22 of `/proc/<process>/stat`), which tells a process from a later one of the
//! same number. Nothing goes by this block: that somebody is dead is proven by locks.

use crate::lease::superblock::feed;

/// First bytes of a lease's file.
pub(super) const MAGIC: [u8; 8] = [0x89, b'F', b'M', b'L', 0x0d, 0x0a, 0x1a, 0x0a];
/// This format.
pub(super) const VERSION: u16 = 1;
/// Bytes before those that are leased.
pub(super) const HEADER: u16 = 512;
/// Bytes of the identity with its CRC.
pub(super) const IDENTITY: usize = 140;
/// Bytes that the CRC covers.
pub(super) const COVERED: usize = 136;
/// The term's words.
pub(super) const TERM_AT: usize = 256;
pub(super) const DEADLINE_AT: usize = TERM_AT + 8;
/// The holder's block, and its bytes with their CRC.
pub(super) const HOLDER_AT: u64 = 384;
pub(super) const HOLDER: usize = 20;

/// CRC-32C of whole words.
pub(super) fn crc(bytes: &[u8]) -> u32 {
    !bytes.as_chunks::<4>().0.iter().fold(u32::MAX, |crc, word| feed(crc, u32::from_le_bytes(*word)))
}

/// Takes the first bytes off, as a number's.
pub(super) fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = from.split_first_chunk::<N>()?;
    *from = rest;
    Some(*first)
}

/// Puts bytes at the front of `to`, which is what lies behind them from then on. Puts nothing where they do not fit.
pub(super) fn put(to: &mut &mut [u8], bytes: &[u8]) {
    if let Some((first, rest)) = core::mem::take(to).split_at_mut_checked(bytes.len()) {
        first.copy_from_slice(bytes);
        *to = rest;
    }
}

const _: () = {
    assert!(IDENTITY == COVERED + 4 && IDENTITY <= TERM_AT);
    assert!(TERM_AT == 256 && HOLDER_AT == 384 && HEADER == 512);
    assert!(HEADER as usize == crate::platform::unix::Mapping::LEAST);
};
