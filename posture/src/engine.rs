//! What answers a query, and what an answer is.

use std::collections::BTreeMap;
use std::time::Duration;

/// Answers SQL over osquery's schema.
pub trait QueryEngine {
    /// Returns every row that `sql` selects.
    ///
    /// # Errors
    ///
    /// When the query is not one that the engine answers, or the device does
    /// not let itself be read; a partial answer is never given.
    fn query(&mut self, sql: &str) -> Result<Vec<Row>, QueryError>;
}

/// One row of an answer; as in osquery, every value is text and an absent one is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row(BTreeMap<String, String>);

impl Row {
    /// Returns the value in `column`, if the row has that column.
    #[must_use]
    pub fn value(&self, column: &str) -> Option<&str> {
        self.0.get(column).map(String::as_str)
    }

    /// Returns each column's name and value, by name.
    pub fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(column, value)| (column.as_str(), value.as_str()))
    }
}

impl FromIterator<(String, String)> for Row {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// Why a query has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The text is not a query that can be run.
    #[error("the check's query cannot be run: {reason}; correct the check")]
    Invalid {
        /// What the engine says about it.
        reason: String,
    },
    /// The engine does not have the table.
    #[error("this device has no table `{table}`; osquery may provide it")]
    NoSuchTable {
        /// The table's name.
        table: String,
    },
    /// The query tries to do more than to read tables.
    #[error("the check's query does more than read tables: {reason}; correct the check")]
    NotAllowed {
        /// What was refused.
        reason: String,
    },
    /// Query or answer exceeds a bound.
    #[error("the check's query is too large: {reason}; select less")]
    TooLarge {
        /// Which bound was exceeded.
        reason: String,
    },
    /// The answer was not there in time.
    #[error("the check's query took too long, more than {} ms", limit.as_millis())]
    TookTooLong {
        /// The time allowed.
        limit: Duration,
    },
    /// The device did not let itself be read.
    #[error("the device could not be read: {reason}")]
    Unreadable {
        /// What could not be read, and why.
        reason: String,
    },
}
