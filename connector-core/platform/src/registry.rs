//! Windows' registry.

#[cfg(windows)]
mod key;
#[cfg(all(windows, feature = "system"))]
mod reading;

#[cfg(all(windows, feature = "system"))]
pub(crate) use self::key::check;
#[cfg(windows)]
pub(crate) use self::key::{Key, delete};

/// A value as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) data: Vec<u8>,
}

impl Value {
    /// Returns a number.
    pub(crate) fn number(name: &'static str, number: u32) -> Self {
        Self::new(name, Kind::Number, number.to_le_bytes().to_vec())
    }

    /// Returns a text in which variables of the environment stand for what they hold.
    #[cfg(windows)]
    pub(crate) fn expandable(name: &'static str, text: &str) -> Self {
        Self::new(name, Kind::Expandable, zero_terminated(text))
    }

    pub(crate) fn new(name: &'static str, kind: Kind, data: Vec<u8>) -> Self {
        Self { name, kind, data }
    }
}

/// What a value is (`winnt.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `REG_EXPAND_SZ`.
    #[cfg(windows)]
    Expandable,
    /// `REG_DWORD`.
    Number,
    /// `REG_SZ`.
    #[cfg(feature = "system")]
    Text,
    /// `REG_MULTI_SZ`.
    #[cfg(feature = "system")]
    Texts,
}

impl Kind {
    pub(crate) const fn code(self) -> u32 {
        match self {
            #[cfg(feature = "system")]
            Self::Text => 1,
            #[cfg(windows)]
            Self::Expandable => 2,
            Self::Number => 4,
            #[cfg(feature = "system")]
            Self::Texts => 7,
        }
    }
}

pub(crate) fn zero_terminated(text: &str) -> Vec<u8> {
    text.encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect()
}
