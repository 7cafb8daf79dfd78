use std::borrow::Cow;
use std::io;
use std::ptr;
use std::sync::OnceLock;

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::EventLog::{
    EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, EVENTLOG_WARNING_TYPE, RegisterEventSourceW,
    ReportEventW,
};

use super::{Kind, Severity};
use crate::registry::{self, Key, Value};
use crate::supervisor;
use crate::wide::wide;

pub(super) fn write<'a>(kind: Kind, severity: Severity, text: impl FnOnce() -> Cow<'a, str>) {
    if !supervisor::is_host() {
        return;
    }
    let source = SOURCE.get_or_init(Source::open);
    if let Some(source) = source {
        source.report(kind, severity, &text());
    }
}

/// Has viewers show the texts of this source as they are.
pub(crate) fn register() -> io::Result<()> {
    let key = Key::create(&path())?;
    key.set(&Value::expandable("EventMessageFile", MESSAGES))?;
    key.set(&Value::number("TypesSupported", ALL_TYPES))
}

pub(crate) fn unregister() -> io::Result<()> {
    registry::delete(&path())
}

fn path() -> String {
    format!(r"SYSTEM\CurrentControlSet\Services\EventLog\Application\{NAME}")
}

/// Where this process writes to, until it ends.
#[derive(Debug)]
struct Source(HANDLE);

#[expect(unsafe_code, reason = "the system's interface")]
// SAFETY: the system's functions take the handle from any thread.
unsafe impl Send for Source {}
#[expect(unsafe_code, reason = "the system's interface")]
// SAFETY: as above.
unsafe impl Sync for Source {}

impl Source {
    #[expect(unsafe_code, reason = "the system's interface")]
    fn open() -> Option<Self> {
        let name = wide(NAME);
        // SAFETY: the name ends with zero; no server means this machine.
        let handle = unsafe { RegisterEventSourceW(ptr::null(), name.as_ptr()) };
        (!handle.is_null()).then_some(Self(handle))
    }

    #[expect(unsafe_code, reason = "the system's interface")]
    fn report(&self, kind: Kind, severity: Severity, text: &str) {
        let end = text.floor_char_boundary(LONGEST);
        let text = wide(text.get(..end).unwrap_or_default().trim_end());
        let strings = [text.as_ptr()];
        // SAFETY: the source is open, and there is one string, which ends with zero. What cannot
        // be written is lost: nobody could be told.
        unsafe {
            ReportEventW(
                self.0,
                match severity {
                    Severity::Error => EVENTLOG_ERROR_TYPE,
                    Severity::Information => EVENTLOG_INFORMATION_TYPE,
                    Severity::Warning => EVENTLOG_WARNING_TYPE,
                },
                0,
                match kind {
                    Kind::Audit => 2,
                    Kind::Service => 1,
                },
                ptr::null_mut(),
                1,
                0,
                strings.as_ptr(),
                ptr::null(),
            );
        }
    }
}

static SOURCE: OnceLock<Option<Source>> = OnceLock::new();

/// The source's name.
const NAME: &str = "ZTNA Connector";

/// The system's own file whose messages 1 to 1000 are nothing but the event's text.
const MESSAGES: &str = r"%SystemRoot%\System32\EventCreate.exe";

/// Errors, warnings and information.
const ALL_TYPES: u32 = 7;

/// In bytes: the system takes at most 31 839 16-bit units.
const LONGEST: usize = 31_000;
