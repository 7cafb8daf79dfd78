//! Tables of requests and expected answers, and what another commit would answer.
//!
//! A table is a file of JSON lines: each line that is neither empty nor begins
//! with `#` is a [`Case`]. Requests that were recorded are cases, too, whose
//! expectation is what was decided.

mod line;
mod recorded;

use std::sync::Arc;

use connector_core::authzen::{AccessRequest, Decision};

use crate::evaluation::{Circumstances, DecisionPoint};
use crate::snapshot::Snapshot;

pub use self::line::{InvalidLine, LineProblem};
pub use self::recorded::{Change, Replay, Replayed, Seen};

/// One request and the answer that it should get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What people call it.
    pub name: String,
    /// What is asked.
    pub request: AccessRequest,
    /// What the decision rests on beside.
    pub circumstances: Circumstances,
    /// The answer.
    pub expected: Expected,
}

/// The answer that a request should get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Whether it is a permission.
    pub permitted: bool,
    /// The policies that decide, where the table has an opinion.
    pub policy: Option<Arc<str>>,
}

impl Expected {
    /// Returns what was decided.
    #[must_use]
    pub fn of(decision: &Decision) -> Self {
        Self {
            permitted: decision.outcome.is_ok(),
            policy: decision.policy.clone(),
        }
    }

    fn is_met(&self, found: &Decision) -> bool {
        let policy = self.policy.is_none() || self.policy == found.policy;
        self.permitted == found.outcome.is_ok() && policy
    }
}

/// What came of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// How many answers were the expected ones.
    pub met: usize,
    /// The others.
    pub unmet: Vec<Unmet>,
}

/// An answer that was not the expected one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// What people call the case.
    pub name: String,
    /// What was expected, or decided before.
    pub expected: Expected,
    /// What is decided.
    pub found: Decision,
}

/// Reads a table.
///
/// # Errors
///
/// The first [`InvalidLine`].
pub fn read(text: &str) -> Result<Vec<Case>, InvalidLine> {
    let lines = (1..).zip(text.lines());
    lines
        .filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        .map(|(number, line)| line::read(number, line))
        .collect()
}

/// Writes cases as a table.
#[must_use]
pub fn write(cases: &[Case]) -> String {
    let lines = cases.iter().map(line::write);
    lines.map(|line| line + "\n").collect()
}

/// Puts every case to the policies.
pub fn run(policies: &Arc<Snapshot>, cases: &[Case]) -> Report {
    let mut point = DecisionPoint::new(Arc::clone(policies), None);
    let mut report = Report::default();
    for case in cases {
        let found = point.decide(&case.request, &case.circumstances);
        if case.expected.is_met(&found) {
            report.met += 1;
        } else {
            report.unmet.push(Unmet {
                name: case.name.clone(),
                expected: case.expected.clone(),
                found,
            });
        }
    }
    report
}

/// Puts recorded requests to the policies of another commit, and returns those
/// that are permitted now and were not, or the other way round. Which policy
/// decides is no difference.
pub fn replay(policies: &Arc<Snapshot>, recorded: &[Case]) -> Report {
    let outcomes: Vec<Case> = recorded
        .iter()
        .map(|case| Case {
            expected: Expected {
                policy: None,
                ..case.expected.clone()
            },
            ..case.clone()
        })
        .collect();
    run(policies, &outcomes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::author;
    use crate::testing::Asked;

    const TABLE: &str = r#"
# Who reaches the wiki.
{"name": "staff", "person": "ann", "groups": ["staff"], "resource": "wiki", "expect": "permit", "policy": "wiki"}
{"name": "guests", "person": "bob", "groups": ["guests"], "resource": "wiki", "expect": "deny"}
{"name": "at night", "person": "ann", "groups": ["staff"], "resource": "wiki", "time": "2026-11-22T23:00:00Z", "expect": "deny"}
"#;
    const POLICY: &str = r#"@id("wiki") permit(principal in Group::"staff", action == Action::"connect",
        resource == Resource::"wiki") when { context.minute_of_day < 1320 };"#;

    #[test]
    fn a_table_that_is_true_is_met_and_one_that_is_not_says_where() {
        let cases = read(TABLE).unwrap();

        let good = run(&policies(POLICY), &cases);
        let open = run(&policies(&POLICY.replace("1320", "1440")), &cases);

        assert_eq!((good.met, good.unmet.len()), (3, 0));
        assert_eq!(open.met, 2);
        assert_eq!(open.unmet[0].name, "at night");
        assert!(open.unmet[0].found.outcome.is_ok());
    }

    #[test]
    fn recorded_decisions_show_what_another_commit_would_change() {
        let policies_before = policies(POLICY);
        let request = Asked::default().request();
        let mut point = DecisionPoint::new(Arc::clone(&policies_before), None);
        let decision = point.decide(&request, &Circumstances::default());
        let recorded = [Case {
            name: "1".into(),
            request,
            circumstances: Circumstances::default(),
            expected: Expected::of(&decision),
        }];

        let renamed = POLICY.replace("@id(\"wiki\")", "@id(\"other\")");
        assert_eq!(replay(&policies(&renamed), &recorded).unmet, []);
        let narrowed = POLICY.replace("staff", "admins");
        let report = replay(&policies(&narrowed), &recorded);
        assert_eq!(report.unmet.len(), 1);
        assert!(report.unmet[0].expected.permitted);
    }

    #[test]
    fn a_case_is_read_as_it_was_written() {
        let mut case = read(TABLE).unwrap().remove(0);
        case.request = Asked {
            assured: true,
            ..Asked::default()
        }
        .request();

        let written = write(&[case.clone()]);

        assert_eq!(
            read(&written).unwrap()[0].request.to_json(),
            case.request.to_json()
        );
    }

    #[test]
    fn a_line_that_is_no_case_is_refused_with_its_number() {
        for (line, expected) in [
            ("{}", "line 2"),
            ("nonsense", "line 2"),
            (r#"{"person":"a","resource":"r","expect":"maybe"}"#, "maybe"),
            (
                r#"{"person":"a","resource":"r","expect":"deny","tiem":"x"}"#,
                "tiem",
            ),
            (
                r#"{"person":"a","resource":"r","expect":"deny","time":"noon"}"#,
                "noon",
            ),
            (
                r#"{"person":"a","resource":"r","expect":"deny","time":"2026-02-30T00:00:00Z"}"#,
                "2026-02-30",
            ),
            (
                r#"{"person":"a","resource":"r","expect":"deny","protocol":"sctp"}"#,
                "sctp",
            ),
            (
                r#"{"person":"a","resource":"r","expect":"deny","checks":{"disk":"yes"}}"#,
                "yes",
            ),
            (
                r#"{"person":"a","resource":"r","expect":"deny","host":"a b"}"#,
                "a b",
            ),
        ] {
            let refused = read(&format!("# first\n{line}\n")).unwrap_err().to_string();

            assert!(refused.contains(expected), "{line}: {refused}");
        }
    }

    fn policies(text: &str) -> Arc<Snapshot> {
        Arc::new(author::check([("test.cedar", text)]).unwrap())
    }
}
