//! The machine that runs the tests.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use connector_core::posture::Platform;
use connector_core::time::Moment;
use posture::{Machine, Prober, QueryEngine, Tables, builtin_checks};

#[test]
fn the_first_set_of_checks_is_answered_quickly_and_in_words() {
    let Some(platform) = Platform::from_os(std::env::consts::OS) else {
        return;
    };
    let mut prober = Prober::new(Tables::open(Machine::local()).unwrap());

    for check in builtin_checks() {
        let start = Instant::now();
        let measured = prober.measure(&check, platform, Moment::default());

        println!(
            "{:<18} {:<8} {} ({:?})",
            check.id.as_str(),
            measured.finding.as_str(),
            measured.evidence,
            start.elapsed()
        );
        assert!(start.elapsed() < Duration::from_secs(2), "{}", check.id);
        assert!(!measured.evidence.is_empty(), "{}", check.id);
    }
}

#[test]
fn every_table_answers_here() {
    let mut tables = Tables::open(Machine::local()).unwrap();
    for (table, columns) in Tables::schema() {
        let columns: Vec<&str> = columns
            .into_iter()
            .filter(|column| table != "file" || !matches!(*column, "uid" | "gid" | "mode"))
            .collect();
        let condition = match table {
            "augeas" => "WHERE path = '/etc/selinux/config'",
            "file" => "WHERE path = '/'",
            _ => "",
        };

        let rows = tables
            .query(&format!(
                "SELECT {} FROM {table} {condition} LIMIT 3",
                columns.join(", ")
            ))
            .unwrap();

        println!("{table}: {rows:?}");
    }
}

#[test]
fn a_process_is_seen_while_it_runs() {
    if std::env::consts::OS != "linux" {
        return;
    }
    let mut tables = Tables::open(Machine::local()).unwrap();
    let child = Sleeper::start();
    let sql = format!(
        "SELECT name, path, cmdline, parent, uid, on_disk, start_time <= unixepoch() AS started \
         FROM processes WHERE pid = {}",
        child.0.id()
    );

    let rows = eventually(|| {
        let rows = tables.query(&sql).unwrap();
        // Until it has started its program it is a copy of this one, and while it does so it has
        // its new name before its new command line.
        let row = rows.first()?;
        let runs = row.value("name") == Some("sleep") && row.value("cmdline") != Some("");
        runs.then_some(rows)
    });

    assert_eq!(rows[0].value("cmdline"), Some("sleep 600"));
    assert_eq!(
        rows[0].value("parent"),
        Some(std::process::id().to_string().as_str())
    );
    assert_eq!(rows[0].value("on_disk"), Some("1"));
    assert_eq!(rows[0].value("started"), Some("1"));
    assert!(rows[0].value("path").unwrap().starts_with('/'));

    drop(child);

    assert_eq!(tables.query(&sql).unwrap(), []);
}

struct Sleeper(Child);

impl Sleeper {
    fn start() -> Self {
        Self(
            Command::new("sleep")
                .arg("600")
                .stdin(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(
            Instant::now() < deadline,
            "it did not happen within ten seconds"
        );
        std::thread::yield_now();
    }
}
