//! A consumer: one member of the group.

use crate::journal::{Entry, Seen};
use crate::phase::Phase;
use crate::quakes::checksum;
use crate::site::{GROUP_LEASE, MAX_LINE, PARTITIONS, POOL, REGISTRY, Request, TOPIC, Topics};
use crate::worker::{Failed, Task, Worker};
use core::cell::RefCell;
use fabric_mq::clock::MachineClock;
use fabric_mq::consumer::CommitError;
use fabric_mq::group::{Group, GroupConsumer, GroupConsumerError, MemberConfig, MemberError, Rebalance};
use fabric_mq::lease::SharedLease;
use fabric_mq::locator::{Locator, Registry, ResolveError};
use fabric_mq::message::{MAX_ENVELOPE, MessageRef};
use fabric_mq::offset::OffsetError;
use fabric_mq::uri::Uri;
use fabric_mq::{Epoch, Name, Offset, Ticks};
use std::rc::Rc;

/// Records between two commits, at most.
const BATCH: usize = 64;
/// A heartbeat may be late by this, in milliseconds, before it is noted.
const LATE: u64 = 10;

type Reader<'g> = GroupConsumer<&'g Group<SharedLease>, Topics, Listener, { PARTITIONS as usize }, 8>;

pub(crate) fn run(task: Task) -> Result<(), Failed> {
    let mut worker = Worker::new(task)?;
    let pool = worker.task.site.open_pool()?;
    let topics = Topics::with_pool(pool, MachineClock::new());
    let registry = Registry::open(topics.pool(), REGISTRY)?;
    let Some(found) = resolve(&mut worker, &registry)? else { return Ok(()) };
    // A holder that is killed meanwhile, and another one after it, are the same to a reader.
    topics.join(TOPIC, found.config(), found.leases())?;
    let group = Group::attach(topics.pool().join_named(&Name::new(GROUP_LEASE)?)?)?;

    let config = MemberConfig::new().with_session(worker.task.session).with_interval(worker.task.interval);
    let book = Rc::new(RefCell::new(Book { worker, epochs: [0; PARTITIONS as usize], touched: 0, joined: false }));
    let consumer = GroupConsumer::with_listener(&group, config, Listener(Rc::clone(&book)))?;
    consume(&topics, &book, consumer)
}

/// Waits for the topic. `None` if it is told to go.
fn resolve(worker: &mut Worker, registry: &Registry<SharedLease>) -> Result<Option<Locator<8>>, Failed> {
    let uri = Uri::new(POOL, TOPIC)?;
    loop {
        match registry.resolve(&uri) {
            Ok(found) => return Ok(Some(found)),
            Err(ResolveError::Unknown) if worker.is_asked(Request::Leave)? => return Ok(None),
            Err(ResolveError::Unknown) => worker.rest()?,
            Err(error) => return Err(error.into()),
        }
    }
}

fn consume(topics: &Topics, book: &RefCell<Book>, mut consumer: Reader<'_>) -> Result<(), Failed> {
    let mut scratch = vec![0; MAX_LINE + MAX_ENVELOPE];
    let mut last = Worker::now();
    while !book.borrow_mut().worker.is_asked(Request::Leave)? {
        let now = Worker::now();
        book.borrow_mut().note_gap(last, now);
        last = now;
        if now >= consumer.next_step() {
            book.borrow().worker.enter(Phase::Claiming)?;
        }
        match consumer.step(topics, now) {
            // It was stopped for a whole session: the next step joins again.
            Err(GroupConsumerError::Member(MemberError::Lapsed)) => continue,
            // The dead still have the places, until somebody looks.
            Err(GroupConsumerError::Member(MemberError::Full { .. })) => {
                book.borrow().worker.rest()?;
                continue;
            }
            other => other?,
        }
        book.borrow_mut().note_joined(&consumer, now)?;
        book.borrow().worker.enter(Phase::Reading)?;
        let count = consumer.poll_into(topics, now, BATCH, &mut scratch, |message| book.borrow_mut().read(&message))?;
        if count == 0 {
            book.borrow().worker.rest()?;
            continue;
        }
        commit(topics, &mut book.borrow_mut(), &mut consumer)?;
    }
    // Its partitions are free at once.
    consumer.leave()?;
    book.borrow_mut().worker.journal.flush()?;
    Ok(())
}

/// Commits what was read, once it is noted: what was not is read again, by this member or by its successor.
fn commit(topics: &Topics, book: &mut Book, consumer: &mut Reader<'_>) -> Result<(), Failed> {
    let touched = core::mem::take(&mut book.touched);
    let partitions = || (0..PARTITIONS).filter(|partition| touched & (1 << partition) != 0);
    book.worker.enter(Phase::Noting)?;
    for partition in partitions() {
        if let Some(position) = consumer.position(partition) {
            let (epoch, offset) = (book.epoch(partition), position.value());
            book.worker.journal.add(Entry::Committing { partition, epoch, offset });
        }
    }
    book.worker.journal.flush()?;
    book.worker.enter(Phase::Committing)?;
    for partition in partitions() {
        let Some(position) = consumer.position(partition) else { continue };
        let (epoch, offset) = (book.epoch(partition), position.value());
        let entry = match consumer.commit_to(partition, position) {
            Ok(()) => Entry::Committed { partition, epoch, offset },
            Err(error) if is_stale(&error) => Entry::Refused { partition, epoch },
            Err(error) => return Err(error.into()),
        };
        book.worker.journal.add(entry);
    }
    // The same once more, but this gives the records up as well.
    match consumer.commit(topics) {
        Err(error) if !is_stale(&error) => return Err(error.into()),
        _ => {}
    }
    book.worker.enter(Phase::Noting)?;
    Ok(book.worker.journal.flush()?)
}

/// Whether a partition is another's meanwhile.
const fn is_stale(error: &CommitError) -> bool {
    matches!(error, CommitError::Store { error: OffsetError::Stale { .. } | OffsetError::NotClaimed { .. }, .. })
}

/// What the consumer notes.
#[derive(Debug)]
struct Book {
    worker: Worker,
    /// Under which it has each partition; 0 if it has not.
    epochs: [u32; PARTITIONS as usize],
    /// A bit for each partition that was read since the last commit.
    touched: u32,
    joined: bool,
}

impl Book {
    fn epoch(&self, partition: u32) -> u32 {
        self.epochs.get(partition as usize).copied().unwrap_or_default()
    }

    fn set_epoch(&mut self, partition: u32, epoch: u32) -> u32 {
        self.epochs.get_mut(partition as usize).map_or(0, |known| core::mem::replace(known, epoch))
    }

    fn read(&mut self, message: &MessageRef<'_>) {
        let (partition, offset) = (message.partition(), message.offset().value());
        let number = message.producer().map_or(u64::MAX, |producer| producer.sequence);
        let checksum = checksum(number, message.key().unwrap_or_default(), message.payload());
        let seen = Seen { partition, offset, number, checksum };
        self.worker.journal.add(Entry::Read { epoch: self.epoch(partition), seen });
        self.touched |= 1 << partition;
    }

    /// Notes that this process was not let run, for whoever wonders why a takeover was late.
    fn note_gap(&mut self, last: Ticks, now: Ticks) {
        let millis = now.as_millis().saturating_sub(last.as_millis());
        if millis > LATE {
            self.worker.journal.add(Entry::Held { millis, at: now.as_millis() });
        }
    }

    fn note_joined(&mut self, consumer: &Reader<'_>, now: Ticks) -> Result<(), Failed> {
        if !self.joined && consumer.member().place().is_some() {
            self.joined = true;
            self.worker.journal.add(Entry::Joined { at: now.as_millis() });
        }
        // Also what the listener has noted.
        Ok(self.worker.journal.flush()?)
    }
}

/// Notes which partitions come and go.
#[derive(Debug)]
struct Listener(Rc<RefCell<Book>>);

impl Listener {
    fn gone(&self, partition: u32) {
        let mut book = self.0.borrow_mut();
        let epoch = book.set_epoch(partition, 0);
        book.touched &= !(1 << partition);
        book.worker.journal.add(Entry::Gone { partition, epoch, at: Worker::now().as_millis() });
        // If it fails, so does the next one, which tells.
        let _ = book.worker.journal.flush();
    }
}

impl Rebalance for Listener {
    fn assigned(&mut self, partition: u32, epoch: Epoch, from: Offset) {
        let mut book = self.0.borrow_mut();
        let (epoch, from, at) = (epoch.value(), from.value(), Worker::now().as_millis());
        book.set_epoch(partition, epoch);
        book.worker.journal.add(Entry::Claimed { partition, epoch, from, at });
        let _ = book.worker.journal.flush();
    }

    fn revoked(&mut self, partition: u32, _: Offset) -> Option<Offset> {
        self.gone(partition);
        // All that was handed out was committed behind the poll.
        None
    }

    fn lost(&mut self, partition: u32) {
        self.gone(partition);
    }
}
