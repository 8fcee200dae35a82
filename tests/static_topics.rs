//! The same without an allocator: topics in a table, leases from a slice or from statics.
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

use core::error::Error;
use fabric_mq::clock::ManualClock;
use fabric_mq::consumer::{Consumer, Otherwise, PollError, ReleaseOn, SeekPolicy};
use fabric_mq::lease::{Pool, SlicePool, StaticGrant, StaticLease};
use fabric_mq::offset::{OffsetStore, StaticOffsetStore};
use fabric_mq::partition::{FullPolicy, Outcome};
use fabric_mq::producer::{Producer, SendError};
use fabric_mq::ring::{Ring, RingConfig, Writer};
use fabric_mq::topic::{StaticRings, StaticTopics, TopicConfig, TopicError, partition_of};
use fabric_mq::{AttachError, ConfigError, LeaseError, NameError, Offset, Ticks, WriteError};

type Outcomes = Result<(), Box<dyn Error>>;

const SMALL: TopicConfig = TopicConfig::new().with_partitions(2).with_slots_and_stride(8, 64).with_groups(2);

#[test]
fn topics_work_as_they_do_on_the_heap() -> Outcomes {
    let clock = ManualClock::new();
    clock.set(Ticks::from_millis(9));
    let mut memory = vec![0; 16_384];
    let pool: SlicePool<'_, 8, _> = SlicePool::new(&mut memory, &clock);
    let mut rings: StaticRings<_, 2, 2> = StaticRings::new();
    rings.create(&pool, "events", SMALL, &clock)?;
    rings.create(&pool, "alarms", SMALL.with_partitions(1).with_full(FullPolicy::DropOldest), &clock)?;
    let topics = StaticTopics::new(&rings, &clock)?;
    assert!(topics.names().eq(["events", "alarms"]));
    assert_eq!(topics.open("events")?.config(), &SMALL);

    let mut producer = Producer::new("events");
    assert_eq!(producer.send(&topics, b"a")?.partition, 0);
    assert_eq!(producer.send(&topics, b"b")?.partition, 1);
    assert_eq!(producer.send_keyed(&topics, b"key", b"c")?.partition, partition_of(b"key", 2));

    let mut store: StaticOffsetStore<2> = StaticOffsetStore::new();
    let mut consumer: Consumer<_, _, 2> = Consumer::with_places("events", "g");
    consumer.assign(&[0, 1]);
    consumer.seek(&topics, &store, SeekPolicy::Committed { otherwise: Otherwise::Earliest })?;
    let mut seen = 0;
    let count = consumer.poll_with(&topics, 10, |message| {
        assert_eq!(message.timestamp(), Some(Ticks::from_millis(9)));
        seen += message.payload().len();
    })?;
    assert_eq!((count, seen, consumer.lag(&topics)?), (3, 3, 0));
    consumer.commit(&topics, &mut store)?;
    assert_eq!(store.committed("g", "events", 0)?, consumer.position(0));

    let mut alarms = Producer::new("alarms");
    for n in 0..20_u8 {
        alarms.send(&topics, &[n])?;
    }
    let mut watcher: Consumer<_, _, 1> = Consumer::with_places("alarms", "g");
    watcher.assign(&[0]);
    assert_eq!(watcher.poll_with(&topics, 1, |_| ()), Err(PollError::Scratch { partition: 0, needed: 9 }));
    let mut last = 0;
    let mut scratch = [0; 16];
    assert!(watcher.poll_into(&topics, 100, &mut scratch, |message| last = message.payload()[0])? >= 7);
    assert_eq!(last, 19);
    assert_eq!(Producer::new("other").send(&topics, b"x"), Err(SendError::Topic(TopicError::Unknown)));
    Ok(())
}

#[test]
fn full_partitions_do_as_they_are_told() -> Outcomes {
    let clock = ManualClock::new();
    let mut memory = vec![0; 16_384];
    let pool: SlicePool<'_, 8, _> = SlicePool::new(&mut memory, &clock);
    let mut rings: StaticRings<_, 2, 1> = StaticRings::new();
    let one = SMALL.with_partitions(1);
    rings.create(&pool, "rejects", one, &clock)?;
    rings.create(&pool, "drops", one.with_full(FullPolicy::DropNewest), &clock)?;
    let topics = StaticTopics::new(&rings, &clock)?;
    let mut drops = Producer::new("drops");
    let mut rejects = Producer::new("rejects");
    for _ in 0..8 {
        drops.send(&topics, b"x")?;
        rejects.send(&topics, b"x")?;
    }
    assert_eq!(drops.send(&topics, b"x")?.outcome, Outcome::Dropped);
    assert_eq!(rejects.send(&topics, b"x"), Err(SendError::Full { partition: 0 }));
    let mut consumer: Consumer<_, _, 1> = Consumer::with_places("rejects", "g").with_release_on(ReleaseOn::Commit);
    consumer.assign(&[0]);
    assert_eq!(consumer.poll_with(&topics, 100, |_| ())?, 8);
    consumer.commit(&topics, &mut StaticOffsetStore::<1>::new())?;
    assert_eq!(rejects.send(&topics, b"x")?.offset(), Some(Offset::new(8)));
    Ok(())
}

#[test]
fn statics_keep_a_topic_over_a_restart() -> Outcomes {
    static MEMORY: [StaticLease<4096>; 2] = [const { StaticLease::new() }; 2];
    fn leases() -> Result<Vec<StaticGrant>, LeaseError> {
        MEMORY.iter().map(StaticLease::claim).collect()
    }
    let clock = ManualClock::new();
    let mut rings: StaticRings<_, 1, 2> = StaticRings::new();
    rings.create_in(leases()?, "events", SMALL, &clock)?;
    {
        let topics = StaticTopics::new(&rings, &clock)?;
        let again = StaticTopics::new(&rings, &clock).unwrap_err();
        assert_eq!(again, TopicError::Writer { partition: 0, error: WriteError::Claimed });
        let mut producer = Producer::new("events");
        for n in 0..6_u8 {
            producer.send(&topics, &[n])?;
        }
        let mut consumer: Consumer<_, _, 2> = Consumer::with_places("events", "g");
        consumer.assign(&[0, 1]);
        // Handed out, but not released: the next poll never comes.
        assert_eq!(consumer.poll_with(&topics, 2, |_| ())?, 2);
        assert_eq!(consumer.poll_with(&topics, 2, |_| ())?, 2);
    }
    rings.delete("events")?;
    assert_eq!(rings.delete("events"), Err(TopicError::Unknown));
    drop(rings);

    let mut rings: StaticRings<_, 1, 2> = StaticRings::new();
    let overwriting = rings.attach_in(leases()?, "events", SMALL.with_full(FullPolicy::DropOldest)).unwrap_err();
    assert_eq!(overwriting, TopicError::Attach { partition: 0, error: AttachError::Keep });
    rings.attach_in(leases()?, "events", SMALL)?;
    let topics = StaticTopics::new(&rings, &clock)?;
    let mut consumer: Consumer<_, _, 2> = Consumer::with_places("events", "g");
    consumer.assign(&[0, 1]);
    let mut seen = Vec::new();
    consumer.poll_with(&topics, 100, |message| seen.push(message.payload()[0]))?;
    seen.sort_unstable();
    assert_eq!(seen, [2, 3, 4, 5], "what was released is done with, the rest comes again");
    assert_eq!(Producer::new("events").send(&topics, b"x")?.offset(), Some(Offset::new(3)));
    Ok(())
}

/// Whatever an attach is refused for, the pool still has what is in the leases: those that were tried, and those that were not.
#[test]
fn an_attach_that_is_refused_loses_nothing() -> Outcomes {
    let clock = ManualClock::new();
    let mut memory = vec![0; 8192];
    let pool: SlicePool<'_, 2, _> = SlicePool::new(&mut memory, &clock);
    let shape = RingConfig::new(8, 512).with_readers(4);
    let mut ids = Vec::new();
    for number in 0..2_u8 {
        let lease = (&pool).acquire(shape.lease_bytes()?, Ticks::MAX)?;
        let ring: Ring<_> = Ring::format(lease, shape.with_number(number.into()))?;
        Writer::claim(&ring)?.write(&[number])?;
        ids.push(ring.into_lease().detach());
    }
    let leases = |order: &[usize]| order.iter().map(|at| (&pool).attach(ids[*at])).collect::<Result<Vec<_>, _>>();
    let mut rings: StaticRings<_, 1, 2> = StaticRings::new();
    let mut refused = |name, config, order: &[usize], error| {
        assert_eq!(rings.attach_in(leases(order)?, name, config), Err(error));
        Ok::<(), LeaseError>(())
    };
    let all = &[0, 1][..];
    let keep = TopicError::Attach { partition: 0, error: AttachError::Keep };
    refused("events", SMALL.with_full(FullPolicy::DropOldest), all, keep)?;
    refused("events", SMALL, &[1, 0], TopicError::WrongPartition { wanted: 0, found: 1 })?;
    refused("events", SMALL, &[0], TopicError::Partitions { wanted: 2, max: 1 })?;
    refused("events", SMALL.with_partitions(3), all, TopicError::Partitions { wanted: 3, max: 2 })?;
    refused("a/b", SMALL, all, TopicError::Name(NameError::Character { at: 1 }))?;
    rings.attach_in(leases(all)?, "events", SMALL)?;
    let topics = StaticTopics::new(&rings, &clock)?;
    let mut consumer: Consumer<_, _, 2> = Consumer::with_places("events", "g");
    consumer.assign(&[0, 1]);
    let mut seen = Vec::new();
    consumer.poll_with(&topics, 100, |message| seen.push(message.payload()[0]))?;
    assert_eq!(seen, [0, 1]);
    Ok(())
}

#[test]
fn what_cannot_be_is_refused_and_nothing_stays_leased() -> Outcomes {
    let clock = ManualClock::new();
    let mut memory = vec![0; 4096];
    let pool: SlicePool<'_, 4, _> = SlicePool::new(&mut memory, &clock);
    let mut rings: StaticRings<_, 1, 2> = StaticRings::new();
    let large = SMALL.with_slots_and_stride(8, 256);
    for (name, config, error) in [
        ("a/b", SMALL, TopicError::Name(NameError::Character { at: 1 })),
        ("t", SMALL.with_partitions(0), TopicError::Partitions { wanted: 0, max: 65_536 }),
        ("t", SMALL.with_partitions(3).with_slots_and_stride(2, 8), TopicError::Partitions { wanted: 3, max: 2 }),
        ("t", SMALL.with_groups(33), TopicError::Groups { wanted: 33 }),
        ("t", SMALL.with_capacity(u32::MAX), TopicError::Config(ConfigError::Size)),
        ("t", SMALL.with_max_lag(1), TopicError::MaxLag),
        ("t", large, TopicError::Lease { partition: 1, error: LeaseError::CapacityExceeded }),
    ] {
        assert_eq!(rings.create(&pool, name, config, &clock), Err(error), "{name} {config:?}");
    }
    // The partition that had been leased for the large one is free again.
    drop((&pool).acquire(4096 - 256, Ticks::MAX)?);
    rings.create(&pool, "t", SMALL.with_partitions(1), &clock)?;
    assert_eq!(rings.create(&pool, "t", SMALL, &clock), Err(TopicError::Exists));
    let full = rings.create(&pool, "u", SMALL, &clock);
    assert_eq!(full, Err(TopicError::TopicsFull { limit: 1 }));
    rings.delete("t")?;
    let short: Vec<_> = [(&pool).acquire(1500, Ticks::MAX)?].into();
    assert_eq!(rings.create_in(short, "t", SMALL, &clock), Err(TopicError::Partitions { wanted: 2, max: 1 }));
    Ok(())
}
