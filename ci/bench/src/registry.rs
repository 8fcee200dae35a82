//! Which implementation runs in which workload.

#[cfg(target_os = "linux")]
use crate::processes::{self, Link};
use crate::queue::Queue;
use crate::workloads::{Sample, Workload, one_thread, ping_pong, threads};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// fabric-mq.
    Ours,
    /// A rival whose consumer reads the message where it lies.
    Lends,
    /// A rival whose consumer is handed a copy.
    CopiesOut,
    /// No queue that one could use: what the copying alone costs.
    Floor,
}

impl Kind {
    pub fn is_rival(self) -> bool {
        matches!(self, Self::Lends | Self::CopiesOut)
    }
}

/// How messages are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Each is visible to the consumer before the next one is sent.
    Record,
    /// 32 at a time.
    Batches,
}

/// One implementation in one workload with one payload size.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub workload: Workload,
    pub size: usize,
    pub name: &'static str,
    pub kind: Kind,
    pub mode: Mode,
    /// Runs one round of about so many messages.
    pub run: fn(usize) -> Sample,
}

/// Rows of one payload size, as the implementations register them.
#[derive(Debug, Default)]
pub struct Rows {
    rows: Vec<Row>,
}

impl Rows {
    pub fn into_vec(self) -> Vec<Row> {
        self.rows
    }

    fn add<const N: usize>(
        &mut self,
        workload: Workload,
        (name, kind): (&'static str, Kind),
        mode: Mode,
        run: fn(usize) -> Sample,
    ) {
        self.rows.push(Row { workload, size: N, name, kind, mode, run });
    }

    /// One producer and one consumer, message by message: W1, W2 and ping-pong.
    pub fn pipe<const N: usize, Q: Queue<N, 1, 1>>(&mut self, name: &'static str, kind: Kind) {
        self.add::<N>(Workload::Lap, (name, kind), Mode::Record, one_thread::run::<N, 1, false, Q>);
        self.add::<N>(Workload::Stream, (name, kind), Mode::Record, threads::run::<N, 1, 1, false, Q>);
        self.add::<N>(Workload::PingPong, (name, kind), Mode::Record, ping_pong::run::<N, Q>);
    }

    /// One producer and one consumer, in batches: W1 and W2.
    pub fn pipe_batches<const N: usize, Q: Queue<N, 1, 1>>(&mut self, name: &'static str, kind: Kind) {
        self.add::<N>(Workload::Lap, (name, kind), Mode::Batches, one_thread::run::<N, 1, true, Q>);
        self.add::<N>(Workload::Stream, (name, kind), Mode::Batches, threads::run::<N, 1, 1, true, Q>);
    }

    /// One producer and two consumers that see everything, message by message: W3a and W3b.
    pub fn broadcast<const N: usize, Q: Queue<N, 1, 2>>(&mut self, name: &'static str, kind: Kind) {
        self.add::<N>(Workload::BroadcastLap, (name, kind), Mode::Record, one_thread::run::<N, 2, false, Q>);
        self.add::<N>(Workload::Broadcast, (name, kind), Mode::Record, threads::run::<N, 1, 2, false, Q>);
    }

    /// One producer and two consumers that see everything, in batches: W3a and W3b.
    pub fn broadcast_batches<const N: usize, Q: Queue<N, 1, 2>>(&mut self, name: &'static str, kind: Kind) {
        self.add::<N>(Workload::BroadcastLap, (name, kind), Mode::Batches, one_thread::run::<N, 2, true, Q>);
        self.add::<N>(Workload::Broadcast, (name, kind), Mode::Batches, threads::run::<N, 1, 2, true, Q>);
    }

    /// Two producers and one consumer, message by message: W4.
    pub fn funnel<const N: usize, Q: Queue<N, 2, 1>>(&mut self, name: &'static str, kind: Kind) {
        self.add::<N>(Workload::Funnel, (name, kind), Mode::Record, threads::run::<N, 2, 1, false, Q>);
    }

    /// Two producers and one consumer, in batches: W4.
    pub fn funnel_batches<const N: usize, Q: Queue<N, 2, 1>>(&mut self, name: &'static str, kind: Kind) {
        self.add::<N>(Workload::Funnel, (name, kind), Mode::Batches, threads::run::<N, 2, 1, true, Q>);
    }

    /// Two processes, message by message: X1 to X3.
    #[cfg(target_os = "linux")]
    pub fn processes<const N: usize, L: Link<N>>(&mut self) {
        let row = (L::NAME, L::KIND);
        self.add::<N>(Workload::ProcessStream, row, Mode::Record, processes::stream::<N, false, L>);
        self.add::<N>(Workload::ProcessPingPong, row, Mode::Record, processes::ping_pong::<N, L>);
        self.add::<N>(Workload::ProcessOneWay, row, Mode::Record, processes::one_way::<N, L>);
    }

    /// Two processes, in batches: X1.
    #[cfg(target_os = "linux")]
    pub fn processes_batches<const N: usize, L: Link<N>>(&mut self) {
        self.add::<N>(Workload::ProcessStream, (L::NAME, L::KIND), Mode::Batches, processes::stream::<N, true, L>);
    }
}

/// Payload sizes that everything is compiled for.
pub const SIZES: [usize; 5] = [16, 64, 256, 1024, 4096];

fn of_size<const N: usize>() -> Vec<Row> {
    let mut rows = Rows::default();
    crate::floors::register::<N>(&mut rows);
    crate::fabric::register::<N>(&mut rows);
    crate::rivals::register::<N>(&mut rows);
    #[cfg(target_os = "linux")]
    processes::register::<N>(&mut rows);
    rows.into_vec()
}

/// Every row there is.
pub fn all() -> Vec<Row> {
    const { assert!(matches!(SIZES, [16, 64, 256, 1024, 4096]), "the list below has to name the same sizes") };
    [of_size::<16>(), of_size::<64>(), of_size::<256>(), of_size::<1024>(), of_size::<4096>()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each checks the sums of what came out.
    #[test]
    fn every_row_hands_over_what_it_was_given() {
        for row in all() {
            println!("{} {} B {}", row.workload.id(), row.size, row.name);
            let sample = (row.run)(5000);
            assert!(sample.mean_ns > 0.0);
            assert_eq!(sample.trip.is_some(), row.workload.is_timed_singly());
        }
    }

    #[test]
    fn names_are_unique_within_a_table() {
        let rows = all();
        for (place, row) in rows.iter().enumerate() {
            let again = rows[..place]
                .iter()
                .any(|other| (other.workload, other.size, other.name) == (row.workload, row.size, row.name));
            assert!(!again, "{row:?}");
        }
    }
}
