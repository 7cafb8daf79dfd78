use serde_json::Value;

use super::chain::Link;
use super::{PleaRecord, ProtectionRecord, Record, RejectionRecord, TrustRecord};
use crate::connector::SignalRecord;

/// Something that is written down in the decision log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matter {
    /// A decision about a connection.
    Decision(Box<Record>),
    /// A request for access.
    Plea(Box<PleaRecord>),
    /// That protection was switched off or on, or its settings changed.
    Protection(Box<ProtectionRecord>),
    /// What was sent in the company's name and is not followed.
    Rejection(Box<RejectionRecord>),
    /// A signal of the company.
    Signal(Box<SignalRecord>),
    /// A consent or an elevation.
    Trust(Box<TrustRecord>),
}

impl Matter {
    /// Writes it as an OCSF event; `link` names it within its log.
    #[must_use]
    pub fn to_ocsf(&self, link: &Link, product_version: &str) -> Value {
        match self {
            Self::Decision(record) => record.to_ocsf(link, product_version),
            Self::Plea(record) => record.to_ocsf(link, product_version),
            Self::Protection(record) => record.to_ocsf(link, product_version),
            Self::Rejection(record) => record.to_ocsf(link, product_version),
            Self::Signal(record) => record.to_ocsf(link, product_version),
            Self::Trust(record) => record.to_ocsf(link, product_version),
        }
    }
}

impl From<Record> for Matter {
    fn from(record: Record) -> Self {
        Self::Decision(Box::new(record))
    }
}
