//! The network device and what waits for it, with a real kernel at both ends.
//!
//! Each test runs in a world of its own: this program, started again in a new
//! network namespace, which takes Linux. There a mirror stands behind the device:
//! what goes to the neighbour comes back as from the neighbour, so the kernel
//! talks to itself, all through the device.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tunnel::device::{Device, DeviceConfig, OpenError, Reactor, Ready, Waker};
use tunnel::sockets::{Inbox, Outbox, Port, PortOptions, Ports, RawPort};
use tunnel_proto::offload::{Coalescer, GsoType, Segments, VirtioHeader};

#[test]
fn a_stream_arrives_whole_in_super_packets() {
    in_world("a_stream_arrives_whole_in_super_packets", || {
        let device = Device::open(&config("stream")).unwrap();
        assert!(device.offload().tcp, "this kernel has TSO for devices");
        let mirror = Mirror::start(device);

        for (own, neighbour) in [V4, V6] {
            mirror.forget();
            assert_eq!(exchange(own, neighbour, STREAM), STREAM);
            let seen = &mirror.seen;
            let [super_read, super_written] = [&seen.super_read, &seen.super_written];
            assert!(super_read.load(Ordering::Relaxed) > 10, "{seen:?}");
            assert!(super_written.load(Ordering::Relaxed) > 10, "{seen:?}");
            assert_eq!(seen.lost.load(Ordering::Relaxed), 0, "{seen:?}");
        }
    });
}

#[test]
fn a_stream_arrives_whole_without_any_offload() {
    in_world("a_stream_arrives_whole_without_any_offload", || {
        let device = Device::open_plain(&config("plain")).unwrap();
        assert!(!device.offload().tcp && !device.offload().udp);
        let mirror = Mirror::start(device);

        for (own, neighbour) in [V4, V6] {
            assert_eq!(exchange(own, neighbour, STREAM / 4), STREAM / 4);
        }

        let seen = &mirror.seen;
        assert_eq!(seen.super_read.load(Ordering::Relaxed), 0, "{seen:?}");
        assert_eq!(seen.super_written.load(Ordering::Relaxed), 0, "{seen:?}");
    });
}

#[test]
fn datagrams_arrive_as_they_were_sent_also_in_super_packets() {
    in_world(
        "datagrams_arrive_as_they_were_sent_also_in_super_packets",
        || {
            let device = Device::open(&config("datagrams")).unwrap();
            let has_offload = device.offload().udp;
            let mirror = Mirror::start(device);

            for (own, neighbour) in [V4, V6] {
                mirror.forget();
                let sender = RawPort::bind((own, 0).into(), PortOptions::default()).unwrap();
                let receiver = RawPort::bind((own, 7000).into(), PortOptions::default()).unwrap();
                let sent = send_counted(sender, (neighbour, 7000).into(), 1000);

                let received = receive_all(&receiver, sent.len());

                assert_eq!(received, sent);
                let seen = &mirror.seen;
                let used = seen.super_read.load(Ordering::Relaxed) > 0;
                assert_eq!(used, has_offload, "{seen:?}");
            }
        },
    );
}

#[test]
fn datagrams_that_are_too_long_for_the_path_go_in_fragments_if_they_may() {
    in_world(
        "datagrams_that_are_too_long_for_the_path_go_in_fragments_if_they_may",
        || {
            let device = Device::open(&DeviceConfig {
                mtu: 1280,
                ..config("narrow")
            })
            .unwrap();
            let _mirror = Mirror::start(device);

            for (own, neighbour) in [V4, V6] {
                let may = PortOptions {
                    may_fragment: true,
                    ..PortOptions::default()
                };
                let sender = RawPort::bind((own, 0).into(), may).unwrap();
                let receiver = RawPort::bind((own, 7000).into(), may).unwrap();
                let to = SocketAddr::from((neighbour, 7000));
                // Segmentation offload refuses these; each has to go by itself.
                let sent = send_counted(sender, to, 1400);
                assert_eq!(receive_all(&receiver, sent.len()), sent);

                let whole = RawPort::bind((own, 0).into(), PortOptions::default()).unwrap();
                assert!(whole.try_send(to, &[0; 1400], 1400).is_err());
            }
        },
    );
}

#[test]
fn a_device_has_the_addresses_and_sizes_that_it_is_given_and_no_others() {
    in_world(
        "a_device_has_the_addresses_and_sizes_that_it_is_given_and_no_others",
        || {
            let device = Device::open(&config("given")).unwrap();
            assert_eq!(device.name(), "given");
            let link = ip(&["-o", "link", "show", "dev", "given"]);
            assert!(
                link.contains("mtu 1420 ") && link.contains("qlen 1000"),
                "{link}"
            );
            assert_eq!(addresses(), ["10.9.0.1/24", "fd09::1/64"]);

            let next = [(IpAddr::from([10, 9, 0, 7]), 24), (V6.0, 64)];
            device.set_addresses(&next).unwrap();
            device.set_mtu(1300).unwrap();

            assert_eq!(addresses(), ["10.9.0.7/24", "fd09::1/64"]);
            let link = ip(&["-o", "link", "show", "dev", "given"]);
            assert!(link.contains("mtu 1300 "), "{link}");

            device.set_addresses(&[]).unwrap();
            assert!(addresses().is_empty());
        },
    );
}

#[test]
fn a_machine_without_ipv6_gets_a_device_without() {
    in_world("a_machine_without_ipv6_gets_a_device_without", || {
        std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();

        let _device = Device::open(&config("four")).unwrap();

        assert_eq!(addresses(), ["10.9.0.1/24"]);
    });
}

#[test]
fn a_device_goes_with_its_owner_and_its_reads_end_when_it_is_taken_away() {
    in_world(
        "a_device_goes_with_its_owner_and_its_reads_end_when_it_is_taken_away",
        || {
            drop(Device::open(&config("gone")).unwrap());
            assert!(!ip(&["-o", "link"]).contains("gone"));

            let device = Device::open(&config("taken")).unwrap();
            let (mut reactor, _waker) = Reactor::new(&device).unwrap();
            ip(&["link", "delete", "taken"]);

            let ready = reactor.wait(true, &no_ports(), false, Some(SOON)).unwrap();

            assert!(ready.device);
            let error = loop {
                if let Err(error) = device.try_read(&mut [0; 2000]) {
                    break error;
                }
            };
            assert_ne!(error.kind(), io::ErrorKind::WouldBlock);
        },
    );
}

#[test]
fn a_name_that_is_taken_is_said_to_be() {
    in_world("a_name_that_is_taken_is_said_to_be", || {
        let _device = Device::open(&config("taken")).unwrap();

        let error = Device::open(&config("taken")).unwrap_err();

        assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    });
}

#[test]
fn without_the_right_to_make_devices_the_error_says_which() {
    // Root in a user namespace, but not over the network around it.
    let name = "without_the_right_to_make_devices_the_error_says_which";
    in_world_of("-Ur", name, || {
        let error = Device::open(&config("refused")).unwrap_err();

        assert!(matches!(error, OpenError::NotPermitted { .. }), "{error:?}");
        assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
    });
}

#[test]
fn a_marked_socket_has_its_mark() {
    in_world("a_marked_socket_has_its_mark", || {
        ip(&["link", "set", "lo", "up"]);
        let options = PortOptions {
            mark: Some(0x7a74),
            ..PortOptions::default()
        };

        let _port = RawPort::bind(([127, 0, 0, 1], 0).into(), options).unwrap();

        let sockets = run("ss", &["--no-header", "--udp", "--all", "--extended"]);
        assert!(sockets.contains("fwmark:0x7a74"), "{sockets}");
    });
}

#[test]
fn what_is_ready_stays_so_until_it_is_taken() {
    in_world("what_is_ready_stays_so_until_it_is_taken", || {
        ip(&["link", "set", "lo", "up"]);
        let device = Device::open(&config("ready")).unwrap();
        let (mut reactor, waker) = Reactor::new(&device).unwrap();
        let port = RawPort::bind(([127, 0, 0, 1], 0).into(), PortOptions::default()).unwrap();
        let address = port.local_addr().unwrap();
        let ports = Ports::single(port);
        let mut inbox = Inbox::new();
        let mut wait =
            |device, writable, limit| reactor.wait(device, &ports, writable, Some(limit)).unwrap();
        assert_eq!(wait(true, false, Duration::ZERO), Ready::default());

        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        other.send_to(b"to the socket", address).unwrap();
        for _ in 0..2 {
            assert!(wait(true, false, SOON).sockets);
        }
        assert!(ports.try_receive(&mut inbox));
        assert_eq!(wait(true, false, Duration::ZERO), Ready::default());
        assert!(wait(true, true, SOON).writable);

        let other = UdpSocket::bind((V4.0, 0)).unwrap();
        other.send_to(b"into the device", (V4.1, 9)).unwrap();
        for _ in 0..2 {
            assert!(wait(true, false, SOON).device);
        }
        assert_eq!(wait(false, false, Duration::ZERO), Ready::default());
        assert!(device.try_read(&mut [0; 2000]).unwrap() > VirtioHeader::LENGTH);

        for _ in 0..10 {
            waker.wake();
        }
        assert!(wait(true, false, SOON).woken);
        assert_eq!(wait(true, false, Duration::ZERO), Ready::default());
    });
}

#[test]
fn no_call_is_lost_however_many_call() {
    in_world("no_call_is_lost_however_many_call", || {
        const CALLERS: usize = 4;
        const CALLS: usize = 20_000;
        let device = Device::open(&config("called")).unwrap();
        let (mut reactor, waker) = Reactor::new(&device).unwrap();
        let left = Arc::new(AtomicUsize::new(0));
        let callers: Vec<JoinHandle<()>> = (0..CALLERS)
            .map(|_| {
                let (waker, left) = (waker.clone(), Arc::clone(&left));
                std::thread::spawn(move || {
                    for _ in 0..CALLS {
                        left.fetch_add(1, Ordering::Relaxed);
                        waker.wake();
                    }
                })
            })
            .collect();

        let mut taken = 0;
        while taken < CALLERS * CALLS {
            let ready = reactor.wait(false, &no_ports(), false, Some(SOON)).unwrap();
            assert!(ready.woken, "{taken} taken, and no call for {SOON:?}");
            taken += left.swap(0, Ordering::Relaxed);
        }

        for caller in callers {
            caller.join().unwrap();
        }
    });
}

/// Sends a stream to the neighbour, which is the mirror, and back; returns how
/// much of it arrived as it was sent.
fn exchange(own: IpAddr, neighbour: IpAddr, length: usize) -> usize {
    let listener = TcpListener::bind((own, 80)).unwrap();
    let sender = std::thread::spawn(move || {
        let mut stream = TcpStream::connect((neighbour, 80)).unwrap();
        stream.set_write_timeout(Some(SOON)).unwrap();
        let mut at = 0;
        while at < length {
            let part: Vec<u8> = (at..length.min(at + 60_000)).map(pattern).collect();
            stream.write_all(&part).unwrap();
            at += part.len();
        }
    });
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let (mut buffer, mut at) = (vec![0; 1 << 16], 0);
    loop {
        let read = stream.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        for byte in &buffer[..read] {
            assert_eq!(*byte, pattern(at), "byte {at}");
            at += 1;
        }
    }
    sender.join().unwrap();
    at
}

/// Sends datagrams of `size` bytes, and a shorter one, in runs.
fn send_counted(port: RawPort, to: SocketAddr, size: usize) -> Vec<Vec<u8>> {
    let ports = Ports::single(port);
    let mut outbox = Outbox::new();
    let sent: Vec<Vec<u8>> = (0..30_u8)
        .map(|number| vec![number; if number == 29 { 100 } else { size }])
        .collect();
    let deadline = Instant::now() + SOON;
    // The first by itself: what the socket can do at once is known after that.
    let (first, rest) = sent.split_at(1);
    for part in [first, rest] {
        for datagram in part {
            outbox.push(to, datagram);
        }
        while !outbox.is_empty() {
            assert!(Instant::now() < deadline, "the socket takes nothing");
            outbox.flush(&ports);
        }
    }
    sent
}

fn receive_all(port: &RawPort, count: usize) -> Vec<Vec<u8>> {
    let mut inbox = Inbox::new();
    let mut received = Vec::new();
    let deadline = Instant::now() + SOON;
    while received.len() < count {
        assert!(Instant::now() < deadline, "{} arrived", received.len());
        if port.try_receive(&mut inbox) {
            received.extend(inbox.datagrams().map(|(_, datagram)| datagram.to_vec()));
        } else {
            std::thread::yield_now();
        }
    }
    received
}

/// A thread behind the device that sends everything back to where it came from.
struct Mirror {
    seen: Arc<Seen>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Seen {
    is_over: AtomicBool,
    super_read: AtomicUsize,
    super_written: AtomicUsize,
    lost: AtomicUsize,
}

impl Mirror {
    fn start(device: Device) -> Self {
        let (mut reactor, waker) = Reactor::new(&device).unwrap();
        let seen = Arc::new(Seen::default());
        let counted = Arc::clone(&seen);
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 17];
            let mut coalescer = Coalescer::new(1 << 17, device.offload());
            while !counted.is_over.load(Ordering::Acquire) {
                let ready = reactor.wait(true, &no_ports(), false, None).unwrap();
                if !ready.device {
                    continue;
                }
                while let Ok(length) = device.try_read(&mut buffer) {
                    reflect(&mut buffer, length, &mut coalescer, &device, &counted);
                }
            }
        });
        Self {
            seen,
            waker,
            thread: Some(thread),
        }
    }

    fn forget(&self) {
        for counter in [&self.seen.super_read, &self.seen.super_written] {
            counter.store(0, Ordering::Relaxed);
        }
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.seen.is_over.store(true, Ordering::Release);
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || std::thread::panicking());
        }
    }
}

fn reflect(
    buffer: &mut [u8],
    read: usize,
    coalescer: &mut Coalescer,
    device: &Device,
    seen: &Seen,
) {
    let (header, packet) = buffer.split_first_chunk_mut().unwrap();
    let header = VirtioHeader::parse(header).unwrap();
    let length = read - VirtioHeader::LENGTH;
    if header.gso_type != GsoType::None {
        seen.super_read.fetch_add(1, Ordering::Relaxed);
    }
    // The checksums stay right: sums do not know order.
    match packet[0] >> 4 {
        4 => packet[12..20].rotate_left(4),
        _ => packet[8..40].rotate_left(16),
    }
    let mut segments = Segments::new(header, packet, length).unwrap();
    while let Some(segment) = segments.next() {
        let space = coalescer.space().unwrap();
        space[..segment.length].copy_from_slice(&segment.bytes[..segment.length]);
        segment.bytes.fill(0xee);
        let length = segment.length;
        coalescer.push(length);
    }
    let drained = coalescer.drain(|header, packet| {
        if header[1] != 0 {
            seen.super_written.fetch_add(1, Ordering::Relaxed);
        }
        device.try_write(header, packet)
    });
    seen.lost.fetch_add(drained.lost, Ordering::Relaxed);
}

fn in_world(name: &str, test: impl FnOnce()) {
    in_world_of("-Urn", name, test);
}

/// Runs a test in namespaces of its own.
fn in_world_of(namespaces: &str, name: &str, test: impl FnOnce()) {
    if std::env::var_os(WORLD).is_some() {
        return test();
    }
    assert!(
        std::fs::exists("/dev/net/tun").unwrap(),
        "this test needs /dev/net/tun: load the driver with `modprobe tun`; a container has to be given it"
    );
    let status = Command::new("unshare")
        .arg(namespaces)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(WORLD, "1")
        .status()
        .expect("unshare of util-linux makes the test's namespaces");
    assert!(status.success(), "in its own namespaces: {status}");
}

fn config(name: &str) -> DeviceConfig {
    DeviceConfig {
        name: name.to_owned(),
        addresses: vec![(V4.0, 24), (V6.0, 64)],
        mtu: 1420,
        queue_length: 1000,
    }
}

/// The addresses of all devices in this world.
fn addresses() -> Vec<String> {
    ip(&["-o", "addr", "show"])
        .lines()
        .filter_map(|line| line.split_whitespace().nth(3))
        .map(str::to_owned)
        .collect()
}

fn ip(arguments: &[&str]) -> String {
    run("ip", arguments)
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn no_ports() -> Ports<RawPort> {
    Ports::bind_towards([], PortOptions::default()).unwrap()
}

fn pattern(at: usize) -> u8 {
    (at.wrapping_mul(0x9e37_79b9) >> 16).to_le_bytes()[0]
}

/// The device's own address, and its only neighbour's.
const V4: (IpAddr, IpAddr) = (
    IpAddr::V4(std::net::Ipv4Addr::new(10, 9, 0, 1)),
    IpAddr::V4(std::net::Ipv4Addr::new(10, 9, 0, 2)),
);
const V6: (IpAddr, IpAddr) = (
    IpAddr::V6(std::net::Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1)),
    IpAddr::V6(std::net::Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 2)),
);

const STREAM: usize = 16 << 20;

/// Says that the process is in its own namespaces already.
const WORLD: &str = "ZTNA_TEST_WORLD";

/// Whatever is awaited has come long before, even on a busy machine.
const SOON: Duration = Duration::from_secs(20);
