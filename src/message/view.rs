//! A message where it lies, checked once.

use super::layout::{Envelope, take_header};
use crate::error::{Check, Corrupt};
use crate::types::{Epoch, Offset, Ticks};
use core::fmt;

/// Who sent a record, and which of its records it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ProducerBlock {
    /// The producer.
    pub id: u64,
    /// Rises each time that the producer starts anew.
    pub epoch: Epoch,
    /// Counts the producer's records.
    pub sequence: u64,
}

impl ProducerBlock {
    /// The block of one record.
    #[must_use]
    pub const fn new(id: u64, epoch: Epoch, sequence: u64) -> Self {
        Self { id, epoch, sequence }
    }
}

/// A message, borrowed from a partition or from a buffer. Every part of it was checked when it was made.
#[derive(Clone, Copy)]
pub struct MessageRef<'a> {
    pub(super) partition: u32,
    pub(super) offset: Offset,
    pub(super) envelope: Envelope,
    pub(super) bytes: &'a [u8],
}

impl<'a> MessageRef<'a> {
    /// Checks a record's bytes and the tag beside them. They may be anything.
    ///
    /// # Errors
    /// [`Corrupt`] with [`Check::Envelope`] if what stands before the payload does not parse.
    #[inline]
    pub fn parse(partition: u32, offset: Offset, tag: u8, bytes: &'a [u8]) -> Result<Self, Corrupt> {
        match Envelope::parse(tag, bytes) {
            Some(envelope) => Ok(Self { partition, offset, envelope, bytes }),
            None => Err(Corrupt::new(Check::Envelope, offset.value())),
        }
    }

    /// The tag, the envelope as it stands in memory, and the payload.
    pub(crate) fn split(&self) -> (u8, &'a [u8], &'a [u8]) {
        let payload = self.payload();
        let (envelope, _) = self.bytes.split_at_checked(self.envelope.start()).unwrap_or_default();
        (self.envelope.tag(), envelope, payload)
    }

    /// The partition it came from.
    #[must_use]
    pub const fn partition(&self) -> u32 {
        self.partition
    }

    /// Its number in the partition.
    #[must_use]
    pub const fn offset(&self) -> Offset {
        self.offset
    }

    /// When it was sent, by the sender's clock.
    #[must_use]
    pub const fn timestamp(&self) -> Option<Ticks> {
        self.envelope.timestamp(self.bytes)
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> Option<&'a [u8]> {
        self.envelope.key(self.bytes)
    }

    /// Its headers, in the order they were given.
    #[must_use]
    pub fn headers(&self) -> Headers<'a> {
        Headers { rest: self.envelope.headers(self.bytes) }
    }

    /// The value of the first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers().find_map(|(found, value)| (found == name).then_some(value))
    }

    /// Who sent it, if the sender said so.
    #[must_use]
    pub const fn producer(&self) -> Option<ProducerBlock> {
        self.envelope.producer(self.bytes)
    }

    /// What was sent.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.envelope.payload(self.bytes)
    }
}

// The payload may be long, and none of a log's business.
impl fmt::Debug for MessageRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageRef")
            .field("partition", &self.partition)
            .field("offset", &self.offset)
            .field("payload_len", &self.payload().len())
            .finish_non_exhaustive()
    }
}

/// The headers of a message: pairs of name and value.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (header, rest) = take_header(self.rest)?;
        self.rest = rest;
        Some(header)
    }
}
