//! Two processes that meet: this program starts itself again as the guest, and both go through a round side by side.
//!
//! They share a directory of the machine's memory with a page for what they tell each other. Whatever happens, the host
//! ends the guest, waits for it and removes the directory; what a host that was killed left behind, the next one removes.

use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, id};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::io::FdFlags;
use rustix::mm::{MapFlags, ProtFlags};
use rustix::time::ClockId;

use super::LANES;
use crate::messages::Sum;

/// The hidden option of the command line that makes a process a guest; its value is the directory.
pub const OPTION: &str = "--guest";
/// The same for a process that is started by the tests, whose command line is not this program's.
#[cfg(test)]
const VARIABLE: &str = "FABRIC_MQ_BENCH_GUEST";

/// A process that does not come for this long will not.
const PATIENCE: Duration = Duration::from_secs(30);

/// A reading of the clock that all processes share, in nanoseconds.
#[inline]
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(ClockId::Monotonic);
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}

/// What a guest is started for.
#[derive(Clone, Debug)]
pub struct Errand {
    pub workload: String,
    pub size: usize,
    pub name: String,
    /// How many messages a round has.
    pub count: usize,
    descriptors: [Option<RawFd>; LANES],
    place: PathBuf,
}

static ERRAND: OnceLock<Errand> = OnceLock::new();

impl Errand {
    /// What this process is started for, if it is a guest.
    pub fn current() -> Option<&'static Self> {
        ERRAND.get()
    }

    /// Makes this process the guest of whoever made this directory.
    pub fn accept(place: &Path) -> &'static Self {
        // The host's end must be this one's too, even if nobody is left to see to it.
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).expect("Linux has it");
        let text = fs::read_to_string(place.join("errand")).expect("the host has written it");
        let mut lines = text.lines();
        let mut line = || lines.next().expect("the host writes all lines");
        let errand = Self {
            workload: line().to_owned(),
            size: line().parse().expect("a number"),
            name: line().to_owned(),
            count: line().parse().expect("a number"),
            descriptors: std::array::from_fn(|_| line().parse().ok()),
            place: place.to_owned(),
        };
        ERRAND.get_or_init(|| errand)
    }

    fn write(&self) {
        let Self { workload, size, name, count, descriptors, place } = self;
        let mut text = format!("{workload}\n{size}\n{name}\n{count}\n");
        for descriptor in descriptors {
            text += &descriptor.map_or_else(|| "none\n".to_owned(), |descriptor| format!("{descriptor}\n"));
        }
        fs::write(place.join("errand"), text).expect("there is room in memory");
    }
}

/// A directory of the machine's memory that goes with this value.
struct Place(PathBuf);

impl Place {
    const PARENT: &str = "/dev/shm";
    const PREFIX: &str = "fabric-mq-bench-";

    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if COUNT.load(Ordering::Relaxed) == 0 {
            Self::sweep();
        }
        let name = format!("{}{}-{}", Self::PREFIX, id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(Self::PARENT).join(name);
        fs::create_dir(&path).expect("a new directory in the machine's memory");
        Self(path)
    }

    /// Removes what hosts that are gone have left.
    fn sweep() {
        for entry in fs::read_dir(Self::PARENT).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let process = name.to_str().and_then(|name| name.strip_prefix(Self::PREFIX)?.split('-').next());
            if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Memory that both processes map, zeroed by the host.
pub struct Shared {
    base: *mut u8,
    bytes: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread; who may touch which of its bytes is for those to say who
// hand out references to them.
unsafe impl Send for Shared {}

impl Shared {
    /// Maps a file of the place that both meet at; the host makes it.
    fn open(path: &Path, bytes: usize, host: bool) -> Self {
        let file = File::options().read(true).write(true).create_new(host).open(path).expect("the host makes it first");
        if host {
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes as u64)
                .expect("there is room in memory");
        }
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::POPULATE);
        // SAFETY: a new mapping, of a file that has this length and that nobody cuts off.
        let base = unsafe { rustix::mm::mmap(ptr::null_mut(), bytes, access, flags, &file, 0) };
        Self { base: base.expect("there is room for a mapping").cast(), bytes }
    }

    /// The first byte, aligned to a page.
    pub fn base(&self) -> *mut u8 {
        self.base
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: mapped by `open` with this length; whoever uses it borrows this value or owns it.
        let _ = unsafe { rustix::mm::munmap(self.base.cast(), self.bytes) };
    }
}

/// What the processes tell each other.
#[repr(C)]
struct Board {
    /// How often either of them came to the gate.
    arrived: AtomicU32,
    /// The guest's.
    start: AtomicU64,
    end: AtomicU64,
    sum: [AtomicU64; 2],
}

/// The bytes in front of the stamps: a page.
const BOARD: usize = 4096;
const _: () = assert!(size_of::<Board>() <= BOARD, "the board fits its page");

/// The guest, as its host sees it. Ended and waited for with this value.
struct Guest(Child);

impl Guest {
    fn start(place: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("the system knows what it runs"));
        #[cfg(not(test))]
        command.arg(OPTION).arg(place);
        #[cfg(test)]
        command
            .args(["processes::tests::a_guest", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env(VARIABLE, place);
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("this program starts"))
    }

    /// Waits for it to end by itself.
    fn finish(&mut self) {
        let since = Instant::now();
        let status = loop {
            match self.0.try_wait().expect("it is our child") {
                Some(status) => break status,
                None if since.elapsed() > PATIENCE => panic!("the other process does not end"),
                None => std::thread::sleep(Duration::from_micros(100)),
            }
        };
        assert!(status.success(), "the other process failed: {status}");
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(Some(_))) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// One process's side of a round.
///
/// Fields are dropped in this order: the guest has ended when the directory is removed.
pub struct Meeting {
    guest: Option<Guest>,
    board: Shared,
    /// How often this process came to the gate.
    passed: u32,
    stamps: usize,
    descriptors: [Option<OwnedFd>; LANES],
    path: PathBuf,
    _place: Option<Place>,
}

impl Meeting {
    /// Starts a guest for an errand. Of each lane's descriptors, the first is the one that the host keeps. `stamps` is how
    /// many of them the guest will leave.
    pub fn host(
        (workload, size, name, count): (&str, usize, &str, usize),
        lanes: [Option<(OwnedFd, OwnedFd)>; LANES],
        stamps: usize,
    ) -> Self {
        let place = Place::new();
        let path = place.0.clone();
        let board = Shared::open(&path.join("board"), BOARD + stamps * size_of::<u64>(), true);
        let (mut kept, mut given) = ([const { None }; LANES], [const { None }; LANES]);
        for (lane, descriptors) in lanes.into_iter().enumerate() {
            (kept[lane], given[lane]) = descriptors.unzip();
        }
        for descriptor in given.iter().flatten() {
            rustix::io::fcntl_setfd(descriptor, FdFlags::empty()).expect("it is open");
        }
        let descriptors = given.each_ref().map(|given: &Option<OwnedFd>| given.as_ref().map(|fd| fd.as_raw_fd()));
        let (workload, name) = (workload.to_owned(), name.to_owned());
        Errand { workload, size, name, count, descriptors, place: path.clone() }.write();
        let guest = Some(Guest::start(&path));
        // The guest's alone from here on, so that its end shows.
        drop(given);
        Self { guest, board, passed: 0, stamps, descriptors: kept, path, _place: Some(place) }
    }

    /// Comes to whoever started this process.
    pub fn guest(errand: &Errand, stamps: usize) -> Self {
        let path = errand.place.clone();
        let board = Shared::open(&path.join("board"), BOARD + stamps * size_of::<u64>(), false);
        let descriptors = errand.descriptors.map(|descriptor| {
            // SAFETY: the host left this one open for the guest to own, and a process has one errand, which it goes once.
            descriptor.map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) })
        });
        Self { guest: None, board, passed: 0, stamps, descriptors, path, _place: None }
    }

    /// The directory that both know.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// This process's descriptor of a lane.
    pub fn descriptor(&mut self, lane: usize) -> OwnedFd {
        self.descriptors[lane].take().expect("the link has descriptors, and asks once for each")
    }

    /// Memory that both map under the same name. Whoever makes it is a gate ahead of the other.
    pub fn shared(&self, name: &str, bytes: usize, make: bool) -> Shared {
        Shared::open(&self.path.join(name), bytes, make)
    }

    fn board(&self) -> &Board {
        // SAFETY: the page is at least as large, aligned, was zero at first, and is reached by atomics only.
        unsafe { &*self.board.base().cast::<Board>() }
    }

    fn stamps(&self) -> &[AtomicU64] {
        // SAFETY: so many lie behind the page, aligned; zero at first, and reached by atomics only.
        unsafe { std::slice::from_raw_parts(self.board.base().add(BOARD).cast(), self.stamps) }
    }

    /// Waits for the other process. Spins, as waking up would take longer than the round's first messages; gives way, as
    /// there may be fewer cores than processes.
    pub fn gate(&mut self) {
        self.passed += 1;
        self.board().arrived.fetch_add(1, Ordering::AcqRel);
        let (mut tries, since) = (0_u32, Instant::now());
        while self.board().arrived.load(Ordering::Acquire) < 2 * self.passed {
            tries = tries.wrapping_add(1);
            if !tries.is_multiple_of(256) {
                std::hint::spin_loop();
                continue;
            }
            std::thread::yield_now();
            if tries.is_multiple_of(1024) {
                let ended = self.guest.as_mut().and_then(|guest| guest.0.try_wait().ok().flatten());
                // It may have come to its last gate in the moment before.
                let here = self.board().arrived.load(Ordering::Acquire) >= 2 * self.passed;
                assert!(ended.is_none() || here, "the other process ended: {ended:?}");
                assert!(since.elapsed() < PATIENCE, "the other process does not come");
            }
        }
    }

    /// The guest's results, handed over by the next gate.
    pub fn tell(&self, span: (u64, u64), sum: Sum, stamps: &[u64]) {
        let board = self.board();
        board.start.store(span.0, Ordering::Relaxed);
        board.end.store(span.1, Ordering::Relaxed);
        for (word, sum) in board.sum.iter().zip(sum.words()) {
            word.store(sum, Ordering::Relaxed);
        }
        for (word, stamp) in self.stamps().iter().zip(stamps) {
            word.store(*stamp, Ordering::Relaxed);
        }
    }

    /// What the guest told.
    pub fn told(&self) -> ((u64, u64), Sum, impl Iterator<Item = u64>) {
        let board = self.board();
        let span = (board.start.load(Ordering::Relaxed), board.end.load(Ordering::Relaxed));
        let sum = Sum::from_words(board.sum.each_ref().map(|word| word.load(Ordering::Relaxed)));
        (span, sum, self.stamps().iter().map(|stamp| stamp.load(Ordering::Relaxed)))
    }

    /// Waits for the guest to end.
    pub fn finish(mut self) {
        if let Some(guest) = &mut self.guest {
            guest.finish();
        }
    }
}

/// The directory that the tests' guest was started with.
#[cfg(test)]
pub fn given_place() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::results::OURS;

    #[test]
    fn a_guest_that_fails_is_told_and_nothing_is_left() {
        let mut meeting = Meeting::host(("X1", 64, "no such row", 1000), [None, None], 0);
        let path = meeting.path().to_owned();
        assert!(path.join("board").exists());
        let came = catch_unwind(AssertUnwindSafe(|| meeting.gate()));
        assert!(came.is_err(), "nobody came");
        drop(meeting);
        assert!(!path.exists());
    }

    #[test]
    fn a_guest_ends_with_its_host_s_side() {
        let mut meeting = Meeting::host(("X1", 64, OURS, 1000), [None, None], 0);
        // It came, and waits for the next gate.
        meeting.gate();
        let (guest, path) = (meeting.guest.as_ref().expect("a host has one").0.id(), meeting.path().to_owned());
        let process = Path::new("/proc").join(guest.to_string());
        assert!(process.exists());
        drop(meeting);
        assert!(!process.exists() && !path.exists());
    }

    #[test]
    fn what_a_killed_host_left_is_removed() {
        // Larger than any process number.
        let path = Path::new(Place::PARENT).join(format!("{}4294967295-0", Place::PREFIX));
        fs::create_dir_all(&path).expect("there is room in memory");
        Place::sweep();
        assert!(!path.exists());
    }
}
