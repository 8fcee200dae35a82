//! A dead letter where it lies, checked once.

use super::cause::Cause;
use super::control::{Control, FIXED, Texts, fingerprint};
use super::error::LetterError;
use super::redriven::Redriven;
use crate::message::{Headers, MessageRef, ProducerBlock};
use crate::types::{LeaseId, Offset, Ticks};
use core::{fmt, str};

/// A dead letter, borrowed. Every part of it was checked when it was made: a record of a dead letter queue may be
/// anything that anybody has sent there.
///
/// ```
/// use fabric_mq::Offset;
/// use fabric_mq::dlq::{DeadLetter, LetterError};
/// use fabric_mq::message::MessageRef;
///
/// let message = MessageRef::parse(0, Offset::new(7), 0, b"not a letter")?;
/// assert_eq!(DeadLetter::parse(message).unwrap_err(), LetterError::NotALetter);
/// # Ok::<(), fabric_mq::Corrupt>(())
/// ```
#[derive(Clone, Copy)]
pub struct DeadLetter<'a> {
    pub(super) message: MessageRef<'a>,
    pub(super) control: Control,
}

impl<'a> DeadLetter<'a> {
    /// Checks a record of a dead letter queue.
    ///
    /// # Errors
    /// [`LetterError`] says why it is no letter.
    pub fn parse(message: MessageRef<'a>) -> Result<Self, LetterError> {
        let (control, ..) = Control::parse(message.payload())?;
        Ok(Self { message, control })
    }

    /// The same from what a partition holds, if it is a letter of this topic.
    pub(super) fn of(partition: u32, offset: u64, tag: u8, bytes: &'a [u8], topic: &str) -> Result<Self, LetterError> {
        let message =
            MessageRef::parse(partition, Offset::new(offset), tag, bytes).map_err(|_| LetterError::NotALetter)?;
        let letter = Self::parse(message)?;
        if letter.source_topic() == topic { Ok(letter) } else { Err(LetterError::Foreign) }
    }

    /// The partition of the dead letter queue that it lies in.
    #[must_use]
    pub const fn partition(&self) -> u32 {
        self.message.partition()
    }

    /// Its number there. A letter that is kept while others behind it are taken out moves to the end, and gets a new one.
    #[must_use]
    pub const fn offset(&self) -> Offset {
        self.message.offset()
    }

    /// Why it is one.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        self.control.cause
    }

    /// What was said about the last failure.
    #[must_use]
    pub fn reason(&self) -> &'a str {
        self.texts().map_or("", |texts| texts.reason)
    }

    /// The topic that it came from.
    #[must_use]
    pub fn source_topic(&self) -> &'a str {
        self.texts().map_or("", |texts| texts.topic)
    }

    /// The partition that it came from.
    #[must_use]
    pub const fn source_partition(&self) -> u32 {
        self.control.partition
    }

    /// Its number there.
    #[must_use]
    pub const fn source_offset(&self) -> Offset {
        self.control.offset
    }

    /// The lease that the source partition lay in: a topic that was made anew has another one.
    #[must_use]
    pub const fn source_lease(&self) -> LeaseId {
        self.control.lease
    }

    /// The group that could not process it.
    #[must_use]
    pub fn group(&self) -> &'a str {
        self.texts().map_or("", |texts| texts.group)
    }

    /// How often it failed. 0 if it never came to that: it expired, or is damaged.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.control.attempts
    }

    /// When it failed first, or became a letter if it never failed.
    #[must_use]
    pub const fn first_failure(&self) -> Ticks {
        self.control.first
    }

    /// When it failed last, or became a letter if it never failed.
    #[must_use]
    pub const fn last_failure(&self) -> Ticks {
        self.control.last
    }

    /// When it became a letter.
    #[must_use]
    pub const fn died_at(&self) -> Ticks {
        self.control.died
    }

    /// How often it had been sent back before.
    #[must_use]
    pub const fn redrives(&self) -> u16 {
        self.control.redrives
    }

    /// Whether the record's envelope did not parse: then the letter has none, and the whole record for a payload.
    #[must_use]
    pub const fn is_damaged(&self) -> bool {
        self.control.damaged.is_some()
    }

    /// The record's own time.
    #[must_use]
    pub const fn timestamp(&self) -> Option<Ticks> {
        self.message.timestamp()
    }

    /// The record's key.
    #[must_use]
    pub fn key(&self) -> Option<&'a [u8]> {
        self.message.key()
    }

    /// The record's headers.
    #[must_use]
    pub fn headers(&self) -> Headers<'a> {
        self.message.headers()
    }

    /// The value of the record's first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.message.header(name)
    }

    /// Who sent the record, if the sender said so.
    #[must_use]
    pub const fn producer(&self) -> Option<ProducerBlock> {
        self.message.producer()
    }

    /// What the record carries.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        let all = self.message.payload();
        let texts = self
            .texts()
            .map_or(0, |texts| texts.topic.len().saturating_add(texts.group.len()).saturating_add(texts.reason.len()));
        all.get(FIXED.saturating_add(texts)..).unwrap_or_default()
    }

    /// Where the record was before it was ever sent back, by the mark of its last redrive.
    pub(super) fn origin(&self) -> (u32, Offset) {
        let mark = Redriven::of(&self.message).filter(|mark| mark.group == self.group());
        mark.map_or((self.control.partition, self.control.offset), |mark| (mark.partition, mark.offset))
    }

    /// The control record, to tell a letter from others.
    pub(super) fn control_bytes(&self) -> &'a [u8] {
        let all = self.message.payload();
        let end = all.len().saturating_sub(self.payload().len());
        all.get(..end).unwrap_or_default()
    }

    /// The number that the source record has by [`fingerprint`].
    pub(super) fn fingerprint(&self) -> u32 {
        let (tag, envelope, _) = self.message.split();
        fingerprint(self.control.damaged.unwrap_or(tag), envelope, self.payload())
    }

    /// The texts of the control record, which were checked.
    fn texts(&self) -> Option<Texts<'a>> {
        let (fixed, texts) = self.message.payload().split_first_chunk::<FIXED>()?;
        let cut = |bytes: &'a [u8], len: u8| {
            let (text, rest) = bytes.split_at_checked(usize::from(len))?;
            Some((str::from_utf8(text).ok()?, rest))
        };
        let [topic, group, reason] = Control::text_lengths(fixed);
        let (topic, texts) = cut(texts, topic)?;
        let (group, texts) = cut(texts, group)?;
        let (reason, _) = cut(texts, reason)?;
        Some(Texts { topic, group, reason })
    }
}

// The payload may be long, and none of a log's business.
impl fmt::Debug for DeadLetter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetter")
            .field("partition", &self.partition())
            .field("offset", &self.offset())
            .field("cause", &self.cause())
            .field("reason", &self.reason())
            .field("source", &(self.source_topic(), self.source_partition(), self.source_offset()))
            .field("group", &self.group())
            .field("attempts", &self.attempts())
            .field("payload_len", &self.payload().len())
            .finish_non_exhaustive()
    }
}
