use connector_ipc::{DecisionReport, Outcome};

use super::{Act, Block, Button, Card, Choice, Field, Filter, Model, Place, is_found};
use crate::icon::{Colour, Icon, Shape};
use crate::texts::Texts;
use crate::view::sections::access::program;
use crate::view::{Clock, mend, one_line, paragraph};

/// What was decided of late, the latest first.
pub(super) fn blocks(model: &Model, texts: &Texts, clock: Clock) -> Vec<Block> {
    let search = model.search(Place::Decisions);
    let filter = |key: &str, filter| {
        let button = Button::new(texts.say(key), Act::Filter(filter));
        (button, model.filter == filter)
    };
    let follow = |key: &str, follows| {
        let button = Button::new(texts.say(key), Act::Follow(follows));
        (button, model.held.is_none() == follows)
    };
    let mut blocks = vec![
        Block::Field(Field {
            place: Place::Decisions,
            label: texts.say("field-decisions"),
            text: search.to_owned(),
        }),
        Block::Choice(Choice {
            label: texts.say("show"),
            options: vec![
                filter("filter-all", Filter::All),
                filter("filter-permitted", Filter::Permitted),
                filter("filter-refused", Filter::Refused),
            ],
        }),
        Block::Choice(Choice {
            label: texts.say("follow"),
            options: vec![follow("follow-on", true), follow("follow-off", false)],
        }),
    ];
    let decisions: Vec<&DecisionReport> = match &model.held {
        Some(held) => held.iter().rev().collect(),
        None => model.decisions.iter().rev().collect(),
    };
    let mut found = decisions
        .iter()
        .filter(|decision| is_shown(decision, model.filter) && is_found(search, words(decision)))
        .peekable();
    if decisions.is_empty() {
        blocks.push(Block::Text(texts.say("decisions-none")));
    } else if found.peek().is_none() {
        blocks.push(Block::Text(texts.say("nothing-found")));
    }
    let shown = found.by_ref().take(MAX_SHOWN);
    blocks.extend(shown.map(|decision| card(decision, model, texts, clock)));
    let left = found.count();
    if left > 0 {
        blocks.push(Block::Text(texts.say_with(
            "more",
            [("count", left.into()), ("command", "ztna decisions".into())],
        )));
    }
    blocks
}

fn is_shown(decision: &DecisionReport, filter: Filter) -> bool {
    let is_permitted = decision.outcome == Outcome::Permitted;
    match filter {
        Filter::All => true,
        Filter::Permitted => is_permitted,
        Filter::Refused => !is_permitted,
    }
}

fn words(decision: &DecisionReport) -> impl Iterator<Item = &str> {
    let workload = decision.workload.as_ref();
    [
        decision.target.as_str(),
        &decision.message,
        &decision.reason,
    ]
    .into_iter()
    .chain(decision.resource.as_deref())
    .chain(workload.map(|workload| workload.path.as_str()))
}

fn card(decision: &DecisionReport, model: &Model, texts: &Texts, clock: Clock) -> Block {
    let (shape, colour, word) = match decision.outcome {
        Outcome::Denied => (Shape::Barred, Colour::Red, texts.say("word-refused")),
        Outcome::Permitted => (Shape::Ticked, Colour::Green, texts.say("word-allowed")),
        Outcome::Revoked => (Shape::Warning, Colour::Amber, texts.say("word-revoked")),
    };
    let mut line = clock.moment(&decision.time).unwrap_or_default();
    if let Some(workload) = &decision.workload {
        let program = program(&workload.path);
        line.push_str(" · ");
        line.push_str(&texts.say_with("refused-program", [("program", program.into())]));
    }
    let mut inside = Vec::new();
    let mut buttons = Vec::new();
    if model.is_open(&decision.id) {
        inside.push(Block::Text(paragraph(texts.told(&decision.message))));
        if let Some(remedy) = &decision.remedy {
            inside.push(Block::Text(mend(remedy, texts)));
        }
        inside.push(Block::Facts(facts(decision, texts, clock)));
        let target = one_line(&decision.target);
        let button = |key: &str, act| Button::new(texts.say(key), act).about(&target);
        if let Some(resource) = &decision.resource
            && decision.outcome != Outcome::Permitted
            && model.resource(resource).is_some()
        {
            buttons.push(button("request", Act::Request(resource.clone())));
        }
        buttons.push(button("copy-id", Act::Copy(decision.id.clone())));
    }
    Block::Card(Box::new(Card {
        id: decision.id.clone(),
        icon: Icon { shape, colour },
        word,
        title: one_line(&decision.target),
        lines: vec![line],
        buttons,
        can_open: true,
        inside,
    }))
}

/// What the record of a decision says.
pub(super) fn facts(
    decision: &DecisionReport,
    texts: &Texts,
    clock: Clock,
) -> Vec<(String, String)> {
    let said = &decision.said;
    let workload = decision.workload.as_ref().map(|workload| &workload.path);
    let by = match said.answered_by.as_deref() {
        Some(answered) => format!("{} ({answered})", decision.decided_by),
        None => decision.decided_by.clone(),
    };
    let until = said.valid_until.as_deref();
    let until = until.and_then(|stamp| clock.moment(stamp));
    let milliseconds = format!(
        "{}.{} ms",
        decision.latency_micros / 1000,
        decision.latency_micros / 100 % 10
    );
    let facts = [
        (texts.say("fact-reason"), Some(decision.reason.clone())),
        (texts.say("fact-resource"), decision.resource.clone()),
        (texts.say("fact-program"), workload.cloned()),
        (texts.say("fact-person"), decision.subject.clone()),
        (texts.say("fact-decided-by"), Some(by)),
        (texts.say("fact-policy"), said.commit.clone()),
        (texts.say("fact-approver"), said.requestable.clone()),
        (texts.say("fact-until"), until),
        (texts.say("fact-took"), Some(milliseconds)),
        (
            texts.say("fact-count"),
            (decision.count > 1).then(|| decision.count.to_string()),
        ),
    ];
    let known = facts.into_iter();
    known
        .filter_map(|(name, value)| Some((name, one_line(&value?))))
        .collect()
}

/// What is drawn at once; a search finds the others.
const MAX_SHOWN: usize = 100;
