//! Flash that keeps an image of itself from before each thing that is done to it.

use crate::flash::{Cut, Flash, FlashError};
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use std::cell::RefCell;
use std::rc::Rc;

/// What was done to a flash.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Write(u32, Vec<u8>),
    Erase(u32),
}

/// A flash, and what was done to it.
#[derive(Clone, Debug)]
pub(crate) struct Event<const W: usize, const E: usize> {
    /// As it was before.
    pub(crate) flash: Flash<W, E>,
    pub(crate) what: What,
}

impl<const W: usize, const E: usize> Event<W, E> {
    /// Where power can be cut in it.
    pub(crate) fn places(&self) -> u64 {
        match &self.what {
            What::Write(_, bytes) => (bytes.len() / W) as u64,
            What::Erase(_) => 1,
        }
    }

    /// The flash after power was cut in it, and is back.
    pub(crate) fn cut(&self, cut: Cut) -> Flash<W, E> {
        let mut flash = self.flash.clone();
        flash.cut(cut);
        let done = match &self.what {
            What::Write(at, bytes) => flash.write(*at, bytes),
            What::Erase(at) => flash.erase(*at, at + E as u32),
        };
        assert!(done.is_err() && flash.is_off(), "the cut did not happen");
        flash.power_on();
        flash
    }
}

/// Where what is done to a chip is written down.
pub(crate) type Trace<const W: usize, const E: usize> = Rc<RefCell<Vec<Event<W, E>>>>;

/// A flash, and who wants to know what is done to it.
#[derive(Debug)]
pub(crate) struct Chip<const W: usize, const E: usize> {
    pub(crate) flash: Flash<W, E>,
    pub(crate) trace: Option<Trace<W, E>>,
    /// Gets the bytes that there are when power goes.
    pub(crate) wreck: Option<Rc<RefCell<Vec<u8>>>>,
}

impl<const W: usize, const E: usize> Chip<W, E> {
    fn done(&self, result: Result<(), FlashError>) -> Result<(), FlashError> {
        if let (Err(FlashError::Off), Some(wreck)) = (&result, &self.wreck)
            && wreck.borrow().is_empty()
        {
            *wreck.borrow_mut() = self.flash.image().to_vec();
        }
        result
    }
}

impl<const W: usize, const E: usize> ErrorType for Chip<W, E> {
    type Error = FlashError;
}

impl<const W: usize, const E: usize> ReadNorFlash for Chip<W, E> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        self.flash.read(offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.flash.capacity()
    }
}

impl<const W: usize, const E: usize> NorFlash for Chip<W, E> {
    const WRITE_SIZE: usize = W;
    const ERASE_SIZE: usize = E;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        if let Some(trace) = &self.trace {
            assert_eq!((to - from) as usize, E, "a segment is one erase unit here");
            trace.borrow_mut().push(Event { flash: self.flash.clone(), what: What::Erase(from) });
        }
        let result = self.flash.erase(from, to);
        self.done(result)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        if let Some(trace) = &self.trace {
            trace.borrow_mut().push(Event { flash: self.flash.clone(), what: What::Write(offset, bytes.to_vec()) });
        }
        let result = self.flash.write(offset, bytes);
        self.done(result)
    }
}
