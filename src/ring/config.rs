//! What shape a ring has, and what it does when it is full.

use super::sealed::Sealed;
use crate::error::ConfigError;
use crate::lease::layout::{MAX_READERS, Plan, READERS_AT, SLOTS_LOG2, UNITS_LOG2};
use crate::platform::memory::{BLOCK, MAX_LEN, SLOT, UNIT};

/// Whether a full ring waits for its readers or overwrites. A type parameter of the ring: reading in place exists only
/// where nothing is overwritten.
pub trait Keep: Sealed + 'static {
    /// Whether old records give way to new ones.
    const OVERWRITE: bool;
}

/// Records stay until every reader has released them. A full ring refuses new ones.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Retain;

/// Old records give way to new ones. A slow reader is told how many it lost.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Overwrite;

impl Sealed for Retain {}
impl Sealed for Overwrite {}
impl Keep for Retain {
    const OVERWRITE: bool = false;
}
impl Keep for Overwrite {
    const OVERWRITE: bool = true;
}

/// The shape of a ring.
///
/// ```
/// use fabric_mq::ring::RingConfig;
/// // 64 records, 4 KiB of payload, two readers: how many bytes must be leased?
/// const CONFIG: RingConfig = RingConfig::new(64, 4096).with_readers(2);
/// const NEEDED: usize = match CONFIG.lease_bytes() { Ok(bytes) => bytes, Err(_) => panic!("no such ring") };
/// assert_eq!(NEEDED, 384 + 2 * 128 + 64 * 16 + 4096);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RingConfig {
    /// Records that fit at the same time: a power of two from 2 to 2^28.
    pub slots: u32,
    /// Payload bytes that fit at the same time: a power of two from 16 to 2^31. A record takes its length rounded up to
    /// 8; the largest one is half of this, and at most 16 MiB less one byte.
    pub bytes: u32,
    /// Readers that can be registered at the same time, 1 to 64; 128 bytes each.
    pub readers: u8,
    /// Of an overwriting ring: a registered reader that is behind by at most this many records is waited for, as if the
    /// ring retained. 0, the default: nobody is waited for.
    pub max_lag: u32,
    /// The partition number to note in the ring.
    pub number: u32,
    /// Whether the log can be ended under a living writer, to go on in another lease: see
    /// [`Ring::take_over`](super::Ring::take_over). Such a ring takes one record less, and each commit a compare-and-swap.
    pub takeover: bool,
}

impl RingConfig {
    /// A ring of `slots` records and `bytes` payload bytes for one reader.
    #[must_use]
    pub const fn new(slots: u32, bytes: u32) -> Self {
        Self { slots, bytes, readers: 1, max_lag: 0, number: 0, takeover: false }
    }

    /// Room for `readers` registered readers.
    #[must_use]
    pub const fn with_readers(self, readers: u8) -> Self {
        Self { readers, ..self }
    }

    /// Waits for registered readers behind by at most `records` ([`Overwrite`] only).
    #[must_use]
    pub const fn with_max_lag(self, records: u32) -> Self {
        Self { max_lag: records, ..self }
    }

    /// Notes a partition number in the ring.
    #[must_use]
    pub const fn with_number(self, number: u32) -> Self {
        Self { number, ..self }
    }

    /// Makes a ring whose log can be ended under a living writer, on leases for which that is possible
    /// ([`Lease::SEALABLE`](crate::lease::Lease::SEALABLE)).
    #[must_use]
    pub const fn with_takeover(self) -> Self {
        Self { takeover: true, ..self }
    }

    /// How many bytes such a ring needs.
    ///
    /// # Errors
    /// [`ConfigError`] if there can be no such ring.
    pub const fn lease_bytes(&self) -> Result<usize, ConfigError> {
        match self.check() {
            Ok((_, plan)) => Ok(plan.end),
            Err(error) => Err(error),
        }
    }

    /// The checked shape.
    pub(crate) const fn check(&self) -> Result<(Geometry, Plan), ConfigError> {
        if self.readers == 0 || self.readers > MAX_READERS {
            return Err(ConfigError::Readers);
        }
        if !self.slots.is_power_of_two() || !self.bytes.is_power_of_two() || self.bytes < UNIT as u32 {
            return Err(ConfigError::Size);
        }
        #[allow(clippy::cast_possible_truncation, reason = "a logarithm of 32 bits")]
        let (slots_log2, units_log2) =
            (self.slots.trailing_zeros() as u8, (self.bytes.trailing_zeros() as u8).wrapping_sub(3));
        if slots_log2 < *SLOTS_LOG2.start()
            || slots_log2 > *SLOTS_LOG2.end()
            || units_log2 < *UNITS_LOG2.start()
            || units_log2 > *UNITS_LOG2.end()
        {
            return Err(ConfigError::Size);
        }
        let Some(plan) = Plan::new(slots_log2, units_log2, self.readers) else { return Err(ConfigError::Size) };
        let geometry = Geometry::new(slots_log2, units_log2, self.readers, self.max_lag, self.number);
        Ok((geometry, plan))
    }
}

/// A checked shape.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    slots: u32,
    units: u32,
    pub(crate) readers: u8,
    pub(crate) max_lag: u32,
    pub(crate) number: u32,
}

impl Geometry {
    /// A shape within [`SLOTS_LOG2`] and [`UNITS_LOG2`].
    pub(crate) const fn new(slots_log2: u8, units_log2: u8, readers: u8, max_lag: u32, number: u32) -> Self {
        let (slots, units) = (1_u32.wrapping_shl(slots_log2 as u32), 1_u32.wrapping_shl(units_log2 as u32));
        Self { slots, units, readers, max_lag, number }
    }

    /// The logarithms of the numbers of slots and units.
    #[allow(clippy::cast_possible_truncation, reason = "a logarithm of 32 bits")]
    pub(crate) const fn log2(&self) -> (u8, u8) {
        (self.slots.trailing_zeros() as u8, self.units.trailing_zeros() as u8)
    }

    /// Where the slots lie in the lease.
    #[inline]
    pub(crate) const fn slots_at(&self) -> usize {
        READERS_AT.wrapping_add((self.readers as usize).wrapping_mul(BLOCK))
    }

    /// Where the payload bytes lie in the lease.
    #[inline]
    pub(crate) const fn bytes_at(&self) -> usize {
        self.slots_at().wrapping_add((self.slots as usize).wrapping_mul(SLOT))
    }

    #[inline]
    pub(crate) const fn slots(&self) -> u32 {
        self.slots
    }

    #[inline]
    pub(crate) const fn units(&self) -> u32 {
        self.units
    }

    #[inline]
    pub(crate) const fn bytes(&self) -> usize {
        (self.units() as usize).wrapping_mul(UNIT)
    }

    /// Half the ring: with any remainder skipped at its end, such a record still fits into an empty ring. And never more than
    /// a slot can tell of.
    #[inline]
    pub(crate) const fn max_record(&self) -> usize {
        let half = self.bytes() / 2;
        if half > MAX_LEN as usize { MAX_LEN as usize } else { half }
    }

    /// Records after which a reader tells its progress, and the writer makes room: an eighth of the ring.
    #[inline]
    pub(crate) const fn slot_stride(&self) -> u32 {
        let eighth = self.slots() >> 3;
        if eighth == 0 { 1 } else { eighth }
    }

    /// The same in units.
    #[inline]
    pub(crate) const fn unit_stride(&self) -> u32 {
        let eighth = self.units() >> 3;
        if eighth == 0 { 1 } else { eighth }
    }
}

/// Where a payload of `units` units goes when the log stands at `position`: behind it, or at the ring's start if it
/// would straddle the end. Answers its first unit and the position behind it.
#[inline]
pub(crate) fn place(position: u32, units: u32, ring_units: u32) -> (u32, u32) {
    let index = position & ring_units.wrapping_sub(1);
    if index.wrapping_add(units) > ring_units {
        crate::platform::cold();
        let start = position.wrapping_add(ring_units.wrapping_sub(index));
        return (start, start.wrapping_add(units));
    }
    (position, position.wrapping_add(units))
}

/// Units that a payload of `len` bytes takes.
#[inline]
pub(crate) const fn units_of(len: u32) -> u32 {
    // Lengths are at most 2^30, so this does not overflow.
    len.wrapping_add(7) >> 3
}
