//! The built-in query engine: SQLite over virtual tables.
//!
//! A query comes from the control plane and is trusted with nothing but
//! reading these tables: it may not name another, write, or spend more than
//! its share of time and memory.

mod device_table;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, ErrorCode};

use self::device_table::Device;
use crate::catalogue::TABLES;
use crate::engine::{QueryEngine, QueryError, Row};
use crate::machine::Machine;

/// Answers queries from tables built into this program.
#[derive(Debug)]
pub struct Tables {
    connection: Connection,
    device: Arc<Device>,
    time_limit: Duration,
}

impl Tables {
    /// Opens the tables over `machine`.
    ///
    /// # Errors
    ///
    /// When SQLite cannot be set up with its bounds in place.
    pub fn open(machine: Machine) -> Result<Self, OpenTablesError> {
        let mut connection = Connection::open_in_memory()?;
        let device = Arc::new(Device::new(machine));

        connection.execute_batch(MEMORY_LIMITS)?;
        for table in TABLES {
            device_table::register(&connection, table, &device)?;
        }
        for (limit, value) in LIMITS {
            connection.set_limit(limit, value)?;
        }
        let clock = Arc::clone(&device);
        connection.progress_handler(PROGRESS_STEPS, Some(move || clock.is_late()))?;
        connection.authorizer(Some(authorize))?;

        Ok(Self {
            connection,
            device,
            time_limit: TIME_LIMIT,
        })
    }

    /// Returns each table's name with the names of its columns.
    pub fn schema() -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
        TABLES.iter().map(|table| {
            (
                table.name,
                table.columns.iter().map(|column| column.name).collect(),
            )
        })
    }

    fn rows(&self, sql: &str) -> Result<Vec<Row>, Failed> {
        let mut statement = self.connection.prepare(sql)?;
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        if let Some(repeated) = first_repeated(&columns) {
            return Err(Failed::Ambiguous(repeated));
        }

        let (mut selected, mut size) = (Vec::new(), 0);
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let mut values = Vec::with_capacity(columns.len());
            for (position, column) in columns.iter().enumerate() {
                let value = shown(row.get_ref(position)?);
                size += column.len() + value.len();
                values.push((column.clone(), value));
            }
            selected.push(values.into_iter().collect());
            if selected.len() > MAX_ROWS || size > MAX_ANSWER {
                return Err(Failed::Endless);
            }
        }
        Ok(selected)
    }

    fn explain(&self, failed: Failed) -> QueryError {
        if self.device.is_late() {
            return QueryError::TookTooLong {
                limit: self.time_limit,
            };
        }
        if let Some(unreadable) = self.device.take_failure() {
            return QueryError::Unreadable {
                reason: unreadable.to_string(),
            };
        }
        match failed {
            Failed::Ambiguous(column) => QueryError::Invalid {
                reason: format!("it has two columns named `{column}`"),
            },
            Failed::Endless => QueryError::TooLarge {
                reason: format!("the answer exceeds {MAX_ROWS} rows or {MAX_ANSWER} bytes"),
            },
            Failed::Sqlite(error) => explain(error),
        }
    }
}

impl QueryEngine for Tables {
    fn query(&mut self, sql: &str) -> Result<Vec<Row>, QueryError> {
        if sql.len() > MAX_SQL {
            return Err(QueryError::TooLarge {
                reason: format!("it has {} bytes, the limit is {MAX_SQL}", sql.len()),
            });
        }

        // SQLite would read up to here and leave the rest unseen.
        if sql.contains('\0') {
            return Err(QueryError::Invalid {
                reason: "it holds a NUL character".to_owned(),
            });
        }

        self.device.begin(Instant::now() + self.time_limit);
        let answer = self.rows(sql).map_err(|failed| self.explain(failed));
        self.device.end();
        answer
    }
}

/// The built-in tables could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("failed to set up the posture tables: {0}; restart the service")]
pub struct OpenTablesError(#[from] Error);

/// What ended a query.
enum Failed {
    /// Two of its columns have this name.
    Ambiguous(String),
    /// Its answer is larger than is kept.
    Endless,
    Sqlite(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Lets a statement select from the tables and call harmless functions, and nothing else.
fn authorize(context: AuthContext<'_>) -> Authorization {
    let allowed = if let AuthAction::Read { table_name, .. } = context.action {
        TABLES
            .iter()
            .any(|table| table.name.eq_ignore_ascii_case(table_name))
    } else if let AuthAction::Function { function_name } = context.action {
        FUNCTIONS
            .iter()
            .any(|name| name.eq_ignore_ascii_case(function_name))
    } else {
        context.action == AuthAction::Select
    };

    if allowed {
        Authorization::Allow
    } else {
        Authorization::Deny
    }
}

fn explain(error: Error) -> QueryError {
    let (code, reason) = if let Error::SqliteFailure(cause, message) = error {
        let reason = message.unwrap_or_else(|| cause.to_string());
        (Some(cause.code), reason)
    } else if let Error::SqlInputError { error, msg, .. } = error {
        (Some(error.code), msg)
    } else if matches!(error, Error::MultipleStatement) {
        (None, "it is more than one statement".to_owned())
    } else {
        (None, error.to_string())
    };

    if let Some(table) = reason.strip_prefix("no such table: ") {
        return QueryError::NoSuchTable {
            table: table.to_owned(),
        };
    }
    if code == Some(ErrorCode::AuthorizationForStatementDenied) {
        return QueryError::NotAllowed { reason };
    }
    if matches!(code, Some(ErrorCode::OutOfMemory | ErrorCode::TooBig)) {
        return QueryError::TooLarge {
            reason: format!(
                "a value exceeds {MAX_VALUE} bytes, or all together their share of memory"
            ),
        };
    }
    QueryError::Invalid { reason }
}

fn first_repeated(names: &[String]) -> Option<String> {
    names
        .iter()
        .enumerate()
        .find(|(position, name)| names[..*position].contains(name))
        .map(|(_, name)| name.clone())
}

/// Writes a value as osquery does.
fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => format!("{number:?}"),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
    }
}

/// SQLite's own bound on everything it holds, with nothing spilled to disk.
/// The tables' largest answers need a few hundred kilobytes.
const MEMORY_LIMITS: &str = "PRAGMA temp_store = MEMORY; PRAGMA hard_heap_limit = 33554432;";

/// A query of a check runs in a few milliseconds; one that does not is stopped
/// well before the next is due.
const TIME_LIMIT: Duration = Duration::from_millis(500);

/// Steps of SQLite's machine between two looks at the clock, some microseconds.
const PROGRESS_STEPS: i32 = 1000;

/// The longest query, in bytes.
const MAX_SQL: usize = 64 * 1024;

/// The longest value. Functions that search one text in another stay quick below it.
const MAX_VALUE: i32 = 64 * 1024;

/// More rows than this are no answer to a yes-or-no question.
const MAX_ROWS: usize = 1000;

/// The largest answer, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

const LIMITS: [(Limit, i32); 11] = [
    (Limit::SQLITE_LIMIT_ATTACHED, 0),
    (Limit::SQLITE_LIMIT_COLUMN, 100),
    (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 50),
    (Limit::SQLITE_LIMIT_EXPR_DEPTH, 100),
    (Limit::SQLITE_LIMIT_FUNCTION_ARG, 16),
    (Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE),
    (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 256),
    (Limit::SQLITE_LIMIT_SQL_LENGTH, MAX_VALUE),
    (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 0),
    (Limit::SQLITE_LIMIT_VDBE_OP, 50_000),
    (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
];

/// Functions without side effects, whose result is no larger than what they are given.
const FUNCTIONS: [&str; 48] = [
    "abs",
    "avg",
    "cast",
    "ceil",
    "char",
    "coalesce",
    "concat",
    "concat_ws",
    "count",
    "date",
    "datetime",
    "dense_rank",
    "floor",
    "format",
    "glob",
    "group_concat",
    "hex",
    "ifnull",
    "iif",
    "instr",
    "julianday",
    "length",
    "like",
    "lower",
    "ltrim",
    "max",
    "min",
    "nullif",
    "printf",
    "quote",
    "rank",
    "replace",
    "round",
    "row_number",
    "rtrim",
    "sign",
    "strftime",
    "string_agg",
    "substr",
    "substring",
    "sum",
    "time",
    "total",
    "trim",
    "typeof",
    "unicode",
    "unixepoch",
    "upper",
];
