//! Keeps the policy store of this device in step with the control plane's, and
//! decides by it.

mod kept;
mod shelf;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use connector_core::authzen::{AccessRequest, Decision};
use connector_core::catalogue::Resource;
use connector_core::configuration::PolicyMode;
use connector_core::connector::Event;
use connector_core::identity::Person;
use connector_core::jws::PublicKey;
use connector_core::time::Moment;
use connector_platform::clock;
use connector_platform::private::{PrivateDir, PrivateError};
use connector_policy::evaluation::{Circumstances, DecisionPoint};
use connector_policy::head::Head;
use connector_policy::pack;
use connector_policy::snapshot::Snapshot;
use connector_policy::store::{Activated, Effect, Fetch, Refused, RefusedHead, Store};
use tokio::sync::watch;

use self::kept::Kept;
pub(crate) use self::shelf::Shelf;
use super::control::{ApiError, ControlPlane, ControlState, Fetched, HostCredential, Validator};
use super::{Events, Task};

/// What keeping in step needs.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) api: ControlPlane,
    pub(crate) control: watch::Receiver<ControlState>,
    /// The company's policy key, which signs heads.
    pub(crate) key: PublicKey,
    pub(crate) state: PrivateDir,
}

/// Keeps the store in step until dropped.
#[derive(Debug)]
pub(crate) struct Policies {
    embedded: Embedded,
    shelf: Shelf,
    _task: Task,
}

/// What people can be shown of policies, and of what they decided.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) shelf: Shelf,
    pub(crate) embedded: Embedded,
    /// Where decisions are made, if the administrator fixed that on this device.
    pub(crate) mode: Option<PolicyMode>,
    /// Where the decisions are recorded.
    pub(crate) log_dir: PathBuf,
}

/// The embedded decision point: what the policies in force say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Embedded(Arc<Mutex<Point>>);

#[derive(Debug, Default)]
struct Point {
    /// With the head that put the policies in force, and says for how long.
    deciding: Option<(Head, DecisionPoint)>,
    /// The policies that were last in force: what they hide stays hidden when they expire.
    last: Option<Arc<Snapshot>>,
    was_asked: bool,
    /// When the control plane was last heard of.
    heard_at: Moment,
}

impl Policies {
    /// Starts with what earlier runs kept.
    ///
    /// # Errors
    ///
    /// If the state directory cannot be used.
    pub(crate) fn start(config: Config, events: Events) -> Result<Self, PrivateError> {
        let kept = Kept::open(&config.state)?;
        let embedded = Embedded::default();
        embedded.heard();
        let shelf = Shelf::new(Store::new(config.key, LEDGER.into()), config.key);
        let config = Connection {
            api: config.api,
            control: config.control,
        };
        let keeping = Keeping {
            store: shelf.clone(),
            kept,
            config,
            embedded: embedded.clone(),
            events,
            validator: None,
        };
        Ok(Self {
            embedded,
            shelf,
            _task: Task::spawn(keeping.run()),
        })
    }

    /// Returns what people can be shown.
    pub(crate) fn shown(&self, mode: Option<PolicyMode>, log_dir: PathBuf) -> Shown {
        Shown {
            shelf: self.shelf.clone(),
            embedded: self.embedded.clone(),
            mode,
            log_dir,
        }
    }

    pub(crate) fn embedded(&self) -> Embedded {
        self.embedded.clone()
    }
}

impl Embedded {
    /// Decides by the policies in force; none are if there is no answer.
    pub(crate) fn decide(&self, request: &AccessRequest) -> Option<Decision> {
        let mut point = self.lock();
        point.was_asked = true;
        let now = clock::now();
        let silence = now.moment.since(point.heard_at);
        let circumstances = Circumstances {
            offline_for: (silence >= OFFLINE_AFTER).then_some(silence),
            ..Circumstances::default()
        };
        let (head, deciding) = point.deciding.as_mut()?;
        if !head.is_good(now.wall) {
            return None;
        }
        let decision = deciding.decide(request, &circumstances);
        let difference = deciding.differs(&decision, request, &circumstances);
        Some(Decision {
            difference: difference.map(Arc::new),
            answered_by: Some("embedded".into()),
            ..decision
        })
    }

    /// Returns whether the policies in force, or those that were last, hide a resource from a
    /// person. With none in this run, nobody knows.
    pub(crate) fn hides(&self, person: &Person, resource: &Resource) -> bool {
        let point = self.lock();
        let last = point.last.as_ref();
        last.is_some_and(|last| last.hides(person, resource))
    }

    fn activate(&self, activated: &Activated) {
        let shadow = match &activated.shadow {
            Some(Ok(shadow)) => Some(Arc::clone(shadow)),
            Some(Err(error)) => {
                tracing::warn!(%error, "The candidate policies cannot be evaluated");
                None
            }
            None => None,
        };
        let point = DecisionPoint::new(Arc::clone(&activated.snapshot), shadow);
        let mut known = self.lock();
        known.last = Some(Arc::clone(&activated.snapshot));
        known.deciding = Some((activated.head.clone(), point));
    }

    fn deactivate(&self) {
        self.lock().deciding = None;
    }

    fn heard(&self) {
        self.lock().heard_at = clock::now().moment;
    }

    /// Returns whether any answer rests on these policies.
    fn was_asked(&self) -> bool {
        self.lock().was_asked
    }

    fn lock(&self) -> MutexGuard<'_, Point> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to the control plane.
struct Connection {
    api: ControlPlane,
    control: watch::Receiver<ControlState>,
}

/// The task that keeps the store in step.
struct Keeping {
    config: Connection,
    store: Shelf,
    kept: Kept,
    embedded: Embedded,
    events: Events,
    validator: Option<Validator>,
}

impl Keeping {
    async fn run(mut self) {
        self.restore().await;
        let mut failures = 0;
        loop {
            self.store
                .change(|store| store.handle_timeout(clock::now().wall));
            if let Err(error) = self.carry_out().await {
                tracing::warn!(%error, "The policies in force stay as they are");
            }
            let pause = match self.exchange(failures == 0).await {
                Ok(()) => {
                    failures = 0;
                    BETWEEN_EXCHANGES
                }
                Err(error) => {
                    failures = (failures + 1).min(MAX_FAILURES);
                    tracing::warn!(%error, "The policy store cannot be kept in step");
                    RETRY * failures
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn restore(&self) {
        let Some((head, objects)) = self.kept.read() else {
            return;
        };
        let objects = pack::read(&objects)
            .map_while(Result::ok)
            .map(<[u8]>::to_vec);
        let now = clock::now().wall;
        let restored = self
            .store
            .change(|store| store.restore(&head, objects, now));
        if let Err(error) = restored {
            tracing::info!(%error, "The kept policies are not used");
        }
        // What is missing is fetched with the next head; now there may be no network.
        while let Some(effect) = self.store.change(Store::poll) {
            match effect {
                Effect::Activate(activated) => self.activate(&activated).await,
                Effect::Deactivate | Effect::Fetch(_) | Effect::Forget(_) | Effect::Keep { .. } => {
                }
            }
        }
    }

    /// Waits for the next head, and fetches what it leads to.
    async fn exchange(&mut self, may_wait: bool) -> Result<(), Failed> {
        let credential = self.credential().await?;
        let patience = if may_wait { POLL } else { Duration::ZERO };
        let known = self.validator.as_ref();
        let Some(fetched) = self
            .config
            .api
            .policy_head(&credential, known, patience)
            .await?
        else {
            // This control plane has no policy store.
            tokio::time::sleep(LONG_PAUSE).await;
            return Ok(());
        };
        // It is there; what it says may still be refused.
        self.embedded.heard();
        if let Fetched::Document { jws, validator } = fetched {
            self.validator = None;
            let now = clock::now().wall;
            self.store.change(|store| store.handle_head(&jws, now))?;
            self.carry_out().await?;
            self.validator = validator;
        }
        Ok(())
    }

    async fn credential(&mut self) -> Result<Arc<HostCredential>, Failed> {
        let state = self
            .config
            .control
            .wait_for(|state| state.credential.is_some())
            .await
            .map_err(|_| Failed::Stopped)?;
        state.credential.clone().ok_or(Failed::Stopped)
    }

    async fn carry_out(&mut self) -> Result<(), Failed> {
        while let Some(effect) = self.store.change(Store::poll) {
            match effect {
                Effect::Activate(activated) => self.activate(&activated).await,
                Effect::Deactivate => {
                    tracing::warn!("The policies have expired");
                    self.embedded.deactivate();
                    // The same head may become good again, when a clock is put right.
                    self.validator = None;
                    self.tell("none").await;
                }
                Effect::Fetch(fetch) => {
                    let objects = self.fetch(&fetch).await?;
                    self.store.change(|store| store.handle_objects(objects))?;
                }
                Effect::Forget(_) => self.kept.forget(),
                Effect::Keep { objects, head } => {
                    let objects = objects.iter().map(|(_, object)| object);
                    self.kept.write(pack::write(objects), &head)?;
                }
            }
        }
        Ok(())
    }

    async fn fetch(&self, fetch: &Fetch) -> Result<Vec<Vec<u8>>, Failed> {
        let credential = self.config.control.borrow().credential.clone();
        let credential = credential.ok_or(Failed::Stopped)?;
        // The rest is missing then, and fetched next.
        let missing = fetch.missing.iter().take(MAX_NAMES);
        let missing = missing.map(ToString::to_string).collect();
        let answer = self.config.api.policy_objects(&credential, missing).await?;
        let objects = pack::read(&answer).map(|object| object.map(<[u8]>::to_vec));
        Ok(objects.collect::<Result<_, _>>()?)
    }

    async fn activate(&self, activated: &Activated) {
        let commit = activated.snapshot.commit().to_string();
        tracing::info!(commit, sequence = %activated.head.sequence, "Policies are in force");
        self.embedded.activate(activated);
        self.tell(&commit).await;
    }

    /// Has what rests on the policies decided again. With a policy server alone,
    /// nothing does, and live flows are not to depend on its being there now.
    async fn tell(&self, commit: &str) {
        if !self.embedded.was_asked() {
            return;
        }
        // A driver that has ended wants no report.
        let _ = self
            .events
            .send(Event::PolicyChanged {
                commit: commit.into(),
            })
            .await;
    }
}

/// Why the store could not be kept in step.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Head(#[from] RefusedHead),
    #[error(transparent)]
    Kept(#[from] PrivateError),
    #[error(transparent)]
    Objects(#[from] Refused),
    #[error(transparent)]
    Pack(#[from] pack::InvalidPack),
    #[error("the service stops")]
    Stopped,
}

/// Names the store whose heads decide about connections.
const LEDGER: &str = "connector";

/// How long the control plane may hold a request for the next head.
const POLL: Duration = Duration::from_secs(50);

/// Longer than a poll and its repetition.
const OFFLINE_AFTER: Duration = Duration::from_secs(90);

/// Objects in one request, whose names fit a small body.
const MAX_NAMES: usize = 500;

const BETWEEN_EXCHANGES: Duration = Duration::from_millis(100);
const RETRY: Duration = Duration::from_secs(2);
const MAX_FAILURES: u32 = 15;
const LONG_PAUSE: Duration = Duration::from_secs(60);
