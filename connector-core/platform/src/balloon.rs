//! Messages of Windows that come out of an icon beside the clock.

use std::ffi::c_void;
use std::io;
use std::mem::size_of;

use windows_sys::Win32::UI::Shell::{
    NIF_INFO, NIIF_INFO, NIIF_RESPECT_QUIET_TIME, NIIF_WARNING, NIM_MODIFY, NOTIFYICONDATAW,
    Shell_NotifyIconW,
};

/// A message to the person.
#[derive(Debug, Clone, Copy)]
pub struct Balloon<'a> {
    /// In a few words: what is beyond 63 UTF-16 units is left out.
    pub title: &'a str,
    /// What it means: what is beyond 255 UTF-16 units is left out.
    pub body: &'a str,
    /// Whether something stopped working.
    pub is_urgent: bool,
}

/// The window of a program that its one icon belongs to.
#[derive(Debug, Clone, Copy)]
pub struct IconWindow(*mut c_void);

impl IconWindow {
    /// Takes a window's handle (`HWND`); one that is none makes [`Self::show`] fail.
    #[must_use]
    pub const fn new(handle: *mut c_void) -> Self {
        Self(handle)
    }

    /// Shows a message at the icon, in place of the one before.
    ///
    /// # Errors
    ///
    /// The window has no icon, or nothing shows icons.
    pub fn show(self, balloon: Balloon<'_>) -> io::Result<()> {
        // Whoever makes icons numbers them and keeps the number to itself; this window has one.
        let shown = NUMBERS
            .into_iter()
            .any(|number| self.show_at(number, balloon));
        match shown {
            true => Ok(()),
            false => Err(io::Error::other(
                "the icon beside the clock takes no message",
            )),
        }
    }

    #[expect(unsafe_code, reason = "the system's interface")]
    fn show_at(self, number: u32, balloon: Balloon<'_>) -> bool {
        let kind = match balloon.is_urgent {
            true => NIIF_WARNING,
            false => NIIF_INFO,
        };
        let size = u32::try_from(size_of::<NOTIFYICONDATAW>()).unwrap_or_default();
        let mut data = NOTIFYICONDATAW {
            cbSize: size,
            hWnd: self.0,
            uID: number,
            uFlags: NIF_INFO,
            dwInfoFlags: kind | NIIF_RESPECT_QUIET_TIME,
            ..NOTIFYICONDATAW::default()
        };
        fill(&mut data.szInfoTitle, balloon.title);
        fill(&mut data.szInfo, balloon.body);
        // SAFETY: `data` is a structure of the size that it says, whose texts end with zero; the
        // system checks the window.
        unsafe { Shell_NotifyIconW(NIM_MODIFY, &raw const data) != 0 }
    }
}

/// Writes as much of `text` as leaves room for the zero at the end, in whole characters.
fn fill(room: &mut [u16], text: &str) {
    let mut at = 0;
    for character in text.chars() {
        let end = at + character.len_utf16();
        if end >= room.len() {
            break;
        }
        character.encode_utf16(&mut room[at..end]);
        at = end;
    }
}

/// They are counted from one, together with what else the maker of icons names.
const NUMBERS: std::ops::RangeInclusive<u32> = 1..=8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters_and_end_with_zero() {
        let mut room = [0; 4];
        fill(&mut room, "ab😀");
        assert_eq!(room, [0x61, 0x62, 0, 0]);
        let mut room = [0; 5];
        fill(&mut room, "ab😀");
        assert_eq!(String::from_utf16_lossy(&room[..4]), "ab😀");
        assert_eq!(room[4], 0);
    }

    #[test]
    fn a_window_without_an_icon_takes_no_message() {
        let balloon = Balloon {
            title: "Title",
            body: "Body",
            is_urgent: true,
        };
        let nobody = IconWindow::new(std::ptr::null_mut());
        assert!(nobody.show(balloon).is_err());
    }
}
