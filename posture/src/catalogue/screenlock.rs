//! Whether the screen locks itself when its person walks away.
//!
//! osquery has this table on macOS alone. Here it has a row for each desktop
//! session that is running; absent values mean that its settings cannot be
//! read or relied on.

use super::gvdb::{Database, Malformed};
use super::processes::{Stat, owner, pids};
use super::{Column, Record, Table, accounts, integer};
use crate::machine::{Machine, ScreenLock, ScreenLocks, Unreadable};

pub(crate) const SCREENLOCK: Table = Table {
    name: "screenlock",
    columns: COLUMNS,
    required: None,
    rows: |scan| {
        let locks = match scan.machine.told_screen_locks()? {
            Some(told) => told,
            None => read(scan.machine, || scan.continues())?,
        };
        let record = |lock: Option<ScreenLock>| {
            Record::default()
                .set("enabled", lock.map(|lock| lock.is_enabled))
                .set("grace_period", lock.map(|lock| lock.grace_seconds))
        };
        Ok(locks.into_iter().map(record).collect())
    },
};

const COLUMNS: &[Column] = &[integer("enabled"), integer("grace_period")];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Desktop {
    Gnome,
    Plasma,
}

/// Reads how the screens of all desktop sessions lock, for as long as this `continues`.
pub(crate) fn read(
    machine: &Machine,
    continues: impl Fn() -> Result<(), Unreadable>,
) -> Result<ScreenLocks, Unreadable> {
    let mut locks = Vec::new();
    for (uid, desktop) in sessions(machine, continues)? {
        locks.push(home(machine, uid)?.and_then(|home| {
            match desktop {
                Desktop::Gnome => gnome(machine, &home),
                Desktop::Plasma => plasma(machine, &home),
            }
            .ok()
        }));
    }
    Ok(locks)
}

/// Returns who runs a desktop whose settings are known, once per desktop.
fn sessions(
    machine: &Machine,
    continues: impl Fn() -> Result<(), Unreadable>,
) -> Result<Vec<(u32, Desktop)>, Unreadable> {
    let mut sessions = Vec::new();
    for pid in pids(machine)? {
        continues()?;
        let desktop = match Stat::read(machine, pid)
            .as_ref()
            .map(|stat| stat.name.as_str())
        {
            Some("gnome-shell") => Desktop::Gnome,
            Some("plasmashell") => Desktop::Plasma,
            _ => continue,
        };
        let Some(uid) = owner(machine, pid).filter(|uid| is_person(*uid)) else {
            continue;
        };
        if !sessions.contains(&(uid, desktop)) {
            sessions.push((uid, desktop));
        }
    }
    Ok(sessions)
}

/// Tells people from system accounts and the users that systemd invents, under
/// which the login screen runs a desktop of its own (systemd's UIDS-GIDS).
fn is_person(uid: u32) -> bool {
    (1000..60_514).contains(&uid) || uid > 65_535
}

fn home(machine: &Machine, uid: u32) -> Result<Option<String>, Unreadable> {
    let accounts = accounts::accounts(machine)?;
    Ok(accounts
        .into_iter()
        .find(|account| account.uid == uid)
        .map(|account| account.directory))
}

/// Reads GNOME's settings, which are its defaults where dconf sets nothing.
fn gnome(machine: &Machine, home: &str) -> Result<ScreenLock, Unreadable> {
    let sources = dconf_sources(machine, home)?;
    let mut files = Vec::new();
    for path in &sources {
        if let Some(bytes) = machine.bytes(path, MAX_DCONF)? {
            files.push((path.as_str(), bytes));
        }
    }
    let mut databases = Vec::new();
    for (path, bytes) in &files {
        let database =
            Database::open(bytes).map_err(|why| Unreadable::new(path, &why.to_string()))?;
        databases.push((*path, database));
    }

    let settings = Settings { databases };
    let locks = settings
        .find(LOCK_ENABLED, Database::boolean)?
        .unwrap_or(true);
    let is_forbidden = settings
        .find(LOCK_FORBIDDEN, Database::boolean)?
        .unwrap_or(false);
    let idle = settings
        .find(IDLE_DELAY, Database::unsigned)?
        .unwrap_or(300);
    Ok(ScreenLock {
        is_enabled: locks && !is_forbidden && idle > 0,
        grace_seconds: settings.find(LOCK_DELAY, Database::unsigned)?.unwrap_or(0),
    })
}

/// Returns dconf's databases in the order of their precedence (dconf(7)).
fn dconf_sources(machine: &Machine, home: &str) -> Result<Vec<String>, Unreadable> {
    let user = format!("{home}/.config/dconf/user");
    let Some(profile) = machine.text("/etc/dconf/profile/user")? else {
        return Ok(vec![user]);
    };

    let mut sources = Vec::new();
    for line in profile
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
    {
        match line.split_once(':') {
            None if line.is_empty() => {}
            Some(("user-db", "user")) => sources.push(user.clone()),
            Some(("system-db", name)) => sources.push(format!("/etc/dconf/db/{name}")),
            Some(("file-db", path)) => sources.push(path.to_owned()),
            _ => {
                return Err(Unreadable::new(
                    "/etc/dconf/profile/user",
                    "it names an unknown source",
                ));
            }
        }
    }
    Ok(sources)
}

/// dconf's databases, the most particular first.
struct Settings<'a> {
    databases: Vec<(&'a str, Database<'a>)>,
}

impl<'a> Settings<'a> {
    /// Returns the value in force at `path`: the most particular one, but
    /// none more particular than a database that locks it.
    fn find<T>(
        &self,
        path: &str,
        read: impl Fn(&Database<'a>, &str) -> Result<Option<T>, Malformed>,
    ) -> Result<Option<T>, Unreadable> {
        let mut found = None;
        for (file, database) in self.databases.iter().rev() {
            let damaged = |why: Malformed| Unreadable::new(file, &why.to_string());
            if let Some(value) = read(database, path).map_err(damaged)? {
                found = Some(value);
            }
            if database.locks(path).map_err(damaged)? {
                break;
            }
        }
        Ok(found)
    }
}

/// Reads Plasma's settings, which are its defaults where no file sets anything.
fn plasma(machine: &Machine, home: &str) -> Result<ScreenLock, Unreadable> {
    let general = machine
        .text("/etc/xdg/kscreenlockerrc")?
        .unwrap_or_default();
    let own = machine
        .text(&format!("{home}/.config/kscreenlockerrc"))?
        .unwrap_or_default();
    let value = |key: &str, default: u32| -> Result<u32, Unreadable> {
        let general = daemon_setting(&general, key);
        let own = daemon_setting(&own, key).filter(|_| !general.is_some_and(|(_, fixed)| fixed));
        match own.or(general) {
            None => Ok(default),
            Some(("true", _)) => Ok(1),
            Some(("false", _)) => Ok(0),
            Some((number, _)) => number
                .parse()
                .map_err(|_| Unreadable::new("kscreenlockerrc", &format!("{key} is no number"))),
        }
    };

    Ok(ScreenLock {
        is_enabled: value("Autolock", 1)? > 0 && value("Timeout", 5)? > 0,
        grace_seconds: value("LockGrace", 5)?,
    })
}

/// Returns the last value of `key` in the group `Daemon`, and whether it is
/// marked `[$i]`, which keeps more particular files from changing it.
fn daemon_setting<'a>(text: &'a str, key: &str) -> Option<(&'a str, bool)> {
    let (mut in_group, mut group_is_fixed, mut found) = (false, false, None);
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            in_group = line.starts_with("[Daemon]");
            group_is_fixed = in_group && line.contains("[$i]");
        } else if let Some((name, value)) = line.split_once('=').filter(|_| in_group) {
            let (name, is_fixed) = match name.trim().strip_suffix("[$i]") {
                Some(name) => (name, true),
                None => (name.trim(), false),
            };
            if name == key {
                found = Some((value.trim(), is_fixed || group_is_fixed));
            }
        }
    }
    found
}

const LOCK_ENABLED: &str = "/org/gnome/desktop/screensaver/lock-enabled";
const LOCK_DELAY: &str = "/org/gnome/desktop/screensaver/lock-delay";
const LOCK_FORBIDDEN: &str = "/org/gnome/desktop/lockdown/disable-lock-screen";
const IDLE_DELAY: &str = "/org/gnome/desktop/session/idle-delay";

/// People's settings take some kilobytes.
const MAX_DCONF: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::super::gvdb::tests::Builder;
    use super::*;
    use crate::engine::QueryEngine;
    use crate::tables::Tables;

    const NO: &[u8] = &[0, 0, b'b'];
    const YES: &[u8] = &[1, 0, b'b'];
    const USER: &str = "home/ann/.config/dconf/user";
    const PLASMA: &str = "home/ann/.config/kscreenlockerrc";

    #[test]
    fn gnome_locks_at_once_unless_told_otherwise() {
        let minute: &[u8] = &[60, 0, 0, 0, 0, b'u'];
        let never: &[u8] = &[0, 0, 0, 0, 0, b'u'];
        for (settings, locked) in [
            (Builder::default(), "1 0"),
            (
                Builder::default()
                    .with(LOCK_ENABLED, YES)
                    .with(LOCK_DELAY, minute),
                "1 60",
            ),
            (Builder::default().with(LOCK_ENABLED, NO), "0 0"),
            (Builder::default().with(IDLE_DELAY, never), "0 0"),
            (Builder::default().with(LOCK_FORBIDDEN, YES), "0 0"),
            (Builder::default().with(LOCK_ENABLED, minute), " "),
        ] {
            assert_eq!(locks("gnome-shell", &[(USER, settings.build())]), [locked]);
        }
        assert_eq!(
            locks("gnome-shell", &[]),
            ["1 0"],
            "dconf has no file until something is set"
        );
    }

    #[test]
    fn the_administrators_settings_hold_where_they_are_locked() {
        let profile = (
            "etc/dconf/profile/user",
            b"user-db:user\nsystem-db:local # ours\n".to_vec(),
        );
        let off = (USER, Builder::default().with(LOCK_ENABLED, NO).build());
        let on = Builder::default().with(LOCK_ENABLED, YES);
        let local = |builder: Builder| ("etc/dconf/db/local", builder.build());

        let overridden = locks("gnome-shell", &[profile.clone(), off.clone(), local(on)]);
        let on = Builder::default()
            .with(LOCK_ENABLED, YES)
            .locking(LOCK_ENABLED);
        let enforced = locks("gnome-shell", &[profile, off, local(on)]);

        assert_eq!(overridden, ["0 0"]);
        assert_eq!(enforced, ["1 0"]);
    }

    #[test]
    fn what_cannot_be_read_is_absent() {
        let whole = Builder::default().with(LOCK_ENABLED, YES).build();
        for (path, content) in [
            (USER, b"garbage".to_vec()),
            (USER, whole[..30].to_vec()),
            (USER, vec![0; MAX_DCONF + 1]),
            ("home/ann/.config/dconf/user/not-a-file", vec![]),
            ("etc/dconf/profile/user", b"service-db:x/y\n".to_vec()),
        ] {
            assert_eq!(locks("gnome-shell", &[(path, content)]), [" "], "{path}");
        }
    }

    #[test]
    fn plasma_locks_unless_told_otherwise() {
        for (settings, locked) in [
            ("", "1 5"),
            ("[Daemon]\nAutolock=false\n", "0 5"),
            ("[Daemon]\nTimeout=0\n", "0 5"),
            ("[Daemon]\nLockGrace=300\n", "1 300"),
            ("[Greeter]\nAutolock=false\n", "1 5"),
            ("[Daemon]\nLockGrace=soon\n", " "),
        ] {
            let read = locks("plasmashell", &[(PLASMA, settings.into())]);
            assert_eq!(read, [locked], "{settings}");
        }
    }

    #[test]
    fn plasma_keeps_to_what_the_administrator_fixed() {
        let own = (PLASMA, b"[Daemon]\nAutolock=false\n".to_vec());
        let general = |text: &str| ("etc/xdg/kscreenlockerrc", text.as_bytes().to_vec());

        for (text, locked) in [
            ("[Daemon]\nAutolock=true\n", "0 5"),
            ("[Daemon]\nAutolock[$i]=true\n", "1 5"),
            ("[Daemon][$i]\nAutolock=true\n", "1 5"),
        ] {
            assert_eq!(
                locks("plasmashell", &[own.clone(), general(text)]),
                [locked],
                "{text}"
            );
        }
    }

    #[test]
    fn other_desktops_and_the_login_screen_are_no_sessions() {
        assert!(locks("sway", &[]).is_empty());
        for (uid, is_session) in [
            (0, false),
            (120, false),
            (1000, true),
            (60_578, false),
            (65_534, false),
            (100_000, true),
        ] {
            assert_eq!(is_person(uid), is_session, "{uid}");
        }
    }

    fn locks(desktop: &str, files: &[(&str, Vec<u8>)]) -> Vec<String> {
        let root = TempDir::new().unwrap();
        let write = |path: &str, content: &[u8]| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        write("etc/passwd", b"ann:x:1000:1000::/home/ann:/bin/sh\n");
        write(
            "proc/40/stat",
            format!("40 ({desktop}) S 1 40 0\n").as_bytes(),
        );
        write("proc/40/status", b"Uid:\t1000\t1000\t1000\t1000\n");
        for (path, content) in files {
            write(path, content);
        }

        let mut tables = Tables::open(Machine::rooted_at(root.path())).unwrap();
        let rows = tables
            .query("SELECT enabled, grace_period FROM screenlock")
            .unwrap();
        rows.iter()
            .map(|row| {
                format!(
                    "{} {}",
                    row.value("enabled").unwrap(),
                    row.value("grace_period").unwrap()
                )
            })
            .collect()
    }
}
