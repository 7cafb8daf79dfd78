//! Makes the templates for managing many devices from the one table of settings.

mod german;
#[path = "../../connector-core/service/src/settings/keys.rs"]
mod keys;
mod profile;
mod templates;

use std::fs;
use std::path::Path;

use anyhow::Context;

use self::keys::{Applies, KEYS, Key, Kind, Place};
use crate::workspace::Workspace;

/// Writes the templates into `installers`.
pub(crate) fn write() -> anyhow::Result<()> {
    let workspace = Workspace::locate()?;
    for (name, content) in files() {
        let path = workspace.root().join(name);
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        fs::create_dir_all(folder)
            .with_context(|| format!("Failed to make {}", folder.display()))?;
        fs::write(&path, content).with_context(|| format!("Failed to write {name}"))?;
    }
    Ok(())
}

/// Returns each file with what is to be in it.
fn files() -> [(&'static str, String); 4] {
    [
        ("installers/windows/ztna.admx", templates::admx()),
        (
            "installers/windows/en-US/ztna.adml",
            templates::adml(&ENGLISH),
        ),
        (
            "installers/windows/de-DE/ztna.adml",
            templates::adml(&german::GERMAN),
        ),
        ("installers/macos/ztna.mobileconfig", profile::profile()),
    ]
}

/// The words of one language.
struct Language {
    product: &'static str,
    value: &'static str,
    at_once: &'static str,
    anew: &'static str,
    /// What a key does.
    describe: fn(&Key) -> &'static str,
    /// That a variable is weaker.
    variable: fn(&str) -> String,
}

impl Language {
    /// Returns all there is to say about a key.
    fn explain(&self, key: &Key) -> String {
        let applies = match key.applies {
            Applies::Anew => self.anew,
            Applies::Live => self.at_once,
        };
        let variable = match key.place {
            Place::Anywhere(variable) => format!(" {}", (self.variable)(variable)),
            Place::Managed => String::new(),
        };
        format!("{} {applies}{variable}", (self.describe)(key))
    }
}

const ENGLISH: Language = Language {
    product: "ZTNA Connector",
    value: "Value",
    at_once: "A change counts within seconds.",
    anew: "A change counts within seconds; the service starts anew for it, and open connections end.",
    describe: |key| key.description,
    variable: |variable| format!("This is stronger than the environment variable {variable}."),
};

/// Returns `text` as it stands in XML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use quick_xml::Reader;
    use quick_xml::events::Event;

    use super::*;

    #[test]
    fn the_templates_in_the_repository_are_those_of_the_table() {
        for (name, content) in files() {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
            let there = fs::read_to_string(path).unwrap_or_default();
            assert!(there == content, "{name}: run `cargo xtask managed`");
        }
    }

    #[test]
    fn the_templates_are_well_formed() {
        for (name, content) in files() {
            let mut reader = Reader::from_str(&content);
            let mut open = 0;
            loop {
                match reader.read_event() {
                    Ok(Event::Start(_)) => open += 1,
                    Ok(Event::End(_)) => open -= 1,
                    Ok(Event::Eof) => break,
                    Ok(_) => {}
                    Err(error) => panic!("{name}: {error}"),
                }
            }
            assert_eq!(open, 0, "{name}");
        }
    }

    #[test]
    fn every_text_that_a_template_names_is_there_in_each_language() {
        let admx = templates::admx();
        for adml in [templates::adml(&ENGLISH), templates::adml(&german::GERMAN)] {
            for kind in ["string", "presentation"] {
                let mark = format!("$({kind}.");
                let named = admx.split(&mark).skip(1);
                for name in named.filter_map(|rest| rest.split(')').next()) {
                    let there = format!("<{kind} id=\"{name}\"");
                    assert!(adml.contains(&there), "{there}");
                }
            }
        }
    }

    #[test]
    fn every_key_is_in_every_template_and_in_german() {
        for key in KEYS {
            for (name, content) in files() {
                assert!(content.contains(key.name), "{name}: {}", key.name);
            }
            assert!(
                !(german::GERMAN.describe)(key).is_empty(),
                "german.rs: {}",
                key.name
            );
        }
    }
}
