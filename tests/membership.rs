//! Members that pause, die, come back and disagree, with clocks that drift, jump and stop: who owns what, and what is
//! committed, whatever happens in between.
//!
//! The real code runs, on a lease whose hooks are called before and behind every access to the area. In any of them the
//! simulation may hold the party that is at work, let others work for as long as it likes (they may be held too), and let it
//! go on behind that, or kill it on the spot. So a member is paused between every look and the store that follows from
//! it. Behind each store the area's bytes are compared with the rules, which are written down here a second time.
//!
//! `FABRIC_MQ_SCALE` multiplies the seeds, `FABRIC_MQ_SEED` replays one.

#![cfg(all(feature = "std", not(loom)))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "tests"
)]

mod common;

use common::{Owned, Rng, scale, with_seeds};
use fabric_mq::group::{Event, Group, GroupConfig, Member, MemberConfig, MemberError};
use fabric_mq::lease::{Cooperative, Lease};
use fabric_mq::offset::OffsetError;
use fabric_mq::{LeaseError, Name, Offset, Ticks};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

const PLACES: u32 = 6;
const MOST_PARTITIONS: usize = 8;
const SESSION: u64 = 600;
/// The longest interval that members of such a session have.
const LONGEST: u64 = 200;
/// How often somebody does something, or something happens, in a seed.
const TURNS: u64 = 250;
/// Seeds of `cargo test`.
const SEEDS: u64 = 200;

// ---- the area, as the drawings say

fn claims_at() -> usize {
    256 + 128 * PLACES as usize
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Row {
    epoch: u32,
    owner: Option<u32>,
    copy: usize,
    committed: Option<u64>,
}

/// A word of the area. By an atomic load: nobody else is at work on it now, but the area belongs to atomics.
#[allow(unsafe_code, reason = "to look at the bytes of a lease")]
fn word(memory: &Owned<Cooperative>, at: usize) -> u32 {
    assert!(at + 4 <= memory.len() && at.is_multiple_of(4));
    // SAFETY: inside the lease.
    let place = unsafe { memory.base().add(at) }.cast::<AtomicU32>();
    // SAFETY: aligned, and reached by atomics only.
    u32::from_le(unsafe { place.as_ref() }.load(Ordering::Relaxed))
}

fn row(memory: &Owned<Cooperative>, partition: usize) -> Row {
    let at = claims_at() + 128 * partition;
    let claim = word(memory, at);
    let (epoch, copy) = (claim >> 8, (claim & 1) as usize);
    let words: [u32; 9] = std::array::from_fn(|index| word(memory, at + [32, 80][copy] + 4 * index));
    assert!(
        words.iter().all(|word| word >> 8 == words[0] >> 8 && word >> 8 <= epoch),
        "the copy in use is of one epoch"
    );
    let digits = words.map(|word| word as u8);
    let offset = u64::from_le_bytes(digits[..8].try_into().unwrap());
    let crc = digits[..8].iter().fold(0_u8, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc, _| if crc & 0x80 != 0 { (crc << 1) ^ 7 } else { crc << 1 })
    });
    let committed = if digits[8] == 0 && offset == 0 { None } else { Some(offset) };
    assert!(committed.is_none() || digits[8] == crc ^ 0xa5, "the copy in use is whole");
    Row { epoch, owner: ((claim >> 1) & 0x7f).checked_sub(1), copy, committed }
}

/// Whether a place is held, and by which of its holders.
fn place(memory: &Owned<Cooperative>, place: u32) -> (bool, u32) {
    let word = word(memory, 256 + 128 * place as usize);
    (word & 1 == 1, word >> 9)
}

// ---- the stage

thread_local! {
    static WORLD: RefCell<Option<Box<World>>> = const { RefCell::new(None) };
}

fn with<R>(run: impl FnOnce(&mut World) -> R) -> R {
    WORLD.with(|world| run(world.borrow_mut().as_mut().expect("a world")))
}

/// What a killed party's call ends with.
struct Killed;

/// A lease of the area, as one process has it.
struct Stage {
    memory: Arc<Owned<Cooperative>>,
    token: u32,
    dead: Arc<AtomicBool>,
}

// SAFETY: the bytes are those of a lease that it holds.
#[allow(unsafe_code, reason = "a lease that calls the simulation")]
unsafe impl Lease for Stage {
    type Trust = Cooperative;

    fn base(&self) -> NonNull<u8> {
        self.memory.base()
    }
    fn len(&self) -> usize {
        self.memory.len()
    }
    fn check(&self) -> Result<(), LeaseError> {
        // After a failure the area is left as it is.
        if self.dead.load(Ordering::Relaxed) || std::thread::panicking() {
            return Err(LeaseError::Disconnected);
        }
        interrupt();
        Ok(())
    }
    fn token(&self) -> u32 {
        self.token
    }
    fn is_gone(&self, token: u32) -> bool {
        interrupt();
        with(|world| world.gone.contains(&token))
    }
    fn clean(&self, _: usize, _: usize) {
        if !std::thread::panicking() {
            with(World::verify);
            interrupt();
        }
    }
    fn invalidate(&self, _: usize, _: usize) {
        interrupt();
    }
}

/// Called between any two accesses to the area: perhaps others work now, for as long as they like.
fn interrupt() {
    if std::thread::panicking() {
        return;
    }
    let turns = with(|world| {
        let depth = world.at_work.len();
        if depth == 0 || depth > 3 || world.calm || world.budget == 0 {
            return Some(0);
        }
        world.accesses += 1;
        if world.rng.one_in(world.kill_one_in) {
            world.seen.killed_inside += 1;
            return None;
        }
        if !world.rng.one_in(world.pause_one_in) {
            return Some(0);
        }
        world.seen.pauses += 1;
        Some(world.rng.within(1, 12))
    });
    match turns {
        Some(turns) => (0..turns).for_each(|_| turn()),
        None => resume_unwind(Box::new(Killed)),
    }
}

// ---- who is on it

/// A clock of one's own.
#[derive(Clone, Copy, Debug)]
struct Drift {
    /// Thousandths of its own for each one that really goes by; 0 if it stands still.
    rate: u64,
    /// Its time, and the real one, when its rate was set.
    from: (u64, u64),
}

impl Drift {
    fn now(self, real: u64) -> u64 {
        self.from.0 + (real - self.from.1) * self.rate / 1000
    }
    fn change(&mut self, real: u64, rate: u64, jump: i64) {
        *self = Self { rate, from: (self.now(real).saturating_add_signed(jump), real) };
    }
}

type SimMember = Member<Arc<Group<Stage>>, MOST_PARTITIONS, { PLACES as usize }>;

struct Actor {
    id: u32,
    name: Option<Name>,
    token: u32,
    dead: Arc<AtomicBool>,
    member: SimMember,
    clock: Drift,
    /// The latest time that it was told.
    told: u64,
    /// The first offset that is not dealt with, of each partition that it reads; and the epoch it reads it under.
    reads: BTreeMap<u32, (u32, u64)>,
}

#[derive(Debug, Default)]
struct Seen {
    pauses: u64,
    killed_inside: u64,
    killed: u64,
    joins: u64,
    static_again: u64,
    taken: u64,
    taken_over: u64,
    moved: u64,
    commits: u64,
    stale: u64,
    lost: u64,
    lapsed: u64,
    fenced: u64,
    left: u64,
    observed: u64,
}

struct World {
    rng: Rng,
    real: u64,
    memory: Arc<Owned<Cooperative>>,
    partitions: u32,
    actors: Vec<Option<Actor>>,
    next_id: u32,
    /// Who is at work, the outermost first: all but the last are held.
    at_work: Vec<u32>,
    calm: bool,
    pause_one_in: u64,
    kill_one_in: u64,
    proofs: bool,
    jumps: bool,
    gone: BTreeSet<u32>,
    rows: Vec<Row>,
    /// Who took a partition under an epoch: never anybody else.
    owners: BTreeMap<(u32, u32), u32>,
    /// The incarnation of the owner's place when it took the partition.
    incarnations: Vec<u32>,
    /// The place's incarnation of each actor that has joined.
    seats: BTreeMap<u32, (u32, u32)>,
    /// What an actor is committing; taken when it shows in the area.
    intents: BTreeMap<u32, (u32, u64)>,
    /// Turns that are left.
    budget: u64,
    accesses: u64,
    trace: u64,
    seen: Seen,
}

impl World {
    fn note(&mut self, words: &[u64]) {
        for word in words {
            self.trace = (self.trace ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17);
        }
    }

    /// What has changed in the area since the last store, and whether it may.
    fn verify(&mut self) {
        let Some(&actor) = self.at_work.last() else { return };
        for partition in 0..self.partitions {
            let (old, new) = (self.rows[partition as usize], row(&self.memory, partition as usize));
            if old == new {
                continue;
            }
            self.rows[partition as usize] = new;
            self.note(&[u64::from(actor), partition.into(), new.epoch.into(), new.committed.unwrap_or(0)]);
            if new.epoch == old.epoch {
                let owner = self.owners.get(&(partition, new.epoch));
                assert_eq!(owner, Some(&actor), "{partition}: only its owner changes {old:?} to {new:?}");
                if new.owner == old.owner {
                    assert_ne!(new.copy, old.copy, "a commit is published by the claim");
                    assert!(old.committed <= new.committed, "committed offsets never go back: {old:?} to {new:?}");
                    let intent = self.intents.remove(&actor);
                    assert_eq!(intent, new.committed.map(|offset| (partition, offset)), "nothing else is committed");
                    self.seen.commits += 1;
                } else {
                    assert_eq!((new.owner, new.copy, new.committed), (None, old.copy, old.committed), "given back");
                }
                continue;
            }
            // Taken, or taken away for nobody.
            assert_eq!(new.epoch, old.epoch + 1, "epochs rise by one");
            assert_eq!((new.copy, new.committed), (old.copy, old.committed), "with what was committed before");
            let before = self.owners.insert((partition, new.epoch), actor);
            assert_eq!(before, None, "one owner per epoch");
            let incarnation = self.incarnations[partition as usize];
            if let Some(seat) = old.owner {
                let there = place(&self.memory, seat);
                assert_ne!(
                    there,
                    (true, incarnation),
                    "{partition}: taken from a living owner that has not given it back"
                );
                self.seen.taken_over += 1;
            }
            self.seen.taken += 1;
            if new.owner.is_some() {
                // One that was given up without knowing it yet may still take what is free. It has a claim then, like anybody.
                let (seat, incarnation) = self.seats[&actor];
                assert_eq!(new.owner, Some(seat));
                self.incarnations[partition as usize] = incarnation;
            }
        }
    }

    fn start(&mut self, name: Option<Name>) {
        let id = self.next_id;
        self.next_id += 1;
        let dead = Arc::new(AtomicBool::new(false));
        let token = if self.proofs { id + 1 } else { 0 };
        let stage = Stage { memory: Arc::clone(&self.memory), token, dead: Arc::clone(&dead) };
        let rate = self.rng.within(900, 1100);
        let clock = Drift { rate, from: (self.rng.below(1 << 40), self.real) };
        let mut config = MemberConfig::new().with_session(Ticks::from_millis(SESSION));
        if self.rng.one_in(2) {
            config = config.with_interval(Ticks::from_millis(self.rng.within(50, 2 * LONGEST)));
        }
        if let Some(name) = name {
            config = config.with_name(name);
        }
        START.with(|start| start.borrow_mut().push((id, name, token, dead, stage, config, clock)));
    }
}

type Starting = (u32, Option<Name>, u32, Arc<AtomicBool>, Stage, MemberConfig, Drift);

thread_local! {
    // Attaching calls the lease's hooks, which must find the world free.
    static START: RefCell<Vec<Starting>> = const { RefCell::new(Vec::new()) };
}

fn start(name: Option<Name>) {
    with(|world| world.start(name));
    let (id, name, token, dead, stage, config, clock) = START.with(|start| start.borrow_mut().pop()).expect("just put");
    let calm = with(|world| std::mem::replace(&mut world.calm, true));
    let group = Arc::new(Group::attach(stage).expect("it was formatted"));
    let member = Member::new(group, config).expect("small enough");
    with(|world| {
        world.calm = calm;
        world.actors.push(Some(Actor { id, name, token, dead, member, clock, told: 0, reads: BTreeMap::new() }));
    });
}

/// Ends an actor as a crash does: nothing is given back.
fn bury(actor: Actor) {
    with(|world| {
        world.seen.killed += 1;
        world.gone.insert(actor.token);
        world.intents.remove(&actor.id);
    });
    actor.dead.store(true, Ordering::Relaxed);
    drop(actor);
}

impl Actor {
    fn now(&mut self) -> Ticks {
        let now = self.clock.now(with(|world| world.real));
        self.told = self.told.max(now);
        Ticks::from_millis(now)
    }

    /// One step, and what follows from it. Answers whether there may be more to do; `None` if this one is finished.
    fn step(&mut self) -> Option<bool> {
        let now = self.now();
        match self.member.step(now) {
            Ok(None) => Some(false),
            Ok(Some(event)) => {
                self.follow(event);
                Some(true)
            }
            Err(MemberError::Full { .. }) => Some(false),
            Err(MemberError::Lapsed) => {
                assert!(self.reads.is_empty(), "it was told first what became of its partitions");
                with(|world| world.seen.lapsed += 1);
                Some(true)
            }
            Err(MemberError::Fenced) => {
                assert!(self.name.is_some() && self.reads.is_empty());
                with(|world| world.seen.fenced += 1);
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn follow(&mut self, event: Event) {
        match event {
            Event::Joined { place, incarnation } => with(|world| {
                world.seen.joins += 1;
                world.seats.insert(self.id, (place, incarnation.value()));
            }),
            Event::Assigned(claim) => {
                let committed = claim.committed.expect("no damage").map_or(0, Offset::value);
                let before = self.reads.insert(claim.partition, (claim.epoch.value(), committed));
                assert_eq!(before, None, "it has not had it");
                with(|world| {
                    world.seen.moved += 1;
                    let owner = world.owners.get(&(claim.partition, claim.epoch.value()));
                    assert_eq!(owner, Some(&self.id), "it is told only what it has taken");
                });
            }
            Event::Revoked { partition, epoch } => {
                assert_eq!(self.reads.get(&partition).map(|(epoch, _)| *epoch), Some(epoch.value()));
                self.commit(partition);
                self.reads.remove(&partition);
            }
            Event::Lost { partition, claimed, current } => {
                assert!(current > claimed);
                with(|world| world.seen.lost += 1);
                assert_eq!(self.reads.remove(&partition).map(|(epoch, _)| epoch), Some(claimed.value()));
            }
            _ => {}
        }
    }

    fn commit(&mut self, partition: u32) {
        let (epoch, offset) = self.reads[&partition];
        with(|world| world.intents.insert(self.id, (partition, offset)));
        let outcome = self.member.commit(partition, Offset::new(offset));
        let (open, row) = with(|world| (world.intents.remove(&self.id).is_some(), world.rows[partition as usize]));
        match outcome {
            Ok(()) => {
                // Either it has shown in the area, or it stood there already.
                assert!(!open || row.committed >= Some(offset), "what is said to be committed is");
            }
            Err(OffsetError::Stale { claimed, current }) => {
                assert!(open, "what is refused has not shown in the area");
                assert!(claimed.value() == epoch && current > claimed && row.epoch > epoch, "it is out of date");
                with(|world| world.seen.stale += 1);
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Looks at a partition, as anybody may.
    fn observe(&self, partition: u32) {
        let before = with(|world| world.rows[partition as usize]);
        match self.member.group().claim_of(partition) {
            Ok(claim) => {
                let after = with(|world| world.rows[partition as usize]);
                let committed = claim.committed.map(Offset::value);
                assert!(
                    before.committed <= committed && committed <= after.committed,
                    "{before:?} {claim:?} {after:?}"
                );
                assert!(before.epoch <= claim.epoch.value() && claim.epoch.value() <= after.epoch);
            }
            Err(error) => assert_eq!(error, OffsetError::Unavailable),
        }
        with(|world| world.seen.observed += 1);
    }

    /// Does something. `None` if it is finished.
    fn act(&mut self) -> Option<()> {
        let (choice, pick, more) = with(|world| (world.rng.below(10), world.rng.next(), world.rng.within(1, 300)));
        let count = self.reads.len() as u64;
        let picked = (count > 0).then(|| *self.reads.keys().nth((pick % count.max(1)) as usize).unwrap());
        match (choice, picked) {
            (0, _) => self.observe((pick % u64::from(self.member.group().partitions())) as u32),
            (1 | 2, Some(partition)) => {
                self.reads.get_mut(&partition).unwrap().1 += more;
                self.commit(partition);
            }
            (3, _) => {
                let now = self.now();
                self.member.heartbeat(now).expect("a live lease");
            }
            _ => {
                for _ in 0..more % 4 {
                    self.step()?;
                }
            }
        }
        Some(())
    }
}

/// Lets somebody who is not held do something, or something happen to them.
fn turn() {
    let action = with(|world| {
        world.budget = world.budget.saturating_sub(1);
        world.real += match world.rng.below(8) {
            0 => world.rng.within(0, 2 * SESSION),
            1..=4 => world.rng.within(0, LONGEST / 2),
            _ => 0,
        };
        let free: Vec<usize> = (0..world.actors.len()).filter(|index| world.actors[*index].is_some()).collect();
        let (real, living) = (world.real, free.len());
        if living < 2 || living < 8 && world.rng.one_in(24) {
            let named = world.rng.one_in(2).then(|| world.rng.below(4));
            return Err(named.map(|number| Name::new(&format!("static-{number}")).unwrap()));
        }
        let index = *world.rng.pick(&free);
        let mut actor = world.actors[index].take().expect("free");
        if world.jumps && world.rng.one_in(16) {
            let rate = if world.rng.one_in(4) { 0 } else { world.rng.within(900, 1100) };
            let jump = [0, 5_000, -5_000, 1 << 33][world.rng.size(4)];
            actor.clock.change(real, rate, jump);
        }
        world.at_work.push(actor.id);
        Ok((index, actor, world.rng.below(40)))
    });
    let (index, mut actor, fate) = match action {
        Ok(action) => action,
        Err(name) => {
            if name.is_some() {
                with(|world| world.seen.static_again += 1);
            }
            return start(name);
        }
    };
    let id = actor.id;
    let outcome = catch_unwind(AssertUnwindSafe(|| actor.act()));
    with(|world| assert_eq!(world.at_work.pop(), Some(id)));
    match outcome {
        Ok(Some(())) if fate == 0 => bury(actor),
        Ok(Some(())) if fate == 1 => {
            with(|world| world.at_work.push(id));
            let dead = Arc::clone(&actor.dead);
            let token = actor.token;
            // Whoever dies while it leaves has left some of it.
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let partitions: Vec<u32> = actor.reads.keys().copied().collect();
                for partition in partitions {
                    actor.commit(partition);
                }
            }));
            if outcome.is_ok() {
                with(|world| world.calm = true);
                actor.member.leave().expect("a live lease");
                with(|world| world.calm = false);
            }
            with(|world| {
                world.at_work.pop();
                world.seen.left += 1;
                world.gone.insert(token);
                world.intents.remove(&id);
            });
            dead.store(true, Ordering::Relaxed);
            if let Err(panic) = outcome
                && !panic.is::<Killed>()
            {
                resume_unwind(panic);
            }
        }
        Ok(Some(())) => with(|world| world.actors[index] = Some(actor)),
        // Fenced: its end, in order.
        Ok(None) => bury(actor),
        Err(panic) if panic.is::<Killed>() => bury(actor),
        Err(panic) => resume_unwind(panic),
    }
}

/// No more faults: everybody steps often, by clocks that drift and no more. All partitions are owned within the bound.
fn heal() {
    with(|world| world.calm = true);
    if with(|world| world.actors.iter().flatten().next().is_none()) {
        start(None);
    }
    let mut actors: Vec<Actor> = with(|world| {
        let real = world.real;
        let mut actors: Vec<_> = world.actors.drain(..).flatten().collect();
        for actor in &mut actors {
            let rate = world.rng.within(900, 1100);
            // One that was set back has caught up: until then it stands still for its member.
            actor.clock = Drift { rate, from: (actor.clock.now(real).max(actor.told), real) };
        }
        actors
    });
    // By the slowest clock: a session, two intervals, and two more for what was being handed over.
    let bound = (SESSION + 4 * LONGEST) * 10 / 9 + 20;
    let mut end = with(|world| world.real) + bound;
    while with(|world| world.real) < end {
        with(|world| world.real += 10);
        if actors.is_empty() {
            // All of them were fenced by others of their names, who are dead.
            start(None);
            actors.extend(with(|world| world.actors.pop()).flatten());
            end = with(|world| world.real) + bound;
        }
        actors.retain_mut(|actor| {
            loop {
                with(|world| world.at_work.push(actor.id));
                let more = actor.step();
                with(|world| world.at_work.pop());
                match more {
                    Some(true) => {}
                    Some(false) => return true,
                    None => {
                        with(|world| world.gone.insert(actor.token));
                        return false;
                    }
                }
            }
        });
    }
    let partitions = with(|world| world.partitions);
    let members: Vec<_> = actors.iter().filter(|actor| actor.member.place().is_some()).collect();
    for partition in 0..partitions {
        let owners = members.iter().filter(|actor| actor.member.owns(partition)).count();
        assert_eq!(owners, 1, "partition {partition} is owned {bound} ms after the last fault");
    }
    let shares: Vec<usize> = members.iter().map(|actor| actor.member.owned().count()).collect();
    assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1, "{shares:?}");
    assert_eq!(shares.iter().sum::<usize>(), partitions as usize, "nobody has what it does not own");
    drop(actors);
}

fn world(seed: u64) -> World {
    let mut rng = Rng::new(seed);
    let partitions = rng.within(1, MOST_PARTITIONS as u64) as u32;
    let config = GroupConfig::new("group", "topic", partitions).with_places(PLACES);
    let config = config.with_session(Ticks::from_millis(SESSION));
    let memory = Arc::new(Owned::new(config.lease_bytes().unwrap()));
    let pause_one_in = *rng.pick(&[15, 40, 100, 300]);
    let kill_one_in = *rng.pick(&[500, 3_000, u64::MAX]);
    World {
        real: rng.below(1 << 40),
        memory,
        partitions,
        actors: Vec::new(),
        next_id: 0,
        at_work: Vec::new(),
        calm: true,
        pause_one_in,
        kill_one_in,
        proofs: rng.one_in(2),
        jumps: rng.one_in(2),
        gone: BTreeSet::new(),
        rows: vec![Row::default(); partitions as usize],
        owners: BTreeMap::new(),
        incarnations: vec![0; partitions as usize],
        seats: BTreeMap::new(),
        intents: BTreeMap::new(),
        budget: TURNS,
        accesses: 0,
        trace: seed,
        seen: Seen::default(),
        rng,
    }
}

/// One seed from its start to its healing. Answers what was seen.
fn simulate(seed: u64) -> (u64, u64, Seen) {
    WORLD.set(Some(Box::new(world(seed))));
    let stage =
        with(|world| Stage { memory: Arc::clone(&world.memory), token: 0, dead: Arc::new(AtomicBool::new(false)) });
    let partitions = with(|world| world.partitions);
    let config = GroupConfig::new("group", "topic", partitions).with_places(PLACES);
    drop(Group::format(stage, config.with_session(Ticks::from_millis(SESSION))).expect("room for it"));
    with(|world| world.calm = false);
    let outcome = catch_unwind(|| {
        while with(|world| world.budget > 0) {
            turn();
        }
        heal();
    });
    if let Err(panic) = outcome {
        // What is left of it would call the stage when it is dropped.
        std::mem::forget(WORLD.take());
        resume_unwind(panic);
    }
    let world = WORLD.take().expect("the world");
    (world.trace, world.accesses, world.seen)
}

#[test]
fn whatever_happens_a_partition_has_one_owner_and_offsets_never_go_back() {
    let mut total = Seen::default();
    let (mut seeds, mut accesses) = (0_u64, 0_u64);
    with_seeds("membership", 0x6d65_6d62_6572, SEEDS * scale(), |seed| {
        let (_, count, seen) = simulate(seed);
        seeds += 1;
        accesses += count;
        macro_rules! add { ($($field:ident)*) => { $(total.$field += seen.$field;)* }; }
        add!(pauses killed_inside killed joins static_again taken taken_over moved commits stale lost lapsed fenced left observed);
    });
    println!(
        "passed {seeds} seeds: {accesses} accesses, {} pauses inside operations, {} killed ({} inside), {} joined, {} left, \
         {} lapsed, {} fenced, {} claims ({} taken over), {} commits, {} refused as stale, {} observed, 0 violations",
        total.pauses,
        total.killed,
        total.killed_inside,
        total.joins,
        total.left,
        total.lapsed,
        total.fenced,
        total.taken,
        total.taken_over,
        total.commits,
        total.stale,
        total.observed,
    );
    if seeds >= SEEDS {
        let marks = [
            total.pauses,
            total.killed_inside,
            total.killed,
            total.joins,
            total.static_again,
            total.taken_over,
            total.moved,
            total.commits,
            total.stale,
            total.lost,
            total.lapsed,
            total.fenced,
            total.left,
            total.observed,
        ];
        assert!(marks.iter().all(|mark| *mark >= 20), "nothing is left out: {total:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..10 {
        let (one, accesses, _) = simulate(seed);
        let (two, again, _) = simulate(seed);
        assert_eq!((one, accesses), (two, again), "seed {seed}");
    }
}
