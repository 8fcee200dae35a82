//! Recording workloads, cutting them, and checking what is left.

use crate::chip::{Chip, Event, Trace, What};
use crate::common::{Rng, scale};
use crate::flash::{Cut, Flash, Tear, Wipe};
use crate::model::{self, CURSORS, Log, Model, NAMES, Op, PARTITIONS};
use crate::workloads::Workload;
use fabric_mq::Offset;
use fabric_mq::durable::{NorStore, OpenError};
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Mutex;

/// How power is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Plan {
    Once,
    Twice,
    Thrice,
    /// Three times, in segments' headers, each of which may not last.
    Fading,
    /// Once, in a run instead of a recording of one.
    Live,
    /// Once, while another journal takes the place of this one.
    Format,
}

/// What was done, by how much.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) cuts: u64,
    done: u64,
    undone: u64,
    unborn: u64,
    faded: u64,
    opened: u64,
    most_reads: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.cuts += other.cuts;
        self.done += other.done;
        self.undone += other.undone;
        self.unborn += other.unborn;
        self.faded += other.faded;
        self.opened += other.opened;
        self.most_reads = self.most_reads.max(other.most_reads);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { done, undone, unborn, faded, opened, most_reads, .. } = self;
        write!(
            f,
            "{opened} recoveries of at most {most_reads} reads; what was under way was done {done} times, not done {undone}, \
             the format itself {unborn}; {faded} records under way looked whole and faded"
        )
    }
}

/// Says where it was, should it panic.
struct Told<F: Fn() -> String>(F);

impl<F: Fn() -> String> Drop for Told<F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("  in {}", (self.0)());
        }
    }
}

/// One thing done to the flash, and what may be found if power goes in it.
struct Step<const W: usize, const E: usize> {
    event: Event<W, E>,
    /// Which operation it is part of.
    op: String,
    /// Without the operation; `None` is no journal at all.
    before: Option<Rc<Model>>,
    /// With it.
    after: Rc<Model>,
    /// What may be found too: what an earlier cut had under way, as long as nothing was acknowledged since.
    also: Vec<Rc<Model>>,
    /// Whether there may be no journal: its format was cut, and nothing was acknowledged since.
    unborn: bool,
}

/// A flash that power was cut of, and what may be found there.
struct Wreck<const W: usize, const E: usize> {
    flash: Flash<W, E>,
    before: Option<Rc<Model>>,
    after: Rc<Model>,
    also: Vec<Rc<Model>>,
    unborn: bool,
    /// Whether bits may still change.
    weak: bool,
    /// How many cuts there were.
    cuts: u32,
}

impl<const W: usize, const E: usize> Step<W, E> {
    /// For a message.
    fn told(&self, cut: Cut, cuts: u32) -> String {
        let what = match &self.event.what {
            What::Write(at, bytes) => {
                let (segment, at) = (*at as usize / E, *at as usize % E);
                format!("writing {} bytes at {at} of segment {segment}", bytes.len())
            }
            What::Erase(at) => format!("erasing segment {}", *at as usize / E),
        };
        format!("cut {cuts} in {}, {what}: {cut:?}", self.op)
    }

    fn cut(&self, cut: Cut, was_weak: bool, cuts: u32) -> Wreck<W, E> {
        let weak = match self.event.what {
            What::Write(..) => matches!(cut.tear, Tear::Fading | Tear::Marginal | Tear::Scattered),
            What::Erase(_) => cut.wipe == Wipe::Unstable,
        };
        let after = match &self.before {
            Some(before) if weak => Rc::new(self.after.loosened(before)),
            _ => Rc::clone(&self.after),
        };
        Wreck {
            flash: self.event.cut(cut),
            before: self.before.clone(),
            after,
            also: self.also.clone(),
            unborn: self.unborn,
            weak: weak || was_weak,
            cuts,
        }
    }
}

impl<const W: usize, const E: usize> Wreck<W, E> {
    /// The states that there may be.
    fn may(&self) -> impl Iterator<Item = &Rc<Model>> {
        [&self.after].into_iter().chain(&self.before).chain(&self.also)
    }

    /// Which of the states that there may be this is.
    fn found(&self, log: &Log<W, E>) -> &Rc<Model> {
        let mut may = self.may();
        may.find(|model| model.agrees(log)).unwrap_or_else(|| {
            let [before, also] = [self.before.as_slice(), &self.also]
                .map(|models| models.iter().map(|model| model.state()).collect::<Vec<_>>());
            panic!(
                "found {}\n  before the operation {before:?}\n  behind it {:?}\n  or {also:?}",
                model::shown(log),
                self.after.state()
            )
        })
    }
}

const GOOD: [u32; 10] = [0, 1, 2, 3, 5, 8, 13, 21, 40, 200];

/// The ways in which power is cut at one place. `turn` counts places.
fn ways(what: &What, after: u64, turn: &mut u64, times: u64) -> Vec<Cut> {
    *turn += 1;
    let cut = |round: u64, mode: u64, tear, wipe| {
        let seed = Rng::new(turn.wrapping_mul(0x1_0001) ^ round << 40 ^ mode << 32).next();
        Cut { after, tear, wipe, good: GOOD[(seed >> 32) as usize % GOOD.len()], seed }
    };
    let mut cuts = Vec::new();
    if times == 1 {
        let (tear, wipe) = (Tear::ALL[(*turn % 8) as usize], Wipe::ALL[(*turn % 5) as usize]);
        cuts.push(cut(0, 0, tear, wipe));
        return cuts;
    }
    for round in 0..times - 1 {
        match what {
            What::Write(..) => {
                for (mode, tear) in Tear::ALL.into_iter().enumerate() {
                    let same = match tear {
                        // The same for any seed, and for any place.
                        Tear::Nothing => round > 0 || after > 0,
                        Tear::Prefix | Tear::Unreadable => round > 0,
                        _ => false,
                    };
                    if !same {
                        cuts.push(cut(round, mode as u64, tear, Wipe::Old));
                    }
                }
            }
            What::Erase(_) => {
                for (mode, wipe) in Wipe::ALL.into_iter().enumerate() {
                    if round == 0 || !matches!(wipe, Wipe::Old | Wipe::Unreadable) {
                        cuts.push(cut(round, mode as u64, Tear::Nothing, wipe));
                    }
                }
            }
        }
    }
    cuts
}

/// Does operations, and keeps what they do to the flash.
struct Recorder<const W: usize, const E: usize> {
    log: Log<W, E>,
    trace: Trace<W, E>,
    model: Rc<Model>,
    also: Vec<Rc<Model>>,
    unborn: bool,
    steps: Vec<Step<W, E>>,
}

impl<const W: usize, const E: usize> Recorder<W, E> {
    /// Formats a blank flash.
    fn format(segments: usize) -> Self {
        let trace = Trace::default();
        let log = model::format(Chip { flash: Flash::new(segments), trace: Some(Rc::clone(&trace)), wreck: None });
        let mut this = Self { log, trace, model: Rc::default(), also: Vec::new(), unborn: true, steps: Vec::new() };
        this.keep("format", None, Rc::default());
        this
    }

    /// Opens what a power cut left. `None` if that is no journal.
    fn open(wreck: &Wreck<W, E>) -> Option<Self> {
        let trace = Trace::default();
        let chip = Chip { flash: wreck.flash.clone(), trace: Some(Rc::clone(&trace)), wreck: None };
        let log = match model::open(chip) {
            Ok(log) => log,
            Err(OpenError::None) if wreck.unborn => return None,
            Err(error) => panic!("{error:?}"),
        };
        let model = Rc::clone(wreck.found(&log));
        // What is under way is there or not, again and again, until something is acknowledged.
        let also = if wreck.weak {
            wreck.may().filter(|other| !Rc::ptr_eq(other, &model)).cloned().collect()
        } else {
            Vec::new()
        };
        let model = Rc::new(model.salted(wreck.cuts));
        Some(Self { log, trace, model, also, unborn: wreck.unborn && wreck.weak, steps: Vec::new() })
    }

    fn keep(&mut self, op: &str, before: Option<Rc<Model>>, after: Rc<Model>) {
        let events = self.trace.take();
        let wrote = !events.is_empty();
        for event in events {
            let (before, after, also) = (before.clone(), Rc::clone(&after), self.also.clone());
            self.steps.push(Step { event, op: op.into(), before, after, also, unborn: self.unborn });
        }
        if wrote {
            self.also.clear();
            self.unborn = false;
        }
        self.model = after;
    }

    fn play(mut self, ops: &[Op]) -> Self {
        for (index, op) in ops.iter().enumerate() {
            let name = format!("operation {index}, {op:?}");
            let _told = Told(|| format!("{name}, not cut"));
            let mut after = (*self.model).clone();
            self.log = model::play(self.log, &mut after, *op).unwrap_or_else(|error| panic!("{error:?}"));
            let before = Some(Rc::clone(&self.model));
            self.keep(&name, before, Rc::new(after));
        }
        self
    }
}

/// What follows a recovery: the first thing that is written differs by turns.
fn next_ops(model: &Model, turn: u64) -> Vec<Op> {
    let backlog = |which: &usize| {
        model.cursors[*which].is_some_and(|committed| committed < model.spans[usize::from(NAMES[*which].0)].1)
    };
    let step = (0..NAMES.len()).find(backlog).map_or(Op::Append(1, 2), Op::Step);
    let room = model.cursors.iter().flatten().count() < CURSORS;
    let join = (0..NAMES.len()).find(|which| room && model.cursors[*which].is_none()).map_or(step, Op::Join);
    let first = [step, Op::Append(0, 11), Op::Batch(1, &[4, 0]), join][(turn % 4) as usize];
    vec![first, Op::Append(1, 3), step]
}

/// Powers on, and checks everything that was promised.
fn check<const W: usize, const E: usize>(wreck: &Wreck<W, E>, turn: u64, thorough: bool, tally: &mut Tally) {
    tally.cuts += 1;
    tally.opened += 2;
    let chip = |flash| Chip { flash, trace: None, wreck: None };
    let before = wreck.flash.counters().clone();
    let log = match model::open(chip(wreck.flash.clone())) {
        Ok(log) => log,
        Err(OpenError::None) if wreck.unborn => {
            tally.unborn += 1;
            let log = model::format(chip(wreck.flash.clone()));
            assert!(Model::default().agrees(&log));
            return;
        }
        Err(error) => panic!("{error:?}"),
    };
    tally.most_reads = tally.most_reads.max(log.store().flash().flash.counters().reads - before.reads);
    let first = wreck.found(&log);
    let recovery = *log.recovery();
    let mut log = log;
    model::read_all(&mut log, first);
    // Opened again, without a word written.
    let mut log = match model::open(model::into_chip(log)) {
        Ok(log) => log,
        Err(OpenError::None) if wreck.unborn && wreck.weak => {
            tally.unborn += 1;
            return;
        }
        Err(error) => panic!("{error:?}"),
    };
    let model = wreck.found(&log);
    if wreck.weak {
        // What is under way may be there once more, or not.
    } else {
        assert!(Rc::ptr_eq(first, model), "opened twice, and not the same");
        assert_eq!(*log.recovery(), recovery, "opened twice, and not the same");
    }
    *(if Rc::ptr_eq(model, &wreck.after) { &mut tally.done } else { &mut tally.undone }) += 1;

    // It goes on.
    let mut model = model.salted(7 * wreck.cuts);
    let ops = next_ops(&model, turn);
    log = model::play(log, &mut model, ops[0]).unwrap_or_else(|error| panic!("{error:?}"));
    let after = log.store().flash().flash.counters();
    let erased: u32 = after.erases.iter().sum::<u32>() - before.erases.iter().sum::<u32>();
    // Another one only if the copy of a large record leaves no room, or did not last.
    let most = if wreck.weak || E < 1024 { 2 } else { 1 };
    assert!(erased <= most, "{erased} segments erased to go on");
    let wrote = after.programs != before.programs;
    let bad = model::read_all(&mut log, &model);
    tally.faded += bad.len() as u64;
    let mut left = model::into_chip(log);
    if wrote {
        // What can be read now can be read from now on.
        model.firm(&bad);
        left.flash.decay();
    } else if wreck.weak {
        // There was no room, so nothing is certain yet.
        return;
    }
    let mut log = model::open(left).expect("a journal");
    assert!(model.agrees(&log), "after the first write: {} is not {:?}", model::shown(&log), model.state());
    model::read_all(&mut log, &model);
    tally.opened += 1;
    if thorough {
        let mut ops = ops[1..].to_vec();
        ops.extend([Op::Batch(0, &[1, 30, 0]), Op::Crash, Op::Append(0, 40)]);
        ops.extend((0..NAMES.len()).map(|which| Op::Commit(which, u64::MAX)));
        ops.extend((0..PARTITIONS).map(|partition| Op::Trim(partition as u8, 0)));
        for op in ops {
            log = model::play(log, &mut model, op).unwrap_or_else(|error| panic!("{op:?}: {error:?}"));
        }
        // Nothing is kept now, so there is room.
        let next = model.spans[0].1;
        for op in [Op::Append(0, 20), Op::Append(1, 0), Op::Close] {
            log = model::play(log, &mut model, op).unwrap_or_else(|error| panic!("{op:?}: {error:?}"));
        }
        assert_eq!(model.spans[0].1, next + 1, "all is given up, and a record finds no room");
        model::read_all(&mut log, &model);
        tally.opened += 2;
    }
    let chip = model::into_chip(log);
    let spread = chip.flash.counters().spread();
    assert!(model.tight || spread <= 1 + wreck.cuts, "worn unevenly: {:?}", chip.flash.counters().erases);
}

fn recorded<const W: usize, const E: usize>(workload: &Workload, segments: usize) -> Recorder<W, E> {
    let recorder = Recorder::<W, E>::format(segments).play(&workload.ops);
    let counters = recorder.log.store().flash().flash.counters();
    assert!(recorder.model.tight || counters.spread() <= 1, "worn unevenly: {:?}", counters.erases);
    recorder
}

/// Power that is cut at every place of some steps.
fn each_cut<const W: usize, const E: usize>(
    steps: &[Step<W, E>],
    turn: &mut u64,
    times: u64,
    was_weak: bool,
    cuts: u32,
    mut then: impl FnMut(Wreck<W, E>, u64),
) {
    for step in steps {
        for place in 0..step.event.places() {
            for cut in ways(&step.event.what, place, turn, times) {
                let _told = Told(|| step.told(cut, cuts));
                then(step.cut(cut, was_weak, cuts), *turn);
            }
        }
    }
}

fn once<const W: usize, const E: usize>(workload: &Workload, segments: usize, tally: &mut Tally) {
    let recorder = recorded::<W, E>(workload, segments);
    let mut turn = 0;
    each_cut(&recorder.steps, &mut turn, scale(), false, 1, |wreck, turn| check(&wreck, turn, true, tally));
}

fn twice<const W: usize, const E: usize>(workload: &Workload, segments: usize, tally: &mut Tally) {
    let recorder = recorded::<W, E>(workload, segments);
    let (mut turn, mut inner) = (0, 0);
    // The first cut: in one way at one place in sixteen, in three, or at each; at last in every way.
    let (every, times) = match scale() {
        1 => (16, 1),
        2..4 => (3, 1),
        4..8 => (1, 1),
        _ => (1, 2),
    };
    each_cut(&recorder.steps, &mut turn, times, false, 1, |wreck, turn| {
        if turn % every != 0 {
            return;
        }
        let Some(next) = Recorder::open(&wreck) else { return };
        let ops = next_ops(&next.model, turn);
        let next = next.play(&ops);
        for _ in 0..(scale() / 2).max(1) {
            each_cut(&next.steps, &mut inner, 1, wreck.weak, 2, |wreck, turn| {
                check(&wreck, turn, false, tally);
            });
        }
    });
}

/// Any step, cut in any way.
fn anywhere<'s, const W: usize, const E: usize>(
    steps: &'s [Step<W, E>],
    rng: &mut Rng,
    turn: &mut u64,
) -> Option<(&'s Step<W, E>, Cut)> {
    // There may have been no room for anything.
    let step = if steps.is_empty() { None } else { Some(rng.pick(steps)) }?;
    let place = rng.below(step.event.places());
    Some((step, ways(&step.event.what, place, turn, 1)[0]))
}

/// The last unit of a header: it reads well, or as if it was blank, for a while.
fn fading<'s, const W: usize, const E: usize>(
    steps: &'s [Step<W, E>],
    rng: &mut Rng,
    turn: &mut u64,
) -> Option<(&'s Step<W, E>, Cut)> {
    let is_header =
        |step: &&Step<W, E>| matches!(step.event.what, What::Write(at, _) if (at as usize).is_multiple_of(E));
    let headers: Vec<_> = steps.iter().filter(is_header).collect();
    // There may have been no room for anything.
    let step = if headers.is_empty() { None } else { Some(*rng.pick(&headers)) }?;
    *turn += 1;
    let tear = if rng.one_in(4) { Tear::Marginal } else { Tear::Fading };
    let after = step.event.places() - 1;
    Some((step, Cut { after, tear, wipe: Wipe::Old, good: *rng.pick(&GOOD), seed: rng.next() }))
}

fn thrice<const W: usize, const E: usize>(
    workload: &Workload,
    segments: usize,
    times: u64,
    mut pick: impl for<'s> FnMut(&'s [Step<W, E>], &mut Rng, &mut u64) -> Option<(&'s Step<W, E>, Cut)>,
    tally: &mut Tally,
) {
    let recorder = recorded::<W, E>(workload, segments);
    let mut rng = Rng::new(segments as u64 ^ (W as u64) << 32);
    for _ in 0..times * scale() {
        let mut turn = rng.next() >> 8;
        let mut some = |steps: &[Step<W, E>], was_weak, cuts| {
            let (step, cut) = pick(steps, &mut rng, &mut turn)?;
            let mut wreck = step.cut(cut, false, cuts);
            wreck.weak |= was_weak;
            Some((wreck, turn, step.told(cut, cuts)))
        };
        let Some((first, at, a)) = some(&recorder.steps, false, 1) else { continue };
        let _told = Told(|| a.clone());
        let Some(next) = Recorder::open(&first) else { continue };
        let ops = next_ops(&next.model, at);
        let next = next.play(&ops);
        let Some((second, at, b)) = some(&next.steps, first.weak, 2) else { continue };
        let _told = Told(|| b.clone());
        let Some(next) = Recorder::open(&second) else { continue };
        let ops = next_ops(&next.model, at);
        let next = next.play(&ops);
        let Some((third, at, c)) = some(&next.steps, second.weak, 3) else { continue };
        let _told = Told(|| c.clone());
        check(&third, at, true, tally);
    }
}

fn live<const W: usize, const E: usize>(workload: &Workload, segments: usize, tally: &mut Tally) {
    let ops: Vec<_> = [Op::Crash].into_iter().chain(workload.ops.iter().copied()).collect();
    let whole = Recorder::<W, E>::format(segments).play(&ops);
    // Behind the format.
    let start = whole.steps.iter().position(|step| step.before.is_some()).expect("an operation");
    let mut turn = 0;
    let mut base = 0;
    for step in &whole.steps[start..] {
        for place in 0..step.event.places() {
            let [cut] = ways(&step.event.what, place, &mut turn, 1)[..] else { panic!("one way") };
            let recording = step.event.cut(cut);
            let wreck = Rc::new(RefCell::new(Vec::new()));
            let mut flash = whole.steps[start].event.flash.clone();
            flash.cut(Cut { after: base + place, ..cut });
            // Nothing was read by halves before: there are no weak units.
            let mut log = model::open(Chip { flash, trace: None, wreck: Some(Rc::clone(&wreck)) }).expect("a journal");
            let mut model = Model::default();
            for op in &workload.ops {
                match model::play(log, &mut model, *op) {
                    Ok(going) => log = going,
                    Err(_) => break,
                }
            }
            assert!(*wreck.borrow() == recording.image(), "{}", step.op);
            tally.cuts += 1;
        }
        base += step.event.places();
    }
}

/// Formats what a workload has left. A cut in that leaves the old journal as it was last, of which records may be missing
/// and are told, or none, or the new one: never what the old one was at an earlier moment.
fn formatted<const W: usize, const E: usize>(workload: &Workload, segments: usize, tally: &mut Tally) {
    let old = recorded::<W, E>(workload, segments);
    let (model, flash) = (old.model, model::into_chip(old.log).flash);
    let trace = Trace::default();
    drop(model::format(Chip { flash, trace: Some(Rc::clone(&trace)), wreck: None }));
    let mut turn = 0;
    for event in trace.take() {
        for place in 0..event.places() {
            for cut in ways(&event.what, place, &mut turn, 2) {
                let _told = Told(|| format!("{:?}, {cut:?}", event.what));
                tally.cuts += 1;
                let mut left = event.cut(cut);
                let chip = |flash| Chip { flash, trace: None, wreck: None };
                match Log::<W, E>::open(NorStore::whole(chip(left.clone())).expect("a whole flash")) {
                    Ok(mut log) if log.recovery().damage.is_none() => {
                        let is_old = model.agrees(&log);
                        assert!(is_old || Model::default().agrees(&log), "neither of both: {}", model::shown(&log));
                        if is_old {
                            tally.undone += 1;
                            model::read_some(&mut log, &model);
                        }
                        tally.opened += 1;
                    }
                    Ok(_) | Err(_) => tally.unborn += 1,
                }
                left.decay();
                let mut log = model::format(chip(left));
                assert!(Model::default().agrees(&log), "formatted: {}", model::shown(&log));
                assert_eq!(log.append(0, 0, &[b"first"]), Ok(Offset::new(0)));
                let log = model::open(model::into_chip(log)).expect("a journal");
                assert_eq!(log.span(0), Some((Offset::new(0), Offset::new(1))));
            }
        }
    }
}

fn one<const W: usize, const E: usize>(plan: Plan, workload: &Workload, segments: usize) -> Tally {
    let mut tally = Tally::default();
    let _told = Told(|| format!("workload {:?} on {segments} segments of {E} bytes, unit {W}", workload.name));
    match plan {
        Plan::Once => once::<W, E>(workload, segments, &mut tally),
        Plan::Twice => twice::<W, E>(workload, segments, &mut tally),
        Plan::Thrice => thrice::<W, E>(workload, segments, 320, anywhere, &mut tally),
        Plan::Fading => thrice::<W, E>(workload, segments, 200, fading, &mut tally),
        Plan::Live => live::<W, E>(workload, segments, &mut tally),
        Plan::Format => formatted::<W, E>(workload, segments, &mut tally),
    }
    tally
}

type Run = fn(Plan, &Workload, usize) -> Tally;

/// The shapes of flash: segments, and what runs on it.
const SHAPES: [(usize, &str, Run); 6] = [
    (4, "1x512", one::<1, 512>),
    (6, "4x512", one::<4, 512>),
    (4, "8x1024", one::<8, 1024>),
    (8, "16x512", one::<16, 512>),
    (16, "32x1024", one::<32, 1024>),
    (5, "4x2048", one::<4, 2048>),
];

/// Runs all workloads on all shapes of flash, on all processors.
pub(crate) fn run(workloads: &[Workload], plan: Plan) -> Tally {
    let only = std::env::var("FABRIC_MQ_ONLY").unwrap_or_default();
    let jobs: Vec<_> = workloads
        .iter()
        .flat_map(|workload| SHAPES.iter().map(move |shape| (workload, shape)))
        .filter(|(workload, (_, name, _))| workload.name.contains(&only) || name.contains(&only))
        .collect();
    let jobs = Mutex::new(jobs.into_iter());
    let (sum, failed) = (Mutex::new(Tally::default()), Mutex::new(0));
    let take = || jobs.lock().expect("nobody panicked").next();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((workload, (segments, _, run))) = take() {
                    // All that fail are told.
                    match std::panic::catch_unwind(|| run(plan, workload, *segments)) {
                        Ok(tally) => sum.lock().expect("not held in a panic").add(&tally),
                        Err(_) => *failed.lock().expect("not held in a panic") += 1,
                    }
                }
            });
        }
    });
    assert_eq!(failed.into_inner().expect("nobody panicked"), 0, "workloads failed");
    sum.into_inner().expect("nobody panicked")
}
