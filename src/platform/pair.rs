//! Two 32-bit numbers that change together: an offset and a position.
//!
//! Lives in the process, not in a lease. One 64-bit compare-and-swap where the processor has it, the platform's lock
//! around a few instructions where it has not.

#[cfg(any(loom, target_has_atomic = "64"))]
mod imp {
    #[cfg(not(loom))]
    #[allow(clippy::disallowed_types, reason = "the seam itself")]
    use core::sync::atomic::{AtomicU64, Ordering};
    #[cfg(loom)]
    use loom::sync::atomic::{AtomicU64, Ordering};

    #[allow(clippy::disallowed_types, reason = "the seam itself")]
    pub(crate) struct Pair(AtomicU64);

    impl Pair {
        pub(crate) fn new(value: (u32, u32)) -> Self {
            Self(AtomicU64::new(pack(value)))
        }
        #[inline]
        pub(crate) fn load(&self) -> (u32, u32) {
            // SYNC(pair): with the Release half of `store` and `swap_if`.
            unpack(self.0.load(Ordering::Acquire))
        }
        #[inline]
        pub(crate) fn store(&self, value: (u32, u32)) {
            self.0.store(pack(value), Ordering::Release);
        }
        /// Puts `new` where `old` stands, or answers what stands there.
        #[inline]
        pub(crate) fn swap_if(&self, old: (u32, u32), new: (u32, u32)) -> Result<(), (u32, u32)> {
            match self.0.compare_exchange_weak(pack(old), pack(new), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => Ok(()),
                Err(now) => Err(unpack(now)),
            }
        }
    }

    fn pack((a, b): (u32, u32)) -> u64 {
        (u64::from(b) << 32) | u64::from(a)
    }
    #[allow(clippy::cast_possible_truncation, reason = "the halves of the word")]
    fn unpack(word: u64) -> (u32, u32) {
        (word as u32, (word >> 32) as u32)
    }
}

#[cfg(not(any(loom, target_has_atomic = "64")))]
mod imp {
    use crate::platform::lock::Lock;

    pub(crate) struct Pair(Lock<(u32, u32)>);

    impl Pair {
        pub(crate) fn new(value: (u32, u32)) -> Self {
            Self(Lock::new(value))
        }
        pub(crate) fn load(&self) -> (u32, u32) {
            self.0.with(|now| *now)
        }
        pub(crate) fn store(&self, value: (u32, u32)) {
            self.0.with(|now| *now = value);
        }
        pub(crate) fn swap_if(&self, old: (u32, u32), new: (u32, u32)) -> Result<(), (u32, u32)> {
            self.0.with(|now| {
                if *now == old {
                    *now = new;
                    Ok(())
                } else {
                    Err(*now)
                }
            })
        }
    }
}

pub(crate) use imp::Pair;
