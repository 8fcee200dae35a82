//! What the program prints at the end.

use crate::args::Options;
use crate::ledger::Ledger;
use crate::{GROUP, TOPIC, TRIES};
use core::fmt;
use core::str;
use fabric_mq::dlq::{Cause, Causes, Counters, DeadLetter, LetterAt};
use std::process::ExitCode;

/// How many letters and steps are listed.
pub(crate) const SHOWN: usize = 10;

pub(crate) struct Report<'a> {
    pub(crate) options: &'a Options,
    /// How the router stood when the consumer with the bug was done.
    pub(crate) first: Counters,
    pub(crate) causes: Causes,
    pub(crate) browsed: Vec<Browsed>,
    pub(crate) steps: Vec<Step>,
    pub(crate) last: Counters,
    pub(crate) ledger: Ledger,
}

/// A letter, as it is listed.
pub(crate) struct Browsed {
    at: LetterAt,
    source: (u32, u64),
    key: String,
    attempts: u32,
    cause: Cause,
    reason: String,
}

impl Browsed {
    pub(crate) fn of(letter: &DeadLetter<'_>) -> Self {
        Self {
            at: LetterAt::new(letter.partition(), letter.offset()),
            source: (letter.source_partition(), letter.source_offset().value()),
            key: letter.key().and_then(|key| str::from_utf8(key).ok()).unwrap_or("-").into(),
            attempts: letter.attempts(),
            cause: letter.cause(),
            reason: letter.reason().into(),
        }
    }
}

/// One step of the redrive.
pub(crate) struct Step {
    /// Milliseconds since it began.
    pub(crate) at: u64,
    pub(crate) moved: u64,
    pub(crate) left: u64,
    pub(crate) processed: u64,
}

impl Report<'_> {
    fn is_right(&self) -> bool {
        self.ledger.is_right() && self.last.is_conserved() && self.last.dead == self.causes.letters()
    }

    pub(crate) fn status(&self) -> ExitCode {
        if self.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn causes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Dead letters\n  {:<20}  {:>8}", "cause", "letters")?;
        for cause in Cause::ALL.into_iter().filter(|cause| self.causes.of(*cause) > 0) {
            writeln!(f, "  {cause:<20}  {:>8}", self.causes.of(cause))?;
        }
        writeln!(f, "  {:<20}  {:>8}\n", "all", self.causes.letters())
    }

    fn browsed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  letter  from     key  tries  cause              reason")?;
        for row in &self.browsed {
            let source = format!("{}/{}", row.source.0, row.source.1);
            let Browsed { at, key, attempts, cause, reason, .. } = row;
            let at = at.to_string();
            writeln!(f, "  {at:<6}  {source:<7}  {key:<3}  {attempts:>5}  {cause:<17}  {reason}")?;
        }
        let more = self.causes.letters().saturating_sub(self.browsed.len() as u64);
        if more > 0 {
            writeln!(f, "  ... and {more} more")?;
        }
        writeln!(f)
    }

    fn steps(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "The bug is fixed: sent back, at most {} letters a second", self.options.rate)?;
        writeln!(f, "  after, ms  sent back  left  processed")?;
        let every = self.steps.len().div_ceil(SHOWN).max(1);
        for (number, step) in self.steps.iter().enumerate() {
            if number % every == 0 || number + 1 == self.steps.len() {
                writeln!(f, "  {:>9}  {:>9}  {:>4}  {:>9}", step.at, step.moved, step.left, step.processed)?;
            }
        }
        writeln!(f)
    }

    fn networks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {:<32}  events  at once  redriven  twice  out of order", "network")?;
        for (name, row) in &self.ledger.networks {
            let [events, at_once, later, twice, disordered] =
                [row.events, row.at_once, row.later, row.twice, row.disordered];
            writeln!(f, "  {name:<32}  {events:>6}  {at_once:>7}  {later:>8}  {twice:>5}  {disordered:>12}")?;
        }
        let sums = [self.ledger.sum(|row| row.events), self.ledger.sum(|row| row.at_once)];
        let [events, at_once] = sums;
        let (later, twice) = (self.ledger.sum(|row| row.later), self.ledger.sum(|row| row.twice));
        let disordered = self.ledger.sum(|row| row.disordered);
        writeln!(f, "  {:<32}  {events:>6}  {at_once:>7}  {later:>8}  {twice:>5}  {disordered:>12}\n", "all")
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policy = if self.options.skip_aside { "skipping aside" } else { "in strict order" };
        writeln!(f, "{} -> topic {TOPIC} -> group {GROUP}, {policy}, {TRIES} tries", self.options.name())?;
        writeln!(f, "The consumer has a bug: it fails at magnitudes below zero, and refuses what is no earthquake.")?;
        if self.ledger.left_out > 0 {
            writeln!(f, "{} lines are no events, and were left out.", self.ledger.left_out)?;
        }
        let Counters { consumed, acked, pending, dead, parked, handed, .. } = self.first;
        writeln!(f, "\n  consumed     acked   pending      dead    parked    handed out")?;
        writeln!(f, "  {consumed:>8}  {acked:>8}  {pending:>8}  {dead:>8}  {parked:>8}      {handed:>8}\n")?;
        self.causes(f)?;
        self.browsed(f)?;
        self.steps(f)?;
        self.networks(f)?;
        f.write_str(if self.is_right() {
            "Every event was processed once, and those that never failed in order within their network.\n"
        } else {
            "FAILED: events were lost, processed twice or out of order.\n"
        })
    }
}
