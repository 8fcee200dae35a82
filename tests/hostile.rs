//! Bytes that nobody should trust: damaged, random, forged, and changed while they are read.
//!
//! One damaged byte of the control area: every record that is read is the one that was written at that offset, or there
//! is an error. More than that: no panic, no endless loop, no byte from outside the lease.

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

use common::image::{self, Entry, Shape};
use common::{Owned, Rng, is_payload, payload, scale, with_seeds};
use fabric_mq::lease::{Cooperative, Exclusive, Lease, Lend, SliceLease, Trust, Untrusted};
use fabric_mq::ring::{Keep, Overwrite, Reader, Retain, Ring, RingConfig, SharedWriter, Start, Writer};
use fabric_mq::{AttachError, Offset, ReadError};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A ring's image, and what was written: the key of each record's payload is its offset.
struct Sample {
    what: &'static str,
    image: Vec<u8>,
    /// Records before this offset were committed.
    tail: u64,
    /// This many behind it were written as a batch and not published. All that hides them is one word, the first one's
    /// stamp: damage of just that word may show them, whole.
    pending: u64,
}

/// What the keys of a batch that was not published are changed by.
const PENDING: u64 = 0xbad;

fn len_of(offset: u64, max: usize) -> usize {
    [0, 1, 5, 8, 13, 24, 3, max, 7, 16][(offset % 10) as usize].min(max)
}

fn write_one<P: fabric_mq::ring::RingRef>(writer: &mut Writer<P>, max: usize) -> bool {
    let offset = writer.next_offset().value();
    let bytes = payload(offset, len_of(offset, max));
    writer.write_tagged(tag_of(offset), &bytes).is_ok()
}

fn tag_of(offset: u64) -> u8 {
    (offset as u8).wrapping_mul(91)
}

/// Images of rings in many states.
fn samples() -> Vec<Sample> {
    let mut samples = Vec::new();
    let shapes: &[(u32, u32)] = if scale() == 1 { &[(2, 16), (8, 256)] } else { &[(2, 16), (4, 128), (8, 256)] };
    for &(slots, bytes) in shapes {
        let config = RingConfig::new(slots, bytes).with_readers(2);
        let fresh = || Owned::<Exclusive>::new(config.lease_bytes().unwrap());
        let max = bytes as usize / 2;
        {
            let ring: Ring<_> = Ring::format(fresh(), config).unwrap();
            samples.push(Sample { what: "fresh", image: ring.lease().image(), tail: 0, pending: 0 });
        }
        {
            let ring: Ring<_> = Ring::format(fresh(), config).unwrap();
            let mut writer = Writer::claim(&ring).unwrap();
            while write_one(&mut writer, max) {}
            let tail = writer.next_offset().value();
            samples.push(Sample { what: "full", image: ring.lease().image(), tail, pending: 0 });
        }
        {
            let ring: Ring<_> = Ring::format(fresh(), config).unwrap();
            let mut writer = Writer::claim(&ring).unwrap();
            let mut parked = Reader::join(&ring, "parked", Start::Earliest).unwrap();
            let mut live = Reader::join(&ring, "live", Start::Earliest).unwrap();
            for _ in 0..50 {
                while write_one(&mut writer, max) {}
                live.for_each(2, |_| {}).unwrap();
                parked.for_each(1, |_| {}).unwrap();
            }
            let tail = writer.next_offset().value();
            samples.push(Sample { what: "readers at work", image: ring.lease().image(), tail, pending: 0 });
            parked.park();
            writer.note_tail();
            samples.push(Sample { what: "parked", image: ring.lease().image(), tail, pending: 0 });
            live.for_each(100, |_| {}).unwrap();
            let mut batch = writer.batch();
            for offset in tail..tail + 3 {
                let _ = batch.write(&payload(offset ^ PENDING, 3));
            }
            let pending = batch.len() as u64;
            samples.push(Sample { what: "batch under way", image: ring.lease().image(), tail, pending });
        }
        {
            let ring: Ring<_, Overwrite> = Ring::format(fresh(), config).unwrap();
            let mut writer = Writer::claim(&ring).unwrap();
            let slow = Reader::join(&ring, "slow", Start::Earliest).unwrap();
            for _ in 0..77 {
                assert!(write_one(&mut writer, max));
            }
            let tail = writer.next_offset().value();
            samples.push(Sample { what: "overrun", image: ring.lease().image(), tail, pending: 0 });
            drop(slow);
        }
    }
    samples
}

/// What reading an image gave.
#[derive(Default)]
struct Seen {
    refused: u64,
    records: u64,
    errors: u64,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.refused += other.refused;
        self.records += other.records;
        self.errors += other.errors;
    }
}

/// How strictly records are looked at.
#[derive(Clone, Copy, PartialEq)]
enum Rule {
    /// Each record is the one that was written at its offset, and offsets have no gap that is not told.
    Written { tail: u64, pending: u64 },
    /// Anything goes that stays inside the lease.
    Inside,
}

fn check<L: Lease, K: Keep>(
    rule: Rule,
    expected: &mut Option<u64>,
    offset: u64,
    tag: u8,
    bytes: &[u8],
    ring: &Ring<L, K>,
) {
    assert!(bytes.len() <= ring.bytes(), "a record of {} bytes", bytes.len());
    let max = ring.max_record();
    if let Some(expected) = *expected {
        assert_eq!(offset, expected, "offsets follow each other");
    }
    *expected = Some(offset.wrapping_add(1));
    if let Rule::Written { tail, pending } = rule {
        if (tail..tail + pending).contains(&offset) {
            assert!(bytes.len() == 3 && tag == 0 && is_payload(bytes, offset ^ PENDING));
            return;
        }
        assert!(offset < tail, "record {offset} was never committed");
        assert_eq!((bytes.len(), tag), (len_of(offset, max), tag_of(offset)), "record {offset}");
        assert!(is_payload(bytes, offset), "the bytes of record {offset}");
    }
}

/// Reads by copy from where `start` says until there is no more. Skips damaged records.
fn read_copies<L: Lease, K: Keep>(ring: &Ring<L, K>, name: &str, start: Start, rule: Rule, seen: &mut Seen) {
    // Full of readers, or the name is somebody's.
    let Ok(mut reader) = Reader::join(ring, name, start) else { return };
    let mut buffer = vec![0; ring.bytes()];
    let mut expected = None;
    let mut calls = 0_u64;
    loop {
        calls += 1;
        assert!(calls <= 3 * u64::from(ring.slots()) + 8, "reading does not end");
        match reader.copy_next(&mut buffer) {
            Ok(Some(record)) => {
                let bytes = &buffer[..record.len()];
                check(rule, &mut expected, record.offset().value(), record.tag(), bytes, ring);
                seen.records += 1;
            }
            Ok(None) => break,
            Err(ReadError::Overrun { .. }) => expected = None,
            Err(ReadError::Corrupt(_)) => {
                seen.errors += 1;
                let behind = Offset::new(reader.next_offset().value().wrapping_add(1));
                if reader.seek(behind).is_err() {
                    break;
                }
                expected = None;
            }
            Err(other) => panic!("{other}"),
        }
    }
    let _ = (reader.lag(), reader.lost());
}

/// Reads in place.
fn read_in_place<L: Lease>(ring: &Ring<L, Retain>, name: &str, start: Start, rule: Rule, seen: &mut Seen)
where
    L::Trust: Lend,
{
    // Full of readers, or the name is somebody's.
    let Ok(mut reader) = Reader::join(ring, name, start) else { return };
    let lease = ring.lease().base().as_ptr() as usize..=ring.lease().base().as_ptr() as usize + ring.lease().len();
    let mut expected = None;
    let mut calls = 0_u64;
    loop {
        calls += 1;
        assert!(calls <= 3 * u64::from(ring.slots()) + 8, "reading does not end");
        match reader.next() {
            Ok(Some(record)) => {
                let bytes = record.payload();
                let start = bytes.as_ptr() as usize;
                assert!(lease.contains(&start) && lease.contains(&(start + bytes.len())), "a record outside the lease");
                check(rule, &mut expected, record.offset().value(), record.tag(), bytes, ring);
                seen.records += 1;
            }
            Ok(None) => break,
            Err(_) => {
                seen.errors += 1;
                let behind = Offset::new(reader.next_offset().value().wrapping_add(1));
                if reader.seek(behind).is_err() {
                    break;
                }
                expected = None;
            }
        }
    }
    let mut calls = 0;
    while let Ok(more) = reader.for_each(3, |_| {}) {
        calls += 1;
        assert!(calls <= ring.slots(), "reading does not end");
        if more == 0 {
            break;
        }
    }
}

/// Looks at everything, and writes.
fn use_up<L: Lease, K: Keep>(ring: &Ring<L, K>, way: u64) {
    let _ = (ring.head(), ring.tail(), ring.refused(), ring.epoch());
    assert!(ring.readers().count() <= 64);
    let _ = ring.forget("parked");
    let max = ring.max_record();
    if way.is_multiple_of(2) {
        if let Ok(mut writer) = Writer::claim(ring) {
            for len in [0, 1, max, 9.min(max), max / 2] {
                let _ = writer.write(&vec![7; len]);
            }
            let mut batch = writer.batch();
            for len in [3.min(max), max, 0] {
                let _ = batch.write(&vec![8; len]);
            }
            if way.is_multiple_of(4) {
                let _ = batch.publish();
            }
        }
    } else if let Ok(writer) = SharedWriter::claim(ring) {
        for len in [0, 1, max, 9.min(max), max / 2, 2, 3] {
            let _ = writer.write(&vec![7; len.min(max)]);
        }
        let _ = writer.next_offset();
    }
}

/// Attaches to the image on every level, reads all and writes.
fn open(image: &[u8], memory: &mut Memory, rule: Rule, way: u64, seen: &mut Seen) {
    if image.get(16) == Some(&1) {
        open_on::<Overwrite>(image, memory, rule, way, seen, |_, _, _| {}, |_, _, _| {});
    } else {
        open_on::<Retain>(
            image,
            memory,
            rule,
            way,
            seen,
            |ring, rule, seen| {
                read_in_place(ring, "fresh", Start::Earliest, rule, seen);
                read_in_place(ring, "parked", Start::Resume, rule, seen);
            },
            |ring, rule, seen| {
                read_in_place(ring, "fresh", Start::Earliest, rule, seen);
                read_in_place(ring, "parked", Start::Resume, rule, seen);
            },
        );
    }
}

fn open_on<K: Keep>(
    image: &[u8],
    memory: &mut Memory,
    rule: Rule,
    way: u64,
    seen: &mut Seen,
    exclusive: impl Fn(&Ring<SliceLease<'_, Exclusive>, K>, Rule, &mut Seen),
    cooperative: impl Fn(&Ring<SliceLease<'_, Cooperative>, K>, Rule, &mut Seen),
) {
    match Ring::<_, K>::attach(SliceLease::new(memory.put(image))) {
        Err(_) => seen.refused += 1,
        Ok(ring) => {
            read_copies(&ring, "copies", Start::Earliest, rule, seen);
            exclusive(&ring, rule, seen);
            use_up(&ring, way);
            exclusive(&ring, Rule::Inside, seen);
            read_copies(&ring, "copies", Start::Earliest, Rule::Inside, seen);
        }
    }
    match Ring::<_, K>::attach(memory.lease::<Cooperative>(image)) {
        Err(_) => seen.refused += 1,
        Ok(ring) => {
            read_copies(&ring, "copies", Start::Earliest, rule, seen);
            cooperative(&ring, rule, seen);
            use_up(&ring, way / 4);
            cooperative(&ring, Rule::Inside, seen);
        }
    }
    match Ring::<_, K>::attach(memory.lease::<Untrusted>(image)) {
        Err(_) => seen.refused += 1,
        Ok(ring) => {
            read_copies(&ring, "copies", Start::Earliest, rule, seen);
            read_copies(&ring, "parked", Start::Resume, rule, seen);
            use_up(&ring, way / 16);
            read_copies(&ring, "copies", Start::Earliest, Rule::Inside, seen);
        }
    }
}

/// Memory that is used again for each image: as many bytes as the image has, with nothing behind them but a guard.
struct Memory {
    words: Vec<u64>,
}

const GUARD: u64 = 0x0123_4567_89ab_cdef;

trait Level: Trust + Sized {
    fn lease<'m>(base: NonNull<u8>, len: usize) -> SliceLease<'m, Self>;
}

#[allow(unsafe_code, reason = "the leases under test")]
impl Level for Cooperative {
    fn lease<'m>(base: NonNull<u8>, len: usize) -> SliceLease<'m, Self> {
        // SAFETY: the test's own memory, borrowed for as long; nobody else has it.
        unsafe { SliceLease::cooperative(base, len) }
    }
}

#[allow(unsafe_code, reason = "the leases under test")]
impl Level for Untrusted {
    fn lease<'m>(base: NonNull<u8>, len: usize) -> SliceLease<'m, Self> {
        // SAFETY: as above.
        unsafe { SliceLease::untrusted(base, len) }
    }
}

impl Memory {
    fn new() -> Self {
        Self { words: Vec::new() }
    }

    /// The image in memory. Panics if somebody wrote past the end of the last one.
    fn put(&mut self, image: &[u8]) -> &mut [u8] {
        assert!(self.words.last().is_none_or(|guard| *guard == GUARD), "written behind the lease");
        let count = image.len().div_ceil(8);
        self.words.clear();
        self.words.extend(image.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word).to_le()
        }));
        self.words.push(GUARD);
        let words = &mut self.words[..count];
        let bytes: *mut [u64] = words;
        #[allow(unsafe_code, reason = "words as bytes")]
        // SAFETY: `count` words are eight times as many bytes, borrowed for as long.
        unsafe {
            &mut *std::ptr::slice_from_raw_parts_mut(bytes.cast::<u8>(), image.len())
        }
    }

    fn lease<T: Level>(&mut self, image: &[u8]) -> SliceLease<'_, T> {
        let bytes = self.put(image);
        let len = bytes.len();
        T::lease(NonNull::from(bytes).cast(), len)
    }
}

/// Any bytes: the first one says how, the rest are the image.
#[cfg(fuzzing)]
pub(crate) fn fuzz(bytes: &[u8]) {
    let Some((how, image)) = bytes.split_first() else { return };
    let mut image = image.to_vec();
    if how & 0x80 == 0 && image.len() >= 64 {
        // A right magic and checksum, which no fuzzer finds, so that what lies behind them is reached.
        image::put(&mut image, 0, &image::MAGIC);
        image::put(&mut image, 8, &[1, 0, 128, 0, 0, 0, 0, 0]);
        image[16] &= 1;
        image::seal(&mut image);
    }
    open(&image, &mut Memory::new(), Rule::Inside, u64::from(*how), &mut Seen::default());
}

#[test]
fn one_damaged_byte_never_shows_a_wrong_record() {
    let mut seen = Seen::default();
    let mut images = 0;
    let mut rng = Rng::new(0x00da_3a6e);
    let mut memory = Memory::new();
    for sample in samples() {
        let control = Shape::of(&sample.image).bytes_at();
        // Undamaged first: everything is there.
        let mut whole = Seen::default();
        let rule = Rule::Written { tail: sample.tail, pending: 0 };
        open(&sample.image, &mut memory, rule, 0, &mut whole);
        assert_eq!((whole.refused, whole.errors), (0, 0), "{} is sound", sample.what);
        let rule = Rule::Written { tail: sample.tail, pending: sample.pending };
        for at in 0..control {
            // Every bit at scale; some of them, others each time, in a hurry.
            let bits = if scale() == 1 { 2 } else { 8 };
            let flips = (0..bits).map(|bit| 1 << (((bit * 4 + at) % 8 + bit / 2) % 8)).collect::<Vec<u8>>();
            let random = (0..1 + 4 * (scale() - 1).min(60)).map(|_| rng.within(1, 255) as u8).collect::<Vec<_>>();
            for flip in flips.into_iter().chain(random) {
                let mut damaged = sample.image.clone();
                damaged[at] ^= flip;
                images += 1;
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    let mut seen = Seen::default();
                    open(&damaged, &mut memory, rule, rng.next(), &mut seen);
                    seen
                }));
                match result {
                    Ok(one) => seen.add(&one),
                    Err(panic) => {
                        eprintln!(
                            "{}, slots {}: byte {at} ^ {flip:#04x}",
                            sample.what,
                            Shape::of(&sample.image).slots()
                        );
                        std::panic::resume_unwind(panic);
                    }
                }
            }
        }
    }
    println!(
        "one damaged byte: passed {images} images ({} attaches refused, {} records read, {} errors)",
        seen.refused, seen.records, seen.errors
    );
}

/// Changes some bytes of a real image, or makes one up. The superblock stays, or gets, a right checksum in most cases:
/// else nothing behind it is reached.
fn forge(rng: &mut Rng, samples: &[Sample]) -> Vec<u8> {
    let mut image = rng.pick(samples).image.clone();
    match rng.below(8) {
        // Noise behind a sound superblock.
        0 => {
            let shape = Shape::of(&image);
            for byte in &mut image[128..] {
                *byte = rng.next() as u8;
            }
            image::put(&mut image, image::EPOCH, &[0; 4]);
            if rng.one_in(2) {
                let head = rng.below(1 << 40);
                image::put_counter(&mut image, image::HEAD, head);
                image::put_counter(&mut image, image::TAIL_HINT, head + rng.below(shape.slots() + 2));
            }
        }
        // Sound slots with places anywhere.
        1 | 2 => {
            let shape = Shape::of(&image);
            let head = rng.below(1 << 33);
            let run = rng.below(shape.slots() + 1);
            image::put_counter(&mut image, image::HEAD, head);
            image::put_counter(&mut image, image::TAIL_HINT, head + rng.below(run + 1));
            for at in head..head + shape.slots() {
                let stamp = image::low(if at < head + run { at } else { at.wrapping_sub(shape.slots()) });
                let len =
                    if rng.one_in(4) { rng.next() as u32 } else { rng.below(shape.max_record() as u64 + 2) as u32 };
                let position = if rng.one_in(4) { rng.next() as u32 } else { rng.below(4 * shape.units()) as u32 };
                image::put_entry(&mut image, at, Entry::new(stamp, len, position, rng.next() as u8));
            }
        }
        // A superblock of any shape.
        3 => {
            for at in [16, 17, 18, 19, 20, 24] {
                if rng.one_in(2) {
                    image[at] = rng.next() as u8;
                }
            }
            if rng.one_in(2) {
                image[17] = rng.below(33) as u8;
                image[18] = rng.below(33) as u8;
            }
            image[16] &= 1;
            image::seal(&mut image);
        }
        // A wrong length.
        4 => {
            let len = rng.size(image.len() + 1);
            image.truncate(len);
        }
        // Noise altogether.
        5 if rng.one_in(4) => {
            for byte in &mut image {
                *byte = rng.next() as u8;
            }
        }
        // Some words of the control area are others, or each other's.
        _ => {
            let control = Shape::of(&image).bytes_at();
            for _ in 0..rng.within(1, 6) {
                let at = 128 + 4 * rng.size((control - 128) / 4);
                let word = match rng.below(4) {
                    0 => rng.next() as u32,
                    1 => image::u32_at(&image, 128 + 4 * rng.size((control - 128) / 4)),
                    2 => image::u32_at(&image, at).wrapping_add(rng.below(5) as u32).wrapping_sub(2),
                    _ => image::u32_at(&image, at) ^ (1 << rng.below(32)),
                };
                image::put(&mut image, at, &word.to_le_bytes());
            }
        }
    }
    image
}

#[test]
fn forged_images_are_read_within_bounds() {
    let samples = samples();
    let mut seen = Seen::default();
    let mut memory = Memory::new();
    let per_seed = 100;
    let seeds = 200 * scale();
    with_seeds("forged images", 0x3000_0000, seeds, |seed| {
        let mut rng = Rng::new(seed);
        for _ in 0..per_seed {
            let image = forge(&mut rng, &samples);
            open(&image, &mut memory, Rule::Inside, rng.next(), &mut seen);
        }
    });
    println!(
        "forged images: passed {} images ({} attaches refused, {} records read, {} errors)",
        seeds * per_seed,
        seen.refused,
        seen.records,
        seen.errors
    );
    assert!(common::replay().is_some() || seen.records > seeds && seen.refused > seeds && seen.errors > seeds);
}

/// Whatever the bytes say, a writer must not write where a reader of the same ring holds a record in place: attaching to
/// a slice is safe code.
#[test]
fn no_image_makes_a_writer_write_under_a_held_record() {
    let mut held = 0;
    let mut refused = 0;
    let config = RingConfig::new(8, 256).with_readers(2);
    let fresh: Ring<_> = Ring::format(Owned::<Exclusive>::new(config.lease_bytes().unwrap()), config).unwrap();
    let fresh = fresh.into_lease().image();
    with_seeds("held records", 0x4000_0000, 4000 * scale(), |seed| {
        let mut rng = Rng::new(seed);
        let mut image = fresh.clone();
        let shape = Shape::of(&image);
        let head = rng.below(40);
        let run = rng.within(1, shape.slots());
        image::put_counter(&mut image, image::HEAD, head);
        image::put_counter(&mut image, image::TAIL_HINT, head + rng.below(run + 1));
        let mut position = rng.below(shape.units()) as u32;
        let wild = rng.below(4);
        for at in head..head + shape.slots() {
            let stamp = image::low(if at < head + run { at } else { at.wrapping_sub(shape.slots()) });
            let len = rng.below(60) as u32;
            let place = if rng.below(8) < wild {
                position.wrapping_add(rng.below(64) as u32).wrapping_sub(32)
            } else {
                position
            };
            image::put_entry(&mut image, at, Entry::new(stamp, len, place, 0));
            position = place.wrapping_add(len.div_ceil(8));
        }
        let Ok(ring) = Ring::<_>::attach(Owned::<Exclusive>::of(&image)) else {
            refused += 1;
            return;
        };
        let Ok(mut writer) = Writer::claim(&ring) else {
            refused += 1;
            return;
        };
        let mut reader = Reader::join(&ring, "main", Start::Earliest).unwrap();
        for _ in 0..rng.below(3) {
            let _ = reader.next();
        }
        let Ok(Some(record)) = reader.next() else { return };
        let before = record.payload().to_vec();
        held += 1;
        for _ in 0..12 {
            if writer.write(&vec![0xee; rng.size(40)]).is_err() {
                break;
            }
        }
        assert!(std::hint::black_box(record.payload()) == before, "the record changed while it was held");
    });
    println!("held records: passed {} images ({held} records held, {refused} images refused)", held + refused);
    assert!(common::replay().is_some() || held > 1000);
}

/// A peer rewrites an untrusted lease at random while it is attached to, read and written.
#[test]
fn a_peer_that_writes_anything_any_time_is_survived() {
    let samples = samples();
    let big =
        samples.iter().filter(|sample| sample.image.len() == samples.iter().map(|s| s.image.len()).max().unwrap());
    let big = big.collect::<Vec<_>>();
    let words = big[0].image.len() / 8;
    let memory: Vec<AtomicU64> = (0..words).map(|_| AtomicU64::new(0)).collect();
    let base = NonNull::from(&memory[..]).cast::<u8>();
    let put = |image: &[u8]| {
        for (word, bytes) in memory.iter().zip(image.as_chunks::<8>().0) {
            word.store(u64::from_le_bytes(*bytes).to_le(), Ordering::Relaxed);
        }
    };
    let stop = AtomicBool::new(false);
    let (mut seen, mut rounds) = (Seen::default(), 0_u64);
    let peer_stores = std::thread::scope(|scope| {
        let peer = scope.spawn(|| {
            let mut rng = Rng::new(0xe1e1);
            let mut stores = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                let sample = *rng.pick(&big);
                let control = Shape::of(&sample.image).bytes_at() / 8;
                // Whole again for a moment, else nobody would get past attaching.
                put(&sample.image);
                for _ in 0..rng.below(3000) {
                    std::hint::spin_loop();
                }
                for _ in 0..rng.below(60) {
                    let at = if rng.one_in(8) { rng.size(words) } else { 16 + rng.size(control - 16) };
                    let word = &memory[at];
                    let now = word.load(Ordering::Relaxed);
                    let new = match rng.below(6) {
                        0 => rng.next(),
                        1 => now ^ (1 << rng.below(64)),
                        2 => now.wrapping_add(1),
                        3 => now.wrapping_add(8),
                        4 => memory[16 + rng.size(control - 16)].load(Ordering::Relaxed),
                        _ => {
                            let halves: *const AtomicU64 = word;
                            #[allow(unsafe_code, reason = "a store of half a word")]
                            // SAFETY: the first half of the word, aligned, by atomics as everybody does.
                            unsafe { &*halves.cast::<AtomicU32>() }.store(rng.next() as u32, Ordering::Relaxed);
                            stores += 1;
                            continue;
                        }
                    };
                    word.store(new, Ordering::Relaxed);
                    stores += 1;
                }
            }
            stores
        });
        let end = Instant::now() + Duration::from_secs(2).saturating_mul(scale().min(30) as u32);
        // On a busy machine the two may take turns for long: go on until the peer was met, within reason.
        let last = end + Duration::from_secs(60);
        while Instant::now() < end || (seen.errors == 0 || seen.records == 0) && Instant::now() < last {
            rounds += 1;
            hostile_round::<Retain>(base, words * 8, rounds, &mut seen);
            hostile_round::<Overwrite>(base, words * 8, rounds, &mut seen);
        }
        stop.store(true, Ordering::Relaxed);
        peer.join().unwrap()
    });
    println!(
        "hostile peer: passed {rounds} rounds against {peer_stores} stores ({} attaches refused, {} records read, {} errors)",
        seen.refused, seen.records, seen.errors
    );
    assert!(seen.records > 0 && seen.errors > 0 && peer_stores > 0);
}

fn hostile_round<K: Keep>(base: NonNull<u8>, len: usize, way: u64, seen: &mut Seen) {
    #[allow(unsafe_code, reason = "the lease under test")]
    // SAFETY: the atomics outlive the round, and everybody in this process touches them by atomics.
    let lease: SliceLease<'_, Untrusted> = unsafe { SliceLease::untrusted(base, len) };
    let ring = match Ring::<_, K>::attach(lease) {
        Ok(ring) => ring,
        Err(AttachError::TooShort { needed, .. }) => {
            assert!(needed > len);
            seen.refused += 1;
            return;
        }
        Err(_) => {
            seen.refused += 1;
            return;
        }
    };
    let mut buffer = vec![0; ring.bytes()];
    if let Ok(mut reader) = Reader::join(&ring, if way.is_multiple_of(2) { "parked" } else { "me" }, Start::Resume) {
        for _ in 0..30 {
            match reader.copy_next(&mut buffer) {
                Ok(Some(record)) => {
                    assert!(record.len() <= buffer.len());
                    seen.records += 1;
                }
                Ok(None) => {}
                Err(_) => {
                    seen.errors += 1;
                    let to = if way.is_multiple_of(3) { ring.tail() } else { ring.head() };
                    let _ = reader.seek(to);
                }
            }
        }
        let _ = reader.lag();
        reader.release();
        if way.is_multiple_of(5) {
            reader.park();
        }
    }
    use_up(&ring, way);
}
