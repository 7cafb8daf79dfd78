use std::net::IpAddr;

use connector_core::network::Prefix;

use super::Rejected;

/// The inner addresses that packets from one peer may have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InnerFilter {
    /// Where they may come from.
    pub sources: Vec<Prefix>,
    /// Where they may go.
    pub destinations: Vec<Prefix>,
}

impl InnerFilter {
    /// Checks the addresses of a packet whose lengths boringtun checked.
    pub(super) fn check(&self, packet: &[u8]) -> Result<(), Rejected> {
        let (source, destination) = addresses(packet).ok_or(Rejected::Malformed)?;
        let within =
            |prefixes: &[Prefix], address| prefixes.iter().any(|prefix| prefix.contains(address));
        if !within(&self.sources, source) {
            return Err(Rejected::InnerSource);
        }
        if !within(&self.destinations, destination) {
            return Err(Rejected::InnerDestination);
        }
        Ok(())
    }
}

fn addresses(packet: &[u8]) -> Option<(IpAddr, IpAddr)> {
    match packet.first()? >> 4 {
        4 => {
            let header: &[u8; 20] = packet.first_chunk()?;
            let [.., a, b, c, d, e, f, g, h] = *header;
            Some((IpAddr::from([a, b, c, d]), IpAddr::from([e, f, g, h])))
        }
        6 => {
            let header: &[u8; 40] = packet.first_chunk()?;
            let source: [u8; 16] = *header[8..].first_chunk()?;
            let destination: [u8; 16] = *header[24..].first_chunk()?;
            Some((IpAddr::from(source), IpAddr::from(destination)))
        }
        _ => None,
    }
}
