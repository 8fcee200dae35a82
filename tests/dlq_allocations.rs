//! Settling records, writing letters and sending them back allocates nothing. Alone in its program: it counts for all
//! threads.
#![cfg(feature = "std")]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "common/counting.rs"]
mod counting;

use counting::allocations;
use fabric_mq::Ticks;
use fabric_mq::dlq::{Cause, DeadLetters, DlqRouter, LetterAt, OnFailure, RedriveOptions, RedriveState, Verdict};
use fabric_mq::producer::Producer;
use fabric_mq::topic::{TopicConfig, TopicManager};

#[test]
fn dead_letters_allocate_nothing() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1, "it counts");
    let topics = TopicManager::new();
    topics.create("orders", TopicConfig::new().with_partitions(2)).expect("it is new");
    topics.create("orders.dlq", TopicConfig::new().with_dead_letters(true)).expect("it is new");
    let mut producer = Producer::new("orders");
    for on_failure in [OnFailure::Block, OnFailure::SkipAside] {
        let mut router = DlqRouter::new("orders", "billing").with_limit(2).with_on_failure(on_failure);
        let queue = DeadLetters::of("orders").expect("a name");
        let mut handed = 0;
        let count = allocations(|| {
            router.assign(&[0, 1]);
            for n in 0..200_u32 {
                let key = n.to_le_bytes();
                producer.send_keyed(&topics, &key, &key).expect("there is room");
                let polled = router.poll_with(&topics, 10, |delivery| match delivery.message().payload()[0] % 4 {
                    0 => Verdict::nack(format_args!("{n} fails")),
                    1 => Verdict::Defer(Ticks::ZERO),
                    2 => Verdict::reject("unwanted"),
                    _ => Verdict::Ack,
                });
                handed += polled.expect("topics are there").handed;
                let mut receipt = None;
                let polled = router.take_with(&topics, 1, |delivery| receipt = Some(delivery.receipt()));
                handed += polled.expect("topics are there").handed;
                if let Some(receipt) = receipt {
                    router.settle(&topics, receipt, Verdict::Ack).expect("it is out");
                }
            }
            while router.poll_with(&topics, 10, |_| Verdict::Ack).expect("topics are there").handed > 0 {}
            let causes = queue.causes(&topics).expect("the queue is there");
            assert!(causes.of(Cause::Rejected) > 10);
            assert_eq!(causes.letters(), queue.count(&topics).expect("the queue is there"));
            let seen = queue.browse_with(&topics, LetterAt::START, 10, |letter| handed += letter.payload().len());
            assert!(seen.is_ok());
            let mut redrive = queue.redrive(RedriveOptions::new(), |letter| letter.cause() == Cause::Rejected);
            assert_eq!(redrive.step(&topics, Ticks::ZERO).expect("there is room").state, RedriveState::Done);
            assert!(redrive.progress().moved > 10);
            drop(redrive);
            queue.purge_all(&topics).expect("nobody else is at work");
            while router.poll_with(&topics, 10, |_| Verdict::Ack).expect("topics are there").handed > 0 {}
        });
        assert_eq!(count, 0, "{on_failure:?}");
        assert!(handed > 200 && router.counters().is_conserved());
    }
}
