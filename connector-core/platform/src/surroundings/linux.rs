use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::sys::socket::{getsockopt, setsockopt, sockopt};

use super::{Host, Surroundings};
use crate::steering::MARK;

pub(super) fn look() -> Surroundings {
    Surroundings {
        host: host(Path::new("/")),
        bridges: devices(Path::new("/sys/class/net"), is_bridge),
        tunnels: devices(Path::new("/sys/class/net"), is_tunnel),
    }
}

fn host(root: &Path) -> Option<Host> {
    let kernel = fs::read_to_string(root.join("proc/sys/kernel/osrelease")).unwrap_or_default();
    if kernel.to_ascii_lowercase().contains("microsoft") {
        return Some(Host::Wsl);
    }
    let marks = [".dockerenv", "run/.containerenv"];
    marks
        .iter()
        .any(|mark| root.join(mark).exists())
        .then_some(Host::Container)
}

/// Returns the names of the network devices that are so.
fn devices(folder: &Path, are_so: fn(&Path) -> bool) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let devices = entries.filter_map(Result::ok);
    let mut names: Vec<String> = devices
        .filter(|device| are_so(&device.path()))
        .map(|device| device.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    names
}

/// Returns whether the kernel knows the device as TUN, TAP or WireGuard.
fn is_tunnel(device: &Path) -> bool {
    device.join("tun_flags").exists() || is_of_type(device, "DEVTYPE=wireguard")
}

fn is_bridge(device: &Path) -> bool {
    is_of_type(device, "DEVTYPE=bridge")
}

fn is_of_type(device: &Path, wanted: &str) -> bool {
    let uevent = fs::read_to_string(device.join("uevent")).unwrap_or_default();
    uevent.lines().any(|line| line == wanted)
}

pub(super) fn path_mtus(destinations: &[SocketAddr]) -> Vec<Option<u32>> {
    let sockets: Vec<Option<UdpSocket>> = destinations.iter().map(knock).collect();
    thread::sleep(ANSWER_LIMIT);
    let mtu = |socket: &UdpSocket| {
        let mtu = getsockopt(socket, sockopt::IpMtu).ok()?;
        u32::try_from(mtu).ok()
    };
    let sockets = sockets.iter().map(Option::as_ref);
    sockets.map(|socket| socket.and_then(mtu)).collect()
}

/// Sends what may not be divided (the system's way with datagrams that its own network takes),
/// twice, since one may get lost.
fn knock(destination: &SocketAddr) -> Option<UdpSocket> {
    if !destination.is_ipv4() {
        return None;
    }
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // Beside the tunnel, as its own packets go; without the right to, it goes as any other.
    let _ = setsockopt(&socket, sockopt::Mark, &MARK);
    socket.connect(destination).ok()?;
    for _ in 0..2 {
        // One that this machine's own network does not take says so by its length.
        let _ = socket.send(&LONG);
    }
    Some(socket)
}

/// What Ethernet carries, less the headers of IPv4 and UDP.
const LONG: [u8; 1472] = [0; 1472];

const ANSWER_LIMIT: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tunnels_and_bridges_are_told_from_other_devices() {
        let folder = tempfile::tempdir().unwrap();
        for (name, file, content) in [
            ("wg0", "uevent", "DEVTYPE=wireguard\nINTERFACE=wg0\n"),
            ("tun7", "tun_flags", "0x1001\n"),
            ("docker0", "uevent", "DEVTYPE=bridge\nINTERFACE=docker0\n"),
            ("eth0", "uevent", "INTERFACE=eth0\n"),
        ] {
            let device = folder.path().join(name);
            fs::create_dir(&device).unwrap();
            fs::write(device.join(file), content).unwrap();
        }

        assert_eq!(devices(folder.path(), is_tunnel), ["tun7", "wg0"]);
        assert_eq!(devices(folder.path(), is_bridge), ["docker0"]);
        assert!(devices(&folder.path().join("nowhere"), is_tunnel).is_empty());
    }

    #[test]
    fn what_the_system_runs_in_is_told_by_its_marks() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(host(root.path()), None);

        fs::write(root.path().join(".dockerenv"), "").unwrap();
        assert_eq!(host(root.path()), Some(Host::Container));

        fs::create_dir_all(root.path().join("proc/sys/kernel")).unwrap();
        let release = root.path().join("proc/sys/kernel/osrelease");
        fs::write(release, "5.15.90.1-microsoft-standard-WSL2\n").unwrap();
        assert_eq!(host(root.path()), Some(Host::Wsl));
    }

    #[test]
    fn the_way_to_this_machine_takes_long_packets() {
        let near = path_mtus(&["127.0.0.1:9".parse().unwrap()]);

        assert!(near[0].is_some_and(|mtu| mtu >= 1500), "{near:?}");
    }
}
