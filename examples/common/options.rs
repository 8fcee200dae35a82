//! Numbers on the command line.

use core::fmt::Display;
use core::ops::RangeInclusive;
use core::str::FromStr;
use std::ffi::OsStr;

/// The value of an option that takes one of these numbers.
pub(crate) fn number<T>(value: &OsStr, name: &str, range: RangeInclusive<T>) -> Result<T, lexopt::Error>
where
    T: FromStr + PartialOrd + Display,
{
    let number = value.to_str().and_then(|text| text.parse().ok()).filter(|number| range.contains(number));
    let (from, to) = (range.start(), range.end());
    number.ok_or_else(|| format!("{name} takes a number from {from} to {to}, not {value:?}").into())
}
