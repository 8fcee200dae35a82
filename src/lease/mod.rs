//! Leases: bytes held for a time, under an epoch.
//!
//! A [`Lease`] says where the bytes are, how far the other parties that can reach them are trusted ([`Trust`]), and
//! whether its holder may still write. A [`Pool`] hands leases out: from a slice, from a `static`, from the heap.
//!
//! A lease ends in one of four ways, and from then on every write through it is refused: it **expires** because nobody
//! renewed it, its pool **revokes** it, somebody with a higher epoch **fences** it, or its holder drops it. The end is an
//! event that the pool records once; holders look at the record, not at the clock.
//!
//! Memory that cannot be mapped, but read and written by the verbs of a network, is leased too: see `remote`.
//!
//! With std on Unix, `SharedPool` hands out leases that processes share, and that survive their holder.

#[cfg(feature = "alloc")]
mod heap;
pub(crate) mod layout;
mod memory;
mod pool;
#[cfg(all(feature = "alloc", not(loom)))]
pub mod remote;
#[cfg(feature = "alloc")]
mod renewer;
#[cfg(feature = "std")]
mod renewing;
pub(crate) mod seal;
#[cfg(all(feature = "std", unix, target_has_atomic = "64", not(loom)))]
mod shared;
pub(crate) mod superblock;
mod term;

#[cfg(feature = "alloc")]
pub use heap::{HeapLease, HeapPool};
pub use memory::{SliceLease, StaticGrant, StaticLease};
pub use pool::{Pool, SlicePool, SlicePoolLease};
#[cfg(feature = "alloc")]
pub use renewer::Renewer;
#[cfg(feature = "std")]
pub use renewing::Renewing;
#[cfg(all(feature = "std", unix, target_has_atomic = "64", not(loom)))]
pub use shared::{Reaped, SharedInfo, SharedLease, SharedPool};

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

/// Others may write anything at any time. Records are copied out and checked; no reference to the bytes is ever formed: what
/// would lend them does not exist.
///
/// ```
/// # use fabric_mq::lease::{Cooperative, Lease};
/// # use fabric_mq::ring::{Reader, Ring, Writer};
/// fn lent<L: Lease<Trust = Cooperative>>(ring: &Ring<L>, reader: &mut Reader<&Ring<L>>, writer: &mut Writer<&Ring<L>>) {
///     let _ = reader.next();
///     let _ = reader.for_each(1, |_| ());
///     let _ = writer.reserve(1);
/// }
/// ```
/// ```compile_fail,E0599
/// # use fabric_mq::lease::{Lease, Untrusted};
/// # use fabric_mq::ring::{Reader, Ring};
/// fn lent<L: Lease<Trust = Untrusted>>(reader: &mut Reader<&Ring<L>>) {
///     let _ = reader.next();
/// }
/// ```
/// ```compile_fail,E0599
/// # use fabric_mq::lease::{Lease, Untrusted};
/// # use fabric_mq::ring::{Reader, Ring};
/// fn lent<L: Lease<Trust = Untrusted>>(reader: &mut Reader<&Ring<L>>) {
///     let _ = reader.for_each(1, |_| ());
/// }
/// ```
/// ```compile_fail,E0599
/// # use fabric_mq::lease::{Lease, Untrusted};
/// # use fabric_mq::ring::{Ring, Writer};
/// fn lent<L: Lease<Trust = Untrusted>>(writer: &mut Writer<&Ring<L>>) {
///     let _ = writer.reserve(1);
/// }
/// ```
/// ```
/// # use fabric_mq::lease::{Lease, Untrusted};
/// # use fabric_mq::ring::{Reader, Ring};
/// fn copied<L: Lease<Trust = Untrusted>>(reader: &mut Reader<&Ring<L>>, buffer: &mut [u8]) {
///     let _ = reader.copy_next(buffer);
/// }
/// ```
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

/// What a lease's holder may do with the writer's place of a ring in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Role {
    /// Take it when it is free.
    Peer,
    /// Nothing: it reads.
    Reader,
    /// End the log for a successor in another lease. It cannot write.
    Sealer,
    /// Take it, also if a writer of a lower epoch left it taken. The lease vouches that whoever wrote under a lower epoch
    /// is gone, and that nobody else is a writer under this one.
    Writer,
}

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

    /// Whether a log in such a lease can be ended under a living writer, for a successor in another lease
    /// ([`Ring::take_over`](crate::ring::Ring::take_over)): compare-and-swap on its words holds between all parties that
    /// reach them, by the processor's instruction or by [`compare_exchange`](Self::compare_exchange), and no word that one of them
    /// did not store is ever undone by it. Where it is `false`, nothing of that is compiled in.
    const SEALABLE: bool = false;

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

    /// What the holder may do with the writer's place. Asked when it is taken, and by formatting.
    #[inline]
    fn role(&self) -> Role {
        Role::Peer
    }

    /// A number, not 0, by which others who lease the same bytes can find out whether this holder is dead; 0 if there is
    /// none.
    #[inline]
    fn token(&self) -> u32 {
        0
    }

    /// Whether the holder of a token is proven to be gone. May ask the operating system.
    #[inline]
    fn is_gone(&self, token: u32) -> bool {
        let _ = token;
        false
    }

    /// When the lease ends if nobody renews it.
    fn expires_at(&self) -> Ticks {
        Ticks::MAX
    }

    /// Gives the lease up, but not what is in it: in a pool that frees what its holder drops, it stays to be attached to by its
    /// id, until its time is over. Other leases are just dropped.
    fn detach(self) -> LeaseId
    where
        Self: Sized,
    {
        self.id()
    }

    /// Whether this processor's instructions reach the bytes themselves. Where they do not, but a copy that verbs keep, rings alone
    /// can be in the lease: what else goes into leases refuses it.
    #[inline]
    fn is_mapped(&self) -> bool {
        true
    }

    /// Makes bytes that were stored visible to parties that do not share this processor's caches. The bytes of one call, and
    /// those of several, may become visible in any order, unless there is a [`fence`](Self::fence) between; so may, cache line
    /// by cache line, bytes that were stored and not cleaned. Does nothing on coherent memory.
    #[inline]
    fn clean(&self, at: usize, len: usize) {
        let _ = (at, len);
    }

    /// The same for a counter of the ring's, 16 bytes, whose words must not be seen in any order but their own: the third,
    /// the first, the second, the last.
    #[inline]
    fn clean_counter(&self, at: usize) {
        self.clean(at.wrapping_add(8), 4);
        self.fence();
        self.clean(at, 4);
        self.fence();
        self.clean(at.wrapping_add(4), 4);
        self.fence();
        self.clean(at.wrapping_add(12), 4);
    }

    /// Takes care that bytes which were stored and not cleaned do not become visible later, when another party writes there.
    /// Does nothing where that cannot happen.
    #[inline]
    fn discard(&self, at: usize, len: usize) {
        let _ = (at, len);
    }

    /// What was cleaned before becomes visible before anything that is stored or cleaned from now on, and before the answer to
    /// any [`invalidate`](Self::invalidate) or [`compare_exchange`](Self::compare_exchange) from now on was taken from the
    /// memory. Does nothing on coherent memory.
    #[inline]
    fn fence(&self) {}

    /// Waits until all that was cleaned is visible. The ring asks it before it answers that a record is committed. Does nothing
    /// on coherent memory.
    ///
    /// # Errors
    /// [`LeaseError::Indeterminate`] if nobody knows: some of it may be visible. Any other: what was cleaned last is not.
    #[inline]
    fn complete(&self) -> Result<(), LeaseError> {
        Ok(())
    }

    /// Forgets cached copies of words that such a party may have stored. What is loaded from the first word afterwards is not
    /// newer than what is loaded from the others. Does nothing on coherent memory.
    #[inline]
    fn invalidate(&self, at: usize, len: usize) {
        let _ = (at, len);
    }

    /// The same for a counter of the ring's, 16 bytes: they are as of one moment, or such as loads of the second word, of the
    /// first and of the third would find, one after the other.
    #[inline]
    fn invalidate_counter(&self, at: usize) {
        self.invalidate(at, 16);
    }

    /// The same for bytes that nobody stores meanwhile, or of which it is found out afterwards whether somebody did: they may
    /// be of different moments.
    #[inline]
    fn fetch(&self, at: usize, len: usize) {
        self.invalidate(at, len);
    }

    /// Whether all that was invalidated or fetched so far was brought from the memory; asked before it is believed. Always so
    /// on memory that is mapped.
    ///
    /// # Errors
    /// Why it was not: what is loaded is older, or was never in the memory.
    #[inline]
    fn reached(&self) -> Result<(), LeaseError> {
        Ok(())
    }

    /// Moves the word at byte `at` from `old` to `new` in the memory itself, beyond all caches, by one step that is atomic for
    /// everybody who may take a place in the ring; answers whether it held `old`. `None` where the processor's own
    /// instruction on the word is such a step: everywhere but on memory that is not coherent.
    ///
    /// What was cleaned before is visible before that, and the cached copy of the word is the memory's afterwards.
    #[inline]
    fn compare_exchange(&self, at: usize, old: u32, new: u32) -> Option<bool> {
        let _ = (at, old, new);
        None
    }
}
