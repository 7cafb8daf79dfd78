//! What is in a key, which the service alone asks.

use std::io;
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_MORE_DATA, ERROR_NO_MORE_ITEMS};
use windows_sys::Win32::System::Registry::{
    HKEY_LOCAL_MACHINE, KEY_QUERY_VALUE, KEY_WOW64_64KEY, RegEnumValueW, RegOpenKeyExW,
    RegQueryInfoKeyW, RegQueryValueExW,
};

use super::Value;
use super::key::{Key, check};
use crate::wide::wide;

/// A value as somebody else has stored it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawValue {
    pub(crate) name: String,
    pub(crate) kind: u32,
    pub(crate) data: Vec<u8>,
}

impl Key {
    /// Opens the key at `path` for reading, if it exists.
    #[expect(unsafe_code, reason = "the system's interface")]
    pub(crate) fn open(path: &str) -> io::Result<Option<Self>> {
        let path = wide(path);
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
            outcome => check(outcome).map(|()| Some(Self(key))),
        }
    }

    /// Returns whether the key has this value and no other of its name.
    #[expect(unsafe_code, reason = "the system's interface")]
    pub(crate) fn has(&self, value: &Value) -> io::Result<bool> {
        let name = wide(value.name);
        let mut kind = 0;
        let mut data = vec![0; value.data.len()];
        let mut length = u32::try_from(data.len()).map_err(io::Error::other)?;
        // SAFETY: the key is open, the name ends with zero, the buffer has
        // `length` bytes.
        let outcome = unsafe {
            RegQueryValueExW(
                self.0,
                name.as_ptr(),
                ptr::null(),
                &raw mut kind,
                data.as_mut_ptr(),
                &raw mut length,
            )
        };
        match outcome {
            ERROR_FILE_NOT_FOUND | ERROR_MORE_DATA => Ok(false),
            outcome => {
                check(outcome)?;
                let is_whole = usize::try_from(length).is_ok_and(|length| length == data.len());
                Ok(is_whole && kind == value.kind.code() && data == value.data)
            }
        }
    }

    /// Returns the value at `index`, none beyond the last.
    #[expect(unsafe_code, reason = "the system's interface")]
    pub(crate) fn value_at(&self, index: usize) -> io::Result<Option<RawValue>> {
        let index = u32::try_from(index).map_err(io::Error::other)?;
        let mut name = [0_u16; LONGEST_NAME];
        let mut name_length = u32::try_from(name.len()).map_err(io::Error::other)?;
        let mut kind = 0;
        let mut data = vec![0_u8; LONGEST_DATA];
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
        if outcome == ERROR_NO_MORE_ITEMS {
            return Ok(None);
        }
        check(outcome)?;
        let within =
            |length: u32, most: usize| usize::try_from(length).map_or(most, |it| it.min(most));
        data.truncate(within(length, LONGEST_DATA));
        Ok(Some(RawValue {
            name: String::from_utf16_lossy(&name[..within(name_length, LONGEST_NAME)]),
            kind,
            data,
        }))
    }

    /// Returns whether there is neither a key nor a value below it.
    #[expect(unsafe_code, reason = "the system's interface")]
    pub(crate) fn is_empty(&self) -> io::Result<bool> {
        let (mut keys, mut values) = (0, 0);
        // SAFETY: the key is open, the two out pointers are valid, the rest is
        // not asked for.
        let outcome = unsafe {
            RegQueryInfoKeyW(
                self.0,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null(),
                &raw mut keys,
                ptr::null_mut(),
                ptr::null_mut(),
                &raw mut values,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        check(outcome).map(|()| keys == 0 && values == 0)
    }
}

/// Longer names and values are no settings; the system says so in its own words.
const LONGEST_NAME: usize = 256;
const LONGEST_DATA: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_listed_with_their_names_and_kinds_until_there_are_no_more() {
        const TEXT: u32 = 1;

        let path = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion";
        let key = Key::open(path).unwrap().unwrap();

        let values: Vec<RawValue> = (0..)
            .map_while(|index| key.value_at(index).unwrap())
            .collect();

        let of_name = |name: &str| values.iter().find(|value| value.name == name);
        let version = of_name("CurrentVersion").unwrap();
        assert_eq!(version.kind, TEXT);
        assert!(version.data.ends_with(&[0, 0]), "{version:?}");
        assert!(key.value_at(values.len()).unwrap().is_none());
    }
}
