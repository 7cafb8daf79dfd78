use serde_json::Value;

use super::chain::Link;
use super::{Record, TrustRecord};

/// Something that is written down in the decision log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matter {
    /// A decision about a connection.
    Decision(Box<Record>),
    /// A consent or an elevation.
    Trust(Box<TrustRecord>),
}

impl Matter {
    /// Writes it as an OCSF event; `link` names it within its log.
    #[must_use]
    pub fn to_ocsf(&self, link: &Link, product_version: &str) -> Value {
        match self {
            Self::Decision(record) => record.to_ocsf(link, product_version),
            Self::Trust(record) => record.to_ocsf(link, product_version),
        }
    }
}

impl From<Record> for Matter {
    fn from(record: Record) -> Self {
        Self::Decision(Box::new(record))
    }
}
