//! Records as NDJSON: one object a line.

use fabric_mq::durable::Extent;
use serde_json::json;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Where records are written to, if anywhere.
pub(crate) struct Export(Option<Box<dyn Write>>);

impl Export {
    pub(crate) fn open(path: Option<&Path>) -> io::Result<Self> {
        Ok(Self(match path {
            None => None,
            Some(path) if path == Path::new("-") => Some(Box::new(BufWriter::new(io::stdout()))),
            Some(path) => Some(Box::new(BufWriter::new(File::create(path)?))),
        }))
    }

    /// Writes a record: its bytes as text where they are UTF-8, else in hexadecimal digits.
    pub(crate) fn record(&mut self, partition: u8, offset: u64, tag: u8, at: Extent, body: &[u8]) -> io::Result<()> {
        let Some(out) = &mut self.0 else { return Ok(()) };
        let mut line = json!({
            "partition": partition, "offset": offset, "tag": tag, "segment": at.segment, "at": at.from, "len": body.len(),
        });
        match str::from_utf8(body) {
            Ok(text) => line["text"] = text.into(),
            Err(_) => line["hex"] = body.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
        }
        writeln!(out, "{line}")
    }

    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.0.as_mut().map_or(Ok(()), Write::flush)
    }
}
