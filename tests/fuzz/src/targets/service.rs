//! What servers, browsers, files and collectors tell the service.

use connector_service::testing;
use url::Url;

/// Answers of a Permguard decision point: one whole message that is not compressed, or none.
pub(super) fn permguard(input: &[u8]) {
    let read = |message: &[u8]| testing::permguard_permits(message, "request-1");
    let _ = read(input);
    let length = u32::try_from(input.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut framed = [&[0], &length[..], input].concat();
    let _ = read(&framed);
    framed.push(0);
    assert_eq!(read(&framed), None);
    framed.pop();
    framed[0] = 1;
    assert_eq!(read(&framed), None);
}

/// The kept events of a transmitter, and the status of its stream: what is read is written back to
/// the same, and what is shown of a stranger's words is short.
pub(super) fn signals_kept(input: &[u8]) {
    if let Some(written) = testing::kept_signals(input) {
        assert_eq!(testing::kept_signals(&written), Some(written));
    }
    if let Some(problem) = testing::stream_problem(input) {
        assert!(problem.chars().count() < 600, "{problem}");
    }
}

/// Answers of an OTLP collector, and lines of the decision log on their way to it.
pub(super) fn otlp(input: &[u8]) {
    assert_ne!(testing::rejected_decisions(input), Some(0));
    let request = testing::otlp_request(input);
    let records = request.pointer("/resourceLogs/0/scopeLogs/0/logRecords");
    let records = records.and_then(serde_json::Value::as_array).map(Vec::len);
    let lines = input.split(|byte| *byte == b'\n').count();
    assert!(records.is_some_and(|records| records <= lines));
}

/// A browser's request at the end of a sign-in: each parameter once, and only for our address.
pub(super) fn sign_in_redirect(input: &[u8]) {
    let Ok(request) = str::from_utf8(input) else {
        return;
    };
    let [ours, other] = ["41000", "41001"].map(|port| {
        let url = Url::parse(&format!("http://127.0.0.1:{port}/callback"));
        url.expect("an address of this machine")
    });
    if testing::sign_in_parameters(&ours, request).is_some() {
        assert!(request.starts_with("GET /"), "{request:?}");
        assert_eq!(testing::sign_in_parameters(&other, request), None);
    }
}

/// Certificates of servers: whoever signed one is named in a line.
pub(super) fn certificate(input: &[u8]) {
    if let Some(signer) = testing::certificate_signer(input) {
        assert!(!signer.trim().is_empty());
        assert!(!signer.contains(char::is_control), "{signer:?}");
    }
}

/// Files of settings, the person's and the managed one: what is wrong is said in a few lines.
pub(super) fn settings(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    for is_managed in [false, true] {
        if let Some(problem) = testing::settings_problem(text, is_managed) {
            assert!(!problem.is_empty());
            assert!(problem.len() < 1000 + 4 * text.len(), "{problem}");
        }
    }
}
