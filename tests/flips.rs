//! Wrong bits: images of journals that are kept for ever, each bit of them flipped, two at a time in their headers, and
//! segments that are stale, misplaced, swapped, or another journal's.
//!
//! `FABRIC_MQ_SCALE`: 1 flips the kept images' bits, one in so many; 2 all of them; n also those of n - 2 rounds of other
//! journals, and from 8 on all pairs in the newest headers. `FABRIC_MQ_GOLDEN=write cargo test --features durable --test flips` writes images that are
//! missing.

#![cfg(all(feature = "durable", not(loom)))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;
#[path = "flips/images.rs"]
mod images;

use common::scale;
use fabric_mq::durable::{Journal, OpenError};
use images::{Contents, Golden, Image, KINDS, UNITS, make};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The image that is kept under this name; `today` is what the operations that made it make now.
fn kept(name: &str, today: &[u8]) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var("FABRIC_MQ_GOLDEN").as_deref() == Ok("write") {
        use std::io::Write;
        match std::fs::OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => file.write_all(today).unwrap(),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists, "{error}"),
        }
    }
    std::fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}; see tests/golden/README.md"))
}

/// What became of an image with wrong bits.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Fate {
    /// An error, or damage that is told.
    Told,
    /// Everything is there.
    Same,
    /// The last operation of an image without an end is not there, and nothing was said: as if power had gone in it.
    Torn,
    /// It is as it was at some earlier moment, which only a number kept elsewhere could tell.
    RolledBack,
}

/// Opens an image and reads all of it. Whatever is read must be what was written.
fn fate(image: &mut Image, golden: &Golden) -> Result<Fate, String> {
    let whole = &golden.contents;
    let reads = image.reads;
    let mut log: Journal<_, 2, 3> = match Journal::open(&mut *image) {
        Ok(log) => log,
        Err(OpenError::Medium(error)) => return Err(format!("the medium: {error}")),
        Err(_) => return Ok(Fate::Told),
    };
    if log.id() != images::ID {
        // Whoever asks which journal this is sees it.
        return Ok(Fate::Told);
    }
    let damage = log.recovery().damage;
    let mut told = damage.is_some();
    let found = Contents::of(
        &mut log,
        |partition, offset, record| {
            if golden.records.get(&(partition, offset)) == Some(record) {
                Ok(())
            } else {
                Err(format!("other bytes at {offset} of {partition}"))
            }
        },
        &mut told,
    )?;
    drop(log);
    if image.reads - reads > 60_000 {
        return Err(format!("{} reads", image.reads - reads));
    }
    if told {
        return Ok(Fate::Told);
    }
    if found == *whole {
        return Ok(Fate::Same);
    }
    if found == golden.before {
        return Ok(Fate::Torn);
    }
    if golden.history.contains(&found) {
        return Ok(Fate::RolledBack);
    }
    Err(format!("found {found}\n  of {whole}"))
}

fn all(rounds: u64) -> impl Iterator<Item = Golden> {
    (0..rounds).flat_map(|round| {
        UNITS.into_iter().flat_map(move |unit| KINDS.into_iter().map(move |kind| make(kind, unit, round)))
    })
}

fn counted(counts: &BTreeMap<Fate, u64>) -> String {
    counts.iter().map(|(fate, count)| format!("{fate:?} {count}")).collect::<Vec<_>>().join(", ")
}

#[test]
fn kept_images_open_and_hold_what_they_held() {
    for golden in all(1) {
        let name = format!("v1-journal-{}-{}.bin", golden.kind, golden.unit);
        let bytes = kept(&name, &golden.image.bytes);
        assert_eq!(bytes.len(), golden.image.bytes.len(), "{name}: another size");
        if let Some(at) = (0..bytes.len()).find(|at| bytes[*at] != golden.image.bytes[*at]) {
            panic!("{name}: byte {at} is another one now: the format has changed, or what is stored when");
        }
        let mut image = golden.image.with(bytes);
        assert_eq!(fate(&mut image, &golden), Ok(Fate::Same), "{name}");
        let log: Journal<_, 2, 3> = Journal::open(&mut image).unwrap();
        assert_eq!((log.recovery().clean, log.recovery().torn), (golden.kind == "closed", None), "{name}");
    }
}

#[test]
fn every_flipped_bit() {
    let mut counts = BTreeMap::new();
    let step = if scale() == 1 { 7 } else { 1 };
    for golden in all(scale().saturating_sub(1).max(1)) {
        let mut image = golden.image.clone();
        let (segment, from, to) = golden.last;
        let last = golden.image.at(segment, from) * 8..golden.image.at(segment, to) * 8;
        for bit in (0..image.bytes.len() * 8).step_by(step) {
            image.bytes[bit / 8] ^= 1 << (bit % 8);
            let fate = fate(&mut image, &golden).unwrap_or_else(|wrong| {
                panic!(
                    "{} unit {}: bit {bit}, byte {} of segment {}: {wrong}",
                    golden.kind,
                    golden.unit,
                    bit / 8 % golden.image.segment(),
                    bit / 8 / golden.image.segment()
                )
            });
            image.bytes[bit / 8] ^= 1 << (bit % 8);
            let allowed = match fate {
                Fate::Told | Fate::Same => true,
                Fate::Torn => golden.kind != "closed" && last.contains(&bit),
                Fate::RolledBack => false,
            };
            assert!(allowed, "{} unit {}: bit {bit} of {last:?}: {fate:?}", golden.kind, golden.unit);
            *counts.entry(fate).or_insert(0) += 1;
        }
    }
    println!("passed {} flips, {}", counts.values().sum::<u64>(), counted(&counts));
    assert!(counts[&Fate::Told] > 1_000 && counts[&Fate::Same] > 1_000);
}

#[test]
fn every_two_flipped_bits_of_a_header() {
    let mut counts = BTreeMap::new();
    let sparse = if scale() == 1 { 41 } else { 23 };
    for golden in all(1) {
        for segment in 0..golden.image.segments() {
            // The newest one is what opening goes by: all of its pairs, if there is time; of the others, some.
            let newest = segment == golden.newest;
            if !newest && scale() < 8 {
                continue;
            }
            let step = if newest && scale() >= 8 { 1 } else { sparse };
            let mut image = golden.image.clone();
            let start = golden.image.at(segment, 0) * 8;
            let bits = golden.header * 8;
            for first in 0..bits {
                for second in (first % step..first).step_by(step) {
                    for bit in [start + first, start + second] {
                        image.bytes[bit / 8] ^= 1 << (bit % 8);
                    }
                    let fate = fate(&mut image, &golden).unwrap_or_else(|wrong| {
                        panic!(
                            "{} unit {}: bits {first} and {second} of segment {segment}: {wrong}",
                            golden.kind, golden.unit
                        )
                    });
                    for bit in [start + first, start + second] {
                        image.bytes[bit / 8] ^= 1 << (bit % 8);
                    }
                    assert!(
                        matches!(fate, Fate::Told | Fate::Same),
                        "{} unit {}: bits {first} and {second} of segment {segment}: {fate:?}",
                        golden.kind,
                        golden.unit
                    );
                    *counts.entry(fate).or_insert(0) += 1;
                }
            }
        }
    }
    println!("passed {} pairs, {}", counts.values().sum::<u64>(), counted(&counts));
    assert!(counts[&Fate::Told] > 1_000);
}

/// Segments that are what they were before, another segment's, or another journal's; and writes that went elsewhere.
#[test]
fn segments_that_are_not_what_they_should_be() {
    let mut counts: BTreeMap<_, BTreeMap<Fate, u64>> = BTreeMap::new();
    for golden in all(scale().saturating_sub(1).clamp(1, 20)) {
        let size = golden.image.segment();
        let mut one = |what: &'static str, bytes: Vec<u8>, may_roll_back: bool| {
            let mut image = golden.image.with(bytes);
            let fate = fate(&mut image, &golden)
                .unwrap_or_else(|wrong| panic!("{what} {} unit {}: {wrong}", golden.kind, golden.unit));
            // An old state of the newest segments is what there was once: nothing on the medium can tell.
            assert!(
                may_roll_back || matches!(fate, Fate::Told | Fate::Same),
                "{what} {} unit {}: {fate:?}",
                golden.kind,
                golden.unit
            );
            *counts.entry(what).or_default().entry(fate).or_insert(0) += 1;
        };
        let put =
            |bytes: &mut Vec<u8>, segment: usize, from: &[u8]| bytes[segment * size..][..size].copy_from_slice(from);
        for (segment, bytes) in &golden.stale {
            let mut image = golden.image.bytes.clone();
            put(&mut image, *segment as usize, bytes);
            one("stale", image, true);
        }
        let segments = golden.image.segments() as usize;
        for a in 0..segments {
            for b in 0..a {
                let mut image = golden.image.bytes.clone();
                let (first, second) = (image[a * size..][..size].to_vec(), image[b * size..][..size].to_vec());
                put(&mut image, a, &second);
                put(&mut image, b, &first);
                one("swapped", image.clone(), true);
                put(&mut image, a, &first);
                one("misplaced", image.clone(), true);
            }
        }
        let foreign = images::foreign(golden.kind, golden.unit);
        for segment in 0..segments {
            let mut image = golden.image.bytes.clone();
            put(&mut image, segment, &foreign.image.bytes[segment * size..][..size]);
            one("foreign", image, true);
        }
        for (nth, (segment, from, bytes)) in golden.writes.iter().enumerate() {
            // Where this write should have gone is blank; it went where a later one, or an earlier one, went.
            let (to_segment, to, _) = &golden.writes[(nth * 7 + 3) % golden.writes.len()];
            if *to as usize + bytes.len() > size {
                continue;
            }
            let mut image = golden.image.bytes.clone();
            let at = golden.image.at(*segment, *from);
            if image[at..][..bytes.len()] != bytes[..] {
                // Its segment was used again.
                continue;
            }
            image[at..][..bytes.len()].fill(0xff);
            let at = golden.image.at(*to_segment, *to);
            image[at..][..bytes.len()].copy_from_slice(bytes);
            one("misdirected", image, true);
        }
    }
    let sum: u64 = counts.values().flat_map(|counts| counts.values()).sum();
    let shown: Vec<_> = counts.iter().map(|(what, counts)| format!("{what}: {}", counted(counts))).collect();
    println!("passed {sum} segments, {}", shown.join("; "));
    assert!(sum > 1_000 && counts.len() == 5);
}
