//! The store itself: what is collected, what is written, and when it is on the medium.

use super::calls::{failed, read_exact, read_up_to, refused, retried, write_all, write_zeros};
use super::config::FileConfig;
use super::disk::Disk;
use super::handles::{HANDLES, Handle, Handles};
use super::marks::Marks;
use super::name::{LOCK, Name};
use super::system::{SystemDisk, SystemFile};
use super::window::Windows;
use crate::durable::store::{Geometry, MediumError, SplitSync, Store};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::hash::BuildHasher;
use std::hash::RandomState;
use std::io::ErrorKind;
use std::path::Path;
use std::time::SystemTime;

/// Files in a directory as a medium: one a segment, made as they are needed, used again and again.
///
/// What is programmed is collected, and written when it does not fit into the buffer, when it goes on elsewhere, or by
/// [`sync`](Store::sync), which waits until it is on the disk: so a sync after many records costs as much as one after one.
/// Reading answers what is collected too, and reads ahead. Whoever has the store open is alone with it, also among
/// processes. Dropping it does not sync: what was not synced may be lost.
///
/// A segment's file has all its blocks before it is used, so that a full disk is met by [`erase`](Store::erase) (or by the
/// first [`program`](Store::program) of a segment that was not erased), as [`MediumError::NoSpace`], and harms nothing: it can
/// be tried again. (File systems that never write in place, such as Btrfs and ZFS, need room for every write: there, keep
/// some free.) A segment that has no file yet reads as zeros; a file that was cut off is [`MediumError::Unreadable`] behind its
/// end, as is what the disk cannot read.
///
/// **When a write or a sync fails** otherwise, nobody knows what is on the disk, and trying again proves nothing: the store tells the error
/// once, and from then on [`MediumError::Poisoned`] to all but reads. Open it again: what is read then is from the disk, not
/// from what the system had in memory.
///
/// # Memory
/// The buffer, four times the window ([`FileConfig`]), a byte for each segment, and up to 16 open files (twice as many below a `SharedJournal`). Everything is allocated when it
/// is opened. Every call may wait for the disk.
///
/// # Example
/// ```
/// use fabric_mq::durable::{FileConfig, FileStore, MediumError, Store};
///
/// # let directory = std::env::temp_dir().join(format!("fabric-mq-doc-files-{}", std::process::id()));
/// # std::fs::remove_dir_all(&directory).ok();
/// let config = FileConfig::new().with_segment_bytes(1 << 20).with_segments(8);
/// let mut store = FileStore::open(&directory, config)?;
/// store.erase(0)?;
/// store.program(0, 0, b"sixteen bytes...")?;
/// store.sync()?;
///
/// let second = FileStore::open(&directory, config);
/// assert_eq!(second.err(), Some(MediumError::Locked));
/// drop(store);
///
/// let mut store = FileStore::open(&directory, config)?;
/// let mut word = [0; 5];
/// store.read(0, 8, &mut word)?;
/// assert_eq!(&word, b"bytes");
/// # std::fs::remove_dir_all(&directory).ok();
/// # Ok::<(), MediumError>(())
/// ```
pub struct FileStore<D: Disk = SystemDisk> {
    disk: D,
    lock: D::File,
    config: FileConfig,
    /// Of each segment, whether it has a file.
    made: Vec<bool>,
    handles: Handles<D::File>,
    marks: Marks,
    run: Run,
    windows: Windows,
    is_poisoned: bool,
    /// Which process opened it.
    process: u32,
}

/// What was programmed and is not written yet: bytes of one segment, one behind the other.
struct Run {
    segment: u32,
    at: u32,
    bytes: Vec<u8>,
    /// How many there may be.
    most: usize,
    /// Where the segment's file ends.
    limit: u64,
}

impl Run {
    fn end(&self) -> u32 {
        // Never beyond a segment.
        self.at.saturating_add(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX))
    }

    /// Takes bytes up, if they fit and go on where it ends.
    fn take(&mut self, segment: u32, at: u32, bytes: &[u8]) -> bool {
        let is_next = self.bytes.is_empty() || (self.segment, self.end()) == (segment, at);
        let end = u64::from(at).saturating_add(bytes.len() as u64);
        if !is_next || bytes.len() > self.most.saturating_sub(self.bytes.len()) || end > self.limit {
            return false;
        }
        if self.bytes.is_empty() {
            (self.segment, self.at) = (segment, at);
        }
        self.bytes.extend_from_slice(bytes);
        true
    }
}

impl FileStore {
    /// Opens the store in a directory, which is made if there is none. What an earlier process left behind is synced first.
    ///
    /// # Errors
    /// - [`MediumError::Locked`]: somebody has it open.
    /// - [`MediumError::Unaligned`], [`MediumError::OutOfBounds`]: segments of a length that is no multiple of 512, of no length,
    ///   or none of them.
    /// - [`MediumError::NoSpace`], [`MediumError::Io`]: what the system says. `EPERM` also if the directory, or a file in it, is not
    ///   this user's, has a second name, or others may write to it.
    pub fn open(directory: impl AsRef<Path>, config: FileConfig) -> Result<Self, MediumError> {
        let config = config.check()?;
        Self::on(SystemDisk::open(directory.as_ref()).map_err(refused)?, config)
    }
}

impl<D: Disk> FileStore<D> {
    /// Opens the store in what is given for a directory.
    ///
    /// # Errors
    /// As for [`open`](FileStore::open).
    pub fn on(disk: D, config: FileConfig) -> Result<Self, MediumError> {
        let config = config.check()?;
        let mut disk = disk;
        let lock = Self::lock(&mut disk)?;
        let mut store = Self {
            disk,
            lock,
            config,
            made: vec![false; usize::try_from(config.segments).map_err(|_| MediumError::OutOfBounds)?],
            handles: Handles::new(),
            marks: Marks::new(),
            run: Run {
                segment: 0,
                at: 0,
                bytes: Vec::with_capacity(config.buffer_bytes),
                most: config.buffer_bytes,
                limit: 0,
            },
            windows: Windows::new(config.window_bytes),
            // Until all is well: what was marked stays so.
            is_poisoned: true,
            process: std::process::id(),
        };
        store.settle_remains()?;
        store.is_poisoned = false;
        Ok(store)
    }

    /// Opens the file that is locked, and locks it.
    fn lock(disk: &mut D) -> Result<D::File, MediumError> {
        let lock = loop {
            match retried(|| disk.open(LOCK)) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                opened => break opened.map_err(refused)?,
            }
            match retried(|| disk.create(LOCK)) {
                // Somebody else was a moment earlier.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => break made.map_err(refused)?,
            }
        };
        if retried(|| disk.try_lock(&lock)).map_err(refused)? { Ok(lock) } else { Err(MediumError::Locked) }
    }

    /// Finds out which segments there are, and makes sure that what is read of them is on the medium.
    fn settle_remains(&mut self) -> Result<(), MediumError> {
        let Self { disk, made, .. } = self;
        let mut find = |name: &str| {
            let segment = Name::parse(name).and_then(|segment| usize::try_from(segment).ok());
            if let Some(made) = segment.and_then(|segment| made.get_mut(segment)) {
                *made = true;
            }
        };
        retried(|| disk.names(&mut find)).map_err(refused)?;
        // Names that an earlier process has made and not synced.
        retried(|| self.disk.sync_names()).map_err(refused)?;
        let marked = Marks::load(&mut self.disk, &self.lock, self.config.segments)?;
        let suspects = marked.unwrap_or_else(|| (0..self.config.segments).collect());
        for segment in suspects {
            if self.is_made(segment) {
                let file = retried(|| self.disk.open(Name::segment(segment).as_str())).map_err(refused)?;
                retried(|| self.disk.sync(&file)).map_err(refused)?;
                self.disk.forget(&file);
            }
        }
        self.marks.clear(&mut self.disk, &self.lock)
    }

    fn is_made(&self, segment: u32) -> bool {
        usize::try_from(segment).ok().and_then(|segment| self.made.get(segment)).copied().unwrap_or(false)
    }

    /// Whether these bytes lie within a segment.
    fn check(&self, segment: u32, at: u32, len: usize) -> Result<(), MediumError> {
        let end = u32::try_from(len).ok().and_then(|len| at.checked_add(len));
        let is_inside = segment < self.config.segments && end.is_some_and(|end| end <= self.config.segment_bytes);
        if is_inside { Ok(()) } else { Err(MediumError::OutOfBounds) }
    }

    /// Does something that must not fail: if it does, nothing is written any more.
    fn surely<R>(&mut self, act: impl FnOnce(&mut Self) -> Result<R, MediumError>) -> Result<R, MediumError> {
        let done = act(self);
        self.is_poisoned |= done.is_err();
        done
    }

    /// The place of a segment's open file. Opens it if it is not.
    fn handle(&mut self, segment: u32) -> Result<usize, MediumError> {
        if let Some(place) = self.handles.find(segment) {
            return Ok(place);
        }
        let place = self.room()?;
        let file = retried(|| self.disk.open(Name::segment(segment).as_str())).map_err(refused)?;
        let bytes = retried(|| self.disk.len(&file)).map_err(refused)?;
        Ok(self.handles.put(place, segment, file, bytes))
    }

    /// Where another open file goes.
    fn room(&mut self) -> Result<Option<usize>, MediumError> {
        let victim = self.handles.victim();
        if let Some(place) = victim.filter(|_| !self.is_poisoned) {
            self.settle(place)?;
        }
        Ok(victim)
    }

    /// Syncs an open file, if it was written to.
    fn settle(&mut self, place: usize) -> Result<(), MediumError> {
        let Some(handle) = self.handles.get_mut(place).filter(|handle| handle.is_dirty) else { return Ok(()) };
        match retried(|| self.disk.sync(&handle.file)) {
            Ok(()) => {
                handle.is_dirty = false;
                Ok(())
            }
            Err(error) => {
                self.is_poisoned = true;
                Err(failed(error))
            }
        }
    }

    /// Makes the file of a segment that has none. Without room for it, nothing has happened.
    fn make(&mut self, segment: u32) -> Result<(), MediumError> {
        let place = self.room()?;
        let new = Name::making(segment);
        let made = self.make_new(segment, new);
        let file = match made {
            Ok(file) => file,
            Err(error) => {
                // It takes up room. If it cannot be removed, it is in nobody's way but that of the next try.
                let _ = retried(|| self.disk.remove(new.as_str()));
                self.is_poisoned |= error != MediumError::NoSpace;
                return Err(error);
            }
        };
        self.surely(|store| retried(|| store.disk.sync_names()).map_err(failed))?;
        self.handles.put(place, segment, file, self.config.segment_bytes.into());
        if let Some(made) = usize::try_from(segment).ok().and_then(|segment| self.made.get_mut(segment)) {
            *made = true;
        }
        Ok(())
    }

    /// The same, but for the sync of its name.
    fn make_new(&mut self, segment: u32, new: Name) -> Result<D::File, MediumError> {
        let file = match retried(|| self.disk.create(new.as_str())) {
            // What somebody has begun who died.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                retried(|| self.disk.remove(new.as_str())).map_err(refused)?;
                retried(|| self.disk.create(new.as_str()))
            }
            created => created,
        };
        let file = file.map_err(refused)?;
        write_zeros(&mut self.disk, &file, 0, self.config.segment_bytes.into()).map_err(refused)?;
        retried(|| self.disk.sync(&file)).map_err(refused)?;
        retried(|| self.disk.rename(new.as_str(), Name::segment(segment).as_str())).map_err(refused)?;
        Ok(file)
    }

    /// Gives a file that was cut off its length again.
    fn prolong(&mut self, place: usize) -> Result<(), MediumError> {
        let whole = self.config.segment_bytes.into();
        let Some(handle) = self.handles.get_mut(place).filter(|handle| handle.bytes < whole) else { return Ok(()) };
        self.windows.drop_segment(handle.segment);
        let written = write_zeros(&mut self.disk, &handle.file, handle.bytes, whole);
        let synced = written.and_then(|()| retried(|| self.disk.sync(&handle.file))).map_err(refused);
        match synced {
            Ok(()) => handle.bytes = whole,
            Err(error) => self.is_poisoned |= error != MediumError::NoSpace,
        }
        synced
    }

    /// Writes bytes to a segment's file.
    fn write(&mut self, segment: u32, at: u32, bytes: &[u8]) -> Result<(), MediumError> {
        let place = self.handle(segment)?;
        self.marks.set(&mut self.disk, &self.lock, place, segment)?;
        let handle = self.handles.written(place).ok_or(MediumError::Failed)?;
        write_all(&mut self.disk, &handle.file, at.into(), bytes).map_err(failed)?;
        self.windows.patch(segment, at, bytes);
        Ok(())
    }

    /// Writes what was collected.
    fn drain(&mut self) -> Result<(), MediumError> {
        if self.run.bytes.is_empty() {
            return Ok(());
        }
        let mut bytes = core::mem::take(&mut self.run.bytes);
        let (segment, at) = (self.run.segment, self.run.at);
        let written = self.surely(|store| store.write(segment, at, &bytes));
        if written.is_ok() {
            bytes.clear();
        } else {
            self.windows.drop_segment(segment);
        }
        // If not, they are still answered to whoever reads.
        self.run.bytes = bytes;
        written
    }

    /// Reads bytes of a segment's file.
    fn fetch(&mut self, segment: u32, at: u32, into: &mut [u8]) -> Result<(), MediumError> {
        if into.is_empty() || self.windows.copy(segment, at, into) {
            return Ok(());
        }
        if !self.is_made(segment) {
            into.fill(0);
            return Ok(());
        }
        let place = self.handle(segment)?;
        let Self { disk, handles, windows, config, .. } = self;
        let file = &handles.get(place).ok_or(MediumError::Failed)?.file;
        let most = usize::try_from(config.segment_bytes.saturating_sub(at)).unwrap_or(usize::MAX);
        // What cannot be read behind what is wanted is not told of.
        let ahead = |bytes: &mut [u8]| read_up_to(disk, file, at.into(), bytes, into.len());
        if windows.load(segment, at, into.len(), most, ahead)? && windows.copy(segment, at, into) {
            return Ok(());
        }
        read_exact(disk, file, at.into(), into)
    }
}

impl<D: Disk> Store for FileStore<D> {
    fn geometry(&self) -> Geometry {
        Geometry::files(self.config.segments, self.config.segment_bytes)
    }

    fn read(&mut self, segment: u32, at: u32, into: &mut [u8]) -> Result<(), MediumError> {
        self.check(segment, at, into.len())?;
        let end = at.saturating_add(u32::try_from(into.len()).unwrap_or(u32::MAX));
        let (from, to) = (at.max(self.run.at), end.min(self.run.end()));
        if self.run.segment != segment || from >= to {
            return self.fetch(segment, at, into);
        }
        // Part of it is not written yet. All of these are at most a segment's bytes.
        let count = |from: u32, to: u32| usize::try_from(to.wrapping_sub(from)).unwrap_or(0);
        let (before, rest) = into.split_at_mut_checked(count(at, from)).ok_or(MediumError::OutOfBounds)?;
        let (inside, behind) = rest.split_at_mut_checked(count(from, to)).ok_or(MediumError::OutOfBounds)?;
        let start = count(self.run.at, from);
        let bytes = self.run.bytes.get(start..start.saturating_add(inside.len())).ok_or(MediumError::OutOfBounds)?;
        inside.copy_from_slice(bytes);
        self.fetch(segment, at, before)?;
        self.fetch(segment, to, behind)
    }

    fn program(&mut self, segment: u32, at: u32, bytes: &[u8]) -> Result<(), MediumError> {
        self.check(segment, at, bytes.len())?;
        let unit = self.geometry().write_unit;
        if !at.is_multiple_of(unit) || !u32::try_from(bytes.len()).is_ok_and(|len| len.is_multiple_of(unit)) {
            return Err(MediumError::Unaligned);
        }
        if self.is_poisoned {
            return Err(MediumError::Poisoned);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        // Behind bytes that were taken up, there is a file.
        if !self.run.bytes.is_empty() && self.run.take(segment, at, bytes) {
            return Ok(());
        }
        if !self.is_made(segment) {
            self.make(segment)?;
        }
        self.drain()?;
        let place = self.handle(segment)?;
        let end = u64::from(at).saturating_add(bytes.len() as u64);
        // A file that was cut off is not made longer here: what is missing would pass for zeros.
        let limit = self.handles.get(place).map_or(0, |handle| handle.bytes);
        if limit < end {
            return Err(MediumError::OutOfBounds);
        }
        self.run.limit = limit;
        if self.run.take(segment, at, bytes) { Ok(()) } else { self.surely(|store| store.write(segment, at, bytes)) }
    }

    fn erase(&mut self, segment: u32) -> Result<(), MediumError> {
        self.check(segment, 0, 0)?;
        if self.is_poisoned {
            return Err(MediumError::Poisoned);
        }
        if !self.is_made(segment) {
            return self.make(segment);
        }
        let place = self.handle(segment)?;
        self.prolong(place)
    }

    fn sync(&mut self) -> Result<(), MediumError> {
        if self.is_poisoned {
            return Err(MediumError::Poisoned);
        }
        self.drain()?;
        while let Some(place) = self.handles.dirty() {
            self.settle(place)?;
        }
        Ok(())
    }

    /// From the system's random seeds of hash maps, the time and the process.
    fn nonce(&mut self) -> u64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        RandomState::new().hash_one((now, std::process::id()))
    }
}

/// Files that have to be synced: where they are open, their segments, their last writes.
#[derive(Debug)]
pub struct PendingFiles(heapless::Vec<(usize, u32, u64, Arc<SystemFile>), HANDLES>);

impl SplitSync for FileStore<SystemDisk> {
    type Pending = PendingFiles;

    fn begin_sync(&mut self) -> Result<PendingFiles, MediumError> {
        if self.is_poisoned {
            return Err(MediumError::Poisoned);
        }
        self.drain()?;
        let mut pending = PendingFiles(heapless::Vec::new());
        for place in 0..self.handles.len() {
            let Some(handle) = self.handles.get_mut(place).filter(|handle| handle.is_dirty) else { continue };
            let file = match &handle.apart {
                Some(file) => Arc::clone(file),
                None => {
                    let name = Name::segment(handle.segment);
                    let file = Arc::new(retried(|| self.disk.open(name.as_str())).map_err(refused)?);
                    Arc::clone(handle.apart.insert(file))
                }
            };
            // There are as many as can be open.
            pending.0.push((place, handle.segment, handle.write, file)).map_err(|_| MediumError::Failed)?;
        }
        Ok(pending)
    }

    fn wait(pending: &PendingFiles) -> Result<(), MediumError> {
        pending.0.iter().try_for_each(|(.., file)| retried(|| file.sync()).map_err(failed))
    }

    fn end_sync(&mut self, pending: PendingFiles, done: Result<(), MediumError>) -> Result<(), MediumError> {
        if done.is_err() {
            self.is_poisoned = true;
            return done;
        }
        for (place, segment, write, _) in pending.0 {
            let same = |handle: &&mut Handle<SystemFile>| handle.segment == segment && handle.write == write;
            if let Some(handle) = self.handles.get_mut(place).filter(same) {
                handle.is_dirty = false;
            }
        }
        Ok(())
    }
}

impl<D: Disk> Drop for FileStore<D> {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            // A forked child's copy: the store is its parent's.
            return;
        }
        if !self.is_poisoned && self.run.bytes.is_empty() && self.handles.dirty().is_none() {
            // If not, the next one syncs what need not be synced.
            let _ = self.marks.clear(&mut self.disk, &self.lock);
        }
        self.disk.unlock(&self.lock);
    }
}

impl<D: Disk> fmt::Debug for FileStore<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore")
            .field("config", &self.config)
            .field("made", &self.made.iter().filter(|made| **made).count())
            .field("collected", &self.run.bytes.len())
            .field("is_poisoned", &self.is_poisoned)
            .finish_non_exhaustive()
    }
}
