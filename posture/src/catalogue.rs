//! The tables, under osquery's names and columns.

mod accounts;
mod block;
mod files;
mod gvdb;
mod mounts;
mod processes;
pub(crate) mod screenlock;
mod system;
mod units;

use std::time::Instant;

use crate::machine::{Machine, Unreadable};

/// Every table there is.
pub(crate) const TABLES: &[&Table] = &[
    &accounts::USERS,
    &block::BLOCK_DEVICES,
    &block::DISK_ENCRYPTION,
    &files::AUGEAS,
    &files::FILE,
    &mounts::MOUNTS,
    &processes::PROCESSES,
    &screenlock::SCREENLOCK,
    &system::KERNEL_INFO,
    &system::OS_VERSION,
    &system::SECUREBOOT,
    &system::SYSTEM_INFO,
    &system::UPTIME,
    &units::SYSTEMD_UNITS,
];

/// A table and the way to its rows.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [Column],
    /// The column that a query must compare with `=`, as the table has no end without.
    pub(crate) required: Option<&'static str>,
    /// Returns the rows; those that `Scan::equal` excludes may be left out.
    pub(crate) rows: fn(&Scan<'_>) -> Result<Vec<Record>, Unreadable>,
}

impl Table {
    /// Returns the position of a column.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}

/// One column of a table.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Whether knowing the wanted value saves the table work.
    pub(crate) sought: bool,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Integer,
    Text,
}

pub(crate) const fn integer(name: &'static str) -> Column {
    Column {
        name,
        kind: Kind::Integer,
        sought: false,
    }
}

pub(crate) const fn text(name: &'static str) -> Column {
    Column {
        name,
        kind: Kind::Text,
        sought: false,
    }
}

pub(crate) const fn sought(column: Column) -> Column {
    Column {
        sought: true,
        ..column
    }
}

/// What one pass over a table is to find.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) table: &'static Table,
    /// The wanted value of some columns.
    pub(crate) equal: Vec<(&'static str, String)>,
    /// A bit for each column that the query reads; the last stands for all from there on.
    pub(crate) used: u64,
    pub(crate) deadline: Instant,
}

impl Scan<'_> {
    /// Returns the only value of `column` that is wanted, if there is only one.
    pub(crate) fn equal(&self, column: &str) -> Option<&str> {
        self.equal
            .iter()
            .find(|(name, _)| *name == column)
            .map(|(_, value)| value.as_str())
    }

    /// Returns whether a row with `value` in `column` may be wanted.
    pub(crate) fn wants(&self, column: &str, value: &str) -> bool {
        self.equal(column).is_none_or(|wanted| wanted == value)
    }

    /// Returns whether the query reads `column`.
    pub(crate) fn uses(&self, column: &str) -> bool {
        self.table
            .position(column)
            .is_none_or(|position| self.used >> position.min(63) & 1 == 1)
    }

    /// Returns an error once the query's time is over.
    pub(crate) fn continues(&self) -> Result<(), Unreadable> {
        if Instant::now() < self.deadline {
            Ok(())
        } else {
            Err(Unreadable::new(self.table.name, "reading it took too long"))
        }
    }
}

/// One row under construction; columns not set are absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Record(Vec<(&'static str, Cell)>);

impl Record {
    pub(crate) fn set(mut self, column: &'static str, value: impl Into<Cell>) -> Self {
        self.0.push((column, value.into()));
        self
    }

    /// Returns the values in the order of the table's columns.
    pub(crate) fn into_cells(self, table: &Table) -> Vec<Cell> {
        let mut cells = vec![Cell::Absent; table.columns.len()];
        for (column, value) in self.0 {
            let slot = table
                .position(column)
                .and_then(|position| cells.get_mut(position));
            debug_assert!(slot.is_some(), "{} has no column {column}", table.name);
            if let Some(slot) = slot {
                *slot = value;
            }
        }
        cells
    }
}

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    Absent,
    Integer(i64),
    Text(String),
}

impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<u64> for Cell {
    fn from(value: u64) -> Self {
        Self::Integer(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Cell {
    fn from(value: u32) -> Self {
        Self::Integer(value.into())
    }
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self::Integer(value.into())
    }
}

impl From<String> for Cell {
    /// Cuts what is longer than any value worth comparing.
    fn from(mut value: String) -> Self {
        if value.len() > MAX_VALUE {
            value.truncate(value.floor_char_boundary(MAX_VALUE));
        }
        Self::Text(value)
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Self {
        value.to_owned().into()
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Into::into)
    }
}

/// Reads lines of the form `KEY=value` as a shell would, where nothing is expanded.
pub(crate) fn assignments(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (key, value) = line.split_once('=')?;
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        (!key.is_empty() && key.chars().all(is_name)).then(|| (key, unquoted(value)))
    })
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            return rest.split(quote).next().unwrap_or_default();
        }
    }
    value.split_whitespace().next().unwrap_or_default()
}

/// Paths end at 4096 bytes (`PATH_MAX`); nothing that is compared is longer.
const MAX_VALUE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_table_has_a_column_twice_or_more_than_the_mask_can_tell() {
        for table in TABLES {
            for (position, column) in table.columns.iter().enumerate() {
                assert_eq!(
                    table.position(column.name),
                    Some(position),
                    "{}",
                    table.name
                );
            }
            assert!(table.columns.len() < 64, "{}", table.name);
            if let Some(required) = table.required {
                let position = table.position(required).unwrap();
                assert!(table.columns[position].sought, "{}", table.name);
            }
        }
    }

    #[test]
    fn assignments_are_read_as_a_shell_reads_them() {
        let text = "# ENABLED=no\nENABLED=yes # on\nNAME=\"A B\" # x\nexport E='1'\n not a=1\n=2\nEMPTY=\n";

        let read: Vec<_> = assignments(text).collect();

        assert_eq!(
            read,
            [
                ("ENABLED", "yes"),
                ("NAME", "A B"),
                ("E", "1"),
                ("EMPTY", "")
            ]
        );
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let Cell::Text(value) = Cell::from("ä".repeat(MAX_VALUE)) else {
            panic!("a text stays a text");
        };

        assert!(value.len() <= MAX_VALUE && value.ends_with('ä'));
    }
}
