//! Why a record is a dead letter: a code, and what was said about it.

use core::fmt::{self, Write};

/// The longest text of a [`Reason`], in bytes.
pub const MAX_REASON: usize = 128;

/// Why a record became a dead letter. The numbers are part of the format of letters.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Cause {
    /// It failed as often as the router allows.
    TooManyFailures,
    /// Its consumer refused it for good.
    Rejected,
    /// It was older than the router's time to live before anybody took it.
    Expired,
    /// Its consumer could not make sense of the payload.
    Undecodable,
    /// Its envelope does not parse: the letter has the whole record, as it was, for a payload.
    Damaged,
}

impl Cause {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 5] = [Self::TooManyFailures, Self::Rejected, Self::Expired, Self::Undecodable, Self::Damaged];

    /// The code in a letter.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::TooManyFailures => 1,
            Self::Rejected => 2,
            Self::Expired => 3,
            Self::Undecodable => 4,
            Self::Damaged => 5,
        }
    }

    pub(super) fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.code() == code)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::TooManyFailures => "too many failures",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Undecodable => "undecodable",
            Self::Damaged => "damaged",
        })
    }
}

/// What was said about a failure: text in place, cut off behind [`MAX_REASON`] bytes. Does not allocate.
///
/// ```
/// use fabric_mq::dlq::Reason;
/// assert_eq!(Reason::new("no such account").as_str(), "no such account");
/// assert_eq!(Reason::new(format_args!("{:200}", "")).as_str().len(), 128);
/// ```
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Reason(heapless::String<MAX_REASON>);

impl Reason {
    /// The text of anything that can be shown: an error, a word, `format_args!`.
    #[must_use]
    pub fn new(what: impl fmt::Display) -> Self {
        let mut text = Cut(heapless::String::new());
        // What is too long stops the writing; what fits has been kept.
        let _ = write!(text, "{what}");
        Self(text.0)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Takes whole characters as long as there is room.
struct Cut(heapless::String<MAX_REASON>);

impl Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.push_str(text).is_ok() {
            return Ok(());
        }
        text.chars().try_for_each(|c| self.0.push(c).map_err(|_| fmt::Error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_cut_between_characters() {
        let long = "\u{e9}".repeat(100);
        let reason = Reason::new(std::format_args!("x{long}"));
        assert_eq!(reason.as_str().len(), 127, "two bytes each, behind one of one");
        assert!(reason.as_str().chars().skip(1).all(|c| c == '\u{e9}'));
    }

    #[test]
    fn codes_are_these() {
        assert_eq!(Cause::ALL.map(Cause::code), [1, 2, 3, 4, 5]);
        for code in 0..=u8::MAX {
            assert_eq!(Cause::of_code(code).map(Cause::code), (1..=5).contains(&code).then_some(code));
        }
    }
}
