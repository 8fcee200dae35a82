//! Handing out messages of the caller's own.

use super::{Consumer, PollError};
use crate::error::ReadError;
use crate::message::Message;
use crate::partition::{Cursor, Hold, Next};
use crate::topic::Topics;
use alloc::vec::Vec;

/// Messages that a list has room for from its first one on: just under a kilobyte, which allocators still hand out fast.
const FIRST: usize = 24;

impl<N: AsRef<str>, S: Topics, const P: usize> Consumer<N, S, P> {
    /// Copies up to `max` messages out. Within a partition they come in order; partitions take turns. One allocation for
    /// each message, besides that of the `Vec`; none if there is no message. Does not block.
    ///
    /// # Errors
    /// As [`poll_with`](Self::poll_with), but [`PollError::Scratch`]: works on every topic.
    pub fn poll(&mut self, topics: &S, max: usize) -> Result<Vec<Message>, PollError> {
        let mut messages = Vec::new();
        self.rounds(topics, max, |place, quota| {
            place.turn(quota, |cursor, partition| {
                Ok(take(cursor, partition)?.map(|message| {
                    if messages.capacity() == 0 {
                        messages.reserve_exact(max.min(FIRST));
                    }
                    messages.push(message);
                }))
            })
        })?;
        Ok(messages)
    }
}

/// Copies the next record to an allocation of exactly its size.
#[inline]
fn take<H: Hold>(cursor: &mut Cursor<H>, partition: u32) -> Result<Next<Message>, ReadError> {
    let mut bytes = Vec::new();
    let room = &mut bytes;
    let copied = cursor.copy_raw(|len| {
        *room = Vec::with_capacity(len);
        room.resize(len, 0);
        Some(room.as_mut_slice())
    })?;
    let Some(copied) = copied else { return Ok(Next::None) };
    match Message::parse(partition, copied.offset(), copied.tag(), bytes.into_boxed_slice()) {
        Ok(message) => Ok(Next::One(message)),
        Err(damage) => {
            cursor.back_to(copied.offset());
            Ok(Next::Bad(damage))
        }
    }
}
