//! Taking a reader's place, leaving it, and moving about in the log.

use super::recover::low;
use super::{Keep, Reader, Ring, RingRef, View};
use crate::error::{JoinError, SeekError};
use crate::lease::Lease;
use crate::lease::layout::{bounds, reader};
use crate::name::{self, MAX_NAME, Name};
use crate::platform::atomic::{Ordering, fence};
use crate::platform::memory::{BLOCK, Block};
use crate::platform::relax;
use crate::types::Offset;
use core::fmt;

/// Bytes of a place's name and of its length.
const NAMED: usize = (1 + reader::NAME_WORDS) * 4;

/// Where a reader begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Start {
    /// At the oldest record there is.
    Earliest,
    /// Behind the newest record: only what comes from now on.
    Latest,
    /// At this record.
    At(Offset),
    /// Where the reader of the same name parked; at the oldest record if none did.
    Resume,
}

/// A registered reader, as others see it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ReaderInfo {
    /// Its name.
    pub name: Name,
    /// The first offset it still needs.
    pub progress: Offset,
    /// Records from there to the end of the log.
    pub lag: u64,
    /// Whether somebody reads there now; if not, it is parked and still holds its records.
    pub active: bool,
}

/// Turns a half offset back into a whole one, knowing that it lies at most 2^31 below `near`.
pub(crate) fn widen(half: u32, near: u64) -> u64 {
    near.wrapping_sub(u64::from(low(near).wrapping_sub(half)))
}

/// Where a parked reader stood.
fn parked_at(block: Block, tail: u64) -> u64 {
    let half = block.word(reader::PROGRESS).load(Ordering::Acquire);
    let whole = (u64::from(block.word(reader::HIGH).load(Ordering::Acquire)) << 32) | u64::from(half);
    if whole <= tail { whole } else { widen(half, tail) }
}

pub(super) fn name_of(block: Block) -> Option<Name> {
    let len = block.word(reader::NAME_LEN).load(Ordering::Acquire) as usize;
    let mut bytes = [0; reader::NAME_WORDS * 4];
    for (index, four) in bytes.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        *four = block.word(reader::NAME.wrapping_add(index)).load(Ordering::Acquire).to_le_bytes();
    }
    Name::from_bytes(bytes.get(..len)?).ok()
}

/// The word at `index` of a name as it is stored, zeros behind its end: the lowest byte is the first one.
#[inline(never)]
fn word_of(name: &[u8], index: usize) -> u32 {
    let mut word = 0;
    for at in (0..4).rev() {
        word = (word << 8) | u32::from(name.get(index.wrapping_mul(4).wrapping_add(at)).copied().unwrap_or(0));
    }
    word
}

/// Whether a place has this name. No name has zeros in it, so its words tell how long it is.
fn is_named(block: Block, name: &[u8]) -> bool {
    (0..reader::NAME_WORDS)
        .all(|index| block.word(reader::NAME.wrapping_add(index)).load(Ordering::Acquire) == word_of(name, index))
}

/// Gives a place its name, which is a checked one.
pub(super) fn put_name(block: Block, name: &[u8]) {
    for index in 0..reader::NAME_WORDS {
        block.word(reader::NAME.wrapping_add(index)).store(word_of(name, index), Ordering::Relaxed);
    }
    let len = u32::try_from(name.len()).unwrap_or(0);
    block.word(reader::NAME_LEN).store(len, Ordering::Release);
}

impl View {
    /// Whether what a dead reader's progress says is held. It may have died before it looked at the gate, and a writer that is
    /// just asking how far it may go may have missed it; from when the gate is seen open, no writer does.
    fn is_settled<L: Lease>(&self, lease: &L, block: Block) -> bool {
        // Whoever fences after this one does not find an older progress than is found here.
        self.refresh_word(lease, block, reader::PROGRESS);
        let _ = block.word(reader::PROGRESS).load(Ordering::Acquire);
        (0..256).any(|step| {
            // SYNC(gate): with the fence in `look`.
            fence(Ordering::SeqCst);
            self.refresh_word(lease, self.bounds(), bounds::GATE);
            let open = self.bounds().word(bounds::GATE).load(Ordering::Acquire) == 0;
            if !open {
                // A writer asks for a moment only, unless it has died: then whoever succeeds it opens the gate.
                relax(step);
            }
            open
        })
    }

    /// Finds the start of a reader whose progress is already stored as `wanted`, moving it up to the floor; but not above
    /// `held`, which is held for it already.
    ///
    /// Once is enough: a writer that shows a higher floor after this one was seen looks at the readers after it did, and
    /// finds this one's progress.
    fn settle<L: Lease>(&self, lease: &L, block: Block, wanted: u64, held: u64) -> u64 {
        let floor = self.floor(lease).min(held);
        if floor <= wanted {
            return wanted;
        }
        self.place_reader(lease, block, floor);
        floor
    }
}

impl<L: Lease, K: Keep> Ring<L, K> {
    /// The registered readers.
    pub fn readers(&self) -> impl Iterator<Item = ReaderInfo> + '_ {
        let tail = self.tail().value();
        self.view.control.places().filter_map(move |block| {
            self.lease.invalidate(self.view.control.distance(block), BLOCK);
            let active = match block.word(reader::STATE).load(Ordering::Acquire) {
                reader::CLAIMED => true,
                reader::PARKED => false,
                _ => return None,
            };
            let progress = parked_at(block, tail).max(self.head().value());
            let lag = tail.saturating_sub(progress);
            Some(ReaderInfo { name: name_of(block)?, progress: Offset::new(progress), lag, active })
        })
    }

    /// Removes a parked reader, or one that is known to be dead: its records are no longer held for it. Answers whether there
    /// was one.
    ///
    /// # Errors
    /// [`JoinError::Claimed`] if somebody reads there; [`JoinError::Name`] if the name is none.
    pub fn forget(&self, name: &str) -> Result<bool, JoinError> {
        let name = name.as_bytes();
        name::check(name, MAX_NAME)?;
        self.registry.with(|| {
            let Some(block) = self.find(name) else { return Ok(false) };
            let removed = self.take_from(block, reader::FREE);
            if removed {
                self.disown(block);
                Ok(true)
            } else {
                self.lease.check()?;
                Err(JoinError::Claimed)
            }
        })
    }

    /// Parks the places of readers that died, where the lease can prove that; answers how many. They hold their records, as
    /// every parked reader does, until one of the same name joins, or somebody [forgets](Self::forget) them. (To join by the
    /// name of a dead reader does not need this.) Asks the lease about each reader, which may ask the operating system.
    pub fn park_dead(&self) -> usize {
        self.registry.with(|| {
            let mut parked: usize = 0;
            for block in self.view.control.places() {
                self.refresh_reader(block);
                let owner = block.word(reader::OWNER).load(Ordering::Acquire);
                if owner == 0 || !self.lease.is_gone(owner) || !self.take_from(block, reader::PARKED) {
                    continue;
                }
                parked = parked.saturating_add(1);
                self.disown(block);
            }
            parked
        })
    }

    /// Puts this lease's token on a place that has none, or that of somebody dead; answers the one before, or `None` if
    /// somebody lives there. Where leases have no tokens, that is for the place's state to say.
    #[inline]
    fn own(&self, block: Block) -> Option<u32> {
        let token = self.lease.token();
        if token == 0 {
            return Some(0);
        }
        let owner = block.word(reader::OWNER).load(Ordering::Acquire);
        // Of several that find the same one dead, one comes after it.
        let taken = (owner == 0 || self.lease.is_gone(owner)) && self.claim(block, reader::OWNER, owner, token);
        taken.then_some(owner)
    }

    /// Takes this lease's token off.
    #[inline]
    pub(super) fn disown(&self, block: Block) {
        let token = self.lease.token();
        if token != 0 {
            let _ = self.claim(block, reader::OWNER, token, 0);
        }
    }

    #[inline]
    fn claim(&self, block: Block, word: usize, old: u32, new: u32) -> bool {
        self.view.claim(&self.lease, block, word, old, new)
    }

    /// Moves a place from parked, or from a dead reader, to `state`; answers whether it could. It is this lease's then.
    #[inline]
    fn take_from(&self, block: Block, state: u32) -> bool {
        let Some(before) = self.own(block) else { return false };
        let dead = before != 0;
        // The state that a dead reader has left says that somebody reads there, or is about to.
        let taken = self.claim(block, reader::STATE, reader::PARKED, state)
            || (dead
                && self.view.is_settled(&self.lease, block)
                && self.claim(block, reader::STATE, reader::CLAIMED, state));
        if !taken && dead && block.word(reader::STATE).load(Ordering::Acquire) == reader::CLAIMED {
            // For whoever tries again.
            let _ = self.claim(block, reader::OWNER, self.lease.token(), before);
        } else if !taken {
            if dead {
                // It was only about to join, and holds nothing.
                let _ = self.claim(block, reader::STATE, reader::JOINING, reader::FREE);
            }
            self.disown(block);
        }
        if taken {
            // It may have gone on before it was taken.
            self.refresh_reader(block);
        }
        taken
    }

    fn refresh_reader(&self, block: Block) {
        self.lease.invalidate(self.view.control.distance(block), BLOCK);
    }

    fn find(&self, name: &[u8]) -> Option<Block> {
        self.view.control.places().find(|block| {
            self.refresh_reader(*block);
            block.word(reader::STATE).load(Ordering::Acquire) != reader::FREE && is_named(*block, name)
        })
    }

    /// Takes a place by name; answers it and where to begin.
    fn enter(&self, name: &[u8], start: Start) -> Result<(Block, u64), JoinError> {
        self.lease.check()?;
        self.registry.with(move || {
            let (block, parked) = self.take_place(name)?;
            let head = self.head().value();
            let tail = self.view.walk_tail(&self.lease);
            let old = parked.then(|| parked_at(block, tail));
            let begun = self.begin(block, old, start, head, tail);
            self.lease.reached()?;
            begun.map(|at| (block, at)).map_err(|error| {
                if let Some(old) = old {
                    self.view.place_reader(&self.lease, block, old.max(self.head().value()));
                }
                let back = if parked { reader::PARKED } else { reader::FREE };
                self.view.give_back(&self.lease, block, reader::STATE, &[reader::CLAIMED, reader::JOINING], back);
                self.disown(block);
                error.into()
            })
        })
    }

    /// The parked or dead reader's place of this name, or a free one; answers it and whether somebody was there before.
    fn take_place(&self, name: &[u8]) -> Result<(Block, bool), JoinError> {
        if let Some(block) = self.find(name) {
            let ours = self.take_from(block, reader::CLAIMED);
            self.lease.check()?;
            return if ours { Ok((block, true)) } else { Err(JoinError::Claimed) };
        }
        let mut places = self.view.control.places().inspect(|block| self.refresh_reader(*block));
        let Some(block) = places.find(|block| self.claim(*block, reader::STATE, reader::FREE, reader::JOINING)) else {
            self.lease.check()?;
            return Err(JoinError::ReadersFull { limit: u32::from(self.view.geometry.readers) });
        };
        let token = self.lease.token();
        if token != 0 {
            block.word(reader::OWNER).store(token, Ordering::Release);
            self.view.clean_word(&self.lease, block, reader::OWNER);
        }
        put_name(block, name);
        self.lease.clean(self.view.word_at(block, reader::NAME_LEN), NAMED);
        Ok((block, false))
    }

    /// Finds where a reader begins that has taken a place, and registers it there. `old` is where it parked.
    #[inline]
    fn begin(&self, block: Block, old: Option<u64>, start: Start, head: u64, tail: u64) -> Result<u64, SeekError> {
        let wanted = match (start, old) {
            (Start::Latest, _) => tail,
            // An overwriting ring may have gone on: the reader is told how far, by its first read.
            (Start::Resume, Some(old)) if K::OVERWRITE => old.min(tail),
            (Start::Resume, Some(old)) => old.clamp(head.min(tail), tail),
            (Start::Earliest | Start::Resume, _) => head,
            (Start::At(offset), _) if offset.value() > tail => {
                return Err(SeekError::Beyond { tail: Offset::new(tail) });
            }
            (Start::At(offset), _) if offset.value() < head => {
                return Err(SeekError::Reclaimed { head: Offset::new(head) });
            }
            (Start::At(offset), _) => offset.value(),
        };
        self.view.place_reader(&self.lease, block, wanted);
        // SYNC(join)
        block.word(reader::STATE).store(reader::CLAIMED, Ordering::Release);
        self.view.clean_word(&self.lease, block, reader::STATE);
        self.lease.fence();
        if K::OVERWRITE && old.is_some() && start == Start::Resume {
            return Ok(wanted);
        }
        // What is parked is held: the floor is for those who come to something older.
        let held = old.filter(|old| !K::OVERWRITE && *old >= head).unwrap_or(u64::MAX);
        if wanted >= held {
            return Ok(wanted);
        }
        if !matches!(start, Start::At(_)) {
            return Ok(self.view.settle(&self.lease, block, wanted, held));
        }
        // Not moved up: who is refused goes back to where it parked, and must not have given that up.
        let floor = self.view.floor(&self.lease);
        if floor > wanted { Err(SeekError::Reclaimed { head: Offset::new(floor) }) } else { Ok(wanted) }
    }
}

impl<P: RingRef> Reader<P> {
    /// Takes a reader's place under a name, of 1 to 64 characters `A-Z a-z 0-9 . _ -`. Walks at most all slots.
    ///
    /// # Errors
    /// [`JoinError::Claimed`] while another reader of this name reads; [`JoinError::ReadersFull`] if there is no place;
    /// [`JoinError::Seek`] if the start is not in the log; [`JoinError::Name`], [`JoinError::Lease`].
    pub fn join(ring: P, name: &str, start: Start) -> Result<Self, JoinError> {
        let name = name.as_bytes();
        name::check(name, MAX_NAME)?;
        let (block, next) = ring.ring().enter(name, start)?;
        Ok(Self::at(ring, block, next))
    }

    /// Moves to a record, in O(1).
    ///
    /// # Errors
    /// [`SeekError::Reclaimed`] or [`SeekError::Beyond`] if it is not in the log: the reader stays where it was.
    pub fn seek(&mut self, to: Offset) -> Result<(), SeekError> {
        let ring = self.ring();
        ring.lease.check()?;
        let tail = ring.view.walk_tail(&ring.lease);
        let head = ring.head();
        ring.lease.reached()?;
        if to < head {
            return Err(SeekError::Reclaimed { head });
        }
        if to.value() > tail {
            return Err(SeekError::Beyond { tail: Offset::new(tail) });
        }
        let old = self.next_offset();
        ring.view.place_reader(&ring.lease, self.block, to.value());
        // A retaining ring holds all that comes behind a reader: the floor is for those who go back.
        if P::Keep::OVERWRITE || to < old {
            let floor = ring.view.floor(&ring.lease);
            ring.lease.reached()?;
            if floor > to.value() {
                // The old place was held all the time.
                ring.view.place_reader(&ring.lease, self.block, old.value());
                return Err(SeekError::Reclaimed { head: Offset::new(floor) });
            }
        }
        self.stand_at(to.value());
        Ok(())
    }

    /// Moves forward to where another reader of the same ring has come, in O(1): what that one has read is in the log.
    #[inline]
    pub(crate) fn follow(&mut self, other: &Self) {
        self.pass_to(other.next_offset());
    }

    /// Moves to a record of which another reader of the same ring knows that it, or all before it, is in the log; in O(1).
    #[inline]
    pub(crate) fn pass_to(&mut self, to: Offset) {
        let to = to.value();
        self.ring().view.place_reader(&self.ring().lease, self.block, to);
        self.stand_at(to);
    }

    /// Moves back to a record that this reader has read, in O(1); if that is gone, to the oldest one left.
    pub(crate) fn step_back(&mut self, to: Offset) {
        let ring = self.ring();
        let held = if P::Keep::OVERWRITE { u64::MAX } else { self.next };
        ring.view.place_reader(&ring.lease, self.block, to.value());
        let settled = ring.view.settle(&ring.lease, self.block, to.value(), held);
        self.stand_at(settled);
    }

    /// Gives up the place's reader but not the place: records from here on are held until a reader of the same name comes
    /// back, or somebody [forgets](Ring::forget) it.
    pub fn park(mut self) {
        self.release();
        self.leave(reader::PARKED);
        // The place may be somebody else's from here on: the drop that follows must not touch it.
        self.gone = true;
    }

    #[inline]
    pub(super) fn leave(&self, state: u32) {
        if self.gone {
            return;
        }
        let ring = self.ring();
        ring.view.give_back(&ring.lease, self.block, reader::STATE, &[reader::CLAIMED], state);
        ring.disown(self.block);
    }
}

impl<P: RingRef> fmt::Debug for Reader<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("next", &self.next_offset()).finish_non_exhaustive()
    }
}
