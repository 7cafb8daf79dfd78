use connector_ipc::{ManagedReport, Status};

use super::{Break, Clock, one_line};
use crate::texts::Texts;

/// What keeps people from switching the connector off from here.
pub(crate) struct PauseLock<'a>(&'a ManagedReport);

impl<'a> PauseLock<'a> {
    /// Returns the lock, if there is one: a reason that has to be given cannot be given here, either.
    pub(crate) fn of(status: &'a Status) -> Option<Self> {
        let managed = status.managed.as_ref()?;
        (!managed.pause_allowed || managed.reason_required).then_some(Self(managed))
    }

    /// Says whose word it is.
    pub(crate) fn by(&self, texts: &Texts) -> String {
        texts.say_with("managed-by", [("name", one_line(&self.0.by).into())])
    }

    /// Says how it can be switched off nevertheless.
    pub(crate) fn way_out(&self, texts: &Texts) -> String {
        texts.say(match self.0.pause_allowed {
            true => "pause-locked-reason",
            false => "pause-locked-way-out",
        })
    }
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
