//! A group of real processes on a lease that they share: killed, stopped, and started again.

#![cfg(all(feature = "std", unix, target_has_atomic = "64", not(loom)))]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "tests"
)]

#[path = "common/process.rs"]
mod process;

use fabric_mq::clock::{Clock, MachineClock};
use fabric_mq::group::{Event, Group, GroupConfig, Member, MemberConfig, MemberError};
use fabric_mq::lease::SharedLease;
use fabric_mq::offset::OffsetError;
use fabric_mq::{Name, Offset, Ticks};
use process::{Actor, Folder, say, setting};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PARTITIONS: u32 = 6;
const INTERVAL: u64 = 50;
/// Long beside what a loaded machine holds a process up for: what lapses here was proven dead, or stopped on purpose.
const SESSION: u64 = 3_000;

fn name() -> Name {
    Name::new("billing").unwrap()
}

fn patience() -> MemberConfig {
    MemberConfig::new().with_session(Ticks::from_millis(SESSION)).with_interval(Ticks::from_millis(INTERVAL))
}

type Process = Member<Arc<Group<SharedLease>>, 8, 8>;

/// Another process that is a member.
fn start(place: &Folder, name: &str) -> Actor {
    let actor = Actor::start(place, "member", &[("NAME", name)]);
    actor.comes_to_say("joined");
    actor
}

#[test]
#[ignore = "run by the other tests of this file: cargo test --test group_processes"]
fn an_actor_of_another_test() {
    if process::role().is_none() {
        return;
    }
    let pool = process::pool(&process::given_place());
    let group = Arc::new(Group::attach(pool.join_named(&name()).unwrap()).unwrap());
    let config = match setting("NAME").as_str() {
        "" => patience(),
        name => patience().with_name(Name::new(name).unwrap()),
    };
    let clock = MachineClock::new();
    let mut member: Process = Member::new(group, config).unwrap();
    loop {
        match member.step(clock.now()) {
            Ok(Some(Event::Joined { .. })) => say("joined"),
            Ok(Some(Event::Lost { .. })) => say("lost"),
            Ok(Some(_)) => continue,
            Ok(None) => {}
            Err(MemberError::Lapsed) => say("lapsed"),
            Err(MemberError::Fenced) => return say("fenced"),
            Err(MemberError::Full { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        for partition in 0..PARTITIONS {
            if !member.owns(partition) {
                continue;
            }
            let committed = member.group().committed(partition).unwrap().map_or(0, Offset::value);
            match member.commit(partition, Offset::new(committed + 1)) {
                Ok(()) => {}
                Err(OffsetError::Stale { .. }) => say("stale"),
                // Taken over and committed to between the two calls.
                Err(OffsetError::Behind { .. } | OffsetError::NotClaimed { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Watches the claims, and never sees an epoch or an offset go back.
struct Watcher {
    group: Group<SharedLease>,
    last: Vec<(u32, u64)>,
}

impl Watcher {
    fn look(&mut self) {
        for partition in 0..PARTITIONS {
            let Ok(claim) = self.group.claim_of(partition) else { continue };
            let now = (claim.epoch.value(), claim.committed.map_or(0, Offset::value));
            let before = std::mem::replace(&mut self.last[partition as usize], now);
            assert!(before.0 <= now.0 && before.1 <= now.1, "{partition}: {before:?} {now:?}");
        }
    }

    /// Waits until as many members share the partitions.
    #[track_caller]
    fn until_shared_by(&mut self, count: usize) {
        let start = Instant::now();
        loop {
            self.look();
            let places = self.group.members().map(|member| member.place);
            let owners: BTreeSet<_> =
                (0..PARTITIONS).filter_map(|partition| self.group.claim_of(partition).ok()?.place).collect();
            if places.collect::<BTreeSet<_>>() == owners && owners.len() == count {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "{owners:?} have partitions, not {count}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until every partition is committed to again; answers for how long.
    #[track_caller]
    fn until_all_move(&mut self) -> Duration {
        self.look();
        let (start, before) = (Instant::now(), self.last.clone());
        while self.last.iter().zip(&before).any(|(now, before)| now.1 <= before.1) {
            assert!(start.elapsed() < Duration::from_secs(60), "nobody takes over: {before:?} {:?}", self.last);
            std::thread::sleep(Duration::from_millis(1));
            self.look();
        }
        start.elapsed()
    }
}

fn format(place: &Folder) -> Watcher {
    let config = GroupConfig::new("billing", "events", PARTITIONS).with_places(8);
    let lease = place.pool().acquire_named(&name(), config.lease_bytes().unwrap(), Ticks::MAX).unwrap();
    Watcher { group: Group::format(lease, config).unwrap(), last: vec![(0, 0); PARTITIONS as usize] }
}

#[test]
fn the_partitions_of_killed_processes_are_taken_over_before_their_session_is_over() {
    let place = Folder::in_memory("kill");
    let mut watcher = format(&place);
    let mut actors: Vec<Actor> = (0..3).map(|_| start(&place, "")).collect();
    watcher.until_all_move();
    let mut fastest = Duration::MAX;
    for turn in 0..12 {
        watcher.until_shared_by(3);
        actors.remove(turn % 3).kill();
        fastest = fastest.min(watcher.until_all_move());
        actors.push(start(&place, ""));
    }
    watcher.until_shared_by(3);
    // The proof comes at the next look; only a machine that is busy with other things takes longer, and not each time.
    assert!(fastest < Duration::from_millis(SESSION / 2), "{fastest:?}: their death was not seen");
}

#[test]
fn a_stopped_process_is_given_up_and_told_when_it_goes_on() {
    let place = Folder::in_memory("stop");
    let mut watcher = format(&place);
    let (stopped, _other) = (start(&place, ""), start(&place, ""));
    watcher.until_shared_by(2);
    stopped.signal(Signal::STOP);
    watcher.until_shared_by(1);
    watcher.until_all_move();
    stopped.signal(Signal::CONT);
    stopped.comes_to_say("lapsed");
    stopped.comes_to_say("joined");
    watcher.until_shared_by(2);
    watcher.until_all_move();
}

#[test]
fn a_named_process_that_starts_again_fences_the_one_before_it() {
    let place = Folder::in_memory("name");
    let mut watcher = format(&place);
    let first = start(&place, "north");
    let other = start(&place, "south");
    watcher.until_shared_by(2);
    let mut again = start(&place, "north");
    first.comes_to_say("fenced");
    watcher.until_shared_by(2);
    watcher.until_all_move();
    // And the process that formatted the group may go, as long as it leaves the lease.
    let Watcher { group, last } = watcher;
    group.detach();
    let group = Group::attach(place.pool().join_named(&name()).unwrap()).unwrap();
    let mut watcher = Watcher { group, last };
    watcher.until_all_move();
    other.kill();
    watcher.until_shared_by(1);
    watcher.until_all_move();
    assert!(again.is_running(), "it lives");
}
