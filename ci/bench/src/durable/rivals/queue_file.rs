//! queue-file: a queue in one file that grows.

use std::path::Path;

use queue_file::QueueFile;

use crate::log::{Kind, Log, Mode};

pub const KIND: Kind = Kind::new("queue-file", "queue-file", open);

struct File(QueueFile, Vec<u8>);

fn open(directory: &Path, mode: Mode) -> Box<dyn Log> {
    std::fs::create_dir_all(directory).expect("a directory");
    let mut queue = QueueFile::open(directory.join("queue")).expect("the queue opens");
    queue.set_sync_writes(mode == Mode::Synced);
    Box::new(File(queue, Vec::new()))
}

impl Log for File {
    fn append(&mut self, bodies: &[&[u8]]) {
        match bodies {
            [body] => self.0.add(body),
            bodies => self.0.add_n(bodies.iter().copied()),
        }
        .expect("records are appended");
    }

    fn take(&mut self, most: usize, each: &mut dyn FnMut(&[u8])) -> usize {
        if most == 1 {
            let found = self.0.peek_into(&mut self.1).expect("a record is read");
            if found {
                each(&self.1);
                self.0.remove().expect("a record is acknowledged");
            }
            return usize::from(found);
        }
        let mut count = 0;
        let mut records = self.0.iter();
        while count < most
            && let Some(body) = records.borrowed_next()
        {
            each(body);
            count += 1;
        }
        drop(records);
        self.0.remove_n(count).expect("records are acknowledged");
        count
    }

    fn first(&mut self, each: &mut dyn FnMut(&[u8])) -> Option<u64> {
        assert!(self.0.peek_into(&mut self.1).expect("a record is read"), "there are some");
        each(&self.1);
        Some(self.0.size() as u64)
    }
}
