//! What queues on NOR flash read, program and erase. See README.md.

mod fabric;
mod flash;
mod measure;
mod queue;
mod report;
mod rivals;

use std::path::Path;
use std::process::ExitCode;

use fabric::Fabric;
use measure::{Row, measure};
use rivals::sequential::{Cached, Plain};

const PAGES: [usize; 2] = [64, 1024];
const BODIES: [usize; 3] = [16, 64, 256];

const USAGE: &str = "\
usage: fabric-mq-flash [--write]

Prints the tables and the targets; fails if one is missed that is not known to be. --write: also writes FLASH.md beside the crate ci/bench.";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let writes = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--write"] => true,
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let rows: Vec<Row> =
        PAGES.into_iter().flat_map(|pages| BODIES.into_iter().flat_map(move |body| rows(pages, body))).collect();
    let targets = report::targets(&rows);
    let text = report::markdown(&rows, &targets);
    print!("{text}");
    if writes {
        let to = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/FLASH.md");
        if let Err(error) = std::fs::write(&to, text) {
            eprintln!("cannot write {}: {error}", to.display());
            return ExitCode::FAILURE;
        }
    }
    if targets.iter().any(report::Target::is_bad) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn rows(pages: usize, body: usize) -> Vec<Row> {
    vec![
        measure::<Fabric<1>>(pages, body),
        measure::<Fabric<16>>(pages, body),
        measure::<Plain>(pages, body),
        measure::<Cached>(pages, body),
        #[cfg(feature = "ekv")]
        measure::<rivals::ekv::Ekv>(pages, body),
    ]
}
