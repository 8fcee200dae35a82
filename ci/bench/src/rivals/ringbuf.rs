//! ringbuf: item by item, and by the slices it shows of itself.

use ringbuf::traits::{Consumer, Producer, Raw, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use crate::messages::{Messages, Sum};
use crate::queue::{Inlet, Outlet, Queue};
use crate::registry::{Kind, Rows};

pub fn register<const N: usize>(rows: &mut Rows) {
    rows.pipe::<N, Ringbuf>("ringbuf", Kind::CopiesOut);
    rows.pipe_batches::<N, Ringbuf>("ringbuf, slices", Kind::Lends);
}

struct Ringbuf {
    capacity: usize,
}

impl<const N: usize> Queue<N, 1, 1> for Ringbuf {
    type Inlet<'a> = HeapProd<[u8; N]>;
    type Outlet<'a> = HeapCons<[u8; N]>;

    fn with_capacity(messages: usize) -> Self {
        Self { capacity: messages }
    }

    fn split(&mut self) -> ([Self::Inlet<'_>; 1], [Self::Outlet<'_>; 1]) {
        let (producer, consumer) = HeapRb::new(self.capacity).split();
        ([producer], [consumer])
    }
}

impl<const N: usize> Inlet<N> for HeapProd<[u8; N]> {
    #[inline(always)]
    fn try_send(&mut self, messages: &Messages<'_, N>, index: usize) -> bool {
        self.try_push(*messages.fixed(index)).is_ok()
    }

    #[inline(always)]
    fn try_send_batch(&mut self, messages: &Messages<'_, N>, first: usize, most: usize) -> usize {
        let (front, back) = self.vacant_slices_mut();
        let mut sent = 0;
        for slot in front.iter_mut().chain(back).take(most) {
            slot.write(*messages.fixed(first + sent));
            sent += 1;
        }
        if sent > 0 {
            // SAFETY: the first `sent` vacant elements have been written.
            unsafe { self.advance_write_index(sent) };
        }
        sent
    }
}

impl<const N: usize> Outlet for HeapCons<[u8; N]> {
    #[inline(always)]
    fn try_take(&mut self, sum: &mut Sum) -> usize {
        match self.try_pop() {
            Some(message) => {
                sum.see(&message);
                1
            }
            None => 0,
        }
    }

    #[inline(always)]
    fn try_take_batch(&mut self, sum: &mut Sum) -> usize {
        let (front, back) = self.as_slices();
        let waiting = front.len() + back.len();
        for message in front {
            sum.see(message);
        }
        for message in back {
            sum.see(message);
        }
        if waiting > 0 {
            self.skip(waiting);
        }
        waiting
    }
}
