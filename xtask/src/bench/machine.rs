//! What the kernel tells about the machine and its processes, in `/proc`.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context;

/// Waits until other work takes little of the machine, but not for ever.
pub(super) fn wait_until_quiet() {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let before = read("/proc/stat").map(|text| busy_ticks(&text));
        std::thread::sleep(WINDOW);
        let after = read("/proc/stat").map(|text| busy_ticks(&text));
        let (Ok(Some(before)), Ok(Some(after))) = (before, after) else {
            return;
        };
        let busy = percent(after.saturating_sub(before), WINDOW, processors());
        if busy <= QUIET_PERCENT || Instant::now() > deadline {
            return;
        }
    }
}

/// What all programs but this one and its children have used of the processors so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Others {
    ticks: u64,
    at: Instant,
}

impl Others {
    /// Looks now. Children of this program must have ended and been waited for.
    pub(super) fn look() -> Self {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let ticks = processes
            // `self` is not a number, but this program's own folder again.
            .filter(|entry| {
                let id = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
                id.is_some_and(|id| id != std::process::id())
            })
            // One that ends meanwhile is in its parent's count.
            .filter_map(|entry| ticks_with_children(&fs::read_to_string(entry.path().join("stat")).ok()?))
            .sum();
        Self {
            ticks,
            at: Instant::now(),
        }
    }

    /// The share of the machine that others took since, in percent.
    pub(super) fn percent_since(self) -> f64 {
        let now = Self::look();
        percent(
            now.ticks.saturating_sub(self.ticks),
            now.at.duration_since(self.at),
            processors(),
        )
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

/// User and system time of a program, and of its children that ended; none for the kernel's own threads, whose work
/// is mostly the traffic that we make.
fn ticks_with_children(stat: &str) -> Option<u64> {
    let (_, after) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = after.split(' ').collect();
    let flags: u64 = fields.get(6)?.parse().ok()?;
    if flags & KERNEL_THREAD != 0 {
        return None;
    }
    fields
        .get(11..15)?
        .iter()
        .map(|time| time.parse::<u64>().ok())
        .sum()
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

/// The share of all processors that `ticks` are of a time.
#[expect(clippy::cast_precision_loss, reason = "a share, for people")]
fn percent(ticks: u64, time: Duration, processors: usize) -> f64 {
    let seconds = ticks as f64 / TICKS_PER_SECOND;
    100.0 * seconds / (time.as_secs_f64() * processors as f64)
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

/// The share of the machine that other work may take: one with a browser open is below it, one that compiles is not.
pub(super) const QUIET_PERCENT: f64 = 10.0;

/// `PF_KTHREAD` of the kernel's `sched.h`.
const KERNEL_THREAD: u64 = 0x0020_0000;

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
    fn a_share_is_of_all_processors() {
        // Half a second of two processors has 100 ticks.
        let share = percent(15, Duration::from_millis(500), 2);

        assert!((share - 15.0).abs() < 1e-9, "{share}");
    }

    #[test]
    fn a_programs_children_count_with_it_and_the_kernels_threads_do_not_count() {
        let program = "7 (x) S 1 7 7 0 -1 4194560 96 0 0 0 250 150 30 20 20 0 1 0 5 6 7";
        let thread = "9 (kworker/0:1) I 2 0 0 0 -1 69238880 0 0 0 0 0 50 0 0 20 0 1 0 5 6 7";

        assert_eq!(ticks_with_children(program), Some(450));
        assert_eq!(ticks_with_children(thread), None);
        assert_eq!(ticks_with_children("7 (cut off"), None);
    }

    #[test]
    fn memory_is_read_in_decimal_megabytes() {
        let status = "Name:\tx\nVmHWM:\t   10000 kB\nVmRSS:\t    5000 kB\n";

        assert_eq!(megabytes(status, "VmHWM"), Some(10.24));
        assert_eq!(megabytes(status, "VmRSS"), Some(5.12));
        assert_eq!(megabytes(status, "VmSwap"), None);
    }
}
