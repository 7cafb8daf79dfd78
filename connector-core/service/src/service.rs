//! Puts the service together, and takes it apart again.

use std::sync::Arc;

use anyhow::Context;
use connector_core::connector::{Connector, Event, SignInMethod};
use connector_ipc::ProxyReport;
use connector_platform::endpoint::{Audience, Listener};
use connector_platform::instance::Instance;
use connector_platform::private::PrivateDir;
use connector_platform::supervisor::Supervisor;
use ed25519_dalek::SigningKey;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

use crate::adapters::authorizer::Authorizer;
use crate::adapters::control::{self, Control, ControlPlane};
use crate::adapters::decisions::{self, DecisionLog};
use crate::adapters::granting::Granting;
use crate::adapters::http::Http;
use crate::adapters::interception::Interception;
use crate::adapters::keys::{self, KeyRing, Sealers};
use crate::adapters::managing::{self, Managing, Renewal};
use crate::adapters::measuring::Measuring;
use crate::adapters::networking;
use crate::adapters::pdp::Pdp;
use crate::adapters::policies::{self, Concealing, Policies};
use crate::adapters::proxying::Gate;
use crate::adapters::shipping::{self, Cursors, OtlpEndpoint, Shipping};
use crate::adapters::sign_in::{self, SignIn};
use crate::adapters::signals::{self, Signals};
use crate::adapters::tunnelling::Tunnel;
use crate::adapters::{Events, Task, front_ends};
use crate::driver::{self, Adapters, Ending, Origin};
use crate::logging::{LatestLines, LogSwitch};
use crate::options::Mode;
use crate::settings::{Settings, Sources};
use crate::view::{Snapshot, View};

/// What the service starts with.
pub(crate) struct Given {
    pub(crate) current: Renewal,
    /// Where settings come from.
    pub(crate) sources: Sources,
    pub(crate) mode: Mode,
    pub(crate) audience: Audience,
    /// Whether the system has asked the service to end.
    pub(crate) is_to_end: watch::Receiver<bool>,
    pub(crate) lines: LatestLines,
    pub(crate) log: LogSwitch,
    pub(crate) sealers: Sealers,
}

/// Runs the service until it is told to end; returns how.
#[expect(
    clippy::too_many_lines,
    reason = "the parts are put together once, each after what it stands on"
)]
pub(crate) async fn run(given: Given) -> anyhow::Result<Ending> {
    let (settings, sealers) = (given.current.settings.clone(), given.sealers);
    let state = PrivateDir::open(&settings.state_dir)
        .context("Failed to use service.state_dir (--state-dir)")?;
    let _instance = Instance::claim(&state)?;
    let (events, queue) = mpsc::channel(EVENT_QUEUE);
    let (orders, order_queue) = mpsc::channel(ORDER_QUEUE);
    let (endings, ending_queue) = mpsc::channel(1);
    let host_key = keys::host_key(&state, &sealers.host)?;
    let (decisions, cursors) = open_log(&settings, &state, &host_key, &events)?;
    let proxy_listener = listen_for_proxy(&settings).await?;
    let listener = Listener::bind(&settings.socket, given.audience)?;

    let managing = managing::Config {
        sources: given.sources,
        current: given.current,
        log: given.log,
        endings: endings.clone(),
    };
    let managing = Managing::start(managing, events.clone()).await?;
    let collector = managing.collector();
    let http = Http::new()?;
    let api = ControlPlane::new(http.clone(), settings.control_plane.clone());
    let kept = restore_signals(&state, &events).await?;
    let control = start_control(&settings, &state, host_key, &api, &events)?;
    let shipping = start_shipping(&decisions, &api, &control, (&http, collector), cursors);
    let policies = start_policies(&settings, &state, &api, &control, &events)?;
    let keys = KeyRing::default();
    let granting = Granting::new(api.clone(), keys.clone(), events.clone());
    let store = sign_in::Store::new(state.clone(), &sealers);
    let sign_in = sign_in::Config {
        http: http.clone(),
        api,
        control: control.state(),
        store: store.clone(),
        keys: keys.clone(),
    };
    let sign_in = start_sign_in(sign_in, &events).await?;

    let connector = Connector::new(posture::builtin_checks());
    let (access_sender, access) = watch::channel(Arc::default());
    let (snapshot_sender, snapshot) = watch::channel(Arc::new(Snapshot::of(&connector)));
    let tunnel = Arc::new(start_tunnel(given.mode, state, events.clone())?);
    let authorizer = Authorizer::new(access, events.clone());

    let gate = Gate::new(authorizer.clone(), Arc::clone(&tunnel), given.audience);
    let (proxy, proxy_report) = start_proxy(proxy_listener, gate)?;
    let origin = Origin {
        state_dir: settings.state_dir.clone(),
        control_plane: settings.control_plane.clone(),
        trust: settings.trust.clone(),
    };
    let view = View {
        snapshot,
        control: control.state(),
        progress: sign_in.progress(),
        authorizer,
        tunnel: Arc::clone(&tunnel),
        decisions: decisions.recent(),
        policies: policies.shown(settings.policy_mode, settings.log_dir),
        shipments: shipping.shipments(),
        settings: managing.in_force(),
        control_plane: settings.control_plane,
        proxy: proxy_report,
        log: given.lines,
        store,
        host_keeper: sealers.host.keeper(),
    };
    let signals_config = signals::Config {
        http: http.clone(),
        control: control.state(),
        orders: orders.clone(),
        events: events.clone(),
    };
    let answering = front_ends::Config {
        view: Arc::new(view),
        granting,
        http: http.clone(),
        audience: given.audience,
        code_key: settings.trust.key,
        events: events.clone(),
        orders,
    };
    let front_ends = front_ends::start(listener, answering);
    let network = networking::watch(events.clone());
    let stop = end_when_asked(given.is_to_end, endings);
    tracing::info!("The service is ready");

    let embedded = policies.embedded();
    let adapters = Adapters {
        signals: Signals::new(signals_config, kept),
        concealing: Concealing::new(settings.policy_mode, embedded.clone()),
        pdp: Pdp::new(http, settings.policy_mode, embedded, events.clone()),
        measuring: Measuring::start(events.clone())?,
        sign_in,
        decisions,
        tunnel,
        keys,
        access: access_sender,
        snapshot: snapshot_sender,
        origin,
        supervisor: Supervisor::find(),
    };
    let ending = driver::run(connector, queue, order_queue, ending_queue, adapters).await;

    drop((stop, network, front_ends));
    drop((shipping, policies, control, managing));
    proxy.stop().await;
    tracing::info!("The service has stopped");
    Ok(ending)
}

/// Signs in with what an earlier run left, if it left anything.
async fn start_sign_in(config: sign_in::Config, events: &Events) -> anyhow::Result<SignIn> {
    let sign_in = SignIn::new(config, events.clone());
    if let Some(owner) = sign_in.stored() {
        let method = SignInMethod::Stored;
        events
            .send(Event::SignInRequested { method, owner })
            .await?;
    }
    Ok(sign_in)
}

/// Takes in what earlier runs were told.
async fn restore_signals(state: &PrivateDir, events: &Events) -> anyhow::Result<signals::Kept> {
    let kept = signals::Kept::restore(state.clone())?;
    // Before anything else is known, so that nothing is decided without it.
    if let Some(compliance) = kept.compliance() {
        events.send(Event::SignalsRestored(compliance)).await?;
    }
    let revocations = kept.revocations();
    events.send(Event::RevocationsRestored(revocations)).await?;
    Ok(kept)
}

fn start_policies(
    settings: &Settings,
    state: &PrivateDir,
    api: &ControlPlane,
    control: &Control,
    events: &Events,
) -> anyhow::Result<Policies> {
    let config = policies::Config {
        api: api.clone(),
        control: control.state(),
        key: settings.trust.key,
        state: state.clone(),
    };
    Ok(Policies::start(config, events.clone())?)
}

/// Opens the decision log; how far earlier runs delivered it goes before, so that nothing that
/// somebody still wants is dropped without a word.
fn open_log(
    settings: &Settings,
    state: &PrivateDir,
    host_key: &SigningKey,
    events: &Events,
) -> anyhow::Result<(DecisionLog, Cursors)> {
    let dir =
        PrivateDir::open(&settings.log_dir).context("Failed to use service.log_dir (--log-dir)")?;
    let cursors = Cursors::open(state, dir.path(""), settings.otlp.as_ref());
    let config = decisions::Config {
        dir,
        state: state.clone(),
        key: host_key.clone(),
        delivered: cursors.delivered(),
        file_limit: decisions::FILE_LIMIT,
    };
    let decisions = DecisionLog::open(config, events.clone())?;
    Ok((decisions, cursors))
}

fn start_shipping(
    decisions: &DecisionLog,
    api: &ControlPlane,
    control: &Control,
    (http, otlp): (&Http, watch::Receiver<Option<OtlpEndpoint>>),
    cursors: Cursors,
) -> Shipping {
    let config = shipping::Config {
        written: decisions.written(),
        api: api.clone(),
        control: control.state(),
        http: http.clone(),
        otlp,
    };
    Shipping::start(config, cursors)
}

/// Makes the tunnel for a mode.
fn start_tunnel(mode: Mode, state: PrivateDir, events: Events) -> anyhow::Result<Tunnel> {
    match mode {
        Mode::Transparent => {
            let seed = keys::address_seed(&state)?;
            Ok(Tunnel::Transparent(Interception::start(
                state, seed, events,
            )?))
        }
        Mode::Userspace => Ok(Tunnel::userspace(events)),
    }
}

fn start_control(
    settings: &Settings,
    state: &PrivateDir,
    host_key: SigningKey,
    api: &ControlPlane,
    events: &Events,
) -> anyhow::Result<Control> {
    let config = control::Config {
        api: api.clone(),
        trust: settings.trust.clone(),
        state: state.clone(),
        host_key,
        device_name: settings.device_name.clone(),
        enrolment_token_file: settings.enrolment_token_file.clone(),
    };
    Ok(Control::start(config, events.clone())?)
}

/// The proxy, if it is switched on.
struct RunningProxy(Option<(oneshot::Sender<()>, Task, oneshot::Receiver<()>)>);

impl RunningProxy {
    /// Closes every connection.
    async fn stop(self) {
        if let Some((stop, _task, stopped)) = self.0 {
            drop(stop);
            let _ = stopped.await;
        }
    }
}

/// Takes the proxy's port, before anything is said to the control plane.
async fn listen_for_proxy(settings: &Settings) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = settings.proxy_listen else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("Failed to listen at {address} for the proxy; set proxy.listen to a free port")
    })?;
    Ok(Some(listener))
}

fn start_proxy(
    listener: Option<TcpListener>,
    gate: Gate,
) -> anyhow::Result<(RunningProxy, ProxyReport)> {
    let Some(listener) = listener else {
        return Ok((RunningProxy(None), ProxyReport::default()));
    };
    let listen = listener.local_addr()?;
    let (stop, stopping) = oneshot::channel::<()>();
    let (done, stopped) = oneshot::channel();
    let task = Task::spawn(async move {
        let stopping = async {
            let _ = stopping.await;
        };
        if let Err(error) = proxy::serve(listener, gate, proxy::Limits::default(), stopping).await {
            tracing::error!(%error, "The proxy has stopped");
        }
        let _ = done.send(());
    });
    tracing::info!(%listen, "The proxy is ready for HTTP and SOCKS5");
    let report = ProxyReport {
        listen: Some(listen),
        pac_url: Some(format!("http://{listen}/proxy.pac")),
    };
    Ok((RunningProxy(Some((stop, task, stopped))), report))
}

/// Has the service end for good as soon as the system asks it to.
fn end_when_asked(mut asked: watch::Receiver<bool>, endings: mpsc::Sender<Ending>) -> Task {
    Task::spawn(async move {
        if asked.wait_for(|asked| *asked).await.is_ok() {
            tracing::info!("The service is stopping");
            // A driver that has ended needs no ending.
            let _ = endings.send(Ending::ForGood).await;
        }
    })
}

/// Facts that wait for the driver; it handles each within microseconds.
const EVENT_QUEUE: usize = 16 * 1024;

/// Orders that wait; each front-end has at most one.
const ORDER_QUEUE: usize = 64;
