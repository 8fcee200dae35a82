//! From the main loop to the interrupt.

use core::cell::RefCell;
use critical_section::Mutex;

/// Hands something over to an interrupt, which owns it from then on.
pub struct Handover<T>(Mutex<RefCell<Option<T>>>);

impl<T> Handover<T> {
    pub const fn new() -> Self {
        Self(Mutex::new(RefCell::new(None)))
    }

    pub fn give(&self, what: T) {
        critical_section::with(|token| self.0.borrow_ref_mut(token).replace(what));
    }

    /// What was given since, if anything was.
    pub fn take(&self) -> Option<T> {
        critical_section::with(|token| self.0.borrow_ref_mut(token).take())
    }
}
