//! Handing out messages of the caller's own.

use super::{Consumer, PollError};
use crate::error::ReadError;
use crate::message::Message;
use crate::partition::{Cursor, Hold, Next};
use crate::topic::Topics;
use alloc::vec::Vec;

impl<N: AsRef<str>, S: Topics, const P: usize> Consumer<N, S, P> {
    /// Copies up to `max` messages out. Within a partition they come in order; partitions take turns. One allocation for
    /// each message, besides that of the `Vec`. Does not block.
    ///
    /// # Errors
    /// As [`poll_with`](Self::poll_with), but [`PollError::Scratch`]: works on every topic.
    pub fn poll(&mut self, topics: &S, max: usize) -> Result<Vec<Message>, PollError> {
        let mut messages = Vec::new();
        self.rounds(topics, max, |place, quota| {
            place.turn(quota, |cursor, partition| Ok(take(cursor, partition)?.map(|message| messages.push(message))))
        })?;
        Ok(messages)
    }
}

/// Copies the next record to an allocation of exactly its size.
fn take<H: Hold>(cursor: &mut Cursor<H>, partition: u32) -> Result<Next<Message>, ReadError> {
    let mut bytes = Vec::new();
    let copied = loop {
        match cursor.copy_raw(&mut bytes) {
            Err(ReadError::Buffer { needed }) => bytes.resize(needed, 0),
            Ok(Some(copied)) => break copied,
            Ok(None) => return Ok(Next::None),
            Err(error) => return Err(error),
        }
    };
    bytes.truncate(copied.len());
    match Message::parse(partition, copied.offset(), copied.tag(), bytes) {
        Ok(message) => Ok(Next::One(message)),
        Err(damage) => {
            cursor.back_to(copied.offset());
            Ok(Next::Bad(damage))
        }
    }
}
