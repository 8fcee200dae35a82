//! W2, W3b and W4: a thread for each end.

use std::time::Instant;

use super::{Sample, warm};
use crate::machine;
use crate::messages::{Store, Sum};
use crate::polling::{self, Gate};
use crate::queue::{CAPACITY, Queue};

#[inline(never)]
pub fn run<const N: usize, const P: usize, const C: usize, const BATCHED: bool, Q: Queue<N, P, C>>(
    count: usize,
) -> Sample {
    let store = Store::<N>::new();
    let messages = &store.messages();
    let mut queue = Q::with_capacity(CAPACITY);
    let (mut inlets, mut outlets) = queue.split();
    let mut sums = [Sum::default(); C];
    let first = warm(&mut inlets, &mut outlets, messages, &mut sums, CAPACITY);

    let each = count.div_ceil(P);
    // Two threads get a core each. Three are left to the scheduler: on two cores any fixed choice would favour
    // somebody.
    let pinned = P + C == 2;
    let gate = &Gate::new(P + C);
    let (sums, spans) = std::thread::scope(|scope| {
        let producers = inlets.map(|mut inlet| {
            scope.spawn(move || {
                if pinned {
                    machine::pin(0);
                }
                gate.pass();
                let start = Instant::now();
                polling::send::<N, BATCHED>(&mut inlet, messages, first, each);
                (start, Instant::now(), inlet)
            })
        });
        let mut warmed = sums.into_iter();
        let consumers = outlets.map(|mut outlet| {
            let mut sum = warmed.next().unwrap_or_default();
            scope.spawn(move || {
                if pinned {
                    machine::pin(1);
                }
                gate.pass();
                let start = Instant::now();
                polling::take::<BATCHED>(&mut outlet, &mut sum, each * P);
                (start, Instant::now(), sum, outlet)
            })
        });
        let mut spans = Vec::with_capacity(P + C);
        let mut sums = Vec::with_capacity(C);
        // The ends are handed back and dropped here, so that no channel is found closed by a thread still working.
        let mut inlets = Vec::with_capacity(P);
        for producer in producers {
            let (start, end, inlet) = producer.join().expect("a producer panicked");
            spans.push((start, end));
            inlets.push(inlet);
        }
        for consumer in consumers {
            let (start, end, sum, outlet) = consumer.join().expect("a consumer panicked");
            spans.push((start, end));
            sums.push(sum);
            drop(outlet);
        }
        (sums, spans)
    });

    let expected = messages.expected(first + each, P);
    assert!(sums.iter().all(|sum| *sum == expected), "a consumer saw other bytes than were sent");
    let start = spans.iter().map(|span| span.0).min();
    let end = spans.iter().map(|span| span.1).max();
    let took = start.zip(end).map_or(0, |(start, end)| end.duration_since(start).as_nanos());
    Sample { mean_ns: took as f64 / (each * P) as f64, trip: None }
}
