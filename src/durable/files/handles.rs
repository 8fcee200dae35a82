//! Which segments' files are open: a few, the ones used last.

use alloc::sync::Arc;
use alloc::vec::Vec;

/// How many files are open at the same time, at most.
pub(super) const HANDLES: usize = 16;

/// The open file of a segment.
#[derive(Debug)]
pub(super) struct Handle<F> {
    pub(super) segment: u32,
    pub(super) file: F,
    /// How long the file is.
    pub(super) bytes: u64,
    /// Whether it was written to since it was synced.
    pub(super) is_dirty: bool,
    /// Of the last write, rising: nothing else was written as long as it is the same.
    pub(super) write: u64,
    /// The same file, opened once more: whoever syncs by it is told of failures by himself, and takes none from others.
    pub(super) apart: Option<Arc<F>>,
    /// When it was used.
    turn: u64,
}

/// Open files, each at a place that it keeps while it is open.
#[derive(Debug)]
pub(super) struct Handles<F> {
    open: Vec<Handle<F>>,
    turn: u64,
}

impl<F> Handles<F> {
    pub(super) fn new() -> Self {
        Self { open: Vec::with_capacity(HANDLES), turn: 0 }
    }

    /// Where a segment's file is, if it is open.
    pub(super) fn find(&mut self, segment: u32) -> Option<usize> {
        let place = self.open.iter().position(|handle| handle.segment == segment)?;
        self.turn = self.turn.wrapping_add(1);
        if let Some(handle) = self.open.get_mut(place) {
            handle.turn = self.turn;
        }
        Some(place)
    }

    pub(super) fn get(&self, place: usize) -> Option<&Handle<F>> {
        self.open.get(place)
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut Handle<F>> {
        self.open.get_mut(place)
    }

    /// The file that has to give way to another one: one that needs no sync if there is one, of these the one that was not
    /// used for longest. `None` if there is room for another one.
    pub(super) fn victim(&self) -> Option<usize> {
        if self.open.len() < HANDLES {
            return None;
        }
        let places = self.open.iter().enumerate();
        places.min_by_key(|(_, handle)| (handle.is_dirty, handle.turn)).map(|(place, _)| place)
    }

    /// Puts a file there, or, with `None`, where there is room; answers where.
    pub(super) fn put(&mut self, place: Option<usize>, segment: u32, file: F, bytes: u64) -> usize {
        self.turn = self.turn.wrapping_add(1);
        let handle = Handle { segment, file, bytes, is_dirty: false, write: 0, apart: None, turn: self.turn };
        if let Some(place) = place
            && let Some(old) = self.open.get_mut(place)
        {
            *old = handle;
            return place;
        }
        self.open.push(handle);
        self.open.len().saturating_sub(1)
    }

    /// Notes that a file is written to.
    pub(super) fn written(&mut self, place: usize) -> Option<&mut Handle<F>> {
        self.turn = self.turn.wrapping_add(1);
        let turn = self.turn;
        let handle = self.open.get_mut(place)?;
        handle.is_dirty = true;
        handle.write = turn;
        Some(handle)
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// A place whose file has to be synced.
    pub(super) fn dirty(&self) -> Option<usize> {
        self.open.iter().position(|handle| handle.is_dirty)
    }
}
