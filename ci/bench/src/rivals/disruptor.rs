//! disruptor: the polling interface, with one and several producers and consumers. A poll shows all that waits.

use disruptor::{
    BusySpin, EventPoller, MultiConsumerBarrier, MultiProducer, MultiProducerBarrier, Producer, SingleConsumerBarrier,
    SingleProducer, SingleProducerBarrier, build_multi_producer, build_single_producer,
};

use crate::messages::{Messages, Sum};
use crate::queue::{Inlet, Outlet, Queue};
use crate::registry::{Kind, Rows};

pub fn register<const N: usize>(rows: &mut Rows) {
    rows.pipe::<N, Disruptor>("disruptor", Kind::Lends);
    rows.pipe_batches::<N, Disruptor>("disruptor, batches", Kind::Lends);
    rows.broadcast::<N, Disruptor>("disruptor", Kind::Lends);
    rows.broadcast_batches::<N, Disruptor>("disruptor, batches", Kind::Lends);
    rows.funnel::<N, Disruptor>("disruptor", Kind::Lends);
    rows.funnel_batches::<N, Disruptor>("disruptor, batches", Kind::Lends);
}

struct Disruptor {
    capacity: usize,
}

/// Any of the producers, which have a trait in common.
struct Publisher<P>(P);

impl<const N: usize, P: Producer<[u8; N]> + Send> Inlet<N> for Publisher<P> {
    #[inline(always)]
    fn try_send(&mut self, messages: &Messages<'_, N>, index: usize) -> bool {
        self.0.try_publish(|slot| *slot = *messages.fixed(index)).is_ok()
    }

    #[inline(always)]
    fn try_send_batch(&mut self, messages: &Messages<'_, N>, first: usize, most: usize) -> usize {
        let published = self.0.try_batch_publish(most, |slots| {
            for (slot, index) in slots.zip(first..) {
                *slot = *messages.fixed(index);
            }
        });
        if published.is_ok() { most } else { 0 }
    }
}

/// The barriers of the two kinds of producer have a trait in common that cannot be named from outside.
macro_rules! outlet {
    ($barrier:ty) => {
        impl<const N: usize> Outlet for EventPoller<[u8; N], $barrier> {
            #[inline(always)]
            fn try_take(&mut self, sum: &mut Sum) -> usize {
                match self.poll() {
                    Ok(mut events) => {
                        let waiting = (&mut events).len();
                        for message in &mut events {
                            sum.see(message);
                        }
                        waiting
                    }
                    Err(_) => 0,
                }
            }
        }
    };
}

outlet!(SingleProducerBarrier);
outlet!(MultiProducerBarrier);

impl<const N: usize> Queue<N, 1, 1> for Disruptor {
    type Inlet<'a> = Publisher<SingleProducer<[u8; N], SingleConsumerBarrier>>;
    type Outlet<'a> = EventPoller<[u8; N], SingleProducerBarrier>;

    fn with_capacity(messages: usize) -> Self {
        Self { capacity: messages }
    }

    fn split(&mut self) -> ([Self::Inlet<'_>; 1], [Self::Outlet<'_>; 1]) {
        let (poller, builder) = build_single_producer(self.capacity, || [0; N], BusySpin).new_event_poller();
        ([Publisher(builder.build())], [poller])
    }
}

impl<const N: usize> Queue<N, 1, 2> for Disruptor {
    type Inlet<'a> = Publisher<SingleProducer<[u8; N], MultiConsumerBarrier>>;
    type Outlet<'a> = EventPoller<[u8; N], SingleProducerBarrier>;

    fn with_capacity(messages: usize) -> Self {
        Self { capacity: messages }
    }

    fn split(&mut self) -> ([Self::Inlet<'_>; 1], [Self::Outlet<'_>; 2]) {
        let (one, builder) = build_single_producer(self.capacity, || [0; N], BusySpin).new_event_poller();
        let (other, builder) = builder.new_event_poller();
        ([Publisher(builder.build())], [one, other])
    }
}

impl<const N: usize> Queue<N, 2, 1> for Disruptor {
    type Inlet<'a> = Publisher<MultiProducer<[u8; N], SingleConsumerBarrier>>;
    type Outlet<'a> = EventPoller<[u8; N], MultiProducerBarrier>;

    fn with_capacity(messages: usize) -> Self {
        Self { capacity: messages }
    }

    fn split(&mut self) -> ([Self::Inlet<'_>; 2], [Self::Outlet<'_>; 1]) {
        let (poller, builder) = build_multi_producer(self.capacity, || [0; N], BusySpin).new_event_poller();
        let producer = builder.build();
        ([Publisher(producer.clone()), Publisher(producer)], [poller])
    }
}
