//! Waiting for news of a topic.

use super::error::ResolveError;
use super::record::Locator;
use super::registry::{Registry, published};
use crate::lease::Lease;
use crate::name::MAX_TOPIC_NAME;
use crate::types::Generation;
use crate::uri::Uri;
use core::fmt;

/// What has become of a topic.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "there is no allocator to put it elsewhere")]
pub enum Change<const P: usize = 64> {
    /// It is here, and was not, or somewhere else.
    Published(Locator<P>),
    /// It is not any more, from this generation on.
    Withdrawn(Generation),
}

/// Follows a topic through its generations. Holds nothing in the registry.
pub struct Watch {
    pool: heapless::String<MAX_TOPIC_NAME>,
    topic: heapless::String<MAX_TOPIC_NAME>,
    /// The last generation that was told, and whether the topic was published in it.
    seen: Option<(Generation, bool)>,
    /// Where that was found: the entry, and its `current`.
    place: Option<(u32, u32)>,
}

impl Watch {
    /// Follows the topic of this address. (Its partition does not matter.)
    #[must_use]
    pub fn new(uri: Uri<'_>) -> Self {
        // Names of addresses are not longer than these take.
        let own = |name| heapless::String::try_from(name).unwrap_or_default();
        Self { pool: own(uri.pool()), topic: own(uri.topic()), seen: None, place: None }
    }

    /// The last generation that was told.
    #[must_use]
    pub fn seen(&self) -> Option<Generation> {
        self.seen.map(|(generation, _)| generation)
    }

    /// What has become of the topic since the last call; `None` if its generation is the same, or it was not published yet. A
    /// few loads if nothing has changed. Does not wait: call it again after some time.
    ///
    /// # Errors
    /// As [`Registry::resolve`], but for topics that are unknown or withdrawn; [`ResolveError::Stale`] if the registry has a
    /// lower generation than was told before.
    pub fn poll<L: Lease, const P: usize>(
        &mut self,
        registry: &Registry<L>,
    ) -> Result<Option<Change<P>>, ResolveError> {
        registry.lease.check()?;
        if let (Some((entry, current)), Some((seen, _))) = (self.place, self.seen) {
            // The sequence alone comes again after 2^24 changes of an entry.
            let table = &registry.table;
            if table.current(&registry.lease, entry) == current && table.hint(entry, current) == Some(seen) {
                return Ok(None);
            }
        }
        let found = registry.find::<P>(&Uri::checked(&self.pool, &self.topic))?;
        let Some((entry, current, found)) = found else {
            self.place = None;
            // Its entry is another one's by now: it was withdrawn, and that may not have been told.
            return Ok(self.seen.take_if(|(_, published)| *published).map(|(seen, _)| {
                self.seen = Some((seen, false));
                Change::Withdrawn(seen)
            }));
        };
        let (generation, withdrawn) = (found.locator.generation, found.withdrawn);
        match self.seen {
            Some((seen, _)) if generation < seen => return Err(ResolveError::Stale { seen, found: generation }),
            // Told already.
            Some((seen, _)) if generation == seen => {
                self.place = Some((entry, current));
                return Ok(None);
            }
            // Published and withdrawn before anybody looked.
            None if withdrawn => return Ok(None),
            _ => {}
        }
        let change = if withdrawn { Change::Withdrawn(generation) } else { Change::Published(published(found)?) };
        // Behind what may fail: it is told by the next call then.
        self.seen = Some((generation, !withdrawn));
        self.place = Some((entry, current));
        Ok(Some(change))
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("topic", &self.topic).field("seen", &self.seen()).finish_non_exhaustive()
    }
}
