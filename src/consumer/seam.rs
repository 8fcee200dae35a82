//! Going on where a log goes on in another lease.
//!
//! A partition whose writer was [taken over](crate::topic::TopicConfig::takeover) lies in several leases, one behind the other.
//! A place is in one of them. It crosses to the next when all was read: what is not released yet stays held in the one
//! before, which is one at most.

use super::{Consumer, Place, PollError};
use crate::error::{JoinError, LeaseError, SeekError};
use crate::lease::Lease;
use crate::name::Name;
use crate::partition::{CrossError, Cursor, Extent, Hold, Partition};
use crate::topic::{TopicError, Topics};
use crate::types::{LeaseId, Offset};

/// Leases that are passed in one go: more are somebody else's doing, who takes over again and again.
const EXTENTS: u32 = 1024;

/// Where leases are found: the topic.
pub(crate) struct Way<'w, S: Topics> {
    pub(crate) topics: &'w S,
    pub(crate) handle: &'w S::Handle,
    pub(crate) name: &'w str,
}

impl<S: Topics> Way<'_, S> {
    /// Whether there can be more than one.
    pub(crate) const SEALABLE: bool = <<S::Hold as Hold>::Lease as Lease>::SEALABLE;

    fn with<R>(
        &self,
        number: u32,
        f: impl FnOnce(&Partition<S::Hold>) -> Result<R, PollError>,
    ) -> Result<R, PollError> {
        let topic = self.topics.topic(self.handle, self.name).map_err(PollError::Topic)?;
        let partitions = topic.partition_count();
        f(topic.partition(number).ok_or(PollError::NoSuchPartition { partition: number, partitions })?)
    }

    fn extent(&self, partition: u32, lease: LeaseId) -> Result<Extent<S::Hold>, PollError> {
        self.topics.extent(self.handle, partition, lease).map_err(|error| not_there(partition, error))
    }

    fn reopen(&self, partition: u32, lease: LeaseId) -> Result<Extent<S::Hold>, PollError> {
        self.topics.reopen(self.handle, partition, lease).map_err(|error| not_there(partition, error))
    }

    /// Opens all leases in which the log goes on.
    pub(super) fn follow(&self, partition: u32) -> Result<(), PollError> {
        for _ in 0..EXTENTS {
            let seal =
                self.with(partition, |log| log.seal().map_err(|damage| PollError::Corrupt { partition, damage }))?;
            let Some(seal) = seal else { break };
            self.extent(partition, seal.successor)?;
        }
        Ok(())
    }

    /// The oldest offset there is.
    pub(super) fn head(&self, partition: u32) -> Result<Offset, PollError> {
        self.with(partition, |log| Ok(log.head()))
    }

    /// The end of the log, wherever it is.
    pub(super) fn tail(&self, partition: u32) -> Result<Offset, PollError> {
        self.follow(partition)?;
        self.with(partition, |log| Ok(log.tail()))
    }

    /// Takes the group's place in the oldest lease that can be had; answers how many of its records were in such as cannot.
    pub(crate) fn join(&self, partition: u32, group: &Name) -> Result<(Cursor<S::Hold>, u64), PollError> {
        let joined = self.with(partition, |log| {
            Ok(match Cursor::join(log, group) {
                Err(JoinError::Lease(error)) if Self::SEALABLE && log.can_be_ended() => Err((error, log.oldest())),
                other => Ok((other.map_err(|error| PollError::join(partition, error))?, log.lost_behind(group))),
            })
        })?;
        let (mut error, mut ended) = match joined {
            Ok(joined) => return Ok(joined),
            Err(over) => over,
        };
        let mut lost: u64 = 0;
        if error == LeaseError::Fenced {
            // It was this process's, and is read from now on.
            let id = self.with(partition, |log| Ok(log.lease_id()))?;
            if let Some(cursor) = self.join_anew(partition, id, group)? {
                return Ok((cursor, 0));
            }
        }
        for _ in 0..EXTENTS {
            let seal = ended.seal().map_err(|damage| PollError::Corrupt { partition, damage })?;
            let Some(seal) = seal else { break };
            lost = lost.saturating_add(ended.lag(group));
            let next = self.extent(partition, seal.successor)?;
            match Cursor::join_in(&next, group) {
                Ok(cursor) => return Ok((cursor, lost)),
                Err(JoinError::Lease(also)) => {
                    if also == LeaseError::Fenced
                        && let Some(cursor) = self.join_anew(partition, seal.successor, group)?
                    {
                        return Ok((cursor, lost));
                    }
                    (error, ended) = (also, next);
                }
                Err(error) => return Err(PollError::join(partition, error)),
            }
        }
        Err(PollError::Lease { partition, error })
    }

    /// Goes on in the next lease if all was read in this one; answers how many records are missing between them.
    pub(crate) fn cross(&self, partition: u32, cursor: &mut Cursor<S::Hold>) -> Result<Option<u64>, PollError> {
        let ended = cursor.ended().map_err(|damage| PollError::Corrupt { partition, damage })?;
        let Some(seal) = ended else { return Ok(None) };
        let next = self.extent(partition, seal.successor)?;
        let crossed = match cursor.cross(&next) {
            // It was this process's, and was taken over too: it is read from now on.
            Err(CrossError::Join(JoinError::Lease(LeaseError::Fenced))) => {
                cursor.cross(&self.reopen(partition, seal.successor)?)
            }
            other => other,
        };
        match crossed {
            Ok(missing) => Ok(Some(missing)),
            Err(CrossError::Join(error)) => Err(PollError::join(partition, error)),
            Err(CrossError::Unreleased) => Err(PollError::Unreleased { partition }),
            Err(CrossError::Wrong) => Err(PollError::Sealed { partition }),
        }
    }

    /// Takes the group's place in a lease of which this process has the holder's side, fenced: through a reader's.
    fn join_anew(&self, partition: u32, id: LeaseId, group: &Name) -> Result<Option<Cursor<S::Hold>>, PollError> {
        let reopened = match self.reopen(partition, id) {
            Ok(reopened) => reopened,
            Err(PollError::Lease { .. } | PollError::Sealed { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        Cursor::join_in(&reopened, group).map(Some).map_err(|error| PollError::join(partition, error))
    }
}

/// Why a lease cannot be opened, in a consumer's words.
fn not_there(partition: u32, error: TopicError) -> PollError {
    match error {
        TopicError::Lease { error: LeaseError::Unsupported, .. } => PollError::Sealed { partition },
        TopicError::Lease { error, .. } => PollError::Lease { partition, error },
        error => PollError::Topic(error),
    }
}

impl<N: AsRef<str>, S: Topics, const P: usize> Consumer<N, S, P> {
    /// Lets places that have read all of their lease cross to the next; answers whether any did. The first that cannot is told by
    /// the next poll that has nothing to hand out.
    #[cold]
    #[inline(never)]
    pub(super) fn cross(&mut self, topics: &S) -> bool {
        let Self { topic, handle, places, pending, news, seam, .. } = self;
        let Some(handle) = handle else { return false };
        let way = Way { topics, handle, name: topic.as_ref() };
        let mut any = false;
        *seam = false;
        for place in places {
            match place.cross(&way) {
                Ok(crossed) => {
                    any |= crossed;
                    *news |= place.untold != 0;
                }
                Err(error) => {
                    *seam = true;
                    *news = true;
                    *pending = Some(error);
                }
            }
        }
        any
    }
}

impl<H: Hold> Place<H> {
    /// Goes on in the next lease if all was read in this one; answers whether it did.
    pub(super) fn cross<S: Topics<Hold = H>>(&mut self, way: &Way<'_, S>) -> Result<bool, PollError> {
        let Some(cursor) = &mut self.cursor else { return Ok(false) };
        let Some(missing) = way.cross(self.partition, cursor)? else { return Ok(false) };
        self.lose(missing);
        Ok(true)
    }

    /// Goes on to the next lease if `found` is the end of this one; answers whether it did.
    pub(super) fn go_on_behind<S: Topics<Hold = H>>(
        &mut self,
        way: &Way<'_, S>,
        found: Offset,
    ) -> Result<bool, PollError> {
        let partition = self.partition;
        let damaged = |damage| PollError::Corrupt { partition, damage };
        let Some(cursor) = &mut self.cursor else { return Ok(false) };
        if found >= cursor.tail() && cursor.pass_to_end().map_err(damaged)? { self.cross(way) } else { Ok(false) }
    }

    /// Moves to an offset, in whatever lease it is.
    pub(super) fn go_anywhere<S: Topics<Hold = H>>(&mut self, way: &Way<'_, S>, to: Offset) -> Result<(), PollError> {
        let partition = self.partition;
        let damaged = |damage| PollError::Corrupt { partition, damage };
        let mut back = true;
        for _ in 0..EXTENTS {
            let Some(cursor) = &mut self.cursor else { return Ok(()) };
            let error = match cursor.seek(to) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            match error {
                // All of this lease is passed over, if the place is in one behind it.
                SeekError::Beyond { .. } | SeekError::Lease(LeaseError::Fenced) if to >= cursor.tail() => {
                    let tail = way.tail(partition)?;
                    if to > tail {
                        return Err(PollError::seek(partition, SeekError::Beyond { tail }));
                    }
                    if !cursor.pass_to_end().map_err(damaged)? {
                        return Err(PollError::seek(partition, error));
                    }
                    self.cross(way)?;
                }
                // From the oldest lease on.
                SeekError::Reclaimed { .. } | SeekError::Lease(LeaseError::Fenced) if back => {
                    back = false;
                    let oldest = way.with(partition, |log| Ok(log.oldest_id()))?;
                    if oldest == cursor.lease_id() && !matches!(error, SeekError::Lease(_)) {
                        return Err(PollError::seek(partition, error));
                    }
                    let group = cursor.group().map_err(damaged)?;
                    self.park();
                    let (cursor, _) = way.join(partition, &group)?;
                    self.cursor = Some(cursor);
                }
                error => return Err(PollError::seek(partition, error)),
            }
        }
        Err(PollError::Sealed { partition })
    }
}
