//! Leases on memory that is reached by verbs alone: read, write, compare-and-exchange over a network (RDMA and its like).
//!
//! The bytes are those of any other lease, so a partition that is written by verbs can be read by mapping the same memory, and
//! the other way round. A [`RemoteLease`] keeps a mirror of the memory on the heap; what the ring stores there it sends by
//! [`Verbs`], and what the ring is about to load it fetches before.
//!
//! # What is promised
//! - A record is acknowledged when its commit word has arrived and the memory's side has said so. Its payload and the rest of
//!   its slot are sent before the commit word, and no network that keeps the order of [`Verbs`] shows the one without the others,
//!   whatever it delays, repeats, tears or loses.
//! - If the answer is lost, the writer is told [`Indeterminate`](crate::LeaseError::Indeterminate): the record may be there or
//!   not. From then on the lease is [`Disconnected`](crate::LeaseError::Disconnected) and sends nothing more. Whoever attaches
//!   again, under a higher epoch, finds the truth.
//! - After a verb has failed, nothing new is handed out: reads end with the lease's error. Counts (`tail`, `lag`, `readers`) are
//!   then those that were last known.
//! - The mirror is this process's own. Nobody changes it while it is looked at; whatever the memory's side answers is checked as
//!   the bytes of any lease are. See [`RemoteLease::connect`] for which trust it deserves.
//!
//! # What it costs
//! Verbs, with 64-byte records and everybody in step (`tests/remote.rs` counts them, and features.md tells):
//!
//! | | read | write | wait for all |
//! |---|--:|--:|--:|
//! | `write` of a record | 0 | 3 | 1 |
//! | a batch of 32, published | 0 | 4 | 1 |
//! | `next`, a record | 3 | 1 | 0 |
//! | `for_each` of 32 | 96 | 1 | 0 |
//! | a poll in vain | 1 | 0 | 0 |
//!
//! Nothing allocates but making the lease. Every call may block for as long as its verbs do.
//!
//! # One thread
//! The mirror has one party: a `RemoteLease` may move to another thread, but is not shared between them, and the compiler says
//! so. Each thread attaches by a connection of its own. A writer and readers of one thread may share a ring; so may a
//! [`SharedWriter`](crate::ring::SharedWriter) that this thread alone uses.
//! ```compile_fail,E0277
//! use fabric_mq::lease::remote::{LoopbackMemory, Peers, RemoteLease};
//! use fabric_mq::ring::{Ring, RingConfig, SharedWriter};
//! let memory = LoopbackMemory::new(4096).unwrap();
//! let lease = RemoteLease::connect(memory.connect(), Peers::Verbs).unwrap();
//! let ring: Ring<_> = Ring::format(lease, RingConfig::new(32, 1024)).unwrap();
//! let writer = SharedWriter::claim(&ring).unwrap();
//! std::thread::scope(|scope| {
//!     scope.spawn(|| writer.write(b"from another thread"));
//! });
//! ```
//!
//! Rings alone can be in such a lease: a group's area and a registry are refused (`Unsupported`), since several parties write to
//! one block of theirs.
//!
//! # Example
//! ```
//! use fabric_mq::lease::remote::{LoopbackMemory, Peers, RemoteLease};
//! use fabric_mq::ring::{Reader, Ring, RingConfig, Start, Writer};
//!
//! let memory = LoopbackMemory::new(4096)?;
//! // Written by verbs ...
//! let lease = RemoteLease::connect(memory.connect(), Peers::Mapped)?;
//! let remote: Ring<_> = Ring::format(lease, RingConfig::new(32, 1024))?;
//! Writer::claim(&remote)?.write(b"from afar")?;
//! // ... and read where it lies.
//! let mapped: Ring<_> = Ring::attach(memory.map()?)?;
//! let mut reader = Reader::join(&mapped, "near", Start::Earliest)?;
//! let mut buffer = [0; 16];
//! let record = reader.copy_next(&mut buffer)?.expect("one was written");
//! assert_eq!(&buffer[..record.len()], b"from afar");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod faults;
mod grants;
mod lease;
mod loopback;
mod pool;
mod verbs;

pub use faults::Faults;
pub use grants::LoopbackGrants;
pub use lease::{Peers, RemoteLease};
pub use loopback::{LoopbackMap, LoopbackMemory, LoopbackVerbs, Tally};
pub use pool::{Grant, Grants, RemotePool};
pub use verbs::{Atomicity, VerbError, Verbs};
