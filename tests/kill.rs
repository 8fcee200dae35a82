//! Processes that are killed while they share a topic and a group: the example `shared_memory`, which kills its own, run as
//! users run it. What it says is worth as much as its audit: that is tested here with journals that were forged.
#![cfg(all(feature = "std", unix, target_has_atomic = "64", not(loom), not(miri)))]
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
#[path = "../examples/shared_memory/audit.rs"]
mod audit;
#[allow(dead_code, reason = "the program's, used in part")]
#[path = "../examples/common/event.rs"]
mod event;
#[allow(dead_code, reason = "the program's, used in part")]
#[path = "../examples/common/few.rs"]
mod few;
#[allow(dead_code, reason = "the program's, used in part")]
#[path = "../examples/shared_memory/journal.rs"]
mod journal;
#[allow(dead_code, reason = "the program's, used in part")]
#[path = "../examples/common/lines.rs"]
mod lines;
#[path = "common/program.rs"]
mod program;
#[allow(dead_code, reason = "the program's, used in part")]
#[path = "../examples/shared_memory/quakes.rs"]
mod quakes;
#[allow(dead_code, reason = "the program's, used in part")]
#[path = "../examples/shared_memory/site.rs"]
mod site;

use audit::{Audit, Who};
use journal::{Entry, Seen};
use program::{example, text};
use quakes::{Quake, Quakes, checksum};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use site::{Role, Site};
use std::io::{BufRead, BufReader};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

/// Runs it to its end; answers also where it was.
fn run(args: &[&str]) -> (Output, Site) {
    let child = example("shared_memory")
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let site = Site::of_process(child.id());
    (child.wait_with_output().unwrap(), site)
}

#[track_caller]
fn nothing_is_left(site: &Site) {
    assert!(!site.pool.exists() && !site.notes.exists(), "{site:?}");
}

/// The last line of a run that went well.
#[track_caller]
fn shown((output, site): &(Output, Site)) -> String {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    nothing_is_left(site);
    let last = out.lines().last().unwrap();
    assert!(last.ends_with("; nothing left."), "{out}");
    last.to_owned()
}

/// The number before some words.
#[track_caller]
fn count(report: &str, words: &str) -> u64 {
    let before = report.split(words).next().filter(|before| before.len() < report.len());
    let word = before.and_then(|before| before.split_ascii_whitespace().last()).unwrap_or("0");
    word.replace(',', "").parse().unwrap_or_else(|_| panic!("{words}: {word} in {report}"))
}

#[test]
fn rounds() {
    let rounds: u64 = std::env::var("FABRIC_MQ_ROUNDS").map_or(20, |rounds| rounds.parse().unwrap());
    let seed = std::env::var("FABRIC_MQ_SEED").unwrap_or_else(|_| "1".to_owned());
    let done = run(&["--rounds", &rounds.to_string(), "--seed", &seed]);
    let last = shown(&done);
    let out = text(&done.0.stdout);
    let killed: Vec<_> = out.lines().map(str::trim).filter(|line| line.contains("s killed: ")).collect();
    let last = last.split_once(": ").unwrap().1;
    println!("passed {rounds} rounds: seed {seed}; {}; {last}", killed.join("; "));
    assert!(count(last, " processes killed") >= rounds, "{out}");
    assert!(count(last, " records acknowledged") > rounds, "{out}");
    if rounds >= 20 {
        // Writing, taking over; reading or committing; claiming, or about to.
        for classes in
            [&["sending", "taking over"][..], &["reading", "noting", "committing"], &["claiming", "starting"]]
        {
            assert!(classes.iter().any(|class| count(out, &format!(" {class}")) > 0), "{classes:?}: {out}");
        }
        assert!(count(last, " hand-overs") > 0 && count(last, " of the dead's partitions") > 0, "{out}");
        assert!(count(last, " producers replaced") > 0, "{out}");
    }
}

#[test]
fn nobody_has_to_die() {
    let last = shown(&run(&["--repeat", "3", "--rate", "20000"]));
    assert_eq!(count(&last, " records acknowledged"), 3 * 1707);
    assert!(last.starts_with("0 processes killed; ") && last.contains(", 0 read again; 0 sent whose "), "{last}");
}

#[test]
fn somebody_dies_every_now_and_then() {
    let last = shown(&run(&["--repeat", "4", "--rate", "4000", "--kill", "100", "--seed", "5"]));
    assert_eq!(count(&last, " records acknowledged") + count(&last, " sent whose"), 4 * 1707);
    assert!(count(&last, " processes killed") > 5, "{last}");
}

/// The processes of a run, as it prints them.
fn processes(child: &mut Child) -> Vec<Pid> {
    let line = BufReader::new(child.stderr.take().unwrap()).lines().next().unwrap().unwrap();
    let words =
        line.split_ascii_whitespace().skip_while(|word| *word != "producer").take_while(|word| *word != "acked");
    words.filter_map(|word| Pid::from_raw(word.parse().ok()?)).collect()
}

#[test]
fn nobody_survives_the_parent() {
    let mut parent = example("shared_memory")
        .args(["--repeat", "1000000", "--rate", "2000"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let site = Site::of_process(parent.id());
    let children = processes(&mut parent);
    assert_eq!(children.len(), 4);
    assert!(site.pool.exists() && children.iter().all(|child| test_kill_process(*child).is_ok()));
    kill_process(Pid::from_child(&parent), Signal::KILL).unwrap();
    parent.wait().unwrap();
    let started = Instant::now();
    while site.pool.exists() || site.notes.exists() || children.iter().any(|child| test_kill_process(*child).is_ok()) {
        assert!(started.elapsed() < Duration::from_secs(30), "{site:?} {children:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_cannot_be_done_is_told() {
    let cases = [
        (&["--bogus"][..], "error: invalid option '--bogus'"),
        (&["x"], "error: unexpected argument \"x\""),
        (&["--repeat", "0"], "error: --repeat takes a number from 1 "),
        (&["--interval", "1"], "error: --interval takes a number from 20 "),
        (&["--kill", "x"], "error: --kill takes a number"),
        (&["--kill", "100", "--rounds", "1"], "error: --kill and --rounds exclude each other"),
        (&["work"], "error: "),
    ];
    for (args, message) in cases {
        let (output, site) = run(args);
        let err = text(&output.stderr);
        assert!(output.status.code() == Some(2) && err.starts_with(message), "{args:?} {err}");
        nothing_is_left(&site);
    }
    assert!(text(&run(&["--help"]).0.stdout).contains("Usage: "));
}

// ------------------------------------------------------------------------------------------------------ the audit itself

const P: u32 = 1;
const PRODUCER: Who = Who { role: Role::Producer, number: 1 };
const ANNA: Who = Who { role: Role::Consumer, number: 2 };
const BERT: Who = Who { role: Role::Consumer, number: 3 };

/// Four networks, of which one goes to the partition.
fn data() -> Quakes {
    let nets = (0..40).map(|n| format!("n{n}")).filter(|net| fabric_mq::topic::partition_of(net.as_bytes(), 4) == P);
    Quakes::new(nets.take(3).map(|net| Quake { line: net.clone().into_bytes(), net }).collect())
}

/// The record that belongs at an offset.
fn seen(quakes: &Quakes, offset: u64) -> Seen {
    let number = quakes.number_at(P, offset).unwrap();
    let quake = quakes.get(number).unwrap();
    Seen { partition: P, offset, number, checksum: checksum(number, quake.net.as_bytes(), &quake.line) }
}

/// A story of ten records, one consumer that dies, and one that takes over at offset 4; changed by the caller.
fn story(change: impl FnOnce(&mut Vec<(Who, Entry)>)) -> Audit {
    let quakes = data();
    let mut facts: Vec<_> = (0..10).map(|offset| (PRODUCER, Entry::Acked(seen(&quakes, offset)))).collect();
    facts.push((PRODUCER, Entry::Ended { number: 10 }));
    for (who, epoch, from, to, at) in [(ANNA, 1, 0, 6, 1_000), (BERT, 2, 4, 10, 1_300)] {
        facts.push((who, Entry::Claimed { partition: P, epoch, from, at }));
        facts.extend((from..to).map(|offset| (who, Entry::Read { epoch, seen: seen(&quakes, offset) })));
        let offset = if who == ANNA { 4 } else { 10 };
        facts.push((who, Entry::Committing { partition: P, epoch, offset }));
        facts.push((who, Entry::Committed { partition: P, epoch, offset }));
    }
    change(&mut facts);
    let mut audit = Audit::new(quakes, 200);
    for (who, fact) in facts {
        audit.take(who, Ok(fact));
    }
    audit.gone(ANNA, 1_200, true);
    audit.gone(BERT, 2_000, false);
    audit.finish();
    audit
}

fn faults(change: impl FnOnce(&mut Vec<(Who, Entry)>)) -> Vec<String> {
    story(change).faults.first().map(str::to_owned).collect()
}

#[track_caller]
fn finds(what: &str, change: impl FnOnce(&mut Vec<(Who, Entry)>)) {
    let found = faults(change);
    assert!(found.iter().any(|fault| fault.contains(what)), "{what}: {found:?}");
}

fn position(facts: &[(Who, Entry)], wanted: impl Fn(&Entry) -> bool) -> usize {
    facts.iter().position(|(_, fact)| wanted(fact)).unwrap()
}

#[test]
fn a_sound_story_has_no_faults() {
    let audit = story(|_| {});
    assert_eq!(audit.faults.first().next(), None);
    let of = &audit.partitions[P as usize];
    assert_eq!((of.acked, of.reads, of.again, of.changes, of.unowned, audit.lost), (10, 12, 2, 1, 100, 0));
    assert_eq!((audit.takeovers.count, audit.takeovers.in_time, audit.takeovers.longest), (1, 1, 100));
    // A commit that was begun, and may have taken effect before its owner died.
    let begun = |facts: &mut Vec<_>| {
        let at = position(facts, |fact| matches!(fact, Entry::Committed { epoch: 1, .. }));
        facts.remove(at);
    };
    assert_eq!(faults(begun), [""; 0]);
    // A record that is in the log, but its acknowledgement was not noted.
    let audit = story(|facts| {
        let _ = facts.remove(3);
    });
    assert_eq!((audit.faults.count(), audit.partitions[P as usize].unacked, audit.acked()), (0, 1, 9));
}

#[test]
fn what_was_lost_is_found() {
    // Committed before it was noted that it was read: its reader died between.
    finds("offsets 6 to 8 were committed, but nobody has read them", |facts| {
        let at = position(facts, |fact| matches!(fact, Entry::Claimed { epoch: 2, .. }));
        facts[at].1 = Entry::Claimed { partition: P, epoch: 2, from: 8, at: 1_300 };
        facts.retain(|(_, fact)| !matches!(fact, Entry::Read { epoch: 2, seen } if seen.offset < 8));
    });
    finds("8 is committed, 6 was not read yet", |facts| {
        let at = position(facts, |fact| matches!(fact, Entry::Committing { epoch: 1, .. }));
        facts[at].1 = Entry::Committing { partition: P, epoch: 1, offset: 8 };
    });
    let audit = story(|facts| {
        facts.retain(|(_, fact)| !matches!(fact, Entry::Read { epoch: 2, seen } if seen.offset == 9));
    });
    assert_eq!(audit.lost, 1);
    assert!(audit.faults.first().any(|fault| fault.contains("10 were acknowledged, 9 were read")));
}

#[test]
fn what_is_out_of_order_or_damaged_is_found() {
    finds("offset 3 was read, 2 was next", |facts| {
        let at = position(facts, |fact| matches!(fact, Entry::Read { seen, .. } if seen.offset == 2));
        facts.swap(at, at + 1);
    });
    finds("offset 5: is record 6, should be Some(5)", |facts| {
        if let Entry::Acked(seen) = &mut facts[5].1 {
            seen.number = 6;
        }
    });
    finds("record 5 was damaged", |facts| {
        let at = position(facts, |fact| matches!(fact, Entry::Read { seen, .. } if seen.offset == 5));
        if let Entry::Read { seen, .. } = &mut facts[at].1 {
            seen.checksum ^= 1;
        }
    });
    // A successor that sends a record again, or leaves one out.
    finds("offset 10: is record 9, should be Some(10)", |facts| {
        let last = facts[9].1;
        let Entry::Acked(seen) = last else { panic!() };
        facts.insert(10, (PRODUCER, Entry::Acked(Seen { offset: 10, ..seen })));
    });
}

#[test]
fn who_shares_what_is_one_s_own_is_found() {
    finds("consumer 2 has epoch 1 as well", |facts| {
        for (who, fact) in facts.iter_mut().filter(|(who, _)| *who == BERT) {
            match fact {
                Entry::Claimed { epoch, .. } | Entry::Read { epoch, .. } => *epoch = 1,
                _ => *who = BERT,
            }
        }
    });
    // Committed under the old epoch, behind the new one's beginning.
    finds("read from 4 on, but 5 was committed before", |facts| {
        facts.push((ANNA, Entry::Committing { partition: P, epoch: 1, offset: 5 }));
        facts.push((ANNA, Entry::Committed { partition: P, epoch: 1, offset: 5 }));
    });
    finds("read from 4 on, but nobody has committed that: 0 is what was", |facts| {
        facts.retain(|(who, fact)| *who != ANNA || !matches!(fact, Entry::Committing { .. } | Entry::Committed { .. }));
    });
    finds("partition 1 is not its own under epoch 1", |facts| {
        facts.push((BERT, Entry::Committing { partition: P, epoch: 1, offset: 5 }));
    });
}

#[test]
fn who_is_late_is_found_unless_held_up() {
    let late = |facts: &mut Vec<(Who, Entry)>| {
        let at = position(facts, |fact| matches!(fact, Entry::Claimed { epoch: 2, .. }));
        facts[at].1 = Entry::Claimed { partition: P, epoch: 2, from: 4, at: 1_650 };
    };
    finds("owned again 450 ms after its owner died, 400 are allowed; members were held up for 0", late);
    let held = |facts: &mut Vec<_>| {
        late(facts);
        facts.push((BERT, Entry::Held { millis: 60, at: 1_500 }));
    };
    assert_eq!(faults(held), [""; 0]);
    let joined = |facts: &mut Vec<_>| {
        late(facts);
        facts.push((BERT, Entry::Joined { at: 1_300 }));
    };
    assert_eq!(faults(joined), [""; 0]);
}

#[test]
fn facts_are_lines_and_lines_are_facts() {
    let record = Seen { partition: 3, offset: 4, number: 5, checksum: u64::MAX };
    let facts = [
        Entry::From { number: 1, at: 2 },
        Entry::Acked(record),
        Entry::Ended { number: 1 },
        Entry::Joined { at: 9 },
        Entry::Claimed { partition: 1, epoch: 2, from: 3, at: 4 },
        Entry::Read { epoch: 7, seen: record },
        Entry::Committing { partition: 1, epoch: 2, offset: 3 },
        Entry::Committed { partition: 1, epoch: 2, offset: 3 },
        Entry::Refused { partition: 1, epoch: 2 },
        Entry::Gone { partition: 1, epoch: 2, at: 3 },
        Entry::Held { millis: 1, at: 2 },
    ];
    for fact in facts {
        let line = fact.to_string();
        assert_eq!(Entry::parse(&line), Some(fact), "{line}");
        assert_eq!(Entry::parse(&format!("{line} 1")), None);
        assert_eq!(Entry::parse(line.rsplit_once(' ').unwrap().0), None);
    }
    // The line of one that was killed in the middle of it is not a fact.
    let path = std::env::temp_dir().join(format!("fabric-mq-journal-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let mut tail = journal::Tail::create(&path).unwrap();
    std::fs::write(&path, "joined 9\nended 1").unwrap();
    let mut found = Vec::new();
    tail.read(|entry| found.push(entry.unwrap())).unwrap();
    assert_eq!(found, [Entry::Joined { at: 9 }]);
    std::fs::remove_file(&path).unwrap();
}
