//! What the person likes: kept in one small file of theirs, which the tray and the window share.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use connector_platform::paths::Paths;

/// What the person likes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preferences {
    /// The ids of the applications that come first.
    pub favourites: BTreeSet<String>,
    /// Whether the window is light or dark.
    pub theme: Theme,
}

/// Whether the window is light or dark.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Theme {
    /// As the rest of the desktop.
    #[default]
    System,
    /// Dark on bright.
    Light,
    /// Bright on dark.
    Dark,
}

impl Preferences {
    /// Reads the lines of the file; what is not understood is left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut preferences = Self::default();
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("favourite", id)) if preferences.favourites.len() < MAX_FAVOURITES => {
                    preferences.favourites.insert(id.trim().to_owned());
                }
                Some(("theme", "dark")) => preferences.theme = Theme::Dark,
                Some(("theme", "light")) => preferences.theme = Theme::Light,
                Some(_) | None => {}
            }
        }
        preferences
    }

    /// Returns the lines of the file.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::from("# Written by the ZTNA Connector's window.\n");
        match self.theme {
            Theme::Dark => text.push_str("theme dark\n"),
            Theme::Light => text.push_str("theme light\n"),
            Theme::System => {}
        }
        for id in &self.favourites {
            text.push_str("favourite ");
            text.push_str(id);
            text.push('\n');
        }
        text
    }

    /// Takes an application among the favourites, or out of them.
    pub fn turn(&mut self, id: &str) {
        let is_one_line = !id.is_empty() && !id.chars().any(char::is_control);
        if !self.favourites.remove(id) && is_one_line && self.favourites.len() < MAX_FAVOURITES {
            self.favourites.insert(id.to_owned());
        }
    }

    /// Reads a file; one that is not there, or cannot be read, says nothing.
    #[must_use]
    pub fn load(path: &Path) -> Self {
        let mut text = String::new();
        let read =
            fs::File::open(path).and_then(|file| file.take(LONGEST_FILE).read_to_string(&mut text));
        match read {
            Ok(_) => Self::parse(&text),
            Err(_) => Self::default(),
        }
    }

    /// Writes a file, so that whoever reads it sees the one before or this one.
    ///
    /// # Errors
    ///
    /// What the system says if it cannot be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let fresh = path.with_extension("new");
        fs::write(&fresh, self.render())?;
        fs::rename(&fresh, path)
    }
}

/// Returns where the file is, if the environment tells.
#[must_use]
pub fn path() -> Option<PathBuf> {
    let config = Paths::user().ok()?.user_config?;
    Some(config.with_file_name("preferences"))
}

/// Nobody likes more than that.
const MAX_FAVOURITES: usize = 200;

/// A file that is longer is not ours.
const LONGEST_FILE: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ztna/preferences");
        let mut preferences = Preferences::default();
        preferences.turn("wiki");
        preferences.turn("with a blank");
        preferences.theme = Theme::Dark;

        preferences.save(&path).unwrap();

        assert_eq!(Preferences::load(&path), preferences);
        preferences.turn("wiki");
        preferences.save(&path).unwrap();
        assert_eq!(Preferences::load(&path), preferences);
        assert_eq!(preferences.favourites.len(), 1);
    }

    #[test]
    fn a_file_that_is_missing_or_makes_no_sense_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("preferences");

        assert_eq!(Preferences::load(&path), Preferences::default());
        fs::write(&path, b"\xff\xfe favourite").unwrap();
        assert_eq!(Preferences::load(&path), Preferences::default());
        fs::write(&path, "theme pink\nfavourite\nx y\n").unwrap();
        assert_eq!(Preferences::load(&path), Preferences::default());
    }

    #[test]
    fn no_id_becomes_two_lines_and_no_list_has_no_end() {
        let mut preferences = Preferences::default();
        preferences.turn("a\ntheme dark");
        preferences.turn("");
        for number in 0..1000 {
            preferences.turn(&number.to_string());
        }

        assert_eq!(preferences.favourites.len(), MAX_FAVOURITES);
        assert_eq!(Preferences::parse(&preferences.render()), preferences);
    }
}
