//! Access lists of Windows: who may open a pipe, a directory, and what is in it.

use std::fs;
use std::io;
use std::path::Path;
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_SUCCESS, HANDLE, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, GetNamedSecurityInfoW, GetSecurityInfo,
    SDDL_REVISION_1, SE_FILE_OBJECT, SE_KERNEL_OBJECT, SetNamedSecurityInfoW,
};
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, GetSecurityDescriptorDacl, IsWellKnownSid,
    OWNER_SECURITY_INFORMATION, PROTECTED_DACL_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR,
    WinBuiltinAdministratorsSid, WinLocalSystemSid,
};

use crate::account::{Account, Sid};
use crate::wide::wide;

/// The owner, administrators and the system; nobody else.
pub(crate) const OWNER: &str = "D:P(A;OICI;GA;;;OW)(A;OICI;GA;;;BA)(A;OICI;GA;;;SY)";

/// Administrators and the system; users may read.
pub(crate) const ADMINISTRATORS_USERS_READ: &str =
    "D:P(A;OICI;GA;;;BA)(A;OICI;GA;;;SY)(A;OICI;GRGX;;;BU)";

/// As [`OWNER`]; whoever is logged in at the machine may also speak to the pipe.
pub(crate) const OWNER_AND_INTERACTIVE: &str =
    "D:P(A;;GA;;;OW)(A;;GA;;;BA)(A;;GA;;;SY)(A;;0x12019b;;;IU)";

/// To read and to write. To write in the general sense would be to make instances of a pipe, too,
/// and so to serve it in the service's place.
pub(crate) const SPEAK: u32 = 0x12_019b;

/// A security descriptor that the system allocated.
pub(crate) struct Descriptor(PSECURITY_DESCRIPTOR);

impl Descriptor {
    /// Describes what this user owns, whatever new things are usually given to.
    pub(crate) fn owned(list: &str) -> io::Result<Self> {
        let owner = Account::own()?.notation()?;
        Self::parse(&format!("O:{owner}{list}"))
    }

    #[expect(unsafe_code, reason = "the system's interface")]
    fn parse(sddl: &str) -> io::Result<Self> {
        let text = wide(sddl);
        let mut descriptor = ptr::null_mut();
        // SAFETY: the text ends with zero, the out pointer is valid, the size is not asked for.
        let parsed = unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                ptr::null_mut(),
            )
        };
        if parsed == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(descriptor))
    }

    /// Returns the descriptor for a call that takes a pointer; it lives as long as `self`.
    pub(crate) const fn as_ptr(&self) -> PSECURITY_DESCRIPTOR {
        self.0
    }
}

impl Drop for Descriptor {
    #[expect(unsafe_code, reason = "the system's interface")]
    fn drop(&mut self) {
        // SAFETY: the system allocated it, and nothing else frees it.
        unsafe { LocalFree(self.0) };
    }
}

/// Gives a directory its access list, in place of what it has inherited.
#[expect(unsafe_code, reason = "the system's interface")]
pub(crate) fn restrict(directory: &Path, sddl: &str) -> io::Result<()> {
    let descriptor = Descriptor::parse(sddl)?;
    let (mut is_present, mut is_default) = (0, 0);
    let mut list = ptr::null_mut();
    // SAFETY: the descriptor is valid and the three out pointers too.
    let found = unsafe {
        GetSecurityDescriptorDacl(
            descriptor.as_ptr(),
            &raw mut is_present,
            &raw mut list,
            &raw mut is_default,
        )
    };
    if found == 0 {
        return Err(io::Error::last_os_error());
    }
    if is_present == 0 || list.is_null() {
        // Such a list lets everybody in.
        return Err(io::ErrorKind::InvalidData.into());
    }
    let name = wide(directory);
    // SAFETY: the name ends with zero, and the list lives as long as the descriptor.
    let code = unsafe {
        SetNamedSecurityInfoW(
            name.as_ptr(),
            SE_FILE_OBJECT,
            DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION,
            ptr::null_mut(),
            ptr::null_mut(),
            list,
            ptr::null(),
        )
    };
    succeeded(code)
}

/// Makes a directory of administrators, and takes one over that is there, unless a user made it.
pub(crate) fn create_for_administrators(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    check_owner(directory)?;
    restrict(directory, ADMINISTRATORS_USERS_READ)
}

/// Refuses what neither this user, nor administrators, nor the system owns.
pub(crate) fn check_owner(path: &Path) -> io::Result<()> {
    if is_ours(Subject::Path(path))? {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{} belongs to another user, who is no administrator; remove it, or give it to the administrators",
        path.display()
    )))
}

/// What has an owner.
#[derive(Clone, Copy)]
pub(crate) enum Subject<'a> {
    /// A file or a directory.
    Path(&'a Path),
    /// An open pipe, whose owner is who serves it.
    Pipe(HANDLE),
}

/// Returns whether this user, administrators or the system own `subject`.
#[expect(unsafe_code, reason = "the system's interface")]
pub(crate) fn is_ours(subject: Subject<'_>) -> io::Result<bool> {
    let mut owner = ptr::null_mut();
    let mut descriptor = ptr::null_mut();
    let code = match subject {
        Subject::Path(path) => {
            let name = wide(path);
            // SAFETY: the name ends with zero and the out pointers that are asked for are valid.
            unsafe {
                GetNamedSecurityInfoW(
                    name.as_ptr(),
                    SE_FILE_OBJECT,
                    OWNER_SECURITY_INFORMATION,
                    &raw mut owner,
                    ptr::null_mut(),
                    ptr::null_mut(),
                    ptr::null_mut(),
                    &raw mut descriptor,
                )
            }
        }
        // SAFETY: the handle is open and the out pointers that are asked for are valid.
        Subject::Pipe(pipe) => unsafe {
            GetSecurityInfo(
                pipe,
                SE_KERNEL_OBJECT,
                OWNER_SECURITY_INFORMATION,
                &raw mut owner,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                &raw mut descriptor,
            )
        },
    };
    succeeded(code)?;
    let descriptor = Descriptor(descriptor);
    // SAFETY: the identifier lies in the descriptor, which lives on.
    let is_administrators = unsafe { IsWellKnownSid(owner, WinBuiltinAdministratorsSid) } != 0;
    // SAFETY: as above.
    let is_system = unsafe { IsWellKnownSid(owner, WinLocalSystemSid) } != 0;
    // SAFETY: as above.
    let sid = unsafe { Sid::copy(owner) }?;
    drop(descriptor);
    Ok(is_administrators || is_system || Account::own()?.has(&sid))
}

fn succeeded(code: u32) -> io::Result<()> {
    if code == ERROR_SUCCESS {
        return Ok(());
    }
    Err(io::Error::from_raw_os_error(code.cast_signed()))
}

#[cfg(test)]
mod tests {
    use std::os::windows::io::{AsRawHandle, OwnedHandle};

    use windows_sys::Win32::Security::{AccessCheck, GENERIC_MAPPING, PRIVILEGE_SET};
    use windows_sys::Win32::Storage::FileSystem::{
        FILE_ALL_ACCESS, FILE_GENERIC_EXECUTE, FILE_GENERIC_READ, FILE_GENERIC_WRITE,
    };

    use super::*;
    use crate::account::testing::{oneself, somebody_else};

    #[test]
    fn a_list_for_the_owner_gives_nothing_to_another_users_token() {
        assert!(gives(OWNER, SPEAK, &oneself()));
        assert!(!gives(OWNER, SPEAK, &somebody_else()));
        assert!(!gives(OWNER, FILE_GENERIC_READ, &somebody_else()));
    }

    #[test]
    fn other_users_read_what_administrators_keep_and_change_nothing() {
        let list = ADMINISTRATORS_USERS_READ;

        assert!(gives(list, FILE_ALL_ACCESS, &oneself()));
        assert!(gives(list, FILE_GENERIC_READ, &somebody_else()));
        assert!(!gives(list, FILE_GENERIC_WRITE, &somebody_else()));
    }

    #[test]
    fn who_is_logged_in_may_speak_to_the_machines_pipe_and_not_serve_it() {
        const CREATE_INSTANCE: u32 = 0x4;

        let list = OWNER_AND_INTERACTIVE;

        assert!(gives(list, SPEAK, &somebody_else()));
        assert!(!gives(list, CREATE_INSTANCE, &somebody_else()));
        assert!(gives(list, CREATE_INSTANCE, &oneself()));
    }

    #[test]
    fn a_directory_of_ones_own_can_be_restricted_and_is_taken_for_ones_own() {
        let root = tempfile::tempdir().unwrap();

        restrict(root.path(), OWNER).unwrap();

        check_owner(root.path()).unwrap();
    }

    #[expect(unsafe_code, reason = "the system's interface")]
    fn gives(list: &str, rights: u32, token: &OwnedHandle) -> bool {
        let owner = "BA";
        let descriptor = Descriptor::parse(&format!("O:{owner}G:{owner}{list}")).unwrap();
        let mapping = GENERIC_MAPPING {
            GenericRead: FILE_GENERIC_READ,
            GenericWrite: FILE_GENERIC_WRITE,
            GenericExecute: FILE_GENERIC_EXECUTE,
            GenericAll: FILE_ALL_ACCESS,
        };
        let mut privileges = PRIVILEGE_SET::default();
        let mut length = u32::try_from(size_of::<PRIVILEGE_SET>()).unwrap();
        let (mut granted, mut is_granted) = (0, 0);
        // SAFETY: all pointers are valid, and the set is as long as is said.
        let checked = unsafe {
            AccessCheck(
                descriptor.as_ptr(),
                token.as_raw_handle(),
                rights,
                &raw const mapping,
                &raw mut privileges,
                &raw mut length,
                &raw mut granted,
                &raw mut is_granted,
            )
        };
        assert_ne!(checked, 0, "{}", io::Error::last_os_error());
        is_granted != 0
    }
}
