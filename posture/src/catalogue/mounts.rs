//! What is mounted where.

use super::block::BlockDevices;
use super::{Column, Record, Table, sought, text};
use crate::machine::Machine;

pub(crate) const MOUNTS: Table = Table {
    name: "mounts",
    columns: COLUMNS,
    required: None,
    rows: |scan| {
        let text = scan.machine.text("/proc/self/mounts")?.unwrap_or_default();
        let devices = if scan.uses("device_alias") {
            BlockDevices::read(scan.machine)?
        } else {
            BlockDevices::default()
        };
        let records = parse(&text)
            .filter(|mount| scan.wants("path", &mount.path) && scan.wants("device", &mount.device))
            .map(|mount| {
                Record::default()
                    .set("device_alias", alias(scan.machine, &devices, &mount.device))
                    .set("device", mount.device)
                    .set("path", mount.path)
                    .set("type", mount.kind)
                    .set("flags", mount.flags)
            })
            .collect();
        Ok(records)
    },
};

const COLUMNS: &[Column] = &[
    sought(text("device")),
    text("device_alias"),
    sought(text("path")),
    text("type"),
    text("flags"),
];

#[derive(Debug, PartialEq, Eq)]
struct Mount {
    device: String,
    path: String,
    kind: String,
    flags: String,
}

fn parse(text: &str) -> impl Iterator<Item = Mount> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(' ').map(unescaped);
        Some(Mount {
            device: fields.next()?,
            path: fields.next().filter(|path| path.starts_with('/'))?,
            kind: fields.next()?,
            flags: fields.next()?,
        })
    })
}

/// Undoes the kernel's octal escapes (`\040` for a space).
fn unescaped(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = match (first, after) {
            (
                b'\\',
                [
                    high @ b'0'..=b'3',
                    middle @ b'0'..=b'7',
                    low @ b'0'..=b'7',
                    ..,
                ],
            ) => Some((high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0')),
            _ => None,
        };
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns the kernel's own path of a device that was mounted under another.
fn alias(machine: &Machine, devices: &BlockDevices, device: &str) -> String {
    if let Some(name) = device.strip_prefix("/dev/mapper/") {
        return devices.mapped(name).unwrap_or_else(|| device.to_owned());
    }
    let target = device
        .starts_with("/dev/")
        .then(|| machine.link(device))
        .flatten();
    target
        .as_deref()
        .and_then(|target| target.rsplit('/').next())
        .map_or_else(|| device.to_owned(), |name| format!("/dev/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_and_what_is_no_mount_is_left_out() {
        let text = "/dev/sda1 /a\\040b\\134 ext4 rw 0 0\n\nbroken\n/dev/sdb relative ext4 rw 0 0\n\
                    x /end\\04 t f";

        let read: Vec<_> = parse(text).map(|mount| mount.path).collect();

        assert_eq!(read, ["/a b\\", "/end\\04"]);
    }

    #[test]
    fn no_text_stops_the_parser() {
        let seed = crate::catalogue::gvdb::tests::seed();
        let mut random = crate::catalogue::gvdb::tests::Random::new(seed);
        let alphabet: Vec<char> = "/\\0134 89 \n\tä\0".chars().collect();

        for _ in 0..2000 {
            let text: String = (0..random.below(200))
                .map(|_| alphabet[random.below(alphabet.len())])
                .collect();
            for mount in parse(&text) {
                assert!(mount.path.starts_with('/'), "seed {seed}: {text:?}");
            }
        }
    }
}
