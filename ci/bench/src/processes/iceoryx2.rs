//! iceoryx2: publish and subscribe, which is made for this. Nothing is lost in any row: `send` waits for a full
//! subscriber itself.

use std::time::Duration;

use iceoryx2::node::Node;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::port::update_connections::UpdateConnections;
use iceoryx2::prelude::{LogLevel, NodeBuilder, ServiceName, ipc, set_log_level};
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;

use super::{Link, Meeting};
use crate::messages::{Messages, Sum};
use crate::queue::{Inlet, Outlet};
use crate::registry::{Kind, Rows};
use crate::rivals::iceoryx2::Moved;

pub fn register<const N: usize>(rows: &mut Rows) {
    rows.processes::<N, Slices>();
    rows.processes::<N, Arrays<true>>();
    rows.processes::<N, Arrays<false>>();
}

fn node() -> Node<ipc::Service> {
    set_log_level(LogLevel::Error);
    NodeBuilder::new().create::<ipc::Service>().expect("shared memory is available")
}

/// A node removes what dead ones have left.
fn clean() {
    node().blocking_cleanup_dead_nodes(Duration::from_secs(5));
}

/// As new to the machine as the directory's name.
fn service(meeting: &Meeting, lane: usize) -> ServiceName {
    let name = format!("{}/{lane}", meeting.path().display());
    name.as_str().try_into().expect("a short name")
}

/// A port, and what keeps its service's files alive. Dropped in this order.
pub struct Port<T, S> {
    port: Moved<T>,
    _service: Moved<S>,
    _node: Moved<Node<ipc::Service>>,
}

impl<T, S> Port<T, S> {
    fn new(node: Node<ipc::Service>, service: S, port: T) -> Self {
        Self { port: Moved(port), _service: Moved(service), _node: Moved(node) }
    }
}

type Publishing<P> = Port<Publisher<ipc::Service, P, ()>, PortFactory<ipc::Service, P, ()>>;
type Subscribing<P> = Port<Subscriber<ipc::Service, P, ()>, PortFactory<ipc::Service, P, ()>>;

/// What is sent to a subscriber that has not connected yet is dropped without a word once its buffer is full.
fn connect<S>(inlet: &mut Port<impl UpdateConnections, S>) {
    inlet.port.0.update_connections().expect("all ports are alive");
}

/// Slices of any length, lent.
struct Slices;

impl Slices {
    fn ports(node: &Node<ipc::Service>, name: &ServiceName, messages: usize) -> PortFactory<ipc::Service, [u8], ()> {
        node.service_builder(name)
            .publish_subscribe::<[u8]>()
            .enable_safe_overflow(false)
            .subscriber_max_buffer_size(messages)
            .max_publishers(1)
            .max_subscribers(1)
            .open_or_create()
            .expect("both processes ask for the same")
    }
}

impl<const N: usize> Link<N> for Slices {
    const NAME: &'static str = "iceoryx2";
    const KIND: Kind = Kind::Lends;
    type Inlet = Publishing<[u8]>;
    type Outlet = Subscribing<[u8]>;

    fn inlet(meeting: &mut Meeting, lane: usize, messages: usize) -> Self::Inlet {
        let node = node();
        let ports = Self::ports(&node, &service(meeting, lane), messages);
        let port = ports.publisher_builder().initial_max_slice_len(N).create();
        Port::new(node, ports, port.expect("the service has a place for a publisher"))
    }

    fn outlet(meeting: &mut Meeting, lane: usize, messages: usize) -> Self::Outlet {
        let node = node();
        let ports = Self::ports(&node, &service(meeting, lane), messages);
        let port = ports.subscriber_builder().buffer_size(messages).create();
        Port::new(node, ports, port.expect("the service has a place for a subscriber"))
    }

    fn connect(inlet: &mut Self::Inlet) {
        connect(inlet);
    }

    fn accept(outlet: &mut Self::Outlet) {
        outlet.port.0.has_samples().expect("all ports are alive");
    }

    fn clean() {
        clean();
    }
}

impl<const N: usize> Inlet<N> for Publishing<[u8]> {
    #[inline(always)]
    fn try_send(&mut self, messages: &Messages<'_, N>, index: usize) -> bool {
        let message = messages.bytes(index);
        let sample = self.port.0.loan_slice_uninit(message.len()).expect("as many as the subscriber holds, and one");
        sample.write_from_slice(message).send().expect("all ports are alive");
        true
    }
}

impl Outlet for Subscribing<[u8]> {
    #[inline(always)]
    fn try_take(&mut self, sum: &mut Sum) -> usize {
        match self.port.0.receive().expect("all ports are alive") {
            Some(sample) => {
                sum.see(sample.payload());
                1
            }
            None => 0,
        }
    }
}

/// Arrays of one length. `LENT`: written into a lent one, with as much room as the others have. If not: everything as it is
/// without a word from the user, `send_copy` and a buffer of two, but for `enable_safe_overflow`, which loses messages.
struct Arrays<const LENT: bool>;

/// An array's publisher.
pub struct ArrayInlet<const N: usize, const LENT: bool>(Publishing<[u8; N]>);

impl<const LENT: bool> Arrays<LENT> {
    fn ports<const N: usize>(
        node: &Node<ipc::Service>,
        name: &ServiceName,
        messages: usize,
    ) -> PortFactory<ipc::Service, [u8; N], ()> {
        let mut builder = node.service_builder(name).publish_subscribe::<[u8; N]>().enable_safe_overflow(false);
        if LENT {
            builder = builder.subscriber_max_buffer_size(messages).max_publishers(1).max_subscribers(1);
        }
        builder.open_or_create().expect("both processes ask for the same")
    }
}

impl<const N: usize, const LENT: bool> Link<N> for Arrays<LENT> {
    const NAME: &'static str = if LENT { "iceoryx2, arrays" } else { "iceoryx2, defaults" };
    const KIND: Kind = Kind::Lends;
    type Inlet = ArrayInlet<N, LENT>;
    type Outlet = Subscribing<[u8; N]>;

    fn inlet(meeting: &mut Meeting, lane: usize, messages: usize) -> Self::Inlet {
        let node = node();
        let ports = Self::ports::<N>(&node, &service(meeting, lane), messages);
        let port = ports.publisher_builder().create();
        ArrayInlet(Port::new(node, ports, port.expect("the service has a place for a publisher")))
    }

    fn outlet(meeting: &mut Meeting, lane: usize, messages: usize) -> Self::Outlet {
        let node = node();
        let ports = Self::ports::<N>(&node, &service(meeting, lane), messages);
        let port = ports.subscriber_builder().create();
        Port::new(node, ports, port.expect("the service has a place for a subscriber"))
    }

    fn connect(inlet: &mut Self::Inlet) {
        connect(&mut inlet.0);
    }

    fn accept(outlet: &mut Self::Outlet) {
        outlet.port.0.has_samples().expect("all ports are alive");
    }

    fn clean() {
        clean();
    }
}

impl<const N: usize, const LENT: bool> Inlet<N> for ArrayInlet<N, LENT> {
    #[inline(always)]
    fn try_send(&mut self, messages: &Messages<'_, N>, index: usize) -> bool {
        let (port, message) = (&self.0.port.0, messages.fixed(index));
        if LENT {
            let sample = port.loan_uninit().expect("as many as the subscriber holds, and one");
            sample.write_payload(*message).send().expect("all ports are alive");
        } else {
            port.send_copy(*message).expect("all ports are alive");
        }
        true
    }
}

impl<const N: usize> Outlet for Subscribing<[u8; N]> {
    #[inline(always)]
    fn try_take(&mut self, sum: &mut Sum) -> usize {
        match self.port.0.receive().expect("all ports are alive") {
            Some(sample) => {
                sum.see(sample.payload().as_slice());
                1
            }
            None => 0,
        }
    }
}
