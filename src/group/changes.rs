//! What an assignment means for one member.

use core::iter;

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
