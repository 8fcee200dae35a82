//! A store of files when calls fail, processes die and the power goes.

use super::common::{Rng, payload, scale};
use super::disk::{Call, Choose, EINTR, EIO, EMFILE, ENOSPC, Fault, FaultyDisk, Odometer, SECTOR};
use super::files::{NoLuck, SMALL};
use fabric_mq::durable::{FileConfig, FileStore, MediumError, Store};
use std::collections::BTreeSet;

const SEGMENTS: usize = 4;
const BYTES: usize = 4096;

/// Everything that was written is there.
struct Luck;
impl Choose for Luck {
    fn choose(&mut self, n: u64) -> u64 {
        n - 1
    }
}

#[derive(Clone, Debug)]
enum Op {
    Erase(u32),
    Program(u32, u32, Vec<u8>),
    Sync,
    Read(u32, u32, usize),
}

/// What may be in the files: of each sector what was synced last, and all that it was since.
#[derive(Clone)]
struct Model {
    now: Vec<Vec<u8>>,
    versions: Vec<Vec<Vec<u8>>>,
}

impl Model {
    fn new() -> Self {
        let mut model = Self { now: vec![vec![0; BYTES]; SEGMENTS], versions: Vec::new() };
        model.synced();
        model
    }

    fn synced(&mut self) {
        self.versions =
            self.now.iter().flat_map(|segment| segment.chunks(SECTOR)).map(|now| vec![now.to_vec()]).collect();
    }

    fn program(&mut self, segment: u32, at: u32, bytes: &[u8]) {
        let (segment, at) = (segment as usize, at as usize);
        self.now[segment][at..at + bytes.len()].copy_from_slice(bytes);
        for nth in at / SECTOR..(at + bytes.len()).div_ceil(SECTOR) {
            let version = self.now[segment][nth * SECTOR..][..SECTOR].to_vec();
            self.versions[segment * BYTES / SECTOR + nth].push(version);
        }
    }

    #[track_caller]
    fn check(&self, found: &[Vec<u8>], what: &dyn std::fmt::Debug) {
        for (nth, (sector, versions)) in
            found.iter().flat_map(|segment| segment.chunks(SECTOR)).zip(&self.versions).enumerate()
        {
            assert!(
                versions.iter().any(|version| version == sector),
                "{what:?}: sector {nth} was lost, or never written so"
            );
        }
    }
}

/// A log that goes round in the segments, with syncs now and then.
fn workload(seed: u64) -> Vec<Op> {
    let rng = &mut Rng::new(seed);
    let mut ops = Vec::new();
    let (mut segment, mut at) = (0, BYTES);
    for step in 0..rng.within(8, 24) {
        let len = 4 * rng.within(1, 220) as usize;
        if at + len > BYTES {
            segment = (segment + 1) % SEGMENTS as u32;
            at = 0;
            ops.push(Op::Erase(segment));
        }
        ops.push(Op::Program(segment, at as u32, payload(seed ^ step << 32, len)));
        at += len;
        match rng.below(4) {
            0 => ops.push(Op::Sync),
            1 => {
                let from = rng.size(BYTES);
                ops.push(Op::Read(rng.below(4) as u32, from as u32, rng.size(BYTES - from)));
            }
            _ => {}
        }
    }
    ops.push(Op::Sync);
    ops
}

fn all<D: fabric_mq::durable::Disk>(store: &mut FileStore<D>) -> Result<Vec<Vec<u8>>, MediumError> {
    (0..SEGMENTS as u32)
        .map(|segment| {
            let mut into = vec![0xcc; BYTES];
            store.read(segment, 0, &mut into).map(|()| into)
        })
        .collect()
}

/// What happened to a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    Done,
    NotOpened(MediumError),
    /// A write or a sync failed.
    Failed(MediumError),
}

/// Does it all, as far as it goes. A full disk is tried again, a failed read is passed over.
fn run(
    disk: &FaultyDisk,
    config: FileConfig,
    ops: &[Op],
    model: &mut Model,
) -> (Outcome, Option<FileStore<FaultyDisk>>) {
    let mut store = match FileStore::on(disk.clone(), config) {
        Ok(store) => store,
        Err(error) => return (Outcome::NotOpened(error), None),
    };
    for op in ops {
        let done = match op {
            Op::Erase(segment) => {
                let tries = || store.erase(*segment);
                std::iter::repeat_with(tries).take(3).find(|done| *done != Err(MediumError::NoSpace)).unwrap()
            }
            Op::Program(segment, at, bytes) => {
                model.program(*segment, *at, bytes);
                store.program(*segment, *at, bytes)
            }
            Op::Sync => store.sync().inspect(|()| model.synced()),
            Op::Read(segment, at, len) => {
                let mut into = vec![0; *len];
                match store.read(*segment, *at, &mut into) {
                    Ok(()) => assert_eq!(into, model.now[*segment as usize][*at as usize..][..*len]),
                    Err(error) => assert!(!matches!(error, MediumError::OutOfBounds | MediumError::Poisoned)),
                }
                Ok(())
            }
        };
        if let Err(error) = done {
            return (Outcome::Failed(error), Some(store));
        }
    }
    (Outcome::Done, Some(store))
}

/// Opens the store, and reads all of it; whatever happened before, both must be possible.
#[track_caller]
fn reopened(disk: &FaultyDisk, what: &dyn std::fmt::Debug) -> (FileStore<FaultyDisk>, Vec<Vec<u8>>) {
    let mut store = FileStore::on(disk.clone(), SMALL).unwrap_or_else(|error| panic!("{what:?}: {error}"));
    let found = all(&mut store).unwrap_or_else(|error| panic!("{what:?}: {error}"));
    (store, found)
}

/// What must hold of a disk whose process is dead, or which had no power: what was synced is there, what is answered stays
/// there, and the store goes on.
#[track_caller]
fn survives(disk: &FaultyDisk, model: &Model, choose: &mut dyn Choose, what: &dyn std::fmt::Debug) {
    for (name, bytes) in disk.files() {
        assert!(!name.ends_with(".seg") || bytes.len() == BYTES, "{what:?}: {name} has {} bytes", bytes.len());
    }
    let (store, found) = reopened(disk, what);
    model.check(&found, what);
    disk.power_cut(choose);
    drop(store);
    let (mut store, again) = reopened(disk, what);
    assert_eq!(found, again, "{what:?}: what was answered is gone");
    let mut model = Model { now: again, versions: Vec::new() };
    model.synced();
    for segment in 0..SEGMENTS as u32 {
        store.erase(segment).unwrap();
        let bytes = payload(segment.into(), 100);
        store.program(segment, 0, &bytes).unwrap();
        model.program(segment, 0, &bytes);
    }
    store.sync().unwrap();
    model.synced();
    disk.power_cut(&mut NoLuck);
    drop(store);
    model.check(&reopened(disk, what).1, what);
}

/// How many calls a workload makes.
fn calls_of(ops: &[Op]) -> u64 {
    let disk = FaultyDisk::new();
    let (outcome, store) = run(&disk, SMALL, ops, &mut Model::new());
    assert_eq!(outcome, Outcome::Done);
    drop(store);
    disk.calls()
}

#[test]
fn interrupted_and_short_calls_are_not_noticed() {
    for seed in 0..4 {
        let ops = workload(seed);
        let calls = calls_of(&ops);
        for (first, second) in (0..calls).flat_map(|first| [(first, first + 1), (first, first * 7 % calls)]) {
            for fault in [Fault::Error(EINTR), Fault::Short] {
                let disk = FaultyDisk::new();
                disk.plan(first, fault);
                disk.plan(second, fault);
                let mut model = Model::new();
                let (outcome, store) = run(&disk, SMALL, &ops, &mut model);
                assert_eq!(outcome, Outcome::Done, "{fault:?} at {first} and {second}");
                assert_eq!(all(&mut store.unwrap()), Ok(model.now.clone()));
                disk.power_cut(&mut NoLuck);
                model.check(&reopened(&disk, &first).1, &fault);
            }
        }
    }
}

/// Runs a workload with these faults, and checks what must hold behind the first that is told.
fn with_faults(ops: &[Op], faults: &[(u64, Fault)], seed: u64) -> Outcome {
    let disk = FaultyDisk::new();
    disk.seed(seed);
    for (at, fault) in faults {
        disk.plan(*at, *fault);
    }
    let mut model = Model::new();
    let (outcome, store) = run(&disk, SMALL, ops, &mut model);
    if let Some(mut store) = store
        && let Outcome::Failed(error) = outcome
    {
        let expected = [EIO, EMFILE, ENOSPC].map(MediumError::Io);
        assert!(expected.contains(&error), "{error:?} {faults:?}");
        // An error that came before anything was to be written poisons nothing, and the store goes on.
        if store.sync().is_ok() {
            model.synced();
        } else {
            for _ in 0..3 {
                assert_eq!(store.program(0, 0, &[1; 4]), Err(MediumError::Poisoned), "{faults:?}");
                assert_eq!(store.erase(0), Err(MediumError::Poisoned));
                assert_eq!(store.sync(), Err(MediumError::Poisoned));
            }
            // Reading goes on. (The second fault may still be to come.)
            let found = all(&mut store).or_else(|_| all(&mut store)).unwrap();
            model.check(&found, &faults);
        }
    }
    let left = disk.image();
    left.kill();
    survives(&left, &model, &mut NoLuck, &faults);
    disk.kill();
    survives(&disk, &model, &mut Rng::new(seed), &faults);
    outcome
}

#[test]
fn every_call_that_fails_is_told_once_and_poisons() {
    let mut told = BTreeSet::new();
    let mut runs = 0_u64;
    for seed in 0..6 * scale() {
        let ops = workload(seed);
        let calls = calls_of(&ops);
        let rng = &mut Rng::new(seed);
        for at in 0..calls {
            for code in [EIO, ENOSPC, EMFILE] {
                let outcome = with_faults(&ops, &[(at, Fault::Error(code))], seed);
                told.insert(format!("{outcome:?}"));
                let second = (rng.within(at, calls + 10), Fault::Error(*rng.pick(&[EIO, ENOSPC, EINTR])));
                with_faults(&ops, &[(at, Fault::Error(code)), second], seed);
                runs += 2;
            }
        }
    }
    println!("passed {runs} failures");
    let wanted =
        ["Done", "Failed(Io(5))", "Failed(Io(28))", "Failed(Io(24))", "NotOpened(Io(5))", "NotOpened(NoSpace)"];
    for wanted in wanted {
        assert!(told.contains(wanted), "{wanted} was never told: {told:?}");
    }
}

#[test]
fn a_sync_that_failed_is_never_made_up_for() {
    for seed in 0..40 {
        let disk = FaultyDisk::new();
        disk.seed(seed);
        let mut store = FileStore::on(disk.clone(), SMALL).unwrap();
        store.program(0, 0, &[1; 2048]).unwrap();
        store.sync().unwrap();
        store.program(0, 0, &[2; 2048]).unwrap();
        // The next one would succeed: the system takes the sectors for clean. The write comes first.
        disk.plan(disk.calls() + u64::from(SMALL.buffer_bytes > 2048), Fault::Error(EIO));
        assert_eq!(store.sync(), Err(MediumError::Io(EIO)));
        assert_eq!(store.sync(), Err(MediumError::Poisoned));
        let mut into = [0; 2048];
        store.read(0, 0, &mut into).unwrap();
        disk.kill();
        drop(store);
        // The next process reads what is on the medium, though the system has other bytes in memory.
        let mut store = FileStore::on(disk.clone(), SMALL).unwrap();
        store.read(0, 0, &mut into).unwrap();
        disk.power_cut(&mut NoLuck);
        drop(store);
        let mut again = [0; 2048];
        FileStore::on(disk, SMALL).unwrap().read(0, 0, &mut again).unwrap();
        assert_eq!(into, again, "seed {seed}");
    }
}

/// Stops a workload at every call, and cuts the power as all of these say.
fn stopped_everywhere(seed: u64, mut each: impl FnMut(&FaultyDisk, &Model, &dyn std::fmt::Debug)) {
    let ops = workload(seed);
    for (at, done) in (0..calls_of(&ops)).flat_map(|at| [(at, false), (at, true)]) {
        let disk = FaultyDisk::new();
        disk.plan(at, Fault::Stop { done });
        let mut model = Model::new();
        let (_, store) = run(&disk, SMALL, &ops, &mut model);
        drop(store);
        each(&disk, &model, &(seed, at, done));
    }
}

#[test]
fn what_was_synced_survives_a_cut_at_every_call() {
    let mut states = 0_u64;
    for seed in 0..8 * scale() {
        stopped_everywhere(seed, |stopped, model, what| {
            let image = || stopped.image();
            for choose in [&mut NoLuck as &mut dyn Choose, &mut Luck] {
                let disk = image();
                disk.power_cut(choose);
                survives(&disk, model, &mut NoLuck, what);
                states += 1;
            }
            for luck in 0..6 {
                let rng = &mut Rng::new(seed << 32 | luck);
                let disk = image();
                disk.power_cut(rng);
                // And again, while the store is opened.
                let opening = disk.image();
                opening.plan(opening.calls() + rng.below(12), Fault::Stop { done: rng.one_in(2) });
                drop(FileStore::on(opening.clone(), SMALL));
                opening.power_cut(rng);
                survives(&opening, model, rng, what);
                survives(&disk, model, rng, what);
                states += 2;
            }
        });
    }
    println!("passed {states} crash states");
}

#[test]
fn every_subset_of_what_was_not_synced_can_be_lost() {
    // Few enough writes that all states can be looked at.
    let (mut states, mut largest) = (0_u64, 0_u64);
    for seed in 0..3 * scale() {
        stopped_everywhere(seed, |stopped, model, what| {
            let mut odometer = Odometer::default();
            let mut count = 0;
            loop {
                let disk = stopped.image();
                disk.power_cut(&mut odometer);
                let (_, found) = reopened(&disk, what);
                model.check(&found, what);
                count += 1;
                // Those with more than 12 sectors unsynced are left to chance, in the test above.
                if count == 1 << 12 || !odometer.step() {
                    break;
                }
            }
            states += count;
            largest = largest.max(count);
        });
    }
    println!("passed {states} crash states, {largest} of one cut at most");
    assert!(largest > 100, "{largest}");
}

#[test]
fn what_a_dead_process_wrote_is_synced_before_it_is_answered() {
    for seed in 0..8 * scale() {
        stopped_everywhere(seed, |stopped, model, what| {
            let disk = stopped.image();
            disk.kill();
            survives(&disk, model, &mut NoLuck, what);
            // A segment whose name was not synced is used by the next process, and no other one is made.
            let names = stopped.files().into_keys().filter(|name| name.ends_with(".seg"));
            for segment in names.map(|name| u32::from_str_radix(&name[..8], 16).unwrap()) {
                let disk = stopped.image();
                disk.kill();
                let mut store = FileStore::on(disk.clone(), SMALL).unwrap();
                let bytes = payload(9, BYTES);
                store.program(segment, 0, &bytes).unwrap();
                store.sync().unwrap();
                disk.power_cut(&mut NoLuck);
                drop(store);
                assert!(reopened(&disk, what).1[segment as usize] == bytes, "{what:?}: segment {segment} is gone");
            }
            // A store that could not be opened has not settled anything.
            for at in 0..20 {
                let disk = stopped.image();
                disk.kill();
                disk.seed(at);
                disk.plan(disk.calls() + at, Fault::Error(EIO));
                drop(FileStore::on(disk.clone(), SMALL));
                // If it was opened, the fault is still to come.
                disk.kill();
                survives(&disk, model, &mut NoLuck, what);
            }
            // Dies again while the store is opened.
            let rng = &mut Rng::new(seed);
            for at in 0..20 {
                let disk = stopped.image();
                disk.kill();
                disk.plan(disk.calls() + at, Fault::Stop { done: at % 2 == 0 });
                let opened = FileStore::on(disk.clone(), SMALL).and_then(|mut store| all(&mut store));
                disk.kill();
                let (store, found) = reopened(&disk, what);
                if let Ok(opened) = opened {
                    assert_eq!(opened, found);
                }
                drop(store);
                survives(&disk, model, rng, what);
            }
        });
    }
}

#[test]
fn a_store_dropped_with_something_unsynced_leaves_it_to_the_next() {
    for seed in 0..8 * scale() {
        let ops = workload(seed);
        for end in 0..ops.len() {
            let disk = FaultyDisk::new();
            let mut model = Model::new();
            let (outcome, store) = run(&disk, SMALL, &ops[..end], &mut model);
            assert_eq!(outcome, Outcome::Done);
            drop(store);
            survives(&disk, &model, &mut NoLuck, &(seed, end));
        }
    }
}

#[test]
fn a_segment_is_whole_and_known_before_it_is_used() {
    let disk = FaultyDisk::new();
    let config = SMALL.with_segment_bytes(3 * 65_536);
    let mut store = FileStore::on(disk.clone(), config).unwrap();
    disk.log();
    store.program(2, 0, &[1; 8]).unwrap();
    let call = |call, name: &str| (call, name.to_owned());
    let new = "00000002.new";
    let made = [
        call(Call::Create, new),
        call(Call::Write, new),
        call(Call::Write, new),
        call(Call::Write, new),
        call(Call::Sync, new),
        call(Call::Rename, "00000002.seg"),
        call(Call::SyncNames, ""),
    ];
    assert_eq!(disk.log(), made);
    store.erase(2).unwrap();
    assert_eq!(disk.log(), [], "it is there");
    store.sync().unwrap();
    // (The file goes by the name that it was opened by.)
    assert_eq!(disk.log(), [call(Call::Write, "lock"), call(Call::Write, new), call(Call::Sync, new)]);
    store.sync().unwrap();
    assert_eq!(disk.log(), [], "nothing to sync");
    // Everything is written before anything is synced.
    store.program(0, 0, &[1; 8]).unwrap();
    store.program(2, 8, &[1; 8]).unwrap();
    disk.log();
    store.sync().unwrap();
    let calls: Vec<Call> = disk.log().into_iter().map(|(call, _)| call).collect();
    assert_eq!(calls, [Call::Write, Call::Sync, Call::Sync]);
}

#[test]
fn making_a_segment_can_be_cut_anywhere() {
    let config = SMALL.with_segments(2);
    let calls = |disk: &FaultyDisk| {
        let mut store = FileStore::on(disk.clone(), config)?;
        store.erase(1)
    };
    let whole = FaultyDisk::new();
    calls(&whole).unwrap();
    let mut kinds = BTreeSet::new();
    for (at, done) in (0..whole.calls()).flat_map(|at| [(at, false), (at, true)]) {
        let stopped = FaultyDisk::new();
        stopped.plan(at, Fault::Stop { done });
        assert!(calls(&stopped).is_err() || at >= whole.calls() - 1);
        let mut odometer = Odometer::default();
        loop {
            let disk = stopped.image();
            disk.power_cut(&mut odometer);
            let files = disk.files();
            kinds.insert(files.keys().cloned().collect::<Vec<_>>());
            assert!(files.get("00000001.seg").is_none_or(|bytes| bytes.len() == BYTES), "{at} {done}");
            calls(&disk).unwrap();
            assert!(!disk.files().contains_key("00000001.new"));
            assert_eq!(disk.files()["00000001.seg"], [0; BYTES]);
            if !odometer.step() {
                break;
            }
        }
    }
    assert!(kinds.len() >= 4, "{kinds:?}");
}

#[test]
fn a_full_disk_is_met_when_a_segment_is_made_and_harms_nothing() {
    // In every place of the second segment, and in the file of the lock.
    for room in (0..64).chain((64 + BYTES..64 + 2 * BYTES).step_by(100)) {
        let disk = FaultyDisk::new();
        disk.limit(room);
        let mut store = match FileStore::on(disk.clone(), SMALL) {
            Ok(store) => store,
            Err(error) => {
                assert_eq!((error, room < 64), (MediumError::NoSpace, true));
                disk.limit(usize::MAX);
                FileStore::on(disk.clone(), SMALL).unwrap();
                continue;
            }
        };
        store.erase(0).unwrap();
        store.program(0, 0, &payload(1, 1000)).unwrap();
        for _ in 0..3 {
            assert_eq!(store.erase(1), Err(MediumError::NoSpace));
            assert_eq!(store.program(1, 0, &[1; 4]), Err(MediumError::NoSpace));
            assert_eq!(disk.files().len(), 2, "what could not be made takes no room");
        }
        // All that has its room goes on.
        store.program(0, 1000, &payload(2, BYTES - 1000)).unwrap();
        store.sync().unwrap();
        disk.limit(64 + 2 * BYTES);
        store.erase(1).unwrap();
        store.program(1, 0, &payload(3, BYTES)).unwrap();
        store.sync().unwrap();
        disk.power_cut(&mut NoLuck);
        drop(store);
        let (_, found) = reopened(&disk, &room);
        assert_eq!((&found[0][..1000], &found[0][1000..]), (&payload(1, 1000)[..], &payload(2, BYTES - 1000)[..]));
        assert_eq!(found[1], payload(3, BYTES));
    }
}

/// A store with four whole segments.
fn filled() -> FaultyDisk {
    let disk = FaultyDisk::new();
    let mut store = FileStore::on(disk.clone(), SMALL).unwrap();
    for segment in 0..SEGMENTS as u32 {
        store.program(segment, 0, &payload(segment.into(), BYTES)).unwrap();
    }
    store.sync().unwrap();
    disk
}

#[test]
fn a_file_that_was_cut_off_ends_where_it_ends() {
    let filled = filled();
    for len in 0..BYTES {
        let disk = filled.image();
        disk.edit("00000001.seg", |bytes| bytes.truncate(len));
        let mut store = FileStore::on(disk.clone(), SMALL).unwrap();
        let mut into = vec![0; BYTES];
        store.read(1, 0, &mut into[..len]).unwrap();
        assert_eq!(into[..len], payload(1, BYTES)[..len]);
        for (at, wanted) in [(len, 1), (BYTES - 1, 1), (0, BYTES), (len.saturating_sub(1), 2)] {
            let wanted = wanted.min(BYTES - at);
            if at + wanted > len {
                let read = store.read(1, at as u32, &mut into[..wanted]);
                assert_eq!(read, Err(MediumError::Unreadable), "{wanted} at {at} of {len}");
            }
        }
        // Nothing is written behind its end, or what is missing would pass for zeros.
        let end = len as u32 & !3;
        assert_eq!(store.program(1, end, &[1; 4]), Err(MediumError::OutOfBounds));
        if end >= 4 {
            store.program(1, end - 4, &[1; 4]).unwrap();
            assert_eq!(store.program(1, end, &[1; 4]), Err(MediumError::OutOfBounds), "nor behind what was collected");
            store.sync().unwrap();
        }
        assert_eq!(disk.files()["00000001.seg"].len(), len);
        // Using it again makes it whole.
        store.erase(1).unwrap();
        store.program(1, 0, &payload(9, BYTES)).unwrap();
        store.sync().unwrap();
        disk.power_cut(&mut NoLuck);
        drop(store);
        assert_eq!(reopened(&disk, &len).1[1], payload(9, BYTES));
    }
}

#[test]
fn files_may_be_missing_or_too_many() {
    let disk = filled();
    disk.take("00000002.seg");
    disk.edit("00000007.seg", |bytes| *bytes = vec![9; BYTES]);
    disk.edit("00000003.seg", |bytes| bytes.extend([9; 999]));
    let mut store = FileStore::on(disk.clone(), SMALL).unwrap();
    let found = all(&mut store).unwrap();
    assert_eq!((&found[1], &found[2], &found[3]), (&payload(1, BYTES), &vec![0; BYTES], &payload(3, BYTES)));
    store.erase(2).unwrap();
    store.erase(3).unwrap();
    assert_eq!(disk.files()["00000003.seg"].len(), BYTES + 999, "nothing of it is used");
}

#[test]
fn damage_is_no_larger_than_it_is() {
    let disk = filled();
    disk.spoil("00000001.seg", 4);
    let whole = payload(1, BYTES);
    for window in [0, 300, 1000, 4096, 9999] {
        for len in [1, 100, 511, 600, 2000] {
            for backwards in [false, true] {
                let mut store = FileStore::on(disk.clone(), SMALL.with_window_bytes(window)).unwrap();
                let mut places: Vec<usize> = (0..=BYTES - len).step_by(len.min(173)).collect();
                if backwards {
                    places.reverse();
                }
                for at in places {
                    let mut into = vec![0; len];
                    let read = store.read(1, at as u32, &mut into);
                    if at < 5 * SECTOR && at + len > 4 * SECTOR {
                        assert_eq!(read, Err(MediumError::Unreadable), "{len} at {at}, window {window}");
                    } else {
                        assert_eq!((read, &into[..]), (Ok(()), &whole[at..at + len]), "{len} at {at}, window {window}");
                    }
                }
            }
        }
    }
}

#[test]
fn what_needs_no_sync_is_opened_without_one() {
    let disk = filled();
    let syncs = |disk: &FaultyDisk| {
        let before = disk.count(Call::Sync);
        drop(FileStore::on(disk.clone(), SMALL).unwrap());
        disk.count(Call::Sync) - before
    };
    assert_eq!(syncs(&disk), 0, "dropped with everything synced");
    let mut store = FileStore::on(disk.clone(), SMALL).unwrap();
    store.program(3, 0, &[1; 4]).unwrap();
    drop(store);
    assert_eq!(syncs(&disk), 0, "what was never written");
    let mut store = FileStore::on(disk.clone(), SMALL).unwrap();
    store.program(3, 0, &[1; 4]).unwrap();
    store.program(1, 0, &[1; 4]).unwrap();
    drop(store);
    assert_eq!(syncs(&disk), 1, "the one that was written to");
    assert_eq!(syncs(&disk), 0);
    // A list that is not what it should be.
    for wrong in [vec![], vec![0; 63], vec![0xff; 64], [vec![5, 0, 0, 0], vec![0; 60]].concat()] {
        disk.edit("lock", |bytes| *bytes = wrong.clone());
        assert_eq!(syncs(&disk), 4, "{wrong:?}");
        assert_eq!(syncs(&disk), 0);
    }
}
