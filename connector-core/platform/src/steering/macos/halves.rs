//! More specific routes for the same addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use connector_core::network::Prefix;

use super::super::ranges;

/// Returns the two halves of a prefix; an address alone has none.
pub(super) fn halves(prefix: Prefix) -> Option<[Prefix; 2]> {
    let length = prefix.length().checked_add(1)?;
    let low = ranges::around(prefix.address(), length)?;
    let upper_bit = u32::from(Prefix::host(prefix.address()).length() - length);
    let high: IpAddr = match prefix.address() {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() | 1 << upper_bit).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() | 1 << upper_bit).into(),
    };
    Some([low, ranges::around(high, length)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_has_two_halves_and_an_address_none() {
        for (text, low, high) in [
            ("10.0.0.0/8", "10.0.0.0/9", "10.128.0.0/9"),
            ("10.0.0.2/31", "10.0.0.2/32", "10.0.0.3/32"),
            ("fd00::/8", "fd00::/9", "fd80::/9"),
        ] {
            let [one, other] = halves(text.parse().unwrap()).unwrap();
            assert_eq!([one.to_string(), other.to_string()], [low, high]);
        }
        assert_eq!(halves("10.0.0.1".parse().unwrap()), None);
        assert_eq!(halves("::1".parse().unwrap()), None);
    }
}
