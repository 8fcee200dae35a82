//! What a journal should hold: plain queues, which change by a whole operation at a time.

use crate::chip::Chip;
use crate::flash::Flash;
use fabric_mq::Offset;
use fabric_mq::durable::{CursorId, FetchError, Journal, JournalConfig, NorStore, OpenError, StoreError};

pub(crate) const PARTITIONS: usize = 2;
pub(crate) const CURSORS: usize = 3;
pub(crate) const ID: u64 = 0x1122_3344_5566_7788;

pub(crate) type Log<const W: usize, const E: usize> = Journal<NorStore<Chip<W, E>>, PARTITIONS, CURSORS>;

/// Cursors that workloads know, by partition and name.
pub(crate) const NAMES: [(u8, &str); 4] = [(0, "a"), (1, "b"), (0, "slow-one"), (1, "one-with-a-rather-long-name")];

/// As large as it can be.
pub(crate) const LARGEST: usize = usize::MAX;

/// What is done to a journal. Cursors are numbers into `NAMES`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Append(u8, usize),
    Batch(u8, &'static [usize]),
    /// Commits one more record, if there is one.
    Step(usize),
    /// Commits so many more.
    Commit(usize, u64),
    /// Commits back by so many.
    Reset(usize, u64),
    /// Gives up all but so many.
    Trim(u8, u64),
    Join(usize),
    Leave(usize),
    /// Reads so many records.
    Read(usize, u64),
    Sync,
    /// Closes and opens.
    Close,
    /// Opens without closing.
    Crash,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Record {
    len: usize,
    tag: u8,
    /// What its bytes are made of.
    salt: u32,
}

impl Record {
    fn byte(self, at: usize) -> u8 {
        (self.salt as usize * 37 + at * 7 + self.len) as u8
    }

    fn body(self) -> Vec<u8> {
        (0..self.len).map(|at| self.byte(at)).collect()
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    /// First offset, and the one behind the last, by partition.
    pub(crate) spans: [(u64, u64); PARTITIONS],
    /// Where each of `NAMES` has committed, of those that there are.
    pub(crate) cursors: [Option<u64>; NAMES.len()],
    records: [Vec<Record>; PARTITIONS],
    salt: u32,
    /// Whether room was so short that the reserve was used: its segments are, back and forth.
    pub(crate) tight: bool,
    /// Records that were under way when power was cut, and looked whole: their last unit may not last.
    pub(crate) loose: Vec<(u8, u64)>,
}

impl Model {
    fn head(&mut self, partition: u8) {
        let of = |(_, name): &(usize, &(u8, &str))| name.0 == partition;
        let slowest = NAMES.iter().enumerate().filter(of).filter_map(|(which, _)| self.cursors[which]).min();
        let span = &mut self.spans[usize::from(partition)];
        if let Some(slowest) = slowest {
            span.0 = span.0.max(slowest.min(span.1));
        }
    }

    fn push(&mut self, partition: u8, record: Record) {
        self.records[usize::from(partition)].push(record);
        self.spans[usize::from(partition)].1 += 1;
    }

    fn new_record(&mut self, len: usize) -> Record {
        self.salt += 1;
        Record { len, tag: (self.salt * 5) as u8, salt: self.salt }
    }

    /// Another run: what it writes differs from what this one did.
    pub(crate) fn salted(&self, salt: u32) -> Self {
        Self { salt: self.salt + 1000 * salt, ..self.clone() }
    }

    /// For a message.
    pub(crate) fn state(&self) -> String {
        format!("{:?} {:?} {:?}", self.spans, self.cursors, self.loose)
    }

    /// Something was acknowledged: records that can be read now have been copied.
    pub(crate) fn firm(&mut self, bad: &[(u8, u64)]) {
        let cursors = self.cursors;
        let is_read = |partition| NAMES.iter().zip(cursors).any(|((of, _), at)| *of == partition && at.is_some());
        self.loose.retain(|loose| bad.contains(loose) || !is_read(loose.0));
    }

    /// Whether a journal says that it is here.
    pub(crate) fn agrees<const W: usize, const E: usize>(&self, log: &Log<W, E>) -> bool {
        let spans = (0..PARTITIONS).all(|partition| {
            let (head, next) = log.span(partition as u8).expect("a partition");
            (head.value(), next.value()) == self.spans[partition]
        });
        spans
            && NAMES.iter().zip(self.cursors).all(|((partition, name), committed)| {
                log.find(*partition, name).and_then(|cursor| log.committed(cursor)).map(Offset::value) == committed
            })
    }

    /// What an operation that was cut may leave, if not nothing.
    pub(crate) fn loosened(&self, before: &Self) -> Self {
        let mut loose = self.clone();
        for partition in 0..PARTITIONS {
            let next = self.spans[partition].1;
            if next > before.spans[partition].1 {
                loose.loose.push((partition as u8, next - 1));
            }
        }
        loose
    }
}

pub(crate) fn shown<const W: usize, const E: usize>(log: &Log<W, E>) -> String {
    let spans: Vec<_> = (0..PARTITIONS).map(|partition| log.span(partition as u8)).collect();
    let cursors: Vec<_> = NAMES
        .iter()
        .map(|(partition, name)| log.find(*partition, name).and_then(|cursor| log.committed(cursor)))
        .collect();
    // The numbers that the segments' first bytes say.
    let image = log.store().flash().flash.image();
    let numbers: Vec<_> =
        image.chunks(E).map(|segment| i32::from_le_bytes(segment[..4].try_into().expect("4 bytes"))).collect();
    format!("{spans:?} {cursors:?} {:?} segments {numbers:?}", log.recovery())
}

fn cursor<const W: usize, const E: usize>(log: &Log<W, E>, which: usize) -> CursorId {
    let (partition, name) = NAMES[which];
    log.find(partition, name).expect("a cursor")
}

/// Reads on from where the cursor is, and compares with the model up to `to`.
fn read_on<const W: usize, const E: usize>(
    log: &mut Log<W, E>,
    model: &Model,
    which: usize,
    from: u64,
    to: u64,
    bad: &mut Vec<(u8, u64)>,
) {
    let (partition, _) = NAMES[which];
    let cursor = cursor(log, which);
    let mut buffer = [0; 2048];
    let mut at = from;
    while at < to {
        match log.next(cursor, &mut buffer) {
            Ok(Some(record)) => {
                let wanted = model.records[usize::from(partition)][at as usize];
                assert_eq!(record.offset().value(), at, "another offset");
                assert_eq!((record.tag(), record.body().len()), (wanted.tag, wanted.len), "offset {at}");
                let same = record.body().iter().enumerate().all(|(at, byte)| *byte == wanted.byte(at));
                assert!(same, "other bytes at offset {at} of partition {partition}");
                at += 1;
            }
            Err(FetchError::Damaged { offset, .. }) if model.loose.contains(&(partition, offset.value())) => {
                assert_eq!(offset.value(), at);
                bad.push((partition, at));
                let lost = log.skip_damage(cursor).expect("a way on");
                assert_eq!(lost, 1, "passing offset {at} lost more than that");
                at += 1;
            }
            other => {
                panic!("reading offset {at} of {from}..{to} of partition {partition} by {}: {other:?}", NAMES[which].1)
            }
        }
    }
}

/// Reads everything by every cursor. Answers which of the loose records could not be read.
pub(crate) fn read_all<const W: usize, const E: usize>(log: &mut Log<W, E>, model: &Model) -> Vec<(u8, u64)> {
    let mut bad = Vec::new();
    for (which, committed) in model.cursors.iter().enumerate() {
        let Some(committed) = *committed else { continue };
        let (head, next) = model.spans[usize::from(NAMES[which].0)];
        let id = cursor(log, which);
        // As a consumer does that was just started.
        let stands = log.position(id).expect("a position").value();
        if stands >= head {
            read_on(log, model, which, stands, next, &mut bad);
            let mut buffer = [0; 2048];
            assert_eq!(log.next(id, &mut buffer), Ok(None), "behind the last record");
        } else {
            let mut buffer = [0; 2048];
            assert_eq!(log.next(id, &mut buffer), Err(FetchError::Trimmed { lost: head - stands }));
        }
        if stands > head || committed < head {
            log.seek(id, Offset::new(head)).expect("a way to the oldest record");
            read_on(log, model, which, head, next, &mut bad);
        }
    }
    bad
}

/// Reads what can be read of a journal of which a part is gone. What is read is right, and in order; what is not is told.
pub(crate) fn read_some<const W: usize, const E: usize>(log: &mut Log<W, E>, model: &Model) {
    for (which, _) in model.cursors.iter().enumerate().filter(|(_, committed)| committed.is_some()) {
        let (cursor, partition) = (cursor(log, which), usize::from(NAMES[which].0));
        let mut buffer = [0; 2048];
        let mut told = 0;
        let mut at = model.spans[partition].0.max(log.position(cursor).expect("a position").value());
        loop {
            match log.next(cursor, &mut buffer) {
                Ok(Some(record)) => {
                    let offset = record.offset().value();
                    let wanted = model.records[partition][offset as usize];
                    assert!(offset >= at && offset < model.spans[partition].1, "offset {offset} behind {at}");
                    assert_eq!(record.body(), wanted.body(), "offset {offset}");
                    at = offset + 1;
                }
                Ok(None) => break,
                Err(FetchError::Trimmed { .. }) => {
                    log.seek(cursor, Offset::new(at)).expect("a way to the oldest record")
                }
                Err(FetchError::Damaged { .. }) => {
                    told += log.skip_damage(cursor).expect("a way on");
                    assert!(told <= model.spans[partition].1, "the same damage again and again");
                }
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}

/// Reads that opening may take: a few labels, all of them where the newest header does not verify, that header and its
/// neighbours', and each unit of the newest segment.
fn most_reads<const W: usize, const E: usize>(flash: &Flash<W, E>) -> u64 {
    let segments = (flash.image().len() / E) as u64;
    let units = (E / W.max(4)) as u64;
    7 * segments + 4 * units + 100
}

/// Opens a journal: within a bounded number of reads, and without writing anything.
pub(crate) fn open<const W: usize, const E: usize>(chip: Chip<W, E>) -> Result<Log<W, E>, OpenError> {
    let (most, before) = (most_reads(&chip.flash), chip.flash.counters().clone());
    let log = Journal::open(NorStore::whole(chip).expect("a whole flash"))?;
    let after = log.store().flash().flash.counters();
    let reads = after.reads - before.reads;
    assert!(reads <= most, "{reads} reads to open, of at most {most}");
    assert_eq!((after.programs, &after.erases), (before.programs, &before.erases), "opening wrote");
    assert_eq!(log.recovery().damage, None, "a cut was taken for damage: {}", shown(&log));
    assert_eq!(log.id(), ID);
    Ok(log)
}

pub(crate) fn format<const W: usize, const E: usize>(chip: Chip<W, E>) -> Log<W, E> {
    let config = JournalConfig::new(ID).with_partitions(PARTITIONS);
    Journal::format(NorStore::whole(chip).expect("a whole flash"), config).expect("a format")
}

pub(crate) fn into_chip<const W: usize, const E: usize>(log: Log<W, E>) -> Chip<W, E> {
    log.into_store().into_flash()
}

/// What became of an operation.
fn done(result: Result<(), StoreError>) -> Result<bool, StoreError> {
    match result {
        Ok(()) => Ok(true),
        Err(StoreError::Full) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Does an operation, and notes in the model what it does when it is whole.
pub(crate) fn play<const W: usize, const E: usize>(
    log: Log<W, E>,
    model: &mut Model,
    op: Op,
) -> Result<Log<W, E>, StoreError> {
    let mut log = log;
    match op {
        Op::Append(partition, len) => {
            let len = if len == LARGEST { log.max_body() } else { len.min(log.max_body()) };
            let mut after = model.clone();
            let record = after.new_record(len);
            let body = record.body();
            let (front, back) = body.split_at(len / 3);
            let next = model.spans[usize::from(partition)].1;
            let result = log.append(partition, record.tag, &[front, back]);
            if done(result.map(|offset| assert_eq!(offset.value(), next)))? {
                after.push(partition, record);
                *model = after;
            }
        }
        Op::Batch(partition, lens) => {
            let mut after = model.clone();
            let tag = (model.salt * 11) as u8;
            let records: Vec<_> = lens.iter().map(|len| Record { tag, ..after.new_record(*len) }).collect();
            let bodies: Vec<_> = records.iter().map(|record| record.body()).collect();
            let bodies: Vec<_> = bodies.iter().map(Vec::as_slice).collect();
            if done(log.append_batch(partition, tag, &bodies).map(|_| ()))? {
                records.into_iter().for_each(|record| after.push(partition, record));
                *model = after;
            }
        }
        Op::Step(which) | Op::Commit(which, _) | Op::Reset(which, _) => {
            let (partition, _) = NAMES[which];
            let Some(committed) = model.cursors[which] else { return Ok(log) };
            let (head, next) = model.spans[usize::from(partition)];
            let id = cursor(&log, which);
            let to = match op {
                Op::Reset(_, back) => committed.saturating_sub(back).clamp(head, next),
                Op::Commit(_, count) => committed.saturating_add(count).min(next),
                _ => (committed + 1).min(next),
            };
            let result = match op {
                Op::Reset(..) => log.reset(id, Offset::new(to)),
                _ => log.commit(id, Offset::new(to)),
            };
            // However full it is.
            result?;
            model.cursors[which] = Some(to);
            model.head(partition);
        }
        Op::Trim(partition, keep) => {
            let span = model.spans[usize::from(partition)];
            let head = span.0.max(span.1.saturating_sub(keep));
            log.trim(partition, Offset::new(head))?;
            model.spans[usize::from(partition)].0 = head;
        }
        Op::Join(which) => {
            let (partition, name) = NAMES[which];
            if model.cursors[which].is_none() && model.cursors.iter().flatten().count() == CURSORS {
                assert_eq!(log.join(partition, name), Err(StoreError::Cursors { max: CURSORS }));
            } else {
                log.join(partition, name)?;
                let head = model.spans[usize::from(partition)].0;
                model.cursors[which].get_or_insert(head);
            }
        }
        Op::Leave(which) => {
            if model.cursors[which].is_some() {
                let id = cursor(&log, which);
                log.leave(id)?;
                model.cursors[which] = None;
                model.head(NAMES[which].0);
            }
        }
        Op::Read(which, count) => {
            if model.cursors[which].is_some() {
                let id = cursor(&log, which);
                let (head, next) = model.spans[usize::from(NAMES[which].0)];
                let stands = log.position(id).expect("a position").value();
                if stands >= head {
                    read_on(&mut log, model, which, stands, next.min(stands + count), &mut Vec::new());
                }
            }
        }
        Op::Sync => log.sync()?,
        Op::Close => {
            let wrote = log.stats().programmed != 0;
            log = open(log.close()?.into_flash()).expect("a journal");
            // What was only read is as it was.
            assert!(log.recovery().clean || !wrote, "closed, and not found so");
        }
        Op::Crash => log = open(into_chip(log)).expect("a journal"),
    }
    model.tight |= log.stats().free_segments == 0;
    assert!(model.agrees(&log), "behind {op:?}: {} is not {:?}", shown(&log), model.state());
    Ok(log)
}
