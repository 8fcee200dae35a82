//! The rivals, a file each: the traits of [`crate::queue`] for its types, and `register` for the rows it takes part in.

mod array_queue;
mod bbqueue;
mod crossbeam_channel;
mod disruptor;
mod flume;
mod heapless;
#[cfg(feature = "iceoryx2")]
pub mod iceoryx2;
mod kanal;
mod ringbuf;
mod rtrb;
mod std_mpsc;
mod thingbuf;
mod tokio_broadcast;

use crate::registry::Rows;

/// Packages whose versions the report names.
pub const PACKAGES: &[&str] = &[
    "rtrb",
    "bbqueue",
    "heapless",
    "ringbuf",
    "crossbeam-queue",
    "crossbeam-channel",
    "disruptor",
    "tokio",
    "thingbuf",
    "kanal",
    "flume",
    #[cfg(feature = "iceoryx2")]
    "iceoryx2",
];

pub fn register<const N: usize>(rows: &mut Rows) {
    rtrb::register::<N>(rows);
    ringbuf::register::<N>(rows);
    heapless::register::<N>(rows);
    bbqueue::register::<N>(rows);
    disruptor::register::<N>(rows);
    array_queue::register::<N>(rows);
    crossbeam_channel::register::<N>(rows);
    std_mpsc::register::<N>(rows);
    thingbuf::register::<N>(rows);
    kanal::register::<N>(rows);
    flume::register::<N>(rows);
    tokio_broadcast::register::<N>(rows);
    #[cfg(feature = "iceoryx2")]
    iceoryx2::register::<N>(rows);
}
