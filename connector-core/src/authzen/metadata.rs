//! What a policy decision point says about itself (§9), and where it is asked.

use serde_json::Value;
use url::Url;

use super::{Malformed, strict};
use crate::control::is_secure;

/// Where a policy decision point is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// One question at a time.
    pub evaluation: Url,
    /// Several at once, if it offers that.
    pub evaluations: Option<Url>,
}

impl Endpoints {
    /// Returns where a decision point without metadata is asked: the default
    /// path below its base, one question at a time (§10.1).
    #[must_use]
    pub fn by_default(base: &Url) -> Self {
        let mut evaluation = base.clone();
        let path = format!("{}/access/v1/evaluation", base.path().trim_end_matches('/'));
        evaluation.set_path(&path);
        Self {
            evaluation,
            evaluations: None,
        }
    }

    /// Reads the metadata of the decision point at `base` (§9.2).
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is no such document, speaks for another decision
    /// point (§9.2.3), or leads to an endpoint that is not protected.
    pub fn parse(base: &Url, document: &[u8]) -> Result<Self, Malformed> {
        let document = strict::parse(document)?;
        let speaks_for = document
            .get("policy_decision_point")
            .and_then(Value::as_str);
        let is_same = speaks_for
            .and_then(|text| Url::parse(text).ok())
            .is_some_and(|found| identifier(&found) == identifier(base));
        if !is_same {
            return Err(Malformed::new(format!(
                "its metadata speaks for {speaks_for:?} and not for {base}"
            )));
        }
        Ok(Self {
            evaluation: endpoint(base, &document, "access_evaluation_endpoint")?
                .ok_or_else(|| Malformed::new("its metadata has no access_evaluation_endpoint"))?,
            evaluations: endpoint(base, &document, "access_evaluations_endpoint")?,
        })
    }
}

/// Returns where the decision point at `base` keeps its metadata: the
/// well-known name stands between host and path (§9.2.1).
#[must_use]
pub fn metadata_url(base: &Url) -> Url {
    let mut url = base.clone();
    let path = base.path().trim_end_matches('/');
    url.set_path(&format!("/.well-known/authzen-configuration{path}"));
    url
}

/// A slash at the end names nothing else.
fn identifier(url: &Url) -> &str {
    url.as_str().trim_end_matches('/')
}

fn endpoint(base: &Url, document: &Value, member: &str) -> Result<Option<Url>, Malformed> {
    let Some(value) = document.get(member) else {
        return Ok(None);
    };
    let url = value.as_str().and_then(|text| Url::parse(text).ok());
    // From https to a port of this machine, where anybody may listen, is no way to go.
    let is_as_safe =
        |url: &Url| is_secure(url) && (url.scheme() == base.scheme() || url.scheme() == "https");
    match url.filter(is_as_safe) {
        Some(url) => Ok(Some(url)),
        None => Err(Malformed::new(format!(
            "its metadata's {member} is {value}, which is no https URL"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_well_known_name_stands_between_host_and_path() {
        for (base, metadata, evaluation) in [
            (
                "https://pdp.test",
                "https://pdp.test/.well-known/authzen-configuration",
                "https://pdp.test/access/v1/evaluation",
            ),
            (
                "https://pdp.test/tenant1/",
                "https://pdp.test/.well-known/authzen-configuration/tenant1",
                "https://pdp.test/tenant1/access/v1/evaluation",
            ),
        ] {
            let base: Url = base.parse().unwrap();

            assert_eq!(metadata_url(&base).as_str(), metadata);
            let endpoints = Endpoints::by_default(&base);
            assert_eq!(endpoints.evaluation.as_str(), evaluation);
            assert_eq!(endpoints.evaluations, None);
        }
    }

    #[test]
    fn endpoints_come_from_the_metadata() {
        let document = br#"{"policy_decision_point": "https://pdp.test",
            "access_evaluation_endpoint": "https://pdp.test/one",
            "access_evaluations_endpoint": "https://many.test/x", "capabilities": 17}"#;

        let endpoints = Endpoints::parse(&base(), document).unwrap();

        assert_eq!(endpoints.evaluation.as_str(), "https://pdp.test/one");
        let several = endpoints.evaluations.unwrap();
        assert_eq!(several.as_str(), "https://many.test/x");
    }

    #[test]
    fn what_the_metadata_does_not_offer_is_not_guessed() {
        let document = br#"{"policy_decision_point": "https://pdp.test/",
            "access_evaluation_endpoint": "https://pdp.test/one"}"#;

        assert_eq!(
            Endpoints::parse(&base(), document).unwrap().evaluations,
            None
        );
    }

    #[test]
    fn metadata_of_somebody_else_or_towards_nobody_safe_is_refused() {
        for document in [
            "",
            "[]",
            "{}",
            r#"{"policy_decision_point": "https://pdp.test"}"#,
            r#"{"policy_decision_point": "https://pdp.test/other", "access_evaluation_endpoint": "https://pdp.test/one"}"#,
            r#"{"policy_decision_point": "https://evil.test", "access_evaluation_endpoint": "https://pdp.test/one"}"#,
            r#"{"policy_decision_point": "http://pdp.test", "access_evaluation_endpoint": "https://pdp.test/one"}"#,
            r#"{"policy_decision_point": "https://pdp.test", "access_evaluation_endpoint": "http://pdp.test/one"}"#,
            r#"{"policy_decision_point": "https://pdp.test", "access_evaluation_endpoint": "http://127.0.0.1:1/"}"#,
            r#"{"policy_decision_point": "https://pdp.test", "access_evaluation_endpoint": "/one"}"#,
            r#"{"policy_decision_point": "https://pdp.test", "access_evaluation_endpoint": null}"#,
            r#"{"policy_decision_point": "https://pdp.test", "access_evaluation_endpoint": "https://pdp.test/1", "access_evaluations_endpoint": 1}"#,
            r#"{"policy_decision_point": "https://evil.test", "policy_decision_point": "https://pdp.test", "access_evaluation_endpoint": "https://pdp.test/1"}"#,
        ] {
            assert!(
                Endpoints::parse(&base(), document.as_bytes()).is_err(),
                "{document}"
            );
        }
    }

    fn base() -> Url {
        "https://pdp.test".parse().unwrap()
    }
}
