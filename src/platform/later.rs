//! A value that is put in its place once, later, by whoever comes first; reading it takes one load.

#[cfg(feature = "alloc")]
use alloc::boxed::Box;

/// A place for a value. Where there is no allocator it stays empty: nothing is put there.
#[cfg(feature = "std")]
#[allow(clippy::disallowed_types, reason = "the seam itself")]
pub(crate) struct Later<T>(std::sync::OnceLock<Box<T>>);

/// A place for a value. Where there is no allocator it stays empty: nothing is put there.
#[cfg(all(feature = "alloc", not(feature = "std")))]
#[allow(clippy::disallowed_types, reason = "the seam itself")]
pub(crate) struct Later<T>(spin::once::Once<Box<T>>);

/// A place for a value. Where there is no allocator it stays empty: nothing is put there.
#[cfg(not(feature = "alloc"))]
pub(crate) struct Later<T>(core::marker::PhantomData<T>);

#[cfg(feature = "std")]
#[allow(clippy::disallowed_types, reason = "the seam itself")]
impl<T> Later<T> {
    pub(crate) const fn new() -> Self {
        Self(std::sync::OnceLock::new())
    }

    /// Puts a value in its place; answers whether it was empty. Allocates.
    pub(crate) fn put(&self, value: T) -> bool {
        self.0.set(Box::new(value)).is_ok()
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.0.get().map(|boxed| &**boxed)
    }

    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        self.0.get_mut().map(|boxed| &mut **boxed)
    }

    /// Takes the value out; the place is empty then.
    pub(crate) fn take(&mut self) -> Option<T> {
        core::mem::replace(self, Self::new()).into_inner()
    }

    /// Takes the value out.
    pub(crate) fn into_inner(self) -> Option<T> {
        self.0.into_inner().map(|boxed| *boxed)
    }
}

#[cfg(all(feature = "alloc", not(feature = "std")))]
#[allow(clippy::disallowed_types, reason = "the seam itself")]
impl<T> Later<T> {
    pub(crate) const fn new() -> Self {
        Self(spin::once::Once::new())
    }

    /// Puts a value in its place; answers whether it was empty. Allocates.
    pub(crate) fn put(&self, value: T) -> bool {
        let mut empty = false;
        self.0.call_once(|| {
            empty = true;
            Box::new(value)
        });
        empty
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.0.get().map(|boxed| &**boxed)
    }

    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        self.0.get_mut().map(|boxed| &mut **boxed)
    }

    /// Takes the value out; the place is empty then.
    pub(crate) fn take(&mut self) -> Option<T> {
        core::mem::replace(self, Self::new()).into_inner()
    }

    /// Takes the value out.
    pub(crate) fn into_inner(self) -> Option<T> {
        self.0.try_into_inner().map(|boxed| *boxed)
    }
}

#[cfg(not(feature = "alloc"))]
impl<T> Later<T> {
    pub(crate) const fn new() -> Self {
        Self(core::marker::PhantomData)
    }

    /// There is no place to put it.
    #[allow(clippy::unused_self, reason = "as the other ones")]
    pub(crate) fn put(&self, value: T) -> bool {
        drop(value);
        false
    }

    #[allow(clippy::unused_self, reason = "as the other ones")]
    pub(crate) const fn get(&self) -> Option<&T> {
        None
    }

    #[allow(clippy::unused_self, clippy::needless_pass_by_ref_mut, reason = "as the other ones")]
    pub(crate) const fn get_mut(&mut self) -> Option<&mut T> {
        None
    }

    #[allow(clippy::unused_self, clippy::needless_pass_by_ref_mut, reason = "as the other ones")]
    pub(crate) const fn take(&mut self) -> Option<T> {
        None
    }
}
