//! Topics, producers, and what full partitions do.
#![cfg(feature = "std")]
#![allow(unsafe_code, reason = "damage to leased bytes")]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use core::error::Error;
use fabric_mq::clock::{Clock, ManualClock};
use fabric_mq::consumer::{Consumer, SeekPolicy};
use fabric_mq::lease::{HeapPool, Lease, Pool};
use fabric_mq::message::{ProducerBlock, Record};
use fabric_mq::offset::MemOffsetStore;
use fabric_mq::partition::{FullPolicy, Outcome};
use fabric_mq::producer::{Producer, SendError};
use fabric_mq::ring::{Ring, RingConfig, Writer};
use fabric_mq::topic::{TopicConfig, TopicError, TopicManager, partition_of};
use fabric_mq::{AttachError, Check, Epoch, LeaseError, LeaseId, Offset, Ticks};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

type Outcomes = Result<(), Box<dyn Error>>;

fn small(full: FullPolicy) -> TopicConfig {
    TopicConfig::new().with_partitions(1).with_slots_and_stride(8, 64).with_full(full)
}

#[test]
fn records_without_a_key_go_round() -> Outcomes {
    let topics = TopicManager::new();
    topics.create("t", TopicConfig::new().with_partitions(3))?;
    let mut producer = Producer::new("t");
    let went: Vec<u32> =
        (0..7).map(|_| producer.send(&topics, b"x").map(|receipt| receipt.partition)).collect::<Result<_, _>>()?;
    assert_eq!(went, [0, 1, 2, 0, 1, 2, 0]);
    assert_eq!(topics.open("t")?.stats().iter().map(|one| one.tail.value()).collect::<Vec<_>>(), [3, 2, 2]);
    Ok(())
}

#[test]
fn a_key_keeps_its_partition_and_its_order() -> Outcomes {
    let topics = TopicManager::new();
    topics.create("t", TopicConfig::new().with_partitions(5))?;
    let mut producer = Producer::new("t");
    for n in 0..200_u32 {
        let key = format!("key-{}", n % 17);
        let receipt = producer.send_keyed(&topics, key.as_bytes(), &n.to_le_bytes())?;
        assert_eq!(receipt.partition, partition_of(key.as_bytes(), 5));
    }
    // These are promised for ever: they were computed from the published definition of the hash.
    let promised = [(&b"test"[..], 0xBA6B_D213_u64), (b"Hello, world!", 0xC036_3E43)];
    for (key, hash) in promised {
        assert_eq!(u64::from(partition_of(key, 5)), hash % 5);
    }
    let mut consumer = Consumer::new("t", "g");
    consumer.assign(&[0, 1, 2, 3, 4]);
    let mut last: HashMap<Vec<u8>, u32> = HashMap::new();
    let messages = consumer.poll(&topics, 1000)?;
    assert_eq!(messages.len(), 200);
    for message in messages {
        let n = u32::from_le_bytes(message.payload().try_into()?);
        let key = message.key().expect("was sent with one").to_vec();
        assert!(last.insert(key, n).is_none_or(|before| before < n), "in order");
    }
    Ok(())
}

#[test]
fn what_was_sent_comes_back_whole() -> Outcomes {
    let clock = Arc::new(ManualClock::new());
    clock.set(Ticks::from_millis(77));
    let topics = TopicManager::with_pool(HeapPool::new(Arc::clone(&clock)), Arc::clone(&clock));
    topics.create("t", TopicConfig::new().with_partitions(2))?;
    let mut producer = Producer::new("t");
    let block = ProducerBlock::new(1, Epoch::new(2), 3);
    let record = Record::new(b"payload").with_key(b"k").with_headers(&[("a", b"1"), ("b", b"")]).with_producer(block);
    producer.send_record_to(&topics, 1, record)?;
    producer.send_record_to(&topics, 1, Record::new(b"").with_timestamp(Ticks::from_millis(5)))?;
    let mut consumer = Consumer::new("t", "g");
    consumer.assign(&[1]);
    let messages = consumer.poll(&topics, 10)?;
    let [first, second] = &messages[..] else { panic!("two were sent") };
    assert_eq!(
        (first.partition(), first.offset(), first.timestamp()),
        (1, Offset::new(0), Some(Ticks::from_millis(77)))
    );
    assert_eq!((first.key(), first.payload(), first.producer()), (Some(&b"k"[..]), &b"payload"[..], Some(block)));
    assert_eq!(first.headers().collect::<Vec<_>>(), [("a", &b"1"[..]), ("b", &b""[..])]);
    assert_eq!((first.header("b"), first.header("c")), (Some(&b""[..]), None));
    assert_eq!((second.timestamp(), second.key(), second.payload()), (Some(Ticks::from_millis(5)), None, &b""[..]));

    topics.create("plain", TopicConfig::new().with_timestamps(false))?;
    Producer::new("plain").send(&topics, b"bare")?;
    let mut consumer = Consumer::new("plain", "g");
    consumer.assign(&[0]);
    assert_eq!(consumer.poll(&topics, 1)?[0].timestamp(), None);
    Ok(())
}

#[test]
fn a_full_partition_rejects() -> Outcomes {
    let topics = TopicManager::new();
    topics.create("t", small(FullPolicy::Reject))?;
    let mut producer = Producer::new("t");
    for _ in 0..8 {
        producer.send(&topics, b"x")?;
    }
    assert_eq!(producer.send(&topics, b"x"), Err(SendError::Full { partition: 0 }));
    assert_eq!(topics.open("t")?.stats()[0].refused, 1);
    // Reading and releasing makes room; what was not released yet does not.
    let mut consumer = Consumer::new("t", "g");
    consumer.assign(&[0]);
    assert_eq!(consumer.poll(&topics, 100)?.len(), 8);
    assert_eq!(producer.send(&topics, b"x"), Err(SendError::Full { partition: 0 }));
    assert_eq!(consumer.poll(&topics, 100)?.len(), 0);
    assert_eq!(producer.send(&topics, b"y")?.offset(), Some(Offset::new(8)));
    Ok(())
}

#[test]
fn a_full_partition_drops_the_newest() -> Outcomes {
    let topics = TopicManager::new();
    topics.create("t", small(FullPolicy::DropNewest))?;
    let mut producer = Producer::new("t");
    for n in 0..8_u8 {
        assert_eq!(producer.send(&topics, &[n])?.outcome, Outcome::Stored(Offset::new(n.into())));
    }
    for _ in 0..3 {
        let receipt = producer.send(&topics, b"late")?;
        assert_eq!((receipt.outcome, receipt.offset()), (Outcome::Dropped, None));
    }
    assert_eq!(topics.open("t")?.stats()[0].refused, 3, "every drop is counted");
    let mut consumer = Consumer::new("t", "g");
    consumer.assign(&[0]);
    assert_eq!(consumer.poll(&topics, 100)?.len(), 8);
    Ok(())
}

#[test]
fn a_full_partition_drops_the_oldest() -> Outcomes {
    let topics = TopicManager::new();
    topics.create("t", small(FullPolicy::DropOldest))?;
    let mut producer = Producer::new("t");
    for n in 0..20_u8 {
        assert_eq!(producer.send(&topics, &[n])?.offset(), Some(Offset::new(n.into())));
    }
    let mut consumer = Consumer::new("t", "g");
    consumer.assign(&[0]);
    let kept: Vec<u8> = consumer.poll(&topics, 100)?.iter().map(|message| message.payload()[0]).collect();
    assert_eq!(kept, (20 - kept.len() as u8..20).collect::<Vec<_>>(), "the newest, without a gap");
    assert!(kept.len() >= 7);
    Ok(())
}

#[test]
fn a_full_partition_waits_until_its_deadline() -> Outcomes {
    let clock = Arc::new(ManualClock::new());
    let topics = TopicManager::with_pool(HeapPool::new(Arc::clone(&clock)), Arc::clone(&clock));
    topics.create("t", small(FullPolicy::Wait { timeout: Ticks::from_millis(10) }))?;
    let mut producer = Producer::new("t");
    for _ in 0..8 {
        producer.send(&topics, b"x")?;
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
                clock.advance(Ticks::from_millis(1));
            }
        });
        let before = clock.now();
        assert_eq!(producer.send(&topics, b"x"), Err(SendError::TimedOut { partition: 0 }));
        assert!(clock.now() >= before.plus(Ticks::from_millis(10)));
        done.store(true, Ordering::Relaxed);
    });
    // Somebody makes room while it waits: the clock stands still, so it would wait for ever otherwise.
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| producer.send(&topics, b"patient"));
        let mut consumer = Consumer::new("t", "g");
        consumer.assign(&[0]);
        assert_eq!(consumer.poll(&topics, 8)?.len(), 8);
        consumer.poll(&topics, 8)?;
        let receipt = sending.join().expect("does not panic")?;
        assert_eq!(receipt.offset(), Some(Offset::new(8)));
        Ok(())
    })
}

#[test]
fn max_lag_waits_for_a_slow_group_and_then_no_longer() -> Outcomes {
    let topics = TopicManager::new();
    topics.create("waits", small(FullPolicy::DropOldest).with_max_lag(8))?;
    let mut producer = Producer::new("waits");
    let mut consumer = Consumer::new("waits", "g");
    consumer.assign(&[0]);
    assert_eq!(consumer.poll(&topics, 1)?.len(), 0);
    for n in 0..8_u8 {
        producer.send(&topics, &[n])?;
    }
    assert_eq!(producer.send(&topics, b"x"), Err(SendError::Full { partition: 0 }), "it is 8 behind");
    assert_eq!(consumer.poll(&topics, 8)?.len(), 8);
    assert_eq!(consumer.poll(&topics, 8)?.len(), 0);
    producer.send(&topics, b"x")?;

    topics.create("t", small(FullPolicy::DropOldest).with_max_lag(6))?;
    let mut producer = Producer::new("t");
    let mut consumer = Consumer::new("t", "g");
    consumer.assign(&[0]);
    assert_eq!(consumer.poll(&topics, 1)?.len(), 0);
    for n in 0..50_u8 {
        producer.send(&topics, &[n])?;
    }
    let lost = match consumer.poll(&topics, 1) {
        Err(fabric_mq::consumer::PollError::Lagging { lost, .. }) => lost,
        other => panic!("{other:?}"),
    };
    assert_eq!(consumer.poll(&topics, 1)?[0].offset().value(), lost);
    Ok(())
}

#[test]
fn a_deleted_topic_says_so_once_and_can_be_made_again() -> Outcomes {
    let topics = TopicManager::new();
    let pool = topics.pool().clone();
    topics.create("t", TopicConfig::default())?;
    let (mut producer, mut consumer) = (Producer::new("t"), Consumer::new("t", "g"));
    consumer.assign(&[0, 1]);
    producer.send(&topics, b"x")?;
    assert_eq!(consumer.poll(&topics, 1)?.len(), 1);
    topics.delete("t")?;
    assert_eq!(topics.delete("t"), Err(TopicError::Unknown));
    assert_eq!(producer.send(&topics, b"x"), Err(SendError::Topic(TopicError::Deleted)));
    assert_eq!(producer.send(&topics, b"x"), Err(SendError::Topic(TopicError::Unknown)));
    let told = fabric_mq::consumer::PollError::Topic(TopicError::Deleted);
    assert_eq!(consumer.poll(&topics, 1).unwrap_err(), told);
    assert_eq!(pool.leased_bytes(), 0, "nobody holds the topic any more");
    topics.create("t", TopicConfig::default())?;
    assert_eq!(producer.send(&topics, b"new")?.offset(), Some(Offset::new(0)));
    assert_eq!(consumer.poll(&topics, 10)?.len(), 1);
    Ok(())
}

#[test]
fn a_handle_of_another_manager_is_not_used() -> Outcomes {
    let (one, two) = (TopicManager::new(), TopicManager::new());
    one.create("t", TopicConfig::default())?;
    two.create("t", TopicConfig::default())?;
    let mut producer = Producer::new("t");
    producer.send(&one, b"x")?;
    assert_eq!(producer.send(&two, b"x"), Err(SendError::Topic(TopicError::Deleted)));
    producer.send(&two, b"x")?;
    let sent = |topics: &TopicManager| {
        topics.open("t").map(|topic| topic.stats().iter().map(|one| one.tail.value()).sum::<u64>())
    };
    assert_eq!((sent(&one)?, sent(&two)?), (1, 1));
    Ok(())
}

#[test]
fn batches_stop_at_the_first_refusal() -> Outcomes {
    let topics = TopicManager::new();
    topics.create("t", small(FullPolicy::Reject))?;
    let mut producer = Producer::new("t");
    assert_eq!(producer.send_batch(&topics, [b"one", b"two"])?, 2);
    assert_eq!(producer.send_batch(&topics, [Record::new(b"3").with_key(b"k")])?, 1);
    let payloads = [b"x"; 10];
    let error = producer.send_batch(&topics, payloads).unwrap_err();
    assert_eq!((error.sent, error.error), (5, SendError::Full { partition: 0 }));
    Ok(())
}

#[test]
fn a_topic_is_found_again_in_its_leases() -> Outcomes {
    let clock = Arc::new(ManualClock::new());
    let pool = HeapPool::new(Arc::clone(&clock));
    let shape = RingConfig::new(16, 1024).with_readers(2);
    let mut ids = Vec::new();
    for number in 0..2 {
        let ring: Ring<_> = Ring::format(pool.acquire(shape.lease_bytes()?, Ticks::MAX)?, shape.with_number(number))?;
        Writer::claim(&ring)?.write(&[b'0' + number as u8])?;
        ids.push(ring.into_lease().detach());
    }
    let topics = TopicManager::with_pool(pool, clock);
    let config = TopicConfig::new().with_partitions(2);
    topics.attach("t", config, &ids)?;
    let mut consumer = Consumer::new("t", "g");
    consumer.assign(&[0, 1]);
    let found: Vec<_> = consumer.poll(&topics, 10)?.iter().map(|message| message.payload().to_vec()).collect();
    assert_eq!(found, [b"0", b"1"]);
    Ok(())
}

/// Whatever an attach is refused for, the right one that follows finds everything.
#[test]
fn an_attach_that_is_refused_loses_nothing() -> Outcomes {
    const RECORDS: u64 = 40;
    let clock = Arc::new(ManualClock::new());
    let pool = HeapPool::new(Arc::clone(&clock));
    let config = TopicConfig::new().with_partitions(3).with_slots_and_stride(16, 64).with_groups(1);
    let shape = RingConfig::new(16, 1024).with_readers(2);
    let mut ids = Vec::new();
    for number in 0..3 {
        let ring: Ring<_> = Ring::format(pool.acquire(shape.lease_bytes()?, Ticks::MAX)?, shape.with_number(number))?;
        let mut writer = Writer::claim(&ring)?;
        for n in (u64::from(number)..RECORDS).step_by(3) {
            writer.write(&n.to_le_bytes())?;
        }
        drop(writer);
        ids.push(ring.into_lease().detach());
    }
    let topics = TopicManager::with_pool(pool.clone(), clock);
    let leased = pool.leased_bytes();
    let attach = |config, ids: &[_]| {
        let error = topics.attach("t", config, ids).unwrap_err();
        assert_eq!(pool.leased_bytes(), leased, "{error:?}");
        error
    };
    let refused = |config, ids: &[_], expected| assert_eq!(attach(config, ids), expected);
    refused(config.with_partitions(4), &ids, TopicError::Partitions { wanted: 4, max: 3 });
    refused(config, &[], TopicError::Partitions { wanted: 3, max: 0 });
    refused(config.with_partitions(2), &ids, TopicError::Leases { given: 3, partitions: 2 });
    refused(config, &[ids[0], ids[2], ids[1]], TopicError::WrongPartition { wanted: 1, found: 2 });
    refused(config, &[ids[0], ids[1], ids[0]], TopicError::Lease { partition: 2, error: LeaseError::InUse });
    let unknown = LeaseId::new(77);
    refused(config, &[ids[0], ids[1], unknown], TopicError::Lease { partition: 2, error: LeaseError::Unknown });
    let overwriting = config.with_full(FullPolicy::DropOldest);
    refused(overwriting, &ids, TopicError::Attach { partition: 0, error: AttachError::Keep });
    // Damage of the superblock, and of the newest record's slot.
    for (at, check) in [(20, Check::SuperblockCrc), (384 + 2 * 128 + 12 * 16 + 8, Check::Stamp)] {
        let flip = || -> Result<(), LeaseError> {
            let lease = pool.attach(ids[2])?;
            // SAFETY: the lease has more bytes.
            let byte = unsafe { lease.base().add(at) };
            // SAFETY: nobody else holds the lease.
            unsafe { *byte.as_ptr() ^= 1 };
            assert_eq!(lease.detach(), ids[2]);
            Ok(())
        };
        flip()?;
        match attach(config, &ids) {
            TopicError::Attach { partition: 2, error: AttachError::Corrupt(damage) } => {
                assert_eq!(damage.check(), check);
            }
            other => panic!("{at}: {other:?}"),
        }
        flip()?;
    }
    // Somebody else was faster with the name.
    topics.create("t", TopicConfig::new().with_partitions(1))?;
    assert_eq!(topics.attach("t", config, &ids).unwrap_err(), TopicError::Exists);
    topics.delete("t")?;

    topics.attach("t", config, &ids)?;
    let mut consumer = Consumer::new("t", "g");
    consumer.assign(&[0, 1, 2]);
    let mut found: Vec<u64> = Vec::new();
    consumer.poll_with(&topics, 100, |message| found.extend(message.payload().try_into().map(u64::from_le_bytes)))?;
    found.sort_unstable();
    assert!(found.iter().copied().eq(0..RECORDS), "{found:?}");
    Ok(())
}

#[test]
fn leases_end_unless_renewed() -> Outcomes {
    let clock = Arc::new(ManualClock::new());
    let topics = TopicManager::with_pool(HeapPool::new(Arc::clone(&clock)), Arc::clone(&clock));
    topics.create("t", TopicConfig::new().with_partitions(1).with_ttl(Ticks::from_millis(100)))?;
    let (mut producer, mut consumer) = (Producer::new("t"), Consumer::new("t", "g"));
    consumer.assign(&[0]);
    producer.send(&topics, b"x")?;
    clock.advance(Ticks::from_millis(60));
    assert_eq!(topics.renew("t")?, Ticks::from_millis(160));
    clock.advance(Ticks::from_millis(60));
    assert_eq!(topics.pool().sweep(), 0);
    producer.send(&topics, b"x")?;
    assert_eq!(consumer.poll(&topics, 1)?.len(), 1);
    clock.advance(Ticks::from_millis(40));
    assert_eq!(topics.pool().sweep(), 1);
    let ended = LeaseError::Expired;
    assert_eq!(producer.send(&topics, b"x"), Err(SendError::Lease { partition: 0, error: ended }));
    let told = fabric_mq::consumer::PollError::Lease { partition: 0, error: ended };
    assert_eq!(consumer.poll(&topics, 1).unwrap_err(), told);
    assert_eq!(topics.renew("t"), Err(TopicError::Lease { partition: 0, error: ended }));
    Ok(())
}

#[test]
fn sizes_are_rounded_up() -> Outcomes {
    let topics = TopicManager::new();
    let topic = topics.create("t", TopicConfig::new().with_partitions(1).with_slots_and_stride(100, 100))?;
    assert_eq!(topic.stats()[0].bytes, 16_384);
    assert_eq!(topic.partitions()[0].max_record(), 8_192);
    let mut producer = Producer::new("t");
    producer.send(&topics, &[0; 8_184])?;
    let refused = SendError::TooLarge { partition: 0, len: 8_193, max: 8_192 };
    assert_eq!(producer.send(&topics, &[0; 8_185]), Err(refused));
    assert_eq!((topic.name(), topic.config().slots, topics.names()), ("t", 100, vec![String::from("t")]));
    Ok(())
}

#[test]
fn threads_produce_and_consume_at_the_same_time() -> Outcomes {
    const EACH: u64 = 20_000;
    let topics = TopicManager::new();
    let config = TopicConfig::new().with_partitions(4).with_slots_and_stride(256, 64);
    topics.create("t", config.with_full(FullPolicy::Wait { timeout: Ticks::from_millis(30_000) }))?;
    let store = MemOffsetStore::new();
    let give_up = Instant::now() + Duration::from_secs(60);
    std::thread::scope(|scope| {
        let readers: Vec<_> = [[0, 1], [2, 3]]
            .into_iter()
            .map(|mine| {
                let (topics, store) = (&topics, &store);
                let mut consumer = Consumer::new("t", "g");
                consumer.assign(&mine);
                consumer.seek(topics, store, SeekPolicy::Earliest).expect("places are free");
                scope.spawn(move || {
                    let mut last: HashMap<(u8, u8), u64> = HashMap::new();
                    let (mut seen, mut done) = (0_u64, 0);
                    // Each producer ends with a mark in each partition.
                    while done < 4 && Instant::now() < give_up {
                        let count = consumer.poll_with(topics, 64, |message| match message.key() {
                            None => done += 1,
                            Some(key) => {
                                let n = u64::from_le_bytes(message.payload().try_into().expect("eight bytes"));
                                let before = last.insert((key[0], key[1]), n);
                                assert!(before.is_none_or(|before| before < n), "in order by key");
                                seen += 1;
                            }
                        });
                        if count.expect("nothing fails") == 0 {
                            std::thread::yield_now();
                        }
                    }
                    let mut store = store;
                    consumer.commit(topics, &mut store).expect("nothing fails");
                    seen
                })
            })
            .collect();
        for who in 0..2_u8 {
            let topics = &topics;
            scope.spawn(move || {
                let mut producer = Producer::new("t");
                for n in 0..EACH {
                    producer.send_keyed(topics, &[who, n as u8 % 32], &n.to_le_bytes()).expect("has time");
                }
                for partition in 0..4 {
                    producer.send_to(topics, partition, b"end").expect("has time");
                }
            });
        }
        let seen: u64 = readers.into_iter().map(|reader| reader.join().expect("does not panic")).sum();
        assert_eq!(seen, 2 * EACH);
    });
    let committed: u64 = (0..4)
        .filter_map(|partition| fabric_mq::offset::OffsetStore::committed(&store, "g", "t", partition).ok()?)
        .map(Offset::value)
        .sum();
    assert_eq!(committed, 2 * EACH + 8);
    Ok(())
}
