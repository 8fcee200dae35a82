//! Waiting across processes: this program starts itself again in another role, and is killed.

#![cfg(all(feature = "std", unix, target_has_atomic = "64", not(loom)))]
#![allow(clippy::multiple_unsafe_ops_per_block, reason = "one load through one pointer")]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "tests"
)]

mod common;
#[path = "common/process.rs"]
mod process;

use common::scale;
use fabric_mq::clock::SystemClock;
use fabric_mq::lease::{SharedLease, Untrusted};
use fabric_mq::ring::{Deadline, Reader, Ring, RingConfig, Start, Writer};
use fabric_mq::{Name, Ticks};
use process::{Actor, Folder, PATIENCE, pool, say, wait_for_word};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

const HOUR: Ticks = Ticks::from_millis(3_600_000);
const SHAPE: RingConfig = RingConfig::new(64, 4096).with_readers(8);

type Log = Ring<SharedLease<Untrusted>>;

/// An empty log of this name.
fn create(place: &Path, log: &str) -> Log {
    let lease = pool(place).acquire_named(&Name::new(log).unwrap(), SHAPE.lease_bytes().unwrap(), HOUR).unwrap();
    Ring::format(lease, SHAPE).unwrap()
}

/// To read it.
fn join(place: &Path, log: &str) -> Log {
    Ring::attach(pool(place).join_named(&Name::new(log).unwrap()).unwrap()).unwrap()
}

/// To write it, behind whoever wrote it before.
fn take_over(place: &Path, log: &str) -> Log {
    let start = Instant::now();
    loop {
        match pool(place).attach_named(&Name::new(log).unwrap()) {
            Ok(lease) => return Ring::attach(lease).unwrap(),
            Err(error) => assert!(start.elapsed() < Duration::from_secs(10), "{error}"),
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Later than anybody here waits: nothing but a wake-up comes in time.
fn never() -> Deadline<SystemClock> {
    Deadline::after(SystemClock::new(), Ticks::from_millis(2 * PATIENCE.as_millis() as u64)).with_recheck(HOUR)
}

fn after(ms: u64) -> Deadline<SystemClock> {
    Deadline::after(SystemClock::new(), Ticks::from_millis(ms))
}

#[test]
#[ignore = "run by the other tests of this file: cargo test --test waiting_processes"]
fn an_actor_of_another_test() {
    let Some(role) = process::role() else { return };
    let place = process::given_place();
    match role.as_str() {
        "echo" => echo(&place),
        "sleep" => sleep(&place),
        "write" => write(&place),
        "spin" => spin(&place),
        role => panic!("no such role: {role}"),
    }
}

/// Sends back what comes, asleep in between.
fn echo(place: &Path) {
    let (there, back) = (join(place, "there"), create(place, "back"));
    let mut reader = Reader::join(&there, "echo", Start::Earliest).unwrap();
    let mut writer = Writer::claim(&back).unwrap();
    say("ready");
    let mut buffer = [0; 8];
    loop {
        reader.wait_copy_next(&mut buffer, &never()).unwrap().unwrap();
        writer.write(&buffer).unwrap();
        writer.wake_readers();
        if buffer == [u8::MAX; 8] {
            break;
        }
    }
    // It is read before it goes.
    wait_for_word();
}

/// The same, awake all the time.
fn spin(place: &Path) {
    let (there, back) = (join(place, "there"), create(place, "back"));
    let mut reader = Reader::join(&there, "echo", Start::Earliest).unwrap();
    let mut writer = Writer::claim(&back).unwrap();
    say("ready");
    let mut buffer = [0; 8];
    while buffer != [u8::MAX; 8] {
        if reader.copy_next(&mut buffer).unwrap().is_some() {
            writer.write(&buffer).unwrap();
        }
    }
    wait_for_word();
}

/// Sleeps until it is killed, or there is a record.
fn sleep(place: &Path) {
    let log = join(place, "log");
    let mut reader = Reader::join(&log, "sleeper", Start::Latest).unwrap();
    say("asleep");
    assert!(reader.wait(&never()).unwrap());
    say("awake");
}

/// Writes a record and stays until it is killed.
fn write(place: &Path) {
    let log = create(place, "log");
    let mut writer = Writer::claim(&log).unwrap();
    writer.write(b"first").unwrap();
    say("written");
    wait_for_word();
    writer.write(b"second").unwrap();
    writer.wake_readers();
    wait_for_word();
}

/// A word of the log's bell, as it lies in its file.
fn bell(log: &Log, at: usize) -> u32 {
    use fabric_mq::lease::Lease;
    #[allow(unsafe_code, reason = "a look at the bytes")]
    // SAFETY: a word of the lease that all reach by atomics.
    let word = unsafe { log.lease().base().add(at).cast::<std::sync::atomic::AtomicU32>().as_ref() };
    word.load(std::sync::atomic::Ordering::SeqCst)
}

/// Until somebody waits.
fn until_set(log: &Log) {
    let start = Instant::now();
    while bell(log, 68) == 0 {
        assert!(start.elapsed() < Duration::from_secs(10), "nobody waits");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Sends numbers to the echo and back, with a rest before each; answers how long each took.
fn ping_pong(place: &Folder, role: &str, rounds: u64, sleeps: bool, rest: Duration) -> Vec<Duration> {
    let there = create(&place.0, "there");
    let mut actor = Actor::start(place, role, &[]);
    actor.says("ready");
    let back = join(&place.0, "back");
    let mut reader = Reader::join(&back, "main", Start::Earliest).unwrap();
    let mut writer = Writer::claim(&there).unwrap();
    let mut buffer = [0; 8];
    let mut took = Vec::with_capacity(usize::try_from(rounds).unwrap());
    for round in (0..rounds).chain([u64::MAX]) {
        if !rest.is_zero() {
            thread::sleep(rest);
        }
        let start = Instant::now();
        writer.write(&round.to_le_bytes()).unwrap();
        if sleeps {
            writer.wake_readers();
            assert!(reader.wait(&never()).unwrap());
        }
        let mut looks = 0_u32;
        while reader.copy_next(&mut buffer).unwrap().is_none() {
            assert!(!sleeps, "it was woken for something");
            looks = looks.wrapping_add(1);
            // Seldom, so that it costs the figures nothing.
            assert!(!looks.is_multiple_of(1 << 16) || start.elapsed() < PATIENCE, "nothing comes back");
        }
        took.push(start.elapsed());
        assert_eq!(u64::from_le_bytes(buffer), round);
    }
    actor.tell();
    actor.ends_well();
    took
}

#[test]
fn ten_thousand_rounds_of_two_processes_need_no_recheck() {
    let place = Folder::in_memory("ping-pong");
    // A recheck would take an hour.
    let took = ping_pong(&place, "echo", 10_000 * scale(), true, Duration::ZERO);
    assert!(took.iter().all(|round| *round < Duration::from_secs(60)));
}

#[test]
fn a_sleeper_that_is_killed_costs_one_ring() {
    let place = Folder::in_memory("killed");
    let log = create(&place.0, "log");
    let mut writer = Writer::claim(&log).unwrap();
    let actor = Actor::start(&place, "sleep", &[]);
    actor.says("asleep");
    until_set(&log);
    actor.kill();
    assert_eq!((bell(&log, 64), bell(&log, 68)), (0, 1), "its bit is left");
    writer.write(b"x").unwrap();
    writer.wake_readers();
    writer.wake_readers();
    assert_eq!((bell(&log, 64), bell(&log, 68)), (1, 0), "rung once, for nobody");
    // The next one sleeps and is woken as ever.
    let actor = Actor::start(&place, "sleep", &[]);
    actor.says("asleep");
    until_set(&log);
    writer.write(b"y").unwrap();
    writer.wake_readers();
    actor.says("awake");
    actor.ends_well();
}

#[test]
fn a_writer_that_is_killed_leaves_its_sleepers_to_their_deadline_or_to_its_successor() {
    let place = Folder::in_memory("writer");
    let mut actor = Actor::start(&place, "write", &[]);
    actor.says("written");
    let log = join(&place.0, "log");
    let mut reader = Reader::join(&log, "main", Start::Earliest).unwrap();
    let mut buffer = [0; 8];
    let start = Instant::now();
    assert_eq!(reader.wait_copy_next(&mut buffer, &never()).unwrap().unwrap().len(), 5);
    // Woken by one that lives.
    actor.tell();
    assert_eq!(reader.wait_copy_next(&mut buffer, &never()).unwrap().unwrap().len(), 6);
    actor.kill();
    assert!(!reader.wait(&after(30)).unwrap(), "nobody writes: it ends at the deadline");
    thread::scope(|scope| {
        let woken = scope.spawn(|| reader.wait_copy_next(&mut buffer, &never()).map(|record| record.map(|r| r.len())));
        thread::sleep(Duration::from_millis(20));
        let next = take_over(&place.0, "log");
        let mut writer = Writer::claim(&next).unwrap();
        writer.write(b"next").unwrap();
        writer.wake_readers();
        assert_eq!(woken.join().unwrap(), Ok(Some(4)));
    });
    assert!(start.elapsed() < PATIENCE, "it was woken, and not by its deadline");
}

/// Half of a round, from a write in one process or thread to the reader in the other one.
fn print(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |share: usize| took[(took.len() - 1) * share / 100].as_nanos() as f64 / 2000.0;
    println!("{what:<28} p50 {:>7.1} us   p99 {:>7.1} us", at(50), at(99));
}

/// Half of a round there and back each.
#[test]
#[ignore = "figures, to be read by people: cargo test --release --test waiting_processes -- --ignored --nocapture latency"]
#[allow(clippy::cast_precision_loss, reason = "figures")]
fn latency_of_wake_ups() {
    const ROUNDS: u64 = 2_000;
    /// So that who sleeps is asleep when it is woken, and has not merely been about to.
    const REST: Duration = Duration::from_micros(300);
    let place = Folder::in_memory("latency");
    print("across processes, asleep", ping_pong(&place, "echo", ROUNDS, true, REST));
    let place = Folder::in_memory("latency-awake");
    print("across processes, spinning", ping_pong(&place, "spin", ROUNDS, false, REST));
    for sleeps in [true, false] {
        let lease = || common::Owned::<fabric_mq::lease::Exclusive>::new(SHAPE.lease_bytes().unwrap());
        let [there, back] = [(); 2].map(|()| Ring::<_>::format(lease(), SHAPE).unwrap());
        let mut took = Vec::new();
        let wait = |from: &mut Reader<&Ring<_>>, buffer: &mut [u8; 8]| {
            if sleeps {
                assert!(from.wait(&never()).unwrap());
            }
            while from.copy_next(buffer).unwrap().is_none() {}
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                let (mut reader, mut writer) =
                    (Reader::join(&there, "main", Start::Earliest).unwrap(), Writer::claim(&back).unwrap());
                let mut buffer = [0; 8];
                for _ in 0..ROUNDS {
                    wait(&mut reader, &mut buffer);
                    writer.write(&buffer).unwrap();
                    writer.wake_readers();
                }
            });
            let mut reader = Reader::join(&back, "main", Start::Earliest).unwrap();
            let mut writer = Writer::claim(&there).unwrap();
            let mut buffer = [0; 8];
            for round in 0..ROUNDS {
                thread::sleep(REST);
                let start = Instant::now();
                writer.write(&round.to_le_bytes()).unwrap();
                writer.wake_readers();
                wait(&mut reader, &mut buffer);
                took.push(start.elapsed());
            }
        });
        print(if sleeps { "across threads, asleep" } else { "across threads, spinning" }, took);
    }
}
