//! One run of one variant: makes the world, and measures in it.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use super::OnceArgs;
use super::figures::{Metric, Sample, median};
use super::world::{INSIDE_FAR, Running, Side, World};
use crate::bench::machine;

/// Measures what the variant is asked for.
///
/// # Errors
/// Says which program did not do its part, with what it wrote.
pub(super) fn measure(args: &OnceArgs) -> anyhow::Result<Sample> {
    let variant = args.variant;
    let world = World::make(args)?;
    let (gateway, client) = world.connect(variant.client(), variant.gateway())?;
    let mut run = Run {
        world,
        client,
        _gateway: gateway,
        server: None,
        sample: Sample::default(),
    };

    if variant.gives(Metric::RssIdle) {
        sleep(SETTLING);
        let idle = machine::resident_megabytes(run.client.id())?;
        run.sample.set(Metric::RssIdle, idle);
    }
    if variant.gives(Metric::PingIdle) {
        run.ping_idle()?;
    }
    run.serve()?;
    run.tcp(Metric::Tcp1, 1, args.seconds)?;
    if variant.gives(Metric::Tcp4) {
        run.tcp(Metric::Tcp4, 4, args.seconds)?;
    }
    if variant.gives(Metric::PingLoaded) {
        run.ping_loaded()?;
    }
    if variant.gives(Metric::RssPeak) {
        let peak = machine::peak_megabytes(run.client.id())?;
        run.sample.set(Metric::RssPeak, peak);
    }
    // Last, as it changes the world.
    if variant.gives(Metric::RoamGap) {
        run.roam()?;
    }
    Ok(run.sample)
}

struct Run {
    world: World,
    client: Running,
    _gateway: Running,
    server: Option<Running>,
    sample: Sample,
}

impl Run {
    /// Starts what takes the TCP streams.
    fn serve(&mut self) -> anyhow::Result<()> {
        let mut server = Side::Far.command("iperf3");
        server.args(["--server", "--forceflush"]);
        let mut server = Running::start("iperf3", &mut server)?;
        server.wait("open port", || {
            // In a word of its own, so that nothing is asked of the tunnel.
            let mut listing = Side::Far.command("cat");
            let shown = listing.args(["/proc/net/tcp", "/proc/net/tcp6"]).output()?;
            Ok(String::from_utf8_lossy(&shown.stdout).contains(IPERF3_LISTENS))
        })?;
        self.server = Some(server);
        Ok(())
    }

    /// Sends for some seconds; one stream also tells what a gigabyte costs the client.
    fn tcp(&mut self, metric: Metric, streams: u32, seconds: u32) -> anyhow::Result<()> {
        let before = machine::processor_seconds(self.client.id())?;
        let output = iperf3(streams, seconds)
            .output()
            .context("cannot start iperf3")?;
        let spent = machine::processor_seconds(self.client.id())? - before;

        let transfer = Transfer::parse(&output.stdout)?;
        self.sample.set(metric, transfer.gigabits_per_second);
        if metric == Metric::Tcp1 {
            let gigabytes = transfer.bytes / 1e9;
            self.sample.set(Metric::CpuTx, spent / gigabytes);
        }
        Ok(())
    }

    fn ping_idle(&mut self) -> anyhow::Result<()> {
        let replies = ping("0.004", 600)?;
        self.sample
            .set(Metric::PingIdle, middle_round_trip(&replies)?);
        Ok(())
    }

    fn ping_loaded(&mut self) -> anyhow::Result<()> {
        let mut load = iperf3(1, LOAD_SECONDS)
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start iperf3")?;
        // The stream's first moments are its slow start, not load.
        sleep(SLOW_START);
        let replies = ping("0.01", 200);
        let ended = load.wait()?;
        if !ended.success() {
            bail!("the stream beside the ping ended with {ended}");
        }
        self.sample
            .set(Metric::PingLoaded, middle_round_trip(&replies?)?);
        Ok(())
    }

    fn roam(&mut self) -> anyhow::Result<()> {
        let ping = std::thread::spawn(|| ping("0.01", ROAM_PINGS));
        sleep(BEFORE_ROAMING);
        self.world.roam()?;
        let replies = ping
            .join()
            .map_err(|_| anyhow::anyhow!("the thread that pings panicked"))??;
        let planned = f64::from(ROAM_PINGS) * ROAM_INTERVAL;
        let silence = longest_silence(&replies, planned).context("no answer to any ping")?;
        self.sample.set(Metric::RoamGap, silence * 1000.0);
        Ok(())
    }
}

/// A ping that was answered.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Reply {
    /// When, in seconds.
    at: f64,
    /// How long it took, in ms.
    round_trip: f64,
}

/// What iperf3 moved.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Transfer {
    gigabits_per_second: f64,
    bytes: f64,
}

impl Transfer {
    fn parse(output: &[u8]) -> anyhow::Result<Self> {
        let report: Value = serde_json::from_slice(output).context("iperf3 printed no JSON")?;
        if let Some(error) = report.get("error") {
            bail!("iperf3: {error}");
        }
        let received = |member: &str| {
            report
                .pointer("/end/sum_received")
                .and_then(|sum| sum.get(member)?.as_f64())
                .filter(|value| *value > 0.0)
                .with_context(|| format!("iperf3's report has no {member} received"))
        };
        Ok(Self {
            gigabits_per_second: received("bits_per_second")? / 1e9,
            bytes: received("bytes")?,
        })
    }
}

fn iperf3(streams: u32, seconds: u32) -> Command {
    let mut command = Side::Near.command("iperf3");
    command
        .args(["--client", INSIDE_FAR, "--json"])
        .args(["--parallel", &streams.to_string()])
        .args(["--time", &seconds.to_string()]);
    command
}

/// Pings the far end; those that were lost are left out.
fn ping(interval: &str, count: u32) -> anyhow::Result<Vec<Reply>> {
    let output = Side::Near
        .command("ping")
        // A point in numbers, whatever the language.
        .env("LC_ALL", "C")
        .args(["-n", "-D", "-W", "1", "-i", interval])
        .args(["-c", &count.to_string(), INSIDE_FAR])
        .output()
        .context("cannot start ping")?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(parse_reply)
        .collect())
}

fn parse_reply(line: &str) -> Option<Reply> {
    let (at, rest) = line.strip_prefix('[')?.split_once(']')?;
    let (_, time) = rest.split_once(" time=")?;
    Some(Reply {
        at: at.parse().ok()?,
        round_trip: time.strip_suffix(" ms")?.parse().ok()?,
    })
}

fn middle_round_trip(replies: &[Reply]) -> anyhow::Result<f64> {
    let mut times: Vec<f64> = replies.iter().map(|reply| reply.round_trip).collect();
    times.sort_unstable_by(f64::total_cmp);
    median(&times).context("no answer to any ping")
}

/// The longest time without an answer, in seconds; also that from the last answer to the end of the plan, so that a
/// tunnel that never came back has been silent for long.
fn longest_silence(replies: &[Reply], planned: f64) -> Option<f64> {
    let end = replies.first()?.at + planned;
    let between = replies.windows(2).map(|pair| pair[1].at - pair[0].at);
    let after = end - replies.last()?.at;
    Some(between.fold(after, f64::max))
}

/// Port 5201 as `/proc/net/tcp` writes a listening socket, of either IP version.
const IPERF3_LISTENS: &str = ":1451 ";

/// Whatever a daemon does after its first packet is done by then.
const SETTLING: Duration = Duration::from_secs(1);

const SLOW_START: Duration = Duration::from_millis(500);

/// The pings take two seconds, and begin after [`SLOW_START`].
const LOAD_SECONDS: u32 = 3;

const ROAM_PINGS: u32 = 400;

const ROAM_INTERVAL: f64 = 0.01;

const BEFORE_ROAMING: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn replies(times: &[f64]) -> Vec<Reply> {
        times
            .iter()
            .map(|&at| Reply {
                at,
                round_trip: 1.0,
            })
            .collect()
    }

    #[test]
    fn a_reply_is_read_from_pings_line() {
        let line = "[1795325273.250000] 64 bytes from 10.78.0.2: icmp_seq=3 ttl=64 time=0.125 ms";

        assert_eq!(
            parse_reply(line),
            Some(Reply {
                at: 1_795_325_273.25,
                round_trip: 0.125
            })
        );
        for other in [
            "",
            "PING 10.78.0.2 (10.78.0.2) 56(84) bytes of data.",
            "[1795325273.25] From 10.78.0.1 icmp_seq=1 Destination Host Unreachable",
            "rtt min/avg/max/mdev = 0.1/0.1/0.1/0.0 ms",
        ] {
            assert_eq!(parse_reply(other), None, "{other}");
        }
    }

    #[test]
    fn the_gap_is_the_longest_time_between_answers() {
        let silence = longest_silence(&replies(&[1.0, 1.01, 1.05, 1.06]), 0.06).unwrap();

        assert!((silence - 0.04).abs() < 1e-9, "{silence}");
    }

    #[test]
    fn a_tunnel_that_never_came_back_is_silent_to_the_end() {
        let silence = longest_silence(&replies(&[1.0, 1.01]), 4.0).unwrap();

        assert!((silence - 3.99).abs() < 1e-9, "{silence}");
        assert_eq!(longest_silence(&[], 4.0), None);
    }

    #[test]
    fn what_arrived_counts_not_what_was_sent() {
        let report = br#"{"end":{"sum_sent":{"bytes":9e9,"bits_per_second":9e9},
            "sum_received":{"bytes":1000000000,"bits_per_second":2e9}}}"#;

        let transfer = Transfer::parse(report).unwrap();

        assert_eq!((transfer.gigabits_per_second, transfer.bytes), (2.0, 1e9));
    }

    #[test]
    fn a_failed_transfer_is_an_error_with_iperf3s_words() {
        let error = Transfer::parse(br#"{"error":"unable to connect"}"#).unwrap_err();

        assert!(error.to_string().contains("unable to connect"));
        assert!(Transfer::parse(b"").is_err());
        assert!(Transfer::parse(br#"{"end":{}}"#).is_err());
    }
}
