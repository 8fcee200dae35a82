//! A store in a lease: commits of the partitions that one member owns.

use super::area::{Group, GroupRef};
use super::cell::{self, Written};
use super::claim::{Claim, ClaimWord};
use super::layout::partition::CLAIM;
use super::{OffsetError, OffsetStore};
use crate::types::{Epoch, Offset};
use core::fmt;

/// The committed offsets of a [`Group`](crate::group::Group), as one member may change them: it commits only what it owns,
/// and only as long as it does. Anybody may read them.
///
/// Taken from a [`Member`](crate::group::Member), and handed to [`Consumer::commit`](crate::consumer::Consumer::commit) or
/// to [`seek`](crate::consumer::Consumer::seek). A commit takes effect by one compare-and-swap of the word that says who
/// owns the partition. So a member that was held up between anything and anything, and was given up meanwhile, is told
/// [`OffsetError::Stale`], and its successor's offset stays what it is. Does not allocate or block; 4 bytes a partition.
///
/// ```
/// use fabric_mq::group::{Event, Group, GroupConfig, Member, MemberConfig};
/// use fabric_mq::lease::SliceLease;
/// use fabric_mq::offset::{OffsetError, OffsetStore};
/// use fabric_mq::{Offset, Ticks};
///
/// let mut bytes = [0; 4096];
/// let group = Group::format(SliceLease::new(&mut bytes), GroupConfig::new("billing", "events", 1))?;
/// let mut member: Member<_> = Member::new(&group, MemberConfig::new())?;
/// while member.step(Ticks::ZERO)?.is_some() {}
///
/// let store = member.offsets();
/// store.commit("billing", "events", 0, Offset::new(7))?;
/// assert_eq!(store.committed("billing", "events", 0)?, Some(Offset::new(7)));
/// let behind = OffsetError::Behind { committed: Offset::new(7) };
/// assert_eq!(store.commit("billing", "events", 0, Offset::new(6)), Err(behind));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LeasedOffsets<G: GroupRef, const P: usize = 16> {
    group: G,
    /// The claims' words as this member took or left them; 0 for a partition that is not its own. (An owner's never is.)
    held: [u32; P],
}

/// How often it is tried to take a partition whose owner was given up and commits on.
const TRIES: u32 = 16;

impl<G: GroupRef, const P: usize> LeasedOffsets<G, P> {
    pub(crate) const fn new(group: G) -> Self {
        Self { group, held: [0; P] }
    }

    pub(crate) fn group(&self) -> &Group<G::Lease> {
        self.group.group()
    }

    /// The claim on a partition, as far as this member knows.
    pub(crate) fn held(&self, partition: u32) -> Option<ClaimWord> {
        let word = self.held.get(usize::try_from(partition).ok()?).copied()?;
        if word == 0 { None } else { Some(ClaimWord::new(word)) }
    }

    fn note(&mut self, partition: u32, word: u32) {
        if let Some(held) = usize::try_from(partition).ok().and_then(|at| self.held.get_mut(at)) {
            *held = word;
        }
    }

    /// The epoch under which this member took a partition, if it has it as far as it knows.
    #[must_use]
    pub fn epoch(&self, partition: u32) -> Option<Epoch> {
        self.held(partition).map(ClaimWord::epoch)
    }

    /// Whether nobody has taken over what this member has taken: one load.
    pub(crate) fn is_current(&self, partition: u32) -> Result<bool, OffsetError> {
        Ok(self.held(partition) == Some(self.group().claim_word(partition)?))
    }

    /// Takes a partition under the next epoch, if `free` says that its present owner is none. `None` if it is not free.
    pub(crate) fn take(
        &mut self,
        partition: u32,
        place: u32,
        free: impl Fn(&Group<G::Lease>, Option<u32>) -> bool,
    ) -> Result<Option<Claim>, OffsetError> {
        let line = self.group.group().partition(partition)?;
        let mut tries = 0_u32;
        let mine = loop {
            let now = ClaimWord::new(line.load(CLAIM));
            // What is behind the claim is looked at after the claim: whoever comes meanwhile and takes it changes the word.
            if tries >= TRIES || !free(self.group(), now.owner()) {
                return Ok(None);
            }
            let mine = now.next(Some(place))?;
            if line.swap(CLAIM, now.raw(), mine.raw())? {
                break mine;
            }
            // Somebody was faster; or the owner, who does not know yet that it was given up, has committed.
            tries = tries.saturating_add(1);
        };
        let committed = cell::read(&line, mine);
        if line.load(CLAIM) != mine.raw() {
            // Lost at once: what was read may be a successor's, in the middle of its own commit.
            return Ok(None);
        }
        self.note(partition, mine.raw());
        Ok(Some(Claim { partition, epoch: mine.epoch(), committed }))
    }

    /// Gives a partition back. Nothing happens if somebody has taken it over.
    pub(crate) fn give_back(&mut self, partition: u32) -> Result<(), OffsetError> {
        let Some(mine) = self.held(partition) else { return Ok(()) };
        self.note(partition, 0);
        self.group.group().partition(partition)?.swap(CLAIM, mine.raw(), mine.given_back().raw())?;
        Ok(())
    }

    /// Takes a partition from a place's former holder, for nobody, if `left` says that it is one: its commits are refused from
    /// then on.
    pub(crate) fn disown(
        &self,
        partition: u32,
        place: u32,
        left: impl FnOnce(&Group<G::Lease>) -> bool,
    ) -> Result<(), OffsetError> {
        let line = self.group.group().partition(partition)?;
        let now = ClaimWord::new(line.load(CLAIM));
        if now.owner() == Some(place) && self.held(partition).is_none() && left(self.group()) {
            line.swap(CLAIM, now.raw(), now.next(None)?.raw())?;
        }
        Ok(())
    }

    /// Forgets a partition that was lost.
    pub(crate) fn forget(&mut self, partition: u32) {
        self.note(partition, 0);
    }

    fn is_of(&self, group: &str, topic: &str) -> Result<(), OffsetError> {
        let own = self.group();
        if own.name() == group && own.topic() == topic { Ok(()) } else { Err(OffsetError::Foreign) }
    }

    /// Commits an offset of this group and topic: as [`OffsetStore::commit`], without names.
    ///
    /// # Errors
    /// [`OffsetError::Stale`] if somebody has taken the partition over, [`OffsetError::NotClaimed`] if it is not this
    /// member's, [`OffsetError::Behind`] if the group is further already, [`OffsetError::Lease`] if the lease has ended.
    /// Nothing is committed then.
    pub fn put(&mut self, partition: u32, offset: Offset) -> Result<(), OffsetError> {
        self.change(partition, |committed| match committed? {
            Some(committed) if committed > offset => Err(OffsetError::Behind { committed }),
            Some(committed) if committed == offset => Ok(None),
            _ => Ok(Some(Some(offset))),
        })
    }

    /// Sets the committed offset of this group and topic, back if need be, or forgets it: as [`OffsetStore::reset`], without
    /// names. The one way to go on where the committed offset is damaged.
    ///
    /// # Errors
    /// As [`put`](Self::put), but [`OffsetError::Behind`].
    pub fn set(&mut self, partition: u32, offset: Option<Offset>) -> Result<(), OffsetError> {
        self.change(partition, |_| Ok(Some(offset)))
    }

    /// Sets the committed offset to what `next` makes of the present one, or leaves it.
    fn change(
        &mut self,
        partition: u32,
        next: impl FnOnce(Result<Option<Offset>, OffsetError>) -> Result<Option<Option<Offset>>, OffsetError>,
    ) -> Result<(), OffsetError> {
        let line = self.group.group().partition(partition)?;
        let mine = self.held(partition).ok_or(OffsetError::NotClaimed { partition })?;
        let stale = |now: ClaimWord| OffsetError::Stale { claimed: mine.epoch(), current: now.epoch() };
        let now = ClaimWord::new(line.load(CLAIM));
        line.reached()?;
        if now != mine {
            return Err(stale(now));
        }
        let offset = match next(cell::read(&line, mine)) {
            Ok(Some(offset)) => offset,
            Ok(None) => return Ok(line.reached()?),
            // What was read may be a successor's, in the middle of its own commit.
            Err(error) => {
                let now = ClaimWord::new(line.load(CLAIM));
                return Err(if now == mine { error } else { stale(now) });
            }
        };
        match cell::write(&line, mine, offset)? {
            Written::Published(word) => {
                self.note(partition, word.raw());
                Ok(())
            }
            Written::Stale => Err(stale(ClaimWord::new(line.load(CLAIM)))),
        }
    }
}

impl<G: GroupRef, const P: usize> OffsetStore for LeasedOffsets<G, P> {
    fn commit(&mut self, group: &str, topic: &str, partition: u32, offset: Offset) -> Result<(), OffsetError> {
        self.is_of(group, topic)?;
        self.put(partition, offset)
    }

    fn committed(&self, group: &str, topic: &str, partition: u32) -> Result<Option<Offset>, OffsetError> {
        self.is_of(group, topic)?;
        self.group().committed(partition)
    }

    fn reset(&mut self, group: &str, topic: &str, partition: u32, offset: Option<Offset>) -> Result<(), OffsetError> {
        self.is_of(group, topic)?;
        self.set(partition, offset)
    }
}

impl<G: GroupRef, const P: usize> fmt::Debug for LeasedOffsets<G, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = (0..self.group().partitions()).filter_map(|partition| Some((partition, self.epoch(partition)?)));
        f.debug_map().entries(held).finish()
    }
}
