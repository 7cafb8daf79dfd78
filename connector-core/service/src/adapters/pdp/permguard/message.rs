//! Permguard's messages, by their field numbers (package `policydecisionpoint`), and
//! `google.protobuf.Struct`.
//!
//! A principal can also carry an identity token and an access token (4 and 5).
//! Permguard does not verify them and writes them into its log, so they have no
//! place here.

use std::collections::BTreeMap;

use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(super) struct AuthorizationCheckRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) authorization_model: Option<AuthorizationModel>,
    #[prost(string, optional, tag = "2")]
    pub(super) request_id: Option<String>,
    #[prost(message, optional, tag = "3")]
    pub(super) subject: Option<Subject>,
    #[prost(message, optional, tag = "4")]
    pub(super) resource: Option<Resource>,
    #[prost(message, optional, tag = "5")]
    pub(super) action: Option<Action>,
    #[prost(message, optional, tag = "6")]
    pub(super) context: Option<Struct>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AuthorizationModel {
    #[prost(int64, tag = "1")]
    pub(super) zone_id: i64,
    #[prost(message, optional, tag = "2")]
    pub(super) policy_store: Option<PolicyStore>,
    #[prost(message, optional, tag = "3")]
    pub(super) principal: Option<Principal>,
    #[prost(message, optional, tag = "4")]
    pub(super) entities: Option<Entities>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PolicyStore {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(string, tag = "2")]
    pub(super) id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Principal {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(string, tag = "2")]
    pub(super) id: String,
    #[prost(string, optional, tag = "3")]
    pub(super) source: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Entities {
    #[prost(string, tag = "1")]
    pub(super) schema: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) items: Vec<Struct>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Subject {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(string, tag = "2")]
    pub(super) id: String,
    #[prost(string, optional, tag = "3")]
    pub(super) source: Option<String>,
    #[prost(message, optional, tag = "4")]
    pub(super) properties: Option<Struct>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Resource {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(string, tag = "2")]
    pub(super) id: String,
    #[prost(message, optional, tag = "3")]
    pub(super) properties: Option<Struct>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Action {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, optional, tag = "2")]
    pub(super) properties: Option<Struct>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AuthorizationCheckResponse {
    #[prost(bool, tag = "1")]
    pub(super) decision: bool,
    #[prost(string, optional, tag = "2")]
    pub(super) request_id: Option<String>,
    #[prost(message, optional, tag = "3")]
    pub(super) context: Option<Context>,
    #[prost(message, repeated, tag = "4")]
    pub(super) evaluations: Vec<Evaluation>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Evaluation {
    #[prost(bool, tag = "1")]
    pub(super) decision: bool,
    #[prost(string, optional, tag = "2")]
    pub(super) request_id: Option<String>,
    #[prost(message, optional, tag = "3")]
    pub(super) context: Option<Context>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Context {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) reason_admin: Option<Reason>,
    #[prost(message, optional, tag = "3")]
    pub(super) reason_user: Option<Reason>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Reason {
    #[prost(string, tag = "1")]
    pub(super) code: String,
    #[prost(string, tag = "2")]
    pub(super) message: String,
}

/// `google.protobuf.Struct`: a JSON object.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Struct {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(super) fields: BTreeMap<String, Value>,
}

/// `google.protobuf.Value`: a JSON value.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Value {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6")]
    pub(super) kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Kind {
    #[prost(int32, tag = "1")]
    Null(i32),
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(bool, tag = "4")]
    Flag(bool),
    #[prost(message, tag = "5")]
    Object(Struct),
    #[prost(message, tag = "6")]
    List(List),
}

/// `google.protobuf.ListValue`: a JSON array.
#[derive(Clone, PartialEq, Message)]
pub(super) struct List {
    #[prost(message, repeated, tag = "1")]
    pub(super) values: Vec<Value>,
}

impl From<&serde_json::Value> for Value {
    fn from(value: &serde_json::Value) -> Self {
        let kind = match value {
            serde_json::Value::Null => Kind::Null(0),
            serde_json::Value::Bool(flag) => Kind::Flag(*flag),
            serde_json::Value::Number(number) => Kind::Number(number.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::String(text) => Kind::Text(text.clone()),
            serde_json::Value::Array(items) => Kind::List(List {
                values: items.iter().map(Self::from).collect(),
            }),
            serde_json::Value::Object(members) => Kind::Object(members.into()),
        };
        Self { kind: Some(kind) }
    }
}

impl From<&serde_json::Map<String, serde_json::Value>> for Struct {
    fn from(members: &serde_json::Map<String, serde_json::Value>) -> Self {
        let fields = members
            .iter()
            .map(|(name, value)| (name.clone(), value.into()))
            .collect();
        Self { fields }
    }
}
