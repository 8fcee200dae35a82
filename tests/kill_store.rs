//! A process that writes a journal on real files is killed at any moment; what it was told is stored is there, as a whole,
//! and nothing else. The next one goes on from it.
//!
//! `FABRIC_MQ_ROUNDS` is how many are killed (50), `FABRIC_MQ_SEED` which run of them it is.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![cfg(all(feature = "durable", feature = "std", unix, target_has_atomic = "64", not(loom)))]

mod common;
#[path = "common/process.rs"]
mod process;

use common::{Rng, replay};
use fabric_mq::Offset;
use fabric_mq::durable::{FileConfig, FileStore, Journal, JournalConfig, MediumError, OpenError, StoreError};
use process::{Actor, Folder, given_place, role, say, setting};
use std::path::Path;
use std::time::{Duration, Instant};

type Log = Journal<FileStore, 2, 2>;

const NAMES: [(u8, &str); 2] = [(0, "a"), (1, "b")];
const LONGEST: u64 = 700;

fn config() -> FileConfig {
    FileConfig::new()
        .with_segments(8)
        .with_segment_bytes(16 << 10)
        .with_buffer_bytes(4 << 10)
        .with_window_bytes(4 << 10)
}

fn open(place: &Path) -> Result<Log, OpenError> {
    // A process that was killed a moment ago may still be going.
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match FileStore::open(place, config()) {
            Err(MediumError::Locked) if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
            store => return Log::open(store?),
        }
    }
}

/// Says which record it is, who wrote it, and which part of a batch: `round, offset, nth, of`, and bytes that depend on them.
fn body(round: u64, partition: u8, offset: u64, (nth, of): (u8, u8), len: usize) -> Vec<u8> {
    let mut bytes = round.to_le_bytes().to_vec();
    bytes.extend(offset.to_le_bytes());
    bytes.extend([partition, nth, of]);
    let mut rng = Rng::new(round ^ (offset << 20) ^ (u64::from(partition) << 60));
    bytes.extend((0..len).map(|_| rng.next() as u8));
    bytes
}

/// The round of a record, and which part of a batch it is; it must be as it was written.
fn parse(partition: u8, offset: u64, bytes: &[u8]) -> (u64, (u8, u8)) {
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let (round, part) = (word(0), (bytes[17], bytes[18]));
    assert_eq!(
        bytes,
        body(round, partition, offset, part, bytes.len() - 19),
        "record {offset} of partition {partition}"
    );
    (round, part)
}

// ---- the process that is killed

fn write_on(round: u64) {
    let place = given_place();
    let mut rng = Rng::new(setting("CHANCE").parse().unwrap());
    let mut log = match open(&place) {
        Err(OpenError::None) => {
            let store = FileStore::open(&place, config()).unwrap();
            Log::format(store, JournalConfig::new(3).with_partitions(2)).unwrap()
        }
        log => log.unwrap(),
    };
    assert_eq!(log.recovery().damage, None);
    for (partition, name) in NAMES {
        log.join(partition, name).unwrap();
    }
    say("open");
    // Per record, in groups, by chance.
    let group = [1, 1, 8, 64, u64::MAX][rng.below(5) as usize];
    let mut since = 0;
    loop {
        let partition = rng.below(2) as u8;
        let next = log.span(partition).unwrap().1.value();
        let len = if rng.below(8) == 0 { rng.below(LONGEST) } else { rng.below(60) } as usize;
        let done = if rng.below(6) == 0 {
            let of = rng.within(2, 5) as u8;
            let bodies: Vec<Vec<u8>> =
                (0..of).map(|nth| body(round, partition, next + u64::from(nth), (nth, of), len)).collect();
            let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
            since += u64::from(of);
            log.append_batch(partition, 0, &bodies)
        } else {
            since += 1;
            log.append(partition, 0, &[&body(round, partition, next, (0, 1), len)])
        };
        match done {
            Ok(offset) => assert_eq!(offset.value(), next),
            Err(StoreError::Full) => {}
            Err(other) => panic!("{other}"),
        }
        if done.is_err() || rng.below(4) == 0 {
            for (partition, name) in NAMES {
                let cursor = log.find(partition, name).unwrap();
                let (from, to) = (log.committed(cursor).unwrap().value(), log.span(partition).unwrap().1.value());
                let to = if done.is_err() { to } else { (from + rng.below(3)).min(to) };
                log.commit(cursor, Offset::new(to)).unwrap();
            }
        }
        if since >= group || (group == u64::MAX && rng.below(200) == 0) {
            since = 0;
            log.sync().unwrap();
            told(&log);
        }
        if rng.below(500) == 0 {
            drop(log.close().unwrap());
            log = open(&place).unwrap();
            assert!(log.recovery().clean);
            told(&log);
        }
    }
}

/// All of this is stored. The full stop tells a line that was cut short.
fn told(log: &Log) {
    let [a, b] = [0, 1].map(|partition| log.span(partition).unwrap().1.value());
    let [c, d] = NAMES.map(|(partition, name)| log.committed(log.find(partition, name).unwrap()).unwrap().value());
    say(format_args!("stored {a} {b} {c} {d} ."));
}

#[test]
#[ignore = "run by the other test of this file: cargo test --test kill_store"]
fn an_actor_of_another_test() {
    if role().is_some() {
        write_on(setting("ROUND").parse().unwrap());
    }
}

// ---- the one who kills

#[derive(Default)]
struct Known {
    /// What was told to be stored: next offsets, committed ones.
    stored: [u64; 4],
    /// Whose each record is, from offset 0 on; those that were given up unseen are nobody's.
    rounds: [Vec<Option<u64>>; 2],
    read: u64,
    unsynced: u64,
    lost: u64,
    torn: u64,
}

impl Known {
    fn hear(&mut self, words: &[String]) -> u64 {
        let mut told = 0;
        for word in words {
            let Some(rest) = word.strip_prefix("stored ").and_then(|rest| rest.strip_suffix(" .")) else { continue };
            let numbers: Vec<u64> = rest.split(' ').map(|number| number.parse().unwrap()).collect();
            let now: [u64; 4] = numbers.try_into().unwrap();
            assert!(now.iter().zip(&self.stored).all(|(now, before)| now >= before), "{now:?} after {:?}", self.stored);
            self.stored = now;
            told += 1;
        }
        told
    }

    fn check(&mut self, place: &Path, round: u64) {
        let mut log = match open(place) {
            Ok(log) => log,
            // It was killed before there was one.
            Err(OpenError::None) if self.stored == [0; 4] => return,
            Err(other) => panic!("round {round}: {other}"),
        };
        assert_eq!(log.recovery().damage, None, "round {round}: a kill is no damage");
        self.torn += u64::from(log.recovery().torn.is_some());
        let mut buffer = [0; 1024];
        for (partition, name) in NAMES {
            let nth = usize::from(partition);
            let (head, next) = log.span(partition).unwrap();
            let (head, next) = (head.value(), next.value());
            assert!(next >= self.stored[nth], "round {round}: {next} of {}", self.stored[nth]);
            let Some(cursor) = log.find(partition, name) else {
                assert_eq!((self.stored, next), ([0; 4], 0), "round {round}");
                continue;
            };
            let committed = log.committed(cursor).unwrap().value();
            assert!((self.stored[2 + nth]..=next).contains(&committed), "round {round}: {committed}");
            self.unsynced += next - self.stored[nth];
            log.seek(cursor, head.into()).unwrap();
            let known = &mut self.rounds[nth];
            self.lost += (known.len() as u64).saturating_sub(next);
            known.resize(next as usize, None);
            let mut last = (0, 1);
            for offset in head..next {
                let record = log.next(cursor, &mut buffer).unwrap().expect("a record");
                assert_eq!(record.offset().value(), offset, "round {round}");
                let (of, part) = parse(partition, offset, record.body());
                assert!(of <= round);
                // What was seen once never changes.
                assert!(
                    known[offset as usize].is_none_or(|known| known == of),
                    "round {round}: {offset} of {partition}"
                );
                known[offset as usize] = Some(of);
                // Batches are whole, but for what was given up of them.
                assert!(part.0 == 0 && last.0 + 1 == last.1 || part == (last.0 + 1, last.1) || offset == head);
                last = part;
                self.read += 1;
            }
            assert_eq!(last.0 + 1, last.1, "round {round}: a part of a batch");
            assert_eq!(log.next(cursor, &mut buffer), Ok(None));
        }
    }
}

#[test]
fn processes_that_write_a_store_are_killed() {
    let rounds: u64 = std::env::var("FABRIC_MQ_ROUNDS").ok().map_or(50, |rounds| rounds.parse().unwrap());
    let seed = replay().unwrap_or(1);
    println!("seed {seed}");
    let start = Instant::now();
    let place = Folder::in_memory("kill-store");
    let mut rng = Rng::new(seed);
    let mut known = Known::default();
    let (mut told, mut starting, mut unchecked) = (0, 0, 0);
    for round in 1..=rounds {
        let (chance, nth) = (rng.next().to_string(), round.to_string());
        let actor = Actor::start(&place, "writer", &[("CHANCE", &chance), ("ROUND", &nth)]);
        if rng.below(5) == 0 {
            // While it starts, recovers, or makes its first files.
            std::thread::sleep(Duration::from_micros(rng.below(20_000)));
            starting += 1;
        } else {
            actor.comes_to_say("open");
            std::thread::sleep(Duration::from_micros(rng.below(15_000)));
        }
        told += known.hear(&actor.killed());
        if rng.below(4) == 0 {
            // The next one finds it as it is.
            unchecked += 1;
        } else {
            known.check(&place.0, round);
        }
    }
    known.check(&place.0, rounds);
    assert!(told > 5 * rounds && known.read > rounds, "{told} {}", known.read);
    println!(
        "passed {rounds} rounds: {rounds} processes killed ({starting} at any moment of their start, {unchecked} found by the next \
         writer); {told} syncs told, none of them lost; {} records read back, {} of them never told, {} torn tails; {} s",
        known.read,
        known.unsynced,
        known.torn,
        start.elapsed().as_secs()
    );
    assert_eq!(known.lost, 0, "what was read once is there");
}
