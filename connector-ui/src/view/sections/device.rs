use connector_ipc::{CheckReport, Finding};

use super::super::{Action, Entry, Known, broken, mend, one_line, paragraph};
use super::{cut, item};
use crate::texts::Texts;

/// The device's state: what does not pass and how to mend it.
pub(super) fn device(known: &Known, texts: &Texts) -> Entry {
    let checks = known.posture.as_ref().map(|posture| &posture.checks);
    let unmet: Vec<&CheckReport> = checks
        .into_iter()
        .flatten()
        .filter(|check| check.finding != Finding::Pass)
        .collect();
    let count = match checks {
        Some(_) => unmet.len(),
        None => known.status.checks_unmet,
    };
    let mut entries = Vec::new();
    if count == 0 {
        entries.push(Entry::Text(texts.say("device-fine")));
    }
    entries.extend(unmet.iter().take(MAX_CHECKS).map(|one| check(one, texts)));
    entries.extend(cut(unmet.len(), MAX_CHECKS, "ztna posture", texts));
    entries.push(item(
        "check-again",
        texts.say("check-again"),
        Some(Action::CheckAgain),
    ));
    let label = match count {
        0 => texts.say("device"),
        _ => texts.say_with("device-with", [("count", count.into())]),
    };
    Entry::Submenu {
        id: "device".into(),
        label,
        entries,
    }
}

fn check(check: &CheckReport, texts: &Texts) -> Entry {
    let key = match check.finding {
        Finding::Fail => "check-fails",
        Finding::Pass => "check-passes",
        Finding::Unknown => "check-unknown",
    };
    let mut entries = broken(&paragraph(&check.evidence));
    if !check.remedy.is_empty() {
        entries.extend(broken(&mend(&check.remedy, texts)));
    }
    Entry::Submenu {
        id: format!("check-{}", check.id),
        label: texts.say_with(key, [("title", one_line(texts.told(&check.title)).into())]),
        entries,
    }
}

/// More do not fit a small screen.
const MAX_CHECKS: usize = 10;
