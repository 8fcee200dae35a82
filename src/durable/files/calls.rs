//! System calls, carried through: interrupted ones are tried again, short ones continued, errors told in the medium's terms.

use super::disk::Disk;
use crate::durable::store::MediumError;
use rustix::io::Errno;
use std::io::{Error, ErrorKind, Result};

/// What is written where nothing was.
const ZEROS: &[u8] = &[0; 1 << 16];

/// What an error of the system means for a medium if nothing has happened by it.
pub(super) fn refused(error: Error) -> MediumError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => MediumError::NoSpace,
        _ => failed(error),
    }
}

/// The same if something may have happened: that there is no room would invite to try again.
#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(super) fn failed(error: Error) -> MediumError {
    error.raw_os_error().map_or(MediumError::Failed, MediumError::Io)
}

/// Tries again until nothing interrupts it.
pub(super) fn retried<R>(mut call: impl FnMut() -> Result<R>) -> Result<R> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Writes all of it.
pub(super) fn write_all<D: Disk>(disk: &mut D, file: &D::File, mut at: u64, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        let written = retried(|| disk.write_at(file, at, bytes))?;
        bytes = bytes.get(written..).filter(|_| written != 0).ok_or(ErrorKind::WriteZero)?;
        at = at.saturating_add(written as u64);
    }
    Ok(())
}

/// Fills a file with zeros, from byte `at` up to byte `to`.
pub(super) fn write_zeros<D: Disk>(disk: &mut D, file: &D::File, mut at: u64, to: u64) -> Result<()> {
    while at < to {
        let step = usize::try_from(to.saturating_sub(at)).unwrap_or(usize::MAX);
        let zeros = ZEROS.get(..step).unwrap_or(ZEROS);
        write_all(disk, file, at, zeros)?;
        at = at.saturating_add(zeros.len() as u64);
    }
    Ok(())
}

/// Reads as much as there is, up to all of `into`; answers how much. An error counts as the end if `enough` was read before.
pub(super) fn read_up_to<D: Disk>(
    disk: &mut D,
    file: &D::File,
    at: u64,
    into: &mut [u8],
    enough: usize,
) -> core::result::Result<usize, MediumError> {
    let mut done: usize = 0;
    loop {
        let rest = into.get_mut(done..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(done);
        }
        match retried(|| disk.read_at(file, at.saturating_add(done as u64), rest)) {
            Ok(0) => return Ok(done),
            // A disk that answers more than it was asked for is wrong, but does no harm.
            Ok(read) => done = done.saturating_add(read).min(into.len()),
            Err(_) if done >= enough => return Ok(done),
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                return Err(MediumError::Unreadable);
            }
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Reads all of it. A file that ends before is damaged.
pub(super) fn read_exact<D: Disk>(
    disk: &mut D,
    file: &D::File,
    at: u64,
    into: &mut [u8],
) -> core::result::Result<(), MediumError> {
    let wanted = into.len();
    let read = read_up_to(disk, file, at, into, wanted)?;
    if read == wanted { Ok(()) } else { Err(MediumError::Unreadable) }
}
