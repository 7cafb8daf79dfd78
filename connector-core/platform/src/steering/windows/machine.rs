//! Makes, looks for and undoes the changes.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use connector_core::network::Prefix;
use windows_sys::Win32::System::GroupPolicy::{RP_FORCE, RefreshPolicyEx};
use windows_sys::Win32::System::SystemInformation::GetSystemDirectoryW;

use super::super::journal::Journal;
use super::super::{Change, Part, Plan, RepairError, sequence};
use super::name_rules::{self, NameRule, Place};
use super::signals::Signals;
use super::{Entry, Observed, Step, adapters, engine, routes};
use crate::private::PrivateDir;
use crate::registry::{self, Key};

pub(crate) type Steering = sequence::Steering<Windows>;

pub(crate) fn repair(state: &PrivateDir, dry_run: bool) -> Result<Vec<Change>, RepairError> {
    sequence::repair(&Windows, state, dry_run)
}

/// The service is the administrator's here and changes files itself.
pub(crate) fn change_resolver_file(_: impl io::Read, _: impl io::Write) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
pub(crate) fn has_traces() -> io::Result<bool> {
    Ok(false)
}

pub(crate) fn ranges_in_use() -> io::Result<Vec<Prefix>> {
    let mut ranges = routes::ranges()?;
    // The default route is everywhere, and in nobody's way.
    ranges.retain(|range| range.length() > 0);
    ranges.sort_unstable();
    ranges.dedup();
    Ok(ranges)
}

/// The machine that this runs on.
#[derive(Debug, Default)]
pub(crate) struct Windows;

impl sequence::Machine for Windows {
    type Entry = Entry;
    type Step = Step;
    type Signals = Signals;

    /// Filters and registry are looked at without starting a program, and a
    /// change to them is to be mended within a second.
    const PERIOD: Duration = Duration::from_millis(900);

    fn listen() -> io::Result<Signals> {
        Signals::listen()
    }

    fn steps(&self, plan: &Plan) -> io::Result<Vec<Step>> {
        let observed = Observed {
            device: routes::device(&plan.device)?,
            has_name_policy: Key::open(Place::Policy.path())?.is_some(),
        };
        Ok(Step::all(plan, observed))
    }

    fn entry(step: &Step) -> Entry {
        step.entry()
    }

    fn part(step: &Step) -> Part {
        step.part()
    }

    fn is_wanted(entry: &Entry, steps: &[Step]) -> bool {
        steps.iter().any(|step| match (entry, step) {
            (Entry::NameRules, Step::NameRule(_)) => true,
            (_, step) => step.entry() == *entry,
        })
    }

    fn make(&self, step: &Step, journal: &mut Journal<Entry>) -> io::Result<()> {
        match step {
            Step::Guard(filters) => {
                // It is noted before any rule, so that it is undone after them.
                if Key::open(Place::Local.path())?.is_none() {
                    journal.record(Entry::NameRules)?;
                }
                engine::load(filters)
            }
            Step::NameRule(rule) => write(rule),
            Step::Route { prefix, device } => routes::add(*prefix, self::device(device)?),
        }
    }

    fn is_made(&self, step: &Step) -> io::Result<bool> {
        match step {
            Step::Guard(filters) => engine::is_loaded(filters),
            Step::NameRule(rule) => is_written(rule),
            Step::Route { prefix, device } => routes::has(*prefix, self::device(device)?),
        }
    }

    fn undo(&self, entry: &Entry) -> io::Result<()> {
        match entry {
            Entry::Guard => engine::unload(),
            Entry::NameRule { place, key } => remove(*place, key),
            Entry::NameRules => remove_empty(Place::Local.path()),
            Entry::Route { prefix, device } => {
                let prefix = prefix.parse().map_err(io::Error::other)?;
                match routes::device(device)? {
                    None => Ok(()),
                    Some(device) => routes::delete(prefix, device),
                }
            }
        }
    }

    fn upstreams(&self, own: &[IpAddr]) -> io::Result<Vec<SocketAddr>> {
        let mut servers = adapters::name_servers()?;
        servers.retain(|server| !own.contains(&server.ip()));
        Ok(servers)
    }
}

fn write(rule: &NameRule) -> io::Result<()> {
    let key = Key::create(&path(rule.place, &rule.key))?;
    for value in &rule.values() {
        key.set(value)?;
    }
    apply(rule.place)
}

fn is_written(rule: &NameRule) -> io::Result<bool> {
    let Some(key) = Key::open(&path(rule.place, &rule.key))? else {
        return Ok(false);
    };
    for value in &rule.values() {
        if !key.has(value)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn remove(place: Place, key: &str) -> io::Result<()> {
    if !name_rules::is_ours(key) {
        return Err(io::Error::other(format!(
            "the journal tells of the name resolution rule {key:?}, which is not ours"
        )));
    }
    registry::delete(&path(place, key))?;
    apply(place)
}

/// Removes a key that nobody has put anything into.
fn remove_empty(path: &str) -> io::Result<()> {
    match Key::open(path)? {
        Some(key) if key.is_empty()? => registry::delete(path),
        Some(_) | None => Ok(()),
    }
}

fn path(place: Place, key: &str) -> String {
    format!(r"{}\{key}", place.path())
}

/// Makes the system read its rules again, and ask anew for names that it was
/// told of before.
fn apply(place: Place) -> io::Result<()> {
    match place {
        Place::Local => {}
        Place::Policy => refresh_policy(),
    }
    let program = system_directory()?.join("ipconfig.exe");
    let status = Command::new(&program)
        .arg("/flushdns")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{} /flushdns: {status}",
        program.display()
    )))
}

#[expect(unsafe_code, reason = "the system's interface")]
fn refresh_policy() {
    // It refuses when it was asked a moment ago; the system then refreshes soon
    // by itself, and the guard holds meanwhile.
    // SAFETY: no pointers are passed.
    unsafe { RefreshPolicyEx(1, RP_FORCE) };
}

#[expect(unsafe_code, reason = "the system's interface")]
fn system_directory() -> io::Result<PathBuf> {
    let mut buffer = [0; 260];
    // SAFETY: the buffer has 260 units.
    let length = unsafe { GetSystemDirectoryW(buffer.as_mut_ptr(), 260) };
    let directory = usize::try_from(length)
        .ok()
        .filter(|length| *length > 0)
        .and_then(|length| buffer.get(..length))
        .ok_or_else(io::Error::last_os_error)?;
    Ok(String::from_utf16(directory)
        .map_err(io::Error::other)?
        .into())
}

fn device(name: &str) -> io::Result<u64> {
    routes::device(name)?.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("there is no network device {name}"),
        )
    })
}
