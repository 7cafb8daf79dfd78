//! What is running.

use super::{Column, Record, Scan, Table, integer, sought, text};
use crate::machine::{Machine, Unreadable};

pub(crate) const PROCESSES: Table = Table {
    name: "processes",
    columns: COLUMNS,
    required: None,
    rows: processes,
};

const COLUMNS: &[Column] = &[
    sought(integer("pid")),
    sought(text("name")),
    sought(text("path")),
    text("cmdline"),
    text("state"),
    integer("uid"),
    integer("gid"),
    integer("euid"),
    integer("egid"),
    integer("on_disk"),
    integer("resident_size"),
    integer("total_size"),
    integer("start_time"),
    integer("parent"),
    integer("pgroup"),
    integer("threads"),
    integer("nice"),
];

fn processes(scan: &Scan<'_>) -> Result<Vec<Record>, Unreadable> {
    let started = scan
        .uses("start_time")
        .then(|| boot_time(scan.machine))
        .flatten();
    let mut records = Vec::new();
    for pid in wanted_pids(scan)? {
        scan.continues()?;
        if let Some(record) = process(scan, pid, started)? {
            records.push(record);
        }
    }
    Ok(records)
}

fn wanted_pids(scan: &Scan<'_>) -> Result<Vec<u32>, Unreadable> {
    match scan.equal("pid") {
        Some(pid) => Ok(pid.parse().into_iter().collect()),
        None => pids(scan.machine),
    }
}

/// Returns the number of every process that can be seen, lowest first.
pub(super) fn pids(machine: &Machine) -> Result<Vec<u32>, Unreadable> {
    let mut pids: Vec<u32> = machine
        .names("/proc")?
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect();
    pids.sort_unstable();
    Ok(pids)
}

/// Returns one process, if it is still there and wanted; only what the query reads is looked up.
fn process(scan: &Scan<'_>, pid: u32, booted: Option<u64>) -> Result<Option<Record>, Unreadable> {
    let machine = scan.machine;
    let Some(stat) = Stat::read(machine, pid).filter(|stat| scan.wants("name", &stat.name)) else {
        return Ok(None);
    };
    let mut record = Record::default()
        .set("pid", pid)
        .set("state", stat.state.as_str())
        .set("parent", stat.number(1))
        .set("pgroup", stat.number(2))
        .set("nice", stat.number(16))
        .set("threads", stat.number(17));

    if let (Some(booted), Some(ticks)) = (booted, stat.number(19)) {
        let since_boot = u64::try_from(ticks).unwrap_or(0) / TICKS_PER_SECOND;
        record = record.set("start_time", booted.saturating_add(since_boot));
    }
    if scan.uses("path") || scan.uses("on_disk") {
        let program = Program::read(machine, pid)?;
        if !scan.wants("path", &program.path) {
            return Ok(None);
        }
        record = record
            .set("on_disk", program.on_disk)
            .set("path", program.path);
    }
    if scan.uses("cmdline") {
        record = record.set("cmdline", command_line(machine, pid));
    }
    if STATUS_COLUMNS.iter().any(|column| scan.uses(column)) {
        let Some(status) = machine.text(&format!("/proc/{pid}/status")).ok().flatten() else {
            return Ok(None);
        };
        record = record
            .set("uid", status_number(&status, "Uid:", 0))
            .set("euid", status_number(&status, "Uid:", 1))
            .set("gid", status_number(&status, "Gid:", 0))
            .set("egid", status_number(&status, "Gid:", 1))
            .set(
                "resident_size",
                status_number(&status, "VmRSS:", 0).map(in_bytes),
            )
            .set(
                "total_size",
                status_number(&status, "VmSize:", 0).map(in_bytes),
            );
    }
    Ok(Some(record.set("name", stat.name)))
}

/// The parts of `/proc/<pid>/stat`.
pub(super) struct Stat {
    pub(super) name: String,
    state: String,
    /// The fields from the state on.
    fields: Vec<String>,
}

impl Stat {
    pub(super) fn read(machine: &Machine, pid: u32) -> Option<Self> {
        let text = machine.text(&format!("/proc/{pid}/stat")).ok().flatten()?;
        // The name may itself hold parentheses and spaces.
        let (before, after) = text.rsplit_once(')')?;
        let (_, name) = before.split_once('(')?;
        let fields: Vec<String> = after.split_whitespace().map(str::to_owned).collect();
        Some(Self {
            name: name.to_owned(),
            state: fields.first()?.clone(),
            fields,
        })
    }

    fn number(&self, position: usize) -> Option<i64> {
        self.fields.get(position)?.parse().ok()
    }
}

/// The file that a process executes.
struct Program {
    path: String,
    /// 1 if it is still there, 0 if it was deleted, -1 if that is unknown.
    on_disk: i64,
}

impl Program {
    fn read(machine: &Machine, pid: u32) -> Result<Self, Unreadable> {
        let target = machine.executable(pid)?;
        let (path, on_disk) = match target.as_deref() {
            None => ("", -1),
            Some(target) => match target.strip_suffix(" (deleted)") {
                Some(path) => (path, 0),
                None => (target, 1),
            },
        };
        Ok(Self {
            path: path.to_owned(),
            on_disk,
        })
    }
}

/// Returns the real user of a process.
pub(super) fn owner(machine: &Machine, pid: u32) -> Option<u32> {
    let status = machine
        .text(&format!("/proc/{pid}/status"))
        .ok()
        .flatten()?;
    status_number(&status, "Uid:", 0)?.try_into().ok()
}

fn status_number(status: &str, key: &str, position: usize) -> Option<u64> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(key))?
        .split_whitespace()
        .nth(position)?
        .parse()
        .ok()
}

fn in_bytes(kibibytes: u64) -> u64 {
    kibibytes.saturating_mul(1024)
}

fn command_line(machine: &Machine, pid: u32) -> String {
    let text = machine.text(&format!("/proc/{pid}/cmdline")).ok().flatten();
    text.unwrap_or_default()
        .trim_end_matches('\0')
        .replace('\0', " ")
}

fn boot_time(machine: &Machine) -> Option<u64> {
    let text = machine.text("/proc/stat").ok().flatten()?;
    text.lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()
}

const STATUS_COLUMNS: [&str; 6] = ["uid", "gid", "euid", "egid", "resident_size", "total_size"];

/// `USER_HZ`, which the kernel fixes for every architecture we run on.
const TICKS_PER_SECOND: u64 = 100;
