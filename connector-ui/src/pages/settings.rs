use connector_ipc::SettingReport;

use super::{Act, Block, Button, Card, Choice, Field, Model, Place, is_found};
use crate::icon::{Colour, Icon, Shape};
use crate::preferences::Theme;
use crate::texts::Texts;
use crate::view::{one_line, paragraph};

/// How the window looks, and the service's settings with where each comes from.
pub(super) fn blocks(model: &Model, texts: &Texts) -> Vec<Block> {
    let theme = |key: &str, theme| {
        let button = Button::new(texts.say(key), Act::Theme(theme));
        (button, model.preferences.theme == theme)
    };
    let mut blocks = vec![
        Block::Choice(Choice {
            label: texts.say("theme"),
            options: vec![
                theme("theme-system", Theme::System),
                theme("theme-light", Theme::Light),
                theme("theme-dark", Theme::Dark),
            ],
        }),
        Block::Heading(texts.say("settings-service")),
    ];
    if model.known().is_none() {
        blocks.push(Block::Text(texts.say("settings-unknown")));
        return blocks;
    }
    if model.settings.is_empty() {
        blocks.push(Block::Text(texts.say("settings-hidden")));
        return blocks;
    }
    let search = model.search(Place::Settings);
    blocks.push(Block::Text(texts.say("settings-means")));
    blocks.push(Block::Field(Field {
        place: Place::Settings,
        label: texts.say("field-settings"),
        text: search.to_owned(),
    }));
    let before = blocks.len();
    let found = model.settings.iter().filter(|setting| {
        is_found(
            search,
            [setting.key.as_str(), &setting.value, &setting.origin],
        )
    });
    let managed = model
        .known()
        .and_then(|known| known.status.managed.as_ref());
    let by = managed.map(|managed| one_line(&managed.by));
    blocks.extend(found.map(|setting| card(setting, by.as_deref(), texts)));
    if blocks.len() == before {
        blocks.push(Block::Text(texts.say("nothing-found")));
    }
    blocks
}

/// `by` is who manages the device.
fn card(setting: &SettingReport, by: Option<&str>, texts: &Texts) -> Block {
    let is_default = setting.origin == "default";
    let (shape, word) = match (setting.locked, is_default) {
        (true, _) => (Shape::Barred, texts.say("word-locked")),
        (false, true) => (Shape::Ring, texts.say("word-default")),
        (false, false) => (Shape::Dotted, texts.say("word-set")),
    };
    let mut lines = vec![match setting.value.as_str() {
        "" => texts.say("setting-empty"),
        value => paragraph(value),
    }];
    if !setting.description.is_empty() {
        lines.push(paragraph(&setting.description));
    }
    if let Some(by) = by.filter(|_| setting.locked) {
        lines.push(texts.say_with("managed-by", [("name", by.into())]));
    }
    if !is_default {
        let origin = one_line(&setting.origin);
        lines.push(texts.say_with("setting-origin", [("origin", origin.into())]));
    }
    Block::Card(Box::new(Card {
        id: setting.key.clone(),
        icon: Icon {
            shape,
            colour: Colour::Grey,
        },
        word,
        title: one_line(&setting.key),
        lines,
        buttons: Vec::new(),
        can_open: false,
        inside: Vec::new(),
    }))
}
