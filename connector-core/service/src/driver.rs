//! Carries facts in and effects out until told to stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use connector_core::access::{AccessMap, Reason};
use connector_core::audit::Matter;
use connector_core::configuration::Trust;
use connector_core::connector::{Connector, Effect, Event, Standing};
use connector_platform::clock;
use connector_platform::supervisor::Supervisor;
use tokio::sync::{mpsc, oneshot, watch};
use url::Url;

use crate::adapters::Order;
use crate::adapters::decisions::DecisionLog;
use crate::adapters::keys::KeyRing;
use crate::adapters::managing::Renewal;
use crate::adapters::measuring::Measuring;
use crate::adapters::pdp::Pdp;
use crate::adapters::policies::Concealing;
use crate::adapters::sign_in::{SignIn, Wish};
use crate::adapters::signals::Signals;
use crate::adapters::tunnelling::Tunnel;
use crate::view::Snapshot;

/// How the service comes to rest.
#[derive(Debug)]
pub(crate) enum Ending {
    /// As the system asked: it leaves the machine as it was.
    ForGood,
    /// To start anew at once: what protects the machine stays for the next one to take over.
    Renewed(Box<Renewal>),
}

/// What the configuration in force rests on.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) state_dir: PathBuf,
    pub(crate) control_plane: Url,
    pub(crate) trust: Trust,
}

/// Everything that effects are carried out with.
#[derive(Debug)]
pub(crate) struct Adapters {
    pub(crate) pdp: Pdp,
    pub(crate) concealing: Concealing,
    pub(crate) measuring: Measuring,
    pub(crate) sign_in: SignIn,
    pub(crate) signals: Signals,
    pub(crate) decisions: DecisionLog,
    pub(crate) tunnel: Arc<Tunnel>,
    pub(crate) keys: KeyRing,
    pub(crate) access: watch::Sender<Arc<AccessMap>>,
    pub(crate) snapshot: watch::Sender<Arc<Snapshot>>,
    pub(crate) origin: Origin,
    /// Hears from the loop alone: one that is stuck must be missed.
    pub(crate) supervisor: Supervisor,
}

/// Drives `connector` until it is told to end and has come to rest; returns what it was told.
pub(crate) async fn run(
    mut connector: Connector,
    mut events: mpsc::Receiver<Event>,
    mut orders: mpsc::Receiver<Order>,
    mut endings: mpsc::Receiver<Ending>,
    mut adapters: Adapters,
) -> Ending {
    adapters.supervisor.status(in_words(connector.standing()));
    adapters.supervisor.ready();
    let mut stopping: Option<Stopping> = None;
    let mut ordered: Option<oneshot::Sender<()>> = None;
    let ending = loop {
        adapters.supervisor.alive();
        if let Some(concealed) = adapters.concealing.poll(&connector) {
            connector.handle_event(Event::ResourcesConcealed(concealed), clock::now());
        }
        // Before the effects: whoever sees a tunnel go should know already why.
        adapters.show(&connector);
        while let Some(effect) = connector.poll_effect() {
            adapters.start(effect);
        }
        if let Some(done) = ordered.take() {
            // Whoever gave the order may have gone.
            let _ = done.send(());
        }
        let is_at_rest = || adapters.tunnel.live_flows() == 0 && events.is_empty();
        if let Some(over) = stopping.take_if(|stopping| stopping.is_over(is_at_rest())) {
            break over.ending;
        }

        let now = clock::now();
        let due = connector.poll_timeout().map(|due| due.since(now.moment));
        let longest = adapters
            .supervisor
            .pace()
            .map_or(LONGEST_PAUSE, |pace| pace.min(LONGEST_PAUSE));
        let pause = due.unwrap_or(longest).min(longest);
        let pause = stopping
            .as_ref()
            .map_or(pause, |stopping| pause.min(stopping.time_left()));
        let event = tokio::select! {
            biased;
            Some(order) = orders.recv() => {
                ordered = Some(order.done);
                Some(order.event)
            }
            Some(ending) = endings.recv() => {
                if stopping.is_some() && matches!(ending, Ending::Renewed(_)) {
                    // The next one looks at the settings again; nothing keeps one from ending.
                    continue;
                }
                adapters.prepare(&ending);
                stopping = Some(Stopping::begin(ending));
                Some(Event::Stopping)
            }
            Some(event) = events.recv() => Some(event),
            () = tokio::time::sleep(pause) => None,
        };
        if event.is_none() {
            connector.handle_timeout(clock::now());
        }
        // What has come together is answered by one map; an order goes first.
        let mut next = event;
        let mut fed = 0;
        while let Some(event) = next {
            connector.handle_event(event, clock::now());
            fed += 1;
            let goes_on = ordered.is_none() && orders.is_empty() && fed < BATCH;
            next = goes_on.then(|| events.try_recv().ok()).flatten();
        }
    };
    adapters.tunnel.stop().await;
    // Nobody takes reports any more; what waits is written all the same.
    drop(events);
    adapters.decisions.close();
    ending
}

/// That the service is coming to rest.
struct Stopping {
    ending: Ending,
    deadline: tokio::time::Instant,
}

impl Stopping {
    fn begin(ending: Ending) -> Self {
        Self {
            ending,
            deadline: tokio::time::Instant::now() + STOPPING_LIMIT,
        }
    }

    fn time_left(&self) -> Duration {
        self.deadline
            .saturating_duration_since(tokio::time::Instant::now())
    }

    /// Returns whether it has, or whatever has not yet is not waited for any longer.
    fn is_over(&self, is_at_rest: bool) -> bool {
        let is_late = self.time_left().is_zero();
        if is_late && !is_at_rest {
            tracing::warn!("Some connections did not end in time");
        }
        is_at_rest || is_late
    }
}

impl Adapters {
    /// Says what is coming to whoever has to know before anything ends.
    fn prepare(&self, ending: &Ending) {
        match ending {
            Ending::ForGood => {
                self.supervisor.stopping();
                self.tunnel.leave_in_place(false);
            }
            // Only for whoever takes it over at once: with the same state directory, in which it is
            // written down, and with the configuration that lies there and is still good.
            Ending::Renewed(next) => {
                let settings = &next.settings;
                let is_same = settings.state_dir == self.origin.state_dir
                    && settings.control_plane == self.origin.control_plane
                    && settings.trust == self.origin.trust;
                let closed = self.access.borrow().closed().map(|denial| denial.reason);
                let is_good = closed != Some(Reason::ConfigurationExpired);
                self.tunnel.leave_in_place(is_same && is_good);
            }
        }
    }

    /// Starts an effect; never waits, since the outcome comes back as an event.
    fn start(&mut self, effect: Effect) {
        match effect {
            Effect::ApplyTunnel(plan) => self.tunnel.apply(&self.keys, plan),
            Effect::EndSession(session) => self.sign_in.end(&session),
            Effect::Evaluate {
                attempt,
                policy,
                request,
            } => self.pdp.ask(&policy, attempt, request),
            Effect::EvaluateTrust {
                attempt,
                policy,
                request,
            } => self.pdp.ask_trust(&policy, attempt, request),
            Effect::FollowSignals(transmitter) => self.signals.follow(transmitter),
            Effect::ForgetSignIn => self.sign_in.forget(),
            Effect::Measure(checks) => self.measuring.measure(checks),
            Effect::PublishAccess(access) => {
                // Live flows first: nobody may see the new map while an old flow still runs.
                self.tunnel.publish(&access);
                self.access.send_replace(access);
            }
            Effect::Record { attempt, record } => {
                self.decisions.write(attempt, Matter::Decision(record));
            }
            Effect::RecordPlea(record) => self.decisions.write(None, Matter::Plea(record)),
            Effect::RecordProtection(record) => {
                self.decisions.write(None, Matter::Protection(record));
            }
            Effect::RecordRejection(record) => {
                self.decisions.write(None, Matter::Rejection(record));
            }
            Effect::RecordSignal(record) => {
                tracing::info!(
                    event = %record.event.id,
                    kind = record.event.signal.as_str(),
                    outcome = record.outcome.as_str(),
                    "A signal was received"
                );
                self.decisions.write(None, Matter::Signal(record));
            }
            Effect::RecordTrust { attempt, record } => {
                self.decisions.write(attempt, Matter::Trust(record));
            }
            Effect::RememberCompliance(compliance) => self.signals.remember(compliance),
            Effect::RememberRevocations(kept) => self.signals.remember_revocations(kept),
            Effect::SignIn {
                attempt,
                provider,
                method,
                owner,
            } => self
                .sign_in
                .start(attempt, provider, Wish { method, owner }),
        }
    }

    fn show(&self, connector: &Connector) {
        let snapshot = Snapshot::of(connector);
        self.snapshot.send_if_modified(|shown| {
            let changed = **shown != snapshot;
            if shown.standing != snapshot.standing {
                self.supervisor.status(in_words(snapshot.standing));
            }
            if changed {
                *shown = Arc::new(snapshot);
            }
            changed
        });
    }
}

/// How things stand, as `systemctl status` shows it.
const fn in_words(standing: Standing) -> &'static str {
    match standing {
        Standing::NotConfigured => "Waiting for the company's configuration",
        Standing::Paused => "Switched off by the user",
        Standing::Ready => "Somebody is signed in",
        Standing::SignedOut => "Nobody is signed in",
        Standing::SigningIn => "Somebody is signing in",
    }
}

/// The timer's clock may stand still while the machine sleeps; look often
/// enough that nothing due is missed for long after it wakes.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Events that are fed before anything is published; they take some milliseconds.
const BATCH: usize = 16 * 1024;

/// How long open connections have to end when the service stops.
const STOPPING_LIMIT: Duration = Duration::from_millis(1000);
