//! Topics whose time is the test's, and what goes wrong with them.

#![allow(dead_code, reason = "each test file uses a part of this")]

use fabric_mq::clock::ManualClock;
use fabric_mq::lease::HeapPool;
use fabric_mq::topic::TopicManager;
use std::fmt::{Debug, Display};
use std::sync::Arc;

pub(crate) type Clocked = TopicManager<HeapPool<Arc<ManualClock>>, Arc<ManualClock>>;

pub(crate) fn manager() -> (Arc<ManualClock>, Clocked) {
    let clock = Arc::new(ManualClock::new());
    (Arc::clone(&clock), TopicManager::with_pool(HeapPool::new(Arc::clone(&clock)), clock))
}

/// It fails with this variant, and says what to do.
#[track_caller]
pub(crate) fn says<T, E: Display + Debug>(outcome: Result<T, E>, variant: &str, remedy: &str) {
    let Err(error) = outcome else { panic!("should be {variant}") };
    let (name, text) = (format!("{error:?}"), error.to_string());
    assert!(name.starts_with(variant), "{name} is not {variant}");
    assert!(text.contains(remedy), "{text:?} does not say {remedy:?}");
}
