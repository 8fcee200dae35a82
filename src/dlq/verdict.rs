//! What a router hands out, and what it is answered.

use super::cause::{Cause, Reason};
use super::error::DlqError;
use super::redriven::Redriven;
use crate::message::MessageRef;
use crate::types::{Offset, Ticks};
use core::fmt;

/// A record handed out, and which try it is.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    pub(super) message: MessageRef<'a>,
    pub(super) attempt: u32,
    pub(super) receipt: Receipt,
}

impl<'a> Delivery<'a> {
    /// The record, where it lies.
    #[must_use]
    pub const fn message(&self) -> MessageRef<'a> {
        self.message
    }

    /// Which try this is, from 1: failures so far, and one.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// What to settle it by, if that is done later.
    #[must_use]
    pub const fn receipt(&self) -> Receipt {
        self.receipt
    }

    /// The mark of a record that was sent back from the dead letter queue.
    #[must_use]
    pub fn redriven(&self) -> Option<Redriven<'a>> {
        Redriven::of(&self.message)
    }
}

/// One delivery of one record. The next delivery of the same record has another one: what is said about an earlier
/// delivery, too late, does not settle a later one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Receipt {
    pub(super) partition: u32,
    pub(super) offset: Offset,
    pub(super) delivery: u64,
}

impl Receipt {
    /// The record's partition.
    #[must_use]
    pub const fn partition(&self) -> u32 {
        self.partition
    }

    /// The record's number in it.
    #[must_use]
    pub const fn offset(&self) -> Offset {
        self.offset
    }
}

/// What became of a record that was handed out.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is done with.
    Ack,
    /// Not now: it is handed out again when this time has passed, and nothing is counted.
    Defer(Ticks),
    /// It failed: counted, and handed out again, or a dead letter if that was the last try.
    Nack(Reason),
    /// It is refused for good: a dead letter at once.
    Reject(Cause, Reason),
}

impl Verdict {
    /// It failed. See [`Verdict::Nack`].
    #[must_use]
    pub fn nack(why: impl fmt::Display) -> Self {
        Self::Nack(Reason::new(why))
    }

    /// It is refused for good, with [`Cause::Rejected`].
    #[must_use]
    pub fn reject(why: impl fmt::Display) -> Self {
        Self::Reject(Cause::Rejected, Reason::new(why))
    }

    /// It makes no sense: refused for good, with [`Cause::Undecodable`].
    #[must_use]
    pub fn undecodable(why: impl fmt::Display) -> Self {
        Self::Reject(Cause::Undecodable, Reason::new(why))
    }
}

/// What settling one record came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Settled {
    /// Done with.
    Acked,
    /// A dead letter now.
    Dead {
        /// In which partition of the dead letter queue.
        partition: u32,
        /// Under which number.
        offset: Offset,
    },
    /// It comes again, and nothing was counted.
    Deferred,
    /// It is to be a dead letter, but the queue did not take it: see [`DlqError::DlqFull`].
    Parked(DlqError),
    /// It comes again.
    Retry {
        /// How often it failed.
        attempts: u32,
    },
}

/// What one poll came to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[must_use = "it says whether something is held up"]
#[non_exhaustive]
pub struct Polled {
    /// Records handed out.
    pub handed: usize,
    /// Records that became dead letters, those included that had been parked.
    pub dead: usize,
    /// What holds something up, if anything does; the first that was met. The rest goes on, as far as the policy allows.
    pub held: Option<DlqError>,
}

impl Polled {
    pub(super) fn hold(&mut self, error: DlqError) {
        self.held.get_or_insert(error);
    }
}

/// What a router has counted since it was made. Every record is in one of four places:
/// `consumed = acked + pending + dead + parked`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Counters {
    /// Records taken from the source, each once, however often it was handed out. Those of a partition that was given up
    /// before they were settled are taken off again.
    pub consumed: u64,
    /// Records done with.
    pub acked: u64,
    /// Records that wait for another try, or are out.
    pub pending: u64,
    /// Records that are dead letters.
    pub dead: u64,
    /// Records that the dead letter queue has not taken yet.
    pub parked: u64,
    /// Hand-outs, each try counted.
    pub handed: u64,
    /// Failures.
    pub failures: u64,
    /// Deferrals.
    pub deferred: u64,
    /// Of the dead: those that were found in the queue already, written before a restart.
    pub recalled: u64,
    /// Of the acked: records redriven for another group, passed over.
    pub foreign: u64,
    /// Of the acked: records given up by [`give_up`](super::DlqRouter::give_up).
    pub given_up: u64,
}

impl Counters {
    /// Whether every record is accounted for.
    #[must_use]
    pub const fn is_conserved(&self) -> bool {
        let places = self.acked.saturating_add(self.pending).saturating_add(self.dead).saturating_add(self.parked);
        self.consumed == places
    }
}

/// A record that failed, or is out, or is parked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Failing<'a> {
    /// Its partition.
    pub partition: u32,
    /// Its number there.
    pub offset: Offset,
    /// How often it failed.
    pub attempts: u32,
    /// Where it is.
    pub state: FailingState,
    /// What was said about the last failure.
    pub reason: &'a str,
}

/// Where a record is that failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FailingState {
    /// Its count was carried over from before a restart; it has not come yet.
    Carried,
    /// It is out.
    Out,
    /// The dead letter queue has not taken it yet.
    Parked,
    /// It waits for its next try.
    Waiting,
}
