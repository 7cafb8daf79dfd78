//! What a group policy puts into the registry, where only administrators write.

use std::io;
use std::path::PathBuf;

use super::{Found, ManagedError, registry_value};
use crate::registry::Key;

pub(super) fn native() -> Result<Option<Found>, ManagedError> {
    let place = format!("HKLM\\{POLICIES}");
    let read = || -> io::Result<Option<Found>> {
        let Some(key) = Key::open(POLICIES)? else {
            return Ok(None);
        };
        let mut values = Vec::new();
        while let Some(value) = key.value_at(values.len())? {
            let given = registry_value::given(value.kind, &value.data);
            values.push((value.name, given));
            if values.len() > MAX_VALUES {
                return Err(io::Error::other("it has too many values"));
            }
        }
        Ok(Some(Found {
            place: place.clone(),
            values,
        }))
    };
    read().map_err(|problem| ManagedError {
        place: PathBuf::from(&place),
        problem,
    })
}

const POLICIES: &str = r"Software\Policies\ZTNA\Connector";

/// There are fewer settings than that.
const MAX_VALUES: usize = 200;
