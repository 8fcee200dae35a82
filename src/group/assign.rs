//! The sticky assignment of partitions to members, and what it means for one of them.
//!
//! With `P` partitions and `M` members, a balanced assignment gives `P mod M` members the larger share, `P / M + 1`, and all
//! others the smaller one, `P / M`. A member that owns `c` partitions and gets a share of `s` keeps `min(c, s)` of them at
//! most. So a larger share saves exactly one move if it goes to a member that owns more than the smaller share, and none
//! otherwise: giving larger shares to such members first, as long as there are both, is the least that has to move. The rest
//! is to let each member keep as many as its share allows, and to hand what is free to those who have too few. Nobody is
//! given a partition who has to give one up.
//!
//! That leaves choices, and [`assign`] documents how each is made. They are made so that the plan stays the same while it is
//! carried out. A member never gives up what it would keep later, because it keeps its lowest partitions however many it
//! has. Those who are to have a larger share are the first in order, and stay the first when some of them have it already.
//! And free partitions in rising order are matched with members in rising order, so that taking a matched pair away leaves
//! the other pairs as they were.
//!
//! That an assignment should stay where it is as far as balance allows, and that a partition should be given up before the
//! next member takes it while all others are read on, are ideas of Apache Kafka (KIP-54, KIP-429). There a leader searches
//! for partitions to move until nothing gets better, because members may subscribe to different topics. Here a group reads
//! one topic, so the optimum can be written down.

use crate::topic::MAX_PARTITIONS;
use core::{fmt, iter};

/// Writes the owner that each partition is to have in place of the one it has now. `partitions` are all those of one topic:
/// a group that reads two topics assigns each of them.
///
/// - *Balanced*: the numbers of partitions that two members own differ by one at most.
/// - *Sticky*: as few partitions as that allows go from one living member to another. An owner who is not among `members`
///   counts as none.
/// - *The same everywhere*: depends on the order of ids, never on the order in which `members` are listed. Of all balanced
///   assignments with the fewest moves it is the one in which
///     1. members that come first in order have the larger share, as far as the fewest moves allow;
///     2. each member keeps its lowest partitions, and gives up its highest ones;
///     3. the lowest free partitions go to the first member that has too few, the next ones to the next.
/// - *Settled*: assigning again changes nothing. Nor does it while the change is under way: when any of the partitions that
///   are to go are given up, and any of those that are to come are taken, the answer is still the same.
///
/// An id is anything small with a total order: a number, or a name as `&str`. It must be unique in the group and stay a
/// member's own: one that is away keeps its partitions as long as it is listed, and has them again when it comes back. In
/// a group that reads many topics, the first members get the larger share of each; where that matters, use ids whose order
/// differs from topic to topic.
///
/// Does not allocate, block or recurse; needs a fixed amount of stack. Takes time in proportion to the partitions times the
/// members. If there are more members than partitions and their ids are not listed in rising order, looking for duplicates
/// takes time in proportion to the square of the members.
///
/// # Errors
/// Nothing is changed then. [`AssignError::NoMembers`] if there are partitions but nobody to own them,
/// [`AssignError::Duplicate`] if an id is listed twice, [`AssignError::TooMany`] beyond [`MAX_PARTITIONS`].
///
/// ```
/// use fabric_mq::group::{AssignError, assign};
///
/// let mut owners = [None; 5];
/// let moves = assign(&mut owners, &["north", "south"])?;
/// assert_eq!(owners, ["north", "north", "north", "south", "south"].map(Some));
/// assert_eq!((moves.kept, moves.taken, moves.given), (0, 0, 5));
///
/// // One more member: one partition from each of the others would leave (2, 1, 2), so only one has to move.
/// let moves = assign(&mut owners, &["west", "south", "north"])?;
/// assert_eq!(owners, ["north", "north", "west", "south", "south"].map(Some));
/// assert_eq!((moves.kept, moves.taken, moves.given), (4, 1, 0));
///
/// // One that is gone: nothing is taken from anybody.
/// let moves = assign(&mut owners, &["south", "west"])?;
/// assert_eq!(owners, ["south", "west", "west", "south", "south"].map(Some));
/// assert_eq!((moves.kept, moves.taken, moves.given), (3, 0, 2));
///
/// assert_eq!(assign(&mut owners, &[]), Err(AssignError::NoMembers { partitions: 5 }));
/// # Ok::<(), AssignError>(())
/// ```
pub fn assign<Id: Copy + Ord>(partitions: &mut [Option<Id>], members: &[Id]) -> Result<Moves, AssignError> {
    let total = partitions.len();
    if number(total) > MAX_PARTITIONS {
        return Err(AssignError::TooMany { partitions: total, max: MAX_PARTITIONS });
    }
    if let Some(at) = duplicate(members) {
        return Err(AssignError::Duplicate { at });
    }
    let (Some(share), Some(larger)) = (total.checked_div(members.len()), total.checked_rem(members.len())) else {
        return if total == 0 {
            Ok(Moves::default())
        } else {
            Err(AssignError::NoMembers { partitions: number(total) })
        };
    };
    let mut shares = Shares { share, larger };

    let given = forget_absent(partitions, members);
    let taken = give_up(partitions, members.len(), &mut shares);
    hand_out(partitions, members, &mut shares, given.saturating_add(taken));
    let kept = total.saturating_sub(given).saturating_sub(taken);
    Ok(Moves { kept: number(kept), taken: number(taken), given: number(given) })
}

/// What an assignment changed: counts of partitions, all of them together.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Moves {
    /// Those that stay with their owner.
    pub kept: u32,
    /// Those that go from one member to another: the first has to give them up.
    pub taken: u32,
    /// Those that had no owner, or one that is no member any more.
    pub given: u32,
}

/// Why partitions cannot be assigned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum AssignError {
    /// A member is listed twice.
    Duplicate {
        /// Where in the list it stands for the second time.
        at: usize,
    },
    /// There is nobody to own them.
    NoMembers {
        /// How many partitions there are.
        partitions: u32,
    },
    /// No topic has so many partitions.
    TooMany {
        /// How many were given.
        partitions: usize,
        /// How many are possible.
        max: u32,
    },
}

impl core::error::Error for AssignError {}

impl fmt::Display for AssignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate { at } => {
                write!(f, "the member at place {at} of the list stands before that already: list each one once")
            }
            Self::NoMembers { partitions } => {
                write!(
                    f,
                    "there are {partitions} partitions and no members: a group that nobody is in assigns nothing, let one join first"
                )
            }
            Self::TooMany { partitions, max } => {
                write!(f, "{partitions} partitions, and a topic has at most {max}: assign those of one topic at a time")
            }
        }
    }
}

/// What one member has to do to get from the owners there are to the ones that were assigned.
///
/// Hand-over without a stop: the member first finishes and commits what it has to give up ([`revoked`](Self::revoked)), and
/// ends those claims; it claims what is free ([`claimable`](Self::claimable)) under the next epoch; the rest of
/// [`assigned`](Self::assigned) is still another member's, and is looked at again later. What is in none of them is read on
/// all the time. A member that is not in the group any more is told to give up all it has.
///
/// Where one of the two lists is shorter, as with a topic that is not known in full yet, nobody owns the partitions that are
/// missing. Each list walks the partitions once; nothing here allocates or blocks. See [the module](super) for an example.
#[derive(Clone, Copy, Debug)]
pub struct Changes<'a, Id> {
    member: Id,
    owners: &'a [Option<Id>],
    assigned: &'a [Option<Id>],
}

impl<'a, Id: Copy + Ord> Changes<'a, Id> {
    /// Looks at `owners` as they are, and `assigned` as [`assign`](super::assign) answered, from the side of one member.
    #[must_use]
    pub const fn of(member: Id, owners: &'a [Option<Id>], assigned: &'a [Option<Id>]) -> Self {
        Self { member, owners, assigned }
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.revoked().chain(self.assigned()).next().is_none()
    }

    /// The partitions that the member owns and has to give up, in rising order.
    pub fn revoked(&self) -> impl Iterator<Item = u32> + use<'a, Id> {
        let member = Some(self.member);
        self.pairs().filter(move |(_, owner, to)| *owner == member && *to != member).map(|(partition, ..)| partition)
    }

    /// The partitions that the member is to have and does not own, in rising order.
    pub fn assigned(&self) -> impl Iterator<Item = u32> + use<'a, Id> {
        self.gained().map(|(partition, _)| partition)
    }

    /// Those of [`assigned`](Self::assigned) that can be claimed at once: nobody owns them, or somebody who is not among
    /// `members`. The others have to be given up first.
    pub fn claimable<'m>(&self, members: &'m [Id]) -> impl Iterator<Item = u32> + use<'a, 'm, Id> {
        let free = move |owner: Option<Id>| owner.is_none_or(|owner| !members.contains(&owner));
        self.gained().filter(move |(_, owner)| free(*owner)).map(|(partition, _)| partition)
    }

    /// The partitions that are to come, with their present owners.
    fn gained(&self) -> impl Iterator<Item = (u32, Option<Id>)> + use<'a, Id> {
        let member = Some(self.member);
        self.pairs()
            .filter(move |(_, owner, to)| *owner != member && *to == member)
            .map(|(partition, owner, _)| (partition, owner))
    }

    /// Each partition's number, present owner and assigned owner.
    fn pairs(&self) -> impl Iterator<Item = (u32, Option<Id>, Option<Id>)> + use<'a, Id> {
        let len = self.owners.len().max(self.assigned.len());
        let owners = self.owners.iter().copied().chain(iter::repeat(None));
        let assigned = self.assigned.iter().copied().chain(iter::repeat(None));
        (0..=u32::MAX).zip(owners.zip(assigned)).take(len).map(|(partition, (owner, to))| (partition, owner, to))
    }
}

/// The shares that are still to be dealt out.
struct Shares {
    /// The smaller share.
    share: usize,
    /// How many members may have one partition more.
    larger: usize,
}

impl Shares {
    /// A larger share, or a smaller one when there are none left.
    fn next(&mut self) -> usize {
        match self.larger.checked_sub(1) {
            Some(left) => {
                self.larger = left;
                self.share.saturating_add(1)
            }
            None => self.share,
        }
    }
}

/// Takes partitions from owners who are no members. Answers how many have no owner then.
fn forget_absent<Id: Copy + Ord>(partitions: &mut [Option<Id>], members: &[Id]) -> usize {
    let mut unowned = 0_usize;
    for owner in partitions {
        *owner = owner.filter(|owner| members.contains(owner));
        unowned = unowned.saturating_add(usize::from(owner.is_none()));
    }
    unowned
}

/// Takes from each owner what is beyond its share. Answers how many partitions that are.
///
/// Owners are found among the partitions, so that members without one cost nothing here.
fn give_up<Id: Copy + Ord>(partitions: &mut [Option<Id>], members: usize, shares: &mut Shares) -> usize {
    let mut taken = 0_usize;
    let mut last = None;
    // An order that contradicts itself must not keep this going for ever.
    for _ in 0..members {
        let Some(owner) = next(partitions.iter().flatten(), last) else {
            break;
        };
        if owned(partitions, owner) > shares.share {
            let share = shares.next();
            for partition in partitions.iter_mut().filter(|partition| **partition == Some(owner)).skip(share) {
                *partition = None;
                taken = taken.saturating_add(1);
            }
        }
        last = Some(owner);
    }
    taken
}

/// Gives the `free` partitions that nobody owns to members that have less than their share.
fn hand_out<Id: Copy + Ord>(partitions: &mut [Option<Id>], members: &[Id], shares: &mut Shares, mut free: usize) {
    let mut last = None;
    for _ in 0..members.len() {
        // Whoever was looked at owns a partition by now: of more members than partitions, only the first ones are.
        if free == 0 {
            break;
        }
        let Some(member) = next(members.iter(), last) else {
            break;
        };
        let owned = owned(partitions, member);
        // Whoever owns more has had a larger share already.
        if owned <= shares.share {
            let room = shares.next().saturating_sub(owned);
            for partition in partitions.iter_mut().filter(|partition| partition.is_none()).take(room) {
                *partition = Some(member);
                free = free.saturating_sub(1);
            }
        }
        last = Some(member);
    }
}

/// How many partitions a member owns.
fn owned<Id: Copy + Ord>(partitions: &[Option<Id>], member: Id) -> usize {
    partitions.iter().filter(|owner| **owner == Some(member)).count()
}

/// The first id in order after `last`.
fn next<'a, Id: Copy + Ord + 'a>(ids: impl Iterator<Item = &'a Id>, last: Option<Id>) -> Option<Id> {
    ids.copied().filter(|id| last.is_none_or(|last| *id > last)).min()
}

/// Where an id stands for the second time, if one does.
fn duplicate<Id: Ord>(members: &[Id]) -> Option<usize> {
    if members.is_sorted_by(|one, next| one < next) {
        return None;
    }
    members.iter().enumerate().position(|(at, id)| members.iter().take(at).any(|before| before == id))
}

/// A count of partitions, or of what is far beyond the limit.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
