//! A writer or a reader killed after every single store.
//!
//! A lease that takes a picture of its bytes whenever the ring cleans some shows what was stored between two pictures, in
//! the program's order. Within such a group the documented order of the stores applies (a slot's stamp last, a counter as
//! in `platform::cursor`), and payload bytes come in any order. Each state that a kill could leave is attached to: what was
//! committed is there, what was under way is there as a whole or not at all, and the ring goes on working.
//!
//! A second test kills real processes that write into a mapped file.

#![allow(clippy::explicit_counter_loop, clippy::drop_non_drop, reason = "tests say what happens when")]
#![cfg(all(feature = "std", not(loom)))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

mod common;

use common::image::{self, Shape};
use common::{Owned, Rng, is_payload, payload, scale};
use fabric_mq::lease::{Exclusive, Lease, SliceLease};
use fabric_mq::ring::{Keep, Overwrite, Reader, Retain, Ring, RingConfig, SharedWriter, Start, Writer};
use fabric_mq::{AttachError, ReadError};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::ptr::NonNull;

/// A lease that keeps a picture of its bytes from each time that some of them were cleaned.
struct Filmed {
    memory: Owned<Exclusive>,
    on: Cell<bool>,
    film: RefCell<Vec<Vec<u8>>>,
}

impl Filmed {
    fn new(memory: Owned<Exclusive>) -> Self {
        Self { memory, on: Cell::new(false), film: RefCell::new(Vec::new()) }
    }

    fn start(&self) {
        *self.film.borrow_mut() = vec![self.memory.image()];
        self.on.set(true);
    }

    /// All pictures, from the one before the first store to the one after the last.
    fn stop(&self) -> Vec<Vec<u8>> {
        self.on.set(false);
        let mut film = self.film.take();
        film.push(self.memory.image());
        film
    }
}

#[allow(unsafe_code, reason = "memory for tests")]
// SAFETY: passes on what `Owned` promises.
unsafe impl Lease for Filmed {
    type Trust = Exclusive;
    fn base(&self) -> NonNull<u8> {
        self.memory.base()
    }
    fn len(&self) -> usize {
        self.memory.len()
    }
    fn clean(&self, _: usize, _: usize) {
        if self.on.get() {
            self.film.borrow_mut().push(self.memory.image());
        }
    }
}

/// The words that differ, in an order in which they may have been stored: the groups of `order` come one after the other.
/// Within a group the stores have an order if it is `true`.
fn stores(before: &[u8], after: &[u8]) -> Vec<(bool, Vec<usize>)> {
    let shape = Shape::of(after);
    let changed = |at: usize| before[at..at + 4] != after[at..at + 4];
    let mut groups = Vec::new();
    // Payload: in any order.
    let payload: Vec<usize> = (shape.bytes_at()..shape.end()).step_by(4).filter(|at| changed(*at)).collect();
    groups.push((false, payload));
    // Slots: the words in any order, then the stamp.
    for slot in (shape.slots_at()..shape.bytes_at()).step_by(16) {
        groups.push((false, [slot + 4, slot + 8, slot + 12].into_iter().filter(|at| changed(*at)).collect()));
        groups.push((true, [slot].into_iter().filter(|at| changed(*at)).collect()));
    }
    // Counters: high again, low, high, guard.
    for counter in [image::TAIL_HINT, image::REFUSED, image::HEAD] {
        let words = [counter + 8, counter, counter + 4, counter + 12];
        groups.push((true, words.into_iter().filter(|at| changed(*at)).collect()));
    }
    // Readers: all but the state in any order but the guard last, then the state.
    for index in 0..shape.readers {
        let at = shape.reader_at(index);
        let rest = (at + 12..at + 128).step_by(4).filter(|at| changed(*at)).collect();
        groups.push((false, rest));
        groups.push((true, [at + 4, at + 8, at].into_iter().filter(|at| changed(*at)).collect()));
    }
    groups.push((true, [image::EPOCH, image::CLAIM, image::GATE].into_iter().filter(|at| changed(*at)).collect()));
    groups.retain(|(_, words)| !words.is_empty());
    groups
}

/// Every state between two pictures that a kill could leave.
fn states(before: &[u8], after: &[u8], rng: &mut Rng, mut each: impl FnMut(&[u8])) {
    let mut image = before.to_vec();
    for (ordered, words) in stores(before, after) {
        let put = |image: &mut Vec<u8>, at: usize| {
            image[at..at + 4].copy_from_slice(&after[at..at + 4]);
        };
        if ordered || words.len() == 1 {
            for at in words {
                put(&mut image, at);
                each(&image);
            }
        } else if words.len() <= 4 {
            for subset in 1..1_u32 << words.len() {
                let mut some = image.clone();
                for (bit, at) in words.iter().enumerate() {
                    if subset & (1 << bit) != 0 {
                        put(&mut some, *at);
                    }
                }
                each(&some);
            }
            words.into_iter().for_each(|at| put(&mut image, at));
        } else {
            // Too many subsets: each word alone, all but each, and some at random.
            for _ in 0..4 {
                let mut some = image.clone();
                for at in &words {
                    if rng.one_in(2) {
                        put(&mut some, *at);
                    }
                }
                each(&some);
            }
            for only in [words[0], words[words.len() - 1]] {
                let mut some = image.clone();
                put(&mut some, only);
                each(&some);
            }
            words.into_iter().for_each(|at| put(&mut image, at));
            each(&image);
        }
    }
    assert!(image == after, "a store outside of all that is known");
}

// ---- operations

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Op {
    Write(usize),
    Publish(usize),
    Abort(usize),
    /// Reserve this much, commit less.
    Grant(usize, usize),
    Read,
    ReadAll,
    Release,
    Park,
    Join,
    NoteTail,
    Claim,
}

/// The state of the log as those know it who were told that an operation had succeeded.
#[derive(Clone, Debug, Default)]
struct Known {
    /// Key and length of each committed record.
    log: BTreeMap<u64, (u64, usize)>,
    head: u64,
    tail: u64,
    /// What the reader holds from, if it is registered.
    told: Option<u64>,
}

fn known<K: Keep, L: Lease>(ring: &Ring<L, K>, log: &BTreeMap<u64, (u64, usize)>) -> Known {
    Known {
        log: log.clone(),
        head: ring.head().value(),
        tail: ring.tail().value(),
        told: ring.readers().next().map(|info| info.progress.value()),
    }
}

struct Count {
    sequences: u64,
    images: u64,
    seen: HashSet<u64>,
}

trait Flavor: Keep + Sized {
    fn read(reader: &mut Reader<&Ring<Filmed, Self>>, max: usize, each: &mut dyn FnMut(u64, &[u8]));
    fn grant(writer: &mut Writer<&Ring<Filmed, Self>>, reserve: usize, bytes: &[u8]) -> bool;
}

impl Flavor for Retain {
    fn read(reader: &mut Reader<&Ring<Filmed, Self>>, max: usize, each: &mut dyn FnMut(u64, &[u8])) {
        if max == 1 {
            if let Some(record) = reader.next().unwrap() {
                each(record.offset().value(), record.payload());
            }
        } else {
            reader.for_each(max, |record| each(record.offset().value(), record.payload())).unwrap();
        }
    }
    fn grant(writer: &mut Writer<&Ring<Filmed, Self>>, reserve: usize, bytes: &[u8]) -> bool {
        let Ok(mut grant) = writer.reserve(reserve) else { return false };
        grant.bytes()[..bytes.len()].copy_from_slice(bytes);
        grant.commit(bytes.len()).is_ok()
    }
}

impl Flavor for Overwrite {
    fn read(reader: &mut Reader<&Ring<Filmed, Self>>, max: usize, each: &mut dyn FnMut(u64, &[u8])) {
        let mut buffer = [0; 256];
        for _ in 0..max.min(20) {
            match reader.copy_next(&mut buffer) {
                Ok(Some(record)) => each(record.offset().value(), &buffer[..record.len()]),
                Ok(None) => break,
                Err(ReadError::Overrun { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
    }
    fn grant(writer: &mut Writer<&Ring<Filmed, Self>>, _: usize, bytes: &[u8]) -> bool {
        writer.write(bytes).is_ok()
    }
}

/// Runs a sequence on a ring of its own, and looks at every state that a kill during its last operation could leave.
fn run<K: Flavor>(image: &[u8], ops: &[Op], count: &mut Count) {
    let ring: Ring<Filmed, K> = Ring::attach(Filmed::new(Owned::of(image))).unwrap();
    let mut writer = Some(Writer::claim(&ring).unwrap());
    let mut reader = Reader::join(&ring, "r", Start::Earliest).ok();
    let mut log = BTreeMap::new();
    let mut keys = 0;
    let mut under_way = Vec::new();
    let (mut before, mut film) = (Known::default(), Vec::new());
    for (index, op) in ops.iter().enumerate() {
        let last = index + 1 == ops.len();
        if last {
            before = known(&ring, &log);
            ring.lease().start();
        }
        under_way.clear();
        let mut next = writer.as_ref().unwrap().next_offset().value();
        let mut key = |len: usize| {
            keys += 1;
            (payload(keys, len), (keys, len))
        };
        match *op {
            Op::Write(len) => {
                let (bytes, entry) = key(len);
                under_way.push((next, entry));
                if writer.as_mut().unwrap().write(&bytes).is_ok() {
                    log.insert(next, entry);
                }
            }
            Op::Grant(reserve, len) => {
                let (bytes, entry) = key(len);
                under_way.push((next, entry));
                if K::grant(writer.as_mut().unwrap(), reserve, &bytes) {
                    log.insert(next, entry);
                }
            }
            Op::Publish(records) | Op::Abort(records) => {
                let mut batch = writer.as_mut().unwrap().batch();
                let mut added = Vec::new();
                for size in 0..records {
                    let (bytes, entry) = key(size * 7 + 3);
                    if batch.write(&bytes).is_ok() {
                        added.push((next, entry));
                        next += 1;
                    }
                }
                if matches!(op, Op::Publish(_)) {
                    batch.publish().unwrap();
                    log.extend(added.iter().copied());
                    under_way = added;
                } else {
                    drop(batch);
                }
            }
            Op::Read | Op::ReadAll => {
                if let Some(reader) = &mut reader {
                    let max = if matches!(op, Op::Read) { 1 } else { 100 };
                    K::read(reader, max, &mut |offset, bytes| {
                        let (key, len) = log[&offset];
                        assert!(bytes.len() == len && is_payload(bytes, key));
                    });
                }
            }
            Op::Release => {
                if let Some(reader) = &mut reader {
                    reader.release();
                }
            }
            Op::Park => {
                if let Some(reader) = reader.take() {
                    reader.park();
                }
            }
            Op::Join => {
                if reader.is_none() {
                    reader = Reader::join(&ring, "r", Start::Resume).ok();
                }
            }
            Op::NoteTail => writer.as_ref().unwrap().note_tail(),
            Op::Claim => {
                drop(writer.take());
                writer = Some(Writer::claim(&ring).unwrap());
            }
        }
        if last {
            film = ring.lease().stop();
        }
    }
    let after = known(&ring, &log);
    count.sequences += 1;
    let mut rng = Rng::new(count.sequences);
    for pair in film.windows(2) {
        states(&pair[0], &pair[1], &mut rng, |image| {
            // Many sequences pass through the same state.
            let key = hash(image);
            if count.seen.insert(key) {
                count.images += 1;
                check::<K>(image, &before, &after, &under_way, ops, key);
            }
        });
    }
}

fn hash(bytes: &[u8]) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// What must hold of an image that a kill left.
fn check<K: Flavor>(
    image: &[u8],
    before: &Known,
    after: &Known,
    under_way: &[(u64, (u64, usize))],
    ops: &[Op],
    seed: u64,
) {
    let ring: Ring<_, K> = match Ring::attach(Owned::<Exclusive>::of(image)) {
        Ok(ring) => ring,
        Err(error) => panic!("{ops:?}: {error}"),
    };
    let (head, tail) = (ring.head().value(), ring.tail().value());
    assert!(tail == before.tail || tail == after.tail, "{ops:?}: half of what was under way shows: {tail}");
    assert!((before.head..=after.head).contains(&head), "{ops:?}: head {head}");
    if !K::OVERWRITE {
        // What a registered reader holds is there.
        if let Some(told) = before.told {
            assert!(head <= told.max(before.head), "{ops:?}: head {head} passed the reader at {told}");
        }
    }
    // The reader's place is where it was before or after.
    let mut places = ring.readers();
    let found = places.next().map(|info| (info.progress.value(), info.active));
    match (found, before.told, after.told) {
        (None, None, _) | (None, _, None) => {}
        (None, Some(_), Some(_)) => panic!("{ops:?}: the reader's place is gone"),
        (Some((at, active)), old, new) => {
            assert!(!active, "{ops:?}: nobody reads there any more");
            let low = old.or(new).unwrap_or(0).max(head);
            let high = new.or(old).unwrap_or(u64::MAX).max(low);
            assert!((low..=high).contains(&at), "{ops:?}: reader at {at}, not in {low}..={high}");
        }
    }
    drop(places);
    // Every record is there with its bytes.
    let mut reader = Reader::join(&ring, "r", Start::Earliest).unwrap();
    let mut expected = head;
    let mut buffer = [0; 256];
    while let Some(record) = reader.copy_next(&mut buffer).unwrap_or_else(|error| panic!("{ops:?}: {error}")) {
        let offset = record.offset().value();
        assert_eq!(offset, expected, "{ops:?}");
        let known =
            after.log.get(&offset).or_else(|| under_way.iter().find(|(at, _)| *at == offset).map(|(_, entry)| entry));
        let Some((key, len)) = known else { panic!("{ops:?}: record {offset} was never written") };
        let bytes = &buffer[..record.len()];
        assert!(bytes.len() == *len && is_payload(bytes, *key), "{ops:?}: the bytes of record {offset}");
        expected += 1;
    }
    assert_eq!(expected, tail, "{ops:?}");
    go_on(&ring, &mut reader, tail, seed);
}

/// The ring works: more than a lap is written and read, and nothing old turns up.
fn go_on<K: Keep>(
    ring: &Ring<Owned<Exclusive>, K>,
    reader: &mut Reader<&Ring<Owned<Exclusive>, K>>,
    tail: u64,
    seed: u64,
) {
    let mut writer = Writer::claim(ring).unwrap();
    let mut buffer = [0; 256];
    let mut rng = Rng::new(seed);
    let mut next = tail;
    assert!(reader.copy_next(&mut buffer).unwrap().is_none());
    for _ in 0..2 * ring.slots() + 2 {
        let len = rng.size(ring.max_record() + 1);
        let bytes = payload(next ^ 0xf00d, len);
        if rng.one_in(3) {
            let mut batch = writer.batch();
            batch.write(&bytes).unwrap();
            assert_eq!(batch.publish(), Ok(1));
        } else {
            assert_eq!(writer.write(&bytes).unwrap().value(), next);
        }
        let record = reader.copy_next(&mut buffer).unwrap().expect("the record just written");
        assert_eq!((record.offset().value(), record.len()), (next, len));
        assert!(is_payload(&buffer[..len], next ^ 0xf00d));
        next += 1;
        assert!(reader.copy_next(&mut buffer).unwrap().is_none(), "an old record turned up");
    }
}

/// All sequences of `length` operations.
fn sequences(alphabet: &[Op], length: usize, mut each: impl FnMut(&[Op])) {
    let mut digits = vec![0; length];
    loop {
        each(&digits.iter().map(|digit: &usize| alphabet[*digit]).collect::<Vec<_>>());
        let Some(place) = digits.iter().rposition(|digit| digit + 1 < alphabet.len()) else { return };
        digits[place] += 1;
        digits[place + 1..].fill(0);
    }
}

fn fresh<K: Keep>(slots: u32, bytes: u32) -> Vec<u8> {
    let config = RingConfig::new(slots, bytes);
    let ring: Ring<_, K> = Ring::format(Owned::<Exclusive>::new(config.lease_bytes().unwrap()), config).unwrap();
    ring.into_lease().image()
}

/// How long the sequences are.
fn lengths(default: usize) -> std::ops::RangeInclusive<usize> {
    1..=match scale() {
        1 => default,
        2..=49 => default + 1,
        _ => default + 2,
    }
}

#[test]
fn every_store_of_a_retaining_ring_may_be_the_last() {
    let mut count = Count { sequences: 0, images: 0, seen: HashSet::new() };
    let alphabet =
        [Op::Write(5), Op::Write(24), Op::Publish(2), Op::Abort(2), Op::Grant(20, 9), Op::Read, Op::ReadAll, Op::Claim];
    for (slots, bytes, start) in [(2, 64, 0), (4, 64, 0), (4, 128, (1 << 32) - 2)] {
        let mut image = fresh::<Retain>(slots, bytes);
        if start != 0 {
            image::start_at(&mut image, start, 0xffff_fffd);
        }
        for length in lengths(4) {
            sequences(&alphabet, length, |ops| run::<Retain>(&image, ops, &mut count));
        }
        count.seen.clear();
    }
    // Readers' operations, fewer of the writer's.
    let alphabet = [Op::Write(8), Op::Publish(3), Op::Read, Op::Release, Op::Park, Op::Join, Op::NoteTail];
    let image = fresh::<Retain>(4, 64);
    for length in lengths(4) {
        sequences(&alphabet, length, |ops| run::<Retain>(&image, ops, &mut count));
    }
    println!("crash, retain: passed {} images of {} sequences", count.images, count.sequences);
    assert!(count.images > 10_000);
}

#[test]
fn every_store_of_an_overwriting_ring_may_be_the_last() {
    let mut count = Count { sequences: 0, images: 0, seen: HashSet::new() };
    let alphabet =
        [Op::Write(0), Op::Write(8), Op::Write(32), Op::Publish(2), Op::Publish(4), Op::Abort(3), Op::Read, Op::Claim];
    for (slots, bytes, start) in [(2, 64, 0), (4, 64, 0), (8, 64, (1 << 32) - 3)] {
        let mut image = fresh::<Overwrite>(slots, bytes);
        if start != 0 {
            image::start_at(&mut image, start, 0xffff_fffd);
        }
        for length in lengths(4) {
            sequences(&alphabet, length, |ops| run::<Overwrite>(&image, ops, &mut count));
        }
        count.seen.clear();
    }
    println!("crash, overwrite: passed {} images of {} sequences", count.images, count.sequences);
    assert!(count.images > 10_000);
}

/// Longer histories, picked at random: rings that have wrapped often.
#[test]
fn every_store_late_in_a_long_history_may_be_the_last() {
    let mut count = Count { sequences: 0, images: 0, seen: HashSet::new() };
    let alphabet = [
        Op::Write(5),
        Op::Write(24),
        Op::Write(0),
        Op::Write(32),
        Op::Publish(2),
        Op::Publish(5),
        Op::Abort(4),
        Op::Grant(20, 9),
        Op::Read,
        Op::ReadAll,
        Op::ReadAll,
        Op::Claim,
        Op::Park,
        Op::Join,
    ];
    common::with_seeds("long histories", 0x5000_0000, 300 * scale(), |seed| {
        let mut rng = Rng::new(seed);
        let (slots, bytes) = *rng.pick(&[(2, 64), (4, 128), (8, 64), (8, 256)]);
        let length = rng.within(8, 30) as usize;
        let ops: Vec<_> = (0..length).map(|_| *rng.pick(&alphabet)).collect();
        run::<Retain>(&fresh::<Retain>(slots, bytes), &ops, &mut count);
        run::<Overwrite>(&fresh::<Overwrite>(slots, bytes), &ops, &mut count);
        count.seen.clear();
    });
    println!("crash, long histories: passed {} images of {} sequences", count.images, count.sequences);
}

/// Recovery is cut off too: whatever it has stored, the next one finds the same log.
#[test]
fn recovery_may_be_cut_off_anywhere() {
    let mut images = 0;
    common::with_seeds("recovery", 0x6000_0000, 300 * scale(), |seed| {
        let mut rng = Rng::new(seed);
        let config = RingConfig::new(*rng.pick(&[2, 4, 8]), *rng.pick(&[64, 128])).with_readers(2);
        let ring: Ring<_> = Ring::format(Owned::<Exclusive>::new(config.lease_bytes().unwrap()), config).unwrap();
        let mut writer = Writer::claim(&ring).unwrap();
        let mut one = Reader::join(&ring, "one", Start::Earliest).unwrap();
        let mut two = Reader::join(&ring, "two", Start::Earliest).unwrap();
        for _ in 0..rng.below(30) {
            let _ = writer.write(&payload(writer.next_offset().value(), rng.size(30)));
            if rng.one_in(2) {
                one.for_each(rng.size(4), |_| {}).unwrap();
                two.for_each(rng.size(5), |_| {}).unwrap();
            }
        }
        // Die in the middle of a batch.
        let mut batch = writer.batch();
        for _ in 0..rng.below(5) {
            let _ = batch.write(&[0xbb; 9]);
        }
        let dead = ring.lease().image();
        let lease = Filmed::new(Owned::of(&dead));
        lease.start();
        let whole: Ring<_> = Ring::attach(lease).unwrap();
        let film = whole.lease().stop();
        let expected = look(&whole);
        for pair in film.windows(2) {
            states(&pair[0], &pair[1], &mut rng, |image| {
                images += 1;
                let again: Ring<_> = Ring::attach(Owned::<Exclusive>::of(image)).unwrap();
                assert_eq!(look(&again), expected);
                let mut reader = Reader::join(&again, "one", Start::Latest).unwrap();
                let _ = again.forget("two").unwrap();
                go_on(&again, &mut reader, expected.1, seed);
            });
        }
    });
    println!("crash in recovery: passed {images} images");
}

/// Producers that share a ring commit in any order. When they die, whoever came behind the first gap is not in the log,
/// and does not turn up later either.
#[test]
fn what_producers_committed_behind_a_gap_never_shows() {
    fn gaps<K: Keep>(slots: u32, start: u64) -> u64 {
        let config = RingConfig::new(slots, 256);
        let ring: Ring<_, K> = Ring::format(Owned::<Exclusive>::new(config.lease_bytes().unwrap()), config).unwrap();
        let mut image = ring.into_lease().image();
        image::start_at(&mut image, start, 5);
        let ring: Ring<_, K> = Ring::attach(Owned::<Exclusive>::of(&image)).unwrap();
        let writer = SharedWriter::claim(&ring).unwrap();
        for offset in start..start + u64::from(slots) {
            writer.write(&payload(offset, (offset % 17) as usize)).unwrap();
        }
        let full = ring.lease().image();
        let mut images = 0;
        // Every set of slots that were not committed.
        for missing in 0..1_u64 << slots {
            let mut dead = full.clone();
            for offset in start..start + u64::from(slots) {
                if missing & (1 << (offset - start)) != 0 {
                    let at = Shape::of(&dead).slot_at(offset);
                    image::put(&mut dead, at, &(offset as u32).wrapping_sub(slots).to_le_bytes());
                }
            }
            images += 1;
            let ring: Ring<_, K> = Ring::attach(Owned::<Exclusive>::of(&dead)).unwrap();
            let tail = start + u64::from(missing.trailing_zeros().min(slots));
            assert_eq!((ring.head().value(), ring.tail().value()), (start, tail), "missing {missing:b}");
            let mut reader = Reader::join(&ring, "r", Start::Earliest).unwrap();
            let mut buffer = [0; 256];
            for offset in start..tail {
                let record = reader.copy_next(&mut buffer).unwrap().unwrap();
                assert_eq!(record.offset().value(), offset);
                assert!(is_payload(&buffer[..record.len()], offset));
            }
            if missing & 1 == 0 || images % 2 == 0 {
                go_on(&ring, &mut reader, tail, missing);
                continue;
            }
            // The same through a place that is shared again.
            let writer = SharedWriter::claim(&ring).unwrap();
            for offset in tail..tail + 3 * u64::from(slots) {
                assert!(
                    reader.copy_next(&mut buffer).unwrap().is_none(),
                    "missing {missing:b}: an old record at {offset}"
                );
                assert_eq!(writer.write(&payload(offset, 3)).unwrap().value(), offset);
                assert_eq!(reader.copy_next(&mut buffer).unwrap().unwrap().offset().value(), offset);
            }
        }
        images
    }
    let mut images = 0;
    for (slots, start) in [(2, 0), (4, 0), (8, 0), (8, 3), (8, (1 << 32) - 5)] {
        images += gaps::<Retain>(slots, start) + gaps::<Overwrite>(slots, start);
    }
    println!("crash of producers: passed {images} images");
}

type Seen = (u64, u64, Vec<(String, u64, bool)>, Vec<Vec<u8>>);

/// All that a ring shows.
fn look<L: Lease<Trust = Exclusive>>(ring: &Ring<L, Retain>) -> Seen {
    let readers =
        ring.readers().map(|info| (info.name.as_str().to_string(), info.progress.value(), info.active)).collect();
    let mut records = Vec::new();
    let mut reader = Reader::join(ring, "one", Start::Resume).unwrap();
    let back = reader.next_offset();
    while let Some(record) = reader.next().unwrap() {
        records.push(record.payload().to_vec());
    }
    // Go back, so that looking changes nothing that is looked at.
    reader.seek(back).unwrap();
    reader.park();
    (ring.head().value(), ring.tail().value(), readers, records)
}

/// Formatting that is cut off leaves no ring, or the finished one; never the old one with some of it gone.
#[test]
fn formatting_may_be_cut_off_anywhere() {
    let mut images = 0;
    for old in [false, true] {
        let config = RingConfig::new(4, 64);
        let mut memory = Owned::<Exclusive>::new(config.lease_bytes().unwrap());
        if old {
            let ring: Ring<_> = Ring::format(memory, config).unwrap();
            let mut writer = Writer::claim(&ring).unwrap();
            while writer.write(b"old").is_ok() {}
            drop(writer);
            memory = ring.into_lease();
        } else {
            let len = memory.len();
            memory.put(&payload(1, len));
        }
        let lease = Filmed::new(memory);
        lease.start();
        let config = config.with_number(7);
        let ring: Ring<_> = Ring::format(lease, config).unwrap();
        let film = ring.lease().stop();
        let mut rng = Rng::new(3);
        let first = &film[0];
        let last = film.last().unwrap();
        for pair in film.windows(2) {
            // The superblock's words in their order, the rest in any: the magic is gone before, and comes last.
            let mut image = pair[0].clone();
            let mut words: Vec<_> = (8..128).step_by(4).collect();
            let mut rest: Vec<_> = (128..image.len()).step_by(4).collect();
            for index in (1..rest.len()).rev() {
                rest.swap(index, rng.size(index + 1));
            }
            words.extend(rest);
            words.extend([0, 4]);
            for at in words {
                if pair[0][at..at + 4] == pair[1][at..at + 4] {
                    continue;
                }
                image[at..at + 4].copy_from_slice(&pair[1][at..at + 4]);
                images += 1;
                match Ring::<_>::attach(Owned::<Exclusive>::of(&image)) {
                    Ok(ring) => {
                        assert!(image[..] == last[..] || (old && image[8..] == first[8..]), "half of a ring");
                        assert!(ring.number() == 7 || image[..] == first[..]);
                    }
                    Err(error) => assert_eq!(error, AttachError::NotARing),
                }
            }
        }
    }
    println!("crash in formatting: passed {images} images");
    assert!(images > 50);
}

// ---- real processes, really killed

const CHILD: &str = "FABRIC_MQ_TEST_CHILD";
const MAPPED: RingConfig = RingConfig::new(64, 4096).with_readers(2);
/// Behind the ring: how many records the child knows to be written, and read.
const NOTES: usize = 16;

fn map(path: &std::path::Path) -> memmap2::MmapMut {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    #[allow(unsafe_code, reason = "a mapped file")]
    // SAFETY: the file is this test's; one process at a time has it mapped.
    unsafe { memmap2::MmapMut::map_mut(&file) }.unwrap()
}

/// Not a test by itself: the process that is killed.
#[test]
fn child_that_is_killed() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let mut map = map(path.as_ref());
    let (ring, notes) = map.split_at_mut(MAPPED.lease_bytes().unwrap());
    let (ring, notes) = (SliceLease::new(ring), RefCell::new(notes));
    let note = |at: usize, value: u64| notes.borrow_mut()[at..at + 8].copy_from_slice(&value.to_le_bytes());
    let ring: Ring<_> = Ring::attach(ring).unwrap();
    let mut writer = Writer::claim(&ring).unwrap();
    let mut reader = Reader::join(&ring, "main", Start::Resume).unwrap();
    let mut rng = Rng::new(writer.next_offset().value());
    loop {
        let offset = writer.next_offset().value();
        match rng.below(4) {
            0 => {
                let mut batch = writer.batch();
                for at in offset..offset + rng.below(9) {
                    if batch.write(&payload(at, mapped_len(at))).is_err() {
                        break;
                    }
                }
                if rng.one_in(3) {
                    drop(batch);
                } else {
                    let _ = batch.publish();
                }
            }
            1 => {
                if let Ok(mut grant) = writer.reserve(mapped_len(offset)) {
                    common::fill(grant.bytes(), offset);
                    let _ = grant.commit(mapped_len(offset));
                }
            }
            _ => drop(writer.write(&payload(offset, mapped_len(offset)))),
        }
        note(0, writer.next_offset().value());
        let mut seen = reader.next_offset().value();
        reader
            .for_each(rng.size(12), |record| {
                assert_eq!(record.offset().value(), seen);
                assert!(is_payload(record.payload(), seen));
                seen += 1;
            })
            .unwrap();
        note(8, seen);
    }
}

fn mapped_len(offset: u64) -> usize {
    (offset % 13 * 17) as usize
}

#[test]
fn a_killed_process_loses_nothing_that_it_was_told_of() {
    let path = std::env::temp_dir().join(format!("fabric-mq-crash-{}", std::process::id()));
    let len = MAPPED.lease_bytes().unwrap();
    std::fs::write(&path, vec![0; len + NOTES]).unwrap();
    {
        let mut map = map(&path);
        let _: Ring<_> = Ring::format(SliceLease::new(&mut map[..len]), MAPPED).unwrap();
    }
    let mut rng = Rng::new(std::process::id().into());
    let (mut torn, mut checked) = (0, 0);
    let rounds = 20 * scale().min(100);
    let mut last = (0, 0);
    for round in 0..rounds {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_is_killed", "--nocapture"])
            .env(CHILD, &path)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // Killed while it writes: not before it has begun, and at any moment after that.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while notes(&path).0 <= last.0 {
            assert!(child.try_wait().unwrap().is_none(), "the child ended by itself in round {round}");
            assert!(std::time::Instant::now() < deadline, "the child does not write");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        std::thread::sleep(std::time::Duration::from_micros(rng.below(5000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let (written, read) = notes(&path);
        let mut map = map(&path);
        let ring: Ring<_> = Ring::attach(SliceLease::new(&mut map[..len])).unwrap();
        let (head, tail) = (ring.head().value(), ring.tail().value());
        assert!(
            tail >= written && tail <= written + 9,
            "round {round}: {written} were committed, the log ends at {tail}"
        );
        assert!(head <= read + 12 && head <= tail);
        torn += u64::from(tail != written);
        let info = ring.readers().find(|info| info.name.as_str() == "main").expect("the reader's place");
        assert!(!info.active);
        assert!((last.1..=read + 12).contains(&info.progress.value()));
        let mut reader = Reader::join(&ring, "check", Start::Earliest).unwrap();
        let mut expected = head;
        while let Some(record) = reader.next().unwrap() {
            assert_eq!(record.offset().value(), expected);
            assert_eq!(record.payload().len(), mapped_len(expected));
            assert!(is_payload(record.payload(), expected), "round {round}: record {expected}");
            expected += 1;
            checked += 1;
        }
        assert_eq!(expected, tail);
        drop(reader);
        last = (tail, info.progress.value());
        // What the next child counts from.
        drop(ring);
        map[len..len + 8].copy_from_slice(&tail.to_le_bytes());
        map[len + 8..len + 16].copy_from_slice(&info.progress.value().to_le_bytes());
    }
    std::fs::remove_file(&path).unwrap();
    println!(
        "killed processes: passed {rounds} kills, {checked} records checked, {} written in all, {torn} killed between commit and note",
        last.0
    );
}

fn notes(path: &std::path::Path) -> (u64, u64) {
    let map = map(path);
    let len = MAPPED.lease_bytes().unwrap();
    let number = |at: usize| u64::from_le_bytes(map[len + at..len + at + 8].try_into().unwrap());
    (number(0), number(8))
}
