//! What went wrong.

use crate::reading::Reading;
use core::fmt;
use fabric_mq::durable::{MediumError, OpenError, PumpError, SpoolError, SpoolReadError, StoreError};
use fabric_mq::{ConfigError, JoinError, LeaseError, WriteError};

pub enum Failure {
    /// The peripherals were taken before.
    Peripherals,
    Config(ConfigError),
    Lease(LeaseError),
    Write(WriteError),
    Join(JoinError),
    Medium(MediumError),
    Open(OpenError),
    Spool(SpoolError),
    Pump(PumpError),
    Store(StoreError),
    Read(SpoolReadError),
    /// A record is not the reading that belongs to its offset.
    Reading {
        offset: u32,
        found: Option<Reading>,
    },
    /// Two numbers that must be the same are not.
    Count {
        what: &'static str,
        expected: u32,
        found: u32,
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

pub fn same(what: &'static str, expected: u32, found: u32) -> Result<(), Failure> {
    if expected == found { Ok(()) } else { Err(Failure::Count { what, expected, found }) }
}

/// `found` lies between `from` and `to`, both included.
pub fn between(what: &'static str, from: u32, to: u32, found: u32) -> Result<(), Failure> {
    if from <= found && found <= to { Ok(()) } else { Err(Failure::Range { what, from, to, found }) }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peripherals => f.write_str("the peripherals were taken before"),
            Self::Config(error) => error.fmt(f),
            Self::Lease(error) => error.fmt(f),
            Self::Write(error) => error.fmt(f),
            Self::Join(error) => error.fmt(f),
            Self::Medium(error) => error.fmt(f),
            Self::Open(error) => error.fmt(f),
            Self::Spool(error) => error.fmt(f),
            Self::Pump(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Read(error) => error.fmt(f),
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
    Medium(MediumError),
    Open(OpenError),
    Spool(SpoolError),
    Pump(PumpError),
    Store(StoreError),
    Read(SpoolReadError)
);
