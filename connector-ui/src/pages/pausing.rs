//! Switching off and on, and what stands between.

use connector_ipc::OverrideChallengeReport;

use super::model::on_one_line;
use super::{Act, Answer, Block, Button, Field, Model, Place};
use crate::texts::Texts;
use crate::view::{
    Action, Clock, Known, PauseLock, State, Switch, breaks, limit, managed_by, one_line, paragraph,
};

/// How the connector is switched off, or on again.
pub(super) fn switch(
    model: &Model,
    state: State,
    known: &Known,
    texts: &Texts,
    clock: Clock,
) -> Vec<Block> {
    let Some(switch) = Switch::of(state, &known.status) else {
        return Vec::new();
    };
    match switch {
        Switch::On => {
            let connect = Button::new(texts.say("connect"), Act::Choose(Action::Connect));
            vec![Block::Buttons(vec![connect])]
        }
        Switch::Off(Some(PauseLock::Code)) => by_code(model, known, texts, clock),
        Switch::Off(Some(PauseLock::Reason)) => {
            by_choice(Some(&model.pause_reason), known, texts, clock)
        }
        Switch::Off(None) => by_choice(None, known, texts, clock),
    }
}

/// The lengths to choose from; with a place for the reason where one has to be given.
fn by_choice(reason: Option<&str>, known: &Known, texts: &Texts, clock: Clock) -> Vec<Block> {
    let pause = texts.say("pause");
    let told = reason.map(on_one_line);
    let hindrance = told.as_deref().filter(|told| told.is_empty());
    let hindrance = hindrance.map(|_| texts.say("hindrance-reason"));
    let breaks = breaks(&known.status, texts, clock).into_iter();
    let choices = breaks.map(|(_, label, length)| {
        let reason = told.clone();
        let button = Button::new(label, Act::Choose(Action::Pause { length, reason }));
        let name = format!("{pause}: {}", button.label);
        Button { name, ..button }.unless(hindrance.clone())
    });
    let choices = Block::Buttons(choices.collect());
    let mut blocks = vec![
        Block::Heading(pause.clone()),
        Block::Text(texts.say("pause-means")),
    ];
    blocks.extend(limit(&known.status, texts).map(Block::Text));
    if let Some(reason) = reason {
        blocks.extend(managed_by(&known.status, texts).map(Block::Text));
        blocks.push(Block::Text(PauseLock::Reason.meaning(texts)));
        blocks.push(why(reason, texts));
    }
    blocks.push(choices);
    blocks
}

/// Whose word it is that the connector stays on, and the honest way out.
fn by_code(model: &Model, known: &Known, texts: &Texts, clock: Clock) -> Vec<Block> {
    let mut blocks = vec![Block::Heading(texts.say("pause-locked"))];
    blocks.extend(managed_by(&known.status, texts).map(Block::Text));
    blocks.push(Block::Text(PauseLock::Code.meaning(texts)));
    match &model.challenge {
        Answer::None => {
            let ask = Button::new(PauseLock::Code.way_out(texts), Act::Challenge);
            blocks.push(Block::Buttons(vec![ask]));
        }
        Answer::Awaited => blocks.push(Block::Text(texts.say("asking"))),
        Answer::Failed(problem) => {
            blocks.push(Block::Text(paragraph(problem)));
            let again = Button::new(PauseLock::Code.way_out(texts), Act::Challenge);
            blocks.push(Block::Buttons(vec![again]));
        }
        // One that has lapsed is answered by no code any more.
        Answer::Is(challenge)
            if clock
                .until(&challenge.expires_at)
                .is_none_or(|left| left <= 0) =>
        {
            let again = Button::new(PauseLock::Code.way_out(texts), Act::Challenge);
            blocks.push(Block::Buttons(vec![again]));
        }
        Answer::Is(challenge) => blocks.extend(form(model, challenge, texts, clock)),
    }
    blocks
}

/// What to read to the help desk, and where to write what they say.
fn form(
    model: &Model,
    challenge: &OverrideChallengeReport,
    texts: &Texts,
    clock: Clock,
) -> Vec<Block> {
    let mut facts = vec![
        (texts.say("fact-device"), one_line(&challenge.device)),
        (texts.say("fact-challenge"), one_line(&challenge.challenge)),
    ];
    if let Some(left) = clock.until(&challenge.expires_at) {
        facts.push((texts.say("fact-challenge-left"), texts.duration(left)));
    }
    if let Some(support) = &challenge.support {
        facts.push((texts.say("fact-help-desk"), one_line(support)));
    }
    let code: String = model.code.split_whitespace().collect();
    let reason = on_one_line(&model.pause_reason);
    let hindrance = match (code.as_str(), reason.as_str()) {
        ("", _) => Some(texts.say("hindrance-code")),
        (_, "") => Some(texts.say("hindrance-reason")),
        (_, _) => None,
    };
    let told = format!("{} {}", challenge.device, challenge.challenge);
    let copy = Button::new(texts.say("code-copy"), Act::Copy(told));
    let redeem = Act::Choose(Action::RedeemCode { code, reason });
    vec![
        Block::Text(texts.say("code-read-out")),
        Block::Facts(facts),
        Block::Buttons(vec![copy]),
        Block::Field(Field {
            place: Place::Code,
            label: texts.say("field-code"),
            text: model.code.clone(),
        }),
        why(&model.pause_reason, texts),
        Block::Buttons(vec![
            Button::new(texts.say("code-redeem"), redeem).unless(hindrance),
            Button::new(texts.say("cancel"), Act::LeaveLock),
        ]),
    ]
}

fn why(reason: &str, texts: &Texts) -> Block {
    Block::Field(Field {
        place: Place::PauseReason,
        label: texts.say("field-pause-reason"),
        text: reason.to_owned(),
    })
}
