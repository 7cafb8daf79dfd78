use std::collections::VecDeque;

use connector_ipc::{
    AccessReport, DecisionReport, DiagnosisReport, OverrideChallengeReport, ResourceReport,
    SettingReport, Standing,
};

use super::traffic::Traffic;
use super::{Act, Filter, Page, Place};
use crate::icon::Icon;
use crate::notices::Notice;
use crate::preferences::Preferences;
use crate::view::sections::access::plain_name;
use crate::view::{Action, Known, Snapshot, State};

/// Everything the window knows, and where the person is in it.
#[derive(Debug)]
pub struct Model {
    pub(super) snapshot: Snapshot,
    /// What was decided of late, oldest first.
    pub(super) decisions: VecDeque<DecisionReport>,
    /// The decisions that are shown while new ones are not.
    pub(super) held: Option<Vec<DecisionReport>>,
    pub(super) settings: Vec<SettingReport>,
    pub(super) diagnosis: Answer<DiagnosisReport>,
    /// Where the file is; none where there is no command to write it.
    pub(super) bundle: Answer<Option<String>>,
    /// The application that was asked about, and the answer.
    pub(super) why: Option<(String, Answer<AccessReport>)>,
    pub(super) traffic: Traffic,
    pub(super) preferences: Preferences,
    pub(super) message: Option<Notice>,
    /// What the program knows of itself, each with its name.
    pub(super) about: Vec<(&'static str, String)>,
    page: Page,
    /// The card that is open.
    pub(super) open: Option<String>,
    /// The application that access is asked for.
    pub(super) wanted: Option<String>,
    pub(super) reason: String,
    pub(super) length: u64,
    /// Why the connector is to be off.
    pub(super) pause_reason: String,
    /// What a code has to answer, once the person has asked for one.
    pub(super) challenge: Answer<OverrideChallengeReport>,
    pub(super) code: String,
    pub(super) filter: Filter,
    searches: [String; 3],
}

/// What became of a question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Answer<T> {
    /// It is awaited.
    Awaited,
    /// There is none, because of this.
    Failed(String),
    /// It is this.
    Is(T),
    /// Nobody asked.
    #[default]
    None,
}

/// What the window hears.
#[derive(Debug)]
pub enum News {
    /// To [`Effect::Why`], about the application.
    Access(String, Result<Box<AccessReport>, String>),
    /// To [`Effect::Bundle`]: where the file is, or what kept the command from it, if there is one.
    Bundle(Result<String, Option<String>>),
    /// To [`Effect::Challenge`].
    Challenge(Result<OverrideChallengeReport, String>),
    /// Something was decided.
    Decision(Box<DecisionReport>),
    /// What was decided is told from the beginning.
    DecisionsAnew,
    /// To [`Effect::Diagnose`].
    Diagnosis(Result<Box<DiagnosisReport>, String>),
    /// The person has to know this.
    Notice(Notice),
    /// The settings in force.
    Settings(Vec<SettingReport>),
    /// What the service said.
    Snapshot(Snapshot),
    /// It is so many milliseconds later than some time.
    Time(u64),
}

/// What is to be done beyond the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Has the command write a file for whoever helps.
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
    /// Keeps what the person likes.
    Keep(Preferences),
    /// Asks why an application can be reached or not.
    Why {
        /// The application.
        id: String,
        /// Its name on the network.
        host: String,
    },
}

impl Model {
    /// Returns a window that has heard nothing.
    #[must_use]
    pub fn new(preferences: Preferences, about: Vec<(&'static str, String)>) -> Self {
        Self {
            snapshot: Snapshot::NotRunning,
            decisions: VecDeque::new(),
            held: None,
            settings: Vec::new(),
            diagnosis: Answer::None,
            bundle: Answer::None,
            why: None,
            traffic: Traffic::default(),
            preferences,
            message: None,
            about,
            page: Page::default(),
            open: None,
            wanted: None,
            reason: String::new(),
            length: HOUR,
            pause_reason: String::new(),
            challenge: Answer::None,
            code: String::new(),
            filter: Filter::default(),
            searches: Default::default(),
        }
    }

    /// Returns the page that the person is at.
    #[must_use]
    pub fn page(&self) -> Page {
        self.page
    }

    /// Returns what the person likes.
    #[must_use]
    pub fn preferences(&self) -> &Preferences {
        &self.preferences
    }

    /// Returns what the person has to know, until they have read it.
    #[must_use]
    pub fn message(&self) -> Option<&Notice> {
        self.message.as_ref()
    }

    /// Returns whether the service answers.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.known().is_some()
    }

    /// Returns whether the service has said which applications there are.
    #[must_use]
    pub fn has_resources(&self) -> bool {
        self.known()
            .is_some_and(|known| !known.resources.is_empty())
    }

    /// Returns the state as a shape.
    #[must_use]
    pub fn icon(&self) -> Icon {
        State::of(&self.snapshot).icon()
    }

    pub(super) fn known(&self) -> Option<&Known> {
        self.snapshot.known()
    }

    pub(super) fn search(&self, place: Place) -> &str {
        match place {
            Place::Code => &self.code,
            Place::Decisions => &self.searches[0],
            Place::PauseReason => &self.pause_reason,
            Place::Reason => &self.reason,
            Place::Resources => &self.searches[1],
            Place::Settings => &self.searches[2],
        }
    }

    pub(super) fn is_open(&self, card: &str) -> bool {
        self.open.as_deref() == Some(card)
    }

    pub(super) fn resource(&self, id: &str) -> Option<&ResourceReport> {
        let mut resources = self.known()?.resources.iter();
        resources.find(|resource| resource.id == id)
    }

    /// Takes in what the window hears.
    pub fn hear(&mut self, news: News) {
        match news {
            News::Access(id, answer) => {
                if let Some((asked, awaited)) = &mut self.why
                    && *asked == id
                {
                    *awaited = Answer::of(answer.map(|report| *report));
                }
            }
            News::Bundle(answer) => {
                self.bundle = match answer {
                    Ok(path) => Answer::Is(Some(path)),
                    Err(Some(problem)) => Answer::Failed(problem),
                    Err(None) => Answer::Is(None),
                }
            }
            News::Challenge(answer) => {
                if self.challenge == Answer::Awaited {
                    self.challenge = Answer::of(answer);
                }
            }
            News::Decision(decision) => {
                if self.decisions.len() == MAX_DECISIONS {
                    self.decisions.pop_front();
                }
                self.decisions.push_back(*decision);
            }
            News::DecisionsAnew => self.decisions.clear(),
            News::Diagnosis(answer) => self.diagnosis = Answer::of(answer.map(|report| *report)),
            News::Notice(notice) => self.message = Some(notice),
            News::Settings(settings) => self.settings = settings,
            News::Snapshot(snapshot) => {
                if snapshot == Snapshot::NotRunning {
                    self.forget();
                }
                let known = snapshot.known();
                if known.is_some_and(|known| known.status.standing == Standing::Paused) {
                    // What was written for switching off has done its work.
                    self.leave_lock();
                }
                self.snapshot = snapshot;
            }
            News::Time(millis) => self.traffic.sample(self.snapshot.known(), millis),
        }
    }

    /// What was true while the service ran may not be when it is back.
    fn forget(&mut self) {
        self.decisions.clear();
        self.held = None;
        self.settings.clear();
        self.why = None;
        self.traffic = Traffic::default();
        self.leave_lock();
        if self.diagnosis != Answer::Awaited {
            self.diagnosis = Answer::None;
        }
    }

    /// Does what was pressed or written; returns what is to be done beyond the window.
    pub fn act(&mut self, act: Act) -> Option<Effect> {
        match act {
            Act::Bundle { anonymized } => {
                self.bundle = Answer::Awaited;
                return Some(Effect::Bundle { anonymized });
            }
            Act::Challenge => {
                self.challenge = Answer::Awaited;
                return Some(Effect::Challenge);
            }
            Act::Choose(action) => return Some(Effect::Choose(action)),
            Act::Copy(text) => return Some(Effect::Copy(text)),
            Act::Diagnose => {
                self.diagnosis = Answer::Awaited;
                return Some(Effect::Diagnose);
            }
            Act::Dismiss => self.message = None,
            Act::Favour(id) => {
                self.preferences.turn(&id);
                return Some(Effect::Keep(self.preferences.clone()));
            }
            Act::Filter(filter) => self.filter = filter,
            Act::Follow(true) => self.held = None,
            Act::Follow(false) => self.held = Some(self.decisions.iter().cloned().collect()),
            Act::Fold(card) => {
                self.open = (!self.is_open(&card)).then_some(card);
                self.wanted = None;
                self.why = None;
            }
            Act::Go(page) => {
                self.page = page;
                self.open = None;
                self.wanted = None;
                self.why = None;
            }
            Act::LeaveLock => self.leave_lock(),
            Act::Length(seconds) => self.length = seconds,
            Act::Request(id) => {
                self.page = Page::Resources;
                self.open = Some(id.clone());
                self.wanted = Some(id);
                self.reason.clear();
            }
            Act::SendRequest => return self.request(),
            Act::Theme(theme) => {
                self.preferences.theme = theme;
                return Some(Effect::Keep(self.preferences.clone()));
            }
            Act::Why(id) => return self.ask_why(id),
            Act::Write(place, text) => self.write(place, text),
        }
        None
    }

    /// Goes back by one step: from what is open, then from what was looked for.
    pub fn step_back(&mut self) {
        if self.message.take().is_some() {
            return;
        }
        if self.open.take().is_some() {
            self.wanted = None;
            self.why = None;
            return;
        }
        self.searches = Default::default();
    }

    /// Shows an application, or the form by which access to it is asked for. It may be named by
    /// its id or by a name that it is reached by.
    pub fn show_resource(&mut self, id: &str, wants_access: bool) {
        let known = self.known().and_then(|known| {
            let mut resources = known.resources.iter();
            resources.find(|resource| resource.names.iter().any(|name| name == id))
        });
        let id = known.map_or_else(|| id.to_owned(), |resource| resource.id.clone());
        self.act(Act::Go(Page::Resources));
        if wants_access {
            self.act(Act::Request(id));
        } else {
            self.open = Some(id);
        }
    }

    fn leave_lock(&mut self) {
        self.challenge = Answer::None;
        self.code.clear();
        self.pause_reason.clear();
    }

    fn write(&mut self, place: Place, mut text: String) {
        let longest = match place {
            Place::Code => LONGEST_CODE,
            Place::Decisions
            | Place::PauseReason
            | Place::Reason
            | Place::Resources
            | Place::Settings => LONGEST_INPUT,
        };
        if let Some((end, _)) = text.char_indices().nth(longest) {
            text.truncate(end);
        }
        match place {
            Place::Code => self.code = text,
            Place::Decisions => self.searches[0] = text,
            Place::PauseReason => self.pause_reason = text,
            Place::Reason => self.reason = text,
            Place::Resources => self.searches[1] = text,
            Place::Settings => self.searches[2] = text,
        }
    }

    fn request(&mut self) -> Option<Effect> {
        let resource = self.resource(self.wanted.as_deref()?)?;
        let host = plain_name(resource)?.to_owned();
        let reason = on_one_line(&self.reason);
        if reason.is_empty() {
            return None;
        }
        self.wanted = None;
        Some(Effect::Choose(Action::RequestAccess {
            host,
            port: None,
            reason,
            seconds: self.length,
        }))
    }

    fn ask_why(&mut self, id: String) -> Option<Effect> {
        let host = plain_name(self.resource(&id)?)?.to_owned();
        self.open = Some(id.clone());
        self.wanted = None;
        self.why = Some((id.clone(), Answer::Awaited));
        Some(Effect::Why { id, host })
    }
}

impl<T> Answer<T> {
    fn of(result: Result<T, String>) -> Self {
        match result {
            Ok(answer) => Self::Is(answer),
            Err(problem) => Self::Failed(problem),
        }
    }
}

/// Returns what was written as it is told: in one line.
pub(super) fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(super) const HOUR: u64 = 3600;

/// What a person looks through.
const MAX_DECISIONS: usize = 500;

/// A reason is one line.
const LONGEST_INPUT: usize = 300;

/// A code has some hundred characters.
const LONGEST_CODE: usize = 8192;
