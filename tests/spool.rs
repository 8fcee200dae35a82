//! Rings before a journal, against a model that knows what is in memory and what is stored.

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
#![cfg(all(feature = "durable", feature = "alloc", not(loom)))]

mod common;

use common::Rng;
use fabric_mq::clock::ManualClock;
use fabric_mq::durable::{
    FetchError, Geometry, Journal, JournalConfig, MediumError, PumpError, RamStore, Spool, SpoolError, SpoolMode,
    SpoolReadError, Store, StoreError,
};
use fabric_mq::lease::{HeapLease, HeapPool, Pool};
use fabric_mq::ring::{Ring, RingConfig, Writer};
use fabric_mq::{Offset, Ticks, WriteError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

type Heap = Arc<Ring<HeapLease>>;
type Ram = RamStore<32_768>;
type Log = Spool<Heap, Ram, 2, 3>;

const NAMES: [(u8, &str); 3] = [(0, "a"), (1, "b"), (0, "slow")];

fn lease(shape: RingConfig) -> HeapLease {
    HeapPool::new(Arc::new(ManualClock::new())).acquire(shape.lease_bytes().unwrap(), Ticks::MAX).unwrap()
}

fn ring() -> Heap {
    let shape = RingConfig::new(32, 1024).with_readers(2);
    Arc::new(Ring::format(lease(shape), shape).unwrap())
}

/// Records by partition; which of them are stored; where the cursors are.
struct Model {
    records: [Vec<Vec<u8>>; 2],
    stored: [usize; 2],
    next: [usize; 3],
    committed: [usize; 3],
}

impl Model {
    /// What the power takes: records that were in memory alone, and what was said about them.
    fn power_cut(&mut self) {
        for (records, stored) in self.records.iter_mut().zip(self.stored) {
            records.truncate(stored);
        }
        for (slot, (partition, _)) in NAMES.into_iter().enumerate() {
            let stored = self.stored[usize::from(partition)];
            self.committed[slot] = self.committed[slot].min(stored);
            self.next[slot] = self.committed[slot];
        }
    }
}

struct World {
    rings: [Heap; 2],
    writers: Vec<Writer<Heap>>,
    log: Log,
}

fn start(journal: Journal<Ram, 2, 3>, mode: SpoolMode) -> World {
    let rings = [ring(), ring()];
    let writers = rings.iter().map(|ring| Writer::claim(Arc::clone(ring)).unwrap()).collect();
    let mut log = Spool::new(journal, rings.iter().map(Arc::clone), mode).unwrap();
    for (partition, name) in NAMES {
        log.join(partition, name).unwrap();
    }
    World { rings, writers, log }
}

fn run(seed: u64, mode: SpoolMode, steps: u32) -> [u64; 6] {
    let mut rng = Rng::new(seed);
    let store = Ram::flash(8, 2048, 4);
    let mut world = start(Journal::format(store, JournalConfig::new(seed).with_partitions(2)).unwrap(), mode);
    let mut model = Model { records: [vec![], vec![]], stored: [0; 2], next: [0; 3], committed: [0; 3] };
    let keep = if let SpoolMode::Spill { keep } = mode { keep as usize } else { 0 };
    let mut buffer = [0; 256];
    let [mut written, mut ring_full, mut journal_full, mut read, mut from_ring, mut cuts] = [0; 6];
    for _ in 0..steps {
        match rng.below(100) {
            0..48 => {
                let partition = rng.size(2);
                let records = &mut model.records[partition];
                let mut bytes = vec![0; rng.size(60) + 8];
                bytes[..8].copy_from_slice(&rng.next().to_le_bytes());
                match world.writers[partition].write_tagged((records.len() % 200) as u8, &bytes) {
                    Ok(_) => {
                        records.push(bytes);
                        written += 1;
                    }
                    Err(WriteError::Full) => ring_full += 1,
                    Err(other) => panic!("{other}"),
                }
            }
            48..54 => {
                let before = model.stored;
                let outcome = world.log.pump();
                for partition in 0..2_u8 {
                    let at = usize::from(partition);
                    let risk = world.log.at_risk(partition).unwrap() as usize;
                    model.stored[at] = model.records[at].len() - risk;
                    assert!(model.stored[at] >= before[at]);
                    assert!(outcome.is_err() || risk <= keep, "{risk} are kept");
                    let next = world.log.journal().span(partition).unwrap().1;
                    assert_eq!(next.value(), model.stored[at] as u64);
                }
                match outcome {
                    Ok(_) => {}
                    Err(PumpError::Store(StoreError::Full)) => journal_full += 1,
                    Err(other) => panic!("{other}"),
                }
            }
            54..80 => {
                let slot = rng.size(3);
                let (partition, name) = NAMES[slot];
                let cursor = world.log.find(partition, name).unwrap();
                let at = model.next[slot];
                let all = &model.records[usize::from(partition)];
                assert_eq!(world.log.lag(cursor), Some((all.len() - at) as u64));
                for at in at..(at + 5).min(all.len() + 1) {
                    let record = world.log.next(cursor, &mut buffer).unwrap();
                    assert_eq!(record.is_some(), at < all.len());
                    let Some(record) = record else { break };
                    assert_eq!((record.offset().value(), record.tag()), (at as u64, (at % 200) as u8));
                    assert_eq!(record.body(), all[at]);
                    model.next[slot] += 1;
                    read += 1;
                    from_ring += u64::from(at >= model.stored[usize::from(partition)]);
                }
            }
            80..98 => {
                let slot = rng.size(3);
                let (partition, name) = NAMES[slot];
                let cursor = world.log.find(partition, name).unwrap();
                let (from, to) = (model.committed[slot], model.next[slot]);
                let to = if rng.one_in(3) { from + rng.size(to - from + 1) } else { to };
                world.log.commit(cursor, Offset::new(to as u64)).unwrap();
                model.committed[slot] = to;
                let beyond = Offset::new(model.next[slot] as u64 + 1);
                assert!(matches!(world.log.commit(cursor, beyond), Err(StoreError::OutOfRange { .. })));
            }
            _ => {
                // The rings are gone, the medium is not.
                let store = world.log.into_journal().into_store();
                model.power_cut();
                world = start(Journal::open(store).unwrap(), mode);
                for (slot, (partition, name)) in NAMES.into_iter().enumerate() {
                    let cursor = world.log.find(partition, name).unwrap();
                    let committed = world.log.journal().committed(cursor).unwrap();
                    assert_eq!(committed.value(), model.committed[slot] as u64);
                }
                cuts += 1;
            }
        }
    }
    assert_eq!(world.rings.len(), 2);
    [written, ring_full, journal_full, read, from_ring, cuts]
}

#[test]
fn two_places_are_read_as_one_log() {
    let mut refused = 0;
    for (mode, from_ring_least) in [(SpoolMode::WriteThrough, 500), (SpoolMode::Spill { keep: 12 }, 1000)] {
        let mut sums = [0; 6];
        for seed in 0..8 {
            for (sum, one) in sums.iter_mut().zip(run(seed, mode, 4_000)) {
                *sum += one;
            }
        }
        let [written, ring_full, journal_full, read, from_ring, cuts] = sums;
        assert!(written > 5_000 && ring_full > 0 && read > 5_000 && cuts > 500, "{sums:?}");
        assert!(from_ring > from_ring_least, "{sums:?}");
        refused += journal_full;
    }
    assert!(refused > 0);
}

#[test]
fn what_was_dealt_with_in_time_is_never_stored() {
    let journal: Journal<_, 1, 1> = Journal::format(Ram::flash(16, 2048, 4), JournalConfig::new(1)).unwrap();
    let ring = ring();
    let mut writer = Writer::claim(Arc::clone(&ring)).unwrap();
    let mut log: Spool<Heap, Ram, 1, 1> = Spool::new(journal, [ring], SpoolMode::Spill { keep: 8 }).unwrap();
    let cursor = log.join(0, "uplink").unwrap();
    let mut buffer = [0; 64];
    for number in 0..1_000_u32 {
        writer.write(&number.to_le_bytes()).unwrap();
        let record = log.next(cursor, &mut buffer).unwrap().unwrap();
        assert_eq!(record.body(), number.to_le_bytes());
        log.commit(cursor, Offset::new(u64::from(number) + 1)).unwrap();
        log.pump().unwrap();
    }
    assert_eq!(log.journal().stats().records, 0);
    // Nobody reads any more: only what the ring cannot keep goes to the medium.
    for number in 1_000..1_100_u32 {
        writer.write(&number.to_le_bytes()).unwrap();
        log.pump().unwrap();
    }
    assert_eq!((log.journal().stats().records, log.at_risk(0)), (92, Some(8)));
    let mut journal: Journal<_, 1, 1> = Journal::open(log.into_journal().into_store()).unwrap();
    let cursor = journal.find(0, "uplink").unwrap();
    for number in 1_000..1_092_u32 {
        let record = journal.next(cursor, &mut buffer).unwrap().unwrap();
        assert_eq!((record.offset().value(), record.body()), (u64::from(number), &number.to_le_bytes()[..]));
    }
    assert_eq!(journal.next(cursor, &mut buffer).unwrap(), None);
}

#[test]
fn rings_and_partitions_must_fit() {
    let make = || -> Journal<Ram, 2, 1> {
        Journal::format(Ram::flash(16, 2048, 4), JournalConfig::new(1).with_partitions(2)).unwrap()
    };
    let error = Spool::new(make(), [ring()], SpoolMode::WriteThrough).map(drop).unwrap_err();
    assert_eq!(error, SpoolError::Partitions { rings: 1, partitions: 2 });
    let error = Spool::new(make(), [ring(), ring(), ring()], SpoolMode::WriteThrough).map(drop).unwrap_err();
    assert_eq!(error, SpoolError::Partitions { rings: 3, partitions: 2 });
    let shape = RingConfig::new(32, 1024).with_readers(1);
    let narrow: Heap = Arc::new(Ring::format(lease(shape), shape).unwrap());
    let error = Spool::new(make(), [ring(), narrow], SpoolMode::WriteThrough).map(drop).unwrap_err();
    assert!(matches!(error, SpoolError::Join(_)), "{error}");
}

#[test]
fn records_that_were_trimmed_are_counted() {
    let journal: Journal<_, 1, 1> = Journal::format(Ram::flash(16, 2048, 4), JournalConfig::new(1)).unwrap();
    let ring = ring();
    let mut writer = Writer::claim(Arc::clone(&ring)).unwrap();
    let mut log: Spool<Heap, Ram, 1, 1> = Spool::new(journal, [ring], SpoolMode::WriteThrough).unwrap();
    let cursor = log.join(0, "uplink").unwrap();
    for number in 0..10_u8 {
        writer.write(&[number]).unwrap();
    }
    log.pump().unwrap();
    log.trim(0, Offset::new(4)).unwrap();
    let mut buffer = [0; 64];
    let lost = SpoolReadError::Fetch(FetchError::Trimmed { lost: 4 });
    assert_eq!(log.next(cursor, &mut buffer), Err(lost));
    assert_eq!(log.next(cursor, &mut buffer).unwrap().unwrap().body(), [4]);
}

/// Interrupt and main loop, as threads: one writes and never waits for the medium, one moves and reads.
#[test]
fn a_producer_on_another_thread_never_meets_the_medium() {
    let journal: Journal<_, 1, 1> = Journal::format(Ram::flash(16, 2048, 4), JournalConfig::new(1)).unwrap();
    let ring = ring();
    let mut log: Spool<Heap, Ram, 1, 1> = Spool::new(journal, [Arc::clone(&ring)], SpoolMode::WriteThrough).unwrap();
    let cursor = log.join(0, "uplink").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = Writer::claim(Arc::clone(&ring)).unwrap();
            for number in 0..20_000_u32 {
                while let Err(error) = writer.write(&number.to_le_bytes()) {
                    assert_eq!(error, WriteError::Full);
                    std::thread::yield_now();
                }
            }
        });
        let mut buffer = [0; 64];
        let mut wanted = 0_u32;
        while wanted < 20_000 {
            log.pump().unwrap();
            while let Some(record) = log.next(cursor, &mut buffer).unwrap() {
                assert_eq!(record.body(), wanted.to_le_bytes());
                wanted += 1;
            }
            log.commit(cursor, Offset::new(u64::from(wanted))).unwrap();
        }
    });
    assert_eq!(log.lag(cursor), Some(0));
}

/// Keeps in memory what is not synced; cannot sync, or has no room for another segment, when it is told so.
struct Disk {
    cached: Vec<u8>,
    stored: Vec<u8>,
    fails: Arc<AtomicBool>,
    is_full: Arc<AtomicBool>,
}

impl Disk {
    fn new() -> Self {
        let bytes = vec![0; 8 * SEGMENT as usize];
        Self { cached: bytes.clone(), stored: bytes, fails: Arc::default(), is_full: Arc::default() }
    }
}

const SEGMENT: u32 = 2048;

impl Store for Disk {
    fn geometry(&self) -> Geometry {
        Geometry::files(self.stored.len() as u32 / SEGMENT, SEGMENT)
    }

    fn read(&mut self, segment: u32, at: u32, into: &mut [u8]) -> Result<(), MediumError> {
        into.copy_from_slice(&self.cached[(segment * SEGMENT + at) as usize..][..into.len()]);
        Ok(())
    }

    fn program(&mut self, segment: u32, at: u32, bytes: &[u8]) -> Result<(), MediumError> {
        self.cached[(segment * SEGMENT + at) as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn erase(&mut self, _: u32) -> Result<(), MediumError> {
        if self.is_full.load(Ordering::Relaxed) { Err(MediumError::NoSpace) } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<(), MediumError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(MediumError::Io(5));
        }
        self.stored.clone_from(&self.cached);
        Ok(())
    }
}

/// The ring holds a record until it is on the medium, not only until it was given to it.
#[test]
fn what_a_failed_sync_has_lost_is_still_in_the_ring() {
    let disk = Disk::new();
    let fails = Arc::clone(&disk.fails);
    let journal: Journal<_, 1, 1> = Journal::format(disk, JournalConfig::new(1)).unwrap();
    let ring = ring();
    let mut writer = Writer::claim(Arc::clone(&ring)).unwrap();
    let mut log = Spool::new(journal, [Arc::clone(&ring)], SpoolMode::WriteThrough).unwrap();
    let cursor = log.join(0, "uplink").unwrap();
    for number in 0..5_u8 {
        writer.write(&[number]).unwrap();
    }
    assert_eq!((log.pump(), log.at_risk(0)), (Ok(5), Some(0)));
    for number in 5..9_u8 {
        writer.write(&[number]).unwrap();
    }
    fails.store(true, Ordering::Relaxed);
    assert_eq!(log.pump(), Err(PumpError::Store(StoreError::Medium(MediumError::Io(5)))));
    assert_eq!(log.at_risk(0), Some(4));

    // The journal is opened again, before the same ring.
    let mut disk = log.into_journal().into_store();
    disk.cached.clone_from(&disk.stored);
    fails.store(false, Ordering::Relaxed);
    let journal: Journal<_, 1, 1> = Journal::open(disk).unwrap();
    let mut log = Spool::new(journal, [ring], SpoolMode::WriteThrough).unwrap();
    assert_eq!((log.pump(), log.at_risk(0)), (Ok(4), Some(0)));
    let mut buffer = [0; 16];
    for number in 0..9_u8 {
        let record = log.next(cursor, &mut buffer).unwrap().unwrap();
        assert_eq!((record.offset().value(), record.body()), (u64::from(number), &[number][..]));
    }
    assert_eq!(log.next(cursor, &mut buffer).unwrap(), None);
}

/// Of records that are moved together, the first ones find room: they are moved once.
#[test]
fn a_disk_without_room_for_all_takes_some_and_each_once() {
    let disk = Disk::new();
    let is_full = Arc::clone(&disk.is_full);
    let journal: Journal<_, 1, 1> = Journal::format(disk, JournalConfig::new(1)).unwrap();
    let ring = ring();
    let mut writer = Writer::claim(Arc::clone(&ring)).unwrap();
    let mut log = Spool::new(journal, [Arc::clone(&ring)], SpoolMode::WriteThrough).unwrap();
    let cursor = log.join(0, "uplink").unwrap();
    is_full.store(true, Ordering::Relaxed);
    let mut written = 0_u8;
    let refused = loop {
        for _ in 0..7 {
            writer.write(&[written; 40]).unwrap();
            written += 1;
        }
        if let Err(error) = log.pump() {
            break error;
        }
    };
    assert_eq!(refused, PumpError::Store(StoreError::Medium(MediumError::NoSpace)));
    let (_, next) = log.journal().span(0).unwrap();
    let left = u64::from(written) - next.value();
    assert!((1..7).contains(&left), "{left}");
    assert_eq!(log.at_risk(0), Some(left));

    // Another spool goes on before the same journal.
    is_full.store(false, Ordering::Relaxed);
    let mut log = Spool::new(log.into_journal(), [ring], SpoolMode::WriteThrough).unwrap();
    assert_eq!((log.pump(), log.at_risk(0)), (Ok(left as usize), Some(0)));
    let mut buffer = [0; 64];
    for number in 0..written {
        let record = log.next(cursor, &mut buffer).unwrap().unwrap();
        assert_eq!((record.offset().value(), record.body()), (u64::from(number), &[number; 40][..]));
    }
    assert_eq!(log.next(cursor, &mut buffer).unwrap(), None);
}
