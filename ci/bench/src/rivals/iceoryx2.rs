//! iceoryx2: publish and subscribe between processes, slices of any length, lent in place. It does far more than the
//! others: shared memory, services, crash recovery. `send` waits for a full subscriber itself, since the alternative
//! is to lose the message.

use std::sync::atomic::{AtomicU32, Ordering};

use iceoryx2::node::Node;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::port::update_connections::UpdateConnections;
use iceoryx2::prelude::{BackpressureStrategy, LogLevel, NodeBuilder, ipc, set_log_level};
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;

use crate::messages::{Messages, Sum};
use crate::queue::{Inlet, Outlet, Queue};
use crate::registry::{Kind, Rows};

pub fn register<const N: usize>(rows: &mut Rows) {
    rows.pipe::<N, Service<1, 1>>("iceoryx2", Kind::Lends);
    rows.broadcast::<N, Service<1, 2>>("iceoryx2", Kind::Lends);
    rows.funnel::<N, Service<2, 1>>("iceoryx2", Kind::Lends);
}

struct Service<const P: usize, const C: usize> {
    ports: PortFactory<ipc::Service, [u8], ()>,
    capacity: usize,
    /// Keeps the service's files alive.
    _node: Node<ipc::Service>,
}

/// A port that is moved to the thread that uses it.
pub struct Moved<T>(pub T);

// SAFETY: the parts of a port that keep it from being `Send` are reference counts without atomics around its own
// state. Only the samples it hands out have clones of them, and none is alive outside of `try_send` and `try_take`;
// so whenever a port is moved, all of its counts move along.
unsafe impl<T> Send for Moved<T> {}

impl<const N: usize, const P: usize, const C: usize> Queue<N, P, C> for Service<P, C> {
    type Inlet<'a> = Moved<Publisher<ipc::Service, [u8], ()>>;
    type Outlet<'a> = Moved<Subscriber<ipc::Service, [u8], ()>>;

    fn with_capacity(messages: usize) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        set_log_level(LogLevel::Error);
        let name = format!("fabric-mq-bench/{}/{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let node = NodeBuilder::new().create::<ipc::Service>().expect("shared memory is available");
        let ports = node
            .service_builder(&name.as_str().try_into().expect("a short name"))
            .publish_subscribe::<[u8]>()
            .enable_safe_overflow(false)
            .history_size(0)
            .subscriber_max_buffer_size(messages)
            .max_publishers(P)
            .max_subscribers(C)
            .create()
            .expect("the name is new");
        Self { ports, capacity: messages, _node: node }
    }

    fn split(&mut self) -> ([Self::Inlet<'_>; P], [Self::Outlet<'_>; C]) {
        let subscribers = std::array::from_fn(|_| {
            let subscriber = self.ports.subscriber_builder().buffer_size(self.capacity).create();
            Moved(subscriber.expect("the service has a place for each subscriber"))
        });
        let publishers = std::array::from_fn(|_| {
            let publisher = self
                .ports
                .publisher_builder()
                .initial_max_slice_len(N)
                .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
                .create();
            Moved(publisher.expect("the service has a place for each publisher"))
        });
        // What is sent to a subscriber that has not connected yet is dropped without a word once its buffer is full.
        for Moved(publisher) in &publishers {
            publisher.update_connections().expect("all ports are alive");
        }
        for Moved(subscriber) in &subscribers {
            subscriber.has_samples().expect("all ports are alive");
        }
        (publishers, subscribers)
    }
}

impl<const N: usize> Inlet<N> for Moved<Publisher<ipc::Service, [u8], ()>> {
    #[inline(always)]
    fn try_send(&mut self, messages: &Messages<'_, N>, index: usize) -> bool {
        let message = messages.bytes(index);
        let Ok(sample) = self.0.loan_slice_uninit(message.len()) else { return false };
        sample.write_from_slice(message).send().expect("all ports are alive");
        true
    }
}

impl Outlet for Moved<Subscriber<ipc::Service, [u8], ()>> {
    #[inline(always)]
    fn try_take(&mut self, sum: &mut Sum) -> usize {
        match self.0.receive().expect("all ports are alive") {
            Some(sample) => {
                sum.see(sample.payload());
                1
            }
            None => 0,
        }
    }
}
