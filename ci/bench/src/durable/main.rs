//! fabric-mq's journal in files beside other durable queues and logs. See README.md, "On disk".

mod fabric;
mod floors;
mod log;
#[path = "../machine.rs"]
#[allow(dead_code, reason = "of what it answers, the other program needs more")]
mod machine;
mod report;
mod rivals;
mod tasks;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use log::Kind;
use report::{Cell, Table};
use tasks::{Sample, Task};

const USAGE: &str = "\
usage: durable [options]

  --full          1,000,000 records and five rounds, and writes DURABLE.md; else a small part of it, printed only
  --rounds N      default 3, with --full 5
  --records N     of D1, D1b and D3; default 50,000, with --full 1,000,000, for which the disk needs 2 GB
  --task LIST     of D1,D1b,D2,D2g,D2k,D3; default all
  --impl LIST     parts of implementation names; default all
  --dir DIR       where the files go, on the disk that is to be measured; default beside the program
  --help";

/// The child's first word.
const CHILD: &str = "--child";

fn kinds() -> Vec<Kind> {
    let mut kinds = vec![fabric::KIND, floors::BUFFERED, floors::WRITTEN, floors::PREPARED];
    kinds.extend(rivals::KINDS);
    kinds
}

struct Options {
    full: bool,
    rounds: usize,
    records: usize,
    tasks: Vec<Task>,
    names: Vec<String>,
    directory: PathBuf,
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let beside = std::env::current_exe().map_err(|error| error.to_string())?.with_file_name("durable-files");
    let mut options =
        Options { full: false, rounds: 0, records: 0, tasks: Task::ALL.to_vec(), names: Vec::new(), directory: beside };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
        match word.as_str() {
            "--help" => return Ok(None),
            "--full" => options.full = true,
            "--rounds" => options.rounds = value()?.parse().map_err(|_| "rounds are a number".to_owned())?,
            "--records" => options.records = value()?.parse().map_err(|_| "records are a number".to_owned())?,
            "--dir" => options.directory = PathBuf::from(value()?).join("durable-files"),
            "--impl" => options.names = value()?.split(',').map(str::to_owned).collect(),
            "--task" => {
                let named = |name: &str| Task::ALL.into_iter().find(|task| task.id() == name).ok_or(name.to_owned());
                options.tasks = value()?.split(',').map(named).collect::<Result<_, _>>()?;
            }
            other => return Err(format!("unknown: {other}")),
        }
    }
    if options.rounds == 0 {
        options.rounds = if options.full { 5 } else { 3 };
    }
    if options.records == 0 {
        options.records = if options.full { 1_000_000 } else { 50_000 };
    }
    Ok(Some(options))
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [first, name, task, place, count] = words.as_slice()
        && first == CHILD
    {
        let kind = kinds().into_iter().find(|kind| kind.name == name).expect("a name of ours");
        tasks::attend(&kind, task, Path::new(place), count.parse().expect("a count"));
    }
    let options = match options(words.into_iter()) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("{message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let (started, usage) = (Instant::now(), machine::Usage::now());
    let tables: Vec<Table> = options.tasks.iter().map(|task| measure(*task, &options)).collect();
    let _ = std::fs::remove_dir_all(&options.directory);
    let circumstances = report::Circumstances {
        machine: machine::describe(),
        date: machine::today(),
        rounds: options.rounds,
        took: started.elapsed(),
        disturbance: machine::Usage::now().zip(usage).map(|(now, before)| now.since(before)),
    };
    let text = report::markdown(&tables, &circumstances);
    print!("{text}");
    if options.full {
        let to = Path::new(env!("CARGO_MANIFEST_DIR")).join("DURABLE.md");
        if let Err(error) = std::fs::write(&to, text) {
            eprintln!("cannot write {}: {error}", to.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// All rounds of a table. The implementations take turns, another one first in each round, each in a process of its own.
fn measure(task: Task, options: &Options) -> Table {
    let started = Instant::now();
    let named = |kind: &Kind| options.names.is_empty() || options.names.iter().any(|name| kind.name.contains(&**name));
    let kinds: Vec<Kind> = kinds().into_iter().filter(|kind| named(kind) && task.suits(kind)).collect();
    let count = task.count(options.full, options.records);
    let mut cells: Vec<Cell> = kinds.iter().map(|kind| Cell::new(*kind, task.share(kind, count))).collect();
    for round in 0..options.rounds {
        for place in 0..kinds.len() {
            let which = (round + place) % kinds.len();
            let sample = run(task, &kinds[which], cells[which].count, options, round);
            cells[which].samples.push(sample);
        }
    }
    eprintln!("{}: {} rows in {:.1} s", task.id(), kinds.len(), started.elapsed().as_secs_f64());
    Table { task, count, cells }
}

fn run(task: Task, kind: &Kind, count: usize, options: &Options, round: usize) -> Option<Sample> {
    let place = options.directory.join(format!("run-{round}"));
    let _ = std::fs::remove_dir_all(&options.directory);
    std::fs::create_dir_all(&place).expect("a directory for the files");
    let child = |what: &str| {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args([CHILD, kind.name, what]).arg(&place).arg(count.to_string());
        command.env(rivals::VARIABLE, &options.directory).env("WALRUS_QUIET", "1");
        let output = command.output().expect("the program starts");
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            eprintln!("{} failed in {}: {}", kind.name, task.id(), said.lines().next_back().unwrap_or_default());
            return None;
        }
        Sample::parse(String::from_utf8_lossy(&output.stdout).lines().next_back().unwrap_or_default())
    };
    if task == Task::Reopen {
        child(tasks::FILL)?;
    }
    child(task.id())
}
