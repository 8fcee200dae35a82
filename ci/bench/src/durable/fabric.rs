//! The journal in files, segments and buffers as they come.

use std::path::Path;

use fabric_mq::durable::{CursorId, FileConfig, FileStore, Journal, JournalConfig, OpenError};

use crate::log::{BODY, Kind, Log, Mode};

pub const NAME: &str = "fabric-mq";
pub const KIND: Kind = Kind::new(NAME, "fabric-mq", open);

struct Fabric {
    journal: Journal<FileStore, 1, 1>,
    cursor: CursorId,
    mode: Mode,
}

fn open(directory: &Path, mode: Mode) -> Box<dyn Log> {
    let store = || FileStore::open(directory, FileConfig::new()).expect("the store opens");
    let mut journal = match Journal::open(store()) {
        Err(OpenError::None) => Journal::format(store(), JournalConfig::new(1)).expect("a journal is made"),
        opened => opened.expect("the journal opens"),
    };
    let cursor = journal.join(0, "bench").expect("there is room for a cursor");
    Box::new(Fabric { journal, cursor, mode })
}

impl Log for Fabric {
    fn append(&mut self, bodies: &[&[u8]]) {
        match bodies {
            [body] => self.journal.append(0, 0, &[body]),
            bodies => self.journal.append_batch(0, 0, bodies),
        }
        .expect("records are appended");
        if self.mode != Mode::Unsynced {
            self.journal.sync().expect("records are synced");
        }
    }

    fn take(&mut self, most: usize, each: &mut dyn FnMut(&[u8])) -> usize {
        let mut buffer = [0; BODY];
        let (mut count, mut behind) = (0, None);
        while count < most
            && let Some(record) = self.journal.next(self.cursor, &mut buffer).expect("records are read")
        {
            each(record.body());
            behind = Some(record.offset().value() + 1);
            count += 1;
        }
        if let Some(behind) = behind {
            self.journal.commit(self.cursor, behind.into()).expect("records are acknowledged");
        }
        count
    }

    fn first(&mut self, each: &mut dyn FnMut(&[u8])) -> Option<u64> {
        let mut buffer = [0; BODY];
        let record = self.journal.next(self.cursor, &mut buffer).expect("records are read").expect("there are some");
        each(record.body());
        assert!(self.journal.recovery().damage.is_none(), "nothing is damaged");
        self.journal.span(0).map(|(from, to)| to.value() - from.value())
    }
}
