//! A registry under a model checker: publishers against each other and against those who resolve. How scenes are explored, and
//! what the checker does not see, stands in `tests/loom.rs`.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release --test loom_locator
//! ```
#![cfg(loom)]
#![allow(unsafe_code, reason = "a lease over the checker's memory")]
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

#[path = "common/checker.rs"]
mod checker;

use checker::{both, explore};
use fabric_mq::lease::{Cooperative, Lease};
use fabric_mq::locator::{Change, Locator, PoolKind, PublishError, Registry, RegistryConfig, ResolveError, Watch};
use fabric_mq::topic::TopicConfig;
use fabric_mq::uri::Uri;
use fabric_mq::{Epoch, LeaseId, LoomMemory};
use loom::thread;
use std::ptr::NonNull;
use std::sync::Arc;

/// A lease of memory that all have, with a token of its own. Token 9 is dead.
#[derive(Clone)]
struct LoomLease(Arc<LoomMemory>, u32);

// SAFETY: under the checker a lease's base is the address of a `LoomMemory`, here one that the lease holds. All who have it
// are registries of this crate.
unsafe impl Lease for LoomLease {
    type Trust = Cooperative;

    fn base(&self) -> NonNull<u8> {
        NonNull::from(&*self.0).cast()
    }
    fn len(&self) -> usize {
        self.0.bytes()
    }
    fn epoch(&self) -> Epoch {
        Epoch::new(1)
    }
    fn token(&self) -> u32 {
        self.1
    }
    fn is_gone(&self, token: u32) -> bool {
        token == 9
    }
}

type LoomRegistry = Registry<LoomLease>;

/// As many topics, and the registry of whoever made it.
fn registry(topics: u32) -> LoomRegistry {
    let config = RegistryConfig::new().with_topics(topics).with_partitions(1).with_names(2);
    let bytes = config.lease_bytes().expect("a shape");
    let memory = LoomMemory::new(&vec![0; bytes], bytes, bytes);
    Registry::format(LoomLease(Arc::new(memory), 1), config).expect("formatted")
}

/// The same registry, of somebody else.
fn peer(registry: &LoomRegistry, token: u32) -> LoomRegistry {
    Registry::attach(LoomLease(Arc::clone(&registry.lease().0), token)).expect("attached to")
}

fn uri(topic: &str) -> Uri<'_> {
    Uri::new("p", topic).expect("names")
}

/// A locator that says one number in several words.
fn located(topic: &str, number: u32) -> Locator<1> {
    let config = TopicConfig::new().with_partitions(1);
    let lease = LeaseId::new(u128::from(number) * 0x0000_0001_0000_0001_0000_0001_0000_0001);
    Locator::new(uri(topic), PoolKind::Local, config, [lease]).expect("a locator").with_epoch(Epoch::new(number))
}

/// The number that a whole locator says.
fn number(locator: &Locator<1>) -> u32 {
    let number = locator.epoch().value();
    assert_eq!(locator.leases(), located("t", number).leases(), "half of one, half of another");
    number
}

/// What is resolved, and its generation.
fn resolved(registry: &LoomRegistry) -> Option<(u32, u32)> {
    match registry.resolve::<1>(&uri("t")) {
        Ok(locator) => Some((number(&locator), locator.generation().value())),
        Err(ResolveError::Unknown) => None,
        Err(error) => panic!("{error}"),
    }
}

fn published(registry: &LoomRegistry, topic: &str, number: u32) -> u32 {
    registry.publish_next(&located(topic, number)).expect("published").value()
}

#[test]
fn whoever_resolves_finds_the_record_before_or_the_new_one() {
    explore("publish, resolve", 3, &["Some((1, 1))", "Some((2, 2))"], || {
        let ours = registry(1);
        published(&ours, "t", 1);
        let (theirs, last) = (peer(&ours, 2), peer(&ours, 3));
        let (generation, found) = both(move || published(&ours, "t", 2), move || resolved(&theirs), false);
        assert_eq!(generation, 2);
        assert_eq!(resolved(&last), Some((2, 2)), "told by joining");
        format!("{found:?}")
    });
}

#[test]
fn a_slot_that_is_used_again_while_it_is_read_is_not_taken_for_damage() {
    explore("publish twice, resolve", 2, &["Some((1, 1))", "Some((2, 2))", "Some((3, 3))"], || {
        let ours = registry(1);
        published(&ours, "t", 1);
        let theirs = peer(&ours, 2);
        let twice = move || [2, 3].map(|number| published(&ours, "t", number));
        let (given, found) = both(twice, move || resolved(&theirs), false);
        assert_eq!(given, [2, 3]);
        format!("{found:?}")
    });
}

#[test]
fn two_publishers_use_a_slot_again_while_it_is_read() {
    explore("publish, publish, resolve", 1, &["Some(1)", "Some(2)", "Some(3)"], || {
        let ours = registry(1);
        published(&ours, "t", 1);
        let (theirs, third) = (peer(&ours, 2), peer(&ours, 3));
        let first = thread::spawn(move || published(&ours, "t", 12));
        let resolving = thread::spawn(move || resolved(&third).map(|(_, generation)| generation));
        published(&theirs, "t", 13);
        first.join().unwrap();
        format!("{:?}", resolving.join().unwrap())
    });
}

#[test]
fn generations_do_not_go_back_for_whoever_watches() {
    explore("publish, watch twice", 3, &["[None, None]", "[None, Some(2)]", "[Some(2), None]"], || {
        let ours = registry(1);
        published(&ours, "t", 1);
        let theirs = peer(&ours, 2);
        let mut watch = Watch::new(uri("t"));
        assert!(matches!(watch.poll::<_, 1>(&theirs), Ok(Some(Change::Published(_)))));
        let watching = move || {
            let mut news = || match watch.poll::<_, 1>(&theirs) {
                Ok(Some(Change::Published(locator))) => Some(number(&locator)),
                Ok(None) => None,
                other => panic!("{other:?}"),
            };
            [news(), news()]
        };
        let (_, found) = both(move || published(&ours, "t", 2), watching, false);
        format!("{found:?}")
    });
}

#[test]
fn a_claim_is_taken_from_the_dead_by_one() {
    explore("publish, publish, behind a dead one", 2, &["[3, 4]", "[4, 3]"], || {
        // Its first entry is of this topic, in generation 2; and a dead publisher has it.
        let mut image = include_bytes!("golden/v1-registry.bin").to_vec();
        image[256] = 9;
        let memory = LoomMemory::new(&image, image.len(), image.len());
        let ours = Registry::attach(LoomLease(Arc::new(memory), 1)).expect("a registry");
        let (theirs, last) = (peer(&ours, 2), peer(&ours, 3));
        let events = |number| {
            let uri = Uri::new("rack", "events").expect("names");
            let config = TopicConfig::new().with_partitions(1);
            Locator::<1>::new(uri, PoolKind::Local, config, [LeaseId::new(number)]).expect("a locator")
        };
        let first = move || ours.publish_next(&events(12)).expect("published").value();
        let second = move || theirs.publish_next(&events(13)).expect("published").value();
        let given: [u32; 2] = both(first, second, false).into();
        let found: Locator<1> = last.resolve(&Uri::new("rack", "events").expect("names")).expect("published");
        assert_eq!(found.generation().value(), 4);
        assert_eq!(found.lease(0), Some(LeaseId::new(if given[0] == 4 { 12 } else { 13 })));
        format!("{given:?}")
    });
}

#[test]
fn of_two_publishers_each_has_a_generation_and_the_later_one_stays() {
    explore("publish, publish", 2, &["[2, 3]", "[3, 2]"], || {
        let ours = registry(1);
        published(&ours, "t", 1);
        let theirs = peer(&ours, 2);
        let last = peer(&ours, 3);
        let given: [u32; 2] =
            both(move || published(&ours, "t", 12), move || published(&theirs, "t", 13), false).into();
        let (found, generation) = resolved(&last).expect("published");
        assert_eq!(generation, 3);
        assert_eq!(given[found as usize - 12], 3, "the later one stays");
        format!("{given:?}")
    });
}

#[test]
fn of_two_publishers_of_one_generation_one_is_refused() {
    explore("publish 2, publish 2", 2, &["true", "false"], || {
        let ours = registry(1);
        published(&ours, "t", 1);
        let theirs = peer(&ours, 2);
        let last = peer(&ours, 3);
        let second = |number| located("t", number).with_generation(2.into());
        let (first, outcome) =
            both(move || ours.publish(&second(12)).is_ok(), move || theirs.publish(&second(13)), false);
        assert!(outcome.is_ok() != first, "one of them");
        assert!(outcome.is_ok() || outcome == Err(PublishError::Stale { current: 2.into() }), "{outcome:?}");
        assert_eq!(resolved(&last), Some((if first { 12 } else { 13 }, 2)));
        format!("{first}")
    });
}

#[test]
fn a_new_topic_gets_one_entry() {
    explore("publish a new one, publish it too", 2, &["[1, 2]", "[2, 1]"], || {
        let ours = registry(2);
        let theirs = peer(&ours, 2);
        let last = peer(&ours, 3);
        let given: [u32; 2] =
            both(move || published(&ours, "t", 12), move || published(&theirs, "t", 13), false).into();
        assert_eq!(last.locators::<1>().count(), 1);
        assert_eq!(resolved(&last).map(|(_, generation)| generation), Some(2));
        format!("{given:?}")
    });
}
