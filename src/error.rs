//! What can go wrong, one small enum per operation. Each says what to do about it.

use crate::types::{Epoch, LeaseId, Offset};
use core::fmt;

/// Which check a damaged word failed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Check {
    /// The superblock's CRC.
    SuperblockCrc,
    /// The superblock's shape: impossible sizes.
    Geometry,
    /// The writer's `head` counter.
    Head,
    /// A reader's progress lies outside the log.
    Progress,
    /// A slot holds neither its record nor the one before it.
    Stamp,
    /// A slot's words do not add up.
    Slot,
    /// A slot's length or position points outside the ring.
    Extent,
    /// A record's envelope does not parse.
    Envelope,
    /// The seal's words do not fit together, or it says another end than the slots do.
    Seal,
}

/// Damage: what failed, and at which offset (0 where no record is concerned).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Corrupt {
    check: Check,
    offset: Offset,
}

impl Corrupt {
    pub(crate) const fn new(check: Check, offset: u64) -> Self {
        Self { check, offset: Offset::new(offset) }
    }

    /// Which check failed.
    #[must_use]
    pub const fn check(&self) -> Check {
        self.check
    }

    /// The offset concerned.
    #[must_use]
    pub const fn offset(&self) -> Offset {
        self.offset
    }
}

impl core::error::Error for Corrupt {}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.check {
            Check::SuperblockCrc => "the superblock's checksum does not match",
            Check::Geometry => "the superblock describes an impossible ring",
            Check::Head => "the head counter is damaged",
            Check::Progress => "a reader's progress lies outside the log",
            Check::Stamp => "a slot's stamp belongs to no record",
            Check::Slot => "a slot's check word does not match",
            Check::Extent => "a slot points outside the ring",
            Check::Envelope => "a record's envelope does not parse",
            Check::Seal => "the seal is damaged, or the log does not end where it says",
        };
        write!(f, "{what} (offset {})", self.offset)
    }
}

/// Why a lease refuses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LeaseError {
    /// The pool has not that many bytes, or no place for another lease.
    CapacityExceeded,
    /// The memory cannot be reached at present.
    Disconnected,
    /// The time ran out before it was renewed.
    Expired,
    /// Somebody took over with a higher epoch.
    Fenced,
    /// The connection broke before the answer came: what was under way may have been done.
    Indeterminate,
    /// Somebody holds it.
    InUse,
    /// The operating system said no, with this code.
    Io(i32),
    /// Its holder gave it back.
    Released,
    /// The pool took it back.
    Revoked,
    /// The file that should hold it is not fit for it.
    Unfit(Unfit),
    /// No lease of this pool has the id.
    Unknown,
    /// This kind of lease cannot do that.
    Unsupported,
}

impl core::error::Error for LeaseError {}

impl fmt::Display for LeaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CapacityExceeded => {
                f.write_str("the pool has no room for this lease: release one, or ask for fewer bytes")
            }
            Self::Disconnected => f.write_str("the leased memory cannot be reached: try again"),
            Self::Expired => {
                f.write_str("the lease has expired: acquire a new one, and renew it before its time is over")
            }
            Self::Fenced => f.write_str("the lease is fenced: a newer holder has taken over, this one is finished"),
            Self::Indeterminate => f.write_str(
                "the connection to the leased memory broke before it answered: attach again, and look whether the last record is there",
            ),
            Self::InUse => f.write_str("the leased memory is held by somebody: drop that holder first"),
            Self::Io(inner) => write!(f, "the operating system refused with code {inner}: put right what that errno stands for, and try again"),
            Self::Released => f.write_str("the lease was given back by its holder: acquire a new one"),
            Self::Revoked => f.write_str("the lease was revoked by its pool: acquire a new one"),
            Self::Unfit(inner) => write!(f, "the file cannot be leased: {inner}"),
            Self::Unknown => f.write_str("the pool knows no lease of this id: acquire one, or ask the pool that has it"),
            Self::Unsupported => f.write_str("this kind of lease cannot do that: take one of a kind that can"),
        }
    }
}

/// Why a file cannot be leased.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Unfit {
    /// A link, a directory, a pipe, a file with a second name.
    Kind,
    /// Its mode is not the one that pools give.
    Mode,
    /// It is leased under another name.
    Name,
    /// It holds no lease's record.
    NotALease,
    /// It is somebody else's.
    Owner,
    /// Its record is damaged.
    Record,
    /// It is shorter or longer than its record says.
    Size,
    /// Its record has another version.
    Version,
}

impl core::error::Error for Unfit {}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kind => "it is a link, a directory, or no plain file with one name: remove it, or give the pool a directory of its own",
            Self::Mode => "its mode lets others in: files have mode 0600 and the pool's directory 0700",
            Self::Name => "it is leased under another name: choose a name that is not taken",
            Self::NotALease => "it holds no lease: give the pool a directory of its own",
            Self::Owner => "it belongs to another user: give each user a directory of their own",
            Self::Record => "its record is damaged: end the processes that use it, and remove the file",
            Self::Size => "somebody cut it off or made it longer: end the processes that use it, and remove the file",
            Self::Version => "its record has a version that this library does not know: use a newer one",
        })
    }
}

/// Why a ring cannot have the shape asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The lease refuses.
    Lease(LeaseError),
    /// The lease has fewer bytes than the ring needs.
    LeaseTooSmall {
        /// Bytes needed.
        needed: usize,
        /// Bytes there.
        found: usize,
    },
    /// The number of readers is not 1 to 64.
    Readers,
    /// A size is no power of two in range.
    Size,
    /// The lease does not start on 8 bytes.
    Unaligned,
}

impl core::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lease(inner) => write!(f, "{inner}"),
            Self::LeaseTooSmall { needed, found } => write!(f, "the lease has {found} bytes but the ring needs {needed}: lease more, or ask for fewer slots or bytes"),
            Self::Readers => f.write_str("a ring has 1 to 64 readers"),
            Self::Size => f.write_str("slots are a power of two from 2 to 2^28, bytes one from 16 to 2^31, and the target must be able to address them"),
            Self::Unaligned => f.write_str("the lease does not start at a multiple of 8 bytes: align its memory"),
        }
    }
}

/// Why bytes cannot be used as a ring.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum AttachError {
    /// Something is damaged.
    Corrupt(Corrupt),
    /// It needs features this version does not know.
    Features {
        /// The feature bits.
        needed: u32,
    },
    /// It was written under a higher epoch than the lease has.
    Fenced {
        /// The lease's.
        lease: Epoch,
        /// The ring's.
        ring: Epoch,
    },
    /// It keeps records in another way than asked for.
    Keep,
    /// The lease refuses.
    Lease(LeaseError),
    /// The bytes are no ring, or its formatting was cut off.
    NotARing,
    /// The lease is shorter than the ring in it.
    TooShort {
        /// Bytes needed.
        needed: usize,
        /// Bytes there.
        found: usize,
    },
    /// The lease does not start on 8 bytes.
    Unaligned,
    /// It has another format version.
    Version {
        /// Found.
        found: u16,
        /// Known to this library.
        known: u16,
    },
}

impl core::error::Error for AttachError {}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt(inner) => {
                write!(f, "the ring is damaged: {inner}; format the lease again, or recover its data from elsewhere")
            }
            Self::Features { needed } => {
                write!(f, "the ring needs features {needed:#x} that this version does not know: use a newer one")
            }
            Self::Fenced { lease, ring } => write!(
                f,
                "the ring was written under epoch {ring}, newer than the lease's {lease}: this lease is out of date, acquire a newer one"
            ),
            Self::Keep => f.write_str(
                "the ring's retention (retain or overwrite) is not the one asked for: attach with the other type",
            ),
            Self::Lease(inner) => write!(f, "{inner}"),
            Self::NotARing => f.write_str("the lease holds no ring: format it"),
            Self::TooShort { needed, found } => {
                write!(
                    f,
                    "the lease has {found} bytes but the ring in it {needed}: it was cut off; lease all of it, or format it again"
                )
            }
            Self::Unaligned => f.write_str("the lease does not start at a multiple of 8 bytes: align its memory"),
            Self::Version { found, known } => {
                write!(f, "the ring has format version {found}, this library reads version {known}: use a newer one")
            }
        }
    }
}

impl From<Corrupt> for AttachError {
    fn from(inner: Corrupt) -> Self {
        Self::Corrupt(inner)
    }
}

impl From<LeaseError> for AttachError {
    fn from(inner: LeaseError) -> Self {
        Self::Lease(inner)
    }
}

/// Why a record was not written. Nothing of it is visible.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum WriteError {
    /// Another writer holds the ring.
    Claimed,
    /// The ring is damaged.
    Corrupt(Corrupt),
    /// Offsets are used up.
    Exhausted,
    /// No room; counted.
    Full,
    /// Committed behind records of other producers that are not, for long: it is in the log once they are, and never if the
    /// log is ended before.
    Indeterminate {
        /// Its offset, if it has one.
        offset: Offset,
    },
    /// The lease refuses.
    Lease(LeaseError),
    /// The log was ended before this record, and goes on in another lease.
    Sealed,
    /// Larger than half the ring's bytes.
    TooLarge {
        /// Bytes asked for.
        len: usize,
        /// Bytes possible.
        max: usize,
    },
}

impl core::error::Error for WriteError {}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claimed => f.write_str(
                "another writer holds the ring: there is one at a time; drop it, or share it as a SharedWriter",
            ),
            Self::Corrupt(inner) => {
                write!(f, "the ring is damaged: {inner}; format the lease again, or recover its data from elsewhere")
            }
            Self::Exhausted => f.write_str("the partition has used up its 2^64 offsets: go on in a new one"),
            Self::Full => {
                f.write_str("the ring is full: readers must release records first, or choose another full policy")
            }
            Self::Indeterminate { offset } => write!(
                f,
                "a producer before this record does not commit: look later whether offset {offset} is in the log before writing it again"
            ),
            Self::Lease(inner) => write!(f, "{inner}"),
            Self::Sealed => {
                f.write_str("the log was ended here by a newer writer: go on in the lease that its seal names")
            }
            Self::TooLarge { len, max } => write!(
                f,
                "a record of {len} bytes is larger than the ring takes ({max}): split it, or give the ring more bytes"
            ),
        }
    }
}

impl From<Corrupt> for WriteError {
    fn from(inner: Corrupt) -> Self {
        Self::Corrupt(inner)
    }
}

impl From<LeaseError> for WriteError {
    fn from(inner: LeaseError) -> Self {
        Self::Lease(inner)
    }
}

/// Why a record could not be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ReadError {
    /// The buffer is smaller than the record; the record is still there.
    Buffer {
        /// Bytes needed.
        needed: usize,
    },
    /// Damaged.
    Corrupt(Corrupt),
    /// The lease refuses.
    Lease(LeaseError),
    /// Records were overwritten before this reader came to them. It stands at the oldest one left.
    Overrun {
        /// How many, exactly.
        lost: u64,
    },
    /// The log ends here, and goes on in another lease.
    Sealed,
}

impl core::error::Error for ReadError {}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Buffer { needed } => {
                write!(f, "the buffer is too small: the record has {needed} bytes, give it one of that size")
            }
            Self::Corrupt(inner) => {
                write!(f, "the ring is damaged: {inner}; seek behind it to go on, or format the lease again")
            }
            Self::Lease(inner) => write!(f, "{inner}"),
            Self::Overrun { lost } => {
                write!(f, "{lost} records were overwritten before they were read: read on, or give the ring more room")
            }
            Self::Sealed => f.write_str("the log ends here: read on in the lease that its seal names"),
        }
    }
}

impl From<Corrupt> for ReadError {
    fn from(inner: Corrupt) -> Self {
        Self::Corrupt(inner)
    }
}

impl From<LeaseError> for ReadError {
    fn from(inner: LeaseError) -> Self {
        Self::Lease(inner)
    }
}

/// Why a log could not be ended, or not be gone on with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SealError {
    /// Others end it at the same time, or its writer commits faster than it is found out where.
    Busy,
    /// The new lease does not take the ring.
    Config(ConfigError),
    /// Damaged.
    Corrupt(Corrupt),
    /// The new lease's epoch is lower than the one under which the log is ended.
    Epoch {
        /// The new lease's.
        lease: Epoch,
        /// The sealer's.
        needed: Epoch,
    },
    /// The lease refuses.
    Lease(LeaseError),
    /// The new ring has fewer places than readers are registered.
    ReadersFull {
        /// How many there are.
        limit: u32,
    },
    /// Somebody else was sooner.
    Sealed {
        /// The lease in which the log goes on.
        successor: LeaseId,
    },
    /// The ring was not made for it.
    Unsupported,
}

impl core::error::Error for SealError {}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("the log is being written or ended by others: fence its writer, and try again"),
            Self::Config(inner) => write!(f, "{inner}"),
            Self::Corrupt(inner) => {
                write!(f, "the ring is damaged: {inner}; format the lease again, or recover its data from elsewhere")
            }
            Self::Epoch { lease, needed } => {
                write!(f, "the new lease has epoch {lease}: acquire one under epoch {needed} or a higher one")
            }
            Self::Lease(inner) => write!(f, "{inner}"),
            Self::ReadersFull { limit } => {
                write!(f, "the new ring has {limit} places: give it one for each reader of the old one")
            }
            Self::Sealed { successor } => {
                write!(f, "somebody else was sooner: attach to lease {:032x}", successor.value())
            }
            Self::Unsupported => f.write_str("the ring cannot be sealed: format it with_takeover, on a lease for that"),
        }
    }
}

impl From<Corrupt> for SealError {
    fn from(inner: Corrupt) -> Self {
        Self::Corrupt(inner)
    }
}

impl From<ConfigError> for SealError {
    fn from(inner: ConfigError) -> Self {
        Self::Config(inner)
    }
}

impl From<LeaseError> for SealError {
    fn from(inner: LeaseError) -> Self {
        Self::Lease(inner)
    }
}

/// Why a reader could not join.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum JoinError {
    /// A reader of this name is reading.
    Claimed,
    /// Damaged.
    Corrupt(Corrupt),
    /// The lease refuses.
    Lease(LeaseError),
    /// Not a name.
    Name(NameError),
    /// All places are taken.
    ReadersFull {
        /// How many there are.
        limit: u32,
    },
    /// The start is not in the log.
    Seek(SeekError),
}

impl core::error::Error for JoinError {}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claimed => {
                f.write_str("a reader of this name is reading at present: drop it, or choose another name")
            }
            Self::Corrupt(inner) => {
                write!(f, "the ring is damaged: {inner}; format the lease again, or recover its data from elsewhere")
            }
            Self::Lease(inner) => write!(f, "{inner}"),
            Self::Name(inner) => write!(f, "{inner}"),
            Self::ReadersFull { limit } => {
                write!(f, "all {limit} reader places are taken: let one leave, or format the ring with more")
            }
            Self::Seek(inner) => write!(f, "{inner}"),
        }
    }
}

impl From<Corrupt> for JoinError {
    fn from(inner: Corrupt) -> Self {
        Self::Corrupt(inner)
    }
}

impl From<LeaseError> for JoinError {
    fn from(inner: LeaseError) -> Self {
        Self::Lease(inner)
    }
}

impl From<NameError> for JoinError {
    fn from(inner: NameError) -> Self {
        Self::Name(inner)
    }
}

impl From<SeekError> for JoinError {
    fn from(inner: SeekError) -> Self {
        Self::Seek(inner)
    }
}

/// Why a reader cannot go there. It stands where it stood.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SeekError {
    /// Past the end.
    Beyond {
        /// Where the log ends.
        tail: Offset,
    },
    /// Damaged.
    Corrupt(Corrupt),
    /// The lease refuses.
    Lease(LeaseError),
    /// The room was used again.
    Reclaimed {
        /// The oldest offset left.
        head: Offset,
    },
}

impl core::error::Error for SeekError {}

impl fmt::Display for SeekError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beyond { tail } => {
                write!(f, "the log ends before that, at offset {tail}: seek there to read what comes")
            }
            Self::Corrupt(inner) => {
                write!(f, "the ring is damaged: {inner}; format the lease again, or recover its data from elsewhere")
            }
            Self::Lease(inner) => write!(f, "{inner}"),
            Self::Reclaimed { head } => {
                write!(
                    f,
                    "the record is gone, its room was used again: the oldest one left is at offset {head}, seek there"
                )
            }
        }
    }
}

impl From<Corrupt> for SeekError {
    fn from(inner: Corrupt) -> Self {
        Self::Corrupt(inner)
    }
}

impl From<LeaseError> for SeekError {
    fn from(inner: LeaseError) -> Self {
        Self::Lease(inner)
    }
}

/// Why a task does not wait for a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum WaitError {
    /// There is nothing to wait for: the reader cannot go on.
    Read(ReadError),
    /// As many tasks wait as the bell has places.
    WakersFull {
        /// How many it has.
        limit: usize,
    },
}

impl core::error::Error for WaitError {}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(inner) => write!(f, "{inner}"),
            Self::WakersFull { limit } => {
                write!(f, "{limit} tasks wait for this bell, which is all it has places for: make a Bell with more")
            }
        }
    }
}

impl From<ReadError> for WaitError {
    fn from(inner: ReadError) -> Self {
        Self::Read(inner)
    }
}

/// Why a name is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NameError {
    /// A character is not allowed.
    Character {
        /// Which one, from 0.
        at: usize,
    },
    /// `.` and `..` are no names.
    Dots,
    /// Empty or too long.
    Length {
        /// Bytes it has.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
}

impl core::error::Error for NameError {}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Character { at } => write!(f, "the character at {at} is not one of A-Z a-z 0-9 . _ -"),
            Self::Dots => f.write_str("'.' and '..' are no names: choose another one"),
            Self::Length { len, max } => write!(f, "a name has 1 to {max} bytes, this one has {len}"),
        }
    }
}
