//! The figures of all rounds, and what they come to.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Context;
use serde_json::{Map, Value};

use super::table::{Counts, Report, Row, Target};
use super::variant::Variant;

/// One figure that one run gives.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Metric {
    /// Processor time of the sending client, in s/GB.
    CpuTx,
    /// Median round trip of an idle tunnel, in ms.
    PingIdle,
    /// Median round trip beside a TCP stream, in ms.
    PingLoaded,
    /// Longest silence while the client's address changes, in ms.
    RoamGap,
    /// Memory of the client after its first packets, in MB.
    RssIdle,
    /// The client's most memory after all transfers, in MB.
    RssPeak,
    /// One TCP stream, in Gb/s.
    Tcp1,
    /// Four TCP streams, in Gb/s.
    Tcp4,
}

impl Metric {
    const ALL: [Self; 8] = [
        Self::CpuTx,
        Self::PingIdle,
        Self::PingLoaded,
        Self::RoamGap,
        Self::RssIdle,
        Self::RssPeak,
        Self::Tcp1,
        Self::Tcp4,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::CpuTx => "cpu_tx",
            Self::PingIdle => "ping_idle",
            Self::PingLoaded => "ping_loaded",
            Self::RoamGap => "roam_gap",
            Self::RssIdle => "rss_idle",
            Self::RssPeak => "rss_peak",
            Self::Tcp1 => "tcp1",
            Self::Tcp4 => "tcp4",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::CpuTx => "s/GB",
            Self::PingIdle | Self::PingLoaded | Self::RoamGap => "ms",
            Self::RssIdle | Self::RssPeak => "MB",
            Self::Tcp1 | Self::Tcp4 => "Gb/s",
        }
    }
}

/// The figures of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sample(BTreeMap<Metric, f64>);

impl Sample {
    pub(super) fn set(&mut self, metric: Metric, value: f64) {
        self.0.insert(metric, value);
    }

    pub(super) fn to_json(&self) -> Value {
        let members = self
            .0
            .iter()
            .map(|(metric, value)| (metric.name().to_owned(), Value::from(*value)));
        Value::Object(members.collect())
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// Says what is no figure.
    pub(super) fn from_json(text: &str) -> anyhow::Result<Self> {
        let members: Map<String, Value> = serde_json::from_str(text)?;
        let mut sample = Self::default();
        for (name, value) in members {
            let metric = Metric::ALL
                .into_iter()
                .find(|metric| metric.name() == name)
                .with_context(|| format!("there is no figure {name:?}"))?;
            let value = value
                .as_f64()
                .with_context(|| format!("{name} is {value}, which is no number"))?;
            sample.set(metric, value);
        }
        Ok(sample)
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (metric, value)) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{} {value:.3} {}", metric.name(), metric.unit())?;
        }
        Ok(())
    }
}

/// The figures of all rounds.
#[derive(Clone, Debug, Default)]
pub(super) struct Rounds {
    rounds: Vec<BTreeMap<Variant, Sample>>,
    lookups: Vec<f64>,
}

impl Rounds {
    pub(super) fn begin(&mut self) {
        self.rounds.push(BTreeMap::new());
    }

    pub(super) fn add(&mut self, variant: Variant, sample: Sample) {
        if let Some(round) = self.rounds.last_mut() {
            round.insert(variant, sample);
        }
    }

    pub(super) fn add_lookup(&mut self, nanoseconds: f64) {
        self.lookups.push(nanoseconds);
    }

    /// What the rounds come to, beside what is aimed at.
    pub(super) fn report(&self) -> Report {
        let mut rows: Vec<Row> = COMPARISONS.iter().map(|one| self.row(one)).collect();
        rows.push(Row {
            key: "flow_lookup_ns",
            title: "Flow lookup, 10 000 flows, p50",
            unit: "ns",
            ours: Spread::over(self.lookups.iter().copied()),
            peer: None,
            ratio: None,
            counts: Counts::Ours,
            target: Target::AtMost(50.0),
        });
        Report::new(rows)
    }

    fn row(&self, comparison: &Comparison) -> Row {
        let Comparison {
            key,
            title,
            metric,
            ours,
            peer,
            counts,
            goal,
        } = *comparison;
        let idle = || Some(self.values(Metric::RssIdle, ours)?.median);
        Row {
            key,
            title,
            unit: metric.unit(),
            ours: self.values(metric, ours),
            peer: self.values(metric, peer),
            ratio: self.ratios(metric, ours, peer),
            counts,
            target: match goal {
                Goal::AboveIdle(most) => {
                    idle().map_or(Target::Unknown, |idle| Target::AtMost(idle + most))
                }
                Goal::AtLeast(least) => Target::AtLeast(least),
                Goal::AtMost(most) => Target::AtMost(most),
            },
        }
    }

    fn values(&self, metric: Metric, variant: Variant) -> Option<Spread> {
        Spread::over(
            self.rounds
                .iter()
                .filter_map(|round| round.get(&variant)?.0.get(&metric).copied()),
        )
    }

    /// Ratios within a round: a machine that is slow for a while is slow for both.
    fn ratios(&self, metric: Metric, ours: Variant, peer: Variant) -> Option<Spread> {
        Spread::over(self.rounds.iter().filter_map(|round| {
            let ours = round.get(&ours)?.0.get(&metric)?;
            let peer = round.get(&peer)?.0.get(&metric)?;
            (*peer > 0.0).then(|| ours / peer)
        }))
    }
}

/// What is put beside what, and what is aimed at.
struct Comparison {
    key: &'static str,
    title: &'static str,
    metric: Metric,
    ours: Variant,
    peer: Variant,
    counts: Counts,
    goal: Goal,
}

#[derive(Clone, Copy)]
enum Goal {
    /// So many MB more than the same program takes when idle.
    AboveIdle(f64),
    AtLeast(f64),
    AtMost(f64),
}

/// A median with its range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) least: f64,
    pub(super) median: f64,
    pub(super) most: f64,
}

impl Spread {
    /// Returns nothing of nothing.
    pub(super) fn over(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        values.sort_unstable_by(f64::total_cmp);
        Some(Self {
            least: *values.first()?,
            median: median(&values)?,
            most: *values.last()?,
        })
    }
}

/// The middle of sorted values.
pub(super) fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(*sorted.get(middle.checked_sub(1)?)?, upper))
}

const fn ratio(
    key: &'static str,
    title: &'static str,
    metric: Metric,
    [ours, peer]: [Variant; 2],
    goal: Goal,
) -> Comparison {
    Comparison {
        key,
        title,
        metric,
        ours,
        peer,
        counts: Counts::Ratio,
        goal,
    }
}

const fn value(key: &'static str, title: &'static str, metric: Metric, goal: Goal) -> Comparison {
    Comparison {
        counts: Counts::Ours,
        ..ratio(key, title, metric, WITH_THE_PEER, goal)
    }
}

const WITH_THE_PEER: [Variant; 2] = [Variant::Ours, Variant::WireguardGo];

const COMPARISONS: [Comparison; 10] = [
    ratio(
        "tcp1_ratio",
        "TCP, 1 stream",
        Metric::Tcp1,
        WITH_THE_PEER,
        Goal::AtLeast(1.5),
    ),
    ratio(
        "tcp4_ratio",
        "TCP, 4 streams",
        Metric::Tcp4,
        WITH_THE_PEER,
        Goal::AtLeast(1.7),
    ),
    ratio(
        "tcp1_mixed_ratio",
        "TCP, 1 stream, wireguard-go as gateway",
        Metric::Tcp1,
        [Variant::Mixed, Variant::WireguardGo],
        Goal::AtLeast(1.2),
    ),
    ratio(
        "cpu_tx_ratio",
        "Processor time, sending",
        Metric::CpuTx,
        WITH_THE_PEER,
        Goal::AtMost(0.6),
    ),
    ratio(
        "enforcer_ratio",
        "TCP, 1 stream, enforcer on and off",
        Metric::Tcp1,
        [Variant::Ours, Variant::OursNoEnforcer],
        Goal::AtLeast(0.98),
    ),
    ratio(
        "ping_idle_ratio",
        "Ping, idle, p50",
        Metric::PingIdle,
        WITH_THE_PEER,
        Goal::AtMost(0.6),
    ),
    ratio(
        "ping_loaded_ratio",
        "Ping beside TCP, p50",
        Metric::PingLoaded,
        WITH_THE_PEER,
        Goal::AtMost(0.5),
    ),
    value(
        "roam_gap_ms",
        "Gap when the address changes",
        Metric::RoamGap,
        Goal::AtMost(24.0),
    ),
    value(
        "rss_idle_mb",
        "Memory, idle",
        Metric::RssIdle,
        Goal::AtMost(15.0),
    ),
    value(
        "rss_peak_mb",
        "Memory, peak",
        Metric::RssPeak,
        Goal::AboveIdle(16.0),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(values: &[(Metric, f64)]) -> Sample {
        let mut sample = Sample::default();
        for (metric, value) in values {
            sample.set(*metric, *value);
        }
        sample
    }

    #[test]
    fn ratios_are_taken_within_a_round_and_the_median_over_rounds() {
        let mut rounds = Rounds::default();
        // The second round is of a machine that is ten times slower for a while.
        for (ours, peer) in [(3.0, 2.0), (0.4, 0.2), (2.0, 1.0)] {
            rounds.begin();
            rounds.add(Variant::Ours, sample(&[(Metric::Tcp1, ours)]));
            rounds.add(Variant::WireguardGo, sample(&[(Metric::Tcp1, peer)]));
        }

        let ratios = rounds
            .ratios(Metric::Tcp1, Variant::Ours, Variant::WireguardGo)
            .unwrap();

        assert_eq!((ratios.least, ratios.median, ratios.most), (1.5, 2.0, 2.0));
    }

    #[test]
    fn a_round_without_one_side_gives_no_ratio() {
        let mut rounds = Rounds::default();
        rounds.begin();
        rounds.add(Variant::Ours, sample(&[(Metric::Tcp1, 2.0)]));

        assert_eq!(
            rounds.ratios(Metric::Tcp1, Variant::Ours, Variant::WireguardGo),
            None
        );
    }

    #[test]
    fn the_object_has_exactly_its_members_and_null_for_what_was_not_measured() {
        let mut rounds = Rounds::default();
        rounds.begin();
        rounds.add(
            Variant::Ours,
            sample(&[(Metric::Tcp1, 3.0), (Metric::RssIdle, 5.0)]),
        );
        rounds.add(Variant::WireguardGo, sample(&[(Metric::Tcp1, 2.0)]));
        rounds.add_lookup(21.5);

        let object = rounds.report().to_json();

        let mut members: Vec<_> = object.as_object().unwrap().keys().cloned().collect();
        members.sort_unstable();
        assert_eq!(
            members,
            [
                "cpu_tx_ratio",
                "enforcer_ratio",
                "flow_lookup_ns",
                "ping_idle_ratio",
                "ping_loaded_ratio",
                "roam_gap_ms",
                "rss_idle_mb",
                "rss_peak_mb",
                "tcp1_mixed_ratio",
                "tcp1_ratio",
                "tcp4_ratio",
            ]
        );
        assert_eq!(object["tcp1_ratio"], 1.5);
        assert_eq!(object["rss_idle_mb"], 5.0);
        assert_eq!(object["flow_lookup_ns"], 21.5);
        assert_eq!(object["tcp4_ratio"], Value::Null);
    }

    #[test]
    fn a_run_reports_to_the_rounds_in_json() {
        let written = sample(&[(Metric::Tcp4, 1.25), (Metric::RoamGap, 20.0)]);

        let read = Sample::from_json(&written.to_json().to_string()).unwrap();

        assert_eq!(read, written);
        assert!(Sample::from_json(r#"{"speed":1}"#).is_err());
        assert!(Sample::from_json(r#"{"tcp1":"fast"}"#).is_err());
    }

    #[test]
    fn a_median_is_the_middle_or_between_the_two_in_the_middle() {
        assert_eq!(median(&[1.0, 2.0, 9.0]), Some(2.0));
        assert_eq!(median(&[1.0, 2.0, 3.0, 9.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
