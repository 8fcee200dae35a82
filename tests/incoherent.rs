//! Parties that share memory but no caches: whatever one of them stores and does not clean never arrives, whatever another
//! loads without invalidating is old.
//!
//! Each party has a mirror of the memory. Words that were cleaned arrive in any order until a fence, those that were stored
//! may arrive at any time (a cache may write back what it likes), and nothing else arrives. Between any two words that arrive,
//! somebody may look: each such state is attached to as if all parties had died there.
//!
//! `FABRIC_MQ_SCALE` multiplies the runs, `FABRIC_MQ_SEED` replays one.

#![cfg(all(feature = "std", not(loom)))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::multiple_unsafe_ops_per_block,
    clippy::panic,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

mod common;

use common::{Owned, Rng, is_payload, payload, scale, with_seeds};
use fabric_mq::lease::{Cooperative, Exclusive, Lease, Role, Trust};
use fabric_mq::ring::{Keep, Overwrite, Reader, Retain, Ring, RingConfig, SharedWriter, Start, Writer};
use fabric_mq::{AttachError, Epoch, LeaseError, LeaseId, Offset, ReadError, SealError, SeekError, Ticks, WriteError};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ptr::NonNull;
use std::rc::Rc;

/// Bytes of a cache line.
const LINE: usize = 64;

/// What all parties share.
struct Shared {
    bytes: RefCell<Vec<u8>>,
    rng: RefCell<Rng>,
    /// Every how many words that arrive a picture is taken; 0: never.
    often: Cell<u64>,
    pictures: RefCell<Vec<Vec<u8>>>,
    /// Parties that died.
    gone: RefCell<BTreeSet<u32>>,
}

impl Shared {
    fn new(len: usize, seed: u64) -> Rc<Self> {
        Rc::new(Self {
            bytes: RefCell::new(vec![0; len]),
            rng: RefCell::new(Rng::new(seed)),
            often: Cell::new(0),
            pictures: RefCell::default(),
            gone: RefCell::default(),
        })
    }

    fn one_in(&self, n: u64) -> bool {
        self.rng.borrow_mut().one_in(n)
    }
}

/// One party's view of the memory.
struct Shadow<T: Trust = Cooperative> {
    mirror: Owned<T>,
    /// The mirror as it stood when each word last went or came.
    synced: RefCell<Vec<u8>>,
    /// Words that were cleaned and have not arrived.
    pending: RefCell<Vec<usize>>,
    shared: Rc<Shared>,
    epoch: u32,
    role: Role,
    token: u32,
}

#[allow(unsafe_code, reason = "memory for tests")]
impl<T: Trust> Shadow<T> {
    fn new(shared: &Rc<Shared>) -> Self {
        let len = shared.bytes.borrow().len();
        Self {
            mirror: Owned::new(len),
            synced: RefCell::new(vec![0; len]),
            pending: RefCell::default(),
            shared: Rc::clone(shared),
            epoch: 0,
            role: Role::Peer,
            token: 0,
        }
    }

    fn load(&self, at: usize) -> u8 {
        // SAFETY: in the allocation; one thread.
        unsafe { self.mirror.base().add(at).read() }
    }

    fn store(&self, at: usize, byte: u8) {
        // Bytes that are lent are the same as they were.
        if self.load(at) != byte {
            // SAFETY: as above; nobody holds a reference to bytes that change.
            unsafe { self.mirror.base().add(at).write(byte) };
        }
    }

    /// Words arrive, and nobody looks between them.
    fn send(&self, words: impl IntoIterator<Item = usize>) {
        let mut bytes = self.shared.bytes.borrow_mut();
        let mut synced = self.synced.borrow_mut();
        for word in words {
            for at in word..(word + 4).min(bytes.len()) {
                let byte = self.load(at);
                bytes[at] = byte;
                synced[at] = byte;
            }
        }
        let often = self.shared.often.get();
        if often != 0 && self.shared.one_in(often) {
            self.shared.pictures.borrow_mut().push(bytes.clone());
        }
    }

    /// Some of what is on its way arrives, and caches may write back what they like.
    fn weather(&self) {
        while !self.pending.borrow().is_empty() && self.shared.one_in(3) {
            let word = {
                let mut pending = self.pending.borrow_mut();
                let index = self.shared.rng.borrow_mut().size(pending.len());
                pending.swap_remove(index)
            };
            self.send([word]);
        }
        if self.shared.one_in(8) {
            let lines = self.mirror.len() / LINE;
            let line = self.shared.rng.borrow_mut().size(lines.max(1)) * LINE;
            let words = (line..(line + LINE).min(self.mirror.len())).step_by(4);
            let dirty = |word: &usize| (*word..*word + 4).any(|at| self.load(at) != self.synced.borrow()[at]);
            let dirty: Vec<_> = words.filter(dirty).collect();
            self.send(dirty);
        }
    }

    fn settle(&self) {
        loop {
            let word = {
                let mut pending = self.pending.borrow_mut();
                if pending.is_empty() {
                    return;
                }
                let index = self.shared.rng.borrow_mut().size(pending.len());
                pending.swap_remove(index)
            };
            self.send([word]);
        }
    }
}

fn words(at: usize, len: usize) -> impl Iterator<Item = usize> {
    (at & !3..at + len).step_by(4)
}

#[allow(unsafe_code, reason = "memory for tests")]
// SAFETY: the mirror is an allocation of its own, which one thread uses.
unsafe impl<T: Trust> Lease for Shadow<T> {
    type Trust = T;
    fn base(&self) -> NonNull<u8> {
        self.mirror.base()
    }
    fn len(&self) -> usize {
        self.mirror.len()
    }
    fn epoch(&self) -> Epoch {
        Epoch::new(self.epoch)
    }
    fn role(&self) -> Role {
        self.role
    }
    fn token(&self) -> u32 {
        self.token
    }
    fn is_gone(&self, token: u32) -> bool {
        self.shared.gone.borrow().contains(&token)
    }
    fn clean(&self, at: usize, len: usize) {
        assert!(at + len <= self.len(), "cleaned outside the lease {at} {len} of {}", self.len());
        self.pending.borrow_mut().extend(words(at, len));
        self.weather();
    }
    fn discard(&self, at: usize, len: usize) {
        self.settle();
        for at in at..at + len {
            self.store(at, self.synced.borrow()[at]);
        }
    }
    fn fence(&self) {
        self.settle();
    }
    fn complete(&self) -> Result<(), LeaseError> {
        self.settle();
        Ok(())
    }
    fn invalidate(&self, at: usize, len: usize) {
        assert!(at + len <= self.len(), "invalidated outside the lease");
        self.weather();
        for word in words(at, len) {
            if self.pending.borrow().contains(&word) {
                self.pending.borrow_mut().retain(|other| *other != word);
                self.send([word]);
            }
            let bytes = self.shared.bytes.borrow();
            for at in word..(word + 4).min(bytes.len()) {
                self.store(at, bytes[at]);
                self.synced.borrow_mut()[at] = bytes[at];
            }
        }
    }
    fn compare_exchange(&self, at: usize, old: u32, new: u32) -> Option<bool> {
        self.settle();
        let mut bytes = self.shared.bytes.borrow_mut();
        let word: [u8; 4] = bytes[at..at + 4].try_into().unwrap();
        let moved = u32::from_le_bytes(word) == old;
        let now = if moved { new.to_le_bytes() } else { word };
        for (index, byte) in now.into_iter().enumerate() {
            bytes[at + index] = byte;
            self.store(at + index, byte);
            self.synced.borrow_mut()[at + index] = byte;
        }
        Some(moved)
    }
}

impl<T: Trust> std::fmt::Debug for Shadow<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shadow").finish_non_exhaustive()
    }
}

/// What a retaining ring can do beyond an overwriting one.
trait Flavor: Keep + Sized {
    fn read(
        reader: &mut Reader<&Ring<Shadow, Self>>,
        way: u64,
        each: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<usize, ReadError>;
    fn grant(writer: &mut Writer<&Ring<Shadow, Self>>, bytes: &[u8], more: usize) -> Result<Offset, WriteError>;
}

fn copy<K: Keep>(reader: &mut Reader<&Ring<Shadow, K>>, each: &mut dyn FnMut(u64, &[u8])) -> Result<usize, ReadError> {
    let mut buffer = [0; 512];
    let Some(record) = reader.copy_next(&mut buffer)? else { return Ok(0) };
    each(record.offset().value(), &buffer[..record.len()]);
    Ok(1)
}

impl Flavor for Retain {
    fn read(
        reader: &mut Reader<&Ring<Shadow, Self>>,
        way: u64,
        each: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<usize, ReadError> {
        match way {
            0 => copy(reader, each),
            1 => {
                let Some(record) = reader.next()? else { return Ok(0) };
                each(record.offset().value(), record.payload());
                Ok(1)
            }
            max => reader.for_each(max as usize, |record| each(record.offset().value(), record.payload())),
        }
    }
    fn grant(writer: &mut Writer<&Ring<Shadow, Self>>, bytes: &[u8], more: usize) -> Result<Offset, WriteError> {
        let mut grant = writer.reserve(bytes.len() + more)?;
        // What is not committed is in a cache, and must not come out of it over what others write there.
        grant.bytes().fill(0xee);
        grant.bytes()[..bytes.len()].copy_from_slice(bytes);
        grant.commit(bytes.len())
    }
}

impl Flavor for Overwrite {
    fn read(
        reader: &mut Reader<&Ring<Shadow, Self>>,
        _: u64,
        each: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<usize, ReadError> {
        copy(reader, each)
    }
    fn grant(writer: &mut Writer<&Ring<Shadow, Self>>, bytes: &[u8], _: usize) -> Result<Offset, WriteError> {
        writer.write(bytes)
    }
}

enum Producer<'r, K: Keep> {
    One(Writer<&'r Ring<Shadow, K>>),
    Many(SharedWriter<&'r Ring<Shadow, K>>),
}

/// A reader somewhere, and where it stands.
struct Place<'r, K: Keep> {
    name: &'static str,
    next: u64,
    live: Option<Reader<&'r Ring<Shadow, K>>>,
}

#[derive(Default)]
struct Count {
    written: u64,
    read: u64,
    lost: u64,
    full: u64,
    moved: u64,
    pictures: u64,
}

const PARTIES: usize = 3;
const NAMES: [&str; 2] = ["one", "two"];

fn key(offset: u64) -> u64 {
    offset ^ 0x1357_9bdf
}

fn size(offset: u64, max: usize) -> usize {
    (Rng::new(offset).next() % (max as u64 + 1)) as usize
}

/// Checks every state in which all parties could have died: the records up to `from` are there, those up to `to` may be.
fn check_pictures<K: Keep>(shared: &Shared, max: usize, from: u64, to: u64, count: &mut Count) {
    for picture in shared.pictures.take() {
        count.pictures += 1;
        let lease = Owned::<Exclusive>::of(&picture).with_epoch(99);
        let ring: Ring<_, K> = Ring::attach(lease).unwrap_or_else(|error| panic!("after {from} records: {error}"));
        let (head, tail) = (ring.head().value(), ring.tail().value());
        assert!((from..=to).contains(&tail), "the log ends at {tail}, not within {from} and {to}");
        let mut buffer = vec![0; max];
        let _ = ring.forget("one");
        let mut reader = Reader::join(&ring, "checker", Start::Earliest).unwrap();
        for offset in head..tail {
            let record = reader.copy_next(&mut buffer).unwrap().expect("a record");
            assert_eq!(record.offset().value(), offset);
            assert_eq!(record.len(), size(offset, max), "record {offset}");
            assert!(is_payload(&buffer[..record.len()], key(offset)), "bytes of record {offset}");
        }
        assert!(reader.copy_next(&mut buffer).unwrap().is_none());
    }
}

fn run<K: Flavor>(seed: u64, start: u64, count: &mut Count) {
    let mut rng = Rng::new(seed);
    let config = RingConfig::new(2 << rng.below(4), 64 << rng.below(3)).with_readers(3);
    let max = config.bytes as usize / 2;
    let shared = Shared::new(config.lease_bytes().unwrap(), seed);
    // Formatting is seen whole or not at all.
    shared.often.set(4);
    drop(Ring::<_, K>::format(Shadow::<Cooperative>::new(&shared), config).unwrap());
    for picture in shared.pictures.take() {
        count.pictures += 1;
        match Ring::<_, K>::attach(Owned::<Exclusive>::of(&picture)) {
            Ok(ring) => assert_eq!(ring.tail().value(), 0),
            Err(error) => assert_eq!(error, AttachError::NotARing),
        }
    }
    if start != 0 {
        common::image::start_at(&mut shared.bytes.borrow_mut(), start, 0xffff_fff0);
    }
    let rings: Vec<Ring<Shadow, K>> = (0..PARTIES).map(|_| Ring::attach(Shadow::new(&shared)).unwrap()).collect();
    let mut producer: Option<(usize, Producer<'_, K>)> = None;
    let mut places: BTreeMap<&str, Place<'_, K>> = BTreeMap::new();
    let (mut next, mut refused) = (start, 0);
    shared.often.set(16);
    for _ in 0..120 {
        let committed = next;
        match rng.below(20) {
            0 => producer = None,
            1 | 2 => {
                // Comes at some party, goes at another.
                let name = NAMES[rng.size(2)];
                let ring = rng.pick(&rings);
                let place = places.entry(name).or_insert(Place { name, next: u64::MAX, live: None });
                if place.live.is_some() {
                    assert!(Reader::join(ring, name, Start::Resume).is_err(), "taken");
                    let reader = place.live.take().unwrap();
                    if rng.one_in(2) {
                        reader.park();
                        count.moved += 1;
                    } else {
                        drop(reader);
                        places.remove(name);
                    }
                } else {
                    let head = ring.head().value();
                    let reader = Reader::join(ring, name, Start::Resume).unwrap();
                    let expected = if place.next == u64::MAX { head } else { place.next };
                    let expected = if K::OVERWRITE { expected } else { expected.max(head) };
                    assert_eq!(reader.next_offset().value(), expected, "{name} goes on where it parked");
                    place.next = expected;
                    place.live = Some(reader);
                }
            }
            3 => {
                let index = rng.size(PARTIES);
                for place in places.values_mut() {
                    let Some(reader) = &mut place.live else { continue };
                    let head = rings[index].head().value();
                    let to = rng.within(head.saturating_sub(1), next + 1);
                    match reader.seek(Offset::new(to)) {
                        Ok(()) => {
                            assert!(to >= head && to <= next);
                            place.next = to;
                        }
                        Err(SeekError::Reclaimed { .. }) => assert!(to < head),
                        Err(SeekError::Beyond { .. }) => assert!(to > next),
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            4..=10 => {
                for place in places.values_mut() {
                    let Some(reader) = &mut place.live else { continue };
                    let way = rng.below(5);
                    let before = place.next;
                    let mut at = place.next;
                    let answer = K::read(reader, way, &mut |offset, bytes| {
                        assert_eq!(offset, at, "{} in order", place.name);
                        assert_eq!(bytes.len(), size(offset, max), "record {offset}");
                        assert!(is_payload(bytes, key(offset)), "bytes of record {offset}");
                        at += 1;
                    });
                    match answer {
                        Ok(read) => {
                            let wanted = if way > 1 && !K::OVERWRITE { way } else { 1 };
                            assert_eq!(
                                read as u64,
                                wanted.min(next - before),
                                "all that was committed is seen at once"
                            );
                            count.read += read as u64;
                        }
                        Err(ReadError::Overrun { lost }) => {
                            at += lost;
                            assert!(lost > 0 && at <= next);
                            count.lost += lost;
                        }
                        Err(error) => panic!("{error}"),
                    }
                    place.next = at;
                }
            }
            _ => {
                let index = match &producer {
                    Some((index, _)) => *index,
                    None => rng.size(PARTIES),
                };
                if producer.is_none() {
                    let ring = &rings[index];
                    let one = rng.one_in(2);
                    let made = if one {
                        Producer::One(Writer::claim(ring).unwrap())
                    } else {
                        Producer::Many(SharedWriter::claim(ring).unwrap())
                    };
                    producer = Some((index, made));
                }
                let other = &rings[(index + 1) % PARTIES];
                assert_eq!(Writer::claim(other).map(|_| ()), Err(WriteError::Claimed));
                let bytes = payload(key(next), size(next, max));
                let answer = match &mut producer.as_mut().unwrap().1 {
                    Producer::Many(writer) => writer.write(&bytes).map(|_| 1),
                    Producer::One(writer) => match rng.below(4) {
                        0 => writer.write(&bytes).map(|_| 1),
                        1 => K::grant(writer, &bytes, rng.size(max - bytes.len() + 1)).map(|_| 1),
                        2 => {
                            let (a, b) = bytes.split_at(bytes.len() / 3);
                            writer.write_parts(0, &[a, b]).map(|_| 1)
                        }
                        _ => {
                            let (wanted, publish) = (rng.within(1, 5), rng.one_in(2));
                            let mut batch = writer.batch();
                            let mut answer = Ok(());
                            for offset in next..next + wanted {
                                answer = batch.write(&payload(key(offset), size(offset, max))).map(|_| ());
                                if answer.is_err() {
                                    break;
                                }
                            }
                            if answer.is_err() {
                                refused += 1;
                                count.full += 1;
                            }
                            if publish { Ok(batch.publish().unwrap() as u64) } else { Ok(0) }
                        }
                    },
                };
                match answer {
                    Ok(written) => {
                        next += written;
                        count.written += written;
                    }
                    Err(WriteError::Full) => {
                        assert!(!K::OVERWRITE, "an overwriting ring is never full");
                        for reader in places.values_mut().filter_map(|place| place.live.as_mut()) {
                            reader.release();
                        }
                        if !places.is_empty() && places.values().all(|place| place.next == next) {
                            let again = match &mut producer.as_mut().unwrap().1 {
                                Producer::One(writer) => writer.write(&bytes),
                                Producer::Many(writer) => writer.write(&bytes),
                            };
                            assert_eq!(again, Ok(Offset::new(next)), "what is released is seen at once");
                            next += 1;
                            count.written += 1;
                        }
                        refused += 1;
                        count.full += 1;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
        check_pictures::<K>(&shared, max, committed, committed.max(next) + 5, count);
        // Not all of them each time: one that has not looked for long must see it too.
        for ring in rings.iter().filter(|_| rng.one_in(4)) {
            assert_eq!(ring.tail().value(), next, "every party sees the end of the log");
            assert_eq!(ring.refused(), refused, "every party sees what was refused");
            let mut found: Vec<_> = ring.readers().map(|info| (info.name.as_str().to_owned(), info.active)).collect();
            found.sort();
            let expected: Vec<_> = places.values().map(|p| (p.name.to_owned(), p.live.is_some())).collect();
            assert_eq!(found, expected, "every party sees the readers");
        }
    }
    drop(producer);
    // Somebody who takes everything over exclusively finds, and leaves, all of it.
    for place in places.values_mut() {
        if let Some(reader) = place.live.take() {
            reader.park();
        }
    }
    check_pictures::<K>(&shared, max, next, next, count);
    let mut last = Shadow::<Exclusive>::new(&shared);
    last.epoch = 3;
    let ring: Ring<_, K> = Ring::attach(last).unwrap();
    assert_eq!(ring.tail().value(), next);
    let mut after = Shadow::<Cooperative>::new(&shared);
    after.epoch = 3;
    let after: Ring<_, K> = Ring::attach(after).unwrap();
    assert_eq!((after.tail().value(), after.epoch().value()), (next, 3));
    for place in places.values() {
        let reader = Reader::join(&after, place.name, Start::Resume).unwrap();
        let head = if K::OVERWRITE { place.next } else { after.head().value() };
        assert!(reader.next_offset().value() >= place.next.min(head) && reader.next_offset().value() <= next);
    }
}

fn many<K: Flavor>(what: &str, first: u64) {
    let mut count = Count::default();
    let starts = [0, (1 << 32) - 10, (1 << 31) - 9, (5 << 32) - 17];
    with_seeds(what, first, 150 * scale(), |seed| run::<K>(seed, starts[(seed % 4) as usize], &mut count));
    let Count { written, read, lost, full, moved, pictures } = count;
    println!(
        "{what}: passed {written} records written, {read} read, {lost} overrun, {full} refused, {moved} parked, {pictures} images"
    );
    if common::replay().is_none() {
        assert!(written > 1000 && read > 1000 && moved > 50 && pictures > 1000);
        assert!(if K::OVERWRITE { lost > 100 } else { full > 100 });
    }
}

#[test]
fn a_retaining_ring_needs_no_coherent_memory() {
    many::<Retain>("retain", 0x11c0_0000);
}

#[test]
fn an_overwriting_ring_needs_no_coherent_memory() {
    many::<Overwrite>("overwrite", 0x22c0_0000);
}

/// A writer dies anywhere in its writing; another takes over under a higher epoch, while readers read on.
#[test]
fn a_writer_is_succeeded() {
    with_seeds("succeeded", 0x33c0_0000, 200 * scale(), |seed| {
        let mut rng = Rng::new(seed);
        let config = RingConfig::new(8, 256).with_readers(2);
        let max = 128;
        let shared = Shared::new(config.lease_bytes().unwrap(), seed);
        drop(Ring::<_, Retain>::format(Shadow::<Cooperative>::new(&shared), config).unwrap());
        let mut observer = Shadow::<Cooperative>::new(&shared);
        observer.epoch = 100;
        let observer: Ring<_> = Ring::attach(observer).unwrap();
        let mut reader = Reader::join(&observer, "reader", Start::Earliest).unwrap();
        let (mut next, mut read) = (0, 0);
        for epoch in 1..6 {
            let mut lease = Shadow::<Cooperative>::new(&shared);
            (lease.epoch, lease.role) = (epoch, Role::Writer);
            let ring: Ring<_> = Ring::attach(lease).unwrap();
            let mut writer = Writer::claim(&ring).unwrap();
            assert_eq!(writer.next_offset().value(), next);
            assert_eq!(observer.epoch().value(), epoch);
            for _ in 0..rng.below(20) {
                match writer.write(&payload(key(next), size(next, max))) {
                    Ok(_) => next += 1,
                    Err(error) => assert_eq!(error, WriteError::Full),
                }
                if rng.one_in(2) {
                    reader
                        .for_each(4, |record| {
                            assert_eq!(record.offset().value(), read);
                            assert!(is_payload(record.payload(), key(read)));
                            read += 1;
                        })
                        .unwrap();
                }
            }
            // It dies in the middle of a batch, some of which has arrived.
            let mut batch = writer.batch();
            for offset in next..next + rng.below(4) {
                let _ = batch.write(&payload(key(offset) ^ 1, size(offset, max)));
            }
            std::mem::forget(batch);
            std::mem::forget(writer);
        }
        while reader.for_each(4, |record| {
            assert!(is_payload(record.payload(), key(read)));
            read += 1;
        }) != Ok(0)
        {}
        assert_eq!(read, next, "all that was committed, and nothing else");
    });
}

/// A reader's process dies; a party with other caches parks its place, and goes on from there.
#[test]
fn a_dead_readers_place_is_found_and_taken() {
    with_seeds("dead reader", 0x44c0_0000, 100 * scale(), |seed| {
        let config = RingConfig::new(8, 256).with_readers(2);
        let shared = Shared::new(config.lease_bytes().unwrap(), seed);
        let party = |token| {
            let mut lease = Shadow::<Cooperative>::new(&shared);
            lease.token = token;
            lease
        };
        let a: Ring<_> = Ring::format(party(7), config).unwrap();
        let b: Ring<_> = Ring::attach(party(8)).unwrap();
        let mut writer = Writer::claim(&b).unwrap();
        let mut reader = Reader::join(&a, "reader", Start::Earliest).unwrap();
        for n in 0..6 {
            writer.write(&payload(n, 9)).unwrap();
        }
        let dead_at = Rng::new(seed).below(6);
        assert_eq!(reader.for_each(dead_at as usize, |_| {}).unwrap() as u64, dead_at);
        assert_eq!(b.park_dead(), 0, "it lives");
        assert!(Reader::join(&b, "reader", Start::Resume).is_err());
        shared.gone.borrow_mut().insert(7);
        std::mem::forget(reader);
        if seed % 2 == 0 {
            assert_eq!(b.park_dead(), 1);
        }
        let mut reader = Reader::join(&b, "reader", Start::Resume).unwrap();
        assert_eq!(reader.next_offset().value(), dead_at);
        assert_eq!(reader.for_each(9, |_| {}).unwrap() as u64, 6 - dead_at);
        assert!(Reader::join(&a, "reader", Start::Resume).is_err(), "everybody sees that it is taken");
        drop(reader);
        assert_eq!(a.readers().count(), 0);
    });
}

/// A party of a log that can be ended: its compare-and-swap reaches the memory itself, and nothing else does.
struct Ending {
    shadow: Shadow,
    id: u128,
}

fn ending(shared: &Rc<Shared>, id: u128, epoch: u32) -> Ending {
    let mut shadow = Shadow::new(shared);
    shadow.epoch = epoch;
    Ending { shadow, id }
}

#[allow(unsafe_code, reason = "memory for tests")]
// SAFETY: passes on what `Shadow` promises.
unsafe impl Lease for Ending {
    type Trust = Cooperative;
    const SEALABLE: bool = true;
    fn base(&self) -> NonNull<u8> {
        self.shadow.base()
    }
    fn len(&self) -> usize {
        self.shadow.len()
    }
    fn id(&self) -> LeaseId {
        LeaseId::new(self.id)
    }
    fn epoch(&self) -> Epoch {
        self.shadow.epoch()
    }
    fn clean(&self, at: usize, len: usize) {
        self.shadow.clean(at, len);
    }
    fn discard(&self, at: usize, len: usize) {
        self.shadow.discard(at, len);
    }
    fn fence(&self) {
        self.shadow.fence();
    }
    fn complete(&self) -> Result<(), LeaseError> {
        self.shadow.complete()
    }
    fn invalidate(&self, at: usize, len: usize) {
        self.shadow.invalidate(at, len);
    }
    fn compare_exchange(&self, at: usize, old: u32, new: u32) -> Option<bool> {
        self.shadow.compare_exchange(at, old, new)
    }
}

/// Writes one way or another; answers how many more were told of.
fn write_or_end(writer: &mut Writer<&Ring<Ending>>, rng: &mut Rng, next: u64, max: usize) -> u64 {
    let bytes = |offset| payload(key(offset), size(offset, max));
    let outcome = match rng.below(3) {
        0 => writer.write(&bytes(next)).map(|_| 1),
        1 => {
            let bytes = bytes(next);
            let grant = writer.reserve(max);
            grant.and_then(|mut grant| {
                grant.bytes()[..bytes.len()].copy_from_slice(&bytes);
                grant.commit(bytes.len()).map(|_| 1)
            })
        }
        _ => {
            let mut batch = writer.batch();
            // Up to the first that there is no room for.
            let _ = (next..next + 2).try_for_each(|offset| batch.write(&bytes(offset)).map(drop));
            batch.publish().map(|count| count as u64)
        }
    };
    outcome.unwrap_or_else(|error| {
        assert!([WriteError::Full, WriteError::Sealed].contains(&error), "{error}");
        0
    })
}

/// Reads what there is; answers where that ends, and whether the log does.
fn read_or_end(reader: &mut Reader<&Ring<Ending>>, max: usize) -> (u64, bool) {
    let mut buffer = vec![0; max];
    loop {
        let offset = reader.next_offset().value();
        match reader.copy_next(&mut buffer) {
            Ok(Some(record)) => assert!(is_payload(&buffer[..record.len()], key(offset)), "record {offset}"),
            Ok(None) => return (offset, false),
            Err(ReadError::Sealed) => return (offset, true),
            Err(error) => panic!("{error}"),
        }
    }
}

/// A log is ended by a party with other caches than its writer's and its readers', and goes on in other memory. Each state of
/// the memory is one in which all may have died: whoever comes next completes it.
#[test]
fn an_ended_log_needs_no_coherent_memory() {
    let mut found = [0; 2];
    with_seeds("ended", 0x5ea1_0000, 200 * scale(), |seed| {
        let mut rng = Rng::new(seed);
        let config = RingConfig::new(4 << rng.below(3), 128).with_readers(2).with_takeover();
        let (max, bytes) = (config.bytes as usize / 4, config.lease_bytes().unwrap());
        let (old, new) = (Shared::new(bytes, seed), Shared::new(bytes, seed ^ 1));
        drop(Ring::<_>::format(ending(&old, 1, 1), config).unwrap());
        let [here, there, sealer]: [Ring<_>; 3] = [1, 2, 2].map(|epoch| Ring::attach(ending(&old, 1, epoch)).unwrap());
        let mut writer = Writer::claim(&here).unwrap();
        let mut reader = Reader::join(&there, "reader", Start::Earliest).unwrap();
        let mut told = 0;
        for _ in 0..rng.below(30) {
            told += write_or_end(&mut writer, &mut rng, told, max);
            if rng.one_in(2) {
                assert_eq!(read_or_end(&mut reader, max), (told, false));
            }
        }
        old.often.set(2);
        let next = sealer.take_over(ending(&new, 77, 2), config, Ticks::ZERO).unwrap();
        for _ in 0..4 {
            assert_eq!(write_or_end(&mut writer, &mut rng, told, max), 0, "behind the end");
        }
        // Its place is there for the reader, before it comes.
        let elsewhere: Ring<_> = Ring::attach(ending(&new, 77, 2)).unwrap();
        let places: Vec<_> = elsewhere.readers().map(|reader| (reader.progress.value(), reader.active)).collect();
        assert_eq!(places, [(told, false)]);
        drop(writer);
        old.often.set(0);
        for picture in old.pictures.take() {
            let died = Shared::new(bytes, seed ^ 2);
            died.bytes.borrow_mut().copy_from_slice(&picture);
            let ring: Ring<_> = Ring::attach(ending(&died, 1, 3)).unwrap();
            let sealed = ring.seal().unwrap().is_some();
            found[usize::from(sealed)] += 1;
            // Nothing that was told of is missing, and nothing else is there.
            let mut reader = Reader::join(&ring, "checker", Start::Earliest).unwrap();
            assert_eq!(read_or_end(&mut reader, max), (told, sealed));
            let after = Shared::new(bytes, seed ^ 3);
            match ring.take_over(ending(&after, 99, 3), config, Ticks::ZERO) {
                Ok(next) => assert!(!sealed && next.tail().value() == told),
                Err(SealError::Sealed { successor }) => assert!(sealed && successor.value() == 77),
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(read_or_end(&mut reader, max), (told, true));
        let seal = there.seal().unwrap().unwrap();
        assert_eq!((seal.tail.value(), seal.successor, seal.epoch), (told, LeaseId::new(77), Epoch::new(2)));
        let mut reader = reader.cross(&elsewhere).unwrap();
        let mut writer = Writer::claim(&next).unwrap();
        let more = write_or_end(&mut writer, &mut rng, told, max);
        assert!(more > 0);
        assert_eq!(read_or_end(&mut reader, max), (told + more, false));
    });
    println!("{} states before the seal, {} behind it", found[0], found[1]);
    assert!(found.iter().all(|states| *states > 100), "{found:?}");
}
