//! Steering on Linux: a routing table of our own, an nftables guard, and
//! systemd-resolved or `/etc/resolv.conf`.
//!
//! | part | where | survives this process |
//! |---|---|---|
//! | guard | tables `inet ztna` and `arp ztna` | yes: nothing leaks |
//! | routes | a table from 5182, rule 100 | the refusing ones; those into the device go with it |
//! | resolver | the device's link, or the file | the file does, until `ztna repair` or the next start |

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use connector_core::network::Prefix;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::entry::{Entry, open, undo_all};
use self::nft::Fingerprint;
use self::notices::Notices;
use self::resolver::Resolver;
use self::routes::Table;
use super::journal::Journal;
use super::{Mended, Part, Plan, SteeringError};
use crate::private::PrivateDir;

mod changes;
mod entry;
mod guard;
mod kernel;
mod netlink;
mod nft;
mod notices;
mod readable;
mod resolver;
mod routes;
#[cfg(test)]
mod tests;

pub(crate) use self::changes::NetworkChanges;
pub(crate) use self::entry::repair;

/// See [`crate::steering::Steering`].
#[derive(Debug)]
pub(crate) struct Steering {
    plan: Plan,
    journal: Journal<Entry>,
    guard: Guard,
    table: Table,
    resolver: Resolver,
    notices: Notices,
    /// What is to be looked at.
    pending: BTreeSet<Part>,
    /// What could not be put back, and why.
    failing: BTreeMap<Part, String>,
    /// When to look at everything again, notices or not.
    next_check: Instant,
}

impl Steering {
    /// What a process before this one has left is taken over, so that the guard has
    /// no gap; if that fails, it is left as it is.
    pub(crate) async fn start(state: PrivateDir, plan: Plan) -> Result<Self, SteeringError> {
        let plan = checked(plan)?;
        let journal = open(state)?;
        let is_fresh = journal.entries().is_empty();
        let mut steering = Self::prepare(journal, plan)
            .map_err(|problem| SteeringError::new("prepare to steer the machine", problem))?;
        let outcome = steering.establish_all().await;
        if let Err(error) = outcome {
            if is_fresh {
                // The first problem is the one to tell of; what is left is in the journal.
                let _ = undo_all(&mut steering.journal, false).await;
            }
            return Err(error);
        }
        Ok(steering)
    }

    fn prepare(journal: Journal<Entry>, plan: Plan) -> io::Result<Self> {
        let recorded = journal.entries().iter().find_map(|entry| match entry {
            Entry::Routes { table } => Some(*table),
            Entry::Guard | Entry::Link { .. } | Entry::ResolvConf { .. } => None,
        });
        if !journal.entries().contains(&Entry::Guard) && nft::is_there()? {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is an nftables table `ztna` that this connector did not make: if no other connector runs, `nft delete table inet ztna` and `nft delete table arp ztna`",
            ));
        }
        let table = match recorded {
            Some(table) => table,
            None => Table::choose()?,
        };
        Ok(Self {
            plan,
            journal,
            guard: Guard::default(),
            table,
            resolver: Resolver::new(),
            notices: Notices::listen()?,
            pending: BTreeSet::new(),
            failing: BTreeMap::new(),
            next_check: Instant::now() + CHECK_INTERVAL,
        })
    }

    pub(crate) async fn change(&mut self, plan: Plan) -> Result<(), SteeringError> {
        self.plan = checked(plan)?;
        self.establish_all().await
    }

    pub(crate) async fn stop(mut self) -> Result<(), SteeringError> {
        self.guard.settle().await;
        undo_all(&mut self.journal, false).await?;
        Ok(())
    }

    pub(crate) fn upstreams(&self) -> watch::Receiver<Vec<SocketAddr>> {
        self.resolver.upstreams()
    }

    pub(crate) async fn watch(&mut self) -> Mended {
        loop {
            // A part stays in the set until it was looked at to the end: this may be cancelled.
            while let Some(part) = self.pending.first().copied() {
                let outcome = self.establish(part).await;
                self.pending.remove(&part);
                if let Some(mended) = self.report(part, outcome) {
                    return mended;
                }
            }
            let deadline = if self.failing.is_empty() {
                self.next_check
            } else {
                self.next_check.min(Instant::now() + RETRY_INTERVAL)
            };
            tokio::select! {
                part = self.notices.next(self.table, &self.plan.device) => {
                    self.pending.insert(part);
                }
                () = tokio::time::sleep_until(deadline) => {
                    self.pending.extend(self.failing.keys());
                    if Instant::now() >= self.next_check {
                        self.pending.extend(PARTS);
                        self.next_check = Instant::now() + CHECK_INTERVAL;
                    }
                }
            }
        }
    }

    /// Returns what there is to tell: something was put back, or newly cannot be.
    fn report(&mut self, part: Part, outcome: io::Result<bool>) -> Option<Mended> {
        match outcome {
            Ok(false) => {
                self.failing.remove(&part);
                None
            }
            Ok(true) => {
                self.failing.remove(&part);
                if part == Part::Routes {
                    // The device may be a new one of the same name.
                    self.pending.insert(Part::Resolver);
                }
                Some(Mended {
                    part,
                    problem: None,
                })
            }
            Err(error) => {
                let problem = error.to_string();
                let known = self.failing.insert(part, problem.clone());
                (known.as_ref() != Some(&problem)).then_some(Mended {
                    part,
                    problem: Some(problem),
                })
            }
        }
    }

    async fn establish_all(&mut self) -> Result<(), SteeringError> {
        self.pending.extend(PARTS);
        for part in PARTS {
            self.establish(part)
                .await
                .map_err(|problem| SteeringError::new(format!("establish {part}"), problem))?;
            self.pending.remove(&part);
            self.failing.remove(&part);
        }
        Ok(())
    }

    /// Puts whatever is missing of a part in place; returns whether anything was.
    async fn establish(&mut self, part: Part) -> io::Result<bool> {
        match part {
            Part::Guard => {
                self.journal.record(Entry::Guard)?;
                self.guard.establish(&self.plan).await
            }
            Part::Routes => {
                self.journal.record(Entry::Routes { table: self.table })?;
                self.table.establish(&self.plan)
            }
            Part::Resolver => {
                let outcome = self.resolver.establish(&mut self.journal, &self.plan).await;
                self.notices.watch(&resolver::watched(&self.journal));
                outcome
            }
        }
    }
}

pub(crate) fn ranges_in_use() -> io::Result<Vec<Prefix>> {
    kernel::ranges_in_use()
}

pub(crate) fn change_resolver_file(
    request: impl io::Read,
    answer: impl io::Write,
) -> io::Result<()> {
    resolver::deputy::serve(request, answer)
}

pub(crate) fn has_traces() -> io::Result<bool> {
    nft::is_there()
}

/// The guard as this process has loaded it.
#[derive(Debug, Default)]
struct Guard {
    loaded: Option<Loaded>,
    /// A transaction under way. It goes on when its waiter is cancelled, and the
    /// next one waits for it.
    running: Option<JoinHandle<io::Result<Loaded>>>,
    /// Whether one was started that nobody was told of yet.
    was_loaded: bool,
}

#[derive(Debug)]
struct Loaded {
    script: String,
    generation: u32,
    fingerprint: Fingerprint,
}

impl Guard {
    /// Loads the guard unless just this one is loaded; returns whether it was not.
    async fn establish(&mut self, plan: &Plan) -> io::Result<bool> {
        self.settle().await;
        let script = guard::establish(plan);
        if !self.is_loaded(&script)? {
            self.was_loaded = true;
            self.running = Some(tokio::task::spawn_blocking(|| Loaded::load(script)));
            if let Some(problem) = self.settle().await {
                self.was_loaded = false;
                return Err(problem);
            }
        }
        Ok(std::mem::take(&mut self.was_loaded))
    }

    /// Waits until no transaction is under way; returns why it failed, if it did.
    async fn settle(&mut self) -> Option<io::Error> {
        let outcome = self.running.as_mut()?.await;
        self.running = None;
        self.loaded = None;
        match outcome.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(loaded) => {
                self.loaded = Some(loaded);
                None
            }
            Err(problem) => Some(problem),
        }
    }

    fn is_loaded(&mut self, script: &str) -> io::Result<bool> {
        let Some(loaded) = self
            .loaded
            .as_mut()
            .filter(|loaded| loaded.script == script)
        else {
            return Ok(false);
        };
        // Nothing at all was changed in the packet filter.
        let generation = nft::generation()?;
        if generation == loaded.generation {
            return Ok(true);
        }
        let is_same = Fingerprint::take()? == loaded.fingerprint;
        if is_same {
            loaded.generation = generation;
        }
        Ok(is_same)
    }
}

impl Loaded {
    fn load(script: String) -> io::Result<Self> {
        nft::run(&guard::stand_in(&script))?;
        nft::run(&script)?;
        nft::run(&guard::clear_stand_in())?;
        let generation = nft::generation()?;
        Ok(Self {
            script,
            generation,
            fingerprint: Fingerprint::take()?,
        })
    }
}

/// Returns the plan as it is carried out: no prefix twice, and none that must
/// never be led into a tunnel.
fn checked(mut plan: Plan) -> Result<Plan, SteeringError> {
    let refuse = |what: String| {
        let problem = io::Error::new(io::ErrorKind::InvalidInput, what);
        Err(SteeringError::new("steer the machine", problem))
    };
    for prefix in &plan.prefixes {
        if let Some(range) = prefix.reserved() {
            return refuse(format!("{prefix} reaches into {range}"));
        }
    }
    // As the kernel has it (`dev_valid_name`), and without what `nft` would take for
    // something else.
    let is_name = (1..=15).contains(&plan.device.len())
        && plan
            .device
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && plan.device != "lo";
    if !is_name {
        return refuse(format!(
            "{:?} is no name for a tunnel's device",
            plan.device
        ));
    }
    plan.prefixes = guard::outermost(&plan.prefixes);
    Ok(plan)
}

/// In the order in which they are established.
const PARTS: [Part; 3] = [Part::Guard, Part::Routes, Part::Resolver];

/// How often everything is looked at, should a notice have been missed; notices
/// are what makes mending quick.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// How often what could not be put back is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
