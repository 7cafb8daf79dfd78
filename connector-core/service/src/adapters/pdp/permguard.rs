//! Permguard's decision point: gRPC, AuthZEN's model with a principal beside the subject.
//!
//! A unary call is one length-prefixed message and a trailer, so the HTTP client
//! that is there already carries it; a gRPC framework would bring a second
//! connection pool and a second set-up of TLS.

mod call;
mod message;
mod question;

use connector_core::authzen::{AccessRequest, Decision};
use connector_core::configuration::Ledger;
use connector_core::connector::PdpFailure;
use url::Url;

use super::{ANSWER_LIMIT, Failure};
use crate::adapters::http::Http;
use crate::adapters::keys;

/// One decision point.
#[derive(Debug)]
pub(super) struct Permguard {
    /// The client, or why there is none.
    http: Result<Http, String>,
    method: Url,
    ledger: Ledger,
}

impl Permguard {
    /// Prepares to ask the decision point at `base` about the policies of `ledger`.
    pub(super) fn new(base: &Url, ledger: Ledger) -> Self {
        let mut method = base.clone();
        method.set_path(&format!("{}{METHOD}", base.path().trim_end_matches('/')));
        Self {
            http: Http::http2().map_err(|error| error.to_string()),
            method,
            ledger,
        }
    }

    /// Puts one question.
    pub(super) async fn check(&self, request: &AccessRequest) -> Result<Decision, Failure> {
        let unreachable = |detail: String| Failure {
            kind: PdpFailure::Unreachable,
            detail,
        };
        let http = self
            .http
            .as_ref()
            .map_err(|error| unreachable(error.clone()))?;
        let request_id = keys::unguessable().map_err(|error| unreachable(error.to_string()))?;
        let question = question::write(request, &self.ledger, &request_id);
        let exchange = call::unary(http, &self.method, &question);
        let answer = tokio::time::timeout(ANSWER_LIMIT, exchange)
            .await
            .map_err(|_| Failure {
                kind: PdpFailure::Late,
                detail: format!("no answer within {ANSWER_LIMIT:?}"),
            })??;
        question::read(answer, &request_id)
    }
}

/// Reads the one message that answers `request_id`, and returns whether it permits.
#[cfg(feature = "testing")]
pub(crate) fn read_message(message: &[u8], request_id: &str) -> Option<bool> {
    let answer = call::decode(message).ok()?;
    let decision = question::read(answer, request_id).ok()?;
    Some(decision.outcome.is_ok())
}

const METHOD: &str = "/policydecisionpoint.V1PDPService/AuthorizationCheck";
