//! What is wrong with a record that is to be sent.

use super::layout::{MAX_ENVELOPE, MAX_HEADER_VALUE, MAX_HEADERS, MAX_KEY};
use crate::error::NameError;
use core::fmt;

/// Why a record cannot be sent as it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum MessageError {
    /// Key, headers and the rest of the envelope are too large together.
    Envelope {
        /// Bytes they take.
        len: usize,
    },
    /// A header's name is none.
    HeaderName {
        /// Which header, from 0.
        at: usize,
        /// What is wrong with it.
        error: NameError,
    },
    /// A header's value is too long.
    HeaderValue {
        /// Which header, from 0.
        at: usize,
        /// Bytes it has.
        len: usize,
    },
    /// Too many headers.
    Headers {
        /// How many.
        count: usize,
    },
    /// The key is too long.
    Key {
        /// Bytes it has.
        len: usize,
    },
}

impl core::error::Error for MessageError {}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Envelope { len } => write!(
                f,
                "key and headers take {len} bytes together, {MAX_ENVELOPE} are possible: move some of it into the payload"
            ),
            Self::HeaderName { at, error } => write!(f, "the name of header {at} is refused: {error}"),
            Self::HeaderValue { at, len } => write!(
                f,
                "the value of header {at} has {len} bytes, {MAX_HEADER_VALUE} are possible: move it into the payload"
            ),
            Self::Headers { count } => {
                write!(f, "the record has {count} headers, {MAX_HEADERS} are possible: join some")
            }
            Self::Key { len } => write!(f, "the key has {len} bytes, {MAX_KEY} are possible: use a hash of it"),
        }
    }
}
