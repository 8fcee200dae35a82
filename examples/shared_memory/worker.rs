//! What the producer and the consumers have in common: a journal, a phase, and a parent without which they end.

use crate::journal::Journal;
use crate::phase::{Marker, Phase};
use crate::site::{Request, Site};
use core::error::Error;
use core::fmt;
use core::time::Duration;
use fabric_mq::clock::{Clock, MachineClock};
use fabric_mq::consumer::{CommitError, PollError};
use fabric_mq::group::{GroupConsumerError, GroupError, MemberError};
use fabric_mq::locator::{PublishError, RecordError, RegistryError, ResolveError};
use fabric_mq::producer::SendError;
use fabric_mq::topic::TopicError;
use fabric_mq::uri::UriError;
use fabric_mq::{LeaseError, NameError, Ticks};
use std::io;
use std::os::unix::process::parent_id;
use std::path::PathBuf;
use std::time::Instant;

/// How often a process looks whether its parent lives, and wants something.
const LOOKS: Duration = Duration::from_millis(10);

/// What a process was started with.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) site: Site,
    pub(crate) parent: u32,
    /// The name of its journal, in the notes.
    pub(crate) name: String,
    /// A member's interval, and its session.
    pub(crate) interval: Ticks,
    pub(crate) session: Ticks,
    /// Records a second, at most.
    pub(crate) rate: u32,
    /// How often the data is sent; `None`: until the parent asks for an end.
    pub(crate) repeat: Option<u32>,
}

impl Task {
    pub(crate) fn journal_path(&self) -> PathBuf {
        self.site.notes.join(format!("{}.journal", self.name))
    }

    pub(crate) fn phase_path(&self) -> PathBuf {
        self.site.notes.join(format!("{}.phase", self.name))
    }
}

/// The process, as it sees itself.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) task: Task,
    pub(crate) journal: Journal,
    marker: Marker,
    looked: Instant,
}

/// The parent was killed: nobody would start this process again, or tell it to end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Orphaned;

impl Worker {
    pub(crate) fn new(task: Task) -> Result<Self, Failed> {
        let journal = Journal::open(&task.journal_path())?;
        let marker = Marker::open(&task.phase_path())?;
        Ok(Self { task, journal, marker, looked: Instant::now() })
    }

    pub(crate) fn now() -> Ticks {
        MachineClock::new().now()
    }

    pub(crate) fn enter(&self, phase: Phase) -> Result<(), Failed> {
        Ok(self.marker.set(phase)?)
    }

    /// Does nothing for a moment.
    pub(crate) fn rest(&self) -> Result<(), Failed> {
        self.enter(Phase::Idle)?;
        std::thread::sleep(Duration::from_millis(1));
        Ok(())
    }

    /// Answers, now and then, whether the parent has asked for something.
    ///
    /// # Errors
    /// [`Failed::Orphaned`].
    pub(crate) fn is_asked(&mut self, request: Request) -> Result<bool, Failed> {
        if self.looked.elapsed() < LOOKS {
            return Ok(false);
        }
        self.looked = Instant::now();
        if parent_id() == self.task.parent {
            Ok(self.task.site.is_asked(request))
        } else {
            Err(Failed::Orphaned(Orphaned))
        }
    }
}

impl Error for Orphaned {}

impl fmt::Display for Orphaned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the parent is gone")
    }
}

/// Declares the error of the two roles: one variant for each layer that may refuse.
macro_rules! failed {
    ($($variant:ident($inner:ty)),+ $(,)?) => {
        /// Why a producer or a consumer cannot go on.
        #[derive(Debug)]
        pub(crate) enum Failed {
            /// The last record of this partition cannot be read: how far a dead producer has come is not known.
            NoLast { partition: u32 },
            $($variant($inner),)+
        }

        impl fmt::Display for Failed {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Self::NoLast { partition } => write!(f, "partition {partition}: its last record is not there"),
                    $(Self::$variant(inner) => write!(f, "{inner}"),)+
                }
            }
        }

        $(impl From<$inner> for Failed {
            fn from(inner: $inner) -> Self {
                Self::$variant(inner)
            }
        })+
    };
}

failed! {
    Commit(CommitError),
    Consumer(GroupConsumerError),
    Group(GroupError),
    Input(crate::quakes::InputError),
    Io(io::Error),
    Lease(LeaseError),
    Member(MemberError),
    Name(NameError),
    Orphaned(Orphaned),
    Poll(PollError),
    Publish(PublishError),
    Record(RecordError),
    Registry(RegistryError),
    Resolve(ResolveError),
    Send(SendError),
    Topic(TopicError),
    Uri(UriError),
}

impl Error for Failed {}
