//! Which requests for access may still change, and which just have.

use std::collections::BTreeMap;
use std::time::Duration;

use connector_core::control::{GrantStatus, GrantTask};
use connector_core::identity::SessionId;
use connector_core::time::WallTime;

/// The requests of one session that wait for somebody, or are approved for a time.
#[derive(Debug, Default)]
pub(super) struct Followed {
    session: Option<SessionId>,
    open: BTreeMap<String, Open>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Open {
    is_approved: bool,
    /// When it changes by itself, in Unix seconds.
    ends: Option<u64>,
}

/// What the control plane said.
#[derive(Debug, Clone, Copy)]
pub(super) enum Heard<'a> {
    /// What became of every request.
    All(&'a [GrantTask]),
    /// What became of this one.
    One(&'a GrantTask),
}

impl Followed {
    /// Takes in what was heard, and returns the requests that were approved or denied, or that
    /// lapsed, since they were last heard of. What was over before is no news.
    pub(super) fn note(&mut self, session: &SessionId, heard: Heard<'_>) -> Vec<GrantTask> {
        if self.session.as_ref() != Some(session) {
            self.clear();
            self.session = Some(session.clone());
        }
        let tasks = match heard {
            Heard::All(tasks) => {
                self.open
                    .retain(|id, _| tasks.iter().any(|task| task.id == *id));
                tasks
            }
            Heard::One(task) => std::slice::from_ref(task),
        };
        let news = tasks.iter().filter(|task| self.note_one(task));
        news.cloned().collect()
    }

    fn note_one(&mut self, task: &GrantTask) -> bool {
        let before = self.open.get(&task.id).copied();
        let is_approved = match task.status {
            GrantStatus::Approved => true,
            GrantStatus::Denied | GrantStatus::Expired => {
                return self.open.remove(&task.id).is_some();
            }
            GrantStatus::Pending => false,
            GrantStatus::Unknown => return false,
        };
        if before.is_some() || self.open.len() < MAX_OPEN {
            let ends = task.expires_at;
            self.open
                .insert(task.id.clone(), Open { is_approved, ends });
        }
        is_approved && before.is_some_and(|before| !before.is_approved)
    }

    pub(super) fn clear(&mut self) {
        self.open.clear();
    }

    /// Returns in whose name to ask again, and when.
    pub(super) fn next(&self, now: WallTime) -> Option<(SessionId, Duration)> {
        let pauses = self.open.values().map(|open| {
            let ends = open.ends.unwrap_or(u64::MAX);
            let left = Duration::from_secs(ends.saturating_sub(now.unix_seconds()));
            // A moment later, so that it is over by the control plane's clock as well.
            let left = left.saturating_add(AFTER_THE_END);
            let longest = if open.is_approved { LONGEST } else { POLL };
            left.min(longest)
        });
        Some((self.session.clone()?, pauses.min()?))
    }
}

/// Between questions while somebody is to answer.
const POLL: Duration = Duration::from_secs(15);

/// Between questions while nothing is expected to change; an approval may be taken back.
const LONGEST: Duration = Duration::from_secs(300);

const AFTER_THE_END: Duration = Duration::from_secs(2);

/// More than the control plane's API promises to send.
const MAX_OPEN: usize = 100;

#[cfg(test)]
mod tests {
    use connector_core::control::GrantEntity;

    use super::*;

    #[test]
    fn each_change_is_news_once_and_what_was_over_before_is_none() {
        let mut followed = Followed::default();
        let mut news = |tasks: &[(&str, GrantStatus)]| {
            let tasks: Vec<GrantTask> = tasks.iter().map(|(id, it)| task(id, *it)).collect();
            let news = followed.note(&"s1".into(), Heard::All(&tasks));
            let ids = news.iter().map(|task| (task.id.clone(), task.status));
            ids.collect::<Vec<_>>()
        };
        let seen = |id: &str, status| vec![(id.to_owned(), status)];
        let (approved, denied) = (GrantStatus::Approved, GrantStatus::Denied);
        let (expired, pending) = (GrantStatus::Expired, GrantStatus::Pending);

        assert_eq!(news(&[("a", pending), ("b", pending), ("old", denied)]), []);
        let decided = [("a", approved), ("b", pending), ("old", denied)];
        assert_eq!(news(&decided), seen("a", approved));
        assert_eq!(news(&decided), []);
        assert_eq!(news(&[("a", approved), ("b", denied)]), seen("b", denied));
        assert_eq!(news(&[("a", expired), ("b", denied)]), seen("a", expired));
        assert_eq!(news(&[("a", expired), ("b", denied)]), []);
    }

    #[test]
    fn it_is_asked_again_while_somebody_is_to_answer_and_when_access_ends() {
        let mut followed = Followed::default();
        let now = WallTime::from_unix_millis(1000 * 1000);
        assert_eq!(followed.next(now), None);

        followed.note(&"s1".into(), Heard::One(&task("a", GrantStatus::Pending)));
        assert_eq!(followed.next(now), Some(("s1".into(), POLL)));

        followed.note(&"s1".into(), Heard::One(&task("a", GrantStatus::Approved)));
        let end = Duration::from_secs(60) + AFTER_THE_END;
        assert_eq!(followed.next(now), Some(("s1".into(), end)));

        followed.note(&"s2".into(), Heard::All(&[]));
        assert_eq!(followed.next(now), None);
    }

    fn task(id: &str, status: GrantStatus) -> GrantTask {
        GrantTask {
            id: id.to_owned(),
            status,
            resource: GrantEntity {
                kind: "application".to_owned(),
                id: "payroll".to_owned(),
            },
            reason: "Pay day".to_owned(),
            seconds: 60,
            requested_at: 1000,
            expires_at: Some(1060),
            approver: None,
        }
    }
}
