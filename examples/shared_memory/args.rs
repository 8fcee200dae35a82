//! The command line: the user's, and the one by which the program starts itself.

use crate::options::number;
use crate::site::{Role, Site};
use crate::worker::Task;
use fabric_mq::Ticks;
use lexopt::{Arg, Error, Parser};
use std::ffi::OsString;

pub(crate) const USAGE: &str = "\
Sends earthquakes from one process to a group of three, through memory that they share, and checks that
none is lost or out of order. Kill -9 any of the processes at any time: it is started again.

Usage: shared_memory [--repeat N] [--rate N] [--interval MS] [--kill MS | --rounds N] [--seed N]

  --repeat N     send the data N times (default 30)
  --rate N       records a second, at most (default 5000)
  --interval MS  how often the consumers' hearts beat, 20 to 10000 (default 200)
  --kill MS      kill one of the processes, at random, every MS milliseconds
  --rounds N     N times: kill one in the middle of something, and look that the others go on; the data is
                 repeated as long as that takes
  --seed N       what \"at random\" goes by (default 1)
  -h, --help     print this

Exit status: 0 if all went well, 1 if not, 2 if the command line is wrong.
";

pub(crate) enum Command {
    Help,
    /// What the user starts.
    Watch(Options),
    /// What the program starts.
    Work(Role, Task),
}

/// Who kills the processes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    /// The user, or nobody.
    Calm,
    /// The parent, every so many milliseconds.
    Every(u64),
    /// The parent, so many times, each time when all is well again.
    Rounds(u64),
}

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) repeat: u32,
    pub(crate) rate: u32,
    pub(crate) interval: u64,
    pub(crate) mode: Mode,
    pub(crate) seed: u64,
}

pub(crate) fn parse(mut parser: Parser) -> Result<Command, Error> {
    let mut options = Options { repeat: 30, rate: 5_000, interval: 200, mode: Mode::Calm, seed: 1 };
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
            Arg::Long("repeat") => options.repeat = number(&parser.value()?, "--repeat", 1..=1_000_000)?,
            Arg::Long("rate") => options.rate = number(&parser.value()?, "--rate", 1..=10_000_000)?,
            Arg::Long("interval") => options.interval = number(&parser.value()?, "--interval", 20..=10_000)?,
            Arg::Long("seed") => options.seed = number(&parser.value()?, "--seed", 0..=u64::MAX)?,
            Arg::Long("kill") if options.mode == Mode::Calm => {
                options.mode = Mode::Every(number(&parser.value()?, "--kill", 10..=3_600_000)?);
            }
            Arg::Long("rounds") if options.mode == Mode::Calm => {
                options.mode = Mode::Rounds(number(&parser.value()?, "--rounds", 1..=1_000_000)?);
            }
            Arg::Long("kill" | "rounds") => return Err("--kill and --rounds exclude each other".into()),
            Arg::Value(value) if value == "work" => return work(parser),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Command::Watch(options))
}

/// The words behind `work`: see [`command`].
fn work(mut parser: Parser) -> Result<Command, Error> {
    let mut next = || parser.value();
    let role = if next()? == "producer" { Role::Producer } else { Role::Consumer };
    let site = Site { pool: next()?.into(), notes: next()?.into() };
    let name = next()?.to_string_lossy().into_owned();
    let mut number = |name| number(&next()?, name, 0..=u64::from(u32::MAX));
    let parent = narrow(number("the parent")?);
    let (interval, session) = (Ticks::from_millis(number("the interval")?), Ticks::from_millis(number("the session")?));
    let (rate, repeat) = (narrow(number("the rate")?), narrow(number("the repeats")?));
    let repeat = (repeat != 0).then_some(repeat);
    Ok(Command::Work(role, Task { site, parent, name, interval, session, rate, repeat }))
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The words by which a process is started for a task.
pub(crate) fn command(role: Role, task: &Task) -> Vec<OsString> {
    let Task { site, parent, name, interval, session, rate, repeat } = task;
    let mut words: Vec<OsString> = vec!["work".into(), role.to_string().into()];
    words.extend([site.pool.clone().into(), site.notes.clone().into(), name.into()]);
    let numbers = [
        u64::from(*parent),
        interval.as_millis(),
        session.as_millis(),
        u64::from(*rate),
        u64::from(repeat.unwrap_or(0)),
    ];
    words.extend(numbers.map(|number| number.to_string().into()));
    words
}
