//! Names of topics, groups and readers.

use crate::error::NameError;
use core::fmt;

/// The longest group or reader name, in bytes.
pub const MAX_NAME: usize = 64;
/// The longest topic name, in bytes.
pub const MAX_TOPIC_NAME: usize = 128;

/// Checks a name of at most `max` bytes from `A-Z a-z 0-9 . _ -`, not `.` or `..`.
pub(crate) fn check(name: &[u8], max: usize) -> Result<(), NameError> {
    if name.is_empty() || name.len() > max {
        return Err(NameError::Length { len: name.len(), max });
    }
    if matches!(name, b"." | b"..") {
        return Err(NameError::Dots);
    }
    match name.iter().position(|c| !(c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-'))) {
        Some(at) => Err(NameError::Character { at }),
        None => Ok(()),
    }
}

/// A checked name of a group or reader, held in place. Ordered as its text is.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub struct Name {
    // Compared first. Behind the name all are 0, which is below every character: a name comes before those that begin with it.
    bytes: [u8; MAX_NAME],
    len: u8,
}

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// [`NameError`] says what is wrong with it.
    pub fn new(name: &str) -> Result<Self, NameError> {
        Self::from_bytes(name.as_bytes())
    }

    pub(crate) fn from_bytes(name: &[u8]) -> Result<Self, NameError> {
        check(name, MAX_NAME)?;
        let mut bytes = [0; MAX_NAME];
        for (to, from) in bytes.iter_mut().zip(name) {
            *to = *from;
        }
        Ok(Self { bytes, len: u8::try_from(name.len()).unwrap_or(0) })
    }

    /// Its bytes: ASCII.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Checked to be ASCII.
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_documentation_says() {
        let long = "x".repeat(64);
        for good in ["a", "...", "Z9._-", "-", long.as_str()] {
            assert_eq!(Name::new(good).unwrap().as_str(), good);
        }
        let longer = "x".repeat(65);
        for (bad, why) in [
            ("", NameError::Length { len: 0, max: 64 }),
            (longer.as_str(), NameError::Length { len: 65, max: 64 }),
            (".", NameError::Dots),
            ("..", NameError::Dots),
            ("a/b", NameError::Character { at: 1 }),
            ("caf\u{e9}", NameError::Character { at: 3 }),
            ("a b", NameError::Character { at: 1 }),
            ("a\0", NameError::Character { at: 1 }),
        ] {
            assert_eq!(Name::new(bad).unwrap_err(), why, "{bad:?}");
        }
    }

    #[test]
    fn names_are_ordered_as_their_text() {
        let (long, longest) = ("x".repeat(63), "x".repeat(64));
        let words = "a aa a- a. ab b B _ - 0 10 9 ... Z".split(' ');
        let all = words.chain([long.as_str(), longest.as_str()]);
        for one in all.clone() {
            for other in all.clone() {
                assert_eq!(Name::new(one).unwrap().cmp(&Name::new(other).unwrap()), one.cmp(other), "{one} {other}");
            }
        }
    }
}
