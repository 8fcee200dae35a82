//! What a reader hands out.

use crate::types::Offset;

/// A record where it lies in the ring. Its bytes stay until the reader is asked for the next one.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    pub(crate) offset: u64,
    pub(crate) tag: u8,
    pub(crate) payload: &'a [u8],
}

impl<'a> RecordRef<'a> {
    /// The record's number.
    #[inline]
    #[must_use]
    pub const fn offset(&self) -> Offset {
        Offset::new(self.offset)
    }

    /// The byte that the writer put beside the payload.
    #[inline]
    #[must_use]
    pub const fn tag(&self) -> u8 {
        self.tag
    }

    /// The bytes.
    #[inline]
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// A record that was copied to the caller's buffer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Copied {
    pub(crate) offset: u64,
    pub(crate) tag: u8,
    pub(crate) len: usize,
}

impl Copied {
    /// The record's number.
    #[inline]
    #[must_use]
    pub const fn offset(&self) -> Offset {
        Offset::new(self.offset)
    }

    /// The byte that the writer put beside the payload.
    #[inline]
    #[must_use]
    pub const fn tag(&self) -> u8 {
        self.tag
    }

    /// How many bytes of the buffer it takes.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}
