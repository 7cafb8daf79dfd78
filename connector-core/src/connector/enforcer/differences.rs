//! Which differences between a candidate and the policies in force were written down already.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::access::Flow;
use crate::authzen::Difference;
use crate::time::Moment;

/// The differences of late, each until it may be written down again.
#[derive(Debug, Default)]
pub(super) struct Differences(BTreeMap<(Flow, Arc<Difference>), Moment>);

impl Differences {
    /// Notes a difference, and returns whether the same was not noted within the lease before.
    pub(super) fn is_news(
        &mut self,
        flow: &Flow,
        difference: &Arc<Difference>,
        now: Moment,
        lease: Duration,
    ) -> bool {
        let key = (flow.clone(), Arc::clone(difference));
        if self.0.get(&key).is_some_and(|until| now < *until) {
            return false;
        }
        if self.0.len() >= MAX_DIFFERENCES {
            self.0.retain(|_, until| now < *until);
        }
        if self.0.len() >= MAX_DIFFERENCES {
            // Written down twice is better than not at all.
            self.0.pop_first();
        }
        self.0.insert(key, now + lease);
        true
    }
}

/// Differences that are remembered; as many as there are answers without a live flow.
const MAX_DIFFERENCES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authzen::Opinion;
    use crate::catalogue::fixture::wiki;

    const LEASE: Duration = Duration::from_secs(300);

    #[test]
    fn the_same_difference_is_news_once_a_lease_and_another_at_once() {
        let mut differences = Differences::default();
        let begun = Moment::default();
        let mut is_news = |port, commit, after| {
            let now = begun + Duration::from_secs(after);
            differences.is_news(&wiki(port), &difference(commit), now, LEASE)
        };

        assert!(is_news(80, "one", 0));
        assert!(!is_news(80, "one", 299));
        assert!(is_news(443, "one", 299));
        assert!(is_news(80, "two", 299));
        assert!(is_news(80, "one", 300));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut differences = Differences::default();

        for port in 0..=5000 {
            let news =
                differences.is_news(&wiki(port), &difference("one"), Moment::default(), LEASE);
            assert!(news);
        }

        assert_eq!(differences.0.len(), MAX_DIFFERENCES);
    }

    fn difference(commit: &str) -> Arc<Difference> {
        let opinion = |permitted| Opinion {
            permitted,
            policy: None,
            commit: Some(commit.into()),
        };
        Arc::new(Difference {
            active: opinion(true),
            candidate: opinion(false),
        })
    }
}
