//! The weather station as an `async` task: it sleeps until the sensor rings, and so does the processor.
//!
//! SysTick plays the sensor, as in the other program, and rings a bell behind what it has written. The task that waits for
//! readings is polled when it was woken and at no other time, and the processor sleeps in between (WFI). Three passes over a
//! year of readings:
//!
//! | pass | the interrupt | must be seen |
//! |---|---|---|
//! | each | writes one reading a tick, and rings | every reading, one wake-up for each at most |
//! | bursts | writes eight a tick, and rings once behind them | every reading, one wake-up for eight |
//! | topic | sends one a tick to a topic without an allocator | every message, one wake-up for each at most |
//!
//! The machine stops with status 0 if all of that held, else with 1 and the reason.

#![no_std]
#![no_main]

#[allow(dead_code, reason = "each program uses a part of it")]
mod failure;
mod handover;
mod machine;
mod reading;

use core::sync::atomic::{AtomicU32, Ordering};
use cortex_m::peripheral::SYST;
use cortex_m::{asm, interrupt};
use cortex_m_rt::{entry, exception};
use cortex_m_semihosting::hprintln;
use embassy_executor::raw;
use fabric_mq::clock::ManualClock;
use fabric_mq::consumer::Consumer;
use fabric_mq::lease::{StaticGrant, StaticLease};
use fabric_mq::producer::Producer;
use fabric_mq::ring::{AsyncReader, Bell, Reader, Ring, RingConfig, Start, Writer};
use fabric_mq::topic::{StaticRings, StaticTopics, TopicConfig};
use failure::{Failure, between, is_reading, same};
use handover::Handover;
use reading::{READINGS, Reading};

type Rings = StaticRings<StaticGrant, 1, 1>;
type Topics = StaticTopics<'static, StaticGrant, &'static ManualClock, 1, 1>;

const SLOTS: u32 = 64;
const CONFIG: RingConfig = RingConfig::new(SLOTS, SLOTS * Reading::LEN as u32);
const TOPIC: TopicConfig = TopicConfig::new().with_partitions(1).with_slots_and_stride(SLOTS, 16).with_groups(1);
const RING_BYTES: usize = match CONFIG.lease_bytes() {
    Ok(bytes) => bytes,
    Err(_) => panic!("there is no such ring"),
};
const TOPIC_BYTES: usize = match TOPIC.partition_bytes() {
    Ok(bytes) => bytes,
    Err(_) => panic!("there is no such topic"),
};
static RING: StaticLease<RING_BYTES> = StaticLease::new();
static PARTITION: StaticLease<TOPIC_BYTES> = StaticLease::new();
static CLOCK: ManualClock = ManualClock::new();
/// Wakes the task that reads the ring.
static BELL: Bell = Bell::new();

/// Processor cycles from one tick to the next: enough for a burst, on both machines.
const TICK: u32 = 50_000;
const BURST: u32 = 8;

/// What the interrupt has to do: written by the task, read by the interrupt. Readings left, and how many a tick.
static WANTED: AtomicU32 = AtomicU32::new(0);
static A_TICK: AtomicU32 = AtomicU32::new(1);
/// Readings taken since the start, and those that could not be written. Written by the interrupt.
static WRITTEN: AtomicU32 = AtomicU32::new(0);
static FAILED: AtomicU32 = AtomicU32::new(0);
/// Times that the executor was told of a task to poll, and that the processor slept.
static WAKES: AtomicU32 = AtomicU32::new(0);
static SLEEPS: AtomicU32 = AtomicU32::new(0);

/// The interrupt's end.
enum Sensor {
    Ring(Writer<&'static Ring<StaticGrant>>),
    Topic(Producer<&'static str, Topics>, &'static Topics),
}

/// From the task to the interrupt, before each pass that needs it.
static HANDOVER: Handover<Sensor> = Handover::new();

fn add(word: &AtomicU32, count: u32) {
    // One writer each; this processor may have nothing better than loads and stores.
    word.store(word.load(Ordering::Relaxed) + count, Ordering::Release);
}

#[exception]
fn SysTick() {
    static mut SENSOR: Option<Sensor> = None;

    if let Some(sensor) = HANDOVER.take() {
        *SENSOR = Some(sensor);
    }
    let first = WRITTEN.load(Ordering::Relaxed);
    let left = WANTED.load(Ordering::Acquire) - first;
    for written in first..first + left.min(A_TICK.load(Ordering::Acquire)) {
        let reading = Reading::nth(written).to_bytes();
        let done = match SENSOR {
            Some(Sensor::Ring(writer)) => writer.write(&reading).is_ok(),
            // This wakes by itself.
            Some(Sensor::Topic(producer, topics)) => producer.send(topics, &reading).is_ok(),
            None => false,
        };
        add(if done { &WRITTEN } else { &FAILED }, 1);
    }
    // Once for all of them, behind the last one.
    if left != 0 {
        BELL.ring();
    }
}

/// The executor's: a task is to be polled. Called from the interrupt, by way of the bell and the task's waker.
#[unsafe(export_name = "__pender")]
fn pend(_: *mut ()) {
    interrupt::free(|_| add(&WAKES, 1));
}

#[entry]
fn main() -> ! {
    // The start-up code hands these out as `&'static mut`: what an interrupt borrows must never go away.
    static mut STATION: Option<Ring<StaticGrant>> = None;
    static mut RINGS: Rings = StaticRings::new();
    static mut TOPICS: Option<Topics> = None;
    static mut EXECUTOR: Option<raw::Executor> = None;

    let executor: &'static raw::Executor = EXECUTOR.insert(raw::Executor::new(core::ptr::null_mut()));
    match machine::tick().and_then(|tick| station(tick, STATION, RINGS, TOPICS)) {
        Ok(task) => executor.spawner().spawn(task),
        Err(failure) => machine::end(Err(failure)),
    }
    loop {
        let seen = WAKES.load(Ordering::Acquire);
        // SAFETY: in one place, never from within itself.
        unsafe { executor.poll() };
        interrupt::free(|_| {
            // With interrupts masked, so that none comes between the question and the sleep: WFI ends by one that is pending.
            if WAKES.load(Ordering::Relaxed) == seen {
                add(&SLEEPS, 1);
                asm::wfi();
            }
        });
    }
}

#[embassy_executor::task]
async fn run(mut tick: SYST, station: Station) {
    machine::end(passes(&mut tick, station).await)
}

/// What the task works on.
struct Station {
    ring: &'static Ring<StaticGrant>,
    topics: &'static Topics,
}

fn station(
    tick: SYST,
    ring: &'static mut Option<Ring<StaticGrant>>,
    rings: &'static mut Rings,
    topics: &'static mut Option<Topics>,
) -> Result<embassy_executor::SpawnToken<impl Sized>, Failure> {
    let lease = RING.claim()?;
    let ring = ring.insert(Ring::format(lease, CONFIG)?);
    let lease = PARTITION.claim()?;
    rings.create_in([lease], "readings", TOPIC, &CLOCK)?;
    let topics = topics.insert(StaticTopics::new(rings, &CLOCK)?);
    Ok(run(tick, Station { ring, topics })?)
}

async fn passes(tick: &mut SYST, Station { ring, topics }: Station) -> Result<(), Failure> {
    hprintln!("{}; {} readings a pass, room for {}", env!("MACHINE"), READINGS, SLOTS);
    hprintln!("pass   received   lost    wakes  sleeps");
    machine::start(tick, TICK);

    HANDOVER.give(Sensor::Ring(Writer::claim(ring)?));
    let reader = Reader::join(ring, "main", Start::Earliest)?;
    let mut reader = AsyncReader::new(reader, &BELL);
    for (name, a_tick) in [("each", 1), ("bursts", BURST)] {
        let pass = Pass::begin(a_tick);
        for _ in 0..READINGS {
            let record = reader.next().await?;
            is_reading(record.offset().value(), record.payload())?;
        }
        pass.end(name, a_tick)?;
    }

    HANDOVER.give(Sensor::Topic(Producer::new("readings"), topics));
    let mut consumer: Consumer<_, _, 1> = Consumer::with_places("readings", "main");
    consumer.assign(&[0]);
    let before = u64::from(WRITTEN.load(Ordering::Acquire));
    let pass = Pass::begin(1);
    let mut received = 0;
    while received < READINGS {
        consumer.ready(topics).await?;
        let mut checked = Ok(());
        let polled = consumer.poll_with(topics, 16, |message| {
            let offset = before + message.offset().value();
            checked = core::mem::replace(&mut checked, Ok(())).and_then(|()| is_reading(offset, message.payload()));
        });
        received += polled? as u32;
        checked?;
    }
    pass.end("topic", 1)
}

/// The counts at the beginning of a pass.
struct Pass {
    wakes: u32,
    sleeps: u32,
}

impl Pass {
    fn begin(a_tick: u32) -> Self {
        let pass = Self { wakes: WAKES.load(Ordering::Acquire), sleeps: SLEEPS.load(Ordering::Acquire) };
        A_TICK.store(a_tick, Ordering::Release);
        WANTED.store(WANTED.load(Ordering::Relaxed) + READINGS, Ordering::Release);
        pass
    }

    fn end(self, name: &'static str, a_tick: u32) -> Result<(), Failure> {
        let wakes = WAKES.load(Ordering::Acquire) - self.wakes;
        let sleeps = SLEEPS.load(Ordering::Acquire) - self.sleeps;
        hprintln!("{:<6} {:>8} {:>6} {:>8} {:>7}", name, READINGS, 0, wakes, sleeps);
        let wanted = WANTED.load(Ordering::Relaxed);
        same("readings written", wanted, WRITTEN.load(Ordering::Acquire))?;
        same("failed writes", 0_u32, FAILED.load(Ordering::Acquire))?;
        // A task that keeps up is woken by each ring, and by nothing else.
        let rings = READINGS.div_ceil(a_tick);
        between("wake-ups", (rings / 2).max(1), rings, wakes)?;
        between("sleeps", rings / 2, u32::MAX, sleeps)
    }
}
