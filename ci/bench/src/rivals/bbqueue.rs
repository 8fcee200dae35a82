//! bbqueue: frames of any length, lent in place.

use bbqueue::BBQueue;
use bbqueue::prod_cons::framed::{FramedConsumer, FramedProducer};
use bbqueue::traits::coordination::cas::AtomicCoord;
use bbqueue::traits::notifier::polling::Polling;
use bbqueue::traits::storage::BoxedSlice;

use crate::messages::{Messages, Sum};
use crate::queue::{Inlet, Outlet, Queue};
use crate::registry::{Kind, Rows};

pub fn register<const N: usize>(rows: &mut Rows) {
    rows.pipe::<N, Framed>("bbqueue framed", Kind::Lends);
}

type Framed = BBQueue<BoxedSlice, AtomicCoord, Polling>;

/// The length that bbqueue puts in front of a frame.
const PREFIX: usize = size_of::<u16>();

impl<const N: usize> Queue<N, 1, 1> for Framed {
    type Inlet<'a> = FramedProducer<&'a Self>;
    type Outlet<'a> = FramedConsumer<&'a Self>;

    fn with_capacity(messages: usize) -> Self {
        // One frame more, as the writer never catches up with the reader altogether.
        Self::new_with_storage(BoxedSlice::new((messages + 1) * (N + PREFIX)))
    }

    fn split(&mut self) -> ([Self::Inlet<'_>; 1], [Self::Outlet<'_>; 1]) {
        ([self.framed_producer()], [self.framed_consumer()])
    }
}

impl<const N: usize> Inlet<N> for FramedProducer<&'_ Framed> {
    #[inline(always)]
    fn try_send(&mut self, messages: &Messages<'_, N>, index: usize) -> bool {
        let message = messages.bytes(index);
        let length = message.len() as u16;
        match self.grant(length) {
            Ok(mut grant) => {
                grant.copy_from_slice(message);
                grant.commit(length);
                true
            }
            Err(_) => false,
        }
    }
}

impl Outlet for FramedConsumer<&'_ Framed> {
    #[inline(always)]
    fn try_take(&mut self, sum: &mut Sum) -> usize {
        match self.read() {
            Ok(frame) => {
                sum.see(&frame);
                frame.release();
                1
            }
            Err(_) => 0,
        }
    }
}
