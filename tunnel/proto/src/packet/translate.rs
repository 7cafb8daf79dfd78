use std::net::IpAddr;

use super::{Carried, Ends, Headers, Kind};

/// How the packets of one flow in one direction are rewritten: the differences
/// that this makes to checksums are computed once (RFC 1624).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewrite {
    to: Ends,
    addresses: Difference,
    ports: Difference,
}

impl Rewrite {
    /// Returns how to turn packets between `from` into packets between `to`;
    /// both must be of the same IP version.
    #[must_use]
    pub fn new(from: Ends, to: Ends) -> Self {
        let addresses = [(from.source, to.source), (from.destination, to.destination)];
        let mut rewrite = Self {
            to,
            addresses: Difference::default(),
            ports: Difference::default(),
        };
        for (before, after) in addresses {
            match (before.ip(), after.ip()) {
                (IpAddr::V4(before), IpAddr::V4(after)) => {
                    rewrite.addresses.add(&before.octets(), &after.octets());
                }
                (IpAddr::V6(before), IpAddr::V6(after)) => {
                    rewrite.addresses.add(&before.octets(), &after.octets());
                }
                (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
            }
            let (before, after) = (before.port(), after.port());
            rewrite
                .ports
                .add(&before.to_be_bytes(), &after.to_be_bytes());
        }
        rewrite
    }

    /// Returns what packets look like afterwards.
    #[must_use]
    pub fn to(&self) -> Ends {
        self.to
    }

    /// Rewrites one packet. `is_partial` tells that its transport checksum
    /// covers the pseudo-header only, since the device is to complete it.
    pub fn apply(&self, packet: &mut [u8], headers: &Headers, is_partial: bool) {
        self.write_addresses(packet);
        let Some(body) = packet.get_mut(headers.transport..) else {
            return;
        };
        let all = self.addresses.and(self.ports);
        match headers.kind {
            Kind::Tcp(_) => {
                self.write_ports(body);
                self.adjust(body, TCP_CHECKSUM, is_partial);
            }
            Kind::Udp { .. } => {
                self.write_ports(body);
                // Zero means that there is none (RFC 768).
                if is_partial || body.get(UDP_CHECKSUM..UDP_CHECKSUM + 2) != Some(&[0, 0]) {
                    self.adjust(body, UDP_CHECKSUM, is_partial);
                    if body.get(UDP_CHECKSUM..UDP_CHECKSUM + 2) == Some(&[0, 0]) {
                        write(body, UDP_CHECKSUM, [0xff; 2]);
                    }
                }
            }
            Kind::Echo { is_request, .. } => {
                let end = if is_request {
                    self.to.source
                } else {
                    self.to.destination
                };
                write(body, ECHO_ID, end.port().to_be_bytes());
                let difference = if end.is_ipv4() { self.ports } else { all };
                difference.apply(body, ICMP_CHECKSUM);
            }
            Kind::Error { .. } | Kind::LaterFragment | Kind::Other(_) => {}
        }
    }

    fn write_addresses(&self, packet: &mut [u8]) {
        match (self.to.source.ip(), self.to.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                write(packet, 12, source.octets());
                write(packet, 16, destination.octets());
                self.addresses.apply(packet, IPV4_CHECKSUM);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                write(packet, 8, source.octets());
                write(packet, 24, destination.octets());
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
        }
    }

    fn write_ports(&self, body: &mut [u8]) {
        write(body, 0, self.to.source.port().to_be_bytes());
        write(body, 2, self.to.destination.port().to_be_bytes());
    }

    fn adjust(&self, body: &mut [u8], at: usize, is_partial: bool) {
        if is_partial {
            self.addresses.apply_uncomplemented(body, at);
        } else {
            self.addresses.and(self.ports).apply(body, at);
        }
    }
}

/// Rewrites the packet that an ICMP error quotes from `quoted` on, so that its
/// ends become `to`. What lies beyond its ports is only touched where it is there.
pub fn rewrite_quoted(quoted: &mut [u8], to: Ends) {
    let Some(headers) = Headers::parse_quoted(quoted) else {
        return;
    };
    let Some(from) = headers.ends() else { return };
    Rewrite::new(from, to).apply(quoted, &headers, false);
}

/// Lowers the segment size that a SYN announces to `largest`, if it is above
/// (RFC 9293, section 3.7.1). `is_partial` as for [`Rewrite::apply`].
pub fn clamp_mss(packet: &mut [u8], headers: &Headers, largest: u16, is_partial: bool) {
    if !matches!(headers.kind, Kind::Tcp(tcp) if tcp.flags.syn()) {
        return;
    }
    let Some(body) = packet.get_mut(headers.transport..) else {
        return;
    };
    let end = body
        .get(12)
        .map_or(0, |offset| usize::from(offset >> 4) * 4);
    let mut at = 20;
    while let Some([kind, length]) = body
        .get(at..end.min(body.len()))
        .and_then(<[u8]>::first_chunk)
    {
        match (*kind, *length) {
            (0, _) => return,
            (1, _) => at += 1,
            (MSS_OPTION, 4) => {
                let Some(before) = body
                    .get(at + 2..)
                    .and_then(<[u8]>::first_chunk::<2>)
                    .copied()
                else {
                    return;
                };
                if u16::from_be_bytes(before) > largest {
                    let after = largest.to_be_bytes();
                    let mut difference = Difference::default();
                    // An option may start at an odd offset; sums see it shifted then.
                    if at % 2 == 0 {
                        difference.add(&before, &after);
                    } else {
                        difference.add(&[0, before[0], before[1], 0], &[0, after[0], after[1], 0]);
                    }
                    write(body, at + 2, after);
                    if !is_partial {
                        difference.apply(body, TCP_CHECKSUM);
                    }
                }
                return;
            }
            (_, 0 | 1) => return,
            (_, length) => at += usize::from(length),
        }
    }
}

/// Returns the largest segment for packets of `mtu` bytes between these ends.
pub(super) fn segment_size(ends: Ends, mtu: usize) -> u16 {
    let headers = if ends.source.is_ipv4() { 40 } else { 60 };
    u16::try_from(mtu.saturating_sub(headers)).unwrap_or(u16::MAX)
}

impl Ends {
    /// Returns the largest TCP segment for packets of `mtu` bytes, if this is TCP.
    #[must_use]
    pub fn segment_size(self, mtu: usize) -> Option<u16> {
        (self.carried == Carried::Tcp).then(|| segment_size(self, mtu))
    }
}

/// What replacing some 16-bit words adds to a one's complement sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Difference(u16);

impl Difference {
    /// Adds that `before` becomes `after`; both are as long, and even.
    fn add(&mut self, before: &[u8], after: &[u8]) {
        let words = |bytes: &[u8]| -> u32 {
            bytes
                .as_chunks::<2>()
                .0
                .iter()
                .map(|word| u32::from(u16::from_be_bytes(*word)))
                .sum()
        };
        let negated: u32 = before
            .as_chunks::<2>()
            .0
            .iter()
            .map(|word| u32::from(!u16::from_be_bytes(*word)))
            .sum();
        self.0 = fold(u32::from(self.0) + negated + words(after));
    }

    fn and(self, other: Self) -> Self {
        Self(fold(u32::from(self.0) + u32::from(other.0)))
    }

    /// Adjusts the checksum at `at`, if it is there.
    fn apply(self, bytes: &mut [u8], at: usize) {
        if let Some(before) = read(bytes, at) {
            let after = !fold(u32::from(!before) + u32::from(self.0));
            write(bytes, at, after.to_be_bytes());
        }
    }

    /// Adjusts a sum that is not complemented yet.
    fn apply_uncomplemented(self, bytes: &mut [u8], at: usize) {
        if let Some(before) = read(bytes, at) {
            let after = fold(u32::from(before) + u32::from(self.0));
            write(bytes, at, after.to_be_bytes());
        }
    }
}

/// Folds the carries back in.
fn fold(sum: u32) -> u16 {
    let [high, low] = [sum >> 16, sum & 0xffff];
    let once = high + low;
    let [.., a, b] = ((once >> 16) + (once & 0xffff)).to_be_bytes();
    u16::from_be_bytes([a, b])
}

fn read(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|word| u16::from_be_bytes(*word))
}

fn write<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(place) = bytes.get_mut(at..at + N) {
        place.copy_from_slice(&value);
    }
}

const IPV4_CHECKSUM: usize = 10;
const TCP_CHECKSUM: usize = 16;
const UDP_CHECKSUM: usize = 6;
const ICMP_CHECKSUM: usize = 2;
const ECHO_ID: usize = 4;
const MSS_OPTION: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lowered_segment_size_keeps_a_whole_checksum_right_and_a_partial_one_alone() {
        for padding in [0, 1] {
            for is_partial in [false, true] {
                let mut packet = syn(1460, padding);
                let headers = Headers::parse(&packet).unwrap();
                let before = checksum_of(&packet);

                clamp_mss(&mut packet, &headers, 1380, is_partial);

                let at = 20 + 20 + padding + 2;
                assert_eq!(packet[at..at + 2], 1380_u16.to_be_bytes());
                if is_partial {
                    assert_eq!(checksum_of(&packet), before);
                } else {
                    assert_eq!(checksum_of(&packet), computed(&packet), "{padding}");
                }
            }
        }
    }

    #[test]
    fn an_option_without_a_length_ends_the_search() {
        let mut packet = syn(1460, 0);
        packet[40..44].copy_from_slice(&[8, 0, MSS_OPTION, 4]);
        let before = packet.clone();
        let headers = Headers::parse(&packet).unwrap();

        clamp_mss(&mut packet, &headers, 1380, false);

        assert_eq!(packet, before);
    }

    /// A SYN whose segment size stands behind `padding` bytes of no operation.
    fn syn(size: u16, padding: usize) -> Vec<u8> {
        let mut packet = vec![0; 20 + 28];
        packet[0] = 0x45;
        packet[3] = 48;
        packet[8..10].copy_from_slice(&[64, 6]);
        packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        packet[20..24].copy_from_slice(&[0x9c, 0x40, 0, 80]);
        packet[32..36].copy_from_slice(&[7 << 4, 2, 0xff, 0xff]);
        packet[40..48].fill(1);
        let at = 40 + padding;
        packet[at..at + 2].copy_from_slice(&[MSS_OPTION, 4]);
        packet[at + 2..at + 4].copy_from_slice(&size.to_be_bytes());
        let checksum = computed(&packet);
        packet[36..38].copy_from_slice(&checksum.to_be_bytes());
        packet
    }

    fn checksum_of(packet: &[u8]) -> u16 {
        u16::from_be_bytes([packet[36], packet[37]])
    }

    /// RFC 9293, section 3.1, in the plainest way.
    fn computed(packet: &[u8]) -> u16 {
        let mut segment = packet[20..].to_vec();
        segment[16..18].fill(0);
        let words = packet[12..20].chunks(2).chain(segment.chunks(2));
        let mut sum = 6 + u32::try_from(segment.len()).unwrap();
        sum += words
            .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
            .sum::<u32>();
        !fold(sum)
    }
}
