//! Rules about texts: the documents, and what no text says.

use std::collections::BTreeSet;

use crate::{Breach, TextFile};

/// Everything that may lie in the root folder.
const TOP_LEVEL: &[&str] = &[
    ".cargo",
    ".ci",
    ".config",
    ".gitattributes",
    ".github",
    ".gitignore",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "clippy.toml",
    "connector-core",
    "connector-ui",
    "deny.toml",
    "docs",
    "installers",
    "lab",
    "posture",
    "proxy",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "tests",
    "tunnel",
    "xtask",
];
/// Written in halves, so that this file keeps the rule itself.
const PRIVATE_PLACES: [&str; 3] = [
    concat!("/wo", "rk/"),
    concat!("/tmp/", "brief"),
    concat!("../sha", "red/"),
];
const MARKERS: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
];
/// The commands with which the README begins, and where each is made.
const COMMANDS: [(&str, &str); 2] = [("cargo demo", "demo = "), ("cargo xtask test", "xtask = ")];

/// The root folder holds what the design puts there.
pub fn the_top_level_is_fixed(names: &[String]) -> Vec<Breach> {
    names
        .iter()
        .filter(|name| !TOP_LEVEL.contains(&name.as_str()))
        .map(|name| Breach::new(name, 0, "has no place at the top level"))
        .collect()
}

/// No text names a place that exists on its writer's machine only.
pub fn no_text_names_a_private_place(files: &[TextFile]) -> Vec<Breach> {
    in_lines(files, |line| {
        let place = PRIVATE_PLACES.iter().find(|place| line.contains(*place))?;
        Some(format!("`{place}` exists on its writer's machine only"))
    })
}

/// A marker for later says what is to be done.
pub fn markers_for_later_say_what(files: &[TextFile]) -> Vec<Breach> {
    in_lines(files, |line| {
        let (marker, after) = MARKERS.iter().find_map(|marker| {
            let (before, after) = line.split_once(marker)?;
            let stands_alone = !before.ends_with(char::is_alphanumeric)
                && !after.starts_with(char::is_alphanumeric);
            stands_alone.then_some((marker, after))
        })?;
        let words = after
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .count();
        (words < 3).then(|| format!("`{marker}` does not say what is to be done"))
    })
}

/// The licence is there and is the one that the manifests name.
pub fn the_licence_is_there(files: &[TextFile]) -> Vec<Breach> {
    match files.iter().find(|file| file.path == "LICENSE") {
        None => vec![Breach::new("LICENSE", 0, "is missing")],
        Some(file)
            if !file.text.contains("Apache License") || !file.text.contains("Version 2.0") =>
        {
            vec![Breach::new(
                "LICENSE",
                1,
                "is not the Apache License 2.0, which the manifests name",
            )]
        }
        Some(_) => Vec::new(),
    }
}

/// The README names the two commands, and cargo knows them.
pub fn the_two_commands_exist(files: &[TextFile]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (path, missing) in [("README.md", 0), (".cargo/config.toml", 1)] {
        let text = files
            .iter()
            .find(|file| file.path == path)
            .map_or("", |file| file.text.as_str());
        for (command, alias) in COMMANDS {
            let wanted = [command, alias][missing];
            if !text.contains(wanted) {
                breaches.push(Breach::new(
                    path,
                    0,
                    format!("has no `{wanted}`, which makes `{command}` known"),
                ));
            }
        }
    }
    breaches
}

/// Every relative link in a document leads to a file, and its fragment to a heading.
///
/// `exists` tells whether a path from the root exists that is not among the files, such as a folder or a picture.
pub fn links_resolve(files: &[TextFile], exists: impl Fn(&str) -> bool) -> Vec<Breach> {
    let documents: Vec<&TextFile> = files
        .iter()
        .filter(|file| file.path.ends_with(".md"))
        .collect();
    let mut breaches = Vec::new();
    for document in &documents {
        for (line, link) in links(&document.text) {
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() {
                document.path.clone()
            } else {
                joined(&document.path, path)
            };
            if !files.iter().any(|file| file.path == target) && !exists(&target) {
                breaches.push(Breach::new(
                    &document.path,
                    line,
                    format!("the link `{link}` leads nowhere"),
                ));
                continue;
            }
            let other = documents.iter().find(|file| file.path == target);
            if !fragment.is_empty()
                && other.is_some_and(|other| !headings(&other.text).contains(fragment))
            {
                breaches.push(Breach::new(
                    &document.path,
                    line,
                    format!("`{target}` has no heading `#{fragment}`"),
                ));
            }
        }
    }
    breaches
}

fn in_lines(files: &[TextFile], rule: impl Fn(&str) -> Option<String>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in files {
        for (index, line) in file.text.lines().enumerate() {
            breaches.extend(rule(line).map(|what| Breach::new(&file.path, index + 1, what)));
        }
    }
    breaches
}

/// A document's relative links, each with its line.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        for part in outside_code_spans(line) {
            let inline = part
                .split("](")
                .skip(1)
                .filter_map(|rest| rest.split([')', ' ']).next());
            let definition = part
                .strip_prefix('[')
                .and_then(|rest| rest.split_once("]: "))
                .map(|(_, link)| link.trim());
            found.extend(
                inline
                    .chain(definition)
                    .filter(|link| is_relative(link))
                    .map(|link| (number, link)),
            );
        }
    }
    found
}

/// The anchors that a document's headings get.
fn headings(text: &str) -> BTreeSet<String> {
    prose(text)
        .filter_map(|(_, line)| {
            line.trim_start_matches('#')
                .strip_prefix(' ')
                .filter(|_| line.starts_with('#'))
        })
        .map(|heading| {
            let kept = heading.trim().to_lowercase();
            kept.chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

/// The lines, from 1, that are not inside a fenced block.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence).then_some((index + 1, line))
    })
}

fn outside_code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').step_by(2)
}

fn is_relative(link: &str) -> bool {
    !link.is_empty()
        && !link.contains("://")
        && !link.starts_with("mailto:")
        && !link.starts_with('<')
}

/// The path from the root that a link in a document means.
fn joined(document: &str, link: &str) -> String {
    let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = if link.starts_with('/') {
        Vec::new()
    } else {
        folder.split('/').collect()
    };
    for part in link.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(breaches: &[Breach]) -> Vec<usize> {
        breaches.iter().map(|breach| breach.line).collect()
    }

    #[test]
    fn a_newcomer_at_the_top_level_is_a_breach() {
        let names = ["README.md", "scripts", "tunnel"].map(str::to_owned);

        assert_eq!(
            the_top_level_is_fixed(&names),
            [Breach::new("scripts", 0, "has no place at the top level")]
        );
    }

    #[test]
    fn a_private_place_is_a_breach_at_its_line() {
        let file = TextFile::new(
            "docs/a.md",
            format!("fine\nsee {}main\n", PRIVATE_PLACES[0]),
        );

        assert_eq!(lines(&no_text_names_a_private_place(&[file])), [2]);
    }

    #[test]
    fn a_marker_without_a_text_is_a_breach_and_with_one_is_none() {
        let marker = MARKERS[0];
        let text = format!(
            "// {marker}\n// {marker}: later\n// {marker}: close it when Windows can\n// {marker}LIST\n"
        );

        assert_eq!(
            lines(&markers_for_later_say_what(&[TextFile::new("a.rs", text)])),
            [1, 2]
        );
    }

    #[test]
    fn a_missing_or_another_licence_is_a_breach() {
        assert_eq!(the_licence_is_there(&[]).len(), 1);
        assert_eq!(
            the_licence_is_there(&[TextFile::new("LICENSE", "MIT")]).len(),
            1
        );
        assert_eq!(
            the_licence_is_there(&[TextFile::new("LICENSE", "Apache License\nVersion 2.0")]),
            []
        );
    }

    #[test]
    fn a_command_that_the_readme_or_cargo_does_not_know_is_a_breach() {
        let readme = TextFile::new("README.md", "cargo demo\ncargo xtask test\n");
        let aliases = TextFile::new(".cargo/config.toml", "demo = \"\"\nxtask = \"\"\n");

        assert_eq!(the_two_commands_exist(&[readme.clone(), aliases]), []);
        assert_eq!(the_two_commands_exist(&[readme]).len(), 2);
        assert_eq!(the_two_commands_exist(&[]).len(), 4);
    }

    #[test]
    fn links_that_lead_somewhere_break_no_rule() {
        let files = [
            TextFile::new(
                "README.md",
                "[a](docs/a.md) [b](docs/a.md#the-word-why) [c](#here) [d](https://x.org) [e](lab)\n# Here\n",
            ),
            TextFile::new(
                "docs/a.md",
                "# The word `why`\n[up](../README.md#here)\n[ref]: ../README.md\n",
            ),
        ];

        assert_eq!(links_resolve(&files, |path| path == "lab"), []);
    }

    #[test]
    fn links_that_lead_nowhere_are_breaches_at_their_lines() {
        let text = "# Here\n[a](gone.md)\n[b](a.md#gone)\n[c](../gone/)\n[d]: gone.md\n";

        let breaches = links_resolve(&[TextFile::new("docs/a.md", text)], |_| false);

        assert_eq!(lines(&breaches), [2, 3, 4, 5]);
    }

    #[test]
    fn what_looks_like_a_link_in_code_is_none() {
        let text = "`x[0](y)`\n```\n[a](gone.md)\n```\n";

        assert_eq!(links_resolve(&[TextFile::new("a.md", text)], |_| false), []);
    }
}
