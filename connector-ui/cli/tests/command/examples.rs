//! What the fake service knows.

use connector_ipc::{
    AccessReport, CheckReport, DecisionReport, Failure, FailureKind, Finding, GatewayReport,
    GatewayState, Identity, Outcome, PostureReport, ProxyReport, Remedy, Reply, ResourceReport,
    ResourceState, SettingReport, SiteReport, Standing, Status, TrustLevel, TunnelReport,
    WorkloadReport,
};

pub(crate) fn status(standing: Standing) -> Reply {
    Reply::Status(Box::new(Status {
        standing,
        summary: Remedy {
            message: "The gateway hq-1 answers.".into(),
            action: None,
        },
        organisation: Some("Example Corp".into()),
        support: None,
        identity: Some(alice()),
        trust_level: TrustLevel::High,
        checks_unmet: 0,
        interception: None,
        tunnel: TunnelReport {
            dropped: 0,
            addresses: vec![[100, 64, 0, 2].into()],
            sites: vec![SiteReport {
                in_use: true,
                id: "hq".into(),
                gateways: vec![GatewayReport {
                    id: "hq-1".into(),
                    endpoint: "192.0.2.1:51820".into(),
                    state: GatewayState::Active,
                    last_handshake: Some("2026-11-22T09:59:48Z".into()),
                    handshake_micros: Some(1_310),
                    behind: None,
                    rx_bytes: 13_107_200,
                    tx_bytes: 1_024,
                }],
            }],
            open_flows: 1,
        },
        proxy: ProxyReport {
            listen: Some(([127, 0, 0, 1], 3128).into()),
            pac_url: Some("http://127.0.0.1:3128/proxy.pac".into()),
        },
        records: None,
        control_plane: "https://control.corp.test".into(),
        control_plane_reachable: true,
        configuration_version: Some(17),
        configuration_expires_at: None,
        paused_until: None,
        managed: None,
        version: "9.8.7".into(),
    }))
}

pub(crate) fn alice() -> Identity {
    Identity {
        subject: "u-1".into(),
        name: Some("Alice".into()),
        email: Some("alice@corp.test".into()),
        groups: vec!["staff".into()],
        issuer: "https://idp.corp.test".into(),
        session_id: "s-1".into(),
        expires_at: "2999-11-22T18:00:00Z".into(),
    }
}

pub(crate) fn decision(outcome: Outcome, reason: &str) -> DecisionReport {
    DecisionReport {
        id: "d-1".into(),
        time: "2026-11-22T10:00:00Z".into(),
        target: "wiki.corp.test:443".into(),
        resource: Some("wiki".into()),
        outcome,
        reason: reason.into(),
        message: "So says the policy.".into(),
        remedy: Some("Ask Bob.".into()),
        workload: Some(WorkloadReport {
            path: "/usr/bin/curl".into(),
            user: Some(1000),
        }),
        subject: Some("u-1".into()),
        decided_by: "pdp".into(),
        latency_micros: 900,
        count: 1,
        is_mixed: false,
        said: connector_ipc::SaidReport::default(),
    }
}

pub(crate) fn access(outcome: Outcome, reason: &str) -> Reply {
    Reply::Access(AccessReport {
        last_refused: None,
        decision: decision(outcome, reason),
        title: Some("Company wiki".into()),
        site: Some("hq".into()),
        is_site_silent: false,
        lease_seconds: None,
        checks_unmet: vec![firewall()],
    })
}

pub(crate) fn firewall() -> CheckReport {
    CheckReport {
        id: "firewall".into(),
        title: "Firewall is on".into(),
        finding: Finding::Fail,
        evidence: "no rules".into(),
        remedy: "Turn it on.".into(),
        measured_at: None,
    }
}

pub(crate) fn posture() -> Reply {
    Reply::Posture(PostureReport {
        trust_level: TrustLevel::Low,
        checks: vec![firewall()],
    })
}

pub(crate) fn resources() -> Reply {
    Reply::Resources(vec![ResourceReport {
        id: "wiki".into(),
        title: "Company wiki".into(),
        names: vec!["wiki.corp.test".into()],
        ports: vec!["tcp/443".into()],
        site: "hq".into(),
        state: ResourceState::Permitted,
    }])
}

pub(crate) fn settings() -> Reply {
    Reply::Settings(vec![SettingReport {
        key: "proxy.listen".into(),
        value: "\"127.0.0.1:3128\"".into(),
        origin: "default".into(),
        locked: false,
        description: "Where the local proxy listens.".into(),
    }])
}

pub(crate) fn failed(kind: FailureKind) -> Reply {
    Reply::Failed(Failure {
        kind,
        message: "It went wrong.".into(),
        remedy: None,
    })
}
