//! Signs a person in: OpenID Connect authorization code flow with PKCE on a
//! loopback redirect (RFC 8252, RFC 7636), then a session at the control plane.

mod callback;
mod provider;
mod stored;

use std::sync::Arc;
use std::time::Duration;

use connector_core::configuration::IdentityProvider;
use connector_core::connector::{Attempt, Event, SignInMethod};
use connector_core::control::{SessionRequest, is_assignable};
use connector_core::identity::{Session, SessionId};
use connector_core::jws::PublicKey;
use connector_platform::clock;
use connector_platform::private::PrivateDir;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::provider::{Provider, SignedIn};
use super::control::{ApiError, ControlPlane, ControlState};
use super::http::Http;
use super::keys::{KeyRing, SessionKeys};
use super::{Events, Task};

/// How the sign-in under way is getting on.
#[derive(Debug, Clone, Default)]
pub(crate) enum Progress {
    /// The person has to go to this page.
    AwaitingPerson { url: String },
    /// It did not work out.
    Failed(Arc<SignInError>),
    #[default]
    Idle,
    /// A session is open.
    SignedIn,
    /// Talking to the provider or the control plane.
    Working,
}

/// What a sign-in needs.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) http: Http,
    pub(crate) api: ControlPlane,
    pub(crate) control: watch::Receiver<ControlState>,
    pub(crate) state: PrivateDir,
    pub(crate) keys: KeyRing,
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

    /// Returns whether an earlier sign-in left something to sign in with.
    pub(crate) fn has_stored(&self) -> bool {
        matches!(stored::read(&self.config.state), Ok(Some(_)))
    }

    /// Starts; the session, or that there is none, comes as an event.
    pub(crate) fn start(&mut self, attempt: Attempt, at: IdentityProvider, method: SignInMethod) {
        let (config, events, progress) = (
            self.config.clone(),
            self.events.clone(),
            self.progress.clone(),
        );
        progress.send_replace(Progress::Working);
        self.under_way = Some(Task::spawn(async move {
            let event = match sign_in(&config, &at, method, &progress).await {
                Ok((session, signed_in_ago)) => Event::SessionOpened {
                    attempt,
                    session,
                    signed_in_ago,
                },
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "The sign-in failed");
                    let retry = error.may_pass();
                    progress.send_replace(Progress::Failed(Arc::new(error)));
                    Event::SignInFailed { attempt, retry }
                }
            };
            let opened = matches!(event, Event::SessionOpened { .. });
            let _ = events.send(event).await;
            if opened {
                progress.send_replace(Progress::SignedIn);
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
        if let Err(error) = stored::forget(&self.config.state) {
            tracing::error!(%error, "The stored sign-in could not be removed");
        }
    }
}

async fn sign_in(
    config: &Config,
    at: &IdentityProvider,
    method: SignInMethod,
    progress: &watch::Sender<Progress>,
) -> Result<(Session, Duration), SignInError> {
    let provider = Provider::discover(config.http.clone(), at).await?;
    let now = clock::now().wall.unix_seconds();
    let (signed_in, signed_in_at) = match method {
        SignInMethod::Browser => {
            let show = |url: String| {
                progress.send_replace(Progress::AwaitingPerson { url });
            };
            let signed_in = provider.sign_in_with_browser(show).await?;
            (signed_in, clock::now().wall.unix_seconds())
        }
        SignInMethod::Stored => {
            let stored = stored::read(&config.state)?
                .filter(|stored| stored.issuer == at.issuer.as_str())
                .ok_or(SignInError::NothingStored)?;
            let signed_in = provider.refresh(stored.refresh_token).await?;
            (signed_in, stored.signed_in_at)
        }
    };
    progress.send_replace(Progress::Working);
    if let Some(refresh_token) = &signed_in.refresh_token {
        let issuer = at.issuer.as_str();
        stored::write(&config.state, issuer, refresh_token, signed_in_at)?;
    }
    let signed_in_ago = Duration::from_secs(now.saturating_sub(signed_in_at));
    Ok((open_session(config, signed_in).await?, signed_in_ago))
}

async fn open_session(config: &Config, signed_in: SignedIn) -> Result<Session, SignInError> {
    let mut control = config.control.clone();
    let enrolled = control.wait_for(|state| state.credential.is_some());
    let credential = match tokio::time::timeout(ENROLMENT_LIMIT, enrolled).await {
        Ok(Ok(state)) => state.credential.clone(),
        Ok(Err(_)) | Err(_) => None,
    }
    .ok_or(SignInError::NotEnrolled)?;
    let keys = SessionKeys::generate()?;
    let request = SessionRequest {
        id_token: signed_in.id_token,
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
        person: Arc::new(signed_in.person),
        addresses: grant.addresses,
        expires_at: now.moment + lifetime,
        expires_wall: now.wall + lifetime,
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
    Store(#[from] stored::StoreError),
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
