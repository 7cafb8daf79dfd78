//! Follows the administrator's settings while the service runs: what can change at once does, the
//! rest is told; what cannot be used changes nothing.

use std::sync::Arc;
use std::time::Duration;

use connector_core::connector::Event;
use connector_core::pausing::PauseRules;
use connector_ipc::{ManagedReport, SettingReport};
use tokio::sync::{mpsc, watch};

use super::shipping::OtlpEndpoint;
use super::{Events, Task};
use crate::driver::Ending;
use crate::logging::LogSwitch;
use crate::settings::{Applies, KEYS, ManagedLayers, Settings, Sources};

/// The settings in force, as front-ends are shown them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InForce {
    /// Every setting with its value and origin.
    pub(crate) report: Vec<SettingReport>,
    /// Where people get help, in place of what the company's configuration says.
    pub(crate) support: Option<String>,
    /// What the administrator manages, if anything.
    pub(crate) managed: Option<ManagedReport>,
}

/// Follows the managed settings until dropped.
#[derive(Debug)]
pub(crate) struct Managing {
    in_force: watch::Receiver<Arc<InForce>>,
    collector: watch::Receiver<Option<OtlpEndpoint>>,
    _task: Task,
}

/// What the service runs with: as its sources say at its start, later as its administrator says.
#[derive(Debug, Clone)]
pub(crate) struct Renewal {
    pub(crate) settings: Settings,
    pub(crate) managed: ManagedLayers,
    /// How often they have changed since the process started.
    pub(crate) changes: u64,
    /// Managed settings that it could not start with, and why: it goes on with those before.
    pub(crate) refused: Option<(ManagedLayers, String)>,
}

impl Renewal {
    /// Returns what a process starts with.
    pub(crate) fn at_start(settings: Settings, managed: ManagedLayers) -> Self {
        Self {
            settings,
            managed,
            changes: 0,
            refused: None,
        }
    }

    /// Returns these settings as those to go on with, after `failed` could not be started with.
    pub(crate) fn instead_of(self, failed: Self, error: &anyhow::Error) -> Self {
        Self {
            changes: failed.changes,
            refused: Some((failed.managed, format!("{error:#}"))),
            ..self
        }
    }
}

/// What following needs.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) sources: Sources,
    pub(crate) current: Renewal,
    pub(crate) log: LogSwitch,
    /// Takes that the service has to start anew.
    pub(crate) endings: mpsc::Sender<Ending>,
}

impl Managing {
    /// Tells the core the rules of the start, and follows what changes.
    pub(crate) async fn start(config: Config, events: Events) -> anyhow::Result<Self> {
        let rules = config.current.settings.pause_rules.clone();
        let keys = Vec::new();
        events
            .send(Event::PauseRulesChanged { rules, keys })
            .await?;
        let follower = Follower::new(config, events);
        let in_force = follower.shown.subscribe();
        let collector = follower.collector.subscribe();
        Ok(Self {
            in_force,
            collector,
            _task: Task::spawn(follower.run()),
        })
    }

    /// Returns who collects telemetry.
    pub(crate) fn collector(&self) -> watch::Receiver<Option<OtlpEndpoint>> {
        self.collector.clone()
    }

    pub(crate) fn in_force(&self) -> watch::Receiver<Arc<InForce>> {
        self.in_force.clone()
    }
}

struct Follower {
    sources: Sources,
    /// The last that were read, whether or not they could be used.
    seen: Result<ManagedLayers, String>,
    current: Current,
    log: LogSwitch,
    endings: mpsc::Sender<Ending>,
    events: Events,
    shown: watch::Sender<Arc<InForce>>,
    collector: watch::Sender<Option<OtlpEndpoint>>,
}

/// What is in force of the settings that are followed.
struct Current {
    report: Vec<SettingReport>,
    rules: PauseRules,
    support: Option<String>,
    log_level: String,
    tray_autostart: bool,
    update_channel: Option<String>,
    changes: u64,
    problem: Option<String>,
}

impl Current {
    fn of(settings: Settings, changes: u64) -> Self {
        Self {
            report: settings.report,
            rules: settings.pause_rules,
            support: settings.support,
            log_level: settings.log_level,
            tray_autostart: settings.tray_autostart,
            update_channel: settings.update_channel,
            changes,
            problem: None,
        }
    }

    fn show(&self) -> InForce {
        let is_managed = self.report.iter().any(|setting| setting.locked);
        let is_told = is_managed || self.problem.is_some() || self.changes > 0;
        let rules = &self.rules;
        let managed = is_told.then(|| ManagedReport {
            by: rules
                .managed_by
                .as_deref()
                .unwrap_or(YOUR_ADMINISTRATOR)
                .to_owned(),
            always_on: rules.is_always_on,
            pause_allowed: !rules.is_always_on && !rules.is_forbidden,
            reason_required: rules.needs_reason,
            pause_limit: rules.limit.map(|limit| limit.as_secs() / 60),
            tray_autostart: self.tray_autostart,
            update_channel: self.update_channel.clone(),
            changes: self.changes,
            problem: self.problem.clone(),
        });
        InForce {
            report: self.report.clone(),
            support: self.support.clone(),
            managed,
        }
    }
}

impl Follower {
    fn new(config: Config, events: Events) -> Self {
        let start = config.current;
        let collector = watch::Sender::new(start.settings.otlp.clone());
        let mut current = Current::of(start.settings, start.changes);
        let seen = match start.refused {
            None => start.managed,
            Some((refused, problem)) => {
                current.problem = Some(problem);
                refused
            }
        };
        let shown = watch::Sender::new(Arc::new(current.show()));
        Self {
            sources: config.sources,
            seen: Ok(seen),
            current,
            log: config.log,
            endings: config.endings,
            events,
            shown,
            collector,
        }
    }

    async fn run(mut self) {
        loop {
            tokio::time::sleep(PACE).await;
            self.look().await;
        }
    }

    /// Looks once at the managed settings, and does what follows.
    async fn look(&mut self) {
        let read = self.sources.read_managed();
        let read = read.map_err(|error| error.to_string());
        if read == self.seen {
            return;
        }
        self.seen = read.clone();
        let parsed = read.and_then(|layers| {
            let settings = self.sources.settings(layers.clone());
            let settings = settings.map_err(|error| error.to_string())?;
            Ok((settings, layers))
        });
        match parsed {
            Ok((settings, managed)) => self.take(settings, managed).await,
            Err(problem) => {
                tracing::error!(
                    problem,
                    "The managed settings cannot be used; the last good ones stay in force"
                );
                self.current.problem = Some(problem);
            }
        }
        self.show();
    }

    async fn take(&mut self, settings: Settings, managed: ManagedLayers) {
        let before = &self.current;
        let live = changed(&before.report, &settings.report, Applies::Live);
        let anew = changed(&before.report, &settings.report, Applies::Anew);
        let keys: Vec<Arc<str>> = live.iter().chain(&anew).map(|key| (*key).into()).collect();
        let changes = before.changes + u64::from(!keys.is_empty());
        if settings.log_level != before.log_level
            && let Err(error) = self.log.set_level(&settings.log_level)
        {
            tracing::warn!(%error, "The log level could not be changed");
        }
        self.collector.send_if_modified(|collector| {
            let is_new = *collector != settings.otlp;
            collector.clone_from(&settings.otlp);
            is_new
        });
        if !keys.is_empty() {
            tracing::info!(
                changed = live.join(", "),
                changed_anew = anew.join(", "),
                "The administrator has changed the settings"
            );
            let rules = settings.pause_rules.clone();
            // A driver that has ended wants no rules.
            let _ = self
                .events
                .send(Event::PauseRulesChanged { rules, keys })
                .await;
        }
        if !anew.is_empty() {
            let renewal = Renewal {
                settings: settings.clone(),
                managed,
                changes,
                refused: None,
            };
            // A driver that has ended needs no ending.
            let _ = self.endings.send(Ending::Renewed(Box::new(renewal))).await;
        }
        self.current = Current::of(settings, changes);
    }

    fn show(&self) {
        let next = self.current.show();
        self.shown.send_if_modified(|shown| {
            let is_new = **shown != next;
            if is_new {
                *shown = Arc::new(next);
            }
            is_new
        });
    }
}

/// Returns the keys with other values, of those that count from a certain time.
fn changed(
    before: &[SettingReport],
    after: &[SettingReport],
    applies: Applies,
) -> Vec<&'static str> {
    let value = |report: &[SettingReport], key: &str| {
        let known = report.iter().find(|setting| setting.key == key);
        known.map(|setting| setting.value.clone())
    };
    KEYS.iter()
        .filter(|key| key.applies == applies && value(before, key.name) != value(after, key.name))
        .map(|key| key.name)
        .collect()
}

/// A file of some hundred bytes, or a few values of the registry: reading it this often costs
/// nothing, and misses nothing that a notification could.
const PACE: Duration = Duration::from_secs(2);

const YOUR_ADMINISTRATOR: &str = "your administrator";

#[cfg(test)]
mod tests;
