//! The ring against a model of plain vectors, by seeded random operations.
//!
//! The model knows nothing of how the ring works, only what is documented: where a record is placed, which records are
//! held and by whom, when a reader's records are released. From this follow the exact answers: `Full` if and only if there
//! is no room, `Overrun` with the exact loss, every record with its bytes and tag.
//!
//! `FABRIC_MQ_SCALE` multiplies the runs, `FABRIC_MQ_SEED` replays one.

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

#[path = "common/model.rs"]
mod bed;
mod common;

use bed::{Bed, model};
use common::{Owned, is_payload, payload};
use fabric_mq::ReadError;
use fabric_mq::lease::Exclusive;
use fabric_mq::ring::{Overwrite, Reader, Retain, Ring, RingConfig, Start, Writer};

/// Memory of this process alone.
enum Local {}

impl Bed for Local {
    type Lease = Owned<Exclusive>;
    fn new(len: usize) -> Self::Lease {
        Owned::new(len)
    }
    fn of(image: &[u8]) -> Self::Lease {
        Owned::of(image)
    }
    fn image(lease: &Self::Lease) -> Vec<u8> {
        lease.image()
    }
}

/// A fuzzer's choices instead of random ones.
#[cfg(fuzzing)]
pub(crate) fn fuzz(choices: &[u8]) {
    bed::fuzz::<Local>(choices);
}

#[test]
fn a_retaining_ring_does_what_the_model_says() {
    model::<Retain, Local>("retain", 0x1000_0000);
}

#[test]
fn an_overwriting_ring_does_what_the_model_says() {
    model::<Overwrite, Local>("overwrite", 0x2000_0000);
}

/// `mem::forget` is safe, so it must not be a way to show records that were never published.
#[test]
fn a_forgotten_batch_is_as_if_it_had_never_been() {
    let mut checked = 0;
    for (forgotten, len) in [(1, 8), (2, 8), (3, 40), (5, 0), (8, 8)] {
        for after in 0..3 {
            let config = RingConfig::new(8, 512).with_readers(2);
            let ring: Ring<_> = Ring::format(Owned::<Exclusive>::new(config.lease_bytes().unwrap()), config).unwrap();
            let mut writer = Writer::claim(&ring).unwrap();
            let mut reader = Reader::join(&ring, "main", Start::Earliest).unwrap();
            let mut expected = 0;
            for lap in 0..20 {
                let mut batch = writer.batch();
                for _ in 0..forgotten {
                    batch.write(&payload(7777, len)).unwrap();
                }
                std::mem::forget(batch);
                assert_eq!(ring.tail().value(), expected, "a batch that is forgotten is not published");
                if after == 1 {
                    drop(writer);
                    writer = Writer::claim(&ring).unwrap();
                }
                let wanted = 1 + lap % 2;
                if after == 2 {
                    let mut batch = writer.batch();
                    for index in 0..wanted {
                        batch.write(&payload(expected + index, 30)).unwrap();
                    }
                    assert_eq!(batch.publish(), Ok(wanted as usize));
                } else {
                    for index in 0..wanted {
                        assert_eq!(writer.write(&payload(expected + index, 30)).unwrap().value(), expected + index);
                    }
                }
                expected += wanted;
                assert_eq!(ring.tail().value(), expected, "{forgotten} forgotten, then {wanted} written ({after})");
                let read = reader
                    .for_each(100, |record| {
                        assert!(is_payload(record.payload(), record.offset().value()), "{}", record.offset());
                    })
                    .unwrap();
                assert_eq!(read, wanted as usize);
                checked += 1;
            }
        }
    }
    println!("forgotten batches: passed {checked} operations");
}

/// A visitor that panics has been handed its record; the reader stays usable, and holds what it has not read.
#[test]
fn a_visitor_that_panics_leaves_a_usable_reader() {
    let config = RingConfig::new(8, 256);
    let ring: Ring<_> = Ring::format(Owned::<Exclusive>::new(config.lease_bytes().unwrap()), config).unwrap();
    let mut writer = Writer::claim(&ring).unwrap();
    let mut reader = Reader::join(&ring, "main", Start::Earliest).unwrap();
    for offset in 0..8 {
        writer.write(&payload(offset, 9)).unwrap();
    }
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = reader.for_each(8, |record| assert!(record.offset().value() != 3, "on purpose"));
    }));
    assert!(panic.is_err());
    assert_eq!(reader.next_offset().value(), 4);
    // The record that it panicked on is done with, those behind it are not.
    let more = (0..9).take_while(|_| writer.write(b"more").is_ok()).count();
    assert!(more <= 4, "written over what the reader has not read");
    for offset in 4..8 {
        let record = reader.next().unwrap().unwrap();
        assert_eq!(record.offset().value(), offset);
        assert!(is_payload(record.payload(), offset));
    }
    println!("panicking visitor: passed 8 operations");
}

/// A reader whose records were overwritten while nobody read there is told so like any other.
#[test]
fn a_reader_that_comes_back_is_told_what_it_lost() {
    let config = RingConfig::new(4, 64);
    let ring: Ring<_, Overwrite> =
        Ring::format(Owned::<Exclusive>::new(config.lease_bytes().unwrap()), config).unwrap();
    let mut writer = Writer::claim(&ring).unwrap();
    let mut buffer = [0; 8];
    let mut reader = Reader::join(&ring, "main", Start::Earliest).unwrap();
    writer.write(&[0]).unwrap();
    assert!(reader.copy_next(&mut buffer).unwrap().is_some());
    reader.park();
    for n in 1..10 {
        writer.write(&[n]).unwrap();
    }
    let mut reader = Reader::join(&ring, "main", Start::Resume).unwrap();
    let mut lost = 0;
    let mut got = Vec::new();
    loop {
        match reader.copy_next(&mut buffer) {
            Ok(Some(record)) => got.push(record.offset().value()),
            Ok(None) => break,
            Err(ReadError::Overrun { lost: more }) => lost += more,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(got, [6, 7, 8, 9]);
    assert_eq!(lost, 5, "records 1 to 5 were overwritten before this reader came to them");
}
