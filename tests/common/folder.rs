//! Directories for the files of a test.

#![allow(dead_code, reason = "each test file uses a part of this")]

use std::path::{Path, PathBuf};

/// The path of a directory of its own, where there is nothing yet. Whatever is there then goes with this value.
#[derive(Debug)]
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    /// Among the temporary files.
    pub(crate) fn new(test: &str) -> Self {
        Self::within(&std::env::temp_dir(), test)
    }

    /// In the machine's memory, if its files are seen somewhere.
    pub(crate) fn in_memory(test: &str) -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Self::within(memory, test) } else { Self::new(test) }
    }

    fn within(parent: &Path, test: &str) -> Self {
        let path = parent.join(format!("fabric-mq-test-{}-{test}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
