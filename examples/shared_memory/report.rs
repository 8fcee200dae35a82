//! What is printed at the end.

use crate::args::{Mode, Options};
use crate::audit::Audit;
use crate::numbers::grouped;
use crate::parent::Deaths;
use crate::site::{CONSUMERS, GROUP, PARTITIONS, Role, TOPIC};
use core::fmt;
use core::time::Duration;
use std::process::ExitCode;

#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) options: &'a Options,
    pub(crate) audit: Audit,
    pub(crate) deaths: Deaths,
    pub(crate) elapsed: Duration,
}

impl Report<'_> {
    pub(crate) fn status(&self) -> ExitCode {
        if self.audit.faults.count() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn partitions(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  partition  keys        acked         read   again    committed  hand-overs  unowned at most")?;
        for (of, number) in self.audit.partitions.iter().zip(0..) {
            writeln!(
                f,
                "  {number:>9}  {:>4}  {:>11}  {:>11}  {:>6}  {:>11}  {:>10}  {:>12} ms",
                self.audit.quakes().keys_in(number),
                grouped(of.acked - of.unacked),
                grouped(of.reads),
                grouped(of.again),
                grouped(of.committed()),
                grouped(of.changes),
                grouped(of.unowned)
            )?;
        }
        Ok(())
    }

    fn deaths(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for role in [Role::Producer, Role::Consumer] {
            let of_role = self.deaths.killed.iter().filter(|((known, _), _)| *known == role);
            let while_at: Vec<_> = of_role.map(|((_, phase), count)| format!("{count} {}", phase.name())).collect();
            if !while_at.is_empty() {
                writeln!(f, "  {role}s killed: {}", while_at.join(", "))?;
            }
        }
        Ok(())
    }

    /// One line: what was shown.
    fn verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { audit, deaths, options, .. } = self;
        let faults = audit.faults.count();
        if faults > 0 {
            let lost = audit.lost;
            return writeln!(
                f,
                "FAILED: {} faults, {} records lost (seed {}).",
                grouped(faults),
                grouped(lost),
                options.seed
            );
        }
        let unacked: u64 = audit.partitions.iter().map(|of| of.unacked).sum();
        let changes: u64 = audit.partitions.iter().map(|of| of.changes).sum();
        if deaths.rounds > 0 {
            write!(f, "{} rounds (seed {}): ", grouped(deaths.rounds), options.seed)?;
        }
        let of = &audit.takeovers;
        writeln!(
            f,
            "{} processes killed; {} records acknowledged, none lost, none out of order, {} read again; {} sent whose \
             acknowledgement died with the producer; {} hand-overs, {} of the dead's partitions owned again within {} ms, \
             {} later as members joined or were held up, {} ms at most; {} producers replaced within {} ms; nothing left.",
            grouped(deaths.total()),
            grouped(audit.acked()),
            grouped(audit.again()),
            grouped(unacked),
            grouped(changes),
            grouped(of.in_time),
            grouped(2 * options.interval),
            grouped(of.explained),
            grouped(of.longest),
            grouped(of.producers),
            grouped(of.longest_of_producers)
        )
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.options.mode {
            Mode::Calm => String::new(),
            Mode::Every(millis) => format!(", one killed every {millis} ms, seed {}", self.options.seed),
            Mode::Rounds(rounds) => format!(", {} rounds, seed {}", grouped(rounds), self.options.seed),
        };
        writeln!(
            f,
            "1 producer -> topic {TOPIC}, {PARTITIONS} partitions in shared memory -> group {GROUP}, {CONSUMERS} consumers{how}; \
             {:.1} s\n",
            self.elapsed.as_secs_f64()
        )?;
        self.partitions(f)?;
        writeln!(f)?;
        self.deaths(f)?;
        if self.audit.faults.count() > 0 {
            writeln!(f, "Faults")?;
            for fault in self.audit.faults.first() {
                writeln!(f, "  {fault}")?;
            }
            if self.audit.faults.more() > 0 {
                writeln!(f, "  ... and {} more", grouped(self.audit.faults.more()))?;
            }
        }
        self.verdict(f)
    }
}
