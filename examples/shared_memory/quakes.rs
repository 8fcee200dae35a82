//! The data: a week of earthquakes, as often as is asked for. Which record has which number, key, place and checksum
//! follows from the file alone, so whoever has it can tell what ought to have arrived.

use crate::event::Event;
use crate::lines::{Line, Lines};
use crate::site::{MAX_LINE, PARTITIONS};
use core::fmt;
use fabric_mq::topic::partition_of;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// A record's key and payload.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Quake {
    pub(crate) net: String,
    pub(crate) line: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Quakes {
    all: Vec<Quake>,
    /// For each partition, which of them go there.
    places: Vec<Vec<u64>>,
}

impl Quakes {
    /// Reads the sample.
    pub(crate) fn load() -> Result<Self, InputError> {
        // The program may be started in any directory.
        let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "examples/data/earthquakes.ndjson"].iter().collect();
        Self::read(&path).map_err(|error| InputError { path, error })
    }

    fn read(path: &Path) -> io::Result<Self> {
        let mut lines = Lines::new(File::open(path)?, MAX_LINE);
        let mut all = Vec::new();
        while let Some(line) = lines.next()? {
            // The sample is sound; of another file, what is no event is left out by everybody who reads it.
            if let Line::Whole(line) = line
                && let Ok(event) = Event::parse(line)
            {
                all.push(Quake { net: event.net.into_owned(), line: line.to_vec() });
            }
        }
        if all.is_empty() {
            return Err(io::Error::other("there is no event in it"));
        }
        Ok(Self::new(all))
    }

    pub(crate) fn new(all: Vec<Quake>) -> Self {
        let mut places = vec![Vec::new(); PARTITIONS as usize];
        for (quake, number) in all.iter().zip(0..) {
            let partition = partition_of(quake.net.as_bytes(), PARTITIONS);
            if let Some(place) = places.get_mut(partition as usize) {
                place.push(number);
            }
        }
        Self { all, places }
    }

    /// How many there are before they are repeated.
    pub(crate) fn len(&self) -> u64 {
        self.all.len() as u64
    }

    /// The record of a number, from 0.
    pub(crate) fn get(&self, number: u64) -> Option<&Quake> {
        self.all.get(usize::try_from(number % self.len().max(1)).ok()?)
    }

    /// The number of the record that belongs at an offset of a partition.
    pub(crate) fn number_at(&self, partition: u32, offset: u64) -> Option<u64> {
        let place = self.places.get(partition as usize)?;
        let round = offset.checked_div(place.len() as u64)?;
        let first = place.get(usize::try_from(offset % place.len() as u64).ok()?)?;
        Some(round * self.len() + first)
    }

    /// How many of the records before `number` belong to a partition.
    pub(crate) fn count_in(&self, partition: u32, number: u64) -> u64 {
        let Some(place) = self.places.get(partition as usize) else { return 0 };
        let rest = number % self.len().max(1);
        let started = place.partition_point(|known| *known < rest) as u64;
        number / self.len().max(1) * place.len() as u64 + started
    }

    /// How many networks' records belong to a partition.
    pub(crate) fn keys_in(&self, partition: u32) -> usize {
        let mut keys: Vec<_> = self.all.iter().map(|quake| &quake.net).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.iter().filter(|net| partition_of(net.as_bytes(), PARTITIONS) == partition).count()
    }
}

/// The checksum of what a record is made of (FNV-1a).
pub(crate) fn checksum(number: u64, key: &[u8], payload: &[u8]) -> u64 {
    let number = number.to_le_bytes();
    [&number[..], key, b"\0", payload]
        .iter()
        .flat_map(|part| part.iter())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Why there is no data.
#[derive(Debug)]
pub(crate) struct InputError {
    path: PathBuf,
    error: io::Error,
}

impl core::error::Error for InputError {}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read {}: {}", self.path.display(), self.error)
    }
}
