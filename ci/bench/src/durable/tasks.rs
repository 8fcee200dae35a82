//! What is measured, by a process that does one thing with one implementation and says how long it took.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::log::{BODY, Kind, Log, Mode};

/// What comes before [`Task::Reopen`].
pub const FILL: &str = "fill";
/// Records of a batch, when there are batches.
const BATCH: usize = 1000;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Task {
    OneByOne,
    Batches,
    SyncEach,
    SyncGroups,
    SyncThousands,
    Reopen,
}

impl Task {
    pub const ALL: [Self; 6] =
        [Self::OneByOne, Self::Batches, Self::SyncEach, Self::SyncGroups, Self::SyncThousands, Self::Reopen];

    pub const fn id(self) -> &'static str {
        match self {
            Self::OneByOne => "D1",
            Self::Batches => "D1b",
            Self::SyncEach => "D2",
            Self::SyncGroups => "D2g",
            Self::SyncThousands => "D2k",
            Self::Reopen => "D3",
        }
    }

    /// Records of a batch.
    pub const fn batch(self) -> usize {
        match self {
            Self::OneByOne | Self::SyncEach => 1,
            Self::SyncGroups => 64,
            Self::Batches | Self::SyncThousands | Self::Reopen => BATCH,
        }
    }

    pub const fn suits(self, kind: &Kind) -> bool {
        match self {
            Self::OneByOne => kind.unsynced,
            Self::Batches => kind.unsynced && kind.batches,
            Self::SyncEach => kind.synced,
            // okaywal's and the floor's entries hold what is synced together.
            Self::SyncGroups | Self::SyncThousands => kind.synced && (kind.batches || !kind.unsynced),
            Self::Reopen => kind.reopened,
        }
    }

    /// Records of a round: of those that do not sync, as many as is said.
    pub const fn count(self, full: bool, records: usize) -> usize {
        match (self, full) {
            (Self::OneByOne | Self::Batches | Self::Reopen, _) => records,
            (Self::SyncEach, true) => 1_000,
            (Self::SyncEach, false) => 200,
            (Self::SyncGroups, true) => 64 * 200,
            (Self::SyncGroups, false) => 64 * 50,
            (Self::SyncThousands, true) => 100_000,
            (Self::SyncThousands, false) => 20_000,
        }
    }

    /// How many of them one implementation is given.
    pub const fn share(self, kind: &Kind, count: usize) -> usize {
        match self {
            Self::OneByOne => count / kind.fewer,
            _ => count,
        }
    }
}

/// What a process says.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Nanoseconds a record: all, appending, reading and acknowledging, the processor's.
    pub ns: f64,
    pub append_ns: f64,
    pub take_ns: f64,
    pub cpu_ns: f64,
    /// Microseconds of a call that syncs.
    pub p50: f64,
    pub p99: f64,
    /// Milliseconds until it was open, and until the first record was read.
    pub open_ms: f64,
    pub first_ms: f64,
    /// MiB: the most memory that the process had, and how much more than before opening.
    pub peak: f64,
    pub grown: f64,
}

impl Sample {
    pub fn parse(line: &str) -> Option<Self> {
        let mut numbers = line.split(' ').map(|word| word.parse().ok());
        let mut next = || numbers.next().flatten();
        Some(Self {
            ns: next()?,
            append_ns: next()?,
            take_ns: next()?,
            cpu_ns: next()?,
            p50: next()?,
            p99: next()?,
            open_ms: next()?,
            first_ms: next()?,
            peak: next()?,
            grown: next()?,
        })
    }

    fn print(&self) {
        let Self { ns, append_ns, take_ns, cpu_ns, p50, p99, open_ms, first_ms, peak, grown } = self;
        println!("{ns} {append_ns} {take_ns} {cpu_ns} {p50} {p99} {open_ms} {first_ms} {peak} {grown}");
    }
}

/// Does one thing, says how long it took, and ends as if it was killed: nothing is closed.
pub fn attend(kind: &Kind, task: &str, place: &Path, count: usize) -> ! {
    if task == FILL {
        let mut log = (kind.open)(place, Mode::Filling);
        append(&mut *log, count, BATCH, |_| {});
        Sample::default().print();
    } else {
        let task = Task::ALL.into_iter().find(|known| known.id() == task).expect("a task of ours");
        match task {
            Task::OneByOne | Task::Batches => through(kind, place, count, task.batch()),
            Task::SyncEach | Task::SyncGroups | Task::SyncThousands => synced(kind, place, count, task.batch()),
            Task::Reopen => reopened(kind, place, count),
        }
        .print();
    }
    std::process::exit(0)
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Bodies that do not compress; each has its number in front.
fn bodies() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..BATCH * BODY)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[7]
        })
        .collect()
}

fn append(log: &mut dyn Log, count: usize, batch: usize, mut each: impl FnMut(Duration)) {
    let mut bodies = bodies();
    let mut number = 0_u64;
    while (number as usize) < count {
        let batch = batch.min(count - number as usize);
        for body in bodies.chunks_exact_mut(BODY).take(batch) {
            body[..8].copy_from_slice(&number.to_le_bytes());
            number += 1;
        }
        let mut parts: [&[u8]; BATCH] = [&[]; BATCH];
        for (part, body) in parts.iter_mut().zip(bodies.chunks_exact(BODY)).take(batch) {
            *part = body;
        }
        let started = Instant::now();
        log.append(&parts[..batch]);
        each(started.elapsed());
    }
}

/// Whether a record is the one of that number.
fn is_whole(body: &[u8], number: u64) -> bool {
    body.len() == BODY && body.starts_with(&number.to_le_bytes())
}

fn through(kind: &Kind, place: &Path, count: usize, batch: usize) -> Sample {
    let mut log = (kind.open)(place, Mode::Unsynced);
    let mut bodies = bodies();
    let (before, started) = (cpu(), Instant::now());
    if batch == 1 {
        for number in 0..count {
            let body = &mut bodies[number % BATCH * BODY..][..BODY];
            body[..8].copy_from_slice(&(number as u64).to_le_bytes());
            log.append(&[body]);
        }
    } else {
        append(&mut *log, count, batch, |_| {});
    }
    let appended = started.elapsed();
    let mut number = 0;
    loop {
        let taken = log.take(batch, &mut |body| {
            assert!(is_whole(black_box(body), number), "record {number} is another one");
            number += 1;
        });
        if taken == 0 {
            break;
        }
    }
    let (all, spent) = (started.elapsed(), cpu() - before);
    assert_eq!(number, count as u64, "not all were handed back");
    let each = |time: Duration| time.as_secs_f64() * 1e9 / count as f64;
    Sample {
        ns: each(all),
        append_ns: each(appended),
        take_ns: each(all - appended),
        cpu_ns: each(spent),
        ..Sample::default()
    }
}

fn synced(kind: &Kind, place: &Path, count: usize, batch: usize) -> Sample {
    let mut log = (kind.open)(place, Mode::Synced);
    // Files are made, buffers are there.
    append(&mut *log, batch.max(64), batch, |_| {});
    let mut times = Vec::with_capacity(count / batch + 1);
    let before = cpu();
    append(&mut *log, count, batch, |time| times.push(time));
    let spent = cpu() - before;
    let all: Duration = times.iter().sum();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    // The median call's: a few of them wait for what others write to the disk.
    let ns = at(0.5) * 1e3 / batch as f64;
    let append_ns = all.as_secs_f64() * 1e9 / count as f64;
    let cpu_ns = spent.as_secs_f64() * 1e9 / count as f64;
    Sample { ns, append_ns, cpu_ns, p50: at(0.5), p99: at(0.99), ..Sample::default() }
}

fn reopened(kind: &Kind, place: &Path, count: usize) -> Sample {
    let before = memory("VmRSS:");
    let started = Instant::now();
    let mut log = (kind.open)(place, Mode::Filling);
    let open = started.elapsed();
    let found = log.first(&mut |body| assert!(is_whole(body, 0), "the first record is another one"));
    let first = started.elapsed();
    let peak = memory("VmHWM:");
    assert!(found.is_none_or(|found| found == count as u64), "{found:?} of {count} records are there");
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    Sample {
        ns: ms(first) * 1e6,
        open_ms: ms(open),
        first_ms: ms(first),
        peak,
        grown: peak - before,
        ..Sample::default()
    }
}

/// MiB of this process.
fn memory(field: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
}
