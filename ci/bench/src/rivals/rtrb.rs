//! rtrb: item by item, and in chunks that are written and read in place.

use rtrb::{Consumer, Producer, RingBuffer};

use crate::messages::{Messages, Sum};
use crate::queue::{Inlet, Outlet, Queue};
use crate::registry::{Kind, Rows};

pub fn register<const N: usize>(rows: &mut Rows) {
    rows.pipe::<N, Rtrb>("rtrb", Kind::CopiesOut);
    rows.pipe_batches::<N, Rtrb>("rtrb, chunks", Kind::Lends);
}

struct Rtrb {
    capacity: usize,
}

impl<const N: usize> Queue<N, 1, 1> for Rtrb {
    type Inlet<'a> = Producer<[u8; N]>;
    type Outlet<'a> = Consumer<[u8; N]>;

    fn with_capacity(messages: usize) -> Self {
        Self { capacity: messages }
    }

    fn split(&mut self) -> ([Self::Inlet<'_>; 1], [Self::Outlet<'_>; 1]) {
        let (producer, consumer) = RingBuffer::new(self.capacity);
        ([producer], [consumer])
    }
}

impl<const N: usize> Inlet<N> for Producer<[u8; N]> {
    #[inline(always)]
    fn try_send(&mut self, messages: &Messages<'_, N>, index: usize) -> bool {
        self.push(*messages.fixed(index)).is_ok()
    }

    #[inline(always)]
    fn try_send_batch(&mut self, messages: &Messages<'_, N>, first: usize, most: usize) -> usize {
        // The cached count saves a look at the consumer's index as long as it suffices.
        let room = if self.cached_slots() >= most { most } else { self.slots().min(most) };
        if room == 0 {
            return 0;
        }
        let Ok(mut chunk) = self.write_chunk_uninit(room) else { return 0 };
        let (front, back) = chunk.as_mut_slices();
        for (slot, index) in front.iter_mut().chain(back).zip(first..) {
            slot.write(*messages.fixed(index));
        }
        // SAFETY: both slices were written to their ends.
        unsafe { chunk.commit_all() };
        room
    }
}

impl<const N: usize> Outlet for Consumer<[u8; N]> {
    #[inline(always)]
    fn try_take(&mut self, sum: &mut Sum) -> usize {
        match self.pop() {
            Ok(message) => {
                sum.see(&message);
                1
            }
            Err(_) => 0,
        }
    }

    #[inline(always)]
    fn try_take_batch(&mut self, sum: &mut Sum) -> usize {
        let waiting = self.slots();
        if waiting == 0 {
            return 0;
        }
        let Ok(chunk) = self.read_chunk(waiting) else { return 0 };
        let (front, back) = chunk.as_slices();
        for message in front {
            sum.see(message);
        }
        for message in back {
            sum.see(message);
        }
        chunk.commit_all();
        waiting
    }
}
