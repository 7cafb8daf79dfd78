//! The first set of checks, on machines of every kind.

use connector_core::posture::Finding::{self, Fail, Pass, Unknown};
use posture::builtin_checks;

use crate::tree::Tree;

const LUKS: &str = "CRYPT-LUKS2-00112233445566778899aabbccddeeff-cryptroot";

#[test]
fn where_nothing_can_be_seen_nothing_passes() {
    let container = Tree::empty()
        .process(1, "sh", 0, 0)
        .root_on("overlay", "overlay")
        .file("/etc/os-release", "ID=debian\nVERSION_ID=13\n")
        .file("/etc/ufw/ufw.conf", "ENABLED=yes\n");

    for tree in [Tree::empty(), container] {
        for check in builtin_checks() {
            let measured = tree.measure(check.id.as_str());

            assert_eq!(
                measured.finding, Unknown,
                "{}: {}",
                check.id, measured.evidence
            );
            assert!(!measured.evidence.is_empty());
        }
    }
}

#[test]
fn a_container_that_shares_the_machines_processes_still_hides_its_system() {
    let machine = || {
        Tree::laptop()
            .active("firewalld.service")
            .file("/etc/os-release", "ID=debian\nVERSION_ID=13\n")
    };

    for (tree, finding) in [
        (machine(), Pass),
        (machine().file("/run/.containerenv", ""), Unknown),
        (machine().file("/run/systemd/container", "lxc"), Unknown),
        (machine().root_on("overlay", "overlay"), Unknown),
    ] {
        expect(&tree, "os-version", finding);
        expect(&tree, "firewall", finding);
        expect(&tree, "forbidden-process", Pass);
    }
}

#[test]
fn a_release_passes_until_its_support_ends() {
    for (release, finding) in [
        ("ID=debian\nVERSION_ID=\"13\"", Pass),
        ("ID=rhel\nVERSION_ID=\"9.4\"", Pass),
        ("ID=ubuntu\nVERSION_ID=\"24.04\"", Pass),
        ("ID=ubuntu\nVERSION_ID=\"20.04\"", Fail),
        ("ID=debian\nVERSION_ID=\"11\"", Fail),
        ("ID=ubuntu\nVERSION_ID=\"24.10\"", Unknown),
        ("ID=debian", Unknown),
        ("ID=arch\nBUILD_ID=rolling", Unknown),
        (
            "ID=linuxmint\nVERSION_ID=22\nID_LIKE=\"ubuntu debian\"",
            Unknown,
        ),
        ("\0\0garbage==", Unknown),
    ] {
        expect(
            &Tree::laptop().file("/etc/os-release", release),
            "os-version",
            finding,
        );
    }
}

#[test]
fn the_root_file_system_is_encrypted_when_all_below_it_is() {
    for (what, tree, finding) in [
        (
            "plain partition",
            partitioned().root_on("/dev/sda1", "ext4"),
            Fail,
        ),
        (
            "LUKS",
            on_luks().root_on("/dev/mapper/cryptroot", "ext4"),
            Pass,
        ),
        (
            "LUKS by the kernel's name",
            on_luks().root_on("/dev/dm-0", "btrfs"),
            Pass,
        ),
        ("LVM on LUKS", volume(&["dm-0"]), Pass),
        (
            "LVM on LUKS and a plain partition",
            volume(&["dm-0", "sda2"]),
            Fail,
        ),
        (
            "LVM on LUKS and something unseen",
            volume(&["dm-0", "sdz9"]),
            Unknown,
        ),
        ("LVM on plain", volume(&["sda2"]), Fail),
        (
            "verity",
            partitioned()
                .mapped(
                    "dm-0",
                    "root",
                    "CRYPT-VERITY-00112233445566778899aabbccddeeff-root",
                    &["sda1"],
                )
                .root_on("/dev/mapper/root", "squashfs"),
            Fail,
        ),
    ] {
        let measured = tree.measure("disk-encryption");
        assert_eq!(measured.finding, finding, "{what}: {}", measured.evidence);
    }
}

#[test]
fn encryption_is_followed_through_what_disks_are_stacked_with() {
    for (what, tree, finding) in [
        (
            "a partition of a RAID on LUKS",
            on_luks()
                .disk("md0", &["dm-0"])
                .partition("md0", "md0p1")
                .root_on("/dev/md0p1", "ext4"),
            Pass,
        ),
        (
            "a link to LUKS",
            on_luks()
                .link("/dev/vg/root", "../dm-0")
                .root_on("/dev/vg/root", "ext4"),
            Pass,
        ),
        (
            "btrfs over LUKS and a plain disk",
            on_luks()
                .directory("/sys/fs/btrfs/u/devices/dm-0")
                .directory("/sys/fs/btrfs/u/devices/sda2")
                .root_on("/dev/mapper/cryptroot", "btrfs"),
            Unknown,
        ),
        ("a device that stands on itself", volume(&["dm-1"]), Unknown),
        (
            "a file",
            partitioned()
                .disk("loop0", &[])
                .root_on("/dev/loop0", "ext4"),
            Unknown,
        ),
        (
            "a device of no known kind",
            partitioned().root_on("/dev/root", "ext4"),
            Unknown,
        ),
        ("ZFS", partitioned().root_on("rpool/ROOT", "zfs"), Unknown),
        ("no mounts", partitioned(), Unknown),
        (
            "two roots, one plain",
            on_luks().file(
                "/proc/self/mounts",
                "/dev/dm-0 / ext4 rw 0 0\n/dev/sda2 / ext4 rw 0 0\n",
            ),
            Fail,
        ),
        (
            "a mapped device without a mark",
            partitioned()
                .mapped("dm-0", "root", "", &[])
                .root_on("/dev/mapper/root", "ext4"),
            Unknown,
        ),
    ] {
        let measured = tree.measure("disk-encryption");
        assert_eq!(measured.finding, finding, "{what}: {}", measured.evidence);
    }
}

#[test]
fn encryption_names_its_kind_and_device() {
    let tree = Tree::empty().mapped("dm-0", "cryptroot", LUKS, &["sda1"]);

    let shown = tree.value(
        "SELECT name || '|' || uuid || '|' || encrypted || '|' || type FROM disk_encryption",
    );

    assert_eq!(
        shown,
        "/dev/dm-0|00112233-4455-6677-8899-aabbccddeeff|1|luks2"
    );
}

#[test]
fn a_firewall_counts_when_it_is_active() {
    let ufw = |setting: &str| {
        Tree::laptop()
            .active("ufw.service")
            .file("/etc/ufw/ufw.conf", setting)
    };

    for (what, tree, finding) in [
        ("none", Tree::laptop(), Fail),
        (
            "firewalld",
            Tree::laptop().active("firewalld.service"),
            Pass,
        ),
        ("nftables", Tree::laptop().active("nftables.service"), Pass),
        (
            "firewalld, enabled but stopped",
            Tree::laptop().file(
                "/etc/systemd/system/multi-user.target.wants/firewalld.service",
                "",
            ),
            Fail,
        ),
        (
            "ufw",
            ufw("# set by ufw\nENABLED=yes\nLOGLEVEL=low\n"),
            Pass,
        ),
        ("ufw off", ufw("ENABLED=no\n"), Fail),
        (
            "ufw off, a comment says on",
            ufw("#ENABLED=yes\nENABLED=no\n"),
            Fail,
        ),
        (
            "ufw without its configuration",
            Tree::laptop().active("ufw.service"),
            Unknown,
        ),
        (
            "ufw with another's configuration",
            ufw("\0\u{1}garbage"),
            Unknown,
        ),
        (
            "ufw's configuration without its service",
            Tree::laptop().file("/etc/ufw/ufw.conf", "ENABLED=yes\n"),
            Fail,
        ),
        (
            "a pipe or directory for a configuration",
            Tree::laptop()
                .active("ufw.service")
                .directory("/etc/ufw/ufw.conf"),
            Unknown,
        ),
        (
            "no systemd",
            Tree::empty().process(2, "kthreadd", 0, 0),
            Unknown,
        ),
    ] {
        let measured = tree.measure("firewall");
        assert_eq!(measured.finding, finding, "{what}: {}", measured.evidence);
    }
}

#[test]
fn a_listed_process_fails_even_where_only_a_part_is_seen() {
    expect(&Tree::laptop(), "forbidden-process", Pass);
    expect(
        &Tree::laptop().process(9, "AnyDesk", 1, 1000),
        "forbidden-process",
        Fail,
    );
    expect(
        &Tree::empty().process(9, "rustdesk", 1, 1000),
        "forbidden-process",
        Fail,
    );
    expect(
        &Tree::laptop().process(9, "anydesk-notes", 1, 1000),
        "forbidden-process",
        Pass,
    );
}

#[test]
fn a_machine_must_have_been_restarted_within_thirty_days() {
    for (uptime, finding) in [
        ("100.5 3.0\n", Pass),
        ("2591999.99 3.0\n", Pass),
        ("2592000.00 3.0\n", Fail),
        ("soon", Unknown),
        ("", Unknown),
    ] {
        expect(
            &Tree::empty().file("/proc/uptime", uptime),
            "uptime",
            finding,
        );
    }
}

fn partitioned() -> Tree {
    Tree::laptop()
        .disk("sda", &[])
        .partition("sda", "sda1")
        .partition("sda", "sda2")
}

fn on_luks() -> Tree {
    partitioned().mapped("dm-0", "cryptroot", LUKS, &["sda1"])
}

/// Returns a machine whose root is a logical volume on `slaves`.
fn volume(slaves: &[&str]) -> Tree {
    on_luks()
        .mapped("dm-1", "vg-root", "LVM-abc", slaves)
        .root_on("/dev/mapper/vg-root", "ext4")
}

fn expect(tree: &Tree, check: &str, finding: Finding) {
    let measured = tree.measure(check);
    assert_eq!(measured.finding, finding, "{check}: {}", measured.evidence);
}
