use std::future::{Ready, ready};

use connector_ui::notices::Notice;
use connector_ui::view::{Action, Menu};
use tokio::sync::mpsc;

/// A desktop that shows nothing yet.
pub(crate) enum Desktop {}

impl Desktop {
    pub(crate) fn open(_: Menu, _: mpsc::Sender<Action>) -> Ready<Result<Self, NoDesktop>> {
        ready(Err(NoDesktop))
    }

    pub(crate) fn change(&self, _: Menu) -> Ready<()> {
        match *self {}
    }

    pub(crate) fn tell(&self, _: Notice) -> Ready<()> {
        match *self {}
    }
}

/// There is no icon yet.
#[derive(Debug, thiserror::Error)]
#[error("there is no icon on this system yet; `ztna status` shows the same in a terminal")]
pub(crate) struct NoDesktop;
