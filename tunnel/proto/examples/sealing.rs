//! Measures what sealing and opening a full packet costs, beside the bare
//! cipher: `cargo run --release -p tunnel-proto --example sealing`.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that measures reads the clock and prints"
)]

use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use connector_core::catalogue::{Gateway, GatewayId};
use connector_core::network::Prefix;
use connector_core::time::Moment;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use tunnel_proto::Seed;
use tunnel_proto::gateways::{Gateways, TunnelConfig};
use tunnel_proto::keys::PrivateKey;
use tunnel_proto::noise::{DATA_OVERHEAD, Opened, Responder};
use tunnel_proto::reach::{Admission, Reach};

fn main() {
    println!("median of {ROUNDS} rounds of {BATCH}");
    for length in [64, MTU] {
        measure(length);
    }
}

fn measure(length: usize) {
    let mut pair = Pair::new(length);
    let mut raw = Raw::new(length);
    let mut rounds: Vec<[Duration; 6]> = (0..ROUNDS)
        .map(|_| {
            let (ring_seals, ring_opens) = raw.measure();
            let (seals, responder_opens) = pair.measure_upwards();
            let (responder_seals, opens) = pair.measure_downwards();
            [
                ring_seals,
                seals,
                responder_seals,
                ring_opens,
                opens,
                responder_opens,
            ]
        })
        .collect();
    let mut median = |column: usize| {
        rounds.sort_by_key(|round| round[column]);
        rounds[ROUNDS / 2][column]
    };

    println!("a packet of {length} bytes:");
    for (column, (name, bare)) in NAMES.into_iter().enumerate() {
        let (took, bare) = (median(column), median(bare));
        println!(
            "  {name:<28} {:>5} ns  {:.2} of the bare cipher",
            took.as_nanos(),
            took.as_secs_f64() / bare.as_secs_f64()
        );
    }
}

/// What each column is, and which column holds its bare cipher.
const NAMES: [(&str, usize); 6] = [
    ("ring seals", 0),
    ("Gateways::seal", 0),
    ("Responder::seal", 0),
    ("ring opens", 3),
    ("Gateways::handle_datagram", 3),
    ("Responder::handle_datagram", 3),
];

/// The bare cipher.
struct Raw {
    length: usize,
    key: LessSafeKey,
    counter: u64,
    packets: Vec<[u8; BUFFER]>,
}

impl Raw {
    fn new(length: usize) -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).expect("a key of 32 bytes");
        Self {
            length,
            key: LessSafeKey::new(key),
            counter: 0,
            packets: vec![[0; BUFFER]; BATCH],
        }
    }

    fn measure(&mut self) -> (Duration, Duration) {
        let length = self.length;
        let first = self.counter;
        let mut tags = Vec::with_capacity(BATCH);
        let sealing = time(BATCH, |number| {
            let nonce = nonce(first + as_u64(number));
            let packet = &mut self.packets[number][..length];
            let sealed = self
                .key
                .seal_in_place_separate_tag(nonce, Aad::empty(), packet);
            tags.push(sealed.expect("a packet of a sensible length"));
        });
        for (packet, tag) in self.packets.iter_mut().zip(&tags) {
            packet[length..length + 16].copy_from_slice(tag.as_ref());
        }
        let opening = time(BATCH, |number| {
            let nonce = nonce(first + as_u64(number));
            let packet = &mut self.packets[number][..length + 16];
            let opened = self.key.open_in_place(nonce, Aad::empty(), packet);
            black_box(opened.expect("what was sealed"));
        });
        self.counter += as_u64(BATCH);
        (sealing, opening)
    }
}

/// A device and its gateway, with a session between them.
struct Pair {
    length: usize,
    device: Gateways,
    gateway: Responder,
    plain: [u8; BUFFER],
    wire: Vec<[u8; BUFFER]>,
    out: [u8; BUFFER],
}

impl Pair {
    fn new(length: usize) -> Self {
        let ours = PrivateKey::from_bytes([1; 32]);
        let theirs = PrivateKey::from_bytes([2; 32]);
        let everything = || vec![prefix("10.9.0.0/16")];
        let config = TunnelConfig {
            private_key: ours.clone(),
            addresses: vec![IpAddr::from(OURS)],
            mtu: MTU,
            keepalive: None,
            resolvers: Vec::new(),
        };
        let described = Gateway {
            id: GatewayId::from("gw"),
            endpoint: there().into(),
            public_key: *theirs.public_key().as_bytes(),
            allowed_sources: everything(),
        };
        let mut gateway = Responder::new(theirs, everything(), MTU, NOW);
        let mut seed = Seed::new(1);
        gateway.add_peer(
            ours.public_key(),
            Admission {
                addresses: vec![Prefix::host(IpAddr::from(OURS))],
                reach: Reach::Everything,
            },
            || seed.draw(),
            NOW,
        );
        let mut pair = Self {
            length,
            device: Gateways::new(&config, &[described], Seed::new(2), NOW),
            gateway,
            plain: [0; BUFFER],
            wire: vec![[0; BUFFER]; BATCH],
            out: [0; BUFFER],
        };
        pair.shake_hands();
        pair
    }

    fn shake_hands(&mut self) {
        while !self.device.can_send() {
            let (_, initiation) = self.device.poll_control().expect("an initiation");
            self.gateway
                .handle_datagram(initiation.as_bytes(), here(), &mut self.out, NOW)
                .expect("the gateway knows us");
            let (_, response) = self.gateway.poll_control().expect("a response");
            self.device
                .handle_datagram(response.as_bytes(), there(), &mut self.out, NOW)
                .expect("we know the gateway");
        }
        while let Some((_, control)) = self.device.poll_control() {
            self.gateway
                .handle_datagram(control.as_bytes(), here(), &mut self.out, NOW)
                .expect("a keepalive");
        }
    }

    /// Returns how long a datagram is.
    fn sealed(&self) -> usize {
        self.length.next_multiple_of(16).min(MTU) + DATA_OVERHEAD
    }

    /// Returns what sealing costs the device, and opening the gateway.
    fn measure_upwards(&mut self) -> (Duration, Duration) {
        let sealed = self.sealed();
        write_packet(&mut self.plain, self.length, OURS, THEIRS);
        let sealing = time(BATCH, |number| {
            let wire = &mut self.wire[number];
            let result = self
                .device
                .seal(&mut self.plain, self.length, true, wire, NOW);
            black_box(result.expect("a session"));
        });
        let opening = time(BATCH, |number| {
            let datagram = &self.wire[number][..sealed];
            let received = self
                .gateway
                .handle_datagram(datagram, here(), &mut self.out, NOW);
            let opened = received.expect("what was sealed").opened;
            assert!(matches!(black_box(opened), Opened::Packet(_)));
        });
        (sealing, opening)
    }

    /// Returns what sealing costs the gateway, and opening the device.
    fn measure_downwards(&mut self) -> (Duration, Duration) {
        let sealed = self.sealed();
        write_packet(&mut self.plain, self.length, THEIRS, OURS);
        let to = IpAddr::from(OURS);
        let sealing = time(BATCH, |number| {
            let wire = &mut self.wire[number];
            let result = self
                .gateway
                .seal(&mut self.plain, self.length, to, wire, NOW);
            black_box(result.expect("a session"));
        });
        let opening = time(BATCH, |number| {
            let datagram = &self.wire[number][..sealed];
            let opened = self
                .device
                .handle_datagram(datagram, there(), &mut self.out, NOW);
            assert!(black_box(opened.expect("what was sealed")).is_some());
        });
        (sealing, opening)
    }
}

fn time(count: usize, mut work: impl FnMut(usize)) -> Duration {
    let started = Instant::now();
    for number in 0..count {
        work(number);
    }
    started.elapsed() / u32::try_from(count).unwrap_or(u32::MAX)
}

/// Writes an IPv4 packet of `length` bytes that carries a TCP segment.
fn write_packet(buffer: &mut [u8; BUFFER], length: usize, source: [u8; 4], destination: [u8; 4]) {
    let total = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    buffer[..12].copy_from_slice(&[0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, 6, 0, 0]);
    buffer[12..16].copy_from_slice(&source);
    buffer[16..20].copy_from_slice(&destination);
    buffer[32] = 0x50;
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn prefix(text: &str) -> Prefix {
    text.parse().expect("a prefix")
}

fn here() -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 1], 4000))
}

fn there() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 51820))
}

fn as_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

const MTU: usize = 1420;
const BUFFER: usize = 1536;
const OURS: [u8; 4] = [10, 1, 0, 2];
const THEIRS: [u8; 4] = [10, 9, 0, 1];
const NOW: Moment = Moment::from_boot(Duration::from_secs(1000));

/// What one system call moves, which the first caches hold.
const BATCH: usize = 64;
const ROUNDS: usize = 2001;
