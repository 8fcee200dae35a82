//! thingbuf: its blocking channel, by the references it lends.

use thingbuf::mpsc::blocking::{Receiver, Sender, with_recycle};
use thingbuf::recycling::Recycle;

use crate::messages::{Messages, Sum};
use crate::queue::{Inlet, Outlet, Queue};
use crate::registry::{Kind, Rows};

pub fn register<const N: usize>(rows: &mut Rows) {
    rows.pipe::<N, Channel>("thingbuf mpsc", Kind::Lends);
    rows.funnel::<N, Channel>("thingbuf mpsc", Kind::Lends);
}

struct Channel {
    capacity: usize,
}

/// Leaves used elements as they are: the default would clear each one, a second copy of its size.
#[derive(Clone, Copy)]
struct AsItIs;

impl<const N: usize> Recycle<[u8; N]> for AsItIs {
    fn new_element(&self) -> [u8; N] {
        [0; N]
    }

    #[inline(always)]
    fn recycle(&self, _: &mut [u8; N]) {}
}

impl<const N: usize, const P: usize> Queue<N, P, 1> for Channel {
    type Inlet<'a> = Sender<[u8; N], AsItIs>;
    type Outlet<'a> = Receiver<[u8; N], AsItIs>;

    fn with_capacity(messages: usize) -> Self {
        Self { capacity: messages }
    }

    fn split(&mut self) -> ([Self::Inlet<'_>; P], [Self::Outlet<'_>; 1]) {
        let (sender, receiver) = with_recycle(self.capacity, AsItIs);
        (std::array::from_fn(|_| sender.clone()), [receiver])
    }
}

impl<const N: usize> Inlet<N> for Sender<[u8; N], AsItIs> {
    #[inline(always)]
    fn try_send(&mut self, messages: &Messages<'_, N>, index: usize) -> bool {
        match self.try_send_ref() {
            Ok(mut slot) => {
                *slot = *messages.fixed(index);
                true
            }
            Err(_) => false,
        }
    }
}

impl<const N: usize> Outlet for Receiver<[u8; N], AsItIs> {
    #[inline(always)]
    fn try_take(&mut self, sum: &mut Sum) -> usize {
        match self.try_recv_ref() {
            Ok(message) => {
                sum.see(&*message);
                1
            }
            Err(_) => 0,
        }
    }
}
