//! Waiting for messages of the caller's own.

use super::{Consumer, PollError, Ready};
use crate::message::Message;
use crate::topic::Topics;
use crate::types::Ticks;
use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

impl<N: AsRef<str>, S: Topics, const P: usize> Consumer<N, S, P> {
    /// [Waits](Self::wait_until) until there are messages, and [polls](Self::poll) up to `max` of them; none if the deadline
    /// came first, or `max` is 0. A deadline that has passed makes it a poll.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn poll_until(&mut self, topics: &S, max: usize, deadline: Ticks) -> Result<Vec<Message>, PollError> {
        loop {
            let waited = self.wait_until(topics, deadline)?;
            let messages = self.poll(topics, max)?;
            // What was there may be nothing to hand out: a loss that is only counted, say.
            if !waited || max == 0 || !messages.is_empty() {
                return Ok(messages);
            }
        }
    }

    /// [Waits](Self::ready) until there are messages, and [polls](Self::poll) up to `max` of them; none only if `max` is 0. May
    /// be dropped at any time, with nothing lost.
    ///
    /// ```
    /// # #[cfg(feature = "std")]
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use fabric_mq::consumer::Consumer;
    /// use fabric_mq::producer::Producer;
    /// use fabric_mq::topic::{TopicConfig, TopicManager};
    /// use std::pin::pin;
    /// use std::task::{Context, Poll, Waker};
    ///
    /// let topics = TopicManager::new();
    /// topics.create("events", TopicConfig::default())?;
    /// let mut consumer = Consumer::new("events", "my-group");
    /// consumer.assign(&[0, 1, 2, 3]);
    ///
    /// // An executor would do this.
    /// let mut context = Context::from_waker(Waker::noop());
    /// let mut batch = pin!(consumer.next_batch(&topics, 100));
    /// assert!(batch.as_mut().poll(&mut context).is_pending());
    /// Producer::new("events").send(&topics, b"hello")?;
    /// let Poll::Ready(messages) = batch.as_mut().poll(&mut context) else { panic!("a message was sent") };
    /// assert_eq!(messages?[0].payload(), b"hello");
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "std"))]
    /// # fn main() {}
    /// # #[cfg(feature = "std")]
    /// # use std::future::Future;
    /// ```
    ///
    /// # Errors
    /// As [`poll`](Self::poll) and [`ready`](Self::ready).
    pub const fn next_batch<'c>(&'c mut self, topics: &'c S, max: usize) -> NextBatch<'c, N, S, P> {
        NextBatch { ready: self.ready(topics), max }
    }
}

/// See [`Consumer::next_batch`].
#[must_use = "a future does nothing until it is polled"]
pub struct NextBatch<'c, N: AsRef<str>, S: Topics, const P: usize> {
    ready: Ready<'c, N, S, P>,
    max: usize,
}

impl<N: AsRef<str>, S: Topics, const P: usize> Future for NextBatch<'_, N, S, P> {
    type Output = Result<Vec<Message>, PollError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { ready, max } = Pin::into_inner(self);
        loop {
            if ready.look(context)?.is_pending() {
                return Poll::Pending;
            }
            let messages = ready.consumer.poll(ready.topics, *max)?;
            if *max == 0 || !messages.is_empty() {
                return Poll::Ready(Ok(messages));
            }
        }
    }
}

impl<N: AsRef<str>, S: Topics, const P: usize> fmt::Debug for NextBatch<'_, N, S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NextBatch").field("ready", &self.ready).field("max", &self.max).finish()
    }
}
