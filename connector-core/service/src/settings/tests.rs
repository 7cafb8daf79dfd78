use std::path::Path;

use connector_platform::managed::{Found, Given};

use super::*;

const FILE: &str = r#"
[control_plane]
url = "https://cp.corp.test"
policy_key = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
dns_suffixes = ["corp.test"]
"#;

#[test]
fn a_file_with_what_is_needed_is_enough() {
    let settings = collect(FILE, &[], &[]).unwrap();

    assert_eq!(settings.control_plane.as_str(), "https://cp.corp.test/");
    assert_eq!(settings.proxy_listen, Some(([127, 0, 0, 1], 7080).into()));
}

#[test]
fn decisions_go_to_an_otlp_collector_only_if_one_is_named() {
    let file = format!("{FILE}[telemetry]\notlp_endpoint = \"https://otel.corp.test\"\n");

    let named = collect(&file, &[], &[]).unwrap();

    let report = &named.report;
    let shown = report
        .iter()
        .find(|one| one.key == "telemetry.otlp_endpoint");
    assert_eq!(shown.unwrap().origin, "test.toml, line 7");
    assert!(named.otlp.is_some());
    assert!(collect(FILE, &[], &[]).unwrap().otlp.is_none());
}

#[test]
fn a_flag_beats_the_environment_and_the_environment_beats_the_file() {
    let file = format!("{FILE}[proxy]\nlisten = \"127.0.0.1:1\"\n");
    let environment = [("ZTNA_PROXY_LISTEN", "127.0.0.1:2")];
    let flags = [("proxy.listen", ("proxy-listen", "127.0.0.1:3"))];
    let port = |settings: Settings| settings.proxy_listen.unwrap().port();

    assert_eq!(port(collect(&file, &[], &[]).unwrap()), 1);
    assert_eq!(port(collect(&file, &environment, &[]).unwrap()), 2);
    let settings = collect(&file, &environment, &flags).unwrap();
    let origin = |key: &str| {
        let report = settings.report.iter().find(|report| report.key == key);
        report.unwrap().origin.clone()
    };
    assert_eq!(origin("proxy.listen"), "flag --proxy-listen");
    assert_eq!(origin("control_plane.url"), "test.toml, line 3");
    assert_eq!(origin("log.level"), "default");
    assert_eq!(port(settings), 3);
}

#[test]
fn the_mode_of_deciding_is_the_company_s_unless_the_administrator_names_one() {
    let mode = |extra: &str| {
        let settings = collect(&format!("{FILE}{extra}"), &[], &[]).unwrap();
        let report = settings
            .report
            .iter()
            .find(|report| report.key == "policy.mode");
        (settings.policy_mode, report.unwrap().origin.clone())
    };

    assert_eq!(mode(""), (None, "default".to_owned()));
    assert_eq!(
        mode("[policy]\nmode = \"proximity-then-remote\"\n"),
        (
            Some(PolicyMode::ProximityThenRemote),
            "test.toml, line 7".to_owned()
        )
    );
}

#[test]
fn an_unknown_key_is_refused_with_file_line_and_the_nearest_right_key() {
    for (extra, message) in [
        (
            "[proxy]\nlisen = \"x\"",
            r#"test.toml, line 7: there is no setting "proxy.lisen"; did you mean "proxy.listen"?"#,
        ),
        (
            "[prox]\nlisten = \"x\"",
            r#"test.toml, line 6: there is no setting "prox""#,
        ),
        (
            "[service]\nlisten = \"x\"",
            r#"test.toml, line 7: there is no setting "service.listen"; did you mean "proxy.listen"?"#,
        ),
        (
            "qqqqqqqq = 1",
            r#"test.toml, line 6: there is no setting "control_plane.qqqqqqqq""#,
        ),
    ] {
        let error = collect(&format!("{FILE}{extra}\n"), &[], &[]).unwrap_err();

        assert!(
            error.to_string().starts_with(message),
            "{error}\nexpected: {message}"
        );
    }
}

#[test]
fn a_value_that_cannot_be_used_is_named_with_its_origin() {
    for (extra, part) in [
        (
            "[proxy]\nlisten = \"0.0.0.0:80\"",
            "loopback addresses only",
        ),
        ("[proxy]\nlisten = 80", "a text in quotes"),
        ("[proxy]\nenabled = \"yes\"", "true or false"),
        (
            "[telemetry]\notlp_endpoint = \"http://otel.corp.test:4318\"",
            "use https",
        ),
        ("[telemetry]\notlp_endpoint = \"otel\"", "write a URL"),
        ("[log]\nformat = \"xml\"", "text or json"),
        ("[log]\nlevel = \"inof\"", "write off, error"),
        ("[log]\nlevel = \"ztnad=debugg\"", "write off, error"),
        ("[service]\nstate_dir = \"here\"", "an absolute path"),
        (
            "[policy]\nmode = \"off\"",
            "write remote, proximity or proximity-then-remote, or company",
        ),
        ("[log\n", "test.toml, line 6:"),
    ] {
        let error = collect(&format!("{FILE}{extra}\n"), &[], &[]).unwrap_err();

        assert!(
            error.to_string().contains(part),
            "{error}\nexpected: {part}"
        );
    }
    let error = collect("", &[], &[]).unwrap_err();
    assert!(
        error.to_string().contains("ZTNA_CONTROL_PLANE_URL"),
        "{error}"
    );
    let insecure = FILE.replace("https", "http");
    assert!(collect(&insecure, &[], &[]).is_err());
}

#[test]
fn every_key_has_a_section_and_a_variable_of_its_own() {
    for (index, key) in KEYS.iter().enumerate() {
        assert!(key.name.contains('.'), "{}", key.name);
        let same_variable = |other: &Key| match other.place {
            Place::Anywhere(_) => other.place == key.place,
            Place::Managed => false,
        };
        let twin = KEYS[index + 1..]
            .iter()
            .find(|other| same_variable(other) || other.name == key.name);
        assert!(twin.is_none(), "{}", key.name);
    }
}

#[test]
fn every_key_of_the_table_is_described_and_its_default_counts() {
    let settings = collect(FILE, &[], &[]).unwrap();
    for key in KEYS {
        let used = settings.report.iter().find(|one| one.key == key.name);
        if used.is_some_and(|used| used.origin == "default") && !key.default.starts_with('(') {
            assert_eq!(used.unwrap().value, key.default);
        }
        assert!(key.description.ends_with('.'), "{}", key.name);
    }
    assert_eq!(settings.log_level, "info");
    assert!(!settings.pause_rules.is_always_on && !settings.pause_rules.is_forbidden);
}

#[test]
fn the_document_for_administrators_has_the_table() {
    let row = |key: &Key| {
        let kind = match key.kind {
            Kind::Flag => "yes or no",
            Kind::List => "list of texts",
            Kind::Number => "number",
            Kind::Text => "text",
        };
        let default = match key.default {
            "" => "none".to_owned(),
            text if text.starts_with('(') => text.trim_matches(['(', ')']).to_owned(),
            text => format!("`{text}`"),
        };
        let place = match key.place {
            Place::Anywhere(_) => "anywhere",
            Place::Managed => "managed only",
        };
        let applies = match key.applies {
            Applies::Anew => "anew",
            Applies::Live => "at once",
        };
        let (name, description) = (key.name, key.description);
        format!("| `{name}` | {kind} | {default} | {place} | {applies} | {description} |")
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = std::fs::read_to_string(root.join("../../docs/managed.md")).unwrap();
    let rows = document
        .lines()
        .filter(|line| line.contains("| at once |") || line.contains("| anew |"));

    assert!(rows.eq(KEYS.iter().map(row)), "docs/managed.md, Keys");
}

#[test]
fn what_binds_the_person_is_set_in_the_managed_settings_alone() {
    for extra in [
        "[always_on]\nenabled = true",
        "[pause]\nallowed = false",
        "[managed]\nby = \"me\"",
    ] {
        let error = collect(&format!("{FILE}{extra}\n"), &[], &[]).unwrap_err();

        assert!(
            error.to_string().contains("in the managed settings alone"),
            "{error}"
        );
        let managed = Layer::parse_managed(Path::new("managed.toml"), extra).unwrap();
        assert!(managed.is_managed());
    }
}

#[test]
fn what_the_systems_own_place_says_is_read_like_a_file() {
    let native = |values: &[(&str, Given)]| {
        let values = values
            .iter()
            .map(|(name, given)| ((*name).to_owned(), given.clone()));
        Layer::from_native(Found {
            place: r"HKLM\Software\Policies\ZTNA\Connector".into(),
            values: values.collect(),
        })
    };

    let layer = native(&[
        ("always_on.enabled", Given::Number(1)),
        ("pause.allowed", Given::Flag(false)),
        ("pause.limit", Given::Number(30)),
        (
            "control_plane.url",
            Given::Text("https://cp.corp.test".into()),
        ),
        (
            "control_plane.dns_suffixes",
            Given::List(vec!["corp.test".into()]),
        ),
    ])
    .unwrap();

    let (value, origin) = layer.find("always_on.enabled").unwrap();
    assert_eq!(*value, Value::Flag(true));
    assert_eq!(
        origin.to_string(),
        r"HKLM\Software\Policies\ZTNA\Connector, always_on.enabled"
    );
    assert_eq!(layer.find("pause.limit").unwrap().0, &Value::Number(30));
    for (name, given, words) in [
        ("always_on.enabled", Given::Number(2), "write yes or no"),
        (
            "always_on.enabled",
            Given::Text("1".into()),
            "write yes or no",
        ),
        ("pause.limit", Given::Text("30".into()), "a whole number"),
        (
            "managed.by",
            Given::Other("a value of binary data"),
            "write a text",
        ),
        (
            "control_plane.dns_suffixes",
            Given::Text("a".into()),
            "a list",
        ),
        ("always_on.enable", Given::Flag(true), "did you mean"),
    ] {
        let error = native(&[(name, given)]).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

fn collect(
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&'static str, (&'static str, &str))],
) -> Result<Settings, SettingsError> {
    let layers = vec![
        Layer::from_flags(
            flags
                .iter()
                .map(|(key, (flag, value))| (*key, (*flag, (*value).to_owned())))
                .collect(),
        ),
        Layer::from_environment(|variable| {
            let found = environment.iter().find(|(name, _)| *name == variable);
            found.map(|(_, value)| (*value).to_owned())
        })?,
        Layer::parse(Path::new("test.toml"), file)?,
        defaults(&Paths::system())?,
    ];
    Effective {
        layers,
        file: "test.toml".into(),
    }
    .parse()
}
