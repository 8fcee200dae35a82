//! The journal on files when anything goes wrong below it: the power, the disk, the room, somebody's hands.
//!
//! Whatever happens, what is found is a state that the journal went through, not before the last one that was acknowledged;
//! all its records are whole; looking again finds the same, and it goes on from there.

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
#![cfg(all(feature = "durable", feature = "std", unix, not(loom)))]

mod common;
#[path = "common/disk.rs"]
mod disk;
#[path = "crash_states/hands.rs"]
mod hands;
#[path = "crash_states/world.rs"]
mod world;

use common::{Rng, scale};
use disk::{Choose, EINTR, EIO, ENOSPC, Fault, FaultyDisk, Odometer};
use world::{Act, Case, End, Model, OTHERS, Shape, survive, workload};

const TINY: Shape = Shape { segments: 5, segment_bytes: 512, buffer: 256, window: 0, others: 0 };
const SMALL: Shape = Shape { segments: 4, segment_bytes: 1536, buffer: 4096, window: 512, others: 0 };
const DIRECT: Shape = Shape { segments: 6, segment_bytes: 1024, buffer: 0, window: 0, others: 0 };
const LONG: Shape = Shape { segments: 4, segment_bytes: 2048, buffer: 700, window: 256, others: OTHERS };

/// So many of these, by the shape whose headers are short or long.
fn for_shapes(count: u64, mut each: impl FnMut(u64, &Shape)) {
    for nth in 0..count {
        each(nth, &[TINY, SMALL, DIRECT, LONG][nth as usize % 4]);
    }
}

fn acts_of(seed: u64, shape: &Shape, count: usize) -> Vec<Act> {
    workload(seed, count, u64::from(shape.segment_bytes) / 4)
}

fn run(model: &mut Model, disk: &FaultyDisk, shape: &Shape, acts: &[Act], case: &Case) -> End {
    if shape.others == 0 { model.run::<3>(disk, shape, acts, case) } else { model.run::<10>(disk, shape, acts, case) }
}

fn check(disk: &FaultyDisk, shape: &Shape, model: &Model, case: &Case) {
    if shape.others == 0 { survive::<3>(disk, shape, model, case) } else { survive::<10>(disk, shape, model, case) }
}

/// How many calls a workload makes when nothing goes wrong.
fn calls_of(shape: &Shape, acts: &[Act], case: &Case) -> u64 {
    let disk = FaultyDisk::new();
    assert_eq!(run(&mut Model::new(&disk), &disk, shape, acts, case), End::Done);
    disk.calls()
}

/// Answers as another one does, and counts in how many ways it was asked.
struct Counting<'c> {
    inner: &'c mut dyn Choose,
    ways: u64,
}

impl Choose for Counting<'_> {
    fn choose(&mut self, n: u64) -> u64 {
        self.ways = self.ways.saturating_mul(n);
        self.inner.choose(n)
    }
}

/// All that may be left of the unsynced, if that is not more than `most`; else so many by chance. Answers how many.
fn every_cut(disk: &FaultyDisk, most: u64, seed: u64, mut each: impl FnMut(&FaultyDisk, &str)) -> u64 {
    let mut ways = Counting { inner: &mut world::Nothing, ways: 1 };
    disk.image().power_cut(&mut ways);
    // How many choices there are can depend on those before, so this may miss some: that is noticed below.
    let mut count = 0;
    if ways.ways <= most {
        let mut odometer = Odometer::default();
        loop {
            let image = disk.image();
            image.power_cut(&mut odometer);
            each(&image, "all");
            count += 1;
            if count == 4 * most || !odometer.step() {
                return count;
            }
        }
    }
    let mut rng = Rng::new(seed);
    for _ in 0..most {
        let image = disk.image();
        image.power_cut(&mut rng);
        each(&image, "some");
        count += 1;
    }
    count
}

/// Row 17, and 9 for files: the power goes at every call, and once more while what is left is opened and goes on.
#[test]
fn power_goes_at_every_call() {
    let most = 16 * scale().min(256);
    let (mut cuts, mut again, mut calls) = (0, 0, 0);
    for_shapes(8 * scale().min(10), |seed, shape| {
        let acts = acts_of(seed, shape, 30);
        let case = Case(format!("workload {seed} on {shape:?}: {acts:?}"));
        for nth in 0..calls_of(shape, &acts, &case) {
            for done in [false, true] {
                let disk = FaultyDisk::new();
                let mut model = Model::new(&disk);
                disk.plan(nth, Fault::Stop { done });
                let case = Case(format!("the power goes at call {nth} ({done}) of {case}"));
                run(&mut model, &disk, shape, &acts, &case);
                if !disk.is_stopped() {
                    // Headers are never the same twice, and now and then a step would pass for a head: then it is longer.
                    continue;
                }
                calls += 1;
                cuts += every_cut(&disk, most, nth, |image, _| check(image, shape, &model, &case));
                // The process alone is killed: what it wrote is there.
                let killed = disk.image();
                killed.kill();
                check(&killed, shape, &model, &case);
                cuts += 1;
                if (nth + seed).is_multiple_of(if scale() > 1 { 16 } else { 64 }) {
                    again += cut_again(&disk, shape, &model, &case);
                }
            }
        }
    });
    println!("passed {} states: {calls} cuts, {cuts} states after them, {again} after a second one", cuts + again);
    assert!(cuts > 10_000 && again > 3_000, "{cuts} {again}");
}

/// The power goes, and then again at every call of what follows.
fn cut_again(disk: &FaultyDisk, shape: &Shape, model: &Model, case: &Case) -> u64 {
    let mut count = 0;
    let first = disk.image();
    first.power_cut(&mut Rng::new(count));
    let calls = {
        let image = first.image();
        let before = image.calls();
        let mut model = model.clone();
        world::resume(&image, shape, &mut model, case);
        image.calls() - before
    };
    for nth in 0..calls {
        let image = first.image();
        image.plan(image.calls() + nth, Fault::Stop { done: nth % 2 == 0 });
        let mut model = model.clone();
        let case = Case(format!("again at call {nth} of what follows, after {case}"));
        world::resume(&image, shape, &mut model, &case);
        count += every_cut(&image, 8, nth, |image, _| check(image, shape, &model, &case));
    }
    count
}

const FAULTS: [Fault; 4] = [Fault::Error(EIO), Fault::Error(ENOSPC), Fault::Error(EINTR), Fault::Short];

/// A run with faults, and what is there after it, however it ends.
fn with_faults(shape: &Shape, acts: &[Act], faults: &[(u64, Fault)], seed: u64, case: &Case) -> u64 {
    let disk = FaultyDisk::new();
    disk.seed(seed);
    for (nth, fault) in faults {
        disk.plan(*nth, *fault);
    }
    let mut model = Model::new(&disk);
    model.is_faulty = true;
    run(&mut model, &disk, shape, acts, case);
    let killed = disk.image();
    killed.kill();
    check(&killed, shape, &model, case);
    1 + every_cut(&disk, 3, seed, |image, _| check(image, shape, &model, case))
}

/// Rows 14, 15 and 16: every call fails in every way, alone and together with another one.
#[test]
fn every_call_fails() {
    let (mut singles, mut pairs) = (0, 0);
    for_shapes(4 * scale().min(10), |seed, shape| {
        let acts = acts_of(seed + 100, shape, 30);
        let case = Case(format!("workload {seed} on {shape:?}: {acts:?}"));
        let calls = calls_of(shape, &acts, &case);
        for nth in 0..calls {
            for fault in FAULTS {
                let case = Case(format!("{fault:?} at call {nth} of {case}"));
                singles += with_faults(shape, &acts, &[(nth, fault)], nth, &case);
            }
        }
        // A write that ends early, and then not even that.
        for nth in 0..calls {
            for second in [EIO, ENOSPC] {
                let faults = [(nth, Fault::Short), (nth + 1, Fault::Error(second))];
                let case = Case(format!("{faults:?} of {case}"));
                pairs += with_faults(shape, &acts, &faults, nth, &case);
            }
        }
        let mut rng = Rng::new(seed);
        for _ in 0..100 * scale().min(400) {
            let [first, second] = [rng.below(calls), rng.below(calls)];
            let faults = [(first, FAULTS[rng.below(4) as usize]), (second, FAULTS[rng.below(4) as usize])];
            let case = Case(format!("{faults:?} of {case}"));
            pairs += with_faults(shape, &acts, &faults, first, &case);
        }
    });
    println!("passed {} states: {singles} after one failure, {pairs} after two", singles + pairs);
    assert!(singles > 5_000 && pairs > 500, "{singles} {pairs}");
}

/// Half a label: the segment is taken for what the rest of its header says, and the reserve is used in turns behind it. (A header
/// that passes for one of any number is taken for a newer one then.)
#[test]
fn half_a_label_is_no_newer_one() {
    let acts = acts_of(135, &LONG, 30);
    let case = Case(format!("half a label: {acts:?}"));
    let mut states = 0;
    for nth in 0..calls_of(&LONG, &acts, &case) {
        for second in [EIO, ENOSPC] {
            let faults = [(nth, Fault::Short), (nth + 1, Fault::Error(second))];
            states += with_faults(&LONG, &acts, &faults, nth, &Case(format!("{faults:?}, {case}")));
        }
    }
    println!("passed {states} states: half a label");
}
