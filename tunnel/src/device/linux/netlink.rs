//! The few requests about a network device that take netlink (rtnetlink(7)).

use std::io;
use std::net::IpAddr;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// Adds one of the device's own addresses; nothing changes if it is there.
pub(super) fn add_address(index: u32, address: (IpAddr, u8)) -> io::Result<()> {
    request(RTM_NEWADDR, CREATE | REPLACE, &address_body(index, address))
}

/// Removes one of the device's own addresses.
pub(super) fn remove_address(index: u32, address: (IpAddr, u8)) -> io::Result<()> {
    request(RTM_DELADDR, 0, &address_body(index, address))
}

/// Returns whether the system takes packets for an address as its own.
pub(super) fn is_local(address: IpAddr) -> io::Result<bool> {
    let (family, octets) = family_and_octets(address);
    let bits = u8::try_from(octets.len() * 8).unwrap_or(u8::MAX);
    let mut body = vec![family, bits];
    body.resize(ROUTE_HEADER, 0);
    body.extend(attribute(RTA_DST, &octets));
    let answer = ask(&message(RTM_GETROUTE, 0, &body))?;
    match kind(&answer) {
        Some(RTM_NEWROUTE) => Ok(answer.get(HEADER + ROUTE_TYPE) == Some(&RTN_LOCAL)),
        _ => outcome(&answer).map(|()| false),
    }
}

/// Keeps the system from giving the device a link-local address of IPv6, and
/// from asking for routers and groups through it.
pub(super) fn forbid_own_addresses(index: u32) -> io::Result<()> {
    let mode = attribute(IFLA_INET6_ADDR_GEN_MODE, &[ADDR_GEN_MODE_NONE]);
    let per_family = attribute(u16::from(AF_INET6), &mode);
    change_link(index, &attribute(IFLA_AF_SPEC, &per_family))
}

/// Sets how many packets the system queues for us. (The older way, by ioctl, is
/// refused to the root of a container.)
pub(super) fn set_queue_length(index: u32, packets: u32) -> io::Result<()> {
    change_link(index, &attribute(IFLA_TXQLEN, &packets.to_ne_bytes()))
}

fn change_link(index: u32, attributes: &[u8]) -> io::Result<()> {
    let mut body = vec![0; 4];
    body.extend(index.to_ne_bytes());
    body.extend([0; 8]);
    body.extend(attributes);
    request(RTM_NEWLINK, 0, &body)
}

fn address_body(index: u32, (address, prefix): (IpAddr, u8)) -> Vec<u8> {
    let (family, octets) = family_and_octets(address);
    // Nobody else is on this link to ask whether the address is taken.
    let mut body = vec![family, prefix, IFA_F_NODAD, 0];
    body.extend(index.to_ne_bytes());
    body.extend(attribute(IFA_LOCAL, &octets));
    body.extend(attribute(IFA_ADDRESS, &octets));
    body
}

fn family_and_octets(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (AF_INET6, address.octets().to_vec()),
    }
}

fn request(kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
    outcome(&ask(&message(kind, ACKNOWLEDGE | flags, body))?)
}

fn ask(message: &[u8]) -> io::Result<Vec<u8>> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // NETLINK_ROUTE is zero.
        None,
    )?;
    let kernel = SocketAddrNetlink::new(0, 0);
    rustix::net::sendto(&socket, message, SendFlags::empty(), &kernel)?;

    let mut answer = vec![0; 4096];
    let (length, _) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::empty())?;
    answer.truncate(length);
    Ok(answer)
}

fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend((REQUEST | flags).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// Reads the acknowledgement, which says what went wrong if it is not zero.
fn outcome(answer: &[u8]) -> io::Result<()> {
    let malformed = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the kernel's answer is cut short",
        )
    };
    let code = answer.get(HEADER..HEADER + 4).ok_or_else(malformed)?;
    let code = <[u8; 4]>::try_from(code).map_err(|_| malformed())?;
    if kind(answer) != Some(NLMSG_ERROR) {
        return Err(malformed());
    }
    match i32::from_ne_bytes(code) {
        0 => Ok(()),
        code => Err(Errno::from_raw_os_error(code.saturating_neg()).into()),
    }
}

/// What sort of message an answer is.
fn kind(answer: &[u8]) -> Option<u16> {
    let kind = answer.get(4..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*kind))
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = 4 + value.len();
    let mut attribute = u16::try_from(length)
        .unwrap_or(u16::MAX)
        .to_ne_bytes()
        .to_vec();
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(value);
    attribute.resize(length.next_multiple_of(4), 0);
    attribute
}

const HEADER: usize = 16;

const REQUEST: u16 = 0x001;
const ACKNOWLEDGE: u16 = 0x004;
const REPLACE: u16 = 0x100;
const CREATE: u16 = 0x400;

const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_F_NODAD: u8 = 0x02;
const IFLA_TXQLEN: u16 = 13;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const ADDR_GEN_MODE_NONE: u8 = 1;
const RTA_DST: u16 = 1;
const ROUTE_HEADER: usize = 12;
const ROUTE_TYPE: usize = 7;
const RTN_LOCAL: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_what_it_says() {
        let refusal = message(NLMSG_ERROR, 0, &(-17_i32).to_ne_bytes());
        let success = message(NLMSG_ERROR, 0, &0_i32.to_ne_bytes());

        let error = outcome(&refusal).unwrap_err();

        assert_eq!(Errno::from_io_error(&error), Some(Errno::EXIST));
        assert!(outcome(&success).is_ok());
        for length in 0..success.len() {
            assert!(outcome(&success[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn attributes_are_padded_and_messages_are_not_longer_than_they_say() {
        assert_eq!(attribute(8, &[1]).len(), 8);
        let body = address_body(7, (IpAddr::from([100, 64, 0, 1]), 32));
        let message = message(RTM_NEWADDR, CREATE, &body);
        let length = u32::from_ne_bytes(*message.first_chunk().unwrap());
        assert_eq!(usize::try_from(length).unwrap(), message.len());
        assert_eq!(message.len(), 16 + 8 + 8 + 8);
    }
}
