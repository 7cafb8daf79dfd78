//! Carries out the core's plans for the tunnel, and reports its flows.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use connector_core::access::{AccessMap, Permit};
use connector_core::connector::{Event, TunnelPlan};
use connector_platform::clock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tunnel::transparent;
use tunnel::userspace::{self, FlowEvent, FlowStream, Plan, Settings, SiteStatus, Userspace};

use super::Events;
use super::interception::{Interception, State};
use super::keys::KeyRing;

/// The way to the gateways: with a network device, or within this process.
#[derive(Debug)]
pub(crate) enum Tunnel {
    /// Programs are taken as they are; the proxy goes the same way.
    Transparent(Interception),
    /// Only the proxy leads in.
    Userspace(Userspace),
}

impl Tunnel {
    /// Starts without a network device; its flows are reported as events.
    pub(crate) fn userspace(events: Events) -> Self {
        let on_flow = move |event| {
            let event = match event {
                FlowEvent::Closed { flow, denial } => Event::FlowClosed { flow, cut: denial },
                FlowEvent::Opened(flow) => Event::FlowOpened(flow),
            };
            if let Err(error) = events.try_send(event) {
                tracing::error!(%error, "A flow's opening or end was not noted");
            }
        };
        Self::Userspace(Userspace::start(Settings::new(
            clock::moment,
            Arc::new(on_flow),
        )))
    }

    /// Makes the tunnel what `plan` says.
    pub(crate) fn apply(&self, keys: &KeyRing, plan: Option<TunnelPlan>) {
        let plan = plan.and_then(|plan| {
            let Some(session) = keys.find(&plan.session) else {
                tracing::error!(session = %plan.session, "The session has no key");
                return None;
            };
            Some(Plan {
                private_key: session.tunnel.clone(),
                addresses: plan.addresses,
                catalogue: plan.catalogue,
            })
        });
        match self {
            Self::Transparent(interception) => interception.configure(plan),
            Self::Userspace(userspace) => userspace.configure(plan),
        }
    }

    /// Puts every live flow to a new map.
    pub(crate) fn publish(&self, access: &Arc<AccessMap>) {
        match self {
            Self::Transparent(interception) => interception.set_access(access),
            Self::Userspace(userspace) => userspace.set_access(access, clock::moment()),
        }
    }

    /// Tells whether somebody looks at how the gateways are.
    pub(crate) fn set_watched(&self, watched: bool) {
        match self {
            Self::Transparent(interception) => interception.set_watched(watched),
            Self::Userspace(userspace) => userspace.set_watched(watched),
        }
    }

    /// Calls every gateway once: those that answer have a handshake after this.
    pub(crate) fn call_gateways(&self) {
        match self {
            Self::Transparent(interception) => interception.call_gateways(),
            Self::Userspace(userspace) => userspace.call_gateways(),
        }
    }

    /// Opens the one flow that `permit` was issued for.
    pub(crate) async fn dial(&self, permit: Permit) -> Result<Stream, DialError> {
        match self {
            Self::Transparent(interception) => {
                let dialled = interception.dial(permit, CONNECT_LIMIT).await;
                Ok(Stream::Transparent(dialled?))
            }
            Self::Userspace(userspace) => Ok(Stream::Userspace(userspace.dial(permit).await?)),
        }
    }

    pub(crate) fn status(&self) -> Vec<SiteStatus> {
        match self {
            Self::Transparent(interception) => interception.status(),
            Self::Userspace(userspace) => userspace.status(),
        }
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        match self {
            Self::Transparent(interception) => interception.changes(),
            Self::Userspace(userspace) => userspace.changes(),
        }
    }

    pub(crate) fn live_flows(&self) -> usize {
        match self {
            Self::Transparent(interception) => interception.live_flows(),
            Self::Userspace(userspace) => userspace.live_flows(),
        }
    }

    /// Returns whether traffic of programs is taken, if this tunnel can.
    pub(crate) fn interception(&self) -> Option<State> {
        match self {
            Self::Transparent(interception) => Some(interception.state()),
            Self::Userspace(_) => None,
        }
    }

    /// Waits until the machine is as the core's last word wants it; returns
    /// what went wrong, if something did.
    pub(crate) async fn settled(&self) -> Result<(), String> {
        match self {
            Self::Transparent(interception) => match interception.settled().await {
                State::Failed(problem) => Err(problem),
                State::Down | State::Up { .. } => Ok(()),
            },
            Self::Userspace(_) => Ok(()),
        }
    }

    /// Says whether [`Self::stop`] is to leave the machine as it is, for the service that starts next.
    pub(crate) fn leave_in_place(&self, stays: bool) {
        match self {
            Self::Transparent(interception) => interception.leave_in_place(stays),
            Self::Userspace(_) => {}
        }
    }

    /// Ends every tunnel and leaves the machine as it was, unless it is to stay.
    pub(crate) async fn stop(&self) {
        match self {
            Self::Transparent(interception) => interception.stop().await,
            Self::Userspace(userspace) => userspace.configure(None),
        }
    }
}

/// A connection through either tunnel.
#[derive(Debug)]
pub(crate) enum Stream {
    Transparent(TcpStream),
    Userspace(FlowStream),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Transparent(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Userspace(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Transparent(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Userspace(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Transparent(stream) => Pin::new(stream).poll_flush(context),
            Self::Userspace(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Transparent(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Userspace(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// Why a connection through either tunnel could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error(transparent)]
    Transparent(#[from] transparent::DialError),
    #[error(transparent)]
    Userspace(#[from] userspace::DialError),
}

/// How long looking up a name and connecting may take together.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
