//! Names of protected applications.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

/// A fully qualified host name in lower case without the final dot (RFC 1123).
#[derive(Clone, Eq)]
pub struct DomainName(Arc<str>);

/// Copies of one name share its text, which then need not be read.
impl Ord for DomainName {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) {
            return Ordering::Equal;
        }
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for DomainName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for DomainName {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl DomainName {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether this name lies below `suffix`, or is it.
    #[must_use]
    pub fn is_within(&self, suffix: &Self) -> bool {
        self == suffix || self.is_below(suffix)
    }

    fn is_below(&self, suffix: &Self) -> bool {
        self.0
            .strip_suffix(&*suffix.0)
            .is_some_and(|rest| rest.ends_with('.'))
    }
}

impl Hash for DomainName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// Names are looked up by their text, which they are equal to and ordered as.
impl Borrow<str> for DomainName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for DomainName {
    type Err = InvalidName;

    /// Parses a host name; upper case and one final dot are tolerated.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(InvalidName::new(text, "a name has 1 to 253 characters"));
        }
        if !name.split('.').all(is_label) {
            return Err(InvalidName::new(
                text,
                "each label has 1 to 63 letters, digits, hyphens or underscores; write international names in their xn-- form",
            ));
        }
        if name.rsplit('.').next().is_some_and(looks_numeric) {
            return Err(InvalidName::new(text, "this is an address, not a name"));
        }

        Ok(Self(name.to_ascii_lowercase().into()))
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One name, or every name below one: `wiki.corp.example`, `*.dev.example`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamePattern {
    /// Every name below the given one, at any depth, but not itself.
    Below(DomainName),
    /// This name alone.
    Exactly(DomainName),
}

impl NamePattern {
    /// Returns whether `name` matches.
    #[must_use]
    pub fn matches(&self, name: &DomainName) -> bool {
        match self {
            Self::Below(suffix) => name.is_below(suffix),
            Self::Exactly(exact) => name == exact,
        }
    }

    /// Returns the name that the pattern is anchored at.
    #[must_use]
    pub fn anchor(&self) -> &DomainName {
        match self {
            Self::Below(name) | Self::Exactly(name) => name,
        }
    }
}

impl FromStr for NamePattern {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text.strip_prefix("*.") {
            Some(suffix) => suffix.parse().map(Self::Below),
            None => text.parse().map(Self::Exactly),
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Below(name) => write!(f, "*.{name}"),
            Self::Exactly(name) => name.fmt(f),
        }
    }
}

/// A text that names no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a host name: {rule}")]
pub struct InvalidName {
    text: String,
    rule: &'static str,
}

impl InvalidName {
    fn new(text: &str, rule: &'static str) -> Self {
        Self {
            text: text.chars().take(MAX_NAME).collect(),
            rule,
        }
    }
}

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Tells the last label of an IPv4 address in any of the forms that resolvers accept.
fn looks_numeric(label: &str) -> bool {
    let hex = label
        .strip_prefix("0x")
        .or_else(|| label.strip_prefix("0X"))
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    hex || label.bytes().all(|byte| byte.is_ascii_digit())
}

/// The longest name that fits a DNS message (RFC 1035 §2.3.4).
const MAX_NAME: usize = 253;

/// The longest label (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_compare_without_case_and_final_dot() {
        assert_eq!(name("Wiki.Corp.Test."), name("wiki.corp.test"));
    }

    #[test]
    fn a_wildcard_covers_every_depth_but_not_its_anchor() {
        let pattern: NamePattern = "*.dev.example".parse().unwrap();

        assert!(pattern.matches(&name("a.dev.example")));
        assert!(pattern.matches(&name("b.a.dev.example")));
        assert!(!pattern.matches(&name("dev.example")));
        assert!(!pattern.matches(&name("xdev.example")));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "a".repeat(64);
        for text in [
            "",
            ".",
            "a..b",
            "-a.b",
            "a-.b",
            "a b",
            "münchen.example",
            "10.0.0.1",
            "0x7f.1",
            "127.0.0.0x1",
            "a/b",
            "a:80",
            "*",
            "*.",
            &long,
        ] {
            assert!(text.parse::<NamePattern>().is_err(), "{text:?}");
        }
    }

    fn name(text: &str) -> DomainName {
        text.parse().unwrap()
    }
}
