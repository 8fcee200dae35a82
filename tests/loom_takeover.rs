//! A log that is ended while it is written and read, under a model checker: see `loom` for how, and for what that covers.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release --test loom_takeover
//! ```
#![cfg(loom)]
#![allow(unsafe_code, reason = "a lease over the checker's memory")]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "common/checker.rs"]
mod checker;
#[allow(dead_code, reason = "another test's too")]
#[path = "common/image.rs"]
mod image;

use checker::explore;
use fabric_mq::lease::{Cooperative, Lease};
use fabric_mq::ring::{Keep, Overwrite, Reader, Retain, Ring, RingConfig, SharedWriter, Start, Writer};
use fabric_mq::{AttachError, Epoch, LeaseId, LoomMemory, ReadError, SealError, Ticks, WriteError};
use image::Shape;
use loom::thread;
use std::ptr::NonNull;
use std::sync::Arc;

#[derive(Clone, Debug)]
struct LoomLease {
    memory: Arc<LoomMemory>,
    id: u128,
    epoch: u32,
}

// SAFETY: under the checker a lease's base is the address of a `LoomMemory`, here one that the lease holds. All who have it
// are rings of this crate.
unsafe impl Lease for LoomLease {
    type Trust = Cooperative;
    const SEALABLE: bool = true;

    fn base(&self) -> NonNull<u8> {
        NonNull::from(&*self.memory).cast()
    }
    fn len(&self) -> usize {
        self.memory.bytes()
    }
    fn id(&self) -> LeaseId {
        LeaseId::new(self.id)
    }
    fn epoch(&self) -> Epoch {
        Epoch::new(self.epoch)
    }
}

type LoomRing<K> = Arc<Ring<LoomLease, K>>;

const NEXT: RingConfig = RingConfig::new(2, 16).with_takeover();

/// Memory of four slots and four units in which a log can be ended, empty.
fn memory<K: Keep>() -> Arc<LoomMemory> {
    let shape = Shape { overwrite: K::OVERWRITE, slots_log2: 2, units_log2: 2, readers: 1 };
    let mut image = vec![0; shape.end()];
    image::put(&mut image, 0, &image::superblock(shape));
    image::put(&mut image, 12, &1_u32.to_le_bytes());
    image::seal(&mut image);
    image::put_counter(&mut image, image::REFUSED, 0);
    image::start_at(&mut image, 0, 0);
    Arc::new(LoomMemory::new(&image, shape.slots_at(), shape.bytes_at()))
}

/// Memory for a successor.
fn blank() -> Arc<LoomMemory> {
    let shape = Shape { overwrite: false, slots_log2: 1, units_log2: 1, readers: 1 };
    Arc::new(LoomMemory::new(&vec![0; shape.end()], shape.slots_at(), shape.bytes_at()))
}

fn ring<K: Keep>(memory: &Arc<LoomMemory>) -> LoomRing<K> {
    ring_under(memory, 1)
}

/// The same for somebody who goes by another epoch.
fn ring_under<K: Keep>(memory: &Arc<LoomMemory>, epoch: u32) -> LoomRing<K> {
    Arc::new(Ring::attach(LoomLease { memory: Arc::clone(memory), id: 1, epoch }).expect("an image of a ring"))
}

fn payload(key: u64) -> [u8; 8] {
    (key.wrapping_add(1).wrapping_mul(0x0101_0101_0101_0101)).to_le_bytes()
}

/// Ends the log, to go on in a lease of this number; answers whether this did it.
fn take_over<K: Keep>(ring: &LoomRing<K>, number: u128) -> bool {
    go_on(ring, number).is_some()
}

/// The same; answers the ring in which it goes on, if this did it.
fn go_on<K: Keep>(ring: &LoomRing<K>, number: u128) -> Option<LoomRing<K>> {
    let lease = LoomLease { memory: blank(), id: number, epoch: ring.lease().epoch().value() };
    match ring.take_over(lease, NEXT, Ticks::ZERO) {
        Ok(next) => {
            assert_eq!(next.head(), ring.tail());
            Some(Arc::new(next))
        }
        Err(SealError::Sealed { .. } | SealError::Busy) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Writes; answers how many were in time. None is once one was not.
fn write<K: Keep>(writer: &mut Writer<LoomRing<K>>, count: u64) -> u64 {
    let mut known = 0;
    for index in 0..count {
        match writer.write(&payload(index)) {
            Ok(offset) => {
                assert_eq!((offset.value(), known), (index, index), "none behind one that was refused");
                known += 1;
            }
            Err(error) => assert_eq!(error, WriteError::Sealed),
        }
    }
    known
}

/// Reads by copy until there is no more; answers how many, and whether that is all there will ever be.
fn copy<K: Keep>(reader: &mut Reader<LoomRing<K>>) -> (u64, bool) {
    let mut buffer = [0; 8];
    loop {
        match reader.copy_next(&mut buffer) {
            Ok(Some(record)) => assert_eq!(buffer, payload(record.offset().value())),
            Ok(None) => return (reader.next_offset().value(), false),
            Err(ReadError::Sealed) => return (reader.next_offset().value(), true),
            Err(error) => panic!("{error}"),
        }
    }
}

fn end<K: Keep>(ring: &LoomRing<K>) -> u64 {
    let seal = ring.seal().expect("a sound seal").expect("it is sealed");
    assert_eq!(seal.tail, ring.tail());
    seal.tail.value()
}

/// A writer, a sealer, and a reader who looks in between.
fn written_and_ended<K: Keep>(name: &str) {
    explore(name, 2, &["0 of 0", "0 of 1", "1 of 1", "0 of 2", "1 of 2", "2 of 2", "0 of 0, all"], || {
        let memory = memory::<K>();
        let ring = ring::<K>(&memory);
        let mut writer = Writer::claim(Arc::clone(&ring)).expect("the writer's place");
        let mut reader = Reader::join(Arc::clone(&ring), "r", Start::Earliest).expect("a place");
        let writing = thread::spawn(move || (write(&mut writer, 2), writer));
        let sealing = thread::spawn({
            let ring = Arc::clone(&ring);
            move || assert!(take_over(&ring, 7))
        });
        let (seen, all) = copy(&mut reader);
        let (known, writer) = writing.join().unwrap();
        sealing.join().unwrap();
        assert_eq!(end(&ring), known, "what was answered for is in the log, and nothing else");
        assert!(seen <= known, "nothing behind the end is ever read");
        assert!(!all || seen == known, "told that this is all");
        assert_eq!(copy(&mut reader), (known, true));
        drop(writer);
        assert_eq!(copy(&mut reader), (known, true));
        format!("{seen} of {known}{}", if all { ", all" } else { "" })
    });
}

#[test]
fn a_record_is_before_the_end_or_refused() {
    written_and_ended::<Retain>("a writer, a sealer, a reader");
}

#[test]
fn a_record_of_an_overwriting_ring_is_before_the_end_or_refused() {
    written_and_ended::<Overwrite>("a writer, a sealer, a reader; overwriting");
}

#[test]
fn a_batch_is_before_the_end_or_refused() {
    explore("a batch and a sealer", 2, &["0", "2"], || {
        let memory = memory::<Retain>();
        let ring = ring::<Retain>(&memory);
        let mut writer = Writer::claim(Arc::clone(&ring)).expect("the writer's place");
        let mut reader = Reader::join(Arc::clone(&ring), "r", Start::Earliest).expect("a place");
        let writing = thread::spawn(move || {
            let mut batch = writer.batch();
            batch.write(&payload(0)).expect("room");
            batch.write(&payload(1)).expect("room");
            let known = match batch.publish() {
                Ok(count) => count as u64,
                Err(error) => {
                    assert_eq!(error, WriteError::Sealed);
                    0
                }
            };
            // One that is taken back, perhaps behind the end.
            let mut batch = writer.batch();
            batch.write(&payload(9)).expect("room");
            drop(batch);
            known
        });
        assert!(take_over(&ring, 7));
        let (seen, all) = copy(&mut reader);
        assert!(all, "nothing comes behind the end");
        let known = writing.join().unwrap();
        assert_eq!(end(&ring), known);
        assert_eq!((seen, copy(&mut reader)), (known, (known, true)));
        known.to_string()
    });
}

#[test]
fn what_producers_are_told_of_is_before_the_end() {
    explore("two producers and a sealer", 2, &["0", "1", "2"], || {
        let memory = memory::<Retain>();
        let ring = ring::<Retain>(&memory);
        let writer = Arc::new(SharedWriter::claim(Arc::clone(&ring)).expect("the writer's place"));
        let producers = [0, 1].map(|who| {
            let writer = Arc::clone(&writer);
            thread::spawn(move || match writer.write(&payload(who)) {
                Ok(offset) => Some(offset.value()),
                Err(WriteError::Sealed | WriteError::Indeterminate { .. }) => None,
                Err(error) => panic!("{error}"),
            })
        });
        assert!(take_over(&ring, 7));
        let told = producers.map(|producer| producer.join().unwrap());
        drop(writer);
        let end = end(&ring);
        for offset in told.into_iter().flatten() {
            assert!(offset < end, "record {offset} was answered for, the log ends at {end}");
        }
        end.to_string()
    });
}

#[test]
fn of_two_sealers_one_wins() {
    explore("two sealers", 1, &["7", "8"], || {
        let memory = memory::<Retain>();
        let ring = ring::<Retain>(&memory);
        let other = thread::spawn({
            let ring = Arc::clone(&ring);
            move || take_over(&ring, 8)
        });
        let mine = take_over(&ring, 7);
        let theirs = other.join().unwrap();
        let seal = ring.seal().expect("a sound seal").expect("it is sealed");
        assert_eq!((mine, theirs), (seal.successor.value() == 7, seal.successor.value() == 8));
        assert_eq!(seal.tail.value(), 0);
        seal.successor.value().to_string()
    });
}

/// Somebody takes the writer's place while the log is ended under it, which may be at any of its steps: it finds the end, or is
/// before it. The successor's writer begins where that was, so that no offset has two records.
fn claimed_and_ended<K: Keep>(name: &str, epoch: u32, scenes: &[&str]) {
    explore(name, 4, scenes, move || {
        let memory = memory::<K>();
        let sealer = ring_under::<K>(&memory, epoch);
        let mut reader = Reader::join(Arc::clone(&sealer), "r", Start::Earliest).expect("a place");
        let claiming = thread::spawn(move || {
            let old: LoomRing<K> = match Ring::attach(LoomLease { memory, id: 1, epoch: 1 }) {
                Ok(ring) => Arc::new(ring),
                Err(AttachError::Fenced { .. }) => return "fenced".to_owned(),
                Err(error) => panic!("{error}"),
            };
            match Writer::claim(old) {
                Ok(mut writer) => {
                    let known = write(&mut writer, 2);
                    // It may go on for any time.
                    assert!(known == 2 || writer.write(&payload(9)) == Err(WriteError::Sealed));
                    format!("{known} written")
                }
                Err(WriteError::Sealed) => "sealed".to_owned(),
                Err(error) => panic!("{error}"),
            }
        });
        let next = go_on(&sealer, 7).expect("nobody else does");
        let mut writer = Writer::claim(Arc::clone(&next)).expect("its place");
        let first = writer.write(&payload(100)).expect("room").value();
        let outcome = claiming.join().unwrap();
        let known = outcome.strip_suffix(" written").map_or(0, |known| known.parse().unwrap());
        assert_eq!((end(&sealer), first), (known, known), "each offset has one record, and none is missing");
        assert_eq!(copy(&mut reader), (known, true), "what was answered for, and nothing else");
        outcome
    });
}

#[test]
fn a_writer_that_comes_while_the_log_is_ended_is_before_the_end_or_refused() {
    let scenes = ["0 written", "1 written", "2 written", "sealed"];
    claimed_and_ended::<Retain>("a claim and a sealer", 1, &scenes);
}

#[test]
fn a_writer_that_comes_while_a_higher_epoch_ends_the_log_is_before_the_end_or_refused() {
    let scenes = ["0 written", "1 written", "2 written", "sealed", "fenced"];
    claimed_and_ended::<Retain>("a claim and a sealer of a higher epoch", 2, &scenes);
}

#[test]
fn a_writer_that_comes_while_an_overwriting_log_is_ended_is_before_the_end_or_refused() {
    let scenes = ["0 written", "1 written", "2 written", "sealed"];
    claimed_and_ended::<Overwrite>("a claim and a sealer; overwriting", 1, &scenes);
}

#[test]
fn of_two_that_come_while_the_log_is_ended_one_writes() {
    explore("two claims and a sealer", 4, &["0", "1"], || {
        let memory = memory::<Retain>();
        let sealer = ring::<Retain>(&memory);
        let claims = [0, 1].map(|who| {
            let ring = ring::<Retain>(&memory);
            thread::spawn(move || match Writer::claim(ring) {
                Ok(mut writer) => {
                    let told = writer.write(&payload(who)).ok().map(|offset| (offset.value(), who));
                    // The place stays taken: it was left by somebody who is stopped.
                    std::mem::forget(writer);
                    told
                }
                Err(WriteError::Sealed | WriteError::Claimed) => None,
                Err(error) => panic!("{error}"),
            })
        });
        assert!(take_over(&sealer, 7));
        let told: Vec<_> = claims.into_iter().filter_map(|claim| claim.join().unwrap()).collect();
        let end = end(&sealer);
        assert_eq!(end, told.len() as u64, "{told:?}");
        assert!(told.iter().all(|(offset, _)| *offset == 0), "{told:?}");
        let mut reader = Reader::join(sealer, "r", Start::Earliest).expect("a place");
        let mut buffer = [0; 8];
        if let Some((_, who)) = told.first() {
            assert!(reader.copy_next(&mut buffer).expect("sound").is_some());
            assert_eq!(buffer, payload(*who));
        }
        assert_eq!(reader.copy_next(&mut buffer), Err(ReadError::Sealed));
        end.to_string()
    });
}
