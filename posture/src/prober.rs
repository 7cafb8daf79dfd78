//! From a check to a measurement.

use connector_core::posture::{Check, Finding, Measurement, Platform};
use connector_core::time::Moment;

use crate::engine::{QueryEngine, QueryError, Row};

/// Measures checks on one query engine.
///
/// Measuring blocks for as long as the engine takes; call it where blocking is
/// allowed.
#[derive(Debug)]
pub struct Prober<E> {
    engine: E,
}

impl<E: QueryEngine> Prober<E> {
    /// Creates a prober that puts its queries to `engine`.
    #[must_use]
    pub const fn new(engine: E) -> Self {
        Self { engine }
    }

    /// Measures `check` with its query for `platform`; whatever prevents that
    /// makes the finding unknown.
    #[must_use]
    pub fn measure(&mut self, check: &Check, platform: Platform, now: Moment) -> Measurement {
        match check.sql.get(&platform) {
            Some(sql) => read_measurement(&self.engine.query(sql), now),
            None => measurement(
                Finding::Unknown,
                "the check has no query for this platform",
                now,
            ),
        }
    }
}

/// Reads an engine's answer as a measurement taken at `now`.
///
/// The first row decides: `1` in its column `pass` passes, `0` fails, and
/// anything else, no row or an error is unknown.
#[must_use]
pub fn read_measurement(answer: &Result<Vec<Row>, QueryError>, now: Moment) -> Measurement {
    let rows = match answer {
        Ok(rows) => rows,
        Err(error) => return measurement(Finding::Unknown, &error.to_string(), now),
    };
    let Some(row) = rows.first() else {
        return measurement(
            Finding::Unknown,
            "nothing on this device answers the check",
            now,
        );
    };

    let evidence = row.value("evidence").filter(|text| !text.trim().is_empty());
    match row.value("pass") {
        Some("1") => measurement(Finding::Pass, evidence.unwrap_or("as required"), now),
        Some("0") => measurement(Finding::Fail, evidence.unwrap_or("not as required"), now),
        Some("") => measurement(
            Finding::Unknown,
            evidence.unwrap_or("the check could not tell on this device"),
            now,
        ),
        Some(other) => measurement(
            Finding::Unknown,
            &format!("the check's column `pass` holds {other:?} where 1 or 0 is expected"),
            now,
        ),
        None => measurement(
            Finding::Unknown,
            "the check's query has no column `pass`; correct the check",
            now,
        ),
    }
}

fn measurement(finding: Finding, evidence: &str, now: Moment) -> Measurement {
    Measurement {
        finding,
        evidence: presentable(evidence).into(),
        taken_at: now,
    }
}

/// Returns `text` on one line of bounded length. File and process names get in
/// here, so nothing in it may steer a terminal or reorder what is read.
fn presentable(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .map(|letter| if steers(letter) { ' ' } else { letter })
        .take(MAX_EVIDENCE)
        .collect();
    if text.chars().nth(MAX_EVIDENCE).is_some() {
        shown.push('…');
    }
    shown
}

fn steers(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

/// As many characters as still make a readable notice.
const MAX_EVIDENCE: usize = 400;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_passes_and_zero_fails_and_all_else_is_unknown() {
        for (pass, finding) in [
            ("1", Finding::Pass),
            ("0", Finding::Fail),
            ("", Finding::Unknown),
            ("yes", Finding::Unknown),
            ("true", Finding::Unknown),
            ("1.0", Finding::Unknown),
            (" 1", Finding::Unknown),
            ("2", Finding::Unknown),
        ] {
            assert_eq!(read(&[("pass", pass)]).finding, finding, "{pass:?}");
        }
    }

    #[test]
    fn the_first_row_decides() {
        let answer = Ok(vec![row(&[("pass", "0")]), row(&[("pass", "1")])]);

        assert_eq!(read_measurement(&answer, now()).finding, Finding::Fail);
    }

    #[test]
    fn no_row_no_column_and_an_error_are_unknown_and_say_why() {
        let late = QueryError::TookTooLong {
            limit: Duration::from_millis(500),
        };
        for (answer, words) in [
            (Ok(vec![]), "nothing on this device"),
            (Ok(vec![row(&[("passed", "1")])]), "no column `pass`"),
            (Err(late), "took too long"),
        ] {
            let measured = read_measurement(&answer, now());

            assert_eq!(measured.finding, Finding::Unknown);
            assert!(measured.evidence.contains(words), "{}", measured.evidence);
        }
    }

    #[test]
    fn a_check_without_a_query_for_the_platform_is_unknown() {
        let check = Check {
            id: "a".into(),
            title: "a".into(),
            sql: BTreeMap::from([(Platform::Darwin, "SELECT 1 AS pass".into())]),
            remedy: "a".into(),
            interval: Duration::from_secs(1),
            max_age: Duration::from_secs(2),
        };

        let measured = Prober::new(AlwaysPasses).measure(&check, Platform::Linux, now());

        assert_eq!(measured.finding, Finding::Unknown);
        assert_eq!(measured.taken_at, now());
    }

    #[test]
    fn evidence_cannot_steer_a_terminal_and_has_an_end() {
        let hostile = format!("a\x1b[2J\r\nb\u{202e}c{}", "d".repeat(10_000));

        let evidence = read(&[("pass", "0"), ("evidence", &hostile)]).evidence;

        assert!(evidence.starts_with("a [2J  b c"), "{evidence}");
        assert!(evidence.chars().count() <= MAX_EVIDENCE + 1);
    }

    struct AlwaysPasses;

    impl QueryEngine for AlwaysPasses {
        fn query(&mut self, _: &str) -> Result<Vec<Row>, QueryError> {
            Ok(vec![row(&[("pass", "1")])])
        }
    }

    fn read(values: &[(&str, &str)]) -> Measurement {
        read_measurement(&Ok(vec![row(values)]), now())
    }

    fn row(values: &[(&str, &str)]) -> Row {
        values
            .iter()
            .map(|(column, value)| ((*column).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn now() -> Moment {
        Moment::from_boot(Duration::from_secs(7))
    }
}
