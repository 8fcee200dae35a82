//! A medium in memory.

use super::store::{Geometry, MediumError, Store};

/// A medium of `BYTES` bytes in memory, for tests, for images of a device's flash, and for memory that keeps its content when
/// the power is lost. Holds to the rules of flash: no unit is programmed twice between two erasures.
#[derive(Clone, Debug)]
pub struct RamStore<const BYTES: usize> {
    bytes: [u8; BYTES],
    geometry: Geometry,
}

impl<const BYTES: usize> RamStore<BYTES> {
    /// Blank flash of `segments` segments. A shape larger than the memory is told when it is used.
    #[must_use]
    pub const fn flash(segments: u32, segment_bytes: u32, write_unit: u32) -> Self {
        Self { bytes: [0xff; BYTES], geometry: Geometry::flash(segments, segment_bytes, write_unit) }
    }

    /// An image of flash.
    #[must_use]
    pub const fn image(bytes: [u8; BYTES], geometry: Geometry) -> Self {
        Self { bytes, geometry }
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; BYTES] {
        &self.bytes
    }

    fn part(&mut self, segment: u32, at: u32, len: usize) -> Result<&mut [u8], MediumError> {
        let Geometry { segments, segment_bytes, .. } = self.geometry;
        let whole = u64::from(segment_bytes);
        let end = u64::from(at).saturating_add(len as u64);
        if segment >= segments || end > whole {
            return Err(MediumError::OutOfBounds);
        }
        let start = usize::try_from(u64::from(segment).saturating_mul(whole).saturating_add(u64::from(at)));
        let start = start.map_err(|_| MediumError::OutOfBounds)?;
        self.bytes.get_mut(start..).and_then(|bytes| bytes.get_mut(..len)).ok_or(MediumError::OutOfBounds)
    }
}

impl<const BYTES: usize> Store for RamStore<BYTES> {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read(&mut self, segment: u32, at: u32, into: &mut [u8]) -> Result<(), MediumError> {
        into.copy_from_slice(self.part(segment, at, into.len())?);
        Ok(())
    }

    fn program(&mut self, segment: u32, at: u32, bytes: &[u8]) -> Result<(), MediumError> {
        let Geometry { write_unit, rewritable, .. } = self.geometry;
        let odd = |number: usize| number & (write_unit as usize).wrapping_sub(1) != 0;
        if odd(at as usize) || odd(bytes.len()) {
            return Err(MediumError::Unaligned);
        }
        let to = self.part(segment, at, bytes.len())?;
        if !rewritable && to.iter().any(|byte| *byte != 0xff) {
            return Err(MediumError::Failed);
        }
        to.copy_from_slice(bytes);
        Ok(())
    }

    fn erase(&mut self, segment: u32) -> Result<(), MediumError> {
        let bytes = self.geometry.segment_bytes as usize;
        self.part(segment, 0, bytes)?.fill(0xff);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), MediumError> {
        Ok(())
    }
}
