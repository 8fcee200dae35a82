//! Making a ring of a lease, and finding the ring in one.

use super::config::Geometry;
use super::recover::low;
use super::{Keep, Ring, RingConfig, View};
use crate::error::{AttachError, Check, ConfigError, Corrupt, LeaseError};
use crate::lease::layout::{BOUNDS_AT, MAGIC, Plan, READERS_AT, SUPERBLOCK_AT, TAKEOVER, bounds, hints, reader};
use crate::lease::superblock::Superblock;
use crate::lease::{Lease, Role, Trust};
use crate::platform::atomic::{Ordering, fence};
use crate::platform::lock::Turn;
use crate::platform::memory::{BLOCK, Entry, Memory};
use crate::types::Ticks;
use core::marker::PhantomData;

impl View {
    fn new(memory: Memory, geometry: Geometry, plan: Plan) -> Option<Self> {
        let (slots_log2, units_log2) = geometry.log2();
        Some(Self {
            control: memory.blocks(geometry.readers)?,
            slots: memory.slots(plan.slots_at, slots_log2)?,
            bytes: memory.bytes(plan.bytes_at, units_log2)?,
            geometry,
        })
    }
}

/// The bytes of a lease, if they are aligned. Whoever makes views of them owns the lease, and keeps it for as long as it has
/// them.
pub(crate) fn memory_of<L: Lease>(lease: &L) -> Option<Memory> {
    if lease.base().as_ptr().align_offset(8) != 0 {
        return None;
    }
    #[allow(unsafe_code, reason = "the lease's promise, taken up in one place")]
    // SAFETY: `Lease` promises valid bytes aligned to 8 for as long as the lease lives; what is made of this
    // view (a ring, a registry, a group) owns the lease, and every other view of it holds that owner ("kept").
    Some(unsafe { Memory::new(lease.base(), lease.len()) })
}

impl<L: Lease, K: Keep> Ring<L, K> {
    /// Makes an empty ring of the lease. What was in it is lost.
    ///
    /// Walks all slots once. Until it is done the lease holds no ring: cut off in the middle, it is formatted again.
    ///
    /// A lease that has ended, and one in which somebody of a higher epoch has ended the log, is refused before anything is
    /// stored, and looked at once more before the ring can be found in it. Between these, nothing stops a holder: one that was
    /// let stand there while somebody else [took over](Self::take_over), and goes on, still clears what the lease holds. Nobody
    /// reads anything wrong then, and what was written to the successor stays; but readers who had not come to the end of this
    /// log lose the rest of it (they find no record, or are told that it is damaged). So format only what was just acquired,
    /// which nobody else knows yet.
    ///
    /// # Errors
    /// [`ConfigError`] if the shape is impossible or larger than the lease, or the lease is a reader's, has ended, or is held
    /// under a lower epoch than the log in it.
    pub fn format(lease: L, config: RingConfig) -> Result<Self, ConfigError> {
        Self::format_at(lease, config, Ticks::ZERO)
    }

    /// The same, noting the time.
    ///
    /// # Errors
    /// As [`format`](Self::format).
    pub fn format_at(lease: L, config: RingConfig, now: Ticks) -> Result<Self, ConfigError> {
        Self::format_from::<false>(lease, config, now, 0)
    }

    /// The same for a log whose first record has the offset `first`, if it is `BEHIND` another one: who never makes such a log
    /// does not carry what that takes.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "two callers, of which most programs have one")]
    pub(super) fn format_from<const BEHIND: bool>(
        lease: L,
        config: RingConfig,
        now: Ticks,
        first: u64,
    ) -> Result<Self, ConfigError> {
        let (geometry, plan) = config.check()?;
        if matches!(lease.role(), Role::Reader | Role::Sealer) || (config.takeover && !L::SEALABLE) {
            return Err(ConfigError::Lease(LeaseError::Unsupported));
        }
        if plan.end > lease.len() {
            return Err(ConfigError::LeaseTooSmall { needed: plan.end, found: lease.len() });
        }
        let memory = memory_of(&lease).ok_or(ConfigError::Unaligned)?;
        let view = View::new(memory, geometry, plan).ok_or(ConfigError::Size)?;
        let block = memory.block(SUPERBLOCK_AT).ok_or(ConfigError::Size)?;
        lease.check().map_err(ConfigError::Lease)?;
        if L::SEALABLE && Superblock::load(block, TAKEOVER).is_ok() && view.load_epoch(&lease) > lease.epoch() {
            // Somebody else has taken over what is in it.
            return Err(ConfigError::Lease(LeaseError::Fenced));
        }
        let ring = Self { view, registry: Turn::new(), lease, keep: PhantomData };
        let Self { view, lease, .. } = &ring;
        Superblock::clear_magic(block);
        // Whatever is stored below is not seen with the old magic.
        fence(Ordering::Release);
        lease.clean(SUPERBLOCK_AT, BLOCK);
        lease.fence();
        view.clear::<BEHIND>(first);
        view.bounds().word(bounds::EPOCH).store(lease.epoch().value(), Ordering::Relaxed);
        lease.clean(BOUNDS_AT, plan.bytes_at.saturating_sub(BOUNDS_AT));
        lease.fence();
        let (slots_log2, units_log2) = geometry.log2();
        let superblock = Superblock {
            needed: if L::SEALABLE && config.takeover { TAKEOVER } else { 0 },
            keep: u8::from(K::OVERWRITE),
            slots_log2,
            units_log2,
            readers: geometry.readers,
            max_lag: geometry.max_lag,
            epoch: lease.epoch(),
            number: geometry.number,
            lease: lease.id(),
            formatted_at: now,
        };
        superblock.store(block);
        lease.clean(SUPERBLOCK_AT, BLOCK);
        lease.fence();
        // As late as can be: whoever lost the lease meanwhile leaves no ring.
        lease.check().map_err(ConfigError::Lease)?;
        Superblock::store_magic(block);
        lease.clean(SUPERBLOCK_AT, MAGIC.len());
        lease.complete().map_err(ConfigError::Lease)?;
        Ok(ring)
    }

    /// Opens the ring in a lease, whatever bytes are in it.
    ///
    /// On an [`Exclusive`](crate::lease::Exclusive) lease this also clears up behind a writer and readers that died:
    /// what the writer had not committed is gone for good, readers' places are parked where they stood. On the other
    /// levels nothing is changed. Walks all slots at most twice.
    ///
    /// # Errors
    /// [`AttachError`] if the bytes are no ring of this format and retention, if it is damaged beyond what slots can
    /// tell, or if it was written under a newer epoch than the lease has. The lease is dropped then, and a pool frees what
    /// is in it: [`try_attach`](Self::try_attach) keeps it.
    pub fn attach(lease: L) -> Result<Self, AttachError> {
        Self::try_attach(lease).map_err(|(_, error)| error)
    }

    /// The same, but a lease that cannot be opened comes back: to be tried as something else, detached from, or formatted.
    ///
    /// ```
    /// use fabric_mq::lease::SliceLease;
    /// use fabric_mq::ring::{Ring, RingConfig};
    /// let mut bytes = [0; 4096];
    /// let ring: Ring<_> = match Ring::try_attach(SliceLease::new(&mut bytes)) {
    ///     Ok(ring) => ring,
    ///     Err((lease, error)) => {
    ///         println!("{error}");
    ///         Ring::format(lease, RingConfig::new(32, 1024))?
    ///     }
    /// };
    /// # assert_eq!(ring.tail().value(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`attach`](Self::attach), with the lease.
    pub fn try_attach(lease: L) -> Result<Self, (L, AttachError)> {
        match Self::open(&lease) {
            Ok(view) => Ok(Self { view, registry: Turn::new(), lease, keep: PhantomData }),
            Err(error) => Err((lease, error)),
        }
    }

    fn open(lease: &L) -> Result<View, AttachError> {
        lease.check()?;
        let memory = memory_of(lease).ok_or(AttachError::Unaligned)?;
        let too_short = |needed| AttachError::TooShort { needed, found: lease.len() };
        let block = memory.block(SUPERBLOCK_AT).ok_or_else(|| too_short(READERS_AT))?;
        lease.invalidate(SUPERBLOCK_AT, BLOCK);
        // A superblock that could not be fetched is none.
        lease.check()?;
        let found = Superblock::load(block, if L::SEALABLE { TAKEOVER } else { 0 })?;
        if (found.keep == 1) != K::OVERWRITE {
            return Err(AttachError::Keep);
        }
        let impossible = AttachError::Corrupt(Corrupt::new(Check::Geometry, 0));
        let plan = found.plan().ok_or(impossible)?;
        if plan.end > memory.len() {
            return Err(too_short(plan.end));
        }
        let geometry = Geometry::new(found.slots_log2, found.units_log2, found.readers, found.max_lag, found.number);
        let view = View::new(memory, geometry, plan).ok_or(impossible)?;
        let written = view.load_epoch(lease);
        if written > lease.epoch() {
            return Err(AttachError::Fenced { lease: lease.epoch(), ring: written });
        }
        if L::Trust::EXCLUSIVE {
            lease.fetch(BOUNDS_AT, plan.bytes_at.saturating_sub(BOUNDS_AT));
            view.recover(lease, lease.epoch())?;
            lease.clean(BOUNDS_AT, plan.bytes_at.saturating_sub(BOUNDS_AT));
            lease.complete()?;
        } else {
            view.inspect(lease)?;
            lease.check()?;
        }
        Ok(view)
    }
}

impl View {
    /// Sets the control area and the slots of an empty log that begins at `first`, or at 0.
    fn clear<const BEHIND: bool>(&self, first: u64) {
        for block in self.control.all() {
            for word in 0..BLOCK / 4 {
                block.word(word).store(0, Ordering::Relaxed);
            }
        }
        for place in self.control.places() {
            place.word(reader::GUARD).store(u32::MAX, Ordering::Relaxed);
        }
        if BEHIND {
            self.bounds().cursor(bounds::HEAD).reset(first);
            self.hints().cursor(hints::TAIL).reset(first);
        } else {
            self.bounds().cursor(bounds::HEAD).start();
            self.hints().cursor(hints::TAIL).start();
        }
        self.hints().cursor(hints::REFUSED).start();
        for distance in 0..self.slots.count() {
            let offset = if BEHIND { low(first).wrapping_add(distance) } else { distance };
            self.slots.at(offset).store(Entry::new(self.slots.stale(offset), 0, 0, 0));
        }
    }
}
