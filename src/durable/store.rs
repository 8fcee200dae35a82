//! What the journal needs of a medium.

use core::fmt;

/// The largest write unit of a medium, in bytes.
pub const MAX_WRITE_UNIT: u32 = 256;

/// A medium: segments of one size, each erased as a whole and then programmed from its start to its end.
///
/// The journal promises the medium that
/// - what it programs starts and ends at a multiple of [`Geometry::write_unit`], and lies within one segment;
/// - no write unit is programmed twice between two erasures, unless the medium is [`Geometry::rewritable`];
/// - it programs a segment in rising order (but for its first 8 bytes, which come behind the rest of its header if the medium is
///   rewritable), and erases it right before it uses it again.
///
/// The medium promises the journal that
/// - what was programmed, or erased, before [`sync`](Self::sync) returned `Ok` is there after a power cut;
/// - an operation that a power cut met leaves anything in the units it was told of, and nothing else changed: a cut
///   `program` in the units it names, a cut `erase` in its segment. On a rewritable medium, what was not synced is there or
///   is not, in stretches of at least 512 bytes aligned to their size, in any order;
/// - a unit that cannot be read, such as one with an uncorrectable error, is told as [`MediumError::Unreadable`], and never
///   as other bytes than those programmed.
///
/// Nothing here need be quick to return, and nothing is called from an interrupt.
pub trait Store {
    /// Its shape. It never changes while the store is in use.
    fn geometry(&self) -> Geometry;

    /// Reads `into.len()` bytes of a segment from `at` on. Any place, any length within the segment.
    ///
    /// # Errors
    /// [`MediumError`]; the bytes of `into` are worth nothing then.
    fn read(&mut self, segment: u32, at: u32, into: &mut [u8]) -> Result<(), MediumError>;

    /// Programs bytes of a segment from `at` on. A medium may keep them back until [`sync`](Self::sync); reading answers
    /// them all the same.
    ///
    /// # Errors
    /// [`MediumError`]; what became of the units is unknown then.
    fn program(&mut self, segment: u32, at: u32, bytes: &[u8]) -> Result<(), MediumError>;

    /// Makes a segment ready to be programmed again. What lay in it may still be read afterwards on a rewritable medium.
    ///
    /// # Errors
    /// [`MediumError`]; what became of the segment is unknown then.
    fn erase(&mut self, segment: u32) -> Result<(), MediumError>;

    /// Waits until everything that was programmed and erased, by whoever had the medium before too, is on it.
    ///
    /// # Errors
    /// [`MediumError`]; nothing programmed since the last success may be taken for stored, ever: the journal stops.
    fn sync(&mut self) -> Result<(), MediumError>;

    /// A number that is never the same twice for a rewritable medium, so that what an earlier run left behind cannot pass
    /// for what this one writes. A medium that is erased before it is used need not care.
    fn nonce(&mut self) -> u64 {
        0
    }
}

/// A medium that can wait for what was programmed while it goes on being used: what `SharedJournal` needs, so that whoever
/// appends does not wait for a sync that is under way.
pub trait SplitSync: Store {
    /// What is waited for, without the medium.
    type Pending: Send;

    /// Sends everything that was programmed and erased so far on its way.
    ///
    /// # Errors
    /// As of [`sync`](Store::sync).
    fn begin_sync(&mut self) -> Result<Self::Pending, MediumError>;

    /// Waits until that is on the medium. Called without the medium, on any thread.
    ///
    /// # Errors
    /// As of [`sync`](Store::sync).
    fn wait(pending: &Self::Pending) -> Result<(), MediumError>;

    /// Notes what waiting has answered. One is under way at a time.
    ///
    /// # Errors
    /// That of `done`: from then on nothing is programmed any more.
    fn end_sync(&mut self, pending: Self::Pending, done: Result<(), MediumError>) -> Result<(), MediumError>;
}

impl<S: Store + ?Sized> Store for &mut S {
    fn geometry(&self) -> Geometry {
        (**self).geometry()
    }

    fn read(&mut self, segment: u32, at: u32, into: &mut [u8]) -> Result<(), MediumError> {
        (**self).read(segment, at, into)
    }

    fn program(&mut self, segment: u32, at: u32, bytes: &[u8]) -> Result<(), MediumError> {
        (**self).program(segment, at, bytes)
    }

    fn erase(&mut self, segment: u32) -> Result<(), MediumError> {
        (**self).erase(segment)
    }

    fn sync(&mut self) -> Result<(), MediumError> {
        (**self).sync()
    }

    fn nonce(&mut self) -> u64 {
        (**self).nonce()
    }
}

/// The shape of a medium.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Geometry {
    /// How many segments there are.
    pub segments: u32,
    /// Bytes of a segment.
    pub segment_bytes: u32,
    /// The least that can be programmed, in bytes: a power of two, at most [`MAX_WRITE_UNIT`].
    pub write_unit: u32,
    /// Whether bytes may be programmed again without an erasure: files, not flash.
    pub rewritable: bool,
}

impl Geometry {
    /// The shape of flash: nothing is programmed twice without an erasure.
    #[must_use]
    pub const fn flash(segments: u32, segment_bytes: u32, write_unit: u32) -> Self {
        Self { segments, segment_bytes, write_unit, rewritable: false }
    }

    /// The shape of files, whose bytes are simply written.
    #[must_use]
    pub const fn files(segments: u32, segment_bytes: u32) -> Self {
        Self { segments, segment_bytes, write_unit: 4, rewritable: true }
    }
}

/// Why a medium did not do what it was asked to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum MediumError {
    /// The driver says no more than that it failed.
    Failed,
    /// The operating system's error number.
    Io(i32),
    /// The store is in use by somebody else.
    Locked,
    /// The medium has no room for another segment.
    NoSpace,
    /// An address beyond the medium, or beyond the segment.
    OutOfBounds,
    /// An earlier write or sync failed: what is on the medium is not known, and nothing more is written.
    Poisoned,
    /// An address that is not a multiple of what the medium takes.
    Unaligned,
    /// Bytes that the medium cannot give back: an uncorrectable error, or a unit whose programming was cut.
    Unreadable,
}

impl core::error::Error for MediumError {}

impl fmt::Display for MediumError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed => f.write_str("the medium's driver failed: see what it logged"),
            Self::Io(code) => write!(f, "the operating system refused: error {code}"),
            Self::Locked => f.write_str("the store is open elsewhere: one at a time may write it; close the other one"),
            Self::NoSpace => f.write_str("no space is left for another segment: free some, or give the store fewer segments"),
            Self::OutOfBounds => f.write_str("an address beyond the medium: its size is not what the store was made for"),
            Self::Poisoned => f.write_str(
                "an earlier write or sync failed, so what is stored is not known: open the store again, which finds out",
            ),
            Self::Unaligned => {
                f.write_str("an address the medium does not take: its write unit is not what the store was made for")
            }
            Self::Unreadable => f.write_str("the medium cannot give these bytes back: go on behind them"),
        }
    }
}
