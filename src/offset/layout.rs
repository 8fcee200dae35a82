//! The control area of a group, byte by byte. Version 1.
//!
//! All numbers are little-endian. Nothing in the area is an address, so any party may map it anywhere. Words of different
//! parties never share a 128-byte block: a place is its member's, a partition's block its owner's.
//!
//! ```text
//!          0            256                   256+128M                +128P
//!          +------------+---------+-- --+-----+-----------+-- --+-----+
//!          | superblock | place 0 |     | M-1 | partition |     | P-1 |
//!          |            |         |     |     | 0         |     |     |
//!          +------------+---------+-- --+-----+-----------+-- --+-----+
//! written  once, by     its member            its owner
//! by       format       (whoever lets         (whoever takes
//!                       it lapse)             it over)
//! ```
//!
//! ## Superblock (offset 0, immutable after formatting)
//! ```text
//!   0        8         10        12        16       20           24        28
//!   +--------+---------+---------+---------+--------+------------+---------+---------+
//!   | magic  | version | header  | needed  | places | partitions | session | epoch   |
//!   | 8      | u16 = 1 | u16=256 | u32 = 0 | u32    | u32        | u32, ms | u32     |
//!   +--------+---------+---------+---------+--------+------------+---------+---------+
//!   32                 48        50        52       60        64          128        256
//!   +------------------+---------+---------+--------+---------+-----------+----------+
//!   | lease id         | length  | length  | zero   | CRC-32C | group's   | topic's  |
//!   | u128             | of group| of topic|        | u32     | name      | name     |
//!   +------------------+---------+---------+--------+---------+-----------+----------+
//! ```
//! `magic` is `89 46 4D 47 0D 0A 1A 0A` and is stored last: an area whose formatting was cut off is none. The CRC is of all
//! 256 bytes but its own four. `session` is the time after which a silent member lapses, of those that do not say
//! otherwise. `epoch` is the lease's when it was formatted.
//!
//! ## Place of a member (offset 256 + 128 m)
//! ```text
//!   0         4          8         12        16          80        84       128
//!   +---------+----------+---------+---------+-----------+---------+--------+
//!   | place   | session  | token   | length  | name      | CRC-32C | zero   |
//!   | u32     | u32, ms  | u32     | of name | 64 bytes  | u32     |        |
//!   +---------+----------+---------+---------+-----------+---------+--------+
//!
//!   place:  31                                9 8            1   0
//!           +----------------------------------+--------------+------+
//!           | incarnation                      | heartbeat    | held |
//!           +----------------------------------+--------------+------+
//! ```
//! The first word changes by compare-and-swap only. *Incarnation* rises each time that the place is taken, and is never
//! reused; *heartbeat* is counted up by the member. Whoever lets a member lapse swaps the very word it has seen standing
//! still for one that is not held: so either the heartbeat comes first and the member stays, or the lapse does and the next
//! heartbeat fails. The rest is the member's card. Its CRC covers the incarnation and the words before it: a card that was
//! not finished, or that somebody who has lost the place has spoilt, is not believed. `token` is that of the member's lease,
//! by which others find out that it is dead; else 0.
//!
//! ## Partition (offset 256 + 128 M + 128 p)
//! ```text
//!   0         4          8        32                  68       80                  116     128
//!   +---------+----------+--------+-------------------+--------+-------------------+-------+
//!   | claim   | turn     | zero   | copy 0            | zero   | copy 1            | zero  |
//!   | u32     | u32      |        | 9 words           |        | 9 words           |       |
//!   +---------+----------+--------+-------------------+--------+-------------------+-------+
//!
//!   claim:  31                           8 7        1   0        word of a copy:  31            8 7       0
//!           +-----------------------------+----------+------+                     +--------------+---------+
//!           | epoch                       | owner    | copy |                     | epoch        | digit   |
//!           +-----------------------------+----------+------+                     +--------------+---------+
//! ```
//! `owner` is a place's number and one, or 0; `copy` says which copy holds the committed offset. A copy is the offset's
//! eight bytes, the lowest one first, and their CRC-8 exclusive-or `A5`; nine zeros say that nothing was ever committed.
//! Every word here changes by compare-and-swap only. `turn` is counted up before a copy is touched, so that whoever has
//! no claim can tell whether what it read belongs together.
//!
//! ## Why no commit of a stale owner takes effect
//! To *take* a partition is one compare-and-swap of `claim`, to the next epoch. To *commit* is to write the copy that is not
//! in use, and then one compare-and-swap of `claim` that makes it the one in use, from the very word that the owner took or
//! left there. Somebody who took over in between has changed the word, so the swap fails, and with it the whole commit:
//! the check and the publication are one instruction, and there is no gap to be paused in.
//!
//! What is left is the late owner's writing of the copy itself. Each of its words carries the epoch that wrote it, and it is
//! swapped, never stored. A successor that commits brings each word of its copy to its own epoch before it publishes them;
//! from then on the late owner's swaps fail, for they expect an older word. Before that, the copy is not in use, and nobody
//! reads it. And the copy *in use* is never the late owner's target: the owner of the last epoch knows which one is in use,
//! since nobody else could publish in its epoch; whatever became in use later was brought to a later epoch first.
//!
//! Epochs of claims have 24 bits and never come round again: at the last one a partition cannot be taken any more, and the
//! group must be formatted anew (after 31 years of one hand-over every minute).

use crate::platform::memory::BLOCK;

/// First bytes of a formatted area.
pub(crate) const MAGIC: [u8; 8] = [0x89, b'F', b'M', b'G', 0x0d, 0x0a, 0x1a, 0x0a];
/// This format.
pub(crate) const VERSION: u16 = 1;
/// Bytes of the superblock.
pub(crate) const HEADER: u16 = 256;

/// Words of the superblock; those from 32 on lie in its second block.
pub(crate) mod superblock {
    pub(crate) const WORDS: usize = 64;
    pub(crate) const CRC: usize = 15;
    pub(crate) const GROUP: usize = 16;
    pub(crate) const TOPIC: usize = 32;
}

/// Words of a member's place.
pub(crate) mod place {
    pub(crate) const PLACE: usize = 0;
    pub(crate) const SESSION: usize = 1;
    pub(crate) const TOKEN: usize = 2;
    pub(crate) const NAME_LEN: usize = 3;
    pub(crate) const NAME: usize = 4;
    pub(crate) const NAME_WORDS: usize = 16;
    pub(crate) const CRC: usize = 20;
}

/// Words of a partition.
pub(crate) mod partition {
    pub(crate) const CLAIM: usize = 0;
    pub(crate) const TURN: usize = 1;
    pub(crate) const COPIES: [usize; 2] = [8, 20];
    pub(crate) const DIGITS: usize = 8;
}

/// The most places of members: an owner has seven bits, and nobody is one of them.
pub(crate) const MAX_PLACES: u32 = 127;

/// Where the parts of an area lie.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Plan {
    pub(crate) partitions_at: usize,
    pub(crate) end: usize,
}

impl Plan {
    /// Lays out an area; `None` where the target cannot address it.
    pub(crate) const fn new(places: u32, partitions: u32) -> Option<Self> {
        let Some(places) = (places as usize).checked_mul(BLOCK) else { return None };
        let Some(partitions) = (partitions as usize).checked_mul(BLOCK) else { return None };
        let Some(partitions_at) = places.checked_add(HEADER as usize) else { return None };
        let Some(end) = partitions_at.checked_add(partitions) else { return None };
        Some(Self { partitions_at, end })
    }
}

const _: () = {
    assert!(HEADER as usize == superblock::WORDS * 4 && HEADER as usize == 2 * BLOCK);
    assert!(superblock::CRC < superblock::GROUP && superblock::TOPIC * 4 == BLOCK);
    assert!(place::NAME + place::NAME_WORDS == place::CRC && place::CRC * 4 + 4 <= BLOCK);
    assert!(partition::COPIES[0] + partition::DIGITS < partition::COPIES[1]);
    assert!((partition::COPIES[1] + partition::DIGITS) * 4 + 4 == 116);
};
