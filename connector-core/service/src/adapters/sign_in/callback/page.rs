//! What a person reads in the browser where a sign-in ends.

/// How a sign-in ended, as far as its page is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Ending {
    /// This person is signed in.
    SignedIn { name: String },
    /// Nobody is, and why.
    Failed { why: String },
    /// It goes on for longer than a page should wait.
    Slow,
}

/// A language that pages are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    English,
    German,
}

impl Language {
    /// Returns the one that the browser prefers, by its `Accept-Language` (RFC 9110 §12.5.4).
    pub(super) fn preferred(header: Option<&str>) -> Self {
        let ranges = header.unwrap_or_default().split(',').map(range);
        let known = ranges.filter_map(|(tag, weight)| Some((Self::of(tag)?, weight)));
        // Of equal weights, the first one.
        let best = known.reduce(|best, next| if next.1 > best.1 { next } else { best });
        match best {
            Some((language, weight)) if weight > 0 => language,
            Some(_) | None => Self::English,
        }
    }

    fn of(tag: &str) -> Option<Self> {
        let primary = tag.split('-').next()?.trim();
        [("en", Self::English), ("de", Self::German)]
            .into_iter()
            .find(|(code, _)| primary.eq_ignore_ascii_case(code))
            .map(|(_, language)| language)
    }

    const fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }
}

/// Returns a range's tag and its weight in thousandths; one that is no weight counts for nothing.
fn range(text: &str) -> (&str, u16) {
    let (tag, parameters) = text.split_once(';').unwrap_or((text, ""));
    let weight = match parameters.trim().strip_prefix("q=") {
        Some(weight) => thousandths(weight.trim()).unwrap_or(0),
        None => 1000,
    };
    (tag.trim(), weight)
}

fn thousandths(weight: &str) -> Option<u16> {
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    let whole: u16 = whole.parse().ok()?;
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    let thousandths = whole.checked_mul(1000)?.checked_add(fraction)?;
    (thousandths <= 1000).then_some(thousandths)
}

/// Writes the page; `nonce` is what its content security policy names.
pub(super) fn write(ending: &Ending, language: Language, nonce: &str) -> String {
    let (title, text) = words(ending, language);
    // Browsers close by script what a script opened, and leave other tabs alone.
    let close = match ending {
        Ending::SignedIn { .. } => "setTimeout(()=>window.close(),2000)",
        Ending::Failed { .. } | Ending::Slow => "",
    };
    format!(
        "<!doctype html><html lang=\"{language}\"><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <body style=\"font-family:system-ui;max-width:34rem;margin:15vh auto;padding:0 1rem\"><main><h1>{title}</h1>{text}</main>\
         <script nonce=\"{nonce}\">history.replaceState(null,\"\",location.pathname);{close}</script>",
        language = language.code(),
    )
}

fn words(ending: &Ending, language: Language) -> (&'static str, String) {
    match (ending, language) {
        (Ending::SignedIn { name }, Language::English) => (
            "You are signed in",
            format!(
                "<p>Welcome, {}. You can close this tab and open what you were looking for.</p>",
                escaped(name)
            ),
        ),
        (Ending::SignedIn { name }, Language::German) => (
            "Sie sind angemeldet",
            format!(
                "<p>Willkommen, {}. Sie können diesen Tab schließen und öffnen, was Sie brauchen.</p>",
                escaped(name)
            ),
        ),
        (Ending::Failed { why }, Language::English) => (
            "You are not signed in",
            format!(
                "<p>{}</p><p>To try again, choose <em>Sign in</em> in the menu of the connector's icon, or run \
                 <code>ztna login</code>. You can close this tab.</p>",
                escaped(why)
            ),
        ),
        (Ending::Failed { why }, Language::German) => (
            "Sie sind nicht angemeldet",
            format!(
                "<p lang=\"en\">{}</p><p>Wählen Sie im Menü des Connector-Symbols <em>Anmelden</em>, oder führen Sie \
                 <code>ztna login</code> aus, um es noch einmal zu versuchen. Sie können diesen Tab schließen.</p>",
                escaped(why)
            ),
        ),
        (Ending::Slow, Language::English) => (
            "Your sign-in goes on",
            "<p>It takes longer than usual. The connector's icon, or <code>ztna status</code>, shows when it is done. You can \
             close this tab.</p>"
                .to_owned(),
        ),
        (Ending::Slow, Language::German) => (
            "Ihre Anmeldung läuft noch",
            "<p>Sie dauert länger als üblich. Das Symbol des Connectors, oder <code>ztna status</code>, zeigt, wann sie fertig \
             ist. Sie können diesen Tab schließen.</p>"
                .to_owned(),
        ),
    }
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars().filter(|character| !character.is_control()) {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(character),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browsers_first_language_that_is_spoken_here_is_taken() {
        for (header, expected) in [
            (None, Language::English),
            (Some(""), Language::English),
            (Some("de-AT,de;q=0.9,en;q=0.8"), Language::German),
            (Some("en-US,en;q=0.9,de;q=0.8"), Language::English),
            (Some("fr, de;q=0.5, en;q=0.3"), Language::German),
            (Some("fr"), Language::English),
            (Some("de;q=0"), Language::English),
            (Some("de;q=2"), Language::English),
            (Some("de;q=x, en"), Language::English),
            (Some("DE"), Language::German),
            (Some(",;q=,de;q=1.000"), Language::German),
        ] {
            assert_eq!(Language::preferred(header), expected, "{header:?}");
        }
    }

    #[test]
    fn pages_say_what_happened_in_the_persons_language_and_nothing_runs_that_others_wrote() {
        let why = "<script>alert(1)</script> \"denied\"".to_owned();
        let page = write(&Ending::Failed { why }, Language::German, "n1");

        assert!(page.contains("<html lang=\"de\">"), "{page}");
        assert!(page.contains("Sie sind nicht angemeldet"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");
        assert_eq!(page.matches("<script").count(), 1, "{page}");
        assert!(!page.contains("window.close"), "it is to be read");
    }

    #[test]
    fn a_page_takes_the_code_out_of_the_address_bar() {
        let name = "Alice Archer".to_owned();
        let page = write(&Ending::SignedIn { name }, Language::English, "n1");

        assert!(page.contains("Welcome, Alice Archer."), "{page}");
        assert!(
            page.contains("<script nonce=\"n1\">history.replaceState("),
            "{page}"
        );
        assert!(page.contains("window.close()"), "{page}");
    }
}
