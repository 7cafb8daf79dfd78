//! When a policy's answer may change because time goes on.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::pst::{BinaryOp, Clause, Expr, Literal, UnaryOp, Var};
use cedar_policy::{
    Context, Entities, EntityUid, EvalResult, Expression, Request, eval_expression,
};
use connector_core::time::WallTime;

use super::source;

/// The times at which answers may change.
///
/// Derived from the comparisons in which policies use the time. What cannot be
/// derived is refused when the policy arrives, so between two edges an answer
/// is the same: that is what lets a window end without anybody polling.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Edges {
    /// Milliseconds after midnight, UTC, every day.
    of_day: BTreeSet<u64>,
    /// At every full minute.
    every_minute: bool,
    /// Milliseconds since 1970.
    instants: BTreeSet<u64>,
    /// Whether the policy may look at `context.time` at all.
    pub(crate) tells_time: bool,
}

/// Finds the edges of many policies; where conditions are the same, as those of office
/// hours are, only once, since that takes as long as reading ten policies.
#[derive(Debug, Default)]
pub(super) struct Finder<'a> {
    by_conditions: BTreeMap<&'a str, Edges>,
}

impl<'a> Finder<'a> {
    /// Finds the edges of a policy, which was validated and read from `text`.
    pub(super) fn edges(
        &mut self,
        policy: &cedar_policy::Policy,
        text: &'a str,
    ) -> Result<Edges, Unbounded> {
        if !may_use_time(text) {
            return Ok(Edges::default());
        }
        let conditions = source::conditions(text);
        if let Some(known) = self.by_conditions.get(conditions) {
            return Ok(Edges {
                tells_time: may_tell_time(text),
                ..known.clone()
            });
        }
        let edges = Edges::of(policy, text)?;
        self.by_conditions.insert(conditions, edges.clone());
        Ok(edges)
    }
}

/// Whoever uses the time has to name one of its members, since the types of a comparison
/// have to agree; looking for the names first saves building the tree of most policies.
fn may_use_time(text: &str) -> bool {
    let spelt = ["time", "minute_of_day", "weekday", "\\"];
    spelt.iter().any(|part| text.contains(part))
}

fn may_tell_time(text: &str) -> bool {
    text.contains("time") || text.contains('\\')
}

impl Edges {
    /// Finds the edges of one policy, which was validated and read from `text`.
    fn of(policy: &cedar_policy::Policy, text: &str) -> Result<Self, Unbounded> {
        let tree = policy.to_pst().map_err(|_| Unbounded::Opaque)?;
        let mut edges = Self {
            tells_time: may_tell_time(text),
            ..Self::default()
        };
        for clause in tree.body().clauses() {
            match clause {
                Clause::Unless(condition) | Clause::When(condition) => edges.visit(condition)?,
            }
        }
        Ok(edges)
    }

    /// Adds the edges of another policy.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.of_day.extend(&other.of_day);
        self.every_minute |= other.every_minute;
        self.instants.extend(&other.instants);
        self.tells_time |= other.tells_time;
    }

    /// Returns the first edge after `now`.
    pub(crate) fn next(&self, now: WallTime) -> Option<WallTime> {
        let now = now.unix_millis();
        let instant = self.instants.range(now + 1..).next().copied();
        let minute = self.every_minute.then(|| (now / MINUTE + 1) * MINUTE);
        let (midnight, today) = (now - now % DAY, now % DAY);
        let later_today = self.of_day.range(today + 1..).next();
        let of_day = later_today
            .map(|edge| midnight + edge)
            .or_else(|| self.of_day.first().map(|edge| midnight + DAY + edge));
        let edges = [instant, minute, of_day].into_iter().flatten();
        edges.min().map(WallTime::from_unix_millis)
    }

    fn visit(&mut self, expression: &Expr) -> Result<(), Unbounded> {
        match expression {
            Expr::Var(Var::Context) => Err(Unbounded::WholeContext),
            Expr::GetAttr { expr, attr } if is_context(expr) => self.visit_member(attr),
            Expr::HasAttr { expr, .. } if is_context(expr) => Ok(()),
            Expr::UnaryOp {
                op: UnaryOp::ToDate,
                expr,
            } if is_member(expr, "time") => {
                self.of_day.insert(0);
                Ok(())
            }
            Expr::BinaryOp { op, left, right } => {
                let mirrored = mirror(*op);
                if self.compare(*op, left, right) || self.compare(mirrored, right, left) {
                    return Ok(());
                }
                self.visit(left)?;
                self.visit(right)
            }
            Expr::UnaryOp { expr, .. }
            | Expr::GetAttr { expr, .. }
            | Expr::HasAttr { expr, .. }
            | Expr::Like { expr, .. } => self.visit(expr),
            Expr::Is { expr, in_expr, .. } => {
                self.visit(expr)?;
                in_expr.as_ref().map_or(Ok(()), |inside| self.visit(inside))
            }
            Expr::IfThenElse {
                cond,
                then_expr,
                else_expr,
            } => {
                self.visit(cond)?;
                self.visit(then_expr)?;
                self.visit(else_expr)
            }
            Expr::Set(items) => items.iter().try_for_each(|item| self.visit(item)),
            Expr::Record(members) => members.values().try_for_each(|item| self.visit(item)),
            Expr::Literal(_) | Expr::Var(_) => Ok(()),
            Expr::Slot(_) | Expr::Unknown { .. } | _ => Err(Unbounded::Opaque),
        }
    }

    fn visit_member(&mut self, member: &str) -> Result<(), Unbounded> {
        match member {
            "minute_of_day" => self.every_minute = true,
            "time" => return Err(Unbounded::Time),
            "weekday" => {
                self.of_day.insert(0);
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes in a comparison of the time with a constant, if this is one.
    fn compare(&mut self, op: BinaryOp, time: &Expr, constant: &Expr) -> bool {
        // `<` and `>=` change when the constant is reached, `<=` and `>` one step later.
        let (at, after) = if matches!(op, BinaryOp::Less | BinaryOp::GreaterEq) {
            (true, false)
        } else if matches!(op, BinaryOp::LessEq | BinaryOp::Greater) {
            (false, true)
        } else if matches!(op, BinaryOp::Eq | BinaryOp::NotEq) {
            (true, true)
        } else {
            return false;
        };
        let steps = |value: u64, step: u64| {
            let at = at.then_some(value);
            at.into_iter()
                .chain(after.then(|| value.saturating_add(step)))
        };
        if is_member(time, "time") {
            let Some(instant) = millis(constant, "durationSince(datetime(\"1970-01-01\")).") else {
                return false;
            };
            self.instants.extend(steps(instant, 1));
            return true;
        }
        let edges: Vec<u64> = if is_member(time, "minute_of_day") {
            let Expr::Literal(Literal::Long(minute)) = constant else {
                return false;
            };
            let Ok(minute) = u64::try_from(*minute) else {
                return false;
            };
            steps(minute.saturating_mul(MINUTE), MINUTE).collect()
        } else if is_time_of_day(time) {
            let Some(duration) = millis(constant, "") else {
                return false;
            };
            steps(duration, 1).collect()
        } else {
            return false;
        };
        self.of_day
            .extend(edges.into_iter().filter(|edge| *edge < DAY));
        self.of_day.insert(0);
        true
    }
}

/// Evaluates a constant to milliseconds; `None` if it is none, or before the epoch.
fn millis(constant: &Expr, through: &str) -> Option<u64> {
    if !is_constant(constant) {
        return None;
    }
    let text = format!("({constant}).{through}toMilliseconds()");
    let expression: Expression = text.parse().ok()?;
    let nobody: EntityUid = "Person::\"\"".parse().ok()?;
    let request = Request::new(
        nobody.clone(),
        nobody.clone(),
        nobody,
        Context::empty(),
        None,
    );
    match eval_expression(&request.ok()?, &Entities::empty(), &expression).ok()? {
        EvalResult::Long(millis) => Some(u64::try_from(millis).unwrap_or_default()),
        EvalResult::Bool(_)
        | EvalResult::EntityUid(_)
        | EvalResult::ExtensionValue(_)
        | EvalResult::Record(_)
        | EvalResult::Set(_)
        | EvalResult::String(_) => None,
    }
}

/// Returns whether only constants of time are in an expression.
fn is_constant(expression: &Expr) -> bool {
    if let Expr::UnaryOp {
        op: UnaryOp::Datetime | UnaryOp::Duration,
        expr,
    } = expression
    {
        return is_constant(expr);
    }
    if let Expr::BinaryOp {
        op: BinaryOp::Offset,
        left,
        right,
    } = expression
    {
        return is_constant(left) && is_constant(right);
    }
    matches!(expression, Expr::Literal(Literal::String(_)))
}

fn is_context(expression: &Expr) -> bool {
    matches!(expression, Expr::Var(Var::Context))
}

fn is_member(expression: &Expr, member: &str) -> bool {
    matches!(expression, Expr::GetAttr { expr, attr } if is_context(expr) && attr == member)
}

fn is_time_of_day(expression: &Expr) -> bool {
    matches!(
        expression,
        Expr::UnaryOp { op: UnaryOp::ToTime, expr } if is_member(expr, "time")
    )
}

/// Returns the comparison with its sides exchanged.
fn mirror(op: BinaryOp) -> BinaryOp {
    let mirrors = [
        (BinaryOp::Greater, BinaryOp::Less),
        (BinaryOp::GreaterEq, BinaryOp::LessEq),
        (BinaryOp::Less, BinaryOp::Greater),
        (BinaryOp::LessEq, BinaryOp::GreaterEq),
    ];
    let mirrored = mirrors.iter().find(|(this, _)| *this == op);
    mirrored.map_or(op, |(_, other)| *other)
}

/// How a policy uses the time so that nobody can tell when its answer changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unbounded {
    /// An expression that is not understood.
    #[error("has a condition whose use of the time cannot be followed")]
    Opaque,
    /// The time other than in a comparison with a constant.
    #[error(
        "uses context.time other than in a comparison with a constant; write context.time < datetime(\"…\"), \
         context.time.toTime() < duration(\"…\"), context.weekday or context.minute_of_day"
    )]
    Time,
    /// The context as a whole, in which the time is.
    #[error("uses the context as a whole; name the member that it needs")]
    WholeContext,
}

const MINUTE: u64 = 60_000;
const DAY: u64 = 86_400_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_the_day_has_its_two_ends_and_midnight() {
        let edges = edges("context.minute_of_day >= 540 && context.minute_of_day < 1020").unwrap();

        assert_eq!(
            walk(&edges, at("00:00"), 4),
            ["09:00", "17:00", "00:00", "09:00"]
        );
    }

    #[test]
    fn a_comparison_that_includes_its_constant_changes_one_step_later() {
        for (condition, expected) in [
            ("context.minute_of_day <= 540", "09:01"),
            ("context.minute_of_day > 540", "09:01"),
            ("540 > context.minute_of_day", "09:00"),
            ("540 < context.minute_of_day", "09:01"),
            ("context.minute_of_day == 540", "09:00"),
            ("context.time.toTime() < duration(\"9h\")", "09:00"),
            ("duration(\"8h60m\") <= context.time.toTime()", "09:00"),
        ] {
            let edges = edges(condition).unwrap();

            assert_eq!(walk(&edges, at("00:00"), 1), [expected], "{condition}");
        }
    }

    #[test]
    fn equal_conditions_have_equal_edges_and_others_their_own() {
        let policy = |name: &str, end: u32| {
            format!(
                "@id(\"{name}\") permit(principal, action, resource) when {{ context.minute_of_day < {end} }};"
            )
        };
        let texts = [policy("one", 540), policy("two", 540), policy("three", 600)];
        let mut finder = Finder::default();

        let found = texts.iter().map(|text| {
            let edges = finder.edges(&text.parse().unwrap(), text).unwrap();
            assert_eq!(edges, Edges::of(&text.parse().unwrap(), text).unwrap());
            walk(&edges, at("00:00"), 1)
        });
        let found: Vec<Vec<String>> = found.collect();

        assert_eq!(found, [["09:00"], ["09:00"], ["10:00"]]);
        assert_eq!(finder.by_conditions.len(), 2);
    }

    #[test]
    fn a_date_is_an_edge_once() {
        let edges = edges(
            "context.time >= datetime(\"1970-01-02\") && \
             context.time < datetime(\"1970-01-02\").offset(duration(\"12h\"))",
        )
        .unwrap();

        assert_eq!(
            edges.next(at("09:00")),
            Some(WallTime::from_unix_millis(DAY))
        );
        let noon = WallTime::from_unix_millis(DAY + DAY / 2);
        assert_eq!(edges.next(WallTime::from_unix_millis(DAY)), Some(noon));
        assert_eq!(edges.next(noon), None);
    }

    #[test]
    fn the_weekday_and_the_date_change_at_midnight_and_other_uses_of_the_minute_every_minute() {
        for condition in [
            "[Weekday::\"monday\"].contains(context.weekday)",
            "context.time.toDate() == datetime(\"2026-11-22\")",
        ] {
            let edges = edges(condition).unwrap();
            assert_eq!(
                walk(&edges, at("12:34"), 2),
                ["00:00", "00:00"],
                "{condition}"
            );
        }
        let edges = edges("[1, 2].contains(context.minute_of_day)").unwrap();
        assert_eq!(walk(&edges, at("12:34"), 2), ["12:35", "12:36"]);
    }

    #[test]
    fn a_policy_without_the_time_has_no_edge() {
        let edges = edges("context.trust_level >= 2 && context has device").unwrap();

        assert_eq!(edges.next(at("12:00")), None);
    }

    #[test]
    fn uses_of_the_time_that_cannot_be_followed_are_refused() {
        for (condition, refusal) in [
            (
                "context.time.offset(duration(\"1h\")) < datetime(\"2026-11-22\")",
                Unbounded::Time,
            ),
            (
                "context.time.durationSince(datetime(\"2026-11-22\")) < duration(\"1h\")",
                Unbounded::Time,
            ),
            ("context.time < context.time", Unbounded::Time),
            ("context.time.toTime().toMinutes() == 9", Unbounded::Time),
            (
                "{t: context.time}.t < datetime(\"2026-11-22\")",
                Unbounded::Time,
            ),
            (
                "context == context && context.weekday == Weekday::\"monday\"",
                Unbounded::WholeContext,
            ),
            (
                "{c: context}.c.time < datetime(\"2026-11-22\")",
                Unbounded::WholeContext,
            ),
            (
                "(if true then context else context).time < datetime(\"2026-11-22\")",
                Unbounded::WholeContext,
            ),
        ] {
            assert_eq!(edges(condition), Err(refusal), "{condition}");
        }
    }

    #[test]
    fn the_same_member_by_another_spelling_is_found() {
        for member in ["minute_of_day", "minute\\u{5f}of\\u{5f}day"] {
            let edges = edges(&format!("context[\"{member}\"] >= 540")).unwrap();

            assert_eq!(walk(&edges, at("00:00"), 1), ["09:00"], "{member}");
        }
    }

    fn edges(condition: &str) -> Result<Edges, Unbounded> {
        let text = format!("permit(principal, action, resource) when {{ {condition} }};");
        let policy = text.parse();
        Finder::default().edges(&policy.map_err(|_| Unbounded::Opaque)?, &text)
    }

    fn walk(edges: &Edges, from: WallTime, steps: usize) -> Vec<String> {
        let walk = std::iter::successors(edges.next(from), |now| edges.next(*now));
        walk.take(steps)
            .map(|time| time.to_string()[11..16].to_owned())
            .collect()
    }

    fn at(time: &str) -> WallTime {
        let (hour, minute) = time.split_once(':').unwrap();
        let minutes = hour.parse::<u64>().unwrap() * 60 + minute.parse::<u64>().unwrap();
        WallTime::from_unix_millis(minutes * MINUTE)
    }
}
