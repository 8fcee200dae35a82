//! A lease that this process has mapped, as its holder or as a reader.

#![allow(unsafe_code, reason = "leases promise that their bytes are valid")]

use super::files::Files;
use super::identity::Identity;
use super::layout::{DEADLINE_AT, HEADER, TERM_AT};
use super::term::{RIGHT, STATE, State, Term, Terms};
use crate::error::{LeaseError, Unfit};
use crate::lease::{Lease, Role, Trust, Untrusted};
use crate::name::Name;
use crate::platform::unix::{Lock, Mapping, Object};
use crate::types::{Epoch, LeaseId, Ticks};
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

/// The bit of a token that says whose it is.
const HOLDER: u32 = 1 << 31;

/// The words of a mapped lease.
#[inline]
pub(super) fn terms(map: &Mapping) -> Terms<'_> {
    Terms { term: map.word::<TERM_AT>(), deadline: map.word::<DEADLINE_AT>() }
}

/// A lease from a [`SharedPool`](super::SharedPool), mapped into this process.
///
/// Dropping a holder's gives the lease back: readers are told [`LeaseError::Released`]. Dropping a reader's does nothing
/// to the lease.
pub struct SharedLease<T: Trust = Untrusted> {
    map: Mapping,
    identity: Identity,
    epoch: Epoch,
    /// What the bits of `mask` in the term must be.
    right: u64,
    mask: u64,
    files: Files,
    /// Locked, if a reader's.
    file: Object,
    /// Locked; a holder's.
    hold: Option<Object>,
    /// Locked; a reader's.
    place: Option<Object>,
    token: u32,
    _trust: PhantomData<fn() -> T>,
}

impl<T: Trust> SharedLease<T> {
    pub(super) fn holder(
        map: Mapping,
        identity: Identity,
        files: Files,
        file: Object,
        hold: Object,
        epoch: Epoch,
    ) -> Self {
        let right = Term { epoch, renewals: 0, state: State::Live }.encode() & RIGHT;
        let (hold, place, token) = (Some(hold), None, epoch.value() | HOLDER);
        Self { map, identity, epoch, right, mask: RIGHT, files, file, hold, place, token, _trust: PhantomData }
    }

    pub(super) fn reader(
        map: Mapping,
        identity: Identity,
        files: Files,
        file: Object,
        token: u32,
        place: Object,
    ) -> Self {
        let right = u64::from(State::Live.code());
        let (hold, place, epoch) = (None, Some(place), Epoch::default());
        Self { map, identity, epoch, right, mask: STATE, files, file, hold, place, token, _trust: PhantomData }
    }

    /// Makes a reader's one of somebody who has superseded the holder, under a higher epoch.
    pub(super) fn into_sealer(mut self, epoch: Epoch) -> Self {
        self.epoch = epoch;
        self.right = Term { epoch, renewals: 0, state: State::Fenced }.encode() & RIGHT;
        self.mask = RIGHT;
        self
    }

    /// Whether it goes by an epoch of its own: a reader goes by the holder's.
    fn has_epoch(&self) -> bool {
        self.hold.is_some() || self.epoch != Epoch::default()
    }

    /// The name it was acquired by, if it has one.
    #[must_use]
    pub const fn name(&self) -> Option<Name> {
        self.identity.name
    }

    /// Whether the file is still as long as its record says. Asks the system; whoever doubts its peers may ask this before
    /// it touches bytes that it has not touched for long.
    ///
    /// # Errors
    /// [`LeaseError::Unfit`] if somebody cut it off or made it longer.
    pub fn verify(&self) -> Result<(), LeaseError> {
        if self.file.len()? == self.identity.file_bytes() { Ok(()) } else { Err(LeaseError::Unfit(Unfit::Size)) }
    }

    /// Leaves the lease in the pool, with what is in it, to be attached to until its time is over. A reader's is just
    /// dropped.
    pub fn detach(mut self) -> LeaseId {
        if self.hold.is_some() {
            // If it has ended meanwhile, there is nothing to leave.
            if matches!(terms(&self.map).leave(self.epoch, State::Detached), Ok(State::Detached)) {
                self.hold = None;
            }
        }
        self.identity.id
    }

    /// Gives a holder's place up as its death would: nothing is noted, readers read on, whoever wants to be the next holder
    /// can attach at once, and when nobody has the lease any more, [`reap`](super::SharedPool::reap) removes it. For leases
    /// that nobody needs to hold once they are made ready. A reader's is just dropped.
    pub fn abandon(mut self) -> LeaseId {
        self.hold = None;
        self.identity.id
    }

    /// How a lease stands that is not simply live.
    #[cold]
    #[inline(never)]
    fn ended(&self, word: u64) -> Result<(), LeaseError> {
        let term = Term::decode(word)?;
        if !self.has_epoch() {
            // Readers read on while one holder follows another.
            return if term.state == State::Fenced { Ok(()) } else { term.state.end() };
        }
        if term.epoch != self.epoch {
            return Err(LeaseError::Fenced);
        }
        if self.hold.is_none() {
            // A sealer's term is a fenced one, which it is not any more.
            return term.state.end();
        }
        // Only its holder detaches from a lease, and is no holder from then on.
        if term.state.is_open() { Err(LeaseError::Fenced) } else { term.state.end() }
    }

    /// Gives a holder's lease back.
    fn release(&self) {
        match terms(&self.map).leave(self.epoch, State::Released) {
            // Fenced so that somebody else can take over: what is in it waits for them. Somebody else's already, or damaged:
            // not ours to remove.
            Ok(State::Fenced | State::Live | State::Detached) | Err(_) => {}
            Ok(State::Expired | State::Revoked | State::Released) => {
                // By its own name only: somebody may have removed it by hand, and another have taken the name.
                if self.file.is_linked().unwrap_or(false) {
                    // What cannot be removed now is over, and removed by the next sweep.
                    let _ = self.files.remove();
                }
            }
        }
    }
}

// SAFETY: the bytes are a mapping of the file that stays for as long as this value and has this length (`map`, at least
// `HEADER` and a multiple of 128 more), and 512 bytes behind a page's start are aligned. Others reach them from other
// processes, or by other leases of this process, which is what the trust level says: `Cooperative` is only made by
// `SharedPool::cooperative`, whose caller promises that they follow the protocol; in this process, an `Untrusted` one is
// reached by the ring's atomics.
unsafe impl<T: Trust> Lease for SharedLease<T> {
    type Trust = T;
    const SEALABLE: bool = true;

    fn base(&self) -> NonNull<u8> {
        // SAFETY: a mapping has at least `HEADER` bytes.
        unsafe { self.map.base().add(usize::from(HEADER)) }
    }
    fn len(&self) -> usize {
        self.map.len().saturating_sub(usize::from(HEADER))
    }
    fn id(&self) -> LeaseId {
        self.identity.id
    }
    /// A reader's is that of whoever holds the lease at present.
    fn epoch(&self) -> Epoch {
        if self.has_epoch() {
            return self.epoch;
        }
        terms(&self.map).load().map(|term| term.epoch).unwrap_or_default()
    }
    #[inline]
    fn check(&self) -> Result<(), LeaseError> {
        let word = terms(&self.map).term.load();
        if word & self.mask == self.right { Ok(()) } else { self.ended(word) }
    }
    fn expires_at(&self) -> Ticks {
        terms(&self.map).deadline().unwrap_or(Ticks::ZERO)
    }
    fn detach(self) -> LeaseId {
        // The method of its own, for which the trait need not be in scope.
        Self::detach(self)
    }
    fn token(&self) -> u32 {
        self.token
    }
    fn is_gone(&self, token: u32) -> bool {
        if token & HOLDER == 0 {
            return self.files.is_dead_reader(token);
        }
        // A holder of another epoch was gone before the present one came.
        let Ok(term) = terms(&self.map).load() else { return false };
        // (But not if it was only superseded: then its lock says whether it is gone.)
        if term.epoch.value() | HOLDER != token && term.state.is_open() {
            return true;
        }
        // No file: it has given the lease back.
        self.files
            .hold()
            .map_or_else(|error| error == LeaseError::Unknown, |hold| hold.lock(Lock::Exclusive) == Ok(true))
    }
    fn role(&self) -> Role {
        match self.hold {
            Some(_) => Role::Writer,
            None if self.has_epoch() => Role::Sealer,
            None => Role::Reader,
        }
    }
}

impl<T: Trust> Drop for SharedLease<T> {
    fn drop(&mut self) {
        if !self.file.is_own() {
            // A forked child's copy: the lease is its parent's.
            return;
        }
        // The locks are given back behind this, with the files that they are on.
        if self.hold.is_some() {
            self.release();
        }
        if let Some(place) = &self.place {
            self.files.end_reading(self.token, place);
        }
    }
}

impl<T: Trust> fmt::Debug for SharedLease<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedLease")
            .field("id", &self.identity.id)
            .field("name", &self.identity.name)
            .field("len", &self.len())
            .field("epoch", &self.epoch())
            .field("role", &self.role())
            .field("check", &self.check())
            .finish_non_exhaustive()
    }
}
