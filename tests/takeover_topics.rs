//! Topics that are taken over from a writer that may still live: consumers go on behind the seam, producers are told.

#![cfg(all(feature = "std", unix, target_has_atomic = "64", not(loom)))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "tests"
)]

mod common;
#[path = "common/process.rs"]
mod process;

use common::{Rng, scale};
use fabric_mq::clock::{MachineClock, ManualClock};
use fabric_mq::consumer::{Consumer, Otherwise, PollError, ReleaseOn, SeekPolicy};
use fabric_mq::dlq::{DeadLetter, DeadLetters, DlqRouter, LetterAt, OnFailure, Verdict};
use fabric_mq::group::{Group, GroupConfig, GroupConsumer, MemberConfig};
use fabric_mq::lease::{Cooperative, Lease, Pool, SharedPool};
use fabric_mq::message::{Message, MessageRef, Record};
use fabric_mq::offset::{MemOffsetStore, OffsetStore};
use fabric_mq::partition::FullPolicy;
use fabric_mq::producer::{Producer, SendError};
use fabric_mq::ring::{Reader, Ring, Start};
use fabric_mq::topic::{StaticRings, StaticTopics, TopicConfig, TopicError, TopicManager};
use fabric_mq::{LeaseError, LeaseId, Offset, SealError, Ticks};
use process::{Actor, Folder, given_place, hear, pool, role, say, setting, wait_for_word};
use rustix::process::{Signal, getpid, kill_process};
use std::sync::Arc;
use std::time::{Duration, Instant};

const HOUR: Ticks = Ticks::from_millis(3_600_000);
const TOPIC: &str = "events";

/// The topics of one party: a process of its own, as far as leases go.
fn party(place: &Folder) -> Topics {
    TopicManager::with_pool(place.pool(), MachineClock::new())
}

type Topics = TopicManager<SharedPool<MachineClock>, MachineClock>;
type Reading<'n> = Consumer<&'n str, Topics, 16>;

fn config() -> TopicConfig {
    TopicConfig::new().with_partitions(1).with_slots_and_stride(16, 64).with_groups(4).with_takeover().with_ttl(HOUR)
}

fn payload(number: u64) -> Vec<u8> {
    let mut rng = Rng::new(number ^ 0x7a1e);
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend((0..rng.below(20)).map(|_| rng.next() as u8));
    bytes
}

fn number_of(message: &Message) -> u64 {
    let number = u64::from_le_bytes(message.payload()[..8].try_into().unwrap());
    assert_eq!(message.payload(), payload(number), "no byte is another");
    number
}

/// Sends records of these numbers, which are their offsets.
#[track_caller]
fn send<P: Pool>(topics: &TopicManager<P, MachineClock>, numbers: std::ops::Range<u64>) {
    let mut producer = Producer::new(TOPIC);
    for number in numbers {
        assert_eq!(producer.send(topics, &payload(number)).unwrap().offset(), Some(Offset::new(number)));
    }
}

fn reader<'n>(group: &str, release_on: ReleaseOn) -> Reading<'n> {
    let mut consumer = Consumer::new(TOPIC, group).with_release_on(release_on);
    consumer.assign(&[0]);
    consumer
}

/// Polls until there is nothing more, `max` at a time; answers the offsets.
#[track_caller]
fn drain(consumer: &mut Reading<'_>, topics: &Topics, max: usize) -> Vec<u64> {
    let mut seen = Vec::new();
    loop {
        let messages = consumer.poll(topics, max).unwrap();
        if messages.is_empty() {
            return seen;
        }
        for message in messages {
            assert_eq!(number_of(&message), message.offset().value());
            seen.push(message.offset().value());
        }
    }
}

fn all(numbers: std::ops::Range<u64>) -> Vec<u64> {
    numbers.collect()
}

/// Two parties: one made the topic, the other one reads it.
fn pair(place: &Folder, config: TopicConfig) -> (Topics, Topics, LeaseId) {
    let (first, second) = (party(place), party(place));
    let lease = first.create(TOPIC, config).unwrap().partitions()[0].lease_id();
    second.join(TOPIC, config, &[lease]).unwrap();
    (first, second, lease)
}

// ---- across the seam

#[test]
fn every_record_is_read_once_and_in_order_over_many_seams() {
    for full in [FullPolicy::Reject, FullPolicy::DropOldest] {
        for (release_on, max) in [(ReleaseOn::Poll, 1), (ReleaseOn::Poll, 100), (ReleaseOn::Commit, 3)] {
            let place = Folder::in_memory(&format!("seams-{full:?}-{release_on:?}-{max}"));
            let config = config().with_full(full);
            let first = party(&place);
            let lease = first.create(TOPIC, config).unwrap().partitions()[0].lease_id();
            let onlooker = party(&place);
            onlooker.join(TOPIC, config, &[lease]).unwrap();
            let mut store = MemOffsetStore::new();
            let mut watching = reader("watching", release_on);
            let (mut seen, mut next, mut writer) = (Vec::new(), 0, first);
            for turn in 0..6_u64 {
                let count = [5, 0, 7, 1, 12, 3][turn as usize];
                send(&writer, next..next + count);
                next += count;
                if turn % 2 == 0 {
                    seen.extend(drain(&mut watching, &onlooker, max));
                    watching.commit(&onlooker, &mut store).unwrap();
                }
                // Each party comes to know the topic by its first lease.
                let other = party(&place);
                other.join(TOPIC, config, &[lease]).unwrap();
                other.take_over(TOPIC, HOUR).unwrap();
                assert_eq!(other.open(TOPIC).unwrap().partitions()[0].tail().value(), next);
                assert_eq!(Producer::new(TOPIC).send(&writer, b"late"), Err(SendError::TakenOver { partition: 0 }));
                writer = other;
            }
            send(&writer, next..next + 4);
            next += 4;
            loop {
                match watching.poll(&onlooker, max) {
                    Ok(messages) if messages.is_empty() => break,
                    Ok(messages) => seen.extend(messages.iter().map(number_of)),
                    Err(PollError::Unreleased { partition: 0 }) => {}
                    Err(error) => panic!("{error}"),
                }
                watching.commit(&onlooker, &mut store).unwrap();
            }
            assert_eq!(seen, all(0..next));
            assert_eq!(store.committed("watching", TOPIC, 0).unwrap(), Some(Offset::new(next)));
            // Somebody who comes only now finds what the old leases still have.
            let mut late = reader("late", ReleaseOn::Poll);
            assert_eq!(drain(&mut late, &writer, 2), all(0..next), "{full:?}");
            // Nothing is held any more: a lap of the last lease, and more.
            drop(watching);
            drop(late);
            if full == FullPolicy::Reject {
                let mut late = reader("late", ReleaseOn::Poll);
                let mut watching = reader("watching", ReleaseOn::Poll);
                for _ in 0..8 {
                    send(&writer, next..next + 8);
                    assert_eq!(drain(&mut watching, &onlooker, 100), all(next..next + 8));
                    assert_eq!(drain(&mut late, &writer, 100), all(next..next + 8));
                    next += 8;
                }
            }
        }
    }
}

#[test]
fn the_old_writer_is_told_and_its_consumers_read_on() {
    let place = Folder::in_memory("told");
    let (old, new, _) = pair(&place, config());
    send(&old, 0..6);
    let mut here = reader("here", ReleaseOn::Poll);
    assert_eq!(here.poll(&old, 2).unwrap().len(), 2);
    assert!(old.open(TOPIC).unwrap().partitions()[0].is_writable());
    new.take_over(TOPIC, HOUR).unwrap();
    new.take_over(TOPIC, HOUR).unwrap();
    assert!(!old.open(TOPIC).unwrap().partitions()[0].is_writable(), "the first one is not any more");
    assert!(new.open(TOPIC).unwrap().partitions()[0].is_writable());
    send(&new, 6..9);
    let told = SendError::TakenOver { partition: 0 };
    let mut producer = Producer::new(TOPIC);
    // Before and behind the moment in which this process knows of the new lease.
    for _ in 0..2 {
        assert_eq!(producer.send(&old, b"late"), Err(told));
        assert_eq!(producer.send_keyed(&old, b"key", b"late"), Err(told));
        assert_eq!(producer.send_record(&old, Record::new(b"late").with_timestamp(Ticks::ZERO)), Err(told));
        let batch = producer.send_batch(&old, [b"late"]).unwrap_err();
        assert_eq!((batch.sent, batch.error), (0, told));
        drain(&mut here, &old, 3);
    }
    assert!(told.to_string().contains("TopicManager::take_over"), "{told}");
    assert_eq!(here.position(0), Some(Offset::new(9)));
    // A group that comes there for the first time, and one that sought.
    let mut fresh = reader("fresh", ReleaseOn::Poll);
    assert_eq!(drain(&mut fresh, &old, 4), all(0..9));
    // It takes the topic over in turn.
    old.take_over(TOPIC, HOUR).unwrap();
    send(&old, 9..12);
    assert_eq!(Producer::new(TOPIC).send(&new, b"late"), Err(told));
    assert_eq!(drain(&mut here, &old, 10), all(9..12));
    assert_eq!(drain(&mut fresh, &old, 10), all(9..12));
    assert_eq!(drain(&mut reader("there", ReleaseOn::Poll), &new, 10), all(0..12));
    // Who only reads is told what it was told before.
    let third = party(&place);
    third.join(TOPIC, config(), &[new.open(TOPIC).unwrap().partitions()[0].lease_id()]).unwrap();
    let mut reading = reader("third", ReleaseOn::Poll);
    assert_eq!(drain(&mut reading, &third, 10), all(0..12));
    assert_eq!(Producer::new(TOPIC).send(&third, b"x"), Err(SendError::ReadOnly { partition: 0 }));
}

#[test]
fn a_full_log_that_was_taken_over_does_not_say_full() {
    for full in [FullPolicy::Reject, FullPolicy::DropNewest, FullPolicy::Wait { timeout: HOUR }] {
        let place = Folder::in_memory(&format!("full-{full:?}").replace([' ', '(', ')', '{', '}', ':'], ""));
        let (old, new, _) = pair(&place, config().with_full(full));
        let mut held = reader("held", ReleaseOn::Commit);
        assert_eq!(held.poll(&old, 1).unwrap().len(), 0);
        send(&old, 0..15);
        new.take_over(TOPIC, HOUR).unwrap();
        assert_eq!(Producer::new(TOPIC).send(&old, b"late"), Err(SendError::TakenOver { partition: 0 }));
        send(&new, 15..20);
        assert_eq!(drain(&mut held, &old, 100).len(), 20);
    }
}

#[test]
fn what_is_not_committed_in_the_old_lease_comes_again() {
    let place = Folder::in_memory("commits");
    let (old, new, lease) = pair(&place, config());
    let mut store = MemOffsetStore::new();
    send(&old, 0..10);
    let mut consumer = reader("g", ReleaseOn::Commit);
    assert_eq!(consumer.poll(&new, 4).unwrap().len(), 4);
    consumer.commit(&new, &mut store).unwrap();
    assert_eq!(consumer.poll(&new, 3).unwrap().len(), 3);
    new.take_over(TOPIC, HOUR).unwrap();
    send(&new, 10..15);
    assert_eq!(drain(&mut consumer, &new, 2), all(7..15));
    assert_eq!(consumer.lag(&new).unwrap(), 0);
    // Parked in both leases: whoever comes in its name begins behind the last commit.
    drop(consumer);
    let third = party(&place);
    third.join(TOPIC, config(), &[lease]).unwrap();
    for topics in [&third, &new] {
        let consumer = reader("g", ReleaseOn::Commit);
        assert_eq!(consumer.lag_in(topics, 0).unwrap(), 11);
    }
    let mut consumer = reader("g", ReleaseOn::Commit);
    assert_eq!(drain(&mut consumer, &third, 6), all(4..15));
    consumer.commit(&third, &mut store).unwrap();
    drop(consumer);
    // Both in one step, and nothing more comes.
    let mut consumer = reader("g", ReleaseOn::Commit);
    assert_eq!(consumer.lag_in(&new, 0).unwrap(), 0);
    assert_eq!(drain(&mut consumer, &new, 6), Vec::<u64>::new());
    send(&new, 15..17);
    assert_eq!((consumer.lag(&new).unwrap(), consumer.lag_in(&new, 0).unwrap()), (2, 2));
    assert_eq!(drain(&mut consumer, &new, 6), all(15..17));
}

#[test]
fn a_group_holds_the_new_lease_while_it_reads_the_old_one_and_two_old_ones_are_one_too_many() {
    let place = Folder::in_memory("held");
    let (a, b, lease) = pair(&place, config());
    let mut store = MemOffsetStore::new();
    let mut consumer = reader("slow", ReleaseOn::Commit);
    send(&a, 0..5);
    assert_eq!(consumer.poll(&b, 2).unwrap().len(), 2);
    b.take_over(TOPIC, HOUR).unwrap();
    send(&b, 5..20);
    let refused = Producer::new(TOPIC).send(&b, b"x");
    assert_eq!(refused, Err(SendError::Full { partition: 0 }), "kept for the group, which has not come here");
    assert_eq!(drain(&mut consumer, &b, 100), all(2..20));
    let c = party(&place);
    c.join(TOPIC, config(), &[lease]).unwrap();
    c.take_over(TOPIC, HOUR).unwrap();
    send(&c, 20..22);
    let told = consumer.poll(&b, 10).unwrap_err();
    assert_eq!(told, PollError::Unreleased { partition: 0 });
    assert!(told.to_string().contains("commit"), "{told}");
    assert_eq!(consumer.lag(&b).unwrap(), 2);
    consumer.commit(&b, &mut store).unwrap();
    assert_eq!(drain(&mut consumer, &b, 10), all(20..22));
}

#[test]
fn a_group_that_closes_before_the_seam_holds_nothing_behind_it() {
    let place = Folder::in_memory("closes");
    let (old, new, _) = pair(&place, config());
    send(&old, 0..6);
    let mut gone = reader("gone", ReleaseOn::Poll);
    assert_eq!(gone.poll(&new, 2).unwrap().len(), 2);
    new.take_over(TOPIC, HOUR).unwrap();
    gone.close(&new).unwrap();
    assert_eq!(new.open(TOPIC).unwrap().stats()[0].groups, 0);
    let mut stays = reader("stays", ReleaseOn::Poll);
    assert_eq!(drain(&mut stays, &new, 10), all(0..6));
    for lap in 0..5 {
        send(&new, 6 + lap * 10..16 + lap * 10);
        assert_eq!(drain(&mut stays, &new, 10), all(6 + lap * 10..16 + lap * 10));
    }
}

#[test]
fn members_of_a_group_go_on_behind_the_seam() {
    let place = Folder::in_memory("members");
    let config = config().with_partitions(2);
    let (old, new) = (party(&place), party(&place));
    let topic = old.create(TOPIC, config).unwrap();
    let leases: Vec<_> = topic.partitions().iter().map(|partition| partition.lease_id()).collect();
    new.join(TOPIC, config, &leases).unwrap();
    let area = GroupConfig::new("billing", TOPIC, 2);
    let lease = new.pool().acquire(area.lease_bytes().unwrap(), HOUR).unwrap();
    let group = Group::format(lease, area).unwrap();
    let mut member: GroupConsumer<_, _> = GroupConsumer::new(&group, MemberConfig::new()).unwrap();
    let mut sent = [0_u64; 2];
    let mut send = |topics: &Topics, count: u64| {
        let mut producer = Producer::new(TOPIC);
        for (number, sent) in (0..).zip(&mut sent) {
            for _ in 0..count {
                producer.send_to(topics, number, &payload(*sent)).unwrap();
                *sent += 1;
            }
        }
    };
    let (mut seen, mut scratch, mut now) = ([0_u64; 2], [0; 512], 0);
    let mut read = |member: &mut GroupConsumer<_, Topics>, commit: bool, seen: &mut [u64; 2]| {
        for _ in 0..6 {
            now += 10;
            let visit = |message: MessageRef<'_>| {
                let seen = &mut seen[message.partition() as usize];
                assert_eq!(message.offset().value(), *seen, "each once, in order");
                assert_eq!(message.payload(), payload(*seen));
                *seen += 1;
            };
            member.poll_into(&new, Ticks::from_millis(now), 4, &mut scratch, visit).unwrap();
            if commit {
                member.commit(&new).unwrap();
            }
        }
    };
    send(&old, 5);
    read(&mut member, true, &mut seen);
    send(&old, 3);
    let committed = seen;
    new.take_over(TOPIC, HOUR).unwrap();
    send(&new, 4);
    read(&mut member, false, &mut seen);
    assert_eq!((committed, seen), ([5, 5], [12, 12]));
    assert_eq!(member.lag(&new).unwrap(), 0);
    // It goes without a commit of what it read last: its successor begins in the old lease, and goes on in the new one.
    drop(member);
    let mut seen = committed;
    let mut next: GroupConsumer<_, _> = GroupConsumer::new(&group, MemberConfig::new()).unwrap();
    for _ in 0..4000 {
        read(&mut next, true, &mut seen);
        if seen == [12, 12] {
            break;
        }
    }
    assert_eq!(seen, [12, 12]);
    next.leave().unwrap();
    // And one that begins behind the seam.
    send(&new, 2);
    let mut last: GroupConsumer<_, _> = GroupConsumer::new(&group, MemberConfig::new()).unwrap();
    read(&mut last, true, &mut seen);
    assert_eq!(seen, [14, 14]);
}

#[test]
fn places_are_found_in_whatever_lease_they_are() {
    let place = Folder::in_memory("seeks");
    let (a, b, lease) = pair(&place, config());
    let mut producer = Producer::new(TOPIC);
    let mut send_at = |topics: &Topics, number: u64| {
        let bytes = payload(number);
        producer
            .send_record_to(topics, 0, Record::new(&bytes).with_timestamp(Ticks::from_millis(number * 10)))
            .unwrap();
        producer = Producer::new(TOPIC);
    };
    (0..5).for_each(|number| send_at(&a, number));
    b.take_over(TOPIC, HOUR).unwrap();
    (5..9).for_each(|number| send_at(&b, number));
    let c = party(&place);
    c.join(TOPIC, config(), &[lease]).unwrap();
    c.take_over(TOPIC, HOUR).unwrap();
    (9..12).for_each(|number| send_at(&c, number));
    let mut scratch = [0; 512];
    let mut store = MemOffsetStore::new();
    for topics in [&a, &b, &c] {
        let mut consumer = reader("seeks", ReleaseOn::Poll);
        for to in [0, 4, 5, 6, 8, 9, 11, 12, 3, 9, 5, 0] {
            let policy = SeekPolicy::Offset { partition: 0, offset: Offset::new(to) };
            consumer.seek_with(topics, &store, policy, &mut scratch).unwrap();
            assert_eq!(consumer.position(0), Some(Offset::new(to)));
            assert_eq!(consumer.lag(topics).unwrap(), 12 - to);
            assert_eq!(drain(&mut consumer, topics, 5), all(to..12), "from {to}");
        }
        let beyond = SeekPolicy::Offset { partition: 0, offset: Offset::new(13) };
        let error = consumer.seek_with(topics, &store, beyond, &mut scratch).unwrap_err();
        assert!(matches!(error, PollError::Seek { .. }), "{error}");
        consumer.seek_with(topics, &store, SeekPolicy::Earliest, &mut scratch).unwrap();
        assert_eq!(consumer.poll(topics, 1).unwrap()[0].offset().value(), 0);
        let error = consumer.seek_with(topics, &store, beyond, &mut scratch).unwrap_err();
        assert!(matches!(error, PollError::Seek { .. }), "{error}");
        assert_eq!(consumer.position(0), Some(Offset::new(1)), "where it was");
        consumer.seek_with(topics, &store, SeekPolicy::Latest, &mut scratch).unwrap();
        assert_eq!(consumer.position(0), Some(Offset::new(12)));
        for (time, expected) in [(0, 0), (35, 4), (40, 4), (41, 5), (50, 5), (81, 9), (90, 9), (105, 11), (111, 12)] {
            let policy = SeekPolicy::Timestamp(Ticks::from_millis(time));
            consumer.seek_with(topics, &store, policy, &mut scratch).unwrap();
            assert_eq!(consumer.position(0), Some(Offset::new(expected)), "at {time}");
        }
        for committed in [2, 5, 7, 9, 10, 12] {
            let mut store = MemOffsetStore::new();
            store.commit("seeks", TOPIC, 0, Offset::new(committed)).unwrap();
            let policy = SeekPolicy::Committed { otherwise: Otherwise::Latest };
            consumer.seek_with(topics, &store, policy, &mut scratch).unwrap();
            assert_eq!(drain(&mut consumer, topics, 5), all(committed..12));
        }
        consumer.commit(topics, &mut store).unwrap();
        consumer.close(topics).unwrap();
        assert_eq!(topics.open(TOPIC).unwrap().stats()[0].groups, 0, "closed everywhere");
    }
}

#[test]
fn a_consumer_that_waits_is_woken_at_the_seam() {
    let place = Folder::in_memory("waits");
    let (old, new, _) = pair(&place, config());
    send(&old, 0..3);
    let mut consumer = reader("waits", ReleaseOn::Poll);
    assert_eq!(drain(&mut consumer, &new, 10), all(0..3));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| consumer.poll_until(&new, 10, Ticks::MAX).unwrap());
        std::thread::sleep(Duration::from_millis(30));
        new.take_over(TOPIC, HOUR).unwrap();
        std::thread::sleep(Duration::from_millis(30));
        assert!(!waiting.is_finished(), "there is nothing to hand out");
        send(&new, 3..4);
        assert_eq!(waiting.join().unwrap()[0].offset().value(), 3);
    });
}

#[test]
fn what_is_gone_between_is_told() {
    let place = Folder::in_memory("gone");
    let (old, new, lease) = pair(&place, config());
    send(&old, 0..5);
    new.take_over(TOPIC, HOUR).unwrap();
    // A group that came to the old lease behind the takeover: nothing is held for it in the new one.
    let third = party(&place);
    third.join(TOPIC, config(), &[lease]).unwrap();
    let mut late = reader("late", ReleaseOn::Poll);
    assert_eq!(late.poll(&third, 3).unwrap().len(), 3);
    let mut quick = reader("quick", ReleaseOn::Poll);
    let mut next = 5;
    for _ in 0..5 {
        send(&new, next..next + 8);
        next += 8;
        drain(&mut quick, &new, 100);
    }
    let rest = late.poll(&third, 100).unwrap();
    assert_eq!(rest.iter().map(number_of).collect::<Vec<_>>(), [3, 4]);
    let told = late.poll(&third, 100).unwrap_err();
    let PollError::Lagging { partition: 0, lost } = told else { panic!("{told}") };
    let there = drain(&mut late, &third, 100);
    assert_eq!(there[0], 5 + lost);
    assert!(lost > 0 && late.lost() == lost && there.last() == Some(&(next - 1)));
}

#[test]
fn a_lease_that_has_ended_behind_the_seam_is_told() {
    let place = Folder::in_memory("ended");
    let clock = Arc::new(ManualClock::new());
    clock.set(Ticks::from_millis(1000));
    let party = || TopicManager::with_pool(SharedPool::open(&place.0, Arc::clone(&clock)).unwrap(), Arc::clone(&clock));
    let (old, new) = (party(), party());
    let lease = old.create(TOPIC, config()).unwrap().partitions()[0].lease_id();
    new.join(TOPIC, config(), &[lease]).unwrap();
    let mut producer = Producer::new(TOPIC);
    for number in 0..5 {
        producer.send(&old, &payload(number)).unwrap();
    }
    let mut parked = Consumer::new(TOPIC, "parked");
    parked.assign(&[0]);
    assert_eq!(parked.poll(&new, 2).unwrap().len(), 2);
    drop(parked);
    new.take_over(TOPIC, Ticks::from_millis(1)).unwrap();
    let mut producer = Producer::new(TOPIC);
    for number in 5..8 {
        producer.send(&new, &payload(number)).unwrap();
    }
    clock.advance(HOUR);
    assert!(new.pool().sweep() > 0);
    // The new one's time is over too, unless it is renewed.
    assert!(new.renew(TOPIC).is_err());
    let mut parked = Consumer::new(TOPIC, "parked");
    parked.assign(&[0]);
    // The old one is there for as long as anybody has it.
    let rest = parked.poll(&new, 10).unwrap();
    assert_eq!(rest.iter().map(number_of).collect::<Vec<_>>(), all(0..5));
    for _ in 0..2 {
        assert!(matches!(parked.poll(&new, 10), Err(PollError::Lease { error: LeaseError::Expired, .. })));
    }
}

#[test]
fn a_renewed_topic_outlives_its_old_leases() {
    let place = Folder::in_memory("renewed");
    let clock = Arc::new(ManualClock::new());
    clock.set(Ticks::from_millis(1000));
    let party = || TopicManager::with_pool(SharedPool::open(&place.0, Arc::clone(&clock)).unwrap(), Arc::clone(&clock));
    let (old, new) = (party(), party());
    let config = config().with_ttl(Ticks::from_millis(100));
    let lease = old.create(TOPIC, config).unwrap().partitions()[0].lease_id();
    new.join(TOPIC, config, &[lease]).unwrap();
    let mut producer = Producer::new(TOPIC);
    for number in 0..5 {
        producer.send(&old, &payload(number)).unwrap();
    }
    let group = |name| {
        let mut consumer = Consumer::new(TOPIC, name);
        consumer.assign(&[0]);
        consumer
    };
    let mut parked = group("parked");
    assert_eq!(parked.poll(&new, 2).unwrap().len(), 2);
    drop(parked);
    let mut mid = group("mid");
    assert_eq!(mid.poll(&new, 2).unwrap().len(), 2);
    new.take_over(TOPIC, Ticks::from_millis(1)).unwrap();
    let mut producer = Producer::new(TOPIC);
    for number in 5..8 {
        producer.send(&new, &payload(number)).unwrap();
    }
    clock.advance(Ticks::from_millis(90));
    assert_eq!(new.renew(TOPIC).unwrap(), Ticks::from_millis(1190));
    clock.advance(Ticks::from_millis(20));
    // It stays for as long as anybody has it; so it is taken back.
    assert_eq!(new.open(TOPIC).unwrap().partitions()[0].head().value(), 0);
    new.pool().revoke(lease).unwrap();
    assert_eq!(new.open(TOPIC).unwrap().partitions()[0].head().value(), 5);
    // A new group begins with what there is; one that had not read all in the old lease is told.
    let offsets = |messages: Vec<Message>| messages.iter().map(number_of).collect::<Vec<_>>();
    let mut fresh = group("fresh");
    assert_eq!(offsets(fresh.poll(&new, 10).unwrap()), [5, 6, 7]);
    let mut parked = group("parked");
    assert_eq!(parked.lag_in(&new, 0).unwrap(), 3);
    assert_eq!(parked.poll(&new, 10).unwrap_err(), PollError::Lagging { partition: 0, lost: 5 });
    assert_eq!(offsets(parked.poll(&new, 10).unwrap()), [5, 6, 7]);
}

// ---- what cannot be done

#[test]
fn what_cannot_be_done_is_refused() {
    let place = Folder::in_memory("refused");
    let plain = TopicConfig::new().with_partitions(1).with_slots_and_stride(16, 64);
    let (old, new, _) = pair(&place, plain);
    send(&old, 0..1);
    let error = new.take_over(TOPIC, HOUR).unwrap_err();
    assert_eq!(error, TopicError::TakeOver { partition: 0, error: SealError::Unsupported });
    assert!(error.to_string().contains("with_takeover"), "{error}");
    assert_eq!(new.take_over("nothing", HOUR), Err(TopicError::Unknown));
    assert_eq!(old.take_over(TOPIC, HOUR), Ok(()), "it is its own");
    send(&old, 1..2);
    let error = config().with_dead_letters(true).partition_bytes().unwrap_err();
    assert_eq!(error, TopicError::NoTakeover);
    assert!(error.to_string().contains("promote"), "{error}");
    // On memory that nobody else reaches.
    let error = TopicManager::new().create(TOPIC, config()).map(drop).unwrap_err();
    assert!(matches!(error, TopicError::Config(_)), "{error}");
}

#[test]
fn static_topics_say_that_the_log_goes_on_elsewhere() {
    let place = Folder::in_memory("static");
    let pool = place.pool();
    let mut rings: StaticRings<_, 1, 1> = StaticRings::new();
    rings.create(place.pool(), TOPIC, config(), MachineClock::new()).unwrap();
    let topics = StaticTopics::new(&rings, MachineClock::new()).unwrap();
    let lease = topics.open(TOPIC).unwrap().partitions()[0].lease_id();
    let mut producer = Producer::new(TOPIC);
    producer.send(&topics, &payload(0)).unwrap();
    let other = party(&place);
    other.join(TOPIC, config(), &[lease]).unwrap();
    other.take_over(TOPIC, HOUR).unwrap();
    assert_eq!(producer.send(&topics, b"late"), Err(SendError::TakenOver { partition: 0 }));
    // One that reads: the rest, and then where to go.
    let mut rings: StaticRings<_, 1, 1> = StaticRings::new();
    rings.attach_in([pool.join(lease).unwrap()], TOPIC, config()).unwrap();
    let reading = StaticTopics::reading(&rings, MachineClock::new()).unwrap();
    let mut consumer = Consumer::new(TOPIC, "g");
    consumer.assign(&[0]);
    let mut scratch = [0; 512];
    assert_eq!(consumer.poll_into(&reading, 10, &mut scratch, |_| ()), Ok(1));
    let told = consumer.poll_into(&reading, 10, &mut scratch, |_| ()).unwrap_err();
    assert_eq!(told, PollError::Sealed { partition: 0 });
    assert!(told.to_string().contains("Ring::seal"), "{told}");
}

#[test]
fn a_topic_that_is_detached_from_is_there_for_the_next() {
    let place = Folder::in_memory("detached");
    let (first, second, lease) = pair(&place, config());
    assert_eq!(first.detach("nothing"), Err(TopicError::Unknown));
    let mut producer = Producer::new(TOPIC);
    producer.send(&first, &payload(0)).unwrap();
    let error = first.detach(TOPIC).unwrap_err();
    assert_eq!(error, TopicError::InUse);
    assert!(error.to_string().contains("drop"), "{error}");
    producer.send(&first, &payload(1)).unwrap();
    drop(producer);
    let mut consumer = reader("g", ReleaseOn::Poll);
    assert_eq!(drain(&mut consumer, &first, 1), all(0..2));
    assert_eq!(first.detach(TOPIC), Err(TopicError::InUse));
    drop(consumer);
    let handle = first.open(TOPIC).unwrap();
    assert_eq!(first.detach(TOPIC), Err(TopicError::InUse));
    drop(handle);
    assert_eq!(first.detach(TOPIC), Ok(vec![lease]));
    assert_eq!((first.detach(TOPIC), first.names().len()), (Err(TopicError::Unknown), 0));
    // The next one takes it as it is, and the reader was not touched.
    let third = party(&place);
    third.attach(TOPIC, config(), &[lease]).unwrap();
    send(&third, 2..4);
    assert_eq!(drain(&mut reader("g", ReleaseOn::Poll), &second, 10), all(2..4));
    // Who only reads lets go, and that is all.
    let mut consumer = reader("g", ReleaseOn::Poll);
    assert_eq!(drain(&mut consumer, &second, 10), Vec::<u64>::new());
    drop(consumer);
    assert_eq!(second.detach(TOPIC), Ok(vec![lease]));
    send(&third, 4..5);
    // Of one that took over, or that was promoted, it is the lease in which the log goes on.
    second.join(TOPIC, config(), &[lease]).unwrap();
    second.take_over(TOPIC, HOUR).unwrap();
    send(&second, 5..6);
    let next = second.detach(TOPIC).unwrap()[0];
    assert_ne!(next, lease);
    let fourth = party(&place);
    fourth.join(TOPIC, config(), &[lease]).unwrap();
    fourth.promote(TOPIC).unwrap();
    send(&fourth, 6..8);
    assert_eq!(fourth.detach(TOPIC), Ok(vec![next]));
    let fifth = party(&place);
    fifth.attach(TOPIC, config(), &[next]).unwrap();
    send(&fifth, 8..9);
    assert_eq!(drain(&mut reader("g", ReleaseOn::Poll), &third, 10), all(4..9));
}

/// Topics in memory whose other users follow the protocol, as a router needs them: it hands records out where they lie.
type Trusting = TopicManager<SharedPool<MachineClock, Cooperative>, MachineClock>;

#[allow(unsafe_code, reason = "a promise about memory")]
fn trusting(place: &Folder) -> Trusting {
    // SAFETY: only this test's parties use the memory, all of them through this crate.
    TopicManager::with_pool(unsafe { place.pool().cooperative() }, MachineClock::new())
}

/// What a router made of the records that it was handed.
#[derive(Default)]
struct Handled {
    order: Vec<u64>,
    dead: u64,
}

impl Handled {
    /// Polls until nothing more is handed out or died, `max` at a time; who is in `poison` fails.
    #[track_caller]
    fn poll(&mut self, router: &mut DlqRouter<&'static str, Trusting>, topics: &Trusting, max: usize, poison: &[u64]) {
        loop {
            let polled = router
                .poll_with(topics, max, |delivery| {
                    let number = u64::from_le_bytes(delivery.message().payload()[..8].try_into().unwrap());
                    assert_eq!(delivery.message().payload(), payload(number), "no byte is another");
                    assert_eq!(delivery.message().offset().value(), number);
                    self.order.push(number);
                    if poison.contains(&number) { Verdict::nack("poison") } else { Verdict::Ack }
                })
                .unwrap();
            assert_eq!(polled.held, None);
            self.dead += polled.dead as u64;
            if polled.handed == 0 && polled.dead == 0 {
                return;
            }
        }
    }
}

#[test]
fn a_router_goes_on_behind_the_seam_when_all_before_it_is_settled() {
    for (on_failure, max) in
        [(OnFailure::Block, 1), (OnFailure::Block, 100), (OnFailure::SkipAside, 2), (OnFailure::SkipAside, 100)]
    {
        let place = Folder::in_memory(&format!("router-{on_failure:?}-{max}"));
        let [old, new, third] = [(); 3].map(|()| trusting(&place));
        let lease = old.create(TOPIC, config()).unwrap().partitions()[0].lease_id();
        for party in [&new, &third] {
            party.join(TOPIC, config(), &[lease]).unwrap();
        }
        let grave = format!("{TOPIC}.dlq");
        let letters = TopicConfig::new().with_partitions(1).with_dead_letters(true).with_ttl(HOUR);
        new.create(&grave, letters).unwrap();
        let mut router = DlqRouter::new(TOPIC, "billing").with_limit(3).with_on_failure(on_failure);
        router.assign(&[0]);
        let mut handled = Handled::default();
        send(&old, 0..8);
        // The last record before the seam has failed once when the log is taken over.
        let one = router.poll_with(&new, 8, |delivery| match delivery.message().offset().value() {
            7 => Verdict::nack("poison"),
            _ => Verdict::Ack,
        });
        assert_eq!(one.unwrap().handed, 8);
        new.take_over(TOPIC, HOUR).unwrap();
        send(&new, 8..14);
        handled.poll(&mut router, &new, max, &[7, 10]);
        let expected: &[u64] = match on_failure {
            OnFailure::Block => &[7, 7, 8, 9, 10, 10, 10, 11, 12, 13],
            _ => &[7, 7, 8, 9, 10],
        };
        assert_eq!(&handled.order[..expected.len()], expected, "{on_failure:?} {max}");
        assert_eq!((handled.order.len(), handled.dead), (10, 2), "{:?}", handled.order);
        // Another seam, with nothing left before it.
        third.take_over(TOPIC, HOUR).unwrap();
        send(&third, 14..17);
        handled.poll(&mut router, &new, max, &[]);
        assert_eq!(handled.order[10..], [14, 15, 16]);
        assert!(router.counters().is_conserved());
        // The letters say where their records were, each in its own lease.
        let mut found = Vec::new();
        let queue = DeadLetters::of(TOPIC).unwrap();
        let note = |letter: &DeadLetter<'_>| found.push((letter.source_offset().value(), letter.source_lease()));
        queue.browse_with(&new, LetterAt::default(), 100, note).unwrap();
        assert_eq!(found.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [7, 10]);
        assert_eq!(found[0].1, lease);
        assert_ne!(found[1].1, lease);
        // Nothing is held before the seams, and who comes in the group's name goes on there.
        drop(router);
        let mut router = DlqRouter::new(TOPIC, "billing").with_limit(3);
        router.assign(&[0]);
        let mut handled = Handled::default();
        handled.poll(&mut router, &new, 10, &[]);
        assert_eq!(handled.order, Vec::<u64>::new());
        send(&third, 17..19);
        handled.poll(&mut router, &new, 10, &[]);
        assert_eq!(handled.order, [17, 18]);
        // Two seams in one step: nothing stays held in the lease before the first.
        new.take_over(TOPIC, HOUR).unwrap();
        third.take_over(TOPIC, HOUR).unwrap();
        send(&third, 19..21);
        handled.poll(&mut router, &new, 10, &[]);
        assert_eq!(handled.order, [17, 18, 19, 20]);
    }
}

// ---- other processes

#[test]
#[ignore = "run by the other tests of this file: cargo test --test takeover_topics"]
fn an_actor_of_another_test() {
    let Some(role) = role() else { return };
    let topics = TopicManager::with_pool(pool(&given_place()), MachineClock::new());
    match role.as_str() {
        "produce" => produce(&topics),
        "go on" => go_on(&topics),
        "consume" => consume(&topics),
        "take over" => take_over_when_told(&topics),
        role => panic!("no such role: {role}"),
    }
}

fn large() -> TopicConfig {
    config().with_slots_and_stride(256, 64)
}

fn joined(topics: &Topics) {
    topics.join(TOPIC, large(), &[LeaseId::new(setting("LEASE").parse().unwrap())]).unwrap();
}

/// Makes the topic, and sends until somebody else has taken it over.
fn produce(topics: &Topics) {
    say(format_args!("lease {}", topics.create(TOPIC, large()).unwrap().partitions()[0].lease_id().value()));
    let mut producer = Producer::new(TOPIC);
    let mut number = 0;
    loop {
        match producer.send(topics, &payload(number)) {
            Ok(receipt) => {
                assert_eq!(receipt.offset(), Some(Offset::new(number)));
                number += 1;
            }
            Err(SendError::Full { .. }) => std::thread::yield_now(),
            Err(SendError::TakenOver { partition: 0 }) => break,
            Err(error) => panic!("{error}"),
        }
    }
    say(format_args!("told {number}"));
    for _ in 0..1000 {
        assert_eq!(producer.send(topics, b"late"), Err(SendError::TakenOver { partition: 0 }));
    }
    // What it sent is there for itself too, and what comes behind it.
    let mut consumer = reader("here", ReleaseOn::Poll);
    // Nothing may be left before the seam, and much be given up behind it: a group that comes only now has lost nothing.
    let polled = consumer.poll(topics, 1).map(drop);
    assert_eq!(polled, Ok(()));
    say(format_args!("position {}", consumer.position(0).unwrap()));
}

/// Takes the topic over and sends; says where it began.
fn go_on(topics: &Topics) {
    joined(topics);
    topics.take_over(TOPIC, HOUR).unwrap();
    let tail = topics.open(TOPIC).unwrap().partitions()[0].tail().value();
    say(format_args!("tail {tail}"));
    let mut producer = Producer::new(TOPIC);
    for number in tail..tail + 1000 {
        while let Err(error) = producer.send(topics, &payload(number)) {
            assert_eq!(error, SendError::Full { partition: 0 });
            std::thread::yield_now();
        }
    }
    let last = Record::new(b"the last record").with_key(b"end");
    while producer.send_record_to(topics, 0, last).is_err() {
        std::thread::yield_now();
    }
    say(format_args!("end {}", tail + 1000));
    wait_for_word();
}

/// Reads all up to the last record, each once and in order.
fn consume(topics: &Topics) {
    joined(topics);
    let mut consumer = reader("main", ReleaseOn::Commit);
    let mut store = MemOffsetStore::new();
    let mut next = 0;
    say("reads");
    loop {
        for message in consumer.poll_until(topics, 100, Ticks::MAX).unwrap() {
            assert_eq!(message.offset().value(), next);
            if message.key().is_some() {
                say(format_args!("read {next}"));
                return;
            }
            assert_eq!(number_of(&message), next);
            next += 1;
        }
        consumer.commit(topics, &mut store).unwrap();
    }
}

#[test]
fn a_process_that_was_stopped_is_taken_over_and_a_third_one_reads_all() {
    let mut rng = Rng::new(11);
    let (mut before, rounds) = (0, 6 * scale());
    for round in 0..rounds {
        let place = Folder::in_memory(&format!("processes-{round}"));
        let stopped = Actor::start(&place, "produce", &[]);
        let said = stopped.said();
        let lease = said.strip_prefix("lease ").unwrap();
        let consumer = Actor::start(&place, "consume", &[("LEASE", lease)]);
        consumer.says("reads");
        std::thread::sleep(Duration::from_micros(rng.below(15_000)));
        stopped.stop();
        let next = Actor::start(&place, "go on", &[("LEASE", lease)]);
        let tail = next.number("tail");
        if round % 2 == 0 {
            stopped.signal(Signal::CONT);
        }
        let end = next.number("end");
        stopped.signal(Signal::CONT);
        assert_eq!(stopped.number("told"), tail, "all that it was told of, and nothing else");
        assert!(stopped.number("position") <= end + 1);
        stopped.ends_well();
        assert_eq!(consumer.number("read"), end);
        consumer.ends_well();
        next.ends_well();
        before += tail;
    }
    assert!(before > 0);
    println!("{rounds} rounds, {before} records before the ends");
}

/// Takes the topic over when told to, and says of each record that it was sent.
fn take_over_when_told(topics: &Topics) {
    joined(topics);
    say("ready");
    let after = Duration::from_nanos(hear().parse().unwrap());
    let together = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let killer = Arc::clone(&together);
    std::thread::spawn(move || {
        killer.store(true, std::sync::atomic::Ordering::Release);
        let kill_at = Instant::now() + after;
        while Instant::now() < kill_at {
            std::hint::spin_loop();
        }
        kill_process(getpid(), Signal::KILL).unwrap();
    });
    while !together.load(std::sync::atomic::Ordering::Acquire) {
        std::hint::spin_loop();
    }
    topics.take_over(TOPIC, HOUR).unwrap();
    let mut producer = Producer::new(TOPIC);
    for _ in 0..3 {
        let next = topics.open(TOPIC).unwrap().partitions()[0].tail().value();
        let sent = producer.send(topics, &payload(next)).unwrap();
        assert_eq!(sent.offset(), Some(Offset::new(next)));
        say(format_args!("sent {next}"));
    }
    // Until it is killed: whoever ends in peace gives its lease back, and what is in it.
    loop {
        std::thread::park();
    }
}

/// A process that takes over is killed at any moment: whoever comes next finds a log that is ended or not, and completes it.
#[test]
fn a_process_that_takes_over_may_be_killed_at_any_moment() {
    let rounds: u64 = setting("ROUNDS").parse().unwrap_or(200);
    let mut rng = Rng::new(23);
    let start = Instant::now();
    // Before the old writer was told; before the seal was closed; before something was sent; behind that.
    let (mut outcomes, mut written) = ([0_u64; 4], 0);
    // Nanoseconds: moves to where kills come before the seal and behind it, about as often.
    let mut range = 300_000_u64;
    for round in 0..rounds {
        let place = Folder::in_memory("killed");
        let old = party(&place);
        let lease = old.create(TOPIC, large()).unwrap().partitions()[0].lease_id();
        let mut killed = Actor::start(&place, "take over", &[("LEASE", &lease.value().to_string())]);
        let mut told = std::thread::scope(|scope| {
            let writing = scope.spawn(|| {
                let mut producer = Producer::new(TOPIC);
                let mut number = 0;
                // At most what the log holds: nobody reads.
                while number < 200 {
                    match producer.send(&old, &payload(number)) {
                        Ok(_) => number += 1,
                        Err(SendError::TakenOver { .. }) => break,
                        Err(error) => panic!("{error}"),
                    }
                    std::thread::sleep(Duration::from_micros(3));
                }
                number
            });
            killed.says("ready");
            killed.tells(rng.below(range));
            writing.join().unwrap()
        });
        let said = killed.dies();
        for number in &said {
            assert_eq!(*number, format!("sent {told}"), "round {round}");
            told += 1;
        }
        let said = said.len();
        written += told;

        // Whatever it left can be opened, and completed.
        let sealed = {
            let pool = place.pool();
            let ring: Ring<_> = Ring::attach(pool.join(lease).unwrap()).unwrap();
            let mut reader = Reader::join(&ring, "look", Start::Earliest).unwrap();
            while let Ok(Some(_)) = reader.copy_next(&mut [0; 128]) {}
            let seal = ring.seal().unwrap();
            assert!(seal.is_none_or(|seal| seal.tail == reader.next_offset()));
            let begun = old.open(TOPIC).unwrap().partitions()[0].lease().check().is_err();
            outcomes[match (seal, begun) {
                (None, false) => 0,
                (None, true) => 1,
                (Some(_), _) if said == 0 => 2,
                (Some(_), _) => 3,
            }] += 1;
            seal
        };
        assert!(sealed.is_some() || said == 0);
        range = if sealed.is_some() { range - range / 16 } else { range + range / 16 + 1 };
        let next = party(&place);
        next.join(TOPIC, large(), &[lease]).unwrap();
        match round % 2 {
            // By its death, if it got so far.
            0 if next.promote(TOPIC).is_ok() => {}
            _ => next.take_over(TOPIC, HOUR).unwrap(),
        }
        let tail = next.open(TOPIC).unwrap().partitions()[0].tail().value();
        // One may have been committed that nobody was told of any more.
        assert!((told..=told + 1).contains(&tail), "round {round}: {told} were told of, there are {tail}");
        send(&next, tail..tail + 3);
        assert_eq!(Producer::new(TOPIC).send(&old, b"late"), Err(SendError::TakenOver { partition: 0 }));
        assert_eq!(drain(&mut reader("all", ReleaseOn::Poll), &next, 64), all(0..tail + 3), "round {round}");
    }
    let [nothing, begun, sealed, sent] = outcomes;
    println!(
        "{rounds} kills in {:.1} s: {nothing} before anything, {begun} before the seal, {sealed} behind it, {sent} behind records; \
         {written} records",
        start.elapsed().as_secs_f64()
    );
    assert!(rounds < 100 || (nothing + begun > 0 && sealed + sent > 0), "{outcomes:?}");
}
