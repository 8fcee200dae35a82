//! The example program `inspect`, run as users run it, on images and directories that are whole, torn, damaged, and others':
//! `cargo test` builds it. And the walk that it is made of.
#![cfg(all(feature = "std", feature = "durable", unix, not(loom), not(miri)))]
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

#[path = "common/folder.rs"]
mod folder;
#[path = "common/program.rs"]
mod program;

use fabric_mq::Offset;
use fabric_mq::durable::inspect::{Inspector, Item, Label, Role, write_unit};
use fabric_mq::durable::{Extent, FileConfig, FileStore, Journal, JournalConfig, RamStore, Store};
use folder::Folder;
use program::{example, printed};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::SystemTime;

const BYTES: usize = 32 << 10;
const SEGMENT: u32 = 2 << 10;

type Ram = RamStore<BYTES>;
type Log<S> = Journal<S, 2, 3>;

/// A directory, made.
fn place(test: &str) -> Folder {
    let folder = Folder::new(test);
    fs::create_dir_all(&folder.0).unwrap();
    folder
}

fn image(place: &Folder, bytes: &[u8]) -> PathBuf {
    let path = place.0.join("flash.bin");
    fs::write(&path, bytes).unwrap();
    path
}

fn inspect(args: &[&str], path: &Path) -> Output {
    example("inspect").args(args).arg(path).stdin(Stdio::null()).output().unwrap()
}

/// What it printed, checked to be tidy and to have changed nothing.
#[track_caller]
fn report(args: &[&str], path: &Path, status: i32) -> (String, String) {
    let before = contents(path);
    let output = inspect(args, path);
    assert_eq!(contents(path), before, "nothing is changed");
    let (out, err) = printed(&output, status);
    (out.to_owned(), err.to_owned())
}

/// All files, their bytes, and when they were written.
fn contents(path: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let files: Vec<PathBuf> = if path.is_dir() {
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect()
    } else {
        vec![path.to_owned()]
    };
    let about = |path: &PathBuf| (fs::read(path).unwrap(), path.metadata().unwrap().modified().unwrap());
    files.into_iter().filter(|path| path.is_file()).map(|path| (path.clone(), about(&path))).collect()
}

fn body(partition: u8, offset: u64) -> Vec<u8> {
    if offset % 5 == 3 {
        vec![0xff, partition, offset as u8]
    } else {
        format!("record {offset} of {partition}\n").into_bytes()
    }
}

/// A journal of so many records a partition; the first cursors have committed all but the last ten.
fn filled<S: Store>(store: S, records: u64) -> Log<S> {
    let mut log = Log::format(store, JournalConfig::new(0xabc).with_partitions(2)).unwrap();
    let cursors = [log.join(0, "uplink").unwrap(), log.join(1, "display").unwrap()];
    for offset in 0..records {
        for partition in [0, 1] {
            log.append(partition, 9, &[&body(partition, offset)]).unwrap();
            if offset >= 10 {
                log.commit(cursors[usize::from(partition)], Offset::new(offset - 9)).unwrap();
            }
        }
    }
    log.sync().unwrap();
    log
}

fn flash() -> Ram {
    Ram::flash(BYTES as u32 / SEGMENT, SEGMENT, 8)
}

#[test]
fn an_image_that_is_whole() {
    let place = place("inspect-whole");
    let path = image(&place, filled(flash(), 400).close().unwrap().as_bytes());
    let (out, err) = report(&[], &path, 0);
    assert!(err.is_empty(), "{err}");
    assert!(
        out.starts_with(
            "journal 0x0000000000000abc: 16 segments of 2,048 bytes, flash with a write unit of 8\nit was closed\n"
        ),
        "{out}"
    );
    assert!(out.contains("\nwhole: ") && out.contains(" 0 damaged stretches\n"), "{out}");
    assert_eq!(out.matches(" 390           400            10\n").count(), 2, "{out}");
    assert!(out.lines().any(|line| line.split_whitespace().eq(["0", "390", "10", "uplink"])), "{out}");
    assert!(out.contains(" tail ") && out.contains(" free "), "{out}");
    // The same by hand as it was found.
    assert_eq!(report(&["--segment-bytes", "2048", "--write-unit", "8"], &path, 0).0, out);
}

#[test]
fn records_are_exported() {
    let place = place("inspect-export");
    let path = image(&place, filled(flash(), 20).close().unwrap().as_bytes());
    let file = place.0.join("records.ndjson");
    let shape = ["--segment-bytes", "2048"];
    report(&[&shape[..], &["--export", file.to_str().unwrap()]].concat(), &path, 0);
    let (out, _) = report(&[&shape[..], &["--export", "-"]].concat(), &path, 0);
    assert_eq!(out, fs::read_to_string(&file).unwrap());
    let mut nexts = [0, 0];
    for line in out.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let (partition, offset) = (value["partition"].as_u64().unwrap(), value["offset"].as_u64().unwrap());
        assert_eq!((offset, value["tag"].as_u64()), (nexts[partition as usize], Some(9)));
        nexts[partition as usize] += 1;
        let wanted = body(partition as u8, offset);
        assert_eq!(value["len"].as_u64(), Some(wanted.len() as u64));
        match std::str::from_utf8(&wanted) {
            Ok(text) => assert_eq!((value["text"].as_str(), value.get("hex")), (Some(text), None)),
            Err(_) => assert_eq!(value["hex"], format!("ff{:02x}{offset:02x}", partition), "{line}"),
        }
    }
    assert_eq!(nexts, [20, 20]);
}

#[test]
fn an_image_that_is_torn_is_whole() {
    let place = place("inspect-torn");
    let log = filled(flash(), 30);
    let mut bytes = log.into_store().as_bytes().to_vec();
    // Half a record behind the end.
    let end = bytes[..SEGMENT as usize].iter().rposition(|byte| *byte != 0xff).unwrap() + 1;
    let end = end.next_multiple_of(8);
    let again = filled(flash(), 31).into_store();
    bytes[end..end + 16].copy_from_slice(&again.as_bytes()[end..end + 16]);
    let (out, _) = report(&["--segment-bytes", "2048"], &image(&place, &bytes), 0);
    assert!(out.contains("it was not closed") && out.contains("torn tail, never stored: bytes"), "{out}");
    assert!(out.contains("\nwhole: "), "{out}");
}

#[test]
fn damage_is_told_with_its_extent() {
    let place = place("inspect-damage");
    let whole = filled(flash(), 60).close().unwrap();
    let mut found = Vec::new();
    let mut inspector: Inspector<_, 2, 3> = Inspector::open(whole.clone()).unwrap();
    for segment in 0..16 {
        let walked = inspector.walk(segment, &mut [0; 64], |item| {
            if let Item::Record { at, partition, offset, .. } = item {
                found.push((at, partition, offset));
            }
        });
        walked.unwrap();
    }
    // In the middle of the first record of all that are kept, and of one in the middle.
    for nth in [0, found.len() / 2] {
        let (at, ..) = found[nth];
        let mut bytes = whole.as_bytes().to_vec();
        bytes[(at.segment * SEGMENT + at.from) as usize + 9] ^= 4;
        let path = image(&place, &bytes);
        let (out, _) = report(&[], &path, 1);
        let told = format!("  DAMAGE: bytes {} to {} of segment {}\n", at.from, at.to, at.segment);
        assert!(out.contains(&told) && out.contains("\nDAMAGED: "), "{told} {out}");
        let (out, _) = report(&["--export", "-"], &path, 1);
        assert_eq!(out.lines().count(), found.len() - 1, "the others are there");
    }
    // A header that is needed.
    let mut bytes = whole.as_bytes().to_vec();
    bytes[(found[0].0.segment * SEGMENT) as usize + 40] ^= 1;
    let (out, _) = report(&[], &image(&place, &bytes), 1);
    assert!(out.contains(&format!("DAMAGE: bytes 0 to 2048 of segment {}", found[0].0.segment)), "{out}");
}

/// A label as it would be of another version, by the drawing of the format.
fn label(version: u8, segment: u32, number: u32) -> [u8; 8] {
    let mut bytes = b"fmq segment".to_vec();
    bytes.push(version);
    bytes.extend(segment.to_le_bytes());
    bytes.extend(number.to_le_bytes());
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    let mut label = [0; 8];
    label[..4].copy_from_slice(&number.to_le_bytes());
    label[4..].copy_from_slice(&(!crc).to_le_bytes());
    label
}

#[test]
fn what_is_no_journal_of_ours_is_refused() {
    let place = place("inspect-foreign");
    assert_eq!(Label::of(2, label(1, 2, 7)), Label::Number(7));
    assert_eq!(Label::of(2, label(9, 2, 7)), Label::Version(9));
    assert_eq!((Label::of(3, label(1, 2, 7)), Label::of(0, [0; 8])), (Label::None, Label::None));
    assert_eq!(write_unit([0; 16]), None);
    let mut bytes = vec![0xff; BYTES];
    for segment in 0..3 {
        bytes[(segment * SEGMENT) as usize..][..8].copy_from_slice(&label(9, segment, segment + 1));
    }
    let complaint = |path: &Path, args: &[&str], status| {
        let (out, err) = report(args, path, status);
        assert!(out.is_empty(), "{out}");
        err
    };
    let newer = complaint(&image(&place, &bytes), &[], 1);
    assert!(newer.contains("format 9") && newer.contains("use a newer one"), "{newer}");
    let blank = complaint(&image(&place, &[0xff; BYTES]), &[], 1);
    assert!(blank.contains("there is no journal"), "{blank}");
    let other = complaint(&image(&place, &[0x5a; 5000]), &[], 1);
    assert!(other.contains("there is no journal"), "{other}");
    let young = Log::format(flash(), JournalConfig::new(1)).unwrap().into_store();
    let path = image(&place, young.as_bytes());
    let unclear = complaint(&path, &[], 1);
    assert!(unclear.contains("give --segment-bytes"), "{unclear}");
    report(&["--segment-bytes", "2048"], &path, 0);
    let wrong = complaint(&path, &["--segment-bytes", "2048", "--write-unit", "16"], 1);
    assert!(wrong.contains("see --segment-bytes, --write-unit"), "{wrong}");
    assert!(complaint(&place.0.join("none"), &[], 1).contains("none"));
    assert!(complaint(&path, &["--segment-bytes", "x"], 2).contains("Usage: inspect"));
    let empty = place.0.join("empty");
    fs::create_dir(&empty).unwrap();
    assert!(complaint(&empty, &[], 1).contains("there is no segment"));
}

#[test]
fn a_directory_is_not_changed() {
    let place = place("inspect-directory");
    let directory = place.0.join("store");
    let config = FileConfig::new().with_segments(8).with_segment_bytes(SEGMENT);
    let log = filled(FileStore::open(&directory, config).unwrap(), 200);
    // Somebody has it open, and has written on it.
    let (out, err) = report(&[], &directory, 0);
    assert!(err.is_empty() && out.contains(" segments of 2,048 bytes, files\nit was not closed"), "{out}{err}");
    drop(log.close().unwrap());
    fs::remove_file(directory.join("lock")).unwrap();
    let (out, _) = report(&[], &directory, 0);
    assert!(out.contains("it was closed"), "{out}");
    assert!(!directory.join("lock").exists());
    let (_, rows) = out.split_once("offsets\n").unwrap();
    let tail: u32 =
        rows.lines().find(|line| line.contains(" tail ")).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    // A file that was cut off is damage, and stays as it is.
    let file = fs::OpenOptions::new().write(true).open(directory.join(format!("{tail:08x}.seg"))).unwrap();
    file.set_len(700).unwrap();
    let (out, _) = report(&[], &directory, 1);
    assert!(out.contains("\nDAMAGED: "), "{out}");
    assert_eq!(file.metadata().unwrap().len(), 700);
}

/// All kinds of segments, by the walk itself.
#[test]
fn segments_are_what_they_are() {
    let mut log = filled(flash(), 100);
    let cursor = log.find(0, "uplink").unwrap();
    log.commit(cursor, Offset::new(100)).unwrap();
    let store = log.into_store();
    let mut inspector: Inspector<_, 2, 3> = Inspector::open(store).unwrap();
    let mut roles = Vec::new();
    let mut ends: BTreeMap<u8, u64> = BTreeMap::new();
    for segment in 0..16 {
        let about = inspector.segment(segment).unwrap();
        roles.push(about.role);
        let mut at = about.from;
        let walked = inspector.walk(segment, &mut [], |item| {
            let extent = match item {
                Item::Record { at, partition, offset, body, len, .. } => {
                    assert!(body.is_none() && len > 0, "there was no room");
                    assert!(ends.insert(partition, offset.value()).is_none_or(|last| last + 1 == offset.value()));
                    at
                }
                Item::Change { at, .. } => at,
                other => panic!("{other:?}"),
            };
            assert_eq!(extent, Extent::new(segment, at, extent.to), "without a gap");
            at = extent.to;
        });
        walked.unwrap();
        if let Some(to) = about.to {
            assert_eq!(at, to);
        }
    }
    assert_eq!(ends, BTreeMap::from([(0, 99), (1, 99)]));
    assert_eq!(roles.iter().filter(|role| **role == Role::Tail).count(), 1);
    assert!(roles.contains(&Role::Live) && roles.contains(&Role::Blank) | roles.contains(&Role::Free), "{roles:?}");
    let cursors: Vec<_> = inspector.cursors().map(|(of, name, at)| (of, name.to_owned(), at.value())).collect();
    assert_eq!(cursors, [(0, "uplink".to_owned(), 100), (1, "display".to_owned(), 90)]);
}
