//! The workloads. Each function runs one round of one implementation and checks what came out.

pub mod one_thread;
pub mod ping_pong;
pub mod threads;

use std::fmt;

use crate::messages::{Messages, Sum};
use crate::polling;
use crate::queue::{Inlet, Outlet};
use crate::stats;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    /// One thread: push 1000, then pop 1000.
    Lap,
    /// Two threads: a producer and a consumer.
    Stream,
    /// Two threads: a message there, a message back.
    PingPong,
    /// One thread: push 1000, then each of two consumers reads all 1000.
    BroadcastLap,
    /// Three threads: a producer and two consumers that each read everything.
    Broadcast,
    /// Three threads: two producers and a consumer.
    Funnel,
    /// Two processes: a producer and a consumer.
    ProcessStream,
    /// Two processes: a message there, a message back; half of that.
    ProcessPingPong,
    /// Two processes: a message now and then, from its sender's clock reading to its receiver's.
    ProcessOneWay,
}

impl Workload {
    pub const ALL: [Self; 9] = [
        Self::Lap,
        Self::Stream,
        Self::PingPong,
        Self::BroadcastLap,
        Self::Broadcast,
        Self::Funnel,
        Self::ProcessStream,
        Self::ProcessPingPong,
        Self::ProcessOneWay,
    ];

    pub fn id(self) -> &'static str {
        match self {
            Self::Lap => "W1",
            Self::Stream => "W2",
            Self::PingPong => "W2p",
            Self::BroadcastLap => "W3a",
            Self::Broadcast => "W3b",
            Self::Funnel => "W4",
            Self::ProcessStream => "X1",
            Self::ProcessPingPong => "X2",
            Self::ProcessOneWay => "X3",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Lap => "one thread, push 1000 then pop 1000",
            Self::Stream => "two threads, streaming",
            Self::PingPong => "two threads, ping-pong round trip",
            Self::BroadcastLap => "one thread, push 1000 then each of 2 readers reads 1000",
            Self::Broadcast => "three threads, 1 writer and 2 readers that each read everything",
            Self::Funnel => "three threads, 2 producers and 1 consumer",
            Self::ProcessStream => "two processes, streaming",
            Self::ProcessPingPong => "two processes, half of a ping-pong round trip",
            Self::ProcessOneWay => "two processes, one way, a message every 10 us",
        }
    }

    /// How much longer a round of it has to be: what hangs on the scheduler or on who waits for whom needs a longer
    /// look.
    pub fn patience(self) -> f64 {
        match self {
            Self::Lap | Self::BroadcastLap => 0.5,
            Self::Stream | Self::PingPong => 1.0,
            Self::ProcessStream | Self::ProcessPingPong | Self::ProcessOneWay => 1.0,
            Self::Broadcast | Self::Funnel => 1.5,
        }
    }

    /// Whether single messages are timed, so that quantiles rank a round.
    pub fn is_timed_singly(self) -> bool {
        matches!(self, Self::PingPong | Self::ProcessPingPong | Self::ProcessOneWay)
    }

    pub fn parse(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|workload| workload.id().eq_ignore_ascii_case(id))
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.id(), self.title())
    }
}

/// What one round of one implementation measured.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// How long the round took for each message, or for each round trip, in nanoseconds.
    pub mean_ns: f64,
    /// Where single messages are timed: see [`Workload::is_timed_singly`].
    pub trip: Option<Trip>,
}

/// Times of single messages in nanoseconds: there and back, or one way.
#[derive(Clone, Copy, Debug)]
pub struct Trip {
    pub mean: f64,
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
}

impl Trip {
    /// Of as many measured times, each divided by `parts`.
    pub fn of(mut trips: Vec<u32>, parts: f64) -> Self {
        trips.sort_unstable();
        let quantile = |q| f64::from(stats::quantile(&trips, q)) / parts;
        let mean = trips.iter().map(|&trip| f64::from(trip)).sum::<f64>() / trips.len() as f64 / parts;
        Self { mean, p50: quantile(0.5), p99: quantile(0.99), p999: quantile(0.999) }
    }
}

/// How often the queue is filled and drained before the clock starts.
pub const LAPS: usize = 3;

/// How many messages fill a queue for `capacity` of them. Not quite: a peer may keep a slot free.
pub fn lap(capacity: usize) -> usize {
    capacity - capacity / 32
}

/// Fills and drains the queue before the clock starts, and answers how many messages went through each inlet. Every
/// byte has been touched by then, so that no round pays for the page faults of fresh memory, nor for a first use of
/// anything.
fn warm<const N: usize>(
    inlets: &mut [impl Inlet<N>],
    outlets: &mut [impl Outlet],
    messages: &Messages<'_, N>,
    sums: &mut [Sum],
    capacity: usize,
) -> usize {
    let each = lap(capacity) / inlets.len();
    for lap in 0..LAPS {
        for inlet in inlets.iter_mut() {
            polling::send::<N, false>(inlet, messages, lap * each, each);
        }
        for (outlet, sum) in outlets.iter_mut().zip(sums.iter_mut()) {
            polling::take::<false>(outlet, sum, each * inlets.len());
            outlet.turn();
        }
    }
    LAPS * each
}
