//! The one place where access is granted.
//!
//! Every packet and every proxied connection is described as a [`Flow`] and put
//! to an [`AccessMap`]; the answer is a [`Permit`], which is the only key that
//! opens a path out of this device, a [`Denial`], which says why not, or that
//! nobody has decided yet, in which case the flow waits while the policy is asked.

mod by_flow;
mod denial;
mod flow;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::audit::DecidedBy;
use crate::catalogue::{Catalogue, Lookup, Resource, ResourceId, SiteId};
use crate::identity::Owner;
use crate::time::Moment;
use crate::trust::Acting;

pub(crate) use self::by_flow::ByFlow;
pub use self::denial::{Denial, Reason};
pub use self::flow::{Destination, Flow, Program, Protocol, Workload};

/// An immutable, compiled answer to "what may this device reach right now?".
///
/// Replaced as a whole whenever identity, posture, policy or an answer changes;
/// holders [`review`](Self::review) every live flow when it does. The default
/// map denies everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessMap {
    generation: Generation,
    content: Content,
}

/// What an access map says; the generation only labels it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    /// Why nothing at all is reachable, if so.
    pub(crate) closed: Option<Denial>,
    /// Whose programs may reach anything.
    pub(crate) owner: Owner,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) concealed: Concealed,
    /// What live flows go on by that were not answered anew yet.
    pub(crate) reviewed: Option<Reviewed>,
    pub(crate) answers: Arc<ByFlow<Answer>>,
}

/// The resources that whoever is signed in must not learn of.
pub type Concealed = Arc<BTreeSet<ResourceId>>;

/// The answers that are asked for again, as a whole, because their grounds changed:
/// live flows go on by them for a moment, new ones wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reviewed {
    pub(crate) answers: Arc<ByFlow<Answer>>,
    pub(crate) until: Moment,
}

/// What the policy said about one flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Shared, since sets of answers are copied, and flows are answered alike.
    Granted(Arc<Grant>),
    Refused {
        denial: Denial,
        decided_by: DecidedBy,
        until: Moment,
    },
    /// What this one grant rested on changed and the policy is being asked
    /// again: live flows go on until then, new ones wait.
    Reviewing { grant: Arc<Grant>, until: Moment },
}

/// A permission for one flow, for as long as its lease runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) resource: Arc<Resource>,
    /// When live flows end unless the grant is renewed.
    pub(crate) lease_ends: Moment,
    /// When to ask again if the grant is in use.
    pub(crate) renew_at: Moment,
    /// When the policy may say something else, because a time window begins or ends.
    pub(crate) window_ends: Option<Moment>,
    /// How long the policy lets it go on without being asked.
    pub(crate) offline_until: Moment,
    /// Why live flows end with the lease, if they do.
    pub(crate) lapse: Lapse,
    /// In whose name it was given.
    pub(crate) acting: Acting,
}

/// Why a permission runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lapse {
    /// Nobody has tried to renew it, or the answer is on its way.
    NotRenewed,
    /// The policy could not be asked to renew it.
    Offline,
}

impl Grant {
    /// Returns whether a flow may open by this grant; live flows may go on for
    /// as long as the lease runs.
    fn opens(&self, now: Moment) -> bool {
        now < self.lease_ends && self.window_ends.is_none_or(|ends| now < ends)
    }
}

impl Answer {
    /// Returns what live flows go on by while the policy is asked again, and how long, if
    /// they may: until `limit`, but no longer than the lease or a review that began before.
    pub(crate) fn reviewed(&self, limit: Moment) -> Option<(&Arc<Grant>, Moment)> {
        match self {
            Self::Granted(grant) => Some((grant, limit.min(grant.lease_ends))),
            Self::Refused { .. } => None,
            Self::Reviewing { grant, until } => Some((grant, limit.min(*until))),
        }
    }
}

impl From<Lapse> for Denial {
    fn from(lapse: Lapse) -> Self {
        match lapse {
            Lapse::NotRenewed => Reason::LeaseExpired.into(),
            Lapse::Offline => Reason::Offline.into(),
        }
    }
}

impl AccessMap {
    /// Returns the next map if `content` differs from this one's.
    pub(crate) fn replace(&self, content: Content) -> Option<Self> {
        (content != self.content).then(|| Self {
            generation: self.generation.next(),
            content,
        })
    }

    /// Decides about a flow that is about to open.
    pub fn decide(&self, flow: &Flow, now: Moment) -> Verdict {
        if let Some(denial) = &self.content.closed {
            return Verdict::Denied(denial.clone());
        }
        if !self.content.owner.admits(&flow.workload) {
            return Verdict::Denied(Reason::OtherUser.into());
        }
        match self.content.catalogue.lookup(flow) {
            Lookup::Offered(_) => {}
            Lookup::PortNotOffered(resource) => {
                let reason = not_offered(resource, &self.content.concealed);
                return Verdict::Denied(reason.into());
            }
            Lookup::Unknown => return Verdict::Denied(Reason::UnknownResource.into()),
        }

        match self.content.answers.get(flow) {
            Some(Answer::Granted(grant)) if grant.opens(now) => {
                Verdict::Permitted(Permit::new(flow, grant, grant.lease_ends))
            }
            Some(Answer::Refused { denial, until, .. }) if now < *until => {
                Verdict::Denied(denial.clone())
            }
            Some(Answer::Granted(_) | Answer::Refused { .. } | Answer::Reviewing { .. }) | None => {
                Verdict::Undecided(Question {
                    flow: flow.clone(),
                    process: None,
                })
            }
        }
    }

    /// Decides whether a live flow may go on, renewing its permit.
    ///
    /// # Errors
    ///
    /// The denial that ends the flow.
    pub fn review(&self, permit: &Permit, now: Moment) -> Result<Permit, Denial> {
        if let Some(denial) = &self.content.closed {
            return Err(denial.clone());
        }
        let flow = &permit.flow;
        match self.content.answers.get(flow) {
            Some(Answer::Granted(grant)) if now < grant.lease_ends => {
                Ok(Permit::new(flow, grant, grant.lease_ends))
            }
            Some(Answer::Reviewing { grant, until }) if now < *until => {
                Ok(Permit::new(flow, grant, *until))
            }
            Some(Answer::Refused { denial, .. }) => Err(denial.clone()),
            Some(Answer::Granted(grant)) => Err(grant.lapse.into()),
            Some(Answer::Reviewing { .. }) => Err(permit.lapse()),
            None => self.review_by_what_was(permit, now),
        }
    }

    /// Decides whether a live flow may go on that the policy is being asked about again.
    fn review_by_what_was(&self, permit: &Permit, now: Moment) -> Result<Permit, Denial> {
        let flow = &permit.flow;
        let reviewed = self.content.reviewed.as_ref();
        reviewed
            .and_then(|reviewed| reviewed.answers.get(flow)?.reviewed(reviewed.until))
            .filter(|(_, until)| now < *until)
            .map(|(grant, until)| Permit::new(flow, grant, until))
            .ok_or_else(|| permit.lapse())
    }

    /// Returns the generation this map was compiled at.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Returns the resources that this map knows, reachable or not.
    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.content.catalogue
    }

    /// Returns the same, to be kept.
    #[must_use]
    pub fn shared_catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.content.catalogue)
    }

    /// Returns the resources that whoever is signed in may know of.
    pub fn shown(&self) -> impl Iterator<Item = &Arc<Resource>> {
        let all = self.content.catalogue.resources();
        all.filter(|resource| !self.content.concealed.contains(&resource.id))
    }

    /// Returns the resources that whoever is signed in must not learn of.
    #[must_use]
    pub fn concealed(&self) -> &Concealed {
        &self.content.concealed
    }

    /// Returns whose programs may reach anything.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.content.owner
    }

    /// Returns how many answers are in force.
    #[must_use]
    pub fn answers(&self) -> usize {
        self.content.answers.len()
    }

    /// Returns why nothing at all is reachable, if so.
    #[must_use]
    pub fn closed(&self) -> Option<&Denial> {
        self.content.closed.as_ref()
    }

    /// Returns what the policy's last word about `resource` is at `now`:
    /// permitted, denied, or nothing.
    #[must_use]
    pub fn last_answer(&self, resource: &ResourceId, now: Moment) -> Option<Result<(), &Denial>> {
        if self.content.closed.is_some() {
            return None;
        }
        let mut known = None;
        for (flow, answer) in self.content.answers.iter() {
            match answer {
                Answer::Granted(grant) if grant.resource.id == *resource && grant.opens(now) => {
                    return Some(Ok(()));
                }
                Answer::Refused { denial, until, .. }
                    if now < *until
                        && matches!(
                            denial.reason,
                            Reason::DelegationNeeded | Reason::PolicyDenied | Reason::PostureUnmet
                        ) =>
                {
                    if let Lookup::Offered(refused) = self.content.catalogue.lookup(flow)
                        && refused.id == *resource
                    {
                        known = Some(Err(denial));
                    }
                }
                Answer::Granted(_) | Answer::Refused { .. } | Answer::Reviewing { .. } => {}
            }
        }
        known
    }
}

/// Tells why a port is refused: of what must not be learned of, as of what is not there.
pub(crate) fn not_offered(resource: &Resource, concealed: &BTreeSet<ResourceId>) -> Reason {
    if concealed.contains(&resource.id) {
        Reason::Hidden
    } else {
        Reason::PortNotOffered
    }
}

impl Default for AccessMap {
    fn default() -> Self {
        Self {
            generation: Generation::default(),
            content: Content {
                closed: Some(Reason::NotConfigured.into()),
                owner: Owner::Machine,
                catalogue: Arc::default(),
                concealed: Concealed::default(),
                reviewed: None,
                answers: Arc::default(),
            },
        }
    }
}

/// The answer to one flow.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a verdict that is not looked at opens nothing"]
pub enum Verdict {
    /// The flow may not open.
    Denied(Denial),
    /// The flow may open, once, with this permit.
    Permitted(Permit),
    /// The policy has to be asked; the flow waits.
    Undecided(Question),
}

/// What has to be put to the policy before a flow can open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The flow that waits.
    pub flow: Flow,
    /// The process that opened it, for the record only: whoever asks fills it in.
    pub process: Option<u32>,
}

/// Proof that one flow was authorized, and the key every outbound path demands.
///
/// A permit names its flow, so it cannot be spent on another. It is neither
/// `Clone` nor constructible outside [`AccessMap`]:
///
/// ```compile_fail,E0451
/// # use connector_core::access::{Flow, Permit};
/// # use connector_core::time::Moment;
/// # fn forge(flow: Flow) -> Permit {
/// Permit { flow, grant: todo!(), lease_ends: Moment::default() }
/// # }
/// ```
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit that is not spent means a path was not opened"]
pub struct Permit {
    flow: Flow,
    grant: Arc<Grant>,
    lease_ends: Moment,
}

impl Permit {
    fn new(flow: &Flow, grant: &Arc<Grant>, lease_ends: Moment) -> Self {
        Self {
            flow: flow.clone(),
            grant: Arc::clone(grant),
            lease_ends,
        }
    }

    /// Returns the flow this permit was issued for.
    #[must_use]
    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// Returns the resource this permit opens.
    #[must_use]
    pub fn resource(&self) -> &ResourceId {
        &self.grant.resource.id
    }

    /// Returns the site whose gateway carries the flow.
    #[must_use]
    pub fn site(&self) -> &SiteId {
        &self.grant.resource.site
    }

    /// Returns when the permit stops being good unless it is renewed.
    #[must_use]
    pub fn lease_ends(&self) -> Moment {
        self.lease_ends
    }

    /// Returns why the flow ends when the permit stops being good.
    #[must_use]
    pub fn lapse(&self) -> Denial {
        self.grant.lapse.into()
    }
}

/// Counts compilations of the access map.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(u64);

impl Generation {
    fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::catalogue::fixture::{catalogue, wiki};

    #[test]
    fn the_default_map_denies_everything() {
        let verdict = AccessMap::default().decide(&wiki(80), at(0));

        assert_eq!(verdict, Verdict::Denied(Reason::NotConfigured.into()));
    }

    #[test]
    fn an_unanswered_flow_is_undecided_and_a_granted_one_permitted_until_its_lease_ends() {
        let open = map([]);
        assert!(matches!(
            open.decide(&wiki(80), at(0)),
            Verdict::Undecided(question) if question.flow == wiki(80)
        ));

        let granted = map([(wiki(80), Answer::Granted(grant(at(10))))]);
        assert!(matches!(
            granted.decide(&wiki(80), at(9)),
            Verdict::Permitted(permit) if *permit.flow() == wiki(80) && permit.lease_ends() == at(10)
        ));
        assert!(matches!(
            granted.decide(&wiki(80), at(10)),
            Verdict::Undecided(_)
        ));
    }

    #[test]
    fn a_port_that_is_not_offered_is_refused_whatever_was_answered() {
        let map = map([(wiki(22), Answer::Granted(grant(at(10))))]);

        assert_eq!(
            map.decide(&wiki(22), at(0)),
            Verdict::Denied(Reason::PortNotOffered.into())
        );
    }

    #[test]
    fn a_port_that_a_concealed_resource_does_not_offer_is_refused_as_hidden_and_it_is_not_shown() {
        let mut map = map([]);
        assert!(map.shown().any(|resource| resource.id == "wiki".into()));

        map.content.concealed = Arc::new(BTreeSet::from(["wiki".into()]));

        let verdict = map.decide(&wiki(22), at(0));
        assert_eq!(verdict, Verdict::Denied(Reason::Hidden.into()));
        assert!(!map.shown().any(|resource| resource.id == "wiki".into()));
        assert!(map.shown().next().is_some());
    }

    #[test]
    fn while_a_grant_is_reviewed_live_flows_go_on_and_new_ones_wait() {
        let before = map([(wiki(80), Answer::Granted(grant(at(10))))]);
        let Verdict::Permitted(permit) = before.decide(&wiki(80), at(0)) else {
            panic!("granted");
        };
        let during = map([(
            wiki(80),
            Answer::Reviewing {
                grant: grant(at(10)),
                until: at(2),
            },
        )]);

        assert!(matches!(
            during.decide(&wiki(80), at(1)),
            Verdict::Undecided(_)
        ));
        let renewed = during.review(&permit, at(1)).unwrap();
        assert_eq!(renewed.lease_ends(), at(2));
        assert_eq!(
            during.review(&renewed, at(2)),
            Err(Reason::LeaseExpired.into())
        );
    }

    #[test]
    fn while_all_answers_are_reviewed_live_flows_go_on_by_them_and_new_answers_go_first() {
        let refused = |reason: Reason| Answer::Refused {
            denial: reason.into(),
            decided_by: DecidedBy::Local,
            until: at(9),
        };
        let by = |user| Flow {
            workload: Workload::UnknownOf(user),
            ..wiki(80)
        };
        let before = [(1, at(10)), (2, at(10)), (3, at(1))];
        let before = before.map(|(user, ends)| (by(user), Answer::Granted(grant(ends))));
        let permits = before.clone().map(|(flow, _)| {
            let Verdict::Permitted(permit) = map(before.clone()).decide(&flow, at(0)) else {
                panic!("granted");
            };
            permit
        });
        let mut during = map([(by(2), refused(Reason::PolicyDenied))]);
        during.content.reviewed = Some(Reviewed {
            answers: Arc::new(before.into_iter().collect()),
            until: at(2),
        });
        let [unanswered, denied, lapsing] = permits;

        let verdict = during.decide(unanswered.flow(), at(0));
        assert!(matches!(verdict, Verdict::Undecided(_)));
        let goes_on = during.review(&unanswered, at(1)).unwrap();
        assert_eq!(goes_on.lease_ends(), at(2));
        let lapsed = Err(Reason::LeaseExpired.into());
        assert_eq!(during.review(&unanswered, at(2)), lapsed);
        let refusal = Err(Reason::PolicyDenied.into());
        assert_eq!(during.review(&denied, at(0)), refusal);
        assert_eq!(during.review(&lapsing, at(1)), lapsed);
    }

    #[test]
    fn a_live_flow_ends_when_its_answer_is_gone_or_the_map_closes() {
        let before = map([(wiki(80), Answer::Granted(grant(at(10))))]);
        let Verdict::Permitted(permit) = before.decide(&wiki(80), at(0)) else {
            panic!("granted");
        };

        assert_eq!(
            map([]).review(&permit, at(1)),
            Err(Reason::LeaseExpired.into())
        );
        assert_eq!(
            AccessMap::default().review(&permit, at(1)),
            Err(Reason::NotConfigured.into())
        );
    }

    fn map(answers: impl IntoIterator<Item = (Flow, Answer)>) -> AccessMap {
        let content = Content {
            owner: Owner::Machine,
            closed: None,
            catalogue: Arc::new(catalogue()),
            concealed: Concealed::default(),
            reviewed: None,
            answers: Arc::new(answers.into_iter().collect()),
        };
        AccessMap::default().replace(content).unwrap()
    }

    fn grant(lease_ends: Moment) -> Arc<Grant> {
        Arc::new(Grant {
            resource: Arc::clone(catalogue().lookup(&wiki(80)).resource().unwrap()),
            lease_ends,
            renew_at: lease_ends,
            window_ends: None,
            offline_until: lease_ends,
            lapse: Lapse::NotRenewed,
            acting: Acting::Oneself,
        })
    }

    fn at(seconds: u64) -> Moment {
        Moment::from_boot(Duration::from_secs(seconds))
    }
}
