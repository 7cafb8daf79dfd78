//! What a group policy puts into the registry, where only administrators write.

use std::io;
use std::path::PathBuf;
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_NO_MORE_ITEMS, ERROR_SUCCESS};
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_LOCAL_MACHINE, KEY_QUERY_VALUE, KEY_WOW64_64KEY, RegCloseKey, RegEnumValueW,
    RegOpenKeyExW,
};

use super::{Found, Given, ManagedError, registry_value};

pub(super) fn native() -> Result<Option<Found>, ManagedError> {
    let place = format!("HKLM\\{POLICIES}");
    let read = || -> io::Result<Option<Found>> {
        let Some(key) = Key::open(POLICIES)? else {
            return Ok(None);
        };
        let mut values = Vec::new();
        while let Some(value) = key.value(values.len())? {
            values.push(value);
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

/// An open key.
struct Key(HKEY);

impl Key {
    #[expect(unsafe_code, reason = "the system's interface")]
    fn open(path: &str) -> io::Result<Option<Self>> {
        let path: Vec<u16> = path.encode_utf16().chain([0]).collect();
        let mut key = ptr::null_mut();
        // SAFETY: the path ends with zero and the out pointer is valid.
        let outcome = unsafe {
            RegOpenKeyExW(
                HKEY_LOCAL_MACHINE,
                path.as_ptr(),
                0,
                KEY_QUERY_VALUE | KEY_WOW64_64KEY,
                &raw mut key,
            )
        };
        match outcome {
            ERROR_FILE_NOT_FOUND => Ok(None),
            ERROR_SUCCESS => Ok(Some(Self(key))),
            outcome => Err(io::Error::from_raw_os_error(outcome.cast_signed())),
        }
    }

    /// Returns the value at `index`, none beyond the last.
    #[expect(unsafe_code, reason = "the system's interface")]
    fn value(&self, index: usize) -> io::Result<Option<(String, Given)>> {
        let index = u32::try_from(index).map_err(io::Error::other)?;
        let mut name = [0_u16; MAX_NAME];
        let mut name_length = u32::try_from(name.len()).map_err(io::Error::other)?;
        let mut kind = 0;
        let mut data = vec![0_u8; MAX_DATA];
        let mut length = u32::try_from(data.len()).map_err(io::Error::other)?;
        // SAFETY: the key is open, both buffers have the lengths that are told, the other out
        // pointers are valid.
        let outcome = unsafe {
            RegEnumValueW(
                self.0,
                index,
                name.as_mut_ptr(),
                &raw mut name_length,
                ptr::null(),
                &raw mut kind,
                data.as_mut_ptr(),
                &raw mut length,
            )
        };
        match outcome {
            ERROR_NO_MORE_ITEMS => return Ok(None),
            ERROR_SUCCESS => {}
            outcome => return Err(io::Error::from_raw_os_error(outcome.cast_signed())),
        }
        let within =
            |length: u32, most: usize| usize::try_from(length).map_or(most, |it| it.min(most));
        let name = String::from_utf16_lossy(&name[..within(name_length, MAX_NAME)]);
        let given = registry_value::given(kind, &data[..within(length, MAX_DATA)]);
        Ok(Some((name, given)))
    }
}

impl Drop for Key {
    #[expect(unsafe_code, reason = "the system's interface")]
    fn drop(&mut self) {
        // SAFETY: the key is open and nothing else closes it.
        unsafe { RegCloseKey(self.0) };
    }
}

const POLICIES: &str = r"Software\Policies\ZTNA\Connector";

/// There are fewer settings than that.
const MAX_VALUES: usize = 200;

/// Longer names and values are no settings; the system says so in its own words.
const MAX_NAME: usize = 256;
const MAX_DATA: usize = 16 * 1024;
