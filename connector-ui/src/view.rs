//! What the tray's menu is, as a pure function of what the service says.

mod pausing;
pub(crate) mod sections;
mod standing;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use connector_ipc::{AccessRequestReport, DecisionReport, PostureReport, ResourceReport, Status};

pub(crate) use self::pausing::{PauseLock, Switch, breaks, limit, managed_by};
pub use self::standing::State;
pub(crate) use self::standing::is_silent;
use crate::icon::Icon;
use crate::texts::Texts;

/// What is known of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Snapshot {
    /// It does not answer.
    NotRunning,
    /// It does, and said this.
    Running(Box<Known>),
}

impl Snapshot {
    /// Returns what the service said, if it answers.
    #[must_use]
    pub fn known(&self) -> Option<&Known> {
        match self {
            Self::NotRunning => None,
            Self::Running(known) => Some(known),
        }
    }
}

/// What the service said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The one screen.
    pub status: Status,
    /// The protected applications.
    pub resources: Vec<ResourceReport>,
    /// The device's state, once it was asked for.
    pub posture: Option<PostureReport>,
    /// What was refused of late, oldest first.
    pub refused: Vec<DecisionReport>,
    /// What the person has asked for.
    pub requests: Vec<AccessRequestReport>,
}

impl Known {
    /// Returns what is known when only the status is.
    #[must_use]
    pub fn new(status: Status) -> Self {
        Self {
            status,
            resources: Vec::new(),
            posture: None,
            refused: Vec::new(),
            requests: Vec::new(),
        }
    }
}

/// The time, and how the person's clocks show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Seconds since 1970, in UTC.
    pub now: i64,
    /// Seconds by which the person's clocks are ahead of UTC.
    pub ahead: i64,
}

impl Clock {
    /// Returns how many seconds are left until a time that the service wrote.
    pub(crate) fn until(self, stamp: &str) -> Option<i64> {
        Some(connector_client::unix_seconds(stamp)? - self.now)
    }

    /// Returns a time that the service wrote as the person's clocks show it, as in `17:05`.
    pub(crate) fn time_of_day(self, stamp: &str) -> Option<String> {
        let seconds = (connector_client::unix_seconds(stamp)? + self.ahead).rem_euclid(86_400);
        Some(format!("{:02}:{:02}", seconds / 3600, seconds / 60 % 60))
    }

    /// Returns a time that the service wrote as the person's clocks show it, to the second, and
    /// with the day if it is not today.
    pub(crate) fn moment(self, stamp: &str) -> Option<String> {
        let seconds = connector_client::unix_seconds(stamp)? + self.ahead;
        let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let time = format!(
            "{:02}:{:02}:{:02}",
            second / 3600,
            second / 60 % 60,
            second % 60
        );
        let today = (self.now + self.ahead).div_euclid(86_400);
        if day == today {
            return Some(time);
        }
        let date = stamp.split('T').next().unwrap_or_default();
        Some(format!("{date} {time}"))
    }

    /// Returns how many seconds are left until the person's next morning.
    fn until_morning(self) -> u64 {
        let today = (self.now + self.ahead).rem_euclid(86_400);
        (MORNING - today).rem_euclid(86_400).max(1).unsigned_abs()
    }
}

/// Six o'clock, in seconds.
const MORNING: i64 = 6 * 3600;

/// The tray: its icon, and the menu behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Menu {
    /// The icon.
    pub icon: Icon,
    /// What the icon says in words, for the pointer and for screen readers.
    pub tooltip: String,
    /// Whether the person should look.
    pub needs_attention: bool,
    /// What to read before the first thing to choose.
    pub header: Vec<String>,
    /// What to choose from.
    pub entries: Vec<Entry>,
}

/// One line of a menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Something to choose.
    Item(Item),
    /// A line between groups.
    Separator,
    /// A menu in the menu.
    Submenu {
        /// Names it within its menu.
        id: String,
        /// What it says.
        label: String,
        /// What is in it; nothing to open if empty.
        entries: Vec<Self>,
    },
    /// Something to read.
    Text(String),
}

/// Something to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Names it within the whole menu.
    pub id: String,
    /// What it says.
    pub label: String,
    /// What happens when it is chosen; nothing can be while there is none.
    pub action: Option<Action>,
}

/// What happens when something is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Measures the device again.
    CheckAgain,
    /// Switches the connector on.
    Connect,
    /// Opens a page in the browser.
    OpenPage(String),
    /// Opens the window.
    OpenWindow(Goal),
    /// Switches the connector off.
    Pause {
        /// For how long.
        length: Break,
        /// Why, where that has to be said.
        reason: Option<String>,
    },
    /// Ends the tray, and nothing else.
    Quit,
    /// Switches the connector off by a code of the company.
    RedeemCode {
        /// The code.
        code: String,
        /// Why it is needed.
        reason: String,
    },
    /// Asks for access to something that was refused.
    RequestAccess {
        /// The name or address.
        host: String,
        /// The port.
        port: Option<u16>,
        /// Why.
        reason: String,
        /// For how long.
        seconds: u64,
    },
    /// Signs in, or once more to extend the session.
    SignIn,
    /// Signs out.
    SignOut,
}

/// What the window is opened for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// To write a file for whoever helps.
    Bundle,
    /// To run the checks.
    Checks,
    /// To read how to use it.
    Help,
    /// To see how it is.
    Overview,
    /// To ask for access to an application, with a reason.
    Request(String),
    /// To see an application, and to copy its address.
    Resource(String),
}

impl Goal {
    /// Returns how the window is told.
    #[must_use]
    pub fn argument(&self) -> Option<String> {
        match self {
            Self::Bundle => Some("--page=diagnostics".to_owned()),
            Self::Checks => Some("--run-checks".to_owned()),
            Self::Help => Some("--page=help".to_owned()),
            Self::Overview => None,
            // One argument, so that no id is taken for an option.
            Self::Request(id) => Some(format!("--request={id}")),
            Self::Resource(id) => Some(format!("--resource={id}")),
        }
    }
}

/// How long the connector is to be off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// For so many seconds.
    For(u64),
    /// Until the person's next morning.
    UntilMorning,
    /// Until the person switches it on.
    UntilSwitchedOn,
}

impl Break {
    /// Returns how many seconds it lasts, if it ends by itself.
    #[must_use]
    pub fn seconds(self, clock: Clock) -> Option<u64> {
        match self {
            Self::For(seconds) => Some(seconds),
            Self::UntilMorning => Some(clock.until_morning()),
            Self::UntilSwitchedOn => None,
        }
    }
}

/// Returns what the tray shows; the applications with ids among `favourites` come first.
#[must_use]
pub fn menu(
    snapshot: &Snapshot,
    favourites: &BTreeSet<String>,
    texts: &Texts,
    clock: Clock,
) -> Menu {
    let Headline {
        state,
        headline,
        details,
    } = Headline::of(snapshot, texts, clock);
    let known = snapshot.known();
    let organisation = known.and_then(|known| known.status.organisation.as_deref());
    let tooltip = match organisation {
        Some(organisation) => format!("{headline} · {}", one_line(organisation)),
        None => headline.clone(),
    };
    let mut header = vec![headline];
    header.extend(organisation.map(one_line));
    header.extend(details);
    let entries = match known {
        None => sections::without_service(texts),
        Some(known) => sections::with_service(state, known, favourites, texts, clock),
    };
    Menu {
        icon: state.icon(),
        tooltip,
        needs_attention: state.needs_attention(),
        header,
        entries,
    }
}

/// How the connector is, in words.
pub(crate) struct Headline {
    pub(crate) state: State,
    pub(crate) headline: String,
    /// What else there is to read about it.
    pub(crate) details: Vec<String>,
}

impl Headline {
    pub(crate) fn of(snapshot: &Snapshot, texts: &Texts, clock: Clock) -> Self {
        let state = State::of(snapshot);
        Self {
            state,
            headline: texts.say(state.key()),
            details: sections::details(state, snapshot.known(), texts, clock),
        }
    }
}

/// Returns a text from outside as one line that is not too long for a menu, without anything
/// that steers how it is shown.
pub(crate) fn one_line(text: &str) -> String {
    cut(text, LONGEST_LABEL)
}

/// Says what there is to do, as the service says it.
pub(crate) fn mend(remedy: &str, texts: &Texts) -> String {
    let remedy = paragraph(texts.told(remedy));
    texts.say_with("mend", [("remedy", remedy.into())])
}

/// Returns a text from outside as one paragraph, without anything that steers how it is shown.
pub(crate) fn paragraph(text: &str) -> String {
    cut(text, LONGEST_PARAGRAPH)
}

/// Returns a paragraph as lines of a menu, which breaks none by itself.
fn broken(paragraph: &str) -> Vec<Entry> {
    let mut lines: Vec<String> = Vec::new();
    for word in paragraph.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= LINE => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(one_line(word)),
        }
    }
    lines.into_iter().map(Entry::Text).collect()
}

fn cut(text: &str, longest: usize) -> String {
    let plain = |c: char| match c {
        // What turns the direction of writing could make a name look like another.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => ' ',
        c if c.is_control() => ' ',
        c => c,
    };
    let clean: String = text.chars().map(plain).collect();
    let mut words = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = words.char_indices().nth(longest) {
        words.truncate(end);
        words.push('…');
    }
    words
}

/// Longer lines make a menu wider than small screens are.
const LONGEST_LABEL: usize = 90;

/// Where lines of a menu are broken, for those that are read rather than chosen.
const LINE: usize = 64;

/// What a service or a policy has to say; more is a mistake or a nuisance.
const LONGEST_PARAGRAPH: usize = 400;
