//! Every error says what to do about it; those of topics, producers and consumers are shown to happen.
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

#[path = "common/clocked.rs"]
mod clocked;
mod common;

use clocked::{manager, says};
use common::Owned;
use core::error::Error;
use fabric_mq::clock::ManualClock;
use fabric_mq::consumer::{CommitError, Consumer, PollError, SeekPolicy};
use fabric_mq::dlq::{DlqError, LetterError};
use fabric_mq::group::{AssignError, GroupConsumerError, GroupError, MemberError};
use fabric_mq::lease::remote::VerbError;
use fabric_mq::lease::{Exclusive, HeapPool, Lease, Pool};
use fabric_mq::locator::{PublishError, RecordError, RegistryError, ResolveError};
use fabric_mq::message::{MessageError, Record};
use fabric_mq::offset::{MemOffsetStore, OffsetError, OffsetStore, StaticOffsetStore};
use fabric_mq::partition::FullPolicy;
use fabric_mq::producer::{Producer, SendError};
use fabric_mq::ring::{Ring, RingConfig, Writer};
use fabric_mq::topic::{StaticRings, StaticTopics, TopicConfig, TopicError, TopicManager};
use fabric_mq::uri::{Uri, UriError};
use fabric_mq::{
    AttachError, ConfigError, Corrupt, Epoch, JoinError, LeaseError, LeaseId, NameError, Offset, ReadError, SealError,
    SeekError, Ticks, Unfit, WaitError, WriteError,
};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

fn tiny() -> TopicConfig {
    TopicConfig::new().with_partitions(1).with_slots_and_stride(2, 64).with_groups(1)
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

// ---- every variant there is

/// What each error says, by its type and variant.
#[derive(Default)]
struct Told(BTreeSet<String>);

impl Told {
    /// Each of these errors says what to do about it.
    #[track_caller]
    fn all<E: Error, const N: usize>(&mut self, errors: [(E, &str); N]) {
        let kind = std::any::type_name::<E>().rsplit("::").next().unwrap();
        for (error, remedy) in errors {
            let (name, text) = (format!("{error:?}"), error.to_string());
            assert!(text.contains(remedy), "{kind}::{name}: {text:?} does not say {remedy:?}");
            let variant = name.split(|c: char| !c.is_alphanumeric()).next().unwrap();
            assert!(self.0.insert(format!("{kind}::{variant}")), "{kind}::{variant} twice");
        }
    }
}

/// The variants of all enums in the sources that are errors.
fn declared(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            declared(&path, found);
            continue;
        }
        // What a feature adds is there with the feature.
        let is_under = |folder: &str| path.components().any(|part| part.as_os_str() == folder);
        if (path.ends_with("typed.rs") && !cfg!(feature = "postcard"))
            || (is_under("durable") && !cfg!(feature = "durable"))
        {
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        for error in source.lines().filter_map(|line| line.strip_prefix("impl core::error::Error for ")) {
            let error = error.trim_end_matches(" {}");
            let is_enum = |line: &&str| **line == format!("pub enum {error} {{");
            let variants = source.lines().skip_while(|line| !is_enum(line)).skip(1).take_while(|line| *line != "}");
            // Four spaces and a capital: neither a field nor a comment.
            let names = variants
                .filter_map(|line| line.strip_prefix("    "))
                .filter(|line| line.starts_with(char::is_uppercase));
            found.extend(
                names.map(|name| format!("{error}::{}", name.split(|c: char| !c.is_alphanumeric()).next().unwrap())),
            );
        }
    }
}

#[test]
fn every_variant_of_every_error_says_what_to_do() {
    let mut told = Told::default();
    of_rings(&mut told);
    of_topics(&mut told);
    of_groups(&mut told);
    of_dead_letters(&mut told);
    of_registries(&mut told);
    #[cfg(feature = "durable")]
    of_journals(&mut told);
    #[cfg(feature = "postcard")]
    of_values(&mut told);
    let mut found = BTreeSet::new();
    declared(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 150, "the errors were found: {}", found.len());
    let only_in_one: Vec<_> = found.symmetric_difference(&told.0).collect();
    assert!(only_in_one.is_empty(), "in the sources and not here, or the other way round: {only_in_one:?}");
}

/// Damage, as an attach finds it.
fn damage() -> Corrupt {
    let shape = RingConfig::new(8, 256).with_readers(2);
    let ring: Ring<_> = Ring::format(Owned::<Exclusive>::new(shape.lease_bytes().unwrap()), shape).unwrap();
    let mut image = ring.into_lease().image();
    image[30] ^= 1;
    let outcome = Ring::<_>::attach(Owned::<Exclusive>::of(&image)).map(drop);
    let Err(AttachError::Corrupt(damage)) = outcome else { panic!("it is damaged") };
    damage
}

fn of_rings(told: &mut Told) {
    let (lease, acquire) = (LeaseError::Revoked, "acquire a new one");
    let (damaged, recover) = (damage(), "format the lease again");
    told.all({
        use LeaseError::*;
        [
            (CapacityExceeded, "ask for fewer bytes"),
            (Disconnected, "try again"),
            (Expired, "renew it before its time is over"),
            (Fenced, "this one is finished"),
            (Indeterminate, "attach again"),
            (InUse, "drop that holder first"),
            (Io(28), "code 28: put right what that errno stands for"),
            (Released, acquire),
            (Revoked, acquire),
            (Unfit(fabric_mq::Unfit::Mode), "files have mode 0600"),
            (Unknown, "acquire one"),
            (Unsupported, "take one of a kind that can"),
        ]
    });
    told.all({
        use Unfit::*;
        [
            (Kind, "a directory of its own"),
            (Mode, "files have mode 0600 and the pool's directory 0700"),
            (Name, "choose a name that is not taken"),
            (NotALease, "give the pool a directory of its own"),
            (Owner, "give each user a directory of their own"),
            (Record, "remove the file"),
            (Size, "remove the file"),
            (Version, "use a newer one"),
        ]
    });
    told.all({
        use ConfigError::*;
        [
            (Lease(lease), acquire),
            (LeaseTooSmall { needed: 9, found: 8 }, "lease more"),
            (Readers, "1 to 64"),
            (Size, "power of two"),
            (Unaligned, "align its memory"),
        ]
    });
    told.all({
        use AttachError::*;
        [
            (Corrupt(damaged), recover),
            (Features { needed: 1 }, "use a newer one"),
            (Fenced { lease: Epoch::new(1), ring: Epoch::new(2) }, "acquire a newer one"),
            (Keep, "attach with the other type"),
            (Lease(lease), acquire),
            (NotARing, "format it"),
            (TooShort { needed: 9, found: 8 }, "lease all of it"),
            (Unaligned, "align its memory"),
            (Version { found: 2, known: 1 }, "use a newer one"),
        ]
    });
    told.all({
        use WriteError::*;
        [
            (Claimed, "share it as a SharedWriter"),
            (Corrupt(damaged), recover),
            (Exhausted, "go on in a new one"),
            (Full, "choose another full policy"),
            (Indeterminate { offset: Offset::new(7) }, "look later whether offset 7 is in the log"),
            (Lease(lease), acquire),
            (Sealed, "go on in the lease that its seal names"),
            (TooLarge { len: 9, max: 8 }, "split it"),
        ]
    });
    told.all({
        use ReadError::*;
        [
            (Buffer { needed: 9 }, "give it one of that size"),
            (Corrupt(damaged), "seek behind it"),
            (Lease(lease), acquire),
            (Overrun { lost: 3 }, "give the ring more room"),
            (Sealed, "read on in the lease that its seal names"),
        ]
    });
    told.all({
        use SealError::*;
        [
            (Busy, "fence its writer, and try again"),
            (Config(ConfigError::Unaligned), "align its memory"),
            (Corrupt(damaged), recover),
            (
                Epoch { lease: fabric_mq::Epoch::new(1), needed: fabric_mq::Epoch::new(2) },
                "under epoch 2 or a higher one",
            ),
            (Lease(lease), acquire),
            (ReadersFull { limit: 1 }, "one for each reader of the old one"),
            (Sealed { successor: LeaseId::new(7) }, "attach to lease 00000000000000000000000000000007"),
            (Unsupported, "format it with_takeover"),
        ]
    });
    told.all({
        use JoinError::*;
        [
            (Claimed, "choose another name"),
            (Corrupt(damaged), recover),
            (Lease(lease), acquire),
            (Name(NameError::Dots), "choose another one"),
            (ReadersFull { limit: 4 }, "format the ring with more"),
            (Seek(SeekError::Beyond { tail: Offset::new(7) }), "seek there"),
        ]
    });
    told.all({
        use SeekError::*;
        [
            (Beyond { tail: Offset::new(7) }, "at offset 7: seek there"),
            (Corrupt(damaged), recover),
            (Lease(lease), acquire),
            (Reclaimed { head: Offset::new(7) }, "at offset 7, seek there"),
        ]
    });
    told.all([
        (WaitError::Read(ReadError::Sealed), "read on in the lease"),
        (WaitError::WakersFull { limit: 1 }, "make a Bell with more"),
    ]);
    told.all([
        (NameError::Character { at: 1 }, "A-Z a-z 0-9 . _ -"),
        (NameError::Dots, "choose another one"),
        (NameError::Length { len: 0, max: 64 }, "1 to 64"),
    ]);
    told.all({
        use VerbError::*;
        [
            (Disconnected, "connect again"),
            (Io(5), "code 5: put right what it stands for"),
            (OutOfBounds, "stay below its length"),
            (Refused(lease), acquire),
            (Timeout, "connect again"),
        ]
    });
}

fn of_topics(told: &mut Told) {
    let (lease, acquire) = (LeaseError::Revoked, "acquire a new one");
    let (partition, partitions, damage) = (1, 2, damage());
    told.all({
        use TopicError::*;
        [
            (Attach { partition, error: AttachError::NotARing }, "format it"),
            (Config(ConfigError::Size), "power of two"),
            (DeadLetters, "choose FullPolicy::Reject"),
            (Deleted, "create it again"),
            (Exists, "delete it first"),
            (Groups { wanted: 0 }, "1 to 32"),
            (Lease { partition, error: lease }, acquire),
            (Leases { given: 3, partitions }, "one lease for each"),
            (InUse, "drop those first"),
            (MaxLag, "choose FullPolicy::DropOldest"),
            (Name(NameError::Dots), "choose another one"),
            (NoTakeover, "TopicManager::promote"),
            (Partitions { wanted: 0, max: 4 }, "1 to 4"),
            (TakeOver { partition, error: SealError::Unsupported }, "format it with_takeover"),
            (TopicsFull { limit: 4 }, "make it larger"),
            (Unknown, "create it first"),
            (Writer { partition, error: WriteError::Claimed }, "share it"),
            (WrongPartition { wanted: 1, found: 2 }, "in the order of the partitions"),
        ]
    });
    told.all({
        use SendError::*;
        [
            (Corrupt { partition, damage }, "make the topic anew"),
            (Exhausted { partition }, "make the topic anew"),
            (Full { partition }, "let its consumers go on"),
            (Indeterminate { partition, offset: Offset::new(7) }, "look later whether offset 7 is there"),
            (Lease { partition, error: lease }, acquire),
            (Message(MessageError::Key { len: 9 }), "use a hash of it"),
            (NoSuchPartition { partition: 2, partitions }, "numbered from 0"),
            (ReadOnly { partition }, "TopicManager::promote"),
            (TakenOver { partition }, "take it over in turn"),
            (TimedOut { partition }, "wait longer"),
            (TooLarge { partition, len: 9, max: 8 }, "split it"),
            (Topic(TopicError::Unknown), "create it first"),
        ]
    });
    told.all({
        use MessageError::*;
        [
            (Envelope { len: 9999 }, "into the payload"),
            (HeaderName { at: 1, error: NameError::Dots }, "choose another one"),
            (HeaderValue { at: 1, len: 9999 }, "into the payload"),
            (Headers { count: 99 }, "join some"),
            (Key { len: 9999 }, "use a hash of it"),
        ]
    });
    told.all({
        use PollError::*;
        [
            (Assignment { wanted: 17, max: 16 }, "with_places"),
            (Claimed { partition }, "join another group"),
            (Corrupt { partition, damage }, "seek behind it"),
            (Group(NameError::Dots), "up to 63 characters"),
            (GroupsFull { partition }, "with more groups"),
            (Lagging { partition, lost: 3 }, "poll more often"),
            (Lease { partition, error: lease }, acquire),
            (NoSuchPartition { partition: 2, partitions }, "assign those"),
            (NotAssigned { partition }, "assign it first"),
            (Scratch { partition, needed: 9 }, "use poll_into"),
            (Sealed { partition }, "read through a TopicManager"),
            (Seek { partition, error: SeekError::Reclaimed { head: Offset::new(7) } }, "seek there"),
            (Store { partition, error: OffsetError::Unavailable }, "try again"),
            (Topic(TopicError::Unknown), "create it first"),
            (Unreleased { partition }, "commit what was handed out"),
            (WakersFull { limit: 1 }, "with more groups"),
        ]
    });
    told.all({
        use CommitError::*;
        [
            (Group(NameError::Dots), "up to 63 characters"),
            (Release { partition, error: SeekError::Lease(lease) }, acquire),
            (Store { partition, error: OffsetError::Unavailable }, "try again"),
            (Topic(TopicError::Unknown), "create it first"),
        ]
    });
    told.all({
        use OffsetError::*;
        [
            (Behind { committed: Offset::new(7) }, "reset it"),
            (Corrupt, "reset it"),
            (Exhausted, "format the group anew"),
            (Foreign, "use the one of this group and topic"),
            (Full { limit: 1 }, "make it larger"),
            (Lease(lease), acquire),
            (Name, "shorten it"),
            (NoSuchPartition { partition: 2, partitions }, "numbered from 0"),
            (NotClaimed { partition }, "commit only between the events"),
            (Stale { claimed: Epoch::new(1), current: Epoch::new(2) }, "stop, its new owner goes on"),
            (Unavailable, "try again"),
        ]
    });
    told.all({
        use UriError::*;
        [
            (Name { at: 1, error: NameError::Dots }, "choose another one"),
            (NoTopic { at: 1 }, "write fabric-mq://pool/topic"),
            (Partition { at: 1 }, "write it in decimal"),
            (Scheme { at: 1 }, "begin with fabric-mq://"),
        ]
    });
}

fn of_groups(told: &mut Told) {
    let (lease, acquire) = (LeaseError::Revoked, "acquire a new one");
    told.all({
        use GroupError::*;
        [
            (Config, "1 to 127 places"),
            (Corrupt, "format the lease again"),
            (Features { needed: 1 }, "use a newer one"),
            (Fenced { lease: Epoch::new(1), area: Epoch::new(2) }, "acquire a newer one"),
            (Group(NameError::Dots), "up to 63 characters"),
            (Lease(lease), acquire),
            (NotAGroup, "format it"),
            (TooShort { needed: 9, found: 8 }, "lease more"),
            (Topic(NameError::Dots), "choose another one"),
            (Unaligned, "align its memory"),
            (Version { found: 2, known: 1 }, "use a newer one"),
        ]
    });
    told.all({
        use MemberError::*;
        [
            (Claim { partition: 1, error: OffsetError::Exhausted }, "format the group anew"),
            (Fenced, "give each one a name of its own"),
            (Full { places: 2 }, "let a member leave"),
            (Lapsed, "step again to rejoin"),
            (Lease(lease), acquire),
            (Partitions { wanted: 9, max: 8 }, "make it a Member<_, 9, _>"),
            (Places { wanted: 9, max: 8 }, "make it a Member<_, _, 9>"),
        ]
    });
    told.all([
        (GroupConsumerError::Commit(CommitError::Topic(TopicError::Unknown)), "create it first"),
        (GroupConsumerError::Member(MemberError::Lapsed), "step again to rejoin"),
        (GroupConsumerError::Poll(PollError::Topic(TopicError::Unknown)), "create it first"),
    ]);
    told.all([
        (AssignError::Duplicate { at: 1 }, "list each one once"),
        (AssignError::NoMembers { partitions: 4 }, "let one join first"),
        (AssignError::TooMany { partitions: 99_999, max: 65_536 }, "one topic at a time"),
    ]);
}

fn of_dead_letters(told: &mut Told) {
    let (full, unknown) = (SendError::Full { partition: 1 }, PollError::Topic(TopicError::Unknown));
    told.all({
        use DlqError::*;
        [
            (Dlq(full), "let its consumers go on"),
            (DlqFull { partition: 1 }, "redrive or purge letters"),
            (Group(NameError::Dots), "up to 63 characters"),
            (Letters(unknown), "create it first"),
            (Name(NameError::Dots), "choose another one"),
            (NotMarked, "make it with TopicConfig::with_dead_letters"),
            (OfDeadLetters, "redrive its letters"),
            (Overwrites, "choose another full policy"),
            (Redrive(full), "let its consumers go on"),
            (Source(unknown), "create it first"),
            (Stale, "settle it by the receipt of its last delivery"),
            (TableFull { limit: 4 }, "settle some"),
            (Topic(TopicError::Unknown), "create it first"),
        ]
    });
    told.all({
        use LetterError::*;
        [
            (Cause { found: 9 }, "use a newer one"),
            (Checksum, "purge_all"),
            (Flags, "purge_all"),
            (Foreign, "purge_all"),
            (Length, "purge_all"),
            (NotALetter, "purge_all"),
            (Text, "purge_all"),
            (Version { found: 2, known: 1 }, "use a newer one"),
        ]
    });
}

fn of_registries(told: &mut Told) {
    let (lease, acquire) = (LeaseError::Revoked, "acquire a new one");
    told.all({
        use RecordError::*;
        [
            (Buffer { needed: 77 }, "a buffer of that size"),
            (Crc, "have it published again"),
            (Field, "have it published again"),
            (Length, "give all of it"),
            (NotARecord, "read them from where one was written"),
            (Partitions { found: 7, max: 4 }, "use a larger Locator"),
            (Topic(TopicError::Unknown), "create it first"),
            (Uri(UriError::NoTopic { at: 1 }), "write fabric-mq://pool/topic"),
            (Version { found: 2 }, "use a newer one"),
        ]
    });
    told.all({
        use RegistryError::*;
        [
            (Busy, "try again"),
            (Damaged, "format the lease again"),
            (Features { needed: 1 }, "use a newer one"),
            (Lease(lease), acquire),
            (NotARegistry, "format it"),
            (Shape, "1 to 4096 topics of 1 to 1024 partitions"),
            (TooShort { needed: 9, found: 8 }, "lease more"),
            (Unaligned, "align its memory"),
            (Version { found: 2 }, "use a newer one"),
        ]
    });
    told.all({
        use ResolveError::*;
        [
            (Busy, "try again"),
            (Damaged { entry: 3 }, "discard_damaged"),
            (Lease(lease), acquire),
            (NoSuchPartition { partition: 4, partitions: 4 }, "numbered from 0"),
            (Partitions { found: 7, max: 4 }, "use a larger Locator"),
            (Stale { seen: 3.into(), found: 2.into() }, "have the topic published again"),
            (Unknown, "publish it first"),
            (Withdrawn { generation: 3.into() }, "wait until it is published again"),
        ]
    });
    told.all({
        use PublishError::*;
        [
            (Busy, "try again"),
            (Damaged { entry: 3 }, "discard_damaged"),
            (Exhausted, "choose another name"),
            (Fenced { current: 3.into() }, "this one is finished"),
            (Full { limit: 4 }, "withdraw one"),
            (Lease(lease), acquire),
            (Names { needed: 9, max: 8 }, "with_names"),
            (Partitions { found: 9, max: 8 }, "with_partitions"),
            (Stale { current: 3.into() }, "publish_next"),
            (Unknown, "there is nothing to withdraw"),
        ]
    });
}

#[cfg(feature = "postcard")]
fn of_values(told: &mut Told) {
    use fabric_mq::message::PayloadError;
    use fabric_mq::producer::TypedError;
    told.all([
        (PayloadError::Buffer { len: 8 }, "give a larger one"),
        (PayloadError::Codec, "give sequences a length"),
        (PayloadError::Ended, "decode it as that one"),
        (PayloadError::Rest { len: 1 }, "decode it as that one"),
        (PayloadError::Value, "decode it as that one"),
    ]);
    told.all([
        (TypedError::Payload(PayloadError::Codec), "give sequences a length"),
        (TypedError::Send(SendError::Topic(TopicError::Unknown)), "create it first"),
    ]);
}

#[cfg(feature = "durable")]
fn of_journals(told: &mut Told) {
    use fabric_mq::durable::{
        Extent, FetchError, MediumError, OpenError, PumpError, SpoolError, SpoolReadError, StoreError,
    };
    let at = Extent::new(1, 64, 128);
    told.all([
        (MediumError::Failed, "see what it logged"),
        (MediumError::Io(5), "error 5"),
        (MediumError::Locked, "close the other one"),
        (MediumError::NoSpace, "free some"),
        (MediumError::OutOfBounds, "not what the store was made for"),
        (MediumError::Poisoned, "open the store again"),
        (MediumError::Unaligned, "not what the store was made for"),
        (MediumError::Unreadable, "go on behind them"),
    ]);
    told.all([
        (OpenError::Geometry, "give the store the ones it was made with"),
        (OpenError::Medium(MediumError::Locked), "close the other one"),
        (OpenError::None, "format it"),
        (OpenError::Foreign { id: 7 }, "look at what is plugged in"),
        (OpenError::Partitions { wanted: 9, max: 4 }, "raise the constant"),
        (OpenError::Cursors { wanted: 9, max: 4 }, "raise the constant"),
        (OpenError::Segments { segments: 3 }, "at least 4"),
        (OpenError::SegmentBytes { bytes: 64, least: 256 }, "256 at least"),
        (OpenError::WriteUnit { unit: 3 }, "must be a power of two"),
        (OpenError::Version { found: 2 }, "use a newer one"),
    ]);
    told.all([
        (StoreError::Damaged { at }, "then salvage it"),
        (StoreError::Full, "commit what was processed"),
        (StoreError::Medium(MediumError::Poisoned), "open the store again"),
        (StoreError::NoSuchPartition { partition: 4, partitions: 4 }, "numbered from 0"),
        (StoreError::NoSuchCursor, "join it again"),
        (StoreError::Cursors { max: 4 }, "raise the constant"),
        (StoreError::OutOfRange { from: 3.into(), to: 9.into() }, "only offsets 3 to 9"),
        (StoreError::TooLarge { len: 9, max: 8 }, "split it"),
        (StoreError::Exhausted, "format a new one"),
        (StoreError::Name(NameError::Dots), "no names"),
    ]);
    told.all([
        (SpoolError::Join(JoinError::ReadersFull { limit: 2 }), "let one leave"),
        (SpoolError::Overwrites, "choose another full policy"),
        (SpoolError::Partitions { rings: 1, partitions: 2 }, "give one for each"),
    ]);
    told.all([
        (PumpError::Ring(ReadError::Overrun { lost: 3 }), "3"),
        (PumpError::Store(StoreError::Full), "commit what was processed"),
    ]);
    told.all([
        (SpoolReadError::Fetch(FetchError::Trimmed { lost: 7 }), "go on from here"),
        (SpoolReadError::Ring(ReadError::Overrun { lost: 3 }), "3"),
    ]);
    told.all([
        (FetchError::BufferTooSmall { len: 64 }, "with a larger buffer"),
        (FetchError::Damaged { at, offset: 7.into() }, "skip_damage"),
        (FetchError::Trimmed { lost: 7 }, "go on from here"),
        (FetchError::Medium(MediumError::Failed), "see what it logged"),
        (FetchError::NoSuchCursor, "join it again"),
    ]);
}
