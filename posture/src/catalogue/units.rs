//! What systemd runs and what it starts at boot.

use std::collections::BTreeSet;

use super::{Column, Record, Scan, Table, sought, text};
use crate::machine::{Machine, Unreadable};

pub(crate) const SYSTEMD_UNITS: Table = Table {
    name: "systemd_units",
    columns: COLUMNS,
    required: None,
    rows: units,
};

const COLUMNS: &[Column] = &[
    sought(text("id")),
    text("load_state"),
    text("active_state"),
    text("sub_state"),
    text("fragment_path"),
    text("unit_file_state"),
];

/// Returns the units that are active or enabled.
///
/// systemd keeps a link `invocation:<unit>` for as long as a unit is neither
/// inactive nor failed. Where systemd does not run there are no rows.
fn units(scan: &Scan<'_>) -> Result<Vec<Record>, Unreadable> {
    let machine = scan.machine;
    if !machine.exists("/run/systemd/system") {
        return Ok(Vec::new());
    }

    let active: BTreeSet<String> = machine
        .names("/run/systemd/units")?
        .iter()
        .filter_map(|name| name.strip_prefix("invocation:"))
        .map(str::to_owned)
        .collect();
    let enabled = enabled(machine)?;

    let mut records = Vec::new();
    for id in active.union(&enabled).filter(|id| scan.wants("id", id)) {
        scan.continues()?;
        let fragment = fragment(machine, id);
        let is_active = active.contains(id);
        let is_masked = machine
            .link(&format!("/etc/systemd/system/{id}"))
            .as_deref()
            == Some("/dev/null");
        let unit_file_state = match (is_masked, enabled.contains(id)) {
            (true, _) => "masked",
            (false, true) => "enabled",
            (false, false) => "",
        };
        let load_state = match (is_masked, &fragment) {
            (true, _) => "masked",
            (false, Some(_)) => "loaded",
            (false, None) => "",
        };
        records.push(
            Record::default()
                .set("id", id.as_str())
                .set("load_state", load_state)
                .set(
                    "active_state",
                    if is_active { "active" } else { "inactive" },
                )
                .set("sub_state", sub_state(machine, id, is_active))
                .set("fragment_path", fragment.unwrap_or_default())
                .set("unit_file_state", unit_file_state),
        );
    }
    Ok(records)
}

/// Returns the units that another unit pulls in by the administrator's choice.
fn enabled(machine: &Machine) -> Result<BTreeSet<String>, Unreadable> {
    let mut enabled = BTreeSet::new();
    for directory in machine.names(ADMINISTRATORS)? {
        if directory.ends_with(".wants") || directory.ends_with(".requires") {
            enabled.extend(machine.names(&format!("{ADMINISTRATORS}/{directory}"))?);
        }
    }
    Ok(enabled)
}

fn fragment(machine: &Machine, id: &str) -> Option<String> {
    [
        ADMINISTRATORS,
        "/run/systemd/system",
        "/usr/lib/systemd/system",
        "/lib/systemd/system",
    ]
    .iter()
    .map(|directory| format!("{directory}/{id}"))
    .find(|path| machine.exists(path))
}

/// Tells a service with processes from one that did its work and left; empty where that is unknown.
fn sub_state(machine: &Machine, id: &str, is_active: bool) -> &'static str {
    if !is_active {
        return "dead";
    }
    if !id.ends_with(".service") || !machine.exists("/sys/fs/cgroup/system.slice/cgroup.events") {
        return "";
    }
    let events = machine.text(&format!("/sys/fs/cgroup/system.slice/{id}/cgroup.events"));
    match events {
        Ok(Some(events)) if events.lines().any(|line| line == "populated 1") => "running",
        Ok(_) => "exited",
        Err(_) => "",
    }
}

const ADMINISTRATORS: &str = "/etc/systemd/system";
