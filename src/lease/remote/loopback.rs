//! Memory in this process, with a server of verbs before it: for tests and simulations.

#![allow(unsafe_code, reason = "memory that is mapped and reached by verbs at the same time")]

use super::faults::{Dice, Faults};
use super::grants::Table;
use super::{Atomicity, VerbError, Verbs};
use crate::error::LeaseError;
use crate::lease::heap::Piece;
use crate::lease::layout::{MAGIC, Plan};
use crate::lease::{Cooperative, Lease, Trust, Untrusted};
use crate::platform::atomic::{AtomicU32, AtomicUsize, Ordering};
use crate::platform::lock::Lock;
use crate::types::{Epoch, LeaseId};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

const WORD: usize = 4;
const WIDE: usize = size_of::<usize>();

/// Memory of this process that is reached by verbs, and mapped, at the same time. Clones are the same memory.
///
/// ```
/// use fabric_mq::lease::remote::{LoopbackMemory, Verbs};
/// let memory = LoopbackMemory::new(4096)?;
/// let verbs = memory.connect();
/// verbs.write(64, b"12345678")?;
/// assert_eq!(verbs.compare_exchange(64, u32::from_le_bytes(*b"1234"), 0)?, u32::from_le_bytes(*b"1234"));
/// let mut bytes = [1; 8];
/// verbs.read(64, &mut bytes)?;
/// assert_eq!(&bytes, b"\0\0\0\x005678");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct LoopbackMemory {
    region: Arc<Region>,
}

struct Region {
    piece: Piece,
    len: usize,
    atomicity: Atomicity,
    net: Lock<Net>,
}

/// What is under way.
struct Net {
    connections: BTreeMap<u32, Connection>,
    last: u32,
    dice: Dice,
}

struct Connection {
    faults: Faults,
    dice: Dice,
    /// Verbs so far.
    count: u64,
    /// Writes that have not arrived, in order.
    queue: VecDeque<Write>,
    /// What its verbs are told from now on.
    ended: Option<VerbError>,
}

struct Write {
    at: usize,
    bytes: Vec<u8>,
    /// The units still to come, the next one last.
    units: Vec<(usize, usize)>,
    /// It comes once more.
    again: bool,
}

impl Region {
    /// From where on the bytes are payload: there, those that map the memory use wide words, and this does the same.
    fn payload_at(&self) -> usize {
        let word = |index: usize| self.word(index.wrapping_mul(WORD)).map_or(0, |word| word.load(Ordering::Acquire));
        let [m0, m1, m2, m3, m4, m5, m6, m7] = MAGIC;
        let magic = [u32::from_le_bytes([m0, m1, m2, m3]), u32::from_le_bytes([m4, m5, m6, m7])];
        let [_, slots_log2, units_log2, readers] = word(4).to_le_bytes();
        let plan = Plan::new(slots_log2, units_log2, readers).filter(|_| [word(0), word(1)] == magic);
        plan.map_or(self.len, |plan| plan.bytes_at)
    }

    fn address(&self, at: usize, len: usize, align: usize) -> Option<NonNull<u8>> {
        if !at.is_multiple_of(align) || at.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: inside the allocation, just checked.
        Some(unsafe { self.piece.base().add(at) })
    }

    fn word(&self, at: usize) -> Option<&AtomicU32> {
        let word = self.address(at, WORD, WORD)?.cast();
        // SAFETY: inside the allocation, which lives as long as `self`, and aligned. Everybody who touches it uses atomics, or
        // follows the ring's protocol, by which nobody does so without them while this does.
        Some(unsafe { word.as_ref() })
    }

    fn wide(&self, at: usize) -> Option<&AtomicUsize> {
        let word = self.address(at, WIDE, WIDE)?.cast();
        // SAFETY: as above.
        Some(unsafe { word.as_ref() })
    }

    fn holds(&self, at: usize, len: usize) -> Result<(), VerbError> {
        let inside = at.checked_add(len).is_some_and(|end| end <= self.len);
        if inside { Ok(()) } else { Err(VerbError::OutOfBounds) }
    }

    /// The units that `len` bytes at `at` consist of: where each starts, and how many of its bytes are meant.
    fn units(&self, at: usize, len: usize) -> Vec<(usize, usize)> {
        let payload = self.payload_at();
        let end = at.saturating_add(len).min(self.len);
        let mut units = Vec::new();
        let mut from = at;
        while from < end {
            let unit = if from >= payload { WIDE } else { WORD };
            // Up to the next multiple of a unit.
            let stop = from.saturating_add(1).checked_next_multiple_of(unit).unwrap_or(end).min(end);
            units.push((from, stop.wrapping_sub(from)));
            from = stop;
        }
        units
    }

    /// Loads one unit's bytes.
    fn load(&self, at: usize, into: &mut [u8], payload: usize) {
        let wide = at >= payload;
        let unit = if wide { WIDE } else { WORD };
        // Units are powers of two.
        let start = at & !unit.wrapping_sub(1);
        let bytes = if wide {
            self.wide(start).map_or(0, |word| word.load(Ordering::Acquire)).to_le_bytes()
        } else {
            let mut bytes = [0; WIDE];
            let word = self.word(start).map_or(0, |word| word.load(Ordering::Acquire)).to_le_bytes();
            for (to, from) in bytes.iter_mut().zip(word) {
                *to = from;
            }
            bytes
        };
        for (to, from) in into.iter_mut().zip(bytes.iter().skip(at.wrapping_sub(start))) {
            *to = *from;
        }
    }

    /// Stores one unit's bytes. Of one that is not whole, the rest stays: nobody else writes there meanwhile.
    fn store(&self, at: usize, from: &[u8], payload: usize) {
        let wide = at >= payload;
        let unit = if wide { WIDE } else { WORD };
        // Units are powers of two.
        let start = at & !unit.wrapping_sub(1);
        let mut bytes = [0; WIDE];
        self.load(start, bytes.get_mut(..unit).unwrap_or_default(), payload);
        for (to, from) in bytes.iter_mut().skip(at.wrapping_sub(start)).zip(from) {
            *to = *from;
        }
        if wide {
            if let Some(word) = self.wide(start) {
                word.store(usize::from_le_bytes(bytes), Ordering::Release);
            }
        } else if let (Some(word), Some(bytes)) = (self.word(start), bytes.first_chunk()) {
            word.store(u32::from_le_bytes(*bytes), Ordering::Release);
        }
    }
}

impl LoopbackMemory {
    /// Zeroed memory.
    ///
    /// # Errors
    /// [`LeaseError::CapacityExceeded`] if there is no room on the heap.
    pub fn new(len: usize) -> Result<Self, LeaseError> {
        Self::with_atomicity(len, Atomicity::Global)
    }

    /// The same, before a server whose compare-and-exchange is as atomic as that. With [`Atomicity::Nic`] it cannot be mapped.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_atomicity(len: usize, atomicity: Atomicity) -> Result<Self, LeaseError> {
        let net = Net { connections: BTreeMap::new(), last: 0, dice: Dice::new(len as u64) };
        let region = Region { piece: Piece::new(len)?, len, atomicity, net: Lock::new(net) };
        Ok(Self { region: Arc::new(region) })
    }

    /// Memory with these bytes.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of(image: &[u8]) -> Result<Self, LeaseError> {
        let this = Self::new(image.len())?;
        let whole = this.region.len;
        for (index, byte) in image.iter().enumerate() {
            this.region.store(index, &[*byte], whole);
        }
        Ok(this)
    }

    /// A copy of the bytes, word by word as they stand. To be called when nobody who maps the memory writes payloads.
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        let payload = self.region.payload_at();
        let mut image = alloc::vec![0; self.region.len];
        for (at, len) in self.region.units(0, self.region.len) {
            if let Some(into) = image.get_mut(at..at.saturating_add(len)) {
                self.region.load(at, into, payload);
            }
        }
        image
    }

    /// A connection on which everything happens at once and in order.
    #[must_use]
    pub fn connect(&self) -> LoopbackVerbs {
        self.connect_with(Faults::default())
    }

    /// A connection with faults.
    #[must_use]
    pub fn connect_with(&self, faults: Faults) -> LoopbackVerbs {
        let id = self.region.net.with(|net| {
            net.last = net.last.wrapping_add(1).max(1);
            let dice = Dice::new(faults.seed ^ u64::from(net.last));
            let connection = Connection { faults, dice, count: 0, queue: VecDeque::new(), ended: None };
            net.connections.insert(net.last, connection);
            net.last
        });
        LoopbackVerbs { memory: self.clone(), id, tally: Cell::default(), granted: None }
    }

    /// Closes a connection from the memory's side: what is under way on it does not arrive, and its verbs are refused with
    /// `end` from now on.
    pub fn close(&self, token: u32, end: LeaseError) {
        self.region.net.with(|net| {
            if let Some(connection) = net.connections.get_mut(&token) {
                connection.queue.clear();
                connection.ended = Some(VerbError::Refused(end));
            }
        });
    }

    /// Whether a connection is closed, or was broken, and nothing of it arrives any more.
    pub(super) fn is_closed(&self, token: u32) -> bool {
        self.region.net.with(|net| net.is_closed(token))
    }

    /// Maps the memory, not trusting those who use verbs.
    ///
    /// # Errors
    /// [`LeaseError::Unsupported`] if the server's compare-and-exchange is not atomic with this processor's.
    pub fn map(&self) -> Result<LoopbackMap, LeaseError> {
        self.mapped()
    }

    /// Maps the memory, to read and write in place.
    ///
    /// # Safety
    /// Everybody else who reaches the memory, by verbs or mapped, follows the protocol of [`crate::ring`].
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub unsafe fn map_cooperative(&self) -> Result<LoopbackMap<Cooperative>, LeaseError> {
        self.mapped()
    }

    fn mapped<T: Trust>(&self) -> Result<LoopbackMap<T>, LeaseError> {
        if self.region.atomicity != Atomicity::Global {
            return Err(LeaseError::Unsupported);
        }
        Ok(LoopbackMap { memory: self.clone(), epoch: Epoch::default(), trust: PhantomData })
    }
}

impl fmt::Debug for LoopbackMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopbackMemory").field("len", &self.region.len).finish_non_exhaustive()
    }
}

impl Net {
    /// Performs the next unit of what a connection has under way; answers whether there was one.
    fn step(&mut self, region: &Region, id: u32) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        let Some(write) = connection.queue.front_mut() else { return false };
        let payload = region.payload_at();
        if let Some((at, len)) = write.units.pop() {
            let from = at.wrapping_sub(write.at);
            region.store(at, write.bytes.get(from..from.saturating_add(len)).unwrap_or_default(), payload);
        }
        if write.units.is_empty() {
            if write.again {
                write.again = false;
                write.units = region.units(write.at, write.bytes.len());
                connection.dice.shuffle(&mut write.units);
            } else {
                connection.queue.pop_front();
            }
        }
        true
    }

    fn is_closed(&mut self, token: u32) -> bool {
        match self.connections.get_mut(&token) {
            // Numbers are given one after the other.
            None => token <= self.last,
            Some(connection) if connection.ended.is_some() => {
                // Whoever asks relies on it: nothing of it arrives any more.
                connection.queue.clear();
                true
            }
            Some(_) => false,
        }
    }

    fn drain(&mut self, region: &Region, id: u32) {
        while self.step(region, id) {}
    }

    /// Some of what other connections have under way arrives.
    fn stir(&mut self, region: &Region, but: u32) {
        let others = self.connections.iter().filter(|(id, other)| **id != but && !other.queue.is_empty());
        // What is left of a connection that has ended may take long.
        let others: Vec<(u32, u32)> = others.map(|(id, it)| (*id, if it.ended.is_some() { 32 } else { 2 })).collect();
        for (other, patience) in others {
            while self.dice.one_in(patience) && self.step(region, other) {}
        }
    }

    /// Begins a verb of a connection, which may come to nothing.
    fn begin(&mut self, region: &Region, id: u32) -> Result<&mut Connection, VerbError> {
        self.stir(region, id);
        let Some(connection) = self.connections.get_mut(&id) else { return Err(VerbError::Disconnected) };
        if let Some(end) = connection.ended {
            return Err(end);
        }
        let number = connection.count;
        connection.count = number.wrapping_add(1);
        if connection.faults.broken_at == Some(number) {
            connection.ended = Some(VerbError::Disconnected);
        } else if connection.dice.one_in(connection.faults.loss) {
            connection.ended = Some(VerbError::Timeout);
        }
        Ok(connection)
    }

    /// How a verb ends that met its connection's end: of what is under way, some has arrived and the rest never does, or does
    /// later.
    fn end(&mut self, region: &Region, id: u32, error: VerbError) -> VerbError {
        while self.dice.one_in(2) || self.connections.get_mut(&id).is_some_and(|it| it.dice.one_in(2)) {
            if !self.step(region, id) {
                break;
            }
        }
        if let Some(connection) = self.connections.get_mut(&id)
            && (error == VerbError::Disconnected || connection.dice.one_in(2))
        {
            connection.queue.clear();
        }
        error
    }
}

/// How many verbs a connection has had.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Tally {
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Compare-and-exchanges.
    pub exchanges: u64,
    /// Waits for all writes.
    pub flushes: u64,
    /// Bytes read and written.
    pub bytes: u64,
}

impl Tally {
    /// All verbs together.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.reads.saturating_add(self.writes).saturating_add(self.exchanges).saturating_add(self.flushes)
    }
}

/// A connection to a [`LoopbackMemory`]. Dropping it closes it: what is under way does not arrive.
pub struct LoopbackVerbs {
    memory: LoopbackMemory,
    id: u32,
    tally: Cell<Tally>,
    /// Where it was granted, if it was.
    granted: Option<(Arc<Lock<Table>>, LeaseId)>,
}

impl LoopbackVerbs {
    pub(super) fn granted(self, table: Arc<Lock<Table>>, id: LeaseId) -> Self {
        let mut this = self;
        this.granted = Some((table, id));
        this
    }

    pub(super) const fn id(&self) -> u32 {
        self.id
    }

    /// What it was used for so far.
    #[must_use]
    pub const fn tally(&self) -> Tally {
        self.tally.get()
    }

    /// The memory.
    #[must_use]
    pub const fn memory(&self) -> &LoopbackMemory {
        &self.memory
    }

    fn count(&self, count: impl FnOnce(&mut Tally) -> &mut u64, bytes: usize) {
        let mut tally = self.tally.get();
        tally.bytes = tally.bytes.saturating_add(bytes as u64);
        let counted = count(&mut tally);
        *counted = counted.saturating_add(1);
        self.tally.set(tally);
    }

    /// Runs a verb before the net: it is told whether the connection ends with it.
    fn verb<R>(
        &self,
        run: impl FnOnce(&mut Net, &Region, Faults, Option<VerbError>) -> Result<R, VerbError>,
    ) -> Result<R, VerbError> {
        let region = &*self.memory.region;
        region.net.with(|net| {
            let connection = net.begin(region, self.id)?;
            let (faults, ended) = (connection.faults, connection.ended);
            run(net, region, faults, ended)
        })
    }
}

impl Verbs for LoopbackVerbs {
    fn len(&self) -> usize {
        self.memory.region.len
    }

    fn read(&self, at: usize, into: &mut [u8]) -> Result<(), VerbError> {
        self.count(|tally| &mut tally.reads, into.len());
        self.memory.region.holds(at, into.len())?;
        self.verb(|net, region, faults, ended| {
            if let Some(error) = ended {
                return Err(net.end(region, self.id, error));
            }
            net.drain(region, self.id);
            let payload = region.payload_at();
            let mut units = region.units(at, into.len());
            let twice = net.connections.get_mut(&self.id).is_some_and(|it| it.dice.one_in(faults.repeat));
            for _ in 0..=u32::from(twice) {
                if !faults.is_calm() {
                    net.dice.shuffle(&mut units);
                }
                for (unit, len) in &units {
                    let from = unit.wrapping_sub(at);
                    if let Some(into) = into.get_mut(from..from.saturating_add(*len)) {
                        region.load(*unit, into, payload);
                    }
                    if !faults.is_calm() && net.dice.one_in(4) {
                        net.stir(region, self.id);
                    }
                }
            }
            Ok(())
        })
    }

    fn write(&self, at: usize, from: &[u8]) -> Result<(), VerbError> {
        self.count(|tally| &mut tally.writes, from.len());
        self.memory.region.holds(at, from.len())?;
        self.verb(|net, region, faults, ended| {
            let Some(connection) = net.connections.get_mut(&self.id) else { return Err(VerbError::Disconnected) };
            let mut units = region.units(at, from.len());
            if faults.is_calm() {
                units.reverse();
            } else {
                connection.dice.shuffle(&mut units);
            }
            let again = connection.dice.one_in(faults.repeat);
            connection.queue.push_back(Write { at, bytes: from.to_vec(), units, again });
            if let Some(error) = ended {
                return Err(net.end(region, self.id, error));
            }
            if !connection.dice.one_in(faults.delay) {
                net.drain(region, self.id);
            }
            Ok(())
        })
    }

    fn flush(&self) -> Result<(), VerbError> {
        self.count(|tally| &mut tally.flushes, 0);
        self.verb(|net, region, _, ended| {
            if let Some(error) = ended {
                return Err(net.end(region, self.id, error));
            }
            net.drain(region, self.id);
            Ok(())
        })
    }

    fn compare_exchange(&self, at: usize, old: u32, new: u32) -> Result<u32, VerbError> {
        self.count(|tally| &mut tally.exchanges, WORD);
        self.memory.region.holds(at, WORD)?;
        let word = self.memory.region.word(at).ok_or(VerbError::OutOfBounds)?;
        self.verb(|net, region, _, ended| {
            // Lost may be the question or the answer.
            if ended.is_some() && net.dice.one_in(2) {
                return Err(net.end(region, self.id, ended.unwrap_or(VerbError::Disconnected)));
            }
            net.drain(region, self.id);
            let found = match region.atomicity {
                // What was sent before is seen by whoever sees the new word (Release); what others sent before the old one is seen
                // by this connection's next verbs (Acquire).
                Atomicity::Global => match word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(found) | Err(found) => found,
                },
                // Alone among the verbs, and with nobody else.
                Atomicity::Nic => {
                    let found = word.load(Ordering::Acquire);
                    if found == old {
                        word.store(new, Ordering::Release);
                    }
                    found
                }
            };
            ended.map_or(Ok(found), Err)
        })
    }

    fn atomicity(&self) -> Atomicity {
        self.memory.region.atomicity
    }

    fn token(&self) -> u32 {
        self.id
    }

    fn is_gone(&self, token: u32) -> Result<bool, VerbError> {
        self.count(|tally| &mut tally.reads, 0);
        Ok(self.memory.is_closed(token))
    }

    fn release(&self, keep: bool) -> Result<(), VerbError> {
        if let Some((table, id)) = &self.granted {
            table.with(|table| table.release(*id, self.id, keep));
        }
        Ok(())
    }
}

impl Drop for LoopbackVerbs {
    fn drop(&mut self) {
        self.memory.region.net.with(|net| net.connections.remove(&self.id));
    }
}

impl fmt::Debug for LoopbackVerbs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopbackVerbs").field("id", &self.id).field("tally", &self.tally.get()).finish_non_exhaustive()
    }
}

/// A [`LoopbackMemory`], mapped.
#[derive(Debug)]
pub struct LoopbackMap<T: Trust = Untrusted> {
    memory: LoopbackMemory,
    epoch: Epoch,
    trust: PhantomData<fn() -> T>,
}

impl<T: Trust> LoopbackMap<T> {
    /// Sets the epoch it was granted under.
    #[must_use]
    pub fn with_epoch(self, epoch: Epoch) -> Self {
        Self { epoch, ..self }
    }
}

// SAFETY: the allocation lives as long as `memory`, does not move, and is aligned to 128. The server touches it by atomics, of
// the size that the ring uses at that place; who may follow the protocol only is for `map_cooperative` to ask.
unsafe impl<T: Trust> Lease for LoopbackMap<T> {
    type Trust = T;

    fn base(&self) -> NonNull<u8> {
        self.memory.region.piece.base()
    }
    fn len(&self) -> usize {
        self.memory.region.len
    }
    fn epoch(&self) -> Epoch {
        self.epoch
    }
}
