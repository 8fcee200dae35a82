//! Images of journals, and what they hold.

use crate::common::{Rng, payload};
use fabric_mq::Offset;
use fabric_mq::durable::{FetchError, Geometry, Journal, JournalConfig, MediumError, Store};
use std::collections::BTreeMap;
use std::fmt;

pub(crate) const UNITS: [u32; 5] = [1, 4, 8, 16, 32];
/// Without an end, closed, gone on behind a crash, and salvaged.
pub(crate) const KINDS: [&str; 4] = ["busy", "closed", "refreshed", "salvaged"];
pub(crate) const ID: u64 = 0x0102_0304_0506_0708;
const SEGMENTS: u32 = 6;
const SEGMENT: u32 = 512;
pub(crate) const NAMES: [(u8, &str); 4] = [(0, "a"), (1, "b"), (0, "slow-one"), (1, "gone")];

/// A medium in memory that keeps what was done to it.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) bytes: Vec<u8>,
    geometry: Geometry,
    pub(crate) reads: u64,
    /// What was written, and segments as they were before they were erased.
    writes: Vec<(u32, u32, Vec<u8>)>,
    erased: Vec<(u32, Vec<u8>)>,
}

impl Image {
    /// The same medium with these bytes.
    pub(crate) fn with(&self, bytes: Vec<u8>) -> Self {
        Self { bytes, geometry: self.geometry, reads: 0, writes: Vec::new(), erased: Vec::new() }
    }

    pub(crate) fn at(&self, segment: u32, at: u32) -> usize {
        (segment * self.geometry.segment_bytes + at) as usize
    }

    pub(crate) fn segment(&self) -> usize {
        self.geometry.segment_bytes as usize
    }

    pub(crate) fn segments(&self) -> u32 {
        self.geometry.segments
    }
}

impl Store for Image {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read(&mut self, segment: u32, at: u32, into: &mut [u8]) -> Result<(), MediumError> {
        self.reads += 1;
        if segment >= self.geometry.segments || at as usize + into.len() > self.segment() {
            return Err(MediumError::OutOfBounds);
        }
        let start = self.at(segment, at);
        into.copy_from_slice(&self.bytes[start..][..into.len()]);
        Ok(())
    }

    fn program(&mut self, segment: u32, at: u32, bytes: &[u8]) -> Result<(), MediumError> {
        let start = self.at(segment, at);
        let to = &mut self.bytes[start..][..bytes.len()];
        assert!(to.iter().all(|byte| *byte == 0xff), "programmed twice");
        to.copy_from_slice(bytes);
        self.writes.push((segment, at, bytes.to_vec()));
        Ok(())
    }

    fn erase(&mut self, segment: u32) -> Result<(), MediumError> {
        let start = self.at(segment, 0);
        let size = self.segment();
        let bytes = &mut self.bytes[start..][..size];
        self.erased.push((segment, bytes.to_vec()));
        bytes.fill(0xff);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), MediumError> {
        Ok(())
    }
}

/// What a journal holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Contents {
    spans: [(u64, u64); 2],
    cursors: [Option<u64>; NAMES.len()],
    /// By partition and offset: tag and bytes.
    pub(crate) records: BTreeMap<(u8, u64), (u8, Vec<u8>)>,
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}, {} records", self.spans, self.cursors, self.records.len())
    }
}

impl Contents {
    /// Reads everything there is, by the cursors there are. Damage that reading meets sets `told`, and is passed.
    pub(crate) fn of<S: Store>(
        log: &mut Journal<S, 2, 3>,
        mut each: impl FnMut(u8, u64, &(u8, Vec<u8>)) -> Result<(), String>,
        told: &mut bool,
    ) -> Result<Self, String> {
        let mut this = Self::default();
        let mut buffer = [0; 1024];
        for partition in 0..2 {
            if let Some((head, next)) = log.span(partition) {
                this.spans[usize::from(partition)] = (head.value(), next.value());
            }
        }
        for (which, (partition, name)) in NAMES.into_iter().enumerate() {
            let Some(cursor) = log.find(partition, name) else { continue };
            this.cursors[which] = log.committed(cursor).map(Offset::value);
            let (head, next) = this.spans[usize::from(partition)];
            if let Err(error) = log.seek(cursor, Offset::new(head)) {
                // The way to the oldest record is damaged.
                *told = true;
                if !matches!(error, FetchError::Damaged { .. }) {
                    return Err(format!("seeking: {error}"));
                }
                continue;
            }
            let mut patience = 200;
            loop {
                patience -= 1;
                if patience == 0 {
                    return Err("reading does not end".into());
                }
                match log.next(cursor, &mut buffer) {
                    Ok(None) => break,
                    Ok(Some(record)) => {
                        let key = (partition, record.offset().value());
                        let value = (record.tag(), record.body().to_vec());
                        each(key.0, key.1, &value)?;
                        this.records.insert(key, value);
                    }
                    Err(FetchError::Damaged { .. }) => {
                        *told = true;
                        if log.position(cursor).is_some_and(|at| at.value() >= next) || log.skip_damage(cursor).is_err()
                        {
                            break;
                        }
                    }
                    Err(FetchError::Trimmed { .. }) => {}
                    Err(FetchError::BufferTooSmall { .. }) => {
                        // A head that is damaged, and passes for one: the record behind it is told when it is read.
                        *told = true;
                        break;
                    }
                    Err(error) => return Err(format!("reading: {error}")),
                }
            }
        }
        Ok(this)
    }
}

/// An image, and what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Golden {
    pub(crate) kind: &'static str,
    pub(crate) unit: u32,
    pub(crate) image: Image,
    pub(crate) contents: Contents,
    /// Before the last operation, and where that was written.
    pub(crate) before: Contents,
    pub(crate) last: (u32, u32, u32),
    /// After each operation.
    pub(crate) history: Vec<Contents>,
    /// Every record there ever was.
    pub(crate) records: BTreeMap<(u8, u64), (u8, Vec<u8>)>,
    /// Segments as they were once.
    pub(crate) stale: Vec<(u32, Vec<u8>)>,
    pub(crate) writes: Vec<(u32, u32, Vec<u8>)>,
    /// Which segment is the newest, and how long its header is.
    pub(crate) newest: u32,
    pub(crate) header: usize,
}

type Log = Journal<Image, 2, 3>;

fn blank(unit: u32) -> Image {
    let geometry = Geometry::flash(SEGMENTS, SEGMENT, unit);
    let bytes = vec![0xff; (SEGMENTS * SEGMENT) as usize];
    Image { bytes, geometry, reads: 0, writes: Vec::new(), erased: Vec::new() }
}

fn look(log: &Log) -> Contents {
    let mut copy: Log = Journal::open(log.store().clone()).unwrap();
    Contents::of(&mut copy, |_, _, _| Ok(()), &mut false).unwrap()
}

/// Writes a journal and keeps what it was after each operation.
struct Maker {
    log: Log,
    rng: Rng,
    history: Vec<Contents>,
    stale: Vec<(u32, Vec<u8>)>,
}

impl Maker {
    fn did(&mut self) {
        self.history.push(look(&self.log));
        let image = self.log.store();
        for (segment, bytes) in image.bytes.chunks(SEGMENT as usize).enumerate() {
            self.stale.push((segment as u32, bytes.to_vec()));
        }
    }

    fn append(&mut self, partition: u8, tag: u8, len: usize) {
        let body = payload(self.rng.next(), len);
        self.log.append(partition, tag, &[&body]).unwrap();
        self.did();
    }

    fn batch(&mut self, partition: u8, lens: &[usize]) {
        let bodies: Vec<_> = lens.iter().map(|len| payload(self.rng.next(), *len)).collect();
        let bodies: Vec<_> = bodies.iter().map(Vec::as_slice).collect();
        self.log.append_batch(partition, 3, &bodies).unwrap();
        self.did();
    }

    fn commit(&mut self, which: usize, count: u64) {
        let (partition, name) = NAMES[which];
        let cursor = self.log.find(partition, name).unwrap();
        let (_, next) = self.log.span(partition).unwrap();
        let to = (self.log.committed(cursor).unwrap().value() + count).min(next.value());
        self.log.commit(cursor, Offset::new(to)).unwrap();
        self.did();
    }

    fn join(&mut self, which: usize) {
        self.log.join(NAMES[which].0, NAMES[which].1).unwrap();
        self.did();
    }

    fn random(&mut self, count: u64) {
        for _ in 0..count {
            match self.rng.below(8) {
                0..3 => {
                    let (partition, tag, len) = (self.rng.below(2) as u8, self.rng.below(40) as u8, self.rng.size(50));
                    self.append(partition, tag, len);
                    self.commit(usize::from(partition), 1);
                }
                3 => self.batch(0, &[3, 0, 17]),
                4 => self.commit(0, 1),
                5 => self.commit(1, 2),
                6 => self.commit(2, 3),
                _ => {
                    let (_, next) = self.log.span(0).unwrap();
                    self.log.trim(0, Offset::new(next.value().saturating_sub(4))).unwrap();
                    self.did();
                }
            }
            self.commit(0, 3);
            self.commit(2, 2);
        }
    }
}

/// The same journals again and again. Round 0 is kept in files.
pub(crate) fn make(kind: &'static str, unit: u32, round: u64) -> Golden {
    made(kind, unit, round, ID)
}

/// The same operations in another journal.
pub(crate) fn foreign(kind: &'static str, unit: u32) -> Golden {
    made(kind, unit, 0, 0x1112_1314_1516_1718)
}

fn made(kind: &'static str, unit: u32, round: u64, id: u64) -> Golden {
    let log: Log = Journal::format(blank(unit), JournalConfig::new(id).with_partitions(2)).unwrap();
    let mut maker = Maker { log, rng: Rng::new(id ^ round), history: Vec::new(), stale: Vec::new() };
    maker.did();
    for which in [0, 1, 3, 2] {
        maker.join(which);
        if which == 3 {
            let cursor = maker.log.find(1, "gone").unwrap();
            maker.log.leave(cursor).unwrap();
            maker.did();
        }
    }
    // More than a lap.
    for lap in 0..34 {
        maker.append(lap % 2, lap * 7, [0, 1, 33, 64, 20][usize::from(lap % 5)]);
        if lap % 3 == 0 {
            maker.batch(0, &[5, 0, 12]);
        }
        if lap > 2 {
            maker.commit(0, if lap % 4 == 0 { 3 } else { 2 });
            maker.commit(1, 1);
            maker.commit(2, 1 + u64::from(lap % 3));
        }
    }
    maker.random(round.min(1) * (5 + round % 20));
    let (_, next) = maker.log.span(1).unwrap();
    maker.log.trim(1, Offset::new(next.value() - 2)).unwrap();
    maker.did();
    match kind {
        "refreshed" => {
            maker.append(0, 7, 21);
            maker.log = Journal::open(maker.log.into_store()).unwrap();
            maker.commit(0, 1);
            maker.append(1, 200, 9);
            maker.commit(1, 1);
        }
        "salvaged" => {
            maker.append(0, 1, 24);
            maker.append(0, 2, 24);
            maker.append(0, 3, 4);
            // All three in the newest segment.
            while maker.log.store().writes.iter().rev().take(3).any(|(_, at, _)| *at == 0) {
                maker.append(0, 3, 4);
            }
            let mut store = maker.log.into_store();
            // The record before the last two.
            let (segment, at, _) = store.writes[store.writes.len() - 3].clone();
            let at = store.at(segment, at);
            store.bytes[at + 1] ^= 0x20;
            let mut log: Log = Journal::open(store).unwrap();
            assert!(log.recovery().damage.is_some());
            assert_eq!(log.salvage(), Ok(1));
            maker.log = log;
            maker.did();
            // What is behind the gap is all that is kept.
            maker.commit(0, 99);
            maker.commit(2, 99);
            maker.append(0, 4, 10);
            maker.append(1, 4, 30);
            maker.commit(1, 1);
        }
        _ => {
            maker.append(0, 255, 70);
            maker.commit(0, 1);
        }
    }
    let before = maker.history.last().unwrap().clone();
    let written = maker.log.store().writes.len();
    maker.append(0, 6, 13);
    let (segment, from, bytes) = maker.log.store().writes[written..].last().unwrap().clone();
    let last = (segment, from, from + bytes.len() as u32);
    if kind == "closed" {
        let store = maker.log.close().unwrap();
        maker.log = Journal::open(store).unwrap();
    }
    let contents = look(&maker.log);
    let mut records = BTreeMap::new();
    for moment in maker.history.iter().chain([&contents]) {
        for (key, record) in &moment.records {
            assert_eq!(records.entry(*key).or_insert_with(|| record.clone()), record);
        }
    }
    let Maker { log, history, stale, .. } = maker;
    let mut image = log.into_store();
    let (writes, erased) = (std::mem::take(&mut image.writes), std::mem::take(&mut image.erased));
    let mut all = stale;
    all.extend(erased);
    all.sort();
    all.dedup();
    // Headers are the writes at the start of a segment.
    let header = writes.iter().rev().find(|(_, at, _)| *at == 0).unwrap();
    let (newest, header) = (header.0, header.2.len());
    Golden { kind, unit, image, contents, before, last, history, records, stale: all, writes, newest, header }
}
