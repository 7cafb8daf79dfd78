//! What a policy server sends: heads, objects, and packs of them.

use std::sync::{Arc, LazyLock};

use connector_core::jws::{self, PublicKey};
use connector_core::time::WallTime;
use connector_policy::author;
use connector_policy::head::{HEAD_TYPE, Head, Sequence};
use connector_policy::object::Object;
use connector_policy::oid::Oid;
use connector_policy::pack;
use connector_policy::snapshot::Snapshot;
use connector_policy::store::{Effect, Store};
use connector_policy::table::{self, Replay};
use ed25519_dalek::SigningKey;

/// Objects: what is read is written back to the same bytes.
pub(super) fn object(input: &[u8]) {
    if let Ok(object) = Object::parse(input) {
        assert_eq!(object.encode(), input, "an object has one name");
    }
    if let Ok(text) = str::from_utf8(input)
        && let Ok(oid) = text.parse::<Oid>()
    {
        assert_eq!(oid.to_string(), text, "a name has one spelling");
    }
}

/// Heads: as they come, and as the payload of one that is signed.
pub(super) fn head(input: &[u8]) {
    let key = SigningKey::from_bytes(&[7; 32]);
    let (public, ledger) = (PublicKey::of(&key), "policies".into());
    if let Ok(text) = str::from_utf8(input) {
        let _ = Head::verify(&public, &ledger, text);
    }
    let payload: Result<serde_json::Value, _> = serde_json::from_slice(input);
    if let Ok(payload) = payload
        && let Ok(signed) = jws::sign(&key, HEAD_TYPE, &payload)
        && let Ok(head) = Head::verify(&public, &ledger, &signed)
    {
        assert!(!head.commit.is_zero() && head.issued_at < head.expires_at);
    }
}

/// Packs whose first object the head names: from the network, and from the disk.
pub(super) fn store(input: &[u8]) {
    let objects: Vec<Vec<u8>> = pack::read(input)
        .map_while(Result::ok)
        .map(<[u8]>::to_vec)
        .collect();
    let Some(first) = objects.first() else {
        return;
    };
    let key = SigningKey::from_bytes(&[7; 32]);
    let now = WallTime::from_unix_millis(1_000_000_000);
    let head = Head {
        ledger: "policies".into(),
        commit: Oid::of(first),
        sequence: Sequence(1),
        issued_at: now,
        expires_at: WallTime::from_unix_millis(2_000_000_000),
        shadow: objects.last().map(|last| Oid::of(last)),
        reset: false,
    };
    let Ok(signed) = head.sign(&key) else {
        return;
    };
    let mut fetched = Store::new(PublicKey::of(&key), "policies".into());
    let mut outcome = fetched.handle_head(&signed, now).map_err(drop);
    while let (Ok(()), Some(effect)) = (outcome, fetched.poll()) {
        if let Effect::Fetch(fetch) = effect {
            let wanted = objects
                .iter()
                .filter(|object| fetch.missing.contains(&Oid::of(object)));
            outcome = fetched.handle_objects(wanted.cloned()).map_err(drop);
        }
    }
    let mut restored = Store::new(PublicKey::of(&key), "policies".into());
    let _ = restored.restore(&signed, objects, now);
    assert!(
        restored.active().is_some() || fetched.active().is_none(),
        "what can be fetched can be restored"
    );
}

/// Tables of requests and expected answers: what is read and written is read as the same.
pub(super) fn table(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    if let Ok(cases) = table::read(text) {
        let written = table::write(&cases);
        let again = table::read(&written).unwrap_or_default();
        assert_eq!(again.len(), cases.len(), "{written}");
        for (again, case) in again.iter().zip(&cases) {
            assert_eq!(again.request.to_json(), case.request.to_json());
            assert_eq!(again.request.network, case.request.network);
            assert_eq!(again.expected, case.expected);
        }
    }
}

/// Lines of a decision log that are put to policies again: each counts once.
pub(super) fn replay(input: &[u8]) {
    let mut replay = Replay::new(&POLICIES);
    let mut taken = 0;
    for line in input.split(|byte| *byte == b'\n') {
        if let Ok(event) = serde_json::from_slice(line) {
            replay.take(&event);
            taken += 1;
        }
    }
    let report = replay.finish();
    assert_eq!(
        report.replayed + report.incomplete + report.not_asked,
        taken
    );
    let changed: u64 = report.changes.values().map(|seen| seen.count).sum();
    assert_eq!(report.same + changed + report.more, report.replayed);
}

/// What the recorded decisions are put to.
static POLICIES: LazyLock<Arc<Snapshot>> = LazyLock::new(|| {
    let wiki = r#"@id("wiki") permit(principal in Group::"staff", action == Action::"connect",
        resource == Resource::"wiki") when { context.trust_level >= 1 };"#;
    Arc::new(author::check([("wiki.cedar", wiki)]).expect("the policies are good"))
});
