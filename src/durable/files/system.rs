//! Files of the operating system.

use super::disk::Disk;
use crate::platform::disk;
use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::io::Result;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Of files: the owner reads and writes.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
/// Others who may write.
const OTHERS_WRITE: Mode = Mode::WGRP.union(Mode::WOTH);
/// How files are opened. Without `NONBLOCK`, a pipe of the right name would hold us.
const OPEN: OFlags = OFlags::RDWR.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);
/// How directories are.
const OPEN_DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The files in a directory of the operating system.
///
/// The directory is opened once, and files by way of it, never through a link. It and they must be this user's, nobody else may
/// be able to write to them, and a file has one name: else the answer is the error `EPERM`.
#[derive(Debug)]
pub struct SystemDisk {
    directory: OwnedFd,
    /// The directory in which this one is, until its names have been synced.
    parent: Option<OwnedFd>,
}

/// An open file of the operating system.
#[derive(Debug)]
pub struct SystemFile(OwnedFd);

impl SystemFile {
    /// Waits until it is on the medium.
    pub(super) fn sync(&self) -> Result<()> {
        Ok(disk::sync_data(self.0.as_fd())?)
    }
}

/// Whether it is of this kind, ours, and nobody else's to write.
fn check(stat: &Stat, kind: FileType) -> Result<()> {
    let is_ours = stat.st_uid == rustix::process::geteuid().as_raw();
    let is_safe = !Mode::from_raw_mode(stat.st_mode).intersects(OTHERS_WRITE);
    if FileType::from_raw_mode(stat.st_mode) == kind && is_ours && is_safe { Ok(()) } else { Err(Errno::PERM.into()) }
}

impl SystemDisk {
    /// Opens a directory; makes it, with mode 0700, if there is none.
    ///
    /// # Errors
    /// What the system says; `EPERM` if it is not this user's, or others may write to it.
    pub fn open(path: &Path) -> Result<Self> {
        let was_made = match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(errno.into()),
        };
        let directory = rustix::fs::open(path, OPEN_DIRECTORY.union(OFlags::NOFOLLOW), Mode::empty())?;
        if was_made {
            // What the process masks out of modes does not matter.
            rustix::fs::fchmod(&directory, Mode::RWXU)?;
        }
        check(&rustix::fs::fstat(&directory)?, FileType::Directory)?;
        // Also if it was there: whoever made it may have died before it was synced.
        let parent = match rustix::fs::openat(&directory, "..", OPEN_DIRECTORY, Mode::empty()) {
            Ok(parent) => Some(parent),
            // Not ours to look into, so somebody else's to sync.
            Err(Errno::ACCESS | Errno::PERM) if !was_made => None,
            Err(errno) => return Err(errno.into()),
        };
        Ok(Self { directory, parent })
    }
}

impl Disk for SystemDisk {
    type File = SystemFile;

    fn names(&mut self, each: &mut dyn FnMut(&str)) -> Result<()> {
        for entry in Dir::read_from(&self.directory)? {
            // Names that are no text are nobody's of ours.
            if let Ok(name) = entry?.file_name().to_str() {
                each(name);
            }
        }
        Ok(())
    }

    fn open(&mut self, name: &str) -> Result<SystemFile> {
        let file = rustix::fs::openat(&self.directory, name, OPEN, Mode::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        check(&stat, FileType::RegularFile)?;
        // A second name may lie where others come to it.
        if stat.st_nlink > 1 { Err(Errno::PERM.into()) } else { Ok(SystemFile(file)) }
    }

    fn create(&mut self, name: &str) -> Result<SystemFile> {
        let flags = OPEN.union(OFlags::CREATE).union(OFlags::EXCL);
        let file = rustix::fs::openat(&self.directory, name, flags, FILE_MODE)?;
        // As above.
        rustix::fs::fchmod(&file, FILE_MODE)?;
        Ok(SystemFile(file))
    }

    fn try_lock(&mut self, file: &SystemFile) -> Result<bool> {
        match rustix::fs::flock(&file.0, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            // The same number, on most systems.
            Err(errno) if [Errno::WOULDBLOCK, Errno::AGAIN].contains(&errno) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    fn unlock(&mut self, file: &SystemFile) {
        // Closing is not enough while a child that was just forked has the file open too.
        let _ = rustix::fs::flock(&file.0, FlockOperation::Unlock);
    }

    fn len(&mut self, file: &SystemFile) -> Result<u64> {
        Ok(u64::try_from(rustix::fs::fstat(&file.0)?.st_size).unwrap_or(0))
    }

    fn read_at(&mut self, file: &SystemFile, at: u64, into: &mut [u8]) -> Result<usize> {
        Ok(rustix::io::pread(&file.0, into, at)?)
    }

    fn write_at(&mut self, file: &SystemFile, at: u64, bytes: &[u8]) -> Result<usize> {
        Ok(rustix::io::pwrite(&file.0, bytes, at)?)
    }

    fn sync(&mut self, file: &SystemFile) -> Result<()> {
        file.sync()
    }

    fn forget(&mut self, file: &SystemFile) {
        let _ = disk::forget(file.0.as_fd());
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        Ok(rustix::fs::renameat(&self.directory, from, &self.directory, to)?)
    }

    fn remove(&mut self, name: &str) -> Result<()> {
        Ok(rustix::fs::unlinkat(&self.directory, name, AtFlags::empty())?)
    }

    fn sync_names(&mut self) -> Result<()> {
        disk::sync_names(self.directory.as_fd())?;
        if let Some(parent) = &self.parent {
            disk::sync_names(parent.as_fd())?;
            self.parent = None;
        }
        Ok(())
    }
}
