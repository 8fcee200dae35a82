//! A NOR flash in memory that counts, and that holds its users to what they may do.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use embedded_storage::nor_flash::{self, NorFlashErrorKind};

/// Bytes of an erase unit.
pub const PAGE: usize = 4096;
/// Bytes of a write unit.
pub const WORD: usize = 4;

/// What was done so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub reads: u64,
    pub read: u64,
    pub programmed: u64,
    pub erased: u64,
}

impl Counts {
    pub fn since(self, before: Self) -> Self {
        Self {
            reads: self.reads - before.reads,
            read: self.read - before.read,
            programmed: self.programmed - before.programmed,
            erased: self.erased - before.erased,
        }
    }
}

/// The flash. Clones are the same one: whoever measures keeps one of it while a queue has the other.
#[derive(Clone, Debug)]
pub struct Flash {
    cells: Rc<RefCell<Vec<u8>>>,
    counts: Rc<Cell<Counts>>,
}

impl Flash {
    pub fn new(pages: usize) -> Self {
        Self { cells: Rc::new(RefCell::new(vec![0xff; pages * PAGE])), counts: Rc::default() }
    }

    /// Another one that holds what this one does now, and has done nothing yet: what a device finds after a reset.
    pub fn image(&self) -> Self {
        Self { cells: Rc::new(RefCell::new(self.cells.borrow().clone())), counts: Rc::default() }
    }

    pub fn counts(&self) -> Counts {
        self.counts.get()
    }

    pub fn bytes(&self) -> usize {
        self.cells.borrow().len()
    }

    pub fn pages(&self) -> usize {
        self.bytes() / PAGE
    }

    fn count(&self, add: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        add(&mut counts);
        self.counts.set(counts);
    }

    pub fn fetch(&self, at: usize, into: &mut [u8]) {
        self.count(|counts| (counts.reads, counts.read) = (counts.reads + 1, counts.read + into.len() as u64));
        into.copy_from_slice(&self.cells.borrow()[at..][..into.len()]);
    }

    /// Programs whole words; bits only ever go from 1 to 0.
    pub fn program(&self, at: usize, bytes: &[u8]) {
        assert!(at.is_multiple_of(WORD) && bytes.len().is_multiple_of(WORD), "not whole words");
        self.count(|counts| counts.programmed += bytes.len() as u64);
        for (cell, byte) in self.cells.borrow_mut()[at..][..bytes.len()].iter_mut().zip(bytes) {
            assert!(*cell & byte == *byte, "a bit was programmed back to 1");
            *cell &= byte;
        }
    }

    /// Erases whole pages.
    pub fn wipe(&self, from: usize, to: usize) {
        assert!(from.is_multiple_of(PAGE) && to.is_multiple_of(PAGE), "not whole pages");
        self.count(|counts| counts.erased += ((to - from) / PAGE) as u64);
        self.cells.borrow_mut()[from..to].fill(0xff);
    }
}

impl nor_flash::ErrorType for Flash {
    type Error = NorFlashErrorKind;
}

impl nor_flash::ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.fetch(offset as usize, bytes);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes()
    }
}

impl nor_flash::NorFlash for Flash {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        self.wipe(from as usize, to as usize);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        self.program(offset as usize, bytes);
        Ok(())
    }
}

impl embedded_storage_async::nor_flash::ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.fetch(offset as usize, bytes);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes()
    }
}

impl embedded_storage_async::nor_flash::NorFlash for Flash {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        self.wipe(from as usize, to as usize);
        Ok(())
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        self.program(offset as usize, bytes);
        Ok(())
    }
}

impl embedded_storage_async::nor_flash::MultiwriteNorFlash for Flash {}
