//! Looks for what is wrong: takes measurements that nobody else needs, and judges them together
//! with what the service knows anyway.

mod certificate;
mod judging;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use chrono::DateTime;
use connector_core::authzen::printable;
use connector_core::network::Prefix;
use connector_ipc::{DiagnosisReport, GatewayPathReport, GatewayState, NetworkReport};
use connector_platform::surroundings::{self, Surroundings};
use connector_platform::{clock, steering};
use http::header::{CONTENT_TYPE, DATE, LOCATION};
use tunnel::userspace::SiteStatus;
use tunnel_proto::gateways::{Behind, GatewayStatus};
use url::Url;

pub(crate) use self::certificate::signer;
use self::judging::{Answered, Observed, Plain, Taken};
use super::http::{self as web, Http};
use crate::view::View;

/// Looks at everything that can be wrong; takes some seconds where servers are silent.
pub(crate) async fn diagnose(http: &Http, view: &View) -> DiagnosisReport {
    let (control_plane, plain, name, gateways, machine) = tokio::join!(
        ask(http, &view.control_plane),
        ask_plainly(http, &view.control_plane),
        look_up(view),
        call_gateways(view),
        look_around(view),
    );
    let network = NetworkReport {
        control_plane_micros: control_plane
            .as_ref()
            .ok()
            .map(|answer| micros(answer.took)),
        clock_ahead_seconds: control_plane.as_ref().ok().and_then(Answered::ahead),
        gateways,
    };
    let observed = Observed {
        status: view.status(),
        posture: view.posture(),
        control_problem: view.control.borrow().problem.clone(),
        control_plane,
        plain,
        name,
        taken: machine.taken,
        surroundings: machine.surroundings,
        proxies: proxy_variables(),
        secrets: view.store.keeping(view.host_keeper),
        network: &network,
    };
    let examined = judging::judge(&observed);
    DiagnosisReport { examined, network }
}

/// Asks the control plane for what everybody may ask it for, past whatever is cached.
async fn ask(http: &Http, control_plane: &Url) -> Result<Answered, String> {
    let url = control_plane
        .join(connector_core::control::DISCOVERY_PATH)
        .map_err(|error| error.to_string())?;
    let begun = Instant::now();
    let answer = web::send(http.client().get(url), PATIENCE, MAX_ANSWER)
        .await
        .map_err(|error| error.to_string())?;
    let header = |name| {
        let value = answer.headers.get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    Ok(Answered {
        status: answer.status.as_u16(),
        content_type: printable(&header(CONTENT_TYPE).unwrap_or_default()).to_string(),
        date: header(DATE)
            .and_then(|date| DateTime::parse_from_rfc2822(&date).ok())
            .map(|date| date.timestamp()),
        at: i64::try_from(clock::now().wall.unix_seconds()).unwrap_or(i64::MAX),
        took: begun.elapsed(),
        signer: answer.tls.and_then(|tls| signer(tls.peer_certificate()?)),
    })
}

/// Asks the control plane's host without TLS, which a network that wants to be signed in to answers
/// in its place; none where nothing answers, and where the control plane itself speaks without TLS.
async fn ask_plainly(http: &Http, control_plane: &Url) -> Option<Plain> {
    if control_plane.scheme() != "https" {
        return None;
    }
    let own = control_plane.host_str()?;
    let url = Url::parse(&format!("http://{own}/")).ok()?;
    let answer = web::send(http.client().get(url.clone()), PLAIN_PATIENCE, MAX_ANSWER).await;
    let answer = answer.ok()?;
    let header = |name| answer.headers.get(name)?.to_str().ok();
    let location = header(LOCATION).and_then(|place| url.join(place).ok());
    Some(Plain {
        status: answer.status.as_u16(),
        is_page: header(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/html")),
        leads_to: location.and_then(|place| place.host_str().map(str::to_owned)),
        own: own.to_owned(),
    })
}

/// Asks the machine's own resolver for a protected name, as programs do; none where the tunnel
/// does not answer names.
async fn look_up(view: &View) -> Option<(String, Result<Vec<IpAddr>, String>)> {
    let connector_ipc::InterceptionReport::Up { .. } = view.status().interception? else {
        return None;
    };
    let access = view.authorizer.access();
    let name = access
        .shown()
        .flat_map(|resource| &resource.names)
        .map(ToString::to_string)
        .find(|name| !name.starts_with('*'))?;
    let looked_up = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((name.as_str(), 1)));
    let found = match looked_up.await {
        Ok(Ok(addresses)) => Ok(addresses.map(|address| address.ip()).collect()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    };
    Some((name, found))
}

/// Calls all gateways, those too that are not needed now, and waits for their answers.
async fn call_gateways(view: &View) -> Vec<GatewayPathReport> {
    let mut changes = view.tunnel.changes();
    let asked = clock::moment();
    let answers = move |gateway: &GatewayStatus| gateway.last_handshake >= Some(asked);
    let has_told = move |gateway: &GatewayStatus| {
        let told_at = gateway.behind.map(|behind| match behind {
            Behind::Answers { at, .. } | Behind::Silent { at } => Some(at),
            Behind::Asked { .. } => None,
        });
        answers(gateway) && told_at.is_none_or(|at| at >= Some(asked))
    };
    let all_answer = || {
        let sites = view.tunnel.status();
        sites.iter().flat_map(|site| &site.gateways).all(has_told)
    };
    for _ in 0..CALLS {
        if all_answer() {
            break;
        }
        view.tunnel.call_gateways();
        let _in_time = tokio::time::timeout(CALL_LASTS, async {
            while !all_answer() && changes.changed().await.is_ok() {}
        })
        .await;
    }
    let sites = view.tunnel.status();
    let gateways = sites.iter().flat_map(|site| &site.gateways);
    let addresses: Vec<SocketAddr> = gateways.filter_map(|gateway| gateway.address).collect();
    let looked = tokio::task::spawn_blocking(move || {
        let mtus = surroundings::path_mtus(&addresses);
        addresses.into_iter().zip(mtus).collect()
    });
    let mtus: BTreeMap<SocketAddr, Option<u32>> = looked.await.unwrap_or_default();
    let paths = sites.iter().flat_map(|site| {
        let gateways = site.gateways.iter();
        gateways.map(|gateway| {
            let mtu = gateway.address.and_then(|address| *mtus.get(&address)?);
            path(site, gateway, answers(gateway), mtu)
        })
    });
    paths.collect()
}

/// What the machine tells.
#[derive(Default)]
struct Machine {
    surroundings: Surroundings,
    taken: Vec<Taken>,
}

async fn look_around(view: &View) -> Machine {
    let own = match view.status().interception {
        Some(connector_ipc::InterceptionReport::Up { device, .. }) => Some(device),
        Some(_) | None => None,
    };
    let access = view.authorizer.access();
    let protected: Vec<Prefix> = access
        .shown()
        .flat_map(|resource| resource.prefixes.iter().copied())
        .collect();
    let looked = tokio::task::spawn_blocking(move || {
        let mut surroundings = surroundings::look();
        surroundings
            .tunnels
            .retain(|device| Some(device) != own.as_ref());
        Machine {
            surroundings,
            taken: taken(&protected),
        }
    });
    looked.await.unwrap_or_default()
}

/// Returns the ranges of this machine's networks that protected addresses lie in.
fn taken(protected: &[Prefix]) -> Vec<Taken> {
    let used = steering::ranges_in_use().unwrap_or_default();
    let pairs = protected.iter().flat_map(|wanted| {
        let meeting = used.iter().filter(|range| range.overlaps(*wanted));
        meeting.map(|range| Taken {
            protected: *wanted,
            by: *range,
        })
    });
    pairs.collect()
}

fn path(
    site: &SiteStatus,
    gateway: &GatewayStatus,
    answered: bool,
    path_mtu: Option<u32>,
) -> GatewayPathReport {
    GatewayPathReport {
        site: site.id.to_string(),
        path_mtu,
        is_narrow: site.is_narrow,
        id: gateway.id.to_string(),
        endpoint: gateway.endpoint.to_string(),
        address: gateway.address,
        state: if answered {
            crate::view::gateway_state(gateway.state)
        } else {
            GatewayState::Down
        },
        handshake_micros: gateway.handshake_took.filter(|_| answered).map(micros),
        behind: crate::view::behind(gateway, clock::moment()).filter(|_| answered),
    }
}

/// Returns the variables that would send requests through a proxy if the service heeded them.
fn proxy_variables() -> Vec<&'static str> {
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    PROXY_VARIABLES.into_iter().filter(is_set).collect()
}

const PROXY_VARIABLES: [&str; 6] = [
    "https_proxy",
    "HTTPS_PROXY",
    "http_proxy",
    "HTTP_PROXY",
    "all_proxy",
    "ALL_PROXY",
];

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// So many questions without an answer are enough to say that nothing is behind a gateway.
const CALLS: u32 = 3;
const CALL_LASTS: Duration = Duration::from_millis(1200);

/// Somebody waits for what comes of it.
const PATIENCE: Duration = Duration::from_secs(5);

/// A network that wants to be signed in to is near.
const PLAIN_PATIENCE: Duration = Duration::from_millis(1500);

/// The control plane's description of itself is short; what else answers may not be.
const MAX_ANSWER: usize = 64 * 1024;
