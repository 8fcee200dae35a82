//! The numbers of the system, each a type of its own.

use core::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name($int);

        impl $name {
            /// Wraps the plain number.
            #[must_use]
            pub const fn new(value: $int) -> Self {
                Self(value)
            }

            /// The plain number.
            #[must_use]
            pub const fn value(self) -> $int {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl From<$int> for $name {
            fn from(value: $int) -> Self {
                Self(value)
            }
        }
    };
}

number! {
    /// The number of a record in its partition: dense, from 0, never reused.
    Offset(u64)
}

number! {
    /// A fencing number: it rises each time that somebody new takes over, and the lower one is refused.
    Epoch(u32)
}

number! {
    /// How often something was published: it rises each time, and the lower one is refused.
    Generation(u32)
}

number! {
    /// The name of a piece of leased memory in its pool.
    LeaseId(u128)
}

impl Offset {
    /// The offset `count` records further on; stays at the largest offset rather than starting again at 0.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

/// A time, or a length of time, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Ticks(u64);

impl Ticks {
    /// The latest time there is: never.
    pub const MAX: Self = Self(u64::MAX);
    /// No time.
    pub const ZERO: Self = Self(0);

    /// A time of `ms` milliseconds.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    /// The time in milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This time and `other` after it; stays at [`Ticks::MAX`] rather than overflowing.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Ticks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}
