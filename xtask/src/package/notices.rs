//! The licences of everything that is linked in: a list, and each text once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::sbom::Part;

/// Returns the list with the texts.
pub(crate) fn collect(parts: &[Part<'_>]) -> String {
    let mut list =
        String::from("The ZTNA Connector is licensed under Apache-2.0. It contains:\n\n");
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for part in parts.iter().filter(|part| !part.is_ours()) {
        let name = format!("{} {}", part.name(), part.version());
        let _ = writeln!(list, "{name}: {}", part.licence());
        for text in texts_beside(part.manifest().as_ref()) {
            texts.entry(text).or_default().push(name.clone());
        }
    }
    let mut sections: Vec<(Vec<String>, String)> = texts
        .into_iter()
        .map(|(text, names)| (names, text))
        .collect();
    sections.sort();
    for (names, text) in sections {
        let _ = write!(
            list,
            "\n{RULE}\n{}\n{RULE}\n\n{}\n",
            names.join(", "),
            text.trim_end()
        );
    }
    list
}

/// Returns the licence texts in a crate's folder, in the order of their files' names.
fn texts_beside(manifest: &Path) -> Vec<String> {
    let folder = manifest
        .parent()
        .into_iter()
        .flat_map(fs::read_dir)
        .flatten();
    let mut files: Vec<_> = folder
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file() && is_licence(path))
        .collect();
    files.sort();
    files
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .map(|text| text.replace("\r\n", "\n"))
        .collect()
}

fn is_licence(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.to_ascii_uppercase();
    let is_text = !name.ends_with(".RS") && !name.ends_with(".TOML");
    is_text
        && ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"]
            .iter()
            .any(|start| name.starts_with(start))
}

const RULE: &str =
    "--------------------------------------------------------------------------------";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_known_by_their_files_names() {
        for (name, expected) in [
            ("LICENSE-MIT", true),
            ("licence.md", true),
            ("COPYING", true),
            ("license.rs", false),
            ("README.md", false),
        ] {
            assert_eq!(is_licence(Path::new(name)), expected, "{name}");
        }
    }
}
