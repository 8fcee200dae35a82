//! Images of format version 1 that are kept for ever, and counters at their edges.
//!
//! `tests/golden/README.md` says what each image holds. `FABRIC_MQ_GOLDEN=write cargo test --test golden` writes those
//! that are missing, and never touches one that is there.

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

use common::{Owned, Rng, image, is_payload, payload, scale};
use fabric_mq::lease::{Cooperative, Exclusive, Lease, SliceLease};
use fabric_mq::locator::{Locator, PoolKind, Registry, RegistryConfig, ResolveError};
use fabric_mq::partition::FullPolicy;
use fabric_mq::ring::{Keep, Overwrite, Reader, Retain, Ring, RingConfig, SharedWriter, Start, Writer};
use fabric_mq::topic::TopicConfig;
use fabric_mq::uri::Uri;
use fabric_mq::{Epoch, Generation, LeaseId, Offset, ReadError, Ticks, WriteError};
use std::path::PathBuf;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// The image that is kept under this name; `today` is what the operations that made it make now.
fn kept(name: &str, today: &[u8]) -> Vec<u8> {
    if std::env::var("FABRIC_MQ_GOLDEN").as_deref() == Ok("write") {
        use std::io::Write;
        match std::fs::OpenOptions::new().write(true).create_new(true).open(path(name)) {
            Ok(mut file) => file.write_all(today).unwrap(),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists, "{error}"),
        }
    }
    std::fs::read(path(name)).unwrap_or_else(|error| panic!("{name}: {error}; see tests/golden/README.md"))
}

fn same(name: &str, today: &[u8]) -> Vec<u8> {
    let kept = kept(name, today);
    assert_eq!(kept.len(), today.len(), "{name}: another size");
    if let Some(at) = (0..kept.len()).find(|at| kept[*at] != today[*at]) {
        panic!(
            "{name}: byte {at} was {:#04x} and is {:#04x} now: the format has changed, or what is stored when",
            kept[at], today[at]
        );
    }
    kept
}

const CONFIG: RingConfig = RingConfig::new(8, 256).with_readers(3).with_number(3);
const MADE_AT: Ticks = Ticks::from_millis(1_700_000_000_123);

fn lease(memory: &mut [u64]) -> SliceLease<'_, Exclusive> {
    let len = size_of_val(memory);
    let base: *mut [u64] = memory;
    #[allow(unsafe_code, reason = "words as bytes")]
    // SAFETY: the words as bytes, borrowed for as long.
    let bytes = unsafe { &mut *std::ptr::slice_from_raw_parts_mut(base.cast::<u8>(), len) };
    SliceLease::new(bytes).with_id(LeaseId::new(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff)).with_epoch(Epoch::new(5))
}

fn memory() -> Vec<u64> {
    vec![0; CONFIG.lease_bytes().unwrap() / 8]
}

fn bytes_of(memory: &[u64]) -> Vec<u8> {
    memory.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Lengths of records by offset; in units of 8 in overwriting rings, whose copies write whole words of the target.
const LENGTHS: [usize; 10] = [0, 1, 7, 8, 9, 63, 128, 31, 16, 100];

fn len_of(offset: u64) -> usize {
    LENGTHS[(offset % 10) as usize]
}

fn tag_of(offset: u64) -> u8 {
    (offset * 37) as u8
}

fn write_one(writer: &mut Writer<&Ring<SliceLease<'_>, Retain>>) -> bool {
    let offset = writer.next_offset().value();
    writer.write_tagged(tag_of(offset), &payload(offset, len_of(offset))).is_ok()
}

fn fresh() -> Vec<u8> {
    let mut memory = memory();
    let _: Ring<_> = Ring::format_at(lease(&mut memory), CONFIG, MADE_AT).unwrap();
    bytes_of(&memory)
}

fn retained() -> Vec<u8> {
    let mut memory = memory();
    {
        let ring: Ring<_> = Ring::format_at(lease(&mut memory), CONFIG, MADE_AT).unwrap();
        let mut writer = Writer::claim(&ring).unwrap();
        let mut parked = Reader::join(&ring, "parked.reader-1", Start::Earliest).unwrap();
        let mut gone = Reader::join(&ring, "gone", Start::Earliest).unwrap();
        // Several laps, of slots and of bytes.
        for _ in 0..30 {
            while !write_one(&mut writer) {
                parked.for_each(1, |_| {}).unwrap();
                gone.for_each(2, |_| {}).unwrap();
            }
        }
        drop(gone);
        let mut batch = writer.batch();
        for _ in 0..2 {
            let offset = 30 + batch.len() as u64;
            while batch.write_tagged(tag_of(offset), &payload(offset, len_of(offset))).is_err() {
                parked.for_each(1, |_| {}).unwrap();
            }
        }
        assert_eq!(batch.publish(), Ok(2));
        parked.park();
        // The reader that joins last reads one record and dies; the writer stops when there is no more room.
        let mut died = Reader::join(&ring, "died", Start::At(Offset::new(31))).unwrap();
        assert!(died.next().unwrap().is_some());
        died.release();
        while write_one(&mut writer) {}
        std::mem::forget(died);
    }
    bytes_of(&memory)
}

/// A registry's, in words that are shared by nobody.
fn registry() -> Vec<u8> {
    let shape = RegistryConfig::new().with_topics(3).with_partitions(2).with_names(32);
    let mut memory = vec![0; shape.lease_bytes().unwrap() / 8];
    {
        let registry = Registry::format(lease(&mut memory), shape).unwrap();
        registry.publish_next(&located("events", 1, FullPolicy::Reject)).unwrap();
        registry
            .publish_next(&located("events", 2, FullPolicy::Wait { timeout: Ticks::from_millis(1 << 33) }))
            .unwrap();
        registry.publish(&located("alarms", 1, FullPolicy::DropOldest).with_generation(Generation::new(7))).unwrap();
        registry.publish_next(&located("gone", 1, FullPolicy::Reject)).unwrap();
        registry.withdraw(&address("gone"), Generation::new(1)).unwrap();
        registry.publish_next(&located("late", 2, FullPolicy::DropNewest)).unwrap();
        registry.withdraw(&address("alarms"), Generation::new(7)).unwrap();
    }
    bytes_of(&memory)
}

fn address(topic: &str) -> Uri<'_> {
    Uri::new("rack", topic).unwrap()
}

fn located(topic: &str, partitions: u32, full: FullPolicy) -> Locator<2> {
    let lag = if full == FullPolicy::DropOldest { 3 } else { 0 };
    let config = TopicConfig::new()
        .with_partitions(partitions)
        .with_slots(64)
        .with_capacity(4096)
        .with_groups(5)
        .with_full(full)
        .with_max_lag(lag)
        .with_ttl(Ticks::from_millis(0x0123_4567_89ab))
        .with_timestamps(partitions == 1);
    let leases = (1..=partitions).map(|number| LeaseId::new(u128::MAX / 3 * u128::from(number)));
    Locator::new(address(topic), PoolKind::Shared, config, leases).unwrap().with_epoch(Epoch::new(9))
}

#[test]
fn a_registry_of_version_1_is_opened() {
    let image = same("v1-registry.bin", &registry());
    let registry = Registry::attach(Owned::<Cooperative>::of(&image)).unwrap();
    assert_eq!((registry.config().topics, registry.config().partitions, registry.config().names), (3, 2, 32));
    let wait = FullPolicy::Wait { timeout: Ticks::from_millis(1 << 33) };
    assert_eq!(
        registry.resolve(&address("events")),
        Ok(located("events", 2, wait).with_generation(Generation::new(2)))
    );
    let late = located("late", 2, FullPolicy::DropNewest).with_generation(Generation::new(3));
    assert_eq!(registry.resolve(&address("late")), Ok(late));
    let withdrawn = ResolveError::Withdrawn { generation: Generation::new(8) };
    assert_eq!(registry.resolve::<2>(&address("alarms")), Err(withdrawn));
    assert_eq!(registry.resolve::<2>(&address("gone")), Err(ResolveError::Unknown));
    // The one before lies in the other slot still, and comes back as the bytes that it is.
    let first = Locator::<2>::decode(&image[256 + 128 + 256 + 4..][..64 + 4 + 8 + 16 + 4]);
    assert_eq!(first, Ok(located("events", 1, FullPolicy::Reject).with_generation(Generation::new(1))));
    // What is forgotten comes back above itself.
    assert_eq!(registry.publish_next(&located("gone", 1, FullPolicy::Reject)), Ok(Generation::new(9)));
}

/// The same, and the writer died with two records of a batch written.
fn crashed() -> Vec<u8> {
    let mut memory = memory();
    {
        let ring: Ring<_> = Ring::format_at(lease(&mut memory), CONFIG, MADE_AT).unwrap();
        let mut writer = Writer::claim(&ring).unwrap();
        for _ in 0..5 {
            assert!(write_one(&mut writer));
        }
        let mut batch = writer.batch();
        batch.write(&payload(0xdead, 40)).unwrap();
        batch.write(&payload(0xdead, 8)).unwrap();
        std::mem::forget(batch);
        std::mem::forget(writer);
    }
    bytes_of(&memory)
}

fn overwritten() -> Vec<u8> {
    let mut memory = memory();
    {
        let ring: Ring<_, Overwrite> = Ring::format_at(lease(&mut memory), CONFIG.with_max_lag(2), MADE_AT).unwrap();
        let mut writer = Writer::claim(&ring).unwrap();
        let mut buffer = [0; 128];
        let mut slow = Reader::join(&ring, "slow", Start::Earliest).unwrap();
        for offset in 0..27_u64 {
            writer.write_tagged(tag_of(offset), &payload(offset, len_of(offset).next_multiple_of(8))).unwrap();
            if offset == 3 {
                assert!(slow.copy_next(&mut buffer).unwrap().is_some());
            }
        }
        slow.park();
    }
    bytes_of(&memory)
}

/// A ring whose offsets and positions have just passed 2^32, with a reader parked before that.
fn late() -> Vec<u8> {
    let mut bytes = fresh();
    image::start_at(&mut bytes, (1 << 32) - 3, 0xffff_fff0);
    let ring: Ring<_> = Ring::attach(Owned::<Exclusive>::of(&bytes).with_epoch(5)).unwrap();
    {
        let mut writer = Writer::claim(&ring).unwrap();
        let mut reader = Reader::join(&ring, "before", Start::Earliest).unwrap();
        for _ in 0..6 {
            let offset = writer.next_offset().value();
            writer.write_tagged(tag_of(offset), &payload(offset, 20)).unwrap();
        }
        assert!(reader.next().unwrap().is_some());
        reader.release();
        reader.park();
        let _past = Reader::join(&ring, "past", Start::At(Offset::new((1 << 32) + 1))).map(Reader::park);
    }
    ring.into_lease().image()
}

/// `next` remembers where the next records are; whatever else moves the reader makes it forget that. A lap of slots later it
/// would be right again, but for the payload's address, from before the positions came round to 0.
#[test]
fn reading_by_turns_in_place_and_by_copy_goes_on_behind_two_to_the_32() {
    let mut bytes = fresh();
    image::start_at(&mut bytes, (1 << 32) - 3, 0xffff_fff0);
    let ring: Ring<_> = Ring::attach(Owned::<Exclusive>::of(&bytes).with_epoch(5)).unwrap();
    let mut writer = Writer::claim(&ring).unwrap();
    let mut reader = Reader::join(&ring, "turns", Start::Earliest).unwrap();
    let mut write = || {
        let offset = writer.next_offset().value();
        writer.write(&payload(offset, 20)).unwrap();
        offset
    };
    for _ in 0..3 {
        let offset = write();
        assert_eq!(reader.next().unwrap().unwrap().payload(), payload(offset, 20));
        for _ in 0..ring.slots() {
            let (offset, mut buffer) = (write(), [0; 20]);
            assert_eq!(reader.copy_next(&mut buffer).unwrap().unwrap().offset().value(), offset);
            assert_eq!(buffer[..], payload(offset, 20));
        }
    }
}

fn open<K: Keep>(image: &[u8]) -> Ring<Owned<Exclusive>, K> {
    let ring = Ring::attach(Owned::of(image).with_epoch(6)).unwrap();
    assert_eq!((ring.slots(), ring.bytes(), ring.number(), ring.epoch()), (8, 256, 3, Epoch::new(6)));
    ring
}

fn readers<L: Lease, K: Keep>(ring: &Ring<L, K>) -> Vec<(String, u64, u64)> {
    ring.readers()
        .map(|info| {
            assert!(!info.active);
            (info.name.as_str().to_string(), info.progress.value(), info.lag)
        })
        .collect()
}

/// Reads from `start` on, and answers the offsets; each record is checked.
fn read<K: Keep, L: Lease>(ring: &Ring<L, K>, name: &str, start: Start, len: fn(u64) -> usize) -> (Vec<u64>, u64) {
    let mut reader = Reader::join(ring, name, start).unwrap();
    let (mut buffer, mut offsets) = ([0; 128], Vec::new());
    loop {
        match reader.copy_next(&mut buffer) {
            Ok(Some(record)) => {
                let offset = record.offset().value();
                assert_eq!((record.len(), record.tag()), (len(offset), tag_of(offset)), "record {offset}");
                assert!(is_payload(&buffer[..record.len()], offset), "record {offset}");
                offsets.push(offset);
            }
            Ok(None) => return (offsets, reader.lost()),
            Err(ReadError::Overrun { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_fresh_ring_has_the_bytes_that_it_always_had() {
    let image = same("v1-fresh.bin", &fresh());
    let ring = open::<Retain>(&image);
    assert_eq!((ring.head().value(), ring.tail().value(), ring.refused()), (0, 0, 0));
    assert!(readers(&ring).is_empty());
    assert_eq!(read(&ring, "x", Start::Earliest, len_of), (vec![], 0));
    // The superblock, byte by byte, as the format's drawing has it.
    assert_eq!(image[..8], [0x89, b'F', b'M', b'Q', 0x0d, 0x0a, 0x1a, 0x0a]);
    assert_eq!(image[8..16], [1, 0, 128, 0, 0, 0, 0, 0]);
    assert_eq!(image[16..24], [0, 3, 5, 3, 0, 0, 0, 0]);
    assert_eq!(image[24..32], [5, 0, 0, 0, 3, 0, 0, 0]);
    assert_eq!(image[32..48], 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff_u128.to_le_bytes());
    assert_eq!(image[48..56], 1_700_000_000_123_u64.to_le_bytes());
    assert_eq!(image[60..64], image::crc32c(&image[..60]).to_le_bytes());
    for offset in 0..8 {
        assert_eq!(image::entry(&image, offset), image::Entry::new((offset as u32).wrapping_sub(8), 0, 0, 0));
    }
}

#[test]
fn a_retaining_ring_has_the_bytes_that_it_always_had() {
    let image = same("v1-retain.bin", &retained());
    let ring = open::<Retain>(&image);
    assert_eq!((ring.head().value(), ring.tail().value()), (27, 34));
    assert_eq!(readers(&ring), [("parked.reader-1".to_string(), 27, 7), ("died".to_string(), 32, 2)]);
    assert_eq!(read(&ring, "x", Start::Earliest, len_of), ((27..34).collect(), 0));
    assert_eq!(read(&ring, "parked.reader-1", Start::Resume, len_of), ((27..34).collect(), 0));
    assert_eq!(read(&ring, "died", Start::Resume, len_of), ((32..34).collect(), 0));
    println!("golden: passed 16 records");
}

#[test]
fn a_crashed_ring_has_the_bytes_that_it_always_had() {
    let image = same("v1-crashed.bin", &crashed());
    assert_eq!(image[image::CLAIM], 1);
    let ring = open::<Retain>(&image);
    assert_eq!((ring.head().value(), ring.tail().value()), (0, 5));
    assert_eq!(read(&ring, "x", Start::Earliest, len_of), ((0..5).collect(), 0));
    let mut writer = Writer::claim(&ring).unwrap();
    assert_eq!(writer.write_tagged(tag_of(5), &payload(5, len_of(5))), Ok(Offset::new(5)));
    assert_eq!(read(&ring, "x", Start::Earliest, len_of), ((0..6).collect(), 0));
}

#[test]
fn an_overwriting_ring_has_the_bytes_that_it_always_had() {
    let image = same("v1-overwrite.bin", &overwritten());
    let units = |offset| len_of(offset).next_multiple_of(8).min(128);
    let ring = open::<Overwrite>(&image);
    let (head, tail) = (ring.head().value(), ring.tail().value());
    assert_eq!(tail, 27);
    assert!((20..25).contains(&head), "{head}");
    assert_eq!(read(&ring, "x", Start::Earliest, units), ((head..tail).collect(), 0));
    // Recovery on exclusive memory parks the slow reader at the head; where nobody repairs, it is told what it lost.
    assert_eq!(readers(&ring), [("slow".to_string(), head, tail - head)]);
    let others: Ring<_, Overwrite> = Ring::attach(Owned::<Cooperative>::of(&image).with_epoch(6)).unwrap();
    assert_eq!(read(&others, "slow", Start::Resume, units), ((head..tail).collect(), head - 1));
}

#[test]
fn a_late_ring_has_the_bytes_that_it_always_had() {
    const EDGE: u64 = 1 << 32;
    let image = same("v1-late.bin", &late());
    let ring = open::<Retain>(&image);
    assert_eq!((ring.head().value(), ring.tail().value()), (EDGE - 3, EDGE + 3));
    assert_eq!(readers(&ring), [("before".to_string(), EDGE - 2, 5), ("past".to_string(), EDGE + 1, 2)]);
    assert_eq!(read(&ring, "x", Start::Earliest, |_| 20), ((EDGE - 3..EDGE + 3).collect(), 0));
    assert_eq!(read(&ring, "before", Start::Resume, |_| 20), ((EDGE - 2..EDGE + 3).collect(), 0));
}

/// Nobody drops an image from this directory, or adds one that no test knows.
#[test]
fn all_images_are_accounted_for() {
    let mut found: Vec<_> =
        std::fs::read_dir(path("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    // Of tests/flips.rs: by what they hold, and by the write unit.
    let kinds = ["busy", "closed", "refreshed", "salvaged"];
    let journals = kinds.iter().flat_map(|kind| {
        [1, 16, 32, 4, 8].iter().map(move |unit| (format!("| `{kind}` |"), format!("v1-journal-{kind}-{unit}.bin")))
    });
    let (journals, files): (Vec<_>, Vec<_>) = journals.unzip();
    let wanted = [
        "README.md",
        "v1-crashed.bin",
        "v1-fresh.bin",
        "v1-late.bin",
        "v1-overwrite.bin",
        "v1-registry.bin",
        "v1-retain.bin",
        // Of tests/takeover.rs.
        "v1-sealed.bin",
        "v1-successor.bin",
    ];
    if std::env::var("FABRIC_MQ_GOLDEN").is_err() {
        let mut all: Vec<_> = wanted.iter().map(ToString::to_string).chain(files).collect();
        all.sort();
        assert_eq!(found, all);
    }
    let readme = std::fs::read_to_string(path("README.md")).unwrap();
    for name in wanted.into_iter().map(str::to_owned).chain(journals) {
        assert!(name == "README.md" || readme.contains(&name), "the README does not say what {name} holds");
    }
}

// ---- counters at their edges

/// Somebody who writes one record.
trait Writes<K: Keep> {
    fn put(&mut self, bytes: &[u8]) -> Result<Offset, WriteError>;
}

impl<K: Keep> Writes<K> for Writer<&Ring<Owned<Exclusive>, K>> {
    fn put(&mut self, bytes: &[u8]) -> Result<Offset, WriteError> {
        self.write(bytes)
    }
}

impl<K: Keep> Writes<K> for SharedWriter<&Ring<Owned<Exclusive>, K>> {
    fn put(&mut self, bytes: &[u8]) -> Result<Offset, WriteError> {
        self.write(bytes)
    }
}

/// A batch of one.
struct Batches<'r, K: Keep>(Writer<&'r Ring<Owned<Exclusive>, K>>);

impl<K: Keep> Writes<K> for Batches<'_, K> {
    fn put(&mut self, bytes: &[u8]) -> Result<Offset, WriteError> {
        let mut batch = self.0.batch();
        let offset = batch.write(bytes)?;
        batch.publish().map(|_| offset)
    }
}

fn near<K: Keep>(offset: u64, slots: u32) -> Ring<Owned<Exclusive>, K> {
    let config = RingConfig::new(slots, 256);
    let ring: Ring<_, K> = Ring::format(Owned::<Exclusive>::new(config.lease_bytes().unwrap()), config).unwrap();
    let mut bytes = ring.into_lease().image();
    image::start_at(&mut bytes, offset, 0xffff_ffd0);
    Ring::attach(Owned::of(&bytes)).unwrap()
}

/// Writes and reads until the writer says that the offsets are used up; answers how many records that were.
fn use_up<K: Keep>(ring: &Ring<Owned<Exclusive>, K>, writer: &mut impl Writes<K>, slack: u64) -> u64 {
    let mut reader = Reader::join(ring, "edge", Start::Resume).unwrap();
    let (mut buffer, mut rng) = ([0; 128], Rng::new(5));
    let mut next = ring.tail().value();
    let first = next;
    let last = u64::MAX - u64::from(ring.slots());
    let mut ending = false;
    loop {
        // A large record may need room to be looked for when a small one does not: the end is where nothing goes any more.
        let len = if ending { 0 } else { rng.size(129) };
        match writer.put(&payload(next, len)) {
            Ok(offset) => assert_eq!(offset.value(), next),
            Err(WriteError::Exhausted) if ending => break,
            Err(WriteError::Exhausted) => {
                ending = true;
                continue;
            }
            Err(other) => panic!("{other} at {next}"),
        }
        assert!(next < last, "offsets go on to {next}");
        let record = reader.copy_next(&mut buffer).unwrap().expect("the record just written");
        assert_eq!((record.offset().value(), record.len()), (next, len));
        assert!(is_payload(&buffer[..len], next));
        next += 1;
        assert_eq!(ring.tail().value(), next);
    }
    assert!(next >= last - slack, "given up at {next}, long before the end");
    // It stays so.
    for _ in 0..3 {
        assert_eq!(writer.put(b""), Err(WriteError::Exhausted));
    }
    assert!(reader.copy_next(&mut buffer).unwrap().is_none());
    reader.park();
    next - first
}

fn edge<K: Keep>() -> u64 {
    let mut passed = 0;
    for slots in [2_u32, 8, 64] {
        let many = u64::from(slots);
        for way in 0..3 {
            let ring = near::<K>(u64::MAX - 9 * many, slots);
            passed += match way {
                0 => use_up(&ring, &mut Writer::claim(&ring).unwrap(), 4 * many),
                1 => use_up(&ring, &mut SharedWriter::claim(&ring).unwrap(), 4 * many),
                _ => use_up(&ring, &mut Batches(Writer::claim(&ring).unwrap()), 4 * many),
            };
            // Attached again it is still a ring, whose offsets are used up.
            let tail = ring.tail();
            let ring: Ring<_, K> = Ring::attach(ring.into_lease()).unwrap();
            assert_eq!(ring.tail(), tail);
            let _ = use_up(&ring, &mut Writer::claim(&ring).unwrap(), 6 * many);
        }
    }
    passed
}

#[test]
fn offsets_end_before_they_could_start_again() {
    println!("2^64: passed {} operations", edge::<Retain>() + edge::<Overwrite>());
}

#[test]
fn halves_of_offsets_and_positions_wrap_unseen() {
    let mut passed = 0;
    for start in [(1_u64 << 32) - 40, (1 << 31) - 40, (1 << 33) - 1, (u64::from(u32::MAX) << 32) - 7] {
        for slots in [2, 4, 64] {
            let ring = near::<Retain>(start, slots);
            let mut writer = Writer::claim(&ring).unwrap();
            let mut slow = Reader::join(&ring, "slow", Start::Earliest).unwrap();
            let mut rng = Rng::new(start);
            let (mut next, mut expected) = (start, start);
            for _ in 0..300 * scale() {
                passed += 1;
                if rng.one_in(2) {
                    if writer.write(&payload(next, (next % 90) as usize)).is_ok() {
                        next += 1;
                    }
                } else if let Some(record) = slow.next().unwrap() {
                    assert_eq!(record.offset().value(), expected);
                    assert!(is_payload(record.payload(), expected) && record.payload().len() as u64 == expected % 90);
                    expected += 1;
                }
                assert_eq!(ring.tail().value(), next);
                let info = ring.readers().next().unwrap();
                assert!(info.progress.value() == expected || info.progress.value() + 1 == expected);
                assert_eq!(info.lag, next - info.progress.value());
            }
            assert!(next > start + 50);
            // A seek back over the edge, as far as the log reaches.
            let head = ring.head();
            slow.seek(head).unwrap();
            assert_eq!(slow.for_each(1000, |_| {}).unwrap() as u64, next - head.value());
            // And after a crash.
            let image = ring.lease().image();
            let again: Ring<_> = Ring::attach(Owned::<Exclusive>::of(&image)).unwrap();
            assert_eq!((again.head().value(), again.tail().value()), (head.value(), next));
            assert_eq!(readers(&again), [("slow".to_string(), next, 0)]);
        }
    }
    println!("2^31, 2^32, 2^33: passed {passed} operations");
}
