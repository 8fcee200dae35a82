//! What an implementation has to offer: two ends, and a queue that is split into them.
//!
//! A workload is generic over these traits and is compiled once for each implementation and payload size, so that
//! nothing stands between its loop and the implementation: no trait object, no function pointer, no closure call.
//!
//! All waiting is done by the workload (see [`crate::polling`]); the ends only try.

use crate::messages::{Messages, Sum};

/// Messages that fit into the queue of every workload but ping-pong.
pub const CAPACITY: usize = 1024;

/// Messages that fit into each of the two queues of the ping-pong. Few, so that they stay in the first-level cache.
pub const PING_PONG_CAPACITY: usize = 64;

/// Messages handed over by one call in the rows named "batches".
pub const BATCH: usize = 32;

/// The end that messages go into.
pub trait Inlet<const N: usize>: Send {
    /// Copies the ready message number `index` in and makes it visible to the consumer before returning.
    /// `false`, with nothing changed, if there is no room now.
    ///
    /// Peers whose elements have one fixed size take `messages.fixed(index)`, a `&[u8; N]`. Those that carry any
    /// length take `messages.bytes(index)`, a `&[u8]` whose length the compiler does not know.
    fn try_send(&mut self, messages: &Messages<'_, N>, index: usize) -> bool;

    /// Copies the messages `first .. first + most` in and makes them visible together; `most` is 1 to [`BATCH`].
    /// The number that went in: all, a prefix, or 0 if there is no room now.
    ///
    /// Called in the rows registered as batches only; the default is for the others.
    fn try_send_batch(&mut self, messages: &Messages<'_, N>, first: usize, most: usize) -> usize {
        debug_assert!(most > 0, "a batch of nothing");
        usize::from(self.try_send(messages, first))
    }
}

/// The end that messages come out of.
pub trait Outlet: Send {
    /// Shows waiting messages to `sum`, each once and in order. Their number; 0 if none waits. Their room need not be
    /// free at once, but has to be for a consumer that goes on asking.
    ///
    /// Rows named after their peer alone take one message per call, unless draining is the only thing that the peer's
    /// own interface offers (disruptor). Those named "batches", "chunks" or "slices" take what waits.
    /// `sum` should see the message where it lies if the peer lends it, and the copy if the peer copies out.
    fn try_take(&mut self, sum: &mut Sum) -> usize;

    /// As `try_take`, in the rows registered as batches.
    fn try_take_batch(&mut self, sum: &mut Sum) -> usize {
        self.try_take(sum)
    }

    /// Called where one thread turns from taking to sending: gives back the room of all that was taken, for peers that
    /// otherwise do so now and then only. Its time counts.
    fn turn(&mut self) {}
}

/// A queue of `N`-byte messages with `P` producers and `C` consumers, each of which sees every message.
///
/// An end may borrow from the queue or own what it needs; it is moved into its thread.
pub trait Queue<const N: usize, const P: usize, const C: usize>: Sized {
    type Inlet<'a>: Inlet<N>
    where
        Self: 'a;
    type Outlet<'a>: Outlet
    where
        Self: 'a;

    /// An empty queue for at least `messages` messages ([`CAPACITY`] or [`PING_PONG_CAPACITY`]); one less is fine for a
    /// peer that keeps a slot free. No workload has more than 1000 (62) in it without a consumer running.
    fn with_capacity(messages: usize) -> Self;

    /// The ends. Called once.
    fn split(&mut self) -> ([Self::Inlet<'_>; P], [Self::Outlet<'_>; C]);
}
