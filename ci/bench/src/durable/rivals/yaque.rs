//! yaque: a queue without a sync. It notes its reader's place every 350 ms, as it comes, but not every 250 records.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_executor::block_on;
use yaque::{Receiver, ReceiverBuilder, Sender};

use crate::log::{Kind, Log, Mode};

pub const KIND: Kind = Kind { synced: false, ..Kind::new("yaque", "yaque", open) };

struct Yaque {
    directory: PathBuf,
    sender: Sender,
    receiver: Option<Receiver>,
    sent: usize,
}

fn open(directory: &Path, _: Mode) -> Box<dyn Log> {
    // What a process that was killed has locked.
    let _ = yaque::recovery::unlock_queue(directory);
    let sender = Sender::open(directory).expect("the queue opens");
    Box::new(Yaque { directory: directory.to_owned(), sender, receiver: None, sent: 0 })
}

impl Yaque {
    fn receiver(&mut self) -> &mut Receiver {
        let Self { directory, receiver, .. } = self;
        receiver.get_or_insert_with(|| {
            let builder = ReceiverBuilder::new().save_every_nth(None).save_every(Some(Duration::from_millis(350)));
            builder.open(directory).expect("the queue opens")
        })
    }
}

impl Log for Yaque {
    fn append(&mut self, bodies: &[&[u8]]) {
        match bodies {
            [body] => self.sender.try_send(body).map_err(|_| ()).expect("a record is sent"),
            bodies => self.sender.try_send_batch(bodies).map_err(|_| ()).expect("records are sent"),
        }
        self.sent += bodies.len();
    }

    fn take(&mut self, most: usize, each: &mut dyn FnMut(&[u8])) -> usize {
        let most = most.min(self.sent);
        self.sent -= most;
        match most {
            0 => {}
            1 => {
                let guard = block_on(self.receiver().recv()).expect("a record is read");
                each(&guard);
                guard.commit().expect("a record is acknowledged");
            }
            most => {
                let guard = block_on(self.receiver().recv_batch(most)).expect("records are read");
                guard.iter().for_each(|body| each(body));
                guard.commit().expect("records are acknowledged");
            }
        }
        most
    }

    fn first(&mut self, each: &mut dyn FnMut(&[u8])) -> Option<u64> {
        let guard = block_on(self.receiver().recv()).expect("a record is read");
        each(&guard);
        guard.rollback().expect("the record stays");
        None
    }
}
