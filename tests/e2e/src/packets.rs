//! Made-up packets, right and wrong.

use std::net::{Ipv4Addr, Ipv6Addr};

/// TCP's flags (RFC 9293 §3.1).
pub mod flags {
    /// The connection ends.
    pub const FIN: u8 = 1;
    /// The connection begins.
    pub const SYN: u8 = 2;
    /// There is no such connection.
    pub const RST: u8 = 4;
    /// Something was received.
    pub const ACK: u8 = 16;
}

/// Writes an IPv4 packet (RFC 791 §3.1).
#[must_use]
pub fn ipv4(protocol: u8, from: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap_or(u16::MAX);
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0x12, 0x34, 0, 0, 64, protocol, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    seal_header(&mut packet);
    packet.extend(payload);
    packet
}

/// Puts the checksum of an IPv4 header right after a change.
pub fn seal_header(packet: &mut [u8]) {
    let end = usize::from(packet[0] & 0x0f) * 4;
    packet[10..12].fill(0);
    let sum = checksum(&[&packet[..end.min(packet.len())]]);
    packet[10..12].copy_from_slice(&sum);
}

/// Writes an IPv6 packet (RFC 8200 §3).
#[must_use]
pub fn ipv6(next_header: u8, from: Ipv6Addr, to: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([next_header, 64]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    packet
}

/// Writes a TCP segment in an IPv4 packet.
#[must_use]
pub fn tcp(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut segment = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
    segment.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(payload);
    let sum = checksum(&[&pseudo(from.0, to.0, 6, segment.len()), &segment]);
    segment[16..18].copy_from_slice(&sum);
    ipv4(6, from.0, to.0, &segment)
}

/// Writes a UDP datagram in an IPv4 packet.
#[must_use]
pub fn udp(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap_or(u16::MAX);
    let mut datagram = [
        from.1.to_be_bytes(),
        to.1.to_be_bytes(),
        length.to_be_bytes(),
        [0, 0],
    ]
    .concat();
    datagram.extend(payload);
    let sum = checksum(&[&pseudo(from.0, to.0, 17, datagram.len()), &datagram]);
    datagram[6..8].copy_from_slice(&sum);
    ipv4(17, from.0, to.0, &datagram)
}

/// Writes an ICMP message in an IPv4 packet.
#[must_use]
pub fn icmp(from: Ipv4Addr, to: Ipv4Addr, kind: u8, code: u8, rest: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest);
    let sum = checksum(&[&message]);
    message[2..4].copy_from_slice(&sum);
    ipv4(1, from, to, &message)
}

/// Writes bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sums up as RFC 1071 says; every part but the last has an even length.
#[must_use]
pub fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let mut sum = 0_u32;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        let low = pair.get(1).copied().unwrap_or_default();
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [_, _, high, low] = (!sum).to_be_bytes();
    [high, low]
}

fn pseudo(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, length: usize) -> Vec<u8> {
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    [
        &from.octets()[..],
        &to.octets(),
        &[0, protocol],
        &length.to_be_bytes(),
    ]
    .concat()
}
