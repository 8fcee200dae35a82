//! The parent: starts the others, starts again what died, reads their journals, and never touches the data.

use crate::args::{Mode, Options, command};
use crate::audit::{Audit, Who};
use crate::journal::Tail;
use crate::numbers::grouped;
use crate::phase::{Look, Phase, Trap};
use crate::quakes::Quakes;
use crate::report::Report;
use crate::site::{CONSUMERS, LEASES, Request, Role, Site};
use crate::victims::{Deck, Random, kill, trap};
use crate::worker::Task;
use core::error::Error;
use core::time::Duration;
use fabric_mq::Ticks;
use fabric_mq::clock::{Clock, MachineClock};
use fabric_mq::lease::SharedPool;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::Instant;

/// How long a process may take to come to work, or to an end.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many intervals a member may be silent: long beside what a busy machine holds a process up for, so that whoever is
/// given up is proven to be dead.
const SILENCE: u64 = 50;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A process, and what it leaves behind.
struct Actor {
    who: Who,
    child: Child,
    tail: Tail,
    look: Look,
    files: [PathBuf; 2],
}

/// What became of the processes.
#[derive(Debug, Default)]
pub(crate) struct Deaths {
    /// How many were killed by a signal, doing what.
    pub(crate) killed: BTreeMap<(Role, Phase), u64>,
    /// How often the leases were counted, while all was well.
    pub(crate) counted: u64,
    /// Rounds that came to their end.
    pub(crate) rounds: u64,
}

impl Deaths {
    pub(crate) fn total(&self) -> u64 {
        self.killed.values().sum()
    }
}

struct Parent<'a> {
    options: &'a Options,
    site: Site,
    pool: SharedPool<MachineClock>,
    audit: Audit,
    actors: Vec<Actor>,
    started: u32,
    deaths: Deaths,
    random: Random,
    /// Who ends is started again.
    restarts: bool,
    /// Where the next process that is started is to die.
    ambush: Option<Trap>,
    /// Consumers that die are not replaced yet: the others are to take over.
    hesitates: bool,
    began: Instant,
    told: Instant,
}

pub(crate) fn run(options: &Options) -> Outcome<Report<'_>> {
    let site = Site::of_process(std::process::id());
    fs::create_dir_all(&site.notes)?;
    let now = Instant::now();
    let mut parent = Parent {
        options,
        pool: site.open_pool()?,
        site,
        audit: Audit::new(Quakes::load()?, options.interval),
        actors: Vec::new(),
        started: 0,
        deaths: Deaths::default(),
        random: Random(options.seed),
        restarts: true,
        ambush: None,
        hesitates: false,
        began: now,
        told: now,
    };
    parent.start(Role::Producer)?;
    for _ in 0..CONSUMERS {
        parent.start(Role::Consumer)?;
    }
    match options.mode {
        Mode::Calm => {}
        Mode::Every(millis) => parent.harass(Duration::from_millis(millis))?,
        Mode::Rounds(rounds) => parent.play(rounds)?,
    }
    parent.finish()?;
    let elapsed = parent.began.elapsed();
    let left = parent.clear();
    if !left.is_empty() {
        parent.audit.fault(format_args!("left in shared memory: {left:?}"));
    }
    let (audit, deaths) = (
        core::mem::replace(&mut parent.audit, Audit::new(Quakes::new(Vec::new()), 1)),
        core::mem::take(&mut parent.deaths),
    );
    Ok(Report { options, audit, deaths, elapsed })
}

fn now() -> u64 {
    MachineClock::new().now().as_millis()
}

impl Parent<'_> {
    /// Starts this program once more, in another role.
    fn start(&mut self, role: Role) -> Outcome<()> {
        self.started += 1;
        let who = Who { role, number: self.started };
        let task = Task {
            site: self.site.clone(),
            parent: std::process::id(),
            name: format!("{role}-{}", self.started),
            interval: Ticks::from_millis(self.options.interval),
            session: Ticks::from_millis(self.options.interval * SILENCE),
            rate: self.options.rate,
            repeat: if matches!(self.options.mode, Mode::Rounds(_)) { None } else { Some(self.options.repeat) },
        };
        let files = [task.journal_path(), task.phase_path()];
        let (tail, look) = (Tail::create(&files[0])?, Look::create(&files[1])?);
        if let Some(trap) = self.ambush.take() {
            look.set(trap)?;
        }
        let child = Command::new(std::env::current_exe()?).args(command(role, &task)).spawn()?;
        self.actors.push(Actor { who, child, tail, look, files });
        Ok(())
    }

    /// Reads the journals once, and starts again what has died.
    fn turn(&mut self) -> Outcome<()> {
        for actor in &mut self.actors {
            actor.tail.read(|entry| self.audit.take(actor.who, entry))?;
        }
        self.audit.passed(now());
        let mut at = 0;
        while let Some(actor) = self.actors.get_mut(at) {
            match actor.child.try_wait()? {
                None => at += 1,
                Some(status) => self.bury(at, status, now())?,
            }
        }
        self.tell();
        Ok(())
    }

    /// One of the processes is dead, since `at`.
    fn bury(&mut self, index: usize, status: ExitStatus, at: u64) -> Outcome<()> {
        use std::os::unix::process::ExitStatusExt;
        let Actor { who, mut tail, look, files, .. } = self.actors.remove(index);
        tail.read(|entry| self.audit.take(who, entry))?;
        for file in files {
            fs::remove_file(file)?;
        }
        let killed = status.signal() == Some(9);
        self.audit.gone(who, at, killed);
        if killed {
            *self.deaths.killed.entry((who.role, look.get())).or_default() += 1;
        } else if self.restarts || !status.success() {
            self.audit.fault(format_args!("{who} ended by itself: {status}"));
        }
        if self.restarts && !(self.hesitates && who.role == Role::Consumer) { self.start(who.role) } else { Ok(()) }
    }

    /// Replaces the consumers that died meanwhile.
    fn fill_up(&mut self) -> Outcome<()> {
        self.hesitates = false;
        while self.actors.len() <= CONSUMERS {
            self.start(Role::Consumer)?;
        }
        Ok(())
    }

    /// Takes turns until `done`, or for so long that something must be wrong.
    fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) -> Outcome<()> {
        let (mut end, mut before) = (Instant::now() + PATIENCE, 0);
        while !done(self) {
            let committed = self.audit.committed();
            if committed != before {
                before = committed;
                // As long as something moves: how long the data takes is the user's choice.
                end = end.max(Instant::now() + PATIENCE);
            }
            if Instant::now() > end {
                let text =
                    format!("{what}: not after {} s; {:?}", PATIENCE.as_secs(), self.audit.faults.first().next());
                return Err(text.into());
            }
            std::thread::sleep(Duration::from_millis(2));
            self.turn()?;
        }
        Ok(())
    }

    /// Waits until everybody is at work, and every partition has an owner; then nothing but what is in use is leased.
    fn settle(&mut self) -> Outcome<()> {
        let deadline = Instant::now() + PATIENCE;
        self.until("everybody is at work, and every partition owned", |this| {
            Instant::now() > deadline
                || this.actors.iter().all(|actor| this.audit.is_at_work(actor.who)) && this.audit.is_owned()
        })?;
        if Instant::now() > deadline {
            return Err(
                "the group has not come to rest: somebody does not come to work, or a partition stays free".into()
            );
        }
        let leases = self.pool.leases()?.len();
        self.deaths.counted += 1;
        if leases != LEASES {
            self.audit.fault(format_args!("{leases} leases while all is well, not {LEASES}"));
        }
        Ok(())
    }

    /// One of the processes of a role, at random; not the last one that was started, if there is another.
    fn pick(&mut self, role: Role) -> Option<usize> {
        let of_role: Vec<_> = (0..self.actors.len())
            .filter(|at| {
                self.actors.get(*at).is_some_and(|actor| actor.who.role == role && actor.who.number != self.started)
            })
            .collect();
        of_role.get(self.random.below(of_role.len())).copied()
    }

    /// Kills one of the processes; in the middle of something, if it comes to do that.
    fn kill(&mut self, index: Option<usize>, phase: Option<Phase>) -> Outcome<()> {
        let Some((index, actor)) = index.and_then(|at| Some((at, self.actors.get_mut(at)?))) else { return Ok(()) };
        if let Some(phase) = phase {
            actor.look.set(trap(phase, &mut self.random))?;
        }
        let at = kill(&mut actor.child, &actor.look, phase.is_some())?;
        let status = actor.child.wait()?;
        self.bury(index, status, at)
    }

    /// Kills one of the processes, and then the one that is started in its place, in the middle of something.
    fn kill_twice(&mut self, index: Option<usize>, phase: Phase) -> Outcome<()> {
        self.ambush = Some(trap(phase, &mut self.random));
        self.kill(index, None)?;
        let newest = self.actors.len().checked_sub(1).and_then(|at| Some((at, self.actors.get_mut(at)?)));
        let Some((at, actor)) = newest else { return Ok(()) };
        let died = kill(&mut actor.child, &actor.look, true)?;
        let status = actor.child.wait()?;
        self.bury(at, status, died)
    }

    /// Kills somebody every so often, until the producer has sent everything.
    fn harass(&mut self, pause: Duration) -> Outcome<()> {
        let mut next = Instant::now() + pause;
        while self.audit.ended().is_none() {
            self.turn()?;
            if Instant::now() >= next {
                next = Instant::now() + pause;
                let victim = self.random.below(self.actors.len());
                self.kill(Some(victim), None)?;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Plays rounds: somebody is killed in the middle of something, and the others are watched until all is well again.
    fn play(&mut self, rounds: u64) -> Outcome<()> {
        let mut deck = Deck::default();
        for _ in 0..rounds {
            self.settle()?;
            let pause = self.random.below(20) as u64;
            std::thread::sleep(Duration::from_millis(pause));
            let (role, phase) = deck.draw(&mut self.random);
            let victim = if role == Role::Producer {
                self.actors.iter().position(|actor| actor.who.role == role)
            } else {
                self.pick(role)
            };
            match phase {
                // Somebody has to die before: then there is something to take over.
                Some(phase @ (Phase::TakingOver | Phase::Starting)) => self.kill_twice(victim, phase)?,
                // And then one of those who take its partitions.
                Some(Phase::Claiming) => {
                    self.hesitates = true;
                    self.kill(victim, None)?;
                    let other = self.pick(role);
                    self.kill(other, phase)?;
                }
                phase => {
                    self.hesitates = self.random.below(2) == 0;
                    self.kill(victim, phase)?;
                }
            }
            if self.hesitates {
                self.until("the others take over", |this| this.audit.is_owned())?;
                self.fill_up()?;
            }
            self.deaths.rounds += 1;
        }
        self.settle()
    }

    /// Lets everybody come to an end, in order.
    fn finish(&mut self) -> Outcome<()> {
        if matches!(self.options.mode, Mode::Rounds(_)) {
            self.site.ask(Request::End)?;
        }
        self.until("everything was sent, read and committed", |this| this.audit.is_done())?;
        self.restarts = false;
        self.site.ask(Request::Leave)?;
        self.until("the consumers leave", |this| this.actors.iter().all(|actor| actor.who.role == Role::Producer))?;
        self.site.ask(Request::Stop)?;
        self.until("the producer ends", |this| this.actors.is_empty())?;
        self.audit.finish();
        Ok(())
    }

    /// Takes away what the run has left; answers what the pool still had, although nobody uses it.
    fn clear(&self) -> Vec<std::ffi::OsString> {
        let left = self.site.clear();
        if !left.is_empty() {
            let _ = fs::remove_dir_all(&self.site.pool);
        }
        let _ = fs::remove_dir_all(&self.site.notes);
        left
    }

    /// Says how things are, now and then.
    fn tell(&mut self) {
        let mut err = io::stderr();
        let terminal = err.is_terminal();
        if self.told.elapsed() < Duration::from_millis(if terminal { 250 } else { 5_000 }) {
            return;
        }
        self.told = Instant::now();
        let pids = |role| {
            let of_role = self.actors.iter().filter(|actor| actor.who.role == role);
            of_role.map(|actor| actor.child.id().to_string()).collect::<Vec<_>>().join(" ")
        };
        let line = format!(
            "{:>6.1} s  producer {}  consumers {}  acked {}  committed {}  killed {}",
            self.began.elapsed().as_secs_f64(),
            pids(Role::Producer),
            pids(Role::Consumer),
            grouped(self.audit.acked()),
            grouped(self.audit.committed()),
            self.deaths.total()
        );
        // Whoever does not want to know need not.
        let _ = if terminal { write!(err, "\r{line:<100}") } else { writeln!(err, "{line}") };
    }
}

impl Drop for Parent<'_> {
    /// Whatever happened: no process, and nothing in shared memory is left.
    fn drop(&mut self) {
        for actor in &mut self.actors {
            let _ = actor.child.kill();
            let _ = actor.child.wait();
        }
        self.clear();
        if io::stderr().is_terminal() {
            let _ = writeln!(io::stderr());
        }
    }
}
