//! crossbeam's array queue: any number of producers and consumers.

use crossbeam_queue::ArrayQueue;

use crate::messages::{Messages, Sum};
use crate::queue::{Inlet, Outlet, Queue};
use crate::registry::{Kind, Rows};

pub fn register<const N: usize>(rows: &mut Rows) {
    rows.pipe::<N, ArrayQueue<[u8; N]>>("crossbeam ArrayQueue", Kind::CopiesOut);
    rows.funnel::<N, ArrayQueue<[u8; N]>>("crossbeam ArrayQueue", Kind::CopiesOut);
}

impl<const N: usize, const P: usize> Queue<N, P, 1> for ArrayQueue<[u8; N]> {
    type Inlet<'a> = &'a Self;
    type Outlet<'a> = &'a Self;

    fn with_capacity(messages: usize) -> Self {
        Self::new(messages)
    }

    fn split(&mut self) -> ([Self::Inlet<'_>; P], [Self::Outlet<'_>; 1]) {
        ([&*self; P], [self])
    }
}

impl<const N: usize> Inlet<N> for &'_ ArrayQueue<[u8; N]> {
    #[inline(always)]
    fn try_send(&mut self, messages: &Messages<'_, N>, index: usize) -> bool {
        self.push(*messages.fixed(index)).is_ok()
    }
}

impl<const N: usize> Outlet for &'_ ArrayQueue<[u8; N]> {
    #[inline(always)]
    fn try_take(&mut self, sum: &mut Sum) -> usize {
        match self.pop() {
            Some(message) => {
                sum.see(&message);
                1
            }
            None => 0,
        }
    }
}
