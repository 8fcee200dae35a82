//! Waiting for messages: a thread that sleeps, or a task.
//!
//! A topic has one bell for all its partitions, with a bit for each. Producers ring it in this process, and nobody else need: the
//! writers' places of a topic's partitions are held by its [`Topics`].

use super::seam::Way;
use super::{Consumer, PollError, ReleaseOn};
use crate::error::{LeaseError, ReadError};
use crate::platform::bell::{ALL, bit};
use crate::topic::Topics;
use crate::types::Ticks;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

/// How long a consumer that nobody wakes sleeps before it looks by itself, if nothing else was said.
pub(super) const RECHECK: Ticks = Ticks::from_millis(100);

impl<N: AsRef<str>, S: Topics, const P: usize> Consumer<N, S, P> {
    /// Sleeps until one of the assigned partitions that are not paused has something to hand out, or the deadline, by the clock
    /// of the topics; answers whether there is something. A deadline that has passed makes it a look; [`Ticks::MAX`] is never.
    /// Releases what the last poll handed out, as the next one would.
    ///
    /// Producers wake it, and so does the deletion of the topic. The end of a lease, and a clock that is set forward, are seen
    /// at the next [recheck](Self::with_recheck). With `std` on Linux it sleeps on a futex; elsewhere with `std` it looks every
    /// millisecond; without `std` it spins. Blocks; does not allocate.
    ///
    /// ```
    /// # #[cfg(feature = "std")]
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use fabric_mq::Ticks;
    /// use fabric_mq::consumer::Consumer;
    /// use fabric_mq::producer::Producer;
    /// use fabric_mq::topic::{TopicConfig, TopicManager};
    ///
    /// let topics = TopicManager::new();
    /// topics.create("events", TopicConfig::default())?;
    /// let mut consumer = Consumer::new("events", "my-group");
    /// consumer.assign(&[0, 1, 2, 3]);
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| Producer::new("events").send(&topics, b"hello"));
    ///     assert!(consumer.wait_until(&topics, Ticks::MAX)?);
    ///     assert_eq!(consumer.poll_with(&topics, 1, |message| assert_eq!(message.payload(), b"hello"))?, 1);
    ///     Ok(())
    /// })
    /// # }
    /// # #[cfg(not(feature = "std"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// As [`poll_with`](Self::poll_with).
    pub fn wait_until(&mut self, topics: &S, deadline: Ticks) -> Result<bool, PollError> {
        let mut step = 0_u32;
        while !self.look(topics)? {
            let bits = self.bits();
            let Some(handle) = self.handle.clone() else { return Ok(false) };
            let words = topics.topic(&handle, self.topic.as_ref()).map_err(PollError::Topic)?.bell().words();
            if topics.now() >= deadline {
                return Ok(false);
            }
            let seen = words.listen(bits);
            if self.look(topics)? {
                break;
            }
            let left = deadline.as_millis().saturating_sub(topics.now().as_millis());
            if left != 0 {
                words.sleep(seen, bits, left.min(self.recheck.as_millis()), step);
                step = step.saturating_add(1);
            }
        }
        Ok(true)
    }

    /// Waits until one of the assigned partitions that are not paused has something to hand out: what the next poll will. Releases
    /// what the last poll handed out, as that one would. May be dropped at any time, with nothing lost; allocates nothing, and
    /// runs on any executor.
    ///
    /// Producers wake it, and so does the deletion of the topic. The end of a lease wakes nobody: whoever wants to be told of it
    /// has a timer beside this.
    ///
    /// # Errors
    /// As [`poll_with`](Self::poll_with); [`PollError::WakersFull`] if more tasks wait for the topic than it has places for: in
    /// a `TopicManager` one for each group in each partition, and 1,024 at most; in [`StaticTopics`](crate::topic::StaticTopics) 4.
    pub const fn ready<'c>(&'c mut self, topics: &'c S) -> Ready<'c, N, S, P> {
        Ready { consumer: self, topics, place: None }
    }

    /// Whether there is something to hand out; releases what the last poll handed out.
    pub(super) fn look(&mut self, topics: &S) -> Result<bool, PollError> {
        self.tell()?;
        self.ready_places(topics)?;
        let mut found = false;
        for place in &mut self.places {
            let partition = place.partition;
            let Some(cursor) = &mut place.cursor else { continue };
            let held = if self.release_on == ReleaseOn::Poll { cursor.release() } else { Ok(()) };
            held.and_then(|()| cursor.check()).map_err(|error| PollError::Lease { partition, error })?;
            if !place.paused {
                found |= match cursor.is_ready() {
                    // As in a poll.
                    Err(ReadError::Lease(LeaseError::Fenced)) if cursor.can_be_ended() => false,
                    ready => ready.map_err(|error| PollError::read(partition, error))?,
                };
            }
            if Way::<S>::SEALABLE && found && matches!(cursor.ended(), Ok(Some(_))) {
                self.seam = true;
            }
        }
        if Way::<S>::SEALABLE && self.seam && self.cross(topics) {
            // What is there to hand out is in the next lease.
            return self.look(topics);
        }
        Ok(found)
    }

    /// The bits of what it waits for.
    fn bits(&self) -> u32 {
        let active = self.places.iter().filter(|place| !place.paused);
        match active.fold(0, |bits, place| bits | bit(place.partition)) {
            // For the topic's end alone.
            0 => ALL,
            bits => bits,
        }
    }
}

/// See [`Consumer::ready`].
#[must_use = "a future does nothing until it is polled"]
pub struct Ready<'c, N: AsRef<str>, S: Topics, const P: usize> {
    pub(super) consumer: &'c mut Consumer<N, S, P>,
    pub(super) topics: &'c S,
    /// The seat at the topic's bell, and the topic it is in.
    place: Option<(S::Handle, Option<usize>)>,
}

impl<N: AsRef<str>, S: Topics, const P: usize> Ready<'_, N, S, P> {
    pub(super) fn look(&mut self, context: &Context<'_>) -> Poll<Result<(), PollError>> {
        if self.consumer.look(self.topics)? {
            return Poll::Ready(Ok(()));
        }
        let bits = self.consumer.bits();
        let name = self.consumer.topic.as_ref();
        if self.place.is_none() {
            self.place = self.consumer.handle.clone().map(|handle| (handle, None));
        }
        let Some((handle, seat)) = &mut self.place else { return Poll::Pending };
        let bell = self.topics.topic(handle, name).map_err(PollError::Topic)?.bell().get();
        if !bell.register(seat, bits, context.waker()) {
            return Poll::Ready(Err(PollError::WakersFull { limit: bell.limit() }));
        }
        // What was sent before the bell knew of this task.
        if self.consumer.look(self.topics)? { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl<N: AsRef<str>, S: Topics, const P: usize> Future for Ready<'_, N, S, P> {
    type Output = Result<(), PollError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::into_inner(self).look(context)
    }
}

impl<N: AsRef<str>, S: Topics, const P: usize> Drop for Ready<'_, N, S, P> {
    fn drop(&mut self) {
        // A topic that was deleted wakes nobody any more.
        if let Some((handle, seat)) = &mut self.place
            && let Ok(topic) = self.topics.topic(handle, self.consumer.topic.as_ref())
        {
            topic.bell().get().leave(seat);
        }
    }
}

impl<N: AsRef<str>, S: Topics, const P: usize> fmt::Debug for Ready<'_, N, S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("consumer", &self.consumer).finish_non_exhaustive()
    }
}
