//! What all the processes agree on: names, shapes, and where things are.

use core::fmt;
use fabric_mq::Ticks;
use fabric_mq::clock::MachineClock;
use fabric_mq::group::GroupConfig;
use fabric_mq::lease::SharedPool;
use fabric_mq::locator::RegistryConfig;
use fabric_mq::partition::FullPolicy;
use fabric_mq::topic::{TopicConfig, TopicManager};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) const PARTITIONS: u32 = 4;
pub(crate) const CONSUMERS: usize = 3;
pub(crate) const POOL: &str = "shared-memory";
pub(crate) const TOPIC: &str = "earthquakes";
pub(crate) const GROUP: &str = "bulletin";
/// The lease of the group's control area, in the pool.
pub(crate) const GROUP_LEASE: &str = "bulletin.group";
/// The leases while all is well: one for each partition, the group's, and the registry's.
pub(crate) const LEASES: usize = PARTITIONS as usize + 2;

/// 4 partitions of 1,024 records or 256 KiB, whichever is reached first. One group reads, and now and then a producer that
/// takes over looks where its predecessor has got to.
pub(crate) const SHAPE: TopicConfig = TopicConfig::new()
    .with_partitions(PARTITIONS)
    .with_slots(1024)
    .with_capacity(256 * 1024)
    .with_groups(2)
    .with_timestamps(false)
    .with_full(FullPolicy::Wait { timeout: Ticks::from_millis(50) });

pub(crate) const REGISTRY: RegistryConfig = RegistryConfig::new().with_topics(4).with_partitions(8);

/// The longest line that becomes a record.
pub(crate) const MAX_LINE: usize = 64 * 1024;

pub(crate) type Topics = TopicManager<SharedPool<MachineClock>, MachineClock>;

/// Places for two generations of consumers: the dead keep theirs until somebody has looked.
pub(crate) fn group_config() -> GroupConfig<'static> {
    GroupConfig::new(GROUP, TOPIC, PARTITIONS).with_places(8)
}

/// What the parent asks of its children: files beside the journals, so that also one that starts later sees them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Request {
    /// The producer is to send no more records.
    End,
    /// The consumers are to leave the group, and go.
    Leave,
    /// The producer is to go.
    Stop,
}

impl Request {
    const fn file(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Leave => "leave",
            Self::Stop => "stop",
        }
    }
}

/// The two directories of a run.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// The pool: shared memory.
    pub(crate) pool: PathBuf,
    /// Journals, phases and requests: ordinary files.
    pub(crate) notes: PathBuf,
}

impl Site {
    /// The directories of the run whose parent is this process.
    pub(crate) fn of_process(process: u32) -> Self {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let name = format!("fabric-mq-shared-memory-{process}");
        Self { pool: parent.join(&name), notes: std::env::temp_dir().join(format!("{name}-notes")) }
    }

    pub(crate) fn open_pool(&self) -> Result<SharedPool<MachineClock>, fabric_mq::LeaseError> {
        SharedPool::open(&self.pool, MachineClock::new())
    }

    pub(crate) fn ask(&self, request: Request) -> io::Result<()> {
        fs::write(self.notes.join(request.file()), [])
    }

    pub(crate) fn is_asked(&self, request: Request) -> bool {
        self.notes.join(request.file()).exists()
    }

    /// Takes away what the dead have left in shared memory, and the directory if nothing else is in it. Answers what is left.
    pub(crate) fn clear(&self) -> Vec<OsString> {
        // Opening would make it again.
        if self.pool.exists()
            && let Ok(pool) = self.open_pool()
        {
            // What could not be removed is seen below.
            let _ = pool.reap();
        }
        let left = fs::read_dir(&self.pool).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
        let _ = fs::remove_dir(&self.pool);
        left
    }

    /// Clears up for a parent that was killed. Each of its children does, and what one of them still holds, or looks at, the
    /// others cannot take away: so each tries in a time of its own until nothing is left, or the rest must be hanging.
    pub(crate) fn abandon(&self) {
        let pause = core::time::Duration::from_millis(5 + u64::from(std::process::id() % 7));
        for _ in 0..1000 {
            self.clear();
            if !self.pool.exists() {
                break;
            }
            std::thread::sleep(pause);
        }
        let _ = fs::remove_dir_all(&self.notes);
    }
}

/// What a process that was started for it does.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Role {
    Producer,
    Consumer,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        })
    }
}
