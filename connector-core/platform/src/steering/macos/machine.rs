//! Makes, looks for and undoes the changes.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use connector_core::network::Prefix;
use rustix::io::Errno;

use super::super::journal::Journal;
use super::super::{Change, Part, Plan, RepairError, sequence};
use super::dynamic_store::{self, SupplementalResolver};
use super::halves::halves;
use super::packet_filter::{self, Rules};
use super::route_message::{Request, Route};
use super::signals::Signals;
use super::tools::{PFCTL, Running, forget_cached_names, pfctl, scutil};
use super::{ANCHOR, Entry, Step, routing_socket};
use crate::private::PrivateDir;

pub(crate) type Steering = sequence::Steering<MacOs>;

pub(crate) fn repair(state: &PrivateDir, dry_run: bool) -> Result<Vec<Change>, RepairError> {
    sequence::repair(&MacOs, state, dry_run)
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
    let routes = routing_socket::routes()?;
    let mut ranges: Vec<Prefix> = routes.into_iter().map(|route| route.prefix).collect();
    ranges.extend(routing_socket::addresses()?);
    // The default route is everywhere, and in nobody's way.
    ranges.retain(|range| range.length() > 0);
    ranges.sort_unstable();
    ranges.dedup();
    Ok(ranges)
}

/// The machine that this runs on.
#[derive(Debug, Default)]
pub(crate) struct MacOs;

impl sequence::Machine for MacOs {
    type Entry = Entry;
    type Step = Step;
    type Signals = Signals;

    /// The packet filter does not tell of changes, and looking at it starts
    /// programs: not so often that an idle laptop would feel it.
    const PERIOD: Duration = Duration::from_secs(10);

    fn listen() -> io::Result<Signals> {
        Signals::listen()
    }

    fn steps(&self, plan: &Plan) -> io::Result<Vec<Step>> {
        Step::all(plan)
    }

    fn entry(step: &Step) -> Entry {
        step.entry()
    }

    fn part(step: &Step) -> Part {
        step.part()
    }

    fn is_wanted(entry: &Entry, steps: &[Step]) -> bool {
        steps.iter().any(|step| match (entry, step) {
            (Entry::Reference { .. }, Step::Guard(_)) => true,
            (_, step) => step.entry() == *entry,
        })
    }

    fn make(&self, step: &Step, journal: &mut Journal<Entry>) -> io::Result<()> {
        match step {
            Step::Guard(rules) => load(rules, journal),
            Step::Resolver(resolver) => set(resolver),
            Step::Route { prefix, device } => add(*prefix, device),
        }
    }

    fn is_made(&self, step: &Step) -> io::Result<bool> {
        match step {
            Step::Guard(rules) => is_loaded(rules),
            Step::Resolver(resolver) => {
                let shown = scutil(&dynamic_store::show(&resolver.key))?;
                Ok(resolver.is_shown_in(&shown))
            }
            Step::Route { prefix, device } => is_routed(*prefix, device),
        }
    }

    fn undo(&self, entry: &Entry) -> io::Result<()> {
        match entry {
            Entry::Guard => pfctl(&["-a", ANCHOR, "-F", "rules"], "").map(drop),
            Entry::Reference { process, token } => release(*process, *token),
            Entry::Resolver { key } => remove(key),
            Entry::Route { prefix, device } => {
                let prefix = prefix.parse().map_err(io::Error::other)?;
                delete(prefix, device)
            }
        }
    }

    fn upstreams(&self, own: &[IpAddr]) -> io::Result<Vec<SocketAddr>> {
        let shown = scutil(&dynamic_store::show(dynamic_store::GLOBAL))?;
        let scope = |name: &str| routing_socket::interface_index(name).ok().flatten();
        let mut servers = dynamic_store::name_servers(&shown, scope);
        servers.retain(|server| !own.contains(&server.ip()));
        Ok(servers)
    }
}

/// Loads the guard's rules in one transaction, and switches the packet filter
/// on for as long as we hold a reference to it.
fn load(rules: &Rules, journal: &mut Journal<Entry>) -> io::Result<()> {
    check_main_rules()?;
    if holds_reference(journal) && is_enabled()? {
        return pfctl(&["-a", ANCHOR, "-f", "-"], &rules.text).map(drop);
    }

    // It takes the reference in its own name, after it has read the rules: by
    // then its number is in the journal.
    let loading = Running::start(PFCTL, &["-a", ANCHOR, "-E", "-f", "-"])?;
    let process = loading.process();
    let unknown = Entry::Reference {
        process,
        token: None,
    };
    if let Err(error) = journal.record(unknown.clone()) {
        loading.abandon()?;
        return Err(error);
    }
    let said = loading.finish(&rules.text)?;
    if let Some(token) = packet_filter::token(&said.errors) {
        journal.record(Entry::Reference {
            process,
            token: Some(token),
        })?;
        journal.forget(|entry| *entry == unknown)?;
    }
    end_connections(&rules.prefixes)
}

/// Ends what the filter has let through to the protected prefixes until now:
/// it does not ask its rules again about connections that it remembers.
fn end_connections(prefixes: &[Prefix]) -> io::Result<()> {
    for prefix in prefixes {
        let anywhere = match prefix.address() {
            IpAddr::V4(_) => "0.0.0.0/0",
            IpAddr::V6(_) => "::/0",
        };
        pfctl(&["-k", anywhere, "-k", &prefix.to_string()], "")?;
    }
    Ok(())
}

fn is_loaded(rules: &Rules) -> io::Result<bool> {
    let shown = pfctl(&["-a", ANCHOR, "-s", "rules"], "")?;
    Ok(rules.are_shown_in(&shown.output) && is_enabled()? && check_main_rules().is_ok())
}

fn is_enabled() -> io::Result<bool> {
    let shown = pfctl(&["-s", "info"], "")?;
    Ok(packet_filter::is_enabled(&shown.output))
}

fn check_main_rules() -> io::Result<()> {
    let shown = pfctl(&["-s", "rules"], "")?;
    if packet_filter::evaluates_anchor(&shown.output) {
        return Ok(());
    }
    Err(io::Error::other(
        "the packet filter's main rules do not evaluate com.apple/*, so that rules in it have no effect: put the line `anchor \"com.apple/*\"` back into /etc/pf.conf and load it with `pfctl -f /etc/pf.conf`",
    ))
}

fn holds_reference(journal: &Journal<Entry>) -> bool {
    // If the system does not tell, one reference more does no harm.
    let Ok(shown) = pfctl(&["-s", "References"], "") else {
        return false;
    };
    journal.entries().iter().any(|entry| match entry {
        Entry::Reference { process, token } => {
            packet_filter::held_token(&shown.output, *process, *token).is_some()
        }
        Entry::Guard | Entry::Resolver { .. } | Entry::Route { .. } => false,
    })
}

fn release(process: u32, token: Option<u64>) -> io::Result<()> {
    let shown = pfctl(&["-s", "References"], "")?;
    match packet_filter::held_token(&shown.output, process, token) {
        None => Ok(()),
        Some(token) => pfctl(&["-X", &token.to_string()], "").map(drop),
    }
}

fn set(resolver: &SupplementalResolver) -> io::Result<()> {
    let shown = scutil(&resolver.commands())?;
    if resolver.is_shown_in(&shown) {
        return forget_cached_names();
    }
    Err(io::Error::other(format!(
        "scutil has not set {}",
        resolver.key
    )))
}

fn remove(key: &str) -> io::Result<()> {
    if !dynamic_store::is_ours(key) {
        return Err(io::Error::other(format!(
            "the journal tells of {key:?}, which is not ours"
        )));
    }
    let shown = scutil(&dynamic_store::remove(key))?;
    if dynamic_store::is_absent_in(&shown) {
        return forget_cached_names();
    }
    Err(io::Error::other(format!("scutil has not removed {key}")))
}

/// Routes a prefix through the device. Where somebody else has a route for
/// exactly this prefix, its halves are routed, which come before it.
fn add(prefix: Prefix, device: &str) -> io::Result<()> {
    let interface = interface(device)?;
    match routing_socket::send(Request::Add, prefix, interface) {
        Ok(()) => return Ok(()),
        Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    if is_routed(prefix, device)? {
        return Ok(());
    }
    let Some(parts) = halves(prefix) else {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there already is a route for this very address, of another program; remove it",
        ));
    };
    for half in parts {
        match routing_socket::send(Request::Add, half, interface) {
            Ok(()) => {}
            Err(Errno::EXIST) if has(&routing_socket::routes()?, half, interface) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn delete(prefix: Prefix, device: &str) -> io::Result<()> {
    // The kernel removes the routes of a device that vanishes.
    let Some(interface) = routing_socket::interface(device)? else {
        return Ok(());
    };
    let routes = routing_socket::routes()?;
    let parts = if has(&routes, prefix, interface) {
        vec![prefix]
    } else {
        halves(prefix).into_iter().flatten().collect()
    };
    for part in parts {
        if has(&routes, part, interface) {
            match routing_socket::send(Request::Delete, part, interface) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

fn is_routed(prefix: Prefix, device: &str) -> io::Result<bool> {
    let interface = interface(device)?;
    let routes = routing_socket::routes()?;
    let through_halves =
        halves(prefix).is_some_and(|parts| parts.iter().all(|half| has(&routes, *half, interface)));
    Ok(through_halves || has(&routes, prefix, interface))
}

fn has(routes: &[Route], prefix: Prefix, interface: u16) -> bool {
    routes
        .iter()
        .any(|route| route.prefix == prefix && route.interface == interface)
}

fn interface(device: &str) -> io::Result<u16> {
    routing_socket::interface(device)?.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("there is no network device {device}"),
        )
    })
}
