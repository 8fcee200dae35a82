//! X1 to X3: the two ends in a process each. Each workload is one function, which takes the host's part or the guest's.

mod fabric;
#[cfg(feature = "iceoryx2")]
mod iceoryx2;
mod meeting;
mod slots;
mod sockets;

use std::os::fd::OwnedFd;
use std::path::Path;

pub use meeting::OPTION;
use meeting::{Errand, Meeting, now};

use crate::machine;
use crate::messages::{Store, Sum};
use crate::polling;
use crate::queue::{CAPACITY, Inlet, Outlet, PING_PONG_CAPACITY};
use crate::registry::{self, Kind, Rows};
use crate::workloads::{LAPS, Sample, Trip, Workload, lap};

/// Lane 0 leads from the host to the guest, lane 1 back.
const LANES: usize = 2;

/// Payload sizes that these workloads are run with.
const SIZES: [usize; 2] = [64, 4096];

pub fn register<const N: usize>(rows: &mut Rows) {
    if SIZES.contains(&N) {
        slots::register::<N>(rows);
        fabric::register::<N>(rows);
        #[cfg(feature = "iceoryx2")]
        iceoryx2::register::<N>(rows);
        sockets::register::<N>(rows);
    }
}

/// A way for messages of `N` bytes from one process to another. The two ends of a lane are made in different processes.
pub trait Link<const N: usize> {
    /// The row's, by which the guest knows what to do.
    const NAME: &'static str;
    const KIND: Kind;
    type Inlet: Inlet<N>;
    type Outlet: Outlet;

    /// Descriptors for the lane's inlet and its outlet, if it needs any that both processes get from the same one.
    fn descriptors() -> Option<(OwnedFd, OwnedFd)> {
        None
    }

    /// The end that sends, with room for at least so many messages, as in `queue::Queue`. Made before the lane's outlet.
    fn inlet(meeting: &mut Meeting, lane: usize, messages: usize) -> Self::Inlet;

    /// The other end.
    fn outlet(meeting: &mut Meeting, lane: usize, messages: usize) -> Self::Outlet;

    /// Called when both ends are there, and before the outlet's.
    fn connect(_: &mut Self::Inlet) {}

    /// Called when the inlet has been connected.
    fn accept(_: &mut Self::Outlet) {}

    /// Removes what a guest that did not end by itself left outside of the meeting's directory.
    fn clean() {}
}

/// The host's side of a round, or the guest's.
fn meet<const N: usize, L: Link<N>>(
    workload: Workload,
    count: usize,
    stamps: usize,
    host: impl FnOnce(&mut Meeting) -> Sample + Send,
    guest: impl FnOnce(&mut Meeting),
) -> Sample {
    if let Some(errand) = Errand::current() {
        machine::pin(1);
        guest(&mut Meeting::guest(errand, stamps));
        return Sample { mean_ns: 0.0, trip: None };
    }
    /// Also when the round panics, then behind the meeting, which ends the guest.
    struct Clean(fn());
    impl Drop for Clean {
        fn drop(&mut self) {
            if std::thread::panicking() {
                self.0();
            }
        }
    }
    let _clean = Clean(L::clean);
    let there = L::descriptors();
    // The host has the outlet of the way back.
    let back = L::descriptors().map(|(inlet, outlet)| (outlet, inlet));
    let mut meeting = Meeting::host((workload.id(), N, L::NAME, count), [there, back], stamps);
    // A thread of its own, so that only this one is pinned.
    let sample = std::thread::scope(|scope| {
        let side = || {
            machine::pin(0);
            host(&mut meeting)
        };
        scope.spawn(side).join().expect("the host's side panicked")
    });
    meeting.finish();
    sample
}

/// This process's ends, when both processes have theirs.
fn ends<const N: usize, L: Link<N>>(
    meeting: &mut Meeting,
    inlet: Option<usize>,
    outlet: Option<usize>,
    capacity: usize,
) -> (Option<L::Inlet>, Option<L::Outlet>) {
    let mut inlet = inlet.map(|lane| L::inlet(meeting, lane, capacity));
    meeting.gate();
    let mut outlet = outlet.map(|lane| L::outlet(meeting, lane, capacity));
    meeting.gate();
    inlet.as_mut().map(L::connect);
    meeting.gate();
    outlet.as_mut().map(L::accept);
    meeting.gate();
    (inlet, outlet)
}

fn inlet<const N: usize, L: Link<N>>(meeting: &mut Meeting, capacity: usize) -> L::Inlet {
    ends::<N, L>(meeting, Some(0), None, capacity).0.expect("asked for")
}

fn outlet<const N: usize, L: Link<N>>(meeting: &mut Meeting, capacity: usize) -> L::Outlet {
    ends::<N, L>(meeting, None, Some(0), capacity).1.expect("asked for")
}

fn both<const N: usize, L: Link<N>>(meeting: &mut Meeting, inlet: usize, outlet: usize) -> (L::Inlet, L::Outlet) {
    let (inlet, outlet) = ends::<N, L>(meeting, Some(inlet), Some(outlet), PING_PONG_CAPACITY);
    inlet.zip(outlet).expect("asked for")
}

/// Messages that go through a link before the clock starts: every byte has been touched by then, by both processes.
fn warming(capacity: usize) -> usize {
    LAPS * lap(capacity)
}

/// X1: as fast as possible.
#[inline(never)]
pub fn stream<const N: usize, const BATCHED: bool, L: Link<N>>(count: usize) -> Sample {
    let store = Store::<N>::new();
    let messages = &store.messages();
    let first = warming(CAPACITY);
    let host = |meeting: &mut Meeting| {
        let mut inlet = inlet::<N, L>(meeting, CAPACITY);
        polling::send::<N, false>(&mut inlet, messages, 0, first);
        meeting.gate();
        let start = now();
        polling::send::<N, BATCHED>(&mut inlet, messages, first, count);
        let end = now();
        meeting.gate();
        let ((guest_start, guest_end), sum, _) = meeting.told();
        assert_eq!(sum, messages.expected(first + count, 1), "the guest saw other bytes than were sent");
        let took = end.max(guest_end) - start.min(guest_start);
        Sample { mean_ns: took as f64 / count as f64, trip: None }
    };
    let guest = |meeting: &mut Meeting| {
        let mut outlet = outlet::<N, L>(meeting, CAPACITY);
        let mut sum = Sum::default();
        polling::take::<false>(&mut outlet, &mut sum, first);
        outlet.turn();
        meeting.gate();
        let start = now();
        polling::take::<BATCHED>(&mut outlet, &mut sum, count);
        meeting.tell((start, now()), sum, &[]);
        meeting.gate();
    };
    meet::<N, L>(Workload::ProcessStream, count, 0, host, guest)
}

/// X2: a message there and a message back; half of the time that takes.
#[inline(never)]
pub fn ping_pong<const N: usize, L: Link<N>>(count: usize) -> Sample {
    let store = Store::<N>::new();
    let messages = &store.messages();
    let first = warming(PING_PONG_CAPACITY);
    let host = |meeting: &mut Meeting| {
        let (mut ping, mut answer) = both::<N, L>(meeting, 0, 1);
        let mut sum = Sum::default();
        let mut trips = Vec::<u32>::with_capacity(count);
        polling::send::<N, false>(&mut ping, messages, 0, first);
        polling::take::<false>(&mut answer, &mut sum, first);
        answer.turn();
        meeting.gate();
        let mut since = now();
        for index in first..first + count {
            polling::send::<N, false>(&mut ping, messages, index, 1);
            polling::take::<false>(&mut answer, &mut sum, 1);
            let now = now();
            trips.push(u32::try_from(now - since).unwrap_or(u32::MAX));
            since = now;
        }
        meeting.gate();
        let expected = messages.expected(first + count, 1);
        assert_eq!(meeting.told().1, expected, "the guest saw other bytes than were sent");
        assert_eq!(sum, expected, "the host saw other bytes than were sent");
        let trip = Trip::of(trips, 2.0);
        Sample { mean_ns: 2.0 * trip.mean, trip: Some(trip) }
    };
    let guest = |meeting: &mut Meeting| {
        let (mut pong, mut request) = both::<N, L>(meeting, 1, 0);
        let mut sum = Sum::default();
        polling::take::<false>(&mut request, &mut sum, first);
        request.turn();
        polling::send::<N, false>(&mut pong, messages, 0, first);
        meeting.gate();
        for index in first..first + count {
            polling::take::<false>(&mut request, &mut sum, 1);
            polling::send::<N, false>(&mut pong, messages, index, 1);
        }
        meeting.tell((0, 0), sum, &[]);
        meeting.gate();
    };
    meet::<N, L>(Workload::ProcessPingPong, count, 0, host, guest)
}

/// X3: a message now and then, to a consumer that waits for it: from before it is sent to when it has been read.
#[inline(never)]
pub fn one_way<const N: usize, L: Link<N>>(count: usize) -> Sample {
    /// Nanoseconds from one message to the next: more than any of the links takes for one.
    const PACE: u64 = 10_000;
    let store = Store::<N>::new();
    let messages = &store.messages();
    let first = warming(PING_PONG_CAPACITY);
    let host = |meeting: &mut Meeting| {
        let mut inlet = inlet::<N, L>(meeting, PING_PONG_CAPACITY);
        let mut sent = Vec::<u64>::with_capacity(count);
        polling::send::<N, false>(&mut inlet, messages, 0, first);
        meeting.gate();
        let mut due = now();
        for index in first..first + count {
            due += PACE;
            let mut stamp = now();
            while stamp < due {
                std::hint::spin_loop();
                stamp = now();
            }
            // Whoever was held up does not hurry to make up for it: that would measure a queue.
            due = stamp;
            sent.push(stamp);
            polling::send::<N, false>(&mut inlet, messages, index, 1);
        }
        meeting.gate();
        let (_, sum, taken) = meeting.told();
        assert_eq!(sum, messages.expected(first + count, 1), "the guest saw other bytes than were sent");
        let trips = sent.iter().zip(taken).map(|(sent, taken)| {
            // The kernel keeps the clocks of its cores together: nothing arrives before it was sent.
            u32::try_from(taken.checked_sub(*sent).expect("one clock for both cores")).unwrap_or(u32::MAX)
        });
        Sample { mean_ns: PACE as f64, trip: Some(Trip::of(trips.collect(), 1.0)) }
    };
    let guest = |meeting: &mut Meeting| {
        let mut outlet = outlet::<N, L>(meeting, PING_PONG_CAPACITY);
        let mut sum = Sum::default();
        let mut taken = Vec::with_capacity(count);
        polling::take::<false>(&mut outlet, &mut sum, first);
        outlet.turn();
        meeting.gate();
        while taken.len() < count {
            // More than one, if this process was held up and the link hands over what waits.
            let more = polling::take_some(&mut outlet, &mut sum);
            taken.resize(taken.len() + more, now());
        }
        assert_eq!(taken.len(), count, "more came out than went in");
        meeting.tell((0, 0), sum, &taken);
        meeting.gate();
    };
    meet::<N, L>(Workload::ProcessOneWay, count, count, host, guest)
}

/// Does what this process was started for by the host that made `place`.
pub fn attend(place: &Path) {
    let errand = Errand::accept(place);
    let row = registry::all()
        .into_iter()
        .find(|row| row.workload.id() == errand.workload && row.size == errand.size && row.name == errand.name);
    (row.expect("the host runs the same program").run)(errand.count);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Started by hosts in the other tests, with the place to go to.
    #[test]
    #[ignore = "run by the other tests of this program: cd ci/bench; cargo test processes"]
    fn a_guest() {
        if let Some(place) = meeting::given_place() {
            attend(&place);
        }
    }
}
