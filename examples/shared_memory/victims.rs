//! Who is killed next, and in the middle of what: at random, by a seed.

use crate::phase::{Look, Phase, Trap};
use crate::site::Role;
use core::time::Duration;
use fabric_mq::clock::{Clock, MachineClock};
use std::io;
use std::process::Child;
use std::time::Instant;

/// Numbers that look random (SplitMix64).
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of the numbers below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap_or(0)
    }
}

/// Who is to die, doing what. `None`: whatever it does.
pub(crate) type Target = (Role, Option<Phase>);

/// Each of them comes once in a series, in an order of its own.
const TARGETS: [Target; 10] = [
    (Role::Producer, Some(Phase::Sending)),
    (Role::Producer, Some(Phase::Noting)),
    (Role::Producer, Some(Phase::TakingOver)),
    (Role::Producer, None),
    (Role::Consumer, Some(Phase::Starting)),
    (Role::Consumer, Some(Phase::Claiming)),
    (Role::Consumer, Some(Phase::Reading)),
    (Role::Consumer, Some(Phase::Noting)),
    (Role::Consumer, Some(Phase::Committing)),
    (Role::Consumer, None),
];

/// The targets, series by series.
#[derive(Debug, Default)]
pub(crate) struct Deck(Vec<Target>);

impl Deck {
    pub(crate) fn draw(&mut self, random: &mut Random) -> Target {
        if self.0.is_empty() {
            self.0 = TARGETS.to_vec();
        }
        let at = random.below(self.0.len());
        self.0.swap_remove(at)
    }
}

/// Between which delays a trap in a phase strikes, in nanoseconds: about as long as the phase takes.
const fn delays(phase: Phase) -> (usize, usize) {
    match phase {
        Phase::Starting | Phase::TakingOver => (20_000, 80_000),
        Phase::Claiming => (0, 10_000),
        Phase::Sending | Phase::Noting | Phase::Reading | Phase::Committing | Phase::Idle => (0, 5_000),
    }
}

/// A trap in a phase.
pub(crate) fn trap(phase: Phase, random: &mut Random) -> Trap {
    let (least, most) = delays(phase);
    Trap { phase, delay: u32::try_from(least + random.below(most - least)).unwrap_or(0) }
}

/// How long it is waited for a process that is to go into its trap.
const PATIENCE: Duration = Duration::from_secs(2);

/// Waits until a process is dead: by its trap if it has one, else by a signal. Answers when that came.
pub(crate) fn kill(child: &mut Child, look: &Look, trapped: bool) -> io::Result<u64> {
    let end = Instant::now() + PATIENCE;
    while trapped && Instant::now() < end {
        if child.try_wait()?.is_some() {
            break;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    let now = MachineClock::new().now().as_millis();
    child.kill()?;
    child.wait()?;
    Ok(look.struck().unwrap_or(now))
}
