//! Dead letters: what becomes of records that cannot be processed.
//!
//! A [`DlqRouter`] reads partitions of one topic for a group, as a [`Consumer`](crate::consumer::Consumer) does, but each
//! record gets a [`Verdict`] of its own. A record that failed as often as is allowed, or was refused, is written to the
//! *dead letter queue* of its topic: a topic whose name is the source's with `.dlq` behind it, and which was made to take
//! dead letters ([`TopicConfig::with_dead_letters`](crate::topic::TopicConfig::with_dead_letters)). Without that opt-in,
//! whoever may write to one topic could have records moved to any other by having them refused. There is no dead letter
//! queue of a dead letter queue.
//!
//! [`DeadLetters`] is for whoever looks after the queue: counting, browsing, purging, and [redriving](Redrive), which sends
//! letters back to where they came from. What a letter holds is drawn in `control`, the mark of a record that was sent back
//! in `redriven`.
//!
//! ```
//! # #[cfg(feature = "std")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use fabric_mq::clock::Clock;
//! use fabric_mq::dlq::{Cause, DeadLetters, DlqRouter, RedriveOptions, Verdict};
//! use fabric_mq::producer::Producer;
//! use fabric_mq::topic::{TopicConfig, TopicManager};
//!
//! let topics = TopicManager::new();
//! topics.create("orders", TopicConfig::default())?;
//! topics.create("orders.dlq", TopicConfig::default().with_dead_letters(true))?;
//! Producer::new("orders").send(&topics, b"poison")?;
//!
//! let mut router = DlqRouter::new("orders", "billing");
//! router.assign(&[0, 1, 2, 3]);
//! for _ in 0..5 {
//!     let polled = router.poll_with(&topics, 100, |delivery| match delivery.message().payload() {
//!         b"poison" => Verdict::nack("no such account"),
//!         _ => Verdict::Ack,
//!     })?;
//!     assert_eq!(polled.held, None);
//! }
//!
//! let queue = DeadLetters::of("orders")?;
//! assert_eq!(queue.causes(&topics)?.of(Cause::TooManyFailures), 1);
//! // The account was opened.
//! let progress = queue.redrive_all(RedriveOptions::new()).step(&topics, topics.clock().now())?;
//! assert_eq!((progress.moved, queue.count(&topics)?), (1, 0));
//! router.poll_with(&topics, 100, |_| Verdict::Ack)?;
//! assert!(router.counters().is_conserved());
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "std"))]
//! # fn main() {}
//! ```
//!
//! # Order
//! With [`OnFailure::Block`], the default, a partition stops at a record that is not settled: nothing behind it is handed
//! out, records are settled strictly in order, and one failing record costs its partition as many polls as it has tries.
//! With [`OnFailure::SkipAside`] the partition goes on, and the record comes again in between, in front of new ones: it is
//! overtaken, also by records of its own key. A *deferred* record waits like one that failed, but nothing is counted, however
//! often. Within one poll no record comes twice.
//!
//! # What is counted, and where
//! A router counts in a table in itself; a record that is done with needs no row, so the table bounds how many records are
//! unsettled at a time, and never how many are read. When it is full, new records wait and the poll says so
//! ([`DlqError::TableFull`]): no count is ever given up. The table dies with its router, and a record begins anew with the
//! next one; whoever must count across that keeps [`DlqRouter::failing`] and [carries it over](DlqRouter::carry). A handler
//! that panics has failed, and its router counts that.
//!
//! # What is promised
//! - *Nothing is lost.* The group's place holds everything from the first unsettled record on. `consumed = acked + pending +
//!   dead + parked` at any time, and all five can be looked at ([`Counters`]).
//! - *One letter for each record.* First the letter is written, then the record is released. Who dies in between, or while an
//!   earlier record was unsettled, leaves a letter whose record is still there. The next router looks the records up that it
//!   finds in the source, by lease, partition, offset, group and content, among all letters that the queue still holds
//!   or has not yet used the room of, and passes over those that are dead already. So there is one letter, unless it was
//!   purged or sent back, and its room used again, before the next router came.
//! - *At least once otherwise.* With [`OnFailure::SkipAside`], acknowledged records behind an unsettled one come again after a
//!   restart: acknowledgements are kept by the group's place alone, which is one offset.
//! - *A full queue loses nothing.* The record is *parked*: it stays in the source, unreleased; the poll says so
//!   ([`DlqError::DlqFull`]) and each poll tries again. Other partitions go on, and with [`OnFailure::SkipAside`] the same one
//!   does while the table has rows. The same goes for a queue that was deleted, or whose lease has ended. Where queue and
//!   source are both full, and the router waits for the queue, nobody can move: purge letters, or
//!   [give up](DlqRouter::give_up) a record.
//! - *Redriving loses nothing, and may double one letter.* It is appended to the source, then taken out of the queue; who dies
//!   in between leaves both, and the next redrive sends it again: two records with the same deduplication key
//!   ([`Redriven`]). The routers of other groups pass over records that were redriven for one.
//! - *Any bytes can lie in the queue.* What is no letter is counted and passed over; a letter that claims to be of another
//!   topic is none. Who may write to the queue can forge letters of its own topic, no others.
//!
//! # The queue is a log
//! Its letters are held by the place of a group called `dlq` ([`KEEPER`]), whatever others read there; consumers of other
//! groups that stop reading hold its room, as everywhere. Taking out the first letters is moving that place. To take out
//! letters from behind others, those that stay are written once more at the end; so there must be room for one of them, and
//! a tool that finds none says so and has lost nothing. A tool that dies in the middle leaves one letter twice, which the next
//! one notices.
//!
//! The letters of a source partition all go to one partition of the queue, in the order of their deaths: the source's number
//! modulo the number of the queue's partitions. A queue should take records as large as its source's, and
//! [`MAX_CONTROL`] bytes more: half its capacity is the limit, as everywhere.

mod cause;
mod control;
mod error;
mod graves;
mod letter;
#[cfg(feature = "alloc")]
mod owned;
mod poll;
mod queue;
mod recall;
mod redrive;
mod redriven;
mod router;
mod sweep;
mod table;
mod verdict;

pub use cause::{Cause, MAX_REASON, Reason};
pub use control::MAX_CONTROL;
pub use error::{DlqError, LetterError};
pub use graves::{KEEPER, SUFFIX};
pub use letter::DeadLetter;
#[cfg(feature = "alloc")]
pub use owned::{Delivered, Letter};
pub use queue::{Browsed, Causes, DeadLetters, LetterAt};
pub use redrive::{Redrive, RedriveOptions, RedriveProgress, RedriveState};
pub use redriven::{REDRIVEN, Redriven};
pub use router::{DlqRouter, OnFailure};
pub use verdict::{Counters, Delivery, Failing, FailingState, Polled, Receipt, Settled, Verdict};
