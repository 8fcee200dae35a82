//! The memory format, byte by byte. Version 1.
//!
//! All numbers are little-endian. Nothing in a lease is an address, so any party may map it anywhere. Each 128-byte
//! block has one writer (but the bell, see there), on every target, whatever its cache lines are: two machines on one fabric agree.
//! Nor does it matter how the bytes are reached: who maps them and who reads and writes them by verbs agree too.
//!
//! ```text
//!          0        128        256        384           384+128R      +16N          +8U
//!          +----------+----------+----------+-- - - --+----------+-- - - ----+-- - - -----+
//!          |  super-  |  writer: |  writer: | reader  | reader   |  N slots  |  U units   |
//!          |  block   |  bounds  |  hints   | 0       | R-1      |  16 bytes |  of 8 bytes|
//!          +----------+----------+----------+-- - - --+----------+-- - - ----+-- - - -----+
//! written  once, by   writer     writer     reader 0   reader R-1  writer      writer
//! by       format                           (joining)
//!          (but for
//!          the bell)
//! ```
//!
//! ## Superblock (offset 0, immutable after formatting but for its last 64 bytes)
//! ```text
//!   0        8         10        12        16       17       18       19       20        24
//!   +--------+---------+---------+---------+--------+--------+--------+--------+---------+
//!   | magic  | version | header  | needed  | keep   | log2 N | log2 U | R      | max lag |
//!   | 8      | u16 = 1 | u16=128 | u32 = 0 | u8     | u8     | u8     | u8     | u32     |
//!   +--------+---------+---------+---------+--------+--------+--------+--------+---------+
//!   24       28        32                  48                 56        60        64    128
//!   +--------+---------+-------------------+------------------+---------+---------+------+
//!   | epoch  | number  | lease id          | formatted at     | zero    | CRC-32C | bell,|
//!   | u32    | u32     | u128              | u64, ms          | u32     | of 0-60 | seal |
//!   +--------+---------+-------------------+------------------+---------+---------+------+
//! ```
//! `magic` is `89 46 4D 51 0D 0A 1A 0A` and is stored last: a lease whose formatting was cut off is not a ring.
//! `needed` lists features that whoever opens the ring must know: 1, that its log can be ended (see below). There are no
//! others. `keep` is 0 for retain, 1 for overwrite.
//! `epoch` is the lease's when it was formatted; `number` is the partition's in its topic.
//!
//! ## Bell (offset 64, in the superblock's block): written by readers that sleep, and by whoever wakes them
//! ```text
//!   64       68        72    128
//!   +--------+---------+------+
//!   | rings  | waiting | seal |
//!   | u32    | u32     |      |
//!   +--------+---------+------+
//! ```
//! `waiting` is 1 while a reader may be asleep, else 0. Who has committed and finds it set clears it, then counts `rings` up,
//! then wakes those who sleep on that word. Zero in images of before there was a bell; writers of that time never ring, so
//! that whoever sleeps also looks by itself now and then. Nothing but the length of a sleep depends on either word.
//!
//! The one place that several parties write: not in a block of the writer's or of a reader's, since a party whose caches are
//! not those of the others would write the rest of such a block back with it, old as it knows it. Here the rest is the same for
//! ever (but for the seal, which is only there where all parties' caches are one, or words are exchanged in the memory itself). And a writer whose readers never sleep has the line to read, and nobody takes it away.
//! ## Seal (offset 72, in the superblock's block): written once, in a ring whose `needed` has 1
//! ```text
//!   72         76         84         92              124        128
//!   +----------+----------+----------+---------------+----------+
//!   | control  | epoch    | tail     | successor     | CRC      |
//!   | u32      | 2 words  | 2 words  | 8 words       | 1 word   |
//!   +----------+----------+----------+---------------+----------+
//! ```
//! A log is ended by the slot of the next offset t, whose stamp is exchanged for `t` with its highest bit turned over: once,
//! by compare-and-swap, as each record of such a ring is committed too. So either the record t is in the log, or the end
//! is; a writer that goes on later finds out which. No reader passes that stamp. So that the slot holds no record that
//! is still needed, such a ring keeps at most N - 1.
//!
//! The seal says who ended it and in which lease the log goes on. Each word has 16 bits of it (the lowest first) in its
//! lower half, and in the upper half the number of the attempt that wrote it. Words are only ever exchanged, by
//! compare-and-swap, for those of a later attempt. `control` has the state in its lower half: 0 none, `3C5A` being
//! written, `C3A5` closed; an attempt starts by being counted there, and closes only if none has started since. Closed,
//! nothing changes any more. `epoch`: the sealer's. `tail`: the low half of t. `successor`: a lease id. `CRC`: the lower half
//! of the CRC-32C of the 12 words before it, upper halves zero.
//!
//! ## Writer, bounds (offset 128): written rarely, read by every reader
//! ```text
//!   0                  16        20        24        28       128
//!   +------------------+---------+---------+---------+---------+
//!   | head (counter)   | epoch   | claim   | gate    | zero    |
//!   +------------------+---------+---------+---------+---------+
//! ```
//! `head` is the lowest offset a reader may still ask for. It rises **before** the room below it is used again.
//! `epoch` is the highest that ever wrote. `claim` is 1 while a writer holds the ring, else 0. `gate` is 0 but while the
//! writer of a retaining ring asks whether the head may rise to offset o: then it is o * 2 + 1, modulo 2^32, and whoever
//! takes a place below o goes there instead.
//!
//! ## Writer, hints (offset 256): written often, read by nobody in a hurry
//! ```text
//!   0                  16                 32       128
//!   +------------------+------------------+---------+
//!   | tail hint        | refused          | zero    |
//!   | (counter)        | (counter)        |         |
//!   +------------------+------------------+---------+
//! ```
//! `tail hint` is at most the true end of the log; the slots from there on say where it really ends. `refused` counts
//! the records that found no room.
//!
//! ## Reader (offset 384 + 128 r)
//! ```text
//!   0         4          8         12        16           80       84       88    128
//!   +---------+----------+---------+---------+------------+--------+--------+------+
//!   | state   | progress | guard   | length  | name       | high   | owner  | zero |
//!   | u32     | u32      | u32     | of name | 64 bytes   | u32    | u32    |      |
//!   +---------+----------+---------+---------+------------+--------+--------+------+
//! ```
//! `state`: 0 free, 1 parked (pins memory, nobody reads), 2 claimed, 3 joining (does not pin yet). `progress` is the low
//! half of the first offset still needed; `guard` its complement, stored after it; `high` its high half. `owner` is the token
//! of the lease that reads here, where leases have tokens, by which others can find out that it is dead; else 0.
//!
//! ## Slot of offset o (at index o mod N)
//! ```text
//!   0         4         7     8          12        16
//!   +---------+---------+-----+----------+---------+
//!   | stamp   | length  | tag | position | check   |
//!   | u32     | u24     | u8  | u32      | u32     |
//!   +---------+---------+-----+----------+---------+
//! ```
//! `stamp` is the low half of o. Storing it (Release) commits the record; until then the slot holds the stamp of o - N,
//! which formatting wrote for the first lap. `position` counts units since the log began, modulo 2^32; the payload lies
//! at unit `position mod U`, in one piece: a record that would straddle the end starts at the ring's first unit.
//! The four 32-bit words of a slot add up by exclusive or to `5AFBCA11`: no damage within one word goes unseen. `tag` is
//! the layer's above.
//!
//! ## Counter (16 bytes)
//! ```text
//!   0         4         8            12       16
//!   +---------+---------+------------+--------+
//!   | low     | high    | high again | ~low   |
//!   +---------+---------+------------+--------+
//! ```
//! See `platform::cursor` for the order of its stores.
//!
//! ## Why it is so
//! The figures behind each choice stand in `ci/bench/DESIGN-FIGURES.md`: slots beside the bytes rather than headers in
//! front of them, a stamp in each slot rather than a shared tail, four 32-bit words a slot rather than two of 64.

use crate::platform::memory::{BLOCK, SLOT, UNIT};

/// First bytes of a formatted lease; shaped like PNG's so that text-mode transfers show.
pub(crate) const MAGIC: [u8; 8] = [0x89, b'F', b'M', b'Q', 0x0d, 0x0a, 0x1a, 0x0a];
/// This format.
pub(crate) const VERSION: u16 = 1;

pub(crate) const SUPERBLOCK_AT: usize = 0;
pub(crate) const BOUNDS_AT: usize = SUPERBLOCK_AT + BLOCK;
pub(crate) const HINTS_AT: usize = BOUNDS_AT + BLOCK;
pub(crate) const READERS_AT: usize = HINTS_AT + BLOCK;

/// Words of the superblock's block that may change.
pub(crate) mod bell {
    pub(crate) const RINGS: usize = 16;
    pub(crate) const WAITING: usize = 17;
}
/// Where they lie, and the rest of their line.
pub(crate) const BELL_AT: usize = SUPERBLOCK_AT + bell::RINGS * 4;
pub(crate) const BELL_BYTES: usize = BOUNDS_AT - BELL_AT;

/// Words of the bounds block.
pub(crate) mod bounds {
    pub(crate) const HEAD: usize = 0;
    pub(crate) const EPOCH: usize = 4;
    pub(crate) const CLAIM: usize = 5;
    pub(crate) const GATE: usize = 6;
}

/// Words of the superblock's block that are the seal's.
pub(crate) mod seal {
    pub(crate) const CONTROL: usize = 18;
    pub(crate) const EPOCH: usize = 19;
    pub(crate) const WORDS: usize = 13;

    pub(crate) const OPEN: u16 = 0x3c5a;
    pub(crate) const CLOSED: u16 = 0xc3a5;
}

/// The word of the superblock that lists features.
pub(crate) const NEEDED: usize = 3;
/// The feature of a ring whose log can be ended under a living writer.
pub(crate) const TAKEOVER: u32 = 1;
/// What tells the stamp that ends the log from all others of its slot.
pub(crate) const END: u32 = 1 << 31;

/// Words of the hints block.
pub(crate) mod hints {
    pub(crate) const TAIL: usize = 0;
    pub(crate) const REFUSED: usize = 4;
}

/// Words of a reader's block.
pub(crate) mod reader {
    pub(crate) const STATE: usize = 0;
    pub(crate) const PROGRESS: usize = 1;
    pub(crate) const GUARD: usize = 2;
    pub(crate) const NAME_LEN: usize = 3;
    pub(crate) const NAME: usize = 4;
    pub(crate) const NAME_WORDS: usize = 16;
    pub(crate) const HIGH: usize = 20;
    pub(crate) const OWNER: usize = 21;

    pub(crate) const FREE: u32 = 0;
    pub(crate) const PARKED: u32 = 1;
    pub(crate) const CLAIMED: u32 = 2;
    pub(crate) const JOINING: u32 = 3;
}

/// Most readers a ring can register.
pub(crate) const MAX_READERS: u8 = 64;
/// Smallest and largest rings, as powers of two. The upper bounds keep every distance below 2^31.
pub(crate) const SLOTS_LOG2: core::ops::RangeInclusive<u8> = 1..=28;
pub(crate) const UNITS_LOG2: core::ops::RangeInclusive<u8> = 1..=28;

/// Where the parts of a ring lie, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) slots_at: usize,
    pub(crate) bytes_at: usize,
    pub(crate) end: usize,
}

impl Plan {
    /// Lays out a ring; `None` where the target cannot address it.
    pub(crate) const fn new(slots_log2: u8, units_log2: u8, readers: u8) -> Option<Self> {
        let Some(slots_at) = READERS_AT.checked_add((readers as usize).wrapping_mul(BLOCK)) else { return None };
        let (Some(slots), Some(units)) =
            (1_usize.checked_shl(slots_log2 as u32), 1_usize.checked_shl(units_log2 as u32))
        else {
            return None;
        };
        let (Some(slot_bytes), Some(unit_bytes)) = (slots.checked_mul(SLOT), units.checked_mul(UNIT)) else {
            return None;
        };
        let Some(bytes_at) = slots_at.checked_add(slot_bytes) else { return None };
        let Some(end) = bytes_at.checked_add(unit_bytes) else { return None };
        Some(Self { slots_at, bytes_at, end })
    }
}

const _: () = {
    assert!(READERS_AT == 384 && BLOCK == 128 && SLOT == 16 && UNIT == 8);
    assert!(reader::NAME + reader::NAME_WORDS == reader::HIGH && reader::OWNER * 4 + 4 <= BLOCK);
    assert!(BELL_AT == 64 && BELL_BYTES == 64 && bell::WAITING * 4 == 68);
    assert!(bounds::GATE * 4 + 4 == 28 && hints::REFUSED * 4 + 16 == 32);
    assert!(seal::EPOCH == seal::CONTROL + 1 && (seal::EPOCH + seal::WORDS) * 4 == BLOCK);
    // No offset that a slot can hold looks like the end of another.
    assert!(1 << *SLOTS_LOG2.end() < END);
};
