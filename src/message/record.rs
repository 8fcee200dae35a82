//! A record on its way into a partition.

use super::error::MessageError;
use super::layout::{
    HEADER_LEN, HEADERS, KEY, KEY_LEN, MAX_ENVELOPE, MAX_HEADER_NAME, MAX_HEADER_VALUE, MAX_HEADERS, MAX_KEY, PRODUCER,
    PRODUCER_LEN, TIMESTAMP, TIMESTAMP_LEN,
};
use super::view::ProducerBlock;
use crate::name;
use crate::types::{Epoch, Ticks};

/// A payload and what goes with it, all borrowed. Making one neither copies nor allocates.
///
/// ```
/// use fabric_mq::message::Record;
/// use fabric_mq::Ticks;
///
/// let record = Record::new(b"21.5")
///     .with_key(b"sensor-7")
///     .with_timestamp(Ticks::from_millis(1_000))
///     .with_headers(&[("unit", b"celsius")]);
/// assert_eq!(record.key(), Some(&b"sensor-7"[..]));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    payload: &'a [u8],
    timestamp: Option<Ticks>,
    key: Option<&'a [u8]>,
    headers: &'a [(&'a str, &'a [u8])],
    producer: Option<ProducerBlock>,
}

impl<'a> Record<'a> {
    /// A record of a payload alone.
    #[must_use]
    pub const fn new(payload: &'a [u8]) -> Self {
        Self { payload, timestamp: None, key: None, headers: &[], producer: None }
    }

    /// Gives it a key, of at most [`MAX_KEY`] bytes. Records with the same key go to the same partition, in order.
    #[must_use]
    pub const fn with_key(self, key: &'a [u8]) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Gives it a time of its own, instead of the one at which it is sent.
    #[must_use]
    pub const fn with_timestamp(self, timestamp: Ticks) -> Self {
        Self { timestamp: Some(timestamp), ..self }
    }

    /// Gives it headers: at most [`MAX_HEADERS`], names of 1 to 64 characters `A-Z a-z 0-9 . _ -`, values of at most
    /// [`MAX_HEADER_VALUE`] bytes.
    #[must_use]
    pub const fn with_headers(self, headers: &'a [(&'a str, &'a [u8])]) -> Self {
        Self { headers, ..self }
    }

    /// Says who sent it, and which of its records this is.
    #[must_use]
    pub const fn with_producer(self, producer: ProducerBlock) -> Self {
        Self { producer: Some(producer), ..self }
    }

    /// The payload.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> Option<&'a [u8]> {
        self.key
    }

    /// The time it was given.
    #[must_use]
    pub const fn timestamp(&self) -> Option<Ticks> {
        self.timestamp
    }

    /// Hands the tag and the bytes, in parts, to `write`, with `time` for the timestamp. The payload is one of the parts: it
    /// is not copied here.
    pub(crate) fn with_parts<R>(
        &self,
        time: Option<Ticks>,
        write: impl FnOnce(u8, &[&[u8]]) -> R,
    ) -> Result<R, MessageError> {
        let key = self.key.unwrap_or_default();
        let key_len = u16::try_from(key.len()).ok().filter(|_| key.len() <= MAX_KEY);
        let key_len = key_len.ok_or(MessageError::Key { len: key.len() })?;
        let stamp = time.map(|time| time.as_millis().to_le_bytes());
        let key_len = self.key.map(|_| key_len.to_le_bytes());
        let producer = self.producer.map(ProducerBlock::to_bytes);
        let tag = (if stamp.is_some() { TIMESTAMP } else { 0 })
            | (if key_len.is_some() { KEY } else { 0 })
            | (if producer.is_some() { PRODUCER } else { 0 });
        let parts = Parts {
            stamp: slice(stamp.as_ref()),
            key_len: slice(key_len.as_ref()),
            key,
            producer: slice(producer.as_ref()),
        };
        if self.headers.is_empty() {
            return Ok(write(tag, &[parts.stamp, parts.key_len, key, parts.producer, self.payload]));
        }
        self.with_header_parts(tag | HEADERS, parts, write)
    }

    /// The rare case, kept apart so that the others do not pay for its stack: about 1 KiB on a 64-bit target.
    #[inline(never)]
    fn with_header_parts<R>(
        &self,
        tag: u8,
        parts: Parts<'_>,
        write: impl FnOnce(u8, &[&[u8]]) -> R,
    ) -> Result<R, MessageError> {
        let count = self.headers.len();
        let small = u8::try_from(count).ok().filter(|_| count <= MAX_HEADERS).ok_or(MessageError::Headers { count })?;
        let mut lens = [[0; HEADER_LEN]; MAX_HEADERS];
        let mut total = 1_usize;
        for (at, ((name, value), lens)) in self.headers.iter().zip(&mut lens).enumerate() {
            name::check(name.as_bytes(), MAX_HEADER_NAME).map_err(|error| MessageError::HeaderName { at, error })?;
            let [low, high] = u16::try_from(value.len())
                .ok()
                .filter(|_| value.len() <= MAX_HEADER_VALUE)
                .ok_or(MessageError::HeaderValue { at, len: value.len() })?
                .to_le_bytes();
            // Checked to have at most 64 bytes.
            *lens = [u8::try_from(name.len()).unwrap_or(0), low, high];
            total = total.saturating_add(HEADER_LEN).saturating_add(name.len()).saturating_add(value.len());
        }
        let fixed = [parts.stamp, parts.key_len, parts.key, parts.producer];
        let len = fixed.iter().fold(total, |sum, part| sum.saturating_add(part.len()));
        if len > MAX_ENVELOPE {
            return Err(MessageError::Envelope { len });
        }
        let count = [small];
        let mut all: heapless::Vec<&[u8], { MAX_HEADERS * 3 + 6 }> = heapless::Vec::new();
        let headers =
            self.headers.iter().zip(&lens).flat_map(|((name, value), lens)| [&lens[..], name.as_bytes(), value]);
        let before = [parts.stamp, parts.key_len, parts.key, &count];
        // Its capacity is that of the largest record checked above.
        all.extend(before.into_iter().chain(headers).chain([parts.producer, self.payload]));
        Ok(write(tag, &all))
    }
}

/// The parts that every record may have.
struct Parts<'p> {
    stamp: &'p [u8],
    key_len: &'p [u8],
    key: &'p [u8],
    producer: &'p [u8],
}

fn slice<const N: usize>(bytes: Option<&[u8; N]>) -> &[u8] {
    bytes.map(<[u8; N]>::as_slice).unwrap_or_default()
}

impl ProducerBlock {
    pub(super) const fn from_bytes(bytes: &[u8; PRODUCER_LEN]) -> Option<Self> {
        let Some((id, rest)) = bytes.split_first_chunk() else { return None };
        let Some((epoch, rest)) = rest.split_first_chunk() else { return None };
        let Some(sequence) = rest.first_chunk() else { return None };
        let epoch = Epoch::new(u32::from_le_bytes(*epoch));
        Some(Self { id: u64::from_le_bytes(*id), epoch, sequence: u64::from_le_bytes(*sequence) })
    }

    fn to_bytes(self) -> [u8; PRODUCER_LEN] {
        let mut bytes = [0; PRODUCER_LEN];
        let fields = self
            .id
            .to_le_bytes()
            .into_iter()
            .chain(self.epoch.value().to_le_bytes())
            .chain(self.sequence.to_le_bytes());
        for (to, from) in bytes.iter_mut().zip(fields) {
            *to = from;
        }
        bytes
    }
}

const _: () = assert!(MAX_KEY + KEY_LEN + TIMESTAMP_LEN + PRODUCER_LEN <= MAX_ENVELOPE);

impl<'a> From<&'a [u8]> for Record<'a> {
    fn from(payload: &'a [u8]) -> Self {
        Self::new(payload)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Record<'a> {
    fn from(payload: &'a [u8; N]) -> Self {
        Self::new(payload)
    }
}

#[cfg(test)]
#[allow(clippy::std_instead_of_alloc, reason = "without the feature there is no other")]
mod tests {
    use super::super::layout::{Envelope, STAMPED_AND_KEYED, before_key, take_header};
    use super::*;
    use crate::error::NameError;
    use std::vec::Vec;

    fn encode(record: &Record<'_>) -> Result<(u8, Vec<u8>), MessageError> {
        record.with_parts(record.timestamp(), |tag, parts| (tag, parts.concat()))
    }

    /// Format 1. If this fails, every partition in the field becomes unreadable: raise the format version instead.
    #[test]
    fn the_bytes_are_these() {
        let producer = ProducerBlock::new(0x0807_0605_0403_0201, Epoch::new(0x0C0B_0A09), 0x1413_1211_100F_0E0D);
        let full =
            Record::new(b"pay").with_key(b"key").with_timestamp(Ticks::from_millis(0x0102)).with_producer(producer);
        let full = full.with_headers(&[("a", b"xy"), ("bc", b"")]);
        let (tag, bytes) = encode(&full).unwrap();
        assert_eq!(tag, 15);
        let expected: &[u8] = &[
            2, 1, 0, 0, 0, 0, 0, 0, // timestamp
            3, 0, b'k', b'e', b'y', // key
            2, 1, 2, 0, b'a', b'x', b'y', 2, 0, 0, b'b', b'c', // headers
            1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, // producer
            b'p', b'a', b'y',
        ];
        assert_eq!(bytes, expected);
        let found = Envelope::parse(tag, &bytes).unwrap();
        assert_eq!(found.payload(&bytes), b"pay");
        assert_eq!(found.key(&bytes), Some(&b"key"[..]));
        assert_eq!(
            (found.timestamp(&bytes), found.producer(&bytes)),
            (Some(Ticks::from_millis(0x0102)), Some(producer))
        );
        let (first, rest) = take_header(found.headers(&bytes)).unwrap();
        assert_eq!((first, take_header(rest)), (("a", &b"xy"[..]), Some((("bc", &b""[..]), &b""[..]))));

        assert_eq!(encode(&Record::new(b"x")).unwrap(), (0, b"x".to_vec()));
        let stamped = Record::new(b"x").with_timestamp(Ticks::from_millis(7));
        assert_eq!(encode(&stamped).unwrap(), (1, [7, 0, 0, 0, 0, 0, 0, 0, b'x'].to_vec()));
        assert_eq!(encode(&Record::new(b"x").with_key(b"")).unwrap(), (2, [0, 0, b'x'].to_vec()));
        // What is sent most often is encoded apart.
        let keyed = stamped.with_key(b"key");
        let before = before_key(Ticks::from_millis(7), b"key").unwrap();
        assert_eq!(encode(&keyed).unwrap(), (STAMPED_AND_KEYED, [&before[..], b"key", b"x"].concat()));
        assert_eq!(before_key(Ticks::ZERO, &[0; MAX_KEY + 1]), None);
    }

    #[test]
    fn whatever_is_cut_off_or_unknown_is_damage() {
        let full = Record::new(b"").with_key(b"key").with_timestamp(Ticks::MAX).with_headers(&[("a", b"xy")]);
        let (tag, bytes) = encode(&full.with_producer(ProducerBlock::new(1, Epoch::new(2), 3))).unwrap();
        assert!(Envelope::parse(tag, &bytes).is_some());
        for end in 0..bytes.len() {
            assert!(Envelope::parse(tag, &bytes[..end]).is_none(), "{end} bytes");
        }
        for bit in 4..8 {
            assert!(Envelope::parse(tag | 1 << bit, &bytes).is_none(), "tag bit {bit}");
        }
        // No headers, too many, a name that is none, a value that is too long.
        for bytes in [&[0_u8][..], &[17], &[1, 1, 0, 0, b'/'], &[1, 0, 0, 0], &[1, 1, 1, 4, b'a']] {
            let long = [bytes, &[b'a'; 2000]].concat();
            assert!(Envelope::parse(HEADERS, &long).is_none(), "{bytes:?}");
        }
        let key = [&1025_u16.to_le_bytes()[..], &[0; 1100]].concat();
        assert!(Envelope::parse(KEY, &key).is_none());
        // An envelope that is too large only as a whole.
        let mut headers = std::vec![5_u8];
        for _ in 0..5 {
            headers.extend([1, 0, 4, b'a']);
            headers.extend([0; 1024]);
        }
        assert!(Envelope::parse(HEADERS, &headers).is_none());
    }

    #[test]
    fn any_bytes_are_parsed_or_refused() {
        let mut state = 0x9E37_79B9_u32;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state
        };
        for _ in 0..20_000 {
            let len = next() as usize % 64;
            let bytes: Vec<u8> =
                (0..len).map(|_| if next() % 2 == 0 { (next() % 4) as u8 } else { next() as u8 }).collect();
            let tag = (next() % 20) as u8;
            if let Some(found) = Envelope::parse(tag, &bytes) {
                assert!(found.payload(&bytes).len() <= bytes.len());
                let mut rest = found.headers(&bytes);
                while let Some((_, more)) = take_header(rest) {
                    rest = more;
                }
                assert!(rest.is_empty(), "headers were checked");
            }
        }
    }

    #[test]
    fn what_is_too_large_is_refused_with_its_reason() {
        let (key, value) = ([0; 1025], [0; 1025]);
        let many = [("a", &b""[..]); 17];
        let large = [("a", &value[..1024]); 4];
        for (record, error) in [
            (Record::new(b"").with_key(&key), MessageError::Key { len: 1025 }),
            (Record::new(b"").with_headers(&many), MessageError::Headers { count: 17 }),
            (Record::new(b"").with_headers(&[("a", &value)]), MessageError::HeaderValue { at: 0, len: 1025 }),
            (Record::new(b"").with_headers(&large), MessageError::Envelope { len: 1 + 4 * 1028 }),
            (
                Record::new(b"").with_headers(&[("a", b""), ("b c", b"")]),
                MessageError::HeaderName { at: 1, error: NameError::Character { at: 1 } },
            ),
        ] {
            assert_eq!(encode(&record).unwrap_err(), error);
        }
        let most = [("a", &b"v"[..]); 16];
        let (tag, bytes) = encode(&Record::new(b"payload").with_headers(&most)).unwrap();
        assert_eq!(Envelope::parse(tag, &bytes).unwrap().payload(&bytes), b"payload");
    }
}
