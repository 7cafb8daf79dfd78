use super::*;

const FRAMES: usize = 10_000;

/// Sends numbered frames, one a millisecond, and returns what leaves at the far side, in order.
fn arrivals(seed: u64, changes: &[&str]) -> (Vec<usize>, Counts) {
    let mut link = Emulator::new(seed);
    for change in changes {
        link.change(change).unwrap();
    }
    let begun = Instant::now();
    let mut arrived = Vec::new();
    for number in 0..FRAMES {
        let now = begun + Duration::from_millis(u64::try_from(number).unwrap());
        link.handle_frame(Side::Near, &frame(number), now);
        drain(&mut link, now, &mut arrived);
    }
    drain(&mut link, begun + Duration::from_secs(3600), &mut arrived);
    (arrived, link.counts(Side::Near))
}

fn drain(link: &mut Emulator, now: Instant, arrived: &mut Vec<usize>) {
    while let Some((to, frame)) = link.poll_frame(now) {
        assert_eq!(to, Side::Far);
        arrived.push(usize::from_be_bytes(frame[14..22].try_into().unwrap()));
    }
}

fn frame(number: usize) -> Vec<u8> {
    let mut frame = vec![0; 14];
    frame.extend(number.to_be_bytes());
    frame
}

/// The share of all frames, in percent, within three standard deviations.
#[track_caller]
fn about(count: usize, percent: f64) {
    let all = f64::from(u32::try_from(FRAMES).unwrap());
    let count = f64::from(u32::try_from(count).unwrap());
    let share = percent / 100.0;
    let tolerance = 3.0 * (all * share * (1.0 - share)).sqrt();
    assert!((count - all * share).abs() <= tolerance, "{count}");
}

#[test]
fn a_perfect_link_passes_every_frame_once_and_in_order() {
    let (arrived, counts) = arrivals(1, &[]);

    assert_eq!(arrived, (0..FRAMES).collect::<Vec<_>>());
    assert_eq!((counts.taken, counts.passed), (10_000, 10_000));
}

#[test]
fn loss_takes_its_share() {
    let (arrived, counts) = arrivals(2, &["loss 30%"]);

    about(arrived.len(), 70.0);
    assert_eq!(counts.lost + counts.passed, counts.taken);
}

#[test]
fn duplication_adds_its_share() {
    let (arrived, _) = arrivals(3, &["duplicate 5%"]);

    about(arrived.len() - FRAMES, 5.0);
    assert!(arrived.is_sorted());
}

#[test]
fn reordering_puts_its_share_behind_later_frames_and_jitter_none() {
    let (arrived, counts) = arrivals(4, &["delay 20ms", "reorder 10%"]);
    let steady = arrivals(4, &["delay 20ms", "jitter 200ms"]).0;

    let early = arrived.windows(2).filter(|pair| pair[0] > pair[1]).count();
    about(usize::try_from(counts.reordered).unwrap(), 10.0);
    assert!(early > 500, "{early}");
    assert_eq!(arrived.len(), FRAMES);
    assert!(steady.is_sorted());
}

#[test]
fn corruption_changes_one_bit_of_the_packet_and_nothing_of_the_link() {
    let mut link = Emulator::new(5);
    link.change("corrupt 100%").unwrap();
    let now = Instant::now();
    for _ in 0..1000 {
        link.handle_frame(Side::Near, &[0x55; 80], now);
        let (_, frame) = link.poll_frame(now).unwrap();
        let wrong: u32 = frame.iter().map(|byte| (byte ^ 0x55).count_ones()).sum();
        assert_eq!((wrong, &frame[..14]), (1, &[0x55; 14][..]));
    }
    link.handle_frame(Side::Near, &[], now);
    link.handle_frame(Side::Near, &[1; 14], now);
    assert!(link.poll_frame(now).unwrap().1.is_empty());
    assert_eq!(link.poll_frame(now).unwrap().1, [1; 14]);
}

#[test]
fn delay_holds_a_frame_for_exactly_that_long() {
    let mut link = Emulator::new(6);
    link.change("far delay 30ms").unwrap();
    let now = Instant::now();
    link.handle_frame(Side::Far, b"to near", now);
    link.handle_frame(Side::Near, b"to far", now);

    assert_eq!(link.poll_frame(now), Some((Side::Far, b"to far".to_vec())));
    let due = now + Duration::from_millis(30);
    assert_eq!(link.poll_timeout(), Some(due));
    assert_eq!(link.poll_frame(due - Duration::from_nanos(1)), None);
    assert_eq!(
        link.poll_frame(due),
        Some((Side::Near, b"to near".to_vec()))
    );
}

#[test]
fn a_rate_spaces_frames_and_its_queue_is_bounded() {
    let mut link = Emulator::new(7);
    link.change("rate 8mbit").unwrap();
    let now = Instant::now();
    for _ in 0..1000 {
        link.handle_frame(Side::Near, &[0; 1000], now);
    }

    // 1000 bytes are one millisecond of 8 Mbit/s; the queue holds 200 ms.
    assert_eq!(link.poll_timeout(), Some(now + Duration::from_millis(1)));
    let (mut passed, end) = (0, now + Duration::from_secs(10));
    while link.poll_frame(end).is_some() {
        passed += 1;
    }
    assert_eq!(passed, 201);
    assert_eq!(link.counts(Side::Near).overflowed, 1000 - 201);
}

#[test]
fn a_link_that_is_down_passes_nothing_until_it_is_up() {
    let mut link = Emulator::new(8);
    let now = Instant::now();
    link.change("down").unwrap();
    link.handle_frame(Side::Near, b"lost", now);
    link.change("up").unwrap();
    link.handle_frame(Side::Near, b"kept", now);

    assert_eq!(link.poll_frame(now), Some((Side::Far, b"kept".to_vec())));
    assert_eq!(link.poll_frame(now), None);
}

#[test]
fn a_packet_that_does_not_fit_is_dropped_and_its_sender_told_if_wanted() {
    let mut long = vec![0; 14 + 1400];
    long[..12].copy_from_slice(b"\x02to\0\0\x01\x02from\x01");
    long[12..14].copy_from_slice(&[0x08, 0x00]);
    long[14..34].copy_from_slice(&[
        0x45, 0, 5, 0x78, 0, 1, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 2, 198, 18, 1, 2,
    ]);
    let now = Instant::now();

    let mut silent = Emulator::new(9);
    silent.change("mtu 1280 drop").unwrap();
    silent.handle_frame(Side::Near, &long, now);
    assert_eq!(silent.poll_frame(now), None);
    silent.handle_frame(Side::Near, &long[..14 + 1280], now);
    assert!(silent.poll_frame(now).is_some());

    let mut honest = Emulator::new(9);
    honest.change("mtu 1280 icmp").unwrap();
    honest.handle_frame(Side::Near, &long, now);
    let (to, answer) = honest.poll_frame(now).unwrap();
    assert_eq!(to, Side::Near);
    assert_eq!(&answer[..12], b"\x02from\x01\x02to\0\0\x01");
    assert_eq!(&answer[26..34], &[198, 18, 1, 2, 192, 0, 2, 2]);
    assert_eq!(&answer[34..36], &[3, 4]);
    assert_eq!(&answer[40..42], &1280_u16.to_be_bytes());
    assert_eq!(&answer[42..70], &long[14..42]);
    assert_eq!(crate::packets::checksum(&[&answer[14..34]]), [0, 0]);
    assert_eq!(crate::packets::checksum(&[&answer[34..]]), [0, 0]);

    long[20] = 0; // may be cut: a router would, this link does not
    honest.handle_frame(Side::Near, &long, now);
    assert_eq!(honest.poll_frame(now), None);
    long[12..15].copy_from_slice(&[0x86, 0xdd, 0x60]);
    honest.handle_frame(Side::Near, &long, now);
    let (_, answer) = honest.poll_frame(now).unwrap();
    assert_eq!(answer.len(), 14 + 1280);
    assert_eq!(answer[54], 2);
}

#[test]
fn the_same_seed_gives_the_same_and_another_gives_another() {
    let changes = [
        "loss 10%",
        "duplicate 5%",
        "delay 5ms",
        "jitter 30ms",
        "reorder 20%",
    ];

    assert_eq!(arrivals(10, &changes), arrivals(10, &changes));
    assert_ne!(arrivals(10, &changes), arrivals(11, &changes));
}

#[test]
fn what_is_no_change_is_refused_and_changes_nothing() {
    let mut link = Emulator::new(12);
    for line in [
        "",
        "near",
        "loss",
        "loss 30",
        "loss 101%",
        "loss -1%",
        "loss 1.23456%",
        "delay 20",
        "delay 99999ms",
        "rate 0mbit",
        "rate 10",
        "mtu 12 drop",
        "mtu 1280",
        "mtu 1280 perhaps",
        "explode",
        "up up",
        "near far up",
        "loss 18446744073709551615%",
    ] {
        let refusal = link.change(line).unwrap_err().to_string();
        assert!(refusal.contains("loss 30%"), "{line}: {refusal}");
    }
    let untouched = Conditions::default();
    assert_eq!(
        link.ways.each_ref().map(|way| way.conditions),
        [untouched; 2]
    );

    link.change("near loss 0.25%").unwrap();
    assert_eq!(link.ways[0].conditions.loss.millionths(), 2_500);
    link.change("perfect").unwrap();
    assert_eq!(link.ways[0].conditions, untouched);
}
