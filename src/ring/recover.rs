//! Finding the end of the log, and clearing up behind a writer that died.
//!
//! A writer stores a record's payload, then its slot, then the slot's stamp; it raises `head` before it uses room
//! again, and notes the tail now and then. So whatever store it died at, the log is the run of slots from `head` on that
//! hold their own stamps, and everything behind the run's end is unwritten. (A batch stores the stamps of all but its
//! first record early; the first one's absence hides them, and recovery takes them away.)

use super::config::units_of;
use super::{Keep, Ring, View, WORD};
use crate::error::{AttachError, Check, Corrupt};
use crate::lease::Lease;
use crate::lease::layout::{BOUNDS_AT, HINTS_AT, bounds, hints, reader};
use crate::platform::atomic::Ordering;
use crate::platform::cursor::Found;
use crate::platform::memory::{Entry, SLOT, Slot};
use crate::types::Epoch;

#[allow(clippy::cast_possible_truncation, reason = "slots hold the low half of offsets")]
#[inline]
pub(crate) const fn low(offset: u64) -> u32 {
    offset as u32
}

impl<L: Lease, K: Keep> Ring<L, K> {
    /// Takes the writer's place over from a writer of a lower epoch, dead or gone, while readers read on; answers whether
    /// it did. The lease vouches that nobody of a lower epoch writes any more, and that this process alone writes under its
    /// own (`Role::Writer`).
    pub(super) fn succeed(&self) -> bool {
        // Of two threads that come here, one finds the epoch raised.
        self.registry.with(|| {
            let (view, lease) = (&self.view, &self.lease);
            let block = view.bounds();
            if view.load_epoch(lease) >= lease.epoch() {
                return false;
            }
            view.complete(lease);
            block.word(bounds::CLAIM).store(1, Ordering::Relaxed);
            view.clean_word(lease, block, bounds::CLAIM);
            lease.fence();
            block.word(bounds::EPOCH).store(lease.epoch().value(), Ordering::Release);
            view.clean_word(lease, block, bounds::EPOCH);
            lease.fence();
            true
        })
    }
}

impl View {
    #[inline]
    pub(crate) fn slot(&self, offset: u64) -> Slot {
        self.slots.at(low(offset))
    }

    /// Where the slot of an offset lies in the lease.
    #[inline]
    pub(crate) fn slot_at(&self, offset: u64) -> usize {
        let index = low(offset) & self.geometry.slots().wrapping_sub(1);
        self.geometry.slots_at().wrapping_add((index as usize).wrapping_mul(SLOT))
    }

    /// Where a position lies in the lease.
    #[inline]
    pub(crate) fn byte_at(&self, position: u32) -> usize {
        self.geometry.bytes_at().wrapping_add((self.bytes.index(position) as usize).wrapping_mul(8))
    }

    /// The stamp that the slot of `offset` holds while `offset` is not committed: the one of a lap before.
    #[inline]
    pub(crate) fn stale(&self, offset: u64) -> u32 {
        self.slots.stale(low(offset))
    }

    /// Checks the entry that should be the one of `offset`.
    #[inline]
    pub(crate) fn validate(&self, offset: u64, entry: Entry) -> Result<(), Corrupt> {
        if !entry.is_sound() {
            return Err(Corrupt::new(Check::Slot, offset));
        }
        if !self.bytes.spans(entry.position(), entry.len()) {
            return Err(Corrupt::new(Check::Extent, offset));
        }
        Ok(())
    }

    /// The tail hint as it stands in the memory.
    #[inline]
    fn load_hint<L: Lease>(&self, lease: &L) -> u64 {
        lease.invalidate_counter(HINTS_AT.wrapping_add(hints::TAIL * 4));
        self.hints().cursor(hints::TAIL).load()
    }

    /// The end of the log while its writer lives.
    pub(crate) fn walk_tail<L: Lease>(&self, lease: &L) -> u64 {
        let slots = self.geometry.slots();
        let mut at = 0;
        // An overwriting writer may lap the walk; after a few tries the answer is the last one, which was true once.
        for _ in 0..4 {
            // SYNC(head): the writer stores the hint before the head, so a hint loaded after a head is not below it.
            let head = self.load_head(lease);
            let hint = self.load_hint(lease);
            // Distances from the head, which 32 bits can hold.
            let ahead = hint.wrapping_sub(head);
            let mut live = if ahead <= u64::from(slots) { low(ahead) } else { 0 };
            while live < slots {
                let at = low(head).wrapping_add(live);
                lease.invalidate(self.slot_at(u64::from(at)), WORD);
                // SYNC(commit)
                if self.slots.at(at).stamp() != at || lease.reached().is_err() {
                    break;
                }
                live = live.wrapping_add(1);
            }
            at = head.saturating_add(u64::from(live));
            if self.load_head(lease) <= at {
                break;
            }
        }
        at
    }

    /// Where the writer continues: behind the payload of the last record.
    pub(crate) fn position_at(&self, tail: u64, head: u64) -> Result<u32, Corrupt> {
        let Some(last) = tail.checked_sub(1) else { return Ok(0) };
        let entry = self.slot(last).load();
        if entry.stamp() == low(last) && self.validate(last, entry).is_ok() {
            return Ok(entry.position().wrapping_add(units_of(entry.len())));
        }
        // An empty log has no payload to spare: any position will do.
        if tail == head { Ok(0) } else { Err(Corrupt::new(Check::Stamp, last)) }
    }

    /// Reads the two counters of a log that nobody writes: head and tail, checked against each other and the slots.
    fn survey(&self) -> Result<(u64, u64), Corrupt> {
        let slots = u64::from(self.geometry.slots());
        let damaged = Corrupt::new(Check::Head, 0);
        let candidates = match self.bounds().cursor(bounds::HEAD).recover() {
            Found::Whole(head) => [head, head],
            // The writer died before it used the room it was about to free, so the lower head is as good, and loses
            // nothing. If one of the two is damage, it is most likely absurd.
            Found::Either(a, b) => [a.min(b), a.max(b)],
            Found::Damaged => return Err(damaged),
        };
        let (hint, sure) = match self.hints().cursor(hints::TAIL).recover() {
            Found::Whole(hint) => (hint, true),
            Found::Either(a, b) => (a.min(b), false),
            Found::Damaged => (candidates[0], false),
        };
        for head in candidates {
            if head > u64::MAX.wrapping_sub(slots.wrapping_mul(2)) {
                continue;
            }
            let inside = (head..=head.saturating_add(slots)).contains(&hint);
            // The hint is never below the head, nor a lap above it: if it seems so, it is the head that is wrong, by a
            // multiple of 2^32 perhaps, which no stamp would show.
            if sure && !inside {
                continue;
            }
            let mut tail = if inside { hint } else { head };
            // A hint that is not below a committed record and not at the head is no hint.
            if tail > head && self.slot(tail.wrapping_sub(1)).stamp() != low(tail.wrapping_sub(1)) {
                tail = head;
            }
            while tail.wrapping_sub(head) < slots && self.slot(tail).stamp() == low(tail) {
                tail = tail.wrapping_add(1);
            }
            // Every slot of the run must hold its stamp, also those before the hint; and the one behind it must hold the
            // stamp of a lap before, unless the run fills the ring.
            let whole = (head..tail).all(|at| self.slot(at).stamp() == low(at));
            let next = self.slot(tail).stamp();
            let ended = next == self.stale(tail) || tail.wrapping_sub(head) == slots;
            if whole && ended {
                return self.intact(head, tail).map(|head| (head, tail));
            }
        }
        Err(damaged)
    }

    /// The lowest offset from `head` on whose payload cannot have been overwritten by those up to `tail`; checks on the way
    /// that payloads do not overlap.
    fn intact(&self, head: u64, tail: u64) -> Result<u64, Corrupt> {
        let end = self.position_at(tail, head)?;
        let units = self.geometry.units();
        let mut first = head;
        // The payloads of the log must follow each other without overlapping, or a reader could be lent what the writer
        // believes to be free. Walked from the end, each must end where the one behind it starts, or before.
        let mut behind = end;
        for at in (head..tail).rev() {
            let entry = self.slot(at).load();
            if self.validate(at, entry).is_err() {
                // Damaged: no reader is lent it.
                continue;
            }
            let (reach, taken) = (end.wrapping_sub(entry.position()), end.wrapping_sub(behind));
            if reach > units {
                // Overwritten: this one, and all before it.
                first = at.wrapping_add(1);
                break;
            }
            if reach < taken.saturating_add(units_of(entry.len())) {
                return Err(Corrupt::new(Check::Extent, at));
            }
            behind = entry.position();
        }
        Ok(first)
    }

    /// Takes away the stamps behind the end of the log: those of a batch whose first record was never committed, or of
    /// producers that committed behind one which never did.
    pub(crate) fn take_back<L: Lease>(&self, lease: &L, head: u64, tail: u64) {
        for step in low(tail.wrapping_sub(head))..self.geometry.slots() {
            let at = u64::from(low(head).wrapping_add(step));
            let slot = self.slot(at);
            if slot.stamp() != self.stale(at) {
                slot.commit(self.stale(at));
                lease.clean(self.slot_at(at), WORD);
            }
        }
    }

    /// Checks a ring that others may be writing: what a reader checks anyway is left to it.
    pub(crate) fn inspect<L: Lease>(&self, lease: &L) -> Result<(), AttachError> {
        let slots = u64::from(self.geometry.slots());
        // A live writer moves both while we look; it never leaves them further apart than this.
        for _ in 0..16 {
            // SYNC(head)
            let head = self.load_head(lease);
            let hint = self.load_hint(lease);
            let possible = head <= u64::MAX.wrapping_sub(slots.wrapping_mul(2));
            if possible && (head..=head.saturating_add(slots)).contains(&hint) {
                return Ok(());
            }
        }
        Err(AttachError::Corrupt(Corrupt::new(Check::Head, 0)))
    }

    /// Completes what a dead writer may have been storing in its counters, while readers read on: to the values that they
    /// see already, so that nothing jumps.
    fn complete<L: Lease>(&self, lease: &L) {
        let (limits, notes) = (self.bounds(), self.hints());
        for (block, block_at, word) in
            [(limits, BOUNDS_AT, bounds::HEAD), (notes, HINTS_AT, hints::TAIL), (notes, HINTS_AT, hints::REFUSED)]
        {
            let at = block_at.wrapping_add(word.wrapping_mul(WORD));
            lease.invalidate_counter(at);
            let counter = block.cursor(word);
            counter.store(counter.load());
            lease.clean_counter(at);
        }
        lease.fence();
        // Whether the head may rise was asked for a writer that will not raise it.
        limits.word(bounds::GATE).store(0, Ordering::Release);
        self.clean_word(lease, limits, bounds::GATE);
        lease.fence();
    }

    /// Clears up behind a dead writer and dead readers. Nobody else touches the ring meanwhile.
    ///
    /// Idempotent, and safe to be cut off anywhere: each step leaves a state that it would start from again.
    pub(crate) fn recover<L: Lease>(&self, lease: &L, epoch: Epoch) -> Result<(), AttachError> {
        let (head, tail) = self.survey()?;
        // Take away the stamps behind the end: those of a batch whose first record was never committed.
        let live = tail.wrapping_sub(head);
        self.take_back(lease, head, tail);
        self.hints().cursor(hints::TAIL).reset(tail);
        self.bounds().cursor(bounds::HEAD).reset(head);
        self.bounds().word(bounds::GATE).store(0, Ordering::Relaxed);
        if matches!(self.hints().cursor(hints::REFUSED).recover(), Found::Damaged) {
            self.hints().cursor(hints::REFUSED).reset(0);
        }
        for block in self.control.places() {
            // Whoever read here is gone, and its token may be somebody else's one day.
            block.word(reader::OWNER).store(0, Ordering::Relaxed);
            let state = block.word(reader::STATE);
            let progress = block.word(reader::PROGRESS).load(Ordering::Acquire);
            let guard = !block.word(reader::GUARD).load(Ordering::Acquire);
            match state.load(Ordering::Acquire) {
                reader::PARKED | reader::CLAIMED => {
                    // Between the two stores of a release, the earlier progress is the safe one: it reads again.
                    let (a, b) = (low(tail).wrapping_sub(progress), low(tail).wrapping_sub(guard));
                    let live = low(live);
                    let lag = match (a <= live, b <= live) {
                        (true, true) => a.max(b),
                        (true, false) => a,
                        (false, true) => b,
                        // Outside the log in both words: damage, or overrun in an overwriting ring. Start at its head.
                        (false, false) => live,
                    };
                    let progress = low(tail).wrapping_sub(lag);
                    block.word(reader::PROGRESS).store(progress, Ordering::Relaxed);
                    block.word(reader::GUARD).store(!progress, Ordering::Relaxed);
                    self.note_high(lease, block, tail.wrapping_sub(u64::from(lag)));
                    state.store(reader::PARKED, Ordering::Release);
                }
                _ => state.store(reader::FREE, Ordering::Release),
            }
        }
        self.bounds().word(bounds::EPOCH).store(epoch.value(), Ordering::Relaxed);
        self.bounds().word(bounds::CLAIM).store(0, Ordering::Release);
        Ok(())
    }
}
