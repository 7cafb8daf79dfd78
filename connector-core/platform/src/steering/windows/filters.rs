//! The guard as filters of the Windows Filtering Platform.

use std::net::IpAddr;

use connector_core::network::Prefix;

/// Filters that refuse traffic to the protected prefixes on every interface but
/// the device, other than what the machine sends to itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::steering) struct Filters {
    /// The device's locally unique number. Without a device it is one that no
    /// interface has, and everything is refused.
    pub(super) device: u64,
    pub(super) filters: Vec<Filter>,
}

impl Filters {
    pub(super) fn new(prefixes: &[Prefix], device: Option<u64>) -> Self {
        let layered = prefixes
            .iter()
            .flat_map(|prefix| Layer::of(prefix.address()).map(|layer| (layer, *prefix)));
        let filters = layered
            .zip(0..)
            .map(|((layer, prefix), index)| Filter {
                key: key(index),
                layer,
                prefix,
            })
            .collect();
        Self {
            device: device.unwrap_or(NO_DEVICE),
            filters,
        }
    }
}

/// One filter: blocks what goes to `prefix` beside the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Filter {
    /// The filter's name for the system, a GUID.
    pub(super) key: u128,
    pub(super) layer: Layer,
    pub(super) prefix: Prefix,
}

/// Where in the network stack a filter is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layer {
    /// When a program connects or sends its first packet: it is told at once.
    ConnectV4,
    /// As [`Self::ConnectV4`].
    ConnectV6,
    /// For each packet on its way out: also for raw sockets, and for connections
    /// from before.
    PacketV4,
    /// As [`Self::PacketV4`].
    PacketV6,
}

impl Layer {
    const fn of(address: IpAddr) -> [Self; 2] {
        match address {
            IpAddr::V4(_) => [Self::ConnectV4, Self::PacketV4],
            IpAddr::V6(_) => [Self::ConnectV6, Self::PacketV6],
        }
    }
}

/// Returns the key of the filter of number `index`. They are numbered without
/// gaps, so that they are found again without a list.
pub(super) const fn key(index: u32) -> u128 {
    // The first 32 bits of a GUID are the only ones in which ours differ.
    FIRST_KEY + ((index as u128) << 96)
}

/// Returns the mask of an IPv4 prefix.
pub(super) fn mask(length: u8) -> u32 {
    u32::MAX
        .checked_shl(u32::BITS.saturating_sub(u32::from(length)))
        .unwrap_or(0)
}

const NO_DEVICE: u64 = 0;

/// Our provider, sublayer and first filter.
pub(super) const PROVIDER: u128 = 0x8f1b_62a3_5a54_4e41_a4d8_0c7e_93f5_2b10;
pub(super) const SUBLAYER: u128 = 0x8f1b_62a4_5a54_4e41_a4d8_0c7e_93f5_2b10;
const FIRST_KEY: u128 = 0x0000_0000_5a54_4e41_b6e2_51d0_3c9a_7f48;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_prefix_is_guarded_when_connecting_and_for_each_packet() {
        let filters = Filters::new(&prefixes(&["10.20.0.0/16", "fd00::/64"]), Some(7));

        let layers: Vec<(Layer, String)> = filters
            .filters
            .iter()
            .map(|filter| (filter.layer, filter.prefix.to_string()))
            .collect();
        assert_eq!(
            layers,
            [
                (Layer::ConnectV4, "10.20.0.0/16".to_owned()),
                (Layer::PacketV4, "10.20.0.0/16".to_owned()),
                (Layer::ConnectV6, "fd00::/64".to_owned()),
                (Layer::PacketV6, "fd00::/64".to_owned()),
            ]
        );
        assert_eq!(filters.device, 7);
    }

    #[test]
    fn without_a_device_no_interface_is_spared() {
        let filters = Filters::new(&prefixes(&["10.20.0.0/16"]), None);

        assert_eq!(filters.device, 0);
        assert_eq!(filters.filters.len(), 2);
    }

    #[test]
    fn keys_are_all_different_and_found_by_their_number() {
        let filters = Filters::new(&prefixes(&["10.20.0.0/16"; 300]), Some(7));

        let keys: BTreeSet<u128> = filters.filters.iter().map(|filter| filter.key).collect();
        assert_eq!(keys.len(), 600);
        assert!(keys.contains(&key(599)));
        assert!(!keys.contains(&key(600)));
        assert!(!keys.contains(&PROVIDER) && !keys.contains(&SUBLAYER));
    }

    #[test]
    fn masks_have_as_many_bits_as_told() {
        assert_eq!(mask(0), 0);
        assert_eq!(mask(16), 0xffff_0000);
        assert_eq!(mask(32), u32::MAX);
    }

    fn prefixes(texts: &[&str]) -> Vec<Prefix> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }
}
