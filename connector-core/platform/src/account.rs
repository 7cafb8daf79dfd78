//! Whom Windows says that a process or a front-end runs as.

use std::ffi::c_void;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr;

use sha2::{Digest, Sha256};
use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE, LocalFree};
use windows_sys::Win32::Security::Authorization::ConvertSidToStringSidW;
use windows_sys::Win32::Security::{
    CheckTokenMembership, CreateWellKnownSid, DuplicateToken, GetLengthSid, GetTokenInformation,
    PSID, RevertToSelf, SECURITY_MAX_SID_SIZE, SecurityIdentification, TOKEN_DUPLICATE,
    TOKEN_QUERY, TOKEN_USER, TokenUser, WinBuiltinAdministratorsSid,
};
use windows_sys::Win32::System::Pipes::ImpersonateNamedPipeClient;
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, GetCurrentThread, OpenProcessToken, OpenThreadToken,
};

use crate::wide;

/// A user as the system names them, and whether they act as an administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    sid: Sid,
    is_administrator: bool,
}

impl Account {
    /// Returns whom this process runs as.
    pub(crate) fn own() -> io::Result<Self> {
        Self::of_process(own_process())
    }

    /// Returns whom the process behind an open handle runs as.
    #[expect(unsafe_code, reason = "the system's interface")]
    pub(crate) fn of_process(process: HANDLE) -> io::Result<Self> {
        let mut token = ptr::null_mut();
        // SAFETY: the handle is open and the out pointer valid.
        let opened =
            unsafe { OpenProcessToken(process, TOKEN_QUERY | TOKEN_DUPLICATE, &raw mut token) };
        told(opened)?;
        Self::of_primary_token(&owned(token)?)
    }

    /// Returns whom the client at the other end of a pipe was when it wrote what was last read.
    ///
    /// Nothing can be told before something was read. The number of the client's process
    /// would not do: it is given away as soon as that ends.
    #[expect(unsafe_code, reason = "the system's interface")]
    pub(crate) fn of_pipe_client(pipe: HANDLE) -> io::Result<Self> {
        // SAFETY: the handle is an open pipe.
        told(unsafe { ImpersonateNamedPipeClient(pipe) })?;
        let token = own_thread_token();
        // SAFETY: the call takes nothing.
        if unsafe { RevertToSelf() } == 0 {
            // Going on in somebody else's name must not happen.
            std::process::abort();
        }
        Self::of_token(&token?)
    }

    /// Returns whether both are the same user.
    pub(crate) fn is_same_user(&self, other: &Self) -> bool {
        self.sid == other.sid
    }

    /// Returns whether this is the user with the given identifier.
    pub(crate) fn has(&self, sid: &Sid) -> bool {
        self.sid == *sid
    }

    /// Returns the identifier in the notation of access lists, as in `S-1-5-18`.
    pub(crate) fn notation(&self) -> io::Result<String> {
        self.sid.notation()
    }

    /// Returns whether the user acts as an administrator now: an elevated process does,
    /// another one of the same user does not.
    pub(crate) const fn is_administrator(&self) -> bool {
        self.is_administrator
    }

    /// Returns the number that stands for the user where other systems have numbers: zero for
    /// an administrator, else the beginning of the hash of the security identifier.
    pub(crate) fn number(&self) -> u32 {
        if self.is_administrator {
            ADMINISTRATOR
        } else {
            self.sid.number()
        }
    }

    fn of_primary_token(token: &OwnedHandle) -> io::Result<Self> {
        Self::of_token(&duplicate(token)?)
    }

    /// `token` must be one to act by, as opposed to a process's own.
    fn of_token(token: &OwnedHandle) -> io::Result<Self> {
        Ok(Self {
            sid: Sid::of_user(token)?,
            is_administrator: is_administrator(token)?,
        })
    }
}

/// A security identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sid(Vec<u8>);

impl Sid {
    /// Copies what the system has.
    ///
    /// # Safety
    ///
    /// `sid` points to a valid identifier.
    #[expect(unsafe_code, reason = "the system's interface")]
    pub(crate) unsafe fn copy(sid: PSID) -> io::Result<Self> {
        // SAFETY: the caller has a valid identifier.
        let length = unsafe { GetLengthSid(sid) };
        let length = usize::try_from(length).map_err(io::Error::other)?;
        // SAFETY: a valid identifier is as long as it says.
        let bytes = unsafe { std::slice::from_raw_parts(sid.cast::<u8>(), length) };
        Ok(Self(bytes.to_vec()))
    }

    #[expect(unsafe_code, reason = "the system's interface")]
    fn of_user(token: &OwnedHandle) -> io::Result<Self> {
        let mut buffer = [0_u64; USER_LENGTH];
        let capacity = u32::try_from(size_of_val(&buffer)).map_err(io::Error::other)?;
        let mut length = 0;
        // SAFETY: the token is open and the buffer as long as is said.
        let done = unsafe {
            GetTokenInformation(
                token.as_raw_handle(),
                TokenUser,
                buffer.as_mut_ptr().cast(),
                capacity,
                &raw mut length,
            )
        };
        told(done)?;
        let user: *const TOKEN_USER = buffer.as_ptr().cast();
        // SAFETY: the system wrote a TOKEN_USER there, aligned as u64 is, whose identifier
        // lies in the same buffer.
        let user = unsafe { user.read() };
        // SAFETY: as above; the buffer is still there.
        unsafe { Self::copy(user.User.Sid) }
    }

    #[expect(unsafe_code, reason = "the system's interface")]
    fn notation(&self) -> io::Result<String> {
        let mut text = ptr::null_mut();
        let sid = self.0.as_ptr().cast::<c_void>().cast_mut();
        // SAFETY: the identifier is valid and the out pointer too.
        told(unsafe { ConvertSidToStringSidW(sid, &raw mut text) })?;
        // SAFETY: the system's text ends with zero.
        let notation = String::from_utf16(&unsafe { wide::read(text, LONGEST_NOTATION) });
        // SAFETY: the system allocated it, and nothing else frees it.
        unsafe { LocalFree(text.cast()) };
        notation.map_err(io::Error::other)
    }

    fn number(&self) -> u32 {
        let hash: [u8; 32] = Sha256::digest(&self.0).into();
        let [first, second, third, fourth, ..] = hash;
        u32::from_be_bytes([first, second, third, fourth]).max(ADMINISTRATOR + 1)
    }
}

#[expect(unsafe_code, reason = "the system's interface")]
fn is_administrator(token: &OwnedHandle) -> io::Result<bool> {
    let administrators = administrators()?;
    let mut is_member = 0;
    // SAFETY: the token is open, the identifier valid, and the out pointer too.
    let done = unsafe {
        CheckTokenMembership(
            token.as_raw_handle(),
            administrators.as_ptr().cast::<c_void>().cast_mut(),
            &raw mut is_member,
        )
    };
    told(done)?;
    Ok(is_member != 0)
}

/// Returns the identifier of the group of administrators, to which the system belongs as well.
#[expect(unsafe_code, reason = "the system's interface")]
pub(crate) fn administrators() -> io::Result<[u64; SID_LENGTH]> {
    let mut sid = [0_u64; SID_LENGTH];
    let mut length = SECURITY_MAX_SID_SIZE;
    // SAFETY: the buffer is at least as long as is said.
    let done = unsafe {
        CreateWellKnownSid(
            WinBuiltinAdministratorsSid,
            ptr::null_mut(),
            sid.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    told(done)?;
    Ok(sid)
}

#[expect(unsafe_code, reason = "the system's interface")]
fn own_thread_token() -> io::Result<OwnedHandle> {
    let mut token = ptr::null_mut();
    // SAFETY: the call takes nothing and returns a constant.
    let thread = unsafe { GetCurrentThread() };
    // SAFETY: the out pointer is valid.
    let opened = unsafe { OpenThreadToken(thread, TOKEN_QUERY, 1, &raw mut token) };
    told(opened)?;
    owned(token)
}

#[expect(unsafe_code, reason = "the system's interface")]
fn duplicate(token: &OwnedHandle) -> io::Result<OwnedHandle> {
    let mut copy = ptr::null_mut();
    // SAFETY: the token is open and the out pointer valid.
    let done =
        unsafe { DuplicateToken(token.as_raw_handle(), SecurityIdentification, &raw mut copy) };
    told(done)?;
    owned(copy)
}

#[expect(unsafe_code, reason = "the system's interface")]
fn own_process() -> HANDLE {
    // SAFETY: the call takes nothing and returns a constant.
    unsafe { GetCurrentProcess() }
}

/// Takes over a handle that the system has just opened.
#[expect(unsafe_code, reason = "the system's interface")]
pub(crate) fn owned(handle: HANDLE) -> io::Result<OwnedHandle> {
    if handle.is_null() || handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system has just opened it for us, and nobody else closes it.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

fn told(outcome: i32) -> io::Result<()> {
    if outcome == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// What stands for administrators where other systems have root.
const ADMINISTRATOR: u32 = 0;

/// In 16-bit units: fifteen parts of ten digits each, and the beginning.
const LONGEST_NOTATION: usize = 256;

/// In 64-bit units: an identifier takes at most 68 bytes.
const SID_LENGTH: usize = 9;

/// In 64-bit units: a TOKEN_USER takes 16 bytes, and then comes its identifier.
const USER_LENGTH: usize = 2 + SID_LENGTH;

#[cfg(test)]
pub(crate) mod testing {
    use windows_sys::Win32::Security::{CreateRestrictedToken, SID_AND_ATTRIBUTES};

    use super::*;

    /// Returns a token to act by, to which no access list that names this user or
    /// administrators gives anything, as it gives nothing to another user's.
    #[expect(unsafe_code, reason = "the system's interface")]
    pub(crate) fn somebody_else() -> OwnedHandle {
        let mut token = ptr::null_mut();
        let rights = TOKEN_QUERY | TOKEN_DUPLICATE;
        // SAFETY: the out pointer is valid.
        told(unsafe { OpenProcessToken(own_process(), rights, &raw mut token) }).unwrap();
        let token = owned(token).unwrap();
        let own = Sid::of_user(&token).unwrap();
        let administrators = administrators().unwrap();
        let without = [
            own.0.as_ptr().cast::<c_void>(),
            administrators.as_ptr().cast(),
        ]
        .map(|sid| SID_AND_ATTRIBUTES {
            Sid: sid.cast_mut(),
            Attributes: 0,
        });
        let mut restricted = ptr::null_mut();
        // SAFETY: the token is open, the identifiers live on, and the out pointer is valid.
        let made = unsafe {
            CreateRestrictedToken(
                token.as_raw_handle(),
                0,
                2,
                without.as_ptr(),
                0,
                ptr::null(),
                0,
                ptr::null(),
                &raw mut restricted,
            )
        };
        told(made).unwrap();
        duplicate(&owned(restricted).unwrap()).unwrap()
    }

    /// Returns a token to act by as oneself.
    #[expect(unsafe_code, reason = "the system's interface")]
    pub(crate) fn oneself() -> OwnedHandle {
        let mut token = ptr::null_mut();
        let rights = TOKEN_QUERY | TOKEN_DUPLICATE;
        // SAFETY: the out pointer is valid.
        told(unsafe { OpenProcessToken(own_process(), rights, &raw mut token) }).unwrap();
        duplicate(&owned(token).unwrap()).unwrap()
    }

    #[test]
    fn a_user_is_an_administrator_only_while_the_token_says_so() {
        let other = Account::of_token(&somebody_else()).unwrap();

        assert!(!other.is_administrator());
        assert_ne!(other.number(), ADMINISTRATOR);
        assert!(other.is_same_user(&Account::own().unwrap()));
        assert!(other.notation().unwrap().starts_with("S-1-"));
    }
}
