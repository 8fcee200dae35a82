//! A NOR flash in memory that takes drivers' promises at their word, and can lose its power.
//!
//! What it enforces: each write unit is programmed at most once between two erasures, also with `0xff`; addresses and
//! lengths are aligned and within the flash. Whoever breaks that is told by an error, it is written down, and the test
//! fails when the flash is dropped, even if it did not look at the error.
//!
//! How it loses its power: a countdown over events, which are units programmed and units erased. The event at zero is
//! under way when the power goes; a [`Cut`] says what becomes of it. From then on every operation fails, until
//! [`Flash::power_on`]. All that is random comes from the seed of the cut.

#![allow(dead_code, reason = "each test file uses a part of this")]

use super::common::Rng;
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};
use std::collections::BTreeMap;

/// What becomes of the units of the write that the power went in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Tear {
    /// Nothing of the whole write was done, not even the units before the cut.
    Nothing,
    /// The units before the cut were programmed, the others were not touched.
    Prefix,
    /// As `Prefix`, and of the unit under way some of the bits that should become 0 did. Not none of them, so that it
    /// can be told from `Prefix`, unless there are none.
    Subset,
    /// As `Prefix`, and the unit under way holds anything.
    Garbage,
    /// As `Prefix`, and the unit under way cannot be read.
    Unreadable,
    /// Each unit of the whole write, before the cut and behind it, is as in one of the other modes.
    Scattered,
    /// As `Prefix`, and the unit under way reads as if it had been programmed, [`Cut::good`] times; then bits flip.
    Fading,
    /// As `Prefix`, and the unit under way reads as if it had not been touched, [`Cut::good`] times; then bits flip.
    Marginal,
}

/// What becomes of the erase unit that the power went in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wipe {
    /// It holds what it held.
    Old,
    /// Some bytes at its end are zero, the others as they were: parts that program a unit to zero before they erase it.
    Zeroed,
    /// Some bits are 1 that were 0.
    Partial,
    /// It reads as erased, each write unit [`Cut::good`] times; then bits flip. Programming it without another erasure
    /// breaks the contract.
    Unstable,
    /// It cannot be read.
    Unreadable,
}

impl Tear {
    pub(crate) const ALL: [Self; 8] = [
        Self::Nothing,
        Self::Prefix,
        Self::Subset,
        Self::Garbage,
        Self::Unreadable,
        Self::Scattered,
        Self::Fading,
        Self::Marginal,
    ];
}

impl Wipe {
    pub(crate) const ALL: [Self; 5] = [Self::Old, Self::Zeroed, Self::Partial, Self::Unstable, Self::Unreadable];
}

/// A power cut to come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Cut {
    /// How many events are still completed.
    pub(crate) after: u64,
    /// If it meets a write.
    pub(crate) tear: Tear,
    /// If it meets an erasure.
    pub(crate) wipe: Wipe,
    /// How many times an unstable unit reads well.
    pub(crate) good: u32,
    pub(crate) seed: u64,
}

/// A promise that was broken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Violation {
    /// This unit was programmed, or torn, and not erased since.
    Twice {
        at: u32,
    },
    Unaligned {
        at: u32,
        len: u32,
    },
    OutOfBounds {
        at: u32,
        len: u32,
    },
}

/// What a driver answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FlashError {
    Violation(Violation),
    /// A unit that cannot be read.
    Unreadable,
    /// There is no power.
    Off,
}

impl NorFlashError for FlashError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Violation(Violation::Unaligned { .. }) => NorFlashErrorKind::NotAligned,
            Self::Violation(Violation::OutOfBounds { .. }) => NorFlashErrorKind::OutOfBounds,
            _ => NorFlashErrorKind::Other,
        }
    }
}

/// What was done so far.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counters {
    pub(crate) bytes_programmed: u64,
    pub(crate) programs: u64,
    pub(crate) bytes_read: u64,
    pub(crate) reads: u64,
    /// Per erase unit.
    pub(crate) erases: Vec<u32>,
}

impl Counters {
    /// How much more often the most erased unit was erased than the least.
    pub(crate) fn spread(&self) -> u32 {
        self.erases.iter().max().unwrap_or(&0) - self.erases.iter().min().unwrap_or(&0)
    }
}

/// A write unit that does not read as what it holds.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Weak {
    Unreadable,
    /// It reads well so many times, then these bits flip for good.
    Unstable {
        good: u32,
        flips: Vec<u8>,
    },
}

/// A flash with these sizes. A clone is an image of it: it goes on by itself.
#[derive(Clone, Debug)]
pub(crate) struct Flash<const WRITE: usize, const ERASE: usize, const READ: usize = 1> {
    cells: Vec<u8>,
    /// Of each write unit: whether it may not be programmed.
    used: Vec<bool>,
    weak: BTreeMap<usize, Weak>,
    cut: Option<Cut>,
    is_off: bool,
    events: u64,
    counters: Counters,
    violations: Vec<Violation>,
}

impl<const WRITE: usize, const ERASE: usize, const READ: usize> Flash<WRITE, ERASE, READ> {
    /// Erased.
    pub(crate) fn new(units: usize) -> Self {
        assert!(ERASE.is_multiple_of(WRITE) && ERASE.is_multiple_of(READ));
        Self {
            cells: vec![0xff; units * ERASE],
            used: vec![false; units * ERASE / WRITE],
            weak: BTreeMap::new(),
            cut: None,
            is_off: false,
            events: 0,
            counters: Counters { erases: vec![0; units], ..Counters::default() },
            violations: Vec::new(),
        }
    }

    /// With these bytes in it. What is not `0xff` was programmed.
    pub(crate) fn of(image: &[u8]) -> Self {
        let mut flash = Self::new(image.len() / ERASE);
        flash.cells.copy_from_slice(image);
        for (used, unit) in flash.used.iter_mut().zip(image.chunks(WRITE)) {
            *used = unit.iter().any(|byte| *byte != 0xff);
        }
        flash
    }

    /// All bytes, as they are in the cells.
    pub(crate) fn image(&self) -> &[u8] {
        &self.cells
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn reset_counters(&mut self) {
        let units = self.counters.erases.len();
        self.counters = Counters { erases: vec![0; units], ..Counters::default() };
    }

    /// How many units were programmed or erased so far, the one that was cut included: all places where power can be cut.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    /// Power will go in the middle of an event.
    pub(crate) fn cut(&mut self, cut: Cut) {
        self.cut = Some(cut);
    }

    /// Whether the power went.
    pub(crate) fn is_off(&self) -> bool {
        self.is_off
    }

    /// Power is back. A cut that did not happen is called off.
    pub(crate) fn power_on(&mut self) {
        self.is_off = false;
        self.cut = None;
    }

    /// Damages one bit.
    pub(crate) fn flip(&mut self, bit: usize) {
        self.cells[bit / 8] ^= 1 << (bit % 8);
        self.used[bit / 8 / WRITE] = true;
    }

    /// Makes the write unit at this byte unreadable.
    pub(crate) fn spoil(&mut self, at: usize) {
        self.used[at / WRITE] = true;
        self.weak.insert(at / WRITE, Weak::Unreadable);
    }

    /// Makes the write unit at this byte read well `good` times more, and wrongly then.
    pub(crate) fn weaken(&mut self, at: usize, good: u32, seed: u64) {
        self.used[at / WRITE] = true;
        self.weak.insert(at / WRITE, Weak::Unstable { good, flips: flips::<WRITE>(&mut Rng::new(seed)) });
    }

    /// Time passes: what reads well for some more times does not from now on.
    pub(crate) fn decay(&mut self) {
        for weak in self.weak.values_mut() {
            if let Weak::Unstable { good, .. } = weak {
                *good = 0;
            }
        }
    }

    /// Whether there are units that do not read as what they hold.
    pub(crate) fn is_weak(&self) -> bool {
        !self.weak.is_empty()
    }

    /// Promises broken so far; they do not fail the test any more.
    pub(crate) fn take_violations(&mut self) -> Vec<Violation> {
        std::mem::take(&mut self.violations)
    }

    fn violation(&mut self, what: Violation) -> FlashError {
        self.violations.push(what);
        FlashError::Violation(what)
    }

    /// Whether there is power, and the address is one.
    fn check(&mut self, at: u32, len: usize, unit: usize) -> Result<usize, FlashError> {
        if self.is_off {
            return Err(FlashError::Off);
        }
        let start = at as usize;
        let len_told = u32::try_from(len).unwrap_or(u32::MAX);
        if !start.is_multiple_of(unit) || !len.is_multiple_of(unit) {
            return Err(self.violation(Violation::Unaligned { at, len: len_told }));
        }
        if start.checked_add(len).is_none_or(|end| end > self.cells.len()) {
            return Err(self.violation(Violation::OutOfBounds { at, len: len_told }));
        }
        Ok(start)
    }

    /// The cut, if it comes within so many events, and how many of them are completed before.
    fn strike(&mut self, events: usize) -> Option<(Cut, usize)> {
        let events = events as u64;
        let Some(cut) = &mut self.cut else {
            self.events += events;
            return None;
        };
        if cut.after >= events {
            cut.after -= events;
            self.events += events;
            return None;
        }
        let cut = *cut;
        self.events += cut.after + 1;
        self.cut = None;
        self.is_off = true;
        Some((cut, usize::try_from(cut.after).unwrap()))
    }

    fn program(&mut self, unit: usize, bytes: &[u8]) {
        self.cells[unit * WRITE..][..WRITE].copy_from_slice(bytes);
        self.used[unit] = true;
        self.counters.bytes_programmed += WRITE as u64;
    }

    fn tear(&mut self, unit: usize, bytes: &[u8], how: Tear, good: u32, rng: &mut Rng) {
        match how {
            Tear::Nothing | Tear::Prefix => return,
            Tear::Subset => {
                // At least one of the bits that should become 0, if there is one.
                let zeros = bytes.iter().map(|byte| byte.count_zeros()).sum::<u32>();
                let sure = if zeros == 0 { 0 } else { rng.below(zeros.into()) };
                // From that one alone to all of them.
                let quarters = rng.below(5);
                let mut nth = 0;
                for (cell, byte) in self.cells[unit * WRITE..].iter_mut().zip(bytes) {
                    for bit in (0..8).filter(|bit| byte >> bit & 1 == 0) {
                        if nth == sure || rng.below(4) < quarters {
                            *cell &= !(1 << bit);
                        }
                        nth += 1;
                    }
                }
            }
            Tear::Garbage => {
                for cell in &mut self.cells[unit * WRITE..][..WRITE] {
                    *cell = rng.next() as u8;
                }
            }
            Tear::Unreadable => _ = self.weak.insert(unit, Weak::Unreadable),
            Tear::Scattered => unreachable!("it is made of the others"),
            Tear::Fading => {
                self.cells[unit * WRITE..][..WRITE].copy_from_slice(bytes);
                self.weak.insert(unit, Weak::Unstable { good, flips: flips::<WRITE>(rng) });
            }
            Tear::Marginal => _ = self.weak.insert(unit, Weak::Unstable { good, flips: flips::<WRITE>(rng) }),
        }
        self.used[unit] = true;
        self.counters.bytes_programmed += WRITE as u64;
    }

    fn wipe(&mut self, unit: usize, how: Wipe, good: u32, rng: &mut Rng) {
        let units = unit * ERASE / WRITE..(unit + 1) * ERASE / WRITE;
        let cells = &mut self.cells[unit * ERASE..][..ERASE];
        match how {
            // It may go on being programmed: nothing was done.
            Wipe::Old => return,
            Wipe::Zeroed => {
                let zeroed = rng.size(ERASE) + 1;
                cells[ERASE - zeroed..].fill(0);
            }
            Wipe::Partial => cells.iter_mut().for_each(|cell| *cell |= rng.next() as u8),
            Wipe::Unstable => cells.fill(0xff),
            Wipe::Unreadable => {}
        }
        for unit in units {
            self.used[unit] = true;
            match how {
                Wipe::Unstable => {
                    _ = self.weak.insert(unit, Weak::Unstable { good, flips: flips::<WRITE>(rng) });
                }
                Wipe::Unreadable => _ = self.weak.insert(unit, Weak::Unreadable),
                // Bits of an uncorrectable unit that was zeroed or half erased: it reads as something again.
                _ => _ = self.weak.remove(&unit),
            }
        }
        self.counters.erases[unit] += 1;
    }
}

/// Which bits of an unstable unit flip: at least one.
fn flips<const WRITE: usize>(rng: &mut Rng) -> Vec<u8> {
    let mut flips: Vec<u8> = (0..WRITE).map(|_| if rng.one_in(4) { rng.next() as u8 } else { 0 }).collect();
    let sure = rng.size(WRITE * 8);
    flips[sure / 8] |= 1 << (sure % 8);
    flips
}

impl<const WRITE: usize, const ERASE: usize, const READ: usize> Drop for Flash<WRITE, ERASE, READ> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.violations.is_empty(), "the driver's contract was broken: {:?}", self.violations);
        }
    }
}

impl<const WRITE: usize, const ERASE: usize, const READ: usize> ErrorType for Flash<WRITE, ERASE, READ> {
    type Error = FlashError;
}

impl<const WRITE: usize, const ERASE: usize, const READ: usize> ReadNorFlash for Flash<WRITE, ERASE, READ> {
    const READ_SIZE: usize = READ;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        let start = self.check(offset, bytes.len(), READ)?;
        self.counters.reads += 1;
        self.counters.bytes_read += bytes.len() as u64;
        if !self.weak.is_empty() {
            for unit in start / WRITE..(start + bytes.len()).div_ceil(WRITE) {
                match self.weak.get_mut(&unit) {
                    None => {}
                    Some(Weak::Unreadable) => return Err(FlashError::Unreadable),
                    Some(Weak::Unstable { good: 0, flips }) => {
                        for (cell, flips) in self.cells[unit * WRITE..].iter_mut().zip(flips) {
                            *cell ^= *flips;
                        }
                        self.weak.remove(&unit);
                    }
                    Some(Weak::Unstable { good, .. }) => *good -= 1,
                }
            }
        }
        bytes.copy_from_slice(&self.cells[start..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.cells.len()
    }
}

impl<const WRITE: usize, const ERASE: usize, const READ: usize> NorFlash for Flash<WRITE, ERASE, READ> {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = ERASE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        let Some(len) = to.checked_sub(from) else {
            return Err(self.violation(Violation::OutOfBounds { at: from, len: 0 }));
        };
        let start = self.check(from, len as usize, ERASE)?;
        let (first, count) = (start / ERASE, len as usize / ERASE);
        let cut = self.strike(count);
        let done = cut.map_or(count, |(_, done)| done);
        for unit in first..first + done {
            self.cells[unit * ERASE..][..ERASE].fill(0xff);
            let units = unit * ERASE / WRITE..(unit + 1) * ERASE / WRITE;
            self.used[units.clone()].fill(false);
            if !self.weak.is_empty() {
                self.weak.retain(|unit, _| !units.contains(unit));
            }
            self.counters.erases[unit] += 1;
        }
        let Some((cut, _)) = cut else { return Ok(()) };
        self.wipe(first + done, cut.wipe, cut.good, &mut Rng::new(cut.seed));
        Err(FlashError::Off)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        let start = self.check(offset, bytes.len(), WRITE)?;
        let (first, count) = (start / WRITE, bytes.len() / WRITE);
        if let Some(twice) = (first..first + count).find(|unit| self.used[*unit]) {
            return Err(self.violation(Violation::Twice { at: u32::try_from(twice * WRITE).unwrap() }));
        }
        self.counters.programs += 1;
        let cut = self.strike(count);
        let Some((cut, done)) = cut else {
            for (nth, bytes) in bytes.chunks(WRITE).enumerate() {
                self.program(first + nth, bytes);
            }
            return Ok(());
        };
        let rng = &mut Rng::new(cut.seed);
        for (nth, bytes) in bytes.chunks(WRITE).enumerate() {
            match cut.tear {
                Tear::Nothing => {}
                Tear::Scattered => {
                    let modes =
                        [Tear::Prefix, Tear::Subset, Tear::Garbage, Tear::Unreadable, Tear::Fading, Tear::Marginal];
                    // The seventh and eighth: whole.
                    match modes.get(rng.size(modes.len() + 2)) {
                        Some(how) => self.tear(first + nth, bytes, *how, cut.good, rng),
                        None => self.program(first + nth, bytes),
                    }
                }
                _ if nth < done => self.program(first + nth, bytes),
                how if nth == done => self.tear(first + nth, bytes, how, cut.good, rng),
                _ => {}
            }
        }
        Err(FlashError::Off)
    }
}
