//! Leases: how they are handed out, how they end, and that nothing is written through one that has ended. And every error
//! there is, brought about, with what it says.

#![allow(clippy::type_complexity, reason = "tables of cases")]
#![cfg(all(feature = "std", not(loom)))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::disallowed_types,
    reason = "tests"
)]

mod common;

use common::hooked::{Hooked, fenced_after};
use common::image::{self, Entry};
use common::{Owned, Rng, scale};
use fabric_mq::clock::{Clock, ManualClock};
use fabric_mq::lease::{
    Cooperative, Exclusive, HeapLease, HeapPool, Lease, Pool, SliceLease, SlicePool, SlicePoolLease, StaticLease,
};
use fabric_mq::ring::{Keep, Overwrite, Reader, Retain, Ring, RingConfig, SharedWriter, Start, Writer};
use fabric_mq::{
    AttachError, Check, ConfigError, Epoch, JoinError, LeaseError, LeaseId, NameError, Offset, ReadError, SeekError,
    Ticks, WriteError,
};
use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::Arc;

const CONFIG: RingConfig = RingConfig::new(8, 256);

fn needed() -> usize {
    CONFIG.lease_bytes().unwrap()
}

fn ms(ms: u64) -> Ticks {
    Ticks::from_millis(ms)
}

// ---- static and slice leases

#[test]
fn a_static_lease_has_one_holder_and_rising_epochs() {
    static MEMORY: StaticLease<2048> = StaticLease::new();
    let first = MEMORY.claim().unwrap();
    assert_eq!(first.epoch(), Epoch::new(1));
    assert_eq!(MEMORY.claim().map(|_| ()), Err(LeaseError::InUse));
    assert_eq!(first.base().as_ptr() as usize % 128, 0);
    assert_eq!((first.len(), first.is_empty(), first.expires_at()), (2048, false, Ticks::MAX));
    let ring: Ring<_> = Ring::format(first, CONFIG).unwrap();
    Writer::claim(&ring).unwrap().write(b"kept").unwrap();
    assert_eq!(MEMORY.claim().map(|_| ()), Err(LeaseError::InUse), "the ring holds it");
    drop(ring);
    // What was written is there for the next holder, whose epoch is higher.
    let second = MEMORY.claim().unwrap();
    assert_eq!(second.epoch(), Epoch::new(2));
    let ring: Ring<_> = Ring::attach(second).unwrap();
    let mut reader = Reader::join(&ring, "r", Start::Earliest).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().payload(), b"kept");
    assert_eq!(ring.epoch(), Epoch::new(2));
}

#[test]
fn a_static_lease_is_claimed_by_one_of_many_threads() {
    static MEMORY: StaticLease<1024> = StaticLease::new();
    static HOLDERS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    use std::sync::atomic::Ordering::SeqCst;
    let rounds = 2000 * scale();
    let claims: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(move || {
                    let mut mine = 0;
                    for _ in 0..rounds {
                        if let Ok(grant) = MEMORY.claim() {
                            assert_eq!(HOLDERS.fetch_add(1, SeqCst), 0, "two holders");
                            mine += 1;
                            HOLDERS.fetch_sub(1, SeqCst);
                            drop(grant);
                        }
                    }
                    mine
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let next = MEMORY.claim().unwrap().epoch().value();
    assert_eq!(u64::from(next), claims + 1, "each claim has an epoch of its own");
    println!("static lease: passed {claims} operations");
}

#[test]
fn a_slice_lease_is_aligned_wherever_the_slice_starts() {
    let mut bytes = vec![0_u8; needed() + 64];
    for start in 0..17 {
        for len in [0, 1, 6, 7, 8, 9, 127, 128, needed() + 8] {
            let slice = &mut bytes[start..start + len];
            let end = slice.as_ptr() as usize + len;
            let lease = SliceLease::new(slice);
            assert_eq!(lease.base().as_ptr() as usize % 8, 0);
            assert!(lease.len() + 7 >= len && lease.len() <= len);
            assert!(
                lease.is_empty() || lease.base().as_ptr() as usize + lease.len() == end,
                "it ends where the slice ends"
            );
            if len > needed() {
                let ring: Ring<_> = Ring::format(lease, CONFIG).unwrap();
                let mut writer = Writer::claim(&ring).unwrap();
                for _ in 0..8 {
                    writer.write(&[start as u8; 20]).unwrap();
                }
            } else {
                assert!(matches!(Ring::<_>::format(lease, CONFIG), Err(ConfigError::LeaseTooSmall { .. })));
                let lease = SliceLease::new(&mut bytes[start..start + len]);
                assert!(matches!(Ring::<_>::attach(lease), Err(AttachError::TooShort { .. } | AttachError::NotARing)));
            }
        }
    }
    let lease = SliceLease::new(&mut bytes).with_id(LeaseId::new(77)).with_epoch(Epoch::new(9));
    assert_eq!((lease.id(), lease.epoch(), lease.check()), (LeaseId::new(77), Epoch::new(9), Ok(())));
}

// ---- pools

/// What both pools' leases can do besides.
trait Detach: Lease {
    fn leave(self) -> LeaseId;
}

impl<const N: usize, C> Detach for SlicePoolLease<'_, N, C> {
    fn leave(self) -> LeaseId {
        self.detach()
    }
}

impl Detach for HeapLease {
    fn leave(self) -> LeaseId {
        self.detach()
    }
}

fn contents<L: Lease>(lease: &L) -> Vec<u8> {
    let mut bytes = vec![0; lease.len()];
    #[allow(unsafe_code, reason = "the lease's bytes")]
    // SAFETY: the lease's promise; nobody else has the bytes.
    unsafe {
        std::ptr::copy_nonoverlapping(lease.base().as_ptr(), bytes.as_mut_ptr(), bytes.len());
    }
    bytes
}

fn dirty<L: Lease>(lease: &L) {
    #[allow(unsafe_code, reason = "the lease's bytes")]
    // SAFETY: as above.
    unsafe {
        lease.base().as_ptr().write_bytes(0xdd, lease.len());
    }
}

/// What every pool of at least 4 KiB and 4 leases does.
fn pool_rules<P: Pool>(pool: &P, clock: &ManualClock)
where
    P::Lease: Detach,
{
    // Bytes: enough, zeroed, aligned, nobody else's; ids of their own.
    let a = pool.acquire(1000, ms(100)).unwrap();
    let b = pool.acquire(1, ms(100)).unwrap();
    assert!(a.len() >= 1000 && b.len() >= 1 && a.id() != b.id());
    for lease in [&a, &b] {
        assert_eq!((lease.base().as_ptr() as usize % 128, lease.len() % 128), (0, 0));
        assert!(contents(lease).iter().all(|byte| *byte == 0));
        assert_eq!((lease.check(), lease.expires_at()), (Ok(()), clock.now().plus(ms(100))));
    }
    let apart = |a: &P::Lease, b: &P::Lease| {
        let (at, bt) = (a.base().as_ptr() as usize, b.base().as_ptr() as usize);
        at + a.len() <= bt || bt + b.len() <= at
    };
    assert!(apart(&a, &b));
    dirty(&a);
    assert!(contents(&b).iter().all(|byte| *byte == 0));
    drop(a);
    let a = pool.acquire(1000, ms(100)).unwrap();
    assert!(contents(&a).iter().all(|byte| *byte == 0), "used bytes are handed out zeroed");
    assert!(a.id() != b.id());
    assert_eq!(pool.attach(a.id()).map(|_| ()), Err(LeaseError::InUse));
    assert_eq!(pool.attach(LeaseId::new(0xdead)).map(|_| ()), Err(LeaseError::Unknown));

    // Time: renewed leases go on, the others end when somebody looks, and stay ended.
    clock.advance(ms(60));
    let until = clock.now().plus(ms(100));
    assert_eq!(pool.renew(a.id(), ms(100)), Ok(until));
    assert_eq!(a.expires_at(), until);
    assert_eq!(pool.renew(a.id(), ms(1)), Ok(until), "a renewal takes no time away");
    clock.advance(ms(40));
    assert_eq!(b.check(), Ok(()), "the end is an event that the pool records");
    assert_eq!(pool.sweep(), 1);
    assert_eq!(pool.sweep(), 0);
    assert_eq!((a.check(), b.check()), (Ok(()), Err(LeaseError::Expired)));
    assert_eq!(pool.renew(b.id(), ms(100)), Err(LeaseError::Expired));
    assert_eq!(pool.fence(b.id()), Err(LeaseError::Expired));
    assert_eq!(pool.revoke(b.id()), Ok(()));
    assert_eq!(b.check(), Err(LeaseError::Expired), "the first end stays");
    assert_eq!(pool.attach(b.id()).map(|_| ()), Err(LeaseError::InUse));
    drop(b);

    // A holder that lets go, and the next one.
    dirty(&a);
    let (id, epoch) = (a.id(), a.epoch());
    assert_eq!(a.leave(), id);
    let a = pool.attach(id).unwrap();
    assert_eq!((a.id(), a.epoch().value(), a.check()), (id, epoch.value() + 1, Ok(())));
    assert!(contents(&a).iter().all(|byte| *byte == 0xdd), "what was in it is there");
    assert_eq!(a.expires_at(), until);

    // Fenced: the holder is finished, the next one goes on under the epoch that was answered.
    let next = pool.fence(id).unwrap();
    assert_eq!(next.value(), a.epoch().value() + 1);
    assert_eq!(a.check(), Err(LeaseError::Fenced));
    assert_eq!(pool.fence(id), Ok(next), "twice is once");
    assert_eq!(pool.renew(id, ms(1000)), Err(LeaseError::Fenced));
    assert_eq!(pool.attach(id).map(|_| ()), Err(LeaseError::InUse), "the old holder is still there");
    a.leave();
    let a = pool.attach(id).unwrap();
    assert_eq!((a.epoch(), a.check()), (next, Ok(())));
    assert!(contents(&a).iter().all(|byte| *byte == 0xdd));

    // Revoked.
    assert_eq!(pool.revoke(id), Ok(()));
    assert_eq!(a.check(), Err(LeaseError::Revoked));
    assert_eq!(pool.fence(id), Err(LeaseError::Revoked));
    drop(a);
    assert_eq!(pool.attach(id).map(|_| ()), Err(LeaseError::Unknown));
    for gone in [pool.revoke(id), pool.renew(id, ms(1)).map(|_| ()), pool.fence(id).map(|_| ())] {
        assert_eq!(gone, Err(LeaseError::Unknown));
    }
    // Detached and revoked: gone at once. Detached and out of time: gone when somebody looks.
    let id = pool.acquire(128, ms(10)).unwrap().leave();
    assert_eq!(pool.revoke(id), Ok(()));
    assert_eq!(pool.attach(id).map(|_| ()), Err(LeaseError::Unknown));
    let id = pool.acquire(128, ms(10)).unwrap().leave();
    clock.advance(ms(10));
    assert_eq!(pool.attach(id).map(|_| ()), Err(LeaseError::Expired));
    assert_eq!(pool.sweep(), 0, "its end was recorded by the look before");
    assert_eq!(pool.attach(id).map(|_| ()), Err(LeaseError::Unknown));
    // One that never ends.
    let always = pool.acquire(128, Ticks::MAX).unwrap();
    clock.advance(ms(u64::from(u32::MAX)));
    assert_eq!((pool.sweep(), always.check(), always.expires_at()), (0, Ok(()), Ticks::MAX));
}

#[test]
fn a_slice_pool_keeps_the_rules() {
    let (mut bytes, clock) = (vec![0; 8192], ManualClock::new());
    let pool: SlicePool<'_, 4, _> = SlicePool::new(&mut bytes, &clock);
    pool_rules(&&pool, &clock);
}

#[test]
fn a_heap_pool_keeps_the_rules() {
    let clock = Arc::new(ManualClock::new());
    let pool = HeapPool::new(Arc::clone(&clock));
    pool_rules(&pool, &clock);
    assert_eq!(pool.leased_bytes(), 0, "everything came back");
}

/// Whoever fences a holder wants to take over what it wrote: an old holder that just drops its lease must not destroy it.
fn a_fenced_holder_leaves_the_log<P: Pool>(pool: &P) {
    let lease = pool.acquire(needed(), Ticks::MAX).unwrap();
    let id = lease.id();
    let ring: Ring<_> = Ring::format(lease, CONFIG).unwrap();
    Writer::claim(&ring).unwrap().write(b"kept").unwrap();
    let next = pool.fence(id).unwrap();
    drop(ring);
    let lease = pool.attach(id).expect("fencing is for taking over");
    assert_eq!(lease.epoch(), next);
    let ring: Ring<_> = Ring::attach(lease).unwrap();
    assert_eq!(ring.tail().value(), 1);
}

/// Nobody came to take over: the bytes are not held for ever.
fn a_fenced_lease_ends_in_time<P: Pool>(pool: &P, clock: &ManualClock) {
    let lease = pool.acquire(4096, ms(50)).unwrap();
    let id = lease.id();
    pool.fence(id).unwrap();
    drop(lease);
    clock.advance(ms(50));
    pool.sweep();
    let answer = pool.attach(id).map(|_| ());
    assert!(matches!(answer, Err(LeaseError::Expired | LeaseError::Unknown)), "{answer:?}");
    assert!(pool.acquire(4096, ms(50)).is_ok(), "the bytes are free again");
}

#[test]
fn a_fenced_lease_that_nobody_takes_over_ends_in_time() {
    let (mut bytes, clock) = (vec![0; 4096 + 127], ManualClock::new());
    let pool: SlicePool<'_, 4, _> = SlicePool::new(&mut bytes, &clock);
    a_fenced_lease_ends_in_time(&&pool, &clock);
    a_fenced_lease_ends_in_time(&HeapPool::new(&clock).with_limit(4096), &clock);
}

#[test]
fn a_fenced_holder_that_goes_leaves_the_log() {
    let (mut bytes, clock) = (vec![0; 8192], ManualClock::new());
    let pool: SlicePool<'_, 4, _> = SlicePool::new(&mut bytes, &clock);
    a_fenced_holder_leaves_the_log(&&pool);
    a_fenced_holder_leaves_the_log(&HeapPool::new(&clock));
}

#[test]
fn a_slice_pool_cuts_first_fit_and_uses_gaps_again() {
    let (mut bytes, clock) = (vec![0; 128 * 11 + 127], ManualClock::new());
    let pool: SlicePool<'_, 4, _> = SlicePool::new(&mut bytes, &clock);
    let pool = &pool;
    let base = |lease: &SlicePoolLease<'_, 4, _>| lease.base().as_ptr() as usize;
    let a = pool.acquire(256, Ticks::MAX).unwrap();
    let b = pool.acquire(3 * 128 - 5, Ticks::MAX).unwrap();
    let c = pool.acquire(100, Ticks::MAX).unwrap();
    assert_eq!((a.len(), b.len(), c.len()), (256, 384, 128));
    assert_eq!((base(&b) - base(&a), base(&c) - base(&b)), (256, 384));
    let gap = base(&b);
    drop(b);
    // The first gap that is large enough, from its start.
    let d = pool.acquire(4 * 128, Ticks::MAX).unwrap();
    assert_eq!(base(&d), base(&c) + 128);
    let e = pool.acquire(2 * 128, Ticks::MAX).unwrap();
    assert_eq!(base(&e), gap);
    // No place for a fifth, though there are bytes.
    assert_eq!(pool.acquire(128, Ticks::MAX).map(|_| ()), Err(LeaseError::CapacityExceeded));
    drop(c);
    let c = pool.acquire(256, Ticks::MAX).unwrap();
    assert_eq!(base(&c), gap + 256, "neighbouring gaps are one");
    drop((a, c, d, e));
    // All of it, and not a byte more.
    assert_eq!(pool.acquire(11 * 128 + 1, Ticks::MAX).map(|_| ()), Err(LeaseError::CapacityExceeded));
    assert_eq!(pool.acquire(usize::MAX, Ticks::MAX).map(|_| ()), Err(LeaseError::CapacityExceeded));
    assert!(pool.acquire(11 * 128, Ticks::MAX).unwrap().len() >= 11 * 128 - 128);
    // Nothing, in nothing.
    let none: SlicePool<'_, 1, _> = SlicePool::new(&mut [], &clock);
    assert_eq!((&none).acquire(1, Ticks::MAX).map(|_| ()), Err(LeaseError::CapacityExceeded));
}

#[test]
fn pools_against_a_model() {
    let mut passed = 0;
    common::with_seeds("pools", 0x7000_0000, 40 * scale(), |seed| {
        let mut rng = Rng::new(seed);
        let clock = ManualClock::new();
        let mut bytes = vec![0; 128 * 40];
        let pool: SlicePool<'_, 8, _> = SlicePool::new(&mut bytes, &clock);
        let pool = &pool;
        let mut held: Vec<(SlicePoolLease<'_, 8, _>, u8, u64)> = Vec::new();
        let mut left: Vec<(LeaseId, u8, u64)> = Vec::new();
        for _ in 0..300 {
            passed += 1;
            let now = clock.now().as_millis();
            match rng.below(8) {
                0..=2 => {
                    if let Ok(lease) = pool.acquire(rng.size(900), ms(50)) {
                        let mark = rng.next() as u8;
                        #[allow(unsafe_code, reason = "the lease's bytes")]
                        // SAFETY: the lease's promise.
                        unsafe {
                            lease.base().as_ptr().write_bytes(mark, lease.len());
                        }
                        held.push((lease, mark, now + 50));
                    }
                }
                3 if !held.is_empty() => drop(held.swap_remove(rng.size(held.len()))),
                4 if !held.is_empty() => {
                    let (lease, mark, until) = held.swap_remove(rng.size(held.len()));
                    left.push((lease.detach(), mark, until));
                }
                5 if !left.is_empty() => {
                    let (id, mark, until) = left.swap_remove(rng.size(left.len()));
                    match pool.attach(id) {
                        Ok(lease) => {
                            assert!(now < until);
                            held.push((lease, mark, until));
                        }
                        Err(error) => {
                            assert!(now >= until, "{error}");
                            assert!(matches!(error, LeaseError::Expired | LeaseError::Unknown));
                        }
                    }
                }
                6 if !held.is_empty() => {
                    let (lease, _, until) = rng.pick(&held);
                    let (id, until) = (lease.id(), *until);
                    match pool.renew(id, ms(80)) {
                        Ok(at) => {
                            assert!(now < until);
                            held.iter_mut().find(|(lease, ..)| lease.id() == id).unwrap().2 = at.as_millis();
                        }
                        Err(error) => assert!(now >= until && error == LeaseError::Expired),
                    }
                }
                _ => clock.advance(ms(rng.below(12))),
            }
            if rng.one_in(10) {
                pool.sweep();
                let now = clock.now().as_millis();
                for (lease, _, until) in &held {
                    assert_eq!(lease.check().is_ok(), now < *until);
                }
            }
            for (lease, mark, _) in &held {
                assert!(contents(lease).iter().all(|byte| byte == mark), "somebody else wrote here");
            }
        }
    });
    println!("pools: passed {passed} operations");
}

#[test]
fn a_heap_pool_keeps_its_limit_and_its_clones_are_one() {
    let clock = Arc::new(ManualClock::new());
    let pool = HeapPool::new(Arc::clone(&clock)).with_limit(4096);
    let clone = pool.clone();
    let lease = pool.acquire(4000, ms(10)).unwrap();
    assert_eq!((pool.leased_bytes(), clone.leased_bytes()), (4096, 4096));
    assert_eq!(clone.acquire(1, ms(10)).map(|_| ()), Err(LeaseError::CapacityExceeded));
    let id = lease.detach();
    let lease = clone.attach(id).unwrap();
    clock.advance(ms(10));
    assert_eq!((pool.sweep(), lease.check()), (1, Err(LeaseError::Expired)));
    assert_eq!(
        pool.acquire(1, ms(10)).map(|_| ()),
        Err(LeaseError::CapacityExceeded),
        "bytes with a holder are not free"
    );
    drop(lease);
    assert_eq!(pool.leased_bytes(), 0);
    assert_eq!(pool.acquire(usize::MAX, ms(10)).map(|_| ()), Err(LeaseError::CapacityExceeded));
    assert_eq!(pool.acquire(usize::MAX - 200, ms(10)).map(|_| ()), Err(LeaseError::CapacityExceeded));
    assert_eq!(pool.leased_bytes(), 0);
    // The bytes of a lease outlive its pool.
    let lease = pool.acquire(needed(), Ticks::MAX).unwrap();
    drop((pool, clone));
    let ring: Ring<_> = Ring::format(lease, CONFIG).unwrap();
    assert!(Writer::claim(&ring).unwrap().write(b"here").is_ok());

    let pool = HeapPool::new(Arc::new(ManualClock::new())).with_limit(1 << 16);
    let taken: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3_u64)
            .map(|seed| {
                let pool = &pool;
                scope.spawn(move || {
                    let (mut rng, mut held, mut taken) = (Rng::new(seed), Vec::new(), 0);
                    for _ in 0..500 * scale() {
                        match pool.acquire(rng.size(20_000), Ticks::MAX) {
                            Ok(lease) => {
                                taken += 1;
                                held.push(lease);
                            }
                            Err(error) => {
                                assert_eq!(error, LeaseError::CapacityExceeded);
                                held.clear();
                            }
                        }
                        assert!(pool.leased_bytes() <= 1 << 16);
                        if rng.one_in(2) {
                            held.pop();
                        }
                    }
                    taken
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(pool.leased_bytes(), 0);
    println!("heap pool, threads: passed {taken} operations");
}

// ---- what a lease that has ended refuses

/// Brings a lease to its end in one of three ways.
fn ends() -> [(LeaseError, fn(&HeapPool<Arc<ManualClock>>, LeaseId)); 3] {
    [
        (LeaseError::Expired, |pool, _| {
            pool.clock().advance(ms(1000));
            assert_eq!(pool.sweep(), 1);
        }),
        (LeaseError::Fenced, |pool, id| {
            pool.fence(id).unwrap();
        }),
        (LeaseError::Revoked, |pool, id| pool.revoke(id).unwrap()),
    ]
}

fn leased<K: Keep>() -> (HeapPool<Arc<ManualClock>>, LeaseId, Ring<HeapLease, K>) {
    let pool = HeapPool::new(Arc::new(ManualClock::new()));
    let lease = pool.acquire(needed(), ms(1000)).unwrap();
    let id = lease.id();
    (pool, id, Ring::format(lease, CONFIG).unwrap())
}

#[test]
fn nothing_is_written_through_a_lease_that_has_ended() {
    let mut passed = 0;
    for (why, end) in ends() {
        let refused = Err(WriteError::Lease(why));
        // Single writes, of every kind, of every size that there is room for or not.
        {
            let (pool, id, ring) = leased::<Retain>();
            let mut writer = Writer::claim(&ring).unwrap();
            writer.write(b"before").unwrap();
            end(&pool, id);
            for len in [0, 1, 100, 128] {
                assert_eq!(writer.write(&vec![0; len]).map(|_| ()), refused);
                assert_eq!(writer.write_tagged(1, &vec![0; len]).map(|_| ()), refused);
                assert_eq!(writer.write_parts(1, &[&vec![0; len]]).map(|_| ()), refused);
                assert_eq!(writer.reserve(len).map(|_| ()), refused);
                passed += 4;
            }
            assert_eq!(ring.tail().value(), 1, "{why:?}: nothing of what was refused is seen");
            drop(writer);
            assert_eq!(Writer::claim(&ring).map(|_| ()), refused);
            assert_eq!(SharedWriter::claim(&ring).map(|_| ()), refused);
            assert_eq!(Reader::join(&ring, "late", Start::Earliest).map(|_| ()), Err(JoinError::Lease(why)));
            assert_eq!(ring.tail().value(), 1);
        }
        // Under way when the lease ends: a grant, a batch.
        {
            let (pool, id, ring) = leased::<Retain>();
            let mut writer = Writer::claim(&ring).unwrap();
            let mut grant = writer.reserve(20).unwrap();
            grant.bytes().fill(1);
            end(&pool, id);
            assert_eq!(grant.commit(20).map(|_| ()), refused);
            assert_eq!(ring.tail().value(), 0);
            passed += 1;
        }
        {
            let (pool, id, ring) = leased::<Retain>();
            let mut writer = Writer::claim(&ring).unwrap();
            writer.write(b"before").unwrap();
            let mut batch = writer.batch();
            batch.write(b"one").unwrap();
            batch.write(b"two").unwrap();
            end(&pool, id);
            assert_eq!(batch.publish().map(|_| ()), refused);
            assert_eq!(ring.tail().value(), 1, "{why:?}: nothing of the batch is seen");
            assert_eq!(writer.write(b"three").map(|_| ()), refused);
            drop(writer);
            // What was committed before is still there to be read; then the reader is told.
            passed += 2;
            if why == LeaseError::Fenced {
                let lease = ring.into_lease();
                let _ = lease.detach();
                let ring: Ring<_> = Ring::attach(pool.attach(id).unwrap()).unwrap();
                assert_eq!((ring.tail().value(), ring.epoch()), (1, Epoch::new(2)));
                let mut reader = Reader::join(&ring, "r", Start::Earliest).unwrap();
                assert_eq!(reader.next().unwrap().unwrap().payload(), b"before");
                assert!(reader.next().unwrap().is_none());
            }
        }
        {
            let (pool, id, ring) = leased::<Overwrite>();
            let writer = SharedWriter::claim(&ring).unwrap();
            writer.write(b"before").unwrap();
            let mut reader = Reader::join(&ring, "r", Start::Earliest).unwrap();
            end(&pool, id);
            assert_eq!(writer.write(b"after").map(|_| ()), refused);
            assert_eq!(writer.write_parts(1, &[b"af", b"ter"]).map(|_| ()), refused);
            assert_eq!(ring.tail().value(), 1);
            assert_eq!(reader.copy_next(&mut [0; 8]).unwrap().unwrap().len(), 6, "what was committed is read");
            assert_eq!(reader.copy_next(&mut [0; 8]), Err(ReadError::Lease(why)));
            assert_eq!(reader.seek(Offset::new(0)), Err(SeekError::Lease(why)));
            passed += 5;
        }
        {
            let (pool, id, ring) = leased::<Retain>();
            Writer::claim(&ring).unwrap().write(b"before").unwrap();
            let mut reader = Reader::join(&ring, "r", Start::Earliest).unwrap();
            end(&pool, id);
            assert_eq!(reader.next().unwrap().unwrap().payload(), b"before");
            assert_eq!(reader.next().map(|_| ()), Err(ReadError::Lease(why)));
            assert_eq!(reader.for_each(1, |_| {}).map(|_| ()), Err(ReadError::Lease(why)));
            passed += 3;
        }
    }
    println!("ended leases: passed {passed} operations");
}

/// Once a look has answered that the lease is fenced, its memory may be somebody else's: nothing is stored any more but
/// what was under way, and none of that is visible.
#[test]
fn a_fenced_writer_on_shared_memory_leaves_nothing_behind() {
    let (mut passed, mut ended) = (0, 0);
    for looks in 0..60 {
        // It ends after so many looks: so at any point of an operation that looks.
        let left = Cell::new(1000);
        let memory = Owned::<Cooperative>::new(needed());
        let ring: Ring<_> = Ring::format(Hooked::new(memory, fenced_after(&left)), CONFIG).unwrap();
        let mut writer = Writer::claim(&ring).unwrap();
        let mut acknowledged = 0;
        left.set(looks);
        for round in 0..8 {
            let answer = match round % 3 {
                0 => writer.write(&[7; 9]).map(|_| 1),
                1 => {
                    let mut batch = writer.batch();
                    let _ = batch.write(&[8; 9]);
                    let _ = batch.write(&[8; 9]);
                    batch.publish()
                }
                _ => writer.reserve(9).and_then(|grant| grant.commit(3)).map(|_| 1),
            };
            match answer {
                Ok(records) => acknowledged += records as u64,
                Err(WriteError::Lease(LeaseError::Fenced)) => {
                    let before = ring.lease().inner().image();
                    let claim = image::u32_at(&before, image::CLAIM);
                    assert_eq!(claim, 1);
                    for _ in 0..3 {
                        assert!(writer.write(b"x").is_err() && writer.reserve(1).is_err());
                    }
                    drop(writer);
                    let after = ring.lease().inner().image();
                    assert!(
                        before[..] == after[..256] || before[..384] == after[..384],
                        "a fenced writer stored something"
                    );
                    assert_eq!(image::u32_at(&after, image::CLAIM), 1, "the claim may be the next writer's");
                    ended += 1;
                    break;
                }
                Err(WriteError::Full) => break,
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(ring.tail().value(), acknowledged, "what is visible is what was acknowledged");
        passed += 1;
    }
    assert!(ended > 5, "{ended} were fenced while they wrote");
    println!("fenced on shared memory: passed {passed} operations");
}

// ---- every error there is

fn image_of<K: Keep>(records: usize) -> Vec<u8> {
    let ring: Ring<_, K> = Ring::format(Owned::<Exclusive>::new(needed()).with_epoch(4), CONFIG).unwrap();
    let mut writer = Writer::claim(&ring).unwrap();
    for index in 0..records {
        writer.write(&[index as u8; 10]).unwrap();
    }
    drop(writer);
    ring.into_lease().image()
}

fn attach<K: Keep>(image: &[u8]) -> Result<(), AttachError> {
    Ring::<_, K>::attach(Owned::<Exclusive>::of(image).with_epoch(4)).map(|_| ())
}

fn corrupt<K: Keep>(image: &[u8]) -> (Check, u64) {
    match attach::<K>(image) {
        Err(AttachError::Corrupt(damage)) => (damage.check(), damage.offset().value()),
        other => panic!("{other:?}"),
    }
}

/// What an error says: one sentence, in ASCII, without a full stop.
fn says(error: &dyn std::error::Error, text: &str) {
    assert_eq!(error.to_string(), text);
    assert!(text.is_ascii() && !text.ends_with('.') && !text.ends_with('\n') && text.len() > 10);
}

#[test]
fn config_errors() {
    let format = |config: RingConfig, len: usize| {
        Ring::<_>::format(Owned::<Exclusive>::new(len), config).map(|_| ()).expect_err("no such ring")
    };
    let small = format(CONFIG, needed() - 1);
    assert_eq!(small, ConfigError::LeaseTooSmall { needed: 896, found: 895 });
    says(&small, "the lease has 895 bytes but the ring needs 896: lease more, or ask for fewer slots or bytes");
    for readers in [0, 65, 255] {
        let error = format(CONFIG.with_readers(readers), 1 << 20);
        assert_eq!(
            (error, CONFIG.with_readers(readers).lease_bytes()),
            (ConfigError::Readers, Err(ConfigError::Readers))
        );
    }
    says(&ConfigError::Readers, "a ring has 1 to 64 readers");
    for (slots, bytes) in
        [(0, 64), (1, 64), (3, 64), (1 << 29, 64), (8, 0), (8, 8), (8, 100), (8, 1 << 31 | 1), (u32::MAX, 64)]
    {
        assert_eq!(RingConfig::new(slots, bytes).lease_bytes(), Err(ConfigError::Size), "{slots} {bytes}");
        assert_eq!(format(RingConfig::new(slots, bytes), 4096), ConfigError::Size);
    }
    says(
        &ConfigError::Size,
        "slots are a power of two from 2 to 2^28, bytes one from 16 to 2^31, and the target must be able to address them",
    );
    for good in [RingConfig::new(2, 16), RingConfig::new(2, 16).with_readers(64), RingConfig::new(1 << 20, 1 << 24)] {
        assert!(good.lease_bytes().is_ok());
    }
    assert_eq!(Ring::<_>::format(crooked(), CONFIG).map(|_| ()), Err(ConfigError::Unaligned));
    says(&ConfigError::Unaligned, "the lease does not start at a multiple of 8 bytes: align its memory");
}

/// A lease that breaks its promise: the ring looks before it believes.
fn crooked() -> SliceLease<'static, Cooperative> {
    static MEMORY: StaticLease<2048> = StaticLease::new();
    let base = std::sync::OnceLock::new();
    let base: &usize = base.get_or_init(|| {
        static BASE: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
        *BASE.get_or_init(|| {
            let grant = std::mem::ManuallyDrop::new(MEMORY.claim().unwrap());
            grant.base().as_ptr() as usize
        })
    });
    let base = NonNull::new((*base + 4) as *mut u8).unwrap();
    #[allow(unsafe_code, reason = "a promise that is broken on purpose")]
    // SAFETY: valid for that many bytes, but not aligned: nothing is read or written before that is noticed.
    unsafe {
        SliceLease::cooperative(base, 2000)
    }
}

#[test]
fn attach_errors() {
    let image = image_of::<Retain>(5);
    assert_eq!(attach::<Retain>(&image), Ok(()));
    // No ring.
    assert_eq!(attach::<Retain>(&vec![0; needed()]), Err(AttachError::NotARing));
    says(&AttachError::NotARing, "the lease holds no ring: format it");
    // Another version, which is not looked into.
    let mut other = image.clone();
    image::put(&mut other, 8, &2_u16.to_le_bytes());
    let version = AttachError::Version { found: 2, known: 1 };
    assert_eq!(attach::<Retain>(&other), Err(version), "before the checksum: it may have moved");
    says(&version, "the ring has format version 2, this library reads version 1: use a newer one");
    // Features.
    let mut other = image.clone();
    image::put(&mut other, 12, &0x10_u32.to_le_bytes());
    image::seal(&mut other);
    let features = AttachError::Features { needed: 0x10 };
    assert_eq!(attach::<Retain>(&other), Err(features));
    says(&features, "the ring needs features 0x10 that this version does not know: use a newer one");
    // The other kind.
    assert_eq!(attach::<Overwrite>(&image), Err(AttachError::Keep));
    assert_eq!(attach::<Retain>(&image_of::<Overwrite>(3)), Err(AttachError::Keep));
    says(
        &AttachError::Keep,
        "the ring's retention (retain or overwrite) is not the one asked for: attach with the other type",
    );
    // Cut off.
    for len in [896, 895, 512, 384, 128] {
        let found = attach::<Retain>(&image[..len]);
        assert_eq!(found, if len == 896 { Ok(()) } else { Err(AttachError::TooShort { needed: 896, found: len }) });
    }
    for len in [0, 8, 127] {
        assert!(matches!(attach::<Retain>(&image[..len]), Err(AttachError::TooShort { found, .. }) if found == len));
    }
    says(
        &AttachError::TooShort { needed: 896, found: 512 },
        "the lease has 512 bytes but the ring in it 896: it was cut off; lease all of it, or format it again",
    );
    // A newer epoch.
    let fenced = AttachError::Fenced { lease: Epoch::new(3), ring: Epoch::new(4) };
    assert_eq!(Ring::<_>::attach(Owned::<Exclusive>::of(&image).with_epoch(3)).map(|_| ()), Err(fenced));
    assert_eq!(Ring::<_>::attach(Owned::<Cooperative>::of(&image).with_epoch(3)).map(|_| ()), Err(fenced));
    says(
        &fenced,
        "the ring was written under epoch 4, newer than the lease's 3: this lease is out of date, acquire a newer one",
    );
    // Each attach that may write raises the epoch: the one before is out of date.
    let ring: Ring<_> = Ring::attach(Owned::<Exclusive>::of(&image).with_epoch(9)).unwrap();
    assert!(matches!(attach::<Retain>(&ring.into_lease().image()), Err(AttachError::Fenced { .. })));
    // The lease's end.
    let pool = HeapPool::new(Arc::new(ManualClock::new()));
    let lease = pool.acquire(needed(), ms(5)).unwrap();
    pool.revoke(lease.id()).unwrap();
    let ended = AttachError::Lease(LeaseError::Revoked);
    assert_eq!(Ring::<_>::attach(lease).map(|_| ()), Err(ended));
    says(&ended, "the lease was revoked by its pool: acquire a new one");
    assert_eq!(Ring::<_>::attach(crooked()).map(|_| ()), Err(AttachError::Unaligned));
    says(&AttachError::Unaligned, "the lease does not start at a multiple of 8 bytes: align its memory");
}

#[test]
fn damage_is_named() {
    let image = image_of::<Retain>(5);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut other = image.clone();
        change(&mut other);
        other
    };
    assert_eq!(corrupt::<Retain>(&with(&|image| image[30] ^= 1)).0, Check::SuperblockCrc);
    for (at, value) in [(10, 64), (16, 2), (17, 0), (17, 29), (18, 0), (18, 29), (19, 0), (19, 65)] {
        let other = with(&|image| {
            image[at] = value;
            image::seal(image);
        });
        let expected = if at == 16 {
            // Of a third kind: neither of the two that there are.
            matches!(attach::<Retain>(&other), Err(AttachError::Corrupt(damage)) if damage.check() == Check::Geometry)
        } else {
            corrupt::<Retain>(&other).0 == Check::Geometry
        };
        assert!(expected, "byte {at} = {value}: {:?}", attach::<Retain>(&other));
    }
    assert_eq!(corrupt::<Retain>(&with(&|image| image::put_counter(image, image::HEAD, u64::MAX))).0, Check::Head);
    assert_eq!(corrupt::<Retain>(&with(&|image| image::put_counter(image, image::HEAD, 3 << 32))).0, Check::Head);
    // Two payloads at the same place.
    let twice = with(&|image| {
        let entry = image::entry(image, 1);
        image::put_entry(image, 2, Entry::new(2, entry.extent, entry.position, 0));
    });
    assert_eq!(corrupt::<Retain>(&twice), (Check::Extent, 1));

    // What only reading shows.
    let read = |image: &[u8]| {
        let ring: Ring<_> = Ring::attach(Owned::<Cooperative>::of(image).with_epoch(4)).unwrap();
        let mut reader = Reader::join(&ring, "r", Start::Earliest).unwrap();
        let mut read = 0;
        let error = loop {
            match reader.copy_next(&mut [0; 128]) {
                Ok(record) => read += record.expect("damage comes first").len() / 10,
                Err(ReadError::Corrupt(damage)) => break damage,
                Err(other) => panic!("{other}"),
            }
        };
        assert_eq!(reader.next_offset().value(), 3, "the reader stays before the damage");
        assert_eq!((read, error.offset()), (3, Offset::new(3)));
        // And may go round it.
        reader.seek(Offset::new(4)).unwrap();
        assert!(reader.next().unwrap().is_some());
        // In place, or many at once, it is the same.
        reader.seek(Offset::new(0)).unwrap();
        let mut seen = 0;
        assert_eq!(reader.for_each(9, |_| seen += 1), Err(ReadError::Corrupt(error)));
        assert_eq!((seen, reader.next().map(|_| ())), (3, Err(ReadError::Corrupt(error))));
        error
    };
    let slot = read(&with(&|image| {
        let at = image::Shape::of(image).slot_at(3) + 12;
        image[at] ^= 0x40;
    }));
    assert_eq!(slot.check(), Check::Slot);
    says(
        &ReadError::Corrupt(slot),
        "the ring is damaged: a slot's check word does not match (offset 3); seek behind it to go on, or format the lease again",
    );
    let extent = read(&with(&|image| {
        let entry = image::entry(image, 3);
        image::put_entry(image, 3, Entry::new(3, 250, entry.position + 3, 0));
    }));
    assert_eq!(extent.check(), Check::Extent);
    says(
        &ReadError::Corrupt(extent),
        "the ring is damaged: a slot points outside the ring (offset 3); seek behind it to go on, or format the lease again",
    );
    let stamp = {
        let image = with(&|image| {
            let at = image::Shape::of(image).slot_at(3);
            image::put(image, at, &77_u32.to_le_bytes());
        });
        let ring: Ring<_> = Ring::attach(Owned::<Cooperative>::of(&image).with_epoch(4)).unwrap();
        let mut reader = Reader::join(&ring, "r", Start::Earliest).unwrap();
        let mut seen = 0;
        let Err(ReadError::Corrupt(damage)) = reader.for_each(9, |_| seen += 1) else { panic!("a stamp of nobody") };
        assert_eq!(seen, 3);
        damage
    };
    assert_eq!((stamp.check(), stamp.offset()), (Check::Stamp, Offset::new(3)));
    says(
        &ReadError::Corrupt(stamp),
        "the ring is damaged: a slot's stamp belongs to no record (offset 3); seek behind it to go on, or format the lease again",
    );
}

#[test]
fn lease_errors() {
    for (error, text) in [
        (LeaseError::CapacityExceeded, "the pool has no room for this lease: release one, or ask for fewer bytes"),
        (LeaseError::Disconnected, "the leased memory cannot be reached: try again"),
        (
            LeaseError::Indeterminate,
            "the connection to the leased memory broke before it answered: attach again, and look whether the last record is there",
        ),
        (LeaseError::Expired, "the lease has expired: acquire a new one, and renew it before its time is over"),
        (LeaseError::Fenced, "the lease is fenced: a newer holder has taken over, this one is finished"),
        (LeaseError::InUse, "the leased memory is held by somebody: drop that holder first"),
        (
            LeaseError::Io(5),
            "the operating system refused with code 5: put right what that errno stands for, and try again",
        ),
        (LeaseError::Revoked, "the lease was revoked by its pool: acquire a new one"),
        (LeaseError::Unknown, "the pool knows no lease of this id: acquire one, or ask the pool that has it"),
        (LeaseError::Unsupported, "this kind of lease cannot do that: take one of a kind that can"),
    ] {
        says(&error, text);
        says(&WriteError::from(error), text);
        says(&ReadError::from(error), text);
        says(&JoinError::from(error), text);
        says(&SeekError::from(error), text);
        says(&AttachError::from(error), text);
    }
}

#[test]
fn write_errors() {
    let ring: Ring<_> = Ring::format(Owned::<Exclusive>::new(needed()), CONFIG).unwrap();
    let mut writer = Writer::claim(&ring).unwrap();
    assert_eq!(Writer::claim(&ring).map(|_| ()), Err(WriteError::Claimed));
    says(
        &WriteError::Claimed,
        "another writer holds the ring: there is one at a time; drop it, or share it as a SharedWriter",
    );
    let large = WriteError::TooLarge { len: 129, max: 128 };
    assert_eq!(writer.write(&[0; 129]).map(|_| ()), Err(large));
    assert_eq!(writer.reserve(129).map(|_| ()), Err(large));
    assert_eq!(writer.batch().write(&[0; 129]).map(|_| ()), Err(large));
    assert_eq!(writer.write_parts(0, &[&[0; 100], &[0; 29]]).map(|_| ()), Err(large));
    let grant = writer.reserve(16).unwrap();
    assert_eq!(grant.commit(17).map(|_| ()), Err(WriteError::TooLarge { len: 17, max: 16 }));
    says(&large, "a record of 129 bytes is larger than the ring takes (128): split it, or give the ring more bytes");
    while writer.write(&[1; 30]).is_ok() {}
    assert_eq!(writer.write(&[1; 30]).map(|_| ()), Err(WriteError::Full));
    says(&WriteError::Full, "the ring is full: readers must release records first, or choose another full policy");
    drop(writer);
    // Damage where the room of the oldest record would be told.
    let mut image = ring.into_lease().image();
    let at = image::Shape::of(&image).slot_at(0);
    image[at + 9] ^= 4;
    let ring: Ring<_> = Ring::attach(Owned::<Cooperative>::of(&image)).unwrap();
    let Err(WriteError::Corrupt(damage)) = Writer::claim(&ring).unwrap().write(&[1; 30]) else { panic!("damaged") };
    assert_eq!((damage.check(), damage.offset()), (Check::Slot, Offset::new(0)));
    says(
        &WriteError::Corrupt(damage),
        "the ring is damaged: a slot's check word does not match (offset 0); format the lease again, or recover its data from elsewhere",
    );
    let mut image = image_of::<Retain>(0);
    image::start_at(&mut image, u64::MAX - 17, 0);
    let ring: Ring<_> = Ring::attach(Owned::<Exclusive>::of(&image).with_epoch(4)).unwrap();
    let mut writer = Writer::claim(&ring).unwrap();
    let mut reader = Reader::join(&ring, "r", Start::Earliest).unwrap();
    let error = loop {
        reader.for_each(9, |_| {}).unwrap();
        if let Err(error) = writer.write(b"") {
            break error;
        }
    };
    assert_eq!(error, WriteError::Exhausted);
    says(&error, "the partition has used up its 2^64 offsets: go on in a new one");
}

#[test]
fn read_seek_and_join_errors() {
    let ring: Ring<_, Overwrite> = Ring::format(Owned::<Exclusive>::new(needed()), CONFIG).unwrap();
    let mut writer = Writer::claim(&ring).unwrap();
    let mut reader = Reader::join(&ring, "r", Start::Earliest).unwrap();
    writer.write(&[0; 30]).unwrap();
    let small = ReadError::Buffer { needed: 30 };
    assert_eq!(reader.copy_next(&mut [0; 29]), Err(small));
    says(&small, "the buffer is too small: the record has 30 bytes, give it one of that size");
    assert_eq!(reader.copy_next(&mut [0; 30]).unwrap().unwrap().len(), 30, "the record is still there");
    for _ in 0..20 {
        writer.write(&[0; 8]).unwrap();
    }
    let lost = ring.head().value() - 1;
    assert_eq!(reader.copy_next(&mut [0; 30]), Err(ReadError::Overrun { lost }));
    assert_eq!((reader.next_offset(), reader.lost()), (ring.head(), lost));
    says(
        &ReadError::Overrun { lost: 12 },
        "12 records were overwritten before they were read: read on, or give the ring more room",
    );
    let (head, tail) = (ring.head(), ring.tail());
    assert_eq!(reader.seek(Offset::new(0)), Err(SeekError::Reclaimed { head }));
    assert_eq!(reader.seek(tail.plus(1)), Err(SeekError::Beyond { tail }));
    assert_eq!(reader.next_offset(), head, "the reader stays where it was");
    says(
        &SeekError::Reclaimed { head: Offset::new(13) },
        "the record is gone, its room was used again: the oldest one left is at offset 13, seek there",
    );
    says(
        &SeekError::Beyond { tail: Offset::new(21) },
        "the log ends before that, at offset 21: seek there to read what comes",
    );
    // Joining.
    assert_eq!(Reader::join(&ring, "r", Start::Resume).map(|_| ()), Err(JoinError::Claimed));
    says(&JoinError::Claimed, "a reader of this name is reading at present: drop it, or choose another name");
    let full = JoinError::ReadersFull { limit: 1 };
    assert_eq!(Reader::join(&ring, "other", Start::Resume).map(|_| ()), Err(full));
    says(&full, "all 1 reader places are taken: let one leave, or format the ring with more");
    drop(reader);
    let seek = JoinError::Seek(SeekError::Beyond { tail });
    assert_eq!(Reader::join(&ring, "r", Start::At(tail.plus(1))).map(|_| ()), Err(seek));
    says(&seek, "the log ends before that, at offset 21: seek there to read what comes");
    assert!(Reader::join(&ring, "r", Start::At(tail)).is_ok(), "a refused join takes no place");
    // Names.
    let long = "x".repeat(65);
    for (name, why, text) in [
        ("", NameError::Length { len: 0, max: 64 }, "a name has 1 to 64 bytes, this one has 0"),
        (long.as_str(), NameError::Length { len: 65, max: 64 }, "a name has 1 to 64 bytes, this one has 65"),
        ("..", NameError::Dots, "'.' and '..' are no names: choose another one"),
        ("a/b", NameError::Character { at: 1 }, "the character at 1 is not one of A-Z a-z 0-9 . _ -"),
    ] {
        assert_eq!(Reader::join(&ring, name, Start::Earliest).map(|_| ()), Err(JoinError::Name(why)));
        assert_eq!(ring.forget(name), Err(JoinError::Name(why)));
        says(&why, text);
        says(&JoinError::from(why), text);
    }
}

#[test]
fn a_lease_that_cannot_be_opened_comes_back() {
    let clock = ManualClock::new();
    let pool = HeapPool::new(&clock);
    let id = pool.acquire(needed(), Ticks::MAX).unwrap().id();
    assert_eq!(pool.attach(id).unwrap_err(), LeaseError::Unknown, "dropped is freed");
    let (lease, error) = Ring::<_, Retain>::try_attach(pool.acquire(needed(), Ticks::MAX).unwrap()).unwrap_err();
    assert_eq!(error, AttachError::NotARing);
    let ring: Ring<_> = Ring::format(lease, CONFIG).unwrap();
    Writer::claim(&ring).unwrap().write(b"kept").unwrap();
    let (lease, error) = Ring::<_, Overwrite>::try_attach(ring.into_lease()).unwrap_err();
    assert_eq!(error, AttachError::Keep);
    // By the trait, as those do who know no more of a lease.
    let id = Lease::detach(lease);
    let ring: Ring<_> = Ring::attach(pool.attach(id).unwrap()).unwrap();
    let mut reader = Reader::join(&ring, "main", Start::Earliest).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().payload(), b"kept");
    // A lease of no pool is just dropped.
    assert_eq!(Lease::detach(SliceLease::new(&mut [0; 64]).with_id(LeaseId::new(7))), LeaseId::new(7));
}

/// Memory that two agents lease, one of whom is dead.
struct Seen<'a> {
    memory: &'a Owned<Cooperative>,
    token: u32,
}

#[allow(unsafe_code, reason = "memory for tests")]
// SAFETY: passes on what `Owned` promises; all agents go by the protocol.
unsafe impl Lease for Seen<'_> {
    type Trust = Cooperative;
    fn base(&self) -> NonNull<u8> {
        self.memory.base()
    }
    fn len(&self) -> usize {
        self.memory.len()
    }
    fn token(&self) -> u32 {
        self.token
    }
    fn is_gone(&self, token: u32) -> bool {
        token == 7
    }
}

/// A reader that died on its way in may have been missed by a writer that is asking how far it may go: nobody takes its word
/// for what is held until the writer has asked.
#[test]
fn a_dead_reader_is_not_believed_while_a_writer_asks() {
    const GATE: usize = 152;
    let config = CONFIG.with_readers(2);
    let memory = Owned::<Cooperative>::new(config.lease_bytes().unwrap());
    let agent = |token| Seen { memory: &memory, token };
    let set_gate = |value: u32| {
        #[allow(unsafe_code, reason = "a word of the format")]
        // SAFETY: inside the memory.
        let word = unsafe { memory.base().add(GATE) }.cast::<std::sync::atomic::AtomicU32>();
        #[allow(unsafe_code, reason = "a word of the format")]
        // SAFETY: aligned; touched by atomics only, for as long as the memory lives.
        unsafe { word.as_ref() }.store(value, std::sync::atomic::Ordering::Release);
    };
    let ring: Ring<_> = Ring::format(agent(7), config).unwrap();
    let mut writer = Writer::claim(&ring).unwrap();
    for n in 0..4_u8 {
        writer.write(&[n]).unwrap();
    }
    for name in ["a", "b"] {
        let mut reader = Reader::join(&ring, name, Start::Earliest).unwrap();
        reader.copy_next(&mut [0]).unwrap().unwrap();
        std::mem::forget(reader);
    }
    let other: Ring<_> = Ring::attach(agent(9)).unwrap();
    set_gate(2 * 4 + 1);
    assert_eq!(Reader::join(&other, "a", Start::Resume).map(|_| ()), Err(JoinError::Claimed));
    assert_eq!(other.park_dead(), 0);
    set_gate(0);
    let mut reader = Reader::join(&other, "a", Start::Resume).unwrap();
    let mut buffer = [0];
    assert_eq!(reader.copy_next(&mut buffer).unwrap().map(|record| record.offset().value()), Some(1));
    assert_eq!(Reader::join(&other, "a", Start::Resume).map(|_| ()), Err(JoinError::Claimed), "it lives");
    assert_eq!((other.park_dead(), other.park_dead()), (1, 0));
    assert_eq!(other.forget("b"), Ok(true));
}
