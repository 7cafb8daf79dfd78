//! The settings in force: the strongest layer that has one wins, and its text is parsed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use connector_core::configuration::{Trust, UnknownMode};
use connector_core::control::{MAX_REASON, is_reason, is_secure};
use connector_core::pausing::PauseRules;
use connector_ipc::SettingReport;
use tracing_subscriber::filter::Targets;
use url::Url;

use super::layer::{Layer, Value};
use super::{KEYS, KeyStore, LogFormat, Origin, Settings, SettingsError};
use crate::adapters::shipping::OtlpEndpoint;

/// The layers, the strongest first.
pub(super) struct Effective {
    pub(super) layers: Vec<Layer>,
    /// The file to name where a setting is missing.
    pub(super) file: PathBuf,
}

impl Effective {
    pub(super) fn parse(&self) -> Result<Settings, SettingsError> {
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
            otlp: self.otlp()?,
            log_level: self.required("log.level", |text| {
                // A lone word that is no level would be taken for a target, and hide everything.
                let is_filter = (text.contains(['=', ',']) && text.parse::<Targets>().is_ok())
                    || LEVELS.contains(&text);
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
            pause_rules: self.pause_rules()?,
            support: self.line("support.address")?,
            tray_autostart: self.flag("tray.autostart"),
            update_channel: self.line("update.channel")?,
            report: self.report(),
        })
    }

    fn otlp(&self) -> Result<Option<OtlpEndpoint>, SettingsError> {
        self.optional("telemetry.otlp_endpoint", |text| {
            let url = Url::parse(text).map_err(|error| {
                format!("{error}; write a URL, as in https://otel.corp.example:4318/")
            })?;
            if is_secure(&url) {
                Ok(OtlpEndpoint::below(url))
            } else {
                Err("use https; http is accepted for loopback addresses only".to_owned())
            }
        })
    }

    fn pause_rules(&self) -> Result<PauseRules, SettingsError> {
        let key = "pause.limit";
        let limit = match self.find(key) {
            Some((Value::Number(minutes), _)) if (1..=MAX_PAUSE).contains(minutes) => {
                Some(Duration::from_secs(minutes * 60))
            }
            Some((value, origin)) => {
                return Err(SettingsError::Invalid {
                    key,
                    value: value.to_string(),
                    origin: origin.clone(),
                    problem: format!("write a number of minutes from 1 to {MAX_PAUSE}"),
                });
            }
            None => None,
        };
        Ok(PauseRules {
            is_always_on: self.flag("always_on.enabled"),
            is_forbidden: !self.flag("pause.allowed"),
            needs_reason: self.flag("pause.reason_required"),
            limit,
            managed_by: self.line("managed.by")?.map(Into::into),
        })
    }

    /// Returns a text that people read, if there is one.
    fn line(&self, key: &'static str) -> Result<Option<String>, SettingsError> {
        self.optional(key, |text| match is_reason(text) {
            true => Ok(text.to_owned()),
            false => Err(format!("write one line of 1 to {MAX_REASON} characters")),
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
            Some((Value::Flag(_) | Value::List(_) | Value::Number(_), _)) | None => None,
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
                let layers = &mut self.layers.iter();
                let ((value, origin), locked) =
                    layers.find_map(|layer| Some((layer.find(key.name)?, layer.is_managed())))?;
                Some(SettingReport {
                    key: key.name.to_owned(),
                    value: value.to_string(),
                    origin: origin.to_string(),
                    locked,
                    description: key.description.to_owned(),
                })
            })
            .collect()
    }
}

/// The mode that the company's signed configuration names.
const COMPANY_DECIDES: &str = "company";

/// Thirty days, in minutes: nobody means more.
const MAX_PAUSE: u64 = 30 * 24 * 60;

const LEVELS: [&str; 6] = ["debug", "error", "info", "off", "trace", "warn"];

fn display(error: impl std::fmt::Display) -> String {
    error.to_string()
}
