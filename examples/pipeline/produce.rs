//! The sending side: lines become records.

use crate::args::{InputError, Passes};
use crate::event::{Event, Malformed};
use crate::few::Few;
use crate::lines::{Line, Lines};
use crate::progress::Progress;
use crate::{MAX_LINE, SEQUENCE, TOPIC};
use core::fmt;
use fabric_mq::message::Record;
use fabric_mq::partition::Outcome;
use fabric_mq::producer::{Producer, SendError};
use fabric_mq::topic::TopicManager;
use std::collections::BTreeMap;

/// Networks that are counted one by one: a bound on memory, far beyond the 12 of the sample.
const MAX_KEYS: usize = 65_536;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// What was sent.
#[derive(Debug, Default)]
pub(crate) struct Produced {
    pub(crate) lines: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) dropped: u64,
    /// Records that an earlier run had stored already: they were not sent again.
    pub(crate) stored: u64,
    /// Records of each key.
    pub(crate) keys: BTreeMap<String, u64>,
    pub(crate) malformed: Few,
}

/// Sends all lines of all passes; calls `halfway` once, when half of the input was sent, or at the end if nobody knows how
/// much there is. `stopped` answers whether a consumer has ended, so that there is nobody to wait for; `stored`, whether an
/// earlier run has kept this record: its key, its number among those of the key, its payload.
pub(crate) fn run(
    topics: &TopicManager,
    passes: &mut Passes<'_>,
    progress: &mut Progress,
    halfway: impl FnOnce(),
    stopped: impl Fn() -> bool,
    mut stored: impl FnMut(&str, u64, &[u8]) -> bool,
) -> Result<Produced, ProduceError> {
    // Finds its topic at the first send.
    let mut producer = Producer::new(TOPIC);
    let mut produced = Produced::default();
    let mut bytes_before = 0;
    let mut pass = 0;
    let half = passes.total_bytes().map(|total| total / 2);
    let mut halfway = Some(halfway);
    while let Some(input) = passes.next()? {
        pass += 1;
        let mut lines = Lines::new(input, MAX_LINE);
        let mut number = 0;
        loop {
            if lines.is_drained() {
                progress.tick(produced.records, bytes_before + lines.bytes());
            }
            if half.is_some_and(|half| bytes_before + lines.bytes() >= half)
                && let Some(halfway) = halfway.take()
            {
                halfway();
            }
            let Some(line) = lines.next().map_err(|error| passes.input.error(number, error))? else { break };
            number += 1;
            let line = match line {
                Line::TooLong => Err(Malformed::TooLong { limit: MAX_LINE }),
                Line::Whole(line) if number == 1 => Ok(line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line)),
                Line::Whole(line) => Ok(line),
            };
            let outcome = match line {
                Ok(line) => send(&mut producer, topics, &mut produced, line, &stopped, &mut stored)?,
                Err(malformed) => Err(malformed),
            };
            if let Err(malformed) = outcome {
                match pass {
                    1 => produced.malformed.push(format_args!("line {number}: {malformed}")),
                    _ => produced.malformed.push(format_args!("pass {pass}, line {number}: {malformed}")),
                }
            }
        }
        produced.lines += number;
        bytes_before += lines.bytes();
    }
    if let Some(halfway) = halfway {
        halfway();
    }
    Ok(produced)
}

/// Sends a line with its network as the key. The same key goes to the same partition, where records keep their order.
fn send(
    producer: &mut Producer<&str, TopicManager>,
    topics: &TopicManager,
    produced: &mut Produced,
    line: &[u8],
    stopped: impl Fn() -> bool,
    stored: impl FnOnce(&str, u64, &[u8]) -> bool,
) -> Result<Result<(), Malformed>, SendError> {
    let net = match Event::parse(line) {
        Ok(event) => event.net,
        Err(malformed) => return Ok(Err(malformed)),
    };
    let known = produced.keys.len();
    let count = match produced.keys.get_mut(&*net) {
        Some(count) => count,
        None if known >= MAX_KEYS => return Ok(Err(Malformed::TooManyKeys { limit: MAX_KEYS })),
        None => produced.keys.entry(net.to_string()).or_default(),
    };
    // A record borrows all that it is made of; sending copies it straight into the partition.
    let sequence = count.to_le_bytes();
    let headers = [(SEQUENCE, &sequence[..])];
    let record = Record::new(line).with_key(net.as_bytes()).with_headers(&headers);
    if stored(&net, *count, line) {
        *count += 1;
        produced.records += 1;
        produced.bytes += line.len() as u64;
        produced.stored += 1;
        return Ok(Ok(()));
    }
    let receipt = loop {
        match producer.send_record(topics, record) {
            // Still full: the consumers are slow, not gone.
            Err(SendError::TimedOut { .. }) if !stopped() => {}
            other => break other?,
        }
    };
    match receipt.outcome {
        Outcome::Stored(_) => {
            *count += 1;
            produced.records += 1;
            produced.bytes += line.len() as u64;
        }
        // Not under the policy of this topic.
        _ => produced.dropped += 1,
    }
    Ok(Ok(()))
}

/// Why sending ended before the input did.
#[derive(Debug)]
pub(crate) enum ProduceError {
    Input(InputError),
    Send(SendError),
}

impl core::error::Error for ProduceError {}

impl fmt::Display for ProduceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(inner) => write!(f, "{inner}"),
            Self::Send(inner) => write!(f, "{inner}"),
        }
    }
}

impl From<InputError> for ProduceError {
    fn from(inner: InputError) -> Self {
        Self::Input(inner)
    }
}

impl From<SendError> for ProduceError {
    fn from(inner: SendError) -> Self {
        Self::Send(inner)
    }
}
