//! Lines of any input, in bounded memory.

use std::io::{self, BufRead, BufReader, Read};

/// One line, without its end.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Line<'a> {
    /// Longer than the limit: skipped, not kept.
    TooLong,
    Whole(&'a [u8]),
}

/// Reads lines of at most `limit` bytes, which end with `\n` or `\r\n`.
pub(crate) struct Lines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    limit: usize,
    bytes: u64,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(input: R, limit: usize) -> Self {
        Self { input: BufReader::with_capacity(64 * 1024, input), line: Vec::new(), limit, bytes: 0 }
    }

    /// The next line; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        // Two more, for the line's end.
        let most = self.limit + 2;
        self.line.clear();
        let read = (&mut self.input).take(most as u64).read_until(b'\n', &mut self.line)?;
        self.bytes += read as u64;
        let line = match self.line.strip_suffix(b"\n") {
            Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
            None if read == 0 => return Ok(None),
            None if read == most => {
                self.bytes += self.input.skip_until(b'\n')? as u64;
                return Ok(Some(Line::TooLong));
            }
            None => &self.line,
        };
        Ok(Some(if line.len() > self.limit { Line::TooLong } else { Line::Whole(line) }))
    }

    /// Whether the next line must be waited for: the moment to look at the clock.
    pub(crate) fn is_drained(&self) -> bool {
        self.input.buffer().is_empty()
    }

    /// Bytes read so far, line ends and what was skipped included.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes held for lines at present, beside the buffer's 64 KiB.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.line.capacity()
    }
}
