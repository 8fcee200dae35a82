//! What is counted: each operation in rounds, of which only the part in `counted` counts.

use std::error::Error;
use std::hint::black_box;

use fabric_mq::Ticks;
use fabric_mq::clock::ManualClock;
use fabric_mq::consumer::{Consumer, SeekPolicy};
use fabric_mq::lease::{HeapLease, HeapPool, Pool};
use fabric_mq::offset::MemOffsetStore;
use fabric_mq::producer::Producer;
use fabric_mq::ring::{Keep, Overwrite, Reader, Retain, Ring, RingConfig, SharedWriter, Start, Writer};
use fabric_mq::topic::{TopicConfig, TopicManager};

type Outcome = Result<u64, Box<dyn Error>>;
type Manager = TopicManager<HeapPool<&'static ManualClock>, &'static ManualClock>;

/// Room for twice a round, so that no record is refused; the writer still asks for room and the reader still releases it.
const SLOTS: u32 = 1024;
const BYTES: u32 = 131_072;
/// Operations in a round.
const ROUND: usize = 512;
const BATCH: usize = 32;
const PAYLOAD: [u8; 64] = [0x5a; 64];

static CLOCK: ManualClock = ManualClock::new();

#[derive(Debug)]
pub struct Operation {
    pub name: &'static str,
    /// Runs so many rounds; answers how many operations were in them.
    pub run: fn(u64) -> Outcome,
}

/// All of them. The names stand in the baseline.
pub const ALL: [Operation; 14] = [
    Operation { name: "ring: write 64 B", run: write::<Retain> },
    Operation { name: "ring: write 64 B, overwriting", run: write::<Overwrite> },
    Operation { name: "ring: reserve and commit 64 B", run: reserve },
    Operation { name: "ring: write 64 B in a batch of 32", run: batch },
    Operation { name: "ring: shared write 64 B", run: shared_write },
    Operation { name: "ring: next", run: next },
    Operation { name: "ring: for_each of 32", run: for_each },
    Operation { name: "ring: copy_next, overwriting", run: copy_next },
    Operation { name: "producer: send 64 B", run: send },
    Operation { name: "producer: send_keyed 64 B", run: send_keyed },
    Operation { name: "consumer: poll_with of 32, a message", run: poll_with_many },
    Operation { name: "consumer: poll_with of 1", run: poll_with_one },
    Operation { name: "consumer: poll_with of none", run: poll_with_none },
    Operation { name: "consumer: poll of 32, a message", run: poll },
];

/// The counter is switched on when this function is entered, and off when it is left: see `count`.
#[inline(never)]
fn fabric_mq_counted(work: impl FnOnce() -> Outcome) -> Outcome {
    black_box(work())
}

fn ring<K: Keep>() -> Result<Ring<HeapLease, K>, Box<dyn Error>> {
    let config = RingConfig::new(SLOTS, BYTES);
    let lease = HeapPool::new(&CLOCK).acquire(config.lease_bytes()?, Ticks::MAX)?;
    Ok(Ring::format(lease, config)?)
}

/// Runs rounds of `work`, which answers how many operations it was, and `after` behind each.
fn rounds<S>(
    count: u64,
    state: &mut S,
    before: impl Fn(&mut S) -> Outcome,
    work: impl Fn(&mut S) -> Outcome,
    after: impl Fn(&mut S) -> Outcome,
) -> Outcome {
    let mut operations = 0;
    for _ in 0..count {
        before(state)?;
        operations += fabric_mq_counted(|| work(state))?;
        after(state)?;
    }
    Ok(operations)
}

fn nothing<S>(_: &mut S) -> Outcome {
    Ok(0)
}

/// The operations of a round, if it was all of them.
fn all_of(done: usize) -> Outcome {
    if done == ROUND { Ok(done as u64) } else { Err(format!("{done} operations in a round of {ROUND}").into()) }
}

fn write<K: Keep>(count: u64) -> Outcome {
    let ring = ring::<K>()?;
    let mut state = (Writer::claim(&ring)?, Reader::join(&ring, "main", Start::Earliest)?);
    rounds(
        count,
        &mut state,
        nothing,
        |(writer, _)| {
            for _ in 0..ROUND {
                black_box(writer.write(black_box(&PAYLOAD))?);
            }
            all_of(ROUND)
        },
        |(_, reader)| {
            let mut buffer = [0; 64];
            let mut read = 0;
            while reader.copy_next(&mut buffer)?.is_some() {
                read += 1;
            }
            all_of(read)
        },
    )
}

fn drain(reader: &mut Reader<&Ring<HeapLease>>) -> Outcome {
    all_of(reader.for_each(2 * ROUND, |record| {
        black_box(record.payload());
    })?)
}

fn reserve(count: u64) -> Outcome {
    let ring = ring()?;
    let mut state = (Writer::claim(&ring)?, Reader::join(&ring, "main", Start::Earliest)?);
    rounds(
        count,
        &mut state,
        nothing,
        |(writer, _)| {
            for _ in 0..ROUND {
                let mut grant = writer.reserve(black_box(64))?;
                grant.bytes().copy_from_slice(black_box(&PAYLOAD));
                black_box(grant.commit(64)?);
            }
            all_of(ROUND)
        },
        |(_, reader)| drain(reader),
    )
}

fn batch(count: u64) -> Outcome {
    let ring = ring()?;
    let mut state = (Writer::claim(&ring)?, Reader::join(&ring, "main", Start::Earliest)?);
    rounds(
        count,
        &mut state,
        nothing,
        |(writer, _)| {
            let mut written = 0;
            while written < ROUND {
                let mut batch = writer.batch();
                for _ in 0..BATCH {
                    batch.write(black_box(&PAYLOAD))?;
                }
                written += batch.publish()?;
            }
            all_of(written)
        },
        |(_, reader)| drain(reader),
    )
}

fn shared_write(count: u64) -> Outcome {
    let ring = ring()?;
    let mut state = (SharedWriter::claim(&ring)?, Reader::join(&ring, "main", Start::Earliest)?);
    rounds(
        count,
        &mut state,
        nothing,
        |(writer, _)| {
            for _ in 0..ROUND {
                black_box(writer.write(black_box(&PAYLOAD))?);
            }
            all_of(ROUND)
        },
        |(_, reader)| drain(reader),
    )
}

fn fill<K: Keep>(writer: &mut Writer<&Ring<HeapLease, K>>) -> Outcome {
    for _ in 0..ROUND {
        writer.write(&PAYLOAD)?;
    }
    all_of(ROUND)
}

fn next(count: u64) -> Outcome {
    let ring = ring()?;
    let mut state = (Writer::claim(&ring)?, Reader::join(&ring, "main", Start::Earliest)?);
    rounds(
        count,
        &mut state,
        |(writer, _)| fill(writer),
        |(_, reader)| {
            let mut read = 0;
            while let Some(record) = reader.next()? {
                black_box(record.payload());
                read += 1;
            }
            all_of(read)
        },
        nothing,
    )
}

fn for_each(count: u64) -> Outcome {
    let ring = ring()?;
    let mut state = (Writer::claim(&ring)?, Reader::join(&ring, "main", Start::Earliest)?);
    rounds(
        count,
        &mut state,
        |(writer, _)| fill(writer),
        |(_, reader)| {
            let mut read = 0;
            for _ in 0..ROUND / BATCH {
                read += reader.for_each(BATCH, |record| {
                    black_box(record.payload());
                })?;
            }
            all_of(read)
        },
        nothing,
    )
}

fn copy_next(count: u64) -> Outcome {
    let ring = ring::<Overwrite>()?;
    let mut state = (Writer::claim(&ring)?, Reader::join(&ring, "main", Start::Earliest)?);
    rounds(
        count,
        &mut state,
        |(writer, _)| fill(writer),
        |(_, reader)| {
            let mut buffer = [0; 64];
            let mut read = 0;
            while reader.copy_next(black_box(&mut buffer))?.is_some() {
                read += 1;
            }
            all_of(read)
        },
        nothing,
    )
}

/// A topic of one partition, its producer, and a consumer that has a place there.
struct Front {
    topics: Manager,
    producer: Producer<&'static str, Manager>,
    consumer: Consumer<&'static str, Manager>,
}

impl Front {
    fn new() -> Result<Self, Box<dyn Error>> {
        let topics = Manager::with_pool(HeapPool::new(&CLOCK), &CLOCK);
        topics.create("events", TopicConfig::new().with_partitions(1).with_slots(SLOTS).with_capacity(BYTES))?;
        let mut consumer = Consumer::new("events", "group");
        consumer.assign(&[0]);
        consumer.seek(&topics, &MemOffsetStore::new(), SeekPolicy::Earliest)?;
        Ok(Self { topics, producer: Producer::new("events"), consumer })
    }

    fn fill(&mut self) -> Outcome {
        for _ in 0..ROUND {
            self.producer.send(&self.topics, &PAYLOAD)?;
        }
        all_of(ROUND)
    }

    fn poll(&mut self, max: usize) -> Result<usize, Box<dyn Error>> {
        let mut polled = 0;
        self.consumer.poll_with(&self.topics, max, |message| {
            black_box(message.payload());
            polled += 1;
        })?;
        Ok(polled)
    }

    /// Takes everything, and lets go of it.
    fn drain(&mut self) -> Outcome {
        let polled = self.poll(2 * ROUND)?;
        self.poll(1)?;
        all_of(polled)
    }
}

fn send(count: u64) -> Outcome {
    let work = |front: &mut Front| {
        for _ in 0..ROUND {
            black_box(front.producer.send(&front.topics, black_box(&PAYLOAD))?);
        }
        all_of(ROUND)
    };
    rounds(count, &mut Front::new()?, nothing, work, Front::drain)
}

fn send_keyed(count: u64) -> Outcome {
    let work = |front: &mut Front| {
        for _ in 0..ROUND {
            black_box(front.producer.send_keyed(&front.topics, black_box(b"sensor-7"), black_box(&PAYLOAD))?);
        }
        all_of(ROUND)
    };
    rounds(count, &mut Front::new()?, nothing, work, Front::drain)
}

fn poll_with_many(count: u64) -> Outcome {
    let work = |front: &mut Front| {
        let mut polled = 0;
        for _ in 0..ROUND / BATCH {
            polled += front.poll(BATCH)?;
        }
        all_of(polled)
    };
    rounds(count, &mut Front::new()?, Front::fill, work, |front| front.poll(1).map(|none| none as u64))
}

fn poll_with_one(count: u64) -> Outcome {
    let work = |front: &mut Front| {
        let mut polled = 0;
        for _ in 0..ROUND {
            polled += front.poll(1)?;
        }
        all_of(polled)
    };
    rounds(count, &mut Front::new()?, Front::fill, work, |front| front.poll(1).map(|none| none as u64))
}

fn poll_with_none(count: u64) -> Outcome {
    let work = |front: &mut Front| {
        for _ in 0..ROUND {
            if front.poll(BATCH)? != 0 {
                return Err("there was a message".into());
            }
        }
        all_of(ROUND)
    };
    rounds(count, &mut Front::new()?, nothing, work, nothing)
}

fn poll(count: u64) -> Outcome {
    let work = |front: &mut Front| {
        let mut polled = 0;
        for _ in 0..ROUND / BATCH {
            polled += black_box(front.consumer.poll(&front.topics, BATCH)?).len();
        }
        all_of(polled)
    };
    rounds(count, &mut Front::new()?, Front::fill, work, |front| front.poll(1).map(|none| none as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_does_what_it_says_so_often() {
        for operation in ALL {
            for count in [1, 2, 9] {
                let done = (operation.run)(count).expect(operation.name);
                assert_eq!(done, count * ROUND as u64, "{}", operation.name);
            }
        }
    }

    #[test]
    fn names_are_unique_and_fit_the_baseline() {
        for (at, operation) in ALL.iter().enumerate() {
            assert!(ALL[..at].iter().all(|other| other.name != operation.name));
            assert!(!operation.name.contains(['\t', '\n', '#']) && operation.name == operation.name.trim());
        }
    }
}
