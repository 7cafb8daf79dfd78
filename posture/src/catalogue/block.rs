//! Disks, what they are stacked on, and whether that is encrypted.

use std::collections::BTreeMap;

use super::{Column, Record, Scan, Table, integer, sought, text};
use crate::machine::{Machine, Unreadable};

pub(crate) const BLOCK_DEVICES: Table = Table {
    name: "block_devices",
    columns: BLOCK_COLUMNS,
    required: None,
    rows: |scan| {
        let devices = BlockDevices::read(scan.machine)?;
        Ok(wanted(&devices, scan)
            .map(|name| devices.record(scan.machine, name))
            .collect())
    },
};

pub(crate) const DISK_ENCRYPTION: Table = Table {
    name: "disk_encryption",
    columns: ENCRYPTION_COLUMNS,
    required: None,
    rows: |scan| {
        let devices = BlockDevices::read(scan.machine)?;
        Ok(wanted(&devices, scan)
            .map(|name| devices.encryption_record(name))
            .collect())
    },
};

const BLOCK_COLUMNS: &[Column] = &[
    sought(text("name")),
    text("parent"),
    text("vendor"),
    text("model"),
    integer("size"),
    integer("block_size"),
    text("uuid"),
    text("type"),
    text("label"),
];

const ENCRYPTION_COLUMNS: &[Column] = &[
    sought(text("name")),
    text("uuid"),
    integer("encrypted"),
    text("type"),
    text("encryption_status"),
    text("uid"),
    text("user_uuid"),
    text("filevault_status"),
];

fn wanted<'a>(devices: &'a BlockDevices, scan: &'a Scan<'_>) -> impl Iterator<Item = &'a str> {
    devices
        .by_name
        .keys()
        .map(String::as_str)
        .filter(|name| scan.wants("name", &format!("/dev/{name}")))
}

/// Every block device by the kernel's name for it, such as `dm-0`.
#[derive(Debug, Default)]
pub(super) struct BlockDevices {
    by_name: BTreeMap<String, BlockDevice>,
    /// The members of each btrfs file system.
    btrfs: Vec<Vec<String>>,
}

#[derive(Debug, Default)]
struct BlockDevice {
    directory: String,
    /// The disk that this is a partition of.
    parent: Option<String>,
    /// The devices that this one stores its data on.
    slaves: Vec<String>,
    mapper: Option<Mapped>,
}

/// What the device mapper says about a device of its own.
#[derive(Debug, Default)]
struct Mapped {
    name: String,
    uuid: String,
}

/// What is known about the data at rest on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Encryption {
    Encrypted { uuid: String, kind: String },
    None,
    Undefined,
}

impl BlockDevices {
    pub(super) fn read(machine: &Machine) -> Result<Self, Unreadable> {
        let mut devices = Self::default();
        for name in machine.names("/sys/block")? {
            let directory = format!("/sys/block/{name}");
            for part in machine.names(&directory)? {
                let within = format!("{directory}/{part}");
                if machine.exists(&format!("{within}/partition")) {
                    let device = BlockDevice {
                        directory: within,
                        parent: Some(name.clone()),
                        ..BlockDevice::default()
                    };
                    devices.by_name.insert(part, device);
                }
            }
            let device = BlockDevice {
                slaves: machine.names(&format!("{directory}/slaves"))?,
                mapper: machine.exists(&format!("{directory}/dm")).then(|| Mapped {
                    name: machine.line(&format!("{directory}/dm/name")),
                    uuid: machine.line(&format!("{directory}/dm/uuid")),
                }),
                directory,
                parent: None,
            };
            devices.by_name.insert(name, device);
        }
        for uuid in machine.names("/sys/fs/btrfs")? {
            devices
                .btrfs
                .push(machine.names(&format!("/sys/fs/btrfs/{uuid}/devices"))?);
        }
        Ok(devices)
    }

    /// Returns the path of the device that the device mapper calls `name`.
    pub(super) fn mapped(&self, name: &str) -> Option<String> {
        self.by_name
            .iter()
            .find(|(_, device)| {
                device
                    .mapper
                    .as_ref()
                    .is_some_and(|mapper| mapper.name == name)
            })
            .map(|(kernel_name, _)| format!("/dev/{kernel_name}"))
    }

    /// Returns how `name` is encrypted. A file system over several devices is
    /// only as encrypted as all of them.
    fn encryption(&self, name: &str) -> Encryption {
        let own = self.encryption_below(name, MAX_STACK);
        let is_shared_with_plain = self
            .btrfs
            .iter()
            .filter(|members| members.iter().any(|member| member == name))
            .flatten()
            .any(|member| {
                !matches!(
                    self.encryption_below(member, MAX_STACK),
                    Encryption::Encrypted { .. }
                )
            });

        if is_shared_with_plain && own != Encryption::None {
            Encryption::Undefined
        } else {
            own
        }
    }

    fn encryption_below(&self, name: &str, depth: usize) -> Encryption {
        let Some(device) = self.by_name.get(name).filter(|_| depth > 0) else {
            return Encryption::Undefined;
        };
        if let Some(mapper) = &device.mapper {
            if mapper.uuid.is_empty() && device.slaves.is_empty() {
                return Encryption::Undefined;
            }
            if let Some(encrypted) = encrypted_as(&mapper.uuid) {
                return encrypted;
            }
        }
        if let Some(parent) = &device.parent {
            return self.encryption_below(parent, depth - 1);
        }

        let mut weakest = None;
        for slave in &device.slaves {
            weakest = match (weakest, self.encryption_below(slave, depth - 1)) {
                (_, Encryption::None) => return Encryption::None,
                (Some(Encryption::Undefined), _) => Some(Encryption::Undefined),
                (_, below) => Some(below),
            };
        }
        match weakest {
            Some(weakest) => weakest,
            None if is_backed_elsewhere(name) => Encryption::Undefined,
            None => Encryption::None,
        }
    }

    fn encryption_record(&self, name: &str) -> Record {
        let encryption = self.encryption(name);
        let status = match &encryption {
            Encryption::Encrypted { .. } => "encrypted",
            Encryption::None => "not encrypted",
            Encryption::Undefined => "undefined",
        };
        let record = Record::default()
            .set("name", format!("/dev/{name}"))
            .set("encrypted", status == "encrypted")
            .set("encryption_status", status);
        match encryption {
            Encryption::Encrypted { uuid, kind } => record.set("uuid", uuid).set("type", kind),
            Encryption::None | Encryption::Undefined => record,
        }
    }

    fn record(&self, machine: &Machine, name: &str) -> Record {
        let Some(device) = self.by_name.get(name) else {
            return Record::default();
        };
        let at = |attribute: &str| machine.line(&format!("{}/{attribute}", device.directory));
        let disk = device.parent.as_deref().unwrap_or(name);
        let block_size = machine.line(&format!("/sys/block/{disk}/queue/logical_block_size"));
        let udev = machine
            .text(&format!("/run/udev/data/b{}", at("dev")))
            .ok()
            .flatten()
            .unwrap_or_default();
        let property = |key: &str| {
            udev.lines().find_map(|line| {
                line.strip_prefix("E:")?
                    .strip_prefix(key)?
                    .strip_prefix('=')
            })
        };
        let parent = device.parent.as_ref().or_else(|| device.slaves.first());

        Record::default()
            .set("name", format!("/dev/{name}"))
            .set("parent", parent.map(|parent| format!("/dev/{parent}")))
            .set("vendor", at("device/vendor"))
            .set("model", at("device/model"))
            .set("size", at("size").parse::<u64>().ok())
            .set("block_size", block_size.parse::<u64>().ok())
            .set("uuid", property("ID_FS_UUID"))
            .set("type", property("ID_FS_TYPE"))
            .set("label", property("ID_FS_LABEL"))
    }
}

/// Reads cryptsetup's mark on a device, `CRYPT-LUKS2-<uuid>-<name>`.
///
/// Verity and integrity devices bear a similar mark and encrypt nothing.
fn encrypted_as(mark: &str) -> Option<Encryption> {
    let (kind, rest) = mark.strip_prefix("CRYPT-")?.split_once('-')?;
    CIPHERING.contains(&kind).then(|| Encryption::Encrypted {
        uuid: hyphenated(rest.split('-').next().unwrap_or_default()),
        kind: kind.to_ascii_lowercase(),
    })
}

fn hyphenated(digits: &str) -> String {
    if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return String::new();
    }
    [0..8, 8..12, 12..16, 16..20, 20..32]
        .map(|range| &digits[range])
        .join("-")
}

/// Tells devices whose data lies in a file or on another machine.
fn is_backed_elsewhere(name: &str) -> bool {
    ["loop", "nbd", "rbd"]
        .iter()
        .any(|kind| name.starts_with(kind))
}

/// The types of cryptsetup's that encipher what they store.
const CIPHERING: [&str; 7] = [
    "BITLK", "FVAULT2", "LOOPAES", "LUKS1", "LUKS2", "PLAIN", "TCRYPT",
];

/// Deeper than anyone stacks devices; ends a loop in a damaged tree.
const MAX_STACK: usize = 16;
