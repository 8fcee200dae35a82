//! A whole program on fabric-mq: JSON lines in, through a partitioned topic, out through a group of two consumers, and a
//! report of what arrived.
//!
//! ```text
//! cargo run --release --example pipeline
//! cargo run --release --example pipeline -- --repeat 500
//! cargo run --release --example pipeline -- --group-members 3
//! cargo run --release --features durable --example pipeline -- --store target/quakes
//! curl -s https://example.org/feed.ndjson | cargo run --release --example pipeline -- -
//! ```
//!
//! The main thread reads earthquakes and sends each one with its network as the key ([`produce`]); two threads consume
//! two partitions each ([`consume`]), or as many as are asked for, as members of a group
//! ([`members`]). With a store, records are on disk before they are consumed, and a run that was killed is gone on with (`stored`). Every record carries its number among those of its network, so that the consumers
//! can tell at once if one is missing, comes twice or out of turn; what went in and what came out is compared again at
//! the end ([`audit`]). Memory is bounded whatever the input: a full partition makes the sender wait, and a line that is
//! too long is skipped as it is read.

#![allow(clippy::arithmetic_side_effects, reason = "counts of records and bytes, far below 2^64")]
#![allow(clippy::std_instead_of_alloc, reason = "a program for systems with std")]

mod args;
mod arrivals;
mod audit;
mod consume;
mod magnitudes;
mod members;
mod order;
mod produce;
mod progress;
mod report;
#[cfg(feature = "durable")]
mod stored;

#[path = "../common/event.rs"]
mod event;
#[path = "../common/few.rs"]
mod few;
#[path = "../common/lines.rs"]
mod lines;
#[path = "../common/numbers.rs"]
mod numbers;
#[path = "../common/options.rs"]
mod options;
#[path = "../common/terminal.rs"]
mod terminal;

use args::{Command, Options, Passes};
use consume::{ConsumeError, Consumed};
use core::error::Error;
use fabric_mq::Ticks;
use fabric_mq::message::MAX_ENVELOPE;
use fabric_mq::offset::{MemOffsetStore, OffsetStore};
use fabric_mq::partition::FullPolicy;
use fabric_mq::topic::{TopicConfig, TopicManager};
use members::{MemberEnd, Members, Stay};
use progress::Progress;
use report::Report;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::thread;
use std::time::Instant;
use terminal::{complain, misused, print};

const TOPIC: &str = "earthquakes";
const GROUP: &str = "bulletin";
/// The header that carries a record's number among those of its key.
const SEQUENCE: &str = "seq";

/// 4 partitions of 1,024 records or 256 KiB, whichever is reached first. A sender that finds one full waits.
const SHAPE: TopicConfig = TopicConfig::new()
    .with_partitions(4)
    .with_slots(1024)
    .with_capacity(256 * 1024)
    .with_groups(1)
    .with_timestamps(false)
    .with_full(FullPolicy::Wait { timeout: Ticks::from_millis(500) });

/// Which consumer of the group has which partitions.
const MEMBERS: [[u32; 2]; 2] = [[0, 1], [2, 3]];

/// The longest line that becomes a record.
const MAX_LINE: usize = 64 * 1024;
// A partition takes records of up to half its capacity.
const _: () = assert!(MAX_LINE + MAX_ENVELOPE <= SHAPE.capacity as usize / 2);

fn main() -> ExitCode {
    match args::parse(lexopt::Parser::from_env()) {
        Ok(Command::Help) => print(args::USAGE, ExitCode::SUCCESS),
        Ok(Command::Run(options)) => match run(&options) {
            Ok(report) => print(&report.to_string(), report.status()),
            Err(error) => complain(&error, ExitCode::FAILURE),
        },
        Err(error) => misused(&error, args::USAGE),
    }
}

fn run(options: &Options) -> Result<Report<'_>, Box<dyn Error>> {
    let mut passes = options.input.passes(options.repeat)?;
    let mut progress = Progress::new(passes.total_bytes());

    // Topics live in a manager, which every thread borrows. So does the store, which keeps how far the group has got.
    let topics = TopicManager::new();
    let topic = topics.create(TOPIC, SHAPE)?;
    #[cfg(feature = "durable")]
    if let Some(directory) = &options.store {
        return stored::run(options, directory, &topics, &mut passes, progress);
    }
    if let Some(members) = options.members {
        return run_group(options, members, &topics, &mut passes, progress);
    }
    let store = MemOffsetStore::new();

    let started = Instant::now();
    let done = OnceLock::new();
    let (produced, consumed) = thread::scope(|scope| {
        let members =
            MEMBERS.each_ref().map(|partitions| scope.spawn(|| consume::run(&topics, &store, partitions, &done)));
        let stopped = || members.iter().any(thread::ScopedJoinHandle::is_finished);
        let end = EndOfInput(&done);
        let produced = produce::run(&topics, &mut passes, &mut progress, || {}, stopped, |_, _, _| false);
        drop(end);
        (produced, members.map(thread::ScopedJoinHandle::join))
    });
    let elapsed = started.elapsed();
    progress.finish();

    // If a consumer fails the sender stops too: the cause is told, not the consequence.
    let consumed: Vec<Consumed> = outcomes(consumed)?;
    let produced = produced?;

    let partitions = audit::partitions(&topic.stats(), |number| store.committed(GROUP, TOPIC, number), &consumed)?;
    let faults = audit::faults(&produced, &consumed, &partitions);
    Ok(Report { options, produced, consumed, members: Vec::new(), partitions, faults, elapsed, resumed: None })
}

/// The same, but the consumers share the partitions among themselves; one leaves halfway, and one more joins.
fn run_group<'a>(
    options: &'a Options,
    count: u32,
    topics: &TopicManager,
    passes: &mut Passes<'_>,
    mut progress: Progress,
) -> Result<Report<'a>, Box<dyn Error>> {
    let topic = topics.open(TOPIC)?;
    let members = Members::new(topics)?;
    let started = Instant::now();
    let done = OnceLock::new();
    let (produced, ends) = thread::scope(|scope| {
        let (members, done) = (&members, &done);
        let start = |number, stay| scope.spawn(move || members.run(number, stay, done));
        let leaving = start(1, Stay::FirstHalf);
        let joining = start(count + 1, Stay::SecondHalf);
        let mut threads: Vec<_> = (2..=count).map(|number| start(number, Stay::Always)).collect();
        // They end when everything was read: before the end of input only if they fail.
        let failed = || threads.iter().chain([&joining]).any(thread::ScopedJoinHandle::is_finished);
        let end = EndOfInput(done);
        members.wait_for(count, || failed() || leaving.is_finished());
        let produced =
            produce::run(topics, passes, &mut progress, || members.change(count, failed), failed, |_, _, _| false);
        drop(end);
        threads.insert(0, leaving);
        threads.push(joining);
        (produced, threads.into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>())
    });
    let elapsed = started.elapsed();
    progress.finish();
    let ends: Vec<MemberEnd> = outcomes(ends)?;
    let produced = produced?;

    let claims = (0..members.group.partitions()).map(|number| members.group.claim_of(number));
    let claims = claims.collect::<Result<Vec<_>, _>>()?;
    let consumed = members.into_consumed();
    let committed =
        |number| Ok(claims.iter().find(|claim| claim.partition == number).and_then(|claim| claim.committed));
    let mut partitions = audit::partitions(&topic.stats(), committed, &consumed)?;
    for (partition, claim) in partitions.iter_mut().zip(&claims) {
        partition.consumer =
            ends.iter().position(|end| end.partitions.contains(&claim.partition)).map_or(0, |at| at + 1);
        partition.moves = Some(claim.epoch.value().saturating_sub(1));
    }
    let faults = audit::faults(&produced, &consumed, &partitions);
    Ok(Report { options, produced, consumed, members: ends, partitions, faults, elapsed, resumed: None })
}

/// What the threads answered, or the first failure among them.
fn outcomes<T>(
    threads: impl IntoIterator<Item = thread::Result<Result<T, ConsumeError>>>,
) -> Result<Vec<T>, Box<dyn Error>> {
    let outcome = |done: thread::Result<Result<T, ConsumeError>>| {
        done.map_err(|_| "a consumer panicked")?.map_err(Box::<dyn Error>::from)
    };
    threads.into_iter().map(outcome).collect()
}

/// Tells the consumers that nothing more will come, even if the sender panics: else they would be waited for for ever.
struct EndOfInput<'a>(&'a OnceLock<()>);

impl Drop for EndOfInput<'_> {
    fn drop(&mut self) {
        let _ = self.0.set(());
    }
}
