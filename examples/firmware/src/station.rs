//! The main loop: reads what the interrupt wrote, and checks it.

use crate::reading::{READINGS, Reading};
use crate::sensor::{self, Feed, Sensor};
use core::fmt;
use cortex_m::asm;
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_semihosting::hprintln;
use fabric_mq::lease::{StaticGrant, StaticLease};
use fabric_mq::ring::{Overwrite, Reader, Retain, Ring, RingConfig, Start, Writer};
use fabric_mq::{ConfigError, JoinError, LeaseError, ReadError, WriteError};

/// The ring that keeps what was not read.
pub type Kept = Ring<StaticGrant, Retain>;
/// The ring that keeps the latest.
pub type Latest = Ring<StaticGrant, Overwrite>;

const SLOTS: u32 = 64;
const CONFIG: RingConfig = RingConfig::new(SLOTS, SLOTS * Reading::LEN as u32);
const BYTES: usize = match CONFIG.lease_bytes() {
    Ok(bytes) => bytes,
    Err(_) => panic!("there is no such ring"),
};

static KEPT: StaticLease<BYTES> = StaticLease::new();
static LATEST: StaticLease<BYTES> = StaticLease::new();

/// Processor cycles from one tick to the next. Odd, so that ticks come at every place of the main loop in turn.
const TICK: u32 = 1_999;
/// The tick of the raced pass: at its start more than enough for a read, at its end less than the interrupt itself takes.
/// On the way both are about equally fast, on any processor, and there the sensor keeps overwriting the very record that
/// is being copied.
const RACE_FROM: u32 = 1_000;
const RACE_TO: u32 = 100;
/// Reads after which a slow main loop sleeps, and the readings it sleeps through: three times what the ring holds.
const AWAKE: u32 = 100;
const ASLEEP: u32 = 3 * SLOTS;

/// What went wrong.
pub enum Failure {
    /// The peripherals were taken before.
    Peripherals,
    Config(ConfigError),
    Lease(LeaseError),
    Write(WriteError),
    Join(JoinError),
    Read(ReadError),
    /// A record is not the reading that belongs to its offset.
    Reading {
        offset: u64,
        found: Option<Reading>,
    },
    /// Two numbers that must be the same are not.
    Count {
        what: &'static str,
        expected: u64,
        found: u64,
    },
    /// A number that must not be 0 is.
    None {
        what: &'static str,
    },
}

/// What one pass over the year came to.
#[derive(Default)]
struct Pass {
    received: u64,
    lost: u64,
    overruns: u32,
    refused: u32,
}

/// Runs all passes.
pub fn run(
    tick: &mut SYST,
    kept: &'static mut Option<Kept>,
    latest: &'static mut Option<Latest>,
) -> Result<(), Failure> {
    let kept: &'static Kept = kept.insert(Ring::format(KEPT.claim()?, CONFIG)?);
    let latest: &'static Latest = latest.insert(Ring::format(LATEST.claim()?, CONFIG)?);
    sensor::hand_over(Sensor { kept: Writer::claim(kept)?, latest: Writer::claim(latest)? });
    let mut in_place = Reader::join(kept, "main", Start::Earliest)?;
    let mut copying = Reader::join(latest, "main", Start::Earliest)?;

    hprintln!("{}; {} readings a pass, room for {}", env!("MACHINE"), READINGS, SLOTS);
    hprintln!("pass   received   lost overruns refused");

    start(tick, TICK);
    let pass = keep(&mut in_place)?;
    pass.print("kept");
    some("refused writes", pass.refused)?;
    same("refused writes, as the ring counts them", pass.refused.into(), kept.refused())?;

    let pass = follow(&mut copying, |_| Ok(()))?;
    pass.print("quick");
    same("records lost by a reader that keeps up", 0, pass.lost)?;

    let mut awake = 0;
    let pass = follow(&mut copying, |feed| {
        awake = (awake + 1) % AWAKE;
        if awake != 0 {
            return Ok(());
        }
        let morning = (feed.written() + ASLEEP).min(feed.wanted());
        sleep_until(feed, |feed| feed.written() >= morning)
    })?;
    pass.print("slow");
    some("overruns of a reader that sleeps", pass.overruns)?;

    let pass = follow(&mut copying, |feed| {
        let left = feed.wanted() - feed.written();
        tick.set_reload(RACE_TO + (RACE_FROM - RACE_TO) * left / READINGS);
        Ok(())
    })?;
    pass.print("raced");
    some("overruns of a reader that is slower than the sensor", pass.overruns)?;

    same("refused writes of a ring that overwrites", 0, latest.refused())?;
    hprintln!("ok");
    Ok(())
}

/// Starts the tick.
fn start(tick: &mut SYST, cycles: u32) {
    tick.disable_counter();
    tick.set_clock_source(SystClkSource::Core);
    tick.set_reload(cycles - 1);
    tick.clear_current();
    tick.enable_interrupt();
    tick.enable_counter();
}

/// A pass over the ring that retains, with a main loop that sleeps now and then. Records are read in place.
fn keep(reader: &mut Reader<&'static Kept>) -> Result<Pass, Failure> {
    let feed = &sensor::KEPT;
    let refused = feed.refused();
    let mut pass = Pass::default();
    let mut next = u64::from(feed.wanted());
    feed.want(READINGS);
    while next < u64::from(feed.wanted()) {
        if next % u64::from(AWAKE) == 0 {
            // Asleep until the sensor has nowhere left to write.
            let refused = feed.refused();
            let full = |feed: &Feed| feed.refused() != refused || feed.written() == feed.wanted();
            sleep_until(feed, full)?;
        }
        match reader.next()? {
            Some(record) => {
                same("the offset of the next record", next, record.offset().value())?;
                check(next, record.payload())?;
                pass.received += 1;
                next += 1;
            }
            None => sleep_until(feed, |feed| u64::from(feed.written()) > next)?,
        }
    }
    pass.refused = feed.refused() - refused;
    pass.settle(feed, reader.next_offset().value(), reader.ring().tail().value())?;
    Ok(pass)
}

/// A pass over the ring that overwrites, doing `before` ahead of each read.
fn follow(
    reader: &mut Reader<&'static Latest>,
    mut before: impl FnMut(&Feed) -> Result<(), Failure>,
) -> Result<Pass, Failure> {
    let feed = &sensor::LATEST;
    let mut pass = Pass::default();
    let mut next = u64::from(feed.wanted());
    feed.want(READINGS);
    while next < u64::from(feed.wanted()) {
        before(feed)?;
        let mut buffer = [0; Reading::LEN];
        match reader.copy_next(&mut buffer) {
            Ok(Some(record)) => {
                // `next` is what came before and what was reported lost: here the report meets the log itself.
                same("the offset of the next record", next, record.offset().value())?;
                same("the length of the record", Reading::LEN as u64, record.len() as u64)?;
                check(next, &buffer)?;
                pass.received += 1;
                next += 1;
            }
            Ok(None) => sleep_until(feed, |feed| u64::from(feed.written()) > next)?,
            Err(ReadError::Overrun { lost }) => {
                pass.lost += lost;
                pass.overruns += 1;
                next += lost;
            }
            Err(error) => return Err(error.into()),
        }
    }
    pass.settle(feed, reader.next_offset().value(), reader.ring().tail().value())?;
    Ok(pass)
}

/// Stops the processor until an interrupt has made `done` true.
fn sleep_until(feed: &Feed, done: impl Fn(&Feed) -> bool) -> Result<(), Failure> {
    while !done(feed) {
        // A tick between the question and this costs one tick: the next one wakes us.
        asm::wfi();
        same("failed writes", 0, feed.failed().into())?;
    }
    Ok(())
}

/// Whether the record at `offset` holds the reading that the sensor took for it.
fn check(offset: u64, payload: &[u8]) -> Result<(), Failure> {
    let found = Reading::from_bytes(payload);
    // At most four years of readings: the cast loses nothing.
    if found == Some(Reading::nth(offset as u32)) { Ok(()) } else { Err(Failure::Reading { offset, found }) }
}

fn same(what: &'static str, expected: u64, found: u64) -> Result<(), Failure> {
    if expected == found { Ok(()) } else { Err(Failure::Count { what, expected, found }) }
}

fn some(what: &'static str, found: u32) -> Result<(), Failure> {
    if found != 0 { Ok(()) } else { Err(Failure::None { what }) }
}

impl Pass {
    /// The balance at the end of a pass, when all that was wanted has been written.
    fn settle(&self, feed: &Feed, next: u64, tail: u64) -> Result<(), Failure> {
        same("failed writes", 0, feed.failed().into())?;
        same("readings written", feed.wanted().into(), feed.written().into())?;
        same("received and lost", READINGS.into(), self.received + self.lost)?;
        same("the reader's next offset", feed.written().into(), next)?;
        same("the end of the log", feed.written().into(), tail)
    }

    fn print(&self, name: &str) {
        let Self { received, lost, overruns, refused } = self;
        hprintln!("{:<6} {:>8} {:>6} {:>8} {:>7}", name, received, lost, overruns, refused);
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peripherals => f.write_str("the peripherals were taken before"),
            Self::Config(error) => error.fmt(f),
            Self::Lease(error) => error.fmt(f),
            Self::Write(error) => error.fmt(f),
            Self::Join(error) => error.fmt(f),
            Self::Read(error) => error.fmt(f),
            Self::Reading { offset, found } => write!(f, "the record at offset {offset} is not its reading: {found:?}"),
            Self::Count { what, expected, found } => write!(f, "{what}: {expected} expected, {found} found"),
            Self::None { what } => write!(f, "{what}: none"),
        }
    }
}

macro_rules! failure_from {
    ($($variant:ident($error:ty)),+) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        })+
    };
}

failure_from!(Config(ConfigError), Lease(LeaseError), Write(WriteError), Join(JoinError), Read(ReadError));
