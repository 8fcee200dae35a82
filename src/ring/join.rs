//! Taking a reader's place, leaving it, and moving about in the log.

use super::recover::low;
use super::{Keep, Reader, Ring, RingRef, View};
use crate::error::{JoinError, SeekError};
use crate::lease::Lease;
use crate::lease::layout::{bounds, reader};
use crate::name::{self, MAX_NAME, Name};
use crate::platform::atomic::{Ordering, fence};
use crate::platform::claim;
use crate::platform::memory::{BLOCK, Block};
use crate::types::Offset;
use core::fmt;

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

fn name_of(block: Block) -> Option<Name> {
    let len = block.word(reader::NAME_LEN).load(Ordering::Acquire) as usize;
    let mut bytes = [0; reader::NAME_WORDS * 4];
    for (index, four) in bytes.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        *four = block.word(reader::NAME.wrapping_add(index)).load(Ordering::Acquire).to_le_bytes();
    }
    Name::from_bytes(bytes.get(..len)?).ok()
}

/// Whether a place has this name. Compared where it is: a copy would only be made to be thrown away.
fn is_named(block: Block, name: &[u8]) -> bool {
    let same = |(at, byte): (usize, &u8)| {
        let word = block.word(reader::NAME.wrapping_add(at / 4)).load(Ordering::Acquire);
        // The lowest byte is the first one.
        (word >> (at % 4).wrapping_mul(8)) & 0xff == u32::from(*byte)
    };
    block.word(reader::NAME_LEN).load(Ordering::Acquire) as usize == name.len() && name.iter().enumerate().all(same)
}

/// Gives a place its name, which is a checked one.
fn put_name(block: Block, name: &[u8]) {
    let mut word = 0;
    for at in 0..MAX_NAME {
        // The last of each four stores leaves the whole word.
        word = (word >> 8) | (u32::from(name.get(at).copied().unwrap_or(0)) << 24);
        block.word(reader::NAME.wrapping_add(at / 4)).store(word, Ordering::Relaxed);
    }
    let len = u32::try_from(name.len()).unwrap_or(0);
    block.word(reader::NAME_LEN).store(len, Ordering::Release);
}

impl View {
    /// Finds the start of a reader whose progress is already stored as `candidate`, moving it up to a head that rose
    /// meanwhile.
    fn settle<L: Lease>(&self, lease: &L, block: Block, mut candidate: u64) -> u64 {
        // The head rises at most a ring's length while a reader stands below it, and each turn of this loop means that it
        // rose; but a hostile one may rise for ever.
        for _ in 0..64 {
            // SYNC(head): with the fence in `View::look`.
            fence(Ordering::SeqCst);
            lease.invalidate(crate::lease::layout::BOUNDS_AT, BLOCK);
            let head = self.bounds().cursor(bounds::HEAD).load();
            if head <= candidate {
                break;
            }
            candidate = head;
            self.place_reader(lease, block, candidate);
        }
        candidate
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

    /// Removes a parked reader: its records are no longer held for it. Answers whether there was one.
    ///
    /// # Errors
    /// [`JoinError::Claimed`] if somebody reads there; [`JoinError::Name`] if the name is none.
    pub fn forget(&self, name: &str) -> Result<bool, JoinError> {
        let name = name.as_bytes();
        name::check(name, MAX_NAME)?;
        self.registry.with(|()| {
            let Some(block) = self.find(name) else { return Ok(false) };
            if !claim(block.word(reader::STATE), reader::PARKED, reader::FREE) {
                return Err(JoinError::Claimed);
            }
            self.clean_reader(block);
            Ok(true)
        })
    }

    fn clean_reader(&self, block: Block) {
        self.lease.clean(self.view.control.distance(block), BLOCK);
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
        self.registry.with(move |()| {
            let (block, parked) = self.take_place(name)?;
            let head = self.head().value();
            let tail = self.view.walk_tail(&self.lease);
            let old = parked.then(|| parked_at(block, tail));
            self.begin(block, old, start, head, tail).map(|at| (block, at)).map_err(|error| {
                if let Some(old) = old {
                    self.view.place_reader(&self.lease, block, old.max(self.head().value()));
                }
                let back = if parked { reader::PARKED } else { reader::FREE };
                block.word(reader::STATE).store(back, Ordering::Release);
                self.clean_reader(block);
                error.into()
            })
        })
    }

    /// The parked reader's place of this name, or a free one; answers it and whether somebody had parked there.
    fn take_place(&self, name: &[u8]) -> Result<(Block, bool), JoinError> {
        if let Some(block) = self.find(name) {
            let ours = claim(block.word(reader::STATE), reader::PARKED, reader::CLAIMED);
            return if ours { Ok((block, true)) } else { Err(JoinError::Claimed) };
        }
        let mut places = self.view.control.places().inspect(|block| self.refresh_reader(*block));
        let Some(block) = places.find(|block| claim(block.word(reader::STATE), reader::FREE, reader::JOINING)) else {
            return Err(JoinError::ReadersFull { limit: u32::from(self.view.geometry.readers) });
        };
        put_name(block, name);
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
        self.clean_reader(block);
        if K::OVERWRITE && old.is_some() && start == Start::Resume {
            return Ok(wanted);
        }
        let settled = self.view.settle(&self.lease, block, wanted);
        match start {
            Start::At(_) if settled != wanted => Err(SeekError::Reclaimed { head: Offset::new(settled) }),
            _ => Ok(settled),
        }
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
        if to < head {
            return Err(SeekError::Reclaimed { head });
        }
        if to.value() > tail {
            return Err(SeekError::Beyond { tail: Offset::new(tail) });
        }
        let old = self.next_offset();
        ring.view.place_reader(&ring.lease, self.block, to.value());
        let settled = ring.view.settle(&ring.lease, self.block, to.value());
        if settled != to.value() {
            // The old place was held all the time.
            ring.view.place_reader(&ring.lease, self.block, old.value().max(settled));
            return Err(SeekError::Reclaimed { head: Offset::new(settled) });
        }
        self.stand_at(settled);
        Ok(())
    }

    /// Gives up the place's reader but not the place: records from here on are held until a reader of the same name comes
    /// back, or somebody [forgets](Ring::forget) it.
    pub fn park(mut self) {
        self.release();
        self.leave(reader::PARKED);
        // The place may be somebody else's from here on: the drop that follows must not touch it.
        self.gone = true;
    }

    pub(super) fn leave(&self, state: u32) {
        if self.gone {
            return;
        }
        self.block.word(reader::STATE).store(state, Ordering::Release);
        self.ring().clean_reader(self.block);
    }
}

impl<P: RingRef> fmt::Debug for Reader<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("next", &self.next_offset()).finish_non_exhaustive()
    }
}
