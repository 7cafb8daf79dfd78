//! Times as the service writes them, for people.

use crate::text;

/// Returns `stamp` with its distance, as in `2026-11-22 18:00:00 UTC (in 7 h 59 min)`.
pub(crate) fn with_distance(stamp: &str, now: i64) -> String {
    let Some(at) = parse(stamp) else {
        return stamp.into();
    };
    let distance = text::seconds(at.abs_diff(now));
    let when = utc(stamp);
    if at >= now {
        format!("{when} (in {distance})")
    } else {
        format!("{when} ({distance} ago)")
    }
}

/// Returns how long ago `stamp` was, as in `12 s ago`.
pub(crate) fn ago(stamp: &str, now: i64) -> String {
    match parse(stamp) {
        Some(at) if at <= now => format!("{} ago", text::seconds(at.abs_diff(now))),
        Some(_) => "just now".into(),
        None => stamp.into(),
    }
}

/// Returns `stamp` to the second, as in `2026-11-22 18:00:00 UTC`.
pub(crate) fn utc(stamp: &str) -> String {
    match (parse(stamp), stamp.get(..10), stamp.get(11..19)) {
        (Some(_), Some(date), Some(time)) => format!("{date} {time} UTC"),
        _ => stamp.into(),
    }
}

/// Reads RFC 3339 in UTC, to the second.
fn parse(stamp: &str) -> Option<i64> {
    let rest = stamp.strip_suffix('Z')?;
    let (date, time) = rest.split_once('T')?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let valid = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60
        && !fraction.is_empty()
        && fraction.bytes().all(|byte| byte.is_ascii_digit());

    valid.then(|| days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn numbers(text: &str, separator: char, digits: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; 3];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// Returns the days from 1970-01-01, counting years from March so that the leap
/// day is the last of its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_read_to_the_second() {
        assert_eq!(parse("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse("2000-03-01T00:00:00Z"), Some(951_868_800));
        assert_eq!(parse("2026-11-22T10:00:00.250Z"), Some(1_795_341_600));
    }

    #[test]
    fn anything_else_is_shown_as_it_is() {
        for stamp in [
            "",
            "soon",
            "2026-11-22",
            "2026-13-22T10:00:00Z",
            "2026-11-22T10:00:00+01:00",
            "2026-11-22T1:00:00Z",
            "+026-11-22T10:00:00Z",
            "２026-11-22T10:00:00Z",
        ] {
            assert_eq!(parse(stamp), None, "{stamp}");
            assert_eq!(with_distance(stamp, 0), stamp);
            assert_eq!(utc(stamp), stamp);
            assert_eq!(ago(stamp, 0), stamp);
        }
    }

    #[test]
    fn distances_go_both_ways() {
        let noon = "2026-11-22T12:00:00Z";
        let at = parse(noon).unwrap();

        assert_eq!(
            with_distance(noon, at - 3_660),
            "2026-11-22 12:00:00 UTC (in 1 h 1 min)"
        );
        assert_eq!(
            with_distance(noon, at + 5),
            "2026-11-22 12:00:00 UTC (5 s ago)"
        );
        assert_eq!(ago(noon, at + 5), "5 s ago");
        assert_eq!(ago(noon, at - 5), "just now");
    }
}
