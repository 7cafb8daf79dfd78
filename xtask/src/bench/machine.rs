//! What the kernel tells about the machine and its processes, in `/proc`.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context;

/// Waits until other work takes little of the machine, but not for ever; returns whether it is quiet.
pub(super) fn wait_until_quiet() -> bool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let before = read("/proc/stat").map(|text| busy_ticks(&text));
        std::thread::sleep(WINDOW);
        let after = read("/proc/stat").map(|text| busy_ticks(&text));
        let (Ok(Some(before)), Ok(Some(after))) = (before, after) else {
            return false;
        };
        if is_quiet(after.saturating_sub(before), processors()) {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
    }
}

/// Describes the machine in one line, so that figures are not compared across machines by mistake.
pub(super) fn description() -> String {
    let model = read("/proc/cpuinfo")
        .ok()
        .and_then(|text| field(&text, "model name").map(str::to_owned))
        .unwrap_or_else(|| "unknown processor".to_owned());
    let kernel = read("/proc/sys/kernel/osrelease").unwrap_or_else(|_| "unknown".to_owned());
    format!("{} x {model}, Linux {}", processors(), kernel.trim())
}

/// Processor time of one process with all its threads, in seconds.
///
/// # Errors
/// Says so when the process is gone.
pub(super) fn processor_seconds(process: u32) -> anyhow::Result<f64> {
    let stat = read(&format!("/proc/{process}/stat"))?;
    ticks_of(&stat)
        .map(|ticks| ticks / TICKS_PER_SECOND)
        .with_context(|| format!("/proc/{process}/stat has another form than proc(5) says"))
}

/// Memory of one process now, in MB.
///
/// # Errors
/// Says so when the process is gone.
pub(super) fn resident_megabytes(process: u32) -> anyhow::Result<f64> {
    status(process, "VmRSS")
}

/// The most memory that one process ever had, in MB.
///
/// # Errors
/// Says so when the process is gone.
pub(super) fn peak_megabytes(process: u32) -> anyhow::Result<f64> {
    status(process, "VmHWM")
}

fn status(process: u32, name: &str) -> anyhow::Result<f64> {
    let path = format!("/proc/{process}/status");
    megabytes(&read(&path)?, name).with_context(|| format!("{path} does not tell {name}"))
}

fn megabytes(status: &str, name: &str) -> Option<f64> {
    let kibibytes: f64 = field(status, name)?
        .strip_suffix(" kB")?
        .trim()
        .parse()
        .ok()?;
    Some(kibibytes * 1024.0 / 1e6)
}

/// User and system time of all threads, from `/proc/PID/stat`.
fn ticks_of(stat: &str) -> Option<f64> {
    // The program's name may contain blanks and brackets; what follows the last bracket may not.
    let (_, after) = stat.rsplit_once(") ")?;
    let mut times = after.split(' ').skip(11);
    let user: f64 = times.next()?.parse().ok()?;
    let system: f64 = times.next()?.parse().ok()?;
    Some(user + system)
}

/// Ticks of all processors that were spent on anything: user, nice, system, interrupts.
fn busy_ticks(stat: &str) -> Option<u64> {
    let mut ticks = stat
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_whitespace()
        .map(|tick| tick.parse::<u64>().unwrap_or(0));
    let (user, nice, system) = (ticks.next()?, ticks.next()?, ticks.next()?);
    let interrupts: u64 = ticks.skip(2).take(2).sum();
    Some(user + nice + system + interrupts)
}

fn is_quiet(busy_ticks: u64, processors: usize) -> bool {
    let processors = u64::try_from(processors).unwrap_or(1);
    // A tick is 10 ms.
    let window = u64::try_from(WINDOW.as_millis() / 10).unwrap_or(1) * processors;
    busy_ticks * 100 <= window * QUIET_PERCENT
}

/// The value behind `name:` at a line's start.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let value = line.strip_prefix(name)?.trim_start().strip_prefix(':')?;
        Some(value.trim())
    })
}

fn read(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What the kernel counts in for programs (`USER_HZ`), whatever its own clock is.
const TICKS_PER_SECOND: f64 = 100.0;

/// Long enough for a share of a few percent to be more than one tick.
const WINDOW: Duration = Duration::from_millis(500);

/// A machine with a browser open is below this; one that compiles is not.
const QUIET_PERCENT: u64 = 15;

/// After a minute the figures are worth more than the quiet, as ratios are taken within a round.
const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_name_cannot_shift_its_times() {
        let stat = "7 (a) 1 2 b) S 1 7 7 0 -1 4194560 96 0 0 0 250 150 0 0 20 0 1 0 5 6 7";

        assert_eq!(ticks_of(stat), Some(400.0));
        assert_eq!(ticks_of("7 (cut off"), None);
    }

    #[test]
    fn idle_time_waiting_for_disks_and_stolen_time_are_not_work() {
        let stat = "cpu  10 1 20 4000 300 2 3 500 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";

        assert_eq!(busy_ticks(stat), Some(36));
    }

    #[test]
    fn a_machine_is_quiet_below_its_share() {
        // Half a second of two processors has 100 ticks.
        assert!(is_quiet(15, 2));
        assert!(!is_quiet(16, 2));
    }

    #[test]
    fn memory_is_read_in_decimal_megabytes() {
        let status = "Name:\tx\nVmHWM:\t   10000 kB\nVmRSS:\t    5000 kB\n";

        assert_eq!(megabytes(status, "VmHWM"), Some(10.24));
        assert_eq!(megabytes(status, "VmRSS"), Some(5.12));
        assert_eq!(megabytes(status, "VmSwap"), None);
    }
}
