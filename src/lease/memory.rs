//! Leases that never end by themselves: a `static`, a borrowed slice, raw memory that somebody else mapped.

#![allow(unsafe_code, reason = "leases promise that their bytes are valid")]

use super::{Cooperative, Exclusive, Lease, Trust, Untrusted};
use crate::error::LeaseError;
use crate::platform::atomic::{AtomicU32, Ordering};
use crate::platform::claim;
use crate::platform::memory::UNIT;
use crate::types::{Epoch, LeaseId};
#[allow(clippy::disallowed_types, reason = "the bytes of a static lease")]
use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

/// `N` bytes in a `static`, leased to one holder at a time. No allocator, no linker script: it lies in `.bss`.
///
/// ```
/// use fabric_mq::lease::StaticLease;
///
/// static MEMORY: StaticLease<4096> = StaticLease::new();
/// let lease = MEMORY.claim()?;
/// assert!(MEMORY.claim().is_err(), "held by one at a time");
/// drop(lease);
/// assert!(MEMORY.claim().is_ok());
/// # Ok::<(), fabric_mq::LeaseError>(())
/// ```
#[repr(C, align(128))]
pub struct StaticLease<const N: usize> {
    #[allow(clippy::disallowed_types, reason = "the bytes of a static lease")]
    bytes: UnsafeCell<[u8; N]>,
    held: AtomicU32,
    epoch: AtomicU32,
}

// SAFETY: the bytes are reached only through a `StaticGrant`, of which `held` allows one at a time.
unsafe impl<const N: usize> Sync for StaticLease<N> {}

impl<const N: usize> StaticLease<N> {
    /// Bytes for a `static`.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new() -> Self {
        #[allow(clippy::disallowed_types, reason = "the bytes of a static lease")]
        Self { bytes: UnsafeCell::new([0; N]), held: AtomicU32::new(0), epoch: AtomicU32::new(0) }
    }

    /// Takes the bytes. Each grant has a higher epoch than the one before.
    ///
    /// # Errors
    /// [`LeaseError::InUse`] while another grant lives; [`LeaseError::Fenced`] once the 2^32 epochs are used up.
    pub fn claim(&'static self) -> Result<StaticGrant, LeaseError> {
        if !claim(&self.held, 0, 1) {
            return Err(LeaseError::InUse);
        }
        // Alone since `held` was claimed.
        let Some(epoch) = self.epoch.load(Ordering::Relaxed).checked_add(1) else {
            self.held.store(0, Ordering::Release);
            return Err(LeaseError::Fenced);
        };
        self.epoch.store(epoch, Ordering::Relaxed);
        // The address of `bytes`, without forming a reference to them.
        let base = NonNull::from(&self.bytes).cast();
        Ok(StaticGrant { base, len: N, epoch: Epoch::new(epoch), held: &self.held })
    }
}

#[cfg(not(loom))]
impl<const N: usize> Default for StaticLease<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> fmt::Debug for StaticLease<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticLease").field("len", &N).finish_non_exhaustive()
    }
}

/// The holder of a [`StaticLease`]. Dropping it gives the bytes back, as they are.
pub struct StaticGrant {
    base: NonNull<u8>,
    len: usize,
    epoch: Epoch,
    held: &'static AtomicU32,
}

// SAFETY: it is the only one that reaches the bytes (`held`), so it may do so from any thread.
unsafe impl Send for StaticGrant {}
// SAFETY: it gives out nothing but the address.
unsafe impl Sync for StaticGrant {}

// SAFETY: the bytes are a static's, aligned to 128, and `held` keeps everybody else away until the drop.
unsafe impl Lease for StaticGrant {
    type Trust = Exclusive;

    fn base(&self) -> NonNull<u8> {
        self.base
    }
    fn len(&self) -> usize {
        self.len
    }
    fn epoch(&self) -> Epoch {
        self.epoch
    }
}

impl Drop for StaticGrant {
    fn drop(&mut self) {
        // SYNC(held): with the Acquire of `claim`: the next holder sees what this one wrote.
        self.held.store(0, Ordering::Release);
    }
}

impl fmt::Debug for StaticGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticGrant").field("len", &self.len).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// Bytes that the caller lends: a borrowed slice, or memory mapped by somebody else.
pub struct SliceLease<'m, T: Trust = Exclusive> {
    base: NonNull<u8>,
    len: usize,
    id: LeaseId,
    epoch: Epoch,
    _memory: PhantomData<(&'m mut [u8], T)>,
}

// SAFETY: like the `&mut [u8]` it is made from; on the other levels access goes by the protocol, from any thread.
unsafe impl<T: Trust> Send for SliceLease<'_, T> {}
// SAFETY: it gives out nothing but the address.
unsafe impl<T: Trust> Sync for SliceLease<'_, T> {}

impl<'m> SliceLease<'m, Exclusive> {
    /// Leases a slice for as long as it is borrowed. Up to 7 bytes at its start are left out to align it.
    ///
    /// ```
    /// use fabric_mq::lease::{Lease, SliceLease};
    /// let mut bytes = [0; 2048];
    /// let lease = SliceLease::new(&mut bytes);
    /// assert!(lease.len() > 2040);
    /// ```
    #[must_use]
    pub fn new(bytes: &'m mut [u8]) -> Self {
        let skip = bytes.as_ptr().align_offset(UNIT).min(bytes.len());
        let bytes = bytes.get_mut(skip..).unwrap_or_default();
        let len = bytes.len();
        Self {
            base: aligned(NonNull::from(bytes).cast(), len),
            len,
            id: LeaseId::default(),
            epoch: Epoch::default(),
            _memory: PhantomData,
        }
    }
}

/// An empty slice at an odd place has no aligned byte: any aligned address will do for it.
fn aligned(base: NonNull<u8>, len: usize) -> NonNull<u8> {
    if len == 0 { NonNull::<u64>::dangling().cast() } else { base }
}

impl<'m> SliceLease<'m, Cooperative> {
    /// Leases memory that others map too, and use by the protocol.
    ///
    /// # Safety
    /// For `'m`, `base` is aligned to 8 bytes and valid for reads and writes of `len` bytes, and everybody else who
    /// touches them follows the protocol of [`crate::ring`].
    #[must_use]
    pub const unsafe fn cooperative(base: NonNull<u8>, len: usize) -> Self {
        Self { base, len, id: LeaseId::new(0), epoch: Epoch::new(0), _memory: PhantomData }
    }
}

impl<'m> SliceLease<'m, Untrusted> {
    /// Leases memory that others may fill with anything at any time.
    ///
    /// # Safety
    /// For `'m`, `base` is aligned to 8 bytes and valid for reads and writes of `len` bytes. Others in this process touch
    /// them by atomics only; what other processes and devices do is their own.
    #[must_use]
    pub const unsafe fn untrusted(base: NonNull<u8>, len: usize) -> Self {
        Self { base, len, id: LeaseId::new(0), epoch: Epoch::new(0), _memory: PhantomData }
    }
}

impl<T: Trust> SliceLease<'_, T> {
    /// Names the lease.
    #[must_use]
    pub fn with_id(self, id: LeaseId) -> Self {
        Self { id, ..self }
    }

    /// Sets the epoch the lease was granted under.
    #[must_use]
    pub fn with_epoch(self, epoch: Epoch) -> Self {
        Self { epoch, ..self }
    }
}

// SAFETY: `new` borrows the slice exclusively for `'m`; the other two pass their callers' promises on.
unsafe impl<T: Trust> Lease for SliceLease<'_, T> {
    type Trust = T;

    fn base(&self) -> NonNull<u8> {
        self.base
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
}

impl<T: Trust> fmt::Debug for SliceLease<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SliceLease").field("len", &self.len).field("id", &self.id).finish_non_exhaustive()
    }
}
