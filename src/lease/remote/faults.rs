//! What may go wrong with verbs, by a seed.

/// Faults of a [`LoopbackVerbs`](super::LoopbackVerbs): what the order that [`Verbs`](super::Verbs) promise leaves open, and no
/// more. Each of them happens once in so many verbs, at random by the seed; 0, the default, is never.
///
/// ```
/// use fabric_mq::lease::remote::{Faults, LoopbackMemory};
/// let memory = LoopbackMemory::new(4096)?;
/// let verbs = memory.connect_with(Faults::seeded(7).with_delay(3).with_loss(100));
/// # let _ = verbs;
/// # Ok::<(), fabric_mq::LeaseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct Faults {
    pub(super) seed: u64,
    pub(super) delay: u32,
    pub(super) loss: u32,
    pub(super) repeat: u32,
    pub(super) broken_at: Option<u64>,
}

impl Faults {
    /// None, but the units of a write and of a read come in an order that the seed chooses.
    pub const fn seeded(seed: u64) -> Self {
        Self { seed, delay: 0, loss: 0, repeat: 0, broken_at: None }
    }

    /// Writes stay under way until something after them on their connection waits for them. Meanwhile, whenever another
    /// connection does something, some of their units arrive.
    pub const fn with_delay(self, one_in: u32) -> Self {
        Self { delay: one_in, ..self }
    }

    /// The verb or its answer is lost: it is performed, or not, or later; the caller is told that the time was over, and the
    /// connection is not served any more.
    pub const fn with_loss(self, one_in: u32) -> Self {
        Self { loss: one_in, ..self }
    }

    /// Reads and writes are performed twice.
    pub const fn with_repeat(self, one_in: u32) -> Self {
        Self { repeat: one_in, ..self }
    }

    /// The connection breaks at this verb, counted from 0, of which some units may have arrived.
    pub const fn with_break(self, at: u64) -> Self {
        Self { broken_at: Some(at), ..self }
    }

    /// Whether everything happens at once and in order.
    pub(super) const fn is_calm(&self) -> bool {
        self.seed == 0 && self.delay == 0 && self.loss == 0 && self.repeat == 0 && self.broken_at.is_none()
    }
}

/// splitmix64.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        #[allow(clippy::cast_possible_truncation, reason = "less than `end`")]
        let number = self.next().checked_rem(end as u64).unwrap_or(0) as usize;
        number
    }

    /// True once in `n` times; never if that is 0.
    pub(super) fn one_in(&mut self, n: u32) -> bool {
        n != 0 && self.below(n as usize) == 0
    }

    pub(super) fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last.wrapping_add(1)));
        }
    }
}
