//! `ztna why`: may I, and if not, what can I do?

use connector_ipc::{AccessReport, Outcome, Reply, Request};
use serde_json::json;

use crate::client::Service;
use crate::command::WhyArgs;
use crate::decisions::outcome;
use crate::exit::{Exit, Failure};
use crate::output::Printer;
use crate::posture::add_check;
use crate::table::{Cell, Table, flow};
use crate::text::{Screen, micros, paragraph, seconds};
use crate::time;

/// Asks the service, without connecting; the exit code is the answer.
pub(crate) async fn run(
    service: &Service,
    args: &WhyArgs,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let request = Request::Why {
        host: args.target.host.clone(),
        port: args.target.port,
    };
    let Reply::Access(report) = service.ask(&request).await? else {
        return Err(Failure::Unexpected);
    };
    match args.format.json {
        true => printer.json("ztna.why/1", json!(report))?,
        false => printer.print(&render(&report, printer.screen()))?,
    }
    Ok(verdict(&report))
}

/// Returns what the answer means for a script. A reason that is not known here is
/// a denial like any other.
fn verdict(report: &AccessReport) -> Exit {
    if report.decision.outcome == Outcome::Permitted {
        return Exit::Success;
    }
    match report.decision.reason.as_str() {
        "signed_out" | "session_expired" | "session_revoked" => Exit::NotSignedIn,
        "posture_unmet" => Exit::PostureUnmet,
        "pdp_late" => Exit::TimedOut,
        "pdp_unreachable"
        | "configuration_expired"
        | "not_configured"
        | "offline"
        | "signals_silent" => Exit::Offline,
        _ => Exit::Denied,
    }
}

fn render(report: &AccessReport, screen: Screen) -> String {
    let decision = &report.decision;
    let (shape, word, tone) = outcome(decision.outcome);
    let target = match &report.title {
        Some(title) => format!("{} ({title})", decision.target),
        None => decision.target.clone(),
    };
    let heading = [
        Cell::toned(format!("{shape} {word}"), tone),
        Cell::new(target),
    ];
    let mut text = flow(0, &heading, &[], screen);
    text.push_str(&paragraph("  ", &decision.message, screen));
    if let Some(remedy) = &decision.remedy {
        text.push_str(&paragraph("  → ", remedy, screen));
    }
    text.push('\n');

    let mut table = Table::default();
    table.field("Reason", &decision.reason);
    table.field("Decided by", decided_by(report));
    if let Some(workload) = &decision.workload {
        table.field("Program", &workload.path);
    }
    table.field(
        "Person",
        decision.subject.as_deref().unwrap_or("nobody is signed in"),
    );
    if let Some(site) = &report.site {
        table.field("Site", site);
    }
    if let Some(lease) = report.lease_seconds {
        table.field("Valid for", seconds(lease));
    }
    table.field("Record", &decision.id);
    if let Some(refused) = &report.last_refused
        && let Some(workload) = &refused.workload
    {
        let ago = time::ago(&refused.time, screen.now);
        let (path, reason) = (&workload.path, &refused.reason);
        table.field("Last refused", format!("{path}, {ago} ({reason})"));
    }
    text.push_str(&table.render(screen));

    if !report.checks_unmet.is_empty() {
        text.push_str("\nChecks that do not pass:\n");
        let mut table = Table::indented(2);
        for check in &report.checks_unmet {
            add_check(&mut table, check);
        }
        text.push_str(&table.render(screen));
    }
    text
}

fn decided_by(report: &AccessReport) -> String {
    let decision = &report.decision;
    let took = micros(decision.latency_micros);
    match decision.decided_by.as_str() {
        "pdp" => format!("the policy server, in {took}"),
        "local" if decision.reason.starts_with("pdp_") => {
            "this device, because the policy server gave no usable answer".into()
        }
        // The policy server may have been asked before.
        "local" if ["lease_expired", "not_recorded"].contains(&decision.reason.as_str()) => {
            "this device".into()
        }
        "local" => "this device; no policy server had to be asked".into(),
        other => match other.strip_prefix("pdp, policy ") {
            Some(policy) => format!("the policy server (policy {policy}), in {took}"),
            None => format!("{other}, in {took}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use connector_ipc::{CheckReport, DecisionReport, Finding, WorkloadReport};

    use super::*;

    #[test]
    fn a_denial_says_why_what_to_do_and_who_decided() {
        assert_eq!(
            render(&denied(), SCREEN),
            "\
✗ denied  wiki.corp.test:443 (Company wiki)
  This device does not meet the policy's conditions.
  → Run `ztna posture`.

Reason      posture_unmet
Decided by  the policy server, in 2.1 ms
Program     /usr/bin/ztna
Person      u-1
Site        hq
Record      d-1

Checks that do not pass:
  ✗ fail  Firewall is on  no rules
                          → Turn it on.
"
        );
    }

    #[test]
    fn a_narrow_heading_breaks_before_the_target() {
        let narrow = Screen {
            width: 40,
            ..SCREEN
        };

        assert!(
            render(&denied(), narrow)
                .starts_with("✗ denied\n  wiki.corp.test:443 (Company wiki)\n")
        );
    }

    #[test]
    fn a_permit_says_for_how_long() {
        assert_eq!(
            render(&permitted(), SCREEN),
            "\
✓ permitted  wiki.corp.test:443 (Company wiki)
  The policy permits this.

Reason      policy_permitted
Decided by  the policy server, in 2.1 ms
Program     /usr/bin/ztna
Person      u-1
Site        hq
Valid for   5 min
Record      d-1
"
        );
    }

    #[test]
    fn who_decided_is_told_truthfully() {
        for (decided_by, reason, words) in [
            ("pdp", "policy_denied", "the policy server, in 2.1 ms"),
            (
                "pdp, policy staff",
                "policy_denied",
                "the policy server (policy staff), in 2.1 ms",
            ),
            (
                "local",
                "pdp_late",
                "this device, because the policy server gave no usable answer",
            ),
            (
                "local",
                "signed_out",
                "this device; no policy server had to be asked",
            ),
            ("local", "not_recorded", "this device"),
            ("a_later_one", "policy_denied", "a_later_one, in 2.1 ms"),
        ] {
            let mut report = denied();
            report.decision.decided_by = decided_by.into();
            report.decision.reason = reason.into();
            assert_eq!(super::decided_by(&report), words);
        }
    }

    #[test]
    fn the_exit_code_tells_denials_apart() {
        assert_eq!(verdict(&permitted()), Exit::Success);
        for (reason, exit) in [
            ("policy_denied", Exit::Denied),
            ("unknown_resource", Exit::Denied),
            ("a_later_reason", Exit::Denied),
            ("posture_unmet", Exit::PostureUnmet),
            ("signed_out", Exit::NotSignedIn),
            ("session_expired", Exit::NotSignedIn),
            ("pdp_late", Exit::TimedOut),
            ("pdp_unreachable", Exit::Offline),
        ] {
            let mut report = denied();
            report.decision.reason = reason.into();
            assert_eq!(verdict(&report), exit, "{reason}");
        }
    }

    const SCREEN: Screen = Screen {
        width: usize::MAX,
        color: false,
        now: 0,
    };

    fn permitted() -> AccessReport {
        let denied = denied();
        AccessReport {
            last_refused: None,
            decision: DecisionReport {
                outcome: Outcome::Permitted,
                reason: "policy_permitted".into(),
                message: "The policy permits this.".into(),
                remedy: None,
                ..denied.decision
            },
            lease_seconds: Some(300),
            checks_unmet: Vec::new(),
            ..denied
        }
    }

    fn denied() -> AccessReport {
        AccessReport {
            last_refused: None,
            decision: DecisionReport {
                id: "d-1".into(),
                time: "2026-11-22T10:00:00Z".into(),
                target: "wiki.corp.test:443".into(),
                resource: Some("wiki".into()),
                outcome: Outcome::Denied,
                reason: "posture_unmet".into(),
                message: "This device does not meet the policy's conditions.".into(),
                remedy: Some("Run `ztna posture`.".into()),
                workload: Some(WorkloadReport {
                    path: "/usr/bin/ztna".into(),
                    user: Some(1000),
                }),
                subject: Some("u-1".into()),
                decided_by: "pdp".into(),
                latency_micros: 2_100,
                count: 1,
                is_mixed: false,
            },
            title: Some("Company wiki".into()),
            site: Some("hq".into()),
            lease_seconds: None,
            checks_unmet: vec![CheckReport {
                id: "firewall".into(),
                title: "Firewall is on".into(),
                finding: Finding::Fail,
                evidence: "no rules".into(),
                remedy: "Turn it on.".into(),
                measured_at: None,
            }],
        }
    }
}
