use std::collections::BTreeSet;

use connector_ipc::{
    AccessRequestStatus, BehindReport, Finding, GatewayState, InterceptionReport, ManagedReport,
    RecordsReport, ResourceState, Standing,
};

use super::*;
use crate::sample::{
    CLOCK, connected, managed, refusal, request, resource, signed_out, site, standing, unmet,
};
use crate::texts::Language;

#[test]
fn a_connected_device_shows_everything_a_person_can_do() {
    assert_eq!(
        lines(&connected()),
        [
            "Connected",
            "Example Corp",
            "---",
            "[open-window] Open the window…",
            "Signed in as Alice",
            "Ends in 8 hours",
            "[extend] Sign in again to extend it",
            "[sign-out] Sign out",
            "Switch off >",
            "  [pause-quarter] For 15 minutes",
            "  [pause-hour] For one hour",
            "  [pause-tomorrow] Until tomorrow morning",
            "  [pause-on-demand] Until I switch it on",
            "---",
            "Applications >",
            "  The wiki – open to you >",
            "    wiki.corp.test",
            "    tcp/80, tcp/443",
            "    [open-wiki] Open in the browser",
            "    [show-wiki] Copy its address, and more…",
            "This device: all in order >",
            "  Every check passes",
            "  [check-again] Check again",
            "Help >",
            "  [help-guide] Documentation…",
            "  [help-check] Run checks…",
            "  [help-bundle] Create a file for your support…",
            "  [support] Support: https://help.corp.test",
            "  In a terminal: ztna status, ztna why",
            "  Version 0.1.0",
            "---",
            "[quit] Remove this icon (the connector goes on)",
        ]
    );
}

#[test]
fn what_the_administrator_locks_is_seen_with_whose_word_it_is_and_the_way_out() {
    let mut locked = connected();
    locked.status.managed = Some(managed());
    let mut reason = connected();
    reason.status.managed = Some(ManagedReport {
        always_on: false,
        pause_allowed: true,
        reason_required: true,
        ..managed()
    });
    let mut open = connected();
    open.status.managed = Some(ManagedReport {
        always_on: false,
        pause_allowed: true,
        ..managed()
    });

    let text = lines(&locked).join("\n");
    assert!(
        text.contains("Switch off (locked) >\n  Managed by Corp IT\n"),
        "{text}"
    );
    assert!(text.contains("[pause-locked] Ask for a code…"), "{text}");
    let text = lines(&reason).join("\n");
    assert!(text.contains("[pause-locked] Give a reason…"), "{text}");
    for known in [&locked, &reason] {
        let menu = menu(&running(known.clone()), &BTreeSet::new(), &english(), CLOCK);
        let pauses = |(_, action): &(String, Action)| matches!(action, Action::Pause { .. });
        assert!(!actions(&menu).iter().any(pauses));
    }
    assert_eq!(lines(&open), lines(&connected()));
}

#[test]
fn breaks_are_as_long_as_the_administrator_lets_them_be() {
    let limited = |minutes| {
        let mut known = connected();
        known.status.managed = Some(ManagedReport {
            always_on: false,
            pause_allowed: true,
            pause_limit: Some(minutes),
            ..managed()
        });
        lines(&known).join("\n")
    };

    let (short, hour) = (limited(10), limited(60));

    assert!(
        short.contains(
            "Switch off >\n  At most 10 minutes: managed by Corp IT\n  [pause-longest] For 10 minutes\n"
        ),
        "{short}"
    );
    assert!(!short.contains("pause-quarter") && !short.contains("pause-on-demand"));
    assert!(hour.contains("[pause-quarter]") && hour.contains("[pause-longest] For 60 minutes"));
    assert!(
        !hour.contains("[pause-hour]") && !hour.contains("pause-tomorrow"),
        "{hour}"
    );
}

#[test]
fn each_state_says_in_words_what_is_the_case_and_what_holds() {
    let mut offline = connected();
    offline.status.control_plane_reachable = false;
    let mut silent = connected();
    let other = site("lab", GatewayState::Down);
    silent.status.tunnel.sites.push(other);
    let mut paused = standing(Standing::Paused);
    paused.status.paused_until = Some("2026-11-22T10:15:00Z".into());
    let mut blocked = unmet(&[Finding::Fail]);
    blocked.resources = vec![resource("wiki", ResourceState::Denied)];
    let mut starting = signed_out();
    starting.status.standing = Standing::Starting;
    starting.status.summary.message = "Waiting for the configuration.".into();

    for (known, state, detail) in [
        (connected(), "Connected", None),
        (standing(Standing::Connecting), "Connecting…", None),
        (
            standing(Standing::Degraded),
            "Blocked: your company's network does not answer",
            Some("It is tried again all the time. Check your network."),
        ),
        (
            blocked,
            "Blocked: this device does not meet the rules",
            Some("One check of this device does not pass."),
        ),
        (
            unmet(&[Finding::Fail, Finding::Unknown, Finding::Pass]),
            "Connected, with restrictions",
            Some("2 checks of this device do not pass."),
        ),
        (
            offline,
            "Connected, but your company's server cannot be reached",
            Some("What was agreed last holds for another 24 hours."),
        ),
        (
            paused,
            "Switched off",
            Some("It switches itself on at 11:15."),
        ),
        (
            standing(Standing::Paused),
            "Switched off",
            Some("Protected applications cannot be reached until you switch it on."),
        ),
        (
            silent,
            "Connected, with a warning",
            Some("“lab” does not answer."),
        ),
        (signed_out(), "Signed out", None),
        (
            standing(Standing::SigningIn),
            "Waiting for you to sign in",
            Some("Go on in your browser."),
        ),
        (
            starting,
            "Starting…",
            Some("Waiting for the configuration."),
        ),
    ] {
        let header = menu(&running(known), &BTreeSet::new(), &english(), CLOCK).header;
        assert_eq!(header[0], state);
        assert_eq!(header.get(2).map(String::as_str), detail, "{state}");
    }
}

#[test]
fn a_device_that_is_restricted_shows_what_else_is_wrong() {
    let mut known = unmet(&[Finding::Fail]);
    known.status.control_plane_reachable = false;
    known.status.configuration_expires_at = Some("2026-11-23T10:00:00Z".into());
    known
        .status
        .tunnel
        .sites
        .push(site("lab", GatewayState::Down));

    let header = menu(&running(known), &BTreeSet::new(), &english(), CLOCK).header;

    assert_eq!(header[0], "Connected, with restrictions");
    assert_eq!(
        header[2..],
        [
            "One check of this device does not pass.",
            "Your company's server cannot be reached. What was agreed last holds for another 24 hours.",
            "“lab” does not answer.",
        ]
    );
}

#[test]
fn without_a_service_there_is_nothing_to_choose_but_the_window_help_and_to_leave() {
    let menu = menu(&Snapshot::NotRunning, &BTreeSet::new(), &english(), CLOCK);

    assert_eq!(menu.header[0], "The connector is not running");
    assert_eq!(menu.header.len(), 2, "and what to do");
    assert!(menu.needs_attention);
    assert_eq!(
        actions(&menu),
        [
            ("open-window".to_owned(), Action::OpenWindow(Goal::Overview)),
            ("help-guide".to_owned(), Action::OpenWindow(Goal::Help)),
            ("quit".to_owned(), Action::Quit)
        ]
    );
}

#[test]
fn nothing_is_called_connected_while_no_gateway_carries_packets() {
    let standings = [
        Standing::Connected,
        Standing::Connecting,
        Standing::Degraded,
        Standing::Paused,
        Standing::Restricted,
        Standing::SignedOut,
        Standing::SigningIn,
        Standing::Starting,
    ];
    let states = [
        None,
        Some(GatewayState::Active),
        Some(GatewayState::Connecting),
        Some(GatewayState::Down),
        Some(GatewayState::Standby),
    ];
    let mut connected_at_all = 0;
    for (said, first, second) in standings
        .into_iter()
        .flat_map(|one| states.map(|first| (one, first)))
        .flat_map(|(one, first)| states.map(|second| (one, first, second)))
    {
        for facts in 0..8 {
            let mut known = standing(said);
            let sites = [first, second].into_iter().flatten();
            known.status.tunnel.sites = sites.map(|state| site("x", state)).collect();
            known.status.checks_unmet = usize::from(facts & 1 != 0);
            known.status.control_plane_reachable = facts & 2 != 0;
            if facts & 4 != 0 {
                known.resources.clear();
            }

            let state = State::of(&running(known));

            let carries = [first, second].contains(&Some(GatewayState::Active));
            let may = carries && matches!(said, Standing::Connected | Standing::Restricted);
            assert_eq!(
                state.is_connected(),
                may,
                "{said:?} {first:?} {second:?}: {state:?}"
            );
            connected_at_all += usize::from(may);
        }
    }
    assert!(connected_at_all > 0);
    assert!(!State::of(&Snapshot::NotRunning).is_connected());
}

#[test]
fn every_state_looks_different_unless_it_means_the_same_to_people() {
    let mut seen = std::collections::BTreeMap::new();
    for state in ALL {
        let shape = format!("{:?}", state.icon().shape);
        seen.entry(shape).or_insert_with(Vec::new).push(state);
    }

    let shared: Vec<_> = seen
        .into_values()
        .filter(|states| states.len() > 1)
        .collect();
    assert_eq!(
        shared,
        [
            vec![State::BlockedByDevice, State::BlockedByNetwork],
            vec![State::Connecting, State::Starting],
            vec![State::InUse, State::SignedOut],
        ]
    );
}

#[test]
fn whoever_is_signed_out_can_sign_in_and_nothing_else_about_access() {
    let menu = menu(&running(signed_out()), &BTreeSet::new(), &english(), CLOCK);

    let ids: Vec<String> = actions(&menu).into_iter().map(|(id, _)| id).collect();
    assert_eq!(
        ids,
        [
            "open-window",
            "sign-in",
            "check-again",
            "help-guide",
            "help-check",
            "help-bundle",
            "support",
            "quit"
        ]
    );
    assert!(menu.needs_attention);
}

#[test]
fn nobody_can_sign_in_before_there_is_a_configuration() {
    let mut known = signed_out();
    known.status.standing = Standing::Starting;

    let menu = menu(&running(known), &BTreeSet::new(), &english(), CLOCK);

    assert!(actions(&menu).iter().all(|(id, _)| id != "sign-in"));
}

#[test]
fn what_is_switched_off_can_be_switched_on() {
    let menu = menu(
        &running(standing(Standing::Paused)),
        &BTreeSet::new(),
        &english(),
        CLOCK,
    );

    assert!(actions(&menu).contains(&("connect".to_owned(), Action::Connect)));
    assert!(
        actions(&menu)
            .iter()
            .all(|(id, _)| !id.starts_with("pause"))
    );
}

#[test]
fn a_failing_check_says_what_was_seen_and_how_to_mend_it() {
    let lines = lines(&unmet(&[Finding::Pass, Finding::Fail, Finding::Unknown]));

    let at = lines
        .iter()
        .position(|line| line.starts_with("This device"));
    assert_eq!(
        lines[at.unwrap()..][..8],
        [
            "This device: 2 things to mend >",
            "  ✗ Check 1 passes >",
            "    seen",
            "    What to do: Mend 1.",
            "  ? Check 2 passes >",
            "    seen",
            "    What to do: Mend 2.",
            "  [check-again] Check again",
        ]
    );
}

#[test]
fn a_refusal_says_what_which_program_why_and_what_to_do_and_each_target_is_there_once() {
    let mut known = connected();
    known.refused = vec![
        refusal("d-1", "wiki.corp.test:80"),
        refusal("d-2", "wiki.corp.test:80"),
    ];

    let lines = lines(&known);

    let at = lines.iter().position(|line| line == "Recently refused >");
    assert_eq!(
        lines[at.unwrap() + 1..][..4],
        [
            "  wiki.corp.test:80 >",
            "    The policy says no.",
            "    Asked for by curl",
            "    What to do: Ask Bob.",
        ]
    );
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.contains("wiki.corp.test:80"))
            .count(),
        1
    );
}

#[test]
fn access_can_be_asked_for_where_somebody_can_grant_it_and_only_once() {
    let mut known = connected();
    known.refused = vec![refusal("d-1", "wiki.corp.test:80")];
    known.refused[0].said.requestable = Some("Bob".into());

    let before = actions(&menu(
        &running(known.clone()),
        &BTreeSet::new(),
        &english(),
        CLOCK,
    ));
    known.requests = vec![request("r-1", AccessRequestStatus::Pending)];
    let after = actions(&menu(&running(known), &BTreeSet::new(), &english(), CLOCK));

    assert!(before.contains(&(
        "request-hour-d-1".into(),
        Action::RequestAccess {
            host: "wiki.corp.test".into(),
            port: Some(80),
            reason: "Asked for in the menu, where no reason can be given".into(),
            seconds: 3600,
        }
    )));
    assert!(after.iter().all(|(id, _)| !id.starts_with("request")));
}

#[test]
fn favourites_come_before_the_networks() {
    let mut known = connected();
    known.resources = vec![
        resource("mail", ResourceState::Undecided),
        resource("wiki", ResourceState::Denied),
    ];
    let favourites = BTreeSet::from(["wiki".to_owned()]);

    let menu = menu(&running(known), &favourites, &english(), CLOCK);

    let resources = menu.entries.iter().find_map(|entry| match entry {
        Entry::Submenu { id, entries, .. } if id == "resources" => Some(entries),
        Entry::Item(_) | Entry::Separator | Entry::Submenu { .. } | Entry::Text(_) => None,
    });
    let [
        Entry::Submenu { id: first, .. },
        Entry::Separator,
        Entry::Submenu { id: other, .. },
    ] = resources.unwrap().as_slice()
    else {
        panic!("{resources:?}");
    };
    assert_eq!(
        (first.as_str(), other.as_str()),
        ("resource-wiki", "resource-mail")
    );
    assert!(actions(&menu).contains(&(
        "ask-wiki".into(),
        Action::OpenWindow(Goal::Request("wiki".into()))
    )));
}

#[test]
fn long_lists_are_cut_and_say_so() {
    let mut known = unmet(&[Finding::Fail; 40]);
    let resources =
        (0..200).map(|number| resource(&format!("r{number}"), ResourceState::Undecided));
    known.resources = resources.collect();
    known.refused = (0..200)
        .map(|number| refusal(&format!("d-{number}"), &format!("h{number}:80")))
        .collect();

    let lines = lines(&known);

    assert!(lines.contains(&"  188 more: ztna resources".to_owned()));
    assert!(lines.contains(&"  30 more: ztna posture".to_owned()));
    assert!(lines.contains(&"  More: ztna decisions --denied".to_owned()));
    assert!(lines.len() < 200, "{}", lines.len());
}

#[test]
fn applications_are_opened_only_where_a_browser_can_and_at_plain_names() {
    let page = |names: &[&str], ports: &[&str]| {
        let mut known = connected();
        known.resources[0].names = names.iter().map(ToString::to_string).collect();
        known.resources[0].ports = ports.iter().map(ToString::to_string).collect();
        let menu = menu(&running(known), &BTreeSet::new(), &english(), CLOCK);
        let mut chosen = actions(&menu).into_iter();
        let (_, action) = chosen.find(|(id, _)| id == "open-wiki")?;
        let Action::OpenPage(page) = action else {
            panic!("{action:?} is no page");
        };
        Some(page)
    };

    assert_eq!(
        page(&["a.test"], &["tcp/80"]).as_deref(),
        Some("http://a.test/")
    );
    assert_eq!(
        page(&["*.test", "a.test"], &["tcp/443"]).as_deref(),
        Some("https://a.test/")
    );
    for (names, ports) in [
        (&["*.test"][..], &["tcp/443"][..]),
        (&["10.0.0.0/8"], &["tcp/443"]),
        (&["a.test/../x"], &["tcp/443"]),
        (&["a.test"], &["tcp/22", "udp/443"]),
        (&[], &["tcp/443"]),
    ] {
        assert_eq!(page(names, ports), None, "{names:?} {ports:?}");
    }
}

#[test]
fn nothing_from_outside_breaks_a_line_or_turns_it_around() {
    let hostile = format!("a\u{1b}[2J\n\u{202e}b {}", "x".repeat(500));
    let mut known = unmet(&[Finding::Fail]);
    known.status.organisation = Some(hostile.clone());
    known.status.summary.message = hostile.clone();
    known.status.support = Some(hostile.clone());
    known.resources[0].title = hostile.clone();
    known.resources[0].names = vec![hostile.clone()];
    known.refused = vec![refusal("d", &hostile)];
    known.refused[0].message = hostile;

    for line in lines(&known) {
        assert!(!line.contains(['\u{1b}', '\n', '\u{202e}']), "{line:?}");
        assert!(line.chars().count() < 160, "{line}");
    }
}

#[test]
fn long_advice_is_broken_into_lines_and_nothing_of_it_is_lost() {
    let advice = "Open the settings, choose privacy and security, and switch the encryption of the disk on; \
                  keep the recovery key somewhere else.";
    let mut known = unmet(&[Finding::Fail]);
    known.posture.as_mut().unwrap().checks[0].remedy = advice.into();

    let lines = lines(&known);

    let read: Vec<&str> = lines
        .iter()
        .skip_while(|line| !line.contains("What to do"))
        .take_while(|line| line.starts_with("    "))
        .map(|line| line.trim())
        .collect();
    assert!(read.len() > 1 && read.iter().all(|line| line.chars().count() <= LINE));
    assert_eq!(read.join(" "), format!("What to do: {advice}"));
}

#[test]
fn troubles_are_warnings_as_long_as_something_works() {
    let mut interception = connected();
    interception.status.interception = Some(InterceptionReport::Failed {
        problem: "no device".into(),
    });
    let mut records = connected();
    records.status.records = Some(RecordsReport {
        problem: Some("the disk is full".into()),
        ..RecordsReport::default()
    });

    let mut dead_end = connected();
    let gateway = &mut dead_end.status.tunnel.sites[0].gateways[0];
    gateway.behind = Some(BehindReport::Silent);

    for known in [dead_end, interception, records] {
        assert_eq!(State::of(&running(known)), State::Warning);
    }
}

#[test]
fn a_break_until_the_morning_ends_at_six_on_the_persons_clock() {
    let at = |hour: i64| Clock {
        now: (hour - 1) * 3600,
        ahead: 3600,
    };

    assert_eq!(Break::UntilMorning.seconds(at(22)), Some(8 * 3600));
    assert_eq!(Break::UntilMorning.seconds(at(5)), Some(3600));
    assert_eq!(Break::UntilMorning.seconds(at(6)), Some(1));
    assert_eq!(Break::For(7).seconds(at(6)), Some(7));
    assert_eq!(Break::UntilSwitchedOn.seconds(at(6)), None);
}

#[test]
fn the_german_menu_is_german() {
    let menu = menu(
        &running(connected()),
        &BTreeSet::new(),
        &Texts::new(Language::German),
        CLOCK,
    );

    assert_eq!(menu.header[0], "Verbunden");
    assert!(format!("{menu:?}").contains("Angemeldet als Alice"));
}

const ALL: [State; 13] = [
    State::BlockedByDevice,
    State::BlockedByNetwork,
    State::Connected,
    State::Connecting,
    State::InUse,
    State::NotRunning,
    State::Offline,
    State::Paused,
    State::Restricted,
    State::SignedOut,
    State::SigningIn,
    State::Starting,
    State::Warning,
];

fn english() -> Texts {
    Texts::new(Language::English)
}

fn running(known: Known) -> Snapshot {
    Snapshot::Running(Box::new(known))
}

/// Returns the menu as lines, as a person would read it.
fn lines(known: &Known) -> Vec<String> {
    let menu = menu(&running(known.clone()), &BTreeSet::new(), &english(), CLOCK);
    let mut lines = menu.header.clone();
    write(&menu.entries, "", &mut lines);
    lines
}

fn write(entries: &[Entry], indent: &str, lines: &mut Vec<String>) {
    for entry in entries {
        match entry {
            Entry::Item(item) => lines.push(format!("{indent}[{}] {}", item.id, item.label)),
            Entry::Separator => lines.push(format!("{indent}---")),
            Entry::Submenu { label, entries, .. } => {
                lines.push(format!("{indent}{label} >"));
                write(entries, &format!("{indent}  "), lines);
            }
            Entry::Text(text) => lines.push(format!("{indent}{text}")),
        }
    }
}

/// Returns everything that can be chosen.
fn actions(menu: &Menu) -> Vec<(String, Action)> {
    fn collect(entries: &[Entry], into: &mut Vec<(String, Action)>) {
        for entry in entries {
            match entry {
                Entry::Item(item) => {
                    into.extend(item.action.clone().map(|action| (item.id.clone(), action)));
                }
                Entry::Submenu { entries, .. } => collect(entries, into),
                Entry::Separator | Entry::Text(_) => {}
            }
        }
    }
    let mut found = Vec::new();
    collect(&menu.entries, &mut found);
    found
}
