//! The control plane: enrolment, the signed configuration, sessions.

mod api;
mod enrolment;

use std::sync::Arc;
use std::time::Duration;

use connector_core::configuration::{Configuration, Trust, Version};
use connector_core::connector::Event;
use connector_platform::clock;
use connector_platform::private::{PrivateDir, PrivateError};
use ed25519_dalek::SigningKey;
use tokio::sync::watch;

pub(crate) use self::api::{ApiError, ControlPlane, HostCredential};
use self::api::{Fetched, Validator};
use super::{Events, Task};

/// What the service knows about the control plane.
#[derive(Debug, Clone, Default)]
pub(crate) struct ControlState {
    pub(crate) reachable: bool,
    /// What the last failure was, for people.
    pub(crate) problem: Option<String>,
    /// Set once the host is enrolled.
    pub(crate) credential: Option<Arc<HostCredential>>,
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
    pub(crate) fn start(config: Config, events: Events) -> Self {
        let (sender, state) = watch::channel(ControlState::default());
        let task = Task::spawn(keep_in_touch(config, events, sender));
        Self { state, _task: task }
    }

    pub(crate) fn state(&self) -> watch::Receiver<ControlState> {
        self.state.clone()
    }
}

async fn keep_in_touch(config: Config, events: Events, state: watch::Sender<ControlState>) {
    let mut known = Known::restore(&config);
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
        match known.exchange(&config, &events, &state, patience).await {
            Ok(()) => {
                failures = 0;
                state.send_if_modified(|state| {
                    let changed = !state.reachable || state.problem.is_some();
                    state.reachable = true;
                    state.problem = None;
                    changed
                });
            }
            Err(error) => {
                failures += 1;
                tracing::warn!(
                    error = format!("{error:#}"),
                    "The control plane cannot be used"
                );
                state.send_modify(|state| {
                    state.reachable = false;
                    state.problem = Some(format!("{error:#}"));
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
    fn restore(config: &Config) -> Self {
        let floor = read_floor(&config.state).unwrap_or_else(|error| {
            tracing::error!(%error, "The version of the last configuration cannot be read");
            Version::default()
        });
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
        Self {
            credential: None,
            configuration,
            floor,
            validator: None,
        }
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

fn read_floor(state: &PrivateDir) -> Result<Version, PrivateError> {
    let floor = state.read(FLOOR)?;
    let parsed = floor
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|text| text.trim().parse().ok());
    Ok(parsed.map_or_else(Version::default, Version))
}

fn pause(failures: u32) -> Duration {
    Duration::from_millis(250 << failures.min(7))
}

const CONFIGURATION: &str = "configuration.jws";

/// Kept apart from the document, so that removing the document does not let
/// an older one in.
const FLOOR: &str = "configuration.version";
