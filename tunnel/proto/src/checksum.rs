//! The Internet checksum (RFC 1071): sums, pseudo-headers, adjustments.
//!
//! Sums are kept uncomplemented, as numbers of the network's byte order, until
//! they are [folded](fold); a few of them can be added before that.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Sums `bytes` as 16-bit words of the network's byte order, with a zero after
/// an odd end; the result is folded already.
#[must_use]
pub fn sum(bytes: &[u8]) -> u32 {
    // Neither the byte order nor the size of the words matters until the end
    // (RFC 1071, section 2 (B)); four sums let four additions run at once.
    let (blocks, rest) = bytes.as_chunks::<32>();
    let mut lanes = [0_u128; 4];
    for block in blocks {
        for (lane, word) in lanes.iter_mut().zip(block.as_chunks().0) {
            *lane += u128::from(u64::from_ne_bytes(*word));
        }
    }
    let [mut total, b, c, d] = lanes;
    total += b + c + d;
    let (words, rest) = rest.as_chunks();
    for word in words {
        total += u128::from(u64::from_ne_bytes(*word));
    }
    let (words, rest) = rest.as_chunks();
    for word in words {
        total += u128::from(u16::from_ne_bytes(*word));
    }
    if let [last] = rest {
        total += u128::from(u16::from_ne_bytes([*last, 0]));
    }

    let total = total.to_ne_bytes();
    let [a, b] = [0, 8].map(|at| {
        total[at..]
            .first_chunk()
            .map_or(0, |half| u64::from_ne_bytes(*half))
    });
    let (half, carry) = a.overflowing_add(b);
    let half = (half >> 32) + (half & 0xffff_ffff) + u64::from(carry);
    let [.., c, d, e, f, g, h] = half.to_be_bytes();
    let words = [[c, d], [e, f], [g, h]].map(|word| u32::from(u16::from_be_bytes(word)));
    let folded = fold(words[0] + words[1] + words[2]);
    u32::from(u16::from_be_bytes(folded.to_ne_bytes()))
}

/// Folds the carries of a sum back in.
#[must_use]
pub const fn fold(sum: u32) -> u16 {
    let once = (sum >> 16) + (sum & 0xffff);
    let [_, _, high, low] = ((once >> 16) + (once & 0xffff)).to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// Returns the checksum of a transport segment, whose own checksum field is
/// zero, under the pseudo-header of either IP version. In UDP a zero is sent as
/// [`never_zero`].
#[must_use]
pub fn transport(source: IpAddr, destination: IpAddr, protocol: u8, segment: &[u8]) -> u16 {
    let length = u16::try_from(segment.len()).unwrap_or(u16::MAX);
    let pseudo = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            pseudo_v4(source, destination, protocol, length)
        }
        (source, destination) => pseudo_v6(v6(source), v6(destination), protocol, length),
    };
    !fold(pseudo + sum(segment))
}

/// Sums the pseudo-header of IPv4 (RFC 9293, section 3.1); `length` is that of
/// the transport header and what it carries, in bytes.
#[must_use]
pub fn pseudo_v4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, length: u16) -> u32 {
    sum(&source.octets()) + sum(&destination.octets()) + u32::from(protocol) + u32::from(length)
}

/// Sums the pseudo-header of IPv6 (RFC 8200, section 8.1); `length` is that of
/// the transport header and what it carries, in bytes.
#[must_use]
pub fn pseudo_v6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, length: u16) -> u32 {
    sum(&source.octets()) + sum(&destination.octets()) + u32::from(protocol) + u32::from(length)
}

/// Returns `checksum` after `old` became `new` in what it covers (RFC 1624,
/// equation 3). Both are as long, even, and at an even offset.
#[must_use]
pub fn adjust(checksum: u16, old: &[u8], new: &[u8]) -> u16 {
    debug_assert!(old.len() == new.len() && old.len().is_multiple_of(2));
    let removed = !fold(sum(old));
    !fold(u32::from(!checksum) + u32::from(removed) + sum(new))
}

/// Does what [`adjust`] does, with UDP's rule that zero means "none": it stays,
/// and is never made (RFC 768).
#[must_use]
pub fn adjust_udp(checksum: u16, old: &[u8], new: &[u8]) -> u16 {
    match checksum {
        0 => 0,
        checksum => never_zero(adjust(checksum, old, new)),
    }
}

/// Returns what UDP sends for `checksum`: the other zero for zero (RFC 768).
#[must_use]
pub const fn never_zero(checksum: u16) -> u16 {
    match checksum {
        0 => 0xffff,
        checksum => checksum,
    }
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_that_of_the_example_in_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];

        assert_eq!(fold(sum(&bytes)), 0xddf2);
    }

    #[test]
    fn a_sum_of_any_length_and_offset_is_the_naive_one() {
        let bytes: Vec<u8> = (0..2000_u32).map(scramble).collect();

        for start in 0..9 {
            for end in (start..200).chain([1399, 1400, 1401, 1999, 2000]) {
                let part = &bytes[start..end];
                assert_eq!(fold(sum(part)), naive(part), "{start}..{end}");
            }
        }
    }

    #[test]
    fn the_greatest_sum_does_not_overflow() {
        let bytes = vec![0xff; 65_535];

        assert_eq!(fold(sum(&bytes)), naive(&bytes));
    }

    #[test]
    fn an_adjusted_checksum_is_the_recomputed_one() {
        for round in 0..5000 {
            let before: Vec<u8> = (0..40).map(|at| scramble(round * 40 + at)).collect();
            let mut after = before.clone();
            for (at, byte) in after[12..20].iter_mut().enumerate() {
                *byte = scramble(round * 7 + u32::try_from(at).unwrap());
            }

            let adjusted = adjust(!naive(&before), &before[12..20], &after[12..20]);

            assert_eq!(adjusted, !naive(&after), "round {round}");
        }
    }

    #[test]
    fn adjusting_agrees_with_the_corner_case_of_rfc_1624() {
        assert_eq!(adjust(0xdd2f, &[0x55, 0x55], &[0x32, 0x85]), 0x0000);
    }

    #[test]
    fn udp_without_a_checksum_stays_without_and_never_gets_zero() {
        assert_eq!(adjust_udp(0, &[1, 2], &[3, 4]), 0);
        assert_eq!(adjust_udp(0xdd2f, &[0x55, 0x55], &[0x32, 0x85]), 0xffff);
        assert_eq!(never_zero(7), 7);
    }

    #[test]
    fn a_transport_checksum_covers_the_pseudo_header_of_its_version() {
        let segment = [0x12, 0x34, 0, 53, 0, 11, 0, 0, b'a', b'b', b'c'];
        let (v4, v6) = ([192, 0, 2, 1], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
        let mut under_v4 = [v4, v4].concat();
        under_v4.extend([0, 17, 0, 11]);
        under_v4.extend(segment);
        let octets = Ipv6Addr::from(v6).octets();
        let mut under_v6 = [octets, octets].concat();
        under_v6.extend([0, 0, 0, 11, 0, 0, 0, 17]);
        under_v6.extend(segment);

        let (v4, v6) = (IpAddr::from(v4), IpAddr::from(v6));

        assert_eq!(transport(v4, v4, 17, &segment), !naive(&under_v4));
        assert_eq!(transport(v6, v6, 17, &segment), !naive(&under_v6));
    }

    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8;
            sum += pair.get(1).map_or(0, |low| u32::from(*low));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).unwrap()
    }

    fn scramble(number: u32) -> u8 {
        number.wrapping_mul(0x9e37_79b1).to_be_bytes()[0]
    }
}
