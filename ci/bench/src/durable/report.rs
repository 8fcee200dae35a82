//! DURABLE.md.

use std::fmt::Write as _;
use std::time::Duration;

use crate::log::Kind;
use crate::machine::{self, Disturbance};
use crate::tasks::{Sample, Task};
use crate::{fabric, floors, rivals};

/// An implementation's rounds; `None` where it failed.
pub struct Cell {
    pub kind: Kind,
    /// Records of a round.
    pub count: usize,
    pub samples: Vec<Option<Sample>>,
}

pub struct Table {
    pub task: Task,
    pub count: usize,
    pub cells: Vec<Cell>,
}

/// Where, when and how.
pub struct Circumstances {
    pub machine: String,
    pub date: String,
    pub rounds: usize,
    pub took: Duration,
    pub disturbance: Option<Disturbance>,
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[len / 2],
        len => (values[len / 2 - 1] + values[len / 2]) / 2.0,
    }
}

impl Cell {
    pub const fn new(kind: Kind, count: usize) -> Self {
        Self { kind, count, samples: Vec::new() }
    }

    fn of(&self, what: fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().flatten().map(what).collect())
    }

    fn ns(&self) -> f64 {
        self.of(|sample| sample.ns)
    }

    fn is_rival(&self) -> bool {
        !self.kind.is_floor && !self.is_ours()
    }

    fn is_ours(&self) -> bool {
        self.kind.name == fabric::NAME
    }

    /// How many times as fast as another one: the median of the ratios within each round.
    fn speed_in(&self, other: &Self) -> f64 {
        let rounds = self.samples.iter().zip(&other.samples);
        median(rounds.filter_map(|(ours, theirs)| Some(theirs.as_ref()?.ns / ours.as_ref()?.ns)).collect())
    }
}

impl Table {
    fn cell(&self, name: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.kind.name == name)
    }

    fn best(&self) -> Option<&Cell> {
        let rivals = self.cells.iter().filter(|cell| cell.is_rival() && cell.ns().is_finite());
        rivals.min_by(|a, b| a.ns().total_cmp(&b.ns()))
    }

    fn title(&self) -> String {
        let (count, batch) = (self.count, self.task.batch());
        match self.task {
            Task::OneByOne => {
                format!("{count} records appended without a sync, one by one, then read and acknowledged one by one")
            }
            Task::Batches => {
                format!("{count} records appended without a sync, then read and acknowledged, {batch} at a time")
            }
            Task::SyncEach => format!("{count} records, each synced"),
            Task::SyncGroups | Task::SyncThousands => format!("{count} records, synced {batch} at a time"),
            Task::Reopen => format!(
                "opened behind a killed process with {count} records that are not acknowledged, and the first one read"
            ),
        }
    }

    fn targets(&self, to: &mut Vec<Target>) {
        let Some(ours) = self.cell(fabric::NAME) else { return };
        let id = self.task.id();
        let mut faster = |name: &str, other: Option<&Cell>, wanted: f64| {
            if let Some(other) = other {
                let measured = ours.speed_in(other);
                let what = format!("{id}: {name} ({}), times as fast", other.kind.name);
                to.push(Target { what, measured, wanted: format!(">= {wanted:.2}"), is_met: measured >= wanted });
            }
        };
        faster("beside the best peer", self.best(), 1.0);
        match self.task {
            Task::OneByOne => faster("beside", self.cell(rivals::COMMITLOG), 1.5),
            Task::Batches => faster("beside", self.cell(rivals::COMMITLOG), 2.0),
            Task::SyncGroups => faster("beside", self.cell(floors::PREPARED.name), 1.0 / 1.15),
            Task::Reopen => {
                let (ms, peak) = (ours.of(|sample| sample.first_ms), ours.of(|sample| sample.peak));
                let mut below = |what: &str, measured: f64, most: f64| {
                    let what = format!("{id}: {what}");
                    to.push(Target { what, measured, wanted: format!("< {most}"), is_met: measured < most });
                };
                below("milliseconds to open and to read the first record", ms, 10.0);
                below("MiB of memory, the most the process had", peak, 16.0);
            }
            Task::SyncEach | Task::SyncThousands => {}
        }
    }
}

struct Target {
    what: String,
    measured: f64,
    wanted: String,
    is_met: bool,
}

/// Three significant digits, as more would be noise.
fn short(value: f64) -> String {
    match value {
        value if !value.is_finite() => "-".to_owned(),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value >= 1.0 => format!("{value:.2}"),
        value => format!("{value:.3}"),
    }
}

pub fn markdown(tables: &[Table], circumstances: &Circumstances) -> String {
    let mut text = String::new();
    write_into(&mut text, tables, circumstances).expect("writing into a string does not fail");
    text
}

fn write_into(text: &mut String, tables: &[Table], circumstances: &Circumstances) -> std::fmt::Result {
    let Circumstances { machine, date, rounds, took, disturbance } = circumstances;
    writeln!(text, "# On disk\n\n{machine}.\n")?;
    write!(text, "{date}, {rounds} rounds, {:.0} s in all; README.md says what is measured.", took.as_secs_f64())?;
    if let Some(Disturbance { others, stolen }) = disturbance {
        let (others, stolen) = (others * 100.0, stolen * 100.0);
        write!(
            text,
            " Meanwhile other processes took {others:.0} % of the cores' time and the hypervisor {stolen:.0} %."
        )?;
    }
    write!(text, "\n\nfabric-mq {}", machine::locked_version("fabric-mq").unwrap_or("not built"))?;
    for package in rivals::KINDS.iter().filter_map(|kind| kind.package) {
        write!(text, ", {package} {}", machine::locked_version(package).unwrap_or("of unknown version"))?;
    }
    writeln!(
        text,
        ".\n\nFigures are medians over the rounds, min..max the fastest and the slowest. \"vs\" is a ratio of speeds, 2.00 is \
         twice as fast: the median of the ratios within each round; with a sync, of the median calls. The best peer is neither ours nor a floor. \"cpu\" is the \
         time of the processor, of all threads: what waiting for a core or for the disk does not touch.\n"
    )?;
    let mut targets = Vec::new();
    tables.iter().for_each(|table| table.targets(&mut targets));
    writeln!(text, "## Targets\n\n| target | measured | wanted | |\n|---|--:|--:|---|")?;
    for Target { what, measured, wanted, is_met } in &targets {
        writeln!(text, "| {what} | {} | {wanted} | {} |", short(*measured), if *is_met { "ok" } else { "MISSED" })?;
    }
    for table in tables {
        writeln!(text, "\n## {}: {}\n", table.task.id(), table.title())?;
        rows(text, table)?;
    }
    Ok(())
}

fn rows(text: &mut String, table: &Table) -> std::fmt::Result {
    let heads: &[(&str, fn(&Sample) -> f64)] = match table.task {
        Task::OneByOne | Task::Batches => &[
            ("k records/s", |sample| 1e6 / sample.ns),
            ("append ns", |sample| sample.append_ns),
            ("read + ack ns", |sample| sample.take_ns),
            ("cpu ns", |sample| sample.cpu_ns),
        ],
        Task::SyncEach | Task::SyncGroups | Task::SyncThousands => &[
            ("mean ns", |sample| sample.append_ns),
            ("cpu ns", |sample| sample.cpu_ns),
            ("sync p50 us", |sample| sample.p50),
            ("p99 us", |sample| sample.p99),
        ],
        Task::Reopen => &[
            ("open ms", |sample| sample.open_ms),
            ("and first ms", |sample| sample.first_ms),
            ("peak MiB", |sample| sample.peak),
            ("of it by opening", |sample| sample.grown),
        ],
    };
    write!(text, "| | vs best peer | vs fabric-mq | ns/record |")?;
    for (head, _) in heads {
        write!(text, " {head} |")?;
    }
    writeln!(text, " min..max ns |\n|---|--:|--:|--:|{}--:|", "--:|".repeat(heads.len()))?;
    let mut cells: Vec<&Cell> = table.cells.iter().collect();
    cells.sort_by(|a, b| a.ns().total_cmp(&b.ns()));
    for cell in cells {
        let versus = |other: Option<&Cell>| other.map_or("-".to_owned(), |other| short(cell.speed_in(other)));
        let name = match cell {
            cell if cell.is_ours() => format!("**{}**", cell.kind.name),
            cell if cell.kind.is_floor => format!("_{}_", cell.kind.name),
            cell => cell.kind.name.to_owned(),
        };
        let fewer = if cell.count == table.count { String::new() } else { format!(", {} records", cell.count) };
        let (best, ours) = (versus(table.best()), versus(table.cell(fabric::NAME)));
        write!(text, "| {name}{fewer} | {best} | {ours} | {} |", short(cell.ns()))?;
        for (_, what) in heads {
            write!(text, " {} |", short(cell.of(*what)))?;
        }
        let all = || cell.samples.iter().flatten().map(|sample| sample.ns);
        let (min, max) = (all().fold(f64::NAN, f64::min), all().fold(f64::NAN, f64::max));
        writeln!(text, " {}..{} |", short(min), short(max))?;
    }
    Ok(())
}
