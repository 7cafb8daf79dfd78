use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;

use nix::sys::socket::{getsockopt, sockopt};

use super::{Host, Surroundings};

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

pub(super) fn path_mtu(destination: SocketAddr) -> Option<u32> {
    if !destination.is_ipv4() {
        return None;
    }
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(destination).ok()?;
    let mtu = getsockopt(&socket, sockopt::IpMtu).ok()?;
    u32::try_from(mtu).ok()
}

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
        assert!(path_mtu("127.0.0.1:9".parse().unwrap()).is_some_and(|mtu| mtu >= 1500));
    }
}
