//! Which segments a process that died may have left in the system's memory alone: see `files`.

use super::calls::{failed, read_up_to, refused, write_all};
use super::disk::Disk;
use super::handles::HANDLES;
use crate::durable::store::MediumError;
use alloc::vec::Vec;

/// The bytes of all marks.
const BYTES: usize = 4 * HANDLES;

/// A number for each place of an open file: its segment if it was written to, counted from 1.
#[derive(Debug)]
pub(super) struct Marks([u32; HANDLES]);

impl Marks {
    pub(super) const fn new() -> Self {
        Self([0; HANDLES])
    }

    /// The segments that are marked in a file; `None` if it does not say.
    pub(super) fn load<D: Disk>(disk: &mut D, file: &D::File, segments: u32) -> Result<Option<Vec<u32>>, MediumError> {
        let mut bytes = [0; BYTES];
        if read_up_to(disk, file, 0, &mut bytes, 0)? != BYTES {
            return Ok(None);
        }
        let words = bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
        let marked: Vec<u32> = words.filter(|word| *word != 0).map(|word| word.wrapping_sub(1)).collect();
        Ok(marked.iter().all(|segment| *segment < segments).then_some(marked))
    }

    /// Marks a segment before it is written to. Does nothing if it is marked already.
    pub(super) fn set<D: Disk>(
        &mut self,
        disk: &mut D,
        file: &D::File,
        place: usize,
        segment: u32,
    ) -> Result<(), MediumError> {
        let number = segment.wrapping_add(1);
        match self.0.get_mut(place) {
            Some(mark) if *mark != number => {
                write_all(disk, file, (place as u64).saturating_mul(4), &number.to_le_bytes()).map_err(failed)?;
                *mark = number;
            }
            _ => {}
        }
        Ok(())
    }

    /// Marks none.
    pub(super) fn clear<D: Disk>(&mut self, disk: &mut D, file: &D::File) -> Result<(), MediumError> {
        write_all(disk, file, 0, &[0; BYTES]).map_err(refused)?;
        *self = Self::new();
        Ok(())
    }
}
