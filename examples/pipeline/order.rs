//! The order of records within each key.

use core::fmt;
use std::collections::BTreeMap;

/// What was seen of each key.
#[derive(Debug, Default)]
pub(crate) struct Order {
    keys: BTreeMap<String, Track>,
}

#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) partition: u32,
    pub(crate) records: u64,
    next: u64,
}

impl Order {
    /// Notes a record: number `sequence` of its key, from 0.
    pub(crate) fn see(&mut self, key: &str, partition: u32, sequence: u64) -> Result<(), Disorder> {
        let track = match self.keys.get_mut(key) {
            Some(track) => track,
            None => self.keys.entry(key.into()).or_insert(Track { partition, records: 0, next: 0 }),
        };
        track.records += 1;
        let expected = core::mem::replace(&mut track.next, sequence.saturating_add(1));
        if track.partition != partition {
            return Err(Disorder::Partition { before: track.partition });
        }
        match sequence {
            _ if sequence < expected => Err(Disorder::Again { expected, sequence }),
            _ if sequence > expected => Err(Disorder::Gap { expected, sequence }),
            _ => Ok(()),
        }
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = (&str, &Track)> {
        self.keys.iter().map(|(key, track)| (key.as_str(), track))
    }
}

/// Why a record should not have come here, or not now.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Disorder {
    Again { expected: u64, sequence: u64 },
    Gap { expected: u64, sequence: u64 },
    Partition { before: u32 },
}

impl fmt::Display for Disorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Again { expected, sequence } => {
                write!(f, "record {sequence} came again, or late: {expected} was next")
            }
            Self::Gap { expected, sequence } => write!(f, "record {sequence} came too early: {expected} was next"),
            Self::Partition { before } => write!(f, "its records before came from partition {before}"),
        }
    }
}
