//! Reads what libproc tells of a socket: `struct socket_fdinfo` of `sys/proc_info.h`,
//! the same on every 64-bit macOS.

use std::net::{IpAddr, SocketAddr};

use super::Transport;

/// The addresses of a socket in some process' table of descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    transport: Transport,
    local: SocketAddr,
    remote: SocketAddr,
}

impl Ends {
    /// Reads a descriptor's socket, if it is one for TCP or UDP.
    pub(super) fn parse(info: &[u8]) -> Option<Self> {
        let transport = match (number(info, KIND)?, number(info, PROTOCOL)?) {
            (SOCKINFO_TCP, _) => Transport::Tcp,
            (SOCKINFO_IN, IPPROTO_UDP) => Transport::Udp,
            _ => return None,
        };
        Some(Self {
            transport,
            local: address(info, LOCAL_ADDRESS, LOCAL_PORT)?,
            remote: address(info, REMOTE_ADDRESS, REMOTE_PORT)?,
        })
    }

    /// Returns whether the socket can have sent from `local` to `remote`. A UDP
    /// socket can send to and from any address, connected or not.
    pub(super) fn can_have_sent(
        &self,
        transport: Transport,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> bool {
        let is_it = match transport {
            Transport::IcmpEcho => false,
            Transport::Tcp => self.local == local && self.remote == remote,
            Transport::Udp => self.local.port() == local.port(),
        };
        is_it && self.transport == transport
    }
}

fn address(info: &[u8], address: usize, port: usize) -> Option<SocketAddr> {
    let [version] = field(info, VERSION)?;
    let ip: IpAddr = if version & INI_IPV4 != 0 {
        // Twelve bytes of padding come first.
        IpAddr::from(field::<4>(info, address + 12)?)
    } else {
        IpAddr::from(field::<16>(info, address)?)
    };
    // In network order, at the beginning of an integer.
    let port = u16::from_be_bytes(field(info, port)?);
    Some(SocketAddr::new(ip.to_canonical(), port))
}

fn number(info: &[u8], offset: usize) -> Option<i32> {
    field(info, offset).map(i32::from_ne_bytes)
}

fn field<const N: usize>(info: &[u8], offset: usize) -> Option<[u8; N]> {
    info.get(offset..)?.first_chunk().copied()
}

/// The size of `struct socket_fdinfo`.
pub(super) const LENGTH: usize = 792;

/// `struct socket_info` comes behind 24 bytes about the file.
const SOCKET: usize = 24;
const PROTOCOL: usize = SOCKET + 156;
const KIND: usize = SOCKET + 232;

/// `struct in_sockinfo`, first in the union of kinds.
const INTERNET: usize = SOCKET + 240;
const REMOTE_PORT: usize = INTERNET;
const LOCAL_PORT: usize = INTERNET + 4;
const VERSION: usize = INTERNET + 24;
const REMOTE_ADDRESS: usize = INTERNET + 32;
const LOCAL_ADDRESS: usize = INTERNET + 48;

const SOCKINFO_IN: i32 = 1;
const SOCKINFO_TCP: i32 = 2;
const IPPROTO_UDP: i32 = 17;
const INI_IPV4: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tcp_socket_has_its_pair_of_addresses() {
        let mut info = [0; LENGTH];
        put(&mut info, KIND, &SOCKINFO_TCP.to_ne_bytes());
        put(&mut info, PROTOCOL, &6_i32.to_ne_bytes());
        put(&mut info, VERSION, &[INI_IPV4]);
        put(&mut info, LOCAL_ADDRESS + 12, &[192, 0, 2, 1]);
        put(&mut info, LOCAL_PORT, &[0xc0, 0x01, 0, 0]);
        put(&mut info, REMOTE_ADDRESS + 12, &[192, 0, 2, 2]);
        put(&mut info, REMOTE_PORT, &[0x01, 0xbb, 0, 0]);
        let ends = Ends::parse(&info).unwrap();

        let local = "192.0.2.1:49153".parse().unwrap();
        let remote = "192.0.2.2:443".parse().unwrap();

        assert!(ends.can_have_sent(Transport::Tcp, local, remote));
        assert!(!ends.can_have_sent(Transport::Tcp, remote, local));
        assert!(!ends.can_have_sent(Transport::Udp, local, remote));
    }

    #[test]
    fn a_udp_socket_is_known_by_its_port() {
        let mut info = [0; LENGTH];
        put(&mut info, KIND, &SOCKINFO_IN.to_ne_bytes());
        put(&mut info, PROTOCOL, &IPPROTO_UDP.to_ne_bytes());
        put(&mut info, VERSION, &[2]);
        put(&mut info, LOCAL_PORT, &[0, 53, 0, 0]);
        let ends = Ends::parse(&info).unwrap();

        let remote = "[2001:db8::2]:443".parse().unwrap();
        let ours = "[2001:db8::1]:53".parse().unwrap();
        let other = "[2001:db8::1]:54".parse().unwrap();

        assert!(ends.can_have_sent(Transport::Udp, ours, remote));
        assert!(!ends.can_have_sent(Transport::Udp, other, remote));
    }

    #[test]
    fn what_is_no_internet_socket_or_cut_short_is_passed_over() {
        let mut info = [0; LENGTH];
        assert_eq!(Ends::parse(&info), None);
        put(&mut info, KIND, &SOCKINFO_TCP.to_ne_bytes());
        for length in 0..LOCAL_ADDRESS + 16 {
            assert_eq!(Ends::parse(&info[..length]), None, "{length}");
        }
    }

    fn put(info: &mut [u8], offset: usize, bytes: &[u8]) {
        info[offset..][..bytes.len()].copy_from_slice(bytes);
    }
}
