//! The right to change an entry, or the directory: a word with the token of whoever has it.

use super::layout::CLAIM;
use super::table::Table;
use crate::lease::Lease;
use crate::platform::atomic::Ordering;
use crate::platform::memory::BLOCK;
use crate::platform::{claim, relax};

/// How often a claim is tried that somebody living has: with std some tenths of a second.
const STEPS: u32 = 4096;
/// How often in these whether whoever has it is dead, which may take the operating system some microseconds.
const ASKED: u32 = 64;

/// A claim. Dropping it gives it back.
pub(super) struct Claim<'r, L: Lease> {
    table: &'r Table,
    lease: &'r L,
    at: usize,
    token: u32,
}

impl<'r, L: Lease> Claim<'r, L> {
    /// Takes the claim in the block at `at`, also from whoever is proven dead; `None` if somebody has it for too long.
    ///
    /// The dead leave nothing to be cleared up: what they had not committed is in a slot that does not count.
    pub(super) fn take(table: &'r Table, lease: &'r L, at: usize) -> Option<Self> {
        // A lease without a token cannot be proven dead.
        let token = lease.token().max(1);
        for step in 0..STEPS {
            lease.invalidate(at, BLOCK);
            let taken = table.with(at, |block| {
                let word = block.word(CLAIM);
                if claim(word, 0, token) {
                    return true;
                }
                // Whoever died is not there any more to commit, or to give back.
                let holder = word.load(Ordering::Acquire);
                step % ASKED == ASKED / 8 && holder != 0 && lease.is_gone(holder) && claim(word, holder, token)
            });
            if taken {
                lease.clean(at, BLOCK);
                return Some(Self { table, lease, at, token });
            }
            relax(step);
        }
        None
    }
}

impl<L: Lease> Drop for Claim<'_, L> {
    fn drop(&mut self) {
        // SYNC(locator claim): the next one's claim acquires what this one has stored. Only the own one is given back.
        self.table.with(self.at, |block| claim(block.word(CLAIM), self.token, 0));
        self.lease.clean(self.at, BLOCK);
    }
}
