//! A lease that asks the test whenever the ring asks or tells it something: there the test may stop whoever uses it, do
//! what another party would do meanwhile, or say that the lease has ended.

use fabric_mq::lease::{Lease, Role};
use fabric_mq::{Epoch, LeaseError, LeaseId};
use std::borrow::Borrow;
use std::cell::Cell;
use std::ptr::NonNull;

/// What the lease was asked or told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Call {
    /// Whether it still holds: the only call to which there is an answer.
    Check,
    /// That bytes from there on were stored.
    Clean { at: usize },
    /// That bytes are about to be loaded.
    Invalidate,
}

/// Another lease, with a hook that is called first.
pub(crate) struct Hooked<L, H> {
    lease: L,
    hook: H,
}

impl<L: Lease, H: Fn(Call) -> Result<(), LeaseError>> Hooked<L, H> {
    pub(crate) fn new(lease: L, hook: H) -> Self {
        Self { lease, hook }
    }

    pub(crate) fn inner(&self) -> &L {
        &self.lease
    }
}

#[allow(unsafe_code, reason = "memory for tests")]
// SAFETY: passes on what the other lease promises; a hook cannot take anything of that back.
unsafe impl<L: Lease, H: Fn(Call) -> Result<(), LeaseError>> Lease for Hooked<L, H> {
    type Trust = L::Trust;
    const SEALABLE: bool = L::SEALABLE;

    fn base(&self) -> NonNull<u8> {
        self.lease.base()
    }
    fn len(&self) -> usize {
        self.lease.len()
    }
    fn id(&self) -> LeaseId {
        self.lease.id()
    }
    fn epoch(&self) -> Epoch {
        self.lease.epoch()
    }
    fn role(&self) -> Role {
        self.lease.role()
    }
    fn check(&self) -> Result<(), LeaseError> {
        (self.hook)(Call::Check)?;
        self.lease.check()
    }
    fn clean(&self, at: usize, len: usize) {
        let _ = (self.hook)(Call::Clean { at });
        self.lease.clean(at, len);
    }
    fn invalidate(&self, at: usize, len: usize) {
        let _ = (self.hook)(Call::Invalidate);
        self.lease.invalidate(at, len);
    }
}

/// A hook of a lease that is fenced after so many more checks.
pub(crate) fn fenced_after(checks: impl Borrow<Cell<usize>>) -> impl Fn(Call) -> Result<(), LeaseError> {
    move |call| match (call, checks.borrow().get()) {
        (Call::Check, 0) => Err(LeaseError::Fenced),
        (Call::Check, left) => {
            checks.borrow().set(left - 1);
            Ok(())
        }
        _ => Ok(()),
    }
}
