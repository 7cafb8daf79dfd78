//! Times as the service writes them, for people.

use connector_client::unix_seconds;

use crate::text;

/// Returns `stamp` with its distance, as in `2026-11-22 18:00:00 UTC (in 7 h 59 min)`.
pub(crate) fn with_distance(stamp: &str, now: i64) -> String {
    let Some(at) = unix_seconds(stamp) else {
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
    match unix_seconds(stamp) {
        Some(at) if at <= now => format!("{} ago", text::seconds(at.abs_diff(now))),
        Some(_) => "just now".into(),
        None => stamp.into(),
    }
}

/// Returns `stamp` to the second, as in `2026-11-22 18:00:00 UTC`.
pub(crate) fn utc(stamp: &str) -> String {
    match (unix_seconds(stamp), stamp.get(..10), stamp.get(11..19)) {
        (Some(_), Some(date), Some(time)) => format!("{date} {time} UTC"),
        _ => stamp.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(unix_seconds(stamp), None, "{stamp}");
            assert_eq!(with_distance(stamp, 0), stamp);
            assert_eq!(utc(stamp), stamp);
            assert_eq!(ago(stamp, 0), stamp);
        }
    }

    #[test]
    fn distances_go_both_ways() {
        let noon = "2026-11-22T12:00:00Z";
        let at = unix_seconds(noon).unwrap();

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
