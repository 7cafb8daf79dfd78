//! Destinations that no policy can open.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::target::{Host, Target};
use crate::upstream::{Refusal, RefusalKind};

/// Refuses destinations on this machine and this link: the proxy's own listeners and
/// whatever else trusts loopback must not be reachable through it.
pub(crate) fn check(target: &Target) -> Result<(), Refusal> {
    let prohibited = match &target.host {
        Host::Ipv4(address) => is_prohibited_v4(*address),
        Host::Ipv6(address) => is_prohibited_v6(*address),
        Host::Name(name) => is_this_machine(name),
    };
    if !prohibited {
        return Ok(());
    }

    Err(Refusal::new(
        RefusalKind::AddressProhibited,
        "destination_prohibited",
        format!(
            "{} is on this machine or this link, which is never reached through the proxy",
            target.host
        ),
    )
    .with_remedy("Connect to it without the proxy."))
}

fn is_prohibited_v4(address: Ipv4Addr) -> bool {
    address.octets()[0] == 0
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
}

fn is_prohibited_v6(address: Ipv6Addr) -> bool {
    address.is_unspecified()
        || address.is_loopback()
        || address.is_unicast_link_local()
        || address.is_multicast()
        || embedded_v4(address).is_some_and(is_prohibited_v4)
}

/// Returns the IPv4 address inside a mapped or compatible (RFC 4291), 6to4 (RFC 3056) or
/// NAT64 (RFC 6052) address.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let from = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => from(high, low),
        [0, 0, 0, 0, 0xffff, 0, high, low] => from(high, low),
        [0x2002, high, low, ..] => from(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => from(high, low),
        _ => None,
    }
}

/// Tells whether a name in canonical form means loopback (RFC 6761, 6.3, and the names
/// that hosts files give it).
fn is_this_machine(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    last == "localhost"
        || matches!(
            name,
            "localhost.localdomain"
                | "localhost4"
                | "localhost4.localdomain4"
                | "localhost6"
                | "localhost6.localdomain6"
                | "ip6-localhost"
                | "ip6-loopback"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prohibits_this_machine_and_this_link_in_every_spelling() {
        for host in [
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.1.1",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "2002:7f00:1::",
            "64:ff9b::127.0.0.1",
            "localhost",
            "LOCALHOST.",
            "a.b.localhost",
            "localhost.localdomain",
            "ip6-localhost",
            "localhost6",
        ] {
            assert!(check(&target(host)).is_err(), "{host}");
        }
    }

    #[test]
    fn lets_everything_else_be_decided_by_policy() {
        for host in [
            "10.0.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "2001:db8::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "wiki.corp.example",
            "localhost.example",
            "notlocalhost",
        ] {
            assert!(check(&target(host)).is_ok(), "{host}");
        }
    }

    fn target(host: &str) -> Target {
        Target {
            host: Host::parse(host).unwrap(),
            port: 80,
        }
    }
}
