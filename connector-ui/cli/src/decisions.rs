//! `ztna decisions`: what was permitted and denied.

use connector_client::{ONE_ANSWER, Service, ServiceError};
use connector_ipc::{DecisionReport, Outcome, Reply, Request, WorkloadReport};
use serde_json::json;

use crate::command::DecisionsArgs;
use crate::exit::{Exit, Failure};
use crate::output::Printer;
use crate::table::{Cell, flow};
use crate::text::{Screen, Tone};
use crate::time;

/// Lists decisions, oldest first.
pub(crate) async fn run(
    service: &Service,
    args: &DecisionsArgs,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let request = Request::Decisions {
        follow: args.follow,
        denied: args.denied,
        limit: args.limit.into(),
    };
    let mut replies = service.open(&request, ONE_ANSWER).await?;
    if args.follow {
        loop {
            let Reply::Decision(decision) = replies.next_whenever().await? else {
                return Err(ServiceError::Unexpected.into());
            };
            match args.format.json {
                true => printer.json_line("ztna.decision/1", json!(decision))?,
                false => printer.print(&render(&decision, printer.screen()))?,
            }
        }
    }

    let mut decisions = Vec::new();
    loop {
        match replies.next().await? {
            Reply::Decision(decision) if decisions.len() < usize::from(args.limit) => {
                decisions.push(decision);
            }
            Reply::Done => break,
            Reply::Access(_)
            | Reply::AccessRequest(_)
            | Reply::AccessRequests(_)
            | Reply::Delegation(_)
            | Reply::Delegations(_)
            | Reply::Elevation(_)
            | Reply::Elevations(_)
            | Reply::Decision(_)
            | Reply::Diagnosis(_)
            | Reply::Failed(_)
            | Reply::Identity(_)
            | Reply::LogLines { .. }
            | Reply::Overridden(_)
            | Reply::OverrideChallenge(_)
            | Reply::PolicyCommit(_)
            | Reply::PolicyLog(_)
            | Reply::PolicyReplay(_)
            | Reply::PolicyTest(_)
            | Reply::PolicyText { .. }
            | Reply::Posture(_)
            | Reply::Resources(_)
            | Reply::Settings(_)
            | Reply::SignInPage { .. }
            | Reply::Status(_)
            | Reply::Welcome(_) => return Err(ServiceError::Unexpected.into()),
        }
    }
    match args.format.json {
        true => printer.json("ztna.decisions/1", json!({ "decisions": decisions }))?,
        false => printer.print(&render_all(&decisions, printer.screen()))?,
    }
    Ok(Exit::Success)
}

/// Returns the shape, the word and the tone of an outcome.
pub(crate) fn outcome(outcome: Outcome) -> (&'static str, &'static str, Tone) {
    match outcome {
        Outcome::Denied => ("✗", "denied", Tone::Bad),
        Outcome::Permitted => ("✓", "permitted", Tone::Good),
        Outcome::Revoked => ("⊘", "revoked", Tone::Bad),
    }
}

fn render_all(decisions: &[DecisionReport], screen: Screen) -> String {
    if decisions.is_empty() {
        return "Nothing was decided yet.\n".into();
    }
    decisions
        .iter()
        .map(|decision| render(decision, screen))
        .collect()
}

/// Returns one line, or more where one is too short. Its columns do not depend on
/// other decisions, so that lines that come one by one line up.
fn render(decision: &DecisionReport, screen: Screen) -> String {
    let (shape, word, tone) = outcome(decision.outcome);
    let why = match decision.outcome {
        Outcome::Denied | Outcome::Revoked if decision.message.is_empty() => &decision.reason,
        Outcome::Denied | Outcome::Revoked => &decision.message,
        Outcome::Permitted => "",
    };
    let why = match (decision.count, decision.is_mixed) {
        (0 | 1, _) => why.to_owned(),
        (count, false) => format!("{why} ({count} times)"),
        (count, true) => format!("{why} ({count} refusals, of other targets too)"),
    };
    let cells = [
        Cell::toned(time::utc(&decision.time), Tone::Dim),
        Cell::toned(format!("{shape} {word}"), tone),
        Cell::new(&decision.target),
        Cell::new(program(decision.workload.as_ref())),
        Cell::new(why),
    ];
    flow(0, &cells, &[23, 11, 26, 12], screen)
}

/// Returns the file name of the program, whichever system wrote the path.
fn program(workload: Option<&WorkloadReport>) -> String {
    match workload {
        Some(workload) => workload
            .path
            .rsplit(['/', '\\'])
            .next()
            .unwrap_or_default()
            .into(),
        None => "unknown".into(),
    }
}

#[cfg(test)]
mod tests {
    use crate::text::width;

    use super::*;

    #[test]
    fn each_decision_is_one_line_that_lines_up_with_others() {
        let permitted = DecisionReport {
            outcome: Outcome::Permitted,
            reason: "policy_permitted".into(),
            workload: Some(WorkloadReport {
                path: r"C:\Program Files\Browser\browser.exe".into(),
                user: None,
            }),
            ..denied()
        };

        let revoked = DecisionReport {
            outcome: Outcome::Revoked,
            reason: "posture_unmet".into(),
            message: "This device does not meet the policy's conditions.".into(),
            workload: None,
            ..denied()
        };

        assert_eq!(
            render_all(&[denied(), permitted, revoked], SCREEN),
            "\
2026-11-22 10:00:00 UTC  ✗ denied     payroll.corp.test:443       curl          The policy does not permit this.
2026-11-22 10:00:00 UTC  ✓ permitted  payroll.corp.test:443       browser.exe
2026-11-22 10:00:00 UTC  ⊘ revoked    payroll.corp.test:443       unknown       This device does not meet the policy's conditions.
"
        );
    }

    #[test]
    fn what_does_not_fit_goes_on_in_an_indented_line() {
        let at = |width| render(&denied(), Screen { width, ..SCREEN });

        assert_eq!(
            at(80),
            "\
2026-11-22 10:00:00 UTC  ✗ denied     payroll.corp.test:443       curl
  The policy does not permit this.
"
        );
        assert_eq!(
            at(40),
            "\
2026-11-22 10:00:00 UTC  ✗ denied
  payroll.corp.test:443       curl
  The policy does not permit this.
"
        );
    }

    #[test]
    fn nothing_is_lost_and_nothing_steers_the_terminal_at_any_width() {
        let mut decision = denied();
        decision.message = "first\nsecond \x1b[2J".into();
        for columns in 0..200 {
            let screen = Screen {
                width: columns,
                ..SCREEN
            };
            let text = render(&decision, screen);
            for word in ["payroll.corp.test:443", "curl", "first", "second"] {
                assert!(text.split_whitespace().any(|one| one == word), "{text}");
            }
            assert!(!text.contains('\x1b'));
            let mut lines = text.lines();
            let fits = |line: &str| width(line) <= columns || line.split_whitespace().count() == 1;
            assert!(lines.all(fits), "{columns}: {text}");
        }
    }

    #[test]
    fn a_denial_without_a_message_has_its_reason() {
        let mut decision = denied();
        decision.message = String::new();

        assert!(render(&decision, SCREEN).ends_with("  policy_denied\n"));
    }

    #[test]
    fn one_line_tells_of_many_refusals() {
        let alike = DecisionReport {
            count: 41,
            ..denied()
        };
        let mixed = DecisionReport {
            is_mixed: true,
            ..alike.clone()
        };

        assert!(render(&alike, SCREEN).ends_with("not permit this. (41 times)\n"));
        assert!(render(&mixed, SCREEN).ends_with("(41 refusals, of other targets too)\n"));
    }

    #[test]
    fn a_program_that_is_not_known_is_said_to_be_unknown() {
        assert_eq!(program(None), "unknown");
    }

    const SCREEN: Screen = Screen {
        width: usize::MAX,
        color: false,
        now: 0,
    };

    fn denied() -> DecisionReport {
        DecisionReport {
            id: "d-1".into(),
            time: "2026-11-22T10:00:00.123Z".into(),
            target: "payroll.corp.test:443".into(),
            resource: Some("payroll".into()),
            outcome: Outcome::Denied,
            reason: "policy_denied".into(),
            message: "The policy does not permit this.".into(),
            remedy: None,
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
}
