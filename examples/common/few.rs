//! The first few of something that may happen very often.

use core::fmt;

/// How many are shown.
const SHOWN: usize = 10;

/// Keeps the first texts, and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Few {
    first: Vec<String>,
    count: u64,
}

impl Few {
    pub(crate) fn push(&mut self, text: impl fmt::Display) {
        if self.first.len() < SHOWN {
            self.first.push(text.to_string());
        }
        self.count += 1;
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn first(&self) -> impl Iterator<Item = &str> {
        self.first.iter().map(String::as_str)
    }

    /// How many are not shown.
    pub(crate) fn more(&self) -> u64 {
        self.count - self.first.len() as u64
    }

    pub(crate) fn append(&mut self, other: &Self) {
        let before = self.count;
        for text in &other.first {
            self.push(text);
        }
        self.count = before + other.count;
    }
}
