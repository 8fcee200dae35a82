//! What each process notes of what it did: one line a fact, in a file of its own that only it appends to.
//!
//! A line is written to the file before the process goes on, so it outlives the process, though not the machine. The last
//! line of one that was killed may be cut off: then the fact was not noted.

use core::fmt;
use core::str::{FromStr, SplitAsciiWhitespace};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

/// A record, as whoever sent or read it saw it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Seen {
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    /// Its number among all records of the producer, from 0.
    pub(crate) number: u64,
    pub(crate) checksum: u64,
}

/// A fact. Times are milliseconds of the machine's clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Entry {
    /// A producer goes on with this record, as it has found in the log.
    From { number: u64, at: u64 },
    /// `send` has answered that the record is in the log.
    Acked(Seen),
    /// All records before this number were sent, and no more will be.
    Ended { number: u64 },
    /// A consumer is a member of its group.
    Joined { at: u64 },
    /// It owns a partition, and reads it from this offset on.
    Claimed { partition: u32, epoch: u32, from: u64, at: u64 },
    /// It was handed a record.
    Read { epoch: u32, seen: Seen },
    /// It is about to commit an offset.
    Committing { partition: u32, epoch: u32, offset: u64 },
    /// It was told that the commit took effect.
    Committed { partition: u32, epoch: u32, offset: u64 },
    /// It was told that the partition is another's meanwhile.
    Refused { partition: u32, epoch: u32 },
    /// The partition is not its own any more.
    Gone { partition: u32, epoch: u32, at: u64 },
    /// Its heart did not beat, because it was not let run for so long up to `at`.
    Held { millis: u64, at: u64 },
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = |f: &mut fmt::Formatter<'_>, seen: &Seen| {
            let Seen { partition, offset, number, checksum } = seen;
            write!(f, "{partition} {offset} {number} {checksum:x}")
        };
        match self {
            Self::From { number, at } => write!(f, "from {number} {at}"),
            Self::Acked(record) => f.write_str("acked ").and_then(|()| seen(f, record)),
            Self::Ended { number } => write!(f, "ended {number}"),
            Self::Joined { at } => write!(f, "joined {at}"),
            Self::Claimed { partition, epoch, from, at } => write!(f, "claimed {partition} {epoch} {from} {at}"),
            Self::Read { epoch, seen: record } => write!(f, "read {epoch} ").and_then(|()| seen(f, record)),
            Self::Committing { partition, epoch, offset } => write!(f, "committing {partition} {epoch} {offset}"),
            Self::Committed { partition, epoch, offset } => write!(f, "committed {partition} {epoch} {offset}"),
            Self::Refused { partition, epoch } => write!(f, "refused {partition} {epoch}"),
            Self::Gone { partition, epoch, at } => write!(f, "gone {partition} {epoch} {at}"),
            Self::Held { millis, at } => write!(f, "held {millis} {at}"),
        }
    }
}

struct Words<'a>(SplitAsciiWhitespace<'a>);

impl Words<'_> {
    fn number<T: FromStr>(&mut self) -> Option<T> {
        self.0.next()?.parse().ok()
    }

    fn seen(&mut self) -> Option<Seen> {
        let (partition, offset, number) = (self.number()?, self.number()?, self.number()?);
        Some(Seen { partition, offset, number, checksum: u64::from_str_radix(self.0.next()?, 16).ok()? })
    }
}

impl Entry {
    /// The fact in a line; `None` if it is none.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut words = Words(line.split_ascii_whitespace());
        let of = &mut words;
        let entry = match of.0.next()? {
            "from" => Self::From { number: of.number()?, at: of.number()? },
            "acked" => Self::Acked(of.seen()?),
            "ended" => Self::Ended { number: of.number()? },
            "joined" => Self::Joined { at: of.number()? },
            "claimed" => {
                Self::Claimed { partition: of.number()?, epoch: of.number()?, from: of.number()?, at: of.number()? }
            }
            "read" => Self::Read { epoch: of.number()?, seen: of.seen()? },
            "committing" => Self::Committing { partition: of.number()?, epoch: of.number()?, offset: of.number()? },
            "committed" => Self::Committed { partition: of.number()?, epoch: of.number()?, offset: of.number()? },
            "refused" => Self::Refused { partition: of.number()?, epoch: of.number()? },
            "gone" => Self::Gone { partition: of.number()?, epoch: of.number()?, at: of.number()? },
            "held" => Self::Held { millis: of.number()?, at: of.number()? },
            _ => return None,
        };
        words.0.next().is_none().then_some(entry)
    }
}

/// A journal, as its process writes it.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    lines: Vec<u8>,
}

impl Journal {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: OpenOptions::new().append(true).open(path)?, lines: Vec::new() })
    }

    /// Notes a fact, to be written with the next [`flush`](Self::flush).
    pub(crate) fn add(&mut self, entry: Entry) {
        // Into memory: cannot fail.
        let _ = writeln!(self.lines, "{entry}");
    }

    /// Writes what was noted, with one call of the system if it lets us.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let done = self.file.write_all(&self.lines);
        self.lines.clear();
        done
    }
}

/// A journal, as the parent reads it while it grows.
#[derive(Debug)]
pub(crate) struct Tail {
    file: File,
    bytes: Vec<u8>,
}

impl Tail {
    /// Makes the file, so that it is there before the process is.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: OpenOptions::new().create_new(true).read(true).append(true).open(path)?, bytes: Vec::new() })
    }

    /// Hands out the lines that were finished since the last time. Those that are no facts come as they are.
    pub(crate) fn read(&mut self, mut visit: impl FnMut(Result<Entry, &str>)) -> io::Result<()> {
        self.file.read_to_end(&mut self.bytes)?;
        let Some(end) = self.bytes.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        for line in self.bytes.drain(..=end).as_slice().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match core::str::from_utf8(line) {
                Ok(line) => visit(Entry::parse(line).ok_or(line)),
                Err(_) => visit(Err("bytes that are no text")),
            }
        }
        Ok(())
    }
}
