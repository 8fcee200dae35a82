//! The system calls below a store of files.

use std::io::Result;

/// The files of one directory, as a [`FileStore`](super::FileStore) uses them: a method is a system call.
///
/// [`SystemDisk`](super::SystemDisk) is the one for real files. Others are for tests, which make calls fail and the power
/// go between any two of them, and for files that no system has. What the store makes of the answers:
/// - `Interrupted` is tried again at once; reads and writes may be short, and are continued.
/// - Any other error of a write, of a sync or of a rename ends all writing: the store is poisoned. But while a segment is
///   made, `StorageFull`, `QuotaExceeded` and `FileTooLarge` only mean that there is no room for it.
/// - Of reads, the system's number for I/O errors (`EIO`) is a place of the medium that cannot be read.
///
/// Names are of ASCII letters, digits and dots, 12 bytes at most, never a user's text.
pub trait Disk {
    /// An open file.
    type File;

    /// Tells all names there are.
    ///
    /// # Errors
    /// What the system says.
    fn names(&mut self, each: &mut dyn FnMut(&str)) -> Result<()>;

    /// Opens a file to read and write.
    ///
    /// # Errors
    /// What the system says: `NotFound` if there is none.
    fn open(&mut self, name: &str) -> Result<Self::File>;

    /// Makes an empty file.
    ///
    /// # Errors
    /// What the system says: `AlreadyExists` if there is one.
    fn create(&mut self, name: &str) -> Result<Self::File>;

    /// Locks a file for this store alone, if nobody else has; answers whether it did. Does not wait.
    ///
    /// # Errors
    /// What the system says.
    fn try_lock(&mut self, file: &Self::File) -> Result<bool>;

    /// Gives the lock back. It is also given back when the process dies.
    fn unlock(&mut self, file: &Self::File);

    /// How long a file is, in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn len(&mut self, file: &Self::File) -> Result<u64>;

    /// Reads at most `into.len()` bytes from `at` on; answers how many. None: the file ends there.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&mut self, file: &Self::File, at: u64, into: &mut [u8]) -> Result<usize>;

    /// Writes at most `bytes.len()` bytes from `at` on; answers how many.
    ///
    /// # Errors
    /// What the system says.
    fn write_at(&mut self, file: &Self::File, at: u64, bytes: &[u8]) -> Result<usize>;

    /// Waits until what was written to the file, and its length, are on the medium.
    ///
    /// # Errors
    /// What the system says; nothing written since the last success may be taken for stored, ever.
    fn sync(&mut self, file: &Self::File) -> Result<()>;

    /// Drops what the system keeps of a file in memory and is on the medium, so that it is read from there. As far as that can
    /// be had: nothing is to be told if not.
    fn forget(&mut self, file: &Self::File);

    /// Gives a file another name, which no other file has.
    ///
    /// # Errors
    /// What the system says; then nothing was done.
    fn rename(&mut self, from: &str, to: &str) -> Result<()>;

    /// Takes a file's name away.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&mut self, name: &str) -> Result<()>;

    /// Waits until the names, as they are now, are on the medium.
    ///
    /// # Errors
    /// What the system says; nothing is known of names that changed since the last success.
    fn sync_names(&mut self) -> Result<()>;
}
