use connector_core::access::Protocol;
use connector_core::network::NetworkKind;
use connector_core::posture::Finding;

use super::*;
use crate::author;
use crate::schema;
use crate::testing::{Asked, at};

#[test]
fn what_nothing_permits_is_denied_and_what_something_forbids_as_well() {
    let staff = r#"@id("staff") permit(principal in Group::"staff", action == Action::"connect", resource == Resource::"wiki");"#;
    let forbid = r#"@id("never") @reason_user("Not today.") @reason_admin("Closed.") forbid(principal, action, resource in Site::"hq");"#;

    assert!(decide("", &Asked::default()).outcome.is_err());
    let permitted = decide(staff, &Asked::default());
    assert_eq!(permitted.outcome, Ok(()));
    assert_eq!(permitted.policy.as_deref(), Some("staff"));
    assert_eq!(
        permitted.commit,
        Some(crate::oid::Oid::ZERO.to_string().into())
    );
    let stranger = Asked {
        groups: vec!["guests"],
        ..Asked::default()
    };
    assert!(decide(staff, &stranger).outcome.is_err());

    let forbidden = decide(&format!("{staff}{forbid}"), &Asked::default());
    let denial = forbidden.outcome.unwrap_err();
    assert_eq!(denial.explanation.as_deref(), Some("Not today."));
    assert_eq!(forbidden.policy.as_deref(), Some("never"));
    assert_eq!(forbidden.reason_admin.as_deref(), Some("Closed."));
}

#[test]
fn what_no_permit_is_about_is_hidden_whatever_forbids_it_and_what_one_is_about_is_not() {
    let finance = r#"@id("finance") @remedy("Ask Bob.") permit(principal in Group::"finance", action == Action::"connect", resource == Resource::"wiki");"#;
    let forbid = r#"@id("never") @reason_user("Not today.") forbid(principal, action, resource);"#;
    let elsewhere = r#"@id("dev") permit(principal, action == Action::"connect", resource == Resource::"dev");"#;
    let reason = |policies: &str| {
        let decision = decide(policies, &Asked::default());
        assert_eq!(decision.access.remedy, None, "{policies}");
        decision.outcome.unwrap_err()
    };

    for policies in [
        "",
        finance,
        forbid,
        elsewhere,
        &format!("{finance}{forbid}"),
    ] {
        assert_eq!(reason(policies), Reason::Hidden.into(), "{policies}");
    }
    let condition = r#"@id("on") permit(principal, action == Action::"connect", resource == Resource::"wiki") when { context has port && context.port == 1 };"#;
    assert_eq!(reason(condition), Reason::PolicyDenied.into());
    let said = reason(&format!("{condition}{forbid}"));
    assert_eq!(said.explanation.as_deref(), Some("Not today."));

    let broken = r#"@id("bad") forbid(principal, action == Action::"connect", resource) when { context.minute_of_day * 9223372036854775807 == 1 };"#;
    assert_eq!(reason(broken), Reason::Hidden.into());

    let request = Asked::default().request();
    let hides = |policies| {
        let snapshot = author::check([("test.cedar", policies)]).unwrap();
        snapshot.hides(&request.person, &request.resource)
    };
    assert!(hides(finance) && hides(forbid) && hides(elsewhere));
    assert!(!hides(condition));
}

#[test]
fn every_form_of_scope_is_found() {
    for scope in [
        "principal, action, resource",
        "principal, action == Action::\"connect\", resource",
        "principal, action in [Action::\"connect\", Action::\"elevate\"], resource",
        "principal == Person::\"ann\", action == Action::\"connect\", resource",
        "principal in Group::\"staff\", action == Action::\"connect\", resource",
        "principal in Person::\"ann\", action == Action::\"connect\", resource",
        "principal is Person, action == Action::\"connect\", resource is Resource",
        "principal is Person in Group::\"staff\", action == Action::\"connect\", resource",
        "principal, action == Action::\"connect\", resource == Resource::\"wiki\"",
        "principal, action == Action::\"connect\", resource in Resource::\"wiki\"",
        "principal, action == Action::\"connect\", resource in Site::\"hq\"",
        "principal, action == Action::\"connect\", resource is Resource in Site::\"hq\"",
    ] {
        let policy = format!("@id(\"a\") permit({scope});");

        assert_eq!(
            decide(&policy, &Asked::default()).outcome,
            Ok(()),
            "{scope}"
        );
    }
    for scope in [
        "principal == Person::\"bob\", action == Action::\"connect\", resource",
        "principal in Group::\"admins\", action == Action::\"connect\", resource",
        "principal, action == Action::\"connect\", resource == Resource::\"mail\"",
        "principal, action == Action::\"connect\", resource in Site::\"lab\"",
        "principal, action == Action::\"elevate\", resource",
    ] {
        let policy = format!("@id(\"a\") permit({scope});");

        assert!(
            decide(&policy, &Asked::default()).outcome.is_err(),
            "{scope}"
        );
    }
}

#[test]
fn our_requests_and_entities_fit_the_schema() {
    let (schema, _) = cedar_policy::Schema::from_cedarschema_str(schema::SOURCE).unwrap();
    for asked in [
        Asked::default(),
        Asked {
            program: None,
            findings: vec![("disk", Finding::Fail), ("fw", Finding::Unknown)],
            protocol: Protocol::IcmpEcho,
            assured: true,
            host: None,
            ..Asked::default()
        },
    ] {
        let request = asked.request();
        let subject = Subject::of(&request).unwrap();
        for standing in [Some(subject.standing()), subject.compliant()] {
            let Some(standing) = standing else { continue };
            let mut facts =
                Facts::of_connection(&subject, standing, &request, &Circumstances::default())
                    .unwrap();
            facts.tell_time(request.time);
            let (made, entities) = facts.take_request().unwrap();

            let context = made.context().unwrap().clone();
            let checked = Request::new(
                made.principal().unwrap().clone(),
                made.action().unwrap().clone(),
                made.resource().unwrap().clone(),
                context,
                Some(&schema),
            );
            checked.unwrap();
            let all: Vec<_> = entities.iter().cloned().collect();
            Entities::from_entities(all, Some(&schema)).unwrap();
        }
    }
}

#[test]
fn what_a_policy_needs_of_the_request_is_there() {
    for condition in [
        "context.trust_level == 3 && context.trust == Trust::\"high\"",
        "context.device.passed.contains(\"disk\")",
        "context.session.person == principal && context.session.trust_level == 3",
        "context.workload.known && context.workload has path && context.workload.path == \"/usr/bin/curl\"",
        "context.workload has ancestors && context.workload.ancestors.contains(\"/bin/sh\")",
        "context.workload has user && context.workload.user == 1000",
        "context.workload has sha256 && context.workload.sha256 like \"ab*\"",
        "context.weekday == Weekday::\"sunday\"",
        "context.minute_of_day == 720",
        "context.time < datetime(\"2026-11-22T12:00:00.001Z\")",
        "context.network == Network::\"unknown\" && !context.offline && !context.delegated",
        "context has port && context.port == 443 && context.protocol == Protocol::\"tcp\"",
        "context.host == \"wiki.corp.test\"",
        "principal has email && principal.email like \"*@corp.test\"",
        "resource.title == \"Wiki\" && resource.site == Site::\"hq\"",
        "!(context has assurance)",
    ] {
        // Each optional part is asked for, as the schema demands.
        let guarded = condition.replace("context.device.", "context has device && context.device.");
        let policy = format!(
            "@id(\"a\") permit(principal, action == Action::\"connect\", resource) when {{ {guarded} }};"
        );

        assert_eq!(
            decide(&policy, &Asked::default()).outcome,
            Ok(()),
            "{condition}"
        );
    }
}

#[test]
fn an_unknown_program_is_no_program() {
    let policy = r#"@id("a") permit(principal, action == Action::"connect", resource)
        unless { context.workload has path && context.workload.path == "/usr/bin/nc" };"#;
    let known = r#"@id("a") permit(principal, action == Action::"connect", resource)
        when { context.workload.known };"#;
    let unknown = Asked {
        program: None,
        ..Asked::default()
    };

    assert_eq!(decide(policy, &unknown).outcome, Ok(()));
    assert!(decide(known, &unknown).outcome.is_err());
}

#[test]
fn a_policy_that_fails_refuses_whether_it_permits_or_forbids() {
    let permit = r#"@id("all") permit(principal, action == Action::"connect", resource);"#;
    for effect in ["permit", "forbid"] {
        let overflow = format!(
            "@id(\"bad\") {effect}(principal, action == Action::\"connect\", resource) \
             when {{ context.trust_level * 9223372036854775807 > 0 }};"
        );

        let decision = decide(&format!("{permit}{overflow}"), &Asked::default());

        assert_eq!(decision.outcome.unwrap_err().reason, Reason::PolicyDenied);
        assert_eq!(decision.policy.as_deref(), Some("bad"));
        assert!(decision.reason_admin.unwrap().contains("overflow"));
    }
}

#[test]
fn a_denial_that_a_better_device_would_lift_says_so() {
    let policy = r#"@id("a") @remedy("Encrypt the disk.")
        permit(principal, action == Action::"connect", resource) when { context.trust_level >= 3 };"#;
    let failing = Asked {
        findings: vec![("disk", Finding::Fail)],
        ..Asked::default()
    };
    let stranger = Asked {
        groups: vec![],
        ..failing.clone()
    };

    let decision = decide(policy, &failing);
    assert_eq!(decision.outcome.unwrap_err().reason, Reason::PostureUnmet);
    assert_eq!(decision.access.remedy.as_deref(), Some("Encrypt the disk."));
    let scoped = policy.replace("(principal,", "(principal in Group::\"staff\",");
    let decision = decide(&scoped, &stranger);
    assert_eq!(decision.outcome.unwrap_err().reason, Reason::Hidden);
    assert_eq!(decision.access, Access::default());
}

#[test]
fn a_denial_says_how_to_get_access_and_nothing_of_policies_about_others() {
    let policy = r#"@id("a") @step_up("mfa") @requestable("wiki-leads") @reason_user("Sign in again.")
        permit(principal, action == Action::"connect", resource == Resource::"wiki")
        when { context has assurance && context.assurance.level == "nist-aal2" };"#;

    let decision = decide(policy, &Asked::default());
    let step_up = decision.access.step_up.unwrap();
    assert_eq!(step_up.acr_values.as_deref(), Some("mfa"));
    assert_eq!(decision.access.requestable.as_deref(), Some("wiki-leads"));

    let other = decide(&policy.replace("\"wiki\"", "\"mail\""), &Asked::default());
    assert_eq!(other.access, Access::default());
    assert_eq!(other.outcome.unwrap_err().explanation, None);

    let assured = Asked {
        assured: true,
        ..Asked::default()
    };
    assert_eq!(decide(policy, &assured).outcome, Ok(()));
}

#[test]
fn the_shortest_lease_of_the_policies_that_permit_counts() {
    let policies = r#"@id("a") @lease("10m") permit(principal, action, resource);
        @id("b") @lease("1m") permit(principal, action, resource);
        @id("c") permit(principal, action, resource);
        @id("d") @lease("1s") permit(principal, action == Action::"connect", resource) when { context.offline };"#;

    let decision = decide(policies, &Asked::default());

    assert_eq!(decision.lease, Some(Duration::from_secs(60)));
    assert_eq!(decision.policy.as_deref(), Some("a, b, c"));
}

#[test]
fn offline_only_what_policy_lets_last_that_long_is_permitted_and_for_the_rest_of_it() {
    let policies = r#"@id("a") permit(principal, action, resource);
        @id("b") @offline("2h") permit(principal, action, resource == Resource::"wiki");"#;
    let after = |minutes: u64| Circumstances {
        offline_for: Some(Duration::from_secs(minutes * 60)),
    };
    let decide = |policies, circumstances| {
        point(policies).decide(&Asked::default().request(), &circumstances)
    };

    let online = decide(policies, Circumstances::default());
    assert_eq!(
        (online.lease, online.offline),
        (None, Some(Duration::from_secs(7200)))
    );
    let hour = decide(policies, after(60));
    assert_eq!(hour.outcome, Ok(()));
    assert_eq!(hour.policy.as_deref(), Some("b"));
    assert_eq!(hour.lease, Some(Duration::from_secs(3600)));
    let late = decide(policies, after(120));
    assert_eq!(late.outcome.unwrap_err().reason, Reason::Offline);
    let never = decide(&policies.replace("@offline(\"2h\")", ""), after(0));
    assert_eq!(never.outcome.unwrap_err().reason, Reason::Offline);
}

#[test]
fn a_policy_that_asks_for_a_kind_of_network_permits_in_that_alone() {
    let wired = r#"@id("a") permit(principal, action == Action::"connect", resource)
        when { context.network == Network::"wired" };"#;
    let elsewhere = [
        NetworkKind::Cellular,
        NetworkKind::Unknown,
        NetworkKind::Wireless,
    ];
    let mut point = point(wired);
    let mut is_permitted = |network| {
        let asked = Asked {
            network,
            ..Asked::default()
        };
        let decision = point.decide(&asked.request(), &Circumstances::default());
        decision.outcome.is_ok()
    };

    assert!(is_permitted(NetworkKind::Wired));
    for network in elsewhere {
        assert!(!is_permitted(network), "{network:?}");
    }
}

#[test]
fn an_answer_says_until_when_time_cannot_change_it() {
    let office = r#"@id("a") permit(principal, action == Action::"connect", resource)
        when { context.minute_of_day >= 540 && context.minute_of_day < 1020 };"#;
    let other = r#"@id("b") permit(principal, action == Action::"connect", resource == Resource::"mail")
        when { context.time < datetime("2026-11-22T12:30:00Z") };"#;
    let policies = format!("{office}{other}");
    let ask = |time| {
        let asked = Asked {
            time,
            ..Asked::default()
        };
        decide(&policies, &asked)
    };

    let inside = ask(at("12:00"));
    assert_eq!(inside.outcome, Ok(()));
    assert_eq!(inside.valid_until, Some(at("17:00")));
    let outside = ask(at("17:00"));
    assert!(outside.outcome.is_err());
    assert_eq!(outside.valid_until, Some(at("24:00")));
}

#[test]
fn between_two_edges_an_answer_is_always_the_same() {
    let policies = r#"
        @id("a") permit(principal, action == Action::"connect", resource)
            when { context.minute_of_day > 125 && context.minute_of_day <= 1000 }
            when { [Weekday::"monday", Weekday::"tuesday", Weekday::"sunday"].contains(context.weekday) };
        @id("b") permit(principal, action == Action::"connect", resource)
            when { context.time.toTime() >= duration("23h30m") || context.minute_of_day == 77 };
        @id("c") forbid(principal, action == Action::"connect", resource)
            when { context.time >= datetime("2026-11-23T10:00:00Z") && context.time <= datetime("2026-11-23T10:07:00.500Z") };"#;
    let mut point = point(policies);
    let ask = |point: &mut DecisionPoint, time| {
        let asked = Asked {
            time,
            ..Asked::default()
        };
        point.decide(&asked.request(), &Circumstances::default())
    };
    let seed = 0x5eed_u64;
    let mut state = seed;
    let mut changes = 0;
    let (mut now, end) = (at("00:00"), at("00:00") + Duration::from_secs(3 * 86_400));
    while now < end {
        let decision = ask(&mut point, now);
        let until = decision.valid_until.unwrap();
        let span = until.unix_millis() - now.unix_millis();
        for step in 0..20 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let offset = if step == 0 {
                span - 1
            } else {
                (state >> 11) % span
            };
            let then = now + Duration::from_millis(offset);
            let same = ask(&mut point, then).outcome.is_ok() == decision.outcome.is_ok();
            assert!(same, "seed {seed}: {now} {then} {until}");
        }
        changes += usize::from(ask(&mut point, until).outcome.is_ok() != decision.outcome.is_ok());
        now = until;
    }
    assert!(changes >= 10, "{changes}");
}

#[test]
fn an_explanation_names_the_condition_that_is_not_met() {
    let policies = r#"
        @id("a") permit(principal in Group::"staff", action == Action::"connect", resource == Resource::"wiki")
            when { context.trust_level >= 1 }
            when { context.minute_of_day < 60 };
        @id("b") forbid(principal, action == Action::"connect", resource) unless { context.workload.known };
        @id("c") permit(principal in Group::"admins", action, resource);"#;

    let explained = point(policies)
        .explain(&Asked::default().request(), &Circumstances::default())
        .unwrap();

    assert!(explained.decision.outcome.is_err());
    let [a, b] = &*explained.candidates else {
        panic!("{:?}", explained.candidates);
    };
    assert!(a.permits && !b.permits);
    let Outcome::Unsatisfied { condition } = &a.outcome else {
        panic!("{a:?}");
    };
    assert!(condition.contains("minute_of_day"), "{condition}");
    assert!(matches!(b.outcome, Outcome::Unsatisfied { .. }), "{b:?}");
    assert_eq!(a.place.to_string(), "test.cedar:2");
}

#[test]
fn a_candidate_beside_the_active_policies_is_only_compared() {
    let active = Arc::new(snapshot(r#"@id("a") permit(principal, action, resource);"#));
    let shadow = Arc::new(snapshot(""));
    let request = Asked::default().request();
    let mut point = DecisionPoint::new(Arc::clone(&active), Some(shadow));

    let decided = point.decide(&request, &Circumstances::default());
    let differs = point.differs(&decided, &request, &Circumstances::default());

    assert_eq!(decided.outcome, Ok(()));
    let differs = differs.unwrap();
    assert!(differs.active.permitted && !differs.candidate.permitted);
    let mut same = DecisionPoint::new(Arc::clone(&active), Some(active));
    assert_eq!(
        same.differs(&decided, &request, &Circumstances::default()),
        None
    );
}

#[test]
fn a_subject_is_kept_only_while_it_is_the_same() {
    let policy = r#"@id("a") permit(principal in Group::"staff", action == Action::"connect", resource)
        when { context.trust_level >= 3 };"#;
    let mut point = point(policy);
    let good = Asked::default();
    let ask = |point: &mut DecisionPoint, asked: &Asked| {
        point
            .decide(&asked.request(), &Circumstances::default())
            .outcome
            .is_ok()
    };

    assert!(ask(&mut point, &good));
    assert!(!ask(
        &mut point,
        &Asked {
            groups: vec![],
            ..good.clone()
        }
    ));
    assert!(ask(&mut point, &good));
    let worse = Asked {
        findings: vec![("disk", Finding::Unknown)],
        ..good.clone()
    };
    assert!(!ask(&mut point, &worse));
}

fn decide(policies: &str, asked: &Asked) -> Decision {
    point(policies).decide(&asked.request(), &Circumstances::default())
}

fn point(policies: &str) -> DecisionPoint {
    DecisionPoint::new(Arc::new(snapshot(policies)), None)
}

fn snapshot(policies: &str) -> Snapshot {
    author::check([("test.cedar", policies)]).unwrap()
}
