//! The sockets that a packet may have come from: `sock_diag(7)` for TCP and UDP,
//! `/proc/net` for pings, which the former does not know.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

use super::super::Transport;

/// A socket that some process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Socket {
    /// Whose file-system user created it.
    pub(crate) user: u32,
    pub(crate) inode: u32,
}

/// Returns every socket that can have sent from `local` to `remote`, at least one.
///
/// One TCP socket has a pair of addresses. A UDP socket can send to any address,
/// connected or not, and from any address of the machine: all that are bound to
/// the port can have sent.
pub(super) fn sending(
    transport: Transport,
    local: SocketAddr,
    remote: SocketAddr,
) -> io::Result<Vec<Socket>> {
    let mut found = vec![];
    match transport {
        Transport::IcmpEcho => {
            let table = match local {
                SocketAddr::V4(_) => "/proc/thread-self/net/icmp",
                SocketAddr::V6(_) => "/proc/thread-self/net/icmp6",
            };
            found = parse_table(&fs::read_to_string(table)?, local.port());
        }
        Transport::Tcp => match exact(local, remote) {
            Ok(socket) => found.push(socket),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // One that is bound to an interface does not answer to its addresses alone.
                let is_it = |entry: &Entry| entry.local == local && entry.remote == remote;
                dump(
                    IPPROTO_TCP,
                    OPEN_STATES,
                    local,
                    remote.port(),
                    is_it,
                    &mut found,
                )?;
            }
            Err(error) => return Err(error),
        },
        Transport::Udp => {
            let is_it = |entry: &Entry| entry.local.port() == local.port();
            dump(IPPROTO_UDP, ALL_STATES, local, 0, is_it, &mut found)?;
        }
    }
    if found.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    if found.iter().any(|socket| socket.inode == 0) {
        // One that is being closed, or the kernel's own.
        return Err(io::ErrorKind::NotConnected.into());
    }
    Ok(found)
}

/// Asks for exactly one TCP socket, without a dump.
fn exact(local: SocketAddr, remote: SocketAddr) -> io::Result<Socket> {
    let request = Request {
        family: family(local),
        protocol: IPPROTO_TCP,
        flags: NLM_F_REQUEST,
        states: u32::MAX,
        local,
        remote,
    };
    let mut found = Err(io::ErrorKind::NotFound.into());
    exchange(&request, |message| {
        let entry = parse_entry(message)?;
        // Where there is no connection, the kernel answers with a listener of that port.
        if entry.local == local && entry.remote == remote {
            found = Ok(entry.socket);
        }
        Ok(ControlFlow::Break(()))
    })?;
    found
}

/// Collects the sockets of `local`'s port that can carry packets of its family.
fn dump(
    protocol: u8,
    states: u32,
    local: SocketAddr,
    remote_port: u16,
    is_it: impl Fn(&Entry) -> bool,
    found: &mut Vec<Socket>,
) -> io::Result<()> {
    // A socket of the sixth version sends packets of the fourth as well.
    let families: &[u8] = match local {
        SocketAddr::V4(_) => &[AF_INET, AF_INET6],
        SocketAddr::V6(_) => &[AF_INET6],
    };
    for family in families {
        let unspecified: IpAddr = if *family == AF_INET {
            IpAddr::from([0_u8; 4])
        } else {
            IpAddr::from([0_u8; 16])
        };
        let request = Request {
            family: *family,
            protocol,
            flags: NLM_F_REQUEST | NLM_F_DUMP,
            states,
            local: SocketAddr::new(unspecified, local.port()),
            remote: SocketAddr::new(unspecified, remote_port),
        };
        exchange(&request, |message| {
            let entry = parse_entry(message)?;
            if is_it(&entry) {
                found.push(entry.socket);
            }
            if found.len() > MAX_SOCKETS {
                return Err(io::Error::other("too many sockets share one port"));
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(())
}

/// Sends `request` and hands each message of the answer on, until told to stop.
fn exchange(
    request: &Request,
    mut on_message: impl FnMut(&[u8]) -> io::Result<ControlFlow<()>>,
) -> io::Result<()> {
    let diag = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    send(&diag, &request.to_bytes(), SendFlags::empty())?;

    let mut buffer = vec![0_u8; 32 * 1024];
    loop {
        let (_, length) = recv(&diag, &mut buffer[..], RecvFlags::TRUNC)?;
        let mut rest = buffer.get(..length).ok_or_else(malformed)?;
        while !rest.is_empty() {
            let (message, next) = split_message(rest)?;
            rest = next;
            match message.kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => {
                    let code = i32::from_ne_bytes(field(message.body, 0)?);
                    return Err(io::Error::from_raw_os_error(-code));
                }
                SOCK_DIAG_BY_FAMILY => {
                    if on_message(message.body)?.is_break() {
                        return Ok(());
                    }
                }
                _ => return Err(malformed()),
            }
        }
    }
}

struct Request {
    family: u8,
    protocol: u8,
    flags: u16,
    states: u32,
    local: SocketAddr,
    remote: SocketAddr,
}

impl Request {
    fn to_bytes(&self) -> Vec<u8> {
        let mut request = Vec::with_capacity(72);
        // struct nlmsghdr
        request.extend(72_u32.to_ne_bytes());
        request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        request.extend(self.flags.to_ne_bytes());
        request.extend([0; 8]);
        // struct inet_diag_req_v2
        request.extend([self.family, self.protocol, 0, 0]);
        request.extend(self.states.to_ne_bytes());
        // struct inet_diag_sockid
        request.extend(self.local.port().to_be_bytes());
        request.extend(self.remote.port().to_be_bytes());
        request.extend(address_bytes(self.local.ip()));
        request.extend(address_bytes(self.remote.ip()));
        request.extend([0; 4]);
        request.extend([0xff; 8]);
        request
    }
}

struct Message<'a> {
    kind: u16,
    body: &'a [u8],
}

fn split_message(bytes: &[u8]) -> io::Result<(Message<'_>, &[u8])> {
    let length = u32::from_ne_bytes(field(bytes, 0)?);
    let length = usize::try_from(length).map_err(|_| malformed())?;
    let message = Message {
        kind: u16::from_ne_bytes(field(bytes, 4)?),
        body: bytes.get(NLMSG_HEADER..length).ok_or_else(malformed)?,
    };
    let flags = u16::from_ne_bytes(field(bytes, 6)?);
    if flags & NLM_F_DUMP_INTR != 0 {
        return Err(io::ErrorKind::ResourceBusy.into());
    }
    let next = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Ok((message, next))
}

struct Entry {
    local: SocketAddr,
    remote: SocketAddr,
    socket: Socket,
}

/// Reads `struct inet_diag_msg`.
fn parse_entry(body: &[u8]) -> io::Result<Entry> {
    let [family] = field(body, 0)?;
    let address = |port, address| -> io::Result<SocketAddr> {
        let ip: IpAddr = if family == AF_INET {
            IpAddr::from(field::<4>(body, address)?)
        } else {
            IpAddr::from(field::<16>(body, address)?)
        };
        let port = u16::from_be_bytes(field(body, port)?);
        Ok(SocketAddr::new(ip.to_canonical(), port))
    };
    Ok(Entry {
        local: address(4, 8)?,
        remote: address(6, 24)?,
        socket: Socket {
            user: u32::from_ne_bytes(field(body, 64)?),
            inode: u32::from_ne_bytes(field(body, 68)?),
        },
    })
}

fn field<const N: usize>(bytes: &[u8], offset: usize) -> io::Result<[u8; N]> {
    let field = bytes.get(offset..).and_then(|rest| rest.first_chunk());
    field.copied().ok_or_else(malformed)
}

fn malformed() -> io::Error {
    io::Error::other("the kernel's answer cannot be read")
}

fn family(address: SocketAddr) -> u8 {
    match address {
        SocketAddr::V4(_) => AF_INET,
        SocketAddr::V6(_) => AF_INET6,
    }
}

fn address_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.octets());
            bytes
        }
        IpAddr::V6(address) => address.octets(),
    }
}

/// Reads `/proc/net/icmp`: a heading, then a socket a line; the port stands
/// behind the address in hex, the user and the inode are the eighth and tenth field.
fn parse_table(table: &str, port: u16) -> Vec<Socket> {
    let sockets = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (_, local_port) = fields.nth(1)?.rsplit_once(':')?;
        let is_bound_to_it = u16::from_str_radix(local_port, 16) == Ok(port);
        is_bound_to_it.then_some(Socket {
            user: fields.nth(5)?.parse().ok()?,
            inode: fields.nth(1)?.parse().ok()?,
        })
    });
    sockets.collect()
}

/// From `linux/netlink.h`, `linux/sock_diag.h` and `linux/socket.h`.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_HEADER: usize = 16;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;

/// Bits by `net/tcp_states.h`: all but closed, listening and waiting for stray packets.
const OPEN_STATES: u32 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;
const ALL_STATES: u32 = u32::MAX;

/// Programs that share a port among this many sockets are servers.
const MAX_SOCKETS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_are_found_by_their_identifier() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n  \
            47: 0100007F:0D4F 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 8899 2 0000000000000000 0\n  \
            48: 0100007F:0D50 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 8900 2 0000000000000000 0\n";

        let found = parse_table(table, 0x0d4f);

        assert_eq!(
            found,
            [Socket {
                user: 1000,
                inode: 8899
            }]
        );
        assert_eq!(parse_table(table, 1), []);
        assert_eq!(parse_table("rubbish\n1: 2 3\n4: :0001", 1), []);
    }

    #[test]
    fn an_answer_that_is_cut_short_is_no_socket() {
        let message = [0_u8; 100];
        for length in 0..72 {
            assert!(parse_entry(&message[..length]).is_err(), "{length}");
        }
        assert!(parse_entry(&message).is_ok());
        assert!(split_message(&[200, 0, 0, 0, 20, 0, 0, 0]).is_err());
        assert!(split_message(&[0; 16]).is_err());
    }
}
