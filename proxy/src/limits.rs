//! How much a client may ask for, and for how long.

use std::time::Duration;

/// The bounds on what clients can make the proxy hold or wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long a request's header section may take from its first byte (10 s: a local
    /// program sends it in one write).
    pub header_timeout: Duration,
    /// How long the SOCKS greeting and request may take together (10 s).
    pub handshake_timeout: Duration,
    /// How long an HTTP connection may wait between two requests (60 s).
    pub keep_alive_timeout: Duration,
    /// How long an upstream may take to decide and dial before it is given up (60 s: a
    /// backstop, as an upstream has its own, shorter, bounds).
    pub connect_timeout: Duration,
    /// How long an open connection may carry nothing either way (1 h; it is noticed up to
    /// a quarter later).
    pub idle_timeout: Duration,
    /// How many connections may be open at once; more are answered 503 and closed.
    pub max_connections: usize,
    /// How many bytes a request's header section may have (64 KiB).
    pub max_head_bytes: usize,
    /// How many header fields a request may have (100).
    pub max_fields: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(3600),
            max_connections: 1024,
            max_head_bytes: 64 * 1024,
            max_fields: 100,
        }
    }
}
