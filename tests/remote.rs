//! Memory that is reached by verbs: the same bytes as if it were mapped, in both directions, and nothing acknowledged that is
//! not there, whatever the verbs do that they may.
//!
//! `FABRIC_MQ_SCALE` multiplies the runs, `FABRIC_MQ_SEED` replays one.

#![cfg(all(feature = "std", not(loom)))]
#![allow(
    clippy::arc_with_non_send_sync,
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

#[path = "common/model.rs"]
mod bed;
mod common;

use bed::{Bed, model};
use common::{Owned, Rng, crew, is_payload, payload, scale, with_seeds};
use fabric_mq::clock::ManualClock;
use fabric_mq::consumer::{Consumer, SeekPolicy};
use fabric_mq::group::{Group, GroupConfig};
use fabric_mq::lease::remote::{
    Atomicity, Faults, LoopbackGrants, LoopbackMap, LoopbackMemory, LoopbackVerbs, Peers, RemoteLease, RemotePool,
    Tally, VerbError, Verbs,
};
use fabric_mq::lease::{Cooperative, Exclusive, Lease, Pool, Role, Untrusted};
use fabric_mq::locator::{Registry, RegistryConfig};
use fabric_mq::offset::MemOffsetStore;
use fabric_mq::producer::Producer;
use fabric_mq::ring::{Keep, Overwrite, Reader, Retain, Ring, RingConfig, SharedWriter, Start, Writer};
use fabric_mq::topic::{TopicConfig, TopicManager};
use fabric_mq::{Epoch, LeaseError, Offset, ReadError, Ticks, WriteError};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

type Remote<T = Cooperative> = RemoteLease<LoopbackVerbs, T>;

#[allow(unsafe_code, reason = "everybody here follows the protocol")]
fn trusting<V: Verbs>(verbs: V) -> RemoteLease<V, Cooperative> {
    // SAFETY: nobody in these tests writes to the memory but rings.
    unsafe { RemoteLease::cooperative(verbs, Peers::Mapped) }.unwrap()
}

fn remote(memory: &LoopbackMemory, faults: Faults) -> Remote {
    trusting(memory.connect_with(faults))
}

#[allow(unsafe_code, reason = "everybody here follows the protocol")]
fn mapped(memory: &LoopbackMemory) -> LoopbackMap<Cooperative> {
    // SAFETY: as above.
    unsafe { memory.map_cooperative() }.unwrap()
}

fn memory(config: RingConfig) -> LoopbackMemory {
    LoopbackMemory::new(config.lease_bytes().unwrap()).unwrap()
}

fn size(offset: u64, max: usize) -> usize {
    (Rng::new(offset).next() % (max as u64 + 1)) as usize
}

// ---- the model

/// Memory behind verbs that tear and repeat what they can.
enum Afar {}

impl Bed for Afar {
    type Lease = Remote;
    fn new(len: usize) -> Self::Lease {
        remote(&LoopbackMemory::new(len).unwrap(), Faults::seeded(len as u64).with_repeat(3))
    }
    fn of(image: &[u8]) -> Self::Lease {
        // Whoever recovers it maps it.
        let ring = Ring::<_, Retain>::attach(Owned::<Exclusive>::of(image)).map(Ring::into_lease);
        let lease = ring.or_else(|_| Ring::<_, Overwrite>::attach(Owned::of(image)).map(Ring::into_lease)).unwrap();
        let image = lease.image();
        remote(&LoopbackMemory::of(&image).unwrap(), Faults::seeded(image.len() as u64).with_repeat(3))
    }
    fn image(lease: &Self::Lease) -> Vec<u8> {
        lease.verbs().memory().image()
    }
}

#[test]
fn a_retaining_ring_afar_does_what_the_model_says() {
    model::<Retain, Afar>("retain, afar", 0x3000_0000);
}

#[test]
fn an_overwriting_ring_afar_does_what_the_model_says() {
    model::<Overwrite, Afar>("overwrite, afar", 0x4000_0000);
}

// ---- both directions

/// Writes all sizes through one lease while the other one reads, record by record.
fn in_turn<A: Lease, B: Lease<Trust = Cooperative>>(config: RingConfig, from: A, to: impl FnOnce() -> B) {
    let near: Ring<_> = Ring::format(from, config).unwrap();
    let far: Ring<_> = Ring::attach(to()).unwrap();
    let mut writer = Writer::claim(&near).unwrap();
    assert_eq!(Writer::claim(&far).map(|_| ()), Err(WriteError::Claimed));
    let mut reader = Reader::join(&far, "far", Start::Earliest).unwrap();
    assert!(Reader::join(&near, "far", Start::Earliest).is_err(), "one name, one reader");
    for len in (0..=300).chain([511, 512, 513, 1000, 1023, 1024]) {
        writer.write_tagged(len as u8, &payload(len as u64, len)).unwrap();
        let record = reader.next().unwrap().expect("it was written");
        assert_eq!((record.tag(), record.payload()), (len as u8, &payload(len as u64, len)[..]));
        assert!(reader.next().unwrap().is_none());
    }
    let mut batch = writer.batch();
    for n in 0..20 {
        batch.write(&payload(n, 30)).unwrap();
    }
    assert!(reader.next().unwrap().is_none());
    assert_eq!(batch.publish(), Ok(20));
    let mut seen = 0;
    let read = reader.for_each(50, |record| {
        assert!(is_payload(record.payload(), seen));
        seen += 1;
    });
    assert_eq!(read, Ok(20));
    assert_eq!((near.tail(), far.tail(), near.head()), (writer.next_offset(), reader.next_offset(), far.head()));
    reader.park();
    assert_eq!(near.readers().map(|info| info.active).collect::<Vec<_>>(), [false]);
    assert_eq!(near.forget("far"), Ok(true));
    drop(writer);
    Writer::claim(&far).unwrap().write(b"back").unwrap();
    let mut reader = Reader::join(&near, "near", Start::At(Offset::new(near.tail().value() - 1))).unwrap();
    let mut buffer = [0; 8];
    assert_eq!(reader.copy_next(&mut buffer).unwrap().map(|it| it.len()), Some(4));
}

#[test]
fn what_verbs_write_is_mapped_and_what_is_mapped_is_read_by_verbs() {
    let config = RingConfig::new(32, 2048).with_readers(2);
    let shared = memory(config);
    in_turn(config, remote(&shared, Faults::seeded(1)), || mapped(&shared));
    let shared = memory(config);
    in_turn(config, mapped(&shared), || remote(&shared, Faults::seeded(2)));
    let shared = memory(config);
    in_turn(config, remote(&shared, Faults::seeded(3)), || remote(&shared, Faults::seeded(4)));
}

/// A writer and two readers at the same time, by verbs and mapped, in threads of their own.
fn at_the_same_time<K: Keep>(by_verbs: bool, records: u64) {
    let config = RingConfig::new(64, 8192).with_readers(2);
    let shared = memory(config);
    drop(Ring::<_, K>::format(mapped(&shared), config).unwrap());
    let done = AtomicBool::new(false);
    let ready = AtomicU64::new(0);
    crew(|crew| {
        let (shared, done, ready) = (&shared, &done, &ready);
        fn write<L: Lease, K: Keep>(lease: L, records: u64, ready: &AtomicU64) {
            let ring: Ring<_, K> = Ring::attach(lease).unwrap();
            while ready.load(Ordering::Acquire) < 2 {
                std::thread::yield_now();
            }
            let mut writer = Writer::claim(&ring).unwrap();
            let mut offset = 0;
            while offset < records {
                match writer.write(&payload(offset, size(offset, 600))) {
                    Ok(written) => {
                        assert_eq!(written.value(), offset);
                        offset += 1;
                    }
                    Err(error) => {
                        assert_eq!(error, WriteError::Full);
                        std::thread::yield_now();
                    }
                }
            }
        }
        fn read<L: Lease, K: Keep>(lease: L, name: &str, done: &AtomicBool, ready: &AtomicU64) -> (u64, u64) {
            let ring: Ring<_, K> = Ring::attach(lease).unwrap();
            let mut reader = Reader::join(&ring, name, Start::Earliest).unwrap();
            ready.fetch_add(1, Ordering::AcqRel);
            let mut buffer = [0; 600];
            let (mut next, mut lost) = (0, 0);
            loop {
                let over = done.load(Ordering::Acquire);
                match reader.copy_next(&mut buffer) {
                    Ok(Some(record)) => {
                        assert_eq!(record.offset().value(), next);
                        assert!(is_payload(&buffer[..record.len()], next), "bytes of record {next}");
                        next += 1;
                    }
                    Ok(None) if over => return (next, lost),
                    Ok(None) => std::thread::yield_now(),
                    Err(ReadError::Overrun { lost: more }) => {
                        lost += more;
                        next += more;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
        let near = crew.start(move || read::<_, K>(mapped(shared), "near", done, ready));
        let far = crew.start(move || read::<_, K>(remote(shared, Faults::seeded(5)), "far", done, ready));
        let writer = crew.start(move || {
            if by_verbs {
                write::<_, K>(remote(shared, Faults::seeded(6)), records, ready);
            } else {
                write::<_, K>(mapped(shared), records, ready);
            }
        });
        writer.join().unwrap();
        done.store(true, Ordering::Release);
        for reader in [near, far] {
            let (read, lost) = reader.join().unwrap();
            assert_eq!(read, records, "read or told as lost");
            assert!(K::OVERWRITE || lost == 0);
        }
    });
}

#[test]
fn threads_write_by_verbs_and_read_by_both() {
    at_the_same_time::<Retain>(true, 4000 * scale());
    at_the_same_time::<Overwrite>(true, 4000 * scale());
}

#[test]
fn threads_write_where_it_is_mapped_and_read_by_both() {
    at_the_same_time::<Retain>(false, 4000 * scale());
    at_the_same_time::<Overwrite>(false, 4000 * scale());
}

// ---- faults

#[derive(Default)]
struct Count {
    acknowledged: u64,
    indeterminate: u64,
    arrived: u64,
    refused: u64,
    read: u64,
    lost: u64,
    takeovers: u64,
    readers: u64,
}

/// What is known of the log by those who were told.
struct Log {
    /// Key of each record, or of each that it may be: the last ones of a writer that was told nothing.
    keys: Vec<u64>,
    /// Records from here on may be there or not.
    sure: usize,
}

/// Writers and readers by verbs that fail, one after the other; an observer that maps the memory, or uses verbs that do not.
fn with_faults<K: Keep>(seed: u64, count: &mut Count) {
    let mut rng = Rng::new(seed);
    let config = RingConfig::new(2 << rng.below(4), 128 << rng.below(3)).with_readers(3);
    let max = config.bytes as usize / 2;
    let shared = memory(config);
    drop(Ring::<_, K>::format(mapped(&shared), config).unwrap());
    let observer: Ring<_, K> = Ring::attach(mapped(&shared).with_epoch(Epoch::new(1000))).unwrap();
    let mut watcher = Reader::join(&observer, "watcher", Start::Earliest).unwrap();
    let mut log = Log { keys: Vec::new(), sure: 0 };
    let (mut key, mut watched) = (seed, 0);
    let mut buffer = vec![0; max];
    let faults = |rng: &mut Rng| {
        let loss = if rng.one_in(4) { 0 } else { 20 + rng.below(200) as u32 };
        let faults = Faults::seeded(rng.next()).with_delay(rng.below(4) as u32).with_loss(loss);
        let faults = faults.with_repeat(rng.below(4) as u32);
        if rng.one_in(4) { faults.with_break(rng.below(60)) } else { faults }
    };
    let mut epoch = 0;
    let (mut read, mut left): (u64, Option<u64>) = (0, None);
    let mut last_writer = 0;
    for _ in 0..6 {
        // A writer takes over: the memory's side has closed the connection of the one before.
        epoch += 1;
        shared.close(last_writer, LeaseError::Fenced);
        let verbs = shared.connect_with(faults(&mut rng));
        last_writer = verbs.token();
        let lease = trusting(verbs).with_epoch(Epoch::new(epoch)).with_role(Role::Writer);
        let Ok(ring) = Ring::<_, K>::attach(lease) else {
            count.refused += 1;
            continue;
        };
        let Ok(mut writer) = Writer::claim(&ring) else {
            // A claim whose answer was lost stays; the next one of a higher epoch comes over it.
            count.refused += 1;
            continue;
        };
        count.takeovers += 1;
        // The truth about what the last one was not told.
        let tail = writer.next_offset().value() as usize;
        assert!(tail >= log.sure, "{tail} records, but {} were acknowledged", log.sure);
        assert!(tail <= log.keys.len(), "{tail} records, but only {} were ever tried", log.keys.len());
        count.arrived += (tail - log.sure) as u64;
        log.keys.truncate(tail);
        log.sure = tail;
        let verbs = shared.connect_with(faults(&mut rng));
        let far = Ring::<_, K>::attach(trusting(verbs).with_epoch(Epoch::new(1000))).ok();
        let mut reader = far.as_ref().and_then(|far| Reader::join(far, "far", Start::Resume).ok());
        if let Some(reader) = &reader {
            count.readers += 1;
            let at = reader.next_offset().value();
            if let (false, Some(left)) = (K::OVERWRITE, left) {
                assert!(at <= left.max(observer.head().value()), "goes on at {at}, behind {left}: would miss some");
            }
            read = at;
        }
        let mut writing = true;
        for _ in 0..rng.within(1, 60) {
            if writing && rng.one_in(2) {
                let wanted = if rng.one_in(3) { rng.within(1, 4) } else { 1 };
                let keys: Vec<u64> = (0..wanted).map(|more| key.wrapping_add(more)).collect();
                key = key.wrapping_add(wanted);
                let answer = if wanted == 1 {
                    writer.write(&payload(keys[0], size(keys[0], max))).map(|_| 1)
                } else {
                    let mut batch = writer.batch();
                    let mut error = None;
                    for key in &keys {
                        if let Err(found) = batch.write(&payload(*key, size(*key, max))) {
                            error = Some(found);
                            break;
                        }
                    }
                    let some = batch.len();
                    match error {
                        Some(error) if error != WriteError::Full => Err(error),
                        _ => batch.publish().inspect(|published| assert_eq!(*published, some)),
                    }
                };
                match answer {
                    Ok(written) => {
                        log.keys.extend(&keys[..written]);
                        log.sure = log.keys.len();
                        count.acknowledged += written as u64;
                    }
                    Err(WriteError::Full) => {}
                    Err(WriteError::Lease(LeaseError::Indeterminate)) => {
                        count.indeterminate += 1;
                        log.keys.extend(&keys);
                        writing = false;
                    }
                    Err(WriteError::Lease(LeaseError::Disconnected)) => {
                        count.refused += 1;
                        writing = false;
                    }
                    Err(error) => panic!("{error}"),
                }
                if !writing {
                    let after = writer.write(b"more");
                    assert_eq!(after, Err(WriteError::Lease(LeaseError::Disconnected)), "finished");
                }
            }
            for far in [false, true] {
                if !rng.one_in(2) {
                    continue;
                }
                let answer = match &mut reader {
                    Some(reader) if far => reader.copy_next(&mut buffer),
                    _ if far => continue,
                    _ => watcher.copy_next(&mut buffer),
                };
                let at = if far { &mut read } else { &mut watched };
                match answer {
                    Ok(Some(record)) => {
                        let offset = record.offset().value();
                        assert_eq!(offset, *at, "in order, none twice");
                        let key = *log.keys.get(offset as usize).expect("nobody wrote that");
                        assert_eq!(record.len(), size(key, max), "record {offset}");
                        assert!(is_payload(&buffer[..record.len()], key), "bytes of record {offset}");
                        *at += 1;
                        count.read += 1;
                    }
                    Ok(None) => {
                        // On the way may be what was not acknowledged, and nothing else.
                        assert!(*at as usize >= log.sure, "record {at} was acknowledged, and is not seen");
                    }
                    Err(ReadError::Overrun { lost }) => {
                        assert!(K::OVERWRITE);
                        *at += lost;
                        count.lost += lost;
                    }
                    Err(ReadError::Lease(error)) => {
                        assert!(far && error == LeaseError::Disconnected, "{error}");
                        left = Some(read);
                        reader = None;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
        if let Some(reader) = reader.take() {
            left = Some(reader.next_offset().value());
            if rng.one_in(2) {
                reader.park();
            } else {
                // Its process dies; the connection goes with it.
                std::mem::forget(reader);
            }
        }
        // The writer's process dies: in half of all cases without a word, and what it has sent may come much later.
        if rng.one_in(2) {
            std::mem::forget(writer);
            std::mem::forget(ring);
        }
    }
    // All connections are closed: what is there now stays.
    shared.close(last_writer, LeaseError::Fenced);
    let tail = observer.tail().value() as usize;
    assert!((log.sure..=log.keys.len()).contains(&tail));
    loop {
        match watcher.copy_next(&mut buffer) {
            Ok(Some(record)) => {
                assert_eq!(record.offset().value(), watched);
                assert!(is_payload(&buffer[..record.len()], log.keys[watched as usize]));
                watched += 1;
            }
            Ok(None) => break,
            Err(ReadError::Overrun { lost }) if K::OVERWRITE => watched += lost,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(watched as usize, tail, "all that is there is read");
}

fn many_faults<K: Keep>(what: &str, first: u64) {
    let mut count = Count::default();
    with_seeds(what, first, 1000 * scale(), |seed| with_faults::<K>(seed, &mut count));
    let Count { acknowledged, indeterminate, arrived, refused, read, lost, takeovers, readers } = count;
    println!(
        "{what}: passed {acknowledged} records acknowledged, {indeterminate} writes of unknown end, {arrived} records of those \
         had arrived, {refused} refused, {read} read, {lost} overrun, {takeovers} writers, {readers} readers"
    );
    if common::replay().is_none() {
        assert!(acknowledged > 10_000 && read > 10_000 && takeovers > 1000 && readers > 1000);
        assert!(indeterminate > 200 && arrived > 50 && refused > 200, "the faults do happen");
        assert_eq!(lost > 0, K::OVERWRITE);
    }
}

#[test]
fn whatever_verbs_do_a_retaining_log_is_true() {
    many_faults::<Retain>("faults, retain", 0x5000_0000);
}

#[test]
fn whatever_verbs_do_an_overwriting_log_is_true() {
    many_faults::<Overwrite>("faults, overwrite", 0x6000_0000);
}

// ---- killed after every verb

/// What a writer does in the exhaustive test: some of everything, over more than two laps of a small ring.
fn history<K: Keep, L: Lease>(
    ring: &Ring<L, K>,
    acknowledged: &Cell<u64>,
    tried: &Cell<u64>,
) -> Result<(), WriteError> {
    let mut writer = Writer::claim(ring)?;
    let mut drained = Reader::join(ring, "own", Start::Resume).ok();
    let mut buffer = [0; 64];
    for turn in 0..12_u64 {
        let next = acknowledged.get();
        let wanted = 1 + turn % 3;
        tried.set(next + wanted);
        if wanted == 1 {
            writer.write(&payload(next, size(next, 40)))?;
        } else {
            let mut batch = writer.batch();
            for offset in next..next + wanted {
                batch.write(&payload(offset, size(offset, 40)))?;
            }
            batch.publish()?;
        }
        acknowledged.set(next + wanted);
        while let Some(Ok(Some(_))) = drained.as_mut().map(|it| it.copy_next(&mut buffer)) {}
    }
    Ok(())
}

/// Whether a mapped image holds all that was acknowledged, in order, and nothing else than what was tried.
fn is_prefix<K: Keep>(image: &[u8], acknowledged: u64, tried: u64) {
    let ring: Ring<_, K> = Ring::attach(Owned::<Exclusive>::of(image).with_epoch(9)).unwrap();
    let tail = ring.tail().value();
    assert!((acknowledged..=tried).contains(&tail), "the log ends at {tail}, not within {acknowledged} and {tried}");
    let mut reader = Reader::join(&ring, "checker", Start::Earliest).unwrap();
    let mut buffer = [0; 64];
    for offset in ring.head().value()..tail {
        let record = reader.copy_next(&mut buffer).unwrap().expect("a record");
        assert_eq!(record.offset().value(), offset);
        assert!(is_payload(&buffer[..record.len()], offset) && record.len() == size(offset, 40), "record {offset}");
    }
    drop(reader);
    // And it goes on.
    let _ = ring.forget("own");
    let mut writer = Writer::claim(&ring).unwrap();
    assert_eq!(writer.next_offset().value(), tail);
    let _ = writer.write(b"and on");
}

fn killed_everywhere<K: Keep>() -> u64 {
    let config = RingConfig::new(4, 128).with_readers(2);
    let (mut images, mut broken_at) = (0, 0);
    loop {
        let mut over = true;
        for seed in 1..=12 * scale() {
            let shared = memory(config);
            drop(Ring::<_, K>::format(mapped(&shared), config).unwrap());
            // Every verb is the last one; of the last ones some have arrived, in an order of the seed's.
            let lease = remote(&shared, Faults::seeded(seed).with_delay(1 + (seed % 3) as u32).with_break(broken_at));
            let (acknowledged, tried) = (Cell::new(0), Cell::new(0));
            if let Ok(ring) = Ring::<_, K>::attach(lease) {
                let answer = history(&ring, &acknowledged, &tried);
                over &= answer.is_ok() && ring.lease().failure().is_none();
                if let Err(error) = answer {
                    let expected = [LeaseError::Indeterminate, LeaseError::Disconnected].map(WriteError::Lease);
                    assert!(expected.contains(&error), "{error:?}");
                }
                std::mem::forget(ring);
            } else {
                over = false;
            }
            is_prefix::<K>(&shared.image(), acknowledged.get(), tried.get());
            images += 1;
        }
        if over {
            return images;
        }
        broken_at += 1;
        assert!(broken_at < 10_000, "it ends");
    }
}

#[test]
fn a_writer_killed_at_any_verb_leaves_a_prefix() {
    let images = [killed_everywhere::<Retain>(), killed_everywhere::<Overwrite>()];
    println!("killed at every verb: passed {} images", images[0] + images[1]);
    assert!(images.iter().all(|images| *images > 1000));
}

/// A format that is cut off leaves no ring, or an empty one.
#[test]
fn a_format_cut_off_at_any_verb_leaves_no_ring_or_an_empty_one() {
    let config = RingConfig::new(4, 128);
    let mut formatted = 0;
    for broken_at in 0..20 {
        for seed in 1..60 {
            let shared = memory(config);
            let lease = remote(&shared, Faults::seeded(seed).with_delay(1).with_break(broken_at));
            let made = Ring::<_, Retain>::format(lease, config);
            match Ring::<_, Retain>::attach(Owned::<Exclusive>::of(&shared.image())) {
                Ok(ring) => assert_eq!(ring.tail().value(), 0),
                Err(error) => {
                    assert_eq!(error, fabric_mq::AttachError::NotARing);
                    assert!(made.is_err(), "said to be formatted");
                }
            }
            formatted += u64::from(made.is_ok());
        }
    }
    assert!(formatted > 0);
}

// ---- reads of several moments

/// Verbs that read word by word, in any order, while others go on between any two of them.
struct Slow<'a> {
    verbs: LoopbackVerbs,
    rng: RefCell<Rng>,
    meanwhile: RefCell<Box<dyn FnMut() + 'a>>,
    /// Once in how many words others go on; 0: never.
    often: &'a Cell<u64>,
}

impl Verbs for Slow<'_> {
    fn len(&self) -> usize {
        self.verbs.len()
    }
    fn read(&self, at: usize, into: &mut [u8]) -> Result<(), VerbError> {
        let mut rng = self.rng.borrow_mut();
        let mut words: Vec<_> = into.chunks_mut(4).enumerate().collect();
        while !words.is_empty() {
            let (index, word) = words.swap_remove(rng.size(words.len()));
            self.verbs.read(at + 4 * index, word)?;
            if self.often.get() != 0 && rng.one_in(self.often.get()) {
                (self.meanwhile.borrow_mut())();
            }
        }
        Ok(())
    }
    fn write(&self, at: usize, from: &[u8]) -> Result<(), VerbError> {
        self.verbs.write(at, from)
    }
    fn flush(&self) -> Result<(), VerbError> {
        self.verbs.flush()
    }
    fn compare_exchange(&self, at: usize, old: u32, new: u32) -> Result<u32, VerbError> {
        self.verbs.compare_exchange(at, old, new)
    }
    fn atomicity(&self) -> Atomicity {
        self.verbs.atomicity()
    }
}

/// A writer that maps the memory writes while a read is under way: what is handed out is right, and nothing looks damaged.
fn reads_of_several_moments<K: Keep>(first: u64) {
    let (mut read, mut lost) = (0, 0);
    with_seeds("moments", first, 300 * scale(), |seed| {
        let mut rng = Rng::new(seed);
        let config = RingConfig::new(2 << rng.below(4), 64 << rng.below(2)).with_readers(2);
        // The counters pass from one high word to the next while they are read.
        let start = *rng.pick(&[0, (1 << 32) - 15, (7 << 32) - 8]);
        let shared = memory(config);
        drop(Ring::<_, K>::format(mapped(&shared), config).unwrap());
        let mut image = shared.image();
        common::image::start_at(&mut image, start, 0xffff_fff8);
        let shared = LoopbackMemory::of(&image).unwrap();
        let near: Ring<_, K> = Ring::attach(mapped(&shared)).unwrap();
        let mut writer = Writer::claim(&near).unwrap();
        let written = Cell::new(start);
        let often = Cell::new(0);
        let meanwhile = || {
            let next = written.get();
            if let Ok(offset) = writer.write(&payload(next, size(next, 24))) {
                assert_eq!(offset.value(), next);
                written.set(next + 1);
            }
        };
        let slow = Slow {
            verbs: shared.connect(),
            rng: RefCell::new(rng.clone()),
            meanwhile: RefCell::new(Box::new(meanwhile)),
            often: &often,
        };
        let far: Ring<_, K> = Ring::attach(trusting(slow)).unwrap();
        let mut reader = Reader::join(&far, "far", Start::Earliest).unwrap();
        often.set(*rng.pick(&[4, 16, 64]));
        let mut buffer = [0; 64];
        let mut next = start;
        for _ in 0..60 {
            match reader.copy_next(&mut buffer) {
                Ok(Some(record)) => {
                    assert_eq!(record.offset().value(), next);
                    assert!(is_payload(&buffer[..record.len()], next), "bytes of record {next}");
                    assert_eq!(record.len(), size(next, 24));
                    next += 1;
                    read += 1;
                }
                Ok(None) => {}
                Err(ReadError::Overrun { lost: more }) => {
                    next += more;
                    lost += more;
                    assert!(next <= written.get());
                }
                Err(error) => panic!("{error}"),
            }
            let before = written.get();
            let (head, tail) = (far.head().value(), far.tail().value());
            assert!(head <= written.get() && head + u64::from(config.slots) + 1 >= before.max(start), "head {head}");
            assert!((before..=written.get()).contains(&tail), "{tail} is not within {before} and {}", written.get());
            assert!(next <= written.get());
        }
    });
    println!("moments: passed {read} read, {lost} overrun");
    assert!(common::replay().is_some() || read > 1000 && (lost > 100) == K::OVERWRITE);
}

#[test]
fn a_read_of_several_moments_is_seen_through() {
    reads_of_several_moments::<Retain>(0x9000_0000);
    reads_of_several_moments::<Overwrite>(0xa000_0000);
}

// ---- what is refused, and what is told

#[test]
fn what_is_no_ring_is_refused() {
    let shared = LoopbackMemory::new(1 << 20).unwrap();
    let unsupported = |error: &str| assert!(error.contains("Unsupported"), "{error}");
    let area = Group::format(remote(&shared, Faults::default()), GroupConfig::new("group", "topic", 4));
    unsupported(&format!("{:?}", area.map(|_| ()).unwrap_err()));
    let registry = Registry::format(remote(&shared, Faults::default()), RegistryConfig::new());
    unsupported(&format!("{:?}", registry.map(|_| ()).unwrap_err()));
}

#[test]
fn a_lost_answer_is_said_to_be_unknown_and_the_next_holder_knows() {
    let config = RingConfig::new(8, 256);
    let (mut there, mut missing) = (0, 0);
    for seed in 1..200 {
        let shared = memory(config);
        drop(Ring::<_, Retain>::format(mapped(&shared), config).unwrap());
        let ring: Ring<_> = Ring::attach(remote(&shared, Faults::default())).unwrap();
        let mut writer = Writer::claim(&ring).unwrap();
        writer.write(b"first").unwrap();
        let before = ring.lease().verbs().tally().total();
        writer.write(b"second").unwrap();
        let each = ring.lease().verbs().tally().total() - before;
        drop(writer);
        drop(ring);
        let ring: Ring<_> = Ring::attach(remote(&shared, Faults::seeded(seed))).unwrap();
        let mut writer = Writer::claim(&ring).unwrap();
        let verbs = ring.lease().verbs().tally().total();
        writer.write(b"third").unwrap();
        let look = ring.lease().verbs().tally().total() - verbs - each;
        drop(writer);
        drop(ring);
        // The last verb of a write: the wait for its answer.
        let faults = Faults::seeded(seed).with_delay(1).with_break(verbs + look + each - 1);
        let ring: Ring<_> = Ring::attach(remote(&shared, faults)).unwrap();
        let mut writer = Writer::claim(&ring).unwrap();
        assert_eq!(writer.write(b"fourth"), Err(WriteError::Lease(LeaseError::Indeterminate)));
        assert_eq!(writer.write(b"fifth"), Err(WriteError::Lease(LeaseError::Disconnected)));
        assert_eq!(ring.lease().failure(), Some(VerbError::Disconnected));
        let token = ring.lease().verbs().token();
        shared.close(token, LeaseError::Fenced);
        let next = remote(&shared, Faults::default()).with_epoch(Epoch::new(1)).with_role(Role::Writer);
        let next: Ring<_> = Ring::attach(next).unwrap();
        let writer = Writer::claim(&next).unwrap();
        match writer.next_offset().value() {
            3 => missing += 1,
            4 => there += 1,
            other => panic!("{other} records"),
        }
    }
    assert!(there > 10 && missing > 10, "{there} there, {missing} missing");
}

#[test]
fn a_writer_that_was_fenced_writes_nothing_more() {
    let config = RingConfig::new(8, 256);
    let shared = memory(config);
    let ring: Ring<_> = Ring::format(remote(&shared, Faults::seeded(1)), config).unwrap();
    let mut writer = Writer::claim(&ring).unwrap();
    writer.write(b"mine").unwrap();
    let before = shared.image();
    shared.close(ring.lease().verbs().token(), LeaseError::Fenced);
    assert_eq!(
        writer.write(b"not any more"),
        Err(WriteError::Lease(LeaseError::Fenced)),
        "and nothing of it is visible"
    );
    assert_eq!(writer.write(b"nor this"), Err(WriteError::Lease(LeaseError::Fenced)));
    drop(writer);
    assert_eq!(shared.image(), before);
    let lease = remote(&shared, Faults::seeded(2)).with_epoch(Epoch::new(1)).with_role(Role::Writer);
    let ring: Ring<_> = Ring::attach(lease).unwrap();
    assert_eq!(Writer::claim(&ring).unwrap().write(b"successor").unwrap().value(), 1);
}

#[test]
fn who_maps_memory_needs_an_exchange_that_is_atomic_for_all() {
    let config = RingConfig::new(8, 256).with_readers(2);
    let shared = LoopbackMemory::with_atomicity(config.lease_bytes().unwrap(), Atomicity::Nic).unwrap();
    assert_eq!(shared.map().map(|_| ()), Err(LeaseError::Unsupported));
    assert_eq!(RemoteLease::connect(shared.connect(), Peers::Mapped).map(|_| ()).unwrap_err(), LeaseError::Unsupported);
    // Among verbs alone it is enough.
    let connect = || RemoteLease::connect(shared.connect(), Peers::Verbs).unwrap();
    let one: Ring<_> = Ring::format(connect(), config).unwrap();
    let two: Ring<_> = Ring::attach(connect()).unwrap();
    let writer = Writer::claim(&one).unwrap();
    assert_eq!(Writer::claim(&two).map(|_| ()), Err(WriteError::Claimed));
    drop(writer);
    assert!(Writer::claim(&two).is_ok());
}

/// Many try to take the one place at the same time, some by verbs and some mapped.
#[test]
fn one_of_many_takes_a_place() {
    let config = RingConfig::new(8, 256).with_readers(1);
    for round in 0..200 * scale() {
        let shared = memory(config);
        drop(Ring::<_, Retain>::format(mapped(&shared), config).unwrap());
        let (writers, readers) = (AtomicU64::new(0), AtomicU64::new(0));
        crew(|crew| {
            for party in 0..4 {
                let (shared, writers, readers) = (&shared, &writers, &readers);
                crew.spawn(move || {
                    fn take<L: Lease>(lease: L, name: &str, writers: &AtomicU64, readers: &AtomicU64) {
                        let ring: Ring<_> = Ring::attach(lease).unwrap();
                        if let Ok(writer) = Writer::claim(&ring) {
                            writers.fetch_add(1, Ordering::Relaxed);
                            std::mem::forget(writer);
                        }
                        if let Ok(reader) = Reader::join(&ring, name, Start::Earliest) {
                            readers.fetch_add(1, Ordering::Relaxed);
                            std::mem::forget(reader);
                        }
                        std::mem::forget(ring);
                    }
                    let name = format!("party-{party}");
                    if party % 2 == 0 {
                        take(mapped(shared), &name, writers, readers);
                    } else {
                        take(remote(shared, Faults::seeded(round + party)), &name, writers, readers);
                    }
                });
            }
        });
        assert_eq!((writers.into_inner(), readers.into_inner()), (1, 1));
    }
}

#[test]
fn a_reader_whose_connection_is_gone_makes_room_for_the_next() {
    let config = RingConfig::new(8, 256).with_readers(2);
    let shared = memory(config);
    let ring: Ring<_> = Ring::format(remote(&shared, Faults::seeded(1)), config).unwrap();
    let mut writer = Writer::claim(&ring).unwrap();
    for n in 0..5 {
        writer.write(&payload(n, 20)).unwrap();
    }
    let far: Ring<_> = Ring::attach(remote(&shared, Faults::seeded(2))).unwrap();
    let mut reader = Reader::join(&far, "reader", Start::Earliest).unwrap();
    assert_eq!(reader.for_each(3, |_| {}), Ok(3));
    assert!(Reader::join(&ring, "reader", Start::Resume).is_err(), "it lives");
    assert_eq!(ring.park_dead(), 0);
    shared.close(far.lease().verbs().token(), LeaseError::Revoked);
    assert_eq!(reader.next().map(|_| ()), Err(ReadError::Lease(LeaseError::Revoked)));
    drop(reader);
    assert_eq!(ring.park_dead(), 1);
    let mut reader = Reader::join(&ring, "reader", Start::Resume).unwrap();
    assert_eq!(reader.next_offset().value(), 3);
    assert_eq!(reader.for_each(9, |_| {}), Ok(2));
}

/// Many producers of one thread share the writer's place.
#[test]
fn a_shared_writer_works_for_one_thread() {
    let config = RingConfig::new(8, 256);
    let shared = memory(config);
    let ring: Ring<_> = Ring::format(remote(&shared, Faults::seeded(1)), config).unwrap();
    let (one, near) = (SharedWriter::claim(&ring).unwrap(), Ring::<_, Retain>::attach(mapped(&shared)).unwrap());
    let mut reader = Reader::join(&near, "near", Start::Earliest).unwrap();
    for n in 0..100 {
        assert_eq!(one.write(&payload(n, 40)).unwrap().value(), n);
        assert!(is_payload(reader.next().unwrap().unwrap().payload(), n));
    }
}

/// Whatever the memory's side answers, on a lease that does not trust it.
#[test]
fn a_hostile_memory_gives_errors_or_checked_records() {
    let config = RingConfig::new(8, 512).with_readers(2);
    let mut records = 0;
    with_seeds("hostile", 0x7000_0000, 2000 * scale(), |seed| {
        let mut rng = Rng::new(seed);
        let shared = memory(config);
        let connect = || RemoteLease::connect(shared.connect_with(Faults::seeded(seed)), Peers::Mapped).unwrap();
        let ring: Ring<_> = Ring::format(connect(), config).unwrap();
        let mut writer = Writer::claim(&ring).unwrap();
        let far: Ring<_> = Ring::attach(connect()).unwrap();
        let mut reader = Reader::join(&far, "reader", Start::Earliest).unwrap();
        let enemy = shared.connect();
        let mut buffer = [0; 256];
        for _ in 0..30 {
            match rng.below(6) {
                0 => {
                    let at = rng.size(enemy.len() / 4) * 4;
                    let value =
                        if rng.one_in(2) { rng.next() as u32 } else { *rng.pick(&[0, 1, 8, u32::MAX, 1 << 31]) };
                    enemy.write(at, &value.to_le_bytes()).unwrap();
                }
                1 | 2 => {
                    let _ = writer.write(&payload(1, rng.size(300)));
                }
                3 => {
                    let _ = reader.seek(Offset::new(rng.below(20)));
                    let _ = (far.tail(), far.head(), far.refused(), far.readers().count(), reader.lag());
                }
                4 => {
                    if let Ok(other) = Ring::<_, Retain>::attach(connect()) {
                        let _ = Writer::claim(&other).map(|mut writer| writer.write(b"x"));
                        let _ = Reader::join(&other, "other", Start::Latest).map(|mut it| it.copy_next(&mut buffer));
                    }
                }
                _ => {
                    if let Ok(Some(record)) = reader.copy_next(&mut buffer) {
                        assert!(record.len() <= 256);
                        records += 1;
                    }
                }
            }
        }
    });
    assert!(common::replay().is_some() || records > 1000);
}

// ---- what it costs

/// What a call costs that does not happen to be one of the few that look further.
fn cost(verbs: &LoopbackVerbs, times: u64, mut run: impl FnMut()) -> Tally {
    let mut costs = Vec::new();
    for _ in 0..times {
        let before = verbs.tally();
        run();
        let mut cost = verbs.tally();
        cost.reads -= before.reads;
        cost.writes -= before.writes;
        cost.exchanges -= before.exchanges;
        cost.flushes -= before.flushes;
        costs.push(cost);
    }
    costs.sort_by_key(Tally::total);
    costs[costs.len() / 2]
}

/// The verbs of the table in `lease::remote` and in features.md.
#[test]
fn verbs_are_as_few_as_is_told() {
    let config = RingConfig::new(256, 1 << 16);
    let shared = memory(config);
    drop(Ring::<_, Retain>::format(mapped(&shared), config).unwrap());
    let (w, r): (Ring<_>, Ring<_>) = (
        Ring::attach(remote(&shared, Faults::default())).unwrap(),
        Ring::attach(remote(&shared, Faults::default())).unwrap(),
    );
    let mut writer = Writer::claim(&w).unwrap();
    let mut reader = Reader::join(&r, "reader", Start::Earliest).unwrap();
    let poll = |reader: &mut Reader<&Ring<Remote>>| assert!(reader.next().unwrap().is_none());
    // In the first lap of every 2^32 records a reader tells also how many of those there have been.
    for _ in 0..300 {
        writer.write(&[0; 64]).unwrap();
        assert!(reader.next().unwrap().is_some());
    }
    poll(&mut reader);
    let write = cost(w.lease().verbs(), 31, || assert!(writer.write(&[7; 64]).is_ok()));
    let next = cost(r.lease().verbs(), 31, || assert_eq!(reader.next().unwrap().unwrap().payload().len(), 64));
    poll(&mut reader);
    poll(&mut reader);
    let empty = cost(r.lease().verbs(), 10, || poll(&mut reader));
    let batch = cost(w.lease().verbs(), 1, || {
        let mut batch = writer.batch();
        for _ in 0..32 {
            batch.write(&[9; 64]).unwrap();
        }
        assert_eq!(batch.publish(), Ok(32));
    });
    let each = cost(r.lease().verbs(), 1, || assert_eq!(reader.for_each(32, |_| {}), Ok(32)));
    let rows = [
        ("`write` of a record", write),
        ("a batch of 32, published", batch),
        ("`next`, a record", next),
        ("`for_each` of 32", each),
        ("a poll in vain", empty),
    ];
    for file in ["features.md", "src/lease/remote/mod.rs"] {
        let page = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        for (what, cost) in rows {
            assert_eq!(cost.exchanges, 0, "{what}");
            println!("{what}: {cost:?}");
            let row = format!("| {what} | {} | {} | {} |", cost.reads, cost.writes, cost.flushes);
            assert!(page.contains(&row), "{file} does not say {row}");
        }
    }
}

/// A lease that does not trust may be used by copy alone, and is.
#[test]
fn an_untrusting_lease_reads_by_copy() {
    let config = RingConfig::new(8, 256);
    let shared = memory(config);
    let near: Ring<_> = Ring::format(shared.map().unwrap(), config).unwrap();
    let lease: Remote<Untrusted> = RemoteLease::connect(shared.connect(), Peers::Mapped).unwrap();
    let far: Ring<_> = Ring::attach(lease).unwrap();
    let mut reader = Reader::join(&far, "far", Start::Earliest).unwrap();
    let mut writer = Writer::claim(&near).unwrap();
    let mut buffer = [0; 64];
    for n in 0..50 {
        writer.write(&payload(n, size(n, 60))).unwrap();
        let record = reader.copy_next(&mut buffer).unwrap().unwrap();
        assert!(is_payload(&buffer[..record.len()], n));
    }
}

// ---- pools

type Clocked = Arc<ManualClock>;

fn pool(faults: Faults) -> (Clocked, RemotePool<LoopbackGrants<Clocked>, Cooperative>) {
    let clock = Arc::new(ManualClock::new());
    let grants = LoopbackGrants::with_faults(Arc::clone(&clock), faults);
    #[allow(unsafe_code, reason = "everybody here follows the protocol")]
    // SAFETY: nobody in these tests writes to the memory but rings.
    let pool = unsafe { RemotePool::cooperative(grants) };
    (clock, pool)
}

const TTL: Ticks = Ticks::from_millis(100);

#[test]
fn leases_afar_end_as_leases_do() {
    let (clock, pool) = pool(Faults::seeded(1));
    let config = RingConfig::new(8, 256).with_readers(2);
    let lease = pool.acquire(config.lease_bytes().unwrap(), TTL).unwrap();
    let (id, first) = (lease.id(), lease.epoch());
    assert_eq!((lease.expires_at(), lease.role()), (TTL, Role::Writer));
    let ring: Ring<_> = Ring::format(lease, config).unwrap();
    let mut writer = Writer::claim(&ring).unwrap();
    writer.write(b"one").unwrap();
    assert_eq!(pool.attach(id).map(|_| ()).unwrap_err(), LeaseError::InUse);
    // Somebody reads beside the holder, and cannot write.
    let beside: Ring<_> = Ring::attach(pool.join(id).unwrap()).unwrap();
    assert_eq!(Writer::claim(&beside).map(|_| ()), Err(WriteError::Lease(LeaseError::Unsupported)));
    let mut reader = Reader::join(&beside, "beside", Start::Earliest).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().payload(), b"one");
    // Renewed, it lives on.
    clock.advance(Ticks::from_millis(60));
    assert_eq!(pool.renew(id, TTL), Ok(Ticks::from_millis(160)));
    clock.advance(Ticks::from_millis(60));
    assert_eq!(pool.sweep(), 0);
    writer.write(b"two").unwrap();
    // Detached from, it waits for the next holder, who comes under a higher epoch.
    drop(writer);
    assert_eq!(ring.into_lease().detach(), id);
    let lease = pool.attach(id).unwrap();
    assert!(lease.epoch() > first);
    let ring: Ring<_> = Ring::attach(lease).unwrap();
    let mut writer = Writer::claim(&ring).unwrap();
    assert_eq!(writer.write(b"three").unwrap().value(), 2);
    assert_eq!(reader.for_each(9, |_| {}), Ok(2), "who reads, reads on");
    // Expired, nothing more is written, and nothing of it is seen.
    clock.advance(TTL);
    assert_eq!(pool.sweep(), 1);
    assert_eq!(writer.write(b"four"), Err(WriteError::Lease(LeaseError::Expired)));
    assert_eq!(reader.next().map(|_| ()), Err(ReadError::Lease(LeaseError::Expired)));
    assert_eq!(pool.renew(id, TTL).unwrap_err(), LeaseError::Unknown, "its holder need not be asked");
    drop((writer, reader));
    drop(beside);
    drop(ring);
    assert_eq!(pool.sweep(), 0);
    assert_eq!(pool.attach(id).map(|_| ()).unwrap_err(), LeaseError::Unknown);
    // Dropped, it goes at once; revoked, too.
    let lease = pool.acquire(100, TTL).unwrap();
    let id = lease.id();
    drop(lease);
    assert_eq!(pool.attach(id).map(|_| ()).unwrap_err(), LeaseError::Unknown);
    let lease = pool.acquire(config.lease_bytes().unwrap(), TTL).unwrap();
    let id = lease.id();
    let ring: Ring<_> = Ring::format(lease, config).unwrap();
    let mut writer = Writer::claim(&ring).unwrap();
    pool.revoke(id).unwrap();
    assert_eq!(writer.write(b"never"), Err(WriteError::Lease(LeaseError::Revoked)));
    assert_eq!(pool.fence(id).unwrap_err(), LeaseError::Unknown);
}

/// Holders lose their connections in the middle of a write, one after the other; some of what they had sent is still under way
/// when the next one attaches.
#[test]
fn holders_come_and_go_and_the_log_stays_true() {
    let (mut writes, mut holders, mut unknown) = (0, 0, 0);
    with_seeds("holders", 0x8000_0000, 300 * scale(), |seed| {
        let mut rng = Rng::new(seed);
        let faults = Faults::seeded(seed).with_delay(2).with_loss(60).with_repeat(5);
        let (_, pool) = pool(faults);
        let config = RingConfig::new(4, 128).with_readers(1);
        let Ok(lease) = pool.acquire(config.lease_bytes().unwrap(), Ticks::MAX) else { return };
        let id = lease.id();
        let Ok(ring) = Ring::<_, Overwrite>::format(lease, config) else { return };
        let mut keys: Vec<u64> = Vec::new();
        let (mut key, mut sure) = (0, 0);
        std::mem::forget(ring);
        for _ in 0..8 {
            if rng.one_in(2) {
                let _ = pool.fence(id);
            } else {
                // The holder is cut off, and its side does not know.
                let memory = pool.grants().memory(id).unwrap();
                (0..100).for_each(|token| memory.close(token, LeaseError::Revoked));
            }
            let lease = pool.attach(id).unwrap();
            let Ok(ring) = Ring::<_, Overwrite>::attach(lease) else { continue };
            let Ok(mut writer) = Writer::claim(&ring) else {
                std::mem::forget(ring);
                continue;
            };
            holders += 1;
            let tail = writer.next_offset().value() as usize;
            assert!((sure..=keys.len()).contains(&tail), "{tail} records, {sure} acknowledged, {} tried", keys.len());
            keys.truncate(tail);
            let near: Ring<_, Overwrite> =
                Ring::attach(mapped(&pool.grants().memory(id).unwrap()).with_epoch(Epoch::new(1000))).unwrap();
            loop {
                key += 1;
                let answer = writer.write(&payload(key, size(key, 60)));
                if answer.is_ok() || answer == Err(WriteError::Lease(LeaseError::Indeterminate)) {
                    keys.push(key);
                }
                match answer {
                    Ok(_) => writes += 1,
                    Err(WriteError::Lease(error)) => {
                        unknown += u64::from(error == LeaseError::Indeterminate);
                        sure = keys.len() - usize::from(error == LeaseError::Indeterminate);
                        break;
                    }
                    Err(error) => panic!("{error}"),
                }
                let mut reader = Reader::join(&near, "near", Start::Earliest).unwrap();
                let mut buffer = [0; 64];
                while let Some(record) = reader.copy_next(&mut buffer).unwrap() {
                    assert!(is_payload(&buffer[..record.len()], keys[record.offset().value() as usize]));
                }
                assert_eq!(reader.next_offset().value() as usize, keys.len(), "what is acknowledged is seen at once");
            }
            std::mem::forget(writer);
            std::mem::forget(ring);
        }
    });
    println!("holders: passed {writes} records of {holders} holders, {unknown} of unknown end");
    assert!(common::replay().is_some() || writes > 1000 && holders > 500 && unknown > 100);
}

#[test]
fn topics_lie_afar_like_anywhere_else() {
    let (clock, pool) = pool(Faults::seeded(3).with_repeat(2));
    let topics = TopicManager::with_pool(pool, Arc::clone(&clock));
    topics.create("events", TopicConfig::new().with_slots(64).with_capacity(4096).with_groups(2)).unwrap();
    let mut producer = Producer::new("events");
    let mut store = MemOffsetStore::new();
    let mut consumer = Consumer::new("events", "group");
    consumer.assign(&[0, 1, 2, 3]);
    consumer.seek(&topics, &store, SeekPolicy::Earliest).unwrap();
    let mut seen = 0;
    for round in 0..50_u64 {
        for n in 0..5_u64 {
            producer.send_keyed(&topics, &[n as u8], &(round * 5 + n).to_le_bytes()).unwrap();
        }
        seen += consumer.poll(&topics, 100).unwrap().len();
        consumer.commit(&topics, &mut store).unwrap();
    }
    assert_eq!(seen, 250);
}
