//! Consumer groups: who of a group's members reads which partition.
//!
//! A group has no coordinator. Every member looks at the same two things, who owns each partition now and who the members
//! are, and computes the same answer with [`assign`]; [`Changes`] says what this means for one member: what it has to give
//! up, what it may claim, and what it has to wait for. The functions are pure: they neither read nor write a lease, do not
//! allocate, and have no buffers but the caller's.
//!
//! An assignment is a plan, never a right. What owns a partition is its claim, which is taken under a rising epoch: members
//! that for a moment see different memberships compute different plans, and the claim lets one of them in.
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
