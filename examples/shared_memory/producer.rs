//! The producer: makes the topic, or takes it over from one that died, and sends.

use crate::journal::{Entry, Seen};
use crate::phase::Phase;
use crate::quakes::{Quakes, checksum};
use crate::site::{GROUP, GROUP_LEASE, MAX_LINE, POOL, REGISTRY, Request, SHAPE, TOPIC, Topics, group_config};
use crate::worker::{Failed, Task, Worker};
use fabric_mq::clock::MachineClock;
use fabric_mq::consumer::{Consumer, SeekPolicy};
use fabric_mq::group::{Group, GroupError};
use fabric_mq::lease::{Lease, SharedLease};
use fabric_mq::locator::{Locator, PoolKind, Registry, ResolveError};
use fabric_mq::message::{MAX_ENVELOPE, ProducerBlock, Record};
use fabric_mq::offset::MemOffsetStore;
use fabric_mq::partition::{Outcome, Partition};
use fabric_mq::producer::{Producer, SendError};
use fabric_mq::uri::Uri;
use fabric_mq::{LeaseError, Name, Offset, Ticks};
use std::time::Instant;

/// The group under which a producer looks what its predecessor has sent. It gives its places up again.
const RECOVERY: &str = "recovery";

pub(crate) fn run(task: Task) -> Result<(), Failed> {
    let quakes = Quakes::load()?;
    let end = task.repeat.map(|repeat| u64::from(repeat) * quakes.len());
    let mut worker = Worker::new(task)?;
    let pool = worker.task.site.open_pool()?;
    let topics = Topics::with_pool(pool, MachineClock::new());
    let registry = Registry::open(topics.pool(), REGISTRY)?;

    worker.enter(Phase::TakingOver)?;
    open(&topics, &registry)?;
    let mut number = next_number(&topics)?;
    let epoch = topics.open(TOPIC)?.partitions().first().map(|first| first.lease().epoch()).unwrap_or_default();
    worker.journal.add(Entry::From { number, at: Worker::now().as_millis() });
    worker.journal.flush()?;

    let (started, first) = (Instant::now(), number);
    let mut producer: Producer<&str, Topics> = Producer::new(TOPIC);
    while end.is_none_or(|end| number < end) && !worker.is_asked(Request::End)? {
        let due = started.elapsed().as_secs_f64() * f64::from(worker.task.rate);
        let Some(quake) = quakes.get(number).filter(|_| ((number - first) as f64) < due) else {
            worker.rest()?;
            continue;
        };
        let key = quake.net.as_bytes();
        let record = Record::new(&quake.line).with_key(key).with_producer(ProducerBlock::new(1, epoch, number));
        worker.enter(Phase::Sending)?;
        let receipt = match producer.send_record(&topics, record) {
            // The consumers are slow, or dead and not replaced yet.
            Err(SendError::TimedOut { .. }) => continue,
            other => other?,
        };
        // From here on the record must not be lost.
        worker.enter(Phase::Noting)?;
        if let Outcome::Stored(offset) = receipt.outcome {
            let checksum = checksum(number, key, &quake.line);
            let seen = Seen { partition: receipt.partition, offset: offset.value(), number, checksum };
            worker.journal.add(Entry::Acked(seen));
            worker.journal.flush()?;
        }
        number += 1;
    }
    worker.journal.add(Entry::Ended { number });
    worker.journal.flush()?;
    // The leases end with this process, so it waits until they were read.
    while !worker.is_asked(Request::Stop)? {
        worker.rest()?;
    }
    Ok(())
}

/// Opens the topic to write to it, and says in the registry that it is here.
fn open(topics: &Topics, registry: &Registry<SharedLease>) -> Result<(), Failed> {
    let uri = Uri::new(POOL, TOPIC)?;
    match registry.resolve::<8>(&uri) {
        // The one that published it is dead: the pool proves that by the locks of its leases, and refuses otherwise.
        Ok(found) => {
            topics.attach(TOPIC, found.config(), found.leases())?;
        }
        Err(ResolveError::Unknown) => {
            // What one has left that died before it came to publish.
            topics.pool().reap()?;
            topics.create(TOPIC, SHAPE)?;
            keep_places(topics)?;
            make_group(topics)?;
        }
        Err(error) => return Err(error.into()),
    }
    let topic = topics.open(TOPIC)?;
    registry.publish_next(&Locator::<8>::of(POOL, PoolKind::Shared, topic.view())?)?;
    Ok(())
}

/// Gives the group its places in the partitions before the first record: what it has not read is held from then on, also
/// while it has no members.
fn keep_places(topics: &Topics) -> Result<(), Failed> {
    let mut consumer: Consumer<&str, Topics> = Consumer::new(TOPIC, GROUP);
    consumer.assign(&topics.open(TOPIC)?.partitions().iter().map(Partition::number).collect::<Vec<_>>());
    let mut scratch = vec![0; MAX_LINE + MAX_ENVELOPE];
    consumer.seek_with(topics, &MemOffsetStore::new(), SeekPolicy::Earliest, &mut scratch)?;
    Ok(())
}

/// Makes the group's control area, unless it is there, and leaves it to the members.
fn make_group(topics: &Topics) -> Result<(), Failed> {
    let (name, config) = (Name::new(GROUP_LEASE)?, group_config());
    let pool = topics.pool();
    let lease = match pool.attach_named(&name) {
        Err(LeaseError::Unknown) => pool.acquire_named(&name, config.lease_bytes()?, Ticks::MAX)?,
        left => left?,
    };
    let group = match Group::try_attach(lease) {
        Ok(group) => group,
        Err((lease, GroupError::NotAGroup)) => Group::format(lease, config)?,
        Err((_, error)) => return Err(error.into()),
    };
    group.into_lease().abandon();
    Ok(())
}

/// The number of the first record that is not in the log. Records are sent one after the other, so it is the one behind the
/// highest among the partitions' last ones: nothing but the log says so, and nothing else could know.
fn next_number(topics: &Topics) -> Result<u64, Failed> {
    let topic = topics.open(TOPIC)?;
    let mut consumer: Consumer<&str, Topics> = Consumer::new(TOPIC, RECOVERY);
    let mut scratch = vec![0; MAX_LINE + MAX_ENVELOPE];
    let mut next = 0;
    for partition in topic.partitions() {
        let number = partition.number();
        let Some(last) = partition.tail().value().checked_sub(1) else { continue };
        consumer.assign(&[number]);
        let policy = SeekPolicy::Offset { partition: number, offset: Offset::new(last) };
        consumer.seek_with(topics, &MemOffsetStore::new(), policy, &mut scratch)?;
        let mut found = None;
        consumer.poll_into(topics, 1, &mut scratch, |message| found = message.producer())?;
        let found = found.ok_or(Failed::NoLast { partition: number })?;
        next = next.max(found.sequence + 1);
    }
    // Places that are only left would hold the records behind them.
    consumer.assign(&topic.partitions().iter().map(Partition::number).collect::<Vec<_>>());
    consumer.close(topics)?;
    Ok(next)
}
