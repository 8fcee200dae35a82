//! What can go wrong with dead letters.

use crate::consumer::PollError;
use crate::error::NameError;
use crate::name::MAX_TOPIC_NAME;
use crate::producer::SendError;
use crate::topic::TopicError;
use core::fmt;

/// Why a router or a tool of the dead letter queue cannot go on, or what holds a record up. Nothing is lost by any of
/// them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DlqError {
    /// A record was written to the dead letter queue in vain. It is parked, and tried again by each poll.
    Dlq(SendError),
    /// The dead letter queue has no room. The record is parked: it stays in the source, held by the group's place, and is
    /// tried again by each poll.
    DlqFull {
        /// Which partition of the queue.
        partition: u32,
    },
    /// The letters cannot be read.
    Letters(PollError),
    /// The group's name is none.
    Group(NameError),
    /// No such name can have a dead letter queue.
    Name(NameError),
    /// The topic of this name does not say that it takes dead letters.
    NotMarked,
    /// The source takes dead letters itself: there is no dead letter queue of a dead letter queue.
    OfDeadLetters,
    /// The source gives its oldest records up when it is full, so nothing in it can be held until it has been dealt with.
    Overwrites,
    /// The source cannot be read.
    Source(PollError),
    /// The receipt is not that of the last delivery of a record that is still out.
    Stale,
    /// As many records have failed, or are out, as the router has room to count.
    TableFull {
        /// How many it has room for.
        limit: usize,
    },
    /// A topic cannot be used.
    Topic(TopicError),
    /// A letter could not be sent back to its source. It is where it was.
    Redrive(SendError),
}

impl core::error::Error for DlqError {}

impl fmt::Display for DlqError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dlq(inner) => write!(f, "a dead letter was not written, and its record is parked: {inner}"),
            Self::DlqFull { partition } => write!(
                f,
                "partition {partition} of the dead letter queue is full, and the record is parked: redrive or purge letters, or make the queue with more room"
            ),
            Self::Group(inner) => {
                write!(f, "not a group's name (up to 63 characters, not beginning with a dot): {inner}")
            }
            Self::Letters(inner) => write!(f, "the dead letters cannot be read: {inner}"),
            Self::Name(inner) => write!(
                f,
                "no topic of this name can have a dead letter queue (with \".dlq\" it has up to {MAX_TOPIC_NAME} characters): {inner}"
            ),
            Self::NotMarked => f.write_str(
                "the topic does not take dead letters: make it with TopicConfig::with_dead_letters, so that nobody's records are moved where they are not wanted",
            ),
            Self::OfDeadLetters => f.write_str(
                "the source takes dead letters itself: consume it with a plain consumer, or redrive its letters",
            ),
            Self::Overwrites => f.write_str(
                "the source drops its oldest records, so none can be kept until it is dealt with: choose another full policy",
            ),
            Self::Redrive(inner) => write!(f, "a letter was not sent back, and is where it was: {inner}"),
            Self::Source(inner) => write!(f, "{inner}"),
            Self::Stale => f.write_str(
                "the receipt is out of date: the record was settled, or delivered again, since; settle it by the receipt of its last delivery",
            ),
            Self::TableFull { limit } => write!(
                f,
                "{limit} records have failed or are out, and there is no room to count another one: settle some, or make the router with a larger table"
            ),
            Self::Topic(inner) => write!(f, "{inner}"),
        }
    }
}

impl From<NameError> for DlqError {
    fn from(inner: NameError) -> Self {
        Self::Name(inner)
    }
}

impl From<TopicError> for DlqError {
    fn from(inner: TopicError) -> Self {
        Self::Topic(inner)
    }
}

/// Why a record of a dead letter queue is no dead letter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LetterError {
    /// It has a cause that this version does not know.
    Cause {
        /// Its code.
        found: u8,
    },
    /// Its checksum does not hold.
    Checksum,
    /// Bits are set that have no meaning.
    Flags,
    /// It is a letter of another topic.
    Foreign,
    /// Its lengths contradict each other or what is there.
    Length,
    /// There is no control record.
    NotALetter,
    /// A name in it is none, or its reason is not text.
    Text,
    /// Its control record has another version.
    Version {
        /// Found.
        found: u8,
        /// Known to this library.
        known: u8,
    },
}

impl core::error::Error for LetterError {}

impl fmt::Display for LetterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cause { found } => {
                write!(f, "the letter has cause {found}, which this version does not know: use a newer one")
            }
            Self::Checksum => f.write_str("the letter's checksum does not hold, it is damaged: redrive the others, and purge_all"),
            Self::Flags => {
                f.write_str("the letter has flags that have no meaning, it is damaged or of a newer version: use that one, or redrive the others and purge_all")
            }
            Self::Foreign => f.write_str("the letter is of another topic, and nobody moves it there from here: send its payload there, and purge_all"),
            Self::Length => f.write_str("the letter's lengths contradict each other, it is damaged: redrive the others, and purge_all"),
            Self::NotALetter => f.write_str("the record is no dead letter, somebody else sent it to this topic: redrive the others, and purge_all"),
            Self::Text => f.write_str("a name in the letter is none, or its reason is not UTF-8, it is damaged: redrive the others, and purge_all"),
            Self::Version { found, known } => {
                write!(f, "the letter has format version {found}, this library reads version {known}: use a newer one")
            }
        }
    }
}
