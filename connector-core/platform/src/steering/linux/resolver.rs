//! Who answers questions for protected names: systemd-resolved is told where it
//! runs, and `/etc/resolv.conf` is rewritten where programs do not ask it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
use tokio::sync::watch;

use self::deputy::Deputy;
use self::file::Config;
use self::resolved::Resolved;
use super::Entry;
use crate::steering::journal::Journal;
use crate::steering::{Dns, Plan};

pub(super) mod deputy;
pub(super) mod file;
mod resolved;

/// The resolver's settings, and the name servers that would be asked without us.
#[derive(Debug)]
pub(super) struct Resolver {
    upstreams: watch::Sender<Vec<SocketAddr>>,
}

impl Resolver {
    pub(super) fn new() -> Self {
        Self {
            upstreams: watch::Sender::new(Vec::new()),
        }
    }

    pub(super) fn upstreams(&self) -> watch::Receiver<Vec<SocketAddr>> {
        self.upstreams.subscribe()
    }

    /// Sets whatever is not set as planned. Returns whether there was anything.
    pub(super) async fn establish(
        &self,
        journal: &mut Journal<Entry>,
        plan: &Plan,
    ) -> io::Result<bool> {
        // A bus that does not answer is as good as none: the file works always.
        let resolved = Resolved::find().await.unwrap_or_default();
        let link = establish_link(journal, resolved.as_ref(), plan).await?;
        let file = self.establish_file(journal, resolved.is_some(), &plan.dns)?;
        Ok(link || file)
    }

    fn establish_file(
        &self,
        journal: &mut Journal<Entry>,
        has_resolved: bool,
        dns: &Dns,
    ) -> io::Result<bool> {
        let path = Path::new(RESOLV_CONF);
        let there = Config::read(path).map_err(|error| about_file(&error))?;
        let recorded = recorded(journal);
        let original = match &recorded {
            None if file::is_ours(&there) => {
                return Err(io::Error::other(format!(
                    "{RESOLV_CONF} was written by a connector whose journal is lost: put the network's own there"
                )));
            }
            Some((original, ours))
                if original.is_replaced_by(&there, ours) || names_stub(&there, dns) =>
            {
                original.clone()
            }
            // Somebody else's, from now on: what is there without us.
            None | Some(_) => there.clone(),
        };
        let text = original.text(path).map_err(|error| about_file(&error))?;
        let servers = file::servers(&text);
        let asks_resolved =
            has_resolved && servers.iter().all(|server| RESOLVED.contains(&server.ip()));
        self.publish(asks_resolved, servers, dns);

        if !is_wanted(dns) || asks_resolved {
            let Some((original, ours)) = recorded else {
                return Ok(false);
            };
            restore(&original, &ours)?;
            journal.forget(Entry::is_file)?;
            return Ok(true);
        }
        let ours = file::pointing_at(&dns.servers, &text);
        let entry = Entry::ResolvConf {
            original: original.clone(),
            ours: ours.clone(),
        };
        journal.replace(Entry::is_file, entry)?;
        if there.is_exactly(&ours) {
            return Ok(false);
        }
        match Deputy::find() {
            Some(deputy) => deputy.put(&ours),
            None => file::put(path, &original, &ours),
        }
        .map_err(|error| about_file(&error))?;
        Ok(true)
    }

    fn publish(&self, asks_resolved: bool, servers: Vec<SocketAddr>, dns: &Dns) {
        let mut upstreams = servers;
        if asks_resolved {
            // Asking systemd-resolved would lead back to the stub.
            let theirs = std::fs::read(RESOLVED_UPSTREAMS).unwrap_or_default();
            upstreams = file::servers(&theirs);
        }
        upstreams.retain(|server| !dns.servers.contains(&server.ip()));
        self.upstreams.send_if_modified(|known| {
            let is_new = *known != upstreams;
            *known = upstreams;
            is_new
        });
    }
}

async fn establish_link(
    journal: &mut Journal<Entry>,
    resolved: Option<&Resolved>,
    plan: &Plan,
) -> io::Result<bool> {
    let target = link_index(&plan.device)
        .filter(|_| is_wanted(&plan.dns))
        .map(|index| Entry::Link {
            index,
            name: plan.device.clone(),
        });
    let stale: Vec<Entry> = journal
        .entries()
        .iter()
        .filter(|entry| matches!(entry, Entry::Link { .. }) && Some(*entry) != target.as_ref())
        .cloned()
        .collect();
    for entry in stale {
        if let (Entry::Link { index, name }, Some(resolved)) = (&entry, resolved)
            && link_index(name) == Some(*index)
        {
            resolved.revert(*index).await?;
        }
        journal.forget(|other| *other == entry)?;
    }
    let (Some(entry), Some(resolved)) = (target, resolved) else {
        return Ok(false);
    };
    let Entry::Link { index, .. } = entry else {
        return Ok(false);
    };
    let is_new = !journal.entries().contains(&entry);
    if !is_new && resolved.is_established(index, &plan.dns).await? {
        return Ok(false);
    }
    journal.record(entry)?;
    resolved.establish(index, &plan.dns).await?;
    Ok(true)
}

/// Puts the file back that was there before `ours`, unless somebody else has
/// replaced ours since. Returns whether it did.
pub(super) fn restore(original: &Config, ours: &[u8]) -> io::Result<bool> {
    let path = Path::new(RESOLV_CONF);
    let deputy = Deputy::find();
    if deputy.is_none() {
        file::tidy(path).map_err(|error| about_file(&error))?;
    }
    let is_needed = is_file_ours(original, ours)?;
    if is_needed {
        match deputy {
            Some(deputy) => deputy.restore(original),
            None => original.restore(path),
        }
        .map_err(|error| about_file(&error))?;
    }
    Ok(is_needed)
}

/// Returns whether the file is ours, whole or in part.
pub(super) fn is_file_ours(original: &Config, ours: &[u8]) -> io::Result<bool> {
    let there = Config::read(Path::new(RESOLV_CONF)).map_err(|error| about_file(&error))?;
    Ok(there != *original && original.is_replaced_by(&there, ours))
}

/// Takes the stub off a link. Returns whether the link is there and the service
/// runs; else there is nothing to take.
pub(super) async fn revert_link(index: u32, name: &str, dry_run: bool) -> io::Result<bool> {
    if link_index(name) != Some(index) {
        return Ok(false);
    }
    let Some(resolved) = Resolved::find().await? else {
        return Ok(false);
    };
    if !dry_run {
        resolved.revert(index).await?;
    }
    Ok(true)
}

/// Returns everything to be watched: some of it need not be there.
pub(super) fn watched(journal: &Journal<Entry>) -> Vec<PathBuf> {
    let path = Path::new(RESOLV_CONF);
    let mut watched = vec![path.to_owned()];
    watched.extend(path.parent().map(Path::to_owned));
    if let Some(parent) = Path::new(RESOLVED_UPSTREAMS).parent() {
        watched.push(parent.to_owned());
        watched.push(parent.join("netif"));
    }
    if let Some((Config::Link { target }, _)) = recorded(journal) {
        let target = path.with_file_name(target);
        watched.extend(target.parent().map(Path::to_owned));
        watched.push(target);
    }
    watched
}

/// Returns the number of the network device of this name.
fn link_index(name: &str) -> Option<u32> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .ok()?;
    netdevice::name_to_index(socket, name).ok()
}

fn recorded(journal: &Journal<Entry>) -> Option<(Config, Vec<u8>)> {
    journal.entries().iter().find_map(|entry| match entry {
        Entry::ResolvConf { original, ours } => Some((original.clone(), ours.clone())),
        Entry::Guard | Entry::Link { .. } | Entry::Routes { .. } => None,
    })
}

/// Returns whether somebody has written our stub into a file of their own: they
/// took it for a name server of the network.
fn names_stub(there: &Config, dns: &Dns) -> bool {
    let Ok(text) = there.text(Path::new(RESOLV_CONF)) else {
        return false;
    };
    file::servers(&text)
        .iter()
        .any(|server| dns.servers.contains(&server.ip()))
}

const fn is_wanted(dns: &Dns) -> bool {
    !dns.suffixes.is_empty() && !dns.servers.is_empty()
}

fn about_file(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{RESOLV_CONF}: {error}"))
}

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Where systemd-resolved listens for programs that ask by DNS.
const RESOLVED: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53)),
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 54)),
];

/// Where systemd-resolved tells whom it asks.
const RESOLVED_UPSTREAMS: &str = "/run/systemd/resolve/resolv.conf";
