//! The command line.

use std::time::Duration;

use crate::check;
use crate::registry::{Row, SIZES};
use crate::workloads::Workload;

pub const USAGE: &str = "\
usage: fabric-mq-bench [options]

  --workload LIST   of W1,W2,W2p,W3a,W3b,W4,X1,X2,X3; default all
  --size LIST       of payload bytes 16,64,256,1024,4096; default all
  --impl LIST       parts of implementation names; default all
  --rounds N        default 9, with --quick 5
  --quick           shorter rounds
  --check           measure what the targets need, print a line for each, fail if one is missed
  --write           write RESULTS.md and chart.svg also from a run that is quick or not of everything
  --help

A full run of everything writes RESULTS.md and chart.svg; any other prints its tables.";

#[derive(Debug)]
pub struct Options {
    workloads: Vec<Workload>,
    sizes: Vec<usize>,
    names: Vec<String>,
    pub rounds: usize,
    /// How long a round of one implementation is meant to last, before the workload's own factor.
    pub round: Duration,
    quick: bool,
    pub check: bool,
    write: bool,
    pub help: bool,
}

impl Options {
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            workloads: Vec::new(),
            sizes: Vec::new(),
            names: Vec::new(),
            rounds: 0,
            round: Duration::ZERO,
            quick: false,
            check: false,
            write: false,
            help: false,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
            match word.as_str() {
                "--workload" => {
                    for id in value()?.split(',') {
                        options.workloads.push(Workload::parse(id).ok_or_else(|| format!("no workload {id}"))?);
                    }
                }
                "--size" => {
                    for size in value()?.split(',') {
                        let known = size.parse().ok().filter(|size| SIZES.contains(size));
                        options.sizes.push(known.ok_or_else(|| format!("no size {size}"))?);
                    }
                }
                "--impl" => options.names.extend(value()?.split(',').map(str::to_lowercase)),
                "--rounds" => {
                    let rounds = value()?;
                    options.rounds =
                        rounds.parse().ok().filter(|rounds| *rounds > 0).ok_or("--rounds wants a number")?;
                }
                "--quick" => options.quick = true,
                "--check" => options.check = true,
                "--write" => options.write = true,
                "--help" | "-h" => options.help = true,
                _ => return Err(format!("unknown option {word}")),
            }
        }
        if options.rounds == 0 {
            options.rounds = if options.quick { 5 } else { 9 };
        }
        options.round = Duration::from_millis(if options.quick { 20 } else { 60 });
        Ok(options)
    }

    fn is_filtered(&self) -> bool {
        !(self.workloads.is_empty() && self.sizes.is_empty() && self.names.is_empty())
    }

    /// Whether rows of this workload and size were asked for.
    pub fn covers(&self, workload: Workload, size: usize) -> bool {
        (self.workloads.is_empty() || self.workloads.contains(&workload))
            && (self.sizes.is_empty() || self.sizes.contains(&size))
    }

    pub fn selects(&self, row: &Row) -> bool {
        let name = row.name.to_lowercase();
        self.covers(row.workload, row.size)
            && (self.names.is_empty() || self.names.iter().any(|part| name.contains(part.as_str())))
            && (!self.check || self.write || check::needs(row))
    }

    pub fn writes(&self) -> bool {
        self.write || !(self.quick || self.check || self.is_filtered())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn lists_and_defaults() {
        let options = parse("--workload w1,W2p --size 64,4096 --impl RTRB").expect("a good line");
        assert_eq!(options.workloads, [Workload::Lap, Workload::PingPong]);
        assert_eq!(options.sizes, [64, 4096]);
        assert_eq!(options.names, ["rtrb"]);
        assert_eq!(options.rounds, 9);
        assert!(!options.writes());
        assert!(parse("").expect("a good line").writes());
        assert!(!parse("--quick").expect("a good line").writes());
        assert!(parse("--quick --write").expect("a good line").writes());
    }

    #[test]
    fn mistakes_are_told() {
        for line in ["--size 65", "--workload W9", "--rounds 0", "--rounds", "--fast"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
