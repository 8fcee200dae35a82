//! Many producers in one process share the writer's place.
//!
//! A producer claims an offset and the room for its payload by one compare-and-swap on a pair of numbers in the process
//! (not in the lease), copies its payload without any lock, and commits by its slot's stamp. Commits may come in any
//! order; readers take records in order of offsets, so a producer that is interrupted between its claim and its commit
//! holds back those behind it, and nothing else. The idea of an out-of-band commit table is the Disruptor's; here the
//! slots are that table.

use super::config::{place, units_of};
use super::gate::Stand;
use super::join::widen;
use super::recover::low;
use super::writer::{give_back, length, take_place};
use super::{Keep, Ring, RingRef, View};
use crate::error::WriteError;
use crate::lease::Lease;
use crate::lease::layout::END;
use crate::platform::atomic::{AtomicU32, Ordering, fence};
use crate::platform::cursor::Counter;
use crate::platform::lock::Turn;
use crate::platform::memory::{Entry, SLOT};
use crate::platform::pair::Pair;
use crate::platform::relax;
use crate::types::Offset;

/// The writer's place, shared by many producers of one process: threads, cores, or an interrupt handler and the code it
/// interrupts.
///
/// Writes by copy only, so that nothing of the user's runs between a claim and its commit. Where the processor has no
/// 64-bit compare-and-swap a claim takes the platform's lock for a few instructions.
///
/// ```
/// # use fabric_mq::lease::SliceLease;
/// # use fabric_mq::ring::{Reader, Ring, RingConfig, SharedWriter, Start};
/// # let mut bytes = [0; 8192];
/// let ring: Ring<_> = Ring::format(SliceLease::new(&mut bytes), RingConfig::new(64, 4096))?;
/// let writer = SharedWriter::claim(&ring)?;
/// std::thread::scope(|scope| {
///     for name in ["a", "b"] {
///         let writer = &writer;
///         scope.spawn(move || writer.write(name.as_bytes()));
///     }
/// });
/// let mut reader = Reader::join(&ring, "main", Start::Earliest)?;
/// assert_eq!(reader.for_each(10, |record| assert_eq!(record.payload().len(), 1))?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SharedWriter<P: RingRef> {
    view: View,
    /// Low half of the next offset, and the position.
    claims: Pair,
    /// Offset and position up to which producers may claim, both exclusive, low halves.
    limit: Pair,
    /// No room before this offset is known to be needed. In the process, since the one in the lease may be anybody's.
    head: Counter,
    /// Everything before this offset (its low half) is committed. Moved only where the log can be ended.
    run: AtomicU32,
    /// Held while the limit is moved.
    mover: Turn,
    ring: P,
}

impl<P: RingRef> SharedWriter<P> {
    /// Takes the writer's place. Walks at most all slots.
    ///
    /// # Errors
    /// As [`Writer::claim`](super::Writer::claim).
    pub fn claim(ring: P) -> Result<Self, WriteError> {
        let inner = ring.ring();
        let core = take_place(inner)?;
        let head = Counter::new();
        head.store(core.head);
        Ok(Self {
            view: inner.view,
            claims: Pair::new((low(core.next), core.position)),
            limit: Pair::new((low(core.next), core.position)),
            head,
            run: AtomicU32::new(low(core.next)),
            mover: Turn::new(),
            ring,
        })
    }

    /// Gives the place up, but not the ring.
    #[allow(dead_code, reason = "for those who share rings by count")]
    pub(crate) fn into_ring(self) -> P {
        self.ring.clone()
    }

    /// The ring.
    pub fn ring(&self) -> &Ring<P::Lease, P::Keep> {
        self.ring.ring()
    }

    /// The offset that the next record will have. Records before it may not be committed yet.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        let (half, _) = self.claims.load();
        Offset::new(self.whole(half))
    }

    /// The whole offset of a claim: at most a ring's length above the head.
    fn whole(&self, half: u32) -> u64 {
        widen(half, self.head.load().wrapping_add(u64::from(self.view.geometry.slots())))
    }

    /// Writes a record and commits it. Does not allocate; waits only for another producer that is moving the limit.
    ///
    /// # Errors
    /// As [`Writer::write`](super::Writer::write). An overwriting ring may also be [`WriteError::Full`] for the moment in
    /// which another producer, a whole lap behind, has claimed the oldest slot and not committed it.
    ///
    /// Where the log can be ended under a living writer ([`RingConfig::takeover`](super::RingConfig::takeover)) a record is
    /// answered for only once those before it are committed; this waits for them, and answers
    /// [`WriteError::Indeterminate`] if some producer does not get on for long.
    pub fn write(&self, payload: &[u8]) -> Result<Offset, WriteError> {
        self.write_tagged(0, payload)
    }

    /// Writes a record with a byte of the caller's beside it.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    #[inline]
    pub fn write_tagged(&self, tag: u8, payload: &[u8]) -> Result<Offset, WriteError> {
        self.write_parts(tag, &[payload])
    }

    /// Writes a record put together from parts.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "how many parts there are, and how long some are, is known at the call")]
    pub fn write_parts(&self, tag: u8, parts: &[&[u8]]) -> Result<Offset, WriteError> {
        let lease = &self.ring.ring().lease;
        // The claim is the checked step: behind it nothing may fail, or a gap would stay.
        lease.check()?;
        let total = length(parts);
        let max = self.view.geometry.max_record();
        if total > max {
            return Err(WriteError::TooLarge { len: total, max });
        }
        #[allow(clippy::cast_possible_truncation, reason = "at most 2^30")]
        let len = total as u32;
        let units = units_of(len);
        let mut now = self.claims.load();
        let start = loop {
            let (offset, position) = now;
            let (start, end) = place(position, units, self.view.geometry.units());
            let limit = self.limit.load();
            if !within(offset, limit.0) || !fits(end, limit.1) {
                self.move_limit(lease, units)?;
                now = self.claims.load();
                continue;
            }
            match self.claims.swap_if(now, (offset.wrapping_add(1), end)) {
                Ok(()) => break start,
                Err(other) => now = other,
            }
        };
        let (half, _) = now;
        self.fill(lease, start, parts, len);
        if P::Lease::SEALABLE && self.view.takeover() {
            return self.commit_in_turn(lease, half, Entry::new(half, len, start, tag));
        }
        let slot = self.view.slots.at(half);
        self.view.commit(lease, slot, u64::from(half), Entry::new(half, len, start, tag));
        let offset = self.whole(half);
        self.ring.ring().complete(Offset::new(offset))
    }

    /// Commits where the log may be ended before it: a record counts once all those before it do.
    fn commit_in_turn(&self, lease: &P::Lease, half: u32, entry: Entry) -> Result<Offset, WriteError> {
        let offset = self.whole(half);
        self.view.commit_or_end(lease, offset, Some(entry))?;
        lease.clean(self.view.slot_at(offset), SLOT);
        let mut at = self.run.load(Ordering::Acquire);
        let mut step = 0;
        while !within(half, at) {
            lease.invalidate(self.view.slot_at(u64::from(at)), SLOT);
            // SYNC(commit)
            let stamp = self.view.slots.at(at).stamp();
            let (passed, ended) = (stamp == at || self.is_lapped(stamp, at), stamp == at ^ END);
            if ended {
                return Err(WriteError::Sealed);
            }
            if passed {
                at = at.wrapping_add(1);
                continue;
            }
            if step >= PATIENCE {
                return Err(WriteError::Indeterminate { offset: Offset::new(offset) });
            }
            relax(step);
            step = step.wrapping_add(1);
            let run = self.run.load(Ordering::Acquire);
            at = if within(at, run) { run } else { at };
        }
        // Of two that store at once the lower may come last: then the next one walks further.
        self.run.store(at, Ordering::Release);
        Ok(Offset::new(offset))
    }

    /// Whether a slot has been used again since it held the offset `at`, which was committed then.
    fn is_lapped(&self, stamp: u32, at: u32) -> bool {
        let is_later = |stamp: u32| {
            let apart = stamp.wrapping_sub(at);
            // Far less than half of all numbers, where stamps of earlier laps would be taken for later ends.
            (1..END >> 1).contains(&apart) && apart & self.view.slots.count().wrapping_sub(1) == 0
        };
        is_later(stamp) || is_later(stamp ^ END)
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "as `write_parts`")]
    #[allow(unsafe_code, reason = "the claimed room")]
    fn fill(&self, lease: &P::Lease, start: u32, parts: &[&[u8]], len: u32) {
        if Ring::<P::Lease, P::Keep>::RACY {
            // SYNC(overrun): the head may have been raised by another producer, whose limit this one acts upon.
            fence(Ordering::Release);
            self.view.bytes.write_racy(start, parts);
        } else {
            // SAFETY: `place` keeps the record in one piece inside the ring. The claim made the room this call's alone: it
            // lies within a limit that no reader needs any more (SYNC(release), handed on by SYNC(pair)), and no other
            // claim covers it; nobody reads what is not committed, since the lease is not hostile.
            unsafe { self.view.bytes.write(start, parts) };
            self.view.bytes.own_soon(start);
        }
        self.view.clean_bytes(lease, start, len);
    }

    /// Looks for room for a record of `units` units.
    #[cold]
    #[inline(never)]
    fn move_limit(&self, lease: &P::Lease, units: u32) -> Result<(), WriteError> {
        let mut step = 0;
        loop {
            let found = self.mover.with(|| self.try_move_limit(lease, units))?;
            match found {
                Outcome::Moved => return Ok(()),
                Outcome::Full => {
                    self.mover.with(|| self.view.note_refusal(lease));
                    return Err(WriteError::Full);
                }
                // Another producer has not committed yet. Give it a chance, but not for ever: it may be the code that this
                // interrupt handler interrupts.
                Outcome::Wait if step < 256 => {
                    relax(step);
                    step = step.wrapping_add(1);
                }
                Outcome::Wait => {
                    self.mover.with(|| self.view.note_refusal(lease));
                    return Err(WriteError::Full);
                }
            }
        }
    }

    fn try_move_limit(&self, lease: &P::Lease, units: u32) -> Result<Outcome, WriteError> {
        let (half, position) = self.claims.load();
        let next = self.whole(half);
        if next >= u64::MAX.wrapping_sub(u64::from(self.view.geometry.slots()).wrapping_mul(4)) {
            return Err(WriteError::Exhausted);
        }
        let (_, end) = place(position, units, self.view.geometry.units());
        let limit = self.limit.load();
        if within(half, limit.0) && fits(end, limit.1) {
            // Somebody else moved it meanwhile.
            return Ok(Outcome::Moved);
        }
        let needed = end.wrapping_sub(position);
        // Records are committed in any order; what is committed without a gap counts.
        let head = self.head.load();
        let committed = self.committed(head, next);
        let behind = self.behind(committed, next, position);
        let stand = Stand { committed, behind, next, position };
        let (room, new_head) = if P::Keep::OVERWRITE {
            self.view.overwrite(lease, head, stand, needed)?
        } else {
            self.view.look(lease, head, stand)?
        };
        self.head.store(new_head);
        self.limit.store((half.wrapping_add(room.slots), position.wrapping_add(room.units)));
        if room.has(needed) {
            Ok(Outcome::Moved)
        } else if committed != next {
            Ok(Outcome::Wait)
        } else {
            Ok(Outcome::Full)
        }
    }

    /// Where the first record that is not committed may lie at the earliest: behind the last one that is, as long as that
    /// one's slot has not been used again.
    fn behind(&self, committed: u64, next: u64, position: u32) -> Option<u32> {
        if committed == next {
            return Some(position);
        }
        let Some(last) = committed.checked_sub(1) else { return Some(0) };
        let entry = self.view.slot(last).load();
        let sound = entry.stamp() == low(last) && self.view.validate(last, entry).is_ok();
        sound.then(|| entry.position().wrapping_add(units_of(entry.len())))
    }

    /// The end of the run of committed records from `head` on.
    fn committed(&self, head: u64, next: u64) -> u64 {
        let hint = self.view.hints().cursor(crate::lease::layout::hints::TAIL).load();
        let mut at = if (head..=next).contains(&hint) { hint } else { head };
        // SYNC(commit)
        while at < next && self.view.slot(at).stamp() == low(at) {
            at = at.wrapping_add(1);
        }
        at
    }
}

/// How often a producer looks whether those before it have committed: a third of a second or more, with threads.
const PATIENCE: u32 = 1 << 13;

enum Outcome {
    Moved,
    Full,
    Wait,
}

/// Whether `offset` is below `limit`, in halves.
#[inline]
#[allow(clippy::cast_possible_wrap, reason = "distances are below 2^31")]
fn within(offset: u32, limit: u32) -> bool {
    (limit.wrapping_sub(offset) as i32) > 0
}

/// Whether a payload that ends at `end` stays within `limit`, in halves.
#[inline]
#[allow(clippy::cast_possible_wrap, reason = "distances are below 2^31")]
fn fits(end: u32, limit: u32) -> bool {
    (limit.wrapping_sub(end) as i32) >= 0
}

impl<P: RingRef> Drop for SharedWriter<P> {
    fn drop(&mut self) {
        // No claim is under way: each of them borrows this value.
        let mut next = self.next_offset().value();
        if P::Lease::SEALABLE && self.view.takeover() {
            // Some claims may have found that the log is ended.
            next = self.committed(self.head.load(), next);
        }
        give_back(self.ring.ring(), next);
    }
}

impl<P: RingRef> core::fmt::Debug for SharedWriter<P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SharedWriter").field("next", &self.next_offset()).finish_non_exhaustive()
    }
}
