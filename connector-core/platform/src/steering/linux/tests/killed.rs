//! A process that is killed at any of its system calls leaves nothing that cannot
//! be repaired.

use std::process::Command;

use super::*;

#[test]
fn killed_at_any_system_call_it_is_repaired() {
    inside("killed::killed_at_any_system_call_it_is_repaired", || {
        if Command::new("strace").arg("-V").output().is_err() {
            assert!(std::env::var_os("CI").is_none(), "strace is not installed");
            return;
        }
        make_device();
        run("mkdir /run/resolver; echo 'nameserver 10.9.0.2' > /run/resolver/theirs");
        let mut kills = 0;
        for (place, resolver) in [
            ("a file", "echo nameserver 10.9.0.2 > /etc/resolv.conf"),
            (
                "a mount",
                "mount --bind /run/resolver/theirs /etc/resolv.conf",
            ),
        ] {
            run(resolver);
            let before = snapshot();
            for calls in [
                "write",
                "sendto",
                "fsync,fdatasync",
                "rename,renameat,renameat2,unlink,unlinkat,ftruncate",
                "clone,clone3,fork,vfork,execve,memfd_create",
            ] {
                for number in 1.. {
                    let was_killed = victim(calls, number);

                    repair(&state(), false).unwrap();

                    assert_eq!(
                        snapshot(),
                        before,
                        "{place}: killed at {calls} number {number}"
                    );
                    kills += usize::from(was_killed);
                    if !was_killed {
                        break;
                    }
                }
            }
        }
        assert!(kills > 40, "only {kills} kills");
    });
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
