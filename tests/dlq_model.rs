//! Dead letters against a model of plain lists, by seeded random operations.
//!
//! The model knows what is documented: which record may be handed out when, what becomes of it, which letters are in the
//! queue and in which order, and when it is full. After every step the books must balance: the router's counters are those
//! of the model, `consumed = acked + pending + dead + parked`, and the queue holds exactly the letters that it should, with
//! all they should say. At the end everything is drained: no record may be missing.
//!
//! `FABRIC_MQ_SCALE` multiplies the runs, `FABRIC_MQ_SEED` replays one.

#![cfg(all(feature = "std", not(loom)))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

#[path = "common/clocked.rs"]
mod clocked;
mod common;

use clocked::Clocked;
use common::{Rng, scale, with_seeds};
use fabric_mq::clock::{Clock, ManualClock};
use fabric_mq::dlq::{
    Cause, DeadLetters, DlqError, DlqRouter, LetterAt, OnFailure, Receipt, RedriveOptions, RedriveState, Redriven,
    Settled, Verdict,
};
use fabric_mq::lease::HeapPool;
use fabric_mq::message::Record;
use fabric_mq::producer::{Producer, SendError};
use fabric_mq::topic::{TopicConfig, TopicManager};
use fabric_mq::{Offset, Ticks};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

type Router<const T: usize> = DlqRouter<&'static str, Clocked, 4, T>;

const SLOTS: u64 = 16;

/// A record as it lies in the source.
#[derive(Clone, Debug)]
struct Sent {
    id: u64,
    redrives: u16,
    /// Failures that the mark says.
    kept: u32,
    origin: (u32, u64),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Out(Receipt),
    Parked,
    Waiting,
}

#[derive(Clone, Debug)]
struct Row {
    state: State,
    attempts: u32,
    first: Option<Ticks>,
    last: Ticks,
    due: Ticks,
    cause: Cause,
    reason: String,
    polled: u64,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Letter {
    Junk,
    Sound {
        id: u64,
        source: (u32, u64),
        cause: Cause,
        attempts: u32,
        redrives: u16,
        origin: (u32, u64),
        times: (Ticks, Ticks, Ticks),
        reason: String,
    },
}

#[derive(Default)]
struct Books {
    consumed: u64,
    acked: u64,
    dead: u64,
    recalled: u64,
    failures: u64,
    deferred: u64,
    handed: u64,
}

struct Model {
    policy: OnFailure,
    limit: u32,
    delay: Ticks,
    logs: Vec<Vec<Sent>>,
    /// The first record that was not taken by the router there is.
    next: Vec<u64>,
    rows: BTreeMap<(u32, u64), Row>,
    graves: Vec<Vec<Letter>>,
    grave_slots: u64,
    /// Letters that were taken out; the queue may still know them when a router comes.
    gone: BTreeSet<(u32, u64)>,
    /// How far each source partition reached when the router came.
    ends: Vec<u64>,
    books: Books,
    round: u64,
    /// How often each record was acknowledged, given up or purged, and whether a restart may have brought it back.
    acks: BTreeMap<u64, u32>,
    lost: BTreeSet<u64>,
    restarts: u64,
}

impl Model {
    fn grave(&self, partition: u32) -> usize {
        partition as usize % self.graves.len()
    }
    fn floor(&self, partition: u32) -> u64 {
        let first = self.rows.keys().find(|(at, _)| *at == partition).map(|(_, offset)| *offset);
        first.unwrap_or(self.next[partition as usize])
    }
    fn is_full(&self, grave: usize) -> bool {
        self.graves[grave].len() as u64 >= self.grave_slots
    }
    fn is_dead(&self, partition: u32, offset: u64) -> bool {
        let is = |letter: &Letter| matches!(letter, Letter::Sound { source, .. } if *source == (partition, offset));
        self.graves[self.grave(partition)].iter().any(is)
    }
    /// Writes a letter if there is room; answers whether there was.
    fn bury(&mut self, at: (u32, u64), now: Ticks) -> bool {
        let grave = self.grave(at.0);
        if self.is_full(grave) {
            self.rows.get_mut(&at).unwrap().state = State::Parked;
            return false;
        }
        let row = self.rows.remove(&at).unwrap();
        let sent = &self.logs[at.0 as usize][at.1 as usize];
        let letter = Letter::Sound {
            id: sent.id,
            source: at,
            cause: row.cause,
            attempts: row.attempts,
            redrives: sent.redrives,
            origin: sent.origin,
            times: (row.first.unwrap_or(now), if row.first.is_some() { row.last } else { now }, now),
            reason: row.reason,
        };
        self.graves[grave].push(letter);
        self.books.dead += 1;
        true
    }
    /// Takes the records up to `to` as known to be dead.
    fn pass(&mut self, partition: u32, to: u64) {
        while self.next[partition as usize] < to {
            let offset = self.next[partition as usize];
            assert!(
                self.is_dead(partition, offset) || self.gone.contains(&(partition, offset)),
                "{partition}/{offset} was passed over"
            );
            self.next[partition as usize] += 1;
            self.books.consumed += 1;
            self.books.dead += 1;
            self.books.recalled += 1;
        }
    }
    /// A record is handed out: may it be?
    fn hand_out(&mut self, partition: u32, offset: u64, attempt: u32, now: Ticks) {
        let at = (partition, offset);
        self.books.handed += 1;
        if let Some(row) = self.rows.get_mut(&at) {
            assert_eq!(row.state, State::Waiting, "{at:?} is handed out");
            assert!(row.due <= now && row.polled != self.round, "{at:?} is not due");
            assert_eq!(attempt, row.attempts + 1);
            row.polled = self.round;
        } else {
            if self.policy == OnFailure::Block {
                assert!(!self.rows.keys().any(|(other, _)| *other == partition), "{at:?} overtakes");
            }
            self.pass(partition, offset);
            assert_eq!(self.next[partition as usize], offset, "new records come in order");
            assert!(offset >= self.ends[partition as usize] || !self.is_dead(partition, offset), "{at:?} is dead");
            let attempts = self.logs[partition as usize][offset as usize].kept;
            assert_eq!(attempt, attempts + 1);
            self.next[partition as usize] += 1;
            self.books.consumed += 1;
            let row = Row {
                state: State::Waiting,
                attempts,
                first: None,
                last: Ticks::ZERO,
                due: Ticks::ZERO,
                cause: Cause::TooManyFailures,
                reason: String::new(),
                polled: self.round,
            };
            self.rows.insert(at, row);
        }
    }
    /// What a verdict comes to.
    fn settle(&mut self, at: (u32, u64), verdict: &Verdict, now: Ticks) -> &'static str {
        let id = self.logs[at.0 as usize][at.1 as usize].id;
        let (limit, delay, round) = (self.limit, self.delay, self.round);
        let row = self.rows.get_mut(&at).unwrap();
        row.state = State::Waiting;
        row.polled = round;
        match verdict {
            Verdict::Ack => {
                self.rows.remove(&at);
                *self.acks.entry(id).or_default() += 1;
                self.books.acked += 1;
                "Acked"
            }
            Verdict::Defer(wait) => {
                row.due = now.plus(*wait);
                self.books.deferred += 1;
                "Deferred"
            }
            Verdict::Nack(reason) | Verdict::Reject(_, reason) => {
                row.attempts += 1;
                row.first.get_or_insert(now);
                row.last = now;
                row.reason = reason.as_str().to_owned();
                self.books.failures += 1;
                if let Verdict::Reject(cause, _) = verdict {
                    row.cause = *cause;
                } else if row.attempts < limit {
                    row.due = now.plus(delay);
                    return "Retry";
                }
                if self.bury(at, now) { "Dead" } else { "Parked" }
            }
            _ => unreachable!(),
        }
    }
    /// What every poll does first.
    fn drain(&mut self, now: Ticks) {
        for partition in 0..self.logs.len() as u32 {
            let parked = self.rows.iter().filter(|(at, row)| at.0 == partition && row.state == State::Parked);
            let parked: Vec<_> = parked.map(|(at, _)| *at).collect();
            for at in parked {
                if !self.bury(at, now) {
                    break;
                }
            }
        }
    }
    fn restart(&mut self) {
        for partition in 0..self.logs.len() {
            self.next[partition] = self.floor(partition as u32);
            self.ends[partition] = self.logs[partition].len() as u64;
        }
        self.rows.clear();
        self.books = Books::default();
        self.round = 0;
        self.restarts += 1;
    }
    /// Takes letters out of a queue, keeping its order: those before the last that goes move to the end. Answers those that
    /// went, and whether there was room for those that stay.
    fn sweep(
        &mut self,
        grave: usize,
        goes: impl Fn(&Letter) -> bool,
        mut most: u64,
        room: &mut dyn FnMut(&Letter) -> bool,
    ) -> (Vec<Letter>, bool) {
        let letters = &mut self.graves[grave];
        let Some(last) = letters.iter().rposition(&goes) else { return (Vec::new(), true) };
        let mut gone = Vec::new();
        for _ in 0..=last {
            if most == 0 {
                return (gone, false);
            }
            if goes(&letters[0]) {
                if !room(&letters[0]) {
                    return (gone, false);
                }
                gone.push(letters.remove(0));
                most -= 1;
            } else {
                if letters.len() as u64 >= self.grave_slots {
                    return (gone, false);
                }
                let kept = letters.remove(0);
                letters.push(kept);
            }
        }
        for letter in &gone {
            if let Letter::Sound { source, .. } = letter {
                self.gone.insert(*source);
            }
        }
        (gone, true)
    }
}

struct World<const T: usize> {
    clock: Arc<ManualClock>,
    topics: Clocked,
    queue: DeadLetters,
    router: Option<Router<T>>,
    model: Model,
    rng: Rng,
    ids: u64,
    counts: [u64; 8],
}

fn word(name: &str) -> usize {
    ["Acked", "Dead", "Deferred", "Parked", "Retry"].iter().position(|other| *other == name).unwrap()
}

impl<const T: usize> World<T> {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let clock = Arc::new(ManualClock::new());
        let topics = TopicManager::with_pool(HeapPool::new(Arc::clone(&clock)), Arc::clone(&clock));
        let (sources, graves) = (rng.within(1, 3), rng.within(1, 2));
        let grave_slots = 1 << rng.within(2, 5);
        let shape = TopicConfig::new().with_groups(4);
        let source = shape.with_partitions(sources as u32).with_slots_and_stride(SLOTS as u32, 1024);
        topics.create("orders", source).unwrap();
        let dead = shape.with_partitions(graves as u32).with_slots_and_stride(grave_slots as u32, 1024);
        topics.create("orders.dlq", dead.with_dead_letters(true)).unwrap();
        let policy = *rng.pick(&[OnFailure::Block, OnFailure::SkipAside]);
        let model = Model {
            policy,
            limit: rng.within(1, 4) as u32,
            delay: Ticks::from_millis(rng.below(3)),
            logs: vec![Vec::new(); sources as usize],
            next: vec![0; sources as usize],
            rows: BTreeMap::new(),
            graves: vec![Vec::new(); graves as usize],
            grave_slots,
            gone: BTreeSet::new(),
            ends: vec![0; sources as usize],
            books: Books::default(),
            round: 0,
            acks: BTreeMap::new(),
            lost: BTreeSet::new(),
            restarts: 0,
        };
        let mut world = Self {
            clock,
            topics,
            queue: DeadLetters::of("orders").unwrap(),
            router: None,
            model,
            rng,
            ids: 0,
            counts: [0; 8],
        };
        world.start();
        world.model.restarts = 0;
        world
    }

    fn start(&mut self) {
        self.router = None;
        let mut router = Router::with_places("orders", "billing")
            .with_limit(self.model.limit)
            .with_on_failure(self.model.policy)
            .with_retry_delay(self.model.delay);
        router.assign(&(0..self.model.logs.len() as u32).collect::<Vec<_>>());
        self.model.restart();
        // It takes its places.
        let polled = router.poll_with(&self.topics, 0, |_| unreachable!()).unwrap();
        assert_eq!((polled.handed, polled.dead), (0, 0));
        self.model.round = 1;
        self.router = Some(router);
    }

    fn verdict(rng: &mut Rng) -> Verdict {
        match rng.below(8) {
            0 => Verdict::Defer(Ticks::from_millis(rng.below(4))),
            1 => Verdict::reject(rng.below(100)),
            2 => Verdict::undecodable(rng.below(100)),
            3 | 4 => Verdict::nack(format_args!("failed {}", rng.below(100))),
            _ => Verdict::Ack,
        }
    }

    fn send(&mut self) {
        for _ in 0..self.rng.within(1, 8) {
            let partition = self.rng.below(self.model.logs.len() as u64) as u32;
            let id = self.ids.to_le_bytes();
            let record = Record::new(&id).with_key(&id[..2]);
            let full = self.model.logs[partition as usize].len() as u64 - self.model.floor(partition) >= SLOTS;
            match Producer::new("orders").send_record_to(&self.topics, partition, record) {
                Ok(receipt) => {
                    assert!(!full);
                    let offset = receipt.offset().unwrap().value();
                    let sent = Sent { id: self.ids, redrives: 0, kept: 0, origin: (partition, offset) };
                    self.model.logs[partition as usize].push(sent);
                    self.ids += 1;
                }
                Err(error) => {
                    assert_eq!(error, SendError::Full { partition });
                    assert!(full, "{partition} has room");
                }
            }
        }
    }

    fn poll(&mut self, mut verdict: impl FnMut(&mut Rng) -> Option<Verdict>) -> usize {
        let now = self.clock.now();
        let max = self.rng.within(1, 20) as usize;
        let (model, rng, counts) = (&mut self.model, &mut self.rng, &mut self.counts);
        model.round += 1;
        model.drain(now);
        let before = model.books.handed;
        let take = verdict(rng).is_none();
        let check = |model: &mut Model, delivery: &fabric_mq::dlq::Delivery<'_>| {
            let message = delivery.message();
            let at = (message.partition(), message.offset().value());
            model.hand_out(at.0, at.1, delivery.attempt(), now);
            let sent = &model.logs[at.0 as usize][at.1 as usize];
            assert_eq!(message.payload(), sent.id.to_le_bytes());
            assert_eq!(message.key(), Some(&sent.id.to_le_bytes()[..2]));
            let mark = delivery.redriven().map(|mark| (mark.redrives, mark.partition, mark.offset.value()));
            assert_eq!(mark, (sent.redrives > 0).then_some((sent.redrives, sent.origin.0, sent.origin.1)));
            at
        };
        let router = self.router.as_mut().unwrap();
        let polled = if take {
            router.take_with(&self.topics, max, |delivery| {
                let at = check(model, &delivery);
                model.rows.get_mut(&at).unwrap().state = State::Out(delivery.receipt());
            })
        } else {
            router.poll_with(&self.topics, max, |delivery| {
                let at = check(model, &delivery);
                let verdict = verdict(rng).unwrap_or(Verdict::Ack);
                counts[word(model.settle(at, &verdict, now))] += 1;
                verdict
            })
        };
        let polled = polled.unwrap();
        assert!(polled.handed <= max);
        assert_eq!(polled.handed as u64, model.books.handed - before);
        // What it passed over behind the last that it handed out.
        for partition in 0..model.logs.len() as u32 {
            let position = router.position(partition).unwrap().value();
            model.pass(partition, position);
        }
        let parked = model.rows.values().any(|row| row.state == State::Parked);
        match polled.held {
            Some(DlqError::DlqFull { partition }) => assert!(model.is_full(partition as usize) && parked),
            Some(DlqError::TableFull { limit }) => assert!(limit == T && model.rows.len() == T),
            None => assert!(!parked, "nobody is told of what is parked"),
            other => panic!("{other:?}"),
        }
        polled.handed
    }

    fn settle(&mut self) {
        let out = self.model.rows.iter().filter_map(|(at, row)| match row.state {
            State::Out(receipt) => Some((*at, receipt)),
            _ => None,
        });
        let out: Vec<_> = out.collect();
        if out.is_empty() {
            return;
        }
        let (at, receipt) = *self.rng.pick(&out);
        let verdict = Self::verdict(&mut self.rng);
        let expected = self.model.settle(at, &verdict, self.clock.now());
        let settled = self.router.as_mut().unwrap().settle(&self.topics, receipt, verdict).unwrap();
        let found = match settled {
            Settled::Acked => "Acked",
            Settled::Dead { .. } => "Dead",
            Settled::Deferred => "Deferred",
            Settled::Parked(DlqError::DlqFull { .. }) => "Parked",
            Settled::Retry { attempts } => {
                assert_eq!(attempts, self.model.rows[&at].attempts);
                "Retry"
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(found, expected);
        self.counts[word(found)] += 1;
        let again = self.router.as_mut().unwrap().settle(&self.topics, receipt, Verdict::Ack);
        assert_eq!(again, Err(DlqError::Stale));
    }

    fn give_up(&mut self) {
        let rows: Vec<_> = self.model.rows.keys().copied().collect();
        if rows.is_empty() {
            return;
        }
        let at = *self.rng.pick(&rows);
        assert!(self.router.as_mut().unwrap().give_up(&self.topics, at.0, Offset::new(at.1)).unwrap());
        self.model.rows.remove(&at);
        self.model.books.acked += 1;
        self.model.lost.insert(self.model.logs[at.0 as usize][at.1 as usize].id);
    }

    fn redrive(&mut self, all: bool) {
        let residue = self.rng.below(3);
        let keep = self.rng.one_in(2);
        let rate = (!all && self.rng.one_in(2)).then(|| self.rng.within(1, 3000) as u32);
        let steps = if all { 1 } else { self.rng.within(1, 4) };
        let mut options = RedriveOptions::new().with_keep_attempts(keep);
        if let Some(rate) = rate {
            options = options.with_rate(rate);
        }
        let goes = move |letter: &Letter| matches!(letter, Letter::Sound { id, .. } if all || id % 3 == residue);
        let mut redrive = self.queue.redrive::<Clocked, _>(options, |letter| {
            all || u64::from_le_bytes(letter.payload().try_into().unwrap()) % 3 == residue
        });
        let start = self.clock.now();
        let mut moved = 0;
        for _ in 0..steps {
            let progress = redrive.step(&self.topics, self.clock.now()).unwrap();
            let gone = (self.clock.now().as_millis() - start.as_millis()) as f64;
            if let Some(rate) = rate {
                assert!(progress.moved as f64 <= f64::from(rate) * gone / 1000.0);
            }
            moved = progress.moved;
            match progress.state {
                RedriveState::Done => break,
                RedriveState::Running => assert!(rate.is_some()),
                _ => {}
            }
            self.clock.advance(Ticks::from_millis(self.rng.below(3)));
        }
        let finished = redrive.progress().state;
        drop(redrive);
        // The model does the same, as far as the real one got.
        let mut left = moved;
        let (floors, lens): (Vec<_>, Vec<_>) = (0..self.model.logs.len())
            .map(|at| (self.model.floor(at as u32), self.model.logs[at].len() as u64))
            .unzip();
        let mut lens = lens;
        let mut arrived = Vec::new();
        for grave in 0..self.model.graves.len() {
            let budget = if finished == RedriveState::Done { u64::MAX } else { left };
            let mut room = |letter: &Letter| {
                let Letter::Sound { source, .. } = letter else { unreachable!() };
                let at = source.0 as usize;
                let has = lens[at] - floors[at] < SLOTS;
                lens[at] += u64::from(has);
                has
            };
            let (gone, whole) = self.model.sweep(grave, goes, budget, &mut room);
            left -= gone.len() as u64;
            arrived.extend(gone);
            if !whole {
                break;
            }
        }
        assert_eq!(left, 0, "{finished:?}");
        if finished != RedriveState::Done && !arrived.is_empty() {
            for letter in &arrived {
                if let Letter::Sound { source, .. } = letter {
                    self.model.gone.insert(*source);
                }
            }
        }
        for letter in arrived {
            let Letter::Sound { id, source, attempts, redrives, origin, .. } = letter else { unreachable!() };
            let kept = if keep { attempts } else { 0 };
            self.model.logs[source.0 as usize].push(Sent { id, redrives: redrives + 1, kept, origin });
            self.counts[5] += 1;
        }
        // A real sweep that stopped may have kept more at the end than the model knows: the order is compared, the rest too.
        self.resync();
    }

    /// After a sweep that was broken off, letters that stay may have been moved or not: takes the order from the queue, if it
    /// is a rotation of what should be there.
    fn resync(&mut self) {
        for grave in 0..self.model.graves.len() {
            let found = self.browse(grave);
            let expected = &mut self.model.graves[grave];
            if *expected != found {
                let rotations = (0..expected.len()).any(|by| {
                    let mut rotated = expected.clone();
                    rotated.rotate_left(by);
                    rotated == found
                });
                assert!(rotations, "{expected:#?}\nis no rotation of\n{found:#?}");
                *expected = found;
            }
        }
    }

    fn browse(&self, grave: usize) -> Vec<Letter> {
        let mut found = Vec::new();
        // Junk is not shown, so each place is looked at alone.
        let mut reader = fabric_mq::consumer::Consumer::new("orders.dlq", "dlq");
        reader.assign(&[grave as u32]);
        for message in reader.poll(&self.topics, 1000).unwrap() {
            let Ok(letter) = fabric_mq::dlq::DeadLetter::parse(message.view()) else {
                found.push(Letter::Junk);
                continue;
            };
            let id = u64::from_le_bytes(letter.payload().try_into().unwrap());
            assert_eq!((letter.source_topic(), letter.group()), ("orders", "billing"));
            assert_eq!(letter.key(), Some(&id.to_le_bytes()[..2]));
            let source = (letter.source_partition(), letter.source_offset().value());
            let mark = Redriven::of(&message.view());
            found.push(Letter::Sound {
                id,
                source,
                cause: letter.cause(),
                attempts: letter.attempts(),
                redrives: letter.redrives(),
                origin: mark.map_or(source, |mark| (mark.partition, mark.offset.value())),
                times: (letter.first_failure(), letter.last_failure(), letter.died_at()),
                reason: letter.reason().to_owned(),
            });
        }
        found
    }

    fn purge(&mut self) {
        let gone: Vec<Letter> = match self.rng.below(3) {
            0 => {
                self.queue.purge_all(&self.topics).unwrap();
                self.model.graves.iter_mut().flat_map(std::mem::take).collect()
            }
            1 => {
                let time = Ticks::from_millis(self.rng.below(self.clock.now().as_millis() + 2));
                let purged = self.queue.purge_older_than(&self.topics, time);
                let goes = |letter: &Letter| matches!(letter, Letter::Sound { times, .. } if times.2 < time);
                let mut all = Vec::new();
                let mut whole = true;
                for grave in 0..self.model.graves.len() {
                    let (gone, done) = self.model.sweep(grave, goes, u64::MAX, &mut |_| true);
                    all.extend(gone);
                    whole &= done;
                    if !done {
                        break;
                    }
                }
                match purged {
                    Ok(count) => assert!(whole && count == all.len() as u64),
                    Err(error) => assert!(!whole && matches!(error, DlqError::DlqFull { .. })),
                }
                all
            }
            _ => {
                let grave = self.rng.size(self.model.graves.len());
                let (mut at, len) = (LetterAt::START, self.model.graves[grave].len());
                let count = self.rng.size(len + 1);
                // The place of letter number `count`, by browsing.
                let mut places = Vec::new();
                self.queue
                    .browse_with(&self.topics, LetterAt::new(grave as u32, Offset::new(0)), 1000, |letter| {
                        if letter.partition() == grave as u32 {
                            places.push(letter.offset());
                        }
                    })
                    .unwrap();
                let Some(place) = places.get(count) else { return };
                at = LetterAt::new(grave as u32, *place).max(at);
                let purged = self.queue.purge_before(&self.topics, at).unwrap();
                self.model.graves[grave].drain(..purged as usize).collect()
            }
        };
        for letter in gone {
            if let Letter::Sound { id, source, .. } = letter {
                self.model.lost.insert(id);
                self.model.gone.insert(source);
                self.counts[6] += 1;
            }
        }
    }

    fn junk(&mut self) {
        let grave = self.rng.size(self.model.graves.len());
        let bytes = common::payload(self.rng.next(), self.rng.size(200));
        let sent = Producer::new("orders.dlq").send_to(&self.topics, grave as u32, &bytes);
        assert_eq!(sent.is_err(), self.model.is_full(grave));
        if sent.is_ok() {
            self.model.graves[grave].push(Letter::Junk);
        }
    }

    /// Everything there is to compare.
    fn check(&self) {
        let (model, router) = (&self.model, self.router.as_ref().unwrap());
        let counters = router.counters();
        assert!(counters.is_conserved(), "{counters:?}");
        let books = &model.books;
        let parked = model.rows.values().filter(|row| row.state == State::Parked).count() as u64;
        assert_eq!(
            (counters.consumed, counters.acked, counters.pending, counters.dead, counters.parked),
            (books.consumed, books.acked, model.rows.len() as u64 - parked, books.dead, parked)
        );
        assert_eq!(
            (counters.failures, counters.deferred, counters.recalled, counters.handed),
            (books.failures, books.deferred, books.recalled, books.handed)
        );
        for partition in 0..model.logs.len() as u32 {
            assert_eq!(router.floor(partition), Some(Offset::new(model.floor(partition))));
        }
        for failing in router.failing() {
            let row = &model.rows[&(failing.partition, failing.offset.value())];
            assert_eq!((failing.attempts, failing.reason), (row.attempts, row.reason.as_str()));
        }
        let letters: usize = model.graves.iter().map(Vec::len).sum();
        assert_eq!(self.queue.count(&self.topics), Ok(letters as u64));
        for grave in 0..model.graves.len() {
            assert_eq!(self.browse(grave), model.graves[grave]);
        }
    }

    /// Everything works again: every record must come to its end.
    fn drain(&mut self) {
        for turn in 0..1000 {
            self.clock.advance(Ticks::from_millis(10));
            while self.model.rows.values().any(|row| matches!(row.state, State::Out(_))) {
                self.settle();
            }
            self.poll(|_| Some(Verdict::Ack));
            self.redrive(true);
            // Junk goes by purging alone; in a full queue it keeps letters from going, too.
            if turn > 50 && self.model.graves.iter().flatten().any(|letter| *letter == Letter::Junk) {
                self.queue.purge_all(&self.topics).unwrap();
                for letter in self.model.graves.iter_mut().flat_map(std::mem::take) {
                    if let Letter::Sound { id, source, .. } = letter {
                        self.model.lost.insert(id);
                        self.model.gone.insert(source);
                    }
                }
            }
            self.check();
            let ends = self.model.logs.iter().map(|log| log.len() as u64);
            if ends.eq(self.model.next.iter().copied())
                && self.model.rows.is_empty()
                && self.model.graves.iter().all(Vec::is_empty)
            {
                for id in 0..self.ids {
                    let acks = self.model.acks.get(&id).copied().unwrap_or(0);
                    assert!(acks > 0 || self.model.lost.contains(&id), "{id} is nowhere");
                    assert!(acks <= 1 || self.model.restarts > 0, "{id} was processed {acks} times");
                }
                return;
            }
            self.deadlock();
        }
        panic!("it never came to an end");
    }

    /// A full queue, a full source and strict order wait for each other: whoever looks after them gives something up.
    fn deadlock(&mut self) {
        if self.model.rows.values().any(|row| row.state == State::Parked) {
            self.give_up();
        }
    }

    fn run(&mut self, steps: u64) {
        let restarts = self.rng.one_in(2);
        for _ in 0..steps {
            match self.rng.below(16) {
                0..=3 => self.send(),
                4..=6 => drop(self.poll(|rng| Some(Self::verdict(rng)))),
                7 => drop(self.poll(|_| None)),
                8..=9 => self.settle(),
                10 => self.clock.advance(Ticks::from_millis(self.rng.below(4))),
                11 if restarts => {
                    self.start();
                    self.counts[7] += 1;
                }
                12..=13 => self.redrive(false),
                14 if self.rng.one_in(3) => self.purge(),
                15 if self.rng.one_in(4) => self.junk(),
                15 if self.rng.one_in(8) => self.give_up(),
                _ => continue,
            }
            self.check();
        }
        self.drain();
    }
}

#[test]
fn dead_letters_are_as_in_the_model() {
    let mut counts = [0; 8];
    let mut ops = 0;
    with_seeds("dlq", 0x00de_ad1e_77e5, 60 * scale(), |seed| {
        let steps = 200;
        ops += steps;
        let found = match seed % 3 {
            0 => {
                let mut world = World::<3>::new(seed);
                world.run(steps);
                world.counts
            }
            1 => {
                let mut world = World::<6>::new(seed);
                world.run(steps);
                world.counts
            }
            _ => {
                let mut world = World::<32>::new(seed);
                world.run(steps);
                world.counts
            }
        };
        for (sum, count) in counts.iter_mut().zip(found) {
            *sum += count;
        }
    });
    let names = ["acked", "dead", "deferred", "parked", "retried", "redriven", "purged", "restarts"];
    println!("passed {ops} operations: {:?}", names.iter().zip(counts).collect::<Vec<_>>());
    if common::replay().is_none() {
        assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
    }
}
