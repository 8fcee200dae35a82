//! Where a topic is: `fabric-mq://pool/topic` or `fabric-mq://pool/topic/partition`.
//!
//! There is one way to write each: no escapes, no empty parts, no slash at the end, partition numbers in decimal without
//! leading zeros.

use crate::error::NameError;
use crate::name::{self, MAX_TOPIC_NAME};
use core::fmt;

const SCHEME: &str = "fabric-mq://";

/// A parsed address, borrowed from its text. Prints as that text again.
///
/// ```
/// use fabric_mq::uri::Uri;
///
/// let uri = Uri::parse("fabric-mq://rack-7/events/3")?;
/// assert_eq!((uri.pool(), uri.topic(), uri.partition()), ("rack-7", "events", Some(3)));
/// assert_eq!(Uri::new("rack-7", "events")?.with_partition(3), uri);
/// assert_eq!(uri.to_string(), "fabric-mq://rack-7/events/3");
/// # Ok::<(), fabric_mq::uri::UriError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Uri<'a> {
    pool: &'a str,
    topic: &'a str,
    partition: Option<u32>,
}

impl<'a> Uri<'a> {
    /// The address of a topic in a pool. Both names have 1 to 128 characters `A-Z a-z 0-9 . _ -`.
    ///
    /// # Errors
    /// [`UriError::Name`] if one of them is none.
    pub fn new(pool: &'a str, topic: &'a str) -> Result<Self, UriError> {
        let topic_at = SCHEME.len().saturating_add(pool.len()).saturating_add(1);
        for (name, at) in [(pool, SCHEME.len()), (topic, topic_at)] {
            name::check(name.as_bytes(), MAX_TOPIC_NAME).map_err(|error| UriError::Name { at, error })?;
        }
        Ok(Self { pool, topic, partition: None })
    }

    /// The address of a topic whose names were checked.
    pub(crate) const fn checked(pool: &'a str, topic: &'a str) -> Self {
        Self { pool, topic, partition: None }
    }

    /// The address of one of its partitions.
    #[must_use]
    pub const fn with_partition(self, partition: u32) -> Self {
        Self { partition: Some(partition), ..self }
    }

    /// Reads an address. Neither copies nor allocates.
    ///
    /// # Errors
    /// [`UriError`] says what is wrong, and at which byte.
    pub fn parse(text: &'a str) -> Result<Self, UriError> {
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| {
            let same = text.bytes().zip(SCHEME.bytes()).take_while(|(a, b)| a == b).count();
            UriError::Scheme { at: same }
        })?;
        let (pool, rest) = rest.split_once('/').ok_or(UriError::NoTopic { at: text.len() })?;
        let (topic, partition) = match rest.split_once('/') {
            Some((topic, partition)) => (topic, Some(partition)),
            None => (rest, None),
        };
        let uri = Self::new(pool, topic)?;
        let Some(digits) = partition else { return Ok(uri) };
        let at = text.len().saturating_sub(digits.len());
        // `parse` alone would also take a sign and leading zeros.
        let plain =
            digits.bytes().all(|digit| digit.is_ascii_digit()) && (digits.len() == 1 || !digits.starts_with('0'));
        let number = digits.parse().ok().filter(|_| plain).ok_or(UriError::Partition { at })?;
        Ok(uri.with_partition(number))
    }

    /// The pool's name.
    #[must_use]
    pub const fn pool(&self) -> &'a str {
        self.pool
    }

    /// The topic's name.
    #[must_use]
    pub const fn topic(&self) -> &'a str {
        self.topic
    }

    /// The partition's number, if it is the address of one.
    #[must_use]
    pub const fn partition(&self) -> Option<u32> {
        self.partition
    }
}

impl<'a> TryFrom<&'a str> for Uri<'a> {
    type Error = UriError;

    fn try_from(text: &'a str) -> Result<Self, UriError> {
        Self::parse(text)
    }
}

impl fmt::Display for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.pool, self.topic)?;
        match self.partition {
            Some(partition) => write!(f, "/{partition}"),
            None => Ok(()),
        }
    }
}

/// Why a text is no address. `at` is the byte, from 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum UriError {
    /// The pool's or the topic's name, which begins at this byte, is none.
    Name {
        /// Where the name begins.
        at: usize,
        /// What is wrong with it.
        error: NameError,
    },
    /// It ends before the topic.
    NoTopic {
        /// Where it ends.
        at: usize,
    },
    /// What stands behind the topic is no partition number.
    Partition {
        /// Where it begins.
        at: usize,
    },
    /// It does not begin with the scheme.
    Scheme {
        /// The first byte that differs.
        at: usize,
    },
}

impl core::error::Error for UriError {}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { at, error } => write!(f, "the name that begins at byte {at} is refused: {error}"),
            Self::NoTopic { at } => write!(f, "a topic is missing at byte {at}: write {SCHEME}pool/topic"),
            Self::Partition { at } => write!(
                f,
                "what begins at byte {at} is no partition number: write it in decimal, without leading zeros, below 2^32"
            ),
            Self::Scheme { at } => write!(f, "byte {at} differs from the scheme: begin with {SCHEME}"),
        }
    }
}
