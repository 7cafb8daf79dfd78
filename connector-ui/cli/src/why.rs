//! `ztna why`: may I, and if not, what can I do?

use std::env;
use std::path::Path;

use connector_client::{Service, ServiceError};
use connector_ipc::{AccessReport, Outcome, Reply, Request};
use serde_json::json;

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
        program: args.program.as_deref().map(program).transpose()?,
    };
    let Reply::Access(report) = service.ask(&request).await? else {
        return Err(ServiceError::Unexpected.into());
    };
    match args.format.json {
        true => printer.json("ztna.why/1", json!(report))?,
        false => printer.print(&render(&report, printer.screen()))?,
    }
    Ok(verdict(&report))
}

/// Returns the absolute path of a program, as the service tells who connects: what a link leads
/// to, found in PATH if it is a name alone.
pub(crate) fn program(given: &Path) -> Result<String, Failure> {
    let is_name = given.components().count() == 1 && !given.is_absolute();
    let found = match is_name {
        true => env::split_paths(&env::var_os("PATH").unwrap_or_default())
            .map(|dir| dir.join(given))
            .find(|path| path.is_file()),
        // One that is not on this machine can be asked for as well.
        false => Some(given.to_owned()),
    };
    let path = found.map(|path| path.canonicalize().unwrap_or(path));
    let path = path.filter(|path| path.is_absolute());
    let path = path.as_deref().and_then(Path::to_str);
    path.map(str::to_owned).ok_or_else(|| {
        let given = given.display();
        Failure::Input(format!(
            "there is no program `{given}` on this machine; give its absolute path"
        ))
    })
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
    if let Some(commit) = &decision.said.commit {
        table.field("Commit", commit);
    }
    if let Some(workload) = &decision.workload {
        table.field("Program", &workload.path);
    }
    table.field(
        "Person",
        decision.subject.as_deref().unwrap_or("nobody is signed in"),
    );
    if let Some(request) = &decision.said.request {
        let reason = request.reason.as_ref().map(|reason| format!(" ({reason})"));
        let reason = reason.unwrap_or_default();
        table.field("Request", format!("{}{reason}", request.id));
    }
    if let Some(site) = &report.site {
        let silent = if report.is_site_silent {
            ", whose gateways do not answer right now: connections fail until one does"
        } else {
            ""
        };
        table.field("Site", format!("{site}{silent}"));
    }
    if let Some(lease) = report.lease_seconds {
        table.field("Valid for", seconds(lease));
    }
    if let Some(until) = &decision.said.valid_until
        && decision.outcome == Outcome::Permitted
    {
        let until = time::with_distance(until, screen.now);
        table.field(
            "Asked again",
            format!("{until}, for the policy tells the time"),
        );
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

    let changes = changes(report, screen);
    if !changes.is_empty() {
        text.push_str("\nWhat would change this:\n");
        for change in changes {
            text.push_str(&paragraph("  → ", &change, screen));
        }
    }
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

/// Returns what would change a denial, beside the checks that do not pass.
fn changes(report: &AccessReport, screen: Screen) -> Vec<String> {
    let decision = &report.decision;
    if decision.outcome == Outcome::Permitted {
        return vec![];
    }
    let mut changes = Vec::new();
    let host = host(&decision.target);
    if !report.checks_unmet.is_empty() {
        changes.push("Mend the checks below, then run `ztna posture --refresh`.".to_owned());
    }
    if decision.reason == "delegation_needed"
        && let Some(workload) = &decision.workload
    {
        changes.push(format!(
            "Run `ztna delegate {} --to {host} --for 1h`, if this program is to act for you.",
            workload.path
        ));
    }
    if let Some(step_up) = &decision.said.step_up {
        if let Some(values) = &step_up.acr_values {
            changes.push(format!(
                "Run `ztna login --step-up {host}` to sign in in a stronger way; the policy accepts: {values}."
            ));
        }
        if let Some(age) = step_up.max_age {
            let age = seconds(age);
            changes.push(format!(
                "Run `ztna login --step-up {host}`: your sign-in may be no longer ago than {age}."
            ));
        }
    }
    if let Some(who) = &decision.said.requestable {
        changes.push(format!(
            "Run `ztna request {host} --reason TEXT`; {who} can approve it."
        ));
    }
    if let Some(until) = &decision.said.valid_until {
        let until = time::with_distance(until, screen.now);
        changes.push(format!("Wait: the policy may say otherwise from {until}."));
    }
    changes
}

/// Returns what of `NAME:PORT` is the name.
fn host(target: &str) -> &str {
    target.rsplit_once(':').map_or(target, |(host, _)| host)
}

fn decided_by(report: &AccessReport) -> String {
    let decision = &report.decision;
    let took = micros(decision.latency_micros);
    if decision.said.answered_by.as_deref() == Some("embedded") {
        let policies = match decision.decided_by.strip_prefix("pdp, policy ") {
            Some(policy) => format!("policy {policy}"),
            None => "no policy permits it".to_owned(),
        };
        return format!("the policies on this device ({policies}), in {took}");
    }
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
    use connector_ipc::{
        CheckReport, DecisionReport, Finding, GrantedReport, SaidReport, StepUpReport,
        WorkloadReport,
    };

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

What would change this:
  → Mend the checks below, then run `ztna posture --refresh`.

Checks that do not pass:
  ✗ fail  Firewall is on  no rules
                          → Turn it on.
"
        );
    }

    #[test]
    fn what_the_policy_offers_is_told_with_the_policy_and_its_commit() {
        let mut report = denied();
        report.checks_unmet.clear();
        report.decision.decided_by = "pdp, policy payroll".into();
        report.decision.said = SaidReport {
            commit: Some("bafy".into()),
            answered_by: Some("embedded".into()),
            step_up: Some(StepUpReport {
                acr_values: Some("urn:example:mfa".into()),
                max_age: Some(300),
            }),
            requestable: Some("finance-leads".into()),
            request: Some(GrantedReport {
                id: "request-7".into(),
                reason: Some("Pay day".into()),
            }),
            valid_until: Some("1970-01-01T01:00:00Z".into()),
            hypothetical: false,
        };

        let text = render(&report, SCREEN);

        for line in [
            "Decided by  the policies on this device (policy payroll), in 2.1 ms",
            "Commit      bafy",
            "  → Run `ztna login --step-up wiki.corp.test` to sign in in a stronger way; the policy accepts: urn:example:mfa.",
            "  → Run `ztna login --step-up wiki.corp.test`: your sign-in may be no longer ago than 5 min.",
            "  → Run `ztna request wiki.corp.test --reason TEXT`; finance-leads can approve it.",
            "Request     request-7 (Pay day)",
            "  → Wait: the policy may say otherwise from 1970-01-01 01:00:00 UTC (in 1 h 0 min).",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }

    #[test]
    fn a_program_is_asked_for_by_its_absolute_path() {
        let own = env::current_exe().unwrap();

        assert_eq!(
            program(&own).unwrap(),
            own.canonicalize().unwrap().to_str().unwrap()
        );
        assert!(program(Path::new("there-is-no-such-program")).is_err());
        assert!(program(Path::new("nowhere/there-is-no-such-program")).is_err());
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

    #[test]
    fn gateways_that_do_not_answer_are_told_of() {
        let report = AccessReport {
            is_site_silent: true,
            ..permitted()
        };

        assert!(render(&report, SCREEN).contains("whose gateways do not answer right now"));
    }

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
            is_site_silent: false,
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
                said: SaidReport::default(),
            },
            title: Some("Company wiki".into()),
            site: Some("hq".into()),
            is_site_silent: false,
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
