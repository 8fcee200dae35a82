//! Leases that processes share, with real processes: this program starts itself again in another role, and is killed.

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
use fabric_mq::clock::{Clock, MachineClock, ManualClock};
use fabric_mq::lease::{Cooperative, Lease, Pool, Role, SharedLease, SharedPool, Trust, Untrusted};
use fabric_mq::ring::{Keep, Overwrite, Reader, Retain, Ring, RingConfig, Start, Writer};
use fabric_mq::{ConfigError, Epoch, JoinError, LeaseError, LeaseId, Name, ReadError, Ticks, Unfit, WriteError};
use process::{Actor, Folder, PATIENCE, say, setting, wait_for_word};
use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const HOUR: Ticks = Ticks::from_millis(3_600_000);

fn ms(ms: u64) -> Ticks {
    Ticks::from_millis(ms)
}

fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Tries again until it works, for ten seconds.
#[track_caller]
fn soon<R>(what: &str, mut look: impl FnMut() -> Option<R>) -> R {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{what} does not come about");
        pause(1);
    }
}

/// What a pool leaves in its directory.
trait Files {
    fn with_clock(&self) -> (Arc<ManualClock>, SharedPool<Arc<ManualClock>>);
    fn lease(&self, id: LeaseId) -> PathBuf;
    fn hold(&self, id: LeaseId) -> PathBuf;
    fn files(&self) -> usize;
}

impl Files for Folder {
    fn with_clock(&self) -> (Arc<ManualClock>, SharedPool<Arc<ManualClock>>) {
        let clock = Arc::new(ManualClock::new());
        // Behind what is made at 0 in the same start of the machine.
        clock.set(ms(1000));
        (Arc::clone(&clock), SharedPool::open(&self.0, clock).unwrap())
    }

    fn lease(&self, id: LeaseId) -> PathBuf {
        self.0.join(format!("{:032x}.lease", id.value()))
    }

    fn hold(&self, id: LeaseId) -> PathBuf {
        self.0.join(format!("{:032x}.hold", id.value()))
    }

    fn files(&self) -> usize {
        fs::read_dir(&self.0).unwrap().count()
    }
}

// ---- other processes

#[test]
#[ignore = "run by the other tests of this file: cargo test --test shared_leases"]
fn an_actor_of_another_test() {
    let Some(role) = process::role() else { return };
    match (role.as_str(), setting("KEEP").as_str(), setting("TRUST").as_str()) {
        ("write", "retain", "untrusted") => write::<Retain, _>(untrusted()),
        ("write", "retain", _) => write::<Retain, _>(cooperative()),
        ("write", "overwrite", "untrusted") => write::<Overwrite, _>(untrusted()),
        ("write", _, _) => write::<Overwrite, _>(cooperative()),
        ("read", "retain", "untrusted") => read_by_copy::<Retain, _>(untrusted()),
        ("read", "retain", _) => read_in_place(cooperative()),
        ("read", _, "untrusted") => read_by_copy::<Overwrite, _>(untrusted()),
        ("read", _, _) => read_by_copy::<Overwrite, _>(cooperative()),
        ("race", _, _) => race(untrusted()),
        ("hold", _, _) => hold(untrusted()),
        ("mill", _, _) => mill(untrusted()),
        _ => panic!("no such role: {role}"),
    }
}

fn untrusted() -> SharedPool<MachineClock> {
    process::pool(&process::given_place())
}

#[allow(unsafe_code, reason = "the processes of these tests follow the protocol")]
fn cooperative() -> SharedPool<MachineClock, Cooperative> {
    // SAFETY: all processes that open the directory are of this program.
    unsafe { untrusted().cooperative() }
}

const LOG: &str = "log";
const SHAPE: RingConfig = RingConfig::new(64, 8192).with_readers(8);
/// The last record's tag.
const LAST: u8 = 1;

/// The one payload that the record of an offset can have: any other byte, or length, is a torn record.
fn payload(offset: u64, into: &mut Vec<u8>) {
    let mut rng = Rng::new(offset ^ 0x5eed);
    into.clear();
    into.extend(offset.to_le_bytes());
    let more = rng.next() % 200;
    into.extend((0..more).map(|at| (at ^ offset) as u8));
}

/// Opens the log as its writer, in whatever state it is.
fn writing<K: Keep, T: Trust>(pool: &SharedPool<MachineClock, T>) -> Ring<SharedLease<T>, K> {
    let ttl = setting("TTL").parse().map_or(HOUR, ms);
    match pool.attach_named(&name(LOG)) {
        Err(LeaseError::Unknown) => {
            let lease = pool.acquire_named(&name(LOG), SHAPE.lease_bytes().unwrap(), ttl).unwrap();
            let shape = if setting("TAKEOVER").is_empty() { SHAPE } else { SHAPE.with_takeover() };
            Ring::format(lease, shape).unwrap()
        }
        left => Ring::attach(left.unwrap()).unwrap(),
    }
}

/// Writes until it is killed, or its lease ends; or, told how many, a number of records.
fn write<K: Keep, T: Trust>(pool: SharedPool<MachineClock, T>) {
    let ring: Ring<_, K> = writing(&pool);
    let mut writer = Writer::claim(&ring).unwrap();
    let mut next = writer.next_offset().value();
    say(format_args!("epoch {}", ring.lease().epoch()));
    say(format_args!("next {next}"));
    if !setting("WAIT").is_empty() {
        wait_for_word();
    }
    let end = setting("COUNT").parse().map_or(u64::MAX, |count: u64| next + count);
    let mut bytes = Vec::new();
    while next < end {
        payload(next, &mut bytes);
        let tag = if next + 1 == end { LAST } else { 0 };
        match writer.write_tagged(tag, &bytes) {
            Ok(offset) => {
                assert_eq!(offset.value(), next);
                next += 1;
            }
            Err(WriteError::Full) => std::thread::yield_now(),
            Err(WriteError::Lease(end)) => {
                say(format_args!("{end:?}"));
                assert_eq!(writer.write(b"after the end"), Err(end.into()));
                say(format_args!("told {next}"));
                return;
            }
            Err(WriteError::Sealed) => {
                say("Fenced");
                assert!(writer.write(b"after the end").is_err());
                say(format_args!("told {next}"));
                return;
            }
            Err(error) => panic!("{error}"),
        }
    }
    say(format_args!("wrote {next}"));
    wait_for_word();
}

fn joined<K: Keep, T: Trust>(pool: &SharedPool<MachineClock, T>) -> Ring<SharedLease<T>, K> {
    soon("the log", || {
        let lease = match pool.join_named(&name(LOG)) {
            Err(LeaseError::Unknown | LeaseError::Disconnected) => return None,
            lease => lease.unwrap(),
        };
        // Until it is formatted.
        Ring::attach(lease).ok()
    })
}

fn checked(offset: u64, found: &[u8], bytes: &mut Vec<u8>) {
    payload(offset, bytes);
    assert!(found == &bytes[..], "record {offset} is torn: {found:?}");
}

fn read_in_place<T: Trust + fabric_mq::lease::Lend>(pool: SharedPool<MachineClock, T>) {
    let ring: Ring<_, Retain> = joined(&pool);
    let mut reader = Reader::join(&ring, &setting("NAME"), Start::Earliest).unwrap();
    say("reads");
    let (mut count, mut bytes) = (reader.next_offset().value(), Vec::new());
    loop {
        match reader.next() {
            Ok(Some(record)) => {
                checked(record.offset().value(), record.payload(), &mut bytes);
                assert_eq!(record.offset().value(), count, "none is left out");
                count += 1;
                if record.tag() == LAST {
                    return say(format_args!("read {count}"));
                }
            }
            Ok(None) => std::thread::yield_now(),
            Err(ReadError::Lease(end)) => return say(format_args!("{end:?}")),
            Err(error) => panic!("{error}"),
        }
    }
}

fn read_by_copy<K: Keep, T: Trust>(pool: SharedPool<MachineClock, T>) {
    let ring: Ring<_, K> = joined(&pool);
    let mut reader = Reader::join(&ring, &setting("NAME"), Start::Earliest).unwrap();
    say("reads");
    let (mut next, mut count, mut bytes) = (reader.next_offset().value(), 0, Vec::new());
    let mut buffer = [0; 256];
    loop {
        match reader.copy_next(&mut buffer) {
            Ok(Some(record)) => {
                checked(record.offset().value(), &buffer[..record.len()], &mut bytes);
                assert_eq!(record.offset().value(), next, "none is left out but those that were told");
                next += 1;
                count += 1;
                if record.tag() == LAST {
                    assert_eq!(reader.lost() + count, next, "every loss is told");
                    return say(format_args!("read {count}"));
                }
            }
            Ok(None) => std::thread::yield_now(),
            Err(ReadError::Overrun { lost }) => next += lost,
            Err(ReadError::Lease(end)) => return say(format_args!("{end:?}")),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Joins, and holds on.
fn hold(pool: SharedPool<MachineClock>) {
    let lease = pool.join_named(&name(LOG)).unwrap();
    say("holds");
    wait_for_word();
    say(format_args!("{:?}", lease.check()));
}

// ---- one writes, three read

fn one_writes_three_read(test: &str, keep: &str, trust: &str) {
    let place = Folder::in_memory(test);
    let count = 20_000 * scale();
    let with = [("KEEP", keep), ("TRUST", trust), ("WAIT", "yes"), ("COUNT", &count.to_string())];
    let mut writer = Actor::start(&place, "write", &with);
    assert_eq!((writer.number("epoch"), writer.number("next")), (1, 0));
    let names = ["a", "b", "c"];
    let mut readers = names.map(|name| Actor::start(&place, "read", &[with[0], with[1], ("NAME", name)]));
    for reader in &mut readers {
        reader.says("reads");
    }
    writer.tell();
    assert_eq!(writer.number("wrote"), count);
    for reader in readers {
        let read = reader.number("read");
        assert!(read == count || keep == "overwrite" && (1..=count).contains(&read), "{read} of {count}");
        reader.ends_well();
    }
    writer.tell();
    writer.ends_well();
    assert_eq!(place.files(), 0, "given back");
}

#[test]
fn three_processes_read_in_place_what_a_fourth_writes() {
    one_writes_three_read("in-place", "retain", "cooperative");
}

#[test]
fn three_processes_read_by_copy_what_a_fourth_writes() {
    one_writes_three_read("by-copy", "retain", "untrusted");
}

#[test]
fn three_processes_read_what_a_fourth_overwrites() {
    one_writes_three_read("overwriting", "overwrite", "cooperative");
    one_writes_three_read("overwriting", "overwrite", "untrusted");
}

// ---- the writer is killed

fn killed_writers(test: &str, keep: &str, trust: &str, tail: impl Fn() -> u64, place: &Folder) {
    let rounds = 20 * scale();
    let with = [("KEEP", keep), ("TRUST", trust)];
    let mut rng = Rng::new(0x6b69_6c6c);
    let mut readers = Vec::new();
    let mut expected = 0;
    for round in 1..=rounds {
        let mut writer =
            Actor::start(place, "write", &[with[0], with[1], ("WAIT", if round == 1 { "yes" } else { "" })]);
        assert_eq!(writer.number("epoch"), round, "each takes over by the next higher epoch");
        assert_eq!(writer.number("next"), expected, "goes on behind the last committed record");
        if round == 1 {
            for name in ["a", "b", "c"] {
                let reader = Actor::start(place, "read", &[with[0], with[1], ("NAME", name)]);
                reader.says("reads");
                readers.push(reader);
            }
            writer.tell();
        }
        std::thread::sleep(Duration::from_micros(rng.next() % 20_000));
        writer.kill();
        let now = tail();
        assert!(now >= expected, "nothing committed is lost: {now} {expected}");
        expected = now;
    }
    assert!(expected > rounds, "they have written something: {expected}");
    let mut last = Actor::start(place, "write", &[with[0], with[1], ("COUNT", "100")]);
    assert_eq!((last.number("epoch"), last.number("next")), (rounds + 1, expected));
    assert_eq!(last.number("wrote"), expected + 100);
    for reader in readers {
        let read = reader.number("read");
        assert!(read == expected + 100 || keep == "overwrite", "{read}");
        reader.ends_well();
    }
    last.tell();
    last.ends_well();
    println!("{test}: {rounds} writers killed over {expected} records");
}

#[test]
fn readers_read_on_while_writers_are_killed_and_replaced() {
    let place = Folder::in_memory("killed");
    let pool = place.pool();
    // Looks at the log, and takes no part.
    let tail = || Ring::<_, Retain>::attach(pool.join_named(&name(LOG)).unwrap()).unwrap().tail().value();
    killed_writers("retain", "retain", "cooperative", tail, &place);
    assert_eq!(place.files(), 0);
}

#[test]
fn readers_read_on_while_overwriting_writers_are_killed_and_replaced() {
    let place = Folder::in_memory("killed-overwriting");
    let pool = place.pool();
    let tail = || Ring::<_, Overwrite>::attach(pool.join_named(&name(LOG)).unwrap()).unwrap().tail().value();
    killed_writers("overwrite", "overwrite", "untrusted", tail, &place);
    assert_eq!(place.files(), 0);
}

// ---- how leases end, across processes

fn ends(test: &str, ttl: &str, wanted: &str, end: impl FnOnce(&SharedPool<MachineClock>, LeaseId)) {
    let place = Folder::in_memory(test);
    let pool = place.pool();
    let writer = Actor::start(&place, "write", &[("KEEP", "overwrite"), ("TTL", ttl)]);
    writer.number("epoch");
    writer.number("next");
    let reader = Actor::start(&place, "read", &[("KEEP", "overwrite"), ("NAME", "a")]);
    reader.says("reads");
    let lease = pool.join_named(&name(LOG)).unwrap();
    assert_eq!((lease.check(), lease.role(), lease.epoch()), (Ok(()), Role::Reader, Epoch::new(1)));
    end(&pool, lease.id());
    writer.says(wanted);
    reader.says(wanted);
    assert_eq!(format!("{:?}", lease.check().unwrap_err()), wanted);
    writer.ends_well();
    reader.ends_well();
    drop(lease);
    assert_eq!(place.files(), 0, "the holder's end removed it");
}

#[test]
fn all_processes_are_told_that_a_lease_expired() {
    ends("expires", "300", "Expired", |pool, id| {
        let start = Instant::now();
        soon("expiry", || (pool.sweep() == 1).then_some(()));
        assert!(start.elapsed() > Duration::from_millis(50), "not before its time");
        assert_eq!(pool.sweep(), 0, "it is told once");
        let renewed = pool.renew(id, HOUR);
        assert!(matches!(renewed, Err(LeaseError::Expired | LeaseError::Unknown)), "{renewed:?}");
    });
}

#[test]
fn renewal_by_another_process_moves_the_end() {
    ends("renewed", "300", "Expired", |pool, id| {
        let start = Instant::now();
        let mut until = Ticks::ZERO;
        while start.elapsed() < Duration::from_millis(900) {
            let next = pool.renew(id, ms(300)).unwrap();
            assert!(next >= until);
            until = next;
            assert_eq!(pool.sweep(), 0);
            pause(50);
        }
        soon("expiry", || (pool.sweep() == 1).then_some(()));
        assert!(pool.clock().now() >= until);
    });
}

#[test]
fn all_processes_are_told_that_a_lease_was_revoked() {
    ends("revoked", "", "Revoked", |pool, id| {
        pool.revoke(id).unwrap();
        // Its holder may have gone already.
        let fenced = pool.fence(id);
        assert!(matches!(fenced, Err(LeaseError::Revoked | LeaseError::Unknown)), "{fenced:?}");
        let joined = pool.join(id).map(|_| ());
        assert!(matches!(joined, Err(LeaseError::Revoked | LeaseError::Unknown)), "{joined:?}");
    });
}

#[test]
fn readers_are_told_that_a_lease_was_released() {
    let place = Folder::in_memory("released");
    let pool = place.pool();
    let mut writer = Actor::start(&place, "write", &[("COUNT", "3")]);
    assert_eq!((writer.number("epoch"), writer.number("next"), writer.number("wrote")), (1, 0, 3));
    let lease = pool.join_named(&name(LOG)).unwrap();
    assert_eq!(pool.acquire_named(&name(LOG), 1, HOUR).map(|_| ()), Err(LeaseError::InUse));
    writer.tell();
    writer.ends_well();
    assert_eq!(lease.check(), Err(LeaseError::Released));
    // What was committed is read until the lease is dropped.
    assert_eq!(pool.join_named(&name(LOG)).map(|_| ()), Err(LeaseError::Unknown));
    // The name is free, though a reader is still there.
    let next = pool.acquire_named(&name(LOG), 1, HOUR).unwrap();
    assert_eq!((next.check(), lease.check()), (Ok(()), Err(LeaseError::Released)));
}

#[test]
fn a_fenced_holder_is_told_and_nobody_takes_over_before_it_is_gone() {
    let place = Folder::in_memory("fenced");
    let pool = place.pool();
    let mut writer = Actor::start(&place, "write", &[("KEEP", "overwrite"), ("WAIT", "yes")]);
    assert_eq!((writer.number("epoch"), writer.number("next")), (1, 0));
    let reading = pool.join_named(&name(LOG)).unwrap();
    let id = reading.id();
    assert_eq!(pool.fence(id), Ok(Epoch::new(2)));
    assert_eq!(pool.fence(id), Ok(Epoch::new(2)), "once more changes nothing");
    assert_eq!(reading.check(), Ok(()), "readers read on");
    assert_eq!(pool.attach(id).map(|_| ()), Err(LeaseError::InUse));
    assert_eq!(pool.renew(id, HOUR), Err(LeaseError::Fenced));
    writer.tell();
    writer.says("Fenced");
    writer.ends_well();
    let lease = pool.attach(id).unwrap();
    assert_eq!((lease.epoch(), lease.check(), lease.role()), (Epoch::new(2), Ok(()), Role::Writer));
    let ring: Ring<_, Overwrite> = Ring::attach(lease).unwrap();
    assert_eq!(Writer::claim(&ring).unwrap().write(b"on").unwrap().value(), 0, "nothing of the fenced one is there");
    assert_eq!((reading.check(), reading.epoch()), (Ok(()), Epoch::new(2)));
}

#[test]
fn a_stopped_holder_is_not_dead() {
    let place = Folder::in_memory("stopped");
    let pool = place.pool();
    let writer = Actor::start(&place, "write", &[("KEEP", "overwrite"), ("TTL", "200")]);
    assert_eq!((writer.number("epoch"), writer.number("next")), (1, 0));
    let id = SharedPool::<MachineClock>::id_of(&name(LOG));
    writer.signal(Signal::STOP);
    soon("expiry", || (pool.sweep() == 1).then_some(()));
    assert_eq!(pool.attach(id).map(|_| ()), Err(LeaseError::InUse), "it may be in the middle of a store");
    assert_eq!(pool.reap().unwrap().removed, []);
    assert_eq!((pool.sweep(), place.files()), (0, 2));
    assert_eq!(pool.acquire_named(&name(LOG), 1, HOUR).map(|_| ()), Err(LeaseError::InUse));
    writer.signal(Signal::CONT);
    writer.says("Expired");
    writer.ends_well();
    assert_eq!(place.files(), 0);
}

// ---- logs that are ended under a holder that lives

/// Reads what there is; answers the offset behind it, and whether the log ends there.
fn drained<K: Keep>(reader: &mut Reader<&Ring<SharedLease, K>>) -> (u64, bool) {
    let (mut buffer, mut bytes) = ([0; 256], Vec::new());
    loop {
        match reader.copy_next(&mut buffer) {
            Ok(Some(record)) => checked(record.offset().value(), &buffer[..record.len()], &mut bytes),
            Ok(None) => return (reader.next_offset().value(), false),
            Err(ReadError::Overrun { .. }) => {}
            Err(ReadError::Sealed) => return (reader.next_offset().value(), true),
            Err(error) => panic!("{error}"),
        }
    }
}

/// A writer process is stopped while it writes, and its log is ended; then it goes on.
fn stopped_and_taken_over<K: Keep>(keep: &str, rounds: u64) {
    let shape = SHAPE.with_takeover();
    let mut rng = Rng::new(7);
    let mut written = 0;
    for round in 0..rounds {
        let place = Folder::in_memory(&format!("superseded-{keep}-{round}"));
        let pool = place.pool();
        let writer = Actor::start(&place, "write", &[("KEEP", keep), ("TRUST", "untrusted"), ("TAKEOVER", "yes")]);
        assert_eq!((writer.number("epoch"), writer.number("next")), (1, 0));
        let id = SharedPool::<MachineClock>::id_of(&name(LOG));
        let old: Ring<_, K> = joined(&pool);
        let mut reader = Reader::join(&old, "main", Start::Earliest).unwrap();
        let until = Instant::now() + Duration::from_micros(rng.below(20_000));
        while Instant::now() < until {
            assert!(!drained(&mut reader).1);
        }
        writer.stop();

        let sealer: Ring<_, K> = Ring::attach(pool.supersede(id, HOUR).unwrap()).unwrap();
        assert_eq!((sealer.lease().epoch(), sealer.lease().role()), (Epoch::new(2), Role::Sealer));
        let lease = pool.acquire_behind(sealer.lease(), shape.lease_bytes().unwrap(), HOUR).unwrap();
        assert_eq!(lease.epoch(), Epoch::new(2), "epochs do not go back");
        let new = sealer.take_over(lease, shape, Ticks::ZERO).unwrap();
        drop(sealer);
        let tail = new.head().value();
        let mut next = Writer::claim(&new).unwrap();
        let mut bytes = Vec::new();
        for offset in tail..tail + 10 {
            payload(offset, &mut bytes);
            assert_eq!(next.write(&bytes).unwrap().value(), offset);
        }
        // The old lease is nobody's while its holder may store in it.
        assert_eq!(pool.attach(id).map(|_| ()), Err(LeaseError::InUse));
        assert_eq!(pool.acquire_named(&name(LOG), 1, HOUR).map(|_| ()), Err(LeaseError::InUse));
        assert_eq!((pool.sweep(), pool.reap().unwrap().removed), (0, vec![]));
        pool.revoke(id).unwrap();
        assert!(place.lease(id).exists() && place.hold(id).exists());

        writer.signal(Signal::CONT);
        // Fenced, or revoked by now.
        let said = writer.said();
        assert!(["Fenced", "Revoked"].contains(&&*said), "{said}");
        assert_eq!(writer.number("told"), tail, "what it was told of is before the end, and nothing else is");
        writer.ends_well();

        assert_eq!(drained(&mut reader), (tail, true), "read to its end, though it is revoked by now");
        let seal = old.seal().unwrap().unwrap();
        assert_eq!((seal.tail.value(), seal.epoch), (tail, Epoch::new(2)));
        let following: Ring<_, K> = Ring::attach(pool.join(seal.successor).unwrap()).unwrap();
        let mut crossed = reader.cross(&following).unwrap();
        assert_eq!(drained(&mut crossed), (tail + 10, false));
        written += tail;
        drop(reader);
        drop(old);
        pool.sweep();
        assert!(!place.lease(id).exists(), "nobody has it any more");
    }
    assert!(written > 0);
    println!("{keep}: {rounds} rounds, {written} records before the ends");
}

#[test]
fn a_stopped_writer_of_a_retaining_log_is_taken_over() {
    stopped_and_taken_over::<Retain>("retain", 6 * scale());
}

#[test]
fn a_stopped_writer_of_an_overwriting_log_is_taken_over() {
    stopped_and_taken_over::<Overwrite>("overwrite", 6 * scale());
}

#[test]
fn who_supersedes_later_is_higher_and_the_superseded_still_read() {
    let place = Folder::in_memory("superseding");
    let (clock, pool) = place.with_clock();
    let shape = RingConfig::new(8, 256).with_readers(2).with_takeover();
    let lease = pool.acquire(shape.lease_bytes().unwrap(), ms(100)).unwrap();
    let id = lease.id();
    let ring: Ring<_> = Ring::format(lease, shape).unwrap();
    let mut writer = Writer::claim(&ring).unwrap();
    writer.write(b"one").unwrap();
    let held = Reader::join(&ring, "held", Start::Earliest).unwrap();
    // Its time is over, and nobody has renewed it: who comes now may end the log all the same.
    clock.advance(ms(100));
    assert_eq!(pool.join(id).map(|_| ()), Err(LeaseError::Expired));
    let first = pool.supersede(id, ms(1000)).unwrap();
    assert_eq!((first.epoch(), first.check()), (Epoch::new(2), Ok(())));
    assert_eq!(writer.write(b"two"), Err(WriteError::Lease(LeaseError::Fenced)));
    let second = pool.supersede(id, ms(1000)).unwrap();
    assert_eq!((second.epoch(), second.check()), (Epoch::new(3), Ok(())));
    assert_eq!(first.check(), Err(LeaseError::Fenced));
    // The holder lives, and its reader's place is its own.
    assert!(!second.is_gone(ring.lease().token()));
    let sealer: Ring<_> = Ring::attach(second).unwrap();
    assert_eq!(sealer.park_dead(), 0);
    assert_eq!(Reader::join(&sealer, "held", Start::Resume).map(drop), Err(JoinError::Claimed));
    let late: Ring<_> = Ring::attach(pool.join(id).unwrap()).unwrap();
    let error = Ring::<_>::attach(first).map(drop);
    assert_eq!(error, Err(fabric_mq::AttachError::Lease(LeaseError::Fenced)));
    let lease = pool.acquire_behind(sealer.lease(), shape.lease_bytes().unwrap(), ms(1000)).unwrap();
    let new = sealer.take_over(lease, shape, Ticks::ZERO).unwrap();
    assert_eq!((new.head().value(), new.epoch()), (1, Epoch::new(3)));
    let mut reader = Reader::join(&late, "late", Start::Earliest).unwrap();
    let mut buffer = [0; 8];
    assert_eq!(reader.copy_next(&mut buffer).unwrap().unwrap().len(), 3);
    assert_eq!(reader.copy_next(&mut buffer), Err(ReadError::Sealed));
    drop((held, reader, writer));
    drop((late, sealer));
    // Its holder is gone by now, so somebody may hold the lease again. The log is ended all the same.
    drop(ring);
    let after = pool.attach(id).unwrap();
    assert_eq!(after.epoch(), Epoch::new(4));
    let after: Ring<_> = Ring::attach(after).unwrap();
    assert_eq!(Writer::claim(&after).map(drop), Err(WriteError::Sealed));
    drop(after);
    for end in [LeaseError::Released, LeaseError::Unknown] {
        let error = pool.supersede(id, HOUR).map(|_| ());
        assert!([Err(end), Err(LeaseError::Unknown)].contains(&error), "{error:?}");
    }
    assert_eq!(pool.revoke(new.lease().id()), Ok(()));
    assert_eq!(pool.supersede(new.lease().id(), HOUR).map(|_| ()), Err(LeaseError::Revoked));
}

// ---- what the dead leave

#[test]
fn what_the_dead_left_is_reaped_and_what_the_living_have_is_not() {
    let place = Folder::in_memory("reaped");
    let pool = place.pool();
    let id = SharedPool::<MachineClock>::id_of(&name(LOG));
    let writer = Actor::start(&place, "write", &[("KEEP", "overwrite")]);
    assert_eq!((writer.number("epoch"), writer.number("next")), (1, 0));
    let readers = [0, 1].map(|_| {
        let reader = Actor::start(&place, "hold", &[]);
        reader.says("holds");
        reader
    });
    let [info] = pool.leases().unwrap()[..] else { panic!("one lease") };
    assert_eq!((info.id, info.name, info.epoch, info.state), (id, Some(name(LOG)), Epoch::new(1), Ok(())));
    if cfg!(target_os = "linux") {
        assert_eq!(info.holder, Some(writer.id()));
    }
    assert_eq!(pool.reap().unwrap().removed, [], "all live");
    writer.kill();
    assert_eq!(pool.leases().unwrap()[0].holder, None, "known to be dead");
    assert_eq!(pool.reap().unwrap().removed, [], "readers live");
    for reader in readers {
        assert_eq!(pool.reap().unwrap().removed, []);
        reader.kill();
    }
    assert_eq!((pool.sweep(), place.files()), (0, 4), "a sweep leaves it to whoever takes over");
    assert_eq!(pool.reap().unwrap().removed, [id]);
    assert_eq!(place.files(), 0, "nothing is left");
    assert_eq!(pool.reap().unwrap(), Default::default());
}

#[test]
fn readers_that_outlive_the_lease_are_reaped_when_they_die() {
    let place = Folder::in_memory("outlive");
    let pool = place.pool();
    let lease = pool.acquire_named(&name(LOG), 1, HOUR).unwrap();
    let mut readers = [0, 1].map(|_| Actor::start(&place, "hold", &[]));
    for reader in &mut readers {
        reader.says("holds");
    }
    assert_eq!(place.files(), 4);
    drop(lease);
    assert_eq!((place.files(), pool.reap().unwrap().removed), (2, vec![]), "theirs");
    let [mut good, bad] = readers;
    good.tell();
    good.says("Err(Released)");
    good.ends_well();
    assert_eq!(place.files(), 1);
    bad.kill();
    assert_eq!((pool.reap().unwrap().removed.len(), place.files()), (1, 0));
}

#[test]
fn a_dead_readers_place_is_taken_over_or_forgotten() {
    let place = Folder::in_memory("dead-readers");
    #[allow(unsafe_code, reason = "the processes of this test follow the protocol")]
    // SAFETY: all processes that open the directory are of this program.
    let pool = unsafe { place.pool().cooperative() };
    let lease = pool.acquire_named(&name(LOG), SHAPE.lease_bytes().unwrap(), HOUR).unwrap();
    let ring: Ring<_> = Ring::format(lease, SHAPE).unwrap();
    let mut writer = Writer::claim(&ring).unwrap();
    let mut bytes = Vec::new();
    let mut write = |count: u64| {
        let start = writer.next_offset().value();
        for offset in start..start + count {
            payload(offset, &mut bytes);
            writer.write(&bytes)?;
        }
        Ok(start + count)
    };
    let start = |name| {
        let reader = Actor::start(&place, "read", &[("KEEP", "retain"), ("NAME", name)]);
        reader.says("reads");
        reader
    };
    let (a, b) = (start("a"), start("b"));
    let own = Reader::join(&ring, "own", Start::Latest).unwrap();
    assert_eq!(write(10), Ok(10));
    let come = |ring: &Ring<_, Retain>, name: &str| {
        ring.readers().find(|info| info.name.as_str() == name).map(|info| (info.progress.value(), info.active))
    };
    for name in ["a", "b"] {
        soon("reading", || (come(&ring, name) == Some((10, true))).then_some(()));
    }
    // Living ones keep their places, whoever asks.
    let theirs: Ring<_> = Ring::attach(pool.join_named(&name(LOG)).unwrap()).unwrap();
    for ring in [&ring, &theirs] {
        assert_eq!(ring.park_dead(), 0);
        for name in ["a", "b", "own"] {
            assert_eq!(Reader::join(ring, name, Start::Resume).map(|_| ()), Err(JoinError::Claimed));
            assert_eq!(ring.forget(name), Err(JoinError::Claimed));
        }
    }
    drop(own);
    a.kill();
    b.kill();
    // Dead, they hold what they have not read.
    assert_eq!(write(65), Err(WriteError::Full));
    // By its name, the next one goes on where the dead one stood; of two at the same time, one does.
    let mut next = Reader::join(&theirs, "a", Start::Resume).unwrap();
    assert_eq!(next.next_offset().value(), 10);
    assert_eq!(Reader::join(&ring, "a", Start::Resume).map(|_| ()), Err(JoinError::Claimed));
    while let Some(record) = next.next().unwrap() {
        checked(record.offset().value(), record.payload(), &mut Vec::new());
    }
    assert_eq!(write(1), Err(WriteError::Full), "the other one still holds them");
    // Or it is parked, and forgotten.
    assert_eq!((ring.park_dead(), ring.park_dead()), (1, 0));
    assert_eq!(come(&ring, "b"), Some((10, false)));
    assert_eq!((ring.forget("b"), ring.forget("b")), (Ok(true), Ok(false)));
    assert!(write(30).is_ok());
    // Forgotten at once.
    let c = start("c");
    c.kill();
    assert_eq!((theirs.forget("c"), come(&ring, "c")), (Ok(true), None));
    // A reader that parks leaves its place to whoever asks for it.
    next.park();
    let next = Reader::join(&ring, "a", Start::Resume).unwrap();
    drop(next);
    assert_eq!(ring.readers().count(), 0);
}

#[test]
fn a_successor_finds_its_predecessors_readers_dead() {
    let place = Folder::in_memory("all-dead");
    let pool = place.pool();
    let mut writer = Actor::start(&place, "write", &[("KEEP", "retain"), ("WAIT", "yes"), ("TRUST", "untrusted")]);
    assert_eq!((writer.number("epoch"), writer.number("next")), (1, 0));
    let mut readers = ["a", "b"]
        .map(|name| Actor::start(&place, "read", &[("KEEP", "retain"), ("NAME", name), ("TRUST", "untrusted")]));
    for reader in &mut readers {
        reader.says("reads");
    }
    // It reads too: the process that holds the lease may have readers of its own.
    writer.tell();
    pause(20);
    writer.kill();
    readers.into_iter().for_each(Actor::kill);
    let ring: Ring<_> = Ring::attach(pool.attach_named(&name(LOG)).unwrap()).unwrap();
    let mut writer = Writer::claim(&ring).unwrap();
    assert_eq!(ring.park_dead(), 2);
    let mut own = Reader::join(&ring, "own", Start::Latest).unwrap();
    own.release();
    for name in ["a", "b"] {
        assert_eq!(ring.forget(name), Ok(true));
    }
    for _ in 0..64 {
        writer.write(b"x").unwrap();
    }
    // A holder's reader is dead for the next holder, and alive as long as it holds.
    std::mem::forget((own, writer));
    assert_eq!(ring.park_dead(), 0);
    let id = ring.into_lease().detach();
    let ring: Ring<_> = Ring::attach(pool.attach(id).unwrap()).unwrap();
    assert_eq!((ring.park_dead(), ring.forget("own")), (1, Ok(true)));
}

#[test]
fn what_was_detached_from_on_purpose_is_not_reaped_before_its_time() {
    let place = Folder::in_memory("detached");
    let (clock, pool) = place.with_clock();
    let lease = pool.acquire(1, ms(100)).unwrap();
    let id = lease.detach();
    assert_eq!((pool.reap().unwrap().removed, pool.sweep()), (vec![], 0));
    assert_eq!(pool.renew(id, ms(200)), Ok(ms(1200)));
    clock.set(ms(1199));
    assert_eq!((pool.reap().unwrap().removed, pool.sweep()), (vec![], 0));
    let reading = pool.join(id).unwrap();
    clock.set(ms(1200));
    assert_eq!((pool.sweep(), reading.check()), (1, Err(LeaseError::Expired)));
    assert_eq!((pool.reap().unwrap().removed, place.files()), (vec![], 3), "somebody still reads");
    drop(reading);
    assert_eq!((pool.sweep(), place.files()), (0, 0));
}

#[test]
fn what_was_never_made_ready_is_reaped() {
    let place = Folder::in_memory("half-made");
    let pool = place.pool();
    let id = SharedPool::<MachineClock>::id_of(&name(LOG));
    let make = |path: &Path, bytes: &[u8]| {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
        file.write_all(bytes).unwrap();
    };
    // Whoever makes a lease may die behind each of its steps: the holder's file, the lease's, its room, all but the magic.
    let mut whole = vec![0; 640];
    whole[8..140].fill(7);
    for bytes in [None, Some(&[][..]), Some(&[0; 640]), Some(&whole)] {
        make(&place.hold(id), b"");
        if let Some(bytes) = bytes {
            make(&place.lease(id), bytes);
        }
        assert_eq!(pool.attach(id).map(|_| ()), Err(LeaseError::Unknown));
        assert_eq!(pool.join(id).map(|_| ()), Err(LeaseError::Unknown));
        // While it lives it has the holder's lock: then others are to try again.
        let maker = fs::File::open(place.hold(id)).unwrap();
        flock(&maker, FlockOperation::NonBlockingLockExclusive).unwrap();
        if bytes.is_some() {
            assert_eq!(pool.join(id).map(|_| ()), Err(LeaseError::Disconnected));
            assert_eq!(pool.attach(id).map(|_| ()), Err(LeaseError::Disconnected));
        }
        assert_eq!(pool.reap().unwrap(), Default::default());
        assert_eq!(pool.acquire_named(&name(LOG), 1, HOUR).map(|_| ()), Err(LeaseError::InUse));
        drop(maker);
        assert_eq!(pool.reap().unwrap().removed, [id]);
        assert_eq!(place.files(), 0);
        // Who acquires the name need not reap first.
        make(&place.hold(id), b"");
        if let Some(bytes) = bytes {
            make(&place.lease(id), bytes);
        }
        assert_eq!(pool.acquire_named(&name(LOG), 1, HOUR).unwrap().check(), Ok(()));
        assert_eq!(place.files(), 0);
    }
}

// ---- races

/// Races for names: says which it won.
fn race(pool: SharedPool<MachineClock>) {
    say("ready");
    wait_for_word();
    let mut won = Vec::new();
    for round in 0..setting("COUNT").parse().unwrap() {
        let name = name(&format!("r{round}"));
        let lease =
            if setting("HOW") == "acquire" { pool.acquire_named(&name, 100, HOUR) } else { pool.attach_named(&name) };
        match lease {
            Ok(lease) => {
                assert_eq!((lease.check(), lease.name()), (Ok(()), Some(name)));
                say(format_args!("won {round}"));
                won.push(lease);
            }
            Err(error) => assert!(matches!(error, LeaseError::InUse | LeaseError::Disconnected), "{error:?}"),
        }
    }
    say("done");
    wait_for_word();
    for lease in won {
        assert_eq!(lease.check(), Ok(()), "nobody took it away");
        let _ = lease.detach();
    }
}

#[test]
fn of_processes_that_race_for_a_name_one_gets_it() {
    let place = Folder::in_memory("races");
    let pool = place.pool();
    let rounds = 100 * scale();
    for (epoch, how) in [(1, "acquire"), (2, "attach")] {
        let mut racers: Vec<_> =
            (0..4).map(|_| Actor::start(&place, "race", &[("HOW", how), ("COUNT", &rounds.to_string())])).collect();
        for racer in &mut racers {
            racer.says("ready");
        }
        for racer in &mut racers {
            racer.tell();
        }
        let mut won = BTreeSet::new();
        for racer in &mut racers {
            loop {
                let said = racer.said();
                if said == "done" {
                    break;
                }
                assert!(won.insert(said.clone()), "{said} twice");
            }
        }
        // One that nobody won was in the way of each other's looks for a moment: that is for the losers to try again.
        assert_eq!(won.len() as u64, rounds, "each was won");
        assert!(pool.leases().unwrap().iter().all(|info| info.epoch == Epoch::new(epoch)));
        for mut racer in racers {
            racer.tell();
            racer.ends_well();
        }
    }
    assert_eq!(pool.leases().unwrap().len() as u64, rounds);
    for info in pool.leases().unwrap() {
        pool.revoke(info.id).unwrap();
    }
    assert_eq!(place.files(), 0);
}

/// Acquires, attaches, joins, detaches and drops at random; proves by a lock of its own that it is the only holder.
fn mill(pool: SharedPool<MachineClock>) {
    let flag = PathBuf::from(setting("FLAG"));
    let log = name(LOG);
    let mut rng = Rng::new(setting("SEED").parse().unwrap());
    let (mut held, mut read) = (0, 0);
    for _ in 0..setting("COUNT").parse().unwrap() {
        let lease = match rng.next() % 4 {
            0 => pool.acquire_named(&log, 1000, ms(20)),
            1 | 2 => pool.attach_named(&log),
            _ => pool.join_named(&log),
        };
        let lease = match lease {
            Ok(lease) => lease,
            Err(
                LeaseError::InUse
                | LeaseError::Unknown
                | LeaseError::Disconnected
                | LeaseError::Expired
                | LeaseError::Revoked
                | LeaseError::Released,
            ) => continue,
            Err(error) => panic!("{error:?}"),
        };
        assert_eq!((lease.len(), lease.name(), lease.verify()), (1024, Some(log), Ok(())));
        if lease.role() == Role::Reader {
            read += 1;
            continue;
        }
        held += 1;
        let alone = fs::File::create(&flag).unwrap();
        flock(&alone, FlockOperation::NonBlockingLockExclusive).expect("the only holder");
        if rng.next().is_multiple_of(8) {
            pause(rng.next() % 30);
        } else {
            std::thread::yield_now();
        }
        assert!(
            pool.join(lease.id()).map_or_else(|error| error != LeaseError::Unknown, |_| true),
            "it was not removed"
        );
        let id = lease.id();
        drop(alone);
        if rng.next().is_multiple_of(4) {
            drop(lease);
        } else {
            assert_eq!(lease.detach(), id);
        }
    }
    say(format_args!("held {held}"));
    say(format_args!("read {read}"));
}

#[test]
fn whoever_comes_goes_sweeps_reaps_and_fences_at_the_same_time() {
    let place = Folder::in_memory("mill");
    let aside = Folder::in_memory("mill-flag");
    let pool = place.pool();
    fs::create_dir(&aside.0).unwrap();
    let count = (500 * scale()).to_string();
    let start = |seed: u64| {
        let flag = aside.0.join("flag");
        let with = [("SEED", &*seed.to_string()), ("COUNT", &count), ("FLAG", flag.to_str().unwrap())];
        Actor::start(&place, "mill", &with)
    };
    let mut actors: Vec<_> = (1..=3).map(start).collect();
    let mut killed = 0;
    let id = SharedPool::<MachineClock>::id_of(&name(LOG));
    let mut rng = Rng::new(4);
    let (mut expired, mut reaped) = (0, 0);
    let begin = Instant::now();
    while actors.iter_mut().any(Actor::is_running) {
        assert!(begin.elapsed() < PATIENCE * scale() as u32, "they do not come to an end");
        match rng.next() % 8 {
            0 => drop(pool.fence(id)),
            1 => drop(pool.renew(id, ms(20))),
            2 if rng.next().is_multiple_of(16) => drop(pool.revoke(id)),
            3 => {
                let done = pool.reap().unwrap();
                assert_eq!(done.unfit, []);
                reaped += done.removed.len();
            }
            4 => assert!(pool.leases().unwrap().len() <= 1),
            5 if killed < 30 * scale() && rng.next().is_multiple_of(8) => {
                // At any moment, in the middle of making a lease too. Another comes in its place.
                killed += 1;
                let at = (rng.next() % 3) as usize;
                let next = start(100 + killed);
                std::mem::replace(&mut actors[at], next).kill();
            }
            _ => expired += pool.sweep(),
        }
    }
    let (mut held, mut read) = (0, 0);
    for actor in actors {
        held += actor.number("held");
        read += actor.number("read");
        actor.ends_well();
    }
    println!("{killed} killed; held {held}, read {read}, expired {expired}, reaped {reaped}");
    // How often each of them came to its turn is for the scheduler to say. One that is left alone must get on.
    let alone = start(999);
    let (held, read) = (alone.number("held"), alone.number("read"));
    alone.ends_well();
    assert!(held > 0 && read > 0, "{held} {read}");
    let _ = pool.revoke(id);
    pool.sweep();
    pool.reap().unwrap();
    assert_eq!(place.files(), 0);
}

#[test]
fn a_renewal_that_was_answered_holds() {
    let place = Folder::in_memory("renewals");
    let (clock, pool) = place.with_clock();
    let rounds = 300 * scale();
    for _ in 0..rounds {
        let lease = pool.acquire(1, ms(2)).unwrap();
        let id = lease.id();
        let until = std::thread::scope(|scope| {
            let renewing = scope.spawn(|| {
                let mut until = Ticks::ZERO;
                while let Ok(later) = pool.renew(id, ms(2)) {
                    assert!(later >= until);
                    until = later;
                    if lease.check() == Err(LeaseError::Expired) {
                        // Never before the last answer's time.
                        assert!(clock.now() >= until, "{} {until}", clock.now());
                    }
                }
                until
            });
            while lease.check().is_ok() {
                clock.advance(ms(1));
                pool.sweep();
            }
            renewing.join().unwrap()
        });
        assert_eq!(lease.check(), Err(LeaseError::Expired));
        assert!(clock.now() >= until);
    }
}

// ---- in one process, by a clock that the test moves

#[test]
fn leases_have_the_size_asked_for_and_are_blank() {
    let place = Folder::in_memory("sizes");
    let pool = place.pool();
    for (asked, len) in [(0, 128), (1, 128), (128, 128), (129, 256), (100_000, 100_096)] {
        let lease = pool.acquire(asked, HOUR).unwrap();
        assert_eq!((lease.len(), lease.base().as_ptr() as usize % 128, lease.name()), (len, 0, None));
        let meta = fs::metadata(place.lease(lease.id())).unwrap();
        assert_eq!((meta.len(), meta.mode() & 0o7777), (len as u64 + 512, 0o600));
        assert!(meta.blocks() * 512 >= meta.len(), "room is taken at once");
        let bytes = fs::read(place.lease(lease.id())).unwrap();
        assert!(bytes[512..].iter().all(|byte| *byte == 0));
        assert_eq!((lease.role(), lease.epoch(), lease.verify()), (Role::Writer, Epoch::new(1), Ok(())));
    }
    assert_eq!(place.files(), 0);
    assert_eq!(fs::metadata(&place.0).unwrap().mode() & 0o7777, 0o700);
    let (a, b) = (pool.acquire(1, HOUR).unwrap(), pool.acquire(1, HOUR).unwrap());
    assert_ne!(a.id(), b.id());
}

#[test]
fn the_words_of_the_pool_mean_what_they_do_in_one_process() {
    let place = Folder::in_memory("words");
    let (clock, pool) = place.with_clock();
    let gone = LeaseId::new(0xdead);
    assert_eq!(pool.attach(gone).map(|_| ()), Err(LeaseError::Unknown));
    assert_eq!(pool.join(gone).map(|_| ()), Err(LeaseError::Unknown));
    assert_eq!((pool.renew(gone, ms(1)), pool.fence(gone)), (Err(LeaseError::Unknown), Err(LeaseError::Unknown)));
    assert_eq!(pool.revoke(gone), Err(LeaseError::Unknown));

    let lease = pool.acquire(1000, ms(100)).unwrap();
    let id = lease.id();
    assert_eq!(lease.expires_at(), ms(1100));
    assert_eq!(pool.attach(id).map(|_| ()), Err(LeaseError::InUse));
    assert_eq!(pool.renew(id, ms(50)), Ok(ms(1100)), "never forward in time");
    assert_eq!(pool.renew(id, Ticks::MAX), Ok(Ticks::MAX));
    assert_eq!((lease.expires_at(), lease.check()), (Ticks::MAX, Ok(())));

    // Handed on: detached from, attached to under the next epoch.
    let reading = pool.join(id).unwrap();
    assert_eq!(lease.detach(), id);
    assert_eq!(reading.check(), Ok(()));
    let lease = pool.attach(id).unwrap();
    assert_eq!((lease.epoch(), lease.len(), reading.epoch()), (Epoch::new(2), 1024, Epoch::new(2)));
    // A fenced lease that is dropped waits.
    assert_eq!(pool.fence(id), Ok(Epoch::new(3)));
    assert_eq!((lease.check(), reading.check()), (Err(LeaseError::Fenced), Ok(())));
    drop(lease);
    let lease = pool.attach(id).unwrap();
    assert_eq!((lease.epoch(), lease.check()), (Epoch::new(3), Ok(())));
    drop(lease);
    assert_eq!((reading.check(), place.files()), (Err(LeaseError::Released), 1));
    drop(reading);
    assert_eq!(place.files(), 0);

    // A fenced one waits no longer than its time.
    let lease = pool.acquire(1, ms(100)).unwrap();
    let id = lease.id();
    pool.fence(id).unwrap();
    drop(lease);
    clock.advance(ms(100));
    assert_eq!(pool.attach(id).map(|_| ()), Err(LeaseError::Expired));
    assert_eq!((pool.sweep(), place.files()), (0, 0));

    // Expired, the holder gone before anybody noted it.
    let lease = pool.acquire(1, ms(100)).unwrap();
    let id = lease.detach();
    clock.advance(ms(100));
    assert_eq!(pool.join(id).map(|_| ()), Err(LeaseError::Expired));
    assert_eq!(pool.attach(id).map(|_| ()), Err(LeaseError::Expired));
    assert_eq!(pool.sweep(), 0, "noted by those who looked");
    assert_eq!(place.files(), 0);

    // Revoked after it ended: the first end stays.
    let lease = pool.acquire(1, ms(100)).unwrap();
    clock.advance(ms(100));
    assert_eq!((pool.sweep(), pool.revoke(lease.id())), (1, Ok(())));
    assert_eq!(lease.check(), Err(LeaseError::Expired));
    assert_eq!(pool.fence(lease.id()), Err(LeaseError::Expired));
}

#[test]
fn a_reader_cannot_write() {
    let place = Folder::in_memory("readers");
    let pool = place.pool();
    let bytes = SHAPE.lease_bytes().unwrap();
    let lease = pool.acquire(bytes, HOUR).unwrap();
    let id = lease.id();
    let blank = Ring::<_, Retain>::format(pool.join(id).unwrap(), SHAPE).map(|_| ());
    assert_eq!(blank, Err(ConfigError::Lease(LeaseError::Unsupported)));
    assert_eq!(ConfigError::Lease(LeaseError::Unsupported).to_string(), LeaseError::Unsupported.to_string());
    let ring: Ring<_> = Ring::format(lease, SHAPE).unwrap();
    let theirs: Ring<_> = Ring::attach(pool.join(id).unwrap()).unwrap();
    assert_eq!(Writer::claim(&theirs).map(|_| ()), Err(WriteError::Lease(LeaseError::Unsupported)));
    let mut writer = Writer::claim(&ring).unwrap();
    assert_eq!(Writer::claim(&ring).map(|_| ()), Err(WriteError::Claimed));
    writer.write(b"x").unwrap();
    drop(theirs);
    assert_eq!(ring.lease().check(), Ok(()), "a reader that goes changes nothing");
}

#[test]
fn the_successor_takes_the_writers_place_once() {
    let place = Folder::in_memory("succession");
    let pool = place.pool();
    let ring: Ring<_> = Ring::format(pool.acquire(SHAPE.lease_bytes().unwrap(), HOUR).unwrap(), SHAPE).unwrap();
    let id = ring.lease().id();
    let reading: Ring<_> = Ring::attach(pool.join(id).unwrap()).unwrap();
    let mut reader = Reader::join(&reading, "r", Start::Earliest).unwrap();
    let mut buffer = [0; 16];
    let mut writer = Writer::claim(&ring).unwrap();
    writer.write(b"one").unwrap();
    // As if it had died: its place stays taken.
    std::mem::forget(writer);
    assert_eq!(ring.into_lease().detach(), id);
    let ring: Ring<_> = Ring::attach(pool.attach(id).unwrap()).unwrap();
    assert_eq!(reader.copy_next(&mut buffer).unwrap().unwrap().offset().value(), 0);
    let mut writer = Writer::claim(&ring).unwrap();
    assert_eq!(Writer::claim(&ring).map(|_| ()), Err(WriteError::Claimed), "taken over once");
    assert_eq!((writer.write(b"two").unwrap().value(), ring.epoch()), (1, Epoch::new(2)));
    assert_eq!(reader.copy_next(&mut buffer).unwrap().unwrap().offset().value(), 1);
    drop(writer);
    assert_eq!(Writer::claim(&ring).unwrap().next_offset().value(), 2);
}

// ---- files that are not what they should be

/// A lease without a holder, and its id.
fn left(pool: &SharedPool<Arc<ManualClock>>) -> LeaseId {
    pool.acquire_named(&name(LOG), 1000, HOUR).unwrap().detach()
}

/// Everything that can be asked for it is refused for this reason, and nothing of it is removed.
#[track_caller]
fn is_unfit(pool: &SharedPool<Arc<ManualClock>>, id: LeaseId, why: Unfit) {
    let error = LeaseError::Unfit(why);
    assert_eq!(pool.attach(id).map(|_| ()), Err(error));
    assert_eq!(pool.join(id).map(|_| ()), Err(error));
    assert_eq!(pool.attach_named(&name(LOG)).map(|_| ()), Err(error));
    assert_eq!((pool.renew(id, ms(1)), pool.fence(id), pool.revoke(id)), (Err(error), Err(error), Err(error)));
    assert_eq!(pool.acquire_named(&name(LOG), 1, HOUR).map(|_| ()), Err(LeaseError::InUse));
    assert_eq!(pool.leases().unwrap(), []);
    let reaped = pool.reap().unwrap();
    assert_eq!((reaped.removed, reaped.unfit), (vec![], vec![(id, error)]));
    assert_eq!(pool.sweep(), 0);
}

#[test]
fn files_of_the_wrong_kind_mode_and_owner_are_refused() {
    let place = Folder::in_memory("unfit");
    let (_, pool) = place.with_clock();
    let id = left(&pool);
    let (path, aside) = (place.lease(id), place.0.join("aside"));
    for mode in [0o644, 0o660, 0o602, 0o700, 0o4600, 0o400] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        is_unfit(&pool, id, Unfit::Mode);
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    // A second name, in this directory or any other.
    fs::hard_link(&path, &aside).unwrap();
    is_unfit(&pool, id, Unfit::Kind);
    // A link, to the very file, to nothing, to itself.
    fs::remove_file(&path).unwrap();
    for to in [aside.as_path(), Path::new("/nowhere"), path.as_path()] {
        symlink(to, &path).unwrap();
        is_unfit(&pool, id, Unfit::Kind);
        fs::remove_file(&path).unwrap();
    }
    fs::create_dir(&path).unwrap();
    is_unfit(&pool, id, Unfit::Kind);
    fs::remove_dir(&path).unwrap();
    // A pipe that nobody writes to: it does not hold us.
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .unwrap();
    is_unfit(&pool, id, Unfit::Kind);
    fs::remove_file(&path).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    is_unfit(&pool, id, Unfit::Kind);
    drop(socket);
    fs::remove_file(&path).unwrap();
    fs::rename(&aside, &path).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
        is_unfit(&pool, id, Unfit::Owner);
        std::os::unix::fs::chown(&path, Some(0), None).unwrap();
    }
    // The holder's file too.
    fs::set_permissions(place.hold(id), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(pool.attach(id).map(|_| ()), Err(LeaseError::Unfit(Unfit::Mode)));
    assert_eq!(pool.reap().unwrap().unfit, [(id, LeaseError::Unfit(Unfit::Mode))]);
    fs::remove_file(place.hold(id)).unwrap();
    assert_eq!(pool.attach(id).map(|_| ()), Err(LeaseError::Unfit(Unfit::NotALease)));
    assert_eq!(pool.acquire_named(&name(LOG), 1, HOUR).map(|_| ()), Err(LeaseError::InUse));
    assert!(!place.hold(id).exists(), "what was begun was taken back");
}

#[test]
fn files_that_were_cut_off_or_made_longer_are_refused() {
    let place = Folder::in_memory("cut");
    let (_, pool) = place.with_clock();
    let id = left(&pool);
    let image = fs::read(place.lease(id)).unwrap();
    assert_eq!(image.len(), 1024 + 512);
    let put = |bytes: &[u8]| {
        fs::write(place.lease(id), bytes).unwrap();
        fs::set_permissions(place.lease(id), fs::Permissions::from_mode(0o600)).unwrap();
    };
    for len in (0..140).chain([140, 255, 256, 511, 512, 513, 1535]) {
        put(&image[..len]);
        match len {
            // Blank: it is as if it were being made, by somebody who is dead.
            0 => {}
            // Cut off in the magic, which then is none.
            1..8 => is_unfit(&pool, id, Unfit::NotALease),
            _ => is_unfit(&pool, id, Unfit::Size),
        }
    }
    let mut longer = image.clone();
    longer.push(0);
    put(&longer);
    is_unfit(&pool, id, Unfit::Size);
    put(&image);
    let lease = pool.attach(id).unwrap();
    assert_eq!(lease.verify(), Ok(()));
    // Cut off behind its holder's back: it can find out before it touches the bytes.
    let file = fs::OpenOptions::new().write(true).open(place.lease(id)).unwrap();
    file.set_len(600).unwrap();
    let cut = Err(LeaseError::Unfit(Unfit::Size));
    assert_eq!((lease.verify(), pool.renew(id, HOUR).map(|_| ())), (cut, cut));
    file.set_len(1024 + 512).unwrap();
    assert_eq!((lease.verify(), pool.renew(id, HOUR).map(|_| ())), (Ok(()), Ok(())));
}

#[test]
fn whatever_bytes_a_record_has_the_answer_is_an_error_or_a_lease() {
    let place = Folder::in_memory("damaged");
    let (_, pool) = place.with_clock();
    let id = left(&pool);
    let path = place.lease(id);
    let image = fs::read(&path).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let mut rng = Rng::new(0xda3a6e);
    for at in 0..512 {
        for _ in 0..4 {
            let flip = (rng.next() as u8).max(1);
            file.write_all_at(&[image[at] ^ flip], at as u64).unwrap();
            let why = match at {
                0..8 => Unfit::NotALease,
                8..10 => Unfit::Version,
                // The rest of the identity, and the term's first word.
                10..140 | 256..264 => Unfit::Record,
                // Its deadline: the lease can still be revoked.
                264..272 => {
                    let damaged = LeaseError::Unfit(Unfit::Record);
                    assert_eq!(pool.attach(id).map(|_| ()), Err(damaged));
                    assert_eq!(pool.join(id).map(|_| ()), Err(damaged));
                    assert_eq!((pool.renew(id, ms(1)), pool.fence(id)), (Err(damaged), Err(damaged)));
                    assert_eq!(pool.reap().unwrap().unfit, [(id, damaged)]);
                    file.write_all_at(&image, 0).unwrap();
                    continue;
                }
                // Nothing goes by the rest.
                _ => {
                    assert_eq!(pool.attach(id).map(Lease::detach), Ok(id), "byte {at}");
                    file.write_all_at(&image, 0).unwrap();
                    continue;
                }
            };
            is_unfit(&pool, id, why);
            file.write_all_at(&image, 0).unwrap();
        }
    }
    // All of it at random, with the right beginning and without.
    let mut passed = 0;
    for round in 0..2000 * scale() {
        let mut bytes = image.clone();
        let from = if round % 2 == 0 { 0 } else { 140 };
        for byte in &mut bytes[from..512] {
            *byte = rng.next() as u8;
        }
        file.write_all_at(&bytes, 0).unwrap();
        let taken = (pool.attach(id).map(Lease::detach).is_ok(), pool.join(id).is_ok());
        // One byte of check says yes now and then; a CRC does not.
        assert!(from != 0 || taken == (false, false));
        passed += u64::from(taken.0) + u64::from(taken.1);
    }
    assert!(passed <= 2 + scale() / 4, "{passed}");
    // Another's record.
    file.write_all_at(&image, 0).unwrap();
    let other = pool.acquire(1000, HOUR).unwrap().detach();
    fs::copy(&path, place.lease(other)).unwrap();
    assert_eq!(pool.attach(other).map(|_| ()), Err(LeaseError::Unfit(Unfit::Record)));
    assert_eq!(pool.reap().unwrap().unfit, [(other, LeaseError::Unfit(Unfit::Record))]);
    // Another name's.
    assert_eq!(pool.join_named(&name(LOG)).map(|lease| lease.id()), Ok(id));
    let theirs = SharedPool::<MachineClock>::id_of(&name("theirs"));
    let mut forged = image.clone();
    forged[16..32].copy_from_slice(&theirs.value().to_le_bytes());
    let crc = crc32c(&forged[..136]);
    forged[136..140].copy_from_slice(&crc.to_le_bytes());
    fs::copy(&path, place.lease(theirs)).unwrap();
    fs::copy(place.hold(id), place.hold(theirs)).unwrap();
    fs::write(place.lease(theirs), &forged).unwrap();
    assert_eq!(pool.join(theirs).map(|lease| lease.name()), Ok(Some(name(LOG))));
    assert_eq!(pool.join_named(&name("theirs")).map(|_| ()), Err(LeaseError::Unfit(Unfit::Name)));
    assert_eq!(pool.attach_named(&name("theirs")).map(|_| ()), Err(LeaseError::Unfit(Unfit::Name)));
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

#[test]
fn the_record_has_the_bytes_that_are_drawn() {
    let place = Folder::in_memory("drawn");
    let (_, pool) = place.with_clock();
    let lease = pool.acquire_named(&name("abc"), 1000, ms(500)).unwrap();
    let read = || fs::read(place.lease(lease.id())).unwrap();
    let image = read();
    let word = |at: usize| u64::from_le_bytes(image[at..at + 8].try_into().unwrap());
    let half = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap());
    assert_eq!(image[..16], [0x89, b'F', b'M', b'L', 13, 10, 26, 10, 1, 0, 0, 2, 0, 0, 0, 0]);
    assert_eq!(image[16..32], lease.id().value().to_le_bytes());
    assert_eq!((word(32), word(40), half(64), half(68)), (1024, 1000, 3, 0));
    assert_eq!((&image[72..76], half(136)), (&b"abc\0"[..], crc32c(&image[..136])));
    let xor = |at: usize| image[at..at + 8].iter().fold(0, |sum, byte| sum ^ byte);
    assert_eq!((image[256], half(260), xor(256)), (0x55, 1, 0x5a));
    assert_eq!((word(264) >> 8, xor(264)), (1500, 0x5a));
    assert_eq!((half(384), half(388), half(400)), (1, std::process::id(), crc32c(&image[384..400])));
    let state = |bytes: &[u8]| bytes[256];
    pool.renew(lease.id(), ms(600)).unwrap();
    assert_eq!((read()[258], u64::from_le_bytes(read()[264..272].try_into().unwrap()) >> 8), (1, 1600));
    pool.fence(lease.id()).unwrap();
    assert_eq!(state(&read()), 0x33);
    pool.revoke(lease.id()).unwrap();
    assert_eq!(state(&read()), 0xcc);
    drop(lease);
    let id = pool.acquire(1, ms(1)).unwrap().detach();
    assert_eq!(state(&fs::read(place.lease(id)).unwrap()), 0x66);
}

#[test]
fn a_term_of_a_higher_epoch_fences_its_holder_whatever_it_says() {
    let place = Folder::in_memory("higher");
    let (_, pool) = place.with_clock();
    let ring: Ring<_> = Ring::format(pool.acquire(SHAPE.lease_bytes().unwrap(), HOUR).unwrap(), SHAPE).unwrap();
    let reading = pool.join(ring.lease().id()).unwrap();
    let mut writer = Writer::claim(&ring).unwrap();
    writer.write(b"before").unwrap();
    let file = fs::OpenOptions::new().write(true).open(place.lease(reading.id())).unwrap();
    // The one word that a successor swaps.
    let mut put = |state: u8, epoch: u32| {
        let mut word = [state, 0, 0, 0, 0, 0, 0, 0];
        word[4..].copy_from_slice(&epoch.to_le_bytes());
        word[1] = word.iter().fold(0x5a, |sum, byte| sum ^ byte);
        file.write_all_at(&word, 256).unwrap();
        (ring.lease().check(), writer.write(b"after").map(|_| ()), reading.check())
    };
    let fenced = (Err(LeaseError::Fenced), Err(WriteError::Lease(LeaseError::Fenced)));
    assert_eq!(put(0x55, 2), (fenced.0, fenced.1, Ok(())));
    assert_eq!(put(0x99, 2), (fenced.0, fenced.1, Err(LeaseError::Expired)));
    let expired = LeaseError::Expired;
    assert_eq!(put(0x99, 1), (Err(expired), Err(WriteError::Lease(expired)), Err(expired)));
    let damaged = LeaseError::Unfit(Unfit::Record);
    assert_eq!(put(0x77, 1), (Err(damaged), Err(WriteError::Lease(damaged)), Err(damaged)));
    assert_eq!(put(0x55, 1), (Ok(()), Ok(()), Ok(())));
    assert_eq!(ring.tail().value(), 2, "nothing else was written");
}

#[test]
fn a_lock_is_given_back_though_a_forked_child_still_has_the_file() {
    use std::os::unix::process::CommandExt;
    let place = Folder::in_memory("forks");
    let aside = Folder::in_memory("forks-flag");
    fs::create_dir(&aside.0).unwrap();
    let pool = place.pool();
    let lease = pool.acquire_named(&name(LOG), 1, HOUR).unwrap();
    let flag = std::ffi::CString::new(aside.0.join("forked").into_os_string().into_encoded_bytes()).unwrap();
    let mut child = Command::new("true");
    #[allow(unsafe_code, reason = "between fork and exec")]
    // SAFETY: system calls alone, which allocate nothing.
    unsafe {
        child.pre_exec(move || {
            rustix::fs::mkdir(&flag, rustix::fs::Mode::RWXU)?;
            std::thread::sleep(Duration::from_millis(500));
            Ok(())
        })
    };
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| child.status().unwrap());
        soon("the fork", || aside.0.join("forked").exists().then_some(()));
        let _ = lease.detach();
        let lease = pool.attach_named(&name(LOG)).unwrap();
        assert_eq!(lease.epoch(), Epoch::new(2));
        assert!(!starting.is_finished(), "it was still there");
    });
}

#[test]
fn what_an_earlier_start_of_the_machine_left_is_over() {
    let place = Folder::in_memory("boots");
    let (_, pool) = place.with_clock();
    for (at, bytes) in [(48, [0xff; 8]), (40, u64::MAX.to_le_bytes())] {
        let id = left(&pool);
        let mut image = fs::read(place.lease(id)).unwrap();
        image[at..at + 8].copy_from_slice(&bytes);
        let crc = crc32c(&image[..136]);
        image[136..140].copy_from_slice(&crc.to_le_bytes());
        fs::write(place.lease(id), &image).unwrap();
        assert_eq!(pool.attach(id).map(|_| ()), Err(LeaseError::Expired));
        assert_eq!(pool.join(id).map(|_| ()), Err(LeaseError::Expired));
        assert_eq!(pool.renew(id, HOUR), Err(LeaseError::Expired));
        assert_eq!(pool.leases().unwrap()[0].state, Err(LeaseError::Expired));
        assert_eq!(pool.revoke(id), Ok(()), "it is over already");
        assert_eq!(place.files(), 0);
        // Or whoever begins anew finds its name.
        let id = left(&pool);
        fs::write(place.lease(id), &image).unwrap();
        assert_eq!(pool.acquire_named(&name(LOG), 1, HOUR).map(|lease| lease.epoch()), Ok(Epoch::new(1)));
    }
}

#[test]
fn files_that_are_no_leases_are_left_alone() {
    let place = Folder::in_memory("foreign");
    let (_, pool) = place.with_clock();
    let mut kept = 0;
    for name in [
        "README".to_owned(),
        format!("{:032X}.lease", 0xabcdef_u128),
        format!("{:031x}.lease", 5),
        format!("{:033x}.lease", 5),
        format!("+{:031x}.lease", 5),
        format!("{:032x}.leases", 5),
    ] {
        fs::write(place.0.join(name), b"").unwrap();
        kept += 1;
    }
    fs::write(place.lease(LeaseId::new(7)), b"somebody's notes").unwrap();
    fs::set_permissions(place.lease(LeaseId::new(7)), fs::Permissions::from_mode(0o600)).unwrap();
    let foreign = LeaseError::Unfit(Unfit::NotALease);
    assert_eq!((pool.sweep(), pool.reap().unwrap().unfit), (0, vec![(LeaseId::new(7), foreign)]));
    assert_eq!((place.files(), pool.leases().unwrap()), (kept + 1, vec![]));
}

// ---- the directory

#[test]
fn directories_that_others_can_enter_are_refused() {
    let place = Folder::in_memory("directories");
    let open = |path: &Path| SharedPool::open(path, MachineClock::new()).map(|_| ());
    assert_eq!(open(&place.0.join("deeper")), Err(LeaseError::Io(2)), "only the last directory is made");
    assert_eq!(open(&place.0), Ok(()));
    for mode in [0o755, 0o770, 0o701, 0o1700, 0o600] {
        fs::set_permissions(&place.0, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(open(&place.0), Err(LeaseError::Unfit(Unfit::Mode)), "{mode:o}");
    }
    fs::set_permissions(&place.0, fs::Permissions::from_mode(0o700)).unwrap();
    let link = place.0.join("link");
    symlink(&place.0, &link).unwrap();
    assert_eq!(open(&link), Err(LeaseError::Unfit(Unfit::Kind)));
    fs::write(place.0.join("file"), b"").unwrap();
    assert_eq!(open(&place.0.join("file")), Err(LeaseError::Unfit(Unfit::Kind)));
    assert_eq!(open(Path::new("")), Err(LeaseError::Io(2)));
    assert_eq!(open(Path::new("/dev/shm/a\0b")), Err(LeaseError::Io(22)));
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&place.0, Some(12_345), None).unwrap();
        assert_eq!(open(&place.0), Err(LeaseError::Unfit(Unfit::Owner)));
        std::os::unix::fs::chown(&place.0, Some(0), None).unwrap();
    }
    // Gone below the pool.
    let pool = place.pool();
    fs::remove_dir_all(&place.0).unwrap();
    assert_eq!(pool.acquire(1, HOUR).map(|_| ()), Err(LeaseError::Io(2)));
    assert_eq!((pool.sweep(), pool.reap().unwrap().removed), (0, vec![]));
}

#[test]
fn a_pool_in_memory_is_this_users() {
    let own = name(&format!("test-{}", std::process::id()));
    let pool = SharedPool::in_memory(&own, MachineClock::new()).unwrap();
    let other = SharedPool::in_memory(&own, MachineClock::new()).unwrap();
    let lease = pool.acquire_named(&name("a"), 1, HOUR).unwrap();
    assert_eq!(other.join_named(&name("a")).map(|lease| lease.id()), Ok(lease.id()));
    let path = Path::new("/dev/shm").join(format!("fabric-mq-{}-{own}", rustix::process::geteuid().as_raw()));
    if Path::new("/dev/shm").is_dir() {
        drop(lease);
        fs::remove_dir(path).unwrap();
    }
}

#[test]
fn names_with_hostile_characters_do_not_exist() {
    for bad in ["", ".", "..", "../x", "a/b", "/etc", "a\0b", "a b", "a\nb", "caf\u{e9}", "%2e", "~", &"x".repeat(65)] {
        assert!(Name::new(bad).is_err(), "{bad:?}");
    }
    // Those that are possible name a file by their number alone.
    let place = Folder::in_memory("names");
    let pool = place.pool();
    let mut leases = Vec::new();
    for good in ["...", "-rf", ".lease", "a.hold", "A", "a", &"x".repeat(64)] {
        leases.push(pool.acquire_named(&name(good), 1, HOUR).unwrap());
        assert_eq!(leases.last().unwrap().name(), Some(name(good)));
    }
    assert_eq!(place.files(), leases.len() * 2);
    let ids: BTreeSet<_> = leases.iter().map(SharedLease::id).collect();
    assert_eq!(ids.len(), leases.len());
    // The numbers do not change: other versions look for them.
    let id = |text| SharedPool::<MachineClock>::id_of(&name(text)).value();
    assert_eq!(id("a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964 | 1 << 127);
}

// ---- room

#[test]
fn what_does_not_fit_is_refused_and_leaves_nothing() {
    let place = Folder::in_memory("room");
    let pool = place.pool();
    for huge in [usize::MAX, usize::MAX - 127, isize::MAX as usize, 1 << 60, 1 << 50] {
        assert_eq!(pool.acquire(huge, HOUR).map(|_| ()), Err(LeaseError::CapacityExceeded), "{huge:x}");
        assert_eq!(place.files(), 0, "{huge:x}");
    }
    let limited = pool.clone().with_limit(2048);
    let first = limited.acquire(1024, HOUR).unwrap();
    assert_eq!(limited.acquire(1, HOUR).map(|_| ()), Err(LeaseError::CapacityExceeded));
    let second = pool.acquire(1, HOUR).unwrap();
    drop((first, second));
    assert!(limited.acquire(1536, HOUR).is_ok());
    assert_eq!(limited.acquire(1537, HOUR).map(|_| ()), Err(LeaseError::CapacityExceeded));
}

#[test]
fn a_full_disk_is_an_error_and_not_a_signal() {
    let place = Folder::in_memory("full");
    fs::create_dir(&place.0).unwrap();
    // Needs a right that few have.
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k,mode=700", "none"]).arg(&place.0).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("no file system could be mounted: not tested");
        return;
    }
    let done = std::panic::catch_unwind(|| {
        let pool = place.pool();
        let lease = pool.acquire(100_000, HOUR).unwrap();
        assert_eq!(pool.acquire(200_000, HOUR).map(|_| ()), Err(LeaseError::CapacityExceeded));
        assert_eq!(place.files(), 2, "nothing is left of it");
        let ring: Ring<_, Overwrite> = Ring::format(lease, RingConfig::new(64, 65_536)).unwrap();
        // The rest is used up by somebody else.
        let mut filler = fs::File::create(place.0.join("filler")).unwrap();
        while filler.write_all(&[1; 4096]).is_ok() {}
        let mut writer = Writer::claim(&ring).unwrap();
        for _ in 0..1000 {
            writer.write(&[7; 1000]).unwrap();
        }
        drop(writer);
        // Somebody punches a hole, and fills the disk again: who attaches is told, not killed.
        let id = ring.into_lease().detach();
        let file = fs::OpenOptions::new().write(true).open(place.lease(id)).unwrap();
        let punch = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&file, punch, 8192, 65_536).unwrap();
        while filler.write_all(&[1; 4096]).is_ok() {}
        assert_eq!(pool.attach(id).map(|_| ()), Err(LeaseError::CapacityExceeded));
        assert_eq!(pool.join(id).map(|_| ()), Err(LeaseError::CapacityExceeded));
        fs::remove_file(place.0.join("filler")).unwrap();
        drop(filler);
        // The room comes back when the last copy of the file is closed: a child of another test, just forked, may have one.
        let end = Instant::now() + Duration::from_secs(10);
        while let Err(error) = pool.attach(id).map(drop) {
            assert_eq!(error, LeaseError::CapacityExceeded);
            assert!(Instant::now() < end, "the room does not come back");
            std::thread::yield_now();
        }
    });
    assert!(Command::new("umount").arg("-l").arg(&place.0).status().unwrap().success());
    done.unwrap();
}

#[test]
fn what_the_new_errors_say() {
    for (error, text) in [
        (LeaseError::Released, "given back by its holder"),
        (LeaseError::Unfit(Unfit::Kind), "no plain file"),
        (LeaseError::Unfit(Unfit::Mode), "0600"),
        (LeaseError::Unfit(Unfit::Name), "choose a name that is not taken"),
        (LeaseError::Unfit(Unfit::NotALease), "give the pool a directory of its own"),
        (LeaseError::Unfit(Unfit::Owner), "another user"),
        (LeaseError::Unfit(Unfit::Record), "remove the file"),
        (LeaseError::Unfit(Unfit::Size), "remove the file"),
        (LeaseError::Unfit(Unfit::Version), "use a newer one"),
    ] {
        assert!(error.to_string().contains(text), "{error}");
        assert!(error.to_string().starts_with("the "));
    }
}

#[test]
fn values_say_what_they_are() {
    let place = Folder::in_memory("debug");
    let pool = place.pool();
    let lease = pool.acquire_named(&name("abc"), 1, HOUR).unwrap();
    let text = format!("{lease:?} {pool:?}");
    assert!(text.contains("abc") && text.contains("Writer") && text.contains("SharedPool"), "{text}");
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&lease);
    shared(&pool);
    let _: &dyn Fn(&SharedLease<Untrusted>) = &|lease| shared(lease);
}
