use connector_core::time::WallTime;
use connector_ipc::{DecisionReport, Outcome, WorkloadReport};
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
    Some(DecisionReport {
        id: text("/metadata/uid")?,
        time: WallTime::from_unix_millis(event["time"].as_u64()?).to_string(),
        target: text("/unmapped/target")?,
        resource: text("/unmapped/resource"),
        outcome,
        reason: text("/status_code").unwrap_or_else(|| "permitted".to_owned()),
        message: text("/status_detail").unwrap_or_else(|| "The policy permits this.".to_owned()),
        remedy: text("/unmapped/remedy"),
        workload,
        subject: text("/actor/user/uid"),
        decided_by: match text("/authorizations/0/policy/uid") {
            Some(policy) => format!("pdp, policy {policy}"),
            None => text("/unmapped/decided_by")?,
        },
        latency_micros: event.pointer("/unmapped/latency_micros")?.as_u64()?,
        count: event["count"].as_u64().unwrap_or(1),
        is_mixed: event.pointer("/unmapped/is_mixed") == Some(&Value::Bool(true)),
    })
}
