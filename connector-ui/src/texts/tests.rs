use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::*;

#[test]
fn every_language_has_every_text_with_the_same_things_to_fill_in() {
    let english = messages(Language::English);

    assert_eq!(messages(Language::German), english);
    assert!(english.len() > 50);
}

#[test]
fn no_file_has_a_mistake_and_no_text_is_there_twice() {
    for language in BOTH {
        let mut bundle = FluentBundle::new(Vec::new());
        for source in language.sources() {
            let resource = FluentResource::try_new(source.to_owned());
            assert!(resource.is_ok(), "{language:?}: {resource:?}");
            bundle.add_resource(resource.unwrap()).unwrap();
        }
    }
}

#[test]
fn what_the_service_says_is_said_in_the_persons_language_and_the_rest_as_it_is() {
    let keys = |language: Language| lines(language.of_service()).map(|(key, _)| key).collect();
    let (english, german): (Vec<_>, Vec<_>) = (keys(Language::English), keys(Language::German));
    assert_eq!(german, english);
    let (english, german) = (Texts::new(Language::English), Texts::new(Language::German));

    let check = "The system disk is encrypted";
    assert_eq!(german.told(check), "Die Systemfestplatte ist verschlüsselt");
    assert_eq!(english.told(check), check);
    assert_eq!(german.told("Our own check"), "Our own check");
}

#[test]
fn what_the_service_found_is_said_with_what_it_filled_in() {
    let (english, german) = (Texts::new(Language::English), Texts::new(Language::German));

    for (said, translated) in [
        (
            "https://cp.corp.test/ answers, but cannot be used: it answers nothing.",
            "https://cp.corp.test/ antwortet, lässt sich aber nicht benutzen: it answers nothing.",
        ),
        (
            "Do not pass: A firewall is switched on; Our own. Could not be measured: The system disk is encrypted.",
            "Nicht so ist: Eine Firewall ist eingeschaltet; Our own. Nicht zu messen war: Die Systemfestplatte ist verschlüsselt.",
        ),
        ("Gateway hq-1 of hq", "Gateway hq-1 von hq"),
        ("It comes from elsewhere.", "It comes from elsewhere."),
        ("", ""),
    ] {
        assert_eq!(german.found(said), translated);
        assert_eq!(english.found(said), said);
    }
}

#[test]
fn every_place_in_a_sentence_of_the_service_is_there_in_every_language() {
    let english: BTreeMap<_, _> = lines(Language::English.of_service()).collect();
    for (key, text) in lines(Language::German.of_service()) {
        let names =
            |text: &'static str| -> BTreeSet<_> { Form::new(text, "").names.into_iter().collect() };
        assert_eq!(names(text), names(english[key]), "{key}");
    }
}

#[test]
fn no_finding_and_no_reason_of_the_service_is_without_its_translation() {
    let places = |text: &str| {
        let mut pieces = text.split('{');
        let first = pieces.next().unwrap_or_default().to_owned();
        pieces.fold(first, |text, piece| {
            text + "{}" + piece.split_once('}').map_or("", |(_, behind)| behind)
        })
    };
    let known: BTreeSet<String> = lines(Language::English.of_service())
        .map(|(_, text)| places(text))
        .collect();
    let core = Path::new(env!("CARGO_MANIFEST_DIR")).join("../connector-core");
    for file in [
        "service/src/adapters/diagnosing/judging.rs",
        "src/access/denial.rs",
    ] {
        let source = fs::read_to_string(core.join(file)).unwrap();
        let said = sentences(&source);
        assert!(said.len() > 20, "{file}");
        for text in said {
            assert!(known.contains(&places(&text)), "{file}: {text:?}");
        }
    }
}

/// Returns the sentences among the texts of a source, and the titles of findings.
fn sentences(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]").next().unwrap();
    let code: String = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .fold(String::new(), |code, line| code + line + "\n");
    let mut sentences = Vec::new();
    let mut rest = code.as_str();
    let mut is_title = false;
    while let Some((before, after)) = rest.split_once('"') {
        let mut text = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next().unwrap() {
                (at, '"') => break at,
                (_, '\\') => text.extend(characters.next().map(|(_, escaped)| escaped)),
                (_, character) => text.push(character),
            }
        };
        if text.contains(' ') && (text.ends_with('.') || is_title) {
            sentences.push(text);
        }
        // Behind the code of what is examined stands its title.
        is_title = before.contains("About::");
        rest = &after[end + 1..];
    }
    sentences
}

#[test]
fn every_text_is_used_and_every_text_that_is_used_is_there() {
    let mut sources = String::new();
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    read_sources(&package.join("src"), &mut sources);
    read_sources(&package.join("window/src"), &mut sources);
    let english = messages(Language::English);

    for key in english.keys() {
        assert!(sources.contains(&format!("\"{key}\"")), "{key} is not used");
    }
    for call in [
        "say(\"",
        "say_with(\"",
        "say_with(\n            \"",
        "choice(\"",
    ] {
        for (at, _) in sources.match_indices(call) {
            let key = sources[at + call.len()..].split('"').next().unwrap();
            assert!(english.contains_key(key), "{key} is missing");
        }
    }
}

#[test]
fn everything_is_filled_in_in_every_language() {
    for language in BOTH {
        let texts = Texts::new(language);
        for (key, names) in messages(language) {
            for count in [1, 2] {
                let mut arguments = FluentArgs::new();
                for name in &names {
                    match name.as_str() {
                        "count" => arguments.set("count", count),
                        name => arguments.set(name.to_owned(), "something"),
                    }
                }
                let mut errors = Vec::new();
                let message = texts.bundle.get_message(&key).unwrap();
                let text = texts.bundle.format_pattern(
                    message.value().unwrap(),
                    Some(&arguments),
                    &mut errors,
                );
                assert!(errors.is_empty(), "{key}: {errors:?}");
                assert!(!text.contains(['{', '}', '\u{2068}']), "{key}: {text}");
            }
        }
    }
}

#[test]
fn the_language_is_the_persons_or_english() {
    let choose = |locales: &[&str]| Language::choose(locales.iter().map(ToString::to_string));

    assert_eq!(choose(&["de_DE.UTF-8"]), Language::German);
    assert_eq!(choose(&["", "de-AT"]), Language::German);
    assert_eq!(choose(&["de"]), Language::German);
    assert_eq!(choose(&["fr-CH", "de-CH", "en"]), Language::German);
    for other in [
        &[][..],
        &[""],
        &["C"],
        &["en_US.UTF-8", "de_DE"],
        &["deu"],
        &["fr"],
    ] {
        assert_eq!(choose(other), Language::English, "{other:?}");
    }
}

#[test]
fn durations_are_said_as_people_say_them_and_never_too_short() {
    let english = Texts::new(Language::English);
    let german = Texts::new(Language::German);

    for (seconds, text) in [
        (-5, "0 minutes"),
        (0, "0 minutes"),
        (1, "one minute"),
        (60, "one minute"),
        (61, "2 minutes"),
        (7200, "2 hours"),
        (86_400, "24 hours"),
        (259_200, "3 days"),
    ] {
        assert_eq!(english.duration(seconds), text, "{seconds}");
    }
    assert_eq!(german.duration(60), "eine Minute");
    assert_eq!(german.duration(i64::MAX).split(' ').nth(1), Some("Tage"));
}

const BOTH: [Language; 2] = [Language::English, Language::German];

/// Returns the keys of a language's file, each with the names of what is filled in.
fn messages(language: Language) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut current = String::new();
    for line in language.sources().into_iter().flat_map(str::lines) {
        if let Some((key, _)) = line.split_once(" =")
            && key.starts_with(|c: char| c.is_ascii_lowercase())
        {
            current = key.to_owned();
            let before = found.insert(current.clone(), BTreeSet::new());
            assert!(before.is_none(), "{key} is there twice");
        }
        for part in line.split('$').skip(1) {
            let name: String = part
                .chars()
                .take_while(char::is_ascii_alphanumeric)
                .collect();
            found.get_mut(&current).unwrap().insert(name);
        }
    }
    found
}

fn read_sources(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_sources(&path, into);
        } else if !path.ends_with("texts/tests.rs") {
            into.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}
