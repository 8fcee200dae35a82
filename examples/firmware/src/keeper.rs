//! The main loop: from the ring into flash, from flash to the uplink; and after each cut, what is left.

use crate::failure::{Failure, between, is_reading, same, some};
use crate::gauge::{self, Gauge};
use crate::image;
use crate::kept::{self, Kept, SEGMENT_BYTES, SEGMENTS};
use crate::machine;
use crate::nor::{EmulatedFlash, IN_ERASE, IN_PROGRAM};
use crate::power::PLAN;
use crate::reading::{READINGS, Reading};
use crate::stack;
use crate::text::Text;
use core::fmt;
use cortex_m::asm;
use cortex_m::peripheral::SYST;
use cortex_m_semihosting::hprintln;
use fabric_mq::durable::{
    CursorId, Journal, JournalConfig, NorStore, PumpError, Recovery, Spool, SpoolMode, StoreError,
};
use fabric_mq::lease::{StaticGrant, StaticLease};
use fabric_mq::ring::{Ring, RingConfig, Writer};

type Log = Journal<NorStore<EmulatedFlash>, 1, 1>;
type Station = Spool<&'static Ring<StaticGrant>, NorStore<EmulatedFlash>, 1, 1>;

const SLOTS: u32 = 64;
/// The spool takes two readers' places.
const CONFIG: RingConfig = RingConfig::new(SLOTS, SLOTS * Reading::LEN as u32).with_readers(2);
const BYTES: usize = match CONFIG.lease_bytes() {
    Ok(bytes) => bytes,
    Err(_) => panic!("there is no such ring"),
};
static MEMORY: StaticLease<BYTES> = StaticLease::new();

/// The journal's number.
const ID: u64 = 0x5ea7_71e0_2010;
const PARTITION: u8 = 0;
/// Processor cycles from one reading to the next: enough to store it and to pass it on, on both machines.
const TICK: u32 = 19_999;
/// Readings in the ring that are worth waking the flash for.
const BATCH: u64 = 8;
/// Records in flash that are worth a call of the uplink: about a third of what it has room for.
const BACKLOG: u32 = (SEGMENTS * SEGMENT_BYTES / 64) as u32;
/// Records that the uplink takes before it commits, in every other call; in between it commits each by itself.
const GROUP: u32 = 16;

/// What the station works with. It lies in a static, and each stage has a function of its own, so that the stack need not
/// hold it, nor what a stage that is over has taken.
pub struct Room {
    ring: Option<Ring<StaticGrant>>,
    journal: Option<Log>,
    keeper: Option<Keeper>,
}

impl Room {
    pub const fn new() -> Self {
        Self { ring: None, journal: None, keeper: None }
    }
}

/// Runs the station until the power goes or the year is over.
pub fn run(tick: &mut SYST, room: &'static mut Room) -> Result<(), Failure> {
    let Room { ring, journal, keeper } = room;
    let kept = kept::power_on();
    if kept.resets.get() == 0 {
        hprintln!(
            "{}; {} readings, room for {}; {} segments of {} bytes",
            env!("MACHINE"),
            READINGS,
            SLOTS,
            SEGMENTS,
            SEGMENT_BYTES
        );
        hprintln!("boot cut            at found         stored committed sensed again");
    } else if kept.cut.get() == 0 {
        return Err(Failure::None { what: "a power cut that explains this reset" });
    }
    // As the cut has left it, before anybody opens it.
    image::write(kept, format_args!("{:02}", kept.resets.get()))?;

    settle(kept, open(kept, journal)?)?;
    let working = begin(kept, journal, ring, keeper)?;
    machine::start(tick, TICK);
    working.work()?;
    finish(keeper)
}

#[inline(never)]
fn open<'j>(kept: &'static Kept, journal: &'j mut Option<Log>) -> Result<&'j Log, Failure> {
    let store = NorStore::whole(EmulatedFlash::new(kept))?;
    Ok(journal.insert(Journal::open_or_format(store, JournalConfig::new(ID))?))
}

/// Puts the ring before the journal, and hands the interrupt its end of it.
#[inline(never)]
fn begin<'k>(
    kept: &'static Kept,
    journal: &mut Option<Log>,
    ring: &'static mut Option<Ring<StaticGrant>>,
    keeper: &'k mut Option<Keeper>,
) -> Result<&'k mut Keeper, Failure> {
    let ring: &'static Ring<StaticGrant> = ring.insert(Ring::format(MEMORY.claim()?, CONFIG)?);
    let journal = journal.take().ok_or(Failure::None { what: "the journal" })?;
    let mut spool = Spool::new(journal, [ring], SpoolMode::WriteThrough)?;
    let uplink = spool.join(PARTITION, "uplink")?;
    gauge::hand_over(Gauge { writer: Writer::claim(ring)?, first: kept.stored.get(), kept });
    Ok(keeper.insert(Keeper { kept, spool, uplink, next: kept.committed.get(), calls: kept.resets.get() }))
}

/// After a start: what the journal says, held to what was said before the cut. The sensor goes on behind it.
#[inline(never)]
fn settle(kept: &Kept, journal: &Log) -> Result<(), Failure> {
    let stored = stored(journal)?;
    let committed = journal.find(PARTITION, "uplink").and_then(|uplink| journal.committed(uplink));
    let committed = committed.map_or(0, |offset| offset.value() as u32);
    let lost = kept.sensed.get().saturating_sub(stored);
    if kept.cut.get() != 0 {
        let found = Found { recovery: journal.recovery(), is_new: journal.stats().erased != 0 };
        let at =
            Place { segment: kept.cut_at.get() / SEGMENT_BYTES as u32, at: kept.cut_at.get() % SEGMENT_BYTES as u32 };
        let cut = match kept.cut.get() {
            IN_PROGRAM => "program",
            IN_ERASE => "erase",
            _ => "?",
        };
        hprintln!(
            "{:>4} {:<8} {:>9} {:<12} {:>7} {:>9} {:>12}",
            kept.resets.get(),
            cut,
            at,
            found,
            stored,
            committed,
            lost
        );
    }
    if let Some(at) = journal.recovery().damage {
        return Err(StoreError::Damaged { at }.into());
    }
    // What was said to be stored is there; nothing is there that was never sensed.
    between("readings stored, after a cut", kept.stored.get(), kept.sensed.get(), stored)?;
    between("readings committed, after a cut", kept.committed.get(), kept.received.get(), committed)?;
    kept.cut.set(0);
    kept.stored.set(stored);
    kept.committed.set(committed);
    // These were in the ring alone.
    kept.sensed_again.add(lost);
    kept.sensed.set(stored);
    check_stack(kept)
}

/// Notes how deep the stack has been.
fn check_stack(kept: &Kept) -> Result<(), Failure> {
    let (used, _) = stack::used()?;
    kept.stack.set(kept.stack.get().max(used));
    Ok(())
}

/// How many readings are in the journal, or were.
fn stored(journal: &Log) -> Result<u32, Failure> {
    let (_, next) = journal.span(PARTITION).ok_or(Failure::None { what: "the journal's partition" })?;
    // Less than a year of them: the cast loses nothing.
    Ok(next.value() as u32)
}

pub struct Keeper {
    kept: &'static Kept,
    spool: Station,
    uplink: CursorId,
    /// The offset of the record that the uplink reads next.
    next: u32,
    /// How often the uplink was called, in this life of the machine; from the number of lives on, so that each kind of call
    /// comes first in some of them.
    calls: u32,
}

impl Keeper {
    /// Stores and passes on, until the year is over.
    fn work(&mut self) -> Result<(), Failure> {
        while self.kept.committed.get() < READINGS {
            same("failed writes", 0_u32, gauge::failed())?;
            let is_over = self.kept.sensed.get() == READINGS;
            let mut is_full = false;
            if is_over || self.spool.at_risk(PARTITION).is_some_and(|count| count >= BATCH) {
                is_full = self.store()?;
            }
            if is_over || is_full || self.kept.stored.get() - self.next >= BACKLOG {
                self.call()?;
            } else {
                asm::wfi();
            }
        }
        Ok(())
    }

    /// From the ring into flash. Answers whether flash is full, and the rest waits in the ring.
    fn store(&mut self) -> Result<bool, Failure> {
        let is_full = match self.spool.pump() {
            Ok(_) => false,
            Err(PumpError::Store(StoreError::Full)) => true,
            Err(error) => return Err(error.into()),
        };
        self.kept.stored.set(stored(self.spool.journal())?);
        Ok(is_full)
    }

    /// The uplink takes everything that is stored. What is in the ring alone could be sensed again after a cut: that is not
    /// for others yet.
    fn call(&mut self) -> Result<(), Failure> {
        self.calls += 1;
        let group = if self.calls.is_multiple_of(2) { GROUP } else { 1 };
        while self.next < self.kept.stored.get() {
            self.receive()?;
            let is_last = self.next == self.kept.stored.get();
            if is_last || self.next - self.kept.committed.get() >= group {
                self.spool.commit(self.uplink, u64::from(self.next).into())?;
                self.kept.committed.set(self.next);
            }
            if self.next % GROUP == 0 {
                // The sensor goes on meanwhile.
                self.store()?;
            }
        }
        Ok(())
    }

    /// One record: the next one, and the reading of its hour.
    fn receive(&mut self) -> Result<(), Failure> {
        let mut buffer = [0; Reading::LEN];
        let record =
            self.spool.next(self.uplink, &mut buffer)?.ok_or(Failure::None { what: "the record that is next" })?;
        same("the offset of the next record", self.next, record.offset().value())?;
        is_reading(record.offset().value(), record.body())?;
        let offset = self.next;
        self.next = offset + 1;
        if offset < self.kept.received.get() {
            // Read before a cut, and not committed.
            self.kept.received_again.add(1);
        } else {
            same("the offset of the next new record", self.kept.received.get(), offset)?;
            self.kept.received.set(self.next);
        }
        Ok(())
    }
}

/// The end of the year.
#[inline(never)]
fn finish(keeper: &mut Option<Keeper>) -> Result<(), Failure> {
    let Keeper { kept, spool, .. } = keeper.take().ok_or(Failure::None { what: "the keeper" })?;
    let boot = kept.resets.get();
    same("cuts of the plan", PLAN.len() as u32, boot)?;
    let begun = spool.journal().stats().segment_number;
    let erased: u32 = kept.erased.iter().map(kept::Word::get).sum();
    spool.close()?;
    let has_images = image::write(kept, format_args!("end"))?;
    report(kept, has_images)?;

    same("broken promises to the flash", 0_u32, kept.violations.get())?;
    same("readings received", READINGS, kept.received.get())?;
    some("readings sensed again after cuts", kept.sensed_again.get())?;
    some("readings received again after cuts", kept.received_again.get())?;
    // Segments are used in turn. One whose erasure or header was cut was erased once more, at most once for each cut.
    let (least, most) = erasures(kept);
    let repeated = erased - begun;
    between("erasures that were repeated", 0, boot, repeated)?;
    between("erasures of a segment", least, least + 1 + repeated, most)
}

/// How often the segments were erased, at least and at most.
fn erasures(kept: &Kept) -> (u32, u32) {
    let counts = || kept.erased.iter().map(kept::Word::get);
    (counts().min().unwrap_or(0), counts().max().unwrap_or(0))
}

#[inline(never)]
fn report(kept: &Kept, has_images: bool) -> Result<(), Failure> {
    check_stack(kept)?;
    let (_, stack) = stack::used()?;
    let (least, most) = erasures(kept);
    let bytes = 4 * u64::from(kept.programmed.get());
    let hundredths = bytes * 100 / (u64::from(READINGS) * Reading::LEN as u64);
    hprintln!("pass   received   lost   resets   again");
    hprintln!(
        "{:<6} {:>8} {:>6} {:>8} {:>7}",
        "flash",
        kept.received.get(),
        0,
        kept.resets.get(),
        kept.received_again.get()
    );
    hprintln!("readings that went with the ring, and were sensed again: {}", kept.sensed_again.get());
    hprintln!("readings that waited for room in the ring: {}", kept.refused.get());
    hprintln!("erasures of a segment: {} to {}", least, most);
    hprintln!("bytes programmed for each byte of a reading: {}.{:02}", hundredths / 100, hundredths % 100);
    hprintln!(
        "RAM: spool and journal {}, ring {}, stack {} of {}",
        size_of::<Station>(),
        BYTES,
        kept.stack.get(),
        stack
    );
    if has_images {
        hprintln!("images: the flash as each cut left it, and at the end");
    }
    Ok(())
}

/// A place in the flash.
struct Place {
    segment: u32,
    at: u32,
}

/// What was found when the journal was opened.
struct Found<'r> {
    recovery: &'r Recovery,
    is_new: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(Text::<24>::of(format_args!("{}:{}", self.segment, self.at))?.as_str())
    }
}

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.recovery {
            _ if self.is_new => f.pad("no-journal"),
            Recovery { damage: Some(_), .. } => f.pad("damage"),
            Recovery { torn: Some(at), .. } => {
                f.pad(Text::<24>::of(format_args!("{}:{}-{}", at.segment, at.from, at.to))?.as_str())
            }
            Recovery { clean: true, .. } => f.pad("clean"),
            _ => f.pad("whole"),
        }
    }
}
