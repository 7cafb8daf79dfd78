use std::collections::BTreeMap;

use connector_ipc::{ResourceReport, ResourceState};

use super::{Act, Block, Button, Card, Field, Model, Place, empty, is_found};
use crate::icon::{Colour, Icon, Shape};
use crate::texts::Texts;
use crate::view::sections::access::{page, plain_name, site_label};
use crate::view::{Action, Clock, Known, one_line};

/// The protected applications: favourites first, the others by network.
pub(super) fn blocks(model: &Model, texts: &Texts, clock: Clock) -> Vec<Block> {
    let Some(known) = model.known() else {
        return Vec::new();
    };
    if known.status.identity.is_none() {
        let sign_in = Button::new(texts.say("sign-in"), Act::Choose(Action::SignIn));
        return vec![
            Block::Text(texts.say("resources-signed-out")),
            Block::Buttons(vec![sign_in]),
        ];
    }
    if known.resources.is_empty() {
        return empty(texts.say("resources-empty"));
    }
    let search = model.search(Place::Resources);
    let mut blocks = vec![Block::Field(Field {
        place: Place::Resources,
        label: texts.say("field-resources"),
        text: search.to_owned(),
    })];
    let found: Vec<&ResourceReport> = known
        .resources
        .iter()
        .filter(|resource| is_found(search, words(resource)))
        .collect();
    if found.is_empty() {
        blocks.push(Block::Text(texts.say("nothing-found")));
    }
    for (heading, group) in grouped(&found, model, known, texts) {
        blocks.push(Block::Heading(heading));
        let cards = group.into_iter();
        blocks.extend(cards.map(|resource| card(resource, model, texts, clock)));
    }
    blocks
}

fn words(resource: &ResourceReport) -> impl Iterator<Item = &str> {
    let names = resource.names.iter().map(String::as_str);
    names.chain([resource.title.as_str(), resource.site.as_str()])
}

fn grouped<'a>(
    found: &[&'a ResourceReport],
    model: &Model,
    known: &Known,
    texts: &Texts,
) -> Vec<(String, Vec<&'a ResourceReport>)> {
    let is_favourite =
        |resource: &&&ResourceReport| model.preferences.favourites.contains(&resource.id);
    let favourites: Vec<_> = found.iter().filter(is_favourite).copied().collect();
    let mut sites: BTreeMap<&str, Vec<&ResourceReport>> = BTreeMap::new();
    for resource in found.iter().filter(|resource| !is_favourite(resource)) {
        sites.entry(&resource.site).or_default().push(resource);
    }
    let mut groups = Vec::new();
    if !favourites.is_empty() {
        groups.push((texts.say("favourites"), favourites));
    }
    let sites = sites.into_iter();
    groups.extend(sites.map(|(site, group)| (site_label(known, site, texts), group)));
    groups
}

fn card(resource: &ResourceReport, model: &Model, texts: &Texts, clock: Clock) -> Block {
    let title = one_line(&resource.title);
    let (shape, colour, word) = match resource.state {
        ResourceState::Denied => (Shape::Barred, Colour::Red, texts.say("word-denied")),
        ResourceState::Permitted => (Shape::Ticked, Colour::Green, texts.say("word-permitted")),
        ResourceState::Undecided => (Shape::Ring, Colour::Grey, texts.say("word-undecided")),
    };
    let address = plain_name(resource);
    let nameless = address.is_none().then(|| texts.say("hindrance-name"));
    let button = |key: &str, act| Button::new(texts.say(key), act).about(&title);
    let mut buttons = Vec::new();
    if let Some(page) = page(resource) {
        let open = Action::OpenPage(page.as_str().to_owned());
        buttons.push(button("open", Act::Choose(open)));
    }
    if let Some(name) = address.or_else(|| resource.names.first().map(String::as_str)) {
        buttons.push(button("copy-address", Act::Copy(name.to_owned())));
    }
    let favour = match model.preferences.favourites.contains(&resource.id) {
        true => "favourite-not",
        false => "favourite",
    };
    buttons.push(button(favour, Act::Favour(resource.id.clone())));
    buttons.push(button("why", Act::Why(resource.id.clone())).unless(nameless.clone()));
    if resource.state != ResourceState::Permitted {
        buttons.push(button("request", Act::Request(resource.id.clone())).unless(nameless));
    }
    let inside = match model.is_open(&resource.id) {
        true => super::access::inside(model, resource, texts, clock),
        false => Vec::new(),
    };
    if model.wanted.as_ref() == Some(&resource.id) {
        buttons.clear();
    }
    Block::Card(Box::new(Card {
        id: resource.id.clone(),
        icon: Icon { shape, colour },
        word,
        title,
        lines: resource
            .names
            .first()
            .map(|name| one_line(name))
            .into_iter()
            .collect(),
        buttons,
        can_open: true,
        inside,
    }))
}
