//! Processes that share memory, and may be killed at any time: one sends earthquakes, three consume them as a group, and
//! the one that was started by hand only watches, starts again what died, and checks.
//!
//! ```text
//! cargo run --release --example shared_memory
//! cargo run --release --example shared_memory -- --kill 500
//! cargo run --release --example shared_memory -- --rounds 100 --seed 7
//! ```
//!
//! The topic lies in leases of a pool that all processes open ([`site`]), and is found by its address. The producer
//! ([`producer`]) makes it or, if one was there before it, proves that this one is dead, becomes the leases' holder, and
//! reads in the log which record comes next. The consumers ([`consumer`]) are members of a group, which has no coordinator.
//!
//! Nobody is trusted: each process notes what it was told ([`journal`]), the sender behind each acknowledgement, the
//! reader before each commit; and from these journals and the data alone it is checked ([`audit`]) that what was
//! acknowledged was read, in order, unharmed, and committed once.

#![allow(clippy::arithmetic_side_effects, reason = "counts of records and bytes, far below 2^64")]
#![allow(clippy::std_instead_of_alloc, reason = "a program for systems with std")]

#[cfg(all(unix, target_has_atomic = "64"))]
mod args;
#[cfg(all(unix, target_has_atomic = "64"))]
mod audit;
#[cfg(all(unix, target_has_atomic = "64"))]
mod consumer;
#[allow(dead_code, reason = "the key alone is needed")]
#[path = "../common/event.rs"]
mod event;
#[allow(dead_code, reason = "shown otherwise")]
#[path = "../common/few.rs"]
mod few;
#[cfg(all(unix, target_has_atomic = "64"))]
mod journal;
#[allow(dead_code, reason = "it is not waited for")]
#[path = "../common/lines.rs"]
mod lines;
#[cfg(all(unix, target_has_atomic = "64"))]
#[path = "../common/numbers.rs"]
mod numbers;
#[cfg(all(unix, target_has_atomic = "64"))]
#[path = "../common/options.rs"]
mod options;
#[cfg(all(unix, target_has_atomic = "64"))]
mod parent;
#[cfg(all(unix, target_has_atomic = "64"))]
mod phase;
#[cfg(all(unix, target_has_atomic = "64"))]
mod producer;
#[cfg(all(unix, target_has_atomic = "64"))]
mod quakes;
#[cfg(all(unix, target_has_atomic = "64"))]
mod report;
#[cfg(all(unix, target_has_atomic = "64"))]
mod site;
#[allow(dead_code, reason = "where there is no memory to share, it only complains")]
#[path = "../common/terminal.rs"]
mod terminal;
#[cfg(all(unix, target_has_atomic = "64"))]
mod victims;
#[cfg(all(unix, target_has_atomic = "64"))]
mod worker;

use std::process::ExitCode;
use terminal::complain;
#[cfg(all(unix, target_has_atomic = "64"))]
use terminal::{misused, print};

#[cfg(all(unix, target_has_atomic = "64"))]
fn main() -> ExitCode {
    use args::Command;
    match args::parse(lexopt::Parser::from_env()) {
        Ok(Command::Help) => print(args::USAGE, ExitCode::SUCCESS),
        Ok(Command::Watch(options)) => match parent::run(&options) {
            Ok(report) => print(&report.to_string(), report.status()),
            Err(error) => complain(&error, ExitCode::FAILURE),
        },
        Ok(Command::Work(role, task)) => work(role, task),
        Err(error) => misused(&error, args::USAGE),
    }
}

/// Is the producer or a consumer, until the parent asks it to go, or is not there any more.
#[cfg(all(unix, target_has_atomic = "64"))]
fn work(role: site::Role, task: worker::Task) -> ExitCode {
    let (site, name, parent) = (task.site.clone(), task.name.clone(), task.parent);
    let done = match role {
        site::Role::Producer => producer::run(task),
        site::Role::Consumer => consumer::run(task),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // There is no parent to clear up, and a brother may have taken the notes away already.
        Err(_) if std::os::unix::process::parent_id() != parent => {
            site.abandon();
            ExitCode::FAILURE
        }
        Err(error) => complain(&format_args!("{name}: {error}"), ExitCode::FAILURE),
    }
}

#[cfg(not(all(unix, target_has_atomic = "64")))]
fn main() -> ExitCode {
    complain(&"memory that processes share needs Unix, and 64-bit atomics", ExitCode::FAILURE)
}
