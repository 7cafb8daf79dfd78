//! A process that is killed at any of its system calls leaves nothing that cannot
//! be repaired.

use std::process::Command;

use super::*;

#[test]
fn killed_at_any_system_call_it_is_repaired() {
    inside("killed::killed_at_any_system_call_it_is_repaired", || {
        sweep("echo nameserver 10.9.0.2 > /etc/resolv.conf");
    });
}

#[test]
fn killed_while_the_resolvers_file_is_a_mount_it_is_repaired() {
    inside(
        "killed::killed_while_the_resolvers_file_is_a_mount_it_is_repaired",
        || {
            sweep(
                "mkdir /run/resolver; echo nameserver 10.9.0.2 > /run/resolver/theirs
                 touch /etc/resolv.conf; mount --bind /run/resolver/theirs /etc/resolv.conf",
            );
        },
    );
}

fn sweep(resolver: &str) {
    make_device();
    run(resolver);
    let before = snapshot();
    let mut kills = 0;
    for calls in [
        "write,ftruncate",
        "sendto",
        "fsync,rename,unlink,unlinkat",
        "clone3,vfork,clone,memfd_create",
    ] {
        for number in 1.. {
            let was_killed = victim(calls, number);

            repair(&state(), false).unwrap();

            assert_same(
                &snapshot(),
                &before,
                &format!("killed at {calls} number {number}"),
            );
            if !was_killed {
                break;
            }
            kills += 1;
        }
    }
    assert!(kills > 40, "only {kills} kills");
}

/// The process that is killed: goes up, changes and goes down.
#[test]
fn victim_of_the_test_above() {
    if std::env::var_os(VICTIM).is_none() {
        return;
    }
    block_on(async {
        let mut steering = Steering::start(state(), smaller()).await.unwrap();
        steering.change(plan()).await.unwrap();
        steering.stop().await.unwrap();
    });
}

/// Runs it and kills it at a system call; returns whether it got so far.
fn victim(calls: &str, number: usize) -> bool {
    let output = Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &format!("trace={calls}"),
            "-e",
        ])
        .arg(format!("inject={calls}:signal=SIGKILL:when={number}"))
        .arg(std::env::current_exe().unwrap())
        .args([
            "steering::linux::tests::killed::victim_of_the_test_above",
            "--exact",
            "--test-threads=1",
        ])
        .env(VICTIM, "1")
        .output()
        .unwrap();
    !output.status.success()
}

const VICTIM: &str = "ZTNA_TEST_VICTIM";
