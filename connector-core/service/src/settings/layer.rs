//! One place where settings come from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use connector_platform::managed::{Found, Given, ManagedError};
use toml::de::{DeTable, DeValue};

use super::nearest::nearest;
use super::{Flags, KEYS, Key, Kind, Place};

/// The settings of one place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Layer {
    values: BTreeMap<String, (Value, Origin)>,
    /// Whether only the administrator can have set them.
    is_managed: bool,
}

/// A setting's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Flag(bool),
    List(Vec<String>),
    Number(u64),
    Text(String),
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    Environment(&'static str),
    File {
        path: PathBuf,
        line: usize,
    },
    Flag(&'static str),
    /// A place of the system for managed settings, with the name there.
    Native(String),
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
    #[error(transparent)]
    Managed(#[from] ManagedError),
    #[error("{}, line {line}: {key} is the administrator's to set, in the managed settings alone; take it out here", path.display())]
    ManagedOnly {
        path: PathBuf,
        line: usize,
        key: &'static str,
    },
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
    #[error("{place}: there is no setting {key:?}{}", did_you_mean(nearest))]
    UnknownNative {
        place: String,
        key: String,
        nearest: Option<&'static str>,
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

    /// Takes the text of a file.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, SettingsError> {
        Self::default().with_file(path, text)
    }

    /// Takes the text of the managed file.
    pub(super) fn parse_managed(path: &Path, text: &str) -> Result<Self, SettingsError> {
        let layer = Self {
            is_managed: true,
            ..Self::default()
        };
        layer.with_file(path, text)
    }

    /// Takes what the system's own place for managed settings says.
    pub(super) fn from_native(found: Found) -> Result<Self, SettingsError> {
        let mut layer = Self {
            is_managed: true,
            ..Self::default()
        };
        for (name, given) in found.values {
            let Some(key) = KEYS.iter().find(|key| key.name == name) else {
                return Err(SettingsError::UnknownNative {
                    place: found.place,
                    nearest: nearest(&name, KEYS.iter().map(|key| key.name)),
                    key: name,
                });
            };
            let origin = Origin::Native(format!("{}, {name}", found.place));
            let value = native_value(key, given, &origin)?;
            layer.values.insert(name, (value, origin));
        }
        Ok(layer)
    }

    pub(super) const fn is_managed(&self) -> bool {
        self.is_managed
    }

    fn with_file(mut self, path: &Path, text: &str) -> Result<Self, SettingsError> {
        let table = DeTable::parse(text).map_err(|error| SettingsError::Syntax {
            path: path.to_owned(),
            line: error.span().map_or(1, |span| line(text, span.start)),
            problem: error.message().to_owned(),
        })?;
        self.take_table(path, text, "", table.get_ref())?;

        Ok(self)
    }

    pub(super) fn from_flags(flags: Flags) -> Self {
        let values = flags
            .into_iter()
            .map(|(key, (flag, text))| (key.to_owned(), (Value::Text(text), Origin::Flag(flag))))
            .collect();
        Self {
            values,
            is_managed: false,
        }
    }

    pub(super) fn from_environment(
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let mut layer = Self::default();
        for key in KEYS {
            let Place::Anywhere(variable) = key.place else {
                continue;
            };
            let Some(text) = environment(variable) else {
                continue;
            };
            let origin = Origin::Environment(variable);
            let value = match key.kind {
                // No number can be set here; what is none is refused where it is parsed.
                Kind::Number | Kind::Text => Value::Text(text),
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

    /// Takes the defaults of the table, and those that depend on the machine.
    pub(super) fn from_defaults(
        of_machine: impl IntoIterator<Item = (&'static str, Value)>,
    ) -> Result<Self, SettingsError> {
        let is_written = |key: &&Key| !key.default.is_empty() && !key.default.starts_with('(');
        let lines = KEYS.iter().filter(is_written);
        let text: String = lines
            .map(|key| format!("{} = {}\n", key.name, key.default))
            .collect();
        let mut layer = Self::parse_managed(Path::new("the defaults"), &text)?;
        layer.is_managed = false;
        for (_, origin) in layer.values.values_mut() {
            *origin = Origin::Default;
        }
        let of_machine = of_machine.into_iter();
        let of_machine = of_machine.map(|(key, value)| (key.to_owned(), (value, Origin::Default)));
        layer.values.extend(of_machine);
        Ok(layer)
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
                (Some(key), _) if key.place == Place::Managed && !self.is_managed => {
                    return Err(SettingsError::ManagedOnly {
                        path: path.to_owned(),
                        line,
                        key: key.name,
                    });
                }
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
        Kind::Number => value
            .as_integer()
            .and_then(|integer| u64::from_str_radix(integer.as_str(), integer.radix()).ok())
            .map(Value::Number)
            .ok_or_else(|| invalid("write a whole number without quotes")),
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

/// Takes a value from where the system may not know every kind: 1 and 0 are yes and no.
fn native_value(key: &Key, given: Given, origin: &Origin) -> Result<Value, SettingsError> {
    let (expected, found) = match (key.kind, given) {
        (Kind::Flag, Given::Flag(flag)) => return Ok(Value::Flag(flag)),
        (Kind::Flag, Given::Number(number @ 0..=1)) => return Ok(Value::Flag(number == 1)),
        (Kind::List, Given::List(items)) => return Ok(Value::List(items)),
        (Kind::Number, Given::Number(number)) => return Ok(Value::Number(number)),
        (Kind::Text, Given::Text(text)) => return Ok(Value::Text(text)),
        (Kind::Flag, found) => ("write yes or no: true or false, or 1 or 0", found),
        (Kind::List, found) => ("write a list of texts", found),
        (Kind::Number, found) => ("write a whole number", found),
        (Kind::Text, found) => ("write a text", found),
    };
    let value = match found {
        Given::Flag(flag) => flag.to_string(),
        Given::List(_) => "a list".to_owned(),
        Given::Number(number) => number.to_string(),
        Given::Other(kind) => kind.to_owned(),
        Given::Text(text) => text,
    };
    Err(SettingsError::Invalid {
        key: key.name,
        value,
        origin: origin.clone(),
        problem: expected.to_owned(),
    })
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
        .map_or("", |key| match key.place {
            Place::Anywhere(variable) => variable,
            Place::Managed => "",
        })
}

fn did_you_mean(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |key| format!("; did you mean {key:?}?"))
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => flag.fmt(f),
            Self::List(items) => write!(f, "{items:?}"),
            Self::Number(number) => number.fmt(f),
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
            Self::Native(place) => f.write_str(place),
        }
    }
}
