//! The receiving side: one member of the group.

use crate::arrivals::Arrivals;
use crate::{GROUP, TOPIC};
use core::fmt;
use core::time::Duration;
use fabric_mq::NameError;
use fabric_mq::consumer::{CommitError, Consumer, Otherwise, PollError, ReleaseOn, SeekPolicy};
use fabric_mq::group::{GroupConsumerError, MemberError};
use fabric_mq::offset::{MemOffsetStore, OffsetError};
use fabric_mq::partition::Partition;
use fabric_mq::topic::{TopicError, TopicManager};
use std::sync::OnceLock;
use std::thread;

/// Records between two commits, at most.
const BATCH: usize = 256;

/// What a consumer saw.
#[derive(Debug)]
pub(crate) struct Consumed {
    pub(crate) arrivals: Arrivals,
    /// Records that were given up before it read them.
    pub(crate) lost: u64,
    /// Its partitions, and the farthest it was behind in each.
    pub(crate) peaks: Vec<(u32, u64)>,
}

/// Consumes `partitions` until they are empty and nothing more will come.
pub(crate) fn run(
    topics: &TopicManager,
    mut store: &MemOffsetStore,
    partitions: &[u32],
    done: &OnceLock<()>,
) -> Result<Consumed, ConsumeError> {
    // What a poll handed out is given up by the commit, not before: after a crash it would come again.
    let mut consumer = Consumer::new(TOPIC, GROUP).with_release_on(ReleaseOn::Commit);
    consumer.assign(partitions);
    consumer.seek(topics, store, SeekPolicy::Committed { otherwise: Otherwise::Earliest })?;

    let topic = topics.open(TOPIC)?;
    let mut peaks: Vec<_> = partitions.iter().map(|partition| (*partition, 0)).collect();
    let mut arrivals = Arrivals::default();
    let mut idle = 0;
    loop {
        for (partition, peak) in &mut peaks {
            let tail = topic.partitions().iter().find(|known| known.number() == *partition).map(Partition::tail);
            if let (Some(tail), Some(position)) = (tail, consumer.position(*partition)) {
                *peak = tail.value().saturating_sub(position.value()).max(*peak);
            }
        }
        // Looked at before the poll: what was sent before the end of input is seen by this poll or a later one.
        let last = done.get().is_some();
        // Messages are visited where they lie in the partition, without a copy.
        let count = consumer.poll_with(topics, BATCH, |message| arrivals.take(&message))?;
        if count > 0 {
            consumer.commit(topics, &mut store)?;
            idle = 0;
        } else if last {
            return Ok(Consumed { arrivals, lost: consumer.lost(), peaks });
        } else {
            rest(idle);
            idle += 1;
        }
    }
}

/// Waits for more: longer, the longer nothing came.
pub(crate) fn rest(idle: u32) {
    if idle < 32 {
        thread::yield_now();
    } else {
        thread::sleep(Duration::from_micros(if idle < 256 { 50 } else { 1000 }));
    }
}

/// Why a consumer ended before the input did.
#[derive(Debug)]
pub(crate) enum ConsumeError {
    Commit(CommitError),
    Group(GroupConsumerError),
    Lag(OffsetError),
    Name(NameError),
    Poll(PollError),
    #[cfg(feature = "durable")]
    Store(Box<dyn core::error::Error + Send + Sync>),
    Topic(TopicError),
}

impl core::error::Error for ConsumeError {}

impl fmt::Display for ConsumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit(inner) => write!(f, "{inner}"),
            Self::Group(inner) => write!(f, "{inner}"),
            Self::Lag(inner) => write!(f, "{inner}"),
            Self::Name(inner) => write!(f, "{inner}"),
            Self::Poll(inner) => write!(f, "{inner}"),
            #[cfg(feature = "durable")]
            Self::Store(inner) => write!(f, "{inner}"),
            Self::Topic(inner) => write!(f, "{inner}"),
        }
    }
}

impl From<CommitError> for ConsumeError {
    fn from(inner: CommitError) -> Self {
        Self::Commit(inner)
    }
}

impl From<GroupConsumerError> for ConsumeError {
    fn from(inner: GroupConsumerError) -> Self {
        Self::Group(inner)
    }
}

impl From<MemberError> for ConsumeError {
    fn from(inner: MemberError) -> Self {
        Self::Group(inner.into())
    }
}

impl From<OffsetError> for ConsumeError {
    fn from(inner: OffsetError) -> Self {
        Self::Lag(inner)
    }
}

impl From<NameError> for ConsumeError {
    fn from(inner: NameError) -> Self {
        Self::Name(inner)
    }
}

impl From<PollError> for ConsumeError {
    fn from(inner: PollError) -> Self {
        Self::Poll(inner)
    }
}

impl From<TopicError> for ConsumeError {
    fn from(inner: TopicError) -> Self {
        Self::Topic(inner)
    }
}
