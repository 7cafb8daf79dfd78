//! The words, in the person's language.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use fluent_bundle::{FluentArgs, FluentBundle, FluentResource, FluentValue};

/// A language that all texts exist in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// For everybody whose own is missing.
    English,
    /// German.
    German,
}

impl Language {
    /// Returns the one that the person has set for the system, of those that there are.
    #[must_use]
    pub fn of_person() -> Self {
        Self::choose(sys_locale::get_locales())
    }

    /// Chooses by locales as in `de-DE`, the most important first; the first that there are texts
    /// for counts.
    fn choose(locales: impl IntoIterator<Item = String>) -> Self {
        let known = locales.into_iter().find_map(|locale| {
            let locale = locale.to_ascii_lowercase();
            match locale.split(['_', '-', '.', '@']).next() {
                Some("de") => Some(Self::German),
                Some("c" | "en" | "posix") => Some(Self::English),
                Some(_) | None => None,
            }
        });
        known.unwrap_or(Self::English)
    }

    const fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }

    const fn of_service(self) -> &'static str {
        match self {
            Self::English => include_str!("../locales/en/service.ftl"),
            Self::German => include_str!("../locales/de/service.ftl"),
        }
    }

    const fn sources(self) -> [&'static str; 2] {
        match self {
            Self::English => [
                include_str!("../locales/en/tray.ftl"),
                include_str!("../locales/en/window.ftl"),
            ],
            Self::German => [
                include_str!("../locales/de/tray.ftl"),
                include_str!("../locales/de/window.ftl"),
            ],
        }
    }
}

/// Every text in one language.
pub struct Texts {
    language: Language,
    /// What the service says in its own words, and how that is said in this language.
    told: BTreeMap<&'static str, &'static str>,
    /// The same, of what has something filled in; what says most goes first.
    forms: Vec<Form>,
    bundle: FluentBundle<FluentResource>,
}

impl Texts {
    /// Reads the texts of `language`, which are part of the program.
    #[must_use]
    pub fn new(language: Language) -> Self {
        let locales = language.code().parse().into_iter().collect();
        let mut bundle = FluentBundle::new(locales);
        // Marks around what is filled in would be shown as boxes by some panels.
        bundle.set_use_isolating(false);
        // Mistakes in a file are for the tests to find; what can be read is used.
        for source in language.sources() {
            let resource = FluentResource::try_new(source.to_owned());
            let resource = resource.unwrap_or_else(|(readable, _)| readable);
            let _ = bundle.add_resource(resource);
        }
        Self {
            language,
            told: said_in(language).collect(),
            forms: forms(language),
            bundle,
        }
    }

    /// Returns the text of `key`.
    #[must_use]
    pub fn say(&self, key: &str) -> String {
        self.say_with(key, [])
    }

    /// Returns the text of `key` with what is to be filled in.
    #[must_use]
    pub fn say_with<const N: usize>(
        &self,
        key: &str,
        values: [(&'static str, FluentValue<'_>); N],
    ) -> String {
        let pattern = self.bundle.get_message(key).and_then(|text| text.value());
        let Some(pattern) = pattern else {
            // The tests see to it that nobody ever reads this.
            return key.to_owned();
        };
        let mut arguments = FluentArgs::with_capacity(N);
        for (name, value) in values {
            arguments.set(name, value);
        }
        let mut ignored = Vec::new();
        let text = self
            .bundle
            .format_pattern(pattern, Some(&arguments), &mut ignored);
        text.into_owned()
    }

    /// Returns what the service said in its own words in this language, where it is known; else as
    /// it was said.
    #[must_use]
    pub(crate) fn told<'a>(&self, text: &'a str) -> &'a str {
        self.told.get(text).copied().unwrap_or(text)
    }

    /// Returns what the service found in this language, with what it filled in, where it is known;
    /// else as it was said.
    #[must_use]
    pub(crate) fn found(&self, text: &str) -> String {
        if let Some(told) = self.told.get(text) {
            return (*told).to_owned();
        }
        let said = self.forms.iter().find_map(|form| {
            let filled = form.filled(text)?;
            let translated = filled.map(|(name, value)| {
                let values = value.split("; ").map(|value| self.found(value));
                (name, values.collect::<Vec<_>>().join("; "))
            });
            Some(form.fill(translated))
        });
        said.unwrap_or_else(|| text.to_owned())
    }

    /// Returns how long something takes or lasts, as in `2 hours`.
    #[must_use]
    pub fn duration(&self, seconds: i64) -> String {
        let minutes = seconds.max(0).saturating_add(59) / 60;
        let (key, count) = match minutes {
            0..120 => ("minutes", minutes),
            120..2880 => ("hours", minutes / 60),
            2880.. | i64::MIN..0 => ("days", minutes / 1440),
        };
        self.say_with(key, [("count", count.into())])
    }
}

/// Returns what the service says, each with how it is said in this language.
fn said_in(language: Language) -> impl Iterator<Item = (&'static str, &'static str)> {
    let translated: BTreeMap<&str, &str> = lines(language.of_service()).collect();
    let said = lines(Language::English.of_service());
    said.filter_map(move |(key, text)| Some((text, *translated.get(key)?)))
}

fn forms(language: Language) -> Vec<Form> {
    let mut forms: Vec<Form> = said_in(language)
        .map(|(said, translated)| Form::new(said, translated))
        .filter(|form| !form.names.is_empty())
        .collect();
    forms.sort_by_key(|form| Reverse(form.fixed.iter().map(|text| text.len()).sum::<usize>()));
    forms
}

/// A sentence of the service with places where something is filled in.
struct Form {
    /// What is between the places, and before and behind them.
    fixed: Vec<&'static str>,
    /// What the places are called.
    names: Vec<&'static str>,
    translated: &'static str,
}

impl Form {
    fn new(said: &'static str, translated: &'static str) -> Self {
        let mut pieces = said.split("{ $");
        let mut form = Self {
            fixed: pieces.next().into_iter().collect(),
            names: Vec::new(),
            translated,
        };
        for (name, fixed) in pieces.filter_map(|piece| piece.split_once(" }")) {
            form.names.push(name);
            form.fixed.push(fixed);
        }
        form
    }

    /// Returns what is filled in where, if `text` is this sentence.
    fn filled<'t>(&self, text: &'t str) -> Option<impl Iterator<Item = (&'static str, &'t str)>> {
        let (before, between) = self.fixed.split_first()?;
        let (behind, between) = between.split_last()?;
        let mut rest = text.strip_prefix(before)?.strip_suffix(behind)?;
        let mut values = Vec::with_capacity(self.names.len());
        for fixed in between {
            let (value, after) = rest.split_once(fixed)?;
            values.push(value);
            rest = after;
        }
        values.push(rest);
        Some(self.names.iter().copied().zip(values))
    }

    fn fill(&self, values: impl Iterator<Item = (&'static str, String)>) -> String {
        values.fold(self.translated.to_owned(), |text, (name, value)| {
            text.replace(&format!("{{ ${name} }}"), &value)
        })
    }
}

/// Returns the keys and texts of a file in which each text is a line.
fn lines(source: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = source.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(" = "))
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Texts").field(&self.language).finish()
    }
}

#[cfg(test)]
mod tests;
