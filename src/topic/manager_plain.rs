//! The manager where nothing but an allocator is known: pool and clock are the caller's.

use super::manager::Shared;
use crate::lease::Pool;

/// Makes, finds and deletes topics. Shared by reference between threads.
pub struct TopicManager<P: Pool, C> {
    pub(super) shared: Shared<P, C>,
}
