//! What a profile puts among the managed preferences.

use std::io;
use std::path::Path;

use super::{Found, ManagedError, open_checked, property_list, read_bounded};

pub(super) fn native() -> Result<Option<Found>, ManagedError> {
    let path = Path::new(PREFERENCES);
    let read = || -> io::Result<Option<Found>> {
        let Some(file) = open_checked(path)? else {
            return Ok(None);
        };
        let values = property_list::values(&read_bounded(file)?)?;
        Ok(Some(Found {
            place: PREFERENCES.to_owned(),
            values,
        }))
    };
    read().map_err(|problem| ManagedError {
        place: path.to_owned(),
        problem,
    })
}

const PREFERENCES: &str = "/Library/Managed Preferences/ztna-connector.plist";
