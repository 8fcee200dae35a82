//! The ring under a model checker: every interleaving of small scenes, with every value that the orderings let a load
//! see, up to a bounded number of preemptions.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release --test loom
//! ```
//! `LOOM_MAX_PREEMPTIONS` overrides each model's bound. It is the real code that runs: `--cfg loom` swaps the atomics,
//! the locks and where the views of `platform::memory` point to.
//!
//! # What is covered, and what is not
//! - Payload bytes of retaining rings are plain memory with a shadow: two accesses that no happens-before orders are an
//!   error in every schedule, also where the bytes would have come out right.
//! - Stale values of relaxed and acquire loads are explored (the last seven stores of each word).
//! - `fence(SeqCst)` is modelled: a fence sees all that happened before the fences executed earlier. This is slightly
//!   stronger than C++, where two fences order loads and stores around them but do not make plain accesses
//!   happen-before each other. The ring orders plain accesses by stamps and progress, never by fences alone.
//! - Sequentially consistent *accesses* are modelled as acquire/release; the ring has none.
//! - The checker's partial-order reduction looks at the last access to a word only: a thread that loads a word and then
//!   stores it hides its conflict with an earlier load elsewhere. Where that matters (a clock that is set, a head that is
//!   raised) the scene is played with the parts exchanged too: the thread that runs later sees every stale value.
//! - Not a matter of these models: the end of a lease (`Term`), and formatting while somebody attaches.
//! - Values out of thin air (a load that sees a store which depends on it) are not explored; C++ forbids them in prose.
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

use checker::{LoomLease, both, explore};
use fabric_mq::clock::{Clock, ManualClock};
use fabric_mq::ring::{Keep, Overwrite, Reader, Retain, Ring, SharedWriter, Start, Writer};
use fabric_mq::{JoinError, LoomMemory, Offset, ReadError, SeekError, Ticks, WriteError};
use image::Shape;
use loom::thread;
use std::sync::Arc;

type LoomRing<K> = Arc<Ring<LoomLease, K>>;
type LoomReader<K> = Reader<LoomRing<K>>;
type LoomWriter<K> = Writer<LoomRing<K>>;

/// An empty ring of `1 << slots_log2` slots and `1 << units_log2` units whose log begins at `first`.
fn ring<K: Keep>(slots_log2: u8, units_log2: u8, readers: u8, first: u64) -> LoomRing<K> {
    let shape = Shape { overwrite: K::OVERWRITE, slots_log2, units_log2, readers };
    let mut image = vec![0; shape.end()];
    image::put(&mut image, 0, &image::superblock(shape));
    image::put_counter(&mut image, image::REFUSED, 0);
    image::start_at(&mut image, first, 0);
    let memory = LoomMemory::new(&image, shape.slots_at(), shape.bytes_at());
    Arc::new(Ring::attach(LoomLease(Arc::new(memory))).expect("an image of a ring"))
}

/// What the record at `offset` says in each of its words.
fn word(offset: u64) -> [u8; 8] {
    (offset.wrapping_add(1).wrapping_mul(0x0101_0101_0101_0101)).to_le_bytes()
}

/// The payload of `offset`, of one or two units.
fn payload(offset: u64, units: usize) -> Vec<u8> {
    word(offset).repeat(units)
}

/// Writes the record that belongs at the next offset; answers whether there was room.
fn write<K: Keep>(writer: &mut LoomWriter<K>, units: usize) -> bool {
    let at = writer.next_offset();
    match writer.write(&payload(at.value(), units)) {
        Ok(offset) => {
            assert_eq!(offset, at);
            true
        }
        Err(WriteError::Full) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Reads one record in place, uses it, and answers its offset.
fn read(reader: &mut LoomReader<Retain>) -> Option<u64> {
    let at = reader.next_offset();
    let memory = Arc::clone(&reader.ring().lease().0);
    let record = reader.next().expect("a sound record")?;
    assert_eq!(record.offset(), at);
    // The end of its use.
    memory.touch(record.payload());
    let units = record.payload().len() / 8;
    assert_eq!(record.payload(), payload(at.value(), units), "record {at}");
    Some(at.value())
}

fn joined<K: Keep>(ring: &LoomRing<K>, name: &str, start: Start) -> LoomReader<K> {
    Reader::join(Arc::clone(ring), name, start).expect("a place")
}

fn claimed<K: Keep>(ring: &LoomRing<K>) -> LoomWriter<K> {
    Writer::claim(Arc::clone(ring)).expect("the writer's place")
}

/// A ring of two slots with both in use, and its writer. No reader yet.
fn full<K: Keep>(units: usize, readers: u8, first: u64) -> (LoomRing<K>, LoomWriter<K>) {
    let ring = ring(1, if units == 2 { 2 } else { 1 }, readers, first);
    let mut writer = claimed(&ring);
    assert!(write(&mut writer, units) && write(&mut writer, units));
    (ring, writer)
}

#[test]
fn a_record_is_seen_whole_or_not_at_all() {
    explore("publish", 3, &["0", "1", "2"], || {
        let ring = ring(2, 2, 1, 0);
        let mut writer = claimed(&ring);
        let mut reader = joined(&ring, "r", Start::Earliest);
        let writing = thread::spawn(move || {
            assert!(write(&mut writer, 1) && write(&mut writer, 1));
            writer
        });
        let seen: Vec<u64> = (0..3).filter_map(|_| read(&mut reader)).collect();
        assert!(seen.iter().copied().eq(0..seen.len() as u64));
        drop(writing.join().unwrap());
        seen.len().to_string()
    });
}

#[test]
fn a_record_filled_in_place_is_seen_whole_or_not_at_all() {
    explore("reserve", 3, &["0", "1"], || {
        let ring = ring(1, 2, 1, 0);
        let mut writer = claimed(&ring);
        let mut reader = joined(&ring, "r", Start::Earliest);
        let memory = Arc::clone(&ring.lease().0);
        let writing = thread::spawn(move || {
            let mut grant = writer.reserve(16).expect("room");
            grant.bytes()[..8].copy_from_slice(&word(0));
            memory.touch_mut(&mut grant.bytes()[..8]);
            assert_eq!(grant.commit(8).expect("reserved"), Offset::new(0));
            // One that is taken back.
            drop(writer.reserve(8).expect("room"));
            writer
        });
        let seen = (0..2).filter_map(|_| read(&mut reader)).count();
        drop(writing.join().unwrap());
        seen.to_string()
    });
}

#[test]
fn a_batch_is_seen_as_one() {
    explore("batch", 2, &["[]", "[0]", "[0, 1, 2]"], || {
        let ring = ring(2, 2, 1, 0);
        let mut writer = claimed(&ring);
        let mut reader = joined(&ring, "r", Start::Earliest);
        let writing = thread::spawn(move || {
            assert!(write(&mut writer, 1));
            let mut batch = writer.batch();
            for offset in 1..3 {
                assert_eq!(batch.write(&word(offset)).expect("room"), Offset::new(offset));
            }
            assert_eq!(batch.publish().expect("a live lease"), 2);
            writer
        });
        let mut seen = Vec::new();
        for _ in 0..3 {
            let Some(offset) = read(&mut reader) else { continue };
            seen.push(offset);
            if offset == 1 {
                seen.push(read(&mut reader).expect("the whole batch is visible with its first record"));
                break;
            }
        }
        drop(writing.join().unwrap());
        assert!(seen.iter().copied().eq(0..seen.len() as u64));
        format!("{seen:?}")
    });
}

#[test]
fn a_batch_that_is_dropped_or_forgotten_is_never_seen() {
    explore("batch, taken back", 2, &["[]", "[0]"], || {
        let ring = ring(2, 2, 1, 0);
        let mut writer = claimed(&ring);
        let mut reader = joined(&ring, "r", Start::Earliest);
        let writing = thread::spawn(move || {
            for forget in [true, false] {
                let mut batch = writer.batch();
                for offset in 7..9 {
                    batch.write(&word(offset)).expect("room");
                }
                if forget { std::mem::forget(batch) } else { drop(batch) }
            }
            assert!(write(&mut writer, 1));
            writer
        });
        let seen: Vec<u64> = (0..2).filter_map(|_| read(&mut reader)).collect();
        drop(writing.join().unwrap());
        format!("{seen:?}")
    });
}

#[test]
fn nothing_is_written_over_what_a_reader_holds() {
    explore("reclaim", 3, &["wrote 0, read 3", "wrote 1, read 3", "wrote 2, read 3"], || {
        let (ring, mut writer) = full(1, 1, 0);
        let mut reader = joined(&ring, "r", Start::Earliest);
        let writing = thread::spawn(move || {
            let wrote = (0..2).filter(|_| write(&mut writer, 1)).count();
            (writer, wrote)
        });
        let mut seen: Vec<u64> = (0..3).filter_map(|_| read(&mut reader)).collect();
        let (mut writer, wrote) = writing.join().unwrap();
        reader.release();
        let more = usize::from(wrote == 0 && write(&mut writer, 1));
        seen.extend(std::iter::from_fn(|| read(&mut reader)));
        assert!(seen.iter().copied().eq(0..(2 + wrote + more) as u64), "{seen:?}");
        format!("wrote {wrote}, read {}", seen.len().min(3))
    });
}

#[test]
fn nothing_is_written_over_what_a_visitor_holds() {
    explore("reclaim, visited", 3, &["wrote 0", "wrote 1", "wrote 2"], || {
        let (ring, mut writer) = full(1, 1, 0);
        let mut reader = joined(&ring, "r", Start::Earliest);
        let memory = Arc::clone(&ring.lease().0);
        let writing = thread::spawn(move || {
            let wrote = (0..2).filter(|_| write(&mut writer, 1)).count();
            (writer, wrote)
        });
        let mut next = 0;
        for _ in 0..2 {
            reader
                .for_each(2, |record| {
                    memory.touch(record.payload());
                    assert_eq!((record.offset().value(), record.payload()), (next, &word(next)[..]));
                    next += 1;
                })
                .expect("sound records");
        }
        let (writer, wrote) = writing.join().unwrap();
        assert!(next >= 2 && next <= 2 + wrote as u64);
        drop(writer);
        format!("wrote {wrote}")
    });
}

/// A reader joins where the writer is about to make room: either the writer sees it, or it sees the new head.
fn join_while_room_is_made(name: &str, preemptions: usize, reader_first: bool) {
    explore(name, preemptions, &["from 0, wrote 0", "from 0, wrote 1", "from 2, wrote 2"], move || {
        let (ring, mut writer) = full(1, 2, 0);
        // Somebody who has read it all, so that there is a reason to make room.
        let mut other = joined(&ring, "other", Start::Latest);
        other.release();
        let writing = move || {
            let wrote = (0..2).filter(|_| write(&mut writer, 1)).count();
            (writer, wrote)
        };
        let reading = {
            let ring = Arc::clone(&ring);
            move || {
                let mut reader = joined(&ring, "r", Start::Earliest);
                let from = reader.next_offset().value();
                let seen: Vec<u64> = (0..2).filter_map(|_| read(&mut reader)).collect();
                (reader, from, seen)
            }
        };
        let ((writer, wrote), (mut reader, from, mut seen)) = both(writing, reading, reader_first);
        seen.extend(std::iter::from_fn(|| read(&mut reader)));
        assert!(seen.iter().copied().eq(from..2 + wrote as u64), "from {from}, {wrote} more: {seen:?}");
        drop((writer, other));
        format!("from {from}, wrote {wrote}")
    });
}

#[test]
fn a_reader_that_joins_holds_what_it_is_promised() {
    join_while_room_is_made("join", 2, false);
}

#[test]
fn a_reader_that_joins_first_holds_what_it_is_promised() {
    join_while_room_is_made("join, exchanged", 2, true);
}

/// A reader that has read it all goes back while the writer, who has seen that it had, makes room.
fn seek_while_room_is_made(name: &str, reader_first: bool) {
    explore(name, 3, &["back to 0, wrote 0", "refused, wrote 2"], move || {
        let (ring, mut writer) = full(1, 1, 0);
        let mut reader = joined(&ring, "r", Start::Latest);
        let writing = move || {
            let wrote = (0..2).filter(|_| write(&mut writer, 1)).count();
            (writer, wrote)
        };
        let reading = move || {
            let (from, scene) = match reader.seek(Offset::new(0)) {
                Ok(()) => (0, "back to 0"),
                Err(SeekError::Reclaimed { head }) => {
                    assert!(head > Offset::new(0));
                    (reader.next_offset().value(), "refused")
                }
                Err(error) => panic!("{error}"),
            };
            let seen: Vec<u64> = (0..2).filter_map(|_| read(&mut reader)).collect();
            (reader, from, scene, seen)
        };
        let ((writer, wrote), (mut reader, from, scene, mut seen)) = both(writing, reading, reader_first);
        seen.extend(std::iter::from_fn(|| read(&mut reader)));
        assert!(seen.iter().copied().eq(from..2 + wrote as u64), "from {from}, {wrote} more: {seen:?}");
        drop((writer, ring));
        format!("{scene}, wrote {wrote}")
    });
}

#[test]
fn a_reader_that_goes_back_holds_what_it_is_promised() {
    seek_while_room_is_made("seek back", false);
}

#[test]
fn a_reader_that_goes_back_first_holds_what_it_is_promised() {
    seek_while_room_is_made("seek back, exchanged", true);
}

#[test]
fn producers_that_share_a_writer_keep_apart() {
    explore("shared", 2, &["0", "1", "2"], || {
        let ring = ring::<Retain>(1, 1, 1, 0);
        let writer = Arc::new(SharedWriter::claim(Arc::clone(&ring)).expect("the writer's place"));
        let mut reader = joined(&ring, "r", Start::Earliest);
        let producers = ["one pay.", "two pay."].map(|text| {
            let writer = Arc::clone(&writer);
            thread::spawn(move || writer.write(text.as_bytes()).expect("room").value())
        });
        let memory = Arc::clone(&ring.lease().0);
        let mut seen = Vec::new();
        let mut take = || {
            let record = reader.next().expect("a sound record")?;
            memory.touch(record.payload());
            assert_eq!(record.offset().value(), seen.len() as u64);
            seen.push(record.payload().to_vec());
            Some(())
        };
        let early = (0..2).filter_map(|_| take()).count();
        let offsets = producers.map(|producer| producer.join().unwrap());
        while take().is_some() {}
        assert_eq!(seen.len(), 2, "both are committed");
        for (offset, text) in offsets.into_iter().zip(["one pay.", "two pay."]) {
            assert_eq!(seen[offset as usize], text.as_bytes());
        }
        early.to_string()
    });
}

/// Both producers find the ring full at the same time, and a reader makes room.
#[test]
fn producers_that_move_the_limit_at_once_keep_apart() {
    explore("shared, full", 2, &["wrote 0", "wrote 1", "wrote 2"], || {
        let (ring, writer) = full(1, 1, 0);
        let mut reader = joined(&ring, "r", Start::Earliest);
        drop(writer);
        let writer = Arc::new(SharedWriter::claim(Arc::clone(&ring)).expect("the writer's place"));
        let producers = [100, 200].map(|mark| {
            let writer = Arc::clone(&writer);
            thread::spawn(move || match writer.write(&word(mark)) {
                Ok(offset) => Some((offset.value(), mark)),
                Err(WriteError::Full) => None,
                Err(error) => panic!("{error}"),
            })
        });
        for offset in 0..2 {
            assert_eq!(read(&mut reader), Some(offset));
        }
        reader.release();
        let mut wrote: Vec<_> = producers.map(|producer| producer.join().unwrap()).into_iter().flatten().collect();
        wrote.sort_unstable();
        for (index, (offset, mark)) in wrote.iter().enumerate() {
            assert_eq!(*offset, 2 + index as u64, "no gap");
            let record = reader.next().expect("a sound record").expect("it was committed");
            assert_eq!(record.payload(), word(*mark));
        }
        assert!(reader.next().expect("no damage").is_none());
        format!("wrote {}", wrote.len())
    });
}

/// A reader joins just below a head that one producer raises, reads, and goes; that producer makes room when it looks
/// again, and the other one uses it.
#[test]
fn nothing_is_written_over_what_a_short_visit_reads_by_a_producer_that_did_not_look() {
    explore("shared, short visit", 2, &["1", "2"], || {
        let (ring, writer) = full(1, 2, 0);
        let other = joined(&ring, "other", Start::Latest);
        drop(writer);
        let writer = Arc::new(SharedWriter::claim(Arc::clone(&ring)).expect("the writer's place"));
        let visiting = thread::spawn({
            let ring = Arc::clone(&ring);
            move || {
                let mut reader = joined(&ring, "r", Start::Earliest);
                if reader.next_offset() == Offset::new(0) {
                    assert_eq!(read(&mut reader), Some(0));
                }
            }
        });
        let one = |writer: &SharedWriter<_>| usize::from(writer.write(&[0xee; 8]).is_ok());
        let producing = thread::spawn({
            let writer = Arc::clone(&writer);
            move || one(&writer)
        });
        let mut wrote = one(&writer);
        if wrote == 0 {
            wrote += one(&writer);
        }
        visiting.join().unwrap();
        wrote += producing.join().unwrap();
        drop((writer, other));
        wrote.to_string()
    });
}

/// Somebody asks for the next offset between two claims. It is told apart from others 2^32 away by the head.
#[test]
fn the_next_offset_of_a_shared_writer_is_never_wild() {
    explore("shared, observed", 2, &["2", "3", "4"], || {
        let (ring, writer) = full::<Retain>(1, 1, 0);
        let other = joined(&ring, "other", Start::Latest);
        drop(writer);
        let writer = Arc::new(SharedWriter::claim(Arc::clone(&ring)).expect("the writer's place"));
        let looking = thread::spawn({
            let writer = Arc::clone(&writer);
            move || writer.next_offset().value()
        });
        let producing = thread::spawn({
            let writer = Arc::clone(&writer);
            move || writer.write(&[0xee; 8]).expect("room").value()
        });
        let offset = writer.write(&[0xee; 8]).expect("room").value();
        let next = looking.join().unwrap();
        assert_eq!(producing.join().unwrap() + offset, 5);
        assert!((2..=4).contains(&next), "{next:x}");
        drop((writer, other));
        next.to_string()
    });
}

/// Copies until the end; answers what came and how many were said to be lost.
fn copy(reader: &mut LoomReader<Overwrite>, tries: usize, seen: &mut Vec<u64>) -> u64 {
    let mut lost = 0;
    for _ in 0..tries {
        let mut buffer = [0; 16];
        let at = reader.next_offset().value();
        match reader.copy_next(&mut buffer) {
            Ok(Some(record)) => {
                assert_eq!(record.offset().value(), at);
                assert_eq!(
                    buffer[..record.len()],
                    payload(at, record.len() / 8),
                    "record {at}: not torn, not another's"
                );
                seen.push(at);
            }
            Ok(None) => {}
            Err(ReadError::Overrun { lost: more }) => {
                assert_eq!(reader.next_offset().value(), at + more, "exactly as many as it says");
                lost += more;
            }
            Err(error) => panic!("{error}"),
        }
    }
    lost
}

#[test]
fn an_overwritten_record_is_lost_and_never_torn() {
    explore("overwrite", 3, &["lost 0", "lost 1", "lost 2"], || {
        let (ring, mut writer) = full::<Overwrite>(2, 1, 0);
        let mut reader = joined(&ring, "r", Start::Earliest);
        let writing = thread::spawn(move || {
            assert!(write(&mut writer, 2) && write(&mut writer, 1), "it never waits");
            writer
        });
        let mut seen = Vec::new();
        let mut lost = copy(&mut reader, 2, &mut seen);
        drop(writing.join().unwrap());
        let early = lost;
        lost += copy(&mut reader, 5, &mut seen);
        assert_eq!(seen.len() as u64 + lost, 4, "each record was read, or said to be lost");
        assert!(seen.is_sorted() && seen.last() == Some(&3));
        format!("lost {early}")
    });
}

/// The head is raised by one producer; the other one writes into the room that this frees.
#[test]
fn an_overwritten_record_is_never_torn_by_a_producer_that_did_not_raise_the_head() {
    explore("overwrite, shared", 2, &["lost 0", "lost 1"], || {
        let ring = ring::<Overwrite>(2, 2, 1, 0);
        let mut first = claimed(&ring);
        // The payload area is full; two slots are not.
        assert!(write(&mut first, 2) && write(&mut first, 2));
        drop(first);
        let writer = Arc::new(SharedWriter::claim(Arc::clone(&ring)).expect("the writer's place"));
        let mut reader = joined(&ring, "r", Start::Earliest);
        let producers = [(); 2].map(|()| {
            let writer = Arc::clone(&writer);
            // Both write the same, so that the bytes do not tell who was first.
            thread::spawn(move || writer.write(&[0xee; 8]).expect("it never waits").value())
        });
        let mut buffer = [0; 16];
        let scene = match reader.copy_next(&mut buffer) {
            Ok(Some(record)) => {
                assert_eq!((record.offset().value(), &buffer[..]), (0, &payload(0, 2)[..]), "not torn");
                "lost 0"
            }
            Err(ReadError::Overrun { lost: 1 }) => "lost 1",
            other => panic!("{other:?}"),
        };
        let mut offsets = producers.map(|producer| producer.join().unwrap());
        offsets.sort_unstable();
        assert_eq!(offsets, [2, 3]);
        scene.to_string()
    });
}

/// The four words of a counter while its low half overflows. A clock is such a counter.
#[test]
fn a_counter_is_whole_across_the_carry() {
    const TIMES: [u64; 4] = [(1 << 32) - 2, (1 << 32) - 1, 1 << 32, (1 << 32) + 3];
    explore("counter", 3, &["[0, 0]", "[0, 3]", "[1, 2]", "[2, 3]"], || {
        let clock = Arc::new(ManualClock::new());
        clock.set(Ticks::from_millis(TIMES[0]));
        let looking = thread::spawn({
            let clock = Arc::clone(&clock);
            move || [clock.now().as_millis(), clock.now().as_millis()]
        });
        TIMES[1..].iter().for_each(|time| clock.set(Ticks::from_millis(*time)));
        let seen = looking.join().unwrap();
        let seen = seen.map(|seen| TIMES.iter().position(|time| *time == seen).expect("a time that was set"));
        assert!(seen.is_sorted(), "it never goes back: {seen:?}");
        assert_eq!(clock.now().as_millis(), TIMES[3]);
        format!("{seen:?}")
    });
}

/// The head passes the carry while a reader asks whether its record is still there.
#[test]
fn offsets_pass_the_carry() {
    const FIRST: u64 = (1 << 32) - 1;
    explore("overwrite at the carry", 2, &["lost 0", "lost 1"], || {
        let (ring, mut writer) = full::<Overwrite>(1, 1, FIRST);
        let mut reader = joined(&ring, "r", Start::Earliest);
        let copying = thread::spawn(move || {
            let mut seen = Vec::new();
            let lost = copy(&mut reader, 1, &mut seen);
            (reader, seen, lost)
        });
        assert!(write(&mut writer, 1), "it never waits");
        let (mut reader, mut seen, early) = copying.join().unwrap();
        let lost = early + copy(&mut reader, 4, &mut seen);
        assert!(seen.iter().copied().eq(FIRST + lost..FIRST + 3), "{seen:x?}, {lost} lost");
        format!("lost {early}")
    });
}

/// One reader parks; another thread takes the place up while the first one is still on its way out, and a writer that
/// would like the room must see it held all the time.
#[test]
fn a_place_that_is_parked_is_held_for_the_next() {
    explore("park", 2, &["came back, wrote 0", "came back, wrote 1", "too early, wrote 1"], || {
        let (ring, mut writer) = full(1, 1, 0);
        let mut reader = joined(&ring, "r", Start::Earliest);
        assert_eq!(read(&mut reader), Some(0));
        let parking = thread::spawn(move || reader.park());
        let coming = thread::spawn({
            // As from another process: not even the lock that joining takes is shared.
            let ring = Arc::new(Ring::attach(ring.lease().clone()).expect("a ring"));
            move || match Reader::join(ring, "r", Start::Resume) {
                Ok(mut reader) => {
                    assert_eq!(read(&mut reader), Some(1), "what was parked");
                    Some(reader)
                }
                Err(JoinError::Claimed) => None,
                Err(error) => panic!("{error}"),
            }
        });
        let mut wrote = usize::from(write(&mut writer, 1));
        parking.join().unwrap();
        let back = coming.join().unwrap();
        let scene = if back.is_some() { "came back" } else { "too early" };
        let scene = format!("{scene}, wrote {wrote}");
        let mut reader = back.unwrap_or_else(|| joined(&ring, "r", Start::Resume));
        let infos: Vec<_> = ring.readers().collect();
        assert!(infos.len() == 1 && infos[0].active, "the place is the second one's: {infos:?}");
        wrote += usize::from(write(&mut writer, 1));
        let from = reader.next_offset().value();
        let seen: Vec<u64> = std::iter::from_fn(|| read(&mut reader)).collect();
        assert!(seen.iter().copied().eq(from..2 + wrote as u64), "{seen:?}");
        scene
    });
}

/// A reader goes while it is the one that holds the ring up: what it read last was before.
#[test]
fn nothing_is_written_over_what_a_reader_that_goes_still_reads() {
    explore("leave", 3, &["wrote 0", "wrote 1", "wrote 2"], || {
        let (ring, mut writer) = full(1, 2, 0);
        let other = joined(&ring, "other", Start::Latest);
        let mut reader = joined(&ring, "r", Start::Earliest);
        let leaving = thread::spawn(move || {
            assert_eq!(read(&mut reader), Some(0));
        });
        let wrote = (0..2).filter(|_| write(&mut writer, 1)).count();
        leaving.join().unwrap();
        drop((writer, other));
        format!("wrote {wrote}")
    });
}

/// A reader joins just below a head that rises, reads, and goes: the head is where it was when the writer looks again.
#[test]
fn nothing_is_written_over_what_a_short_visit_reads() {
    explore("join and leave", 2, &["from 0, wrote 0", "from 0, wrote 2", "from 2, wrote 2"], || {
        let (ring, mut writer) = full(1, 2, 0);
        let other = joined(&ring, "other", Start::Latest);
        let visiting = thread::spawn({
            let ring = Arc::clone(&ring);
            move || {
                let mut reader = joined(&ring, "r", Start::Earliest);
                let from = reader.next_offset().value();
                let _ = read(&mut reader);
                from
            }
        });
        let wrote = (0..3).filter(|_| write(&mut writer, 1)).count();
        let from = visiting.join().unwrap();
        drop((writer, other));
        format!("from {from}, wrote {wrote}")
    });
}

/// A reader joins just below a head that rises, and stays there while the writer's place changes hands: what the first
/// writer kept away from, the next one does too.
fn join_while_writers_change(name: &str, reader_first: bool) {
    explore(name, 2, &["from 0, wrote 0", "from 2, wrote 2"], move || {
        let (ring, mut writer) = full(1, 2, 0);
        let other = joined(&ring, "other", Start::Latest);
        let writing = {
            let ring = Arc::clone(&ring);
            move || {
                let first = usize::from(write(&mut writer, 1));
                drop(writer);
                let mut writer = claimed(&ring);
                first + usize::from(write(&mut writer, 1))
            }
        };
        let reading = {
            let ring = Arc::clone(&ring);
            move || {
                let mut reader = joined(&ring, "r", Start::Earliest);
                let from = reader.next_offset().value();
                (read(&mut reader), from, reader)
            }
        };
        let (wrote, (read, from, reader)) = both(writing, reading, reader_first);
        assert!(from == 2 || read == Some(from));
        drop((reader, other));
        format!("from {from}, wrote {wrote}")
    });
}

#[test]
fn nothing_is_written_by_the_next_writer_over_what_a_reader_holds() {
    join_while_writers_change("join, next writer", false);
}

#[test]
fn nothing_is_written_by_the_next_writer_over_what_a_reader_that_came_first_holds() {
    join_while_writers_change("join, next writer, exchanged", true);
}

/// A reader joins just below a head that is about to rise, and goes on by one record: where it goes to is held for it.
fn join_and_go_on_while_room_is_made(name: &str, back: bool, reader_first: bool) {
    explore(name, 3, &["from 0, wrote 0", "from 0, wrote 1", "from 2, wrote 2"], move || {
        let (ring, mut writer) = full(1, 2, 0);
        let other = joined(&ring, "other", Start::Latest);
        let writing = move || (0..2).filter(|_| write(&mut writer, 1)).count();
        let reading = {
            let ring = Arc::clone(&ring);
            move || {
                let mut reader = joined(&ring, "r", Start::Earliest);
                let from = reader.next_offset().value();
                if from == 0 {
                    reader.seek(Offset::new(1)).expect("held for this reader");
                    // What it gave up may be gone, or about to go; then it stays.
                    let stays = !back || reader.seek(Offset::new(0)).is_err();
                    assert_eq!(read(&mut reader), Some(u64::from(stays)));
                }
                (from, reader)
            }
        };
        let (wrote, (from, reader)) = both(writing, reading, reader_first);
        drop((reader, other));
        format!("from {from}, wrote {wrote}")
    });
}

#[test]
fn a_reader_that_goes_on_is_not_refused() {
    join_and_go_on_while_room_is_made("seek on", false, false);
}

#[test]
fn a_reader_that_came_first_and_goes_on_is_not_refused() {
    join_and_go_on_while_room_is_made("seek on, exchanged", false, true);
}

#[test]
fn a_reader_that_goes_on_and_is_refused_to_go_back_holds_what_it_has() {
    join_and_go_on_while_room_is_made("seek on and back", true, false);
}

#[test]
fn a_reader_that_came_first_goes_on_and_is_refused_to_go_back_holds_what_it_has() {
    join_and_go_on_while_room_is_made("seek on and back, exchanged", true, true);
}

/// A reader joins while room is made, parks, and comes back, in one way or another: where it parked is held all the time.
fn park_and_come_back_while_room_is_made(name: &str, start: Start, reader_first: bool) {
    explore(name, 2, &["from 0, wrote 0", "from 2, wrote 0", "from 2, wrote 2"], move || {
        let (ring, mut writer) = full(1, 2, 0);
        let other = joined(&ring, "other", Start::Latest);
        let writing = move || (0..2).filter(|_| write(&mut writer, 1)).count();
        let reading = {
            let ring = Arc::clone(&ring);
            move || {
                let mut reader = joined(&ring, "r", Start::Earliest);
                let from = reader.next_offset().value();
                // Below where it parks, so that there is something to be refused.
                let seen = if start == Start::Resume { None } else { read(&mut reader) };
                let parked = reader.next_offset();
                reader.park();
                let mut reader = match Reader::join(Arc::clone(&ring), "r", start) {
                    Ok(reader) => reader,
                    Err(JoinError::Seek(SeekError::Reclaimed { .. })) => joined(&ring, "r", Start::Resume),
                    Err(error) => panic!("{error}"),
                };
                let back = reader.next_offset();
                assert!(back == parked || start != Start::Resume && back < parked, "{back}, but parked at {parked}");
                if back.value() < 2 {
                    assert_eq!(read(&mut reader), Some(back.value()), "parked at {parked} after {seen:?}");
                }
                (from, reader)
            }
        };
        let (wrote, (from, reader)) = both(writing, reading, reader_first);
        drop((reader, other));
        format!("from {from}, wrote {wrote}")
    });
}

#[test]
fn a_reader_comes_back_to_where_it_parked_while_room_is_made() {
    park_and_come_back_while_room_is_made("park and resume", Start::Resume, false);
}

#[test]
fn a_reader_that_came_first_comes_back_to_where_it_parked_while_room_is_made() {
    park_and_come_back_while_room_is_made("park and resume, exchanged", Start::Resume, true);
}

#[test]
fn a_reader_that_comes_back_from_the_start_loses_nothing_it_parked() {
    park_and_come_back_while_room_is_made("park and start over", Start::Earliest, false);
}

#[test]
fn a_reader_that_comes_back_before_its_place_is_held_or_refused() {
    park_and_come_back_while_room_is_made("park and go back", Start::At(Offset::new(0)), false);
}

/// Two visitors take one place, one after the other, while a writer laps: each holds what it reads.
#[test]
fn nothing_is_written_over_what_visitors_who_exchange_a_place_read() {
    explore("exchange", 2, &["0 and 0, wrote 0", "2 and 2, wrote 2"], || {
        let (ring, mut writer) = full(1, 2, 0);
        let other = joined(&ring, "other", Start::Latest);
        let visitors = [(); 2].map(|()| {
            let ring = Arc::clone(&ring);
            move || {
                let mut reader = Reader::join(ring, "r", Start::Earliest).ok()?;
                let _ = read(&mut reader);
                Some(reader.next_offset().value().saturating_sub(1))
            }
        });
        let [first, second] = visitors;
        let visiting = thread::spawn(move || {
            let first = first();
            (first, second())
        });
        let wrote = (0..2).filter(|_| write(&mut writer, 1)).count();
        let (first, second) = visiting.join().unwrap();
        drop((writer, other));
        format!("{} and {}, wrote {wrote}", first.unwrap_or(9), second.unwrap_or(9))
    });
}

/// The same for one that parks, and is forgotten by somebody else.
#[test]
fn nothing_is_written_over_what_a_reader_that_is_forgotten_has_read() {
    explore("forget", 2, &["true, wrote 0", "true, wrote 2", "false, wrote 0"], || {
        let (ring, mut writer) = full(1, 2, 0);
        let other = joined(&ring, "other", Start::Latest);
        let mut reader = joined(&ring, "r", Start::Earliest);
        let parking = thread::spawn(move || {
            assert_eq!(read(&mut reader), Some(0));
            reader.park();
        });
        let writing = thread::spawn(move || {
            let wrote = (0..2).filter(|_| write(&mut writer, 1)).count();
            (writer, wrote)
        });
        let forgotten = match ring.forget("r") {
            Ok(was) => was,
            Err(JoinError::Claimed) => false,
            Err(error) => panic!("{error}"),
        };
        parking.join().unwrap();
        let (writer, wrote) = writing.join().unwrap();
        drop((writer, other));
        format!("{forgotten}, wrote {wrote}")
    });
}

/// Whoever has read a record is not told of an end before it, however the writer laps the search.
#[test]
fn the_end_is_never_told_too_low() {
    explore("tail", 3, &["2", "3", "4"], || {
        let (ring, mut writer) = full::<Overwrite>(1, 1, 0);
        let looking = thread::spawn({
            let ring = Arc::clone(&ring);
            move || ring.tail().value()
        });
        assert!(write(&mut writer, 1) && write(&mut writer, 1), "it never waits");
        let tail = looking.join().unwrap();
        assert!((2..=4).contains(&tail), "two records were there before: {tail}");
        tail.to_string()
    });
}

/// Somebody in another process asks who reads, while a reader joins behind two records.
#[test]
fn a_reader_is_seen_with_its_whole_name_and_its_progress() {
    explore("names", 3, &["none", "some"], || {
        let (ring, writer) = full::<Retain>(1, 1, 0);
        let other: Ring<_> = Ring::attach(ring.lease().clone()).expect("a ring");
        let looking = thread::spawn(move || other.readers().collect::<Vec<_>>());
        let reader = joined(&ring, "a.name.of.twenty.two", Start::Latest);
        let seen = looking.join().unwrap();
        for found in &seen {
            assert_eq!((found.name.to_string().as_str(), found.progress.value()), ("a.name.of.twenty.two", 2));
        }
        drop((reader, writer));
        if seen.is_empty() { "none" } else { "some" }.to_string()
    });
}

#[test]
fn two_readers_do_not_take_one_place() {
    explore("join by one name", 2, &["true false", "false true"], || {
        let ring = ring::<Retain>(1, 1, 2, 0);
        let joining = thread::spawn({
            let ring = Arc::clone(&ring);
            move || Reader::join(ring, "r", Start::Earliest)
        });
        let mine = Reader::join(Arc::clone(&ring), "r", Start::Earliest);
        let other = joining.join().unwrap();
        let scene = format!("{} {}", mine.is_ok(), other.is_ok());
        for failed in [mine, other].into_iter().filter_map(Result::err) {
            assert_eq!(failed, JoinError::Claimed);
        }
        scene
    });
}

/// A writer goes, and the next one comes on another thread: it goes on where the first one ended.
#[test]
fn the_next_writer_goes_on_where_the_last_one_ended() {
    explore("writer's place", 3, &["claimed", "too early"], || {
        let ring = ring::<Retain>(1, 1, 1, 0);
        let mut writer = claimed(&ring);
        let mut reader = joined(&ring, "r", Start::Earliest);
        assert!(write(&mut writer, 1));
        let leaving = thread::spawn(move || {
            assert!(write(&mut writer, 1));
        });
        // Whoever waits for the place has read what there is, or the ring would be full.
        let mut seen: Vec<u64> = (0..2).filter_map(|_| read(&mut reader)).collect();
        reader.release();
        let scene = match Writer::claim(Arc::clone(&ring)) {
            Ok(mut next) => {
                assert_eq!(next.next_offset(), Offset::new(2));
                assert!(write(&mut next, 1) || seen.len() < 2);
                "claimed"
            }
            Err(WriteError::Claimed) => "too early",
            Err(error) => panic!("{error}"),
        };
        leaving.join().unwrap();
        seen.extend(std::iter::from_fn(|| read(&mut reader)));
        assert!(seen.len() >= 2 && seen.iter().copied().eq(0..seen.len() as u64), "{seen:?}");
        scene.to_string()
    });
}
