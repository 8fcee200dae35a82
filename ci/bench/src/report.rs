//! RESULTS.md.

use std::fmt::Write as _;
use std::time::Duration;

use crate::check::Verdict;
use crate::machine::{self, Disturbance};
use crate::registry::{Kind, Mode, SIZES};
use crate::results::{Cell, OURS, OURS_ARRAYS, OURS_DRAINED, OURS_IN_BATCHES, Table};
use crate::rivals;
use crate::workloads::{Trip, Workload};

/// Where, when and how.
#[derive(Debug)]
pub struct Circumstances {
    pub machine: String,
    pub date: String,
    pub rounds: usize,
    pub round: Duration,
    pub took: Duration,
    pub disturbance: Option<Disturbance>,
}

impl Circumstances {
    /// Whether so much of the machine went elsewhere that it shows.
    pub fn is_disturbed(&self) -> bool {
        self.disturbance.is_some_and(|Disturbance { others, stolen }| others + stolen > 0.05)
    }
}

/// Three significant digits, as more would be noise.
pub fn short(value: f64) -> String {
    match value {
        value if !value.is_finite() => "-".to_owned(),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value >= 1.0 => format!("{value:.2}"),
        value => format!("{value:.3}"),
    }
}

pub fn markdown(tables: &[Table], verdicts: &[Verdict], circumstances: &Circumstances) -> String {
    let mut text = String::new();
    write_into(&mut text, tables, verdicts, circumstances).expect("writing into a string does not fail");
    text
}

fn write_into(
    text: &mut String,
    tables: &[Table],
    verdicts: &[Verdict],
    circumstances: &Circumstances,
) -> std::fmt::Result {
    let Circumstances { machine, date, rounds, round, took, disturbance } = circumstances;
    writeln!(text, "# Results\n")?;
    writeln!(text, "{machine}.\n")?;
    writeln!(
        text,
        "{date}, {rounds} rounds of about {} ms (W1 and W3a half, W3b and W4 one and a half times as long), {:.0} s in all. \
         README.md says what is measured and what is not.",
        round.as_millis(),
        took.as_secs_f64(),
    )?;
    if let Some(Disturbance { others, stolen }) = disturbance {
        writeln!(
            text,
            "Meanwhile other processes took {:.0} % of the cores' time and the hypervisor {:.0} %{}.",
            others * 100.0,
            stolen * 100.0,
            if circumstances.is_disturbed() {
                ": figures with two and three threads mean little, ratios more"
            } else {
                ""
            },
        )?;
    }
    writeln!(text)?;
    write!(text, "fabric-mq {}", machine::locked_version("fabric-mq").unwrap_or("not built"))?;
    for package in rivals::PACKAGES {
        write!(text, ", {package} {}", machine::locked_version(package).unwrap_or("of unknown version"))?;
    }
    writeln!(text, ".\n")?;
    writeln!(
        text,
        "Figures are medians over the rounds, min..max the fastest and the slowest round. \"vs\" is a ratio of speeds, 2.00 \
         is twice as fast: the median of the ratios within each round. The best rival is the fastest row of its table that is \
         neither ours nor a floor, whatever its mode.\n"
    )?;
    if !verdicts.is_empty() {
        writeln!(text, "## Targets\n\n| target | measured | wanted | |\n|---|--:|--:|---|")?;
        for verdict in verdicts {
            writeln!(text, "| {} |", verdict.columns().join(" | "))?;
        }
        writeln!(text)?;
    }
    summary(text, tables)?;
    for workload in Workload::ALL {
        let mut tables = tables.iter().filter(|table| table.workload == workload).peekable();
        if tables.peek().is_some() {
            writeln!(text, "## {workload}\n")?;
        }
        for table in tables {
            writeln!(text, "### {}, {} B\n", workload.id(), table.size)?;
            match workload {
                workload if workload.is_timed_singly() => trips(text, table)?,
                _ => throughput(text, table)?,
            }
            writeln!(text)?;
        }
    }
    Ok(())
}

/// Nanoseconds of the fastest of ours and of the fastest rival, for all sizes.
fn summary(text: &mut String, tables: &[Table]) -> std::fmt::Result {
    writeln!(
        text,
        "## Summary\n\nNanoseconds per message, per round trip (W2p, median), or from one process to the \
         other (X2, X3, median).\n"
    )?;
    write!(text, "| workload | |")?;
    for size in SIZES {
        write!(text, " {size} B |")?;
    }
    writeln!(text, "\n|---|---|{}", "--:|".repeat(SIZES.len()))?;
    let mut line = |workload: Workload, title: &str, pick: &dyn Fn(&Table) -> Option<String>| -> std::fmt::Result {
        if !tables.iter().any(|table| table.workload == workload && pick(table).is_some()) {
            return Ok(());
        }
        write!(text, "| {} | {title} |", workload.id())?;
        for size in SIZES {
            let table = tables.iter().find(|table| table.workload == workload && table.size == size);
            write!(text, " {} |", table.and_then(pick).unwrap_or_else(|| "-".to_owned()))?;
        }
        writeln!(text)
    };
    for workload in Workload::ALL {
        line(workload, OURS, &|table| Some(short(table.cell(OURS)?.ns())))?;
        line(workload, OURS_ARRAYS, &|table| Some(short(table.cell(OURS_ARRAYS)?.ns())))?;
        line(workload, OURS_DRAINED, &|table| Some(short(table.cell(OURS_DRAINED)?.ns())))?;
        line(workload, OURS_IN_BATCHES, &|table| Some(short(table.cell(OURS_IN_BATCHES)?.ns())))?;
        line(workload, "best rival", &|table| {
            let best = table.best(Kind::is_rival)?;
            Some(format!("{} {}", short(best.ns()), best.row.name))
        })?;
        line(workload, "best floor", &|table| Some(short(table.best(|kind| kind == Kind::Floor)?.ns())))?;
    }
    writeln!(text)
}

fn versus(cell: &Cell, other: Option<&Cell>) -> String {
    other.map_or_else(|| "-".to_owned(), |other| short(cell.speed_in(other)))
}

/// Our own rows stand out, floors stand back.
fn name(cell: &Cell) -> String {
    match cell.row.kind {
        Kind::Ours => format!("**{}**", cell.row.name),
        Kind::Floor => format!("_{}_", cell.row.name),
        Kind::Lends | Kind::CopiesOut => cell.row.name.to_owned(),
    }
}

fn mode(cell: &Cell) -> &'static str {
    match cell.row.mode {
        Mode::Record => "record",
        Mode::Batches => "batches",
    }
}

fn throughput(text: &mut String, table: &Table) -> std::fmt::Result {
    writeln!(
        text,
        "| implementation | mode | ns/message | M messages/s | vs best rival | vs fabric-mq | min..max ns |\n\
         |---|---|--:|--:|--:|--:|--:|"
    )?;
    let (best, ours) = (table.best(Kind::is_rival), table.cell(OURS));
    for cell in table.ranked() {
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {}..{} |",
            name(cell),
            mode(cell),
            short(cell.ns()),
            short(1e3 / cell.ns()),
            versus(cell, best),
            versus(cell, ours),
            short(cell.min_ns()),
            short(cell.max_ns()),
        )?;
    }
    Ok(())
}

fn trips(text: &mut String, table: &Table) -> std::fmt::Result {
    writeln!(
        text,
        "| implementation | p50 ns | p99 ns | p99.9 ns | mean ns | vs best rival (p50) | vs fabric-mq (p50) | p50 min..max |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|"
    )?;
    let (best, ours) = (table.best(Kind::is_rival), table.cell(OURS));
    for cell in table.ranked() {
        let of = |what: fn(Trip) -> f64| cell.median(|sample| sample.trip.map_or(f64::NAN, what));
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {}..{} |",
            name(cell),
            short(cell.ns()),
            short(of(|trip| trip.p99)),
            short(of(|trip| trip.p999)),
            short(of(|trip| trip.mean)),
            versus(cell, best),
            versus(cell, ours),
            short(cell.min_ns()),
            short(cell.max_ns()),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn three_digits() {
        assert_eq!(short(0.5678), "0.568");
        assert_eq!(short(5.678), "5.68");
        assert_eq!(short(56.78), "56.8");
        assert_eq!(short(567.8), "568");
        assert_eq!(short(5678.0), "5678");
        assert_eq!(short(f64::NAN), "-");
    }
}
