//! The journal against a model: plain queues that know what was stored.

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
#![cfg(all(feature = "durable", not(loom)))]

use fabric_mq::durable::{FetchError, Geometry, Journal, JournalConfig, RamStore, Retention, Store, StoreError};
use fabric_mq::{Offset, Ticks};
use std::collections::BTreeMap;

const BYTES: usize = 16 * 1024;
type Ram = RamStore<BYTES>;
type Log = Journal<Ram, 2, 3>;

fn flash(segments: u32, unit: u32) -> Ram {
    Ram::flash(segments, BYTES as u32 / segments, unit)
}

/// A small generator (splitmix64): the same numbers for the same seed, everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

fn body(partition: u8, offset: u64, len: usize) -> Vec<u8> {
    (0..len).map(|at| (offset as usize * 31 + at * 7 + usize::from(partition) * 101) as u8).collect()
}

#[derive(Default)]
struct Model {
    /// Lengths of all records, by partition.
    records: [Vec<usize>; 2],
    committed: BTreeMap<(u8, &'static str), u64>,
    read: BTreeMap<(u8, &'static str), u64>,
}

const NAMES: [(u8, &str); 3] = [(0, "a"), (1, "b"), (0, "slow-one")];

impl Model {
    /// What is kept: nothing that all cursors are done with.
    fn head(&self, partition: u8) -> u64 {
        self.committed.iter().filter(|((of, _), _)| *of == partition).map(|(_, at)| *at).min().unwrap_or(0)
    }

    fn check(&self, log: &Log) {
        for partition in 0..2 {
            let (head, next) = log.span(partition).unwrap();
            assert_eq!(next.value(), self.records[usize::from(partition)].len() as u64);
            assert_eq!(head.value(), self.head(partition), "partition {partition}");
        }
        for ((partition, name), committed) in &self.committed {
            let cursor = log.find(*partition, name).expect("a cursor");
            assert_eq!(log.committed(cursor).unwrap().value(), *committed);
        }
    }

    /// Reads everything that is kept, by every cursor, from where it has committed.
    fn read_all(&self, log: &mut Log) -> u64 {
        let mut buffer = [0; 4096];
        let mut count = 0;
        for ((partition, name), committed) in &self.committed {
            let cursor = log.find(*partition, name).unwrap();
            log.seek(cursor, Offset::new(*committed)).unwrap();
            for (offset, len) in self.records[usize::from(*partition)].iter().enumerate().skip(*committed as usize) {
                let record = log.next(cursor, &mut buffer).unwrap().expect("a record");
                assert_eq!(record.offset().value(), offset as u64);
                assert_eq!(record.tag(), (offset % 19) as u8);
                assert_eq!(record.body(), body(*partition, offset as u64, *len));
                count += 1;
            }
            assert_eq!(log.next(cursor, &mut buffer).unwrap(), None);
        }
        count
    }
}

fn run(seed: u64, segments: u32, unit: u32, steps: u64) -> [u64; 5] {
    let mut random = Random(seed);
    let mut log = Log::format(flash(segments, unit), JournalConfig::new(seed).with_partitions(2)).unwrap();
    let mut model = Model::default();
    let mut buffer = [0; 4096];
    let [mut appended, mut read, mut full, mut opened, mut batches] = [0; 5];
    for (partition, name) in NAMES {
        log.join(partition, name).unwrap();
        model.committed.insert((partition, name), 0);
        model.read.insert((partition, name), 0);
    }
    let largest = log.max_body();
    for _ in 0..steps {
        match random.below(100) {
            0..45 => {
                let partition = random.below(2) as u8;
                let next = model.records[usize::from(partition)].len() as u64;
                let len = match random.below(20) {
                    0 => 0,
                    1 => largest,
                    2 => random.below(largest as u64) as usize,
                    _ => random.below(80) as usize,
                };
                let bytes = body(partition, next, len);
                let (front, back) = bytes.split_at(len / 3);
                match log.append(partition, (next % 19) as u8, &[front, back]) {
                    Ok(offset) => {
                        assert_eq!(offset.value(), next);
                        model.records[usize::from(partition)].push(len);
                        appended += 1;
                    }
                    Err(StoreError::Full) => full += 1,
                    Err(other) => panic!("{other}"),
                }
            }
            45..50 => {
                let partition = random.below(2) as u8;
                let next = model.records[usize::from(partition)].len() as u64;
                let tag = (next % 19) as u8;
                let count = 1 + random.below(if tag == 18 { 1 } else { 4 });
                // All of a batch have one tag: two of the model's in a row would not.
                if count == 1 {
                    let bytes = body(partition, next, 20);
                    match log.append_batch(partition, tag, &[&bytes]) {
                        Ok(_) => model.records[usize::from(partition)].push(20),
                        Err(StoreError::Full) => full += 1,
                        Err(other) => panic!("{other}"),
                    }
                    batches += 1;
                }
            }
            50..75 => {
                let (partition, name) = NAMES[random.below(3) as usize];
                let cursor = log.find(partition, name).unwrap();
                let at = model.read[&(partition, name)];
                let record = log.next(cursor, &mut buffer).unwrap();
                assert_eq!(record.is_some(), at < model.records[usize::from(partition)].len() as u64);
                if let Some(record) = record {
                    assert_eq!(record.offset().value(), at);
                    let len = model.records[usize::from(partition)][at as usize];
                    assert_eq!(record.body(), body(partition, at, len));
                    *model.read.get_mut(&(partition, name)).unwrap() += 1;
                    read += 1;
                }
            }
            75..95 => {
                let (partition, name) = NAMES[random.below(3) as usize];
                let cursor = log.find(partition, name).unwrap();
                let (from, to) = (model.committed[&(partition, name)], model.read[&(partition, name)]);
                if from < to {
                    let to = if random.below(3) == 0 { to } else { from + 1 };
                    // However full it is.
                    log.commit(cursor, Offset::new(to)).unwrap();
                    model.committed.insert((partition, name), to);
                }
            }
            _ => {
                let clean = random.below(2) == 0;
                let store = if clean { log.close().unwrap() } else { log.into_store() };
                log = Log::open(store).unwrap();
                assert_eq!((log.recovery().damage, log.recovery().torn), (None, None));
                for (cursor, at) in &mut model.read {
                    *at = model.committed[cursor];
                }
                opened += 1;
            }
        }
        model.check(&log);
    }
    read += model.read_all(&mut log);
    [appended, read, full, opened, batches]
}

#[test]
fn it_does_what_plain_queues_do() {
    let mut sums = [0; 5];
    for seed in 0..30 {
        let (segments, unit) = [(16, 4), (8, 8), (16, 1), (8, 32), (4, 4), (4, 64)][seed as usize % 6];
        for (sum, one) in sums.iter_mut().zip(run(seed, segments, unit, 2_000)) {
            *sum += one;
        }
    }
    let [appended, read, full, opened, batches] = sums;
    assert!(appended > 4_500 && read > 10_000 && full > 1_000 && opened > 2_000 && batches > 500, "{sums:?}");
}

#[test]
fn the_bytes_of_a_batch_count_together() {
    let mut log: Journal<_, 1, 1> = Journal::format(flash(8, 4), JournalConfig::new(1)).unwrap();
    let cursor = log.join(0, "a").unwrap();
    log.append_batch(0, 3, &[b"one", b"two", b"three"]).unwrap();
    let mut buffer = [0; 64];
    let mut log: Journal<_, 1, 1> = Journal::open(log.into_store()).unwrap();
    for wanted in [&b"one"[..], b"two", b"three"] {
        assert_eq!(log.next(cursor, &mut buffer).unwrap().unwrap().body(), wanted);
    }
    assert_eq!(log.next(cursor, &mut buffer).unwrap(), None);
    let long = vec![0; 1000];
    assert!(matches!(log.append_batch(0, 0, &[&long, &long]), Err(StoreError::TooLarge { .. })));
}

#[test]
fn records_that_are_given_up_are_counted() {
    let mut log: Journal<_, 1, 2> = Journal::format(flash(8, 4), JournalConfig::new(1)).unwrap();
    let cursor = log.join(0, "a").unwrap();
    for number in 0..10_u8 {
        log.append(0, 0, &[&[number]]).unwrap();
    }
    log.trim(0, Offset::new(7)).unwrap();
    let mut buffer = [0; 64];
    assert_eq!(log.next(cursor, &mut buffer), Err(FetchError::Trimmed { lost: 7 }));
    assert_eq!(log.next(cursor, &mut buffer).unwrap().unwrap().body(), [7]);
    assert!(matches!(log.trim(0, Offset::new(11)), Err(StoreError::OutOfRange { .. })));
    assert_eq!(log.next(cursor, &mut []), Err(FetchError::BufferTooSmall { len: 1 }));
    assert_eq!(log.next(cursor, &mut buffer).unwrap().unwrap().body(), [8]);
}

/// By count, by room and by age; by the last two in whole segments.
#[test]
fn retention_gives_up_what_its_rules_do_not_keep() {
    let full = || {
        let mut log: Journal<_, 2, 2> =
            Journal::format(flash(16, 4), JournalConfig::new(1).with_partitions(2)).unwrap();
        let cursor = log.join(0, "a").unwrap();
        for number in 0..120_u64 {
            // Sent once a second: 24 of them and a header are what a segment takes.
            let time = (number * 1000).to_le_bytes();
            log.append((number % 2) as u8, 1, &[&time, &[7; 24]]).unwrap();
        }
        assert_eq!(log.stats().segment_number, 6);
        (log, cursor)
    };
    let heads = |log: &Journal<Ram, 2, 2>| [0, 1].map(|partition| log.span(partition).unwrap().0.value());
    let mut buffer = [0; 64];

    let (mut log, cursor) = full();
    assert_eq!(log.retain(Retention::new(), Ticks::MAX), Ok(0));
    assert_eq!(log.retain(Retention::new().with_records(10), Ticks::ZERO), Ok(100));
    assert_eq!(heads(&log), [50, 50]);
    assert_eq!(log.next(cursor, &mut buffer), Err(FetchError::Trimmed { lost: 50 }));
    assert_eq!(log.next(cursor, &mut buffer).unwrap().unwrap().offset().value(), 50);
    assert_eq!(log.retain(Retention::new().with_records(10), Ticks::ZERO), Ok(0));

    let (mut log, _) = full();
    let lost = log.retain(Retention::new().with_segments(2), Ticks::ZERO).unwrap();
    assert_eq!(heads(&log).iter().sum::<u64>(), lost);
    assert!((70..120).contains(&lost), "{lost}");
    let mut log: Journal<_, 2, 2> = Journal::open(log.into_store()).unwrap();
    assert_eq!(heads(&log).iter().sum::<u64>(), lost);
    assert_eq!(log.retain(Retention::new().with_segments(2), Ticks::ZERO), Ok(0));

    let (mut log, _) = full();
    let minute = Retention::new().with_age(Ticks::from_millis(60_000));
    assert_eq!(log.retain(minute, Ticks::from_millis(60_000)), Ok(0));
    let lost = log.retain(minute, Ticks::from_millis(120_000)).unwrap();
    // The first 60 are older than a minute; whole segments of them are given up.
    assert!((30..=60).contains(&lost), "{lost}");
    let before = heads(&log);
    assert_eq!(log.retain(minute, Ticks::from_millis(120_000)), Ok(0));
    assert_eq!(heads(&log), before);
    // The last segment stays.
    assert!(log.retain(minute, Ticks::MAX).unwrap() < 120 - lost);
}

/// Damage in the middle is told with its extent, read around, and salvaged only when asked.
#[test]
fn damage_is_told_and_nothing_is_written_over_it() {
    let mut log: Journal<_, 1, 1> = Journal::format(flash(8, 4), JournalConfig::new(1)).unwrap();
    let cursor = log.join(0, "a").unwrap();
    for number in 0..10_u8 {
        log.append(0, 0, &[&[number; 32]]).unwrap();
    }
    let bytes = *log.into_store().as_bytes();
    let at = bytes.windows(32).position(|w| w == [4; 32]).unwrap();
    for (flipped, from) in [(at, at - 4), (at - 4, at - 4), (at + 33, at - 4)] {
        let mut bytes = bytes;
        bytes[flipped] ^= 0x10;
        let store = Ram::image(bytes, Geometry::flash(8, BYTES as u32 / 8, 4));
        let mut log: Journal<_, 1, 1> = Journal::open(store).unwrap();
        let mut buffer = [0; 64];
        let mut read = Vec::new();
        let mut lost = 0;
        loop {
            match log.next(cursor, &mut buffer) {
                Ok(Some(record)) => read.push(record.offset().value()),
                Ok(None) => break,
                Err(FetchError::Damaged { at, offset }) => {
                    assert!(log.recovery().damage.is_some() || lost == 0);
                    assert_eq!((at.segment, at.from as usize, offset.value()), (0, from, 4), "{at}");
                    assert_eq!(at.to as usize, from + 40);
                    if log.recovery().damage.is_some() {
                        assert_eq!(log.recovery().damage, Some(at));
                        assert_eq!(log.append(0, 0, &[b"x"]), Err(StoreError::Damaged { at }));
                        assert_eq!(log.salvage(), Ok(1));
                        assert_eq!(log.append(0, 0, &[b"x"]).unwrap().value(), 10);
                    }
                    lost += log.skip_damage(cursor).unwrap();
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(lost, 1, "{flipped} {from} {read:?}");
        assert!(read.starts_with(&[0, 1, 2, 3, 5, 6, 7, 8, 9]), "{read:?}");
    }
}

#[test]
fn every_flipped_bit_is_told_or_does_not_matter() {
    for unit in [4, 16] {
        let mut log: Journal<_, 1, 1> =
            Journal::format(RamStore::<8192>::flash(8, 1024, unit), JournalConfig::new(1)).unwrap();
        let cursor = log.join(0, "a").unwrap();
        let mut buffer = [0; 64];
        for number in 0..40_u8 {
            log.append(0, 0, &[&[number; 16]]).unwrap();
            if number >= 10 {
                log.next(cursor, &mut buffer).unwrap().unwrap();
                log.commit(cursor, Offset::new(u64::from(number) - 9)).unwrap();
            }
        }
        let committed = log.committed(cursor).unwrap().value();
        for clean in [false, true] {
            let mut before: Journal<_, 1, 1> = Journal::open(log.store().clone()).unwrap();
            if clean {
                before.append(0, 0, &[&[40; 16]]).unwrap();
            }
            let last = if clean { 41 } else { 40 };
            let store = if clean { before.close().unwrap() } else { before.into_store() };
            let whole = *store.as_bytes();
            let (mut told, mut same, mut torn) = (0, 0, 0);
            for bit in 0..whole.len() * 8 {
                let mut bytes = whole;
                bytes[bit / 8] ^= 1 << (bit % 8);
                let store = RamStore::<8192>::image(bytes, store.geometry());
                let mut log: Journal<_, 1, 1> = match Journal::open(store) {
                    Ok(log) => log,
                    Err(_) => {
                        told += 1;
                        continue;
                    }
                };
                let damaged = log.recovery().damage.is_some();
                let cut = log.recovery().torn.is_some() || (clean && !log.recovery().clean);
                let Some(cursor) = log.find(0, "a") else {
                    assert!(damaged, "bit {bit}: the cursor is gone");
                    told += 1;
                    continue;
                };
                let stands = log.committed(cursor).unwrap().value();
                let mut next = stands;
                let mut missing = false;
                while let Some(record) = match log.next(cursor, &mut buffer) {
                    Ok(record) => record,
                    Err(FetchError::Damaged { .. }) => {
                        missing = true;
                        None
                    }
                    Err(other) => panic!("bit {bit}: {other}"),
                } {
                    assert_eq!(record.offset().value(), next, "bit {bit}");
                    assert_eq!(record.body(), [next as u8; 16], "bit {bit}");
                    next += 1;
                }
                if damaged || missing {
                    told += 1;
                } else if next == last && stands == committed {
                    same += 1;
                } else {
                    // The last frame of all cannot be told from one that a power cut tore.
                    assert!(
                        cut && last - next + committed - stands <= 1,
                        "unit {unit} clean {clean} {:?} bit {bit}: {next} of {last}, {stands} of {committed}",
                        log.recovery()
                    );
                    torn += 1;
                }
            }
            assert!(told > 1_000 && same > 1_000, "{told} told, {same} the same, {torn} torn");
            assert!(torn <= 8 * 28 * 4, "{torn}");
        }
    }
}
