use connector_ipc::{
    AccessReport, AccessRequestStatus, Condition, DiagnosisReport, ExaminedReport, Finding,
    ManagedReport, NetworkReport, Outcome, OverrideChallengeReport, ResourceState, SettingReport,
    Standing,
};

use super::*;
use crate::preferences::Preferences;
use crate::sample::{
    CLOCK, connected, managed, refusal, request, resource, signed_out, standing, unmet,
};
use crate::texts::Language;
use crate::view::{Break, Known, Snapshot};

#[test]
fn without_a_service_every_page_says_so_and_none_claims_to_know_anything() {
    for page in Page::ALL {
        let mut model = empty_model();
        model.act(Act::Go(page));

        let text = words(&model);

        let is_said = text.contains("is not running") || text.contains("while it runs");
        let needs_none = matches!(page, Page::About | Page::Help);
        assert!(is_said || needs_none, "{page:?}: {text}");
        assert!(!text.contains("Alice"), "{page:?}");
    }
}

#[test]
fn what_the_administrator_has_locked_is_shown_as_theirs_and_is_not_switched_off_by_a_press() {
    let mut known = connected();
    known.status.managed = Some(ManagedReport {
        by: "Corp IT".into(),
        always_on: true,
        pause_allowed: false,
        reason_required: false,
        pause_limit: None,
        tray_autostart: true,
        update_channel: None,
        changes: 0,
        problem: None,
    });
    let mut model = knowing(known);

    let overview = words(&model);
    let pause = buttons(&blocks(&model, &english(), CLOCK));
    model.act(Act::Go(Page::Settings));
    model.hear(News::Settings(vec![SettingReport {
        locked: true,
        ..setting("proxy.listen")
    }]));
    let settings = words(&model);

    assert!(overview.contains("Managed by Corp IT"), "{overview}");
    assert!(
        overview.contains("the help desk can give you a code"),
        "{overview}"
    );
    let pauses = |button: &Button| matches!(button.act, Act::Choose(Action::Pause { .. }));
    assert!(!pause.iter().any(pauses), "{pause:?}");
    assert!(settings.contains("Managed by Corp IT"), "{settings}");
}

#[test]
fn a_service_that_goes_takes_what_it_said_along_and_one_that_comes_back_says_it_anew() {
    let mut model = knowing(connected());
    model.hear(News::Decision(Box::new(refusal(
        "d-1",
        "wiki.corp.test:80",
    ))));
    model.hear(News::Settings(vec![setting("proxy.listen")]));
    let before = words(&model);

    model.hear(News::Snapshot(Snapshot::NotRunning));
    let gone = words(&model);
    model.hear(News::Snapshot(Snapshot::Running(Box::new(connected()))));

    assert!(before.contains("Connected\n"));
    assert!(gone.starts_with("The connector is not running"));
    assert_eq!(words(&model), before);
    for page in [Page::Decisions, Page::Settings] {
        model.act(Act::Go(page));
        let text = words(&model);
        assert!(!text.contains("wiki.corp.test") && !text.contains("proxy.listen"));
    }
}

#[test]
fn whoever_is_signed_in_can_extend_pause_and_sign_out_and_whoever_is_not_can_sign_in() {
    let labels = |known: Known| -> Vec<String> {
        let model = knowing(known);
        let blocks = blocks(&model, &english(), CLOCK);
        buttons(&blocks)
            .into_iter()
            .map(|button| button.name)
            .collect()
    };

    assert_eq!(
        labels(connected()),
        [
            "Sign in again to extend it",
            "Sign out",
            "Switch off: For 15 minutes",
            "Switch off: For one hour",
            "Switch off: Until tomorrow morning",
            "Switch off: Until I switch it on",
        ]
    );
    assert_eq!(labels(signed_out()), ["Sign in…"]);
    assert!(labels(standing(Standing::Paused)).contains(&"Switch on".to_owned()));
    assert!(labels(standing(Standing::Degraded)).contains(&"Look for the cause".to_owned()));
}

#[test]
fn applications_are_grouped_with_favourites_first_and_found_by_any_of_their_names() {
    let mut known = connected();
    known.resources = vec![
        resource("wiki", ResourceState::Permitted),
        resource("payroll", ResourceState::Denied),
    ];
    known.resources[0].site = "lab".into();
    let mut model = knowing(known);
    model.act(Act::Go(Page::Resources));
    model.act(Act::Favour("payroll".into()));

    assert_eq!(headings(&model), ["Favourites", "lab"]);
    assert_eq!(
        cards(&model),
        ["The payroll – refused", "The wiki – open to you"]
    );
    model.act(Act::Write(Place::Resources, " WIKI.corp ".into()));
    assert_eq!(cards(&model), ["The wiki – open to you"]);
    model.act(Act::Write(Place::Resources, "nowhere".into()));
    assert!(words(&model).contains("Nothing fits"));
    model.step_back();
    assert_eq!(cards(&model).len(), 2);
}

#[test]
fn a_reason_that_is_asked_for_goes_along_with_switching_off() {
    let mut known = connected();
    known.status.managed = Some(ManagedReport {
        always_on: false,
        pause_allowed: true,
        reason_required: true,
        ..managed()
    });
    let mut model = knowing(known.clone());

    let without = pressed(&model, "For one hour").hindrance;
    model.act(Act::Write(Place::PauseReason, " Hotel\n network ".into()));
    let button = pressed(&model, "For one hour");
    let sent = model.act(button.act);

    assert_eq!(without.as_deref(), Some("Say why first."));
    assert_eq!(button.hindrance, None);
    assert_eq!(
        sent,
        Some(Effect::Choose(Action::Pause {
            length: Break::For(3600),
            reason: Some("Hotel network".into()),
        }))
    );
    // Nothing is lost where it fails, and the next time asks anew.
    assert_eq!(pressed(&model, "For one hour").hindrance, None);
    for standing in [Standing::Paused, Standing::Connected] {
        known.status.standing = standing;
        let snapshot = Snapshot::Running(Box::new(known.clone()));
        model.hear(News::Snapshot(snapshot));
    }
    assert!(pressed(&model, "For one hour").hindrance.is_some());
}

#[test]
fn a_code_of_the_help_desk_switches_off_what_is_locked_also_for_nobody() {
    for mut known in [connected(), signed_out()] {
        known.status.managed = Some(managed());
        let mut model = knowing(known);
        let challenge = OverrideChallengeReport {
            device: "host-1".into(),
            challenge: "K7QF-9M2X-4TAB".into(),
            expires_at: "2026-11-22T10:15:00Z".into(),
            support: Some("help@corp.test".into()),
        };

        let asked = model.act(pressed(&model, "Ask for a code…").act);
        model.hear(News::Challenge(Ok(challenge)));
        let form = words(&model);
        let nothing = pressed(&model, "Switch off with this code").hindrance;
        model.act(Act::Write(Place::Code, " eyJ\nhbG ".into()));
        let no_reason = pressed(&model, "Switch off with this code").hindrance;
        model.act(Act::Write(Place::PauseReason, "Hotel".into()));
        let button = pressed(&model, "Switch off with this code");
        let sent = model.act(button.act);

        assert_eq!(asked, Some(Effect::Challenge));
        for said in ["host-1", "K7QF-9M2X-4TAB", "help@corp.test"] {
            assert!(form.contains(said), "{form}");
        }
        assert_eq!(nothing.as_deref(), Some("Paste the code first."));
        assert_eq!(no_reason.as_deref(), Some("Say why first."));
        assert_eq!(button.hindrance, None);
        assert_eq!(
            sent,
            Some(Effect::Choose(Action::RedeemCode {
                code: "eyJhbG".into(),
                reason: "Hotel".into(),
            }))
        );
        assert!(words(&model).contains("K7QF"), "nothing is lost");
    }
}

#[test]
fn a_challenge_that_has_lapsed_is_asked_for_anew() {
    let mut known = connected();
    known.status.managed = Some(managed());
    let mut model = knowing(known);
    model.act(Act::Challenge);
    model.hear(News::Challenge(Ok(OverrideChallengeReport {
        device: "host-1".into(),
        challenge: "K7QF-9M2X-4TAB".into(),
        expires_at: "2020-01-01T00:00:00Z".into(),
        support: None,
    })));

    assert!(!words(&model).contains("K7QF"), "{}", words(&model));
    assert_eq!(pressed(&model, "Ask for a code…").act, Act::Challenge);
}

#[test]
fn a_challenge_that_comes_late_opens_no_form_that_was_left() {
    let mut known = connected();
    known.status.managed = Some(managed());
    let mut model = knowing(known);
    model.act(Act::Challenge);
    model.hear(News::Challenge(Err("No answer.".into())));
    let failed = words(&model);
    model.act(Act::Challenge);
    model.act(Act::LeaveLock);
    model.hear(News::Challenge(Err("Too late.".into())));

    assert!(failed.contains("No answer."), "{failed}");
    assert!(!words(&model).contains("Too late."));
}

#[test]
fn a_request_is_sent_with_its_reason_and_length_and_not_without_a_reason() {
    let mut known = connected();
    known.resources = vec![resource("payroll", ResourceState::Denied)];
    let mut model = knowing(known);
    model.show_resource("payroll.corp.test", true);
    model.act(Act::Write(Place::Reason, "  ".into()));

    let without_reason = model.act(Act::SendRequest);
    let hindrance = pressed(&model, "Ask for it").hindrance;
    model.act(Act::Write(Place::Reason, " Pay\n day ".into()));
    let is_free = pressed(&model, "Ask for it").hindrance.is_none();
    model.act(Act::Length(8 * 3600));
    let sent = model.act(Act::SendRequest);

    assert_eq!(without_reason, None);
    assert_eq!(hindrance.as_deref(), Some("Say why first."));
    assert!(is_free);
    assert_eq!(
        sent,
        Some(Effect::Choose(Action::RequestAccess {
            host: "payroll.corp.test".into(),
            port: None,
            reason: "Pay day".into(),
            seconds: 8 * 3600,
        }))
    );
    assert_eq!(model.act(Act::SendRequest), None);
}

#[test]
fn what_stands_for_many_names_can_be_shown_but_neither_asked_about_nor_requested() {
    let mut known = connected();
    let mut wide = resource("all", ResourceState::Denied);
    wide.names = vec!["*.corp.test".into()];
    known.resources = vec![wide];
    let mut model = knowing(known);
    model.act(Act::Go(Page::Resources));

    assert_eq!(model.act(Act::Why("all".into())), None);
    for label in ["Why?", "Ask for access…"] {
        assert!(pressed(&model, label).hindrance.is_some(), "{label}");
    }
}

#[test]
fn why_is_answered_in_the_card_that_asked_and_a_late_answer_is_dropped() {
    let mut model = knowing(connected());
    model.act(Act::Go(Page::Resources));
    let asked = model.act(Act::Why("wiki".into()));
    model.hear(News::Access("other".into(), Ok(Box::new(access()))));
    let awaited = words(&model);
    model.hear(News::Access("wiki".into(), Ok(Box::new(access()))));
    let answered = words(&model);
    model.act(Act::Fold("wiki".into()));
    model.hear(News::Access("wiki".into(), Ok(Box::new(access()))));

    let host = "wiki.corp.test".to_owned();
    let id = "wiki".to_owned();
    assert_eq!(asked, Some(Effect::Why { id, host }));
    assert!(awaited.contains("Asking…"));
    assert!(answered.contains("The policy says no.") && answered.contains("Ask Bob."));
    assert!(!words(&model).contains("The policy says no."));
}

#[test]
fn checks_that_do_not_pass_come_first_and_say_what_to_do() {
    let mut model = knowing(unmet(&[Finding::Pass, Finding::Unknown, Finding::Fail]));
    model.act(Act::Go(Page::Device));

    assert_eq!(
        cards(&model),
        [
            "Check 2 passes – does not pass",
            "Check 1 passes – could not be measured",
            "Check 0 passes – passes",
        ]
    );
    let text = words(&model);
    assert!(text.contains("2 checks of this device do not pass."));
    assert!(text.contains("What to do: Mend 2.") && !text.contains("Mend 0."));
}

#[test]
fn decisions_are_filtered_held_and_explained() {
    let mut model = knowing(connected());
    let mut permitted = refusal("d-1", "wiki.corp.test:80");
    permitted.outcome = Outcome::Permitted;
    model.hear(News::Decision(Box::new(permitted)));
    model.hear(News::Decision(Box::new(refusal(
        "d-2",
        "payroll.corp.test:80",
    ))));
    model.act(Act::Go(Page::Decisions));

    let all = cards(&model);
    model.act(Act::Filter(Filter::Refused));
    let refused = cards(&model);
    model.act(Act::Follow(false));
    model.hear(News::Decision(Box::new(refusal(
        "d-3",
        "mail.corp.test:25",
    ))));
    let held = cards(&model);
    model.act(Act::Follow(true));
    let followed = cards(&model);
    model.act(Act::Fold("d-2".into()));

    assert_eq!(
        all,
        [
            "payroll.corp.test:80 – refused",
            "wiki.corp.test:80 – allowed"
        ]
    );
    assert_eq!(refused, all[..1]);
    assert_eq!(held, refused);
    assert_eq!(followed.len(), 2);
    let text = words(&model);
    assert!(text.contains("10:59:00 · Asked for by curl"));
    assert!(text.contains("The policy says no.") && text.contains("Decided by"));
}

#[test]
fn decisions_have_an_end() {
    let mut model = knowing(connected());
    model.act(Act::Go(Page::Decisions));
    for number in 0..2000 {
        let decision = refusal(&format!("d-{number}"), "wiki.corp.test:80");
        model.hear(News::Decision(Box::new(decision)));
    }

    assert_eq!(model.decisions.len(), 500);
    assert_eq!(cards(&model).len(), 100);
    assert!(words(&model).contains("400 more: ztna decisions"));
}

#[test]
fn what_is_wrong_comes_first_with_its_cure_and_a_second_run_waits_for_the_first() {
    let mut model = knowing(connected());
    model.act(Act::Go(Page::Diagnostics));
    let effect = model.act(Act::Diagnose);
    let hindrance = pressed(&model, "Run checks").hindrance;
    model.hear(News::Diagnosis(Ok(Box::new(diagnosis()))));

    assert_eq!(effect, Some(Effect::Diagnose));
    assert_eq!(hindrance.as_deref(), Some("Looking…"));
    assert_eq!(cards(&model), ["The clock – problem", "The service – fine"]);
    assert!(words(&model).contains("What to do: Set it."));
}

#[test]
fn a_bundle_is_written_by_the_command_or_the_command_is_named() {
    let mut model = empty_model();
    model.act(Act::Go(Page::Diagnostics));
    let effect = model.act(Act::Bundle { anonymized: true });
    model.hear(News::Bundle(Err(None)));
    let missing = words(&model);
    model.hear(News::Bundle(Err(Some("disk full".into()))));
    let failed = words(&model);
    model.hear(News::Bundle(Ok("/home/a/ztna-debug-1.tar".into())));

    assert_eq!(effect, Some(Effect::Bundle { anonymized: true }));
    assert!(missing.contains("ztna debug bundle"));
    assert!(failed.contains("disk full"));
    assert!(words(&model).contains("Written to /home/a/ztna-debug-1.tar"));
}

#[test]
fn each_setting_says_where_it_comes_from() {
    let mut model = knowing(connected());
    model.act(Act::Go(Page::Settings));
    model.hear(News::Settings(vec![
        setting("proxy.listen"),
        setting("log.level"),
    ]));
    model.act(Act::Write(Place::Settings, "proxy".into()));

    assert_eq!(cards(&model), ["proxy.listen – set"]);
    assert!(words(&model).contains("From /etc/ztna/config.toml"));
}

#[test]
fn what_was_asked_for_is_seen_on_the_first_page() {
    let mut known = connected();
    known.requests = vec![request("r-1", AccessRequestStatus::Pending)];

    assert!(words(&knowing(known)).contains("The wiki: you asked, nobody has answered yet"));
}

#[test]
fn nothing_that_is_written_or_said_grows_without_end_or_steers_how_it_is_shown() {
    let mut known = connected();
    known.resources[0].title = format!("\u{202e}{}", "long ".repeat(10_000));
    let mut model = knowing(known);
    model.act(Act::Go(Page::Resources));
    model.act(Act::Request("wiki".into()));
    model.act(Act::Write(Place::Reason, "x".repeat(1_000_000)));

    assert!(words(&model).len() < 4000);
    assert!(!words(&model).contains('\u{202e}'));
    assert_eq!(model.reason.len(), 300);
}

#[test]
fn every_button_has_a_name_of_its_own_on_its_page_in_every_language() {
    for language in [Language::English, Language::German] {
        for page in Page::ALL {
            let mut model = knowing(unmet(&[Finding::Fail]));
            model.act(Act::Go(page));
            let blocks = blocks(&model, &Texts::new(language), CLOCK);
            let mut names: Vec<String> = buttons(&blocks)
                .into_iter()
                .map(|button| button.name)
                .collect();
            let all = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), all, "{page:?}");
        }
    }
}

#[test]
fn pages_are_found_by_the_names_that_they_have() {
    for page in Page::ALL {
        assert_eq!(Page::named(page.name()), Some(page));
    }
    assert_eq!(Page::named("nowhere"), None);
}

fn empty_model() -> Model {
    Model::new(
        Preferences::default(),
        vec![("fact-window", "0.1.0".into())],
    )
}

fn knowing(known: Known) -> Model {
    let mut model = empty_model();
    model.hear(News::Snapshot(Snapshot::Running(Box::new(known))));
    model
}

fn english() -> Texts {
    Texts::new(Language::English)
}

fn setting(key: &str) -> SettingReport {
    SettingReport {
        key: key.into(),
        value: "\"127.0.0.1:7080\"".into(),
        origin: "/etc/ztna/config.toml".into(),
        locked: false,
        description: "Where the local proxy listens".into(),
    }
}

fn access() -> AccessReport {
    AccessReport {
        decision: refusal("d-9", "wiki.corp.test:80"),
        title: Some("The wiki".into()),
        site: Some("hq".into()),
        is_site_silent: false,
        lease_seconds: None,
        checks_unmet: Vec::new(),
        last_refused: None,
    }
}

fn diagnosis() -> DiagnosisReport {
    let one = |code: &str, condition, cure: Option<&str>| ExaminedReport {
        code: code.into(),
        is_network: false,
        condition,
        title: format!("The {code}"),
        finding: "seen".into(),
        cure: cure.map(Into::into),
    };
    DiagnosisReport {
        examined: vec![
            one("service", Condition::Good, None),
            one("clock", Condition::Problem, Some("Set it.")),
        ],
        network: NetworkReport::default(),
    }
}

fn headings(model: &Model) -> Vec<String> {
    let blocks = blocks(model, &english(), CLOCK);
    let headings = blocks.into_iter().filter_map(|block| {
        let Block::Heading(text) = block else {
            return None;
        };
        Some(text.split(" – ").next().unwrap_or_default().to_owned())
    });
    headings.collect()
}

fn cards(model: &Model) -> Vec<String> {
    let blocks = blocks(model, &english(), CLOCK);
    let cards = blocks.into_iter().filter_map(|block| {
        let Block::Card(card) = block else {
            return None;
        };
        Some(format!("{} – {}", card.title, card.word))
    });
    cards.collect()
}

fn pressed(model: &Model, label: &str) -> Button {
    let all = buttons(&blocks(model, &english(), CLOCK));
    all.into_iter()
        .find(|button| button.label == label)
        .unwrap()
}

fn buttons(blocks: &[Block]) -> Vec<Button> {
    let of = |block: &Block| match block {
        Block::Buttons(buttons) => buttons.clone(),
        Block::Card(card) => [card.buttons.clone(), buttons(&card.inside)].concat(),
        Block::Choice(_)
        | Block::Facts(_)
        | Block::Field(_)
        | Block::Graph(_)
        | Block::Heading(_)
        | Block::Standing { .. }
        | Block::Text(_) => Vec::new(),
    };
    blocks.iter().flat_map(of).collect()
}

/// Everything that can be read on the page that the person is at.
fn words(model: &Model) -> String {
    let mut lines = Vec::new();
    read(&blocks(model, &english(), CLOCK), &mut lines);
    lines.join("\n")
}

fn read(blocks: &[Block], lines: &mut Vec<String>) {
    for block in blocks {
        match block {
            Block::Card(card) => {
                lines.push(card.title.clone());
                lines.extend(card.lines.clone());
                read(&card.inside, lines);
            }
            Block::Facts(facts) => {
                lines.extend(facts.iter().map(|(name, value)| format!("{name}: {value}")));
            }
            Block::Graph(graph) => lines.push(graph.label.clone()),
            Block::Heading(text) | Block::Text(text) => lines.push(text.clone()),
            Block::Standing {
                headline, details, ..
            } => {
                lines.push(headline.clone());
                lines.extend(details.clone());
            }
            Block::Buttons(_) | Block::Choice(_) | Block::Field(_) => {}
        }
    }
}
