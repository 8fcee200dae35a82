//! A lock whose holders can wait for each other: the operating system's.

use std::sync::{Condvar, MutexGuard, PoisonError};

/// A value behind a lock, and a bell for those who wait for it to change.
#[derive(Debug, Default)]
#[allow(clippy::disallowed_types, reason = "the seam itself")]
pub(crate) struct Monitor<T> {
    inner: std::sync::Mutex<T>,
    changed: Condvar,
}

/// The value, while it is held.
pub(crate) type Held<'m, T> = MutexGuard<'m, T>;

impl<T> Monitor<T> {
    #[allow(clippy::disallowed_types, reason = "the seam itself")]
    pub(crate) const fn new(value: T) -> Self {
        Self { inner: std::sync::Mutex::new(value), changed: Condvar::new() }
    }

    /// Whoever panics in here has to leave the value as the next one can take it.
    pub(crate) fn enter(&self) -> MutexGuard<'_, T> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves, and comes back when somebody has rung, or for nothing.
    pub(crate) fn wait<'m>(&'m self, guard: MutexGuard<'m, T>) -> MutexGuard<'m, T> {
        self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes all who wait.
    pub(crate) fn ring(&self) {
        self.changed.notify_all();
    }

    pub(crate) fn into_inner(self) -> T {
        self.inner.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
