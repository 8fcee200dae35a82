//! The gate: how far a writer may go before it must look at its readers again.
//!
//! The writer keeps what it may still use in private numbers and looks here only when they run out. Three orders make this
//! safe:
//!
//! - `SYNC(release)`: a reader stores its progress with Release after its last access to what it gives up; the writer
//!   loads it with Acquire before it writes there.
//! - `SYNC(head)`: the writer raises `head` after it has noted the tail and before it uses the room below.
//! - `SYNC(gate)`: the writer stores in `gate` how far it would raise `head`, fences, and looks at the readers a second
//!   time; a reader that joins or goes back stores its progress, fences, and looks at `gate`. Of two such parties at least
//!   one sees the other's store (Dekker's argument; both fences are sequentially consistent): either the reader moves up,
//!   or the writer raises `head` less far. Both may see each other; that costs the reader some records it has not been
//!   promised yet. `head` itself never passes a reader that has settled, so whoever takes over (the next writer, a
//!   recovery, a reader that comes back to where it parked) may go by it.

use super::View;
use super::recover::low;
use crate::error::{Check, Corrupt};
use crate::lease::Lease;
use crate::lease::layout::{BOUNDS_AT, HINTS_AT, bounds, hints, reader};
use crate::platform::atomic::{Ordering, fence};
use crate::platform::memory::Block;

/// Bytes at the front of a reader's block that say what it needs: its state and its progress.
const NEEDED: usize = reader::GUARD * 4;

/// What a writer may use without looking again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Room {
    pub(crate) slots: u32,
    pub(crate) units: u32,
}

impl Room {
    pub(crate) const fn has(self, units: u32) -> bool {
        self.slots != 0 && units <= self.units
    }
}

/// Where a writer stands: the records up to `committed` are visible, it has written up to `next`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stand {
    pub(crate) committed: u64,
    /// Where the first record behind `committed` may lie at the earliest, if that is known.
    pub(crate) behind: Option<u32>,
    pub(crate) next: u64,
    pub(crate) position: u32,
}

impl View {
    /// The lowest progress of the registered readers, not below `head`; `None` if there are none.
    #[inline(never)]
    fn lowest<L: Lease>(&self, lease: &L, head: u64, committed: u64) -> Option<u64> {
        let mut most = None;
        // All between `head` and `committed` lies in the ring, so 32 bits hold the distances.
        let live = low(committed.wrapping_sub(head));
        for block in self.control.places() {
            lease.invalidate(self.control.distance(block), NEEDED);
            // SYNC(join): the progress of a reader seen as registered is valid.
            if !matches!(block.word(reader::STATE).load(Ordering::Acquire), reader::PARKED | reader::CLAIMED) {
                continue;
            }
            // SYNC(release)
            let progress = block.word(reader::PROGRESS).load(Ordering::Acquire);
            let lag = low(committed).wrapping_sub(progress);
            // A progress outside the log is damage, or that of a reader which is being overrun. It holds what is left.
            most = most.max(Some(lag.min(live)));
        }
        most.map(|lag| committed.wrapping_sub(u64::from(lag)))
    }

    /// The room there is when nothing before `oldest` is needed; none if that cannot be told at present.
    fn room(&self, oldest: u64, stand: Stand) -> Result<Room, Corrupt> {
        let used = low(stand.next.wrapping_sub(oldest));
        let Some(slots) = self.geometry.slots().checked_sub(used) else { return Ok(Room::default()) };
        let start = if oldest == stand.next {
            stand.position
        } else if oldest == stand.committed {
            // Its slot is not committed, so it does not say where its payload lies.
            let Some(start) = stand.behind else { return Ok(Room { slots, units: 0 }) };
            start
        } else {
            let entry = self.slot(oldest).load();
            if entry.stamp() != low(oldest) {
                // Only the place of a reader that is about to be moved up can be gone already.
                return Ok(Room::default());
            }
            if !entry.is_sound() {
                return Err(Corrupt::new(Check::Slot, oldest));
            }
            entry.position()
        };
        let units = self.geometry.units().saturating_sub(stand.position.wrapping_sub(start));
        Ok(Room { slots, units })
    }

    /// The same on a lease of this kind: where the log can be ended, the slot that the end goes to stays free.
    #[inline]
    fn room_on<L: Lease>(&self, oldest: u64, stand: Stand) -> Result<Room, Corrupt> {
        if !L::SEALABLE {
            return self.room(oldest, stand);
        }
        let room = self.room(oldest, stand)?;
        Ok(Room { slots: room.slots.saturating_sub(u32::from(self.takeover())), ..room })
    }

    pub(crate) fn note_tail<L: Lease>(&self, lease: &L, committed: u64) {
        lease.fence();
        self.hints().cursor(hints::TAIL).store(committed);
        lease.clean_counter(HINTS_AT.wrapping_add(hints::TAIL * 4));
        lease.fence();
    }

    pub(crate) fn note_refusal<L: Lease>(&self, lease: &L) {
        let block = self.hints();
        let refused = block.cursor(hints::REFUSED);
        refused.store(refused.load().saturating_add(1));
        lease.clean_counter(HINTS_AT.wrapping_add(hints::REFUSED * 4));
        lease.fence();
    }

    fn raise_head<L: Lease>(&self, lease: &L, to: u64) {
        // SYNC(head)
        self.bounds().cursor(bounds::HEAD).store(to);
        lease.clean_counter(BOUNDS_AT.wrapping_add(bounds::HEAD * 4));
        lease.fence();
    }

    fn set_gate<L: Lease>(&self, lease: &L, gate: u32) {
        // SYNC(gate): also orders a head that was raised before a gate that is opened again.
        self.bounds().word(bounds::GATE).store(gate, Ordering::Release);
        self.clean_word(lease, self.bounds(), bounds::GATE);
        lease.fence();
    }

    /// The lowest offset at which a reader may stay that has just stored its progress: the head, or where the head may be
    /// about to rise.
    pub(crate) fn floor<L: Lease>(&self, lease: &L) -> u64 {
        // SYNC(gate): with the fence in `look`.
        fence(Ordering::SeqCst);
        lease.fence();
        let block = self.bounds();
        let word = block.word(bounds::GATE);
        self.refresh_word(lease, block, bounds::GATE);
        // SYNC(gate)
        let gate = word.load(Ordering::Acquire);
        if gate != 0 {
            let head = self.load_head(lease);
            // Around the head, 31 bits are enough; a head that was raised to the gate has no distance from it.
            let ahead = gate.wrapping_sub(low(head).wrapping_mul(2)) >> 1;
            self.refresh_word(lease, block, bounds::GATE);
            if word.load(Ordering::Acquire) == gate && ahead <= self.geometry.slots() {
                // Only a head that was forged overflows.
                return head.wrapping_add(u64::from(ahead));
            }
        }
        // SYNC(head): loaded last. Where a gate was seen and is gone, the head has risen as far as it was to rise then; and
        // whoever stores the next one sees this reader.
        self.load_head(lease)
    }

    /// Looks at the readers of a retaining ring, and answers the room there is now and the new head.
    pub(crate) fn look<L: Lease>(&self, lease: &L, head: u64, stand: Stand) -> Result<(Room, u64), Corrupt> {
        self.note_tail(lease, stand.committed);
        let mut to = head;
        let lowest = self.lowest(lease, head, stand.committed).filter(|lowest| *lowest > head);
        if let Some(lowest) = lowest {
            self.set_gate(lease, low(lowest).wrapping_mul(2) | 1);
            // SYNC(gate): with the fence in `floor`.
            fence(Ordering::SeqCst);
            // Somebody may have come between the head and the gate before it could see the gate.
            to = self.lowest(lease, head, stand.committed).map_or(lowest, |again| again.min(lowest));
            if to != head {
                self.raise_head(lease, to);
            }
            self.set_gate(lease, 0);
        }
        self.room_on::<L>(to, stand).map(|room| (room, to))
    }

    /// Makes room for `units` in an overwriting ring by giving up its oldest records: an eighth of its slots or of its bytes,
    /// whichever is less, so that this is done and readers see `head` change rarely; more if the record needs it. Answers
    /// the room and the new head; the room is too small if that would overtake a reader that is waited for (`max_lag`) or
    /// records that are not committed.
    pub(crate) fn overwrite<L: Lease>(
        &self,
        lease: &L,
        head: u64,
        stand: Stand,
        units: u32,
    ) -> Result<(Room, u64), Corrupt> {
        self.note_tail(lease, stand.committed);
        let limit = match self.geometry.max_lag {
            0 => stand.committed,
            lag => {
                let waited = stand.committed.saturating_sub(u64::from(lag)).max(head);
                self.lowest(lease, head, stand.committed).map_or(stand.committed, |lowest| lowest.max(waited))
            }
        };
        let mut room = self.room_on::<L>(head, stand)?;
        let mut to = head;
        if !room.has(units) && head < limit {
            // Found by halving: an offset further on never leaves less room, and a walk over an eighth of a large ring would
            // show in the write that happens to need it.
            let (slot_goal, unit_goal) = (self.geometry.slot_stride(), self.geometry.unit_stride());
            let (mut short, mut enough) = (0, low(limit.wrapping_sub(head)));
            let mut given = slot_goal;
            while enough.wrapping_sub(short) > 1 {
                if given <= short || given >= enough {
                    given = short.wrapping_add(enough.wrapping_sub(short) / 2);
                }
                let seen = self.room_on::<L>(head.wrapping_add(u64::from(given)), stand)?;
                let eighth = given >= slot_goal || seen.units.saturating_sub(room.units) >= unit_goal;
                *(if eighth && seen.has(units) { &mut enough } else { &mut short }) = given;
            }
            to = head.wrapping_add(u64::from(enough));
            room = self.room_on::<L>(to, stand)?;
        }
        if !room.has(units) {
            // Nothing is given up for a record that cannot be written all the same.
            return Ok((Room::default(), head));
        }
        if to != head {
            self.raise_head(lease, to);
        }
        // SYNC(overrun): orders the new head before every store into the room it frees; with the Acquire fence that a
        // reader puts between copying a record and looking at `head`.
        fence(Ordering::Release);
        Ok((room, to))
    }

    /// Tells the writer how far a reader has come.
    #[inline]
    pub(crate) fn release<L: Lease>(&self, lease: &L, block: Block, next: u64) {
        self.note_wrap(lease, block, next);
        self.note_progress(lease, block, next);
    }

    /// Stores the high half of a progress whose low half has come round.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a comparison")]
    pub(crate) fn note_wrap<L: Lease>(&self, lease: &L, block: Block, next: u64) {
        // A stride never jumps over a multiple of 2^32 by more than this.
        if low(next) < self.geometry.slots() {
            self.note_high(lease, block, next);
        }
    }

    #[inline]
    pub(crate) fn note_progress<L: Lease>(&self, lease: &L, block: Block, next: u64) {
        // SYNC(release)
        block.word(reader::PROGRESS).store(low(next), Ordering::Release);
        block.word(reader::GUARD).store(!low(next), Ordering::Relaxed);
        lease.clean(self.word_at(block, reader::PROGRESS), 8);
        lease.fence();
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "the store alone, on most leases")]
    pub(crate) fn note_high<L: Lease>(&self, lease: &L, block: Block, next: u64) {
        Self::store_high(block, next);
        self.clean_word(lease, block, reader::HIGH);
        lease.fence();
    }

    #[cold]
    fn store_high(block: Block, next: u64) {
        #[allow(clippy::cast_possible_truncation, reason = "the high half")]
        block.word(reader::HIGH).store((next >> 32) as u32, Ordering::Relaxed);
    }

    /// Sets the progress of a reader that takes a new place in the log.
    pub(crate) fn place_reader<L: Lease>(&self, lease: &L, block: Block, next: u64) {
        self.note_high(lease, block, next);
        self.note_progress(lease, block, next);
    }
}
