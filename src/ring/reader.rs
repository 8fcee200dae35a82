//! Reading in place: the reader's progress pins what it was handed.

use super::config::units_of;
use super::recover::low;
use super::{Keep, RecordRef, Retain, Ring, RingRef, View};
use crate::error::{Check, Corrupt, LeaseError, ReadError};
use crate::lease::layout::reader;
use crate::lease::{Lease, Lend};
use crate::platform::STRAIGHT;
use crate::platform::atomic::Ordering;
use crate::platform::memory::{Block, Entry, Extent, Lap, Row, SLOT, UNIT};
use crate::platform::run::Run;
use crate::types::Offset;

/// Records of a visit after which the writer is told: often enough that it need not stop, seldom enough that the store
/// does not show.
const TOLD_EVERY: u32 = 32;

/// One reader of a ring, in its own time. Reading takes nothing out: other readers see the same records.
///
/// What a reader has been handed is released when it asks for the next record, or calls [`release`](Self::release). Dropping a reader gives up its
/// place and everything held for it; [`park`](Self::park) keeps both.
pub struct Reader<P: RingRef> {
    pub(super) view: View,
    /// This reader's words.
    pub(super) block: Block,
    /// Whether the place was given up already.
    pub(super) gone: bool,
    pub(super) next: u64,
    /// Where the next record's payload lies, if it follows the one that `next` or `copy_next` read last.
    pub(super) expected: u32,
    /// Where the next records are that simply follow: empty, where somebody else than `next` moved the reader.
    pub(super) run: Run,
    pub(super) lost: u64,
    pub(super) ring: P,
}

impl<P: RingRef> Reader<P> {
    pub(super) fn at(ring: P, block: Block, next: u64) -> Self {
        let view = ring.ring().view;
        Self { view, block, gone: false, next, expected: 0, run: Run::NONE, lost: 0, ring }
    }

    #[inline]
    pub(super) fn stand_at(&mut self, next: u64) {
        self.next = next;
        self.run.close();
    }

    /// The ring.
    pub fn ring(&self) -> &Ring<P::Lease, P::Keep> {
        self.ring.ring()
    }

    /// The offset of the record that comes next.
    #[must_use]
    pub const fn next_offset(&self) -> Offset {
        Offset::new(self.next)
    }

    /// Records that were overwritten before this reader came to them, in all.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Records from here to the end of the log. Walks the slots that the writer has not noted yet.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.ring().tail().value().saturating_sub(self.next)
    }

    /// Tells the writer at once that everything handed out so far is done with.
    #[inline]
    pub fn release(&mut self) {
        self.ring.ring().tell(self.block, self.next);
    }

    #[inline]
    pub(super) fn release_all(&self) {
        self.view.release(&self.ring.ring().lease, self.block, self.next);
    }

    /// A look at the slot of the next record.
    #[inline]
    pub(super) fn entry(&self) -> Result<Entry, LeaseError> {
        self.ring.ring().lease.invalidate(self.view.slot_at(self.next), SLOT);
        self.ring.ring().lease.reached()?;
        Ok(self.view.slot(self.next).load())
    }

    /// Checks that the next record, whose slot holds `entry`, is sound, and expects it where that says.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a few instructions of each read")]
    pub(super) fn locate(&mut self, entry: Entry) -> Result<(), Corrupt> {
        let expected = self.expected;
        if !(STRAIGHT && entry.lies_at(expected) && self.view.bytes.spans(expected, entry.len())) {
            self.view.validate(self.next, entry)?;
            self.expected = entry.position();
        }
        Ok(())
    }

    /// Goes on to the record behind the one at `expected`, of `len` bytes; answers its offset.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a few instructions of each read")]
    pub(super) fn advance(&mut self, len: u32) -> u64 {
        let offset = self.next;
        self.expected = self.expected.wrapping_add(units_of(len));
        self.stand_at(offset.wrapping_add(1));
        offset
    }
}

/// A record that `next` has found where it does not simply follow the last one.
struct Found {
    extent: Extent,
    /// Where it lies, and where the one behind it is expected.
    position: u32,
    end: u32,
    lap: Lap,
}

impl<P> Reader<P>
where
    P: RingRef<Keep = Retain>,
    <P::Lease as Lease>::Trust: Lend,
{
    /// The next record, in place, or `None` if there is none yet. Does not block, allocate or copy.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] if the record's slot is damaged: the reader stays before it, and may
    /// [`seek`](Self::seek) behind it. [`ReadError::Lease`] if there is no further record and the lease has ended: what
    /// was committed before is still read. [`ReadError::Sealed`] if the log is ended here, and goes on in another lease:
    /// see [`Ring::seal`](super::Ring::seal) and [`cross`](Self::cross).
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "keeps the record in registers")]
    #[allow(clippy::should_implement_trait, reason = "lends from the reader, which Iterator cannot")]
    pub fn next(&mut self) -> Result<Option<RecordRef<'_>>, ReadError> {
        if !STRAIGHT {
            return self.next_anywhere();
        }
        if let Some((slot, rest)) = self.run.first() {
            let lease = &self.ring.ring().lease;
            lease.invalidate(self.view.slot_at(self.next), SLOT);
            lease.reached()?;
            let entry = slot.load();
            if entry.stamp() == low(self.next) {
                let len = entry.len() as usize;
                if entry.lies_at(self.expected)
                    && let Some(end) = Run::end(self.expected, len.wrapping_add(UNIT - 1) / UNIT, self.run.stop())
                {
                    return self
                        .lend(self.run.lap(), (self.expected, end), rest, (len, entry.extent().tag()))
                        .map(Some);
                }
            } else if self.is_waiting(entry.stamp()) {
                return Ok(None);
            }
        }
        // By value: the reader's address is not taken, so a loop keeps it in registers.
        let (run, found) = Self::find(self.ring.ring(), self.block, self.next, self.run);
        self.run = run;
        let Some(Found { extent, position, end, lap }) = found? else { return Ok(None) };
        let rest = run.first().map_or(Row::EMPTY, |(_, rest)| rest);
        self.lend(lap, (position, end), rest, (extent.len() as usize, extent.tag())).map(Some)
    }

    /// The next record, where it does not simply follow the last one in this run; and the run that begins with it, or, if it
    /// is not there yet, this one still: then it will be found without another look elsewhere.
    #[cold]
    #[inline(never)]
    fn find(
        ring: &Ring<P::Lease, Retain>,
        block: Block,
        next: u64,
        run: Run,
    ) -> (Run, Result<Option<Found>, ReadError>) {
        let view = &ring.view;
        let mut run = if run.first().is_some() { run } else { Run::waiting(view.slots, low(next)) };
        let found = ring.find_record(block, next).map(|found| {
            found.inspect(|found| {
                // With this record's slot in front, so that no run goes on where offsets come round to 0: see `note_wrap`.
                let room = (found.end, view.geometry.units());
                run = Run::new(view.slots, view.bytes, (low(next), view.geometry.slots()), room);
            })
        });
        (run, found)
    }

    /// The next record, on small processors.
    fn next_anywhere(&mut self) -> Result<Option<RecordRef<'_>>, ReadError> {
        let entry = self.entry()?;
        let ring = self.ring.ring();
        if entry.stamp() != low(self.next) {
            return ring.not_yet(self.block, self.next, entry.stamp()).map(|()| None);
        }
        self.locate(entry)?;
        self.view.note_wrap(&self.ring.ring().lease, self.block, self.next);
        let (position, len) = (self.expected, entry.len());
        let place = (position, position.wrapping_add(units_of(len)));
        self.lend(Lap::NONE, place, Row::EMPTY, (len as usize, entry.extent().tag())).map(Some)
    }

    /// Lends the record of the lap that lies from `position` to `end`, and goes on to `rest`.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "keeps the record in registers")]
    #[allow(clippy::cast_possible_truncation, reason = "at most 2^24")]
    #[allow(unsafe_code, reason = "records in place")]
    fn lend(
        &mut self,
        lap: Lap,
        (position, end): (u32, u32),
        rest: Row,
        (len, tag): (usize, u8),
    ) -> Result<RecordRef<'_>, ReadError> {
        let lease = &self.ring.ring().lease;
        // What earlier calls handed out is done with. The store goes to a line of this reader's own, which the writer
        // looks at when it runs out of room: telling it each time costs nothing while there is room.
        self.view.note_progress(lease, self.block, self.next);
        let offset = self.next;
        lease.fetch(self.view.byte_at(position), len);
        lease.reached()?;
        let payload = if STRAIGHT {
            // SAFETY: `Run::end` or `validate` checked that the record lies in the ring, and in this lap. It is committed, and
            // the writer stays away from it until this reader's progress passes it (SYNC(release)): that happens in a later
            // call that borrows the reader mutably, which the returned lifetime forbids. On a lease that is not hostile nobody
            // else writes here.
            unsafe { lap.slice(position, len) }
        } else {
            // SAFETY: as above.
            unsafe { self.view.bytes.slice(position, len as u32) }
        };
        self.next = offset.wrapping_add(1);
        self.expected = end;
        self.run.go_on(rest);
        Ok(RecordRef { offset, tag, payload })
    }

    /// Hands up to `max` records to `visit` in order, in place; answers how many. They are released when it returns.
    ///
    /// # Errors
    /// As [`next`](Self::next); the records before the damaged one have been handed out.
    #[inline]
    #[allow(unsafe_code, reason = "records in place")]
    pub fn for_each(&mut self, max: usize, mut visit: impl FnMut(RecordRef<'_>)) -> Result<usize, ReadError> {
        self.run.close();
        let Self { view, block, next, ring, .. } = self;
        let (view, block, lease) = (*view, *block, &ring.ring().lease);
        let stride = u64::from(view.geometry.slot_stride().min(TOLD_EVERY));
        lease.check()?;
        let first = *next;
        let end = first.saturating_add(max as u64);
        // Written back when it goes out of scope: a record whose visit panics counts as handed out.
        let mut at = Place { offset: first, next };
        let mut told = first;
        let mut broken = None;
        'all: while at.offset < end {
            // The writer is told every few records, and at the end.
            let pause = end.min(at.offset.wrapping_add(stride));
            for slot in view.slots.run(low(at.offset), low(pause.wrapping_sub(at.offset))) {
                let offset = at.offset;
                lease.invalidate(view.slot_at(offset), SLOT);
                if lease.reached().is_err() {
                    break 'all;
                }
                // With many records under way at once, to take the place from the slot costs less than to expect it.
                let entry = slot.load();
                if entry.stamp() != low(offset) {
                    broken = (entry.stamp() != view.stale(offset)).then(|| Corrupt::new(Check::Stamp, offset));
                    break 'all;
                }
                if let Err(error) = view.validate(offset, entry) {
                    broken = Some(error);
                    break 'all;
                }
                let (position, len) = (entry.position(), entry.len());
                lease.fetch(view.byte_at(position), len as usize);
                if lease.reached().is_err() {
                    break 'all;
                }
                // SAFETY: as in `next`; here the reader stays borrowed until all records are done with, and its progress
                // moves only past records that `visit` has returned from.
                let payload = unsafe { view.bytes.slice(position, len) };
                at.offset = offset.wrapping_add(1);
                visit(RecordRef { offset, tag: entry.extent().tag(), payload });
            }
            view.release(lease, block, at.offset);
            told = at.offset;
        }
        let last = at.offset;
        drop(at);
        // Also when there was no record: what `next` handed out before is done with.
        if told != last || last == first {
            view.release(lease, block, last);
        }
        lease.reached()?;
        #[allow(clippy::cast_possible_truncation, reason = "at most max")]
        match broken {
            Some(error) if <P::Lease as Lease>::SEALABLE => self.broken_off(error, last.wrapping_sub(first) as usize),
            Some(error) => Err(error.into()),
            None => Ok(last.wrapping_sub(first) as usize),
        }
    }

    /// Whether there is still no record, and nothing to tell: what a reader that polls comes by each time, laid out so that
    /// the processor runs ahead of it, to the record that it will find.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "each poll in vain")]
    fn is_waiting(&self, stamp: u32) -> bool {
        stamp == self.view.stale(self.next)
            && self.block.word(reader::PROGRESS).load(Ordering::Relaxed) == low(self.next)
            && self.ring.ring().lease.check().is_ok()
    }
}

impl<L: Lease> Ring<L, Retain> {
    /// The record at `next`, for the reader of `block`, if it is there.
    fn find_record(&self, block: Block, next: u64) -> Result<Option<Found>, ReadError> {
        let (view, lease) = (&self.view, &self.lease);
        lease.invalidate(view.slot_at(next), SLOT);
        lease.reached()?;
        // Looked at again, so that the first look stays in registers. On a lease that lends, what is committed stays.
        let entry = view.slot(next).load();
        if entry.stamp() != low(next) {
            return self.not_yet(block, next, entry.stamp()).map(|()| None);
        }
        view.validate(next, entry)?;
        view.note_wrap(lease, block, next);
        let (position, extent) = (entry.position(), entry.extent());
        let end = position.wrapping_add(units_of(extent.len()));
        Ok(Some(Found { extent, position, end, lap: view.bytes.lap(position) }))
    }

    /// There is no record yet: tell the writer how far we are, so that it can never wait for a reader that waits for it.
    fn not_yet(&self, block: Block, next: u64, stamp: u32) -> Result<(), ReadError> {
        if L::SEALABLE && self.view.is_end(next, stamp) {
            return self.at_end(block, next);
        }
        self.lease.check()?;
        self.tell(block, next);
        if stamp == self.view.stale(next) {
            return Ok(());
        }
        Err(Corrupt::new(Check::Stamp, next).into())
    }
}

impl<L: Lease, K: Keep> Ring<L, K> {
    /// Tells the writer that a reader has come to `next`, if it was not told.
    #[inline]
    pub(super) fn tell(&self, block: Block, next: u64) {
        // Only this reader writes the word: if it is there already, nothing was handed out since.
        if block.word(reader::PROGRESS).load(Ordering::Relaxed) != low(next) {
            self.view.release(&self.lease, block, next);
        }
    }
}

/// Where a visit is; the reader's own place when it ends, in whatever way.
struct Place<'a> {
    offset: u64,
    next: &'a mut u64,
}

impl Drop for Place<'_> {
    #[inline]
    fn drop(&mut self) {
        *self.next = self.offset;
    }
}

impl<P: RingRef> Drop for Reader<P> {
    #[inline]
    fn drop(&mut self) {
        self.leave(reader::FREE);
    }
}
