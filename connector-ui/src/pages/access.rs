//! What is known about access to one application: why, and how to ask for it.

use connector_ipc::{AccessReport, ResourceReport};

use super::model::HOUR;
use super::{Act, Answer, Block, Button, Choice, Field, Model, Place};
use crate::texts::Texts;
use crate::view::sections::access::plain_name;
use crate::view::{Clock, mend, one_line, paragraph};

/// What is seen in an application's card when it is open.
pub(super) fn inside(
    model: &Model,
    resource: &ResourceReport,
    texts: &Texts,
    clock: Clock,
) -> Vec<Block> {
    if model.wanted.as_deref() == Some(resource.id.as_str()) {
        return form(model, resource, texts);
    }
    let mut blocks = vec![Block::Facts(vec![
        (
            texts.say("fact-names"),
            one_line(&resource.names.join(", ")),
        ),
        (
            texts.say("fact-ports"),
            one_line(&resource.ports.join(", ")),
        ),
        (texts.say("fact-site"), one_line(&resource.site)),
    ])];
    match &model.why {
        Some((id, answer)) if *id == resource.id => {
            blocks.extend(why(answer, texts, clock));
        }
        Some(_) | None => {}
    }
    blocks
}

/// The form by which access is asked for.
fn form(model: &Model, resource: &ResourceReport, texts: &Texts) -> Vec<Block> {
    let hindrance = match (plain_name(resource), model.reason.trim()) {
        (None, _) => Some(texts.say("hindrance-name")),
        (Some(_), "") => Some(texts.say("hindrance-reason")),
        (Some(_), _) => None,
    };
    let length = |hours: u64| {
        let seconds = hours * HOUR;
        let label = texts.duration(i64::try_from(seconds).unwrap_or(i64::MAX));
        let is_chosen = model.length == seconds;
        (Button::new(label, Act::Length(seconds)), is_chosen)
    };
    vec![
        Block::Text(texts.say_with("request-for", [("title", one_line(&resource.title).into())])),
        Block::Field(Field {
            place: Place::Reason,
            label: texts.say("field-reason"),
            text: model.reason.clone(),
        }),
        Block::Choice(Choice {
            label: texts.say("request-length"),
            options: LENGTHS.map(length).into(),
        }),
        Block::Buttons(vec![
            Button::new(texts.say("request-send"), Act::SendRequest).unless(hindrance),
            Button::new(texts.say("cancel"), Act::Fold(resource.id.clone())),
        ]),
    ]
}

fn why(answer: &Answer<AccessReport>, texts: &Texts, clock: Clock) -> Vec<Block> {
    let report = match answer {
        Answer::None => return Vec::new(),
        Answer::Awaited => return vec![Block::Text(texts.say("asking"))],
        Answer::Failed(problem) => return vec![Block::Text(paragraph(problem))],
        Answer::Is(report) => report,
    };
    let decision = &report.decision;
    let mut blocks = vec![Block::Text(paragraph(texts.told(&decision.message)))];
    if report.is_site_silent {
        let site = report.site.as_deref().unwrap_or_default();
        let silent = texts.say_with("trouble-site", [("site", one_line(site).into())]);
        blocks.push(Block::Text(silent));
    }
    if let Some(remedy) = &decision.remedy {
        blocks.push(Block::Text(mend(remedy, texts)));
    }
    for check in &report.checks_unmet {
        let title = one_line(texts.told(&check.title));
        blocks.push(Block::Text(
            texts.say_with("check-unmet", [("title", title.into())]),
        ));
    }
    blocks.push(Block::Facts(super::decisions::facts(
        decision, texts, clock,
    )));
    blocks
}

/// For how many hours people usually ask.
const LENGTHS: [u64; 3] = [1, 8, 72];
