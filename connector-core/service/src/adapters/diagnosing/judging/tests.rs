use connector_ipc::{
    CheckReport, Identity, ProxyReport, RecordsReport, Remedy, TrustLevel, TunnelReport,
};

use super::*;

#[test]
fn where_all_is_well_nothing_is_to_be_done() {
    let examined = judge(&well(&NetworkReport {
        clock_ahead_seconds: Some(-3),
        gateways: vec![path(GatewayState::Active), path(GatewayState::Standby)],
        ..NetworkReport::default()
    }));

    for one in &examined {
        assert_eq!(
            (one.condition, &one.cure),
            (Condition::Good, &None),
            "{one:?}"
        );
    }
}

#[test]
fn a_network_that_answers_in_the_control_plane_s_place_wants_to_be_signed_in_to() {
    let network = NetworkReport::default();
    let found = |status, is_page, leads_to: Option<&str>| {
        let mut observed = well(&network);
        observed.control_plane = Err("error sending request: connection refused".into());
        observed.plain = Some(Plain {
            status,
            is_page,
            leads_to: leads_to.map(str::to_owned),
            own: "cp.corp.test".into(),
        });
        judge(&observed)[0].code.clone()
    };

    assert_eq!(found(511, false, None), "captive-portal");
    assert_eq!(
        found(302, false, Some("login.hotel.test")),
        "captive-portal"
    );
    assert_eq!(found(200, true, None), "captive-portal");
    assert_eq!(found(301, false, Some("cp.corp.test")), "control-plane");
    assert_eq!(found(404, true, None), "control-plane");
    let mut observed = well(&network);
    observed.plain = Some(Plain {
        status: 200,
        is_page: true,
        leads_to: None,
        own: "cp.corp.test".into(),
    });
    assert_eq!(judge(&observed)[0].condition, Condition::Good);
}

#[test]
fn a_key_ring_that_should_be_there_is_missed_and_one_that_is_not_wanted_is_not() {
    let network = NetworkReport::default();
    let condition = |sign_in, wants_store| {
        let mut observed = well(&network);
        observed.secrets = Keeping {
            host: Keeper::Nobody,
            sign_in,
            wants_store,
        };
        let examined = judge(&observed);
        let one = examined.iter().find(|one| one.code == "secrets");
        one.unwrap().condition
    };

    assert_eq!(condition(Keeper::Store("a safe"), true), Condition::Good);
    assert_eq!(condition(Keeper::Nobody, true), Condition::Warning);
    assert_eq!(condition(Keeper::Nobody, false), Condition::Good);
}

#[test]
fn checks_that_were_not_made_yet_and_networks_of_containers_are_told() {
    let network = NetworkReport::default();
    let mut observed = well(&network);
    observed.posture.checks[0].measured_at = None;
    observed.surroundings.bridges = vec!["docker0".into()];

    let examined = judge(&observed);

    let of = |code: &str| examined.iter().find(|one| one.code == code).unwrap();
    assert_eq!(of("posture-source").condition, Condition::Unknown);
    assert!(of("containers").finding.contains("docker0"));
}

#[test]
fn managed_settings_that_do_not_count_are_told_with_the_cure() {
    let network = NetworkReport::default();
    for (problem, condition, words) in [
        (None, Condition::Good, "managed by Corp IT"),
        (Some("line 3"), Condition::Warning, "line 3"),
    ] {
        let mut observed = well(&network);
        observed.status.managed = Some(ManagedReport {
            by: "Corp IT".into(),
            always_on: true,
            pause_allowed: false,
            reason_required: false,
            pause_limit: None,
            tray_autostart: true,
            update_channel: None,
            changes: 1,
            problem: problem.map(str::to_owned),
        });

        let examined = judge(&observed);

        let one = examined.iter().find(|one| one.code == "managed-settings");
        let one = one.unwrap();
        assert_eq!(one.condition, condition, "{one:?}");
        assert!(one.finding.contains(words), "{one:?}");
    }
}

#[test]
fn what_answers_in_place_of_the_control_plane_is_told_apart() {
    let answered = |status, content_type: &str| {
        Ok(Answered {
            status,
            content_type: content_type.into(),
            date: None,
            at: 0,
            took: Duration::ZERO,
            signer: None,
        })
    };
    for (outcome, code, condition) in [
        (
            answered(200, "application/json"),
            "control-plane",
            Condition::Good,
        ),
        (answered(302, ""), "captive-portal", Condition::Problem),
        (
            answered(200, "text/html"),
            "captive-portal",
            Condition::Problem,
        ),
        (
            Err("client error (Connect): invalid peer certificate: UnknownIssuer".into()),
            "tls",
            Condition::Problem,
        ),
        (
            Err("dns error: failed to lookup address information".into()),
            "dns",
            Condition::Problem,
        ),
        (
            Err("no answer within 5s".into()),
            "control-plane",
            Condition::Problem,
        ),
    ] {
        let network = NetworkReport::default();
        let observed = Observed {
            control_plane: outcome,
            ..well(&network)
        };

        let one = control_plane(&observed);

        assert_eq!(
            (one.code.as_str(), one.condition),
            (code, condition),
            "{one:?}"
        );
        assert_eq!(one.cure.is_some(), condition == Condition::Problem);
    }
}

#[test]
fn a_clock_counts_by_how_far_it_is_off() {
    for (ahead, condition, words) in [
        (Some(0), Condition::Good, "agrees"),
        (Some(-30), Condition::Good, "agrees"),
        (Some(31), Condition::Warning, "31 s behind"),
        (Some(-121), Condition::Problem, "121 s ahead of"),
        (Some(i64::MIN), Condition::Problem, "ahead of"),
        (None, Condition::Unknown, "did not tell"),
    ] {
        let one = clock(ahead);

        assert_eq!(one.condition, condition, "{ahead:?}");
        assert!(one.finding.contains(words), "{one:?}");
    }
}

#[test]
fn a_gateway_that_is_silent_and_one_whose_name_is_unknown_have_other_cures() {
    let silent = gateway(&path(GatewayState::Down));
    let nameless = gateway(&GatewayPathReport {
        address: None,
        ..path(GatewayState::Down)
    });

    assert!(
        silent.finding.contains("does not answer over UDP"),
        "{silent:?}"
    );
    assert!(
        nameless.finding.contains("cannot be looked up"),
        "{nameless:?}"
    );
    assert_ne!(silent.cure, nameless.cure);
    assert_eq!(
        gateway(&path(GatewayState::Connecting)).condition,
        Condition::Unknown
    );
}

#[test]
fn a_gateway_that_answers_but_leads_nowhere_is_a_problem() {
    let behind = |behind| {
        gateway(&GatewayPathReport {
            behind,
            ..path(GatewayState::Active)
        })
    };

    let silent = behind(Some(BehindReport::Silent));
    assert_eq!(silent.condition, Condition::Problem);
    assert!(silent.finding.contains("nothing behind it"), "{silent:?}");
    for unknown_or_well in [None, Some(BehindReport::Answers { micros: 1 })] {
        assert_eq!(behind(unknown_or_well).condition, Condition::Good);
    }
}

#[test]
fn a_way_for_short_packets_and_colliding_networks_and_other_tunnels_are_told() {
    let short = GatewayPathReport {
        path_mtu: Some(1300),
        ..path(GatewayState::Active)
    };
    assert_eq!(
        mtu(&[path(GatewayState::Active), short]).unwrap().condition,
        Condition::Warning
    );
    assert_eq!(mtu(&[]), None);

    let home = Taken {
        protected: "192.168.1.0/24".parse().unwrap(),
        by: "192.168.0.0/16".parse().unwrap(),
    };
    assert!(ranges(&[home]).finding.contains("192.168.0.0/16"));
    assert!(tunnels(&["wg0".into()]).finding.contains("wg0"));
    assert!(proxies(&["https_proxy"]).finding.contains("https_proxy"));
    assert_eq!(host(Host::Wsl).condition, Condition::Warning);
}

#[test]
fn names_that_other_programs_took_away_are_a_problem() {
    assert_eq!(
        names("wiki.corp.test", &Ok(vec!["198.18.0.2".parse().unwrap()])).condition,
        Condition::Good
    );
    assert_eq!(
        names("wiki.corp.test", &Ok(vec![])).condition,
        Condition::Problem
    );
    assert_eq!(
        names("wiki.corp.test", &Err("no such host".into())).condition,
        Condition::Problem
    );
}

#[test]
fn the_device_and_the_session_are_looked_at_too() {
    let network = NetworkReport::default();
    let mut observed = well(&network);
    observed.status.identity = None;
    observed.status.configuration_version = None;
    observed.status.records = Some(RecordsReport {
        problem: Some("the disk is full".into()),
        ..RecordsReport::default()
    });
    observed.status.interception = Some(InterceptionReport::Failed {
        problem: "nft is missing".into(),
    });
    observed.posture.checks[0].finding = Finding::Unknown;

    let examined = judge(&observed);
    let of = |code: &str| {
        examined
            .iter()
            .find(|one| one.code == code)
            .unwrap()
            .condition
    };

    assert_eq!(of("session"), Condition::Problem);
    assert_eq!(of("configuration"), Condition::Problem);
    assert_eq!(of("decision-log"), Condition::Problem);
    assert_eq!(of("interception"), Condition::Problem);
    assert_eq!(of("posture"), Condition::Warning);
}

fn path(state: GatewayState) -> GatewayPathReport {
    GatewayPathReport {
        site: "hq".into(),
        id: "hq-1".into(),
        endpoint: "gw.corp.test:51820".into(),
        address: Some("192.0.2.1:51820".parse().unwrap()),
        state,
        handshake_micros: Some(1_200),
        behind: None,
        path_mtu: Some(1500),
        is_narrow: false,
    }
}

fn well(network: &NetworkReport) -> Observed<'_> {
    Observed {
        status: Status {
            standing: Standing::Connected,
            summary: Remedy {
                message: "Connected.".into(),
                action: None,
            },
            organisation: None,
            support: None,
            identity: Some(Identity {
                subject: "alice".into(),
                name: None,
                email: None,
                groups: vec![],
                issuer: "https://idp.test".into(),
                session_id: "s1".into(),
                expires_at: "2030-01-01T00:00:00Z".into(),
            }),
            trust_level: TrustLevel::High,
            checks_unmet: 0,
            tunnel: TunnelReport::default(),
            interception: Some(InterceptionReport::Up {
                device: "ztna0".into(),
                addresses: vec![],
                names: vec![],
                mended: None,
            }),
            proxy: ProxyReport::default(),
            records: Some(RecordsReport::default()),
            control_plane: "https://control.test/".into(),
            control_plane_reachable: true,
            configuration_version: Some(1),
            configuration_expires_at: None,
            paused_until: None,
            managed: None,
            version: "0.1.0".into(),
        },
        posture: PostureReport {
            trust_level: TrustLevel::High,
            checks: vec![CheckReport {
                id: "firewall".into(),
                title: "The firewall is on".into(),
                finding: Finding::Pass,
                evidence: "on".into(),
                remedy: String::new(),
                measured_at: Some("2026-11-22T08:00:00Z".into()),
            }],
        },
        control_problem: None,
        control_plane: Ok(Answered {
            status: 200,
            content_type: "application/json".into(),
            date: None,
            at: 0,
            took: Duration::from_millis(3),
            signer: Some("Corp".into()),
        }),
        plain: None,
        name: Some((
            "wiki.corp.test".into(),
            Ok(vec!["198.18.0.2".parse().unwrap()]),
        )),
        taken: vec![],
        surroundings: Surroundings::default(),
        proxies: vec![],
        secrets: Keeping {
            host: Keeper::Nobody,
            sign_in: Keeper::Store("a safe"),
            wants_store: true,
        },
        network,
    }
}
