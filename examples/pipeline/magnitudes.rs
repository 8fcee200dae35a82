//! How strong the earthquakes were.

use crate::numbers::grouped;
use core::fmt;

/// Classes of half a magnitude from here on. The first and the last class hold what lies beyond.
const LOWEST: f64 = -2.0;
const CLASSES: usize = 26;
/// The longest bar, in characters.
const BAR: f64 = 60.0;

/// A histogram.
#[derive(Debug, Default)]
pub(crate) struct Magnitudes {
    classes: [u64; CLASSES],
    unknown: u64,
}

impl Magnitudes {
    pub(crate) fn add(&mut self, magnitude: Option<f64>) {
        // What lies below becomes 0: a float is converted to the nearest integer that there is.
        let class = magnitude.map(|magnitude| ((magnitude - LOWEST) * 2.0 + 1.0).floor() as usize);
        let count = class.map(|class| class.min(CLASSES - 1)).and_then(|class| self.classes.get_mut(class));
        *count.unwrap_or(&mut self.unknown) += 1;
    }

    pub(crate) fn append(&mut self, other: &Self) {
        for (count, more) in self.classes.iter_mut().zip(&other.classes) {
            *count += more;
        }
        self.unknown += other.unknown;
    }
}

impl fmt::Display for Magnitudes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = self.classes.iter().copied().fold(self.unknown, u64::max).max(1);
        let row = |f: &mut fmt::Formatter<'_>, class: &str, count: u64| {
            // Whatever is there is seen.
            let bar = (count as f64 * BAR / most as f64).ceil() as usize;
            let row = format!("  {class:>12}  {:>13}  {:#<bar$}", grouped(count), "");
            writeln!(f, "{}", row.trim_end())
        };
        let filled = |count: &u64| *count > 0;
        let first = self.classes.iter().position(filled).unwrap_or(CLASSES);
        let last = self.classes.iter().rposition(filled).unwrap_or(0);
        for (class, count) in self.classes.iter().enumerate().take(last + 1).skip(first) {
            let from = LOWEST + (class as f64 - 1.0) / 2.0;
            let class = match class {
                0 => format!("below {LOWEST:.1}"),
                _ if class == CLASSES - 1 => format!("{from:.1} and up"),
                _ => format!("{from:.1} to {:.1}", from + 0.5),
            };
            row(f, &class, *count)?;
        }
        if self.unknown > 0 {
            row(f, "unknown", self.unknown)?;
        }
        Ok(())
    }
}
