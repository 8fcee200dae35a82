//! fjall: a table in a log-structured tree.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::table::{Queue, Table};
use crate::log::{Kind, Log, Mode};

pub const KIND: Kind = Kind::new("fjall queue", "fjall", open);

struct Tree {
    database: Database,
    records: Keyspace,
    mode: Mode,
}

fn open(directory: &Path, mode: Mode) -> Box<dyn Log> {
    let database = Database::builder(directory).open().expect("the table opens");
    let records = database.keyspace("records", KeyspaceCreateOptions::default).expect("a keyspace");
    Queue::boxed(Tree { database, records, mode })
}

impl Tree {
    fn persist(&self) {
        if self.mode == Mode::Synced {
            self.database.persist(PersistMode::SyncData).expect("it is synced");
        }
    }
}

impl Table for Tree {
    fn put(&mut self, from: u64, bodies: &[&[u8]]) {
        if let [body] = bodies {
            self.records.insert(from.to_be_bytes(), *body).expect("a record is put");
        } else {
            let mut batch = self.database.batch();
            for (key, body) in (from..).zip(bodies) {
                batch.insert(&self.records, key.to_be_bytes(), *body);
            }
            batch.commit().expect("records are put");
        }
        self.persist();
    }

    fn delete(&mut self, from: u64, count: usize) {
        if count == 1 {
            self.records.remove(from.to_be_bytes()).expect("a record is deleted");
        } else {
            let mut batch = self.database.batch();
            for key in (from..).take(count) {
                batch.remove(&self.records, key.to_be_bytes());
            }
            batch.commit().expect("records are deleted");
        }
        self.persist();
    }

    fn load(&mut self, each: &mut dyn FnMut(u64, &[u8])) {
        for record in self.records.iter() {
            let (key, body) = record.into_inner().expect("it can be read");
            each(u64::from_be_bytes(key.as_ref().try_into().expect("a key of ours")), &body);
        }
    }
}
