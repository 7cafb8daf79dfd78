use connector_core::time::WallTime;
use connector_ipc::{
    DecisionReport, GrantedReport, Outcome, SaidReport, StepUpReport, WorkloadReport,
};
use serde_json::Value;

/// Reads a decision from its line in the log.
pub(crate) fn from_ocsf(event: &Value) -> Option<DecisionReport> {
    let text = |pointer: &str| {
        event
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let outcome = match event.pointer("/authorizations/0/decision")?.as_str()? {
        "denied" => Outcome::Denied,
        "permitted" => Outcome::Permitted,
        "revoked" => Outcome::Revoked,
        _ => return None,
    };
    let workload = text("/actor/process/file/path").map(|path| WorkloadReport {
        path,
        user: text("/actor/process/user/uid").and_then(|user| user.parse().ok()),
    });
    // The person must not learn that it is there: nothing here that a name which is not there has not.
    let is_hidden = event.pointer("/unmapped/hidden").is_some();
    let shown = |pointer: &str| text(pointer).filter(|_| !is_hidden);
    Some(DecisionReport {
        id: text("/metadata/uid")?,
        time: WallTime::from_unix_millis(event["time"].as_u64()?).to_string(),
        target: text("/unmapped/target")?,
        resource: shown("/unmapped/resource"),
        outcome,
        reason: text("/status_code").unwrap_or_else(|| "permitted".to_owned()),
        message: text("/status_detail").unwrap_or_else(|| "The policy permits this.".to_owned()),
        remedy: text("/unmapped/remedy"),
        workload,
        subject: text("/actor/user/uid"),
        decided_by: match shown("/authorizations/0/policy/uid") {
            Some(policy) => format!("pdp, policy {policy}"),
            None if is_hidden => "local".to_owned(),
            None => text("/unmapped/decided_by")?,
        },
        count: event["count"].as_u64().unwrap_or(1),
        is_mixed: event.pointer("/unmapped/is_mixed") == Some(&Value::Bool(true)),
        latency_micros: match event.pointer("/unmapped/latency_micros")?.as_u64()? {
            _ if is_hidden => 0,
            micros => micros,
        },
        said: match said(event) {
            SaidReport { hypothetical, .. } if is_hidden => SaidReport {
                hypothetical,
                ..SaidReport::default()
            },
            said => said,
        },
    })
}

/// Reads what the policy said beside its answer.
fn said(event: &Value) -> SaidReport {
    let unmapped = &event["unmapped"];
    let text = |member: &str| unmapped[member].as_str().map(str::to_owned);
    let step_up = unmapped.get("step_up").map(|step_up| StepUpReport {
        acr_values: step_up["acr_values"].as_str().map(str::to_owned),
        max_age: step_up["max_age"].as_u64(),
    });
    let request = unmapped.get("request").and_then(|request| {
        Some(GrantedReport {
            id: request["id"].as_str()?.to_owned(),
            reason: request["reason"].as_str().map(str::to_owned),
        })
    });
    let valid_until = unmapped["valid_until"].as_u64();
    SaidReport {
        commit: text("commit"),
        answered_by: text("pdp"),
        step_up,
        requestable: text("requestable"),
        request,
        valid_until: valid_until.map(|millis| WallTime::from_unix_millis(millis).to_string()),
        hypothetical: unmapped["hypothetical"] == true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_hidden_is_shown_as_what_is_not_there() {
        let nowhere = json!({
            "time": 1, "metadata": {"uid": "7"}, "authorizations": [{"decision": "denied"}],
            "status_code": "unknown_resource", "status_detail": "No protected application has this name.",
            "unmapped": {"target": "payroll.corp.test:443", "decided_by": "local", "latency_micros": 0,
                         "remedy": "Check the name; `ztna resources` lists what is offered."},
        });
        let mut hidden = nowhere.clone();
        hidden["authorizations"][0]["policy"] = json!({"uid": "no-payroll"});
        let unmapped = json!({"hidden": true, "decided_by": "pdp", "latency_micros": 120, "resource": "payroll",
            "title": "Payroll", "site": "hq", "commit": "bafy", "pdp": "embedded", "requestable": "finance",
            "valid_until": 5, "step_up": {"acr_values": "mfa"}});
        for (member, value) in unmapped.as_object().unwrap() {
            hidden["unmapped"][member] = value.clone();
        }

        assert_eq!(from_ocsf(&hidden), from_ocsf(&nowhere));
        assert!(from_ocsf(&nowhere).is_some());
    }

    #[test]
    fn a_difference_of_a_candidate_is_no_decision() {
        let differs = json!({
            "time": 1, "metadata": {"uid": "7"}, "authorizations": [{"decision": "differs"}],
            "unmapped": {"target": "wiki.corp.test:443", "decided_by": "local", "latency_micros": 0},
        });

        assert_eq!(from_ocsf(&differs), None);
    }
}
