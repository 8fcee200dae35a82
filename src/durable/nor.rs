//! NOR flash as a medium.

use super::store::{Geometry, MAX_WRITE_UNIT, MediumError, Store};
use core::fmt;
use core::ops::Range;
use embedded_storage::nor_flash::{NorFlash, NorFlashError, NorFlashErrorKind};

/// The largest read unit of a driver, in bytes.
const MAX_READ_UNIT: usize = 256;
/// A read unit up to this size is read by way of a buffer of this size.
const SMALL_READ_UNIT: usize = 16;
/// The least write unit: a journal's words.
const LEAST_WRITE_UNIT: u32 = 4;

/// A range of NOR flash, in segments of whole erase units.
///
/// It needs no more than `NorFlash` of its driver: each write unit is programmed at most once between two erasures, also with
/// the bytes that an erasure leaves. So flash with error correction will do, where a word that looks erased may not be
/// programmable any more.
///
/// # The driver
/// Its sizes are checked when this type is used with it, by the compiler:
/// - `WRITE_SIZE`: a power of two, at most 256. The unit of the medium is this, or 4 if that is smaller.
/// - `READ_SIZE`: a power of two, at most 256. Any place and length can be read all the same.
/// - `ERASE_SIZE`: a multiple of both, and of 4.
///
/// What the driver answers is told by its kind: addresses as [`MediumError::Unaligned`] and [`MediumError::OutOfBounds`]; any
/// other error of a read as [`MediumError::Unreadable`], since that is how an uncorrectable word shows itself (a driver must
/// turn the fault it raises into an error); any other error of a write or an erasure as [`MediumError::Failed`].
///
/// Writes must be on the medium when the driver's `write` returns: [`sync`](Store::sync) has nothing to do.
///
/// # Memory
/// The driver and 12 bytes. Nothing is allocated. Reading at odd places takes a buffer on the stack: none if `READ_SIZE` is
/// 1, 16 bytes up to 16, else 256.
///
/// # Example
/// ```
/// use embedded_storage::nor_flash::{
///     ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
/// };
/// use fabric_mq::durable::{NorStore, Store};
///
/// /// Sixteen sectors of 512 bytes, in memory.
/// struct Chip([u8; 8192]);
///
/// impl ErrorType for Chip {
///     type Error = NorFlashErrorKind;
/// }
/// impl ReadNorFlash for Chip {
///     const READ_SIZE: usize = 1;
///     fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
///         check_read(self, offset, bytes.len())?;
///         bytes.copy_from_slice(&self.0[offset as usize..][..bytes.len()]);
///         Ok(())
///     }
///     fn capacity(&self) -> usize {
///         self.0.len()
///     }
/// }
/// impl NorFlash for Chip {
///     const WRITE_SIZE: usize = 8;
///     const ERASE_SIZE: usize = 512;
///     fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
///         check_erase(self, from, to)?;
///         self.0[from as usize..to as usize].fill(0xff);
///         Ok(())
///     }
///     fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
///         check_write(self, offset, bytes.len())?;
///         for (cell, byte) in self.0[offset as usize..].iter_mut().zip(bytes) {
///             *cell &= byte;
///         }
///         Ok(())
///     }
/// }
///
/// // The first two sectors are somebody else's; a segment is two sectors.
/// let mut store = NorStore::new(Chip([0; 8192]), 1024..8192, 2)?;
/// assert_eq!((store.geometry().segments, store.geometry().segment_bytes), (7, 1024));
/// assert_eq!(store.geometry().write_unit, 8);
/// store.erase(3)?;
/// store.program(3, 0, b"sixteen bytes...")?;
/// store.sync()?;
/// let mut word = [0; 5];
/// store.read(3, 8, &mut word)?;
/// assert_eq!(&word, b"bytes");
/// # Ok::<(), fabric_mq::durable::MediumError>(())
/// ```
pub struct NorStore<F> {
    flash: F,
    from: u32,
    segments: u32,
    segment_bytes: u32,
}

/// A size of the driver's as the number that addresses are.
#[allow(clippy::cast_possible_truncation, reason = "compared with what it was")]
const fn size(bytes: usize) -> u32 {
    assert!(bytes as u32 as usize == bytes, "a size beyond 32 bits");
    bytes as u32
}

/// What an error of a write or an erasure means.
fn refused(error: &impl NorFlashError, other: MediumError) -> MediumError {
    match error.kind() {
        NorFlashErrorKind::NotAligned => MediumError::Unaligned,
        NorFlashErrorKind::OutOfBounds => MediumError::OutOfBounds,
        _ => other,
    }
}

impl<F: NorFlash> NorStore<F> {
    const WRITE: u32 = {
        let unit = size(F::WRITE_SIZE);
        assert!(unit.is_power_of_two() && unit <= MAX_WRITE_UNIT, "WRITE_SIZE: a power of two, at most 256");
        unit
    };
    const READ: u32 = {
        let unit = size(F::READ_SIZE);
        assert!(unit.is_power_of_two() && F::READ_SIZE <= MAX_READ_UNIT, "READ_SIZE: a power of two, at most 256");
        unit
    };
    /// What the medium's unit is.
    const UNIT: u32 = if Self::WRITE < LEAST_WRITE_UNIT { LEAST_WRITE_UNIT } else { Self::WRITE };
    const ERASE: u32 = {
        let unit = size(F::ERASE_SIZE);
        assert!(
            unit != 0 && unit.is_multiple_of(Self::UNIT) && unit.is_multiple_of(Self::READ),
            "ERASE_SIZE: a multiple of READ_SIZE, WRITE_SIZE and 4"
        );
        unit
    };

    /// The bytes `range` of a flash, a segment being `erase_units` erase units. What is left over at the end is not used.
    /// Reads and writes nothing.
    ///
    /// # Errors
    /// [`MediumError::Unaligned`] if the range does not start at an erase unit, [`MediumError::OutOfBounds`] if it does not lie
    /// within the flash, or if it, or `erase_units`, is too small for one segment.
    pub fn new(flash: F, range: Range<u32>, erase_units: u32) -> Result<Self, MediumError> {
        if !range.start.is_multiple_of(Self::ERASE) {
            return Err(MediumError::Unaligned);
        }
        if usize::try_from(range.end).map_or(true, |end| end > flash.capacity()) {
            return Err(MediumError::OutOfBounds);
        }
        let shape = || {
            let segment_bytes = Self::ERASE.checked_mul(erase_units)?;
            let segments = range.end.checked_sub(range.start)?.checked_div(segment_bytes)?;
            (segments != 0).then_some((segments, segment_bytes))
        };
        let (segments, segment_bytes) = shape().ok_or(MediumError::OutOfBounds)?;
        Ok(Self { flash, from: range.start, segments, segment_bytes })
    }

    /// The whole flash, a segment being one erase unit.
    ///
    /// # Errors
    /// [`MediumError::OutOfBounds`] if it has no bytes, or more than 32 bits can address.
    pub fn whole(flash: F) -> Result<Self, MediumError> {
        let end = u32::try_from(flash.capacity()).map_err(|_| MediumError::OutOfBounds)?;
        Self::new(flash, 0..end, 1)
    }

    /// Gives the flash back.
    pub fn into_flash(self) -> F {
        self.flash
    }

    /// The flash, to look at.
    pub const fn flash(&self) -> &F {
        &self.flash
    }

    /// The flash. Whoever writes to the range by it spoils what is stored there.
    pub const fn flash_mut(&mut self) -> &mut F {
        &mut self.flash
    }

    /// Where in the flash these bytes of a segment are.
    fn address(&self, segment: u32, at: u32, len: usize) -> Result<u32, MediumError> {
        let end = u32::try_from(len).ok().and_then(|len| at.checked_add(len));
        if segment >= self.segments || end.is_none_or(|end| end > self.segment_bytes) {
            return Err(MediumError::OutOfBounds);
        }
        // Within the range, which lies below 2^32.
        Ok(self.from.wrapping_add(segment.wrapping_mul(self.segment_bytes)).wrapping_add(at))
    }

    fn fetch(&mut self, address: u32, into: &mut [u8]) -> Result<(), MediumError> {
        self.flash.read(address, into).map_err(|error| refused(&error, MediumError::Unreadable))
    }

    /// Reads whole read units, of which those at the ends go through a buffer of `N` bytes, at least one unit.
    fn fetch_units<const N: usize>(&mut self, mut address: u32, mut into: &mut [u8]) -> Result<(), MediumError> {
        let mut buffer = [0; N];
        let buffer = buffer.get_mut(..F::READ_SIZE).unwrap_or_default();
        let mask = Self::READ.wrapping_sub(1);
        while !into.is_empty() {
            let ahead = usize::try_from(address & mask).unwrap_or(0);
            // Whole units, if there are any from here on; else what is wanted of this one.
            let whole = into.len() & !F::READ_SIZE.wrapping_sub(1);
            let len = if ahead == 0 && whole != 0 { whole } else { into.len().min(F::READ_SIZE.wrapping_sub(ahead)) };
            let (part, rest) = into.split_at_mut_checked(len).ok_or(MediumError::OutOfBounds)?;
            if ahead == 0 && whole != 0 {
                self.fetch(address, part)?;
            } else {
                self.fetch(address & !mask, buffer)?;
                let wanted = buffer.get(ahead..).and_then(|from| from.get(..len)).ok_or(MediumError::OutOfBounds)?;
                part.copy_from_slice(wanted);
            }
            into = rest;
            address = address.wrapping_add(u32::try_from(len).map_err(|_| MediumError::OutOfBounds)?);
        }
        Ok(())
    }
}

impl<F: NorFlash> Store for NorStore<F> {
    fn geometry(&self) -> Geometry {
        Geometry::flash(self.segments, self.segment_bytes, Self::UNIT)
    }

    fn read(&mut self, segment: u32, at: u32, into: &mut [u8]) -> Result<(), MediumError> {
        let address = self.address(segment, at, into.len())?;
        if into.is_empty() {
            Ok(())
        } else if F::READ_SIZE == 1 {
            self.fetch(address, into)
        } else if F::READ_SIZE <= SMALL_READ_UNIT {
            self.fetch_units::<SMALL_READ_UNIT>(address, into)
        } else {
            self.fetch_units::<MAX_READ_UNIT>(address, into)
        }
    }

    fn program(&mut self, segment: u32, at: u32, bytes: &[u8]) -> Result<(), MediumError> {
        let address = self.address(segment, at, bytes.len())?;
        let len = u32::try_from(bytes.len()).map_err(|_| MediumError::OutOfBounds)?;
        if !at.is_multiple_of(Self::UNIT) || !len.is_multiple_of(Self::UNIT) {
            return Err(MediumError::Unaligned);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.flash.write(address, bytes).map_err(|error| refused(&error, MediumError::Failed))
    }

    fn erase(&mut self, segment: u32) -> Result<(), MediumError> {
        let from = self.address(segment, 0, 0)?;
        let to = from.wrapping_add(self.segment_bytes);
        self.flash.erase(from, to).map_err(|error| refused(&error, MediumError::Failed))
    }

    fn sync(&mut self) -> Result<(), MediumError> {
        Ok(())
    }
}

impl<F> fmt::Debug for NorStore<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NorStore")
            .field("from", &self.from)
            .field("segments", &self.segments)
            .field("segment_bytes", &self.segment_bytes)
            .finish_non_exhaustive()
    }
}
