//! walrus-rust: a log in mapped files of 1 GB. It notes its reader's place every 1,000 records: each time would be a sync and a
//! renamed file. Its batches are left out: not all records are handed back.

use std::path::Path;

use walrus_rust::{FsyncSchedule, ReadConsistency, Walrus};

use crate::log::{Kind, Log, Mode};

pub const KIND: Kind = Kind { batches: false, fewer: 200, ..Kind::new("walrus-rust", "walrus-rust", open) };

/// Where it keeps everything, by a variable of the environment that the main program sets.
pub const VARIABLE: &str = "WALRUS_DATA_DIR";
const TOPIC: &str = "bench";

fn open(directory: &Path, mode: Mode) -> Box<dyn Log> {
    let key = directory.file_name().and_then(|name| name.to_str()).expect("a name");
    let schedule = if mode == Mode::Synced { FsyncSchedule::SyncEach } else { FsyncSchedule::NoFsync };
    let consistency = ReadConsistency::AtLeastOnce { persist_every: 1000 };
    let log = Walrus::with_consistency_and_schedule_for_key(key, consistency, schedule).expect("the log opens");
    Box::new(Wal(log))
}

struct Wal(Walrus);

impl Log for Wal {
    fn append(&mut self, bodies: &[&[u8]]) {
        match bodies {
            [body] => self.0.append_for_topic(TOPIC, body),
            bodies => self.0.batch_append_for_topic(TOPIC, bodies),
        }
        .expect("records are appended");
    }

    fn take(&mut self, most: usize, each: &mut dyn FnMut(&[u8])) -> usize {
        let mut count = 0;
        while count < most
            && let Some(entry) = self.0.read_next(TOPIC, true).expect("records are read")
        {
            each(&entry.data);
            count += 1;
        }
        count
    }

    fn first(&mut self, each: &mut dyn FnMut(&[u8])) -> Option<u64> {
        each(&self.0.read_next(TOPIC, false).expect("a record is read").expect("there are some").data);
        None
    }
}
