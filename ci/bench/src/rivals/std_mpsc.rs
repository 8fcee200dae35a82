//! The channel of the standard library, bounded.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::messages::{Messages, Sum};
use crate::queue::{Inlet, Outlet, Queue};
use crate::registry::{Kind, Rows};

pub fn register<const N: usize>(rows: &mut Rows) {
    rows.pipe::<N, Channel>("std sync_channel", Kind::CopiesOut);
    rows.funnel::<N, Channel>("std sync_channel", Kind::CopiesOut);
}

struct Channel {
    capacity: usize,
}

impl<const N: usize, const P: usize> Queue<N, P, 1> for Channel {
    type Inlet<'a> = SyncSender<[u8; N]>;
    type Outlet<'a> = Receiver<[u8; N]>;

    fn with_capacity(messages: usize) -> Self {
        Self { capacity: messages }
    }

    fn split(&mut self) -> ([Self::Inlet<'_>; P], [Self::Outlet<'_>; 1]) {
        let (sender, receiver) = sync_channel(self.capacity);
        (std::array::from_fn(|_| sender.clone()), [receiver])
    }
}

impl<const N: usize> Inlet<N> for SyncSender<[u8; N]> {
    #[inline(always)]
    fn try_send(&mut self, messages: &Messages<'_, N>, index: usize) -> bool {
        SyncSender::try_send(self, *messages.fixed(index)).is_ok()
    }
}

impl<const N: usize> Outlet for Receiver<[u8; N]> {
    #[inline(always)]
    fn try_take(&mut self, sum: &mut Sum) -> usize {
        match self.try_recv() {
            Ok(message) => {
                sum.see(&message);
                1
            }
            Err(_) => 0,
        }
    }
}
