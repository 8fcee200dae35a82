//! What is in a pool, and the removal of what the dead have left.

use super::identity::Identity;
use super::layout::{self, HEADER, HOLDER, HOLDER_AT, take};
use super::lease::terms;
use super::pool::SharedPool;
use super::term::State;
use crate::error::{LeaseError, Unfit};
use crate::lease::Trust;
use crate::name::Name;
use crate::platform::clock::Clock;
use crate::platform::unix::{self, Lock, Object};
use crate::types::{Epoch, LeaseId, Ticks};
use alloc::vec::Vec;
use core::iter;

/// A lease, as anybody sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SharedInfo {
    /// Its id.
    pub id: LeaseId,
    /// Its name, if it has one.
    pub name: Option<Name>,
    /// Bytes leased.
    pub bytes: u64,
    /// How often its holder has changed, and one.
    pub epoch: Epoch,
    /// When it ends if nobody renews it.
    pub expires_at: Ticks,
    /// How it has ended, if it has.
    pub state: Result<(), LeaseError>,
    /// The process that holds it, if that lives and the system says so.
    pub holder: Option<u32>,
}

/// What [`SharedPool::reap`] has done.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Reaped {
    /// What it removed.
    pub removed: Vec<LeaseId>,
    /// What it did not, since it could not tell what it is: files that somebody put there, or damaged.
    pub unfit: Vec<(LeaseId, LeaseError)>,
}

/// The process that holds a lease of this epoch, if it lives.
fn holder(file: &Object, epoch: Epoch) -> Option<u32> {
    let mut whole = [0; HOLDER];
    file.read(HOLDER_AT, &mut whole).ok().filter(|len| *len == HOLDER)?;
    let covered = whole.get(..16)?;
    let from = &mut &whole[..];
    let noted = Epoch::new(u32::from_le_bytes(take(from)?));
    let process = u32::from_le_bytes(take(from)?);
    let started = u64::from_le_bytes(take(from)?);
    let sound = u32::from_le_bytes(take(from)?) == layout::crc(covered);
    (sound && noted == epoch && started != 0 && unix::process_start(process) == started).then_some(process)
}

impl<C: Clock, T: Trust> SharedPool<C, T> {
    /// The leases in the pool, in order of their ids. Those that are not what they should be are left out:
    /// [`reap`](Self::reap) tells of them.
    ///
    /// # Errors
    /// [`LeaseError::Io`] if the directory cannot be read.
    pub fn leases(&self) -> Result<Vec<SharedInfo>, LeaseError> {
        Ok(self.ids()?.into_iter().filter_map(|id| self.info(id).ok()).collect())
    }

    fn info(&self, id: LeaseId) -> Result<SharedInfo, LeaseError> {
        let (file, identity) = self.files(id).open()?;
        let map = file.map(u64::from(HEADER))?;
        let terms = terms(&map);
        let term = terms.load()?;
        let state = if self.is_of_another_boot(&identity, self.clock().now()) {
            Err(LeaseError::Expired)
        } else {
            term.state.end()
        };
        Ok(SharedInfo {
            id,
            name: identity.name,
            bytes: identity.bytes,
            epoch: term.epoch,
            expires_at: terms.deadline()?,
            state,
            holder: holder(&file, term.epoch),
        })
    }

    /// Removes every lease whose holder and readers are all dead, whether its time is over or not, and what is left of
    /// those that were never made ready. That they are dead is proven: the kernel has given back all their locks. A lease
    /// that somebody detached from on purpose stays until its time is over, and so does one that was fenced for a
    /// successor.
    ///
    /// Until this is called a dead holder's lease can be attached to: call it when nobody is going to. Any process can. Of two
    /// that do at the same moment each may take the other for somebody who has the lease, and both leave it: call it again.
    ///
    /// # Errors
    /// [`LeaseError::Io`] if the directory cannot be read.
    pub fn reap(&self) -> Result<Reaped, LeaseError> {
        let now = self.clock().now();
        let mut done = Reaped::default();
        for id in self.ids()? {
            match self.clear(id, now, true) {
                Ok(true) => done.removed.push(id),
                Ok(false) | Err(LeaseError::Unknown) => {}
                Err(error) => done.unfit.push((id, error)),
            }
        }
        Ok(done)
    }

    /// Removes a lease that is over, or if `orphans`, one whose holder died, if nobody has it. Answers whether it did.
    pub(super) fn clear(&self, id: LeaseId, now: Ticks, orphans: bool) -> Result<bool, LeaseError> {
        let files = self.files(id);
        // The lease's file first: it is made behind the holder's, and removed before it. So if it is there, and the holder's
        // is looked for and found, they belong together or one of them has lost its name, which shows under the locks.
        let file = found(files.lease())?;
        let hold = found(files.hold())?;
        // A look without locks: whoever attaches or joins in this moment is not to find them taken for nothing.
        if let Some(file) = &file
            && !self.is_dead(file, id, now, orphans)?
        {
            return Ok(false);
        }
        let Some(hold) = hold else {
            return match &file {
                // Readers that died behind the holder's end.
                None => Ok(files.remove_dead_readers()? != 0),
                // It was just removed. Or somebody removed the holder's file by hand: then nothing proves anything.
                Some(file) if !file.is_linked()? => Ok(false),
                Some(_) => Err(LeaseError::Unfit(Unfit::NotALease)),
            };
        };
        // Both locks together prove that nobody has it; while they are held, nobody comes to have it.
        for object in iter::once(&hold).chain(&file) {
            if !object.lock(Lock::Exclusive)? || !object.is_linked()? {
                return Ok(false);
            }
        }
        match &file {
            // Somebody may have attached, and detached or died again, before the locks were taken.
            Some(file) if !self.is_dead(file, id, now, orphans)? => return Ok(false),
            Some(_) => {}
            // Made meanwhile, by somebody who is not there any more: for the next time.
            None if found(files.lease())?.is_some() => return Ok(false),
            None => {}
        }
        files.remove()?;
        Ok(true)
    }

    /// Whether nothing can come of a lease any more, if nobody has it.
    fn is_dead(&self, file: &Object, id: LeaseId, now: Ticks, orphans: bool) -> Result<bool, LeaseError> {
        let Some(identity) = Identity::load(file)? else {
            // Whoever was making it died, if nobody has the locks.
            return Ok(true);
        };
        if identity.id != id {
            return Err(LeaseError::Unfit(Unfit::Record));
        }
        if self.is_of_another_boot(&identity, now) {
            return Ok(true);
        }
        let map = file.map(u64::from(HEADER))?;
        let terms = terms(&map);
        terms.settle(now)?;
        Ok(terms.is_over(now)? || (orphans && terms.load()?.state == State::Live))
    }
}

/// A file that need not be there.
fn found(file: Result<Object, LeaseError>) -> Result<Option<Object>, LeaseError> {
    match file {
        Err(LeaseError::Unknown) => Ok(None),
        other => other.map(Some),
    }
}
