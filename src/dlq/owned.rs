//! Letters and records of the caller's own.

use super::cause::Reason;
use super::control::Control;
use super::error::DlqError;
use super::letter::DeadLetter;
use super::queue::{Browsed, DeadLetters, LetterAt};
use super::router::DlqRouter;
use super::verdict::{Polled, Receipt};
use crate::lease::{Lease, Lend};
use crate::message::Message;
use crate::partition::Hold;
use crate::topic::Topics;
use alloc::vec::Vec;

/// A dead letter copied out of its queue.
#[derive(Clone, Debug)]
pub struct Letter {
    message: Message,
    control: Control,
}

impl Letter {
    /// The same letter, borrowed.
    #[must_use]
    pub fn view(&self) -> DeadLetter<'_> {
        DeadLetter { message: self.message.view(), control: self.control }
    }
}

impl From<DeadLetter<'_>> for Letter {
    fn from(letter: DeadLetter<'_>) -> Self {
        Self { message: letter.message.into(), control: letter.control }
    }
}

/// A record handed out by [`DlqRouter::poll`], to be settled by its receipt.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Delivered {
    /// The record.
    pub message: Message,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// What to settle it by.
    pub receipt: Receipt,
}

impl DeadLetters {
    /// Copies up to `max` letters out, from a place on; nothing is taken out of the queue. Allocates for each letter.
    ///
    /// # Errors
    /// As [`browse_with`](Self::browse_with).
    pub fn browse<S: Topics>(&self, topics: &S, from: LetterAt, max: usize) -> Result<(Vec<Letter>, Browsed), DlqError>
    where
        <<S::Hold as Hold>::Lease as Lease>::Trust: Lend,
    {
        let mut letters = Vec::new();
        let browsed = self.browse_with(topics, from, max, |letter| letters.push((*letter).into()))?;
        Ok((letters, browsed))
    }
}

impl<N: AsRef<str>, S: Topics, const P: usize, const T: usize> DlqRouter<N, S, P, T>
where
    <<S::Hold as Hold>::Lease as Lease>::Trust: Lend,
{
    /// Copies up to `max` records out, each of them to be settled by its receipt; see [`take_with`](Self::take_with).
    /// Allocates for each record.
    ///
    /// # Errors
    /// As [`poll_with`](Self::poll_with).
    pub fn poll(&mut self, topics: &S, max: usize) -> Result<(Vec<Delivered>, Polled), DlqError> {
        let mut records = Vec::new();
        let polled = self.take_with(topics, max, |delivery| {
            records.push(Delivered {
                message: delivery.message().into(),
                attempt: delivery.attempt(),
                receipt: delivery.receipt(),
            });
        })?;
        Ok((records, polled))
    }
}

/// Makes a reason of an error that is a string.
impl From<alloc::string::String> for Reason {
    fn from(text: alloc::string::String) -> Self {
        Self::new(text)
    }
}
