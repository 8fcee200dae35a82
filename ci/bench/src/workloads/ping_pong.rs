//! W2p: a message there and a message back, each trip timed.

use std::slice::from_mut;
use std::time::Instant;

use super::{Sample, Trip, warm};
use crate::machine;
use crate::messages::{Store, Sum};
use crate::polling::{self, Gate};
use crate::queue::{PING_PONG_CAPACITY, Queue};

#[inline(never)]
pub fn run<const N: usize, Q: Queue<N, 1, 1>>(count: usize) -> Sample {
    let store = Store::<N>::new();
    let messages = &store.messages();
    let mut there = Q::with_capacity(PING_PONG_CAPACITY);
    let mut back = Q::with_capacity(PING_PONG_CAPACITY);
    let ([mut ping], [mut request]) = there.split();
    let ([mut pong], [mut answer]) = back.split();
    let mut sums = [Sum::default(); 2];
    let (request_sum, answer_sum) = sums.split_at_mut(1);
    let first = warm(from_mut(&mut ping), from_mut(&mut request), messages, request_sum, PING_PONG_CAPACITY);
    warm(from_mut(&mut pong), from_mut(&mut answer), messages, answer_sum, PING_PONG_CAPACITY);

    let [mut request_sum, mut answer_sum] = sums;
    let mut trips = Vec::<u32>::with_capacity(count);
    let gate = &Gate::new(2);
    let request_sum = std::thread::scope(|scope| {
        let responder = scope.spawn(move || {
            machine::pin(1);
            gate.pass();
            for index in first..first + count {
                polling::take::<false>(&mut request, &mut request_sum, 1);
                polling::send::<N, false>(&mut pong, messages, index, 1);
            }
            (request_sum, request, pong)
        });
        let trips = &mut trips;
        let answer_sum = &mut answer_sum;
        let caller = scope.spawn(move || {
            machine::pin(0);
            gate.pass();
            let mut since = Instant::now();
            for index in first..first + count {
                polling::send::<N, false>(&mut ping, messages, index, 1);
                polling::take::<false>(&mut answer, answer_sum, 1);
                let now = Instant::now();
                trips.push(u32::try_from((now - since).as_nanos()).unwrap_or(u32::MAX));
                since = now;
            }
            (ping, answer)
        });
        let ends = caller.join().expect("the caller panicked");
        let (request_sum, ..) = responder.join().expect("the responder panicked");
        drop(ends);
        request_sum
    });

    let expected = messages.expected(first + count, 1);
    assert_eq!(request_sum, expected, "the responder saw other bytes than were sent");
    assert_eq!(answer_sum, expected, "the caller saw other bytes than were sent");
    let trip = Trip::of(trips, 1.0);
    Sample { mean_ns: trip.mean, trip: Some(trip) }
}
