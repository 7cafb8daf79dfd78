//! Sets the peers of any WireGuard implementation over its configuration socket.
//!
//! The protocol is WireGuard's cross-platform one: lines of `key=value`, keys
//! in hexadecimal, an empty line at the end, answered by `errno=N`.

use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use tunnel_proto::keys::PublicKey;

use crate::http_server::BoxFuture;
use crate::peers::{PeerError, PeerTable};

/// The configuration socket of one WireGuard interface, as in `/var/run/wireguard/wg0.sock`.
#[derive(Debug, Clone)]
pub struct UapiSocket {
    gateway: String,
    path: PathBuf,
}

impl UapiSocket {
    /// Returns the socket at `path` of the gateway that people call `gateway`.
    #[must_use]
    pub fn new(gateway: String, path: PathBuf) -> Self {
        Self { gateway, path }
    }

    async fn set(&self, operation: String) -> Result<(), PeerError> {
        let path = self.path.clone();
        let result = tokio::task::spawn_blocking(move || exchange(&path, &operation)).await;
        let problem = match result {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        Err(PeerError {
            gateway: self.gateway.clone(),
            problem: format!("{}: {problem}", self.path.display()),
        })
    }
}

impl PeerTable for UapiSocket {
    fn name(&self) -> &str {
        &self.gateway
    }

    fn add<'a>(
        &'a self,
        key: PublicKey,
        addresses: &'a [IpAddr],
    ) -> BoxFuture<'a, Result<(), PeerError>> {
        Box::pin(self.set(addition(&key, addresses)))
    }

    fn remove(&self, key: PublicKey) -> BoxFuture<'_, Result<(), PeerError>> {
        Box::pin(self.set(removal(&key)))
    }
}

fn addition(key: &PublicKey, addresses: &[IpAddr]) -> String {
    let mut operation = format!(
        "set=1\npublic_key={}\nreplace_allowed_ips=true\n",
        hexadecimal(key)
    );
    for address in addresses {
        let length = if address.is_ipv4() { 32 } else { 128 };
        operation.push_str(&format!("allowed_ip={address}/{length}\n"));
    }
    operation.push('\n');
    operation
}

fn removal(key: &PublicKey) -> String {
    format!("set=1\npublic_key={}\nremove=true\n\n", hexadecimal(key))
}

fn hexadecimal(key: &PublicKey) -> String {
    key.as_bytes().iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

fn exchange(path: &Path, operation: &str) -> io::Result<()> {
    let mut socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    socket.connect(&SockAddr::unix(path)?)?;
    socket.write_all(operation.as_bytes())?;

    let mut answer = Vec::new();
    let mut chunk = [0; 256];
    while !answer.ends_with(b"\n\n") {
        let count = socket.read(&mut chunk)?;
        if count == 0 || answer.len() > MAX_ANSWER {
            break;
        }
        answer.extend_from_slice(&chunk[..count]);
    }
    match errno(&answer) {
        Some(0) => Ok(()),
        Some(errno) => Err(io::Error::other(format!(
            "WireGuard answered errno={errno}"
        ))),
        None => Err(io::Error::other("WireGuard gave no errno")),
    }
}

fn errno(answer: &[u8]) -> Option<i64> {
    std::str::from_utf8(answer)
        .ok()?
        .lines()
        .find_map(|line| line.strip_prefix("errno="))?
        .parse()
        .ok()
}

/// A local daemon answers at once or is stuck.
const TIMEOUT: Duration = Duration::from_secs(2);

/// An answer to `set` is one line.
const MAX_ANSWER: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_is_added_and_removed_in_wireguards_own_words() {
        let key = PublicKey::from_bytes([0xa5; 32]);
        let addresses = ["100.64.0.7".parse().unwrap(), "fd00::7".parse().unwrap()];
        let (socket, daemon) = daemon("errno=0\n\n", 2);

        socket.add(key, &addresses).await.unwrap();
        socket.remove(key).await.unwrap();

        let hex = "a5".repeat(32);
        assert_eq!(
            daemon.join().unwrap(),
            [
                format!(
                    "set=1\npublic_key={hex}\nreplace_allowed_ips=true\nallowed_ip=100.64.0.7/32\nallowed_ip=fd00::7/128\n\n"
                ),
                format!("set=1\npublic_key={hex}\nremove=true\n\n"),
            ]
        );
    }

    #[tokio::test]
    async fn an_error_of_the_daemon_names_the_gateway_and_the_socket() {
        for (answer, expected) in [
            ("errno=-22\n\n", "errno=-22"),
            ("", "no errno"),
            ("errno=x\n\n", "no errno"),
        ] {
            let (socket, _daemon) = daemon(answer, 1);

            let error = socket
                .remove(PublicKey::from_bytes([1; 32]))
                .await
                .unwrap_err()
                .to_string();

            assert!(error.contains(expected), "{error}");
            assert!(
                error.contains("hq-1") && error.contains("wg0.sock"),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn an_endless_answer_is_cut_off() {
        let (socket, _daemon) = daemon(&"x".repeat(1 << 20), 1);

        assert!(socket.remove(PublicKey::from_bytes([1; 32])).await.is_err());
    }

    #[tokio::test]
    async fn a_daemon_that_is_not_there_is_an_error() {
        let socket = UapiSocket::new("hq-1".to_owned(), "/nonexistent/wg0.sock".into());

        assert!(socket.remove(PublicKey::from_bytes([1; 32])).await.is_err());
    }

    /// Plays a WireGuard daemon that answers `count` operations and returns them.
    fn daemon(answer: &str, count: usize) -> (UapiSocket, std::thread::JoinHandle<Vec<String>>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wg0.sock");
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        listener.listen(1).unwrap();
        let answer = answer.to_owned();
        let daemon = std::thread::spawn(move || {
            let _folder = folder;
            (0..count)
                .map(|_| {
                    let (mut stream, _) = listener.accept().unwrap();
                    let mut operation = Vec::new();
                    let mut chunk = [0; 256];
                    while !operation.ends_with(b"\n\n") {
                        let count = stream.read(&mut chunk).unwrap();
                        operation.extend_from_slice(&chunk[..count]);
                    }
                    // The other side hangs up on an endless answer.
                    let _hung_up = stream.write_all(answer.as_bytes());
                    String::from_utf8(operation).unwrap()
                })
                .collect()
        });
        (UapiSocket::new("hq-1".to_owned(), path), daemon)
    }
}
