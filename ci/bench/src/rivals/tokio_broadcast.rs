//! tokio's broadcast channel. It overwrites what a slow receiver has not seen; asking for its length before each send
//! makes it lossless, at the price of one more lock.

use tokio::sync::broadcast::error::TryRecvError;
use tokio::sync::broadcast::{Receiver, Sender, channel};

use crate::messages::{Messages, Sum};
use crate::queue::{Inlet, Outlet, Queue};
use crate::registry::{Kind, Rows};

pub fn register<const N: usize>(rows: &mut Rows) {
    rows.broadcast::<N, Broadcast>("tokio broadcast", Kind::CopiesOut);
}

struct Broadcast {
    capacity: usize,
}

struct Lossless<const N: usize> {
    sender: Sender<[u8; N]>,
    capacity: usize,
}

impl<const N: usize, const C: usize> Queue<N, 1, C> for Broadcast {
    type Inlet<'a> = Lossless<N>;
    type Outlet<'a> = Receiver<[u8; N]>;

    fn with_capacity(messages: usize) -> Self {
        Self { capacity: messages }
    }

    fn split(&mut self) -> ([Self::Inlet<'_>; 1], [Self::Outlet<'_>; C]) {
        let (sender, first) = channel(self.capacity);
        drop(first);
        let receivers = std::array::from_fn(|_| sender.subscribe());
        ([Lossless { sender, capacity: self.capacity }], receivers)
    }
}

impl<const N: usize> Inlet<N> for Lossless<N> {
    #[inline(always)]
    fn try_send(&mut self, messages: &Messages<'_, N>, index: usize) -> bool {
        self.sender.len() < self.capacity && self.sender.send(*messages.fixed(index)).is_ok()
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
            Err(TryRecvError::Empty | TryRecvError::Closed) => 0,
            Err(TryRecvError::Lagged(lost)) => panic!("{lost} messages were overwritten"),
        }
    }
}
