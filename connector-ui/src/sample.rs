//! What a service might say, for tests.

use connector_ipc::{
    AccessRequestReport, AccessRequestStatus, CheckReport, DecisionReport, Finding, GatewayReport,
    GatewayState, Identity, ManagedReport, Outcome, PostureReport, ProxyReport, Remedy,
    ResourceReport, ResourceState, SaidReport, SiteReport, Standing, Status, TrustLevel,
    TunnelReport, WorkloadReport,
};

use crate::view::{Clock, Known};

/// 2026-11-22 10:00 in UTC, 11:00 on the person's clock.
pub(crate) const CLOCK: Clock = Clock {
    now: 1_795_341_600,
    ahead: 3600,
};

pub(crate) fn connected() -> Known {
    Known {
        status: Status {
            standing: Standing::Connected,
            summary: Remedy {
                message: "Connected.".into(),
                action: None,
            },
            organisation: Some("Example Corp".into()),
            support: Some("https://help.corp.test".into()),
            identity: Some(Identity {
                subject: "u-1".into(),
                name: Some("Alice".into()),
                email: None,
                groups: Vec::new(),
                issuer: "https://idp.corp.test".into(),
                session_id: "s-1".into(),
                expires_at: "2026-11-22T18:00:00Z".into(),
            }),
            trust_level: TrustLevel::High,
            checks_unmet: 0,
            tunnel: TunnelReport {
                sites: vec![site("hq", GatewayState::Active)],
                ..TunnelReport::default()
            },
            interception: None,
            proxy: ProxyReport::default(),
            records: None,
            control_plane: "https://control.corp.test".into(),
            control_plane_reachable: true,
            configuration_version: Some(17),
            configuration_expires_at: Some("2026-11-23T10:00:00Z".into()),
            paused_until: None,
            managed: None,
            version: "0.1.0".into(),
        },
        resources: vec![resource("wiki", ResourceState::Permitted)],
        posture: Some(posture(&[Finding::Pass])),
        refused: Vec::new(),
        requests: Vec::new(),
    }
}

pub(crate) fn standing(standing: Standing) -> Known {
    let mut known = connected();
    known.status.standing = standing;
    known
}

/// What the administrator manages, who lets nobody switch off.
pub(crate) fn managed() -> ManagedReport {
    ManagedReport {
        by: "Corp IT".into(),
        always_on: true,
        pause_allowed: false,
        reason_required: false,
        pause_limit: None,
        tray_autostart: true,
        update_channel: None,
        changes: 1,
        problem: None,
    }
}

pub(crate) fn signed_out() -> Known {
    let mut known = standing(Standing::SignedOut);
    known.status.identity = None;
    known
}

pub(crate) fn unmet(findings: &[Finding]) -> Known {
    let mut known = standing(Standing::Restricted);
    let is_unmet = |finding: &&Finding| **finding != Finding::Pass;
    known.status.checks_unmet = findings.iter().filter(is_unmet).count();
    known.posture = Some(posture(findings));
    known
}

pub(crate) fn site(id: &str, state: GatewayState) -> SiteReport {
    SiteReport {
        in_use: false,
        id: id.into(),
        gateways: vec![GatewayReport {
            id: format!("{id}-1"),
            endpoint: "192.0.2.1:51820".into(),
            state,
            last_handshake: None,
            handshake_micros: None,
            behind: None,
            rx_bytes: 0,
            tx_bytes: 0,
        }],
    }
}

pub(crate) fn resource(id: &str, state: ResourceState) -> ResourceReport {
    ResourceReport {
        id: id.into(),
        title: format!("The {id}"),
        names: vec![format!("{id}.corp.test")],
        ports: vec!["tcp/80".into(), "tcp/443".into()],
        site: "hq".into(),
        state,
    }
}

pub(crate) fn posture(findings: &[Finding]) -> PostureReport {
    let checks = findings.iter().enumerate();
    PostureReport {
        trust_level: TrustLevel::High,
        checks: checks
            .map(|(number, finding)| CheckReport {
                id: format!("check-{number}"),
                title: format!("Check {number} passes"),
                finding: *finding,
                evidence: "seen".into(),
                remedy: format!("Mend {number}."),
                measured_at: None,
            })
            .collect(),
    }
}

pub(crate) fn refusal(id: &str, target: &str) -> DecisionReport {
    DecisionReport {
        id: id.into(),
        time: "2026-11-22T09:59:00Z".into(),
        target: target.into(),
        resource: Some("wiki".into()),
        outcome: Outcome::Denied,
        reason: "policy".into(),
        message: "The policy says no.".into(),
        remedy: Some("Ask Bob.".into()),
        workload: Some(WorkloadReport {
            path: "/usr/bin/curl".into(),
            user: Some(1000),
        }),
        subject: None,
        decided_by: "pdp".into(),
        latency_micros: 1,
        count: 1,
        is_mixed: false,
        said: SaidReport::default(),
    }
}

pub(crate) fn request(id: &str, status: AccessRequestStatus) -> AccessRequestReport {
    AccessRequestReport {
        id: id.into(),
        status,
        resource: "wiki".into(),
        title: Some("The wiki".into()),
        reason: "pay day".into(),
        seconds: 3600,
        requested_at: "2026-11-22T09:00:00Z".into(),
        until: Some("2026-11-22T11:00:00Z".into()),
        approver: Some("Bob".into()),
    }
}
