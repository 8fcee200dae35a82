//! The receiving side as a group whose members come and go: nobody says who reads what, they agree on it.

use crate::arrivals::Arrivals;
use crate::consume::{ConsumeError, Consumed, rest};
use crate::{GROUP, TOPIC};
use core::sync::atomic::{AtomicU32, Ordering};
use fabric_mq::clock::Clock;
use fabric_mq::group::{Group, GroupConfig, GroupConsumer, MemberConfig, Rebalance};
use fabric_mq::lease::{HeapLease, Pool};
use fabric_mq::topic::{TopicHandle, TopicManager};
use fabric_mq::{Epoch, Name, Offset, Ticks};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Records between two commits, at most.
const BATCH: usize = 256;
/// How often a member's heart beats, and it looks at the others.
const INTERVAL: Ticks = Ticks::from_millis(2);
/// For how long a member may be silent. None is, unless the machine is very busy.
const SESSION: Ticks = Ticks::from_millis(30_000);
/// The most members, the one that comes later included.
pub(crate) const MAX_MEMBERS: u32 = 16;

/// When a member is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stay {
    Always,
    /// It leaves when half of the input was sent.
    FirstHalf,
    /// It joins then.
    SecondHalf,
}

impl Stay {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Always => "all the time",
            Self::FirstHalf => "in the 1st half",
            Self::SecondHalf => "in the 2nd half",
        }
    }
}

/// What a member did.
#[derive(Debug)]
pub(crate) struct MemberEnd {
    pub(crate) stay: Stay,
    pub(crate) records: u64,
    /// Partitions that it has taken, and that it has given up.
    pub(crate) taken: u64,
    pub(crate) given_up: u64,
    /// Those that it had at the end.
    pub(crate) partitions: Vec<u32>,
}

/// What the members share.
pub(crate) struct Members<'a> {
    topics: &'a TopicManager,
    topic: TopicHandle<HeapLease>,
    pub(crate) group: Group<HeapLease>,
    /// What has arrived from each partition, whoever read it: a key's records stay in order when its partition changes hands.
    arrivals: Vec<Mutex<Arrivals>>,
    half: OnceLock<()>,
    /// Members that have left halfway, or joined then.
    changed: AtomicU32,
}

impl<'a> Members<'a> {
    pub(crate) fn new(topics: &'a TopicManager) -> Result<Self, Box<dyn core::error::Error>> {
        let topic = topics.open(TOPIC)?;
        let partitions = topic.view().partition_count();
        let config = GroupConfig::new(GROUP, TOPIC, partitions).with_places(MAX_MEMBERS);
        // Threads share the heap; processes would share a lease of a pool that they share.
        let group = Group::format(topics.pool().acquire(config.lease_bytes()?, Ticks::MAX)?, config)?;
        let arrivals = (0..partitions).map(|_| Mutex::default()).collect();
        Ok(Self { topics, topic, group, arrivals, half: OnceLock::new(), changed: AtomicU32::new(0) })
    }

    /// Whether so many are members, every partition is owned, and nobody has none who could have one.
    fn is_settled(&self, members: u32) -> bool {
        let partitions = self.group.partitions();
        let owner = |partition| self.group.claim_of(partition).ok()?.place;
        let Some(mut owners) = (0..partitions).map(owner).collect::<Option<Vec<_>>>() else { return false };
        owners.sort_unstable();
        owners.dedup();
        let members = members as usize;
        self.group.members().count() == members && owners.len() == members.min(partitions as usize)
    }

    /// Waits until the first members are there: what is sent before anybody reads is not held for them.
    pub(crate) fn wait_for(&self, members: u32, stopped: impl Fn() -> bool) {
        let mut idle = 0;
        while !self.is_settled(members) && !stopped() {
            rest(idle);
            idle += 1;
        }
    }

    /// Half of the input was sent. Waits until that is read; then one leaves, and one joins. Waits until that is done.
    pub(crate) fn change(&self, members: u32, stopped: impl Fn() -> bool) {
        let mut idle = 0;
        while self.group.lag(self.topic.view()).is_ok_and(|lag| lag > 0) && !stopped() {
            rest(idle);
            idle += 1;
        }
        let _ = self.half.set(());
        idle = 0;
        while (self.changed.load(Ordering::Acquire) < 2 || !self.is_settled(members)) && !stopped() {
            rest(idle);
            idle += 1;
        }
    }

    /// Is member `number`, until it leaves, or everything was read and nothing more will come.
    pub(crate) fn run(&self, number: u32, stay: Stay, done: &OnceLock<()>) -> Result<MemberEnd, ConsumeError> {
        let mut end = MemberEnd { stay, records: 0, taken: 0, given_up: 0, partitions: Vec::new() };
        let mut idle = 0;
        while stay == Stay::SecondHalf && self.half.get().is_none() {
            if done.get().is_some() {
                return Ok(end);
            }
            rest(idle);
            idle += 1;
        }
        // One with a name keeps its partitions when it is dropped: so they do not move once everything was read.
        let name = Name::new(&format!("member-{number}"))?;
        let config = MemberConfig::new().with_name(name).with_session(SESSION).with_interval(INTERVAL);
        let mut consumer: GroupConsumer<_, _, Moves> =
            GroupConsumer::with_listener(&self.group, config, Moves::default())?;
        let mut told = stay != Stay::SecondHalf;
        loop {
            if stay == Stay::FirstHalf && self.half.get().is_some() {
                (end.taken, end.given_up) = consumer.listener().counts();
                end.given_up += consumer.assignment().count() as u64;
                consumer.leave()?;
                self.changed.fetch_add(1, Ordering::Release);
                return Ok(end);
            }
            // Looked at before the poll: what was sent before the end of input is seen by this poll or a later one.
            let last = done.get().is_some();
            let count = consumer.poll_with(self.topics, self.topics.clock().now(), BATCH, |message| {
                if let Some(arrivals) = self.arrivals.get(message.partition() as usize) {
                    arrivals.lock().unwrap_or_else(PoisonError::into_inner).take(&message);
                }
            })?;
            if !told && consumer.member().place().is_some() {
                told = true;
                self.changed.fetch_add(1, Ordering::Release);
            }
            if count > 0 {
                end.records += count as u64;
                consumer.commit(self.topics)?;
                idle = 0;
            } else if last && self.group.lag(self.topic.view())? == 0 {
                (end.taken, end.given_up) = consumer.listener().counts();
                end.partitions = consumer.assignment().collect();
                return Ok(end);
            } else {
                rest(idle);
                idle += 1;
            }
        }
    }

    /// What has arrived from each partition.
    pub(crate) fn into_consumed(self) -> Vec<Consumed> {
        let arrivals = self.arrivals.into_iter().map(|one| one.into_inner().unwrap_or_else(PoisonError::into_inner));
        // A member that loses records is told, and fails.
        arrivals.map(|arrivals| Consumed { arrivals, lost: 0, peaks: Vec::new() }).collect()
    }
}

/// Counts the partitions that come and go.
#[derive(Debug, Default)]
struct Moves {
    taken: u64,
    given_up: u64,
}

impl Moves {
    fn counts(&self) -> (u64, u64) {
        (self.taken, self.given_up)
    }
}

impl Rebalance for Moves {
    fn assigned(&mut self, _: u32, _: Epoch, _: Offset) {
        self.taken += 1;
    }

    fn revoked(&mut self, _: u32, position: Offset) -> Option<Offset> {
        self.given_up += 1;
        Some(position)
    }
}
