//! What must hold, and what went wrong.

use crate::reading::Reading;
use core::fmt;
use embassy_executor::SpawnError;
use fabric_mq::consumer::PollError;
use fabric_mq::durable::{MediumError, OpenError, PumpError, SpoolError, SpoolReadError, StoreError};
use fabric_mq::topic::TopicError;
use fabric_mq::{ConfigError, JoinError, LeaseError, ReadError, WaitError, WriteError};

pub enum Failure {
    /// The peripherals were taken before.
    Peripherals,
    Config(ConfigError),
    Lease(LeaseError),
    Write(WriteError),
    Join(JoinError),
    Read(ReadError),
    Wait(WaitError),
    Spawn(SpawnError),
    Topic(TopicError),
    Poll(PollError),
    Medium(MediumError),
    Open(OpenError),
    Spool(SpoolError),
    Pump(PumpError),
    Store(StoreError),
    SpoolRead(SpoolReadError),
    /// A record is not the reading that belongs to its offset.
    Reading {
        offset: u64,
        found: Option<Reading>,
    },
    /// Two numbers that must be the same are not.
    Count {
        what: &'static str,
        expected: u64,
        found: u64,
    },
    /// A number is not between two others.
    Range {
        what: &'static str,
        from: u32,
        to: u32,
        found: u32,
    },
    /// What must be there is not.
    None {
        what: &'static str,
    },
    /// The stack took all of its room, and who knows what behind it.
    Stack,
    /// The host did not take a file.
    File {
        what: &'static str,
    },
}

pub fn same(what: &'static str, expected: impl Into<u64>, found: impl Into<u64>) -> Result<(), Failure> {
    let (expected, found) = (expected.into(), found.into());
    if expected == found { Ok(()) } else { Err(Failure::Count { what, expected, found }) }
}

/// `found` lies between `from` and `to`, both included.
pub fn between(what: &'static str, from: u32, to: u32, found: u32) -> Result<(), Failure> {
    if from <= found && found <= to { Ok(()) } else { Err(Failure::Range { what, from, to, found }) }
}

pub fn some(what: &'static str, found: u32) -> Result<(), Failure> {
    if found != 0 { Ok(()) } else { Err(Failure::None { what }) }
}

/// The record at `offset` holds the reading that the sensor took for it.
pub fn is_reading(offset: u64, payload: &[u8]) -> Result<(), Failure> {
    let found = Reading::from_bytes(payload);
    // At most four years of readings: the cast loses nothing.
    if found == Some(Reading::nth(offset as u32)) { Ok(()) } else { Err(Failure::Reading { offset, found }) }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peripherals => f.write_str("the peripherals were taken before"),
            Self::Config(error) => error.fmt(f),
            Self::Lease(error) => error.fmt(f),
            Self::Write(error) => error.fmt(f),
            Self::Join(error) => error.fmt(f),
            Self::Read(error) => error.fmt(f),
            Self::Wait(error) => error.fmt(f),
            Self::Spawn(error) => error.fmt(f),
            Self::Topic(error) => error.fmt(f),
            Self::Poll(error) => error.fmt(f),
            Self::Medium(error) => error.fmt(f),
            Self::Open(error) => error.fmt(f),
            Self::Spool(error) => error.fmt(f),
            Self::Pump(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::SpoolRead(error) => error.fmt(f),
            Self::Reading { offset, found } => write!(f, "the record at offset {offset} is not its reading: {found:?}"),
            Self::Count { what, expected, found } => write!(f, "{what}: {expected} expected, {found} found"),
            Self::Range { what, from, to, found } => write!(f, "{what}: {from} to {to} expected, {found} found"),
            Self::None { what } => write!(f, "{what}: none"),
            Self::Stack => f.write_str("the stack took all of its room: see what lies below it"),
            Self::File { what } => write!(f, "the host did not {what} the image"),
        }
    }
}

macro_rules! failure_from {
    ($($variant:ident($error:ty)),+) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        })+
    };
}

failure_from!(
    Config(ConfigError),
    Lease(LeaseError),
    Write(WriteError),
    Join(JoinError),
    Read(ReadError),
    Wait(WaitError),
    Spawn(SpawnError),
    Topic(TopicError),
    Poll(PollError),
    Medium(MediumError),
    Open(OpenError),
    Spool(SpoolError),
    Pump(PumpError),
    Store(StoreError),
    SpoolRead(SpoolReadError)
);
