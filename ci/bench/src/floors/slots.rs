//! memcpy of a known length into fixed slots.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Apart;
use crate::messages::{Messages, Sum};
use crate::queue::{Inlet, Outlet, Queue};
use crate::registry::{Kind, Rows};

pub fn register<const N: usize>(rows: &mut Rows) {
    rows.pipe::<N, Slots<N>>("floor: fixed slots", Kind::Floor);
    rows.pipe_batches::<N, Slots<N>>("floor: fixed slots, batches", Kind::Floor);
}

struct Slots<const N: usize> {
    slots: Box<[UnsafeCell<[u8; N]>]>,
    /// Messages written so far; the slots `read .. written` belong to the outlet, all others to the inlet.
    written: Apart<AtomicUsize>,
    read: Apart<AtomicUsize>,
}

// SAFETY: a slot is reached through the one inlet and the one outlet only, and `written` and `read` say which of the
// two it belongs to; each passes slots on by a Release store that the other loads with Acquire.
unsafe impl<const N: usize> Sync for Slots<N> {}

impl<const N: usize> Slots<N> {
    #[inline(always)]
    fn slot(&self, index: usize) -> *mut [u8; N] {
        // SAFETY: their number is a power of two, so a masked index is below it.
        unsafe { self.slots.get_unchecked(index & (self.slots.len() - 1)) }.get()
    }
}

struct SlotInlet<'a, const N: usize> {
    ring: &'a Slots<N>,
    written: usize,
    /// Where the ring would be full, as far as known.
    limit: usize,
}

struct SlotOutlet<'a, const N: usize> {
    ring: &'a Slots<N>,
    read: usize,
}

impl<const N: usize> Queue<N, 1, 1> for Slots<N> {
    type Inlet<'a> = SlotInlet<'a, N>;
    type Outlet<'a> = SlotOutlet<'a, N>;

    fn with_capacity(messages: usize) -> Self {
        assert!(messages.is_power_of_two(), "slots are found by masking");
        Self {
            slots: (0..messages).map(|_| UnsafeCell::new([0; N])).collect(),
            written: Apart::default(),
            read: Apart::default(),
        }
    }

    fn split(&mut self) -> ([Self::Inlet<'_>; 1], [Self::Outlet<'_>; 1]) {
        let limit = self.slots.len();
        let ring = &*self;
        ([SlotInlet { ring, written: 0, limit }], [SlotOutlet { ring, read: 0 }])
    }
}

impl<const N: usize> Inlet<N> for SlotInlet<'_, N> {
    #[inline(always)]
    fn try_send(&mut self, messages: &Messages<'_, N>, index: usize) -> bool {
        self.try_send_batch(messages, index, 1) == 1
    }

    #[inline(always)]
    fn try_send_batch(&mut self, messages: &Messages<'_, N>, first: usize, most: usize) -> usize {
        if self.written == self.limit {
            self.limit = self.ring.read.0.load(Ordering::Acquire) + self.ring.slots.len();
        }
        let count = most.min(self.limit - self.written);
        for index in first..first + count {
            // SAFETY: `written < limit`, so the outlet has given this slot back and will not look at it before
            // `written` has been stored below.
            unsafe { *self.ring.slot(self.written) = *messages.fixed(index) };
            self.written += 1;
        }
        if count > 0 {
            self.ring.written.0.store(self.written, Ordering::Release);
        }
        count
    }
}

impl<const N: usize> Outlet for SlotOutlet<'_, N> {
    #[inline(always)]
    fn try_take(&mut self, sum: &mut Sum) -> usize {
        let written = self.ring.written.0.load(Ordering::Acquire);
        let count = written - self.read;
        while self.read != written {
            // SAFETY: `read < written`, so the inlet has finished this slot and will not write to it before `read` has
            // been stored below.
            sum.see(unsafe { &*self.ring.slot(self.read) });
            self.read += 1;
        }
        if count > 0 {
            self.ring.read.0.store(self.read, Ordering::Release);
        }
        count
    }
}
