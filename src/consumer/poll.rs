//! Handing records out.

use super::seam::Way;
use super::{Consumer, Place, PollError, ReleaseOn};
use crate::error::{LeaseError, ReadError};
use crate::lease::{Lease, Lend};
use crate::message::MessageRef;
use crate::partition::{Cursor, Hold, Next};
use crate::topic::Topics;

/// What came out of one partition's turn.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) count: usize,
    /// What ends the poll.
    pub(super) error: Option<PollError>,
}

impl<N: AsRef<str>, S: Topics, const P: usize> Consumer<N, S, P> {
    /// Hands up to `max` messages to `visit`, where they lie; answers how many. Within a partition they come in order;
    /// partitions take turns, so that none starves. Does not block, allocate or copy.
    ///
    /// # Errors
    /// [`PollError`]. An error that turns up behind messages is told by the next poll, so that they are not lost.
    /// Partitions that overwrite hand out by copy: [`PollError::Scratch`] points to [`poll_into`](Self::poll_into).
    pub fn poll_with(
        &mut self,
        topics: &S,
        max: usize,
        mut visit: impl FnMut(MessageRef<'_>),
    ) -> Result<usize, PollError>
    where
        <<S::Hold as Hold>::Lease as Lease>::Trust: Lend,
    {
        self.rounds(topics, max, |place, quota| {
            place.turn(quota, |cursor, partition| Ok(cursor.read(partition, &mut [], &mut visit)?.map(|()| ())))
        })
    }

    /// The same by copy, through `scratch`, which must hold the largest record with its envelope. Works on every topic.
    /// Does not block or allocate.
    ///
    /// # Errors
    /// As [`poll_with`](Self::poll_with); [`PollError::Scratch`] if a record does not fit: it is still there.
    pub fn poll_into(
        &mut self,
        topics: &S,
        max: usize,
        scratch: &mut [u8],
        mut visit: impl FnMut(MessageRef<'_>),
    ) -> Result<usize, PollError> {
        self.rounds(topics, max, |place, quota| {
            place.turn(quota, |cursor, partition| Ok(cursor.copy(partition, scratch)?.map(&mut visit)))
        })
    }

    const SEALABLE: bool = Way::<S>::SEALABLE;

    /// One poll: releases what the one before handed out, then lets the partitions take turns until `max` messages were
    /// handed out or none has any left.
    pub(super) fn rounds(
        &mut self,
        topics: &S,
        max: usize,
        mut turn: impl FnMut(&mut Place<S::Hold>, usize) -> Turn,
    ) -> Result<usize, PollError> {
        self.tell()?;
        self.ready_places(topics)?;
        if Self::SEALABLE && self.news {
            self.tell_losses()?;
        }
        for place in &mut self.places {
            let partition = place.partition;
            let Some(cursor) = &mut place.cursor else { continue };
            let held = if self.release_on == ReleaseOn::Poll { cursor.release() } else { Ok(()) };
            held.and_then(|()| cursor.check()).map_err(|error| PollError::Lease { partition, error })?;
        }
        if Self::SEALABLE && self.seam {
            self.cross(topics);
            self.tell_losses()?;
        }
        let active = self.places.iter().filter(|place| !place.paused).count();
        let Some(quantum) = max.checked_div(active).map(|share| share.max(1)) else { return Ok(0) };
        let first = if self.turn < self.places.len() { self.turn } else { 0 };
        self.turn = first.wrapping_add(1);
        let mut total: usize = 0;
        'poll: loop {
            let before = total;
            let (late, early) = self.places.split_at_mut_checked(first).unwrap_or_default();
            for place in early.iter_mut().chain(late).filter(|place| !place.paused) {
                let left = max.saturating_sub(total);
                if left == 0 {
                    break 'poll;
                }
                let done = turn(place, quantum.min(left));
                total = total.saturating_add(done.count);
                if let Some(error) = done.error {
                    if Self::SEALABLE && matches!(error, PollError::Sealed { .. }) {
                        // The others go on meanwhile.
                        self.seam = true;
                        continue;
                    }
                    self.news = true;
                    match error {
                        // Told before anything behind the gap is handed out.
                        PollError::Lagging { lost, .. } => place.lose(lost),
                        error => self.pending = Some(error),
                    }
                    break 'poll;
                }
            }
            if total == before {
                if Self::SEALABLE && total == 0 && self.seam && self.cross(topics) {
                    self.tell_losses()?;
                    continue;
                }
                break;
            }
        }
        if total == 0 {
            self.tell()?;
        }
        Ok(total)
    }

    /// Tells what could not be told before.
    #[inline]
    pub(super) fn tell(&mut self) -> Result<(), PollError> {
        if self.news { self.tell_news() } else { Ok(()) }
    }

    #[cold]
    #[inline(never)]
    fn tell_news(&mut self) -> Result<(), PollError> {
        self.tell_losses()?;
        self.news = false;
        self.pending.take().map_or(Ok(()), Err)
    }

    /// Tells what was lost, before what comes behind it is handed out.
    fn tell_losses(&mut self) -> Result<(), PollError> {
        let tell_loss = self.fail_on_loss;
        for place in self.places.iter_mut().filter(|place| place.untold != 0) {
            let lost = core::mem::take(&mut place.untold);
            if tell_loss {
                return Err(PollError::Lagging { partition: place.partition, lost });
            }
        }
        Ok(())
    }
}

impl<H: Hold> Place<H> {
    /// Lets `read` take up to `quota` records.
    #[inline]
    pub(super) fn turn(
        &mut self,
        quota: usize,
        mut read: impl FnMut(&mut Cursor<H>, u32) -> Result<Next<()>, ReadError>,
    ) -> Turn {
        let partition = self.partition;
        let mut done = Turn::default();
        let Some(cursor) = &mut self.cursor else { return done };
        let error = loop {
            if done.count >= quota {
                return done;
            }
            match read(cursor, partition) {
                Ok(Next::One(())) => done.count = done.count.saturating_add(1),
                Ok(Next::None) => return done,
                // Somebody is taking the partition over from this process: where it goes on is about to be said.
                Err(ReadError::Lease(LeaseError::Fenced)) if cursor.can_be_ended() => return done,
                Ok(Next::Bad(damage)) => break PollError::Corrupt { partition, damage },
                Err(error) => break PollError::read(partition, error),
            }
        };
        done.error = Some(error);
        done
    }
}

impl<T> Next<T> {
    pub(super) fn map<R>(self, f: impl FnOnce(T) -> R) -> Next<R> {
        match self {
            Self::One(one) => Next::One(f(one)),
            Self::None => Next::None,
            Self::Bad(damage) => Next::Bad(damage),
        }
    }
}
