//! What can go wrong for a member of a group.

use crate::consumer::{CommitError, PollError};
use crate::error::LeaseError;
use crate::offset::OffsetError;
use core::fmt;

/// Why a member cannot go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum MemberError {
    /// A partition could not be taken. The others are not concerned.
    Claim {
        /// Which partition.
        partition: u32,
        /// Why.
        error: OffsetError,
    },
    /// Another member of the same name has joined: this one is finished.
    Fenced,
    /// All places are taken. Lapsed members are looked for all the same: step again.
    Full {
        /// How many there are.
        places: u32,
    },
    /// The member was silent for longer than its session, and the others have given it up. Told once, behind what became
    /// of its partitions; the next step joins again.
    Lapsed,
    /// The group's lease refuses.
    Lease(LeaseError),
    /// The group has more partitions than the member has room for.
    Partitions {
        /// How many the group has.
        wanted: u32,
        /// How many there is room for.
        max: usize,
    },
    /// The group has more places than the member has room for.
    Places {
        /// How many the group has.
        wanted: u32,
        /// How many there is room for.
        max: usize,
    },
}

impl core::error::Error for MemberError {}

impl fmt::Display for MemberError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claim { partition, error } => write!(f, "partition {partition} cannot be taken: {error}"),
            Self::Fenced => f.write_str(
                "another member of this name has joined and goes on in its place: end this one, or give each one a name of its own",
            ),
            Self::Full { places } => write!(
                f,
                "all {places} places of the group are taken: let a member leave, step on until one lapses, or format the group with more"
            ),
            Self::Lapsed => f.write_str(
                "the member was silent for longer than its session and was given up: step again to rejoin, and more often from then on",
            ),
            Self::Lease(inner) => write!(f, "the group's lease: {inner}"),
            Self::Partitions { wanted, max } => write!(
                f,
                "the group has {wanted} partitions, the member has room for {max}: make it a Member<_, {wanted}, _>"
            ),
            Self::Places { wanted, max } => write!(
                f,
                "the group has {wanted} places, the member has room for {max}: make it a Member<_, _, {wanted}>"
            ),
        }
    }
}

impl From<LeaseError> for MemberError {
    fn from(inner: LeaseError) -> Self {
        Self::Lease(inner)
    }
}

/// Why a consumer of a group cannot go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum GroupConsumerError {
    /// What was to be committed when a partition went was not. It is read again by whoever has it next.
    Commit(CommitError),
    /// As a member of its group.
    Member(MemberError),
    /// As a consumer of its partitions.
    Poll(PollError),
}

impl core::error::Error for GroupConsumerError {}

impl fmt::Display for GroupConsumerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit(inner) => write!(f, "{inner}"),
            Self::Member(inner) => write!(f, "{inner}"),
            Self::Poll(inner) => write!(f, "{inner}"),
        }
    }
}

impl From<MemberError> for GroupConsumerError {
    fn from(inner: MemberError) -> Self {
        Self::Member(inner)
    }
}

impl From<PollError> for GroupConsumerError {
    fn from(inner: PollError) -> Self {
        Self::Poll(inner)
    }
}
