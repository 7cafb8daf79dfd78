use super::{Kind, Severity};

pub(super) const fn write(_kind: Kind, _severity: Severity, _text: &str) {}
