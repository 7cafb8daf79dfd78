//! A WireGuard client without a device: it makes and reads its packets by itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use tunnel_proto::keys::PrivateKey;
use tunnel_proto::noise::{InnerFilter, Opened, Peer, PeerConfig, SessionIndex};

use crate::LIMIT;
use crate::world::now;

/// One client with its socket.
pub(crate) struct Client {
    socket: UdpSocket,
    gateway: SocketAddr,
    peer: Peer,
}

impl Client {
    /// Sends a handshake, and does not wait for the answer.
    pub(crate) fn call(gateway: SocketAddr, own: PrivateKey, remote: PrivateKey) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let config = PeerConfig {
            private_key: own,
            remote: remote.public_key(),
            index: SessionIndex::new(7),
            filter: InnerFilter {
                sources: vec!["0.0.0.0/0".parse().unwrap()],
                destinations: vec!["0.0.0.0/0".parse().unwrap()],
            },
            mtu: 1420,
        };
        let mut client = Self {
            socket,
            gateway,
            peer: Peer::new(config, now()),
        };
        client.peer.initiate(now());
        client.send_control();
        client
    }

    /// Sends a handshake and waits until it is done.
    pub(crate) fn connect(gateway: SocketAddr, own: PrivateKey, remote: PrivateKey) -> Self {
        let mut client = Self::call(gateway, own, remote);
        let mut buffer = [0; 2048];
        let mut plain = [0; 2048];
        while !client.peer.has_session() {
            let (length, from) = client.socket.recv_from(&mut buffer).unwrap();
            client
                .peer
                .open(&buffer[..length], from.ip(), &mut plain, now())
                .unwrap();
        }
        client.send_control();
        client
    }

    /// Returns whether anything came back so far.
    pub(crate) fn was_answered(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        self.socket.recv_from(&mut [0; 2048]).is_ok()
    }

    pub(crate) fn send_udp(
        &mut self,
        source: (Ipv4Addr, u16),
        destination: (IpAddr, u16),
        payload: &[u8],
    ) {
        let IpAddr::V4(to) = destination.0 else {
            panic!("these tests speak IPv4");
        };
        let packet = udp(source, (to, destination.1), payload);
        let mut plain = [0; 2048];
        plain[..packet.len()].copy_from_slice(&packet);
        let mut datagram = [0; 2048];
        let length = self
            .peer
            .seal(&mut plain, packet.len(), &mut datagram, now())
            .unwrap();
        self.socket
            .send_to(&datagram[..length], self.gateway)
            .unwrap();
    }

    /// Returns what the next UDP datagram out of the tunnel carries.
    pub(crate) fn receive_udp(&mut self) -> Vec<u8> {
        let mut buffer = [0; 2048];
        let mut plain = [0; 2048];
        loop {
            let (length, from) = self.socket.recv_from(&mut buffer).unwrap();
            let opened = self
                .peer
                .open(&buffer[..length], from.ip(), &mut plain, now())
                .unwrap();
            if let Opened::Packet(packet) = opened
                && packet[9] == UDP
            {
                assert_eq!(sum(&packet[..20]), 0xffff, "the header's checksum");
                return packet[28..].to_vec();
            }
        }
    }

    fn send_control(&mut self) {
        while let Some(control) = self.peer.poll_control() {
            self.socket
                .send_to(control.as_bytes(), self.gateway)
                .unwrap();
        }
    }
}

/// A UDP datagram without a checksum of its own, which IPv4 allows (RFC 768).
fn udp(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(28 + payload.len()).unwrap();
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, UDP, 0, 0]);
    packet.extend(source.0.octets());
    packet.extend(destination.0.octets());
    let checksum = !sum(&packet);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(source.1.to_be_bytes());
    packet.extend(destination.1.to_be_bytes());
    packet.extend((length - 20).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(payload);
    packet
}

fn sum(bytes: &[u8]) -> u16 {
    let total: u32 = bytes
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let folded = (total & 0xffff) + (total >> 16);
    u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap()
}

const UDP: u8 = 17;
