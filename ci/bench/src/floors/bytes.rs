//! memcpy of a length unknown to the compiler into a ring of bytes, behind a length prefix.

use std::cell::UnsafeCell;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Apart;
use crate::messages::{Messages, Sum};
use crate::queue::{Inlet, Outlet, Queue};
use crate::registry::{Kind, Rows};

pub fn register<const N: usize>(rows: &mut Rows) {
    rows.pipe::<N, Bytes>("floor: byte ring", Kind::Floor);
    rows.pipe_batches::<N, Bytes>("floor: byte ring, batches", Kind::Floor);
    rows.broadcast::<N, Bytes>("floor: byte ring", Kind::Floor);
    rows.broadcast_batches::<N, Bytes>("floor: byte ring, batches", Kind::Floor);
    rows.funnel::<N, BytesEach>("floor: byte ring per producer", Kind::Floor);
    rows.funnel_batches::<N, BytesEach>("floor: byte ring per producer, batches", Kind::Floor);
}

/// Length prefix, padded so that payloads are aligned to words.
const PREFIX: usize = size_of::<u64>();

/// Stands where a length would, when the rest of the ring is too short for the next record.
const SKIP: u64 = u64::MAX;

const fn record(length: usize) -> usize {
    PREFIX + length.next_multiple_of(PREFIX)
}

/// A ring of bytes, with as many outlets as it has positions in `read`; each sees every message.
struct Bytes {
    words: Box<[UnsafeCell<u64>]>,
    /// Bytes written so far, the skipped ones included; those from the smallest of `read` on belong to the outlets, all
    /// others to the inlet.
    written: Apart<AtomicUsize>,
    read: Box<[Apart<AtomicUsize>]>,
}

// SAFETY: the bytes are reached through the one inlet and the outlets only, the latter never write, and `written` and
// `read` say whom they belong to; each side passes them on by a Release store that the other loads with Acquire.
unsafe impl Sync for Bytes {}

impl Bytes {
    fn new(size: usize, outlets: usize) -> Self {
        Self {
            words: (0..size / PREFIX).map(|_| UnsafeCell::new(0)).collect(),
            written: Apart::default(),
            read: (0..outlets).map(|_| Apart::default()).collect(),
        }
    }

    fn size(&self) -> usize {
        self.words.len() * PREFIX
    }

    #[inline(always)]
    fn base(&self) -> *mut u8 {
        UnsafeCell::raw_get(self.words.as_ptr()).cast()
    }

    fn inlet(&self) -> ByteInlet<'_> {
        ByteInlet { ring: self, written: 0, at: 0, limit: self.size() }
    }

    fn outlet(&self, which: usize) -> ByteOutlet<'_> {
        ByteOutlet { ring: self, which, read: 0, at: 0 }
    }
}

struct ByteInlet<'a> {
    ring: &'a Bytes,
    written: usize,
    /// `written`, less the whole laps.
    at: usize,
    /// Where the ring would be full, as far as known.
    limit: usize,
}

struct ByteOutlet<'a> {
    ring: &'a Bytes,
    which: usize,
    read: usize,
    at: usize,
}

impl ByteInlet<'_> {
    /// Room for `needed` more bytes?
    #[inline(always)]
    fn fits(&mut self, needed: usize) -> bool {
        if self.written + needed > self.limit {
            let slowest = self.ring.read.iter().map(|read| read.0.load(Ordering::Acquire)).min().unwrap_or(0);
            self.limit = slowest + self.ring.size();
        }
        self.written + needed <= self.limit
    }

    /// Copies a message in without publishing it.
    #[inline(always)]
    fn write(&mut self, message: &[u8]) -> bool {
        let needed = record(message.len());
        let rest = self.ring.size() - self.at;
        let skipped = if rest < needed { rest } else { 0 };
        if !self.fits(skipped + needed) {
            return false;
        }
        let base = self.ring.base();
        if skipped > 0 {
            // SAFETY: `at` is a multiple of 8 below the size, the ring being a whole number of words, and `fits` has
            // found these bytes to be the inlet's.
            unsafe { base.add(self.at).cast::<u64>().write(SKIP) };
            self.written += skipped;
            self.at = 0;
        }
        // SAFETY: `at + needed` does not exceed the size, `at` is a multiple of 8, and `fits` has found these bytes
        // to be the inlet's until it stores `written`.
        unsafe {
            let place = base.add(self.at);
            place.cast::<u64>().write(message.len() as u64);
            ptr::copy_nonoverlapping(message.as_ptr(), place.add(PREFIX), message.len());
        }
        self.written += needed;
        self.at += needed;
        if self.at == self.ring.size() {
            self.at = 0;
        }
        true
    }

    #[inline(always)]
    fn publish(&self) {
        self.ring.written.0.store(self.written, Ordering::Release);
    }
}

impl<const N: usize> Inlet<N> for ByteInlet<'_> {
    #[inline(always)]
    fn try_send(&mut self, messages: &Messages<'_, N>, index: usize) -> bool {
        let sent = self.write(messages.bytes(index));
        if sent {
            self.publish();
        }
        sent
    }

    #[inline(always)]
    fn try_send_batch(&mut self, messages: &Messages<'_, N>, first: usize, most: usize) -> usize {
        let mut sent = 0;
        while sent < most && self.write(messages.bytes(first + sent)) {
            sent += 1;
        }
        if sent > 0 {
            self.publish();
        }
        sent
    }
}

impl Outlet for ByteOutlet<'_> {
    #[inline(always)]
    fn try_take(&mut self, sum: &mut Sum) -> usize {
        let written = self.ring.written.0.load(Ordering::Acquire);
        if written == self.read {
            return 0;
        }
        let base = self.ring.base();
        let mut count = 0;
        while self.read != written {
            // SAFETY: `read < written`, so at `at` the inlet has finished a record or a mark to skip, and it will not
            // write there before `read` has been stored below.
            let length = unsafe { base.add(self.at).cast::<u64>().read() };
            if length == SKIP {
                self.read += self.ring.size() - self.at;
                self.at = 0;
                continue;
            }
            let length = length as usize;
            // SAFETY: as above; the inlet wrote `length` bytes behind the prefix.
            sum.see(unsafe { std::slice::from_raw_parts(base.add(self.at + PREFIX), length) });
            self.read += record(length);
            self.at += record(length);
            if self.at == self.ring.size() {
                self.at = 0;
            }
            count += 1;
        }
        self.ring.read[self.which].0.store(self.read, Ordering::Release);
        count
    }
}

impl<const N: usize, const C: usize> Queue<N, 1, C> for Bytes {
    type Inlet<'a> = ByteInlet<'a>;
    type Outlet<'a> = ByteOutlet<'a>;

    fn with_capacity(messages: usize) -> Self {
        Self::new(messages * record(N), C)
    }

    fn split(&mut self) -> ([Self::Inlet<'_>; 1], [Self::Outlet<'_>; C]) {
        let ring = &*self;
        ([ring.inlet()], std::array::from_fn(|which| ring.outlet(which)))
    }
}

/// A ring for each producer, polled in turn by one consumer.
struct BytesEach(Vec<Bytes>);

struct OutletOfAll<'a, const P: usize>([ByteOutlet<'a>; P]);

impl<const P: usize> Outlet for OutletOfAll<'_, P> {
    #[inline(always)]
    fn try_take(&mut self, sum: &mut Sum) -> usize {
        self.0.iter_mut().map(|outlet| outlet.try_take(sum)).sum()
    }
}

impl<const N: usize, const P: usize> Queue<N, P, 1> for BytesEach {
    type Inlet<'a> = ByteInlet<'a>;
    type Outlet<'a> = OutletOfAll<'a, P>;

    fn with_capacity(messages: usize) -> Self {
        Self((0..P).map(|_| Bytes::new(messages * record(N), 1)).collect())
    }

    fn split(&mut self) -> ([Self::Inlet<'_>; P], [Self::Outlet<'_>; 1]) {
        let rings = &*self.0;
        let outlets = std::array::from_fn(|producer| rings[producer].outlet(0));
        (std::array::from_fn(|producer| rings[producer].inlet()), [OutletOfAll(outlets)])
    }
}
