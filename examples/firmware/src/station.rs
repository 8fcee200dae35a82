//! The main loop: reads what the interrupt wrote, and checks it.

use crate::failure::{Failure, is_reading, same, some};
use crate::machine;
use crate::reading::{READINGS, Reading};
use crate::sensor::{self, Feed, Sensor};
use cortex_m::asm;
use cortex_m::peripheral::SYST;
use cortex_m_semihosting::hprintln;
use fabric_mq::ReadError;
use fabric_mq::lease::{StaticGrant, StaticLease};
use fabric_mq::ring::{Overwrite, Reader, Retain, Ring, RingConfig, Start, Writer};

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

    machine::start(tick, TICK);
    let pass = keep(&mut in_place)?;
    pass.print("kept");
    some("refused writes", pass.refused)?;
    same("refused writes, as the ring counts them", pass.refused, kept.refused())?;

    let pass = follow(&mut copying, |_| Ok(()))?;
    pass.print("quick");
    same("records lost by a reader that keeps up", 0_u32, pass.lost)?;

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

    same("refused writes of a ring that overwrites", 0_u32, latest.refused())
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
                is_reading(next, record.payload())?;
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
                is_reading(next, &buffer)?;
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
        same("failed writes", 0_u32, feed.failed())?;
    }
    Ok(())
}

impl Pass {
    /// The balance at the end of a pass, when all that was wanted has been written.
    fn settle(&self, feed: &Feed, next: u64, tail: u64) -> Result<(), Failure> {
        same("failed writes", 0_u32, feed.failed())?;
        same("readings written", feed.wanted(), feed.written())?;
        same("received and lost", READINGS, self.received + self.lost)?;
        same("the reader's next offset", feed.written(), next)?;
        same("the end of the log", feed.written(), tail)
    }

    fn print(&self, name: &str) {
        let Self { received, lost, overruns, refused } = self;
        hprintln!("{:<6} {:>8} {:>6} {:>8} {:>7}", name, received, lost, overruns, refused);
    }
}
