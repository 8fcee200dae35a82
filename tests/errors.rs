//! Every error of topics, producers and consumers: it can happen, and says what to do about it.
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

use core::fmt::Display;
use fabric_mq::clock::ManualClock;
use fabric_mq::consumer::{CommitError, Consumer, PollError, SeekPolicy};
use fabric_mq::lease::{HeapPool, Lease, Pool};
use fabric_mq::message::Record;
use fabric_mq::offset::{MemOffsetStore, OffsetError, OffsetStore, StaticOffsetStore};
use fabric_mq::partition::FullPolicy;
use fabric_mq::producer::Producer;
use fabric_mq::ring::{Ring, RingConfig, Writer};
use fabric_mq::topic::{StaticRings, StaticTopics, TopicConfig, TopicManager};
use fabric_mq::uri::Uri;
use fabric_mq::{LeaseId, Offset, Ticks};
use std::sync::Arc;

type Clocked = TopicManager<HeapPool<Arc<ManualClock>>, Arc<ManualClock>>;

fn manager() -> (Arc<ManualClock>, Clocked) {
    let clock = Arc::new(ManualClock::new());
    (Arc::clone(&clock), TopicManager::with_pool(HeapPool::new(Arc::clone(&clock)), clock))
}

fn tiny() -> TopicConfig {
    TopicConfig::new().with_partitions(1).with_slots_and_stride(2, 64).with_groups(1)
}

/// The error's words, if it has the variant wanted.
#[track_caller]
fn says<T, E: Display + core::fmt::Debug>(outcome: Result<T, E>, variant: &str, remedy: &str) {
    let Err(error) = outcome else { panic!("should be {variant}") };
    let (name, text) = (format!("{error:?}"), error.to_string());
    assert!(name.starts_with(variant), "{name} is not {variant}");
    assert!(text.contains(remedy), "{text:?} does not say {remedy:?}");
}

/// A ring in a lease of the pool, left there.
fn left(
    pool: &HeapPool<Arc<ManualClock>>,
    number: u32,
    write: impl FnOnce(&mut Writer<&Ring<fabric_mq::lease::HeapLease>>),
) -> LeaseId {
    let shape = RingConfig::new(8, 256).with_readers(2).with_number(number);
    let lease = pool.acquire(shape.lease_bytes().unwrap(), Ticks::MAX).unwrap();
    let ring: Ring<_> = Ring::format(lease, shape).unwrap();
    write(&mut Writer::claim(&ring).unwrap());
    ring.into_lease().detach()
}

#[test]
fn topic_errors() {
    let (clock, topics) = manager();
    topics.create("t", tiny().with_ttl(Ticks::from_millis(5))).unwrap();
    says(topics.create("t", tiny()), "Exists", "delete it first");
    says(topics.create("a b", tiny()), "Name", "A-Z a-z 0-9 . _ -");
    says(topics.create("..", tiny()), "Name", "no names");
    says(topics.create(&"n".repeat(129), tiny()), "Name", "1 to 128");
    says(topics.create("u", tiny().with_partitions(0)), "Partitions", "1 to 65536");
    says(topics.create("u", tiny().with_groups(0)), "Groups", "1 to 32");
    says(topics.create("u", tiny().with_max_lag(9)), "MaxLag", "choose FullPolicy::DropOldest");
    says(topics.create("u", tiny().with_capacity(1 << 31).with_slots(u32::MAX)), "Config", "power of two");
    says(topics.open("u"), "Unknown", "create it first");
    says(topics.delete("u"), "Unknown", "create it first");
    says(topics.attach("u", tiny(), &[LeaseId::new(99)]), "Lease", "knows no lease");
    says(topics.attach("u", tiny(), &[]), "Partitions", "1 to 0 partitions");
    let two = [LeaseId::new(99), LeaseId::new(98)];
    says(topics.attach("u", tiny(), &two), "Leases { given: 2, partitions: 1 }", "one lease for each");
    let empty = topics.pool().acquire(4096, Ticks::MAX).unwrap().detach();
    says(topics.attach("u", tiny(), &[empty]), "Attach", "format it");
    let second = left(topics.pool(), 1, |_| ());
    says(topics.attach("u", tiny(), &[second]), "WrongPartition", "in the order of the partitions");
    clock.advance(Ticks::from_millis(5));
    says(topics.renew("t"), "Lease", "acquire a new one");

    let limited = TopicManager::with_pool(HeapPool::new(Arc::clone(&clock)).with_limit(10_000), clock);
    says(limited.create("t", TopicConfig::new()), "Lease", "ask for fewer bytes");

    let mut rings: StaticRings<_, 1, 1> = StaticRings::new();
    rings.create(topics.pool().clone(), "t", tiny(), ManualClock::new()).unwrap();
    says(rings.create(topics.pool().clone(), "u", tiny(), ManualClock::new()), "TopicsFull", "make it larger");
    let working = StaticTopics::new(&rings, ManualClock::new()).unwrap();
    says(StaticTopics::new(&rings, ManualClock::new()), "Writer", "share it");
    assert_eq!(working.names().count(), 1);
}

#[test]
fn send_errors() {
    let (clock, topics) = manager();
    let mut producer = Producer::new("t");
    says(producer.send(&topics, b""), "Topic(Unknown)", "create it first");
    topics.create("t", tiny()).unwrap();
    says(producer.send_to(&topics, 1, b""), "NoSuchPartition", "has 1, numbered from 0");
    says(producer.send(&topics, &[0; 57]), "TooLarge", "split it");
    says(producer.send_keyed(&topics, &[0; 2000], b""), "Message(Key", "use a hash of it");
    let many = [("name", &b""[..]); 17];
    says(producer.send_record(&topics, Record::new(b"").with_headers(&many)), "Message(Headers", "join some");
    says(producer.send_record(&topics, Record::new(b"").with_headers(&[("", b"")])), "Message(HeaderName", "1 to 64");
    says(
        producer.send_record(&topics, Record::new(b"").with_headers(&[("n", &[0; 1025])])),
        "Message(HeaderValue",
        "into the payload",
    );
    let large = [("n", &[0; 1024][..]); 4];
    says(producer.send_record(&topics, Record::new(b"").with_headers(&large)), "Message(Envelope", "into the payload");
    producer.send_batch(&topics, [b"1", b"2"]).unwrap();
    says(producer.send(&topics, b"3"), "Full", "choose another full policy");
    says(producer.send_batch(&topics, [b"3"]), "BatchError { sent: 0", "after 0 records");
    topics.delete("t").unwrap();
    says(producer.send(&topics, b""), "Topic(Deleted)", "create it again");

    topics.create("waits", tiny().with_full(FullPolicy::Wait { timeout: Ticks::ZERO })).unwrap();
    let mut producer = Producer::new("waits");
    producer.send_batch(&topics, [b"1", b"2"]).unwrap();
    says(producer.send(&topics, b"3"), "TimedOut", "wait longer");

    // How leases end.
    type End<'a> = (&'a str, &'a str, &'a dyn Fn(LeaseId));
    let ends: [End<'_>; 3] = [
        ("Expired", "renew it", &|_| {
            clock.advance(Ticks::from_millis(10));
            topics.pool().sweep();
        }),
        ("Revoked", "acquire a new one", &|id| topics.pool().revoke(id).unwrap()),
        ("Fenced", "this one is finished", &|id| assert!(topics.pool().fence(id).is_ok())),
    ];
    for (how, remedy, end) in ends {
        let topic = topics.create(how, tiny().with_ttl(Ticks::from_millis(10))).unwrap();
        let mut producer = Producer::new(how);
        producer.send(&topics, b"").unwrap();
        end(topic.partitions()[0].lease_id());
        says(producer.send(&topics, b""), &format!("Lease {{ partition: 0, error: {how}"), remedy);
    }
}

#[test]
fn poll_errors() {
    let (_clock, topics) = manager();
    let store = MemOffsetStore::new();
    let with = |group: &str, partitions: &[u32]| {
        let mut consumer = Consumer::new("t", group);
        consumer.assign(partitions);
        consumer
    };
    says(with("g", &[0]).poll(&topics, 1), "Topic(Unknown)", "create it first");
    topics.create("t", tiny()).unwrap();
    says(with("a b", &[0]).poll(&topics, 1), "Group", "up to 63 characters");
    says(with(".g", &[0]).poll(&topics, 1), "Group", "not beginning with a dot");
    says(with(&"g".repeat(64), &[0]).poll(&topics, 1), "Group", "1 to 63");
    says(with("g", &[0, 1]).poll(&topics, 1), "NoSuchPartition", "numbered from 0");
    let all: Vec<u32> = (0..17).collect();
    says(with("g", &all).poll(&topics, 1), "Assignment { wanted: 17, max: 16 }", "with_places");
    let mut held = with("g", &[0]);
    assert_eq!(held.poll(&topics, 1).unwrap().len(), 0);
    says(with("g", &[0]).poll(&topics, 1), "Claimed", "join another group");
    says(with("h", &[0]).poll(&topics, 1), "GroupsFull", "with more groups");
    let offset = |partition, offset| SeekPolicy::Offset { partition, offset: Offset::new(offset) };
    says(held.seek(&topics, &store, offset(0, 1)), "Seek", "ends before that");
    says(held.seek(&topics, &store, offset(3, 0)), "NotAssigned", "assign it first");
    let mut producer = Producer::new("t");
    for _ in 0..2 {
        producer.send_batch(&topics, [b"1", b"2"]).unwrap();
        held.poll(&topics, 2).unwrap();
        held.poll(&topics, 2).unwrap();
    }
    says(held.seek(&topics, &store, offset(0, 0)), "Seek", "the oldest one left is at offset");

    struct Broken;
    impl OffsetStore for Broken {
        fn commit(&mut self, _: &str, _: &str, _: u32, _: Offset) -> Result<(), OffsetError> {
            Err(OffsetError::Unavailable)
        }
        fn committed(&self, _: &str, _: &str, _: u32) -> Result<Option<Offset>, OffsetError> {
            Err(OffsetError::Unavailable)
        }
        fn reset(&mut self, _: &str, _: &str, _: u32, _: Option<Offset>) -> Result<(), OffsetError> {
            Err(OffsetError::Unavailable)
        }
    }
    let committed = SeekPolicy::Committed { otherwise: fabric_mq::consumer::Otherwise::Latest };
    says(held.seek(&topics, &Broken, committed), "Store", "try again");
    says(held.commit(&topics, &mut Broken), "Store", "was not committed");
    topics.delete("t").unwrap();
    says(held.commit(&topics, &mut Broken), "Topic(Deleted)", "create it again");
    says(with(".", &[0]).commit(&topics, &mut Broken), "Group", "up to 63 characters");

    topics.create("t", tiny().with_full(FullPolicy::DropOldest)).unwrap();
    let mut slow = with("g", &[0]);
    slow.poll(&topics, 1).unwrap();
    for _ in 0..3 {
        producer = Producer::new("t");
        producer.send_batch(&topics, [b"1", b"2"]).unwrap();
    }
    says(slow.poll(&topics, 9), "Lagging", "poll more often");
    says(slow.poll_with(&topics, 9, |_| ()), "Scratch { partition: 0, needed: 9 }", "use poll_into");
    topics.pool().revoke(topics.open("t").unwrap().partitions()[0].lease().id()).unwrap();
    says(slow.poll(&topics, 9), "Lease", "acquire a new one");

    let id = left(topics.pool(), 0, |writer| assert!(writer.write_tagged(0x80, b"no envelope").is_ok()));
    topics.attach("damaged", tiny(), &[id]).unwrap();
    let mut consumer = Consumer::new("damaged", "g");
    consumer.assign(&[0]);
    says(consumer.poll(&topics, 1), "Corrupt", "seek behind it to go on");
    let wrong: Result<(), CommitError> = consumer.commit(&topics, &mut StaticOffsetStore::<0>::new());
    says(wrong, "Store { partition: 0, error: Full", "make it larger");
    let error: Result<(), PollError> = consumer.close(&topics);
    error.unwrap();
}

#[test]
fn offset_and_uri_errors() {
    let mut store: StaticOffsetStore<1> = StaticOffsetStore::new();
    store.commit("g", "t", 0, Offset::new(5)).unwrap();
    says(store.commit("g", "t", 0, Offset::new(4)), "Behind", "reset it");
    says(store.commit("g", "t", 1, Offset::new(0)), "Full", "make it larger");
    says(StaticOffsetStore::<1>::new().commit(&"g".repeat(65), "t", 0, Offset::new(0)), "Name", "shorten it");
    says(Uri::parse("http://p/t"), "Scheme", "begin with fabric-mq://");
    says(Uri::parse("fabric-mq://p"), "NoTopic", "write fabric-mq://pool/topic");
    says(Uri::parse("fabric-mq://p/t/x"), "Partition", "in decimal");
    says(Uri::parse("fabric-mq://p/?"), "Name", "A-Z a-z 0-9 . _ -");
}
