//! One lock for all targets: the operating system's with std, interrupt masking on microcontrollers, spinning else.

#[cfg(all(not(feature = "std"), not(loom), any(feature = "critical-section", not(target_has_atomic = "ptr"))))]
use core::cell::RefCell;

/// A value behind the platform's lock.
///
/// Held for a few instructions at a time, never across a call of the user's. With interrupt masking it may be taken in
/// an interrupt handler; with spinning it must not be shared between a handler and the code that the handler
/// interrupts: enable the feature `critical-section` there.
pub(crate) struct Lock<T>(imp::Inner<T>);

#[cfg(loom)]
mod imp {
    pub(super) type Inner<T> = loom::sync::Mutex<T>;
    pub(super) fn with<T, R>(inner: &Inner<T>, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

#[cfg(all(feature = "std", not(loom)))]
#[allow(clippy::disallowed_types, reason = "the seam itself")]
mod imp {
    pub(super) type Inner<T> = std::sync::Mutex<T>;
    pub(super) fn with<T, R>(inner: &Inner<T>, f: impl FnOnce(&mut T) -> R) -> R {
        // A panic under the lock leaves plain data of ours in a state that each holder checks: poison adds nothing.
        f(&mut inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

#[cfg(all(not(feature = "std"), not(loom), any(feature = "critical-section", not(target_has_atomic = "ptr"))))]
mod imp {
    use super::RefCell;
    pub(super) type Inner<T> = critical_section::Mutex<RefCell<T>>;
    pub(super) fn with<T, R>(inner: &Inner<T>, f: impl FnOnce(&mut T) -> R) -> R {
        critical_section::with(|cs| f(&mut inner.borrow_ref_mut(cs)))
    }
}

#[cfg(all(not(feature = "std"), not(loom), not(feature = "critical-section"), target_has_atomic = "ptr"))]
#[allow(clippy::disallowed_types, reason = "the seam itself")]
mod imp {
    pub(super) type Inner<T> = spin::Mutex<T>;
    pub(super) fn with<T, R>(inner: &Inner<T>, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut inner.lock())
    }
}

/// The platform's lock with no value behind it.
#[cfg(not(all(not(feature = "std"), not(loom), any(feature = "critical-section", not(target_has_atomic = "ptr")))))]
pub(crate) struct Turn(Lock<()>);

/// The same where interrupts are masked: it takes no memory.
#[cfg(all(not(feature = "std"), not(loom), any(feature = "critical-section", not(target_has_atomic = "ptr"))))]
pub(crate) struct Turn;

#[cfg(not(all(not(feature = "std"), not(loom), any(feature = "critical-section", not(target_has_atomic = "ptr")))))]
impl Turn {
    pub(crate) fn new() -> Self {
        Self(Lock::new(()))
    }

    /// Runs `f` while nobody else can who goes by this lock.
    pub(crate) fn with<R>(&self, f: impl FnOnce() -> R) -> R {
        self.0.with(|()| f())
    }
}

#[cfg(all(not(feature = "std"), not(loom), any(feature = "critical-section", not(target_has_atomic = "ptr"))))]
impl Turn {
    pub(crate) const fn new() -> Self {
        Self
    }

    /// Runs `f` while nobody else can who goes by this lock.
    #[allow(clippy::unused_self, reason = "as the other one")]
    pub(crate) fn with<R>(&self, f: impl FnOnce() -> R) -> R {
        critical_section::with(|_| f())
    }
}

impl<T> Lock<T> {
    #[cfg(all(
        not(loom),
        any(feature = "std", not(any(feature = "critical-section", not(target_has_atomic = "ptr"))))
    ))]
    pub(crate) const fn new(value: T) -> Self {
        Self(imp::Inner::new(value))
    }

    #[cfg(all(not(feature = "std"), not(loom), any(feature = "critical-section", not(target_has_atomic = "ptr"))))]
    pub(crate) const fn new(value: T) -> Self {
        Self(imp::Inner::new(RefCell::new(value)))
    }

    #[cfg(loom)]
    pub(crate) fn new(value: T) -> Self {
        Self(imp::Inner::new(value))
    }

    /// Runs `f` on the value while nobody else can.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        imp::with(&self.0, f)
    }
}
