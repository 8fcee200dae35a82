//! What a process is doing at this moment: one byte in a file, so that it can be read when the process is dead. And the
//! trap: the parent may ask, in the same file, that a process dies in the middle of something.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use fabric_mq::clock::{Clock, MachineClock};
use rustix::process::{Signal, getpid, kill_process};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// What a process was in the middle of.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Phase {
    /// Opening the pool, and finding the topic.
    Starting,
    /// A producer: becoming the holder of the leases, and reading in the log how far its predecessor has come.
    TakingOver,
    /// A producer: in `send`.
    Sending,
    /// Appending to its journal.
    Noting,
    /// A consumer: looking at its group, and claiming what is free.
    Claiming,
    /// A consumer: in `poll`.
    Reading,
    /// A consumer: committing what it has noted, and releasing it.
    Committing,
    /// Waiting for something to do.
    Idle,
}

impl Phase {
    pub(crate) const ALL: [Self; 8] = [
        Self::Starting,
        Self::TakingOver,
        Self::Sending,
        Self::Noting,
        Self::Claiming,
        Self::Reading,
        Self::Committing,
        Self::Idle,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::TakingOver => "taking over",
            Self::Sending => "sending",
            Self::Noting => "noting",
            Self::Claiming => "claiming",
            Self::Reading => "reading",
            Self::Committing => "committing",
            Self::Idle => "idle",
        }
    }
}

/// Where a process is to die: so many nanoseconds behind the moment at which it enters a phase.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Trap {
    pub(crate) phase: Phase,
    pub(crate) delay: u32,
}

/// In the file: the phase; the phase of the trap and one, or 0; two bytes unused; the delay; when it struck.
const TRAP_AT: u64 = 1;
const DELAY_AT: u64 = 4;
const STRUCK_AT: u64 = 8;

/// From this delay on the thread sleeps, and is let run in time even if there is no processor of its own. Below it spins:
/// the system is no more exact than this.
const LEAST_SLEEP: Duration = Duration::from_micros(20);

fn index(phase: Phase) -> u8 {
    let at = Phase::ALL.iter().position(|known| *known == phase);
    at.and_then(|at| u8::try_from(at).ok()).unwrap_or_default()
}

/// The byte, as the process writes it.
#[derive(Debug)]
pub(crate) struct Marker(File);

impl Marker {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let this = Self(OpenOptions::new().read(true).write(true).open(path)?);
        this.set(Phase::Starting)?;
        Ok(this)
    }

    pub(crate) fn set(&self, phase: Phase) -> io::Result<()> {
        let index = index(phase);
        let mut trap = [0];
        let _ = self.0.read_at(&mut trap, TRAP_AT)?;
        if u16::from(trap[0]) == u16::from(index) + 1 {
            self.arm(index)?;
        }
        self.0.write_all_at(&[index], 0)
    }

    /// Lets a thread kill this process while it goes on: anywhere in the phase, as somebody else's `kill -9` would, but not
    /// once in a thousand times.
    fn arm(&self, index: u8) -> io::Result<()> {
        let mut delay = [0; 4];
        self.0.read_exact_at(&mut delay, DELAY_AT)?;
        let delay = Duration::from_nanos(u32::from_le_bytes(delay).into());
        let file = self.0.try_clone()?;
        let (ready, go) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (is_ready, may_go) = (Arc::clone(&ready), Arc::clone(&go));
        std::thread::spawn(move || {
            is_ready.store(true, Ordering::Release);
            if delay < LEAST_SLEEP {
                while !may_go.load(Ordering::Acquire) {
                    core::hint::spin_loop();
                }
                let started = Instant::now();
                while started.elapsed() < delay {
                    core::hint::spin_loop();
                }
            } else {
                std::thread::sleep(delay);
            }
            let at = MachineClock::new().now().as_millis();
            let _ = file.write_all_at(&at.to_le_bytes(), STRUCK_AT);
            let _ = kill_process(getpid(), Signal::KILL);
        });
        while !ready.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        self.0.write_all_at(&[index], 0)?;
        go.store(true, Ordering::Release);
        Ok(())
    }
}

/// The byte, as the parent reads it.
#[derive(Debug)]
pub(crate) struct Look(File);

impl Look {
    /// Makes the file, so that it is there before the process is.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create_new(true).read(true).write(true).open(path)?;
        file.write_all_at(&[0; 16], 0)?;
        Ok(Self(file))
    }

    pub(crate) fn set(&self, trap: Trap) -> io::Result<()> {
        self.0.write_all_at(&trap.delay.to_le_bytes(), DELAY_AT)?;
        self.0.write_all_at(&[index(trap.phase) + 1], TRAP_AT)
    }

    /// What the process is doing, or was when it died.
    pub(crate) fn get(&self) -> Phase {
        let mut byte = [0];
        let _ = self.0.read_at(&mut byte, 0);
        Phase::ALL.get(usize::from(byte[0])).copied().unwrap_or(Phase::Starting)
    }

    /// When a trap struck, by the machine's clock, if one did.
    pub(crate) fn struck(&self) -> Option<u64> {
        let mut at = [0; 8];
        self.0.read_exact_at(&mut at, STRUCK_AT).ok()?;
        Some(u64::from_le_bytes(at)).filter(|at| *at != 0)
    }
}
