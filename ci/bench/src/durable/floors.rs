//! Files without checks: what writing and reading cost by themselves. Records of one length, one behind the other, and a file
//! with the reader's place.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::log::{BODY, Kind, Log, Mode};

const BLOCK: usize = 64 << 10;
/// Bytes of the file that is written with zeros beforehand.
const PREWRITTEN: u64 = 64 << 20;

pub const BUFFERED: Kind = Kind {
    is_floor: true,
    package: None,
    synced: false,
    ..Kind::new("floor: write() of 64 KiB", "", |directory, mode| floor(directory, mode, BLOCK))
};
pub const WRITTEN: Kind = Kind {
    is_floor: true,
    package: None,
    synced: false,
    ..Kind::new("floor: write() per append", "", |directory, mode| floor(directory, mode, 0))
};
pub const PREPARED: Kind = Kind {
    is_floor: true,
    package: None,
    unsynced: false,
    batches: false,
    reopened: false,
    ..Kind::new("floor: pwrite + fdatasync, prewritten", "", |directory, mode| floor(directory, mode, 0))
};

struct Floor {
    log: File,
    cursor: File,
    mode: Mode,
    /// Bytes that are collected before they are written.
    most: usize,
    collected: Vec<u8>,
    written: u64,
    read: u64,
    window: Vec<u8>,
    window_at: u64,
}

fn floor(directory: &Path, mode: Mode, most: usize) -> Box<dyn Log> {
    std::fs::create_dir_all(directory).expect("a directory");
    let open = |name: &str| {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(directory.join(name));
        file.expect("a file")
    };
    let (log, cursor) = (open("log"), open("cursor"));
    let mut written = log.metadata().expect("a length").len();
    if mode == Mode::Synced {
        let zeros = vec![0; 1 << 20];
        for at in (0..PREWRITTEN).step_by(zeros.len()) {
            log.write_all_at(&zeros, at).expect("zeros");
        }
        log.sync_all().expect("a sync");
        written = 0;
    }
    Box::new(Floor {
        log,
        cursor,
        mode,
        most,
        collected: Vec::new(),
        written,
        read: 0,
        window: Vec::new(),
        window_at: 0,
    })
}

impl Floor {
    fn write(&mut self) {
        self.log.write_all_at(&self.collected, self.written).expect("bytes are written");
        self.written += self.collected.len() as u64;
        self.collected.clear();
    }

    fn at(&mut self, at: u64) -> Option<&[u8]> {
        if at + BODY as u64 > self.written + self.collected.len() as u64 {
            return None;
        }
        if at + BODY as u64 > self.written {
            self.write();
        }
        if at < self.window_at || at + BODY as u64 > self.window_at + self.window.len() as u64 {
            let len = (self.written - at).min(BLOCK as u64) as usize;
            self.window.resize(len, 0);
            self.log.read_exact_at(&mut self.window, at).expect("bytes are read");
            self.window_at = at;
        }
        self.window.get((at - self.window_at) as usize..)?.get(..BODY)
    }
}

impl Log for Floor {
    fn append(&mut self, bodies: &[&[u8]]) {
        for body in bodies {
            self.collected.extend_from_slice(body);
        }
        if self.collected.len() >= self.most {
            self.write();
        }
        if self.mode == Mode::Synced {
            self.log.sync_data().expect("bytes are synced");
        }
    }

    fn take(&mut self, most: usize, each: &mut dyn FnMut(&[u8])) -> usize {
        let mut count = 0;
        while count < most {
            let Some(body) = self.at(self.read) else { break };
            each(body);
            self.read += BODY as u64;
            count += 1;
        }
        if count != 0 {
            self.cursor.write_all_at(&self.read.to_le_bytes(), 0).expect("a place is written");
        }
        count
    }

    fn first(&mut self, each: &mut dyn FnMut(&[u8])) -> Option<u64> {
        each(self.at(0).expect("there are some"));
        Some(self.written / BODY as u64)
    }
}
