use std::io::{self, IoSlice};

use super::*;
use crate::checksum;

#[test]
fn joining_the_segments_of_a_super_packet_gives_it_back() {
    for seed in 1..=2000 {
        let mut random = Random(seed);
        let flow = Flow::random(&mut random);
        let payload = random.bytes(1, 60_000);
        let size = random.between(1, payload.len()).max(payload.len() / 64 + 1);
        let (header, packet) = flow.super_packet(&payload, size);
        let segments = split(header, &packet);
        assert_eq!(segments.len(), payload.len().div_ceil(size), "seed {seed}");

        let joined = join(ALL, &segments);

        let [(given, bytes)] = &joined[..] else {
            panic!("seed {seed}: {} packets of {segments:?}", joined.len());
        };
        assert_eq!(*bytes, packet.masked(segments.len()), "seed {seed}");
        let expected = if segments.len() == 1 {
            VirtioHeader::default()
        } else {
            header
        };
        assert_eq!(*given, expected, "seed {seed}");
    }
}

#[test]
fn segments_carry_the_payload_in_order_with_valid_headers() {
    for seed in 1..=2000 {
        let mut random = Random(seed);
        let mut flow = Flow::random(&mut random);
        flow.flags |= [0, FIN, CWR, FIN | CWR][random.between(0, 3)];
        let payload = random.bytes(0, 9000);
        let size = random.between(1, 1500);
        let (header, packet) = flow.super_packet(&payload, size);

        let segments = split(header, &packet);

        let (mut carried, last) = (Vec::<u8>::new(), segments.len() - 1);
        for (number, segment) in segments.iter().enumerate() {
            assert_valid(segment, seed);
            let offset = carried.len();
            carried.extend(&segment[flow.headers()..]);
            let body = &segment[flow.transport()..];
            if flow.is_tcp {
                let expected = flow.sequence.wrapping_add(u32::try_from(offset).unwrap());
                assert_eq!(read_long(body, 4), expected, "seed {seed}");
                let is_set = |bit| body[13] & bit != 0;
                let ends = number == last;
                assert_eq!(is_set(PSH), ends && flow.flags & PSH != 0, "seed {seed}");
                assert_eq!(is_set(FIN), ends && flow.flags & FIN != 0, "seed {seed}");
                let begins = number == 0;
                assert_eq!(is_set(CWR), begins && flow.flags & CWR != 0, "seed {seed}");
            }
            if !flow.is_v6 {
                let expected = flow.id.wrapping_add(u16::try_from(number).unwrap());
                assert_eq!(read(segment, 4), expected, "seed {seed}");
            }
        }
        assert_eq!(carried, payload, "seed {seed}");
    }
}

#[test]
fn what_is_written_into_the_room_does_not_reach_the_next_segment() {
    let mut random = Random(7);
    let flow = Flow::random(&mut random);
    let payload = random.bytes(5000, 5000);
    let (header, packet) = flow.super_packet(&payload, 7);
    let mut buffer = packet.0.clone();
    buffer.resize(packet.0.len() + ROOM, 0);

    let mut segments = Segments::new(header, &mut buffer, packet.0.len()).unwrap();
    let mut carried = Vec::<u8>::new();
    while let Some(segment) = segments.next() {
        carried.extend(&segment.bytes[flow.headers()..segment.length]);
        // A caller may even encrypt in place.
        segment.bytes.fill(0xee);
    }

    assert_eq!(carried, payload);
}

#[test]
fn a_partial_checksum_is_completed() {
    for seed in 1..=500 {
        let mut random = Random(seed);
        let flow = Flow::random(&mut random);
        let payload = random.bytes(0, 1400);
        let (header, packet) = flow.super_packet(&payload, 1);
        let header = VirtioHeader {
            gso_type: GsoType::None,
            gso_size: 0,
            ..header
        };

        let segments = split(header, &packet);

        assert_eq!(segments.len(), 1, "seed {seed}");
        assert_valid(&segments[0], seed);
    }
}

#[test]
fn a_datagram_whose_checksum_comes_out_as_zero_gets_the_other_zero() {
    let mut random = Random(11);
    let flow = Flow {
        is_tcp: false,
        ..Flow::random(&mut random)
    };
    let at = flow.transport() + UDP_CHECKSUM;
    let (header, packet) = flow.super_packet(&[0; 2], 2);
    let checksum = read(&split(header, &packet)[0], at);

    let (header, packet) = flow.super_packet(&checksum.to_be_bytes(), 2);
    let partial = VirtioHeader {
        gso_type: GsoType::None,
        ..header
    };

    for header in [header, partial] {
        assert_eq!(read(&split(header, &packet)[0], at), 0xffff, "{header:?}");
    }
}

#[test]
fn a_packet_that_is_none_to_split_stays_as_it_is() {
    let bytes = Bytes(vec![0x99; 77]);

    let segments = split(VirtioHeader::default(), &bytes);

    assert_eq!(segments, [bytes.0]);
}

#[test]
fn no_header_and_no_packet_of_a_hostile_device_panics() {
    for seed in 1..=60_000 {
        let mut random = Random(seed);
        let flow = Flow::random(&mut random);
        let payload = random.bytes(0, 300);
        let size = random.between(1, 100);
        let (header, Bytes(mut packet)) = flow.super_packet(&payload, size);
        let mut header = header.encode();
        for _ in 0..random.between(1, 6) {
            let (at, byte) = (random.between(0, 9), random.byte());
            header[at] = byte;
            let at = random.between(0, packet.len().min(80) - 1);
            packet[at] = random.byte();
        }
        packet.truncate(random.between(0, packet.len()));
        let length = packet.len();
        packet.resize(length + random.between(0, 2 * ROOM), 0);

        let Ok(header) = VirtioHeader::parse(&header) else {
            continue;
        };
        let Ok(mut segments) = Segments::new(header, &mut packet, length) else {
            continue;
        };
        let mut coalescer = Coalescer::new(1 << 20, ALL);
        while let Some(segment) = segments.next() {
            if let Some(space) = coalescer.space() {
                space[..segment.length].copy_from_slice(&segment.bytes[..segment.length]);
                coalescer.push(segment.length);
            }
        }
        coalescer.drain(|_, _| Ok(()));
    }
}

#[test]
fn random_packets_come_out_one_by_one_and_in_order() {
    for seed in 1..=200 {
        let mut random = Random(seed);
        let packets: Vec<Vec<u8>> = (0..50).map(|_| random.bytes(1, 200)).collect();

        let written = join(ALL, &packets);

        let written: Vec<Vec<u8>> = written.into_iter().map(|(_, bytes)| bytes).collect();
        assert_eq!(written, packets, "seed {seed}");
    }
}

#[test]
fn packets_of_any_sizes_are_joined_so_that_splitting_gives_each_of_them_back() {
    let (mut runs, mut packets) = (0, 0);
    for seed in 1..=500 {
        let mut random = Random(seed);
        let mut flow = Flow::random(&mut random);
        let sizes = [random.between(1, 1400), random.between(1, 1400)];
        let sent: Vec<Vec<u8>> = (0..40)
            .map(|_| {
                // Mostly of one size, as it is.
                let size = sizes[usize::from(random.between(0, 5) == 0)];
                let payload = random.bytes(size, size);
                flow.flags = [ACK, ACK | PSH][usize::from(random.between(0, 9) == 0)];
                let (header, packet) = flow.super_packet(&payload, size);
                flow = flow.after(size);
                flow.id = flow.id.wrapping_add(1);
                split(header, &packet).remove(0)
            })
            .collect();

        let written = join(ALL, &sent);

        let got: Vec<Vec<u8>> = written
            .iter()
            .flat_map(|(header, bytes)| split(*header, &Bytes(bytes.clone())))
            .collect();
        assert!(got == sent, "seed {seed}");
        runs += written.len();
        packets += sent.len();
    }
    assert!(runs * 2 < packets, "{runs} runs of {packets} packets");
}

#[test]
fn interleaved_flows_are_joined_each_and_stay_in_order() {
    for seed in 1..=300 {
        let mut random = Random(seed);
        let mut flows: Vec<(Flow, Vec<Vec<u8>>)> = (0..random.between(2, 12))
            .map(|_| {
                let flow = Flow::random(&mut random);
                let payload = random.bytes(3000, 12_000);
                let (header, packet) = flow.super_packet(&payload, 1200);
                (flow, split(header, &packet))
            })
            .collect();
        let (mut mixed, mut queues): (Vec<Vec<u8>>, Vec<_>) = (
            Vec::new(),
            flows.iter().map(|(_, all)| all.clone()).collect(),
        );
        while queues.iter().any(|queue| !queue.is_empty()) {
            let queue = random.between(0, queues.len() - 1);
            if !queues[queue].is_empty() {
                mixed.push(queues[queue].remove(0));
            }
        }

        let written = join(ALL, &mixed);

        // Flows that share a place may take more runs, but never out of order.
        assert!(written.len() < mixed.len(), "seed {seed}");
        for (flow, sent) in &mut flows {
            let got: Vec<Vec<u8>> = written
                .iter()
                .filter(|(_, bytes)| flow.owns(bytes))
                .flat_map(|(header, bytes)| split(*header, &Bytes(bytes.clone())))
                .collect();
            let payloads = |packets: &[Vec<u8>]| -> Vec<Vec<u8>> {
                packets
                    .iter()
                    .map(|packet| packet[flow.headers()..].to_vec())
                    .collect()
            };
            assert_eq!(payloads(&got), payloads(sent), "seed {seed}");
            for packet in &got {
                assert_valid(packet, seed);
            }
        }
    }
}

#[test]
fn packets_that_differ_in_what_a_run_must_share_are_not_joined() {
    // What is changed in the second of two packets, whose transport header is there.
    let changes: [(&str, Change); 8] = [
        ("sequence", |packet, at| packet[at + 7] ^= 1),
        ("acknowledgement", |packet, at| packet[at + 11] ^= 1),
        ("flags", |packet, at| packet[at + 13] |= FIN),
        ("window", |packet, at| packet[at + 15] ^= 1),
        ("urgent pointer", |packet, at| packet[at + 19] ^= 1),
        ("source port", |packet, at| packet[at + 1] ^= 1),
        ("destination port", |packet, at| packet[at + 3] ^= 1),
        ("traffic class", |packet, _| packet[1] ^= 0x20),
    ];
    for seed in 1..=200 {
        let mut random = Random(seed);
        let flow = Flow {
            is_tcp: true,
            flags: ACK,
            options: Vec::new(),
            ..Flow::random(&mut random)
        };
        let payload = random.bytes(400, 400);
        let (header, packet) = flow.super_packet(&payload, 200);
        let packets = split(header, &packet);
        assert_eq!(join(ALL, &packets).len(), 1, "seed {seed}");

        for (what, change) in changes {
            let mut changed = packets.clone();
            change(&mut changed[1], flow.transport());
            repair(&mut changed[1]);

            let written = join(ALL, &changed);

            assert_eq!(written.len(), 2, "seed {seed}: {what}");
            assert_eq!(written[1].1, changed[1], "seed {seed}: {what}");
        }
    }
}

#[test]
fn packets_with_wrong_checksums_are_handed_over_as_they_are() {
    for seed in 1..=300 {
        let mut random = Random(seed);
        let flow = Flow::random(&mut random);
        let payload = random.bytes(600, 600);
        let (header, packet) = flow.super_packet(&payload, 200);
        let mut packets = split(header, &packet);
        let broken = random.between(0, 2);
        let at = random.between(flow.headers(), packets[broken].len() - 1);
        packets[broken][at] ^= 0x55;

        let written = join(ALL, &packets);

        assert!(
            written.contains(&(VirtioHeader::default(), packets[broken].clone())),
            "seed {seed}"
        );
    }
}

#[test]
fn fragments_are_never_joined_and_nothing_passes_them() {
    let mut random = Random(3);
    let flow = Flow {
        is_tcp: true,
        is_v6: false,
        flags: ACK,
        ..Flow::random(&mut random)
    };
    let payload = random.bytes(600, 600);
    let (header, packet) = flow.super_packet(&payload, 200);
    let mut packets = split(header, &packet);
    let mut fragment = packets[0].clone();
    fragment[6] = 0x20;
    repair(&mut fragment);
    packets.insert(1, fragment);

    let written = join(ALL, &packets);

    assert_eq!(written.len(), 3);
    assert_eq!(written[1], (VirtioHeader::default(), packets[1].clone()));
}

#[test]
fn datagrams_without_a_checksum_stay_without() {
    let mut random = Random(4);
    let flow = Flow {
        is_tcp: false,
        is_v6: false,
        ..Flow::random(&mut random)
    };
    let payload = random.bytes(600, 600);
    let (header, packet) = flow.super_packet(&payload, 200);
    let mut packets = split(header, &packet);
    for packet in &mut packets {
        packet[26..28].fill(0);
    }

    let written = join(ALL, &packets);

    let written: Vec<Vec<u8>> = written.into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(written, packets);
}

#[test]
fn a_device_without_offload_gets_every_packet_by_itself() {
    let mut random = Random(5);
    for (offload, is_tcp) in [
        (Offload::default(), true),
        (Offload::default(), false),
        (
            Offload {
                tcp: true,
                udp: false,
            },
            false,
        ),
        (
            Offload {
                tcp: false,
                udp: true,
            },
            true,
        ),
    ] {
        let flow = Flow {
            is_tcp,
            ..Flow::random(&mut random)
        };
        let payload = random.bytes(600, 600);
        let (header, packet) = flow.super_packet(&payload, 200);
        let packets = split(header, &packet);

        let written = join(offload, &packets);

        let written: Vec<Vec<u8>> = written.into_iter().map(|(_, bytes)| bytes).collect();
        assert_eq!(written, packets, "{offload:?}");
    }
}

#[test]
fn a_device_that_refuses_super_packets_gets_the_packets_and_no_more_super_packets() {
    let mut random = Random(6);
    let flow = Flow::random(&mut random);
    let payload = random.bytes(600, 600);
    let (header, packet) = flow.super_packet(&payload, 200);
    let packets = split(header, &packet);
    let mut coalescer = Coalescer::new(1 << 16, ALL);

    for refusals in [1, 0] {
        let (mut refused, mut written) = (0, Vec::new());
        fill(&mut coalescer, &packets);
        let drained = coalescer.drain(|header, slices| {
            if *header != [0; 10] {
                refused += 1;
                return Err(io::ErrorKind::InvalidInput.into());
            }
            written.push(flat(slices));
            Ok(())
        });
        assert_eq!(refused, refusals);
        assert_eq!(written, packets);
        assert_eq!((drained.written, drained.lost), (3, 0));
    }
}

#[test]
fn what_a_device_refuses_is_counted_and_the_rest_goes_on() {
    let mut random = Random(8);
    let packets: Vec<Vec<u8>> = (0..5).map(|_| random.bytes(20, 60)).collect();
    let mut coalescer = Coalescer::new(1 << 16, ALL);
    fill(&mut coalescer, &packets);
    let mut calls = 0;

    let drained = coalescer.drain(|_, _| {
        calls += 1;
        if calls == 2 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    });

    assert_eq!((calls, drained.written, drained.lost), (5, 4, 1));
    let error = drained.error.unwrap();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    assert!(coalescer.is_empty());
}

#[test]
fn a_run_ends_at_64_segments_and_at_64_kib() {
    let mut random = Random(9);
    for (size, runs) in [(10, 2), (1000, 2), (1400, 2)] {
        let flow = Flow {
            flags: ACK,
            ..Flow::random(&mut random)
        };
        let mut packets = Vec::new();
        for half in 0..2 {
            let payload = random.bytes(40 * size, 40 * size);
            let (header, packet) = flow.after(half * 40 * size).super_packet(&payload, size);
            packets.extend(split(header, &packet));
        }

        let written = join(ALL, &packets);

        assert_eq!(written.len(), runs, "{size}");
        let counts = written.iter().map(|(header, bytes)| {
            assert!(bytes.len() <= MAX_PACKET);
            split(*header, &Bytes(bytes.clone())).len()
        });
        let counts: Vec<usize> = counts.collect();
        assert!(counts.iter().all(|count| *count <= 64), "{counts:?}");
        assert_eq!(counts.iter().sum::<usize>(), 80, "{counts:?}");
    }
}

#[test]
fn packets_that_may_be_fragmented_or_whose_ip_header_is_damaged_are_not_joined() {
    let mut random = Random(10);
    let flow = Flow {
        is_v6: false,
        flags: ACK,
        ..Flow::random(&mut random)
    };
    let payload = random.bytes(600, 600);
    let (header, packet) = flow.super_packet(&payload, 200);
    let packets = split(header, &packet);
    let fragmentable = packets.iter().map(|packet| {
        let mut packet = packet.clone();
        packet[6] = 0;
        repair(&mut packet);
        packet
    });
    let damaged = packets.iter().map(|packet| {
        let mut packet = packet.clone();
        packet[V4_CHECKSUM] ^= 1;
        packet
    });

    for changed in [fragmentable.collect::<Vec<_>>(), damaged.collect()] {
        let written = join(ALL, &changed);

        let written: Vec<Vec<u8>> = written.into_iter().map(|(_, bytes)| bytes).collect();
        assert_eq!(written, changed);
    }
}

#[test]
fn a_full_arena_offers_no_space_until_it_is_drained() {
    let mut coalescer = Coalescer::new(10_000, ALL);
    let mut taken = 0;
    while let Some(space) = coalescer.space() {
        space[..1400].fill(0);
        coalescer.push(1400);
        taken += 1;
    }

    let drained = coalescer.drain(|_, _| Ok(()));

    assert_eq!((taken, drained.written), (6, 6));
    assert!(coalescer.space().is_some());
}

#[test]
fn a_header_survives_encoding() {
    for gso_type in [GsoType::None, GsoType::TcpV4, GsoType::TcpV6, GsoType::Udp] {
        let header = VirtioHeader {
            flags: 1,
            gso_type,
            header_length: 52,
            gso_size: 1368,
            checksum_start: 20,
            checksum_offset: 16,
        };

        assert_eq!(VirtioHeader::parse(&header.encode()), Ok(header));
    }
    let unknown = [0, 3, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(VirtioHeader::parse(&unknown), Err(Malformed::GsoType(3)));
}

type Change = fn(&mut Vec<u8>, usize);

/// What two ends send each other.
#[derive(Debug, Clone)]
struct Flow {
    is_v6: bool,
    is_tcp: bool,
    flags: u8,
    options: Vec<u8>,
    addresses: [u8; 32],
    ports: [u8; 4],
    sequence: u32,
    id: u16,
    class: u8,
}

/// A packet, maybe a super-packet.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bytes(Vec<u8>);

impl Bytes {
    /// As it is when it comes out again: a lone packet has its whole checksum.
    fn masked(&self, segments: usize) -> Vec<u8> {
        let mut bytes = self.0.clone();
        if segments == 1 {
            repair(&mut bytes);
        }
        bytes
    }
}

impl Flow {
    /// A flow that may be joined.
    fn random(random: &mut Random) -> Self {
        let is_tcp = random.between(0, 2) > 0;
        let options = 4 * random.between(0, 10);
        Self {
            is_v6: random.between(0, 1) > 0,
            is_tcp,
            flags: [ACK, ACK | PSH][random.between(0, 1)],
            options: if is_tcp {
                random.bytes(options, options)
            } else {
                Vec::new()
            },
            addresses: random.bytes(32, 32).try_into().unwrap(),
            ports: random.bytes(4, 4).try_into().unwrap(),
            sequence: u32::try_from(random.next() >> 32).unwrap(),
            id: u16::try_from(random.next() >> 48).unwrap(),
            class: random.byte(),
        }
    }

    fn after(&self, bytes: usize) -> Self {
        let sequence = self.sequence.wrapping_add(u32::try_from(bytes).unwrap());
        Self {
            sequence,
            ..self.clone()
        }
    }

    fn transport(&self) -> usize {
        if self.is_v6 { 40 } else { 20 }
    }

    fn headers(&self) -> usize {
        let own = if self.is_tcp { 20 } else { 8 };
        self.transport() + own + self.options.len()
    }

    fn owns(&self, packet: &[u8]) -> bool {
        let at = self.transport();
        let end = if self.is_v6 { 32 } else { 8 };
        packet[0] >> 4 == (if self.is_v6 { 6 } else { 4 })
            && packet[at - end..at] == self.addresses[..end]
            && packet[at..at + 4] == self.ports
    }

    /// As the kernel hands it over: with the pseudo-header's sum as checksum.
    fn super_packet(&self, payload: &[u8], size: usize) -> (VirtioHeader, Bytes) {
        let mut body = self.ports.to_vec();
        let whole = self.headers() - self.transport() + payload.len();
        if self.is_tcp {
            body.extend(self.sequence.to_be_bytes());
            body.extend([1, 2, 3, 4]);
            let offset = u8::try_from((20 + self.options.len()) / 4 * 16).unwrap();
            body.extend([offset, self.flags, 5, 6, 0, 0, 0, 0]);
            body.extend(&self.options);
        } else {
            body.extend(short(whole).to_be_bytes());
            body.extend([0; 2]);
        }
        body.extend(payload);
        let mut packet = if self.is_v6 {
            let [high, low] = short(whole).to_be_bytes();
            let mut packet = vec![
                0x60 | self.class >> 4,
                self.class << 4,
                7,
                8,
                high,
                low,
                0,
                61,
            ];
            packet.extend(self.addresses);
            packet
        } else {
            let [high, low] = short(20 + whole).to_be_bytes();
            let [a, b] = self.id.to_be_bytes();
            let mut packet = vec![0x45, self.class, high, low, a, b, 0x40, 0, 61, 0, 0, 0];
            packet.extend(&self.addresses[..8]);
            packet
        };
        let protocol = if self.is_tcp { TCP } else { UDP };
        packet[if self.is_v6 { 6 } else { 9 }] = protocol;
        packet.extend(body);
        let sum = checksum::fold(pseudo(&packet, protocol) + u32::from(short(whole)));
        let offset = if self.is_tcp { 16 } else { 6 };
        write(&mut packet, self.transport() + offset, sum);
        if !self.is_v6 {
            let sum = !naive(&packet[..20]);
            write(&mut packet, V4_CHECKSUM, sum);
        }
        let header = VirtioHeader {
            flags: 1,
            gso_type: match (self.is_tcp, self.is_v6) {
                (true, false) => GsoType::TcpV4,
                (true, true) => GsoType::TcpV6,
                (false, _) => GsoType::Udp,
            },
            header_length: short(self.headers()),
            gso_size: short(size),
            checksum_start: short(self.transport()),
            checksum_offset: short(offset),
        };
        (header, Bytes(packet))
    }
}

fn split(header: VirtioHeader, Bytes(packet): &Bytes) -> Vec<Vec<u8>> {
    let mut buffer = packet.clone();
    buffer.resize(packet.len() + ROOM, 0xaa);
    let mut segments = Segments::new(header, &mut buffer, packet.len()).unwrap();
    let mut all = Vec::new();
    while let Some(segment) = segments.next() {
        assert_eq!(segment.bytes.len(), segment.length + ROOM);
        all.push(segment.bytes[..segment.length].to_vec());
        segment.bytes[segment.length..].fill(0);
    }
    all
}

fn join(offload: Offload, packets: &[Vec<u8>]) -> Vec<(VirtioHeader, Vec<u8>)> {
    let mut coalescer = Coalescer::new(1 << 20, offload);
    fill(&mut coalescer, packets);
    let mut written = Vec::new();
    coalescer.drain(|header, slices| {
        written.push((VirtioHeader::parse(header).unwrap(), flat(slices)));
        Ok(())
    });
    written
}

fn fill(coalescer: &mut Coalescer, packets: &[Vec<u8>]) {
    for packet in packets {
        coalescer.space().unwrap()[..packet.len()].copy_from_slice(packet);
        coalescer.push(packet.len());
    }
}

fn flat(slices: &[IoSlice<'_>]) -> Vec<u8> {
    slices.iter().flat_map(|slice| slice.to_vec()).collect()
}

/// Judges a packet by the naive sums of its headers.
fn assert_valid(packet: &[u8], seed: u64) {
    let (at, protocol) = if packet[0] >> 4 == 4 {
        assert_eq!(naive(&packet[..20]), 0xffff, "seed {seed}");
        assert_eq!(usize::from(read(packet, 2)), packet.len(), "seed {seed}");
        (20, packet[9])
    } else {
        assert_eq!(usize::from(read(packet, 4)) + 40, packet.len());
        (40, packet[6])
    };
    let body = &packet[at..];
    if protocol == UDP {
        assert_eq!(usize::from(read(body, 4)), body.len(), "seed {seed}");
        assert_ne!(read(body, UDP_CHECKSUM), 0, "seed {seed}");
    }
    assert_eq!(naive(&pseudo_packet(packet, at)), 0xffff, "seed {seed}");
}

/// Gives a changed packet its right checksums.
fn repair(packet: &mut [u8]) {
    let (at, protocol) = if packet[0] >> 4 == 4 {
        packet[10..12].fill(0);
        let sum = !naive(&packet[..20]);
        write(packet, V4_CHECKSUM, sum);
        (20, packet[9])
    } else {
        (40, packet[6])
    };
    let place = at
        + if protocol == TCP {
            TCP_CHECKSUM
        } else {
            UDP_CHECKSUM
        };
    write(packet, place, 0);
    let sum = !naive(&pseudo_packet(packet, at));
    write(
        packet,
        place,
        if protocol == UDP && sum == 0 {
            0xffff
        } else {
            sum
        },
    );
}

fn pseudo_packet(packet: &[u8], at: usize) -> Vec<u8> {
    let (addresses, protocol) = if at == 20 {
        (&packet[12..20], packet[9])
    } else {
        (&packet[8..40], packet[6])
    };
    let mut all = addresses.to_vec();
    all.extend([0, protocol]);
    all.extend(short(packet.len() - at).to_be_bytes());
    all.extend(&packet[at..]);
    all
}

fn naive(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8;
        sum += pair.get(1).map_or(0, |low| u32::from(*low));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

/// SplitMix64: any seed will do.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn between(&mut self, least: usize, most: usize) -> usize {
        let span = u64::try_from(most - least + 1).unwrap();
        least + usize::try_from(self.next() % span).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    fn bytes(&mut self, least: usize, most: usize) -> Vec<u8> {
        let length = self.between(least, most);
        (0..length).map(|_| self.byte()).collect()
    }
}

const ALL: Offload = Offload {
    tcp: true,
    udp: true,
};
