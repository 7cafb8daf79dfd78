//! Carries out what the person chose.

use std::process::{Command, Stdio};
use std::sync::Arc;

use connector_client::browser::{Opener, WebPage};
use connector_client::{ONE_SIGN_IN, Service, ServiceError, companion};
use connector_ipc::{Reply, Request};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::notices::Notice;
use crate::texts::Texts;
use crate::view::{Action, Clock, Goal};

/// What was chosen and is under way.
#[derive(Debug)]
pub struct Choices {
    service: Arc<Service>,
    /// Says that everything may have changed.
    again: watch::Sender<()>,
    under_way: JoinSet<()>,
    signing_in: Option<AbortHandle>,
    tell: mpsc::Sender<Outcome>,
    told: mpsc::Receiver<Outcome>,
}

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    /// The request for access waits for an answer.
    Asked,
    /// The person has to open a page themselves.
    CannotOpen(WebPage),
    /// What was asked for is seen in the menu.
    Done,
    /// It was not carried out.
    Failed(ServiceError),
    /// There is no window to open.
    NoWindow,
}

impl Choices {
    /// Asks `service`; says by `again` when everything may have changed.
    #[must_use]
    pub fn new(service: Arc<Service>, again: watch::Sender<()>) -> Self {
        let (tell, told) = mpsc::channel(MAX_OUTCOMES);
        Self {
            service,
            again,
            tell,
            told,
            under_way: JoinSet::new(),
            signing_in: None,
        }
    }

    /// Starts to carry out `action`; returns the outcome if it is done at once.
    pub fn start(&mut self, action: Action, clock: Clock) -> Option<Outcome> {
        let request = match action {
            Action::CheckAgain => Request::Posture { refresh: true },
            Action::Connect => Request::Up,
            Action::OpenPage(page) => return Some(open(WebPage::new(page)?)),
            Action::OpenWindow(goal) => return Some(open_window(&self.service, &goal)),
            Action::Pause { length, reason } => Request::Down {
                seconds: length.seconds(clock),
                reason,
            },
            Action::Quit => return None,
            Action::RedeemCode { code, reason } => Request::OverrideRedeem { code, reason },
            Action::RequestAccess {
                host,
                port,
                reason,
                seconds,
            } => Request::RequestAccess {
                host,
                port,
                reason,
                seconds,
            },
            Action::SignIn => {
                self.sign_in();
                return None;
            }
            Action::SignOut => Request::Logout,
        };
        while self.under_way.try_join_next().is_some() {}
        let (service, tell) = (Arc::clone(&self.service), self.tell.clone());
        self.under_way.spawn(async move {
            let outcome = match service.ask(&request).await {
                Ok(Reply::AccessRequest(_)) => Outcome::Asked,
                Ok(_) => Outcome::Done,
                Err(error) => Outcome::Failed(error),
            };
            // Nobody listens any more when the program ends.
            let _ = tell.send(outcome).await;
        });
        None
    }

    /// Waits for the next outcome.
    pub async fn next(&mut self) -> Outcome {
        match self.told.recv().await {
            Some(outcome) => {
                self.again.send_replace(());
                outcome
            }
            None => std::future::pending().await,
        }
    }

    /// Signs in; whoever starts again gives up what they had started.
    fn sign_in(&mut self) {
        if let Some(before) = self.signing_in.take() {
            before.abort();
        }
        let (service, tell) = (Arc::clone(&self.service), self.tell.clone());
        let attempt = self.under_way.spawn(async move {
            let outcome = match sign_in(&service, &tell).await {
                Ok(()) => Outcome::Done,
                Err(error) => Outcome::Failed(error),
            };
            let _ = tell.send(outcome).await;
        });
        self.signing_in = Some(attempt);
    }
}

/// Opens the page that the service names, and stays until the person is done: a front-end that
/// goes gives the sign-in up.
async fn sign_in(service: &Service, tell: &mpsc::Sender<Outcome>) -> Result<(), ServiceError> {
    let mut replies = service.open(&Request::Login, ONE_SIGN_IN).await?;
    loop {
        let reply = replies.next().await?;
        if let Reply::Identity(_) = reply {
            return Ok(());
        }
        let Reply::SignInPage { url } = reply else {
            return Err(ServiceError::Unexpected);
        };
        let page = WebPage::new(url).ok_or(ServiceError::Unexpected)?;
        let _ = tell.send(open(page)).await;
    }
}

fn open(page: WebPage) -> Outcome {
    let opened = Opener::find().map(|opener| opener.open(&page));
    match opened {
        Some(Ok(())) => Outcome::Done,
        Some(Err(_)) | None => Outcome::CannotOpen(page),
    }
}

/// Opens the window beside this program; one that is open goes where this one was to go.
fn open_window(service: &Service, goal: &Goal) -> Outcome {
    let Some(program) = companion("ztna-window") else {
        return Outcome::NoWindow;
    };
    let mut command = Command::new(program);
    if let Some(socket) = service.named_socket() {
        command.arg("--socket").arg(socket);
    }
    command.args(goal.argument());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    match command.spawn() {
        Ok(mut window) => {
            // Somebody has to hear how it ended, or the system keeps it in mind.
            std::thread::spawn(move || window.wait());
            Outcome::Done
        }
        Err(_) => Outcome::NoWindow,
    }
}

impl Outcome {
    /// Returns what the person has to be told, if anything.
    #[must_use]
    pub fn notice(&self, texts: &Texts) -> Option<Notice> {
        let (title, body) = match self {
            Self::Asked => (
                texts.say("notice-requested-title"),
                texts.say("notice-requested-body"),
            ),
            Self::CannotOpen(page) => (
                texts.say("notice-browser-title"),
                texts.say_with("notice-browser-body", [("page", page.as_str().into())]),
            ),
            Self::Done => return None,
            Self::NoWindow => (
                texts.say("notice-window-title"),
                texts.say("notice-window-body"),
            ),
            Self::Failed(error) => (texts.say("notice-failed-title"), error.to_string()),
        };
        Some(Notice {
            title,
            body,
            is_urgent: false,
            offer: None,
        })
    }
}

/// More than a person can cause before the first is shown.
const MAX_OUTCOMES: usize = 16;
