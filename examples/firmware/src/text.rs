//! A few letters.

use core::fmt::{self, Write};

/// Up to `N` bytes of text.
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    /// What is said, or an error if it is too long.
    pub fn of(said: fmt::Arguments<'_>) -> Result<Self, fmt::Error> {
        let mut text = Self { bytes: [0; N], len: 0 };
        text.write_fmt(said)?;
        Ok(text)
    }

    pub fn as_str(&self) -> &str {
        // Whole strings were put in.
        self.bytes.get(..self.len).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl<const N: usize> Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}
