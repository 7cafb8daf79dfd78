//! What the window shows: each page as a list of blocks, a pure function of the [`Model`].

mod about;
mod access;
mod decisions;
mod device;
mod diagnostics;
mod help;
mod model;
mod overview;
mod pausing;
mod resources;
mod settings;
#[cfg(test)]
mod tests;
mod traffic;

pub use self::model::{Answer, Effect, Model, News};
use crate::icon::Icon;
use crate::preferences::Theme;
use crate::texts::Texts;
use crate::view::{Action, Clock};

/// The window's pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Page {
    /// How it is.
    #[default]
    Overview,
    /// The protected applications.
    Resources,
    /// The device's checks.
    Device,
    /// What was decided.
    Decisions,
    /// What can be wrong.
    Diagnostics,
    /// The settings in force.
    Settings,
    /// How to use it.
    Help,
    /// Versions and paths.
    About,
}

impl Page {
    /// Every page, in the order in which they are shown.
    pub const ALL: [Self; 8] = [
        Self::Overview,
        Self::Resources,
        Self::Device,
        Self::Decisions,
        Self::Diagnostics,
        Self::Settings,
        Self::Help,
        Self::About,
    ];

    /// Returns the page by the name that it has on the command line.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|page| page.name() == name)
    }

    /// Returns its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Resources => "resources",
            Self::Device => "device",
            Self::Decisions => "decisions",
            Self::Diagnostics => "diagnostics",
            Self::Settings => "settings",
            Self::Help => "help",
            Self::About => "about",
        }
    }

    /// Returns what it is called.
    #[must_use]
    pub fn title(self, texts: &Texts) -> String {
        texts.say(match self {
            Self::Overview => "page-overview",
            Self::Resources => "page-resources",
            Self::Device => "page-device",
            Self::Decisions => "page-decisions",
            Self::Diagnostics => "page-diagnostics",
            Self::Settings => "page-settings",
            Self::Help => "page-help",
            Self::About => "page-about",
        })
    }
}

/// Something on a page.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// Things to choose, side by side.
    Buttons(Vec<Button>),
    /// One of a list.
    Card(Box<Card>),
    /// One of several to choose.
    Choice(Choice),
    /// What things are, each with its name.
    Facts(Vec<(String, String)>),
    /// A place to write.
    Field(Field),
    /// Figures over time.
    Graph(Graph),
    /// What the following blocks are about.
    Heading(String),
    /// The state, in shape and words.
    Standing {
        /// The shape.
        icon: Icon,
        /// The words.
        headline: String,
        /// What else there is to read about it.
        details: Vec<String>,
    },
    /// A paragraph.
    Text(String),
}

/// Something to press.
#[derive(Debug, Clone, PartialEq)]
pub struct Button {
    /// What it says.
    pub label: String,
    /// What it is called where it stands alone, as for a screen reader.
    pub name: String,
    /// What it does.
    pub act: Act,
    /// Why it cannot be pressed, if it cannot.
    pub hindrance: Option<String>,
}

impl Button {
    pub(crate) fn new(label: String, act: Act) -> Self {
        Self {
            name: label.clone(),
            label,
            act,
            hindrance: None,
        }
    }

    /// Says what the button is about, for those who do not see what it stands beside.
    pub(crate) fn about(mut self, what: &str) -> Self {
        self.name = format!("{}: {what}", self.label);
        self
    }

    pub(crate) fn unless(mut self, hindrance: Option<String>) -> Self {
        self.hindrance = hindrance;
        self
    }
}

/// One of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    /// Names it within its page.
    pub id: String,
    /// Its state as a shape.
    pub icon: Icon,
    /// Its state in a word.
    pub word: String,
    /// What it is.
    pub title: String,
    /// More about it, a paragraph each.
    pub lines: Vec<String>,
    /// What can be done with it.
    pub buttons: Vec<Button>,
    /// Whether the title can be pressed to see more, or less.
    pub can_open: bool,
    /// What is seen when it is open.
    pub inside: Vec<Block>,
}

/// One of several to choose.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// What is chosen.
    pub label: String,
    /// What there is to choose from, and whether it is chosen.
    pub options: Vec<(Button, bool)>,
}

/// A place to write.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Which one.
    pub place: Place,
    /// What belongs there.
    pub label: String,
    /// What is written there.
    pub text: String,
}

/// Where something can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A code of the company that switches the connector off.
    Code,
    /// What decisions are looked for by.
    Decisions,
    /// Why the connector is to be off.
    PauseReason,
    /// Why the person asks for access.
    Reason,
    /// What applications are looked for by.
    Resources,
    /// What settings are looked for by.
    Settings,
}

impl Place {
    /// Returns whether it is for looking for something.
    #[must_use]
    pub const fn is_search(self) -> bool {
        !matches!(self, Self::Code | Self::PauseReason | Self::Reason)
    }
}

/// Figures over time, the latest last.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// What it shows, with the latest figure.
    pub label: String,
    /// What the highest place stands for.
    pub top: String,
    /// The figures, each between 0 and 1; the times without one have none.
    pub figures: Vec<Option<f32>>,
}

/// What happens when something is pressed or written.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Writes a file for whoever helps.
    Bundle {
        /// With names and addresses replaced.
        anonymized: bool,
    },
    /// Asks what a code of the company has to answer.
    Challenge,
    /// What the tray's menu does too.
    Choose(Action),
    /// Puts a text where it can be pasted.
    Copy(String),
    /// Looks for what is wrong.
    Diagnose,
    /// Takes the message away.
    Dismiss,
    /// Takes an application among the favourites, or out of them.
    Favour(String),
    /// Shows other decisions.
    Filter(Filter),
    /// Shows new decisions as they are made, or stops that.
    Follow(bool),
    /// Opens a card, or closes it.
    Fold(String),
    /// Goes to another page.
    Go(Page),
    /// Leaves the form for switching off.
    LeaveLock,
    /// How long access is asked for, in seconds.
    Length(u64),
    /// Begins to ask for access to an application.
    Request(String),
    /// Asks for it.
    SendRequest,
    /// Makes the window light or dark.
    Theme(Theme),
    /// Asks why an application can be reached or not.
    Why(String),
    /// Something was written.
    Write(Place, String),
}

/// Which decisions are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Filter {
    /// All.
    #[default]
    All,
    /// Those that let something through.
    Permitted,
    /// Those that did not, or ended something.
    Refused,
}

/// Returns the blocks of the page that the person is at.
#[must_use]
pub fn blocks(model: &Model, texts: &Texts, clock: Clock) -> Vec<Block> {
    let mut blocks = Vec::new();
    let page = model.page();
    let needs_service = !matches!(page, Page::About | Page::Help | Page::Settings);
    if model.known().is_none() && needs_service {
        blocks.extend(overview::standing(model, texts, clock));
        blocks.push(Block::Text(texts.say("without-service")));
        if page != Page::Diagnostics {
            return blocks;
        }
    }
    blocks.extend(match page {
        Page::Overview => overview::blocks(model, texts, clock),
        Page::Resources => resources::blocks(model, texts, clock),
        Page::Device => device::blocks(model, texts, clock),
        Page::Decisions => decisions::blocks(model, texts, clock),
        Page::Diagnostics => diagnostics::blocks(model, texts),
        Page::Settings => settings::blocks(model, texts),
        Page::Help => help::blocks(texts),
        Page::About => about::blocks(model, texts),
    });
    blocks
}

/// Says why there is nothing on a page, and what to do about it.
fn empty(text: String) -> Vec<Block> {
    vec![Block::Text(text)]
}

/// Returns whether a text is what the person looks for.
fn is_found<T: AsRef<str>>(wanted: &str, texts: impl IntoIterator<Item = T>) -> bool {
    let wanted = wanted.trim().to_lowercase();
    let mut texts = texts.into_iter();
    wanted.is_empty() || texts.any(|text| text.as_ref().to_lowercase().contains(&wanted))
}
