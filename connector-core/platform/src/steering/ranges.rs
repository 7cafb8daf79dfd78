//! Prefixes as systems tell them: an address and a number of bits.

use std::net::IpAddr;

use connector_core::network::Prefix;

/// Returns the prefix of `length` bits that holds `address`, unless there are
/// not so many bits.
pub(super) fn around(address: IpAddr, length: u8) -> Option<Prefix> {
    let whole = Prefix::host(address).length();
    let beyond = u32::from(whole.checked_sub(length)?);
    let first: IpAddr = match address {
        IpAddr::V4(v4) => cleared(u128::from(v4.to_bits()), beyond)
            .and_then(|bits| u32::try_from(bits).ok())
            .map(|bits| std::net::Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(v6) => {
            cleared(v6.to_bits(), beyond).map(|bits| std::net::Ipv6Addr::from_bits(bits).into())
        }
    }?;
    format!("{first}/{length}").parse().ok()
}

/// Clears the lowest `count` bits.
fn cleared(bits: u128, count: u32) -> Option<u128> {
    match count {
        0..128 => Some(bits >> count << count),
        128 => Some(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_a_length_make_the_prefix_around_it() {
        for (address, length, wanted) in [
            ("10.1.2.3", 8, "10.0.0.0/8"),
            ("10.1.2.3", 32, "10.1.2.3/32"),
            ("10.1.2.3", 0, "0.0.0.0/0"),
            ("fd00::1:2", 64, "fd00::/64"),
            ("fd00::1:2", 128, "fd00::1:2/128"),
            ("fd00::1:2", 0, "::/0"),
        ] {
            let prefix = around(address.parse().unwrap(), length).unwrap();
            assert_eq!(prefix.to_string(), wanted);
        }
        assert_eq!(around("10.0.0.1".parse().unwrap(), 33), None);
        assert_eq!(around("::1".parse().unwrap(), 129), None);
    }
}
