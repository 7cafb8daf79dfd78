//! SQLite's memory is bounded for the whole process, so this test has one of its own.

use posture::{Machine, QueryEngine, QueryError, Tables};
use tempfile::TempDir;

#[test]
fn a_query_cannot_take_more_than_its_share_of_memory() {
    let root = TempDir::new().unwrap();
    let mut tables = Tables::open(Machine::rooted_at(root.path())).unwrap();
    let numbers = (0..500)
        .map(|number| format!("({number})"))
        .collect::<Vec<_>>()
        .join(",");
    for selection in [
        "count(DISTINCT text) FROM t",
        "group_concat(DISTINCT text) FROM t",
        "count(*) FROM (SELECT text FROM t GROUP BY text)",
        "max(place) FROM (SELECT row_number() OVER (ORDER BY text DESC) AS place, text FROM t)",
    ] {
        let sql = format!(
            "WITH n(i) AS (VALUES {numbers}), \
             t AS (SELECT printf('%60000d', a.i * 500 + b.i) AS text FROM n a, n b) \
             SELECT {selection}"
        );

        // On a busy machine, the bound on time may come first.
        let mut answers = (0..50).map(|_| tables.query(&sql));
        let answer = answers.find(|answer| !matches!(answer, Err(QueryError::TookTooLong { .. })));

        assert!(
            matches!(answer, Some(Err(QueryError::TooLarge { .. }))),
            "{selection}: {answer:?}"
        );
    }
    assert_eq!(
        tables.query("SELECT 1 AS pass").unwrap().len(),
        1,
        "memory was given back"
    );
    if let Some(peak) = peak_kibibytes() {
        assert!(peak < 128 * 1024, "the process grew to {peak} KiB");
    }
}

fn peak_kibibytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}
