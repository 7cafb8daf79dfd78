//! The parts of the menu, from the top down.

pub(crate) mod access;
mod device;

use std::collections::BTreeSet;

use connector_client::browser::WebPage;
use connector_ipc::Identity;

use super::standing::{State, Trouble, troubles};
use super::{
    Action, Break, Clock, Entry, Goal, Item, Known, PauseLock, Switch, breaks, broken, limit,
    managed_by, one_line,
};
use crate::texts::Texts;

/// What there is to read about a state.
pub(super) fn details(
    state: State,
    known: Option<&Known>,
    texts: &Texts,
    clock: Clock,
) -> Vec<String> {
    let Some(known) = known else {
        return vec![texts.say("advice-not-running")];
    };
    let status = &known.status;
    match state {
        State::BlockedByNetwork => vec![texts.say("advice-network")],
        State::InUse => vec![texts.say("advice-in-use")],
        State::BlockedByDevice => vec![unmet(known, texts)],
        // What else is wrong is read here, since one state alone gives the headline.
        State::Restricted => {
            let mut details = vec![unmet(known, texts)];
            if !status.control_plane_reachable {
                let holds = offline(known, texts, clock);
                details.push(texts.say_with("trouble-offline", [("holds", holds.into())]));
            }
            details.extend(in_words(known, texts));
            details
        }
        State::Offline => {
            let mut details = vec![offline(known, texts, clock)];
            details.extend(in_words(known, texts));
            details
        }
        State::Paused => vec![paused(known, texts, clock)],
        State::SigningIn => vec![texts.say("advice-signing-in")],
        // Why there is no configuration only the service can say.
        State::Starting => vec![one_line(&status.summary.message)],
        State::Warning => in_words(known, texts).collect(),
        State::Connected | State::Connecting | State::NotRunning | State::SignedOut => Vec::new(),
    }
}

fn unmet(known: &Known, texts: &Texts) -> String {
    let count = known.status.checks_unmet;
    texts.say_with("device-unmet", [("count", count.into())])
}

fn in_words(known: &Known, texts: &Texts) -> impl Iterator<Item = String> {
    troubles(&known.status).map(|trouble| match trouble {
        Trouble::Behind(site) => {
            texts.say_with("trouble-behind", [("site", one_line(site).into())])
        }
        Trouble::Interception(problem) => texts.say_with(
            "trouble-interception",
            [("problem", one_line(problem).into())],
        ),
        Trouble::Records(problem) => {
            texts.say_with("trouble-records", [("problem", one_line(problem).into())])
        }
        Trouble::Site(site) => texts.say_with("trouble-site", [("site", one_line(site).into())]),
    })
}

fn offline(known: &Known, texts: &Texts, clock: Clock) -> String {
    let ends = known.status.configuration_expires_at.as_deref();
    match ends.and_then(|ends| clock.until(ends)) {
        Some(left) => texts.say_with("offline-left", [("left", texts.duration(left).into())]),
        None => texts.say("offline"),
    }
}

fn paused(known: &Known, texts: &Texts, clock: Clock) -> String {
    let until = known.status.paused_until.as_deref();
    match until.and_then(|until| clock.time_of_day(until)) {
        Some(time) => texts.say_with("paused-until", [("time", time.into())]),
        None => texts.say("paused-for-good"),
    }
}

/// The menu while no service answers.
pub(super) fn without_service(texts: &Texts) -> Vec<Entry> {
    let entries = vec![
        guide(texts),
        Entry::Text(texts.say("help-commands-alone")),
        version(env!("CARGO_PKG_VERSION"), texts),
    ];
    vec![
        Entry::Separator,
        window(texts),
        help_with(entries, texts),
        Entry::Separator,
        quit(texts),
    ]
}

/// The menu while one does.
pub(super) fn with_service(
    state: State,
    known: &Known,
    favourites: &BTreeSet<String>,
    texts: &Texts,
    clock: Clock,
) -> Vec<Entry> {
    let mut entries = vec![Entry::Separator, window(texts)];
    entries.extend(person(state, known, texts, clock));
    entries.extend(switch(state, known, texts, clock));
    entries.push(Entry::Separator);
    entries.extend(access::resources(known, favourites, texts));
    entries.push(device::device(known, texts));
    entries.extend(access::refused(known, texts, clock));
    entries.push(help(known, texts));
    entries.push(Entry::Separator);
    entries.push(quit(texts));
    entries
}

/// Returns the name that people know the person by.
pub(crate) fn display_name(identity: &Identity) -> String {
    let name = identity.name.as_ref().or(identity.email.as_ref());
    one_line(name.unwrap_or(&identity.subject))
}

fn person(state: State, known: &Known, texts: &Texts, clock: Clock) -> Vec<Entry> {
    let Some(identity) = &known.status.identity else {
        let sign_in = state.sign_in();
        let label = texts.say(sign_in.unwrap_or("sign-in"));
        let action = sign_in.map(|_| Action::SignIn);
        return vec![item("sign-in", label, action)];
    };
    let name = display_name(identity);
    let mut entries = vec![Entry::Text(
        texts.say_with("signed-in-as", [("name", name.into())]),
    )];
    if let Some(left) = clock.until(&identity.expires_at) {
        let left = texts.duration(left);
        entries.push(Entry::Text(
            texts.say_with("session-left", [("left", left.into())]),
        ));
    }
    entries.push(item("extend", texts.say("extend"), Some(Action::SignIn)));
    entries.push(item(
        "sign-out",
        texts.say("sign-out"),
        Some(Action::SignOut),
    ));
    entries
}

fn switch(state: State, known: &Known, texts: &Texts, clock: Clock) -> Option<Entry> {
    match Switch::of(state, &known.status)? {
        Switch::On => Some(item("connect", texts.say("connect"), Some(Action::Connect))),
        Switch::Off(Some(lock)) => Some(locked(lock, known, texts)),
        Switch::Off(None) => Some(choices(known, texts, clock)),
    }
}

/// How long it can be switched off for.
fn choices(known: &Known, texts: &Texts, clock: Clock) -> Entry {
    let limit = limit(&known.status, texts).map(Entry::Text);
    let breaks = breaks(&known.status, texts, clock).into_iter();
    let choices = breaks.map(|(key, label, length)| item(key, label, Some(pause(length))));
    Entry::Submenu {
        id: "pause".into(),
        label: texts.say("pause"),
        entries: limit.into_iter().chain(choices).collect(),
    }
}

fn pause(length: Break) -> Action {
    Action::Pause {
        length,
        reason: None,
    }
}

/// What is not switched off by a choice alone, whose word that is, and where to go.
fn locked(lock: PauseLock, known: &Known, texts: &Texts) -> Entry {
    let by = managed_by(&known.status, texts).map(Entry::Text);
    let mut entries: Vec<Entry> = by.into_iter().chain(broken(&lock.meaning(texts))).collect();
    entries.push(item(
        "pause-locked",
        lock.way_out(texts),
        Some(Action::OpenWindow(Goal::Overview)),
    ));
    Entry::Submenu {
        id: "pause".into(),
        label: texts.say("pause-locked"),
        entries,
    }
}

fn help(known: &Known, texts: &Texts) -> Entry {
    let status = &known.status;
    let mut entries = vec![
        guide(texts),
        item(
            "help-check",
            texts.say("help-check"),
            Some(Action::OpenWindow(Goal::Checks)),
        ),
        item(
            "help-bundle",
            texts.say("help-bundle"),
            Some(Action::OpenWindow(Goal::Bundle)),
        ),
    ];
    if let Some(support) = &status.support {
        let page = WebPage::new(support.clone());
        let label = texts.say_with("support", [("address", one_line(support).into())]);
        entries.push(match page {
            Some(page) => item(
                "support",
                label,
                Some(Action::OpenPage(page.as_str().to_owned())),
            ),
            None => Entry::Text(label),
        });
    }
    entries.push(Entry::Text(texts.say("help-commands")));
    entries.push(version(&status.version, texts));
    help_with(entries, texts)
}

fn guide(texts: &Texts) -> Entry {
    let open = Action::OpenWindow(Goal::Help);
    item("help-guide", texts.say("help-guide"), Some(open))
}

fn version(version: &str, texts: &Texts) -> Entry {
    Entry::Text(texts.say_with("version", [("version", one_line(version).into())]))
}

fn help_with(entries: Vec<Entry>, texts: &Texts) -> Entry {
    Entry::Submenu {
        id: "help".into(),
        label: texts.say("help"),
        entries,
    }
}

fn window(texts: &Texts) -> Entry {
    let open = Action::OpenWindow(Goal::Overview);
    item("open-window", texts.say("open-window"), Some(open))
}

fn quit(texts: &Texts) -> Entry {
    item("quit", texts.say("quit"), Some(Action::Quit))
}

fn item(id: &str, label: String, action: Option<Action>) -> Entry {
    Entry::Item(Item {
        id: id.to_owned(),
        label,
        action,
    })
}

/// Says that a list goes on, if it does.
fn cut(all: usize, shown: usize, command: &'static str, texts: &Texts) -> Option<Entry> {
    let left = all.checked_sub(shown).filter(|left| *left > 0)?;
    Some(Entry::Text(texts.say_with(
        "more",
        [("count", left.into()), ("command", command.into())],
    )))
}
