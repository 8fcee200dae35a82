//! Consumers: fairness, seeking, releasing, committing, losses.
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

use core::error::Error;
use fabric_mq::clock::ManualClock;
use fabric_mq::consumer::{CommitError, Consumer, Otherwise, PollError, ReleaseOn, SeekPolicy};
use fabric_mq::lease::HeapPool;
use fabric_mq::message::Record;
use fabric_mq::offset::{MemOffsetStore, OffsetError, OffsetStore, StaticOffsetStore};
use fabric_mq::partition::FullPolicy;
use fabric_mq::producer::{Producer, SendError};
use fabric_mq::topic::{TopicConfig, TopicError, TopicManager};
use fabric_mq::{Offset, SeekError, Ticks};
use std::sync::Arc;

type Outcomes = Result<(), Box<dyn Error>>;

fn topics(partitions: u32, full: FullPolicy) -> Result<TopicManager, Box<dyn Error>> {
    let topics = TopicManager::new();
    topics.create("t", TopicConfig::new().with_partitions(partitions).with_slots_and_stride(16, 64).with_full(full))?;
    Ok(topics)
}

fn fill(topics: &TopicManager, partition: u32, payloads: impl IntoIterator<Item = u8>) -> Result<(), SendError> {
    let mut producer = Producer::new("t");
    payloads.into_iter().try_for_each(|payload| producer.send_to(topics, partition, &[payload]).map(drop))
}

fn consumer<const P: usize>(partitions: [u32; P]) -> Consumer<&'static str, TopicManager> {
    let mut consumer = Consumer::new("t", "g");
    consumer.assign(&partitions);
    consumer
}

/// What a poll brings: partition and first payload byte of each message.
fn poll(
    consumer: &mut Consumer<&'static str, TopicManager>,
    topics: &TopicManager,
    max: usize,
) -> Result<Vec<(u32, u8)>, PollError> {
    Ok(consumer.poll(topics, max)?.iter().map(|message| (message.partition(), message.payload()[0])).collect())
}

#[test]
fn a_poll_takes_turns() -> Outcomes {
    let topics = topics(3, FullPolicy::Reject)?;
    for partition in 0..3 {
        fill(&topics, partition, 0..9)?;
    }
    let mut consumer = consumer([0, 1, 2]);
    assert_eq!(poll(&mut consumer, &topics, 6)?, [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]);
    assert_eq!(poll(&mut consumer, &topics, 3)?, [(1, 2), (2, 2), (0, 2)]);
    // Fewer than partitions: each has its turn within as many polls.
    let firsts: Vec<_> = (0..3).map(|_| poll(&mut consumer, &topics, 1)).collect::<Result<_, _>>()?;
    assert_eq!(firsts, [[(2, 3)], [(0, 3)], [(1, 3)]]);
    // What one does not use the others get.
    assert_eq!(consumer.lag(&topics)?, 15);
    consumer.pause(0);
    consumer.pause(2);
    assert_eq!(poll(&mut consumer, &topics, 100)?.len(), 5);
    assert!(consumer.resume(0) && consumer.resume(2) && !consumer.resume(9));
    assert_eq!(poll(&mut consumer, &topics, 100)?.len(), 10);
    assert_eq!((poll(&mut consumer, &topics, 100)?.len(), poll(&mut consumer, &topics, 0)?.len()), (0, 0));
    assert_eq!(consumer.lag(&topics)?, 0);
    Ok(())
}

#[test]
fn the_lag_of_one_partition_takes_no_place() -> Outcomes {
    let topics = topics(3, FullPolicy::Reject)?;
    fill(&topics, 0, 0..5)?;
    fill(&topics, 1, 0..3)?;
    let lags = |consumer: &Consumer<&'static str, TopicManager>| {
        (0..3).map(|partition| consumer.lag_in(&topics, partition)).collect::<Result<Vec<_>, _>>()
    };
    // A group that was never there has everything before it; asking gives it no place.
    let mut first = consumer([0, 1, 2]);
    assert_eq!(lags(&first)?, [5, 3, 0]);
    assert_eq!(topics.open("t")?.stats().iter().map(|one| one.groups).sum::<usize>(), 0);
    assert_eq!(poll(&mut first, &topics, 4)?.len(), 4);
    assert_eq!(lags(&first)?, [3, 1, 0]);
    assert_eq!(first.lag(&topics)?, 4);
    // Paused or not; and another member of the group sees what is not released.
    assert!(first.pause(0));
    let second = consumer([0, 1, 2]);
    assert_eq!((lags(&first)?, lags(&second)?), (vec![3, 1, 0], vec![5, 3, 0]));
    drop(first);
    let mut third = consumer([0]);
    assert_eq!(poll(&mut third, &topics, 4)?.len(), 4);
    assert_eq!(poll(&mut third, &topics, 0)?.len(), 0);
    assert_eq!((third.lag_in(&topics, 0)?, second.lag_in(&topics, 0)?), (1, 1));

    assert_eq!(third.lag_in(&topics, 1), Err(PollError::NotAssigned { partition: 1 }));
    third.assign(&[7]);
    assert_eq!(third.lag_in(&topics, 7), Err(PollError::NoSuchPartition { partition: 7, partitions: 3 }));
    let mut nameless: Consumer<_, TopicManager> = Consumer::new("t", ".");
    nameless.assign(&[0]);
    assert!(matches!(nameless.lag_in(&topics, 0), Err(PollError::Group(_))));
    topics.delete("t")?;
    assert_eq!(third.lag_in(&topics, 7), Err(PollError::Topic(TopicError::Deleted)));
    assert_eq!(second.lag_in(&topics, 0), Err(PollError::Topic(TopicError::Unknown)));
    Ok(())
}

#[test]
fn an_empty_partition_leaves_its_share_to_the_others() -> Outcomes {
    let topics = topics(3, FullPolicy::Reject)?;
    fill(&topics, 1, 0..10)?;
    let mut consumer = consumer([0, 1, 2]);
    assert_eq!(poll(&mut consumer, &topics, 9)?.len(), 9);
    Ok(())
}

#[test]
fn seeking_goes_where_it_is_told() -> Outcomes {
    let topics = topics(2, FullPolicy::Reject)?;
    fill(&topics, 0, 0..5)?;
    fill(&topics, 1, 0..3)?;
    let mut store = MemOffsetStore::new();
    let mut consumer = consumer([0, 1]);
    let at =
        |consumer: &Consumer<_, _>| (consumer.position(0).map(Offset::value), consumer.position(1).map(Offset::value));
    assert_eq!(at(&consumer), (None, None));
    consumer.seek(&topics, &store, SeekPolicy::Latest)?;
    assert_eq!(at(&consumer), (Some(5), Some(3)));
    consumer.seek(&topics, &store, SeekPolicy::Earliest)?;
    assert_eq!(at(&consumer), (Some(0), Some(0)));
    consumer.seek(&topics, &store, SeekPolicy::Offset { partition: 0, offset: Offset::new(4) })?;
    assert_eq!(at(&consumer), (Some(4), Some(0)));
    let beyond = SeekPolicy::Offset { partition: 1, offset: Offset::new(4) };
    let error = SeekError::Beyond { tail: Offset::new(3) };
    assert_eq!(consumer.seek(&topics, &store, beyond), Err(PollError::Seek { partition: 1, error }));
    let unassigned = SeekPolicy::Offset { partition: 7, offset: Offset::new(0) };
    assert_eq!(consumer.seek(&topics, &store, unassigned), Err(PollError::NotAssigned { partition: 7 }));
    assert_eq!(at(&consumer), (Some(4), Some(0)), "where it was");

    // Nothing committed: as told.
    consumer.seek(&topics, &store, SeekPolicy::Committed { otherwise: Otherwise::Latest })?;
    assert_eq!(at(&consumer), (Some(5), Some(3)));
    consumer.seek(&topics, &store, SeekPolicy::Committed { otherwise: Otherwise::Earliest })?;
    assert_eq!(at(&consumer), (Some(0), Some(0)));
    store.commit("g", "t", 1, Offset::new(2))?;
    store.commit("other", "t", 0, Offset::new(1))?;
    consumer.seek(&topics, &store, SeekPolicy::Committed { otherwise: Otherwise::Latest })?;
    assert_eq!(at(&consumer), (Some(5), Some(2)));
    assert_eq!(poll(&mut consumer, &topics, 10)?, [(1, 2)]);
    Ok(())
}

#[test]
fn a_time_is_found() -> Outcomes {
    let clock = Arc::new(ManualClock::new());
    let topics = TopicManager::with_pool(HeapPool::new(Arc::clone(&clock)), Arc::clone(&clock));
    let shape = TopicConfig::new().with_partitions(1).with_slots_and_stride(64, 64);
    topics.create("keeps", shape)?;
    topics.create("drops", shape.with_full(FullPolicy::DropOldest))?;
    topics.create("timeless", shape.with_timestamps(false))?;
    let store = MemOffsetStore::new();
    for name in ["keeps", "drops", "timeless"] {
        let mut producer = Producer::new(name);
        for n in 0..40_u64 {
            // Times 0, 0, 10, 10, 20, ...
            let time = Ticks::from_millis(n / 2 * 10);
            let record = Record::new(b"x");
            producer.send_record(&topics, if name == "timeless" { record } else { record.with_timestamp(time) })?;
        }
        let mut consumer = Consumer::new(name, "g");
        consumer.assign(&[0]);
        let mut scratch = [0; 16];
        for (time, expected) in [(0, 0), (1, 2), (10, 2), (95, 20), (100, 20), (190, 38), (191, 40), (u64::MAX, 40)] {
            let policy = SeekPolicy::Timestamp(Ticks::from_millis(time));
            match name {
                "drops" => {
                    assert_eq!(
                        consumer.seek(&topics, &store, policy),
                        Err(PollError::Scratch { partition: 0, needed: 9 })
                    );
                    consumer.seek_with(&topics, &store, policy, &mut scratch)?;
                }
                _ => consumer.seek(&topics, &store, policy)?,
            }
            let expected = if name == "timeless" { 0 } else { expected };
            assert_eq!(consumer.position(0), Some(Offset::new(expected)), "{name} {time}");
        }
    }
    // Records without a time go with the next that has one.
    topics.create("mixed", shape.with_timestamps(false))?;
    let mut producer = Producer::new("mixed");
    for time in [None, Some(10), None, None, Some(20), None] {
        let record = Record::new(b"x");
        producer.send_record(&topics, time.map_or(record, |time| record.with_timestamp(Ticks::from_millis(time))))?;
    }
    let mut consumer = Consumer::new("mixed", "g");
    consumer.assign(&[0]);
    for (time, expected) in [(5, 0), (10, 0), (11, 2), (20, 2), (21, 5)] {
        consumer.seek(&topics, &store, SeekPolicy::Timestamp(Ticks::from_millis(time)))?;
        assert_eq!(consumer.position(0), Some(Offset::new(expected)), "{time}");
    }
    Ok(())
}

#[test]
fn commits_rise_unless_reset() -> Outcomes {
    fn check<O: OffsetStore>(topics: &TopicManager, group: &'static str, mut store: O) -> Outcomes {
        let mut consumer = Consumer::new("t", group);
        consumer.assign(&[0]);
        consumer.poll(topics, 3)?;
        consumer.commit(topics, &mut store)?;
        consumer.commit(topics, &mut store)?;
        assert_eq!(store.committed(group, "t", 0)?, Some(Offset::new(3)));
        consumer.seek(topics, &store, SeekPolicy::Offset { partition: 0, offset: Offset::new(2) })?;
        let error = OffsetError::Behind { committed: Offset::new(3) };
        assert_eq!(consumer.commit(topics, &mut store), Err(CommitError::Store { partition: 0, error }));
        store.reset(group, "t", 0, Some(Offset::new(1)))?;
        consumer.commit(topics, &mut store)?;
        assert_eq!(store.committed(group, "t", 0)?, Some(Offset::new(2)));
        store.reset(group, "t", 0, None)?;
        assert_eq!((store.committed(group, "t", 0)?, store.committed("none", "t", 0)?), (None, None));
        Ok(())
    }
    let topics = topics(1, FullPolicy::Reject)?;
    fill(&topics, 0, 0..5)?;
    check(&topics, "one", MemOffsetStore::new())?;
    check(&topics, "two", &MemOffsetStore::new())?;
    check(&topics, "three", StaticOffsetStore::<2>::new())
}

#[test]
fn a_commit_goes_on_behind_a_refusal() -> Outcomes {
    let topics = topics(3, FullPolicy::Reject)?;
    for partition in 0..3 {
        fill(&topics, partition, 0..2)?;
    }
    let mut consumer = consumer([0, 1, 2]);
    poll(&mut consumer, &topics, 6)?;
    let mut store: StaticOffsetStore<2> = StaticOffsetStore::new();
    store.commit("g", "t", 0, Offset::new(9))?;
    let error = OffsetError::Behind { committed: Offset::new(9) };
    assert_eq!(consumer.commit(&topics, &mut store), Err(CommitError::Store { partition: 0, error }));
    assert_eq!(store.committed("g", "t", 1)?, Some(Offset::new(2)));
    assert_eq!(store.committed("g", "t", 2)?, None, "there was no room");
    Ok(())
}

#[test]
fn what_was_not_released_comes_again() -> Outcomes {
    for (release_on, again) in [(ReleaseOn::Poll, 2), (ReleaseOn::Commit, 0)] {
        let topics = topics(1, FullPolicy::Reject)?;
        fill(&topics, 0, 0..4)?;
        let mut first = consumer([0]).with_release_on(release_on);
        assert_eq!(poll(&mut first, &topics, 2)?, [(0, 0), (0, 1)]);
        assert_eq!(poll(&mut first, &topics, 2)?, [(0, 2), (0, 3)]);
        let mut second = consumer([0]);
        assert_eq!(poll(&mut second, &topics, 1), Err(PollError::Claimed { partition: 0 }));
        drop(first);
        assert_eq!(poll(&mut second, &topics, 9)?.first(), Some(&(0, again)), "{release_on:?}");
    }
    Ok(())
}

#[test]
fn nothing_is_released_before_a_commit() -> Outcomes {
    let topics = topics(1, FullPolicy::Reject)?;
    fill(&topics, 0, 0..16)?;
    let mut consumer = consumer([0]).with_release_on(ReleaseOn::Commit);
    let mut store = MemOffsetStore::new();
    assert_eq!(poll(&mut consumer, &topics, 100)?.len(), 16);
    assert_eq!(poll(&mut consumer, &topics, 100)?.len(), 0);
    assert_eq!(fill(&topics, 0, [16]), Err(SendError::Full { partition: 0 }));
    consumer.commit(&topics, &mut store)?;
    fill(&topics, 0, 16..32)?;
    assert_eq!(poll(&mut consumer, &topics, 100)?.len(), 16);
    Ok(())
}

#[test]
fn assigning_anew_gives_places_up_for_others() -> Outcomes {
    let topics = topics(2, FullPolicy::Reject)?;
    fill(&topics, 0, 0..3)?;
    fill(&topics, 1, 0..3)?;
    let (mut one, mut two) = (consumer([0, 1, 1]), consumer([1]));
    assert_eq!(one.assignment().collect::<Vec<_>>(), [0, 1]);
    assert_eq!(poll(&mut one, &topics, 2)?, [(0, 0), (1, 0)]);
    assert_eq!(poll(&mut two, &topics, 9), Err(PollError::Claimed { partition: 1 }));
    one.assign(&[0]);
    assert_eq!(poll(&mut two, &topics, 9)?, [(1, 0), (1, 1), (1, 2)]);
    assert_eq!(poll(&mut one, &topics, 9)?, [(0, 1), (0, 2)], "its place was kept");
    Ok(())
}

#[test]
fn groups_do_not_know_of_each_other_and_closing_gives_room() -> Outcomes {
    let topics = topics(1, FullPolicy::Reject)?;
    let mut slow = Consumer::new("t", "slow");
    slow.assign(&[0]);
    let mut fast = consumer([0]);
    assert_eq!((slow.poll(&topics, 1)?.len(), poll(&mut fast, &topics, 1)?.len()), (0, 0));
    fill(&topics, 0, 0..16)?;
    for _ in 0..2 {
        poll(&mut fast, &topics, 100)?;
    }
    assert_eq!(fill(&topics, 0, [16]), Err(SendError::Full { partition: 0 }));
    assert_eq!(topics.open("t")?.stats()[0].groups, 2);
    drop(slow);
    assert_eq!(fill(&topics, 0, [16]), Err(SendError::Full { partition: 0 }), "the group still has its place");
    let mut slow = Consumer::new("t", "slow");
    slow.assign(&[0]);
    slow.close(&topics)?;
    fill(&topics, 0, [16])?;
    assert_eq!(topics.open("t")?.stats()[0].groups, 1);
    fast.close(&topics)?;
    assert_eq!(topics.open("t")?.stats()[0].groups, 0);
    Ok(())
}

#[test]
fn a_loss_is_counted_and_told_before_what_follows() -> Outcomes {
    let topics = topics(2, FullPolicy::DropOldest)?;
    let mut consumer = consumer([0, 1]);
    fill(&topics, 0, 0..2)?;
    fill(&topics, 1, 0..1)?;
    assert_eq!(poll(&mut consumer, &topics, 1)?, [(0, 0)]);
    fill(&topics, 0, 2..40)?;
    let told = consumer.poll(&topics, 100);
    // Partition 1 has its turn first, and what it has is not lost by the error.
    assert_eq!(told?.len(), 1);
    let Err(PollError::Lagging { partition: 0, lost }) = consumer.poll(&topics, 100) else { panic!("a loss") };
    assert_eq!((consumer.lost(), consumer.lost_in(0), consumer.lost_in(1)), (lost, lost, 0));
    let rest = poll(&mut consumer, &topics, 100)?;
    assert_eq!(rest.first(), Some(&(0, 1 + lost as u8)), "exactly");
    assert_eq!(rest.last(), Some(&(0, 39)));
    assert_eq!(1 + lost + rest.len() as u64, 40);

    // Only counted, if so wished.
    let mut consumer = consumer.with_fail_on_loss(false);
    fill(&topics, 0, 0..40)?;
    let mut seen = 0;
    for _ in 0..3 {
        seen += poll(&mut consumer, &topics, 100)?.len() as u64;
    }
    assert_eq!(consumer.lost() - lost + seen, 40);
    Ok(())
}

#[test]
fn a_commit_whose_records_are_gone_is_a_loss() -> Outcomes {
    let topics = topics(1, FullPolicy::DropOldest)?;
    fill(&topics, 0, 0..40)?;
    let mut store = MemOffsetStore::new();
    store.commit("g", "t", 0, Offset::new(3))?;
    let mut consumer = consumer([0]);
    consumer.seek(&topics, &store, SeekPolicy::Committed { otherwise: Otherwise::Earliest })?;
    let head = topics.open("t")?.stats()[0].head.value();
    assert_eq!(poll(&mut consumer, &topics, 1), Err(PollError::Lagging { partition: 0, lost: head - 3 }));
    assert_eq!(poll(&mut consumer, &topics, 1)?, [(0, head as u8)]);
    Ok(())
}

#[test]
fn visitors_see_what_poll_copies() -> Outcomes {
    for full in [FullPolicy::Reject, FullPolicy::DropOldest] {
        let topics = topics(2, full)?;
        let mut producer = Producer::new("t");
        for n in 0..10_u8 {
            producer.send_keyed(&topics, &[n], &[n, n])?;
        }
        let mut seen = Vec::new();
        let mut scratch = [0; 64];
        let mut consumer = consumer([0, 1]);
        consumer.poll_into(&topics, 100, &mut scratch, |message| {
            seen.push((message.offset(), message.key().map(<[u8]>::to_vec), message.payload().to_vec()))
        })?;
        consumer.seek(&topics, &MemOffsetStore::new(), SeekPolicy::Earliest)?;
        // The second poll begins with the other partition: compare them in order of offsets.
        let mut copied: Vec<_> = consumer
            .poll(&topics, 100)?
            .iter()
            .map(|message| (message.offset(), message.key().map(<[u8]>::to_vec), message.payload().to_vec()))
            .collect();
        copied.sort();
        seen.sort();
        assert_eq!((seen.len(), &copied), (10, &seen));

        consumer.seek(&topics, &MemOffsetStore::new(), SeekPolicy::Earliest)?;
        let mut visited = Vec::new();
        let outcome = consumer.poll_with(&topics, 100, |message| visited.push(message.payload().to_vec()));
        match full {
            FullPolicy::DropOldest => {
                assert!(matches!(outcome, Err(PollError::Scratch { needed: 13, .. })), "{outcome:?}")
            }
            _ => assert_eq!((outcome?, visited.len()), (10, 10)),
        }
        consumer.seek(&topics, &MemOffsetStore::new(), SeekPolicy::Earliest)?;
        let error = consumer.poll_into(&topics, 1, &mut [0; 4], |_| ());
        assert!(matches!(error, Err(PollError::Scratch { needed: 13, .. })), "{error:?}");
    }
    Ok(())
}

#[test]
fn a_damaged_envelope_is_told_after_what_came_before_it() -> Outcomes {
    use fabric_mq::lease::Pool;
    use fabric_mq::ring::{Ring, RingConfig, Writer};
    let clock = Arc::new(ManualClock::new());
    let pool = HeapPool::new(Arc::clone(&clock));
    let shape = RingConfig::new(16, 1024).with_readers(4);
    let ring: Ring<_> = Ring::format(pool.acquire(shape.lease_bytes()?, Ticks::MAX)?, shape)?;
    let mut writer = Writer::claim(&ring)?;
    writer.write(b"good")?;
    writer.write_tagged(1 << 6, b"bad")?;
    writer.write(b"good again")?;
    drop(writer);
    let topics = TopicManager::with_pool(pool, clock);
    topics.attach("t", TopicConfig::new().with_partitions(1), &[ring.into_lease().detach()])?;
    let mut consumer = Consumer::new("t", "g");
    consumer.assign(&[0]);
    for by_copy in [false, true] {
        consumer.seek(&topics, &MemOffsetStore::new(), SeekPolicy::Earliest)?;
        let one = |consumer: &mut Consumer<_, _>| match by_copy {
            true => consumer.poll(&topics, 10).map(|messages| messages.len()),
            false => consumer.poll_with(&topics, 10, |_| ()),
        };
        assert_eq!(one(&mut consumer)?, 1);
        for _ in 0..3 {
            let Err(PollError::Corrupt { partition: 0, damage }) = one(&mut consumer) else { panic!("damage") };
            assert_eq!((damage.check(), damage.offset()), (fabric_mq::Check::Envelope, Offset::new(1)));
        }
        consumer.seek(&topics, &MemOffsetStore::new(), SeekPolicy::Offset { partition: 0, offset: Offset::new(2) })?;
        let rest = consumer.poll(&topics, 10)?;
        assert_eq!(rest[0].payload(), b"good again");
    }
    Ok(())
}
