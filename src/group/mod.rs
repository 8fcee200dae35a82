//! Consumer groups: who of a group's members reads which partition.
//!
//! A group has no coordinator. Every member looks at the same two things, who owns each partition now and who the members
//! are, and computes the same answer with [`assign`]. An assignment is a plan, never a right: what owns a partition is its
//! *claim*, which is taken under a rising epoch. Members that for a moment see different memberships compute different
//! plans, and the claim lets one of them in.
//!
//! - [`Group`] is the control area in a lease, of which processes on the same bytes agree by: places of members, and for
//!   each partition a claim and the committed offset. Drawn byte by byte in `src/offset/layout.rs`.
//! - [`Member`] has a place there, keeps it by its heartbeat, and takes and gives up partitions, as the plan says.
//! - [`LeasedOffsets`](crate::offset::LeasedOffsets) commits, as long as the member owns what it commits.
//! - [`GroupConsumer`] is a consumer whose partitions are those of its member.
//! - [`assign`] and [`Changes`] are the plan alone: pure functions, for those who keep claims of their own.
//!
//! # What holds, whatever happens
//! Members may be paused between any two instructions for any time, killed, and started again; their clocks may drift, jump,
//! and stop.
//! - One member has a partition under one epoch, and never another one under the same; epochs never go back.
//! - A commit takes effect while its member owns the partition, or not at all; and then it is told, with both epochs.
//!   Committed offsets never go back, but by [`reset`](crate::offset::OffsetStore::reset) of the owner.
//! - A partition is taken from a member that has given it back, or has lapsed. A member lapses when somebody else has looked
//!   at it four times at least, for as long as its session by that one's own clock, and its heartbeat stood still; or when
//!   its lease proves that it is dead. The lapse and the heartbeat exclude each other: the later one fails.
//! - Once nobody fails any more, every partition is owned after a bounded time: see [`Member`].
//!
//! What a paused member *does* with records before it learns that it was given up, nobody can prevent: they are read again by
//! its successor. Effects that must not happen twice carry the claim's epoch, or belong in the same commit.
//!
//! # From one plan to the next
//! ```
//! use fabric_mq::group::{Changes, assign};
//!
//! // Members 1 and 2 share six partitions, and member 3 has come.
//! let members = [1, 2, 3];
//! let mut claims = [Some(1), Some(1), Some(1), Some(2), Some(2), Some(2)];
//! let mut plan = claims;
//! assign(&mut plan, &members)?;
//! assert_eq!(plan, [Some(1), Some(1), Some(3), Some(2), Some(2), Some(3)]);
//!
//! // Member 1 commits where it is, and gives up its claim; it reads on in partitions 0 and 1 all the time.
//! assert!(Changes::of(1, &claims, &plan).revoked().eq([2]));
//! claims[2] = None;
//!
//! // Member 3 claims what is free. Partition 5 has to wait for member 2.
//! let changes = Changes::of(3, &claims, &plan);
//! assert!(changes.assigned().eq([2, 5]));
//! assert!(changes.claimable(&members).eq([2]));
//! claims[2] = Some(3);
//!
//! // Whoever computes the plan now, from claims that are half done, has the same one.
//! let mut again = claims;
//! assign(&mut again, &members)?;
//! assert_eq!(again, plan);
//! # Ok::<(), fabric_mq::group::AssignError>(())
//! ```

mod assign;
mod consumer;
mod error;
mod member;
mod members;
mod place;
mod watch;

pub use crate::offset::area::{ClaimInfo, Group, GroupConfig, GroupError, GroupRef};
pub use crate::offset::claim::Claim;
pub use assign::{AssignError, Changes, Moves, assign};
pub use consumer::{GroupConsumer, Rebalance};
pub use error::{GroupConsumerError, MemberError};
pub use member::{Event, Member, MemberConfig};
pub use members::MemberInfo;
