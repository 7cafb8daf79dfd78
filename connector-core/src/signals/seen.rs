use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

/// Names an event: `jti`, unique for each issuer (RFC 8417 §2.2).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Arc<str>);

impl EventId {
    /// Takes a name of 1 to 256 printable ASCII characters, as long as any transmitter writes them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_name =
            (1..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_name.then(|| Self(text.into()))
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The latest events of one issuer, so that one that is sent again counts once.
///
/// What has fallen out of the window and is sent again takes effect again; that
/// is harmless, since an event only narrows and the state that can be lifted again
/// goes by the event's own time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    order: VecDeque<EventId>,
    known: BTreeSet<EventId>,
}

impl Seen {
    /// Returns whether `id` is among the latest.
    #[must_use]
    pub fn contains(&self, id: &EventId) -> bool {
        self.known.contains(id)
    }

    /// Adds `id`, and forgets the oldest if there are too many; returns whether it is new.
    pub fn insert(&mut self, id: EventId) -> bool {
        if !self.known.insert(id.clone()) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > WINDOW
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    /// Returns all of them, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &EventId> {
        self.order.iter()
    }
}

/// Far more than a transmitter sends again after a lost acknowledgement.
const WINDOW: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_counts_once_and_the_window_is_bounded() {
        let mut seen = Seen::default();

        for number in 0..3000 {
            let id = EventId::parse(&number.to_string()).unwrap();
            assert!(seen.insert(id.clone()));
            assert!(!seen.insert(id));
        }

        assert_eq!(seen.iter().count(), WINDOW);
        assert!(!seen.contains(&EventId::parse("0").unwrap()));
        assert!(seen.contains(&EventId::parse("2999").unwrap()));
    }

    #[test]
    fn a_name_that_would_not_fit_into_a_line_is_none() {
        for bad in ["", "a b", "a\n", "\u{e4}", &"x".repeat(257)] {
            assert_eq!(EventId::parse(bad), None, "{bad:?}");
        }
    }
}
