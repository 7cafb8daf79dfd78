//! The window: hears what is new, draws the page, and does what is pressed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use connector_client::Service;
use connector_platform::paths::Paths;
use connector_ui::icon::Icon;
use connector_ui::notices::Notice;
use connector_ui::pages::{self, Act, Effect, Model, News, Page};
use connector_ui::preferences::{self, Preferences};
use connector_ui::texts::{Language, Texts};
use connector_ui::view::Clock;
use eframe::egui;
use tokio::sync::mpsc::Sender;

use crate::draw::Painter;
use crate::feed::{self, Heard};
use crate::look;

/// The window.
pub(crate) struct App {
    pub(crate) model: Model,
    pub(crate) texts: Texts,
    painter: Painter,
    heard: Receiver<Heard>,
    effects: Sender<Effect>,
    clock: fn() -> Clock,
    /// What the window was opened for, until the service has said what there is.
    errand: Option<Errand>,
    /// What the system shows of the window beside its contents.
    icon: Option<Icon>,
}

/// What the window was opened for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Errand {
    /// Nothing in particular.
    Open,
    /// A page.
    Page(Page),
    /// To ask for access to an application.
    Request(String),
    /// An application.
    Resource(String),
    /// To run the checks.
    RunChecks,
}

impl Errand {
    /// Returns the line by which another window is told.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Open => "open".to_owned(),
            Self::Page(page) => format!("page {}", page.name()),
            Self::Request(id) => format!("request {id}"),
            Self::Resource(id) => format!("resource {id}"),
            Self::RunChecks => "run-checks".to_owned(),
        }
    }

    /// Reads such a line.
    pub(crate) fn read(line: &str) -> Option<Self> {
        match line.split_once(' ') {
            None if line == "open" => Some(Self::Open),
            None if line == "run-checks" => Some(Self::RunChecks),
            None => None,
            Some(("page", name)) => Some(Self::Page(Page::named(name)?)),
            Some(("request", id)) => Some(Self::Request(id.to_owned())),
            Some(("resource", id)) => Some(Self::Resource(id.to_owned())),
            Some(_) => None,
        }
    }
}

impl App {
    /// Begins to follow the service.
    pub(crate) fn start(
        context: &egui::Context,
        service: Arc<Service>,
        door: Option<PathBuf>,
        errand: Errand,
    ) -> Self {
        let language = Language::of_person();
        let named = service.named_socket().map(PathBuf::from);
        let (heard, effects) = feed::start(context.clone(), service, language, door);
        let path = preferences::path();
        let preferences = path.as_deref().map(Preferences::load).unwrap_or_default();
        let mut about = vec![("fact-window", env!("CARGO_PKG_VERSION").to_owned())];
        let endpoint = named.unwrap_or_else(Paths::client_socket);
        about.push(("fact-socket", endpoint.display().to_string()));
        about.extend(path.map(|path| ("fact-preferences", path.display().to_string())));
        let model = Model::new(preferences, about);
        look::dress(context, model.preferences().theme);
        Self::new(model, Texts::new(language), heard, effects, clock, errand)
    }

    pub(crate) fn new(
        model: Model,
        texts: Texts,
        heard: Receiver<Heard>,
        effects: Sender<Effect>,
        clock: fn() -> Clock,
        errand: Errand,
    ) -> Self {
        Self {
            model,
            texts,
            painter: Painter::default(),
            heard,
            effects,
            clock,
            errand: Some(errand),
            icon: None,
        }
    }

    /// Takes in what came since.
    pub(crate) fn hear(&mut self, context: &egui::Context) {
        while let Ok(heard) = self.heard.try_recv() {
            match heard {
                Heard::Errand(errand) => {
                    self.errand = Some(errand);
                    context.send_viewport_cmd(egui::ViewportCommand::Minimized(false));
                    context.send_viewport_cmd(egui::ViewportCommand::Focus);
                }
                Heard::News(news) => self.model.hear(news),
            }
        }
        let icon = self.model.icon();
        if self.icon.replace(icon) != Some(icon) {
            let command = egui::ViewportCommand::Icon(Some(Arc::new(look::icon(icon))));
            context.send_viewport_cmd(command);
        }
        let waits = match &self.errand {
            None => false,
            Some(Errand::Request(_) | Errand::Resource(_)) => !self.model.has_resources(),
            Some(Errand::RunChecks) => !self.model.is_running(),
            Some(Errand::Open | Errand::Page(_)) => false,
        };
        if let Some(errand) = self.errand.take_if(|_| !waits) {
            self.run(errand, context);
        }
    }

    fn run(&mut self, errand: Errand, context: &egui::Context) {
        match errand {
            Errand::Open => {}
            Errand::Page(page) => self.act(Act::Go(page), context),
            Errand::Request(id) => self.model.show_resource(&id, true),
            Errand::Resource(id) => self.model.show_resource(&id, false),
            Errand::RunChecks => {
                self.act(Act::Go(Page::Diagnostics), context);
                self.act(Act::Diagnose, context);
            }
        }
    }

    /// Draws everything, and does what is pressed.
    pub(crate) fn draw(&mut self, ui: &mut egui::Ui) {
        let mut acts = self.keys(ui);
        let blocks = pages::blocks(&self.model, &self.texts, (self.clock)());
        acts.extend(self.painter.draw(ui, &self.model, &self.texts, &blocks));
        let context = ui.ctx().clone();
        for act in acts {
            self.act(act, &context);
        }
    }

    fn keys(&mut self, ui: &egui::Ui) -> Vec<Act> {
        let mut acts = Vec::new();
        ui.ctx().input_mut(|input| {
            for (key, page) in KEYS.into_iter().zip(Page::ALL) {
                if input.consume_key(egui::Modifiers::COMMAND, key) {
                    acts.push(Act::Go(page));
                }
            }
        });
        let find = |input: &mut egui::InputState| {
            input.consume_key(egui::Modifiers::COMMAND, egui::Key::F)
        };
        if ui.ctx().input_mut(find) {
            self.painter.focus_search();
        }
        // A key that leaves a field for writing is meant for the field.
        let is_writing = ui.ctx().memory(|memory| memory.focused().is_some());
        let escape = |input: &mut egui::InputState| {
            input.consume_key(egui::Modifiers::NONE, egui::Key::Escape)
        };
        if !is_writing && ui.ctx().input_mut(escape) {
            self.model.step_back();
        }
        acts
    }

    fn act(&mut self, act: Act, context: &egui::Context) {
        let Some(effect) = self.model.act(act) else {
            return;
        };
        match effect {
            Effect::Copy(text) => {
                let title = self
                    .texts
                    .say_with("copied", [("text", text.as_str().into())]);
                self.model.hear(News::Notice(notice(title, String::new())));
                context.copy_text(text);
            }
            Effect::Keep(preferences) => {
                look::choose(context, preferences.theme);
                let kept = preferences::path().map(|path| preferences.save(&path));
                if let Some(Err(problem)) = kept {
                    let title = self.texts.say("notice-failed-title");
                    self.model
                        .hear(News::Notice(notice(title, problem.to_string())));
                }
            }
            effect @ (Effect::Bundle { .. }
            | Effect::Challenge
            | Effect::Choose(_)
            | Effect::Diagnose
            | Effect::Why { .. }) => {
                // With so many waiting, nobody means one more.
                let _ = self.effects.try_send(effect);
            }
        }
    }
}

impl eframe::App for App {
    fn logic(&mut self, context: &egui::Context, _: &mut eframe::Frame) {
        self.hear(context);
    }

    fn ui(&mut self, ui: &mut egui::Ui, _: &mut eframe::Frame) {
        self.draw(ui);
    }
}

fn notice(title: String, body: String) -> Notice {
    Notice {
        title,
        body,
        is_urgent: false,
        offer: None,
    }
}

/// The only place that looks at the clock.
pub(crate) fn clock() -> Clock {
    let now = chrono::Local::now();
    Clock {
        now: now.timestamp(),
        ahead: now.offset().local_minus_utc().into(),
    }
}

/// With Ctrl, or Cmd on a Mac: the pages in their order.
const KEYS: [egui::Key; 8] = [
    egui::Key::Num1,
    egui::Key::Num2,
    egui::Key::Num3,
    egui::Key::Num4,
    egui::Key::Num5,
    egui::Key::Num6,
    egui::Key::Num7,
    egui::Key::Num8,
];
