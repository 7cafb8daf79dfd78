//! Signs a person in: OpenID Connect authorization code flow with PKCE on a
//! loopback redirect (RFC 8252, RFC 7636), then a session at the control plane.

mod callback;
mod provider;
mod stepping_up;
mod stored;

use std::sync::Arc;
use std::time::Duration;

use connector_core::authzen::printable;
use connector_core::configuration::IdentityProvider;
use connector_core::connector::{Attempt, Event, SignInMethod};
use connector_core::control::{SessionRequest, is_assignable};
use connector_core::identity::{Owner, Person, Session, SessionId};
use connector_core::jws::PublicKey;
use connector_platform::sealing::SealError;
use connector_platform::{clock, endpoint};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::callback::Ending;
#[cfg(feature = "testing")]
pub(crate) use self::callback::parse as read_redirect;
use self::provider::{Provider, SignedIn};
pub(crate) use self::stored::Store;
use self::stored::{Era, StoreError, StoredSignIn};
use super::control::{ApiError, ControlPlane, ControlState};
use super::http::Http;
use super::keys::{KeyRing, SessionKeys};
use super::{Events, Task};

/// How the latest sign-in is getting on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// Which one it is; none before the first.
    pub(crate) attempt: Option<Attempt>,
    pub(crate) stage: Stage,
}

/// How far a sign-in has come.
#[derive(Debug, Clone, Default)]
pub(crate) enum Stage {
    /// The person has to go to this page.
    AwaitingPerson { url: String },
    /// It did not work out.
    Failed(Arc<SignInError>),
    #[default]
    Idle,
    /// This session is open.
    SignedIn(SessionId),
    /// Talking to the provider or the control plane.
    Working,
}

/// What a sign-in needs.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) http: Http,
    pub(crate) api: ControlPlane,
    pub(crate) control: watch::Receiver<ControlState>,
    pub(crate) store: Store,
    pub(crate) keys: KeyRing,
}

/// How somebody wants to sign in, and for whose programs.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) method: SignInMethod,
    pub(crate) owner: Owner,
}

/// Signs in, one attempt at a time; a new attempt ends the one before.
#[derive(Debug)]
pub(crate) struct SignIn {
    config: Config,
    events: Events,
    progress: watch::Sender<Progress>,
    under_way: Option<Task>,
    endings: JoinSet<()>,
}

impl SignIn {
    pub(crate) fn new(config: Config, events: Events) -> Self {
        Self {
            config,
            events,
            progress: watch::Sender::new(Progress::default()),
            under_way: None,
            endings: JoinSet::new(),
        }
    }

    /// Returns how the sign-in is getting on.
    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Returns whose sign-in left something to sign in with, if any did.
    pub(crate) fn stored(&self) -> Option<Owner> {
        match self.config.store.read() {
            Ok(stored) => Some(Owner::of(stored?.user)),
            // It may be the person's key store that is locked, and it is their own service then.
            Err(StoreError::Seal(SealError::Locked)) => Some(Owner::of(endpoint::own_user())),
            Err(_) => None,
        }
    }

    /// Starts; the session, or that there is none, comes as an event.
    pub(crate) fn start(&mut self, attempt: Attempt, at: IdentityProvider, wish: Wish) {
        let (config, events) = (self.config.clone(), self.events.clone());
        let report = Report {
            attempt,
            to: self.progress.clone(),
        };
        report.stage(Stage::Working);
        self.under_way = Some(Task::spawn(async move {
            match sign_in(&config, &at, wish, &report).await {
                Ok(opened) => {
                    let id = opened.session.id.clone();
                    let opened = Event::SessionOpened {
                        attempt,
                        session: opened.session,
                        signed_in_ago: opened.signed_in_ago,
                        restored_from: opened.restored_from,
                    };
                    let _ = events.send(opened).await;
                    report.stage(Stage::SignedIn(id));
                }
                Err(error) => {
                    tracing::warn!(%error, "The sign-in failed");
                    let retry = error.may_pass();
                    let _ = events.send(Event::SignInFailed { attempt, retry }).await;
                    report.stage(Stage::Failed(Arc::new(error)));
                }
            }
        }));
    }

    /// Drops the session's keys and tells the control plane.
    pub(crate) fn end(&mut self, session: &SessionId) {
        while self.endings.try_join_next().is_some() {}
        let Some(keys) = self.config.keys.remove(session) else {
            return;
        };
        let (api, session) = (self.config.api.clone(), session.clone());
        self.endings.spawn(async move {
            if let Err(error) = api.end_session(session.as_str(), &keys.signing).await {
                tracing::warn!(%error, "The control plane was not told that the session ended");
            }
        });
    }

    /// Forgets the person's tokens.
    pub(crate) fn forget(&self) {
        if let Err(error) = self.config.store.forget() {
            tracing::error!(%error, "The stored sign-in could not be removed");
        }
    }
}

fn user_of(owner: Owner) -> Option<u32> {
    match owner {
        Owner::Machine => None,
        Owner::User(user) => Some(user),
    }
}

/// Tells how one attempt is getting on.
struct Report {
    attempt: Attempt,
    to: watch::Sender<Progress>,
}

impl Report {
    fn stage(&self, stage: Stage) {
        self.to.send_replace(Progress {
            attempt: Some(self.attempt),
            stage,
        });
    }
}

/// A session, and what it goes on from.
struct Opened {
    session: Session,
    signed_in_ago: Duration,
    restored_from: Option<SessionId>,
}

async fn sign_in(
    config: &Config,
    at: &IdentityProvider,
    wish: Wish,
    report: &Report,
) -> Result<Opened, SignInError> {
    let provider = Provider::discover(config.http.clone(), at).await?;
    let era = config.store.era();
    let now = clock::now().wall.unix_seconds();
    match &wish.method {
        SignInMethod::Browser | SignInMethod::StepUp(_) => {
            let step_up = match &wish.method {
                SignInMethod::StepUp(step_up) => Some(step_up),
                SignInMethod::Browser | SignInMethod::Stored => None,
            };
            let show = |url: String| report.stage(Stage::AwaitingPerson { url });
            let mut browser = None;
            let signed_in = provider
                .sign_in_with_browser(step_up, show, &mut browser)
                .await;
            report.stage(Stage::Working);
            let admitted = match signed_in {
                Ok(signed_in) => admit(config, at, signed_in, wish.owner, era).await,
                Err(error) => Err(error.into()),
            };
            if let Some(browser) = browser {
                browser.show(ending(&admitted));
            }
            Ok(Opened {
                session: admitted?,
                signed_in_ago: Duration::ZERO,
                restored_from: None,
            })
        }
        SignInMethod::Stored => {
            config.store.unlock().await;
            let mut stored = config
                .store
                .read()?
                .filter(|stored| stored.issuer == at.issuer.as_str())
                .ok_or(SignInError::NothingStored)?;
            let signed_in = provider.refresh(stored.refresh_token.clone()).await?;
            stored.user = user_of(wish.owner);
            if let Some(refresh_token) = &signed_in.refresh_token {
                // The provider has taken the old token back with handing out this one.
                stored.refresh_token = refresh_token.clone();
                config.store.write(&stored, era)?;
            }
            let session = open_session(config, &signed_in, wish.owner).await?;
            // Before anybody hears of it, so that a signal about it finds it after a restart too.
            let restored_from = stored.session.replace(session.id.clone());
            config.store.write(&stored, era)?;
            Ok(Opened {
                session,
                signed_in_ago: Duration::from_secs(now.saturating_sub(stored.signed_in_at)),
                restored_from,
            })
        }
    }
}

/// Opens a session for somebody who signed in, and keeps what the next start needs.
async fn admit(
    config: &Config,
    at: &IdentityProvider,
    signed_in: SignedIn,
    owner: Owner,
    era: Era,
) -> Result<Session, SignInError> {
    // Nothing is kept of a person whom the control plane does not admit.
    let session = open_session(config, &signed_in, owner).await?;
    if let Some(refresh_token) = signed_in.refresh_token {
        let stored = StoredSignIn {
            issuer: at.issuer.to_string(),
            refresh_token,
            signed_in_at: clock::now().wall.unix_seconds(),
            user: user_of(owner),
            session: Some(session.id.clone()),
        };
        config.store.write(&stored, era)?;
    }
    Ok(session)
}

/// Returns what a person is called, by what the provider told.
fn name_of(person: &Person) -> Arc<str> {
    let name = person.name.as_ref().or(person.email.as_ref());
    printable(name.unwrap_or(&person.subject))
}

/// Returns what the person reads in their browser.
fn ending(admitted: &Result<Session, SignInError>) -> Ending {
    match admitted {
        Ok(session) => Ending::SignedIn {
            name: name_of(&session.person).to_string(),
        },
        Err(error) => Ending::Failed {
            why: printable(&error.to_string()).to_string(),
        },
    }
}

async fn open_session(
    config: &Config,
    signed_in: &SignedIn,
    owner: Owner,
) -> Result<Session, SignInError> {
    let mut control = config.control.clone();
    let enrolled = control.wait_for(|state| state.credential.is_some());
    let credential = match tokio::time::timeout(ENROLMENT_LIMIT, enrolled).await {
        Ok(Ok(state)) => state.credential.clone(),
        Ok(Err(_)) | Err(_) => None,
    }
    .ok_or(SignInError::NotEnrolled)?;
    let keys = SessionKeys::generate()?;
    let request = SessionRequest {
        id_token: signed_in.id_token.clone(),
        session_key: PublicKey::of(&keys.signing).to_string(),
        wireguard_key: keys.tunnel_public().to_string(),
    };
    let grant = config.api.open_session(&credential, &request).await?;
    if let Some(address) = grant
        .addresses
        .iter()
        .find(|address| !is_assignable(**address))
    {
        return Err(SignInError::BadAddress(*address));
    }

    let now = clock::now();
    let lifetime = Duration::from_secs(grant.expires_in);
    let session = Session {
        id: grant.session_id.as_str().into(),
        person: Arc::new(signed_in.person.clone()),
        owner,
        addresses: grant.addresses.into(),
        expires_at: now.moment + lifetime,
        expires_wall: now.wall + lifetime,
        assurance: signed_in.assurance.clone(),
    };
    config.keys.insert(session.id.clone(), keys);
    Ok(session)
}

/// Why nobody is signed in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignInError {
    #[error("the control plane assigned the tunnel the reserved address {0}")]
    BadAddress(std::net::IpAddr),
    #[error(transparent)]
    Control(#[from] ApiError),
    #[error(transparent)]
    Key(#[from] super::keys::KeyError),
    #[error("this host is not enrolled yet; check that the control plane can be reached")]
    NotEnrolled,
    #[error("there is no stored sign-in")]
    NothingStored,
    #[error(transparent)]
    Provider(#[from] provider::ProviderError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SignInError {
    /// Returns whether the same may work later without the person's help.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::BadAddress(_) | Self::NothingStored => false,
            Self::Control(error) => !error.is_refusal(),
            Self::Key(_) | Self::NotEnrolled | Self::Store(_) => true,
            Self::Provider(error) => error.may_pass(),
        }
    }
}

/// At a start, the enrolment is read at the same time as the stored sign-in.
const ENROLMENT_LIMIT: Duration = Duration::from_secs(5);
