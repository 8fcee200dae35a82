//! A table of keys and values as a queue: the key is a number that rises; a push puts, an acknowledgement deletes. What waits is
//! kept in memory beside it, and loaded when it is opened, so that reading costs the table nothing.

use std::collections::VecDeque;

use crate::log::Log;

pub trait Table {
    fn put(&mut self, from: u64, bodies: &[&[u8]]);
    fn delete(&mut self, from: u64, count: usize);
    fn load(&mut self, each: &mut dyn FnMut(u64, &[u8]));
}

pub struct Queue<T> {
    table: T,
    ready: VecDeque<Box<[u8]>>,
    head: u64,
}

impl<T: Table + 'static> Queue<T> {
    pub fn boxed(mut table: T) -> Box<dyn Log> {
        let (mut ready, mut head) = (VecDeque::new(), None);
        table.load(&mut |key, body| {
            head.get_or_insert(key);
            ready.push_back(body.into());
        });
        Box::new(Self { table, ready, head: head.unwrap_or(0) })
    }
}

impl<T: Table> Log for Queue<T> {
    fn append(&mut self, bodies: &[&[u8]]) {
        self.table.put(self.head + self.ready.len() as u64, bodies);
        self.ready.extend(bodies.iter().map(|body| Box::from(*body)));
    }

    fn take(&mut self, most: usize, each: &mut dyn FnMut(&[u8])) -> usize {
        let count = most.min(self.ready.len());
        for body in self.ready.drain(..count) {
            each(&body);
        }
        self.table.delete(self.head, count);
        self.head += count as u64;
        count
    }

    fn first(&mut self, each: &mut dyn FnMut(&[u8])) -> Option<u64> {
        each(self.ready.front().expect("there are some"));
        Some(self.ready.len() as u64)
    }
}
