//! The tables.

use crate::numbers::grouped;
use crate::survey::{Row, Survey};
use fabric_mq::durable::Extent;
use fabric_mq::durable::inspect::Role;
use std::fmt::{Display, Formatter, Result};

/// Bytes that a list of spans may take in a row.
const SPANS: usize = 34;

pub(crate) struct Report<'s>(pub(crate) &'s Survey);

fn role(row: &Row) -> String {
    match row.role {
        Role::Blank => "blank".into(),
        Role::Free => "free".into(),
        Role::Live => "live".into(),
        Role::Tail => "tail".into(),
        Role::Damaged => "DAMAGED".into(),
        Role::Torn => "torn".into(),
        Role::Foreign { .. } => "foreign".into(),
        Role::Version { found } => format!("format {found}"),
        _ => "other".into(),
    }
}

/// `0: 3-17, 1: 0-4`, as far as there is room.
fn spans(row: &Row) -> String {
    let mut text = String::new();
    for (nth, (partition, (first, last))) in row.spans.iter().enumerate() {
        let span = format!("{}{partition}: {first}-{last}", if nth == 0 { "" } else { ", " });
        if text.len() + span.len() > SPANS {
            text += &format!(" +{}", row.spans.len() - nth);
            break;
        }
        text += &span;
    }
    text
}

fn line(f: &mut Formatter<'_>, text: &str) -> Result {
    writeln!(f, "{}", text.trim_end())
}

fn extents(f: &mut Formatter<'_>, what: &str, extents: &[Extent]) -> Result {
    extents.iter().try_for_each(|at| writeln!(f, "  {what}: bytes {} to {} of segment {}", at.from, at.to, at.segment))
}

impl Report<'_> {
    fn segments(&self, f: &mut Formatter<'_>) -> Result {
        line(f, "\n  segment    number  role            used  records  steps  changes  offsets")?;
        for (segment, row) in self.0.segments.iter().enumerate() {
            if row.role == Role::Blank {
                continue;
            }
            let number = row.number.map_or_else(|| "-".into(), |number| grouped(number.into()));
            let used = if matches!(row.role, Role::Live | Role::Tail) { grouped(row.used.into()) } else { "-".into() };
            let mark = if row.unclean { "*" } else { " " };
            let text = format!(
                "  {segment:>7}  {number:>8}{mark} {:<9} {used:>10} {:>8} {:>6} {:>8}  {}",
                role(row),
                grouped(row.records),
                grouped(row.steps),
                grouped(row.changes),
                spans(row)
            );
            line(f, &text)?;
        }
        let blank = self.0.segments.iter().filter(|row| row.role == Role::Blank).count();
        if blank != 0 {
            writeln!(f, "  {} blank", grouped(blank as u64))?;
        }
        if self.0.segments.iter().any(|row| row.unclean) {
            writeln!(f, "  * begun behind an unclean stop")?;
        }
        Ok(())
    }

    fn readers(&self, f: &mut Formatter<'_>) -> Result {
        line(f, "\n  partition        oldest          next          kept")?;
        for (partition, (head, next)) in self.0.partitions.iter().enumerate() {
            let [head, next, kept] = [*head, *next, next - head].map(grouped);
            writeln!(f, "  {partition:>9}  {head:>12}  {next:>12}  {kept:>12}")?;
        }
        if self.0.cursors.is_empty() {
            return Ok(());
        }
        line(f, "\n  partition     committed        behind  cursor")?;
        for (partition, name, committed) in &self.0.cursors {
            let next = self.0.partitions.get(usize::from(*partition)).map_or(0, |(_, next)| *next);
            let [committed, behind] = [*committed, next.saturating_sub(*committed)].map(grouped);
            let text = format!("  {partition:>9}  {committed:>12}  {behind:>12}  {name:.46}");
            line(f, &text)?;
        }
        Ok(())
    }
}

impl Display for Report<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let survey = self.0;
        let shape = survey.geometry;
        writeln!(
            f,
            "journal {:#018x}: {} segments of {} bytes, {}",
            survey.id,
            grouped(shape.segments.into()),
            grouped(shape.segment_bytes.into()),
            if shape.rewritable {
                "files".to_owned()
            } else {
                format!("flash with a write unit of {}", shape.write_unit)
            }
        )?;
        let how = if survey.recovery.clean {
            "it was closed"
        } else {
            "it was not closed: the power went, or the process died"
        };
        writeln!(f, "{how}")?;
        self.segments(f)?;
        self.readers(f)?;
        let (least, most) = survey.wear();
        writeln!(f, "\n  wear: each segment was begun {least} to {most} times")?;
        extents(f, "torn tail, never stored", &survey.torn)?;
        for (partition, from, to) in &survey.holes {
            writeln!(f, "  hole, salvaged: offsets {from} to {to} of partition {partition}, exclusive")?;
        }
        extents(f, "DAMAGE", &survey.damage)?;
        let records: u64 = survey.segments.iter().map(|row| row.records).sum();
        let changes: u64 = survey.segments.iter().map(|row| row.steps + row.changes).sum();
        writeln!(
            f,
            "\n{}: {} records and {} changes verified, {} damaged stretches",
            if survey.is_whole() { "whole" } else { "DAMAGED" },
            grouped(records),
            grouped(changes),
            grouped(survey.damage.len() as u64)
        )
    }
}
