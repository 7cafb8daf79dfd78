use connector_client::browser::WebPage;

use super::{Act, Block, Button, Model};
use crate::texts::Texts;
use crate::view::{Action, one_line};

/// Versions, paths, licences, and where to read on.
pub(super) fn blocks(model: &Model, texts: &Texts) -> Vec<Block> {
    let mut facts: Vec<(String, String)> = model
        .about
        .iter()
        .map(|(key, value)| (texts.say(key), one_line(value)))
        .collect();
    let mut buttons = Vec::new();
    if let Some(known) = model.known() {
        let status = &known.status;
        facts.push((texts.say("fact-service"), one_line(&status.version)));
        if let Some(organisation) = &status.organisation {
            facts.push((texts.say("fact-organisation"), one_line(organisation)));
        }
        if !status.control_plane.is_empty() {
            facts.push((texts.say("fact-server"), one_line(&status.control_plane)));
        }
        if let Some(version) = status.configuration_version {
            facts.push((texts.say("fact-configuration"), version.to_string()));
        }
        if let Some(support) = &status.support {
            facts.push((texts.say("fact-support"), one_line(support)));
            if let Some(page) = WebPage::new(support.clone()) {
                let open = Action::OpenPage(page.as_str().to_owned());
                buttons.push(Button::new(texts.say("open-support"), Act::Choose(open)));
            }
        }
    }
    let mut blocks = vec![Block::Facts(facts)];
    if !buttons.is_empty() {
        blocks.push(Block::Buttons(buttons));
    }
    blocks.extend([
        Block::Heading(texts.say("documentation")),
        Block::Text(texts.say("documentation-where")),
        Block::Heading(texts.say("licences")),
        Block::Text(texts.say("licences-where")),
    ]);
    blocks
}
