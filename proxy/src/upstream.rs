//! The seam to whoever decides and dials.

use std::borrow::Cow;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::target::Target;

/// Decides who may use the proxy and what may be reached, and dials.
///
/// Dropping one of its futures abandons the attempt.
pub trait Upstream: Clone + Send + Sync + 'static {
    /// What was learned about the client's process, handed back to [`connect`](Self::connect).
    type Client: Clone + Send + Sync + 'static;

    /// A connection to a destination.
    ///
    /// It fails with an [`std::io::Error`] when access is withdrawn, and the client's
    /// connection is then reset; a clean end of stream is passed on as a clean end.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Returns who the client is, or why it may not use the proxy at all.
    ///
    /// Called before a byte of the client's is read; `local` is the listener's side of
    /// the connection.
    ///
    /// # Errors
    ///
    /// A refusal closes the connection without an answer.
    fn admit(
        &self,
        client: SocketAddr,
        local: SocketAddr,
    ) -> impl Future<Output = Result<Self::Client, Refusal>> + Send;

    /// Decides whether `client` may reach `target` and opens a stream to it.
    ///
    /// # Errors
    ///
    /// A refusal is shown to the person in the form their program can show.
    fn connect(
        &self,
        client: &Self::Client,
        target: &Target,
    ) -> impl Future<Output = Result<Self::Stream, Refusal>> + Send;

    /// Returns the host patterns that go through the proxy, for the PAC file.
    ///
    /// A pattern is a name, an address, or `*.` and a name for everything below it.
    fn pac_patterns(&self) -> Vec<String>;
}

/// Why something was not opened, for the person who asked for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} ({code})")]
pub struct Refusal {
    /// What kind of refusal it is; picks the status and the SOCKS reply.
    pub kind: RefusalKind,
    /// A stable token for programs, such as `posture_firewall`.
    pub code: Cow<'static, str>,
    /// One sentence for people.
    pub reason: String,
    /// What the person can do about it.
    pub remedy: Option<String>,
    /// The decision's identifier, to quote to an administrator.
    pub reference: Option<String>,
}

impl Refusal {
    /// Describes a refusal without a remedy or a reference.
    pub fn new(
        kind: RefusalKind,
        code: impl Into<Cow<'static, str>>,
        reason: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            code: code.into(),
            reason: reason.into(),
            remedy: None,
            reference: None,
        }
    }

    /// Adds what the person can do about it.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Adds the identifier of the decision.
    #[must_use]
    pub fn with_reference(mut self, reference: impl Into<String>) -> Self {
        self.reference = Some(reference.into());
        self
    }
}

/// The kinds of refusal, each with its status, RFC 9209 error type and SOCKS reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// The destination address may never be reached through the proxy.
    AddressProhibited,
    /// The destination answered that nothing listens there.
    ConnectionRefused,
    /// The policy said no.
    Denied,
    /// No gateway to the destination's site is up.
    GatewayUnavailable,
    /// Something failed in the connector itself.
    Internal,
    /// Too many connections are open.
    LimitReached,
    /// The name could not be resolved behind the gateway.
    NameNotResolved,
    /// This client may not use the proxy.
    NotAllowedHere,
    /// The destination did not answer in time.
    Timeout,
    /// Nothing protected is known by this name or address.
    UnknownDestination,
}

impl RefusalKind {
    /// Returns the HTTP status that RFC 9209 recommends for it.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Denied | Self::NotAllowedHere => 403,
            Self::Internal | Self::UnknownDestination => 500,
            Self::AddressProhibited | Self::ConnectionRefused | Self::NameNotResolved => 502,
            Self::GatewayUnavailable | Self::LimitReached => 503,
            Self::Timeout => 504,
        }
    }

    /// Returns the RFC 9209 proxy error type.
    pub(crate) fn proxy_error(self) -> &'static str {
        match self {
            Self::AddressProhibited => "destination_ip_prohibited",
            Self::ConnectionRefused => "connection_refused",
            Self::Denied | Self::NotAllowedHere => "http_request_denied",
            Self::GatewayUnavailable => "destination_unavailable",
            Self::Internal => "proxy_internal_error",
            Self::LimitReached => "connection_limit_reached",
            Self::NameNotResolved => "dns_error",
            Self::Timeout => "connection_timeout",
            Self::UnknownDestination => "destination_not_found",
        }
    }
}
