//! Decisions as OpenTelemetry logs: OTLP/HTTP with JSON.

use std::time::Duration;

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};
use url::Url;

use super::Undelivered;
use super::reader::Batch;
use crate::adapters::http::{self as web, Http};

/// Where logs are sent: the collector's base and `v1/logs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OtlpEndpoint(Url);

impl OtlpEndpoint {
    /// Takes the collector's base, as in `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(crate) fn below(mut base: Url) -> Self {
        base.set_query(None);
        let path = format!("{}/v1/logs", base.path().trim_end_matches('/'));
        base.set_path(&path);
        Self(base)
    }
}

/// Sends log records to a collector.
#[derive(Debug)]
pub(super) struct OtlpLogs {
    http: Http,
    endpoint: OtlpEndpoint,
}

impl OtlpLogs {
    pub(super) const fn new(http: Http, endpoint: OtlpEndpoint) -> Self {
        Self { http, endpoint }
    }

    /// Sends a batch. What the collector says it can never take is not sent again, as the
    /// protocol demands; the service's log says so.
    pub(super) async fn export(&self, batch: &Batch) -> Result<(), Undelivered> {
        let request = self
            .http
            .client()
            .post(self.endpoint.0.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(export_request(&batch.lines).to_string());
        let answer = web::send(request, REQUEST_LIMIT, MAX_ANSWER).await?;
        let status = answer.status;
        if status.is_success() {
            if let Some(rejected) = rejected(&answer.body) {
                tracing::warn!(%rejected, "The OTLP collector rejected some decisions");
            }
            return Ok(());
        }
        if status == StatusCode::BAD_REQUEST {
            tracing::error!(
                from = batch.first,
                through = batch.last,
                "The OTLP collector cannot read these decisions; they are not sent again"
            );
            return Ok(());
        }
        Err(Undelivered::Refused {
            status,
            retry_after: retry_after(&answer.headers),
        })
    }
}

/// Returns how many decisions a collector did not take, if it says so: as a number, or as the text
/// that the protocol makes of a 64-bit number.
pub(crate) fn rejected(answer: &[u8]) -> Option<u64> {
    let body: Value = serde_json::from_slice(answer).ok()?;
    let rejected = &body["partialSuccess"]["rejectedLogRecords"];
    let count = rejected.as_u64();
    let count = count.or_else(|| rejected.as_str()?.parse().ok())?;
    (count > 0).then_some(count)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Returns an `ExportLogsServiceRequest` of lines of the log.
pub(crate) fn export_request(lines: &[u8]) -> Value {
    let events: Vec<Value> = lines
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    let host = events
        .iter()
        .find_map(|event| event.pointer("/device/uid").and_then(Value::as_str));
    let mut resource = vec![
        attribute("service.name", &"ztnad".into()),
        attribute("service.version", &env!("CARGO_PKG_VERSION").into()),
    ];
    resource.extend(host.map(|host| attribute("host.id", &host.into())));
    let records: Vec<Value> = events.iter().map(log_record).collect();
    json!({"resourceLogs": [{
        "resource": {"attributes": resource},
        "scopeLogs": [{
            "scope": {"name": "ztna.decisions", "version": env!("CARGO_PKG_VERSION")},
            "logRecords": records,
        }],
    }]})
}

fn log_record(event: &Value) -> Value {
    let nanos = event["time"]
        .as_u64()
        .unwrap_or_default()
        .saturating_mul(1_000_000)
        .to_string();
    let (severity, text) = severity(event["severity_id"].as_u64());
    let attributes: Vec<Value> = ATTRIBUTES
        .iter()
        .filter_map(|(name, pointer)| Some(attribute(name, event.pointer(pointer)?)))
        .collect();
    json!({
        "timeUnixNano": nanos,
        "observedTimeUnixNano": nanos,
        "severityNumber": severity,
        "severityText": text,
        "eventName": format!("ocsf.{}", event["class_uid"]),
        "body": any_value(event),
        "attributes": attributes,
    })
}

/// Returns OpenTelemetry's number and name for an OCSF severity.
const fn severity(id: Option<u64>) -> (u8, &'static str) {
    match id {
        Some(3) => (13, "WARN"),
        Some(4..=5) => (17, "ERROR"),
        Some(6) => (21, "FATAL"),
        Some(_) | None => (9, "INFO"),
    }
}

fn attribute(key: &str, value: &Value) -> Value {
    json!({"key": key, "value": any_value(value)})
}

/// Returns an `AnyValue`; its integers are texts, as protobuf's JSON writes 64 bits.
fn any_value(value: &Value) -> Value {
    match value {
        Value::Null => Value::Object(Map::new()),
        Value::Bool(value) => json!({"boolValue": value}),
        Value::Number(number) if number.is_f64() => json!({"doubleValue": number}),
        Value::Number(number) => json!({"intValue": number.to_string()}),
        Value::String(text) => json!({"stringValue": text}),
        Value::Array(values) => {
            let values: Vec<Value> = values.iter().map(any_value).collect();
            json!({"arrayValue": {"values": values}})
        }
        Value::Object(members) => {
            let values: Vec<Value> = members
                .iter()
                .map(|(key, value)| attribute(key, value))
                .collect();
            json!({"kvlistValue": {"values": values}})
        }
    }
}

/// The semantic conventions' names, and where a line has them.
const ATTRIBUTES: [(&str, &str); 7] = [
    ("log.record.uid", "/metadata/uid"),
    ("network.transport", "/connection_info/protocol_name"),
    ("process.executable.path", "/actor/process/file/path"),
    ("process.pid", "/actor/process/pid"),
    ("server.address", "/dst_endpoint/hostname"),
    ("server.port", "/dst_endpoint/port"),
    ("user.id", "/actor/user/uid"),
];

const REQUEST_LIMIT: Duration = Duration::from_secs(15);

const MAX_ANSWER: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_go_below_the_collectors_base() {
        for (base, endpoint) in [
            ("https://otel.example", "https://otel.example/v1/logs"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/logs"),
            (
                "https://otel.example/a/?x=1",
                "https://otel.example/a/v1/logs",
            ),
        ] {
            let found = OtlpEndpoint::below(base.parse().unwrap());
            assert_eq!(found.0.as_str(), endpoint);
        }
    }

    #[test]
    fn a_decision_is_a_log_record_with_the_whole_event_as_its_body() {
        let line = r#"{"class_uid":4001,"time":1795317489834,"severity_id":3,"metadata":{"uid":"7"},
            "dst_endpoint":{"hostname":"wiki.corp.test","port":80},"device":{"uid":"host-1"},"list":[true,null,1.5]}"#
            .replace('\n', "");

        let request = export_request(format!("{line}\n").as_bytes());

        let resource = &request["resourceLogs"][0];
        let record = &resource["scopeLogs"][0]["logRecords"][0];
        assert_eq!(record["timeUnixNano"], "1795317489834000000");
        assert_eq!(record["severityNumber"], 13);
        assert_eq!(record["eventName"], "ocsf.4001");
        let port = json!({"key": "server.port", "value": {"intValue": "80"}});
        assert!(record["attributes"].as_array().unwrap().contains(&port));
        let body = record["body"]["kvlistValue"]["values"].as_array().unwrap();
        let list = json!({"key": "list", "value": {"arrayValue": {"values":
            [{"boolValue": true}, {}, {"doubleValue": 1.5}]}}});
        assert!(body.contains(&list), "{body:?}");
        assert_eq!(
            resource["resource"]["attributes"][2]["value"]["stringValue"],
            "host-1"
        );
    }
}
