//! fabric-mq beside other in-memory queues. See README.md for what is measured and how to add an implementation.

mod chart;
mod check;
mod fabric;
mod floors;
mod machine;
mod messages;
mod options;
mod polling;
#[cfg(target_os = "linux")]
mod processes;
mod queue;
mod registry;
mod report;
mod results;
mod rivals;
mod stats;
mod workloads;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use options::Options;
use registry::Row;
use results::{Cell, Table};
use workloads::Workload;

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    if let [_, option, place] = std::env::args_os().collect::<Vec<_>>().as_slice()
        && option == processes::OPTION
    {
        processes::attend(Path::new(place));
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    if options.help {
        println!("{}", options::USAGE);
        return ExitCode::SUCCESS;
    }
    let rows: Vec<Row> = registry::all().into_iter().filter(|row| options.selects(row)).collect();
    if rows.is_empty() {
        eprintln!("nothing matches");
        return ExitCode::from(2);
    }
    if machine::core_count() < 2 {
        eprintln!("warning: one core only; the two-thread workloads measure the scheduler here");
    }

    let (started, usage) = (Instant::now(), machine::Usage::now());
    let mut tables = Vec::new();
    for workload in Workload::ALL {
        for size in registry::SIZES {
            let rows: Vec<Row> =
                rows.iter().filter(|row| row.workload == workload && row.size == size).copied().collect();
            if !rows.is_empty() {
                tables.push(measure(workload, size, &rows, &options));
            }
        }
    }

    let verdicts = check::evaluate(&tables, |workload, size| options.covers(workload, size));
    let circumstances = report::Circumstances {
        machine: machine::describe(),
        date: machine::today(),
        rounds: options.rounds,
        round: options.round,
        took: started.elapsed(),
        disturbance: machine::Usage::now().zip(usage).map(|(now, before)| now.since(before)),
    };
    if circumstances.is_disturbed() {
        eprintln!(
            "warning: the machine was not ours alone; figures with two and three threads mean little, ratios more"
        );
    }
    if options.writes() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let written = std::fs::write(here.join("RESULTS.md"), report::markdown(&tables, &verdicts, &circumstances))
            .and_then(|()| std::fs::write(here.join("chart.svg"), chart::svg(&tables, &circumstances)));
        if let Err(error) = written {
            eprintln!("cannot write the results into {}: {error}", here.display());
            return ExitCode::FAILURE;
        }
        eprintln!("wrote {0}/RESULTS.md and {0}/chart.svg", here.display());
    } else if !options.check {
        print!("{}", report::markdown(&tables, &[], &circumstances));
    }
    if options.check {
        print!("{}", check::lines(&verdicts));
        if !verdicts.iter().all(check::Verdict::is_met) {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// All rounds of the implementations of one table, which take turns: what else the machine does at the time hits all of
/// them, and who comes first changes from round to round.
fn measure(workload: Workload, size: usize, rows: &[Row], options: &Options) -> Table {
    let started = Instant::now();
    let round = options.round.mul_f64(workload.patience());
    let counts: Vec<usize> = rows.iter().map(|row| calibrate(row, round)).collect();
    let mut cells: Vec<Cell> = rows.iter().map(|row| Cell::new(*row)).collect();
    for turn in 0..options.rounds {
        for place in 0..rows.len() {
            let which = (turn + place) % rows.len();
            cells[which].samples.push((rows[which].run)(counts[which]));
        }
    }
    eprintln!("{} {size} B: {} rows in {:.1} s", workload.id(), rows.len(), started.elapsed().as_secs_f64());
    Table { workload, size, cells }
}

/// How many messages last about `round`.
fn calibrate(row: &Row, round: Duration) -> usize {
    const MOST: usize = 1 << 27;
    let round = round.as_nanos() as f64;
    let mut count = 2000;
    loop {
        let mean_ns = (row.run)(count).mean_ns;
        let lasting = (round / mean_ns) as usize;
        // A run much shorter than a round tells little: the first messages come at another pace than the later ones.
        if count >= lasting / 8 || count >= MOST / 8 {
            return lasting.clamp(2000, MOST);
        }
        count = lasting.min(count * 16);
    }
}
