//! Policies on this device, and a server for what they say nothing about.

use connector_core::authzen::Decision;
use connector_core::configuration::{PdpProtocol, PolicyMode, PolicyPlan, RemotePdp};
use connector_core::connector::PdpFailure;
use url::Url;

use super::super::deciding::Deciding;
use super::super::within_limit;
use super::server::{Server, deny, permit};
use super::{http, request};
use crate::adapters::policies::Embedded;

/// Ann is of the staff.
const WIKI_FOR_STAFF: &str = r#"@id("staff")
permit(principal in Group::"staff", action == Action::"connect", resource == Resource::"wiki");
@id("never")
forbid(principal, action, resource == Resource::"vault");"#;

#[tokio::test]
async fn what_the_policies_here_permit_or_forbid_by_name_no_server_is_asked_about() {
    let server = Server::answering(permit()).await;
    let embedded = Embedded::by(WIKI_FOR_STAFF);

    let wiki = decide(&embedded, &server.base, "wiki").await.unwrap();
    let vault = decide(&embedded, &server.base, "vault").await.unwrap();

    assert_eq!(wiki.outcome, Ok(()));
    assert!(vault.outcome.is_err());
    assert_eq!(wiki.policy.as_deref(), Some("staff"));
    assert_eq!(vault.policy.as_deref(), Some("never"));
    assert_eq!(wiki.answered_by.as_deref(), Some("embedded"));
    assert!(server.questions().is_empty());
}

#[tokio::test]
async fn what_the_policies_here_say_nothing_about_is_the_servers_word() {
    let embedded = Embedded::by(WIKI_FOR_STAFF);
    for (answer, is_permitted) in [(permit(), true), (deny(), false)] {
        let server = Server::answering(answer).await;

        let decision = decide(&embedded, &server.base, "other").await.unwrap();

        assert_eq!(decision.outcome.is_ok(), is_permitted);
        let name = format!("authzen {}", server.base);
        assert_eq!(decision.answered_by.as_deref(), Some(&*name));
        assert_eq!(server.questions()[0].json(), request("other").to_json());
    }
}

#[tokio::test]
async fn without_policies_in_force_everything_is_the_servers_word() {
    let server = Server::answering(deny()).await;

    let wiki = decide(&Embedded::default(), &server.base, "wiki").await;

    assert!(wiki.unwrap().outcome.is_err());
    assert_eq!(server.questions().len(), 1);
}

#[tokio::test]
async fn a_server_that_is_away_takes_nothing_from_what_is_decided_here_and_permits_nothing() {
    let embedded = Embedded::by(WIKI_FOR_STAFF);
    // Discard, where nobody listens.
    let away: Url = "http://127.0.0.1:9/".parse().unwrap();

    let wiki = decide(&embedded, &away, "wiki").await;
    let other = decide(&embedded, &away, "other").await;

    assert_eq!(wiki.unwrap().outcome, Ok(()));
    assert_eq!(other, Err(PdpFailure::Unreachable));
}

async fn decide(embedded: &Embedded, server: &Url, id: &str) -> Result<Decision, PdpFailure> {
    let policy = PolicyPlan {
        mode: PolicyMode::ProximityThenRemote,
        remote: Some(RemotePdp {
            protocol: PdpProtocol::AuthZen,
            first: server.clone(),
            second: None,
        }),
    };
    let deciding = Deciding::new(&http(), policy.mode, embedded.clone(), &policy);
    within_limit(&deciding, &request(id)).await
}
