//! Small typed views of IP packets, checked once.

use std::net::IpAddr;

/// A view of one whole IP packet whose lengths were checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpView<'a> {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes.
    pub destination: IpAddr,
    /// What it carries.
    pub transport: Transport<'a>,
}

/// What an IP packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport<'a> {
    /// A fragment, or the rest of one: it has no ports to look at.
    Fragment,
    /// A protocol that is neither TCP nor UDP, by its IANA number.
    Other(u8),
    /// A TCP segment.
    Tcp(TcpView<'a>),
    /// A UDP datagram.
    Udp {
        /// The port it comes from.
        source: u16,
        /// The port it goes to.
        destination: u16,
        /// What it carries.
        payload: &'a [u8],
    },
}

/// A view of a TCP segment (RFC 9293, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpView<'a> {
    /// The port it comes from.
    pub source: u16,
    /// The port it goes to.
    pub destination: u16,
    /// The control bits.
    pub flags: TcpFlags,
    /// What it carries.
    pub payload: &'a [u8],
}

/// The control bits of a TCP segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpFlags(u8);

impl TcpFlags {
    /// Reads the byte that holds them.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// Returns whether the segment ends its direction.
    #[must_use]
    pub const fn fin(self) -> bool {
        self.0 & 0x01 != 0
    }

    /// Returns whether the segment opens a connection.
    #[must_use]
    pub const fn syn(self) -> bool {
        self.0 & 0x02 != 0
    }

    /// Returns whether the segment ends a message.
    #[must_use]
    pub const fn psh(self) -> bool {
        self.0 & 0x08 != 0
    }

    /// Returns whether the segment resets the connection.
    #[must_use]
    pub const fn rst(self) -> bool {
        self.0 & 0x04 != 0
    }

    /// Returns whether the segment acknowledges something.
    #[must_use]
    pub const fn ack(self) -> bool {
        self.0 & 0x10 != 0
    }
}

impl<'a> IpView<'a> {
    /// Parses one packet; bytes after its declared length are ignored.
    #[must_use]
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::parse_v4(packet),
            6 => Self::parse_v6(packet),
            _ => None,
        }
    }

    /// Returns whether a live peer would answer this packet soon: everything
    /// but a bare acknowledgement, a reset, a fragment and what we do not know.
    #[must_use]
    pub fn expects_answer(&self) -> bool {
        match self.transport {
            Transport::Tcp(tcp) => {
                !tcp.flags.rst() && (!tcp.payload.is_empty() || tcp.flags.syn() || tcp.flags.fin())
            }
            Transport::Udp { .. } => true,
            Transport::Fragment | Transport::Other(_) => false,
        }
    }

    fn parse_v4(packet: &'a [u8]) -> Option<Self> {
        let header: &[u8; 20] = packet.first_chunk()?;
        let header_length = usize::from(header[0] & 0x0f) * 4;
        let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header_length < 20 || total < header_length {
            return None;
        }
        let body = packet.get(header_length..total)?;
        // Anything but "don't fragment" means that this is not the whole datagram.
        let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
        let [.., a, b, c, d, e, f, g, h] = *header;

        Some(Self {
            source: IpAddr::from([a, b, c, d]),
            destination: IpAddr::from([e, f, g, h]),
            transport: if fragment {
                Transport::Fragment
            } else {
                Transport::parse(header[9], body)?
            },
        })
    }

    fn parse_v6(packet: &'a [u8]) -> Option<Self> {
        let header: &[u8; 40] = packet.first_chunk()?;
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let body = packet.get(40..40 + length)?;
        let source: [u8; 16] = *header[8..].first_chunk()?;
        let destination: [u8; 16] = *header[24..].first_chunk()?;

        Some(Self {
            source: IpAddr::from(source),
            destination: IpAddr::from(destination),
            transport: Transport::parse(header[6], body)?,
        })
    }
}

impl<'a> Transport<'a> {
    fn parse(protocol: u8, body: &'a [u8]) -> Option<Self> {
        match protocol {
            TCP => {
                let header: &[u8; 20] = body.first_chunk()?;
                let header_length = usize::from(header[12] >> 4) * 4;
                if header_length < 20 {
                    return None;
                }
                Some(Self::Tcp(TcpView {
                    source: u16::from_be_bytes([header[0], header[1]]),
                    destination: u16::from_be_bytes([header[2], header[3]]),
                    flags: TcpFlags(header[13]),
                    payload: body.get(header_length..)?,
                }))
            }
            UDP => {
                let header: &[u8; 8] = body.first_chunk()?;
                let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
                Some(Self::Udp {
                    source: u16::from_be_bytes([header[0], header[1]]),
                    destination: u16::from_be_bytes([header[2], header[3]]),
                    payload: body.get(8..length)?,
                })
            }
            other => Some(Self::Other(other)),
        }
    }
}

const TCP: u8 = 6;
const UDP: u8 = 17;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_read_out_of_either_version() {
        for packet in [v4(TCP, &segment(0x02, b"")), v6(TCP, &segment(0x02, b""))] {
            let view = IpView::parse(&packet).unwrap();

            let Transport::Tcp(tcp) = view.transport else {
                panic!("{view:?}");
            };
            assert_eq!((tcp.source, tcp.destination), (0x1234, 80));
            assert!(tcp.flags.syn() && !tcp.flags.ack());
            assert!(view.expects_answer());
        }
    }

    #[test]
    fn a_bare_acknowledgement_expects_nothing_and_a_segment_with_data_does() {
        let ack = v4(TCP, &segment(0x10, b""));
        let data = v4(TCP, &segment(0x10, b"x"));

        assert!(!IpView::parse(&ack).unwrap().expects_answer());
        assert!(IpView::parse(&data).unwrap().expects_answer());
    }

    #[test]
    fn every_truncation_is_refused_and_none_panics() {
        for packet in [v4(TCP, &segment(0x10, b"abc")), v6(UDP, &datagram(b"abc"))] {
            for length in 0..packet.len() {
                assert_eq!(IpView::parse(&packet[..length]), None, "{length}");
            }
        }
    }

    #[test]
    fn a_fragment_has_no_ports() {
        let mut packet = v4(UDP, &datagram(b""));
        packet[6] = 0x20;

        let view = IpView::parse(&packet).unwrap();

        assert_eq!(view.transport, Transport::Fragment);
    }

    fn v4(protocol: u8, body: &[u8]) -> Vec<u8> {
        let total = u16::try_from(20 + body.len()).unwrap().to_be_bytes();
        let mut packet = vec![
            0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, protocol, 0, 0,
        ];
        packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend(body);
        packet
    }

    fn v6(protocol: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], protocol, 64];
        packet.extend([0xfd; 32]);
        packet.extend(body);
        packet
    }

    fn segment(flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut segment = vec![
            0x12, 0x34, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0,
        ];
        segment.extend(payload);
        segment
    }

    fn datagram(payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(8 + payload.len()).unwrap().to_be_bytes();
        let mut datagram = vec![0x12, 0x34, 0, 53, length[0], length[1], 0, 0];
        datagram.extend(payload);
        datagram
    }
}
