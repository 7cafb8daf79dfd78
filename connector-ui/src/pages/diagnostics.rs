use connector_ipc::{Condition, ExaminedReport};

use super::{Act, Answer, Block, Button, Card, Model};
use crate::icon::{Colour, Icon, Shape};
use crate::texts::Texts;
use crate::view::{mend, one_line, paragraph};

/// What can be wrong, and a file for whoever helps.
pub(super) fn blocks(model: &Model, texts: &Texts) -> Vec<Block> {
    let awaited = texts.say("examining");
    let is_examining = model.diagnosis == Answer::Awaited;
    let without_service = model
        .known()
        .is_none()
        .then(|| texts.say("hindrance-service"));
    let run = Button::new(texts.say("examine"), Act::Diagnose)
        .unless(without_service.or_else(|| is_examining.then(|| awaited.clone())));
    let mut blocks = vec![
        Block::Text(texts.say("examine-means")),
        Block::Buttons(vec![run]),
    ];
    match &model.diagnosis {
        Answer::None => {}
        Answer::Awaited => blocks.push(Block::Text(awaited)),
        Answer::Failed(problem) => blocks.push(Block::Text(paragraph(problem))),
        Answer::Is(report) => blocks.extend(examined(&report.examined, texts)),
    }
    blocks.extend(bundle(model, texts));
    blocks
}

fn examined(examined: &[ExaminedReport], texts: &Texts) -> Vec<Block> {
    let mut sorted: Vec<&ExaminedReport> = examined.iter().collect();
    sorted.sort_by_key(|one| match one.condition {
        Condition::Problem => 0,
        Condition::Warning => 1,
        Condition::Unknown => 2,
        Condition::Good => 3,
    });
    let wrong = sorted.iter().filter(|one| one.condition != Condition::Good);
    let summary = match wrong.count() {
        0 => texts.say("examined-fine"),
        count => texts.say_with("examined-wrong", [("count", count.into())]),
    };
    let mut blocks = vec![Block::Text(summary)];
    blocks.extend(sorted.into_iter().map(|one| card(one, texts)));
    blocks
}

fn card(one: &ExaminedReport, texts: &Texts) -> Block {
    let (shape, colour, word) = match one.condition {
        Condition::Good => (Shape::Ticked, Colour::Green, texts.say("word-good")),
        Condition::Problem => (Shape::Cross, Colour::Red, texts.say("word-problem")),
        Condition::Unknown => (Shape::Ring, Colour::Grey, texts.say("word-unclear")),
        Condition::Warning => (Shape::Warning, Colour::Amber, texts.say("word-warning")),
    };
    let mut lines = vec![paragraph(&texts.found(&one.finding))];
    if let Some(cure) = &one.cure {
        lines.push(mend(cure, texts));
    }
    Block::Card(Box::new(Card {
        id: one.code.clone(),
        icon: Icon { shape, colour },
        word,
        title: one_line(&texts.found(&one.title)),
        lines,
        buttons: Vec::new(),
        can_open: false,
        inside: Vec::new(),
    }))
}

fn bundle(model: &Model, texts: &Texts) -> Vec<Block> {
    let awaited = (model.bundle == Answer::Awaited).then(|| texts.say("bundle-awaited"));
    let button = |key: &str, anonymized| {
        Button::new(texts.say(key), Act::Bundle { anonymized }).unless(awaited.clone())
    };
    let mut blocks = vec![
        Block::Heading(texts.say("bundle")),
        Block::Text(texts.say("bundle-means")),
        Block::Buttons(vec![
            button("bundle-create", false),
            button("bundle-anonymized", true),
        ]),
    ];
    match &model.bundle {
        Answer::None => {}
        Answer::Awaited => blocks.extend(awaited.map(Block::Text)),
        Answer::Failed(problem) => blocks.push(Block::Text(
            texts.say_with("bundle-failed", [("problem", paragraph(problem).into())]),
        )),
        Answer::Is(None) => blocks.push(Block::Text(texts.say("bundle-no-command"))),
        Answer::Is(Some(path)) => {
            let written = texts.say_with("bundle-written", [("path", one_line(path).into())]);
            blocks.push(Block::Text(written));
            let copy = Button::new(texts.say("copy-path"), Act::Copy(path.clone()));
            blocks.push(Block::Buttons(vec![copy]));
        }
    }
    blocks
}
