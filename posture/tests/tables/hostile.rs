//! Queries that want more than to read.

use std::process::Command;
use std::time::{Duration, Instant};

use connector_core::posture::Finding;
use connector_core::time::Moment;
use posture::{QueryEngine, QueryError, read_measurement};

use crate::tree::Tree;

#[test]
fn nothing_but_selecting_from_the_tables_is_allowed() {
    let tree = Tree::laptop();
    let mut tables = tree.tables();
    for sql in [
        "ATTACH DATABASE '/tmp/x.db' AS x",
        "PRAGMA user_version",
        "PRAGMA hard_heap_limit = 0",
        "SELECT 1 AS pass FROM pragma_database_list",
        "SELECT 1 AS pass FROM sqlite_master",
        "SELECT 1 AS pass FROM sqlite_schema LIMIT 0",
        "SELECT 1 AS pass FROM json_each('[1]')",
        "SELECT load_extension('/tmp/x.so') AS pass",
        "SELECT randomblob(1000000000) AS pass",
        "SELECT zeroblob(1000000000) AS pass",
        "SELECT fts3_tokenizer('x') AS pass",
        "CREATE TABLE t(pass)",
        "CREATE TEMP TABLE t AS SELECT 1 AS pass",
        "CREATE VIRTUAL TABLE t USING fts5(pass)",
        "INSERT INTO processes(pid) VALUES (1)",
        "UPDATE uptime SET days = 0",
        "DELETE FROM processes",
        "DROP TABLE processes",
        "VACUUM INTO '/tmp/x.db'",
        "BEGIN",
        "SAVEPOINT s",
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT 1 AS pass FROM n",
    ] {
        let answer = tables.query(sql);

        assert!(
            matches!(
                answer,
                Err(QueryError::NotAllowed { .. } | QueryError::Invalid { .. })
            ),
            "{sql}: {answer:?}"
        );
        assert_unknown(&answer);
    }
    assert_eq!(
        tables.query("SELECT 1 AS pass").unwrap().len(),
        1,
        "the engine still works"
    );
}

#[test]
fn what_is_no_query_is_unknown_and_says_why() {
    let tree = Tree::laptop();
    let mut tables = tree.tables();
    for (sql, words) in [
        ("", ""),
        ("-- nothing", ""),
        ("SELEKT 1", "syntax error"),
        (
            "SELECT 1 AS pass; SELECT 0 AS pass",
            "more than one statement",
        ),
        ("SELECT 1 AS pass; DROP TABLE processes", ""),
        ("SELECT nonesuch AS pass FROM processes", "no such column"),
        ("SELECT 1 AS pass FROM alf", "no table `alf`"),
        ("SELECT 1 AS pass FROM dbstat", "no table `dbstat`"),
        ("SELECT 1 AS pass, 0 AS pass", "two columns named `pass`"),
        ("SELECT 1 AS passed", "no column `pass`"),
        ("SELECT 'yes' AS pass", "\"yes\""),
        ("SELECT NULL AS pass", "could not tell"),
        ("SELECT ?1 AS pass", ""),
        ("SELECT 1 AS pass WHERE 0", "nothing on this device"),
        ("EXPLAIN SELECT 1 AS pass", "no column `pass`"),
        ("SELECT 1 AS pass\0; SELECT 0", ""),
    ] {
        let answer = tables.query(sql);

        let evidence = assert_unknown(&answer);
        assert!(evidence.contains(words), "{sql}: {evidence}");
    }
}

#[test]
fn time_has_a_bound() {
    let tree = crowded();
    let mut tables = tree.tables();
    let many = "processes a, processes b, processes c, processes d, processes e";
    for sql in [
        format!(
            "SELECT count(*) AS pass FROM {many} WHERE +a.pid + b.pid + c.pid + d.pid + e.pid < 0"
        ),
        format!(
            "SELECT 1 AS pass FROM {many} WHERE a.name || b.name || c.name || d.name || e.name LIKE '%q%'"
        ),
        format!("SELECT count(*) AS pass FROM {many} WHERE e.pid = a.pid + b.pid + c.pid + d.pid"),
    ] {
        let start = Instant::now();
        let answer = tables.query(&sql);

        assert!(
            start.elapsed() < Duration::from_secs(3),
            "{sql}: {:?}",
            start.elapsed()
        );
        assert!(
            matches!(answer, Err(QueryError::TookTooLong { .. })),
            "{sql}: {answer:?}"
        );
        assert_unknown(&answer);
    }
    assert_eq!(
        tables.query("SELECT 1 AS pass").unwrap().len(),
        1,
        "the next query has its own time"
    );
}

#[test]
fn queries_and_answers_have_a_largest_size() {
    let tree = crowded();
    let mut tables = tree.tables();
    let columns: Vec<String> = (0..200).map(|number| format!("1 AS c{number}")).collect();
    for sql in [
        format!("SELECT '{}' AS pass", "x".repeat(64 * 1024)),
        format!("SELECT {}1{} AS pass", "(".repeat(5000), ")".repeat(5000)),
        format!("SELECT 1{} AS pass", " + 1".repeat(5000)),
        format!("SELECT 1 AS pass, {}", columns.join(", ")),
        "SELECT printf('%.*c', 100000000, 'x') AS pass".to_owned(),
        "SELECT replace(printf('%60000d', 1), ' ', printf('%60000d', 1)) AS pass".to_owned(),
        "SELECT a.pid AS pass FROM processes a, processes b".to_owned(),
        "SELECT group_concat(printf('%9000d', pid)) AS pass FROM processes".to_owned(),
        "SELECT printf('%60000d', a.pid) AS pass FROM processes a".to_owned(),
    ] {
        let answer = tables.query(&sql);

        assert!(answer.is_err(), "{}", &sql[..sql.len().min(100)]);
        assert_unknown(&answer);
    }
}

#[test]
fn an_oversized_or_odd_file_makes_the_answer_unknown_and_not_partial() {
    let huge = "x".repeat(2 * 1024 * 1024);
    let tree = Tree::laptop()
        .file("/proc/self/mounts", &huge)
        .directory("/etc/passwd");

    for sql in [
        "SELECT 1 AS pass FROM mounts",
        "SELECT count(*) = 0 AS pass FROM users",
    ] {
        let answer = tree.query(sql);

        assert!(
            matches!(answer, Err(QueryError::Unreadable { .. })),
            "{answer:?}"
        );
        assert_unknown(&answer);
    }
}

#[test]
fn a_pipe_in_the_place_of_a_file_does_not_hold_up_the_reader() {
    let tree = Tree::empty().directory("/etc/default");
    let pipe = tree.path().join("etc/default/pipe");
    assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());

    let answer = tree.query("SELECT 1 AS pass FROM augeas WHERE path = '/etc/default/pipe'");

    assert!(
        matches!(answer, Err(QueryError::Unreadable { .. })),
        "{answer:?}"
    );
}

/// Returns a machine with enough processes for their combinations to have no end.
fn crowded() -> Tree {
    (100..160).fold(Tree::laptop(), |tree, pid| tree.process(pid, "p", 1, 0))
}

fn assert_unknown(answer: &Result<Vec<posture::Row>, QueryError>) -> String {
    let measured = read_measurement(answer, Moment::default());
    assert_eq!(measured.finding, Finding::Unknown, "{answer:?}");
    assert!(!measured.evidence.is_empty() && measured.evidence.chars().count() <= 401);
    measured.evidence.to_string()
}
