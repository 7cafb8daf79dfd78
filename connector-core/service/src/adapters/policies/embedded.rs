//! The embedded decision point: what the policies in force say.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use connector_core::authzen::{AccessRequest, Decision};
use connector_core::time::{Moment, Now};
use connector_core::trust::TrustRequest;
use connector_platform::clock;
use connector_policy::evaluation::{Circumstances, DecisionPoint};
use connector_policy::head::Head;
use connector_policy::snapshot::Snapshot;
use connector_policy::store::Activated;
use tokio::sync::Notify;

/// Decides by the policies in force.
#[derive(Debug, Clone, Default)]
pub(crate) struct Embedded {
    point: Arc<Mutex<Point>>,
    /// Other policies came into force.
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Point {
    in_force: Option<InForce>,
    /// The policies that were last in force: what they hide stays hidden when they expire.
    last: Option<Arc<Snapshot>>,
    was_asked: bool,
    /// When the control plane was last heard of.
    heard_at: Moment,
}

impl Point {
    /// Returns what decides now, and in which circumstances.
    fn deciding(&mut self, now: Now) -> Option<(&mut DecisionPoint, Circumstances)> {
        self.was_asked = true;
        let silence = now.moment.since(self.heard_at);
        let circumstances = Circumstances {
            offline_for: (silence >= OFFLINE_AFTER).then_some(silence),
        };
        let in_force = self.in_force.as_mut()?;
        in_force
            .is_good(now)
            .then_some((&mut in_force.point, circumstances))
    }
}

/// Policies, and for how long they decide.
#[derive(Debug)]
struct InForce {
    head: Head,
    /// When the head expires by the clock that nobody sets.
    ends: Moment,
    point: DecisionPoint,
}

impl InForce {
    fn new(head: &Head, point: DecisionPoint, now: Now) -> Self {
        let left = head
            .expires_at
            .unix_millis()
            .saturating_sub(now.wall.unix_millis());
        Self {
            head: head.clone(),
            ends: now.moment + Duration::from_millis(left),
            point,
        }
    }

    fn is_good(&self, now: Now) -> bool {
        self.head.is_good(now.wall) && now.moment < self.ends
    }
}

impl Embedded {
    /// Decides by the policies in force; none are if there is no answer.
    pub(crate) fn decide(&self, request: &AccessRequest) -> Option<Decision> {
        let mut point = self.lock();
        let (point, circumstances) = point.deciding(clock::now())?;
        let decision = point.decide(request, &circumstances);
        let difference = point.differs(&decision, request, &circumstances);
        Some(Decision {
            difference: difference.map(Arc::new),
            silence: circumstances.offline_for,
            answered_by: Some("embedded".into()),
            ..decision
        })
    }

    /// Decides about a consent or an elevation, by the same policies.
    pub(crate) fn decide_wish(&self, request: &TrustRequest) -> Option<Decision> {
        let mut point = self.lock();
        let (point, circumstances) = point.deciding(clock::now())?;
        Some(Decision {
            answered_by: Some("embedded".into()),
            ..point.decide_wish(request, &circumstances)
        })
    }

    /// Returns the policies in force, or those that were last.
    pub(super) fn last(&self) -> Option<Arc<Snapshot>> {
        self.lock().last.clone()
    }

    pub(super) fn activate(&self, activated: &Activated) {
        let shadow = match &activated.shadow {
            Some(Ok(shadow)) => Some(Arc::clone(shadow)),
            Some(Err(error)) => {
                tracing::warn!(%error, "The candidate policies cannot be evaluated");
                None
            }
            None => None,
        };
        let point = DecisionPoint::new(Arc::clone(&activated.snapshot), shadow);
        let mut known = self.lock();
        known.last = Some(Arc::clone(&activated.snapshot));
        known.in_force = Some(InForce::new(&activated.head, point, clock::now()));
        drop(known);
        self.changed.notify_one();
    }

    pub(super) fn deactivate(&self) {
        self.lock().in_force = None;
    }

    /// Waits until the policies in force have expired, by either clock, and puts them out of force.
    pub(super) async fn expire(&self) {
        loop {
            let left = self.time_left();
            if left.is_some_and(|left| left.is_zero()) {
                return self.deactivate();
            }
            // The timer stands still while the machine sleeps.
            let pause = left.map_or(LONGEST_SLEEP, |left| left.min(LONGEST_SLEEP));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    fn time_left(&self) -> Option<Duration> {
        let point = self.lock();
        let in_force = point.in_force.as_ref()?;
        let now = clock::now();
        if !in_force.is_good(now) {
            return Some(Duration::ZERO);
        }
        Some(in_force.ends.since(now.moment))
    }

    pub(super) fn heard(&self) {
        self.lock().heard_at = clock::now().moment;
    }

    /// Returns whether any answer rests on these policies.
    pub(super) fn was_asked(&self) -> bool {
        self.lock().was_asked
    }

    fn lock(&self) -> MutexGuard<'_, Point> {
        self.point.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long an expiry may go unnoticed after a sleep.
const LONGEST_SLEEP: Duration = Duration::from_secs(20);

/// Longer than a poll and its repetition.
const OFFLINE_AFTER: Duration = Duration::from_secs(90);

#[cfg(test)]
pub(super) mod fixture {
    use connector_core::jws::PublicKey;
    use connector_core::time::WallTime;
    use connector_policy::author::{Draft, Signature};
    use connector_policy::head::Sequence;
    use connector_policy::store::{Effect, Store};
    use ed25519_dalek::SigningKey;

    use super::*;

    impl Embedded {
        /// Decides by a commit of one file, which the control plane has just sent.
        pub(crate) fn by(policies: &str) -> Self {
            let embedded = Self::default();
            embedded.heard();
            let lifetime = Duration::from_secs(60);
            embedded.activate(&activated(policies, clock::now().wall, lifetime));
            embedded
        }
    }

    /// Returns a commit of one file, as it comes into force.
    pub(in super::super) fn snapshot(policies: &str) -> Arc<Snapshot> {
        activated(policies, clock::now().wall, Duration::from_secs(60)).snapshot
    }

    pub(super) fn activated(policies: &str, now: WallTime, lifetime: Duration) -> Activated {
        let key = SigningKey::from_bytes(&[7; 32]);
        let draft = Draft::of([("all.cedar", policies)], None, &Signature::default());
        let head = Head {
            ledger: "connector".into(),
            sequence: Sequence(1),
            commit: draft.commit,
            shadow: None,
            issued_at: now,
            expires_at: now + lifetime,
            reset: false,
        };
        let mut store = Store::new(PublicKey::of(&key), "connector".into());
        store.handle_head(&head.sign(&key).unwrap(), now).unwrap();
        let mut objects = Some(draft.objects);
        loop {
            match store.poll().unwrap() {
                Effect::Activate(activated) => return activated,
                Effect::Fetch(_) => {
                    let objects = objects.take().unwrap().into_iter();
                    let objects = objects.map(|(_, bytes)| bytes);
                    store.handle_objects(objects).unwrap();
                }
                Effect::Deactivate | Effect::Forget(_) | Effect::Keep { .. } => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use connector_core::time::WallTime;

    use super::*;

    #[test]
    fn policies_expire_by_the_clock_that_nobody_sets() {
        // Heads count whole seconds.
        let start = Now {
            wall: WallTime::from_unix_millis(clock::now().wall.unix_seconds() * 1000),
            ..clock::now()
        };
        let (head, point) = written(start.wall, Duration::from_secs(60));
        let in_force = InForce::new(&head, point, start);
        let after = |moment, wall| Now {
            moment: start.moment + Duration::from_secs(moment),
            wall: start.wall + Duration::from_secs(wall),
        };

        assert!(in_force.is_good(after(59, 59)));
        assert!(!in_force.is_good(after(60, 60)));
        assert!(
            !in_force.is_good(after(61, 1)),
            "the wall clock was set back"
        );
        assert!(!in_force.is_good(after(1, 61)), "or forth");
    }

    #[tokio::test]
    async fn an_expiry_is_noticed_without_anybody_asking() {
        let embedded = Embedded::default();
        let waiting = tokio::spawn({
            let embedded = embedded.clone();
            async move { embedded.expire().await }
        });

        embedded.activate(&activated(clock::now().wall, Duration::from_secs(2)));

        let noticed = tokio::time::timeout(Duration::from_secs(10), waiting).await;
        noticed.unwrap().unwrap();
        assert_eq!(embedded.time_left(), None);
    }

    fn written(now: WallTime, lifetime: Duration) -> (Head, DecisionPoint) {
        let activated = activated(now, lifetime);
        (activated.head, DecisionPoint::new(activated.snapshot, None))
    }

    fn activated(now: WallTime, lifetime: Duration) -> Activated {
        let everybody = "@id(\"all\") permit (principal, action, resource);";
        fixture::activated(everybody, now, lifetime)
    }
}
