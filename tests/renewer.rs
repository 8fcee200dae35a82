//! Leases are renewed when a part of their time has gone; what cannot be renewed is told.

#![cfg(all(feature = "std", not(loom)))]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::disallowed_types,
    reason = "tests"
)]

use fabric_mq::clock::{Clock, ManualClock, SystemClock};
use fabric_mq::lease::{HeapLease, HeapPool, Lease, Pool, Renewer, Renewing};
use fabric_mq::{Epoch, LeaseError, LeaseId, Ticks};
use std::cell::{Cell, RefCell};
use std::sync::mpsc;
use std::time::{Duration, Instant};

fn ms(ms: u64) -> Ticks {
    Ticks::from_millis(ms)
}

/// A pool that answers what it is told to, and notes what it was asked.
#[derive(Default)]
struct Script {
    now: Cell<u64>,
    answer: Cell<Option<LeaseError>>,
    asked: RefCell<Vec<(u128, u64)>>,
}

impl Pool for &Script {
    type Lease = HeapLease;
    fn acquire(&self, _: usize, _: Ticks) -> Result<HeapLease, LeaseError> {
        Err(LeaseError::Unsupported)
    }
    fn attach(&self, _: LeaseId) -> Result<HeapLease, LeaseError> {
        Err(LeaseError::Unsupported)
    }
    fn renew(&self, id: LeaseId, ttl: Ticks) -> Result<Ticks, LeaseError> {
        self.asked.borrow_mut().push((id.value(), self.now.get()));
        self.answer.get().map_or_else(|| Ok(ms(self.now.get()).plus(ttl)), Err)
    }
    fn revoke(&self, _: LeaseId) -> Result<(), LeaseError> {
        Err(LeaseError::Unsupported)
    }
    fn fence(&self, _: LeaseId) -> Result<Epoch, LeaseError> {
        Err(LeaseError::Unsupported)
    }
    fn sweep(&self) -> usize {
        0
    }
}

/// Polls at `now`; answers when to do so next, and what failed.
fn poll(script: &Script, renewer: &mut Renewer<&Script>, now: u64) -> (Option<u64>, Vec<(u128, LeaseError)>) {
    script.now.set(now);
    let mut failed = Vec::new();
    let next = renewer.poll(ms(now), |id, error| failed.push((id.value(), error)));
    (next.map(Ticks::as_millis), failed)
}

#[test]
fn each_lease_is_renewed_at_its_own_part_of_its_own_time() {
    let script = Script::default();
    for (percent, step) in [(50, 50), (30, 30), (0, 1), (1, 1), (99, 99), (255, 99)] {
        let mut renewer = Renewer::new(&script).with_percent(percent);
        assert_eq!((poll(&script, &mut renewer, 7), renewer.is_empty()), ((None, vec![]), true));
        renewer.keep(LeaseId::new(1), ms(100));
        assert_eq!(poll(&script, &mut renewer, 1000), (Some(1000 + step), vec![]), "{percent}");
    }
    script.asked.borrow_mut().clear();
    let mut renewer = Renewer::new(&script);
    renewer.keep(LeaseId::new(1), ms(100));
    renewer.keep(LeaseId::new(2), ms(30));
    assert_eq!((renewer.len(), poll(&script, &mut renewer, 0).0), (2, Some(15)));
    let mut next = 0;
    while next < 60 {
        next = poll(&script, &mut renewer, next).0.unwrap();
    }
    assert_eq!(*script.asked.borrow(), [(1, 0), (2, 0), (2, 15), (2, 30), (2, 45), (1, 50)]);
    // Called late, it renews once and goes on from there; called early, it does nothing.
    assert_eq!(poll(&script, &mut renewer, 1000).0, Some(1015));
    assert_eq!((poll(&script, &mut renewer, 1014).0, script.asked.borrow().len()), (Some(1015), 8));
    // Kept again, with another time.
    renewer.keep(LeaseId::new(2), ms(2000));
    assert_eq!((renewer.len(), poll(&script, &mut renewer, 1014).0), (2, Some(1050)));
    assert_eq!((renewer.forget(LeaseId::new(1)), renewer.forget(LeaseId::new(1))), (true, false));
    assert_eq!(poll(&script, &mut renewer, 1050).0, Some(2014));
    // Times without end, and none at all.
    renewer.keep(LeaseId::new(2), Ticks::MAX);
    assert_eq!(poll(&script, &mut renewer, 2014).0, Some(2014 + u64::MAX / 2));
    renewer.keep(LeaseId::new(2), Ticks::ZERO);
    assert_eq!(poll(&script, &mut renewer, u64::MAX - 5).0, Some(u64::MAX - 4), "never the same moment again");
}

#[test]
fn what_may_pass_is_tried_again_and_what_has_ended_is_forgotten() {
    for end in [
        LeaseError::Expired,
        LeaseError::Fenced,
        LeaseError::Released,
        LeaseError::Revoked,
        LeaseError::Unknown,
        LeaseError::Unsupported,
    ] {
        let script = Script::default();
        let mut renewer = Renewer::new(&script);
        renewer.keep(LeaseId::new(1), ms(100));
        renewer.keep(LeaseId::new(2), ms(100));
        script.answer.set(Some(end));
        assert_eq!(poll(&script, &mut renewer, 0), (None, vec![(1, end), (2, end)]), "told once");
        assert_eq!((poll(&script, &mut renewer, 50), script.asked.borrow().len()), ((None, vec![]), 2));
    }
    for passing in [LeaseError::Disconnected, LeaseError::Io(5), LeaseError::CapacityExceeded, LeaseError::InUse] {
        let script = Script::default();
        let mut renewer = Renewer::new(&script);
        renewer.keep(LeaseId::new(1), ms(100));
        assert_eq!(poll(&script, &mut renewer, 0).0, Some(50));
        script.answer.set(Some(passing));
        // A quarter of what is left each time: often towards the end, never without a pause.
        let mut times = vec![50];
        while times[times.len() - 1] < 100 {
            let (next, failed) = poll(&script, &mut renewer, times[times.len() - 1]);
            assert_eq!(failed, [(1, passing)]);
            times.push(next.unwrap());
        }
        assert_eq!(times[..4], [50, 62, 71, 78]);
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]) && times.len() < 20, "{times:?}");
        assert_eq!(poll(&script, &mut renewer, 100).0, Some(125), "behind the end, seldom");
        script.answer.set(None);
        assert_eq!(poll(&script, &mut renewer, 125), (Some(175), vec![]), "and goes on");
    }
}

#[test]
fn a_lease_lives_as_long_as_it_is_renewed() {
    let clock = ManualClock::new();
    let pool = HeapPool::new(&clock);
    let lease = pool.acquire(1, ms(100)).unwrap();
    let mut renewer = Renewer::new(pool.clone()).with_percent(80);
    renewer.keep(lease.id(), ms(100));
    for _ in 0..500 {
        assert!(renewer.poll(clock.now(), |_, error| panic!("{error}")).is_some());
        clock.advance(ms(10));
        assert_eq!((pool.sweep(), lease.check()), (0, Ok(())));
    }
    assert!(renewer.forget(lease.id()));
    clock.advance(ms(100));
    assert_eq!((pool.sweep(), lease.check()), (1, Err(LeaseError::Expired)));
    // The clock leapt: it is too late, and told.
    let lease = pool.acquire(1, ms(100)).unwrap();
    renewer.keep(lease.id(), ms(100));
    clock.advance(ms(100));
    let mut told = None;
    assert_eq!(renewer.poll(clock.now(), |id, error| told = Some((id, error))), None);
    assert_eq!(told, Some((lease.id(), LeaseError::Expired)));
    assert!(format!("{renewer:?} {:?}", renewer.pool()).contains("Renewer"));
}

#[test]
fn the_thread_renews_and_ends_with_its_owner() {
    let pool = HeapPool::new(SystemClock::new());
    let lease = pool.acquire(1, ms(400)).unwrap();
    let other = pool.acquire(1, ms(400)).unwrap();
    let (told, tells) = mpsc::channel();
    let renewing = Renewing::start(Renewer::new(pool.clone()), pool.clock().clone(), move |id, error| {
        told.send((id, error)).unwrap();
    })
    .unwrap();
    for lease in [&lease, &other] {
        renewing.keep(lease.id(), ms(400)).unwrap();
    }
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1000) {
        pool.sweep();
        assert_eq!((lease.check(), other.check()), (Ok(()), Ok(())));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(format!("{renewing:?}").contains("runs: true"));
    renewing.forget(other.id()).unwrap();
    // Told of what cannot be renewed, once.
    pool.revoke(lease.id()).unwrap();
    assert_eq!(tells.recv_timeout(Duration::from_secs(5)), Ok((lease.id(), LeaseError::Revoked)));
    while other.check().is_ok() {
        pool.sweep();
        assert!(start.elapsed() < Duration::from_secs(20), "nobody renews it");
        std::thread::sleep(Duration::from_millis(10));
    }
    let before = Instant::now();
    drop(renewing);
    assert!(before.elapsed() < Duration::from_millis(900), "it does not wait for its next look");
    assert_eq!(tells.recv(), Err(mpsc::RecvError), "the thread is gone, and what it had");
}

#[test]
fn a_thread_that_has_ended_says_so() {
    let pool = HeapPool::new(SystemClock::new());
    let renewing = Renewing::start(Renewer::new(pool.clone()), pool.clock().clone(), |_, error| {
        panic!("as the test wants: {error}");
    })
    .unwrap();
    renewing.keep(LeaseId::new(77), ms(1)).unwrap();
    let start = Instant::now();
    while renewing.keep(LeaseId::new(77), ms(1)).is_ok() {
        assert!(start.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(renewing.forget(LeaseId::new(77)), Err(LeaseError::Disconnected));
    while !format!("{renewing:?}").contains("runs: false") {
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
