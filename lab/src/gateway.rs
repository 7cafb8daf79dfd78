//! `ztna-lab gateway`: one WireGuard gateway with a network device, behind which the kernel forwards.
//!
//! It is the far end for measurements and for tests that need a real kernel behind the tunnel.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context;
use connector_core::catalogue::Ports;
use connector_core::network::Prefix;
use serde::Serialize;
use tunnel::device::DeviceConfig;
use tunnel::far_end::tun::{TunConfig, TunGateway};
use tunnel_proto::keys::{PrivateKey, PublicKey};
use tunnel_proto::reach::{Admission, Opening, Openings, Reach};

use crate::sites::boot_clock;

/// What the gateway is told on the command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// What the network device is called
    #[arg(long, value_name = "NAME")]
    device: String,
    /// The gateway's own inner address; may be repeated
    #[arg(long, value_name = "ADDRESS/LENGTH", required = true, value_parser = parse_own_address)]
    address: Vec<(IpAddr, u8)>,
    /// Where it listens for WireGuard
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:51820")]
    listen: SocketAddr,
    /// The file with its private key, as `wg genkey` writes it
    #[arg(long, value_name = "FILE")]
    private_key_file: PathBuf,
    /// A client, by its public key, and its inner addresses; may be repeated
    #[arg(long, value_name = "KEY=PREFIX[,PREFIX]", value_parser = parse_peer)]
    peer: Vec<Peer>,
    /// What this client may reach, and no client anything else; may be repeated. Without any, the gateway is a plain
    /// one that leaves the decision to somebody else
    #[arg(long, value_name = "KEY=PREFIX:tcp|udp/PORT[-PORT]", value_parser = parse_permission)]
    permit: Vec<Permission>,
    /// What clients may reach at most, if the kernel has a route there; may be repeated
    #[arg(long, value_name = "PREFIX", default_values = ["0.0.0.0/0", "::/0"])]
    reach: Vec<Prefix>,
    /// The longest packet in the tunnel, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1420, value_parser = clap::value_parser!(u16).range(1280..=9000))]
    mtu: u16,
}

/// A client that may come in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Peer {
    key: PublicKey,
    allowed: Vec<Prefix>,
}

/// What one client may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Permission {
    key: PublicKey,
    opening: Opening,
}

/// What the gateway says about itself when it listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ready {
    /// Where it listens.
    pub endpoint: SocketAddr,
    /// Its public key in base64.
    pub public_key: String,
}

/// Starts the gateway, which ends when it is dropped.
///
/// # Errors
///
/// The key cannot be read, the device cannot be made, or the address is in use.
pub fn start(options: Options) -> anyhow::Result<(TunGateway, Ready)> {
    let private_key = read_key(&options.private_key_file)?;
    let public_key = private_key.public_key().to_string();
    let peers = admissions(options.peer, options.permit)?;
    let gateway = TunGateway::start(TunConfig {
        device: DeviceConfig {
            name: options.device,
            addresses: options.address,
            mtu: options.mtu,
            queue_length: QUEUE_LENGTH,
        },
        listen: options.listen,
        private_key,
        destinations: options.reach,
        peers,
        clock: boot_clock,
    })
    .context("Failed to start the gateway")?;
    let ready = Ready {
        endpoint: gateway.endpoint(),
        public_key,
    };
    Ok((gateway, ready))
}

/// Combines who may come in with what each may reach.
fn admissions(
    peers: Vec<Peer>,
    permissions: Vec<Permission>,
) -> anyhow::Result<Vec<(PublicKey, Admission)>> {
    let is_plain = permissions.is_empty();
    let mut openings: BTreeMap<PublicKey, Vec<Opening>> = BTreeMap::new();
    for Permission { key, opening } in permissions {
        anyhow::ensure!(
            peers.iter().any(|peer| peer.key == key),
            "--permit {key}=…: there is no --peer with this key"
        );
        openings.entry(key).or_default().push(opening);
    }
    let admission = |peer: Peer| {
        let reach = if is_plain {
            Reach::Everything
        } else {
            let open = openings.remove(&peer.key).unwrap_or_default();
            Reach::Only(Openings::new(open))
        };
        let addresses = peer.allowed;
        (peer.key, Admission { addresses, reach })
    };
    Ok(peers.into_iter().map(admission).collect())
}

fn read_key(path: &Path) -> anyhow::Result<PrivateKey> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("Failed to read the private key in {}", path.display()))?;
    text.trim()
        .parse()
        .with_context(|| format!("{}", path.display()))
}

fn parse_own_address(text: &str) -> Result<(IpAddr, u8), String> {
    let problem = || format!("{text:?} is not ADDRESS/LENGTH, as in 10.78.0.2/24");
    let (address, length) = text.split_once('/').ok_or_else(problem)?;
    let address: IpAddr = address.parse().map_err(|_| problem())?;
    let length: u8 = length.parse().map_err(|_| problem())?;
    if length > Prefix::host(address).length() {
        return Err(problem());
    }
    Ok((address, length))
}

fn parse_peer(text: &str) -> Result<Peer, String> {
    // A key in base64 ends in a sign of equality itself.
    let (key, prefixes) = text
        .rsplit_once('=')
        .ok_or_else(|| format!("{text:?} is not KEY=PREFIX"))?;
    let key = key.parse().map_err(|error| format!("{key:?}: {error}"))?;
    let allowed = prefixes
        .split(',')
        .map(|prefix| prefix.parse::<Prefix>().map_err(|error| error.to_string()))
        .collect::<Result<_, _>>()?;
    Ok(Peer { key, allowed })
}

fn parse_permission(text: &str) -> Result<Permission, String> {
    let problem = || format!("{text:?} is not KEY=PREFIX:tcp|udp/PORT[-PORT]");
    let (key, rest) = text.rsplit_once('=').ok_or_else(problem)?;
    let key = key.parse().map_err(|error| format!("{key:?}: {error}"))?;
    let (prefix, ports) = rest.rsplit_once(':').ok_or_else(problem)?;
    let prefix: Prefix = prefix.parse().map_err(|_| problem())?;
    let (protocol, range) = ports.split_once('/').ok_or_else(problem)?;
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let first: u16 = first.parse().map_err(|_| problem())?;
    let last: u16 = last.parse().map_err(|_| problem())?;
    let mut ports = Ports::default();
    match protocol {
        _ if first > last => return Err(problem()),
        "tcp" => ports.tcp.push(first..=last),
        "udp" => ports.udp.push(first..=last),
        _ => return Err(problem()),
    }
    let opening = Opening {
        prefix,
        ports,
        is_open: true,
    };
    Ok(Permission { key, opening })
}

/// Twice what the kernel takes by default: a burst of one turn fits.
const QUEUE_LENGTH: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
    const OTHER: &str = "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=";

    #[test]
    fn a_peer_is_a_key_in_base64_and_its_addresses() {
        let peer = parse_peer(&format!("{KEY}=10.78.0.1/32,fd00::1")).unwrap();

        assert_eq!(peer.key.to_string(), KEY);
        assert_eq!(
            peer.allowed,
            [
                "10.78.0.1/32".parse().unwrap(),
                "fd00::1/128".parse().unwrap()
            ]
        );
        for wrong in [
            "",
            KEY,
            "=10.78.0.1",
            "x=10.78.0.1",
            &format!("{KEY}=10.78.0.1/33"),
        ] {
            assert!(parse_peer(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_gateway_that_permits_anything_permits_nothing_else() {
        let peer = |key: &str| parse_peer(&format!("{key}=10.78.0.1/32")).unwrap();
        let permission = parse_permission(&format!("{KEY}=10.20.0.0/24:tcp/80-81")).unwrap();
        let peers = vec![peer(KEY), peer(OTHER)];

        let plain = admissions(peers.clone(), vec![]).unwrap();
        let deciding = admissions(peers, vec![permission.clone()]).unwrap();

        assert!(plain.iter().all(|(_, it)| it.reach == Reach::Everything));
        let opened = Openings::new([permission.opening.clone()]);
        assert_eq!(deciding[0].1.reach, Reach::Only(opened));
        assert_eq!(deciding[1].1.reach, Reach::default());
        assert!(admissions(vec![], vec![permission]).is_err());
        for wrong in [
            "80:tcp/80",
            "10.0.0.1:tcp",
            "10.0.0.1:icmp/1",
            "10.0.0.1:tcp/2-1",
        ] {
            assert!(
                parse_permission(&format!("{KEY}={wrong}")).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn an_own_address_keeps_its_host_bits() {
        assert_eq!(
            parse_own_address("10.78.0.2/24"),
            Ok(("10.78.0.2".parse().unwrap(), 24))
        );
        for wrong in [
            "10.78.0.2",
            "10.78.0.2/33",
            "fd00::1/129",
            "x/24",
            "10.78.0.2/-1",
        ] {
            assert!(parse_own_address(wrong).is_err(), "{wrong}");
        }
    }
}
