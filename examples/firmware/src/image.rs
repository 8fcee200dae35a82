//! The chip's bytes, in files of the host, by semihosting.
//!
//! Where to, the host says when it starts the machine: by `images=PREFIX` in the program's command line.

use crate::failure::Failure;
use crate::kept::{Kept, WORDS};
use crate::text::Text;
use core::{fmt, ptr};
use cortex_m_semihosting::{nr, syscall, syscall1};

const WANTED: &[u8] = b"images=";
/// Bytes of a command line, and of a path.
const LONGEST: usize = 512;
/// How the host says that an operation failed.
const FAILED: usize = usize::MAX;

/// Writes the chip's bytes to the file `PREFIX.NAME`. Answers whether the host wants them.
// Not part of its caller: the stack has no room for these buffers all the time.
#[inline(never)]
pub fn write(kept: &Kept, name: fmt::Arguments<'_>) -> Result<bool, Failure> {
    let mut line = [0; LONGEST];
    let Some(prefix) = prefix(&mut line) else { return Ok(false) };
    let path = Text::<LONGEST>::of(format_args!("{prefix}.{name}\0")).map_err(|_| Failure::File { what: "name" })?;
    let path = path.as_str();

    let open = [path.as_ptr() as usize, nr::open::W_TRUNC_BINARY, path.len() - 1];
    // SAFETY: the address and the length of a path that ends with a zero, which is not counted, and a mode.
    let file = unsafe { syscall(nr::OPEN, &open) };
    if file == FAILED {
        return Err(Failure::File { what: "open" });
    }
    let write = [file, ptr::from_ref(&kept.cells) as usize, WORDS * 4];
    // SAFETY: the file was opened; the cells are so many bytes, and nobody writes them meanwhile.
    let missing = unsafe { syscall(nr::WRITE, &write) };
    // SAFETY: the file was opened.
    let closed = unsafe { syscall(nr::CLOSE, &[file]) };
    if missing != 0 || closed == FAILED {
        return Err(Failure::File { what: "take" });
    }
    Ok(true)
}

/// What the command line has behind `images=`.
fn prefix(line: &mut [u8; LONGEST]) -> Option<&str> {
    let mut block = [line.as_mut_ptr() as usize, LONGEST];
    // SAFETY: the address of a pair, which the host changes: the address of a buffer, and its length. The host fills the
    // buffer and puts the length of the command line in the place of the buffer's.
    let status = unsafe { syscall1(nr::GET_CMDLINE, block.as_mut_ptr() as usize) };
    let [_, len] = block;
    if status == FAILED {
        return None;
    }
    let text = line.get(..len)?;
    let from = text.windows(WANTED.len()).position(|part| part == WANTED)? + WANTED.len();
    // Whoever counts the zero at the end counts one more.
    let text = text.get(from..)?.split(|byte| *byte == 0).next()?;
    core::str::from_utf8(text).ok()
}
