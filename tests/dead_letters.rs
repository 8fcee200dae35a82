//! The example program `dead_letters`, run as users run it: `cargo test` builds it.
#![cfg(all(feature = "std", not(loom), not(miri)))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "common/program.rs"]
mod program;

use program::{example, printed, sample, text};
use std::fs;
use std::process::{Output, Stdio};

fn run(args: &[&str]) -> Output {
    example("dead_letters").args(args).stdin(Stdio::null()).output().unwrap()
}

/// What the program printed, checked to have this exit status, to be tidy, and to say nothing else.
#[track_caller]
fn report(output: &Output, status: i32) -> &str {
    let (out, err) = printed(output, status);
    assert!(err.is_empty(), "{err}");
    out
}

/// The words of the line that begins with this one.
fn row<'a>(report: &'a str, first: &str) -> Vec<&'a str> {
    let mut rows = report.lines().filter(|line| line.starts_with("  ")).map(str::split_whitespace);
    let row = rows.find(|words| words.clone().next() == Some(first));
    row.unwrap_or_else(|| panic!("no {first}: {report}")).collect()
}

/// What the consumer fails at in the sample, and what it refuses, counted without a parser.
fn expected() -> (usize, usize, usize) {
    let sample = fs::read_to_string(sample()).unwrap();
    let fails = sample.lines().filter(|line| line.contains("\"mag\":-"));
    let refused =
        sample.lines().filter(|line| !line.contains("\"type\":\"earthquake\"") && !line.contains("\"mag\":-"));
    (sample.lines().count(), fails.count(), refused.count())
}

#[test]
fn each_event_of_the_sample_is_processed_once_in_either_order() {
    let (events, fails, refused) = expected();
    let dead = fails + refused;
    assert!(fails > 10 && refused > 10, "there is poison in the sample");
    for args in [&[][..], &["--skip-aside"], &["--rate", "7"], &["--rate", "4000000000", "--skip-aside"]] {
        let output = run(args);
        let report = report(&output, 0);
        let counts = row(report, &events.to_string());
        let [consumed, acked, pending, letters, parked, handed] = counts[..] else { panic!("{counts:?}") };
        assert_eq!((consumed, acked), (&*events.to_string(), &*(events - dead).to_string()));
        assert_eq!((pending, letters, parked), ("0", &*dead.to_string(), "0"));
        assert_eq!(handed, (events - dead + 5 * fails + refused).to_string(), "5 tries for each that fails");
        assert_eq!(row(report, "too"), ["too", "many", "failures", &fails.to_string()]);
        assert_eq!(row(report, "rejected"), ["rejected", &refused.to_string()]);
        assert!(report.contains("tries  cause") && report.contains("... and 62 more"), "{report}");
        let sums: Vec<_> = report.lines().filter(|line| line.starts_with("  all ")).collect();
        let words: Vec<_> = sums[1].split_whitespace().collect();
        let [events, at_once, later] = [events, events - dead, dead].map(|count| count.to_string());
        assert_eq!(words, ["all", &*events, &*at_once, &*later, "0", "0"]);
        assert!(report.ends_with("in order within their network.\n"), "{report}");
    }
}

#[test]
fn a_rate_is_kept() {
    let (_, fails, refused) = expected();
    let output = run(&["--rate", "10"]);
    let report = report(&output, 0);
    let steps = report.lines().skip_while(|line| !line.contains("after, ms")).skip(1);
    let mut last = 0;
    for line in steps.take_while(|line| !line.is_empty()) {
        let numbers: Vec<usize> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
        let [at, moved, left, processed] = numbers[..] else { panic!("{line}") };
        assert!(moved * 1000 <= at * 10, "{line}");
        assert_eq!((left, processed), (fails + refused - moved, moved));
        last = moved;
    }
    assert_eq!(last, fails + refused);
}

#[test]
fn other_input_is_told_what_is_wrong_with_it() {
    let path = std::env::temp_dir().join(format!("fabric-mq-dead-letters-{}.ndjson", std::process::id()));
    let lines = "{\"net\":\"a\",\"mag\":null,\"type\":\"earthquake\"}\nnot JSON\n{\"net\":\"a\",\"mag\":1,\"type\":\"earthquake\"}\n";
    fs::write(&path, lines).unwrap();
    let output = run(&[path.to_str().unwrap()]);
    fs::remove_file(&path).unwrap();
    let out = report_of_any_width(&output);
    assert!(out.contains("1 lines are no events"), "{out}");
    assert_eq!(row(out, "undecodable"), ["undecodable", "1"]);
    for (args, status, words) in [
        (&["--rate", "0"][..], 2, "--rate takes a number from 1"),
        (&["--what"], 2, "Usage:"),
        (&["/no/such/file"], 1, "cannot read /no/such/file"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(status));
        assert!(text(&output.stderr).contains(words), "{output:?}");
        assert!(output.stdout.is_empty());
    }
    assert!(report(&run(&["--help"]), 0).starts_with("Sends a file"));
}

fn report_of_any_width(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    text(&output.stdout)
}
