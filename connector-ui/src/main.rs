//! `ztna-tray`: the connector's icon, and the menu behind it.
//!
//! It shows what the service says and carries out what the person chooses. It decides nothing,
//! keeps nothing, and sees no token.

// Windows opens a console for every other program, which would end this one when it is closed.
#![windows_subsystem = "windows"]

mod desktop;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use connector_client::Service;
use connector_ui::choices::{Choices, Outcome};
use connector_ui::link;
use connector_ui::notices::Notices;
use connector_ui::preferences::{self, Preferences};
use connector_ui::texts::{Language, Texts};
use connector_ui::view::{self, Action, Clock, Snapshot};
use tokio::sync::{mpsc, watch};

use crate::desktop::Desktop;

/// The connector's icon: shows how it is, and steers it.
///
/// The icon follows the service within a second. Ending it ends nothing else. Where a desktop has
/// no place for icons, `ztna` does the same in a terminal.
#[derive(Debug, Parser)]
#[command(name = "ztna-tray", version)]
struct Options {
    /// The service's endpoint, in place of the one that ZTNA_SOCKET names or the usual one.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Be the icon that starts at login: end at once if the administrator wants none.
    #[arg(long)]
    at_login: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let client = concat!("ztna-tray ", env!("CARGO_PKG_VERSION"));
    let service = Arc::new(Service::new(client, options.socket, None));
    let language = Language::of_person();
    let first = view::menu(
        &Snapshot::NotRunning,
        &BTreeSet::new(),
        &Texts::new(language),
        clock(),
    );
    let at_login = options.at_login;
    desktop::run(first, move |desktop, choices| async move {
        let (shown, snapshots) = watch::channel(Snapshot::NotRunning);
        let unwanted = unwanted(at_login, shown.subscribe());
        tokio::select! {
            () = unwanted => {}
            () = run(service, language, desktop, choices, (shown, snapshots)) => {}
        }
    })
}

/// Follows the service and the person, until the person has enough of it.
async fn run(
    service: Arc<Service>,
    language: Language,
    desktop: Desktop,
    choices: mpsc::Receiver<Action>,
    (shown, snapshots): (watch::Sender<Snapshot>, watch::Receiver<Snapshot>),
) {
    let (again, asked) = watch::channel(());
    let tray = Tray {
        desktop,
        notices: Notices::default(),
        before: Snapshot::NotRunning,
        choices: Choices::new(Arc::clone(&service), again),
        texts: Texts::new(language),
    };
    tokio::select! {
        () = link::follow(&service, &shown, asked) => {}
        () = tray.run(snapshots, choices) => {}
    }
}

/// Waits until the service says that nobody wants an icon at login; in any other case for ever.
async fn unwanted(at_login: bool, mut snapshots: watch::Receiver<Snapshot>) {
    let known = snapshots.wait_for(|snapshot| matches!(snapshot, Snapshot::Running(_)));
    let wants_none = match known.await.as_deref() {
        Ok(Snapshot::Running(known)) => {
            let managed = known.status.managed.as_ref();
            managed.is_some_and(|managed| !managed.tray_autostart)
        }
        Ok(Snapshot::NotRunning) | Err(_) => false,
    };
    if !(at_login && wants_none) {
        std::future::pending::<()>().await;
    }
}

/// What the program does once it is seen.
struct Tray {
    desktop: Desktop,
    notices: Notices,
    before: Snapshot,
    choices: Choices,
    texts: Texts,
}

impl Tray {
    async fn run(
        mut self,
        mut snapshots: watch::Receiver<Snapshot>,
        mut choices: mpsc::Receiver<Action>,
    ) {
        let mut minute = tokio::time::interval(TIMES_CHANGE);
        loop {
            tokio::select! {
                changed = snapshots.changed() => if changed.is_err() { return },
                chosen = choices.recv() => match chosen {
                    Some(Action::Quit) | None => return,
                    Some(action) => self.choose(action).await,
                },
                outcome = self.choices.next() => {
                    self.report(outcome).await;
                    continue;
                }
                _ = minute.tick() => {}
            }
            let after = snapshots.borrow_and_update().clone();
            self.show(after).await;
        }
    }

    async fn show(&mut self, after: Snapshot) {
        let clock = clock();
        let path = preferences::path();
        let favourites = path.map(|path| Preferences::load(&path).favourites);
        let favourites = favourites.unwrap_or_default();
        self.desktop
            .change(view::menu(&after, &favourites, &self.texts, clock))
            .await;
        let notices = self
            .notices
            .between(&self.before, &after, &self.texts, clock);
        self.before = after;
        for notice in notices {
            self.desktop.tell(notice).await;
        }
    }

    async fn choose(&mut self, action: Action) {
        if action == Action::SignOut {
            self.notices.person_signs_out(clock());
        }
        if let Some(outcome) = self.choices.start(action, clock()) {
            self.report(outcome).await;
        }
    }

    async fn report(&self, outcome: Outcome) {
        if let Some(notice) = outcome.notice(&self.texts) {
            self.desktop.tell(notice).await;
        }
    }
}

/// The only place that looks at the clock.
fn clock() -> Clock {
    let now = chrono::Local::now();
    Clock {
        now: now.timestamp(),
        ahead: now.offset().local_minus_utc().into(),
    }
}

/// How often times that are shown as minutes are looked at.
const TIMES_CHANGE: Duration = Duration::from_secs(20);
