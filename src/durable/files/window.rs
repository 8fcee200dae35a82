//! Reading ahead, so that many small reads are few system calls.

use alloc::boxed::Box;
use alloc::vec;
use core::ops::Range;

/// How many readers at different places are read ahead for.
const WINDOWS: usize = 4;
/// What is read when nothing tells that the next bytes are wanted too.
const FIRST: usize = 4096;

/// A stretch of a segment's file, as the file is.
#[derive(Debug)]
struct Window {
    segment: u32,
    at: u32,
    /// How much of `bytes` is of the file.
    len: usize,
    /// How much is read next, if reading goes on behind its end.
    ahead: usize,
    turn: u64,
    bytes: Box<[u8]>,
}

impl Window {
    fn end(&self) -> u32 {
        // Never beyond a segment.
        self.at.saturating_add(u32::try_from(self.len).unwrap_or(u32::MAX))
    }
}

/// The stretches that were read last.
#[derive(Debug)]
pub(super) struct Windows {
    windows: [Window; WINDOWS],
    turn: u64,
}

/// The bytes of `range`, which starts at byte `at` of a segment, that lie in a stretch of it that starts at `from`.
fn within(from: u32, range: Range<u32>) -> Option<Range<usize>> {
    let start = usize::try_from(range.start.checked_sub(from)?).ok()?;
    Some(start..usize::try_from(range.end.checked_sub(from)?).ok()?)
}

impl Windows {
    /// Each of at most so many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        let empty =
            |_| Window { segment: 0, at: 0, len: 0, ahead: 0, turn: 0, bytes: vec![0; bytes].into_boxed_slice() };
        Self { windows: core::array::from_fn(empty), turn: 0 }
    }

    /// Copies what lies at `at`, if all of it is there.
    pub(super) fn copy(&mut self, segment: u32, at: u32, into: &mut [u8]) -> bool {
        self.turn = self.turn.wrapping_add(1);
        let Some(end) = u32::try_from(into.len()).ok().and_then(|len| at.checked_add(len)) else { return false };
        for window in self.windows.iter_mut().filter(|window| window.segment == segment && window.end() >= end) {
            let inside = within(window.at, at..end).and_then(|inside| window.bytes.get(inside));
            if let Some(bytes) = inside {
                into.copy_from_slice(bytes);
                window.turn = self.turn;
                return true;
            }
        }
        false
    }

    /// Reads ahead from `at` on, `wanted` bytes at least, by `load`, which answers how many it could read. `most` is where the
    /// segment ends. Answers whether it did: not if so many bytes are wanted at once that they need no window.
    pub(super) fn load<E>(
        &mut self,
        segment: u32,
        at: u32,
        wanted: usize,
        most: usize,
        load: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<bool, E> {
        // Somebody who reads on where a window ends, or starts in it and wants more than it has, keeps it.
        let next = self.windows.iter().position(|window| {
            window.segment == segment && window.len != 0 && (window.at..=window.end()).contains(&at)
        });
        let oldest = || self.windows.iter().enumerate().min_by_key(|(_, window)| window.turn).map(|(place, _)| place);
        let place = next.or_else(oldest).unwrap_or(0);
        let Some(window) = self.windows.get_mut(place) else { return Ok(false) };
        if wanted >= window.bytes.len() {
            return Ok(false);
        }
        let size = if next.is_some() { window.ahead } else { FIRST }.max(wanted).min(most).min(window.bytes.len());
        window.len = 0;
        let part = window.bytes.get_mut(..size).unwrap_or_default();
        let read = load(part)?;
        (window.segment, window.at, window.len) = (segment, at, read.min(size));
        window.ahead = size.saturating_mul(2);
        window.turn = self.turn;
        Ok(true)
    }

    /// Bytes were written to a segment's file.
    pub(super) fn patch(&mut self, segment: u32, at: u32, bytes: &[u8]) {
        let end = at.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        for window in self.windows.iter_mut().filter(|window| window.segment == segment) {
            let common = at.max(window.at)..end.min(window.end());
            if common.is_empty() {
                continue;
            }
            let from = within(at, common.clone()).and_then(|from| bytes.get(from));
            let to = within(window.at, common).and_then(|to| window.bytes.get_mut(to));
            match (from, to) {
                (Some(from), Some(to)) => to.copy_from_slice(from),
                _ => window.len = 0,
            }
        }
    }

    /// What is in a segment's file is not known any more.
    pub(super) fn drop_segment(&mut self, segment: u32) {
        for window in self.windows.iter_mut().filter(|window| window.segment == segment) {
            window.len = 0;
        }
    }
}
