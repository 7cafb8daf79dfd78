//! One table of the catalogue as a virtual table of SQLite's.
#![expect(
    unsafe_code,
    reason = "implementing SQLite's two traits promises the layout of the two structs below, and nothing else"
)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_int};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rusqlite::types::{Null, ValueRef};
use rusqlite::vtab::{
    Context, Filters, IndexConstraintOp, IndexInfo, Module, VTab, VTabConnection, VTabCursor,
    sqlite3_vtab, sqlite3_vtab_cursor,
};
use rusqlite::{Connection, Error, Result};

use crate::catalogue::{Cell, Kind, Scan, Table};
use crate::machine::{Machine, Unreadable};

/// Makes `table` known to `connection`, with rows from `device`.
pub(super) fn register(
    connection: &Connection,
    table: &'static Table,
    device: &Arc<Device>,
) -> Result<()> {
    const MODULE: &Module<'static, DeviceTable> = &Module::eponymous_only_module();
    let served = Served {
        table,
        device: Arc::clone(device),
    };
    connection.create_module(table.name, MODULE, Some(served))
}

/// The machine under measurement and the one query that is running on it.
#[derive(Debug)]
pub(super) struct Device {
    machine: Machine,
    running: Mutex<Running>,
}

impl Device {
    pub(super) fn new(machine: Machine) -> Self {
        Self {
            machine,
            running: Mutex::default(),
        }
    }

    /// Starts a query that must end by `deadline`.
    pub(super) fn begin(&self, deadline: Instant) {
        self.with(|running| {
            *running = Running {
                deadline: Some(deadline),
                ..Running::default()
            };
        });
    }

    /// Ends the query and forgets what was read for it.
    pub(super) fn end(&self) {
        self.with(|running| *running = Running::default());
    }

    /// Returns whether the query's time is over.
    pub(super) fn is_late(&self) -> bool {
        self.with(|running| {
            running
                .deadline
                .is_some_and(|deadline| Instant::now() >= deadline)
        })
    }

    /// Returns what could not be read, if that ended the query.
    pub(super) fn take_failure(&self) -> Option<Unreadable> {
        self.with(|running| running.failure.take())
    }

    /// Returns the rows of one scan. A whole table is read once per query, so
    /// that a query sees one state of it however often it looks.
    fn scan(
        &self,
        table: &'static Table,
        used: u64,
        equal: Vec<(&'static str, String)>,
    ) -> std::result::Result<Arc<Rows>, Unreadable> {
        let key = (table.name, used);
        let is_whole = equal.is_empty();
        let known = self.with(|running| running.whole.get(&key).map(Arc::clone));
        if let Some(rows) = known.filter(|_| is_whole) {
            return Ok(rows);
        }

        let deadline = self
            .with(|running| running.deadline)
            .unwrap_or_else(Instant::now);
        let scan = Scan {
            machine: &self.machine,
            table,
            equal,
            used,
            deadline,
        };
        scan.continues()?;
        let records = (table.rows)(&scan)?;
        let rows: Rows = records
            .into_iter()
            .map(|record| record.into_cells(table))
            .collect();

        let rows = Arc::new(rows);
        if is_whole {
            self.with(|running| running.whole.insert(key, Arc::clone(&rows)));
        }
        Ok(rows)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Running) -> T) -> T {
        act(&mut self.running.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Debug, Default)]
struct Running {
    deadline: Option<Instant>,
    failure: Option<Unreadable>,
    /// Whole tables by name and columns read.
    whole: BTreeMap<(&'static str, u64), Arc<Rows>>,
}

type Rows = Vec<Vec<Cell>>;

/// What SQLite keeps for each table.
#[derive(Debug, Clone)]
struct Served {
    table: &'static Table,
    device: Arc<Device>,
}

#[repr(C)]
struct DeviceTable {
    base: sqlite3_vtab,
    served: Served,
}

// SAFETY: the struct is `repr(C)` and starts with `sqlite3_vtab`.
unsafe impl VTab<'_> for DeviceTable {
    type Aux = Served;
    type Cursor = Cursor;

    fn connect(
        _: &mut VTabConnection,
        served: Option<&Served>,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: &[&[u8]],
    ) -> Result<(Cow<'static, CStr>, Self)> {
        let served = served
            .ok_or_else(|| Error::ModuleError("the table has no source".to_owned()))?
            .clone();
        let declaration = CString::new(declaration(served.table))?;
        let table = Self {
            base: sqlite3_vtab::default(),
            served,
        };
        Ok((Cow::Owned(declaration), table))
    }

    fn best_index(&self, info: &mut IndexInfo) -> Result<bool> {
        let table = self.served.table;
        let mut plan = Plan {
            used: info.col_used(),
            columns: Vec::new(),
        };
        let constraints: Vec<_> = info
            .constraints()
            .map(|constraint| {
                let is_equality =
                    constraint.operator() == IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ;
                (constraint.column(), constraint.is_usable() && is_equality)
            })
            .collect();

        for (index, (column, is_usable)) in constraints.into_iter().enumerate() {
            let Ok(position) = usize::try_from(column) else {
                continue;
            };
            let is_sought = table
                .columns
                .get(position)
                .is_some_and(|column| column.sought);
            if !is_usable || !is_sought || plan.columns.contains(&position) {
                continue;
            }
            // Under another collation more values count as equal than the table would find.
            if info.collation(index)? != "BINARY" {
                continue;
            }
            plan.columns.push(position);
            let argument = c_int::try_from(plan.columns.len()).unwrap_or(c_int::MAX);
            info.constraint_usage(index).set_argv_index(argument);
        }

        let required = table.required.and_then(|required| table.position(required));
        if required.is_some_and(|required| !plan.columns.contains(&required)) {
            return Ok(false);
        }
        let (cost, rows) = if plan.columns.is_empty() {
            (1e6, 1000)
        } else {
            (10.0, 1)
        };
        info.set_estimated_cost(cost);
        info.set_estimated_rows(rows);
        info.set_idx_str(&plan.encode());
        Ok(true)
    }

    fn open(&mut self) -> Result<Cursor> {
        Ok(Cursor {
            base: sqlite3_vtab_cursor::default(),
            served: self.served.clone(),
            rows: Arc::default(),
            at: 0,
        })
    }
}

#[repr(C)]
struct Cursor {
    base: sqlite3_vtab_cursor,
    served: Served,
    rows: Arc<Rows>,
    at: usize,
}

// SAFETY: the struct is `repr(C)` and starts with `sqlite3_vtab_cursor`.
unsafe impl VTabCursor for Cursor {
    fn filter(&mut self, _: c_int, plan: Option<&str>, values: &Filters<'_>) -> Result<()> {
        let Served { table, device } = &self.served;
        let plan = plan
            .and_then(Plan::decode)
            .ok_or_else(|| Error::ModuleError("the table was given no plan".to_owned()))?;

        self.at = 0;
        self.rows = Arc::default();
        let mut equal = Vec::new();
        for (position, value) in plan.columns.iter().zip(values.iter()) {
            let column = table
                .columns
                .get(*position)
                .map_or("", |column| column.name);
            match value {
                ValueRef::Integer(number) => equal.push((column, number.to_string())),
                ValueRef::Text(bytes) => {
                    equal.push((column, String::from_utf8_lossy(bytes).into_owned()));
                }
                // Nothing equals NULL, no column holds a blob, and SQLite has
                // turned every number that a column may hold into an integer.
                ValueRef::Null | ValueRef::Blob(_) | ValueRef::Real(_) => return Ok(()),
            }
        }

        match device.scan(table, plan.used, equal) {
            Ok(rows) => {
                self.rows = rows;
                Ok(())
            }
            Err(unreadable) => {
                let message = unreadable.to_string();
                device.with(|running| running.failure = Some(unreadable));
                Err(Error::ModuleError(message))
            }
        }
    }

    fn next(&mut self) -> Result<()> {
        self.at += 1;
        Ok(())
    }

    fn eof(&self) -> bool {
        self.at >= self.rows.len()
    }

    fn column(&self, context: &mut Context, column: c_int) -> Result<()> {
        let cell = usize::try_from(column)
            .ok()
            .and_then(|column| self.rows.get(self.at)?.get(column));
        match cell {
            Some(Cell::Integer(number)) => context.set_result(*number),
            Some(Cell::Text(text)) => context.set_result(text.as_str()),
            Some(Cell::Absent) | None => context.set_result(Null),
        }
    }

    fn rowid(&self) -> Result<i64> {
        Ok(i64::try_from(self.at).unwrap_or(i64::MAX))
    }
}

/// How SQLite is going to walk the table: the columns it reads, and those whose value it gives.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    used: u64,
    columns: Vec<usize>,
}

impl Plan {
    fn encode(&self) -> String {
        let mut text = self.used.to_string();
        for column in &self.columns {
            text.push(' ');
            text.push_str(&column.to_string());
        }
        text
    }

    fn decode(text: &str) -> Option<Self> {
        let mut numbers = text.split(' ');
        Some(Self {
            used: numbers.next()?.parse().ok()?,
            columns: numbers
                .map(|number| number.parse().ok())
                .collect::<Option<_>>()?,
        })
    }
}

fn declaration(table: &Table) -> String {
    let columns: Vec<String> = table
        .columns
        .iter()
        .map(|column| {
            let kind = match column.kind {
                Kind::Integer => "INTEGER",
                Kind::Text => "TEXT",
            };
            format!("\"{}\" {kind}", column.name)
        })
        .collect();
    format!("CREATE TABLE t({})", columns.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_its_text() {
        for columns in [vec![], vec![3], vec![0, 7, 2]] {
            let plan = Plan {
                used: u64::MAX,
                columns,
            };

            assert_eq!(Plan::decode(&plan.encode()), Some(plan));
        }
        assert_eq!(Plan::decode(""), None);
    }
}
