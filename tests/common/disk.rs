//! Files in memory, below a store of files: any call can be made to fail, the process can be killed and the power can go
//! between any two calls, and then what was not synced is there or not, in any order, in sectors of 512 bytes.
//!
//! What a file system may do when the power goes, and this one does, as a [`Choose`] says:
//! - Of each sector written since the file was last synced: what it was, or any of the versions written since.
//! - A file that has grown has its old length or the new one; what is new and was not synced is zeros.
//! - Of the names made, changed and removed since the directory was synced: each may be as before.
//!
//! A sync that fails has stored some of the sectors, and takes the others for stored: the next one does not try them again.

#![allow(dead_code, reason = "each test file uses a part of this")]

use super::common::Rng;
use fabric_mq::durable::Disk;
use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, Result};
use std::rc::Rc;

pub(crate) const SECTOR: usize = 512;
pub(crate) const ENOENT: i32 = 2;
pub(crate) const EINTR: i32 = 4;
pub(crate) const EIO: i32 = 5;
pub(crate) const EBADF: i32 = 9;
pub(crate) const EEXIST: i32 = 17;
pub(crate) const EMFILE: i32 = 24;
pub(crate) const ENOSPC: i32 = 28;

/// What is to happen to one call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// It answers this error, and does nothing; a sync: see above.
    Error(i32),
    /// It reads or writes half of what it should. Others are not touched.
    Short,
    /// Nothing is done from here on: the process is dead, or the power is gone. What the call should do may be done or not.
    Stop { done: bool },
}

/// What a call is for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Call {
    Names,
    Open,
    Create,
    Lock,
    Len,
    Read,
    Write,
    Sync,
    Rename,
    Remove,
    SyncNames,
}

/// Decides between `n` ways that things can be.
pub(crate) trait Choose {
    fn choose(&mut self, n: u64) -> u64;
}

impl Choose for Rng {
    fn choose(&mut self, n: u64) -> u64 {
        self.below(n)
    }
}

/// Goes through all choices, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Odometer {
    digits: Vec<(u64, u64)>,
    at: usize,
}

impl Odometer {
    /// Makes the next choices; `false` if there are no others.
    pub(crate) fn step(&mut self) -> bool {
        self.at = 0;
        while let Some((digit, n)) = self.digits.pop() {
            if digit + 1 < n {
                self.digits.push((digit + 1, n));
                return true;
            }
        }
        false
    }
}

impl Choose for Odometer {
    fn choose(&mut self, n: u64) -> u64 {
        if self.at == self.digits.len() {
            self.digits.push((0, n));
        }
        let (digit, of) = self.digits[self.at];
        assert_eq!(of, n, "the same run asks the same");
        self.at += 1;
        digit
    }
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// As processes see it.
    bytes: Vec<u8>,
    /// As it is on the medium.
    stored: Vec<u8>,
    /// Sectors written since they were stored, and what was written, one after the other.
    pending: BTreeMap<usize, Vec<Vec<u8>>>,
    /// Sectors that cannot be read.
    bad: BTreeSet<usize>,
}

/// A sector, or what there is of it.
fn sector(bytes: &[u8], nth: usize) -> &[u8] {
    let bytes = bytes.get(nth * SECTOR..).unwrap_or_default();
    &bytes[..bytes.len().min(SECTOR)]
}

impl Node {
    fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[at..end].copy_from_slice(bytes);
        for nth in at / SECTOR..end.div_ceil(SECTOR) {
            self.pending.entry(nth).or_default().push(sector(&self.bytes, nth).to_vec());
        }
    }

    fn store(&mut self, nth: usize, version: &[u8]) {
        let end = (nth * SECTOR + version.len()).min(self.stored.len());
        if nth * SECTOR < end {
            let len = end - nth * SECTOR;
            self.stored[nth * SECTOR..end].copy_from_slice(&version[..len]);
        }
    }

    fn sync(&mut self) {
        self.stored.resize(self.bytes.len(), 0);
        for nth in std::mem::take(&mut self.pending).into_keys() {
            let version = sector(&self.bytes, nth).to_vec();
            self.store(nth, &version);
        }
    }

    /// What was not synced is there or not.
    fn settle(&mut self, choose: &mut dyn Choose) {
        if self.bytes.len() != self.stored.len() && choose.choose(2) == 1 {
            self.stored.resize(self.bytes.len(), 0);
        }
        for (nth, versions) in std::mem::take(&mut self.pending) {
            // What does not reach the disk twice makes no difference.
            let mut distinct: Vec<Vec<u8>> = Vec::new();
            for version in versions {
                if version != sector(&self.stored, nth) && !distinct.contains(&version) {
                    distinct.push(version);
                }
            }
            if nth * SECTOR >= self.stored.len() || distinct.is_empty() {
                continue;
            }
            match choose.choose(distinct.len() as u64 + 1) {
                0 => {}
                version => self.store(nth, &distinct[version as usize - 1].clone()),
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Renaming {
    Made(String, u64),
    Renamed(String, String, u64),
    Removed(String),
}

#[derive(Clone, Debug)]
struct World {
    nodes: BTreeMap<u64, Node>,
    names: BTreeMap<String, u64>,
    stored_names: BTreeMap<String, u64>,
    pending_names: Vec<Renaming>,
    locked: BTreeSet<u64>,
    /// Rises when all that was open is not open any more.
    life: u64,
    next: u64,
    calls: u64,
    counts: BTreeMap<Call, u64>,
    log: Option<Vec<(Call, String)>>,
    plan: Vec<(u64, Fault)>,
    is_stopped: bool,
    /// Bytes that files may have together.
    room: usize,
    rng: Rng,
}

/// Several values of one disk are the same disk.
#[derive(Clone, Debug)]
pub(crate) struct FaultyDisk(Rc<RefCell<World>>);

#[derive(Debug)]
pub(crate) struct FaultyFile {
    node: u64,
    life: u64,
    name: String,
}

fn errno<R>(code: i32) -> Result<R> {
    Err(Error::from_raw_os_error(code))
}

/// How a call goes on.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Go {
    On,
    Half,
    /// It is done, but its caller is not told.
    Unheard,
}

impl World {
    fn enter(&mut self, call: Call, name: &str) -> Result<Go> {
        let nth = self.calls;
        self.calls += 1;
        if self.is_stopped {
            return errno(EIO);
        }
        *self.counts.entry(call).or_default() += 1;
        if let Some(log) = &mut self.log {
            log.push((call, name.to_owned()));
        }
        match self.plan.iter().find(|(at, _)| *at == nth).map(|(_, fault)| *fault) {
            None => Ok(Go::On),
            Some(Fault::Short) => Ok(Go::Half),
            Some(Fault::Error(code)) => errno(code),
            Some(Fault::Stop { done }) => {
                self.is_stopped = true;
                if done { Ok(Go::Unheard) } else { errno(EIO) }
            }
        }
    }

    fn heard<R>(go: Go, result: Result<R>) -> Result<R> {
        if go == Go::Unheard { errno(EIO) } else { result }
    }

    fn used(&self) -> usize {
        let held: BTreeSet<_> = self.names.values().collect();
        held.into_iter().map(|node| self.nodes[node].bytes.len()).sum()
    }

    fn restart(&mut self) {
        self.life += 1;
        self.locked.clear();
        self.is_stopped = false;
        self.plan.clear();
    }
}

impl FaultyDisk {
    pub(crate) fn new() -> Self {
        Self(Rc::new(RefCell::new(World {
            nodes: BTreeMap::new(),
            names: BTreeMap::new(),
            stored_names: BTreeMap::new(),
            pending_names: Vec::new(),
            locked: BTreeSet::new(),
            life: 0,
            next: 0,
            calls: 0,
            counts: BTreeMap::new(),
            log: None,
            plan: Vec::new(),
            is_stopped: false,
            room: usize::MAX,
            rng: Rng::new(0),
        })))
    }

    fn world(&self) -> RefMut<'_, World> {
        self.0.borrow_mut()
    }

    /// Another disk, with everything as it is on this one.
    pub(crate) fn image(&self) -> Self {
        Self(Rc::new(RefCell::new(self.world().clone())))
    }

    /// Decides what failed syncs have stored.
    pub(crate) fn seed(&self, seed: u64) {
        self.world().rng = Rng::new(seed);
    }

    /// So many bytes may files have together.
    pub(crate) fn limit(&self, bytes: usize) {
        self.world().room = bytes;
    }

    /// How many calls there were.
    pub(crate) fn calls(&self) -> u64 {
        self.world().calls
    }

    pub(crate) fn count(&self, call: Call) -> u64 {
        self.world().counts.get(&call).copied().unwrap_or(0)
    }

    /// The call of this number will go wrong.
    pub(crate) fn plan(&self, nth: u64, fault: Fault) {
        self.world().plan.push((nth, fault));
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.world().is_stopped
    }

    /// From here on, calls are written down; answers those that were.
    pub(crate) fn log(&self) -> Vec<(Call, String)> {
        self.world().log.replace(Vec::new()).unwrap_or_default()
    }

    /// The process is dead; the next one may begin. What it wrote is in the system's memory.
    pub(crate) fn kill(&self) {
        self.world().restart();
    }

    /// The power went, and is back.
    pub(crate) fn power_cut(&self, choose: &mut dyn Choose) {
        let world = &mut *self.world();
        world.restart();
        for renaming in std::mem::take(&mut world.pending_names) {
            if choose.choose(2) == 0 {
                continue;
            }
            match renaming {
                Renaming::Made(name, node) => _ = world.stored_names.insert(name, node),
                Renaming::Renamed(from, to, node) => {
                    if world.stored_names.get(&from) == Some(&node) {
                        world.stored_names.remove(&from);
                    }
                    world.stored_names.insert(to, node);
                }
                Renaming::Removed(name) => _ = world.stored_names.remove(&name),
            }
        }
        world.names = world.stored_names.clone();
        let held: BTreeSet<_> = world.names.values().copied().collect();
        world.nodes.retain(|node, _| held.contains(node));
        for node in world.nodes.values_mut() {
            node.settle(choose);
            node.bytes = node.stored.clone();
        }
    }

    /// All files, as processes see them.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let world = self.world();
        world.names.iter().map(|(name, node)| (name.clone(), world.nodes[node].bytes.clone())).collect()
    }

    /// Changes a file by hand, on the medium too.
    pub(crate) fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let world = &mut *self.world();
        let next = world.next;
        let node = *world.names.entry(name.to_owned()).or_insert(next);
        if node == next {
            world.next += 1;
            world.stored_names.insert(name.to_owned(), node);
        }
        let node = world.nodes.entry(node).or_default();
        edit(&mut node.bytes);
        node.stored = node.bytes.clone();
        node.pending.clear();
    }

    /// Takes a file away by hand.
    pub(crate) fn take(&self, name: &str) {
        let world = &mut *self.world();
        world.names.remove(name);
        world.stored_names.remove(name);
    }

    /// Makes a sector of a file unreadable.
    pub(crate) fn spoil(&self, name: &str, nth: usize) {
        let world = &mut *self.world();
        let node = world.names[name];
        world.nodes.get_mut(&node).unwrap().bad.insert(nth);
    }

    fn on_file<R>(&self, call: Call, file: &FaultyFile, act: impl FnOnce(&mut World, Go) -> Result<R>) -> Result<R> {
        let world = &mut *self.world();
        if file.life != world.life {
            return errno(EBADF);
        }
        let go = world.enter(call, &file.name)?;
        let result = act(world, go);
        World::heard(go, result)
    }

    fn on_names<R>(&self, call: Call, name: &str, act: impl FnOnce(&mut World) -> Result<R>) -> Result<R> {
        let world = &mut *self.world();
        let go = world.enter(call, name)?;
        let result = act(world);
        World::heard(go, result)
    }
}

impl Disk for FaultyDisk {
    type File = FaultyFile;

    fn names(&mut self, each: &mut dyn FnMut(&str)) -> Result<()> {
        self.on_names(Call::Names, "", |world| {
            world.names.keys().for_each(|name| each(name));
            Ok(())
        })
    }

    fn open(&mut self, name: &str) -> Result<FaultyFile> {
        self.on_names(Call::Open, name, |world| match world.names.get(name) {
            Some(node) => Ok(FaultyFile { node: *node, life: world.life, name: name.to_owned() }),
            None => errno(ENOENT),
        })
    }

    fn create(&mut self, name: &str) -> Result<FaultyFile> {
        self.on_names(Call::Create, name, |world| {
            if world.names.contains_key(name) {
                return errno(EEXIST);
            }
            let node = world.next;
            world.next += 1;
            world.nodes.insert(node, Node::default());
            world.names.insert(name.to_owned(), node);
            world.pending_names.push(Renaming::Made(name.to_owned(), node));
            Ok(FaultyFile { node, life: world.life, name: name.to_owned() })
        })
    }

    fn try_lock(&mut self, file: &FaultyFile) -> Result<bool> {
        self.on_file(Call::Lock, file, |world, _| Ok(world.locked.insert(file.node)))
    }

    fn unlock(&mut self, file: &FaultyFile) {
        let world = &mut *self.world();
        if file.life == world.life {
            world.locked.remove(&file.node);
        }
    }

    fn len(&mut self, file: &FaultyFile) -> Result<u64> {
        self.on_file(Call::Len, file, |world, _| Ok(world.nodes[&file.node].bytes.len() as u64))
    }

    fn read_at(&mut self, file: &FaultyFile, at: u64, into: &mut [u8]) -> Result<usize> {
        self.on_file(Call::Read, file, |world, go| {
            let node = &world.nodes[&file.node];
            let at = at as usize;
            let bytes = node.bytes.get(at..).unwrap_or_default();
            let mut len = bytes.len().min(into.len());
            if go == Go::Half {
                len = len.div_ceil(2);
            }
            if let Some(bad) = node.bad.range(at / SECTOR..).next().filter(|bad| **bad * SECTOR < at + len) {
                len = (bad * SECTOR).saturating_sub(at);
                if len == 0 {
                    return errno(EIO);
                }
            }
            into[..len].copy_from_slice(&bytes[..len]);
            Ok(len)
        })
    }

    fn write_at(&mut self, file: &FaultyFile, at: u64, bytes: &[u8]) -> Result<usize> {
        self.on_file(Call::Write, file, |world, go| {
            let mut len = if go == Go::Half { bytes.len().div_ceil(2) } else { bytes.len() };
            let (at, free) = (at as usize, world.room.saturating_sub(world.used()));
            let node = world.nodes.get_mut(&file.node).unwrap();
            // What a file has already takes no room.
            len = len.min((node.bytes.len() + free).saturating_sub(at));
            if len == 0 {
                return errno(ENOSPC);
            }
            node.write(at, &bytes[..len]);
            Ok(len)
        })
    }

    fn sync(&mut self, file: &FaultyFile) -> Result<()> {
        let result = self.on_file(Call::Sync, file, |world, go| {
            // When the power goes while it is under way, the cut decides what is there.
            if go != Go::Unheard {
                world.nodes.get_mut(&file.node).unwrap().sync();
            }
            Ok(())
        });
        let world = &mut *self.world();
        let is_told = !world.is_stopped && file.life == world.life;
        // Trying again after EINTR is what one is told to do.
        if is_told && result.as_ref().is_err_and(|error| error.raw_os_error() != Some(EINTR)) {
            let node = world.nodes.get_mut(&file.node).unwrap();
            node.settle(&mut world.rng);
        }
        result
    }

    fn forget(&mut self, file: &FaultyFile) {
        let world = &mut *self.world();
        if world.is_stopped || file.life != world.life {
            return;
        }
        let node = world.nodes.get_mut(&file.node).unwrap();
        if node.pending.is_empty() {
            node.bytes = node.stored.clone();
        }
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        self.on_names(Call::Rename, to, |world| {
            let Some(node) = world.names.remove(from) else { return errno(ENOENT) };
            world.names.insert(to.to_owned(), node);
            world.pending_names.push(Renaming::Renamed(from.to_owned(), to.to_owned(), node));
            Ok(())
        })
    }

    fn remove(&mut self, name: &str) -> Result<()> {
        self.on_names(Call::Remove, name, |world| {
            if world.names.remove(name).is_none() {
                return errno(ENOENT);
            }
            world.pending_names.push(Renaming::Removed(name.to_owned()));
            Ok(())
        })
    }

    fn sync_names(&mut self) -> Result<()> {
        let go = self.world().enter(Call::SyncNames, "")?;
        let world = &mut *self.world();
        if go != Go::Unheard {
            world.stored_names = world.names.clone();
            world.pending_names.clear();
        }
        World::heard(go, Ok(()))
    }
}
