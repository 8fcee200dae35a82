//! Runs: records that simply follow each other.

use super::STRAIGHT;
use super::memory::{Bytes, Lap, Row, Slot, Slots};

/// Where the next records of a run have their slots and their payloads. Within it neither ring goes round and no position
/// wraps, so who goes through it compares and adds, and masks nothing.
///
/// On small processors, where that is not worth its code, each run is empty and takes no room.
#[derive(Clone, Copy)]
pub(crate) struct Run([Parts; STRAIGHT as usize]);

#[derive(Clone, Copy)]
struct Parts {
    slots: Row,
    /// The lap that the payloads lie in.
    lap: Lap,
    /// The position before which each payload has to end.
    stop: usize,
}

#[allow(clippy::inline_always, reason = "a few instructions of each record, all together")]
impl Run {
    /// None: nothing simply follows.
    pub(crate) const NONE: Self = Self([Parts { slots: Row::EMPTY, lap: Lap::NONE, stop: 0 }; STRAIGHT as usize]);

    /// The run of at most `count` records from the offset `next` on, with payloads in at most `units` from `position` on.
    #[inline]
    pub(crate) fn new(slots: Slots, bytes: Bytes, (next, count): (u32, u32), (position, units): (u32, u32)) -> Self {
        let lap = bytes.units().wrapping_sub(bytes.index(position));
        // The position at which a payload may end that ends last. None ends where positions wrap.
        let last = position.saturating_add(units.min(lap)).min(u32::MAX.wrapping_sub(1));
        let stop = (last as usize).wrapping_add(1);
        Self([Parts { slots: slots.row(next, count), lap: bytes.lap(position), stop }; STRAIGHT as usize])
    }

    /// The slots from the offset `next` on, without room for payloads: for who only waits for the next record.
    #[inline]
    pub(crate) fn waiting(slots: Slots, next: u32) -> Self {
        Self([Parts { slots: slots.row(next, 1), lap: Lap::NONE, stop: 0 }; STRAIGHT as usize])
    }

    /// The slot of the next record, and the row behind it, if the run has one.
    #[inline(always)]
    pub(crate) fn first(&self) -> Option<(Slot, Row)> {
        self.0.first()?.slots.split_first()
    }

    /// Goes on to `rest`, as [`first`](Self::first) answered it.
    #[inline(always)]
    pub(crate) const fn go_on(&mut self, rest: Row) {
        if let Some(parts) = self.0.first_mut() {
            parts.slots.go_on(rest);
        }
    }

    /// Ends it here.
    #[inline(always)]
    pub(crate) const fn close(&mut self) {
        if let Some(parts) = self.0.first_mut() {
            parts.slots = Row::EMPTY;
        }
    }

    /// The lap that its payloads lie in.
    #[inline(always)]
    pub(crate) const fn lap(&self) -> Lap {
        match self.0.first() {
            Some(parts) => parts.lap,
            None => Lap::NONE,
        }
    }

    /// Where it stops: see [`end`](Self::end).
    #[inline(always)]
    pub(crate) const fn stop(&self) -> usize {
        match self.0.first() {
            Some(parts) => parts.stop,
            None => 0,
        }
    }

    /// Lets it stop elsewhere in the room that it was made for, or at 0, so that nothing follows; answers where it did.
    #[inline(always)]
    pub(crate) const fn stop_at(&mut self, stop: usize) -> usize {
        match self.0.first_mut() {
            Some(parts) => core::mem::replace(&mut parts.stop, stop),
            None => 0,
        }
    }

    /// Where a payload of `units` units at `position` ends, if it may lie there in a run that stops at `stop`.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "less than `stop`")]
    pub(crate) const fn end(position: u32, units: usize, stop: usize) -> Option<u32> {
        // The units of no slice, nor of any length that a slot can tell of, overflow this where addresses have 64 bits.
        let end = (position as usize).wrapping_add(units);
        if end < stop { Some(end as u32) } else { None }
    }
}
