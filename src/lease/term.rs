//! The term of a lease: until when, under which epoch, and how it ended.

use crate::error::LeaseError;
use crate::platform::atomic::{AtomicU32, Ordering};

const LIVE: u32 = 0;
const EXPIRED: u32 = 1;
const FENCED: u32 = 2;
const REVOKED: u32 = 3;

/// How a term ended, as one word that the pool writes once and holders read before each record.
pub(crate) struct Term(AtomicU32);

/// How a term can end before its holder gives it back.
#[derive(Clone, Copy)]
pub(crate) enum End {
    Expired,
    Fenced,
    Revoked,
}

impl Term {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(LIVE))
    }
    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(LIVE))
    }

    /// A new term, on a word that nobody looks at yet.
    pub(crate) fn restart(&self) {
        self.0.store(LIVE, Ordering::Release);
    }

    #[inline]
    pub(crate) fn check(&self) -> Result<(), LeaseError> {
        // SYNC(term): what the pool did before it ended the term is seen by the holder that is refused.
        match self.0.load(Ordering::Acquire) {
            LIVE => Ok(()),
            EXPIRED => Err(LeaseError::Expired),
            FENCED => Err(LeaseError::Fenced),
            _ => Err(LeaseError::Revoked),
        }
    }

    /// Ends the term. The first end stays.
    pub(crate) fn end(&self, end: End) {
        let word = match end {
            End::Expired => EXPIRED,
            End::Fenced => FENCED,
            End::Revoked => REVOKED,
        };
        // SYNC(term)
        let _ = crate::platform::claim(&self.0, LIVE, word);
    }
}
