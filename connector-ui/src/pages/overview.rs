use connector_ipc::Identity;

use super::{Act, Block, Button, Model, Page, pausing};
use crate::texts::Texts;
use crate::view::sections::access::{site_label, wish};
use crate::view::sections::display_name;
use crate::view::{Action, Clock, Headline, Known, State, one_line};

/// How it is, in words and in a shape.
pub(super) fn standing(model: &Model, texts: &Texts, clock: Clock) -> Vec<Block> {
    let Headline {
        state,
        headline,
        details,
    } = Headline::of(&model.snapshot, texts, clock);
    let mut blocks = vec![Block::Standing {
        icon: state.icon(),
        headline,
        details,
    }];
    let page = match state {
        State::BlockedByDevice | State::Restricted => Some(Page::Device),
        State::BlockedByNetwork | State::Offline | State::Warning => Some(Page::Diagnostics),
        State::Connected
        | State::Connecting
        | State::InUse
        | State::NotRunning
        | State::Paused
        | State::SignedOut
        | State::SigningIn
        | State::Starting => None,
    };
    let label = match page {
        Some(Page::Device) => Some(texts.say("see-device")),
        Some(_) => Some(texts.say("see-diagnostics")),
        None => None,
    };
    if let (Some(page), Some(label)) = (page, label) {
        blocks.push(Block::Buttons(vec![Button::new(label, Act::Go(page))]));
    }
    blocks
}

/// How it is, who is signed in, and what goes through the tunnel.
pub(super) fn blocks(model: &Model, texts: &Texts, clock: Clock) -> Vec<Block> {
    let mut blocks = standing(model, texts, clock);
    let Some(known) = model.known() else {
        return blocks;
    };
    let state = State::of(&model.snapshot);
    match &known.status.identity {
        Some(identity) => blocks.extend(person(identity, known, texts, clock)),
        None => blocks.extend(nobody(state, texts)),
    }
    blocks.extend(pausing::switch(model, state, known, texts, clock));
    if known.status.identity.is_some() && state != State::Paused {
        blocks.extend(traffic(model, known, texts));
    }
    let wishes = known.requests.iter();
    let wishes: Vec<Block> = wishes
        .filter_map(|request| wish(request, texts, clock))
        .map(Block::Text)
        .collect();
    if !wishes.is_empty() {
        blocks.push(Block::Heading(texts.say("requests")));
        blocks.extend(wishes);
    }
    blocks
}

fn person(identity: &Identity, known: &Known, texts: &Texts, clock: Clock) -> Vec<Block> {
    let mut facts = vec![(texts.say("fact-person"), display_name(identity))];
    if let Some(organisation) = &known.status.organisation {
        facts.push((texts.say("fact-organisation"), one_line(organisation)));
    }
    if let Some(left) = clock.until(&identity.expires_at) {
        facts.push((texts.say("fact-session"), texts.duration(left)));
    }
    let choose = |key: &str, action| Button::new(texts.say(key), Act::Choose(action));
    vec![
        Block::Heading(texts.say("session")),
        Block::Facts(facts),
        Block::Buttons(vec![
            choose("extend", Action::SignIn),
            choose("sign-out", Action::SignOut),
        ]),
    ]
}

fn nobody(state: State, texts: &Texts) -> Vec<Block> {
    let Some(sign_in) = state.sign_in() else {
        return Vec::new();
    };
    let sign_in = Button::new(texts.say(sign_in), Act::Choose(Action::SignIn));
    let why = (state != State::SigningIn).then(|| Block::Text(texts.say("sign-in-why")));
    why.into_iter()
        .chain([Block::Buttons(vec![sign_in])])
        .collect()
}

fn traffic(model: &Model, known: &Known, texts: &Texts) -> Vec<Block> {
    let tunnel = &known.status.tunnel;
    let mut blocks = vec![Block::Heading(texts.say("traffic"))];
    blocks.extend(model.traffic.rates(texts).map(Block::Graph));
    blocks.extend(
        model
            .traffic
            .delays(known, texts)
            .into_iter()
            .map(Block::Graph),
    );
    let mut facts = vec![(texts.say("fact-flows"), tunnel.open_flows.to_string())];
    for site in &tunnel.sites {
        let gateways = || site.gateways.iter();
        let carried = texts.say_with(
            "carried",
            [
                (
                    "down",
                    super::traffic::amount(gateways().map(|gateway| gateway.rx_bytes).sum()).into(),
                ),
                (
                    "up",
                    super::traffic::amount(gateways().map(|gateway| gateway.tx_bytes).sum()).into(),
                ),
            ],
        );
        facts.push((site_label(known, &site.id, texts), carried));
    }
    blocks.push(Block::Facts(facts));
    blocks
}
