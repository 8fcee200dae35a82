//! How far it has got, on standard error, while it takes long.

use crate::numbers::grouped;
use crate::report::rate;
use core::time::Duration;
use std::io::{self, IsTerminal, Write};
use std::time::Instant;

const WIDTH: usize = 79;

pub(crate) struct Progress {
    started: Instant,
    next: Duration,
    /// A terminal's line is written over; a file or pipe gets a new line now and then.
    terminal: bool,
    written: bool,
    total: Option<u64>,
}

impl Progress {
    pub(crate) fn new(total: Option<u64>) -> Self {
        let terminal = io::stderr().is_terminal();
        let next = Duration::from_millis(if terminal { 250 } else { 1000 });
        Self { started: Instant::now(), next, terminal, written: false, total }
    }

    /// Says how far it has got, if it is time to.
    pub(crate) fn tick(&mut self, records: u64, bytes: u64) {
        let elapsed = self.started.elapsed();
        if elapsed < self.next {
            return;
        }
        self.next = elapsed + Duration::from_millis(if self.terminal { 250 } else { 5000 });
        self.written = true;
        let share = self.total.filter(|total| *total > 0).map(|total| bytes as f64 * 100.0 / total as f64);
        let share = share.map(|share| format!("{:.0} %, ", share.min(100.0))).unwrap_or_default();
        let text = format!(
            "{share}{} records, {:.1} MB, {} records/s",
            grouped(records),
            bytes as f64 / 1e6,
            grouped(rate(records, elapsed) as u64)
        );
        // Nobody needs it enough to fail for it.
        let _ = match self.terminal {
            true => write!(io::stderr(), "\r{text:<WIDTH$}"),
            false => writeln!(io::stderr(), "{text}"),
        };
    }

    /// Clears the terminal's line for what follows.
    pub(crate) fn finish(&self) {
        if self.terminal && self.written {
            let _ = write!(io::stderr(), "\r{:WIDTH$}\r", "");
        }
    }
}
