//! A machine made of a few files.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use connector_core::posture::{Measurement, Platform};
use connector_core::time::Moment;
use posture::{Machine, Prober, QueryEngine, QueryError, Row, Tables, builtin_checks};
use tempfile::TempDir;

/// A root directory that vanishes with its test.
pub(crate) struct Tree(TempDir);

impl Tree {
    pub(crate) fn empty() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// Returns a machine whose own processes can be seen, under systemd.
    pub(crate) fn laptop() -> Self {
        Self::empty()
            .process(1, "systemd", 0, 0)
            .process(2, "kthreadd", 0, 0)
            .directory("/run/systemd/system")
            .file("/run/systemd/units/invocation:dbus.service", "")
    }

    pub(crate) fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.0.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    pub(crate) fn directory(self, path: &str) -> Self {
        fs::create_dir_all(self.0.path().join(path.trim_start_matches('/'))).unwrap();
        self
    }

    /// Makes a symbolic link; the standard library's way differs by system.
    pub(crate) fn link(self, path: &str, target: &str) -> Self {
        let path = self.0.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let made = Command::new("ln")
            .arg("-s")
            .arg(target)
            .arg(path)
            .status()
            .unwrap();
        assert!(made.success());
        self
    }

    pub(crate) fn process(self, pid: u32, name: &str, parent: u32, uid: u32) -> Self {
        self.file(
            &format!("/proc/{pid}/stat"),
            format!("{pid} ({name}) S {parent} {pid} 0 0 -1 0 0 0 0 0 0 0 0 0 20 0 3 0 500 0 0\n"),
        )
        .file(
            &format!("/proc/{pid}/status"),
            format!(
                "Name:\t{name}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t7\t8\t8\t8\nVmRSS:\t 4 kB\n"
            ),
        )
    }

    pub(crate) fn active(self, unit: &str) -> Self {
        self.file(&format!("/run/systemd/units/invocation:{unit}"), "")
    }

    /// Adds a disk; it stores its data on `slaves`.
    pub(crate) fn disk(self, name: &str, slaves: &[&str]) -> Self {
        let directory = format!("/sys/block/{name}");
        let tree = self.file(&format!("{directory}/size"), "2048\n");
        slaves.iter().fold(tree, |tree, slave| {
            tree.directory(&format!("{directory}/slaves/{slave}"))
        })
    }

    pub(crate) fn partition(self, disk: &str, name: &str) -> Self {
        self.file(&format!("/sys/block/{disk}/{name}/partition"), "1\n")
    }

    pub(crate) fn mapped(self, name: &str, label: &str, uuid: &str, slaves: &[&str]) -> Self {
        self.disk(name, slaves)
            .file(&format!("/sys/block/{name}/dm/name"), format!("{label}\n"))
            .file(&format!("/sys/block/{name}/dm/uuid"), format!("{uuid}\n"))
    }

    pub(crate) fn root_on(self, device: &str, kind: &str) -> Self {
        self.file(
            "/proc/self/mounts",
            format!("proc /proc proc rw 0 0\n{device} / {kind} rw,relatime 0 0\n"),
        )
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn tables(&self) -> Tables {
        Tables::open(Machine::rooted_at(self.path())).unwrap()
    }

    pub(crate) fn query(&self, sql: &str) -> Result<Vec<Row>, QueryError> {
        self.tables().query(sql)
    }

    /// Returns the only row's only value.
    pub(crate) fn value(&self, sql: &str) -> String {
        let rows = self.query(sql).unwrap();
        let [row] = rows.as_slice() else {
            panic!("{sql}: {rows:?}");
        };
        let values: Vec<_> = row.values().collect();
        assert_eq!(values.len(), 1, "{sql}: {rows:?}");
        values[0].1.to_owned()
    }

    pub(crate) fn measure(&self, id: &str) -> Measurement {
        let checks = builtin_checks();
        let check = checks.iter().find(|check| check.id.as_str() == id).unwrap();
        Prober::new(self.tables()).measure(
            check,
            Platform::Linux,
            Moment::from_boot(Duration::ZERO),
        )
    }
}
