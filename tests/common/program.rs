//! The example programs, run as users run them.

#![allow(dead_code, reason = "each test file uses a part of this")]

use std::path::PathBuf;
use std::process::{Command, Output};

/// The program of an example.
pub(crate) fn example(name: &str) -> Command {
    // This test is target/<profile>/deps/<name>, the program target/<profile>/examples/<name>.
    let this = std::env::current_exe().unwrap();
    let folder = this.parent().and_then(|deps| deps.parent()).unwrap();
    let path = folder.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is missing: cargo build --example {name}", path.display());
    Command::new(path)
}

/// The data that comes with them.
pub(crate) fn sample() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "examples", "data", "earthquakes.ndjson"].iter().collect()
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// What a program printed, checked to have this exit status and to be tidy; and what it complained of.
#[track_caller]
pub(crate) fn printed(output: &Output, status: i32) -> (&str, &str) {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{out}\n{err}");
    for line in out.lines() {
        assert!(line.len() <= 100 && line.trim_end() == line, "{line:?}");
    }
    (out, err)
}
