//! The checks that every device starts with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use connector_core::posture::{Check, Platform};

/// Returns the first set of checks, until the control plane sends others.
#[must_use]
pub fn builtin_checks() -> Vec<Check> {
    vec![
        os_version(),
        disk_encryption(),
        firewall(),
        screen_lock(),
        forbidden_process(),
        uptime(),
    ]
}

fn os_version() -> Check {
    Check {
        id: "os-version".into(),
        title: "The operating system still receives security updates".into(),
        sql: queries(
            include_str!("builtin/os_version.linux.sql"),
            include_str!("builtin/os_version.darwin.sql"),
            include_str!("builtin/os_version.windows.sql"),
        ),
        remedy: "Upgrade the operating system to a release that its maker still supports, \
                     with the system's own updater."
            .into(),
        interval: HOUR,
        max_age: HOUR * 3,
    }
}

fn disk_encryption() -> Check {
    Check {
        id: "disk-encryption".into(),
        title: "The system disk is encrypted".into(),
        sql: queries(
            include_str!("builtin/disk_encryption.linux.sql"),
            include_str!("builtin/disk_encryption.darwin.sql"),
            include_str!("builtin/disk_encryption.windows.sql"),
        ),
        remedy: "Switch on FileVault (macOS: System Settings, Privacy & Security) or BitLocker \
                     (Windows: Settings, Privacy & security). Linux is encrypted when it is \
                     installed: ask your administrator how to move to an encrypted disk."
            .into(),
        interval: MINUTE * 10,
        max_age: MINUTE * 30,
    }
}

fn firewall() -> Check {
    Check {
        id: "firewall".into(),
        title: "A firewall is switched on".into(),
        sql: queries(
            include_str!("builtin/firewall.linux.sql"),
            include_str!("builtin/firewall.darwin.sql"),
            include_str!("builtin/firewall.windows.sql"),
        ),
        remedy: "Switch the firewall on. Ubuntu and Debian: `sudo ufw enable`; Fedora: `sudo \
                     systemctl enable --now firewalld`; macOS: System Settings, Network, Firewall; \
                     Windows: Windows Security, Firewall & network protection."
            .into(),
        interval: MINUTE / 2,
        max_age: MINUTE * 2,
    }
}

fn screen_lock() -> Check {
    Check {
        id: "screen-lock".into(),
        title: "The screen locks itself within a minute of going dark".into(),
        sql: queries(
            include_str!("builtin/screen_lock.sql"),
            include_str!("builtin/screen_lock.sql"),
            include_str!("builtin/screen_lock.windows.sql"),
        ),
        remedy: "Let the screen lock by itself and ask for the password at once. GNOME: \
                     Settings, Privacy & Security, Screen Lock; KDE: System Settings, Screen \
                     Locking; macOS: System Settings, Lock Screen; Windows: ask your administrator \
                     to set the machine's inactivity limit."
            .into(),
        interval: MINUTE / 2,
        max_age: MINUTE * 2,
    }
}

fn forbidden_process() -> Check {
    Check {
        id: "forbidden-process".into(),
        title: "No remote-control program is running".into(),
        sql: queries(
            include_str!("builtin/forbidden_process.linux.sql"),
            include_str!("builtin/forbidden_process.other.sql"),
            include_str!("builtin/forbidden_process.other.sql"),
        ),
        remedy: "Quit the program that is named, and remove it if it starts by itself.".into(),
        interval: MINUTE / 4,
        max_age: MINUTE,
    }
}

fn uptime() -> Check {
    Check {
        id: "uptime".into(),
        title: "The machine was restarted within the last 30 days".into(),
        sql: queries(UPTIME, UPTIME, UPTIME),
        remedy: "Restart the machine, so that installed updates take effect.".into(),
        interval: HOUR,
        max_age: HOUR * 3,
    }
}

fn queries(linux: &str, darwin: &str, windows: &str) -> BTreeMap<Platform, Arc<str>> {
    BTreeMap::from([
        (Platform::Darwin, darwin.into()),
        (Platform::Linux, linux.into()),
        (Platform::Windows, windows.into()),
    ])
}

const UPTIME: &str = include_str!("builtin/uptime.sql");
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_check_is_complete_on_every_platform() {
        let checks = builtin_checks();

        let ids: BTreeSet<&str> = checks.iter().map(|check| check.id.as_str()).collect();
        assert_eq!(ids.len(), checks.len());
        for check in &checks {
            assert_eq!(check.sql.len(), 3, "{}", check.id);
            assert!(
                check.max_age >= check.interval * 2,
                "{} would lapse between two measurements",
                check.id
            );
            assert!(
                check.remedy.ends_with('.') && !check.title.ends_with('.'),
                "{}",
                check.id
            );
        }
    }

    #[test]
    fn every_text_is_where_front_ends_look_for_its_translation() {
        let known = include_str!("../../connector-ui/locales/en/service.ftl");
        let known: BTreeSet<&str> = known
            .lines()
            .filter_map(|line| Some(line.split_once(" = ")?.1))
            .collect();

        for check in builtin_checks() {
            for text in [&check.title, &check.remedy] {
                assert!(known.contains(&**text), "{text}");
            }
        }
    }

    #[test]
    fn the_queries_for_osquery_alone_are_sound_sql() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE alf(global_state);
                 CREATE TABLE bitlocker_info(drive_letter, conversion_status, protection_status);
                 CREATE TABLE disk_encryption(user_uuid, filevault_status);
                 CREATE TABLE os_version(name, version, major, build);
                 CREATE TABLE processes(pid, name);
                 CREATE TABLE registry(path, data);
                 CREATE TABLE screenlock(enabled, grace_period);
                 CREATE TABLE uptime(total_seconds, days, hours);
                 CREATE TABLE windows_security_center(firewall);",
            )
            .unwrap();

        for check in builtin_checks() {
            for platform in [Platform::Darwin, Platform::Windows] {
                let statement = connection.prepare(&check.sql[&platform]).unwrap();
                assert_eq!(
                    statement.column_names().collect::<Vec<_>>(),
                    ["pass", "evidence"],
                    "{} {platform:?}",
                    check.id
                );
            }
        }
    }
}
