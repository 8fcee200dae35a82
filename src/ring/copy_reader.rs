//! Reading by copy: where records may be overwritten, or the memory is not to be trusted.

use super::recover::low;
use super::{Copied, Keep, Reader, Ring, RingRef};
use crate::error::{Check, Corrupt, ReadError};
use crate::lease::Lease;
use crate::platform::atomic::{Ordering, fence};

impl<P: RingRef> Reader<P> {
    /// Copies the next record to the front of `buffer`, or answers `None` if there is none yet. Works on every ring and
    /// lease. Does not block or allocate.
    ///
    /// # Errors
    /// [`ReadError::Overrun`] if records were overwritten before this reader came to them: it says exactly how many, and
    /// the reader goes on at the oldest one left. [`ReadError::Buffer`] if the buffer is too small; the record is still
    /// there. [`ReadError::Corrupt`] if its slot is damaged. [`ReadError::Lease`] if there is no further record and
    /// the lease has ended; [`ReadError::Sealed`] if the log is ended here, and goes on in another one.
    ///
    /// ```
    /// use fabric_mq::lease::SliceLease;
    /// use fabric_mq::ring::{Overwrite, Reader, Ring, RingConfig, Start, Writer};
    /// use fabric_mq::ReadError;
    ///
    /// let mut bytes = [0; 1024];
    /// let ring: Ring<_, Overwrite> = Ring::format(SliceLease::new(&mut bytes), RingConfig::new(4, 64))?;
    /// let mut writer = Writer::claim(&ring)?;
    /// let mut reader = Reader::join(&ring, "main", Start::Earliest)?;
    /// for n in 0..10_u8 {
    ///     writer.write(&[n])?;
    /// }
    /// let mut buffer = [0; 8];
    /// assert_eq!(reader.copy_next(&mut buffer), Err(ReadError::Overrun { lost: 6 }));
    /// let record = reader.copy_next(&mut buffer)?.expect("the oldest one left");
    /// assert_eq!((record.offset().value(), buffer[0]), (6, 6));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "as `next`")]
    pub fn copy_next(&mut self, buffer: &mut [u8]) -> Result<Option<Copied>, ReadError> {
        self.copy_to(|len| buffer.get_mut(..len))
    }

    /// The same to where `room` says, which is told the record's length and answers that many bytes.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "as `next`")]
    #[allow(unsafe_code, reason = "records in place")]
    pub(crate) fn copy_to<'b>(
        &mut self,
        room: impl FnOnce(usize) -> Option<&'b mut [u8]>,
    ) -> Result<Option<Copied>, ReadError> {
        let entry = self.entry()?;
        if entry.stamp() != low(self.next) {
            return self.no_record(entry.stamp()).map(|()| None);
        }
        if let Err(damage) = self.locate(entry) {
            // A slot that is being written again looks damaged.
            self.check_overrun()?;
            return Err(damage.into());
        }
        let (position, len) = (self.expected, entry.len() as usize);
        let Some(to) = room(len).filter(|to| to.len() == len) else {
            self.check_overrun()?;
            return Err(ReadError::Buffer { needed: len });
        };
        self.ring.ring().lease.fetch(self.view.byte_at(position), len);
        self.ring.ring().lease.reached()?;
        if Ring::<P::Lease, P::Keep>::RACY {
            self.view.bytes.read_racy(position, to);
            self.check_overrun()?;
        } else {
            // SAFETY: `locate` checked that the record lies in the ring; it is committed, and this reader's progress,
            // which is not past it, keeps the writer away.
            unsafe { self.view.bytes.read(position, to) };
        }
        let offset = self.advance(entry.len());
        self.release_all();
        Ok(Some(Copied { offset, tag: entry.extent().tag(), len }))
    }

    /// Whether the record that comes next was given up. If so, moves to the oldest one left.
    #[inline]
    fn check_overrun(&mut self) -> Result<(), ReadError> {
        if !P::Keep::OVERWRITE {
            return Ok(());
        }
        // SYNC(overrun): whatever the caller saw of a newer record, in the slot or in the copy, the head that was raised
        // before it was written is seen below.
        fence(Ordering::Acquire);
        let head = self.view.load_head(&self.ring.ring().lease);
        self.ring.ring().lease.reached()?;
        if head <= self.next {
            return Ok(());
        }
        let lost = head.wrapping_sub(self.next);
        self.lost = self.lost.saturating_add(lost);
        self.stand_at(head);
        // A jump of any length: the high half may change by it.
        self.view.note_high(&self.ring.ring().lease, self.block, head);
        Err(ReadError::Overrun { lost })
    }

    #[cold]
    #[inline(never)]
    fn no_record(&mut self, stamp: u32) -> Result<(), ReadError> {
        self.check_overrun()?;
        if <P::Lease as Lease>::SEALABLE && self.view.is_end(self.next, stamp) {
            return self.ring().at_end(self.block, self.next);
        }
        self.ring.ring().lease.check()?;
        self.release();
        if stamp == self.view.stale(self.next) {
            return Ok(());
        }
        Err(Corrupt::new(Check::Stamp, self.next).into())
    }
}
