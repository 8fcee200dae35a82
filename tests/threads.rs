//! Real threads on one ring, and two agents that share memory without sharing caches.

#![allow(clippy::multiple_unsafe_ops_per_block, reason = "one store through one pointer")]
#![cfg(all(feature = "std", not(loom)))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::disallowed_types,
    reason = "tests"
)]

mod common;

use common::hooked::{Call, Hooked};
use common::{Owned, Rng, is_payload, payload, scale};
use fabric_mq::lease::{Cooperative, Exclusive, Lease, Trust};
use fabric_mq::ring::{Keep, Overwrite, Reader, Retain, Ring, RingConfig, SharedWriter, Start, Writer};
use fabric_mq::{JoinError, Offset, ReadError, SeekError, WriteError};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError, mpsc};
use std::time::{Duration, Instant};

fn ring<K: Keep>(slots: u32, bytes: u32, readers: u8) -> Ring<Owned<Exclusive>, K> {
    let config = RingConfig::new(slots, bytes).with_readers(readers);
    Ring::format(Owned::new(config.lease_bytes().unwrap()), config).unwrap()
}

/// The length of the record at `offset`: all sizes, often small.
fn len_of(offset: u64, max: usize) -> usize {
    match offset % 7 {
        0 => 0,
        1 => (offset % (max as u64 + 1)) as usize,
        _ => (offset % 61) as usize % (max + 1),
    }
}

fn check(offset: u64, bytes: &[u8], max: usize) {
    assert_eq!(bytes.len(), len_of(offset, max), "the length of record {offset}");
    assert!(is_payload(bytes, offset), "the bytes of record {offset}");
}

/// A deadline for everything that waits: a test that hangs fails.
struct Patience(Instant);

impl Patience {
    fn new() -> Self {
        Self(Instant::now() + Duration::from_secs(120))
    }
    fn wait(&self) {
        assert!(Instant::now() < self.0, "nothing moves any more");
        std::thread::yield_now();
    }
}

/// Takes a lock without ever waiting in the standard library, where the thread sanitizer does not see who comes after whom.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    let patience = Patience::new();
    loop {
        match mutex.try_lock() {
            Ok(guard) => return guard,
            Err(TryLockError::WouldBlock) => patience.wait(),
            Err(TryLockError::Poisoned(error)) => panic!("{error}"),
        }
    }
}

/// Writes records up to `total`: one by one, in batches, in place.
fn produce<L: Lease<Trust = Exclusive>>(ring: &Ring<L, Retain>, total: u64, seed: u64) {
    let mut writer = Writer::claim(ring).unwrap();
    let mut rng = Rng::new(seed);
    let (max, patience) = (ring.max_record(), Patience::new());
    while writer.next_offset().value() < total {
        let offset = writer.next_offset().value();
        let len = len_of(offset, max);
        match rng.below(4) {
            0 => {
                let wanted = rng.within(1, 20).min(total - offset);
                let mut batch = writer.batch();
                for at in offset..offset + wanted {
                    if batch.write(&payload(at, len_of(at, max))).is_err() {
                        break;
                    }
                }
                if rng.one_in(4) {
                    drop(batch);
                } else if batch.publish().unwrap() == 0 {
                    patience.wait();
                }
            }
            1 => match writer.reserve(len) {
                Ok(mut grant) => {
                    common::fill(grant.bytes(), offset);
                    assert_eq!(grant.commit(len).unwrap().value(), offset);
                }
                Err(error) => {
                    assert_eq!(error, WriteError::Full);
                    patience.wait();
                }
            },
            _ => match writer.write(&payload(offset, len)) {
                Ok(at) => assert_eq!(at.value(), offset),
                Err(error) => {
                    assert_eq!(error, WriteError::Full);
                    patience.wait();
                }
            },
        }
    }
}

#[test]
fn a_retaining_ring_hands_every_record_to_every_reader() {
    let total = 20_000 * scale();
    let mut passed = 0;
    for (slots, bytes) in [(2, 64), (16, 1024), (256, 8192)] {
        let ring = ring::<Retain>(slots, bytes, 3);
        let max = ring.max_record();
        let place = Reader::join(&ring, "place", Start::Earliest).unwrap();
        let copies = Reader::join(&ring, "copies", Start::Earliest).unwrap();
        let many = Reader::join(&ring, "many", Start::Earliest).unwrap();
        common::crew(|crew| {
            crew.spawn(|| produce(&ring, total, 1));
            crew.spawn(|| {
                let (mut reader, patience) = (place, Patience::new());
                let mut expected = 0;
                while expected < total {
                    match reader.next().unwrap() {
                        Some(record) => {
                            assert_eq!(record.offset().value(), expected);
                            check(expected, record.payload(), max);
                            expected += 1;
                        }
                        None => patience.wait(),
                    }
                }
            });
            crew.spawn(|| {
                let (mut reader, patience) = (copies, Patience::new());
                let (mut expected, mut buffer) = (0, vec![0; max]);
                while expected < total {
                    match reader.copy_next(&mut buffer).unwrap() {
                        Some(record) => {
                            assert_eq!(record.offset().value(), expected);
                            check(expected, &buffer[..record.len()], max);
                            expected += 1;
                        }
                        None => patience.wait(),
                    }
                }
            });
            crew.spawn(|| {
                let (mut reader, patience, mut rng) = (many, Patience::new(), Rng::new(7));
                let mut expected = 0;
                while expected < total {
                    let before = expected;
                    let seen = reader
                        .for_each(rng.size(300), |record| {
                            assert_eq!(record.offset().value(), expected);
                            check(expected, record.payload(), max);
                            expected += 1;
                        })
                        .unwrap();
                    assert_eq!(seen as u64, expected - before);
                    if seen == 0 {
                        patience.wait();
                    }
                }
            });
        });
        assert_eq!(ring.tail().value(), total);
        passed += 3 * total;
    }
    println!("retain, threads: passed {passed} operations");
}

#[test]
fn an_overwriting_ring_never_hands_out_a_torn_record() {
    let total = 60_000 * scale();
    let mut passed = 0;
    let mut all_lost = 0;
    for (slots, bytes) in [(2, 64), (16, 1024), (256, 8192)] {
        let ring = ring::<Overwrite>(slots, bytes, 2);
        let max = ring.max_record();
        let readers: Vec<_> =
            ["one", "two"].map(|name| Reader::join(&ring, name, Start::Earliest).unwrap()).into_iter().collect();
        common::crew(|crew| {
            crew.spawn(|| {
                let mut writer = Writer::claim(&ring).unwrap();
                let mut rng = Rng::new(3);
                while writer.next_offset().value() < total {
                    let offset = writer.next_offset().value();
                    if rng.one_in(5) {
                        let wanted = rng.within(1, 8).min(total - offset);
                        let mut batch = writer.batch();
                        for at in offset..offset + wanted {
                            if batch.write(&payload(at, len_of(at, max))).is_err() {
                                break;
                            }
                        }
                        batch.publish().unwrap();
                    } else {
                        assert_eq!(writer.write(&payload(offset, len_of(offset, max))).unwrap().value(), offset);
                    }
                    if rng.one_in(64) {
                        std::thread::yield_now();
                    }
                }
            });
            let counts: Vec<_> = readers
                .into_iter()
                .map(|mut reader| {
                    crew.start(move || {
                        let patience = Patience::new();
                        let (mut got, mut lost, mut expected) = (0, 0, 0);
                        let mut buffer = vec![0; max];
                        while expected < total {
                            match reader.copy_next(&mut buffer) {
                                Ok(Some(record)) => {
                                    assert_eq!(record.offset().value(), expected);
                                    check(expected, &buffer[..record.len()], max);
                                    (got, expected) = (got + 1, expected + 1);
                                }
                                Ok(None) => patience.wait(),
                                Err(ReadError::Overrun { lost: more }) => {
                                    (lost, expected) = (lost + more, expected + more)
                                }
                                Err(other) => panic!("at {expected}: {other}"),
                            }
                        }
                        assert_eq!(got + lost, total, "each record was received or told as lost");
                        assert_eq!(reader.lost(), lost);
                        (got, lost)
                    })
                })
                .collect();
            for count in counts {
                let (got, lost) = count.join().unwrap();
                passed += got;
                all_lost += lost;
            }
        });
    }
    println!("overwrite, threads: passed {passed} operations, {all_lost} lost and told");
    // How many of each depends on the scheduler.
    assert!(passed > 0 && all_lost > 0);
}

/// Producer, its own number, and bytes that depend on both.
fn shared_record(producer: u64, number: u64) -> Vec<u8> {
    let mut bytes = vec![producer as u8];
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend(payload(producer << 32 | number, (number % 23) as usize));
    bytes
}

fn open_shared_record(bytes: &[u8]) -> (u64, u64) {
    let (producer, number) = (u64::from(bytes[0]), u64::from_le_bytes(bytes[1..9].try_into().unwrap()));
    assert_eq!(bytes.len() - 9, (number % 23) as usize);
    assert!(is_payload(&bytes[9..], producer << 32 | number), "record {number} of producer {producer}");
    (producer, number)
}

#[test]
fn producers_that_share_a_ring_keep_their_order_and_lose_nothing() {
    const PRODUCERS: u64 = 3;
    let each = 10_000 * scale();
    let mut passed = 0;
    for (slots, bytes) in [(2, 128), (8, 256), (128, 4096)] {
        let ring = ring::<Retain>(slots, bytes, 1);
        let writer = SharedWriter::claim(&ring).unwrap();
        let mut reader = Reader::join(&ring, "main", Start::Earliest).unwrap();
        let offsets = Mutex::new(Vec::new());
        common::crew(|crew| {
            for producer in 0..PRODUCERS {
                let (writer, offsets) = (&writer, &offsets);
                crew.spawn(move || {
                    let patience = Patience::new();
                    let mut mine = Vec::new();
                    for number in 0..each {
                        let record = shared_record(producer, number);
                        let offset = loop {
                            match writer.write_parts(producer as u8, &[&record[..3], &record[3..]]) {
                                Ok(offset) => break offset.value(),
                                Err(error) => assert_eq!(error, WriteError::Full),
                            }
                            patience.wait();
                        };
                        assert!(mine.last().is_none_or(|last| *last < offset), "a producer's offsets rise");
                        mine.push(offset);
                    }
                    lock(offsets).extend(mine);
                });
            }
            crew.spawn(|| {
                let patience = Patience::new();
                let mut next = [0; PRODUCERS as usize];
                let mut expected = 0;
                while expected < PRODUCERS * each {
                    let Some(record) = reader.next().unwrap() else {
                        patience.wait();
                        continue;
                    };
                    assert_eq!(record.offset().value(), expected);
                    let (producer, number) = open_shared_record(record.payload());
                    assert_eq!(u64::from(record.tag()), producer);
                    assert_eq!(number, next[producer as usize], "producer {producer}'s records come in order");
                    next[producer as usize] += 1;
                    expected += 1;
                }
            });
        });
        let mut offsets = offsets.into_inner().unwrap();
        offsets.sort_unstable();
        assert!(offsets.into_iter().eq(0..PRODUCERS * each), "every offset was given to one record");
        passed += PRODUCERS * each;
    }
    println!("shared writer, threads: passed {passed} operations");
}

#[test]
fn producers_that_share_an_overwriting_ring_tear_nothing() {
    const PRODUCERS: u64 = 3;
    let each = 10_000 * scale();
    let ring = ring::<Overwrite>(32, 1024, 1);
    let writer = SharedWriter::claim(&ring).unwrap();
    let mut reader = Reader::join(&ring, "main", Start::Earliest).unwrap();
    let written = AtomicU64::new(0);
    let done = AtomicU64::new(0);
    common::crew(|crew| {
        for producer in 0..PRODUCERS {
            let (writer, written, done) = (&writer, &written, &done);
            crew.spawn(move || {
                for number in 0..each {
                    // Full for the moment in which another producer holds the oldest slot: the record is dropped.
                    match writer.write_tagged(producer as u8, &shared_record(producer, number)) {
                        Ok(_) => written.fetch_add(1, Ordering::Relaxed),
                        Err(error) => {
                            assert_eq!(error, WriteError::Full);
                            0
                        }
                    };
                }
                done.fetch_add(1, Ordering::Release);
            });
        }
        crew.spawn(|| {
            let patience = Patience::new();
            let mut last = [None; PRODUCERS as usize];
            let (mut got, mut lost) = (0, 0);
            let mut buffer = vec![0; ring.max_record()];
            loop {
                let finished = done.load(Ordering::Acquire) == PRODUCERS;
                match reader.copy_next(&mut buffer) {
                    Ok(Some(record)) => {
                        let (producer, number) = open_shared_record(&buffer[..record.len()]);
                        assert_eq!(record.offset().value(), got + lost);
                        assert_eq!(u64::from(record.tag()), producer);
                        assert!(last[producer as usize].is_none_or(|last| last < number), "out of order");
                        last[producer as usize] = Some(number);
                        got += 1;
                    }
                    Ok(None) if finished => break,
                    Ok(None) => patience.wait(),
                    Err(ReadError::Overrun { lost: more }) => lost += more,
                    Err(other) => panic!("{other}"),
                }
            }
            assert_eq!(got + lost, written.load(Ordering::Relaxed));
            println!("shared writer over overwriting ring: passed {got} operations, {lost} lost and told");
        });
    });
}

/// Readers come, seek, hold, park, go, and are forgotten, while the writer laps them and one steady reader lets it.
fn come_and_go<K: Keep>(
    name: &str,
    rounds: u64,
    visit: impl Fn(&mut Reader<&Ring<Owned<Exclusive>, K>>, &mut Rng) -> u64 + Sync,
) where
    Ring<Owned<Exclusive>, K>: Sync,
{
    let ring = ring::<K>(16, 1024, 4);
    let max = ring.max_record();
    let stop = AtomicBool::new(false);
    let mut steady = Reader::join(&ring, "steady", Start::Earliest).unwrap();
    let (mut passed, mut produced) = (0, 0);
    common::crew(|crew| {
        let writing = crew.start(|| {
            let mut writer = Writer::claim(&ring).unwrap();
            let mut rng = Rng::new(9);
            while !stop.load(Ordering::Relaxed) {
                let offset = writer.next_offset().value();
                let full = writer.write(&payload(offset, len_of(offset, max))).is_err();
                if full {
                    std::thread::yield_now();
                }
                if full && rng.one_in(2) || offset.is_multiple_of(5000) {
                    // The place changes hands now and then, also while a reader holds the ring up.
                    drop(writer);
                    writer = Writer::claim(&ring).unwrap();
                }
            }
            writer.next_offset().value()
        });
        crew.spawn(|| {
            let mut buffer = vec![0; max];
            while !stop.load(Ordering::Relaxed) {
                match steady.copy_next(&mut buffer) {
                    Ok(Some(record)) => check(record.offset().value(), &buffer[..record.len()], max),
                    Ok(None) => std::thread::yield_now(),
                    Err(ReadError::Overrun { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        });
        let visitors: Vec<_> = (0..2)
            .map(|seed| {
                let (ring, visit) = (&ring, &visit);
                crew.start(move || {
                    let mut rng = Rng::new(seed);
                    let mut read = 0;
                    for _ in 0..rounds {
                        let name = ["a", "b", "c"][rng.size(3)];
                        let start = match rng.below(4) {
                            0 => Start::Earliest,
                            1 => Start::Latest,
                            2 => Start::At(Offset::new(ring.tail().value().saturating_sub(rng.below(20)))),
                            _ => Start::Resume,
                        };
                        let mut reader = match Reader::join(ring, name, start) {
                            Ok(reader) => reader,
                            Err(JoinError::Claimed | JoinError::Seek(SeekError::Reclaimed { .. })) => continue,
                            Err(JoinError::Seek(SeekError::Beyond { .. })) if K::OVERWRITE => continue,
                            Err(other) => panic!("{other}"),
                        };
                        read += visit(&mut reader, &mut rng);
                        match rng.below(3) {
                            0 => reader.park(),
                            1 => drop(reader),
                            _ => {
                                reader.park();
                                let _ = ring.forget(name);
                            }
                        }
                        if !K::OVERWRITE {
                            // Nobody else clears away what is parked.
                            for name in ["a", "b", "c"] {
                                let _ = ring.forget(name);
                            }
                        }
                    }
                    read
                })
            })
            .collect();
        let results: Vec<_> = visitors.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::Relaxed);
        produced = writing.join().unwrap();
        for result in results {
            passed += result.unwrap();
        }
    });
    println!("{name}: passed {passed} operations against {produced} records");
    // How many depends on the scheduler; that both sides got anywhere does not.
    assert!(passed > 0 && produced > 0);
}

#[test]
fn readers_come_and_go_while_an_overwriting_writer_laps() {
    come_and_go::<Overwrite>("come and go, overwrite", 3000 * scale(), |reader, rng| {
        let max = reader.ring().max_record();
        let (mut buffer, mut read, mut expected) = (vec![0; max], 0, reader.next_offset().value());
        for _ in 0..rng.below(20) {
            match reader.copy_next(&mut buffer) {
                Ok(Some(record)) => {
                    assert_eq!(record.offset().value(), expected);
                    check(expected, &buffer[..record.len()], max);
                    (read, expected) = (read + 1, expected + 1);
                }
                Ok(None) => {}
                Err(ReadError::Overrun { lost }) => expected += lost,
                Err(other) => panic!("{other}"),
            }
            if rng.one_in(6) {
                let to = Offset::new(reader.ring().tail().value().saturating_sub(rng.below(18)));
                match reader.seek(to) {
                    Ok(()) => expected = to.value(),
                    Err(SeekError::Reclaimed { head }) => assert!(head > to),
                    Err(SeekError::Beyond { tail }) => assert!(tail < to),
                    Err(other) => panic!("{other}"),
                }
                assert_eq!(reader.next_offset().value(), expected);
            }
        }
        read
    });
}

#[test]
fn readers_come_and_go_while_a_retaining_writer_laps() {
    come_and_go::<Retain>("come and go, retain", 3000 * scale(), |reader, rng| {
        let max = reader.ring().max_record();
        let (mut read, mut expected) = (0, reader.next_offset().value());
        for _ in 0..rng.below(20) {
            if let Some(record) = reader.next().unwrap() {
                assert_eq!(record.offset().value(), expected);
                check(expected, record.payload(), max);
                if rng.one_in(8) {
                    // Hold it while the writer tries to pass.
                    std::thread::yield_now();
                    check(expected, std::hint::black_box(record.payload()), max);
                }
                (read, expected) = (read + 1, expected + 1);
            }
            if rng.one_in(6) {
                let to = Offset::new(reader.ring().tail().value().saturating_sub(rng.below(18)));
                match reader.seek(to) {
                    Ok(()) => expected = to.value(),
                    // What comes behind a reader is held for it.
                    Err(SeekError::Reclaimed { head }) => assert!(head > to && to.value() < expected),
                    Err(other) => panic!("{other}"),
                }
            }
        }
        read
    });
}

type Hook = Box<dyn FnOnce() + Send>;

/// Between a reader's parking and its end, somebody else may take the place: it stays theirs.
#[test]
fn a_place_that_was_parked_belongs_to_whoever_takes_it_next() {
    let config = RingConfig::new(4, 64);
    let memory = Owned::<Exclusive>::new(config.lease_bytes().unwrap());
    let then: Arc<Mutex<Option<Hook>>> = Arc::default();
    let parked = Arc::clone(&then);
    let lease = Hooked::new(memory, move |call| {
        // The reader's block is cleaned when its state is parked.
        let then = if call == (Call::Clean { at: 384 }) { lock(&parked).take() } else { None };
        if let Some(then) = then {
            then();
        }
        Ok(())
    });
    let ring: Arc<Ring<_>> = Arc::new(Ring::format(lease, config).unwrap());
    let mut writer = Writer::claim(Arc::clone(&ring)).unwrap();
    for offset in 0..4 {
        writer.write(&payload(offset, 8)).unwrap();
    }
    let first = Reader::join(Arc::clone(&ring), "main", Start::Earliest).unwrap();
    let (sender, receiver) = mpsc::channel();
    let other = Arc::clone(&ring);
    *lock(&then) = Some(Box::new(move || {
        let second = std::thread::spawn(move || Reader::join(other, "main", Start::Resume)).join().unwrap().unwrap();
        sender.send(second).unwrap();
    }));
    first.park();
    let mut second = receiver.try_recv().expect("the hook ran while the first reader parked");
    let info = ring.readers().next().expect("the place is taken");
    assert!(info.active, "the place was given up by the reader that had parked it");
    let record = second.next().unwrap().unwrap();
    assert_eq!(writer.write(b"more"), Err(WriteError::Full), "the second reader holds all records");
    assert!(is_payload(std::hint::black_box(record.payload()), 0));
    println!("parked place: passed 1 operations");
}

// ---- two agents that share memory but not caches

/// One agent's view: bytes of its own, which `clean` and `invalidate` exchange with the fabric's by cache lines.
struct Agent {
    own: Owned<Cooperative>,
    fabric: Arc<Mutex<Vec<u8>>>,
    line: usize,
}

impl Agent {
    fn new(fabric: &Arc<Mutex<Vec<u8>>>, line: usize) -> Self {
        let len = lock(fabric).len();
        // What the agent has never fetched is garbage to it.
        let own = Owned::of(&payload(len as u64, len));
        Self { own, fabric: Arc::clone(fabric), line }
    }

    fn lines(&self, at: usize, len: usize) -> std::ops::Range<usize> {
        let end = (at + len).next_multiple_of(self.line).min(self.own.len());
        at / self.line * self.line..end
    }
}

#[allow(unsafe_code, reason = "the emulated caches")]
// SAFETY: passes on what `Owned` promises.
unsafe impl Lease for Agent {
    type Trust = Cooperative;
    fn base(&self) -> NonNull<u8> {
        self.own.base()
    }
    fn len(&self) -> usize {
        self.own.len()
    }
    fn clean(&self, at: usize, len: usize) {
        assert!(at + len <= self.len(), "cleans outside the lease");
        let range = self.lines(at, len);
        let mut fabric = lock(&self.fabric);
        let to = &mut fabric[range.clone()];
        // SAFETY: the range lies in the agent's bytes; the test uses them from one thread.
        unsafe { std::ptr::copy_nonoverlapping(self.own.base().as_ptr().add(range.start), to.as_mut_ptr(), to.len()) };
    }
    fn invalidate(&self, at: usize, len: usize) {
        assert!(at + len <= self.len(), "invalidates outside the lease");
        let range = self.lines(at, len);
        let fabric = lock(&self.fabric);
        let from = &fabric[range.clone()];
        // SAFETY: as above. A record that the test still holds is among the bytes, but what is fetched is equal to it,
        // or the test fails.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), self.own.base().as_ptr().add(range.start), from.len()) };
    }
}

fn agents<K: Keep>(config: RingConfig, line: usize) -> (Ring<Agent, K>, Ring<Agent, K>) {
    let fabric = Arc::new(Mutex::new(vec![0; config.lease_bytes().unwrap()]));
    let a = Ring::format(Agent::new(&fabric, line), config).unwrap();
    let b = Ring::attach(Agent::new(&fabric, line)).unwrap();
    (a, b)
}

#[test]
fn incoherent_agents_see_everything_through_the_hooks() {
    let mut passed = 0;
    for line in [1, 64, 128] {
        for seed in 0..40 * scale() {
            let mut rng = Rng::new(seed);
            let config = RingConfig::new(1 << rng.within(1, 5), 64 << rng.below(5)).with_readers(2);
            let (a, b) = agents::<Retain>(config, line);
            let max = a.max_record();
            let mut writer = Writer::claim(&a).unwrap();
            let mut reader = Reader::join(&b, "b", Start::Earliest).unwrap();
            let mut local = Reader::join(&a, "a", Start::Earliest).unwrap();
            let (mut next, mut expected, mut own) = (0, 0, 0);
            for _ in 0..400 {
                passed += 1;
                match rng.below(10) {
                    0..=2 => {
                        if writer.write(&payload(next, len_of(next, max))).is_ok() {
                            next += 1;
                        }
                    }
                    3 => {
                        let mut batch = writer.batch();
                        let mut at = next;
                        for _ in 0..rng.below(5) {
                            if batch.write(&payload(at, len_of(at, max))).is_ok() {
                                at += 1;
                            }
                        }
                        if rng.one_in(3) {
                            drop(batch);
                        } else {
                            batch.publish().unwrap();
                            next = at;
                        }
                    }
                    4 => {
                        let seen = reader
                            .for_each(rng.size(9), |record| {
                                assert_eq!(record.offset().value(), expected);
                                check(expected, record.payload(), max);
                                expected += 1;
                            })
                            .unwrap();
                        assert!(seen < 9);
                    }
                    5 => {
                        let seen = local
                            .for_each(usize::MAX, |record| {
                                assert_eq!(record.offset().value(), own);
                                check(own, record.payload(), max);
                                own += 1;
                            })
                            .unwrap();
                        assert!(seen > 0 || own == next);
                        assert_eq!(own, next);
                    }
                    6 => {
                        // The place is parked, and taken again from the other side or from the same one.
                        reader.park();
                        let infos: Vec<_> = a.readers().collect();
                        assert!(infos.iter().any(|info| info.name.as_str() == "b"
                            && !info.active
                            && info.progress.value() == expected));
                        let beyond = Start::At(Offset::new(next + 1));
                        assert!(matches!(Reader::join(&b, "b", beyond), Err(JoinError::Seek(_))));
                        assert!(
                            a.readers().any(|info| info.name.as_str() == "b" && !info.active),
                            "a refused join shows"
                        );
                        reader = Reader::join(&b, "b", Start::Resume).unwrap();
                        assert_eq!(reader.next_offset().value(), expected);
                        assert!(a.readers().any(|info| info.name.as_str() == "b" && info.active), "the joining shows");
                    }
                    7 => {
                        // A place given up, or forgotten after it was parked, and taken by a new reader at the end.
                        if rng.one_in(2) {
                            drop(reader);
                        } else {
                            reader.park();
                            assert_eq!(b.forget("b"), Ok(true));
                        }
                        assert!(a.readers().all(|info| info.name.as_str() != "b"), "the leaving shows");
                        reader = Reader::join(&b, "b", Start::Latest).unwrap();
                        assert_eq!(reader.next_offset().value(), next, "the end of the log is seen");
                        expected = next;
                        // Nothing has been read yet: it holds its records all the same.
                        while writer.write(&payload(next, len_of(next, max))).is_ok() {
                            next += 1;
                            local.for_each(usize::MAX, |_| own += 1).unwrap();
                            assert!(
                                next <= expected + u64::from(a.slots()),
                                "written over a reader that has just joined"
                            );
                        }
                        assert_eq!(a.head().value().max(expected), expected, "a reader that joined is passed over");
                    }
                    8 => {
                        // Both have read all: the writer has the whole ring again.
                        reader.for_each(usize::MAX, |_| expected += 1).unwrap();
                        local.for_each(usize::MAX, |_| own += 1).unwrap();
                        assert_eq!((expected, own), (next, next));
                        for _ in 0..a.slots() {
                            writer.write(&[]).expect("what was released is seen to be free");
                            next += 1;
                        }
                        reader.seek(Offset::new(next)).unwrap();
                        local.seek(Offset::new(next)).unwrap();
                        (expected, own) = (next, next);
                    }
                    _ => match reader.next().unwrap() {
                        Some(record) => {
                            assert_eq!(record.offset().value(), expected);
                            check(expected, record.payload(), max);
                            expected += 1;
                            let _ = writer.write(&payload(next, len_of(next, max))).is_ok_and(|_| {
                                next += 1;
                                true
                            });
                            check(expected - 1, std::hint::black_box(record.payload()), max);
                        }
                        None => assert_eq!(expected, next, "what was committed is seen at once"),
                    },
                }
                assert_eq!((a.tail().value(), b.tail().value()), (next, next));
                assert_eq!(a.head(), b.head());
                assert_eq!(a.refused(), b.refused(), "refusals are seen");
                assert!(matches!(Writer::claim(&a), Err(WriteError::Claimed)), "the writer's claim was lost");
            }
        }
    }
    println!("incoherent agents, retain: passed {passed} operations");
}

#[test]
fn incoherent_agents_are_told_what_they_lost() {
    let mut passed = 0;
    for line in [1, 64, 128] {
        for seed in 0..40 * scale() {
            let mut rng = Rng::new(seed);
            let config = RingConfig::new(1 << rng.within(1, 5), 64 << rng.below(5));
            let (a, b) = agents::<Overwrite>(config, line);
            let max = a.max_record();
            let mut writer = Writer::claim(&a).unwrap();
            let mut reader = Reader::join(&b, "b", Start::Earliest).unwrap();
            let (mut next, mut expected, mut buffer) = (0, 0, vec![0; max]);
            for _ in 0..400 {
                passed += 1;
                if rng.one_in(2) {
                    writer.write(&payload(next, len_of(next, max))).unwrap();
                    next += 1;
                    continue;
                }
                let head = a.head().value();
                match reader.copy_next(&mut buffer) {
                    Ok(Some(record)) => {
                        assert!(head <= expected);
                        assert_eq!(record.offset().value(), expected);
                        check(expected, &buffer[..record.len()], max);
                        expected += 1;
                    }
                    Ok(None) => assert_eq!(expected, next, "what was committed is seen at once"),
                    Err(ReadError::Overrun { lost }) => {
                        assert_eq!(lost, head - expected);
                        expected = head;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
        }
    }
    println!("incoherent agents, overwrite: passed {passed} operations");
}

/// What a test says about its trust level is what the crate says.
const _: () = assert!(Exclusive::EXCLUSIVE && !Cooperative::EXCLUSIVE && !Cooperative::HOSTILE);
