//! Waiting for records and messages: threads that sleep and tasks of any executor, and all that can come between.
//!
//! That nothing relies on looking again by itself is shown by a recheck of an hour: a wake-up that is lost is a test that
//! does not end, and a watchdog says so.

#![cfg(all(feature = "std", not(loom)))]
#![allow(clippy::multiple_unsafe_ops_per_block, reason = "one load through one pointer")]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use common::{Owned, crew, scale};
use fabric_mq::clock::{Clock, ManualClock, SystemClock};
use fabric_mq::consumer::{Consumer, PollError, SeekPolicy};
use fabric_mq::lease::{Exclusive, HeapPool, Lease, Pool, Trust, Untrusted};
use fabric_mq::offset::MemOffsetStore;
use fabric_mq::partition::FullPolicy;
use fabric_mq::producer::Producer;
use fabric_mq::ring::{AsyncReader, Bell, Deadline, Keep, Overwrite, Reader, Retain, Ring, RingConfig, Start, Writer};
use fabric_mq::topic::{StaticRings, StaticTopics, TopicConfig, TopicError, TopicManager};
use fabric_mq::{LeaseError, ReadError, Ticks, WaitError};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

const HOUR: Ticks = Ticks::from_millis(3_600_000);

const fn ms(ms: u64) -> Ticks {
    Ticks::from_millis(ms)
}

/// Runs a test that ends soon if no wake-up is lost. The threads of one that does not end are left behind.
#[track_caller]
fn ends<R: Send + 'static>(test: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, end) = mpsc::channel();
    let running = thread::spawn(move || {
        let result = test();
        let _ = done.send(());
        result
    });
    match end.recv_timeout(Duration::from_secs(60) * u32::try_from(scale()).unwrap()) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("somebody sleeps and nobody wakes them"),
        _ => running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}

fn ring<K: Keep, T: Trust>() -> Ring<Owned<T>, K> {
    let config = RingConfig::new(8, 256).with_readers(4);
    Ring::format(Owned::new(config.lease_bytes().unwrap()), config).unwrap()
}

fn joined<L: Lease, K: Keep>(ring: &Ring<L, K>) -> Reader<&Ring<L, K>> {
    Reader::join(ring, "main", Start::Earliest).unwrap()
}

// ---- threads on a ring

/// Ten thousand times there and back, each side asleep in between, without one look that nobody asked for.
fn ping_pong<K: Keep + Sync, T: Trust + 'static>() {
    let rounds = 10_000 * scale();
    ends(move || {
        let (there, back) = (ring::<K, T>(), ring::<K, T>());
        let never = Deadline::at(SystemClock::new(), Ticks::MAX).with_recheck(HOUR);
        crew(|crew| {
            crew.spawn(|| {
                let (mut reader, mut writer) = (joined(&there), Writer::claim(&back).unwrap());
                let mut buffer = [0; 8];
                for round in 0..rounds {
                    let ball = reader.wait_copy_next(&mut buffer, &never).unwrap().expect("no deadline");
                    assert_eq!((ball.offset().value(), u64::from_le_bytes(buffer)), (round, round));
                    writer.write(&buffer).unwrap();
                    writer.wake_readers();
                }
            });
            let (mut reader, mut writer) = (joined(&back), Writer::claim(&there).unwrap());
            let mut buffer = [0; 8];
            for round in 0..rounds {
                writer.write(&round.to_le_bytes()).unwrap();
                writer.wake_readers();
                assert!(reader.wait(&never).unwrap());
                reader.copy_next(&mut buffer).unwrap().expect("it waits");
                assert_eq!(u64::from_le_bytes(buffer), round);
            }
        });
    });
}

#[test]
fn ten_thousand_rounds_of_two_threads_need_no_recheck() {
    ping_pong::<Retain, Exclusive>();
}

#[test]
fn nor_where_others_reach_the_memory() {
    ping_pong::<Overwrite, Untrusted>();
}

#[test]
fn a_wait_ends_at_its_deadline_and_not_before() {
    let (ring, clock) = (ring::<Retain, Exclusive>(), SystemClock::new());
    let mut reader = joined(&ring);
    for (timeout, recheck) in [(0, 10), (1, 10), (30, 10), (30, 1), (60, 3_600_000)] {
        let deadline = Deadline::after(&clock, ms(timeout)).with_recheck(ms(recheck));
        let start = Instant::now();
        assert!(reader.wait_next(&deadline).unwrap().is_none());
        let took = start.elapsed();
        // The clock's milliseconds are whole ones: the first may be over already.
        assert!(took >= Duration::from_millis(timeout.saturating_sub(1)), "{took:?} of {timeout} ms");
        // A busy machine wakes late, but not by minutes.
        assert!(took < Duration::from_secs(20), "{took:?} of {timeout} ms");
    }
    // What has passed, on a clock that stands: a look.
    let clock = ManualClock::new();
    clock.set(ms(7));
    for at in [0, 6, 7] {
        assert!(!reader.wait(&Deadline::at(&clock, ms(at))).unwrap());
    }
    Writer::claim(&ring).unwrap().write(b"x").unwrap();
    assert!(reader.wait(&Deadline::at(&clock, ms(0))).unwrap(), "a look finds what is there");
}

#[test]
fn the_farthest_deadline_is_no_overflow() {
    ends(|| {
        let (ring, clock) = (ring::<Retain, Exclusive>(), SystemClock::new());
        crew(|crew| {
            for (name, deadline) in [
                ("a", Deadline::after(&clock, Ticks::MAX).with_recheck(Ticks::MAX)),
                ("b", Deadline::at(&clock, Ticks::MAX).with_recheck(HOUR)),
                ("c", Deadline::at(&clock, Ticks::from_millis(u64::MAX - 1)).with_recheck(Ticks::MAX)),
            ] {
                let mut reader = Reader::join(&ring, name, Start::Earliest).unwrap();
                crew.spawn(move || assert!(reader.wait(&deadline).unwrap()));
            }
            thread::sleep(Duration::from_millis(30));
            let mut writer = Writer::claim(&ring).unwrap();
            writer.write(b"x").unwrap();
            writer.wake_readers();
        });
    });
}

/// Whether the bell in the lease says that somebody waits.
#[allow(unsafe_code, reason = "a look at the bytes")]
fn is_awaited<T: Trust, K: Keep>(ring: &Ring<Owned<T>, K>) -> bool {
    // SAFETY: a word of the lease that all reach by atomics.
    let word = unsafe { ring.lease().base().add(68).cast::<AtomicU32>().as_ref() };
    word.load(Ordering::Relaxed) != 0
}

#[test]
fn rings_for_nothing_neither_end_a_wait_nor_prolong_it() {
    ends(|| {
        let (ring, clock) = (ring::<Retain, Exclusive>(), SystemClock::new());
        let done = AtomicBool::new(false);
        let rings = AtomicU64::new(0);
        crew(|crew| {
            crew.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let waits = is_awaited(&ring);
                    ring.wake_readers();
                    rings.fetch_add(u64::from(waits), Ordering::Relaxed);
                    thread::yield_now();
                }
            });
            let mut reader = joined(&ring);
            // As often as it takes a busy machine to ring in between.
            while rings.load(Ordering::Relaxed) < 10 {
                let start = Instant::now();
                let deadline = Deadline::after(&clock, ms(50)).with_recheck(HOUR);
                assert!(!reader.wait(&deadline).unwrap(), "there is no record");
                assert!(start.elapsed() >= Duration::from_millis(49));
            }
            done.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn a_clock_that_jumps_is_seen_at_the_next_recheck() {
    ends(|| {
        let (ring, clock) = (ring::<Retain, Exclusive>(), ManualClock::new());
        crew(|crew| {
            let waiting = crew.start(|| {
                let mut reader = joined(&ring);
                reader.wait(&Deadline::at(&clock, HOUR)).unwrap()
            });
            thread::sleep(Duration::from_millis(30));
            assert!(!waiting.is_finished(), "the clock stands");
            clock.set(Ticks::MAX);
            assert!(!waiting.join().unwrap());
        });
    });
}

#[test]
fn a_writer_that_does_not_ring_is_found_out_by_looking() {
    ends(|| {
        let (ring, clock) = (ring::<Retain, Exclusive>(), SystemClock::new());
        crew(|crew| {
            crew.spawn(|| {
                let mut reader = joined(&ring);
                let record = reader.wait_next(&Deadline::at(&clock, Ticks::MAX)).unwrap();
                assert_eq!(record.unwrap().payload(), b"quiet");
            });
            thread::sleep(Duration::from_millis(30));
            Writer::claim(&ring).unwrap().write(b"quiet").unwrap();
        });
    });
}

#[test]
fn a_lease_that_ends_is_told_to_who_sleeps() {
    ends(|| {
        let clock = Arc::new(ManualClock::new());
        let pool = HeapPool::new(Arc::clone(&clock));
        let config = RingConfig::new(8, 256);
        let ring: Ring<_> = Ring::format(pool.acquire(config.lease_bytes().unwrap(), HOUR).unwrap(), config).unwrap();
        crew(|crew| {
            let waiting = crew.start(|| {
                let mut reader = joined(&ring);
                reader.wait(&Deadline::at(&clock, Ticks::MAX))
            });
            thread::sleep(Duration::from_millis(30));
            assert!(!waiting.is_finished());
            pool.revoke(ring.lease().id()).unwrap();
            assert_eq!(waiting.join().unwrap(), Err(ReadError::Lease(LeaseError::Revoked)));
        });
    });
}

/// Somebody who spoils the bell can make a sleeper look late, or often, and nothing else.
#[test]
#[allow(unsafe_code, reason = "a peer that writes what it likes")]
fn a_spoilt_bell_costs_time_and_nothing_else() {
    ends(|| {
        let (ring, clock) = (ring::<Retain, Untrusted>(), SystemClock::new());
        let base = ring.lease().base();
        // SAFETY: the lease lives as long as the ring; words of it that all reach by atomics.
        let [rings, waiting] = [64, 68].map(|at| unsafe { base.add(at).cast::<AtomicU32>().as_ref() });
        let done = AtomicBool::new(false);
        crew(|crew| {
            crew.spawn(|| {
                let mut rng = common::Rng::new(5);
                while !done.load(Ordering::Relaxed) {
                    match rng.below(4) {
                        0 => rings.store(rng.next() as u32, Ordering::Relaxed),
                        1 => waiting.store(rng.next() as u32, Ordering::Relaxed),
                        2 => waiting.store(0, Ordering::Relaxed),
                        _ => thread::yield_now(),
                    }
                }
            });
            let mut writer = Writer::claim(&ring).unwrap();
            let mut reader = joined(&ring);
            assert!(!reader.wait(&Deadline::after(&clock, ms(30))).unwrap());
            let reading = crew.start(move || {
                let mut buffer = [0; 1];
                for round in 0..50 {
                    reader.wait_copy_next(&mut buffer, &Deadline::at(SystemClock::new(), Ticks::MAX)).unwrap().unwrap();
                    assert_eq!(buffer, [round]);
                }
            });
            for round in 0..50 {
                while writer.write(&[round]).is_err() {
                    thread::yield_now();
                }
                writer.wake_readers();
            }
            reading.join().unwrap();
            done.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn a_bell_that_is_set_for_nobody_is_rung_once() {
    let ring = ring::<Retain, Exclusive>();
    let mut reader = joined(&ring);
    // Whoever slept is gone, and has left the bit.
    assert!(!reader.wait(&Deadline::after(SystemClock::new(), ms(2))).unwrap());
    let words = |ring: &Ring<Owned<Exclusive>>| {
        let image = ring.lease().image();
        [64, 68].map(|at| u32::from_le_bytes(image[at..at + 4].try_into().unwrap()))
    };
    assert_eq!(words(&ring), [0, 1]);
    ring.wake_readers();
    assert_eq!(words(&ring), [1, 0]);
    ring.wake_readers();
    assert_eq!(words(&ring), [1, 0], "nobody waits: nothing is written");
}

#[test]
fn a_reader_that_waits_lets_go_of_what_it_has_read() {
    ends(|| {
        let ring = ring::<Retain, Exclusive>();
        let never = Deadline::at(SystemClock::new(), Ticks::MAX).with_recheck(HOUR);
        let mut writer = Writer::claim(&ring).unwrap();
        let mut reader = joined(&ring);
        while writer.write(b"x").is_ok() {}
        while reader.next().unwrap().is_some_and(|record| record.offset().value() < 7) {}
        crew(|crew| {
            crew.spawn(move || assert!(reader.wait(&never).unwrap()));
            while writer.write(b"y").is_err() {
                thread::yield_now();
            }
            writer.wake_readers();
        });
    });
}

// ---- consumers

type Consuming<'c> = Consumer<&'static str, TopicManager<HeapPool<&'c ManualClock>, &'c ManualClock>>;

fn consuming<S: fabric_mq::topic::Topics>(partitions: &[u32]) -> Consumer<&'static str, S> {
    let mut consumer = Consumer::new("events", "group").with_recheck(HOUR);
    consumer.assign(partitions);
    consumer
}

#[test]
fn ten_thousand_sends_and_answers_need_no_recheck() {
    let rounds = 10_000 * scale();
    ends(move || {
        let topics = TopicManager::new();
        for name in ["there", "back"] {
            topics.create(name, TopicConfig::new().with_partitions(3).with_slots(64).with_capacity(4096)).unwrap();
        }
        let side = |from: &'static str, to: &'static str, first: bool| {
            let mut consumer = Consumer::new(from, "group").with_recheck(HOUR);
            consumer.assign(&[0, 1, 2]);
            let mut producer = Producer::new(to);
            if first {
                producer.send(&topics, &0_u64.to_le_bytes()).unwrap();
            }
            for round in 0..rounds {
                let messages = consumer.poll_until(&topics, 10, Ticks::MAX).unwrap();
                assert_eq!(messages.len(), 1);
                assert_eq!(messages[0].payload(), round.to_le_bytes());
                let next = if first { round + 1 } else { round };
                match round % 3 {
                    0 => producer.send(&topics, &next.to_le_bytes()),
                    1 => producer.send_keyed(&topics, &round.to_le_bytes(), &next.to_le_bytes()),
                    _ => producer.send_record(&topics, (&next.to_le_bytes()[..]).into()),
                }
                .unwrap();
            }
        };
        crew(|crew| {
            crew.spawn(|| side("there", "back", false));
            side("back", "there", true);
        });
    });
}

#[test]
fn a_consumer_sleeps_on_all_its_partitions() {
    ends(|| {
        let topics = TopicManager::new();
        // More than there are bits: 5 and 37 share one.
        topics.create("events", TopicConfig::new().with_partitions(70).with_slots(8).with_capacity(256)).unwrap();
        let mut producer = Producer::new("events");
        let mut consumer: Consumer<_, _> = consuming(&[5, 37, 64, 69]);
        crew(|crew| {
            let (said, heard) = mpsc::channel();
            let topics = &topics;
            crew.spawn(move || {
                for _ in 0..8 {
                    let messages = consumer.poll_until(topics, 1, Ticks::MAX).unwrap();
                    said.send(messages[0].partition()).unwrap();
                }
            });
            for round in 0..2 {
                for partition in [37, 69, 5, 64] {
                    if round == 1 {
                        thread::sleep(Duration::from_millis(5));
                    }
                    // Not for this consumer.
                    producer.send_to(topics, 6, b"x").unwrap();
                    producer.send_to(topics, partition, b"x").unwrap();
                    assert_eq!(heard.recv(), Ok(partition));
                }
            }
        });
    });
}

#[test]
fn a_deadline_that_has_passed_makes_it_a_poll() {
    let clock = ManualClock::new();
    let topics = TopicManager::with_pool(HeapPool::new(&clock), &clock);
    topics.create("events", TopicConfig::new().with_partitions(2)).unwrap();
    let mut consumer: Consuming<'_> = consuming(&[0, 1]);
    assert!(!consumer.wait_until(&topics, Ticks::ZERO).unwrap());
    assert!(consumer.poll_until(&topics, 9, Ticks::ZERO).unwrap().is_empty());
    Producer::new("events").send(&topics, b"x").unwrap();
    assert!(consumer.wait_until(&topics, Ticks::ZERO).unwrap());
    assert!(consumer.poll_until(&topics, 0, Ticks::ZERO).unwrap().is_empty());
    assert_eq!(consumer.poll_until(&topics, 9, Ticks::ZERO).unwrap().len(), 1);
}

#[test]
fn a_consumer_waits_until_its_deadline_and_not_longer() {
    let topics = TopicManager::new();
    topics.create("events", TopicConfig::default()).unwrap();
    let mut consumer: Consumer<_, _> = consuming(&[0, 1, 2, 3]);
    for timeout in [1, 30] {
        let start = Instant::now();
        let deadline = topics.clock().now().plus(ms(timeout));
        assert!(consumer.poll_until(&topics, 9, deadline).unwrap().is_empty());
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(timeout - 1) && took < Duration::from_secs(20), "{took:?}");
    }
}

#[test]
fn the_deletion_of_a_topic_wakes_who_waits() {
    ends(|| {
        let topics = TopicManager::new();
        let config = TopicConfig::new().with_partitions(2);
        for paused in [false, true] {
            topics.create("events", config).unwrap();
            let mut consumer: Consumer<_, _> = consuming(&[0, 1]);
            if paused {
                consumer.pause(0);
                consumer.pause(1);
            }
            crew(|crew| {
                let waiting = crew.start(|| consumer.poll_until(&topics, 1, Ticks::MAX).map(|messages| messages.len()));
                thread::sleep(Duration::from_millis(20));
                assert!(!waiting.is_finished());
                topics.delete("events").unwrap();
                let told = waiting.join().unwrap().unwrap_err();
                // Or of the lease, whichever it finds first.
                assert!(
                    matches!(told, PollError::Topic(TopicError::Deleted) | PollError::Lease { .. }),
                    "it was told {told:?}"
                );
            });
        }
    });
}

#[test]
fn a_lease_that_ends_is_told_at_the_next_recheck() {
    ends(|| {
        let clock = ManualClock::new();
        let topics = TopicManager::with_pool(HeapPool::new(&clock), &clock);
        topics.create("events", TopicConfig::new().with_partitions(1).with_ttl(ms(50))).unwrap();
        let mut consumer: Consuming<'_> = consuming(&[0]).with_recheck(ms(5));
        crew(|crew| {
            let waiting = crew.start(|| consumer.wait_until(&topics, Ticks::MAX));
            thread::sleep(Duration::from_millis(30));
            assert!(!waiting.is_finished());
            topics.pool().revoke(topics.open("events").unwrap().partitions()[0].lease_id()).unwrap();
            let told = waiting.join().unwrap();
            assert_eq!(told, Err(PollError::Lease { partition: 0, error: LeaseError::Revoked }));
        });
    });
}

#[test]
fn a_paused_partition_is_not_waited_for() {
    let topics = TopicManager::new();
    topics.create("events", TopicConfig::new().with_partitions(2)).unwrap();
    let mut consumer: Consumer<_, _> = consuming(&[0, 1]);
    consumer.pause(1);
    Producer::new("events").send_to(&topics, 1, b"x").unwrap();
    let soon = || topics.clock().now().plus(ms(20));
    assert!(!consumer.wait_until(&topics, soon()).unwrap());
    consumer.resume(1);
    assert!(consumer.wait_until(&topics, soon()).unwrap());
}

#[test]
fn who_waits_lets_go_of_what_the_last_poll_handed_out() {
    ends(|| {
        let topics = TopicManager::new();
        let full = FullPolicy::Wait { timeout: HOUR };
        let config = TopicConfig::new().with_partitions(1).with_slots_and_stride(8, 64).with_full(full);
        topics.create("events", config).unwrap();
        let mut consumer: Consumer<_, _> = consuming(&[0]);
        consumer.seek(&topics, &MemOffsetStore::new(), SeekPolicy::Earliest).unwrap();
        crew(|crew| {
            let topics = &topics;
            crew.spawn(move || {
                let records = (0..100_u8).map(|n| [n]).collect::<Vec<_>>();
                assert_eq!(Producer::new("events").send_batch(topics, &records).unwrap(), 100);
            });
            let mut next = 0;
            while next < 100 {
                for message in consumer.poll_until(topics, 3, Ticks::MAX).unwrap() {
                    assert_eq!(message.payload(), [next]);
                    next += 1;
                }
            }
        });
    });
}

#[test]
fn a_loss_wakes_who_waits_and_is_told_first() {
    ends(|| {
        let topics = TopicManager::new();
        let config = TopicConfig::new().with_partitions(1).with_slots_and_stride(8, 64);
        topics.create("events", config.with_full(FullPolicy::DropOldest)).unwrap();
        for tell in [true, false] {
            let mut consumer: Consumer<_, _> = consuming(&[0]).with_fail_on_loss(tell);
            consumer.seek(&topics, &MemOffsetStore::new(), SeekPolicy::Latest).unwrap();
            let mut producer = Producer::new("events");
            producer.send_batch(&topics, [b"x"; 30]).unwrap();
            let polled = consumer.poll_until(&topics, 100, Ticks::MAX);
            if tell {
                assert!(matches!(polled, Err(PollError::Lagging { partition: 0, .. })), "{polled:?}");
            }
            let left = if tell { consumer.poll_until(&topics, 100, Ticks::MAX) } else { polled };
            assert_eq!(left.unwrap().len() as u64 + consumer.lost(), 30);
        }
    });
}

// ---- tasks

/// A waker that counts, and wakes this thread.
struct Counting {
    wakes: AtomicU64,
    thread: thread::Thread,
}

impl Counting {
    fn new() -> Arc<Self> {
        Arc::new(Self { wakes: AtomicU64::new(0), thread: thread::current() })
    }

    fn wakes(&self) -> u64 {
        self.wakes.load(Ordering::SeqCst)
    }
}

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::SeqCst);
        self.thread.unpark();
    }
}

/// Polls until the task is done, and only when it was woken.
fn run<F: Future>(task: F) -> F::Output {
    let counting = Counting::new();
    let waker = Waker::from(Arc::clone(&counting));
    let mut task = pin!(task);
    let mut seen = 0;
    loop {
        if let Poll::Ready(done) = task.as_mut().poll(&mut Context::from_waker(&waker)) {
            return done;
        }
        while counting.wakes() == seen {
            thread::park();
        }
        seen = counting.wakes();
    }
}

fn poll<F: Future>(task: Pin<&mut F>, counting: &Arc<Counting>) -> Poll<F::Output> {
    task.poll(&mut Context::from_waker(&Waker::from(Arc::clone(counting))))
}

#[test]
fn tasks_of_a_topic_lose_no_wake_up() {
    const TASKS: u32 = 3;
    let sends = 5_000 * scale();
    ends(move || {
        let topics = TopicManager::new();
        let config = TopicConfig::new().with_partitions(TASKS).with_groups(1).with_slots(1 << 16);
        topics.create("events", config.with_capacity(1 << 22)).unwrap();
        crew(|crew| {
            for partition in 0..TASKS {
                let topics = &topics;
                crew.spawn(move || {
                    let mut consumer: Consumer<_, _> = consuming(&[partition]);
                    let mut next = 0_u64;
                    run(async {
                        while next < 2 * sends {
                            for message in consumer.next_batch(topics, 10).await.unwrap() {
                                assert_eq!(message.offset().value(), next);
                                next += 1;
                            }
                        }
                    });
                });
            }
            for _ in 0..2 {
                let topics = &topics;
                crew.spawn(move || {
                    let mut producer = Producer::new("events");
                    let mut rng = common::Rng::new(1);
                    for _ in 0..sends {
                        for partition in 0..TASKS {
                            producer.send_to(topics, partition, b"x").unwrap();
                        }
                        // So that the tasks go to sleep again and again.
                        for _ in 0..rng.below(300) {
                            std::hint::spin_loop();
                        }
                    }
                });
            }
        });
    });
}

#[test]
fn a_task_that_goes_away_leaves_its_seat_and_its_waker() {
    let topics = TopicManager::new();
    topics.create("events", TopicConfig::new().with_partitions(1).with_groups(1)).unwrap();
    let mut consumer: Consumer<_, _> = consuming(&[0]);
    let counting = Counting::new();
    for _ in 0..1000 {
        let mut task = Box::pin(consumer.ready(&topics));
        assert!(poll(task.as_mut(), &counting).is_pending());
        assert_eq!(Arc::strong_count(&counting), 2, "the bell holds one");
    }
    assert_eq!(Arc::strong_count(&counting), 1);
    Producer::new("events").send(&topics, b"x").unwrap();
    assert_eq!(counting.wakes(), 0);
}

#[test]
fn the_last_waker_counts_and_is_woken_once() {
    let topics = TopicManager::new();
    topics.create("events", TopicConfig::new().with_partitions(2)).unwrap();
    let mut producer = Producer::new("events");
    let mut consumer: Consumer<_, _> = consuming(&[0]);
    let (first, second) = (Counting::new(), Counting::new());
    let mut task = pin!(consumer.ready(&topics));
    assert!(poll(task.as_mut(), &first).is_pending());
    assert!(poll(task.as_mut(), &second).is_pending());
    assert_eq!(Arc::strong_count(&first), 1, "the one before is forgotten");
    producer.send_to(&topics, 1, b"not for it").unwrap();
    assert_eq!(second.wakes(), 0);
    producer.send_to(&topics, 0, b"x").unwrap();
    producer.send_to(&topics, 0, b"y").unwrap();
    assert_eq!((first.wakes(), second.wakes()), (0, 1));
    assert_eq!(poll(task.as_mut(), &second), Poll::Ready(Ok(())));
}

#[test]
fn a_full_table_of_tasks_is_told() {
    let topics = TopicManager::new();
    // One task for the one group in the one partition; but two consumers can have places in a row.
    topics.create("events", TopicConfig::new().with_partitions(1).with_groups(1)).unwrap();
    let counting = Counting::new();
    let mut one: Consumer<_, _> = consuming(&[0]);
    let mut none: Consumer<_, _> = consuming(&[]);
    let mut waiting = Box::pin(one.ready(&topics));
    assert!(poll(waiting.as_mut(), &counting).is_pending());
    let refused = poll(pin!(none.ready(&topics)), &counting);
    assert_eq!(refused, Poll::Ready(Err(PollError::WakersFull { limit: 1 })));
    assert!(PollError::WakersFull { limit: 1 }.to_string().contains("with more groups"));
    drop(waiting);
    assert!(poll(pin!(none.ready(&topics)), &counting).is_pending());

    // At a bell of one's own.
    let (ring, bell) = (ring::<Retain, Exclusive>(), Bell::<1>::new());
    let [mut a, mut b] =
        ["a", "b"].map(|name| AsyncReader::new(Reader::join(&ring, name, Start::Earliest).unwrap(), &bell));
    let mut waiting = pin!(a.ready());
    assert!(poll(waiting.as_mut(), &counting).is_pending());
    let refused = poll(pin!(b.ready()), &counting);
    assert_eq!(refused, Poll::Ready(Err(WaitError::WakersFull { limit: 1 })));
    assert!(WaitError::WakersFull { limit: 1 }.to_string().contains("make a Bell with more"));
}

#[test]
fn the_deletion_of_a_topic_wakes_its_tasks() {
    let topics = TopicManager::new();
    topics.create("events", TopicConfig::new().with_partitions(1)).unwrap();
    let mut consumer: Consumer<_, _> = consuming(&[0]);
    let counting = Counting::new();
    {
        let mut task = pin!(consumer.next_batch(&topics, 1));
        assert!(poll(task.as_mut(), &counting).is_pending());
        topics.delete("events").unwrap();
        assert_eq!(counting.wakes(), 1);
        let told = poll(task.as_mut(), &counting);
        assert!(matches!(told, Poll::Ready(Err(PollError::Topic(TopicError::Deleted)))), "{told:?}");
        // Another one of this name, while the task is still there.
        topics.create("events", TopicConfig::new().with_partitions(1)).unwrap();
    }
    let mut task = pin!(consumer.next_batch(&topics, 1));
    assert!(poll(task.as_mut(), &counting).is_pending());
    Producer::new("events").send(&topics, b"x").unwrap();
    assert_eq!(counting.wakes(), 2);
    assert!(poll(task.as_mut(), &counting).is_ready());
}

#[test]
fn a_relay_wakes_tasks_for_writers_that_do_not_know_of_them() {
    let rounds = 2_000 * scale();
    ends(move || {
        static BELL: Bell<2> = Bell::new();
        let (ring, clock) = (ring::<Retain, Untrusted>(), SystemClock::new());
        let done = AtomicBool::new(false);
        crew(|crew| {
            crew.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    ring.relay(&BELL, &Deadline::after(&clock, ms(500)).with_recheck(HOUR));
                }
            });
            let reading = crew.start(|| {
                let mut reader = AsyncReader::new(joined(&ring), &BELL);
                run(async {
                    let mut buffer = [0; 8];
                    for round in 0..rounds {
                        reader.copy_next(&mut buffer).await.unwrap();
                        assert_eq!(u64::from_le_bytes(buffer), round);
                    }
                });
            });
            // It rings the bell in the lease alone.
            let mut writer = Writer::claim(&ring).unwrap();
            for round in 0..rounds {
                while writer.write(&round.to_le_bytes()).is_err() {
                    thread::yield_now();
                }
                writer.wake_readers();
            }
            reading.join().unwrap();
            done.store(true, Ordering::Relaxed);
            ring.wake_readers();
        });
    });
}

#[test]
fn static_topics_wait_in_the_same_ways() {
    let clock = ManualClock::new();
    let mut memory = vec![0; 16_384];
    let pool: fabric_mq::lease::SlicePool<'_, 8, _> = fabric_mq::lease::SlicePool::new(&mut memory, &clock);
    let mut rings: StaticRings<_, 1, 2> = StaticRings::new();
    let config = TopicConfig::new().with_partitions(2).with_slots_and_stride(8, 64).with_groups(6);
    rings.create(&pool, "events", config, &clock).unwrap();
    let topics = StaticTopics::new(&rings, &clock).unwrap();
    let counting = Counting::new();
    let mut consumers: Vec<Consumer<_, _, 2>> = (0..5)
        .map(|n| {
            let mut consumer = Consumer::with_places("events", &format!("g{n}"));
            consumer.assign(&[0, 1]);
            assert!(!consumer.wait_until(&topics, Ticks::ZERO).unwrap());
            consumer
        })
        .collect();
    let mut tasks: Vec<_> = consumers.iter_mut().map(|consumer| Box::pin(consumer.ready(&topics))).collect();
    for (at, task) in tasks.iter_mut().enumerate() {
        let polled = poll(task.as_mut(), &counting);
        let full = Poll::Ready(Err(PollError::WakersFull { limit: 4 }));
        assert_eq!(polled, if at < 4 { Poll::Pending } else { full });
    }
    Producer::new("events").send(&topics, b"x").unwrap();
    assert_eq!(counting.wakes(), 4);
    for task in &mut tasks {
        assert_eq!(poll(task.as_mut(), &counting), Poll::Ready(Ok(())));
    }
}
