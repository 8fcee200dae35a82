//! The command line, and the input it names.

use crate::members::MAX_MEMBERS;
use crate::options::number;
use core::fmt;
use lexopt::{Arg, Parser};
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
Sends a file of JSON lines, keyed by the field \"net\", through a topic of 4 partitions to a group of
2 consumers; checks that every record arrives once and in order; prints what arrived.

Usage: pipeline [--repeat N] [--group-members N | --store DIR] [--strict] [FILE]

  FILE         one JSON object a line, or - for standard input
               (default: a week of earthquakes, examples/data/earthquakes.ndjson)
  --repeat N   read FILE N times, as a load
  --group-members N
               consume as a group of N members, 1 to 15, that share the partitions among themselves;
               when half of the input was sent one leaves, and one more joins
  --store DIR  keep records on disk, and how far they were consumed: if the program is killed, the
               same command goes on where it was (needs feature durable)
  --strict     fail if a line is malformed, instead of only saying so
  -h, --help   print this

Exit status: 0 if all went well, 1 if not, 2 if the command line is wrong.
";

const SAMPLE: &str = "examples/data/earthquakes.ndjson";

pub(crate) enum Command {
    Help,
    Run(Options),
}

pub(crate) struct Options {
    pub(crate) input: Input,
    pub(crate) repeat: u32,
    pub(crate) strict: bool,
    /// Members of the group, if they are to share the partitions among themselves.
    pub(crate) members: Option<u32>,
    /// Where records are kept, if they are to be.
    #[cfg_attr(not(feature = "durable"), allow(dead_code, reason = "never given without the feature"))]
    pub(crate) store: Option<PathBuf>,
}

/// Where lines come from.
pub(crate) enum Input {
    File(PathBuf),
    Sample,
    Stdin,
}

pub(crate) fn parse(mut parser: Parser) -> Result<Command, lexopt::Error> {
    let (mut input, mut repeat, mut strict, mut members, mut store) = (None, 1, false, None, None);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
            Arg::Long("repeat") => repeat = number(&parser.value()?, "--repeat", 1..=u32::MAX)?,
            Arg::Long("group-members") => {
                members = Some(number(&parser.value()?, "--group-members", 1..=MAX_MEMBERS - 1)?);
            }
            Arg::Long("store") if cfg!(feature = "durable") => store = Some(PathBuf::from(parser.value()?)),
            Arg::Long("store") => return Err("--store needs feature durable: cargo run --features durable ...".into()),
            Arg::Long("strict") => strict = true,
            Arg::Value(value) if input.is_none() => {
                input = Some(if value == "-" { Input::Stdin } else { Input::File(value.into()) });
            }
            other => return Err(other.unexpected()),
        }
    }
    let input = input.unwrap_or(Input::Sample);
    if matches!(input, Input::Stdin) && repeat > 1 {
        return Err("standard input can be read only once: leave --repeat out, or name a file".into());
    }
    if store.is_some() && members.is_some() {
        return Err("--store and --group-members do not go together: leave one out".into());
    }
    Ok(Command::Run(Options { input, repeat, strict, members, store }))
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Sample => f.write_str(SAMPLE),
            Self::Stdin => f.write_str("standard input"),
        }
    }
}

impl Input {
    /// The input, to be read `repeat` times. It is opened at once, so that what cannot be read is told before anything
    /// else is done.
    pub(crate) fn passes(&self, repeat: u32) -> Result<Passes<'_>, InputError> {
        let mut passes = Passes { input: self, next: None, left: repeat, total: None };
        let path = match self {
            Self::File(path) => path.clone(),
            // The program may be started in any directory.
            Self::Sample => [env!("CARGO_MANIFEST_DIR"), SAMPLE].iter().collect(),
            Self::Stdin => return Ok(passes),
        };
        let file = File::open(&path).map_err(|error| self.error(0, error))?;
        let about = file.metadata().map_err(|error| self.error(0, error))?;
        if about.is_file() {
            passes.total = about.len().checked_mul(u64::from(repeat));
        } else if repeat > 1 {
            return Err(self.error(0, io::Error::other("not a file, so it cannot be read more than once")));
        }
        passes.next = Some((path, file));
        Ok(passes)
    }

    pub(crate) fn error(&self, line: u64, error: io::Error) -> InputError {
        InputError { input: self.to_string(), line, error }
    }
}

/// The input, as often as it is to be read.
pub(crate) struct Passes<'a> {
    pub(crate) input: &'a Input,
    /// The file, opened for the next pass. `None` for standard input.
    next: Option<(PathBuf, File)>,
    left: u32,
    total: Option<u64>,
}

impl Passes<'_> {
    /// Bytes of all passes together, if that is known.
    pub(crate) fn total_bytes(&self) -> Option<u64> {
        self.total
    }

    /// Begins the next pass, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Box<dyn Read>>, InputError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let Some((path, file)) = self.next.take() else { return Ok(Some(Box::new(io::stdin()))) };
        if left > 0 {
            let again = File::open(&path).map_err(|error| self.input.error(0, error))?;
            self.next = Some((path, again));
        }
        Ok(Some(Box::new(file)))
    }
}

/// Why the input cannot be read.
#[derive(Debug)]
pub(crate) struct InputError {
    input: String,
    /// How many lines were read before.
    line: u64,
    error: io::Error,
}

impl core::error::Error for InputError {}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { input, line, error } = self;
        match line {
            0 => write!(f, "cannot read {input}: {error}"),
            _ => write!(f, "cannot read {input} beyond line {line}: {error}"),
        }
    }
}
