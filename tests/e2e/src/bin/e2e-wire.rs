//! `e2e-wire`: a link between two interfaces that can be made bad, a capture, and a source of made-up packets.
//!
//! Each verb works on interfaces of the network namespace that it is started in, writes lines of JSON, and ends with
//! its standard input.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use e2e::emulator::{Counts, Emulator, Side};
use e2e::sniff::{Frame, Needle};
use e2e::wire::{Orders, Wire, wait};
use serde_json::{Value, json};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["capture", interface, ref needles @ ..] => capture(interface, needles),
        ["inject", interface] => inject(interface),
        ["link", near, far, seed] => link(near, far, seed),
        _ => Err(io::Error::other(USAGE)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if standard error is closed.
            let _closed = writeln!(io::stderr(), "e2e-wire: {error}");
            ExitCode::FAILURE
        }
    }
}

const USAGE: &str = "usage:
  e2e-wire link NEAR FAR SEED            pumps frames between two interfaces; orders: loss 30%, delay 20ms, down, up, …
                                         and `counts`
  e2e-wire capture INTERFACE NEEDLE…     reports frames with towards=PREFIX, from=PREFIX, label=NAME, text=BYTES,
                                         mac=MAC, arp=ADDRESS, longer=BYTES; order: `matches`, with how many
                                         and when the first and the last of each
  e2e-wire inject INTERFACE              sends the frames that come as lines of hexadecimal digits";

fn link(near: &str, far: &str, seed: &str) -> io::Result<()> {
    let seed: u64 = seed.parse().map_err(io::Error::other)?;
    let wires = [Wire::open(near)?, Wire::open(far)?];
    let (mut emulator, mut orders) = (Emulator::new(seed), Orders::default());
    let mut buffer = vec![0; LONGEST_FRAME];
    say(&json!({"ready": true, "seed": seed}))?;
    loop {
        let pause = emulator
            .poll_timeout()
            .map(|due| due.saturating_duration_since(Instant::now()));
        if wait(&[&wires[0], &wires[1]], pause)? {
            let lines = orders.take()?;
            if orders.have_ended() {
                return Ok(());
            }
            for line in lines {
                say(&obey(&mut emulator, &line))?;
            }
        }
        for (wire, side) in wires.iter().zip(Side::BOTH) {
            for _ in 0..BATCH {
                let Some(received) = wire.try_receive(&mut buffer)? else {
                    break;
                };
                if received.came_in {
                    emulator.handle_frame(side, &buffer[..received.length], Instant::now());
                }
            }
        }
        while let Some((side, frame)) = emulator.poll_frame(Instant::now()) {
            let wire = match side {
                Side::Near => &wires[0],
                Side::Far => &wires[1],
            };
            // As on a cable: what the other end cannot take is lost.
            let _lost = wire.send(&frame);
        }
    }
}

fn obey(emulator: &mut Emulator, line: &str) -> Value {
    if line == "counts" {
        let of = |side| told(emulator.counts(side));
        return json!({"near": of(Side::Near), "far": of(Side::Far)});
    }
    match emulator.change(line) {
        Ok(()) => json!({"applied": line}),
        Err(error) => json!({"refused": error.to_string()}),
    }
}

fn told(counts: Counts) -> Value {
    json!({
        "taken": counts.taken, "passed": counts.passed, "lost": counts.lost, "duplicated": counts.duplicated,
        "reordered": counts.reordered, "corrupted": counts.corrupted, "too_long": counts.too_long,
        "overflowed": counts.overflowed,
    })
}

fn capture(interface: &str, needles: &[&str]) -> io::Result<()> {
    let needles: Vec<Needle> = needles
        .iter()
        .map(|needle| needle.parse())
        .collect::<Result<_, _>>()
        .map_err(io::Error::other)?;
    let wire = Wire::open(interface)?;
    let mut orders = Orders::default();
    let mut buffer = vec![0; LONGEST_FRAME];
    let (mut frames, mut matches) = (0_u64, BTreeMap::<String, Matches>::new());
    say(&json!({"ready": true, "interface": interface}))?;
    loop {
        if wait(&[&wire], None)? {
            let lines = orders.take()?;
            if orders.have_ended() {
                return Ok(());
            }
            for line in lines {
                let matches: BTreeMap<_, _> = matches
                    .iter()
                    .map(|(needle, found)| (needle, found.told()))
                    .collect();
                say(&json!({"order": line, "frames": frames, "matches": matches}))?;
            }
        }
        while let Some(received) = wire.try_receive(&mut buffer)? {
            frames += 1;
            let frame = Frame {
                bytes: &buffer[..received.length],
                has_ethernet: wire.has_ethernet(),
            };
            for needle in needles.iter().filter(|needle| needle.is_in(&frame)) {
                let found = matches.entry(needle.to_string()).or_default();
                found.note(received.at);
                if found.count <= MOST_REPORTS {
                    let (at, frame, came_in) = (
                        received.at.as_secs_f64(),
                        frame.describe(),
                        received.came_in,
                    );
                    say(
                        &json!({"at": at, "needle": needle.to_string(), "came_in": came_in, "frame": frame}),
                    )?;
                }
            }
        }
    }
}

/// The frames in which a needle was found.
#[derive(Debug, Clone, Copy, Default)]
struct Matches {
    count: u64,
    first: Duration,
    last: Duration,
}

impl Matches {
    fn note(&mut self, at: Duration) {
        self.count += 1;
        self.first = if self.count == 1 {
            at
        } else {
            self.first.min(at)
        };
        self.last = self.last.max(at);
    }

    /// Times are in seconds since 1970.
    fn told(self) -> Value {
        json!({"count": self.count, "first": self.first.as_secs_f64(), "last": self.last.as_secs_f64()})
    }
}

fn inject(interface: &str) -> io::Result<()> {
    let wire = Wire::open(interface)?;
    let mut orders = Orders::default();
    let mut number = 0_u64;
    say(&json!({"ready": true, "interface": interface}))?;
    let mut buffer = vec![0; LONGEST_FRAME];
    loop {
        let is_ordered = wait(&[&wire], None)?;
        // Frames show how the interface is called.
        while wire.try_receive(&mut buffer)?.is_some() {}
        if !is_ordered {
            continue;
        }
        let lines = orders.take()?;
        if orders.have_ended() {
            return Ok(());
        }
        for line in lines {
            number += 1;
            let sent = match bytes(&line) {
                Some(frame) => wire.send(&frame).map_err(|error| error.to_string()),
                None => Err("no hexadecimal digits".to_owned()),
            };
            say(&json!({"injected": number, "problem": sent.err()}))?;
        }
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

fn say(value: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{value}")?;
    out.flush()
}

/// A super-packet of a device that leaves cutting to its driver.
const LONGEST_FRAME: usize = 65_536 + 14;
/// Frames of one side before the other has its turn.
const BATCH: usize = 64;
/// Of each needle; later frames are counted only.
const MOST_REPORTS: u64 = 200;
