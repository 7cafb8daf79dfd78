use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::identity::{HostId, Person, Session, SessionId};

/// Whom or what an event is about (RFC 9493, SSF 1.0 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Several things that must all be right, by member: user, device, session…
    Complex(BTreeMap<Member, Identifier>),
    /// One thing.
    Simple(Identifier),
}

/// A member of a complex subject that can be compared here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Member {
    /// The host.
    Device,
    /// A group that the person is in.
    Group,
    /// The session.
    Session,
    /// The person.
    User,
}

impl Member {
    fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Group => "group",
            Self::Session => "session",
            Self::User => "user",
        }
    }
}

/// A simple subject identifier (RFC 9493 §3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identifier {
    /// Several names of one thing.
    Aliases(Vec<Self>),
    /// An e-mail address, which `account` has behind `acct:`.
    Email(Arc<str>),
    /// A person by provider and subject identifier.
    IssuerAndSubject {
        /// The provider.
        issuer: Arc<str>,
        /// The provider's identifier for the person.
        subject: Arc<str>,
    },
    /// A name that transmitter and receiver agreed upon.
    Opaque(Arc<str>),
    /// A form that nothing here is known by, as `phone_number`.
    Foreign,
}

/// What this device can be the subject of.
#[derive(Debug, Clone, Copy)]
pub struct Local<'a> {
    /// The host, once it is enrolled.
    pub host: Option<&'a HostId>,
    /// The open session, and in it the person.
    pub session: Option<&'a Session>,
    /// The session of an earlier run that this one goes on from, without the person.
    pub restored_from: Option<&'a SessionId>,
}

impl Subject {
    /// Reads a `sub_id`; members that are critical but cannot be compared here are an error.
    pub(super) fn parse(raw: &Map<String, Value>, critical: &[String]) -> Result<Self, Unreadable> {
        let format = text(raw, "format");
        if format.as_deref() != Some("complex") {
            return Ok(Self::Simple(Identifier::parse(raw, NESTING)?));
        }
        let mut members = BTreeMap::new();
        for (name, value) in raw {
            let member = match name.as_str() {
                "device" => Member::Device,
                "group" => Member::Group,
                "session" => Member::Session,
                "user" => Member::User,
                other if critical.iter().any(|critical| critical == other) => {
                    return Err(Unreadable::Critical(other.to_owned()));
                }
                // Nothing on our side to compare with: absent on one side is equal (SSF §3.3).
                _ => continue,
            };
            let raw = value.as_object().ok_or(Unreadable::Malformed)?;
            members.insert(member, Identifier::parse(raw, NESTING)?);
        }
        Ok(Self::Complex(members))
    }

    /// Writes what was read of it.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Complex(members) => {
                let members = members.iter();
                let members = members
                    .map(|(member, identifier)| (member.as_str().to_owned(), identifier.to_json()));
                let format = ("format".to_owned(), "complex".into());
                Value::Object(members.chain([format]).collect())
            }
            Self::Simple(identifier) => identifier.to_json(),
        }
    }

    /// Reads a subject that is known to be one.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn for_tests(raw: &Value) -> Self {
        let members = raw.as_object().expect("an object");
        Self::parse(members, &[]).expect("a subject")
    }

    /// Returns whether the event is about this device, or about who is using it.
    ///
    /// A member that is not known here, such as the user while nobody is signed
    /// in, is not about us.
    #[must_use]
    pub fn concerns(&self, local: Local<'_>) -> bool {
        match self {
            Self::Complex(members) => members
                .iter()
                .all(|(member, identifier)| identifier.names(*member, local)),
            Self::Simple(identifier) => [Member::User, Member::Device, Member::Session]
                .into_iter()
                .any(|member| identifier.names(member, local)),
        }
    }

    /// Returns whether the event is about this device itself: about a user alone it is not.
    #[must_use]
    pub fn concerns_device(&self, local: Local<'_>) -> bool {
        match self {
            Self::Complex(members) => {
                (members.contains_key(&Member::Device) || members.contains_key(&Member::Session))
                    && self.concerns(local)
            }
            Self::Simple(identifier) => [Member::Device, Member::Session]
                .into_iter()
                .any(|member| identifier.names(member, local)),
        }
    }

    /// Returns whether the event is about the session itself, or the one that it goes on from.
    #[must_use]
    pub fn concerns_session(&self, local: Local<'_>) -> bool {
        match self {
            Self::Complex(members) => {
                members.contains_key(&Member::Session) && self.concerns(local)
            }
            Self::Simple(identifier) => identifier.names(Member::Session, local),
        }
    }

    /// Returns whether the event would be about a session of `local`'s person, whichever.
    #[must_use]
    pub fn concerns_any_session(&self, local: Local<'_>) -> bool {
        match self {
            Self::Complex(members) => {
                let is_of_somebody = |member| members.contains_key(&member);
                [Member::User, Member::Device]
                    .into_iter()
                    .any(is_of_somebody)
                    && members
                        .iter()
                        .filter(|(member, _)| **member != Member::Session)
                        .all(|(member, identifier)| identifier.names(*member, local))
            }
            Self::Simple(identifier) => {
                identifier.names(Member::User, local) || identifier.names(Member::Device, local)
            }
        }
    }

    /// Returns whether this is the stream `id` itself, as in a verification.
    #[must_use]
    pub fn is_stream(&self, id: &str) -> bool {
        matches!(self, Self::Simple(Identifier::Opaque(opaque)) if **opaque == *id)
    }
}

impl Identifier {
    fn parse(raw: &Map<String, Value>, nesting: usize) -> Result<Self, Unreadable> {
        let needed = |member: &str| text(raw, member).ok_or(Unreadable::Malformed);
        Ok(match needed("format")?.as_ref() {
            "account" => match needed("uri")?.strip_prefix("acct:") {
                Some(address) => Self::Email(address.into()),
                None => return Err(Unreadable::Malformed),
            },
            "aliases" => {
                let list = raw.get("identifiers").and_then(Value::as_array);
                let list = list
                    .filter(|list| (1..=MAX_ALIASES).contains(&list.len()))
                    .ok_or(Unreadable::Malformed)?;
                // Aliases of aliases are no identifier (RFC 9493 §3.2.8).
                let nesting = nesting.checked_sub(1).ok_or(Unreadable::Malformed)?;
                let identifiers = list.iter().map(|value| {
                    let raw = value.as_object().ok_or(Unreadable::Malformed)?;
                    Self::parse(raw, nesting)
                });
                Self::Aliases(identifiers.collect::<Result<_, _>>()?)
            }
            "email" => Self::Email(needed("email")?),
            "iss_sub" => Self::IssuerAndSubject {
                issuer: needed("iss")?,
                subject: needed("sub")?,
            },
            "opaque" => Self::Opaque(needed("id")?),
            // `did`, `ip-addresses`, `jwt_id`, `phone_number`, `saml_assertion_id`, `uri`, and what is to come.
            _ => Self::Foreign,
        })
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Aliases(aliases) => {
                let identifiers: Vec<Value> = aliases.iter().map(Self::to_json).collect();
                json!({"format": "aliases", "identifiers": identifiers})
            }
            Self::Email(email) => json!({"format": "email", "email": &**email}),
            Self::Foreign => json!({"format": "foreign"}),
            Self::IssuerAndSubject { issuer, subject } => {
                json!({"format": "iss_sub", "iss": &**issuer, "sub": &**subject})
            }
            Self::Opaque(id) => json!({"format": "opaque", "id": &**id}),
        }
    }

    fn names(&self, member: Member, local: Local<'_>) -> bool {
        if let Self::Aliases(aliases) = self {
            return aliases.iter().any(|alias| alias.names(member, local));
        }
        let person = local.session.map(|session| &*session.person);
        match member {
            Member::Device => self.is_opaque(local.host.map(HostId::as_str)),
            Member::Group => person.is_some_and(|person| {
                let groups = person.groups.iter();
                groups.into_iter().any(|group| self.is_opaque(Some(group)))
            }),
            Member::Session => {
                let session = local.session.map(|session| session.id.as_str());
                let restored_from = local.restored_from.map(SessionId::as_str);
                self.is_opaque(session) || self.is_opaque(restored_from)
            }
            Member::User => person.is_some_and(|person| self.is_person(person)),
        }
    }

    fn is_person(&self, person: &Person) -> bool {
        match self {
            Self::Email(address) => person
                .email
                .as_ref()
                .is_some_and(|email| email.eq_ignore_ascii_case(address)),
            // Issuers are compared as they are written, but for a final slash that a URL parser adds.
            Self::IssuerAndSubject { issuer, subject } => {
                issuer.trim_end_matches('/') == person.issuer.trim_end_matches('/')
                    && *subject == person.subject
            }
            Self::Opaque(_) => self.is_opaque(Some(&person.subject)),
            Self::Aliases(_) | Self::Foreign => false,
        }
    }

    fn is_opaque(&self, name: Option<&str>) -> bool {
        matches!(self, Self::Opaque(opaque) if name.is_some_and(|name| **opaque == *name))
    }
}

/// Why a `sub_id` cannot be gone by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// A member that has to be compared and cannot be.
    Critical(String),
    /// A member is missing, or has a wrong type.
    Malformed,
}

fn text(raw: &Map<String, Value>, member: &str) -> Option<Arc<str>> {
    raw.get(member)?.as_str().map(Arc::from)
}

/// Aliases may hold identifiers, but not aliases again.
const NESTING: usize = 1;

const MAX_ALIASES: usize = 32;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::time::{Moment, WallTime};

    #[test]
    fn each_form_of_a_subject_names_who_is_signed_in_and_nobody_else() {
        for (subject, is_us) in [
            (
                json!({"format": "iss_sub", "iss": "https://idp.test", "sub": "alice"}),
                true,
            ),
            (
                json!({"format": "iss_sub", "iss": "https://idp.test/", "sub": "alice"}),
                true,
            ),
            (
                json!({"format": "iss_sub", "iss": "https://other.test", "sub": "alice"}),
                false,
            ),
            (
                json!({"format": "iss_sub", "iss": "https://idp.test", "sub": "bob"}),
                false,
            ),
            (json!({"format": "email", "email": "Alice@corp.test"}), true),
            (json!({"format": "email", "email": "bob@corp.test"}), false),
            (
                json!({"format": "account", "uri": "acct:alice@corp.test"}),
                true,
            ),
            (json!({"format": "opaque", "id": "session-1"}), true),
            (json!({"format": "opaque", "id": "host-1"}), true),
            (json!({"format": "opaque", "id": "session-2"}), false),
            (
                json!({"format": "phone_number", "phone_number": "+1"}),
                false,
            ),
            (json!({"format": "new-in-2030", "x": 1}), false),
            (
                json!({"format": "aliases", "identifiers": [
                    {"format": "email", "email": "bob@corp.test"},
                    {"format": "email", "email": "alice@corp.test"},
                ]}),
                true,
            ),
            (
                json!({"format": "complex",
                    "user": {"format": "email", "email": "alice@corp.test"},
                    "device": {"format": "opaque", "id": "host-1"},
                    "tenant": {"format": "opaque", "id": "corp"}}),
                true,
            ),
            (
                json!({"format": "complex",
                    "user": {"format": "email", "email": "alice@corp.test"},
                    "device": {"format": "opaque", "id": "host-2"}}),
                false,
            ),
            (
                json!({"format": "complex", "group": {"format": "opaque", "id": "staff"}}),
                true,
            ),
            (
                json!({"format": "complex", "group": {"format": "opaque", "id": "ops"}}),
                false,
            ),
        ] {
            let parsed = parse(&subject, &[]).unwrap();

            assert_eq!(
                parsed.concerns(local(&session(), &host())),
                is_us,
                "{subject}"
            );
        }
    }

    #[test]
    fn what_names_a_person_is_not_about_a_device_where_nobody_is_signed_in() {
        let host = host();
        let nobody = Local {
            host: Some(&host),
            session: None,
            restored_from: None,
        };
        let user = json!({"format": "email", "email": "alice@corp.test"});
        let device = json!({"format": "complex", "device": {"format": "opaque", "id": "host-1"}});

        assert!(!parse(&user, &[]).unwrap().concerns(nobody));
        assert!(parse(&device, &[]).unwrap().concerns_device(nobody));
        let session = session();
        assert!(
            !parse(&user, &[])
                .unwrap()
                .concerns_device(local(&session, &host))
        );
    }

    #[test]
    fn a_device_or_a_person_whatever_their_session_is_enough_for_a_sign_in_that_is_restored() {
        let (host, session) = (host(), session());
        let device = json!({"format": "opaque", "id": "host-1"});
        let other = json!({"format": "opaque", "id": "another"});
        let means_us = |members: Value| {
            let mut subject = members;
            subject["format"] = "complex".into();
            let subject = parse(&subject, &[]).unwrap();
            subject.concerns_any_session(local(&session, &host))
        };

        assert!(means_us(json!({"device": device})));
        assert!(means_us(json!({"device": device, "session": other})));
        assert!(!means_us(json!({"device": other})));
        assert!(!means_us(json!({"session": other})));
    }

    #[test]
    fn a_critical_member_that_cannot_be_compared_makes_the_event_unusable() {
        let subject = json!({"format": "complex", "tenant": {"format": "opaque", "id": "corp"}});

        assert_eq!(
            parse(&subject, &["tenant".to_owned()]),
            Err(Unreadable::Critical("tenant".to_owned()))
        );
    }

    #[test]
    fn a_torn_subject_is_refused() {
        let deep = json!({"format": "aliases", "identifiers": [
            {"format": "aliases", "identifiers": [{"format": "opaque", "id": "x"}]}]});
        for bad in [
            json!({}),
            json!({"format": 1}),
            json!({"format": "email"}),
            json!({"format": "email", "email": 1}),
            json!({"format": "iss_sub", "iss": "x"}),
            json!({"format": "account", "uri": "mailto:alice@corp.test"}),
            json!({"format": "aliases", "identifiers": []}),
            json!({"format": "complex", "user": "alice"}),
            deep,
        ] {
            assert_eq!(parse(&bad, &[]), Err(Unreadable::Malformed), "{bad}");
        }
    }

    fn parse(subject: &Value, critical: &[String]) -> Result<Subject, Unreadable> {
        Subject::parse(subject.as_object().unwrap(), critical)
    }

    fn local<'a>(session: &'a Session, host: &'a HostId) -> Local<'a> {
        Local {
            host: Some(host),
            session: Some(session),
            restored_from: None,
        }
    }

    fn host() -> HostId {
        "host-1".into()
    }

    fn session() -> Session {
        Session {
            id: "session-1".into(),
            owner: crate::identity::Owner::Machine,
            person: Arc::new(Person {
                issuer: "https://idp.test".into(),
                subject: "alice".into(),
                name: None,
                email: Some("alice@corp.test".into()),
                groups: vec!["staff".into()],
            }),
            addresses: Arc::default(),
            expires_at: Moment::default(),
            expires_wall: WallTime::default(),
            assurance: None,
        }
    }
}
