//! What the test files share: counts and seeds, memory that can be looked at, leases with a hook, and the format, written down a second time.
//!
//! Nothing here uses the crate's own constants: `image` follows the drawings of the memory format alone, so that a test
//! which forges or checks bytes does not inherit a mistake.

#![allow(dead_code, reason = "each test file uses a part of this")]

pub(crate) mod hooked;
pub(crate) mod image;

use fabric_mq::lease::{Exclusive, Lease, Trust};
use fabric_mq::{Epoch, LeaseError, LeaseId};
use std::alloc::Layout;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// `FABRIC_MQ_SCALE`: how many times the default counts are run.
pub(crate) fn scale() -> u64 {
    std::env::var("FABRIC_MQ_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(1).max(1)
}

/// `FABRIC_MQ_SEED`: the one run to replay.
pub(crate) fn replay() -> Option<u64> {
    let text = std::env::var("FABRIC_MQ_SEED").ok()?;
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    Some(parsed.expect("FABRIC_MQ_SEED is a number"))
}

/// Runs `run` with `count` seeds, or with the one to replay; says which one failed.
pub(crate) fn with_seeds(what: &str, first: u64, count: u64, mut run: impl FnMut(u64)) {
    if let Some(seed) = replay() {
        return run(seed);
    }
    for index in 0..count {
        let seed = Rng::new(first ^ index).next();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(seed)));
        if let Err(panic) = result {
            eprintln!("{what}: replay with FABRIC_MQ_SEED={seed:#x}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// Threads that borrow, each of them joined before this returns. (`std::thread::scope` alone waits in a way that the
/// thread sanitizer cannot see.)
pub(crate) struct Crew<'scope, 'env> {
    scope: &'scope std::thread::Scope<'scope, 'env>,
    handles: std::cell::RefCell<Vec<std::thread::ScopedJoinHandle<'scope, ()>>>,
}

impl<'scope> Crew<'scope, '_> {
    pub(crate) fn spawn(&self, task: impl FnOnce() + Send + 'scope) {
        self.handles.borrow_mut().push(self.scope.spawn(task));
    }

    /// One whose result is wanted: to be joined by the caller.
    pub(crate) fn start<R: Send + 'scope>(
        &self,
        task: impl FnOnce() -> R + Send + 'scope,
    ) -> std::thread::ScopedJoinHandle<'scope, R> {
        self.scope.spawn(task)
    }
}

pub(crate) fn crew<'env, R>(run: impl for<'scope> FnOnce(&Crew<'scope, 'env>) -> R) -> R {
    std::thread::scope(|scope| {
        let crew = Crew { scope, handles: std::cell::RefCell::default() };
        let result = run(&crew);
        for handle in crew.handles.into_inner() {
            if let Err(panic) = handle.join() {
                std::panic::resume_unwind(panic);
            }
        }
        result
    })
}

/// splitmix64: small, seeded, the same everywhere. Or a fuzzer's choices, as long as there are some.
#[derive(Clone, Debug)]
pub(crate) struct Rng {
    state: u64,
    choices: std::collections::VecDeque<u8>,
}

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed, choices: std::collections::VecDeque::new() }
    }

    pub(crate) fn of_choices(choices: &[u8]) -> Self {
        Self { state: 0, choices: choices.iter().copied().collect() }
    }

    /// Whether all of a fuzzer's choices are used up.
    pub(crate) fn is_spent(&self) -> bool {
        self.choices.is_empty()
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        match self.choices.pop_front() {
            // A choice is one byte, so that changing it changes this decision alone.
            Some(byte) => u64::from(byte) % end,
            None => self.next() % end,
        }
    }

    /// A number in `start..=end`.
    pub(crate) fn within(&mut self, start: u64, end: u64) -> u64 {
        start + self.below(end - start + 1)
    }

    pub(crate) fn size(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).expect("below a usize")
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.size(from.len())]
    }
}

/// `len` bytes that depend on `key` and on each place, so that no shifted or mixed copy passes.
pub(crate) fn payload(key: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fill(&mut bytes, key);
    bytes
}

/// Writes what [`payload`] answers.
pub(crate) fn fill(bytes: &mut [u8], key: u64) {
    let mut rng = Rng::new(key ^ 0x5bd1_e995_0000_0000 ^ bytes.len() as u64);
    for chunk in bytes.chunks_mut(8) {
        let word = rng.next().to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
}

/// Whether `bytes` are what [`payload`] answers.
pub(crate) fn is_payload(bytes: &[u8], key: u64) -> bool {
    let mut rng = Rng::new(key ^ 0x5bd1_e995_0000_0000 ^ bytes.len() as u64);
    bytes.chunks(8).all(|chunk| chunk == &rng.next().to_le_bytes()[..chunk.len()])
}

/// Memory of its own, aligned to 128, as a lease of any trust level. Can be looked at while a ring uses it, by the one
/// thread that does.
pub(crate) struct Owned<T: Trust = Exclusive> {
    base: NonNull<u8>,
    len: usize,
    epoch: Epoch,
    id: LeaseId,
    trust: PhantomData<fn() -> T>,
}

#[allow(unsafe_code, reason = "memory for tests")]
impl<T: Trust> Owned<T> {
    fn layout(len: usize) -> Layout {
        Layout::from_size_align(len.max(1), 128).expect("a small size")
    }

    /// Zeroed bytes.
    pub(crate) fn new(len: usize) -> Self {
        // SAFETY: the size is not 0.
        let base = unsafe { std::alloc::alloc_zeroed(Self::layout(len)) };
        let base = NonNull::new(base).expect("memory for a test");
        Self { base, len, epoch: Epoch::default(), id: LeaseId::default(), trust: PhantomData }
    }

    pub(crate) fn with_epoch(self, epoch: u32) -> Self {
        let mut this = self;
        this.epoch = Epoch::new(epoch);
        this
    }

    /// These bytes.
    pub(crate) fn of(image: &[u8]) -> Self {
        let mut this = Self::new(image.len());
        this.put(image);
        this
    }

    /// Overwrites all bytes.
    pub(crate) fn put(&mut self, image: &[u8]) {
        assert_eq!(image.len(), self.len);
        // SAFETY: as many bytes as were allocated; nobody else has them, since this is exclusive.
        unsafe { std::ptr::copy_nonoverlapping(image.as_ptr(), self.base.as_ptr(), image.len()) };
    }

    /// A copy of the bytes as they stand. To be called by the one thread that uses them.
    pub(crate) fn image(&self) -> Vec<u8> {
        let mut image = vec![0; self.len];
        // SAFETY: as many bytes as were allocated; nobody writes meanwhile, by the caller's promise.
        unsafe { std::ptr::copy_nonoverlapping(self.base.as_ptr(), image.as_mut_ptr(), self.len) };
        image
    }
}

// SAFETY: an address; tests that share it between threads do so by the ring's protocol or by atomics.
#[allow(unsafe_code, reason = "memory for tests")]
unsafe impl<T: Trust> Send for Owned<T> {}
// SAFETY: as above.
#[allow(unsafe_code, reason = "memory for tests")]
unsafe impl<T: Trust> Sync for Owned<T> {}

// SAFETY: its own allocation, aligned to 128, freed when it is dropped. Nobody else has the address but tests that say so.
#[allow(unsafe_code, reason = "memory for tests")]
unsafe impl<T: Trust> Lease for Owned<T> {
    type Trust = T;

    fn base(&self) -> NonNull<u8> {
        self.base
    }
    fn len(&self) -> usize {
        self.len
    }
    fn id(&self) -> LeaseId {
        self.id
    }
    fn epoch(&self) -> Epoch {
        self.epoch
    }
    fn check(&self) -> Result<(), LeaseError> {
        Ok(())
    }
}

impl<T: Trust> Drop for Owned<T> {
    #[allow(unsafe_code, reason = "memory for tests")]
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { std::alloc::dealloc(self.base.as_ptr(), Self::layout(self.len)) };
    }
}

impl<T: Trust> std::fmt::Debug for Owned<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owned").field("len", &self.len).finish_non_exhaustive()
    }
}
