//! One place where settings come from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::nearest::nearest;
use super::{Flags, KEYS, Key, Kind};

/// The settings of one place.
#[derive(Debug, Default)]
pub(super) struct Layer {
    values: BTreeMap<String, (Value, Origin)>,
}

/// A setting's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Flag(bool),
    List(Vec<String>),
    Text(String),
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    Environment(&'static str),
    File { path: PathBuf, line: usize },
    Flag(&'static str),
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("{origin}: {key} = {value:?} cannot be used: {problem}")]
    Invalid {
        key: &'static str,
        value: String,
        origin: Origin,
        problem: String,
    },
    #[error("{key} is not set; set it in {}, in another file given with --config, or in the environment variable {}", file.display(), variable(key))]
    Missing { key: &'static str, file: PathBuf },
    #[error("cannot read {}: {problem}", path.display())]
    Read {
        path: PathBuf,
        problem: std::io::Error,
    },
    #[error("{}, line {line}: {problem}", path.display())]
    Syntax {
        path: PathBuf,
        line: usize,
        problem: String,
    },
    #[error("{}, line {line}: there is no setting {key:?}{}", path.display(), did_you_mean(nearest))]
    UnknownKey {
        path: PathBuf,
        line: usize,
        key: String,
        nearest: Option<&'static str>,
    },
}

impl Layer {
    /// Reads a file that need not be there.
    pub(super) fn read(path: &Path) -> Result<Self, SettingsError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(problem) => Err(SettingsError::Read {
                path: path.to_owned(),
                problem,
            }),
        }
    }

    /// Reads a file that somebody named.
    pub(super) fn read_required(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path).map_err(|problem| SettingsError::Read {
            path: path.to_owned(),
            problem,
        })?;
        Self::parse(path, &text)
    }

    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, SettingsError> {
        let table = DeTable::parse(text).map_err(|error| SettingsError::Syntax {
            path: path.to_owned(),
            line: error.span().map_or(1, |span| line(text, span.start)),
            problem: error.message().to_owned(),
        })?;
        let mut layer = Self::default();
        layer.take_table(path, text, "", table.get_ref())?;

        Ok(layer)
    }

    pub(super) fn from_flags(flags: Flags) -> Self {
        let values = flags
            .into_iter()
            .map(|(key, (flag, text))| (key.to_owned(), (Value::Text(text), Origin::Flag(flag))))
            .collect();
        Self { values }
    }

    pub(super) fn from_environment(
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let mut layer = Self::default();
        for key in KEYS {
            let Some(text) = environment(key.variable) else {
                continue;
            };
            let origin = Origin::Environment(key.variable);
            let value = match key.kind {
                Kind::Text => Value::Text(text),
                Kind::List => {
                    Value::List(text.split(',').map(|item| item.trim().to_owned()).collect())
                }
                Kind::Flag => match text.as_str() {
                    "true" | "1" => Value::Flag(true),
                    "false" | "0" => Value::Flag(false),
                    _ => {
                        return Err(SettingsError::Invalid {
                            key: key.name,
                            value: text,
                            origin,
                            problem: "write true or false".to_owned(),
                        });
                    }
                },
            };
            layer.values.insert(key.name.to_owned(), (value, origin));
        }
        Ok(layer)
    }

    pub(super) fn from_defaults(defaults: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        let values = defaults
            .into_iter()
            .map(|(key, value)| (key.to_owned(), (value, Origin::Default)))
            .collect();
        Self { values }
    }

    pub(super) fn find(&self, key: &str) -> Option<(&Value, &Origin)> {
        self.values.get(key).map(|(value, origin)| (value, origin))
    }

    fn take_table(
        &mut self,
        path: &Path,
        text: &str,
        prefix: &str,
        table: &DeTable<'_>,
    ) -> Result<(), SettingsError> {
        for (name, value) in table {
            let dotted = match prefix {
                "" => name.get_ref().to_string(),
                _ => format!("{prefix}.{}", name.get_ref()),
            };
            let line = line(text, name.span().start);
            match (KEYS.iter().find(|key| key.name == dotted), value.get_ref()) {
                (Some(key), value) => {
                    let origin = Origin::File {
                        path: path.to_owned(),
                        line,
                    };
                    let value = parse_value(key, value, &origin)?;
                    self.values.insert(dotted, (value, origin));
                }
                (None, DeValue::Table(table)) if is_section(&dotted) => {
                    self.take_table(path, text, &dotted, table)?;
                }
                (None, _) => {
                    return Err(SettingsError::UnknownKey {
                        path: path.to_owned(),
                        line,
                        nearest: nearest(&dotted, KEYS.iter().map(|key| key.name)),
                        key: dotted,
                    });
                }
            }
        }
        Ok(())
    }
}

fn parse_value(key: &Key, value: &DeValue<'_>, origin: &Origin) -> Result<Value, SettingsError> {
    let invalid = |problem: &str| SettingsError::Invalid {
        key: key.name,
        value: format!("a {}", value.type_str()),
        origin: origin.clone(),
        problem: problem.to_owned(),
    };
    match key.kind {
        Kind::Flag => value
            .as_bool()
            .map(Value::Flag)
            .ok_or_else(|| invalid("write true or false")),
        Kind::Text => value
            .as_str()
            .map(|text| Value::Text(text.to_owned()))
            .ok_or_else(|| invalid("write a text in quotes")),
        Kind::List => {
            let wrong = || invalid("write a list of texts, as in [\"corp.example\"]");
            let items = value.as_array().ok_or_else(wrong)?;
            items
                .iter()
                .map(|item| item.get_ref().as_str().map(str::to_owned).ok_or_else(wrong))
                .collect::<Result<_, _>>()
                .map(Value::List)
        }
    }
}

fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| {
        key.name
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('.'))
    })
}

fn line(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    before.split(|byte| *byte == b'\n').count()
}

fn variable(name: &str) -> &'static str {
    KEYS.iter()
        .find(|key| key.name == name)
        .map_or("", |key| key.variable)
}

fn did_you_mean(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |key| format!("; did you mean {key:?}?"))
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => flag.fmt(f),
            Self::List(items) => write!(f, "{items:?}"),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
            Self::File { path, line } => write!(f, "{}, line {line}", path.display()),
            Self::Flag(flag) => write!(f, "flag --{flag}"),
        }
    }
}
