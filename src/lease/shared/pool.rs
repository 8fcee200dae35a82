//! The pool: a directory, in which processes acquire leases, take them over, and join them.

#![allow(unsafe_code, reason = "whoever trusts its peers promises something")]

use super::files::{Files, Part, lock_soon, parse, random};
use super::identity::Identity;
use super::layout::{self, HEADER, HOLDER, HOLDER_AT, put};
use super::lease::{SharedLease, terms};
use super::term::Terms;
use crate::error::{LeaseError, Unfit};
use crate::lease::{Cooperative, Pool, Trust, Untrusted};
use crate::name::Name;
use crate::platform::clock::Clock;
use crate::platform::memory::BLOCK;
use crate::platform::unix::{self, Directory, Lock, Mapping, Object};
use crate::types::{Epoch, LeaseId, Ticks};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use std::path::Path;

/// A pool whose leases every process of this user can map, and that survive their holder: a directory.
///
/// On a memory file system (`/dev/shm`) it is shared memory; on any other, mapped files. Nothing is ever flushed: it is
/// memory, not storage, and what an earlier start of the machine left is over. Use a local file system, since locks on
/// others may not be the kernel's.
///
/// What processes agree on is the directory and an id, or a name. The trait's `acquire` makes up an id;
/// [`acquire_named`](Self::acquire_named) derives it from a name. `attach` makes this process the holder of a lease whose
/// holder detached or died; [`join`](Self::join) makes it a reader beside the holder.
///
/// Leases end by the pool's clock, which must be the same in all processes: `clock::MachineClock`. Somebody has to
/// [`sweep`](Pool::sweep) regularly; any process can.
///
/// Clones are the same pool. Calls open, lock and close files: some microseconds to some hundred; none waits for another
/// process longer than a few milliseconds. They allocate.
///
/// ```
/// use fabric_mq::clock::MachineClock;
/// use fabric_mq::lease::{Pool, SharedPool};
/// use fabric_mq::ring::{Reader, Ring, RingConfig, Start, Writer};
/// use fabric_mq::{Name, Ticks};
///
/// # let path = std::env::temp_dir().join(format!("fabric-mq-doc-{}", std::process::id()));
/// let pool = SharedPool::open(&path, MachineClock::new())?;
/// let events = Name::new("events")?;
///
/// // The process that writes.
/// let shape = RingConfig::new(64, 4096);
/// let lease = pool.acquire_named(&events, shape.lease_bytes()?, Ticks::from_millis(30_000))?;
/// let ring: Ring<_> = Ring::format(lease, shape)?;
/// Writer::claim(&ring)?.write(b"hello")?;
///
/// // Any other, which opened the same directory.
/// let ring: Ring<_> = Ring::attach(pool.join_named(&events)?)?;
/// let mut reader = Reader::join(&ring, "main", Start::Earliest)?;
/// let mut buffer = [0; 16];
/// assert_eq!(reader.copy_next(&mut buffer)?.map(|record| record.len()), Some(5));
/// # std::fs::remove_dir_all(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SharedPool<C, T: Trust = Untrusted> {
    dir: Arc<Directory>,
    clock: C,
    limit: u64,
    boot: u128,
    _trust: PhantomData<fn() -> T>,
}

impl<C> SharedPool<C> {
    /// Opens a directory as a pool; makes it, with mode 0700, if there is none (but not the one it lies in).
    ///
    /// # Errors
    /// [`LeaseError::Unfit`] if it is a link or no directory, somebody else's, or has another mode than 0700;
    /// [`LeaseError::Io`] with the system's code.
    pub fn open(path: impl AsRef<Path>, clock: C) -> Result<Self, LeaseError> {
        let dir = Arc::new(Directory::open(path.as_ref())?);
        Ok(Self { dir, clock, limit: u64::MAX, boot: unix::boot_id(), _trust: PhantomData })
    }

    /// Opens this user's pool of a name in the machine's memory: a directory of `/dev/shm`, or where there is none, of
    /// the directory for temporary files.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn in_memory(name: &Name, clock: C) -> Result<Self, LeaseError> {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        // Ends in the name, so that no two users and no two names share one.
        Self::open(parent.join(format!("fabric-mq-{}-{name}", unix::user_id())), clock)
    }

    /// The same pool, but readers of its leases read in place, and writers write in place.
    ///
    /// # Safety
    /// For as long as any lease of the returned pool or of its clones lives, every process that maps files of this
    /// directory follows the protocol of [`crate::ring`] (as this library does), and none cuts files off.
    pub unsafe fn cooperative(self) -> SharedPool<C, Cooperative> {
        let Self { dir, clock, limit, boot, .. } = self;
        SharedPool { dir, clock, limit, boot, _trust: PhantomData }
    }
}

impl<C, T: Trust> SharedPool<C, T> {
    /// The same pool, but through this value a lease is acquired only if all leases in the directory, their records
    /// included, have at most `bytes` then. (Two processes that acquire in the same moment may both find room.)
    #[must_use]
    pub fn with_limit(self, bytes: u64) -> Self {
        Self { limit: bytes, ..self }
    }

    /// The clock that the leases go by.
    #[must_use]
    pub const fn clock(&self) -> &C {
        &self.clock
    }

    /// The id that a name stands for, in every pool.
    #[must_use]
    pub fn id_of(name: &Name) -> LeaseId {
        // FNV-1a with 128 bits. Two names of one id would be refused, not confused: the record has the name.
        let hash = name.as_str().bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
            (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
        });
        // Ids that are made up have the other first bit.
        LeaseId::new(hash | (1 << 127))
    }

    /// An id that nobody has.
    fn new_id() -> LeaseId {
        LeaseId::new(((u128::from(random()) << 64) | u128::from(random())) & (u128::MAX >> 1))
    }

    pub(super) fn files(&self, id: LeaseId) -> Files {
        Files { dir: Arc::clone(&self.dir), id }
    }

    /// The ids of which there is a file.
    pub(super) fn ids(&self) -> Result<Vec<LeaseId>, LeaseError> {
        let mut ids: Vec<_> = self.dir.names()?.iter().filter_map(|name| parse(name)).map(|(id, _)| id).collect();
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// Bytes of all leases' files.
    fn used(&self) -> Result<u64, LeaseError> {
        let len = |id: LeaseId| self.files(id).lease().and_then(|file| file.len()).unwrap_or(0);
        Ok(self.ids()?.into_iter().map(len).fold(0, u64::saturating_add))
    }

    /// Whether a lease was made before the machine started: then its times mean nothing.
    pub(super) fn is_of_another_boot(&self, identity: &Identity, now: Ticks) -> bool {
        identity.boot != self.boot || identity.made_at > now
    }

    /// Maps a lease and does something to its term.
    fn with_terms<R>(
        &self,
        id: LeaseId,
        now: Ticks,
        act: impl FnOnce(Terms<'_>) -> Result<R, LeaseError>,
    ) -> Result<R, LeaseError> {
        let (file, identity) = self.files(id).open()?;
        if self.is_of_another_boot(&identity, now) {
            return Err(LeaseError::Expired);
        }
        // The record alone.
        let map = file.map(u64::from(HEADER))?;
        act(terms(&map))
    }
}

/// Notes who holds a lease, for people to read: nothing depends on it.
fn note_holder(file: &Object, epoch: Epoch) {
    let process = unix::process_id();
    let mut whole = [0; HOLDER];
    let mut to: &mut [u8] = &mut whole;
    put(&mut to, &epoch.value().to_le_bytes());
    put(&mut to, &process.to_le_bytes());
    put(&mut to, &unix::process_start(process).to_le_bytes());
    let crc = layout::crc(whole.get(..16).unwrap_or_default());
    let mut to = whole.get_mut(16..).unwrap_or_default();
    put(&mut to, &crc.to_le_bytes());
    let _ = file.write(HOLDER_AT, &whole);
}

impl<C: Clock, T: Trust> SharedPool<C, T> {
    /// [`acquire`](Pool::acquire) under a name that other processes know.
    ///
    /// ```
    /// # use fabric_mq::clock::MachineClock;
    /// # use fabric_mq::lease::SharedPool;
    /// # use fabric_mq::{LeaseError, Name, Ticks};
    /// # let path = std::env::temp_dir().join(format!("fabric-mq-named-{}", std::process::id()));
    /// # let pool = SharedPool::open(&path, MachineClock::new())?;
    /// // A service that starts: it goes on with what its predecessor left, or begins.
    /// let events = Name::new("events")?;
    /// let lease = match pool.attach_named(&events) {
    ///     Err(LeaseError::Unknown) => pool.acquire_named(&events, 65_536, Ticks::from_millis(30_000))?,
    ///     left => left?,
    /// };
    /// # drop(lease);
    /// # std::fs::remove_dir_all(&path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As `acquire`; [`LeaseError::InUse`] if there is a lease of this name that is not over: attach to it, or join it.
    pub fn acquire_named(&self, name: &Name, min_bytes: usize, ttl: Ticks) -> Result<SharedLease<T>, LeaseError> {
        self.make(Self::id_of(name), Some(*name), min_bytes, ttl, Epoch::new(1))
    }

    /// [`attach`](Pool::attach) by name.
    ///
    /// # Errors
    /// As `attach`; [`LeaseError::Unfit`] if another name has the same id.
    pub fn attach_named(&self, name: &Name) -> Result<SharedLease<T>, LeaseError> {
        self.take_over(Self::id_of(name), Some(name))
    }

    /// Maps a lease to read what its holder writes. The holder may change meanwhile: readers read on.
    ///
    /// A ring's readers take their places in the lease, so a reader does write to it; what it cannot do is take the
    /// writer's place, or format.
    ///
    /// # Errors
    /// [`LeaseError::Unknown`] if there is none of this id, or the way in which it has ended; [`LeaseError::Unfit`] if its
    /// file is not what it should be; [`LeaseError::Disconnected`] in the moment in which it is being made or removed: try
    /// again.
    pub fn join(&self, id: LeaseId) -> Result<SharedLease<T>, LeaseError> {
        self.read(id, None, None)
    }

    /// [`join`](Self::join) by name.
    ///
    /// # Errors
    /// As `join`; [`LeaseError::Unfit`] if another name has the same id.
    pub fn join_named(&self, name: &Name) -> Result<SharedLease<T>, LeaseError> {
        self.read(Self::id_of(name), Some(name), None)
    }

    /// Ends the right to write of a lease's holder, whether it lives or not and whether its time is over or not, and maps
    /// the lease under the next higher epoch: to end the log in it, and to go on in another lease
    /// ([`Ring::take_over`](crate::ring::Ring::take_over)). What is in it stays for its readers until `keep` from now, or
    /// until its own time is over if that is later.
    ///
    /// The holder, if it lives, is told [`LeaseError::Fenced`]. What it still stores goes to this lease, whose bytes nobody
    /// gets for anything else before the kernel has proven that it is gone. Whoever supersedes later has a higher epoch,
    /// and this one is fenced.
    ///
    /// # Errors
    /// As [`join`](Self::join), but a lease that has expired does; [`LeaseError::Revoked`] or [`LeaseError::Released`] if
    /// it has ended so.
    pub fn supersede(&self, id: LeaseId, keep: Ticks) -> Result<SharedLease<T>, LeaseError> {
        self.read(id, None, Some(keep))
    }

    /// [`acquire`](Pool::acquire) for a log that was begun in another lease: under that one's epoch, so that epochs do not go
    /// back.
    ///
    /// # Errors
    /// As `acquire`.
    pub fn acquire_behind(
        &self,
        old: &SharedLease<T>,
        min_bytes: usize,
        ttl: Ticks,
    ) -> Result<SharedLease<T>, LeaseError> {
        let epoch = crate::lease::Lease::epoch(old).max(Epoch::new(1));
        self.make(Self::new_id(), None, min_bytes, ttl, epoch)
    }

    /// Opens a lease, and checks that it is the one of the name and of this start of the machine.
    fn open_lease(&self, files: &Files, name: Option<&Name>) -> Result<(Object, Identity), LeaseError> {
        let (file, identity) = files.open()?;
        if name.is_some() && identity.name.as_ref() != name {
            return Err(LeaseError::Unfit(Unfit::Name));
        }
        if self.is_of_another_boot(&identity, self.clock.now()) {
            return Err(LeaseError::Expired);
        }
        Ok((file, identity))
    }

    fn read(&self, id: LeaseId, name: Option<&Name>, keep: Option<Ticks>) -> Result<SharedLease<T>, LeaseError> {
        let files = self.files(id);
        let (file, identity) = self.open_lease(&files, name)?;
        if !lock_soon(&file, Lock::Shared)? {
            return Err(LeaseError::Disconnected);
        }
        // From here on nobody removes it, but somebody may have done so before.
        if !file.is_linked()? {
            return Err(LeaseError::Unknown);
        }
        let map = map_all(&file, &identity)?;
        let now = self.clock.now();
        terms(&map).settle(now)?;
        let epoch = keep.map(|keep| terms(&map).supersede(now, keep)).transpose()?;
        let (token, place) = files.begin_reading()?;
        let mut lease = SharedLease::reader(map, identity, files, file, token, place);
        if let Some(epoch) = epoch {
            lease = lease.into_sealer(epoch);
        }
        crate::lease::Lease::check(&lease)?;
        Ok(lease)
    }

    fn take_over(&self, id: LeaseId, name: Option<&Name>) -> Result<SharedLease<T>, LeaseError> {
        let files = self.files(id);
        let (file, identity) = self.open_lease(&files, name)?;
        let hold = match files.hold() {
            // Whoever removes a lease takes its own name away before the holder's.
            Err(LeaseError::Unknown) if !file.is_linked()? => return Err(LeaseError::Unknown),
            Err(LeaseError::Unknown) => return Err(LeaseError::Unfit(Unfit::NotALease)),
            other => other?,
        };
        if !lock_soon(&hold, Lock::Exclusive)? {
            return Err(LeaseError::InUse);
        }
        // The lock proves that the last holder is gone, and keeps everybody else from coming here, or removing it.
        if !file.is_linked()? || !hold.is_linked()? {
            return Err(LeaseError::Unknown);
        }
        let map = map_all(&file, &identity)?;
        let epoch = terms(&map).succeed(self.clock.now())?;
        note_holder(&file, epoch);
        Ok(SharedLease::holder(map, identity, files, file, hold, epoch))
    }

    fn make(
        &self,
        id: LeaseId,
        name: Option<Name>,
        min_bytes: usize,
        ttl: Ticks,
        epoch: Epoch,
    ) -> Result<SharedLease<T>, LeaseError> {
        let now = self.clock.now();
        let bytes = min_bytes.max(1).checked_next_multiple_of(BLOCK).ok_or(LeaseError::CapacityExceeded)? as u64;
        let identity = Identity { id, bytes, made_at: now, boot: self.boot, name };
        if i64::try_from(identity.file_bytes()).is_err() {
            return Err(LeaseError::CapacityExceeded);
        }
        if self.limit != u64::MAX && self.used()?.saturating_add(identity.file_bytes()) > self.limit {
            return Err(LeaseError::CapacityExceeded);
        }
        let files = self.files(id);
        let hold = self.begin(&files, now)?;
        // Nobody else makes or removes files of this id from here on.
        Self::fill(&files, hold, &identity, now.plus(ttl), epoch).inspect_err(|error| {
            if *error == LeaseError::InUse {
                // A lease without a holder's file: somebody removed that one by hand. Not ours.
                let _ = files.dir.remove(&files.name(Part::Hold));
            } else {
                let _ = files.remove();
            }
        })
    }

    /// Makes the holder's file of a lease that is about to be made, and locks it.
    fn begin(&self, files: &Files, now: Ticks) -> Result<Object, LeaseError> {
        // Another turn only if somebody took the file away in the moment before it was locked.
        for _ in 0..16 {
            match files.dir.create(&files.name(Part::Hold)) {
                Ok(hold) if lock_soon(&hold, Lock::Exclusive)? && hold.is_linked()? => return Ok(hold),
                Ok(_) => {}
                // Of a lease that is over, perhaps.
                Err(LeaseError::InUse) if self.clear(files.id, now, false) != Ok(true) => {
                    return Err(LeaseError::InUse);
                }
                Err(LeaseError::InUse) => {}
                Err(error) => return Err(error),
            }
        }
        Err(LeaseError::InUse)
    }

    fn fill(
        files: &Files,
        hold: Object,
        identity: &Identity,
        until: Ticks,
        epoch: Epoch,
    ) -> Result<SharedLease<T>, LeaseError> {
        let file = files.dir.create(&files.name(Part::Lease))?;
        file.allocate(identity.file_bytes())?;
        identity.store(&file)?;
        let map = file.map(identity.file_bytes())?;
        terms(&map).start(until, epoch);
        note_holder(&file, epoch);
        Identity::publish(&file)?;
        Ok(SharedLease::holder(map, *identity, files.clone(), file, hold, epoch))
    }
}

/// Maps a whole lease, once there is room for all of it.
fn map_all(file: &Object, identity: &Identity) -> Result<Mapping, LeaseError> {
    file.allocate(identity.file_bytes())?;
    file.map(identity.file_bytes())
}

impl<C: Clock, T: Trust> Pool for SharedPool<C, T> {
    type Lease = SharedLease<T>;

    /// Errors also: [`LeaseError::Io`] with the system's code, [`LeaseError::Unsupported`] if the file system has no
    /// locks.
    fn acquire(&self, min_bytes: usize, ttl: Ticks) -> Result<Self::Lease, LeaseError> {
        self.make(Self::new_id(), None, min_bytes, ttl, Epoch::new(1))
    }

    /// Takes over a lease whose holder detached from it or died: that is proven by the kernel, which gives a dead
    /// process's lock back. Errors also: [`LeaseError::Unfit`] if the file is not what it should be;
    /// [`LeaseError::Disconnected`] in the moment in which it is being made.
    fn attach(&self, id: LeaseId) -> Result<Self::Lease, LeaseError> {
        self.take_over(id, None)
    }

    /// The method of the same name of the pool itself, for which the trait need not be in scope.
    fn join(&self, id: LeaseId) -> Result<Self::Lease, LeaseError> {
        self.read(id, None, None)
    }

    /// The method of the same name of the pool itself.
    fn supersede(&self, id: LeaseId, keep: Ticks) -> Result<Self::Lease, LeaseError> {
        self.read(id, None, Some(keep))
    }

    /// The method of the same name of the pool itself.
    fn acquire_behind(&self, old: &Self::Lease, min_bytes: usize, ttl: Ticks) -> Result<Self::Lease, LeaseError> {
        Self::acquire_behind(self, old, min_bytes, ttl)
    }

    fn renew(&self, id: LeaseId, ttl: Ticks) -> Result<Ticks, LeaseError> {
        let now = self.clock.now();
        self.with_terms(id, now, |terms| terms.renew(now, ttl))
    }

    fn revoke(&self, id: LeaseId) -> Result<(), LeaseError> {
        let now = self.clock.now();
        match self.with_terms(id, now, |terms| terms.revoke()) {
            // Of an earlier start of the machine: over already.
            Ok(()) | Err(LeaseError::Expired) => {}
            Err(error) => return Err(error),
        }
        // If somebody uses it still, a sweep removes it when they are gone.
        let _ = self.clear(id, now, false);
        Ok(())
    }

    fn fence(&self, id: LeaseId) -> Result<Epoch, LeaseError> {
        let now = self.clock.now();
        self.with_terms(id, now, |terms| terms.fence(now))
    }

    /// Also removes those that are over and that nobody has mapped. Files that are no leases are left alone, and not
    /// counted.
    fn sweep(&self) -> usize {
        let now = self.clock.now();
        let mut ended: usize = 0;
        for id in self.ids().unwrap_or_default() {
            ended = ended.saturating_add(usize::from(self.with_terms(id, now, |terms| terms.settle(now)) == Ok(true)));
            let _ = self.clear(id, now, false);
        }
        ended
    }
}

impl<C: Clone, T: Trust> Clone for SharedPool<C, T> {
    fn clone(&self) -> Self {
        let Self { dir, clock, limit, boot, _trust } = self;
        Self { dir: Arc::clone(dir), clock: clock.clone(), limit: *limit, boot: *boot, _trust: PhantomData }
    }
}

impl<C, T: Trust> fmt::Debug for SharedPool<C, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedPool").field("dir", &self.dir).field("limit", &self.limit).finish_non_exhaustive()
    }
}
