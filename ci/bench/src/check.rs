//! The targets: what fabric-mq has to measure beside its rivals.

use std::fmt::Write as _;

use crate::registry::{Kind, Row};
use crate::results::{OURS, OURS_ARRAYS, OURS_ARRAYS_DRAINED, OURS_IN_BATCHES, Table};
use crate::workloads::Workload;

/// Whom a target looks at.
#[derive(Clone, Copy, Debug)]
enum Rival {
    Named(&'static str),
    /// The fastest of those whose consumer is handed a copy.
    BestCopyingOut,
    /// The fastest of those that are ways to use this one.
    #[cfg_attr(not(feature = "iceoryx2"), expect(dead_code, reason = "the only such one is behind this feature"))]
    BestOf(&'static str),
}

/// What the ratio has to be.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    /// Our speed in theirs: more than 1.
    Ahead,
    /// Our speed in theirs.
    AtLeast(f64),
    /// Our time in theirs.
    Within(f64),
}

#[derive(Clone, Copy, Debug)]
struct Target {
    workload: Workload,
    size: usize,
    ours: &'static str,
    rival: Rival,
    wanted: Wanted,
}

const fn target(workload: Workload, ours: &'static str, rival: &'static str, wanted: Wanted) -> Target {
    Target { workload, size: 64, ours, rival: Rival::Named(rival), wanted }
}

const fn ahead_of_copies(workload: Workload, size: usize) -> Target {
    Target { workload, size, ours: OURS, rival: Rival::BestCopyingOut, wanted: Wanted::Ahead }
}

#[cfg(feature = "iceoryx2")]
const fn between_processes(workload: Workload, size: usize, wanted: Wanted) -> Target {
    Target { workload, size, ours: OURS, rival: Rival::BestOf("iceoryx2"), wanted }
}

const TARGETS: &[Target] = &[
    target(Workload::Lap, OURS, "bbqueue framed", Wanted::AtLeast(6.0)),
    target(Workload::Lap, OURS, "rtrb", Wanted::Ahead),
    target(Workload::Lap, OURS, "disruptor", Wanted::Within(1.4)),
    target(Workload::Stream, OURS, "rtrb", Wanted::Ahead),
    target(Workload::Stream, OURS, "ringbuf", Wanted::Ahead),
    target(Workload::Stream, OURS_IN_BATCHES, "rtrb", Wanted::AtLeast(1.4)),
    target(Workload::Stream, OURS_IN_BATCHES, "ringbuf", Wanted::AtLeast(1.4)),
    target(Workload::PingPong, OURS, "rtrb", Wanted::Within(1.1)),
    target(Workload::BroadcastLap, OURS, "disruptor", Wanted::Within(1.3)),
    target(Workload::Broadcast, OURS, "disruptor", Wanted::Ahead),
    target(Workload::Funnel, OURS, "crossbeam ArrayQueue", Wanted::Ahead),
    ahead_of_copies(Workload::Lap, 256),
    ahead_of_copies(Workload::Lap, 1024),
    ahead_of_copies(Workload::Lap, 4096),
    ahead_of_copies(Workload::Stream, 256),
    ahead_of_copies(Workload::Stream, 1024),
    ahead_of_copies(Workload::Stream, 4096),
    // The same beside their like: elements of these are arrays, whose length the compiler knows, and disruptor's consumers
    // take what waits.
    target(Workload::Lap, OURS_ARRAYS, "rtrb", Wanted::Ahead),
    target(Workload::Lap, OURS_ARRAYS_DRAINED, "disruptor", Wanted::Within(1.4)),
    target(Workload::BroadcastLap, OURS_ARRAYS_DRAINED, "disruptor", Wanted::Within(1.3)),
    target(Workload::Broadcast, OURS_ARRAYS_DRAINED, "disruptor", Wanted::Ahead),
    // Between processes.
    #[cfg(feature = "iceoryx2")]
    between_processes(Workload::ProcessStream, 64, Wanted::Ahead),
    #[cfg(feature = "iceoryx2")]
    between_processes(Workload::ProcessStream, 4096, Wanted::Ahead),
    #[cfg(feature = "iceoryx2")]
    between_processes(Workload::ProcessPingPong, 64, Wanted::Within(1.2)),
    #[cfg(feature = "iceoryx2")]
    between_processes(Workload::ProcessPingPong, 4096, Wanted::Within(1.2)),
];

impl Rival {
    /// Whether a row may be the one.
    fn includes(self, row: &Row) -> bool {
        match self {
            Self::Named(name) => row.name == name,
            Self::BestCopyingOut => row.kind == Kind::CopiesOut,
            Self::BestOf(name) => row.name.split(',').next() == Some(name),
        }
    }
}

/// Whether a target looks at this row.
pub fn needs(row: &Row) -> bool {
    TARGETS
        .iter()
        .filter(|target| target.workload == row.workload && target.size == row.size)
        .any(|target| row.name == target.ours || target.rival.includes(row))
}

/// A target and what came out.
#[derive(Debug)]
pub struct Verdict {
    text: String,
    /// `None` if a row it needs was not measured.
    ratio: Option<f64>,
    wanted: Wanted,
}

impl Verdict {
    pub fn is_met(&self) -> bool {
        self.ratio.is_some_and(|ratio| match self.wanted {
            Wanted::Ahead => ratio > 1.0,
            Wanted::AtLeast(least) => ratio >= least,
            Wanted::Within(most) => ratio <= most,
        })
    }

    /// The target, the measured ratio, what is wanted, and whether it is.
    pub fn columns(&self) -> [String; 4] {
        let wanted = match self.wanted {
            Wanted::Ahead => "> 1.00".to_owned(),
            Wanted::AtLeast(least) => format!(">= {least:.2}"),
            Wanted::Within(most) => format!("<= {most:.2}"),
        };
        let ratio = self.ratio.map_or_else(|| "not measured".to_owned(), |ratio| format!("{ratio:.2}"));
        [self.text.clone(), ratio, wanted, if self.is_met() { "ok" } else { "MISSED" }.to_owned()]
    }
}

fn judge(target: &Target, tables: &[Table]) -> Verdict {
    let table = tables.iter().find(|table| table.workload == target.workload && table.size == target.size);
    let ours = table.and_then(|table| table.cell(target.ours));
    let rival = table.and_then(|table| table.best_of(|row| target.rival.includes(row)));
    let measure = match target.wanted {
        Wanted::Within(_) if target.workload.is_timed_singly() => "p50",
        Wanted::Within(_) => "time",
        _ => "speed",
    };
    let name = match (target.rival, rival) {
        (Rival::Named(name), _) => name.to_owned(),
        (Rival::BestCopyingOut, Some(cell)) => format!("best rival that copies out ({})", cell.row.name),
        (Rival::BestCopyingOut, None) => "best rival that copies out".to_owned(),
        (Rival::BestOf(_), Some(cell)) => cell.row.name.to_owned(),
        (Rival::BestOf(name), None) => name.to_owned(),
    };
    Verdict {
        text: format!("{} {} B, {measure} of {} / {name}", target.workload.id(), target.size, target.ours),
        ratio: ours.zip(rival).map(|(ours, rival)| match target.wanted {
            Wanted::Within(_) => rival.speed_in(ours),
            Wanted::Ahead | Wanted::AtLeast(_) => ours.speed_in(rival),
        }),
        wanted: target.wanted,
    }
}

/// Verdicts on the targets of the workloads and sizes that were asked for.
pub fn evaluate(tables: &[Table], wanted: impl Fn(Workload, usize) -> bool) -> Vec<Verdict> {
    TARGETS.iter().filter(|target| wanted(target.workload, target.size)).map(|target| judge(target, tables)).collect()
}

/// A line for each.
pub fn lines(verdicts: &[Verdict]) -> String {
    let mut text = String::new();
    for verdict in verdicts {
        let _ = writeln!(text, "{}", verdict.columns().join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{self, Mode};
    use crate::results::Cell;
    use crate::workloads::Sample;

    fn table(workload: Workload, size: usize, cells: &[(&'static str, Kind, f64)]) -> Table {
        let cells = cells.iter().map(|&(name, kind, mean_ns)| {
            let sample = Sample { mean_ns, trip: None };
            let run = |_| Sample { mean_ns: 0.0, trip: None };
            Cell { row: Row { workload, size, name, kind, mode: Mode::Record, run }, samples: vec![sample] }
        });
        Table { workload, size, cells: cells.collect() }
    }

    #[test]
    fn every_rival_named_by_a_target_is_registered_under_that_name() {
        let rows = registry::all();
        for target in TARGETS {
            let found = rows
                .iter()
                .any(|row| row.workload == target.workload && row.size == target.size && target.rival.includes(row));
            assert!(found, "{target:?}");
        }
    }

    #[test]
    fn speeds_and_times() {
        let cells = [
            (OURS, Kind::Ours, 6.0),
            ("bbqueue framed", Kind::Lends, 35.0),
            ("rtrb", Kind::CopiesOut, 6.3),
            ("disruptor", Kind::Lends, 4.0),
        ];
        let verdicts = evaluate(&[table(Workload::Lap, 64, &cells)], |_, _| true);
        let [bbqueue, rtrb, disruptor, unmeasured, ..] = verdicts.as_slice() else { panic!("too few") };
        assert!(!bbqueue.is_met(), "35 / 6 is less than 6");
        assert!(rtrb.is_met(), "6.3 / 6 is more than 1");
        assert!(!disruptor.is_met(), "6 / 4 is more than 1.4");
        assert!(!unmeasured.is_met(), "what was not measured is not met");
        assert_eq!(bbqueue.columns(), ["W1 64 B, speed of fabric-mq / bbqueue framed", "5.83", ">= 6.00", "MISSED"]);
        assert_eq!(unmeasured.columns()[1], "not measured");
    }

    #[test]
    fn the_best_copy_is_the_one_to_beat() {
        let cells = [
            (OURS, Kind::Ours, 10.0),
            ("rtrb", Kind::CopiesOut, 19.0),
            ("ringbuf", Kind::CopiesOut, 11.0),
            ("disruptor", Kind::Lends, 8.0),
        ];
        let verdicts = evaluate(&[table(Workload::Lap, 256, &cells)], |_, _| true);
        let verdict = verdicts.iter().find(|verdict| verdict.ratio.is_some()).expect("one is measured");
        assert!(verdict.is_met());
        assert!(verdict.text.contains("ringbuf"), "{}", verdict.text);
    }
}
