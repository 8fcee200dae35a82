//! okaywal: a write-ahead log. Every commit syncs, and records are read back when it is opened only; what it checkpoints is
//! given up here.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use okaywal::{Configuration, Entry, EntryId, LogManager, SegmentReader, WriteAheadLog};

use crate::log::{Kind, Log, Mode};

pub const KIND: Kind = Kind { unsynced: false, batches: false, ..Kind::new("okaywal", "okaywal", open) };

#[derive(Debug, Default)]
struct Found {
    first: Option<Vec<u8>>,
    count: u64,
}

#[derive(Debug)]
struct Manager(Arc<Mutex<Found>>);

impl LogManager for Manager {
    fn recover(&mut self, entry: &mut Entry<'_>) -> io::Result<()> {
        let chunks = entry.read_all_chunks()?.unwrap_or_default();
        let mut found = self.0.lock().expect("nobody panics");
        found.count += chunks.len() as u64;
        if found.first.is_none() {
            found.first = chunks.into_iter().next();
        }
        Ok(())
    }

    fn checkpoint_to(&mut self, _: EntryId, _: &mut SegmentReader, _: &WriteAheadLog) -> io::Result<()> {
        Ok(())
    }
}

struct Wal(WriteAheadLog, Arc<Mutex<Found>>);

fn open(directory: &Path, mode: Mode) -> Box<dyn Log> {
    let found = Arc::new(Mutex::new(Found::default()));
    let mut config = Configuration::default_for(directory);
    if mode == Mode::Filling {
        // Nothing may be given up before it was opened again.
        config = config.checkpoint_after_bytes(1 << 40);
    }
    let log = config.open(Manager(Arc::clone(&found))).expect("the log opens");
    Box::new(Wal(log, found))
}

impl Log for Wal {
    fn append(&mut self, bodies: &[&[u8]]) {
        let mut entry = self.0.begin_entry().expect("an entry is begun");
        for body in bodies {
            entry.write_chunk(body).expect("a record is written");
        }
        entry.commit().expect("records are synced");
    }

    fn take(&mut self, _: usize, _: &mut dyn FnMut(&[u8])) -> usize {
        unreachable!("it is read when it is opened only")
    }

    fn first(&mut self, each: &mut dyn FnMut(&[u8])) -> Option<u64> {
        let found = self.1.lock().expect("nobody panics");
        each(found.first.as_ref().expect("there are some"));
        Some(found.count)
    }
}
