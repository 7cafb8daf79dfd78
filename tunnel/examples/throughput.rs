//! Measures one stream through the tunnel, both ends in this process, over
//! UDP on loopback: `cargo run --release -p tunnel --example throughput -- 2048`
//! moves 2048 MiB each way and prints Gb/s, processor seconds per GB and peak memory.

#![expect(clippy::print_stdout, reason = "the figures are the output")]

#[path = "../tests/userspace/world.rs"]
#[expect(
    dead_code,
    reason = "a measurement needs less of the world than the tests"
)]
#[expect(clippy::unwrap_used, reason = "the world is the tests'")]
mod world;

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use self::world::{DISCARD, Options, World, ZEROS};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mebibytes: usize = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(256);
    let total = mebibytes << 20;
    let mut world = World::start(Options::default());

    let mut stream = world.ask(DISCARD).await;
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let piece = vec![0; 64 * 1024];
    let mut longest = Duration::ZERO;
    for _ in 0..total / piece.len() {
        let before = Instant::now();
        stream.write_all(&piece).await.expect("the tunnel holds");
        longest = longest.max(before.elapsed());
    }
    stream.shutdown().await.expect("the tunnel holds");
    let arrived = stream.read_u64().await.expect("the tunnel holds");
    assert_eq!(arrived, u64::try_from(total).unwrap_or(u64::MAX));
    println!("longest stall {longest:?}");
    print("up", total, started.elapsed(), cpu_seconds() - cpu);

    let mut stream = world.ask(ZEROS).await;
    let (started, cpu) = (Instant::now(), cpu_seconds());
    stream.write_u64(arrived).await.expect("the tunnel holds");
    let mut buffer = vec![0; 64 * 1024];
    let mut received = 0;
    loop {
        let length = stream.read(&mut buffer).await.expect("the tunnel holds");
        if length == 0 {
            break;
        }
        received += length;
    }
    assert_eq!(received, total);
    print("down", total, started.elapsed(), cpu_seconds() - cpu);
    println!("peak memory, both ends: {} kB", peak_memory());
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn print(direction: &str, bytes: usize, elapsed: Duration, cpu: f64) {
    let gigabytes = bytes as f64 / 1e9;
    let rate = gigabytes * 8.0 / elapsed.as_secs_f64();
    println!(
        "{direction}: {rate:.2} Gb/s, {:.2} processor seconds per GB",
        cpu / gigabytes
    );
}

/// Reads user and system time, where the system has `/proc`.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    ticks / 100.0
}

fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap_or_default();
    line.split_whitespace().nth(1).unwrap_or("?").to_owned()
}
