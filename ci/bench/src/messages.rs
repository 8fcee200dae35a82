//! The messages that go in, and what the consumers make of them.

use std::hint::black_box;

/// Different messages, so that a lost, repeated or stale one changes the sums.
const KINDS: usize = 4;

/// Ready messages of `N` bytes.
pub struct Store<const N: usize> {
    kinds: Box<[[u8; N]; KINDS]>,
}

impl<const N: usize> Store<N> {
    pub fn new() -> Self {
        let mut kinds = Box::new([[0; N]; KINDS]);
        let mut state = black_box(0x9E37_79B9_7F4A_7C15_u64);
        for byte in kinds.iter_mut().flatten() {
            // xorshift64: distinct first words and last bytes are all that is asked of it.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = (state >> 32) as u8;
        }
        Self { kinds }
    }

    pub fn messages(&self) -> Messages<'_, N> {
        let length = black_box(N);
        Messages { fixed: &self.kinds, bytes: black_box(self.kinds.each_ref().map(|kind| &kind[..length])) }
    }
}

/// The ready messages, as arrays of a known and as slices of an unknown length.
pub struct Messages<'a, const N: usize> {
    fixed: &'a [[u8; N]; KINDS],
    bytes: [&'a [u8]; KINDS],
}

impl<'a, const N: usize> Messages<'a, N> {
    /// Shifted by one from lap to lap of a queue of 1024, so that a slot left over from the lap before is not taken for
    /// the right one.
    #[inline(always)]
    fn kind(index: usize) -> usize {
        index.wrapping_add(index >> 10) % KINDS
    }

    #[inline(always)]
    pub fn fixed(&self, index: usize) -> &'a [u8; N] {
        &self.fixed[Self::kind(index)]
    }

    #[inline(always)]
    pub fn bytes(&self, index: usize) -> &'a [u8] {
        self.bytes[Self::kind(index)]
    }

    /// What a consumer must have seen after the messages `0 .. end`, `times` over.
    pub fn expected(&self, end: usize, times: usize) -> Sum {
        // Each kind comes 256 times in every lap of 1024, whatever its shift, so one lap stands for all whole ones.
        let whole_laps = end >> 10;
        let mut lap = Sum::default();
        for index in 0..1024 {
            lap.see(self.fixed(index));
        }
        let mut sum = lap.times(whole_laps as u64);
        for index in whole_laps << 10..end {
            sum.see(self.fixed(index));
        }
        sum.times(times as u64)
    }
}

/// Sums of the first eight bytes and of the last one of each message seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    first: u64,
    last: u64,
}

impl Sum {
    /// Reads the first eight bytes and the last one. A message shorter than eight bytes adds nothing and so fails the
    /// check.
    #[inline(always)]
    pub fn see(&mut self, message: &[u8]) {
        if let (Some(first), Some(last)) = (message.first_chunk::<8>(), message.last()) {
            self.first = self.first.wrapping_add(u64::from_le_bytes(*first));
            self.last = self.last.wrapping_add(u64::from(*last));
        }
    }

    /// For the way from one process to another.
    #[cfg(target_os = "linux")]
    pub fn words(self) -> [u64; 2] {
        [self.first, self.last]
    }

    #[cfg(target_os = "linux")]
    pub fn from_words([first, last]: [u64; 2]) -> Self {
        Self { first, last }
    }

    fn times(self, times: u64) -> Self {
        Self { first: self.first.wrapping_mul(times), last: self.last.wrapping_mul(times) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_differ_where_the_consumer_looks() {
        let store = Store::<16>::new();
        let messages = store.messages();
        for a in 0..KINDS {
            for b in 0..a {
                assert_ne!(messages.fixed(a)[..8], messages.fixed(b)[..8]);
                assert_ne!(messages.fixed(a)[15], messages.fixed(b)[15]);
            }
        }
    }

    #[test]
    fn both_views_show_the_same_bytes() {
        let store = Store::<64>::new();
        let messages = store.messages();
        for index in [0, 1, 2, 3, 1023, 1024, 1025, usize::MAX] {
            assert_eq!(messages.fixed(index).as_slice(), messages.bytes(index));
        }
    }

    #[test]
    fn a_slot_of_the_lap_before_holds_another_message() {
        let store = Store::<16>::new();
        let messages = store.messages();
        for slot in 0..1024 {
            assert_ne!(messages.fixed(slot), messages.fixed(slot + 1024));
        }
    }

    #[test]
    fn a_lost_a_repeated_and_a_stale_message_show() {
        let store = Store::<16>::new();
        let messages = store.messages();
        let expected = messages.expected(3000, 1);
        let seen = |indices: &mut dyn Iterator<Item = usize>| {
            let mut sum = Sum::default();
            for index in indices {
                sum.see(messages.bytes(index));
            }
            sum
        };
        assert_eq!(seen(&mut (0..3000)), expected);
        assert_eq!(seen(&mut (0..10_007)), messages.expected(10_007, 1));
        assert_ne!(seen(&mut (0..2999)), expected);
        assert_ne!(seen(&mut (0..3000).chain([7])), expected);
        assert_ne!(seen(&mut (0..3000).map(|index| if index == 2000 { 2000 - 1024 } else { index })), expected);
        assert_eq!(seen(&mut (0..3000).chain(0..3000)), messages.expected(3000, 2));
    }
}
