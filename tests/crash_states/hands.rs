//! Rows 14 and 18: a disk without room, and files that somebody cut off, took away, put beside or filled with zeros.

use super::common::{Rng, scale};
use super::disk::FaultyDisk;
use super::world::{Log, NAMES, Shape, body, open};
use fabric_mq::Offset;
use fabric_mq::durable::{FetchError, FileStore, JournalConfig, MediumError, OpenError, StoreError};

const CURSORS: usize = 3;

/// A journal on files, and what is where in it.
struct Kept {
    disk: FaultyDisk,
    shape: Shape,
    /// Of each record the number of its segment, by partition.
    numbers: [Vec<u32>; 2],
    heads: [u64; 2],
    newest: u32,
    is_clean: bool,
}

const RECORD: (usize, u8) = (37, 1);

impl Kept {
    /// With records in so many segments.
    fn make(shape: Shape, segments: u32, is_clean: bool) -> Self {
        let disk = FaultyDisk::new();
        let store = FileStore::on(disk.clone(), shape.config()).unwrap();
        let mut log = Log::<CURSORS>::format(store, JournalConfig::new(7).with_partitions(2)).unwrap();
        for (partition, name) in NAMES {
            log.join(partition, name).unwrap();
        }
        let mut numbers = [vec![], vec![]];
        // Until the last one has some.
        while numbers[1].iter().filter(|number| **number >= segments).count() < 2 {
            for partition in 0..2_u8 {
                let known: &mut Vec<u32> = &mut numbers[usize::from(partition)];
                let offset = known.len() as u64;
                log.append(partition, 0, &[&body(partition, offset, RECORD)]).unwrap();
                known.push(log.stats().segment_number);
            }
            if log.stats().free_segments <= 1 {
                for (partition, name) in NAMES {
                    let cursor = log.find(partition, name).unwrap();
                    let done = log.committed(cursor).unwrap().value() + 6;
                    let done = done.min(numbers[usize::from(partition)].len() as u64);
                    log.commit(cursor, Offset::new(done)).unwrap();
                }
            }
            log.sync().unwrap();
        }
        log.sync().unwrap();
        let heads = [0, 1].map(|partition| log.span(partition).unwrap().0.value());
        let newest = log.stats().segment_number;
        drop(if is_clean { log.close().unwrap() } else { log.into_store() });
        Self { disk, shape, numbers, heads, newest, is_clean }
    }

    fn name(&self, number: u32) -> String {
        format!("{:08x}.seg", (number - 1) % self.shape.segments)
    }

    /// The segments that are in use, and where what was written to each of them ends.
    fn segments(&self) -> Vec<(u32, usize)> {
        let of = |p: usize| self.numbers[p].get(self.heads[p] as usize).copied().unwrap_or(self.newest);
        let oldest = [0, 1].map(of);
        let files = self.disk.files();
        let end = |number: u32| {
            let bytes = &files[&self.name(number)];
            // What lies behind it from an earlier lap is not told apart: callers that need the end use first laps.
            (number, bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| (at + 4) / 4 * 4))
        };
        (*oldest.iter().min().unwrap()..=self.newest).map(end).collect()
    }

    /// Reads what is left of all partitions: which offsets, in order, and how many it was told are lost.
    fn left(&self, log: &mut Log<CURSORS>) -> [(Vec<u64>, u64); 2] {
        [0_u8, 1].map(|partition| {
            // Without a cursor, all that was written to the only segment is gone.
            let Some(cursor) = log.find(partition, NAMES[usize::from(partition)].1) else { return (vec![], 0) };
            let (mut read, mut lost, mut buffer) = (vec![], 0, [0; 64]);
            for _ in 0..1_000 {
                match log.next(cursor, &mut buffer) {
                    Ok(Some(record)) => {
                        let offset = record.offset().value();
                        assert_eq!(record.body(), body(partition, offset, RECORD));
                        assert!(read.last().is_none_or(|last| *last < offset));
                        read.push(offset);
                    }
                    Ok(None) => return (read, lost),
                    Err(FetchError::Damaged { .. }) => {
                        let skipped = log.skip_damage(cursor).unwrap();
                        lost += skipped;
                        if skipped == 0 && log.recovery().damage.is_some() {
                            return (read, lost);
                        }
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            panic!("reading does not end")
        })
    }

    /// Checks what is left when the bytes of one segment from `cut` on are gone; `end` is where it ended. Answers whether
    /// anything was told.
    fn check(&self, image: &FaultyDisk, (number, end): (u32, usize), cut: usize, is_told: bool) {
        let case = || format!("segment {number} of {} from byte {cut} of {end}, {:?}", self.newest, self.shape);
        let is_newest = number == self.newest;
        let is_whole = cut >= end;
        let mut log = match open::<CURSORS>(image, &self.shape) {
            Ok(log) => log,
            Err(OpenError::Medium(MediumError::Unreadable)) if is_newest && self.newest == 1 && is_told => return,
            Err(other) => panic!("{}: {other}", case()),
        };
        let damage = log.recovery().damage;
        // Right at the end, nobody can tell that nothing followed.
        assert_eq!(damage.is_some(), is_newest && cut < end + 4 && is_told, "{}: {:?}", case(), log.recovery());
        if let Some(at) = damage {
            let segment = (number - 1) % self.shape.segments;
            assert!(
                (at.segment, at.to) == (segment, self.shape.segment_bytes) && at.from as usize <= cut,
                "{}: {at}",
                case()
            );
            assert_eq!(log.append(0, 0, &[b"x"]), Err(StoreError::Damaged { at }), "{}", case());
        }
        for (partition, (read, lost)) in self.left(&mut log).into_iter().enumerate() {
            let known = &self.numbers[partition];
            // Commits that are lost with it leave more to read, not less.
            let read: Vec<u64> = read.into_iter().filter(|offset| *offset >= self.heads[partition]).collect();
            let all: Vec<u64> = (self.heads[partition]..known.len() as u64).collect();
            if is_whole {
                assert_eq!((&read, lost), (&all, 0), "{}", case());
                continue;
            }
            // All of the other segments are read, and of this one those before the cut.
            let others = all.iter().copied().filter(|offset| known[*offset as usize] != number);
            assert!(
                others.eq(read.iter().copied().filter(|offset| known[*offset as usize] != number)),
                "{}: {read:?}",
                case()
            );
            let of_this =
                |list: &[u64]| list.iter().copied().filter(|o| known[*o as usize] == number).collect::<Vec<_>>();
            assert!(of_this(&all).starts_with(&of_this(&read)), "{}: {read:?}", case());
            if !is_newest {
                assert_eq!(lost, (all.len() - read.len()) as u64, "{}", case());
            }
        }
        // It goes on, and what was read is read again.
        let before = [0, 1].map(|partition| log.span(partition).unwrap().1.value());
        log.salvage().unwrap_or_else(|error| panic!("{}: salvage: {error}", case()));
        let offset = log.append(0, 0, &[b"later"]).unwrap_or_else(|error| panic!("{}: {error}", case()));
        assert_eq!(offset.value(), before[0], "{}", case());
        log.sync().unwrap();
        drop(log);
        let log = open::<CURSORS>(image, &self.shape).unwrap_or_else(|error| panic!("{}: {error}", case()));
        assert_eq!(log.recovery().damage, None, "{}", case());
        assert_eq!(log.span(0).unwrap().1.value(), before[0] + 1, "{}", case());
    }
}

const SHAPES: [Shape; 2] = [
    Shape { segments: 6, segment_bytes: 1024, buffer: 512, window: 0, others: 0 },
    Shape { segments: 8, segment_bytes: 1536, buffer: 512, window: 512, others: 0 },
];

fn kept() -> impl Iterator<Item = Kept> {
    SHAPES.into_iter().flat_map(|shape| {
        [(1, true), (2, false), (3, true), (3, false)].map(|(segments, is_clean)| Kept::make(shape, segments, is_clean))
    })
}

#[test]
fn a_file_is_cut_off_at_any_byte() {
    let mut count = 0_u64;
    for kept in kept() {
        for (number, end) in kept.segments() {
            for cut in 0..kept.shape.segment_bytes as usize {
                let image = kept.disk.image();
                image.edit(&kept.name(number), |bytes| bytes.truncate(cut));
                kept.check(&image, (number, end), cut, true);
                count += 1;
            }
        }
    }
    println!("passed {count} states: files cut off");
    assert!(count > 10_000, "{count}");
}

/// Zeros at the end of the newest segment are what a cut leaves; anywhere else they are damage.
#[test]
fn the_end_of_a_file_is_zeros() {
    let mut count = 0_u64;
    for kept in kept() {
        for (number, end) in kept.segments() {
            // Without a label, the newest one was never begun, as far as anybody can tell; the only one is gone.
            let from = if number == kept.newest { 512 } else { 0 };
            for cut in from..end {
                let image = kept.disk.image();
                image.edit(&kept.name(number), |bytes| bytes[cut..].fill(0));
                let end = image.files()[&kept.name(number)].iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
                let was = kept.disk.files()[&kept.name(number)].len();
                assert!(end <= was);
                kept.check(&image, (number, kept.segments().iter().find(|s| s.0 == number).unwrap().1), cut, false);
                count += 1;
            }
        }
    }
    println!("passed {count} states: zeros at the end");
    assert!(count > 3_000, "{count}");
}

/// A segment that was begun is there: if not, that is told, but for the last one of the first lap, of which nothing else tells.
#[test]
fn a_file_is_missing() {
    let mut count = 0_u64;
    for shape in SHAPES {
        for segments in 1..3 * shape.segments {
            for is_clean in [true, false] {
                let kept = Kept::make(shape, segments, is_clean);
                for (number, end) in kept.segments() {
                    let image = kept.disk.image();
                    image.take(&kept.name(number));
                    count += 1;
                    if number == kept.newest && number <= shape.segments {
                        // As if it had never been begun.
                        match open::<CURSORS>(&image, &shape) {
                            Err(OpenError::None) => assert_eq!(number, 1),
                            Ok(log) => assert_eq!(log.recovery().damage, None),
                            Err(other) => panic!("{other}"),
                        }
                        continue;
                    }
                    kept.check(&image, (number, end), 0, true);
                }
            }
        }
    }
    println!("passed {count} states: files missing");
    assert!(count > 100, "{count}");
}

#[test]
fn files_of_others_do_not_matter() {
    let mut count = 0_u64;
    for kept in kept() {
        let names = ["00000063.seg", "00000002.new", "0000000A.seg", "notes.txt", "lock~", "7.seg", "00000000.seg~"];
        for name in names {
            let image = kept.disk.image();
            image.edit(name, |bytes| bytes.extend_from_slice(&kept.disk.files()[&kept.name(1)]));
            kept.check(&image, (kept.newest, 0), kept.shape.segment_bytes as usize, true);
            count += 1;
        }
        for lock in [vec![], vec![0; 7], vec![0xff; 64], vec![1; 200]] {
            let image = kept.disk.image();
            image.edit("lock", |bytes| *bytes = lock);
            kept.check(&image, (kept.newest, 0), kept.shape.segment_bytes as usize, true);
            count += 1;
        }
        let image = kept.disk.image();
        image.take("lock");
        kept.check(&image, (kept.newest, 0), kept.shape.segment_bytes as usize, true);
        let log = open::<CURSORS>(&kept.disk, &kept.shape).unwrap();
        assert_eq!(log.recovery().clean, kept.is_clean);
    }
    println!("passed {count} states: other files");
}

/// Row 14: a disk that is full is told, harms nothing, and once there is room the same journal goes on.
#[test]
fn the_disk_is_full() {
    let mut count = 0_u64;
    for shape in SHAPES {
        for limit in (0..shape.segments * shape.segment_bytes).step_by(97) {
            let disk = FaultyDisk::new();
            disk.limit(limit as usize);
            let make = || FileStore::on(disk.clone(), shape.config()).map_err(OpenError::from);
            let format = |store| Log::<CURSORS>::format(store, JournalConfig::new(7).with_partitions(2));
            let mut log = match make().and_then(format) {
                Ok(log) => log,
                Err(error) => {
                    assert_eq!(error, OpenError::Medium(MediumError::NoSpace), "{limit}");
                    disk.limit(usize::MAX);
                    make().and_then(format).unwrap()
                }
            };
            disk.limit(limit as usize);
            let mut rng = Rng::new(u64::from(limit));
            let (mut appended, mut synced, mut refused) = (0_u64, 0, 0);
            let mut joined = log.join(0, NAMES[0].1);
            for step in 0..60 * scale().min(20) {
                match log.append(0, 0, &[&body(0, appended, RECORD)]) {
                    Ok(offset) => {
                        assert_eq!(offset.value(), appended);
                        appended += 1;
                    }
                    Err(StoreError::Full) => break,
                    Err(error) => {
                        assert_eq!(error, StoreError::Medium(MediumError::NoSpace), "{limit}");
                        refused += 1;
                    }
                }
                if rng.below(3) == 0 {
                    log.sync().unwrap();
                    synced = appended;
                }
                if step == 30 {
                    disk.limit(usize::MAX);
                }
                if let (Ok(cursor), 0) = (joined, rng.below(4)) {
                    let done = log.committed(cursor).unwrap().value() + 1;
                    // A segment that has no file yet may be needed for it.
                    match log.commit(cursor, Offset::new(done.min(appended))) {
                        Ok(()) | Err(StoreError::Medium(MediumError::NoSpace)) => {}
                        Err(other) => panic!("{limit}: {other}"),
                    }
                } else if joined.is_err() {
                    joined = log.join(0, NAMES[0].1);
                }
                count += 1;
            }
            drop(log);
            disk.kill();
            let log = open::<CURSORS>(&disk, &shape).unwrap();
            let next = log.span(0).unwrap().1.value();
            assert!(
                (synced..=appended).contains(&next),
                "{limit}: {next} of {synced} to {appended}, {refused} refused"
            );
        }
    }
    println!("passed {count} states: full disks");
}
