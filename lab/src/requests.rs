//! Requests for access: what people asked for, and what became of it.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use connector_core::control::{GrantEntity, GrantStatus, GrantTask, MAX_REASON, is_reason};
use serde::Serialize;

use crate::company::{Grant, Rule};
use crate::problem::Refusal;
use crate::random;

/// Every request that is remembered. Times are Unix seconds.
#[derive(Debug, Default)]
pub struct Requests {
    by_number: BTreeMap<u64, Request>,
    last: u64,
}

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plea {
    /// Who, as the subject identifier of their session.
    pub person: String,
    /// The resource's id.
    pub resource: String,
    /// Why.
    pub reason: String,
    /// For how long.
    pub seconds: u64,
}

/// A request, for people to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestView {
    /// Who asked.
    pub person: String,
    /// What they asked for, and what became of it.
    #[serde(flatten)]
    pub task: GrantTask,
}

#[derive(Debug)]
struct Request {
    id: String,
    plea: Plea,
    approver: String,
    asked_at: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Approved {
        until: u64,
    },
    Denied,
    /// Nobody answered in time.
    Lapsed,
    Pending,
}

impl Requests {
    /// Takes a request, unless nobody could approve it.
    ///
    /// # Errors
    ///
    /// A refusal that says what to ask for instead.
    pub fn ask(&mut self, plea: Plea, rules: &[Rule], now: u64) -> Result<GrantTask, Refusal> {
        if !is_reason(&plea.reason) {
            return Err(Refusal::malformed(format!(
                "the reason has to be one line of 1 to {MAX_REASON} characters"
            )));
        }
        if !(1..=LONGEST).contains(&plea.seconds) {
            return Err(Refusal::malformed(format!(
                "access is granted for 1 to {LONGEST} seconds, not for {}",
                plea.seconds
            )));
        }
        let approver = approver(rules, &plea.resource)?;
        self.end_lapsed(now);
        let open = |request: &&Request| request.is_open() && request.plea.person == plea.person;
        let same = |request: &&Request| request.plea.resource == plea.resource;
        if let Some(before) = self.by_number.values().filter(open).find(same) {
            return Err(Refusal::new(
                StatusCode::CONFLICT,
                "You have asked already",
                format!("{} is not over yet; `ztna requests` shows it", before.id),
            ));
        }
        if self.by_number.values().filter(open).count() >= MAX_OPEN {
            return Err(Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                "You have asked for too much at once",
                format!("{MAX_OPEN} of your requests are not over yet; wait for one of them"),
            ));
        }
        self.make_room()?;

        self.last += 1;
        let request = Request {
            id: format!("request-{}", random::identifier()),
            plea,
            approver,
            asked_at: now,
            state: State::Pending,
        };
        let task = request.task();
        tracing::info!(request = task.id, "access was asked for");
        self.by_number.insert(self.last, request);
        Ok(task)
    }

    /// Agrees to a request, from now on and for as long as it asks.
    ///
    /// # Errors
    ///
    /// A refusal if there is none of this id that waits.
    pub fn approve(&mut self, id: &str, now: u64) -> Result<GrantTask, Refusal> {
        let request = self.waiting(id, now)?;
        request.state = State::Approved {
            until: now + request.plea.seconds,
        };
        Ok(request.task())
    }

    /// Refuses a request, or takes back that it was agreed to.
    ///
    /// # Errors
    ///
    /// A refusal if there is none of this id that is open.
    pub fn deny(&mut self, id: &str, now: u64) -> Result<GrantTask, Refusal> {
        self.end_lapsed(now);
        let mut requests = self.by_number.values_mut();
        let request = requests
            .find(|request| request.id == id && request.is_open())
            .ok_or_else(|| not_open(id))?;
        request.state = State::Denied;
        Ok(request.task())
    }

    /// Ends what is over, and returns whether access ended with it.
    pub fn end_lapsed(&mut self, now: u64) -> bool {
        let mut has_ended = false;
        for request in self.by_number.values_mut() {
            match request.state {
                State::Approved { until } if until <= now => {
                    request.state = State::Lapsed;
                    has_ended = true;
                }
                State::Pending if request.asked_at + PATIENCE <= now => {
                    request.state = State::Lapsed;
                }
                State::Approved { .. } | State::Denied | State::Lapsed | State::Pending => {}
            }
        }
        has_ended
    }

    /// Returns a person's requests, the latest first.
    #[must_use]
    pub fn of(&self, person: &str) -> Vec<GrantTask> {
        let latest_first = self.by_number.values().rev();
        latest_first
            .filter(|request| request.plea.person == person)
            .map(Request::task)
            .take(MAX_SHOWN)
            .collect()
    }

    /// Returns every request, the latest first.
    #[must_use]
    pub fn list(&self) -> Vec<RequestView> {
        let latest_first = self.by_number.values().rev();
        latest_first
            .map(|request| RequestView {
                person: request.plea.person.clone(),
                task: request.task(),
            })
            .collect()
    }

    /// Returns what the approved requests open: each rule about the resource, for the one person and for a time, with
    /// what it asks of the device.
    #[must_use]
    pub fn grants(&self, rules: &[Rule]) -> Vec<Grant> {
        let requests = self.by_number.values();
        requests
            .filter_map(|request| match request.state {
                State::Approved { until } => Some((request, until)),
                State::Denied | State::Lapsed | State::Pending => None,
            })
            .flat_map(|(request, until)| {
                let about = requestable(rules, &request.plea.resource);
                about.enumerate().map(move |(number, rule)| Grant {
                    id: match number {
                        0 => request.id.clone(),
                        _ => format!("{}/{number}", request.id),
                    },
                    request: request.id.clone(),
                    reason: request.plea.reason.clone(),
                    person: request.plea.person.clone(),
                    resource: request.plea.resource.clone(),
                    checks: rule.checks.clone(),
                    trust_level: rule.trust_level,
                    until,
                })
            })
            .collect()
    }

    fn waiting(&mut self, id: &str, now: u64) -> Result<&mut Request, Refusal> {
        self.end_lapsed(now);
        let mut requests = self.by_number.values_mut();
        requests
            .find(|request| request.id == id && request.state == State::Pending)
            .ok_or_else(|| not_open(id))
    }

    /// Forgets what is over and longest ago.
    fn make_room(&mut self) -> Result<(), Refusal> {
        if self.by_number.len() < MAX_KEPT {
            return Ok(());
        }
        let mut oldest_first = self.by_number.iter();
        let over = oldest_first.find(|(_, request)| !request.is_open());
        let Some((&number, _)) = over else {
            return Err(crate::expiring::Full.into());
        };
        self.by_number.remove(&number);
        Ok(())
    }
}

impl Request {
    fn is_open(&self) -> bool {
        match self.state {
            State::Approved { .. } | State::Pending => true,
            State::Denied | State::Lapsed => false,
        }
    }

    fn task(&self) -> GrantTask {
        let (status, expires_at) = match self.state {
            State::Approved { until } => (GrantStatus::Approved, Some(until)),
            State::Denied => (GrantStatus::Denied, None),
            State::Lapsed => (GrantStatus::Expired, None),
            State::Pending => (GrantStatus::Pending, Some(self.asked_at + PATIENCE)),
        };
        GrantTask {
            id: self.id.clone(),
            status,
            resource: GrantEntity {
                kind: "application".to_owned(),
                id: self.plea.resource.clone(),
            },
            reason: self.plea.reason.clone(),
            seconds: self.plea.seconds,
            requested_at: self.asked_at,
            expires_at,
            approver: Some(self.approver.clone()),
        }
    }
}

/// Returns the rules about a resource whose access can be asked for.
fn requestable<'a>(rules: &'a [Rule], resource: &'a str) -> impl Iterator<Item = &'a Rule> {
    rules
        .iter()
        .filter(move |rule| rule.requestable.is_some() && rule.resources.contains(resource))
}

fn approver(rules: &[Rule], resource: &str) -> Result<String, Refusal> {
    let mut approvers = requestable(rules, resource).filter_map(|rule| rule.requestable.clone());
    approvers.next().ok_or_else(|| {
        Refusal::new(
            StatusCode::FORBIDDEN,
            "Nobody can approve this",
            "Access to this application cannot be asked for; tell your administrator what you need",
        )
    })
}

fn not_open(id: &str) -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "There is no such request",
        format!("{id:?} does not wait for an answer; lab/requests lists all"),
    )
}

/// How long a request waits for an answer, in seconds.
pub const PATIENCE: u64 = 24 * 3600;

/// The longest that access is granted for, in seconds: a day's work.
pub const LONGEST: u64 = 12 * 3600;

/// More open requests of one person are noise.
const MAX_OPEN: usize = 16;

/// A company's requests of some weeks.
const MAX_KEPT: usize = 1000;

/// What fits into one answer.
const MAX_SHOWN: usize = 50;

#[cfg(test)]
mod tests;
