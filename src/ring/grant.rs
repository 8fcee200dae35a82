//! A record written in place.

use super::recover::low;
use super::writer::Spot;
use super::{Retain, RingRef, Writer};
use crate::error::WriteError;
use crate::lease::{Lease, Lend};
use crate::platform::STRAIGHT;
use crate::types::Offset;

impl<P> Writer<P>
where
    P: RingRef<Keep = Retain>,
    <P::Lease as Lease>::Trust: Lend,
{
    /// Reserves room for a record of up to `len` bytes, to be filled in place.
    ///
    /// The bytes hold whatever was there before. Dropping the grant takes it back.
    ///
    /// ```
    /// # use fabric_mq::lease::SliceLease;
    /// # use fabric_mq::ring::{Reader, Ring, RingConfig, Start, Writer};
    /// # let mut bytes = [0; 4096];
    /// # let ring: Ring<_> = Ring::format(SliceLease::new(&mut bytes), RingConfig::new(32, 1024))?;
    /// # let mut writer = Writer::claim(&ring)?;
    /// # let mut reader = Reader::join(&ring, "main", Start::Earliest)?;
    /// let mut grant = writer.reserve(64)?;
    /// grant.bytes()[..5].copy_from_slice(b"short");
    /// grant.commit(5)?;
    /// assert_eq!(reader.next()?.map(|r| r.payload()), Some(&b"short"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn reserve(&mut self, len: usize) -> Result<Grant<'_, P>, WriteError> {
        self.ring().lease.check()?;
        if STRAIGHT && let Some(place) = self.core.follower(len, self.core.run.stop()) {
            let spot = self.core.spot(place, len);
            return Ok(Grant { writer: self, spot });
        }
        let spot = self.admit(len)?;
        Ok(Grant { writer: self, spot })
    }
}

/// Room for one record, filled in place. Dropping it takes it back.
#[must_use = "a grant that is not committed is taken back"]
pub struct Grant<'w, P: RingRef> {
    writer: &'w mut Writer<P>,
    spot: Spot,
}

impl<P> Grant<'_, P>
where
    P: RingRef<Keep = Retain>,
    <P::Lease as Lease>::Trust: Lend,
{
    /// The room.
    #[allow(unsafe_code, reason = "the writer's own room")]
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: `place` keeps the record in one piece inside the ring. `admit` took the room from what no reader needs
        // any more (SYNC(release)); the grant borrows the one writer, and the slice borrows the grant, so nobody else
        // writes here; nobody reads what is not committed, since the lease is not hostile.
        unsafe { self.writer.ring().view.bytes.slice_mut(self.spot.start, self.spot.len) }
    }

    /// Commits the first `len` bytes (at most those reserved) as a record.
    ///
    /// # Errors
    /// [`WriteError::Lease`] if the lease has ended since, [`WriteError::Sealed`] if the log has: nothing is visible. [`WriteError::TooLarge`] if more than was
    /// reserved.
    pub fn commit(self, len: usize) -> Result<Offset, WriteError> {
        self.commit_tagged(0, len)
    }

    /// The same, with a byte of the caller's beside the payload.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn commit_tagged(self, tag: u8, len: usize) -> Result<Offset, WriteError> {
        let max = self.spot.len as usize;
        let fits = u32::try_from(len).ok().filter(|len| *len <= self.spot.len);
        let Some(short) = fits else { return Err(WriteError::TooLarge { len, max }) };
        let (core, ring) = self.writer.parts();
        // The single checked step.
        ring.lease.check()?;
        ring.view.clean_bytes(&ring.lease, self.spot.start, short);
        if STRAIGHT
            && self.spot.start == core.position
            && let Some(place) = core.follower(len, core.run.stop())
        {
            return core.publish_next(ring, place, tag, len);
        }
        let end = self.spot.start.wrapping_add(super::config::units_of(short));
        let mut edge = self.spot.edge;
        if edge != core.edge {
            // What was reserved in vain is looked for again: the room behind the record is never more than the largest one.
            edge = edge.wrapping_sub(self.spot.end.wrapping_sub(end));
        }
        core.publish(ring, Spot { end, len: short, edge, ..self.spot }, tag)
    }
}

impl<P: RingRef> core::fmt::Debug for Grant<'_, P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Grant")
            .field("stamp", &low(self.writer.core.next))
            .field("len", &self.spot.len)
            .finish_non_exhaustive()
    }
}
