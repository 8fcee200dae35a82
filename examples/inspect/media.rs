//! Images and directories as media that are only read.

use crate::args::Options;
use fabric_mq::durable::inspect::{Label, write_unit};
use fabric_mq::durable::{Geometry, MediumError, Store};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Bytes that are read at a time.
const BLOCK: usize = 64 << 10;
/// The fewest segments of a journal, and the most.
const SEGMENTS: core::ops::RangeInclusive<u64> = 4..=1 << 16;

/// A medium that nothing can be written to.
pub(crate) struct Media {
    source: Source,
    geometry: Geometry,
    /// What was read last: of which segment, from where on.
    block: (u32, u32, Vec<u8>),
}

enum Source {
    Image(File),
    Directory(PathBuf),
}

fn name(segment: u32) -> String {
    format!("{segment:08x}.seg")
}

fn says(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

impl Media {
    /// Opens a file or a directory to be read, and finds out its shape.
    pub(crate) fn open(options: &Options) -> Result<Self, String> {
        let path = &options.path;
        let about = path.metadata().map_err(|error| says(path, &error))?;
        let (source, geometry) = if about.is_dir() {
            (Source::Directory(path.clone()), directory(options)?)
        } else {
            let mut file = File::open(path).map_err(|error| says(path, &error))?;
            let geometry = image(&mut file, about.len(), options)?;
            (Source::Image(file), geometry)
        };
        Ok(Self { source, geometry, block: (0, 0, Vec::new()) })
    }

    /// Whether it is a directory.
    pub(crate) fn is_directory(&self) -> bool {
        matches!(self.source, Source::Directory(_))
    }

    /// Reads up to a block of a segment.
    fn load(&mut self, segment: u32, at: u32) -> Result<(), MediumError> {
        let failed = |error: io::Error| error.raw_os_error().map_or(MediumError::Failed, MediumError::Io);
        let whole = u64::from(self.geometry.segment_bytes);
        let most = (whole - u64::from(at)).min(BLOCK as u64);
        let mut bytes = Vec::new();
        match &mut self.source {
            Source::Image(file) => {
                file.seek(SeekFrom::Start(u64::from(segment) * whole + u64::from(at))).map_err(failed)?;
                file.take(most).read_to_end(&mut bytes).map_err(failed)?;
            }
            Source::Directory(path) => match File::open(path.join(name(segment))) {
                Ok(mut file) => {
                    file.seek(SeekFrom::Start(at.into())).map_err(failed)?;
                    file.take(most).read_to_end(&mut bytes).map_err(failed)?;
                }
                // It was never made.
                Err(error) if error.kind() == io::ErrorKind::NotFound => bytes.resize(most as usize, 0),
                Err(error) => return Err(failed(error)),
            },
        }
        self.block = (segment, at, bytes);
        Ok(())
    }
}

impl Store for Media {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read(&mut self, segment: u32, at: u32, into: &mut [u8]) -> Result<(), MediumError> {
        let end = at as usize + into.len();
        if segment >= self.geometry.segments || end > self.geometry.segment_bytes as usize {
            return Err(MediumError::OutOfBounds);
        }
        let mut done = 0;
        while done < into.len() {
            let from = at + done as u32;
            let (of, start, bytes) = &self.block;
            let inside = (*of == segment && *start <= from).then(|| bytes.get((from - start) as usize..)).flatten();
            if let Some(bytes) = inside.filter(|bytes| !bytes.is_empty()) {
                let count = bytes.len().min(into.len() - done);
                into[done..done + count].copy_from_slice(&bytes[..count]);
                done += count;
            } else {
                self.load(segment, from)?;
                if self.block.2.is_empty() {
                    // The file ends before.
                    return Err(MediumError::Unreadable);
                }
            }
        }
        Ok(())
    }

    fn program(&mut self, _: u32, _: u32, _: &[u8]) -> Result<(), MediumError> {
        Err(MediumError::Failed)
    }

    fn erase(&mut self, _: u32) -> Result<(), MediumError> {
        Err(MediumError::Failed)
    }

    fn sync(&mut self) -> Result<(), MediumError> {
        Ok(())
    }
}

/// The shape of the store in a directory: by the names and lengths of its files.
fn directory(options: &Options) -> Result<Geometry, String> {
    let path = &options.path;
    let (mut segments, mut bytes) = (0, 0);
    for entry in path.read_dir().map_err(|error| says(path, &error))? {
        let entry = entry.map_err(|error| says(path, &error))?;
        let known = entry.file_name();
        let number = known.to_str().and_then(|name| u32::from_str_radix(name.strip_suffix(".seg")?, 16).ok());
        if let Some(number) = number.filter(|number| *name(*number) == *known && u64::from(*number) < *SEGMENTS.end()) {
            segments = segments.max(number + 1);
            bytes = bytes.max(entry.metadata().map_err(|error| says(path, &error))?.len());
        }
    }
    let bytes = options.segment_bytes.or_else(|| u32::try_from(bytes).ok()).unwrap_or(0);
    if segments == 0 || bytes == 0 {
        return Err(format!("{}: there is no segment of a store in this directory", path.display()));
    }
    Ok(Geometry::files(options.segments.unwrap_or(segments).max(*SEGMENTS.start() as u32), bytes))
}

/// The shape of the flash of an image: where labels are found that were made for these very places.
fn image(file: &mut File, len: u64, options: &Options) -> Result<Geometry, String> {
    let path = &options.path;
    let mut start = |at: u64| -> Result<[u8; 16], String> {
        let mut bytes = [0; 16];
        let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut bytes));
        read.map(|()| bytes).map_err(|error| says(path, &error))
    };
    let sizes: Vec<u64> = match options.segment_bytes {
        Some(bytes) => vec![bytes.into()],
        None => {
            (1..=len / SEGMENTS.start() / 64).map(|nth| nth * 64).filter(|bytes| len.is_multiple_of(*bytes)).collect()
        }
    };
    let mut best: Vec<(usize, u32, u32, Option<u32>)> = Vec::new();
    for bytes in sizes {
        let segments = options.segments.map_or(len / bytes, u64::from);
        let (Ok(count), true) = (u32::try_from(segments), SEGMENTS.contains(&segments)) else { continue };
        let (mut labels, mut unit) = (0, None);
        for segment in 0..count {
            let at = u64::from(segment) * bytes;
            if at + 16 > len {
                break;
            }
            let bytes = start(at)?;
            let label = *bytes.first_chunk().ok_or("16 bytes have 8")?;
            if Label::of(segment, label) != Label::None {
                labels += 1;
                unit = unit.or_else(|| write_unit(bytes));
            }
        }
        if best.first().is_none_or(|(most, ..)| labels > *most) {
            best.clear();
        }
        if best.first().is_none_or(|(most, ..)| labels == *most) {
            best.push((labels, count, u32::try_from(bytes).unwrap_or(u32::MAX), unit));
        }
    }
    match (best.as_slice(), options.segment_bytes) {
        ([(labels, count, bytes, unit)], given) if *labels > 0 || given.is_some() => {
            let unit = options.write_unit.or(*unit).unwrap_or(4);
            Ok(Geometry::flash(*count, *bytes, unit))
        }
        ([(1.., ..), ..], _) => Err(format!(
            "{}: only the first segment is in use, so its size does not show: give --segment-bytes",
            path.display()
        )),
        _ => Err(format!(
            "{}: there is no journal in this file, or --segment-bytes and --segments do not fit its {len} bytes",
            path.display()
        )),
    }
}
