//! What the rounds come to, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, ensure};
use serde_json::{Map, Value};

/// The figures of all rounds, by the path of their members, as in `lease.p50_us`.
#[derive(Clone, Debug, Default)]
pub(super) struct Rounds(BTreeMap<String, Vec<f64>>);

/// The medians over the rounds.
#[derive(Clone, Debug)]
pub(super) struct Report(BTreeMap<String, f64>);

/// A figure with a target.
struct Aim {
    /// Its member in the JSON object.
    key: &'static str,
    /// Its path in what the programs print.
    path: &'static str,
    title: &'static str,
    unit: &'static str,
    /// What it should be at most.
    target: Option<f64>,
}

impl Rounds {
    /// Adds what one program printed in one round.
    pub(super) fn add(&mut self, figures: &Value) {
        self.add_below("", figures);
    }

    fn add_below(&mut self, path: &str, figures: &Value) {
        for (name, value) in figures.as_object().into_iter().flatten() {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            match (value.as_f64(), value.as_array()) {
                (Some(figure), _) => self.0.entry(path).or_default().push(figure),
                (None, Some(samples)) => {
                    let samples = samples.iter().filter_map(Value::as_f64);
                    self.0.entry(path).or_default().extend(samples);
                }
                (None, None) => self.add_below(&path, value),
            }
        }
    }
}

impl Report {
    /// Takes the medians.
    ///
    /// # Errors
    /// Names a figure that was not measured.
    pub(super) fn of(rounds: &Rounds) -> anyhow::Result<Self> {
        let mut medians: BTreeMap<String, f64> = rounds
            .0
            .iter()
            .filter_map(|(path, figures)| Some((path.clone(), median(figures)?)))
            .collect();
        // Too few in a round for a percentile of their own.
        let cuts = rounds.0.get(CUTS).and_then(|cuts| percentile(cuts, 99));
        medians.extend(cuts.map(|cut| (CUT_P99.to_owned(), cut)));
        let wanted = AIMS.iter().map(|aim| aim.path.to_owned());
        let ways = WAYS
            .iter()
            .flat_map(|(way, ..)| MEMBERS.map(|member| format!("{way}.{member}")));
        for path in wanted.chain(ways).chain(GAPS.map(str::to_owned)) {
            let figure = medians
                .get(&path)
                .with_context(|| format!("{path} was not measured"))?;
            ensure!(
                figure.is_finite() && *figure > 0.0,
                "{path} is {figure}, which cannot be"
            );
        }
        Ok(Self(medians))
    }

    /// One object with a number for each aim.
    pub(super) fn to_json(&self) -> Value {
        let members = AIMS.iter().map(|aim| {
            let figure = (self.figure(aim.path) * 1e3).round() / 1e3;
            (aim.key.to_owned(), Value::from(figure))
        });
        Value::Object(members.collect::<Map<_, _>>())
    }

    fn figure(&self, path: &str) -> f64 {
        self.0.get(path).copied().unwrap_or(f64::NAN)
    }

    /// How long a permission that is taken back lives on, in words.
    fn gap(&self, way: &str) -> String {
        match way {
            "classic" => format!(
                "requests {:.1} ms, open streams never",
                self.figure("classic_gap_ms")
            ),
            "lease" => format!("{:.1} ms p99 by push, else 300 s", self.figure(CUT_P99)),
            _ => format!("{:.1} ms from commit", self.figure("proximity_gap_ms")),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<52} {:>12} {:>12}",
            "medians of all rounds", "measured", "at most"
        )?;
        for aim in &AIMS {
            let target = aim.target.map_or_else(|| "-".to_owned(), short);
            let title = format!("{}, {}", aim.title, aim.unit);
            let figure = self.figure(aim.path);
            let missed = aim.target.is_some_and(|target| figure > target);
            let mark = if missed { "  missed" } else { "" };
            writeln!(f, "{title:<52} {:>12} {target:>12}{mark}", short(figure))?;
        }
        writeln!(
            f,
            "\n{:<34} {:>9} {:>9} {:>10} {:>9} {:>9}  taken back",
            "the same requests, µs", "p50", "p99", "per second", "cold p50", "cold p99"
        )?;
        for (number, (way, title)) in WAYS.iter().enumerate() {
            let cells = MEMBERS.map(|member| self.figure(&format!("{way}.{member}")));
            let [p50, p99, rate, cold_p50, cold_p99] = cells.map(short);
            let gap = self.gap(way);
            write!(
                f,
                "{title:<34} {p50:>9} {p99:>9} {rate:>10} {cold_p50:>9} {cold_p99:>9}  {gap}"
            )?;
            if number + 1 < WAYS.len() {
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

fn median(figures: &[f64]) -> Option<f64> {
    percentile(figures, 50)
}

fn percentile(figures: &[f64], share: usize) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    sorted.get((sorted.len() * share / 100).min(last)).copied()
}

/// Three digits that count, or all before the point.
fn short(figure: f64) -> String {
    if figure >= 100.0 {
        format!("{figure:.0}")
    } else if figure >= 10.0 {
        format!("{figure:.1}")
    } else {
        format!("{figure:.2}")
    }
}

const fn aim(
    (key, path): (&'static str, &'static str),
    title: &'static str,
    unit: &'static str,
    target: Option<f64>,
) -> Aim {
    Aim {
        key,
        path,
        title,
        unit,
        target,
    }
}

const AIMS: [Aim; 8] = [
    aim(
        ("cached_p99_ns", "cached_p99_ns"),
        "a cached decision, p99",
        "ns",
        Some(1000.0),
    ),
    aim(
        ("embedded1000_p99_us", "embedded1000_p99_us"),
        "an embedded decision, 1000 policies, p99",
        "µs",
        Some(50.0),
    ),
    aim(
        ("cut_p99_ms", CUT_P99),
        "event to last packet, 1000 flows, p99",
        "ms",
        Some(5.0),
    ),
    aim(
        ("store10k_ms", "store10k_ms"),
        "a store of 10000 objects verified and activated",
        "ms",
        Some(1000.0),
    ),
    aim(
        ("switch_10k_flows_ms", "switch_10k_flows_ms"),
        "other policies, 10000 live flows",
        "ms",
        Some(20.0),
    ),
    aim(
        ("classic_p50_us", "classic.p50_us"),
        "a central decision for each request, p50",
        "µs",
        None,
    ),
    aim(
        ("lease_p50_us", "lease.p50_us"),
        "a cached lease, p50",
        "µs",
        None,
    ),
    aim(
        ("proximity_p50_us", "proximity.p50_us"),
        "policies on the device, p50",
        "µs",
        None,
    ),
];

const WAYS: [(&str, &str); 3] = [
    ("classic", "asked by a gateway each time"),
    ("lease", "cached lease, revoked by push"),
    ("proximity", "policies on the device"),
];

const MEMBERS: [&str; 5] = [
    "p50_us",
    "p99_us",
    "per_second",
    "cold_p50_us",
    "cold_p99_us",
];

/// Every revocation of every round.
const CUTS: &str = "cuts_ms";

const CUT_P99: &str = "cut_p99_ms";

const GAPS: [&str; 2] = ["classic_gap_ms", "proximity_gap_ms"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_has_exactly_the_members_that_are_aimed_at() {
        let report = Report::of(&complete()).unwrap();

        let object = report.to_json();

        let mut names: Vec<&str> = AIMS.iter().map(|aim| aim.key).collect();
        names.sort_unstable();
        let mut found: Vec<&String> = object.as_object().unwrap().keys().collect();
        found.sort_unstable();
        assert_eq!(found, names);
    }

    #[test]
    fn a_figure_that_is_missing_or_impossible_is_an_error_that_names_it() {
        for aim in &AIMS {
            let mut missing = complete();
            missing.0.remove(measured(aim.path));
            let mut impossible = complete();
            impossible
                .0
                .insert(measured(aim.path).to_owned(), vec![0.0]);

            for rounds in [missing, impossible] {
                let error = Report::of(&rounds).unwrap_err().to_string();
                assert!(error.contains(aim.path), "{error}");
            }
        }
    }

    #[test]
    fn medians_are_taken_over_the_rounds_and_members_below_are_found() {
        let mut rounds = complete();
        for figure in [9.0, 1.0, 2.0, 8.0] {
            rounds.add(&serde_json::json!({"lease": {"p50_us": figure}}));
        }

        let report = Report::of(&rounds).unwrap();

        // With the 1.0 that was there.
        assert_eq!(report.to_json()["lease_p50_us"], 2.0);
    }

    #[test]
    fn a_missed_target_is_marked() {
        let mut rounds = complete();
        rounds.add(&serde_json::json!({"cuts_ms": [5.1, 5.2]}));

        let text = Report::of(&rounds).unwrap().to_string();

        assert_eq!(text.matches("missed").count(), 1, "{text}");
    }

    fn complete() -> Rounds {
        let mut rounds = Rounds::default();
        let paths = AIMS.iter().map(|aim| aim.path.to_owned());
        let ways = WAYS
            .iter()
            .flat_map(|(way, _)| MEMBERS.map(|member| format!("{way}.{member}")));
        for path in paths.chain(ways).chain(GAPS.map(str::to_owned)) {
            rounds.0.insert(measured(&path).to_owned(), vec![1.0]);
        }
        rounds
    }

    fn measured(path: &str) -> &str {
        if path == CUT_P99 { CUTS } else { path }
    }
}
