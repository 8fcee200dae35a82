//! kanal, bounded.

use kanal::{Receiver, Sender, bounded};

use crate::messages::{Messages, Sum};
use crate::queue::{Inlet, Outlet, Queue};
use crate::registry::{Kind, Rows};

pub fn register<const N: usize>(rows: &mut Rows) {
    rows.pipe::<N, Channel>("kanal", Kind::CopiesOut);
    rows.funnel::<N, Channel>("kanal", Kind::CopiesOut);
}

struct Channel {
    capacity: usize,
}

impl<const N: usize, const P: usize> Queue<N, P, 1> for Channel {
    type Inlet<'a> = Sender<[u8; N]>;
    type Outlet<'a> = Receiver<[u8; N]>;

    fn with_capacity(messages: usize) -> Self {
        Self { capacity: messages }
    }

    fn split(&mut self) -> ([Self::Inlet<'_>; P], [Self::Outlet<'_>; 1]) {
        let (sender, receiver) = bounded(self.capacity);
        (std::array::from_fn(|_| sender.clone()), [receiver])
    }
}

impl<const N: usize> Inlet<N> for Sender<[u8; N]> {
    #[inline(always)]
    fn try_send(&mut self, messages: &Messages<'_, N>, index: usize) -> bool {
        // Ok(false) says full.
        matches!(Sender::try_send(self, *messages.fixed(index)), Ok(true))
    }
}

impl<const N: usize> Outlet for Receiver<[u8; N]> {
    #[inline(always)]
    fn try_take(&mut self, sum: &mut Sum) -> usize {
        match self.try_recv() {
            Ok(Some(message)) => {
                sum.see(&message);
                1
            }
            Ok(None) | Err(_) => 0,
        }
    }
}
