//! A group's place in a partition.
//!
//! It has two readers of the ring. The *pin* has the group's name and stands at the first record that is not released:
//! nothing from there on is given up, and the group goes on there if its consumer goes away. The other one, named after
//! the group with a dot before it, runs ahead of it and reads.

use super::{Hold, Log, Partition};
use crate::error::{Corrupt, JoinError, LeaseError, NameError, ReadError, SeekError};
use crate::lease::{Lease, Lend};
use crate::message::MessageRef;
use crate::name::{self, MAX_NAME, Name};
use crate::ring::{Reader, RingRef, Start};
use crate::types::Offset;
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
}

impl<P: RingRef> Pair<P> {
    fn join(ring: &P, group: &Name) -> Result<Self, JoinError> {
        let known = ring.ring().readers().any(|reader| reader.name == *group);
        let pin = Reader::join(ring.clone(), group.as_str(), Start::Resume)?;
        let reading = reading_name(group)?;
        let mut pair = match Reader::join(ring.clone(), reading.as_str(), Start::Earliest) {
            Ok(read) => Self { pin, read },
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
        self.read.seek(to)
    }

    fn park(self) {
        self.pin.park();
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
        match &partition.log {
            Log::Retain { ring, .. } | Log::ReadRetain { ring, .. } => Pair::join(ring, group).map(Self::Retain),
            Log::Overwrite { ring, .. } | Log::ReadOverwrite { ring, .. } => {
                Pair::join(ring, group).map(Self::Overwrite)
            }
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
        each!(self, pair => pair.read.ring().lease().check())
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
        each!(self, pair => {
            if pair.pin.next_offset() != pair.read.next_offset() {
                pair.read.ring().lease().check()?;
                pair.pin.follow(&pair.read);
            }
            Ok(())
        })
    }

    /// Releases what comes before `to`, in O(1). That was read already, or is where the place stands. What was read is not
    /// looked at any more.
    pub(crate) fn release_to(&mut self, to: Offset) -> Result<(), LeaseError> {
        each!(self, pair => {
            if pair.pin.next_offset() != to {
                pair.read.ring().lease().check()?;
                pair.pin.pass_to(to);
            }
            // The reader holds records too: the one it read last, or one that it went back to.
            if pair.read.next_offset() < to {
                pair.read.pass_to(to);
            } else {
                pair.read.release();
            }
            Ok(())
        })
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
    /// Records that a group has not released; all there are if it was never here. Walks the readers' places and the slots
    /// not noted yet.
    pub(crate) fn lag(&self, group: &Name) -> u64 {
        on!(&self.log, ring => {
            let ring = RingRef::ring(ring);
            let place = ring.readers().find(|reader| reader.name == *group);
            place.map_or_else(|| ring.tail().value().saturating_sub(ring.head().value()), |place| place.lag)
        })
    }

    /// Removes the place of a group that has no consumer; answers whether there was one.
    pub(crate) fn forget(&self, group: &Name) -> Result<bool, JoinError> {
        on!(&self.log, ring => RingRef::ring(ring).forget(group.as_str()))
    }
}

impl<H: Hold> fmt::Debug for Cursor<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").field("position", &self.position()).finish_non_exhaustive()
    }
}
