//! What the kernel offers: pairs of Unix sockets, and pipes. Both ends block in the call, as programs do that use them.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::{Link, Meeting};
use crate::messages::{Messages, Sum};
use crate::queue::{BATCH, Inlet, Outlet};
use crate::registry::{Kind, Rows};

pub fn register<const N: usize>(rows: &mut Rows) {
    rows.processes::<N, Stream>();
    rows.processes_batches::<N, StreamBatches>();
    rows.processes::<N, Packets>();
    rows.processes::<N, Pipe>();
    rows.processes_batches::<N, PipeBatches>();
}

fn pair(kind: SocketType) -> Option<(OwnedFd, OwnedFd)> {
    Some(socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).expect("the kernel has Unix sockets"))
}

fn pipe() -> Option<(OwnedFd, OwnedFd)> {
    let (reader, writer) = std::io::pipe().expect("the kernel has pipes");
    Some((writer.into(), reader.into()))
}

macro_rules! descriptors {
    ($link:ident, $name:literal, $pair:expr) => {
        struct $link;

        impl<const N: usize> Link<N> for $link {
            const NAME: &'static str = $name;
            const KIND: Kind = Kind::CopiesOut;
            type Inlet = Descriptor;
            type Outlet = Buffered<N>;

            fn descriptors() -> Option<(OwnedFd, OwnedFd)> {
                $pair
            }

            fn inlet(meeting: &mut Meeting, lane: usize, _: usize) -> Self::Inlet {
                Descriptor { file: meeting.descriptor(lane).into(), gathered: Vec::with_capacity(BATCH * N) }
            }

            fn outlet(meeting: &mut Meeting, lane: usize, _: usize) -> Self::Outlet {
                Buffered { file: meeting.descriptor(lane).into(), buffer: vec![0; BATCH * N].into(), filled: 0 }
            }
        }
    };
}

descriptors!(Stream, "socket pair, stream", pair(SocketType::STREAM));
descriptors!(StreamBatches, "socket pair, stream, batches", pair(SocketType::STREAM));
descriptors!(Packets, "socket pair, packets", pair(SocketType::SEQPACKET));
descriptors!(Pipe, "pipe", pipe());
descriptors!(PipeBatches, "pipe, batches", pipe());

struct Descriptor {
    file: File,
    /// A batch, put together for one call.
    gathered: Vec<u8>,
}

impl<const N: usize> Inlet<N> for Descriptor {
    /// One call, as a rule: the kernel takes the whole message or waits until it can.
    #[inline(always)]
    fn try_send(&mut self, messages: &Messages<'_, N>, index: usize) -> bool {
        self.file.write_all(messages.bytes(index)).expect("the other process is there");
        true
    }

    #[inline(always)]
    fn try_send_batch(&mut self, messages: &Messages<'_, N>, first: usize, most: usize) -> usize {
        self.gathered.clear();
        for index in first..first + most {
            self.gathered.extend_from_slice(messages.bytes(index));
        }
        self.file.write_all(&self.gathered).expect("the other process is there");
        most
    }
}

struct Buffered<const N: usize> {
    file: File,
    /// Room for a batch.
    buffer: Box<[u8]>,
    /// Bytes of a message that has not come as a whole, in front.
    filled: usize,
}

impl<const N: usize> Outlet for Buffered<N> {
    #[inline(always)]
    fn try_take(&mut self, sum: &mut Sum) -> usize {
        let message = &mut self.buffer[..N];
        self.file.read_exact(message).expect("the other process is there");
        sum.see(message);
        1
    }

    #[inline(always)]
    fn try_take_batch(&mut self, sum: &mut Sum) -> usize {
        let more = self.file.read(&mut self.buffer[self.filled..]).expect("the other process is there");
        assert_ne!(more, 0, "the other process has gone");
        self.filled += more;
        let (whole, rest) = self.buffer[..self.filled].as_chunks::<N>();
        for message in whole {
            sum.see(message);
        }
        let (count, rest) = (whole.len(), rest.len());
        self.buffer.copy_within(count * N..self.filled, 0);
        self.filled = rest;
        count
    }
}
