//! The workloads. Each function runs one round of one implementation and checks what came out.

pub mod one_thread;
pub mod ping_pong;
pub mod threads;

use std::fmt;

use crate::messages::{Messages, Sum};
use crate::polling;
use crate::queue::{Inlet, Outlet};

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
}

impl Workload {
    pub const ALL: [Self; 6] =
        [Self::Lap, Self::Stream, Self::PingPong, Self::BroadcastLap, Self::Broadcast, Self::Funnel];

    pub fn id(self) -> &'static str {
        match self {
            Self::Lap => "W1",
            Self::Stream => "W2",
            Self::PingPong => "W2p",
            Self::BroadcastLap => "W3a",
            Self::Broadcast => "W3b",
            Self::Funnel => "W4",
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
        }
    }

    /// How much longer a round of it has to be: what hangs on the scheduler or on who waits for whom needs a longer
    /// look.
    pub fn patience(self) -> f64 {
        match self {
            Self::Lap | Self::BroadcastLap => 0.5,
            Self::Stream | Self::PingPong => 1.0,
            Self::Broadcast | Self::Funnel => 1.5,
        }
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
    /// Nanoseconds per message, or per round trip.
    pub mean_ns: f64,
    /// Ping-pong only.
    pub round_trip: Option<RoundTrip>,
}

/// Round-trip times in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct RoundTrip {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
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
    const LAPS: usize = 3;
    // Not quite full: a peer may keep a slot free.
    let each = (capacity - capacity / 32) / inlets.len();
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
