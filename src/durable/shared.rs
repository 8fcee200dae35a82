//! A journal that many threads append to: whoever comes first syncs for all who wait.

use super::error::{FetchError, StoreError};
use super::journal::{CursorId, Journal, Stand};
use super::read::Stored;
use super::store::{MediumError, SplitSync, Store};
use crate::platform::clock::Clock;
use crate::platform::monitor::{Held, Monitor};
use crate::types::{Offset, Ticks};
use core::fmt;

/// After so many syncs in a row with something written meanwhile, one is waited for with the journal held: what is written
/// next then stands behind a sync, by which damage before it is told from a torn tail.
const APART: u32 = 8;

/// How far a record is when a call returns.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Level {
    /// The journal has it; a power cut may take it, and all records behind it.
    Accepted,
    /// It is on the medium.
    #[default]
    Durable,
}

/// When a [`SharedJournal`] syncs what nobody waits for: records that were asked to be [`Level::Accepted`] only. Whoever
/// asks for [`Level::Durable`] has it synced at once, together with all before it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum FlushPolicy {
    /// Each record, before the call returns: there is no level but durable.
    #[default]
    Record,
    /// When so many records are not synced, by whoever appends the last one of them.
    Records(u32),
    /// When so many bytes of bodies are not synced.
    Bytes(usize),
    /// When the first record that is not synced is so old: by whoever appends then, or calls
    /// [`SharedJournal::flush_due`].
    Interval(Ticks),
    /// Only by [`SharedJournal::sync`], and together with records that are waited for.
    Manual,
}

/// What was appended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Appended {
    offset: Offset,
    level: Level,
}

impl Appended {
    /// The record's offset; of a batch, that of the first one.
    #[must_use]
    pub const fn offset(&self) -> Offset {
        self.offset
    }

    /// How far it is: at least what was asked for.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }
}

/// What a [`SharedJournal`] has done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct SharedStats {
    /// Calls that wrote something: records, batches, commits.
    pub writes: u64,
    /// How many of these are on the medium.
    pub durable: u64,
    /// Syncs of the medium.
    pub syncs: u64,
    /// How many of these were waited for with the journal held.
    pub held: u64,
}

/// A [`Journal`] for many threads.
///
/// Appending copies a record into the journal under a lock. A sync does not hold that lock: one of those who wait for
/// their records (the leader) waits for the medium, for all records that were there when it started, while others append
/// more; then the next one does the same for those. So the more threads there are, the more records share a sync. (Only after
/// eight such syncs in a row, one holds the lock: see `layout` on frames that are *after sync*. What damage took of the
/// records since then may pass for what a power cut took.)
///
/// If a write or a sync fails, everybody who waits is told, and so is everybody who calls later: nothing is acknowledged
/// any more. Open the journal again.
///
/// It takes no heap of its own. Calls wait for the lock, and, as their level says, for the medium.
///
/// ```
/// use fabric_mq::clock::SystemClock;
/// use fabric_mq::durable::{
///     FileConfig, FileStore, FlushPolicy, Journal, JournalConfig, Level, SharedJournal,
/// };
///
/// # #[cfg(unix)] {
/// # let directory = std::env::temp_dir().join(format!("fabric-mq-doc-shared-{}", std::process::id()));
/// # std::fs::remove_dir_all(&directory).ok();
/// let config = FileConfig::new().with_segment_bytes(1 << 20).with_segments(8);
/// let store = FileStore::open(&directory, config)?;
/// let journal: Journal<_, 1, 1> = Journal::format(store, JournalConfig::new(7))?;
/// let journal = SharedJournal::new(journal, FlushPolicy::Records(1000), SystemClock::new());
///
/// std::thread::scope(|scope| {
///     for _ in 0..4 {
///         scope.spawn(|| journal.append(0, 0, &[b"stored when this returns"]).unwrap());
///     }
/// });
/// let quick = journal.append_with(Level::Accepted, 0, 0, &[b"perhaps not yet"])?;
/// assert_eq!((quick.offset().value(), quick.level()), (4, Level::Accepted));
/// journal.sync()?;
/// assert_eq!(journal.stats().durable, 5);
/// # std::fs::remove_dir_all(&directory).ok();
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SharedJournal<S, K, const P: usize = 4, const C: usize = 4> {
    inner: Monitor<Inner<S, P, C>>,
    policy: FlushPolicy,
    clock: K,
}

struct Inner<S, const P: usize, const C: usize> {
    journal: Journal<S, P, C>,
    stats: SharedStats,
    /// Since the last sync began: records, bytes of bodies, when the first one came.
    records: u32,
    bytes: usize,
    since: Option<Ticks>,
    /// Somebody waits for the medium.
    is_syncing: bool,
    /// Syncs in a row with something written meanwhile.
    apart: u32,
}

impl<S: SplitSync, K: Clock, const P: usize, const C: usize> SharedJournal<S, K, P, C> {
    /// Lets threads share a journal.
    pub fn new(journal: Journal<S, P, C>, policy: FlushPolicy, clock: K) -> Self {
        let stats = SharedStats::default();
        let inner = Inner { journal, stats, records: 0, bytes: 0, since: None, is_syncing: false, apart: 0 };
        Self { inner: Monitor::new(inner), policy, clock }
    }

    /// Appends a record, and waits until it is on the medium.
    ///
    /// # Errors
    /// As [`Journal::append`] and [`Journal::sync`]. After [`StoreError::Medium`] the record may be stored or not: open the
    /// journal again to know.
    pub fn append(&self, partition: u8, tag: u8, parts: &[&[u8]]) -> Result<Appended, StoreError> {
        self.append_with(Level::Durable, partition, tag, parts)
    }

    /// Appends a record, and waits as long as the level says.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_with(&self, level: Level, partition: u8, tag: u8, parts: &[&[u8]]) -> Result<Appended, StoreError> {
        let bytes = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        self.write(level, 1, bytes, |journal| journal.append(partition, tag, parts))
    }

    /// Appends records, all or none of them, and waits as long as the level says.
    ///
    /// # Errors
    /// As [`append`](Self::append); all of them together must fit one segment.
    pub fn append_batch(&self, level: Level, partition: u8, tag: u8, bodies: &[&[u8]]) -> Result<Appended, StoreError> {
        let bytes = bodies.iter().fold(0_usize, |sum, body| sum.saturating_add(body.len()));
        let records = u32::try_from(bodies.len()).unwrap_or(u32::MAX);
        self.write(level, records, bytes, |journal| journal.append_batch(partition, tag, bodies))
    }

    /// Notes that a cursor is done with everything before `offset`, and waits as long as the level says.
    ///
    /// # Errors
    /// As [`Journal::commit`] and [`Journal::sync`].
    pub fn commit(&self, level: Level, cursor: CursorId, offset: Offset) -> Result<Level, StoreError> {
        let done = self.write(level, 0, 0, |journal| journal.commit(cursor, offset).map(|()| offset))?;
        Ok(done.level)
    }

    /// Reads a cursor's next record, also one that is not on the medium yet.
    ///
    /// # Errors
    /// As [`Journal::next`].
    pub fn next<'b>(&self, cursor: CursorId, buffer: &'b mut [u8]) -> Result<Option<Stored<'b>>, FetchError> {
        self.inner.enter().journal.next(cursor, buffer)
    }

    /// Does anything else with the journal, which is held meanwhile. What `act` writes is synced with what comes next, or by
    /// [`sync`](Self::sync).
    pub fn with<R>(&self, act: impl FnOnce(&mut Journal<S, P, C>) -> R) -> R {
        let mut inner = self.inner.enter();
        let done = act(&mut inner.journal);
        if !inner.journal.is_synced() {
            inner.wrote(0, 0, || self.clock.now());
        }
        done
    }

    /// Waits until everything so far is on the medium.
    ///
    /// # Errors
    /// As [`Journal::sync`].
    pub fn sync(&self) -> Result<(), StoreError> {
        let mut inner = self.inner.enter();
        if inner.journal.is_synced() {
            // Unless it has failed.
            return inner.journal.sync();
        }
        let nth = match inner.stats.writes {
            // What was not written by this value.
            known if known == inner.stats.durable => inner.wrote(0, 0, || self.clock.now()),
            writes => writes,
        };
        self.wait_until(inner, nth)
    }

    /// Syncs if the policy is [`FlushPolicy::Interval`] and it is time to. Answers when it will be, if anything is not synced:
    /// call it again then.
    ///
    /// # Errors
    /// As [`Journal::sync`].
    pub fn flush_due(&self) -> Result<Option<Ticks>, StoreError> {
        let inner = self.inner.enter();
        let (FlushPolicy::Interval(interval), Some(since)) = (self.policy, inner.since) else { return Ok(None) };
        let due = Ticks::from_millis(since.as_millis().saturating_add(interval.as_millis()));
        if self.clock.now() < due {
            return Ok(Some(due));
        }
        let nth = inner.stats.writes;
        self.wait_until(inner, nth)?;
        Ok(None)
    }

    /// What it has done.
    pub fn stats(&self) -> SharedStats {
        self.inner.enter().stats
    }

    /// Gives the journal back.
    pub fn into_journal(self) -> Journal<S, P, C> {
        self.inner.into_inner().journal
    }

    /// Writes something, and waits as long as the level and the policy say.
    fn write(
        &self,
        level: Level,
        records: u32,
        bytes: usize,
        act: impl FnOnce(&mut Journal<S, P, C>) -> Result<Offset, StoreError>,
    ) -> Result<Appended, StoreError> {
        let mut inner = self.inner.enter();
        let offset = act(&mut inner.journal)?;
        let nth = inner.wrote(records, bytes, || self.clock.now());
        let is_due = level == Level::Durable
            || match self.policy {
                FlushPolicy::Record => true,
                FlushPolicy::Records(most) => inner.records >= most,
                FlushPolicy::Bytes(most) => inner.bytes >= most,
                FlushPolicy::Interval(most) => inner.since.is_some_and(|since| {
                    self.clock.now().as_millis().saturating_sub(since.as_millis()) >= most.as_millis()
                }),
                FlushPolicy::Manual => false,
            };
        if !is_due {
            return Ok(Appended { offset, level: Level::Accepted });
        }
        self.wait_until(inner, nth)?;
        Ok(Appended { offset, level: Level::Durable })
    }

    /// Waits until the `nth` write is on the medium: for somebody who syncs, or by doing it.
    fn wait_until<'i>(&'i self, mut inner: Held<'i, Inner<S, P, C>>, nth: u64) -> Result<(), StoreError> {
        while inner.stats.durable < nth {
            if inner.is_syncing {
                inner = self.inner.wait(inner);
                // What this one waits for was not synced, or the next one has to.
                continue;
            }
            inner = self.lead(inner)?;
        }
        Ok(())
    }

    /// Syncs everything there is now, for all who wait.
    fn lead<'i>(&'i self, mut inner: Held<'i, Inner<S, P, C>>) -> Result<Held<'i, Inner<S, P, C>>, StoreError> {
        let upto = inner.stats.writes;
        (inner.records, inner.bytes, inner.since) = (0, 0, None);
        if inner.apart >= APART {
            // Nobody writes meanwhile.
            let done = inner.journal.sync();
            inner.apart = 0;
            inner.stats.held = inner.stats.held.wrapping_add(1);
            return self.arrived(inner, upto, done);
        }
        let pending = match inner.journal.begin_sync() {
            Ok(Some(pending)) => pending,
            Ok(None) => return self.arrived(inner, upto, Ok(())),
            Err(error) => return self.arrived(inner, upto, Err(error)),
        };
        inner.is_syncing = true;
        drop(inner);
        let leading = Leading { monitor: &self.inner };
        let done = S::wait(&pending.0);
        core::mem::forget(leading);
        let mut inner = self.inner.enter();
        inner.is_syncing = false;
        let done = inner.journal.end_sync(pending, done).map(|is_all| {
            inner.apart = if is_all { 0 } else { inner.apart.saturating_add(1) };
        });
        self.arrived(inner, upto, done)
    }

    /// Tells all who wait what became of a sync.
    fn arrived<'i>(
        &self,
        mut inner: Held<'i, Inner<S, P, C>>,
        upto: u64,
        done: Result<(), StoreError>,
    ) -> Result<Held<'i, Inner<S, P, C>>, StoreError> {
        // If it failed, each of them tries, and is told by the journal that it has.
        if done.is_ok() {
            inner.stats.durable = upto;
            inner.stats.syncs = inner.stats.syncs.wrapping_add(1);
        }
        self.inner.ring();
        done.map(|()| inner)
    }
}

impl<S, const P: usize, const C: usize> Inner<S, P, C> {
    /// Counts what was written; answers the how many-th write it was.
    fn wrote(&mut self, records: u32, bytes: usize, now: impl FnOnce() -> Ticks) -> u64 {
        self.stats.writes = self.stats.writes.wrapping_add(1);
        self.records = self.records.saturating_add(records);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.since.is_none() {
            self.since = Some(now());
        }
        self.stats.writes
    }
}

/// Held while the medium is waited for. Dropped only if waiting panics: then nobody knows what is stored.
struct Leading<'m, S: SplitSync, const P: usize, const C: usize> {
    monitor: &'m Monitor<Inner<S, P, C>>,
}

impl<S: SplitSync, const P: usize, const C: usize> Drop for Leading<'_, S, P, C> {
    fn drop(&mut self) {
        let mut inner = self.monitor.enter();
        inner.is_syncing = false;
        inner.journal.fail();
        self.monitor.ring();
    }
}

impl<S, K, const P: usize, const C: usize> fmt::Debug for SharedJournal<S, K, P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner.enter();
        f.debug_struct("SharedJournal")
            .field("policy", &self.policy)
            .field("stats", &inner.stats)
            .field("journal", &inner.journal)
            .finish_non_exhaustive()
    }
}

/// Where the journal ended when a sync began.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Upto {
    number: u32,
    at: u32,
}

/// What a sync that others need not wait for asks of the journal.
impl<S: Store, const P: usize, const C: usize> Journal<S, P, C> {
    /// Sends what is not synced on its way; `None` if there is nothing. The second part is to be given back with the first.
    fn begin_sync(&mut self) -> Result<Option<(S::Pending, Upto)>, StoreError>
    where
        S: SplitSync,
    {
        if self.stand == Stand::Failed {
            return Err(StoreError::Medium(MediumError::Poisoned));
        }
        if self.tail.synced {
            return Ok(None);
        }
        let begun = self.media.store.begin_sync();
        let pending = self.watched(begun)?;
        Ok(Some((pending, Upto { number: self.tail.number, at: self.tail.at })))
    }

    /// Notes that what was on its way has arrived, or not. Answers whether nothing was written since.
    fn end_sync(
        &mut self,
        (pending, upto): (S::Pending, Upto),
        done: Result<(), MediumError>,
    ) -> Result<bool, StoreError>
    where
        S: SplitSync,
    {
        let ended = self.media.store.end_sync(pending, done);
        self.watched(ended)?;
        let is_all = upto == Upto { number: self.tail.number, at: self.tail.at };
        // What was written since is not on the medium: the next frame does not stand behind a sync.
        self.tail.synced |= is_all;
        Ok(is_all)
    }

    /// Nothing more is written: what became of the last writes is not known.
    const fn fail(&mut self) {
        self.stand = Stand::Failed;
    }

    /// Whether everything so far is on the medium.
    const fn is_synced(&self) -> bool {
        self.tail.synced
    }
}
