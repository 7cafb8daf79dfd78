//! Serves the front doors with an upstream that admits every client and dials literal
//! addresses itself: for measuring the proxy alone, never for use.
//!
//! `cargo run --release -p proxy --example direct -- 127.0.0.1:7080`
//!
//! Loopback stays out of reach, so the destination needs another address of this machine.

use std::io;
use std::net::{IpAddr, SocketAddr};

use proxy::{Host, Limits, Refusal, RefusalKind, Target, Upstream, serve};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> io::Result<()> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:7080");
    let listener = TcpListener::bind(address).await?;
    serve(listener, Direct, Limits::default(), std::future::pending())
        .await
        .map_err(io::Error::other)
}

/// Dials what it is asked for.
#[derive(Debug, Clone)]
struct Direct;

impl Upstream for Direct {
    type Client = ();
    type Stream = TcpStream;

    async fn admit(&self, _: SocketAddr, _: SocketAddr) -> Result<(), Refusal> {
        Ok(())
    }

    async fn connect(&self, (): &(), target: &Target) -> Result<TcpStream, Refusal> {
        let address = match &target.host {
            Host::Ipv4(address) => IpAddr::from(*address),
            Host::Ipv6(address) => IpAddr::from(*address),
            Host::Name(name) => {
                let reason = format!("{name} is a name, and this example resolves none.");
                return Err(Refusal::new(RefusalKind::NameNotResolved, "name", reason));
            }
        };
        let stream = TcpStream::connect((address, target.port))
            .await
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream));
        stream.map_err(|error| {
            Refusal::new(
                RefusalKind::ConnectionRefused,
                "connect",
                format!("Cannot connect to {target}: {error}"),
            )
        })
    }

    fn pac_patterns(&self) -> Vec<String> {
        Vec::new()
    }
}
