//! The command line.

use crate::options::number;
use lexopt::{Arg, Parser};
use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
Sends a file of earthquakes to a consumer that fails at some and refuses others; shows the dead
letters; sends them back when the bug is fixed; checks that every event was processed once.

Usage: dead_letters [--rate N] [--skip-aside] [FILE]

  FILE          one JSON object a line (default: a week of earthquakes,
                examples/data/earthquakes.ndjson)
  --rate N      letters sent back in a second (default: 20)
  --skip-aside  go on behind a record that fails, instead of stopping its partition
  -h, --help    print this

Exit status: 0 if all went well, 1 if not, 2 if the command line is wrong.
";

const SAMPLE: &str = "examples/data/earthquakes.ndjson";

pub(crate) enum Command {
    Help,
    Run(Options),
}

pub(crate) struct Options {
    file: Option<PathBuf>,
    pub(crate) rate: u32,
    pub(crate) skip_aside: bool,
}

impl Options {
    /// The input. The program may be started in any directory.
    pub(crate) fn path(&self) -> PathBuf {
        self.file.clone().unwrap_or_else(|| [env!("CARGO_MANIFEST_DIR"), SAMPLE].iter().collect())
    }

    pub(crate) fn name(&self) -> String {
        self.file.as_ref().map_or_else(|| SAMPLE.into(), |path| path.display().to_string())
    }
}

pub(crate) fn parse(mut parser: Parser) -> Result<Command, lexopt::Error> {
    let mut options = Options { file: None, rate: 20, skip_aside: false };
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
            Arg::Long("rate") => options.rate = number(&parser.value()?, "--rate", 1..=u32::MAX)?,
            Arg::Long("skip-aside") => options.skip_aside = true,
            Arg::Value(value) if options.file.is_none() => options.file = Some(value.into()),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Command::Run(options))
}
