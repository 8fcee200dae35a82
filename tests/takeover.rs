//! A log that is ended under a writer which may still live: the writer, the sealer and the readers stopped anywhere.
//!
//! A lease that calls back whenever the ring asks or tells it something stops whoever uses it there, for as long as the
//! test likes, and lets it go on. (That covers every store but those within one commit, which `loom_takeover` covers.)
//! Leases here never refuse anything, so that the seal alone has to keep the old writer out.

#![cfg(all(feature = "std", target_has_atomic = "64", not(loom)))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "tests"
)]

mod common;

use common::hooked::{Call, Hooked, fenced_after};
use common::image::{self, Shape};
use common::{Owned, crew, is_payload, payload};
use fabric_mq::lease::{Cooperative, Lease, Role};
use fabric_mq::ring::{Keep, Overwrite, Reader, Retain, Ring, RingConfig, Seal, SharedWriter, Start, Writer};
use fabric_mq::{
    AttachError, Check, ConfigError, Epoch, JoinError, LeaseError, LeaseId, Offset, ReadError, SealError, SeekError,
    Ticks, WriteError,
};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;

type Memory = Arc<Owned<Cooperative>>;

fn memory(config: RingConfig) -> Memory {
    Arc::new(Owned::new(config.lease_bytes().unwrap()))
}

/// One party's lease of some memory.
#[derive(Debug)]
struct Party {
    memory: Memory,
    id: u128,
    epoch: u32,
    role: Role,
}

#[allow(unsafe_code, reason = "memory for tests")]
// SAFETY: passes on what `Owned` promises; all parties are rings.
unsafe impl Lease for Party {
    type Trust = Cooperative;
    const SEALABLE: bool = true;
    fn base(&self) -> NonNull<u8> {
        self.memory.base()
    }
    fn len(&self) -> usize {
        self.memory.len()
    }
    fn id(&self) -> LeaseId {
        LeaseId::new(self.id)
    }
    fn epoch(&self) -> Epoch {
        Epoch::new(self.epoch)
    }
    fn role(&self) -> Role {
        self.role
    }
}

fn party(memory: &Memory, id: u128, epoch: u32) -> Party {
    Party { memory: Arc::clone(memory), id, epoch, role: Role::Peer }
}

type Hook = Box<dyn Fn(Call) -> Result<(), LeaseError>>;

/// A party whose lease asks the test.
type Asking = Hooked<Party, Hook>;

/// A lease that can be stopped: what `then` does happens at a step, once. Answers how many steps are left until then, too.
fn stopped(party: Party, at: usize, then: impl FnOnce() + 'static) -> (Asking, Rc<Cell<usize>>) {
    let left = Rc::new(Cell::new(at));
    let (steps, then) = (Rc::clone(&left), Cell::new(Some(then)));
    let hook = move |_| {
        let left = steps.get();
        steps.set(left.wrapping_sub(1));
        if left == 0
            && let Some(then) = then.take()
        {
            then();
        }
        Ok(())
    };
    (Hooked::new(party, Box::new(hook)), left)
}

const CONFIG: RingConfig = RingConfig::new(8, 256).with_readers(4).with_takeover();
const OLD: u128 = 0x0123_4567_89ab_cdef_0011_2233_4455_6677;

/// Ends the log in `old` under an epoch, and goes on in a lease of that number.
fn take_over<K: Keep>(old: &Memory, new: &Memory, number: u128, epoch: u32) -> Result<Ring<Party, K>, SealError> {
    let ring: Ring<_, K> = Ring::attach(party(old, OLD, epoch)).map_err(|error| match error {
        AttachError::Fenced { .. } => SealError::Lease(LeaseError::Fenced),
        error => panic!("{error}"),
    })?;
    ring.take_over(party(new, number, epoch), CONFIG, Ticks::ZERO)
}

/// Reads what there is; answers the offsets, and how it ended.
fn read<P: fabric_mq::ring::RingRef>(reader: &mut Reader<P>) -> (Vec<u64>, Result<(), ReadError>) {
    let (mut seen, mut buffer) = (Vec::new(), [0; 128]);
    loop {
        match reader.copy_next(&mut buffer) {
            Ok(Some(record)) => {
                let offset = record.offset().value();
                assert!(is_payload(&buffer[..record.len()], offset), "record {offset} is another");
                assert!(seen.last().is_none_or(|last| last + 1 == offset), "in order, none left out");
                seen.push(offset);
            }
            Ok(None) => return (seen, Ok(())),
            Err(ReadError::Overrun { .. }) if seen.is_empty() => {}
            Err(error) => return (seen, Err(error)),
        }
    }
}

fn len_of(offset: u64) -> usize {
    (offset * 7 % 40) as usize
}

fn bytes_of(offset: u64) -> Vec<u8> {
    payload(offset, len_of(offset))
}

// ---- the writer is stopped

/// What the old writer does before it gives up its place. Answers how many records it was told are in the log.
fn history<K: Flavor>(ring: &Ring<Asking, K>, reader: &mut Reader<&Ring<Party, K>>) -> u64 {
    let Ok(mut writer) = Writer::claim(ring) else { return 0 };
    let mut known = 0;
    let mut note = |outcome: Result<Offset, WriteError>, known: &mut u64| match outcome {
        Ok(offset) => {
            assert_eq!(offset.value(), *known);
            *known += 1;
        }
        Err(error) => assert_eq!(error, WriteError::Sealed),
    };
    for lap in 0..3_u64 {
        note(writer.write(&bytes_of(known)), &mut known);
        note(writer.write_parts(0, &[&bytes_of(known)]), &mut known);
        K::grant(&mut writer, &mut known, &mut note);
        let mut batch = writer.batch();
        for more in 0..2 {
            // A batch can be written after the end; it is not published.
            batch.write(&bytes_of(known + more)).unwrap();
        }
        match batch.publish() {
            Ok(count) => known += count as u64,
            Err(error) => assert_eq!(error, WriteError::Sealed),
        }
        let mut batch = writer.batch();
        batch.write(b"never").unwrap();
        batch.write(b"seen").unwrap();
        if lap == 1 {
            std::mem::forget(batch);
        } else {
            drop(batch);
        }
        writer.note_tail();
        let _ = read(reader);
        reader.release();
    }
    known
}

trait Flavor: Keep {
    fn grant(
        writer: &mut Writer<&Ring<Asking, Self>>,
        known: &mut u64,
        note: &mut dyn FnMut(Result<Offset, WriteError>, &mut u64),
    ) where
        Self: Sized;
}

impl Flavor for Retain {
    fn grant(
        writer: &mut Writer<&Ring<Asking, Self>>,
        known: &mut u64,
        note: &mut dyn FnMut(Result<Offset, WriteError>, &mut u64),
    ) {
        let bytes = bytes_of(*known);
        let mut grant = writer.reserve(48).unwrap();
        grant.bytes()[..bytes.len()].copy_from_slice(&bytes);
        note(grant.commit(bytes.len()), known);
    }
}

impl Flavor for Overwrite {
    fn grant(
        writer: &mut Writer<&Ring<Asking, Self>>,
        known: &mut u64,
        note: &mut dyn FnMut(Result<Offset, WriteError>, &mut u64),
    ) {
        note(writer.write(&bytes_of(*known)), known);
    }
}

/// The old writer is stopped at a step, and goes on after a new one has taken over. Answers whether the step was reached,
/// and where the log was ended.
fn writer_stopped_at<K: Flavor>(at: usize) -> Option<u64> {
    let (old, new) = (memory(CONFIG), memory(CONFIG));
    drop(Ring::<_, K>::format(party(&old, OLD, 1), CONFIG).unwrap());
    // One who reads as records come, one who has read nothing when the log is ended, one who is parked.
    let reading: Ring<_, K> = Ring::attach(party(&old, OLD, 9)).unwrap();
    let mut reader = Reader::join(&reading, "reads", Start::Earliest).unwrap();
    Reader::join(&reading, "parked", Start::Earliest).unwrap().park();
    reading.forget("parked").unwrap();

    let successor: Rc<RefCell<Option<Ring<Party, K>>>> = Rc::default();
    let (lease, _) = stopped(party(&old, OLD, 1), at, {
        let (old, new, successor) = (Arc::clone(&old), Arc::clone(&new), Rc::clone(&successor));
        move || {
            let parked: Ring<_, K> = Ring::attach(party(&old, OLD, 2)).unwrap();
            Reader::join(&parked, "parked", Start::Earliest).unwrap().park();
            let ring = take_over::<K>(&old, &new, 77, 2).unwrap();
            let mut writer = Writer::claim(&ring).unwrap();
            for _ in 0..3 {
                let next = writer.next_offset().value();
                writer.write(&bytes_of(next)).unwrap();
            }
            drop(writer);
            successor.replace(Some(ring));
        }
    });
    let known = match Ring::<_, K>::attach(lease) {
        Ok(ring) => history(&ring, &mut reader),
        Err(error) => {
            assert!(matches!(error, AttachError::Fenced { .. }), "{error}");
            0
        }
    };
    let successor = successor.take()?;

    // Nothing behind the seal was answered for, and nothing before it was not.
    let seal = reading.seal().unwrap().expect("it is sealed");
    assert_eq!((seal.tail.value(), seal.successor, seal.epoch), (known, LeaseId::new(77), Epoch::new(2)));
    assert_eq!(reading.tail(), seal.tail, "whatever the old writer noted when it went");
    let old_image = old.image();
    // All readers come to the seal, and go on.
    for (name, start) in [("parked", Start::Resume), ("fresh", Start::Earliest)] {
        let mut slow = Reader::join(&reading, name, start).unwrap();
        let (seen, end) = read(&mut slow);
        assert_eq!(end, Err(ReadError::Sealed));
        assert!(known == 0 || seen.last().is_none_or(|last| last + 1 == known), "{seen:?} of {known}");
        assert_eq!(slow.next_offset().value(), known);
        assert_eq!(slow.copy_next(&mut [0; 128]), Err(ReadError::Sealed), "and stays there");
        if name == "parked" && !K::OVERWRITE {
            let mut next = slow.cross(&successor).unwrap();
            assert_eq!(read(&mut next), ((known..known + 3).collect(), Ok(())));
        }
    }
    let (_, end) = read(&mut reader);
    assert_eq!((end, reader.next_offset().value()), (Err(ReadError::Sealed), known));
    let mut next = reader.cross(&successor).unwrap();
    assert_eq!(read(&mut next), ((known..known + 3).collect(), Ok(())), "where it was, in the new one");
    // Whoever comes to write finds out where to go.
    assert_eq!(Writer::claim(&reading).unwrap_err(), WriteError::Sealed);
    let slots = Shape::of(&old_image).slots_at()..Shape::of(&old_image).bytes_at();
    assert_eq!(old_image[slots.clone()], old.image()[slots], "readers and refused writers store in no slot");
    Some(known)
}

#[test]
fn the_writer_may_be_stopped_at_every_step() {
    fn all<K: Flavor>() -> (usize, std::collections::BTreeSet<u64>) {
        let (mut steps, mut ends) = (0, std::collections::BTreeSet::new());
        // Attaching takes the first of them.
        while let Some(end) = writer_stopped_at::<K>(steps) {
            steps += 1;
            ends.insert(end);
        }
        (steps, ends)
    }
    for (steps, ends) in [all::<Retain>(), all::<Overwrite>()] {
        println!("{steps} steps, ends at {ends:?}");
        assert!(steps > 60, "{steps}");
        assert!(ends.len() > 10 && ends.contains(&0) && ends.contains(&15), "{ends:?}");
    }
}

type Producers = SharedWriter<Arc<Ring<Asking>>>;

#[test]
fn a_producer_is_not_answered_before_those_that_it_stands_behind() {
    let (old, new) = (memory(CONFIG), memory(CONFIG));
    drop(Ring::<_>::format(party(&old, OLD, 1), CONFIG).unwrap());
    let shared: Rc<RefCell<Option<Rc<Producers>>>> = Rc::default();
    let (lease, left) = stopped(party(&old, OLD, 1), usize::MAX, {
        let (old, new, shared) = (Arc::clone(&old), Arc::clone(&new), Rc::clone(&shared));
        move || {
            let writer: Rc<_> = shared.borrow().clone().unwrap();
            let behind = writer.write(&bytes_of(2));
            assert_eq!(behind, Err(WriteError::Indeterminate { offset: Offset::new(2) }));
            take_over::<Retain>(&old, &new, 77, 2).unwrap();
            assert_eq!(writer.write(&bytes_of(3)), Err(WriteError::Sealed));
        }
    });
    #[allow(clippy::arc_with_non_send_sync, reason = "one thread")]
    let ring = Arc::new(Ring::attach(lease).unwrap());
    let writer = Rc::new(SharedWriter::claim(ring).unwrap());
    shared.replace(Some(Rc::clone(&writer)));
    writer.write(&bytes_of(0)).unwrap();
    // Behind its claim, when it has copied its payload.
    left.set(1);
    assert_eq!(writer.write(&bytes_of(1)), Err(WriteError::Sealed));
    shared.take();
    drop(writer);
    let ring: Ring<_> = Ring::attach(party(&old, OLD, 9)).unwrap();
    assert_eq!((ring.tail().value(), ring.seal().unwrap().unwrap().tail.value()), (1, 1));
    let mut reader = Reader::join(&ring, "r", Start::Earliest).unwrap();
    assert_eq!(read(&mut reader), (vec![0], Err(ReadError::Sealed)));
}

#[test]
fn threads_that_write_while_the_log_is_ended_lose_nothing_they_were_told_of() {
    const BIG: RingConfig = RingConfig::new(1 << 14, 1 << 18).with_readers(2).with_takeover();
    let mut ends = Vec::new();
    for round in 0..30_u64 * common::scale() {
        let (old, new) = (memory(BIG), memory(BIG));
        drop(Ring::<_>::format(party(&old, OLD, 1), BIG).unwrap());
        let ring: Ring<_> = Ring::attach(party(&old, OLD, 1)).unwrap();
        let writer = SharedWriter::claim(&ring).unwrap();
        let told = crew(|crew| {
            let producers: Vec<_> = (0..3_u64)
                .map(|who| {
                    let writer = &writer;
                    crew.start(move || {
                        let mut told = Vec::new();
                        for count in 0..1000_u64 {
                            let bytes = payload(who << 32 | count, 8);
                            match writer.write(&bytes) {
                                Ok(offset) => told.push((offset.value(), bytes)),
                                Err(WriteError::Sealed) => break,
                                Err(WriteError::Indeterminate { .. }) => {}
                                Err(error) => panic!("{error}"),
                            }
                        }
                        told
                    })
                })
                .collect();
            while ring.tail().value() < round * 60 {
                std::hint::spin_loop();
            }
            let sealer: Ring<_> = Ring::attach(party(&old, OLD, 2)).unwrap();
            sealer.take_over(party(&new, 77, 2), BIG, Ticks::ZERO).unwrap();
            producers.into_iter().flat_map(|producer| producer.join().unwrap()).collect::<Vec<_>>()
        });
        drop(writer);
        let tail = ring.seal().unwrap().unwrap().tail;
        assert_eq!(ring.tail(), tail);
        ends.push(tail.value());
        let mut reader = Reader::join(&ring, "r", Start::Earliest).unwrap();
        let mut log = Vec::new();
        while let Ok(Some(record)) = reader.next() {
            log.push(record.payload().to_vec());
        }
        assert_eq!(log.len() as u64, tail.value());
        assert_eq!(reader.next().unwrap_err(), ReadError::Sealed);
        for (offset, bytes) in told {
            assert!(log.get(offset as usize) == Some(&bytes), "record {offset} was answered for, of {tail}");
        }
    }
    println!("ended at {ends:?}");
    assert!(ends.iter().any(|end| (1..3000).contains(end)), "some in the middle: {ends:?}");
}

// ---- the sealer is stopped

struct Killed;

/// Leaves out of the report those that are killed on purpose.
fn quietly() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !info.payload().is::<Killed>() {
                report(info);
            }
        }));
    });
}

fn prepared(records: u64) -> Memory {
    let old = memory(CONFIG);
    let ring: Ring<_> = Ring::format(party(&old, OLD, 1), CONFIG).unwrap();
    let mut writer = Writer::claim(&ring).unwrap();
    for offset in 0..records {
        writer.write(&bytes_of(offset)).unwrap();
    }
    Reader::join(&ring, "slow", Start::Earliest).unwrap().park();
    old
}

/// Ends the log, and is stopped at a step; answers how it went and whether the step was reached.
fn sealer_stopped_at(
    old: &Memory,
    (number, epoch): (u128, u32),
    at: usize,
    hook: impl FnOnce() + 'static,
) -> (Option<Result<(), SealError>>, bool) {
    let (lease, left) = stopped(party(old, OLD, epoch), at, hook);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let ring: Ring<_> = Ring::attach(lease).ok()?;
        Some(ring.take_over(party(&memory(CONFIG), number, epoch), CONFIG, Ticks::ZERO).map(drop))
    }));
    let reached = left.get() > at;
    (outcome.unwrap_or_default(), reached)
}

/// What a reader finds before anybody has gone on.
fn reads_at_most_the_log(old: &Memory, records: u64) {
    let ring: Ring<_> = Ring::attach(party(old, OLD, 99)).unwrap();
    let mut reader = Reader::join(&ring, "slow", Start::Resume).unwrap();
    let (seen, end) = read(&mut reader);
    assert!(seen.into_iter().eq(0..records));
    assert_eq!(end, if ring.seal().unwrap().is_some() { Err(ReadError::Sealed) } else { Ok(()) });
    // Who waits is woken for what there is to tell, not for an end of which nobody knows yet where the log goes on.
    assert_eq!(reader.is_ready(), Ok(ring.seal().unwrap().is_some()));
    reader.seek(Offset::new(0)).unwrap();
    reader.park();
}

fn sealed(old: &Memory) -> Seal {
    let ring: Ring<_> = Ring::attach(party(old, OLD, 99)).unwrap();
    ring.seal().unwrap().expect("it is sealed")
}

#[test]
fn the_sealer_may_be_killed_at_every_step() {
    quietly();
    let (mut step, mut sealed_by) = (0, [0, 0]);
    loop {
        let old = prepared(5);
        let (outcome, reached) = sealer_stopped_at(&old, (2, 2), step, || std::panic::panic_any(Killed));
        if !reached {
            assert_eq!(outcome, Some(Ok(())));
            break;
        }
        reads_at_most_the_log(&old, 5);
        let new = memory(CONFIG);
        match take_over::<Retain>(&old, &new, 3, 3) {
            Ok(ring) => {
                assert_eq!(ring.tail().value(), 5);
                sealed_by[1] += 1;
            }
            Err(SealError::Sealed { successor }) => {
                assert_eq!(successor, LeaseId::new(2));
                sealed_by[0] += 1;
            }
            Err(error) => panic!("step {step}: {error}"),
        }
        let seal = sealed(&old);
        assert_eq!(seal.tail.value(), 5);
        assert!([(2, 2), (3, 3)].contains(&(seal.successor.value(), seal.epoch.value())));
        reads_at_most_the_log(&old, 5);
        step += 1;
    }
    println!("{step} steps, {sealed_by:?}");
    // All 15 exchanges of the seal, the end, the epoch, and the looks between them.
    assert!(step > 25 && sealed_by[0] >= 1 && sealed_by[1] > 20, "{step} {sealed_by:?}");
}

#[test]
fn of_two_sealers_one_wins_and_a_third_that_dies_does_not_matter() {
    quietly();
    let mut wins = [0; 3];
    // The first one is stopped at a step; meanwhile the second one dies at each of its steps, and the third one does it.
    'first: for first in 0.. {
        for second in (0..).step_by(1 + first % 3) {
            let old = prepared(3);
            let done = Rc::new(Cell::new((false, true)));
            let (outcome, reached) = sealer_stopped_at(&old, (11, 2), first, {
                let (old, done) = (Arc::clone(&old), Rc::clone(&done));
                move || {
                    // Of the same epoch as the first: both may go on.
                    let killed = sealer_stopped_at(&old, (22, 2), second, || std::panic::panic_any(Killed));
                    let third = take_over::<Retain>(&old, &memory(CONFIG), 33, 2);
                    done.set((third.is_ok(), killed.1));
                }
            });
            if !reached {
                break 'first;
            }
            let (third, killed) = done.get();
            let seal = sealed(&old);
            assert_eq!(seal.tail.value(), 3);
            let winner = match seal.successor.value() {
                11 => 0,
                22 => 1,
                33 => 2,
                other => panic!("a mixture: {other:x}"),
            };
            wins[winner] += 1;
            assert_eq!(outcome == Some(Ok(())), winner == 0, "{outcome:?}");
            assert_eq!(third, winner == 2);
            reads_at_most_the_log(&old, 3);
            if !killed {
                break;
            }
        }
    }
    println!("{wins:?}");
    assert!(wins.iter().all(|wins| *wins > 0), "{wins:?}");
}

#[test]
fn a_sealer_of_a_lower_epoch_is_refused() {
    quietly();
    // The second one comes while the first one is stopped, and dies when it has noted its epoch and nothing else.
    let old = (0..100)
        .find_map(|second| {
            let old = prepared(3);
            let noted = Rc::new(Cell::new(false));
            let (outcome, reached) = sealer_stopped_at(&old, (2, 2), 4, {
                let (old, noted) = (Arc::clone(&old), Rc::clone(&noted));
                move || {
                    let (outcome, _) = sealer_stopped_at(&old, (3, 3), second, || std::panic::panic_any(Killed));
                    assert_eq!(outcome, None);
                    let ring: Ring<_> = Ring::attach(party(&old, OLD, 9)).unwrap();
                    noted.set(ring.epoch() == Epoch::new(3));
                }
            });
            assert!(reached);
            let refused = Some(Err(SealError::Lease(LeaseError::Fenced)));
            assert_eq!(outcome, if noted.get() { refused } else { Some(Ok(())) });
            noted.get().then_some(old)
        })
        .expect("it gets so far");
    assert!(take_over::<Retain>(&old, &memory(CONFIG), 4, 4).is_ok());
    assert_eq!(sealed(&old).epoch, Epoch::new(4));
    let again = take_over::<Retain>(&old, &memory(CONFIG), 5, 5);
    assert_eq!(again.unwrap_err(), SealError::Sealed { successor: LeaseId::new(4) });
}

#[test]
fn what_cannot_be_done_is_refused_and_ends_nothing() {
    let old = prepared(3);
    let ring: Ring<_> = Ring::attach(party(&old, OLD, 5)).unwrap();
    let small = Arc::new(Owned::new(128));
    let cases = [
        (ring.take_over(party(&memory(CONFIG), 2, 4), CONFIG, Ticks::ZERO).unwrap_err(), "Epoch", "under epoch 5"),
        (ring.take_over(party(&small, 2, 5), CONFIG, Ticks::ZERO).unwrap_err(), "Config(LeaseTooSmall", "lease more"),
        (
            ring.take_over(party(&memory(CONFIG), 2, 5), RingConfig::new(3, 64), Ticks::ZERO).unwrap_err(),
            "Config(Size",
            "power of two",
        ),
    ];
    for (error, variant, remedy) in cases {
        assert!(format!("{error:?}").starts_with(variant), "{error:?}");
        assert!(error.to_string().contains(remedy), "{error}");
    }
    let mut more = Vec::new();
    for name in ["a", "b", "c"] {
        more.push(Reader::join(&ring, name, Start::Latest).unwrap());
    }
    let few = CONFIG.with_readers(3);
    let error = ring.take_over(party(&memory(CONFIG), 2, 5), few, Ticks::ZERO).unwrap_err();
    assert_eq!(error, SealError::ReadersFull { limit: 3 });
    drop(more);
    let reader = Party { role: Role::Reader, ..party(&old, OLD, 5) };
    let reading: Ring<_> = Ring::attach(reader).unwrap();
    let error = reading.take_over(party(&memory(CONFIG), 2, 5), CONFIG, Ticks::ZERO).unwrap_err();
    assert_eq!(error, SealError::Lease(LeaseError::Unsupported));
    let sealer = Party { role: Role::Sealer, ..party(&old, OLD, 5) };
    let sealer: Ring<_> = Ring::attach(sealer).unwrap();
    assert_eq!(Writer::claim(&sealer).unwrap_err(), WriteError::Lease(LeaseError::Unsupported));
    let mut writer = Writer::claim(&ring).unwrap();
    assert_eq!(writer.write(&bytes_of(3)).unwrap().value(), 3, "it goes on");
    drop(writer);

    // A ring that was not made for it, and a lease that is not.
    let plain = memory(CONFIG);
    let ring: Ring<_> = Ring::format(party(&plain, OLD, 1), RingConfig::new(8, 256)).unwrap();
    let error = ring.take_over(party(&memory(CONFIG), 2, 5), CONFIG, Ticks::ZERO).unwrap_err();
    assert_eq!((error, ring.seal()), (SealError::Unsupported, Ok(None)));
    assert_eq!(ring.slots(), 8);
    let exclusive: Owned = Owned::new(CONFIG.lease_bytes().unwrap());
    let error = Ring::<_>::format(exclusive, CONFIG).unwrap_err();
    assert_eq!(error, ConfigError::Lease(LeaseError::Unsupported));
    // Whoever does not know of seals does not open such a ring.
    let image: Owned = Owned::of(&prepared(3).image());
    assert_eq!(Ring::<_>::attach(image).unwrap_err(), AttachError::Features { needed: 1 });
}

// ---- a holder that formats

#[test]
fn who_was_taken_over_does_not_format() {
    let old = prepared(3);
    take_over::<Retain>(&old, &memory(CONFIG), 2, 2).unwrap();
    let before = old.image();
    let fenced = |epoch, checks| Hooked::new(party(&old, OLD, epoch), fenced_after(Cell::new(checks)));
    // By the epoch of the log, though its lease says nothing; by its lease; and whoever may, does.
    let refused = ConfigError::Lease(LeaseError::Fenced);
    assert_eq!(Ring::<_>::format(party(&old, OLD, 1), CONFIG).map(drop), Err(refused));
    assert_eq!(Ring::<_>::format(party(&old, OLD, 1), RingConfig::new(8, 256)).map(drop), Err(refused));
    assert_eq!(Ring::<_>::format(fenced(5, 0), CONFIG).map(drop), Err(refused));
    assert!(old.image() == before, "nothing was stored");
    reads_at_most_the_log(&old, 3);
    assert!(Ring::<_>::format(party(&old, OLD, 2), CONFIG).is_ok());
    // Fenced before it is done: it leaves no ring.
    let old = prepared(3);
    let fenced = |checks| Hooked::new(party(&old, OLD, 1), fenced_after(Cell::new(checks)));
    assert_eq!(Ring::<_>::format(fenced(1), CONFIG).map(drop), Err(refused));
    assert!(Ring::<_>::attach(party(&old, OLD, 9)).is_err(), "it was clearing it: nothing wrong is read");
    assert!(Ring::<_>::format(fenced(2), CONFIG).is_ok());
    assert_eq!(Ring::<_>::attach(party(&old, OLD, 9)).unwrap().tail().value(), 0);
}

// ---- places

#[test]
fn a_full_ring_can_be_ended() {
    let (old, new) = (memory(CONFIG), memory(CONFIG));
    let ring: Ring<_> = Ring::format(party(&old, OLD, 1), CONFIG).unwrap();
    assert_eq!(ring.slots(), 8, "one of them is the end's");
    let mut reader = Reader::join(&ring, "r", Start::Earliest).unwrap();
    let mut writer = Writer::claim(&ring).unwrap();
    let mut lap = |from: u64, reader: &mut Reader<&Ring<Party>>| {
        for offset in from..from + 7 {
            assert_eq!(writer.write(&payload(offset, 8)).unwrap().value(), offset);
        }
        assert_eq!(writer.write(b"x"), Err(WriteError::Full));
        if from == 0 {
            assert_eq!(read(reader).0.len(), 7);
        }
    };
    lap(0, &mut reader);
    lap(7, &mut reader);
    take_over::<Retain>(&old, &new, 7, 2).unwrap();
    assert_eq!(writer.write(b"x"), Err(WriteError::Full), "as before");
    let visited = reader.for_each(100, |record| assert!(is_payload(record.payload(), record.offset().value())));
    assert_eq!(visited, Ok(7));
    assert_eq!(reader.for_each(100, |_| ()), Err(ReadError::Sealed));
    assert_eq!(reader.next().unwrap_err(), ReadError::Sealed);
    // Now there is room. It is not for this writer.
    for _ in 0..3 {
        assert_eq!(writer.write(b"late"), Err(WriteError::Sealed));
    }
    assert_eq!(reader.next().unwrap_err(), ReadError::Sealed);
    assert_eq!((reader.lag(), ring.tail().value()), (0, 14));
}

#[test]
fn a_refused_writer_stays_inside_the_ring() {
    fn refused(again: impl Fn(&mut Writer<&Ring<Party>>) -> Result<Offset, WriteError>) {
        // Longer than the ring is: what is written behind that shows.
        let end = CONFIG.lease_bytes().unwrap();
        let old = Arc::new(Owned::new(end + 128));
        let ring: Ring<_> = Ring::format(party(&old, OLD, 1), CONFIG).unwrap();
        let mut writer = Writer::claim(&ring).unwrap();
        let mut reader = Reader::join(&ring, "r", Start::Earliest).unwrap();
        // Up to 16 bytes before the ring's end, so that a record of 24 goes to its start.
        for offset in 0..10 {
            writer.write(&payload(offset, 24)).unwrap();
            assert_eq!(read(&mut reader).0, [offset]);
            reader.release();
        }
        take_over::<Retain>(&old, &memory(CONFIG), 7, 2).unwrap();
        for _ in 0..3 {
            assert_eq!(again(&mut writer), Err(WriteError::Sealed));
            assert_eq!(writer.write(&[0xff; 24]), Err(WriteError::Sealed));
        }
        assert!(old.image()[end..].iter().all(|byte| *byte == 0), "nothing is written behind the ring");
    }
    refused(|writer| writer.write(&[0xff; 24]));
    refused(|writer| writer.write_parts(0, &[&[0xff; 8], &[0xff; 16]]));
    refused(|writer| {
        let mut grant = writer.reserve(24)?;
        grant.bytes().fill(0xff);
        grant.commit(24)
    });
    refused(|writer| {
        let mut batch = writer.batch();
        let offset = batch.write(&[0xff; 24])?;
        batch.write(&[0xff; 24])?;
        batch.publish().map(|_| offset)
    });
}

#[test]
fn readers_have_their_places_in_the_successor() {
    let (old, new) = (memory(CONFIG), memory(CONFIG));
    let ring: Ring<_> = Ring::format(party(&old, OLD, 1), CONFIG).unwrap();
    let mut writer = Writer::claim(&ring).unwrap();
    let quick = Reader::join(&ring, "quick", Start::Earliest).unwrap();
    let slow = Reader::join(&ring, "slow", Start::Earliest).unwrap();
    for offset in 0..5 {
        writer.write(&bytes_of(offset)).unwrap();
    }
    assert!(matches!(quick.cross(&ring), Err(JoinError::Claimed)));
    let next = take_over::<Retain>(&old, &new, 7, 2).unwrap();
    let infos: Vec<_> = next.readers().map(|info| (info.name.as_str().to_owned(), info.progress.value())).collect();
    assert_eq!(infos, [("quick".to_owned(), 5), ("slow".to_owned(), 5)]);
    assert_eq!((next.head().value(), next.tail().value(), next.epoch()), (5, 5, Epoch::new(2)));
    // Not before it has read all.
    let error = quick.cross(&next).unwrap_err();
    assert!(matches!(error, JoinError::Seek(SeekError::Reclaimed { head }) if head.value() == 5), "{error}");
    let [mut quick, mut slow] = [quick, slow];
    assert_eq!(read(&mut quick).0.len(), 5);
    let mut quick = quick.cross(&next).unwrap();
    // One that came to the old log only after it was ended.
    let mut late = Reader::join(&ring, "late", Start::Earliest).unwrap();
    assert_eq!(read(&mut late).0.len(), 5);
    let mut writer = Writer::claim(&next).unwrap();
    for offset in 5..5 + 7 {
        assert_eq!(writer.write(&payload(offset, 8)).unwrap().value(), offset);
    }
    assert_eq!(read(&mut quick).0.len(), 7);
    quick.release();
    assert_eq!(writer.write(b"x"), Err(WriteError::Full), "kept for the slow one, which still reads the old log");
    assert_eq!(read(&mut slow).0.len(), 5);
    let mut slow = slow.cross(&next).unwrap();
    assert_eq!(read(&mut slow).0, (5..12).collect::<Vec<_>>());
    slow.release();
    writer.write(&bytes_of(12)).unwrap();
    assert!(matches!(late.cross(&next), Err(JoinError::Seek(SeekError::Reclaimed { .. }))), "it is told");
}

#[test]
fn offsets_go_on_over_many_extents_and_carries() {
    let shape = CONFIG;
    let start = u64::from(u32::MAX) - 9;
    let mut extent = memory(shape);
    // A log that begins just below 2^32.
    let mut bytes = {
        drop(Ring::<_>::format(party(&extent, OLD, 1), shape).unwrap());
        extent.image()
    };
    image::start_at(&mut bytes, start, 3);
    extent = Arc::new(Owned::of(&bytes));
    let mut expected = start;
    let mut seen = Vec::new();
    for epoch in 2..40_u32 {
        let ring: Ring<_> = Ring::attach(party(&extent, OLD, epoch)).unwrap();
        let mut reader = Reader::join(&ring, "r", Start::Resume).unwrap();
        let mut writer = Writer::claim(&ring).unwrap();
        for _ in 0..epoch % 4 {
            assert_eq!(writer.write(&bytes_of(expected)).unwrap().value(), expected);
            expected += 1;
        }
        drop(writer);
        let new = memory(shape);
        assert_eq!(take_over::<Retain>(&extent, &new, u128::from(epoch), epoch).unwrap().head().value(), expected);
        let (records, end) = read(&mut reader);
        seen.extend(records);
        assert_eq!(end, Err(ReadError::Sealed));
        extent = new;
    }
    assert!(seen.into_iter().eq(start..expected));
    assert!(expected > u64::from(u32::MAX) + 20);
}

#[test]
fn a_damaged_or_forged_seal_is_told() {
    let old = prepared(3);
    take_over::<Retain>(&old, &memory(CONFIG), 0xabcd, 2).unwrap();
    let sound = old.image();
    let opened = |image: &[u8]| -> Ring<Party> { Ring::attach(party(&Arc::new(Owned::of(image)), OLD, 9)).unwrap() };
    assert_eq!(opened(&sound).seal().unwrap().unwrap().successor.value(), 0xabcd);
    for at in 72..128 {
        for bit in 0..8 {
            let mut image = sound.clone();
            image[at] ^= 1 << bit;
            let ring = opened(&image);
            assert_eq!(ring.seal().unwrap_err().check(), Check::Seal, "bit {bit} of byte {at}");
            let mut reader = Reader::join(&ring, "slow", Start::Resume).unwrap();
            let (seen, end) = read(&mut reader);
            assert_eq!(seen.len(), 3);
            assert!(matches!(end, Err(ReadError::Corrupt(damage)) if damage.check() == Check::Seal), "{end:?}");
        }
    }
    // The slot says that the log goes on, the seal that it does not.
    let mut image = sound.clone();
    let stamp = image::low(3).wrapping_sub(8);
    let at = Shape::of(&image).slot_at(3);
    image::put(&mut image, at, &stamp.to_le_bytes());
    assert_eq!(opened(&image).seal().unwrap_err().check(), Check::Seal);
}

// ---- golden images

#[test]
fn sealed_images_stay_what_they_are() {
    let (old, new) = (prepared(5), memory(CONFIG));
    drop(take_over::<Retain>(&old, &new, 0xfeed_0000_0000_0000_0000_0000_0000_beef, 2).unwrap());
    for (name, today) in [("v1-sealed", old.image()), ("v1-successor", new.image())] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.bin"));
        if std::env::var("FABRIC_MQ_GOLDEN").as_deref() == Ok("write") && !path.exists() {
            std::fs::write(&path, &today).unwrap();
        }
        assert!(std::fs::read(&path).unwrap() == today, "{name} has changed: that is another format");
    }
    // The drawing's words: a control word that is closed, by the first attempt; epoch, tail, successor, check.
    let image = old.image();
    let halves: Vec<u16> =
        (72..128).step_by(4).map(|at| u16::from_le_bytes(image[at..at + 2].try_into().unwrap())).collect();
    assert!((72..128).step_by(4).all(|at| image[at + 2..at + 4] == [1, 0]), "the first attempt");
    let said: Vec<u8> = halves[1..13].iter().flat_map(|half| u32::from(*half).to_le_bytes()).collect();
    let crc = image::crc32c(&said) as u16;
    assert_eq!(halves, [0xc3a5, 2, 0, 5, 0, 0xbeef, 0, 0, 0, 0, 0, 0, 0xfeed, crc]);
    assert_eq!((image::u32_at(&image, 12), image::entry(&image, 5).stamp), (1, 5 ^ (1 << 31)));
    let next: Ring<_> = Ring::attach(party(&Arc::new(Owned::of(&new.image())), 1, 9)).unwrap();
    assert_eq!((next.head().value(), next.tail().value(), next.readers().count()), (5, 5, 1));
}
