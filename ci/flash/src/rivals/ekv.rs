//! ekv, a table in a log-structured tree, as a queue: the key is a number that rises, each push and each pop a transaction.

use ::ekv::flash::{Flash as EkvFlash, PageID};
use ::ekv::{Config, Database, ReadError, WriteError};
use embassy_futures::block_on;
use embassy_sync::blocking_mutex::raw::NoopRawMutex;

use crate::flash::{Flash, PAGE};
use crate::queue::Queue;

struct Pages(Flash);

impl EkvFlash for Pages {
    type Error = core::convert::Infallible;

    fn page_count(&self) -> usize {
        self.0.pages()
    }

    async fn erase(&mut self, page: PageID) -> Result<(), Self::Error> {
        let at = page.index() * PAGE;
        self.0.wipe(at, at + PAGE);
        Ok(())
    }

    async fn read(&mut self, page: PageID, offset: usize, data: &mut [u8]) -> Result<(), Self::Error> {
        self.0.fetch(page.index() * PAGE + offset, data);
        Ok(())
    }

    async fn write(&mut self, page: PageID, offset: usize, data: &[u8]) -> Result<(), Self::Error> {
        self.0.program(page.index() * PAGE + offset, data);
        Ok(())
    }
}

/// Head and tail are known in RAM; after a reset they are looked up.
pub struct Ekv {
    table: Database<Pages, NoopRawMutex>,
    head: Option<u32>,
    next: Option<u32>,
    pushed: usize,
    most: usize,
}

impl Ekv {
    fn on(flash: Flash, body: usize) -> Self {
        // It cannot delete any more once it is full.
        let most = flash.bytes() * 2 / 5 / (body + 8);
        let mut config = Config::default();
        config.random_seed = 7;
        Self { table: Database::new(Pages(flash), config), head: None, next: None, pushed: 0, most }
    }

    fn last_key(&self) -> Option<u32> {
        block_on(async {
            let reading = self.table.read_transaction().await;
            let mut cursor = reading.read_all().await.expect("it can be read");
            let (mut key, mut body, mut last) = ([0; 4], [0; 256], None);
            while let Some(_) = cursor.next(&mut key, &mut body).await.expect("it can be read") {
                last = Some(u32::from_be_bytes(key));
            }
            last
        })
    }

    /// The first record from the head on.
    fn first(&self, into: &mut [u8]) -> Option<(u32, usize)> {
        block_on(async {
            let reading = self.table.read_transaction().await;
            let mut key = [0; 4];
            if let Some(head) = self.head {
                return match reading.read(&head.to_be_bytes(), into).await {
                    Ok(len) => Some((head, len)),
                    Err(ReadError::KeyNotFound) => None,
                    Err(error) => panic!("{error:?}"),
                };
            }
            let mut cursor = reading.read_all().await.expect("it can be read");
            let (_, len) = cursor.next(&mut key, into).await.expect("it can be read")?;
            Some((u32::from_be_bytes(key), len))
        })
    }
}

impl Queue for Ekv {
    const NAME: &'static str = "ekv as a queue";
    const MOST: usize = 4000;

    fn format(flash: Flash) -> Self {
        let mut queue = Self::on(flash, 64);
        block_on(queue.table.format()).expect("it can be formatted");
        (queue.head, queue.next) = (Some(0), Some(0));
        queue
    }

    fn open(flash: Flash) -> Self {
        let queue = Self::on(flash, 64);
        block_on(queue.table.mount()).expect("it can be opened");
        queue
    }

    fn push(&mut self, body: &[u8]) -> bool {
        if self.pushed * (body.len() + 8) > self.most * (64 + 8) {
            return false;
        }
        let next = self.next.unwrap_or_else(|| self.last_key().map_or(0, |last| last + 1));
        let stored = block_on(async {
            let mut writing = self.table.write_transaction().await;
            match writing.write(&next.to_be_bytes(), body).await {
                Ok(()) => {}
                Err(WriteError::Full) => return false,
                Err(error) => panic!("{error:?}"),
            }
            writing.commit().await.is_ok()
        });
        if stored {
            self.next = Some(next + 1);
            self.pushed += 1;
        }
        stored
    }

    fn peek(&mut self, into: &mut [u8]) -> Option<usize> {
        let (head, len) = self.first(into)?;
        self.head = Some(head);
        Some(len)
    }

    fn pop(&mut self, into: &mut [u8]) -> Option<usize> {
        let (head, len) = self.first(into)?;
        block_on(async {
            let mut writing = self.table.write_transaction().await;
            writing.delete(&head.to_be_bytes()).await.expect("it can be deleted");
            writing.commit().await.expect("it can be deleted");
        });
        self.head = Some(head + 1);
        self.pushed -= 1;
        Some(len)
    }
}
