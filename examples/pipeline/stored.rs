//! The same with records on disk: a run that was killed, at any moment, is gone on with by the next one.
//!
//! Producers send to the topic as ever. A spool moves what they sent into a journal in files, and what is consumed is read
//! from there, by a cursor a partition that remembers how far it has got. A later run reads the input from the start again:
//! what is stored is not sent again, and what was consumed is only counted.

use crate::args::{Options, Passes};
use crate::arrivals::Arrivals;
use crate::audit;
use crate::consume::{ConsumeError, Consumed, rest};
use crate::outcomes;
use crate::produce;
use crate::progress::Progress;
use crate::report::Report;
use crate::{EndOfInput, GROUP, MAX_LINE, TOPIC};
use core::error::Error;
use fabric_mq::Offset;
use fabric_mq::durable::{FileConfig, FileStore, Journal, JournalConfig, PumpError, Spool, SpoolMode, StoreError};
use fabric_mq::lease::HeapLease;
use fabric_mq::message::MAX_ENVELOPE;
use fabric_mq::partition::{Counted, Hold};
use fabric_mq::topic::{TopicManager, partition_of};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Instant;

const PARTITIONS: usize = 4;
/// Tells this program's journal from others.
const ID: u64 = 0x7175_616b_6573_0001;
/// Records between two commits, at most.
const BATCH: usize = 256;
/// Segments of 1 MiB, made as they are needed and used again: at most 1 GiB waits.
const FILES: FileConfig = FileConfig::new().with_segment_bytes(1 << 20).with_segments(1024);

type Log = Spool<<Counted<HeapLease> as Hold>::Retain, FileStore, PARTITIONS, PARTITIONS>;

/// What the two sides know of the runs before.
struct Before {
    /// Records of each partition that are stored, and that were consumed.
    stored: [u64; PARTITIONS],
    consumed: [u64; PARTITIONS],
    /// What has arrived from each partition, in whichever run.
    arrivals: [Mutex<Arrivals>; PARTITIONS],
    /// Set once everything that was consumed before is counted.
    counted: OnceLock<()>,
}

impl Before {
    fn arrivals(&self, partition: usize) -> Option<MutexGuard<'_, Arrivals>> {
        self.arrivals.get(partition).map(|arrivals| arrivals.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The records of the input, one by one, as the runs before have left them.
struct Resume<'b> {
    before: &'b Before,
    seen: [u64; PARTITIONS],
}

impl Resume<'_> {
    /// Whether an earlier run has stored this record. One that was consumed then counts as arrived.
    fn is_stored(&mut self, key: &str, sequence: u64, payload: &[u8]) -> bool {
        let number = partition_of(key.as_bytes(), PARTITIONS as u32);
        let partition = number as usize;
        let (Some(seen), Some(stored), Some(consumed)) =
            (self.seen.get_mut(partition), self.before.stored.get(partition), self.before.consumed.get(partition))
        else {
            return false;
        };
        let offset = *seen;
        *seen += 1;
        if offset < *consumed
            && let Some(mut arrivals) = self.before.arrivals(partition)
        {
            // It was checked when it was consumed.
            let _ = arrivals.count(number, Some(key), Some(sequence), payload);
        }
        let is_stored = offset < *stored;
        self.look();
        is_stored
    }

    /// Lets the consumer begin once it is known what came before.
    fn look(&self) {
        if self.seen.iter().zip(&self.before.consumed).all(|(seen, consumed)| seen >= consumed) {
            let _ = self.before.counted.set(());
        }
    }
}

pub(crate) fn run<'a>(
    options: &'a Options,
    directory: &Path,
    topics: &TopicManager,
    passes: &mut Passes<'_>,
    mut progress: Progress,
) -> Result<Report<'a>, Box<dyn Error>> {
    let topic = topics.open(TOPIC)?;
    let store = FileStore::open(directory, FILES).map_err(|error| format!("{}: {error}", directory.display()))?;
    let journal = Journal::open_or_format(store, JournalConfig::new(ID).with_partitions(PARTITIONS))?;
    if let Some(damage) = journal.recovery().damage {
        return Err(
            format!("{}: {damage} are damaged; look at it with the example inspect", directory.display()).into()
        );
    }
    let mut log: Log = Spool::of_topic(journal, topic.view(), SpoolMode::WriteThrough)?;
    let mut before = Before {
        stored: [0; PARTITIONS],
        consumed: [0; PARTITIONS],
        arrivals: Default::default(),
        counted: OnceLock::new(),
    };
    for (partition, (stored, consumed)) in (0..).zip(before.stored.iter_mut().zip(&mut before.consumed)) {
        let cursor = log.join(partition, GROUP)?;
        *consumed = log.journal().committed(cursor).map_or(0, Offset::value);
        *stored = log.journal().span(partition).map_or(0, |(_, next)| next.value());
    }
    let (stored_before, consumed_before) = (before.stored, before.consumed);

    let started = Instant::now();
    let done = OnceLock::new();
    let (produced, consumed) = thread::scope(|scope| {
        let consumer = scope.spawn(|| consume(log, &before, &done));
        let end = EndOfInput(&done);
        let mut resume = Resume { before: &before, seen: [0; PARTITIONS] };
        resume.look();
        let stopped = || consumer.is_finished();
        let produced = produce::run(
            topics,
            passes,
            &mut progress,
            || {},
            stopped,
            |key, sequence, payload| resume.is_stored(key, sequence, payload),
        );
        let seen = resume.seen;
        drop(end);
        (produced.map(|produced| (produced, seen)), consumer.join())
    });
    let elapsed = started.elapsed();
    progress.finish();
    let (peaks, ends) = outcomes([consumed])?.pop().ok_or("the consumer did not say how it ended")?;
    let (produced, seen) = produced?;
    if seen.iter().zip(stored_before).any(|(seen, stored)| *seen < stored) {
        return Err(format!("{} holds more than this input: it was made of another one", directory.display()).into());
    }

    let consumed: Vec<_> = before
        .arrivals
        .into_iter()
        .zip(peaks)
        .zip(0..)
        .map(|((arrivals, peak), number)| {
            let arrivals = arrivals.into_inner().unwrap_or_else(PoisonError::into_inner);
            Consumed { arrivals, lost: 0, peaks: vec![(number, peak)] }
        })
        .collect();
    // The topic is this run's; the journal's offsets go on.
    let mut stats = topic.stats();
    for (stats, (next, _)) in stats.iter_mut().zip(&ends) {
        stats.tail = *next;
    }
    let committed = |number: u32| Ok(ends.get(number as usize).map(|(_, committed)| *committed));
    let mut partitions = audit::partitions(&stats, committed, &consumed)?;
    for partition in &mut partitions {
        partition.consumer = 1;
    }
    let faults = audit::faults(&produced, &consumed, &partitions);
    let resumed = Some((stored_before.iter().sum(), consumed_before.iter().sum()));
    Ok(Report { options, produced, consumed, members: Vec::new(), partitions, faults, elapsed, resumed })
}

/// The next offset and the committed one of each partition.
type Ends = Vec<(Offset, Offset)>;

/// Moves what was sent to the disk, and consumes it from there, until nothing more will come. Answers the farthest that each
/// partition was behind, and how it ended.
fn consume(mut log: Log, before: &Before, done: &OnceLock<()>) -> Result<([u64; PARTITIONS], Ends), ConsumeError> {
    let store = |error: &dyn Error| ConsumeError::Store(error.to_string().into());
    let mut buffer = vec![0; MAX_LINE + MAX_ENVELOPE];
    let mut peaks = [0; PARTITIONS];
    let mut idle = 0;
    loop {
        // Looked at before the rest: what was sent before the end of input is moved by this round or a later one.
        let last = done.get().is_some();
        match log.pump() {
            // Full: what is consumed now makes room.
            Ok(_) | Err(PumpError::Store(StoreError::Full)) => {}
            Err(error) => return Err(store(&error)),
        }
        let mut count = 0;
        for (partition, peak) in (0_u8..).zip(&mut peaks).filter(|_| before.counted.get().is_some()) {
            let (Some(cursor), Some(mut arrivals)) = (log.find(partition, GROUP), before.arrivals(partition.into()))
            else {
                continue;
            };
            *peak = log.lag(cursor).unwrap_or(0).max(*peak);
            let mut next = None;
            for _ in 0..BATCH {
                let Some(record) = log.next(cursor, &mut buffer).map_err(|error| store(&error))? else { break };
                arrivals.take(&record.message(partition.into()).map_err(|error| store(&error))?);
                next = Some(Offset::new(record.offset().value() + 1));
                count += 1;
            }
            if let Some(next) = next {
                log.commit(cursor, next).map_err(|error| store(&error))?;
            }
        }
        if count > 0 {
            idle = 0;
        } else if last {
            break;
        } else {
            rest(idle);
            idle += 1;
        }
    }
    log.flush().map_err(|error| store(&error))?;
    let ends = (0..PARTITIONS as u8).map(|partition| {
        let next = log.journal().span(partition).map_or_else(Offset::default, |(_, next)| next);
        let committed = log.find(partition, GROUP).and_then(|cursor| log.journal().committed(cursor));
        (next, committed.unwrap_or_default())
    });
    let ends = ends.collect();
    log.close().map_err(|error| store(&error))?;
    Ok((peaks, ends))
}
