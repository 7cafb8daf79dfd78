//! What the figures look like, for people and for programs.

use std::fmt;

use serde_json::Value;

use super::figures::Spread;

/// All that was measured, beside what is aimed at.
#[derive(Clone, Debug)]
pub(super) struct Report {
    rows: Vec<Row>,
}

/// One line of the report.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Its member in the JSON object.
    pub(super) key: &'static str,
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    pub(super) ours: Option<Spread>,
    pub(super) peer: Option<Spread>,
    pub(super) ratio: Option<Spread>,
    pub(super) target: Target,
    pub(super) counts: Counts,
}

/// What the target is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Counts {
    Ours,
    Ratio,
}

/// What a figure should come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// It depends on a figure that was not measured.
    Unknown,
}

impl Report {
    pub(super) fn new(rows: Vec<Row>) -> Self {
        Self { rows }
    }

    /// One object with a number, or null, for each row.
    pub(super) fn to_json(&self) -> Value {
        let members = self.rows.iter().map(|row| {
            let figure = row
                .figure()
                .map(|figure| (figure.median * 1e4).round() / 1e4);
            (row.key.to_owned(), Value::from(figure))
        });
        Value::Object(members.collect())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = [
            "medians of all rounds",
            "ours",
            "peer",
            "ratio",
            "(range)",
            "target",
        ];
        write_line(f, header)?;
        for row in &self.rows {
            writeln!(f)?;
            let title = format!("{}, {}", row.title, row.unit);
            let number = |spread: Option<Spread>| {
                spread.map_or_else(|| "-".to_owned(), |it| short(it.median))
            };
            let range = row
                .ratio
                .map(|ratio| format!("({:.2} to {:.2})", ratio.least, ratio.most))
                .unwrap_or_default();
            let ratio = row
                .ratio
                .map_or_else(|| "-".to_owned(), |ratio| format!("{:.2}", ratio.median));
            let target = format!("{} {}", row.target_text(), row.verdict());
            write_line(
                f,
                [
                    &title,
                    &number(row.ours),
                    &number(row.peer),
                    &ratio,
                    &range,
                    target.trim_end(),
                ],
            )?;
        }
        Ok(())
    }
}

impl Row {
    fn figure(&self) -> Option<Spread> {
        match self.counts {
            Counts::Ours => self.ours,
            Counts::Ratio => self.ratio,
        }
    }

    fn verdict(&self) -> &'static str {
        let Some(figure) = self.figure().map(|figure| figure.median) else {
            return "not measured";
        };
        let is_met = match self.target {
            Target::AtLeast(least) => figure >= least,
            Target::AtMost(most) => figure <= most,
            Target::Unknown => return "",
        };
        if is_met { "met" } else { "MISSED" }
    }

    fn target_text(&self) -> String {
        let of = match self.counts {
            Counts::Ours => format!(" {}", self.unit),
            Counts::Ratio => " x".to_owned(),
        };
        match self.target {
            Target::AtLeast(least) => format!(">= {}{of}", short(least)),
            Target::AtMost(most) => format!("<= {}{of}", short(most)),
            Target::Unknown => String::new(),
        }
    }
}

fn write_line(f: &mut fmt::Formatter<'_>, cells: [&str; 6]) -> fmt::Result {
    let [title, ours, peer, ratio, range, target] = cells;
    write!(
        f,
        "{title:<46} {ours:>8} {peer:>8} {ratio:>6}  {range:<15} {target}"
    )
}

/// Three digits that mean something.
fn short(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(counts: Counts, target: Target) -> Row {
        let spread = |median| {
            Some(Spread {
                least: median - 0.5,
                median,
                most: median + 0.5,
            })
        };
        Row {
            key: "tcp1_ratio",
            title: "TCP, 1 stream",
            unit: "Gb/s",
            ours: spread(2.4),
            peer: spread(1.2),
            ratio: spread(2.0),
            target,
            counts,
        }
    }

    #[test]
    fn a_row_shows_ours_the_peer_the_ratio_its_range_and_the_target() {
        let report = Report::new(vec![row(Counts::Ratio, Target::AtLeast(1.5))]);

        let text = report.to_string();

        let words: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(
            words.join(" "),
            "TCP, 1 stream, Gb/s 2.40 1.20 2.00 (1.50 to 2.50) >= 1.50 x met"
        );
    }

    #[test]
    fn a_missed_target_says_so() {
        assert_eq!(row(Counts::Ratio, Target::AtLeast(2.1)).verdict(), "MISSED");
        assert_eq!(row(Counts::Ratio, Target::AtMost(2.0)).verdict(), "met");
        assert_eq!(row(Counts::Ours, Target::AtMost(2.0)).verdict(), "MISSED");
    }

    #[test]
    fn what_was_not_measured_is_not_met() {
        let missing = Row {
            ratio: None,
            ..row(Counts::Ratio, Target::AtMost(9.0))
        };

        assert_eq!(missing.verdict(), "not measured");
        assert_eq!(
            Report::new(vec![missing]).to_json()["tcp1_ratio"],
            Value::Null
        );
    }
}
