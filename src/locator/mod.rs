//! Where topics are: from an address to the leases of its partitions.
//!
//! Processes (cores, machines) that share memory share leases by their ids. A [`Registry`] is where they learn those: a table
//! in a lease of its own, from a topic's address (`fabric-mq://pool/topic`) to its [`Locator`], which says in which leases
//! the partitions lie, what they are made of, and how often that was published. Whoever has a locator opens the topic by it:
//! to be read (`TopicManager::join`), or, once its writer is gone, to be written (`TopicManager::attach`, `promote`).
//!
//! # What is promised
//! - What [`resolve`](Registry::resolve) answers is a record that somebody published, as a whole, and that was not replaced or
//!   withdrawn when it was read; or an error. A damaged record is an error: never the one before it, never another one.
//! - A publisher that is killed at any store has published, or has not. Nobody waits for it: the claim it may have left is
//!   taken from it once its lease proves that it is dead (leases that processes share do), and never by a guess.
//! - The generation of a topic rises with each publishing, also if the topic was withdrawn and its entry used for another one
//!   meanwhile. A publisher that comes late is refused ([`PublishError::Stale`]), as is one whose leases somebody else has
//!   taken over ([`PublishError::Fenced`]).
//! - Whatever bytes are in the lease, and whatever a peer stores there meanwhile ([`Untrusted`](crate::lease::Untrusted)): no
//!   call panics, loops without end, or reads outside the lease. Each word of a record is loaded once.
//!
//! Leases that have no tokens (a `static`, a slice, the heap) cannot prove a death. That is no loss where all who use them
//! die together; where cores share memory and one of them alone may be reset, the claim that it had stays taken, and who
//! needs it is told [`PublishError::Busy`].
//!
//! # Costs
//! No call allocates. Resolving compares names, and checks the one record that is found; in vain, it checks all entries. The
//! checksum is computed bit by bit: some microseconds a record. [`Watch::poll`] takes a few loads when nothing has changed.
//!
//! ```
//! use fabric_mq::lease::SliceLease;
//! use fabric_mq::locator::{Locator, PoolKind, Registry, RegistryConfig, Watch};
//! use fabric_mq::topic::TopicConfig;
//! use fabric_mq::uri::Uri;
//! use fabric_mq::LeaseId;
//!
//! let mut memory = [0; 4096];
//! let config = RegistryConfig::new().with_topics(2).with_partitions(4);
//! let registry = Registry::format(SliceLease::new(&mut memory), config)?;
//!
//! let uri = Uri::parse("fabric-mq://board/events")?;
//! let shape = TopicConfig::new().with_partitions(1);
//! let locator: Locator<4> = Locator::new(uri, PoolKind::Local, shape, [LeaseId::new(7)])?;
//! assert_eq!(registry.publish_next(&locator)?.value(), 1);
//!
//! let found: Locator<4> = registry.resolve(&uri)?;
//! assert_eq!((found.lease(0), found.generation().value()), (Some(LeaseId::new(7)), 1));
//!
//! let mut watch = Watch::new(uri);
//! assert!(watch.poll::<_, 4>(&registry)?.is_some(), "news");
//! assert!(watch.poll::<_, 4>(&registry)?.is_none(), "no news");
//! registry.withdraw(&uri, found.generation())?;
//! assert!(watch.poll::<_, 4>(&registry)?.is_some(), "withdrawn");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod claim;
mod error;
mod layout;
mod publish;
mod record;
mod registry;
#[cfg(all(feature = "std", unix, target_has_atomic = "64", not(loom)))]
mod shared;
mod table;
mod watch;

pub use error::{PublishError, RecordError, RegistryError, ResolveError};
pub use record::{Locator, PoolKind};
pub use registry::Registry;
pub use table::RegistryConfig;
pub use watch::{Change, Watch};
