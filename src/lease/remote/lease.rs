//! A lease over verbs: a mirror of the memory, and what goes between the two.

#![allow(unsafe_code, reason = "leases promise that their bytes are valid")]

use super::{Atomicity, VerbError, Verbs};
use crate::error::LeaseError;
use crate::lease::heap::Piece;
use crate::lease::layout::{BOUNDS_AT, HINTS_AT, bounds, hints};
use crate::lease::{Cooperative, Lease, Role, Trust, Untrusted};
use crate::platform::memory::BLOCK;
use crate::types::{Epoch, LeaseId, Ticks};
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

/// Ranges that can wait to be sent together.
const RANGES: usize = 8;
/// Most bytes that one verb fetches.
const CHUNK: usize = 1 << 16;
/// Bytes of a word.
const WORD: usize = 4;
/// Bytes of a counter, and where its words lie: low, high, high again.
const COUNTER: usize = 16;
/// Where counters lie.
const COUNTERS: [usize; 3] =
    [BOUNDS_AT + bounds::HEAD * WORD, HINTS_AT + hints::TAIL * WORD, HINTS_AT + hints::REFUSED * WORD];

/// Who else reaches the memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Peers {
    /// Others that use verbs alone.
    Verbs,
    /// Also others that map it.
    Mapped,
}

/// Bytes that were cleaned and not sent yet.
#[derive(Clone, Copy, Default)]
struct Pending {
    count: usize,
    ranges: [(usize, usize); RANGES],
}

/// Memory that is reached by [`Verbs`], as a lease. See the [module](super) for what it promises.
pub struct RemoteLease<V: Verbs, T: Trust = Untrusted> {
    verbs: V,
    mirror: Piece,
    len: usize,
    id: LeaseId,
    epoch: Epoch,
    role: Role,
    expires_at: Ticks,
    /// The first verb that failed: none is tried after it.
    failed: Cell<Option<VerbError>>,
    /// Whether the lease was given back.
    released: Cell<bool>,
    /// Whether something was sent that nobody has said to have arrived.
    unsure: Cell<bool>,
    pending: Cell<Pending>,
    /// The high word of each counter, once it is known that both of them in the memory are this.
    eras: Cell<[Option<u32>; COUNTERS.len()]>,
    /// Room for what is fetched.
    chunk: Cell<Vec<u8>>,
    trust: PhantomData<fn() -> T>,
}

impl<V: Verbs> RemoteLease<V, Untrusted> {
    /// Leases the memory behind a connection. Allocates a mirror of it, and at most 64 KiB.
    ///
    /// Records are copied out and checked: whatever the memory's side or anybody else puts there, the answer is an error or a
    /// record that was checked. This is the level to use unless reading in place is worth a promise: see
    /// [`cooperative`](Self::cooperative).
    ///
    /// # Errors
    /// [`LeaseError::Unsupported`] if others map the memory, and the compare-and-exchange of these verbs is not atomic with
    /// theirs ([`Atomicity::Nic`]); [`LeaseError::CapacityExceeded`] if there is no room for the mirror.
    pub fn connect(verbs: V, peers: Peers) -> Result<Self, LeaseError> {
        Self::make(verbs, peers)
    }
}

impl<V: Verbs> RemoteLease<V, Cooperative> {
    /// Leases the memory behind a connection, to read and write in place: records are lent where they lie in the mirror.
    ///
    /// # Safety
    /// Whoever writes to the memory, by verbs or mapped, follows the protocol of [`crate::ring`]. (The mirror is this process's
    /// own; but were a record to change in the memory and be fetched again, it would change while it is lent.)
    ///
    /// # Errors
    /// As [`connect`](RemoteLease::connect).
    pub unsafe fn cooperative(verbs: V, peers: Peers) -> Result<Self, LeaseError> {
        Self::make(verbs, peers)
    }
}

impl<V: Verbs, T: Trust> RemoteLease<V, T> {
    pub(super) fn make(verbs: V, peers: Peers) -> Result<Self, LeaseError> {
        if peers == Peers::Mapped && verbs.atomicity() != Atomicity::Global {
            return Err(LeaseError::Unsupported);
        }
        let len = verbs.len();
        let mirror = Piece::new(len)?;
        let mut chunk = Vec::new();
        chunk.try_reserve_exact(len.min(CHUNK)).map_err(|_| LeaseError::CapacityExceeded)?;
        chunk.resize(len.min(CHUNK), 0);
        Ok(Self {
            verbs,
            mirror,
            len,
            id: LeaseId::default(),
            epoch: Epoch::default(),
            role: Role::Peer,
            expires_at: Ticks::MAX,
            failed: Cell::new(None),
            released: Cell::new(false),
            unsure: Cell::new(false),
            pending: Cell::new(Pending::default()),
            eras: Cell::default(),
            chunk: Cell::new(chunk),
            trust: PhantomData,
        })
    }

    /// Names the lease.
    #[must_use]
    pub fn with_id(mut self, id: LeaseId) -> Self {
        self.id = id;
        self
    }

    /// Sets the epoch it was granted under.
    #[must_use]
    pub fn with_epoch(mut self, epoch: Epoch) -> Self {
        self.epoch = epoch;
        self
    }

    /// Sets what the holder may do with the writer's place. With [`Role::Writer`] the caller vouches that the memory's side has
    /// closed the connections of every lower epoch: nothing that they sent arrives any more.
    #[must_use]
    pub fn with_role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// Notes when the grant ends. The memory's side ends it.
    #[must_use]
    pub fn with_expiry(mut self, expires_at: Ticks) -> Self {
        self.expires_at = expires_at;
        self
    }

    /// The connection.
    pub const fn verbs(&self) -> &V {
        &self.verbs
    }

    /// The first verb that failed, if one did: the lease is finished then.
    #[must_use]
    pub fn failure(&self) -> Option<VerbError> {
        self.failed.get()
    }

    /// A verb's answer; `None` if it fails now, or one has before.
    fn attempt<R>(&self, verb: impl FnOnce(&V) -> Result<R, VerbError>) -> Option<R> {
        if self.failed.get().is_some() {
            return None;
        }
        match verb(&self.verbs) {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.failed.set(Some(error));
                None
            }
        }
    }

    /// Gives the lease back, once.
    fn release(&self, keep: bool) {
        if !self.released.replace(true) {
            self.post();
            self.attempt(|verbs| verbs.release(keep));
        }
    }

    fn refusal(&self) -> Result<(), LeaseError> {
        match self.failed.get() {
            None => Ok(()),
            Some(VerbError::Refused(end)) => Err(end),
            Some(_) => Err(LeaseError::Disconnected),
        }
    }

    /// Whether `len` bytes at `at` lie in the lease, as all that the ring asks for do.
    fn holds(&self, at: usize, len: usize) -> bool {
        at.checked_add(len).is_some_and(|end| end <= self.len)
    }

    /// The bytes of the mirror at `at`.
    ///
    /// # Safety
    /// They lie in the mirror, and nothing writes them for as long as `'a`.
    unsafe fn mirrored<'a>(&self, at: usize, len: usize) -> &'a [u8] {
        // SAFETY: inside the mirror, by the caller's promise.
        let start = unsafe { self.mirror.base().add(at) };
        // SAFETY: valid for `len` bytes and not written meanwhile, by the caller's promise.
        unsafe { core::slice::from_raw_parts(start.as_ptr(), len) }
    }

    /// Copies words of the mirror.
    fn words<const N: usize>(&self, at: usize) -> [u32; N] {
        core::array::from_fn(|index| {
            let at = at.wrapping_add(index.wrapping_mul(WORD));
            if !self.holds(at, WORD) {
                return 0;
            }
            // SAFETY: inside the mirror; this value is not shared between threads, and the slice is gone before it returns.
            let bytes = unsafe { self.mirrored(at, WORD) };
            bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
        })
    }

    /// Puts bytes into the mirror. Those that are the same already, as all that are lent are, are not touched.
    fn put(&self, at: usize, bytes: &[u8]) {
        if !self.holds(at, bytes.len()) {
            return;
        }
        for (index, byte) in bytes.iter().enumerate() {
            // SAFETY: inside the mirror, just checked.
            let to = unsafe { self.mirror.base().add(at.wrapping_add(index)) };
            // SAFETY: valid; this value is not shared between threads.
            let old = unsafe { to.read() };
            if old != *byte {
                // SAFETY: valid. No reference to a byte that changes exists: on an untrusted lease none is ever formed, on a
                // cooperative one what is lent does not change in the memory (`cooperative`), so it is the same here.
                unsafe { to.write(*byte) };
            }
        }
    }

    /// Sends what was cleaned.
    fn post(&self) {
        let pending = self.pending.take();
        for (at, len) in pending.ranges.iter().take(pending.count) {
            self.unsure.set(true);
            // SAFETY: inside the mirror (`clean`). The verb takes the bytes before it returns, and nothing else of this value,
            // which is not shared between threads, runs meanwhile.
            let bytes = unsafe { self.mirrored(*at, *len) };
            self.attempt(|verbs| verbs.write(*at, bytes));
        }
    }

    /// Reads a few bytes.
    fn look<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.attempt(|verbs| verbs.read(at, &mut bytes))?;
        Some(bytes)
    }

    /// Fetches a run of bytes, whatever their moments.
    fn bring(&self, at: usize, len: usize) {
        let mut chunk = self.chunk.take();
        let mut done: usize = 0;
        while done < len {
            let size = len.wrapping_sub(done).min(chunk.len());
            let Some(part) = chunk.get_mut(..size).filter(|part| !part.is_empty()) else { break };
            let from = at.wrapping_add(done);
            if self.attempt(|verbs| verbs.read(from, part)).is_none() {
                break;
            }
            self.put(from, part);
            done = done.wrapping_add(size);
        }
        self.chunk.set(chunk);
    }

    fn era(&self, at: usize) -> Option<usize> {
        COUNTERS.iter().position(|counter| *counter == at)
    }

    fn set_era(&self, at: usize, era: Option<u32>) {
        let mut eras = self.eras.get();
        if let Some(known) = self.era(at).and_then(|index| eras.get_mut(index)) {
            *known = era;
        }
        self.eras.set(eras);
    }

    fn known_era(&self, at: usize) -> Option<u32> {
        *self.eras.get().get(self.era(at)?)?
    }
}

// SAFETY: the mirror is a heap allocation of its own that lives as long as this value, aligned to 128, of at least `len`
// bytes. Only this value has its address, and it is not shared between threads; it is written where no reference to what
// changes exists (`put`). On an untrusted lease nobody relies on more.
unsafe impl<V: Verbs, T: Trust> Lease for RemoteLease<V, T> {
    type Trust = T;

    fn base(&self) -> NonNull<u8> {
        self.mirror.base()
    }
    fn len(&self) -> usize {
        self.len
    }
    fn id(&self) -> LeaseId {
        self.id
    }
    fn epoch(&self) -> Epoch {
        self.epoch
    }
    fn role(&self) -> Role {
        self.role
    }
    fn expires_at(&self) -> Ticks {
        self.expires_at
    }
    fn detach(self) -> LeaseId {
        self.release(true);
        self.id
    }
    fn token(&self) -> u32 {
        self.verbs.token()
    }
    fn is_mapped(&self) -> bool {
        false
    }
    fn is_gone(&self, token: u32) -> bool {
        self.attempt(|verbs| verbs.is_gone(token)).unwrap_or(false)
    }

    fn check(&self) -> Result<(), LeaseError> {
        self.attempt(|verbs| verbs.check());
        self.refusal()
    }

    fn reached(&self) -> Result<(), LeaseError> {
        self.refusal()
    }

    fn clean(&self, at: usize, len: usize) {
        if self.failed.get().is_some() || len == 0 || !self.holds(at, len) {
            return;
        }
        let end = at.wrapping_add(len);
        let mut pending = self.pending.get();
        for (start, size) in pending.ranges.iter_mut().take(pending.count) {
            let stop = start.wrapping_add(*size);
            if at <= stop && *start <= end {
                let (from, to) = (at.min(*start), end.max(stop));
                (*start, *size) = (from, to.wrapping_sub(from));
                self.pending.set(pending);
                return;
            }
        }
        if pending.count == RANGES {
            self.post();
            pending = Pending::default();
        }
        if let Some(free) = pending.ranges.get_mut(pending.count) {
            *free = (at, len);
            pending.count = pending.count.wrapping_add(1);
        }
        self.pending.set(pending);
    }

    fn clean_counter(&self, at: usize) {
        let [_, high, again, _] = self.words(at);
        if high == again && self.known_era(at) == Some(high) {
            // Within an era the low word alone says what the counter is; the guard is for recoveries, in either order.
            self.clean(at, COUNTER);
            return;
        }
        for word in [2, 0, 1, 3] {
            self.clean(at.wrapping_add(WORD.wrapping_mul(word)), WORD);
            self.fence();
        }
        self.set_era(at, (high == again).then_some(high));
    }

    fn fence(&self) {
        self.post();
    }

    fn complete(&self) -> Result<(), LeaseError> {
        self.post();
        if self.attempt(|verbs| verbs.flush()).is_some() {
            self.unsure.set(false);
            return Ok(());
        }
        match self.refusal() {
            Err(LeaseError::Disconnected) if self.unsure.get() => Err(LeaseError::Indeterminate),
            refusal => refusal,
        }
    }

    fn invalidate(&self, at: usize, len: usize) {
        self.post();
        if len == 0 || len > BLOCK || !self.holds(at, len) {
            return self.fetch(at, len);
        }
        let mut bytes = [0; BLOCK];
        let Some(seen) = bytes.get_mut(..len) else { return };
        if self.attempt(|verbs| verbs.read(at, seen)).is_none() {
            return;
        }
        // SAFETY: inside the mirror; the slice is gone before anything is put there.
        let same = unsafe { self.mirrored(at, len) } == &*seen;
        // What is as it was when it was last seen has not changed between: then all of it is of one moment. (Words that go back
        // to what they were do so in a lap of 2^32 at the soonest, or are the first.)
        if same {
            return;
        }
        let Some((first, rest)) = seen.split_at_mut_checked(WORD.min(len)) else { return };
        if !rest.is_empty() && self.attempt(|verbs| verbs.read(at.wrapping_add(WORD), rest)).is_none() {
            return;
        }
        self.put(at, first);
        self.put(at.wrapping_add(WORD), rest);
    }

    fn invalidate_counter(&self, at: usize) {
        self.post();
        let Some(seen) = self.look::<COUNTER>(at) else { return };
        let words = |bytes: &[u8; COUNTER]| -> [u32; COUNTER / WORD] {
            let (words, _) = bytes.as_chunks::<WORD>();
            core::array::from_fn(|index| words.get(index).map_or(0, |word| u32::from_le_bytes(*word)))
        };
        let ([was, ..], [low, high, again, _]) = (self.words::<4>(at), words(&seen));
        // Of a low word that has not wrapped, and high words that have not changed, since all were last seen, the moments do not
        // matter.
        if high == again && self.known_era(at) == Some(high) && low >= was {
            return self.put(at, &seen);
        }
        // Else in the order that the counter is made for, one after the other.
        for word in [1, 0, 2] {
            let at = at.wrapping_add(WORD.wrapping_mul(word));
            let Some(word) = self.look::<WORD>(at) else { return };
            self.put(at, &word);
        }
        let [_, _, _, guard] = words(&seen);
        self.put(at.wrapping_add(12), &guard.to_le_bytes());
        let [_, high, again, _] = self.words(at);
        self.set_era(at, (high == again).then_some(high));
    }

    fn fetch(&self, at: usize, len: usize) {
        self.post();
        if self.holds(at, len) {
            self.bring(at, len);
        }
    }

    fn compare_exchange(&self, at: usize, old: u32, new: u32) -> Option<bool> {
        self.post();
        // A place that could not be asked for is not taken.
        let Some(found) = self.attempt(|verbs| verbs.compare_exchange(at, old, new)) else { return Some(false) };
        let moved = found == old;
        self.put(at, &if moved { new } else { found }.to_le_bytes());
        Some(moved)
    }
}

impl<V: Verbs, T: Trust> Drop for RemoteLease<V, T> {
    fn drop(&mut self) {
        self.release(false);
    }
}

impl<V: Verbs, T: Trust> fmt::Debug for RemoteLease<V, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteLease")
            .field("len", &self.len)
            .field("id", &self.id)
            .field("epoch", &self.epoch)
            .field("failure", &self.failed.get())
            .finish_non_exhaustive()
    }
}
