//! Going somewhere else.

use super::seam::Way;
use super::{Consumer, Place, PollError};
use crate::error::{ReadError, SeekError};
use crate::lease::{Lease, Lend};
use crate::name::Name;
use crate::offset::OffsetStore;
use crate::partition::{Cursor, Hold, Next};
use crate::topic::Topics;
use crate::types::{Offset, Ticks};

/// Where to go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SeekPolicy {
    /// At the committed offset. If the records there are gone, at the oldest one, and the loss is told.
    Committed {
        /// Where, if nothing was committed.
        otherwise: Otherwise,
    },
    /// At the oldest record there is.
    Earliest,
    /// Behind the newest record.
    Latest,
    /// At an offset of one partition; the other ones stay where they are.
    Offset {
        /// Which partition.
        partition: u32,
        /// The offset.
        offset: Offset,
    },
    /// At the first record of this time or later: exact as far as times rise with offsets, which they do as far as the
    /// producers' clocks agree. A record without a time counts as one with the time of the next that has one.
    Timestamp(Ticks),
}

/// Where to go on if nothing was committed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Otherwise {
    /// At the oldest record there is.
    #[default]
    Earliest,
    /// Behind the newest record.
    Latest,
}

/// The offset and the time of a record.
type Stamp = (Offset, Option<Ticks>);

impl<N: AsRef<str>, S: Topics, const P: usize> Consumer<N, S, P> {
    /// Moves the group's places in the assigned partitions; records before them are released. Takes O(1) for each
    /// partition, O(log n) by time. Does not allocate or block.
    ///
    /// # Errors
    /// [`PollError::Topic`] if the topic is unknown; [`PollError::Claimed`] if another consumer of the group has a
    /// partition; [`PollError::Seek`] if the place is not in the log; [`PollError::Store`] if the store cannot be read;
    /// [`PollError::Scratch`] if partitions overwrite and a time is sought: use [`seek_with`](Self::seek_with).
    /// Partitions before the one concerned have been moved.
    pub fn seek<O: OffsetStore + ?Sized>(&mut self, topics: &S, store: &O, policy: SeekPolicy) -> Result<(), PollError>
    where
        <<S::Hold as Hold>::Lease as Lease>::Trust: Lend,
    {
        self.seek_by(topics, store, policy, |cursor, partition| {
            cursor.read(partition, &mut [], |message| (message.offset(), message.timestamp()))
        })
    }

    /// The same for every topic: where a time is sought, records are copied to `scratch`, which must hold the largest one
    /// with its envelope.
    ///
    /// # Errors
    /// As [`seek`](Self::seek); [`PollError::Scratch`] if a record does not fit.
    pub fn seek_with<O: OffsetStore + ?Sized>(
        &mut self,
        topics: &S,
        store: &O,
        policy: SeekPolicy,
        scratch: &mut [u8],
    ) -> Result<(), PollError> {
        self.seek_by(topics, store, policy, |cursor, partition| {
            Ok(cursor.copy(partition, scratch)?.map(|message| (message.offset(), message.timestamp())))
        })
    }

    /// Goes on in one partition where the group has got to. What is gone meanwhile is told as lost.
    pub(crate) fn go_on_at(&mut self, topics: &S, partition: u32, committed: Offset) -> Result<(), PollError> {
        self.news = true;
        // A place that goes to another lease may be lost on its way: the next call takes it again.
        self.settled &= !Way::<S>::SEALABLE;
        let Self { topic, handle: Some(handle), places, .. } = self else { return Ok(()) };
        let place = places.iter_mut().find(|place| place.partition == partition);
        let way = Way { topics, handle, name: topic.as_ref() };
        place.ok_or(PollError::NotAssigned { partition })?.go_committed(&way, committed)
    }

    fn seek_by<O: OffsetStore + ?Sized>(
        &mut self,
        topics: &S,
        store: &O,
        policy: SeekPolicy,
        mut stamp: impl FnMut(&mut Cursor<S::Hold>, u32) -> Result<Next<Stamp>, ReadError>,
    ) -> Result<(), PollError> {
        self.ready_places(topics)?;
        let group = self.group?;
        if let SeekPolicy::Offset { partition, offset } = policy {
            // A place that goes to another lease may be lost on its way: the next call takes it again.
            self.settled &= !Way::<S>::SEALABLE;
            let Self { topic, handle: Some(handle), places, .. } = self else { return Ok(()) };
            let place = places.iter_mut().find(|place| place.partition == partition);
            let way = Way { topics, handle, name: topic.as_ref() };
            return place.ok_or(PollError::NotAssigned { partition })?.go(&way, offset);
        }
        // What stopped an earlier poll concerned another place.
        self.pending = None;
        // Going to a committed offset may tell a loss.
        self.news = true;
        // A place that goes to another lease may be lost on its way: the next call takes it again.
        self.settled &= !Way::<S>::SEALABLE;
        let Self { topic, handle: Some(handle), places, .. } = self else { return Ok(()) };
        let way = Way { topics, handle, name: topic.as_ref() };
        for place in places {
            place.seek(&way, policy, (&group, store), &mut stamp)?;
        }
        Ok(())
    }
}

impl<H: Hold> Place<H> {
    fn seek<O: OffsetStore + ?Sized, S: Topics<Hold = H>>(
        &mut self,
        way: &Way<'_, S>,
        policy: SeekPolicy,
        (group, store): (&Name, &O),
        stamp: &mut impl FnMut(&mut Cursor<H>, u32) -> Result<Next<Stamp>, ReadError>,
    ) -> Result<(), PollError> {
        let partition = self.partition;
        match policy {
            SeekPolicy::Earliest => self.go_earliest(way),
            SeekPolicy::Latest => self.go_latest(way),
            SeekPolicy::Offset { offset, .. } => self.go(way, offset),
            SeekPolicy::Committed { otherwise } => {
                let committed = store.committed(group.as_str(), way.name, partition);
                match (committed.map_err(|error| PollError::Store { partition, error })?, otherwise) {
                    (Some(offset), _) => self.go_committed(way, offset),
                    (None, Otherwise::Earliest) => self.go_earliest(way),
                    (None, Otherwise::Latest) => self.go_latest(way),
                }
            }
            SeekPolicy::Timestamp(time) => self.go_to_time(way, time, stamp),
        }
    }

    fn go<S: Topics<Hold = H>>(&mut self, way: &Way<'_, S>, to: Offset) -> Result<(), PollError> {
        let partition = self.partition;
        if Way::<S>::SEALABLE {
            return self.go_anywhere(way, to);
        }
        let Some(cursor) = &mut self.cursor else { return Ok(()) };
        cursor.seek(to).map_err(|error| PollError::seek(partition, error))
    }

    /// Goes to the oldest record at or behind `offset`; answers where that is.
    fn go_behind<S: Topics<Hold = H>>(&mut self, way: &Way<'_, S>, offset: Offset) -> Result<Offset, PollError> {
        let mut to = offset;
        // The head of a partition that overwrites may rise meanwhile; a ring's length at a time at most.
        for _ in 0..64 {
            match self.go(way, to) {
                Err(PollError::Seek { error: SeekError::Reclaimed { head }, .. }) => to = head,
                other => return other.map(|()| to),
            }
        }
        self.go(way, to).map(|()| to)
    }

    fn go_earliest<S: Topics<Hold = H>>(&mut self, way: &Way<'_, S>) -> Result<(), PollError> {
        let head = match &self.cursor {
            Some(_) if Way::<S>::SEALABLE => way.head(self.partition)?,
            cursor => cursor.as_ref().map(Cursor::head).unwrap_or_default(),
        };
        self.go_behind(way, head).map(drop)
    }

    fn go_latest<S: Topics<Hold = H>>(&mut self, way: &Way<'_, S>) -> Result<(), PollError> {
        let tail = match &self.cursor {
            Some(_) if Way::<S>::SEALABLE => way.tail(self.partition)?,
            cursor => cursor.as_ref().map(Cursor::tail).unwrap_or_default(),
        };
        self.go_behind(way, tail).map(drop)
    }

    fn go_committed<S: Topics<Hold = H>>(&mut self, way: &Way<'_, S>, offset: Offset) -> Result<(), PollError> {
        let reached = self.go_behind(way, offset)?;
        self.lose(reached.value().saturating_sub(offset.value()));
        Ok(())
    }

    fn go_to_time<S: Topics<Hold = H>>(
        &mut self,
        way: &Way<'_, S>,
        time: Ticks,
        stamp: &mut impl FnMut(&mut Cursor<H>, u32) -> Result<Next<Stamp>, ReadError>,
    ) -> Result<(), PollError> {
        let Some(cursor) = &self.cursor else { return Ok(()) };
        let before = cursor.position();
        // From here on the group's place holds everything that is searched.
        self.go_earliest(way)?;
        let found = self.search_all(way, time, stamp);
        let to = match found {
            Ok(offset) => offset,
            Err(error) => {
                self.go_behind(way, before)?;
                return Err(error);
            }
        };
        self.go_behind(way, to).map(drop)
    }

    /// The first offset whose record is of `time` or later, in one lease after the other.
    fn search_all<S: Topics<Hold = H>>(
        &mut self,
        way: &Way<'_, S>,
        time: Ticks,
        stamp: &mut impl FnMut(&mut Cursor<H>, u32) -> Result<Next<Stamp>, ReadError>,
    ) -> Result<Offset, PollError> {
        loop {
            let found = self.search(time, stamp)?;
            if !Way::<S>::SEALABLE || !self.go_on_behind(way, found)? {
                return Ok(found);
            }
        }
    }

    /// The first offset whose record is of `time` or later.
    fn search(
        &mut self,
        time: Ticks,
        stamp: &mut impl FnMut(&mut Cursor<H>, u32) -> Result<Next<Stamp>, ReadError>,
    ) -> Result<Offset, PollError> {
        let partition = self.partition;
        let Some(cursor) = &mut self.cursor else { return Ok(Offset::default()) };
        let (mut low, mut high) = (cursor.position().value(), cursor.tail().value());
        while low < high {
            let middle = low.saturating_add(high.saturating_sub(low) / 2);
            match cursor.look(Offset::new(middle)) {
                Ok(()) => {}
                Err(SeekError::Reclaimed { head }) => {
                    low = head.value();
                    continue;
                }
                Err(error) => return Err(PollError::seek(partition, error)),
            }
            match next_time(cursor, partition, high, stamp) {
                Ok(Some((offset, found))) if found < time => low = offset.value().saturating_add(1),
                Ok(_) => high = middle,
                Err(PollError::Lagging { .. }) => low = cursor.position().value(),
                Err(error) => return Err(error),
            }
        }
        Ok(Offset::new(low))
    }
}

/// The first record from here to `end` that has a time.
fn next_time<H: Hold>(
    cursor: &mut Cursor<H>,
    partition: u32,
    end: u64,
    stamp: &mut impl FnMut(&mut Cursor<H>, u32) -> Result<Next<Stamp>, ReadError>,
) -> Result<Option<(Offset, Ticks)>, PollError> {
    while cursor.position().value() < end {
        match stamp(cursor, partition) {
            Ok(Next::One((offset, Some(time)))) => return Ok(Some((offset, time))),
            Ok(Next::One((_, None))) => {}
            Ok(Next::None) => break,
            Ok(Next::Bad(damage)) => return Err(PollError::Corrupt { partition, damage }),
            Err(error) => return Err(PollError::read(partition, error)),
        }
    }
    Ok(None)
}
