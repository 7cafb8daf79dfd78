//! AuthZEN requests (§5 to §7), read strictly.

use serde::Deserialize;
use serde_json::{Map, Value};

/// A request as it is written; everything may be missing.
#[derive(Debug, Deserialize)]
pub(super) struct RawEvaluations {
    #[serde(flatten)]
    defaults: RawEvaluation,
    evaluations: Option<Vec<RawEvaluation>>,
    options: Option<RawOptions>,
}

#[derive(Debug, Clone, Deserialize)]
struct RawEvaluation {
    subject: Option<RawEntity>,
    action: Option<RawAction>,
    resource: Option<RawEntity>,
    context: Option<Map<String, Value>>,
}

#[derive(Debug, Clone, Deserialize)]
struct RawEntity {
    #[serde(rename = "type")]
    kind: Option<String>,
    id: Option<String>,
    properties: Option<Map<String, Value>>,
}

#[derive(Debug, Clone, Deserialize)]
struct RawAction {
    name: Option<String>,
    properties: Option<Map<String, Value>>,
}

#[derive(Debug, Deserialize)]
struct RawOptions {
    evaluations_semantic: Option<Semantic>,
}

/// When a batch stops (§7.1.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Semantic {
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

impl Semantic {
    pub(super) fn stops_at(self, decision: bool) -> bool {
        match self {
            Self::ExecuteAll => false,
            Self::DenyOnFirstDeny => !decision,
            Self::PermitOnFirstPermit => decision,
        }
    }
}

/// One question.
#[derive(Debug)]
pub(super) struct Evaluation {
    pub(super) subject: Entity,
    pub(super) action: String,
    pub(super) resource: Entity,
    pub(super) context: Map<String, Value>,
}

/// A subject or a resource.
#[derive(Debug)]
pub(super) struct Entity {
    pub(super) kind: String,
    pub(super) id: String,
    pub(super) properties: Map<String, Value>,
}

/// One question or several.
#[derive(Debug)]
pub(super) enum Batch {
    Many(Vec<Result<Evaluation, Malformed>>, Semantic),
    Single(Box<Evaluation>),
}

impl RawEvaluations {
    pub(super) fn into_single(self) -> Result<Evaluation, Malformed> {
        self.defaults.parse()
    }

    /// Fills each item with the members that it leaves out. Without items the
    /// request is a single question (§7.1).
    pub(super) fn into_batch(self) -> Result<Batch, Malformed> {
        let Some(items) = self.evaluations.filter(|items| !items.is_empty()) else {
            return self.defaults.parse().map(Box::new).map(Batch::Single);
        };
        let semantic = self
            .options
            .and_then(|options| options.evaluations_semantic)
            .unwrap_or(Semantic::ExecuteAll);
        let defaults = self.defaults;
        let items = items
            .into_iter()
            .map(|item| {
                RawEvaluation {
                    subject: item.subject.or_else(|| defaults.subject.clone()),
                    action: item.action.or_else(|| defaults.action.clone()),
                    resource: item.resource.or_else(|| defaults.resource.clone()),
                    context: item.context.or_else(|| defaults.context.clone()),
                }
                .parse()
            })
            .collect();
        Ok(Batch::Many(items, semantic))
    }
}

impl RawEvaluation {
    fn parse(self) -> Result<Evaluation, Malformed> {
        Ok(Evaluation {
            subject: RawEntity::parse(self.subject, "subject")?,
            action: {
                let action = self.action.ok_or_else(|| Malformed::missing("action"))?;
                drop(action.properties);
                filled(action.name, "action.name")?
            },
            resource: RawEntity::parse(self.resource, "resource")?,
            context: self.context.unwrap_or_default(),
        })
    }
}

impl RawEntity {
    fn parse(raw: Option<Self>, member: &str) -> Result<Entity, Malformed> {
        let raw = raw.ok_or_else(|| Malformed::missing(member))?;
        Ok(Entity {
            kind: filled(raw.kind, &format!("{member}.type"))?,
            id: filled(raw.id, &format!("{member}.id"))?,
            properties: raw.properties.unwrap_or_default(),
        })
    }
}

fn filled(text: Option<String>, member: &str) -> Result<String, Malformed> {
    text.filter(|text| !text.is_empty())
        .ok_or_else(|| Malformed::missing(member))
}

/// A request that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the request cannot be evaluated: {0}")]
pub(super) struct Malformed(String);

impl Malformed {
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self(problem.into())
    }

    fn missing(member: &str) -> Self {
        Self(format!("{member} is missing or empty"))
    }
}
