//! Decision points made of bytes, good and bad, over real sockets.

mod asking;
mod both;
mod hostile;
mod server;
mod todo;

use std::sync::Arc;
use std::time::Duration;

use connector_core::access::{Destination, Flow, Program, Protocol, Workload};
use connector_core::authzen::AccessRequest;
use connector_core::catalogue::{Ports, Resource};
use connector_core::configuration::{PdpProtocol, PolicyMode, PolicyPlan, RemotePdp};
use connector_core::identity::{Person, SessionId};
use connector_core::posture::Verdict;
use connector_core::time::WallTime;
use url::Url;

use super::deciding::Deciding;
use crate::adapters::http::Http;
use crate::adapters::policies::Embedded;

/// Somebody who asks for the application `id`.
pub(super) fn request(id: &str) -> AccessRequest {
    let program = Program {
        path: "/usr/bin/curl".into(),
        user: Some(1000),
        sha256: None,
        ancestors: vec!["/usr/bin/bash".into()],
    };
    AccessRequest {
        person: Arc::new(Person {
            issuer: "https://id.corp.test".into(),
            subject: "ann".into(),
            email: None,
            name: None,
            groups: vec!["staff".into()],
        }),
        session: SessionId::from("s1"),
        assurance: None,
        host: Some("host-1".into()),
        verdict: Verdict::default(),
        network: connector_core::network::NetworkKind::Unknown,
        flow: Flow {
            destination: Destination::Name("wiki.corp.test".parse().unwrap()),
            protocol: Protocol::Tcp(80),
            workload: Workload::Known(Arc::new(program)),
        },
        acting: connector_core::trust::Acting::Oneself,
        resource: Arc::new(Resource {
            id: id.into(),
            title: "Wiki".into(),
            names: vec![],
            prefixes: vec![],
            ports: Ports::default(),
            site: "hq".into(),
            lease: Duration::from_secs(300),
        }),
        time: WallTime::from_unix_millis(1_700_000_000_000),
    }
}

/// Whoever asks these decision points, by AuthZEN.
fn asking(first: &Url, second: Option<&Url>) -> Arc<Deciding> {
    asking_through(&http(), first, second)
}

fn asking_through(http: &Http, first: &Url, second: Option<&Url>) -> Arc<Deciding> {
    let plan = PolicyPlan {
        mode: PolicyMode::Remote,
        remote: Some(RemotePdp {
            protocol: PdpProtocol::AuthZen,
            first: first.clone(),
            second: second.cloned(),
        }),
    };
    Arc::new(Deciding::new(http, plan.mode, Embedded::default(), &plan))
}

/// A client, with the cryptography that the program starts with.
fn http() -> Http {
    // Another test of this process may have been first.
    let _known = rustls::crypto::ring::default_provider().install_default();
    Http::new().unwrap()
}
