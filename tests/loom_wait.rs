//! Wake-ups under a model checker: no interleaving, and no value that the orderings let a load see, loses one.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release --test loom_wait
//! ```
//! It is the real code that runs: `--cfg loom` swaps the atomics, the locks, the futex and the memory. A sleep that nobody
//! ends is a deadlock here, since no time goes by: the checker reports it. What `tests/loom.rs` says of the checker holds here
//! too.
#![cfg(loom)]
#![allow(unsafe_code, reason = "a lease over the checker's memory")]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "common/checker.rs"]
mod checker;
#[allow(dead_code, reason = "another test's too")]
#[path = "common/image.rs"]
mod image;

use checker::{LoomLease, explore};
use fabric_mq::clock::Clock;
use fabric_mq::ring::{AsyncReader, Bell, Deadline, Reader, Ring, Start, Writer};
use fabric_mq::{LoomMemory, Ticks, WaitError};
use image::Shape;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

type LoomRing = Arc<Ring<LoomLease>>;

/// An empty ring of two slots.
fn ring() -> LoomRing {
    ring_with_bell(0)
}

/// The same with this left in the bell's `waiting`.
fn ring_with_bell(waiting: u32) -> LoomRing {
    let shape = Shape { overwrite: false, slots_log2: 1, units_log2: 2, readers: 2 };
    let mut image = vec![0; shape.end()];
    image::put(&mut image, 0, &image::superblock(shape));
    image::put_counter(&mut image, image::REFUSED, 0);
    image::start_at(&mut image, 0, 0);
    image::put(&mut image, 68, &waiting.to_le_bytes());
    let memory = LoomMemory::new(&image, shape.slots_at(), shape.bytes_at());
    Arc::new(Ring::attach(LoomLease(Arc::new(memory))).expect("an image of a ring"))
}

fn joined(ring: &LoomRing, name: &str) -> Reader<LoomRing> {
    Reader::join(Arc::clone(ring), name, Start::Earliest).expect("a place")
}

/// No time goes by.
struct Standing;

impl Clock for Standing {
    fn now(&self) -> Ticks {
        Ticks::ZERO
    }
}

static NEVER: Deadline<Standing> = Deadline::at(Standing, Ticks::MAX);

/// Waits for a record; answers its offset and whether there was one at once.
fn wait(reader: &mut Reader<LoomRing>) -> (u64, &'static str) {
    let at_once = reader.is_ready().expect("a lease that lasts");
    let record = reader.wait_next(&NEVER).expect("a sound record").expect("there is no deadline");
    (record.offset().value(), if at_once { "there" } else { "woken, or just in time" })
}

/// Another thread writes so many records, and wakes readers behind each.
fn writes(ring: &LoomRing, count: usize, wake: impl Fn(&Writer<LoomRing>) + 'static) -> thread::JoinHandle<()> {
    let mut writer = Writer::claim(Arc::clone(ring)).expect("the writer's place");
    thread::spawn(move || {
        for _ in 0..count {
            writer.write(b"one").expect("room");
            wake(&writer);
        }
    })
}

/// A sleeping reader and a writer that wakes it: it sleeps for ever in no interleaving.
#[test]
fn a_write_wakes_a_reader_that_sleeps() {
    explore("a reader and a writer", 4, &["there", "woken, or just in time"], || {
        let ring = ring();
        let mut reader = joined(&ring, "a");
        let writer = writes(&ring, 1, Writer::wake_readers);
        let (offset, scene) = wait(&mut reader);
        assert_eq!(offset, 0);
        writer.join().unwrap();
        scene.to_owned()
    });
}

/// The same twice in a row: the second wait begins while the first one's ring may still be under way.
#[test]
fn a_ring_under_way_does_not_eat_the_next_wait() {
    explore("two records, one behind the other", 2, &["there there"], || {
        let ring = ring();
        let mut reader = joined(&ring, "a");
        let writer = writes(&ring, 2, Writer::wake_readers);
        let (first, one) = wait(&mut reader);
        let (second, two) = wait(&mut reader);
        assert_eq!((first, second), (0, 1));
        writer.join().unwrap();
        format!("{one} {two}")
    });
}

/// Two readers sleep on one bell, and one ring wakes both; one of them may set the bit while it is being cleared.
#[test]
fn a_write_wakes_two_readers() {
    explore("two readers and a writer", 2, &[], || {
        let ring = ring();
        let mut mine = joined(&ring, "a");
        let other = thread::spawn({
            let mut reader = joined(&ring, "b");
            move || wait(&mut reader).0
        });
        let writer = writes(&ring, 1, Writer::wake_readers);
        let (offset, scene) = wait(&mut mine);
        assert_eq!((offset, other.join().unwrap()), (0, 0));
        writer.join().unwrap();
        scene.to_owned()
    });
}

/// Somebody rings for a bit that a sleeper of former times has left, while a reader sets it anew and a writer rings too: the bit
/// that is cleared may be the new one.
#[test]
fn a_bit_that_is_cleared_and_set_anew_is_answered() {
    explore("a reader, a writer, and a ringer for a stale bit", 2, &["there", "woken, or just in time"], || {
        let ring = ring_with_bell(1);
        let mut reader = joined(&ring, "a");
        let ringer = thread::spawn({
            let ring = Arc::clone(&ring);
            move || ring.wake_readers()
        });
        let writer = writes(&ring, 1, Writer::wake_readers);
        let (offset, scene) = wait(&mut reader);
        assert_eq!(offset, 0);
        ringer.join().unwrap();
        writer.join().unwrap();
        scene.to_owned()
    });
}

/// Runs a task on this thread: a flag that its waker sets.
struct Executor {
    woken: Mutex<bool>,
    wakes: Condvar,
}

impl Executor {
    fn new() -> Arc<Self> {
        Arc::new(Self { woken: Mutex::new(false), wakes: Condvar::new() })
    }

    /// Answers what the task comes to, and how often it was woken.
    fn run<T>(self: &Arc<Self>, task: impl Future<Output = T>) -> (T, u32) {
        let waker = Waker::from(Arc::clone(self));
        let mut task = pin!(task);
        let mut wakes = 0;
        loop {
            if let Poll::Ready(done) = task.as_mut().poll(&mut Context::from_waker(&waker)) {
                return (done, wakes);
            }
            let mut woken = self.woken.lock().unwrap();
            while !*woken {
                woken = self.wakes.wait(woken).unwrap();
            }
            *woken = false;
            wakes += 1;
        }
    }
}

impl Wake for Executor {
    fn wake(self: Arc<Self>) {
        *self.woken.lock().unwrap() = true;
        self.wakes.notify_one();
    }
}

/// The next record's offset, and how often the task that waited for it was woken.
fn next(reader: &mut AsyncReader<'_, LoomRing>) -> (Result<u64, WaitError>, u32) {
    Executor::new().run(async { reader.next().await.map(|record| record.offset().value()) })
}

/// Rings a bell, for a writer.
fn rings<const N: usize>(bell: &Arc<Bell<N>>) -> impl Fn(&Writer<LoomRing>) + 'static {
    let bell = Arc::clone(bell);
    move |_| bell.ring()
}

/// A waker is registered while a record is written and the bell is rung.
#[test]
fn a_task_that_registers_during_a_send_is_woken_or_sees_the_record() {
    explore("a task and a writer", 3, &["0 wakes", "1 wakes"], || {
        let (ring, bell) = (ring(), Arc::new(Bell::<1>::new()));
        let reader = joined(&ring, "a");
        let writer = writes(&ring, 1, rings(&bell));
        let mut reader = AsyncReader::new(reader, &bell);
        let (offset, wakes) = next(&mut reader);
        assert_eq!(offset, Ok(0));
        writer.join().unwrap();
        format!("{wakes} wakes")
    });
}

/// One task goes away while another one waits and the bell is rung: it takes nobody's wake-up with it, and its seat is free.
#[test]
fn a_task_that_goes_away_during_a_ring_takes_no_wake_up_with_it() {
    explore("a task, another one that is dropped, and a writer", 2, &["0 wakes", "1 wakes"], || {
        let (ring, bell) = (ring(), Arc::new(Bell::<2>::new()));
        let (reader, other) = (joined(&ring, "a"), joined(&ring, "b"));
        let fickle = thread::spawn({
            let bell = Arc::clone(&bell);
            move || {
                let mut reader = AsyncReader::new(other, &bell);
                let waker = Waker::from(Executor::new());
                let mut task = pin!(reader.ready());
                task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
            }
        });
        let writer = writes(&ring, 1, rings(&bell));
        let mut reader = AsyncReader::new(reader, &bell);
        let (offset, wakes) = next(&mut reader);
        assert_eq!(offset, Ok(0));
        fickle.join().unwrap();
        writer.join().unwrap();
        drop(reader);
        // Both seats are free again.
        let mut readers = ["c", "d"].map(|name| {
            let reader = Reader::join(Arc::clone(&ring), name, Start::Latest).expect("a place");
            AsyncReader::new(reader, &bell)
        });
        let waker = Waker::from(Executor::new());
        for task in readers.iter_mut().map(AsyncReader::ready).map(Box::pin).collect::<Vec<_>>().iter_mut() {
            assert_eq!(task.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
        }
        format!("{wakes} wakes")
    });
}

/// A thread hands the rings of other processes on to tasks of this one.
#[test]
fn a_relay_hands_on_every_ring() {
    explore("a writer elsewhere, a relay, and a task", 2, &[], || {
        let (ring, bell) = (ring(), Arc::new(Bell::<1>::new()));
        let reader = joined(&ring, "a");
        let done = Arc::new(AtomicBool::new(false));
        let relay = thread::spawn({
            let (ring, bell, done) = (Arc::clone(&ring), Arc::clone(&bell), Arc::clone(&done));
            move || {
                ring.relay(&bell, &NEVER);
                done.store(true, Ordering::Release);
            }
        });
        let writer = writes(&ring, 1, Writer::wake_readers);
        let mut reader = AsyncReader::new(reader, &bell);
        let (offset, wakes) = next(&mut reader);
        assert_eq!(offset, Ok(0));
        writer.join().unwrap();
        // The relay may have begun to listen behind the ring: it sleeps until the next one.
        while !done.load(Ordering::Acquire) {
            ring.wake_readers();
            thread::yield_now();
        }
        relay.join().unwrap();
        format!("{wakes} wakes")
    });
}

#[test]
fn a_full_bell_is_told() {
    loom::model(|| {
        let (ring, bell) = (ring(), Bell::<1>::new());
        let mut first = AsyncReader::new(joined(&ring, "a"), &bell);
        let mut second = AsyncReader::new(joined(&ring, "b"), &bell);
        let waker = Waker::from(Executor::new());
        let mut context = Context::from_waker(&waker);
        let mut one = Box::pin(first.ready());
        assert!(one.as_mut().poll(&mut context).is_pending());
        let mut two = pin!(second.ready());
        assert_eq!(two.as_mut().poll(&mut context), Poll::Ready(Err(WaitError::WakersFull { limit: 1 })));
        drop(one);
        assert!(two.as_mut().poll(&mut context).is_pending());
    });
}
