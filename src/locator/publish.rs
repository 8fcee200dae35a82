//! Changing what a registry says. An entry is changed by whoever has its claim; a topic gets its first entry from whoever has
//! the directory's claim, so that it never has two. The claims are always taken in that order: the directory's, then one entry's.

use super::claim::Claim;
use super::error::PublishError;
use super::layout::{DIRECTORY_AT, code};
use super::record::{Found, Locator};
use super::registry::{Registry, SEARCHES, told};
use super::table::Trouble;
use crate::lease::Lease;
use crate::types::{Generation, LeaseId};
use crate::uri::Uri;

impl<L: Lease> Registry<L> {
    /// Says where a topic is, in the locator's generation, which has to be above the last one. Waits for other publishers of
    /// the same topic, some tenths of a second at most.
    ///
    /// # Errors
    /// [`PublishError::Stale`] if the generation is not above the topic's last one, nor above those of topics that are
    /// forgotten; [`PublishError::Fenced`] if the same leases are published under a higher epoch; [`PublishError::Full`],
    /// [`PublishError::Names`], [`PublishError::Partitions`] if there is no room; [`PublishError::Busy`] if somebody else
    /// does not come to an end; [`PublishError::Damaged`]; [`PublishError::Lease`]. The registry is as it was then.
    pub fn publish<const P: usize>(&self, locator: &Locator<P>) -> Result<Generation, PublishError> {
        self.put(locator, |last| {
            let ours = locator.generation();
            if ours > last { Ok(ours) } else { Err(PublishError::Stale { current: last }) }
        })
    }

    /// The same in the next generation, which is answered. Whoever owns a topic publishes it so.
    ///
    /// # Errors
    /// As [`publish`](Self::publish), but never [`PublishError::Stale`]; [`PublishError::Exhausted`].
    pub fn publish_next<const P: usize>(&self, locator: &Locator<P>) -> Result<Generation, PublishError> {
        self.put(locator, next)
    }

    /// Takes back what was published in a generation, if that is still the last one; answers the generation in which the topic is
    /// withdrawn. Its entry is kept, to be used for another topic when there is no empty one.
    ///
    /// # Errors
    /// [`PublishError::Unknown`] if the topic is not published; [`PublishError::Stale`] if it is in another generation;
    /// [`PublishError::Busy`], [`PublishError::Damaged`], [`PublishError::Exhausted`], [`PublishError::Lease`].
    pub fn withdraw(&self, uri: &Uri<'_>, generation: Generation) -> Result<Generation, PublishError> {
        for _ in 0..SEARCHES {
            let (entry, ..) = self.find::<0>(uri)?.ok_or(PublishError::Unknown)?;
            let Some((_claim, current, found)) = self.claim_topic(entry, uri)? else { continue };
            if found.withdrawn {
                return Err(PublishError::Unknown);
            }
            if found.locator.generation != generation {
                return Err(PublishError::Stale { current: found.locator.generation });
            }
            return self.take_back(entry, current, found);
        }
        Err(PublishError::Busy)
    }

    /// Withdraws every topic whose publisher is proven to be gone, by the token of the lease it published by, and answers how many
    /// those were. Its leases may still be there, to be taken over by whoever resolves it: call this when nobody is going to.
    /// May ask the operating system about each entry.
    ///
    /// # Errors
    /// [`PublishError::Busy`] or [`PublishError::Lease`], about the first entry that could not be withdrawn; the others were.
    /// Damaged entries are left alone.
    pub fn withdraw_dead(&self) -> Result<usize, PublishError> {
        self.lease.check()?;
        let mut withdrawn: usize = 0;
        let mut outcome = Ok(());
        for entry in 0..self.table.shape.topics {
            match self.withdraw_orphan(entry) {
                Ok(done) => withdrawn = withdrawn.saturating_add(usize::from(done)),
                Err(PublishError::Damaged { .. }) => {}
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome.map(|()| withdrawn)
    }

    /// Empties the entries that are damaged, and answers how many those were. Until this is called every topic that is not
    /// found might be one of them, and is [`Damaged`](PublishError::Damaged). What they said is lost; generations that
    /// the damage hides may come again.
    ///
    /// # Errors
    /// [`PublishError::Busy`] if somebody else has an entry, [`PublishError::Lease`].
    pub fn discard_damaged(&self) -> Result<usize, PublishError> {
        self.lease.check()?;
        let _directory = self.claim(DIRECTORY_AT)?;
        let mut discarded: usize = 0;
        for entry in 0..self.table.shape.topics {
            let damaged = || self.table.read::<_, 0>(&self.lease, entry).err() == Some(Trouble::Damaged);
            if !damaged() {
                continue;
            }
            let _claim = self.claim(self.table.entry_at(entry))?;
            if damaged() {
                self.table.raise_floor(&self.lease, self.table.highest(entry));
                self.table.commit(&self.lease, entry, 0);
                discarded = discarded.saturating_add(1);
            }
        }
        Ok(discarded)
    }

    fn claim(&self, at: usize) -> Result<Claim<'_, L>, PublishError> {
        Claim::take(&self.table, &self.lease, at).ok_or(PublishError::Busy)
    }

    /// The claim of an entry, if it is still of this topic, and what it says: under the claim it stays so.
    fn claim_topic<const P: usize>(
        &self,
        entry: u32,
        uri: &Uri<'_>,
    ) -> Result<Option<(Claim<'_, L>, u32, Found<P>)>, PublishError> {
        let claim = self.claim(self.table.entry_at(entry))?;
        match self.table.read(&self.lease, entry) {
            Ok(Some((current, found))) if found.is_of(uri) => Ok(Some((claim, current, found))),
            Ok(_) => Ok(None),
            Err(trouble) => Err(told(trouble, entry).into()),
        }
    }

    /// Withdraws the topic of an entry if its publisher is proven to be gone; answers whether it did.
    fn withdraw_orphan(&self, entry: u32) -> Result<bool, PublishError> {
        let is_orphan = |found: &Found<0>| !found.withdrawn && self.is_orphaned(&found.locator);
        let found = match self.table.read(&self.lease, entry) {
            Ok(Some((_, found))) if is_orphan(&found) => found,
            Ok(_) => return Ok(false),
            Err(trouble) => return Err(told(trouble, entry).into()),
        };
        let Some((_claim, current, found)) = self.claim_topic(entry, &found.locator.uri())? else { return Ok(false) };
        // Somebody may have taken it over meanwhile.
        if !is_orphan(&found) {
            return Ok(false);
        }
        self.take_back(entry, current, found).map(|_| true)
    }

    /// Marks an entry as withdrawn. The caller has its claim.
    fn take_back(&self, entry: u32, current: u32, found: Found<0>) -> Result<Generation, PublishError> {
        let generation = next(found.locator.generation)?;
        let stone = found.locator.with_generation(generation);
        self.table.write(&self.lease, entry, current, &stone, true)?;
        Ok(generation)
    }

    /// Publishes a locator in the generation that `choose` makes of the last one.
    fn put<const P: usize>(
        &self,
        locator: &Locator<P>,
        choose: impl Fn(Generation) -> Result<Generation, PublishError>,
    ) -> Result<Generation, PublishError> {
        let (needed, max) = (locator.encoded_len(), self.table.shape.record_words().saturating_mul(4));
        let (found, most) = (locator.leases.len(), u32::from(self.table.shape.partitions));
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        if found == 0 || found > most {
            return Err(PublishError::Partitions { found, max: most });
        }
        if needed > max {
            return Err(PublishError::Names { needed, max });
        }
        let uri = locator.uri();
        let own = |generation| {
            let mut own = locator.clone();
            own.owner = self.lease.token();
            own.generation = generation;
            own
        };
        for _ in 0..SEARCHES {
            if let Some((entry, ..)) = self.find::<0>(&uri)? {
                let Some((_claim, current, found)) = self.claim_topic(entry, &uri)? else { continue };
                fenced(&found, locator)?;
                let generation = choose(found.locator.generation)?;
                self.table.write(&self.lease, entry, current, &own(generation), false)?;
                return Ok(generation);
            }
            let _directory = self.claim(DIRECTORY_AT)?;
            if self.find::<0>(&uri)?.is_some() {
                continue;
            }
            let (entry, current, forgotten) = self.vacancy()?;
            let _claim = self.claim(self.table.entry_at(entry))?;
            if self.table.current(&self.lease, entry) != current {
                // The topic that had been withdrawn is published again.
                continue;
            }
            let floor = self.table.floor(&self.lease).max(forgotten);
            let generation = choose(floor)?;
            // Before the entry is another one's, so that the topic which had it begins above it.
            self.table.raise_floor(&self.lease, floor);
            self.table.write(&self.lease, entry, current, &own(generation), false)?;
            return Ok(generation);
        }
        Err(PublishError::Busy)
    }

    /// An entry for a topic that has none, its `current`, and the generation that is forgotten by taking it: an empty one, or the
    /// one that was withdrawn in the lowest generation.
    fn vacancy(&self) -> Result<(u32, u32, Generation), PublishError> {
        let mut oldest: Option<(u32, u32, Generation)> = None;
        for entry in 0..self.table.shape.topics {
            match self.table.read::<_, 0>(&self.lease, entry) {
                Ok(None) => return Ok((entry, code(0), Generation::default())),
                Ok(Some((current, found))) if found.withdrawn => {
                    let generation = found.locator.generation;
                    if oldest.is_none_or(|(_, _, other)| generation < other) {
                        oldest = Some((entry, current, generation));
                    }
                }
                Ok(_) | Err(Trouble::Busy) => {}
                Err(trouble) => return Err(told(trouble, entry).into()),
            }
        }
        oldest.ok_or(PublishError::Full { limit: self.table.shape.topics })
    }
}

fn next(last: Generation) -> Result<Generation, PublishError> {
    last.value().checked_add(1).map(Generation::new).ok_or(PublishError::Exhausted)
}

/// Refuses a publisher whose leases somebody else has taken over. Other leases have other epochs, which say nothing.
fn fenced<const P: usize>(found: &Found<1>, ours: &Locator<P>) -> Result<(), PublishError> {
    let first = |leases: &[LeaseId]| leases.first().copied();
    let current = found.locator.epoch;
    if !found.withdrawn && first(&found.locator.leases) == first(&ours.leases) && ours.epoch < current {
        return Err(PublishError::Fenced { current });
    }
    Ok(())
}
