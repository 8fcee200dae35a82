//! What processes share on Unix: files in a directory of their own, locks on them, mappings of them; and which process
//! this is.
//!
//! Every file is opened relative to a directory that was checked, never by way of a link, and is checked itself before
//! it is used. Locks are `flock`'s: the kernel gives them back when the process that holds them dies, in whatever way.

#![allow(unsafe_code, reason = "mappings")]

use crate::error::{LeaseError, Unfit};
use alloc::string::String;
use alloc::vec::Vec;
use core::ptr::NonNull;
#[allow(clippy::disallowed_types, reason = "the seam itself")]
use core::sync::atomic::{AtomicU64, Ordering};
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};
use rustix::mm::{MapFlags, ProtFlags};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Of files: the owner reads and writes.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
/// Of directories.
const DIR_MODE: Mode = Mode::RWXU;
/// How files are opened. Without `NONBLOCK`, a pipe of the right name would hold us.
const OPEN: OFlags = OFlags::RDWR.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// What an error of the system means for a lease.
fn refused(errno: Errno) -> LeaseError {
    // Two names of one number on some systems, so no `match`.
    if [Errno::NOSPC, Errno::DQUOT, Errno::FBIG, Errno::NOMEM].contains(&errno) {
        LeaseError::CapacityExceeded
    } else if [Errno::OPNOTSUPP, Errno::NOSYS, Errno::NOLCK].contains(&errno) {
        LeaseError::Unsupported
    } else {
        LeaseError::Io(errno.raw_os_error())
    }
}

/// Whether the file is what it should be: of this kind and mode, and ours.
fn check(stat: &Stat, kind: FileType, mode: Mode) -> Result<(), LeaseError> {
    if FileType::from_raw_mode(stat.st_mode) != kind {
        return Err(LeaseError::Unfit(Unfit::Kind));
    }
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(LeaseError::Unfit(Unfit::Owner));
    }
    if Mode::from_raw_mode(stat.st_mode) != mode {
        return Err(LeaseError::Unfit(Unfit::Mode));
    }
    Ok(())
}

/// A directory that only this user can enter.
#[derive(Debug)]
pub(crate) struct Directory(OwnedFd);

impl Directory {
    /// Opens the directory, which is made if there is none.
    pub(crate) fn open(path: &Path) -> Result<Self, LeaseError> {
        let made = match rustix::fs::mkdir(path, DIR_MODE) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(refused(errno)),
        };
        let flags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
        let fd = retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty())).map_err(|errno| {
            if [Errno::NOTDIR, Errno::LOOP, Errno::MLINK].contains(&errno) {
                LeaseError::Unfit(Unfit::Kind)
            } else {
                refused(errno)
            }
        })?;
        if made {
            // What the process masks out of modes does not matter.
            rustix::fs::fchmod(&fd, DIR_MODE).map_err(refused)?;
        }
        check(&rustix::fs::fstat(&fd).map_err(refused)?, FileType::Directory, DIR_MODE)?;
        Ok(Self(fd))
    }

    /// Makes a file that was not there.
    pub(crate) fn create(&self, name: &str) -> Result<Object, LeaseError> {
        let flags = OPEN.union(OFlags::CREATE).union(OFlags::EXCL);
        match retry_on_intr(|| rustix::fs::openat(&self.0, name, flags, FILE_MODE)) {
            Ok(fd) => {
                // As above.
                rustix::fs::fchmod(&fd, FILE_MODE).map_err(refused)?;
                Ok(Object::new(fd))
            }
            Err(Errno::EXIST) => Err(LeaseError::InUse),
            Err(errno) => Err(refused(errno)),
        }
    }

    /// Opens a file that is there.
    pub(crate) fn find(&self, name: &str) -> Result<Object, LeaseError> {
        let fd = match retry_on_intr(|| rustix::fs::openat(&self.0, name, OPEN, Mode::empty())) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Err(LeaseError::Unknown),
            // A link (three systems, three answers), a directory, a socket.
            Err(Errno::LOOP | Errno::MLINK | Errno::ISDIR | Errno::NXIO) => return Err(LeaseError::Unfit(Unfit::Kind)),
            Err(errno @ Errno::ACCESS) => {
                let stat = rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW).map_err(refused)?;
                check(&stat, FileType::RegularFile, FILE_MODE)?;
                return Err(refused(errno));
            }
            Err(errno) => return Err(refused(errno)),
        };
        let stat = rustix::fs::fstat(&fd).map_err(refused)?;
        check(&stat, FileType::RegularFile, FILE_MODE)?;
        // A second name may lie where others come to it. (None: removed since it was opened.)
        match stat.st_nlink {
            0 => Err(LeaseError::Unknown),
            1 => Ok(Object::new(fd)),
            _ => Err(LeaseError::Unfit(Unfit::Kind)),
        }
    }

    /// Takes a file's name away. Who has it open or mapped keeps its bytes.
    pub(crate) fn remove(&self, name: &str) -> Result<(), LeaseError> {
        match rustix::fs::unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(refused(errno)),
        }
    }

    /// The names of all files, in no order.
    pub(crate) fn names(&self) -> Result<Vec<String>, LeaseError> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.0).map_err(refused)? {
            let entry = entry.map_err(refused)?;
            // Names that are no text are nobody's of ours.
            if let Ok(name) = entry.file_name().to_str() {
                names.push(String::from(name));
            }
        }
        Ok(names)
    }
}

/// How a file is locked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lock {
    /// By any number together.
    Shared,
    /// By one alone.
    Exclusive,
}

/// An open file of ours. Dropping it gives its lock back.
#[derive(Debug)]
pub(crate) struct Object {
    fd: OwnedFd,
    /// Which process opened it.
    process: u32,
}

impl Drop for Object {
    fn drop(&mut self) {
        // Closing is not enough while a child that was just forked, and has not started its program yet, has the file open
        // too. A child that has its parent's lock as an heirloom must not give it back for both.
        if self.is_own() {
            let _ = rustix::fs::flock(&self.fd, FlockOperation::Unlock);
        }
    }
}

impl Object {
    fn new(fd: OwnedFd) -> Self {
        Self { fd, process: process_id() }
    }

    /// Whether this process opened it, not one that it was forked from.
    pub(crate) fn is_own(&self) -> bool {
        self.process == process_id()
    }

    /// How long it is, in bytes.
    pub(crate) fn len(&self) -> Result<u64, LeaseError> {
        let stat = rustix::fs::fstat(&self.fd).map_err(refused)?;
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }

    /// Whether it still has its name.
    pub(crate) fn is_linked(&self) -> Result<bool, LeaseError> {
        Ok(rustix::fs::fstat(&self.fd).map_err(refused)?.st_nlink != 0)
    }

    /// Locks it, unless somebody is in the way: then answers `false`. Does not wait.
    pub(crate) fn lock(&self, how: Lock) -> Result<bool, LeaseError> {
        let how = match how {
            Lock::Shared => FlockOperation::NonBlockingLockShared,
            Lock::Exclusive => FlockOperation::NonBlockingLockExclusive,
        };
        match retry_on_intr(|| rustix::fs::flock(&self.fd, how)) {
            Ok(()) => Ok(true),
            // The same number, on most systems.
            Err(errno) if [Errno::WOULDBLOCK, Errno::AGAIN].contains(&errno) => Ok(false),
            Err(errno) => Err(refused(errno)),
        }
    }

    /// Gives it `len` bytes, for which there is room from then on: no later write finds the disk full. What is there
    /// already stays.
    pub(crate) fn allocate(&self, len: u64) -> Result<(), LeaseError> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        match retry_on_intr(|| rustix::fs::fallocate(&self.fd, rustix::fs::FallocateFlags::empty(), 0, len)) {
            Ok(()) => return Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(errno) => return Err(refused(errno)),
        }
        self.extend(len)
    }

    /// The same where the system cannot: by writing.
    fn extend(&self, len: u64) -> Result<(), LeaseError> {
        const ZEROS: &[u8] = &[0; 1 << 16];
        let mut at = self.len()?;
        while at < len {
            let step = usize::try_from(len.saturating_sub(at)).unwrap_or(usize::MAX);
            let zeros = ZEROS.get(..step).unwrap_or(ZEROS);
            self.write(at, zeros)?;
            at = at.saturating_add(zeros.len() as u64);
        }
        Ok(())
    }

    /// Copies what lies at `at`; answers how many bytes there were.
    pub(crate) fn read(&self, at: u64, to: &mut [u8]) -> Result<usize, LeaseError> {
        retry_on_intr(|| rustix::io::pread(&self.fd, &mut *to, at)).map_err(refused)
    }

    /// Puts all of `from` at `at`.
    pub(crate) fn write(&self, mut at: u64, mut from: &[u8]) -> Result<(), LeaseError> {
        while !from.is_empty() {
            let written = retry_on_intr(|| rustix::io::pwrite(&self.fd, from, at)).map_err(refused)?;
            from = from.get(written..).filter(|_| written != 0).ok_or(LeaseError::CapacityExceeded)?;
            at = at.saturating_add(written as u64);
        }
        Ok(())
    }

    /// Maps its first `len` bytes, at least [`Mapping::LEAST`].
    pub(crate) fn map(&self, len: u64) -> Result<Mapping, LeaseError> {
        let Some(len) = usize::try_from(len).ok().filter(|len| isize::try_from(*len).is_ok()) else {
            return Err(LeaseError::CapacityExceeded);
        };
        if len < Mapping::LEAST {
            return Err(LeaseError::Unfit(Unfit::Size));
        }
        let both = ProtFlags::READ.union(ProtFlags::WRITE);
        // SAFETY: a new mapping at a place of the kernel's choice touches no memory that exists.
        let base = unsafe { rustix::mm::mmap(core::ptr::null_mut(), len, both, MapFlags::SHARED, &self.fd, 0) };
        let base = NonNull::new(base.map_err(refused)?.cast()).ok_or(LeaseError::CapacityExceeded)?;
        Ok(Mapping { base, len })
    }
}

/// A mapped file. Others may have mapped it too: its bytes are reached by atomics, or by a protocol.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: it gives out an address, and atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// The shortest one, in bytes: what a record needs.
    pub(crate) const LEAST: usize = 512;

    /// Where it starts: on a page.
    pub(crate) const fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The word at byte `AT`, shared with whoever maps the file.
    #[inline]
    pub(crate) fn word<const AT: usize>(&self) -> Word<'_> {
        const { assert!(AT.is_multiple_of(8) && AT + 8 <= Self::LEAST) };
        // SAFETY: the mapping has at least `LEAST` bytes (`Object::map`).
        let at = unsafe { self.base.add(AT) };
        // SAFETY: mapped for as long as this value lives, which the word borrows; aligned, since a page is; everybody
        // reaches the word by atomics, or lives in another process.
        Word(unsafe { at.cast().as_ref() })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: made by `Object::map`, of this length, and unmapped here alone; words borrow this value, and whoever
        // was given the address keeps the value.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// A 64-bit word of a mapping, little-endian.
#[derive(Clone, Copy)]
#[allow(clippy::disallowed_types, reason = "the seam itself")]
pub(crate) struct Word<'m>(&'m AtomicU64);

impl Word<'_> {
    #[inline]
    pub(crate) fn load(self) -> u64 {
        // SYNC(shared term): with `swap_if`: what somebody did before the change is seen by whoever sees the change.
        u64::from_le(self.0.load(Ordering::Acquire))
    }

    /// Puts `new` where `old` stands; answers whether it stood there.
    pub(crate) fn swap_if(self, old: u64, new: u64) -> bool {
        // SYNC(shared term)
        self.0.compare_exchange(old.to_le(), new.to_le(), Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Milliseconds since the machine started, the same in every process.
pub(crate) fn machine_ms() -> u64 {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let clock = rustix::time::ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let clock = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(clock);
    let whole = u64::try_from(now.tv_sec).unwrap_or(0).saturating_mul(1000);
    #[allow(clippy::arithmetic_side_effects, reason = "a division by a constant")]
    whole.saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000)
}

/// Which start of the machine this is; 0 where the system does not say.
pub(crate) fn boot_id() -> u128 {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits = text.chars().filter_map(|c| c.to_digit(16));
    digits.fold(0, |id: u128, digit| (id << 4) | u128::from(digit))
}

/// This process's number.
pub(crate) fn process_id() -> u32 {
    std::process::id()
}

/// When a process started, in the kernel's own unit; 0 if it is not there, or where the system does not say. With its
/// number it names a process for ever, where the number alone is used again.
pub(crate) fn process_start(id: u32) -> u64 {
    let stat = fs::read_to_string(std::format!("/proc/{id}/stat")).unwrap_or_default();
    // The second field is the program's name in parentheses, which may hold anything; the 22nd is wanted.
    let behind = stat.rsplit_once(')').map_or("", |(_, behind)| behind);
    behind.split_ascii_whitespace().nth(19).and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// This user's number.
pub(crate) fn user_id() -> u32 {
    rustix::process::geteuid().as_raw()
}
