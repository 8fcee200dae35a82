//! A message of one's own.

use super::layout::Envelope;
use super::view::{Headers, MessageRef, ProducerBlock};
use crate::error::Corrupt;
use crate::types::{Offset, Ticks};
use alloc::boxed::Box;
use core::fmt;

/// A message copied out of its partition: one allocation, none if it is empty.
#[derive(Clone)]
pub struct Message {
    partition: u32,
    offset: Offset,
    envelope: Envelope,
    bytes: Box<[u8]>,
}

impl Message {
    /// Checks a record's bytes as [`MessageRef::parse`] does, and keeps them.
    pub(crate) fn parse(partition: u32, offset: Offset, tag: u8, bytes: Box<[u8]>) -> Result<Self, Corrupt> {
        let envelope = MessageRef::parse(partition, offset, tag, &bytes)?.envelope;
        Ok(Self { partition, offset, envelope, bytes })
    }

    /// The same message, borrowed.
    #[must_use]
    pub fn view(&self) -> MessageRef<'_> {
        MessageRef { partition: self.partition, offset: self.offset, envelope: self.envelope, bytes: &self.bytes }
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
        self.envelope.timestamp(&self.bytes)
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.view().key()
    }

    /// Its headers, in the order they were given.
    #[must_use]
    pub fn headers(&self) -> Headers<'_> {
        self.view().headers()
    }

    /// The value of the first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.view().header(name)
    }

    /// Who sent it, if the sender said so.
    #[must_use]
    pub const fn producer(&self) -> Option<ProducerBlock> {
        self.envelope.producer(&self.bytes)
    }

    /// What was sent.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.envelope.payload(&self.bytes)
    }
}

impl From<MessageRef<'_>> for Message {
    fn from(message: MessageRef<'_>) -> Self {
        let MessageRef { partition, offset, envelope, bytes } = message;
        Self { partition, offset, envelope, bytes: bytes.into() }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("partition", &self.partition)
            .field("offset", &self.offset)
            .field("payload_len", &self.payload().len())
            .finish_non_exhaustive()
    }
}
