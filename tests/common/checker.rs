//! What the models under the checker share: how they are explored, how two parts run at the same time, and a lease
//! over its memory.

#![allow(dead_code, reason = "each test file uses a part of this")]

use fabric_mq::LoomMemory;
use fabric_mq::lease::{Cooperative, Lease};
use std::collections::BTreeSet;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Explores a model, and says how large it was. `scenes` are outcomes it must have had: a model whose threads never meet
/// proves nothing.
pub(crate) fn explore<S>(name: &str, preemptions: usize, scenes: &[&str], model: S)
where
    S: Fn() -> String + Send + Sync + 'static,
{
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = 20_000;
    let bound = builder.preemption_bound.unwrap_or(0);
    let count = Arc::new(AtomicU64::new(0));
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let start = Instant::now();
    builder.check({
        let (count, seen) = (Arc::clone(&count), Arc::clone(&seen));
        move || {
            count.fetch_add(1, Ordering::Relaxed);
            let scene = model();
            seen.lock().unwrap().insert(scene);
        }
    });
    let seen = seen.lock().unwrap();
    println!(
        "{name}: {} schedules, at most {bound} preemptions, {:.1} s; outcomes: {seen:?}",
        count.load(Ordering::Relaxed),
        start.elapsed().as_secs_f64()
    );
    for scene in scenes {
        assert!(seen.contains(*scene), "{name}: nothing led to {scene:?}");
    }
}

/// Runs both at the same time, one of them on the thread that is there already: the checker lets that one run first. The
/// other one sees every stale value, which is what matters for those who read.
pub(crate) fn both<A: 'static, B: 'static>(
    a: impl FnOnce() -> A + 'static,
    b: impl FnOnce() -> B + 'static,
    b_first: bool,
) -> (A, B) {
    if b_first {
        let a = loom::thread::spawn(a);
        let b = b();
        (a.join().unwrap(), b)
    } else {
        let b = loom::thread::spawn(b);
        let a = a();
        (a, b.join().unwrap())
    }
}

#[derive(Clone)]
pub(crate) struct LoomLease(pub(crate) Arc<LoomMemory>);

// SAFETY: under the checker a lease's base is the address of a `LoomMemory`, here one that the lease holds. All who have it
// are rings or groups of this crate.
unsafe impl Lease for LoomLease {
    type Trust = Cooperative;

    fn base(&self) -> NonNull<u8> {
        NonNull::from(&*self.0).cast()
    }
    fn len(&self) -> usize {
        self.0.bytes()
    }
}
