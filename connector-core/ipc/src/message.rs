use serde::{Deserialize, Serialize};

use crate::diagnosis::DiagnosisReport;
use crate::managed::{OverrideChallengeReport, OverrideReport};
use crate::policy::{PolicyCommitReport, PolicyLogReport, PolicyReplayReport, PolicyTestReport};
use crate::request::AccessRequestReport;
use crate::status::{
    AccessReport, DecisionReport, Identity, PostureReport, ResourceReport, SettingReport, Status,
};
use crate::trust::{DelegationReport, ElevationReport};

/// The first frame from a front-end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The protocol version that the front-end speaks.
    pub version: u16,
    /// Which front-end it is, as in `ztna 0.1.0`.
    pub client: String,
}

/// The service's answer to an acceptable [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The protocol version that the service speaks.
    pub version: u16,
    /// The service's own version.
    pub service: String,
}

/// What a front-end asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// What the person has asked for, and what became of it: [`Reply::AccessRequests`].
    AccessRequests,
    /// The effective settings and where each comes from: [`Reply::Settings`].
    Config,
    /// Recent decisions, oldest first, one [`Reply::Decision`] each, then
    /// [`Reply::Done`]; with `follow`, new ones as they are made, without end.
    Decisions {
        /// Goes on with new decisions.
        follow: bool,
        /// Leaves out permits.
        denied: bool,
        /// At most this many past decisions.
        limit: usize,
    },
    /// Consents that a program acts for the person: [`Reply::Delegation`].
    Delegate {
        /// The absolute path of the executable, whose content is pinned.
        program: String,
        /// The resources, by their ids or names.
        scope: Vec<String>,
        /// For how long.
        seconds: u64,
        /// Why, on one line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The consents that are in force: [`Reply::Delegations`].
    Delegations,
    /// Looks for what is wrong: [`Reply::Diagnosis`].
    Diagnose,
    /// Stops admitting connections and ends the open ones: [`Reply::Done`].
    Down {
        /// Admits connections again by itself after so long; without it, at [`Request::Up`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<u64>,
        /// Why, on one line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Acts in the context of another identity: [`Reply::Elevation`].
    Elevate {
        /// Whose context: what the provider calls them.
        target: String,
        /// Why, on one line.
        reason: String,
        /// What proves it, as in `ticket:4711`.
        evidence: Vec<String>,
        /// For how long.
        seconds: u64,
    },
    /// The elevations that are in force: [`Reply::Elevations`].
    Elevations,
    /// What the service has logged of late, one or more [`Reply::LogLines`], then
    /// [`Reply::Done`].
    Log,
    /// Signs in: [`Reply::SignInPage`] as soon as the person has to act, then
    /// [`Reply::Identity`].
    Login,
    /// Signs out and forgets the person's tokens: [`Reply::Done`].
    Logout,
    /// What a code of the company has to answer: [`Reply::OverrideChallenge`].
    OverrideChallenge,
    /// Switches off by a code of the company, for its time: [`Reply::Overridden`].
    OverrideRedeem {
        /// The code.
        code: String,
        /// Why it is needed, on one line.
        reason: String,
    },
    /// The commits of the policy store that this device knows: [`Reply::PolicyLog`].
    PolicyLog,
    /// Puts the recorded decisions of this device to a commit: [`Reply::PolicyReplay`].
    PolicyReplay {
        /// `active`, `candidate`, or the beginning of the commit's name; without one, the
        /// candidate, else the active one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<String>,
        /// Leaves out what was decided more seconds ago.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<u64>,
    },
    /// What a commit holds: [`Reply::PolicyCommit`]; with `file`, the file's text in one
    /// or more [`Reply::PolicyText`], then [`Reply::Done`].
    PolicyShow {
        /// `active`, `candidate`, or the beginning of the commit's name.
        commit: String,
        /// The file's name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
    },
    /// Puts a table of requests to a commit: [`Reply::PolicyTest`].
    PolicyTest {
        /// `active`, `candidate`, or the beginning of the commit's name.
        commit: String,
        /// The table's lines.
        table: String,
    },
    /// The device's state: [`Reply::Posture`].
    Posture {
        /// Measures again first.
        refresh: bool,
    },
    /// Asks for access, in the name of whoever is signed in: [`Reply::AccessRequest`].
    RequestAccess {
        /// The name or address.
        host: String,
        /// The TCP port, if it matters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
        /// Why, on one line.
        reason: String,
        /// For how long, counted from the approval.
        seconds: u64,
    },
    /// The protected applications: [`Reply::Resources`].
    Resources,
    /// Takes back a consent: [`Reply::Done`].
    RevokeDelegation {
        /// Which one.
        id: String,
    },
    /// Stops acting in the context of another identity: [`Reply::Done`].
    RevokeElevation {
        /// Which elevation.
        id: String,
    },
    /// One [`Reply::Status`]; with `follow`, another at each change, without end.
    Status {
        /// Goes on at each change.
        follow: bool,
    },
    /// Signs in again, in the way that the policy wants for a destination: replies as to
    /// [`Request::Login`].
    StepUp {
        /// The name or address.
        host: String,
        /// The TCP port; without one, the first that the resource offers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
    },
    /// Admits connections again: [`Reply::Done`].
    Up,
    /// Who is signed in: [`Reply::Identity`].
    Whoami,
    /// Asks the policy without connecting: [`Reply::Access`].
    Why {
        /// The name or address.
        host: String,
        /// The TCP port; without one, the first that the resource offers.
        port: Option<u16>,
        /// The absolute path of the program that is asked for, in place of an unknown one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        program: Option<String>,
    },
}

/// What the service answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", content = "body", rename_all = "snake_case")]
pub enum Reply {
    /// To [`Request::Why`].
    Access(AccessReport),
    /// To [`Request::RequestAccess`].
    AccessRequest(AccessRequestReport),
    /// To [`Request::AccessRequests`], the latest first.
    AccessRequests(Vec<AccessRequestReport>),
    /// To [`Request::Decisions`].
    Decision(DecisionReport),
    /// To [`Request::Delegate`].
    Delegation(DelegationReport),
    /// To [`Request::Delegations`], the oldest first.
    Delegations(Vec<DelegationReport>),
    /// To [`Request::Diagnose`].
    Diagnosis(DiagnosisReport),
    /// The request was carried out, or a list is at its end.
    Done,
    /// To [`Request::Elevate`].
    Elevation(ElevationReport),
    /// To [`Request::Elevations`], the oldest first.
    Elevations(Vec<ElevationReport>),
    /// The request was not carried out.
    Failed(Failure),
    /// To [`Request::Login`] and [`Request::Whoami`].
    Identity(Identity),
    /// To [`Request::Log`]: lines in the order in which they were written.
    LogLines {
        /// Some of them.
        lines: Vec<String>,
    },
    /// To [`Request::OverrideRedeem`].
    Overridden(OverrideReport),
    /// To [`Request::OverrideChallenge`].
    OverrideChallenge(OverrideChallengeReport),
    /// To [`Request::PolicyShow`] without a file.
    PolicyCommit(PolicyCommitReport),
    /// To [`Request::PolicyLog`].
    PolicyLog(PolicyLogReport),
    /// To [`Request::PolicyReplay`].
    PolicyReplay(PolicyReplayReport),
    /// To [`Request::PolicyTest`].
    PolicyTest(PolicyTestReport),
    /// To [`Request::PolicyShow`] with a file: a part of its text.
    PolicyText {
        /// What follows on the part before.
        text: String,
    },
    /// To [`Request::Posture`].
    Posture(PostureReport),
    /// To [`Request::Resources`].
    Resources(Vec<ResourceReport>),
    /// To [`Request::Config`].
    Settings(Vec<SettingReport>),
    /// The page where the person signs in.
    SignInPage {
        /// To be opened in the person's browser.
        url: String,
    },
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To an acceptable [`Hello`].
    Welcome(Welcome),
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What sort of failure it is.
    pub kind: FailureKind,
    /// What failed, with which value.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// The sorts of failure that a front-end tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The request cannot be understood.
    BadRequest,
    /// The policy says no.
    Denied,
    /// The service failed; its log says why.
    Internal,
    /// The administrator does not let it happen.
    Locked,
    /// Nobody is signed in, or the session has ended.
    NotSignedIn,
    /// The control plane or the identity provider cannot be reached.
    Offline,
    /// The caller may not do this.
    PermissionDenied,
    /// The identity provider or the control plane refused the sign-in.
    SignInRefused,
    /// It took too long.
    TimedOut,
    /// The front-end speaks another protocol version.
    VersionMismatch,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_form_on_the_wire() {
        for (request, text) in [
            (
                Request::Status { follow: true },
                r#"{"request":"status","follow":true}"#,
            ),
            (
                Request::Why {
                    host: "wiki.corp.test".into(),
                    port: None,
                    program: None,
                },
                r#"{"request":"why","host":"wiki.corp.test","port":null}"#,
            ),
            (
                Request::Decisions {
                    follow: false,
                    denied: true,
                    limit: 20,
                },
                r#"{"request":"decisions","follow":false,"denied":true,"limit":20}"#,
            ),
            (Request::Logout, r#"{"request":"logout"}"#),
            (Request::AccessRequests, r#"{"request":"access_requests"}"#),
            (
                Request::RequestAccess {
                    host: "wiki.corp.test".into(),
                    port: None,
                    reason: "Pay day".into(),
                    seconds: 60,
                },
                r#"{"request":"request_access","host":"wiki.corp.test","reason":"Pay day","seconds":60}"#,
            ),
            (Request::PolicyLog, r#"{"request":"policy_log"}"#),
            (
                Request::PolicyTest {
                    commit: "active".into(),
                    table: "{}".into(),
                },
                r#"{"request":"policy_test","commit":"active","table":"{}"}"#,
            ),
            (
                Request::PolicyReplay {
                    commit: None,
                    since: Some(60),
                },
                r#"{"request":"policy_replay","since":60}"#,
            ),
            (
                Request::PolicyShow {
                    commit: "active".into(),
                    file: Some("wiki.cedar".into()),
                },
                r#"{"request":"policy_show","commit":"active","file":"wiki.cedar"}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&request).unwrap(), text);
            assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request);
        }
        assert_eq!(
            serde_json::to_string(&Reply::Done).unwrap(),
            r#"{"reply":"done"}"#
        );
    }

    #[test]
    fn messages_about_switching_off_keep_their_form_on_the_wire() {
        for (request, text) in [
            (
                Request::Down {
                    seconds: None,
                    reason: None,
                },
                r#"{"request":"down"}"#,
            ),
            (
                Request::Down {
                    seconds: Some(900),
                    reason: Some("Hotel".into()),
                },
                r#"{"request":"down","seconds":900,"reason":"Hotel"}"#,
            ),
            (
                Request::OverrideChallenge,
                r#"{"request":"override_challenge"}"#,
            ),
            (
                Request::OverrideRedeem {
                    code: "a.b.c".into(),
                    reason: "Hotel".into(),
                },
                r#"{"request":"override_redeem","code":"a.b.c","reason":"Hotel"}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&request).unwrap(), text);
            assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request);
        }
    }

    #[test]
    fn messages_about_acting_for_others_keep_their_form_on_the_wire() {
        for (request, text) in [
            (
                Request::Delegate {
                    program: "/opt/agents/reader".into(),
                    scope: vec!["wiki".into()],
                    seconds: 60,
                    reason: None,
                },
                r#"{"request":"delegate","program":"/opt/agents/reader","scope":["wiki"],"seconds":60}"#,
            ),
            (
                Request::Elevate {
                    target: "carol".into(),
                    reason: "Pay day".into(),
                    evidence: vec!["ticket:1".into()],
                    seconds: 60,
                },
                r#"{"request":"elevate","target":"carol","reason":"Pay day","evidence":["ticket:1"],"seconds":60}"#,
            ),
            (
                Request::RevokeDelegation { id: "d-1".into() },
                r#"{"request":"revoke_delegation","id":"d-1"}"#,
            ),
            (
                Request::StepUp {
                    host: "wiki.corp.test".into(),
                    port: None,
                },
                r#"{"request":"step_up","host":"wiki.corp.test"}"#,
            ),
            (Request::Elevations, r#"{"request":"elevations"}"#),
        ] {
            assert_eq!(serde_json::to_string(&request).unwrap(), text);
            assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request);
        }
    }

    #[test]
    fn an_unknown_request_is_refused_and_an_unknown_member_ignored() {
        assert!(serde_json::from_str::<Request>(r#"{"request":"run_program"}"#).is_err());
        assert_eq!(
            serde_json::from_str::<Request>(r#"{"request":"up","later":1}"#).unwrap(),
            Request::Up
        );
    }
}
