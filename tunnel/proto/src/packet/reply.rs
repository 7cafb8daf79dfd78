use std::net::{IpAddr, SocketAddr};

use super::{Ends, Headers, ICMP, ICMP_V6, Kind, TCP, Tcp, UDP};
use crate::checksum;

/// Returns the TCP reset that refuses the segment `headers` describes (RFC
/// 9293, section 3.10.7.1); none for a segment that is a reset itself.
#[must_use]
pub fn reset_of(ends: Ends, tcp: &Tcp) -> Option<Vec<u8>> {
    if tcp.flags.rst() {
        return None;
    }
    let (sequence, acknowledged) = if tcp.flags.ack() {
        (tcp.acknowledged, None)
    } else {
        (0, Some(tcp.next_sequence()))
    };
    Some(reset_towards(ends.reversed(), sequence, acknowledged))
}

/// Returns a TCP reset from `ends.source` to `ends.destination`.
#[must_use]
pub fn reset_towards(ends: Ends, sequence: u32, acknowledged: Option<u32>) -> Vec<u8> {
    let mut segment = Vec::with_capacity(20);
    segment.extend(ends.source.port().to_be_bytes());
    segment.extend(ends.destination.port().to_be_bytes());
    segment.extend(sequence.to_be_bytes());
    segment.extend(acknowledged.unwrap_or(0).to_be_bytes());
    segment.extend([0x50, if acknowledged.is_some() { 0x14 } else { 0x04 }]);
    segment.extend([0; 6]);
    let sum = checksum::transport(ends.source.ip(), ends.destination.ip(), TCP, &segment);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    ip_packet(ends.source.ip(), ends.destination.ip(), TCP, &segment)
}

/// Returns the ICMP error "communication administratively prohibited" about
/// `packet`, from whom it was sent to (RFC 1812, section 5.2.7.1; RFC 4443, section 3.1).
#[must_use]
pub fn prohibited(packet: &[u8], headers: &Headers) -> Option<Vec<u8>> {
    error_about(packet, headers, [3, 13], [1, 1], [0; 4])
}

/// Returns the ICMP error "host unreachable" about `packet`.
#[must_use]
pub fn unreachable(packet: &[u8], headers: &Headers) -> Option<Vec<u8>> {
    error_about(packet, headers, [3, 1], [1, 3], [0; 4])
}

/// Returns the ICMP error that asks for packets of at most `mtu` bytes instead
/// of `packet` (RFC 1191, section 4; RFC 4443, section 3.2).
#[must_use]
pub fn too_big(packet: &[u8], headers: &Headers, mtu: u16) -> Option<Vec<u8>> {
    let [high, low] = mtu.to_be_bytes();
    error_about(packet, headers, [3, 4], [2, 0], [0, 0, high, low])
}

/// Returns the answer to an echo request, as whoever it was sent to gives it (RFC
/// 792; RFC 4443, section 4.2); none for anything else, fragments included.
#[must_use]
pub fn echo_reply(packet: &[u8], headers: &Headers) -> Option<Vec<u8>> {
    if !matches!(
        headers.kind,
        Kind::Echo {
            is_request: true,
            ..
        }
    ) || !headers.whole
    {
        return None;
    }
    let mut message = packet.get(headers.transport..headers.length)?.to_vec();
    let kind = match headers.source {
        IpAddr::V4(_) => 0,
        IpAddr::V6(_) => 129,
    };
    message[..4].copy_from_slice(&[kind, 0, 0, 0]);
    Some(icmp_packet(headers.destination, headers.source, message))
}

/// Returns a UDP datagram as an IP packet.
#[must_use]
pub fn udp_packet(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap_or(u16::MAX);
    let mut datagram = Vec::with_capacity(8 + payload.len());
    datagram.extend(from.port().to_be_bytes());
    datagram.extend(to.port().to_be_bytes());
    datagram.extend(length.to_be_bytes());
    datagram.extend([0; 2]);
    datagram.extend(payload);
    let sum = match checksum::transport(from.ip(), to.ip(), UDP, &datagram) {
        0 => 0xffff,
        sum => sum,
    };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    ip_packet(from.ip(), to.ip(), UDP, &datagram)
}

/// Errors are never sent about errors, resets, or later fragments (RFC 1122, section 3.2.2).
fn error_about(
    packet: &[u8],
    headers: &Headers,
    v4: [u8; 2],
    v6: [u8; 2],
    rest: [u8; 4],
) -> Option<Vec<u8>> {
    let answerable = match headers.kind {
        Kind::Error { .. } | Kind::LaterFragment => false,
        Kind::Echo { is_request, .. } => is_request,
        Kind::Tcp(tcp) => !tcp.flags.rst(),
        Kind::Other(_) | Kind::Udp { .. } => true,
    };
    if !answerable {
        return None;
    }
    let (kind, most) = match headers.source {
        IpAddr::V4(_) => (v4, MAX_QUOTED_V4),
        IpAddr::V6(_) => (v6, MAX_QUOTED_V6),
    };
    let quoted = &packet[..headers.length.min(packet.len()).min(most)];
    let mut message = Vec::with_capacity(8 + quoted.len());
    message.extend(kind);
    message.extend([0; 2]);
    message.extend(rest);
    message.extend(quoted);
    // From where the packet was going: its sender knows that address.
    Some(icmp_packet(headers.destination, headers.source, message))
}

/// Returns an ICMP message, whose checksum is zero still, as an IP packet.
fn icmp_packet(from: IpAddr, to: IpAddr, mut message: Vec<u8>) -> Vec<u8> {
    let (protocol, sum) = match from {
        IpAddr::V4(_) => (ICMP, !checksum::fold(checksum::sum(&message))),
        IpAddr::V6(_) => (ICMP_V6, checksum::transport(from, to, ICMP_V6, &message)),
    };
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ip_packet(from, to, protocol, &message)
}

fn ip_packet(from: IpAddr, to: IpAddr, protocol: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(40 + body.len());
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let length = u16::try_from(20 + body.len()).unwrap_or(u16::MAX);
            packet.extend([0x45, 0]);
            packet.extend(length.to_be_bytes());
            packet.extend([0, 0, 0x40, 0, HOPS, protocol, 0, 0]);
            packet.extend(from.octets());
            packet.extend(to.octets());
            let sum = !checksum::fold(checksum::sum(&packet));
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
            packet.extend([0x60, 0, 0, 0]);
            packet.extend(length.to_be_bytes());
            packet.extend([protocol, HOPS]);
            packet.extend(from.octets());
            packet.extend(to.octets());
        }
        // The two ends of a packet are of one version.
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
    }
    packet.extend(body);
    packet
}

const HOPS: u8 = 64;

/// As much as routers quote (RFC 1812, section 4.3.2.3; RFC 4443, section 3.1).
const MAX_QUOTED_V4: usize = 548;
const MAX_QUOTED_V6: usize = 1232;
