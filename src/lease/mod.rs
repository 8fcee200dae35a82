//! Leases: bytes held for a time, under an epoch.
//!
//! A [`Lease`] says where the bytes are, how far the other parties that can reach them are trusted ([`Trust`]), and
//! whether its holder may still write. A [`Pool`] hands leases out: from a slice, from a `static`, from the heap.
//!
//! A lease ends in one of four ways, and from then on every write through it is refused: it **expires** because nobody
//! renewed it, its pool **revokes** it, somebody with a higher epoch **fences** it, or its holder drops it. The end is an
//! event that the pool records once; holders look at the record, not at the clock.

#[cfg(feature = "alloc")]
mod heap;
pub(crate) mod layout;
mod memory;
mod pool;
pub(crate) mod superblock;
mod term;

#[cfg(feature = "alloc")]
pub use heap::{HeapLease, HeapPool};
pub use memory::{SliceLease, StaticGrant, StaticLease};
pub use pool::{Pool, SlicePool, SlicePoolLease};

use crate::error::LeaseError;
use crate::types::{Epoch, LeaseId, Ticks};
use core::ptr::NonNull;

mod sealed {
    pub trait Sealed {}
}

/// How far the other parties that can reach a lease's bytes are trusted. A type parameter, so that the accessor that
/// would be wrong does not exist: see the three levels.
pub trait Trust: sealed::Sealed + 'static {
    /// Nobody else touches the bytes while the lease is held.
    const EXCLUSIVE: bool;
    /// Somebody may write anything at any time.
    const HOSTILE: bool;
}

/// Nobody outside this lease's holder touches the bytes. Attaching may repair what a dead writer left.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Exclusive;

/// Others may map the same bytes, and follow the protocol.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Cooperative;

/// Others may write anything at any time. Records are copied out and checked; no reference to the bytes is ever formed.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Untrusted;

impl sealed::Sealed for Exclusive {}
impl sealed::Sealed for Cooperative {}
impl sealed::Sealed for Untrusted {}

impl Trust for Exclusive {
    const EXCLUSIVE: bool = true;
    const HOSTILE: bool = false;
}
impl Trust for Cooperative {
    const EXCLUSIVE: bool = false;
    const HOSTILE: bool = false;
}
impl Trust for Untrusted {
    const EXCLUSIVE: bool = false;
    const HOSTILE: bool = true;
}

/// The trust levels on which bytes can be lent in place.
pub trait Lend: Trust {}
impl Lend for Exclusive {}
impl Lend for Cooperative {}

/// Bytes held for a time, under an epoch.
///
/// # Safety
/// For as long as the value lives, wherever it is moved: `base` and `len` answer the same, `base` is aligned to 8 bytes
/// and valid for reads and writes of `len` bytes. If `Trust` is [`Exclusive`], nobody but the holder of this value
/// touches those bytes; if [`Cooperative`], everybody else who does follows the protocol of [`crate::ring`] (words of
/// the control area and slots by atomics, payload bytes only between reserving and committing them or while pinned); if
/// [`Untrusted`], everybody else uses atomics or lives in another process.
#[allow(unsafe_code, reason = "who implements it promises that the bytes are valid")]
pub unsafe trait Lease {
    /// How far others that reach the bytes are trusted.
    type Trust: Trust;

    /// Where the bytes are.
    fn base(&self) -> NonNull<u8>;

    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The lease's name in its pool.
    fn id(&self) -> LeaseId {
        LeaseId::default()
    }

    /// The epoch it was granted under.
    fn epoch(&self) -> Epoch {
        Epoch::default()
    }

    /// Whether the holder may still write. Asked before each record and before each commit: one load at most.
    ///
    /// # Errors
    /// The way in which the lease ended.
    #[inline]
    fn check(&self) -> Result<(), LeaseError> {
        Ok(())
    }

    /// When the lease ends if nobody renews it.
    fn expires_at(&self) -> Ticks {
        Ticks::MAX
    }

    /// Makes bytes that were stored visible to parties that do not share this processor's caches. Does nothing on
    /// coherent memory.
    #[inline]
    fn clean(&self, at: usize, len: usize) {
        let _ = (at, len);
    }

    /// Forgets cached copies of bytes that such a party may have stored. Does nothing on coherent memory.
    #[inline]
    fn invalidate(&self, at: usize, len: usize) {
        let _ = (at, len);
    }
}
