//! Power cuts: the journal on emulated flash that loses its power at every unit it programs and at every erasure, in every
//! way; then again while it recovers, and a third time.
//!
//! `FABRIC_MQ_SCALE`: 1 cuts in one way at each place, in turn; 2 in all ways; n in all ways, n - 1 times with other seeds.
//! A second cut comes at every place, in one way; from 8 on the first one of two is made in all ways, and the second one
//! n / 2 times with other seeds.
//! `FABRIC_MQ_ONLY=word` runs the workloads and geometries whose name has the word.

#![cfg(all(feature = "durable", not(loom)))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;
#[path = "common/flash.rs"]
mod flash;

#[path = "cuts/chip.rs"]
mod chip;
#[path = "cuts/model.rs"]
mod model;
#[path = "cuts/power.rs"]
mod power;
#[path = "cuts/workloads.rs"]
mod workloads;

use power::Plan;

/// Cuts power once at every place of every workload.
#[test]
fn one_cut_at_every_place() {
    let tally = power::run(&workloads::all(), Plan::Once);
    println!("passed {} cuts, {tally}", tally.cuts);
    assert!(tally.cuts > 20_000, "{tally}");
}

/// Cuts power, and again at every place of what follows: the recovery's writes, and a short workload.
#[test]
fn a_second_cut_at_every_place_of_the_recovery() {
    let tally = power::run(&workloads::small(), Plan::Twice);
    println!("passed {} pairs, {tally}", tally.cuts);
    assert!(tally.cuts > 20_000, "{tally}");
}

/// Cuts power three times, anywhere.
#[test]
fn three_cuts_anywhere() {
    let tally = power::run(&workloads::all(), Plan::Thrice);
    println!("passed {} triples, {tally}", tally.cuts);
    assert!(tally.cuts > 1_000, "{tally}");
}

/// Cuts power while a journal is made where there was another one.
#[test]
fn a_cut_while_a_journal_is_replaced() {
    let tally = power::run(&workloads::all(), Plan::Format);
    println!("passed {} replacements, {tally}", tally.cuts);
    assert!(tally.cuts > 5_000, "{tally}");
}

/// Cuts power three times while headers are written and room is short, so that all three may fade.
#[test]
fn headers_that_fade_one_after_the_other() {
    let tally = power::run(&workloads::tight(), Plan::Fading);
    println!("passed {} fading triples, {tally}", tally.cuts);
    assert!(tally.cuts > 1_000, "{tally}");
}

/// What is cut in a recording is what is cut in a run.
#[test]
fn a_cut_recording_is_a_cut_run() {
    let tally = power::run(&workloads::small()[..2], Plan::Live);
    assert!(tally.cuts > 100, "{tally}");
}
