//! One message queue from a Cortex-M0 to a server rack: a partitioned topic log in leased memory.
//!
//! The same bytes are written by an interrupt handler into a `static`, mapped by an agent on a memory fabric, and read on
//! a server. The core needs neither std nor an allocator, no 64-bit atomics and no compare-and-swap on its hot path.
//!
//! # Quick start
//! ```
//! # #[cfg(feature = "std")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use fabric_mq::consumer::{Consumer, SeekPolicy};
//! use fabric_mq::offset::MemOffsetStore;
//! use fabric_mq::producer::Producer;
//! use fabric_mq::topic::{TopicConfig, TopicManager};
//!
//! let topics = TopicManager::new();
//! topics.create("events", TopicConfig::default())?;
//!
//! let mut producer = Producer::new("events");
//! producer.send(&topics, b"hello")?;
//! producer.send_keyed(&topics, b"sensor-7", b"world")?;
//!
//! let store = MemOffsetStore::new();
//! let mut consumer = Consumer::new("events", "my-group");
//! consumer.assign(&[0, 1, 2, 3]);
//! consumer.seek(&topics, &store, SeekPolicy::Earliest)?;
//! let messages = consumer.poll(&topics, 100)?;
//! assert_eq!(messages.len(), 2);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "std"))]
//! # fn main() {}
//! ```
//! In firmware, take the ring itself: see [`ring`]. It lives in a `static` and is split between an interrupt handler and
//! the main loop.
//!
//! # Layers
//! Each names only what stands above it in this list.
//!
//! | layer | what it is |
//! |---|---|
//! | `platform` | atomics, locks, [`clock`]s, raw views: all that knows the target |
//! | [`lease`] | bytes held for a time under an epoch, and the pools that hand them out |
//! | [`ring`] | a slot-indexed byte log: one writer (or many that share its place), readers by name |
//! | [`message`] | the envelope: timestamp, key, headers, producer block, payload |
//! | [`partition`] | a ring with its number and what it does when it is full |
//! | [`topic`] | a set of partitions under a name; with an allocator and without |
//! | [`producer`], [`consumer`] | who sends and who reads; [`offset`]: how far a group has come; [`uri`]: where a topic is |
//! | [`group`] | who of a group reads which partition: members, claims, and the plan they share |
//! | [`dlq`] | records that cannot be processed: counted tries, dead letters, redriving them |
//! | [`locator`] | from a topic's address to its leases, for whoever shares memory |
//! | `durable` | records that survive a power cut: a journal on flash or in files (feature `durable`) |
//!
//! # What is promised
//! - What `send` or `write` returned `Ok` for is in the log, in order per partition; what was under way when its writer
//!   died, or its lease ended, is not seen.
//! - A retaining ring never loses a record that a reader still needs; an overwriting one says exactly how many a reader
//!   lost. Records that found no room are refused, or dropped if so configured, and counted.
//! - Any bytes can be attached to: the answer is an error or a log whose every record was checked. Never a panic, never an
//!   endless loop.
//! - Nothing allocates on the way of a message once its topic exists, except results that are returned in a `Vec`.
//!
//! Memory is not storage: what is in a lease is gone when the lease is.
#![no_std]
#![deny(clippy::alloc_instead_of_core, clippy::std_instead_of_alloc, clippy::std_instead_of_core)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(all(feature = "alloc", not(target_has_atomic = "ptr")))]
compile_error!(
    "feature `alloc` shares rings by `Arc`, which needs compare-and-swap: on this target leave it out, and use `StaticLease` \
     and the bounded tier"
);

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(feature = "std", test, loom))]
extern crate std;

pub mod consumer;
pub mod dlq;
#[cfg(feature = "durable")]
pub mod durable;
mod error;
pub mod group;
pub mod lease;
pub mod locator;
pub mod message;
mod name;
pub mod offset;
pub mod partition;
mod platform;
pub mod producer;
pub mod ring;
pub mod topic;
mod types;
pub mod uri;

pub use error::{
    AttachError, Check, ConfigError, Corrupt, JoinError, LeaseError, NameError, ReadError, SealError, SeekError, Unfit,
    WaitError, WriteError,
};
pub use name::{MAX_NAME, MAX_TOPIC_NAME, Name};
#[cfg(loom)]
pub use platform::LoomMemory;
pub use platform::clock;
pub use types::{Epoch, Generation, LeaseId, Offset, Ticks};
