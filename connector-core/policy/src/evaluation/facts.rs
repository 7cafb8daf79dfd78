//! Requests in the words of the schema.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression,
};
use connector_core::access::Workload;
use connector_core::authzen::AccessRequest;
use connector_core::catalogue::{Resource, ResourceId};
use connector_core::identity::{Assurance, HostId, Person, SessionId};
use connector_core::network::NetworkKind;
use connector_core::posture::{Finding, TrustLevel, Verdict};
use connector_core::time::WallTime;
use connector_core::trust::{Acting, TrustRequest};

use crate::snapshot::Action;

/// What a decision rests on beside the request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// How long the control plane has been silent, if for too long.
    pub offline_for: Option<Duration>,
}

/// A person on a device in a state, as policies see them: made once, asked about often.
#[derive(Debug)]
pub struct Subject {
    person: Arc<Person>,
    session: SessionId,
    assurance: Option<Arc<Assurance>>,
    host: Option<HostId>,
    verdict: Verdict,
    /// The person, and the groups.
    principals: Vec<EntityUid>,
    actual: Standing,
    compliant: Option<Standing>,
}

/// What of a subject depends on the device's state.
#[derive(Debug)]
pub(crate) struct Standing {
    entities: Entities,
    context: Vec<(&'static str, RestrictedExpression)>,
    /// The entities of what was asked about of late.
    surroundings: Mutex<Surroundings>,
}

/// The entities of a resource and a program, with the resource as it was then.
type Surroundings = BTreeMap<(ResourceId, Workload), (Arc<Resource>, Arc<Entities>)>;

impl Subject {
    /// Returns the subject of a request.
    ///
    /// # Errors
    ///
    /// [`Unanswerable`] if it cannot be put into the words of the schema.
    pub fn of(request: &AccessRequest) -> Result<Self, Unanswerable> {
        Self::new(&Asker {
            person: &request.person,
            session: &request.session,
            assurance: request.assurance.as_ref(),
            host: request.host.as_ref(),
            verdict: &request.verdict,
        })
    }

    /// Returns the subject of a wish.
    ///
    /// # Errors
    ///
    /// [`Unanswerable`] if it cannot be put into the words of the schema.
    pub fn of_wish(request: &TrustRequest) -> Result<Self, Unanswerable> {
        Self::new(&Asker {
            person: &request.person,
            session: &request.session,
            assurance: request.assurance.as_ref(),
            host: request.host.as_ref(),
            verdict: &request.verdict,
        })
    }

    fn new(request: &Asker<'_>) -> Result<Self, Unanswerable> {
        let person = request.person;
        let principals = principals(person);

        let found = |wanted| {
            let findings = request.verdict.findings();
            findings
                .filter(|(_, finding)| *finding == wanted)
                .map(|(check, _)| check.as_str().to_owned())
                .collect::<Vec<String>>()
        };
        let measured = Measured {
            level: request.verdict.trust_level(),
            passed: found(Finding::Pass),
            failed: found(Finding::Fail),
            unknown: found(Finding::Unknown),
        };
        let mut compliant = None;
        if measured.level != TrustLevel::High {
            let all = request.verdict.findings();
            let measured = Measured {
                level: TrustLevel::High,
                passed: all.map(|(check, _)| check.as_str().to_owned()).collect(),
                failed: vec![],
                unknown: vec![],
            };
            compliant = Some(Standing::new(request, measured)?);
        }
        Ok(Self {
            person: Arc::clone(person),
            session: request.session.clone(),
            assurance: request.assurance.cloned(),
            host: request.host.cloned(),
            verdict: request.verdict.clone(),
            actual: Standing::new(request, measured)?,
            principals,
            compliant,
        })
    }

    /// Returns whether this is the subject of `request`, too.
    #[must_use]
    pub fn fits(&self, request: &AccessRequest) -> bool {
        self.session == request.session
            && self.verdict == request.verdict
            && self.host == request.host
            && self.assurance == request.assurance
            && (Arc::ptr_eq(&self.person, &request.person) || self.person == request.person)
    }

    fn principal(&self) -> EntityUid {
        entity(&TYPES.person, &self.person.subject)
    }

    pub(crate) fn standing(&self) -> &Standing {
        &self.actual
    }

    /// Returns the same on a device that meets every check, if this one does not.
    pub(crate) fn compliant(&self) -> Option<&Standing> {
        self.compliant.as_ref()
    }
}

/// Who asks, from which device in which state.
struct Asker<'a> {
    person: &'a Arc<Person>,
    session: &'a SessionId,
    assurance: Option<&'a Arc<Assurance>>,
    host: Option<&'a HostId>,
    verdict: &'a Verdict,
}

/// What is known about a device.
struct Measured {
    level: TrustLevel,
    passed: Vec<String>,
    failed: Vec<String>,
    unknown: Vec<String>,
}

impl Standing {
    fn new(request: &Asker<'_>, measured: Measured) -> Result<Self, Unanswerable> {
        let (uid, person) = person(request.person)?;
        let session = entity(&TYPES.session, request.session.as_str());
        let number: i64 = match measured.level {
            TrustLevel::Low => 1,
            TrustLevel::Medium => 2,
            TrustLevel::High => 3,
        };
        let trust = reference(entity(&TYPES.trust, measured.level.as_str()));
        let level = RestrictedExpression::new_long(number);
        let mut context = vec![
            ("session", reference(session.clone())),
            ("trust", trust.clone()),
            ("trust_level", level.clone()),
        ];
        if let Some(assurance) = request.assurance {
            let members = [
                ("namespace".to_owned(), text(&assurance.namespace)),
                ("level".to_owned(), text(&assurance.level)),
            ];
            let record = RestrictedExpression::new_record(members).map_err(unanswerable)?;
            context.push(("assurance", record));
        }

        let mut entities = vec![person];
        let mut attributes = vec![
            ("person", reference(uid)),
            ("trust", trust.clone()),
            ("trust_level", level.clone()),
        ];
        if let Some(host) = request.host {
            let device = entity(&TYPES.device, host.as_str());
            attributes.push(("device", reference(device.clone())));
            context.push(("device", reference(device.clone())));
            let measured = [
                ("trust", trust),
                ("trust_level", level),
                ("passed", texts(measured.passed)),
                ("failed", texts(measured.failed)),
                ("unknown", texts(measured.unknown)),
            ];
            entities.push(described(device, measured, [])?);
        }
        entities.push(described(session, attributes, [])?);
        Ok(Self {
            entities: Entities::from_entities(entities, None).map_err(unanswerable)?,
            context,
            surroundings: Mutex::default(),
        })
    }

    fn with(&self, entities: impl IntoIterator<Item = Entity>) -> Result<Entities, Unanswerable> {
        let all = self.entities.clone();
        all.upsert_entities(entities, None).map_err(unanswerable)
    }

    /// Returns the subject's entities with those of a resource and a program, made once.
    fn around(
        &self,
        resource: &Arc<Resource>,
        program: &Workload,
    ) -> Result<Arc<Entities>, Unanswerable> {
        let mut kept = self
            .surroundings
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let key = (resource.id.clone(), program.clone());
        if let Some((described, entities)) = kept.get(&key)
            && described == resource
        {
            return Ok(Arc::clone(entities));
        }
        let site = entity(&TYPES.site, resource.site.as_str());
        let about = [
            ("title", text(&resource.title)),
            ("site", reference(site.clone())),
        ];
        let uid = entity(&TYPES.resource, resource.id.as_str());
        let entities = self.with([
            described(uid, about, [site])?,
            described(workload(program), known(program), [])?,
        ])?;
        let entities = Arc::new(entities);
        if kept.len() >= MAX_SURROUNDINGS {
            kept.clear();
        }
        kept.insert(key, (Arc::clone(resource), Arc::clone(&entities)));
        Ok(entities)
    }
}

/// One request in the words of the schema.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) action: Action,
    /// Who asks, and the groups that they are in.
    pub(crate) principals: Vec<EntityUid>,
    /// What for, and the groups that it is in.
    pub(crate) resources: Vec<EntityUid>,
    principal: EntityUid,
    context: Vec<(String, RestrictedExpression)>,
    entities: Arc<Entities>,
}

impl Facts {
    /// Describes a connection.
    pub(crate) fn of_connection(
        subject: &Subject,
        standing: &Standing,
        request: &AccessRequest,
        circumstances: &Circumstances,
    ) -> Result<Self, Unanswerable> {
        let flow = &request.flow;
        let site = entity(&TYPES.site, request.resource.site.as_str());
        let resource = entity(&TYPES.resource, request.resource.id.as_str());
        let program = workload(&flow.workload);
        let mut entities = standing.around(&request.resource, &flow.workload)?;
        let target = match &request.acting {
            Acting::Elevated(elevated) => Some(target(&elevated.target, subject)?),
            Acting::Delegated(_) | Acting::Oneself => None,
        };
        if let Some((_, Some(described))) = &target {
            let all = Entities::clone(&entities);
            let all = all.upsert_entities([described.clone()], None);
            entities = Arc::new(all.map_err(unanswerable)?);
        }
        let mut facts = Self::about(Action::Connect, subject, vec![resource, site], entities);
        facts.surround(standing, (request.time, request.network), circumstances)?;
        let protocol = entity(&TYPES.protocol, flow.protocol.transport());
        facts.say(
            "delegated",
            RestrictedExpression::new_bool(matches!(request.acting, Acting::Delegated(_))),
        );
        if let Some((target, _)) = target {
            facts.say("acting_as", reference(target));
        }
        facts.say("host", text(&flow.destination.to_string()));
        facts.say("protocol", reference(protocol));
        facts.say("workload", reference(program));
        if let Some(port) = flow.protocol.port() {
            facts.say("port", RestrictedExpression::new_long(port.into()));
        }
        Ok(facts)
    }

    pub(crate) fn new(
        action: Action,
        subject: &Subject,
        standing: &Standing,
        resources: Vec<EntityUid>,
        entities: impl IntoIterator<Item = Entity>,
    ) -> Result<Self, Unanswerable> {
        let entities = standing.with(entities)?;
        Ok(Self::about(action, subject, resources, Arc::new(entities)))
    }

    fn about(
        action: Action,
        subject: &Subject,
        resources: Vec<EntityUid>,
        entities: Arc<Entities>,
    ) -> Self {
        Self {
            action,
            principals: subject.principals.clone(),
            resources,
            principal: subject.principal(),
            context: Vec::with_capacity(20),
            entities,
        }
    }

    /// Tells what is the same for every action, but for the exact time.
    pub(crate) fn surround(
        &mut self,
        standing: &Standing,
        (time, network): (WallTime, NetworkKind),
        circumstances: &Circumstances,
    ) -> Result<(), Unanswerable> {
        let minutes = time.unix_millis() / 60_000;
        // 1 January 1970 was a Thursday.
        let weekday = usize::try_from((minutes / 1440 + 3) % 7).unwrap_or_default();
        let minute = i64::try_from(minutes % 1440).map_err(unanswerable)?;
        for (name, value) in &standing.context {
            self.say(name, value.clone());
        }
        let network = entity(&TYPES.network, network.as_str());
        let offline = circumstances.offline_for.is_some();
        self.say(
            "weekday",
            reference(entity(&TYPES.weekday, WEEKDAYS[weekday])),
        );
        self.say("minute_of_day", RestrictedExpression::new_long(minute));
        self.say("network", reference(network));
        self.say("offline", RestrictedExpression::new_bool(offline));
        Ok(())
    }

    /// Tells the time to the millisecond. Half of a decision's time goes into
    /// this, so it is left out if no candidate names it.
    pub(crate) fn tell_time(&mut self, time: WallTime) {
        self.say("time", RestrictedExpression::new_datetime(time.to_string()));
    }

    pub(crate) fn say(&mut self, name: &str, value: RestrictedExpression) {
        self.context.push((name.to_owned(), value));
    }

    /// Makes the request; what the candidates are found by stays.
    pub(crate) fn take_request(&mut self) -> Result<(Request, Arc<Entities>), Unanswerable> {
        let context = std::mem::take(&mut self.context);
        let context = Context::from_pairs(context).map_err(unanswerable)?;
        let action = entity(&TYPES.action, self.action.name());
        let request = Request::new(
            self.principal.clone(),
            action,
            self.resources[0].clone(),
            context,
            None,
        );
        Ok((request.map_err(unanswerable)?, Arc::clone(&self.entities)))
    }
}

/// A request that cannot be put into the words of the schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the request cannot be put to policies: {problem}")]
pub struct Unanswerable {
    problem: String,
}

pub(crate) fn unanswerable(error: impl std::fmt::Display) -> Unanswerable {
    Unanswerable {
        problem: error.to_string(),
    }
}

/// Describes whose context somebody acts in. Nothing is known of them but what the provider
/// calls them: they are in no group.
pub(crate) fn target(
    target: &str,
    subject: &Subject,
) -> Result<(EntityUid, Option<Entity>), Unanswerable> {
    if target == &*subject.person.subject {
        return Ok((subject.principal(), None));
    }
    let (uid, described) = person(&Person {
        issuer: Arc::clone(&subject.person.issuer),
        subject: target.into(),
        name: None,
        email: None,
        groups: vec![],
    })?;
    Ok((uid, Some(described)))
}

/// Describes a person.
pub(crate) fn person(person: &Person) -> Result<(EntityUid, Entity), Unanswerable> {
    let uid = entity(&TYPES.person, &person.subject);
    let mut attributes = vec![("issuer", text(&person.issuer))];
    attributes.extend(person.email.as_ref().map(|email| ("email", text(email))));
    attributes.extend(person.name.as_ref().map(|name| ("name", text(name))));
    let described = described(uid.clone(), attributes, groups(person))?;
    Ok((uid, described))
}

/// Returns a person, and the groups that they are in.
pub(crate) fn principals(person: &Person) -> Vec<EntityUid> {
    let mut principals = vec![entity(&TYPES.person, &person.subject)];
    principals.extend(groups(person));
    principals.sort_unstable();
    principals.dedup();
    principals
}

/// Returns a resource, and the site that it is in.
pub(crate) fn resources(resource: &Resource) -> Vec<EntityUid> {
    vec![
        entity(&TYPES.resource, resource.id.as_str()),
        entity(&TYPES.site, resource.site.as_str()),
    ]
}

/// Returns the groups that a person is in.
pub(crate) fn groups(person: &Person) -> impl Iterator<Item = EntityUid> {
    let groups = person.groups.iter();
    groups.map(|group| entity(&TYPES.group, group))
}

/// Returns the program's entity; every unknown one is the same.
pub(crate) fn workload(workload: &Workload) -> EntityUid {
    match workload {
        Workload::Known(program) | Workload::Supposed(program) => {
            entity(&TYPES.workload, &program.path)
        }
        Workload::Unknown | Workload::UnknownOf(_) => entity(&TYPES.workload, ""),
    }
}

/// Returns what is known about a program.
pub(crate) fn known(workload: &Workload) -> Vec<(&'static str, RestrictedExpression)> {
    let Some(program) = workload.program() else {
        return vec![("known", RestrictedExpression::new_bool(false))];
    };
    let mut known = vec![
        ("known", RestrictedExpression::new_bool(true)),
        ("path", text(&program.path)),
        ("ancestors", texts(program.ancestors.iter().cloned())),
    ];
    let user = program
        .user
        .map(|user| RestrictedExpression::new_long(user.into()));
    known.extend(user.map(|user| ("user", user)));
    known.extend(program.sha256.as_ref().map(|hash| ("sha256", text(hash))));
    known
}

pub(crate) fn described(
    uid: EntityUid,
    attributes: impl IntoIterator<Item = (&'static str, RestrictedExpression)>,
    parents: impl IntoIterator<Item = EntityUid>,
) -> Result<Entity, Unanswerable> {
    let attributes = attributes.into_iter();
    let attributes: HashMap<String, RestrictedExpression> = attributes
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let parents: HashSet<EntityUid> = parents.into_iter().collect();
    Entity::new(uid, attributes, parents).map_err(unanswerable)
}

pub(crate) fn entity(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

pub(crate) fn reference(uid: EntityUid) -> RestrictedExpression {
    RestrictedExpression::new_entity_uid(uid)
}

pub(crate) fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

pub(crate) fn texts(texts: impl IntoIterator<Item = String>) -> RestrictedExpression {
    RestrictedExpression::new_set(texts.into_iter().map(RestrictedExpression::new_string))
}

/// The schema's entity types.
pub(crate) struct Types {
    action: EntityTypeName,
    device: EntityTypeName,
    group: EntityTypeName,
    network: EntityTypeName,
    pub(crate) person: EntityTypeName,
    protocol: EntityTypeName,
    pub(crate) resource: EntityTypeName,
    session: EntityTypeName,
    site: EntityTypeName,
    trust: EntityTypeName,
    weekday: EntityTypeName,
    workload: EntityTypeName,
}

pub(crate) static TYPES: LazyLock<Types> = LazyLock::new(|| Types {
    action: kind("Action"),
    device: kind("Device"),
    group: kind("Group"),
    network: kind("Network"),
    person: kind("Person"),
    protocol: kind("Protocol"),
    resource: kind("Resource"),
    session: kind("Session"),
    site: kind("Site"),
    trust: kind("Trust"),
    weekday: kind("Weekday"),
    workload: kind("Workload"),
});

#[expect(clippy::expect_used, reason = "constants, which tests read")]
fn kind(name: &str) -> EntityTypeName {
    name.parse().expect("the name of an entity type")
}

/// Some two kilobytes each; as many as a person's programs and applications of a day.
const MAX_SURROUNDINGS: usize = 1024;

const WEEKDAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];
