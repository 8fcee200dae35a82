//! What a topic is made of.

use super::error::TopicError;
use crate::partition::FullPolicy;
use crate::ring::RingConfig;
use crate::types::Ticks;

/// The most partitions of a topic.
pub const MAX_PARTITIONS: u32 = 65_536;
/// The most groups of a topic.
pub const MAX_GROUPS: u8 = 32;

/// The shape of a topic, and its policies.
///
/// ```
/// use fabric_mq::partition::FullPolicy;
/// use fabric_mq::topic::TopicConfig;
///
/// const ALARMS: TopicConfig = TopicConfig::new()
///     .with_partitions(1)
///     .with_slots_and_stride(64, 32)
///     .with_full(FullPolicy::DropOldest);
/// assert_eq!((ALARMS.slots, ALARMS.capacity), (64, 2048));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TopicConfig {
    /// How many partitions, 1 to [`MAX_PARTITIONS`]. Cannot be changed later: keys would go elsewhere. Default 4.
    pub partitions: u32,
    /// Bytes for records in each partition, rounded up to a power of two. The largest record is half of that, with its
    /// envelope. Default 256 KiB.
    pub capacity: u32,
    /// Records that fit into each partition at the same time, rounded up to a power of two; 16 bytes each. Default 1024.
    pub slots: u32,
    /// Groups that can have a place at the same time, 1 to [`MAX_GROUPS`]; 256 bytes each in every partition. Default 8.
    pub groups: u8,
    /// What a full partition does. Default: it rejects.
    pub full: FullPolicy,
    /// With [`FullPolicy::DropOldest`]: a group that is behind by at most this many records is not overtaken; while it
    /// is, senders are told that the partition is full. Default 0: nobody is waited for.
    pub max_lag: u32,
    /// For how long the partitions' memory is leased; whoever wants to keep it renews it. Default: for ever.
    pub ttl: Ticks,
    /// Whether records without a time of their own get the one at which they are sent: 8 bytes each. Default: yes.
    pub timestamps: bool,
    /// Whether this topic takes dead letters (see [`crate::dlq`]): nobody's records are moved to a topic that does not say
    /// so. Such a topic rejects when it is full. Default: no.
    pub dead_letters: bool,
    /// Whether the topic can be taken over from a writer that neither dies nor goes on (`TopicManager::take_over`), on leases for
    /// which that is possible ([`Lease::SEALABLE`](crate::lease::Lease::SEALABLE)). A record costs a compare-and-swap more
    /// then, and a partition has room for one record less. Not for topics of dead letters. Default: no.
    pub takeover: bool,
}

impl TopicConfig {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            partitions: 4,
            capacity: 262_144,
            slots: 1024,
            groups: 8,
            full: FullPolicy::Reject,
            max_lag: 0,
            ttl: Ticks::MAX,
            timestamps: true,
            dead_letters: false,
            takeover: false,
        }
    }

    /// Sets the number of partitions.
    #[must_use]
    pub const fn with_partitions(self, partitions: u32) -> Self {
        Self { partitions, ..self }
    }

    /// Sets the bytes for records in each partition.
    #[must_use]
    pub const fn with_capacity(self, bytes: u32) -> Self {
        Self { capacity: bytes, ..self }
    }

    /// Sets the number of records that fit into each partition.
    #[must_use]
    pub const fn with_slots(self, slots: u32) -> Self {
        Self { slots, ..self }
    }

    /// Sets both from a number of fixed slots and the bytes of each, for those who think in these: `slots * stride` bytes
    /// for records. Records may have any length all the same, up to half of the whole.
    #[must_use]
    pub const fn with_slots_and_stride(self, slots: u32, stride: u32) -> Self {
        Self { slots, capacity: slots.saturating_mul(stride), ..self }
    }

    /// Sets the number of groups.
    #[must_use]
    pub const fn with_groups(self, groups: u8) -> Self {
        Self { groups, ..self }
    }

    /// Sets what a full partition does.
    #[must_use]
    pub const fn with_full(self, full: FullPolicy) -> Self {
        Self { full, ..self }
    }

    /// Sets how far behind a group may be and still be waited for ([`FullPolicy::DropOldest`] only).
    #[must_use]
    pub const fn with_max_lag(self, records: u32) -> Self {
        Self { max_lag: records, ..self }
    }

    /// Sets for how long memory is leased.
    #[must_use]
    pub const fn with_ttl(self, ttl: Ticks) -> Self {
        Self { ttl, ..self }
    }

    /// Sets whether records get the time at which they are sent.
    #[must_use]
    pub const fn with_timestamps(self, timestamps: bool) -> Self {
        Self { timestamps, ..self }
    }

    /// Sets whether this topic takes dead letters.
    #[must_use]
    pub const fn with_dead_letters(self, dead_letters: bool) -> Self {
        Self { dead_letters, ..self }
    }

    /// Makes a topic that can be taken over from a writer that may still live.
    #[must_use]
    pub const fn with_takeover(self) -> Self {
        Self { takeover: true, ..self }
    }

    /// How many bytes one partition's lease needs.
    ///
    /// # Errors
    /// [`TopicError::Config`], [`TopicError::Partitions`], [`TopicError::Groups`], [`TopicError::MaxLag`],
    /// [`TopicError::DeadLetters`] or [`TopicError::NoTakeover`] if there can be no such topic.
    pub const fn partition_bytes(&self) -> Result<usize, TopicError> {
        match self.ring(0) {
            Ok(ring) => match ring.lease_bytes() {
                Ok(bytes) => Ok(bytes),
                Err(error) => Err(TopicError::Config(error)),
            },
            Err(error) => Err(error),
        }
    }

    /// The ring of one partition.
    pub(crate) const fn ring(&self, number: u32) -> Result<RingConfig, TopicError> {
        if self.partitions == 0 || self.partitions > MAX_PARTITIONS {
            return Err(TopicError::Partitions { wanted: self.partitions, max: MAX_PARTITIONS });
        }
        if self.groups == 0 || self.groups > MAX_GROUPS {
            return Err(TopicError::Groups { wanted: self.groups });
        }
        if self.max_lag != 0 && !self.full.overwrites() {
            return Err(TopicError::MaxLag);
        }
        if self.dead_letters && !matches!(self.full, FullPolicy::Reject) {
            return Err(TopicError::DeadLetters);
        }
        if self.dead_letters && self.takeover {
            return Err(TopicError::NoTakeover);
        }
        let slots = round_up(self.slots, 2);
        let bytes = round_up(self.capacity, 16);
        // Two readers for each group: see `partition::cursor`.
        let readers = self.groups.wrapping_mul(2);
        let ring = RingConfig::new(slots, bytes).with_readers(readers).with_max_lag(self.max_lag).with_number(number);
        Ok(if self.takeover { ring.with_takeover() } else { ring })
    }
}

/// The next power of two, or the number itself where there is none, for the ring to refuse.
const fn round_up(number: u32, least: u32) -> u32 {
    match number.checked_next_power_of_two() {
        Some(power) if power >= least => power,
        Some(_) => least,
        None => number,
    }
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self::new()
    }
}
