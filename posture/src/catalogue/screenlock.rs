//! Whether the screen locks itself when its person walks away.
//!
//! osquery has this table on macOS alone. Here it has a row for each desktop
//! session that is running; absent values mean that its settings cannot be
//! read or relied on.

use super::gvdb::{Database, Malformed};
use super::processes::{Stat, owner, pids};
use super::{Column, Record, Scan, Table, accounts, integer};
use crate::machine::{Machine, Unreadable};

pub(crate) const SCREENLOCK: Table = Table {
    name: "screenlock",
    columns: COLUMNS,
    required: None,
    rows: |scan| {
        let mut records = Vec::new();
        for (uid, desktop) in sessions(scan)? {
            let lock = home(scan.machine, uid)?.and_then(|home| {
                match desktop {
                    Desktop::Gnome => gnome(scan.machine, &home),
                    Desktop::Plasma => plasma(scan.machine, &home),
                }
                .ok()
            });
            records.push(
                Record::default()
                    .set("enabled", lock.as_ref().map(|lock| lock.is_enabled))
                    .set("grace_period", lock.map(|lock| lock.grace_seconds)),
            );
        }
        Ok(records)
    },
};

const COLUMNS: &[Column] = &[integer("enabled"), integer("grace_period")];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Desktop {
    Gnome,
    Plasma,
}

#[derive(Debug, PartialEq, Eq)]
struct ScreenLock {
    is_enabled: bool,
    /// How long after the screen went dark no password is asked for.
    grace_seconds: u32,
}

/// Returns who runs a desktop whose settings are known, once per desktop.
fn sessions(scan: &Scan<'_>) -> Result<Vec<(u32, Desktop)>, Unreadable> {
    let mut sessions = Vec::new();
    for pid in pids(scan.machine)? {
        scan.continues()?;
        let desktop = match Stat::read(scan.machine, pid)
            .as_ref()
            .map(|stat| stat.name.as_str())
        {
            Some("gnome-shell") => Desktop::Gnome,
            Some("plasmashell") => Desktop::Plasma,
            _ => continue,
        };
        let Some(uid) = owner(scan.machine, pid).filter(|uid| is_person(*uid)) else {
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
