//! The same firmware with a ring in it: 32-byte records go in and come out of a partition in a static.
//!
//! Everything a device needs is counted: making the ring, taking the writer's and the reader's place, writing, reading in
//! place. What is written comes from, and what is read goes to, where the compiler cannot follow.

#![no_std]
#![no_main]

use core::hint::black_box;
use cortex_m::asm;
use cortex_m_rt::entry;
use fabric_mq::lease::StaticLease;
use fabric_mq::ring::{Reader, Ring, RingConfig, Start, Writer};
use panic_halt as _;

const CONFIG: RingConfig = RingConfig::new(64, 2048);
const BYTES: usize = match CONFIG.lease_bytes() {
    Ok(bytes) => bytes,
    Err(_) => panic!("there is no such ring"),
};

static MEMORY: StaticLease<BYTES> = StaticLease::new();
static RECORD: [u8; 32] = [0x5a; 32];

#[entry]
fn main() -> ! {
    let Ok(lease) = MEMORY.claim() else { halt() };
    let Ok(ring) = Ring::<_>::format(lease, CONFIG) else { halt() };
    let Ok(mut writer) = Writer::claim(&ring) else { halt() };
    let Ok(mut reader) = Reader::join(&ring, "main", Start::Earliest) else { halt() };
    loop {
        let record: &[u8; 32] = black_box(&RECORD);
        if writer.write(record).is_err() {
            halt()
        }
        match reader.next() {
            Ok(Some(record)) => {
                black_box(record.payload());
            }
            Ok(None) => {}
            Err(_) => halt(),
        }
    }
}

/// What a device does that cannot go on.
fn halt() -> ! {
    loop {
        asm::wfi();
    }
}
