use connector_ipc::{CheckReport, Finding};

use super::{Act, Block, Button, Card, Model, empty};
use crate::icon::{Colour, Icon, Shape};
use crate::texts::Texts;
use crate::view::{Action, Clock, mend, one_line, paragraph};

/// The device's checks: what does not pass comes first, with what to do.
pub(super) fn blocks(model: &Model, texts: &Texts, clock: Clock) -> Vec<Block> {
    let posture = model.known().and_then(|known| known.posture.as_ref());
    let Some(posture) = posture else {
        return empty(texts.say("device-unknown"));
    };
    if posture.checks.is_empty() {
        return empty(texts.say("device-no-checks"));
    }
    let mut checks: Vec<&CheckReport> = posture.checks.iter().collect();
    checks.sort_by_key(|check| match check.finding {
        Finding::Fail => 0,
        Finding::Unknown => 1,
        Finding::Pass => 2,
    });
    let passed = checks.iter().filter(|check| check.finding == Finding::Pass);
    let passed = passed.count();
    let summary = match checks.len() - passed {
        0 => texts.say("device-all-pass"),
        unmet => texts.say_with("device-unmet", [("count", unmet.into())]),
    };
    let again = Button::new(texts.say("check-again"), Act::Choose(Action::CheckAgain));
    let mut blocks = vec![Block::Text(summary), Block::Buttons(vec![again])];
    blocks.extend(checks.into_iter().map(|check| card(check, texts, clock)));
    blocks
}

fn card(check: &CheckReport, texts: &Texts, clock: Clock) -> Block {
    let (shape, colour, word) = match check.finding {
        Finding::Fail => (Shape::Cross, Colour::Red, texts.say("word-fails")),
        Finding::Pass => (Shape::Ticked, Colour::Green, texts.say("word-passes")),
        Finding::Unknown => (Shape::Warning, Colour::Amber, texts.say("word-unknown")),
    };
    let mut lines = Vec::new();
    if !check.evidence.is_empty() {
        lines.push(paragraph(&check.evidence));
    }
    if check.finding != Finding::Pass && !check.remedy.is_empty() {
        lines.push(mend(&check.remedy, texts));
    }
    let measured = check.measured_at.as_deref();
    if let Some(time) = measured.and_then(|stamp| clock.moment(stamp)) {
        lines.push(texts.say_with("measured-at", [("time", time.into())]));
    }
    Block::Card(Box::new(Card {
        id: check.id.clone(),
        icon: Icon { shape, colour },
        word,
        title: one_line(texts.told(&check.title)),
        lines,
        buttons: Vec::new(),
        can_open: false,
        inside: Vec::new(),
    }))
}
