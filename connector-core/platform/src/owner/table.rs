//! Reads the tables of `GetExtendedTcpTable` and `GetExtendedUdpTable`: a count, then
//! rows of 32-bit numbers, with addresses and ports in network order.

use std::net::{IpAddr, SocketAddr};

/// Which of the four tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Tcp4,
    Tcp6,
    Udp4,
    Udp6,
}

impl Table {
    /// Returns the processes whose socket can have sent from `local` to `remote`. A
    /// UDP socket can send to any address.
    pub(super) fn owners(
        self,
        table: &[u8],
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Option<Vec<u32>> {
        let row = self.row();
        let count = usize::try_from(u32::from_ne_bytes(field(table, 0)?)).ok()?;
        let rows = table.get(4..)?.get(..count.checked_mul(row.length)?)?;
        let mut owners = vec![];
        for bytes in rows.chunks_exact(row.length) {
            let sender = self.address(bytes, row.local_address, row.local_port)?;
            let is_it = match row.remote {
                Some((address, port)) => {
                    sender == local && self.address(bytes, address, port)? == remote
                }
                None => sender.port() == local.port(),
            };
            if is_it {
                owners.push(u32::from_ne_bytes(field(bytes, row.process)?));
            }
        }
        Some(owners)
    }

    fn address(self, row: &[u8], address: usize, port: usize) -> Option<SocketAddr> {
        let ip: IpAddr = match self {
            Self::Tcp4 | Self::Udp4 => IpAddr::from(field::<4>(row, address)?),
            Self::Tcp6 | Self::Udp6 => IpAddr::from(field::<16>(row, address)?),
        };
        let port = u16::from_be_bytes(field(row, port)?);
        Some(SocketAddr::new(ip.to_canonical(), port))
    }

    /// Where the fields of a row are, by `tcpmib.h` and `udpmib.h`.
    fn row(self) -> Row {
        match self {
            Self::Tcp4 => Row {
                length: 24,
                local_address: 4,
                local_port: 8,
                remote: Some((12, 16)),
                process: 20,
            },
            Self::Tcp6 => Row {
                length: 56,
                local_address: 0,
                local_port: 20,
                remote: Some((24, 44)),
                process: 52,
            },
            Self::Udp4 => Row {
                length: 12,
                local_address: 0,
                local_port: 4,
                remote: None,
                process: 8,
            },
            Self::Udp6 => Row {
                length: 28,
                local_address: 0,
                local_port: 20,
                remote: None,
                process: 24,
            },
        }
    }
}

struct Row {
    length: usize,
    local_address: usize,
    local_port: usize,
    remote: Option<(usize, usize)>,
    process: usize,
}

fn field<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_found_by_both_addresses() {
        let local = "192.0.2.1:49153".parse().unwrap();
        let remote = "192.0.2.2:443".parse().unwrap();
        let mut table = 2_u32.to_ne_bytes().to_vec();
        for process in [7_u32, 8] {
            table.extend(5_u32.to_ne_bytes());
            table.extend([192, 0, 2, 1, 0xc0, 1, 0, 0]);
            table.extend([
                192,
                0,
                2,
                2,
                1,
                if process == 7 { 0xbb } else { 0xbc },
                0,
                0,
            ]);
            table.extend(process.to_ne_bytes());
        }

        assert_eq!(Table::Tcp4.owners(&table, local, remote), Some(vec![7]));
        assert_eq!(Table::Tcp4.owners(&table, remote, local), Some(vec![]));
    }

    #[test]
    fn an_ipv4_connection_of_an_ipv6_socket_is_found() {
        let mut table = 1_u32.to_ne_bytes().to_vec();
        let mapped = |last| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, last];
        table.extend(mapped(1));
        table.extend([0, 0, 0, 0, 0xc0, 1, 0, 0]);
        table.extend(mapped(2));
        table.extend([0, 0, 0, 0, 1, 0xbb, 0, 0, 5, 0, 0, 0]);
        table.extend(9_u32.to_ne_bytes());

        let owners = Table::Tcp6.owners(
            &table,
            "192.0.2.1:49153".parse().unwrap(),
            "192.0.2.2:443".parse().unwrap(),
        );

        assert_eq!(owners, Some(vec![9]));
    }

    #[test]
    fn every_socket_of_a_port_can_have_sent_a_datagram() {
        let remote = "192.0.2.2:443".parse().unwrap();
        let mut four = 2_u32.to_ne_bytes().to_vec();
        for process in [7_u32, 8] {
            four.extend([127, 0, 0, 1, 0, 53, 0, 0]);
            four.extend(process.to_ne_bytes());
        }
        let mut six = 1_u32.to_ne_bytes().to_vec();
        six.extend([0; 20]);
        six.extend([0, 53, 0, 0]);
        six.extend(9_u32.to_ne_bytes());

        let local = "192.0.2.1:53".parse().unwrap();

        assert_eq!(Table::Udp4.owners(&four, local, remote), Some(vec![7, 8]));
        assert_eq!(Table::Udp6.owners(&six, local, remote), Some(vec![9]));
    }

    #[test]
    fn a_table_that_is_cut_short_tells_nothing() {
        let anywhere = "[::]:0".parse().unwrap();
        for table in [Table::Tcp4, Table::Tcp6, Table::Udp4, Table::Udp6] {
            assert_eq!(table.owners(&[], anywhere, anywhere), None);
            assert_eq!(table.owners(&[1, 0, 0, 0, 1], anywhere, anywhere), None);
            assert_eq!(table.owners(&[0xff; 40], anywhere, anywhere), None);
        }
    }
}
