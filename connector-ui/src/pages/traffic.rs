use std::collections::{BTreeMap, VecDeque};

use connector_ipc::{BehindReport, GatewayState, SiteReport};

use super::Graph;
use crate::texts::Texts;
use crate::view::{Known, one_line};

/// What went through the tunnel of late.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    samples: VecDeque<Sample>,
}

#[derive(Debug)]
struct Sample {
    millis: u64,
    received: u64,
    sent: u64,
    /// Microseconds to a site and back.
    delays: BTreeMap<String, u64>,
}

impl Traffic {
    /// Notes what the counters say now.
    pub(super) fn sample(&mut self, known: Option<&Known>, millis: u64) {
        let Some(known) = known else { return };
        if self.samples.len() == MAX_SAMPLES {
            self.samples.pop_front();
        }
        let sites = &known.status.tunnel.sites;
        let gateways = || sites.iter().flat_map(|site| &site.gateways);
        self.samples.push_back(Sample {
            millis,
            received: gateways().map(|gateway| gateway.rx_bytes).sum(),
            sent: gateways().map(|gateway| gateway.tx_bytes).sum(),
            delays: sites
                .iter()
                .filter_map(|site| Some((site.id.clone(), delay(site)?)))
                .collect(),
        });
    }

    /// Returns what comes in and what goes out, each second.
    pub(super) fn rates(&self, texts: &Texts) -> [Graph; 2] {
        let rates = |bytes: fn(&Sample) -> u64| -> Vec<Option<u64>> {
            let pairs = self.samples.iter().zip(self.samples.iter().skip(SPAN));
            pairs
                .map(|(before, after)| {
                    let millis = after.millis.saturating_sub(before.millis).max(1);
                    // A gateway that was replaced begins to count anew.
                    let bytes = bytes(after).saturating_sub(bytes(before));
                    Some(bytes.saturating_mul(1000) / millis)
                })
                .collect()
        };
        let down = rates(|sample| sample.received);
        let up = rates(|sample| sample.sent);
        let top = down.iter().chain(&up).flatten().max().copied();
        let top = top.unwrap_or_default().max(LEAST_TOP);
        [("traffic-down", down), ("traffic-up", up)].map(|(key, rates)| {
            let latest = rates.last().copied().flatten().unwrap_or_default();
            let rate = per_second(latest, texts);
            Graph {
                label: texts.say_with(key, [("rate", rate.into())]),
                top: per_second(top, texts),
                figures: figures(&rates, top),
            }
        })
    }

    /// Returns how long the way to each site and back takes.
    pub(super) fn delays(&self, known: &Known, texts: &Texts) -> Vec<Graph> {
        let sites = known.status.tunnel.sites.iter();
        let delays: Vec<(&str, Vec<Option<u64>>)> = sites
            .map(|site| {
                let samples = self.samples.iter();
                let delays = samples.map(|sample| sample.delays.get(&site.id).copied());
                (site.id.as_str(), delays.collect())
            })
            .collect();
        let top = delays.iter().flat_map(|(_, delays)| delays).flatten().max();
        let top = top.copied().unwrap_or_default().max(LEAST_DELAY);
        delays
            .into_iter()
            .filter_map(|(site, delays)| {
                let latest = delays.iter().rev().flatten().next()?;
                Some(Graph {
                    label: texts.say_with(
                        "traffic-delay",
                        [
                            ("site", one_line(site).into()),
                            ("time", milliseconds(*latest).into()),
                        ],
                    ),
                    top: milliseconds(top),
                    figures: figures(&delays, top),
                })
            })
            .collect()
    }
}

/// Returns how long an answer from the site takes, or at least from its gateway.
fn delay(site: &SiteReport) -> Option<u64> {
    let mut gateways = site.gateways.iter();
    let gateway = gateways.find(|gateway| gateway.state == GatewayState::Active)?;
    match gateway.behind {
        Some(BehindReport::Answers { micros }) => Some(micros),
        Some(BehindReport::Silent) | None => gateway.handshake_micros,
    }
}

fn figures(values: &[Option<u64>], top: u64) -> Vec<Option<f32>> {
    let share = |value: u64| {
        let thousandths = value.saturating_mul(1000) / top.max(1);
        f32::from(u16::try_from(thousandths.min(1000)).unwrap_or(1000)) / 1000.0
    };
    values.iter().map(|value| value.map(share)).collect()
}

fn per_second(bytes: u64, texts: &Texts) -> String {
    texts.say_with("per-second", [("amount", amount(bytes).into())])
}

/// Returns a number of bytes as people say it, as in `1.4 MB`.
pub(super) fn amount(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut unit = 0;
    let mut tenths = bytes.saturating_mul(10);
    while tenths >= 10_000 && unit + 1 < units.len() {
        tenths /= 1000;
        unit += 1;
    }
    match (unit, tenths) {
        (0, tenths) | (_, tenths @ 1000..) => format!("{} {}", tenths / 10, units[unit]),
        (_, tenths) => format!("{}.{} {}", tenths / 10, tenths % 10, units[unit]),
    }
}

fn milliseconds(micros: u64) -> String {
    match micros {
        0..10_000 => format!("{}.{} ms", micros / 1000, micros / 100 % 10),
        10_000.. => format!("{} ms", micros / 1000),
    }
}

/// Two minutes, with one sample a second.
const MAX_SAMPLES: usize = 120;

/// The service tells its counters about once a second: over one second alone they would seem to
/// stand still and then to leap.
const SPAN: usize = 2;

/// Where there is next to no traffic, the graph is to look like it.
const LEAST_TOP: u64 = 10_000;
const LEAST_DELAY: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::connected;
    use crate::texts::Language;

    #[test]
    fn rates_are_bytes_over_time_and_a_counter_that_begins_anew_is_no_flood() {
        let texts = Texts::new(Language::English);
        let mut traffic = Traffic::default();
        let mut known = connected();
        for (second, bytes) in [(0, 0), (1, 100_000), (2, 200_000), (3, 50), (4, 50)] {
            known.status.tunnel.sites[0].gateways[0].rx_bytes = bytes;
            traffic.sample(Some(&known), second * 1000);
        }

        let [down, up] = traffic.rates(&texts);

        assert_eq!(down.figures, [Some(1.0), Some(0.0), Some(0.0)]);
        assert_eq!(down.top, "100 kB/s");
        assert_eq!(up.label, "Sending 0 B/s");
    }

    #[test]
    fn a_site_without_a_measured_delay_has_no_graph() {
        let texts = Texts::new(Language::English);
        let mut traffic = Traffic::default();
        let mut known = connected();
        traffic.sample(Some(&known), 0);
        assert!(traffic.delays(&known, &texts).is_empty());

        known.status.tunnel.sites[0].gateways[0].handshake_micros = Some(12_345);
        traffic.sample(Some(&known), 1000);

        let graphs = traffic.delays(&known, &texts);
        assert_eq!(graphs[0].label, "To “hq” and back: 12 ms");
        assert_eq!(graphs[0].figures, [None, Some(1.0)]);
    }

    #[test]
    fn samples_and_amounts_have_an_end() {
        let mut traffic = Traffic::default();
        for second in 0..1000 {
            traffic.sample(Some(&connected()), second);
        }

        assert_eq!(traffic.samples.len(), MAX_SAMPLES);
        assert_eq!(amount(999), "999 B");
        assert_eq!(amount(1_400_000), "1.4 MB");
        assert_eq!(amount(250_000), "250 kB");
        assert!(amount(u64::MAX).ends_with("TB"));
    }
}
