//! Sending and polling allocate nothing once a topic is known. Alone in its program: it counts for all threads.
#![cfg(feature = "std")]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "common/counting.rs"]
mod counting;

use counting::allocations;
use fabric_mq::consumer::{Consumer, SeekPolicy};
use fabric_mq::message::Record;
use fabric_mq::offset::MemOffsetStore;
use fabric_mq::partition::FullPolicy;
use fabric_mq::producer::Producer;
use fabric_mq::topic::{TopicConfig, TopicManager};

#[test]
fn the_hot_paths_allocate_nothing() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1, "it counts");
    let topics = TopicManager::new();
    for full in [FullPolicy::Reject, FullPolicy::DropNewest, FullPolicy::DropOldest] {
        let name = format!("{full:?}");
        topics.create(&name, TopicConfig::new().with_slots(256).with_full(full)).expect("it is new");
        let mut producer = Producer::new(&name);
        let mut consumer = Consumer::new(&name, "g");
        let mut store = MemOffsetStore::new();
        consumer.assign(&[0, 1, 2, 3]);
        // The store makes room for each partition once.
        consumer.seek(&topics, &store, SeekPolicy::Earliest).expect("it is there");
        consumer.commit(&topics, &mut store).expect("it is in memory");
        let mut scratch = [0; 256];
        let mut seen = 0;
        let count = allocations(|| {
            for n in 0..2_000_u32 {
                let key = n.to_le_bytes();
                producer.send(&topics, b"payload").expect("there is room");
                producer.send_keyed(&topics, &key, b"payload").expect("there is room");
                let record = Record::new(b"payload").with_key(&key).with_headers(&[("name", b"value"), ("other", b"")]);
                producer.send_record(&topics, record).expect("there is room");
                producer.send_batch(&topics, [b"one", b"two"]).expect("there is room");
                if n % 16 == 15 {
                    seen += consumer.poll_into(&topics, 1000, &mut scratch, |_| ()).expect("nothing is lost");
                    consumer.commit(&topics, &mut store).expect("it rises");
                }
                if n % 256 == 0 && full != FullPolicy::DropOldest {
                    seen += consumer.poll_with(&topics, 1000, |_| ()).expect("nothing is lost");
                    assert!(consumer.lag(&topics).is_ok_and(|lag| lag == 0));
                }
            }
            seen += consumer.poll_into(&topics, 1000, &mut scratch, |_| ()).expect("nothing is lost");
        });
        assert_eq!((count, seen), (0, 10_000), "{full:?}");
    }
    // An owned message is one allocation, and the list of them grows.
    let topics = TopicManager::new();
    topics.create("t", TopicConfig::new().with_partitions(1)).expect("it is new");
    Producer::new("t").send(&topics, b"x").expect("there is room");
    let mut consumer = Consumer::new("t", "g");
    consumer.assign(&[0]);
    assert_eq!(allocations(|| drop(consumer.poll(&topics, 1))), 2);
    assert_eq!(allocations(|| drop(consumer.poll(&topics, 1))), 0);
}
