//! The topic that takes dead letters: finding it, holding its letters, writing to it.

use super::cause::Cause;
use super::control::{Control, Texts};
use super::error::DlqError;
use super::redriven::Redriven;
use super::table::Row;
use crate::consumer::PollError;
use crate::error::{JoinError, NameError, ReadError, WriteError};
use crate::lease::{Lease, Lend};
use crate::message::MessageRef;
use crate::name::{self, MAX_TOPIC_NAME, Name};
use crate::partition::{AppendError, Cursor, Hold, Partition};
use crate::producer::{SendError, refusal};
use crate::ring::{Reader, RingRef, Start};
use crate::topic::{TopicError, TopicRef, Topics};
use crate::types::{LeaseId, Offset, Ticks};

/// What a topic's name is followed by in that of its dead letter queue.
pub const SUFFIX: &str = ".dlq";
/// The group whose place in each partition of a dead letter queue holds its letters.
pub const KEEPER: &str = "dlq";
/// How many may look at a partition's letters at the same time.
const LOOKERS: [&str; 8] = [".dlq-0", ".dlq-1", ".dlq-2", ".dlq-3", ".dlq-4", ".dlq-5", ".dlq-6", ".dlq-7"];

pub(super) type TopicName = heapless::String<MAX_TOPIC_NAME>;

/// The name of a topic's dead letter queue.
pub(super) fn name_of(topic: &str) -> Result<TopicName, DlqError> {
    let long = || NameError::Length { len: topic.len(), max: MAX_TOPIC_NAME.saturating_sub(SUFFIX.len()) };
    name::check(topic.as_bytes(), MAX_TOPIC_NAME)?;
    let mut name = TopicName::new();
    name.push_str(topic).and_then(|()| name.push_str(SUFFIX)).map_err(|_| long())?;
    Ok(name)
}

/// Whether a topic takes dead letters.
pub(super) fn check<S: Topics>(topics: &S, handle: &S::Handle, name: &str) -> Result<(), DlqError> {
    if topics.topic(handle, name)?.config().dead_letters { Ok(()) } else { Err(DlqError::NotMarked) }
}

/// The keeper's place in one partition.
pub(super) fn keep<H: Hold>(partition: &Partition<H>) -> Result<Cursor<H>, DlqError> {
    let number = partition.number();
    let keeper = Name::new(KEEPER)?;
    Cursor::join(partition, &keeper).map_err(|error| DlqError::Letters(PollError::join(number, error)))
}

/// Sees to it that there is a keeper's place in each partition, so that nobody else's reading gives letters up.
pub(super) fn hold<S: Topics>(topics: &S, handle: &S::Handle, name: &str) -> Result<(), DlqError> {
    for partition in topics.topic(handle, name)?.partitions() {
        let ring = partition.retained().ok_or(DlqError::NotMarked)?;
        if ring.ring().readers().any(|reader| reader.name.as_str() == KEEPER) {
            continue;
        }
        match keep(partition) {
            Ok(cursor) => cursor.park(),
            // Somebody was faster, and is at work.
            Err(DlqError::Letters(PollError::Claimed { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Where a router's letters go.
pub(super) struct Graves<'t, S: Topics> {
    topics: &'t S,
    /// The queue, or why there is none at present.
    dead: Result<TopicRef<'t, S::Hold>, TopicError>,
    topic: &'t str,
    group: Name,
}

impl<'t, S: Topics> Graves<'t, S> {
    /// `handle` is that of the queue, if there is one at present.
    pub(super) fn new(
        topics: &'t S,
        handle: Option<&'t S::Handle>,
        topic: &'t str,
        group: Name,
    ) -> Result<Self, DlqError> {
        let name = name_of(topic)?;
        let dead = handle.map_or(Err(TopicError::Unknown), |handle| borrow(topics, handle, &name));
        Ok(Self { topics, dead, topic, group })
    }

    pub(super) fn now(&self) -> Ticks {
        self.topics.now()
    }

    pub(super) const fn topic(&self) -> &'t str {
        self.topic
    }

    pub(super) fn group(&self) -> &str {
        self.group.as_str()
    }

    /// The partition of the queue for letters of a source partition: all of one are together, in the order of their deaths.
    pub(super) fn partition(&self, source: u32) -> Result<&'t Partition<S::Hold>, DlqError> {
        let dead = self.queue()?;
        let partitions = dead.partition_count();
        let number = source.checked_rem(partitions).unwrap_or(0);
        let missing = DlqError::Dlq(SendError::NoSuchPartition { partition: number, partitions });
        dead.partition(number).ok_or(missing)
    }

    fn queue(&self) -> Result<TopicRef<'t, S::Hold>, DlqError> {
        self.dead.map_err(|error| DlqError::Dlq(SendError::Topic(error)))
    }

    /// Writes the letter of a record with this tag and these bytes.
    pub(super) fn write(&self, row: &Row, lease: LeaseId, tag: u8, bytes: &[u8]) -> Result<(u32, Offset), DlqError> {
        let partition = self.partition(row.partition)?;
        let message = MessageRef::parse(row.partition, Offset::new(row.offset), tag, bytes).ok();
        let died = self.now();
        let redriven = message.as_ref().and_then(Redriven::of).filter(|mark| mark.group == self.group());
        let failed = row.first <= row.last;
        let control = Control {
            cause: if message.is_some() { row.cause } else { Cause::Damaged },
            damaged: message.is_none().then_some(tag),
            redrives: redriven.map_or(0, |mark| mark.redrives),
            partition: row.partition,
            attempts: row.attempts,
            offset: Offset::new(row.offset),
            lease,
            first: if failed { row.first } else { died },
            last: if failed { row.last } else { died },
            died,
        };
        let texts = Texts { topic: self.topic, group: self.group(), reason: row.reason.as_str() };
        let fixed = control.encode(texts);
        let (tag, envelope, payload) = message.map_or((0, &[][..], bytes), |message| message.split());
        let parts =
            [envelope, &fixed, texts.topic.as_bytes(), texts.group.as_bytes(), texts.reason.as_bytes(), payload];
        append(self.queue()?, partition, tag, &parts)
    }
}

fn borrow<'t, S: Topics>(
    topics: &'t S,
    handle: &'t S::Handle,
    name: &str,
) -> Result<TopicRef<'t, S::Hold>, TopicError> {
    topics.topic(handle, name)
}

/// Appends to a partition of the queue, and wakes who waits there.
pub(super) fn append<H: Hold>(
    queue: TopicRef<'_, H>,
    partition: &Partition<H>,
    tag: u8,
    parts: &[&[u8]],
) -> Result<(u32, Offset), DlqError> {
    let number = partition.number();
    match partition.write(tag, parts) {
        Ok(offset) => {
            partition.announce(queue.bell());
            Ok((number, offset))
        }
        Err(AppendError::Write(WriteError::Full)) => Err(DlqError::DlqFull { partition: number }),
        Err(error) => Err(DlqError::Dlq(refusal(partition, error))),
    }
}

/// Looks at the letters of one partition, and takes nothing out. What it has not come to yet is held while it looks.
pub(super) struct Look<H: Hold> {
    reader: Reader<H::Retain>,
    partition: u32,
    /// Letters that come after it began to look are left for the next time.
    end: u64,
}

impl<H: Hold> Look<H>
where
    <H::Lease as Lease>::Trust: Lend,
{
    pub(super) fn at(partition: &Partition<H>) -> Result<Self, DlqError> {
        let number = partition.number();
        let ring = partition.retained().ok_or(DlqError::NotMarked)?;
        let mut outcome = Err(JoinError::Claimed);
        for name in LOOKERS {
            outcome = Reader::join(ring.clone(), name, Start::Earliest);
            if !matches!(outcome, Err(JoinError::Claimed)) {
                break;
            }
        }
        let reader = outcome.map_err(|error| DlqError::Letters(PollError::join(number, error)))?;
        let end = ring.ring().tail().value();
        Ok(Self { reader, partition: number, end })
    }

    /// Goes on at a place, if it is further on.
    pub(super) fn skip_to(&mut self, offset: u64) -> Result<(), DlqError> {
        let to = offset.min(self.end);
        if to <= self.reader.next_offset().value() {
            return Ok(());
        }
        let partition = self.partition;
        let moved = self.reader.seek(Offset::new(to));
        moved.map_err(|error| DlqError::Letters(PollError::seek(partition, error)))
    }

    pub(super) const fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn position(&self) -> u64 {
        self.reader.next_offset().value()
    }

    /// Hands the next letter out: its offset, tag and bytes, or `None` in place of the last two where its slot is damaged.
    /// `None` at the end.
    pub(super) fn next<R>(&mut self, visit: impl FnOnce(u64, Option<(u8, &[u8])>) -> R) -> Result<Option<R>, DlqError> {
        let partition = self.partition;
        let offset = self.position();
        if offset >= self.end {
            return Ok(None);
        }
        match self.reader.next() {
            Ok(Some(record)) => return Ok(Some(visit(offset, Some((record.tag(), record.payload()))))),
            Ok(None) => return Ok(None),
            Err(ReadError::Corrupt(_)) => {}
            Err(error) => return Err(DlqError::Letters(PollError::read(partition, error))),
        }
        let moved = self.reader.seek(Offset::new(offset).plus(1));
        moved.map_err(|error| DlqError::Letters(PollError::seek(partition, error)))?;
        Ok(Some(visit(offset, None)))
    }
}

/// The first letter in a partition that was not taken out.
pub(super) fn first_letter<H: Hold>(partition: &Partition<H>) -> Result<u64, DlqError> {
    let ring = partition.retained().ok_or(DlqError::NotMarked)?.ring();
    let keeper = ring.readers().find(|reader| reader.name.as_str() == KEEPER);
    Ok(keeper.map_or_else(|| ring.head(), |keeper| keeper.progress).value())
}
