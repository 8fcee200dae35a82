//! A 64-bit counter with one writer, made of four 32-bit words, so that it needs neither 64-bit atomics nor
//! compare-and-swap and has the same bytes on every target.
//!
//! Words: `low`, `high`, `high again`, `guard`. The writer stores `high again` first, then `low`, then `high`; a
//! reader loads `high`, `low`, `high again` and knows that the pair belongs together when both highs agree. The
//! reasoning is Lamport's for multi-digit clocks ("Concurrent reading and writing", CACM 20(11), 1977). `guard` is the
//! complement of `low`, stored last: it lets a recovery tell a writer that died between two stores from a damaged word.
//!
//! The counter only ever grows, by less than 2^31 a step.

use super::atomic::{AtomicU32, Ordering};

/// A view of the four words of a counter.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    words: &'a [AtomicU32; 4],
}

/// What a recovery finds in a counter that nobody writes any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// All words agree.
    Whole(u64),
    /// `low` and `guard` disagree: the writer died between the two stores, or one of them is damaged.
    Either(u64, u64),
    /// The high words fit no state a writer can leave.
    Damaged,
}

const HALF: u32 = 1 << 31;

fn join(high: u32, low: u32) -> u64 {
    (u64::from(high) << 32) | u64::from(low)
}

/// The high and the low half.
#[allow(clippy::cast_possible_truncation, reason = "the halves of the value")]
fn split(value: u64) -> (u32, u32) {
    ((value >> 32) as u32, value as u32)
}

/// The high word that goes with `low` when the writer was seen between its stores.
fn settle(high: u32, low: u32, again: u32) -> u64 {
    // `again` runs ahead of `high` by one only while `low` goes from just below 2^32 to a small number.
    join(if low < HALF { again } else { high }, low)
}

impl<'a> Cursor<'a> {
    #[inline]
    pub(crate) const fn new(words: &'a [AtomicU32; 4]) -> Self {
        Self { words }
    }

    /// Stores `value`. One writer only.
    #[cfg_attr(target_pointer_width = "64", inline)]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(crate) fn store(self, value: u64) {
        let [low, high, again, guard] = self.words;
        let (era, half) = split(value);
        // SYNC(cursor): the loads in `load` run in the opposite order.
        if high.load(Ordering::Relaxed) == era {
            low.store(half, Ordering::Release);
        } else {
            again.store(era, Ordering::Release);
            low.store(half, Ordering::Release);
            high.store(era, Ordering::Release);
        }
        guard.store(!half, Ordering::Release);
    }

    /// Stores `value` when nobody else looks yet.
    pub(crate) fn reset(self, value: u64) {
        let [low, high, again, guard] = self.words;
        let (era, half) = split(value);
        again.store(era, Ordering::Relaxed);
        low.store(half, Ordering::Relaxed);
        high.store(era, Ordering::Relaxed);
        guard.store(!half, Ordering::Release);
    }

    /// Makes a counter at 0 of words that are zero, when nobody else looks yet.
    pub(crate) fn start(self) {
        let [.., guard] = self.words;
        guard.store(u32::MAX, Ordering::Relaxed);
    }

    /// Loads the value, in at most a few steps whatever the words hold.
    #[cfg(target_pointer_width = "64")]
    #[inline]
    pub(crate) fn load(self) -> u64 {
        let [low, high, again, _] = self.words;
        // SYNC(cursor)
        let first = high.load(Ordering::Acquire);
        let half = low.load(Ordering::Acquire);
        if again.load(Ordering::Acquire) == first { join(first, half) } else { self.load_patiently() }
    }

    /// The same, in less code and more instructions.
    #[cfg(not(target_pointer_width = "64"))]
    #[inline]
    pub(crate) fn load(self) -> u64 {
        self.load_patiently()
    }

    #[cfg_attr(target_pointer_width = "64", cold)]
    #[inline(never)]
    fn load_patiently(self) -> u64 {
        let [low, high, again, _] = self.words;
        let mut value = 0;
        // Another turn is needed once every 2^32 steps, for the time of three stores; for longer only if the writer has
        // stopped between them.
        for _ in 0..5 {
            // SYNC(cursor)
            let first = high.load(Ordering::Acquire);
            let half = low.load(Ordering::Acquire);
            let second = again.load(Ordering::Acquire);
            value = settle(first, half, second);
            if first == second {
                break;
            }
        }
        value
    }

    /// What the words say when nobody writes them any more.
    pub(crate) fn recover(self) -> Found {
        let [low, high, again, guard] = self.words;
        let high = high.load(Ordering::Acquire);
        let low = low.load(Ordering::Acquire);
        let again = again.load(Ordering::Acquire);
        let guard = !guard.load(Ordering::Acquire);
        if high != again && again != high.wrapping_add(1) {
            return Found::Damaged;
        }
        let value = settle(high, low, again);
        if guard == low {
            return Found::Whole(value);
        }
        let (era, _) = split(value);
        // The guard may still be the complement of a low word from before the carry.
        let before = guard >= HALF && low < HALF;
        Found::Either(value, join(if before { era.wrapping_sub(1) } else { era }, guard))
    }
}

/// A counter of the process's own, outside any lease.
pub(crate) struct Counter([AtomicU32; 4]);

impl Counter {
    /// A counter at zero: the guard word is the complement of the low word.
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self([AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(u32::MAX)])
    }
    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self([AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(u32::MAX)])
    }

    pub(crate) fn load(&self) -> u64 {
        Cursor::new(&self.0).load()
    }

    /// One party at a time.
    pub(crate) fn store(&self, value: u64) {
        Cursor::new(&self.0).store(value);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "test arithmetic")]
    use super::*;

    struct Words([AtomicU32; 4]);
    impl Words {
        fn at(value: u64) -> Self {
            let words = Self([const { AtomicU32::new(0) }; 4]);
            words.cursor().reset(value);
            words
        }
        fn cursor(&self) -> Cursor<'_> {
            Cursor::new(&self.0)
        }
    }

    const EDGES: [u64; 8] =
        [0, 1, 0xffff_fffe, 0xffff_ffff, 0x1_0000_0000, 0x2_ffff_ffff, u64::MAX - 1, 0x7fff_ffff_ffff_ffff];

    #[test]
    fn stores_and_loads_around_every_edge() {
        for edge in EDGES {
            for step in [1, 2, 1000] {
                let words = Words::at(edge);
                assert_eq!(words.cursor().load(), edge);
                let next = edge.saturating_add(step);
                words.cursor().store(next);
                assert_eq!(words.cursor().load(), next);
                assert_eq!(words.cursor().recover(), Found::Whole(next));
            }
        }
    }

    #[test]
    fn a_writer_that_stops_between_two_stores_leaves_the_old_or_the_new_value() {
        for edge in EDGES {
            let next = edge.saturating_add(3);
            let (oh, ol) = ((edge >> 32) as u32, edge as u32);
            let (nh, nl) = ((next >> 32) as u32, next as u32);
            // The order of the stores in `store`, cut after each of them.
            let states =
                [[ol, oh, oh, !ol], [ol, oh, nh, !ol], [nl, oh, nh, !ol], [nl, nh, nh, !ol], [nl, nh, nh, !nl]];
            for state in states {
                let words = Words(state.map(AtomicU32::new));
                let seen = words.cursor().load();
                assert!(seen == edge || seen == next, "{state:x?}: {seen:x}");
                match words.cursor().recover() {
                    Found::Whole(v) => assert!(v == edge || v == next),
                    Found::Either(a, b) => assert!([a, b].contains(&edge) && [a, b].contains(&next), "{state:x?}"),
                    Found::Damaged => panic!("{state:x?}"),
                }
            }
        }
    }

    #[test]
    fn no_single_byte_of_damage_goes_unseen() {
        for edge in EDGES {
            for word in 0..4 {
                for byte in 0..4 {
                    for flip in 1..=255_u32 {
                        let words = Words::at(edge);
                        let old = words.0[word].load(Ordering::Relaxed);
                        words.0[word].store(old ^ (flip << (8 * byte)), Ordering::Relaxed);
                        // A damaged high word may look like a carry in flight; the caller's window check refuses it.
                        match words.cursor().recover() {
                            Found::Whole(v) => assert!(v == edge || v >> 32 != edge >> 32),
                            Found::Either(a, b) => assert!([a, b].contains(&edge) || a >> 32 != b >> 32),
                            Found::Damaged => {}
                        }
                    }
                }
            }
        }
    }
}
