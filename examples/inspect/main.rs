//! What is in a journal: an image that was read out of a device's flash, or the directory of a store. It is opened to be read,
//! all of it is verified, and nothing is changed, not even a lock is taken: let nobody write meanwhile.
//!
//! ```text
//! cargo run --features durable --example inspect -- flash.bin
//! cargo run --features durable --example inspect -- --export records.ndjson /var/lib/queue
//! ```
//!
//! [`media`] opens images and directories, [`survey`] goes over the segments by `fabric_mq::durable::inspect`, [`report`] prints
//! the tables, [`export`] writes the records.

#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "numbers and places within files")]
#![allow(clippy::cast_possible_truncation, reason = "of parts of a segment, which has less than 2^32 bytes")]
#![allow(clippy::std_instead_of_alloc, reason = "a program for systems with std")]

mod args;
mod export;
mod media;
mod report;
mod survey;

#[path = "../common/numbers.rs"]
mod numbers;
#[path = "../common/options.rs"]
mod options;
#[path = "../common/terminal.rs"]
mod terminal;

use args::{Command, Options};
use export::Export;
use fabric_mq::durable::OpenError;
use media::Media;
use report::Report;
use std::path::Path;
use std::process::ExitCode;
use survey::{Failure, Survey};
use terminal::{complain, misused, print};

fn main() -> ExitCode {
    match args::parse(lexopt::Parser::from_env()) {
        Ok(Command::Help) => print(args::USAGE, ExitCode::SUCCESS),
        Ok(Command::Run(options)) => run(&options),
        Err(error) => misused(&error, args::USAGE),
    }
}

fn run(options: &Options) -> ExitCode {
    let survey = match look(options) {
        Ok(survey) => survey,
        Err(error) => return complain(&error, ExitCode::FAILURE),
    };
    let status = if survey.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if options.export.as_deref() == Some(Path::new("-")) {
        return status;
    }
    print(&Report(&survey).to_string(), status)
}

fn look(options: &Options) -> Result<Survey, String> {
    let path = options.path.display();
    let mut media = Media::open(options)?;
    let exported = |error| format!("the records cannot be written: {error}");
    let mut export = Export::open(options.export.as_deref()).map_err(exported)?;
    Survey::of(&mut media, &mut export).map_err(|failure| match failure {
        Failure::Open(error @ OpenError::Geometry) if !media.is_directory() => {
            format!("{path}: {error}; see --segment-bytes, --write-unit")
        }
        Failure::Open(error) => format!("{path}: {error}"),
        Failure::Export(error) => exported(error),
    })
}
