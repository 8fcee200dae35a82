//! The machine under the numbers: its cores, its name, the versions of what ran on it.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use core_affinity::CoreId;

fn cores() -> &'static [CoreId] {
    static CORES: OnceLock<Vec<CoreId>> = OnceLock::new();
    CORES.get_or_init(|| core_affinity::get_core_ids().unwrap_or_default())
}

pub fn core_count() -> usize {
    cores().len()
}

/// Binds the calling thread to the core number `which` of those this process may use. Without effect where there is no
/// such core or the system has no such call; the report then shows one core.
pub fn pin(which: usize) {
    if let Some(core) = cores().get(which) {
        core_affinity::set_for_current(*core);
    }
}

fn first_line_of(path: &str) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.lines().next()?.trim().to_owned())
}

fn cpu_model() -> String {
    let field = |name: &str| {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").ok()?;
        let line = cpuinfo.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    match (field("model name"), field("cpu family"), field("model")) {
        (Some(name), Some(family), Some(model)) => format!("{name} (family {family} model {model})"),
        (Some(name), ..) => name,
        _ => std::env::consts::ARCH.to_owned(),
    }
}

/// One line for the report.
pub fn describe() -> String {
    let kernel = first_line_of("/proc/sys/kernel/osrelease").map_or_else(String::new, |release| format!(" {release}"));
    let virtualised = std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|cpuinfo| cpuinfo.contains(" hypervisor"));
    format!(
        "{}, {} core{}{}, {}{kernel}, {}",
        cpu_model(),
        core_count(),
        if core_count() == 1 { "" } else { "s" },
        if virtualised { " (virtual machine)" } else { "" },
        std::env::consts::OS,
        env!("COMPILER"),
    )
}

/// Processor time so far, in ticks over all cores.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    total: u64,
    busy: u64,
    /// Taken by the hypervisor while a core here had something to do.
    stolen: u64,
    own: u64,
}

/// Shares of the cores' time that went elsewhere, 0 to 1.
#[derive(Clone, Copy, Debug)]
pub struct Disturbance {
    pub others: f64,
    pub stolen: f64,
}

impl Usage {
    /// `None` where the system has no such files.
    pub fn now() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/stat").ok()?, &std::fs::read_to_string("/proc/self/stat").ok()?)
    }

    fn parse(system: &str, process: &str) -> Option<Self> {
        let all = system.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = all.split_whitespace().map_while(|ticks| ticks.parse().ok()).collect();
        // user, nice, system, idle, iowait, irq, softirq, steal; guests are part of user already.
        let [user, nice, system, idle, iowait, irq, softirq, stolen] = *ticks.first_chunk()?;
        let busy = user + nice + system + irq + softirq;
        // The name, in parentheses, may hold anything; behind it come the state and ten more before utime and stime.
        let mut fields = process.rsplit_once(')')?.1.split_whitespace().skip(11);
        let mut next = || fields.next()?.parse::<u64>().ok();
        // Behind those, the same two of the children that have ended.
        let own = next()? + next()? + next()? + next()?;
        Some(Self { total: busy + idle + iowait + stolen, busy, stolen, own })
    }

    /// What went elsewhere since `earlier`.
    pub fn since(self, earlier: Self) -> Disturbance {
        let total = self.total.saturating_sub(earlier.total).max(1) as f64;
        let busy = self.busy.saturating_sub(earlier.busy);
        let own = self.own.saturating_sub(earlier.own);
        Disturbance {
            others: busy.saturating_sub(own) as f64 / total,
            stolen: self.stolen.saturating_sub(earlier.stolen) as f64 / total,
        }
    }
}

/// Versions as locked, so that the report cannot name another one than was built.
pub fn locked_version(package: &str) -> Option<&'static str> {
    let lock = include_str!("../Cargo.lock");
    let entry = lock.split("[[package]]").find(|entry| {
        entry.lines().any(|line| line.strip_prefix("name = ").is_some_and(|name| name.trim_matches('"') == package))
    })?;
    let version = entry.lines().find_map(|line| line.strip_prefix("version = "))?;
    Some(version.trim_matches('"'))
}

/// Today in UTC, as year, month and day.
pub fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The Gregorian date of a day counted from 1970-01-01.
fn civil(mut days: u64) -> (u64, usize, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    for (month, length) in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].into_iter().enumerate() {
        if days < length {
            return (year, month + 1, days + 1);
        }
        days -= length;
    }
    unreachable!("a year has no more days than its months")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(59), (1970, 3, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_454), (2026, 1, 1));
        assert_eq!(civil(20_818), (2026, 12, 31));
    }

    #[test]
    fn what_others_took() {
        let process = |user, system| format!("7 (a) b) S 1 2 3 4 5 6 7 8 9 10 {user} {system} 5 0 20 0");
        let before = Usage::parse("cpu  100 0 50 800 50 0 0 0 9 9\ncpu0 1 2", &process(40, 10));
        let after = Usage::parse("cpu  150 0 60 920 60 0 0 10 9 9\ncpu0 1 2", &process(70, 20));
        let (before, after) = before.zip(after).expect("both are well formed");
        let disturbance = after.since(before);
        assert_eq!(disturbance.others, 0.1, "60 of 200 ticks busy, 40 of them our own");
        assert_eq!(disturbance.stolen, 0.05);
        assert!(Usage::parse("cpu 1 2 3", "7 (a) S").is_none());
    }

    #[test]
    fn versions_are_found_in_the_lock_file() {
        assert!(locked_version("rtrb").is_some_and(|version| version.starts_with("0.4")));
        assert_eq!(locked_version("no such package"), None);
    }
}
