//! Policies as they are written: cut into pieces, parsed, checked, annotated.

mod annotations;
mod source;
mod times;

use std::fmt;
use std::sync::Arc;

use cedar_policy::ffi::DetailedError;
use cedar_policy::{Effect, ParseErrors, PolicyId, PolicySet, ValidationMode};

pub use self::annotations::{Annotations, InvalidAnnotation};
pub(crate) use self::times::Edges;
use self::times::Finder;
use crate::schema;

/// One policy that was parsed, validated against the schema, and understood.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The name that it has in decisions: its `@id`.
    pub id: Arc<str>,
    /// Where it is written.
    pub place: Place,
    /// What it says beyond Cedar.
    pub annotations: Annotations,
    pub(crate) cedar: cedar_policy::Policy,
    pub(crate) edges: Edges,
}

impl Policy {
    /// Returns whether the policy permits or forbids.
    #[must_use]
    pub fn is_permit(&self) -> bool {
        self.cedar.effect() == Effect::Permit
    }

    /// Returns the policy as people write it.
    #[must_use]
    pub fn source(&self) -> String {
        self.cedar.to_string()
    }
}

/// A place in a file of the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file's name.
    pub file: Arc<str>,
    /// The line, counted from 1.
    pub line: usize,
}

impl Place {
    /// Returns where an offset into the text that begins here is.
    fn at(&self, text: &str, offset: usize) -> Self {
        Self {
            file: Arc::clone(&self.file),
            line: self.line + source::line(text.as_bytes(), offset) - 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Reads every policy of files as people write them, in their order.
///
/// # Errors
///
/// The first [`InvalidPolicy`], with its line.
pub(crate) fn read_sources(files: &[(&str, &[u8])]) -> Result<Vec<Vec<Policy>>, InvalidPolicy> {
    let mut located = Vec::new();
    for (number, (file, text)) in files.iter().enumerate() {
        let file: Arc<str> = (*file).into();
        let text = str::from_utf8(text).map_err(|error| InvalidPolicy {
            place: Place {
                file: Arc::clone(&file),
                line: source::line(text, error.valid_up_to()),
            },
            problem: Problem::NotUtf8,
        })?;
        for piece in source::pieces(text) {
            let place = Place {
                file: Arc::clone(&file),
                line: piece.line,
            };
            piece.check().map_err(|problem| InvalidPolicy {
                place: place.clone(),
                problem,
            })?;
            located.push((number, piece.text, place));
        }
    }

    let mut finder = Finder::default();
    let mut policies: Vec<Vec<Policy>> = files.iter().map(|_| Vec::new()).collect();
    for batch in located.chunks(BATCH) {
        for ((number, text, place), (cedar, start)) in batch.iter().zip(parse(batch)?) {
            let at = |offset: usize| place.at(text, offset.saturating_sub(start));
            let policy = understand(cedar, text, &mut finder, at)?;
            policies[*number].push(policy);
        }
    }
    Ok(policies)
}

/// Parses policies together: a parser takes longer to begin than to read one.
/// If any is refused, each is parsed by itself to find out which. With each goes
/// where it begins in the text that its offsets are about.
fn parse(
    batch: &[(usize, &str, Place)],
) -> Result<Vec<(cedar_policy::Policy, usize)>, InvalidPolicy> {
    let texts: Vec<&str> = batch.iter().map(|(_, text, _)| *text).collect();
    // What is not finished would go on in the next one.
    let finished = texts.iter().all(|text| text.ends_with(';'));
    if let Ok(all) = texts.join("\n").parse::<PolicySet>()
        && finished
        && all.num_of_policies() == texts.len()
    {
        let mut start = 0;
        let found = texts.iter().enumerate().filter_map(|(number, text)| {
            let policy = all.policy(&PolicyId::new(format!("policy{number}")))?;
            let found = (policy.clone(), start);
            start += text.len() + 1;
            Some(found)
        });
        let found: Vec<_> = found.collect();
        if found.len() == texts.len() {
            return Ok(found);
        }
    }
    let alone = batch.iter().map(|(_, text, place)| {
        let parsed: PolicySet = text.parse().map_err(|errors: ParseErrors| {
            let error = errors
                .iter()
                .next()
                .map_or_else(|| DetailedError::from(&errors), DetailedError::from);
            InvalidPolicy {
                place: place.at(text, offset(&error)),
                problem: Problem::Syntax(error.message),
            }
        })?;
        let policy = parsed.policies().next().cloned();
        let policy = policy.map(|policy| (policy, 0));
        policy.ok_or_else(|| InvalidPolicy {
            place: place.clone(),
            problem: Problem::Template,
        })
    });
    alone.collect()
}

/// Reads a blob of one policy in Cedar's JSON form.
///
/// # Errors
///
/// [`InvalidPolicy`], which is about the first line: the form has no others.
pub(crate) fn read_json(file: &str, text: &[u8]) -> Result<Policy, InvalidPolicy> {
    let place = Place {
        file: file.into(),
        line: 1,
    };
    let refused = |problem| InvalidPolicy {
        place: place.clone(),
        problem,
    };
    if text.len() > source::MAX_POLICY {
        return Err(refused(Problem::TooLong(text.len())));
    }
    let json: serde_json::Value = serde_json::from_slice(text)
        .map_err(|error| refused(Problem::Syntax(error.to_string())))?;
    // Written anew, whatever escapes it was written with.
    let plain = json.to_string();
    let cedar = cedar_policy::Policy::from_json(Some(PolicyId::new(PROVISIONAL)), json)
        .map_err(|error| refused(Problem::Syntax(error.to_string())))?;
    understand(cedar, &plain, &mut Finder::default(), |_| place.clone())
}

/// Takes the id from its annotation, validates, and finds out what else the policy says.
fn understand<'a>(
    cedar: cedar_policy::Policy,
    text: &'a str,
    finder: &mut Finder<'a>,
    at_offset: impl Fn(usize) -> Place,
) -> Result<Policy, InvalidPolicy> {
    let place = at_offset(0);
    let refused = |problem| InvalidPolicy {
        place: place.clone(),
        problem,
    };
    let (id, annotations) = annotations::read(&cedar).map_err(|error| refused(error.into()))?;
    let cedar = cedar.new_id(PolicyId::new(&id));

    let only = PolicySet::from_policies([cedar.clone()])
        .map_err(|error| refused(Problem::Syntax(error.to_string())))?;
    let validated = schema::validator().validate(&only, ValidationMode::Strict);
    if let Some(error) = validated.validation_errors().next() {
        let error = DetailedError::from(error);
        return Err(InvalidPolicy {
            place: at_offset(offset(&error)),
            problem: Problem::Schema(with_help(error)),
        });
    }
    // Among the warnings is that a policy can never apply, as happens to a
    // forbid whose author misspelt a member behind `has`.
    if let Some(warning) = validated.validation_warnings().next() {
        let warning = DetailedError::from(warning);
        return Err(InvalidPolicy {
            place: at_offset(offset(&warning)),
            problem: Problem::Schema(with_help(warning)),
        });
    }
    let edges = finder
        .edges(&cedar, text)
        .map_err(|what| refused(Problem::Time(what)))?;
    Ok(Policy {
        id,
        place,
        annotations,
        cedar,
        edges,
    })
}

fn offset(error: &DetailedError) -> usize {
    let first = error.source_locations.first();
    first.map_or(0, |label| label.loc.start)
}

fn with_help(error: DetailedError) -> String {
    match error.help {
        Some(help) => format!("{} ({help})", error.message),
        None => error.message,
    }
}

/// Why a policy is refused, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct InvalidPolicy {
    /// Where.
    pub place: Place,
    /// Why.
    pub problem: Problem,
}

/// What is wrong with a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// An annotation is missing, unknown, or cannot be read.
    #[error(transparent)]
    Annotation(#[from] InvalidAnnotation),
    /// Another policy has the same id.
    #[error("the id {id:?} is taken by the policy at {other}; ids are unique in a commit")]
    IdTwice {
        /// The id.
        id: Arc<str>,
        /// The other policy.
        other: Place,
    },
    /// The text is no UTF-8.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// It does not fit the schema.
    #[error("the policy does not fit the schema: {0}")]
    Schema(String),
    /// It is not Cedar.
    #[error("the policy is not Cedar: {0}")]
    Syntax(String),
    /// It has slots to be filled in.
    #[error("the policy is a template; write one policy for each of its uses")]
    Template,
    /// It uses the time so that nobody can tell when its answer changes.
    #[error("the policy {0}")]
    Time(Unbounded),
    /// Its conditions have too many operators.
    #[error("the policy has {0} operators; the limit is 400: split it")]
    TooComplex(usize),
    /// Its brackets and conditionals are nested too deep.
    #[error("the policy is nested {0} deep; the limit is 32: split it")]
    TooDeep(usize),
    /// It is too long.
    #[error("the policy has {0} bytes; the limit is 16384: split it")]
    TooLong(usize),
}

pub use self::times::Unbounded;

/// Bytes of stack that suffice to read the most complex policy that is accepted. Unoptimised frames are several times as large.
pub const STACK: usize = if cfg!(debug_assertions) {
    3 << 20
} else {
    1 << 20
};

/// Enough that a parser's beginning does not count, few enough that a policy
/// does not keep much text of others alive.
const BATCH: usize = 64;

/// What a policy is called until its annotation was read.
const PROVISIONAL: &str = "policy";

#[cfg(test)]
mod tests;
