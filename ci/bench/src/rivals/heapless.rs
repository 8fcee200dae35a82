//! heapless: its single-producer single-consumer queue.

use heapless::spsc::{self, Consumer, Producer};

use crate::messages::{Messages, Sum};
use crate::queue::{CAPACITY, Inlet, Outlet, PING_PONG_CAPACITY, Queue};
use crate::registry::{Kind, Rows};

pub fn register<const N: usize>(rows: &mut Rows) {
    rows.pipe::<N, Heapless<N>>("heapless spsc", Kind::CopiesOut);
}

/// The size is part of the type, and one slot of it stays free; powers of two, as its index arithmetic is fastest then.
enum Heapless<const N: usize> {
    Large(Box<spsc::Queue<[u8; N], CAPACITY>>),
    Small(Box<spsc::Queue<[u8; N], PING_PONG_CAPACITY>>),
}

/// Such a queue is made on the stack before it is boxed, and may be larger than the stack at hand.
fn boxed<T: Default + Send>() -> Box<T> {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(4 * size_of::<T>() + (1 << 20));
        let thread = builder.spawn_scoped(scope, Box::default).expect("memory for a stack");
        thread.join().expect("nothing in it panics")
    })
}

impl<const N: usize> Queue<N, 1, 1> for Heapless<N> {
    type Inlet<'a> = Producer<'a, [u8; N]>;
    type Outlet<'a> = Consumer<'a, [u8; N]>;

    fn with_capacity(messages: usize) -> Self {
        if messages > PING_PONG_CAPACITY { Self::Large(boxed()) } else { Self::Small(boxed()) }
    }

    fn split(&mut self) -> ([Self::Inlet<'_>; 1], [Self::Outlet<'_>; 1]) {
        let (producer, consumer) = match self {
            Self::Large(queue) => queue.split(),
            Self::Small(queue) => queue.split(),
        };
        ([producer], [consumer])
    }
}

impl<const N: usize> Inlet<N> for Producer<'_, [u8; N]> {
    #[inline(always)]
    fn try_send(&mut self, messages: &Messages<'_, N>, index: usize) -> bool {
        self.enqueue(*messages.fixed(index)).is_ok()
    }
}

impl<const N: usize> Outlet for Consumer<'_, [u8; N]> {
    #[inline(always)]
    fn try_take(&mut self, sum: &mut Sum) -> usize {
        match self.dequeue() {
            Some(message) => {
                sum.see(&message);
                1
            }
            None => 0,
        }
    }
}
