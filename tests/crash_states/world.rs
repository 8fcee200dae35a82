//! What a journal on files may hold after anything went wrong: a workload, the states it goes through, and the check that
//! what is found is one of those that may be.

use super::common::Rng;
use super::disk::{Choose, FaultyDisk};
use fabric_mq::Offset;
use fabric_mq::durable::{
    FetchError, FileConfig, FileStore, Journal, JournalConfig, MediumError, OpenError, StoreError,
};
use std::fmt;

/// Partitions, and names that cursors have.
pub(crate) const PARTITIONS: usize = 2;
pub(crate) const NAMES: [(u8, &str); 3] = [(0, "a"), (1, "b"), (0, "slow-one")];
/// Of the shape whose headers are longer than a sector: so many others with long names.
pub(crate) const OTHERS: usize = 7;

pub(crate) type Log<const C: usize> = Journal<FileStore<FaultyDisk>, PARTITIONS, C>;

/// The files below a journal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) segments: u32,
    pub(crate) segment_bytes: u32,
    pub(crate) buffer: usize,
    pub(crate) window: usize,
    /// Cursors that only make headers long.
    pub(crate) others: usize,
}

impl Shape {
    pub(crate) fn config(&self) -> FileConfig {
        FileConfig::new()
            .with_segments(self.segments)
            .with_segment_bytes(self.segment_bytes)
            .with_buffer_bytes(self.buffer)
            .with_window_bytes(self.window)
    }
}

/// What is done to a journal.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Append(u8, usize),
    Batch(u8, Vec<usize>),
    Commit(usize, u64),
    Read(usize),
    Trim(u8, u64),
    Join(usize),
    Leave(usize),
    Sync,
    Close,
    /// The store is dropped as it is, and opened again.
    Reopen,
}

/// What can be seen of a journal besides its records.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct View {
    pub(crate) spans: [(u64, u64); PARTITIONS],
    pub(crate) cursors: [Option<u64>; NAMES.len()],
    pub(crate) others: usize,
}

impl View {
    const EMPTY: Self = Self { spans: [(0, 0); PARTITIONS], cursors: [None; NAMES.len()], others: 0 };

    pub(crate) fn of<const C: usize>(log: &Log<C>) -> Self {
        let span = |partition| log.span(partition).map(|(head, next)| (head.value(), next.value())).unwrap();
        let committed = |(partition, name)| log.committed(log.find(partition, name)?).map(Offset::value);
        let others = (0..OTHERS).filter(|other| log.find(1, &long_name(*other)).is_some()).count();
        Self { spans: [span(0), span(1)], cursors: NAMES.map(committed), others }
    }

    /// What all cursors of a partition are done with is given up.
    fn release(&mut self, partition: u8) {
        let held = (0..NAMES.len()).filter(|cursor| NAMES[*cursor].0 == partition);
        let others = (partition == 1 && self.others != 0).then_some(0);
        if let Some(slowest) = held.filter_map(|cursor| self.cursors[cursor]).chain(others).min() {
            let span = &mut self.spans[usize::from(partition)];
            span.0 = span.0.max(slowest.min(span.1));
        }
    }
}

fn long_name(other: usize) -> String {
    format!("{other}{}", "long".repeat(15))
}

/// The states a journal may be found in, and what its records are.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    /// Length of each record, and in which life it was written.
    records: [Vec<(usize, u8)>; PARTITIONS],
    /// The last one that was acknowledged, and those after it. None: there may be no journal yet.
    pub(crate) views: Vec<View>,
    /// Whether it was acknowledged that there is one.
    is_made: bool,
    life: u8,
    /// Whether a medium with faults may tell errors of what is there.
    pub(crate) is_faulty: bool,
    /// Nothing that a disk tells is true once it has stopped.
    disk: FaultyDisk,
}

/// What each record holds: nothing of an earlier life passes for it.
pub(crate) fn body(partition: u8, offset: u64, (len, life): (usize, u8)) -> Vec<u8> {
    let byte =
        |at: usize| (offset as usize * 31 + at * 7 + usize::from(partition) * 101 + usize::from(life) * 57) as u8;
    (0..len).map(byte).collect()
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// All was done; the journal was dropped.
    Done,
    /// Something failed, and was told.
    Failed,
}

impl Model {
    pub(crate) fn new(disk: &FaultyDisk) -> Self {
        let disk = disk.clone();
        Self { records: Default::default(), views: Vec::new(), is_made: false, life: 0, is_faulty: false, disk }
    }

    fn now(&self) -> View {
        self.views.last().unwrap().clone()
    }

    fn acknowledged(&mut self) {
        self.views.drain(..self.views.len() - 1);
    }

    /// From here on it is known what there is.
    fn settle(&mut self, found: View) {
        for (records, span) in self.records.iter_mut().zip(found.spans) {
            records.truncate(span.1 as usize);
        }
        self.views = vec![found];
        self.is_made = true;
        self.life += 1;
    }

    /// Notes what a call has answered: `after` is how things stand if it was done. Whether the journal goes on.
    fn note<R>(&mut self, after: View, done: &Result<R, StoreError>, case: &Case) -> bool {
        match done {
            Ok(_) => self.views.push(after),
            Err(StoreError::Full | StoreError::Medium(MediumError::NoSpace)) => self.forget_unwritten(),
            Err(StoreError::Medium(_)) => {
                // It may have been stored all the same.
                self.views.push(after);
                return false;
            }
            Err(other) => panic!("{case}: {other}"),
        }
        true
    }

    fn forget_unwritten(&mut self) {
        let now = self.now();
        for (records, span) in self.records.iter_mut().zip(now.spans) {
            records.truncate(span.1 as usize);
        }
    }

    /// Reads everything there is.
    pub(crate) fn read_all<const C: usize>(&self, log: &mut Log<C>, case: &Case) {
        let mut buffer = [0; 4096];
        for (partition, name) in NAMES {
            let Some(cursor) = log.find(partition, name) else { continue };
            let (head, next) = log.span(partition).unwrap();
            log.seek(cursor, head).unwrap_or_else(|error| panic!("{case}: {error}"));
            for offset in head.value()..next.value() {
                let record = log.next(cursor, &mut buffer).unwrap_or_else(|error| panic!("{case}: {error}"));
                let record = record.unwrap_or_else(|| panic!("{case}: no record {offset} of {partition}"));
                assert_eq!(record.offset().value(), offset, "{case}");
                let known = self.records[usize::from(partition)][offset as usize];
                assert_eq!(record.body(), body(partition, offset, known), "{case}: {offset} of {partition}");
            }
            assert_eq!(log.next(cursor, &mut buffer), Ok(None), "{case}");
        }
    }

    /// Does one thing. Whether the journal goes on.
    fn act<const C: usize>(&mut self, log: &mut Log<C>, act: &Act, case: &Case) -> bool {
        let mut after = self.now();
        match act {
            Act::Append(partition, len) => {
                let records = &mut self.records[usize::from(*partition)];
                let (offset, record) = (records.len() as u64, (*len, self.life));
                records.push(record);
                after.spans[usize::from(*partition)].1 += 1;
                let done = log.append(*partition, 3, &[&body(*partition, offset, record)]);
                assert!(done.is_err() || done == Ok(Offset::new(offset)), "{case}");
                self.note(after, &done, case)
            }
            Act::Batch(partition, lens) => {
                let records = &mut self.records[usize::from(*partition)];
                let first = records.len() as u64;
                records.extend(lens.iter().map(|len| (*len, self.life)));
                after.spans[usize::from(*partition)].1 += lens.len() as u64;
                let bodies: Vec<Vec<u8>> =
                    (first..).zip(lens).map(|(o, l)| body(*partition, o, (*l, self.life))).collect();
                let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
                let done = log.append_batch(*partition, 3, &bodies);
                self.note(after, &done, case)
            }
            Act::Commit(cursor, by) => {
                let (partition, name) = NAMES[*cursor];
                let Some(committed) = after.cursors[*cursor] else { return true };
                let to = (committed + by).min(after.spans[usize::from(partition)].1);
                after.cursors[*cursor] = Some(to);
                after.release(partition);
                let id = log.find(partition, name).unwrap();
                let done = log.commit(id, Offset::new(to));
                assert_ne!(done, Err(StoreError::Full), "{case}: a commit");
                self.note(after, &done, case)
            }
            Act::Read(cursor) => {
                let (partition, name) = NAMES[*cursor];
                let Some(id) = log.find(partition, name) else { return true };
                match log.next(id, &mut [0; 4096]) {
                    Ok(Some(record)) => {
                        let offset = record.offset().value();
                        let known = self.records[usize::from(partition)][offset as usize];
                        assert_eq!(record.body(), body(partition, offset, known), "{case}");
                    }
                    Ok(None) | Err(FetchError::Trimmed { .. }) => {}
                    Err(FetchError::Medium(_) | FetchError::Damaged { .. })
                        if self.is_faulty || self.disk.is_stopped() => {}
                    Err(other) => panic!("{case}: {other}"),
                }
                true
            }
            Act::Trim(partition, by) => {
                let span = &mut after.spans[usize::from(*partition)];
                span.0 = (span.0 + by).min(span.1);
                let done = log.trim(*partition, Offset::new(span.0));
                self.note(after, &done, case)
            }
            Act::Join(cursor) => {
                let (partition, name) = NAMES[*cursor];
                if after.cursors[*cursor].is_none() {
                    after.cursors[*cursor] = Some(after.spans[usize::from(partition)].0);
                }
                let done = log.join(partition, name);
                self.note(after, &done, case)
            }
            Act::Leave(cursor) => {
                let (partition, name) = NAMES[*cursor];
                let Some(id) = log.find(partition, name) else { return true };
                after.cursors[*cursor] = None;
                after.release(partition);
                let done = log.leave(id);
                self.note(after, &done, case)
            }
            Act::Sync => {
                let done = log.sync();
                if done.is_ok() {
                    self.acknowledged();
                }
                match done {
                    Ok(()) => true,
                    Err(StoreError::Medium(_)) => false,
                    Err(other) => panic!("{case}: {other}"),
                }
            }
            Act::Close | Act::Reopen => unreachable!("not on an open journal"),
        }
    }

    /// Joins the cursors that make headers long.
    fn join_others<const C: usize>(&mut self, log: &mut Log<C>, shape: &Shape, case: &Case) -> bool {
        (0..shape.others).all(|other| {
            let mut after = self.now();
            after.others += 1;
            let done = log.join(1, &long_name(other));
            self.note(after, &done, case)
        })
    }

    /// Does all of a workload, as far as it goes.
    pub(crate) fn run<const C: usize>(&mut self, disk: &FaultyDisk, shape: &Shape, acts: &[Act], case: &Case) -> End {
        let Ok(store) = FileStore::on(disk.clone(), shape.config()) else { return End::Failed };
        let config = JournalConfig::new(7).with_partitions(PARTITIONS);
        let mut log = match Log::<C>::format(store, config) {
            Ok(log) => log,
            Err(OpenError::Medium(_)) => return End::Failed,
            Err(other) => panic!("{case}: {other}"),
        };
        self.settle(View::EMPTY);
        if !self.join_others(&mut log, shape, case) {
            return self.failed(log, case);
        }
        for act in acts {
            if matches!(act, Act::Close | Act::Reopen) {
                let mut is_clean = false;
                if matches!(act, Act::Close) {
                    // Where nothing was written, nothing is.
                    is_clean = log.stats().programmed != 0;
                    if log.close().is_err() {
                        return End::Failed;
                    }
                    self.acknowledged();
                } else {
                    drop(log);
                }
                log = match self.reopened(disk, shape, case) {
                    Some(log) => log,
                    None => return End::Failed,
                };
                assert!(log.recovery().clean || !is_clean || self.is_faulty, "{case}: {:?}", log.recovery());
            } else if !self.act(&mut log, act, case) {
                return self.failed(log, case);
            }
        }
        End::Done
    }

    /// A journal that has failed tells so whatever it is asked, and acknowledges nothing.
    fn failed<const C: usize>(&self, mut log: Log<C>, case: &Case) -> End {
        let poisoned = StoreError::Medium(MediumError::Poisoned);
        for _ in 0..2 {
            assert_eq!(log.sync(), Err(poisoned), "{case}");
            assert_eq!(log.append(0, 0, &[b"later"]), Err(poisoned), "{case}");
            assert_eq!(log.append_batch(1, 0, &[b"later", b"too"]), Err(poisoned), "{case}");
        }
        assert!(log.close().is_ok(), "{case}: the store is given back");
        End::Failed
    }

    /// Opens a journal whose process was not killed. Faults of this very moment are told, and gone when it is tried again.
    fn reopened<const C: usize>(&mut self, disk: &FaultyDisk, shape: &Shape, case: &Case) -> Option<Log<C>> {
        for _ in 0..4 {
            let opened = FileStore::on(disk.clone(), shape.config()).map_err(OpenError::from).and_then(Log::<C>::open);
            match opened {
                Ok(log) if log.recovery().damage.is_none() => {
                    let found = View::of(&log);
                    assert!(self.views.contains(&found), "{case}: found {found:?}, expected of {:#?}", self.views);
                    self.settle(found);
                    return Some(log);
                }
                Ok(_) | Err(OpenError::Medium(_)) if self.is_faulty => {}
                Ok(_) | Err(OpenError::Medium(_)) if disk.is_stopped() => return None,
                Ok(log) => panic!("{case}: {:?}", log.recovery()),
                Err(other) => panic!("{case}: {other}"),
            }
            if disk.is_stopped() {
                return None;
            }
        }
        panic!("{case}: it cannot be opened")
    }
}

/// What is lost is lost, of everything.
pub(crate) struct Nothing;

impl Choose for Nothing {
    fn choose(&mut self, _: u64) -> u64 {
        0
    }
}

pub(crate) fn open<const C: usize>(disk: &FaultyDisk, shape: &Shape) -> Result<Log<C>, OpenError> {
    Log::open(FileStore::on(disk.clone(), shape.config())?)
}

/// After a crash: what is found may be, it is the same when it is looked for again, and the journal goes on.
pub(crate) fn survive<const C: usize>(disk: &FaultyDisk, shape: &Shape, model: &Model, case: &Case) {
    let mut model = model.clone();
    let mut log = match open::<C>(disk, shape) {
        Ok(log) => log,
        Err(OpenError::None) if !model.is_made => {
            let store = FileStore::on(disk.clone(), shape.config()).unwrap();
            let mut log = Log::<C>::format(store, JournalConfig::new(7).with_partitions(PARTITIONS)).unwrap();
            log.append(0, 0, &[b"first"]).unwrap();
            log.sync().unwrap();
            return;
        }
        Err(other) => panic!("{case}: {other}"),
    };
    assert_eq!(log.recovery().damage, None, "{case}: a crash is no damage");
    let found = View::of(&log);
    if model.views.is_empty() {
        model.views.push(View::EMPTY);
    }
    assert!(model.views.contains(&found), "{case}: found {found:?}, expected of {:#?}", model.views);
    model.read_all(&mut log, case);
    drop(log);
    // What was read once stays, whatever happens now.
    disk.power_cut(&mut Nothing);
    let mut log = open::<C>(disk, shape).unwrap_or_else(|error| panic!("{case}: again: {error}"));
    assert_eq!(View::of(&log), found, "{case}: again");
    assert_eq!(log.recovery().damage, None, "{case}: again");
    model.settle(found);
    go_on(&mut log, &mut model, case);
    drop(log);
    disk.power_cut(&mut Nothing);
    let mut log = open::<C>(disk, shape).unwrap_or_else(|error| panic!("{case}: after going on: {error}"));
    assert_eq!(log.recovery().damage, None, "{case}: after going on");
    assert_eq!(View::of(&log), model.now(), "{case}: after going on");
    model.read_all(&mut log, case);
}

/// Opens what a crash left and goes on, as far as that goes; `model` then knows what may be there.
pub(crate) fn resume(disk: &FaultyDisk, shape: &Shape, model: &mut Model, case: &Case) {
    if shape.others == 0 {
        resume_log::<3>(disk, shape, model, case)
    } else {
        resume_log::<10>(disk, shape, model, case)
    }
}

fn resume_log<const C: usize>(disk: &FaultyDisk, shape: &Shape, model: &mut Model, case: &Case) {
    let Ok(mut log) = open::<C>(disk, shape) else { return };
    if log.recovery().damage.is_some() {
        assert!(disk.is_stopped(), "{case}: {:?}", log.recovery());
        return;
    }
    let found = View::of(&log);
    assert!(model.views.is_empty() || model.views.contains(&found), "{case}: found {found:?}");
    model.settle(found);
    if model.now().cursors[0].is_none() && !model.act(&mut log, &Act::Join(0), case) {
        return;
    }
    for act in [Act::Append(0, 40), Act::Sync, Act::Commit(0, 1), Act::Append(1, 9), Act::Sync] {
        if !model.act(&mut log, &act, case) {
            return;
        }
    }
}

/// Makes room, commits, appends, syncs.
pub(crate) fn go_on<const C: usize>(log: &mut Log<C>, model: &mut Model, case: &Case) {
    if model.now().cursors[0].is_none() {
        assert!(model.act(log, &Act::Join(0), case));
    }
    for act in [Act::Append(0, 33), Act::Commit(0, 1), Act::Append(1, 5), Act::Sync] {
        assert!(model.act(log, &act, case), "{case}: it does not go on: {act:?}");
    }
}

/// Which case of all it is: enough to do it again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Case(pub(crate) String);

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A workload of so many acts.
pub(crate) fn workload(seed: u64, acts: usize, largest: u64) -> Vec<Act> {
    let mut rng = Rng::new(seed);
    let mut list = vec![Act::Join(0), Act::Join(1)];
    if seed.is_multiple_of(3) {
        list.push(Act::Join(2));
    }
    while list.len() < acts {
        let partition = rng.below(2) as u8;
        list.push(match rng.below(100) {
            0..40 => Act::Append(partition, [0, 3, 17, 60, 150][rng.below(5) as usize].min(largest as usize)),
            40..44 => Act::Append(partition, rng.within(largest / 2, largest) as usize),
            44..52 => Act::Batch(partition, (0..rng.within(1, 3)).map(|_| rng.below(50) as usize).collect()),
            52..72 => Act::Commit(rng.below(3) as usize, [1, 1, 1, 2, 5][rng.below(5) as usize]),
            72..78 => Act::Read(rng.below(3) as usize),
            78..80 => Act::Trim(partition, rng.within(1, 3)),
            80..82 => Act::Leave(2),
            82..84 => Act::Join(2),
            84..94 => Act::Sync,
            94..97 => Act::Close,
            _ => Act::Reopen,
        });
    }
    list
}
