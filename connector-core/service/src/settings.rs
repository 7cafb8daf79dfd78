//! The service's settings: what can be set, where, and which place wins.

mod effective;
mod keys;
mod layer;
mod nearest;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use connector_core::configuration::{PolicyMode, Trust};
use connector_core::pausing::PauseRules;
use connector_ipc::SettingReport;
use connector_platform::managed;
use connector_platform::paths::Paths;
use url::Url;

use self::effective::Effective;
pub(crate) use self::keys::{Applies, KEYS, Key, Kind, Place};
use self::layer::{Layer, Value};
pub(crate) use self::layer::{Origin, SettingsError};
use crate::adapters::shipping::OtlpEndpoint;

/// Everything that the service is told from outside.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The control plane's base URL; ends with a slash.
    pub(crate) control_plane: Url,
    /// What no document can lift.
    pub(crate) trust: Trust,
    /// The administrator's one-time enrolment token.
    pub(crate) enrolment_token_file: Option<PathBuf>,
    /// What people call this device.
    pub(crate) device_name: String,
    pub(crate) state_dir: PathBuf,
    pub(crate) log_dir: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) key_store: KeyStore,
    /// Where the local proxy listens; none switches it off.
    pub(crate) proxy_listen: Option<SocketAddr>,
    /// Where decisions are made, in place of what the company's configuration says.
    pub(crate) policy_mode: Option<PolicyMode>,
    /// Who collects decisions as OpenTelemetry logs, beside the control plane.
    pub(crate) otlp: Option<OtlpEndpoint>,
    pub(crate) log_level: String,
    pub(crate) log_format: LogFormat,
    /// What the administrator fixed about switching off.
    pub(crate) pause_rules: PauseRules,
    /// Where people get help, in place of what the company's configuration says.
    pub(crate) support: Option<String>,
    /// Whether the tray stays when it is started at login.
    pub(crate) tray_autostart: bool,
    /// Where packages come from, as far as anybody has said.
    pub(crate) update_channel: Option<String>,
    /// Every setting with its value and origin, for `ztna config`.
    pub(crate) report: Vec<SettingReport>,
}

/// Where the key lies that seals what is kept of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyStore {
    /// Nowhere: files are private, and not sealed.
    Files,
    /// In the system's key store, where there is one.
    System,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Json,
    Text,
}

/// The values given on the command line, by key.
pub(crate) type Flags = BTreeMap<&'static str, (&'static str, String)>;

/// Where settings come from; the managed ones are read again while the service runs.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    managed_file: PathBuf,
    /// Everything but the managed settings, the strongest first.
    others: Vec<Layer>,
    /// The file to name where a setting is missing.
    file: PathBuf,
}

/// The managed settings, as they are at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ManagedLayers(Vec<Layer>);

impl Sources {
    /// Collects what is read once: flags, environment, the user's file, the administrator's file,
    /// defaults; the managed settings, which are stronger, come from `managed` if it is given.
    pub(crate) fn collect(
        paths: &Paths,
        managed: Option<&Path>,
        config: Option<&Path>,
        flags: Flags,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let beside_admins = || paths.admin_config.with_file_name("managed.toml");
        let user = config.or(paths.user_config.as_deref());
        let mut others = vec![
            Layer::from_flags(flags),
            Layer::from_environment(environment)?,
        ];
        match config {
            Some(path) => others.push(Layer::read_required(path)?),
            None => others.extend(user.map(Layer::read).transpose()?),
        }
        others.push(Layer::read(&paths.admin_config)?);
        others.push(defaults(paths)?);
        Ok(Self {
            managed_file: managed.map_or_else(beside_admins, Path::to_owned),
            others,
            file: user.unwrap_or(&paths.admin_config).to_owned(),
        })
    }

    /// Reads the managed settings.
    pub(crate) fn read_managed(&self) -> Result<ManagedLayers, SettingsError> {
        let mut layers = Vec::new();
        if let Some(found) = managed::native()? {
            layers.push(Layer::from_native(found)?);
        }
        if let Some(text) = managed::read_file(&self.managed_file)? {
            layers.push(Layer::parse_managed(&self.managed_file, &text)?);
        }
        Ok(ManagedLayers(layers))
    }

    /// Returns the settings with these managed ones.
    pub(crate) fn settings(&self, managed: ManagedLayers) -> Result<Settings, SettingsError> {
        let mut layers = managed.0;
        layers.extend(self.others.iter().cloned());
        let effective = Effective {
            layers,
            file: self.file.clone(),
        };
        effective.parse()
    }
}

/// Says what is wrong with a file of settings, if anything is.
#[cfg(feature = "testing")]
pub(crate) fn problem(text: &str, is_managed: bool) -> Option<String> {
    let file = Path::new("settings.toml");
    let layer = match is_managed {
        true => Layer::parse_managed(file, text),
        false => Layer::parse(file, text),
    };
    let settings = layer.and_then(|layer| {
        let effective = Effective {
            layers: vec![layer, defaults(&Paths::system())?],
            file: file.to_owned(),
        };
        effective.parse()
    });
    settings.err().map(|error| error.to_string())
}

fn defaults(paths: &Paths) -> Result<Layer, SettingsError> {
    let text = |path: &Path| Value::Text(path.display().to_string());
    Layer::from_defaults([
        ("device.name", Value::Text(device_name())),
        ("service.state_dir", text(&paths.state_dir)),
        ("service.log_dir", text(&paths.log_dir)),
        ("service.socket", text(&paths.socket)),
    ])
}

fn device_name() -> String {
    std::env::var("HOSTNAME")
        .or_else(|_| std::env::var("COMPUTERNAME"))
        .or_else(|_| std::fs::read_to_string("/etc/hostname"))
        .map(|name| name.trim().to_owned())
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "unnamed device".to_owned())
}

#[cfg(test)]
mod tests;
