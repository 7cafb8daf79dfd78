//! Keeps the policy store of this device in step with the control plane's, and
//! decides by it.

mod concealing;
mod embedded;
mod kept;
mod shelf;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use connector_core::audit::Rejected;
use connector_core::configuration::PolicyMode;
use connector_core::connector::Event;
use connector_core::jws::PublicKey;
use connector_platform::clock;
use connector_platform::private::{PrivateDir, PrivateError};
use connector_policy::pack;
use connector_policy::store::{Activated, Effect, Fetch, Refused, RefusedHead, Store};
use tokio::sync::watch;

pub(crate) use self::concealing::Concealing;
pub(crate) use self::embedded::Embedded;
use self::kept::Kept;
pub(crate) use self::shelf::Shelf;
use super::control::{ApiError, ControlPlane, ControlState, Fetched, HostCredential, Validator};
use super::http::HttpError;
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
    _tasks: [Task; 2],
}

/// What people can be shown of policies, and of what they decided.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) shelf: Shelf,
    /// Where decisions are made, if the administrator fixed that on this device.
    pub(crate) mode: Option<PolicyMode>,
    /// Where the decisions are recorded.
    pub(crate) log_dir: PathBuf,
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
            unwritten: None,
        };
        Ok(Self {
            _tasks: [
                Task::spawn(expire(embedded.clone(), keeping.events.clone())),
                Task::spawn(keeping.run()),
            ],
            embedded,
            shelf,
        })
    }

    /// Returns what people can be shown.
    pub(crate) fn shown(&self, mode: Option<PolicyMode>, log_dir: PathBuf) -> Shown {
        Shown {
            shelf: self.shelf.clone(),
            mode,
            log_dir,
        }
    }

    pub(crate) fn embedded(&self) -> Embedded {
        self.embedded.clone()
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
    /// A head in force that could not be brought to the disk yet.
    unwritten: Option<String>,
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
                self.tell_of(&error).await;
            }
            self.write_again();
            let pause = match self.exchange(failures == 0).await {
                Ok(()) => {
                    failures = 0;
                    BETWEEN_EXCHANGES
                }
                Err(error) => {
                    failures = (failures + 1).min(MAX_FAILURES);
                    tracing::warn!(%error, "The policy store cannot be kept in step");
                    self.tell_of(&error).await;
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
            self.store.forgive();
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
                    self.embedded.deactivate();
                    // The same head may become good again, when a clock is put right.
                    self.validator = None;
                    self.tell("none").await;
                }
                Effect::Fetch(fetch) => {
                    let objects = self.fetch(&fetch).await?;
                    self.store.change(|store| store.handle_objects(objects))?;
                }
                // The next ones are kept without them.
                Effect::Forget(_) => {}
                Effect::Keep { objects, head } => {
                    let objects = (!objects.is_empty()).then(|| self.store.look(Store::pack));
                    let written = self.kept.write(objects.as_deref(), &head);
                    self.unwritten = written.is_err().then_some(head);
                    written?;
                }
            }
        }
        Ok(())
    }

    /// Has it written down, and shown, if what was sent is to blame.
    async fn tell_of(&self, failed: &Failed) {
        if !failed.is_of_what_was_sent() {
            return;
        }
        let problem: Arc<str> = failed.to_string().into();
        self.store.blame(clock::now().wall, Arc::clone(&problem));
        let rejected = Event::Rejected(Rejected::Policies { problem });
        // A driver that has ended wants no report.
        let _ = self.events.send(rejected).await;
    }

    /// Tries again to keep what is in force, lest something older decides after a restart.
    fn write_again(&mut self) {
        if let Some(head) = &self.unwritten {
            let objects = self.store.look(Store::pack);
            match self.kept.write(Some(&objects), head) {
                Ok(()) => self.unwritten = None,
                Err(error) => tracing::warn!(%error, "The policies in force are not on the disk"),
            }
        }
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
        tell(&self.embedded, &self.events, commit).await;
    }
}

/// Ends what rests on policies as soon as they expire, whatever else goes on.
async fn expire(embedded: Embedded, events: Events) {
    loop {
        embedded.expire().await;
        tracing::warn!("The policies have expired");
        tell(&embedded, &events, "none").await;
    }
}

async fn tell(embedded: &Embedded, events: &Events, commit: &str) {
    if !embedded.was_asked() {
        return;
    }
    let commit = commit.into();
    // A driver that has ended wants no report.
    let _ = events.send(Event::PolicyChanged { commit }).await;
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

impl Failed {
    /// Returns whether the control plane answered, with something that is not followed.
    fn is_of_what_was_sent(&self) -> bool {
        match self {
            Self::Api(error) => matches!(
                error,
                ApiError::Http(HttpError::TooLong(_)) | ApiError::Unreadable(_)
            ),
            Self::Head(_) | Self::Objects(_) | Self::Pack(_) => true,
            Self::Kept(_) | Self::Stopped => false,
        }
    }
}

/// Names the store whose heads decide about connections.
const LEDGER: &str = "connector";

/// How long the control plane may hold a request for the next head.
const POLL: Duration = Duration::from_secs(50);

/// Objects in one request, whose names fit a small body.
const MAX_NAMES: usize = 500;

const BETWEEN_EXCHANGES: Duration = Duration::from_millis(100);
const RETRY: Duration = Duration::from_secs(2);
const MAX_FAILURES: u32 = 15;
const LONG_PAUSE: Duration = Duration::from_secs(60);
