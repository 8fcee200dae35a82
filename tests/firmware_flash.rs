//! Images of flash that the firmware example wrote, opened here: what a power cut left on a microcontroller is found, and
//! gone on with, by any other machine.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![cfg(all(feature = "durable", feature = "std", not(loom)))]

use fabric_mq::durable::{Geometry, Journal, JournalConfig, OpenError, RamStore, Recovery};
use std::path::{Path, PathBuf};
use std::{env, fs};

const CSV: &str = include_str!("../examples/data/seattle-weather-hourly-normals.csv");
/// The firmware's flash is written by words.
const WRITE_UNIT: u32 = 4;
const WHOSE: &str = "uplink";
/// Readings that are appended to what a cut has left.
const MORE: u64 = 100;

type Log<const BYTES: usize> = Journal<RamStore<BYTES>, 1, 1>;

/// What the firmware has said of one machine.
struct Said {
    segments: u32,
    segment_bytes: u32,
    resets: u64,
    cuts: Vec<Cut>,
}

/// What it has found after one cut.
struct Cut {
    boot: u64,
    found: String,
    stored: u64,
    committed: u64,
}

/// `FABRIC_MQ_IMAGES` is the folder with what the firmware wrote: `NAME.log`, what it printed, and `NAME.00`, `NAME.01`, ...,
/// `NAME.end`, its flash as it found it at each start, and as it left it.
#[test]
#[ignore = "needs what the firmware wrote in QEMU: ci/check.sh firmware"]
fn what_the_firmware_left_is_found() {
    let folder = PathBuf::from(env::var_os("FABRIC_MQ_IMAGES").expect("FABRIC_MQ_IMAGES names a folder"));
    let year = year();
    let (mut machines, mut images, mut records) = (0, 0, 0);
    for entry in fs::read_dir(&folder).expect("the folder can be read") {
        let log = entry.expect("the folder can be read").path();
        if log.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let said = said(&fs::read_to_string(&log).expect("the log can be read"));
        assert_eq!(said.cuts.len() as u64, said.resets, "{}: a line for each reset", log.display());
        records += match said.segments * said.segment_bytes {
            24_576 => machine::<24_576>(&log, &said, &year),
            4_608 => machine::<4_608>(&log, &said, &year),
            other => panic!("{}: no flash here has {other} bytes", log.display()),
        };
        machines += 1;
        images += said.cuts.len() + 2;
    }
    assert_ne!(machines, 0, "{}: not one log", folder.display());
    println!("passed {images} images");
    println!("passed {records} records");
}

/// All images of one machine. Answers how many records were read.
fn machine<const BYTES: usize>(log: &Path, said: &Said, year: &[[u8; 8]]) -> u64 {
    let image = |name: &str| {
        let path = log.with_extension(name);
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let bytes: [u8; BYTES] = bytes.try_into().expect("the image is as large as the flash");
        RamStore::image(bytes, Geometry::flash(said.segments, said.segment_bytes, WRITE_UNIT))
    };
    assert!(image("00").as_bytes().iter().all(|byte| *byte == 0xff), "a new chip is blank");
    let mut records = 0;
    for cut in &said.cuts {
        let store = image(&format!("{:02}", cut.boot));
        let opened: Result<Log<BYTES>, _> = Journal::open(store.clone());
        if cut.found == "no-journal" {
            assert_eq!(opened.err(), Some(OpenError::None), "boot {}", cut.boot);
            let journal = Journal::format(store, JournalConfig::new(1)).expect("it can be formatted");
            records += goes_on(journal, 0, year);
            continue;
        }
        let mut journal = opened.unwrap_or_else(|error| panic!("boot {}: {error}", cut.boot));
        assert_eq!(describe(journal.recovery()), cut.found, "boot {}", cut.boot);
        assert_eq!(next_of(&journal), cut.stored, "boot {}", cut.boot);
        assert_eq!(committed_of(&journal), cut.committed, "boot {}", cut.boot);
        records += read_on(&mut journal, cut.committed, cut.stored, year);
        assert_eq!(journal.store().as_bytes(), store.as_bytes(), "boot {}: reading has written", cut.boot);
        records += goes_on(journal, cut.stored, year);
    }
    let mut journal: Log<BYTES> = Journal::open(image("end")).expect("it was closed");
    let all = year.len() as u64;
    assert!(journal.recovery().clean);
    assert_eq!((next_of(&journal), committed_of(&journal)), (all, all));
    assert_eq!(read_on(&mut journal, all, all, year), 0);
    records
}

/// Everything from `from` on to `to` is read, in order, and is what the sensor measured.
fn read_on<const BYTES: usize>(journal: &mut Log<BYTES>, from: u64, to: u64, year: &[[u8; 8]]) -> u64 {
    let Some(cursor) = journal.find(0, WHOSE) else {
        assert_eq!((from, to), (0, 0), "there are records, and no cursor");
        return 0;
    };
    let mut buffer = [0; 64];
    for offset in from..to {
        let record = journal.next(cursor, &mut buffer).expect("it can be read").expect("it is there");
        assert_eq!(record.offset().value(), offset);
        assert_eq!(record.body(), year[usize::try_from(offset).unwrap()], "the reading at offset {offset}");
    }
    assert_eq!(journal.next(cursor, &mut buffer), Ok(None));
    to - from
}

/// What a cut has left can be written on, closed, and opened again.
fn goes_on<const BYTES: usize>(mut journal: Log<BYTES>, stored: u64, year: &[[u8; 8]]) -> u64 {
    let cursor = journal.join(0, WHOSE).expect("there is room for a cursor");
    journal.commit(cursor, stored.into()).expect("commits have room");
    let end = (stored + MORE).min(year.len() as u64);
    for offset in stored..end {
        let reading = &year[usize::try_from(offset).unwrap()];
        assert_eq!(journal.append(0, 0, &[reading]).expect("there is room").value(), offset);
    }
    let store = journal.close().expect("it can be closed");
    let mut journal: Log<BYTES> = Journal::open(store).expect("it was closed");
    assert!(journal.recovery().clean);
    read_on(&mut journal, stored, end, year)
}

fn next_of<const BYTES: usize>(journal: &Log<BYTES>) -> u64 {
    journal.span(0).expect("it has a partition").1.value()
}

fn committed_of<const BYTES: usize>(journal: &Log<BYTES>) -> u64 {
    journal.find(0, WHOSE).map_or(0, |cursor| journal.committed(cursor).expect("it is a cursor").value())
}

/// As the firmware puts it.
fn describe(recovery: &Recovery) -> String {
    match recovery {
        Recovery { damage: Some(at), .. } => format!("damage in {at}"),
        Recovery { torn: Some(at), .. } => format!("{}:{}-{}", at.segment, at.from, at.to),
        Recovery { clean: true, .. } => "clean".to_owned(),
        _ => "whole".to_owned(),
    }
}

/// The numbers in what the firmware printed.
fn said(log: &str) -> Said {
    let mut said = Said { segments: 0, segment_bytes: 0, resets: 0, cuts: Vec::new() };
    for line in log.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            // Cortex-M3, ...; 24 segments of 1024 bytes
            [.., segments, "segments", "of", bytes, "bytes"] => {
                (said.segments, said.segment_bytes) = (segments.parse().unwrap(), bytes.parse().unwrap());
            }
            [boot, "program" | "erase", _, found, stored, committed, _] => said.cuts.push(Cut {
                boot: boot.parse().unwrap(),
                found: (*found).to_owned(),
                stored: stored.parse().unwrap(),
                committed: committed.parse().unwrap(),
            }),
            ["flash", _, _, resets, _] => said.resets = resets.parse().unwrap(),
            _ => {}
        }
    }
    said
}

/// The year of readings as records: hours since it began, and three values in tenths, each in two bytes.
fn year() -> Vec<[u8; 8]> {
    CSV.lines().skip(1).map(record).collect()
}

fn record(line: &str) -> [u8; 8] {
    const DAYS_BEFORE: [u16; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let fields: Vec<&str> = line.split(',').collect();
    let number = |from: usize| fields[0][from..from + 2].parse::<u16>().unwrap();
    // 2010-01-31T23:00:00
    let (month, day, hour) = (number(5), number(8), number(11));
    let hour = (DAYS_BEFORE[usize::from(month) - 1] + day - 1) * 24 + hour;
    let tenths = |field: &str| field.replace('.', "").parse::<i16>().unwrap().to_le_bytes();
    let parts = [hour.to_le_bytes(), tenths(fields[1]), tenths(fields[2]), tenths(fields[3])];
    parts.concat().try_into().unwrap()
}
