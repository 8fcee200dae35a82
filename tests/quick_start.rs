//! The source system's first program, with the crate's name changed and nothing else.
#![cfg(feature = "std")]

use fabric_mq::consumer::{Consumer, SeekPolicy};
use fabric_mq::offset::MemOffsetStore;
use fabric_mq::producer::Producer;
use fabric_mq::topic::{TopicConfig, TopicManager};

#[test]
fn the_quick_start_works() -> Result<(), Box<dyn core::error::Error>> {
    #![allow(unused_mut, clippy::unnecessary_mut_passed, reason = "as it is written there")]
    let mut mgr = TopicManager::new();
    mgr.create("events", TopicConfig::default())?;

    let mut prod = Producer::new("events");
    prod.send(&mut mgr, b"hello")?;
    prod.send(&mut mgr, b"world")?;

    let store = MemOffsetStore::new();
    let mut consumer = Consumer::new("events", "my-group");
    consumer.assign(&[0, 1, 2, 3]);
    consumer.seek(&mgr, &store, SeekPolicy::Earliest)?;

    let msgs = consumer.poll(&mgr, 100)?;
    assert_eq!(msgs.len(), 2);
    let mut payloads: Vec<_> = msgs.iter().map(|message| message.payload()).collect();
    payloads.sort_unstable();
    assert_eq!(payloads, [b"hello", b"world"]);
    Ok(())
}
