//! Dead letters: what a router does with records that fail, what the queue does with letters, and what is refused.

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

#[path = "common/clocked.rs"]
mod clocked;
mod common;

use clocked::{Clocked, manager, says};
use common::Rng;
use fabric_mq::clock::{Clock, ManualClock};
use fabric_mq::consumer::{Consumer, PollError};
use fabric_mq::dlq::{
    Cause, DeadLetter, DeadLetters, Delivered, DlqError, DlqRouter, FailingState, Letter, LetterAt, LetterError,
    OnFailure, Polled, REDRIVEN, RedriveOptions, RedriveState, Redriven, Settled, Verdict,
};
use fabric_mq::lease::{Pool, SlicePool};
use fabric_mq::message::{Message, MessageRef, ProducerBlock, Record};
use fabric_mq::partition::FullPolicy;
use fabric_mq::producer::{Producer, SendError};
use fabric_mq::ring::{Ring, RingConfig, Writer};
use fabric_mq::topic::{StaticRings, StaticTopics, TopicConfig, TopicError, TopicManager};
use fabric_mq::{Epoch, NameError, Offset, Ticks};
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};

type Outcome = Result<(), Box<dyn Error>>;
type Router<const T: usize = 32> = DlqRouter<&'static str, Clocked, 16, T>;

const ONE: TopicConfig = TopicConfig::new().with_partitions(1).with_slots_and_stride(64, 256);
const DEAD: TopicConfig = ONE.with_dead_letters(true);

/// A topic of one partition with its queue.
fn orders() -> Result<(Arc<ManualClock>, Clocked), TopicError> {
    let (clock, topics) = manager();
    topics.create("orders", ONE)?;
    topics.create("orders.dlq", DEAD)?;
    Ok((clock, topics))
}

fn router() -> Router {
    let mut router = Router::with_places("orders", "billing");
    router.assign(&[0]);
    router
}

fn queue() -> DeadLetters {
    DeadLetters::of("orders").unwrap()
}

fn send(topics: &Clocked, payloads: impl IntoIterator<Item = u8>) {
    for payload in payloads {
        Producer::new("orders").send(topics, &[payload]).unwrap();
    }
}

/// All letters; there is nothing else in the queue.
fn letters(topics: &Clocked) -> Vec<Letter> {
    let (letters, browsed) = queue().browse(topics, LetterAt::START, usize::MAX).unwrap();
    assert_eq!((browsed.malformed, browsed.next), (0, None), "{browsed:?}");
    assert_eq!(queue().count(topics), Ok(letters.len() as u64));
    letters
}

fn payloads(topics: &Clocked) -> Vec<u8> {
    letters(topics).iter().map(|letter| letter.view().payload()[0]).collect()
}

/// Polls once, and answers what was handed out.
fn poll(router: &mut Router, topics: &Clocked, mut verdict: impl FnMut(u8) -> Verdict) -> (Vec<u8>, Polled) {
    let mut seen = Vec::new();
    let polled = router.poll_with(topics, 100, |delivery| {
        seen.push(delivery.message().payload()[0]);
        verdict(delivery.message().payload()[0])
    });
    assert!(router.counters().is_conserved(), "{:?}", router.counters());
    (seen, polled.unwrap())
}

/// Fails some payloads, acknowledges the others.
fn fails(which: &'static [u8]) -> impl FnMut(u8) -> Verdict {
    move |payload| if which.contains(&payload) { Verdict::nack("it fails") } else { Verdict::Ack }
}

/// All records of the source, as anybody sees them.
fn source(topics: &Clocked) -> Vec<Message> {
    let mut reader = Consumer::new("orders", "spectator");
    reader.assign(&[0]);
    reader.poll(topics, 1000).unwrap()
}

// ------------------------------------------------------------------------------------------------ dying

#[test]
fn a_record_that_fails_as_often_as_is_allowed_is_a_letter_with_all_that_it_had() -> Outcome {
    let (clock, topics) = orders()?;
    clock.set(Ticks::from_millis(100));
    let headers: &[(&str, &[u8])] = &[("unit", b"celsius"), ("empty", b"")];
    let producer = ProducerBlock::new(7, Epoch::new(3), 9);
    let record = Record::new(b"21.5").with_key(b"key").with_timestamp(Ticks::from_millis(42)).with_headers(headers);
    Producer::new("orders").send(&topics, b"before")?;
    Producer::new("orders").send_record(&topics, record.with_producer(producer))?;
    let mut router = router();
    for attempt in 1..=5 {
        clock.advance(Ticks::from_millis(10));
        let mut tries = Vec::new();
        let polled = router.poll_with(&topics, 10, |delivery| {
            if delivery.message().offset().value() == 0 {
                return Verdict::Ack;
            }
            tries.push(delivery.attempt());
            Verdict::nack(format_args!("no such account, try {attempt}"))
        })?;
        assert_eq!((tries, polled.dead), (vec![attempt], usize::from(attempt == 5)));
        assert_eq!(queue().count(&topics)?, u64::from(attempt == 5));
        assert!(router.counters().is_conserved());
    }
    assert_eq!(router.poll_with(&topics, 10, |_| panic!("nothing is left"))?, Polled::default());
    let letters = letters(&topics);
    let letter = letters[0].view();
    assert_eq!(letter.cause(), Cause::TooManyFailures);
    assert_eq!((letter.source_topic(), letter.source_partition(), letter.source_offset()), ("orders", 0, 1.into()));
    assert_eq!((letter.group(), letter.attempts(), letter.redrives()), ("billing", 5, 0));
    let times = [letter.first_failure(), letter.last_failure(), letter.died_at()];
    assert_eq!(times, [110, 150, 150].map(Ticks::from_millis));
    assert_eq!(letter.reason(), "no such account, try 5");
    assert_eq!((letter.payload(), letter.key()), (&b"21.5"[..], Some(&b"key"[..])));
    assert_eq!((letter.timestamp(), letter.producer()), (Some(Ticks::from_millis(42)), Some(producer)));
    assert!(letter.headers().eq(headers.iter().copied()));
    assert_eq!(letter.header("unit"), Some(&b"celsius"[..]));
    assert_eq!((router.counters().acked, router.counters().dead, router.counters().failures), (1, 1, 5));
    assert_eq!(router.floor(0), Some(Offset::new(2)), "both are released");
    Ok(())
}

#[test]
fn refused_expired_and_damaged_records_are_letters_at_once() -> Outcome {
    let (clock, topics) = manager();
    // A partition with a record whose envelope is none: key too long for its record.
    let shape = RingConfig::new(64, 16_384).with_readers(16);
    let lease = topics.pool().acquire(shape.lease_bytes()?, Ticks::MAX)?;
    let ring: Ring<_> = Ring::format(lease, shape)?;
    let mut writer = Writer::claim(&ring)?;
    writer.write_tagged(2, b"\xff\xffdamaged")?;
    drop(writer);
    let id = fabric_mq::lease::Lease::detach(ring.into_lease());
    topics.attach("orders", ONE, &[id])?;
    topics.create("orders.dlq", DEAD)?;
    send(&topics, [1, 2, 3, 4]);
    clock.set(Ticks::from_millis(1000));
    send(&topics, [5]);
    let mut router = router().with_time_to_live(Ticks::from_millis(999));
    let mut seen = Vec::new();
    let polled = router.poll_with(&topics, 10, |delivery| {
        seen.push(delivery.message().payload()[0]);
        Verdict::undecodable("not JSON")
    })?;
    assert_eq!((seen, polled.handed, polled.dead), (vec![5], 1, 6), "the others are older than that");
    let found: Vec<_> =
        letters(&topics).iter().map(|letter| (letter.view().cause(), letter.view().attempts())).collect();
    let expired = (Cause::Expired, 0);
    assert_eq!(found, [(Cause::Damaged, 0), expired, expired, expired, expired, (Cause::Undecodable, 1)]);
    let damaged = &letters(&topics)[0];
    assert!(damaged.view().is_damaged());
    assert_eq!(damaged.view().payload(), b"\xff\xffdamaged", "the whole record, as it was");
    send(&topics, [6]);
    assert_eq!(poll(&mut router, &topics, |_| Verdict::reject("unwanted")).0, [6]);
    assert_eq!(letters(&topics)[6].view().cause(), Cause::Rejected);

    // What cannot be sent back stays, and is told.
    let mut redrive = queue().redrive_all::<Clocked>(RedriveOptions::new());
    let progress = redrive.step(&topics, Ticks::ZERO)?;
    assert_eq!((progress.moved, progress.unfit, progress.state), (6, 1, RedriveState::Done));
    drop(redrive);
    assert_eq!(letters(&topics).len(), 1);
    assert!(letters(&topics)[0].view().is_damaged());
    Ok(())
}

#[test]
fn a_record_that_expires_while_it_waits_is_a_letter() -> Outcome {
    let (clock, topics) = orders()?;
    send(&topics, [1]);
    let mut router = router().with_time_to_live(Ticks::from_millis(10));
    assert_eq!(poll(&mut router, &topics, |_| Verdict::Defer(Ticks::from_millis(11))).0, [1]);
    clock.advance(Ticks::from_millis(11));
    let (seen, polled) = poll(&mut router, &topics, |_| Verdict::Ack);
    assert_eq!((seen, polled.dead), (vec![], 1));
    assert_eq!(letters(&topics)[0].view().cause(), Cause::Expired);
    Ok(())
}

#[test]
fn a_full_envelope_can_be_a_letter() -> Outcome {
    let (clock, topics) = manager();
    topics.create("orders", ONE.with_capacity(65_536))?;
    topics.create("orders.dlq", DEAD.with_capacity(65_536))?;
    let value = [b'v'; 234];
    let headers = [("name", &value[..]); 16];
    Producer::new("orders").send_record(&topics, Record::new(b"x").with_key(b"k").with_headers(&headers))?;
    Producer::new("orders").send_record(&topics, Record::new(b"y").with_headers(&headers[..15]))?;
    let mut router = router();
    let _ = poll(&mut router, &topics, |_| Verdict::reject(""));
    let _ = poll(&mut router, &topics, |_| Verdict::reject(""));
    assert!(letters(&topics)[0].view().headers().eq(headers));
    // A mark is one header more: the first one has no room for it.
    let progress = queue().redrive_all::<Clocked>(RedriveOptions::new()).step(&topics, clock_now(&clock))?;
    assert_eq!((progress.moved, progress.unfit, progress.kept), (1, 1, 1));
    assert_eq!(payloads(&topics), [b'x']);
    // Sent back again and again, a record does not gather marks.
    for redrives in 2..5 {
        let _ = poll(&mut router, &topics, |_| Verdict::reject(""));
        let progress = queue().redrive_all::<Clocked>(RedriveOptions::new()).step(&topics, clock_now(&clock))?;
        assert_eq!((progress.moved, progress.unfit), (1, 1));
        let last = source(&topics).pop().unwrap();
        assert_eq!(last.headers().count(), 16);
        let mark = Redriven::of(&last.view()).unwrap();
        assert_eq!((mark.redrives, mark.partition, mark.offset.value()), (redrives, 0, 1));
    }
    Ok(())
}

fn clock_now(clock: &ManualClock) -> Ticks {
    clock.now()
}

// ------------------------------------------------------------------------------------------------ order

#[test]
fn a_partition_that_blocks_stops_at_the_record_that_fails() -> Outcome {
    let (_, topics) = manager();
    topics.create("orders", ONE.with_partitions(2))?;
    topics.create("orders.dlq", DEAD)?;
    let mut producer = Producer::new("orders");
    for payload in 0..6 {
        producer.send(&topics, &[payload])?; // even ones to partition 0
    }
    let mut router = Router::with_places("orders", "billing").with_limit(3);
    router.assign(&[0, 1]);
    assert_eq!(poll(&mut router, &topics, fails(&[2])).0, [0, 2, 1, 3, 5]);
    assert_eq!(poll(&mut router, &topics, fails(&[2])).0, [2]);
    // The last try: it dies, and the partition goes on at once.
    assert_eq!(poll(&mut router, &topics, fails(&[2])).0, [2, 4]);
    assert_eq!(payloads(&topics), [2]);
    Ok(())
}

#[test]
fn a_partition_that_skips_goes_on_and_comes_back() -> Outcome {
    let (clock, topics) = orders()?;
    send(&topics, 0..5);
    let mut router = router().with_limit(3).with_on_failure(OnFailure::SkipAside);
    router = router.with_retry_delay(Ticks::from_millis(10));
    assert_eq!(poll(&mut router, &topics, fails(&[1, 3])).0, [0, 1, 2, 3, 4]);
    assert_eq!(router.floor(0), Some(Offset::new(1)), "what failed holds the group's place");
    assert_eq!(poll(&mut router, &topics, fails(&[1, 3])).0, [], "not due yet");
    clock.advance(Ticks::from_millis(10));
    send(&topics, [5]);
    assert_eq!(poll(&mut router, &topics, fails(&[3])).0, [1, 3, 5], "what failed before comes first");
    assert_eq!(router.floor(0), Some(Offset::new(3)));
    clock.advance(Ticks::from_millis(10));
    assert_eq!(poll(&mut router, &topics, fails(&[3])).0, [3]);
    assert_eq!((payloads(&topics), router.floor(0)), (vec![3], Some(Offset::new(6))));
    Ok(())
}

#[test]
fn deferring_never_counts() -> Outcome {
    let (clock, topics) = orders()?;
    send(&topics, [1]);
    let mut router = router().with_limit(1);
    for _ in 0..1000 {
        assert_eq!(poll(&mut router, &topics, |_| Verdict::Defer(Ticks::from_millis(2))).0, [1]);
        clock.advance(Ticks::from_millis(1));
        assert_eq!(poll(&mut router, &topics, |_| panic!("not yet")).0, []);
        clock.advance(Ticks::from_millis(1));
    }
    let mut attempt = 0;
    let _ = router.poll_with(&topics, 1, |delivery| {
        attempt = delivery.attempt();
        Verdict::Ack
    })?;
    assert_eq!((attempt, router.counters().deferred, router.counters().failures), (1, 1000, 0));
    Ok(())
}

#[test]
fn a_table_that_is_full_holds_new_records_back_and_says_so() -> Outcome {
    let (_, topics) = orders()?;
    send(&topics, 0..4);
    let mut router = Router::<2>::with_places("orders", "billing").with_on_failure(OnFailure::SkipAside);
    router.assign(&[0]);
    let take = |router: &mut Router<2>| {
        let (records, polled) = router.poll(&topics, 10).unwrap();
        assert!(router.counters().is_conserved());
        (records, polled.held)
    };
    let (out, held) = take(&mut router);
    assert_eq!((out.len(), held), (2, Some(DlqError::TableFull { limit: 2 })));
    assert!(held.unwrap().to_string().contains("larger table"));
    assert_eq!(take(&mut router).0.len(), 0);
    assert_eq!(router.settle(&topics, out[1].receipt, Verdict::Ack)?, Settled::Acked);
    let (more, held) = take(&mut router);
    assert_eq!((more.len(), more[0].message.offset().value(), held.is_some()), (1, 2, true));
    assert_eq!(router.settle(&topics, out[0].receipt, Verdict::nack("x"))?, Settled::Retry { attempts: 1 });
    assert_eq!(router.carry(0, Offset::new(3), 1), Err(DlqError::TableFull { limit: 2 }));
    let (again, held) = take(&mut router);
    assert_eq!((again[0].message.offset().value(), again[0].attempt, held.is_some()), (0, 2, true));
    for record in [&more[0], &again[0]] {
        router.settle(&topics, record.receipt, Verdict::Ack)?;
    }
    let (last, held) = take(&mut router);
    assert_eq!((last.len(), held), (1, None));
    Ok(())
}

#[test]
fn a_receipt_settles_its_own_delivery_once() -> Outcome {
    let (_, topics) = orders()?;
    send(&topics, [1]);
    let mut router = router();
    let take = |router: &mut Router| -> Delivered { router.poll(&topics, 10).unwrap().0.remove(0) };
    let first = take(&mut router);
    assert!(router.poll(&topics, 10)?.0.is_empty(), "it is out");
    router.settle(&topics, first.receipt, Verdict::nack("x"))?;
    says(router.settle(&topics, first.receipt, Verdict::Ack), "Stale", "last delivery");
    let second = take(&mut router);
    assert_eq!((second.attempt, second.receipt.partition(), second.receipt.offset().value()), (2, 0, 0));
    says(router.settle(&topics, first.receipt, Verdict::Ack), "Stale", "last delivery");
    assert_eq!(router.counters().acked, 0);
    router.settle(&topics, second.receipt, Verdict::Ack)?;
    says(router.settle(&topics, second.receipt, Verdict::nack("late")), "Stale", "last delivery");
    assert_eq!((router.counters().acked, router.counters().failures), (1, 1));
    Ok(())
}

#[test]
fn a_visit_that_panics_has_failed() -> Outcome {
    let (_, topics) = orders()?;
    send(&topics, [1, 2]);
    for on_failure in [OnFailure::Block, OnFailure::SkipAside] {
        let mut router = router().with_limit(3).with_on_failure(on_failure);
        for attempt in 1..=3 {
            let died = catch_unwind(AssertUnwindSafe(|| {
                router.poll_with(&topics, 1, |delivery| {
                    assert_eq!((delivery.message().payload()[0], delivery.attempt()), (1, attempt));
                    std::panic::resume_unwind(Box::new("it kills its consumer"))
                })
            }));
            assert!(died.is_err());
            assert!(router.counters().is_conserved(), "{:?}", router.counters());
            assert_eq!(router.counters().pending, 1);
        }
        let (seen, polled) = poll(&mut router, &topics, |_| Verdict::nack("x"));
        assert_eq!((seen, polled.dead), (vec![2], 1));
        let letter = letters(&topics).pop().unwrap();
        assert_eq!(letter.view().reason(), "its consumer ended without an answer");
        assert_eq!((letter.view().attempts(), letter.view().payload()), (3, &[1][..]));
        drop(router);
        // Again, with what is left.
        send(&topics, [1, 2]);
        let mut next = self::router();
        assert_eq!(poll(&mut next, &topics, |_| Verdict::Ack).0, [2, 1, 2]);
        send(&topics, [1, 2]);
    }
    Ok(())
}

#[test]
fn counts_can_be_carried_over_a_restart() -> Outcome {
    let (_, topics) = orders()?;
    send(&topics, [1, 2]);
    // A record that kills its consumer each time, with its count kept by somebody who lives.
    let mut kept = 0;
    for life in 0..5 {
        let mut router = router();
        if kept > 0 {
            router.carry(0, Offset::new(0), kept)?;
        }
        let (out, _) = router.poll(&topics, 1)?;
        assert_eq!((out[0].message.payload()[0], out[0].attempt), (1, life + 1));
        let failing: Vec<_> = router.failing().collect();
        assert_eq!((failing.len(), failing[0].state, failing[0].attempts), (1, FailingState::Out, life));
        kept = failing[0].attempts + 1;
    }
    let mut router = router();
    router.carry(0, Offset::new(0), kept)?;
    assert_eq!(router.counters().pending, 0, "it has not come yet");
    assert_eq!(poll(&mut router, &topics, |_| Verdict::Ack).0, [2]);
    assert_eq!((payloads(&topics), letters(&topics)[0].view().attempts()), (vec![1], 5));
    assert_eq!(router.carry(0, Offset::new(1), 1), Err(DlqError::Stale));
    Ok(())
}

// ------------------------------------------------------------------------------------------------ a full queue

#[test]
fn a_full_queue_parks_and_loses_nothing() -> Outcome {
    let (_, topics) = manager();
    topics.create("orders", ONE.with_slots(8))?;
    topics.create("orders.dlq", DEAD.with_slots(2))?;
    send(&topics, 0..8);
    let mut router = router().with_on_failure(OnFailure::SkipAside);
    let (seen, polled) = poll(&mut router, &topics, |payload| match payload {
        0..=3 => Verdict::reject("no"),
        _ => Verdict::Ack,
    });
    assert_eq!((seen.len(), polled.dead, polled.held), (8, 2, Some(DlqError::DlqFull { partition: 0 })));
    assert!(polled.held.unwrap().to_string().contains("redrive or purge"));
    assert_eq!((router.counters().parked, router.counters().acked), (2, 4));
    assert_eq!(router.floor(0), Some(Offset::new(2)), "the source holds what is parked");
    send(&topics, [8, 9]);
    assert_eq!(Producer::new("orders").send(&topics, &[10]), Err(SendError::Full { partition: 0 }));
    assert_eq!(poll(&mut router, &topics, |_| Verdict::Ack).0, [8, 9], "others go on");

    // Nothing is lost when the router goes away meanwhile.
    drop(router);
    let mut router = self::router();
    let (seen, polled) = poll(&mut router, &topics, |payload| match payload {
        0..=3 => Verdict::reject("no"),
        _ => Verdict::Ack,
    });
    assert_eq!((seen, polled.held.is_some()), (vec![2], true), "strict order: it stops at what is parked");
    assert_eq!(poll(&mut router, &topics, |_| Verdict::Ack).0, []);
    queue().purge_before(&topics, LetterAt::new(0, Offset::new(1)))?;
    let (seen, polled) = poll(&mut router, &topics, |_| Verdict::reject("no"));
    assert_eq!((seen, polled.dead, polled.held), (vec![3], 1, Some(DlqError::DlqFull { partition: 0 })));
    assert_eq!(payloads(&topics), [1, 2]);
    assert!(router.give_up(&topics, 0, Offset::new(3))?);
    assert!(!router.give_up(&topics, 0, Offset::new(3))?);
    assert_eq!(poll(&mut router, &topics, |_| Verdict::Ack).0, [4, 5, 6, 7, 8, 9]);
    assert_eq!((router.counters().parked, router.counters().given_up), (0, 1));
    Ok(())
}

#[test]
fn a_queue_that_goes_away_parks_too() -> Outcome {
    let (_, topics) = orders()?;
    send(&topics, 0..3);
    let mut router = router().with_on_failure(OnFailure::SkipAside);
    let _ = poll(&mut router, &topics, fails(&[]));
    topics.delete("orders.dlq")?;
    send(&topics, 3..6);
    let (seen, polled) =
        poll(&mut router, &topics, |payload| if payload == 4 { Verdict::reject("") } else { Verdict::Ack });
    assert_eq!((seen, polled.held), (vec![3, 4, 5], Some(DlqError::Dlq(SendError::Topic(TopicError::Unknown)))));
    topics.create("orders.dlq", ONE)?;
    let (_, polled) = poll(&mut router, &topics, fails(&[]));
    assert!(matches!(polled.held, Some(DlqError::Dlq(_))), "not one that takes dead letters: {polled:?}");
    topics.delete("orders.dlq")?;
    topics.create("orders.dlq", DEAD)?;
    let (_, polled) = poll(&mut router, &topics, fails(&[]));
    assert_eq!((polled.dead, polled.held, payloads(&topics)), (1, None, vec![4]));
    // A record that the queue can never take is parked alone.
    topics.delete("orders.dlq")?;
    topics.create("orders.dlq", DEAD.with_capacity(512))?;
    Producer::new("orders").send(&topics, &[9; 200])?;
    send(&topics, [7, 8]);
    let (seen, polled) =
        poll(&mut router, &topics, |payload| if payload > 7 { Verdict::reject("") } else { Verdict::Ack });
    assert_eq!((seen, polled.dead), (vec![9, 7, 8], 1));
    says(polled.held.map_or(Ok(()), Err), "Dlq(TooLarge", "twice its size");
    // The source itself.
    topics.delete("orders")?;
    says(router.poll_with(&topics, 1, |_| Verdict::Ack), "Topic(Deleted)", "create it again");
    says(router.poll_with(&topics, 1, |_| Verdict::Ack), "Topic(Unknown)", "create it first");
    topics.create("orders", ONE)?;
    send(&topics, [7]);
    assert_eq!(poll(&mut router, &topics, |_| Verdict::Ack).0, [7]);
    Ok(())
}

// ------------------------------------------------------------------------------------------------ restarts

#[test]
fn a_restart_finds_the_letters_that_were_written_before_their_records_were_released() -> Outcome {
    let (_, topics) = orders()?;
    // More letters than are noted at a time, behind a record that holds the place.
    send(&topics, 0..40);
    let dead: Vec<u8> = (0..40).filter(|n| n % 2 == 1).collect();
    let mut first = router().with_on_failure(OnFailure::SkipAside);
    let _ = poll(&mut first, &topics, |payload| match payload {
        0 => Verdict::nack("it holds the place"),
        odd if odd % 2 == 1 => Verdict::reject("odd"),
        _ => Verdict::Ack,
    });
    assert_eq!(first.counters().dead, 20);
    drop(first);
    for on_failure in [OnFailure::SkipAside, OnFailure::Block] {
        let mut router = router().with_on_failure(on_failure);
        let seen = poll(&mut router, &topics, fails(&[0])).0;
        if on_failure == OnFailure::Block {
            assert_eq!(seen, [0]);
        } else {
            assert!(seen.iter().copied().eq((0..40).step_by(2)), "{seen:?}");
            assert_eq!((router.counters().recalled, router.counters().dead), (20, 20));
        }
        assert_eq!(payloads(&topics), dead, "each once");
    }
    let mut router = router();
    assert_eq!(poll(&mut router, &topics, fails(&[])).0.len(), 20);
    assert_eq!((router.counters().recalled, router.floor(0)), (20, Some(Offset::new(40))));
    assert_eq!(payloads(&topics), dead, "each once");
    Ok(())
}

#[test]
fn letters_of_others_are_not_taken_for_ones_own() -> Outcome {
    let (_, topics) = manager();
    let plain = ONE.with_timestamps(false);
    topics.create("orders", plain.with_partitions(2))?;
    topics.create("orders.dlq", DEAD)?;
    let fill = |topics: &Clocked| Producer::new("orders").send_batch(topics, [[1], [1]].iter()).unwrap();
    fill(&topics);
    let run = |group: &str, partition: u32| {
        let mut router = Router::with_places("orders", group);
        router.assign(&[partition]);
        poll(&mut router, &topics, |_| Verdict::reject("")).0
    };
    // The same bytes at the same offset: another group, another partition.
    assert_eq!(run("billing", 0), [1]);
    assert_eq!(run("shipping", 0), [1]);
    assert_eq!(run("billing", 1), [1]);
    assert_eq!(letters(&topics).len(), 3);
    // And a topic made anew, under the same name.
    topics.delete("orders")?;
    topics.create("orders", plain.with_partitions(2))?;
    fill(&topics);
    assert_eq!(run("billing", 0), [1]);
    assert_eq!(letters(&topics).len(), 4);
    Ok(())
}

#[test]
fn a_partition_that_is_given_up_goes_to_the_next_member() -> Outcome {
    let (_, topics) = manager();
    topics.create("orders", ONE.with_partitions(2))?;
    topics.create("orders.dlq", DEAD)?;
    Producer::new("orders").send_batch(&topics, [b"a", b"b", b"c", b"d"])?;
    let mut one = Router::with_places("orders", "billing").with_on_failure(OnFailure::SkipAside);
    let mut two = Router::with_places("orders", "billing");
    one.assign(&[0, 1]);
    let _ = poll(&mut one, &topics, fails(b"ab"));
    assert_eq!((one.counters().consumed, one.counters().pending), (4, 2));
    two.assign(&[1]);
    let claimed = two.poll_with(&topics, 1, |_| Verdict::Ack);
    assert_eq!(claimed, Err(DlqError::Source(PollError::Claimed { partition: 1 })));
    one.assign(&[0]);
    assert_eq!((one.counters().consumed, one.counters().pending), (3, 1));
    assert!(one.counters().is_conserved());
    assert_eq!(poll(&mut two, &topics, fails(&[])).0, *b"bd", "from the first that is not settled on");
    assert_eq!(poll(&mut one, &topics, fails(&[])).0, *b"a");
    Ok(())
}

// ------------------------------------------------------------------------------------------------ refusals

#[test]
fn nobody_is_made_to_take_dead_letters() -> Outcome {
    let (_, topics) = manager();
    topics.create("orders", ONE)?;
    let poll = |topic: &'static str, group: &str| {
        let mut router = DlqRouter::new(topic, group);
        router.assign(&[0]);
        router.poll_with(&topics, 1, |_| Verdict::Ack)
    };
    says(poll("orders", "billing"), "Topic(Unknown)", "create it first");
    topics.create("orders.dlq", ONE)?;
    says(poll("orders", "billing"), "NotMarked", "with_dead_letters");
    says(queue().count(&topics), "NotMarked", "with_dead_letters");
    says(queue().purge_all(&topics), "NotMarked", "with_dead_letters");
    topics.delete("orders.dlq")?;
    topics.create("orders.dlq", DEAD)?;
    topics.create("orders.dlq.dlq", DEAD)?;
    says(poll("orders.dlq", "billing"), "OfDeadLetters", "plain consumer");
    topics.create("news", ONE.with_full(FullPolicy::DropOldest))?;
    topics.create("news.dlq", DEAD)?;
    says(poll("news", "billing"), "Overwrites", "another full policy");
    says(poll("orders", ".billing"), "Group", "not beginning with a dot");
    says(poll("a/b", "billing"), "Name", "A-Z a-z");
    let long = Box::leak("n".repeat(125).into_boxed_str());
    let refused = DlqError::Name(NameError::Length { len: 125, max: 124 });
    assert_eq!(poll(long, "billing"), Err(refused));
    assert_eq!(DeadLetters::of(long).unwrap_err(), refused);
    for full in [FullPolicy::DropNewest, FullPolicy::DropOldest, FullPolicy::Wait { timeout: Ticks::ZERO }] {
        says(topics.create("x.dlq", DEAD.with_full(full)), "DeadLetters", "choose FullPolicy::Reject");
    }
    let mut crowd = DlqRouter::<_, Clocked, 1, 1>::with_places("orders", "billing");
    crowd.assign(&[0, 1]);
    let wanted = PollError::Assignment { wanted: 2, max: 1 };
    assert_eq!(crowd.poll_with(&topics, 1, |_| Verdict::Ack), Err(DlqError::Source(wanted)));
    crowd.assign(&[1]);
    let missing = PollError::NoSuchPartition { partition: 1, partitions: 1 };
    assert_eq!(crowd.poll_with(&topics, 1, |_| Verdict::Ack), Err(DlqError::Source(missing)));
    Ok(())
}

#[test]
fn nobody_elses_reading_gives_letters_up() -> Outcome {
    let (_, topics) = orders()?;
    let mut router = router();
    assert!(router.poll_with(&topics, 1, |_| Verdict::Ack).is_ok());
    let mut reader = Consumer::new("orders.dlq", "spectator");
    reader.assign(&[0]);
    for round in 0..200_u8 {
        send(&topics, [round % 64]);
        let polled = router.poll_with(&topics, 1, |_| Verdict::reject(""))?;
        assert_eq!(polled.held.is_some(), round >= 64);
        if round >= 64 {
            assert!(router.give_up(&topics, 0, Offset::new(round.into()))?);
        }
        reader.poll(&topics, 10)?;
    }
    assert!(payloads(&topics).into_iter().eq(0..64));
    Ok(())
}

// ------------------------------------------------------------------------------------------------ the queue

/// A queue of letters with these payloads.
fn filled(payloads: impl IntoIterator<Item = u8>) -> Result<(Arc<ManualClock>, Clocked, Router), TopicError> {
    let (clock, topics) = orders()?;
    let mut router = router().with_on_failure(OnFailure::SkipAside);
    for payload in payloads {
        let key = [payload % 4];
        Producer::new("orders").send_keyed(&topics, &key, &[payload]).unwrap();
        clock.advance(Ticks::from_millis(10));
        let _ =
            poll(
                &mut router,
                &topics,
                |payload| {
                    if payload % 3 == 0 { Verdict::undecodable("x") } else { Verdict::reject("y") }
                },
            );
    }
    Ok((clock, topics, router))
}

#[test]
fn letters_are_browsed_counted_and_purged() -> Outcome {
    let (_, topics, _router) = filled(0..20)?;
    let causes = queue().causes(&topics)?;
    assert_eq!((causes.of(Cause::Undecodable), causes.of(Cause::Rejected), causes.letters()), (7, 13, 20));
    // In pages, without taking anything out.
    let (mut at, mut seen) = (Some(LetterAt::START), Vec::new());
    while let Some(from) = at {
        let browsed = queue().browse_with(&topics, from, 6, |letter| seen.push(letter.payload()[0]))?;
        assert!(browsed.letters <= 6);
        at = browsed.next;
    }
    assert!(seen.iter().copied().eq(0..20));
    assert_eq!(queue().purge_before(&topics, LetterAt::new(0, Offset::new(5)))?, 5);
    assert_eq!(queue().purge_before(&topics, LetterAt::new(0, Offset::new(3)))?, 0);
    assert!(payloads(&topics).into_iter().eq(5..20));
    // Number n became a letter at 10 * (n + 1).
    assert_eq!(queue().purge_older_than(&topics, Ticks::from_millis(101))?, 5);
    assert!(payloads(&topics).into_iter().eq(10..20));
    assert_eq!(queue().purge_where(&topics, |letter| letter.cause() == Cause::Undecodable)?, 3, "12, 15 and 18");
    assert_eq!(payloads(&topics), [19, 10, 11, 13, 14, 16, 17], "what stayed before others that went is at the end");
    assert_eq!(queue().purge_where(&topics, |_| false)?, 0);
    assert_eq!(
        queue().purge_before(&topics, LetterAt::new(1, Offset::new(5))).unwrap_err(),
        DlqError::Letters(PollError::NoSuchPartition { partition: 1, partitions: 1 })
    );
    assert_eq!((queue().purge_all(&topics)?, queue().count(&topics)?), (7, 0));
    assert_eq!(queue().browse(&topics, LetterAt::START, 9)?.0.len(), 0);
    Ok(())
}

#[test]
fn redriven_letters_go_where_they_came_from() -> Outcome {
    let (clock, topics, mut router) = filled(0..8)?;
    let options = RedriveOptions::new();
    let before = source(&topics);
    let one = |letter: &DeadLetter<'_>| letter.offset().value() == 5 && letter.partition() == 0;
    let progress = queue().redrive::<Clocked, _>(options, one).step(&topics, clock_now(&clock))?;
    assert_eq!((progress.moved, progress.kept, progress.state), (1, 5, RedriveState::Done));
    assert_eq!(payloads(&topics), [6, 7, 0, 1, 2, 3, 4], "those that stay are all there");
    let some = |letter: &DeadLetter<'_>| letter.cause() == Cause::Undecodable;
    let progress = queue().redrive::<Clocked, _>(options, some).step(&topics, clock_now(&clock))?;
    assert_eq!((progress.moved, payloads(&topics)), (3, vec![4, 7, 1, 2]));
    let progress = queue().redrive_all::<Clocked>(options.with_keep_attempts(true)).step(&topics, clock_now(&clock))?;
    assert_eq!((progress.moved, progress.kept, payloads(&topics)), (4, 0, vec![]));
    let after = source(&topics);
    let sent: Vec<_> = after[8..].iter().map(|message| message.payload()[0]).collect();
    assert_eq!(sent, [5, 6, 0, 3, 4, 7, 1, 2]);
    for (at, message) in after[8..].iter().enumerate() {
        let was = &before[usize::from(message.payload()[0])];
        assert_eq!((message.key(), message.timestamp()), (was.key(), was.timestamp()));
        let mark = Redriven::of(&message.view()).unwrap();
        assert_eq!((mark.group, mark.partition, mark.offset), ("billing", 0, was.offset()));
        assert_eq!((mark.redrives, mark.attempts), (1, u32::from(at >= 4)));
    }
    // A count that was kept goes on; one that was not begins anew.
    let mut attempts = Vec::new();
    let _ = router.poll_with(&topics, 100, |delivery| {
        assert_eq!(delivery.redriven().map(|mark| mark.redrives), Some(1));
        attempts.push(delivery.attempt());
        Verdict::Ack
    })?;
    assert_eq!(attempts, [1, 1, 1, 1, 2, 2, 2, 2]);
    assert!(router.counters().is_conserved());
    Ok(())
}

#[test]
fn a_kept_count_makes_a_letter_of_the_next_failure() -> Outcome {
    let (clock, topics) = orders()?;
    send(&topics, [1]);
    let mut router = router().with_limit(3);
    for _ in 0..3 {
        let _ = poll(&mut router, &topics, fails(&[1]));
    }
    for (redrives, attempts) in [(1, 4), (2, 5)] {
        let mut redrive = queue().redrive_all::<Clocked>(RedriveOptions::new().with_keep_attempts(true));
        assert_eq!(redrive.step(&topics, clock_now(&clock))?.moved, 1);
        let (seen, polled) = poll(&mut router, &topics, fails(&[1]));
        assert_eq!((seen, polled.dead), (vec![1], 1));
        let letter = &letters(&topics)[0];
        assert_eq!((letter.view().redrives(), letter.view().attempts()), (redrives, attempts));
    }
    Ok(())
}

#[test]
fn a_record_redriven_for_one_group_is_not_processed_twice_by_another() -> Outcome {
    let (clock, topics) = orders()?;
    send(&topics, [1]);
    let mut billing = router();
    let mut shipping = Router::with_places("orders", "shipping");
    shipping.assign(&[0]);
    assert_eq!(poll(&mut shipping, &topics, |_| Verdict::Ack).0, [1]);
    let _ = poll(&mut billing, &topics, |_| Verdict::reject("no"));
    assert_eq!(queue().redrive_all::<Clocked>(RedriveOptions::new()).step(&topics, clock_now(&clock))?.moved, 1);
    assert_eq!(poll(&mut shipping, &topics, |_| Verdict::Ack).0, []);
    assert_eq!((shipping.counters().foreign, shipping.counters().acked), (1, 2));
    assert_eq!(shipping.floor(0), Some(Offset::new(2)));
    assert_eq!(poll(&mut billing, &topics, |_| Verdict::Ack).0, [1]);
    Ok(())
}

#[test]
fn a_redrive_keeps_to_its_rate() -> Outcome {
    let (clock, topics, _router) = filled(0..40)?;
    topics.delete("orders")?;
    topics.create("orders", ONE)?;
    let start = clock_now(&clock);
    let mut redrive = queue().redrive_all::<Clocked>(RedriveOptions::new().with_rate(50));
    let mut rng = Rng::new(7);
    let mut moments = vec![];
    loop {
        let now = clock_now(&clock);
        let progress = redrive.step(&topics, now)?;
        let since = now.as_millis() - start.as_millis();
        assert_eq!(progress.moved, (since * 50 / 1000).min(40), "at {since} ms");
        moments.push(progress.moved);
        if progress.state == RedriveState::Done {
            break;
        }
        assert_eq!(progress.state, RedriveState::Running);
        clock.advance(Ticks::from_millis(rng.within(0, 60)));
    }
    assert_eq!(moments.first(), Some(&0));
    assert_eq!(redrive.progress().moved, 40);
    // Who sleeps for an hour gets a second's worth.
    let (clock, topics, _router) = filled(0..40)?;
    let mut redrive = queue().redrive_all::<Clocked>(RedriveOptions::new().with_rate(10));
    assert_eq!(redrive.step(&topics, clock_now(&clock))?.moved, 0);
    clock.advance(Ticks::from_millis(3_600_000));
    assert_eq!(redrive.step(&topics, clock_now(&clock))?.moved, 10);
    // A clock that goes back earns nothing, twice neither.
    assert_eq!(redrive.step(&topics, Ticks::ZERO)?.moved, 10);
    assert_eq!(redrive.step(&topics, clock_now(&clock))?.moved, 10);
    Ok(())
}

#[test]
fn a_full_source_stops_a_redrive_and_nothing_is_lost() -> Outcome {
    for full in [FullPolicy::Reject, FullPolicy::DropNewest, FullPolicy::Wait { timeout: Ticks::ZERO }] {
        let (_, topics, router) = filled(0..20)?;
        drop(router);
        topics.delete("orders")?;
        topics.create("orders", ONE.with_slots(8).with_full(full))?;
        let mut router = self::router();
        let _ = poll(&mut router, &topics, fails(&[]));
        let mut redrive = queue().redrive_all::<Clocked>(RedriveOptions::new());
        let mut seen = Vec::new();
        for moved in [8, 16, 20] {
            let progress = redrive.step(&topics, Ticks::ZERO)?;
            assert_eq!(progress.moved, moved, "{full:?}");
            let full = RedriveState::SourceFull { partition: 0 };
            assert_eq!(progress.state, if moved < 20 { full } else { RedriveState::Done });
            assert_eq!(queue().count(&topics)?, 20 - moved);
            let again = redrive.step(&topics, Ticks::ZERO)?;
            assert_eq!(again, progress);
            seen.extend(poll(&mut router, &topics, fails(&[])).0);
        }
        assert!(seen.iter().copied().eq(0..20), "{full:?}: {seen:?}");
    }
    Ok(())
}

#[test]
fn a_full_queue_can_still_be_redriven_and_says_what_it_cannot_do() -> Outcome {
    let (clock, topics, _router) = filled(0..64)?;
    let some = |payload: u8| move |letter: &DeadLetter<'_>| letter.payload()[0] == payload;
    // There is no room for those before it, which stay.
    let mut redrive = queue().redrive::<Clocked, _>(RedriveOptions::new(), some(5));
    let progress = redrive.step(&topics, clock_now(&clock))?;
    assert_eq!((progress.moved, progress.state), (0, RedriveState::DlqFull { partition: 0 }));
    assert!(payloads(&topics).into_iter().eq(0..64));
    // One tool at a time.
    let claimed = Err(DlqError::Letters(PollError::Claimed { partition: 0 }));
    assert_eq!(queue().purge_all(&topics), claimed);
    drop(redrive);
    assert_eq!(queue().purge_where(&topics, some(5)), Err(DlqError::DlqFull { partition: 0 }));
    assert!(payloads(&topics).into_iter().eq(0..64), "nothing is lost");
    let first = queue().redrive::<Clocked, _>(RedriveOptions::new(), some(0)).step(&topics, clock_now(&clock))?;
    assert_eq!((first.moved, first.state), (1, RedriveState::Done));
    // With room for one it goes on: each that is written once more makes room for the next.
    let progress = queue().redrive::<Clocked, _>(RedriveOptions::new(), some(5)).step(&topics, clock_now(&clock))?;
    assert_eq!((progress.moved, progress.kept, progress.state), (1, 4, RedriveState::Done));
    assert!(payloads(&topics).into_iter().eq((6..64).chain(1..5)));
    Ok(())
}

/// Puts a letter's bytes into the queue once more, as if it had never been taken out.
fn again(topics: &Clocked, bytes: &[u8], key: &[u8], timestamp: Option<Ticks>) {
    let record = Record::new(bytes).with_key(key).with_timestamp(timestamp.unwrap());
    Producer::new("orders.dlq").send_record(topics, record).unwrap();
}

#[test]
fn what_an_interrupted_tool_leaves_is_recognised() -> Outcome {
    let raw = |topics: &Clocked| {
        let mut reader = Consumer::new("orders.dlq", "spectator");
        reader.assign(&[0]);
        reader.poll(topics, 100).unwrap()
    };
    // It died between writing a letter that stays once more and giving the first one up.
    let (clock, topics, _router) = filled(0..6)?;
    let first = &raw(&topics)[0];
    again(&topics, first.payload(), first.key().unwrap(), first.timestamp());
    assert_eq!(payloads(&topics), [0, 1, 2, 3, 4, 5, 0]);
    let progress = queue().redrive::<Clocked, _>(RedriveOptions::new(), |_| false).step(&topics, clock_now(&clock))?;
    assert_eq!((progress.moved, payloads(&topics)), (0, vec![1, 2, 3, 4, 5, 0]));
    // One that only looks like it is not.
    let first = &raw(&topics)[1];
    again(&topics, &[first.payload(), b"!"].concat(), first.key().unwrap(), first.timestamp());
    assert_eq!(queue().purge_where(&topics, |_| false)?, 0);
    assert_eq!(payloads(&topics), [1, 2, 3, 4, 5, 0, 1]);

    // It died between sending a letter back and taking it out: it goes twice, and both say so.
    let (clock, topics, _router) = filled(0..2)?;
    let letter = raw(&topics).remove(0);
    let now = clock_now(&clock);
    assert_eq!(queue().redrive_all::<Clocked>(RedriveOptions::new()).step(&topics, now)?.moved, 2);
    again(&topics, letter.payload(), letter.key().unwrap(), letter.timestamp());
    assert_eq!(queue().redrive_all::<Clocked>(RedriveOptions::new()).step(&topics, now)?.moved, 1);
    let sent = source(&topics);
    let marks: Vec<_> = sent[2..].iter().map(|message| message.header(REDRIVEN).unwrap()).collect();
    assert_eq!(marks[0], marks[2]);
    assert_ne!(marks[0], marks[1]);
    Ok(())
}

#[test]
fn routers_and_tools_of_many_threads_keep_every_record() -> Outcome {
    let topics = TopicManager::new();
    let patient = FullPolicy::Wait { timeout: Ticks::from_millis(60_000) };
    topics.create("orders", ONE.with_partitions(4).with_full(patient))?;
    // Room for all that die: with a full queue and a full source, a redrive and a router would wait for each other.
    let total = 4000 * common::scale();
    topics.create("orders.dlq", DEAD.with_partitions(2).with_slots_and_stride(u32::try_from(total)?, 256))?;
    let done = AtomicU64::new(0);
    let acks: Vec<_> = (0..total).map(|_| AtomicU32::new(0)).collect();
    let relaxed = Ordering::Relaxed;
    common::crew(|crew| {
        for member in 0..2_u32 {
            let (topics, done, acks) = (&topics, &done, &acks);
            crew.spawn(move || {
                let mut router = DlqRouter::new("orders", "billing").with_limit(2);
                if member == 1 {
                    router = router.with_on_failure(OnFailure::SkipAside);
                }
                router.assign(&[member, member + 2]);
                while done.load(relaxed) < total {
                    let polled = router.poll_with(topics, 64, |delivery| {
                        let id = u64::from_le_bytes(delivery.message().payload().try_into().unwrap());
                        if id % 5 == 0 && delivery.redriven().is_none_or(|mark| mark.redrives < 2) {
                            return Verdict::nack("not yet");
                        }
                        acks[usize::try_from(id).unwrap()].fetch_add(1, relaxed);
                        done.fetch_add(1, relaxed);
                        Verdict::Ack
                    });
                    assert!(polled.is_ok(), "{polled:?}");
                    assert!(router.counters().is_conserved());
                    std::thread::yield_now();
                }
            });
        }
        crew.spawn(|| {
            while done.load(relaxed) < total {
                let mut redrive = queue().redrive_all::<TopicManager>(RedriveOptions::new());
                match redrive.step(&topics, Ticks::ZERO) {
                    Ok(_) | Err(DlqError::Letters(PollError::Claimed { .. })) => {}
                    Err(error) => panic!("{error}"),
                }
                assert!(queue().causes(&topics).is_ok());
                std::thread::yield_now();
            }
        });
        let mut producer = Producer::new("orders");
        for id in 0..total {
            producer.send(&topics, &id.to_le_bytes()).unwrap();
        }
    });
    assert!(acks.iter().all(|acks| acks.load(relaxed) == 1), "each record once");
    assert_eq!(queue().count(&topics)?, 0);
    Ok(())
}

/// Counts how often a task is woken.
#[derive(Default)]
struct Woken(AtomicU32);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Letters and records that are sent back wake the tasks that wait for them, which nothing else does.
#[test]
fn who_waits_is_woken() -> Outcome {
    let (clock, topics) = orders()?;
    let mut router = router();
    let mut consumers = ["orders", "orders.dlq"].map(|topic| Consumer::<_, Clocked>::new(topic, "spectator"));
    send(&topics, [1]);
    for (number, consumer) in consumers.iter_mut().enumerate() {
        consumer.assign(&[0]);
        assert_eq!(consumer.poll(&topics, 10)?.len(), 1 - number);
    }
    let [source, dead] = &mut consumers;
    let woken = [Arc::new(Woken::default()), Arc::new(Woken::default())];
    let wakers = [Waker::from(Arc::clone(&woken[0])), Waker::from(Arc::clone(&woken[1]))];
    let wakes = || [0, 1].map(|at: usize| woken[at].0.load(Ordering::Relaxed));
    let (mut source, mut dead) = (pin!(source.ready(&topics)), pin!(dead.ready(&topics)));
    let mut looks = |ready: [bool; 2]| {
        assert_eq!(source.as_mut().poll(&mut Context::from_waker(&wakers[0])).is_ready(), ready[0]);
        assert_eq!(dead.as_mut().poll(&mut Context::from_waker(&wakers[1])).is_ready(), ready[1]);
    };
    looks([false, false]);
    assert_eq!(poll(&mut router, &topics, |_| Verdict::reject("")).1.dead, 1);
    assert_eq!(wakes(), [0, 1]);
    looks([false, true]);
    assert_eq!(queue().redrive_all::<Clocked>(RedriveOptions::new()).step(&topics, clock_now(&clock))?.moved, 1);
    assert_eq!(wakes(), [1, 1]);
    looks([true, true]);
    Ok(())
}

// ------------------------------------------------------------------------------------------------ hostile letters

/// Makes a letter's checksum hold, whatever is in it.
fn seal(bytes: &mut [u8]) {
    let lens = [bytes[10], bytes[11], bytes[12]].map(usize::from);
    let mut sealed = bytes[..72].to_vec();
    let mut at = 76;
    for len in lens {
        let text = bytes.get(at..(at + len).min(bytes.len())).unwrap_or_default();
        at += len;
        sealed.resize(sealed.len().next_multiple_of(4), 0);
        sealed.extend(text);
    }
    sealed.resize(sealed.len().next_multiple_of(4), 0);
    let crc = common::image::crc32c(&sealed);
    bytes[72..76].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn a_letter_with_other_content_does_not_make_a_record_dead() -> Outcome {
    let (_, topics) = orders()?;
    send(&topics, [1]);
    let _ = poll(&mut router(), &topics, |_| Verdict::reject(""));
    send(&topics, [2]);
    // The letter of the first record, made out to be that of the second.
    let mut reader = Consumer::new("orders.dlq", "spectator");
    reader.assign(&[0]);
    let mut forged = reader.poll(&topics, 1)?[0].payload().to_vec();
    forged[24..32].copy_from_slice(&1_u64.to_le_bytes());
    seal(&mut forged);
    Producer::new("orders.dlq").send(&topics, &forged)?;
    assert_eq!(letters(&topics)[1].view().source_offset(), Offset::new(1), "it passes for a letter");
    assert_eq!(poll(&mut router(), &topics, |_| Verdict::Ack).0, [2]);
    Ok(())
}

#[test]
fn any_bytes_can_lie_in_a_queue() -> Outcome {
    let (clock, topics, mut router) = filled(0..4)?;
    let mut reader = Consumer::new("orders.dlq", "spectator");
    reader.assign(&[0]);
    let samples: Vec<Vec<u8>> = reader.poll(&topics, 100)?.iter().map(|letter| letter.payload().to_vec()).collect();
    reader.close(&topics)?;
    let mut rng = Rng::new(common::replay().unwrap_or(0x00d1_e77e_5500_0000));
    let (mut kinds, mut passed) = (std::collections::BTreeSet::new(), 0);
    for _ in 0..300 * common::scale() {
        let mut hostile: u64 = 0;
        for _ in 0..rng.within(1, 20) {
            let mut bytes = rng.pick(&samples).clone();
            match rng.below(4) {
                0 => bytes.truncate(rng.size(bytes.len())),
                1 => bytes = common::payload(rng.next(), rng.size(300)),
                _ => {
                    for _ in 0..rng.within(1, 3) {
                        let at = rng.size(bytes.len());
                        bytes[at] = u8::try_from(rng.below(256)).unwrap();
                    }
                }
            }
            if rng.one_in(2) && bytes.len() > 76 {
                seal(&mut bytes);
            }
            let message = MessageRef::parse(0, Offset::new(0), 0, &bytes).unwrap();
            if let Err(error) = DeadLetter::parse(message) {
                assert!(!error.to_string().is_empty());
                kinds.insert(format!("{error:?}").chars().take_while(|c| c.is_alphanumeric()).collect::<String>());
            }
            if Producer::new("orders.dlq").send(&topics, &bytes).is_ok() {
                hostile += 1;
            }
        }
        let browsed = queue().browse_with(&topics, LetterAt::START, usize::MAX, |letter| {
            assert_eq!(letter.source_topic(), "orders");
            let _ = (letter.reason(), letter.group(), letter.payload(), format!("{letter:?}"));
        })?;
        let count = queue().count(&topics)?;
        assert_eq!(count, (browsed.letters + browsed.malformed) as u64);
        passed += hostile;
        // Whatever they are, redriving and purging end, and lose no record that is none of their business.
        let progress = queue().redrive_all::<Clocked>(RedriveOptions::new()).step(&topics, clock_now(&clock))?;
        assert!(progress.moved <= browsed.letters as u64);
        if progress.state == RedriveState::Done {
            assert_eq!(queue().count(&topics)?, count - progress.moved);
        }
        let polled = router.poll_with(&topics, 100, |_| Verdict::Ack)?;
        assert!(polled.held.is_none());
        // A router that comes now looks through all of it.
        drop(std::mem::replace(&mut router, self::router()));
        send(&topics, [1]);
        assert_eq!(poll(&mut router, &topics, |_| Verdict::Ack).0, [1]);
        queue().purge_all(&topics)?;
        assert_eq!(queue().count(&topics)?, 0);
    }
    assert_eq!(kinds.len(), 7, "all but Foreign: {kinds:?}");
    assert!(passed > 2000, "{passed}");
    println!("passed {passed} letters");
    Ok(())
}

/// Whoever can write to a queue can say that a letter came from elsewhere; nobody goes there.
#[test]
fn a_forged_letter_goes_nowhere_but_to_its_own_topic() -> Outcome {
    let (clock, topics, _router) = filled([1])?;
    topics.create("payroll", ONE)?;
    topics.create("payroll.dlq", DEAD)?;
    let mut reader = Consumer::new("orders.dlq", "spectator");
    reader.assign(&[0]);
    let letter = reader.poll(&topics, 1)?.remove(0);
    Producer::new("payroll.dlq").send(&topics, letter.payload())?;
    let payroll = DeadLetters::of("payroll")?;
    let browsed = payroll.browse_with(&topics, LetterAt::START, 9, |_| panic!("not one of theirs"))?;
    assert_eq!(browsed.first_malformed, Some((LetterAt::START, LetterError::Foreign)));
    let progress = payroll.redrive_all::<Clocked>(RedriveOptions::new()).step(&topics, clock_now(&clock))?;
    assert_eq!((progress.moved, progress.state, payroll.count(&topics)?), (0, RedriveState::Done, 1));
    assert_eq!(topics.open("payroll")?.stats()[0].tail.value(), 0);
    Ok(())
}

// ------------------------------------------------------------------------------------------------ without an allocator

#[test]
fn the_same_without_an_allocator() -> Outcome {
    let clock = ManualClock::new();
    let mut memory = [0; 32_768];
    let pool: SlicePool<'_, 4, _> = SlicePool::new(&mut memory, &clock);
    let mut rings: StaticRings<_, 2, 2> = StaticRings::new();
    let small = TopicConfig::new().with_partitions(2).with_slots_and_stride(8, 256).with_groups(2);
    rings.create(&pool, "orders", small, &clock)?;
    rings.create(&pool, "orders.dlq", small.with_partitions(1).with_dead_letters(true), &clock)?;
    let topics = StaticTopics::new(&rings, &clock)?;
    let mut producer = Producer::new("orders");
    for payload in 0..6_u8 {
        producer.send(&topics, &[payload])?;
    }
    let mut router: DlqRouter<_, _, 2, 2> = DlqRouter::with_places("orders", "billing").with_limit(2);
    router.assign(&[0, 1]);
    let mut handed = 0;
    for _ in 0..3 {
        let polled = router.poll_with(&topics, 10, |delivery| match delivery.message().payload() {
            [2] => Verdict::nack("two"),
            [3] => Verdict::reject("three"),
            _ => Verdict::Ack,
        })?;
        handed += polled.handed;
        assert!(router.counters().is_conserved());
    }
    assert_eq!((handed, router.counters().acked, router.counters().dead), (7, 4, 2));
    let queue = queue();
    assert_eq!((queue.count(&topics)?, queue.causes(&topics)?.of(Cause::Rejected)), (2, 1));
    let mut redrive = queue.redrive_all(RedriveOptions::new().with_rate(1000));
    assert_eq!(redrive.step(&topics, topics.clock().now())?.moved, 0);
    clock.advance(Ticks::from_millis(2));
    assert_eq!(redrive.step(&topics, topics.clock().now())?.moved, 2);
    let mut out = [None; 2];
    let polled = router.take_with(&topics, 10, |delivery| {
        assert_eq!(delivery.redriven().map(|mark| mark.redrives), Some(1));
        out[delivery.message().partition() as usize] = Some(delivery.receipt());
    })?;
    assert_eq!(polled.handed, 2);
    drop(redrive);
    for receipt in out.into_iter().flatten() {
        assert_eq!(router.settle(&topics, receipt, Verdict::Ack)?, Settled::Acked);
    }
    assert_eq!(queue.purge_all(&topics)?, 0);
    Ok(())
}
