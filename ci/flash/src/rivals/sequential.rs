//! sequential-storage's queue, without a cache and with those of pages.

use embassy_futures::block_on;
use sequential_storage::Error;
use sequential_storage::cache::page_pointers::HeapPagePointers;
use sequential_storage::cache::page_states::HeapPageStates;
use sequential_storage::cache::{Cache, Uncached};
use sequential_storage::queue::{QueueConfig, QueueStorage};

use crate::flash::{Flash, PAGE};
use crate::queue::Queue;

type NoCache = Cache<Uncached, Uncached, Uncached>;
type PageCaches = Cache<HeapPageStates, HeapPagePointers, Uncached>;

fn config(flash: &Flash) -> QueueConfig<Flash> {
    QueueConfig::new(0..(flash.pages() * PAGE) as u32)
}

macro_rules! queue {
    ($name:ident, $cache:ty, $title:literal, $make:expr) => {
        pub struct $name(QueueStorage<Flash, $cache>);

        impl Queue for $name {
            const NAME: &'static str = $title;

            fn format(flash: Flash) -> Self {
                let mut queue = Self::open(flash);
                block_on(queue.0.erase_all()).expect("it can be erased");
                queue
            }

            fn open(flash: Flash) -> Self {
                let make: fn(usize) -> $cache = $make;
                let (config, cache) = (config(&flash), make(flash.pages()));
                Self(QueueStorage::new(flash, config, cache))
            }

            fn push(&mut self, body: &[u8]) -> bool {
                match block_on(self.0.push(body, false)) {
                    Ok(()) => true,
                    Err(Error::FullStorage) => false,
                    Err(error) => panic!("{error:?}"),
                }
            }

            fn peek(&mut self, into: &mut [u8]) -> Option<usize> {
                block_on(self.0.peek(into)).expect("it can be read").map(|body| body.len())
            }

            fn pop(&mut self, into: &mut [u8]) -> Option<usize> {
                block_on(self.0.pop(into)).expect("it can be read").map(|body| body.len())
            }
        }
    };
}

queue!(Plain, NoCache, "sequential-storage, no cache", |_| Cache::new_uncached());
queue!(Cached, PageCaches, "sequential-storage, page caches", |pages| {
    Cache::new(HeapPageStates::new(pages), HeapPagePointers::new(pages), Uncached)
});
