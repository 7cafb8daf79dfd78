//! The repository's rules, as functions from what is in it to what breaks them.
//!
//! `tests/repository.rs` applies each to this repository; the unit tests here prove that each can fail.

pub mod documents;
pub mod graph;
pub mod manifests;
pub mod repository;
pub mod sources;

mod code;

use std::fmt;

/// One place that breaks a rule.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Breach {
    /// The file, relative to the repository's root.
    pub file: String,
    /// The line, from 1; 0 when it is the file as a whole.
    pub line: usize,
    /// The rule and how it is broken, with what to do where that is not plain.
    pub what: String,
}

impl Breach {
    fn new(file: &str, line: usize, what: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            what: what.into(),
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.what),
            line => write!(f, "{}:{line}: {}", self.file, self.what),
        }
    }
}

/// A text file of the repository.
#[derive(Clone, Debug)]
pub struct TextFile {
    /// Its path from the repository's root, with `/` between the parts.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl TextFile {
    /// A file with this path and text.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
        }
    }
}
