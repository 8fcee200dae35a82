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

use fabric_mq::clock::{Clock, MachineClock};
use fabric_mq::group::{Event, Group, GroupConfig, Member, MemberConfig, MemberError};
use fabric_mq::lease::{SharedLease, SharedPool};
use fabric_mq::offset::OffsetError;
use fabric_mq::{Name, Offset, Ticks};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PARTITIONS: u32 = 6;
const INTERVAL: u64 = 50;
/// Long beside what a loaded machine holds a process up for: what lapses here was proven dead, or stopped on purpose.
const SESSION: u64 = 3_000;

struct Place(PathBuf);

impl Place {
    fn new(test: &str) -> Self {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let path = parent.join(format!("fabric-mq-group-{}-{test}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn pool(path: &Path) -> SharedPool<MachineClock> {
    SharedPool::open(path, MachineClock::new()).unwrap()
}

fn name() -> Name {
    Name::new("billing").unwrap()
}

fn patience() -> MemberConfig {
    MemberConfig::new().with_session(Ticks::from_millis(SESSION)).with_interval(Ticks::from_millis(INTERVAL))
}

type Process = Member<Arc<Group<SharedLease>>, 8, 8>;

/// Another process that is a member. Killed with this value.
struct Actor {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Actor {
    fn start(place: &Place, name: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["a_member_of_another_test", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env("FABRIC_MQ_PLACE", &place.0)
            .env("FABRIC_MQ_NAME", name)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut this = Self { child, lines };
        this.says("joined");
        this
    }

    #[track_caller]
    fn says(&mut self, wanted: &str) {
        loop {
            let line = self.lines.next().expect("it says something more").unwrap();
            if line.split_once("@ ").is_some_and(|(_, said)| said == wanted) {
                return;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "the entry of the processes that the other tests start"]
fn a_member_of_another_test() {
    let pool = pool(Path::new(&std::env::var("FABRIC_MQ_PLACE").unwrap()));
    let group = Arc::new(Group::attach(pool.join_named(&name()).unwrap()).unwrap());
    let config = match std::env::var("FABRIC_MQ_NAME").unwrap().as_str() {
        "" => patience(),
        name => patience().with_name(Name::new(name).unwrap()),
    };
    let clock = MachineClock::new();
    let mut member: Process = Member::new(group, config).unwrap();
    loop {
        match member.step(clock.now()) {
            Ok(Some(Event::Joined { .. })) => println!("@ joined"),
            Ok(Some(Event::Lost { .. })) => println!("@ lost"),
            Ok(Some(_)) => continue,
            Ok(None) => {}
            Err(MemberError::Lapsed) => println!("@ lapsed"),
            Err(MemberError::Fenced) => return println!("@ fenced"),
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
                Err(OffsetError::Stale { .. }) => println!("@ stale"),
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

fn format(place: &Place) -> Watcher {
    let config = GroupConfig::new("billing", "events", PARTITIONS).with_places(8);
    let lease = pool(&place.0).acquire_named(&name(), config.lease_bytes().unwrap(), Ticks::MAX).unwrap();
    Watcher { group: Group::format(lease, config).unwrap(), last: vec![(0, 0); PARTITIONS as usize] }
}

#[test]
fn the_partitions_of_killed_processes_are_taken_over_before_their_session_is_over() {
    let place = Place::new("kill");
    let mut watcher = format(&place);
    let mut actors: Vec<Actor> = (0..3).map(|_| Actor::start(&place, "")).collect();
    watcher.until_all_move();
    let mut fastest = Duration::MAX;
    for turn in 0..12 {
        watcher.until_shared_by(3);
        actors.remove(turn % 3).kill();
        fastest = fastest.min(watcher.until_all_move());
        actors.push(Actor::start(&place, ""));
    }
    watcher.until_shared_by(3);
    // The proof comes at the next look; only a machine that is busy with other things takes longer, and not each time.
    assert!(fastest < Duration::from_millis(SESSION / 2), "{fastest:?}: their death was not seen");
}

#[test]
fn a_stopped_process_is_given_up_and_told_when_it_goes_on() {
    let place = Place::new("stop");
    let mut watcher = format(&place);
    let (mut stopped, _other) = (Actor::start(&place, ""), Actor::start(&place, ""));
    watcher.until_shared_by(2);
    stopped.signal(Signal::STOP);
    watcher.until_shared_by(1);
    watcher.until_all_move();
    stopped.signal(Signal::CONT);
    stopped.says("lapsed");
    stopped.says("joined");
    watcher.until_shared_by(2);
    watcher.until_all_move();
}

#[test]
fn a_named_process_that_starts_again_fences_the_one_before_it() {
    let place = Place::new("name");
    let mut watcher = format(&place);
    let mut first = Actor::start(&place, "north");
    let other = Actor::start(&place, "south");
    watcher.until_shared_by(2);
    let mut again = Actor::start(&place, "north");
    first.says("fenced");
    watcher.until_shared_by(2);
    watcher.until_all_move();
    // And the process that formatted the group may go, as long as it leaves the lease.
    let Watcher { group, last } = watcher;
    group.detach();
    let group = Group::attach(pool(&place.0).join_named(&name()).unwrap()).unwrap();
    let mut watcher = Watcher { group, last };
    watcher.until_all_move();
    other.kill();
    watcher.until_shared_by(1);
    watcher.until_all_move();
    assert!(again.child.try_wait().unwrap().is_none(), "it lives");
}
