//! Keys and values below `HKEY_LOCAL_MACHINE`.

use std::io;
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_SUCCESS};
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_LOCAL_MACHINE, KEY_QUERY_VALUE, KEY_SET_VALUE, KEY_WOW64_64KEY,
    REG_OPTION_NON_VOLATILE, RegCloseKey, RegCreateKeyExW, RegDeleteKeyExW, RegSetValueExW,
};

use super::Value;
use crate::wide::wide;

/// An open key.
#[derive(Debug)]
pub(crate) struct Key(pub(super) HKEY);

impl Key {
    /// Opens the key at `path`, creating it and its parents if need be.
    #[expect(unsafe_code, reason = "the system's interface")]
    pub(crate) fn create(path: &str) -> io::Result<Self> {
        let path = wide(path);
        let mut key = ptr::null_mut();
        // SAFETY: the path ends with zero, the out pointer is valid, the rest is
        // not asked for.
        let outcome = unsafe {
            RegCreateKeyExW(
                HKEY_LOCAL_MACHINE,
                path.as_ptr(),
                0,
                ptr::null(),
                REG_OPTION_NON_VOLATILE,
                KEY_QUERY_VALUE | KEY_SET_VALUE | KEY_WOW64_64KEY,
                ptr::null(),
                &raw mut key,
                ptr::null_mut(),
            )
        };
        check(outcome).map(|()| Self(key))
    }

    #[expect(unsafe_code, reason = "the system's interface")]
    pub(crate) fn set(&self, value: &Value) -> io::Result<()> {
        let name = wide(value.name);
        let length = u32::try_from(value.data.len()).map_err(io::Error::other)?;
        // SAFETY: the key is open, the name ends with zero, the data has `length` bytes.
        let outcome = unsafe {
            RegSetValueExW(
                self.0,
                name.as_ptr(),
                0,
                value.kind.code(),
                value.data.as_ptr(),
                length,
            )
        };
        check(outcome)
    }
}

impl Drop for Key {
    #[expect(unsafe_code, reason = "the system's interface")]
    fn drop(&mut self) {
        // SAFETY: the key is open and nothing else closes it.
        unsafe { RegCloseKey(self.0) };
    }
}

/// Deletes the key at `path`, which has no keys below it, if it exists.
#[expect(unsafe_code, reason = "the system's interface")]
pub(crate) fn delete(path: &str) -> io::Result<()> {
    let path = wide(path);
    // SAFETY: the path ends with zero.
    let outcome = unsafe { RegDeleteKeyExW(HKEY_LOCAL_MACHINE, path.as_ptr(), KEY_WOW64_64KEY, 0) };
    match outcome {
        ERROR_FILE_NOT_FOUND => Ok(()),
        outcome => check(outcome),
    }
}

/// Turns what a function of the system returns into a result.
pub(crate) fn check(outcome: u32) -> io::Result<()> {
    match outcome {
        ERROR_SUCCESS => Ok(()),
        outcome => Err(io::Error::from_raw_os_error(outcome.cast_signed())),
    }
}
