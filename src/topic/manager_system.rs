//! The manager where there is an operating system: it may be left to choose heap and clock.

use super::manager::Shared;
use crate::lease::{HeapPool, Pool};
use crate::platform::clock::SystemClock;

/// Makes, finds and deletes topics. Shared by reference between threads.
///
/// ```
/// use fabric_mq::producer::Producer;
/// use fabric_mq::topic::{TopicConfig, TopicManager};
///
/// let topics = TopicManager::new();
/// topics.create("events", TopicConfig::default())?;
/// Producer::new("events").send(&topics, b"hello")?;
/// assert_eq!(topics.open("events")?.stats()[0].tail.value(), 1);
/// topics.delete("events")?;
/// assert!(topics.open("events").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TopicManager<P: Pool = HeapPool<SystemClock>, C = SystemClock> {
    pub(super) shared: Shared<P, C>,
}

impl TopicManager {
    /// A manager of topics on the heap, without a limit, that go by the system's clock.
    #[must_use]
    pub fn new() -> Self {
        let clock = SystemClock::new();
        Self { shared: Shared::new(HeapPool::new(clock.clone()), clock) }
    }
}

impl Default for TopicManager {
    fn default() -> Self {
        Self::new()
    }
}
