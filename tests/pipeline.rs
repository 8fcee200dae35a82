//! The example program `pipeline`, run as users run it: `cargo test` builds it. Its parts that are plain data structures
//! are tested here too.
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

#[allow(dead_code, reason = "the program's, used in part")]
#[path = "../examples/common/few.rs"]
mod few;
#[cfg(feature = "durable")]
#[path = "common/folder.rs"]
mod folder;
#[allow(dead_code, reason = "the program's, used in part")]
#[path = "../examples/common/lines.rs"]
mod lines;
#[allow(dead_code, reason = "the program's, used in part")]
#[path = "../examples/pipeline/order.rs"]
mod order;
#[path = "common/program.rs"]
mod program;

use lines::{Line, Lines};
use order::{Disorder, Order};
use program::{example, printed, sample, text};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::process::{Output, Stdio};
use std::thread;
use std::time::Duration;

fn run(args: &[&str]) -> Output {
    example("pipeline").args(args).stdin(Stdio::null()).output().unwrap()
}

/// Runs it on standard input.
fn feed(args: &[&str], input: &[u8]) -> Output {
    let mut child = example("pipeline")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || pipe.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    })
}

/// What the program printed, checked to have this exit status, to be tidy, and to say nothing else.
#[track_caller]
fn report(output: &Output, status: i32) -> &str {
    let (out, err) = printed(output, status);
    assert!(!err.contains("error") && !err.contains("panicked"), "{err}");
    out
}

/// The text behind a label of the summary.
fn value<'a>(report: &'a str, label: &str) -> &'a str {
    let mut words = report.lines().skip(2).take(6).flat_map(str::split_whitespace);
    words.find(|word| *word == label).unwrap_or_else(|| panic!("no {label}: {report}"));
    words.next().unwrap()
}

fn count(report: &str, label: &str) -> u64 {
    number(value(report, label))
}

fn number(text: &str) -> u64 {
    text.replace(',', "").parse().unwrap_or_else(|_| panic!("{text:?}"))
}

/// The rows of the table whose first heading this is, in words.
fn table<'a>(report: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let rows = report.lines().skip_while(|line| !line.trim_start().starts_with(heading)).skip(1);
    let rows = rows.take_while(|line| line.starts_with("  ") && !line.starts_with("  ("));
    rows.map(|line| line.split_whitespace().collect()).collect()
}

fn networks(report: &str) -> BTreeMap<String, u64> {
    table(report, "network").iter().map(|row| (row[0].to_owned(), number(row[2]))).collect()
}

/// The list of malformed lines.
fn malformed(report: &str) -> Vec<&str> {
    let lines = report.lines().skip_while(|line| *line != "Malformed lines").skip(1);
    lines.take_while(|line| !line.is_empty()).map(str::trim).collect()
}

/// Records of each network in the sample, counted without a parser: no other field could look like this one.
fn expected() -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in fs::read_to_string(sample()).unwrap().lines() {
        let (_, rest) = line.split_once("\"net\":\"").unwrap();
        *counts.entry(rest.split_once('"').unwrap().0.to_owned()).or_default() += 1;
    }
    counts
}

/// Checks that the partitions' and the magnitudes' tables add up to the summary.
fn adds_up(report: &str) {
    let records = count(report, "produced");
    assert_eq!(records, count(report, "consumed"), "{report}");
    assert_eq!((count(report, "dropped"), count(report, "lost")), (0, 0));
    assert_eq!(count(report, "lines"), records + count(report, "malformed"));
    let partitions = table(report, "partition");
    assert_eq!(
        partitions.iter().map(|row| (row[0], row[1])).collect::<Vec<_>>(),
        [("0", "1"), ("1", "1"), ("2", "2"), ("3", "2")]
    );
    for row in &partitions {
        let records = number(row[3]);
        assert_eq!((number(row[4]), number(row[5]), number(row[6])), (records, records, 0), "{report}");
        assert!(number(row[7]) <= 1024 && (records == 0) == (number(row[7]) == 0), "{report}");
    }
    let total = |column: usize| partitions.iter().map(|row| number(row[column])).sum::<u64>();
    assert_eq!((total(3), total(2)), (records, networks(report).len() as u64), "{report}");
    // "0.5 to 1.0   404  ####": the class has one, two or three words, and an empty one no bar.
    let magnitudes = table(report, "magnitude")
        .iter()
        .fold(0, |sum, row| sum + number(row.iter().rfind(|word| !word.starts_with('#')).unwrap()));
    assert_eq!(magnitudes, records, "{report}");
}

#[test]
fn the_sample_arrives_in_full() {
    let (output, expected) = (run(&[]), expected());
    let report = report(&output, 0);
    adds_up(report);
    assert_eq!((count(report, "lines"), count(report, "malformed")), (1707, 0));
    assert_eq!((expected.len(), expected.values().sum::<u64>()), (12, 1707));
    assert_eq!(networks(report), expected);
    for row in table(report, "network") {
        assert_eq!(number(row[1]), u64::from(fabric_mq::topic::partition_of(row[0].as_bytes(), 4)), "{row:?}");
    }
    let bytes: usize = fs::read_to_string(sample()).unwrap().lines().map(str::len).sum();
    assert_eq!(count(report, "bytes"), bytes as u64);
    assert!(report.ends_with("\nEvery record arrived once, and in order within its network.\n"), "{report}");
}

#[test]
fn magnitudes_are_counted_by_halves() {
    let mut input = String::new();
    for magnitude in
        ["-9", "-2.0", "-0.01", "0", "-0.0", "0.49", "0.5", "9.99", "10", "1e300", "null", "\"5\"", "1e999"]
    {
        input += &format!("{{\"mag\":{magnitude},\"net\":\"uw\"}}\n");
    }
    input += "{\"net\":\"uw\"}\n";
    let output = feed(&["-"], input.as_bytes());
    let report = report(&output, 0);
    adds_up(report);
    let rows = table(report, "magnitude").into_iter().map(|row| row.join(" "));
    let full = "#".repeat(60);
    let part = |fourths: usize| "#".repeat(15 * fourths);
    let filled: Vec<_> = rows.filter(|row| row.contains('#')).collect();
    assert_eq!(
        filled,
        [
            format!("below -2.0 1 {}", part(1)),
            format!("-2.0 to -1.5 1 {}", part(1)),
            format!("-0.5 to 0.0 1 {}", part(1)),
            format!("0.0 to 0.5 3 {}", part(3)),
            format!("0.5 to 1.0 1 {}", part(1)),
            format!("9.5 to 10.0 1 {}", part(1)),
            format!("10.0 and up 2 {}", part(2)),
            format!("unknown 4 {full}"),
        ]
    );
}

#[test]
fn malformed_lines_are_told_with_number_and_reason() {
    let input = [
        &b"\xEF\xBB\xBF{\"net\":\"uw\",\"mag\":1}"[..],
        b"",
        b"{\"net\":\"uw\"\xFF}",
        b"{\"net\":\"nc\",}",
        b"{\"net\":\"nc\"",
        b"  {\"mag\" : null , \"net\" : \"\\u006ec\"}  \r",
        b"[\"nc\",1]",
        b"{\"mag\":1}",
        b"{\"net\":7}",
        b"{\"net\":\"\"}",
        b"{\"net\":\"n c\"}",
        b"{\"net\":\"nc\",\"net\":\"uw\"}",
        b"\t \r",
        b"\0",
        b"{\"net\":\"uw\"}",
    ]
    .join(&b'\n');
    let output = feed(&["-"], &input);
    let report = report(&output, 0);
    adds_up(report);
    assert_eq!((count(report, "lines"), count(report, "malformed")), (15, 12));
    assert_eq!(networks(report), BTreeMap::from([("nc".to_owned(), 1), ("uw".to_owned(), 2)]));
    let name = "\"net\" is not a name of 1 to 32 characters A-Z a-z 0-9 . _ -";
    let (short, listed) = malformed(report).into_iter().partition::<Vec<_>, _>(|line| line.contains("bad JSON"));
    assert_eq!(
        listed,
        [
            "line 2: empty",
            "line 3: not UTF-8 from byte 12 on",
            "line 7: not a JSON object",
            "line 8: \"net\" is missing",
            "line 9: \"net\" is not a string",
            &format!("line 10: {name}"),
            &format!("line 11: {name}"),
            "... and 2 more",
        ]
    );
    // The parser's own words may change.
    let places = ["line 4: bad JSON at byte 13: ", "line 5: bad JSON at byte 11: ", "line 12: bad JSON at byte 17: "];
    assert!(short.iter().zip(places).all(|(line, place)| line.starts_with(place)), "{short:?}");
    assert_eq!(short.len(), 3, "{short:?}");
    assert!(report.ends_with("; 12 malformed lines were left out.\n"), "{report}");
}

#[test]
fn strict_fails_for_malformed_lines_only() {
    let output = feed(&["--strict", "-"], b"{\"net\":\"uw\"}\n{\"net\":\"uw\"}");
    assert!(!report(&output, 0).contains("FAILED"));
    let output = feed(&["--strict", "-"], b"{\"net\":\"uw\"}\n{\"net\":\"uw\"}\nx\n");
    let report = report(&output, 1);
    adds_up(report);
    assert_eq!(malformed(report), ["line 3: not a JSON object"]);
    assert!(report.contains("; 1 malformed line was left out.\nFAILED: "), "{report}");
}

#[test]
fn standard_input_is_as_good_as_a_file() {
    let output = feed(&["-"], &fs::read(sample()).unwrap());
    let report = report(&output, 0);
    adds_up(report);
    assert_eq!(networks(report), expected());
}

#[test]
fn no_input_is_no_error() {
    let output = feed(&["--strict", "-"], b"");
    let report = report(&output, 0);
    assert_eq!((count(report, "lines"), count(report, "produced")), (0, 0));
    assert!(report.ends_with("\nThere was no record to send.\n"), "{report}");
}

#[test]
fn long_lines_are_skipped_and_the_longest_are_sent() {
    const MOST: usize = 64 * 1024;
    let line = |len: usize| {
        let frame = "{\"net\":\"uw\",\"place\":\"\"}".len();
        format!("{{\"net\":\"uw\",\"place\":\"{}\"}}", "x".repeat(len - frame))
    };
    let input = [line(MOST), line(MOST + 1), line(20_000_000), line(MOST) + "\r", line(MOST + 1) + "\r", line(30)];
    let output = feed(&["-"], input.join("\n").as_bytes());
    let report = report(&output, 0);
    adds_up(report);
    let why = |number| format!("line {number}: longer than 65536 bytes");
    assert_eq!(malformed(report), [why(2), why(3), why(5)]);
    assert_eq!(count(report, "bytes"), (2 * MOST + 30) as u64);
}

#[test]
fn repeating_is_a_load() {
    let output = run(&["--repeat", "20", "--strict"]);
    let report = report(&output, 0);
    adds_up(report);
    let times_20 = expected().into_iter().map(|(net, count)| (net, count * 20)).collect();
    assert_eq!((count(report, "lines"), networks(report)), (20 * 1707, times_20));
    // The rates are those of the time told, as far as they were rounded.
    let time: f64 = value(report, "time").parse().unwrap();
    let seconds = if report.contains(" ms ") || report.contains(" ms\n") { time / 1e3 } else { time };
    for (rate, total, rounding) in
        [("records/s", count(report, "produced") as f64, 0.5), ("MB/s", count(report, "bytes") as f64 / 1e6, 0.05)]
    {
        let told: f64 = value(report, rate).replace(',', "").parse().unwrap();
        assert!((told - total / seconds).abs() <= rounding * 1.01 + told * 0.01, "{report}");
    }
}

/// Checks what a group of so many members did: all of it once, and in order, though one left halfway and one joined.
fn is_shared(report: &str, members: usize, repeat: u64) {
    let records = count(report, "produced");
    assert_eq!((records, count(report, "consumed"), count(report, "lost")), (repeat * 1707, repeat * 1707, 0));
    let networks = networks(report);
    assert_eq!(networks, expected().into_iter().map(|(net, count)| (net, count * repeat)).collect(), "{report}");
    let rows = table(report, "member");
    assert_eq!(rows.len(), members + 1, "{report}");
    assert_eq!(rows.iter().map(|row| number(row[1])).sum::<u64>(), records, "{report}");
    let owner_of = |partition: &str| {
        // "3  407  1  0  all the time  2 3": what was had at the end stands behind six or seven words.
        let had = |row: &&Vec<&str>| row.iter().skip(if row[4] == "all" { 7 } else { 8 }).any(|had| *had == partition);
        let owners: Vec<_> = rows.iter().filter(had).map(|row| row[0]).collect();
        assert_eq!(owners.len(), 1, "partition {partition}: {report}");
        owners[0]
    };
    for row in table(report, "partition") {
        assert_eq!((row[1], number(row[5]), number(row[6])), (owner_of(row[0]), number(row[3]), 0), "{report}");
        // It was with a first member, and stays or is with another one.
        assert!(number(row[7]) <= 2 * members as u64 + 2, "{report}");
    }
    let (first, last) = (&rows[0], &rows[members]);
    assert!(first[2] == first[3] && first.ends_with(&["half", "none"]), "who leaves gives up all: {report}");
    assert!(last.contains(&"2nd"), "{report}");
    let moved: u64 = table(report, "partition").iter().map(|row| number(row[7])).sum();
    if members <= 4 {
        assert!(number(first[1]) > 0 && moved > 0, "{report}");
        assert!(number(last[2]) > 0, "who joins gets its share: {report}");
    }
    assert!(report.ends_with("\nEvery record arrived once, and in order within its network.\n"), "{report}");
}

#[test]
fn a_group_shares_the_partitions() {
    for members in [1, 3, 4, 15] {
        let output = run(&["--group-members", &members.to_string(), "--strict"]);
        is_shared(report(&output, 0), members, 1);
    }
    let output = run(&["--group-members", "3", "--repeat", "20"]);
    is_shared(report(&output, 0), 3, 20);
    // Nobody knows how much comes from there.
    let output = feed(&["--group-members", "2", "-"], &fs::read(sample()).unwrap());
    is_shared_from_a_pipe(report(&output, 0));
    let output = feed(&["--group-members", "2", "-"], b"");
    assert!(report(&output, 0).ends_with("\nThere was no record to send.\n"));
}

/// Killed at any moment, again and again, and gone on with: in the end every record has arrived once, and in order.
#[cfg(feature = "durable")]
#[test]
fn a_store_is_gone_on_with() {
    let folder = folder::Folder::new("pipeline");
    let store = folder.0.to_str().unwrap();
    let earlier = |report: &str| {
        let line = report.lines().find(|line| line.starts_with("  Earlier runs had stored")).unwrap();
        line.split_whitespace().filter(|word| word.starts_with(char::is_numeric)).map(number).collect::<Vec<_>>()
    };
    let is_whole = |report: &str, repeat: u64| {
        assert!(report.contains("Every record arrived once, and in order within its network."), "{report}");
        assert_eq!((count(report, "produced"), count(report, "consumed")), (1707 * repeat, 1707 * repeat));
        let sent: BTreeMap<_, _> = expected().into_iter().map(|(net, count)| (net, count * repeat)).collect();
        assert_eq!(networks(report), sent);
    };
    assert_eq!(earlier(report(&run(&["--store", store]), 0)), [0, 0]);
    let report_again = run(&["--store", store]);
    let again = report(&report_again, 0);
    assert_eq!(earlier(again), [1707, 1707]);
    is_whole(again, 1);

    // Twenty times the sample is more than one of these runs gets through.
    for millis in [40, 20, 60, 0, 90] {
        let mut child = example("pipeline")
            .args(["--repeat", "20", "--store", store])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(millis));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let output = run(&["--repeat", "20", "--store", store]);
    let text = report(&output, 0);
    is_whole(text, 20);
    assert!(earlier(text)[0] >= 1707, "{text}");

    // Another input is not taken for a later part of this one.
    let output = feed(&["--store", store, "-"], b"{\"properties\":{\"net\":\"ci\"}}\n");
    let (_, complaint) = printed(&output, 1);
    assert!(complaint.contains("made of another one"), "{complaint}");
}

fn is_shared_from_a_pipe(report: &str) {
    assert_eq!((count(report, "consumed"), networks(report)), (1707, expected()), "{report}");
    assert_eq!(table(report, "member").len(), 3, "{report}");
}

#[test]
fn more_networks_than_are_listed() {
    let mut input = String::new();
    for net in 0..1000 {
        for _ in 0..=net % 7 {
            input += &format!("{{\"net\":\"n{net}\"}}\n");
        }
    }
    let output = feed(&["-"], input.as_bytes());
    let report = report(&output, 0);
    let produced = count(report, "produced");
    assert_eq!(produced, input.lines().count() as u64);
    // The twenty listed have seven each: every seventh of the thousand has.
    assert!(table(report, "network").iter().take(20).all(|row| row[2] == "7"), "{report}");
    let rest =
        format!("  ... and 980 networks more, with {},{:03} records", (produced - 140) / 1000, (produced - 140) % 1000);
    assert!(report.lines().any(|line| line == rest), "{report}");
}

#[test]
fn what_cannot_be_done_is_told() {
    let folder = env!("CARGO_MANIFEST_DIR");
    let missing = format!("{folder}/no-such-file.ndjson");
    let cases: [(&[&str], i32, &str); 12] = [
        (&[missing.as_str()], 1, "error: cannot read "),
        (&[folder], 1, "error: cannot read "),
        (&["--bogus"], 2, "error: invalid option '--bogus'"),
        (&["-x"], 2, "error: invalid option '-x'"),
        (&["a", "b"], 2, "error: unexpected argument \"b\""),
        (&["--repeat"], 2, "error: missing argument for option '--repeat'"),
        (&["--repeat", "0"], 2, "error: --repeat takes a number"),
        (&["--repeat", "many"], 2, "error: --repeat takes a number"),
        (&["--group-members"], 2, "error: missing argument for option '--group-members'"),
        (&["--group-members", "0"], 2, "error: --group-members takes a number from 1 to 15"),
        (&["--group-members", "16"], 2, "error: --group-members takes a number from 1 to 15"),
        (&["--repeat", "2", "-"], 2, "error: standard input can be read only once"),
    ];
    for (args, status, message) in cases {
        let output = run(args);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!((output.status.code(), out), (Some(status), ""), "{args:?} {err}");
        assert!(err.starts_with(message) && err.contains("Usage: ") == (status == 2), "{args:?} {err}");
    }
    for flag in ["-h", "--help"] {
        let output = run(&[flag]);
        assert!(report(&output, 0).contains("Usage: ") && output.stderr.is_empty());
    }
}

#[cfg(unix)]
#[test]
fn whoever_stops_reading_stops_nothing() {
    let mut child =
        example("pipeline").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = example("pipeline").stdin(Stdio::null()).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("error: cannot write to standard output: "));
}

#[test]
fn progress_is_told_when_it_takes_long() {
    let mut child = example("pipeline")
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(b"{\"net\":\"uw\"}\n").unwrap();
    thread::sleep(Duration::from_millis(1100));
    pipe.write_all(b"{\"net\":\"uw\"}\n{\"net\":\"nc\"}\n").unwrap();
    drop(pipe);
    let output = child.wait_with_output().unwrap();
    let report = report(&output, 0);
    adds_up(report);
    let progress: Vec<_> = text(&output.stderr).split_inclusive('\n').collect();
    assert_eq!(progress.len(), 1, "{progress:?}");
    assert!(progress[0].contains(" records, 0.0 MB, ") && progress[0].ends_with(" records/s\n"), "{progress:?}");
    assert!(!progress[0].contains('\r'));
}

/// What the program would say if the queue did not keep its promises: nothing else here makes it say so.
#[test]
fn disorder_is_noticed() {
    let mut order = Order::default();
    for sequence in 0..3 {
        assert_eq!(order.see("uw", 1, sequence), Ok(()));
        assert_eq!(order.see("nc", 1, sequence), Ok(()));
    }
    assert_eq!(order.see("uw", 1, 2), Err(Disorder::Again { expected: 3, sequence: 2 }));
    assert_eq!(order.see("uw", 1, 3), Ok(()));
    assert_eq!(order.see("uw", 1, 5), Err(Disorder::Gap { expected: 4, sequence: 5 }));
    assert_eq!(order.see("uw", 1, 4), Err(Disorder::Again { expected: 6, sequence: 4 }));
    assert_eq!(order.see("nc", 1, 3), Ok(()));
    assert_eq!(order.see("nc", 2, 4), Err(Disorder::Partition { before: 1 }));
    assert_eq!(order.see("new", 2, 1), Err(Disorder::Gap { expected: 0, sequence: 1 }));
    let mut records: Vec<_> = order.keys().map(|(key, track)| (key, track.partition, track.records)).collect();
    records.sort_unstable();
    assert_eq!(records, [("nc", 1, 5), ("new", 2, 1), ("uw", 1, 7)]);
}

#[test]
fn ten_are_kept_and_all_are_counted() {
    let (mut one, mut other) = (few::Few::default(), few::Few::default());
    for n in 0..7 {
        one.push(n);
        other.push(n + 100);
    }
    assert_eq!((one.count(), one.more()), (7, 0));
    one.append(&other);
    assert_eq!((one.count(), one.more()), (14, 4));
    assert_eq!(one.first().last(), Some("102"));
}

/// Gives few bytes at a time, as a pipe may.
struct Drip<'a>(&'a [u8], usize);

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(self.1);
        self.0.read(&mut buffer[..most])
    }
}

#[test]
fn lines_end_where_they_should() {
    let text = b"12345\n12345\r\n123456\n123456\r\n1234567\n12345678\n1234\r5\n\n\r\n\r\r\n1234567890123\nlast";
    let lines = |text: &[u8], step| {
        let mut lines = Lines::new(Drip(text, step), 5);
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            found.push(match line {
                Line::Whole(line) => String::from_utf8(line.to_vec()).unwrap(),
                Line::TooLong => "-".to_owned(),
            });
        }
        assert_eq!(lines.bytes(), text.len() as u64);
        found
    };
    for step in [1, 2, 3, 7, 1000] {
        let expected = ["12345", "12345", "-", "-", "-", "-", "-", "", "", "\r", "-", "last"];
        assert_eq!(lines(text, step), expected, "{step}");
        assert_eq!(lines(b"", step), [""; 0]);
        assert_eq!(lines(b"\n", step), [""]);
        for (end, expected) in [("12345", "12345"), ("123456", "-"), ("1234567", "-"), ("12345678", "-")] {
            assert_eq!(lines(end.as_bytes(), step), [expected], "{end} {step}");
        }
    }
}

#[test]
fn a_line_of_any_length_takes_little_memory() {
    let mut lines = Lines::new(std::io::repeat(b'x').take(1 << 28), 64 * 1024);
    assert_eq!(lines.next().unwrap(), Some(Line::TooLong));
    assert_eq!(lines.bytes(), 1 << 28);
    assert!(lines.held() <= 256 * 1024, "{}", lines.held());
    assert_eq!(lines.next().unwrap(), None);
}
