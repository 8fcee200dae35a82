//! A hostile process: it maps the same shared lease and stores anything anywhere in it, while this one attaches, reads and
//! writes. `FABRIC_MQ_SECONDS` says for how long (2 by default).

#![cfg(all(feature = "std", unix, target_has_atomic = "64", not(loom)))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::multiple_unsafe_ops_per_block,
    clippy::panic,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "tests"
)]

mod common;
#[path = "common/process.rs"]
mod process;

use common::Rng;
use fabric_mq::lease::{Lease, SharedLease, Untrusted};
use fabric_mq::ring::{Keep, Overwrite, Reader, Retain, Ring, RingConfig, SharedWriter, Start, Writer};
use fabric_mq::{Name, Ticks};
use process::{Actor, Folder, say};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const HOUR: Ticks = Ticks::from_millis(3_600_000);
/// With the pool's record two pages to the byte: what reads beyond the lease's end reads beyond the mapping's.
const SHAPE: RingConfig = RingConfig::new(128, 4096).with_readers(9);
const _: () = assert!(RECORD + 384 + 9 * 128 + 128 * 16 + 4096 == 8192);
/// Bytes of the pool's own record before the lease's.
const RECORD: usize = 512;

fn seconds() -> u64 {
    std::env::var("FABRIC_MQ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

/// Stores anything anywhere until it is killed, or whoever started it is gone. From time to time the lease is whole again,
/// else nobody would get past attaching.
fn rewrite(lease: &SharedLease<Untrusted>, seed: u64) -> ! {
    let words = lease.len() / 8;
    #[allow(unsafe_code, reason = "the lease under test")]
    // SAFETY: the lease's bytes are valid and aligned for as long as it lives, and so is its record before them; what else
    // touches them is in this process nothing, and another process's stores are what this test is about.
    let all = unsafe {
        std::slice::from_raw_parts(lease.base().as_ptr().sub(RECORD).cast::<AtomicU64>(), RECORD / 8 + words)
    };
    let whole: Vec<u64> = all.iter().map(|word| word.load(Ordering::Relaxed)).collect();
    let slots = RECORD / 8 + (384 + 128 * 9) / 8;
    let control = slots + 16 * 128 / 8;
    let mut rng = Rng::new(seed);
    say("ready");
    loop {
        for (word, was) in all.iter().zip(&whole) {
            word.store(*was, Ordering::Relaxed);
        }
        for _ in 0..rng.below(3000) {
            std::hint::spin_loop();
        }
        for _ in 0..rng.below(60) {
            if rng.one_in(4) {
                forge(&all[slots..control], &mut rng);
                continue;
            }
            // The ring's own words most of the time; the pool's record seldom, since a lease whose record is damaged
            // is not joined at all.
            let at = match rng.below(32) {
                0 => rng.size(all.len()),
                1..4 => RECORD / 8 + rng.size(words),
                _ => RECORD / 8 + 16 + rng.size(control - RECORD / 8 - 16),
            };
            let word = &all[at];
            let now = word.load(Ordering::Relaxed);
            let new = match rng.below(5) {
                0 => rng.next(),
                1 => now ^ (1 << rng.below(64)),
                2 => now.wrapping_add(1),
                3 => now.wrapping_add(1 << 32),
                _ => all[RECORD / 8 + rng.size(words)].load(Ordering::Relaxed),
            };
            word.store(new, Ordering::Relaxed);
        }
    }
}

/// A slot of the offset that it had, and sound as far as its own words go, which says that its record lies anywhere.
fn forge(slots: &[AtomicU64], rng: &mut Rng) {
    let [first, second] = &slots.as_chunks::<2>().0[rng.size(128)];
    let stamp = first.load(Ordering::Relaxed) as u32;
    // Positions are in units of 8 bytes: at the ring's end, most of the time.
    let position =
        if rng.one_in(4) { rng.next() as u32 } else { 512 * rng.below(9) as u32 + 500 + rng.below(12) as u32 };
    let extent = if rng.one_in(4) { rng.next() as u32 } else { rng.below(4096) as u32 };
    let check = stamp ^ extent ^ position ^ 0x5afb_ca11;
    first.store(u64::from(stamp) | u64::from(extent) << 32, Ordering::Relaxed);
    second.store(u64::from(position) | u64::from(check) << 32, Ordering::Relaxed);
}

#[test]
#[ignore = "run by the other tests of this file: cargo test --test hostile_peer"]
fn an_actor_of_another_test() {
    let Some(kind) = process::role() else { return };
    let lease = process::pool(&process::given_place()).join_named(&Name::new(&kind).unwrap()).unwrap();
    rewrite(&lease, 0xe1e1 ^ kind.len() as u64);
}

#[derive(Default)]
struct Seen {
    refused: u64,
    records: u64,
    written: u64,
    errors: u64,
}

/// Everything that a holder of an untrusted lease can do, whatever is in it meanwhile.
fn round<K: Keep>(ring: &Ring<SharedLease<Untrusted>, K>, way: u64, seen: &mut Seen) {
    let mut buffer = vec![0; ring.bytes()];
    let name = if way.is_multiple_of(2) { "parked" } else { "me" };
    if let Ok(mut reader) =
        Reader::join(ring, name, if way.is_multiple_of(3) { Start::Earliest } else { Start::Resume })
    {
        for _ in 0..40 {
            match reader.copy_next(&mut buffer) {
                Ok(Some(record)) => {
                    assert!(record.len() <= buffer.len());
                    seen.records += 1;
                }
                Ok(None) => {}
                Err(_) => {
                    seen.errors += 1;
                    let _ = reader.seek(if way.is_multiple_of(5) { ring.tail() } else { ring.head() });
                }
            }
        }
        let _ = reader.lag();
        reader.release();
        if way.is_multiple_of(7) {
            reader.park();
        }
    }
    let _ = (ring.head(), ring.tail(), ring.refused(), ring.readers().count());
    let payload = [7; 400];
    if way.is_multiple_of(4) {
        if let Ok(writer) = SharedWriter::claim(ring) {
            for _ in 0..20 {
                seen.written += u64::from(writer.write(&payload).is_ok());
            }
        }
    } else if let Ok(mut writer) = Writer::claim(ring) {
        for len in 0..20 {
            seen.written += u64::from(writer.write(&payload[..len * 20]).is_ok());
        }
        let mut batch = writer.batch();
        for _ in 0..3 {
            let _ = batch.write(&payload);
        }
        seen.written += batch.publish().map_or(0, |count| count as u64);
    }
}

fn survive<K: Keep>(seconds: Duration, kind: &str) {
    let place = Folder::in_memory(&format!("peer-{kind}"));
    let pool = place.pool();
    let name = Name::new(kind).unwrap();
    let ring: Ring<_, K> =
        Ring::format(pool.acquire_named(&name, SHAPE.lease_bytes().unwrap(), HOUR).unwrap(), SHAPE).unwrap();
    {
        let mut writer = Writer::claim(&ring).unwrap();
        let parked = Reader::join(&ring, "parked", Start::Earliest).unwrap();
        for len in 0..12 {
            writer.write(&vec![len; usize::from(len) * 30]).unwrap();
        }
        parked.park();
    }
    let mut peer = Actor::start(&place, kind, &[]);
    peer.says("ready");

    let (mut seen, mut rounds) = (Seen::default(), 0_u64);
    let end = Instant::now() + seconds;
    // On a busy machine the two may take turns for long: go on until the peer was met, within reason.
    let last = end + Duration::from_secs(60);
    let met = |seen: &Seen| seen.refused > 0 && seen.errors > 0 && seen.records > 0 && seen.written > 0;
    while Instant::now() < end || (!met(&seen) && Instant::now() < last) {
        rounds += 1;
        // Through the lease that was there before the peer, and through one that is mapped anew and checked.
        round(&ring, rounds, &mut seen);
        match pool.join_named(&name).map(Ring::<_, K>::try_attach) {
            Ok(Ok(joined)) => round(&joined, rounds + 1, &mut seen),
            Ok(Err(_)) | Err(_) => seen.refused += 1,
        }
        let _ = pool.leases();
    }
    assert!(peer.is_running(), "the peer died before it was killed");
    println!(
        "hostile process, {kind}: passed {rounds} rounds ({} refused, {} records read, {} written, {} errors)",
        seen.refused, seen.records, seen.written, seen.errors
    );
    assert!(met(&seen));
}

#[test]
fn a_process_that_writes_anything_any_time_is_survived() {
    survive::<Retain>(Duration::from_secs(seconds()), "retain");
}

#[test]
fn a_process_that_writes_anything_any_time_is_survived_by_an_overwriting_ring() {
    survive::<Overwrite>(Duration::from_secs(seconds()), "overwrite");
}
