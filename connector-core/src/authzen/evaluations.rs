//! Several questions in one request (§7), and their answers told apart.

use serde_json::{Value, json};

use super::{Decision, Malformed, decision_of, strict};

/// Writes `questions`, each an evaluation of its own, as one request (§7.1).
///
/// Every item is complete: nothing is inherited, so that a server that merges
/// differently cannot answer another question than the one that was asked.
#[must_use]
pub fn evaluations(questions: &[Value]) -> Value {
    json!({
        "evaluations": questions,
        "options": {"evaluations_semantic": "execute_all"},
    })
}

/// Reads the answers to `asked` questions, in the order of the questions (§7.2).
///
/// # Errors
///
/// [`Malformed`] for all of them if the answers cannot be told apart: there are
/// more or fewer than questions, or the body is no list of answers.
pub fn parse_evaluations(
    body: &[u8],
    asked: usize,
) -> Result<Vec<Result<Decision, Unanswered>>, Malformed> {
    let Value::Object(mut answer) = strict::parse(body)? else {
        return Err(Malformed::new("it is no object"));
    };
    let Some(Value::Array(items)) = answer.remove("evaluations") else {
        return Err(Malformed::new("it has no list of evaluations"));
    };
    if items.len() != asked {
        return Err(Malformed::new(format!(
            "{} answers to {asked} questions",
            items.len()
        )));
    }
    Ok(items.into_iter().map(item).collect())
}

/// Why one of several questions has no decision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// The server could not decide about this one, and says so with an HTTP status (§7.2.1).
    #[error("the policy server failed to decide about this one: status {0}")]
    Failed(u16),
    /// What it says about this one is no decision.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

fn item(item: Value) -> Result<Decision, Unanswered> {
    let failed = failure(&item)?;
    let decision = decision_of(item)?;
    match failed {
        None => Ok(decision),
        Some(_) if decision.outcome.is_ok() => {
            Err(Malformed::new("a permission that reports an error").into())
        }
        Some(status) => Err(Unanswered::Failed(status)),
    }
}

/// Returns the status of `context.error`, if an item has one.
fn failure(item: &Value) -> Result<Option<u16>, Malformed> {
    let context = item.get("context").and_then(Value::as_object);
    let Some(error) = context.and_then(|context| context.get("error")) else {
        return Ok(None);
    };
    error
        .get("status")
        .and_then(Value::as_u64)
        .and_then(|status| u16::try_from(status).ok())
        .map(Some)
        .ok_or_else(|| Malformed::new("an error without a status"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Reason;

    #[test]
    fn every_question_stands_for_itself() {
        let body = evaluations(&[json!({"resource": {"id": "a"}}), json!({"resource": {}})]);

        assert_eq!(body["evaluations"][0]["resource"]["id"], "a");
        assert_eq!(body["evaluations"].as_array().unwrap().len(), 2);
        assert_eq!(body["options"]["evaluations_semantic"], "execute_all");
        assert!(body.get("subject").is_none());
    }

    #[test]
    fn answers_keep_the_order_of_the_questions_and_fail_one_by_one() {
        let body = br#"{"decision": true, "evaluations": [
            {"decision": true},
            {"decision": false, "context": {"reason_user": "no"}},
            {"decision": false, "context": {"error": {"status": 404, "message": "who?"}}},
            {"decision": "yes"},
            {"decision": true, "context": {"error": {"status": 500}}},
            {"decision": true, "context": {"obligations": [{"id": "x"}]}},
            17
        ]}"#;

        let answers = parse_evaluations(body, 7).unwrap();

        assert_eq!(answers[0].as_ref().unwrap().outcome, Ok(()));
        let denial = answers[1].as_ref().unwrap().outcome.clone().unwrap_err();
        assert_eq!(denial.reason, Reason::PolicyDenied);
        assert_eq!(answers[2], Err(Unanswered::Failed(404)));
        for malformed in &answers[3..] {
            assert!(
                matches!(malformed, Err(Unanswered::Malformed(_))),
                "{malformed:?}"
            );
        }
    }

    #[test]
    fn answers_that_cannot_be_told_apart_answer_nothing() {
        for body in [
            r#"{"evaluations": []}"#,
            r#"{"evaluations": [{"decision": true}]}"#,
            r#"{"evaluations": [{"decision": true}, {"decision": true}, {"decision": true}]}"#,
            r#"{"evaluations": {"0": {"decision": true}, "1": {"decision": true}}}"#,
            r#"{"evaluations": [{"decision": true}, {"decision": true, "decision": false}]}"#,
            r#"{"evaluations": [], "evaluations": [{"decision": true}, {"decision": true}]}"#,
            r#"{"decision": true}"#,
            r#"[{"decision": true}, {"decision": true}]"#,
            "null",
            "",
        ] {
            assert!(parse_evaluations(body.as_bytes(), 2).is_err(), "{body}");
        }
    }
}
