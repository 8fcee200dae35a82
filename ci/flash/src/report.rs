//! The table, and what is wanted of it.

use std::fmt::Write as _;

use crate::fabric::Fabric;
use crate::measure::{Reading, Row};
use crate::queue::Queue;
use crate::rivals::sequential::{Cached, Plain};
use crate::{BODIES, PAGES};

/// Bytes read that a doubling of the pages may add behind a reset: a label of 8 bytes to find the newest segment; and 8 bytes of a
/// header, once while the steps double and once while they halve, to find the oldest record's, and again to find what can be
/// given up.
const PER_DOUBLING: f64 = 40.0;

/// What is known to be missed: words of the target, the most that its ratio may be, and why. Anything more is a failure.
const KNOWN: [(&str, f64, &str); 7] = [
    ("64 B, 64 pages: bytes read behind a reset, to the first", 1.45, TRUSTS),
    ("64 B, 64 pages: bytes read behind a reset, to both", 1.05, TRUSTS),
    ("256 B, 64 pages: bytes read behind a reset, to the first", 6.0, TRUSTS),
    ("256 B, 64 pages: bytes read behind a reset, to both", 2.65, TRUSTS),
    ("256 B, 1024 pages: bytes read behind a reset, to the first push", 1.06, TRUSTS),
    ("256 B, 64 pages: programmed", 1.0005, TIES),
    ("256 B, 1024 pages: programmed", 1.0005, TIES),
];
/// 15 records of 268 bytes and a header of 68, beside 15 of 272 and 8.
const TIES: &str = "4,088 bytes a page each; but one step in 512 would pass for a head, and is written as a frame";
/// Few pages cost the others little to look at; here the last record is read to be verified, twice, and once more to be copied.
const TRUSTS: &str = "the last record is verified, and copied before anything is written behind it";

/// Something that is wanted, and whether it is so.
#[derive(Debug)]
pub struct Target {
    pub what: String,
    pub ours: f64,
    pub bound: f64,
    pub is_met: bool,
    /// Why it is known to be missed, if it is.
    pub known: Option<&'static str>,
}

impl Target {
    /// Missed, and nobody knew.
    pub const fn is_bad(&self) -> bool {
        !self.is_met && self.known.is_none()
    }
}

fn row<'r, Q: Queue>(rows: &'r [Row], pages: usize, body: usize) -> &'r Row {
    let wanted = |row: &&Row| row.name == Q::NAME && row.pages == pages && row.body == body;
    rows.iter().find(wanted).expect("each was measured with each size")
}

pub fn targets(rows: &[Row]) -> Vec<Target> {
    let mut targets = Vec::new();
    let mut wanted = |what: String, ours: f64, bound: f64, is_met: bool| {
        let known = KNOWN.iter().find(|(words, most, _)| !is_met && what.contains(words) && ours <= bound * most);
        let known = known.map(|(_, _, why)| *why);
        targets.push(Target { what, ours, bound, is_met, known });
    };
    for body in BODIES {
        for pages in PAGES {
            let (ours, plain) = (row::<Fabric<1>>(rows, pages, body), row::<Plain>(rows, pages, body));
            let cached = row::<Cached>(rows, pages, body);
            let on = format!("{body} B, {pages} pages");
            let mut fewer = |what: &str, ours: f64, bound: f64| {
                wanted(format!("{on}: bytes read {what}"), ours, bound, ours < bound);
            };
            fewer("per push, beside no cache", ours.push.bytes, plain.push.bytes);
            fewer("per pop, beside no cache", ours.pop.bytes, plain.pop.bytes);
            for (rival, beside) in [(plain, "no cache"), (cached, "page caches")] {
                let what = |of| format!("behind a reset, {of}, beside {beside}");
                fewer(&what("to the first peek"), ours.reset_peek.bytes, rival.reset_peek.bytes);
                fewer(&what("to the first push"), ours.reset_push.bytes, rival.reset_push.bytes);
                fewer(&what("to both"), ours.reset_both.bytes, rival.reset_both.bytes);
            }
            if body >= 64 {
                let bound = plain.programmed;
                wanted(
                    format!("{on}: programmed per payload byte, push and pop"),
                    ours.programmed,
                    bound,
                    ours.programmed <= bound,
                );
            }
        }
        let [few, many] = PAGES.map(|pages| row::<Fabric<1>>(rows, pages, body));
        let doublings = (many.pages / few.pages).ilog2();
        for (what, of) in [
            ("per push", (|row| row.push.bytes) as fn(&Row) -> f64),
            ("per pop", |row| row.pop.bytes),
            ("behind a reset, to both", |row| row.reset_both.bytes),
        ] {
            let bound = of(few) + PER_DOUBLING * f64::from(doublings);
            let ours = of(many);
            wanted(
                format!("{body} B: bytes read {what}, {} pages instead of {}", many.pages, few.pages),
                ours,
                bound,
                ours <= bound,
            );
        }
    }
    targets
}

/// Three or four digits, as more would not be read.
fn short(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.3}"),
    }
}

fn reading(reading: Reading) -> String {
    format!("{} ({})", short(reading.bytes), short(reading.reads))
}

pub fn markdown(rows: &[Row], targets: &[Target]) -> String {
    let mut text = String::new();
    write_into(&mut text, rows, targets).expect("writing into a string does not fail");
    text
}

fn write_into(text: &mut String, rows: &[Row], targets: &[Target]) -> std::fmt::Result {
    writeln!(
        text,
        "# What queues on NOR flash read, program and erase\n\n\
         Counted by `ci/check.sh flash-economy`, which wrote this page; ci/flash/README.md says how. Pages of 4 KiB, write unit \
         4 bytes. Bytes read in the mean, in brackets by how many reads.\n\n\
         Beside the flash's driver, fabric-mq takes {} bytes of RAM here; the page caches take 1 and 8 bytes a page.\n",
        Fabric::<1>::RAM
    )?;
    let met = targets.iter().filter(|target| target.is_met).count();
    writeln!(text, "## Targets\n\n{met} of {} met.\n", targets.len())?;
    writeln!(text, "| target | fabric-mq | bound | ratio | |\n|---|--:|--:|--:|---|")?;
    for Target { what, ours, bound, is_met, known } in targets {
        let verdict = match (is_met, known) {
            (true, _) => "ok".to_owned(),
            (false, Some(why)) => format!("missed: {why}"),
            (false, None) => "MISSED".to_owned(),
        };
        writeln!(text, "| {what} | {} | {} | {} | {verdict} |", short(*ours), short(*bound), short(ours / bound))?;
    }
    for pages in PAGES {
        for body in BODIES {
            writeln!(text, "\n## {body} bytes, {pages} pages\n")?;
            let rows = rows.iter().filter(|row| row.pages == pages && row.body == body);
            table(text, &rows.collect::<Vec<_>>())?;
        }
    }
    Ok(())
}

fn table(text: &mut String, rows: &[&Row]) -> std::fmt::Result {
    writeln!(
        text,
        "| | payload held | programmed/payload, pushes | push and pop | erased/MiB | push, first 64 | last quarter | steady | worst \
         | pop | worst | reset, peek | reset, push | reset, both | worst |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    )?;
    for row in rows {
        writeln!(
            text,
            "| {} | {:.0} % | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            row.name,
            row.fill * 100.0,
            short(row.programmed_push),
            short(row.programmed),
            short(row.erased),
            reading(row.first_pushes),
            reading(row.last_pushes),
            reading(row.push),
            row.push.worst.max(row.last_pushes.worst),
            reading(row.pop),
            row.pop.worst,
            reading(row.reset_peek),
            reading(row.reset_push),
            reading(row.reset_both),
            row.reset_both.worst,
        )?;
    }
    Ok(())
}
