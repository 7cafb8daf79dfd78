use connector_ipc::{ManagedReport, Standing, Status};

use super::{Break, Clock, State, one_line};
use crate::texts::Texts;

/// Which way the connector can be switched from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Switch {
    /// Off, with what stands between, if anything does.
    Off(Option<PauseLock>),
    /// On again.
    On,
}

impl Switch {
    /// Returns the way, if there is one: nobody who is signed out has anything to switch off, but
    /// for whoever has a code.
    pub(crate) fn of(state: State, status: &Status) -> Option<Self> {
        if status.standing == Standing::Paused || state == State::Paused {
            return Some(Self::On);
        }
        let lock = PauseLock::of(status);
        let is_for_somebody = status.identity.is_some() || lock == Some(PauseLock::Code);
        is_for_somebody.then_some(Self::Off(lock))
    }
}

/// What stands between people and switching the connector off, and whose word that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PauseLock {
    /// A code of the company.
    Code,
    /// A reason.
    Reason,
}

impl PauseLock {
    /// Returns the lock, if there is one.
    pub(crate) fn of(status: &Status) -> Option<Self> {
        let managed = status.managed.as_ref()?;
        match (managed.pause_allowed, managed.reason_required) {
            (false, _) => Some(Self::Code),
            (true, true) => Some(Self::Reason),
            (true, false) => None,
        }
    }

    /// Says what it means.
    pub(crate) fn meaning(self, texts: &Texts) -> String {
        texts.say(match self {
            Self::Code => "pause-needs-code",
            Self::Reason => "pause-needs-reason",
        })
    }

    /// Says what leads to where it can be opened.
    pub(crate) fn way_out(self, texts: &Texts) -> String {
        texts.say(match self {
            Self::Code => "pause-enter-code",
            Self::Reason => "pause-give-reason",
        })
    }
}

/// Says whose word it is.
pub(crate) fn managed_by(status: &Status, texts: &Texts) -> Option<String> {
    let managed = status.managed.as_ref()?;
    Some(texts.say_with("managed-by", [("name", one_line(&managed.by).into())]))
}

/// Returns the breaks that can be taken from here: the text's key, what it says, and how long.
pub(crate) fn breaks(
    status: &Status,
    texts: &Texts,
    clock: Clock,
) -> Vec<(&'static str, String, Break)> {
    let usual = [
        ("pause-quarter", Break::For(15 * 60)),
        ("pause-hour", Break::For(3600)),
        ("pause-tomorrow", Break::UntilMorning),
        ("pause-on-demand", Break::UntilSwitchedOn),
    ];
    let said = |(key, length)| (key, texts.say(key), length);
    let Some((_, most)) = longest(status) else {
        return usual.into_iter().map(said).collect();
    };
    let is_allowed = |length: &Break| length.seconds(clock).is_some_and(|seconds| seconds < most);
    let shorter = usual.into_iter().filter(|(_, length)| is_allowed(length));
    let longest = texts.say_with("pause-longest", [("length", length(most, texts).into())]);
    shorter
        .map(said)
        .chain([("pause-longest", longest, Break::For(most))])
        .collect()
}

/// Says how long a break may last, if somebody else decides that, and whose word it is.
pub(crate) fn limit(status: &Status, texts: &Texts) -> Option<String> {
    let (managed, most) = longest(status)?;
    let by = one_line(&managed.by);
    let length = length(most, texts);
    let said = [("length", length.into()), ("name", by.into())];
    Some(texts.say_with("pause-limit", said))
}

/// Returns who limits breaks, and to how many seconds.
fn longest(status: &Status) -> Option<(&ManagedReport, u64)> {
    let managed = status.managed.as_ref()?;
    Some((managed, managed.pause_limit?.saturating_mul(60)))
}

fn length(seconds: u64, texts: &Texts) -> String {
    texts.duration(i64::try_from(seconds).unwrap_or(i64::MAX))
}
