//! What the examples say to whoever runs them, and with which status they end.

use core::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// Writes to standard output. Whoever has closed it has read enough; any other failure is one.
pub(crate) fn print(text: &str, status: ExitCode) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format_args!("cannot write to standard output: {error}"), ExitCode::FAILURE)
        }
        _ => status,
    }
}

/// Says what is wrong with the command line, and how it is used.
pub(crate) fn misused(error: &dyn Display, usage: &str) -> ExitCode {
    complain(&format_args!("{error}\n\n{}", usage.trim_end()), ExitCode::from(2))
}

/// Writes an error to standard error.
pub(crate) fn complain(error: &dyn Display, status: ExitCode) -> ExitCode {
    // There is nobody left to tell if this fails.
    let _ = writeln!(io::stderr(), "error: {error}");
    status
}
