//! What shape a store of files has.

use crate::durable::store::MediumError;

/// What the lengths of segments are a multiple of, in bytes: what a disk writes as a whole.
const SECTOR: u32 = 512;

/// The shape of a [`FileStore`](super::FileStore), and the memory it may take.
///
/// ```
/// use fabric_mq::durable::FileConfig;
/// // At most 64 files of 1 MiB.
/// const CONFIG: FileConfig = FileConfig::new().with_segment_bytes(1 << 20).with_segments(64);
/// assert_eq!(CONFIG.buffer_bytes, 256 << 10);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct FileConfig {
    /// Bytes of a segment, which is a file: a multiple of 512. 8 MiB by default. A store has to be opened with the one that it
    /// was made with.
    pub segment_bytes: u32,
    /// How many segments there may be; they are made as they are needed. 1,024 by default.
    pub segments: u32,
    /// Bytes that are collected before they are written, unless they are synced before. 256 KiB by default; with 0, all is
    /// written at once.
    pub buffer_bytes: usize,
    /// Bytes that are read ahead, at most, by each of up to four readers at different places. 64 KiB by default; with 0, only
    /// what is asked for is read.
    pub window_bytes: usize,
}

impl FileConfig {
    /// At most 1,024 segments of 8 MiB.
    #[must_use]
    pub const fn new() -> Self {
        Self { segment_bytes: 8 << 20, segments: 1024, buffer_bytes: 256 << 10, window_bytes: 64 << 10 }
    }

    /// Segments of `bytes`, a multiple of 512.
    #[must_use]
    pub const fn with_segment_bytes(self, bytes: u32) -> Self {
        Self { segment_bytes: bytes, ..self }
    }

    /// At most `segments` segments.
    #[must_use]
    pub const fn with_segments(self, segments: u32) -> Self {
        Self { segments, ..self }
    }

    /// Collects up to `bytes` before they are written.
    #[must_use]
    pub const fn with_buffer_bytes(self, bytes: usize) -> Self {
        Self { buffer_bytes: bytes, ..self }
    }

    /// Reads up to `bytes` ahead.
    #[must_use]
    pub const fn with_window_bytes(self, bytes: usize) -> Self {
        Self { window_bytes: bytes, ..self }
    }

    pub(super) fn check(self) -> Result<Self, MediumError> {
        if self.segments == 0 || self.segment_bytes == 0 {
            Err(MediumError::OutOfBounds)
        } else if !self.segment_bytes.is_multiple_of(SECTOR) {
            Err(MediumError::Unaligned)
        } else {
            Ok(self)
        }
    }
}

impl Default for FileConfig {
    fn default() -> Self {
        Self::new()
    }
}
