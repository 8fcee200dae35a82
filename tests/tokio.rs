//! Consumers and readers as tasks of an executor that others have made.

#![cfg(all(feature = "std", not(loom)))]
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

use fabric_mq::Ticks;
use fabric_mq::clock::SystemClock;
use fabric_mq::consumer::Consumer;
use fabric_mq::lease::{HeapPool, Pool};
use fabric_mq::producer::Producer;
use fabric_mq::ring::{AsyncReader, Bell, Reader, Ring, RingConfig, SharedWriter, Start};
use fabric_mq::topic::{TopicConfig, TopicManager};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

fn executor() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// A task that nobody wakes is a test that fails.
const SOON: Duration = Duration::from_secs(60);

#[test]
fn tasks_consume_what_threads_and_tasks_send() {
    const TASKS: u32 = 4;
    const SENDS: u64 = 2_000;
    let topics = Arc::new(TopicManager::new());
    let config = TopicConfig::new().with_partitions(TASKS).with_slots(1 << 14).with_capacity(1 << 20);
    topics.create("events", config).unwrap();
    let executor = executor();
    let tasks: Vec<_> = (0..TASKS)
        .map(|partition| {
            let topics = Arc::clone(&topics);
            // To be spawned it must be `Send`: an executor may move it to another thread.
            executor.spawn(async move {
                let mut consumer: Consumer<_, TopicManager> = Consumer::new("events", "group");
                consumer.assign(&[partition]);
                let mut next = 0;
                while next < 2 * SENDS {
                    for message in consumer.next_batch(&*topics, 64).await.unwrap() {
                        assert_eq!(message.offset().value(), next);
                        next += 1;
                    }
                }
                next
            })
        })
        .collect();
    let sender = thread::spawn({
        let topics = Arc::clone(&topics);
        move || {
            let mut producer = Producer::new("events");
            for n in 0..SENDS * u64::from(TASKS) {
                producer.send(&*topics, &n.to_le_bytes()).unwrap();
                if n % 64 == 0 {
                    thread::sleep(Duration::from_micros(100));
                }
            }
        }
    });
    executor.spawn({
        let topics = Arc::clone(&topics);
        async move {
            let mut producer = Producer::new("events");
            for n in 0..SENDS * u64::from(TASKS) {
                producer.send(&*topics, &n.to_le_bytes()).unwrap();
                if n % 50 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
    });
    executor.block_on(async {
        for task in tasks {
            assert_eq!(timeout(SOON, task).await.expect("a wake-up was lost").unwrap(), 2 * SENDS);
        }
    });
    sender.join().unwrap();
}

#[test]
fn a_wait_that_is_cut_off_by_a_timer_loses_nothing() {
    let topics = TopicManager::new();
    topics.create("events", TopicConfig::new().with_partitions(1)).unwrap();
    let mut consumer: Consumer<_, _> = Consumer::new("events", "group");
    consumer.assign(&[0]);
    let mut producer = Producer::new("events");
    executor().block_on(async {
        for n in 0..100_u64 {
            let nothing = timeout(Duration::from_micros(200), consumer.next_batch(&topics, 10)).await;
            assert!(nothing.is_err(), "there is no message yet");
            producer.send(&topics, &n.to_le_bytes()).unwrap();
            let messages = timeout(SOON, consumer.next_batch(&topics, 10)).await.expect("it is there").unwrap();
            assert_eq!((messages.len(), messages[0].payload()), (1, &n.to_le_bytes()[..]));
        }
    });
}

#[test]
fn a_ring_is_read_by_a_task() {
    const RECORDS: u64 = 5_000;
    static BELL: Bell = Bell::new();
    let config = RingConfig::new(64, 4096);
    let lease = HeapPool::new(SystemClock::new()).acquire(config.lease_bytes().unwrap(), Ticks::MAX).unwrap();
    let ring: Arc<Ring<_>> = Arc::new(Ring::format(lease, config).unwrap());
    let reader = Reader::join(Arc::clone(&ring), "main", Start::Earliest).unwrap();
    let executor = executor();
    let task = executor.spawn(async move {
        let mut reader = AsyncReader::new(reader, &BELL);
        for next in 0..RECORDS {
            let record = reader.next().await.unwrap();
            assert_eq!((record.offset().value(), record.payload()), (next, &next.to_le_bytes()[..]));
        }
    });
    let writer = thread::spawn(move || {
        let writer = SharedWriter::claim(ring).unwrap();
        for n in 0..RECORDS {
            while writer.write(&n.to_le_bytes()).is_err() {
                thread::yield_now();
            }
            BELL.ring();
        }
    });
    executor.block_on(async { timeout(SOON, task).await.expect("a wake-up was lost").unwrap() });
    writer.join().unwrap();
}
