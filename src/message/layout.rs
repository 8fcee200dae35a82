//! The envelope, byte by byte. Part of the memory format: see `lease::layout` for the ring around it.
//!
//! A ring stores a record's bytes and 8 bits beside them, the *tag*. The tag says what stands before the payload; if it
//! is 0, nothing does, and the record is the payload. All numbers are little-endian, nothing is padded.
//!
//! ```text
//! tag   7         4      3         2       1        0
//!      +-----------+----------+---------+-----+-----------+
//!      | 0         | producer | headers | key | timestamp |
//!      +-----------+----------+---------+-----+-----------+
//!
//! record
//!      +--------------------+                                      if bit 0
//!      | timestamp, ms u64  |
//!      +------------+-------+----------------------+               if bit 1
//!      | length u16 | key, 0 to 1024 bytes         |
//!      +----------+-+------------------------------+               if bit 2
//!      | count u8 |  1 to 16
//!      +----------+------+------------------+---------------+-------------------+   count times
//!      | name length u8  | value length u16 | name, 1 to 64 | value, 0 to 1024  |
//!      +-----------------+------------------+---------------+-------------------+
//!      | id u64            | epoch u32    | sequence u64      |    if bit 3
//!      +-------------------+--------------+-------------------+
//!      | payload, the rest |
//!      +-------------------+
//! ```
//!
//! An envelope has at most 4096 bytes. A tag with another bit, a length beyond its limit, a count of 0, a name with a
//! character outside `A-Z a-z 0-9 . _ -`: each makes the record damaged, never something else.

use super::view::ProducerBlock;
use crate::name;
use crate::types::Ticks;

/// Tag bit: a timestamp.
pub(crate) const TIMESTAMP: u8 = 1;
/// Tag bit: a key.
pub(crate) const KEY: u8 = 2;
/// Tag bit: headers.
pub(crate) const HEADERS: u8 = 4;
/// Tag bit: a producer block.
pub(crate) const PRODUCER: u8 = 8;
const KNOWN: u8 = TIMESTAMP | KEY | HEADERS | PRODUCER;

/// The longest key, in bytes.
pub const MAX_KEY: usize = 1024;
/// The most headers of one record.
pub const MAX_HEADERS: usize = 16;
/// The longest header name, in bytes.
pub const MAX_HEADER_NAME: usize = 64;
/// The longest header value, in bytes.
pub const MAX_HEADER_VALUE: usize = 1024;
/// The largest envelope, in bytes.
pub const MAX_ENVELOPE: usize = 4096;

/// Bytes of a timestamp.
pub(crate) const TIMESTAMP_LEN: usize = 8;
/// Bytes of a key's length.
pub(crate) const KEY_LEN: usize = 2;
/// Bytes of the two lengths of a header.
pub(crate) const HEADER_LEN: usize = 3;
/// Bytes of a producer block.
pub(crate) const PRODUCER_LEN: usize = 20;

/// The tag of a record with a time and a key.
pub(crate) const STAMPED_AND_KEYED: u8 = TIMESTAMP | KEY;

/// What stands before the key of a record with a time and a key; `None` if the key is too long.
#[inline]
pub(crate) fn before_key(time: Ticks, key: &[u8]) -> Option<[u8; TIMESTAMP_LEN + KEY_LEN]> {
    let [a, b, c, d, e, f, g, h] = time.as_millis().to_le_bytes();
    let [low, high] = u16::try_from(key.len()).ok().filter(|_| key.len() <= MAX_KEY)?.to_le_bytes();
    Some([a, b, c, d, e, f, g, h, low, high])
}

/// A stretch of a record.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    start: u16,
    len: u16,
}

impl Span {
    fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(usize::from(self.start)..).and_then(|from| from.get(..usize::from(self.len))).unwrap_or_default()
    }
}

/// Where the parts of a record are: the outcome of checking it. Small, as every message carries it; what it finds is read
/// from the record when it is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Envelope {
    key: Span,
    headers: Span,
    payload: u16,
    tag: u8,
}

impl Envelope {
    /// Checks a record. `None` if it is damaged. Takes time in proportion to the envelope, at most 4096 bytes.
    #[inline]
    pub(crate) fn parse(tag: u8, bytes: &[u8]) -> Option<Self> {
        if tag == 0 {
            return Some(Self::default());
        }
        if tag == TIMESTAMP {
            // What producers write unless told otherwise.
            bytes.first_chunk::<TIMESTAMP_LEN>()?;
            return Some(Self { tag, payload: TIMESTAMP_LEN as u16, ..Self::default() });
        }
        Self::parse_all(tag, bytes)
    }

    fn parse_all(tag: u8, bytes: &[u8]) -> Option<Self> {
        if tag & !KNOWN != 0 {
            return None;
        }
        let mut found = Self { tag, ..Self::default() };
        let mut cut = Cut { bytes: bytes.get(..MAX_ENVELOPE).unwrap_or(bytes), at: 0 };
        if tag & TIMESTAMP != 0 {
            cut.chunk::<TIMESTAMP_LEN>()?;
        }
        if tag & KEY != 0 {
            let len = u16::from_le_bytes(*cut.chunk::<KEY_LEN>()?);
            found.key = cut.span(len, MAX_KEY)?;
        }
        if tag & HEADERS != 0 {
            found.headers = cut.headers()?;
        }
        if tag & PRODUCER != 0 {
            cut.chunk::<PRODUCER_LEN>()?;
        }
        found.payload = cut.at;
        Some(found)
    }

    /// The time. `bytes` are those that were checked; so below.
    #[inline]
    pub(crate) const fn timestamp(&self, bytes: &[u8]) -> Option<Ticks> {
        match bytes.first_chunk::<TIMESTAMP_LEN>() {
            Some(stamp) if self.tag & TIMESTAMP != 0 => Some(Ticks::from_millis(u64::from_le_bytes(*stamp))),
            _ => None,
        }
    }

    /// The key.
    pub(crate) fn key<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        (self.tag & KEY != 0).then(|| self.key.of(bytes))
    }

    /// The headers, one behind the other.
    pub(crate) fn headers<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        self.headers.of(bytes)
    }

    /// The producer block, which ends where the payload begins.
    pub(crate) const fn producer(&self, bytes: &[u8]) -> Option<ProducerBlock> {
        if self.tag & PRODUCER == 0 {
            return None;
        }
        let Some((envelope, _)) = bytes.split_at_checked(self.payload as usize) else { return None };
        match envelope.last_chunk::<PRODUCER_LEN>() {
            Some(block) => ProducerBlock::from_bytes(block),
            None => None,
        }
    }

    /// The tag.
    pub(crate) const fn tag(&self) -> u8 {
        self.tag
    }

    /// Where the payload begins.
    pub(crate) fn start(&self) -> usize {
        usize::from(self.payload)
    }

    /// What follows the envelope.
    #[inline]
    pub(crate) fn payload<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(usize::from(self.payload)..).unwrap_or_default()
    }
}

/// Bytes and how far they were read.
struct Cut<'a> {
    bytes: &'a [u8],
    at: u16,
}

impl<'a> Cut<'a> {
    fn chunk<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let chunk = self.bytes.get(usize::from(self.at)..)?.first_chunk()?;
        self.at = self.at.checked_add(u16::try_from(N).ok()?)?;
        Some(chunk)
    }

    fn span(&mut self, len: u16, max: usize) -> Option<Span> {
        let span = Span { start: self.at, len };
        let end = self.at.checked_add(len)?;
        if usize::from(len) > max || usize::from(end) > self.bytes.len() {
            return None;
        }
        self.at = end;
        Some(span)
    }

    fn headers(&mut self) -> Option<Span> {
        let [count] = *self.chunk()?;
        if count == 0 || usize::from(count) > MAX_HEADERS {
            return None;
        }
        let start = self.at;
        for _ in 0..count {
            let (name_len, value_len) = lengths(*self.chunk()?);
            let name = self.span(name_len, MAX_HEADER_NAME)?;
            name::check(name.of(self.bytes), MAX_HEADER_NAME).ok()?;
            self.span(value_len, MAX_HEADER_VALUE)?;
        }
        Some(Span { start, len: self.at.checked_sub(start)? })
    }
}

/// The two lengths before a header.
const fn lengths(bytes: [u8; HEADER_LEN]) -> (u16, u16) {
    let [name, low, high] = bytes;
    (name as u16, u16::from_le_bytes([low, high]))
}

/// Takes the first header off checked bytes.
#[allow(clippy::type_complexity, reason = "a header and the rest")]
pub(crate) fn take_header(bytes: &[u8]) -> Option<((&str, &[u8]), &[u8])> {
    let (lens, rest) = bytes.split_first_chunk::<HEADER_LEN>()?;
    let (name_len, value_len) = lengths(*lens);
    let (name, rest) = rest.split_at_checked(usize::from(name_len))?;
    let (value, rest) = rest.split_at_checked(usize::from(value_len))?;
    Some(((core::str::from_utf8(name).ok()?, value), rest))
}
