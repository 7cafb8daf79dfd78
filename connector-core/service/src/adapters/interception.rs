//! Takes traffic of unmodified programs: the device, the name server stub and
//! the machine's steering, as one thing that is up or down.
//!
//! It is up while a configuration is in force and nobody switched the connector
//! off; signed out, protected applications are still taken, and refused.

mod running;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use connector_core::access::{AccessMap, Concealed, Permit, Reason};
use connector_core::catalogue::Catalogue;
use connector_core::name::DomainName;
use connector_platform::private::PrivateDir;
use connector_platform::steering::{self, NetworkChanges};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tunnel::transparent::{DialError, Transparent};
use tunnel::userspace::{Plan, SiteStatus};

use self::running::Running;
use super::{Events, Task};

/// The interception as the service holds it.
#[derive(Debug)]
pub(crate) struct Interception {
    state_dir: PrivateDir,
    shared: Arc<Shared>,
    wanted: watch::Sender<Wanted>,
    state: watch::Receiver<State>,
    changes: watch::Receiver<u64>,
    task: Mutex<Option<Task>>,
}

/// What is to be taken; nothing at all while the connector is off.
type Wanted = Option<Protected>;

/// What a configuration asks this machine to take.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Protected {
    catalogue: Arc<Catalogue>,
    concealed: Concealed,
    /// Whether the session has an IPv6 address inside the tunnel.
    v6: bool,
}

/// Whether traffic is taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// It is not, and is not to be.
    #[default]
    Down,
    /// It is to be, but could not; it is tried again.
    Failed(String),
    /// It is.
    Up {
        device: String,
        addresses: Vec<IpAddr>,
        names: Vec<DomainName>,
        /// What another program undid last, and that it was put back.
        mended: Option<String>,
    },
}

/// What the core last said, for whenever the device comes up.
#[derive(Debug)]
struct Shared {
    latest: Mutex<Latest>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Latest {
    access: Arc<AccessMap>,
    plan: Option<Plan>,
    tunnel: Option<Arc<Transparent>>,
    is_watched: bool,
    /// Whether whoever comes next takes over what is up, which nothing changes any more.
    stays: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a new device what the core said before there was one.
    fn connect(&self, tunnel: &Arc<Transparent>) {
        let mut latest = self.lock();
        tunnel.configure(latest.plan.clone());
        tunnel.set_access(&latest.access);
        tunnel.set_watched(latest.is_watched);
        latest.tunnel = Some(Arc::clone(tunnel));
    }

    fn disconnect(&self) {
        self.lock().tunnel = None;
    }
}

impl Interception {
    /// Starts with nothing to take. `seed` decides which name gets which
    /// synthetic address; it is the installation's.
    pub(crate) fn start(state_dir: PrivateDir, seed: u64, events: Events) -> std::io::Result<Self> {
        let (wanted, receiver) = watch::channel(None);
        let (state_sender, state) = watch::channel(State::Down);
        let (changes_sender, changes) = watch::channel(0);
        let shared = Arc::new(Shared {
            latest: Mutex::default(),
            changes: changes_sender,
        });
        let network = NetworkChanges::listen()?;
        let keeper = Keeper {
            state_dir: state_dir.clone(),
            seed,
            events,
            shared: Arc::clone(&shared),
            state: state_sender,
        };
        let task = Task::spawn(keeper.run(receiver, network));
        Ok(Self {
            state_dir,
            shared,
            wanted,
            state,
            changes,
            task: Mutex::new(Some(task)),
        })
    }

    /// Makes the tunnels what `plan` says.
    pub(crate) fn configure(&self, plan: Option<Plan>) {
        let mut latest = self.shared.lock();
        if let Some(tunnel) = &latest.tunnel {
            tunnel.configure(plan.clone());
        }
        latest.plan = plan;
        self.want(&latest);
    }

    /// Puts every live flow to a new map, and takes what it protects.
    pub(crate) fn set_access(&self, access: &Arc<AccessMap>) {
        let mut latest = self.shared.lock();
        if let Some(tunnel) = &latest.tunnel {
            tunnel.set_access(access);
        }
        latest.access = Arc::clone(access);
        self.want(&latest);
    }

    /// Tells whether somebody looks at how the gateways are.
    pub(crate) fn set_watched(&self, watched: bool) {
        let mut latest = self.shared.lock();
        latest.is_watched = watched;
        if let Some(tunnel) = &latest.tunnel {
            tunnel.set_watched(watched);
        }
    }

    /// Calls every gateway once: those that answer have a handshake after this.
    pub(crate) fn call_gateways(&self) {
        if let Some(tunnel) = &self.shared.lock().tunnel {
            tunnel.call_gateways();
        }
    }

    /// Opens the one connection that `permit` was issued for.
    pub(crate) async fn dial(
        &self,
        permit: Permit,
        limit: Duration,
    ) -> Result<TcpStream, DialError> {
        let tunnel = self.shared.lock().tunnel.clone();
        match tunnel {
            Some(tunnel) => tunnel.dial(permit, limit).await,
            None => Err(DialError::NoDevice),
        }
    }

    pub(crate) fn status(&self) -> Vec<SiteStatus> {
        let tunnel = self.shared.lock().tunnel.clone();
        tunnel.map(|tunnel| tunnel.status()).unwrap_or_default()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    pub(crate) fn live_flows(&self) -> usize {
        let tunnel = self.shared.lock().tunnel.clone();
        tunnel.map_or(0, |tunnel| tunnel.live_flows())
    }

    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Waits until what is wanted now has come into effect, or failed.
    pub(crate) async fn settled(&self) -> State {
        let mut state = self.state.clone();
        let wanted = self.wanted.borrow().is_some();
        let settled = state.wait_for(|state| match state {
            State::Down => !wanted,
            State::Failed(_) | State::Up { .. } => wanted,
        });
        let _ = tokio::time::timeout(SETTLING_LIMIT, settled).await;
        self.state()
    }

    /// Says whether [`Self::stop`] is to leave the machine as it is, guard and all, for the service
    /// that starts next to take over.
    pub(crate) fn leave_in_place(&self, stays: bool) {
        self.shared.lock().stays = stays;
    }

    /// Undoes everything, unless it is to stay; also what an earlier service left and this one has
    /// not taken over yet.
    pub(crate) async fn stop(&self) {
        let stays = self.shared.lock().stays;
        let mut is_down = false;
        if !stays {
            self.wanted.send_replace(None);
            is_down = self.settled().await == State::Down;
        }
        let task = self
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(task);
        if is_down {
            let state = self.state_dir.clone();
            let repaired = tokio::task::spawn_blocking(move || steering::repair(&state, false));
            if let Ok(Err(error)) = repaired.await {
                tracing::error!(%error, "Not everything was undone; run `ztna repair`");
            }
        }
    }

    fn want(&self, latest: &Latest) {
        if latest.stays {
            return;
        }
        let wanted = protected(latest);
        self.wanted.send_if_modified(|known| {
            let changed = *known != wanted;
            *known = wanted;
            changed
        });
    }
}

/// Returns what the core's last words ask this machine to take.
fn protected(latest: &Latest) -> Wanted {
    let is_off = latest.access.closed().is_some_and(|denial| {
        matches!(
            denial.reason,
            Reason::NotConfigured | Reason::Paused | Reason::Stopping
        )
    });
    (!is_off).then(|| Protected {
        catalogue: latest.access.shared_catalogue(),
        concealed: Arc::clone(latest.access.concealed()),
        v6: latest
            .plan
            .as_ref()
            .is_some_and(|plan| plan.addresses.iter().any(IpAddr::is_ipv6)),
    })
}

/// The task that makes what is wanted so.
struct Keeper {
    state_dir: PrivateDir,
    seed: u64,
    events: Events,
    shared: Arc<Shared>,
    state: watch::Sender<State>,
}

impl Keeper {
    async fn run(self, mut wanted: watch::Receiver<Wanted>, mut network: NetworkChanges) {
        let mut running: Option<Running> = None;
        loop {
            let target = wanted.borrow_and_update().clone();
            running = self.become_as(running, target).await;
            let retry = matches!(*self.state.borrow(), State::Failed(_));
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(RETRY), if retry => {}
                () = self.look_after(&mut running, &mut network) => {}
            }
        }
    }

    /// Brings the machine from where it is to where it is to be.
    async fn become_as(&self, running: Option<Running>, target: Wanted) -> Option<Running> {
        let (outcome, state) = match (running, target) {
            (None, None) => (None, State::Down),
            (Some(running), None) => {
                self.shared.disconnect();
                if let Err(error) = running.stop().await {
                    tracing::error!(%error, "Not everything was undone; run `ztna repair`");
                }
                (None, State::Down)
            }
            (Some(mut running), Some(target)) => match running.change(&target).await {
                Ok(()) => {
                    let state = running.state();
                    (Some(running), state)
                }
                Err(error) => (Some(running), failed(&*error)),
            },
            (None, Some(target)) => match Running::start(self, &target).await {
                Ok(running) => {
                    self.shared.connect(running.tunnel());
                    let state = running.state();
                    (Some(running), state)
                }
                Err(error) => (None, failed(&*error)),
            },
        };
        self.state.send_if_modified(|known| {
            let changed = *known != state;
            *known = state;
            changed
        });
        outcome
    }

    /// Mends what others break, and tells the tunnel when the machine moves.
    async fn look_after(&self, running: &mut Option<Running>, network: &mut NetworkChanges) {
        let Some(running) = running else {
            loop {
                network.next().await;
            }
        };
        let mut changes = running.tunnel().changes();
        loop {
            tokio::select! {
                () = network.next() => running.tunnel().network_changed(),
                changed = changes.changed() => match changed {
                    Ok(()) => self.shared.changes.send_modify(|changes| *changes += 1),
                    Err(_) => std::future::pending().await,
                },
                mended = running.watch() => {
                    tracing::warn!("{mended}");
                    let state = running.state();
                    self.state.send_replace(state);
                    self.shared.changes.send_modify(|changes| *changes += 1);
                }
            }
        }
    }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> State {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    tracing::error!("Traffic of programs cannot be taken: {text}");
    State::Failed(text)
}

/// Between tries to come up.
const RETRY: Duration = Duration::from_secs(5);

/// Routes, guard and resolver on a slow machine.
const SETTLING_LIMIT: Duration = Duration::from_secs(10);
