//! redb: a table in a B-tree, a transaction each. Unsynced, nothing is written before a transaction that is.

use std::path::Path;

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::table::{Queue, Table};
use crate::log::{Kind, Log, Mode};

pub const KIND: Kind = Kind { fewer: 20, ..Kind::new("redb queue", "redb", open) };

const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");

struct Tree(Database, Mode);

fn open(directory: &Path, mode: Mode) -> Box<dyn Log> {
    std::fs::create_dir_all(directory).expect("a directory");
    let table = Database::create(directory.join("redb")).expect("the table opens");
    Queue::boxed(Tree(table, mode))
}

impl Tree {
    fn write(&mut self, act: impl FnOnce(&mut redb::Table<'_, u64, &'static [u8]>)) {
        let mut writing = self.0.begin_write().expect("a transaction");
        let durability = if self.1 == Mode::Unsynced { Durability::None } else { Durability::Immediate };
        writing.set_durability(durability).expect("a durability");
        act(&mut writing.open_table(RECORDS).expect("a table"));
        writing.commit().expect("it is committed");
    }
}

impl Table for Tree {
    fn put(&mut self, from: u64, bodies: &[&[u8]]) {
        self.write(|table| {
            for (key, body) in (from..).zip(bodies) {
                table.insert(key, *body).expect("a record is put");
            }
        });
    }

    fn delete(&mut self, from: u64, count: usize) {
        self.write(|table| {
            for key in (from..).take(count) {
                table.remove(key).expect("a record is deleted");
            }
        });
    }

    fn load(&mut self, each: &mut dyn FnMut(u64, &[u8])) {
        let reading = self.0.begin_read().expect("a transaction");
        let Ok(table) = reading.open_table(RECORDS) else { return };
        for record in table.iter().expect("it can be read") {
            let (key, body) = record.expect("it can be read");
            each(key.value(), body.value());
        }
    }
}
