//! A group's place in a partition.
//!
//! It has two readers of the ring. The *pin* has the group's name and stands at the first record that is not released:
//! nothing from there on is given up, and the group goes on there if its consumer goes away. The other one, named after
//! the group with a dot before it, runs ahead of it and reads.

use super::extent::Rings;
use super::{Extent, Hold, Log, Partition};
use crate::error::{Corrupt, JoinError, LeaseError, NameError, ReadError, SeekError};
use crate::lease::{Lease, Lend};
use crate::message::MessageRef;
use crate::name::{self, MAX_NAME, Name};
use crate::platform::later::Later;
use crate::ring::{Keep, Reader, Ring, RingRef, Seal, Start};
use crate::types::{LeaseId, Offset};
use core::fmt;

/// The longest group name: one less than a reader's.
const MAX_GROUP: usize = MAX_NAME - 1;

/// Checks a group's name.
pub(crate) fn group_name(name: &str) -> Result<Name, NameError> {
    name::check(name.as_bytes(), MAX_GROUP)?;
    if is_reading(name) {
        return Err(NameError::Dots);
    }
    Name::new(name)
}

/// Whether a reader of a ring is the reading one of a group.
pub(super) fn is_reading(name: &str) -> bool {
    name.starts_with('.')
}

fn reading_name(group: &Name) -> Result<Name, NameError> {
    let mut bytes = [b'.'; MAX_NAME];
    let group = group.as_str().as_bytes();
    for (to, from) in bytes.iter_mut().skip(1).zip(group) {
        *to = *from;
    }
    Name::from_bytes(bytes.get(..group.len().saturating_add(1)).unwrap_or_default())
}

/// Whether what is in a ring may still be released: also by the holder of a lease of which another one has ended the log.
#[inline]
fn still_held<L: Lease, K: Keep>(ring: &Ring<L, K>) -> Result<(), LeaseError> {
    match ring.lease().check() {
        Err(LeaseError::Fenced) if ring.can_be_ended() => Ok(()),
        other => other,
    }
}

fn broken(damage: Corrupt) -> CrossError {
    CrossError::Join(damage.into())
}

/// What reading one record came to.
pub(crate) enum Next<T> {
    /// A record.
    One(T),
    /// There is none yet.
    None,
    /// It does not parse. The cursor stands before it.
    Bad(Corrupt),
}

/// A group's place in one partition.
pub(crate) enum Cursor<H: Hold> {
    Retain(Pair<H::Retain>),
    Overwrite(Pair<H::Overwrite>),
}

pub(crate) struct Pair<P: RingRef> {
    pin: Reader<P>,
    pub(super) read: Reader<P>,
    /// What is not released of the extent before. Beside the rest, since it is hardly ever there.
    behind: Later<Behind<P>>,
    /// Whether the place is where it was when it was taken.
    arrived: bool,
    /// Whether the group had none before: what was given up until then was not its to lose.
    fresh: bool,
}

/// A place that is held in an extent whose end was read, for what is not released there.
struct Behind<P: RingRef> {
    pin: Reader<P>,
    end: Offset,
}

impl<P: RingRef> Behind<P> {
    /// Gives it up. It stays at the end, so that whoever comes to that extent in the group's name goes where the group went.
    fn finish(mut self) {
        self.pin.pass_to(self.end);
        self.pin.park();
    }
}

/// Why a cursor does not go on in the next extent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum CrossError {
    Join(JoinError),
    /// Records of the extent before this one are not released.
    Unreleased,
    /// It is no extent of this partition.
    Wrong,
}

impl From<JoinError> for CrossError {
    fn from(error: JoinError) -> Self {
        Self::Join(error)
    }
}

impl<P: RingRef> Pair<P> {
    fn join(ring: &P, group: &Name) -> Result<Self, JoinError> {
        let known = ring.ring().readers().any(|reader| reader.name == *group);
        let pin = Reader::join(ring.clone(), group.as_str(), Start::Resume)?;
        let reading = reading_name(group)?;
        let mut pair = match Reader::join(ring.clone(), reading.as_str(), Start::Earliest) {
            Ok(read) => Self { pin, read, behind: Later::new(), arrived: true, fresh: !known },
            Err(error) => {
                // A new place goes back, by being dropped; one that was there before keeps what it holds.
                if known {
                    pin.park();
                }
                return Err(error);
            }
        };
        match pair.read.seek(pair.pin.next_offset()) {
            // An overwriting ring may have moved on meanwhile; the reader stands at its oldest record.
            Ok(()) | Err(SeekError::Reclaimed { .. }) => Ok(pair),
            Err(error) => {
                pair.park();
                Err(error.into())
            }
        }
    }

    fn seek(&mut self, to: Offset) -> Result<(), SeekError> {
        // The pin first: it holds what the other one is to read.
        self.pin.seek(to)?;
        self.read.seek(to)?;
        self.arrived = false;
        self.finish_behind();
        Ok(())
    }

    fn park(mut self) {
        if let Some(behind) = self.behind.take() {
            behind.pin.park();
        }
        self.pin.park();
    }

    #[inline]
    fn finish_behind(&mut self) {
        // Compiled in only where there can be one; hardly ever there.
        if P::Lease::SEALABLE && self.behind.get().is_some() {
            self.give_up_behind();
        }
    }

    #[cold]
    #[inline(never)]
    fn give_up_behind(&mut self) {
        if let Some(behind) = self.behind.take() {
            behind.finish();
        }
    }

    /// Where the log ends here, if it does and the reader has come there.
    fn ended(&self) -> Result<Option<Seal>, Corrupt> {
        let seal = self.read.ring().seal()?;
        Ok(seal.filter(|seal| seal.tail == self.read.next_offset()))
    }

    /// Passes over all records that are left here; answers whether the log ends here.
    fn pass_to_end(&mut self) -> Result<bool, Corrupt> {
        let Some(seal) = self.read.ring().seal()? else { return Ok(false) };
        self.finish_behind();
        self.pin.pass_to(seal.tail);
        self.read.pass_to(seal.tail);
        self.arrived = false;
        Ok(true)
    }

    /// Goes on in the next extent, from the end of this one; answers how many records are missing between.
    fn cross(&mut self, to: &P) -> Result<u64, CrossError> {
        let end = self.read.next_offset();
        if to.ring().number() != self.read.ring().number() || to.ring().tail() < end {
            return Err(CrossError::Wrong);
        }
        if self.behind.get().is_some() {
            return Err(CrossError::Unreleased);
        }
        let (group, reading) = (self.pin.name().map_err(broken)?, self.read.name().map_err(broken)?);
        // Its own place there, if all was read here before this one came; else what follows what was read.
        let all = self.arrived && self.pin.next_offset() == end;
        let known = to.ring().readers().any(|reader| reader.name == group);
        let begin = |name: &Name, at| match Reader::join(to.clone(), name.as_str(), Start::At(at)) {
            // What is gone is told below.
            Err(JoinError::Seek(SeekError::Reclaimed { .. })) => {
                Reader::join(to.clone(), name.as_str(), Start::Earliest)
            }
            other => other,
        };
        let pin =
            if all && known { Reader::join(to.clone(), group.as_str(), Start::Resume)? } else { begin(&group, end)? };
        let at = pin.next_offset();
        let read = match begin(&reading, at) {
            Ok(read) => read,
            Err(error) => {
                // As it was before: carried over, or not there.
                if known {
                    pin.park();
                }
                return Err(error.into());
            }
        };
        let missing =
            if all && (known || self.fresh) { 0 } else { read.next_offset().value().saturating_sub(end.value()) };
        let behind = Behind { pin: core::mem::replace(&mut self.pin, pin), end };
        self.read = read;
        self.arrived = all && (known || self.fresh);
        if behind.pin.next_offset() == end {
            behind.finish();
        } else {
            self.behind.put(behind);
        }
        Ok(missing)
    }

    #[inline]
    fn release(&mut self) -> Result<(), LeaseError> {
        if self.pin.next_offset() != self.read.next_offset() {
            still_held(self.read.ring())?;
            self.pin.follow(&self.read);
            self.arrived = false;
        }
        self.finish_behind();
        Ok(())
    }

    fn release_to(&mut self, to: Offset) -> Result<(), LeaseError> {
        if P::Lease::SEALABLE
            && let Some(behind) = self.behind.get_mut()
        {
            if to < behind.end {
                behind.pin.pass_to(to);
                self.read.release();
                return Ok(());
            }
            self.finish_behind();
        }
        if self.pin.next_offset() != to {
            still_held(self.read.ring())?;
            self.pin.pass_to(to);
            self.arrived = false;
        }
        // The reader holds records too: the one it read last, or one that it went back to.
        if self.read.next_offset() < to {
            self.read.pass_to(to);
        } else {
            self.read.release();
        }
        Ok(())
    }

    fn copy<'b>(&mut self, partition: u32, buffer: &'b mut [u8]) -> Result<Next<MessageRef<'b>>, ReadError> {
        let Some(copied) = self.read.copy_next(buffer)? else { return Ok(Next::None) };
        let bytes = buffer.get(..copied.len()).unwrap_or_default();
        match MessageRef::parse(partition, copied.offset(), copied.tag(), bytes) {
            Ok(message) => Ok(Next::One(message)),
            Err(damage) => {
                self.back_to(copied.offset());
                Ok(Next::Bad(damage))
            }
        }
    }

    pub(super) fn back_to(&mut self, offset: Offset) {
        // If the record is gone meanwhile, its damage is told all the same, and there is nothing to go back to.
        self.read.step_back(offset);
    }
}

impl<H: Hold> Cursor<H> {
    /// Takes the group's place, where it stood before or at the oldest record.
    pub(crate) fn join(partition: &Partition<H>, group: &Name) -> Result<Self, JoinError> {
        partition.with_oldest(|log| match log {
            Log::Retain { ring, .. } | Log::ReadRetain { ring, .. } => Pair::join(ring, group).map(Self::Retain),
            Log::Overwrite { ring, .. } | Log::ReadOverwrite { ring, .. } => {
                Pair::join(ring, group).map(Self::Overwrite)
            }
        })
    }

    /// The same in one of its leases.
    pub(crate) fn join_in(extent: &Extent<H>, group: &Name) -> Result<Self, JoinError> {
        match extent.rings() {
            Rings::Retain(ring) => Pair::join(ring, group).map(Self::Retain),
            Rings::Overwrite(ring) => Pair::join(ring, group).map(Self::Overwrite),
        }
    }

    /// The lease that is read at present.
    pub(crate) fn lease_id(&self) -> LeaseId {
        each!(self, pair => pair.read.ring().lease().id())
    }

    /// Whether the log can be ended under a living writer.
    pub(crate) fn can_be_ended(&self) -> bool {
        each!(self, pair => pair.read.ring().can_be_ended())
    }

    /// The group.
    pub(crate) fn group(&self) -> Result<Name, Corrupt> {
        each!(self, pair => pair.pin.name())
    }

    /// Where the log was ended in the lease that is read at present, if the reader has come there.
    pub(crate) fn ended(&self) -> Result<Option<Seal>, Corrupt> {
        each!(self, pair => pair.ended())
    }

    /// Passes over all records that are left in the lease that is read at present; answers whether the log was ended there.
    pub(crate) fn pass_to_end(&mut self) -> Result<bool, Corrupt> {
        each!(self, pair => pair.pass_to_end())
    }

    /// Goes on in the next lease, from the end of this one; answers how many records are missing between. Where it fails,
    /// nothing is changed.
    pub(crate) fn cross(&mut self, to: &Extent<H>) -> Result<u64, CrossError> {
        match (self, to.rings()) {
            (Self::Retain(pair), Rings::Retain(to)) => pair.cross(to),
            (Self::Overwrite(pair), Rings::Overwrite(to)) => pair.cross(to),
            _ => Err(CrossError::Wrong),
        }
    }

    /// The next record to be read.
    #[inline]
    pub(crate) fn position(&self) -> Offset {
        each!(self, pair => pair.read.next_offset())
    }

    /// The oldest offset there is.
    pub(crate) fn head(&self) -> Offset {
        each!(self, pair => pair.read.ring().head())
    }

    /// The end of the log.
    pub(crate) fn tail(&self) -> Offset {
        each!(self, pair => pair.read.ring().tail())
    }

    /// Whether there is something to read, or to be told of.
    #[inline]
    pub(crate) fn is_ready(&mut self) -> Result<bool, ReadError> {
        each!(self, pair => pair.read.is_ready())
    }

    /// Whether the lease still holds.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), LeaseError> {
        each!(self, pair => still_held(pair.read.ring()))
    }

    /// Moves both readers. Where it fails, neither is moved but the pin perhaps, to a place before the other.
    pub(crate) fn seek(&mut self, to: Offset) -> Result<(), SeekError> {
        each!(self, pair => pair.seek(to))
    }

    /// Moves the reader alone; the pin stays.
    pub(crate) fn look(&mut self, at: Offset) -> Result<(), SeekError> {
        each!(self, pair => pair.read.seek(at))
    }

    /// Releases what was read so far, in O(1).
    #[inline]
    pub(crate) fn release(&mut self) -> Result<(), LeaseError> {
        each!(self, pair => pair.release())
    }

    /// Releases what comes before `to`, in O(1). That was read already, or is where the place stands. What was read is not
    /// looked at any more.
    pub(crate) fn release_to(&mut self, to: Offset) -> Result<(), LeaseError> {
        each!(self, pair => pair.release_to(to))
    }

    /// Gives the reader up, not the group's place.
    pub(crate) fn park(self) {
        each!(self, pair => pair.park());
    }

    /// Copies the next record to `buffer`.
    pub(crate) fn copy<'b>(&mut self, partition: u32, buffer: &'b mut [u8]) -> Result<Next<MessageRef<'b>>, ReadError> {
        each!(self, pair => pair.copy(partition, buffer))
    }
}

impl<H: Hold> Cursor<H>
where
    <H::Lease as Lease>::Trust: Lend,
{
    /// Hands out the tag and the bytes of the next record as they are, where they lie. A partition that overwrites has none.
    #[inline]
    pub(crate) fn read_raw<R>(&mut self, visit: impl FnOnce(u8, &[u8]) -> R) -> Result<Option<R>, ReadError> {
        let Self::Retain(pair) = self else { return Ok(None) };
        Ok(pair.read.next()?.map(|record| visit(record.tag(), record.payload())))
    }

    /// Reads the next record where it lies; a partition that overwrites has it copied to `scratch`.
    #[inline]
    pub(crate) fn read<R>(
        &mut self,
        partition: u32,
        scratch: &mut [u8],
        visit: impl FnOnce(MessageRef<'_>) -> R,
    ) -> Result<Next<R>, ReadError> {
        let pair = match self {
            Self::Retain(pair) => pair,
            Self::Overwrite(pair) => {
                return Ok(match pair.copy(partition, scratch)? {
                    Next::One(message) => Next::One(visit(message)),
                    Next::None => Next::None,
                    Next::Bad(damage) => Next::Bad(damage),
                });
            }
        };
        let Some(record) = pair.read.next()? else { return Ok(Next::None) };
        let offset = record.offset();
        match MessageRef::parse(partition, offset, record.tag(), record.payload()) {
            Ok(message) => Ok(Next::One(visit(message))),
            Err(damage) => {
                pair.back_to(offset);
                Ok(Next::Bad(damage))
            }
        }
    }
}

impl<H: Hold> Partition<H> {
    /// Removes the places of a group that has no consumer; answers whether there was one.
    pub(crate) fn forget(&self, group: &Name) -> Result<bool, JoinError> {
        let first = forget(&self.log, group)?;
        let failed = self.onward.find_map(|log| forget(log, group).err());
        failed.map_or(Ok(first), Err)
    }
}

/// Removes the places of a group in one lease.
fn forget<H: Hold>(log: &Log<H>, group: &Name) -> Result<bool, JoinError> {
    on!(log, ring => {
        let ring = RingRef::ring(ring);
        let known = ring.forget(group.as_str())?;
        if ring.can_be_ended() {
            // Both were carried over when the log came here.
            ring.forget(reading_name(group)?.as_str())?;
        }
        Ok(known)
    })
}

impl<H: Hold> fmt::Debug for Cursor<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").field("position", &self.position()).finish_non_exhaustive()
    }
}
