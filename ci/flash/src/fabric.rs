//! The journal: a partition, and one cursor.

use fabric_mq::durable::{CursorId, Journal, JournalConfig, NorStore, StoreError};

use crate::flash::Flash;
use crate::queue::Queue;

const CURSOR: &str = "main";

/// A pop is a read and a commit; of `GROUP` records, if it is more than one.
#[derive(Debug)]
pub struct Fabric<const GROUP: u64> {
    journal: Journal<NorStore<Flash>, 1, 1>,
    cursor: CursorId,
    done: u64,
}

impl<const GROUP: u64> Fabric<GROUP> {
    /// Bytes of RAM, the flash's driver not counted.
    pub const RAM: usize =
        size_of::<Journal<NorStore<Flash>, 1, 1>>() - size_of::<Flash>() + size_of::<CursorId>() + size_of::<u64>();
}

impl<const GROUP: u64> Queue for Fabric<GROUP> {
    const NAME: &'static str = if GROUP == 1 { "fabric-mq" } else { "fabric-mq, commits of 16" };

    fn format(flash: Flash) -> Self {
        let store = NorStore::whole(flash).expect("a flash of pages");
        let mut journal = Journal::format(store, JournalConfig::new(1)).expect("a journal fits");
        let cursor = journal.join(0, CURSOR).expect("there is room for a cursor");
        Self { journal, cursor, done: 0 }
    }

    fn open(flash: Flash) -> Self {
        let store = NorStore::whole(flash).expect("a flash of pages");
        let journal = Journal::open(store).expect("there is a journal");
        assert!(journal.recovery().damage.is_none(), "nothing is damaged");
        let cursor = journal.find(0, CURSOR).expect("the cursor is there");
        let done = journal.committed(cursor).expect("the cursor is there").value();
        Self { journal, cursor, done }
    }

    fn push(&mut self, body: &[u8]) -> bool {
        match self.journal.append(0, 0, &[body]) {
            Ok(_) => true,
            Err(StoreError::Full) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn peek(&mut self, into: &mut [u8]) -> Option<usize> {
        self.journal.next(self.cursor, into).expect("it can be read").map(|record| record.body().len())
    }

    fn pop(&mut self, into: &mut [u8]) -> Option<usize> {
        let record = self.journal.next(self.cursor, into).expect("it can be read")?;
        let (len, behind) = (record.body().len(), record.offset().value() + 1);
        if behind - self.done >= GROUP {
            self.journal.commit(self.cursor, behind.into()).expect("there is always room");
            self.done = behind;
        }
        Some(len)
    }
}
