//! Addresses that stand for names: programs connect to them, and the tunnel
//! knows by the address which name was meant.
//!
//! A name's address follows from the name and a secret that lasts as long as
//! the installation, so that a program which remembers it across a restart of
//! the service reaches the same name again. Where two names want one IPv4
//! address, the second gets another one, so those two depend on who came
//! first; IPv6 addresses have room for more of the hash, and there an address
//! of one name never becomes that of another.

mod keyed;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use connector_core::name::DomainName;
use connector_core::network::Prefix;

use crate::random::Seed;

pub(crate) use self::keyed::KeyedHash;

/// The addresses that this machine gives to names, a range of each family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyntheticRange {
    v4: Prefix,
    v6: Prefix,
    base_v4: Ipv4Addr,
    base_v6: Ipv6Addr,
}

impl SyntheticRange {
    /// Chooses a range that has nothing in common with `in_use`: the machine's
    /// addresses and routes, and the prefixes of resources. The same seed and
    /// the same `in_use` lead to the same range.
    ///
    /// Routes that cover everything, or so much that they are a default route
    /// in pieces, are no obstacle: the range is more specific.
    ///
    /// # Errors
    ///
    /// Every candidate collides with something.
    pub fn choose(in_use: &[Prefix], seed: u64) -> Result<Self, NoFreeRange> {
        let hash = KeyedHash::new(Seed::new(seed));
        let (v4, base_v4) = candidates_v4(hash.hash(b"range v4"))
            .find_map(|base| free(base, V4_LENGTH, in_use))
            .ok_or(NoFreeRange { family: "IPv4" })?;
        let (v6, base_v6) = (0_u8..32)
            .map(|attempt| unique_local(hash.hash(&[b'6', attempt])))
            .find_map(|base| free(base, V6_LENGTH, in_use))
            .ok_or(NoFreeRange { family: "IPv6" })?;
        Ok(Self {
            v4,
            v6,
            base_v4,
            base_v6,
        })
    }

    /// Returns the IPv4 range, 65,536 addresses.
    #[must_use]
    pub fn v4(&self) -> Prefix {
        self.v4
    }

    /// Returns the IPv6 range, a /64 of unique local addresses (RFC 4193).
    #[must_use]
    pub fn v6(&self) -> Prefix {
        self.v6
    }

    /// Returns the device's own IPv4 address, the first of the range.
    #[must_use]
    pub fn device_v4(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base_v4.to_bits() | 1)
    }

    /// Returns the device's own IPv6 address, the first of the range.
    #[must_use]
    pub fn device_v6(&self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.base_v6.to_bits() | 1)
    }

    /// Returns whether `address` lies in the range.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.v4.contains(address) || self.v6.contains(address)
    }

    fn v4_of(&self, slot: u16) -> Ipv4Addr {
        let (third, fourth) = (u32::from(slot / HOSTS), u32::from(slot % HOSTS) + 1);
        Ipv4Addr::from_bits(self.base_v4.to_bits() | third << 8 | fourth)
    }

    fn v6_of(&self, slot: u16, mark: u64) -> Ipv6Addr {
        let host = mark & !u64::from(u16::MAX) | u64::from(slot);
        Ipv6Addr::from_bits(self.base_v6.to_bits() | u128::from(host))
    }

    fn slot_of(&self, address: IpAddr) -> Option<u16> {
        if !self.contains(address) {
            return None;
        }
        match address {
            IpAddr::V4(v4) => {
                let [_, _, third, fourth] = v4.octets();
                let host = u16::from(fourth).checked_sub(1)?;
                (host < HOSTS).then(|| u16::from(third) * HOSTS + host)
            }
            IpAddr::V6(v6) => v6.segments().last().copied(),
        }
    }
}

/// Every range of this machine's choosing is in use already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no {family} range is free for the names of protected applications: every private range collides with an address or route of this machine, or with a resource's prefix; remove one that is not needed"
)]
pub struct NoFreeRange {
    family: &'static str,
}

/// The names that have synthetic addresses, both ways.
///
/// Holds 8,192 names at most. When a new one comes, the name that was not asked
/// for or used for the longest time gives up its address; one that a flow uses
/// ([`hold`](Self::hold)) does not.
#[derive(Debug)]
pub struct SyntheticNames {
    range: SyntheticRange,
    hash: KeyedHash,
    by_name: BTreeMap<DomainName, Entry>,
    by_slot: BTreeMap<u16, DomainName>,
    /// The entries that nobody holds, the longest unused first.
    unused: BTreeSet<(u64, u16)>,
    uses: u64,
}

/// The addresses of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyntheticAddresses {
    /// For programs that use IPv4.
    pub v4: Ipv4Addr,
    /// For programs that use IPv6.
    pub v6: Ipv6Addr,
}

#[derive(Debug)]
struct Entry {
    slot: u16,
    mark: u64,
    holds: u32,
    used: u64,
}

impl SyntheticNames {
    /// Starts without names. The seed decides which name gets which address: it
    /// is to be drawn once for an installation, and kept.
    #[must_use]
    pub fn new(range: SyntheticRange, seed: u64) -> Self {
        Self {
            range,
            hash: KeyedHash::new(Seed::new(seed)),
            by_name: BTreeMap::new(),
            by_slot: BTreeMap::new(),
            unused: BTreeSet::new(),
            uses: 0,
        }
    }

    /// Returns the range that the addresses are from.
    #[must_use]
    pub fn range(&self) -> &SyntheticRange {
        &self.range
    }

    /// Returns the addresses of `name`, giving it some if it has none; `None`
    /// if flows use every one that there is room for.
    pub fn addresses_of(&mut self, name: &DomainName) -> Option<SyntheticAddresses> {
        self.uses += 1;
        if let Some(entry) = self.by_name.get_mut(name) {
            if entry.holds == 0 {
                self.unused.remove(&(entry.used, entry.slot));
                self.unused.insert((self.uses, entry.slot));
            }
            entry.used = self.uses;
            return Some(entry.addresses(&self.range));
        }

        if self.by_name.len() >= MAX_NAMES {
            let (_, oldest) = self.unused.pop_first()?;
            let gone = self.by_slot.remove(&oldest)?;
            self.by_name.remove(&gone);
        }
        let entry = Entry {
            slot: self.free_slot(name)?,
            mark: self.hash.hash(name.as_str().as_bytes()),
            holds: 0,
            used: self.uses,
        };
        let addresses = entry.addresses(&self.range);
        self.unused.insert((entry.used, entry.slot));
        self.by_slot.insert(entry.slot, name.clone());
        self.by_name.insert(name.clone(), entry);
        Some(addresses)
    }

    /// Returns the name that `address` stands for.
    #[must_use]
    pub fn name_of(&self, address: IpAddr) -> Option<&DomainName> {
        let name = self.by_slot.get(&self.range.slot_of(address)?)?;
        let addresses = self.by_name.get(name)?.addresses(&self.range);
        (address == addresses.v4 || address == addresses.v6).then_some(name)
    }

    /// Keeps the name that `address` stands for until it is released as often
    /// as it was held; returns whether there is one.
    pub fn hold(&mut self, address: IpAddr) -> bool {
        let Some(name) = self.name_of(address).cloned() else {
            return false;
        };
        if let Some(entry) = self.by_name.get_mut(&name) {
            self.unused.remove(&(entry.used, entry.slot));
            entry.holds = entry.holds.saturating_add(1);
        }
        true
    }

    /// Ends one [`hold`](Self::hold).
    pub fn release(&mut self, address: IpAddr) {
        let Some(name) = self.name_of(address).cloned() else {
            return;
        };
        if let Some(entry) = self.by_name.get_mut(&name)
            && entry.holds > 0
        {
            entry.holds -= 1;
            self.uses += 1;
            entry.used = self.uses;
            if entry.holds == 0 {
                self.unused.insert((entry.used, entry.slot));
            }
        }
    }

    /// Returns how many names have addresses.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Returns whether no name has an address.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    fn free_slot(&self, name: &DomainName) -> Option<u16> {
        (0..MAX_PROBES)
            .map(|attempt| {
                let hash = self.hash.hash(format!("{attempt} {name}").as_bytes());
                // Slot zero is the device's own address.
                u16::try_from(1 + hash % (u64::from(SLOTS) - 1)).unwrap_or(1)
            })
            .find(|slot| !self.by_slot.contains_key(slot))
    }
}

impl Entry {
    fn addresses(&self, range: &SyntheticRange) -> SyntheticAddresses {
        SyntheticAddresses {
            v4: range.v4_of(self.slot),
            v6: range.v6_of(self.slot, self.mark),
        }
    }
}

/// Lists where an IPv4 range may start, the least likely to be in anybody's
/// use first: shared address space (RFC 6598), benchmarking (RFC 2544), then
/// what is private (RFC 1918). `start` spreads machines over the first block,
/// of which carriers and other tunnels use the beginning.
fn candidates_v4(start: u64) -> impl Iterator<Item = Ipv4Addr> {
    let shared = (0..64).map(move |step| (100, 64 + ((start % 64) + step) % 64));
    let benchmarking = (18..20).map(|second| (198, second));
    let private = (0..256).rev().map(|second| (10, second));
    let middle = (16..32).rev().map(|second| (172, second));
    shared
        .chain(benchmarking)
        .chain(private)
        .chain(middle)
        .chain([(192, 168)])
        .filter_map(|(first, second)| Some(Ipv4Addr::new(first, u8::try_from(second).ok()?, 0, 0)))
}

fn unique_local(hash: u64) -> Ipv6Addr {
    let [_, a, b, c, d, e, f, g] = hash.to_be_bytes();
    let mut address = [0; 16];
    address[..8].copy_from_slice(&[0xfd, a, b, c, d, e, f, g]);
    Ipv6Addr::from(address)
}

/// Makes a prefix that starts at `base`, if it collides with nothing in use.
fn free<A: Copy + std::fmt::Display>(
    base: A,
    length: u8,
    in_use: &[Prefix],
) -> Option<(Prefix, A)> {
    let prefix: Prefix = format!("{base}/{length}").parse().ok()?;
    let collides = in_use
        .iter()
        .any(|used| !is_default_like(*used) && used.overlaps(prefix));
    (!collides).then_some((prefix, base))
}

/// Tells routes that mean "everywhere else" from those that mean a place: also
/// `0.0.0.0/1`, or `fc00::/7`, in which a random /64 meets nobody.
fn is_default_like(prefix: Prefix) -> bool {
    match prefix.address() {
        IpAddr::V4(_) => prefix.length() < 8,
        IpAddr::V6(_) => prefix.length() < 16,
    }
}

const V4_LENGTH: u8 = 16;
const V6_LENGTH: u8 = 64;

/// Addresses that end in 0 or 255 are left out: some programs take them for
/// networks and broadcasts.
const HOSTS: u16 = 254;

/// All slots of the IPv4 range.
const SLOTS: u16 = 256 * HOSTS;

/// One in eight slots: so a free one is found at once, and the table stays small.
const MAX_NAMES: usize = 8192;

/// With one slot in eight taken, that many fail once in 10^28.
const MAX_PROBES: u32 = 32;
