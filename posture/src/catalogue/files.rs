//! Single files: what they are, and the settings in some of them.

use std::time::UNIX_EPOCH;

use super::{Column, Record, Scan, Table, assignments, integer, sought, text};
use crate::machine::Unreadable;

pub(crate) const FILE: Table = Table {
    name: "file",
    columns: FILE_COLUMNS,
    required: Some("path"),
    rows: file,
};

pub(crate) const AUGEAS: Table = Table {
    name: "augeas",
    columns: AUGEAS_COLUMNS,
    required: Some("path"),
    rows: settings,
};

const FILE_COLUMNS: &[Column] = &[
    sought(text("path")),
    text("directory"),
    text("filename"),
    integer("uid"),
    integer("gid"),
    text("mode"),
    integer("size"),
    integer("mtime"),
    integer("symlink"),
    text("type"),
];

const AUGEAS_COLUMNS: &[Column] = &[
    text("node"),
    text("value"),
    text("label"),
    sought(text("path")),
];

fn file(scan: &Scan<'_>) -> Result<Vec<Record>, Unreadable> {
    let Some(path) = scan.equal("path").filter(|path| path.starts_with('/')) else {
        return Ok(Vec::new());
    };
    let Some(metadata) = scan.machine.metadata(path)? else {
        return Ok(Vec::new());
    };

    let ownership = scan.machine.ownership(&metadata);
    let wants_ownership = ["uid", "gid", "mode"]
        .iter()
        .any(|column| scan.uses(column));
    if wants_ownership && ownership.is_none() {
        return Err(Unreadable::new(
            path,
            "owners and modes are not known on this system",
        ));
    }
    let kind = match (metadata.is_file(), metadata.is_dir()) {
        (true, _) => "regular",
        (_, true) => "directory",
        _ => "special",
    };
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let changed = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());

    let record = Record::default()
        .set("path", path)
        .set(
            "directory",
            if directory.is_empty() { "/" } else { directory },
        )
        .set("filename", name)
        .set("uid", ownership.map(|ownership| ownership.uid))
        .set("gid", ownership.map(|ownership| ownership.gid))
        .set(
            "mode",
            ownership.map(|ownership| format!("{:04o}", ownership.mode & 0o7777)),
        )
        .set("size", metadata.len())
        .set("mtime", changed.map(|since| since.as_secs()))
        .set("symlink", scan.machine.link(path).is_some())
        .set("type", kind);
    Ok(vec![record])
}

/// Returns the settings of one file of shell assignments.
///
/// Only files known to hold settings and no secrets are read, as a check's
/// evidence leaves the device.
fn settings(scan: &Scan<'_>) -> Result<Vec<Record>, Unreadable> {
    let path = scan.equal("path").unwrap_or_default();
    let in_defaults = path
        .strip_prefix("/etc/default/")
        .is_some_and(|name| !name.contains('/'));
    if !in_defaults && !SETTINGS.contains(&path) {
        return Err(Unreadable::new(
            path,
            "the settings in this file are not known here",
        ));
    }

    let text = scan.machine.text(path)?.unwrap_or_default();
    let records = assignments(&text)
        .map(|(key, value)| {
            Record::default()
                .set("node", format!("/files{path}/{key}"))
                .set("value", value)
                .set("label", key)
                .set("path", path)
        })
        .collect();
    Ok(records)
}

const SETTINGS: [&str; 2] = ["/etc/selinux/config", "/etc/ufw/ufw.conf"];
