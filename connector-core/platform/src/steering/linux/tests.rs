//! Steering of a real kernel, packet filter and resolver file, each test in a
//! world of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use self::world::{
    PATIENCE, assert_same, block_on, inside, make_device, make_peer, peer_tcp, peer_udp, plan, run,
    snapshot, state, try_run, wait_until,
};
use crate::steering::{MARK, Mended, NetworkChanges, Part, Plan, Steering, ranges_in_use, repair};

mod killed;
mod leaks;
mod world;

#[test]
fn up_change_and_down_leave_the_machine_as_it_was() {
    inside("up_change_and_down_leave_the_machine_as_it_was", || {
        make_device();
        make_peer();
        run("mkdir /run/resolver; echo 'nameserver 10.9.0.2' > /run/resolver/theirs");
        for resolver in [
            "printf 'search a.example\\nnameserver 10.9.0.2\\n' > /etc/resolv.conf; chmod 640 /etc/resolv.conf",
            "rm /etc/resolv.conf; ln -s ../run/resolver/theirs /etc/resolv.conf",
            "rm /etc/resolv.conf; touch /etc/resolv.conf; mount --bind /run/resolver/theirs /etc/resolv.conf",
            "umount /etc/resolv.conf; rm /etc/resolv.conf",
        ] {
            run(resolver);
            let before = snapshot();

            let steered = block_on(async {
                let mut steering = Steering::start(state(), plan()).await.unwrap();
                let steered = snapshot();
                steering.change(smaller()).await.unwrap();
                assert!(snapshot() != steered, "{resolver}");
                steering.change(plan()).await.unwrap();
                assert_same(&snapshot(), &steered, resolver);
                steering.stop().await.unwrap();
                steered
            });

            assert!(steered != before, "{resolver}");
            assert!(steered.contains("\nnameserver 198.18.0.1\n"), "{steered}");
            assert_same(&snapshot(), &before, resolver);
            assert!(!state().path("steering.json").exists());
        }
    });
}

#[test]
fn no_route_of_the_network_comes_before_ours() {
    inside("no_route_of_the_network_comes_before_ours", || {
        make_device();
        make_peer();
        run("ip route add 10.20.0.128/25 via 10.9.0.2
             ip route add 10.20.0.200/32 via 10.9.0.2
             ip -6 route add fd7a::77/128 via fd09::2");
        let way = |to: &str| run(&format!("ip route get {to}"));
        assert!(way("10.20.0.200").contains("dev eth0"));

        let steering = block_on(Steering::start(state(), plan())).unwrap();

        for address in ["10.20.0.1", "10.20.0.200", "198.18.7.7", "fd7a::77"] {
            assert!(way(address).contains("dev ztna0"), "{address}");
            let marked = format!("{address} mark {MARK}");
            assert!(way(&marked).contains("dev eth0"), "{address}");
        }
        assert!(way("10.9.0.2").contains("dev eth0"));
        run("ip link delete ztna0");
        for address in ["10.20.0.1", "fd7a::77"] {
            let output = try_run(&format!("ip route get {address}"));
            assert!(!output.status.success(), "{address}");
        }
        drop(steering);
    });
}

#[test]
fn what_somebody_else_removes_is_back_within_a_second() {
    inside("what_somebody_else_removes_is_back_within_a_second", || {
        make_device();
        make_peer();
        // Its multicast route comes with the second time that it is up.
        run(BOUNCE);
        run("echo 'nameserver 10.9.0.2' > /etc/resolv.conf");
        block_on(async {
            let mut steering = Steering::start(state(), plan()).await.unwrap();
            let steered = snapshot();
            for (line, part) in [
                (
                    "ip route delete 10.20.0.0/24 dev ztna0 table 5182",
                    Part::Routes,
                ),
                ("ip route flush table 5182", Part::Routes),
                ("ip rule delete preference 100", Part::Routes),
                ("ip -6 rule delete preference 100", Part::Routes),
                (BOUNCE, Part::Routes),
                ("nft flush ruleset", Part::Guard),
                ("nft delete table arp ztna", Part::Guard),
                ("nft flush chain inet ztna leaving", Part::Guard),
                ("nft insert rule inet ztna leaving accept", Part::Guard),
                (
                    "nft delete element inet ztna protected4 { 10.20.0.0/24 }",
                    Part::Guard,
                ),
                ("rm /etc/resolv.conf", Part::Resolver),
                (
                    "sed -i 's/198.18.0.1/10.9.0.9/' /etc/resolv.conf",
                    Part::Resolver,
                ),
                (
                    "echo nameserver 10.9.0.2 > /etc/resolv.conf",
                    Part::Resolver,
                ),
            ] {
                run(line);
                let start = Instant::now();

                let mended = mended(&mut steering).await;

                assert_eq!(mended.part, part, "{line}");
                assert_eq!(mended.problem, None, "{line}");
                assert!(start.elapsed() < Duration::from_secs(1), "{line}");
                // One line may take two looks.
                while snapshot() != steered && start.elapsed() < Duration::from_secs(1) {
                    let _ =
                        tokio::time::timeout(Duration::from_millis(100), steering.watch()).await;
                }
                assert_same(&snapshot(), &steered, line);
            }
            let quiet = tokio::time::timeout(Duration::from_millis(300), steering.watch()).await;
            assert!(quiet.is_err(), "{quiet:?}: own changes are not mended");
        });
    });
}

#[test]
fn a_device_that_goes_is_told_of_and_one_that_comes_is_used() {
    inside(
        "a_device_that_goes_is_told_of_and_one_that_comes_is_used",
        || {
            make_device();
            block_on(async {
                let mut steering = Steering::start(state(), plan()).await.unwrap();
                let steered = snapshot();
                run("ip link delete ztna0");

                let gone = mended(&mut steering).await;
                make_device();
                let back = mended(&mut steering).await;

                assert_eq!(gone.part, Part::Routes);
                assert!(gone.to_string().contains("ztna0 is not there"), "{gone}");
                assert_eq!(back.problem, None);
                assert_same(&snapshot(), &steered, "in the end");
            });
        },
    );
}

#[test]
fn what_others_make_of_the_resolver_is_followed_and_left_in_the_end() {
    inside(
        "what_others_make_of_the_resolver_is_followed_and_left_in_the_end",
        || {
            make_device();
            fs::write("/etc/resolv.conf", "nameserver 10.9.0.2\n").unwrap();
            block_on(async {
                let mut steering = Steering::start(state(), plan()).await.unwrap();
                let mut upstreams = steering.upstreams();
                assert_eq!(
                    *upstreams.borrow_and_update(),
                    ["10.9.0.2:53".parse().unwrap()]
                );

                fs::write(
                    "/etc/resolv.conf",
                    "nameserver 10.9.0.3\nnameserver 198.18.0.1x\n",
                )
                .unwrap();
                fs::set_permissions("/etc/resolv.conf", fs::Permissions::from_mode(0o600)).unwrap();
                let told = mended(&mut steering).await;

                assert_eq!(told.part, Part::Resolver);
                assert_eq!(
                    *upstreams.borrow_and_update(),
                    ["10.9.0.3:53".parse().unwrap()]
                );
                let ours = fs::read_to_string("/etc/resolv.conf").unwrap();
                assert!(ours.contains("\nnameserver 198.18.0.1\n"), "{ours}");
                steering.stop().await.unwrap();
            });
            let left = fs::read_to_string("/etc/resolv.conf").unwrap();
            assert!(left.starts_with("nameserver 10.9.0.3\n"), "{left}");
        },
    );
}

#[test]
fn a_link_that_leads_elsewhere_is_followed_to_its_new_text() {
    inside(
        "a_link_that_leads_elsewhere_is_followed_to_its_new_text",
        || {
            make_device();
            run(
                "mkdir /run/resolver; echo nameserver 10.9.0.2 > /run/resolver/theirs
             ln -s /run/resolver/theirs /etc/resolv.conf",
            );
            block_on(async {
                let mut steering = Steering::start(state(), plan()).await.unwrap();
                let mut upstreams = steering.upstreams();
                upstreams.mark_unchanged();

                run(
                    "echo nameserver 10.9.0.4 > /run/resolver/new; mv /run/resolver/new /run/resolver/theirs",
                );
                tokio::select! {
                    told = steering.watch() => panic!("{told}"),
                    changed = tokio::time::timeout(PATIENCE, upstreams.changed()) => changed.unwrap().unwrap(),
                }

                assert_eq!(*upstreams.borrow(), ["10.9.0.4:53".parse().unwrap()]);
            });
        },
    );
}

#[test]
fn what_a_dead_process_left_is_repaired_once() {
    inside("what_a_dead_process_left_is_repaired_once", || {
        make_device();
        fs::write("/etc/resolv.conf", "nameserver 10.9.0.2\n").unwrap();
        let before = snapshot();
        drop(block_on(Steering::start(state(), plan())).unwrap());
        let steered = snapshot();
        assert!(steered != before);

        let told = repair(&state(), true).unwrap();
        assert_same(&snapshot(), &steered, "in the end");
        let undone = repair(&state(), false).unwrap();

        assert_eq!(undone, told);
        assert_eq!(undone.len(), 3, "{undone:?}");
        assert_same(&snapshot(), &before, "in the end");
        assert_eq!(repair(&state(), false).unwrap(), []);
    });
}

#[test]
fn a_process_after_a_dead_one_takes_over_without_a_gap() {
    inside(
        "a_process_after_a_dead_one_takes_over_without_a_gap",
        || {
            make_device();
            fs::write("/etc/resolv.conf", "nameserver 10.9.0.2\n").unwrap();
            let before = snapshot();
            drop(block_on(Steering::start(state(), smaller())).unwrap());

            block_on(async {
                let steering = Steering::start(state(), plan()).await.unwrap();
                assert!(snapshot().contains("10.20.0.0/24"));
                steering.stop().await.unwrap();
            });

            assert_same(&snapshot(), &before, "in the end");
        },
    );
}

#[test]
fn what_belongs_to_others_is_not_touched() {
    inside("what_belongs_to_others_is_not_touched", || {
        make_device();
        run("ip route add 10.77.0.0/16 dev ztna0 table 5182
             ip rule add preference 100 lookup 5182
             nft add table inet ztna");
        let before = snapshot();

        let refused = block_on(Steering::start(state(), plan())).unwrap_err();
        assert!(
            refused.to_string().contains("nft delete table"),
            "{refused}"
        );
        assert_same(&snapshot(), &before, "in the end");

        run("nft delete table inet ztna");
        let before = snapshot();
        block_on(async {
            let steering = Steering::start(state(), plan()).await.unwrap();
            assert!(snapshot().contains("table 5183"));
            steering.stop().await.unwrap();
        });
        assert_same(&snapshot(), &before, "in the end");
    });
}

#[test]
fn a_plan_that_cannot_be_carried_out_leaves_nothing() {
    inside("a_plan_that_cannot_be_carried_out_leaves_nothing", || {
        let before = snapshot();
        let everything = Plan {
            prefixes: vec!["0.0.0.0/0".parse().unwrap()],
            ..plan()
        };
        let injected = Plan {
            device: "x\" accept #".to_owned(),
            ..plan()
        };
        for (plan, problem) in [
            (plan(), "ztna0 is not there"),
            (everything, "the whole address space"),
            (injected, "no name for a tunnel's device"),
        ] {
            let refused = block_on(Steering::start(state(), plan)).unwrap_err();

            assert!(refused.to_string().contains(problem), "{refused}");
            assert_same(&snapshot(), &before, "in the end");
        }
    });
}

#[test]
fn ranges_in_use_are_those_of_others() {
    inside("ranges_in_use_are_those_of_others", || {
        make_device();
        make_peer();
        run("ip route add 10.77.0.0/16 via 10.9.0.2 table 99");
        let steering = block_on(Steering::start(state(), plan())).unwrap();

        let ranges: Vec<String> = ranges_in_use()
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();

        for range in [
            "10.9.0.0/24",
            "10.77.0.0/16",
            "127.0.0.0/8",
            "fd09::/64",
            "198.18.0.1/32",
        ] {
            assert!(
                ranges.iter().any(|other| other == range),
                "{range}: {ranges:?}"
            );
        }
        for range in ["10.20.0.0/24", "0.0.0.0/0", "::/0"] {
            assert!(
                !ranges.iter().any(|other| other == range),
                "{range}: {ranges:?}"
            );
        }
        drop(steering);
    });
}

#[test]
fn changes_of_the_network_are_told_within_milliseconds() {
    inside(
        "changes_of_the_network_are_told_within_milliseconds",
        || {
            make_device();
            make_peer();
            // Its addresses are probed for, and told of, seconds later.
            run("echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6");
            block_on(async {
                let mut changes = NetworkChanges::listen().unwrap();
                run("ip route add 10.78.0.0/16 via 10.9.0.2
                 ip address change 10.9.0.1/24 dev eth0 valid_lft 1000 preferred_lft 1000");
                let told = tokio::time::timeout(QUIET, changes.next()).await;
                assert!(told.is_err(), "nothing that matters has changed");

                for line in [
                    "ip address add 10.9.0.7/24 dev eth0",
                    "ip address delete 10.9.0.7/24 dev eth0",
                    "ip route delete default via 10.9.0.2",
                    "ip route add default via 10.9.0.2",
                    "ip link set eth0 down",
                    "ip link set eth0 up",
                    "ip link delete eth0",
                ] {
                    run(line);
                    let start = Instant::now();
                    tokio::time::timeout(PATIENCE, changes.next())
                        .await
                        .expect(line);
                    assert!(start.elapsed() < QUIET, "{line}");
                    while tokio::time::timeout(QUIET, changes.next()).await.is_ok() {}
                }
            });
        },
    );
}

async fn mended(steering: &mut Steering) -> Mended {
    tokio::time::timeout(PATIENCE, steering.watch())
        .await
        .expect("it is mended")
}

fn smaller() -> Plan {
    let mut plan = plan();
    plan.prefixes.remove(1);
    plan.dns.suffixes.pop();
    plan
}

/// Takes the device down and up; the kernel forgets its routes, and its IPv6 address.
const BOUNCE: &str =
    "ip link set ztna0 down; ip link set ztna0 up; ip address add fd7a::1/128 dev ztna0 nodad";

/// Longer than any notice takes.
const QUIET: Duration = Duration::from_millis(100);
