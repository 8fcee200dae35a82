//! A floor: memcpy of a length that the compiler knows into a shared ring of slots, and two counters.

use std::sync::atomic::{AtomicU64, Ordering};

use super::meeting::Shared;
use super::{Link, Meeting};
use crate::messages::{Messages, Sum};
use crate::queue::{Inlet, Outlet};
use crate::registry::{Kind, Rows};

pub fn register<const N: usize>(rows: &mut Rows) {
    rows.processes::<N, Slots>();
}

struct Slots;

/// Bytes from one counter to the next, and in front of the slots: neither shares its line, nor the one fetched along.
const APART: usize = 4096;

/// One side of the ring: the first page has the count of messages written, the second that of those read.
struct Side {
    memory: Shared,
    slots: u64,
    /// This side's own count.
    done: u64,
    /// The other's, as far as known.
    known: u64,
}

impl Side {
    fn new<const N: usize>(meeting: &Meeting, lane: usize, messages: usize, make: bool) -> Self {
        let memory = meeting.shared(["there", "back"][lane], 2 * APART + messages * N, make);
        Self { memory, slots: messages as u64, done: 0, known: 0 }
    }

    #[inline(always)]
    fn counter(&self, which: usize) -> &AtomicU64 {
        // SAFETY: two pages with a counter each are in front; zero at first, and reached by atomics only.
        unsafe { &*self.memory.base().add(which * APART).cast() }
    }

    #[inline(always)]
    fn slot<const N: usize>(&self) -> *mut [u8; N] {
        let index = (self.done % self.slots) as usize;
        // SAFETY: there are `slots` of them behind the two pages.
        unsafe { self.memory.base().add(2 * APART + index * N).cast() }
    }
}

struct SlotInlet(Side);
struct SlotOutlet(Side);

impl<const N: usize> Inlet<N> for SlotInlet {
    #[inline(always)]
    fn try_send(&mut self, messages: &Messages<'_, N>, index: usize) -> bool {
        let side = &mut self.0;
        if side.done - side.known == side.slots {
            side.known = side.counter(1).load(Ordering::Acquire);
            if side.done - side.known == side.slots {
                return false;
            }
        }
        // SAFETY: the outlet has read what was there, and does not look again before the count says so.
        unsafe { side.slot::<N>().write(*messages.fixed(index)) };
        side.done += 1;
        side.counter(0).store(side.done, Ordering::Release);
        true
    }
}

/// An outlet of messages of `N` bytes.
struct Sized<const N: usize>(SlotOutlet);

impl<const N: usize> Outlet for Sized<N> {
    #[inline(always)]
    fn try_take(&mut self, sum: &mut Sum) -> usize {
        let side = &mut self.0.0;
        side.known = side.counter(0).load(Ordering::Acquire);
        let count = side.known - side.done;
        for _ in 0..count {
            // SAFETY: the count says that the inlet has written it; it stays away until the other count is stored below.
            sum.see(unsafe { &*side.slot::<N>() });
            side.done += 1;
        }
        if count > 0 {
            side.counter(1).store(side.done, Ordering::Release);
        }
        count as usize
    }
}

impl<const N: usize> Link<N> for Slots {
    const NAME: &'static str = "floor: shared slots";
    const KIND: Kind = Kind::Floor;
    type Inlet = SlotInlet;
    type Outlet = Sized<N>;

    fn inlet(meeting: &mut Meeting, lane: usize, messages: usize) -> Self::Inlet {
        SlotInlet(Side::new::<N>(meeting, lane, messages, true))
    }

    fn outlet(meeting: &mut Meeting, lane: usize, messages: usize) -> Self::Outlet {
        Sized(SlotOutlet(Side::new::<N>(meeting, lane, messages, false)))
    }
}
