//! Waiting for records in an `async` task, on whatever runs it: nothing here but `core::task`.

use super::{Copied, Reader, RecordRef, Retain, RingRef};
use crate::error::{Check, Corrupt, ReadError, WaitError};
use crate::lease::{Lease, Lend};
use crate::platform::bell::{ALL, Bell, BellRef};
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

/// A reader whose task sleeps until a [`Bell`] is rung.
///
/// Whoever writes rings the same bell behind it: another task, a thread, an interrupt handler. A write that is not followed by a
/// ring wakes nobody. Writers in other processes cannot ring it: a thread that [relays](super::Ring::relay), or a timer that rings it,
/// has to do so for them.
///
/// ```
/// use fabric_mq::lease::SliceLease;
/// use fabric_mq::ring::{AsyncReader, Bell, Reader, Ring, RingConfig, Start, Writer};
/// use std::future::Future;
/// use std::task::{Context, Poll, Waker};
///
/// static BELL: Bell = Bell::new();
/// let mut bytes = [0; 4096];
/// let ring: Ring<_> = Ring::format(SliceLease::new(&mut bytes), RingConfig::new(32, 1024))?;
/// let mut writer = Writer::claim(&ring)?;
/// let mut reader = AsyncReader::new(Reader::join(&ring, "main", Start::Earliest)?, &BELL);
///
/// let mut task = Box::pin(async move { reader.next().await.map(|record| record.payload().len()) });
/// let mut context = Context::from_waker(Waker::noop());
/// assert!(task.as_mut().poll(&mut context).is_pending());
/// writer.write(b"hello")?;
/// BELL.ring();
/// assert!(matches!(task.as_mut().poll(&mut context), Poll::Ready(Ok(5))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AsyncReader<'b, P: RingRef> {
    reader: Reader<P>,
    bell: BellRef<'b>,
}

impl<'b, P: RingRef> AsyncReader<'b, P> {
    /// A reader whose task is woken by this bell.
    #[must_use]
    pub const fn new<const N: usize>(reader: Reader<P>, bell: &'b Bell<N>) -> Self {
        Self { reader, bell: bell.get() }
    }

    /// The reader.
    #[must_use]
    pub const fn get(&self) -> &Reader<P> {
        &self.reader
    }

    /// The reader, to read or seek without waiting.
    pub const fn get_mut(&mut self) -> &mut Reader<P> {
        &mut self.reader
    }

    /// The reader alone.
    #[must_use]
    pub fn into_reader(self) -> Reader<P> {
        self.reader
    }

    /// Waits until there is something to read, or to be told of. May be dropped at any time. Does not allocate.
    ///
    /// # Errors
    /// [`WaitError::Read`] with [`ReadError::Lease`] if the lease has ended, as far as the task is woken: the end of a lease
    /// rings no bell. [`WaitError::WakersFull`] if as many tasks wait as the bell has places.
    pub const fn ready(&mut self) -> Ready<'_, P> {
        Ready { bell: self.bell, reader: &mut self.reader, seat: None }
    }

    /// Copies the next record to `buffer`, when there is one. What it has read is not lost when it is dropped before its end.
    ///
    /// # Errors
    /// As [`ready`](Self::ready); [`WaitError::Read`] as [`Reader::copy_next`].
    pub async fn copy_next(&mut self, buffer: &mut [u8]) -> Result<Copied, WaitError> {
        loop {
            self.ready().await?;
            if let Some(record) = self.reader.copy_next(buffer)? {
                return Ok(record);
            }
        }
    }
}

impl<P> AsyncReader<'_, P>
where
    P: RingRef<Keep = Retain>,
    <P::Lease as Lease>::Trust: Lend,
{
    /// The next record, in place, when there is one. Nothing is lost when it is dropped before its end.
    ///
    /// # Errors
    /// As [`ready`](Self::ready); [`WaitError::Read`] as [`Reader::next`].
    #[allow(clippy::should_implement_trait, reason = "lends from the reader, which Iterator cannot")]
    pub async fn next(&mut self) -> Result<RecordRef<'_>, WaitError> {
        self.ready().await?;
        let offset = self.reader.next_offset().value();
        // A stamp does not go away again where everybody keeps to the protocol.
        let gone = || ReadError::Corrupt(Corrupt::new(Check::Stamp, offset));
        self.reader.next()?.ok_or_else(|| gone().into())
    }
}

impl<P: RingRef> fmt::Debug for AsyncReader<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncReader").field("next", &self.reader.next_offset()).finish_non_exhaustive()
    }
}

/// See [`AsyncReader::ready`].
#[must_use = "a future does nothing until it is polled"]
pub struct Ready<'r, P: RingRef> {
    reader: &'r mut Reader<P>,
    bell: BellRef<'r>,
    seat: Option<usize>,
}

impl<P: RingRef> Future for Ready<'_, P> {
    type Output = Result<(), WaitError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { reader, bell, seat } = Pin::into_inner(self);
        if reader.is_ready()? {
            return Poll::Ready(Ok(()));
        }
        if !bell.register(seat, ALL, context.waker()) {
            return Poll::Ready(Err(WaitError::WakersFull { limit: bell.limit() }));
        }
        // What was committed before the bell knew of this task.
        if reader.is_ready()? { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl<P: RingRef> Drop for Ready<'_, P> {
    fn drop(&mut self) {
        self.bell.leave(&mut self.seat);
    }
}

impl<P: RingRef> fmt::Debug for Ready<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("waits", &self.seat.is_some()).finish_non_exhaustive()
    }
}
