//! Poison among real records: a week of earthquakes goes to a consumer with a bug, which fails at some of them and refuses
//! others. Those become dead letters, are counted and looked at, the bug is fixed, and they are sent back. At the end it is
//! shown that each event was processed once, and that those which never failed kept their order.
//!
//! ```text
//! cargo run --release --example dead_letters
//! cargo run --release --example dead_letters -- --rate 50 --skip-aside
//! ```
//!
//! [`consumer`] is the consumer before and after, [`ledger`] what is remembered of each event; time is a clock that the
//! program moves itself, so that sending letters back at a rate takes no time to watch.

#![allow(clippy::arithmetic_side_effects, reason = "counts of records, far below 2^64")]
#![allow(clippy::std_instead_of_alloc, reason = "a program for systems with std")]

mod args;
mod consumer;
mod ledger;
mod report;

#[allow(dead_code, reason = "used in part")]
#[path = "../common/event.rs"]
mod event;
#[allow(dead_code, reason = "used in part")]
#[path = "../common/lines.rs"]
mod lines;
#[path = "../common/options.rs"]
mod options;
#[path = "../common/terminal.rs"]
mod terminal;

use args::{Command, Options};
use consumer::{Fixed, Handler, Hasty};
use core::error::Error;
use fabric_mq::Ticks;
use fabric_mq::clock::{Clock, ManualClock};
use fabric_mq::dlq::{DeadLetters, DlqRouter, LetterAt, OnFailure, RedriveOptions, RedriveState};
use fabric_mq::lease::HeapPool;
use fabric_mq::message::Record;
use fabric_mq::producer::{Producer, SendError};
use fabric_mq::topic::{TopicConfig, TopicManager};
use ledger::Ledger;
use lines::{Line, Lines};
use report::{Browsed, Report, Step};
use std::fs::File;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use terminal::{complain, misused, print};

pub(crate) const TOPIC: &str = "earthquakes";
pub(crate) const GROUP: &str = "bulletin";
/// The header that carries an event's line number.
const LINE: &str = "line";
/// Failures after which a record is a dead letter.
pub(crate) const TRIES: u32 = 5;

const SHAPE: TopicConfig = TopicConfig::new().with_partitions(4).with_groups(2).with_timestamps(false);
const MAX_LINE: usize = 64 * 1024;

type Topics = TopicManager<HeapPool<Arc<ManualClock>>, Arc<ManualClock>>;
type Router = DlqRouter<&'static str, Topics>;

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
    let clock = Arc::new(ManualClock::new());
    let topics: Topics = TopicManager::with_pool(HeapPool::new(Arc::clone(&clock)), Arc::clone(&clock));
    topics.create(TOPIC, SHAPE)?;
    let queue = DeadLetters::of(TOPIC)?;
    // It takes dead letters because it says so; one partition is enough.
    topics.create(queue.name(), SHAPE.with_partitions(1).with_dead_letters(true))?;

    let on_failure = if options.skip_aside { OnFailure::SkipAside } else { OnFailure::Block };
    let mut router = DlqRouter::new(TOPIC, GROUP).with_limit(TRIES).with_on_failure(on_failure);
    router.assign(&[0, 1, 2, 3]);
    let mut ledger = Ledger::default();

    // Every event is sent; where a partition is full, and at the end, the consumer with the bug takes what it can.
    send(options, &topics, &mut ledger, |ledger| work(&mut router, &topics, &clock, &Hasty, ledger))?;
    let first = router.counters();

    let causes = queue.causes(&topics)?;
    let (letters, _) = queue.browse(&topics, LetterAt::START, report::SHOWN)?;
    let browsed = letters.iter().map(|letter| Browsed::of(&letter.view())).collect();

    // The bug is fixed: letters are sent back, ten times a second, and processed as they come.
    let start = clock.now();
    let mut redrive = queue.redrive_all(RedriveOptions::new().with_rate(options.rate));
    let mut steps = Vec::new();
    loop {
        let progress = redrive.step(&topics, clock.now())?;
        while work(&mut router, &topics, &clock, &Fixed, &mut ledger)? > 0 {}
        let left = queue.count(&topics)?;
        let at = clock.now().as_millis() - start.as_millis();
        steps.push(Step { at, moved: progress.moved, left, processed: router.counters().acked - first.acked });
        if progress.state == RedriveState::Done {
            break;
        }
        clock.advance(Ticks::from_millis(100));
    }
    let last = router.counters();
    Ok(Report { options, first, causes, browsed, steps, last, ledger })
}

/// Sends every line that is an event, its network for a key and its number in a header.
fn send(
    options: &Options,
    topics: &Topics,
    ledger: &mut Ledger,
    mut make_room: impl FnMut(&mut Ledger) -> Result<usize, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let path = options.path();
    let cannot = |error: io::Error| format!("cannot read {}: {error}", path.display());
    let mut lines = Lines::new(File::open(&path).map_err(cannot)?, MAX_LINE);
    let mut producer = Producer::new(TOPIC);
    while let Some(line) = lines.next().map_err(cannot)? {
        let Line::Whole(line) = line else {
            ledger.left_out += 1;
            continue;
        };
        let Ok(event) = event::Event::parse(line) else {
            ledger.left_out += 1;
            continue;
        };
        let number = ledger.sent(&event.net).to_le_bytes();
        let headers = [(LINE, &number[..])];
        let record = Record::new(line).with_key(event.net.as_bytes()).with_headers(&headers);
        loop {
            match producer.send_record(topics, record) {
                Ok(_) => break,
                Err(SendError::Full { .. }) if make_room(ledger)? > 0 => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    while make_room(ledger)? > 0 {}
    Ok(())
}

/// One poll. Each record gets the handler's verdict, and the ledger remembers what became of it.
fn work(
    router: &mut Router,
    topics: &Topics,
    clock: &ManualClock,
    handler: &dyn Handler,
    ledger: &mut Ledger,
) -> Result<usize, Box<dyn Error>> {
    clock.advance(Ticks::from_millis(1));
    let polled = router.poll_with(topics, 256, |delivery| {
        let message = delivery.message();
        let number = message.header(LINE).and_then(|value| value.try_into().ok()).map(u64::from_le_bytes);
        let Some(number) = number else { return fabric_mq::dlq::Verdict::undecodable("it has no number") };
        let verdict = handler.handle(&message);
        ledger.saw(number, &verdict);
        verdict
    })?;
    if let Some(error) = polled.held {
        return Err(error.into());
    }
    Ok(polled.handed)
}
