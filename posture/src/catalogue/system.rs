//! The machine and its operating system.

use super::{Column, Record, Scan, Table, assignments, integer, text};
use crate::machine::Unreadable;

pub(crate) const OS_VERSION: Table = Table {
    name: "os_version",
    columns: OS_COLUMNS,
    required: None,
    rows: os_version,
};

pub(crate) const UPTIME: Table = Table {
    name: "uptime",
    columns: UPTIME_COLUMNS,
    required: None,
    rows: uptime,
};

pub(crate) const KERNEL_INFO: Table = Table {
    name: "kernel_info",
    columns: KERNEL_COLUMNS,
    required: None,
    rows: |scan| Ok(kernel_info(scan).into_iter().collect()),
};

pub(crate) const SYSTEM_INFO: Table = Table {
    name: "system_info",
    columns: SYSTEM_COLUMNS,
    required: None,
    rows: system_info,
};

pub(crate) const SECUREBOOT: Table = Table {
    name: "secureboot",
    columns: SECUREBOOT_COLUMNS,
    required: None,
    rows: secureboot,
};

const OS_COLUMNS: &[Column] = &[
    text("name"),
    text("version"),
    integer("major"),
    integer("minor"),
    integer("patch"),
    text("build"),
    text("platform"),
    text("platform_like"),
    text("codename"),
    text("arch"),
    text("extra"),
];

const UPTIME_COLUMNS: &[Column] = &[
    integer("days"),
    integer("hours"),
    integer("minutes"),
    integer("seconds"),
    integer("total_seconds"),
];

const KERNEL_COLUMNS: &[Column] = &[
    text("version"),
    text("arguments"),
    text("path"),
    text("device"),
];

const SYSTEM_COLUMNS: &[Column] = &[
    text("hostname"),
    text("uuid"),
    text("cpu_brand"),
    integer("cpu_logical_cores"),
    integer("physical_memory"),
    text("hardware_vendor"),
    text("hardware_model"),
    text("hardware_version"),
    text("hardware_serial"),
    text("computer_name"),
    text("local_hostname"),
];

const SECUREBOOT_COLUMNS: &[Column] = &[integer("secure_boot"), integer("setup_mode")];

/// Reads os-release(5).
fn os_version(scan: &Scan<'_>) -> Result<Vec<Record>, Unreadable> {
    let release = match scan.machine.text("/etc/os-release")? {
        Some(text) => Some(text),
        None => scan.machine.text("/usr/lib/os-release")?,
    };
    let Some(release) = release else {
        return Ok(Vec::new());
    };

    let value = |key: &str| {
        assignments(&release)
            .filter(|(name, _)| *name == key)
            .last()
            .map_or("", |(_, value)| value)
    };
    let mut numbers = value("VERSION_ID")
        .split('.')
        .map(|part| part.parse::<i64>().ok());
    let mut number = || numbers.next().flatten();
    let record = Record::default()
        .set("name", value("NAME"))
        .set("version", value("VERSION"))
        .set("major", number())
        .set("minor", number().unwrap_or(0))
        .set("patch", number().unwrap_or(0))
        .set("build", value("BUILD_ID"))
        .set("platform", value("ID"))
        .set("platform_like", value("ID_LIKE"))
        .set("codename", value("VERSION_CODENAME"))
        .set("arch", scan.machine.line("/proc/sys/kernel/arch"))
        .set("extra", value("VARIANT"));
    Ok(vec![record])
}

fn uptime(scan: &Scan<'_>) -> Result<Vec<Record>, Unreadable> {
    let text = scan.machine.text("/proc/uptime")?.unwrap_or_default();
    let whole = text.split(['.', ' ']).next().unwrap_or_default();
    let Ok(seconds) = whole.parse::<u64>() else {
        return Ok(Vec::new());
    };

    let record = Record::default()
        .set("days", seconds / 86_400)
        .set("hours", seconds / 3600 % 24)
        .set("minutes", seconds / 60 % 60)
        .set("seconds", seconds % 60)
        .set("total_seconds", seconds);
    Ok(vec![record])
}

fn kernel_info(scan: &Scan<'_>) -> Option<Record> {
    let version = scan.machine.line("/proc/sys/kernel/osrelease");
    if version.is_empty() {
        return None;
    }

    let command_line = scan.machine.line("/proc/cmdline");
    let argument = |key: &str| {
        command_line
            .split_whitespace()
            .find_map(|word| word.strip_prefix(key))
    };
    let arguments: Vec<&str> = command_line
        .split_whitespace()
        .filter(|word| !word.starts_with("BOOT_IMAGE=") && !word.starts_with("root="))
        .collect();
    let record = Record::default()
        .set("version", version)
        .set("arguments", arguments.join(" "))
        .set("path", argument("BOOT_IMAGE=").unwrap_or_default())
        .set("device", argument("root=").unwrap_or_default());
    Some(record)
}

fn system_info(scan: &Scan<'_>) -> Result<Vec<Record>, Unreadable> {
    let machine = scan.machine;
    let hostname = machine.line("/proc/sys/kernel/hostname");
    let processors = machine.text("/proc/cpuinfo")?.unwrap_or_default();
    if hostname.is_empty() && processors.is_empty() {
        return Ok(Vec::new());
    }

    let brand = processors
        .lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split_once(':'))
        .map_or("", |(_, brand)| brand.trim());
    let cores = processors
        .lines()
        .filter(|line| {
            line.split(':')
                .next()
                .is_some_and(|key| key.trim() == "processor")
        })
        .count();
    let memory = machine.text("/proc/meminfo")?.unwrap_or_default();
    let kibibytes = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    let dmi = |name: &str| machine.line(&format!("/sys/class/dmi/id/{name}"));

    let record = Record::default()
        .set("hostname", hostname.as_str())
        .set("uuid", dmi("product_uuid"))
        .set("cpu_brand", brand)
        .set(
            "cpu_logical_cores",
            u64::try_from(cores).unwrap_or(u64::MAX),
        )
        .set(
            "physical_memory",
            kibibytes.map(|kib| kib.saturating_mul(1024)),
        )
        .set("hardware_vendor", dmi("sys_vendor"))
        .set("hardware_model", dmi("product_name"))
        .set("hardware_version", dmi("product_version"))
        .set("hardware_serial", dmi("product_serial"))
        .set("computer_name", hostname.as_str())
        .set("local_hostname", hostname.as_str());
    Ok(vec![record])
}

/// Reads the firmware's variables; there are none where it is not UEFI.
fn secureboot(scan: &Scan<'_>) -> Result<Vec<Record>, Unreadable> {
    let variable = |name: &str| -> Result<Option<bool>, Unreadable> {
        let path = format!("/sys/firmware/efi/efivars/{name}-{GLOBAL_VARIABLES}");
        let content = scan.machine.bytes(&path, 64)?;
        // Four bytes of attributes, then the value.
        Ok(content.and_then(|bytes| bytes.get(4).map(|byte| *byte == 1)))
    };

    let Some(secure_boot) = variable("SecureBoot")? else {
        return Ok(Vec::new());
    };
    let record = Record::default()
        .set("secure_boot", secure_boot)
        .set("setup_mode", variable("SetupMode")?);
    Ok(vec![record])
}

/// `EFI_GLOBAL_VARIABLE` (UEFI 2.10 §3.3).
const GLOBAL_VARIABLES: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
