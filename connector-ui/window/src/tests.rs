use std::sync::mpsc::{Sender, channel};

use connector_ipc::{DecisionReport, DiagnosisReport, OverrideChallengeReport, SettingReport};
use connector_ui::pages::{Act, Effect, Model, News, Page, Place};
use connector_ui::preferences::{Preferences, Theme};
use connector_ui::texts::{Language, Texts};
use connector_ui::view::{Clock, Known, Snapshot};
use eframe::egui::{self, Key, Modifiers, Role, Vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};
use serde_json::json;
use tokio::sync::mpsc::Receiver;

use crate::app::{App, Errand};
use crate::feed::Heard;
use crate::look;

#[test]
fn every_page_is_drawn_in_every_language_theme_and_size_and_everything_has_a_name() {
    for language in [Language::English, Language::German] {
        for (theme, size) in [
            (egui::Theme::Light, LARGE),
            (egui::Theme::Dark, LARGE),
            (egui::Theme::Light, SMALL),
            (egui::Theme::Dark, SMALL),
        ] {
            for page in Page::ALL {
                for is_running in [true, false] {
                    let mut window = Window::open(language, theme, size);
                    if is_running {
                        window.say_everything();
                    }
                    if is_running && page == Page::Overview {
                        window.lock();
                    }
                    window.harness.state_mut().model.act(Act::Go(page));

                    // This also fails for what has no name for a screen reader.
                    window.harness.run();

                    let title = page.title(&Texts::new(language));
                    let headings = window.harness.query_all_by_role(Role::Heading);
                    let found = headings
                        .filter(|node| node.accesskit_node().label().as_deref() == Some(&title))
                        .count();
                    assert_eq!(found, 1, "{title}");
                }
            }
        }
    }
}

#[test]
fn nothing_is_wider_than_the_smallest_window() {
    for language in [Language::English, Language::German] {
        for page in Page::ALL {
            let mut window = Window::open(language, egui::Theme::Light, SMALL);
            window.say_everything();
            window.harness.state_mut().model.act(Act::Go(page));
            if page == Page::Overview {
                window.lock();
            }
            if page == Page::Resources {
                let request = Act::Request("payroll".into());
                window.harness.state_mut().model.act(request);
            }
            window.harness.run();

            for node in window.harness.root().children_recursive() {
                let Some(bounds) = node.accesskit_node().bounding_box() else {
                    continue;
                };
                assert!(
                    bounds.x1 <= f64::from(SMALL.x) + 1.0,
                    "{page:?}: {:?} ends at {}",
                    node.accesskit_node().label(),
                    bounds.x1
                );
            }
        }
    }
}

#[test]
fn keys_lead_to_each_page_into_the_search_and_back() {
    let mut window = Window::open(Language::English, egui::Theme::Light, LARGE);
    window.say_everything();
    window.harness.run();

    window
        .harness
        .key_press_modifiers(Modifiers::COMMAND, Key::Num2);
    window.harness.run();
    let page = window.model().page();
    window
        .harness
        .key_press_modifiers(Modifiers::COMMAND, Key::F);
    window.harness.run();
    window.harness.event(egui::Event::Text("payroll".into()));
    window.harness.run();
    let found = window.titles();
    window.harness.key_press(Key::Escape);
    window.harness.run();
    window.harness.key_press(Key::Escape);
    window.harness.run();

    assert_eq!(page, Page::Resources);
    assert_eq!(found, ["Payroll, refused"]);
    assert_eq!(window.titles().len(), 2);
}

#[test]
fn a_service_that_goes_and_comes_back_is_seen() {
    let mut window = Window::open(Language::English, egui::Theme::Dark, LARGE);
    window.harness.run();
    assert!(window.shows("The connector is not running"));

    window.say_everything();
    window.harness.run();
    assert!(window.shows("Connected"));

    window.hear(News::Snapshot(Snapshot::NotRunning));
    window.harness.run();
    assert!(window.shows("The connector is not running"));
    assert!(!window.shows("Connected"));
}

#[test]
fn what_is_pressed_goes_to_the_service_and_to_nobody_else() {
    let mut window = Window::open(Language::English, egui::Theme::Light, LARGE);
    window.say_everything();
    window
        .harness
        .state_mut()
        .model
        .act(Act::Go(Page::Diagnostics));
    window.harness.run();

    window.harness.get_by_label("Run checks").click();
    window.harness.run();

    assert_eq!(window.effects.try_recv(), Ok(Effect::Diagnose));
    assert!(window.effects.try_recv().is_err());
}

#[test]
fn a_reason_is_written_by_keyboard_alone() {
    let mut window = Window::open(Language::English, egui::Theme::Light, LARGE);
    window.say_everything();
    window.errand(Errand::Request("payroll".into()));
    window.harness.run();

    let field = window.harness.get_by_label("Why do you need it?");
    field.focus();
    window.harness.run();
    window.harness.event(egui::Event::Text("Pay day".into()));
    window.harness.run();
    window.harness.get_by_label("Ask for it").focus();
    window.harness.run();
    window.harness.key_press(Key::Enter);
    window.harness.run();

    let sent = format!("{:?}", window.effects.try_recv());
    assert!(
        sent.contains("payroll.corp.test") && sent.contains("Pay day"),
        "{sent}"
    );
}

#[test]
fn an_errand_waits_until_the_service_has_said_what_there_is() {
    let mut window = Window::open(Language::English, egui::Theme::Light, LARGE);
    window.errand(Errand::Resource("payroll.corp.test".into()));
    window.harness.run();
    assert_eq!(window.model().page(), Page::Overview);

    window.say_everything();
    window.harness.run();

    assert_eq!(window.model().page(), Page::Resources);
    assert!(window.shows("tcp/443"));
}

#[test]
fn an_errand_is_the_same_after_it_was_told_to_another_window() {
    for errand in [
        Errand::Open,
        Errand::Page(Page::Device),
        Errand::Request("a b".into()),
        Errand::Resource("wiki".into()),
        Errand::RunChecks,
    ] {
        assert_eq!(Errand::read(&errand.line()), Some(errand));
    }
    for line in ["", "page nowhere", "quit", "open it"] {
        assert_eq!(Errand::read(line), None, "{line}");
    }
}

#[test]
fn colours_follow_the_person_and_text_can_be_told_from_its_ground() {
    for theme in [egui::Theme::Light, egui::Theme::Dark] {
        let context = egui::Context::default();
        look::dress(&context, Theme::System);
        let visuals = &context.style_of(theme).visuals;
        for text in [visuals.text_color(), visuals.weak_text_color()] {
            let contrast = contrast(text, visuals.panel_fill);
            assert!(contrast >= 4.5, "{theme:?}: {contrast}");
        }
    }
    let context = egui::Context::default();
    look::dress(&context, Theme::Dark);
    assert_eq!(context.theme(), egui::Theme::Dark);
    look::choose(&context, Theme::Light);
    assert_eq!(context.theme(), egui::Theme::Light);
}

/// A window of which one can see and press everything, and a service that says what it is told to.
struct Window {
    harness: Harness<'static, App>,
    says: Sender<Heard>,
    effects: Receiver<Effect>,
}

impl Window {
    fn open(language: Language, theme: egui::Theme, size: Vec2) -> Self {
        let (says, heard) = channel();
        let (wanted, effects) = tokio::sync::mpsc::channel(8);
        let about = vec![("fact-window", "0.1.0".to_owned())];
        let model = Model::new(Preferences::default(), about);
        let app = App::new(
            model,
            Texts::new(language),
            heard,
            wanted,
            || CLOCK,
            Errand::Open,
        );
        let draw = |ui: &mut egui::Ui, app: &mut App| {
            app.hear(ui.ctx());
            app.draw(ui);
        };
        let preference = match theme {
            egui::Theme::Dark => Theme::Dark,
            egui::Theme::Light => Theme::Light,
        };
        let harness = Harness::builder()
            .with_size(size)
            .with_context_setup(move |context| look::dress(context, preference))
            .build_ui_state(draw, app);
        Self {
            harness,
            says,
            effects,
        }
    }

    fn model(&self) -> &Model {
        &self.harness.state().model
    }

    fn hear(&self, news: News) {
        self.says.send(Heard::News(news)).unwrap();
    }

    fn errand(&self, errand: Errand) {
        self.says.send(Heard::Errand(errand)).unwrap();
    }

    fn say_everything(&mut self) {
        self.hear(News::Snapshot(Snapshot::Running(Box::new(known()))));
        for second in 0..5 {
            self.hear(News::Time(second * 1000));
        }
        self.hear(News::Decision(Box::new(decision())));
        self.hear(News::Settings(vec![setting()]));
        self.hear(News::Diagnosis(Ok(Box::new(diagnosis()))));
        let long = Act::Write(Place::Reason, String::new());
        self.harness.state_mut().model.act(long);
    }

    /// Has the administrator lock it on, and the help desk asked for a code.
    fn lock(&mut self) {
        let mut locked = known();
        locked.status.managed = Some(serde_json::from_value(json!({
            "by": "Corp IT", "always_on": true, "pause_allowed": false, "reason_required": false,
            "tray_autostart": true, "changes": 0,
        })).unwrap());
        self.hear(News::Snapshot(Snapshot::Running(Box::new(locked))));
        self.harness.run();
        self.harness.state_mut().model.act(Act::Challenge);
        self.hear(News::Challenge(Ok(OverrideChallengeReport {
            device: "host-ds6bacEFk_YBqwlN9Kv6Sg".into(),
            challenge: "K7QF-9M2X-4TAB".into(),
            expires_at: "2026-11-22T10:15:00Z".into(),
            support: Some("https://help.corp.test".into()),
        })));
    }

    fn shows(&self, text: &str) -> bool {
        let mut nodes = self.harness.root().children_recursive();
        nodes.any(|node| {
            let node = node.accesskit_node();
            let is_said = |said: Option<String>| said.is_some_and(|said| said.contains(text));
            is_said(node.label()) || is_said(node.value())
        })
    }

    /// What the cards are called that can be opened.
    fn titles(&self) -> Vec<String> {
        let cards = self.harness.query_all_by_role(Role::DisclosureTriangle);
        cards
            .filter_map(|card| card.accesskit_node().label())
            .collect()
    }
}

fn known() -> Known {
    let status = json!({
        "standing": "restricted",
        "summary": {"message": "Connected."},
        "organisation": "Example Corp", "support": "https://help.corp.test",
        "identity": {
            "subject": "u-1", "name": "Alice", "email": null, "groups": [],
            "issuer": "https://idp.corp.test", "session_id": "s-1",
            "expires_at": "2026-11-22T18:00:00Z"
        },
        "trust_level": "high", "checks_unmet": 0,
        "tunnel": {"addresses": [], "open_flows": 3, "sites": [{"id": "hq", "gateways": [{
            "id": "hq-1", "endpoint": "192.0.2.1:51820", "state": "active",
            "last_handshake": null, "handshake_micros": 12_345,
            "rx_bytes": 1_000_000, "tx_bytes": 20_000
        }]}]},
        "proxy": {"listen": null, "pac_url": null},
        "control_plane": "https://control-plane.of.a.company.with.a.long.name.corp.test/ztna",
        "control_plane_reachable": true, "configuration_version": 17, "version": "0.1.0"
    });
    let mut status = serde_json::from_value::<connector_ipc::Status>(status).unwrap();
    status.standing = connector_ipc::Standing::Connected;
    let resource = |id: &str, title: &str, state: &str| {
        json!({
            "id": id, "title": title, "names": [format!("{id}.corp.test")],
            "ports": ["tcp/443"], "site": "hq", "state": state
        })
    };
    let mut known = Known::new(status);
    known.resources = serde_json::from_value(json!([
        resource("wiki", "The wiki", "permitted"),
        resource("payroll", "Payroll", "denied"),
    ]))
    .unwrap();
    known.posture = serde_json::from_value(json!({"trust_level": "low", "checks": [{
        "id": "disk", "title": "The disk is encrypted", "finding": "fail",
        "evidence": "sda1 is not", "remedy": "Encrypt it.", "measured_at": "2026-11-22T09:00:00Z"
    }]}))
    .unwrap();
    known
}

fn decision() -> DecisionReport {
    serde_json::from_value(json!({
        "id": "d-1", "time": "2026-11-22T09:59:00Z", "target": "payroll.corp.test:443",
        "resource": "payroll", "outcome": "denied", "reason": "policy",
        "message": "The policy says no.", "remedy": "Ask Bob.",
        "workload": {"path": "/usr/lib/a-program-with-a-long-name/its-browser", "user": 1000},
        "subject": "u-1", "decided_by": "pdp", "latency_micros": 1234, "count": 2,
        "is_mixed": false
    }))
    .unwrap()
}

fn setting() -> SettingReport {
    SettingReport {
        key: "control_plane.url".into(),
        value: "\"https://control-plane.of.a.company.with.a.long.name.corp.test/ztna\"".into(),
        origin: "/etc/ztna/config.toml".into(),
        locked: true,
        description: "Where the company's control plane is".into(),
    }
}

fn diagnosis() -> DiagnosisReport {
    serde_json::from_value(json!({
        "examined": [{
            "code": "clock", "is_network": true, "condition": "problem",
            "title": "The clock", "finding": "It is an hour late.", "cure": "Set it."
        }],
        "network": {"gateways": []}
    }))
    .unwrap()
}

/// Contrast as WCAG 2 reckons it.
fn contrast(a: egui::Color32, b: egui::Color32) -> f32 {
    let light = |colour: egui::Color32| {
        let [red, green, blue, _] = egui::Rgba::from(colour).to_array();
        0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05
    };
    let (a, b) = (light(a), light(b));
    a.max(b) / a.min(b)
}

const LARGE: Vec2 = Vec2::new(960.0, 680.0);

/// 640 by 480 at 200 %.
const SMALL: Vec2 = Vec2::new(320.0, 240.0);

/// 2026-11-22 10:00 in UTC.
const CLOCK: Clock = Clock {
    now: 1_795_341_600,
    ahead: 3600,
};
