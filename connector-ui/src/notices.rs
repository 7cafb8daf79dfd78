//! What is worth a message: what changed from one thing that the service said to the next.

use std::collections::{BTreeMap, VecDeque};

use connector_ipc::{
    AccessRequestReport, AccessRequestStatus, DecisionReport, Finding, GatewayState, Standing,
};

use crate::texts::Texts;
use crate::view::{Action, Clock, Known, Snapshot, is_silent, one_line, paragraph};

/// A message to the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// In a few words.
    pub title: String,
    /// What it means, and what to do.
    pub body: String,
    /// Whether something stopped working.
    pub is_urgent: bool,
    /// What the person can do at once: what the button says, and does.
    pub offer: Option<(String, Action)>,
}

/// Decides what is worth a message; remembers what was said, so that nothing is said too often.
#[derive(Debug, Default)]
pub struct Notices {
    /// When each thing was last said.
    said: BTreeMap<(Topic, String), i64>,
    /// When the last refusals were told of.
    refusals: VecDeque<i64>,
    /// When each site was last in use.
    used: BTreeMap<String, i64>,
    /// How often the administrator's settings had changed when the service last answered.
    changes_seen: Option<u64>,
    /// The person has just signed out, and need not be told.
    signed_out_at: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    Gateway,
    PostureLost,
    PostureRegained,
    Refused,
    Request,
    SessionEnded,
    SessionEndsSoon,
    Settings,
}

impl Notices {
    /// Notes that the person signs out here and now.
    pub fn person_signs_out(&mut self, clock: Clock) {
        self.signed_out_at = Some(clock.now);
    }

    /// Returns what is to be said now that the service, having said `before`, says `after`.
    pub fn between(
        &mut self,
        before: &Snapshot,
        after: &Snapshot,
        texts: &Texts,
        clock: Clock,
    ) -> Vec<Notice> {
        self.forget(clock.now);
        let Snapshot::Running(after) = after else {
            return Vec::new();
        };
        let managed = self.managed(before, after, texts, clock);
        // What was there when the service or the tray started is no news.
        let Snapshot::Running(before) = before else {
            return managed.into_iter().collect();
        };
        let mut notices = Vec::new();
        notices.extend(self.gateways(after, texts, clock));
        notices.extend(self.posture(before, after, texts, clock));
        notices.extend(self.session(before, after, texts, clock));
        notices.extend(self.refused(before, after, texts, clock));
        notices.extend(self.requests(before, after, texts, clock));
        notices.extend(managed.or_else(|| self.settings(before, after, texts, clock)));
        notices
    }

    fn gateways(&mut self, after: &Known, texts: &Texts, clock: Clock) -> Vec<Notice> {
        let tunnel = &after.status.tunnel;
        for site in &tunnel.sites {
            let mut gateways = site.gateways.iter();
            let is_up = gateways.any(|gateway| gateway.state == GatewayState::Active);
            if is_up && site.in_use {
                self.used.insert(site.id.clone(), clock.now);
            }
        }
        let silent = tunnel.sites.iter().filter(|site| is_silent(site));
        let lost: Vec<&String> = silent
            .filter(|site| self.used.remove(&site.id).is_some())
            .map(|site| &site.id)
            .collect();
        lost.into_iter()
            .filter(|site| self.is_news(Topic::Gateway, site, FLAPPING, clock.now))
            .map(|site| Notice {
                title: texts.say_with("notice-gateway-title", [("site", one_line(site).into())]),
                body: texts.say("notice-gateway-body"),
                is_urgent: true,
                offer: None,
            })
            .collect()
    }

    fn posture(
        &mut self,
        before: &Known,
        after: &Known,
        texts: &Texts,
        clock: Clock,
    ) -> Option<Notice> {
        after.status.identity.as_ref()?;
        before.status.identity.as_ref()?;
        let (were, are) = (before.status.checks_unmet, after.status.checks_unmet);
        if were == 0 && are > 0 && self.is_news(Topic::PostureLost, "", FLAPPING, clock.now) {
            return Some(Notice {
                title: texts.say("notice-posture-lost-title"),
                body: unmet(after, texts),
                is_urgent: true,
                offer: Some((texts.say("check-again"), Action::CheckAgain)),
            });
        }
        let is_mended = were > 0 && are == 0;
        // Who was not told of the one need not be told of the other.
        let was_told = self.said.contains_key(&(Topic::PostureLost, String::new()));
        let is_news =
            is_mended && was_told && self.is_news(Topic::PostureRegained, "", FLAPPING, clock.now);
        is_news.then(|| Notice {
            title: texts.say("notice-posture-regained-title"),
            body: texts.say("notice-posture-regained-body"),
            is_urgent: false,
            offer: None,
        })
    }

    fn session(
        &mut self,
        before: &Known,
        after: &Known,
        texts: &Texts,
        clock: Clock,
    ) -> Option<Notice> {
        let offer = Some((texts.say("sign-in"), Action::SignIn));
        if let Some(identity) = &after.status.identity {
            let left = clock.until(&identity.expires_at)?;
            let is_soon = (1..=SOON).contains(&left);
            let is_news = is_soon
                && self.is_news(
                    Topic::SessionEndsSoon,
                    &identity.session_id,
                    ONCE,
                    clock.now,
                );
            let left = texts.duration(left);
            return is_news.then(|| Notice {
                title: texts.say_with("notice-session-soon-title", [("left", left.into())]),
                body: texts.say("notice-session-soon-body"),
                is_urgent: false,
                offer,
            });
        }
        let identity = before.status.identity.as_ref()?;
        if after.status.standing != Standing::SignedOut || self.signed_out_at.is_some() {
            return None;
        }
        let is_news = self.is_news(Topic::SessionEnded, &identity.session_id, ONCE, clock.now);
        is_news.then(|| Notice {
            title: texts.say("notice-session-ended-title"),
            body: texts.say("notice-session-ended-body"),
            is_urgent: true,
            offer,
        })
    }

    fn refused(
        &mut self,
        before: &Known,
        after: &Known,
        texts: &Texts,
        clock: Clock,
    ) -> Vec<Notice> {
        // What is switched off or signed out, the icon says; everything is refused then.
        if !matches!(
            after.status.standing,
            Standing::Connected | Standing::Degraded | Standing::Restricted
        ) {
            return Vec::new();
        }
        let is_new = |decision: &&DecisionReport| {
            let mut known = before.refused.iter();
            !decision.said.hypothetical && !known.any(|known| known.id == decision.id)
        };
        let mut notices = Vec::new();
        for decision in after.refused.iter().filter(is_new) {
            let target = one_line(&decision.target);
            // Programs can be refused without end; everything else is told of rarely by itself.
            if self.refusals.len() >= IN_A_MINUTE
                || !self.is_news(Topic::Refused, &target, REPEATING, clock.now)
            {
                continue;
            }
            self.refusals.push_back(clock.now);
            let mut body = paragraph(texts.told(&decision.message));
            if let Some(remedy) = &decision.remedy {
                body = format!("{body} {}", paragraph(texts.told(remedy)));
            }
            notices.push(Notice {
                title: texts.say_with("notice-refused-title", [("target", target.into())]),
                body,
                is_urgent: false,
                offer: None,
            });
        }
        notices
    }

    fn requests(
        &mut self,
        before: &Known,
        after: &Known,
        texts: &Texts,
        clock: Clock,
    ) -> Vec<Notice> {
        let was_pending = |request: &&AccessRequestReport| {
            let mut known = before.requests.iter();
            let known = known.find(|known| known.id == request.id);
            known.is_some_and(|known| known.status == AccessRequestStatus::Pending)
        };
        let mut notices = Vec::new();
        for request in after.requests.iter().filter(was_pending) {
            let key = match request.status {
                AccessRequestStatus::Approved => "request-approved",
                AccessRequestStatus::Denied => "request-denied",
                AccessRequestStatus::Expired
                | AccessRequestStatus::Pending
                | AccessRequestStatus::Unknown => continue,
            };
            if !self.is_news(Topic::Request, &request.id, ONCE, clock.now) {
                continue;
            }
            let title = one_line(request.title.as_ref().unwrap_or(&request.resource));
            let left = request
                .until
                .as_deref()
                .and_then(|until| clock.until(until));
            let left = texts.duration(left.unwrap_or_default());
            notices.push(Notice {
                title: texts.say("notice-answered-title"),
                body: texts.say_with(key, [("title", title.into()), ("left", left.into())]),
                is_urgent: false,
                offer: None,
            });
        }
        notices
    }

    fn settings(
        &mut self,
        before: &Known,
        after: &Known,
        texts: &Texts,
        clock: Clock,
    ) -> Option<Notice> {
        let old = before.status.configuration_version?;
        let new = after.status.configuration_version?;
        let is_news = old != new && self.is_news(Topic::Settings, "", REPEATING, clock.now);
        is_news.then(|| Notice {
            title: texts.say("notice-settings-title"),
            body: texts.say("notice-settings-body"),
            is_urgent: false,
            offer: None,
        })
    }

    /// Says that the administrator has changed settings on this device; the service may have
    /// started anew for them.
    fn managed(
        &mut self,
        before: &Snapshot,
        after: &Known,
        texts: &Texts,
        clock: Clock,
    ) -> Option<Notice> {
        let changes = |known: &Known| {
            let managed = known.status.managed.as_ref();
            managed.map_or(0, |managed| managed.changes)
        };
        let seen = self.changes_seen.replace(changes(after));
        let seen = match before {
            Snapshot::Running(before) => changes(before),
            Snapshot::NotRunning => seen?,
        };
        let managed = after.status.managed.as_ref()?;
        let has_changed = managed.changes > seen;
        let is_news = has_changed && self.is_news(Topic::Settings, "managed", JUST_NOW, clock.now);
        let name = one_line(&managed.by);
        is_news.then(|| Notice {
            title: texts.say("notice-managed-title"),
            body: texts.say_with("notice-managed-body", [("name", name.into())]),
            is_urgent: false,
            offer: None,
        })
    }

    /// Returns whether nobody was told of this within so many seconds; from now on, somebody was.
    fn is_news(&mut self, topic: Topic, about: &str, pause: i64, now: i64) -> bool {
        let key = (topic, about.to_owned());
        let is_news = self.said.get(&key).is_none_or(|said| now - said >= pause);
        if is_news {
            self.said.insert(key, now);
        }
        is_news
    }

    fn forget(&mut self, now: i64) {
        self.refusals.retain(|told| (0..60).contains(&(now - told)));
        self.said.retain(|_, said| now - *said < ONCE);
        self.used.retain(|_, used| now - *used < IN_USE);
        self.signed_out_at.take_if(|at| now - *at > OWN_DOING);
    }
}

/// Returns the first check that does not pass, and how to mend it.
fn unmet(known: &Known, texts: &Texts) -> String {
    let checks = known.posture.iter().flat_map(|posture| &posture.checks);
    let rank = |finding| match finding {
        Finding::Fail => 0,
        Finding::Unknown => 1,
        Finding::Pass => 2,
    };
    let worst = checks.min_by_key(|check| rank(check.finding));
    match worst.filter(|check| check.finding != Finding::Pass) {
        Some(check) => texts.say_with(
            "notice-posture-lost-body",
            [
                ("title", one_line(texts.told(&check.title)).into()),
                ("remedy", paragraph(texts.told(&check.remedy)).into()),
            ],
        ),
        None => texts.say("notice-posture-lost-plain"),
    }
}

/// More refusals would not be read.
const IN_A_MINUTE: usize = 3;

/// Seconds before the session's end that suffice to sign in again.
const SOON: i64 = 10 * 60;

/// A program that is refused tries again and again.
const REPEATING: i64 = 10 * 60;

/// What comes and goes is told once in five minutes.
const FLAPPING: i64 = 5 * 60;

/// Who changes one thing after the other is told of once.
const JUST_NOW: i64 = 60;

/// Longer than anything lasts that is told once.
const ONCE: i64 = 7 * 86_400;

/// Whoever used a site two minutes ago may well be using it.
const IN_USE: i64 = 120;

/// The service is done signing out long before.
const OWN_DOING: i64 = 10;

#[cfg(test)]
mod tests;
