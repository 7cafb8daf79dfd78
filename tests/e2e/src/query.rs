//! Questions to name servers, as a program that knows better than the system asks them.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::sniff::wire_form;

/// An address (RFC 1035 §3.2.2).
pub const A: u16 = 1;
/// A zone's name servers.
pub const NS: u16 = 2;
/// The name of an address.
pub const PTR: u16 = 12;
/// Text.
pub const TXT: u16 = 16;
/// An IPv6 address (RFC 3596).
pub const AAAA: u16 = 28;
/// A service (RFC 2782).
pub const SRV: u16 = 33;
/// How to reach a web site (RFC 9460).
pub const HTTPS: u16 = 65;

/// Writes a question (RFC 1035 §4).
#[must_use]
pub fn question(name: &str, kind: u16) -> Vec<u8> {
    let mut message = vec![0xe2, 0xe0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(wire_form(name));
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    message
}

/// Adds what a program with extensions adds (RFC 6891).
#[must_use]
pub fn with_extensions(mut message: Vec<u8>) -> Vec<u8> {
    message[11] = 1;
    message.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    message
}

/// Asks over UDP; an error is what the system says of it, or that nobody answers.
///
/// # Errors
///
/// If the question does not leave, or no answer comes in time.
pub fn ask_udp(server: SocketAddr, message: &[u8]) -> std::io::Result<Vec<u8>> {
    let own: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((own, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send_to(message, server)?;
    let mut answer = vec![0; 4096];
    let (length, _) = socket.recv_from(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

/// Asks over TCP (RFC 1035 §4.2.2).
///
/// # Errors
///
/// If there is no connection, or no answer in time.
pub fn ask_tcp(server: SocketAddr, message: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    stream.write_all(&[&length.to_be_bytes(), message].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// Returns the response code and how many answers there are.
#[must_use]
pub fn outcome(answer: &[u8]) -> (u8, u16) {
    let byte = |place: usize| answer.get(place).copied().unwrap_or_default();
    (byte(3) & 15, u16::from_be_bytes([byte(6), byte(7)]))
}

/// What is asked on this machine is answered at once, or it is refused.
const PATIENCE: Duration = Duration::from_millis(500);
