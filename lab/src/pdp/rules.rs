//! The rule table, and what it says about one question.

use std::collections::{BTreeMap, BTreeSet};

use connector_core::configuration::{RawPosture, RawResource};
use serde_json::{Map, Value, json};

use super::Decision;
use super::request::Evaluation;
use crate::clock::Clock;
use crate::company::{Grant, Level, Rule};

/// Who may reach what, in which state of the device. What no rule permits is denied.
#[derive(Debug, Clone)]
pub struct RuleBook {
    rules: Vec<Rule>,
    /// What is open to single people for a time, by `clock`.
    grants: Vec<Grant>,
    clock: Clock,
    /// What people call the resources, by id.
    resources: BTreeMap<String, String>,
    checks: BTreeMap<String, CheckWords>,
    ended_sessions: BTreeSet<String>,
}

/// What people read about a check.
#[derive(Debug, Clone)]
struct CheckWords {
    title: String,
    remedy: String,
}

impl RuleBook {
    /// Returns the table of `rules`, in the words of `resources` and `posture`.
    #[must_use]
    pub fn new(rules: Vec<Rule>, resources: &[RawResource], posture: &RawPosture) -> Self {
        let mut book = Self {
            rules,
            grants: Vec::new(),
            clock: Clock::default(),
            resources: resources
                .iter()
                .map(|resource| (resource.id.clone(), resource.title.clone()))
                .collect(),
            checks: BTreeMap::new(),
            ended_sessions: BTreeSet::new(),
        };
        book.set_posture(posture);
        book
    }

    /// Goes by `clock`.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Returns the rules.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Replaces the rules.
    pub fn set_rules(&mut self, rules: Vec<Rule>) {
        self.rules = rules;
    }

    /// Replaces what is open to single people for a time.
    pub fn set_grants(&mut self, grants: Vec<Grant>) {
        self.grants = grants;
    }

    /// Learns the words of other checks.
    pub fn set_posture(&mut self, posture: &RawPosture) {
        self.checks = posture
            .checks
            .iter()
            .map(|check| {
                let words = CheckWords {
                    title: check.title.clone(),
                    remedy: check.remedy.clone(),
                };
                (check.id.clone(), words)
            })
            .collect();
    }

    /// Denies everything to a session that an administrator ended.
    pub fn end_session(&mut self, session: String) {
        self.ended_sessions.insert(session);
    }

    pub(super) fn decide(&self, evaluation: &Evaluation) -> Decision {
        let session = evaluation.context.get("session_id").and_then(Value::as_str);
        if session.is_some_and(|session| self.ended_sessions.contains(session)) {
            return denial(
                "policy_denied",
                "ended-session",
                "Your session was ended by an administrator. Sign in again with `ztna login`.",
                "the session is on the list of ended sessions",
            );
        }
        let known = evaluation.subject.kind == "user"
            && evaluation.action == "connect"
            && evaluation.resource.kind == "application"
            && self.resources.contains_key(&evaluation.resource.id);
        if !known {
            return denial(
                "policy_denied",
                "default-deny",
                "The policy knows no such application.",
                &format!(
                    "no rule speaks of {} {:?} and {:?} by a {}",
                    evaluation.resource.kind,
                    evaluation.resource.id,
                    evaluation.action,
                    evaluation.subject.kind
                ),
            );
        }
        self.decide_known(evaluation)
    }

    fn decide_known(&self, evaluation: &Evaluation) -> Decision {
        let device = Device::of(&evaluation.subject.properties);
        let groups = strings(evaluation.subject.properties.get("groups"));
        let about: Vec<&Rule> = self
            .rules
            .iter()
            .filter(|rule| rule.acting_as.is_none())
            .filter(|rule| rule.resources.contains(&evaluation.resource.id))
            .collect();
        let mut unmet = None;
        let now = self.clock.unix_seconds();
        for grant in &self.grants {
            let is_about = grant.person == evaluation.subject.id
                && grant.resource == evaluation.resource.id
                && now < grant.until;
            if !is_about {
                continue;
            }
            match device.first_unmet(&grant.checks, grant.trust_level) {
                None => return permission_on_request(grant),
                Some(condition) => unmet = unmet.or(Some((&*grant.id, condition))),
            }
        }
        for rule in &about {
            if !rule
                .groups
                .iter()
                .any(|group| groups.contains(group.as_str()))
            {
                continue;
            }
            match device.first_unmet(&rule.checks, rule.trust_level) {
                None => {
                    return Decision {
                        decision: true,
                        context: json!({"policy": rule.id}),
                    };
                }
                Some(condition) => unmet = unmet.or(Some((&*rule.id, condition))),
            }
        }
        match unmet {
            Some((policy, condition)) => self.unmet(evaluation, policy, &condition),
            None => self.outside_every_group(evaluation, &about, &groups),
        }
    }

    /// The person may, but the device is not in order.
    fn unmet(&self, evaluation: &Evaluation, policy: &str, condition: &Unmet<'_>) -> Decision {
        let title = self.title(&evaluation.resource.id);
        let user = match condition {
            Unmet::Check { id, finding } => {
                let words = self.checks.get(*id);
                let statement = words.map_or(*id, |words| &words.title);
                let state = match *finding {
                    "fail" => "is not so on this device",
                    _ => "could not be verified on this device",
                };
                let remedy = words.map_or("Run `ztna posture` to see how to mend it.", |words| {
                    &words.remedy
                });
                format!(
                    "{title} needs the check {id:?}: \u{201c}{statement}\u{201d} {state}. {remedy}"
                )
            }
            Unmet::TrustLevel { found, needed } => format!(
                "{title} needs a device of trust level {needed}; this one has {found}. Run `ztna posture` to see what to mend."
            ),
        };
        let admin = match condition {
            Unmet::Check { id, finding } => {
                format!("rule {policy}: check {id} is {finding}")
            }
            Unmet::TrustLevel { found, needed } => {
                format!("rule {policy}: trust level {found} is below {needed}")
            }
        };
        denial("posture_unmet", policy, &user, &admin)
    }

    /// No rule is for this person.
    fn outside_every_group(
        &self,
        evaluation: &Evaluation,
        about: &[&Rule],
        groups: &BTreeSet<&str>,
    ) -> Decision {
        let title = self.title(&evaluation.resource.id);
        let allowed: BTreeSet<&str> = about
            .iter()
            .flat_map(|rule| rule.groups.iter().map(String::as_str))
            .collect();
        let user = if allowed.is_empty() {
            format!("{title} is open to nobody at the moment.")
        } else {
            format!(
                "{title} is for members of {}; you are in {}. Ask for membership if you need it.",
                list(&allowed),
                list(groups)
            )
        };
        let policy = about.first().map_or("default-deny", |rule| &rule.id);
        let admin = format!(
            "{} is in none of the groups of the rules about {}",
            evaluation.subject.id, evaluation.resource.id
        );
        let mut denial = denial("policy_denied", policy, &user, &admin);
        let requestable = about.iter().find_map(|rule| rule.requestable.as_ref());
        if let Some(who) = requestable {
            denial.context["requestable"] = who.as_str().into();
        }
        denial
    }

    fn title(&self, resource: &str) -> String {
        self.resources
            .get(resource)
            .map_or_else(|| resource.to_owned(), Clone::clone)
    }
}

/// What a request says about the device.
#[derive(Debug)]
struct Device<'a> {
    findings: BTreeMap<&'a str, &'a str>,
    level: Option<Level>,
}

/// A condition that the device does not meet.
#[derive(Debug)]
enum Unmet<'a> {
    Check {
        id: &'a str,
        finding: &'a str,
    },
    TrustLevel {
        found: &'static str,
        needed: &'static str,
    },
}

impl<'a> Device<'a> {
    fn of(subject: &'a Map<String, Value>) -> Self {
        let device = subject.get("device");
        let member = |name: &str| device.and_then(|device| device.get(name));
        let findings = member("posture")
            .and_then(Value::as_object)
            .map(|posture| {
                posture
                    .iter()
                    .filter_map(|(check, finding)| Some((check.as_str(), finding.as_str()?)))
                    .collect()
            })
            .unwrap_or_default();
        let level = match member("trust_level").and_then(Value::as_str) {
            Some("high") => Some(Level::High),
            Some("medium") => Some(Level::Medium),
            Some("low") => Some(Level::Low),
            Some(_) | None => None,
        };
        Self { findings, level }
    }

    /// Returns the first condition that is not met. Only the word `pass` passes.
    fn first_unmet<'r>(&self, checks: &'r BTreeSet<String>, least: Level) -> Option<Unmet<'r>>
    where
        'a: 'r,
    {
        for id in checks {
            let finding = self.findings.get(id.as_str()).copied();
            if finding != Some("pass") {
                return Some(Unmet::Check {
                    id,
                    finding: if finding == Some("fail") {
                        "fail"
                    } else {
                        "unknown"
                    },
                });
            }
        }
        let found = self.level.unwrap_or(Level::Low);
        (found < least).then_some(Unmet::TrustLevel {
            found: word(found),
            needed: word(least),
        })
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::High => "high",
        Level::Low => "low",
        Level::Medium => "medium",
    }
}

fn permission_on_request(grant: &Grant) -> Decision {
    Decision {
        decision: true,
        context: json!({
            "policy": grant.id,
            "request": {"id": grant.request, "reason": grant.reason},
            "valid_until": grant.until,
        }),
    }
}

fn denial(code: &str, policy: &str, user: &str, admin: &str) -> Decision {
    Decision {
        decision: false,
        context: json!({
            "code": code,
            "policy": policy,
            "reason_user": {"403": user},
            "reason_admin": {"403": admin},
        }),
    }
}

fn strings(value: Option<&Value>) -> BTreeSet<&str> {
    value
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

fn list(words: &BTreeSet<&str>) -> String {
    if words.is_empty() {
        return "no group".to_owned();
    }
    words.iter().copied().collect::<Vec<_>>().join(", ")
}
