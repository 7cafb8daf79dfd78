//! The service's settings: what can be set, where, and which place wins.

mod layer;
mod nearest;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use connector_core::configuration::{PolicyMode, Trust, UnknownMode};
use connector_core::control::is_secure;
use connector_ipc::SettingReport;
use connector_platform::paths::Paths;
use url::Url;

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

/// What can be set: the key in files, the environment variable, the kind.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) variable: &'static str,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Flag,
    List,
    Text,
}

/// Every key, in the order in which `ztna config` shows them.
pub(crate) const KEYS: &[Key] = &[
    key("control_plane.url", "ZTNA_CONTROL_PLANE_URL", Kind::Text),
    key("control_plane.policy_key", "ZTNA_POLICY_KEY", Kind::Text),
    key(
        "control_plane.dns_suffixes",
        "ZTNA_DNS_SUFFIXES",
        Kind::List,
    ),
    key(
        "control_plane.enrolment_token_file",
        "ZTNA_ENROLMENT_TOKEN_FILE",
        Kind::Text,
    ),
    key("device.name", "ZTNA_DEVICE_NAME", Kind::Text),
    key("service.state_dir", "ZTNA_STATE_DIR", Kind::Text),
    key("service.log_dir", "ZTNA_LOG_DIR", Kind::Text),
    key("service.socket", "ZTNA_SOCKET", Kind::Text),
    key("service.key_store", "ZTNA_KEY_STORE", Kind::Text),
    key("policy.mode", "ZTNA_POLICY_MODE", Kind::Text),
    key("proxy.enabled", "ZTNA_PROXY_ENABLED", Kind::Flag),
    key("proxy.listen", "ZTNA_PROXY_LISTEN", Kind::Text),
    key("telemetry.otlp_endpoint", "ZTNA_OTLP_ENDPOINT", Kind::Text),
    key("log.level", "ZTNA_LOG", Kind::Text),
    key("log.format", "ZTNA_LOG_FORMAT", Kind::Text),
];

const fn key(name: &'static str, variable: &'static str, kind: Kind) -> Key {
    Key {
        name,
        variable,
        kind,
    }
}

/// The values given on the command line, by key.
pub(crate) type Flags = BTreeMap<&'static str, (&'static str, String)>;

impl Settings {
    /// Collects the settings: managed file, then flags, environment, the user's
    /// file, the administrator's file, defaults.
    pub(crate) fn collect(
        paths: &Paths,
        config: Option<&Path>,
        flags: Flags,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let managed = paths.admin_config.with_file_name("managed.toml");
        let user = config.or(paths.user_config.as_deref());
        let mut layers = vec![
            Layer::read(&managed)?,
            Layer::from_flags(flags),
            Layer::from_environment(environment)?,
        ];
        match config {
            Some(path) => layers.push(Layer::read_required(path)?),
            None => layers.extend(user.map(Layer::read).transpose()?),
        }
        layers.push(Layer::read(&paths.admin_config)?);
        layers.push(defaults(paths));

        Effective {
            layers,
            file: user.unwrap_or(&paths.admin_config).to_owned(),
        }
        .parse()
    }
}

fn defaults(paths: &Paths) -> Layer {
    let text = |path: &Path| Value::Text(path.display().to_string());
    Layer::from_defaults([
        ("device.name", Value::Text(device_name())),
        ("service.state_dir", text(&paths.state_dir)),
        ("service.log_dir", text(&paths.log_dir)),
        ("service.socket", text(&paths.socket)),
        ("service.key_store", Value::Text("system".into())),
        ("policy.mode", Value::Text(COMPANY_DECIDES.into())),
        ("proxy.enabled", Value::Flag(true)),
        ("proxy.listen", Value::Text("127.0.0.1:7080".into())),
        ("log.level", Value::Text("info".into())),
        ("log.format", Value::Text("text".into())),
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

/// The layers, the strongest first.
struct Effective {
    layers: Vec<Layer>,
    /// The file to name where a setting is missing.
    file: PathBuf,
}

impl Effective {
    fn parse(&self) -> Result<Settings, SettingsError> {
        let mut control_plane = self.required("control_plane.url", |text| {
            let url = Url::parse(text).map_err(|error| {
                format!("{error}; write a URL, as in https://ztna.corp.example/")
            })?;
            if is_secure(&url) {
                Ok(url)
            } else {
                Err("use https; http is accepted for loopback addresses only".to_owned())
            }
        })?;
        if !control_plane.path().ends_with('/') {
            control_plane.set_path(&format!("{}/", control_plane.path()));
        }
        let enabled = self.flag("proxy.enabled");
        let listen = self.required("proxy.listen", |text| {
            let address: SocketAddr = text
                .parse()
                .map_err(|_| "write an address and a port, as in 127.0.0.1:7080".to_owned())?;
            if address.ip().is_loopback() {
                Ok(address)
            } else {
                Err("the proxy listens on loopback addresses only".to_owned())
            }
        })?;

        Ok(Settings {
            control_plane,
            trust: Trust {
                key: self.required("control_plane.policy_key", |text| {
                    text.parse().map_err(display)
                })?,
                suffixes: self.list("control_plane.dns_suffixes", |text| {
                    text.parse().map_err(display)
                })?,
            },
            enrolment_token_file: self
                .text("control_plane.enrolment_token_file")
                .map(PathBuf::from),
            device_name: self.required("device.name", |text| Ok(text.to_owned()))?,
            state_dir: self.path("service.state_dir")?,
            log_dir: self.path("service.log_dir")?,
            socket: self.path("service.socket")?,
            key_store: self.required("service.key_store", |text| match text {
                "files" => Ok(KeyStore::Files),
                "system" => Ok(KeyStore::System),
                _ => Err("write system or files".to_owned()),
            })?,
            proxy_listen: enabled.then_some(listen),
            policy_mode: self.required("policy.mode", |text| match text {
                COMPANY_DECIDES => Ok(None),
                _ => text.parse().map(Some).map_err(|error: UnknownMode| {
                    format!("{error}, or {COMPANY_DECIDES} for what the configuration says")
                }),
            })?,
            otlp: self.optional("telemetry.otlp_endpoint", |text| {
                let url = Url::parse(text).map_err(|error| {
                    format!("{error}; write a URL, as in https://otel.corp.example:4318/")
                })?;
                if is_secure(&url) {
                    Ok(OtlpEndpoint::below(url))
                } else {
                    Err("use https; http is accepted for loopback addresses only".to_owned())
                }
            })?,
            log_level: self.required("log.level", |text| {
                // A lone word that is no level would be taken for a target, and hide everything.
                let is_filter = text.contains(['=', ',']) || LEVELS.contains(&text);
                let problem = "write off, error, warn, info, debug, trace, or target=level";
                is_filter
                    .then(|| text.to_owned())
                    .ok_or_else(|| problem.to_owned())
            })?,
            log_format: self.required("log.format", |text| match text {
                "json" => Ok(LogFormat::Json),
                "text" => Ok(LogFormat::Text),
                _ => Err("write text or json".to_owned()),
            })?,
            report: self.report(),
        })
    }

    fn missing(&self, key: &'static str) -> SettingsError {
        SettingsError::Missing {
            key,
            file: self.file.clone(),
        }
    }

    fn find(&self, key: &str) -> Option<(&Value, &Origin)> {
        self.layers.iter().find_map(|layer| layer.find(key))
    }

    fn text(&self, key: &str) -> Option<&str> {
        match self.find(key) {
            Some((Value::Text(text), _)) => Some(text),
            Some((Value::Flag(_) | Value::List(_), _)) | None => None,
        }
    }

    fn flag(&self, key: &str) -> bool {
        matches!(self.find(key), Some((Value::Flag(true), _)))
    }

    fn optional<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, SettingsError> {
        match self.find(key) {
            Some(_) => self.required(key, parse).map(Some),
            None => Ok(None),
        }
    }

    fn required<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, SettingsError> {
        let Some((Value::Text(text), origin)) = self.find(key) else {
            return Err(self.missing(key));
        };
        parse(text).map_err(|problem| SettingsError::Invalid {
            key,
            value: text.clone(),
            origin: origin.clone(),
            problem,
        })
    }

    fn list<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, SettingsError> {
        let Some((Value::List(items), origin)) = self.find(key) else {
            return Err(self.missing(key));
        };
        if items.is_empty() {
            return Err(SettingsError::Invalid {
                key,
                value: String::new(),
                origin: origin.clone(),
                problem: "name at least one".to_owned(),
            });
        }
        items
            .iter()
            .map(|item| {
                parse(item).map_err(|problem| SettingsError::Invalid {
                    key,
                    value: item.clone(),
                    origin: origin.clone(),
                    problem,
                })
            })
            .collect()
    }

    fn path(&self, key: &'static str) -> Result<PathBuf, SettingsError> {
        self.required(key, |text| {
            let path = PathBuf::from(text);
            if path.is_absolute() || text.starts_with(r"\\.\pipe\") {
                Ok(path)
            } else {
                Err("write an absolute path".to_owned())
            }
        })
    }

    fn report(&self) -> Vec<SettingReport> {
        KEYS.iter()
            .filter_map(|key| {
                let (value, origin) = self.find(key.name)?;
                Some(SettingReport {
                    key: key.name.to_owned(),
                    value: value.to_string(),
                    origin: origin.to_string(),
                })
            })
            .collect()
    }
}

/// The mode that the company's signed configuration names.
const COMPANY_DECIDES: &str = "company";

const LEVELS: [&str; 6] = ["debug", "error", "info", "off", "trace", "warn"];

fn display(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests;
