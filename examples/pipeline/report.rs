//! What the program prints at the end.

use crate::args::Options;
use crate::audit::{self, PartitionEnd};
use crate::consume::Consumed;
use crate::few::Few;
use crate::magnitudes::Magnitudes;
use crate::members::MemberEnd;
use crate::numbers::grouped;
use crate::produce::Produced;
use crate::{GROUP, TOPIC};
use core::cmp::Reverse;
use core::fmt;
use core::time::Duration;
use std::process::ExitCode;

/// How many networks are listed.
const LISTED: usize = 20;

pub(crate) struct Report<'a> {
    pub(crate) options: &'a Options,
    pub(crate) produced: Produced,
    pub(crate) consumed: Vec<Consumed>,
    /// In a group.
    pub(crate) members: Vec<MemberEnd>,
    pub(crate) partitions: Vec<PartitionEnd>,
    pub(crate) faults: Few,
    pub(crate) elapsed: Duration,
    /// Records that earlier runs had stored, and those of them that they had consumed.
    pub(crate) resumed: Option<(u64, u64)>,
}

impl Report<'_> {
    pub(crate) fn status(&self) -> ExitCode {
        if self.faults.count() > 0 || self.is_too_malformed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    fn is_too_malformed(&self) -> bool {
        self.options.strict && self.produced.malformed.count() > 0
    }

    fn summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { produced, consumed, .. } = self;
        let seconds = self.elapsed.as_secs_f64();
        let time = if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.2} s") };
        let lost = consumed.iter().map(|member| member.lost).sum();
        let left = [
            ("lines", produced.lines),
            ("malformed", produced.malformed.count()),
            ("produced", produced.records),
            ("consumed", audit::total(consumed, |arrivals| arrivals.records)),
        ];
        let right = [
            ("bytes", grouped(produced.bytes)),
            ("time", time),
            ("records/s", grouped(rate(produced.records, self.elapsed) as u64)),
            ("MB/s", format!("{:.1}", rate(produced.bytes, self.elapsed) / 1e6)),
        ];
        for ((label, count), (other, text)) in left.into_iter().zip(right) {
            writeln!(f, "  {label:<12}  {:>13}      {other:<12}  {text:>13}", grouped(count))?;
        }
        writeln!(f, "  {:<12}  {:>13}      {:<12}  {:>13}", "dropped", grouped(produced.dropped), "lost", grouped(lost))
    }

    fn partitions(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = if self.members.is_empty() { "peak lag" } else { "handed on" };
        writeln!(f, "  partition  consumer      keys        records     end offset      committed   lag  {last}")?;
        for row in &self.partitions {
            writeln!(
                f,
                "  {:>9}  {:>8}  {:>8}  {:>13}  {:>13}  {:>13}  {:>4}  {:>8}",
                row.stats.number,
                row.consumer,
                grouped(row.keys),
                grouped(row.records),
                grouped(row.stats.tail.value()),
                grouped(row.committed.value()),
                grouped(row.lag()),
                grouped(row.moves.map_or(row.peak, u64::from))
            )?;
        }
        if self.produced.records > 0 && self.partitions.iter().any(|row| row.keys == 0) {
            writeln!(f, "  (A network's name alone decides its partition, so a few networks spread unevenly.)")?;
        }
        Ok(())
    }

    fn members(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n  member    records  partitions taken  given up  was there         and had at the end")?;
        for (row, number) in self.members.iter().zip(1..) {
            let (when, records) = (row.stay.name(), grouped(row.records));
            let had = row.partitions.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
            let had = if had.is_empty() { "none" } else { &had };
            let (taken, given_up) = (row.taken, row.given_up);
            writeln!(f, "  {number:>6}  {records:>9}  {taken:>16}  {given_up:>8}  {when:<16}  {had}")?;
        }
        Ok(())
    }

    fn networks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut keys: Vec<_> = audit::tracks(&self.consumed).collect();
        keys.sort_by_key(|(key, track)| (Reverse(track.records), *key));
        let all: u64 = keys.iter().map(|(_, track)| track.records).sum();
        writeln!(f, "  {:<32}  partition        records    share", "network")?;
        for (key, track) in keys.iter().take(LISTED) {
            let share = track.records as f64 * 100.0 / all as f64;
            writeln!(f, "  {key:<32}  {:>9}  {:>13}  {share:>5.1} %", track.partition, grouped(track.records))?;
        }
        let rest: Vec<_> = keys.iter().skip(LISTED).map(|(_, track)| track.records).collect();
        if !rest.is_empty() {
            let records = grouped(rest.iter().sum());
            writeln!(f, "  ... and {} networks more, with {records} records", grouped(rest.len() as u64))?;
        }
        Ok(())
    }

    fn verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let malformed = self.produced.malformed.count();
        if self.faults.count() > 0 {
            return writeln!(f, "FAILED: records were lost, repeated, damaged or out of order.");
        }
        f.write_str(match self.produced.records {
            0 => "There was no record to send",
            _ => "Every record arrived once, and in order within its network",
        })?;
        match malformed {
            0 => writeln!(f, "."),
            1 => writeln!(f, "; 1 malformed line was left out."),
            _ => writeln!(f, "; {} malformed lines were left out.", grouped(malformed)),
        }?;
        if self.is_too_malformed() {
            writeln!(f, "FAILED: there are malformed lines, and --strict was given.")?;
        }
        Ok(())
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { input, repeat, .. } = self.options;
        let times = if *repeat > 1 { format!(", {} times", grouped(u64::from(*repeat))) } else { String::new() };
        let partitions = self.partitions.len();
        let consumers = match self.options.members {
            None if self.resumed.is_some() => "1 consumer".to_owned(),
            None => format!("{} consumers", self.consumed.len()),
            Some(1) => "1 member".to_owned(),
            Some(members) => format!("{members} members"),
        };
        writeln!(f, "{input}{times}")?;
        writeln!(f, "-> topic {TOPIC}, {partitions} partitions -> group {GROUP}, {consumers}\n")?;
        self.summary(f)?;
        writeln!(f)?;
        if let Some((stored, consumed)) = self.resumed {
            let (stored, consumed) = (grouped(stored), grouped(consumed));
            writeln!(f, "  Earlier runs had stored {stored} of the records, and consumed {consumed} of these.\n")?;
        }
        self.partitions(f)?;
        if !self.members.is_empty() {
            self.members(f)?;
        }
        if self.produced.records > 0 {
            writeln!(f)?;
            self.networks(f)?;
            let mut magnitudes = Magnitudes::default();
            for member in &self.consumed {
                magnitudes.append(&member.arrivals.magnitudes);
            }
            writeln!(f, "\n  {:>12}  {:>13}\n{magnitudes}", "magnitude", "records")?;
        } else {
            writeln!(f)?;
        }
        list(f, "Malformed lines", &self.produced.malformed)?;
        list(f, "Faults", &self.faults)?;
        self.verdict(f)
    }
}

fn list(f: &mut fmt::Formatter<'_>, title: &str, few: &Few) -> fmt::Result {
    if few.count() == 0 {
        return Ok(());
    }
    writeln!(f, "{title}")?;
    for text in few.first() {
        writeln!(f, "  {text}")?;
    }
    if few.more() > 0 {
        writeln!(f, "  ... and {} more", grouped(few.more()))?;
    }
    writeln!(f)
}

/// So many each second.
pub(crate) fn rate(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64().max(1e-9)
}
