//! How many instructions each operation takes, beside what it took when the baseline was written.
//!
//! `cargo run --release` counts under valgrind, prints a table and fails if an operation has grown by more than 5 %;
//! `-- --bless` writes the baseline. Needs valgrind. The same program gives the same figures however busy the machine is.

mod baseline;
mod count;
mod operations;

use std::error::Error;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use baseline::{Baseline, Verdict};
use operations::{ALL, Operation};

const USAGE: &str = "\
usage: fabric-mq-instructions [--bless]

  --bless    writes baseline.txt";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [] => compare(),
        ["--bless"] => bless(),
        // What the program under valgrind is called with.
        [count::RUN, name, rounds] => run(name, rounds).map(|()| true),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str, rounds: &str) -> Result<(), Box<dyn Error>> {
    let operation = ALL.iter().find(|operation| operation.name == name).ok_or("no such operation")?;
    println!("{}", (operation.run)(rounds.parse()?)?);
    Ok(())
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("baseline.txt")
}

/// What the figures depend on besides the code.
fn conditions() -> Result<String, Box<dyn Error>> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = String::from_utf8(Command::new(rustc).arg("--version").output()?.stdout)?;
    let version = version.split_whitespace().nth(1).ok_or("rustc does not tell its version")?;
    Ok(format!("{}-{}, rustc {version}", std::env::consts::ARCH, std::env::consts::OS))
}

fn measure() -> Result<Vec<(String, f64)>, Box<dyn Error>> {
    let counted = |operation: &Operation| Ok((operation.name.to_owned(), count::per_operation(operation.name)?));
    ALL.iter().map(counted).collect()
}

fn bless() -> Result<bool, Box<dyn Error>> {
    let figures = measure()?;
    for (name, figure) in &figures {
        println!("{name:<40} {figure:>9.1}");
    }
    std::fs::write(path(), Baseline { conditions: conditions()?, figures }.to_string())?;
    println!("instructions: baseline.txt written, {} operations", ALL.len());
    Ok(true)
}

fn compare() -> Result<bool, Box<dyn Error>> {
    let text = std::fs::read_to_string(path()).map_err(|error| format!("{}: {error}", path().display()))?;
    let baseline: Baseline = text.parse()?;
    let figures = measure()?;
    let here = conditions()?;
    let verdicts = baseline.judge(&figures);
    println!("{:<40} {:>9} {:>9} {:>8}", "instructions per operation", "baseline", "now", "");
    for (name, verdict) in &verdicts {
        println!("{name:<40} {verdict}");
    }
    if baseline.conditions != here {
        println!("the baseline is of {}, this is {here}", baseline.conditions);
    }
    let bad = verdicts.iter().filter(|(_, verdict)| verdict.fails()).count();
    let better = verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Better(..))).count();
    println!(
        "instructions: {} operations counted, {bad} grew by more than 5 % or have no baseline, {better} shrank by as much",
        figures.len()
    );
    if bad != 0 {
        println!("If that is meant: cargo run --release -- --bless in ci/instructions, and say why in the commit.");
    }
    Ok(bad == 0)
}
