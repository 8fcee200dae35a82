//! Values that come one after the other, rarely, while others look at them: the last one, or all.

#[cfg(feature = "alloc")]
use super::later::Later;
#[cfg(feature = "alloc")]
use super::lock::Lock;
#[cfg(feature = "alloc")]
use alloc::sync::Arc;
#[cfg(feature = "alloc")]
use alloc::vec::Vec;

/// A list that grows at its end. While it is empty, to look takes one load. Where there is no allocator it stays empty.
#[cfg(feature = "alloc")]
pub(crate) struct Chain<T>(Later<Lock<Vec<Arc<T>>>>);

/// A list that grows at its end. While it is empty, to look takes one load. Where there is no allocator it stays empty.
#[cfg(not(feature = "alloc"))]
pub(crate) struct Chain<T>(core::marker::PhantomData<T>);

#[cfg(feature = "alloc")]
impl<T> Chain<T> {
    pub(crate) const fn new() -> Self {
        Self(Later::new())
    }

    /// Runs `f` on the last value, or hands it back if there is none.
    #[inline]
    pub(crate) fn with_last<R, F: FnOnce(&T) -> R>(&self, f: F) -> Result<R, F> {
        let Some(list) = self.0.get() else { return Err(f) };
        // Not under the lock: what is done there may take long.
        match list.with(|list| list.last().cloned()) {
            Some(last) => Ok(f(&last)),
            None => Err(f),
        }
    }

    /// The first answer that `f` gives for one of the values, in their order.
    pub(crate) fn find_map<R>(&self, mut f: impl FnMut(&T) -> Option<R>) -> Option<R> {
        let list = self.0.get()?;
        let mut at: usize = 0;
        while let Some(value) = list.with(|list| list.get(at).cloned()) {
            if let Some(found) = f(&value) {
                return Some(found);
            }
            at = at.saturating_add(1);
        }
        None
    }

    /// Adds a value behind the last one, unless `is_next` says that it does not follow that one: then it comes back.
    /// Those before it that `keep` does not want any more go. Allocates.
    pub(crate) fn push(
        &self,
        value: T,
        is_next: impl FnOnce(Option<&T>) -> bool,
        keep: impl Fn(&T) -> bool,
    ) -> Result<(), T> {
        if self.0.get().is_none() {
            // Somebody else may be faster.
            let _ = self.0.put(Lock::new(Vec::new()));
        }
        let Some(list) = self.0.get() else { return Err(value) };
        // Dropped behind the lock: that may take long.
        let mut gone = Vec::new();
        list.with(|list| {
            if !is_next(list.last().map(|last| &**last)) {
                return Err(value);
            }
            for old in core::mem::take(list) {
                if keep(&old) { list.push(old) } else { gone.push(old) }
            }
            list.push(Arc::new(value));
            Ok(())
        })
    }

    /// Takes all values out that nobody looks at in this moment.
    pub(crate) fn into_values(self) -> impl Iterator<Item = T> {
        let list = self.0.into_inner().map(|list| list.with(core::mem::take)).unwrap_or_default();
        list.into_iter().filter_map(Arc::into_inner)
    }
}

#[cfg(not(feature = "alloc"))]
impl<T> Chain<T> {
    pub(crate) const fn new() -> Self {
        Self(core::marker::PhantomData)
    }

    #[inline]
    #[allow(clippy::unused_self, reason = "as the other one")]
    pub(crate) const fn with_last<R, F: FnOnce(&T) -> R>(&self, f: F) -> Result<R, F> {
        Err(f)
    }

    #[allow(clippy::unused_self, clippy::needless_pass_by_value, reason = "as the other one")]
    pub(crate) fn find_map<R>(&self, f: impl FnMut(&T) -> Option<R>) -> Option<R> {
        drop(f);
        None
    }
}
