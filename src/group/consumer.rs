//! A consumer that shares its topic's partitions with the other members of its group.

use super::{Event, GroupConsumerError, Member, MemberConfig, MemberError};
use crate::consumer::{CommitError, Consumer, PollError, ReleaseOn};
use crate::lease::{Lease, Lend};
use crate::message::MessageRef;
use crate::offset::OffsetError;
use crate::offset::area::GroupRef;
use crate::partition::Hold;
use crate::topic::Topics;
use crate::types::{Epoch, Offset, Ticks};
use core::fmt;

/// Is told when partitions come and go. Every method has a default; `()` is a listener that has nothing else.
pub trait Rebalance {
    /// A partition has come. It is read from `from` on.
    fn assigned(&mut self, partition: u32, epoch: Epoch, from: Offset) {
        let _ = (partition, epoch, from);
    }

    /// A partition is about to go; `position` is the first offset that was not handed out. Answers the offset to be
    /// committed before that: by default `position`, that is, what was handed out is dealt with. `None` commits nothing: the
    /// next owner goes on from the last commit.
    fn revoked(&mut self, partition: u32, position: Offset) -> Option<Offset> {
        let _ = partition;
        Some(position)
    }

    /// A partition is gone, because this member was silent for too long: what it has not committed is another's now.
    fn lost(&mut self, partition: u32) {
        let _ = partition;
    }
}

impl Rebalance for () {}

/// A [`Consumer`] whose partitions are those that its [`Member`] owns: they come and go as members of the group do.
///
/// Every poll also does the member's duties. So poll at least once in an interval, or call
/// [`heartbeat`](Self::heartbeat) between; [`next_step`](Self::next_step) says when. What is handed out is released by the
/// next [`commit`](Self::commit): a group that does not commit holds all its records.
///
/// A partition that goes is committed ([`Rebalance::revoked`]), then its reader is parked, and only then is the claim given
/// back: whoever takes it next finds the group's place in the partition free, and at the committed offset. If a member was
/// given up without being dead, its reader is still in the partition: its successor has the claim, tries at each poll
/// again, and reads its other partitions meanwhile ([`waiting`](Self::waiting)).
///
/// Room for `P` partitions and `M` places, in place: that of the consumer and of the member together, about `270 P + 9 M + 600`
/// bytes on a 64-bit target. Does not allocate or block.
///
/// ```
/// # #[cfg(feature = "std")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use fabric_mq::Ticks;
/// use fabric_mq::group::{Group, GroupConfig, GroupConsumer, MemberConfig};
/// use fabric_mq::lease::SliceLease;
/// use fabric_mq::producer::Producer;
/// use fabric_mq::topic::{TopicConfig, TopicManager};
///
/// let topics = TopicManager::new();
/// topics.create("events", TopicConfig::new().with_partitions(2))?;
/// Producer::new("events").send_batch(&topics, [b"a", b"b"])?;
///
/// let mut bytes = [0; 8192];
/// let group = Group::format(SliceLease::new(&mut bytes), GroupConfig::new("billing", "events", 2))?;
/// let mut consumer: GroupConsumer<_, _> = GroupConsumer::new(&group, MemberConfig::new())?;
/// let mut seen = 0;
/// consumer.poll_with(&topics, Ticks::ZERO, 100, |message| seen += message.payload().len())?;
/// consumer.commit(&topics)?;
/// assert_eq!(seen, 2);
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "std"))]
/// # fn main() {}
/// ```
pub struct GroupConsumer<G: GroupRef, S: Topics, R: Rebalance = (), const P: usize = 16, const M: usize = 16> {
    consumer: Consumer<TopicName, S, P>,
    member: Member<G, P, M>,
    listener: R,
    /// Partitions that were claimed, and are not read yet.
    waiting: heapless::Vec<Waiting, P>,
}

/// The name of a group's topic, in place.
type TopicName = heapless::String<{ crate::name::MAX_TOPIC_NAME }>;

#[derive(Clone, Copy, Debug)]
struct Waiting {
    partition: u32,
    epoch: Epoch,
    committed: Option<Offset>,
}

impl<G: GroupRef, S: Topics, const P: usize, const M: usize> GroupConsumer<G, S, (), P, M> {
    /// A consumer of the group's topic. It joins the group when it first polls.
    ///
    /// # Errors
    /// [`MemberError::Partitions`] or [`MemberError::Places`] if the group is larger than the consumer's tables.
    pub fn new(group: G, config: MemberConfig) -> Result<Self, MemberError> {
        Self::with_listener(group, config, ())
    }
}

impl<G: GroupRef, S: Topics, R: Rebalance, const P: usize, const M: usize> GroupConsumer<G, S, R, P, M> {
    /// The same, with somebody who is told when partitions come and go.
    ///
    /// # Errors
    /// As [`new`](GroupConsumer::new).
    pub fn with_listener(group: G, config: MemberConfig, listener: R) -> Result<Self, MemberError> {
        let topic = heapless::String::try_from(group.group().topic()).unwrap_or_default();
        let consumer = Consumer::with_places(topic, group.group().name()).with_release_on(ReleaseOn::Commit);
        Ok(Self { consumer, member: Member::new(group, config)?, listener, waiting: heapless::Vec::new() })
    }

    /// The membership.
    pub const fn member(&self) -> &Member<G, P, M> {
        &self.member
    }

    /// Who is told when partitions come and go.
    pub const fn listener(&mut self) -> &mut R {
        &mut self.listener
    }

    /// The partitions that are read at present.
    pub fn assignment(&self) -> impl Iterator<Item = u32> {
        self.consumer.assignment()
    }

    /// The partitions that are this member's, and that it cannot read yet, because a former owner that was given up has
    /// not left its place there.
    pub fn waiting(&self) -> impl Iterator<Item = u32> {
        self.waiting.iter().map(|waiting| waiting.partition)
    }

    /// The offset that comes next in a partition, if it is read at present.
    #[must_use]
    pub fn position(&self, partition: u32) -> Option<Offset> {
        self.consumer.position(partition)
    }

    /// Records of the partitions read at present that were not handed out yet.
    ///
    /// # Errors
    /// [`GroupConsumerError::Poll`].
    pub fn lag(&mut self, topics: &S) -> Result<u64, GroupConsumerError> {
        Ok(self.consumer.lag(topics)?)
    }

    /// When there is something to do again for the group.
    #[must_use]
    pub const fn next_step(&self) -> Ticks {
        self.member.next_step()
    }

    /// Beats the member's heart if it is time: for those who are busy for longer than a session between two polls.
    ///
    /// # Errors
    /// [`GroupConsumerError::Member`].
    pub fn heartbeat(&mut self, now: Ticks) -> Result<(), GroupConsumerError> {
        Ok(self.member.heartbeat(now)?)
    }

    /// Does what there is to do for the group, without reading. Polls do it too.
    ///
    /// # Errors
    /// [`GroupConsumerError`]. Nothing is half done; call again.
    pub fn step(&mut self, topics: &S, now: Ticks) -> Result<(), GroupConsumerError> {
        let mut outcome = Ok(());
        while let Some(event) = self.member.step(now)? {
            let done = self.follow(event);
            outcome = outcome.and(done);
        }
        self.join_waiting(topics)?;
        // What somebody has taken over is not read on, though the member itself is told later.
        let Self { consumer, member, listener, .. } = self;
        loop {
            let taken = consumer.assignment().find(|partition| !member.owns(*partition));
            let Some(partition) = taken else { break };
            consumer.remove(partition, None);
            listener.lost(partition);
        }
        outcome
    }

    fn follow(&mut self, event: Event) -> Result<(), GroupConsumerError> {
        match event {
            Event::Assigned(claim) => {
                let partition = claim.partition;
                let committed = claim.committed.map_err(|error| PollError::Store { partition, error })?;
                // There is room for all partitions: the member was made for them.
                let _ = self.waiting.push(Waiting { partition, epoch: claim.epoch, committed });
                Ok(())
            }
            Event::Revoked { partition, .. } => self.revoke(partition),
            Event::Lost { partition, .. } => {
                self.waiting.retain(|waiting| waiting.partition != partition);
                if self.consumer.assignment().any(|assigned| assigned == partition) {
                    self.consumer.remove(partition, None);
                    self.listener.lost(partition);
                }
                Ok(())
            }
            Event::Joined { .. } => Ok(()),
        }
    }

    /// Commits, and parks the reader. The member gives the claim back behind this.
    fn revoke(&mut self, partition: u32) -> Result<(), GroupConsumerError> {
        self.waiting.retain(|waiting| waiting.partition != partition);
        let Some(position) = self.consumer.position(partition) else { return Ok(()) };
        let mut offset = self.listener.revoked(partition, position);
        let mut outcome = Ok(());
        if let Some(upto) = offset
            && let Err(error) = self.member.commit(partition, upto)
        {
            offset = None;
            outcome = Err(GroupConsumerError::Commit(CommitError::Store { partition, error }));
        }
        self.consumer.remove(partition, offset);
        outcome
    }

    /// Takes the places in partitions that were claimed.
    fn join_waiting(&mut self, topics: &S) -> Result<(), GroupConsumerError> {
        let mut outcome = Ok(());
        let Self { consumer, listener, waiting, .. } = self;
        waiting.retain(|one| {
            let Waiting { partition, epoch, committed } = *one;
            let done = consumer.add(topics, partition).and_then(|()| match committed {
                Some(offset) => consumer.go_on_at(topics, partition, offset),
                None => Ok(()),
            });
            match done {
                Ok(()) => {
                    listener.assigned(partition, epoch, consumer.position(partition).unwrap_or_default());
                    false
                }
                Err(PollError::Claimed { .. }) => true,
                Err(error) => {
                    consumer.remove(partition, None);
                    if outcome.is_ok() {
                        outcome = Err(GroupConsumerError::Poll(error));
                    }
                    true
                }
            }
        });
        outcome
    }

    /// Hands up to `max` messages of its partitions to `visit`, where they lie, as
    /// [`Consumer::poll_with`]; before that does what there is to do for the group.
    ///
    /// # Errors
    /// [`GroupConsumerError`]. [`MemberError::Full`] and [`MemberError::Lapsed`] are told while there is nothing to read.
    pub fn poll_with(
        &mut self,
        topics: &S,
        now: Ticks,
        max: usize,
        visit: impl FnMut(MessageRef<'_>),
    ) -> Result<usize, GroupConsumerError>
    where
        <<S::Hold as Hold>::Lease as Lease>::Trust: Lend,
    {
        self.step(topics, now)?;
        Ok(self.consumer.poll_with(topics, max, visit)?)
    }

    /// The same by copy, through `scratch`, as [`Consumer::poll_into`]. Works on every topic.
    ///
    /// # Errors
    /// As [`poll_with`](Self::poll_with).
    pub fn poll_into(
        &mut self,
        topics: &S,
        now: Ticks,
        max: usize,
        scratch: &mut [u8],
        visit: impl FnMut(MessageRef<'_>),
    ) -> Result<usize, GroupConsumerError> {
        self.step(topics, now)?;
        Ok(self.consumer.poll_into(topics, max, scratch, visit)?)
    }

    /// Commits what was handed out of each partition, and releases it.
    ///
    /// # Errors
    /// [`CommitError::Store`] with [`OffsetError::Stale`] for a partition that somebody has taken over: what was handed out
    /// of it is handed out again, by its new owner. The other partitions are committed all the same.
    pub fn commit(&mut self, topics: &S) -> Result<(), CommitError> {
        self.consumer.commit(topics, self.member.offsets())
    }

    /// Commits an offset of one partition: everything before it is dealt with. Releases nothing.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn commit_to(&mut self, partition: u32, offset: Offset) -> Result<(), CommitError> {
        self.member.commit(partition, offset).map_err(|error: OffsetError| CommitError::Store { partition, error })
    }

    /// Sets the committed offset of a partition that is this member's, back if need be, and goes on there; `None` forgets it,
    /// and goes on where the group's reader stands.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn reset(&mut self, partition: u32, offset: Option<Offset>) -> Result<(), CommitError> {
        let Self { consumer, member, waiting, .. } = self;
        let store = member.offsets();
        let failed = |error| CommitError::Store { partition, error };
        store.set(partition, offset).map_err(failed)?;
        consumer.remove(partition, None);
        waiting.retain(|waiting| waiting.partition != partition);
        if let Some(epoch) = store.epoch(partition) {
            // There is room for all partitions.
            let _ = waiting.push(Waiting { partition, epoch, committed: offset });
        }
        Ok(())
    }

    /// Gives its partitions and its place back, as [`Member::leave`]; [`Rebalance::revoked`] says for each what is to be
    /// committed before.
    ///
    /// # Errors
    /// [`GroupConsumerError`]: what could not be committed is read again by the others.
    pub fn leave(mut self) -> Result<(), GroupConsumerError> {
        let mut outcome = Ok(());
        for partition in 0..self.member.group().partitions() {
            let done = self.revoke(partition);
            outcome = outcome.and(done);
        }
        let left = self.member.leave().map_err(GroupConsumerError::Member);
        outcome.and(left)
    }
}

impl<G: GroupRef, S: Topics, R: Rebalance, const P: usize, const M: usize> fmt::Debug for GroupConsumer<G, S, R, P, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupConsumer")
            .field("consumer", &self.consumer)
            .field("member", &self.member)
            .finish_non_exhaustive()
    }
}
