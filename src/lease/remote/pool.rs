//! Leases that the memory's side grants.

use super::{Peers, RemoteLease, Verbs};
use crate::error::LeaseError;
use crate::lease::{Cooperative, Pool, Role, Trust, Untrusted};
use crate::types::{Epoch, LeaseId, Ticks};
use core::fmt;
use core::marker::PhantomData;

/// What the memory's side grants: a connection, and under which terms.
#[derive(Debug)]
#[allow(clippy::exhaustive_structs, reason = "made by those who implement `Grants`")]
pub struct Grant<V> {
    /// The connection to the leased bytes.
    pub verbs: V,
    /// The lease's name.
    pub id: LeaseId,
    /// The epoch it is granted under.
    pub epoch: Epoch,
    /// When it ends if nobody renews it.
    pub deadline: Ticks,
}

/// The memory's side, which grants leases and ends them: the calls of [`Pool`], over whatever the two speak.
///
/// # What an implementation must keep
/// Before a lease is granted under a higher epoch ([`attach`](Self::attach)), every connection that could write under a lower one
/// is closed, and nothing that was under way on it arrives any more. So it is after [`fence`](Self::fence) and
/// [`revoke`](Self::revoke), and when a lease has expired: the memory's side does not ask its holder. This is what makes a
/// takeover safe that plain shared memory cannot make so.
pub trait Grants {
    /// How the bytes are reached.
    type Verbs: Verbs;

    /// Who else reaches the bytes.
    fn peers(&self) -> Peers;

    /// As [`Pool::acquire`].
    ///
    /// # Errors
    /// As there.
    fn acquire(&self, min_bytes: usize, ttl: Ticks) -> Result<Grant<Self::Verbs>, LeaseError>;

    /// As [`Pool::attach`]; a holder whose connection is broken holds nothing.
    ///
    /// # Errors
    /// As there.
    fn attach(&self, id: LeaseId) -> Result<Grant<Self::Verbs>, LeaseError>;

    /// A connection beside the holder's, to read.
    ///
    /// # Errors
    /// [`LeaseError::Unknown`], or the way in which the lease has ended.
    fn join(&self, id: LeaseId) -> Result<Grant<Self::Verbs>, LeaseError>;

    /// As [`Pool::renew`].
    ///
    /// # Errors
    /// As there.
    fn renew(&self, id: LeaseId, ttl: Ticks) -> Result<Ticks, LeaseError>;

    /// As [`Pool::revoke`].
    ///
    /// # Errors
    /// As there.
    fn revoke(&self, id: LeaseId) -> Result<(), LeaseError>;

    /// As [`Pool::fence`].
    ///
    /// # Errors
    /// As there.
    fn fence(&self, id: LeaseId) -> Result<Epoch, LeaseError>;

    /// As [`Pool::sweep`].
    fn sweep(&self) -> usize;
}

/// A pool of memory that is reached by verbs.
///
/// A lease whose holder drops it goes back; one whose holder detaches, or whose connection breaks, stays until its time is over.
/// Whoever attaches next writes under a higher epoch, and takes the writer's place over from whoever left it.
///
/// ```
/// use fabric_mq::clock::ManualClock;
/// use fabric_mq::lease::Pool;
/// use fabric_mq::lease::remote::{LoopbackGrants, RemotePool};
/// use fabric_mq::ring::{Ring, RingConfig, Writer};
/// use fabric_mq::{LeaseError, Ticks, WriteError};
///
/// let clock = ManualClock::new();
/// let pool = RemotePool::new(LoopbackGrants::new(&clock));
/// let lease = pool.acquire(4096, Ticks::from_millis(100))?;
/// let ring: Ring<_> = Ring::format(lease, RingConfig::new(32, 1024))?;
/// let mut writer = Writer::claim(&ring)?;
/// writer.write(b"by the first")?;
///
/// // Somebody else takes over; the first one may not know it yet.
/// let id = fabric_mq::lease::Lease::id(ring.lease());
/// pool.fence(id)?;
/// let next: Ring<_> = Ring::attach(pool.attach(id)?)?;
/// Writer::claim(&next)?.write(b"by the second")?;
/// assert_eq!(writer.write(b"too late"), Err(WriteError::Lease(LeaseError::Fenced)));
/// assert_eq!(next.tail().value(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RemotePool<G, T: Trust = Untrusted> {
    grants: G,
    trust: PhantomData<fn() -> T>,
}

impl<G: Grants> RemotePool<G, Untrusted> {
    /// A pool whose leases are read by copy, and checked.
    pub const fn new(grants: G) -> Self {
        Self { grants, trust: PhantomData }
    }
}

impl<G: Grants> RemotePool<G, Cooperative> {
    /// A pool whose leases are read and written in place.
    ///
    /// # Safety
    /// As [`RemoteLease::cooperative`], for every lease of the pool.
    #[allow(unsafe_code, reason = "a promise of the caller's")]
    pub const unsafe fn cooperative(grants: G) -> Self {
        Self { grants, trust: PhantomData }
    }
}

impl<G: Grants, T: Trust> RemotePool<G, T> {
    /// The memory's side.
    pub const fn grants(&self) -> &G {
        &self.grants
    }

    /// A lease beside the holder's, to read under its epoch. It may outlive the holder's.
    ///
    /// # Errors
    /// [`LeaseError::Unknown`], or the way in which the lease has ended.
    pub fn join(&self, id: LeaseId) -> Result<RemoteLease<G::Verbs, T>, LeaseError> {
        self.lease(self.grants.join(id)?, Role::Reader)
    }

    fn lease(&self, grant: Grant<G::Verbs>, role: Role) -> Result<RemoteLease<G::Verbs, T>, LeaseError> {
        let Grant { verbs, id, epoch, deadline } = grant;
        let lease = RemoteLease::make(verbs, self.grants.peers())?;
        Ok(lease.with_id(id).with_epoch(epoch).with_role(role).with_expiry(deadline))
    }
}

impl<G: Grants, T: Trust> Pool for RemotePool<G, T> {
    type Lease = RemoteLease<G::Verbs, T>;

    fn acquire(&self, min_bytes: usize, ttl: Ticks) -> Result<Self::Lease, LeaseError> {
        self.lease(self.grants.acquire(min_bytes, ttl)?, Role::Writer)
    }
    fn attach(&self, id: LeaseId) -> Result<Self::Lease, LeaseError> {
        self.lease(self.grants.attach(id)?, Role::Writer)
    }
    fn renew(&self, id: LeaseId, ttl: Ticks) -> Result<Ticks, LeaseError> {
        self.grants.renew(id, ttl)
    }
    fn revoke(&self, id: LeaseId) -> Result<(), LeaseError> {
        self.grants.revoke(id)
    }
    fn fence(&self, id: LeaseId) -> Result<Epoch, LeaseError> {
        self.grants.fence(id)
    }
    fn sweep(&self) -> usize {
        self.grants.sweep()
    }
}

impl<G: fmt::Debug, T: Trust> fmt::Debug for RemotePool<G, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemotePool").field("grants", &self.grants).finish_non_exhaustive()
    }
}
