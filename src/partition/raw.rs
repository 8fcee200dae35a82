//! Reading a record as it is, for whoever makes room for it and checks it then.

use super::{Cursor, Hold};
use crate::error::ReadError;
use crate::ring::Copied;
use crate::types::Offset;

impl<H: Hold> Cursor<H> {
    /// Copies the next record to where `room` says, which is told its length.
    #[inline]
    pub(crate) fn copy_raw<'b>(
        &mut self,
        room: impl FnOnce(usize) -> Option<&'b mut [u8]>,
    ) -> Result<Option<Copied>, ReadError> {
        each!(self, pair => pair.read.copy_to(room))
    }

    /// Goes back to a record that was just read.
    pub(crate) fn back_to(&mut self, offset: Offset) {
        each!(self, pair => pair.back_to(offset));
    }
}
