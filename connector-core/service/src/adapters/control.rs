//! The control plane: enrolment, the signed configuration, sessions.

mod api;
mod enrolment;

use std::sync::Arc;
use std::time::Duration;

use connector_core::configuration::{Configuration, Rejected, Trust, Version};
use connector_core::connector::Event;
use connector_platform::clock;
use connector_platform::private::{PrivateDir, PrivateError};
use ed25519_dalek::SigningKey;
use tokio::sync::watch;

pub(crate) use self::api::{ApiError, ControlPlane, Fetched, HostCredential, Validator};
use super::{Events, Task};

/// What the service knows about the control plane.
#[derive(Debug, Clone, Default)]
pub(crate) struct ControlState {
    pub(crate) reachable: bool,
    /// What the last failure was.
    pub(crate) problem: Option<Problem>,
    /// Set once the host is enrolled.
    pub(crate) credential: Option<Arc<HostCredential>>,
}

/// Why the control plane cannot be used, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) message: String,
    pub(crate) remedy: &'static str,
}

/// What the adapter needs.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) api: ControlPlane,
    pub(crate) trust: Trust,
    pub(crate) state: PrivateDir,
    pub(crate) host_key: SigningKey,
    pub(crate) device_name: String,
    pub(crate) enrolment_token_file: Option<std::path::PathBuf>,
}

/// Keeps in touch with the control plane until dropped.
#[derive(Debug)]
pub(crate) struct Control {
    state: watch::Receiver<ControlState>,
    _task: Task,
}

impl Control {
    /// Starts with what earlier runs left.
    ///
    /// # Errors
    ///
    /// If it is not known which version of the configuration was accepted
    /// last: starting anyway would let an older one in.
    pub(crate) fn start(config: Config, events: Events) -> Result<Self, FloorError> {
        let known = Known::restore(&config)?;
        let (sender, state) = watch::channel(ControlState::default());
        let task = Task::spawn(keep_in_touch(known, config, events, sender));
        Ok(Self { state, _task: task })
    }

    pub(crate) fn state(&self) -> watch::Receiver<ControlState> {
        self.state.clone()
    }
}

async fn keep_in_touch(
    mut known: Known,
    config: Config,
    events: Events,
    state: watch::Sender<ControlState>,
) {
    if let Some(configuration) = known.configuration.take() {
        let _ = events
            .send(Event::ConfigurationAccepted(Box::new(configuration)))
            .await;
    }
    let mut failures = 0;
    loop {
        // After a failure, ask at once whether all is well again.
        let patience = if failures == 0 {
            api::POLL
        } else {
            Duration::ZERO
        };
        let next = tokio::time::Instant::now() + BETWEEN_EXCHANGES;
        match known.exchange(&config, &events, &state, patience).await {
            Ok(()) => {
                failures = 0;
                state.send_if_modified(|state| {
                    let changed = !state.reachable || state.problem.is_some();
                    state.reachable = true;
                    state.problem = None;
                    changed
                });
                tokio::time::sleep_until(next).await;
            }
            Err(error) => {
                failures += 1;
                tracing::warn!(%error, "The control plane cannot be used");
                state.send_modify(|state| {
                    state.reachable = false;
                    state.problem = Some(Problem::of(&error));
                });
                tokio::time::sleep(pause(failures)).await;
            }
        }
    }
}

/// What earlier exchanges left.
struct Known {
    credential: Option<Arc<HostCredential>>,
    configuration: Option<Configuration>,
    floor: Version,
    validator: Option<Validator>,
}

impl Known {
    fn restore(config: &Config) -> Result<Self, FloorError> {
        let floor = read_floor(&config.state)?;
        let stored = config.state.read(CONFIGURATION).ok().flatten();
        let configuration = stored
            .and_then(|jws| String::from_utf8(jws).ok())
            .and_then(|jws| {
                config
                    .trust
                    .accept(&jws, floor, clock::now())
                    .inspect_err(
                        |error| tracing::info!(%error, "The stored configuration is not used"),
                    )
                    .ok()
            });
        Ok(Self {
            credential: None,
            floor: configuration
                .as_ref()
                .map_or(floor, |known: &Configuration| floor.max(known.version)),
            configuration,
            validator: None,
        })
    }

    /// One step: enrol if need be, then wait for the next configuration.
    async fn exchange(
        &mut self,
        config: &Config,
        events: &Events,
        state: &watch::Sender<ControlState>,
        patience: Duration,
    ) -> anyhow::Result<()> {
        let credential = match &self.credential {
            Some(credential) => Arc::clone(credential),
            None => {
                let credential = Arc::new(enrolment::enrol(config).await?);
                tracing::info!(host = %credential.id, "This host is enrolled");
                let _ = events
                    .send(Event::HostEnrolled(credential.id.clone()))
                    .await;
                state.send_modify(|state| state.credential = Some(Arc::clone(&credential)));
                self.credential = Some(Arc::clone(&credential));
                credential
            }
        };

        match config
            .api
            .configuration(&credential, self.validator.as_ref(), patience)
            .await?
        {
            Fetched::NotModified => Ok(()),
            Fetched::Document { jws, validator } => {
                let configuration = config.trust.accept(&jws, self.floor, clock::now())?;
                config
                    .state
                    .write(FLOOR, configuration.version.to_string().as_bytes())?;
                config.state.write(CONFIGURATION, jws.as_bytes())?;
                self.floor = configuration.version;
                self.validator = validator;
                tracing::info!(version = %configuration.version, "A configuration is in force");
                let _ = events
                    .send(Event::ConfigurationAccepted(Box::new(configuration)))
                    .await;
                Ok(())
            }
        }
    }
}

impl Problem {
    fn of(error: &anyhow::Error) -> Self {
        let remedy = if let Some(rejected) = error.downcast_ref::<Rejected>() {
            match rejected {
                Rejected::Signature(_) => {
                    "Compare control_plane.policy_key with what your administrator gave you."
                }
                Rejected::Expired { .. } => {
                    "Check this device's clock, then tell your administrator."
                }
                Rejected::Invalid { .. }
                | Rejected::Malformed { .. }
                | Rejected::OlderVersion { .. } => "Tell your administrator.",
            }
        } else if error
            .downcast_ref::<ApiError>()
            .is_some_and(ApiError::is_refusal)
        {
            "Ask your administrator for a new enrolment token, or whether this device was removed."
        } else {
            "Check the network and control_plane.url; the connector keeps trying."
        };
        Self {
            message: error.to_string().trim_end_matches('.').to_owned(),
            remedy,
        }
    }
}

fn read_floor(state: &PrivateDir) -> Result<Version, FloorError> {
    let Some(bytes) = state.read(FLOOR)? else {
        return Ok(Version::default());
    };
    let text = String::from_utf8_lossy(&bytes);
    let version = text.trim().parse();
    version.map(Version).map_err(|_| FloorError::Damaged {
        path: state.path(FLOOR).display().to_string(),
    })
}

/// The version that was accepted last is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FloorError {
    #[error(
        "{path} is damaged, so an older configuration could not be told from a new one; restore it, or enrol this device anew with an empty state directory"
    )]
    Damaged { path: String },
    #[error(transparent)]
    Private(#[from] PrivateError),
}

/// Does not flood a control plane that answers at once instead of waiting for a change.
const BETWEEN_EXCHANGES: Duration = Duration::from_secs(1);

fn pause(failures: u32) -> Duration {
    Duration::from_millis(250 << failures.min(7))
}

const CONFIGURATION: &str = "configuration.jws";

/// Kept apart from the document, so that removing the document does not let
/// an older one in.
const FLOOR: &str = "configuration.version";
