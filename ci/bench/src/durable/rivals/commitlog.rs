//! commitlog: a log without acknowledgements and without a sync; a file beside it says how far its reader has got.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use commitlog::message::{MessageBuf, MessageSet};
use commitlog::{CommitLog, LogOptions, ReadLimit};

use crate::log::{BODY, Kind, Log, Mode};

pub const KIND: Kind = Kind { synced: false, ..Kind::new("commitlog + a cursor file", "commitlog", open) };

/// A record with what is in front of it, and less than two.
const MESSAGE: usize = BODY + 64;

struct Messages {
    log: CommitLog,
    cursor: File,
    next: u64,
}

fn open(directory: &Path, _: Mode) -> Box<dyn Log> {
    let log = CommitLog::new(LogOptions::new(directory)).expect("the log opens");
    let cursor = directory.join("cursor");
    let cursor = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(cursor).expect("a file");
    Box::new(Messages { log, cursor, next: 0 })
}

impl Log for Messages {
    fn append(&mut self, bodies: &[&[u8]]) {
        match bodies {
            [body] => _ = self.log.append_msg(body).expect("a record is appended"),
            bodies => {
                let mut messages = MessageBuf::default();
                for body in bodies {
                    messages.push(body).expect("a record is not too large");
                }
                self.log.append(&mut messages).expect("records are appended");
            }
        }
    }

    fn take(&mut self, most: usize, each: &mut dyn FnMut(&[u8])) -> usize {
        let found = self.log.read(self.next, ReadLimit::max_bytes(MESSAGE * most)).expect("records are read");
        let mut count = 0;
        for message in found.iter().take(most) {
            each(message.payload());
            count += 1;
        }
        if count != 0 {
            self.next += count as u64;
            self.cursor.write_all_at(&self.next.to_le_bytes(), 0).expect("a place is written");
        }
        count
    }

    fn first(&mut self, each: &mut dyn FnMut(&[u8])) -> Option<u64> {
        let found = self.log.read(0, ReadLimit::max_bytes(MESSAGE)).expect("records are read");
        each(found.iter().next().expect("there are some").payload());
        Some(self.log.next_offset())
    }
}
