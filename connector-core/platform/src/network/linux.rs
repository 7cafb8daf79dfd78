use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use connector_core::network::NetworkKind;

pub(super) fn kind() -> NetworkKind {
    kind_below(Path::new("/"))
}

fn kind_below(root: &Path) -> NetworkKind {
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap_or_default();
    let (v4, v6) = (read("proc/net/route"), read("proc/net/ipv6_route"));
    let devices: BTreeSet<&str> = preferred(v4.lines().filter_map(default_v4))
        .chain(preferred(v6.lines().filter_map(default_v6)))
        .collect();

    let mut kinds = devices
        .iter()
        .map(|name| kind_of(&root.join("sys/class/net").join(name)));
    let first = kinds.next().unwrap_or_default();
    if kinds.all(|kind| kind == first) {
        first
    } else {
        NetworkKind::Unknown
    }
}

/// A default route, and how it stands to others: the lowest metric is used.
struct Route<'a> {
    device: &'a str,
    metric: u32,
}

/// Returns the devices of the routes that are used.
fn preferred<'a>(routes: impl Iterator<Item = Route<'a>>) -> impl Iterator<Item = &'a str> {
    let routes: Vec<Route<'_>> = routes.collect();
    let least = routes.iter().map(|route| route.metric).min();
    routes
        .into_iter()
        .filter(move |route| Some(route.metric) == least)
        .map(|route| route.device)
}

/// Reads a line of `/proc/net/route`: device, destination, gateway, flags, two counters, metric,
/// mask and more, with numbers in hex but for counters and metric.
fn default_v4(line: &str) -> Option<Route<'_>> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [device, destination, _, flags, _, _, metric, mask, ..] = *fields else {
        return None;
    };
    let is_default = destination == "00000000" && mask == "00000000";
    (is_default && is_in_use(flags)).then_some(Route {
        device,
        metric: metric.parse().ok()?,
    })
}

/// Reads a line of `/proc/net/ipv6_route`: destination and its length, source and its length, next
/// hop, metric, two counters, flags and device, with numbers in hex.
fn default_v6(line: &str) -> Option<Route<'_>> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [destination, length, _, _, _, metric, _, _, flags, device] = *fields else {
        return None;
    };
    let is_default = length == "00" && destination.bytes().all(|digit| digit == b'0');
    (is_default && is_in_use(flags)).then_some(Route {
        device,
        metric: u32::from_str_radix(metric, 16).ok()?,
    })
}

/// Returns whether a route is up, and is not there to refuse.
fn is_in_use(flags: &str) -> bool {
    let flags = u32::from_str_radix(flags, 16).unwrap_or_default();
    flags & ROUTE_UP != 0 && flags & ROUTE_REJECT == 0
}

/// Tells the kind of a device from its folder in sysfs. What is made by software, as bridges and
/// tunnels are, has no hardware behind it that would tell.
fn kind_of(device: &Path) -> NetworkKind {
    let read = |file: &str| fs::read_to_string(device.join(file)).unwrap_or_default();
    let uevent = read("uevent");
    let has = |file: &str| device.join(file).symlink_metadata().is_ok();
    if uevent.lines().any(|line| line == "DEVTYPE=wwan") {
        NetworkKind::Cellular
    } else if has("wireless") || has("phy80211") {
        NetworkKind::Wireless
    } else if read("type").trim() == ETHERNET
        && has("device")
        && !uevent.lines().any(|line| line.starts_with("DEVTYPE="))
    {
        NetworkKind::Wired
    } else {
        NetworkKind::Unknown
    }
}

/// `RTF_UP` of `linux/route.h`.
const ROUTE_UP: u32 = 0x1;

/// `RTF_REJECT` of `linux/route.h`.
const ROUTE_REJECT: u32 = 0x200;

/// `ARPHRD_ETHER` of `linux/if_arp.h`.
const ETHERNET: &str = "1";

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_device_is_told_by_what_the_kernel_says_of_it() {
        let machine = Machine::new();
        for (device, kind) in [
            ("eth0", NetworkKind::Wired),
            ("wlan0", NetworkKind::Wireless),
            ("wwan0", NetworkKind::Cellular),
            ("bridge0", NetworkKind::Unknown),
            ("tun0", NetworkKind::Unknown),
            ("bluetooth0", NetworkKind::Unknown),
            ("gone0", NetworkKind::Unknown),
        ] {
            machine.routes(&[(device, "0003", 100)], &[]);
            assert_eq!(machine.kind(), kind, "{device}");
        }
    }

    #[test]
    fn the_default_route_that_is_used_counts() {
        let machine = Machine::new();

        machine.routes(&[("wlan0", "0003", 600), ("eth0", "0003", 100)], &[]);
        assert_eq!(machine.kind(), NetworkKind::Wired);
        machine.routes(&[("wlan0", "0003", 600), ("eth0", "0002", 100)], &[]);
        assert_eq!(machine.kind(), NetworkKind::Wireless);
        machine.routes(&[("wlan0", "0003", 600), ("eth0", "0201", 100)], &[]);
        assert_eq!(machine.kind(), NetworkKind::Wireless);
        machine.routes(&[], &[("wlan0", "00000003"), ("lo", "00200200")]);
        assert_eq!(machine.kind(), NetworkKind::Wireless);
    }

    #[test]
    fn without_a_default_route_and_with_differing_ones_nobody_knows() {
        let machine = Machine::new();
        assert_eq!(machine.kind(), NetworkKind::Unknown);

        machine.routes(&[("wlan0", "0003", 100), ("eth0", "0003", 100)], &[]);
        assert_eq!(machine.kind(), NetworkKind::Unknown);
        machine.routes(&[("eth0", "0003", 100)], &[("wlan0", "00000003")]);
        assert_eq!(machine.kind(), NetworkKind::Unknown);
        machine.routes(&[("eth0", "0003", 100)], &[("eth0", "00000003")]);
        assert_eq!(machine.kind(), NetworkKind::Wired);
    }

    struct Machine(TempDir);

    impl Machine {
        fn new() -> Self {
            let machine = Self(tempfile::tempdir().unwrap());
            for (device, uevent, marks) in [
                ("eth0", "", &["device"][..]),
                ("wlan0", "DEVTYPE=wlan\n", &["device", "phy80211"]),
                ("wwan0", "DEVTYPE=wwan\n", &["device"]),
                ("bridge0", "DEVTYPE=bridge\n", &[]),
                ("tun0", "", &[]),
                ("bluetooth0", "DEVTYPE=bluetooth\n", &["device"]),
            ] {
                let folder = machine.0.path().join("sys/class/net").join(device);
                for mark in marks {
                    fs::create_dir_all(folder.join(mark)).unwrap();
                }
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join("uevent"), uevent).unwrap();
                fs::write(folder.join("type"), "1\n").unwrap();
            }
            fs::create_dir_all(machine.0.path().join("proc/net")).unwrap();
            machine
        }

        /// Sets the default routes, with another route beside them.
        fn routes(&self, v4: &[(&str, &str, u32)], v6: &[(&str, &str)]) {
            let mut text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n\
                            wwan0\t0000FEA9\t00000000\t0001\t0\t0\t1\t0000FFFF\t0\t0\t0\n"
                .to_owned();
            for (device, flags, metric) in v4 {
                text += &format!(
                    "{device}\t00000000\t0102A8C0\t{flags}\t0\t0\t{metric}\t00000000\t0\t0\t0\n"
                );
            }
            fs::write(self.0.path().join("proc/net/route"), text).unwrap();
            let none = "0".repeat(32);
            let mut text = format!(
                "fe800000000000000000000000000000 40 {none} 00 {none} 00000100 00000001 00000000 00000001 wwan0\n"
            );
            for (device, flags) in v6 {
                text += &format!(
                    "{none} 00 {none} 00 fe800000000000000000000000000001 00000400 00000001 00000000 {flags} {device}\n"
                );
            }
            fs::write(self.0.path().join("proc/net/ipv6_route"), text).unwrap();
        }

        fn kind(&self) -> NetworkKind {
            kind_below(self.0.path())
        }
    }
}
