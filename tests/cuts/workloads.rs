//! What is done while power is cut.

use crate::common::Rng;
use crate::model::{LARGEST, NAMES, Op};
use Op::{Append, Batch, Close, Commit, Crash, Join, Leave, Read, Reset, Step, Sync, Trim};

pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) ops: Vec<Op>,
}

fn new(name: &'static str, ops: impl IntoIterator<Item = Op>) -> Workload {
    Workload { name, ops: ops.into_iter().collect() }
}

/// The same again and again.
fn again(count: usize, ops: &[Op]) -> impl Iterator<Item = Op> {
    ops.iter().copied().cycle().take(count * ops.len())
}

/// Anything, by a seed.
fn random(seed: u64, count: usize) -> Vec<Op> {
    let mut rng = Rng::new(seed);
    let mut ops = vec![Join(0), Join(1)];
    for _ in 0..count {
        let partition = rng.below(2) as u8;
        let which = rng.size(NAMES.len());
        ops.push(match rng.below(20) {
            0..7 => {
                let len = match rng.below(12) {
                    0 => 0,
                    1 => LARGEST,
                    _ => rng.size(60),
                };
                Append(partition, len)
            }
            7..9 => Batch(partition, [&[1, 0, 9][..], &[20, 20], &[5]][rng.size(3)]),
            9..13 => Step(which),
            13..15 => Commit(which, rng.below(6)),
            15 => Read(which, rng.below(5)),
            16 => [Join(which), Join(which), Leave(which)][rng.size(3)],
            17 => [Trim(partition, rng.below(6)), Reset(which, rng.below(3))][rng.size(2)],
            18 => Close,
            _ => Crash,
        });
    }
    ops
}

/// Those that a second cut is made in, everywhere.
pub(crate) fn small() -> Vec<Workload> {
    vec![
        new("one record", [Append(0, 20), Join(0), Step(0)]),
        new("a reader", [Join(0), Append(0, 5), Append(0, 33), Step(0), Append(0, 0), Step(0)]),
        new("a batch", [Join(0), Batch(0, &[1, 20, 0]), Step(0), Batch(0, &[7, 7]), Commit(0, 4)]),
        new("closed", [Join(0), Append(0, 9), Close, Append(0, 9), Close]),
        new("crashed", [Join(0), Append(0, 9), Crash, Append(0, 14), Crash, Step(0)]),
        new("crashed and read only", [Join(0), Append(0, 30), Crash, Crash, Read(0, 1), Crash, Append(0, 1)]),
        new("large", [Join(0), Append(0, LARGEST), Append(0, LARGEST), Step(0)]),
        new("joins", [Append(0, 2), Join(0), Join(2), Leave(0), Join(3), Append(1, 3), Join(1), Join(0)]),
        new("trims", [Append(0, 20), Append(0, 21), Trim(0, 1), Append(1, 4), Join(0), Trim(0, 0), Append(0, 6)]),
        new("clean and crashed", [Join(0), Append(0, 9), Close, Append(0, 9), Crash, Step(0), Close, Step(0)]),
    ]
}

pub(crate) fn all() -> Vec<Workload> {
    let mut all = small();
    all.extend([
        new("sizes", [Join(0)].into_iter().chain([0, 1, 3, 4, 5, 8, 12, 31, 32, 33, 60, 61].map(|len| Append(0, len)))),
        new("two partitions", [Join(0), Join(1)].into_iter().chain(again(8, &[Append(0, 10), Append(1, 17), Step(1)]))),
        new(
            "several cursors",
            [Join(0), Join(1), Join(2)]
                .into_iter()
                .chain(again(6, &[Append(0, 8), Step(0), Append(1, 3), Step(1), Step(2)])),
        ),
        new("steps only", [Join(0), Batch(0, &[1, 1, 1, 1, 1, 1])].into_iter().chain(again(6, &[Step(0)]))),
        new(
            "commits of many",
            [Join(0), Join(2)].into_iter().chain(again(4, &[Batch(0, &[3, 3, 3]), Commit(0, 3), Commit(2, 2)])),
        ),
        new("batches", [Join(1)].into_iter().chain(again(5, &[Batch(1, &[9, 0, 30]), Batch(1, &[2]), Commit(1, 3)]))),
        new("largest", [Join(0)].into_iter().chain(again(4, &[Append(0, LARGEST), Append(0, 1), Commit(0, 2)]))),
        new("around", [Join(0)].into_iter().chain(again(28, &[Append(0, 55), Step(0)]))),
        new(
            "around without steps",
            [Join(0)].into_iter().chain(again(9, &[Append(0, 90), Append(0, 40), Append(0, 70), Commit(0, 3)])),
        ),
        new("retained by count", again(14, &[Append(0, 60), Append(1, 20), Trim(0, 3), Trim(1, 2)])),
        new(
            "retained and read",
            [Join(0), Join(1)]
                .into_iter()
                .chain(again(10, &[Append(0, 60), Append(1, 20), Read(0, 1), Trim(0, 2), Trim(1, 2)])),
        ),
        new(
            "come and go",
            again(5, &[Join(0), Append(0, 12), Join(3), Step(0), Join(2), Leave(0), Append(1, 4), Leave(3), Leave(2)]),
        ),
        new(
            "back",
            [Join(0)]
                .into_iter()
                .chain(again(3, &[Batch(0, &[4, 4, 4]), Commit(0, 3), Append(0, 2), Reset(0, 2)]))
                .chain([Join(2), Commit(0, 4), Reset(0, 3)]),
        ),
        new("closed often", [Join(0)].into_iter().chain(again(6, &[Append(0, 12), Close, Step(0), Close]))),
        new("crashed often", [Join(0)].into_iter().chain(again(6, &[Append(0, 12), Crash, Step(0), Crash]))),
        new(
            "reopened in turns",
            [Join(0), Join(1)].into_iter().chain(again(
                4,
                &[Append(0, 25), Close, Append(1, 2), Crash, Step(0), Crash, Sync, Append(0, 7), Close],
            )),
        ),
    ]);
    all.extend(tight());
    for (seed, name) in ["random 1", "random 2", "random 3", "random 4"].into_iter().enumerate() {
        all.push(new(name, random(seed as u64, 40)));
    }
    all
}

/// Those that use the reserve.
pub(crate) fn tight() -> Vec<Workload> {
    vec![
        new(
            "full",
            [Join(0)]
                .into_iter()
                .chain(again(22, &[Append(0, 130)]))
                .chain(again(4, &[Step(0), Append(0, 30)]))
                .chain([Commit(0, 99), Append(0, 5)]),
        ),
        new(
            "full of small ones",
            [Join(0), Join(1)]
                .into_iter()
                .chain(again(16, &[Append(0, 110), Append(1, 30)]))
                .chain(again(12, &[Step(0), Step(1), Crash]))
                .chain([Commit(0, 99), Append(0, 5)]),
        ),
        new(
            "reserve in turns",
            [Join(0), Join(2)]
                .into_iter()
                .chain(again(18, &[Append(0, 135)]))
                .chain(again(12, &[Commit(0, 2), Reset(0, 2), Step(0), Reset(0, 1), Join(1), Leave(1)]))
                .chain([Crash, Commit(0, 99), Commit(2, 99), Append(0, 9)]),
        ),
        new(
            "full and crashed",
            [Join(0)]
                .into_iter()
                .chain(again(18, &[Append(0, 135)]))
                .chain(again(8, &[Crash, Step(0), Crash, Reset(0, 1)]))
                .chain([Commit(0, 99), Append(0, 9)]),
        ),
    ]
}
