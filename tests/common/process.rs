//! Other processes: a test program starts itself again in a role, talks with it and kills it.
//!
//! The program needs one test called [`ENTRY`], ignored, which asks [`role`] what it was started for. No wait is for ever:
//! whoever started a process gives up after [`PATIENCE`], and a process ends when whoever started it is gone.

#![allow(dead_code, reason = "each test file uses a part of this")]

#[path = "folder.rs"]
mod folder;

use fabric_mq::clock::MachineClock;
use fabric_mq::lease::SharedPool;
pub(crate) use folder::Folder;
use rustix::process::{Pid, Signal, WaitOptions, getppid, kill_process, waitpid};
use std::fmt::Display;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// The test that is the entry of the processes.
const ENTRY: &str = "an_actor_of_another_test";

/// For how long anything is waited for: longer than a busy machine holds a process up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

impl Folder {
    pub(crate) fn pool(&self) -> SharedPool<MachineClock> {
        pool(&self.0)
    }
}

/// The pool of a directory.
pub(crate) fn pool(path: &Path) -> SharedPool<MachineClock> {
    SharedPool::open(path, MachineClock::new()).unwrap()
}

// ---- for whoever starts a process

/// Another process in a role. Killed with this value.
#[derive(Debug)]
pub(crate) struct Actor {
    child: Child,
    /// What it says, read by a thread that ends with it.
    said: Receiver<String>,
}

impl Actor {
    /// Starts this program again, to use the directory and to be told the role and the settings.
    pub(crate) fn start(place: &Folder, role: &str, settings: &[(&str, &str)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([ENTRY, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env("FABRIC_MQ_PARENT", std::process::id().to_string())
            .env("FABRIC_MQ_ROLE", role)
            .env("FABRIC_MQ_PLACE", &place.0)
            .envs(settings.iter().map(|(key, value)| (format!("FABRIC_MQ_{key}"), *value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (say, said) = channel();
        std::thread::spawn(move || {
            // The harness prints too, also in front of what is said.
            let words = lines.map_while(Result::ok).filter_map(|line| Some(line.split_once("@ ")?.1.to_owned()));
            // What is said later than anybody listens is dropped, so that it never has to wait.
            words.for_each(|word| drop(say.send(word)));
        });
        Self { child, said }
    }

    #[track_caller]
    fn said_before(&self, end: Instant) -> String {
        match self.said.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(said) => said,
            Err(RecvTimeoutError::Disconnected) => panic!("it ended and said nothing more: see above"),
            Err(RecvTimeoutError::Timeout) => panic!("it says nothing for {PATIENCE:?}"),
        }
    }

    /// What it says next.
    #[track_caller]
    pub(crate) fn said(&self) -> String {
        self.said_before(Instant::now() + PATIENCE)
    }

    /// It must say this next.
    #[track_caller]
    pub(crate) fn says(&self, wanted: &str) {
        assert_eq!(self.said(), wanted);
    }

    /// It must say this, whatever it says before.
    #[track_caller]
    pub(crate) fn comes_to_say(&self, wanted: &str) {
        let end = Instant::now() + PATIENCE;
        while self.said_before(end) != wanted {}
    }

    /// A number that it says behind a word.
    #[track_caller]
    pub(crate) fn number(&self, word: &str) -> u64 {
        let said = self.said();
        said.strip_prefix(word).unwrap_or_else(|| panic!("{said:?} is not {word}")).trim().parse().unwrap()
    }

    /// Lets it go on: see [`wait_for_word`].
    pub(crate) fn tell(&mut self) {
        writeln!(self.child.stdin.as_mut().unwrap()).unwrap();
    }

    /// Tells it something: see [`hear`].
    pub(crate) fn tells(&mut self, what: impl Display) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{what}").unwrap();
    }

    /// It goes by itself, in whatever way; answers what it still said, whole lines only.
    #[track_caller]
    pub(crate) fn dies(mut self) -> Vec<String> {
        before("it does not end", || self.child.try_wait().unwrap());
        self.said.iter().collect()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Kills it; answers what it has said that nobody has listened to.
    pub(crate) fn killed(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // Whoever reads its words ends with them.
        self.said.iter().collect()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Stops it, and waits until it is.
    #[track_caller]
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
        let look = WaitOptions::UNTRACED | WaitOptions::NOHANG;
        let status = before("it is not stopped", || waitpid(Some(Pid::from_child(&self.child)), look).unwrap());
        assert!(status.1.stopped(), "it is stopped, not dead");
    }

    /// It goes by itself, and nothing in it has failed. Nobody tells it anything more.
    #[track_caller]
    pub(crate) fn ends_well(mut self) {
        drop(self.child.stdin.take());
        let status = before("it does not end", || self.child.try_wait().unwrap());
        assert!(status.success(), "it failed: see above");
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks until there is something.
#[track_caller]
fn before<R>(complaint: &str, mut look: impl FnMut() -> Option<R>) -> R {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{complaint} for {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

// ---- for the process that was started

/// What this process was started for, if it is not started by hand. It ends from now on when whoever started it is gone,
/// whatever it does then: none is left behind by a test program that is killed.
pub(crate) fn role() -> Option<String> {
    let parent: i32 = std::env::var("FABRIC_MQ_PARENT").ok()?.parse().unwrap();
    std::thread::spawn(move || {
        while getppid().map(|pid| pid.as_raw_nonzero().get()) == Some(parent) {
            std::thread::sleep(Duration::from_millis(20));
        }
        std::process::exit(1);
    });
    Some(setting("ROLE"))
}

/// What it was told; nothing is an empty text.
pub(crate) fn setting(key: &str) -> String {
    std::env::var(format!("FABRIC_MQ_{key}")).unwrap_or_default()
}

/// The directory that it is to use. It is not its own: whoever started it removes it.
pub(crate) fn given_place() -> PathBuf {
    PathBuf::from(setting("PLACE"))
}

/// Says this to whoever started it.
pub(crate) fn say(what: impl Display) {
    println!("@ {what}");
}

/// Waits for what it is told.
pub(crate) fn hear() -> String {
    let mut word = String::new();
    std::io::stdin().read_line(&mut word).unwrap();
    word.trim().to_owned()
}

/// Waits until whoever started it says so, or tells it nothing more.
pub(crate) fn wait_for_word() {
    std::io::stdin().read_line(&mut String::new()).unwrap();
}
