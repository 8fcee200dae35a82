//! chart.svg: 64-byte payloads, a panel for each workload, a bar for each implementation.

use std::fmt::{self, Write as _};

use crate::registry::Kind;
use crate::report::{Circumstances, short};
use crate::results::{Cell, Table};
use crate::workloads::Workload;

const SIZE: usize = 64;

// One set of colours that reads on white as well as on near-black: an embedded picture cannot know the page's theme.
const OURS: &str = "#e8590c";
const RIVAL: &str = "#8a97a8";
const TEXT: &str = "#737e8c";

const WIDTH: usize = 880;
const MARGIN: usize = 16;
const NOTE: usize = 18;
const GUTTER: usize = 28;
const PANEL: usize = (WIDTH - 2 * MARGIN - GUTTER) / 2;
/// Room for the names, left of the bars.
const NAMES: usize = 160;
/// Room for the figures, right of the longest bar.
const FIGURES: usize = 44;
const LINE: usize = 18;
const BAR: usize = 12;
const HEADING: usize = 46;
const TITLE: usize = 48;

/// Side by side in this order, so that panels of a like height share a line.
const PANELS: [[Workload; 2]; 4] = [
    [Workload::Lap, Workload::Stream],
    [Workload::PingPong, Workload::Funnel],
    [Workload::BroadcastLap, Workload::Broadcast],
    [Workload::ProcessStream, Workload::ProcessPingPong],
];

fn caption(workload: Workload) -> (&'static str, &'static str) {
    match workload {
        Workload::Lap => ("One thread", "push 1000, pop 1000; million messages/s"),
        Workload::Stream => ("Two threads", "streaming; million messages/s"),
        Workload::PingPong => ("Two threads, round trip", "median, nanoseconds; shorter is better"),
        Workload::BroadcastLap => ("Two readers, one thread", "each reads all; million messages/s"),
        Workload::Broadcast => ("Two readers, three threads", "each reads all; million messages/s"),
        Workload::Funnel => ("Two producers, three threads", "million messages/s"),
        Workload::ProcessStream => ("Two processes", "streaming; million messages/s"),
        Workload::ProcessPingPong => ("Two processes, half a round trip", "median, nanoseconds; shorter is better"),
        Workload::ProcessOneWay => ("Two processes, one way", "median, nanoseconds; shorter is better"),
    }
}

/// What the bar is as long as.
fn figure(workload: Workload, cell: &Cell) -> f64 {
    match workload {
        workload if workload.is_timed_singly() => cell.ns(),
        _ => 1e3 / cell.ns(),
    }
}

/// Floors are left out: nobody can choose one.
fn bars(table: &Table) -> Vec<&Cell> {
    table.ranked().into_iter().filter(|cell| cell.row.kind != Kind::Floor).collect()
}

pub fn svg(tables: &[Table], circumstances: &Circumstances) -> String {
    let mut text = String::new();
    write_into(&mut text, tables, circumstances).expect("writing into a string does not fail");
    text
}

fn write_into(text: &mut String, tables: &[Table], circumstances: &Circumstances) -> fmt::Result {
    let table = |workload| tables.iter().find(|table| table.workload == workload && table.size == SIZE);
    let height_of = |workload| table(workload).map_or(0, |table| HEADING + bars(table).len() * LINE);
    let height_of_line = |line: &[Workload; 2]| line.iter().map(|&workload| height_of(workload)).max().unwrap_or(0);
    let panels: usize = PANELS.iter().map(|line| height_of_line(line) + GUTTER).sum();
    let height = TITLE + panels + NOTE + MARGIN;

    writeln!(
        text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" aria-label=\"fabric-mq beside other in-memory queues, {SIZE}-byte messages\" \
         font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\" font-size=\"11.5\" fill=\"{TEXT}\">"
    )?;
    writeln!(
        text,
        "<text x=\"{MARGIN}\" y=\"24\" font-size=\"16\" font-weight=\"600\">{SIZE}-byte messages in memory</text>"
    )?;
    let mut top = TITLE;
    for line in &PANELS {
        for (column, &workload) in line.iter().enumerate() {
            if let Some(table) = table(workload) {
                panel(text, table, MARGIN + column * (PANEL + GUTTER), top)?;
            }
        }
        top += height_of_line(line) + GUTTER;
    }
    writeln!(
        text,
        "<g font-size=\"10.5\"><text x=\"{MARGIN}\" y=\"{}\">fabric-mq and bbqueue carry messages of any length, the others \
         elements of one size. Batches, chunks, slices: 32 handed over at a time.</text>\n\
         <text x=\"{MARGIN}\" y=\"{}\">{}; {}{}</text></g>\n</svg>",
        height - MARGIN - NOTE,
        height - MARGIN,
        escaped(&circumstances.machine),
        circumstances.date,
        if circumstances.is_disturbed() { "; on a busy machine" } else { "" },
    )
}

fn panel(text: &mut String, table: &Table, left: usize, top: usize) -> fmt::Result {
    let (title, unit) = caption(table.workload);
    let bars = bars(table);
    let longest = bars.iter().map(|cell| figure(table.workload, cell)).fold(0.0, f64::max);
    let room = (PANEL - NAMES - FIGURES) as f64;
    writeln!(
        text,
        "<text x=\"{left}\" y=\"{}\" font-size=\"13\" font-weight=\"600\">{title}</text>\n\
         <text x=\"{left}\" y=\"{}\">{unit}</text>",
        top + 12,
        top + 28,
    )?;
    for (place, cell) in bars.iter().enumerate() {
        let y = top + HEADING + place * LINE;
        let baseline = y + BAR - 2;
        let value = figure(table.workload, cell);
        // A bar too short to see would read as a missing one.
        let length = (value / longest * room).max(1.5);
        let start = left + NAMES;
        let (colour, style) = match cell.row.kind {
            Kind::Ours => (OURS, format!(" font-weight=\"600\" fill=\"{OURS}\"")),
            _ => (RIVAL, String::new()),
        };
        writeln!(
            text,
            "<text x=\"{}\" y=\"{baseline}\" text-anchor=\"end\"{style}>{}</text>\
             <rect x=\"{start}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"2\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{baseline}\"{style}>{}</text>",
            start - 8,
            escaped(cell.row.name),
            start as f64 + length + 6.0,
            short(value),
        )?;
    }
    Ok(())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
