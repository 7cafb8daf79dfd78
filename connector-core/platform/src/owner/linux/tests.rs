use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::super::{of, of_tcp};
use super::*;

#[test]
fn a_connection_of_this_test_belongs_to_this_test() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(address).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();

        let owner = of_tcp(client.local_addr().unwrap(), client.peer_addr().unwrap()).unwrap();

        assert!(owner.is_same_user);
        assert_eq!(owner.user, Some(geteuid().as_raw()));
        assert_eq!(owner.process, Some(std::process::id()));
        assert_eq!(path(&owner), Some(std::env::current_exe().unwrap()));
    }
}

#[test]
fn a_connection_over_ipv4_is_found_whatever_the_socket_is_made_for() {
    let listener = TcpListener::bind("[::]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = SocketAddr::new(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), port);
    let client = TcpStream::connect(server).unwrap();

    let mapped = client.local_addr().unwrap();
    let plain = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), mapped.port());

    assert!(mapped.is_ipv6());
    for local in [mapped, plain] {
        let remote = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        let owner = of(Transport::Tcp, local, remote).unwrap();
        assert_eq!(owner.process, Some(std::process::id()), "{local}");
    }
}

#[test]
fn a_connection_that_is_bound_to_an_interface_is_found() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let options = socket2::SockRef::from(&client);
    options.bind_device(Some(b"lo")).unwrap();

    let owner = of_tcp(client.local_addr().unwrap(), client.peer_addr().unwrap()).unwrap();

    assert_eq!(owner.process, Some(std::process::id()));
}

#[test]
fn a_closed_connection_has_no_owner_and_a_listener_does_not_stand_in() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));

    for (client, server) in [(nobody, server), (server, nobody)] {
        let error = of_tcp(client, server).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}

#[test]
fn datagrams_are_traced_to_connected_and_unconnected_sockets() {
    for (bound, from) in [
        ("127.0.0.1:0", IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ("0.0.0.0:0", Ipv4Addr::LOCALHOST.into()),
        ("[::1]:0", Ipv6Addr::LOCALHOST.into()),
        ("[::]:0", Ipv6Addr::LOCALHOST.into()),
        ("[::]:0", Ipv4Addr::LOCALHOST.into()),
    ] {
        let socket = UdpSocket::bind(bound).unwrap();
        let local = SocketAddr::new(from, socket.local_addr().unwrap().port());
        let remote = SocketAddr::new(from, 53);

        let unconnected = of(Transport::Udp, local, remote).unwrap();
        if bound.parse::<SocketAddr>().unwrap().is_ipv6() == from.is_ipv6() {
            socket.connect(remote).unwrap();
        }
        let connected = of(Transport::Udp, local, remote).unwrap();

        assert_eq!(unconnected.process, Some(std::process::id()), "{bound}");
        assert_eq!(connected, unconnected);
    }
}

#[test]
fn a_program_is_named_with_its_hash_and_its_ancestors() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let local = socket.local_addr().unwrap();
    let child = Held::by(Command::new("cat"), socket.into());

    let owner = of(Transport::Udp, local, REMOTE).unwrap();

    let Workload::Known(program) = &owner.workload else {
        panic!("one program holds the socket");
    };
    let path = fs::read_link(format!("/proc/{}/exe", child.id())).unwrap();
    let content = Sha256::digest(fs::read(&path).unwrap());
    assert_eq!(Path::new(&program.path), path);
    assert_eq!(program.sha256, Some(format!("{content:x}")));
    assert_eq!(program.user, Some(geteuid().as_raw()));
    assert_eq!(owner.process, Some(child.id()));
    assert_eq!(
        program.ancestors.first().map(PathBuf::from),
        std::env::current_exe().ok()
    );
    assert!(program.ancestors.len() <= Program::MAX_ANCESTORS);
}

#[test]
fn a_socket_that_two_programs_hold_has_no_program() {
    for program in ["cat", "setsid"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut command = Command::new(program);
        if program == "setsid" {
            command.arg("cat");
        }
        let _other = Held::by(command, client.try_clone().unwrap().into());

        let owner = of_tcp(client.local_addr().unwrap(), client.peer_addr().unwrap()).unwrap();

        assert!(owner.workload.program().is_none(), "{program}");
    }
}

/// Whoever leaves its socket to a program that may more must not be taken for it.
#[test]
fn a_program_that_was_cut_loose_with_anothers_socket_does_not_stand_for_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let cat = copy_of_cat(folder.path(), "cat");
    let mut command = Command::new("setsid");
    command.arg("--fork").arg(&cat);
    let mut loose = Held::by(command, client.try_clone().unwrap().into());
    let image = fs::metadata(&cat).unwrap().ino();
    wait_until("the other program runs", || {
        let mut pids = process::all().unwrap().into_iter();
        pids.any(|pid| fs::metadata(format!("/proc/{pid}/exe")).is_ok_and(|it| it.ino() == image))
    });
    assert!(loose.child.wait().unwrap().success(), "it was cut loose");

    let shared = of_tcp(client.local_addr().unwrap(), client.peer_addr().unwrap()).unwrap();
    let (local, remote) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    drop(client);
    let alone = of_tcp(local, remote).unwrap();

    assert_ne!(path(&shared), Some(cat.clone()));
    assert_eq!(path(&alone), Some(cat));
}

#[test]
fn a_socket_that_one_program_holds_twice_is_that_programs() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (local, remote) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    let one = Held::by(Command::new("cat"), client.try_clone().unwrap().into());
    let other = Held::by(Command::new("cat"), client.into());

    let owner = of_tcp(local, remote).unwrap();

    assert!(path(&owner).is_some_and(|path| path.ends_with("cat")));
    assert!([Some(one.id()), Some(other.id())].contains(&owner.process));
}

#[test]
fn of_the_processes_of_one_program_the_one_that_started_the_others_is_named() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let local = socket.local_addr().unwrap();
    let mut command = Command::new("sh");
    // Whoever reads ends when its input does; the outer shell waits for the inner one.
    command.args(["-c", "(read line) <&0; read line"]);
    let parent = Held::by(command, socket.into());
    let children = format!("/proc/{0}/task/{0}/children", parent.id());
    wait_until("the shell has started another", || {
        !fs::read_to_string(&children).unwrap().is_empty()
    });

    let owner = of(Transport::Udp, local, REMOTE).unwrap();

    assert_eq!(owner.process, Some(parent.id()));
}

#[test]
fn datagrams_from_a_port_that_two_programs_share_have_no_program() {
    let ours = UdpSocket::bind("127.0.0.1:0").unwrap();
    let local = ours.local_addr().unwrap();
    let theirs = UdpSocket::bind(("127.0.0.2", local.port())).unwrap();
    let other = Held::by(Command::new("cat"), theirs.into());

    let shared = of(Transport::Udp, local, REMOTE).unwrap();
    drop(other);
    let alone = of(Transport::Udp, local, REMOTE).unwrap();

    assert!(shared.workload.program().is_none());
    assert_eq!(alone.process, Some(std::process::id()));
}

#[test]
fn a_program_that_was_replaced_or_deleted_is_unknown() {
    let folder = tempfile::tempdir().unwrap();
    for (name, replace) in [("replaced", true), ("deleted", false)] {
        let program = copy_of_cat(folder.path(), name);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let local = socket.local_addr().unwrap();
        let _child = Held::by(Command::new(&program), socket.into());
        let before = of(Transport::Udp, local, REMOTE).unwrap();

        if replace {
            fs::rename(copy_of_cat(folder.path(), "next"), &program).unwrap();
        } else {
            fs::remove_file(&program).unwrap();
        }
        let after = of(Transport::Udp, local, REMOTE).unwrap();

        assert_eq!(path(&before), Some(program), "{name}");
        assert!(after.workload.program().is_none(), "{name}");
    }
}

#[test]
fn a_program_that_becomes_another_is_the_other() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let local = socket.local_addr().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "read line; exec cat"]);
    let mut child = Held::by(command, socket.into());
    let shell = of(Transport::Udp, local, REMOTE).unwrap();

    child.input().write_all(b"go\n").unwrap();
    wait_until("the shell became cat", || {
        let owner = of(Transport::Udp, local, REMOTE).unwrap();
        path(&owner).is_some_and(|path| path.ends_with("cat"))
    });

    assert!(path(&shell).is_some_and(|path| !path.ends_with("cat")));
}

#[test]
fn a_process_that_has_ended_owns_nothing() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let local = socket.local_addr().unwrap();
    let child = Held::by(Command::new("cat"), socket.into());
    assert!(of(Transport::Udp, local, REMOTE).is_ok());

    drop(child);

    let error = of(Transport::Udp, local, REMOTE).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

/// Anybody can have a name space where another file stands at a trusted path.
#[test]
fn a_program_that_disguises_its_path_is_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let disguised = copy_of_cat(folder.path(), "disguised");
    let trusted = copy_of_cat(folder.path(), "trusted");
    let script = format!(
        "mount --bind {} {} && exec {}",
        disguised.display(),
        trusted.display(),
        trusted.display()
    );
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", &script]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let local = socket.local_addr().unwrap();
    let child = Held::by(command, socket.into());
    let executable = format!("/proc/{}/exe", child.id());
    wait_until("the disguised program runs", || {
        let running = fs::metadata(&executable).unwrap();
        running.ino() == fs::metadata(&disguised).unwrap().ino()
    });

    let owner = of(Transport::Udp, local, REMOTE).unwrap();

    assert_eq!(fs::read_link(&executable).unwrap(), trusted);
    assert!(owner.workload.program().is_none());
}

#[test]
fn root_knows_other_users_programs() {
    if !geteuid().is_root() {
        return;
    }
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(DEADLINE)).unwrap();
    let script = format!(
        "exec 3<>/dev/udp/127.0.0.1/{}; echo here >&3; read line",
        server.local_addr().unwrap().port()
    );
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--clear-groups", "bash", "-c", &script]);
    let other = Held::by(command, UdpSocket::bind("127.0.0.1:0").unwrap().into());
    let (_, sender) = server.recv_from(&mut [0; 16]).unwrap();

    let owner = of(Transport::Udp, sender, server.local_addr().unwrap()).unwrap();

    assert_eq!(owner.user, Some(65534));
    assert!(!owner.is_same_user);
    assert_eq!(owner.process, Some(other.id()));
    let Workload::Known(program) = owner.workload else {
        panic!("root sees the holder");
    };
    assert_eq!(program.user, Some(65534));
}

#[test]
fn root_knows_programs_that_gave_up_their_rights() {
    if !geteuid().is_root() {
        return;
    }
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let local = socket.local_addr().unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--clear-groups", "cat"]);
    let child = Held::by(command, socket.into());
    wait_until("the program has started", || {
        let owner = of(Transport::Udp, local, REMOTE).unwrap();
        path(&owner).is_some_and(|path| path.ends_with("cat"))
    });

    let owner = of(Transport::Udp, local, REMOTE).unwrap();

    assert_eq!(owner.user, Some(0));
    assert_eq!(owner.process, Some(child.id()));
    assert!(matches!(owner.workload, Workload::Known(program) if program.user == Some(65534)));
}

#[test]
fn a_ping_is_traced_by_its_identifier() {
    // Who may ping is set for each network: one of our own keeps the machine's as it is.
    if !geteuid().is_root() {
        return;
    }
    let test = thread::spawn(|| {
        leave_network();
        fs::write("/proc/sys/net/ipv4/ping_group_range", "0 0").unwrap();
        let socket = rustix::net::socket_with(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::DGRAM,
            rustix::net::SocketFlags::CLOEXEC,
            Some(rustix::net::ipproto::ICMP),
        )
        .unwrap();
        rustix::net::bind(&socket, &SocketAddr::from(([0, 0, 0, 0], 4711))).unwrap();
        let ping = |identifier| {
            let local = SocketAddr::from(([127, 0, 0, 1], identifier));
            of(Transport::IcmpEcho, local, REMOTE)
        };

        assert_eq!(ping(4711).unwrap().process, Some(std::process::id()));
        assert_eq!(ping(4712).unwrap_err().kind(), io::ErrorKind::NotFound);
    });
    test.join().unwrap();
}

/// A program that has a socket as its output and waits for input.
struct Held {
    child: Child,
    input: Option<ChildStdin>,
}

impl Held {
    /// Starts `command`, and waits until it runs.
    fn by(mut command: Command, socket: OwnedFd) -> Self {
        let own = fs::metadata("/proc/self/exe").unwrap().ino();
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::from(socket))
            .stderr(Stdio::null());
        // A fresh copy of a program is open for writing in what other tests just start.
        let mut started = command.spawn();
        wait_until("the program starts", || {
            let is_busy = |error: &io::Error| error.kind() == io::ErrorKind::ExecutableFileBusy;
            if started.as_ref().is_err_and(is_busy) {
                started = command.spawn();
            }
            !started.as_ref().is_err_and(is_busy)
        });
        let mut child = started.unwrap();
        let executable = format!("/proc/{}/exe", child.id());
        wait_until("the program runs, or has run", || {
            fs::metadata(&executable).map_or(true, |image| image.ino() != own)
        });
        let input = child.stdin.take();
        Self { child, input }
    }

    fn id(&self) -> u32 {
        self.child.id()
    }

    fn input(&mut self) -> &mut ChildStdin {
        self.input.as_mut().unwrap()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

fn path(owner: &Owner) -> Option<PathBuf> {
    let program = owner.workload.program();
    program.map(|program| PathBuf::from(&program.path))
}

fn copy_of_cat(folder: &Path, name: &str) -> PathBuf {
    let cat = Command::new("sh")
        .args(["-c", "command -v cat"])
        .output()
        .unwrap();
    let copy = fs::canonicalize(folder).unwrap().join(name);
    fs::copy(String::from_utf8(cat.stdout).unwrap().trim(), &copy).unwrap();
    copy
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        thread::yield_now();
    }
}

#[expect(
    unsafe_code,
    reason = "leaving the network is unsafe only together with memory and files"
)]
fn leave_network() {
    // SAFETY: nothing but the network is left.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
}

const REMOTE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 53);

const DEADLINE: Duration = Duration::from_secs(10);
