//! The command line.

use crate::options::number;
use lexopt::{Arg, Parser};
use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
Shows what is in a journal: an image of flash, or the directory of a store. Verifies all of it, and
changes nothing.

Usage: inspect [OPTIONS] FILE|DIR

  --segment-bytes N  bytes of a segment (default: found by the labels of the segments)
  --write-unit N     write unit of the flash (default: what the headers say)
  --segments N       segments of the store (default: as many as there are files)
  --export FILE      writes all records as NDJSON; `-` writes them instead of the tables
  -h, --help         print this

Exit status: 0 if all that was stored is there, 1 if something is damaged or cannot be read, 2 if
the command line is wrong.
";

pub(crate) enum Command {
    Help,
    Run(Options),
}

#[derive(Default)]
pub(crate) struct Options {
    pub(crate) path: PathBuf,
    pub(crate) segment_bytes: Option<u32>,
    pub(crate) write_unit: Option<u32>,
    pub(crate) segments: Option<u32>,
    pub(crate) export: Option<PathBuf>,
}

pub(crate) fn parse(mut parser: Parser) -> Result<Command, lexopt::Error> {
    let mut options = Options::default();
    let mut path = None;
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
            Arg::Long("segment-bytes") => {
                options.segment_bytes = Some(number(&parser.value()?, "--segment-bytes", 1..=u32::MAX)?)
            }
            Arg::Long("write-unit") => {
                options.write_unit = Some(number(&parser.value()?, "--write-unit", 1..=u32::MAX)?)
            }
            Arg::Long("segments") => options.segments = Some(number(&parser.value()?, "--segments", 1..=u32::MAX)?),
            Arg::Long("export") => options.export = Some(parser.value()?.into()),
            Arg::Value(value) if path.is_none() => path = Some(value.into()),
            other => return Err(other.unexpected()),
        }
    }
    options.path = path.ok_or("name an image, or the directory of a store")?;
    Ok(Command::Run(options))
}
