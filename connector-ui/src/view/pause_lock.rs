use connector_ipc::{ManagedReport, Status};

use super::one_line;
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
