//! A journal that threads share: who syncs for whom, what is stored when a call returns, and who is told when that fails.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![cfg(all(feature = "durable", feature = "std", not(loom)))]

mod common;
#[cfg(unix)]
#[path = "common/folder.rs"]
mod folder;

use common::crew;
use fabric_mq::clock::{ManualClock, SystemClock};
use fabric_mq::durable::{
    FlushPolicy, Geometry, Journal, JournalConfig, Level, MediumError, SharedJournal, SplitSync, Store, StoreError,
};
use fabric_mq::{Offset, Ticks};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const SEGMENT: u32 = 16 << 10;
const SEGMENTS: u32 = 16;

type Bytes = Arc<Mutex<Vec<u8>>>;

/// A medium that keeps everything in memory until it is synced; `stored` is what a power cut leaves.
struct Medium {
    cached: Vec<u8>,
    stored: Bytes,
    how: How,
}

/// What a sync does.
#[derive(Clone)]
enum How {
    Takes(Duration),
    /// Says that it waits, and waits to be told how it ends.
    Asks(Sender<()>, Arc<Mutex<Receiver<Result<(), MediumError>>>>),
    Panics,
}

impl How {
    fn ends(&self) -> Result<(), MediumError> {
        match self {
            Self::Takes(time) => {
                thread::sleep(*time);
                Ok(())
            }
            Self::Asks(begun, end) => {
                begun.send(()).unwrap();
                end.lock().unwrap().recv_timeout(Duration::from_secs(60)).expect("the test says how it ends")
            }
            Self::Panics => panic!("the medium's mistake"),
        }
    }
}

impl Medium {
    fn new(how: How) -> Self {
        let cached = vec![0; (SEGMENT * SEGMENTS) as usize];
        Self { stored: Arc::new(Mutex::new(cached.clone())), cached, how }
    }

    /// What the power left.
    fn left(bytes: &Bytes) -> Self {
        let cached = bytes.lock().unwrap().clone();
        Self { stored: Arc::new(Mutex::new(cached.clone())), cached, how: How::Takes(Duration::ZERO) }
    }
}

impl Store for Medium {
    fn geometry(&self) -> Geometry {
        Geometry::files(SEGMENTS, SEGMENT)
    }

    fn read(&mut self, segment: u32, at: u32, into: &mut [u8]) -> Result<(), MediumError> {
        into.copy_from_slice(&self.cached[(segment * SEGMENT + at) as usize..][..into.len()]);
        Ok(())
    }

    fn program(&mut self, segment: u32, at: u32, bytes: &[u8]) -> Result<(), MediumError> {
        self.cached[(segment * SEGMENT + at) as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn erase(&mut self, _: u32) -> Result<(), MediumError> {
        Ok(())
    }

    fn sync(&mut self) -> Result<(), MediumError> {
        self.stored.lock().unwrap().copy_from_slice(&self.cached);
        Ok(())
    }

    fn nonce(&mut self) -> u64 {
        static NONCE: AtomicU64 = AtomicU64::new(1);
        NONCE.fetch_add(1, Ordering::Relaxed)
    }
}

impl SplitSync for Medium {
    type Pending = (Vec<u8>, Bytes, How);

    fn begin_sync(&mut self) -> Result<Self::Pending, MediumError> {
        Ok((self.cached.clone(), Arc::clone(&self.stored), self.how.clone()))
    }

    fn wait((bytes, stored, how): &Self::Pending) -> Result<(), MediumError> {
        how.ends()?;
        stored.lock().unwrap().copy_from_slice(bytes);
        Ok(())
    }

    fn end_sync(&mut self, _: Self::Pending, done: Result<(), MediumError>) -> Result<(), MediumError> {
        done
    }
}

type Log = Journal<Medium, 1, 1>;
type Shared<K> = SharedJournal<Medium, K, 1, 1>;

fn shared(how: How, policy: FlushPolicy) -> (Shared<SystemClock>, Bytes) {
    let log = Log::format(Medium::new(How::Takes(Duration::ZERO)), JournalConfig::new(1)).unwrap();
    let mut store = log.into_store();
    store.how = how;
    let stored = Arc::clone(&store.stored);
    (SharedJournal::new(Log::open(store).unwrap(), policy, SystemClock::new()), stored)
}

fn next_of(stored: &Bytes) -> u64 {
    Log::open(Medium::left(stored)).unwrap().span(0).unwrap().1.value()
}

/// The more wait, the more share a sync; and whatever is acknowledged is on the medium at that very moment.
#[test]
fn records_share_syncs() {
    let mut shares = Vec::new();
    for threads in [1, 4, 16] {
        let (journal, stored) = shared(How::Takes(Duration::from_millis(2)), FlushPolicy::Record);
        let told = AtomicU64::new(0);
        crew(|crew| {
            for _ in 0..threads {
                crew.spawn(|| {
                    for _ in 0..40 {
                        let done = journal.append(0, 0, &[b"a record of some bytes"]).unwrap();
                        assert_eq!(done.level(), Level::Durable);
                        told.fetch_max(done.offset().value() + 1, Ordering::SeqCst);
                        if done.offset().value() % 16 == 0 {
                            let told = told.load(Ordering::SeqCst);
                            let next = next_of(&stored);
                            assert!(next >= told, "{next} of {told}");
                        }
                    }
                });
            }
        });
        let stats = journal.stats();
        assert_eq!((stats.writes, stats.durable), (threads * 40, threads * 40));
        assert_eq!(next_of(&stored), threads * 40);
        shares.push(stats.writes as f64 / stats.syncs as f64);
        println!("{threads} threads: {:.1} records a sync, {stats:?}", shares.last().unwrap());
    }
    assert!(shares[0] <= 1.0 && shares[1] > 1.3 && shares[2] > 2.0 * shares[1], "{shares:?}");
}

fn asking() -> (How, Receiver<()>, Sender<Result<(), MediumError>>) {
    let (begun, is_begun) = channel();
    let (end, ends) = channel();
    (How::Asks(begun, Arc::new(Mutex::new(ends))), is_begun, end)
}

#[test]
fn nobody_waits_for_the_lock_while_the_medium_is_waited_for() {
    let (how, begun, end) = asking();
    let (journal, stored) = shared(how, FlushPolicy::Manual);
    crew(|crew| {
        let first = crew.start(|| journal.append(0, 0, &[b"first"]));
        begun.recv().unwrap();
        // The first one is still on its way.
        for number in 1..=3 {
            let done = journal.append_with(Level::Accepted, 0, 0, &[b"more"]).unwrap();
            assert_eq!((done.offset(), done.level()), (Offset::new(number), Level::Accepted));
        }
        assert_eq!((journal.stats().writes, journal.stats().durable), (4, 0));
        end.send(Ok(())).unwrap();
        assert_eq!(first.join().unwrap().unwrap().level(), Level::Durable);
        // What came meanwhile is not on the medium, and nobody says so.
        assert_eq!((next_of(&stored), journal.stats().durable), (1, 1));
        let all = crew.start(|| journal.sync());
        begun.recv().unwrap();
        end.send(Ok(())).unwrap();
        all.join().unwrap().unwrap();
        assert_eq!((next_of(&stored), journal.stats().durable), (4, journal.stats().writes));
    });
}

#[test]
fn everybody_is_told_of_a_sync_that_failed() {
    for fails in [Err(MediumError::Io(5)), Err(MediumError::Failed)] {
        let (how, begun, end) = asking();
        let (journal, stored) = shared(how, FlushPolicy::Record);
        crew(|crew| {
            let waiters: Vec<_> = (0..6).map(|_| crew.start(|| journal.append(0, 0, &[b"lost"]))).collect();
            begun.recv().unwrap();
            while journal.stats().writes < 6 {
                thread::yield_now();
            }
            end.send(fails).unwrap();
            // It ends well the next time: nothing is made up for by that.
            end.send(Ok(())).unwrap();
            let told: Vec<_> = waiters.into_iter().map(|waiter| waiter.join().unwrap().unwrap_err()).collect();
            let first = StoreError::Medium(fails.unwrap_err());
            assert_eq!(told.iter().filter(|error| **error == first).count(), 1, "{told:?}");
            let poisoned = StoreError::Medium(MediumError::Poisoned);
            assert_eq!(told.iter().filter(|error| **error == poisoned).count(), 5, "{told:?}");
            assert_eq!(journal.append_with(Level::Accepted, 0, 0, &[b"later"]), Err(poisoned));
            assert_eq!((journal.sync(), journal.stats().durable), (Err(poisoned), 0));
        });
        assert_eq!(next_of(&stored), 0);
    }
}

#[test]
fn a_medium_that_panics_holds_nobody_up() {
    let (journal, _) = shared(How::Panics, FlushPolicy::Record);
    crew(|crew| {
        let first = crew.start(|| {
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| journal.append(0, 0, &[b"first"])));
            assert!(caught.is_err());
        });
        first.join().unwrap();
    });
    assert_eq!(journal.append(0, 0, &[b"second"]), Err(StoreError::Medium(MediumError::Poisoned)));
}

#[test]
fn policies_say_when_records_that_nobody_waits_for_are_synced() {
    let accepted = |policy, count: usize| {
        let (journal, stored) = shared(How::Takes(Duration::ZERO), policy);
        let levels: Vec<Level> =
            (0..count).map(|_| journal.append_with(Level::Accepted, 0, 0, &[&[7; 10]]).unwrap().level()).collect();
        (levels, next_of(&stored))
    };
    let [a, d] = [Level::Accepted, Level::Durable];
    assert_eq!(accepted(FlushPolicy::Record, 3), (vec![d, d, d], 3));
    assert_eq!(accepted(FlushPolicy::Records(3), 5), (vec![a, a, d, a, a], 3));
    assert_eq!(accepted(FlushPolicy::Bytes(20), 5), (vec![a, d, a, d, a], 4));
    assert_eq!(accepted(FlushPolicy::Manual, 5), (vec![a; 5], 0));
    let hour = Ticks::from_millis(3_600_000);
    assert_eq!(accepted(FlushPolicy::Interval(hour), 5), (vec![a; 5], 0));

    let clock = Arc::new(ManualClock::new());
    let log = Log::format(Medium::new(How::Takes(Duration::ZERO)), JournalConfig::new(1)).unwrap();
    let journal: Shared<_> = SharedJournal::new(log, FlushPolicy::Interval(Ticks::from_millis(10)), Arc::clone(&clock));
    assert_eq!(journal.flush_due(), Ok(None));
    let level = |journal: &Shared<_>| journal.append_with(Level::Accepted, 0, 0, &[b"x"]).unwrap().level();
    assert_eq!(level(&journal), a);
    assert_eq!(journal.flush_due(), Ok(Some(Ticks::from_millis(10))));
    clock.advance(Ticks::from_millis(9));
    assert_eq!((level(&journal), journal.stats().durable), (a, 0));
    clock.advance(Ticks::from_millis(1));
    assert_eq!((journal.flush_due(), journal.stats().durable), (Ok(None), 2));
    assert_eq!(level(&journal), a);
    clock.advance(Ticks::from_millis(10));
    assert_eq!((level(&journal), journal.stats().durable), (d, 4));
}

#[test]
fn batches_commits_and_all_else_are_shared_too() {
    let (journal, stored) = shared(How::Takes(Duration::ZERO), FlushPolicy::Manual);
    let cursor = journal.with(|journal| journal.join(0, "a")).unwrap();
    let batch = journal.append_batch(Level::Durable, 0, 0, &[b"one", b"two"]).unwrap();
    assert_eq!((batch.offset(), batch.level()), (Offset::new(0), Level::Durable));
    let mut buffer = [0; 16];
    assert_eq!(journal.next(cursor, &mut buffer).unwrap().unwrap().body(), b"one");
    assert_eq!(journal.commit(Level::Accepted, cursor, Offset::new(1)), Ok(Level::Accepted));
    let committed = || {
        let log = Log::open(Medium::left(&stored)).unwrap();
        log.committed(log.find(0, "a").unwrap()).unwrap().value()
    };
    assert_eq!(committed(), 0);
    journal.sync().unwrap();
    assert_eq!(committed(), 1);
    assert_eq!(journal.commit(Level::Durable, cursor, Offset::new(2)), Ok(Level::Durable));
    assert_eq!(committed(), 2);
    let too_large = journal.append(0, 0, &[&vec![0; SEGMENT as usize]]);
    assert!(matches!(too_large, Err(StoreError::TooLarge { .. })), "{too_large:?}");
    assert_eq!(journal.into_journal().span(0), Some((Offset::new(2), Offset::new(2))));
}

/// On real files: what threads append while others sync is all there, in order, segment after segment.
#[cfg(unix)]
#[test]
fn threads_share_files() {
    use fabric_mq::durable::{FileConfig, FileStore};

    let folder = folder::Folder::new("shared-journal");
    let config = FileConfig::new().with_segments(64).with_segment_bytes(8 << 10);
    let store = FileStore::open(&folder.0, config).unwrap();
    let journal: Journal<_, 1, 1> = Journal::format(store, JournalConfig::new(1)).unwrap();
    let journal = SharedJournal::new(journal, FlushPolicy::Record, SystemClock::new());
    let cursor = journal.with(|journal| journal.join(0, "a")).unwrap();
    crew(|crew| {
        for thread in 0..8_u8 {
            let journal = &journal;
            crew.spawn(move || {
                for number in 0..250_u8 {
                    journal.append(0, thread, &[&[number; 100]]).unwrap();
                }
            });
        }
    });
    let stats = journal.stats();
    println!("files: {:.1} records a sync, {stats:?}", stats.writes as f64 / stats.syncs as f64);
    drop(journal);
    let mut journal: Journal<_, 1, 1> = Journal::open(FileStore::open(&folder.0, config).unwrap()).unwrap();
    assert_eq!((journal.recovery().damage, journal.recovery().torn), (None, None));
    let mut seen = [0_u8; 8];
    let mut buffer = [0; 128];
    while let Some(record) = journal.next(cursor, &mut buffer).unwrap() {
        let expected = &mut seen[usize::from(record.tag())];
        assert_eq!(record.body(), [*expected; 100]);
        *expected += 1;
    }
    assert_eq!(seen, [250; 8]);
}
