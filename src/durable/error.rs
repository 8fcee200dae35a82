//! What can go wrong with a journal, by what was asked of it.

use super::store::{MAX_WRITE_UNIT, MediumError};
use crate::error::NameError;
use crate::types::Offset;
use core::fmt;

/// A stretch of one segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Extent {
    /// Which segment of the medium.
    pub segment: u32,
    /// Its first byte.
    pub from: u32,
    /// The byte behind its last one.
    pub to: u32,
}

impl Extent {
    /// The bytes of `segment` from `from` up to `to`, exclusive.
    #[must_use]
    pub const fn new(segment: u32, from: u32, to: u32) -> Self {
        Self { segment, from, to }
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {} to {} of segment {}", self.from, self.to, self.segment)
    }
}

/// Why a medium cannot become, or is not, a journal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum OpenError {
    /// The journal on the medium was made with another shape of it.
    Geometry,
    /// The medium cannot be read or written.
    Medium(MediumError),
    /// There is no journal on the medium.
    None,
    /// The journal is another one than was asked for.
    Foreign {
        /// The number of the one that is there.
        id: u64,
    },
    /// The journal has more partitions than there is room for here.
    Partitions {
        /// How many it has.
        wanted: usize,
        /// How many there is room for.
        max: usize,
    },
    /// The journal has more cursors than there is room for here.
    Cursors {
        /// How many it has.
        wanted: usize,
        /// How many there is room for.
        max: usize,
    },
    /// Fewer than four segments.
    Segments {
        /// How many there are.
        segments: u32,
    },
    /// A segment too small for its header and a record.
    SegmentBytes {
        /// Its bytes.
        bytes: u32,
        /// How many it needs at least.
        least: u32,
    },
    /// A write unit that is no power of two, is too large, or does not divide the segment.
    WriteUnit {
        /// The one there is.
        unit: u32,
    },
    /// The journal was written in a format this version does not know.
    Version {
        /// The format's number.
        found: u8,
    },
}

impl core::error::Error for OpenError {}

impl From<MediumError> for OpenError {
    fn from(inner: MediumError) -> Self {
        Self::Medium(inner)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Geometry => f.write_str(
                "the journal was made with other segments or another write unit: give the store the ones it was made with",
            ),
            Self::Medium(inner) => write!(f, "the journal's medium: {inner}"),
            Self::None => f.write_str("there is no journal on this medium: format it, if nothing on it is to be kept"),
            Self::Foreign { id } => write!(f, "the medium holds journal {id:#018x}, not the one asked for: look at what is plugged in"),
            Self::Partitions { wanted, max } => {
                write!(f, "the journal has {wanted} partitions, and there is room for {max}: raise the constant")
            }
            Self::Cursors { wanted, max } => {
                write!(f, "the journal has {wanted} cursors, and there is room for {max}: raise the constant")
            }
            Self::Segments { segments } => write!(f, "{segments} segments are too few: a journal needs at least 4"),
            Self::SegmentBytes { bytes, least } => {
                write!(f, "segments of {bytes} bytes are too small: these tables need {least} at least")
            }
            Self::WriteUnit { unit } => write!(
                f,
                "a write unit of {unit} bytes: it must be a power of two, at most {MAX_WRITE_UNIT}, and divide the segment"
            ),
            Self::Version { found } => {
                write!(f, "the journal is of format {found}, which this version does not know: use a newer one")
            }
        }
    }
}

/// Why a record, or a change of a cursor, was not stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StoreError {
    /// The journal is damaged, and is only read until it is salvaged.
    Damaged {
        /// Where.
        at: Extent,
    },
    /// All segments hold records that are still needed.
    Full,
    /// The medium failed. What was under way may be stored or not: open the journal again to know.
    Medium(MediumError),
    /// There is no such partition.
    NoSuchPartition {
        /// The one asked for.
        partition: u8,
        /// How many there are.
        partitions: usize,
    },
    /// There is no such cursor.
    NoSuchCursor,
    /// The table of cursors is full.
    Cursors {
        /// How many it takes.
        max: usize,
    },
    /// A position before the one there is, or behind the end of the log.
    OutOfRange {
        /// The lowest that is taken.
        from: Offset,
        /// The highest.
        to: Offset,
    },
    /// The record, or the batch, is larger than a segment takes.
    TooLarge {
        /// Its bytes.
        len: usize,
        /// The most.
        max: usize,
    },
    /// All numbers are used up.
    Exhausted,
    /// The name is none.
    Name(NameError),
}

impl core::error::Error for StoreError {}

impl From<MediumError> for StoreError {
    fn from(inner: MediumError) -> Self {
        Self::Medium(inner)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { at } => {
                write!(f, "the journal is damaged at {at}: read what is left, then salvage it to write on")
            }
            Self::Full => {
                f.write_str("the journal is full of records that are still needed: commit what was processed, or trim")
            }
            Self::Medium(inner) => write!(f, "the journal's medium: {inner}"),
            Self::NoSuchPartition { partition, partitions } => {
                write!(f, "there is no partition {partition}: the journal has {partitions}, numbered from 0")
            }
            Self::NoSuchCursor => {
                f.write_str("there is no such cursor: it was removed, or is another journal's; join it again")
            }
            Self::Cursors { max } => write!(f, "all {max} cursors are in use: remove one, or raise the constant"),
            Self::OutOfRange { from, to } => write!(f, "only offsets {from} to {to} can be taken here"),
            Self::TooLarge { len, max } => {
                write!(f, "{len} bytes are more than the {max} that a segment takes: split it, or use larger segments")
            }
            Self::Name(inner) => inner.fmt(f),
            Self::Exhausted => f.write_str("the journal's numbers are used up: format a new one"),
        }
    }
}

/// Why a record could not be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FetchError {
    /// The buffer is smaller than the record, which is not passed over.
    BufferTooSmall {
        /// The record's bytes.
        len: usize,
    },
    /// The record, or what follows it, is damaged.
    Damaged {
        /// Where.
        at: Extent,
        /// The first offset that cannot be read.
        offset: Offset,
    },
    /// Records were given up before they were read. The cursor stands at the oldest one there is.
    Trimmed {
        /// How many.
        lost: u64,
    },
    /// The medium failed.
    Medium(MediumError),
    /// There is no such cursor.
    NoSuchCursor,
}

impl core::error::Error for FetchError {}

impl From<MediumError> for FetchError {
    fn from(inner: MediumError) -> Self {
        Self::Medium(inner)
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BufferTooSmall { len } => write!(f, "the record has {len} bytes: read it again with a larger buffer"),
            Self::Damaged { at, offset } => {
                write!(f, "offset {offset} and perhaps more cannot be read: {at} are damaged; pass them by skip_damage")
            }
            Self::Trimmed { lost } => write!(f, "{lost} records were given up before they were read: go on from here"),
            Self::Medium(inner) => write!(f, "the journal's medium: {inner}"),
            Self::NoSuchCursor => {
                f.write_str("there is no such cursor: it was removed, or is another journal's; join it again")
            }
        }
    }
}
