//! What systems call by other names, of files whose bytes have to last.

use rustix::io::Result;
use std::os::fd::BorrowedFd;

/// Waits until what was written to a file, and its length, are on the medium: also through the drive's own cache.
pub(crate) fn sync_data(file: BorrowedFd<'_>) -> Result<()> {
    // Apple's fsync leaves it in the drive's cache.
    #[cfg(target_vendor = "apple")]
    return rustix::fs::fcntl_fullfsync(file);
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd"))]
    return rustix::fs::fdatasync(file);
    #[cfg(not(any(
        target_vendor = "apple",
        target_os = "linux",
        target_os = "android",
        target_os = "freebsd",
        target_os = "netbsd"
    )))]
    return rustix::fs::fsync(file);
}

/// Waits until a directory's names are on the medium.
pub(crate) fn sync_names(directory: BorrowedFd<'_>) -> Result<()> {
    #[cfg(target_vendor = "apple")]
    return rustix::fs::fcntl_fullfsync(directory);
    #[cfg(not(target_vendor = "apple"))]
    return rustix::fs::fsync(directory);
}

/// Drops what the system keeps of a file in memory, as far as it can be asked to. What is not on the medium stays.
pub(crate) fn forget(file: BorrowedFd<'_>) -> Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = file;
        Ok(())
    }
}
