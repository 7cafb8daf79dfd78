use std::time::Duration;

use windows_sys::Win32::System::SystemInformation::GetTickCount64;

#[expect(unsafe_code, reason = "the system's interface")]
pub(super) fn since_boot() -> Duration {
    // SAFETY: takes no arguments and only returns a number.
    Duration::from_millis(unsafe { GetTickCount64() })
}
