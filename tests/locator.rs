//! Where topics are: records, registries, and processes that find each other by them.
//!
//! This program starts itself again in another role, and is killed.

#![cfg(all(feature = "std", unix, target_has_atomic = "64", not(loom)))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_types,
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

use common::{Owned, Rng, crew, scale};
use fabric_mq::clock::{MachineClock, ManualClock};
use fabric_mq::consumer::{Consumer, PollError, SeekPolicy};
use fabric_mq::lease::{
    Cooperative, Exclusive, HeapPool, Lease, Pool, Role, SharedLease, SharedPool, SliceLease, StaticLease, Trust,
    Untrusted,
};
use fabric_mq::locator::{
    Change, Locator, PoolKind, PublishError, RecordError, Registry, RegistryConfig, RegistryError, ResolveError, Watch,
};
use fabric_mq::offset::MemOffsetStore;
use fabric_mq::partition::FullPolicy;
use fabric_mq::producer::{Producer, SendError};
use fabric_mq::topic::{StaticRings, StaticTopics, TopicConfig, TopicError, TopicManager};
use fabric_mq::uri::Uri;
use fabric_mq::{Epoch, Generation, LeaseError, LeaseId, Name, Ticks};
use process::{Actor, Folder, say, setting, wait_for_word};
use std::collections::BTreeSet;
use std::fs;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn ms(ms: u64) -> Ticks {
    Ticks::from_millis(ms)
}

fn generation(number: u32) -> Generation {
    Generation::new(number)
}

fn uri(text: &str) -> Uri<'_> {
    Uri::parse(text).unwrap()
}

const SMALL: RegistryConfig = RegistryConfig::new().with_topics(4).with_partitions(2).with_names(32);
const EVENTS: &str = "fabric-mq://rack/events";
const ALARMS: &str = "fabric-mq://rack/alarms";

/// A locator whose leases all follow from one number: a mixture of two would show.
fn located(address: &str, number: u64, partitions: u32) -> Locator<16> {
    let config = TopicConfig::new()
        .with_partitions(partitions)
        .with_slots(1 << (number % 5 + 1))
        .with_timestamps(number.is_multiple_of(2));
    let leases = (0..partitions).map(|partition| lease_id(number, partition));
    Locator::new(uri(address), PoolKind::Shared, config, leases).unwrap()
}

fn lease_id(number: u64, partition: u32) -> LeaseId {
    let word = |salt| u128::from(Rng::new(number ^ salt ^ u64::from(partition) << 40).next());
    LeaseId::new(word(1) << 64 | word(2))
}

/// The number that a locator was made of.
#[track_caller]
fn is_of(locator: &Locator<16>, number: u64) {
    let sound = located(&locator.uri().to_string(), number, locator.config().partitions);
    assert_eq!((locator.leases(), locator.config()), (sound.leases(), sound.config()), "of {number}");
}

// ---- memory that is shared, and looked at

/// Memory that several leases are of.
#[derive(Clone)]
struct Ground {
    words: Arc<Vec<AtomicU64>>,
    dead: Arc<Mutex<BTreeSet<u32>>>,
    film: Arc<Mutex<Option<Vec<Vec<u8>>>>>,
}

impl Ground {
    fn new(bytes: usize) -> Self {
        Self::of(&vec![0; bytes])
    }

    fn of(image: &[u8]) -> Self {
        let words = image.as_chunks::<8>().0.iter().map(|word| AtomicU64::new(u64::from_le_bytes(*word))).collect();
        Self { words: Arc::new(words), dead: Arc::default(), film: Arc::default() }
    }

    fn small() -> Self {
        Self::new(SMALL.lease_bytes().unwrap())
    }

    fn image(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.load(Ordering::SeqCst).to_le_bytes()).collect()
    }

    fn peer<T: Trust>(&self, token: u32) -> Peer<T> {
        Peer { ground: self.clone(), token, epoch: Epoch::default(), ended: AtomicBool::new(false), trust: PhantomData }
    }

    fn registry(&self, token: u32) -> Registry<Peer<Cooperative>> {
        Registry::attach(self.peer(token)).unwrap()
    }

    fn bury(&self, token: u32) {
        self.dead.lock().unwrap().insert(token);
    }

    #[allow(unsafe_code, reason = "words of 32 bits")]
    fn word(&self, at: usize) -> &AtomicU32 {
        assert!(at + 4 <= self.words.len() * 8 && at.is_multiple_of(4));
        // SAFETY: inside the words.
        let word = unsafe { self.words.as_ptr().cast::<AtomicU32>().add(at / 4) };
        // SAFETY: aligned, and touched by atomics alone.
        unsafe { &*word }
    }

    fn roll(&self) {
        *self.film.lock().unwrap() = Some(vec![self.image()]);
    }

    fn cut(&self) -> Vec<Vec<u8>> {
        let mut film = self.film.lock().unwrap().take().unwrap();
        film.push(self.image());
        film
    }
}

/// A lease of such memory, with a token.
struct Peer<T> {
    ground: Ground,
    token: u32,
    epoch: Epoch,
    ended: AtomicBool,
    trust: PhantomData<fn() -> T>,
}

#[allow(unsafe_code, reason = "memory for tests")]
// SAFETY: the words live as long as this, and are aligned to 8; all who have them use atomics.
unsafe impl<T: Trust> Lease for Peer<T> {
    type Trust = T;
    fn base(&self) -> NonNull<u8> {
        NonNull::from(&self.ground.words[0]).cast()
    }
    fn len(&self) -> usize {
        self.ground.words.len() * 8
    }
    fn epoch(&self) -> Epoch {
        self.epoch
    }
    fn check(&self) -> Result<(), LeaseError> {
        if self.ended.load(Ordering::SeqCst) { Err(LeaseError::Revoked) } else { Ok(()) }
    }
    fn token(&self) -> u32 {
        self.token
    }
    fn is_gone(&self, token: u32) -> bool {
        self.ground.dead.lock().unwrap().contains(&token)
    }
    fn clean(&self, _: usize, _: usize) {
        if let Some(film) = &mut *self.ground.film.lock().unwrap() {
            film.push(self.ground.image());
        }
    }
}

// ---- records

fn samples() -> Vec<Locator<16>> {
    let long = "x".repeat(128);
    let longest = format!("fabric-mq://{long}/{long}");
    let mut samples = vec![located(EVENTS, 1, 4), located("fabric-mq://a/b", 2, 1), located(&longest, 3, 16)];
    for full in [
        FullPolicy::DropNewest,
        FullPolicy::DropOldest,
        FullPolicy::Wait { timeout: Ticks::from_millis(u64::MAX) },
        FullPolicy::Wait { timeout: Ticks::ZERO },
    ] {
        let lag = if full == FullPolicy::DropOldest { 77 } else { 0 };
        let config = TopicConfig::new()
            .with_partitions(2)
            .with_full(full)
            .with_max_lag(lag)
            .with_ttl(ms(1 << 40))
            .with_groups(32);
        for kind in [PoolKind::Local, PoolKind::Shared, PoolKind::Remote] {
            let leases = [LeaseId::new(u128::MAX), LeaseId::new(0)];
            let locator = Locator::new(uri(ALARMS), kind, config, leases).unwrap();
            samples.push(locator.with_generation(generation(u32::MAX)).with_epoch(Epoch::new(u32::MAX)));
        }
    }
    samples
}

fn encoded(locator: &Locator<16>) -> Vec<u8> {
    let mut bytes = vec![0xee; 1024];
    let len = locator.encode(&mut bytes).unwrap();
    assert_eq!(len, locator.encoded_len());
    assert!(bytes[len..].iter().all(|byte| *byte == 0xee));
    bytes.truncate(len);
    bytes
}

#[test]
fn records_come_back() {
    for locator in samples() {
        let bytes = encoded(&locator);
        assert_eq!(Locator::decode(&bytes), Ok(locator.clone()));
        assert_eq!(locator.encode(&mut vec![0; bytes.len() - 1]), Err(RecordError::Buffer { needed: bytes.len() }));
        let partitions = locator.leases().len() as u32;
        if partitions > 1 {
            assert_eq!(Locator::<1>::decode(&bytes), Err(RecordError::Partitions { found: partitions, max: 1 }));
        }
    }
}

#[test]
fn no_damaged_byte_of_a_record_goes_unseen_and_none_is_missing_or_too_many() {
    let mut flips = 0_u64;
    for locator in samples() {
        let mut bytes = encoded(&locator);
        for at in 0..bytes.len() {
            for flip in 1..=255 {
                bytes[at] ^= flip;
                let found = Locator::<16>::decode(&bytes);
                assert!(found.is_err(), "byte {at} flipped by {flip:#x}: {found:?}");
                bytes[at] ^= flip;
                flips += 1;
            }
        }
        for len in 0..bytes.len() {
            assert!(Locator::<16>::decode(&bytes[..len]).is_err(), "{len} bytes of {}", bytes.len());
        }
        for more in 1..=20 {
            let longer = [&bytes[..], &vec![0; more]].concat();
            assert_eq!(Locator::<16>::decode(&longer), Err(RecordError::Length), "{more} bytes more");
        }
    }
    println!("passed {flips} flips");
}

/// Makes a record's checksum right again.
fn sealed(bytes: &mut [u8]) {
    let end = bytes.len() - 4;
    let crc = common::image::crc32c(&bytes[..end]);
    bytes[end..].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn what_the_checksum_covers_is_checked_all_the_same() {
    let plain = encoded(&located(EVENTS, 1, 4));
    let forge = |at: usize, byte: u8| {
        let mut forged = plain.clone();
        forged[at] = byte;
        sealed(&mut forged);
        Locator::<16>::decode(&forged)
    };
    assert!(forge(8, 9).is_ok(), "another generation");
    assert_eq!(forge(4, 2), Err(RecordError::Version { found: 2 }));
    assert_eq!(forge(0, 0), Err(RecordError::NotARecord));
    // Kind, state, policy, timestamps, groups, zero, slots, lag without dropping, wait without waiting, features.
    for (at, byte) in
        [(20, 3), (21, 2), (21, 0), (22, 4), (23, 2), (24, 0), (24, 33), (27, 1), (35, 0xff), (40, 1), (44, 1), (60, 1)]
    {
        assert_eq!(forge(at, byte), Err(RecordError::Field), "byte {at} is {byte}");
    }
    // Lengths: of the record, of both names, of the leases.
    for (at, byte) in [(6, 4), (7, 0xff), (25, 0), (25, 129), (26, 200), (28, 0), (28, 5), (29, 0xff), (31, 0xff)] {
        assert_eq!(forge(at, byte), Err(RecordError::Length), "byte {at} is {byte}");
    }
    assert!(matches!(forge(64, b'/'), Err(RecordError::Uri(_))));
    assert!(matches!(forge(64, 0xff), Err(RecordError::Field | RecordError::Uri(_))));
    // The topic's name is shorter, by what is a zero then and was none.
    assert_eq!(forge(26, 5), Err(RecordError::Field));
    // No name has zeros in it.
    assert!(matches!(forge(26, 7), Err(RecordError::Uri(_))));
}

#[test]
fn locators_that_cannot_be_are_refused() {
    let config = TopicConfig::new().with_partitions(2);
    let new = |config, leases: u32| {
        Locator::<4>::new(uri(EVENTS), PoolKind::Local, config, (0..leases).map(|n| LeaseId::new(n.into()))).map(drop)
    };
    assert_eq!(new(config, 2), Ok(()));
    assert!(matches!(new(config, 1), Err(RecordError::Partitions { found: 2, max: 1 })));
    assert!(matches!(new(config, 3), Err(RecordError::Partitions { found: 3, .. })));
    assert!(matches!(new(config.with_partitions(5), 5), Err(RecordError::Partitions { found: 5, max: 4 })));
    assert!(matches!(new(config.with_groups(0), 2), Err(RecordError::Topic(TopicError::Groups { .. }))));
    assert!(matches!(new(config.with_slots(u32::MAX), 2), Err(RecordError::Topic(TopicError::Config(_)))));
}

// ---- registries

#[test]
fn what_is_published_is_found_in_every_kind_of_lease() {
    fn check(lease: impl Lease) {
        let registry = Registry::format(lease, SMALL).unwrap();
        assert_eq!(registry.resolve::<16>(&uri(EVENTS)), Err(ResolveError::Unknown));
        assert_eq!(registry.publish_next(&located(EVENTS, 1, 2)), Ok(generation(1)));
        assert_eq!(registry.publish_next(&located(ALARMS, 2, 1)), Ok(generation(1)));
        assert_eq!(registry.publish_next(&located(EVENTS, 3, 1)), Ok(generation(2)));
        is_of(&registry.resolve(&uri(EVENTS)).unwrap(), 3);
        is_of(&registry.resolve(&uri(ALARMS)).unwrap(), 2);
        let listed: BTreeSet<_> =
            registry.locators::<16>().map(|locator| locator.unwrap().uri().topic().to_owned()).collect();
        assert_eq!(listed, BTreeSet::from(["alarms".to_owned(), "events".to_owned()]));
        // Another pool's topic of the name, a partition that there is, one that there is not.
        assert_eq!(registry.resolve::<16>(&uri("fabric-mq://other/events")), Err(ResolveError::Unknown));
        assert!(registry.resolve::<16>(&uri(EVENTS).with_partition(0)).is_ok());
        let none = ResolveError::NoSuchPartition { partition: 1, partitions: 1 };
        assert_eq!(registry.resolve::<16>(&uri(EVENTS).with_partition(1)), Err(none));
        let again = Registry::attach(registry.into_lease()).unwrap();
        assert_eq!(again.config(), SMALL);
        is_of(&again.resolve(&uri(EVENTS)).unwrap(), 3);
    }
    static MEMORY: StaticLease<4096> = StaticLease::new();
    check(MEMORY.claim().unwrap());
    check(SliceLease::new(&mut [0; 4096]));
    check(HeapPool::new(ManualClock::new()).acquire(4096, Ticks::MAX).unwrap());
    let ground = Ground::small();
    check(ground.peer::<Cooperative>(5));
    check(ground.peer::<Untrusted>(0));
}

#[test]
fn generations_rise_and_late_publishers_are_refused() {
    let ground = Ground::small();
    let registry = Registry::format(ground.peer::<Cooperative>(1), SMALL).unwrap();
    let events = |number| located(EVENTS, number, 2);
    assert_eq!(registry.publish(&events(1)), Err(PublishError::Stale { current: generation(0) }), "0 is none");
    assert_eq!(registry.publish(&events(1).with_generation(generation(5))), Ok(generation(5)));
    for late in [1, 5] {
        let late = events(2).with_generation(generation(late));
        assert_eq!(registry.publish(&late), Err(PublishError::Stale { current: generation(5) }));
    }
    is_of(&registry.resolve(&uri(EVENTS)).unwrap(), 1);
    assert_eq!(registry.publish_next(&events(2)), Ok(generation(6)));
    // Withdrawn by whoever knows what it withdraws; its generation is kept.
    assert_eq!(registry.withdraw(&uri(EVENTS), generation(5)), Err(PublishError::Stale { current: generation(6) }));
    assert_eq!(registry.withdraw(&uri(EVENTS), generation(6)), Ok(generation(7)));
    assert_eq!(registry.withdraw(&uri(EVENTS), generation(7)), Err(PublishError::Unknown));
    assert_eq!(registry.withdraw(&uri(ALARMS), generation(1)), Err(PublishError::Unknown));
    let withdrawn = ResolveError::Withdrawn { generation: generation(7) };
    assert_eq!(registry.resolve::<16>(&uri(EVENTS)), Err(withdrawn));
    assert_eq!(registry.locators::<16>().count(), 0);
    // Its entry goes to others only when there is no empty one: the topic begins above it then.
    for number in 0..3 {
        assert_eq!(registry.publish_next(&located(&format!("fabric-mq://rack/t{number}"), 1, 1)), Ok(generation(1)));
    }
    assert_eq!(registry.resolve::<16>(&uri(EVENTS)), Err(withdrawn));
    assert_eq!(registry.publish_next(&located("fabric-mq://rack/t3", 1, 1)), Ok(generation(8)));
    assert_eq!(registry.resolve::<16>(&uri(EVENTS)), Err(ResolveError::Unknown));
    assert_eq!(registry.publish_next(&events(1)), Err(PublishError::Full { limit: 4 }));
    assert_eq!(registry.withdraw(&uri("fabric-mq://rack/t0"), generation(1)), Ok(generation(2)));
    let late = events(1).with_generation(generation(7));
    assert_eq!(registry.publish(&late), Err(PublishError::Stale { current: generation(7) }));
    assert_eq!(registry.publish_next(&events(1)), Ok(generation(8)));
    // The last one.
    assert_eq!(registry.publish(&events(1).with_generation(generation(u32::MAX))), Ok(generation(u32::MAX)));
    assert_eq!(registry.publish_next(&events(1)), Err(PublishError::Exhausted));
    assert_eq!(registry.withdraw(&uri(EVENTS), generation(u32::MAX)), Err(PublishError::Exhausted));
}

#[test]
fn whoever_was_taken_over_is_fenced() {
    let ground = Ground::small();
    let registry = Registry::format(ground.peer::<Cooperative>(1), SMALL).unwrap();
    let at = |epoch| located(EVENTS, 1, 2).with_epoch(Epoch::new(epoch));
    registry.publish_next(&at(3)).unwrap();
    registry.publish_next(&at(4)).unwrap();
    assert_eq!(registry.publish_next(&at(3)), Err(PublishError::Fenced { current: Epoch::new(4) }));
    assert_eq!(
        registry.publish(&at(3).with_generation(generation(9))),
        Err(PublishError::Fenced { current: Epoch::new(4) })
    );
    assert_eq!(registry.publish_next(&at(4)), Ok(generation(3)), "as often as it likes");
    // Other leases: a topic that was made anew.
    assert_eq!(registry.publish_next(&located(EVENTS, 2, 2).with_epoch(Epoch::new(1))), Ok(generation(4)));
}

#[test]
fn what_has_no_room_is_refused() {
    let registry = Registry::format(Owned::<Exclusive>::new(SMALL.lease_bytes().unwrap()), SMALL).unwrap();
    assert_eq!(registry.publish_next(&located(EVENTS, 1, 3)), Err(PublishError::Partitions { found: 3, max: 2 }));
    let long = format!("fabric-mq://{}/{}", "p".repeat(100), "t".repeat(100));
    assert!(matches!(registry.publish_next(&located(&long, 1, 1)), Err(PublishError::Names { .. })));
    registry.publish_next(&located(EVENTS, 1, 2)).unwrap();
    assert_eq!(registry.resolve::<1>(&uri(EVENTS)), Err(ResolveError::Partitions { found: 2, max: 1 }));
    for shape in [
        RegistryConfig::new().with_topics(0),
        RegistryConfig::new().with_topics(4097),
        RegistryConfig::new().with_partitions(0),
        RegistryConfig::new().with_partitions(1025),
        RegistryConfig::new().with_names(1),
        RegistryConfig::new().with_names(257),
    ] {
        assert_eq!(shape.lease_bytes(), Err(RegistryError::Shape), "{shape:?}");
        assert_eq!(Registry::format(Owned::<Exclusive>::new(1 << 16), shape).map(drop), Err(RegistryError::Shape));
    }
    assert!(RegistryConfig::new().with_topics(4096).with_partitions(1024).lease_bytes().is_ok());
    let short = Registry::format(Owned::<Exclusive>::new(1000), SMALL).map(drop);
    assert_eq!(short, Err(RegistryError::TooShort { needed: SMALL.lease_bytes().unwrap(), found: 1000 }));
    // Of names as long as they may be, and as many partitions.
    for (pool, names) in [(1, 32), (31, 32), (128, 256), (3, 4)] {
        let shape = SMALL.with_names(names);
        let registry = Registry::format(Owned::<Exclusive>::new(shape.lease_bytes().unwrap()), shape).unwrap();
        let address = format!("fabric-mq://{}/{}", "p".repeat(pool), "t".repeat(usize::from(names) - pool));
        registry.publish_next(&located(&address, 4, 2)).unwrap();
        is_of(&registry.resolve(&uri(&address)).unwrap(), 4);
    }
}

#[test]
fn an_ended_lease_is_told_and_what_was_under_way_is_not_seen() {
    let ground = Ground::small();
    let registry = Registry::format(ground.peer::<Cooperative>(1), SMALL).unwrap();
    registry.publish_next(&located(EVENTS, 1, 2)).unwrap();
    registry.lease().ended.store(true, Ordering::SeqCst);
    assert_eq!(registry.publish_next(&located(EVENTS, 2, 2)), Err(PublishError::Lease(LeaseError::Revoked)));
    assert_eq!(registry.resolve::<16>(&uri(EVENTS)), Err(ResolveError::Lease(LeaseError::Revoked)));
    assert_eq!(registry.withdraw_dead(), Err(PublishError::Lease(LeaseError::Revoked)));
    assert_eq!(Watch::new(uri(EVENTS)).poll::<_, 16>(&registry), Err(ResolveError::Lease(LeaseError::Revoked)));
    assert_eq!(Registry::attach(registry.into_lease()).map(drop), Err(RegistryError::Lease(LeaseError::Revoked)));
    is_of(&ground.registry(2).resolve(&uri(EVENTS)).unwrap(), 1);
}

#[test]
fn a_watch_tells_each_change_once() {
    let ground = Ground::small();
    let registry = Registry::format(ground.peer::<Cooperative>(1), SMALL).unwrap();
    let other = ground.registry(2);
    let mut watch = Watch::new(uri(EVENTS).with_partition(9));
    let mut news = || watch.poll::<_, 16>(&other);
    assert_eq!(news(), Ok(None), "not yet");
    registry.publish_next(&located(EVENTS, 1, 2)).unwrap();
    let Ok(Some(Change::Published(locator))) = news() else { panic!("published") };
    is_of(&locator, 1);
    for _ in 0..3 {
        assert_eq!(news(), Ok(None), "told");
    }
    // What came between is not told, what is now is.
    registry.publish_next(&located(EVENTS, 2, 2)).unwrap();
    registry.publish_next(&located(EVENTS, 3, 2)).unwrap();
    let Ok(Some(Change::Published(locator))) = news() else { panic!("published again") };
    is_of(&locator, 3);
    registry.withdraw(&uri(EVENTS), generation(3)).unwrap();
    assert_eq!(news(), Ok(Some(Change::Withdrawn(generation(4)))));
    assert_eq!(news(), Ok(None));
    registry.publish_next(&located(EVENTS, 4, 1)).unwrap();
    assert!(matches!(news(), Ok(Some(Change::Published(_)))));
    // Withdrawn, and forgotten, before anybody looked.
    registry.withdraw(&uri(EVENTS), generation(5)).unwrap();
    for number in 0..4 {
        registry.publish_next(&located(&format!("fabric-mq://rack/t{number}"), 1, 1)).unwrap();
    }
    assert_eq!(news(), Ok(Some(Change::Withdrawn(generation(5)))));
    assert_eq!(news(), Ok(None));
    // A registry that was put back is not believed.
    let old = Ground::small();
    let behind = Registry::format(old.peer::<Cooperative>(1), SMALL).unwrap();
    behind.publish_next(&located(EVENTS, 1, 2)).unwrap();
    let stale = ResolveError::Stale { seen: generation(5), found: generation(1) };
    assert_eq!(watch.poll::<_, 16>(&behind), Err(stale));
    assert_eq!(watch.seen(), Some(generation(5)));
}

#[test]
fn a_dead_publishers_claim_and_topics_are_taken_with_proof_alone() {
    let ground = Ground::small();
    let (dead, living) = (7, 8);
    let registry = Registry::format(ground.peer::<Cooperative>(living), SMALL).unwrap();
    registry.publish_next(&located(ALARMS, 2, 1)).unwrap();
    ground.registry(dead).publish_next(&located(EVENTS, 1, 2)).unwrap();
    let found: Locator<16> = registry.resolve(&uri(EVENTS)).unwrap();
    assert!(!registry.is_orphaned(&found));
    assert_eq!(registry.withdraw_dead(), Ok(0), "nobody is dead");
    // It stopped with claims of both kinds in its hands.
    let (directory, entry) = (128, 256 + 640);
    for claim in [directory, entry] {
        assert_eq!(ground.word(claim).swap(dead, Ordering::SeqCst), 0);
    }
    let start = Instant::now();
    assert_eq!(registry.publish_next(&located(EVENTS, 3, 2)), Err(PublishError::Busy));
    assert_eq!(registry.publish_next(&located("fabric-mq://rack/new", 3, 2)), Err(PublishError::Busy));
    assert!(start.elapsed() < Duration::from_secs(20), "somebody alive is not waited for for ever");
    is_of(&registry.resolve(&uri(EVENTS)).unwrap(), 1);
    registry.publish_next(&located(ALARMS, 4, 1)).unwrap();
    ground.bury(dead);
    assert!(registry.is_orphaned(&found));
    assert_eq!(registry.publish_next(&located("fabric-mq://rack/new", 3, 2)), Ok(generation(1)));
    assert_eq!(registry.withdraw_dead(), Ok(1));
    let withdrawn = ResolveError::Withdrawn { generation: generation(2) };
    assert_eq!(registry.resolve::<16>(&uri(EVENTS)), Err(withdrawn));
    assert_eq!(registry.withdraw_dead(), Ok(0), "once");
    assert_eq!(registry.locators::<16>().count(), 2, "the living ones' stay");
    // Nobody knows of a lease without a token whether it is dead.
    let nameless = ground.registry(0);
    nameless.publish_next(&located(EVENTS, 1, 2)).unwrap();
    ground.bury(0);
    assert_eq!(registry.withdraw_dead(), Ok(0));
}

// ---- damage

/// A registry of three topics, one of them withdrawn; two were published twice, so that their other slots have records too.
fn lived_in() -> Vec<u8> {
    let ground = Ground::small();
    let registry = Registry::format(ground.peer::<Cooperative>(1), SMALL).unwrap();
    for number in [1, 2] {
        registry.publish_next(&located(EVENTS, number, 2)).unwrap();
        registry.publish_next(&located("fabric-mq://rack/gone", number, 1)).unwrap();
    }
    registry.publish_next(&located(ALARMS, 5, 1)).unwrap();
    registry.withdraw(&uri("fabric-mq://rack/gone"), generation(2)).unwrap();
    ground.image()
}

#[test]
fn no_damaged_byte_of_a_registry_makes_another_answer() {
    let mut image = lived_in();
    let flips: &[u8] = if scale() == 1 { &[1, 2, 4, 8, 16, 32, 64, 128, 0xff, 0x5a, 0x03] } else { &[] };
    let all: Vec<u8> = (1..=255).collect();
    let flips = if flips.is_empty() { &all[..] } else { flips };
    let (mut same, mut refused) = (0_u64, 0_u64);
    // Of each topic, the bytes that must be seen to be damaged: its `current`, and its record in the slot that counts.
    let mut unseen = vec![0; image.len()];
    for at in 0..image.len() {
        for flip in flips {
            image[at] ^= flip;
            match Registry::attach(Ground::of(&image).peer::<Cooperative>(2)) {
                Err(_) => refused += 1,
                Ok(registry) => {
                    let mut seen = false;
                    for (address, number) in [(EVENTS, 2), (ALARMS, 5)] {
                        match registry.resolve::<16>(&uri(address)) {
                            Ok(locator) => {
                                is_of(&locator, number);
                                same += 1;
                            }
                            Err(ResolveError::Damaged { .. }) => seen = true,
                            Err(error) => panic!("byte {at} flipped by {flip:#x}: {error:?}"),
                        }
                    }
                    match registry.resolve::<16>(&uri("fabric-mq://rack/gone")) {
                        Err(ResolveError::Withdrawn { generation }) => assert_eq!(generation.value(), 3),
                        Err(ResolveError::Damaged { .. }) => seen = true,
                        other => panic!("byte {at} flipped by {flip:#x}: {other:?}"),
                    }
                    match registry.resolve::<16>(&uri("fabric-mq://rack/none")) {
                        Err(ResolveError::Unknown | ResolveError::Damaged { .. }) => {}
                        other => panic!("byte {at} flipped by {flip:#x}: {other:?}"),
                    }
                    refused += u64::from(seen);
                    unseen[at] += u32::from(!seen);
                }
            }
            image[at] ^= flip;
        }
    }
    // Entry 0 (events): two publishings, so slot 0 counts. Entry 1 (gone): three, slot 1. Entry 2 (alarms): one, slot 1.
    let records = [(0, 0, 64 + 4 + 8 + 32 + 4), (1, 1, 64 + 4 + 4 + 4), (2, 1, 64 + 4 + 8 + 16 + 4)];
    for (entry, slot, bytes) in records {
        let control = 256 + entry * 640;
        let record = control + 128 + slot * 256;
        for at in (control + 4..control + 8).chain(record..record + 4 + bytes) {
            assert_eq!(unseen[at], 0, "damage of byte {at} goes unseen");
        }
    }
    assert!(same > 0 && refused > 0);
    println!("passed {} images: {same} right answers, {refused} refused", image.len() * flips.len());
}

#[test]
fn damage_is_discarded_when_somebody_says_so() {
    let image = lived_in();
    for at in [256 + 4, 256 + 128 + 100] {
        let ground = Ground::of(&image);
        ground.word(at & !3).fetch_xor(0x40, Ordering::SeqCst);
        let registry = ground.registry(2);
        let damaged = PublishError::Damaged { entry: 0 };
        assert_eq!(registry.resolve::<16>(&uri(EVENTS)), Err(ResolveError::Damaged { entry: 0 }));
        assert_eq!(registry.publish_next(&located(EVENTS, 9, 1)), Err(damaged));
        assert_eq!(registry.publish_next(&located("fabric-mq://rack/new", 9, 1)), Err(damaged));
        assert_eq!(registry.publish_next(&located(ALARMS, 6, 1)), Ok(generation(2)), "what is found is not concerned");
        assert_eq!(registry.locators::<16>().filter(Result::is_err).count(), 1);
        assert_eq!(registry.discard_damaged(), Ok(1));
        assert_eq!(registry.discard_damaged(), Ok(0));
        assert_eq!(registry.resolve::<16>(&uri(EVENTS)), Err(ResolveError::Unknown));
        let again = registry.publish_next(&located(EVENTS, 9, 1)).unwrap();
        assert!(again >= generation(2), "above what was left: {again}");
        is_of(&registry.resolve(&uri(EVENTS)).unwrap(), 9);
    }
}

#[test]
fn any_bytes_can_be_attached_to() {
    let mut rng = Rng::new(0x10ca);
    let image = lived_in();
    let mut opened = 0;
    for round in 0..3000 * scale() {
        let mut bytes = image.clone();
        // Behind the header: else there is nothing to attach to.
        let from = if round % 2 == 0 { 64 } else { 0 };
        for _ in 0..rng.within(1, 200) {
            let at = from + rng.size(bytes.len() - from);
            bytes[at] = rng.next() as u8;
        }
        let len = if rng.one_in(4) { rng.size(bytes.len() / 8) * 8 } else { bytes.len() };
        if len == 0 {
            continue;
        }
        let ground = Ground::of(&bytes[..len]);
        let Ok(registry) = Registry::attach(ground.peer::<Untrusted>(2)) else { continue };
        opened += 1;
        // No claim of the forger's is waited for here.
        for at in (128..len).step_by(128) {
            if at == 128 || (at - 256).is_multiple_of(640) {
                ground.word(at).store(0, Ordering::SeqCst);
            }
        }
        let _ = registry.resolve::<16>(&uri(EVENTS));
        let _ = registry.locators::<2>().count();
        let _ = registry.withdraw_dead();
        let _ = registry.publish_next(&located(EVENTS, round, 1));
        assert!(registry.discard_damaged().is_ok());
        let _ = registry.publish_next(&located(ALARMS, round, 1));
        assert!(registry.locators::<16>().all(|locator| locator.is_ok()));
    }
    assert!(opened > 1000, "{opened} were registries");
}

// ---- death between two stores

/// Every state between two pictures that a kill could leave: the words in any order.
fn states(before: &[u8], after: &[u8], rng: &mut Rng, mut each: impl FnMut(&[u8])) {
    let words: Vec<_> = (0..before.len()).step_by(4).filter(|at| before[*at..at + 4] != after[*at..at + 4]).collect();
    let mut with = |some: &[usize]| {
        let mut image = before.to_vec();
        for at in some {
            image[*at..at + 4].copy_from_slice(&after[*at..at + 4]);
        }
        each(&image);
    };
    for count in 0..=words.len() {
        with(&words[..count]);
        with(&words[words.len() - count..]);
    }
    for at in &words {
        with(&[*at]);
        with(&words.iter().copied().filter(|other| other != at).collect::<Vec<_>>());
    }
    for _ in 0..8 {
        with(&words.iter().copied().filter(|_| rng.one_in(2)).collect::<Vec<_>>());
    }
}

/// What a topic's record said, if it was published.
fn told(registry: &Registry<Peer<Cooperative>>, address: &str) -> Result<(Generation, LeaseId), ResolveError> {
    registry.resolve::<16>(&uri(address)).map(|locator| (locator.generation(), locator.leases()[0]))
}

fn generation_of(told: Result<(Generation, LeaseId), ResolveError>) -> Option<Generation> {
    match told {
        Ok((generation, _)) | Err(ResolveError::Withdrawn { generation }) => Some(generation),
        _ => None,
    }
}

#[test]
fn a_publisher_killed_at_any_store_has_published_or_has_not() {
    type Act = (&'static str, fn(&Registry<Peer<Cooperative>>));
    let acts: [Act; 6] = [
        ("the first", |registry| assert!(registry.publish_next(&located("fabric-mq://rack/new", 9, 1)).is_ok())),
        ("again", |registry| assert!(registry.publish_next(&located(EVENTS, 9, 2)).is_ok())),
        ("withdraw", |registry| assert!(registry.withdraw(&uri(EVENTS), generation(2)).is_ok())),
        ("over a withdrawn one", |registry| {
            assert!(registry.publish_next(&located("fabric-mq://rack/gone", 9, 2)).is_ok())
        }),
        ("in the place of a withdrawn one", |registry| {
            registry.publish_next(&located("fabric-mq://rack/fills", 9, 1)).unwrap();
            registry.publish_next(&located("fabric-mq://rack/new", 9, 1)).unwrap();
        }),
        ("withdraw the dead", |registry| assert_eq!(registry.withdraw_dead(), Ok(2))),
    ];
    let addresses = [EVENTS, ALARMS, "fabric-mq://rack/gone", "fabric-mq://rack/new", "fabric-mq://rack/fills"];
    let (mut rng, mut images) = (Rng::new(3), 0_u64);
    for (what, act) in acts {
        let ground = Ground::of(&lived_in());
        // Whoever published what is there is dead for one of the acts.
        if what == "withdraw the dead" {
            ground.bury(1);
        }
        let publisher = ground.registry(7);
        let looks = |registry: &Registry<Peer<Cooperative>>| addresses.map(|address| told(registry, address));
        ground.roll();
        let before = looks(&publisher);
        act(&publisher);
        let after = looks(&publisher);
        let film = ground.cut();
        assert!(film.len() > 3, "it was filmed");
        // What each topic was at some time, in order.
        for pair in film.windows(2) {
            states(&pair[0], &pair[1], &mut rng, |image| {
                images += 1;
                let ground = Ground::of(image);
                ground.bury(7);
                let next = ground.registry(8);
                for (index, address) in addresses.into_iter().enumerate() {
                    let found = told(&next, address);
                    assert!(found == before[index] || found == after[index], "{what}: {address}: {found:?}");
                }
                // And the registry goes on: nobody waits for the dead, no generation comes twice.
                for (index, address) in addresses.into_iter().enumerate() {
                    let ground = Ground::of(image);
                    ground.bury(7);
                    let next = ground.registry(8);
                    // Where it is unknown now and was not, its generation is forgotten, but counts.
                    let last = generation_of(told(&next, address)).or_else(|| generation_of(before[index]));
                    let published = next.publish_next(&located(address, 77, 1)).or_else(|error| {
                        assert_eq!(error, PublishError::Full { limit: 4 }, "{what}: {address}");
                        let (there, _) = told(&next, ALARMS).unwrap();
                        next.withdraw(&uri(ALARMS), there).unwrap();
                        next.publish_next(&located(address, 77, 1))
                    });
                    let published = published.unwrap();
                    assert!(last.is_none_or(|last| published > last), "{what}: {address}: {published}");
                    is_of(&next.resolve(&uri(address)).unwrap(), 77);
                }
            });
        }
    }
    println!("passed {images} images");
}

#[test]
fn a_registry_whose_formatting_was_cut_off_is_none() {
    let ground = Ground::of(&lived_in());
    ground.roll();
    Registry::format(ground.peer::<Cooperative>(1), SMALL).unwrap();
    let film = ground.cut();
    let mut rng = Rng::new(4);
    for pair in film.windows(2).skip(1) {
        states(&pair[0], &pair[1], &mut rng, |image| {
            let opened = Registry::attach(Ground::of(image).peer::<Cooperative>(1));
            match opened {
                Ok(registry) => assert_eq!(told(&registry, EVENTS), Err(ResolveError::Unknown)),
                Err(error) => assert_eq!(error, RegistryError::NotARegistry),
            }
        });
    }
}

// ---- at the same time

/// Tells the other threads to end, also when a test fails.
struct Whistle<'a>(&'a AtomicBool);

impl Drop for Whistle<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn generations_rise_under_publishers_at_the_same_time() {
    let ground = Ground::small();
    Registry::format(ground.peer::<Cooperative>(1), SMALL).unwrap();
    let rounds = 3000 * scale();
    let (done, given) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    crew(|crew| {
        let _whistle = Whistle(&done);
        let publishers: Vec<_> = (0..2_u64)
            .map(|publisher| {
                let registry = ground.registry(10 + publisher as u32);
                let given = &given;
                crew.start(move || {
                    let mut own = Vec::new();
                    for round in 0..rounds {
                        // By turns in the next generation, and in one that the other one may be after too.
                        let mut locator = located(EVENTS, round * 2 + publisher, 2);
                        let outcome = if round % 2 == 0 {
                            registry.publish_next(&locator)
                        } else {
                            let now: Locator<16> = registry.resolve(&uri(EVENTS)).unwrap();
                            locator = locator.with_generation(generation(now.generation().value() + 1));
                            registry.publish(&locator)
                        };
                        match outcome {
                            Ok(generation) => own.push((generation, locator.leases()[0])),
                            Err(PublishError::Stale { current }) => assert!(current >= locator.generation()),
                            Err(error) => panic!("{error}"),
                        }
                    }
                    assert!(own.is_sorted_by(|(a, _), (b, _)| a < b));
                    given.lock().unwrap().extend(own);
                })
            })
            .collect();
        for resolver in 0..2 {
            let registry = ground.registry(20 + resolver);
            let done = &done;
            crew.spawn(move || {
                let (mut watch, mut last, mut seen) = (Watch::new(uri(EVENTS)), Generation::default(), 0_u64);
                while !done.load(Ordering::SeqCst) {
                    let found = if resolver == 0 {
                        match registry.resolve::<16>(&uri(EVENTS)) {
                            Ok(found) => Some(found),
                            Err(ResolveError::Unknown | ResolveError::Busy) => None,
                            Err(error) => panic!("{error}"),
                        }
                    } else {
                        match watch.poll(&registry) {
                            Ok(Some(Change::Published(found))) => {
                                assert!(found.generation() > last);
                                Some(found)
                            }
                            Ok(None) | Err(ResolveError::Busy) => None,
                            other => panic!("{other:?}"),
                        }
                    };
                    let Some(found) = found else { continue };
                    assert!(found.generation() >= last, "never back");
                    last = found.generation();
                    // Whole: both leases are of one number.
                    let number = (0..rounds * 2).rev().find(|number| lease_id(*number, 0) == found.leases()[0]);
                    is_of(&found, number.expect("published"));
                    seen += 1;
                }
                assert!(seen > 0);
            });
        }
        for publisher in publishers {
            publisher.join().unwrap();
        }
    });
    let mut given = given.into_inner().unwrap();
    let count = given.len();
    given.sort_unstable_by_key(|(generation, _)| *generation);
    given.dedup_by_key(|(generation, _)| *generation);
    assert_eq!(given.len(), count, "no generation is given twice");
    let last: Locator<16> = ground.registry(3).resolve(&uri(EVENTS)).unwrap();
    assert_eq!(given.last(), Some(&(last.generation(), last.leases()[0])), "the last one stays");
}

#[test]
fn new_topics_that_come_at_the_same_time_get_one_entry_each() {
    for round in 0..100 * scale() {
        let shape = SMALL.with_topics(5);
        let ground = Ground::new(shape.lease_bytes().unwrap());
        Registry::format(ground.peer::<Cooperative>(1), shape).unwrap();
        crew(|crew| {
            for publisher in 0..3 {
                let registry = ground.registry(10 + publisher);
                crew.spawn(move || {
                    for number in 0..5 {
                        let address = format!("fabric-mq://rack/t{}", (number + u64::from(publisher) + round) % 5);
                        registry.publish_next(&located(&address, number, 1)).unwrap();
                    }
                });
            }
        });
        let registry = ground.registry(2);
        let topics: Vec<_> = registry.locators::<1>().map(|locator| locator.unwrap()).collect();
        assert_eq!(topics.len(), 5);
        for number in 0..5 {
            let address = format!("fabric-mq://rack/t{number}");
            assert_eq!(topics.iter().filter(|locator| locator.uri() == uri(&address)).count(), 1);
            assert_eq!(registry.resolve::<1>(&uri(&address)).unwrap().generation(), generation(3));
        }
    }
}

#[test]
fn a_peer_that_writes_anything_does_no_harm() {
    let ground = Ground::of(&lived_in());
    let good = ground.image();
    let (done, turns, answers) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    crew(|crew| {
        let _whistle = Whistle(&done);
        crew.spawn(|| {
            let mut rng = Rng::new(5);
            while !done.load(Ordering::Relaxed) {
                let at = 128 + rng.size((good.len() - 128) / 4) * 4;
                let word = match rng.below(4) {
                    0 => rng.next() as u32,
                    1 => 1 << rng.below(32),
                    // Back to what was good, so that something is found now and then.
                    _ => u32::from_le_bytes(good[at..at + 4].try_into().unwrap()),
                };
                ground.word(at).store(word, Ordering::Relaxed);
                if rng.one_in(50) {
                    for at in (128..good.len()).step_by(4) {
                        ground
                            .word(at)
                            .store(u32::from_le_bytes(good[at..at + 4].try_into().unwrap()), Ordering::Relaxed);
                    }
                }
            }
        });
        let workers: Vec<_> = (0..2_u32)
            .map(|worker| {
                let registry = Registry::attach(ground.peer::<Untrusted>(30 + worker)).unwrap();
                let (turns, answers) = (&turns, &answers);
                crew.start(move || {
                    let (start, mut watch) = (Instant::now(), Watch::new(uri(ALARMS)));
                    while start.elapsed() < Duration::from_millis(1500 * scale()) {
                        let began = Instant::now();
                        if let Ok(found) = registry.resolve::<16>(&uri(EVENTS)) {
                            assert_eq!(found.leases().len() as u32, found.config().partitions);
                            assert!(found.config().partition_bytes().is_ok());
                            answers.fetch_add(1, Ordering::Relaxed);
                        }
                        let _ = watch.poll::<_, 2>(&registry);
                        if worker == 0 {
                            let _ = registry.publish_next(&located(ALARMS, 1, 1));
                            let _ = registry.locators::<1>().count();
                        }
                        assert!(began.elapsed() < Duration::from_secs(20), "bounded");
                        turns.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
    });
    let (turns, answers) = (turns.into_inner(), answers.into_inner());
    assert!(turns > 10 && answers > 0, "{turns} turns, {answers} answers");
    println!("passed {turns} turns, {answers} answers");
}

// ---- topics that others write

/// What processes share, and what they leave.
trait Shared {
    fn topics(&self) -> Topics;
    fn files(&self) -> Vec<String>;
    /// Nothing may be left once everybody has gone.
    #[track_caller]
    fn is_clean(&self);
}

impl Shared for Folder {
    fn topics(&self) -> Topics {
        TopicManager::with_pool(self.pool(), MachineClock::new())
    }

    fn files(&self) -> Vec<String> {
        fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[track_caller]
    fn is_clean(&self) {
        let reaped = self.pool().reap().unwrap();
        assert!(reaped.unfit.is_empty(), "{reaped:?}");
        assert_eq!(self.files(), Vec::<String>::new());
    }
}

type Topics = TopicManager<SharedPool<MachineClock>, MachineClock>;

fn shape() -> TopicConfig {
    TopicConfig::new().with_partitions(2).with_slots(64).with_capacity(8192)
}

fn leases<L: Lease>(topic: &fabric_mq::topic::Topic<L>) -> Vec<LeaseId> {
    topic.partitions().iter().map(|partition| partition.lease_id()).collect()
}

fn consumer(topics: &Topics, group: &str) -> Consumer<&'static str, Topics> {
    let mut consumer = of_group(group);
    consumer.seek_with(topics, &MemOffsetStore::new(), SeekPolicy::Earliest, &mut []).unwrap();
    consumer
}

#[test]
fn a_topic_that_is_joined_is_read_and_not_written() {
    for full in
        [FullPolicy::Reject, FullPolicy::DropOldest, FullPolicy::DropNewest, FullPolicy::Wait { timeout: ms(5) }]
    {
        let place = Folder::in_memory("joined");
        let (writing, reading) = (place.topics(), place.topics());
        let shape = shape().with_full(full);
        let leases = leases(&writing.create("events", shape).unwrap());
        let topic = reading.join("events", shape, &leases).unwrap();
        assert!(topic.partitions().iter().all(|partition| !partition.is_writable()));
        assert!(topic.partitions().iter().all(|partition| partition.lease().role() == Role::Reader));

        let mut producer = Producer::new("events");
        for number in 0..10_u8 {
            producer.send(&writing, &[number]).unwrap();
        }
        let mut group = consumer(&reading, "group");
        assert_eq!(group.lag(&reading), Ok(10));
        group.pause(1);
        assert!(group.poll(&reading, 4).unwrap().iter().all(|message| message.partition() == 0));
        group.resume(1);
        assert_eq!(group.poll(&reading, 100).unwrap().len(), 6);
        assert_eq!((group.lag(&reading), group.poll(&reading, 100).unwrap().len()), (Ok(0), 0));
        let mut store = MemOffsetStore::new();
        group.commit(&reading, &mut store).unwrap();
        // Another process's member of the group does not get the partitions that this one has.
        let mut second = Consumer::new("events", "group");
        second.assign(&[0]);
        assert_eq!(second.poll(&writing, 1).unwrap_err(), PollError::Claimed { partition: 0 });

        // Nobody sends here, in any way.
        let refused = |partition| SendError::ReadOnly { partition };
        let mut here = Producer::new("events");
        assert_eq!(here.send(&reading, b"x"), Err(refused(0)));
        assert_eq!(here.send(&reading, b"x"), Err(refused(1)));
        assert_eq!(here.send_to(&reading, 0, b"x"), Err(refused(0)));
        assert!(matches!(here.send_keyed(&reading, b"key", b"x"), Err(SendError::ReadOnly { .. })));
        let batch = here.send_batch(&reading, [b"x"]).unwrap_err();
        assert!(matches!((batch.sent, batch.error), (0, SendError::ReadOnly { .. })));
        assert!(refused(0).to_string().contains("promote"), "it says what to do");
        // While the writer lives nobody takes its place; nothing is lost by trying.
        let in_use = TopicError::Lease { partition: 0, error: LeaseError::InUse };
        assert_eq!(reading.promote("events"), Err(in_use));
        producer.send(&writing, b"more").unwrap();
        assert_eq!(group.poll(&reading, 100).unwrap().len(), 1);
        assert_eq!(writing.promote("events"), Ok(()), "what is writable stays so");
        assert_eq!(writing.promote("none"), Err(TopicError::Unknown));

        // To forget a topic of somebody else's takes nothing from that one.
        drop(group);
        reading.delete("events").unwrap();
        assert!(producer.send(&writing, b"still").is_ok());
        assert_eq!(
            reading.join("events", shape, &leases[..1]).unwrap_err(),
            TopicError::Partitions { wanted: 2, max: 1 }
        );
        drop((topic, writing, reading, producer, here, second));
        place.is_clean();
    }
}

#[test]
fn pools_without_readers_say_so() {
    let clock = Arc::new(ManualClock::new());
    let topics = TopicManager::with_pool(HeapPool::new(Arc::clone(&clock)), clock);
    let leases = leases(&topics.create("events", shape()).unwrap());
    let unsupported = TopicError::Lease { partition: 0, error: LeaseError::Unsupported };
    assert_eq!(topics.join("other", shape(), &leases).unwrap_err(), unsupported);
}

#[test]
fn a_writers_place_that_is_free_is_taken_over_while_consumers_read_on() {
    for full in [FullPolicy::Reject, FullPolicy::DropOldest] {
        let place = Folder::in_memory("promote");
        let (writing, reading) = (place.topics(), place.topics());
        let shape = shape().with_full(full);
        let topic = writing.create("events", shape).unwrap();
        let leases = leases(&topic);
        let mut producer = Producer::new("events");
        for number in 0..6_u8 {
            producer.send(&writing, &[number]).unwrap();
        }
        let joined = reading.join("events", shape, &leases).unwrap();
        let mut group = consumer(&reading, "group");
        assert_eq!(group.poll(&reading, 4).unwrap().len(), 4);
        let mut here = Producer::new("events");
        for id in &leases {
            writing.pool().fence(*id).unwrap();
        }
        let in_use = |partition| Err(TopicError::Lease { partition, error: LeaseError::InUse });
        assert_eq!(reading.promote("events"), in_use(0), "who is fenced still has to go");
        drop((topic, writing, producer));
        // One lease is free, the other one is not: nothing is taken.
        let other = place.pool().attach(leases[1]).unwrap();
        assert_eq!(reading.promote("events"), in_use(1));
        assert!(joined.partitions().iter().all(|partition| !partition.is_writable()));
        assert_eq!(here.send(&reading, b"x"), Err(SendError::ReadOnly { partition: 0 }));
        assert_eq!(group.lag(&reading), Ok(2), "and consumers do not notice");
        other.detach();

        reading.promote("events").unwrap();
        assert!(joined.partitions().iter().all(|partition| partition.is_writable()));
        reading.promote("events").unwrap();
        for number in 6..12_u8 {
            here.send(&reading, &[number]).unwrap();
        }
        here.send_keyed(&reading, b"key", &[12]).unwrap();
        let mut rest: Vec<_> = group.poll(&reading, 100).unwrap().iter().map(|message| message.payload()[0]).collect();
        rest.sort_unstable();
        assert_eq!(rest, (4..13).collect::<Vec<_>>(), "none is lost, none comes twice");
        // The next reader sees the higher epoch, and cannot take the place over.
        let third = place.topics();
        let again = third.join("events", shape, &leases).unwrap();
        assert!(again.partitions().iter().all(|partition| partition.lease().epoch() == Epoch::new(3)));
        assert!(third.promote("events").is_err());
        // Now it is this one's to delete.
        reading.delete("events").unwrap();
        let mut late = of_group("late");
        assert_eq!(
            late.poll(&third, 1).unwrap_err(),
            PollError::Lease { partition: 0, error: LeaseError::Revoked },
            "deleted by its holder"
        );
        drop((late, group, again, joined, third, reading, here));
        place.is_clean();
    }
}

fn of_group(group: &str) -> Consumer<&'static str, Topics> {
    let mut consumer = Consumer::new("events", group);
    consumer.assign(&[0, 1]);
    consumer
}

/// Two cores that share memory: one has the writers' places, the other one reads.
#[test]
#[allow(unsafe_code, reason = "memory that two tables share")]
fn static_topics_are_read_where_somebody_else_writes() {
    let config = TopicConfig::new().with_partitions(2).with_slots_and_stride(16, 64).with_groups(2);
    let bytes = config.partition_bytes().unwrap();
    let memory: [Owned<Exclusive>; 2] = [Owned::new(bytes), Owned::new(bytes)];
    let leases = || {
        // SAFETY: the memory lives as long as the tables below; all who have it are rings.
        memory.iter().map(|memory| unsafe { SliceLease::cooperative(memory.base(), bytes) })
    };
    let clock = ManualClock::new();
    let (mut here, mut there): (StaticRings<_, 1, 2>, StaticRings<_, 1, 2>) = (StaticRings::new(), StaticRings::new());
    here.create_in(leases(), "events", config, &clock).unwrap();
    there.attach_in(leases(), "events", config).unwrap();
    let writing = StaticTopics::new(&here, &clock).unwrap();
    let reading = StaticTopics::reading(&there, &clock).unwrap();
    let mut producer = Producer::new("events");
    for number in 0..4_u8 {
        producer.send(&writing, &[number]).unwrap();
    }
    let mut refused = Producer::new("events");
    assert_eq!(refused.send(&reading, b"x"), Err(SendError::ReadOnly { partition: 0 }));
    let mut consumer = Consumer::new("events", "group");
    consumer.assign(&[0, 1]);
    assert_eq!(consumer.poll_with(&reading, 2, |_| {}), Ok(2));
    assert!(StaticTopics::new(&there, &clock).is_err(), "the place is taken");
    // The one gives its places up, the other one takes them; its consumer goes on where it was.
    drop(writing);
    let promoted = StaticTopics::new(&there, &clock).unwrap();
    refused.send_to(&promoted, 0, b"x").unwrap();
    assert_eq!(consumer.poll_with(&promoted, 10, |_| {}), Ok(3));
}

// ---- other processes

/// Another process in a role that has a number.
fn actor(place: &Folder, role: &str, number: u64) -> Actor {
    Actor::start(place, role, &[("NUMBER", &number.to_string())])
}

#[test]
#[ignore = "run by the other tests of this file: cargo test --test locator"]
fn an_actor_of_another_test() {
    let Some(role) = process::role() else { return };
    let pool = process::pool(&process::given_place());
    let number: u64 = setting("NUMBER").parse().unwrap();
    match role.as_str() {
        "write" => write(pool, number),
        "succeed" => succeed(pool, number),
        "publish" => publish(pool, number),
        "open" => open(pool, number),
        role => panic!("no such role: {role}"),
    }
}

fn registry_of(pool: &SharedPool<MachineClock>) -> Registry<SharedLease> {
    Registry::open(pool, RegistryConfig::new().with_topics(8)).unwrap()
}

/// Publishes a topic, sends some records, and waits to be killed.
fn write(pool: SharedPool<MachineClock>, count: u64) {
    let registry = registry_of(&pool);
    let topics = TopicManager::with_pool(pool, MachineClock::new());
    let topic = topics.create("events", shape()).unwrap();
    let locator: Locator<16> = Locator::of("rack", PoolKind::Shared, topic.view()).unwrap();
    say(registry.publish_next(&locator).unwrap());
    let mut producer = Producer::new("events");
    for number in 0..count {
        producer.send(&topics, &number.to_le_bytes()).unwrap();
    }
    say("sent");
    wait_for_word();
}

/// Takes over the topic of a writer that died, publishes it again, and goes on.
fn succeed(pool: SharedPool<MachineClock>, count: u64) {
    let registry = registry_of(&pool);
    let found: Locator<16> = registry.resolve(&uri(EVENTS)).unwrap();
    assert!(registry.is_orphaned(&found));
    let topics = TopicManager::with_pool(pool, MachineClock::new());
    let topic = topics.attach("events", found.config(), found.leases()).unwrap();
    let locator: Locator<16> = Locator::of("rack", PoolKind::Shared, topic.view()).unwrap();
    assert_eq!(locator.epoch().value(), found.epoch().value() + 1);
    say(registry.publish_next(&locator).unwrap());
    let mut producer = Producer::new("events");
    for number in 0..count {
        producer.send(&topics, &(1000 + number).to_le_bytes()).unwrap();
    }
    say("sent");
    wait_for_word();
}

/// Publishes until it is killed.
fn publish(pool: SharedPool<MachineClock>, number: u64) {
    let registry = registry_of(&pool);
    say("publishes");
    for round in 0.. {
        registry.publish_next(&located(EVENTS, number * 1_000_000 + round, 2)).unwrap();
    }
}

/// Opens the registry in the same moment as others do, and publishes a topic of its own.
fn open(pool: SharedPool<MachineClock>, number: u64) {
    say("ready");
    wait_for_word();
    let registry = registry_of(&pool);
    registry.publish_next(&located(&format!("fabric-mq://rack/t{number}"), number, 1)).unwrap();
    say("published");
    wait_for_word();
    say(registry.locators::<16>().filter(Result::is_ok).count());
    wait_for_word();
}

fn numbers(consumer: &mut Consumer<&'static str, Topics>, topics: &Topics) -> Vec<u64> {
    let mut found: Vec<_> = consumer
        .poll(topics, 1000)
        .unwrap()
        .iter()
        .map(|message| u64::from_le_bytes(message.payload().try_into().unwrap()))
        .collect();
    found.sort_unstable();
    found
}

#[test]
fn a_process_finds_anothers_topic_and_reads_on_when_that_one_is_killed_and_followed() {
    let place = Folder::in_memory("processes");
    let first = actor(&place, "write", 20);
    first.says("1");
    first.says("sent");
    let topics = place.topics();
    let registry = registry_of(topics.pool());
    let mut watch = Watch::new(uri(EVENTS));
    let Ok(Some(Change::<16>::Published(found))) = watch.poll(&registry) else { panic!("it is published") };
    assert_eq!((found.kind(), found.epoch(), found.generation()), (PoolKind::Shared, Epoch::new(1), generation(1)));
    assert_eq!((found.config().slots, found.config().capacity), (64, 8192));
    assert!(!registry.is_orphaned(&found));
    topics.join("events", found.config(), found.leases()).unwrap();
    let mut group = consumer(&topics, "group");
    assert_eq!(numbers(&mut group, &topics), (0..20).collect::<Vec<_>>());
    assert!(matches!(topics.promote("events"), Err(TopicError::Lease { error: LeaseError::InUse, .. })));
    assert_eq!(registry.withdraw_dead(), Ok(0));
    first.kill();
    assert!(registry.is_orphaned(&found));
    // Where it is, is still known: whoever follows it needs that.
    assert_eq!(registry.resolve::<16>(&uri(EVENTS)).unwrap(), found);
    assert!(watch.poll::<_, 16>(&registry).unwrap().is_none());

    let second = actor(&place, "succeed", 10);
    second.says("2");
    second.says("sent");
    let Ok(Some(Change::<16>::Published(again))) = watch.poll(&registry) else { panic!("it is published again") };
    assert_eq!((again.generation(), again.epoch(), again.leases()), (generation(2), Epoch::new(2), found.leases()));
    assert_eq!(numbers(&mut group, &topics), (1000..1010).collect::<Vec<_>>());
    // The dead one's record, should it come from somewhere, is refused.
    assert!(matches!(registry.publish_next(&found), Err(PublishError::Fenced { .. })));
    second.kill();

    // This process follows.
    topics.promote("events").unwrap();
    let own: Locator<16> = Locator::of("rack", PoolKind::Shared, topics.open("events").unwrap().view()).unwrap();
    assert_eq!(own.epoch(), Epoch::new(3));
    assert_eq!(registry.publish_next(&own), Ok(generation(3)));
    let mut producer = Producer::new("events");
    for number in 0..10_u64 {
        producer.send(&topics, &(2000 + number).to_le_bytes()).unwrap();
    }
    assert_eq!(numbers(&mut group, &topics), (2000..2010).collect::<Vec<_>>());
    assert_eq!(registry.withdraw(&uri(EVENTS), generation(3)), Ok(generation(4)));
    drop((group, producer, topics, registry));
    place.is_clean();
}

#[test]
fn what_the_dead_published_is_withdrawn_when_somebody_says_so() {
    let place = Folder::in_memory("withdrawn");
    let writer = actor(&place, "write", 1);
    writer.says("1");
    let pool = place.pool();
    let registry = registry_of(&pool);
    registry.publish_next(&located(ALARMS, 1, 1)).unwrap();
    assert_eq!(registry.withdraw_dead(), Ok(0));
    writer.kill();
    assert_eq!(registry.withdraw_dead(), Ok(1));
    assert_eq!(registry.resolve::<16>(&uri(EVENTS)), Err(ResolveError::Withdrawn { generation: generation(2) }));
    is_of(&registry.resolve(&uri(ALARMS)).unwrap(), 1);
    drop(registry);
    place.is_clean();
}

#[test]
fn a_killed_publisher_holds_nobody_up() {
    let place = Folder::in_memory("killed");
    let pool = place.pool();
    let registry = registry_of(&pool);
    let mut last = Generation::default();
    let mut rng = Rng::new(6);
    for round in 0..12 * scale() {
        let mut actors: Vec<_> = (0..2).map(|number| actor(&place, "publish", round * 2 + number)).collect();
        actors.iter_mut().for_each(|actor| actor.says("publishes"));
        std::thread::sleep(Duration::from_micros(rng.below(5000)));
        actors.into_iter().for_each(Actor::kill);
        // Old or new, and whole.
        if let Ok(found) = registry.resolve::<16>(&uri(EVENTS)) {
            assert!(found.generation() >= last);
            // This process's have one partition.
            if found.config().partitions == 2 {
                let numbers = (0..2).flat_map(|actor| (0..100_000).map(move |n| (round * 2 + actor) * 1_000_000 + n));
                let number = numbers.into_iter().find(|number| lease_id(*number, 0) == found.leases()[0]);
                is_of(&found, number.expect("one of theirs"));
            }
            last = found.generation();
        }
        let own = registry.publish_next(&located(EVENTS, round, 1)).unwrap();
        assert!(own > last);
        last = own;
    }
    assert!(last.value() as u64 > 100, "they did publish: {last}");
    drop(registry);
    place.is_clean();
}

#[test]
fn processes_that_open_the_registry_at_the_same_time_have_the_same_one() {
    let place = Folder::in_memory("race");
    for round in 0..4 * scale() {
        let mut actors: Vec<_> = (0..4).map(|number| actor(&place, "open", number)).collect();
        actors.iter_mut().for_each(|actor| actor.says("ready"));
        actors.iter_mut().for_each(Actor::tell);
        actors.iter_mut().for_each(|actor| actor.says("published"));
        actors.iter_mut().for_each(Actor::tell);
        actors.iter_mut().for_each(|actor| actor.says("4"));
        actors.iter_mut().for_each(Actor::tell);
        if round % 2 == 0 {
            actors.into_iter().for_each(Actor::ends_well);
        } else {
            actors.into_iter().for_each(Actor::kill);
        }
        place.is_clean();
    }
}

#[test]
fn a_registry_whose_maker_died_is_made_by_the_next_and_a_damaged_one_is_not() {
    let place = Folder::in_memory("maker");
    let pool = place.pool();
    let lease = Name::new("fabric-mq.registry").unwrap();
    // Died before it was formatted, and in the middle.
    for first in [0_u32, 1] {
        let made = pool.acquire_named(&lease, RegistryConfig::new().lease_bytes().unwrap(), Ticks::MAX).unwrap();
        poke(&made, 4, first);
        made.abandon();
        let registry = registry_of(&pool);
        registry.publish_next(&located(EVENTS, 1, 1)).unwrap();
        drop(registry);
        assert_eq!(pool.reap().unwrap().removed.len(), 1);
    }
    // Nobody has it: it is still there until it is reaped.
    registry_of(&pool).publish_next(&located(EVENTS, 1, 1)).unwrap();
    is_of(&registry_of(&pool).resolve(&uri(EVENTS)).unwrap(), 1);
    let keep = registry_of(&pool);
    let joined = pool.join_named(&lease).unwrap();
    for (at, why) in [(0, RegistryError::NotARegistry), (16, RegistryError::Damaged)] {
        poke(&joined, at, 0xff);
        assert_eq!(Registry::open(&pool, RegistryConfig::new()).map(drop), Err(why), "in use, and not made anew");
        poke(&joined, at, 0xff);
        is_of(&keep.resolve(&uri(EVENTS)).unwrap(), 1);
        is_of(&registry_of(&pool).resolve(&uri(EVENTS)).unwrap(), 1);
    }
    assert_eq!(Registry::format(joined, SMALL).map(drop), Err(RegistryError::Lease(LeaseError::Unsupported)));
    drop(keep);
    place.is_clean();
}

#[allow(unsafe_code, reason = "a word of a lease")]
fn poke(lease: &SharedLease, at: usize, flip: u32) {
    assert!(at + 4 <= lease.len());
    // SAFETY: in the lease.
    let word = unsafe { lease.base().as_ptr().add(at) }.cast::<AtomicU32>();
    // SAFETY: aligned, by an atomic.
    let word = unsafe { &*word };
    word.fetch_xor(flip, Ordering::SeqCst);
}

#[test]
fn errors_say_what_to_do() {
    let (damaged, busy) = ("discard_damaged", "try again");
    let newer = "use a newer one";
    for (error, remedy) in [
        (RecordError::Buffer { needed: 77 }.to_string(), "a buffer of that size"),
        (RecordError::Crc.to_string(), "published again"),
        (RecordError::Partitions { found: 7, max: 4 }.to_string(), "use a larger Locator"),
        (RecordError::Version { found: 2 }.to_string(), newer),
        (RegistryError::Busy.to_string(), busy),
        (RegistryError::Damaged.to_string(), "format the lease again"),
        (RegistryError::Features { needed: 1 }.to_string(), newer),
        (RegistryError::NotARegistry.to_string(), "format it"),
        (RegistryError::Shape.to_string(), "1 to 4096 topics of 1 to 1024 partitions"),
        (RegistryError::TooShort { needed: 9, found: 8 }.to_string(), "lease more"),
        (RegistryError::Version { found: 2 }.to_string(), newer),
        (ResolveError::Busy.to_string(), busy),
        (ResolveError::Damaged { entry: 3 }.to_string(), damaged),
        (ResolveError::NoSuchPartition { partition: 4, partitions: 4 }.to_string(), "numbered from 0"),
        (ResolveError::Partitions { found: 7, max: 4 }.to_string(), "use a larger Locator"),
        (ResolveError::Stale { seen: 3.into(), found: 2.into() }.to_string(), "not to be believed"),
        (ResolveError::Unknown.to_string(), "publish it first"),
        (ResolveError::Withdrawn { generation: 3.into() }.to_string(), "wait until it is published again"),
        (PublishError::Busy.to_string(), busy),
        (PublishError::Damaged { entry: 3 }.to_string(), damaged),
        (PublishError::Exhausted.to_string(), "choose another name"),
        (PublishError::Fenced { current: 3.into() }.to_string(), "this one is finished"),
        (PublishError::Full { limit: 4 }.to_string(), "withdraw one"),
        (PublishError::Names { needed: 9, max: 8 }.to_string(), "with_names"),
        (PublishError::Partitions { found: 9, max: 8 }.to_string(), "with_partitions"),
        (PublishError::Stale { current: 3.into() }.to_string(), "publish_next"),
    ] {
        assert!(error.contains(remedy), "{error:?} does not say {remedy:?}");
    }
}
