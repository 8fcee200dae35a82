//! W1 and W3a: everything in one thread, so nothing but the work itself is measured.

use std::time::Instant;

use super::{Sample, warm};
use crate::messages::{Store, Sum};
use crate::polling;
use crate::queue::{CAPACITY, Outlet, Queue};

const LAP: usize = 1000;

#[inline(never)]
pub fn run<const N: usize, const C: usize, const BATCHED: bool, Q: Queue<N, 1, C>>(count: usize) -> Sample {
    let store = Store::<N>::new();
    let messages = store.messages();
    let mut queue = Q::with_capacity(CAPACITY);
    let ([mut inlet], mut outlets) = queue.split();
    let mut sums = [Sum::default(); C];
    let mut next = warm(std::slice::from_mut(&mut inlet), &mut outlets, &messages, &mut sums, CAPACITY);

    // Moved to where their addresses have not been given away, as they are in the workloads with threads.
    let (mut inlet, mut outlets) = (inlet, outlets);
    let laps = count.div_ceil(LAP);
    let start = Instant::now();
    for _ in 0..laps {
        polling::send::<N, BATCHED>(&mut inlet, &messages, next, LAP);
        for (outlet, sum) in outlets.iter_mut().zip(&mut sums) {
            polling::take::<BATCHED>(outlet, sum, LAP);
            outlet.turn();
        }
        next += LAP;
    }
    let took = start.elapsed();

    let expected = messages.expected(next, 1);
    assert!(sums.iter().all(|sum| *sum == expected), "the consumer saw other bytes than were sent");
    Sample { mean_ns: took.as_nanos() as f64 / (laps * LAP) as f64, trip: None }
}
